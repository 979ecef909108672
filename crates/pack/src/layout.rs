//! Where the bytes of a pack lie (`docs/format.md`, "Packs").

use drover_types::{
    ChunkId, ChunkKind, Compression, DomainId, PackClass, RepositoryId, WriterId,
    codec::{DecodeError, Decoder, Encoder},
    limits,
};

use crate::PackError;

/// First bytes of every pack.
const MAGIC: [u8; 8] = *b"DRVRPACK";
/// Last bytes of every pack.
const END_MAGIC: [u8; 8] = *b"KCAPRVRD";
const VERSION: u8 = 1;
const SUITE: u8 = 1;

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 256;
/// Length of the trailer in bytes.
pub const TRAILER_LEN: usize = 16;
/// Length of an authentication tag in bytes.
pub const TAG_LEN: usize = 16;
/// Length of the sealed session secret in bytes.
pub(crate) const SESSION_SEAL_LEN: usize = 112;
/// Length of a directory entry in bytes.
const ENTRY_LEN: usize = 42;
const RESERVED_LEN: usize = 16;

/// Who wrote a pack, where, for which domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PackIdentity {
    /// The repository it belongs to.
    pub repository: RepositoryId,
    /// The writer whose session made it.
    pub writer: WriterId,
    /// The domain whose keys name its chunks.
    pub domain: DomainId,
}

/// The header of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackHeader {
    /// Which reader it is sealed to.
    pub class: PackClass,
    /// Which generation of that reader's keys.
    pub epoch: u32,
    /// Who wrote it.
    pub identity: PackIdentity,
    /// The session secret, sealed to the reader.
    pub session: [u8; SESSION_SEAL_LEN],
    /// Makes the key this pack's own.
    pub salt: [u8; 32],
    /// Commits to the key.
    pub commitment: [u8; 32],
}

impl PackHeader {
    /// The part that the session's seal is bound to: everything before it.
    pub(crate) fn session_info(class: PackClass, epoch: u32, identity: &PackIdentity) -> Vec<u8> {
        let mut e = Encoder::onto(Vec::with_capacity(HEADER_LEN));
        e.raw(&MAGIC);
        e.u8(VERSION);
        e.u8(SUITE);
        e.u8(class as u8);
        e.u8(0);
        e.u32(epoch);
        e.raw(identity.repository.as_bytes());
        e.raw(identity.writer.as_bytes());
        e.raw(identity.domain.as_bytes());
        e.finish()
    }

    /// The 256 bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut e = Encoder::onto(Self::session_info(self.class, self.epoch, &self.identity));
        e.raw(&self.session);
        e.raw(&self.salt);
        e.raw(&self.commitment);
        e.raw(&[0; RESERVED_LEN]);
        e.finish().try_into().expect("the fields add up to the header's length")
    }

    /// Reads the first 256 bytes of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, PackError> {
        let mut d = Decoder::new(bytes);
        if d.array::<8>()? != MAGIC {
            return Err(DecodeError::Invalid("it does not begin with DRVRPACK").into());
        }
        let (version, suite) = (d.u8()?, d.u8()?);
        if (version, suite) != (VERSION, SUITE) {
            return Err(PackError::Version { version, suite });
        }
        let class = PackClass::from_code(d.u8()?).ok_or(DecodeError::Invalid("unknown class"))?;
        let reserved = d.u8()?;
        let header = Self {
            class,
            epoch: d.u32()?,
            identity: PackIdentity {
                repository: RepositoryId(d.array()?),
                writer: WriterId(d.array()?),
                domain: DomainId(d.array()?),
            },
            session: d.array()?,
            salt: d.array()?,
            commitment: d.array()?,
        };
        if reserved != 0 || d.array::<RESERVED_LEN>()? != [0; RESERVED_LEN] {
            return Err(DecodeError::Invalid("reserved bytes are not zero").into());
        }
        Ok(header)
    }
}

/// One frame as the directory lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// What the chunk is.
    pub kind: ChunkKind,
    /// How its bytes were made smaller.
    pub compression: Compression,
    /// Its name.
    pub id: ChunkId,
    /// Where its ciphertext begins, in bytes from the start of the pack.
    pub offset: u32,
    /// Length of the ciphertext in bytes; its tag follows.
    pub stored_len: u32,
    /// Length of the plaintext in bytes.
    pub plain_len: u32,
}

