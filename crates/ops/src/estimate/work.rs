//! What a pass does to the bytes of files, done to those of a sample, and thrown away.

use std::{
    collections::HashSet,
    sync::Mutex,
    time::{Duration, Instant},
};

use drover_chunk::{ChunkSizes, Chunker, Compressor};
use drover_crypt::{domain::DomainKeys, seal::ReaderSecret};
use drover_pack::{PackBuilder, PackError, PackIdentity, Sealer, Session};
use drover_types::{ChunkKind, DomainId, PackClass, RepositoryId, WriterId, lock};

use crate::Error;

/// A pack of the sample is closed at this many bytes.
const PACK: usize = 8 << 20;

/// What came of some bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// The bytes that it stands for: those that were cut, or all where they could not be read.
    pub(super) len: u64,
    pub(super) plain: u64,
    pub(super) stored: u64,
    pub(super) chunks: u64,
}

/// The stages from cutting to a closed pack, for any number of threads.
pub(super) struct Work<'k> {
    keys: &'k DomainKeys,
    chunker: Chunker,
    session: Session,
    level: i32,
    /// Chunks that were seen before are stored once.
    known: Mutex<HashSet<[u8; 32]>>,
    /// What threads take while they work, and give back.
    benches: Mutex<Vec<Bench>>,
}

/// What one thread needs.
struct Bench {
    compressor: Compressor,
    buffer: Vec<u8>,
    pack: PackBuilder,
    sealer: Sealer,
    sealed: Vec<u8>,
    packs: u64,
}

impl Bench {
    fn new(level: i32) -> Self {
        Self {
            compressor: Compressor::new(level),
            buffer: Vec::new(),
            pack: PackBuilder::default(),
            sealer: Sealer::new(1, true),
            sealed: Vec::new(),
            packs: 0,
        }
    }

    /// Closes the pack as it is, and forgets it.
    fn close(&mut self, session: &Session, keys: &DomainKeys) -> Result<(), PackError> {
        let room = std::mem::take(&mut self.sealed);
        let pack = self.pack.seal(session, keys, self.packs, &mut self.sealer, room)?;
        self.packs += 1;
        self.sealed = pack.bytes;
        Ok(())
    }
}

impl<'k> Work<'k> {
    pub(super) fn new(keys: &'k DomainKeys, level: i32) -> Self {
        let identity = PackIdentity {
            repository: RepositoryId([0; 16]),
            writer: WriterId([0; 16]),
            domain: DomainId([0; 16]),
        };
        // Nobody is to open these packs.
        let reader = ReaderSecret::generate().public();
        Self {
            keys,
            chunker: Chunker::new(&keys.gear_table(), ChunkSizes::default()),
            session: Session::new(identity, PackClass::Data, 1, &reader),
            level,
            known: Mutex::default(),
            benches: Mutex::default(),
        }
    }

    /// Cut, hashed, and where it was not there before compressed, sealed, opened again and hashed
    /// again. The end of a piece that is not the end of its file (`whole`) is no chunk.
    pub(super) fn store(&self, data: &[u8], whole: bool) -> Result<Seen, Error> {
        let taken = lock(&self.benches).pop();
        let mut bench = taken.unwrap_or_else(|| Bench::new(self.level));
        let mut seen = Seen::default();
        let mut rest = data;
        while let Some(len) = self.chunker.cut(rest, whole).filter(|_| !rest.is_empty()) {
            let (chunk, after) = rest.split_at(len);
            rest = after;
            seen.len += len as u64;
            seen.plain += len as u64;
            seen.chunks += 1;
            let hash = *blake3::hash(chunk).as_bytes();
            if !lock(&self.known).insert(hash) {
                continue;
            }
            let (compression, stored) = bench.compressor.compress(chunk, &mut bench.buffer);
            seen.stored += stored.len() as u64 + 16;
            let id = self.keys.chunk_id(ChunkKind::Data, &hash);
            bench.pack.push(ChunkKind::Data, id, len as u32, compression, stored);
            if bench.pack.len() >= PACK {
                bench.close(&self.session, self.keys)?;
            }
        }
        // A file of several chunks is hashed as a whole as well.
        if seen.chunks > 1 {
            std::hint::black_box(blake3::hash(data));
        }
        lock(&self.benches).push(bench);
        Ok(seen)
    }

    /// Closes what is open; how long that takes.
    pub(super) fn finish(self) -> Result<Duration, Error> {
        let begun = Instant::now();
        let benches = self.benches.into_inner();
        for mut bench in benches.unwrap_or_else(std::sync::PoisonError::into_inner) {
            if !bench.pack.is_empty() {
                bench.close(&self.session, self.keys)?;
            }
        }
        Ok(begun.elapsed())
    }
}
