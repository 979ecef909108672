//! Which frames go where, in the order in which packs are fetched.
//!
//! A restore of any size must sort what it needs by pack, in bounded memory: runs that fill their
//! room are sorted and written to the target's scratch, and merged when all is known.

use std::{cmp::Reverse, collections::BinaryHeap, ops::Range};

use drover_source::target::{Scratch, TargetError};

/// Placements that are sorted in memory: 24 bytes each.
const RUN: usize = 1 << 20;
/// Placements of a run that are read back at a time.
const READ: usize = 1 << 12;
const ENCODED: usize = 24;

/// One frame that goes to one place of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Placement {
    /// Which pack, in the order in which packs are first needed.
    pub rank: u32,
    /// Which file: where its note lies in the scratch.
    pub file: u64,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// Which frame of the pack.
    pub frame: u32,
}

impl Placement {
    fn encode(&self) -> [u8; ENCODED] {
        let mut bytes = [0; ENCODED];
        bytes[..4].copy_from_slice(&self.rank.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.frame.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.file.to_le_bytes());
        bytes[16..].copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; ENCODED]) -> Self {
        let (numbers, [file, offset]) = (
            bytes.as_chunks::<4>().0,
            [8, 16].map(|at| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]))),
        );
        let [rank, frame] = [numbers[0], numbers[1]].map(u32::from_le_bytes);
        Self { rank, file, offset, frame }
    }
}

/// Takes placements in any order.
pub(super) struct Sorter {
    run: usize,
    unsorted: Vec<Placement>,
    /// Where sorted runs lie in the scratch.
    runs: Vec<Range<u64>>,
}

impl Default for Sorter {
    fn default() -> Self {
        Self::with_run(RUN)
    }
}

impl Sorter {
    fn with_run(run: usize) -> Self {
        Self { run, unsorted: Vec::new(), runs: Vec::new() }
    }

    pub fn push(&mut self, placement: Placement, scratch: &Scratch) -> Result<(), TargetError> {
        if self.unsorted.len() == self.run {
            self.spill(scratch)?;
        }
        self.unsorted.push(placement);
        Ok(())
    }

    fn spill(&mut self, scratch: &Scratch) -> Result<(), TargetError> {
        self.unsorted.sort_unstable();
        let mut run: Option<Range<u64>> = None;
        for part in self.unsorted.chunks(READ) {
            let bytes: Vec<u8> = part.iter().flat_map(Placement::encode).collect();
            // Others append as well: a run is in one piece only as far as one call writes it.
            let start = scratch.append(&bytes)?;
            let end = start + bytes.len() as u64;
            match &mut run {
                Some(run) if run.end == start => run.end = end,
                _ => self.runs.extend(run.replace(start..end)),
            }
        }
        self.runs.extend(run);
        self.unsorted.clear();
        Ok(())
    }

    /// All of them, in order.
    pub fn sorted(mut self, scratch: &Scratch) -> Result<Sorted<'_>, TargetError> {
        if self.runs.is_empty() {
            self.unsorted.sort_unstable();
            let merged = Merged { scratch, runs: Vec::new(), next: BinaryHeap::new() };
            return Ok(Sorted { memory: self.unsorted.into_iter(), merged });
        }
        self.spill(scratch)?;
        let runs = self.runs.drain(..).map(|left| Run { left, read: Vec::new() }).collect();
        let mut merged = Merged { scratch, runs, next: BinaryHeap::new() };
        for number in 0..merged.runs.len() {
            merged.advance(number)?;
        }
        Ok(Sorted { memory: Vec::new().into_iter(), merged })
    }
}

/// Placements in order: from memory where all fitted, else merged from their runs.
pub(super) struct Sorted<'s> {
    memory: std::vec::IntoIter<Placement>,
    merged: Merged<'s>,
}

struct Merged<'s> {
    scratch: &'s Scratch,
    runs: Vec<Run>,
    next: BinaryHeap<Reverse<(Placement, usize)>>,
}

struct Run {
    left: Range<u64>,
    /// What was read of it, last first.
    read: Vec<Placement>,
}

impl Merged<'_> {
    /// Moves the next placement of a run to where the least is taken from.
    fn advance(&mut self, number: usize) -> Result<(), TargetError> {
        let run = &mut self.runs[number];
        if run.read.is_empty() && !run.left.is_empty() {
            let len = (run.left.end - run.left.start).min((READ * ENCODED) as u64);
            let mut bytes = vec![0; len as usize];
            self.scratch.read_at(run.left.start, &mut bytes)?;
            run.left.start += len;
            run.read.extend(bytes.as_chunks::<ENCODED>().0.iter().rev().map(Placement::decode));
        }
        self.next.extend(run.read.pop().map(|placement| Reverse((placement, number))));
        Ok(())
    }
}

impl Iterator for Sorted<'_> {
    type Item = Result<Placement, TargetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(placement) = self.memory.next() {
            return Some(Ok(placement));
        }
        let Reverse((placement, number)) = self.merged.next.pop()?;
        Some(self.merged.advance(number).map(|()| placement))
    }
}

#[cfg(test)]
mod tests {
    use drover_source::target::{Target, TargetOptions};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out_in_order(
            numbers in proptest::collection::vec((0u32..4, 0u64..9, any::<u64>(), any::<u32>()), 0..200),
            run in 1usize..80,
        ) {
            let directory = tempfile::tempdir().unwrap();
            let target = Target::open(directory.path(), TargetOptions::default()).unwrap();
            let scratch = target.scratch().unwrap();
            let mut sorter = Sorter::with_run(run);
            let mut expected = Vec::new();
            for (rank, file, offset, frame) in numbers {
                let placement = Placement { rank, file, offset, frame };
                sorter.push(placement, &scratch).unwrap();
                scratch.append(b"somebody else's").unwrap();
                expected.push(placement);
            }
            expected.sort_unstable();
            let sorted: Result<Vec<_>, _> = sorter.sorted(&scratch).unwrap().collect();
            prop_assert_eq!(sorted.unwrap(), expected);
        }
    }
}
