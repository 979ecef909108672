//! restore: a manifest merged with a target.
//!
//! `plan.rs` merges, makes directories, and gives files out; `land.rs` fetches what they need,
//! every pack once, and writes it (`placements.rs` sorts); `finish.rs` does the rest, in this
//! order, from what waited (`later.rs`): what replaces something takes its place, what the snapshot lacks is removed, symlinks
//! and hard links are made, and directories get their attributes.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use crossbeam_channel::bounded;
use drover_chunk::Decompressor;
use drover_crypt::domain::DomainKeys;
use drover_pack::FrameReader;
use drover_repo::{CheckedSnapshot, ChunkReader, manifest::ManifestRoot, snapshot::Snapshot};
use drover_source::{
    LocalSource,
    target::{
        Losses, Marker, MarkerState, Owners, SettlingMark, Target, TargetError, TargetOptions,
    },
};
use drover_types::{
    Basis, Counter, Entry, Exception, ExceptionKind, Observer, Phase, RelativePath, SnapshotId,
    Timestamp, Total, lock,
};

use crate::{Cancel, Error, OwnerMap, reading::ReaderSession, threads};

mod finish;
mod land;
mod later;
mod placements;
mod plan;

use land::Landing;
use later::Later;
use plan::Job;

/// How a restore is run.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// Remove what the snapshot lacks.
    pub delete: bool,
    /// Accept a target that is not empty and not known.
    pub overwrite: bool,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
    /// What may be put back.
    pub target: TargetOptions,
    /// Who owns what here instead.
    pub owners: OwnerMap,
    /// Keep the packs of metadata that were read in memory: at most 96 MiB, for the next landing.
    pub keep_packs: bool,
    /// Leave the target as it is until the manifest was read to its end and some pack is known to hold
    /// each chunk of what is to be written.
    pub check_first: bool,
}

impl RestoreOptions {
    /// Gives things to others. Whoever says whom things shall belong to wants them to.
    pub fn owned(mut self, owners: OwnerMap) -> Self {
        if !owners.is_empty() && self.target.owners == Owners::Ignore {
            self.target.owners = Owners::Keep;
        }
        self.owners = owners;
        self
    }
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
    let index = session.load_index()?;
    let reader = session.chunks(&index);
    restore_by(session, &reader, snapshot, below, root, options, observer, cancel)
}

