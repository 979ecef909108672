//! The plain BLAKE3 of a whole file, as `b3sum` prints it.
//!
//! Three things that `blake3::Hasher` does not do are needed here. A hash of terabytes must
//! survive a restart: the state is the short list of subtree values over what was hashed. Long
//! holes must be hashed as the zeros that they read as, which takes all cores. And a long buffer
//! can be hashed on all cores as well.
//!
//! BLAKE3 is a binary tree over pieces of 1 KiB whose left side is always a whole power of two.
//! Here its lower part, up to units of 512 KiB, is left to `blake3::Hasher`; above it,
//! `Tree` holds the values of whole subtrees, the longest first, much like the digits of a
//! binary number. The topmost node is computed differently from all others, so a node may be
//! computed only when it is known whether it is the topmost. Two rules see to that: a unit, and
//! a pair of subtrees of one length, is closed only when more data follows it.

use blake3::{
    Hasher,
    hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root},
};
use drover_types::{
    FileHash,
    codec::{DecodeError, Decoder, Encoder},
};
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice};

/// Bytes of the smallest subtree that a state can name. Two are needed before there is anything
/// to save, since a lone one may still be the whole file: at most 1 MiB is fed again.
const UNIT: u64 = 512 << 10;

/// No file is longer (`off_t`), and so no state covers more.
const LONGEST: u64 = i64::MAX as u64;

/// More subtrees than a state can have: one for each power of two below [`LONGEST`], and a twin.
const MOST_SUBTREES: usize = 64;

/// Hashes a whole file, in order, holes included.
#[derive(Clone, Debug)]
pub struct FileHasher {
    tree: Tree,
    /// The unit at the end of the tree: empty only where nothing was fed since the start.
    unit: Hasher,
}

/// What a [`FileHasher`] needs to go on in another process.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HasherState(Tree);

impl FileHasher {
    /// Nothing hashed yet.
    pub fn new() -> Self {
        Self::resume(HasherState::default())
    }

    /// Goes on with the byte at [`HasherState::resume_offset`].
    pub fn resume(state: HasherState) -> Self {
        let unit = unit_at(state.0.len);
        Self { tree: state.0, unit }
    }

    /// Bytes of the file that were hashed.
    pub fn len(&self) -> u64 {
        self.tree.len + self.unit.count()
    }

    /// Whether nothing was hashed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next bytes of the file, on this thread.
    pub fn update(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let take = self.room().min(data.len() as u64) as usize;
            let (now, later) = data.split_at(take);
            self.unit.update(now);
            data = later;
        }
    }

    /// The next bytes of the file, on all of rayon's threads. Faster than [`Self::update`] from
    /// a few MiB on, slower for less.
    pub fn update_rayon(&mut self, data: &[u8]) {
        // The last unit stays open, so that it can become the topmost node.
        let to_boundary = self.to_boundary(data.len() as u64) as usize;
        let (first, rest) = data.split_at(to_boundary);
        self.update(first);
        let whole = (rest.len() as u64).saturating_sub(1) / UNIT;
        let (middle, last) = rest.split_at((whole * UNIT) as usize);
        if whole > 0 {
            self.close_unit();
            let start = self.tree.len;
            let values: Vec<ChainingValue> = middle
                .par_chunks(UNIT as usize)
                .enumerate()
                .map(|(i, unit)| unit_at(start + i as u64 * UNIT).update(unit).finalize_non_root())
                .collect();
            for value in values {
                self.tree.push(value, 0);
            }
            self.unit = unit_at(self.tree.len);
        }
        self.update(last);
    }

    /// The next `len` bytes of the file are zeros: a hole. Takes all of rayon's threads where it
    /// is long, and no memory to speak of.
    pub fn update_zeros(&mut self, mut len: u64) {
        let to_boundary = self.to_boundary(len);
        self.update_few_zeros(to_boundary);
        len -= to_boundary;
        while len > UNIT {
            self.close_unit();
            // The longest subtree that starts here and leaves something for after it. Its two
            // halves are kept apart until then, as everything in the tree is.
            let aligned = (self.tree.len / UNIT).trailing_zeros();
            let fitting = ((len - 1) / UNIT).ilog2();
            let level = aligned.min(fitting) as u8;
            match level.checked_sub(1) {
                None => self.tree.push(zeros(self.tree.len, 0), 0),
                Some(below) => {
                    for value in zero_halves(self.tree.len, below) {
                        self.tree.push(value, below);
                    }
                }
            }
            self.unit = unit_at(self.tree.len);
            len -= UNIT << level;
        }
        self.update_few_zeros(len);
    }

    /// The hash of everything up to here. More may follow.
    pub fn finalize(&self) -> FileHash {
        let root = if self.unit.count() == 0 {
            self.tree.root()
        } else {
            // The open unit is the last subtree of all: it may be shorter than its level says.
            let mut tree = self.tree.clone();
            tree.push(self.unit.finalize_non_root(), 0);
            tree.root()
        };
        // Less than two subtrees: the file is the open unit alone, or empty.
        FileHash(root.unwrap_or_else(|| self.unit.finalize().into()))
    }

    /// What is needed to go on later. Less than 2 × 512 KiB of what was hashed must be fed again.
    pub fn state(&self) -> HasherState {
        match self.tree.subtrees.len() {
            0 | 1 => HasherState::default(),
            _ => HasherState(self.tree.clone()),
        }
    }

    /// Bytes that fit the open unit, which is closed first where it is full.
    fn room(&mut self) -> u64 {
        if self.unit.count() == UNIT {
            self.close_unit();
            self.unit = unit_at(self.tree.len);
        }
        UNIT - self.unit.count()
    }

    /// How many of the next `len` bytes fill up the open unit.
    fn to_boundary(&self, len: u64) -> u64 {
        match self.unit.count() {
            0 => 0,
            filled => (UNIT - filled).min(len),
        }
    }

    /// Moves a full unit into the tree. Right only where more data follows.
    fn close_unit(&mut self) {
        if self.unit.count() == UNIT {
            self.tree.push(self.unit.finalize_non_root(), 0);
        }
    }

    fn update_few_zeros(&mut self, mut len: u64) {
        while len > 0 {
            let take = len.min(ZEROS.len() as u64);
            self.update(&ZEROS[..take as usize]);
            len -= take;
        }
    }
}

