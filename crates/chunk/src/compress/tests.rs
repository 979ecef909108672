use proptest::prelude::*;
use zstd::bulk;

use super::*;
use crate::testing::pseudo_random;

fn text(len: usize) -> Vec<u8> {
    (0u32..)
        .flat_map(|i| format!("line {i}: the quick brown fox\n").into_bytes())
        .take(len)
        .collect()
}

fn restored(
    compression: Compression,
    stored: &[u8],
    len: usize,
) -> Result<Vec<u8>, DecompressError> {
    let mut out = vec![9; 77];
    let done = Decompressor::new().decompress(compression, stored, len, &mut out);
    assert!(done.is_ok() || out.is_empty());
    done.map(|()| out)
}

fn compressed(level: i32, plain: &[u8]) -> (Compression, Vec<u8>) {
    let mut buffer = vec![9; 77];
    let (compression, stored) = Compressor::new(level).compress(plain, &mut buffer);
    (compression, stored.to_vec())
}

#[test]
fn text_is_compressed_and_noise_is_not() {
    let (compression, stored) = compressed(1, &text(1 << 20));
    assert_eq!(compression, Compression::Zstd);
    assert!(stored.len() < 300 << 10);
    let noise = pseudo_random(1, 1 << 20);
    assert_eq!(compressed(1, &noise), (Compression::None, noise));
}

#[test]
fn text_between_noise_is_found() {
    let mut plain = pseudo_random(3, 1 << 20);
    plain[300_000..400_000].copy_from_slice(&text(100_000));
    let (compression, stored) = compressed(1, &plain);
    assert_eq!(compression, Compression::Zstd);
    assert!(stored.len() < (1 << 20) - 80_000);
}

#[test]
fn the_level_is_used() {
    let plain = text(1 << 18);
    assert!(compressed(19, &plain).1.len() < compressed(1, &plain).1.len());
}

#[test]
fn what_saves_nothing_is_stored_as_it_is() {
    for plain in [&b""[..], b"a", b"short and stout", &pseudo_random(5, 300)] {
        assert_eq!(compressed(1, plain), (Compression::None, plain.to_vec()));
    }
}

#[test]
fn a_frame_that_grows_beyond_its_length_is_refused() {
    let bomb = bulk::compress(&vec![0; 64 << 20], 1).expect("memory");
    for len in [0, 1, 1000, limits::CHUNK] {
        assert!(restored(Compression::Zstd, &bomb, len).is_err(), "{len}");
    }
    assert_eq!(
        restored(Compression::Zstd, &bomb, 64 << 20),
        Err(DecompressError::TooLong(64 << 20))
    );
}

#[test]
fn exactly_one_frame() {
    let frame = bulk::compress(&text(1000), 1).expect("memory");
    let skippable = [0x50, 0x2A, 0x4D, 0x18, 1, 0, 0, 0, 7];
    let empty = bulk::compress(b"", 1).expect("memory");
    assert_eq!(restored(Compression::Zstd, &frame, 1000), Ok(text(1000)));
    assert_eq!(restored(Compression::Zstd, &empty, 0), Ok(vec![]));
    for parts in [
        &[&frame[..], &frame][..],
        &[&frame, &skippable],
        &[&skippable, &frame],
        &[&frame, &empty],
        &[&frame, b"x"],
        &[&frame[..frame.len() - 1]],
        &[],
    ] {
        let stored = parts.concat();
        let refused = restored(Compression::Zstd, &stored, 1000);
        assert_eq!(refused, Err(DecompressError::NotOneFrame), "{parts:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_comes_back_is_what_went_in(
        runs in prop::collection::vec((any::<u64>(), 0..60_000usize, any::<bool>()), 0..5),
        level in -3..25i32,
    ) {
        let plain: Vec<u8> = runs
            .into_iter()
            .flat_map(|(seed, len, noise)| if noise { pseudo_random(seed, len) } else { text(len) })
            .collect();
        let (compression, stored) = compressed(level.min(6), &plain);
        prop_assert!(compression == Compression::None || stored.len() * 32 <= plain.len() * 31);
        let back = restored(compression, &stored, plain.len());
        prop_assert_eq!(back.as_ref(), Ok(&plain));
        prop_assert!(restored(compression, &stored, plain.len() + 1).is_err());
        prop_assert!(plain.is_empty() || restored(compression, &stored, plain.len() - 1).is_err());
    }

    #[test]
    fn damage_is_an_error_or_another_text_of_the_same_length(
        at in any::<prop::sample::Index>(),
        flip in 1..=255u8,
    ) {
        let mut stored = bulk::compress(&text(5000), 1).expect("memory");
        let at = at.index(stored.len());
        stored[at] ^= flip;
        if let Ok(out) = restored(Compression::Zstd, &stored, 5000) {
            prop_assert_eq!(out.len(), 5000);
        }
    }

    #[test]
    fn any_bytes_are_safe(mut stored in prop::collection::vec(any::<u8>(), 0..200), len in 0..10_000usize) {
        let _ = restored(Compression::Zstd, &stored, len);
        stored.splice(0..stored.len().min(4), FRAME_MAGIC);
        let _ = restored(Compression::Zstd, &stored, len);
    }
}
