//! Manifests: a stream of entries cut into blocks (`docs/format.md`, "Manifests").
//!
//! Where a block ends depends on the keyed hash of the last entry's path only, so that a change
//! touches the block it is in and no other, and unchanged blocks are stored once, however many
//! passes there are. Blocks are listed in lists, lists in one root, all of them chunks.

use drover_crypt::{domain::DomainKeys, merkle};
use drover_types::{
    ChunkKind, ChunkRef, Entry, RelativePath,
    codec::{DecodeError, Decoder, Encoder},
    limits,
};

use crate::record;

/// A block ends after an entry whose path hash has these bits zero: after 256 entries on average.
const BLOCK_MASK: u64 = 0xff;
/// A list ends after a block that ends so: after 64 blocks on average.
const LIST_MASK: u64 = 0x3fff;
/// A block ends at this many bytes in any case, so that it stays within a chunk.
const BLOCK_BYTES: usize = 4 << 20;
/// The room an entry may take: its leaf (xattrs, path, a hard link's path) and its side.
pub const ENTRY_BYTES: usize = limits::XATTRS + 2 * limits::PATH + (128 << 10);
/// An entry takes no fewer bytes, its leaf and its side with their lengths.
const ENTRY_LEAST: usize = 20;
const VERSION: u8 = 1;

/// A block as a list names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockRef {
    /// Path of its first entry.
    pub first: RelativePath,
    /// The chunk that holds it.
    pub chunk: ChunkRef,
    /// How many entries it holds.
    pub entries: u64,
    /// Root of the Merkle tree over its leaves.
    pub root: [u8; 32],
}

/// A list of blocks as the root names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRef {
    /// Path of the first entry of its first block.
    pub first: RelativePath,
    /// The chunk that holds it.
    pub chunk: ChunkRef,
    /// How many entries its blocks hold.
    pub entries: u64,
}

/// What a snapshot says of its manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestRoot {
    /// The chunk that lists the lists.
    pub chunk: ChunkRef,
    /// Root of the Merkle tree over the blocks' roots.
    pub root: [u8; 32],
    /// How many entries there are.
    pub entries: u64,
}

/// Takes the plaintext of a chunk and stores it where it is not there yet.
pub trait ChunkSink {
    /// Why it could not be stored.
    type Error;
    /// Stores `plain` as a chunk of `kind`.
    fn put(&mut self, kind: ChunkKind, plain: &[u8]) -> Result<ChunkRef, Self::Error>;
}

/// Cuts a stream of entries into blocks.
pub struct ManifestWriter<'k> {
    keys: &'k DomainKeys,
    block: Encoder,
    block_entries: u64,
    leaves: merkle::Frontier,
    block_first: Option<RelativePath>,
    list: Vec<BlockRef>,
    list_bytes: usize,
    lists: Vec<ListRef>,
    roots: merkle::Frontier,
    entries: u64,
}

impl<'k> ManifestWriter<'k> {
    /// An empty manifest.
    pub fn new(keys: &'k DomainKeys) -> Self {
        Self {
            keys,
            block: Encoder::new(),
            block_entries: 0,
            leaves: merkle::Frontier::new(),
            block_first: None,
            list: Vec::new(),
            list_bytes: 0,
            lists: Vec::new(),
            roots: merkle::Frontier::new(),
            entries: 0,
        }
    }

    /// Adds the next entry, given as its leaf and its side. Entries come in their order.
    pub fn push<S: ChunkSink>(
        &mut self,
        path: &RelativePath,
        leaf: &[u8],
        side: &[u8],
        sink: &mut S,
    ) -> Result<(), S::Error> {
        if self.block_entries > 0
            && self.block.as_bytes().len() + leaf.len() + side.len() > BLOCK_BYTES
        {
            self.end_block(false, sink)?;
        }
        if self.block_entries == 0 {
            self.block.clear();
            self.block.u8(VERSION);
            self.block_first = Some(path.clone());
        }
        self.block.bytes(leaf);
        self.block.bytes(side);
        self.block_entries += 1;
        self.entries += 1;
        let salt = self.keys.leaf_salt(leaf);
        self.leaves.push(merkle::leaf_hash(&salt, leaf));
        let hash = self.keys.path_hash(path.as_bytes());
        if hash & BLOCK_MASK == 0 {
            self.end_block(hash & LIST_MASK == 0, sink)?;
        }
        Ok(())
    }

