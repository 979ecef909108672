//! Fetching what files consist of, and sending it as objects.
//!
//! Small files go in batches: all that a batch needs of a pack is fetched at once, every file is
//! checked by its hash, and the batch is sent. A large file goes alone, in parts, of which a few
//! are in memory.

use std::collections::BTreeMap;

use bytes::Bytes;
use drover_pack::FrameReader;
use drover_repo::{ChunkError, ChunkReader};
use drover_store::{Metadata, StoreError};
use drover_types::{
    ChunkKind, ChunkRef, Counter, ExceptionKind, Extent, RelativePath, limits, lock,
};
use futures::{StreamExt, stream};

use super::{
    Landing,
    parts::{PART, Whole},
};
use crate::Error;

/// A file that is longer goes in parts, in bytes.
pub const LARGE: u64 = 32 << 20;
/// Objects sent at a time by each worker.
const AT_A_TIME: usize = 16;

/// A file that is to be an object.
pub struct Job {
    pub path: RelativePath,
    pub key: String,
    pub size: u64,
    pub hash: drover_types::FileHash,
    pub metadata: Metadata,
    pub extents: std::sync::Arc<[Extent]>,
    /// An object of this length is there, perhaps of a run that was cut off.
    pub maybe_there: bool,
}

/// A chunk that goes into a buffer.
struct Piece {
    chunk: ChunkRef,
    buffer: usize,
    /// Where the chunk begins in the buffer, in bytes; before it where it is negative.
    offset: i64,
}

/// Goes through the extents of a file, part by part.
struct Walk<'j> {
    extents: &'j [Extent],
    /// The first extent that is not behind, and where it begins.
    next: usize,
    at: u64,
}

impl Walk<'_> {
    /// What lies between two offsets. Parts begun anew go back to the start.
    fn pieces(&mut self, start: u64, end: u64) -> Vec<Piece> {
        if start < self.at {
            (self.next, self.at) = (0, 0);
        }
        let mut pieces = Vec::new();
        while let Some(extent) = self.extents.get(self.next) {
            let extent_end = self.at + extent.len();
            if self.at >= end {
                break;
            }
            if let Extent::Chunk(chunk) = extent
                && extent_end > start
            {
                let offset = self.at as i64 - start as i64;
                pieces.push(Piece { chunk: *chunk, buffer: 0, offset });
            }
            // One that reaches into the next part is needed there again.
            if extent_end > end {
                break;
            }
            (self.next, self.at) = (self.next + 1, extent_end);
        }
        pieces
    }
}

impl Landing<'_> {
    /// Sends a batch of small files, or one large file.
    pub fn send(&self, jobs: Vec<Job>, frames: &mut FrameReader) -> Result<(), Error> {
        let jobs = self.not_there(jobs)?;
        match jobs.as_slice() {
            [] => Ok(()),
            [large] if large.size > LARGE => {
                let sent = self.send_large(large, frames);
                self.settled(large, sent)
            }
            small => self.send_small(small, frames),
        }
    }

    /// Leaves out what a run that was cut off has sent: its metadata says so.
    fn not_there(&self, jobs: Vec<Job>) -> Result<Vec<Job>, Error> {
        if jobs.iter().all(|job| !job.maybe_there) {
            return Ok(jobs);
        }
        let store = self.bucket.store();
        let asked = jobs.into_iter().map(|job| async move {
            let is_there = match job.maybe_there {
                false => false,
                true => store.plain_metadata(&job.key).await?.is_some_and(|(len, said)| {
                    let same = |(name, value): (&&str, &String)| said.get(*name) == Some(value);
                    len == job.size && job.metadata.iter().all(same)
                }),
            };
            Ok::<_, StoreError>((job, is_there))
        });
        let asked = stream::iter(asked).buffer_unordered(AT_A_TIME).collect::<Vec<_>>();
        let mut left = Vec::new();
        for asked in self.bucket.wait(asked) {
            match asked? {
                (job, true) => self.unchanged(job.size),
                (job, false) => left.push(job),
            }
        }
        Ok(left)
    }

    fn send_small(&self, jobs: &[Job], frames: &mut FrameReader) -> Result<(), Error> {
        let mut buffers: Vec<Vec<u8>> = Vec::with_capacity(jobs.len());
        let mut pieces = Vec::new();
        for (buffer, job) in jobs.iter().enumerate() {
            buffers.push(vec![0; job.size as usize]);
            let mut offset = 0;
            for extent in job.extents.iter() {
                if let Extent::Chunk(chunk) = extent {
                    pieces.push(Piece { chunk: *chunk, buffer, offset });
                }
                offset += extent.len() as i64;
            }
        }
        let failed = fill(self.reader, pieces, &mut buffers, frames)?;
        let store = self.bucket.store();
        let mut puts = Vec::with_capacity(jobs.len());
        for (number, (job, buffer)) in jobs.iter().zip(buffers).enumerate() {
            if let Some(error) = failed.get(&number) {
                self.settled(job, Err(error.again().into()))?;
            } else if blake3::hash(&buffer).as_bytes() != &job.hash.0 {
                self.settled(job, Err(Error::Content))?;
            } else {
                let body = Bytes::from(buffer);
                puts.push(
                    async move { (job, store.put_plain(&job.key, body, &job.metadata).await) },
                );
            }
        }
        let puts = stream::iter(puts).buffer_unordered(AT_A_TIME).collect::<Vec<_>>();
        for (job, put) in self.bucket.wait(puts) {
            self.settled(job, put.map_err(Error::from))?;
        }
        Ok(())
    }

    fn send_large(&self, job: &Job, frames: &mut FrameReader) -> Result<(), Error> {
        let mut hasher = blake3::Hasher::new();
        let mut hashed = 0;
        let mut extents = Walk { extents: &job.extents, next: 0, at: 0 };
        let mut part = |at: u64, len: u64| -> Result<Vec<u8>, Error> {
            if self.cancel.is_set() {
                return Err(Error::Interrupted);
            }
            let end = at + len;
            let mut buffers = vec![vec![0; len as usize]];
            let failed = fill(self.reader, extents.pieces(at, end), &mut buffers, frames)?;
            if let Some(error) = failed.get(&0) {
                return Err(error.again().into());
            }
            let buffer = buffers.pop().unwrap_or_default();
            // What an earlier run sent is not read again: there every chunk was right by itself.
            if hashed == at {
                hasher.update(&buffer);
                hashed = end;
            }
            if hashed == job.size && hasher.finalize().as_bytes() != &job.hash.0 {
                return Err(Error::Content);
            }
            Ok(buffer)
        };
        let (key, metadata) = (job.key.as_str(), &job.metadata);
        let whole = Whole { key, size: job.size, metadata, content: Some(job.hash.to_hex()) };
        whole.send(self.bucket, self.goes_on, &mut part)
    }

    /// Counts a file that was sent; what concerns it alone goes on the list.
    fn settled(&self, job: &Job, sent: Result<(), Error>) -> Result<(), Error> {
        match sent {
            Ok(()) => {
                self.written(job.size);
                Ok(())
            }
            Err(error) => {
                let alone = match &error {
                    Error::Store(
                        StoreError::Protocol { .. }
                        | StoreError::BadName { .. }
                        | StoreError::TooLarge { .. },
                    ) => true,
                    error => error.is_damage(),
                };
                if !alone {
                    return Err(error);
                }
                self.observer.add(Counter::BytesDone, job.size);
                self.except(&job.path, ExceptionKind::Error, error.to_string());
                lock(&self.failed).insert(job.path.clone());
                Ok(())
            }
        }
    }
}

