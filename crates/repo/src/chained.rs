//! Numbered records, each of which holds the hash of the one before: signed by a writer, and sealed to
//! the meta reader. The records of the audit log and the steps of cutovers are such.

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

const VERSION: u8 = 1;
const SUITE: u8 = 1;

/// What tells one sort of record from another.
#[derive(Debug)]
pub(crate) struct Form {
    /// What its bytes begin with.
    pub magic: [u8; 8],
    /// What its signature is for.
    pub context: &'static str,
    /// Why other bytes are none.
    pub refusal: &'static str,
}

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

/// Why a record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChainedError {
    /// The bytes are no record of this version.
    #[error("not a record of this sort: {0}")]
    Layout(#[from] DecodeError),
    /// Not signed by the writer it names.
    #[error("the signature is not that of the writer it names")]
    Signature,
    /// The sealed part does not open.
    #[error("the sealed part does not open: it was changed, or is for other keys")]
    Sealed,
}

/// Encodes, seals and signs a record.
pub(crate) fn encode(
    form: &Form,
    record: &Record,
    plain: &[u8],
    meta: &ReaderPublic,
    key: &SigningKey,
) -> Vec<u8> {
    let mut e = Encoder::new();
    e.raw(&form.magic);
    e.u8(VERSION);
    e.u8(SUITE);
    e.raw(record.repository.as_bytes());
    e.raw(record.writer.as_bytes());
    e.u64(record.sequence);
    e.raw(&record.previous);
    record::encode_time(record.time, &mut e);
    e.u32(record.epoch);
    let info = blake3::hash(e.as_bytes());
    e.bytes(&seal::seal(meta, info.as_bytes(), plain));
    let signature = key.sign(form.context, e.as_bytes());
    e.raw(&signature.0);
    e.finish()
}

/// A record as it was read, whose signature has yet to be checked.
#[derive(Clone, Debug)]
pub struct Stored {
    /// BLAKE3 of its bytes.
    pub hash: [u8; 32],
    /// The open part.
    pub open: Record,
    form: &'static Form,
    bytes: Vec<u8>,
    sealed: std::ops::Range<usize>,
    open_len: usize,
}

impl Stored {
    /// Decodes the open part.
    pub(crate) fn decode(form: &'static Form, bytes: Vec<u8>) -> Result<Self, ChainedError> {
        let mut d = Decoder::new(&bytes);
        if d.array::<8>()? != form.magic || d.u8()? != VERSION || d.u8()? != SUITE {
            return Err(DecodeError::Invalid(form.refusal).into());
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
        Ok(Self { hash, open, form, sealed: end - len..end, open_len, bytes })
    }

    /// Checks that `writer`'s key signed it.
    pub fn verify(&self, writer: &PublicKey) -> Result<(), ChainedError> {
        let (message, signature) =
            self.bytes.split_last_chunk::<64>().expect("decoding found 64 bytes at the end");
        writer
            .verify(self.form.context, message, &Signature(*signature))
            .map_err(|_| ChainedError::Signature)
    }

    /// Opens the sealed part.
    pub(crate) fn unseal(&self, meta: &ReaderSecret) -> Result<impl AsRef<[u8]>, ChainedError> {
        let info = blake3::hash(&self.bytes[..self.open_len]);
        seal::open(meta, info.as_bytes(), &self.bytes[self.sealed.clone()])
            .map_err(|_| ChainedError::Sealed)
    }
}
