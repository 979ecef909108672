//! What the state's database keeps under its keys, and how.

use drover_crypt::merkle::Frontier;
use drover_pack::{DirectoryEntry, HEADER_LEN, PackHeader, PackReceipt, TAG_LEN};
use drover_types::{
    ChunkId, ChunkKind, Compression, Evidence, Extent, PackId, SnapshotId, SourceId, Timestamp,
    codec::{DecodeError, Decoder, Encoder},
    limits,
};

use crate::{record, snapshot};

/// About how long one frame is in an encoded receipt, in bytes.
pub(super) const ENCODED_ENTRY: usize = 40;

/// The end of a writer's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of the last snapshot; 0 where there is none.
    pub sequence: u64,
    /// Hash of the last snapshot; zeros where there is none.
    pub snapshot: [u8; 32],
    /// Number of the last log record.
    pub log_sequence: u64,
    /// Hash of the last log record.
    pub log: [u8; 32],
    /// The tree of all packs that snapshots list.
    pub packs: Frontier,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            sequence: 0,
            snapshot: [0; 32],
            log_sequence: 0,
            log: [0; 32],
            packs: Frontier::new(),
        }
    }
}

/// What is remembered of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRecord {
    /// Its name.
    pub name: String,
    /// Its last snapshot.
    pub snapshot: SnapshotId,
    /// Device number of its root then.
    pub device: u64,
    /// How many entries it had.
    pub entries: u64,
    /// How many bytes its files had.
    pub bytes: u64,
    /// When the pass ended.
    pub time: Timestamp,
}

/// Log record and snapshot on their way to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Names and bytes, in the order in which they are sent.
    pub objects: Vec<(String, Vec<u8>)>,
    /// The history's end once they are there.
    pub head: Head,
    /// The source, and what to remember of it.
    pub source: Option<(SourceId, SourceRecord)>,
    /// How many of the unlisted packs the snapshot lists.
    pub listed: u64,
}

/// How far a large file of an unfinished pass has come: the extents of its beginning, and the
/// states of its hash at a few places on the way. The newest place may lie beyond what the store
/// has acknowledged; an earlier one does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partial {
    /// What the file looked like.
    pub evidence: Evidence,
    /// Its time of change then.
    pub mtime: Timestamp,
    /// The extents so far.
    pub extents: Vec<Extent>,
    /// Places on the way, in order: how many extents came before it, and the hash's state there.
    pub places: Vec<(u64, Vec<u8>)>,
}

pub(super) fn encode_receipt(receipt: &PackReceipt) -> Vec<u8> {
    let mut e = Encoder::new();
    e.raw(receipt.id.as_bytes());
    e.varint(receipt.len);
    e.raw(&receipt.header.encode());
    e.varint(receipt.entries.len() as u64);
    for entry in &receipt.entries {
        e.u8(entry.kind as u8);
        e.u8(entry.compression as u8);
        e.raw(entry.id.as_bytes());
        e.varint(entry.stored_len.into());
        e.varint(entry.plain_len.into());
    }
    e.finish()
}

pub(super) fn decode_receipt(bytes: &[u8]) -> Result<PackReceipt, DecodeError> {
    let mut d = Decoder::new(bytes);
    let id = PackId(d.array()?);
    let len = d.length(limits::PACK)? as u64;
    let header = PackHeader::decode(d.raw(HEADER_LEN)?)
        .map_err(|_| DecodeError::Invalid("not the header of a pack"))?;
    let count = d.length(d.rest().len() / 36)?;
    let mut offset = HEADER_LEN as u32;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let entry = DirectoryEntry {
            kind: ChunkKind::from_code(d.u8()?).ok_or(DecodeError::Invalid("unknown kind"))?,
            compression: Compression::from_code(d.u8()?)
                .ok_or(DecodeError::Invalid("unknown compression"))?,
            id: ChunkId(d.array()?),
            offset,
            stored_len: d.varint32()?,
            plain_len: d.varint32()?,
        };
        offset = offset
            .checked_add(entry.stored_len)
            .and_then(|sum| sum.checked_add(TAG_LEN as u32))
            .ok_or(DecodeError::Integer)?;
        entries.push(entry);
    }
    d.end()?;
    Ok(PackReceipt { id, len, header, entries })
}

pub(super) fn encode_head(head: &Head) -> Vec<u8> {
    let mut e = Encoder::new();
    e.u64(head.sequence);
    e.raw(&head.snapshot);
    e.u64(head.log_sequence);
    e.raw(&head.log);
    snapshot::encode_frontier(&head.packs, &mut e);
    e.finish()
}

