//! restore: a manifest merged with a target.
//!
//! Directories are made as the stream comes to them; files are written by workers, in the order
//! of the manifest, which is about the order of the packs, so that a bounded cache of packs
//! serves; then, in this order, what replaces something takes its place, symlinks and hard links
//! are made, what the snapshot lacks is removed, and directories get their attributes.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use crossbeam_channel::bounded;
use drover_chunk::Decompressor;
use drover_pack::FrameReader;
use drover_repo::{CheckedSnapshot, ChunkReader, snapshot::Snapshot, tree};
use drover_source::{
    LocalSource, Source, WalkEvent, WalkOptions,
    target::{
        Losses, Marker, NewFile, Target, TargetError, TargetOptions, is_marker, is_temporary,
    },
};
use drover_types::{
    Basis, ChunkKind, Counter, Entry, Exception, ExceptionKind, Extent, Kind, Observer, Phase,
    RelativePath, SnapshotId, Total, lock,
};
use rayon::prelude::*;

use crate::{
    Cancel, Error,
    compare::{Comparison, FirstNames, differences},
    merge::{Merged, merge},
    reading::ReaderSession,
};

/// Files of a batch.
const BATCH_FILES: usize = 128;
/// Bytes of a batch, about.
const BATCH_BYTES: u64 = 8 << 20;
/// A file of more extents than this is written by all cores.
const WIDE: usize = 16;

/// How a restore is run.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// Remove what the snapshot lacks.
    pub delete: bool,
    /// Accept a target that is not empty and not known.
    pub overwrite: bool,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
    /// Files written at a time; 0 for one per core.
    pub parallel: usize,
    /// What may be put back.
    pub target: TargetOptions,
}

/// What a restore did.
#[derive(Clone, Debug, Default)]
pub struct RestoreOutcome {
    /// Entries made or changed.
    pub written: u64,
    /// Entries that were as they should be.
    pub unchanged: u64,
    /// Entries removed.
    pub removed: u64,
    /// Bytes written into files.
    pub bytes_written: u64,
    /// Packs fetched, and how many of them more than once.
    pub packs: (u64, u64),
    /// What could not be put back, or not faithfully.
    pub exceptions: Vec<Exception>,
}

/// Restores `below` of `snapshot` into `root`.
pub fn restore(
    session: &mut ReaderSession,
    snapshot: SnapshotId,
    below: &RelativePath,
    root: &Path,
    options: &RestoreOptions,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<RestoreOutcome, Error> {
    let cancel = &cancel.nested();
    let index = session.load_index()?;
    let session: &ReaderSession = session;
    let snapshot = session.snapshot(snapshot)?;
    let reader = session.chunks(&index);
    observer.phase(Phase::Restoring);

    let exists = root.exists();
    let target = match exists || !options.dry_run {
        true => Some(Target::open(root, options.target)?),
        false => None,
    };
    let marker = target.as_ref().map(Target::read_marker).transpose()?.flatten();
    let repository = session.repository.id();
    let known = marker
        .as_ref()
        .filter(|marker| marker.repository == repository && marker.source == snapshot.source());
    let empty = target.as_ref().map(Target::is_empty).transpose()?.unwrap_or(true);
    if !empty && known.is_none() && !options.overwrite {
        return Err(Error::TargetNotEmpty(root.display().to_string()));
    }
    let trusted = known.is_some_and(Marker::content_survived);
    if let Some(target) = target.as_ref().filter(|_| !options.dry_run) {
        target.write_marker(&Marker::under_way(repository, snapshot.source()))?;
    }

    let there: Option<LocalSource> = if empty { None } else { Some(LocalSource::open(root)?) };
    let run = Restore {
        reader: &reader,
        target: target.as_ref().filter(|_| !options.dry_run),
        there: there.as_ref(),
        trusted,
        options,
        observer,
        cancel,
        exceptions: Mutex::default(),
        written: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
    };
    if below.is_root() {
        let Snapshot { entries, bytes, .. } = snapshot.stored.open;
        observer.total(Total { entries, bytes, basis: Basis::Snapshot });
    }
    let mut outcome = run.run(session, snapshot, below)?;
    if let Some(target) = run.target {
        observer.phase(Phase::Flushing);
        for error in target.sync()? {
            run.failed(error)?;
        }
    }
    outcome.written += run.written.into_inner();
    outcome.bytes_written = run.bytes.into_inner();
    outcome.exceptions = run.exceptions.into_inner().unwrap_or_default();
    outcome.exceptions.sort_by(|a, b| a.path.cmp(&b.path));
    outcome.packs = reader.fetches();
    Ok(outcome)
}

struct Restore<'r> {
    reader: &'r ChunkReader<'r>,
    /// `None` in a dry run.
    target: Option<&'r Target>,
    there: Option<&'r LocalSource>,
    trusted: bool,
    options: &'r RestoreOptions,
    observer: &'r dyn Observer,
    cancel: &'r Cancel,
    exceptions: Mutex<Vec<Exception>>,
    written: AtomicU64,
    bytes: AtomicU64,
}

