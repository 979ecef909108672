//! Reading a file: from bytes to extents.
//!
//! A file of at most one chunk is read into one buffer and hashed once. A longer one is read
//! window by window; while its chunks are hashed and compressed on all cores, its plain hash is
//! taken beside them, and the next window is read. Holes are never read. A file whose size or times changed while it was read
//! is read again, three times at most.

use std::{cell::RefCell, ops::Range, sync::Arc};

use drover_chunk::{Chunker, Compressor, FileHasher, HasherState};
use drover_repo::{
    record::{self, INLINE_EXTENTS},
    state::{Database, Partial},
};
use drover_source::{Cut, Piece, ReadError, Source, SourceFile, Stat, Taker, command::STREAM};
use drover_types::{
    ChunkKind, ChunkRef, Content, Counter, Entry, Exception, ExceptionKind, Extent, Extents,
    Observer, SourceId, codec::Encoder, limits,
};
use rayon::prelude::*;

use super::{
    dedup::Dedup,
    packer::Packer,
    times::{Clocks, Timed},
    window::{Data, TRIES, WINDOW, Window, Windows, read_full, settled, torn},
};
use crate::{
    Cancel, Error,
    taking::{Broken, INCONSISTENT, Taking, nonsense},
};

/// Zeros of a hole that are hashed at a time, in bytes: a fraction of a second.
const ZEROS: u64 = 1 << 30;
/// How far a large file has come is noted each time it has grown by this many bytes, or by a
/// sixteenth.
const NOTE_EVERY: u64 = 64 << 20;
/// How many places on the way are kept.
const PLACES: usize = 8;

/// What the workers share.
pub(crate) struct ReadContext<'s> {
    pub source: &'s dyn Source,
    pub source_id: SourceId,
    pub packer: &'s Packer<'s>,
    pub dedup: &'s Dedup<'s>,
    pub database: &'s Database,
    pub chunker: &'s Chunker,
    pub level: i32,
    pub observer: &'s dyn Observer,
    pub cancel: &'s Cancel,
    /// Trust no evidence: begin every file at its beginning.
    pub reread: bool,
    pub clocks: &'s Clocks,
}

/// Why a file is not in this pass.
pub(crate) enum ReadFailure {
    /// It goes on the list of exceptions.
    Exception(Exception),
    /// The pass cannot go on.
    Fatal(Error),
}

impl From<Error> for ReadFailure {
    fn from(error: Error) -> Self {
        ReadFailure::Fatal(error)
    }
}

impl From<ReadError> for ReadFailure {
    fn from(error: ReadError) -> Self {
        exception(error)
    }
}

fn exception(error: ReadError) -> ReadFailure {
    ReadFailure::Exception(error.into())
}

thread_local! {
    static KERNELS: RefCell<Option<(Compressor, Vec<u8>)>> = const { RefCell::new(None) };
}

/// One worker's buffers.
pub(crate) struct Buffers<'s> {
    window: Vec<u8>,
    /// Windows of large files.
    windows: Vec<Vec<u8>>,
    /// Where the source wants to know ahead: what takes files from it.
    pub(crate) taking: Option<Taking<'s>>,
    /// How many bytes of the step under way [`Counter::BytesDone`] has grown by.
    pub(crate) told: u64,
}

impl<'s> Buffers<'s> {
    /// Empty ones.
    pub(crate) fn new(taking: Option<Taking<'s>>) -> Self {
        Self { window: Vec::new(), windows: Vec::new(), taking, told: 0 }
    }
}

