//! A stream of entries in a local file: the last manifest of a source, and the checkpoint of an
//! unfinished pass.
//!
//! A checkpoint may end anywhere after a kill or a power loss. Its records carry a checksum, and
//! reading stops, without an error, at the first that does not hold. Nothing depends on how far
//! that is: whoever resumes takes an entry only when the source still shows the same evidence
//! and every chunk is known to be acknowledged.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use drover_crypt::domain::DomainKeys;
use drover_types::{
    Entry,
    codec::{DecodeError, Decoder, Encoder},
};

use super::{StateError, sync_folder};
use crate::{manifest, record};

const MAGIC: [u8; 8] = *b"DRVRTAPE";
/// A batch is written when it has this many bytes.
const BATCH: usize = 64 << 10;
const BATCH_LIMIT: usize = BATCH + 2 * manifest::ENTRY_BYTES + 64;
const KIND_ENTRIES: u8 = 1;
const KIND_END: u8 = 2;

/// Writes a tape.
pub struct TapeWriter {
    path: PathBuf,
    file: BufWriter<File>,
    batch: Encoder,
    entries: u64,
}

impl TapeWriter {
    /// Begins a tape at `path`, replacing what is there.
    pub fn create(path: PathBuf) -> Result<Self, StateError> {
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(StateError::io(&path))?;
        let mut file = BufWriter::with_capacity(BATCH, file);
        file.write_all(&MAGIC).map_err(StateError::io(&path))?;
        Ok(Self { path, file, batch: Encoder::new(), entries: 0 })
    }

    /// Adds an entry as its leaf and side.
    pub fn push(&mut self, leaf: &[u8], side: &[u8]) -> Result<(), StateError> {
        self.batch.bytes(leaf);
        self.batch.bytes(side);
        self.entries += 1;
        if self.batch.as_bytes().len() >= BATCH { self.write(KIND_ENTRIES) } else { Ok(()) }
    }

    /// Hands what was added to the system, so that it outlives this process.
    pub fn flush(&mut self) -> Result<(), StateError> {
        if !self.batch.as_bytes().is_empty() {
            self.write(KIND_ENTRIES)?;
        }
        self.file.flush().map_err(StateError::io(&self.path))
    }

    fn write(&mut self, kind: u8) -> Result<(), StateError> {
        let bytes = self.batch.as_bytes();
        let mut head = [0; 13];
        head[0] = kind;
        head[1..5].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        head[5..].copy_from_slice(&checksum(kind, bytes));
        self.file
            .write_all(&head)
            .and_then(|()| self.file.write_all(bytes))
            .map_err(StateError::io(&self.path))?;
        self.batch.clear();
        Ok(())
    }

    /// Ends the tape, makes it durable and moves it to `place`.
    pub fn finish(self, place: &Path) -> Result<(), StateError> {
        self.end()?.move_to(place)
    }

    /// Ends the tape and makes it durable where it is.
    pub fn end(mut self) -> Result<EndedTape, StateError> {
        self.flush()?;
        self.batch.varint(self.entries);
        self.write(KIND_END)?;
        let file =
            self.file.into_inner().map_err(|e| StateError::io(&self.path)(e.into_error()))?;
        file.sync_all().map_err(StateError::io(&self.path))?;
        sync_folder(&self.path)?;
        Ok(EndedTape { path: self.path })
    }
}

/// A tape that is whole and durable.
pub struct EndedTape {
    path: PathBuf,
}

impl EndedTape {
    /// Moves it to `place`.
    pub fn move_to(self, place: &Path) -> Result<(), StateError> {
        fs::rename(&self.path, place).map_err(StateError::io(place))?;
        sync_folder(place)
    }
}

fn checksum(kind: u8, bytes: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[kind]).update(bytes);
    *hasher.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// An entry as it lies on a tape.
#[derive(Clone, Debug)]
pub struct TapeRecord {
    /// The entry.
    pub entry: Entry,
    /// Its leaf.
    pub leaf: Box<[u8]>,
    /// Its side.
    pub side: Box<[u8]>,
}

/// Reads a tape.
pub struct TapeReader {
    file: BufReader<File>,
    batch: Vec<u8>,
    at: usize,
    state: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Reading,
    Whole,
    Cut,
}

impl TapeReader {
    /// Opens the tape at `path`; `None` where there is none, or not even its first bytes.
    pub fn open(path: &Path) -> Result<Option<Self>, StateError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StateError::io(path)(e)),
        };
        let mut file = BufReader::with_capacity(BATCH, file);
        let mut magic = [0; 8];
        match file.read_exact(&mut magic) {
            Ok(()) if magic == MAGIC => {
                Ok(Some(Self { file, batch: Vec::new(), at: 0, state: End::Reading }))
            }
            _ => Ok(None),
        }
    }

    /// Whether the tape was read to its proper end.
    pub fn is_whole(&self) -> bool {
        self.state == End::Whole
    }

    /// The next entry; `None` at the end, or where the tape is cut.
    pub fn next(&mut self, keys: &DomainKeys) -> Result<Option<TapeRecord>, DecodeError> {
        while self.at == self.batch.len() {
            if self.state != End::Reading || !self.fill() {
                return Ok(None);
            }
        }
        let mut d = Decoder::new(&self.batch[self.at..]);
        let (leaf, side) = (d.bytes(manifest::ENTRY_BYTES)?, d.bytes(manifest::ENTRY_BYTES)?);
        let entry = record::decode(leaf, side, keys)?;
        let result = TapeRecord { entry, leaf: leaf.into(), side: side.into() };
        self.at = self.batch.len() - d.rest().len();
        Ok(Some(result))
    }

    /// Reads the next batch; `false` at the end.
    fn fill(&mut self) -> bool {
        self.state = End::Cut;
        let mut head = [0; 13];
        if self.file.read_exact(&mut head).is_err() {
            return false;
        }
        let kind = head[0];
        let len = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if len > BATCH_LIMIT {
            return false;
        }
        self.batch.resize(len, 0);
        self.at = 0;
        if self.file.read_exact(&mut self.batch).is_err()
            || checksum(kind, &self.batch) != head[5..]
        {
            self.batch.clear();
            return false;
        }
        match kind {
            KIND_ENTRIES => self.state = End::Reading,
            KIND_END => {
                self.state = End::Whole;
                self.batch.clear();
            }
            _ => self.batch.clear(),
        }
        self.state == End::Reading
    }
}
