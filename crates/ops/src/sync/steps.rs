//! The merge of a walk with the last manifest: what is to be done for each entry.
//!
//! **Only what is absent below a directory that was listed to its end is a removal.** Whatever
//! else goes wrong keeps the previous leaf, flagged stale, and puts the entry on the list of
//! exceptions.

use std::iter::Peekable;

use drover_crypt::domain::DomainKeys;
use drover_repo::state::{StateError, TapeReader, TapeRecord};
use drover_source::{Scope, Walk, WalkEvent};
use drover_types::{
    Basis, Counter, Entry, Exception, ExceptionKind, Kind, Observer, RelativePath, Total,
};

use super::dedup::Dedup;
use crate::{
    Error,
    compare::FirstNames,
    merge::{Merge, Merged, Ordered, merge},
};

/// What is to be done for one entry.
pub(crate) enum Step {
    /// Unchanged: the record of the last manifest stands.
    Keep(Box<TapeRecord>),
    /// An earlier, unfinished run of this pass has it.
    Take { record: Box<TapeRecord>, parent: Option<Box<TapeRecord>> },
    /// A regular file to be read.
    Read { entry: Box<Entry>, parent: Option<Box<TapeRecord>> },
    /// Anything else that is new or changed.
    Complete { entry: Box<Entry>, parent: Option<Box<TapeRecord>> },
    /// Content and extended attributes are unchanged; owners' names or the first name of a hard
    /// link are not.
    Refresh { entry: Box<Entry>, parent: Box<TapeRecord> },
    /// A further name of the file that `entry.hard_link` names.
    Link { entry: Box<Entry>, parent: Option<Box<TapeRecord>> },
    /// Could not be taken; the previous leaf is carried over.
    Stale { record: Box<TapeRecord>, exception: Option<Exception> },
    /// Could not be taken, and no leaf is carried over: there is none, or the entry is gone.
    Lost {
        exception: Exception,
        /// The last manifest had it.
        removed: bool,
    },
    /// Gone from the source.
    Removed,
}

impl Step {
    /// The bytes that [`Counter::Bytes`] grew by for this step.
    pub(crate) fn size(&self) -> u64 {
        let entry = match self {
            Step::Keep(record) | Step::Take { record, .. } => &record.entry,
            Step::Read { entry, .. }
            | Step::Complete { entry, .. }
            | Step::Refresh { entry, .. }
            | Step::Link { entry, .. } => entry,
            Step::Stale { .. } | Step::Lost { .. } | Step::Removed => return 0,
        };
        if entry.kind == Kind::File { entry.evidence.size } else { 0 }
    }
}

impl Ordered for WalkEvent {
    fn path(&self) -> &RelativePath {
        match self {
            WalkEvent::Entry(entry) => &entry.path,
            WalkEvent::Problem { path, .. } => path,
        }
    }
}

impl Ordered for TapeRecord {
    fn path(&self) -> &RelativePath {
        &self.entry.path
    }
}

/// A tape as a stream.
pub(crate) struct Tape<'k> {
    reader: Option<TapeReader>,
    keys: &'k DomainKeys,
    /// Told where the tape is cut; a checkpoint may be.
    observer: Option<&'k dyn Observer>,
}

impl<'k> Tape<'k> {
    pub(crate) fn new(reader: Option<TapeReader>, keys: &'k DomainKeys) -> Self {
        Self { reader, keys, observer: None }
    }

    /// The last manifest, which was whole when it was put there.
    pub(crate) fn parent(
        reader: Option<TapeReader>,
        keys: &'k DomainKeys,
        observer: &'k dyn Observer,
    ) -> Self {
        Self { reader, keys, observer: Some(observer) }
    }
}

impl Iterator for Tape<'_> {
    type Item = Result<TapeRecord, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader.as_mut()?;
        let next = reader.next(self.keys).map_err(|e| StateError::from(e).into()).transpose();
        if next.is_none()
            && !reader.is_whole()
            && let Some(observer) = self.observer.take()
        {
            observer.warning("the last manifest of this source is cut off in the state: every file after that place is read again");
        }
        next
    }
}

/// What unfinished runs of this pass left, newest first; each reaches from the beginning to
/// where that run came.
pub(crate) struct Checkpoints<'k>(Vec<Peekable<Tape<'k>>>);

impl<'k> Checkpoints<'k> {
    pub(crate) fn new(tapes: impl Iterator<Item = Tape<'k>>) -> Self {
        Self(tapes.map(Iterator::peekable).collect())
    }

    /// The newest record of `path`. Paths are asked for in order.
    fn at(&mut self, path: &RelativePath) -> Option<TapeRecord> {
        let mut found = None;
        for tape in &mut self.0 {
            while tape.peek().is_some_and(|r| r.as_ref().is_ok_and(|r| r.entry.path < *path)) {
                tape.next();
            }
            if let Some(Ok(record)) =
                tape.next_if(|r| r.as_ref().is_ok_and(|r| r.entry.path == *path))
            {
                found.get_or_insert(record);
            }
        }
        found
    }
}

type Events = std::iter::Map<Walk, fn(WalkEvent) -> Result<WalkEvent, Error>>;

