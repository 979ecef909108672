//! The mark that a restore leaves in its target.
//!
//! A target that is not empty is refused unless something shows it as an earlier restore of the
//! same source. This is that something: a small text file in the target's root, no part of the
//! tree. It also tells a restore that goes on after a crash how far it may trust what it finds:
//! a file that was written and never synced can come back from a power loss with its size and its
//! times, and zeros for bytes. And it tells whoever asks which snapshot the target holds, whole
//! ([`landed`]).
//!
//! ```text
//! drover-restore 2
//! repository <id>
//! source <id>
//! snapshot <id> whole       or: <id> part, where something of it was left out or is more
//! before <id>               the last snapshot that was complete before it, or -
//! time <nanoseconds>        since 1970, when this mark was made
//! exceptions <20 digits>
//! complete                  or: settling, or: under way <boot>
//! ```
//!
//! The last line says `settling` when all content is durable and directories get their
//! attributes. What stands there in the end has as many letters: it is written over it in place,
//! because anything else would change the root's times once more. A mark lies in one sector, so
//! that a loss of power leaves the one or the other.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use drover_types::{RelativePath, RepositoryId, SnapshotId, SourceId, Timestamp, clock};
use rustix::{
    fs::{
        AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, flock, fsync, openat, renameat,
        unlinkat,
    },
    io::{Errno, pwrite, retry_on_intr},
};

use super::{
    Object, Target, TargetError, TargetOptions,
    object::{point_at, read_full, reopen, status_at},
};

/// The name of the mark in a target's root.
pub const MARKER: &[u8] = b".drover-restore";

/// Its temporary name: one that no replacement has, and always the same, so that a mark takes away
/// what a process left that was killed before its own had its name, whatever else is there.
const MARK_TEMPORARY: &[u8] = b".drover-new-0-0";

const FIRST_LINE: &str = "drover-restore 2";
/// Of a mark that names no snapshot, as earlier versions left it.
const FIRST_LINE_1: &str = "drover-restore 1";
/// More than any mark takes, in bytes.
const BOUND: usize = 512;
const COMPLETE: &str = "complete";
const SETTLING: &str = "settling";

/// Of what a target is a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The repository it came from.
    pub repository: RepositoryId,
    /// The source within it.
    pub source: SourceId,
    /// The snapshot that was restored, or is.
    pub snapshot: Option<SnapshotId>,
    /// All of that snapshot, and nothing else, is what this restore is to leave.
    pub whole: bool,
    /// The snapshot that the target held before.
    pub before: Option<SnapshotId>,
    /// How many entries could not be put back, or not faithfully.
    pub exceptions: u64,
    /// When the mark was made, by this machine's clock.
    pub time: Timestamp,
    /// How far it got.
    pub state: MarkerState,
}

/// How far a restore got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarkerState {
    /// It is under way since this boot of the machine it runs on, or was killed.
    UnderWay(String),
    /// All content is durable; directories lack some of their attributes.
    Settling,
    /// It is done, and durable.
    Complete,
}

/// What a target holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Landed {
    /// The repository it came from.
    pub repository: RepositoryId,
    /// The source within it.
    pub source: SourceId,
    /// The snapshot that is there, all of it and nothing else.
    pub snapshot: SnapshotId,
    /// When it had landed, by the target machine's clock.
    pub time: Timestamp,
    /// How many of its entries could not be put back, or not faithfully: the restore's report
    /// and the audit log tell. Only 0 is all of the snapshot.
    pub exceptions: u64,
}

/// Which snapshot `target` holds. `None` where a landing is under way or was killed, where only a
/// part of a snapshot landed or more than it is there, and where there is no target: whoever waits
/// for a snapshot asks again.
pub fn landed(target: &Path) -> Option<Landed> {
    if !target.is_dir() {
        return None;
    }
    let marker = Target::open(target, TargetOptions::default()).ok()?.read_marker().ok()??;
    let Marker { repository, source, snapshot, whole, exceptions, time, state, .. } = marker;
    let is_there = whole && state == MarkerState::Complete;
    is_there.then_some(Landed { repository, source, snapshot: snapshot?, time, exceptions })
}

impl Marker {
    /// The mark of a restore of `snapshot` that begins now.
    pub fn under_way(repository: RepositoryId, source: SourceId, snapshot: SnapshotId) -> Self {
        // Where the system does not tell, no later boot will be taken for this one.
        let boot = this_boot().unwrap_or_else(|| "unknown".into());
        Self {
            repository,
            source,
            snapshot: Some(snapshot),
            whole: false,
            before: None,
            exceptions: 0,
            time: clock::now(),
            state: MarkerState::UnderWay(boot),
        }
    }