    fn end_block<S: ChunkSink>(&mut self, end_list: bool, sink: &mut S) -> Result<(), S::Error> {
        let chunk = sink.put(ChunkKind::ManifestBlock, self.block.as_bytes())?;
        let root = self.leaves.root();
        self.roots.push(merkle::plain_leaf(&root));
        let first = self.block_first.take().expect("a block that ends has a first entry");
        let first_len = first.as_bytes().len();
        self.list.push(BlockRef { first, chunk, entries: self.block_entries, root });
        self.leaves = merkle::Frontier::new();
        self.block_entries = 0;
        self.list_bytes += first_len + 80;
        if end_list || self.list_bytes >= BLOCK_BYTES {
            self.end_list(sink)?;
        }
        Ok(())
    }

    fn end_list<S: ChunkSink>(&mut self, sink: &mut S) -> Result<(), S::Error> {
        let Some(first) = self.list.first().map(|block| block.first.clone()) else {
            return Ok(());
        };
        let entries = self.list.iter().map(|block| block.entries).sum();
        let chunk = sink.put(ChunkKind::ManifestList, &encode_list(&self.list))?;
        self.lists.push(ListRef { first, chunk, entries });
        self.list.clear();
        self.list_bytes = 0;
        Ok(())
    }

    /// Ends the manifest.
    pub fn finish<S: ChunkSink>(mut self, sink: &mut S) -> Result<ManifestRoot, S::Error> {
        if self.block_entries > 0 {
            self.end_block(true, sink)?;
        }
        self.end_list(sink)?;
        let chunk = sink.put(ChunkKind::ManifestList, &encode_root(&self.lists))?;
        Ok(ManifestRoot { chunk, root: self.roots.root(), entries: self.entries })
    }
}

fn encode_list(blocks: &[BlockRef]) -> Vec<u8> {
    let mut e = Encoder::new();
    e.u8(VERSION);
    e.u8(0);
    e.varint(blocks.len() as u64);
    for block in blocks {
        e.bytes(block.first.as_bytes());
        record::encode_chunk_ref(&block.chunk, &mut e);
        e.varint(block.entries);
        e.raw(&block.root);
    }
    e.finish()
}

fn encode_root(lists: &[ListRef]) -> Vec<u8> {
    let mut e = Encoder::new();
    e.u8(VERSION);
    e.u8(1);
    e.varint(lists.len() as u64);
    for list in lists {
        e.bytes(list.first.as_bytes());
        record::encode_chunk_ref(&list.chunk, &mut e);
        e.varint(list.entries);
    }
    e.finish()
}

fn begin<'a>(bytes: &'a [u8], level: u8) -> Result<(Decoder<'a>, usize), DecodeError> {
    let mut d = Decoder::new(bytes);
    if d.u8()? != VERSION || d.u8()? != level {
        return Err(DecodeError::Invalid("a manifest's list is of another version or level"));
    }
    let bound = d.rest().len() / 33;
    let count = d.length(bound)?;
    Ok((d, count))
}

/// Decodes a list of blocks.
pub fn decode_list(bytes: &[u8]) -> Result<Vec<BlockRef>, DecodeError> {
    let (mut d, count) = begin(bytes, 0)?;
    let blocks = (0..count)
        .map(|_| {
            Ok(BlockRef {
                first: record::decode_path(d.bytes(limits::PATH)?)?,
                chunk: record::decode_chunk_ref(&mut d)?,
                entries: d.varint()?,
                root: d.array()?,
            })
        })
        .collect::<Result<Vec<_>, DecodeError>>()?;
    d.end()?;
    in_order(blocks, |block| &block.first)
}

