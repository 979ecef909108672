//! Snapshots: what one pass leaves, signed by its writer (`docs/format.md`, "Snapshots").
//!
//! The open part is what anyone may know who scrubs the bucket without keys: who wrote it, which
//! number it has, which one came before, which packs it added, and roots of trees. The sealed
//! part is for those who may read names.

use drover_crypt::{
    merkle::Frontier,
    seal::{self, ReaderPublic, ReaderSecret},
    sign::{PublicKey, Signature, SigningKey},
};
use drover_types::{
    ChunkRef, DomainId, Exception, ExceptionKind, RepositoryId, SnapshotId, SourceId, Timestamp,
    WriterId,
    codec::{DecodeError, Decoder, Encoder},
    limits,
};

use crate::{manifest::ManifestRoot, record};

const MAGIC: [u8; 8] = *b"DRVRSNAP";
const VERSION: u8 = 1;
const SUITE: u8 = 1;
const SIGN_CONTEXT: &str = "drover 2026-11 snapshot";
/// Exceptions that take more bytes than this are stored as chunks.
pub const INLINE_EXCEPTION_BYTES: usize = 256 << 10;
/// A chunk of exceptions ends when it has this many bytes.
pub const EXCEPTION_CHUNK_BYTES: usize = 1 << 20;

/// The open part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The repository.
    pub repository: RepositoryId,
    /// Who wrote it.
    pub writer: WriterId,
    /// The writer's snapshots are numbered from 1 without gaps.
    pub sequence: u64,
    /// The writer's snapshot before it; zeros for the first.
    pub previous: [u8; 32],
    /// Which generation of the meta reader's keys the sealed part is for.
    pub epoch: u32,
    /// The domain whose keys name its chunks.
    pub domain: DomainId,
    /// When the pass ended.
    pub time: Timestamp,
    /// The source.
    pub source: SourceId,
    /// Entries, the root not counted.
    pub entries: u64,
    /// Regular files, further names of hard links included.
    pub files: u64,
    /// Logical bytes of the regular files.
    pub bytes: u64,
    /// BLAKE3 of the list of packs that this pass added; zeros where there are none.
    pub pack_list: [u8; 32],
    /// How many packs it added.
    pub new_packs: u64,
    /// The tree of all packs of this writer, this pass's included.
    pub packs: Frontier,
    /// Merkle root of the manifest.
    pub manifest_root: [u8; 32],
    /// How many records the writer's audit log has.
    pub log_sequence: u64,
    /// BLAKE3 of the last of them; zeros where there is none.
    pub log_head: [u8; 32],
}

/// The sealed part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// The source's name.
    pub source: String,
    /// Where it was read: path or URL, as bytes.
    pub location: Vec<u8>,
    /// The machine that ran the pass.
    pub host: String,
    /// The newest snapshot of the same source before it; zeros where there is none.
    pub parent: [u8; 32],
    /// When the pass began.
    pub started: Timestamp,
    /// The manifest.
    pub manifest: ManifestRoot,
    /// What the pass could not take; empty where they are in `exception_chunks`.
    pub exceptions: Vec<Exception>,
    /// How many exceptions there are.
    pub exception_count: u64,
    /// Chunks of kind `Exceptions`, in order.
    pub exception_chunks: Vec<ChunkRef>,
    /// The program that wrote it.
    pub program: String,
    /// Who ran it, as given by `--operator`.
    pub operator: String,
}

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The bytes are no snapshot of this version.
    #[error("not a snapshot: {0}")]
    Layout(#[from] DecodeError),
    /// A version or suite this program does not know.
    #[error("the snapshot is of version {0}, suite {1}, which this program cannot read")]
    Version(u8, u8),
    /// Not signed by the writer it names.
    #[error("the signature is not that of the writer it names")]
    Signature,
    /// The sealed part does not open.
    #[error("the sealed part does not open: it was changed, or is for other keys")]
    Sealed,
}

