//! Writing a tree where others may be at work.
//!
//! A target is the landing of a restore on a file system. It takes entries and bytes, and trusts
//! neither these nor the tree it writes into: nothing is opened outside of its root, no symlink
//! is followed, and what is changed is held by a descriptor and not by its name.
//!
//! **Order.** Directories come before what is in them; they are made for this process alone
//! (0700) and get their own mode, times and flags when [`Target::set_attributes`] is called for
//! them after all that is in them. A directory that was there before is opened up by
//! [`Target::create_directory`] if it is in the way, so its attributes must be set afterwards
//! too. Everything else is complete when its call returns.
//!
//! **Replacing.** A new file is made under its final name, which must be free. Where something is
//! replaced, the new file is made beside it under a temporary name ([`is_temporary`]); it takes
//! its place when [`Target::sync`] has made its content durable, so that after a crash the old or
//! the new file is there, whole. Sync runs by itself when many wait.
//!
//! **Durability.** Nothing is durable before [`Target::sync`]. After a power loss, a file that was
//! not synced can have its size and times but not its bytes; the [`Marker`] tells whether a
//! restore that was cut off can be trusted that far.
//!
//! All calls may be made from many threads at once, for different paths.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::DirBuilderExt,
    },
    path::Path,
    sync::{Arc, Mutex, atomic::AtomicU64},
};

use drover_types::{Entry, Kind, RelativePath, Timestamp, clock, lock};
use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Mode, linkat, makedev, mkdirat, mknodat, symlinkat, syncfs,
        unlinkat,
    },
    io::{Errno, retry_on_intr},
};

mod attributes;
mod error;
mod file;
mod marker;
mod object;
mod parents;
mod replace;
mod scratch;
#[cfg(test)]
mod tests;

pub use attributes::{Owners, TargetOptions};
pub use error::{Loss, Losses, TargetError, TargetErrorKind};
pub use file::{Existing, NewFile, ParkedFile};
pub use marker::{Claim, Landed, MARKER, Marker, MarkerState, SettlingMark, landed};
pub use replace::is_temporary;
pub use scratch::Scratch;

use attributes::{Known, Policy, set_flags};
use object::{LOCKING, Object, Status, point_at, reopen, status_at, through_proc};
use parents::{Parent, Parents, must_open_up};
use replace::{Waiting, rename_over, unlock_at};

use crate::beneath::Beneath;

/// Whether a path is the marker's. It is no part of the tree: walks of a target leave it out.
pub fn is_marker(path: &RelativePath) -> bool {
    path.as_bytes() == MARKER
}

/// The highest numbers of devices that Linux has.
const MAJOR: u32 = (1 << 12) - 1;
const MINOR: u32 = (1 << 20) - 1;

/// A directory that a restore writes into. Clones share everything.
#[derive(Clone, Debug)]
pub struct Target(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    beneath: Beneath,
    parents: Parents,
    policy: Policy,
    /// Device of the root.
    device: u64,
    /// One directory on each further file system that was written to.
    mounted: Mutex<BTreeMap<u64, OwnedFd>>,
    /// Device and inode of what this run made or checked and may get further names.
    made: Mutex<HashSet<(u64, u64)>>,
    /// What replaces what at the next sync.
    waiting: Mutex<HashMap<RelativePath, Waiting>>,
    /// Replacements that failed since the last [`Target::sync`].
    failed: Mutex<Vec<TargetError>>,
    /// Held while waiting replacements are made.
    replacing: Mutex<()>,
    /// Nanoseconds; tells the temporary names of this target from those of others.
    opened_at: u128,
    next_temporary: AtomicU64,
}