/// What waits until all files are there.
#[derive(Default)]
struct Later {
    symlinks: Vec<Entry>,
    links: Vec<Entry>,
    directories: Vec<Entry>,
    removals: Vec<RelativePath>,
    after_removals: Vec<Entry>,
}

/// A file to be written.
struct Job {
    entry: Entry,
    replaces: bool,
}

impl<'r> Restore<'r> {
    fn run(
        &self,
        session: &ReaderSession,
        snapshot: &CheckedSnapshot,
        below: &RelativePath,
    ) -> Result<RestoreOutcome, Error> {
        let mut outcome = RestoreOutcome::default();
        let mut later = Later::default();
        let workers = crate::workers(self.options.parallel);
        let (jobs, for_workers) = bounded::<Vec<Job>>(2 * workers);
        let (ahead, to_fetch) = bounded::<u32>(1);
        let first_error: Mutex<Option<Error>> = Mutex::new(None);
        let fail = |error: Error| {
            // Who only saw that another stopped has nothing to say.
            if !matches!(error, Error::Stopped) {
                lock(&first_error).get_or_insert(error);
            }
            self.cancel.set();
        };
        let distributed = std::thread::scope(|scope| {
            for _ in 0..2 {
                let to_fetch = to_fetch.clone();
                scope.spawn(move || {
                    for pack in to_fetch {
                        // A worker that needs the pack meets the same error, and reports it.
                        let _ = self.reader.pack(pack);
                    }
                });
            }
            for _ in 0..workers {
                let for_workers = for_workers.clone();
                let fail = &fail;
                scope.spawn(move || {
                    let mut frames = FrameReader::new(Decompressor::new());
                    for job in for_workers.into_iter().flatten() {
                        if self.cancel.is_set() {
                            break;
                        }
                        if let Err(error) = self.file(job, &mut frames) {
                            fail(error);
                        }
                    }
                });
            }
            drop((for_workers, to_fetch));
            let mut give = |batch: Vec<Job>, packs: Vec<u32>| {
                // Reading ahead is bounded by the queue, and so by what may be kept.
                for pack in packs {
                    ahead.send(pack).map_err(|_| Error::Stopped)?;
                }
                jobs.send(batch).map_err(|_| Error::Stopped)
            };
            let result =
                self.distribute(session, snapshot, below, &mut outcome, &mut later, &mut give);
            drop((jobs, ahead));
            result
        });
        if let Some(error) = first_error.into_inner().unwrap_or_default() {
            return Err(error);
        }
        distributed.map_err(stopped)?;
        if self.cancel.is_set() {
            return Err(Error::Interrupted);
        }
        let complete = Marker::complete(session.repository.id(), snapshot.source());
        self.finish(later, &complete, &mut outcome)?;
        Ok(outcome)
    }

