//! Index objects and lists of packs (`docs/format.md`, "Index").
//!
//! An index object is a cache: the directories of many packs, sealed to the meta reader, so that
//! a chunk is found without reading every pack. It can always be rebuilt from the packs. A list
//! of packs is no cache: a snapshot names it by its hash, and it says, to anyone, which packs a
//! pass added.

use drover_crypt::{
    merkle,
    seal::{self, ReaderPublic, ReaderSecret},
};
use drover_pack::{DirectoryEntry, HEADER_LEN, PackHeader, PackReceipt, TAG_LEN};
use drover_types::{
    ChunkId, ChunkKind, Compression, PackId, RepositoryId, WriterId,
    codec::{DecodeError, Decoder, Encoder},
    limits,
};

const INDEX_MAGIC: [u8; 8] = *b"DRVRINDX";
const LIST_MAGIC: [u8; 8] = *b"DRVRLIST";
const VERSION: u8 = 1;
const SUITE: u8 = 1;
/// An index object is closed when it lists this many chunks.
pub const CHUNKS_PER_INDEX: usize = 1 << 16;
/// The part of a pack's header that the packs of one session share.
const SESSION_PART: usize = HEADER_LEN - 80;

/// Why an index object or a list of packs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The bytes are none of this version.
    #[error("not an index: {0}")]
    Layout(#[from] DecodeError),
    /// A version or suite this program does not know.
    #[error("the index is of version {0}, suite {1}, which this program cannot read")]
    Version(u8, u8),
    /// It does not open.
    #[error("the index does not open: it was changed, or is for other keys")]
    Sealed,
    /// Its body does not decompress.
    #[error("the index does not decompress")]
    Compression,
}

fn head(repository: RepositoryId, writer: WriterId, epoch: u32) -> Encoder {
    let mut e = Encoder::new();
    e.raw(&INDEX_MAGIC);
    e.u8(VERSION);
    e.u8(SUITE);
    e.raw(repository.as_bytes());
    e.raw(writer.as_bytes());
    e.u32(epoch);
    e
}

/// The reader's epoch that an index object is sealed for, from its open part.
pub fn epoch_of(bytes: &[u8], repository: RepositoryId) -> Result<u32, IndexError> {
    let mut d = Decoder::new(bytes);
    if d.array::<8>()? != INDEX_MAGIC {
        return Err(DecodeError::Invalid("it does not begin with DRVRINDX").into());
    }
    let (version, suite) = (d.u8()?, d.u8()?);
    if (version, suite) != (VERSION, SUITE) {
        return Err(IndexError::Version(version, suite));
    }
    if RepositoryId(d.array()?) != repository {
        return Err(DecodeError::Invalid("it is of another repository").into());
    }
    d.array::<16>()?;
    Ok(d.u32()?)
}

/// Encodes and seals the directories of `packs`.
pub fn encode(
    repository: RepositoryId,
    writer: WriterId,
    epoch: u32,
    packs: &[PackReceipt],
    meta: &ReaderPublic,
) -> Result<Vec<u8>, IndexError> {
    let mut sessions: Vec<[u8; SESSION_PART]> = Vec::new();
    let mut body = Encoder::new();
    for pack in packs {
        let header = pack.header.encode();
        let session = *header.first_chunk().expect("the header is longer than its first part");
        let number = sessions.iter().position(|s| *s == session).unwrap_or_else(|| {
            sessions.push(session);
            sessions.len() - 1
        });
        body.raw(pack.id.as_bytes());
        body.varint(pack.len);
        body.varint(number as u64);
        body.raw(&pack.header.salt);
        body.raw(&pack.header.commitment);
        body.varint(pack.entries.len() as u64);
        for entry in &pack.entries {
            body.u8((entry.kind as u8) << 4 | entry.compression as u8);
            body.raw(entry.id.as_bytes());
            body.varint(entry.stored_len.into());
            body.varint(entry.plain_len.into());
        }
    }
    let mut e = Encoder::new();
    e.varint(sessions.len() as u64);
    sessions.iter().for_each(|session| e.raw(session));
    e.varint(packs.len() as u64);
    e.raw(&body.finish());
    let plain = e.finish();
    let mut out = head(repository, writer, epoch);
    let mut compressed = (plain.len() as u64).to_le_bytes().to_vec();
    compressed.extend(zstd::bulk::compress(&plain, 1).map_err(|_| IndexError::Compression)?);
    let sealed = seal::seal(meta, out.as_bytes(), &compressed);
    out.raw(&sealed);
    Ok(out.finish())
}

