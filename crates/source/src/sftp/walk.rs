//! The parallel walk of a tree over SFTP.
//!
//! A listing brings the attributes of each name with it, many to an answer, so that no entry costs
//! a question of its own. The unit of work is a directory to list, or a run of the sorted names of
//! a large one to hand out. Order and bounds are the business of [`Ordered`].

use std::{
    ops::Range,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use drover_types::{ExceptionKind, Kind, RelativePath, Timestamp, clock, limits};
use ssh2::{ErrorCode, FileStat, FileType, Sftp};

use super::{Tree, checked_name, convert};
use crate::{
    Enter, ReadError, Scope, SourceError, Walk, WalkEvent, WalkOptions,
    ordered::{Ordered, emit, problem},
};

type Outcome = crate::ordered::Outcome<Work, WalkEvent>;

/// More names in one directory are no directory of files, but a server that makes them up.
const MOST_NAMES: usize = 4_000_000;
/// `LIBSSH2_ERROR_FILE`: what ends a listing.
const NO_MORE: i32 = -16;

enum Work {
    List(RelativePath),
    Tell { listing: Arc<Listing>, range: Range<usize> },
}

/// What is in a directory.
struct Listing {
    directory: RelativePath,
    /// Sorted, each once.
    names: Vec<(Box<[u8]>, FileStat)>,
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
    let scanned = clock::now();
    let at = tree.at(&directory);
    // A listing that broke off is begun again: what it had is forgotten.
    let listed = match tree.ask(|sftp| read(sftp, &at, room)) {
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

/// What a listing gave.
struct Listed {
    names: Vec<(Box<[u8]>, FileStat)>,
    /// Why some names are not there.
    refused: Option<String>,
}

fn read(sftp: &Sftp, at: &Path, room: usize) -> Result<Listed, ssh2::Error> {
    let mut directory = sftp.opendir(at)?;
    let mut listed = Listed { names: Vec::new(), refused: None };
    loop {
        let (name, stat) = match directory.readdir() {
            Ok(next) => next,
            Err(error) if error.code() == ErrorCode::Session(NO_MORE) => break,
            Err(error) => return Err(error),
        };
        let name = name.into_os_string().into_vec();
        if name == b"." || name == b".." {
            continue;
        }
        if listed.names.len() == MOST_NAMES {
            listed.refused = Some(format!("the server lists more than {MOST_NAMES} names"));
            break;
        }
        match checked_name(&name, room) {
            Ok(()) => listed.names.push((name.into_boxed_slice(), stat)),
            Err(why) => drop(listed.refused.get_or_insert(why)),
        }
    }
    listed.names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    listed.names.dedup_by(|a, b| a.0 == b.0);
    Ok(listed)
}

fn tell(listing: &Listing, range: Range<usize>, enter: Option<&Enter>, outcome: &mut Outcome) {
    for (name, raw) in &listing.names[range] {
        let Ok(path) = listing.directory.join(name) else { continue };
        let Some(stat) = convert(raw, listing.scanned) else {
            let (scope, error) = untold(raw, &path);
            emit(outcome, problem(scope, error));
            continue;
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
        // It may well be a directory.
        _ => (Scope::Subtree, ReadError::other(path, "the server does not tell what it is")),
    }
}
