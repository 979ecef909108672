//! Files: one that is being written, one that was begun, and one that was there.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use drover_types::{Entry, Kind, RelativePath};
use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, copy_file_range, fchmod, ftruncate, openat, unlinkat,
    },
    io::{Errno, pread, pwrite, retry_on_intr},
};

use super::{
    Known, LOCKING, Losses, Object, Parent, Target, TargetError, TargetErrorKind, Waiting,
    point_at, reopen, swapped, through_proc,
};

/// How often a temporary name that is taken is given up for the next.
const TRIES: usize = 100;

/// A regular file that is being written. Dropped without [`NewFile::finish`], it is taken away.
///
/// What is not written is a hole. Writes may come from several threads, in any order.
#[derive(Debug)]
pub struct NewFile {
    target: Target,
    parent: Arc<Parent>,
    fd: OwnedFd,
    path: RelativePath,
    /// Length that it is to have, in bytes.
    size: u64,
    temporary: Option<Box<[u8]>>,
    finished: bool,
}

impl NewFile {
    pub(super) fn create(
        target: &Target,
        entry: &Entry,
        temporary: Option<Box<[u8]>>,
    ) -> Result<Self, TargetError> {
        const WHAT: &str = "create";
        let path = &entry.path;
        let (Kind::File, Some(content)) = (&entry.kind, &entry.content) else {
            return Err(swapped(path, WHAT));
        };
        let (parent, name) = target.place(path, WHAT)?;
        let flags = OFlags::RDWR
            | OFlags::CREATE
            | OFlags::EXCL
            | OFlags::NOFOLLOW
            | OFlags::CLOEXEC
            | OFlags::NOCTTY;
        // Whoever may read a file whose group and others have the same rights may do so whatever
        // its group is: it can have its mode from the start. Any other is private until it has
        // its owner.
        let wanted = entry.attributes.mode & 0o777;
        let alike = (wanted >> 3) & 7 == wanted & 7;
        let mode = Mode::from_raw_mode(0o600 | if alike { wanted } else { 0 });
        let mut temporary = temporary;
        let mut tries = 0;
        let fd = loop {
            let name = temporary.as_deref().unwrap_or(name);
            match retry_on_intr(|| openat(parent.fd(), name, flags, mode)) {
                Err(Errno::EXIST) if temporary.is_some() && tries < TRIES => {
                    tries += 1;
                    temporary = Some(target.temporary());
                }
                answer => break answer.map_err(|errno| TargetError::entry(path, WHAT, errno))?,
            }
        };
        let path = path.clone();
        let target = target.clone();
        let file =
            Self { target, parent, fd, path, size: content.size, temporary, finished: false };
        file.set_early_flags(entry.attributes.flags);
        Ok(file)
    }

    /// No-copy-on-write can only be set while the file is empty. Where it cannot be set,
    /// `finish` says so.
    fn set_early_flags(&self, flags: u32) {
        let early = flags & rustix::fs::IFlags::NOCOW.bits();
        if early != 0 {
            let object = Object::opened(&self.fd);
            if let Ok(current) = object.flags() {
                let _ = object.set_flags(current | early);
            }
        }
    }

    /// Where it is, or will be.
    pub fn path(&self) -> &RelativePath {
        &self.path
    }

