//! What can go wrong in a verb.

use drover_pack::PackError;
use drover_repo::{
    RepositoryError, index::IndexError, log::LogError, snapshot::SnapshotError, state::StateError,
};
use drover_source::SourceError;
use drover_store::StoreError;
use drover_types::{RelativePath, codec::DecodeError, limits};

/// What can go wrong in a verb. Exceptions and problems are results, not errors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The local state.
    #[error(transparent)]
    State(#[from] StateError),
    /// Opening or reading the repository.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A pack could not be made: what was just written could not be read back.
    #[error("a pack could not be made: {0}")]
    Pack(PackError),
    /// An index object could not be made.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A stored manifest.
    #[error(transparent)]
    Tree(#[from] drover_repo::TreeError),
    /// A chunk.
    #[error(transparent)]
    Chunk(#[from] drover_repo::ChunkError),
    /// A record of the audit log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The source as a whole.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The target of a restore as a whole.
    #[error(transparent)]
    Target(#[from] drover_source::target::TargetError),
    /// Something stored does not decode.
    #[error("{what} does not decode: {source}")]
    Decode {
        /// What.
        what: String,
        /// Why.
        source: DecodeError,
    },
    /// The source is empty, or on another file system, where the last pass saw entries.
    #[error("the source {source_name} {why}, and the last pass saw {entries} entries there")]
    SuspectSource {
        /// The source's name.
        source_name: String,
        /// What is odd.
        why: &'static str,
        /// What the last pass saw.
        entries: u64,
    },
    /// A name that could be written and not be read again.
    #[error("the name of the {what} has {len} bytes, and may have {}", limits::NAME)]
    LongName {
        /// Whose name.
        what: &'static str,
        /// How long it is.
        len: usize,
    },
    /// No credential to write with, and no password was given.
    #[error("this machine has no credential for the repository yet, and no password was given")]
    NoCredential,
    /// What this machine writes does not count any more.
    #[error("this machine's writer was revoked: no snapshot of it after number {last} counts")]
    Revoked {
        /// The number of its last snapshot that counts.
        last: u64,
    },
    /// The keys at hand do not allow it.
    #[error("{0}")]
    NotAllowed(&'static str),
    /// There is no such snapshot, or more than one.
    #[error("{0}")]
    NoSuchSnapshot(String),
    /// There is no such key slot or writer, or more than one.
    #[error("the repository has no {0}")]
    NoSuchKey(String),
    /// There is no such path in the snapshot.
    #[error("the snapshot has no {0}")]
    NoSuchPath(String),
    /// A target that is not empty and not known.
    #[error("the target {0} is not empty, and is no earlier restore of this source")]
    TargetNotEmpty(String),
    /// Another machine took the next step of a cutover.
    #[error("another machine took the next step of a cutover meanwhile")]
    CutoverMoved,
    /// The way back leads to a directory that is not the source.
    #[error("{write_back} is not the source: {path}: {why}")]
    NotTheSource {
        /// The directory.
        write_back: String,
        /// What the source has.
        path: RelativePath,
        /// What is there.
        why: String,
    },
    /// Chunks that open, and do not make up the file that the manifest names.
    #[error("what its chunks hold is not what its hash says")]
    Content,
    /// Another restore writes into the target.
    #[error("another restore is at work in the target {0}")]
    TargetBusy(String),
    /// The history that was read is not the one expected.
    #[error("{0}")]
    History(String),
    /// What was asked for cannot be written out.
    #[error("cannot write: {0}")]
    Output(std::io::Error),
    /// A folder of evidence.
    #[error(transparent)]
    Evidence(#[from] crate::evidence::EvidenceError),
    /// The system gives no thread: memory, or how many there may be, is limited.
    #[error("cannot start a thread: {0}")]
    Threads(std::io::Error),
    /// What is put aside on the disk for a while.
    #[error("cannot use a temporary file: {0}")]
    Scratch(std::io::Error),
    /// Stopped from outside.
    #[error("interrupted")]
    Interrupted,
    /// Another stage stopped first; never seen outside of this crate.
    #[error("stopped")]
    Stopped,
}

impl From<PackError> for Error {
    fn from(error: PackError) -> Self {
        match error {
            PackError::Threads(error) => Self::Threads(error),
            error => Self::Pack(error),
        }
    }
}

impl Error {
    pub(crate) const DAMAGED_CREDENTIAL: Self = Self::NotAllowed(
        "the stored credential is damaged: remove the file `credential` of the state and give the password again",
    );
}
