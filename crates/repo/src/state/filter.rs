//! A small filter before the dedup index: most chunks of a first pass are new, and need not be
//! looked for in the database.
//!
//! A Bloom filter (Bloom, 1970) of about 12 bits a chunk and four probes: two in a hundred
//! absent chunks are looked up in vain. Names of chunks are uniformly distributed already, so
//! that their own bits serve as the hashes.

use std::sync::atomic::{AtomicU64, Ordering};

use drover_types::ChunkId;

const BITS_PER_CHUNK: usize = 12;
const PROBES: usize = 4;

/// Says of a chunk that it is surely absent, or perhaps there.
pub struct Filter {
    words: Box<[AtomicU64]>,
}

impl Filter {
    /// A filter for about `chunks` chunks; beyond that it gets less sharp, never wrong.
    pub fn with_capacity(chunks: usize) -> Self {
        let words = (chunks * BITS_PER_CHUNK).div_ceil(64).max(1 << 10).next_power_of_two();
        Self { words: (0..words).map(|_| AtomicU64::new(0)).collect() }
    }

    fn probes(&self, id: &ChunkId) -> [(usize, u64); PROBES] {
        std::array::from_fn(|probe| {
            let bytes: [u8; 8] = std::array::from_fn(|at| id.0[probe * 8 + at]);
            let hash = u64::from_le_bytes(bytes);
            ((hash >> 6) as usize & (self.words.len() - 1), 1 << (hash & 63))
        })
    }

    /// Adds a chunk.
    pub fn insert(&self, id: &ChunkId) {
        for (word, bit) in self.probes(id) {
            self.words[word].fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// `false` where the chunk was never added.
    pub fn may_contain(&self, id: &ChunkId) -> bool {
        self.probes(id)
            .iter()
            .all(|&(word, bit)| self.words[word].load(Ordering::Relaxed) & bit != 0)
    }
}
