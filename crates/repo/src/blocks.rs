//! Blocks of a manifest in order, several read at a time, and compared with those of an earlier
//! manifest.
//!
//! To open, hash and decode a block is most of what reading a manifest costs, and no block needs
//! another for it: those that come next are read on all cores while their order is kept.
//!
//! Changes that are spread over a tree change nearly every block of its manifest, and next to none of
//! the entries. Which entries stayed is told by their leaves, byte for byte, so that the earlier
//! manifest is opened, but not decoded.

use std::{
    cell::RefCell,
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use drover_chunk::Decompressor;
use drover_crypt::domain::DomainKeys;
use drover_pack::FrameReader;
use drover_types::{ChunkId, ChunkKind, Entry, RelativePath};
use rayon::prelude::*;

use crate::{
    chunks::ChunkReader,
    manifest::{self, BlockRef},
    record,
    tree::TreeError,
};

/// How many blocks are read at a time: some for each of several cores.
const AHEAD: usize = 16;
/// And how many bytes of them, as far as it is more than one.
const AHEAD_BYTES: u64 = 4 << 20;

thread_local! {
    static FRAMES: RefCell<FrameReader> = RefCell::new(FrameReader::new(Decompressor::new()));
}

/// A block that was read.
pub(crate) struct Read {
    /// As its list names it.
    pub block: BlockRef,
    /// Where the next one begins, as far as its list says.
    pub next: Option<RelativePath>,
    /// What it holds; `None` where that was seen.
    pub entries: Result<Option<Entries>, TreeError>,
}

/// The entries of a block.
pub(crate) struct Entries {
    /// In their order.
    pub entries: Vec<Entry>,
    /// Of each whether the earlier manifest has it; nothing where there is none.
    pub as_before: Vec<bool>,
}

/// Blocks that are to come.
pub(crate) struct Blocks<'r> {
    reader: &'r ChunkReader<'r>,
    keys: Arc<DomainKeys>,
    /// How many are read at a time.
    at_a_time: usize,
    listed: VecDeque<(BlockRef, Option<RelativePath>)>,
    read: VecDeque<Read>,
    /// Of the earlier manifest, in order.
    earlier: Vec<BlockRef>,
}

impl<'r> Blocks<'r> {
    /// None yet.
    pub fn new(reader: &'r ChunkReader<'r>, keys: Arc<DomainKeys>) -> Self {
        let (listed, read, earlier) = Default::default();
        Self { reader, keys, at_a_time: 1, listed, read, earlier }
    }

    /// Reads several at a time on the threads of rayon.
    pub fn read_ahead(&mut self) {
        self.at_a_time = AHEAD;
    }

    /// Compares with these blocks of an earlier manifest.
    pub fn compare_with(&mut self, earlier: Vec<BlockRef>) {
        // A list that names them in another order says nothing.
        if earlier.windows(2).all(|pair| pair[0].first < pair[1].first) {
            self.earlier = earlier;
        }
    }

    /// Further blocks, each with where the next one begins.
    pub fn push(&mut self, blocks: impl IntoIterator<Item = (BlockRef, Option<RelativePath>)>) {
        self.listed.extend(blocks);
    }

    /// The next block. Those in `seen` are not read.
    pub fn next(&mut self, seen: Option<&HashSet<ChunkId>>) -> Option<Read> {
        if self.read.is_empty() {
            self.read = self.read_some(seen);
        }
        self.read.pop_front()
    }

    fn read_some(&mut self, seen: Option<&HashSet<ChunkId>>) -> VecDeque<Read> {
        let mut bytes = 0;
        let mut fits = |(block, _): &(BlockRef, Option<RelativePath>)| {
            bytes += u64::from(block.chunk.len);
            bytes <= AHEAD_BYTES
        };
        let next = self.listed.iter().take(self.at_a_time).take_while(|next| fits(next));
        let some = next.count().max(1).min(self.listed.len());
        let some: Vec<_> = self.listed.drain(..some).collect();
        let read = |(block, next): (BlockRef, _)| {
            let is_seen = seen.is_some_and(|seen| seen.contains(&block.chunk.id));
            let entries = match is_seen {
                true => Ok(None),
                false => FRAMES.with_borrow_mut(|frames| self.entries(&block, frames)).map(Some),
            };
            Read { block, next, entries }
        };
        match some.len() {
            0 | 1 => some.into_iter().map(read).collect(),
            _ => some.into_par_iter().map(read).collect::<Vec<_>>().into(),
        }
    }

    fn entries(&self, block: &BlockRef, frames: &mut FrameReader) -> Result<Entries, TreeError> {
        let plain = self.reader.read_vec(&block.chunk, ChunkKind::ManifestBlock, frames)?;
        let entries = manifest::decode_block(&plain, block, &self.keys)?;
        let as_before = self.as_before(block, &plain, &entries, frames);
        Ok(Entries { entries, as_before })
    }

    /// Of which entries of a block the earlier manifest has the leaf.
    fn as_before(
        &self,
        block: &BlockRef,
        plain: &[u8],
        entries: &[Entry],
        frames: &mut FrameReader,
    ) -> Vec<bool> {
        let Some(last) = entries.last().filter(|_| !self.earlier.is_empty()) else {
            return Vec::new();
        };
        let begin = self.earlier.partition_point(|earlier| earlier.first <= block.first);
        let end = self.earlier.partition_point(|earlier| earlier.first <= last.path);
        let earlier = &self.earlier[begin.saturating_sub(1)..end];
        if earlier.iter().any(|earlier| earlier.chunk == block.chunk) {
            return vec![true; entries.len()];
        }
        let mut as_before = vec![false; entries.len()];
        for earlier in earlier {
            let kind = ChunkKind::ManifestBlock;
            let Ok(earlier) = self.reader.read_vec(&earlier.chunk, kind, frames) else { continue };
            let mut before = manifest::leaves(&earlier).peekable();
            let leaves = manifest::leaves(plain).zip(entries).zip(&mut as_before);
            for ((leaf, entry), as_before) in leaves {
                // Most stayed: only where one did not is the order of paths asked.
                while before.peek().is_some_and(|before| {
                    *before != leaf && record::leaf_path(before).is_ok_and(|p| p < entry.path)
                }) {
                    before.next();
                }
                *as_before |= before.next_if(|before| *before == leaf).is_some();
            }
        }
        as_before
    }
}
