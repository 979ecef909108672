use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).unwrap()
}

/// Test cases 14 and 16 of McGrew and Viega, "The Galois/Counter Mode of Operation", the second
/// with a nonce that no counter gives.
#[test]
fn both_are_the_published_gcm() {
    let zeros = Key::from_bytes([0; 32]);
    let mut buffer = [0; 16];
    let tag = Cipher::new(&zeros).seal_in_place(Nonce([0; 12]), b"", &mut buffer);
    assert_eq!(buffer.to_vec(), hex("cea7403d4d606b6e074ec5d3baf39d18"));
    assert_eq!(tag.to_vec(), hex("d0d1c8a799996bf0265b98b5d48ab919"));

    let key = hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
    let key = Key::from_slice(&key).unwrap();
    let nonce = || Nonce(hex("cafebabefacedbaddecaf888").try_into().unwrap());
    let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let plain = hex(concat!(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72",
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    ));
    let sealed = hex(concat!(
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa",
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
    ));
    let expected = hex("76fc6ece0f4e1768cddf8853bb2d551b");
    let mut buffer = plain.clone();
    let tag = Cipher::new(&key).seal_in_place(nonce(), &aad, &mut buffer);
    assert_eq!((&buffer, tag.to_vec()), (&sealed, expected.clone()));
    let mut buffer = plain;
    let tag = reference::Cipher::new(&key).seal_in_place(nonce(), &aad, &mut buffer);
    assert_eq!((buffer, tag.to_vec()), (sealed, expected));
}

/// Wycheproof's vectors for keys of 256, nonces of 96 and tags of 128 bits, by both
/// implementations: what is valid is made and opened, what is not is refused, and leaves no plaintext.
#[test]
fn wycheproof_agrees_with_both() {
    use wycheproof::{TestResult, aead};
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let groups = set.test_groups.iter();
    let ours = groups.filter(|g| (g.key_size, g.nonce_size, g.tag_size) == (256, 96, 128));
    let (mut valid, mut refused) = (0, 0);
    for test in ours.flat_map(|group| &group.tests) {
        let key = Key::from_slice(&test.key).unwrap();
        let nonce = || Nonce(test.nonce[..].try_into().unwrap());
        let tag: [u8; TAG_LEN] = test.tag[..].try_into().unwrap();
        let (bulk, small) = (Cipher::new(&key), reference::Cipher::new(&key));
        let (mut a, mut b) = (test.ct.to_vec(), test.ct.to_vec());
        let opened = bulk.open_in_place(nonce(), &test.aad, &mut a, &tag);
        assert_eq!(small.open_in_place(nonce(), &test.aad, &mut b, &tag), opened, "{test:?}");
        assert_eq!(a, b, "{test:?}");
        match test.result {
            TestResult::Valid => {
                assert_eq!((opened, &a[..]), (Ok(()), &test.pt[..]), "{test:?}");
                assert_eq!(bulk.seal_in_place(nonce(), &test.aad, &mut a), tag, "{test:?}");
                assert_eq!(small.seal_in_place(nonce(), &test.aad, &mut b), tag, "{test:?}");
                assert_eq!((&a[..], &b[..]), (&test.ct[..], &test.ct[..]), "{test:?}");
                valid += 1;
            }
            TestResult::Invalid => {
                assert_eq!(opened, Err(OpenError), "{test:?}");
                assert!(a.iter().all(|&byte| byte == 0), "{test:?}");
                refused += 1;
            }
            TestResult::Acceptable => panic!("{test:?}"),
        }
    }
    assert_eq!((valid, refused), (39, 27));
}

#[test]
fn nonces_are_the_numbers_of_messages() {
    let mut nonces = NonceCounter::new();
    assert_eq!(nonces.next(), Ok(Nonce([0; 12])));
    assert_eq!(nonces.next(), Ok(Nonce([0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])));
    assert_eq!(Nonce::from_counter(0x0102).as_bytes()[4..6], [2, 1]);
}

#[test]
fn a_counter_stops_before_it_wraps() {
    let mut nonces = NonceCounter(LAST_COUNTER);
    assert_eq!(nonces.next(), Ok(Nonce::from_counter(u64::from(u32::MAX))));
    assert_eq!(nonces.next(), Err(NonceExhausted));
    assert_eq!(nonces.next(), Err(NonceExhausted));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_two_are_one_cipher(
        key: [u8; 32],
        counter: u64,
        aad in prop::collection::vec(any::<u8>(), 0..80),
        plain in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let key = Key::from_bytes(key);
        let (bulk, small) = (Cipher::new(&key), reference::Cipher::new(&key));
        let nonce = || Nonce::from_counter(counter);
        let (mut a, mut b) = (plain.clone(), plain.clone());
        let tag = bulk.seal_in_place(nonce(), &aad, &mut a);
        prop_assert_eq!(small.seal_in_place(nonce(), &aad, &mut b), tag);
        prop_assert_eq!(&a, &b);
        prop_assert_eq!(bulk.open_in_place(nonce(), &aad, &mut b, &tag), Ok(()));
        prop_assert_eq!(small.open_in_place(nonce(), &aad, &mut a, &tag), Ok(()));
        prop_assert_eq!(&a, &plain);
        prop_assert_eq!(&b, &plain);
    }

    /// Ciphertext, tag, additional data, counter and key: one flipped bit anywhere is refused by
    /// both, and no plaintext is left behind.
    #[test]
    fn any_flipped_bit_is_refused(
        key: [u8; 32],
        counter: u64,
        aad in prop::collection::vec(any::<u8>(), 0..40),
        plain in prop::collection::vec(any::<u8>(), 1..100),
        at in any::<prop::sample::Index>(),
    ) {
        let mut sealed = plain;
        let cipher = Cipher::new(&Key::from_bytes(key));
        let tag = cipher.seal_in_place(Nonce::from_counter(counter), &aad, &mut sealed);
        let mut parts = [sealed, tag.to_vec(), aad, counter.to_le_bytes().to_vec(), key.to_vec()];
        let bit = at.index(parts.iter().map(|part| part.len() * 8).sum());
        let byte = parts.iter_mut().flatten().nth(bit / 8).unwrap();
        *byte ^= 1 << (bit % 8);

        let [sealed, tag, aad, counter, key] = parts;
        let tag: [u8; TAG_LEN] = tag.try_into().unwrap();
        let counter = u64::from_le_bytes(counter.try_into().unwrap());
        let key = Key::from_slice(&key).unwrap();
        let nonce = || Nonce::from_counter(counter);
        let (mut a, mut b) = (sealed.clone(), sealed);
        let bulk = Cipher::new(&key).open_in_place(nonce(), &aad, &mut a, &tag);
        let small = reference::Cipher::new(&key).open_in_place(nonce(), &aad, &mut b, &tag);
        prop_assert_eq!((bulk, small), (Err(OpenError), Err(OpenError)));
        prop_assert!(a.iter().chain(&b).all(|&byte| byte == 0));
    }
}
