//! System calls on one thing that is held by a descriptor, whether it was opened or only pointed
//! at (`O_PATH`).
//!
//! What must not be opened (symlinks, devices) and what this process may change but not read can
//! still be pointed at. The calls that refuse such a descriptor go through `/proc/self/fd`, which
//! leads to the very object and to nothing that was put in its place.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use drover_types::Timestamp;
use rustix::{
    buffer::spare_capacity,
    fs::{
        AtFlags, CWD, FileType, Gid, IFlags, Mode, OFlags, StatxAttributes, StatxFlags, Timespec,
        Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat, chownat, fchmod, fgetxattr, flistxattr,
        fremovexattr, fsetxattr, futimens, getxattr, ioctl_getflags, ioctl_setflags, listxattr,
        makedev, openat, removexattr, setxattr, statx, utimensat,
    },
    io::{Errno, Result, pread, retry_on_intr},
};

/// No change beneath it is possible while one of these is set: append-only and immutable.
pub(super) const LOCKING: u32 = IFlags::APPEND.bits() | IFlags::IMMUTABLE.bits();

/// Reads at `offset` until `buffer` is full or nothing more is there; how many bytes came.
pub(super) fn read_full(fd: impl AsFd, offset: u64, buffer: &mut [u8]) -> Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match retry_on_intr(|| pread(&fd, &mut buffer[len..], offset + len as u64))? {
            0 => break,
            n => len += n,
        }
    }
    Ok(len)
}

/// What `statx` says, as far as a target asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Status {
    pub kind: FileType,
    /// The low twelve bits of the mode.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    /// Number of names.
    pub links: u32,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    /// Device and inode: which object it is.
    pub identity: (u64, u64),
    /// Whether one of [`LOCKING`] is set.
    pub locked: bool,
}

/// `name` in `directory`, or `directory` itself if `name` is empty; a symlink is not followed.
pub(super) fn status_at(directory: BorrowedFd<'_>, name: &[u8]) -> Result<Status> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
    let x = retry_on_intr(|| statx(directory, name, flags, StatxFlags::BASIC_STATS))?;
    Ok(Status {
        kind: FileType::from_raw_mode(x.stx_mode.into()),
        mode: u32::from(x.stx_mode) & 0o7777,
        uid: x.stx_uid,
        gid: x.stx_gid,
        size: x.stx_size,
        links: x.stx_nlink,
        mtime: Timestamp { seconds: x.stx_mtime.tv_sec, nanos: x.stx_mtime.tv_nsec },
        ctime: Timestamp { seconds: x.stx_ctime.tv_sec, nanos: x.stx_ctime.tv_nsec },
        identity: (makedev(x.stx_dev_major, x.stx_dev_minor), x.stx_ino),
        locked: x.stx_attributes.intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND),
    })
}

/// Points at `name` in `directory`, whatever it is, without following it.
pub(super) fn point_at(directory: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry_on_intr(|| openat(directory, name, flags, Mode::empty()))
}

/// Opens a file or a directory that `fd` points at for reading.
pub(super) fn reopen(fd: BorrowedFd<'_>, kind: FileType) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    match kind {
        FileType::Directory => {
            retry_on_intr(|| openat(fd, ".", flags | OFlags::DIRECTORY, Mode::empty()))
        }
        FileType::RegularFile => {
            let path = through_proc(fd);
            retry_on_intr(|| openat(CWD, path.as_str(), flags, Mode::empty()))
        }
        _ => Err(Errno::OPNOTSUPP),
    }
}

/// The path that leads to the object of `fd`.
pub(super) fn through_proc(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// One object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object<'a> {
    fd: BorrowedFd<'a>,
    opened: bool,
}

impl<'a> Object<'a> {
    /// An object that is open for reading or writing.
    pub fn opened(fd: &'a OwnedFd) -> Self {
        Self { fd: fd.as_fd(), opened: true }
    }

    /// An object that is only pointed at.
    pub fn pointed(fd: &'a OwnedFd) -> Self {
        Self { fd: fd.as_fd(), opened: false }
    }

    pub fn status(&self) -> Result<Status> {
        status_at(self.fd, b"")
    }

    pub fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        // All ones means "leave it" to the kernel, so it cannot be anyone's number.
        if uid == Some(u32::MAX) || gid == Some(u32::MAX) {
            return Err(Errno::INVAL);
        }
        let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
        chownat(self.fd, "", uid.map(Uid::from_raw), gid.map(Gid::from_raw), flags)
    }

    pub fn set_mode(&self, mode: u32) -> Result<()> {
        let mode = Mode::from_raw_mode(mode);
        if self.opened {
            return fchmod(self.fd, mode);
        }
        chmodat(CWD, through_proc(self.fd), mode, AtFlags::empty())
    }

    /// Sets the time of the last change, and leaves that of the last access.
    pub fn set_mtime(&self, mtime: Timestamp) -> Result<()> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() },
        };
        if self.opened {
            return futimens(self.fd, &times);
        }
        match utimensat(self.fd, "", &times, AtFlags::EMPTY_PATH) {
            // Before Linux 5.8.
            Err(Errno::INVAL) => utimensat(CWD, through_proc(self.fd), &times, AtFlags::empty()),
            answer => answer,
        }
    }

    pub fn set_xattr(&self, name: &[u8], value: &[u8]) -> Result<()> {
        if self.opened {
            return fsetxattr(self.fd, name, value, XattrFlags::empty());
        }
        setxattr(through_proc(self.fd), name, value, XattrFlags::empty())
    }

    pub fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        if self.opened {
            return fremovexattr(self.fd, name);
        }
        removexattr(through_proc(self.fd), name)
    }

    /// Whether the attribute is there with exactly this value.
    pub fn has_xattr(&self, name: &[u8], value: &[u8]) -> bool {
        let mut found = Vec::with_capacity(value.len() + 1);
        let read = if self.opened {
            fgetxattr(self.fd, name, spare_capacity(&mut found))
        } else {
            getxattr(through_proc(self.fd), name, spare_capacity(&mut found))
        };
        read.is_ok() && found == value
    }

    /// The names of all attributes; none where the file system has no attributes.
    pub fn xattr_names(&self) -> Result<Vec<Box<[u8]>>> {
        // What the kernel gives at most in one answer (XATTR_LIST_MAX).
        let mut list = Vec::with_capacity(64 << 10);
        let read = if self.opened {
            flistxattr(self.fd, spare_capacity(&mut list))
        } else {
            listxattr(through_proc(self.fd), spare_capacity(&mut list))
        };
        match read {
            Ok(_) => {
                let names = list.split(|&b| b == 0).filter(|name| !name.is_empty());
                Ok(names.map(Into::into).collect())
            }
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Flags as `FS_IOC_GETFLAGS` gives them; only what was opened can be asked.
    pub fn flags(&self) -> Result<u32> {
        if !self.opened {
            return Err(Errno::OPNOTSUPP);
        }
        Ok(ioctl_getflags(self.fd)?.bits())
    }

    pub fn set_flags(&self, flags: u32) -> Result<()> {
        if !self.opened {
            return Err(Errno::OPNOTSUPP);
        }
        ioctl_setflags(self.fd, IFlags::from_bits_retain(flags))
    }

    /// Takes [`LOCKING`] flags off, and returns the flags as they were.
    pub fn unlock(&self) -> Result<u32> {
        let flags = self.flags()?;
        if flags & LOCKING != 0 {
            self.set_flags(flags & !LOCKING)?;
        }
        Ok(flags)
    }
}
