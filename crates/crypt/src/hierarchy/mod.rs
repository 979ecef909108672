//! Who can open what: the objects `config` and `keys/` of a repository, and what a writer holds.
//!
//! - The **root** signs everything here, and nothing else. It stays with the owner.
//! - A **slot** is something that opens: a passphrase, a key file, or an X25519 identity. It wraps
//!   a random slot key.
//! - An **epoch** is one generation of the two readers' keys, `data` and `meta`. For each slot
//!   there is a box, under the slot's key, with what the slot's role may have; and the slot's key
//!   itself under the owner's key of that epoch, so that the owner can open the next epoch to
//!   every slot that remains, without knowing its passphrase.
//! - A **writer** has a signing key of its own with a grant from the root, the readers' public
//!   keys, and the secrets of its dedup domain. It can read nothing.
//!
//! Byte tables: `docs/format-keys.md`.

mod check;
mod config;
mod epoch;
mod keyring;
mod slot;
mod wrap;
mod writer;

pub use config::Config;
pub use epoch::EpochKeys;
pub use keyring::{Keyring, UnlockError, create_repository, unlock};
pub use slot::{KdfParameters, Role, SlotInfo, SlotKind, UnlockSecret};
pub use writer::{Grant, Revocation, WriterCredential};

use drover_types::{
    RepositoryId,
    codec::{DecodeError, Decoder, Encoder},
};

use crate::sign::{PublicKey, Signature, SigningKey};

const VERSION: u8 = 1;
const SUITE: u8 = 1;

/// An object of the repository: its name and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Where it lies.
    pub name: String,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// Why an object of `config` or `keys/` cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HierarchyError {
    /// The bytes are none of these.
    #[error("{0}")]
    Layout(#[from] DecodeError),
    /// A version or suite this program does not know.
    #[error("it is of version {0}, suite {1}, which this program cannot read")]
    Version(u8, u8),
    /// Not signed by the repository's root.
    #[error("it is not signed by the repository's root key")]
    Signature,
    /// A part does not open.
    #[error("a sealed part does not open: it was changed, or is for other keys")]
    Sealed,
    /// It belongs elsewhere.
    #[error("it belongs to another repository")]
    OtherRepository,
    /// Its content is that of another object.
    #[error("its content belongs under another name")]
    OtherName,
    /// More slots than are tried.
    #[error("there are more slots than are tried")]
    TooManySlots,
    /// A slot that is not part of the newest epoch.
    #[error("it has no box in the newest epoch")]
    NoBox,
    /// The box that a slot has in each epoch.
    #[error("it is missing: it was lost, or its slot was removed and put back")]
    BoxMissing,
    /// These keys may not do that.
    #[error("these keys may not do that: it takes the owner's")]
    NotOwner,
    /// Anyone could guess it: an empty passphrase, or a key file that is too short.
    #[error("{0}")]
    WeakSecret(&'static str),
    /// A key derivation outside of the allowed bounds.
    #[error("its parameters of key derivation are out of bounds")]
    Parameters,
    /// The system does not give the memory that a passphrase's slot takes.
    #[error("the {0} MiB of memory that a guess at its passphrase takes are not to be had")]
    Memory(u32),
}

/// The folder of a repository's keys. Its id is in it, so that the keys of two repositories that
/// are made in one place at a time never have one name.
pub fn keys_folder(repository: RepositoryId) -> String {
    format!("keys/{repository}")
}

/// What a key's name says, without the folder.
pub fn key_name(object: &str) -> Option<&str> {
    object.strip_prefix("keys/")?.split_once('/').map(|(_, name)| name)
}

/// Begins an object: magic, version, suite.
fn begin(magic: &[u8; 8]) -> Encoder {
    begin_onto(Vec::new(), magic)
}

fn begin_onto(room: Vec<u8>, magic: &[u8; 8]) -> Encoder {
    let mut e = Encoder::onto(room);
    e.raw(magic);
    e.u8(VERSION);
    e.u8(SUITE);
    e
}

/// Reads magic, version, suite.
fn expect<'a>(bytes: &'a [u8], magic: &[u8; 8]) -> Result<Decoder<'a>, HierarchyError> {
    let mut d = Decoder::new(bytes);
    if d.array::<8>()? != *magic {
        return Err(DecodeError::Invalid("it is another sort of object").into());
    }
    let (version, suite) = (d.u8()?, d.u8()?);
    if (version, suite) != (VERSION, SUITE) {
        return Err(HierarchyError::Version(version, suite));
    }
    Ok(d)
}

/// Ends an object with the root's signature over everything before it.
fn sign(e: Encoder, context: &'static str, root: &SigningKey) -> Vec<u8> {
    let signature = root.sign(context, e.as_bytes());
    let mut e = e;
    e.raw(&signature.0);
    e.finish()
}

/// Checks the root's signature and returns what it covers.
fn verified<'a>(
    bytes: &'a [u8],
    context: &'static str,
    root: &PublicKey,
) -> Result<&'a [u8], HierarchyError> {
    let (body, signature) = bytes.split_last_chunk::<64>().ok_or(DecodeError::Truncated)?;
    root.verify(context, body, &Signature(*signature)).map_err(|_| HierarchyError::Signature)?;
    Ok(body)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