fn encode_open(s: &Snapshot) -> Encoder {
    let mut e = Encoder::new();
    e.raw(&MAGIC);
    e.u8(VERSION);
    e.u8(SUITE);
    e.raw(s.repository.as_bytes());
    e.raw(s.writer.as_bytes());
    e.u64(s.sequence);
    e.raw(&s.previous);
    e.u32(s.epoch);
    e.raw(s.domain.as_bytes());
    record::encode_time(s.time, &mut e);
    e.raw(s.source.as_bytes());
    e.varint(s.entries);
    e.varint(s.files);
    e.varint(s.bytes);
    e.raw(&s.pack_list);
    e.varint(s.new_packs);
    encode_frontier(&s.packs, &mut e);
    e.raw(&s.manifest_root);
    e.varint(s.log_sequence);
    e.raw(&s.log_head);
    e
}

/// Appends a frontier: the number of leaves, then the peaks.
pub(crate) fn encode_frontier(frontier: &Frontier, e: &mut Encoder) {
    e.varint(frontier.len());
    frontier.peaks().iter().for_each(|peak| e.raw(peak));
}

/// Reads a frontier.
pub(crate) fn decode_frontier(d: &mut Decoder<'_>) -> Result<Frontier, DecodeError> {
    let len = d.varint()?;
    let peaks =
        (0..len.count_ones()).map(|_| d.array()).collect::<Result<Vec<_>, DecodeError>>()?;
    Frontier::from_parts(len, peaks).ok_or(DecodeError::Invalid("not the frontier of a tree"))
}

/// Encodes, seals and signs a snapshot.
pub fn encode(
    snapshot: &Snapshot,
    details: &Details,
    meta: &ReaderPublic,
    key: &SigningKey,
) -> Vec<u8> {
    let mut e = encode_open(snapshot);
    let sealed = seal::seal(meta, blake3::hash(e.as_bytes()).as_bytes(), &details.encode());
    e.bytes(&sealed);
    let signature = key.sign(SIGN_CONTEXT, e.as_bytes());
    e.raw(&signature.0);
    e.finish()
}

/// The name that bytes of a snapshot have.
pub fn id_of(bytes: &[u8]) -> SnapshotId {
    SnapshotId(*blake3::hash(bytes).as_bytes())
}

/// A snapshot as it was read, whose signature has yet to be checked.
#[derive(Clone, Debug)]
pub struct StoredSnapshot {
    /// Its name.
    pub id: SnapshotId,
    /// The open part.
    pub open: Snapshot,
    bytes: Vec<u8>,
    sealed: std::ops::Range<usize>,
    open_len: usize,
}

