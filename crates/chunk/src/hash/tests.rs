use proptest::prelude::*;

use super::*;
use crate::testing::pseudo_random;

const U: usize = UNIT as usize;

fn plain(data: &[u8]) -> FileHash {
    FileHash(blake3::hash(data).into())
}

fn through_bytes(state: &HasherState) -> HasherState {
    HasherState::decode(&state.encode()).expect("what was encoded")
}

/// Lengths that lie at and around the ends of units, and some that do not.
fn length(units: usize) -> impl Strategy<Value = usize> {
    prop_oneof![
        (0..=units, -2..=2i64).prop_map(|(n, off)| (n as i64 * UNIT as i64 + off).max(0) as usize),
        0..=units * U,
        0..3000usize,
    ]
}

#[test]
fn every_length_around_the_ends_of_units() {
    let data = pseudo_random(1, 9 * U + 1);
    for units in 0..=9 {
        for len in [(units * U).saturating_sub(1), units * U, units * U + 1] {
            let mut hasher = FileHasher::new();
            hasher.update(&data[..len]);
            assert_eq!(hasher.finalize(), plain(&data[..len]), "{len}");
            assert_eq!(hasher.len(), len as u64);

            let mut hasher = FileHasher::new();
            hasher.update_rayon(&data[..len]);
            assert_eq!(hasher.finalize(), plain(&data[..len]), "{len} in parallel");

            let mut hasher = FileHasher::new();
            hasher.update_zeros(len as u64);
            assert_eq!(hasher.finalize(), plain(&vec![0; len]), "{len} zeros");
            assert_eq!(hasher.len(), len as u64);
        }
    }
}

#[test]
fn a_file_that_ends_where_the_state_does() {
    let data = pseudo_random(2, 17 * U);
    for units in 0..16 {
        let mut hasher = FileHasher::new();
        hasher.update(&data[..units * U + 1]);
        let state = hasher.state();
        let resumed = FileHasher::resume(state.clone());
        assert_eq!(resumed.finalize(), plain(&data[..state.resume_offset() as usize]), "{units}");
        assert_eq!(resumed.state(), state);
    }
}

#[test]
fn long_holes() {
    let mut hasher = FileHasher::new();
    hasher.update(b"head");
    hasher.update_zeros(300 << 20);
    hasher.update(b"tail");
    let mut reference = Hasher::new();
    reference.update(b"head");
    for _ in 0..300 << 4 {
        reference.update(&ZEROS);
    }
    reference.update(b"tail");
    assert_eq!(hasher.finalize(), FileHash(reference.finalize().into()));
}

#[test]
fn a_state_of_no_prefix_is_refused() {
    let decode = |levels: &[u8]| {
        let mut e = Encoder::new();
        e.varint(levels.len() as u64);
        for &level in levels {
            e.u8(level);
            e.raw(&[0; 32]);
        }
        HasherState::decode(&e.finish())
    };
    for good in [&[][..], &[0, 0], &[1, 0], &[5, 5], &[3, 2, 0, 0], &[43, 42], &[43, 42, 40, 40]] {
        let state = decode(good).expect("a prefix");
        let covered: u64 = good.iter().map(|&level| UNIT << level).sum();
        assert_eq!(state.resume_offset(), covered, "{good:?}");
    }
    for bad in [&[0][..], &[7], &[0, 1], &[1, 1, 0], &[0, 0, 0], &[44, 0], &[255, 254], &[43, 43]] {
        assert!(decode(bad).is_err(), "{bad:?}");
    }
    let mut e = Encoder::new();
    e.varint(u64::MAX);
    assert!(HasherState::decode(&e.finish()).is_err());
}

/// One call on a hasher.
#[derive(Clone, Debug)]
enum Step {
    Bytes(u64, usize),
    Parallel(u64, usize),
    Zeros(usize),
    /// The state is kept, and the hasher lost: what the state lacks is fed again.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (any::<u64>(), length(3)).prop_map(|(seed, len)| Step::Bytes(seed, len)),
        2 => (any::<u64>(), length(5)).prop_map(|(seed, len)| Step::Parallel(seed, len)),
        3 => length(20).prop_map(Step::Zeros),
        3 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_sequence_gives_the_plain_hash(steps in prop::collection::vec(step(), 0..12)) {
        let mut hasher = FileHasher::new();
        let mut fed = Vec::new();
        for step in steps {
            match step {
                Step::Bytes(seed, len) => {
                    let data = pseudo_random(seed, len);
                    hasher.update(&data);
                    fed.extend_from_slice(&data);
                }
                Step::Parallel(seed, len) => {
                    let data = pseudo_random(seed, len);
                    hasher.update_rayon(&data);
                    fed.extend_from_slice(&data);
                }
                Step::Zeros(len) => {
                    hasher.update_zeros(len as u64);
                    fed.resize(fed.len() + len, 0);
                }
                Step::Restart => {
                    let state = through_bytes(&hasher.state());
                    let offset = state.resume_offset() as usize;
                    prop_assert!(offset <= fed.len() && fed.len() - offset <= 1 << 20);
                    hasher = FileHasher::resume(state);
                    prop_assert_eq!(hasher.finalize(), plain(&fed[..offset]));
                    hasher.update(&fed[offset..]);
                }
            }
            prop_assert_eq!(hasher.len(), fed.len() as u64);
        }
        prop_assert_eq!(hasher.finalize(), plain(&fed));
    }

    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(
        levels in prop::collection::vec(0..50u8, 0..6),
        cut in 0..40usize,
    ) {
        let mut e = Encoder::new();
        e.varint(levels.len() as u64);
        for level in levels {
            e.u8(level);
            e.raw(&[level; 32]);
        }
        let mut bytes = e.finish();
        bytes.truncate(bytes.len().saturating_sub(cut).max(1));
        if let Ok(state) = HasherState::decode(&bytes) {
            prop_assert_eq!(state.encode(), bytes);
        }
    }
}

/// The vectors of the BLAKE3 project, as its Python package has them (CC0): plain hashes by the
/// hasher of files, whole and resumed, and the two other modes that drover uses.
#[test]
fn the_published_vectors_of_blake3() {
    const CONTEXT: &str = "BLAKE3 2019-12-27 16:29:52 test vectors context";
    let text = include_str!("../../../../docs/vectors/blake3.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    let key: &[u8; 32] = vectors["key"].as_str().unwrap().as_bytes().try_into().unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 22);
    for case in cases {
        let len = case["input_len"].as_u64().unwrap() as usize;
        let data: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        let published = |mode: &str| {
            let hex = case[mode].as_str().unwrap().as_bytes();
            let bytes = data_encoding::HEXLOWER.decode(hex).unwrap();
            *bytes.first_chunk::<32>().unwrap()
        };
        let mut hasher = FileHasher::new();
        hasher.update(&data);
        assert_eq!(hasher.finalize().0, published("hash"), "{len}");
        let mut hasher = FileHasher::new();
        hasher.update(&data[..len / 2]);
        let state = through_bytes(&hasher.state());
        let from = state.resume_offset() as usize;
        let mut hasher = FileHasher::resume(state);
        hasher.update(&data[from..]);
        assert_eq!(hasher.finalize().0, published("hash"), "{len}, resumed");
        assert_eq!(*blake3::keyed_hash(key, &data).as_bytes(), published("keyed_hash"), "{len}");
        assert_eq!(blake3::derive_key(CONTEXT, &data), published("derive_key"), "{len}");
    }
}
