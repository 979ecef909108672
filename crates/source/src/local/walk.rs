//! The parallel walk of a local tree.
//!
//! The unit of work is a directory to list, or a run of the sorted names of a large one to stat.
//! A directory that fits one run is listed and its names are stat'ed in one go. Order and bounds
//! are the business of [`Ordered`].
//!
//! A directory is opened by its name below its parent's descriptor while that is still at hand,
//! else by its whole path below the root; either way it must be the same directory (device and
//! inode) that the walk saw. Only a few descriptors are kept, so that deep and wide trees need no
//! more than flat ones.

use std::{
    collections::VecDeque,
    ffi::CStr,
    io,
    mem::MaybeUninit,
    ops::Range,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use drover_types::{Entry, Evidence, Kind, RelativePath, clock, limits};
use rustix::{
    fs::{AtFlags, Mode, OFlags, fstat, openat, statat},
    io::{Errno, retry_on_intr},
    process::{Resource, getrlimit},
};

use super::{
    Tree,
    names::{BUFFER, Incomplete, Names},
    stat::{Granularity, convert, device},
};
use crate::{
    Enter, ReadError, Scope, SourceError, Walk, WalkEvent, WalkOptions,
    ordered::Ordered,
    walk::{emit, problem},
};

type Outcome = crate::ordered::Outcome<Work, WalkEvent>;

/// Starts the workers.
pub(super) fn start(tree: &Arc<Tree>, options: &WalkOptions) -> Result<Walk, SourceError> {
    let failed = |error: io::Error| SourceError::new(tree.root.clone(), error);
    let root = RelativePath::root();
    let stat = tree.stat(&root, tree.beneath.root_fd()).map_err(|error| failed(error.source))?;
    let scan = Arc::new(Scan {
        tree: Arc::clone(tree),
        only_device: options.one_file_system.then_some(stat.evidence.device),
        enter: options.enter.clone(),
        kept: Kept::new(),
        next_id: AtomicU64::new(1),
    });
    let mut first = Outcome::new();
    let entry = stat.into_entry(root);
    let directory = Directory::new(0, 0, &entry);
    emit(&mut first, WalkEvent::Entry(entry));
    first.work(Work::List(directory));
    let workers = (0..options.threads.max(1)).map(|_| {
        let mut worker =
            Worker { scan: Arc::clone(&scan), buffer: vec![MaybeUninit::uninit(); BUFFER] };
        move |work| worker.run(work)
    });
    Ok(Walk::new(Ordered::start(first, workers, options.buffer).map_err(failed)?))
}

/// What the workers of one walk share.
struct Scan {
    tree: Arc<Tree>,
    /// The only device whose directories are gone into, where the walk is to stay on one.
    only_device: Option<u64>,
    enter: Option<Enter>,
    kept: Kept,
    next_id: AtomicU64,
}

enum Work {
    /// List a directory.
    List(Directory),
    /// Stat some of the names of a directory.
    Stat { directory: Arc<Directory>, names: Arc<Names>, range: Range<usize> },
}

/// A directory that the walk saw.
struct Directory {
    /// Of this walk's directories.
    id: u64,
    parent: u64,
    path: RelativePath,
    device: u64,
    inode: u64,
}

impl Directory {
    fn new(id: u64, parent: u64, entry: &Entry) -> Self {
        let Evidence { device, inode, .. } = entry.evidence;
        Self { id, parent, path: entry.path.clone(), device, inode }
    }

    /// How many bytes a name in it may have.
    fn room(&self) -> usize {
        let taken = self.path.as_bytes().len() + usize::from(!self.path.is_root());
        limits::PATH.saturating_sub(taken)
    }

    /// The path of a name that was listed in it.
    fn child(&self, name: &CStr) -> RelativePath {
        self.path.join(name.to_bytes()).expect("a listing holds only names that make a path")
    }
}

/// The descriptors of the directories that were gone into last, by the directory's number.
struct Kept {
    capacity: usize,
    open: Mutex<VecDeque<(u64, Arc<OwnedFd>)>>,
}

impl Kept {
    /// As many as an eighth of what this process may open; readers of files need the rest.
    fn new() -> Self {
        let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let capacity = usize::try_from(allowed / 8).unwrap_or(usize::MAX).clamp(2, 64);
        Self { capacity, open: Mutex::default() }
    }

    fn get(&self, id: u64) -> Option<Arc<OwnedFd>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let at = open.iter().rposition(|(kept, _)| *kept == id)?;
        let found = open.remove(at)?;
        let fd = Arc::clone(&found.1);
        open.push_back(found);
        Some(fd)
    }

    fn keep(&self, id: u64, fd: Arc<OwnedFd>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push_back((id, fd));
        if open.len() > self.capacity {
            open.pop_front();
        }
    }

    fn clear(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

struct Worker {
    scan: Arc<Scan>,
    /// What the kernel writes names into.
    buffer: Vec<MaybeUninit<u8>>,
}

impl Worker {
    fn run(&mut self, work: Work) -> Outcome {
        let mut outcome = Outcome::new();
        match work {
            Work::List(directory) => self.list(directory, &mut outcome),
            Work::Stat { directory, names, range } => {
                self.stat_range(&directory, &names, range, &mut outcome);
            }
        }
        outcome
    }

    fn list(&mut self, directory: Directory, outcome: &mut Outcome) {
        let fd = match self.scan.open(&directory, OFlags::RDONLY) {
            Ok(fd) => Arc::new(fd),
            Err(error) => return emit(outcome, problem(Scope::Subtree, error)),
        };
        let (names, incomplete) = Names::read(&*fd, directory.room(), &mut self.buffer);
        if let Some(incomplete) = incomplete {
            let error = match incomplete {
                Incomplete::Failed(errno) => io::Error::from(errno),
                Incomplete::Refused(why) => io::Error::other(why),
            };
            emit(outcome, problem(Scope::Listing, ReadError::new(&directory.path, error)));
        }
        let id = directory.id;
        if names.len() <= WalkOptions::BATCH {
            self.stat(&fd, &directory, &names, 0..names.len(), outcome);
        } else {
            let (directory, names) = (Arc::new(directory), Arc::new(names));
            for start in (0..names.len()).step_by(WalkOptions::BATCH) {
                outcome.work(Work::Stat {
                    directory: Arc::clone(&directory),
                    names: Arc::clone(&names),
                    range: start..names.len().min(start + WalkOptions::BATCH),
                });
            }
        }
        if outcome.has_work() {
            self.scan.kept.keep(id, fd);
        }
    }

    fn stat_range(
        &mut self,
        directory: &Directory,
        names: &Names,
        range: Range<usize>,
        outcome: &mut Outcome,
    ) {
        let fd = match self.scan.kept.get(directory.id) {
            Some(fd) => fd,
            None => match self.scan.open(directory, OFlags::PATH) {
                Ok(fd) => {
                    let fd = Arc::new(fd);
                    self.scan.kept.keep(directory.id, Arc::clone(&fd));
                    fd
                }
                Err(_) => {
                    // Its names were listed a moment ago. That it cannot be reached any more says
                    // nothing about them, least of all that they are gone.
                    for at in range {
                        let path = directory.child(names.get(at));
                        let why = "its directory went away while it was walked";
                        emit(outcome, problem(Scope::Subtree, ReadError::changed(&path, why)));
                    }
                    return;
                }
            },
        };
        self.stat(&fd, directory, names, range, outcome);
    }

    fn stat(
        &self,
        fd: &OwnedFd,
        directory: &Directory,
        names: &Names,
        range: Range<usize>,
        outcome: &mut Outcome,
    ) {
        let tree = &self.scan.tree;
        let granularity = tree.granularity(directory.device, fd);
        // Before the first is stat'ed: what changes later counts as recent.
        let scanned = clock::now();
        for at in range {
            let name = names.get(at);
            let path = directory.child(name);
            let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
            let raw = match retry_on_intr(|| statat(fd, name, flags)) {
                Ok(raw) => raw,
                Err(errno) => {
                    // It may well be a directory.
                    emit(outcome, problem(Scope::Subtree, ReadError::new(&path, errno)));
                    continue;
                }
            };
            // What is mounted here is on a file system not asked yet: the worst is taken.
            let granularity =
                if device(&raw) == directory.device { granularity } else { Granularity::Coarse };
            let Some(stat) = convert(&raw, scanned, granularity, &tree.owners) else {
                let error = ReadError::other(&path, "it is of an unknown kind");
                emit(outcome, problem(Scope::Entry, error));
                continue;
            };
            let entry = stat.into_entry(path);
            let below = self.scan.enters(&entry).then(|| {
                let id = self.scan.next_id.fetch_add(1, Ordering::Relaxed);
                Work::List(Directory::new(id, directory.id, &entry))
            });
            emit(outcome, WalkEvent::Entry(entry));
            if let Some(below) = below {
                outcome.work(below);
            }
        }
    }
}

impl Scan {
    /// Whether the walk goes into what it saw.
    fn enters(&self, entry: &Entry) -> bool {
        entry.kind == Kind::Directory
            && self.only_device.is_none_or(|only| only == entry.evidence.device)
            && self.enter.as_ref().is_none_or(|enter| enter.enters(entry))
    }

    /// Opens a directory that the walk saw, and makes sure that it is still the same one.
    fn open(&self, directory: &Directory, flags: OFlags) -> Result<OwnedFd, ReadError> {
        let failed = |error: io::Error| ReadError::new(&directory.path, error);
        let fd = match self.try_open(directory, flags) {
            Err(error)
                if matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE)) =>
            {
                self.kept.clear();
                self.try_open(directory, flags)
            }
            answer => answer,
        }
        .map_err(failed)?;
        let now = fstat(&fd).map_err(|errno| failed(errno.into()))?;
        if (device(&now), now.st_ino) != (directory.device, directory.inode) {
            return Err(ReadError::changed(&directory.path, "another directory took its place"));
        }
        Ok(fd)
    }

    fn try_open(&self, directory: &Directory, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let parent = if directory.path.is_root() { None } else { self.kept.get(directory.parent) };
        let open = |flags| match &parent {
            Some(parent) => retry_on_intr(|| {
                openat(parent.as_fd(), directory.path.name(), flags, Mode::empty())
            })
            .map_err(io::Error::from),
            None => self.tree.beneath.open_at(&directory.path, flags, Mode::empty()),
        };
        if flags.contains(OFlags::PATH) { open(flags) } else { self.tree.quietly(flags, open) }
    }
}
