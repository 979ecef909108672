//! What `stat` does not say: extended attributes, flags, where a symbolic link points.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use drover_types::{RelativePath, Xattr, limits};
use rustix::{
    fs::{fgetxattr, flistxattr, getxattr, ioctl_getflags, listxattr, readlinkat_raw},
    io::Errno,
};

use crate::ReadError;

/// The flags of `FS_IOC_GETFLAGS` that are a choice of whoever owns the file, and that a restore
/// may try to set: secure removal, undelete, compress, synchronous, immutable, append-only,
/// no dump, no atime, do not compress, journal data, no tail merging, synchronous directory, top
/// of a directory hierarchy, no copy on write, direct access, project inheritance, case folding.
/// The rest tells how the file system stores the file (extents, index, inline data, encryption,
/// verity, …) and is not kept.
pub const SETTABLE_FLAGS: u32 = 0x0000_0001 // secure removal
    | 0x0000_0002 // undelete
    | 0x0000_0004 // compress
    | 0x0000_0008 // synchronous
    | 0x0000_0010 // immutable
    | 0x0000_0020 // append-only
    | 0x0000_0040 // no dump
    | 0x0000_0080 // no atime
    | 0x0000_0400 // do not compress
    | 0x0000_4000 // journal data
    | 0x0000_8000 // no tail merging
    | 0x0001_0000 // synchronous directory
    | 0x0002_0000 // top of a directory hierarchy
    | 0x0080_0000 // no copy on write
    | 0x0200_0000 // direct access
    | 0x2000_0000 // project inheritance
    | 0x4000_0000; // case folding

/// The flags of an open file or directory, masked by [`SETTABLE_FLAGS`]; none where the file
/// system has no such thing.
pub(super) fn flags(path: &RelativePath, fd: impl AsFd) -> Result<u32, ReadError> {
    match ioctl_getflags(fd) {
        Ok(flags) => Ok(flags.bits() & SETTABLE_FLAGS),
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => Ok(0),
        Err(error) => Err(ReadError::new(path, error)),
    }
}

/// Where a symbolic link that is open with `O_PATH` points.
pub(super) fn link_target(path: &RelativePath, fd: impl AsFd) -> Result<Box<[u8]>, ReadError> {
    // One byte more than allowed, so that a target cut off is seen.
    let mut buffer = vec![0; limits::SYMLINK + 1];
    let len =
        readlinkat_raw(fd, c"", &mut buffer[..]).map_err(|error| ReadError::new(path, error))?;
    if len > limits::SYMLINK {
        return Err(ReadError::other(path, "the link's target is too long"));
    }
    buffer.truncate(len);
    Ok(buffer.into_boxed_slice())
}

/// The extended attributes of an open file or directory, sorted by name.
pub(super) fn of_open(path: &RelativePath, fd: impl AsFd) -> Result<Vec<Xattr>, ReadError> {
    read_all(path, &Handle::Open(fd.as_fd()))
}

/// The extended attributes of what is open with `O_PATH`, sorted by name. The system calls refuse
/// such a descriptor, but not its link in `/proc`, which leads to the very thing, a symbolic link
/// included.
pub(super) fn of_pointed_at(path: &RelativePath, fd: impl AsFd) -> Result<Vec<Xattr>, ReadError> {
    let link = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    read_all(path, &Handle::PointedAt(link)).map_err(|error| {
        match Errno::from_io_error(&error.source) {
            Some(Errno::NOENT) => ReadError::other(path, "/proc is needed to read its attributes"),
            _ => error,
        }
    })
}

enum Handle<'a> {
    Open(BorrowedFd<'a>),
    PointedAt(String),
}

impl Handle<'_> {
    fn list(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Handle::Open(fd) => flistxattr(fd, buffer),
            Handle::PointedAt(link) => listxattr(link.as_str(), buffer),
        }
    }

    fn get(&self, name: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Handle::Open(fd) => fgetxattr(fd, name, buffer),
            Handle::PointedAt(link) => getxattr(link.as_str(), name, buffer),
        }
    }
}

/// Room that is tried first, in bytes.
const ROOM: usize = 1024;

/// Calls `read` with more room until what it reads fits, at most [`limits::XATTRS`].
fn with_room(
    buffer: &mut Vec<u8>,
    mut read: impl FnMut(&mut [u8]) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    loop {
        match read(buffer) {
            // It may grow again between one call and the next, so that its size is not asked for.
            Err(Errno::RANGE) if buffer.len() < limits::XATTRS => {
                buffer.resize((buffer.len() * 8).min(limits::XATTRS), 0);
            }
            answer => return answer,
        }
    }
}

fn read_all(path: &RelativePath, handle: &Handle<'_>) -> Result<Vec<Xattr>, ReadError> {
    let failed = |errno: Errno| match errno {
        Errno::RANGE | Errno::TOOBIG => too_large(path),
        errno => ReadError::new(path, io::Error::from(errno)),
    };
    let mut list = vec![0; ROOM];
    let len = match with_room(&mut list, |buffer| handle.list(buffer)) {
        Ok(0) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
        answer => answer.map_err(failed)?,
    };
    let mut xattrs = Vec::new();
    let mut total = 0;
    let mut value = vec![0; ROOM];
    for name in list[..len].split(|&b| b == 0).filter(|name| !name.is_empty()) {
        let len = match with_room(&mut value, |buffer| handle.get(name, buffer)) {
            Ok(len) => len,
            // Removed since it was listed.
            Err(Errno::NODATA) => continue,
            Err(errno) => return Err(failed(errno)),
        };
        total += name.len() + len;
        if total > limits::XATTRS {
            return Err(too_large(path));
        }
        xattrs.push(Xattr { name: name.into(), value: value[..len].into() });
    }
    xattrs.sort_unstable();
    xattrs.dedup_by(|a, b| a.name == b.name);
    Ok(xattrs)
}

fn too_large(path: &RelativePath) -> ReadError {
    ReadError::other(path, "its extended attributes are too large")
}
