//! What is to be done: the manifest merged with the target.
//!
//! Directories are made as the stream comes to them, files are given out, and everything else
//! waits for [`Later`]. Where the target is not to be touched before the manifest was read to its end,
//! what is to be done is noted, and done then.

use std::{collections::HashMap, sync::atomic};

use drover_chunk::Decompressor;
use drover_pack::FrameReader;
use drover_repo::{CheckedSnapshot, ChunkError, tree};
use drover_source::{
    Source, WalkEvent, WalkOptions,
    target::{is_marker, is_temporary},
};
use drover_types::{Counter, Entry, ExceptionKind, Extent, Extents, Kind, RelativePath, lock};

use super::{
    Restore,
    later::{EntryList, Later},
    size,
};
use crate::{
    Error,
    compare::{Comparison, FirstNames, differences},
    merge::{Merged, Ordered, merge},
    reading::ReaderSession,
};

/// Files of a batch.
const BATCH_FILES: usize = 128;
/// Bytes of a batch, about.
const BATCH_BYTES: u64 = 8 << 20;

/// A file whose content is to be put there.
pub(super) struct Job {
    pub entry: Entry,
    pub found: Found,
}

/// What is at a file's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// Something else, or another state of it.
    Other,
    /// A file with its size and times, which cannot be trusted.
    Alike,
}

/// What is to be done at once, or when the manifest was read to its end.
#[derive(Clone, Copy)]
enum Act {
    /// Make the directory, instead of something else that is there or not.
    Directory { instead: bool },
    /// Keep the content, and set the attributes.
    Keep,
    /// Put the content there.
    File(Found),
}

/// Files that are given out together.
struct Batch<'g> {
    jobs: Vec<Job>,
    bytes: u64,
    give: &'g dyn Fn(Vec<Job>) -> Result<(), Error>,
}

impl Batch<'_> {
    fn push(&mut self, job: Job) -> Result<(), Error> {
        self.bytes = self.bytes.saturating_add(size(&job.entry));
        self.jobs.push(job);
        let full = self.jobs.len() == BATCH_FILES || self.bytes >= BATCH_BYTES;
        if full { self.give() } else { Ok(()) }
    }

    fn give(&mut self) -> Result<(), Error> {
        self.bytes = 0;
        let jobs = std::mem::take(&mut self.jobs);
        if jobs.is_empty() { Ok(()) } else { (self.give)(jobs) }
    }
}

/// An entry that is to be there.
struct Wanted {
    entry: Entry,
    /// The last landing left it as it is to be now.
    as_landed: bool,
}

impl Ordered for Wanted {
    fn path(&self) -> &RelativePath {
        &self.entry.path
    }
}

