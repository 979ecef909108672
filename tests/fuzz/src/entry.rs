//! An entry: its leaf and its side.

use drover_repo::record;

use crate::shared::{domain, joined, split, time};
use drover_types::{
    Attributes, ChunkId, ChunkKind, ChunkRef, Content, Entry, Evidence, Extent, Extents, FileHash,
    Kind, RelativePath, Xattr, codec::Encoder,
};

/// A leaf and a side. What is decoded is what its encoding decodes to; a leaf, which is what
/// signatures cover, has one encoding only.
pub fn run(data: &[u8]) -> bool {
    let Some((leaf, side)) = split(data) else { return false };
    if let Ok(entry) = record::decode_leaf(leaf) {
        let mut again = Encoder::new();
        record::encode_leaf(&entry, &mut again);
        assert_eq!(again.as_bytes(), leaf);
    }
    let keys = domain();
    let Ok(entry) = record::decode(leaf, side, &keys) else { return false };
    let mut again = Encoder::new();
    record::encode_side(&entry, &keys, &mut again);
    assert_eq!(record::decode(leaf, again.as_bytes(), &keys), Ok(entry));
    true
}

pub(crate) fn entries() -> Vec<Entry> {
    let attributes = Attributes {
        mode: 0o644,
        uid: 1000,
        gid: 100,
        user: Some("staff".into()),
        group: None,
        mtime: time(),
        flags: 0,
        xattrs: vec![Xattr {
            name: b"user.note".as_slice().into(),
            value: b"kept".as_slice().into(),
        }],
    };
    let evidence = Evidence {
        device: 1,
        inode: 2,
        links: 2,
        size: 9,
        allocated: 4096,
        ctime: Some(time()),
        racy: false,
    };
    let chunk = |n: u8, len| Extent::Chunk(ChunkRef { id: ChunkId([n; 32]), len });
    let content = |size, extents| Some(Content { size, hash: FileHash([3; 32]), extents });
    let lists =
        Extents::Lists { level: 1, lists: vec![ChunkRef { id: ChunkId([5; 32]), len: 80 }].into() };
    let one = domain().chunk_id(ChunkKind::Data, &[3; 32]);
    let one = Extents::Inline(vec![Extent::Chunk(ChunkRef { id: one, len: 9 })].into());
    let many = Extents::Inline(vec![chunk(1, 5), Extent::Hole(4), chunk(2, 1)].into());
    let mut entries = Vec::new();
    let mut add = |path: &str, kind, content, hard_link| {
        entries.push(Entry {
            path: RelativePath::new(path.as_bytes()).unwrap(),
            kind,
            attributes: attributes.clone(),
            content,
            hard_link,
            evidence,
            stale: false,
        });
    };
    add("a", Kind::Directory, None, None);
    add("a/file", Kind::File, content(9, one.clone()), None);
    let first = RelativePath::new(&b"a/file"[..]).unwrap();
    add("a/link", Kind::File, content(9, one), Some(first));
    add("a/many", Kind::File, content(10, many), None);
    add("b", Kind::Symlink { target: b"../a".as_slice().into() }, None, None);
    add("c", Kind::CharDevice { major: 1, minor: 3 }, None, None);
    add("d", Kind::File, content(1 << 40, lists), None);
    entries
}

/// Entries of several sorts.
pub fn seeds() -> Vec<Vec<u8>> {
    let encode = |entry: Entry| {
        let (mut leaf, mut side) = (Encoder::new(), Encoder::new());
        record::encode_leaf(&entry, &mut leaf);
        record::encode_side(&entry, &domain(), &mut side);
        joined(leaf.as_bytes(), side.as_bytes())
    };
    entries().into_iter().map(encode).collect()
}