pub(super) fn decode_head(bytes: &[u8]) -> Result<Head, DecodeError> {
    let mut d = Decoder::new(bytes);
    let head = Head {
        sequence: d.u64()?,
        snapshot: d.array()?,
        log_sequence: d.u64()?,
        log: d.array()?,
        packs: snapshot::decode_frontier(&mut d)?,
    };
    d.end()?;
    Ok(head)
}

pub(super) fn encode_source(source: &SourceRecord) -> Vec<u8> {
    let mut e = Encoder::new();
    e.bytes(source.name.as_bytes());
    e.raw(source.snapshot.as_bytes());
    e.varint(source.device);
    e.varint(source.entries);
    e.varint(source.bytes);
    record::encode_time(source.time, &mut e);
    e.finish()
}

pub(super) fn decode_source(bytes: &[u8]) -> Result<SourceRecord, DecodeError> {
    let mut d = Decoder::new(bytes);
    let source = SourceRecord {
        name: String::from_utf8_lossy(d.bytes(limits::NAME)?).into_owned(),
        snapshot: SnapshotId(d.array()?),
        device: d.varint()?,
        entries: d.varint()?,
        bytes: d.varint()?,
        time: record::decode_time(&mut d)?,
    };
    d.end()?;
    Ok(source)
}

pub(super) fn encode_commit(commit: &Commit) -> Vec<u8> {
    let mut e = Encoder::new();
    e.varint(commit.objects.len() as u64);
    for (name, bytes) in &commit.objects {
        e.bytes(name.as_bytes());
        e.bytes(bytes);
    }
    e.bytes(&encode_head(&commit.head));
    match &commit.source {
        Some((id, source)) => {
            e.u8(1);
            e.raw(id.as_bytes());
            e.bytes(&encode_source(source));
        }
        None => e.u8(0),
    }
    e.varint(commit.listed);
    e.finish()
}

pub(super) fn decode_commit(bytes: &[u8]) -> Result<Commit, DecodeError> {
    let mut d = Decoder::new(bytes);
    let mut objects = Vec::new();
    for _ in 0..d.length(16)? {
        let name = String::from_utf8_lossy(d.bytes(1024)?).into_owned();
        objects.push((name, d.bytes(limits::SMALL_OBJECT)?.to_vec()));
    }
    let head = decode_head(d.bytes(limits::SMALL_OBJECT)?)?;
    let source = match d.u8()? {
        0 => None,
        _ => Some((SourceId(d.array()?), decode_source(d.bytes(limits::SMALL_OBJECT)?)?)),
    };
    let listed = d.varint()?;
    d.end()?;
    Ok(Commit { objects, head, source, listed })
}

pub(super) fn encode_partial(partial: &Partial) -> Vec<u8> {
    let mut e = Encoder::new();
    let v = &partial.evidence;
    for number in [v.device, v.inode, v.links.into(), v.size, v.allocated] {
        e.varint(number);
    }
    e.u8(u8::from(v.ctime.is_some()) | u8::from(v.racy) << 1);
    record::encode_time(v.ctime.unwrap_or_default(), &mut e);
    record::encode_time(partial.mtime, &mut e);
    e.varint(partial.extents.len() as u64);
    partial.extents.iter().for_each(|extent| record::encode_extent(extent, &mut e));
    e.varint(partial.places.len() as u64);
    for (extents, hasher) in &partial.places {
        e.varint(*extents);
        e.bytes(hasher);
    }
    e.finish()
}

pub(super) fn decode_partial(bytes: &[u8]) -> Result<Partial, DecodeError> {
    let mut d = Decoder::new(bytes);
    let mut evidence = Evidence {
        device: d.varint()?,
        inode: d.varint()?,
        links: d.varint32()?,
        size: d.varint()?,
        allocated: d.varint()?,
        ..Evidence::default()
    };
    let flags = d.u8()?;
    let ctime = record::decode_time(&mut d)?;
    evidence.ctime = (flags & 1 != 0).then_some(ctime);
    evidence.racy = flags & 2 != 0;
    let mtime = record::decode_time(&mut d)?;
    let count = d.length(d.rest().len() / 2)?;
    let extents = (0..count).map(|_| record::decode_extent(&mut d)).collect::<Result<_, _>>()?;
    let count = d.length(64)?;
    let places = (0..count)
        .map(|_| Ok((d.varint()?, d.bytes(1 << 20)?.to_vec())))
        .collect::<Result<_, DecodeError>>()?;
    d.end()?;
    Ok(Partial { evidence, mtime, extents, places })
}