/// Opens and decodes an index object.
pub fn decode(bytes: &[u8], meta: &ReaderSecret) -> Result<Vec<PackReceipt>, IndexError> {
    const HEAD: usize = 8 + 2 + 16 + 16 + 4;
    let (head, sealed) = bytes.split_at_checked(HEAD).ok_or(DecodeError::Truncated)?;
    let compressed = seal::open(meta, head, sealed).map_err(|_| IndexError::Sealed)?;
    let mut d = Decoder::new(&compressed);
    let len = d.u64()?;
    if len > limits::INDEX_OBJECT as u64 {
        return Err(DecodeError::TooLong { len, bound: limits::INDEX_OBJECT as u64 }.into());
    }
    let plain = zstd::bulk::decompress(d.rest(), len as usize)
        .ok()
        .filter(|plain| plain.len() as u64 == len)
        .ok_or(IndexError::Compression)?;
    Ok(decode_directories(&plain)?)
}

/// Decodes the directories that an index object holds, once it is open.
pub fn decode_directories(plain: &[u8]) -> Result<Vec<PackReceipt>, DecodeError> {
    let mut d = Decoder::new(plain);
    let sessions: Vec<&[u8]> = (0..d.length(plain.len() / SESSION_PART)?)
        .map(|_| d.raw(SESSION_PART))
        .collect::<Result<_, _>>()?;
    let count = d.length(plain.len() / 96)?;
    let packs = (0..count).map(|_| decode_pack(&mut d, &sessions)).collect::<Result<_, _>>()?;
    d.end()?;
    Ok(packs)
}

fn decode_pack(d: &mut Decoder<'_>, sessions: &[&[u8]]) -> Result<PackReceipt, DecodeError> {
    let id = PackId(d.array()?);
    let len = d.length(limits::PACK)? as u64;
    let session = sessions
        .get(d.length(sessions.len())?)
        .ok_or(DecodeError::Invalid("an index names a session it lacks"))?;
    let mut header = session.to_vec();
    header.extend_from_slice(d.raw(64)?);
    header.resize(HEADER_LEN, 0);
    let header = PackHeader::decode(&header)
        .map_err(|_| DecodeError::Invalid("an index holds the header of no pack"))?;
    let count = d.length(d.rest().len() / 35)?;
    let mut entries = Vec::with_capacity(count);
    let mut offset = HEADER_LEN as u64;
    for _ in 0..count {
        let code = d.u8()?;
        let (kind, compression) = ChunkKind::from_code(code >> 4)
            .zip(Compression::from_code(code & 15))
            .ok_or(DecodeError::Invalid("unknown kind or compression"))?;
        let entry = DirectoryEntry {
            kind,
            compression,
            id: ChunkId(d.array()?),
            offset: offset as u32,
            stored_len: d.length(limits::CHUNK)? as u32,
            plain_len: d.length(limits::CHUNK)? as u32,
        };
        offset += u64::from(entry.stored_len) + TAG_LEN as u64;
        if offset > len {
            return Err(DecodeError::Invalid("an index's frames reach beyond their pack"));
        }
        entries.push(entry);
    }
    Ok(PackReceipt { id, len, header, entries })
}

/// Name and length of a pack as a list of packs holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedPack {
    /// Its name.
    pub id: PackId,
    /// Its length in bytes.
    pub len: u64,
}

impl ListedPack {
    /// Its leaf in the cumulative tree of a writer's packs.
    pub fn leaf(&self) -> [u8; 32] {
        let mut bytes = self.id.0.to_vec();
        bytes.extend_from_slice(&self.len.to_le_bytes());
        merkle::plain_leaf(&bytes)
    }
}

/// Encodes the ordered list of the packs that a pass added.
pub fn encode_list(packs: &[ListedPack]) -> Vec<u8> {
    let mut e = Encoder::new();
    e.raw(&LIST_MAGIC);
    e.u8(VERSION);
    e.varint(packs.len() as u64);
    for pack in packs {
        e.raw(pack.id.as_bytes());
        e.varint(pack.len);
    }
    e.finish()
}

/// Decodes a list of packs.
pub fn decode_list(bytes: &[u8]) -> Result<Vec<ListedPack>, IndexError> {
    let mut d = Decoder::new(bytes);
    if d.array::<8>()? != LIST_MAGIC {
        return Err(DecodeError::Invalid("it does not begin with DRVRLIST").into());
    }
    let version = d.u8()?;
    if version != VERSION {
        return Err(IndexError::Version(version, SUITE));
    }
    let count = d.length(d.rest().len() / 33)?;
    let packs = (0..count)
        .map(|_| Ok(ListedPack { id: PackId(d.array()?), len: d.length(limits::PACK)? as u64 }))
        .collect::<Result<_, DecodeError>>()?;
    d.end()?;
    Ok(packs)
}
