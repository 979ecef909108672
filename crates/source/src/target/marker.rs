//! The mark that a restore leaves in its target.
//!
//! A target that is not empty is refused unless something shows it as an earlier restore of the
//! same source. This is that something: a small text file in the target's root, no part of the
//! tree. It also tells a restore that goes on after a crash how far it may trust what it finds:
//! a file that was written and never synced can come back from a power loss with its size and its
//! times, and zeros for bytes.

use std::io;

use drover_types::{RelativePath, RepositoryId, SourceId};
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, fsync, openat, renameat, unlinkat},
    io::{Errno, pwrite, retry_on_intr},
};

use super::{
    Object, Target, TargetError,
    object::{point_at, read_full, reopen},
};

/// The name of the mark in a target's root.
pub const MARKER: &[u8] = b".drover-restore";

const FIRST_LINE: &str = "drover-restore 1";
/// More than any mark takes, in bytes.
const BOUND: usize = 512;

/// Of what a target is a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The repository it came from.
    pub repository: RepositoryId,
    /// The source within it.
    pub source: SourceId,
    /// While a restore is under way: the boot of the machine it runs on. `None` when all that
    /// was restored is durable.
    pub under_way_since_boot: Option<String>,
}

impl Marker {
    /// The mark of a restore that begins now.
    pub fn under_way(repository: RepositoryId, source: SourceId) -> Self {
        // Where the system does not tell, no later boot will be taken for this one.
        let boot = this_boot().unwrap_or_else(|| "unknown".into());
        Self { repository, source, under_way_since_boot: Some(boot) }
    }

    /// The mark of a restore that is complete and synced.
    pub fn complete(repository: RepositoryId, source: SourceId) -> Self {
        Self { repository, source, under_way_since_boot: None }
    }

    /// Whether size and times of a file can be believed to stand for its content, as far as the
    /// earlier restore goes: it was synced, or the machine has been up since.
    pub fn content_survived(&self) -> bool {
        match &self.under_way_since_boot {
            None => true,
            Some(boot) => this_boot().is_some_and(|now| now == *boot),
        }
    }

    fn encode(&self) -> String {
        let state = match &self.under_way_since_boot {
            Some(boot) => format!("under way {boot}"),
            None => "complete".into(),
        };
        format!(
            "{FIRST_LINE}\nrepository {}\nsource {}\n{state}\n",
            self.repository.to_hex(),
            self.source.to_hex()
        )
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
        let mut lines = text.split('\n');
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let repository = RepositoryId::from_hex(lines.next()?.strip_prefix("repository ")?)?;
        let source = SourceId::from_hex(lines.next()?.strip_prefix("source ")?)?;
        let under_way_since_boot = match lines.next()? {
            "complete" => None,
            state => Some(state.strip_prefix("under way ")?.to_owned()),
        };
        lines.next().is_none().then_some(Self { repository, source, under_way_since_boot })
    }
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
        let fd = reopen(std::os::fd::AsFd::as_fd(&fd), status.kind).map_err(failed)?;
        let mut bytes = [0; BOUND];
        let len = read_full(&fd, 0, &mut bytes).map_err(failed)?;
        Ok(Marker::decode(&bytes[..len]))
    }

    /// Leaves a mark, durably, in place of an earlier one. In a target that holds nothing else, what
    /// a process left that was killed before its mark had its name is taken away.
    pub fn write_marker(&self, marker: &Marker) -> Result<(), TargetError> {
        let root = RelativePath::root();
        let directory = self.0.beneath.root_fd();
        let temporary = self.temporary();
        let only_begun = marker.under_way_since_boot.is_some() && self.is_empty()?;
        let write = || -> Result<(), Errno> {
            if only_begun {
                self.take_away_leftovers()?;
            }
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mode = Mode::RUSR | Mode::WUSR;
            let fd = retry_on_intr(|| openat(directory, &temporary[..], flags, mode))?;
            let text = marker.encode();
            if retry_on_intr(|| pwrite(&fd, text.as_bytes(), 0))? != text.len() {
                return Err(Errno::NOSPC);
            }
            fsync(&fd)?;
            renameat(directory, &temporary[..], directory, MARKER)?;
            fsync(directory)
        };
        write().map_err(|errno| {
            if errno != Errno::EXIST {
                let _ = unlinkat(directory, &temporary[..], AtFlags::empty());
            }
            TargetError::io(&root, "leave a mark in", io::Error::from(errno))
        })
    }
}
