//! The parallel walk of a tree over SFTP.
//!
//! A listing brings the attributes of each name with it, many to an answer, and a thread asks for
//! several listings at once, so that neither an entry nor a directory costs a round trip of its own.
//! The unit of work is a directory to list, or a run of the sorted names of a large one to hand out.
//! Order and bounds are the business of [`Ordered`].

use std::{
    collections::VecDeque,
    io,
    ops::{ControlFlow, Range},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use drover_types::{ExceptionKind, Kind, RelativePath, Timestamp, clock};

use super::{
    Tree,
    answers::Told,
    checked_name,
    client::{Failure, Sftp, Ticket, nonsense},
    convert,
    packet::{FileAttributes, Name, Request},
    shell::Shell,
};
use crate::{
    Enter, ReadError, Scope, SourceError, Walk, WalkEvent, WalkOptions,
    ordered::Ordered,
    walk::{emit, problem},
};

type Outcome = crate::ordered::Outcome<Work, WalkEvent>;

/// The longest path that a server is asked about, in bytes: none has longer ones.
const PATH: usize = 64 << 10;
/// How many directories a thread lists at a time.
const DIRECTORIES: usize = 16;
/// More names of several directories are not held at a time: what is left is listed one by one.
const NAMES: usize = 50_000;
/// How many answers of a listing are asked for at first, and later, at a time.
const ANSWERS: [usize; 2] = [3, 16];

enum Work {
    List(RelativePath),
    Tell { listing: Arc<Listing>, range: Range<usize> },
}

/// An entry as the server tells it.
enum Seen {
    /// By SFTP.
    Sftp(FileAttributes),
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
    let stat = tree.root().map_err(|error| SourceError::new(shown(), error))?;
    let stat = convert(&stat, scanned)
        .filter(|stat| stat.kind == Kind::Directory)
        .ok_or_else(|| SourceError::NotADirectory(shown()))?;
    let told = tree
        .ask_shell(|shell| shell.stat(&tree.at(&root)))
        .map_err(|error| SourceError::new(shown(), error))?;
    let told = told.flatten().filter(|told| told.kind == Some(Kind::Directory));
    let stat = told.map_or(stat, |told| told.into_stat(Kind::Directory, scanned));
    let mut first = Outcome::new();
    emit(&mut first, WalkEvent::Entry(stat.into_entry(root.clone())));
    first.work(Work::List(root));
    let workers = (0..options.threads.max(1)).map(|_| {
        let (tree, enter) = (Arc::clone(tree), options.enter.clone());
        move |works| run(&tree, enter.as_ref(), works)
    });
    let walk = Ordered::start_with(first, workers, options.buffer, DIRECTORIES);
    Ok(Walk::new(walk.map_err(|source| SourceError::Io { path: shown(), source })?))
}

fn run(tree: &Tree, enter: Option<&Enter>, works: Vec<Work>) -> Vec<Outcome> {
    let directories: Vec<_> = works
        .iter()
        .filter_map(|work| match work {
            Work::List(path) => Some(Directory::new(tree, path)),
            Work::Tell { .. } => None,
        })
        .collect();
    let scanned = clock::now();
    let several = match directories.len() {
        0 | 1 => directories.iter().map(|_| None).collect(),
        _ => several(tree, &directories),
    };
    let mut listings = directories.into_iter().zip(several);
    let run = |work: &Work| {
        let mut outcome = Outcome::new();
        match work {
            Work::Tell { listing, range } => tell(listing, range.clone(), enter, &mut outcome),
            Work::List(_) => {
                let Some((directory, listed)) = listings.next() else { return outcome };
                let (listed, scanned) = match listed {
                    Some(listed) => (Ok(listed), scanned),
                    None => {
                        let scanned = clock::now();
                        (one(tree, &directory), scanned)
                    }
                };
                list(directory.path.clone(), listed, scanned, enter, &mut outcome);
            }
        }
        outcome
    };
    works.iter().map(run).collect()
}

/// A directory to list.
struct Directory<'w> {
    path: &'w RelativePath,
    /// On the server.
    at: Vec<u8>,
    limits: Limits,
}

