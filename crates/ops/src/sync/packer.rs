//! From chunks to packs on their way.
//!
//! Workers hand in chunks; whoever fills a pack closes it and gives it to the uploader. Memory is
//! bounded by two sets of buffers: those being filled and those being sent. Only one pack is
//! closed at a time (its frames are sealed and checked in parallel), so that at most one full
//! buffer waits for each worker and the uploader always drains what is closed.

use std::{
    ops::Range,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use drover_chunk::Compressor;
use drover_crypt::domain::DomainKeys;
use drover_pack::{PackBuilder, Sealer, Session};
use drover_repo::{manifest::ChunkSink, state::Database};
use drover_types::{ChunkId, ChunkKind, ChunkRef, PackClass, lock};

use super::{dedup::Dedup, times::Clocks, uploader::Sender};
use crate::{Cancel, Error};

/// A meta pack is closed at this many bytes: metadata is read by itself, and often.
const META_PACK: usize = 8 << 20;
/// A pack is closed at this many frames: what is noted of each takes more than a tiny one itself.
const MOST_FRAMES: usize = 1 << 16;
/// Pack counters are reserved in the state this many at a time.
const COUNTERS: u64 = 1 << 12;

/// How often a wait for a buffer looks whether the pass is being stopped.
const STOP_CHECK: Duration = Duration::from_millis(100);

/// Buffers that are used again. Taking waits until one is free, or the pass is stopped.
pub(crate) struct Pool {
    free: Mutex<Vec<Vec<u8>>>,
    returned: Condvar,
    cancel: Cancel,
}

impl Pool {
    pub(crate) fn new(buffers: usize, cancel: Cancel) -> Self {
        Self { free: Mutex::new(vec![Vec::new(); buffers]), returned: Condvar::new(), cancel }
    }

    pub(crate) fn take(&self) -> Result<Vec<u8>, Error> {
        let mut free = lock(&self.free);
        loop {
            if self.cancel.is_set() {
                return Err(Error::Stopped);
            }
            if let Some(buffer) = free.pop() {
                return Ok(buffer);
            }
            let waited = self.returned.wait_timeout(free, STOP_CHECK);
            free = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }

    pub(crate) fn give_back(&self, buffer: Vec<u8>) {
        lock(&self.free).push(buffer);
        self.returned.notify_one();
    }
}

/// What a pass stored, as plaintext and as frames.
#[derive(Debug, Default)]
pub(crate) struct StoredStats {
    /// Plaintext bytes of chunks that were not there before.
    pub new: AtomicU64,
    /// Their sealed size.
    pub stored: AtomicU64,
}

/// Gathers chunks into packs. Shared by all workers.
pub(crate) struct Packer<'s> {
    keys: &'s DomainKeys,
    dedup: &'s Dedup<'s>,
    database: &'s Database,
    sessions: [Session; 2],
    open: [Mutex<PackBuilder>; 2],
    filling: Pool,
    sending: Arc<Pool>,
    closing: Mutex<Closing>,
    /// At how many bytes a data pack is closed; follows the measured goodput.
    target: &'s AtomicUsize,
    sender: Sender,
    clocks: &'s Clocks,
    pub(crate) stats: StoredStats,
}

/// What closing a pack needs, one at a time.
struct Closing {
    sealer: Sealer,
    /// Pack counters reserved and not yet used.
    counters: Range<u64>,
}

impl<'s> Packer<'s> {
    #[expect(clippy::too_many_arguments, reason = "the pipeline wires it up in one place")]
    pub(crate) fn new(
        keys: &'s DomainKeys,
        dedup: &'s Dedup<'s>,
        database: &'s Database,
        sessions: [Session; 2],
        sending: Arc<Pool>,
        target: &'s AtomicUsize,
        sealer: Sealer,
        sender: Sender,
        cancel: Cancel,
        clocks: &'s Clocks,
    ) -> Self {
        Self {
            keys,
            dedup,
            database,
            sessions,
            open: Default::default(),
            filling: Pool::new(2, cancel),
            sending,
            closing: Mutex::new(Closing { sealer, counters: 0..0 }),
            target,
            sender,
            clocks,
            stats: StoredStats::default(),
        }
    }

    /// What a chunk of this content is called, wherever it is.
    pub(crate) fn name(&self, kind: ChunkKind, hash: &[u8; 32], len: u32) -> ChunkRef {
        ChunkRef { id: self.keys.chunk_id(kind, hash), len }
    }

    /// Stores a chunk of file data whose plain BLAKE3 is `hash`, unless it is there already.
    /// `scratch` is a buffer that is used again.
    pub(crate) fn store(
        &self,
        kind: ChunkKind,
        plain: &[u8],
        hash: &[u8; 32],
        compressor: &mut Compressor,
        scratch: &mut Vec<u8>,
    ) -> Result<ChunkRef, Error> {
        let chunk = self.name(kind, hash, plain.len() as u32);
        if self.dedup.claim(&chunk.id)? {
            let (compression, stored) = compressor.compress(plain, scratch);
            self.push(kind, chunk.id, chunk.len, compression, stored)?;
        }
        Ok(chunk)
    }

    fn push(
        &self,
        kind: ChunkKind,
        id: ChunkId,
        plain_len: u32,
        compression: drover_types::Compression,
        stored: &[u8],
    ) -> Result<(), Error> {
        self.stats.new.fetch_add(plain_len.into(), Ordering::Relaxed);
        self.stats.stored.fetch_add(stored.len() as u64 + 16, Ordering::Relaxed);
        let class = kind.class();
        let mut open = match self.open[class as usize].try_lock() {
            Ok(open) => open,
            Err(_) => self.clocks.filling.time(|| lock(&self.open[class as usize])),
        };
        if open.is_empty() {
            *open = PackBuilder::new(self.clocks.filling.time(|| self.filling.take())?);
        }
        open.push(kind, id, plain_len, compression, stored);
        let target = self.target.load(Ordering::Relaxed);
        let target = if class == PackClass::Meta { target.min(META_PACK) } else { target };
        if open.len() < target && open.frames() < MOST_FRAMES {
            return Ok(());
        }
        let full = std::mem::take(&mut *open);
        drop(open);
        self.close(class, full)
    }

    fn close(&self, class: PackClass, mut full: PackBuilder) -> Result<(), Error> {
        let sealed = {
            let closing = &mut *self.clocks.filling.time(|| lock(&self.closing));
            let Closing { sealer, counters } = closing;
            if counters.is_empty() {
                let first = self.database.reserve_counters(COUNTERS)?;
                *counters = first..first + COUNTERS;
            }
            let counter = counters.start;
            counters.start += 1;
            let out = self.clocks.buffers.time(|| self.sending.take())?;
            let session = &self.sessions[class as usize];
            self.clocks.sealing.time(|| full.seal(session, self.keys, counter, sealer, out))?
        };
        self.filling.give_back(full.into_buffer());
        self.sender.send(sealed)
    }

    /// Says that nothing more will come.
    pub(crate) fn hang_up(&self) {
        self.sender.hang_up();
    }

    /// Closes what is open.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        for class in [PackClass::Data, PackClass::Meta] {
            let full = std::mem::take(&mut *lock(&self.open[class as usize]));
            if !full.is_empty() {
                self.close(class, full)?;
            }
        }
        Ok(())
    }
}

/// Stores the chunks of manifests and lists.
pub(crate) struct MetaSink<'p, 's> {
    packer: &'p Packer<'s>,
    compressor: Compressor,
    scratch: Vec<u8>,
}

impl<'p, 's> MetaSink<'p, 's> {
    pub(crate) fn new(packer: &'p Packer<'s>, compressor: Compressor) -> Self {
        Self { packer, compressor, scratch: Vec::new() }
    }
}

impl ChunkSink for MetaSink<'_, '_> {
    type Error = Error;

    fn put(&mut self, kind: ChunkKind, plain: &[u8]) -> Result<ChunkRef, Error> {
        let hash = blake3::hash(plain);
        let (compressor, scratch) = (&mut self.compressor, &mut self.scratch);
        self.packer.store(kind, plain, hash.as_bytes(), compressor, scratch)
    }
}
