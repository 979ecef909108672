//! Where everything that looks like chance comes from.

use jiff::{SignedDuration, Timestamp};

/// Decides as if by lot, always the same for the same seed and label.
///
/// Each thing that is made draws under a label of its own, so that one thing more or less leaves
/// all the others as they were. The bytes are those of BLAKE3's extendable output.
pub struct Draw(blake3::OutputReader);

impl Draw {
    /// The draws that belong to `label` in the clinic with this seed.
    pub fn new(seed: u64, label: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("drover demo 2025-03-10 made-up clinic");
        hasher.update(&seed.to_le_bytes());
        hasher.update(label.as_bytes());
        Self(hasher.finalize_xof())
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    /// A number of 128 bits.
    pub fn wide(&mut self) -> u128 {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        u128::from_le_bytes(bytes)
    }

    /// A number below `bound`; 0 where `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        ((u64::from(u32::from_le_bytes(bytes)) * bound as u64) >> 32) as usize
    }

    /// One of `items`, of which there must be at least one.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// Takes `count` out of `items`, or as many as there are.
    pub fn take<T>(&mut self, items: &mut Vec<T>, count: usize) -> Vec<T> {
        (0..count.min(items.len())).map(|_| items.swap_remove(self.below(items.len()))).collect()
    }

    /// A moment in the `days` before `end`.
    pub fn before(&mut self, end: Timestamp, days: usize) -> Timestamp {
        end - SignedDuration::from_secs(1 + self.below(days * 86_400) as i64)
    }
}