impl<'w> Directory<'w> {
    fn new(tree: &Tree, path: &'w RelativePath) -> Self {
        let taken = path.as_bytes().len() + usize::from(!path.is_root());
        let room = PATH.saturating_sub(taken);
        let limits = Limits { names: tree.pool.options.names, room };
        Self { path, at: tree.at(path), limits }
    }
}

/// Lists several directories in a few round trips; `None` of one that is to be listed alone, which
/// tries again where a connection breaks, and says what is wrong.
fn several(tree: &Tree, directories: &[Directory<'_>]) -> Vec<Option<Listed>> {
    let none = || directories.iter().map(|_| None).collect();
    let Ok(mut lease) = tree.pool.take() else { return none() };
    let listed = match (tree.pool.tells(), lease.both()) {
        (Some(_), (_, Some(shell))) => several_by_shell(shell, directories).ok(),
        (Some(_), (_, None)) => return none(),
        (None, (sftp, _)) => read(sftp, directories, NAMES)
            .ok()
            .map(|listed| listed.into_iter().map(|listed| listed.ok().flatten()).collect()),
    };
    listed.unwrap_or_else(|| {
        lease.give_up();
        none()
    })
}

fn several_by_shell(
    shell: &mut Shell,
    directories: &[Directory<'_>],
) -> io::Result<Vec<Option<Listed>>> {
    if let Some(listed) = together(shell, directories)? {
        return Ok(listed);
    }
    for directory in directories {
        shell.ask_list(&directory.at)?;
    }
    let (mut all, mut total) = (Vec::new(), 0);
    for Directory { limits, .. } in directories {
        let mut listed = Some(Listed::default());
        let whole = shell.listed(|told| add(&mut listed, told, &mut total, *limits))?;
        if total > limits.names {
            return Err(io::Error::other("the shell lists too many names"));
        }
        all.push(listed.filter(|_| whole).map(Listed::sorted));
    }
    Ok(all)
}

/// By one command for all of them. `None` where it did not see all of one of them: which, it does not tell.
fn together(
    shell: &mut Shell,
    directories: &[Directory<'_>],
) -> io::Result<Option<Vec<Option<Listed>>>> {
    let paths: Vec<&[u8]> = directories.iter().map(|directory| &*directory.at).collect();
    if paths.iter().map(|path| path.len()).sum::<usize>() > PATH {
        return Ok(None);
    }
    shell.ask_lists(&paths)?;
    let (mut all, mut total, mut fits) = (Vec::new(), 0, true);
    let whole = shell.listed(|told| {
        if *told.name == *b"." {
            all.push(Some(Listed::default()));
            return ControlFlow::Continue(());
        }
        let at = all.len().checked_sub(1);
        let directory = at.and_then(|at| Some((all.last_mut()?, directories.get(at)?.limits)));
        let Some((listed, limits)) = directory else {
            fits = false;
            return ControlFlow::Break(());
        };
        add(listed, told, &mut total, limits)
    })?;
    if !fits || directories.iter().any(|directory| total > directory.limits.names) {
        return Err(io::Error::other("the shell lists too many names"));
    }
    let listed = |listed: Option<Listed>| listed.map(Listed::sorted);
    let whole = whole && all.len() == directories.len();
    Ok(whole.then(|| all.into_iter().map(listed).collect()))
}

/// Adds what a shell tells of one of several directories, and forgets a listing that is to be had alone.
fn add(
    listed: &mut Option<Listed>,
    told: Told,
    total: &mut usize,
    limits: Limits,
) -> ControlFlow<()> {
    *total += 1;
    // The numbers of devices are asked for apart.
    if *total > NAMES || told.is_device() {
        *listed = None;
    }
    match listed {
        Some(listed) => {
            let (name, kind) = (told.name.clone(), told.kind.clone());
            listed.add(name, Seen::Shell(Box::new(told), kind), limits)
        }
        None if *total > limits.names => ControlFlow::Break(()),
        None => ControlFlow::Continue(()),
    }
}

/// Lists a directory.
fn one(tree: &Tree, directory: &Directory<'_>) -> io::Result<Listed> {
    // A listing that broke off is begun again: what it had is forgotten.
    if let Ok(Some(listed)) = by_shell(tree, directory) {
        return Ok(listed);
    }
    // SFTP says why, or tells what it can.
    let listed = tree.ask(|sftp| {
        let mut all = read(sftp, std::slice::from_ref(directory), usize::MAX)?;
        all.pop().ok_or_else(nonsense)?
    })?;
    let listed = listed.unwrap_or_default();
    if !listed.names.is_empty() {
        tree.by_sftp.fetch_add(1, Ordering::Relaxed);
    }
    Ok(listed)
}

fn list(
    directory: RelativePath,
    listed: io::Result<Listed>,
    scanned: Timestamp,
    enter: Option<&Enter>,
    outcome: &mut Outcome,
) {
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
fn by_shell(tree: &Tree, directory: &Directory<'_>) -> io::Result<Option<Listed>> {
    let Directory { at, limits, .. } = directory;
    let listed = tree.ask_shell(|shell| {
        for _ in 0..LISTINGS {
            let mut listed = Listed::default();
            let mut devices = Vec::new();
            shell.ask_list(at)?;
            let all = shell.listed(|told| {
                if told.is_device() {
                    devices.push(listed.names.len());
                }
                let kind = told.kind.clone();
                listed.add(told.name.clone(), Seen::Shell(Box::new(told), kind), *limits)
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
                let path = [at, &b"/"[..], name].concat();
                *kind = shell.device(&path)?.map(|numbers| told.device(numbers));
            }
            return Ok(Some(listed.sorted()));
        }
        Ok(None)
    })?;
    Ok(listed.flatten())
}

/// Listings by SFTP: of each directory what the server says of it, or nothing once all of them hold
/// more than `most` names.
fn read(
    sftp: &mut Sftp,
    directories: &[Directory<'_>],
    most: usize,
) -> Result<Vec<Result<Option<Listed>, Failure>>, Failure> {
    let asked: Vec<_> =
        directories.iter().map(|directory| sftp.ask(Request::OpenDir(&directory.at))).collect();
    let mut opened = Vec::new();
    for ticket in asked {
        let handle = whole(sftp.handle(ticket))?;
        opened.push(handle.map(|handle| {
            let ask = |_| sftp.ask(Request::ReadDir(&handle));
            let answers: VecDeque<_> = (0..ANSWERS[0]).map(ask).collect();
            (handle, answers)
        }));
    }
    let (mut all, mut room) = (Vec::new(), most);
    for (Directory { limits, .. }, opened) in directories.iter().zip(opened) {
        let (handle, mut answers) = match opened {
            Ok(opened) => opened,
            Err(failure) => {
                all.push(Err(failure));
                continue;
            }
        };
        let names_here = limits.names.min(room);
        let limited = Limits { names: names_here, ..*limits };
        let listed = whole(names(sftp, &handle, &mut answers, limited))?;
        answers.into_iter().for_each(|ticket| sftp.forget(ticket));
        sftp.close(&handle);
        all.push(listed.map(|listed| {
            room -= listed.names.len();
            let cut_short = names_here < limits.names && listed.names.len() == names_here;
            (!cut_short).then(|| listed.sorted())
        }));
    }
    Ok(all)
}

/// The names of an open directory; of some of it `answers` are under way.
fn names(
    sftp: &mut Sftp,
    handle: &[u8],
    answers: &mut VecDeque<Ticket>,
    limits: Limits,
) -> Result<Listed, Failure> {
    let (mut listed, mut came) = (Listed::default(), 0);
    while let Some(ticket) = answers.pop_front() {
        let Some(names) = sftp.names(ticket)? else { break };
        came += 1;
        // The longer it is, the more is asked for ahead.
        while answers.len() < (1 + came).min(ANSWERS[1]) {
            answers.push_back(sftp.ask(Request::ReadDir(handle)));
        }
        for Name { name, attributes } in names {
            if name == b"." || name == b".." {
                continue;
            }
            if listed.add(name.into_boxed_slice(), Seen::Sftp(attributes), limits).is_break() {
                return Ok(listed);
            }
        }
    }
    Ok(listed)
}

/// An answer about an entry; the error is one of the connection.
fn whole<T>(answer: Result<T, Failure>) -> Result<Result<T, Failure>, Failure> {
    match answer {
        Err(failure @ Failure::Broken(_)) => Err(failure),
        answer => Ok(answer),
    }
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
fn untold(raw: &FileAttributes, path: &RelativePath) -> (Scope, ReadError) {
    match raw.sort() {
        0o020_000 | 0o060_000 => {
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
