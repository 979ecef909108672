//! The audit log: who did what, when, with what outcome (`docs/format.md`, "Audit log").
//!
//! Records of one writer are numbered and each holds the hash of the one before, so that none
//! can be dropped or changed unnoticed; each snapshot holds the head. What a record says is
//! sealed to the meta reader, because a source's name can be a secret too.

use std::ops::Deref;

use drover_crypt::{
    seal::{ReaderPublic, ReaderSecret},
    sign::SigningKey,
};
use drover_types::codec::{DecodeError, Decoder, Encoder};

use crate::chained::{self, Form, Stored};
pub use crate::chained::{ChainedError as LogError, Record};

const FORM: Form = Form {
    magic: *b"DRVRLOG\0",
    context: "drover 2026-11 log record",
    refusal: "not a log record of version 1",
};

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

/// Encodes, seals and signs a record.
pub fn encode(record: &Record, action: &Action, meta: &ReaderPublic, key: &SigningKey) -> Vec<u8> {
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
    chained::encode(&FORM, record, &plain.finish(), meta, key)
}

/// A record as it was read, whose signature has yet to be checked.
#[derive(Clone, Debug)]
pub struct StoredRecord(Stored);

impl Deref for StoredRecord {
    type Target = Stored;

    fn deref(&self) -> &Stored {
        &self.0
    }
}

impl StoredRecord {
    /// Decodes the open part.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, LogError> {
        Stored::decode(&FORM, bytes).map(Self)
    }

    /// Opens the sealed part.
    pub fn action(&self, meta: &ReaderSecret) -> Result<Action, LogError> {
        Action::decode(self.unseal(meta)?.as_ref())
    }
}
