//! Landing as plain objects in a bucket: a manifest merged with what the landing before it noted.
//!
//! ```text
//!  manifest ⋈ side manifest ── same, and its object is listed with its length ──► stays
//!      │ new, changed, gone from the bucket
//!      ▼
//!  batches of files ──► workers: fetched by pack, checked, put ──► deletions ──► side manifest
//! ```
//!
//! Files are objects; directories, links and special files stand in the side manifest alone. The
//! state object says from the first change on that a landing is under way, and at the end which
//! snapshot is there. A run that was cut off leaves whole objects, old or new: the next one goes
//! on, and asks an object that could be a new one for the hash that it carries.
//!
//! In memory are two batches of each worker (128 MiB in all), 16 bytes for each object that is
//! listed, and 8 for each that is wanted.

mod key;
mod object;
mod parts;
mod send;
mod side;
mod verify;

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use crossbeam_channel::{Sender, bounded};
use drover_chunk::Decompressor;
use drover_pack::FrameReader;
use drover_repo::{CheckedSnapshot, ChunkReader, objects::Objects, tree};
use drover_types::{
    Basis, Counter, Entry, Exception, ExceptionKind, Kind, Observer, Phase, RelativePath,
    SnapshotId, Total, lock,
};
use futures::{StreamExt, TryStreamExt};

use crate::{
    Cancel, Error, RestoreOptions, RestoreOutcome,
    merge::{Merged, merge},
    reading::ReaderSession,
    threads,
};

use send::{Job, LARGE};
use side::{Line, Lines, SideEntry, State};

pub use verify::verify_bucket;

/// Bytes of a batch, about.
const BATCH_BYTES: u64 = 32 << 20;
/// Files of a batch.
const BATCH_FILES: usize = 1024;
/// Batches worked on at a time.
const WORKERS: usize = 2;
/// Objects deleted at a time.
const DELETIONS: usize = 16;

