//! What can go wrong in a target, and what was left out.

use std::{io, path::PathBuf};

use drover_types::{ExceptionKind, RelativePath, path::escape};
use rustix::io::Errno;

/// Why something could not be done in a target.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The target itself cannot be opened or made.
    #[error("cannot open the target {}: {source}", escape(path.as_os_str().as_encoded_bytes()))]
    Open {
        /// The target's root.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// One entry could not be written.
    #[error("cannot {operation} {}: {source}", name(path))]
    Entry {
        /// Relative to the target's root.
        path: RelativePath,
        /// What was tried: a verb, as in "cannot create a/b".
        operation: &'static str,
        /// What it means for the rest.
        kind: TargetErrorKind,
        /// What the system said.
        source: io::Error,
    },
}

fn name(path: &RelativePath) -> String {
    if path.is_root() { "the target's root".into() } else { path.to_string() }
}

/// What an error means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetErrorKind {
    /// The file system is mounted read-only.
    ReadOnly,
    /// The file system is full.
    Full,
    /// The quota is used up.
    Quota,
    /// The device fails.
    Device,
    /// This process may not.
    Denied,
    /// The name is taken.
    Exists,
    /// It is not there.
    Missing,
    /// A symlink, or something else that is no directory, lies on the way. It was not followed.
    Redirected,
    /// What is there is of another kind than the entry, or was swapped meanwhile.
    WrongKind,
    /// A hard link to a file that this run neither made nor checked.
    NotOurs,
    /// The file system or this target cannot hold it: the name, the link, the size.
    Unsupported,
    /// Anything else.
    Other,
}

impl TargetError {
    pub(super) fn entry(path: &RelativePath, operation: &'static str, errno: Errno) -> Self {
        let kind = match errno {
            Errno::ROFS => TargetErrorKind::ReadOnly,
            Errno::NOSPC => TargetErrorKind::Full,
            Errno::DQUOT => TargetErrorKind::Quota,
            Errno::IO => TargetErrorKind::Device,
            Errno::ACCESS | Errno::PERM => TargetErrorKind::Denied,
            Errno::EXIST | Errno::NOTEMPTY | Errno::ISDIR => TargetErrorKind::Exists,
            Errno::NOENT => TargetErrorKind::Missing,
            Errno::LOOP | Errno::NOTDIR | Errno::XDEV => TargetErrorKind::Redirected,
            Errno::NAMETOOLONG
            | Errno::MLINK
            | Errno::FBIG
            | Errno::ILSEQ
            | Errno::OPNOTSUPP
            | Errno::NOSYS => TargetErrorKind::Unsupported,
            _ => TargetErrorKind::Other,
        };
        Self::Entry { path: path.clone(), operation, kind, source: errno.into() }
    }

    pub(super) fn io(path: &RelativePath, operation: &'static str, source: io::Error) -> Self {
        match Errno::from_io_error(&source) {
            Some(errno) => Self::entry(path, operation, errno),
            None => {
                Self::Entry { path: path.clone(), operation, kind: TargetErrorKind::Other, source }
            }
        }
    }

    pub(super) fn because(
        path: &RelativePath,
        operation: &'static str,
        kind: TargetErrorKind,
        why: &'static str,
    ) -> Self {
        Self::Entry { path: path.clone(), operation, kind, source: io::Error::other(why) }
    }

    /// What it means; `Other` where the target itself could not be opened.
    pub fn kind(&self) -> TargetErrorKind {
        match self {
            TargetError::Open { .. } => TargetErrorKind::Other,
            TargetError::Entry { kind, .. } => *kind,
        }
    }

    /// Whether going on with other entries is of no use: every further one would fail like it.
    pub fn is_fatal(&self) -> bool {
        use TargetErrorKind::*;
        matches!(self, TargetError::Open { .. })
            || matches!(self.kind(), ReadOnly | Full | Quota | Device)
    }

    /// How it stands on the exception list.
    pub fn exception_kind(&self) -> ExceptionKind {
        match self.kind() {
            TargetErrorKind::Denied => ExceptionKind::Denied,
            TargetErrorKind::Unsupported => ExceptionKind::Unsupported,
            _ => ExceptionKind::Error,
        }
    }
}

/// Something of an entry that this target could not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// What: `owner`, `mode`, `setuid`, `times`, `xattr`, `flags`, `device`, `entry`.
    pub what: &'static str,
    /// Why, in words.
    pub why: String,
}

/// Everything of one entry that this target could not keep; usually nothing.
pub type Losses = Vec<Loss>;
