//! A stored manifest as a stream of entries, read block by block, some blocks ahead.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use drover_chunk::Decompressor;
use drover_crypt::{domain::DomainKeys, merkle};
use drover_pack::FrameReader;
use drover_types::{
    ChunkId, ChunkKind, ChunkRef, Content, Entry, Extent, Extents, RelativePath,
    codec::{DecodeError, Decoder},
    limits,
};

use crate::{
    blocks::{Blocks, Entries, Read},
    chunks::{ChunkError, ChunkReader},
    manifest::{self, BlockRef, ListRef, ManifestRoot},
    record,
};

/// Why a stored manifest cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A chunk of it.
    #[error("the manifest cannot be read: {0}")]
    Chunk(#[from] ChunkError),
    /// What a chunk holds.
    #[error("the manifest does not decode: {0}")]
    Decode(#[from] DecodeError),
    /// The whole.
    #[error("the manifest is not the one its snapshot signed: {0}")]
    Root(&'static str),
}

/// The entries of a manifest at or below a path, in order.
///
/// After an error the stream goes on with the next block or list, so that a check can name
/// everything that is damaged; a restore stops at the first.
pub struct Tree<'r> {
    reader: &'r ChunkReader<'r>,
    frames: FrameReader,
    below: RelativePath,
    lists: VecDeque<(ListRef, Option<RelativePath>)>,
    blocks: Blocks<'r>,
    entries: std::vec::IntoIter<Entry>,
    /// For each entry of the block whether an earlier manifest has the same.
    as_before: std::vec::IntoIter<bool>,
    /// The same for the entry that came last.
    is_as_before: bool,
    /// The roots of the blocks read so far; `None` where parts were left out.
    roots: Option<merkle::Frontier>,
    count: u64,
    expected: ManifestRoot,
    last: Option<RelativePath>,
    ended: bool,
    /// Blocks that need not be read, because their entries were seen in another manifest.
    seen: Option<HashSet<ChunkId>>,
}

impl<'r> Tree<'r> {
    /// Reads the manifest `root`, whose chunks `keys` name, at and below `below`.
    pub fn open(
        reader: &'r ChunkReader<'r>,
        keys: Arc<DomainKeys>,
        root: &ManifestRoot,
        below: RelativePath,
    ) -> Result<Self, TreeError> {
        let mut frames = FrameReader::new(Decompressor::new());
        let plain = reader.read_vec(&root.chunk, ChunkKind::ManifestList, &mut frames)?;
        let lists = within(manifest::decode_root(&plain)?, &below, |list| &list.first);
        let roots = below.is_root().then(merkle::Frontier::new);
        Ok(Self {
            reader,
            frames,
            below,
            lists,
            blocks: Blocks::new(reader, keys),
            entries: Vec::new().into_iter(),
            as_before: Vec::new().into_iter(),
            is_as_before: false,
            roots,
            count: 0,
            expected: *root,
            last: None,
            ended: false,
            seen: None,
        })
    }

    /// Leaves out the blocks in `seen`, and adds to it those that are read without a fault.
    pub fn skipping(mut self, seen: HashSet<ChunkId>) -> Self {
        self.seen = Some(seen);
        self
    }

    /// The blocks that were seen, and the chunks of the lists that were read.
    pub fn into_seen(self) -> HashSet<ChunkId> {
        self.seen.unwrap_or_default()
    }

    /// Reads ahead on the threads of rayon, which must have been started: several blocks at a time.
    pub fn ahead(mut self) -> Self {
        self.blocks.read_ahead();
        self
    }

    /// Tells of each entry whether the manifest `earlier` has the same. What cannot be read of that
    /// one has none.
    pub fn beside(mut self, earlier: &ManifestRoot) -> Self {
        if let Ok(blocks) = list_blocks(self.reader, earlier, &mut self.frames) {
            self.blocks.compare_with(blocks);
        }
        self
    }

    /// Whether the earlier manifest has the entry that came last, with the same leaf: path,
    /// attributes and content.
    pub fn is_as_before(&self) -> bool {
        self.is_as_before
    }

    fn fill(&mut self) -> Option<Result<(), TreeError>> {
        if let Some(read) = self.blocks.next(self.seen.as_ref()) {
            return Some(self.block(read));
        }
        if let Some((list, _)) = self.lists.pop_front() {
            return Some(self.list(&list));
        }
        if std::mem::replace(&mut self.ended, true) {
            return None;
        }
        match self.roots.take() {
            Some(roots) if roots.root() != self.expected.root => {
                Some(Err(TreeError::Root("another Merkle root")))
            }
            Some(_) if self.count != self.expected.entries => {
                Some(Err(TreeError::Root("another number of entries")))
            }
            _ => None,
        }
    }

    fn list(&mut self, list: &ListRef) -> Result<(), TreeError> {
        let read = self
            .reader
            .read_vec(&list.chunk, ChunkKind::ManifestList, &mut self.frames)
            .map_err(TreeError::from)
            .and_then(|plain| Ok(manifest::decode_list(&plain)?));
        let blocks = read.inspect_err(|_| self.roots = None)?;
        self.blocks.push(within(blocks, &self.below, |block| &block.first));
        Ok(())
    }

    fn block(&mut self, Read { block, next, entries }: Read) -> Result<(), TreeError> {
        let entries = entries.inspect_err(|_| self.roots = None)?;
        if let Some(roots) = &mut self.roots {
            roots.push(merkle::plain_leaf(&block.root));
        }
        self.count = self.count.saturating_add(block.entries);
        let Some(Entries { entries, as_before }) = entries else { return Ok(()) };
        let last = entries.last().map(|entry| entry.path.clone());
        let after_previous = self.last < entries.first().map(|entry| entry.path.clone());
        let before_next = next.is_none_or(|next| last < Some(next));
        if !after_previous || !before_next {
            return Err(TreeError::Root("its blocks overlap"));
        }
        self.last = last;
        if let Some(seen) = &mut self.seen {
            seen.insert(block.chunk.id);
        }
        self.entries = entries.into_iter();
        self.as_before = as_before.into_iter();
        Ok(())
    }

    /// The extents of a file, lists resolved.
    pub fn extents(&mut self, content: &Content) -> Result<Arc<[Extent]>, TreeError> {
        resolve(self.reader, content, &mut self.frames)
    }
}

/// All blocks of a manifest, as its lists name them.
fn list_blocks(
    reader: &ChunkReader<'_>,
    root: &ManifestRoot,
    frames: &mut FrameReader,
) -> Result<Vec<BlockRef>, TreeError> {
    let mut read = |chunk: &ChunkRef| reader.read_vec(chunk, ChunkKind::ManifestList, frames);
    let mut blocks = Vec::new();
    for list in manifest::decode_root(&read(&root.chunk)?)? {
        blocks.extend(manifest::decode_list(&read(&list.chunk)?)?);
    }
    Ok(blocks)
}

/// The extents of a file, lists resolved and checked to add up to its size. There are at most
/// [`limits::EXTENTS`].
pub fn resolve(
    reader: &ChunkReader<'_>,
    content: &Content,
    frames: &mut FrameReader,
) -> Result<Arc<[Extent]>, TreeError> {
    let (level, lists) = match &content.extents {
        Extents::Inline(extents) => return Ok(extents.clone()),
        Extents::Lists { level, lists } => (*level, lists),
    };
    count(reader, level, lists, &mut HashMap::new(), frames)?;
    let mut items: Vec<ChunkRef> = lists.to_vec();
    for step in (1..=level).rev() {
        let mut extents = Vec::new();
        for list in &items {
            let plain = reader.read_vec(list, ChunkKind::ExtentList, frames)?;
            for extent in extents_of(&plain) {
                extents.push(extent?);
            }
        }
        if step == 1 {
            return match record::total(&extents) {
                Some(total) if total == content.size => Ok(extents.into()),
                _ => Err(DecodeError::Invalid("a file's extents do not add up to its size").into()),
            };
        }
        items = extents.into_iter().map(list_of).collect::<Result<_, _>>()?;
    }
    Err(DecodeError::Invalid("an impossible level of extent lists").into())
}

/// How many extents `lists` lead to. Lists can name one list many times, on each of eight levels, so
/// that a few bytes ask for any amount of memory: each is read once here, and what is too much is
/// refused before any of it is kept.
fn count(
    reader: &ChunkReader<'_>,
    level: u8,
    lists: &[ChunkRef],
    known: &mut HashMap<(u8, ChunkId), usize>,
    frames: &mut FrameReader,
) -> Result<usize, TreeError> {
    let mut total = 0usize;
    for list in lists {
        let extents = match known.get(&(level, list.id)) {
            Some(extents) => *extents,
            None => {
                let plain = reader.read_vec(list, ChunkKind::ExtentList, frames)?;
                let extents = match level {
                    1 => extents_of(&plain).try_fold(0, |n, extent| extent.map(|_| n + 1))?,
                    _ => {
                        let lists = extents_of(&plain)
                            .map(|extent| list_of(extent?))
                            .collect::<Result<Vec<_>, _>>()?;
                        count(reader, level - 1, &lists, known, frames)?
                    }
                };
                known.insert((level, list.id), extents);
                extents
            }
        };
        total = total.saturating_add(extents);
        if total > limits::EXTENTS {
            let (len, bound) = (total as u64, limits::EXTENTS as u64);
            return Err(DecodeError::TooLong { len, bound }.into());
        }
    }
    Ok(total)
}

/// The extents that a list holds, up to the first that does not decode.
fn extents_of(plain: &[u8]) -> impl Iterator<Item = Result<Extent, DecodeError>> {
    let mut d = Decoder::new(plain);
    std::iter::from_fn(move || match d.is_empty() {
        true => None,
        false => Some(record::decode_extent(&mut d)),
    })
}

/// The list that an extent of a list of lists names.
fn list_of(extent: Extent) -> Result<ChunkRef, DecodeError> {
    match extent {
        Extent::Chunk(chunk) => Ok(chunk),
        Extent::Hole(_) => Err(DecodeError::Invalid("a hole among lists of extents")),
    }
}

/// The items that can hold something at or below `below`, each with the first path of the next.
fn within<T>(
    items: Vec<T>,
    below: &RelativePath,
    first: impl Fn(&T) -> &RelativePath,
) -> VecDeque<(T, Option<RelativePath>)> {
    let firsts: Vec<RelativePath> = items.iter().map(|item| first(item).clone()).collect();
    items
        .into_iter()
        .enumerate()
        .map(|(at, item)| (item, firsts.get(at + 1).cloned()))
        .filter(|(item, next)| {
            let begins_after = first(item) > below && !first(item).is_within(below);
            let ends_before = next.as_ref().is_some_and(|next| next <= below);
            !begins_after && !ends_before
        })
        .collect()
}

impl Iterator for Tree<'_> {
    type Item = Result<Entry, TreeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            for entry in self.entries.by_ref() {
                self.is_as_before = self.as_before.next().unwrap_or(false);
                if entry.path.is_within(&self.below) {
                    return Some(Ok(entry));
                }
            }
            if let Err(error) = self.fill()? {
                return Some(Err(error));
            }
        }
    }
}
