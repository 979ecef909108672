//! sync: one pass over a source, which leaves a snapshot.

pub(crate) mod collector;
mod count;
pub(crate) mod dedup;
pub(crate) mod packer;
mod preview;
pub(crate) mod reader;
pub(crate) mod steps;
pub(crate) mod times;
pub(crate) mod uploader;
pub(crate) mod window;
pub(crate) mod worker;

pub use collector::EntryCounts;
pub use preview::{LastPass, Preview, preview};
pub use steps::Exclusions;

use std::sync::Mutex;

use crossbeam_channel::bounded;
use drover_crypt::merkle::Frontier;
use drover_pack::{PackIdentity, Session};
use drover_repo::{
    index, names,
    objects::Objects,
    snapshot::{self, Details, Snapshot},
    state::{Commit, Head, SourceRecord, TapeReader, TapeWriter},
};
use drover_source::{Loss, Source, SourceDescription, Walk, WalkOptions};
use drover_store::Usage;
use drover_types::{
    Basis, Counter, Exception, Observer, PackClass, Phase, SnapshotId, SourceId, Timestamp, Total,
    clock, limits, lock,
};

use crate::{
    Cancel, Error, PROGRAM,
    audit::Event,
    pipeline::{self, Finished, Stages},
    session::WriterSession,
    threads,
};
use dedup::Dedup;
use steps::{Checkpoints, Steps, Tape};
pub use times::StageTime;

/// zstd's level where none is asked for: most of what it can save for a third of the time of 3.
pub const DEFAULT_LEVEL: i32 = 1;

/// How a pass is run.
#[derive(Clone, Debug)]
pub struct SyncOptions {
    /// The source's name; `None` for host and canonical path.
    pub name: Option<String>,
    /// Accept a source that is empty, or on another file system than in the last pass.
    pub allow_empty: bool,
    /// Stay on the root's file system.
    pub one_file_system: bool,
    /// Trust no evidence: read every file again.
    pub reread: bool,
    /// Files read at a time; 0 for one per core.
    pub parallel: usize,
    /// zstd's level.
    pub compression_level: i32,
    /// Open and check every pack before it is sent.
    pub self_check: bool,
    /// Who runs it.
    pub operator: String,
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self {
            name: None,
            allow_empty: false,
            one_file_system: false,
            reread: false,
            parallel: 0,
            compression_level: DEFAULT_LEVEL,
            self_check: true,
            operator: String::new(),
        }
    }
}

/// What a pass left.
#[derive(Clone, Debug)]
pub struct SyncOutcome {
    /// The source's name.
    pub source: String,
    /// The new snapshot.
    pub snapshot: SnapshotId,
    /// The one before it of the same source.
    pub parent: Option<SnapshotId>,
    /// Entries by what became of them.
    pub counts: EntryCounts,
    /// Bytes read from the source.
    pub read: u64,
    /// Plaintext bytes of chunks that were not there before.
    pub new: u64,
    /// Their sealed size.
    pub stored: u64,
    /// Requests and bytes of this pass.
    pub usage: Usage,
    /// What could not be taken.
    pub exceptions: Vec<Exception>,
    /// What rules left out.
    pub exclusions: Exclusions,
    /// What the source could not say, though its entries have it.
    pub fidelity: Vec<Fidelity>,
    /// What was negotiated with the source's server; empty where there is none.
    pub connection: String,
    /// Where the threads of its stages spent their time.
    pub stages: Vec<StageTime>,
    /// When the pass began and ended.
    pub time: (Timestamp, Timestamp),
}

/// A class of what entries have besides their content, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fidelity {
    /// What it is.
    pub class: &'static str,
    /// Of how many entries it may be.
    pub count: u64,
    /// What became of it: `lost`.
    pub outcome: &'static str,
}

