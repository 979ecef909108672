//! The directories written into last, kept open: a directory of many files is resolved once.

use std::{
    collections::VecDeque,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex},
};

use drover_types::{RelativePath, lock};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use super::{
    attributes::DEFAULT_ACL,
    object::{Object, Status},
};
use crate::{SETTABLE_FLAGS, beneath::Beneath};

/// How many are kept: a few for each thread of a restore.
const KEPT: usize = 64;

/// An open directory, and what new files in it are born with.
#[derive(Debug)]
pub(super) struct Parent {
    fd: OwnedFd,
    /// New files have an ACL that is not their own.
    pub default_acl: bool,
    /// New files have flags that are not their own.
    pub flags: bool,
}

impl Parent {
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The directories, the one used last first.
#[derive(Debug, Default)]
pub(super) struct Parents(Mutex<VecDeque<Kept>>);

/// A directory with its path.
type Kept = (Box<[u8]>, Arc<Parent>);

impl Parents {
    /// The directory that holds `path`, and the name in it; for the root, the root and `.`.
    pub fn of<'a>(
        &self,
        beneath: &Beneath,
        path: &'a RelativePath,
    ) -> Result<(Arc<Parent>, &'a [u8]), std::io::Error> {
        let name = path.name();
        let bytes = path.as_bytes();
        let parent = &bytes[..bytes.len().saturating_sub(name.len() + 1)];
        let name = if path.is_root() { b"." } else { name };
        if let Some(found) = self.find(parent) {
            return Ok((found, name));
        }
        let path = path.parent().unwrap_or_default();
        let directory = OFlags::RDONLY | OFlags::DIRECTORY;
        let (fd, opened) = match beneath.open_at(&path, directory, Mode::empty()) {
            Ok(fd) => (fd, true),
            // A directory that may be written to and not listed.
            Err(error) if error.raw_os_error() == Some(Errno::ACCESS.raw_os_error()) => {
                let pointed = OFlags::PATH | OFlags::DIRECTORY;
                (beneath.open_at(&path, pointed, Mode::empty())?, false)
            }
            Err(error) => return Err(error),
        };
        let object = if opened { Object::opened(&fd) } else { Object::pointed(&fd) };
        let default_acl = object
            .xattr_names()
            .map_or(true, |names| names.iter().any(|name| **name == *DEFAULT_ACL));
        let flags = object.flags().is_ok_and(|flags| flags & SETTABLE_FLAGS != 0);
        let found = Arc::new(Parent { fd, default_acl, flags });
        let mut kept = lock(&self.0);
        kept.truncate(KEPT - 1);
        kept.push_front((parent.into(), found.clone()));
        Ok((found, name))
    }

    fn find(&self, parent: &[u8]) -> Option<Arc<Parent>> {
        let mut kept = lock(&self.0);
        let at = kept.iter().position(|(path, _)| **path == *parent)?;
        let found = kept[at].1.clone();
        if at > KEPT / 2 {
            let entry = kept.remove(at)?;
            kept.push_front(entry);
        }
        Some(found)
    }

    /// Lets go of `path` and of what lies below it: it is about to be removed or changed.
    pub fn forget(&self, path: &RelativePath) {
        let path = path.as_bytes();
        lock(&self.0).retain(|(kept, _)| {
            let below = kept.starts_with(path)
                && (path.is_empty() || matches!(kept.get(path.len()), None | Some(b'/')));
            !below
        });
    }
}

/// Whether this process, not being root, must first let itself write into a directory.
pub(super) fn must_open_up(status: &Status) -> bool {
    status.mode & 0o700 != 0o700
        && !rustix::process::geteuid().is_root()
        && status.uid == rustix::process::geteuid().as_raw()
}
