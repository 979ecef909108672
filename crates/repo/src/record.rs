//! An entry as bytes: its leaf, which is what is proven, and its side, which is not
//! (`docs/format.md`, "Entries").
//!
//! The leaf holds what a restore puts back and an auditor may be shown: path, attributes, size,
//! plain BLAKE3. The side holds what only drover needs: the extents, the evidence for the next
//! pass, and whether the entry is stale. Both have one encoding only.

use std::sync::Arc;

use drover_crypt::domain::DomainKeys;
use drover_types::{
    Attributes, ChunkId, ChunkKind, ChunkRef, Content, Entry, Evidence, Extent, Extents, FileHash,
    Kind, RelativePath, Timestamp, Xattr,
    codec::{DecodeError, Decoder, Encoder},
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
    let a = &entry.attributes;
    e.u8(LEAF_VERSION);
    e.u8(kind_code(&entry.kind));
    e.bytes(entry.path.as_bytes());
    e.varint(a.mode.into());
    e.varint(a.uid.into());
    e.varint(a.gid.into());
    e.bytes(a.user.as_deref().unwrap_or("").as_bytes());
    e.bytes(a.group.as_deref().unwrap_or("").as_bytes());
    encode_time(a.mtime, e);
    e.varint(a.flags.into());
    e.varint(a.xattrs.len() as u64);
    for xattr in &a.xattrs {
        e.bytes(&xattr.name);
        e.bytes(&xattr.value);
    }
    match &entry.kind {
        Kind::Symlink { target } => e.bytes(target),
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            e.varint((*major).into());
            e.varint((*minor).into());
        }
        Kind::File => {
            let (size, hash) = match &entry.content {
                Some(content) => (content.size, content.hash),
                None => (0, FileHash(*blake3::hash(b"").as_bytes())),
            };
            e.varint(size);
            e.raw(hash.as_bytes());
        }
        Kind::Directory | Kind::Fifo | Kind::Socket => {}
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

/// Decodes a leaf alone: an entry without evidence, whose content has no extents.
pub fn decode_leaf(leaf: &[u8]) -> Result<Entry, DecodeError> {
    let mut d = Decoder::new(leaf);
    if d.u8()? != LEAF_VERSION {
        return Err(DecodeError::Invalid("unknown version of a leaf"));
    }
    let kind = d.u8()?;
    let path = decode_path(d.bytes(limits::PATH)?)?;
    let mode = d.varint32()?;
    if mode > 0o7777 {
        return Err(DecodeError::Invalid("a mode has unknown bits"));
    }
    let (uid, gid) = (d.varint32()?, d.varint32()?);
    let (user, group) = (decode_owner(&mut d)?, decode_owner(&mut d)?);
    let mtime = decode_time(&mut d)?;
    let flags = d.varint32()?;
    let xattrs = decode_xattrs(&mut d)?;
    let (mut content, mut target, mut device) = (None, None, (0, 0));
    match kind {
        2 => target = Some(d.bytes(limits::SYMLINK)?.into()),
        5 | 6 => device = (d.varint32()?, d.varint32()?),
        1 => {
            let (size, hash) = (d.varint()?, FileHash(d.array()?));
            content = Some(Content { size, hash, extents: Extents::Inline(Arc::new([])) });
        }
        _ => {}
    }
    let kind = match (kind, target) {
        (0, None) => Kind::Directory,
        (1, None) => Kind::File,
        (2, Some(target)) => Kind::Symlink { target },
        (3, None) => Kind::Fifo,
        (4, None) => Kind::Socket,
        (5, None) => Kind::CharDevice { major: device.0, minor: device.1 },
        (6, None) => Kind::BlockDevice { major: device.0, minor: device.1 },
        _ => return Err(DecodeError::Invalid("unknown kind of entry")),
    };
    let first = decode_path(d.bytes(limits::PATH)?)?;
    d.end()?;
    if !first.is_root() && (first >= path || kind == Kind::Directory) {
        return Err(DecodeError::Invalid("a hard link does not follow its first name"));
    }
    Ok(Entry {
        path,
        kind,
        attributes: Attributes { mode, uid, gid, user, group, mtime, flags, xattrs },
        content,
        hard_link: (!first.is_root()).then_some(first),
        evidence: Evidence::default(),
        stale: false,
    })
}

fn kind_code(kind: &Kind) -> u8 {
    match kind {
        Kind::Directory => 0,
        Kind::File => 1,
        Kind::Symlink { .. } => 2,
        Kind::Fifo => 3,
        Kind::Socket => 4,
        Kind::CharDevice { .. } => 5,
        Kind::BlockDevice { .. } => 6,
    }
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

/// Appends a time.
pub fn encode_time(time: Timestamp, e: &mut Encoder) {
    e.signed(time.seconds);
    e.varint(time.nanos.into());
}

/// Reads a time.
pub fn decode_time(d: &mut Decoder<'_>) -> Result<Timestamp, DecodeError> {
    Timestamp::new(d.signed()?, d.varint32()?)
        .ok_or(DecodeError::Invalid("nanoseconds are more than a second"))
}

/// Checks a path from outside.
pub fn decode_path(bytes: &[u8]) -> Result<RelativePath, DecodeError> {
    RelativePath::new(bytes).map_err(|_| DecodeError::Invalid("a path is not allowed"))
}

fn decode_owner(d: &mut Decoder<'_>) -> Result<Option<Arc<str>>, DecodeError> {
    let bytes = d.bytes(limits::OWNER_NAME)?;
    let name = std::str::from_utf8(bytes)
        .map_err(|_| DecodeError::Invalid("the name of an owner is not UTF-8"))?;
    Ok((!name.is_empty()).then(|| name.into()))
}

fn decode_xattrs(d: &mut Decoder<'_>) -> Result<Vec<Xattr>, DecodeError> {
    let count = d.length(limits::XATTRS / 2)?;
    let mut xattrs: Vec<Xattr> = Vec::new();
    let mut room = limits::XATTRS;
    for _ in 0..count {
        let name = d.bytes(room)?;
        let value = d.bytes(room - name.len())?;
        room -= name.len() + value.len();
        if name.is_empty() || name.contains(&0) {
            return Err(DecodeError::Invalid("the name of an extended attribute is not allowed"));
        }
        if xattrs.last().is_some_and(|last| *last.name >= *name) {
            return Err(DecodeError::Invalid("extended attributes are not in order"));
        }
        xattrs.push(Xattr { name: name.into(), value: value.into() });
    }
    Ok(xattrs)
}
