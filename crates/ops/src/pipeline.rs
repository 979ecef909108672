//! The pipeline of a pass, all of it: stages, queues and bounds in one place.
//!
//! ```text
//!            steps              batches             packs
//!  walk ─┐                ┌─► worker ─┐  chunks
//!        ├─► merge ──────►├─► worker ─┼─────────► packer ─────► uploader ─► store
//!  last ─┘   (ordered)    └─► worker ─┘             ▲  seal, check  intent, PUT, acknowledge
//!  manifest      │                │                 │
//!                │ order          ▼ finished        │ blocks
//!                └──────────► collector ────────────┘
//!                             (ordered)  ──► manifest, tape
//! ```
//!
//! | queue | bound |
//! | --- | --- |
//! | walk → merge | `WalkOptions::buffer` entries |
//! | merge → workers | two batches for each worker |
//! | merge → collector | [`ORDERED_BATCHES`] batches, done or under way |
//! | workers → packer | two buffers being filled, one closed at a time |
//! | packer → uploader | a buffer for each worker, [`SENDING`] to [`MOST_SENDING`] |
//!
//! A batch is at most 256 steps and about 4 MiB to read; a larger file is a batch of its own
//! ([`Batch`]). Every worker has two windows of 8 MiB. With packs of 32 MiB and two cores that adds up to
//! about 200 MiB at the worst; `docs/architecture.md` has the sum.
//!
//! Whoever fails sets [`Cancel`]; every stage then comes to its end, and the first error is the
//! pass's.

use std::sync::{Arc, Mutex, atomic::AtomicUsize};

use crossbeam_channel::{Receiver, Sender, bounded};
use drover_chunk::{ChunkSizes, Chunker, Compressor};
use drover_crypt::domain::DomainKeys;
use drover_pack::{Sealer, Session};
use drover_repo::{
    objects::Objects,
    state::{Database, StateFolder, TapeWriter},
};
use drover_source::Source;
use drover_types::{Observer, RepositoryId, SourceId, WriterId, lock};

use crate::{
    Cancel, Error,
    batch::Batch,
    sync::{
        collector::{Collected, Collector},
        dedup::Dedup,
        packer::{MetaSink, Packer, Pool},
        reader::{Buffers, ReadContext},
        steps::{Step, Steps},
        times::{Clocks, StageTime},
        uploader::{Uploader, channel},
        worker::{Done, work},
    },
    taking::Taking,
    threads,
};

/// Batches between merge and collector.
const ORDERED_BATCHES: usize = 64;
/// Buffers for packs that are closed and not acknowledged, at least. A third gains nothing beside a server on the
/// same two processors, and costs 30 MB.
pub(crate) const SENDING: usize = 2;
/// The same, at most. Amazon reckons with 85 to 90 MB/s for each request that is under way (S3 User
/// Guide, "Performance design patterns"); what many workers make needs more of them.
const MOST_SENDING: usize = 8;
/// A pack is closed at this many bytes at the latest: with the chunk that fills it, at most
/// 4 MiB, it stays within 32 MiB.
pub(crate) const LARGEST_PACK: usize = 28 << 20;

/// What the stages work on.
pub(crate) struct Stages<'s> {
    pub source: &'s dyn Source,
    pub source_id: SourceId,
    pub objects: &'s Objects,
    pub database: &'s Database,
    pub keys: &'s DomainKeys,
    pub dedup: &'s Dedup<'s>,
    pub sessions: [Session; 2],
    pub meta: &'s drover_crypt::seal::ReaderPublic,
    pub repository: RepositoryId,
    pub writer: WriterId,
    pub epoch: u32,
    pub folder: &'s StateFolder,
    pub tape: TapeWriter,
    pub workers: usize,
    pub level: i32,
    pub self_check: bool,
    pub reread: bool,
    pub observer: &'s dyn Observer,
    pub cancel: &'s Cancel,
}

/// What the stages leave.
pub(crate) struct Finished {
    pub manifest: drover_repo::manifest::ManifestRoot,
    pub counts: crate::sync::EntryCounts,
    pub exceptions: Vec<drover_types::Exception>,
    pub exception_chunks: Vec<drover_types::ChunkRef>,
    pub tape: TapeWriter,
    pub new: u64,
    pub stored: u64,
    pub times: Vec<StageTime>,
}

type Reply = Receiver<Vec<Done>>;