/// The steps of a pass, in the order of the entries.
pub(crate) struct Steps<'s> {
    merge: Merge<Events, Tape<'s>>,
    checkpoints: Checkpoints<'s>,
    dedup: &'s Dedup<'s>,
    observer: &'s dyn Observer,
    /// What the walk has found.
    found: Total,
    first_names: FirstNames,
    /// Directories whose content is not fully known, innermost last.
    unknown: Vec<RelativePath>,
    /// Trust no evidence: read every file again.
    reread: bool,
}

impl<'s> Steps<'s> {
    pub(crate) fn new(
        walk: Walk,
        parent: Tape<'s>,
        checkpoints: Checkpoints<'s>,
        dedup: &'s Dedup<'s>,
        observer: &'s dyn Observer,
        reread: bool,
    ) -> Self {
        let events: Events = walk.map(Ok as fn(WalkEvent) -> Result<WalkEvent, Error>);
        Self {
            merge: merge(events, parent),
            checkpoints,
            dedup,
            observer,
            found: Total { entries: 0, bytes: 0, basis: Basis::Counted },
            first_names: FirstNames::default(),
            unknown: Vec::new(),
            reread,
        }
    }

    fn is_unknown(&mut self, path: &RelativePath) -> bool {
        while self.unknown.last().is_some_and(|directory| !path.is_within(directory)) {
            self.unknown.pop();
        }
        !self.unknown.is_empty()
    }

    fn entry(&mut self, mut entry: Entry, parent: Option<TapeRecord>) -> Result<Step, Error> {
        if !entry.path.is_root() {
            self.observer.add(Counter::Entries, 1);
            self.found.entries += 1;
        }
        if entry.kind == Kind::File {
            self.observer.add(Counter::Bytes, entry.evidence.size);
            self.found.bytes = self.found.bytes.saturating_add(entry.evidence.size);
        }
        entry.hard_link = self.first_names.first_of(&entry);
        let parent = parent.map(Box::new);
        if let Some(record) = parent.as_ref().filter(|_| !self.reread)
            && holds(&record.entry, &entry)
        {
            let same = record.entry.hard_link == entry.hard_link
                && record.entry.attributes.user == entry.attributes.user
                && record.entry.attributes.group == entry.attributes.group
                // Names of one file are told by device and inode within one pass.
                && (entry.evidence.links < 2 || record.entry.evidence.device == entry.evidence.device);
            return Ok(match parent {
                Some(record) if same => Step::Keep(record),
                Some(parent) => Step::Refresh { entry: Box::new(entry), parent },
                None => unreachable!("it was there a line above"),
            });
        }
        // What an unfinished run kept may itself rest on evidence alone.
        if !self.reread
            && let Some(record) = self.checkpoints.at(&entry.path)
            && holds(&record.entry, &entry)
            && record.entry.hard_link == entry.hard_link
            && self.content_is_stored(&record.entry)?
        {
            return Ok(Step::Take { record: Box::new(record), parent });
        }
        let entry = Box::new(entry);
        Ok(match entry.kind {
            _ if entry.hard_link.is_some() => Step::Link { entry, parent },
            Kind::File => Step::Read { entry, parent },
            _ => Step::Complete { entry, parent },
        })
    }

    fn content_is_stored(&self, entry: &Entry) -> Result<bool, StateError> {
        entry.content.as_ref().map_or(Ok(true), |content| self.dedup.all_stored(content))
    }
}

/// Whether `now` may be taken for what `before` was, without opening it.
fn holds(before: &Entry, now: &Entry) -> bool {
    !before.stale
        && before.kind.same_sort(&now.kind)
        && before.evidence.still_holds(&now.evidence)
        && before.attributes.mtime == now.attributes.mtime
        && before.attributes.mode == now.attributes.mode
        && (before.attributes.uid, before.attributes.gid)
            == (now.attributes.uid, now.attributes.gid)
}

fn stale(record: TapeRecord, exception: Option<Exception>) -> Step {
    Step::Stale { record: Box::new(record), exception }
}

impl Iterator for Steps<'_> {
    type Item = Result<Step, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(merged) = self.merge.next() else {
            // Nothing more can come: from here on the length of the pass is known.
            self.observer.total(self.found);
            return None;
        };
        let merged = match merged {
            Ok(merged) => merged,
            Err(error) => return Some(Err(error)),
        };
        Some(match merged {
            Merged::Left(WalkEvent::Entry(entry)) => self.entry(entry, None),
            Merged::Both(WalkEvent::Entry(entry), record) => self.entry(entry, Some(record)),
            Merged::Left(WalkEvent::Problem { path, scope, exception }) => {
                self.note(path, scope, exception.kind);
                Ok(Step::Lost { exception, removed: false })
            }
            Merged::Both(WalkEvent::Problem { path, scope, exception }, record) => {
                match self.note(path, scope, exception.kind) {
                    true => Ok(Step::Lost { exception, removed: true }),
                    false => Ok(stale(record, Some(exception))),
                }
            }
            Merged::Right(record) if self.is_unknown(&record.entry.path) => Ok(stale(record, None)),
            Merged::Right(_) => Ok(Step::Removed),
        })
    }
}

impl Steps<'_> {
    /// Notes what a problem leaves unknown; `true` where it says that the entry is gone.
    fn note(&mut self, path: RelativePath, scope: Scope, kind: ExceptionKind) -> bool {
        let gone = scope == Scope::Entry && kind == ExceptionKind::Vanished;
        if !gone {
            // What the last pass saw at and below this path is not known to be gone.
            self.is_unknown(&path);
            self.unknown.push(path);
        }
        gone
    }
}