impl DirectoryEntry {
    /// The bytes of the pack that hold the frame, tag included.
    pub fn range(&self) -> std::ops::Range<u64> {
        let start = u64::from(self.offset);
        start..start + u64::from(self.stored_len) + TAG_LEN as u64
    }
}

/// The size that a pack of `len` bytes is padded to: a multiple of 4 KiB to 64 KiB, of 16 KiB to
/// 1 MiB, of 64 KiB above.
pub fn padded(len: usize) -> usize {
    let step = match len {
        0..=0x1_0000 => 0x1000,
        0x1_0001..=0x10_0000 => 0x4000,
        _ => 0x1_0000,
    };
    len.next_multiple_of(step)
}

/// Encodes the directory, padded with zeros so that the whole pack has a padded size.
/// `frames_end` is where the frames end.
pub(crate) fn encode_directory(entries: &[DirectoryEntry], frames_end: usize) -> Vec<u8> {
    let bare = 4 + entries.len() * ENTRY_LEN;
    let total = padded(frames_end + bare + TAG_LEN + TRAILER_LEN);
    let len = total - frames_end - TAG_LEN - TRAILER_LEN;
    let mut e = Encoder::onto(Vec::with_capacity(len));
    e.u32(entries.len() as u32);
    for entry in entries {
        e.u8(entry.kind as u8);
        e.u8(entry.compression as u8);
        e.raw(entry.id.as_bytes());
        e.u32(entry.stored_len);
        e.u32(entry.plain_len);
    }
    let mut bytes = e.finish();
    bytes.resize(len, 0);
    bytes
}

/// Decodes a directory, once it is open, whose frames must fill `HEADER_LEN..frames_end` exactly.
pub fn decode_directory(bytes: &[u8], frames_end: usize) -> Result<Vec<DirectoryEntry>, PackError> {
    let mut d = Decoder::new(bytes);
    let count = d.u32()? as usize;
    if count > d.rest().len() / ENTRY_LEN {
        return Err(DecodeError::Truncated.into());
    }
    let mut entries = Vec::with_capacity(count);
    let mut offset = HEADER_LEN;
    for _ in 0..count {
        let kind = ChunkKind::from_code(d.u8()?).ok_or(DecodeError::Invalid("unknown kind"))?;
        let compression =
            Compression::from_code(d.u8()?).ok_or(DecodeError::Invalid("unknown compression"))?;
        let id = ChunkId(d.array()?);
        let (stored_len, plain_len) = (d.u32()?, d.u32()?);
        if plain_len == 0 || plain_len as usize > limits::CHUNK || stored_len > plain_len {
            return Err(DecodeError::Invalid("a frame's length is out of bounds").into());
        }
        entries.push(DirectoryEntry {
            kind,
            compression,
            id,
            offset: offset as u32,
            stored_len,
            plain_len,
        });
        offset += stored_len as usize + TAG_LEN;
        if offset > frames_end {
            return Err(DecodeError::Invalid("frames reach beyond their place").into());
        }
    }
    if offset != frames_end || d.rest().iter().any(|&b| b != 0) {
        return Err(DecodeError::Invalid("frames or padding do not fill their place").into());
    }
    Ok(entries)
}

/// The trailer: the length of the sealed directory, tag included.
pub(crate) fn encode_trailer(directory_len: u32) -> [u8; TRAILER_LEN] {
    let mut trailer = [0; TRAILER_LEN];
    trailer[..4].copy_from_slice(&directory_len.to_le_bytes());
    trailer[8..].copy_from_slice(&END_MAGIC);
    trailer
}

/// The length of the sealed directory, of a pack of `pack_len` bytes that ends in `trailer`.
pub(crate) fn decode_trailer(trailer: &[u8], pack_len: u64) -> Result<usize, PackError> {
    let mut d = Decoder::new(trailer);
    let (len, zeros, magic) = (d.u32()? as usize, d.u32()?, d.array::<8>()?);
    d.end()?;
    let room = (pack_len as usize).checked_sub(HEADER_LEN + TRAILER_LEN);
    if magic != END_MAGIC || zeros != 0 {
        return Err(DecodeError::Invalid("it does not end in a trailer").into());
    }
    if pack_len > limits::PACK as u64
        || !(TAG_LEN + 4..=limits::DIRECTORY).contains(&len)
        || room.is_none_or(|room| len > room)
    {
        return Err(DecodeError::Invalid("the directory's length is out of bounds").into());
    }
    Ok(len)
}