impl ReadContext<'_> {
    /// Reads the file `entry` names: fills its content and attributes, as they were throughout.
    pub(crate) fn read(
        &self,
        mut entry: Entry,
        buffers: &mut Buffers<'_>,
    ) -> Result<Entry, ReadFailure> {
        let file = Timed::open(&self.clocks.reading, || self.source.open(&entry.path));
        let mut file = file.map_err(exception)?;
        for _ in 0..TRIES {
            let before = file.stat().map_err(exception)?;
            let Some(content) = self.content(&entry, &mut file, &before, buffers)? else {
                continue;
            };
            if before.evidence.size == STREAM {
                let after = file.stat().map_err(exception)?;
                entry.attributes = after.attributes;
                entry.evidence = after.evidence;
                entry.content = Some(content);
                return Ok(entry);
            }
            if let Some(stat) = settled(&mut file, before, content.size).map_err(exception)? {
                entry.attributes = stat.attributes;
                entry.evidence = stat.evidence;
                entry.content = Some(content);
                return Ok(entry);
            }
        }
        Err(exception(torn(&entry.path)))
    }

    /// Takes the file `entry` names from a source over a network, or reads it where that says so.
    pub(crate) fn take(
        &self,
        mut entry: Entry,
        buffers: &mut Buffers<'_>,
    ) -> Result<Entry, ReadFailure> {
        let Buffers { window, taking, told, .. } = buffers;
        let Some(taking) = taking else { return self.read(entry, buffers) };
        let taken = taking.file(&entry.path, |taker| {
            let (mut extents, mut whole) = (Vec::new(), None);
            loop {
                if self.cancel.is_set() {
                    return Err(Broken::Not(Error::Stopped.into()));
                }
                match self.clocks.reading.time(|| taker.piece())? {
                    Piece::Whole(bytes) => {
                        self.observer.add(Counter::BytesRead, bytes.len() as u64);
                        whole = Some(self.small(&bytes).map_err(Broken::Not)?);
                    }
                    Piece::Hole(0) => return Err(nonsense()),
                    Piece::Hole(len) => push_hole(&mut extents, len),
                    Piece::Cuts(cuts) => {
                        let chunks = self.wanted(taker, &cuts, window)?;
                        extents.extend(chunks.into_iter().map(Extent::Chunk));
                    }
                    Piece::Again => extents.clear(),
                    Piece::Alone => return Ok(None),
                    Piece::End(taken) => return Ok(Some((taken, (extents, whole)))),
                }
                self.reached(&entry, extents_len(&extents), told);
            }
        })?;
        let Some((taken, content)) = taken else { return self.read(entry, buffers) };
        let content = match content {
            (_, Some(whole)) => whole,
            (extents, None) => {
                let told = taken.hash.filter(|_| extents_len(&extents) == taken.size);
                let hash = told.ok_or_else(|| ReadError::other(&entry.path, INCONSISTENT))?;
                let extents = self.extents(&entry, extents)?;
                Content { size: taken.size, hash, extents }
            }
        };
        entry.attributes = taken.stat.attributes;
        entry.evidence = taken.stat.evidence;
        entry.content = Some(content);
        Ok(entry)
    }

    /// Has those of `cuts` sent that are not stored yet, and stores them.
    fn wanted(
        &self,
        taker: &mut dyn Taker,
        cuts: &[Cut],
        window: &mut Vec<u8>,
    ) -> Result<Vec<ChunkRef>, Broken<ReadFailure>> {
        let fatal = |error: Error| Broken::Not(error.into());
        let total: u64 = cuts.iter().map(|cut| u64::from(cut.len)).sum();
        if total > WINDOW as u64 {
            return Err(nonsense());
        }
        let chunk = |cut: &Cut| self.packer.name(ChunkKind::Data, &cut.hash, cut.len);
        let wanted = cuts.iter().map(|cut| Ok(!self.dedup.is_known(&chunk(cut).id)?));
        let wanted = wanted.collect::<Result<Vec<_>, Error>>().map_err(fatal)?;
        taker.want(&wanted)?;
        window.clear();
        let mut places = Vec::with_capacity(cuts.len());
        for (cut, wanted) in cuts.iter().zip(wanted) {
            let start = window.len();
            if wanted {
                self.clocks.reading.time(|| taker.chunk(cut.len, window))?;
            }
            places.push(start..window.len());
        }
        self.observer.add(Counter::BytesRead, total);
        let store = |(cut, place): (&Cut, Range<usize>)| match &window[place] {
            [] => Ok(chunk(cut)),
            bytes if blake3::hash(bytes) != cut.hash => Err(nonsense()),
            bytes => self.store_hashed(bytes, &cut.hash).map_err(fatal),
        };
        cuts.par_iter().zip(places).map(store).collect()
    }

    /// `None` where the file became shorter meanwhile. Of one that grows no more is read than was
    /// there at first, so that there is an end however fast it grows.
    fn content(
        &self,
        entry: &Entry,
        file: &mut dyn SourceFile,
        stat: &Stat,
        buffers: &mut Buffers<'_>,
    ) -> Result<Option<Content>, ReadFailure> {
        let size = stat.evidence.size;
        let sparse = stat.evidence.allocated < size;
        if size <= self.chunker.sizes().max() as u64 && !sparse {
            let window = &mut buffers.window;
            let len = read_full(file, 0, window, size as usize + 1).map_err(exception)?;
            self.observer.add(Counter::BytesRead, len as u64);
            return self.small(&window[..len]).map(Some);
        }
        self.large(entry, file, stat, buffers)
    }

    /// A file that is whole in memory.
    fn small(&self, data: &[u8]) -> Result<Content, ReadFailure> {
        let hash = blake3::hash(data);
        let mut extents = Vec::new();
        let mut rest = data;
        while let Some(len) = self.chunker.cut(rest, true).filter(|_| !rest.is_empty()) {
            let chunk = if len == data.len() {
                self.store_hashed(data, hash.as_bytes())?
            } else {
                self.store(&rest[..len])?
            };
            extents.push(Extent::Chunk(chunk));
            rest = &rest[len..];
        }
        let hash = drover_types::FileHash(*hash.as_bytes());
        Ok(Content { size: data.len() as u64, hash, extents: Extents::Inline(extents.into()) })
    }

    fn store(&self, plain: &[u8]) -> Result<ChunkRef, Error> {
        self.store_hashed(plain, blake3::hash(plain).as_bytes())
    }

    fn store_hashed(&self, plain: &[u8], hash: &[u8; 32]) -> Result<ChunkRef, Error> {
        KERNELS.with_borrow_mut(|kernels| {
            let (compressor, scratch) =
                kernels.get_or_insert_with(|| (Compressor::new(self.level), Vec::new()));
            self.packer.store(ChunkKind::Data, plain, hash, compressor, scratch)
        })
    }

    /// A file that is read window by window.
    fn large(
        &self,
        entry: &Entry,
        file: &mut dyn SourceFile,
        stat: &Stat,
        buffers: &mut Buffers<'_>,
    ) -> Result<Option<Content>, ReadFailure> {
        let mut progress = self.resume(entry, stat)?;
        let Progress { extents, hasher, .. } = &mut progress;
        let (mut at, mut hashed) = (extents_len(extents), hasher.len());
        let mut noted = at;
        let size = stat.evidence.size;
        // What the hash still lacks of the extents that are already stored.
        while hashed < at {
            let len = (at - hashed).min(WINDOW as u64) as usize;
            let got = read_full(file, hashed, &mut buffers.window, len).map_err(exception)?;
            if got == 0 {
                return Ok(None);
            }
            hasher.update(&buffers.window[..got]);
            hashed += got as u64;
        }
        self.reached(entry, at, &mut buffers.told);
        let mut places = std::mem::take(&mut progress.places);
        let Buffers { windows, told, .. } = buffers;
        let mut windows = Windows::new(self.chunker, windows, size, at);
        let mut next = windows.next(file).map_err(exception)?;
        loop {
            if self.cancel.is_set() {
                return Err(Error::Stopped.into());
            }
            next = match next {
                Window::Hole(hole) => {
                    at = hole.end;
                    self.hole(entry, &mut progress, hole, told)?;
                    windows.next(file).map_err(exception)?
                }
                Window::Data(data) => {
                    let hasher = &mut progress.hasher;
                    let (read, chunks) = self
                        .clocks
                        .beside(|| windows.next(file), || self.store_window(&data, hasher));
                    progress.extents.extend(chunks?.into_iter().map(Extent::Chunk));
                    let len = data.bytes().len() as u64;
                    windows.give_back(data);
                    self.observer.add(Counter::BytesRead, len);
                    at += len;
                    self.reached(entry, at, told);
                    // What is printed again begins at its beginning.
                    if size != STREAM && at - noted >= NOTE_EVERY.max(at / 16) {
                        noted = at;
                        self.note(entry, stat, &progress, &mut places)?;
                    }
                    read.map_err(exception)?
                }
                Window::Shorter => return Ok(None),
                Window::End => break,
            };
        }
        if size != STREAM && at >= NOTE_EVERY {
            self.note(entry, stat, &progress, &mut places)?;
        }
        let hash = progress.hasher.finalize();
        let extents = self.extents(entry, progress.extents)?;
        Ok(Some(Content { size: at, hash, extents }))
    }

    /// Stores the chunks of a window, and hashes it.
    fn store_window(&self, data: &Data, hasher: &mut FileHasher) -> Result<Vec<ChunkRef>, Error> {
        let bytes = data.bytes();
        let store = |cut: &Range<usize>| self.store(&bytes[cut.clone()]);
        let ((), chunks) =
            rayon::join(|| hasher.update(bytes), || data.cuts.par_iter().map(store).collect());
        chunks
    }

    /// A hole, hashed as the zeros that it reads as: a stretch at a time, so that the pass can be
    /// stopped and tells how far it is.
    fn hole(
        &self,
        entry: &Entry,
        progress: &mut Progress,
        hole: Range<u64>,
        told: &mut u64,
    ) -> Result<(), ReadFailure> {
        push_hole(&mut progress.extents, hole.end - hole.start);
        for part in stretches(hole) {
            if self.cancel.is_set() {
                return Err(Error::Stopped.into());
            }
            progress.hasher.update_zeros(part.end - part.start);
            self.reached(entry, part.end, told);
        }
        Ok(())
    }

    /// Tells how far into a large file the work has come. What was told stays told when the file
    /// is read again, and no more is told than the walk found.
    fn reached(&self, entry: &Entry, at: u64, told: &mut u64) {
        let at = at.min(entry.evidence.size);
        if at > *told {
            self.observer.add(Counter::BytesDone, at - *told);
            *told = at;
        }
    }

    /// Where an earlier run came to in this file, as far as the store acknowledged it.
    fn resume(&self, entry: &Entry, stat: &Stat) -> Result<Progress, Error> {
        if self.reread {
            return Ok(Progress::default());
        }
        let Some(partial) = self.database.partial(self.source_id, entry.path.as_bytes())? else {
            return Ok(Progress::default());
        };
        let same =
            partial.evidence.still_holds(&stat.evidence) && partial.mtime == stat.attributes.mtime;
        if !same {
            return Ok(Progress::default());
        }
        let mut stored = 0;
        for extent in &partial.extents {
            if let Extent::Chunk(chunk) = extent
                && !self.dedup.is_stored(chunk)?
            {
                break;
            }
            stored += 1;
        }
        for (count, state) in partial.places.iter().rev() {
            let count = *count as usize;
            let Ok(state) = HasherState::decode(state) else { continue };
            if count <= stored {
                let extents = partial.extents[..count].to_vec();
                let hasher = FileHasher::resume(state);
                if hasher.len() <= extents_len(&extents) {
                    return Ok(Progress { extents, hasher, places: Vec::new() });
                }
            }
        }
        Ok(Progress::default())
    }

    fn note(
        &self,
        entry: &Entry,
        stat: &Stat,
        progress: &Progress,
        places: &mut Vec<(u64, Vec<u8>)>,
    ) -> Result<(), Error> {
        if places.len() == PLACES {
            places.remove(0);
        }
        places.push((progress.extents.len() as u64, progress.hasher.state().encode()));
        let partial = Partial {
            evidence: stat.evidence,
            mtime: stat.attributes.mtime,
            extents: progress.extents.clone(),
            places: places.clone(),
        };
        Ok(self.database.set_partial(self.source_id, entry.path.as_bytes(), Some(&partial))?)
    }

    /// The extents themselves, or lists of them stored as chunks.
    fn extents(&self, entry: &Entry, extents: Vec<Extent>) -> Result<Extents, ReadFailure> {
        if extents.len() > limits::EXTENTS {
            return Err(ReadFailure::Exception(Exception {
                path: entry.path.clone(),
                kind: ExceptionKind::Unsupported,
                message: format!("it has more than {} pieces and holes", limits::EXTENTS),
            }));
        }
        if extents.len() <= INLINE_EXTENTS {
            return Ok(Extents::Inline(extents.into()));
        }
        let mut level = 0;
        let mut items = extents;
        while items.len() > INLINE_EXTENTS {
            level += 1;
            items = self.store_lists(&items)?;
        }
        let lists: Arc<[ChunkRef]> = items
            .into_iter()
            .map(|item| match item {
                Extent::Chunk(chunk) => chunk,
                Extent::Hole(_) => unreachable!("lists are chunks"),
            })
            .collect();
        Ok(Extents::Lists { level, lists })
    }

    /// Cuts a long list where a chunk's name says so, so that an insertion changes one list.
    fn store_lists(&self, items: &[Extent]) -> Result<Vec<Extent>, Error> {
        const LONGEST: usize = 8192;
        let mut lists = Vec::new();
        let mut e = Encoder::new();
        let mut count = 0;
        for (at, item) in items.iter().enumerate() {
            record::encode_extent(item, &mut e);
            count += 1;
            let ends = match item {
                Extent::Chunk(chunk) => chunk.id.0[0] == 0 && chunk.id.0[1] & 3 == 0,
                Extent::Hole(_) => false,
            };
            if ends || count == LONGEST || at + 1 == items.len() {
                let plain = std::mem::replace(&mut e, Encoder::new()).finish();
                let hash = *blake3::hash(&plain).as_bytes();
                let chunk = KERNELS.with_borrow_mut(|kernels| {
                    let (compressor, scratch) =
                        kernels.get_or_insert_with(|| (Compressor::new(self.level), Vec::new()));
                    self.packer.store(ChunkKind::ExtentList, &plain, &hash, compressor, scratch)
                })?;
                lists.push(Extent::Chunk(chunk));
                count = 0;
            }
        }
        Ok(lists)
    }
}

/// How far a large file has come.
#[derive(Default)]
struct Progress {
    extents: Vec<Extent>,
    hasher: FileHasher,
    places: Vec<(u64, Vec<u8>)>,
}

fn extents_len(extents: &[Extent]) -> u64 {
    extents.iter().map(Extent::len).sum()
}

/// The parts of a hole that are hashed at a time.
pub(crate) fn stretches(hole: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let starts = hole.clone().step_by(ZEROS as usize);
    starts.map(move |start| start..hole.end.min(start.saturating_add(ZEROS)))
}

fn push_hole(extents: &mut Vec<Extent>, len: u64) {
    match extents.last_mut() {
        Some(Extent::Hole(last)) => *last += len,
        _ => extents.push(Extent::Hole(len)),
    }
}
