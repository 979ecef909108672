//! A tree merged with a manifest: a landed target, or the source as it is now.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use crossbeam_channel::bounded;
use drover_chunk::FileHasher;
use drover_repo::{CheckedSnapshot, certificate::Method, snapshot::Snapshot};
use drover_source::{
    ReadError, Source, WalkEvent, WalkOptions, Wish,
    target::{is_marker, is_temporary},
};
use drover_types::{
    Basis, Counter, Entry, ExceptionKind, FileHash, Kind, Observer, Phase, RelativePath,
    SnapshotId, Total, lock,
};

use super::{Finding, Verdict, VerifyOutcome};
use crate::{
    Cancel, Error,
    batch::Batch,
    compare::{Comparison, FirstNames, differences},
    merge::{Merged, Ordered, merge},
    owners::OwnerMap,
    reading::ReaderSession,
    sync::reader::stretches,
    taking::Taking,
    threads,
};

/// What a snapshot is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// A restore: everything must be as the snapshot says.
    Target,
    /// The source, which lives on: what changed after the pass is no difference.
    Source,
}

/// An entry of the snapshot, and what stands in its place.
struct Pair {
    expected: Entry,
    found: Entry,
}

impl Pair {
    /// Whether there is content to be compared.
    fn are_files(&self) -> bool {
        self.expected.kind == Kind::File && self.found.kind == Kind::File
    }

    /// Whether something has to be taken from the source to compare them. That a file has taken the
    /// place of something else shows without its content.
    fn is_taken(&self) -> bool {
        self.found.kind != Kind::File || self.are_files()
    }

    fn wish(&self) -> Option<Wish> {
        let Entry { path, kind, evidence, .. } = &self.found;
        self.is_taken().then(|| match kind {
            Kind::File => Wish::File { path: path.clone(), size: evidence.size },
            kind => Wish::Rest(path.clone(), kind.clone()),
        })
    }
}

/// What a worker needs.
struct Worker<'s> {
    buffer: Vec<u8>,
    /// Where the source wants to know ahead.
    taking: Option<Taking<'s>>,
}

/// Batches that wait for a worker, for each of them.
const WAITING: usize = 2;

