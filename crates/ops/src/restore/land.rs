//! Files' content: first all that is needed is noted, then every pack is fetched once.
//!
//! ```text
//!  files ──► planners ──► what the file that is there has already: copied, checked
//!               │ note of the file, placements of its other chunks
//!               ▼
//!            scratch ──► sorted by pack ──► fetchers ──► all cores: opened, written, finished
//! ```
//!
//! A chunk that many files share is fetched once, and so is a pack whose chunks lie in files far
//! apart: packs come in the order in which they are first needed, and what each gives goes
//! wherever it belongs. Most files get all they need from one pack and are made, written and
//! finished at once. Others are parked between packs, closed; what is kept in memory of each is
//! its name and how many chunks it lacks.
//!
//! In memory are at most the packs being fetched and the one being written.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, Mutex, atomic::Ordering},
};

use crossbeam_channel::{Sender, bounded};
use drover_chunk::Decompressor;
use drover_crypt::domain::DomainKeys;
use drover_pack::FrameReader;
use drover_repo::{ChunkError, PackPart, Tree, record, tree};
use drover_source::target::{NewFile, ParkedFile, Scratch, Target, TargetError};
use drover_types::{
    ChunkId, ChunkKind, ChunkRef, Counter, Entry, Evidence, ExceptionKind, Extent, RelativePath,
    codec::{Decoder, Encoder},
    lock,
};
use rayon::prelude::*;

use super::{
    Restore,
    later::damaged_note,
    placements::{Placement, Sorted, Sorter},
    plan::{Found, Job},
    size,
};
use crate::{Error, threads};

/// Packs being fetched at a time.
const FETCHERS: usize = 2;
/// Placements that are worked on at a time; a pack that has more is fetched again for the rest.
const GROUP: usize = 1 << 18;
/// Room for a note of usual length, in bytes.
const NOTE: usize = 1 << 10;
/// Of files that lack less than this many bytes no earlier manifest is asked.
const SMALL: u64 = 2 << 20;

thread_local! {
    static FRAMES: RefCell<FrameReader> = RefCell::new(FrameReader::new(Decompressor::new()));
}

/// Reads from a file that is there, at an offset; returns how many bytes came.
type ReadAt<'f> = dyn Fn(u64, &mut [u8]) -> Result<usize, TargetError> + Sync + 'f;

/// Puts the content of files into a target.
pub(super) struct Landing<'r> {
    run: &'r Restore<'r>,
    target: &'r Target,
    keys: Arc<DomainKeys>,
    scratch: Scratch,
    wanted: Mutex<Wanted>,
    /// Files that have got some of what they need, by their notes.
    begun: Mutex<HashMap<u64, Begun>>,
}

#[derive(Default)]
struct Wanted {
    placements: Sorter,
    /// The packs in the order in which they are first needed, and the place of each in it.
    packs: Vec<u32>,
    ranks: HashMap<u32, u32>,
}

struct Begun {
    /// How many chunks it lacks.
    left: u32,
    /// The file, once there is one; `None` where it could not be made or written.
    file: Option<Option<ParkedFile>>,
}

/// What is noted of a file until its chunks come.
struct Note {
    entry: Entry,
    /// How many chunks are to come.
    left: u32,
    /// Whether it consists of one chunk.
    sole: bool,
    replaces: bool,
}

/// What is taken from the file that is there.
struct Run {
    from: u64,
    to: u64,
    len: u64,
}

/// Placements of one pack.
struct Group {
    pack: u32,
    placements: Vec<Placement>,
}

impl<'r> Landing<'r> {
    pub fn new(
        run: &'r Restore<'r>,
        target: &'r Target,
        keys: Arc<DomainKeys>,
    ) -> Result<Self, Error> {
        let (wanted, begun) = Default::default();
        Ok(Self { run, target, keys, scratch: target.scratch()?, wanted, begun })
    }

