//! Room on the target's disk for what a restore must remember and cannot hold in memory.
//!
//! It has no name: nobody finds it, and it is gone with the process, however that ends. It lies on
//! the target because what it holds, names and attributes, lands there anyway.

use std::sync::Mutex;

use drover_types::RelativePath;
use rustix::{
    fs::{AtFlags, Mode, OFlags, openat, unlinkat},
    io::{Errno, pwrite, retry_on_intr},
};

use super::{Target, TargetError, lock, object::read_full};

/// Bytes that are gathered before they are written.
const PENDING: usize = 1 << 20;

/// A file without a name, to be appended to and read back.
#[derive(Debug)]
pub struct Scratch {
    fd: std::os::fd::OwnedFd,
    tail: Mutex<Tail>,
}

#[derive(Debug, Default)]
struct Tail {
    written: u64,
    pending: Vec<u8>,
}

fn failed(errno: Errno) -> TargetError {
    TargetError::entry(&RelativePath::root(), "keep notes in", errno)
}

impl Target {
    /// Room on its disk.
    pub fn scratch(&self) -> Result<Scratch, TargetError> {
        let directory = self.0.beneath.root_fd();
        let mode = Mode::RUSR | Mode::WUSR;
        let flags = OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = match retry_on_intr(|| openat(directory, ".", flags | OFlags::TMPFILE, mode)) {
            Ok(fd) => fd,
            // File systems that make no file without a name: one that loses it at once.
            Err(_) => {
                let name = self.temporary();
                let flags = flags | OFlags::CREATE | OFlags::NOFOLLOW;
                let fd = retry_on_intr(|| openat(directory, &name[..], flags, mode));
                let fd = fd.map_err(failed)?;
                unlinkat(directory, &name[..], AtFlags::empty()).map_err(failed)?;
                fd
            }
        };
        Ok(Scratch { fd, tail: Mutex::default() })
    }
}

impl Scratch {
    /// Appends all of `bytes`; returns where they begin.
    pub fn append(&self, bytes: &[u8]) -> Result<u64, TargetError> {
        let mut tail = lock(&self.tail);
        let at = tail.written + tail.pending.len() as u64;
        tail.pending.extend_from_slice(bytes);
        if tail.pending.len() >= PENDING {
            self.flush(&mut tail)?;
        }
        Ok(at)
    }

    /// Reads at `offset` until `buffer` is full or nothing more is there. Returns how many bytes
    /// came.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, TargetError> {
        self.flush(&mut lock(&self.tail))?;
        read_full(&self.fd, offset, buffer).map_err(failed)
    }

    fn flush(&self, tail: &mut Tail) -> Result<(), TargetError> {
        let mut done = 0;
        while done < tail.pending.len() {
            let at = tail.written + done as u64;
            match retry_on_intr(|| pwrite(&self.fd, &tail.pending[done..], at)).map_err(failed)? {
                0 => return Err(failed(Errno::IO)),
                n => done += n,
            }
        }
        tail.written += done as u64;
        tail.pending.clear();
        Ok(())
    }
}