impl Restore<'_> {
    /// Merges the manifest with the target and gives files out, in batches.
    pub(super) fn plan(
        &self,
        session: &ReaderSession,
        snapshot: &CheckedSnapshot,
        below: &RelativePath,
        later: &mut Later,
        give: &dyn Fn(Vec<Job>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut tree = session.tree(self.reader, snapshot, below.clone())?;
        // What has the leaf that the last landing left is as it was; anything else is looked at closely.
        if let Some((_, landed)) = self.landed_at.and_then(|_| self.earlier.first()) {
            tree = tree.beside(landed);
        }
        let mut next = move || {
            let entry = tree.next()?;
            Some((entry, tree.is_as_before()))
        };
        let first = next().ok_or_else(|| Error::NoSuchPath(below.to_string()))?;
        let alone = match &first {
            (Ok(entry), _) => !below.is_root() && entry.kind != Kind::Directory,
            (Err(_), _) => false,
        };
        let entries = std::iter::once(first).chain(std::iter::from_fn(next));
        // A file alone lands as TARGET/its name, a directory's children right under TARGET.
        let prefix = if alone { below.parent().unwrap_or_default() } else { below.clone() };
        let mut renamed: HashMap<RelativePath, RelativePath> = HashMap::new();
        let moved = entries.map(|(entry, as_landed)| -> Result<Wanted, Error> {
            let mut entry = self.options.owners.mapped(entry?);
            let path = entry.path.strip_prefix(&prefix).ok_or(Error::Stopped)?;
            if let Some(first) = entry.hard_link.take() {
                entry.hard_link = match first.strip_prefix(&prefix) {
                    Some(first) if !alone => Some(first),
                    // The first name is not restored: the next one takes its part.
                    _ => match renamed.get(&first) {
                        Some(first) => Some(first.clone()),
                        None => {
                            renamed.insert(first, path.clone());
                            None
                        }
                    },
                };
            }
            entry.path = path;
            Ok(Wanted { entry, as_landed })
        });
        let there: Box<dyn Iterator<Item = Result<Entry, Error>>> = match self.there {
            None => Box::new(std::iter::empty()),
            Some(source) => {
                let mut first_names = FirstNames::new(session.folder());
                Box::new(source.walk(&WalkOptions::default())?.filter_map(
                    move |event| match event {
                        WalkEvent::Entry(entry) if self.is_leftover(&entry) => None,
                        WalkEvent::Entry(entry)
                            if is_marker(&entry.path)
                                || is_temporary(entry.path.name())
                                || entry.path.as_bytes() == b"lost+found" =>
                        {
                            None
                        }
                        WalkEvent::Entry(mut entry) => {
                            match first_names.first_of(&entry) {
                                Ok(first) => entry.hard_link = first,
                                Err(error) => return Some(Err(error)),
                            }
                            Some(Ok(entry))
                        }
                        // Writing there meets the same problem, and reports it.
                        WalkEvent::Problem { .. } | WalkEvent::Excluded { .. } => None,
                    },
                ))
            }
        };

        let keys = session.history.keys(snapshot);
        let mut todo = self.check_first.then(|| EntryList::new(self.target, keys)).transpose()?;
        let mut acts = Vec::new();
        let mut batch = Batch { jobs: Vec::new(), bytes: 0, give };
        for step in merge(moved, there) {
            if self.cancel.is_set() {
                return Err(Error::Stopped);
            }
            let (Wanted { entry, as_landed }, found) = match step? {
                Merged::Left(wanted) => (wanted, None),
                Merged::Both(wanted, found) => (wanted, Some(found)),
                Merged::Right(found) => {
                    if found.path.is_root() {
                        continue;
                    }
                    if self.options.delete {
                        later.removals.push(found.path);
                    } else {
                        self.surplus.fetch_add(1, atomic::Ordering::Relaxed);
                    }
                    continue;
                }
            };
            if !entry.path.is_root() {
                self.observer.add(Counter::Entries, 1);
            }
            self.observer.add(Counter::Bytes, size(&entry));
            match (self.decide(&entry, as_landed, found.as_ref(), later)?, &mut todo) {
                (None, _) => {}
                (Some(act), None) => self.act(entry, act, later, &mut batch)?,
                (Some(act), Some(todo)) => {
                    todo.push(&entry)?;
                    acts.push(act);
                }
            }
        }
        if let Some(todo) = todo {
            self.begin()?;
            for (entry, act) in todo.iter().zip(acts) {
                if self.cancel.is_set() {
                    return Err(Error::Stopped);
                }
                self.act(entry?, act, later, &mut batch)?;
            }
        }
        batch.give()
    }

    /// Whether it is what a run that was killed left of the files that it made. It is taken away.
    fn is_leftover(&self, entry: &Entry) -> bool {
        let Some(target) = self.target else { return false };
        let leftover =
            self.known && entry.kind == Kind::File && target.is_leftover(entry.path.name());
        match leftover {
            true if self.check_first => lock(&self.leftovers).push(entry.path.clone()),
            // One that stays is in nobody's way.
            true => drop(target.remove(&entry.path)),
            false => {}
        }
        leftover
    }

    /// Decides what is to be done now for one entry. Nothing of the target is touched.
    fn decide(
        &self,
        entry: &Entry,
        as_landed: bool,
        found: Option<&Entry>,
        later: &mut Later,
    ) -> Result<Option<Act>, Error> {
        let is_directory = entry.kind == Kind::Directory;
        let found_directory = found.is_some_and(|f| f.kind == Kind::Directory);
        if found_directory && !is_directory {
            if !self.options.delete {
                let why = "a directory is in its place; --delete would remove it";
                self.except(&entry.path, ExceptionKind::Error, why);
                return Ok(None);
            }
            self.check(entry)?;
            // Its children come next in the target's stream, and are removed first.
            later.removals.push(entry.path.clone());
            later.after_removals.push(entry.clone());
            return Ok(None);
        }
        let instead = found.filter(|_| is_directory != found_directory);
        let found = found.filter(|_| instead.is_none());
        let untouched = as_landed && found.is_some_and(|found| self.is_untouched(entry, found));
        if let Some(found) = found
            && (untouched || self.is_same(entry, found)?)
        {
            if entry.evidence.links > 1
                && entry.hard_link.is_none()
                && let Some(target) = self.target
            {
                target.vouch(&entry.path)?;
            }
            if is_directory {
                later.directory(entry, found.evidence.ctime.filter(|_| untouched))?;
            }
            if !(is_directory && entry.path.is_root()) {
                later.unchanged += 1;
                self.observer.add(Counter::EntriesDone, 1);
                self.observer.add(Counter::BytesDone, size(entry));
            }
            return Ok(None);
        }
        match entry.kind {
            Kind::Directory => {
                later.directory(entry, None)?;
                Ok(Some(Act::Directory { instead: instead.is_some() }))
            }
            _ if entry.hard_link.is_some() => later.links.push(entry).map(|()| None),
            Kind::File => {
                // Of a file of several names one may lie outside of the target: it is made anew.
                let alone = found.filter(|found| found.evidence.links == 1);
                if alone.is_some_and(|found| self.content_is_same(entry, found)) {
                    return Ok(Some(Act::Keep));
                }
                self.check(entry)?;
                Ok(Some(Act::File(match found {
                    None => Found::Nothing,
                    Some(_) if alone.is_some_and(|found| looks_same(entry, found)) => Found::Alike,
                    Some(_) => Found::Other,
                })))
            }
            _ => later.symlinks.push(entry).map(|()| None),
        }
    }

    /// Does what was decided; files to be written are given out.
    fn act(
        &self,
        entry: Entry,
        act: Act,
        later: &mut Later,
        batch: &mut Batch<'_>,
    ) -> Result<(), Error> {
        match act {
            Act::Directory { instead } => {
                if let Some(target) = self.target {
                    if instead {
                        target.remove(&entry.path)?;
                    }
                    if let Err(error) = target.create_directory(&entry.path) {
                        self.failed(error)?;
                        later.unmade.insert(entry.path);
                        return Ok(());
                    }
                }
                if !entry.path.is_root() {
                    later.written += 1;
                    self.observer.add(Counter::EntriesDone, 1);
                }
                Ok(())
            }
            Act::Keep => {
                self.keep(&entry)?;
                self.observer.add(Counter::BytesDone, size(&entry));
                Ok(())
            }
            Act::File(found) => batch.push(Job { entry, found }),
        }
    }

    /// Where the target is not to be touched before: whether some pack holds each chunk of what is
    /// to be written.
    fn check(&self, entry: &Entry) -> Result<(), Error> {
        let Some(content) = entry.content.as_ref().filter(|_| self.check_first) else {
            return Ok(());
        };
        let extents = match &content.extents {
            Extents::Inline(extents) => extents.clone(),
            Extents::Lists { .. } => {
                let mut frames = FrameReader::new(Decompressor::new());
                tree::resolve(self.reader, content, &mut frames)?
            }
        };
        for extent in extents.iter() {
            if let Extent::Chunk(chunk) = extent
                && !self.reader.index().contains(&chunk.id)
            {
                return Err(ChunkError::Missing(chunk.id).into());
            }
        }
        Ok(())
    }

    /// Keeps the content that is there: only attributes differ.
    pub(super) fn keep(&self, entry: &Entry) -> Result<(), Error> {
        if let Some(target) = self.target {
            match target.set_attributes(entry) {
                Ok(losses) => self.lost(&entry.path, losses),
                Err(error) => self.failed(error)?,
            }
            if entry.evidence.links > 1 {
                target.vouch(&entry.path)?;
            }
        }
        self.done();
        Ok(())
    }

    /// Whether what is there has the content that it should have, as far as size and time tell
    /// of what drover itself put there.
    fn content_is_same(&self, entry: &Entry, found: &Entry) -> bool {
        self.trusted && looks_same(entry, found)
    }

    /// Whether what landed is there still: nothing of it was changed since the mark was left. What
    /// is as old as the mark is looked at closely.
    fn is_untouched(&self, entry: &Entry, found: &Entry) -> bool {
        let (wanted, there) = (&entry.attributes, &found.attributes);
        let keeps_owners = self.options.target.owners == drover_source::target::Owners::Keep;
        let is_older = found.evidence.ctime.zip(self.landed_at).is_some_and(|(c, at)| c < at);
        is_older
            && entry.kind.same_sort(&found.kind)
            && (entry.kind != Kind::File || self.content_is_same(entry, found))
            && wanted.mtime == there.mtime
            && (wanted.mode == there.mode || matches!(entry.kind, Kind::Symlink { .. }))
            && (!keeps_owners || (wanted.uid, wanted.gid) == (there.uid, there.gid))
            && entry.hard_link == found.hard_link
    }

    fn is_same(&self, entry: &Entry, found: &Entry) -> Result<bool, Error> {
        if entry.kind == Kind::File && !self.content_is_same(entry, found) {
            return Ok(false);
        }
        let Some(source) = self.there else { return Ok(false) };
        let mut found = found.clone();
        let filled = match found.kind {
            Kind::File => {
                source.open(&found.path).and_then(|mut file| file.complete(&mut found.attributes))
            }
            _ => source.complete(&mut found),
        };
        if filled.is_err() {
            return Ok(false);
        }
        let owners = self.options.target.owners == drover_source::target::Owners::Keep;
        let how = Comparison { owners, extended: true };
        Ok(differences(entry, &found, how).is_empty())
    }
}

fn looks_same(entry: &Entry, found: &Entry) -> bool {
    let size = entry.content.as_ref().map(|content| content.size);
    entry.kind == found.kind
        && size == Some(found.evidence.size)
        && entry.attributes.mtime == found.attributes.mtime
}
