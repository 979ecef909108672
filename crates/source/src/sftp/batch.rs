//! Batches of files, each fetched in a few round trips.
//!
//! ```text
//! ── open …, read link … ── find (all) ─►     what the shell tells before
//! ── fstat, read …, fstat of each file ─►     in this order, by the protocol: as one at a time
//! ── getfattr (all), find (all) ───────►      what it tells after; handles are closed beside it
//! ```
//!
//! Of who wants only places of a file the shell is asked nothing, since nothing else is told of it.
//!
//! What holds for a file that is read alone holds here: it is what it was before it was read, what its
//! name leads to is what is open, and attributes are asked for in between. Whatever is not as plain as
//! that is left to be read alone, which tries again and says why: a file that changed, or is larger than
//! the walk saw it, that cannot be opened, or whose connection broke twice.

use std::{collections::VecDeque, io, ops::Range, slice, sync::Arc};

use drover_types::{Entry, Kind, RelativePath, Timestamp, Xattr, clock, limits};

use super::{
    Tree,
    answers::Told,
    client::{AHEAD, BLOCK, Failure, Sftp, Ticket},
    convert,
    packet::{FILE, FileAttributes, Request},
    pool::Lease,
    says_the_same,
};
use crate::{
    Stat,
    taker::{Piece, TakeError, Taken, Taker, Wish},
};

/// At most so many files are open at a time; servers allow a hundred and more.
const FILES: usize = 64;
/// Bytes of paths in one question.
const PATHS: usize = 64 << 10;
/// How often a batch is begun.
const TRIES: usize = 2;

/// Fetches what was announced, a part of it at a time.
pub(super) struct Batches {
    tree: Arc<Tree>,
    /// Announced and not fetched yet.
    wishes: VecDeque<Wish>,
    /// Fetched and not taken yet; nothing where it is to be read alone.
    fetched: VecDeque<(RelativePath, Option<Fetched>)>,
    /// What is left to give of the file that was begun.
    pieces: VecDeque<Piece>,
}

/// What came of an entry.
enum Fetched {
    File { bytes: Vec<u8>, stat: Box<Stat> },
    Rest { target: Option<Vec<u8>>, xattrs: Option<Vec<Xattr>> },
    Parts(Vec<Vec<u8>>),
}

impl Batches {
    pub(super) fn new(tree: &Arc<Tree>) -> Self {
        let (wishes, fetched, pieces) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        Self { tree: Arc::clone(tree), wishes, fetched, pieces }
    }

    fn next(&mut self, path: &RelativePath) -> Result<Option<Fetched>, TakeError> {
        if self.fetched.is_empty() {
            self.fetch();
        }
        match self.fetched.pop_front() {
            Some((fetched, what)) if fetched == *path => Ok(what),
            _ => Err(TakeError::Broken("it was not announced in this order".into())),
        }
    }

    fn fetch(&mut self) {
        let (mut items, mut bytes, mut text): (Vec<Item>, _, _) = (Vec::new(), 0, 0);
        while let Some(wish) = self.wishes.front() {
            let size = match wish {
                Wish::File { size, .. } => *size,
                Wish::Rest(..) => 0,
                Wish::Parts(_, parts) => parts.iter().map(|part| part.end - part.start).sum(),
            };
            let alone = size > AHEAD as u64;
            let more = if alone { 0 } else { size as usize };
            let path = wish.path();
            let at = self.tree.at(path);
            let full = items.len() == FILES || bytes + more > AHEAD || text + at.len() > PATHS;
            if full && !items.is_empty() {
                break;
            }
            (bytes, text) = (bytes + more, text + at.len());
            let what = match wish {
                Wish::File { .. } | Wish::Parts(..) if alone => What::Alone,
                Wish::File { .. } => What::File(size),
                Wish::Parts(_, parts) => What::Parts(parts.clone()),
                Wish::Rest(_, Kind::Symlink { .. }) => What::Link,
                Wish::Rest(..) => What::Other,
            };
            items.push(Item { path: path.clone(), at, what });
            self.wishes.pop_front();
        }
        let mut found = None;
        for _ in 0..TRIES {
            let Ok(mut lease) = self.tree.pool.take() else { break };
            match fetch(&mut lease, &items, self.tree.pool.tells().is_some()) {
                Ok(answer) => {
                    found = Some(answer);
                    break;
                }
                Err(_) => lease.give_up(),
            }
        }
        let found = found.unwrap_or_else(|| items.iter().map(|_| None).collect());
        self.fetched.extend(items.into_iter().map(|item| item.path).zip(found));
    }
}

