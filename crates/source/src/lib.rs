//! Reading a tree as a stream of entries, and landing one.
//!
//! A [`Source`] is where a migration reads from. Its walk is one sorted stream of entries with
//! the cheap evidence only (what one `stat` gives); contents, symlink targets, extended attributes
//! and flags are read afterwards, for what the evidence says is new or changed. The trait is small
//! so that a source over a network can stand behind it as well as a local directory.
//!
//! Nothing is ever silently less: whatever could not be seen is a [`WalkEvent::Problem`] that says
//! how much is unknown, so that a server's hiccup is not taken for a deletion.

pub mod beneath;
pub mod command;
mod error;
pub mod filter;
pub mod helper;
pub mod host;
pub mod local;
mod ordered;
mod paced;
mod pool;
pub mod sftp;
mod sync;
pub mod taker;
pub mod target;
mod walk;

use std::{ops::Range, sync::Arc};

use drover_types::{Attributes, Entry, Evidence, Exception, Kind, RelativePath};

pub use command::CommandSource;
pub use error::{ReadError, SourceError};
pub use filter::{Filter, FilterOptions, Filtered};
pub use helper::{HelperProgram, HelperSource, SshLaunch};
pub use local::{LocalSource, SETTABLE_FLAGS};
pub use paced::{Pace, Paced, Wait};
pub use sftp::{Agent, Proxy, SftpOptions, SftpSource, SshError, SshSecrets, legacy_algorithms_in};
pub use taker::{Cut, Cutter, PARTS, PARTS_BYTES, Piece, TakeError, Taken, Taker, Wish};
pub use walk::{Enter, Walk, WalkOptions};

/// Where a migration reads from.
pub trait Source: Send + Sync {
    /// What it is, for names, snapshots and reports.
    fn description(&self) -> SourceDescription;

    /// All entries in the order of paths, the root (the empty path) first.
    ///
    /// Entries come without symlink target, extended attributes, flags and content; see
    /// [`Source::complete`] and [`SourceFile::complete`].
    fn walk(&self, options: &WalkOptions) -> Result<Walk, SourceError>;

    /// Opens a regular file for reading. Anything else there is [`ExceptionKind::Torn`]: the entry
    /// changed its sort since the walk saw it.
    ///
    /// [`ExceptionKind::Torn`]: drover_types::ExceptionKind::Torn
    fn open(&self, path: &RelativePath) -> Result<Box<dyn SourceFile>, ReadError>;

    /// Fills what the walk left out of an entry that is no regular file: a symlink's target,
    /// extended attributes, flags.
    fn complete(&self, entry: &mut Entry) -> Result<(), ReadError>;

    /// What this source cannot say of its entries, though they have it: none where it says all.
    fn losses(&self) -> &[Loss] {
        &[]
    }

    /// Takes files that are announced many at a time; `None` of a source that is read file by file.
    fn taker(&self, _cutter: &Cutter) -> Option<Box<dyn Taker>> {
        None
    }
}

/// What a source cannot say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// What, as reports call it.
    pub class: &'static str,
    /// It concerns regular files only; else all entries.
    pub of_files: bool,
}

/// An open regular file of a source.
pub trait SourceFile: Send {
    /// What the file is right now. Compared before and after reading it tells a torn file.
    fn stat(&mut self) -> Result<Stat, ReadError>;

    /// Reads at `offset` bytes from the start; returns how many bytes came. 0 is the end of the
    /// file (or an empty buffer), a short read is not.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError>;

    /// The first run of data at or after `offset`, in bytes; what lies before it is a hole. `None`
    /// where only a hole, or nothing, is left. A file system that knows no holes gives all the rest.
    fn next_data(&mut self, offset: u64) -> Result<Option<Range<u64>>, ReadError>;

    /// Fills extended attributes and flags. The rest of `attributes` stays as it is.
    fn complete(&mut self, attributes: &mut Attributes) -> Result<(), ReadError>;
}

/// What one `stat` gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is; a symlink's target is empty.
    pub kind: Kind,
    /// Mode, owners and mtime; no flags, no extended attributes.
    pub attributes: Attributes,
    /// What tells the next pass whether it changed.
    pub evidence: Evidence,
}

impl Stat {
    /// What a file is that was this before it was read and `after` afterwards; `None` where it changed
    /// meanwhile.
    pub fn rested(&self, mut after: Self) -> Option<Self> {
        let unchanged = self.attributes.mtime == after.attributes.mtime
            && self.evidence.ctime == after.evidence.ctime
            && self.evidence.size == after.evidence.size
            && self.evidence.inode == after.evidence.inode;
        // A change within the tick of the first look left no trace in the second.
        after.evidence.racy |= self.evidence.racy;
        unchanged.then_some(after)
    }

    /// The entry at `path` as a walk yields it.
    pub fn into_entry(self, path: RelativePath) -> Entry {
        Entry {
            path,
            kind: self.kind,
            attributes: self.attributes,
            content: None,
            hard_link: None,
            evidence: self.evidence,
            stale: false,
        }
    }
}

/// What a source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceDescription {
    /// The sort of source: `local`, `sftp`, `helper` or `command`.
    pub kind: &'static str,
    /// The host whose data it is.
    pub host: String,
    /// The root on that host: a canonical path (bytes), or a URL.
    pub root: Box<[u8]>,
    /// The user it is read as.
    pub user: String,
    /// Whether that user is root, from whom nothing is hidden by permissions.
    pub privileged: bool,
    /// The root's file system as `statvfs` names it (`f_fsid`); 0 where it has no name.
    pub file_system: u64,
    /// What was negotiated with the server: key exchange, host key, cipher, message
    /// authentication. Empty where there is no server.
    pub connection: String,
}

/// What a walk yields.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all events are entries, and a box for each would cost an allocation"
)]
pub enum WalkEvent {
    /// An entry that was seen.
    Entry(Entry),
    /// Something that could not be seen. It comes where the entry would come, and before
    /// everything below it.
    Problem {
        /// What it concerns.
        path: RelativePath,
        /// How much is unknown.
        scope: Scope,
        /// Why; its path is `path`.
        exception: Exception,
    },
    /// Something that a rule leaves out, and everything below it. Where only what is below it is
    /// left out, its entry comes right before. Only a [`Filtered`] source yields this.
    Excluded {
        /// What is left out.
        path: RelativePath,
        /// The rule, as its reports call it.
        rule: Arc<str>,
        /// How much this is by itself; what is below it and was seen comes as events of its own.
        share: Share,
    },
}

/// How much is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Entries that were seen.
    pub entries: u64,
    /// Logical bytes of the files among them.
    pub bytes: u64,
    /// Directories that were not gone into: how much is in them is not known.
    pub unseen: u64,
}

impl std::ops::AddAssign for Share {
    fn add_assign(&mut self, other: Self) {
        self.entries += other.entries;
        self.bytes += other.bytes;
        self.unseen += other.unseen;
    }
}

impl WalkEvent {
    /// The path that it concerns.
    pub fn path(&self) -> &RelativePath {
        match self {
            WalkEvent::Entry(entry) => &entry.path,
            WalkEvent::Problem { path, .. } | WalkEvent::Excluded { path, .. } => path,
        }
    }
}

/// How much a [`WalkEvent::Problem`] leaves unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The entry itself; it is known to be no directory.
    Entry,
    /// The entry and everything below it: nothing of that was seen. The entry itself may have come
    /// right before, where only its children could not be listed.
    Subtree,
    /// The listing of this directory is incomplete: entries that follow are real, and of those that
    /// do not follow it is unknown whether they exist.
    Listing,
}
