//! A frame's bytes once they are open: decompression.

use drover_chunk::{Compressor, Decompressor};
use drover_types::{Compression, limits};

/// A length (four bytes), a compression (one), the stored bytes.
pub fn run(data: &[u8]) -> bool {
    let Some((head, stored)) = data.split_first_chunk::<5>() else { return false };
    let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let Some(compression) = Compression::from_code(head[4]) else { return false };
    let mut out = Vec::new();
    let done = Decompressor::new().decompress(compression, stored, len, &mut out);
    assert!(out.capacity() <= limits::CHUNK);
    assert_eq!(out.len(), if done.is_ok() { len } else { 0 });
    done.is_ok()
}

/// A chunk that was made smaller, and one that was not.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut buffer = Vec::new();
    [&[b'a'; 5000][..], b"short"]
        .map(|plain| {
            let mut seed = (plain.len() as u32).to_le_bytes().to_vec();
            let (compression, stored) = Compressor::default().compress(plain, &mut buffer);
            seed.push(compression as u8);
            seed.extend_from_slice(stored);
            seed
        })
        .to_vec()
}
