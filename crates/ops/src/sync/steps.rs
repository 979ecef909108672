//! The merge of a walk with the last manifest: what is to be done for each entry.
//!
//! **Only what is absent below a directory that was listed to its end is a removal.** Whatever
//! else goes wrong keeps the previous leaf, flagged stale, and puts the entry on the list of
//! exceptions. What a rule leaves out leaves the manifest, and is told from what is gone.

use std::{
    collections::BTreeMap,
    iter::Peekable,
    sync::{Arc, Mutex},
};

use drover_crypt::domain::DomainKeys;
use drover_repo::state::{StateError, StateFolder, TapeReader, TapeRecord};
use drover_source::{Scope, Share, Walk, WalkEvent, Wish};
use drover_types::{
    Basis, Counter, Entry, Exception, ExceptionKind, Kind, Observer, RelativePath, Total, lock,
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
    /// In the last manifest, and left out by a rule now.
    Excluded,
}

impl Step {
    /// What has to be taken from the source for it.
    pub(crate) fn wish(&self) -> Option<Wish> {
        match self {
            Self::Read { entry, .. } => {
                Some(Wish::File { path: entry.path.clone(), size: entry.evidence.size })
            }
            Self::Complete { entry, .. } => {
                Some(Wish::Rest(entry.path.clone(), entry.kind.clone()))
            }
            _ => None,
        }
    }

    /// The bytes that have to be read for it.
    pub(crate) fn to_read(&self) -> u64 {
        match self {
            Self::Read { entry, .. } => entry.evidence.size,
            _ => 0,
        }
    }

    /// The bytes that [`Counter::Bytes`] grew by for this step.
    pub(crate) fn size(&self) -> u64 {
        let entry = match self {
            Step::Keep(record) | Step::Take { record, .. } => &record.entry,
            Step::Read { entry, .. }
            | Step::Complete { entry, .. }
            | Step::Refresh { entry, .. }
            | Step::Link { entry, .. } => entry,
            Step::Stale { .. } | Step::Lost { .. } | Step::Removed | Step::Excluded => return 0,
        };
        if entry.kind == Kind::File { entry.evidence.size } else { 0 }
    }
}

impl Ordered for WalkEvent {
    fn path(&self) -> &RelativePath {
        self.path()
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

/// How much each rule leaves out, by what reports call it.
pub type Exclusions = BTreeMap<Arc<str>, Share>;

/// The records of the last manifest.
pub(crate) type Parent<'s> = Box<dyn Iterator<Item = Result<TapeRecord, Error>> + Send + 's>;

type Events = std::iter::Map<Walk, fn(WalkEvent) -> Result<WalkEvent, Error>>;

/// The steps of a pass, in the order of the entries.
pub(crate) struct Steps<'s> {
    merge: Merge<Events, Parent<'s>>,
    checkpoints: Checkpoints<'s>,
    dedup: Option<&'s Dedup<'s>>,
    exclusions: &'s Mutex<Exclusions>,
    observer: &'s dyn Observer,
    /// What the walk has found.
    found: Total,
    first_names: FirstNames,
    /// Directories whose content is not fully known, innermost last.
    unknown: Vec<RelativePath>,
    /// Directories that are left out, innermost last.
    excluded: Vec<RelativePath>,
    /// Trust no evidence: read every file again.
    reread: bool,
}

impl<'s> Steps<'s> {
    pub(crate) fn new(
        walk: Walk,
        parent: Parent<'s>,
        checkpoints: Checkpoints<'s>,
        dedup: Option<&'s Dedup<'s>>,
        exclusions: &'s Mutex<Exclusions>,
        observer: &'s dyn Observer,
        folder: Option<&StateFolder>,
    ) -> Self {
        let events: Events = walk.map(Ok as fn(WalkEvent) -> Result<WalkEvent, Error>);
        Self {
            merge: merge(events, parent),
            checkpoints,
            dedup,
            exclusions,
            observer,
            found: Total { entries: 0, bytes: 0, basis: Basis::Counted },
            first_names: FirstNames::new(folder),
            unknown: Vec::new(),
            excluded: Vec::new(),
            reread: false,
        }
    }

    /// Whether to trust no evidence, and read every file again.
    pub(crate) fn rereading(self, reread: bool) -> Self {
        Self { reread, ..self }
    }

    fn is_unknown(&mut self, path: &RelativePath) -> bool {
        is_below_any(&mut self.unknown, path)
    }

    fn is_excluded(&mut self, path: &RelativePath) -> bool {
        is_below_any(&mut self.excluded, path)
    }

    fn exclude(&mut self, path: RelativePath, rule: Arc<str>, share: Share) {
        *lock(self.exclusions).entry(rule).or_default() += share;
        self.is_excluded(&path);
        self.excluded.push(path);
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
        entry.hard_link = self.first_names.first_of(&entry)?;
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
        match (&entry.content, self.dedup) {
            (Some(content), Some(dedup)) => dedup.all_stored(content),
            (content, _) => Ok(content.is_none()),
        }
    }
}

/// Whether one of `directories`, which are those that the merge is in, innermost last, holds `path`.
fn is_below_any(directories: &mut Vec<RelativePath>, path: &RelativePath) -> bool {
    while directories.last().is_some_and(|directory| !path.is_within(directory)) {
        directories.pop();
    }
    !directories.is_empty()
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
        loop {
            let step = match self.merge.next() {
                // Nothing more can come: from here on the length of the pass is known.
                None => {
                    self.observer.total(self.found);
                    return None;
                }
                Some(Ok(merged)) => self.step(merged).transpose(),
                Some(Err(error)) => Some(Err(error)),
            };
            if step.is_some() {
                return step;
            }
        }
    }
}

impl Steps<'_> {
    /// What is to be done; `None` where nothing is.
    fn step(&mut self, merged: Merged<WalkEvent, TapeRecord>) -> Result<Option<Step>, Error> {
        Ok(Some(match merged {
            Merged::Left(WalkEvent::Entry(entry)) => self.entry(entry, None)?,
            Merged::Both(WalkEvent::Entry(entry), record) => self.entry(entry, Some(record))?,
            Merged::Left(WalkEvent::Problem { path, scope, exception }) => {
                self.note(path, scope, exception.kind);
                Step::Lost { exception, removed: false }
            }
            Merged::Both(WalkEvent::Problem { path, scope, exception }, record) => {
                match self.note(path, scope, exception.kind) {
                    true => Step::Lost { exception, removed: true },
                    false => stale(record, Some(exception)),
                }
            }
            Merged::Left(WalkEvent::Excluded { path, rule, share }) => {
                self.exclude(path, rule, share);
                return Ok(None);
            }
            Merged::Both(WalkEvent::Excluded { path, rule, share }, _) => {
                self.exclude(path, rule, share);
                Step::Excluded
            }
            Merged::Right(record) if self.is_excluded(&record.entry.path) => Step::Excluded,
            Merged::Right(record) if self.is_unknown(&record.entry.path) => stale(record, None),
            Merged::Right(_) => Step::Removed,
        }))
    }

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
