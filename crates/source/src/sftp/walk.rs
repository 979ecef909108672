//! The parallel walk of a tree over SFTP.
//!
//! A listing brings the attributes of each name with it, many to an answer, so that no entry costs
//! a question of its own. The unit of work is a directory to list, or a run of the sorted names of
//! a large one to hand out. Order and bounds are the business of [`Ordered`].

use std::{
    io,
    ops::{ControlFlow, Range},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use drover_types::{ExceptionKind, Kind, RelativePath, Timestamp, clock, limits};
use ssh2::{ErrorCode, FileStat, FileType, Sftp};

use super::{Tree, checked_name, convert, shell::Told};
use crate::{
    Enter, ReadError, Scope, SourceError, Walk, WalkEvent, WalkOptions,
    ordered::{Ordered, emit, problem},
};

type Outcome = crate::ordered::Outcome<Work, WalkEvent>;

/// `LIBSSH2_ERROR_FILE`: what ends a listing.
const NO_MORE: i32 = -16;

enum Work {
    List(RelativePath),
    Tell { listing: Arc<Listing>, range: Range<usize> },
}

/// An entry as the server tells it.
enum Seen {
    /// By SFTP.
    Sftp(FileStat),
    /// By its shell, with its sort, where that could be told.
    Shell(Box<Told>, Option<Kind>),
}

/// What is in a directory.
struct Listing {
    directory: RelativePath,
    /// Sorted, each once.
    names: Vec<(Box<[u8]>, Seen)>,
    /// Before the server was asked.
    scanned: Timestamp,
}

/// Starts the workers.
pub(super) fn start(tree: &Arc<Tree>, options: &WalkOptions) -> Result<Walk, SourceError> {
    let shown = || PathBuf::from(tree.pool.options.url.clone());
    let root = RelativePath::root();
    let scanned = clock::now();
    let stat = tree
        .ask(|sftp| sftp.stat(&tree.at(&root)))
        .map_err(|error| SourceError::new(shown(), error))?;
    let stat = convert(&stat, scanned)
        .filter(|stat| stat.kind == Kind::Directory)
        .ok_or_else(|| SourceError::NotADirectory(shown()))?;
    let told = tree
        .ask_shell(|shell| shell.stat(tree.at(&root).as_os_str().as_bytes()))
        .map_err(|error| SourceError::new(shown(), error))?;
    let told = told.flatten().filter(|told| told.kind == Some(Kind::Directory));
    let stat = told.map_or(stat, |told| told.into_stat(Kind::Directory, scanned));
    let mut first = Outcome::new();
    emit(&mut first, WalkEvent::Entry(stat.into_entry(root.clone())));
    first.work(Work::List(root));
    let workers = (0..options.threads.max(1)).map(|_| {
        let (tree, enter) = (Arc::clone(tree), options.enter.clone());
        move |work| run(&tree, enter.as_ref(), work)
    });
    let walk = Ordered::start(first, workers, options.buffer);
    Ok(Walk::new(walk.map_err(|source| SourceError::Io { path: shown(), source })?))
}

fn run(tree: &Tree, enter: Option<&Enter>, work: Work) -> Outcome {
    let mut outcome = Outcome::new();
    match work {
        Work::List(directory) => list(tree, enter, directory, &mut outcome),
        Work::Tell { listing, range } => tell(&listing, range, enter, &mut outcome),
    }
    outcome
}

fn list(tree: &Tree, enter: Option<&Enter>, directory: RelativePath, outcome: &mut Outcome) {
    let taken = directory.as_bytes().len() + usize::from(!directory.is_root());
    let room = limits::PATH.saturating_sub(taken);
    let limits = Limits { names: tree.pool.options.names, room };
    let scanned = clock::now();
    let at = tree.at(&directory);
    // A listing that broke off is begun again: what it had is forgotten.
    let listed = match by_shell(tree, &at, limits) {
        Ok(Some(listed)) => Ok(listed),
        // SFTP says why, or tells what it can.
        Ok(None) | Err(_) => tree.ask(|sftp| read(sftp, &at, limits)).inspect(|listed| {
            if !listed.names.is_empty() {
                tree.by_sftp.fetch_add(1, Ordering::Relaxed);
            }
        }),
    };
    let listed = match listed {
        Ok(listed) => listed,
        Err(error) => {
            return emit(outcome, problem(Scope::Subtree, ReadError::new(&directory, error)));
        }
    };
    if let Some(why) = listed.refused {
        emit(outcome, problem(Scope::Listing, ReadError::other(&directory, why)));
    }
    let listing = Listing { directory, names: listed.names, scanned };
    if listing.names.len() <= WalkOptions::BATCH {
        return tell(&listing, 0..listing.names.len(), enter, outcome);
    }
    let listing = Arc::new(listing);
    for start in (0..listing.names.len()).step_by(WalkOptions::BATCH) {
        let end = listing.names.len().min(start + WalkOptions::BATCH);
        outcome.work(Work::Tell { listing: Arc::clone(&listing), range: start..end });
    }
}

/// What a listing may hold.
#[derive(Clone, Copy)]
struct Limits {
    /// Names.
    names: usize,
    /// Bytes of a name, so that its path is not too long.
    room: usize,
}

/// What a listing gave.
#[derive(Default)]
struct Listed {
    names: Vec<(Box<[u8]>, Seen)>,
    /// Why some names are not there.
    refused: Option<String>,
}

impl Listed {
    /// Adds an entry, if its name is one. Whether there is room for more.
    fn add(&mut self, name: Box<[u8]>, seen: Seen, limits: Limits) -> ControlFlow<()> {
        if self.names.len() == limits.names {
            self.refused = Some(format!("the server lists more than {} names", limits.names));
            return ControlFlow::Break(());
        }
        match checked_name(&name, limits.room) {
            Ok(()) => self.names.push((name, seen)),
            Err(why) => drop(self.refused.get_or_insert(why)),
        }
        ControlFlow::Continue(())
    }

    fn sorted(mut self) -> Self {
        self.names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        self.names.dedup_by(|a, b| a.0 == b.0);
        self
    }
}

/// How often a directory is listed by the shell while entries vanish from it.
const LISTINGS: usize = 3;

/// The listing by the shell. `None` where there is none, and where it did not tell all.
fn by_shell(tree: &Tree, at: &Path, limits: Limits) -> io::Result<Option<Listed>> {
    let path = at.as_os_str().as_bytes();
    let listed = tree.ask_shell(|shell| {
        for _ in 0..LISTINGS {
            let mut listed = Listed::default();
            let mut devices = Vec::new();
            let all = shell.list(path, |told| {
                if told.is_device() {
                    devices.push(listed.names.len());
                }
                let kind = told.kind.clone();
                listed.add(told.name.clone(), Seen::Shell(Box::new(told), kind), limits)
            })?;
            if listed.names.len() == limits.names {
                return Err(io::Error::other("the shell lists too many names"));
            }
            if !all {
                continue;
            }
            for index in devices {
                let Some((name, Seen::Shell(told, kind))) = listed.names.get_mut(index) else {
                    continue;
                };
                let path = [path, b"/", name].concat();
                *kind = shell.device(&path)?.map(|numbers| told.device(numbers));
            }
            return Ok(Some(listed.sorted()));
        }
        Ok(None)
    })?;
    Ok(listed.flatten())
}

/// The listing by SFTP.
fn read(sftp: &Sftp, at: &Path, limits: Limits) -> Result<Listed, ssh2::Error> {
    let mut directory = sftp.opendir(at)?;
    let mut listed = Listed::default();
    loop {
        let (name, stat) = match directory.readdir() {
            Ok(next) => next,
            // libssh2 says of an empty name that it is the end. After the end there is nothing.
            Err(error) if error.code() == ErrorCode::Session(NO_MORE) => {
                let Ok(next) = directory.readdir() else { break };
                listed.refused.get_or_insert_with(|| "the server lists an empty name".to_owned());
                next
            }
            Err(error) => return Err(error),
        };
        let name = name.into_os_string().into_vec();
        if name == b"." || name == b".." {
            continue;
        }
        if listed.add(name.into_boxed_slice(), Seen::Sftp(stat), limits).is_break() {
            break;
        }
    }
    Ok(listed.sorted())
}

fn tell(listing: &Listing, range: Range<usize>, enter: Option<&Enter>, outcome: &mut Outcome) {
    for (name, seen) in &listing.names[range] {
        let Ok(path) = listing.directory.join(name) else { continue };
        let stat = match seen {
            Seen::Sftp(raw) => convert(raw, listing.scanned).ok_or_else(|| untold(raw, &path)),
            Seen::Shell(told, Some(kind)) => {
                Ok(told.as_ref().clone().into_stat(kind.clone(), listing.scanned))
            }
            Seen::Shell(told, None) if told.is_device() => Err((
                Scope::Entry,
                ReadError::other(&path, "the numbers of the device are not told"),
            )),
            Seen::Shell(..) => Err(strange(&path)),
        };
        let stat = match stat {
            Ok(stat) => stat,
            Err((scope, error)) => {
                emit(outcome, problem(scope, error));
                continue;
            }
        };
        let entry = stat.into_entry(path.clone());
        let below = entry.kind == Kind::Directory && enter.is_none_or(|enter| enter.enters(&entry));
        emit(outcome, WalkEvent::Entry(entry));
        if below {
            outcome.work(Work::List(path));
        }
    }
}

/// Why there is no entry, and how much is unknown then.
fn untold(raw: &FileStat, path: &RelativePath) -> (Scope, ReadError) {
    match raw.file_type() {
        FileType::CharDevice | FileType::BlockDevice => {
            let error = ReadError::other(path, "SFTP does not tell the numbers of a device");
            (Scope::Entry, ReadError { kind: ExceptionKind::Unsupported, ..error })
        }
        _ => strange(path),
    }
}

/// Nobody knows its sort: it may well be a directory.
fn strange(path: &RelativePath) -> (Scope, ReadError) {
    (Scope::Subtree, ReadError::other(path, "the server does not tell what it is"))
}
