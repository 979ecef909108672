//! The manifest of a pass, made to be measured.

use std::convert::Infallible;

use drover_chunk::{ChunkSizes, Compressor};
use drover_crypt::domain::DomainKeys;
use drover_repo::{
    manifest::{ChunkSink, ManifestWriter},
    record,
};
use drover_types::{
    ChunkId, ChunkKind, ChunkRef, Content, Entry, Extent, Extents, FileHash, Kind, codec::Encoder,
};

use super::Meta;
use crate::Error;

/// Extents that stand in the entry itself; those of larger files are in lists of their own.
const INLINE: u64 = record::INLINE_EXTENTS as u64;
/// Bytes of an extent in a list.
const EXTENT: u64 = 37;

/// Measures what is put into it.
struct Scale {
    compressor: Compressor,
    buffer: Vec<u8>,
    meta: Meta,
}

impl ChunkSink for Scale {
    type Error = Infallible;

    fn put(&mut self, _: ChunkKind, plain: &[u8]) -> Result<ChunkRef, Infallible> {
        let (_, stored) = self.compressor.compress(plain, &mut self.buffer);
        self.meta.plain += plain.len() as u64;
        self.meta.stored += stored.len() as u64 + 16;
        self.meta.chunks += 1;
        Ok(ChunkRef { id: ChunkId(*blake3::hash(plain).as_bytes()), len: plain.len() as u32 })
    }
}

/// A manifest whose contents are made up: hashes are as good as random.
pub(super) struct Manifest<'k> {
    keys: &'k DomainKeys,
    writer: ManifestWriter<'k>,
    scale: Scale,
    leaf: Encoder,
    side: Encoder,
}

impl<'k> Manifest<'k> {
    pub(super) fn new(keys: &'k DomainKeys, level: i32) -> Self {
        let scale =
            Scale { compressor: Compressor::new(level), buffer: Vec::new(), meta: Meta::default() };
        let (leaf, side) = (Encoder::new(), Encoder::new());
        Self { keys, writer: ManifestWriter::new(keys), scale, leaf, side }
    }

    /// Takes the next entry of the walk.
    pub(super) fn add(&mut self, mut entry: Entry) -> Result<(), Error> {
        if entry.kind == Kind::File {
            let size = entry.evidence.size;
            let hash = blake3::keyed_hash(&[0; 32], entry.path.as_bytes());
            let average = ChunkSizes::default().average() as u64;
            let chunks = if size == 0 { 0 } else { (size / average).max(1) };
            if chunks > INLINE {
                self.scale.meta.plain += chunks * EXTENT;
                self.scale.meta.stored += chunks * EXTENT;
                self.scale.meta.chunks += 1 + chunks * EXTENT / (1 << 20);
            }
            let len = size.min(average) as u32;
            let mut ids = hash.as_bytes().to_owned();
            let extents: Vec<_> = (0..chunks.min(INLINE))
                .map(|_| {
                    ids = *blake3::hash(&ids).as_bytes();
                    Extent::Chunk(ChunkRef { id: ChunkId(ids), len })
                })
                .collect();
            entry.content = Some(Content {
                size,
                hash: FileHash(*hash.as_bytes()),
                extents: Extents::Inline(extents.into()),
            });
        }
        self.leaf.clear();
        self.side.clear();
        record::encode_leaf(&entry, &mut self.leaf);
        record::encode_side(&entry, self.keys, &mut self.side);
        let (leaf, side) = (self.leaf.as_bytes(), self.side.as_bytes());
        let Ok(()) = self.writer.push(&entry.path, leaf, side, &mut self.scale);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Meta, Error> {
        let Ok(_) = self.writer.finish(&mut self.scale);
        Ok(self.scale.meta)
    }
}