/// Runs all stages to their end.
pub(crate) fn run(stages: Stages<'_>, steps: Steps<'_>) -> Result<Finished, Error> {
    let Stages { source, objects, database, keys, dedup, observer, cancel, .. } = stages;
    let clocks = &Clocks::default();
    threads::start_shared()?;
    let target = AtomicUsize::new(LARGEST_PACK);
    let senders = stages.workers.clamp(SENDING, MOST_SENDING);
    let sending = Arc::new(Pool::new(senders, cancel.clone()));
    let (sender, packs) = channel();
    let packer = Packer::new(
        keys,
        dedup,
        database,
        stages.sessions,
        sending.clone(),
        &target,
        Sealer::new(stages.workers, stages.self_check),
        sender,
        cancel.clone(),
        clocks,
    );
    let uploader = Uploader {
        objects,
        database,
        dedup,
        sending,
        target: &target,
        largest_pack: LARGEST_PACK,
        observer,
        cancel,
        repository: stages.repository,
        writer: stages.writer,
        epoch: stages.epoch,
        meta: stages.meta,
        parallel: senders,
        clocks,
    };
    let chunker = Chunker::new(&keys.gear_table(), ChunkSizes::default());
    let context = ReadContext {
        source,
        source_id: stages.source_id,
        packer: &packer,
        dedup,
        database,
        chunker: &chunker,
        level: stages.level,
        observer,
        cancel,
        reread: stages.reread,
        clocks,
    };
    let sink = MetaSink::new(&packer, Compressor::new(stages.level));
    let mut collector = Collector::new(keys, observer, sink, stages.tape, stages.folder);

    let (batches, for_workers) = bounded::<(Vec<Step>, Sender<Vec<Done>>)>(2 * stages.workers);
    let (order, in_order) = bounded::<Reply>(ORDERED_BATCHES);
    let first_error = FirstError { cancel, error: Mutex::new(None) };

    let collected = std::thread::scope(|scope| {
        let uploading = threads::spawn(scope, || uploader.run(&packs))?;
        let working = threads::spawn_some(scope, stages.workers, || {
            let for_workers = for_workers.clone();
            let (context, first_error) = (&context, &first_error);
            move || {
                let taking = Taking::cutting(source, keys, context.chunker);
                let mut buffers = Buffers::new(taking);
                while let Ok((batch, reply)) = clocks.batches.time(|| for_workers.recv()) {
                    if let Some(taking) = &mut buffers.taking {
                        taking.announce(batch.iter().filter_map(Step::wish).collect());
                    }
                    let mut do_one = |step| match cancel.is_set() {
                        true => Err(Error::Stopped),
                        false => work(step, context, keys, &mut buffers),
                    };
                    let batch = batch.into_iter().map(&mut do_one);
                    match clocks.work.time(|| batch.collect::<Result<Vec<_>, _>>()) {
                        Ok(done) => drop(reply.send(done)),
                        Err(error) => first_error.set(error),
                    }
                }
            }
        });
        drop(for_workers);
        let failing = &first_error;
        let merge = move || {
            if let Err(error) = distribute(steps, &batches, &order, cancel, clocks) {
                failing.set(error);
            }
        };
        // Where none works, nothing is given out.
        let started = working.and_then(|()| threads::spawn(scope, merge));

        let result = started.and_then(|_| -> Result<Collected<'_>, Error> {
            while let Ok(reply) = clocks.done.time(|| in_order.recv()) {
                // A worker that failed hangs up without a reply.
                let done = clocks.done.time(|| reply.recv()).map_err(|_| Error::Stopped)?;
                clocks.collecting.time(|| collector.take(done))?;
            }
            if cancel.is_set() {
                return Err(Error::Stopped);
            }
            let mut collected = collector.finish()?;
            collected.store_exceptions()?;
            packer.finish()?;
            Ok(collected)
        });
        // The merge and the workers stop when nobody takes what they make.
        drop(in_order);
        if result.is_err() {
            cancel.set();
        }
        packer.hang_up();
        let uploaded = uploading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (result, uploaded) {
            (Ok(collected), Ok(())) => Ok(collected),
            (_, Err(error)) | (Err(error), _) => Err(first_error.or(error)),
        }
    })?;
    if let Some(error) = first_error.take() {
        return Err(error);
    }
    uploader.finish_index()?;
    let Collected { manifest, counts, exceptions, exception_chunks, tape, .. } = collected;
    Ok(Finished {
        manifest,
        counts,
        exceptions,
        exception_chunks,
        tape,
        new: packer.stats.new.into_inner(),
        stored: packer.stats.stored.into_inner(),
        times: clocks.stages(stages.workers, senders),
    })
}

/// Gives the steps out in batches: to the workers, and their replies, in order, to the collector.
fn distribute(
    mut steps: Steps<'_>,
    workers: &Sender<(Vec<Step>, Sender<Vec<Done>>)>,
    order: &Sender<Reply>,
    cancel: &Cancel,
    clocks: &Clocks,
) -> Result<(), Error> {
    let give = |batch: Vec<Step>| -> Result<(), Error> {
        let (reply, receiver) = bounded(1);
        clocks.given.time(|| {
            order.send(receiver).map_err(|_| Error::Stopped)?;
            workers.send((batch, reply)).map_err(|_| Error::Stopped)
        })
    };
    let mut batch = Batch::new();
    while let Some(step) = clocks.steps.time(|| steps.next()) {
        if cancel.is_set() {
            return Err(Error::Stopped);
        }
        let step = step?;
        let bytes = step.to_read();
        batch.push(step, bytes).map_or(Ok(()), give)?;
    }
    batch.rest().map_or(Ok(()), give)
}

/// The first error of any stage; setting one stops all the others.
struct FirstError<'s> {
    cancel: &'s Cancel,
    error: Mutex<Option<Error>>,
}

impl FirstError<'_> {
    fn set(&self, error: Error) {
        self.cancel.set();
        if !matches!(error, Error::Stopped) {
            lock(&self.error).get_or_insert(error);
        }
    }

    fn take(&self) -> Option<Error> {
        lock(&self.error).take()
    }

    /// What really happened, where `error` only says that somebody else stopped.
    fn or(&self, error: Error) -> Error {
        match error {
            Error::Stopped => self.take().unwrap_or(Error::Stopped),
            error => error,
        }
    }
}
