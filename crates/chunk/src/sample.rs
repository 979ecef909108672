//! Whether a chunk is worth compressing, judged from under 1 % of it.
//!
//! Short windows are taken all over the chunk, since one chunk can hold an archive's text between
//! its images, and in each the pairs of equal bytes are counted. In random bytes (and so in what
//! is compressed or encrypted already) every pair has one chance in 256; whatever an entropy
//! coder could use shows as more pairs. One window with more is enough to try the whole chunk.
//!
//! What is missed is noise that repeats itself further apart than a window. A trial of zstd on a
//! few KiB would find some of it, and costs two to three times as much as the sample.

/// Bytes of one window. Counts of bytes within it must fit a `u8`.
const WINDOW: usize = 128;

/// Bytes of the chunk for each window.
const STRIDE: usize = 16 << 10;

/// The least number of windows.
const FEWEST: usize = 8;

/// Pairs of equal bytes that random bytes practically never have in a window: they have
/// 128 × 127 / 2 / 256 = 31.75 on average with a standard deviation of 5.6, and this is seven
/// deviations more. Base64 has 127, text about 500.
const PAIRS: u32 = 71;

/// Whether zstd could make `plain` smaller. True for what is so short that sampling costs as
/// much as trying.
pub(crate) fn looks_compressible(plain: &[u8]) -> bool {
    let windows = (plain.len() / STRIDE).max(FEWEST);
    if plain.len() < windows * WINDOW {
        return true;
    }
    // From the first byte to the last: what is compressed keeps plain text at its ends, such as
    // the directory of an archive.
    let last = plain.len() - WINDOW;
    (0..windows).any(|i| {
        let start = last * i / (windows - 1);
        pairs(&plain[start..start + WINDOW]) > PAIRS
    })
}

/// How many pairs of equal bytes are in `window`.
fn pairs(window: &[u8]) -> u32 {
    let mut seen = [0u8; 256];
    let mut pairs = 0;
    for &byte in window {
        let count = &mut seen[usize::from(byte)];
        pairs += u32::from(*count);
        *count += 1;
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pseudo_random;

    #[test]
    fn noise_of_any_length_is_noise() {
        for (seed, len) in (0..500).zip((FEWEST * WINDOW..).step_by(2999)) {
            assert!(!looks_compressible(&pseudo_random(seed, len)), "{seed} {len}");
        }
    }

    #[test]
    fn all_that_zstd_can_use_is_found() {
        let noise = pseudo_random(1, 1 << 20);
        let pixels: Vec<u8> = noise
            .iter()
            .enumerate()
            .flat_map(|(x, n)| (1000 + (x % 3000) as u16 + u16::from(n & 15)).to_le_bytes())
            .collect();
        let floats: Vec<u8> =
            noise.chunks_exact(3).flat_map(|b| [b[0], b[1], b[2] & 0x7f, 0x3f]).collect();
        let letters: Vec<u8> = noise.iter().map(|b| 32 + (b & 63)).collect();
        for data in [&pixels, &floats, &letters] {
            for part in data.chunks_exact(10_000) {
                assert!(looks_compressible(part));
            }
        }
    }

    #[test]
    fn a_part_of_a_stride_s_length_is_found_wherever_it_is() {
        for start in (0..(1 << 20) - STRIDE).step_by(37_013) {
            let mut data = pseudo_random(7, 1 << 20);
            data[start..start + STRIDE + 2 * WINDOW].fill(b'-');
            assert!(looks_compressible(&data), "{start}");
        }
    }

    #[test]
    fn what_is_very_short_is_tried() {
        assert!(looks_compressible(b""));
        assert!(looks_compressible(&pseudo_random(1, FEWEST * WINDOW - 1)));
    }
}