    /// Notes what a file needs; one that needs nothing is finished.
    pub fn plan(&self, job: Job, frames: &mut FrameReader) -> Result<(), Error> {
        let (path, size) = (job.entry.path.clone(), size(&job.entry));
        let to_come = match self.note(job, frames) {
            Ok(to_come) => to_come,
            Err(error) => self.failed(&path, error).map(|()| 0)?,
        };
        // Of holes, of what is there, and of what cannot be had nothing is left to do.
        self.run.observer.add(Counter::BytesDone, size - to_come);
        Ok(())
    }

    /// How many bytes are to come.
    fn note(&self, job: Job, frames: &mut FrameReader) -> Result<u64, Error> {
        let Job { mut entry, found } = job;
        let Some(content) = &entry.content else {
            return self.create(&entry, false).map(|_| 0);
        };
        let extents = tree::resolve(self.run.reader, content, frames)?;
        let sole = extents.len() == 1;
        let mut missing: Vec<(u64, ChunkRef)> = Vec::with_capacity(extents.len());
        let mut offset = 0;
        for extent in extents.iter() {
            if let Extent::Chunk(chunk) = extent {
                missing.push((offset, *chunk));
            }
            offset += extent.len();
        }
        drop(extents);
        if found == Found::Alike && self.is_there(&entry, &missing)? {
            return self.run.keep(&entry).map(|()| 0);
        }
        let replaces = found != Found::Nothing;
        let mut begun = None;
        if replaces && !missing.is_empty() {
            begun = self.reuse(&entry, &mut missing, frames)?;
        }
        let places = self.places(&entry, replaces, &mut missing, &mut begun, frames)?;
        if missing.is_empty() {
            let file = match begun {
                Some(file) => file,
                None => self.create(&entry, replaces)?,
            };
            return self.finish(file, &entry).map(|()| 0);
        }
        entry.hard_link = None;
        let left =
            u32::try_from(missing.len()).map_err(|_| ChunkError::Missing(missing[0].1.id))?;
        let file = self.scratch.append(&Note { entry, left, sole, replaces }.encode())?;
        if let Some(begun) = begun {
            lock(&self.begun).insert(file, Begun { left, file: Some(Some(begun.park()?)) });
        }
        let Wanted { placements, packs, ranks } = &mut *lock(&self.wanted);
        for ((offset, _), (pack, frame)) in missing.iter().zip(places) {
            let rank = *ranks.entry(pack).or_insert_with(|| {
                packs.push(pack);
                packs.len() as u32 - 1
            });
            placements.push(Placement { rank, file, offset: *offset, frame }, &self.scratch)?;
        }
        Ok(sum(&missing))
    }

    /// Where all that is missing lies. What the index tells otherwise than the manifest is looked
    /// for in the packs themselves, written, and missing no more.
    fn places(
        &self,
        entry: &Entry,
        replaces: bool,
        missing: &mut Vec<(u64, ChunkRef)>,
        begun: &mut Option<NewFile>,
        frames: &mut FrameReader,
    ) -> Result<Vec<(u32, u32)>, Error> {
        let reader = self.run.reader;
        let mut places = Vec::with_capacity(missing.len());
        let mut found = Vec::with_capacity(missing.len());
        for (offset, chunk) in missing.drain(..) {
            if let Some(place) = reader.index().place(&chunk, ChunkKind::Data) {
                places.push(place);
                found.push((offset, chunk));
                continue;
            }
            let file = match begun.take() {
                Some(file) => file,
                None => self.create(entry, replaces)?,
            };
            let file = begun.insert(file);
            reader
                .read(&chunk, ChunkKind::Data, frames, |plain, _| file.write_at(offset, plain))??;
        }
        *missing = found;
        Ok(places)
    }

    /// Whether the file that is there, of the right size, has all of these chunks and no holes.
    fn is_there(&self, entry: &Entry, chunks: &[(u64, ChunkRef)]) -> Result<bool, Error> {
        let Some(existing) = self.target.open_existing(&entry.path)? else { return Ok(false) };
        let read = |offset, buffer: &mut [u8]| existing.read_at(offset, buffer);
        Ok(sum(chunks) == existing.size() && self.missing(chunks, &read)?.is_empty())
    }

