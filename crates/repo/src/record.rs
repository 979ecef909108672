//! An entry as bytes: its leaf, which is what is proven, and its side, which is not
//! (`docs/format.md`, "Entries").
//!
//! The leaf holds what a restore puts back and an auditor may be shown: path, attributes, size,
//! plain BLAKE3. The side holds what only drover needs: the extents, the evidence for the next
//! pass, and whether the entry is stale. Both have one encoding only.

use std::sync::Arc;

use drover_crypt::domain::DomainKeys;
pub use drover_types::codec::entry::{decode_path, decode_time, encode_time};
use drover_types::{
    ChunkId, ChunkKind, ChunkRef, Content, Entry, Evidence, Extent, Extents, FileHash, Kind,
    RelativePath,
    codec::{
        DecodeError, Decoder, Encoder,
        entry::{decode_attributes, decode_kind, encode_attributes, encode_kind, kind_code},
    },
    limits,
};

/// Version of the leaf's layout.
const LEAF_VERSION: u8 = 1;
/// How many extents, or lists of extents, stand in the side itself.
pub const INLINE_EXTENTS: usize = 1024;

const STALE: u8 = 1;
const RACY: u8 = 2;
const HAS_CTIME: u8 = 4;
const FLAGS: u8 = STALE | RACY | HAS_CTIME;

const FORM_NONE: u8 = 0;
const FORM_INLINE: u8 = 1;
const FORM_LISTS: u8 = 2;
const FORM_ONE_CHUNK: u8 = 3;

/// Appends the leaf of `entry`.
pub fn encode_leaf(entry: &Entry, e: &mut Encoder) {
    e.u8(LEAF_VERSION);
    e.u8(kind_code(&entry.kind));
    e.bytes(entry.path.as_bytes());
    encode_attributes(&entry.attributes, e);
    encode_kind(&entry.kind, e);
    if entry.kind == Kind::File {
        let (size, hash) = match &entry.content {
            Some(content) => (content.size, content.hash),
            None => (0, FileHash(*blake3::hash(b"").as_bytes())),
        };
        e.varint(size);
        e.raw(hash.as_bytes());
    }
    e.bytes(entry.hard_link.as_ref().map_or(b"", |first| first.as_bytes()));
}

/// Appends the side of `entry`. `keys` are those of the domain that names its chunks.
pub fn encode_side(entry: &Entry, keys: &DomainKeys, e: &mut Encoder) {
    let v = &entry.evidence;
    let mut flags = 0;
    flags |= if entry.stale { STALE } else { 0 };
    flags |= if v.racy { RACY } else { 0 };
    flags |= if v.ctime.is_some() { HAS_CTIME } else { 0 };
    e.u8(flags);
    e.varint(v.device);
    e.varint(v.inode);
    e.varint(v.links.into());
    e.varint(v.size);
    e.varint(v.allocated);
    if let Some(ctime) = v.ctime {
        encode_time(ctime, e);
    }
    let Some(content) = &entry.content else { return e.u8(FORM_NONE) };
    match &content.extents {
        Extents::Inline(extents) => match &extents[..] {
            [Extent::Chunk(chunk)] if is_named_by(content, chunk, keys) => e.u8(FORM_ONE_CHUNK),
            extents => {
                e.u8(FORM_INLINE);
                e.varint(extents.len() as u64);
                extents.iter().for_each(|extent| encode_extent(extent, e));
            }
        },
        Extents::Lists { level, lists } => {
            e.u8(FORM_LISTS);
            e.u8(*level);
            e.varint(lists.len() as u64);
            lists.iter().for_each(|list| encode_chunk_ref(list, e));
        }
    }
}

/// A file that is one chunk: the chunk's name follows from the file's hash, and need not be kept.
fn is_named_by(content: &Content, chunk: &ChunkRef, keys: &DomainKeys) -> bool {
    content.size == u64::from(chunk.len)
        && keys.chunk_id(ChunkKind::Data, content.hash.as_bytes()) == chunk.id
}