/// Runs one pass over `source`.
pub fn sync(
    session: &WriterSession,
    source: &dyn Source,
    options: &SyncOptions,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<SyncOutcome, Error> {
    let cancel = &cancel.nested();
    let started = clock::now();
    let objects = session.objects.accounted();
    let reading = CountingObserver { inner: observer, read: Default::default() };
    // An earlier pass of this session may have sent its snapshot without learning that it arrived.
    {
        let _committing = lock(&session.committing);
        session.finish_pending_commit()?;
    }
    let keys = session.credential.domain_keys();
    let description = source.description();
    let name = name_of(&description, options)?;
    let source_id = keys.source_id(name.as_bytes());
    let last = session.database.source(source_id)?;
    // Fails early where the source is not what it was.
    let walk_options =
        WalkOptions { one_file_system: options.one_file_system, ..WalkOptions::default() };
    let walk = begin(source, &name, last.as_ref(), options, &walk_options)?;

    observer.phase(Phase::Syncing);
    if let Some(last) = &last {
        let SourceRecord { entries, bytes, .. } = *last;
        observer.total(Total { entries, bytes, basis: Basis::LastPass });
    }
    let dedup = Dedup::new(&session.database)?;
    let workers = crate::workers(options.parallel);
    let parent_tape = match &last {
        Some(last) => TapeReader::open(&session.folder.manifest(source_id, last.snapshot))?,
        None => None,
    };
    if last.is_some() && parent_tape.is_none() {
        observer.warning(
            "the last manifest of this source is not in the state: every file is read again",
        );
    }
    session.folder.prune_checkpoints(source_id);
    let checkpoints = session.folder.checkpoints(source_id);
    let tapes = checkpoints
        .iter()
        .map(|(_, path)| Ok(Tape::new(TapeReader::open(path)?, &keys)))
        .collect::<Result<Vec<_>, Error>>()?;
    let exclusions = Mutex::default();
    let steps = Steps::new(
        walk,
        Box::new(Tape::parent(parent_tape, &keys, &reading)),
        Checkpoints::new(tapes.into_iter()),
        Some(&dedup),
        &exclusions,
        &reading,
        Some(&session.folder),
    )
    .rereading(options.reread);
    let credential = &session.credential;
    let identity = PackIdentity {
        repository: session.repository,
        writer: credential.writer_id(),
        domain: credential.domain_id(),
    };
    let new_session =
        |class| Session::new(identity, class, credential.epoch(), credential.reader(class));
    let stages = Stages {
        source,
        source_id,
        objects: &objects,
        database: &session.database,
        keys: &keys,
        dedup: &dedup,
        sessions: [new_session(PackClass::Data), new_session(PackClass::Meta)],
        meta: credential.reader(PackClass::Meta),
        repository: session.repository,
        writer: credential.writer_id(),
        epoch: credential.epoch(),
        folder: &session.folder,
        tape: TapeWriter::create(session.folder.next_checkpoint(source_id))?,
        workers,
        level: options.compression_level,
        self_check: options.self_check,
        reread: options.reread,
        observer: &reading,
        cancel,
    };
    let finished = std::thread::scope(|scope| {
        // Hung up at the end of the pass, which ends the count.
        let (_pass, ended) = bounded(0);
        if last.is_none() {
            let options = &walk_options;
            let count = move || count::beside(source, options, count::AFTER, &ended, observer);
            // A pass can do without.
            let _ = threads::spawn(scope, count);
        }
        pipeline::run(stages, steps)
    })
    .map_err(|error| match error {
        Error::Stopped => Error::Interrupted,
        error => error,
    })?;

    observer.phase(Phase::Committing);
    let parent = last.as_ref().map(|last| last.snapshot);
    let pass =
        Pass { session, objects: &objects, name: &name, source_id, parent, started, options };
    let (snapshot, ended, finished) = pass.commit(finished, &description)?;
    Ok(SyncOutcome {
        source: name,
        snapshot,
        parent,
        counts: finished.counts,
        read: reading.read.into_inner(),
        new: finished.new,
        stored: finished.stored,
        usage: objects.usage(),
        exceptions: finished.exceptions,
        exclusions: exclusions.into_inner().unwrap_or_default(),
        fidelity: fidelity(source, &finished.counts),
        connection: description.connection,
        stages: finished.times,
        time: (started, ended),
    })
}

/// The source's name.
fn name_of(description: &SourceDescription, options: &SyncOptions) -> Result<String, Error> {
    let name = options.name.clone().unwrap_or_else(|| {
        let root = drover_types::path::escape(&description.root);
        match description.kind {
            "local" => format!("{}:{root}", description.host),
            // A URL says the host itself.
            _ => root,
        }
    });
    for (what, text) in [("source", &name), ("operator", &options.operator)] {
        if text.len() > limits::NAME {
            return Err(Error::LongName { what, len: text.len() });
        }
    }
    Ok(name)
}

/// Begins the walk, and refuses a source that is not what the last pass saw.
fn begin(
    source: &dyn Source,
    name: &str,
    last: Option<&SourceRecord>,
    options: &SyncOptions,
    walk_options: &WalkOptions,
) -> Result<Walk, Error> {
    let last = last.filter(|last| last.entries > 0 && !options.allow_empty);
    let file_system = source.description().file_system;
    // A source that is read another way than before may not say what it is on.
    if let Some(last) = last
        && last.device != file_system
        && last.device != 0
        && file_system != 0
    {
        return Err(suspect(name, "is on another file system than before", last.entries));
    }
    // The root's own entry comes first. A source that shows nothing else is empty.
    let mut walk = source.walk(walk_options)?;
    let beginning: Vec<_> = walk.by_ref().take(2).collect();
    match last {
        Some(last) if beginning.len() < 2 => Err(suspect(name, "is empty", last.entries)),
        _ => Ok(Walk::new(beginning.into_iter().chain(walk))),
    }
}

/// What `source` does not say of what the pass took.
fn fidelity(source: &dyn Source, counts: &EntryCounts) -> Vec<Fidelity> {
    let line = |loss: &Loss| Fidelity {
        class: loss.class,
        count: if loss.of_files { counts.files } else { counts.total() },
        outcome: "lost",
    };
    source.losses().iter().map(line).collect()
}

fn suspect(name: &str, why: &'static str, entries: u64) -> Error {
    Error::SuspectSource { source_name: name.into(), why, entries }
}

/// The end of a pass.
struct Pass<'s> {
    session: &'s WriterSession,
    objects: &'s Objects,
    name: &'s str,
    source_id: SourceId,
    parent: Option<SnapshotId>,
    started: Timestamp,
    options: &'s SyncOptions,
}

