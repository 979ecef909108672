//! What can go wrong with a source as a whole, and with one of its entries.

use std::{io, path::PathBuf};

use drover_types::{Exception, ExceptionKind, RelativePath};
use rustix::io::Errno;

/// Why a source cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is nothing at this path.
    #[error("{}: there is no such directory", .0.display())]
    NotFound(PathBuf),
    /// It is no directory.
    #[error("{}: not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// This user may not list it.
    #[error("{}: permission to list it is denied", .0.display())]
    Denied(PathBuf),
    /// A server that cannot be used.
    #[error("{url}: {source}")]
    Ssh {
        /// The source.
        url: String,
        /// Why.
        source: Box<crate::SshError>,
    },
    /// Anything else the system answered.
    #[error("{}: {source}", path.display())]
    Io {
        /// The source's root.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl SourceError {
    pub(crate) fn new(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match Errno::from_io_error(&source) {
            Some(Errno::NOENT) => Self::NotFound(path),
            Some(Errno::NOTDIR) => Self::NotADirectory(path),
            Some(Errno::ACCESS | Errno::PERM) => Self::Denied(path),
            _ => Self::Io { path, source },
        }
    }
}

/// Why one entry could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct ReadError {
    /// What it means for the pass.
    pub kind: ExceptionKind,
    /// The entry, relative to the source's root.
    pub path: RelativePath,
    /// What the system said.
    pub source: io::Error,
}

impl ReadError {
    /// An error of the system at `path`; its kind follows from `kind_of`.
    pub fn new(path: &RelativePath, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        Self { kind: kind_of(&source), path: path.clone(), source }
    }

    /// An error in words of its own.
    pub fn other(path: &RelativePath, message: impl Into<String>) -> Self {
        Self {
            kind: ExceptionKind::Error,
            path: path.clone(),
            source: io::Error::other(message.into()),
        }
    }

    /// It is not what it was: torn.
    pub fn changed(path: &RelativePath, message: impl Into<String>) -> Self {
        Self { kind: ExceptionKind::Torn, ..Self::other(path, message) }
    }
}

impl From<ReadError> for Exception {
    fn from(error: ReadError) -> Self {
        Exception { path: error.path, kind: error.kind, message: error.source.to_string() }
    }
}

/// What an error of the system says about the entry it was met at.
///
/// - `ENOENT`: vanished.
/// - `EACCES`, `EPERM`: denied.
/// - `ELOOP`, `ENOTDIR`, `EISDIR`, `ENXIO`, `EXDEV`: torn. Links are never followed, and names are
///   only opened as what the walk saw there, so each of these says that a component of the path
///   became something else in between: a link, no directory, a directory, a pipe or socket, a way
///   out of the root.
/// - everything else, `ESTALE` and `EMFILE` among them: error. It says nothing about the entry.
pub fn kind_of(error: &io::Error) -> ExceptionKind {
    match Errno::from_io_error(error) {
        Some(Errno::NOENT) => ExceptionKind::Vanished,
        Some(Errno::ACCESS | Errno::PERM) => ExceptionKind::Denied,
        Some(Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::NXIO | Errno::XDEV) => {
            ExceptionKind::Torn
        }
        _ => ExceptionKind::Error,
    }
}
