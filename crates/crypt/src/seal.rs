//! Sealing to a reader: whoever seals can not open again.
//!
//! An ephemeral X25519 key agrees with the reader's on a shared secret. A pre-shared key that
//! readers and writers have, and the store has not, is mixed in, so that X25519 falling later
//! does not open what was stored before. The bytes:
//!
//! ```text
//! ephemeral public key 32 | commitment 32 | ciphertext | tag 16
//! ```
//!
//! The key is derived from the shared secret, both public keys, the pre-shared key and `info`; it
//! seals one message, with nonce 0 and `info` as additional data. The ephemeral secret is derived
//! from randomness *and* from all that is sealed: with a dead random generator two seals share a
//! key only where they are the same seal.

use std::fmt;

use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::{
    aead::{Nonce, OpenError, TAG_LEN, reference::Cipher},
    commitment, commitment_matches, random,
    secret::{Key, derive},
};

const KEY_CONTEXT: &str = "drover 2026-11 seal key";
const EPHEMERAL_CONTEXT: &str = "drover 2026-11 seal ephemeral";

/// How many bytes a seal is longer than what it holds.
pub const SEAL_OVERHEAD: usize = 32 + 32 + TAG_LEN;

/// A public key that no secret can be agreed on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the X25519 public key is of low order")]
pub struct LowOrderKey;

/// What a writer needs to seal to a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderPublic {
    key: [u8; 32],
    psk: Key,
}

impl ReaderPublic {
    /// A reader's X25519 public key and the key shared with its writers. Points of low order are
    /// refused: everyone could open what is sealed to them.
    pub fn new(key: [u8; 32], psk: Key) -> Result<Self, LowOrderKey> {
        // Any clamped scalar takes a point of low order, and no other, to the neutral element.
        let probe = StaticSecret::from([0; 32]);
        match probe.diffie_hellman(&PublicKey::from(key)).was_contributory() {
            true => Ok(Self { key, psk }),
            false => Err(LowOrderKey),
        }
    }

    /// The X25519 public key.
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// The pre-shared key.
    pub fn psk(&self) -> &Key {
        &self.psk
    }
}

/// What opens seals. Wiped when dropped, never prints.
#[derive(Clone)]
pub struct ReaderSecret {
    secret: Key,
    psk: Key,
}

impl ReaderSecret {
    /// A fresh reader.
    pub fn generate() -> Self {
        Self::from_keys(Key::random(), Key::random())
    }

    /// The reader with this X25519 secret and pre-shared key.
    pub fn from_parts(secret: [u8; 32], psk: Key) -> Self {
        Self::from_keys(Key::from_bytes(secret), psk)
    }

    /// The same.
    pub(crate) fn from_keys(secret: Key, psk: Key) -> Self {
        Self { secret, psk }
    }

    fn scalar(&self) -> StaticSecret {
        StaticSecret::from(*self.secret.as_bytes())
    }

    /// What its writers need.
    pub fn public(&self) -> ReaderPublic {
        ReaderPublic { key: PublicKey::from(&self.scalar()).to_bytes(), psk: self.psk.clone() }
    }

    /// The X25519 secret.
    pub fn secret_bytes(&self) -> &[u8; 32] {
        self.secret.as_bytes()
    }

    /// The pre-shared key.
    pub fn psk(&self) -> &Key {
        &self.psk
    }
}

impl fmt::Debug for ReaderSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReaderSecret(..)")
    }
}

/// Seals `plaintext` to `reader`, bound to `info`: [`SEAL_OVERHEAD`] bytes longer.
pub fn seal(reader: &ReaderPublic, info: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let fresh = Zeroizing::new(random::array::<32>());
    let hedged =
        derive(EPHEMERAL_CONTEXT, &[&*fresh, &reader.key, reader.psk.as_bytes(), info, plaintext]);
    let ephemeral = StaticSecret::from(*hedged.as_bytes());
    let ephemeral_public = PublicKey::from(&ephemeral).to_bytes();
    let shared = ephemeral.diffie_hellman(&PublicKey::from(reader.key));
    let key = seal_key(shared.as_bytes(), &ephemeral_public, &reader.key, &reader.psk, info);

    let mut out = Vec::with_capacity(SEAL_OVERHEAD + plaintext.len());
    out.extend_from_slice(&ephemeral_public);
    out.extend_from_slice(&commitment(&key));
    let start = out.len();
    out.extend_from_slice(plaintext);
    let tag = Cipher::new(&key).seal_in_place(Nonce::from_counter(0), info, &mut out[start..]);
    out.extend_from_slice(&tag);
    out
}

/// Opens what was sealed to `reader` with the same `info`.
pub fn open(
    reader: &ReaderSecret,
    info: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let (ephemeral, rest) = sealed.split_first_chunk::<32>().ok_or(OpenError)?;
    let (expected, rest) = rest.split_first_chunk::<32>().ok_or(OpenError)?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(OpenError)?;
    let scalar = reader.scalar();
    let shared = scalar.diffie_hellman(&PublicKey::from(*ephemeral));
    if !shared.was_contributory() {
        return Err(OpenError);
    }
    let own = PublicKey::from(&scalar).to_bytes();
    let key = seal_key(shared.as_bytes(), ephemeral, &own, &reader.psk, info);
    if !commitment_matches(&key, expected) {
        return Err(OpenError);
    }
    let mut plain = Zeroizing::new(ciphertext.to_vec());
    Cipher::new(&key).open_in_place(Nonce::from_counter(0), info, &mut plain, tag)?;
    Ok(plain)
}