impl StoredSnapshot {
    /// Decodes the open part.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, SnapshotError> {
        let mut d = Decoder::new(&bytes);
        if d.array::<8>()? != MAGIC {
            return Err(DecodeError::Invalid("it does not begin with DRVRSNAP").into());
        }
        let (version, suite) = (d.u8()?, d.u8()?);
        if (version, suite) != (VERSION, SUITE) {
            return Err(SnapshotError::Version(version, suite));
        }
        let open = Snapshot {
            repository: RepositoryId(d.array()?),
            writer: WriterId(d.array()?),
            sequence: d.u64()?,
            previous: d.array()?,
            epoch: d.u32()?,
            domain: DomainId(d.array()?),
            time: record::decode_time(&mut d)?,
            source: SourceId(d.array()?),
            entries: d.varint()?,
            files: d.varint()?,
            bytes: d.varint()?,
            pack_list: d.array()?,
            new_packs: d.varint()?,
            packs: decode_frontier(&mut d)?,
            manifest_root: d.array()?,
            log_sequence: d.varint()?,
            log_head: d.array()?,
        };
        let open_len = bytes.len() - d.rest().len();
        let len = d.bytes(limits::SMALL_OBJECT)?.len();
        let end = bytes.len() - d.rest().len();
        d.array::<64>()?;
        d.end()?;
        Ok(Self { id: id_of(&bytes), open, sealed: end - len..end, open_len, bytes })
    }

    /// Checks that `writer`'s key signed it.
    pub fn verify(&self, writer: &PublicKey) -> Result<(), SnapshotError> {
        let (message, signature) =
            self.bytes.split_last_chunk::<64>().expect("decoding found 64 bytes at the end");
        writer
            .verify(SIGN_CONTEXT, message, &Signature(*signature))
            .map_err(|_| SnapshotError::Signature)
    }

    /// Opens the sealed part.
    pub fn details(&self, meta: &ReaderSecret) -> Result<Details, SnapshotError> {
        let info = blake3::hash(&self.bytes[..self.open_len]);
        let plain = seal::open(meta, info.as_bytes(), &self.bytes[self.sealed.clone()])
            .map_err(|_| SnapshotError::Sealed)?;
        Ok(Details::decode(&plain)?)
    }

    /// The bytes it is stored as.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Details {
    /// The sealed part before it is sealed.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.bytes(self.source.as_bytes());
        e.bytes(&self.location);
        e.bytes(self.host.as_bytes());
        e.raw(&self.parent);
        record::encode_time(self.started, &mut e);
        record::encode_chunk_ref(&self.manifest.chunk, &mut e);
        e.raw(&self.manifest.root);
        e.varint(self.manifest.entries);
        e.varint(self.exception_count);
        e.bytes(&encode_exceptions(&self.exceptions));
        e.varint(self.exception_chunks.len() as u64);
        self.exception_chunks.iter().for_each(|chunk| record::encode_chunk_ref(chunk, &mut e));
        e.bytes(self.program.as_bytes());
        e.bytes(self.operator.as_bytes());
        e.finish()
    }

    /// Decodes the sealed part, once it is open.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut d = Decoder::new(bytes);
        let details = Self {
            source: text(d.bytes(limits::NAME)?)?,
            location: d.bytes(limits::PATH)?.to_vec(),
            host: text(d.bytes(limits::NAME)?)?,
            parent: d.array()?,
            started: record::decode_time(&mut d)?,
            manifest: ManifestRoot {
                chunk: record::decode_chunk_ref(&mut d)?,
                root: d.array()?,
                entries: d.varint()?,
            },
            exception_count: d.varint()?,
            exceptions: decode_exceptions(d.bytes(limits::SMALL_OBJECT)?)?,
            exception_chunks: (0..d.length(1 << 16)?)
                .map(|_| record::decode_chunk_ref(&mut d))
                .collect::<Result<_, _>>()?,
            program: text(d.bytes(256)?)?,
            operator: text(d.bytes(limits::NAME)?)?,
        };
        d.end()?;
        Ok(details)
    }
}

fn text(bytes: &[u8]) -> Result<String, DecodeError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(DecodeError::Invalid("a text is not UTF-8")),
    }
}

/// Encodes exceptions: kind, path, message, one after the other.
pub fn encode_exceptions(exceptions: &[Exception]) -> Vec<u8> {
    let mut e = Encoder::new();
    for exception in exceptions {
        e.u8(exception.kind as u8);
        e.bytes(exception.path.as_bytes());
        e.bytes(exception.message.as_bytes());
    }
    e.finish()
}

/// Decodes exceptions up to the end of `bytes`.
pub fn decode_exceptions(bytes: &[u8]) -> Result<Vec<Exception>, DecodeError> {
    let mut d = Decoder::new(bytes);
    let mut exceptions = Vec::new();
    while !d.is_empty() {
        exceptions.push(Exception {
            kind: ExceptionKind::from_code(d.u8()?)
                .ok_or(DecodeError::Invalid("unknown kind of exception"))?,
            path: record::decode_path(d.bytes(limits::PATH)?)?,
            message: text(d.bytes(64 << 10)?)?,
        });
    }
    Ok(exceptions)
}
