//! Proving that one entry is in a snapshot.

use drover_repo::proof::Proof;
use drover_types::{RelativePath, SnapshotId};

use crate::{Error, ReaderSession};

/// A proof, and what it does not say itself.
#[derive(Debug)]
pub struct Proven {
    /// The proof.
    pub proof: Proof,
    /// The pass could not take the entry: what is proven is what an earlier one took.
    pub stale: bool,
}

/// Proves that `path` is in `snapshot`. Takes names and hashes only: an auditor's keys will do.
pub fn prove(
    session: &mut ReaderSession,
    snapshot: SnapshotId,
    path: &RelativePath,
) -> Result<Proven, Error> {
    let index = session.load_index()?;
    let session: &ReaderSession = session;
    let snapshot = session.snapshot(snapshot)?;
    let reader = session.chunks(&index);
    let keys = session.history.keys(snapshot);
    let writer = session
        .history
        .writers
        .get(&snapshot.stored.open.writer)
        .ok_or(Error::NotAllowed("the snapshot's writer has no grant"))?
        .public_key;
    match Proof::make(&reader, keys, writer, snapshot, path)? {
        Some((proof, stale)) => Ok(Proven { proof, stale }),
        None => Err(Error::NoSuchPath(path.to_string())),
    }
}