/// What is left of [`Finished`] once its tape has been put in its place.
struct Summary {
    counts: EntryCounts,
    exceptions: Vec<Exception>,
    new: u64,
    stored: u64,
    times: Vec<StageTime>,
}

impl Pass<'_> {
    /// Writes the list of packs, the log record and the snapshot, in this order, and moves the
    /// state on. Everything that the snapshot names is acknowledged by now.
    fn commit(
        &self,
        finished: Finished,
        description: &SourceDescription,
    ) -> Result<(SnapshotId, Timestamp, Summary), Error> {
        let Self { session, objects, source_id, .. } = *self;
        let credential = &session.credential;
        let meta = credential.reader(PackClass::Meta);
        let _committing = lock(&session.committing);
        // Another pass of this session may have failed in the middle of its commit.
        session.finish_pending_commit()?;
        let mut head = session.database.head()?;
        let packs = session.database.unlisted()?;
        let mut tree: Frontier = head.packs.clone();
        packs.iter().for_each(|pack| tree.push(pack.leaf()));
        let mut pack_list = [0; 32];
        if !packs.is_empty() {
            let bytes = index::encode_list(&packs);
            pack_list = *blake3::hash(&bytes).as_bytes();
            objects.put_new(&names::pack_list(&pack_list), bytes.into())?;
        }

        let ended = clock::now();
        let counts = finished.counts;
        let mut outcome = format!(
            "snapshot {} of {} entries, {} exceptions",
            head.sequence + 1,
            counts.total(),
            finished.exceptions.len()
        );
        if !description.connection.is_empty() {
            outcome.push_str(&format!(", over {}", description.connection));
        }
        let operator = &self.options.operator;
        let event = Event { operator, verb: "sync", subject: self.name, outcome: &outcome };
        let record = session.next_record(&mut head, ended, &event);

        let open = Snapshot {
            repository: session.repository,
            writer: credential.writer_id(),
            sequence: head.sequence + 1,
            previous: head.snapshot,
            epoch: credential.epoch(),
            domain: credential.domain_id(),
            time: ended,
            source: source_id,
            entries: counts.total(),
            files: counts.files,
            bytes: counts.bytes,
            pack_list,
            new_packs: packs.len() as u64,
            packs: tree.clone(),
            manifest_root: finished.manifest.root,
            log_sequence: head.log_sequence,
            log_head: head.log,
        };
        let inline = finished.exception_chunks.is_empty();
        let details = Details {
            source: self.name.into(),
            location: description.root.to_vec(),
            host: description.host.clone(),
            parent: self.parent.map_or([0; 32], |parent| parent.0),
            started: self.started,
            manifest: finished.manifest,
            exceptions: if inline { finished.exceptions.clone() } else { Vec::new() },
            exception_count: finished.exceptions.len() as u64,
            exception_chunks: finished.exception_chunks,
            program: PROGRAM.into(),
            operator: self.options.operator.clone(),
        };
        let bytes = snapshot::encode(&open, &details, meta, credential.signing_key());
        let id = snapshot::id_of(&bytes);
        let commit = Commit {
            objects: vec![record, (names::snapshot(&open.writer, open.sequence, &id), bytes)],
            head: Head { sequence: open.sequence, snapshot: id.0, packs: tree, ..head },
            source: Some((
                source_id,
                SourceRecord {
                    name: self.name.into(),
                    snapshot: id,
                    device: description.file_system,
                    entries: counts.total(),
                    bytes: counts.bytes,
                    time: ended,
                },
            )),
            listed: packs.len() as u64,
        };
        // Whole before the commit, in its place after: a kill between the two leaves a tape that
        // `finish_pending_commit` puts there.
        let tape = finished.tape.end()?;
        session.database.begin_commit(&commit)?;
        tape.move_to(&session.folder.manifest(source_id, id))?;
        for (name, bytes) in &commit.objects {
            objects.put_new(name, bytes.clone().into())?;
        }
        session.database.finish_commit(&commit)?;
        session.database.set_writer(credential.writer_id())?;
        session.folder.remove_other_manifests(source_id, id);
        session.folder.remove_checkpoints(source_id);
        let Finished { exceptions, new, stored, times, .. } = finished;
        Ok((id, ended, Summary { counts, exceptions, new, stored, times }))
    }
}

/// Counts the bytes read on their way to the real observer.
struct CountingObserver<'o> {
    inner: &'o dyn Observer,
    read: std::sync::atomic::AtomicU64,
}

impl Observer for CountingObserver<'_> {
    fn add(&self, counter: Counter, amount: u64) {
        if counter == Counter::BytesRead {
            self.read.fetch_add(amount, std::sync::atomic::Ordering::Relaxed);
        }
        self.inner.add(counter, amount);
    }
    fn phase(&self, phase: Phase) {
        self.inner.phase(phase);
    }
    fn total(&self, total: Total) {
        self.inner.total(total);
    }
    fn exception(&self, exception: &Exception) {
        self.inner.exception(exception);
    }
    fn warning(&self, message: &str) {
        self.inner.warning(message);
    }
}