    /// Merges the manifest with the target and gives files out to the workers.
    fn distribute(
        &self,
        session: &ReaderSession,
        snapshot: &CheckedSnapshot,
        below: &RelativePath,
        outcome: &mut RestoreOutcome,
        later: &mut Later,
        give: &mut dyn FnMut(Vec<Job>, Vec<u32>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut entries = session.tree(self.reader, snapshot, below.clone())?.peekable();
        let alone = match entries.peek() {
            None => return Err(Error::NoSuchPath(below.to_string())),
            Some(Ok(entry)) => !below.is_root() && entry.kind != Kind::Directory,
            Some(Err(_)) => false,
        };
        // A file alone lands as TARGET/its name, a directory's children right under TARGET.
        let prefix = if alone { below.parent().unwrap_or_default() } else { below.clone() };
        let mut renamed: HashMap<RelativePath, RelativePath> = HashMap::new();
        let moved = entries.map(|entry| -> Result<Entry, Error> {
            let mut entry = entry?;
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
            Ok(entry)
        });
        let there: Box<dyn Iterator<Item = Result<Entry, Error>>> = match self.there {
            None => Box::new(std::iter::empty()),
            Some(source) => {
                let mut first_names = FirstNames::default();
                Box::new(source.walk(&WalkOptions::default())?.filter_map(
                    move |event| match event {
                        WalkEvent::Entry(entry)
                            if is_marker(&entry.path)
                                || is_temporary(entry.path.name())
                                || entry.path.as_bytes() == b"lost+found" =>
                        {
                            None
                        }
                        WalkEvent::Entry(mut entry) => {
                            entry.hard_link = first_names.first_of(&entry);
                            Some(Ok(entry))
                        }
                        // Writing there meets the same problem, and reports it.
                        WalkEvent::Problem { .. } => None,
                    },
                ))
            }
        };

        let (mut batch, mut packs) = (Vec::new(), HashMap::new());
        let (mut bytes, mut needed) = (0, 0);
        for step in merge(moved, there) {
            if self.cancel.is_set() {
                return Err(Error::Stopped);
            }
            let (entry, found) = match step? {
                Merged::Left(entry) => (entry, None),
                Merged::Both(entry, found) => (entry, Some(found)),
                Merged::Right(found) => {
                    if self.options.delete && !found.path.is_root() {
                        later.removals.push(found.path);
                    }
                    continue;
                }
            };
            if !entry.path.is_root() {
                self.observer.add(Counter::Entries, 1);
            }
            let size = size(&entry);
            self.observer.add(Counter::Bytes, size);
            if let Some(job) = self.plan(entry, found, outcome, later)? {
                if let Some(content) = &job.entry.content {
                    self.packs_of(content, &mut packs);
                    needed += size;
                }
                bytes += size;
                batch.push(job);
                if batch.len() == BATCH_FILES || bytes >= BATCH_BYTES {
                    give(std::mem::take(&mut batch), worth_whole(&mut packs, needed))?;
                    (bytes, needed) = (0, 0);
                }
            }
        }
        if batch.is_empty() { Ok(()) } else { give(batch, worth_whole(&mut packs, needed)) }
    }

    /// Adds up how many bytes come from which pack.
    fn packs_of(&self, content: &drover_types::Content, packs: &mut HashMap<u32, u64>) {
        let drover_types::Extents::Inline(extents) = &content.extents else { return };
        for extent in extents.iter() {
            if let Extent::Chunk(chunk) = extent
                && let Some((pack, _)) = self.reader.index().places(&chunk.id).next()
            {
                *packs.entry(pack).or_default() += u64::from(chunk.len);
            }
        }
    }

    /// Decides what is to be done for one entry; a file to be written comes back.
    fn plan(
        &self,
        entry: Entry,
        found: Option<Entry>,
        outcome: &mut RestoreOutcome,
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
            return self.plan(entry, None, outcome, later);
        }
        if let Some(found) = &found
            && self.is_same(&entry, found)?
        {
            if entry.evidence.links > 1
                && entry.hard_link.is_none()
                && let Some(target) = self.target
            {
                target.vouch(&entry.path)?;
            }
            if is_directory {
                later.directories.push(entry);
                if !found.path.is_root() {
                    outcome.unchanged += 1;
                    self.observer.add(Counter::EntriesDone, 1);
                }
            } else {
                outcome.unchanged += 1;
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
                    outcome.written += 1;
                    self.observer.add(Counter::EntriesDone, 1);
                }
                later.directories.push(entry);
                Ok(None)
            }
            _ if entry.hard_link.is_some() => {
                later.links.push(entry);
                Ok(None)
            }
            Kind::File => {
                if let Some(found) = &found
                    && self.content_is_same(&entry, found)
                {
                    // Only attributes differ.
                    if let Some(target) = self.target {
                        match target.set_attributes(&entry) {
                            Ok(losses) => self.lost(&entry.path, losses),
                            Err(error) => self.failed(error)?,
                        }
                        if entry.evidence.links > 1 {
                            target.vouch(&entry.path)?;
                        }
                    }
                    self.done();
                    self.observer.add(Counter::BytesDone, size(&entry));
                    return Ok(None);
                }
                Ok(Some(Job { replaces: found.is_some(), entry }))
            }
            _ => {
                later.symlinks.push(entry);
                Ok(None)
            }
        }
    }

    /// Whether what is there has the content that it should have, as far as size and time tell
    /// of what drover itself put there.
    fn content_is_same(&self, entry: &Entry, found: &Entry) -> bool {
        let size = entry.content.as_ref().map(|content| content.size);
        self.trusted
            && entry.kind == found.kind
            && size == Some(found.evidence.size)
            && entry.attributes.mtime == found.attributes.mtime
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

    /// Writes one file.
    fn file(&self, job: Job, frames: &mut FrameReader) -> Result<(), Error> {
        let (size, written) = (size(&job.entry), AtomicU64::new(0));
        let result = self.new_file(job, frames, &written);
        // Holes, and what cannot be written: nothing is left to do of them either.
        self.observer.add(Counter::BytesDone, size.saturating_sub(written.into_inner()));
        result
    }

    fn new_file(
        &self,
        job: Job,
        frames: &mut FrameReader,
        written: &AtomicU64,
    ) -> Result<(), Error> {
        let Job { entry, replaces } = job;
        let Some(target) = self.target else {
            self.done();
            return Ok(());
        };
        let made = if replaces { target.replace_file(&entry) } else { target.create_file(&entry) };
        let file = match made {
            Ok(file) => file,
            Err(error) => return self.failed(error),
        };
        if let Err(error) = self.write(&file, &entry, frames, written) {
            return match error {
                Error::Target(error) => self.failed(error),
                Error::Chunk(error) => {
                    let message = error.to_string();
                    drop(file);
                    let _ = target.remove(&entry.path);
                    self.except(&entry.path, ExceptionKind::Error, message);
                    Ok(())
                }
                error => Err(error),
            };
        }
        match file.finish(&entry) {
            Ok(losses) => self.lost(&entry.path, losses),
            Err(error) => return self.failed(error),
        }
        self.done();
        Ok(())
    }

    /// Writes a file's chunks, and adds their lengths to `written` as they are there.
    fn write(
        &self,
        file: &NewFile,
        entry: &Entry,
        frames: &mut FrameReader,
        written: &AtomicU64,
    ) -> Result<(), Error> {
        let Some(content) = &entry.content else { return Ok(()) };
        let extents = tree::resolve(self.reader, content, frames)?;
        let one_chunk = extents.len() == 1;
        let write = |offset: u64, extent: &Extent, frames: &mut FrameReader| -> Result<(), Error> {
            let Extent::Chunk(chunk) = extent else { return Ok(()) };
            let done = self.reader.read(chunk, ChunkKind::Data, frames, |plain, hash| {
                (!one_chunk || hash == content.hash).then(|| file.write_at(offset, plain))
            })?;
            match done {
                None => return Err(drover_repo::ChunkError::Missing(chunk.id).into()),
                Some(done) => done?,
            }
            written.fetch_add(chunk.len.into(), Ordering::Relaxed);
            self.bytes.fetch_add(chunk.len.into(), Ordering::Relaxed);
            self.observer.add(Counter::BytesDone, chunk.len.into());
            Ok(())
        };
        if extents.len() <= WIDE {
            let mut offset = 0;
            for extent in extents.iter() {
                write(offset, extent, frames)?;
                offset += extent.len();
            }
            return Ok(());
        }
        let mut offset = 0;
        let placed: Vec<(u64, Extent)> = extents
            .iter()
            .map(|extent| {
                let at = offset;
                offset += extent.len();
                (at, *extent)
            })
            .collect();
        placed.par_chunks(WIDE).try_for_each_init(
            || FrameReader::new(Decompressor::new()),
            |frames, part| {
                if self.cancel.is_set() {
                    return Err(Error::Stopped);
                }
                part.iter().try_for_each(|(at, extent)| write(*at, extent, frames))
            },
        )
    }

    /// Everything that waits until the files are there.
    fn finish(
        &self,
        later: Later,
        complete: &Marker,
        outcome: &mut RestoreOutcome,
    ) -> Result<(), Error> {
        outcome.removed = later.removals.len() as u64;
        let Some(target) = self.target else {
            outcome.written += (later.symlinks.len() + later.links.len()) as u64;
            outcome.written += later.after_removals.len() as u64;
            return Ok(());
        };
        for error in target.sync()? {
            self.failed(error)?;
        }
        // Children come after their directories in the order, so that the reverse removes them
        // first.
        for path in later.removals.iter().rev() {
            if let Err(error) = target.remove(path) {
                outcome.removed -= 1;
                self.failed(error)?;
            }
        }
        let mut frames = FrameReader::new(Decompressor::new());
        let (mut links, mut others) = (later.links, later.symlinks);
        for entry in later.after_removals {
            match entry.kind {
                _ if entry.hard_link.is_some() => links.push(entry),
                Kind::File => self.file(Job { entry, replaces: false }, &mut frames)?,
                _ => others.push(entry),
            }
        }
        for entry in &others {
            match target.create_other(entry) {
                Ok(losses) => {
                    self.lost(&entry.path, losses);
                    self.done();
                }
                Err(error) => self.failed(error)?,
            }
        }
        links.sort_by(|a, b| a.path.cmp(&b.path));
        for entry in links {
            let first = entry.hard_link.as_ref().expect("it is a link");
            match target.hard_link(first, &entry.path) {
                Ok(()) => {
                    self.done();
                    self.observer.add(Counter::BytesDone, size(&entry));
                }
                // Its own file, then, with the loss on the list.
                Err(error) if entry.kind == Kind::File => {
                    self.except(
                        &entry.path,
                        ExceptionKind::Unsupported,
                        format!("restored as a file of its own: {error}"),
                    );
                    self.file(Job { entry, replaces: true }, &mut frames)?;
                }
                Err(error) => self.failed(error)?,
            }
        }
        for error in target.sync()? {
            self.failed(error)?;
        }
        // Every content is durable now. The mark changes the root's time, so it comes before the
        // directories get theirs.
        target.write_marker(complete)?;
        for entry in later.directories.iter().rev() {
            match target.set_attributes(entry) {
                Ok(losses) => self.lost(&entry.path, losses),
                Err(error) => self.failed(error)?,
            }
        }
        Ok(())
    }

    fn done(&self) {
        self.written.fetch_add(1, Ordering::Relaxed);
        self.observer.add(Counter::EntriesDone, 1);
    }

    fn except(&self, path: &RelativePath, kind: ExceptionKind, message: impl Into<String>) {
        let exception = Exception { path: path.clone(), kind, message: message.into() };
        self.observer.exception(&exception);
        lock(&self.exceptions).push(exception);
    }

    fn lost(&self, path: &RelativePath, losses: Losses) {
        for loss in losses {
            let message = format!("{}: {}", loss.what, loss.why);
            self.except(path, ExceptionKind::Unsupported, message);
        }
    }

    /// Puts a failure of one entry on the list; one that every further entry would meet ends
    /// the restore.
    fn failed(&self, error: TargetError) -> Result<(), Error> {
        match &error {
            TargetError::Entry { path, .. } if !error.is_fatal() => {
                self.except(path, error.exception_kind(), error.to_string());
                Ok(())
            }
            _ => Err(error.into()),
        }
    }
}

/// The logical size of a file, 0 of anything else.
fn size(entry: &Entry) -> u64 {
    entry.content.as_ref().map_or(0, |content| content.size)
}

/// The packs that are worth being fetched whole for a batch: those that give a good part of it.
/// Of the others, the few frames that are needed are read by themselves.
fn worth_whole(packs: &mut HashMap<u32, u64>, needed: u64) -> Vec<u32> {
    let mut worth: Vec<u32> =
        packs.drain().filter(|(_, bytes)| bytes * 4 >= needed).map(|(pack, _)| pack).collect();
    worth.sort_unstable();
    worth
}

fn stopped(error: Error) -> Error {
    match error {
        Error::Stopped => Error::Interrupted,
        error => error,
    }
}