    /// Begins a file with what the one that it replaces has, at the same places or, where an earlier
    /// manifest tells, at others; what is right, by its hash once it is in the new file, is not
    /// missing any more.
    fn reuse(
        &self,
        entry: &Entry,
        missing: &mut Vec<(u64, ChunkRef)>,
        frames: &mut FrameReader,
    ) -> Result<Option<NewFile>, Error> {
        let Some(existing) = self.target.open_existing(&entry.path)? else { return Ok(None) };
        let earlier = match sum(missing) {
            SMALL.. => self.earlier_places(entry, frames),
            _ => HashMap::new(),
        };
        let mut runs: Vec<Run> = Vec::new();
        for (to, chunk) in missing.iter() {
            let from = earlier.get(&chunk.id).copied().unwrap_or(*to);
            let len = u64::from(chunk.len);
            if from.checked_add(len).is_none_or(|end| end > existing.size()) {
                continue;
            }
            match runs.last_mut() {
                Some(run) if (run.from + run.len, run.to + run.len) == (from, *to) => {
                    run.len += len
                }
                _ => runs.push(Run { from, to: *to, len }),
            }
        }
        if runs.is_empty() {
            return Ok(None);
        }
        let file = self.target.replace_file(entry)?;
        for run in runs {
            file.copy_from(&existing, run.from, run.to, run.len)?;
        }
        let read = |offset, buffer: &mut [u8]| file.read_at(offset, buffer);
        let left = self.missing(missing, &read)?;
        let some = left.len() < missing.len();
        *missing = left;
        Ok(some.then_some(file))
    }

    /// Where the chunks of the file lie by the manifests of earlier snapshots. They only say where
    /// to look: whatever cannot be read of them is nowhere.
    fn earlier_places(&self, entry: &Entry, frames: &mut FrameReader) -> HashMap<ChunkId, u64> {
        let reader = self.run.reader;
        let mut places = HashMap::new();
        for (keys, manifest) in &self.run.earlier {
            let path = entry.path.clone();
            let tree = Tree::open(reader, keys.clone(), manifest, path);
            let Ok(Some(Ok(before))) = tree.map(|mut tree| tree.next()) else { continue };
            let Some(content) = before.content.filter(|_| before.path == entry.path) else {
                continue;
            };
            let Ok(extents) = tree::resolve(reader, &content, frames) else { continue };
            let mut offset = 0;
            for extent in extents.iter() {
                if let Extent::Chunk(chunk) = extent {
                    places.entry(chunk.id).or_insert(offset);
                }
                offset += extent.len();
            }
        }
        places
    }

    /// Those of `chunks` that a file does not hold at their places.
    fn missing(
        &self,
        chunks: &[(u64, ChunkRef)],
        read: &ReadAt<'_>,
    ) -> Result<Vec<(u64, ChunkRef)>, Error> {
        let is_there = |buffer: &mut Vec<u8>, &(offset, chunk): &(u64, ChunkRef)| {
            if self.run.cancel.is_set() {
                return Err(Error::Stopped);
            }
            buffer.resize(chunk.len as usize, 0);
            let mut len = 0;
            while len < buffer.len() {
                match read(offset + len as u64, &mut buffer[len..])? {
                    0 => return Ok(Some((offset, chunk))),
                    n => len += n,
                }
            }
            let id = self.keys.chunk_id(ChunkKind::Data, blake3::hash(buffer).as_bytes());
            if id != chunk.id {
                return Ok(Some((offset, chunk)));
            }
            Ok(None)
        };
        let checked = chunks.par_iter().map_init(Vec::new, is_there);
        checked.filter_map(Result::transpose).collect()
    }