    /// Length that it is to have, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Writes all of `bytes` at `offset` (bytes), which must lie within its size.
    pub fn write_at(&self, mut offset: u64, mut bytes: &[u8]) -> Result<(), TargetError> {
        self.check_range(offset, bytes.len() as u64)?;
        while !bytes.is_empty() {
            let written = retry_on_intr(|| pwrite(&self.fd, bytes, offset))
                .and_then(|n| if n == 0 { Err(Errno::IO) } else { Ok(n) })
                .map_err(|errno| TargetError::entry(&self.path, "write", errno))?;
            offset += written as u64;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Reads back what was written. Returns how many bytes came: 0 at the end only.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, TargetError> {
        retry_on_intr(|| pread(&self.fd, &mut *buffer, offset))
            .map_err(|errno| TargetError::entry(&self.path, "read", errno))
    }

    /// Takes `len` bytes at `from` of a file that was there, to `to`, without moving them where
    /// the file system can share them. Fails with `Unsupported` where that file is shorter; the
    /// range may then be partly written.
    pub fn copy_from(
        &self,
        existing: &Existing,
        mut from: u64,
        mut to: u64,
        len: u64,
    ) -> Result<(), TargetError> {
        const WHAT: &str = "copy into";
        const PIECE: u64 = 1 << 30;
        self.check_range(to, len)?;
        let failed = |errno| TargetError::entry(&self.path, WHAT, errno);
        let mut left = len;
        while left > 0 {
            let piece = left.min(PIECE) as usize;
            let (mut read, mut write) = (from, to);
            let copied = retry_on_intr(|| {
                copy_file_range(&existing.fd, Some(&mut read), &self.fd, Some(&mut write), piece)
            });
            let copied = match copied {
                Ok(0) => self.copy_through_memory(existing, from, to, piece)?,
                // Kernels and file systems that cannot copy by themselves.
                Err(Errno::XDEV | Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => {
                    self.copy_through_memory(existing, from, to, piece)?
                }
                Ok(copied) => copied,
                Err(error) => return Err(failed(error)),
            } as u64;
            if copied == 0 {
                let why = "the file to copy from is too short";
                return Err(TargetError::because(
                    &self.path,
                    WHAT,
                    TargetErrorKind::Unsupported,
                    why,
                ));
            }
            from += copied;
            to += copied;
            left -= copied;
        }
        Ok(())
    }

    fn copy_through_memory(
        &self,
        existing: &Existing,
        from: u64,
        to: u64,
        len: usize,
    ) -> Result<usize, TargetError> {
        let mut buffer = vec![0; len.min(256 << 10)];
        let read = existing.read_at(from, &mut buffer)?;
        self.write_at(to, &buffer[..read])?;
        Ok(read)
    }

    fn check_range(&self, offset: u64, len: u64) -> Result<(), TargetError> {
        match offset.checked_add(len) {
            Some(end) if end <= self.size => Ok(()),
            _ => {
                let why = "there is more of it than its size says";
                Err(TargetError::because(&self.path, "write", TargetErrorKind::Other, why))
            }
        }
    }

    /// Closes it for now: how many files are open at a time need not depend on how many are begun.
    pub fn park(mut self) -> Result<ParkedFile, TargetError> {
        let status = Object::opened(&self.fd).status();
        let status = status.map_err(|errno| TargetError::entry(&self.path, "look at", errno))?;
        self.finished = true;
        Ok(ParkedFile {
            target: self.target.clone(),
            path: self.path.clone(),
            size: self.size,
            temporary: self.temporary.take(),
            identity: status.identity,
            resumed: false,
        })
    }

    /// Gives it its size and its attributes. A file that replaces another takes its place at the
    /// next [`Target::sync`].
    pub fn finish(mut self, entry: &Entry) -> Result<Losses, TargetError> {
        const WHAT: &str = "finish";
        let failed = |errno| TargetError::entry(&self.path, WHAT, errno);
        if entry.path != self.path {
            return Err(failed(Errno::INVAL));
        }
        let object = Object::opened(&self.fd);
        let status = object.status().map_err(failed)?;
        if status.size != self.size {
            retry_on_intr(|| ftruncate(&self.fd, self.size)).map_err(failed)?;
        }
        if status.mode & 0o600 != 0o600 {
            // A default ACL or a umask took what attributes need; the mode itself comes later.
            fchmod(&self.fd, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        }
        let known = Known {
            foreign_xattrs: self.parent.default_acl,
            foreign_flags: self.parent.flags,
            stay_unlocked: self.temporary.is_some(),
        };
        let losses = self.target.apply(object, entry, &status, known)?;
        self.target.note_made(entry, &status);
        self.target.0.note_device(&self.parent, &status).map_err(failed)?;
        self.finished = true;
        if let Some(temporary) = self.temporary.take() {
            let flags = entry.attributes.flags & LOCKING;
            self.target
                .wait(&self.path, Waiting { temporary, identity: status.identity, flags })?;
        }
        Ok(losses)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.finished {
            let name = self.temporary.as_deref().unwrap_or(self.path.name());
            let _ = unlinkat(self.parent.fd(), name, AtFlags::empty());
        }
    }
}

/// A file that was begun and is not open. Dropped without [`ParkedFile::resume`], it is taken
/// away.
#[derive(Debug)]
pub struct ParkedFile {
    target: Target,
    path: RelativePath,
    size: u64,
    temporary: Option<Box<[u8]>>,
    identity: (u64, u64),
    resumed: bool,
}

impl ParkedFile {
    /// Opens it again, if it is what was parked.
    pub fn resume(mut self) -> Result<NewFile, TargetError> {
        const WHAT: &str = "go on with";
        let path = self.path.clone();
        let failed = |errno| TargetError::entry(&path, WHAT, errno);
        let (parent, name) = self.target.place(&path, WHAT)?;
        let pointed =
            point_at(parent.fd(), self.temporary.as_deref().unwrap_or(name)).map_err(failed)?;
        let status = Object::pointed(&pointed).status().map_err(failed)?;
        // File systems give the inode of what was removed to what is made next.
        if status.kind != FileType::RegularFile || status.identity != self.identity {
            return Err(swapped(&path, WHAT));
        }
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY;
        let through = through_proc(pointed.as_fd());
        let fd = retry_on_intr(|| openat(CWD, through.as_str(), flags, Mode::empty()));
        let fd = fd.map_err(failed)?;
        self.resumed = true;
        Ok(NewFile {
            target: self.target.clone(),
            parent,
            fd,
            path,
            size: self.size,
            temporary: self.temporary.take(),
            finished: false,
        })
    }
}

impl Drop for ParkedFile {
    fn drop(&mut self) {
        if !self.resumed
            && let Ok((parent, name)) = self.target.place(&self.path, "take away")
        {
            let name = self.temporary.as_deref().unwrap_or(name);
            let _ = unlinkat(parent.fd(), name, AtFlags::empty());
        }
    }
}

/// A regular file that is there, open for reading.
#[derive(Debug)]
pub struct Existing {
    fd: OwnedFd,
    path: RelativePath,
    size: u64,
}

impl Existing {
    pub(super) fn open(target: &Target, path: &RelativePath) -> Result<Option<Self>, TargetError> {
        const WHAT: &str = "open";
        let failed = |errno| TargetError::entry(path, WHAT, errno);
        let (parent, name) = match target.place(path, WHAT) {
            Err(error) if error.kind() == TargetErrorKind::Missing => return Ok(None),
            place => place?,
        };
        let fd = match point_at(parent.fd(), name) {
            Err(Errno::NOENT) => return Ok(None),
            fd => fd.map_err(failed)?,
        };
        let status = Object::pointed(&fd).status().map_err(failed)?;
        if status.kind != FileType::RegularFile {
            return Ok(None);
        }
        let fd = reopen(fd.as_fd(), status.kind).map_err(failed)?;
        Ok(Some(Self { fd, path: path.clone(), size: status.size }))
    }

    /// Its length when it was opened, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads at `offset` (bytes). Returns how many bytes came: 0 at the end only.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, TargetError> {
        retry_on_intr(|| pread(&self.fd, &mut *buffer, offset))
            .map_err(|errno| TargetError::entry(&self.path, "read", errno))
    }
}
