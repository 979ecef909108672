//! The signed description of a repository.

use drover_types::{RepositoryId, Timestamp, codec::DecodeError};

use super::{HierarchyError, begin, expect, sign, verified};
use crate::sign::{PublicKey, SigningKey};

const MAGIC: [u8; 8] = *b"DRVRCONF";
const CONTEXT: &str = "drover 2026-11 config";

/// The signed description of a repository. Never changed once written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Which repository this is.
    pub repository: RepositoryId,
    /// Its root. Believed where it is the one that a credential or a slot's box holds.
    pub root: PublicKey,
    /// When it was made.
    pub created: Timestamp,
}

impl Config {
    pub(super) fn encode(&self, root: &SigningKey) -> Vec<u8> {
        let mut e = begin(&MAGIC);
        e.raw(self.repository.as_bytes());
        e.raw(&self.root.0);
        e.signed(self.created.seconds);
        e.varint(self.created.nanos.into());
        sign(e, CONTEXT, root)
    }

    /// Reads a config and checks that the root it names signed it. Whether that is the right
    /// root is for the caller to compare.
    pub fn decode(bytes: &[u8]) -> Result<Self, HierarchyError> {
        let mut d = expect(bytes, &MAGIC)?;
        let config = Self {
            repository: RepositoryId(d.array()?),
            root: PublicKey(d.array()?),
            created: Timestamp::new(d.signed()?, d.varint32()?)
                .ok_or(DecodeError::Invalid("not a time"))?,
        };
        d.array::<64>()?;
        d.end()?;
        verified(bytes, CONTEXT, &config.root)?;
        Ok(config)
    }
}