    /// Fetches all that was noted, and writes it.
    pub fn land(&self) -> Result<(), Error> {
        let Wanted { placements, packs, .. } = std::mem::take(&mut *lock(&self.wanted));
        let sorted = placements.sorted(&self.scratch)?;
        std::thread::scope(|scope| {
            let (groups, to_fetch) = bounded::<Group>(1);
            // A pack is handed over, not queued.
            let (fetched, ready) = bounded::<(Group, Result<PackPart, ChunkError>)>(0);
            threads::spawn_some(scope, FETCHERS, || {
                let (to_fetch, fetched) = (to_fetch.clone(), fetched.clone());
                move || {
                    for group in to_fetch {
                        let part = self.fetch(&group);
                        if fetched.send((group, part)).is_err() {
                            break;
                        }
                    }
                }
            })?;
            drop((to_fetch, fetched));
            let gathering = threads::spawn(scope, move || gather(sorted, &packs, &groups))?;
            for (group, part) in ready {
                let files: Vec<_> = group.placements.chunk_by(|a, b| a.file == b.file).collect();
                files.par_iter().try_for_each(|places| self.file(places, group.pack, &part))?;
            }
            gathering.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn fetch(&self, group: &Group) -> Result<PackPart, ChunkError> {
        let reader = self.run.reader;
        reader.fetch_frames(&reader.index().packs()[group.pack as usize], &group.frames())
    }

    /// Writes what one pack has for one file.
    fn file(
        &self,
        places: &[Placement],
        pack: u32,
        part: &Result<PackPart, ChunkError>,
    ) -> Result<(), Error> {
        if self.run.cancel.is_set() {
            return Err(Error::Stopped);
        }
        let id = places[0].file;
        let note = self.read_note(id)?;
        let begun = if note.sole { None } else { lock(&self.begun).remove(&id) };
        let Begun { left, file } = begun.unwrap_or(Begun { left: note.left, file: Some(None) });
        let left = left - places.len() as u32;
        let written = match file {
            Some(parked) => self.go_on(parked, &note, places, pack, part, left),
            None => Ok(None),
        };
        let entries = &self.run.reader.index().packs()[pack as usize].entries;
        let bytes = places.iter().map(|place| u64::from(entries[place.frame as usize].plain_len));
        self.run.observer.add(Counter::BytesDone, bytes.sum());
        let file = written.or_else(|error| self.failed(&note.entry.path, error).map(|()| None))?;
        if left > 0 {
            lock(&self.begun).insert(id, Begun { left, file: file.map(Some) });
        }
        Ok(())
    }

    /// Writes what one pack has for a file that was parked, or is begun; one that needs more is
    /// parked again.
    fn go_on(
        &self,
        parked: Option<ParkedFile>,
        note: &Note,
        places: &[Placement],
        pack: u32,
        part: &Result<PackPart, ChunkError>,
        left: u32,
    ) -> Result<Option<ParkedFile>, Error> {
        let file = match parked {
            Some(parked) => parked.resume()?,
            None => self.create(&note.entry, note.replaces)?,
        };
        match places {
            [one] => self.write(one, pack, part, note, &file)?,
            several => {
                let write = |place| self.write(place, pack, part, note, &file);
                several.par_iter().try_for_each(write)?;
            }
        }
        if left > 0 {
            return Ok(Some(file.park()?));
        }
        self.finish(file, &note.entry)?;
        Ok(None)
    }

    fn write(
        &self,
        place: &Placement,
        pack: u32,
        part: &Result<PackPart, ChunkError>,
        note: &Note,
        file: &NewFile,
    ) -> Result<(), Error> {
        let reader = self.run.reader;
        let receipt = &reader.index().packs()[pack as usize];
        let frame = &receipt.entries[place.frame as usize];
        let chunk = ChunkRef { id: frame.id, len: frame.plain_len };
        let whole = note.entry.content.as_ref().filter(|_| note.sole).map(|content| content.hash);
        let put = |plain: &[u8], hash| match whole {
            Some(whole) if whole != hash => Err(ChunkError::Missing(chunk.id).into()),
            _ => file.write_at(place.offset, plain).map_err(Error::from),
        };
        FRAMES.with_borrow_mut(|frames| {
            let opened = match part {
                Ok(part) => reader.open_part(part, receipt, place.frame, frames),
                Err(error) => Err(error.again()),
            };
            match opened {
                Ok((plain, hash)) => put(plain, hash),
                // A store that fails is asked again only where another pack may have it.
                Err(error @ ChunkError::Store(_))
                    if reader.index().places(&chunk.id).count() == 1 =>
                {
                    Err(error.into())
                }
                Err(_) => reader.read(&chunk, ChunkKind::Data, frames, put)?,
            }
        })?;
        self.run.bytes.fetch_add(chunk.len.into(), Ordering::Relaxed);
        Ok(())
    }

    fn create(&self, entry: &Entry, replaces: bool) -> Result<NewFile, Error> {
        Ok(match replaces {
            true => self.target.replace_file(entry)?,
            false => self.target.create_file(entry)?,
        })
    }

    fn finish(&self, file: NewFile, entry: &Entry) -> Result<(), Error> {
        let losses = file.finish(entry)?;
        self.run.lost(&entry.path, losses);
        self.run.done();
        Ok(())
    }

    /// What concerns this file alone goes on the list. What was at its place is there still.
    fn failed(&self, path: &RelativePath, error: Error) -> Result<(), Error> {
        match error {
            Error::Target(error) => self.run.failed(error),
            Error::Chunk(_) | Error::Tree(_) => {
                self.run.except(path, ExceptionKind::Error, error.to_string());
                Ok(())
            }
            error => Err(error),
        }
    }

    fn read_note(&self, at: u64) -> Result<Note, Error> {
        let mut bytes = [0; NOTE];
        let read = self.scratch.read_at(at, &mut bytes)?;
        let len = Note::len(&bytes[..read]);
        if len <= read {
            return Note::decode(&bytes[..len]);
        }
        let mut bytes = vec![0; len];
        self.scratch.read_at(at, &mut bytes)?;
        Note::decode(&bytes)
    }
}

fn sum(chunks: &[(u64, ChunkRef)]) -> u64 {
    chunks.iter().map(|(_, chunk)| u64::from(chunk.len)).sum()
}

/// Hands out the placements of one pack after the other.
fn gather(sorted: Sorted<'_>, packs: &[u32], groups: &Sender<Group>) -> Result<(), Error> {
    let mut rank = 0;
    let mut placements: Vec<Placement> = Vec::new();
    let give = |rank: u32, placements| {
        let group = Group { pack: packs[rank as usize], placements };
        groups.send(group).map_err(|_| Error::Stopped)
    };
    for placement in sorted {
        let placement = placement?;
        if !placements.is_empty() && (placement.rank != rank || placements.len() == GROUP) {
            give(rank, std::mem::take(&mut placements))?;
        }
        rank = placement.rank;
        placements.push(placement);
    }
    if placements.is_empty() { Ok(()) } else { give(rank, placements) }
}

impl Group {
    fn frames(&self) -> Vec<u32> {
        let mut frames: Vec<u32> = self.placements.iter().map(|place| place.frame).collect();
        frames.sort_unstable();
        frames.dedup();
        frames
    }
}

const SOLE: u8 = 1;
const REPLACES: u8 = 2;

impl Note {
    fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.u32(0);
        e.u32(self.left);
        e.u32(self.entry.evidence.links);
        e.u8(if self.sole { SOLE } else { 0 } | if self.replaces { REPLACES } else { 0 });
        record::encode_leaf(&self.entry, &mut e);
        let mut bytes = e.finish();
        let len = bytes.len() as u32;
        bytes[..4].copy_from_slice(&len.to_le_bytes());
        bytes
    }

    /// The length of the note that `bytes` begin with.
    fn len(bytes: &[u8]) -> usize {
        bytes.first_chunk().map_or(0, |len| u32::from_le_bytes(*len) as usize)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut d = Decoder::new(bytes);
        let mut head = || Ok((d.u32()?, d.u32()?, d.u32()?, d.u8()?));
        let (_, left, links, flags) = head().map_err(damaged_note)?;
        let mut entry = record::decode_leaf(d.rest()).map_err(damaged_note)?;
        entry.evidence = Evidence { links, ..Evidence::default() };
        Ok(Self { entry, left, sole: flags & SOLE != 0, replaces: flags & REPLACES != 0 })
    }
}