impl Taker for Batches {
    fn announce(&mut self, wishes: &[Wish]) -> Result<(), TakeError> {
        self.wishes.extend(wishes.iter().cloned());
        Ok(())
    }

    fn begin(&mut self, path: &RelativePath) -> Result<(), TakeError> {
        self.pieces = match self.next(path)? {
            Some(Fetched::File { bytes, stat }) => {
                let taken = Taken { size: bytes.len() as u64, hash: None, stat: *stat };
                [Piece::Whole(bytes), Piece::End(Box::new(taken))].into()
            }
            _ => [Piece::Alone].into(),
        };
        Ok(())
    }

    fn piece(&mut self) -> Result<Piece, TakeError> {
        self.pieces.pop_front().ok_or_else(|| TakeError::Broken("no file was begun".into()))
    }

    fn want(&mut self, _: &[bool]) -> Result<(), TakeError> {
        Err(TakeError::Broken("nothing is cut over SFTP".into()))
    }

    fn chunk(&mut self, _: u32, _: &mut Vec<u8>) -> Result<(), TakeError> {
        Err(TakeError::Broken("nothing is cut over SFTP".into()))
    }

    fn complete(&mut self, entry: &mut Entry) -> Result<(), TakeError> {
        let Some(Fetched::Rest { target, xattrs }) = self.next(&entry.path)? else {
            return Ok(self.tree.complete(entry)?);
        };
        if let (Kind::Symlink { target }, Some(found)) = (&mut entry.kind, target) {
            *target = found.into_boxed_slice();
        }
        if let Some(xattrs) = xattrs {
            entry.attributes.xattrs = xattrs;
        }
        Ok(())
    }

    fn parts(&mut self, path: &RelativePath) -> Result<Option<Vec<Vec<u8>>>, TakeError> {
        Ok(match self.next(path)? {
            Some(Fetched::Parts(parts)) => Some(parts),
            _ => None,
        })
    }
}

/// Something to fetch.
struct Item {
    path: RelativePath,
    /// On the server.
    at: Vec<u8>,
    what: What,
}

impl Item {
    fn is_file(&self) -> bool {
        matches!(self.what, What::File(_))
    }

    /// Whether extended attributes are asked for: of a file only if it was `read`.
    fn asks_xattrs(&self, read: Option<&Read>) -> bool {
        match self.what {
            What::File(_) => read.is_some(),
            What::Parts(_) | What::Alone => false,
            What::Link | What::Other => true,
        }
    }
}

enum What {
    /// A file of this many bytes, as the walk saw it.
    File(u64),
    /// Places of a file.
    Parts(Vec<Range<u64>>),
    /// More than comes at a time.
    Alone,
    Link,
    Other,
}

/// What a file was before and after it was read, and what was read.
struct Read {
    before: FileAttributes,
    parts: Vec<Vec<u8>>,
    after: FileAttributes,
}

/// What the shell tells of each item.
#[derive(Default)]
struct Shown {
    before: Vec<Option<Told>>,
    after: Vec<Option<Told>>,
    /// `None` where they cannot all be read.
    xattrs: Option<Vec<Vec<Xattr>>>,
}

