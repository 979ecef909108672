//! The audit log: who did what, when, with what outcome (`docs/format.md`, "Audit log").
//!
//! Records of one writer are numbered and each holds the hash of the one before, so that none
//! can be dropped or changed unnoticed; each snapshot holds the head. What a record says is
//! sealed to the meta reader, because a source's name can be a secret too.

use drover_crypt::{
    seal::{self, ReaderPublic, ReaderSecret},
    sign::{PublicKey, Signature, SigningKey},
};
use drover_types::{
    RepositoryId, Timestamp, WriterId,
    codec::{DecodeError, Decoder, Encoder},
    limits,
};

use crate::record;

const MAGIC: [u8; 8] = *b"DRVRLOG\0";
const VERSION: u8 = 1;
const SUITE: u8 = 1;
const SIGN_CONTEXT: &str = "drover 2026-11 log record";

/// The open part of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The repository.
    pub repository: RepositoryId,
    /// Who wrote it.
    pub writer: WriterId,
    /// Numbered from 1 without gaps.
    pub sequence: u64,
    /// BLAKE3 of the record before; zeros for the first.
    pub previous: [u8; 32],
    /// When.
    pub time: Timestamp,
    /// Which generation of the meta reader's keys the sealed part is for.
    pub epoch: u32,
}

/// The sealed part of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Who, as given by `--operator`.
    pub operator: String,
    /// The machine.
    pub host: String,
    /// Which verb.
    pub verb: String,
    /// On what: a source's name, a key's id.
    pub subject: String,
    /// What came of it.
    pub outcome: String,
    /// The program and its version.
    pub program: String,
}

impl Action {
    /// Decodes the sealed part, once it is open.
    pub fn decode(bytes: &[u8]) -> Result<Self, LogError> {
        let mut d = Decoder::new(bytes);
        let mut text = || -> Result<String, LogError> {
            let bytes = d.bytes(64 << 10)?;
            Ok(std::str::from_utf8(bytes)
                .map_err(|_| DecodeError::Invalid("a text is not UTF-8"))?
                .to_owned())
        };
        let action = Self {
            operator: text()?,
            host: text()?,
            verb: text()?,
            subject: text()?,
            outcome: text()?,
            program: text()?,
        };
        d.end()?;
        Ok(action)
    }
}

/// Why a record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The bytes are no record of this version.
    #[error("not a log record: {0}")]
    Layout(#[from] DecodeError),
    /// Not signed by the writer it names.
    #[error("the signature is not that of the writer it names")]
    Signature,
    /// The sealed part does not open.
    #[error("the sealed part does not open: it was changed, or is for other keys")]
    Sealed,
}

fn encode_open(record: &Record) -> Encoder {
    let mut e = Encoder::new();
    e.raw(&MAGIC);
    e.u8(VERSION);
    e.u8(SUITE);
    e.raw(record.repository.as_bytes());
    e.raw(record.writer.as_bytes());
    e.u64(record.sequence);
    e.raw(&record.previous);
    record::encode_time(record.time, &mut e);
    e.u32(record.epoch);
    e
}

/// Encodes, seals and signs a record.
pub fn encode(record: &Record, action: &Action, meta: &ReaderPublic, key: &SigningKey) -> Vec<u8> {
    let mut e = encode_open(record);
    let mut plain = Encoder::new();
    for text in [
        &action.operator,
        &action.host,
        &action.verb,
        &action.subject,
        &action.outcome,
        &action.program,
    ] {
        plain.bytes(text.as_bytes());
    }
    let info = blake3::hash(e.as_bytes());
    e.bytes(&seal::seal(meta, info.as_bytes(), &plain.finish()));
    let signature = key.sign(SIGN_CONTEXT, e.as_bytes());
    e.raw(&signature.0);
    e.finish()
}

/// A record as it was read, whose signature has yet to be checked.
#[derive(Clone, Debug)]
pub struct StoredRecord {
    /// BLAKE3 of its bytes.
    pub hash: [u8; 32],
    /// The open part.
    pub open: Record,
    bytes: Vec<u8>,
    sealed: std::ops::Range<usize>,
    open_len: usize,
}

impl StoredRecord {
    /// Decodes the open part.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, LogError> {
        let mut d = Decoder::new(&bytes);
        if d.array::<8>()? != MAGIC || d.u8()? != VERSION || d.u8()? != SUITE {
            return Err(DecodeError::Invalid("not a record of version 1").into());
        }
        let open = Record {
            repository: RepositoryId(d.array()?),
            writer: WriterId(d.array()?),
            sequence: d.u64()?,
            previous: d.array()?,
            time: record::decode_time(&mut d)?,
            epoch: d.u32()?,
        };
        let open_len = bytes.len() - d.rest().len();
        let len = d.bytes(limits::SMALL_OBJECT)?.len();
        let end = bytes.len() - d.rest().len();
        d.array::<64>()?;
        d.end()?;
        let hash = *blake3::hash(&bytes).as_bytes();
        Ok(Self { hash, open, sealed: end - len..end, open_len, bytes })
    }

    /// Checks that `writer`'s key signed it.
    pub fn verify(&self, writer: &PublicKey) -> Result<(), LogError> {
        let (message, signature) =
            self.bytes.split_last_chunk::<64>().expect("decoding found 64 bytes at the end");
        writer
            .verify(SIGN_CONTEXT, message, &Signature(*signature))
            .map_err(|_| LogError::Signature)
    }

    /// Opens the sealed part.
    pub fn action(&self, meta: &ReaderSecret) -> Result<Action, LogError> {
        let info = blake3::hash(&self.bytes[..self.open_len]);
        let plain = seal::open(meta, info.as_bytes(), &self.bytes[self.sealed.clone()])
            .map_err(|_| LogError::Sealed)?;
        Action::decode(&plain)
    }
}
