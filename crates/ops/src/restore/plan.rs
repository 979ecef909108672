//! What is to be done: the manifest merged with the target.
//!
//! Directories are made as the stream comes to them, files are given out, and everything else
//! waits for [`Later`].

use std::{
    collections::{HashMap, HashSet},
    sync::atomic,
};

use drover_repo::{CheckedSnapshot, Tree};
use drover_source::{
    Source, WalkEvent, WalkOptions,
    target::{is_marker, is_temporary},
};
use drover_types::{ChunkId, Counter, Entry, ExceptionKind, Kind, RelativePath};

use super::{Restore, later::Later, size};
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

/// The blocks of the manifest that the last landing left. An entry of one of these is as it was,
/// evidence included; of any other it is not known, and looked at closely.
struct AsLanded(HashSet<ChunkId>);

impl AsLanded {
    fn new(run: &Restore<'_>) -> Self {
        let landed = run.landed_at.and_then(|_| run.earlier.first());
        // One that cannot be read says nothing.
        let blocks = landed.and_then(|(_, manifest)| Tree::block_ids(run.reader, manifest).ok());
        Self(blocks.unwrap_or_default())
    }

    /// Whether it has the entries of this block.
    fn has(&self, block: Option<ChunkId>) -> bool {
        block.is_some_and(|block| self.0.contains(&block))
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
        let mut next = move || {
            let entry = tree.next()?;
            Some((entry, tree.block_id()))
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
        let as_landed = AsLanded::new(self);
        let moved = entries.map(|(entry, block)| -> Result<Wanted, Error> {
            let entry = entry?;
            let as_landed = as_landed.has(block);
            let mut entry = self.options.owners.mapped(entry);
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

        let mut batch = Vec::new();
        let mut bytes = 0u64;
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
            let size = size(&entry);
            self.observer.add(Counter::Bytes, size);
            if let Some(job) = self.step(entry, as_landed, found, later)? {
                bytes = bytes.saturating_add(size);
                batch.push(job);
                if batch.len() == BATCH_FILES || bytes >= BATCH_BYTES {
                    give(std::mem::take(&mut batch))?;
                    bytes = 0;
                }
            }
        }
        if batch.is_empty() { Ok(()) } else { give(batch) }
    }

    /// Takes away what a run that was killed left of the files that it made.
    fn is_leftover(&self, entry: &Entry) -> bool {
        let Some(target) = self.target else { return false };
        let leftover =
            self.known && entry.kind == Kind::File && target.is_leftover(entry.path.name());
        // One that stays is in nobody's way.
        leftover && target.remove(&entry.path).is_ok()
    }

    /// Decides what is to be done for one entry; a file to be written comes back.
    fn step(
        &self,
        entry: Entry,
        as_landed: bool,
        found: Option<Entry>,
        later: &mut Later,
    ) -> Result<Option<Job>, Error> {
        let is_directory = entry.kind == Kind::Directory;
        let found_directory = found.as_ref().is_some_and(|f| f.kind == Kind::Directory);
        if found.is_some() && is_directory != found_directory {
            if found_directory {
                if !self.options.delete {
                    self.except(
                        &entry.path,
                        ExceptionKind::Error,
                        "a directory is in its place; --delete would remove it",
                    );
                    return Ok(None);
                }
                // Its children come next in the target's stream, and are removed first.
                later.removals.push(entry.path.clone());
                later.after_removals.push(entry);
                return Ok(None);
            }
            if let Some(target) = self.target {
                target.remove(&entry.path)?;
            }
            return self.step(entry, as_landed, None, later);
        }
        if let Some(found) = &found
            && ((as_landed && self.is_untouched(&entry, found)) || self.is_same(&entry, found)?)
        {
            if entry.evidence.links > 1
                && entry.hard_link.is_none()
                && let Some(target) = self.target
            {
                target.vouch(&entry.path)?;
            }
            if is_directory {
                later.directories.push(&entry)?;
                if !found.path.is_root() {
                    later.unchanged += 1;
                    self.observer.add(Counter::EntriesDone, 1);
                }
            } else {
                later.unchanged += 1;
                self.observer.add(Counter::EntriesDone, 1);
                self.observer.add(Counter::BytesDone, size(&entry));
            }
            return Ok(None);
        }
        match entry.kind {
            Kind::Directory => {
                if let Some(target) = self.target
                    && let Err(error) = target.create_directory(&entry.path)
                {
                    self.failed(error)?;
                    return Ok(None);
                }
                if !entry.path.is_root() {
                    later.written += 1;
                    self.observer.add(Counter::EntriesDone, 1);
                }
                later.directories.push(&entry)?;
                Ok(None)
            }
            _ if entry.hard_link.is_some() => {
                later.links.push(&entry)?;
                Ok(None)
            }
            Kind::File => {
                // Of a file of several names one may lie outside of the target: it is made anew.
                if let Some(found) = found.as_ref().filter(|found| found.evidence.links == 1)
                    && self.content_is_same(&entry, found)
                {
                    self.keep(&entry)?;
                    self.observer.add(Counter::BytesDone, size(&entry));
                    return Ok(None);
                }
                let found = match &found {
                    None => Found::Nothing,
                    Some(found) if found.evidence.links == 1 && looks_same(&entry, found) => {
                        Found::Alike
                    }
                    Some(_) => Found::Other,
                };
                Ok(Some(Job { entry, found }))
            }
            _ => {
                later.symlinks.push(&entry)?;
                Ok(None)
            }
        }
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