/// Lands `snapshot` as objects in `bucket`.
pub fn land_in_bucket(
    session: &mut ReaderSession,
    snapshot: SnapshotId,
    bucket: &Objects,
    options: &RestoreOptions,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<RestoreOutcome, Error> {
    let index = session.load_index()?;
    let reader = session.chunks(&index);
    land_by(session, &reader, snapshot, bucket, options, observer, cancel)
}

/// The same by a reader that may have read before, and may read again.
pub(crate) fn land_by(
    session: &ReaderSession,
    reader: &ChunkReader<'_>,
    snapshot: SnapshotId,
    bucket: &Objects,
    options: &RestoreOptions,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<RestoreOutcome, Error> {
    let cancel = &cancel.nested();
    let snapshot = session.snapshot(snapshot)?;
    observer.phase(Phase::Restoring);
    if options.check_first {
        for entry in session.tree(reader, snapshot, RelativePath::root())? {
            if cancel.is_set() {
                return Err(Error::Interrupted);
            }
            entry?;
        }
    }

    let repository = session.repository.id().to_hex();
    let source = snapshot.source().to_hex();
    let state = State::read(bucket)?;
    let known = state.filter(|state| state.repository == repository && state.source == source);
    let listed = Listed::new(bucket)?;
    if !listed.objects.is_empty() && known.is_none() && !options.overwrite {
        return Err(Error::TargetNotEmpty(bucket.store().url().to_string()));
    }
    let mut before = match &known {
        Some(_) => Lines::fetch(bucket)?,
        None => None,
    };
    let begun = State::under_way(repository, source, snapshot.id().to_hex(), known.as_ref());
    if !options.dry_run {
        begun.write(bucket)?;
    }
    let landing = Landing {
        reader,
        bucket,
        listed,
        mixed: begun.mixed,
        goes_on: known.is_some_and(|state| !state.complete),
        options,
        observer,
        cancel,
        exceptions: Mutex::default(),
        failed: Mutex::default(),
        entries_written: AtomicU64::new(0),
        bytes_written: AtomicU64::new(0),
        entries_unchanged: AtomicU64::new(0),
    };
    let open = &snapshot.stored.open;
    let (entries, bytes) = (open.entries, open.bytes);
    observer.total(Total { entries, bytes, basis: Basis::Snapshot });
    let (mut lines, wanted, gone) =
        landing.merge(session, snapshot, before.as_mut()).map_err(|error| match error {
            Error::Stopped => Error::Interrupted,
            error => error,
        })?;
    let mut removed = 0;
    let mut surplus = 0;
    if !options.dry_run {
        observer.phase(Phase::Flushing);
        (removed, surplus) = landing.delete(wanted)?;
        if options.delete {
            removed += gone;
        }
        landing.without_failed(&mut lines)?.store(bucket)?;
        if landing.goes_on {
            parts::clear(bucket)?;
        }
    } else if options.delete {
        let stays = |(hash, _): &&(u64, u64)| wanted.binary_search(hash).is_err();
        removed = gone + landing.listed.objects.iter().filter(stays).count() as u64;
    }
    let mut exceptions = landing.exceptions.into_inner().unwrap_or_default();
    exceptions.sort_by(|a, b| a.path.cmp(&b.path));
    if !options.dry_run {
        begun.done(surplus == 0, exceptions.len() as u64).write(bucket)?;
    }
    Ok(RestoreOutcome {
        written: landing.entries_written.into_inner(),
        unchanged: landing.entries_unchanged.into_inner(),
        removed,
        bytes_written: landing.bytes_written.into_inner(),
        exceptions,
    })
}

struct Landing<'l> {
    reader: &'l ChunkReader<'l>,
    bucket: &'l Objects,
    listed: Listed,
    /// An earlier landing was cut off.
    goes_on: bool,
    /// One of another snapshot was: what the side manifest says of an object may not hold any more.
    mixed: bool,
    options: &'l RestoreOptions,
    observer: &'l dyn Observer,
    cancel: &'l Cancel,
    exceptions: Mutex<Vec<Exception>>,
    /// Files whose objects are not there, or not the right ones.
    failed: Mutex<BTreeSet<RelativePath>>,
    entries_written: AtomicU64,
    bytes_written: AtomicU64,
    entries_unchanged: AtomicU64,
}

/// Which objects are there: the hash of each name, which nobody outside can foresee, and its
/// length.
struct Listed {
    hashes: RandomState,
    objects: Vec<(u64, u64)>,
}

impl Listed {
    fn new(bucket: &Objects) -> Result<Self, Error> {
        let hashes = RandomState::new();
        let listing = bucket.store().list_plain().try_filter(|object| {
            let is_note = is_note(&object.name);
            async move { !is_note }
        });
        let hashed = listing.map_ok(|object| (hashes.hash_one(object.name.as_str()), object.len));
        let mut objects: Vec<(u64, u64)> = bucket.wait(hashed.try_collect())?;
        objects.sort_unstable();
        Ok(Self { hashes, objects })
    }

    fn hash(&self, key: &str) -> u64 {
        self.hashes.hash_one(key)
    }

    /// The length of an object; `None` where there is none.
    fn len(&self, key: &str) -> Option<u64> {
        let hash = self.hash(key);
        let at = self.objects.partition_point(|(listed, _)| *listed < hash);
        self.objects.get(at).filter(|(listed, _)| *listed == hash).map(|(_, len)| *len)
    }
}

/// Whether an object is a note of the landing and no file.
fn is_note(key: &str) -> bool {
    key.strip_prefix(key::NOTES).is_some_and(|rest| rest.starts_with('/'))
}

/// What a merge leaves: lines, the hashes of the keys that are wanted, and how many entries are
/// gone that had no object.
type Merging = (Lines, Vec<u64>, u64);

/// What is noted in a bucket of a source's landings: the snapshot that was complete there last, and
/// whether all of it is there and nothing else.
pub(crate) fn landed(
    bucket: &Objects,
    repository: &str,
) -> Result<Option<(SnapshotId, bool)>, Error> {
    let state = State::read(bucket)?.filter(|state| state.repository == repository);
    Ok(state.and_then(|state| {
        let snapshot = SnapshotId::from_hex(state.last_complete()?)?;
        Some((snapshot, state.complete && state.whole))
    }))
}

impl Landing<'_> {
    fn merge(
        &self,
        session: &ReaderSession,
        snapshot: &CheckedSnapshot,
        before: Option<&mut Lines>,
    ) -> Result<Merging, Error> {
        threads::start_shared()?;
        let (batches, for_workers) = bounded::<Vec<Job>>(1);
        let first_error: Mutex<Option<Error>> = Mutex::new(None);
        let merged = std::thread::scope(|scope| {
            threads::spawn_some(scope, WORKERS, || {
                let (for_workers, first_error) = (for_workers.clone(), &first_error);
                move || {
                    let mut frames = FrameReader::new(Decompressor::new());
                    for batch in for_workers {
                        let sent = match self.cancel.is_set() {
                            true => Err(Error::Stopped),
                            false => self.send(batch, &mut frames),
                        };
                        if let Err(error) = sent {
                            self.cancel.set();
                            // Who only saw that another stopped has nothing to say.
                            if !matches!(error, Error::Stopped) {
                                lock(first_error).get_or_insert(error);
                            }
                            break;
                        }
                    }
                }
            })?;
            drop(for_workers);
            let merged = self.give_out(session, snapshot, before, &batches);
            drop(batches);
            merged
        });
        if let Some(error) = first_error.into_inner().unwrap_or_default() {
            return Err(error);
        }
        if self.cancel.is_set() { Err(Error::Stopped) } else { merged }
    }

    /// Goes through the manifest, and gives out what is to be sent.
    fn give_out(
        &self,
        session: &ReaderSession,
        snapshot: &CheckedSnapshot,
        before: Option<&mut Lines>,
        batches: &Sender<Vec<Job>>,
    ) -> Result<Merging, Error> {
        let entries = session.tree(self.reader, snapshot, RelativePath::root())?;
        let entries = entries.map(|entry| entry.map_err(Error::from));
        let before: Box<dyn Iterator<Item = Result<SideEntry, Error>>> = match before {
            Some(before) => Box::new(before.entries()?),
            None => Box::new(std::iter::empty()),
        };
        let (mut lines, mut wanted, mut gone) = (Lines::new()?, Vec::new(), 0);
        let mut frames = FrameReader::new(Decompressor::new());
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let give = |batch: Vec<Job>| match batch.is_empty() {
            true => Ok(()),
            false => batches.send(batch).map_err(|_| Error::Stopped),
        };
        for step in merge(entries, before) {
            if self.cancel.is_set() {
                return Err(Error::Stopped);
            }
            let (entry, known) = match step? {
                Merged::Left(entry) => (entry, None),
                Merged::Both(entry, known) => (entry, Some(known.line)),
                Merged::Right(known) => {
                    gone += u64::from(known.line.key.is_none());
                    continue;
                }
            };
            let line = Line::of(&entry);
            let counts = !entry.path.is_root();
            self.observer.add(Counter::Entries, u64::from(counts));
            let size = entry.content.as_ref().map_or(0, |content| content.size);
            self.observer.add(Counter::Bytes, size);
            let Some(key) = line.key.clone() else {
                lines.push(&line)?;
                if counts && known.as_ref() == Some(&line) {
                    self.unchanged(size);
                } else if counts {
                    self.written_note(size);
                }
                continue;
            };
            if self.bucket.store().prefix_len() + key.len() > key::LONGEST {
                let message = format!(
                    "its key would be longer than {} bytes, which stores do not take",
                    key::LONGEST
                );
                self.except(&entry.path, ExceptionKind::Unsupported, message);
                self.observer.add(Counter::BytesDone, size);
                continue;
            }
            wanted.push(self.listed.hash(&key));
            lines.push(&line)?;
            let there = self.listed.len(&key) == Some(size);
            let is_known = known.as_ref().is_some_and(|known| known.has_object_of(&line));
            if there && is_known && !self.mixed {
                match known.as_ref() == Some(&line) {
                    true => self.unchanged(size),
                    false => self.written_note(size),
                }
                continue;
            }
            if self.options.dry_run {
                self.written(size);
                continue;
            }
            let maybe_there = there && self.goes_on;
            let Some(job) = self.job(entry, key, &line, maybe_there, &mut frames)? else {
                continue;
            };
            if size > LARGE {
                give(vec![job])?;
                continue;
            }
            bytes += size;
            batch.push(job);
            if batch.len() == BATCH_FILES || bytes >= BATCH_BYTES {
                give(std::mem::take(&mut batch))?;
                bytes = 0;
            }
        }
        give(batch)?;
        wanted.sort_unstable();
        Ok((lines, wanted, gone))
    }

    /// What is to be sent of a file; `None` where its list of chunks cannot be had.
    fn job(
        &self,
        entry: Entry,
        key: String,
        line: &Line,
        maybe_there: bool,
        frames: &mut FrameReader,
    ) -> Result<Option<Job>, Error> {
        debug_assert!(entry.kind == Kind::File);
        let path = entry.path;
        let Some(content) = entry.content else { return Ok(None) };
        let extents = match tree::resolve(self.reader, &content, frames) {
            Ok(extents) => extents,
            Err(error) => {
                let error = Error::from(error);
                if error.is_of_store() {
                    return Err(error);
                }
                self.except(&path, ExceptionKind::Error, error.to_string());
                lock(&self.failed).insert(path);
                return Ok(None);
            }
        };
        let (size, hash, metadata) = (content.size, content.hash, line.metadata());
        Ok(Some(Job { path, key, size, hash, metadata, extents, maybe_there }))
    }

    /// Removes what is not wanted, where that was asked for. Returns how many objects were
    /// removed, and how many stay.
    fn delete(&self, wanted: Vec<u64>) -> Result<(u64, u64), Error> {
        let store = self.bucket.store();
        let unwanted = store.list_plain().try_filter(|object| {
            let is_wanted = is_note(&object.name)
                || wanted.binary_search(&self.listed.hash(&object.name)).is_ok();
            async move { !is_wanted }
        });
        let each = unwanted.map(|object| async {
            let object = object?;
            if self.options.delete && !self.cancel.is_set() {
                store.delete_plain(&object.name).await?;
                return Ok(true);
            }
            Ok::<_, drover_store::StoreError>(false)
        });
        let counted = each.buffer_unordered(DELETIONS).try_fold((0, 0), |(gone, stay), deleted| {
            std::future::ready(Ok(if deleted { (gone + 1, stay) } else { (gone, stay + 1) }))
        });
        let counted = self.bucket.wait(counted)?;
        if self.cancel.is_set() { Err(Error::Interrupted) } else { Ok(counted) }
    }

    /// Lines without those of files that could not be sent.
    fn without_failed<'a>(&self, lines: &'a mut Lines) -> Result<&'a mut Lines, Error> {
        let failed = lock(&self.failed);
        if !failed.is_empty() {
            let mut left = Lines::new()?;
            for entry in lines.entries()? {
                let SideEntry { path, line } = entry?;
                if !failed.contains(&path) {
                    left.push(&line)?;
                }
            }
            *lines = left;
        }
        Ok(lines)
    }

    fn written(&self, size: u64) {
        self.bytes_written.fetch_add(size, Ordering::Relaxed);
        self.written_note(size);
    }

    /// Counts what is new in the side manifest alone.
    fn written_note(&self, size: u64) {
        self.entries_written.fetch_add(1, Ordering::Relaxed);
        self.done(size);
    }

    fn unchanged(&self, size: u64) {
        self.entries_unchanged.fetch_add(1, Ordering::Relaxed);
        self.done(size);
    }

    fn done(&self, size: u64) {
        self.observer.add(Counter::EntriesDone, 1);
        self.observer.add(Counter::BytesDone, size);
    }

    fn except(&self, path: &RelativePath, kind: ExceptionKind, message: impl Into<String>) {
        let exception = Exception { path: path.clone(), kind, message: message.into() };
        self.observer.exception(&exception);
        lock(&self.exceptions).push(exception);
    }
}

/// How many objects are read at a time by whoever verifies.
const READERS: usize = 8;