    /// The mark of the same restore when all content is durable.
    pub fn settling(&self, whole: bool) -> Self {
        let (time, state) = (clock::now(), MarkerState::Settling);
        Self { whole, time, state, ..self.clone() }
    }

    /// Whether size and times of a file can be believed to stand for its content, as far as the
    /// earlier restore goes: it was synced, or the machine has been up since.
    pub fn content_survived(&self) -> bool {
        match &self.state {
            MarkerState::Settling | MarkerState::Complete => true,
            MarkerState::UnderWay(boot) => this_boot().is_some_and(|now| now == *boot),
        }
    }

    /// The snapshots that what is in the target can be of, the likeliest first.
    pub fn snapshots(&self) -> impl Iterator<Item = SnapshotId> + use<> {
        [self.snapshot, self.before].into_iter().flatten()
    }

    /// The snapshot that was complete here last.
    pub fn last_complete(&self) -> Option<SnapshotId> {
        match self.state {
            MarkerState::UnderWay(_) => self.before,
            MarkerState::Settling | MarkerState::Complete => self.snapshot,
        }
    }

    fn encode(&self) -> String {
        let state = match &self.state {
            MarkerState::UnderWay(boot) => format!("under way {boot}"),
            MarkerState::Settling => SETTLING.into(),
            MarkerState::Complete => COMPLETE.into(),
        };
        let id = |id: Option<SnapshotId>| id.map_or_else(|| "-".into(), |id| id.to_hex());
        format!(
            "{FIRST_LINE}\nrepository {}\nsource {}\nsnapshot {} {}\nbefore {}\ntime {}\n{}\n{state}\n",
            self.repository.to_hex(),
            self.source.to_hex(),
            id(self.snapshot),
            if self.whole { "whole" } else { "part" },
            id(self.before),
            self.time.as_nanos(),
            exceptions_line(self.exceptions),
        )
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
        let mut lines = text.split('\n');
        let first = lines.next()?;
        let repository = RepositoryId::from_hex(lines.next()?.strip_prefix("repository ")?)?;
        let source = SourceId::from_hex(lines.next()?.strip_prefix("source ")?)?;
        let mut marker = Self::under_way(repository, source, SnapshotId([0; SnapshotId::LEN]));
        marker.snapshot = None;
        match first {
            FIRST_LINE => {
                let id = |text: &str| match text {
                    "-" => Some(None),
                    hex => SnapshotId::from_hex(hex).map(Some),
                };
                let snapshot = lines.next()?.strip_prefix("snapshot ")?;
                let (snapshot, extent) = snapshot.split_once(' ')?;
                marker.snapshot = id(snapshot)?;
                marker.whole = match extent {
                    "whole" => true,
                    "part" => false,
                    _ => return None,
                };
                marker.before = id(lines.next()?.strip_prefix("before ")?)?;
                let time: i128 = lines.next()?.strip_prefix("time ")?.parse().ok()?;
                marker.time = Timestamp::from_nanos(time)?;
                marker.exceptions = lines.next()?.strip_prefix("exceptions ")?.parse().ok()?;
            }
            FIRST_LINE_1 => {}
            _ => return None,
        }
        marker.state = match lines.next()? {
            COMPLETE => MarkerState::Complete,
            SETTLING => MarkerState::Settling,
            state => MarkerState::UnderWay(state.strip_prefix("under way ")?.to_owned()),
        };
        lines.next().is_none().then_some(marker)
    }
}

fn exceptions_line(exceptions: u64) -> String {
    format!("exceptions {exceptions:020}")
}

/// Nobody else restores into a target as long as this lives.
#[derive(Debug)]
pub struct Claim {
    _locked: Option<OwnedFd>,
}

/// A mark that says that a restore settles.
#[derive(Debug)]
pub struct SettlingMark {
    fd: OwnedFd,
    /// Where its last two lines begin.
    at: u64,
}

impl SettlingMark {
    /// Says durably that the restore is complete, with this many exceptions. The root keeps its
    /// times.
    pub fn complete(self, exceptions: u64) -> Result<(), TargetError> {
        let text = format!("{}\n{COMPLETE}\n", exceptions_line(exceptions));
        let complete = || match retry_on_intr(|| pwrite(&self.fd, text.as_bytes(), self.at))? {
            written if written == text.len() => fsync(&self.fd),
            _ => Err(Errno::IO),
        };
        complete().map_err(failed_mark)
    }
}