/// What came of the items. An error is one of the connection.
fn fetch(lease: &mut Lease, items: &[Item], by_shell: bool) -> io::Result<Vec<Option<Fetched>>> {
    let (sftp, shell) = lease.both();
    let mut shell = match (shell, by_shell) {
        (None, true) => return Ok(items.iter().map(|_| None).collect()),
        (shell, _) => shell,
    };
    let asks_xattrs = shell.as_ref().is_some_and(|shell| shell.tells.xattrs);
    let files: Vec<&[u8]> =
        items.iter().filter(|item| item.is_file()).map(|item| &*item.at).collect();
    let mut shown = Shown::default();

    let begun = clock::now();
    let first: Vec<_> = items
        .iter()
        .map(|item| match item.what {
            What::File(_) | What::Parts(_) => Some(sftp.ask(Request::Open(&item.at))),
            What::Link => Some(sftp.ask(Request::ReadLink(&item.at))),
            What::Alone | What::Other => None,
        })
        .collect();
    sftp.flush()?;
    if let Some(shell) = &mut shell
        && !files.is_empty()
    {
        shell.ask_stats(&files)?;
        shown.before = shell.stats(&files)?;
    }
    let (mut handles, mut targets) = (Vec::new(), Vec::new());
    for (item, ticket) in items.iter().zip(first) {
        let (mut handle, mut target) = (None, None);
        match (ticket, &item.what) {
            (Some(ticket), What::Link) => target = plain(sftp.name(ticket))?,
            (Some(ticket), _) => handle = plain(sftp.handle(ticket))?,
            (None, _) => {}
        }
        handles.push(handle);
        targets.push(target);
    }

    let read = clock::now();
    let asked: Vec<_> = items
        .iter()
        .zip(&handles)
        .map(|(item, handle)| match (&item.what, handle) {
            (What::File(size), Some(handle)) => {
                Some(Asked::new(sftp, handle, slice::from_ref(&(0..*size))))
            }
            (What::Parts(parts), Some(handle)) => Some(Asked::new(sftp, handle, parts)),
            _ => None,
        })
        .collect();
    let mut reads = Vec::new();
    for (asked, item) in asked.into_iter().zip(items) {
        reads.push(match asked {
            Some(asked) => asked.take(sftp)?.filter(|read| match item.what {
                What::File(size) => read.before.size == Some(size),
                _ => true,
            }),
            None => None,
        });
    }

    handles.iter().flatten().for_each(|handle| sftp.close(handle));
    sftp.flush()?;
    let ended = clock::now();
    let all: Vec<&[u8]> = items
        .iter()
        .zip(&reads)
        .filter(|(item, read)| item.asks_xattrs(read.as_ref()))
        .map(|(item, _)| &*item.at)
        .collect();
    if let Some(shell) = &mut shell {
        // Asked at once: the shell does one after the other.
        if asks_xattrs && !all.is_empty() {
            shell.ask_all_xattrs(&all)?;
        }
        if !files.is_empty() {
            shell.ask_stats(&files)?;
        }
        if asks_xattrs && !all.is_empty() {
            shown.xattrs = shell.all_xattrs(&all)?;
        }
        if !files.is_empty() {
            shown.after = shell.stats(&files)?;
        }
    }

    let (mut before, mut after) = (shown.before.into_iter(), shown.after.into_iter());
    let mut xattrs = shown.xattrs.map(Vec::into_iter);
    let mut found = Vec::new();
    for ((item, read_of), target) in items.iter().zip(reads).zip(targets) {
        let told = if item.is_file() { (before.next(), after.next()) } else { (None, None) };
        let asked = item.asks_xattrs(read_of.as_ref());
        let attributes = match &mut xattrs {
            Some(xattrs) if asked => xattrs.next(),
            _ => None,
        };
        if asks_xattrs && asked && attributes.is_none() {
            found.push(None);
            continue;
        }
        found.push(match (&item.what, read_of) {
            (What::Parts(_), Some(read_of)) => Some(Fetched::Parts(read_of.parts)),
            (What::File(_), Some(mut read_of)) => {
                let stat = match told {
                    (Some(before), Some(after)) if shell.is_some() => {
                        strong(before, after, &read_of, begun, ended)
                    }
                    _ if shell.is_some() => None,
                    _ => weak(&read_of, read),
                };
                stat.map(|mut stat| {
                    stat.attributes.xattrs = attributes.unwrap_or_default();
                    let bytes = read_of.parts.pop().unwrap_or_default();
                    Fetched::File { bytes, stat: Box::new(stat) }
                })
            }
            (What::Link, _) => target
                .filter(|target| target.len() <= limits::SYMLINK)
                .map(|target| Fetched::Rest { target: Some(target), xattrs: attributes }),
            (What::Other, _) => Some(Fetched::Rest { target: None, xattrs: attributes }),
            (What::File(_) | What::Parts(_) | What::Alone, _) => None,
        });
    }
    Ok(found)
}

