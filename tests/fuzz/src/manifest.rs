//! The three levels of a manifest.

use drover_repo::{
    manifest::{BlockRef, ChunkSink, ManifestWriter, decode_block, decode_list, decode_root},
    record,
};

use crate::{entry, shared::domain};
use drover_types::{ChunkKind, ChunkRef, codec::Encoder};

struct Kept(Vec<Vec<u8>>);

impl ChunkSink for Kept {
    type Error = std::convert::Infallible;

    fn put(&mut self, kind: ChunkKind, plain: &[u8]) -> Result<ChunkRef, Self::Error> {
        self.0.push(plain.to_vec());
        let id = domain().chunk_id(kind, blake3::hash(plain).as_bytes());
        Ok(ChunkRef { id, len: plain.len() as u32 })
    }
}

fn written() -> Vec<Vec<u8>> {
    let (keys, mut kept) = (domain(), Kept(Vec::new()));
    let mut manifest = ManifestWriter::new(&keys);
    for entry in entry::entries() {
        let (mut leaf, mut side) = (Encoder::new(), Encoder::new());
        record::encode_leaf(&entry, &mut leaf);
        record::encode_side(&entry, &keys, &mut side);
        manifest.push(&entry.path, leaf.as_bytes(), side.as_bytes(), &mut kept).unwrap();
    }
    manifest.finish(&mut kept).unwrap();
    kept.0
}

/// Bytes as any level; as a block, of the one that the seeds' list names.
pub fn run(data: &[u8]) -> bool {
    let list = decode_list(data);
    if let Ok(list) = &list {
        assert!(list.windows(2).all(|pair| pair[0].first < pair[1].first));
    }
    let block = decode_block(data, &block(), &domain());
    if let Ok(entries) = &block {
        assert!(entries.windows(2).all(|pair| pair[0].path < pair[1].path));
    }
    list.is_ok() || decode_root(data).is_ok() || block.is_ok()
}

fn block() -> BlockRef {
    thread_local! {
        static BLOCK: BlockRef =
            written().iter().find_map(|chunk| decode_list(chunk).ok()).unwrap().remove(0);
    }
    BLOCK.with(BlockRef::clone)
}

/// A block, its list, the root.
pub fn seeds() -> Vec<Vec<u8>> {
    written()
}