/// Compares the tree of `source` with `snapshot`: every attribute, and every file's bytes by
/// their plain BLAKE3. Takes the meta key alone. Returns the outcome, and what changed since.
pub fn compare_tree(
    session: &mut ReaderSession,
    snapshot: SnapshotId,
    source: &dyn Source,
    what: Compared,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<(VerifyOutcome, Vec<(RelativePath, String)>), Error> {
    compare_mapped(session, snapshot, source, what, &OwnerMap::default(), observer, cancel)
}

/// The same of a tree that landed with other owners.
pub fn compare_mapped(
    session: &mut ReaderSession,
    snapshot: SnapshotId,
    source: &dyn Source,
    what: Compared,
    owners: &OwnerMap,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<(VerifyOutcome, Vec<(RelativePath, String)>), Error> {
    let cancel = &cancel.nested();
    let index = session.load_index()?;
    let session: &ReaderSession = session;
    let snapshot = session.snapshot(snapshot)?;
    let reader = session.chunks(&index);
    observer.phase(Phase::Comparing);
    let Snapshot { entries, bytes, .. } = snapshot.stored.open;
    observer.total(Total { entries, bytes, basis: Basis::Snapshot });
    let check = Check {
        source,
        what,
        owners,
        snapshot,
        observer,
        problems: Mutex::default(),
        unchecked: Mutex::default(),
        changed: Mutex::default(),
        bytes: AtomicU64::new(0),
    };
    threads::start_shared()?;
    let workers = match Taking::reading(source) {
        Some(_) => crate::WAITING_READERS,
        None => crate::workers(0),
    };
    let (pairs, for_workers) = bounded::<Vec<Pair>>(WAITING * workers);
    let counted = std::thread::scope(|scope| {
        let working = threads::spawn_some(scope, workers, || {
            let for_workers = for_workers.clone();
            let check = &check;
            move || {
                let mut worker =
                    Worker { buffer: vec![0; 1 << 20], taking: Taking::reading(source) };
                for batch in for_workers {
                    check.batch(batch, &mut worker, cancel);
                }
            }
        });
        drop(for_workers);
        let merge = |()| check.merge(session, &reader, &pairs, cancel);
        let merged = working.and_then(merge).inspect_err(|_| cancel.set());
        // The workers end when nothing more can come.
        drop(pairs);
        merged
    });
    let (entries, files) = counted?;
    if cancel.is_set() {
        return Err(Error::Interrupted);
    }
    let mut problems = check.problems.into_inner().unwrap_or_default();
    let unchecked = check.unchecked.into_inner().unwrap_or_default();
    let mut changed = check.changed.into_inner().unwrap_or_default();
    problems.sort();
    changed.sort();
    let verdict = match (problems.is_empty(), unchecked.is_empty()) {
        (false, _) => Verdict::Failed,
        (true, false) => Verdict::Incomplete,
        (true, true) => Verdict::Verified,
    };
    let outcome = VerifyOutcome {
        verdict,
        kind: match what {
            Compared::Target => Method::LandedAndHashed,
            Compared::Source => Method::SourceAgainstSnapshot,
        },
        sample: None,
        opened: true,
        method: match what {
            Compared::Target => "landed and hashed".into(),
            Compared::Source => "source against snapshot".into(),
        },
        entries,
        files,
        bytes: check.bytes.into_inner(),
        chunks: 0,
        packs: 0,
        problems,
        unchecked,
    };
    Ok((outcome, changed))
}

struct Check<'c> {
    source: &'c dyn Source,
    what: Compared,
    owners: &'c OwnerMap,
    snapshot: &'c CheckedSnapshot,
    observer: &'c dyn Observer,
    problems: Mutex<Vec<Finding>>,
    unchecked: Mutex<Vec<Finding>>,
    changed: Mutex<Vec<(RelativePath, String)>>,
    bytes: AtomicU64,
}

impl Check<'_> {
    fn merge(
        &self,
        session: &ReaderSession,
        reader: &drover_repo::ChunkReader<'_>,
        workers: &crossbeam_channel::Sender<Vec<Pair>>,
        cancel: &Cancel,
    ) -> Result<(u64, u64), Error> {
        let (mut entries, mut files) = (0, 0);
        let give = |batch| workers.send(batch).map_err(|_| Error::Interrupted);
        let mut batch = Batch::new();
        let mut first_names = FirstNames::new(session.folder());
        let expected = session
            .tree(reader, self.snapshot, RelativePath::root())?
            .map(|entry| entry.map(|entry| self.owners.mapped(entry)).map_err(Error::from));
        let skip = self.what == Compared::Target;
        let found = self
            .source
            .walk(&WalkOptions::default())?
            .filter(move |event| {
                let path = Ordered::path(event);
                let ours = is_marker(path)
                    || is_temporary(path.name())
                    || path.as_bytes() == b"lost+found";
                !(skip && ours)
            })
            .map(Ok::<WalkEvent, Error>);
        // Below a directory that could not be listed, what is absent is not known to be missing.
        let mut unknown: Option<RelativePath> = None;
        let mut excluded: Option<RelativePath> = None;
        for step in merge(expected, found) {
            if cancel.is_set() {
                return Err(Error::Interrupted);
            }
            match step? {
                Merged::Both(expected, WalkEvent::Entry(mut found)) => {
                    found.hard_link = first_names.first_of(&found)?;
                    if !expected.path.is_root() {
                        entries += 1;
                    }
                    files += u64::from(expected.kind == Kind::File);
                    self.found(&expected);
                    if self.counts(&expected) {
                        let pair = Pair { expected, found };
                        let bytes = if pair.are_files() { pair.found.evidence.size } else { 0 };
                        batch.push(pair, bytes).map_or(Ok(()), give)?;
                    } else {
                        self.done(&expected, 0);
                    }
                }
                Merged::Left(expected) => {
                    self.found(&expected);
                    self.done(&expected, 0);
                    let within = |unknown: &RelativePath| expected.path.is_within(unknown);
                    if !expected.path.is_root() {
                        entries += 1;
                    }
                    let is_seen = ![&unknown, &excluded].into_iter().flatten().any(within);
                    if is_seen && self.counts(&expected) {
                        self.missing(expected.path);
                    }
                }
                Merged::Right(WalkEvent::Entry(mut found)) => {
                    found.hard_link = first_names.first_of(&found)?;
                    self.extra(&found);
                }
                Merged::Both(expected, WalkEvent::Excluded { path, rule, .. }) => {
                    entries += u64::from(!expected.path.is_root());
                    self.found(&expected);
                    self.done(&expected, 0);
                    lock(&self.changed).push((path.clone(), format!("left out by {rule}")));
                    excluded = Some(path);
                }
                Merged::Right(WalkEvent::Excluded { path, .. }) => excluded = Some(path),
                Merged::Right(WalkEvent::Problem { path, exception, .. })
                | Merged::Both(_, WalkEvent::Problem { path, exception, .. }) => {
                    lock(&self.unchecked).push(Finding {
                        kind: exception.kind.to_string(),
                        object: None,
                        path: Some(path.clone()),
                        message: exception.message,
                    });
                    unknown = Some(path);
                }
            }
        }
        batch.rest().map_or(Ok(()), give)?;
        Ok((entries, files))
    }

    /// Whether this entry must be as the snapshot says. A restore lands stale entries too; the
    /// source could not be read there, and may have moved on.
    fn counts(&self, expected: &Entry) -> bool {
        self.what == Compared::Target || !expected.stale
    }

    fn problem(&self, kind: &str, path: RelativePath, message: String) {
        lock(&self.problems).push(Finding {
            kind: kind.into(),
            object: None,
            path: Some(path),
            message,
        });
    }

    fn missing(&self, path: RelativePath) {
        match self.what {
            Compared::Target => self.problem("missing", path, "it is not there".into()),
            // Only a file's own name can tell when it went, and it is gone.
            Compared::Source => lock(&self.changed).push((path, "removed".into())),
        }
    }

    fn extra(&self, found: &Entry) {
        let excepted =
            self.snapshot.details.exceptions.iter().any(|exception| exception.path == found.path);
        match self.what {
            Compared::Target => {
                self.problem("extra", found.path.clone(), "the snapshot does not have it".into());
            }
            Compared::Source if excepted => {}
            Compared::Source if self.changed_since(found) => {
                lock(&self.changed).push((found.path.clone(), "new".into()));
            }
            Compared::Source => {
                let message = "it was there before the pass, and the snapshot does not have it";
                self.problem("extra", found.path.clone(), message.into());
            }
        }
    }

    /// Whether an entry of the living source changed after the pass began.
    fn changed_since(&self, found: &Entry) -> bool {
        let started = self.snapshot.details.started;
        found.attributes.mtime >= started || found.evidence.ctime.is_none_or(|c| c >= started)
    }

    fn found(&self, expected: &Entry) {
        self.observer.add(Counter::Entries, u64::from(!expected.path.is_root()));
        self.observer.add(Counter::Bytes, size(expected));
    }

    /// Tells that nothing is left to do for this entry, of which `told` bytes were told before.
    fn done(&self, expected: &Entry, told: u64) {
        self.observer.add(Counter::EntriesDone, u64::from(!expected.path.is_root()));
        self.observer.add(Counter::BytesDone, size(expected).saturating_sub(told));
    }

    fn batch(&self, batch: Vec<Pair>, worker: &mut Worker<'_>, cancel: &Cancel) {
        if let Some(taking) = &mut worker.taking {
            taking.announce(batch.iter().filter_map(Pair::wish).collect());
        }
        for pair in batch {
            if cancel.is_set() {
                return;
            }
            let mut told = 0;
            let is_taken = pair.is_taken();
            let Pair { expected, mut found } = pair;
            let Worker { buffer, taking } = worker;
            let hash = match taking {
                Some(taking) if is_taken => {
                    self.take(&expected, &mut found, taking, buffer, &mut told, cancel)
                }
                _ => self.read(&expected, &mut found, buffer, &mut told, cancel),
            };
            match hash {
                Ok(hash) => self.compare(&expected, &found, hash),
                Err(error) => self.unreadable(error),
            }
            self.done(&expected, told);
        }
    }

    fn compare(&self, expected: &Entry, found: &Entry, hash: Option<(FileHash, u64)>) {
        let mut messages: Vec<(&str, String)> =
            differences(expected, found, Comparison { owners: true, extended: true })
                .iter()
                .map(|difference| ("metadata differs", difference.to_string()))
                .collect();
        if let (Some(content), Some((found_hash, size))) = (&expected.content, hash)
            && (content.hash != found_hash || content.size != size)
        {
            let message = format!(
                "BLAKE3 {found_hash} of {size} bytes instead of {} of {} bytes",
                content.hash, content.size
            );
            messages.push(("content differs", message));
        }
        for (kind, message) in messages {
            if self.what == Compared::Source && self.changed_since(found) {
                lock(&self.changed).push((found.path.clone(), message));
            } else {
                self.problem(kind, found.path.clone(), message);
            }
        }
    }

    fn unreadable(&self, error: ReadError) {
        let exception: drover_types::Exception = error.into();
        if exception.kind == ExceptionKind::Vanished && self.what == Compared::Source {
            return lock(&self.changed).push((exception.path, "removed".into()));
        }
        lock(&self.unchecked).push(Finding {
            kind: exception.kind.to_string(),
            object: None,
            path: Some(exception.path),
            message: exception.message,
        });
    }

    /// Takes what was announced, and fills it in; hash and size of a file's content.
    fn take(
        &self,
        expected: &Entry,
        found: &mut Entry,
        taking: &mut Taking<'_>,
        buffer: &mut [u8],
        told: &mut u64,
        cancel: &Cancel,
    ) -> Result<Option<(FileHash, u64)>, ReadError> {
        if found.kind != Kind::File {
            return taking.complete(found).map(|()| None);
        }
        let reached = |at| self.reached(at, size(expected), told);
        let Some(hashed) = taking.hash(&found.path, self.observer, cancel, reached)? else {
            return self.read(expected, found, buffer, told, cancel);
        };
        found.attributes = hashed.stat.attributes;
        found.evidence = hashed.stat.evidence;
        self.bytes.fetch_add(hashed.size, Ordering::Relaxed);
        Ok(Some((hashed.hash, hashed.size)))
    }

    /// The same of an entry that is read alone.
    fn read(
        &self,
        expected: &Entry,
        found: &mut Entry,
        buffer: &mut [u8],
        told: &mut u64,
        cancel: &Cancel,
    ) -> Result<Option<(FileHash, u64)>, ReadError> {
        if found.kind != Kind::File {
            return self.source.complete(found).map(|()| None);
        }
        let mut file = self.source.open(&found.path)?;
        file.complete(&mut found.attributes)?;
        match expected.kind {
            Kind::File => {
                self.hash(&mut *file, size(expected), buffer, told, cancel).map(Option::Some)
            }
            _ => Ok(None),
        }
    }

    /// Tells how far a file is; no more than is expected of it.
    fn reached(&self, at: u64, expected: u64, told: &mut u64) {
        let reached = at.min(expected);
        self.observer.add(Counter::BytesDone, reached.saturating_sub(*told));
        *told = reached.max(*told);
    }

    /// Hashes the zeros of a hole, as long as nobody wants to stop: what was hashed by then is of
    /// no interest.
    fn hole(&self, hasher: &mut FileHasher, hole: std::ops::Range<u64>, cancel: &Cancel) {
        for part in stretches(hole).take_while(|_| !cancel.is_set()) {
            hasher.update_zeros(part.end - part.start);
        }
    }

    fn hash(
        &self,
        file: &mut dyn drover_source::SourceFile,
        expected: u64,
        buffer: &mut [u8],
        told: &mut u64,
        cancel: &Cancel,
    ) -> Result<(FileHash, u64), ReadError> {
        let mut hasher = FileHasher::new();
        let size = file.stat()?.evidence.size;
        let mut at = 0;
        while let Some(data) = file.next_data(at)? {
            self.hole(&mut hasher, at..data.start, cancel);
            at = data.start;
            while at < data.end && !cancel.is_set() {
                let want = buffer.len().min((data.end - at) as usize);
                let read = file.read_at(at, &mut buffer[..want])?;
                if read == 0 {
                    break;
                }
                hasher.update(&buffer[..read]);
                at += read as u64;
                self.observer.add(Counter::BytesRead, read as u64);
                self.reached(at, expected, told);
            }
            if at < data.end {
                break;
            }
        }
        if at < size && file.next_data(at)?.is_none() {
            self.hole(&mut hasher, at..size, cancel);
            at = size;
        }
        self.bytes.fetch_add(at, Ordering::Relaxed);
        Ok((hasher.finalize(), at))
    }
}

/// The logical size of a file, 0 of anything else.
fn size(entry: &Entry) -> u64 {
    entry.content.as_ref().map_or(0, |content| content.size)
}