/// The answer, where there is one to what was asked.
fn plain<T>(answer: Result<T, Failure>) -> io::Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Failure::Status { .. }) => Ok(None),
        Err(Failure::Broken(error)) => Err(error),
    }
}

/// What was asked of an open file.
struct Asked {
    before: Ticket,
    parts: Vec<Part>,
    after: Ticket,
}

/// A place of a file, and its blocks under way with the bytes that each asks for.
struct Part {
    place: Range<u64>,
    blocks: Vec<(Ticket, usize)>,
}

impl Asked {
    fn new(sftp: &mut Sftp, handle: &[u8], places: &[Range<u64>]) -> Self {
        let before = sftp.ask(Request::Fstat(handle));
        let mut part = |place: &Range<u64>| {
            let blocks = place.clone().step_by(BLOCK).map(|offset| {
                let len = (place.end - offset).min(BLOCK as u64) as usize;
                (sftp.ask(Request::Read { handle, offset, len: len as u32 }), len)
            });
            Part { blocks: blocks.collect(), place: place.clone() }
        };
        let parts = places.iter().map(&mut part).collect();
        Self { before, parts, after: sftp.ask(Request::Fstat(handle)) }
    }

    /// Waits for all; `None` where it is no regular file, or does not hold what is within its size.
    fn take(self, sftp: &mut Sftp) -> io::Result<Option<Read>> {
        let before = plain(sftp.attributes(self.before))?;
        let size = before.filter(|before| before.sort() == FILE).and_then(|before| before.size);
        let (mut parts, mut whole) = (Vec::new(), true);
        for Part { place, blocks } in self.parts {
            let mut bytes = Vec::new();
            let mut ended = false;
            for (ticket, len) in blocks {
                match plain(sftp.data(ticket, len))? {
                    Some(Some(data)) => {
                        // Bytes after the end are none of this file.
                        whole &= !ended;
                        ended = data.len() < len;
                        bytes.extend_from_slice(&data);
                    }
                    Some(None) => ended = true,
                    None => whole = false,
                }
            }
            let there = place.end.min(size.unwrap_or(0)).saturating_sub(place.start);
            whole &= bytes.len() as u64 == there;
            parts.push(bytes);
        }
        let after = plain(sftp.attributes(self.after))?;
        Ok(match (before, after) {
            (Some(before), Some(after)) if whole && size.is_some() => {
                Some(Read { before, parts, after })
            }
            _ => None,
        })
    }
}

/// What the file is by the shell, if it was the same all the while, and is the one that was read.
fn strong(
    before: Option<Told>,
    after: Option<Told>,
    read: &Read,
    begun: Timestamp,
    ended: Timestamp,
) -> Option<Stat> {
    let file = |told: Option<Told>, scanned, weak| {
        let told = told.filter(|told| told.kind == Some(Kind::File))?;
        let stat = told.into_stat(Kind::File, scanned);
        says_the_same(&stat, weak).then_some(stat)
    };
    let after = file(after, ended, &read.after)?;
    file(before, begun, &read.before)?.rested(after)
}

/// The same by SFTP alone.
fn weak(read: &Read, scanned: Timestamp) -> Option<Stat> {
    let file = |weak| convert(weak, scanned).filter(|stat| stat.kind == Kind::File);
    file(&read.before)?.rested(file(&read.after)?)
}