/// Fills buffers with chunks; what one pack has is fetched at once. Returns what is wrong with
/// which buffer. The store's failure is everybody's.
fn fill(
    reader: &ChunkReader<'_>,
    pieces: Vec<Piece>,
    buffers: &mut [Vec<u8>],
    frames: &mut FrameReader,
) -> Result<BTreeMap<usize, ChunkError>, Error> {
    let index = reader.index();
    let mut by_pack: BTreeMap<Option<u32>, Vec<(u32, Piece)>> = BTreeMap::new();
    for piece in pieces {
        let place = index.place(&piece.chunk, ChunkKind::Data);
        let (pack, frame) = place.map_or((None, 0), |(pack, frame)| (Some(pack), frame));
        by_pack.entry(pack).or_default().push((frame, piece));
    }
    let mut failed = BTreeMap::new();
    for (pack, mut pieces) in by_pack {
        pieces.sort_unstable_by_key(|(frame, _)| *frame);
        let mut numbers: Vec<u32> = pieces.iter().map(|(frame, _)| *frame).collect();
        numbers.dedup();
        let receipt = pack.map(|pack| &index.packs()[pack as usize]);
        let part = receipt.map(|receipt| (receipt, reader.fetch_frames(receipt, &numbers)));
        for (frame, piece) in pieces {
            let buffer = &mut buffers[piece.buffer];
            let opened = match &part {
                Some((receipt, Ok(part))) => reader
                    .open_part(part, receipt, frame, frames)
                    .map(|(plain, _)| place(plain, piece.offset, buffer))
                    .is_ok(),
                _ => false,
            };
            if opened {
                continue;
            }
            let put = |plain: &[u8], _| place(plain, piece.offset, buffer);
            match reader.read(&piece.chunk, ChunkKind::Data, frames, put) {
                Ok(()) => {}
                Err(error @ ChunkError::Store(_)) => {
                    // An object that is not there is damage, and not a store that fails.
                    let is_gone = matches!(&error, ChunkError::Store(e) if e.is_not_found());
                    if !is_gone {
                        return Err(error.into());
                    }
                    failed.insert(piece.buffer, ChunkError::Missing(piece.chunk.id));
                }
                Err(error) => drop(failed.insert(piece.buffer, error)),
            }
        }
    }
    debug_assert!(limits::CHUNK < PART as usize);
    Ok(failed)
}

/// Copies what of a chunk lies within a buffer.
fn place(plain: &[u8], offset: i64, buffer: &mut [u8]) {
    let (skip, at) = match usize::try_from(offset) {
        Ok(at) => (0, at),
        Err(_) => (offset.unsigned_abs() as usize, 0),
    };
    let rest = plain.get(skip..).unwrap_or_default();
    let room = buffer.get_mut(at..).unwrap_or_default();
    let len = rest.len().min(room.len());
    room[..len].copy_from_slice(&rest[..len]);
}
