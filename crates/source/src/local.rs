//! A tree on this machine's file systems.
//!
//! Everything is opened below the root's descriptor without following a symbolic link, read
//! only, and with `O_NOATIME` where the system allows it, so that a pass leaves no trace on the
//! server it reads.

use std::{
    collections::HashMap,
    io,
    ops::Range,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use drover_types::{Attributes, Entry, Kind, RelativePath, clock};
use rustix::{
    fs::{Mode, OFlags, SeekFrom, fstat, fstatfs, fstatvfs, seek},
    io::{Errno, pread, retry_on_intr},
    process::geteuid,
};

use crate::{
    ReadError, Source, SourceDescription, SourceError, SourceFile, Stat, Walk, WalkOptions,
    beneath::Beneath,
};

mod extended;
pub mod holders;
mod names;
mod owners;
mod stat;
mod walk;

pub use extended::SETTABLE_FLAGS;
use owners::Owners;
use stat::{Granularity, convert, kind_of};

/// A directory of this machine as a source.
#[derive(Debug)]
pub struct LocalSource {
    tree: Arc<Tree>,
}

/// What a source, its walks and its open files share.
#[derive(Debug)]
struct Tree {
    beneath: Beneath,
    /// As it was given, for errors.
    root: PathBuf,
    canonical: PathBuf,
    owners: Owners,
    granularities: Mutex<HashMap<u64, Granularity>>,
    /// Cleared once the system refused `O_NOATIME`, which it grants to the owner of a file only.
    noatime: AtomicBool,
}

impl LocalSource {
    /// The tree at `root`, which must be a directory that this user may list. The way to it may
    /// hold symbolic links.
    pub fn open(root: &Path) -> Result<Self, SourceError> {
        let failed = |error: io::Error| SourceError::new(root, error);
        let beneath = Beneath::open(root).map_err(failed)?;
        let canonical = std::fs::canonicalize(root).map_err(failed)?;
        Ok(Self {
            tree: Arc::new(Tree {
                beneath,
                root: root.to_owned(),
                canonical,
                owners: Owners::default(),
                granularities: Mutex::default(),
                noatime: AtomicBool::new(true),
            }),
        })
    }
}

impl Tree {
    /// Calls `open` with `flags` and `O_NOATIME`, and without it where that is refused.
    fn quietly<T>(
        &self,
        flags: OFlags,
        open: impl Fn(OFlags) -> io::Result<T>,
    ) -> Result<T, io::Error> {
        if self.noatime.load(Ordering::Relaxed) {
            match open(flags | OFlags::NOATIME) {
                Err(error) if Errno::from_io_error(&error) == Some(Errno::PERM) => {}
                answer => return answer,
            }
            let answer = open(flags);
            if answer.is_ok() {
                self.noatime.store(false, Ordering::Relaxed);
            }
            return answer;
        }
        open(flags)
    }

    fn open(&self, path: &RelativePath, flags: OFlags) -> Result<OwnedFd, ReadError> {
        self.quietly(flags, |flags| self.beneath.open_at(path, flags, Mode::empty()))
            .map_err(|error| ReadError::new(path, error))
    }

    /// How finely the file system that `fd` is on keeps time. `device` is its number.
    fn granularity(&self, device: u64, fd: impl AsFd) -> Granularity {
        let known = |tree: &Self| {
            tree.granularities.lock().unwrap_or_else(PoisonError::into_inner).get(&device).copied()
        };
        known(self).unwrap_or_else(|| {
            let found = Granularity::of(fd);
            self.granularities.lock().unwrap_or_else(PoisonError::into_inner).insert(device, found);
            found
        })
    }

    fn stat(&self, path: &RelativePath, fd: impl AsFd) -> Result<Stat, ReadError> {
        let scanned = clock::now();
        let raw = fstat(&fd).map_err(|error| ReadError::new(path, error))?;
        let granularity = self.granularity(stat::device(&raw), &fd);
        convert(&raw, scanned, granularity, &self.owners)
            .ok_or_else(|| ReadError::other(path, "it is of an unknown kind"))
    }
}

/// The type of btrfs in `statfs`.
const BTRFS: u64 = 0x9123_683e;

/// The name of a file system, by which a mount that is missing is noticed; 0 where it has none.
fn file_system(root: BorrowedFd<'_>) -> u64 {
    let name = fstatvfs(root).map_or(0, |stat| stat.f_fsid);
    match fstatfs(root) {
        // The number of the subvolume is in the upper half of it: a new snapshot of the same tree
        // would be another file system at each pass.
        Ok(stat) if stat.f_type.cast_unsigned() == BTRFS => name & 0xffff_ffff,
        _ => name,
    }
}

impl Source for LocalSource {
    fn description(&self) -> SourceDescription {
        let Tree { beneath, canonical, owners, .. } = &*self.tree;
        let user = geteuid();
        SourceDescription {
            kind: "local",
            host: nix::unistd::gethostname()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            user: owners
                .user(user.as_raw())
                .map_or_else(|| user.as_raw().to_string(), |name| name.to_string()),
            privileged: user.is_root(),
            root: canonical.clone().into_os_string().into_vec().into(),
            file_system: file_system(beneath.root_fd()),
            connection: String::new(),
        }
    }

    fn walk(&self, options: &WalkOptions) -> Result<Walk, SourceError> {
        walk::start(&self.tree, options)
    }

    fn open(&self, path: &RelativePath) -> Result<Box<dyn SourceFile>, ReadError> {
        let fd = self.tree.open(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let raw = fstat(&fd).map_err(|error| ReadError::new(path, error))?;
        if kind_of(&raw) != Some(Kind::File) {
            return Err(ReadError::changed(path, "it is no regular file any more"));
        }
        Ok(Box::new(LocalFile { tree: Arc::clone(&self.tree), path: path.clone(), fd }))
    }

    fn complete(&self, entry: &mut Entry) -> Result<(), ReadError> {
        let path = &entry.path;
        // What is neither a directory nor a regular file is not opened, only pointed at: opening
        // a device or a pipe can have effects.
        let readable = matches!(entry.kind, Kind::Directory | Kind::File);
        let fd = if readable {
            self.tree.open(path, OFlags::RDONLY | OFlags::NONBLOCK)?
        } else {
            self.tree
                .beneath
                .open_at(path, OFlags::PATH, Mode::empty())
                .map_err(|error| ReadError::new(path, error))?
        };
        let raw = fstat(&fd).map_err(|error| ReadError::new(path, error))?;
        let mut kind =
            kind_of(&raw).filter(|kind| kind.same_sort(&entry.kind)).ok_or_else(|| {
                ReadError::changed(path, "it is of another kind than when it was walked")
            })?;
        if let Kind::Symlink { ref mut target } = kind {
            *target = extended::link_target(path, &fd)?;
        }
        let (flags, xattrs) = if readable {
            (extended::flags(path, &fd)?, extended::of_open(path, &fd)?)
        } else {
            (0, extended::of_pointed_at(path, &fd)?)
        };
        entry.kind = kind;
        entry.attributes.flags = flags;
        entry.attributes.xattrs = xattrs;
        Ok(())
    }
}

/// An open regular file.
struct LocalFile {
    tree: Arc<Tree>,
    path: RelativePath,
    fd: OwnedFd,
}

impl LocalFile {
    fn failed(&self, error: impl Into<io::Error>) -> ReadError {
        ReadError::new(&self.path, error)
    }
}

impl SourceFile for LocalFile {
    fn stat(&mut self) -> Result<Stat, ReadError> {
        self.tree.stat(&self.path, &self.fd)
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        retry_on_intr(|| pread(&self.fd, &mut *buffer, offset)).map_err(|error| self.failed(error))
    }

    fn next_data(&mut self, offset: u64) -> Result<Option<Range<u64>>, ReadError> {
        let start = match seek(&self.fd, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            // The file system cannot tell, or `offset` is beyond what it can count to.
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOTTY | Errno::NOSYS) => {
                let raw = fstat(&self.fd).map_err(|error| self.failed(error))?;
                let size = u64::try_from(raw.st_size).unwrap_or(0);
                return Ok((offset < size).then_some(offset..size));
            }
            Err(error) => return Err(self.failed(error)),
        };
        match seek(&self.fd, SeekFrom::Hole(start)) {
            Ok(end) if end > start => Ok(Some(start..end)),
            // It was cut off meanwhile.
            Ok(_) | Err(Errno::NXIO) => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn complete(&mut self, attributes: &mut Attributes) -> Result<(), ReadError> {
        let flags = extended::flags(&self.path, &self.fd)?;
        attributes.xattrs = extended::of_open(&self.path, &self.fd)?;
        attributes.flags = flags;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