/// Decodes an entry from its leaf and its side, and checks every value.
pub fn decode(leaf: &[u8], side: &[u8], keys: &DomainKeys) -> Result<Entry, DecodeError> {
    let mut entry = decode_leaf(leaf)?;
    let mut d = Decoder::new(side);
    let flags = d.u8()?;
    if flags & !FLAGS != 0 {
        return Err(DecodeError::Invalid("unknown flags of an entry"));
    }
    entry.stale = flags & STALE != 0;
    entry.evidence = Evidence {
        device: d.varint()?,
        inode: d.varint()?,
        links: d.varint32()?,
        size: d.varint()?,
        allocated: d.varint()?,
        ctime: if flags & HAS_CTIME != 0 { Some(decode_time(&mut d)?) } else { None },
        racy: flags & RACY != 0,
    };
    let form = d.u8()?;
    let Some(content) = &mut entry.content else {
        return match form {
            FORM_NONE => d.end().map(|()| entry),
            _ => Err(DecodeError::Invalid("extents of an entry without content")),
        };
    };
    content.extents = match form {
        FORM_ONE_CHUNK => {
            let len = u32::try_from(content.size)
                .ok()
                .filter(|&len| len > 0 && len as usize <= limits::CHUNK)
                .ok_or(DecodeError::Invalid("a file of one chunk has an impossible size"))?;
            let id = keys.chunk_id(ChunkKind::Data, content.hash.as_bytes());
            Extents::Inline(Arc::new([Extent::Chunk(ChunkRef { id, len })]))
        }
        FORM_INLINE => {
            let count = d.length(INLINE_EXTENTS)?;
            let extents: Vec<_> =
                (0..count).map(|_| decode_extent(&mut d)).collect::<Result<_, _>>()?;
            if total(&extents) != Some(content.size) {
                return Err(DecodeError::Invalid("a file's extents do not add up to its size"));
            }
            Extents::Inline(extents.into())
        }
        FORM_LISTS => {
            let level = d.u8()?;
            if level == 0 || level > 8 {
                return Err(DecodeError::Invalid("an impossible level of extent lists"));
            }
            let count = d.length(INLINE_EXTENTS)?;
            let lists: Vec<_> =
                (0..count).map(|_| decode_chunk_ref(&mut d)).collect::<Result<_, _>>()?;
            Extents::Lists { level, lists: lists.into() }
        }
        _ => return Err(DecodeError::Invalid("unknown form of extents")),
    };
    d.end()?;
    Ok(entry)
}

/// The path of a leaf of which nothing else is decoded.
pub(crate) fn leaf_path(leaf: &[u8]) -> Result<RelativePath, DecodeError> {
    let mut d = Decoder::new(leaf);
    let (_version, _kind) = (d.u8()?, d.u8()?);
    decode_path(d.bytes(limits::PATH)?)
}

/// Decodes a leaf alone: an entry without evidence, whose content has no extents.
pub fn decode_leaf(leaf: &[u8]) -> Result<Entry, DecodeError> {
    let mut d = Decoder::new(leaf);
    if d.u8()? != LEAF_VERSION {
        return Err(DecodeError::Invalid("unknown version of a leaf"));
    }
    let code = d.u8()?;
    let path = decode_path(d.bytes(limits::PATH)?)?;
    let attributes = decode_attributes(&mut d)?;
    let kind = decode_kind(code, &mut d)?;
    let content = match kind {
        Kind::File => {
            let (size, hash) = (d.varint()?, FileHash(d.array()?));
            Some(Content { size, hash, extents: Extents::Inline(Arc::new([])) })
        }
        _ => None,
    };
    let first = decode_path(d.bytes(limits::PATH)?)?;
    d.end()?;
    if !first.is_root() && (first >= path || kind == Kind::Directory) {
        return Err(DecodeError::Invalid("a hard link does not follow its first name"));
    }
    Ok(Entry {
        path,
        kind,
        attributes,
        content,
        hard_link: (!first.is_root()).then_some(first),
        evidence: Evidence::default(),
        stale: false,
    })
}

/// The sum of the extents' lengths; `None` on overflow.
pub fn total(extents: &[Extent]) -> Option<u64> {
    extents.iter().try_fold(0u64, |sum, extent| sum.checked_add(extent.len()))
}

/// Appends one extent.
pub fn encode_extent(extent: &Extent, e: &mut Encoder) {
    match extent {
        Extent::Chunk(chunk) => {
            e.u8(0);
            encode_chunk_ref(chunk, e);
        }
        Extent::Hole(len) => {
            e.u8(1);
            e.varint(*len);
        }
    }
}

/// Reads one extent.
pub fn decode_extent(d: &mut Decoder<'_>) -> Result<Extent, DecodeError> {
    match d.u8()? {
        0 => Ok(Extent::Chunk(decode_chunk_ref(d)?)),
        1 => match d.varint()? {
            0 => Err(DecodeError::Invalid("a hole of no length")),
            len => Ok(Extent::Hole(len)),
        },
        _ => Err(DecodeError::Invalid("unknown sort of extent")),
    }
}

/// Appends the name and length of a chunk.
pub fn encode_chunk_ref(chunk: &ChunkRef, e: &mut Encoder) {
    e.raw(chunk.id.as_bytes());
    e.varint(chunk.len.into());
}

/// Reads the name and length of a chunk.
pub fn decode_chunk_ref(d: &mut Decoder<'_>) -> Result<ChunkRef, DecodeError> {
    let id = ChunkId(d.array()?);
    let len = d.length(limits::CHUNK)? as u32;
    if len == 0 {
        return Err(DecodeError::Invalid("a chunk of no length"));
    }
    Ok(ChunkRef { id, len })
}