impl Target {
    /// Opens the directory at `root`, and makes it, and what lies above it, if it is not there.
    pub fn open(root: &Path, options: TargetOptions) -> Result<Self, TargetError> {
        let failed = |source| TargetError::Open { path: root.to_owned(), source };
        let beneath = match Beneath::open(root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut builder = std::fs::DirBuilder::new();
                builder.recursive(true).mode(0o700).create(root).map_err(failed)?;
                Beneath::open(root)
            }
            answer => answer,
        };
        Self::on(beneath.map_err(failed)?, options).map_err(|errno| failed(errno.into()))
    }

    fn on(beneath: Beneath, options: TargetOptions) -> Result<Self, Errno> {
        let (device, _) = status_at(beneath.root_fd(), b"")?.identity;
        Ok(Self(Arc::new(Inner {
            beneath,
            parents: Parents::default(),
            policy: Policy::new(options, device),
            device,
            mounted: Mutex::default(),
            made: Mutex::default(),
            waiting: Mutex::default(),
            failed: Mutex::default(),
            replacing: Mutex::default(),
            opened_at: clock::now().as_nanos().unsigned_abs(),
            next_temporary: AtomicU64::new(0),
        })))
    }

    /// Whether nothing is in it, apart from the marker, what a restore that was killed before it
    /// could leave its mark had begun, and the `lost+found` of a new file system.
    pub fn is_empty(&self) -> Result<bool, TargetError> {
        let root = RelativePath::root();
        let failed = |errno| TargetError::entry(&root, "list", errno);
        for entry in Dir::read_from(self.0.beneath.root_fd()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b".." | MARKER | b"lost+found") && !is_temporary(name) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes a directory, for this process alone; `false` if it was there. One that was there is
    /// opened up if this process could not write into it (read-only, immutable).
    pub fn create_directory(&self, path: &RelativePath) -> Result<bool, TargetError> {
        const WHAT: &str = "create the directory";
        let (parent, name) = self.place(path, WHAT)?;
        let failed = |errno| TargetError::entry(path, WHAT, errno);
        if !path.is_root() {
            match mkdirat(parent.fd(), name, Mode::RWXU) {
                Ok(()) => return Ok(true),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let fd = point_at(parent.fd(), name).map_err(failed)?;
        let object = Object::pointed(&fd);
        let status = object.status().map_err(failed)?;
        if status.kind != FileType::Directory {
            return Err(failed(Errno::EXIST));
        }
        if must_open_up(&status) {
            object.set_mode(status.mode | 0o700).map_err(failed)?;
        }
        if status.locked {
            let opened = reopen(fd.as_fd(), status.kind).map_err(failed)?;
            Object::opened(&opened).unlock().map_err(failed)?;
        }
        Ok(false)
    }

    /// Begins a file under its final name, which must be free.
    pub fn create_file(&self, entry: &Entry) -> Result<NewFile, TargetError> {
        NewFile::create(self, entry, None)
    }

    /// Begins a file that takes the place of whatever file, link or special file has its name.
    pub fn replace_file(&self, entry: &Entry) -> Result<NewFile, TargetError> {
        NewFile::create(self, entry, Some(self.temporary()))
    }

    /// Opens a regular file that is there, for reading; `None` where there is none.
    pub fn open_existing(&self, path: &RelativePath) -> Result<Option<Existing>, TargetError> {
        Existing::open(self, path)
    }

    /// Makes a symlink, a FIFO, a socket or a device, in place of whatever has its name and is no
    /// directory. What may not be made here is a loss of `entry`.
    pub fn create_other(&self, entry: &Entry) -> Result<Losses, TargetError> {
        const WHAT: &str = "create";
        let path = &entry.path;
        let (parent, name) = self.place(path, WHAT)?;
        let failed = |errno| TargetError::entry(path, WHAT, errno);
        let device = match entry.kind {
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                Some((major, minor))
            }
            _ => None,
        };
        if let Some((major, minor)) = device {
            let why = if !self.0.policy.options.devices {
                Some("devices were not asked for".into())
            } else if major > MAJOR || minor > MINOR {
                // The kernel would cut them off and make another device.
                Some(format!("there is no device {major}:{minor} on Linux"))
            } else {
                None
            };
            if let Some(why) = why {
                return Ok(vec![Loss { what: "device", why }]);
            }
        }
        let (made_as, made) = match make(&parent, name, &entry.kind) {
            Err(Errno::EXIST) => {
                let temporary = self.temporary();
                let made = make(&parent, &temporary, &entry.kind);
                (temporary, made)
            }
            made => (name.into(), made),
        };
        match made {
            Err(Errno::PERM) if device.is_some() => {
                let why = "this process may not make devices".into();
                return Ok(vec![Loss { what: "device", why }]);
            }
            made => made.map_err(failed)?,
        }
        let finish = || {
            let fd = point_at(parent.fd(), &made_as).map_err(failed)?;
            let status = Object::pointed(&fd).status().map_err(failed)?;
            if status.kind != file_type(&entry.kind) {
                return Err(swapped(path, WHAT));
            }
            let losses = if status.uid == rustix::process::geteuid().as_raw() {
                let known = Known {
                    foreign_xattrs: parent.default_acl,
                    foreign_flags: false,
                    stay_unlocked: false,
                };
                self.apply(Object::pointed(&fd), entry, &status, known)?
            } else {
                // A server that maps owners, or something that was put in its place: either way
                // there is nothing to be given away here.
                let why = format!("it belongs to {}, its attributes were left alone", status.uid);
                vec![Loss { what: "owner", why }]
            };
            self.note_made(entry, &status);
            self.0.note_device(&parent, &status).map_err(failed)?;
            self.give_up_waiting(&parent, path);
            if *made_as != *name {
                rename_over(&parent, &made_as, name).map_err(failed)?;
            }
            Ok(losses)
        };
        finish().inspect_err(|_| {
            // What is left half made is in nobody's way, whatever becomes of this.
            let _ = unlinkat(parent.fd(), &made_as[..], AtFlags::empty());
        })
    }

    /// Gives `existing` a further name, that of `entry`, in place of whatever has it and is no
    /// directory. Only what this run made, from an entry whose evidence says that it has several
    /// names, or was told of by [`Target::vouch`] can be linked to; anything else is `NotOurs`.
    pub fn hard_link(&self, existing: &RelativePath, entry: &Entry) -> Result<(), TargetError> {
        const WHAT: &str = "link";
        let new = &entry.path;
        let (fd, status) = self.find(existing, WHAT)?;
        if status.kind != file_type(&entry.kind) {
            return Err(swapped(new, WHAT));
        }
        if !lock(&self.0.made).contains(&status.identity) {
            let why = "this run did not make the file that it would be a name of";
            return Err(TargetError::because(new, WHAT, TargetErrorKind::NotOurs, why));
        }
        let failed = |errno| match errno {
            // A link to another file system; or file systems and files that take no links.
            Errno::XDEV | Errno::PERM => {
                let why = "the file takes no further name here";
                TargetError::because(new, WHAT, TargetErrorKind::Unsupported, why)
            }
            errno => TargetError::entry(new, WHAT, errno),
        };
        let (parent, name) = self.place(new, WHAT)?;
        match self.link(&fd, &status, &parent, name) {
            Err(Errno::EXIST) => {}
            done => return done.map_err(failed),
        }
        if status_at(parent.fd(), name).is_ok_and(|there| there.identity == status.identity) {
            return Ok(());
        }
        let temporary = self.temporary();
        self.link(&fd, &status, &parent, &temporary).map_err(failed)?;
        // The temporary name cannot be renamed while the file is locked.
        let flags = if status.locked { self.unlock(&fd, &status).map_err(failed)? } else { 0 };
        self.wait(new, Waiting { temporary, identity: status.identity, flags: flags & LOCKING })
    }

    /// Says that what is at `path` was checked to be what it should be, so that this run may give
    /// it further names.
    pub fn vouch(&self, path: &RelativePath) -> Result<(), TargetError> {
        let (_, status) = self.find(path, "look at")?;
        lock(&self.0.made).insert(status.identity);
        Ok(())
    }

    /// Puts the attributes of `entry` on what is there, which must be of the same kind, and takes
    /// off what the entry lacks. For a directory: after all that is in it. A file of several names
    /// that this run neither made nor was told of is `NotOurs`: one of them may lie elsewhere.
    pub fn set_attributes(&self, entry: &Entry) -> Result<Losses, TargetError> {
        const WHAT: &str = "set the attributes of";
        let path = &entry.path;
        let (pointed, status) = self.find(path, WHAT)?;
        if status.kind != file_type(&entry.kind) {
            return Err(swapped(path, WHAT));
        }
        let several = status.kind == FileType::RegularFile && status.links > 1;
        if several && !lock(&self.0.made).contains(&status.identity) {
            let why = "it has other names, and this run did not make it";
            return Err(TargetError::because(path, WHAT, TargetErrorKind::NotOurs, why));
        }
        let opened = match reopen(pointed.as_fd(), status.kind) {
            Ok(fd) => Some(fd),
            Err(Errno::ACCESS | Errno::PERM | Errno::OPNOTSUPP | Errno::NOENT) => None,
            Err(error) => return Err(TargetError::entry(path, WHAT, error)),
        };
        let object = opened.as_ref().map_or(Object::pointed(&pointed), Object::opened);
        let known = Known {
            foreign_xattrs: true,
            foreign_flags: opened.is_some(),
            stay_unlocked: lock(&self.0.waiting).contains_key(path),
        };
        let mut losses = self.apply(object, entry, &status, known)?;
        if known.stay_unlocked {
            let flags = entry.attributes.flags & LOCKING;
            let mut waiting = lock(&self.0.waiting);
            match waiting.get_mut(path) {
                Some(waiting) => waiting.flags = flags,
                // It took its place meanwhile.
                None => set_flags(object, LOCKING, flags, &mut losses)
                    .map_err(|(operation, errno)| TargetError::entry(path, operation, errno))?,
            }
        }
        if status.kind == FileType::Directory {
            self.0.parents.forget(path);
        }
        Ok(losses)
    }

    /// When what is at `path`, or its attributes, last changed, by the clock of its file system.
    pub fn ctime(&self, path: &RelativePath) -> Result<Timestamp, TargetError> {
        const WHAT: &str = "look at";
        let (parent, name) = self.place(path, WHAT)?;
        let status = status_at(parent.fd(), name);
        Ok(status.map_err(|errno| TargetError::entry(path, WHAT, errno))?.ctime)
    }

    /// Removes one file, link or special file, or a directory with nothing in it. What is not
    /// there is removed.
    pub fn remove(&self, path: &RelativePath) -> Result<(), TargetError> {
        const WHAT: &str = "remove";
        let (parent, name) = match self.place(path, WHAT) {
            Err(error) if error.kind() == TargetErrorKind::Missing => return Ok(()),
            place => place?,
        };
        let failed = |errno| TargetError::entry(path, WHAT, errno);
        if path.is_root() {
            return Err(failed(Errno::BUSY));
        }
        self.give_up_waiting(&parent, path);
        let unlink = || match unlinkat(parent.fd(), name, AtFlags::empty()) {
            Err(Errno::ISDIR) => unlinkat(parent.fd(), name, AtFlags::REMOVEDIR),
            done => done,
        };
        self.0.parents.forget(path);
        match unlink() {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::PERM) => {
                unlock_at(&parent, name).map_err(|_| failed(Errno::PERM))?;
                unlink().map_err(failed)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Makes everything durable that was finished before, and lets what replaces something take
    /// its place. Returns the replacements that failed since the last call; what was there is
    /// there still.
    pub fn sync(&self) -> Result<Vec<TargetError>, TargetError> {
        self.0.replace_waiting()?;
        self.0.flush()?;
        Ok(std::mem::take(&mut *lock(&self.0.failed)))
    }

    /// The directory that holds `path`, and the name in it, for writing.
    fn place<'a>(
        &self,
        path: &'a RelativePath,
        operation: &'static str,
    ) -> Result<(Arc<Parent>, &'a [u8]), TargetError> {
        if is_marker(path) {
            let why = "the name is that of the mark that a restore leaves";
            return Err(TargetError::because(path, operation, TargetErrorKind::Unsupported, why));
        }
        let parent = self.0.parents.of(&self.0.beneath, path);
        parent.map_err(|error| TargetError::io(path, operation, error))
    }

    /// Points at what is at `path`, or will be after the next sync.
    fn find(
        &self,
        path: &RelativePath,
        operation: &'static str,
    ) -> Result<(OwnedFd, Status), TargetError> {
        let failed = |errno| TargetError::entry(path, operation, errno);
        let (parent, name) = self.place(path, operation)?;
        let waiting = lock(&self.0.waiting).get(path).cloned();
        let fd = match &waiting {
            None => point_at(parent.fd(), name),
            Some(waiting) => match point_at(parent.fd(), &waiting.temporary) {
                // A sync on another thread was faster.
                Err(Errno::NOENT) => point_at(parent.fd(), name),
                found => found,
            },
        };
        let fd = fd.map_err(failed)?;
        let status = Object::pointed(&fd).status().map_err(failed)?;
        if waiting.is_some_and(|waiting| waiting.identity != status.identity) {
            return Err(swapped(path, operation));
        }
        Ok((fd, status))
    }

    fn apply(
        &self,
        object: Object<'_>,
        entry: &Entry,
        before: &Status,
        known: Known,
    ) -> Result<Losses, TargetError> {
        let applied = self.0.policy.apply(object, entry, before, known);
        applied.map_err(|(operation, errno)| TargetError::entry(&entry.path, operation, errno))
    }

    /// Remembers what may get further names. A file of one name is not remembered: there are many.
    fn note_made(&self, entry: &Entry, status: &Status) {
        if entry.evidence.links != 1 {
            lock(&self.0.made).insert(status.identity);
        }
    }

    /// Gives what `fd` points at the name `name`, even if it is locked.
    fn link(
        &self,
        fd: &OwnedFd,
        status: &Status,
        parent: &Parent,
        name: &[u8],
    ) -> Result<(), Errno> {
        let from = through_proc(fd.as_fd());
        let link = || linkat(CWD, from.as_str(), parent.fd(), name, AtFlags::SYMLINK_FOLLOW);
        match link() {
            Err(Errno::PERM) if status.locked => {
                let opened = reopen(fd.as_fd(), status.kind)?;
                let object = Object::opened(&opened);
                let flags = object.unlock()?;
                let linked = link();
                object.set_flags(flags)?;
                linked
            }
            done => done,
        }
    }

    fn unlock(&self, fd: &OwnedFd, status: &Status) -> Result<u32, Errno> {
        Object::opened(&reopen(fd.as_fd(), status.kind)?).unlock()
    }
}

impl Inner {
    /// Writes out every file system that was written to.
    fn flush(&self) -> Result<(), TargetError> {
        let failed = |errno| TargetError::entry(&RelativePath::root(), "sync", errno);
        for fd in lock(&self.mounted).values() {
            syncfs(fd).map_err(failed)?;
        }
        syncfs(self.beneath.root_fd()).map_err(failed)
    }

    /// Remembers a file system other than the root's that `parent` is on, so that a sync reaches
    /// it.
    fn note_device(&self, parent: &Parent, status: &Status) -> Result<(), Errno> {
        let device = status.identity.0;
        if device != self.device && !lock(&self.mounted).contains_key(&device) {
            let directory = reopen(parent.fd(), FileType::Directory)?;
            lock(&self.mounted).insert(device, directory);
        }
        Ok(())
    }
}

/// Makes what is neither file nor directory, for this process alone.
fn make(parent: &Parent, name: &[u8], kind: &Kind) -> Result<(), Errno> {
    let node = |kind, device| {
        retry_on_intr(|| mknodat(parent.fd(), name, kind, Mode::RUSR | Mode::WUSR, device))
    };
    match kind {
        Kind::Symlink { target } if target.is_empty() => Err(Errno::INVAL),
        Kind::Symlink { target } => retry_on_intr(|| symlinkat(&target[..], parent.fd(), name)),
        Kind::Fifo => node(FileType::Fifo, 0),
        Kind::Socket => node(FileType::Socket, 0),
        Kind::CharDevice { major, minor } => {
            node(FileType::CharacterDevice, makedev(*major, *minor))
        }
        Kind::BlockDevice { major, minor } => node(FileType::BlockDevice, makedev(*major, *minor)),
        Kind::Directory | Kind::File => Err(Errno::INVAL),
    }
}

fn file_type(kind: &Kind) -> FileType {
    match kind {
        Kind::Directory => FileType::Directory,
        Kind::File => FileType::RegularFile,
        Kind::Symlink { .. } => FileType::Symlink,
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice { .. } => FileType::CharacterDevice,
        Kind::BlockDevice { .. } => FileType::BlockDevice,
    }
}

fn swapped(path: &RelativePath, operation: &'static str) -> TargetError {
    let why = "something of another kind is there, or was put there meanwhile";
    TargetError::because(path, operation, TargetErrorKind::WrongKind, why)
}