impl Default for FileHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl HasherState {
    /// Where in the file feeding must go on, in bytes: everything before it is covered.
    pub fn resume_offset(&self) -> u64 {
        self.0.len
    }

    /// The canonical encoding, at most 2 KiB: the number of subtrees as a varint, then for each,
    /// from the start of the file, its level (a byte) and its chaining value (32 bytes).
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Encoder::new();
        to.varint(self.0.subtrees.len() as u64);
        for subtree in &self.0.subtrees {
            to.u8(subtree.level);
            to.raw(&subtree.value);
        }
        to.finish()
    }

    /// Takes what [`Self::encode`] gave, and refuses lists of subtrees that no hasher leaves.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Decoder::new(bytes);
        let count = from.length(MOST_SUBTREES)?;
        if count == 1 {
            return Err(DecodeError::Invalid("a lone subtree may be a whole file"));
        }
        let mut tree = Tree::default();
        for i in 0..count {
            let level = from.u8()?;
            let value = from.array()?;
            if let Some(before) = tree.subtrees.last() {
                let twins = level == before.level && i + 1 == count;
                if level >= before.level && !twins {
                    return Err(DecodeError::Invalid("the subtrees are not those of a prefix"));
                }
            }
            // Shifted in 128 bits, no level can overflow before it is compared.
            let len = (u128::from(UNIT) << level.min(64)) + u128::from(tree.len);
            if len > u128::from(LONGEST) {
                return Err(DecodeError::Invalid("the subtrees are longer than any file"));
            }
            tree.len = len as u64;
            tree.subtrees.push(Subtree { level, value });
        }
        from.end()?;
        Ok(Self(tree))
    }
}

/// Whole subtrees that lie side by side from the start of the file. Each is longer than the one
/// after it, only the last two may be of one length: whether they may be merged depends on what
/// follows. Never one alone where it is longer than a unit.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Tree {
    subtrees: Vec<Subtree>,
    /// Bytes they cover.
    len: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Subtree {
    /// It covers `UNIT << level` bytes.
    level: u8,
    value: ChainingValue,
}

impl Tree {
    /// Adds the subtree that comes next; its level must divide what is there.
    fn push(&mut self, value: ChainingValue, level: u8) {
        // Something follows the last two, so their parent is not the topmost node.
        while let [.., left, right] = self.subtrees[..]
            && left.level == right.level
        {
            self.subtrees.truncate(self.subtrees.len() - 2);
            self.subtrees.push(Subtree {
                level: left.level + 1,
                value: merge_subtrees_non_root(&left.value, &right.value, Mode::Hash),
            });
        }
        debug_assert!(self.len.is_multiple_of(UNIT << level));
        self.subtrees.push(Subtree { level, value });
        self.len += UNIT << level;
    }

    /// The hash of a file that ends here; `None` where less than two subtrees are there, from
    /// whose values it does not follow.
    fn root(&self) -> Option<[u8; 32]> {
        let (first, rest) = self.subtrees.split_first()?;
        let (last, between) = rest.split_last()?;
        let right = between.iter().rfold(last.value, |right, left| {
            merge_subtrees_non_root(&left.value, &right, Mode::Hash)
        });
        Some(merge_subtrees_root(&first.value, &right, Mode::Hash).into())
    }
}

/// A hasher for the unit that begins at `offset`.
fn unit_at(offset: u64) -> Hasher {
    let mut unit = Hasher::new();
    unit.set_input_offset(offset);
    unit
}

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The value of the subtree of `level` over zeros at `offset`. The position goes into every
/// value, so none can be computed once and used again.
fn zeros(offset: u64, level: u8) -> ChainingValue {
    match level.checked_sub(1) {
        None => {
            let mut unit = unit_at(offset);
            for _ in 0..UNIT / ZEROS.len() as u64 {
                unit.update(&ZEROS);
            }
            unit.finalize_non_root()
        }
        Some(below) => {
            let [left, right] = zero_halves(offset, below);
            merge_subtrees_non_root(&left, &right, Mode::Hash)
        }
    }
}

/// The values of two neighbouring subtrees of `level` over zeros, computed side by side.
fn zero_halves(offset: u64, level: u8) -> [ChainingValue; 2] {
    let middle = offset + (UNIT << level);
    rayon::join(|| zeros(offset, level), || zeros(middle, level)).into()
}

#[cfg(test)]
mod tests;
