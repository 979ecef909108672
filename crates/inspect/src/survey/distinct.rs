//! How many different ones there are: exactly while they are few, as an estimate beyond.

use std::{collections::HashSet, fmt, hash::BuildHasherDefault, hash::Hasher};

/// Registers of an estimate: 2¹² bytes, a standard error of 1.04/√4096 = 1.6 %.
const BITS: u32 = 12;
const REGISTERS: usize = 1 << BITS;

/// A number of different things, and whether it is exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub value: u64,
    /// Estimated, with a standard error of 1.6 %, because there were too many to remember each.
    pub estimated: bool,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.estimated { write!(f, "about {}", self.value) } else { self.value.fmt(f) }
    }
}

/// What is put in is a keyed hash already.
#[derive(Clone, Default)]
pub(super) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(word);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 ^= value;
    }
}

pub(super) type Hashing = BuildHasherDefault<Identity>;

/// A set of 64-bit hashes.
#[derive(Clone, Debug)]
pub(super) enum Distinct {
    /// Every one of them.
    Exact(HashSet<u64, Hashing>),
    /// HyperLogLog (Flajolet, Fusy, Gandouet, Meunier 2007), without its corrections for few, which
    /// are counted exactly.
    Estimate(Box<[u8; REGISTERS]>),
}

impl Default for Distinct {
    fn default() -> Self {
        Distinct::Exact(HashSet::default())
    }
}

impl Distinct {
    /// Adds one; beyond `bound` different ones they are estimated. Whether it was new, where that is
    /// known.
    pub fn insert(&mut self, hash: u64, bound: usize) -> bool {
        match self {
            Distinct::Exact(set) => {
                let new = set.insert(hash);
                if set.len() > bound {
                    let mut registers = Box::new([0; REGISTERS]);
                    set.iter().for_each(|&hash| register(&mut registers, hash));
                    *self = Distinct::Estimate(registers);
                }
                new
            }
            Distinct::Estimate(registers) => {
                register(registers, hash);
                false
            }
        }
    }

    pub fn merge(&mut self, other: Self, bound: usize) {
        match other {
            Distinct::Exact(set) => set.into_iter().for_each(|hash| {
                self.insert(hash, bound);
            }),
            Distinct::Estimate(mut registers) => {
                match self {
                    Distinct::Exact(set) => {
                        set.iter().for_each(|&hash| register(&mut registers, hash))
                    }
                    Distinct::Estimate(mine) => {
                        registers.iter_mut().zip(mine.iter()).for_each(|(a, &b)| *a = (*a).max(b));
                    }
                }
                *self = Distinct::Estimate(registers);
            }
        }
    }

    pub fn count(&self) -> Count {
        match self {
            Distinct::Exact(set) => Count { value: set.len() as u64, estimated: false },
            Distinct::Estimate(registers) => {
                let m = REGISTERS as f64;
                let sum: f64 = registers.iter().map(|&rank| 2f64.powi(-i32::from(rank))).sum();
                let estimate = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
                Count { value: estimate.round() as u64, estimated: true }
            }
        }
    }
}

fn register(registers: &mut [u8; REGISTERS], hash: u64) {
    let index = (hash >> (64 - BITS)) as usize;
    let rank = ((hash << BITS) | 1 << (BITS - 1)).leading_zeros() as u8 + 1;
    registers[index] = registers[index].max(rank);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::HashKey;

    fn hashes(range: std::ops::Range<u64>) -> impl Iterator<Item = u64> {
        let key = HashKey::new([7; 32]);
        range.map(move |n| key.hash(&[&n.to_le_bytes()]))
    }

    #[test]
    fn few_are_exact_and_many_are_near() {
        let mut set = Distinct::default();
        hashes(0..1000).chain(hashes(0..1000)).for_each(|h| {
            set.insert(h, 1000);
        });
        assert_eq!(set.count(), Count { value: 1000, estimated: false });
        hashes(1000..200_000).for_each(|h| {
            set.insert(h, 1000);
        });
        let count = set.count();
        assert!(count.estimated);
        // Five standard errors.
        assert!((count.value as f64 / 200_000.0 - 1.0).abs() < 0.08, "{count}");
    }

    #[test]
    fn merging_is_like_adding() {
        for (bound, limit) in [(100_000, 60_000u64), (1000, 60_000)] {
            let mut whole = Distinct::default();
            hashes(0..limit).for_each(|h| {
                whole.insert(h, bound);
            });
            let mut first = Distinct::default();
            hashes(0..limit / 2).for_each(|h| {
                first.insert(h, bound);
            });
            let mut second = Distinct::default();
            hashes(limit / 3..limit).for_each(|h| {
                second.insert(h, bound);
            });
            first.merge(second, bound);
            assert_eq!(first.count(), whole.count());
        }
    }
}