/// The same by a reader that may have read before, and may read again.
#[allow(clippy::too_many_arguments, reason = "what a restore takes, and its reader")]
pub(crate) fn restore_by(
    session: &ReaderSession,
    reader: &ChunkReader<'_>,
    snapshot: SnapshotId,
    below: &RelativePath,
    root: &Path,
    options: &RestoreOptions,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<RestoreOutcome, Error> {
    let cancel = &cancel.nested();
    let snapshot = session.snapshot(snapshot)?;
    observer.phase(Phase::Restoring);

    let exists = root.exists();
    let target = match exists || !options.dry_run {
        true => Some(Target::open(root, options.target)?),
        false => None,
    };
    let written = target.as_ref().filter(|_| !options.dry_run);
    let claim = written
        .map(|target| target.claim().ok_or_else(|| Error::TargetBusy(root.display().to_string())));
    let _claim = claim.transpose()?;
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
    let before = known.and_then(Marker::last_complete);
    let is_faithful = |marker: &&Marker| {
        marker.whole && marker.exceptions == 0 && marker.state == MarkerState::Complete
    };
    let landed_at = match (&target, known.filter(is_faithful)) {
        (Some(target), Some(_)) if below.is_root() => target.marked_at()?,
        _ => None,
    };
    let begun = Marker::under_way(repository, snapshot.source(), snapshot.id());
    let begun = Marker { before, ..begun };

    let there: Option<LocalSource> = if empty { None } else { Some(LocalSource::open(root)?) };
    let run = Restore {
        reader,
        target: target.as_ref().filter(|_| !options.dry_run),
        check_first: options.check_first && !options.dry_run,
        there: there.as_ref(),
        known: known.is_some(),
        trusted,
        begun: &begun,
        earlier: earlier(session, known, below),
        landed_at,
        surplus: AtomicU64::new(0),
        leftovers: Mutex::default(),
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
    let (mut outcome, mark) = run.run(session, snapshot, below).map_err(|error| match error {
        Error::Stopped => Error::Interrupted,
        error => error,
    })?;
    if let Some(target) = run.target {
        observer.phase(Phase::Flushing);
        for error in target.sync()? {
            run.failed(error)?;
        }
    }
    if let Some(mark) = mark {
        mark.complete(lock(&run.exceptions).len() as u64)?;
    }
    outcome.written += run.written.into_inner();
    outcome.bytes_written = run.bytes.into_inner();
    outcome.exceptions = run.exceptions.into_inner().unwrap_or_default();
    outcome.exceptions.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(outcome)
}

/// The manifests of the snapshots that `marker` names, where the whole of one lands.
fn earlier(
    session: &ReaderSession,
    marker: Option<&Marker>,
    below: &RelativePath,
) -> Vec<(Arc<DomainKeys>, ManifestRoot)> {
    let ids = marker.into_iter().filter(|_| below.is_root()).flat_map(Marker::snapshots);
    let known = ids.filter_map(|id| session.snapshot(id).ok());
    let manifest = |snapshot: &CheckedSnapshot| {
        (session.history.keys(snapshot).clone(), snapshot.details.manifest)
    };
    known.map(manifest).collect()
}

struct Restore<'r> {
    reader: &'r ChunkReader<'r>,
    /// `None` in a dry run.
    target: Option<&'r Target>,
    /// Nothing of the target is touched before the manifest was read to its end.
    check_first: bool,
    there: Option<&'r LocalSource>,
    /// The target is an earlier restore of this source, finished or not.
    known: bool,
    /// As far as it goes, sizes and times stand for content.
    trusted: bool,
    /// The mark that it left when it began.
    begun: &'r Marker,
    /// The manifests that what is in the target can be of.
    earlier: Vec<(Arc<DomainKeys>, ManifestRoot)>,
    /// Until when the target was what the first of these says, attributes included; by the clock of
    /// its file system.
    landed_at: Option<Timestamp>,
    /// How many entries stay in the target that the snapshot lacks.
    surplus: AtomicU64,
    /// What a run that was killed left, to be taken away when this one begins.
    leftovers: Mutex<Vec<RelativePath>>,
    options: &'r RestoreOptions,
    observer: &'r dyn Observer,
    cancel: &'r Cancel,
    exceptions: Mutex<Vec<Exception>>,
    written: AtomicU64,
    bytes: AtomicU64,
}

impl Restore<'_> {
    fn run(
        &self,
        session: &ReaderSession,
        snapshot: &CheckedSnapshot,
        below: &RelativePath,
    ) -> Result<(RestoreOutcome, Option<SettlingMark>), Error> {
        if self.target.is_some() {
            threads::start_shared()?;
        }
        if !self.check_first {
            self.begin()?;
        }
        let keys = session.history.keys(snapshot);
        let landing =
            self.target.map(|target| Landing::new(self, target, keys.clone())).transpose()?;
        let mut later = Later::new(self.target, keys)?;
        self.plan_all(session, snapshot, below, landing.as_ref(), &mut later)?;
        if !self.options.keep_packs {
            self.reader.forget_packs();
        }
        let mut outcome = RestoreOutcome {
            written: later.written,
            unchanged: later.unchanged,
            removed: later.removals.len() as u64,
            ..RestoreOutcome::default()
        };
        let mut mark = None;
        match self.target.zip(landing) {
            Some((target, landing)) => {
                landing.land()?;
                let removed;
                (removed, mark) = self.finish(later, &landing, target, below)?;
                outcome.removed = removed;
            }
            None => {
                let others = later.symlinks.len() + later.links.len() + later.after_removals.len();
                outcome.written += others as u64;
            }
        }
        Ok((outcome, mark))
    }

    /// From here on the target is changed; its mark says so first.
    fn begin(&self) -> Result<(), Error> {
        let Some(target) = self.target else { return Ok(()) };
        target.write_marker(self.begun)?;
        for path in std::mem::take(&mut *lock(&self.leftovers)) {
            // One that stays is in nobody's way.
            let _ = target.remove(&path);
        }
        Ok(())
    }

    /// Goes through the manifest; several threads find out what files need.
    fn plan_all(
        &self,
        session: &ReaderSession,
        snapshot: &CheckedSnapshot,
        below: &RelativePath,
        landing: Option<&Landing<'_>>,
        later: &mut Later,
    ) -> Result<(), Error> {
        let workers = crate::workers(0);
        let (jobs, for_workers) = bounded::<Vec<Job>>(2 * workers);
        let first_error: Mutex<Option<Error>> = Mutex::new(None);
        let planned = std::thread::scope(|scope| {
            threads::spawn_some(scope, workers, || {
                let (for_workers, first_error) = (for_workers.clone(), &first_error);
                move || {
                    let mut frames = FrameReader::new(Decompressor::new());
                    for job in for_workers.into_iter().flatten() {
                        let planned = match landing {
                            _ if self.cancel.is_set() => Err(Error::Stopped),
                            Some(landing) => landing.plan(job, &mut frames),
                            None => {
                                self.done();
                                self.observer.add(Counter::BytesDone, size(&job.entry));
                                Ok(())
                            }
                        };
                        if let Err(error) = planned {
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
            let give = |batch| jobs.send(batch).map_err(|_| Error::Stopped);
            let planned = self.plan(session, snapshot, below, later, &give);
            drop(jobs);
            planned
        });
        if let Some(error) = first_error.into_inner().unwrap_or_default() {
            return Err(error);
        }
        planned?;
        if self.cancel.is_set() { Err(Error::Stopped) } else { Ok(()) }
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