fn seal_key(
    shared: &[u8; 32],
    ephemeral: &[u8; 32],
    reader: &[u8; 32],
    psk: &Key,
    info: &[u8],
) -> Key {
    derive(KEY_CONTEXT, &[shared, ephemeral, reader, psk.as_bytes(), info])
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> [u8; 32] {
        HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
    }

    /// RFC 7748, section 5.2.
    #[test]
    fn x25519_is_rfc_7748() {
        let secret = hex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
        let point = hex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
        let product = hex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
        let shared = StaticSecret::from(secret).diffie_hellman(&PublicKey::from(point));
        assert_eq!(shared.to_bytes(), product);
    }

    /// Wycheproof's vectors: points on the twist, of low order and of no canonical form among them.
    /// Whoever sends or names a point that gives nothing is refused; every other gives the secret.
    #[test]
    fn wycheproof_agrees_on_x25519() {
        use wycheproof::xdh;
        let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
        let (mut agreed, mut refused) = (0, 0);
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let public: [u8; 32] = test.public_key[..].try_into().unwrap();
            let secret: [u8; 32] = test.private_key[..].try_into().unwrap();
            let shared = StaticSecret::from(secret).diffie_hellman(&PublicKey::from(public));
            assert_eq!(shared.as_bytes()[..], test.shared_secret[..], "{test:?}");
            let nothing = test.shared_secret.iter().all(|&byte| byte == 0);
            assert_eq!(shared.was_contributory(), !nothing, "{test:?}");
            assert_eq!(ReaderPublic::new(public, Key::random()).is_err(), nothing, "{test:?}");
            if nothing {
                let reader = ReaderSecret::from_parts(secret, Key::random());
                let mut sealed = seal(&reader.public(), b"", b"text");
                sealed[..32].copy_from_slice(&public);
                assert_eq!(open(&reader, b"", &sealed), Err(OpenError), "{test:?}");
                refused += 1;
            } else {
                agreed += 1;
            }
        }
        assert_eq!((agreed, refused), (487, 31));
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let reader = ReaderSecret::generate();
        let sealed = seal(&reader.public(), b"info", b"text");
        assert_eq!(sealed.len(), SEAL_OVERHEAD + 4);
        assert_eq!(open(&reader, b"info", &sealed).unwrap().as_slice(), b"text");
    }

    #[test]
    fn only_the_reader_opens_and_only_in_its_place() {
        let (reader, other) = (ReaderSecret::generate(), ReaderSecret::generate());
        let sealed = seal(&reader.public(), b"info", b"text");
        assert_eq!(open(&other, b"info", &sealed), Err(OpenError));
        assert_eq!(open(&reader, b"inf", &sealed), Err(OpenError));
        // The X25519 secret without the pre-shared key is not enough.
        let fallen = ReaderSecret::from_parts(*reader.secret_bytes(), Key::random());
        assert_eq!(open(&fallen, b"info", &sealed), Err(OpenError));
        for len in 0..sealed.len() {
            assert_eq!(open(&reader, b"info", &sealed[..len]), Err(OpenError));
        }
    }

    /// The points of order 1, 2, 4 and 8, and representations that are not canonical.
    #[test]
    fn points_of_low_order_are_refused() {
        let order_8 = hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800");
        let other_8 = hex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157");
        let mut one = [0; 32];
        one[0] = 1;
        let mut minus_one = [0xff; 32];
        (minus_one[0], minus_one[31]) = (0xec, 0x7f);
        let mut p = minus_one;
        p[0] = 0xed;
        let reader = ReaderSecret::generate();
        for point in [[0; 32], one, order_8, other_8, minus_one, p] {
            assert_eq!(ReaderPublic::new(point, Key::random()), Err(LowOrderKey));
            let mut sealed = seal(&reader.public(), b"", b"text");
            sealed[..32].copy_from_slice(&point);
            assert_eq!(open(&reader, b"", &sealed), Err(OpenError));
        }
    }

    #[test]
    fn a_dead_generator_repeats_no_key() {
        random::with_constant(0, || {
            let reader = ReaderSecret::generate().public();
            let ephemeral = |info: &[u8], text: &[u8]| seal(&reader, info, text)[..32].to_vec();
            assert_eq!(ephemeral(b"a", b"x"), ephemeral(b"a", b"x"));
            assert_ne!(ephemeral(b"a", b"x"), ephemeral(b"a", b"y"));
            assert_ne!(ephemeral(b"a", b"x"), ephemeral(b"b", b"x"));
        });
    }

    #[test]
    fn secrets_do_not_print() {
        assert_eq!(format!("{:?}", ReaderSecret::generate()), "ReaderSecret(..)");
        assert!(format!("{:?}", ReaderSecret::generate().public()).contains("Key(..)"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn any_flipped_bit_is_refused(text in prop::collection::vec(any::<u8>(), 0..100), bit in any::<prop::sample::Index>()) {
            let reader = ReaderSecret::generate();
            let mut sealed = seal(&reader.public(), b"info", &text);
            let opened = open(&reader, b"info", &sealed).unwrap();
            prop_assert_eq!(opened.as_slice(), &text[..]);
            let bit = bit.index(sealed.len() * 8);
            sealed[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(open(&reader, b"info", &sealed), Err(OpenError));
        }
    }
}