/// Decodes the list of lists.
pub fn decode_root(bytes: &[u8]) -> Result<Vec<ListRef>, DecodeError> {
    let (mut d, count) = begin(bytes, 1)?;
    let lists = (0..count)
        .map(|_| {
            Ok(ListRef {
                first: record::decode_path(d.bytes(limits::PATH)?)?,
                chunk: record::decode_chunk_ref(&mut d)?,
                entries: d.varint()?,
            })
        })
        .collect::<Result<Vec<_>, DecodeError>>()?;
    d.end()?;
    in_order(lists, |list| &list.first)
}

fn in_order<T>(items: Vec<T>, first: impl Fn(&T) -> &RelativePath) -> Result<Vec<T>, DecodeError> {
    match items.windows(2).all(|pair| first(&pair[0]) < first(&pair[1])) {
        true => Ok(items),
        false => Err(DecodeError::Invalid("a manifest's list is not in order")),
    }
}

/// Decodes a block and checks it against what its list says of it: number and order of entries,
/// first path, Merkle root.
pub fn decode_block(
    bytes: &[u8],
    block: &BlockRef,
    keys: &DomainKeys,
) -> Result<Vec<Entry>, DecodeError> {
    let mut d = Decoder::new(bytes);
    if d.u8()? != VERSION {
        return Err(DecodeError::Invalid("a manifest's block is of another version"));
    }
    // What its list says of it is checked below, and no reason to take much memory.
    let room = (bytes.len() / ENTRY_LEAST).min(block.entries as usize);
    let mut entries: Vec<Entry> = Vec::with_capacity(room);
    let mut leaves = merkle::Frontier::new();
    while !d.is_empty() {
        let (leaf, side) = (d.bytes(ENTRY_BYTES)?, d.bytes(ENTRY_BYTES)?);
        let entry = record::decode(leaf, side, keys)?;
        if entries.last().is_some_and(|last| last.path >= entry.path) {
            return Err(DecodeError::Invalid("a manifest's entries are not in order"));
        }
        leaves.push(merkle::leaf_hash(&keys.leaf_salt(leaf), leaf));
        entries.push(entry);
    }
    let first = entries.first().map(|entry| &entry.path);
    if first != Some(&block.first) || entries.len() as u64 != block.entries {
        return Err(DecodeError::Invalid("a manifest's block is not the one its list names"));
    }
    if leaves.root() != block.root {
        return Err(DecodeError::Invalid("a manifest's block has another Merkle root"));
    }
    Ok(entries)
}

/// The leaves of a block, up to the first that is damaged; nothing else is decoded.
pub(crate) fn leaves(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut d = Decoder::new(bytes);
    let known = d.u8() == Ok(VERSION);
    std::iter::from_fn(move || {
        let leaf = d.bytes(ENTRY_BYTES).ok().filter(|_| known)?;
        d.bytes(ENTRY_BYTES).ok().map(|_| leaf)
    })
}

/// An entry found in a block.
pub struct Found {
    /// The entry.
    pub entry: Entry,
    /// Its leaf.
    pub leaf: Vec<u8>,
    /// Which of the block's leaves that is.
    pub index: usize,
    /// The salted hashes of all of the block's leaves.
    pub leaves: Vec<[u8; 32]>,
}

/// Finds the entry of `path` in a block that is checked as [`decode_block`] does.
pub fn find_in_block(
    bytes: &[u8],
    block: &BlockRef,
    keys: &DomainKeys,
    path: &RelativePath,
) -> Result<Option<Found>, DecodeError> {
    let entries = decode_block(bytes, block, keys)?;
    let Some(index) = entries.iter().position(|entry| entry.path == *path) else {
        return Ok(None);
    };
    let mut d = Decoder::new(bytes);
    d.u8()?;
    let mut leaves = Vec::with_capacity(entries.len());
    let mut found = None;
    for (number, entry) in entries.into_iter().enumerate() {
        let leaf = d.bytes(ENTRY_BYTES)?;
        d.bytes(ENTRY_BYTES)?;
        leaves.push(merkle::leaf_hash(&keys.leaf_salt(leaf), leaf));
        if number == index {
            found = Some((entry, leaf.to_vec()));
        }
    }
    Ok(found.map(|(entry, leaf)| Found { entry, leaf, index, leaves }))
}
