//! The gear hash that tells where chunks end, searched at several places of the data at once.
//!
//! At each byte the hash is shifted by one bit and the byte's value of the table is added, so that it
//! depends on the last 64 bytes alone. Each step has to wait for the one before; but a search that begins
//! 64 bytes early knows the hash anywhere. So four stretches are searched in turns, and a processor, which
//! does several things in one cycle, has something to do while one of them waits. What is found is what a
//! search from the start finds. That two bytes are taken at each step is Xia et al., 2020.

use std::ops::ControlFlow;

/// How many stretches are searched in turns.
const LANES: usize = 4;
/// The length of one, in bytes.
const STRETCH: usize = 4096;
/// After how many bytes a hash no longer depends on what was before.
const MEMORY: usize = u64::BITS as usize;

/// A table of values for the gear hash.
#[derive(Clone)]
pub(crate) struct Gear {
    table: [u64; 256],
    /// Shifted left by one bit, for the first of two bytes.
    shifted: [u64; 256],
}

impl Gear {
    pub(crate) fn new(table: &[u64; 256]) -> Self {
        Self { table: *table, shifted: table.map(|value| value << 1) }
    }

    /// Looks for the first byte of `data` after which no bit of `mask` is set in the hash: breaks with its
    /// place, or goes on with the hash after all of `data`. `hash` is the one before.
    ///
    /// Bytes are taken by two: a last one without a second is not looked at. The highest bit of `mask` must
    /// not be set.
    pub(crate) fn find(&self, data: &[u8], mut hash: u64, mask: u64) -> ControlFlow<usize, u64> {
        let mut blocks = data.chunks_exact(LANES * STRETCH);
        let mut before = 0;
        for block in &mut blocks {
            hash = match self.in_turns(block, hash, mask) {
                Some(hash) => hash,
                // It is in this block; where it is first, only a search in order tells.
                None => self.in_order(block, before, hash, mask)?,
            };
            before += block.len();
        }
        self.in_order(blocks.remainder(), before, hash, mask)
    }

    /// Looks through all of `data`, which begins at `start`.
    fn in_order(
        &self,
        data: &[u8],
        start: usize,
        mut hash: u64,
        mask: u64,
    ) -> ControlFlow<usize, u64> {
        for (at, pair) in (start..).step_by(2).zip(data.chunks_exact(2)) {
            if self.first(&mut hash, pair[0], mask) {
                return ControlFlow::Break(at);
            }
            if self.second(&mut hash, pair[1], mask) {
                return ControlFlow::Break(at + 1);
            }
        }
        ControlFlow::Continue(hash)
    }

    /// The hash after a block; `None` where what is looked for is in it.
    fn in_turns(&self, block: &[u8], hash: u64, mask: u64) -> Option<u64> {
        let (stretches, _) = block.as_chunks::<STRETCH>();
        let stretches: &[[u8; STRETCH]; LANES] = stretches.try_into().expect("a block");
        let mut hashes = [hash; LANES];
        for (hash, before) in hashes[1..].iter_mut().zip(stretches) {
            for &byte in &before[STRETCH - MEMORY..] {
                *hash = (*hash << 1).wrapping_add(self.table[usize::from(byte)]);
            }
        }
        for at in (0..STRETCH).step_by(2) {
            for (hash, stretch) in hashes.iter_mut().zip(stretches) {
                if self.first(hash, stretch[at], mask) || self.second(hash, stretch[at + 1], mask) {
                    return None;
                }
            }
        }
        Some(hashes[LANES - 1])
    }

    /// Takes the first byte of two. The hash is then shifted by a bit too many, and the mask with it.
    #[inline]
    fn first(&self, hash: &mut u64, byte: u8, mask: u64) -> bool {
        *hash = (*hash << 2).wrapping_add(self.shifted[usize::from(byte)]);
        *hash & (mask << 1) == 0
    }

    /// Takes the second.
    #[inline]
    fn second(&self, hash: &mut u64, byte: u8, mask: u64) -> bool {
        *hash = hash.wrapping_add(self.table[usize::from(byte)]);
        *hash & mask == 0
    }
}
