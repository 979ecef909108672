//! Reproducible noise for this crate's tests.

/// `len` bytes that depend on `seed` alone and look random.
pub fn pseudo_random(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A gear table that stands for the key `seed`.
pub fn gear(seed: u64) -> [u64; 256] {
    let bytes = pseudo_random(!seed, 2048);
    std::array::from_fn(|i| {
        u64::from_le_bytes(bytes[8 * i..8 * i + 8].try_into().expect("eight bytes"))
    })
}
