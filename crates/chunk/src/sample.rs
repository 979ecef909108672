//! Whether a chunk is worth compressing, judged from under 1 % of it.
//!
//! Short windows are taken all over the chunk, since one chunk can hold an archive's text between
//! its images, and in each the pairs of equal bytes are counted. In random bytes (and so in what
//! is compressed or encrypted already) every pair has one chance in 256; whatever an entropy
//! coder could use shows as more pairs, and so do repeats within a window.

/// Bytes of one window.
const WINDOW: usize = 256;

/// Bytes of the chunk for each window.
const STRIDE: usize = 32 << 10;

/// The least number of windows.
const FEWEST: usize = 8;

/// Pairs of equal bytes that random bytes practically never have in a window: they have
/// 256 * 255 / 2 / 256 = 127.5 on average with a standard deviation of 11.3, and this is six
/// deviations more. Text has about 2,000, Base64 500.
const PAIRS: u32 = 195;

/// Whether zstd could make `plain` smaller. True for what is so short that sampling costs as
/// much as trying.
pub(crate) fn looks_compressible(plain: &[u8]) -> bool {
    let windows = (plain.len() / STRIDE).max(FEWEST);
    if plain.len() < windows * WINDOW {
        return true;
    }
    let last = plain.len() - WINDOW;
    (0..windows).any(|i| {
        let at = last * i / (windows - 1);
        pairs(&plain[at..at + WINDOW]) > PAIRS
    })
}

/// How many pairs of equal bytes are in `window`.
fn pairs(window: &[u8]) -> u32 {
    let mut seen = [0u16; 256];
    let mut pairs = 0;
    for &byte in window {
        let count = &mut seen[usize::from(byte)];
        pairs += u32::from(*count);
        *count += 1;
    }
    pairs
}
