//! Classes of files that are alike, and which files of each are read.

use std::collections::{BTreeMap, BinaryHeap};

use drover_types::{Entry, RelativePath};

use super::data;

/// Files of a class that are kept to be read.
const KEPT: usize = 128;
/// Classes; what comes after them counts for its size alone.
const MOST: usize = 768;
/// The longest extension that tells a class, in bytes.
const EXTENSION: usize = 8;

/// Files of about one size with one extension.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class {
    /// The power of 4 that the size is below.
    size: u8,
    /// In small letters; empty where there is none, or another class would be one too many.
    extension: Box<[u8]>,
}

impl Class {
    /// Of a file of `size` bytes named `name`.
    pub fn of(size: u64, name: &[u8]) -> Self {
        let extension = name.iter().rposition(|&b| b == b'.').filter(|&at| at > 0);
        let extension = extension.map_or(&b""[..], |at| &name[at + 1..]);
        let extension = match extension.len() {
            1..=EXTENSION => extension.to_ascii_lowercase().into_boxed_slice(),
            _ => Box::default(),
        };
        let bits = u64::BITS - size.leading_zeros();
        Self { size: bits.div_ceil(2) as u8, extension }
    }

    fn of_size_alone(&self) -> Self {
        Self { size: self.size, extension: Box::default() }
    }
}

/// A file that may be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    /// What decides: the smallest ones are kept. First, so that it orders.
    pub(super) draw: u64,
    pub(super) path: RelativePath,
    pub(super) size: u64,
}

/// What is known of a class.
#[derive(Debug, Default)]
pub(super) struct Stratum {
    pub(super) files: u64,
    /// Without holes.
    pub(super) bytes: u64,
    kept: BinaryHeap<Candidate>,
}

impl Stratum {
    /// The files to read, in the order in which they are drawn.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let mut kept = self.kept.clone().into_vec();
        kept.sort_unstable();
        kept
    }
}

/// All classes.
pub(super) struct Strata {
    seed: [u8; 32],
    pub(super) classes: BTreeMap<Class, Stratum>,
}

impl Strata {
    pub(super) fn new(seed: u64) -> Self {
        let seed = blake3::derive_key("drover 2026 sample of an estimate", &seed.to_le_bytes());
        Self { seed, classes: BTreeMap::new() }
    }

    /// Takes a file with content.
    pub(super) fn add(&mut self, entry: &Entry) {
        let bytes = data(entry);
        let class = Class::of(bytes, entry.path.name());
        let class = match self.classes.len() < MOST || self.classes.contains_key(&class) {
            true => class,
            false => class.of_size_alone(),
        };
        let stratum = self.classes.entry(class).or_default();
        stratum.files += 1;
        stratum.bytes = stratum.bytes.saturating_add(bytes);
        let draw = draw(&self.seed, entry.path.as_bytes());
        if stratum.kept.len() < KEPT || stratum.kept.peek().is_some_and(|most| draw < most.draw) {
            let size = entry.evidence.size;
            stratum.kept.push(Candidate { draw, path: entry.path.clone(), size });
            if stratum.kept.len() > KEPT {
                stratum.kept.pop();
            }
        }
    }

    /// A number that depends on the seed and `what` alone.
    pub(super) fn draw(&self, what: &[u8]) -> u64 {
        draw(&self.seed, what)
    }
}

fn draw(seed: &[u8; 32], what: &[u8]) -> u64 {
    let hash = blake3::keyed_hash(seed, what);
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes"))
}