fn failed_mark(errno: Errno) -> TargetError {
    TargetError::io(&RelativePath::root(), "leave a mark in", io::Error::from(errno))
}

/// Identifies this boot of the machine.
fn this_boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let id = id.trim();
    (!id.is_empty() && id.len() <= 64).then(|| id.to_owned())
}

impl Target {
    /// Takes away what a run that was killed left in the root.
    fn take_away_leftovers(&self) -> Result<(), Errno> {
        let directory = self.0.beneath.root_fd();
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            if self.is_leftover(entry.file_name().to_bytes()) {
                match unlinkat(directory, entry.file_name(), AtFlags::empty()) {
                    // None of ours.
                    Ok(()) | Err(Errno::ISDIR) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
        Ok(())
    }

    /// The mark of an earlier restore. `None` if there is none, or something that drover did not
    /// leave: of another form, or in another user's hands.
    pub fn read_marker(&self) -> Result<Option<Marker>, TargetError> {
        let root = RelativePath::root();
        let failed = |errno| TargetError::entry(&root, "read the mark in", errno);
        let fd = match point_at(self.0.beneath.root_fd(), MARKER) {
            Err(Errno::NOENT) => return Ok(None),
            fd => fd.map_err(failed)?,
        };
        let status = Object::pointed(&fd).status().map_err(failed)?;
        let ours = status.uid == rustix::process::geteuid().as_raw();
        if status.kind != FileType::RegularFile || status.mode & 0o022 != 0 || !ours {
            return Ok(None);
        }
        let fd = reopen(fd.as_fd(), status.kind).map_err(failed)?;
        let mut bytes = [0; BOUND];
        let len = read_full(&fd, 0, &mut bytes).map_err(failed)?;
        Ok(Marker::decode(&bytes[..len]))
    }

    /// Keeps other restores out as long as what it returns lives; `None` where one is at work. A file
    /// system that knows no locks keeps nobody out.
    pub fn claim(&self) -> Option<Claim> {
        let directory = self.0.beneath.root_fd();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(fd) = retry_on_intr(|| openat(directory, ".", flags, Mode::empty())) else {
            return Some(Claim { _locked: None });
        };
        match retry_on_intr(|| flock(&fd, FlockOperation::NonBlockingLockExclusive)) {
            Err(Errno::WOULDBLOCK) => None,
            _ => Some(Claim { _locked: Some(fd) }),
        }
    }

    /// When the mark was last changed, by the clock of the target's file system.
    pub fn marked_at(&self) -> Result<Option<Timestamp>, TargetError> {
        match status_at(self.0.beneath.root_fd(), MARKER) {
            Ok(status) => Ok(Some(status.ctime)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(TargetError::entry(&RelativePath::root(), "read the mark in", errno)),
        }
    }

    /// Leaves a mark, durably, in place of an earlier one; one that says `settling` is completed
    /// later. In a target that holds nothing else, what a run left that was killed is taken away: no
    /// walk of what is there comes across it.
    pub fn write_marker(&self, marker: &Marker) -> Result<SettlingMark, TargetError> {
        let directory = self.0.beneath.root_fd();
        let begins = matches!(marker.state, MarkerState::UnderWay(_));
        let holds_nothing = begins && self.is_empty()?;
        let take_away = || unlinkat(directory, MARK_TEMPORARY, AtFlags::empty());
        let write = || -> Result<SettlingMark, Errno> {
            match take_away() {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
            if holds_nothing {
                self.take_away_leftovers()?;
            }
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mode = Mode::RUSR | Mode::WUSR;
            let fd = retry_on_intr(|| openat(directory, MARK_TEMPORARY, flags, mode))?;
            let text = marker.encode();
            if retry_on_intr(|| pwrite(&fd, text.as_bytes(), 0))? != text.len() {
                return Err(Errno::NOSPC);
            }
            fsync(&fd)?;
            renameat(directory, MARK_TEMPORARY, directory, MARKER)?;
            fsync(directory)?;
            let last_lines = exceptions_line(0).len() + SETTLING.len() + 2;
            Ok(SettlingMark { fd, at: (text.len() - last_lines) as u64 })
        };
        write().map_err(|errno| {
            let _ = take_away();
            failed_mark(errno)
        })
    }
}
