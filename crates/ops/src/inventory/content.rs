//! What is in the files: each is opened once, by one of several threads, and only as much of it is
//! read as its type asks for.
//!
//! Over a network, the beginnings of a batch of files come together, and are looked at. What more one
//! asks for shows then: it comes, together with what the others ask for, and the file is looked at again.
//! Whichever asks for more than is worth it is opened, and read as it asks.

use std::{io, ops::Range, sync::Mutex};

use drover_inspect::{Content, InspectOptions, Inspection, Inspector, Survey};
use drover_source::{ReadError, Source, SourceFile, Wish};
use drover_types::{Counter, ExceptionKind, Observer, RelativePath, lock};

use crate::{Cancel, taking::Taking};

/// A file that waits to be looked into: its path and its size in bytes.
pub type Piece = (RelativePath, u64);

/// A file of at most so many bytes comes whole.
const WHOLE: u64 = 32 << 10;
/// Of a larger one so many come first: most headers are within.
const HEAD: u64 = 8 << 10;
/// At most so many bytes of a file are held to look at it.
const HELD: u64 = 128 << 10;
/// How often more of a file comes before it is opened.
const ROUNDS: usize = 4;
/// About how much is read of a file that is not small.
const ABOUT: u64 = 64 << 10;

/// About how many bytes of a file of this size are read.
pub fn about(size: u64) -> u64 {
    size.min(ABOUT)
}

/// Looks into files, and gathers what is found.
pub struct Contents<'a> {
    source: &'a dyn Source,
    observer: &'a dyn Observer,
    failed: &'a (dyn Fn(ReadError) + Sync),
    options: InspectOptions,
    survey: Mutex<Survey>,
}

/// What one thread needs.
pub struct Looker<'a> {
    inspector: Inspector,
    /// Where the source wants to know ahead.
    taking: Option<Taking<'a>>,
}

/// The file as the inspector reads it.
struct Opened {
    file: Box<dyn SourceFile>,
    size: u64,
    /// Why a read failed, with the path.
    error: Option<ReadError>,
}

impl Content for Opened {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer).map_err(|error| {
            let words = io::Error::other("a read failed");
            self.error = Some(error);
            words
        })
    }
}

/// What came of a file so far.
struct Glimpse {
    path: RelativePath,
    size: u64,
    parts: Vec<(u64, Vec<u8>)>,
    /// Where it ends, if a part came shorter than it was asked for.
    end: Option<u64>,
    /// What the inspector asked for that is not here.
    missing: Option<Range<u64>>,
}

impl Content for Glimpse {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || offset >= self.end.unwrap_or(self.size) {
            return Ok(0);
        }
        let here = self.parts.iter().find_map(|(start, bytes)| {
            let from = usize::try_from(offset.checked_sub(*start)?).ok()?;
            bytes.get(from..).filter(|rest| !rest.is_empty())
        });
        let Some(rest) = here else {
            self.missing.get_or_insert(offset..offset.saturating_add(buffer.len() as u64));
            return Err(io::Error::other("it is not here yet"));
        };
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}

impl Glimpse {
    fn new((path, size): Piece) -> Self {
        // That a file is empty, and can be opened, shows as well.
        let first = if size <= WHOLE { size.max(1) } else { HEAD };
        Self { path, size, parts: Vec::new(), end: None, missing: Some(0..first) }
    }

    /// What to ask for next; `None` where the file is rather to be opened.
    fn asks(&self) -> Option<Range<u64>> {
        let missing = self.missing.clone()?;
        let size = self.size.max(1);
        let held: u64 = self.parts.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let most = missing.start.saturating_add(HELD.saturating_sub(held));
        // Whoever goes on where it came to will most likely go on.
        let goes_on = self.parts.iter().any(|(at, bytes)| at + bytes.len() as u64 == missing.start);
        let ahead = if goes_on { most.min(4 * missing.start) } else { 0 };
        let end = missing.end.max(ahead).min(size);
        (end <= most && self.parts.len() < ROUNDS).then_some(missing.start..end)
    }

    fn take(&mut self, asked: Range<u64>, bytes: Vec<u8>) {
        let came = asked.start + bytes.len() as u64;
        if came < asked.end {
            self.end = Some(came);
        }
        self.parts.push((asked.start, bytes));
        self.missing = None;
    }
}

impl<'a> Contents<'a> {
    /// Of this source; what cannot be read goes to `failed`.
    pub fn new(
        source: &'a dyn Source,
        options: InspectOptions,
        failed: &'a (dyn Fn(ReadError) + Sync),
        observer: &'a dyn Observer,
    ) -> Self {
        Self { source, observer, failed, options, survey: Mutex::default() }
    }

    /// What one thread needs.
    pub fn begin(&self) -> Looker<'a> {
        let inspector = Inspector::new(self.options.clone());
        Looker { inspector, taking: Taking::reading(self.source) }
    }

    /// Looks into files, until nobody wants it any more.
    pub fn look(&self, looker: &mut Looker<'_>, batch: Vec<Piece>, cancel: &Cancel) {
        let Looker { inspector, taking } = looker;
        let alone = match taking {
            Some(taking) => self.glimpse(inspector, taking, batch, cancel),
            None => batch,
        };
        for piece in alone {
            if cancel.is_set() {
                return;
            }
            self.open(inspector, piece);
        }
    }

    /// Looks into files by what comes of them a few places at a time; gives back those that are to be
    /// opened.
    fn glimpse(
        &self,
        inspector: &mut Inspector,
        taking: &mut Taking<'_>,
        batch: Vec<Piece>,
        cancel: &Cancel,
    ) -> Vec<Piece> {
        let (mut ahead, mut alone): (Vec<_>, _) =
            (batch.into_iter().map(Glimpse::new).collect(), Vec::new());
        while !ahead.is_empty() && !cancel.is_set() {
            let (mut asking, mut wishes) = (Vec::new(), Vec::new());
            for file in ahead.drain(..) {
                match file.asks() {
                    Some(place) => {
                        wishes.push(Wish::Parts(file.path.clone(), vec![place.clone()]));
                        asking.push((file, place));
                    }
                    None => alone.push((file.path, file.size)),
                }
            }
            taking.announce(wishes);
            for (mut file, place) in asking {
                match taking.parts(&file.path).map(|parts| parts.and_then(|mut p| p.pop())) {
                    Ok(Some(bytes)) => file.take(place, bytes),
                    Ok(None) => {
                        alone.push((file.path, file.size));
                        continue;
                    }
                    Err(error) => {
                        (self.failed)(error);
                        continue;
                    }
                }
                let name = file.path.name().to_vec();
                let result = inspector.inspect(&name, &mut file);
                match (file.missing.is_some(), result) {
                    (false, Ok(inspection)) => self.found(&file.path, file.size, &inspection),
                    (true, _) => ahead.push(file),
                    (false, Err(source)) => self.unreadable(None, file.path, source),
                }
            }
        }
        alone
    }

    /// Looks into one file.
    fn open(&self, inspector: &mut Inspector, (path, size): Piece) {
        let mut opened = match self.source.open(&path) {
            Ok(file) => Opened { file, size, error: None },
            Err(error) => return (self.failed)(error),
        };
        match inspector.inspect(path.name(), &mut opened) {
            Ok(inspection) => self.found(&path, size, &inspection),
            Err(error) => self.unreadable(opened.error, path, error),
        }
    }

    fn found(&self, path: &RelativePath, size: u64, inspection: &Inspection) {
        self.observer.add(Counter::BytesRead, inspection.read);
        self.observer.add(Counter::EntriesDone, 1);
        self.observer.add(Counter::BytesDone, size);
        lock(&self.survey).absorb(path, size, inspection);
    }

    fn unreadable(&self, error: Option<ReadError>, path: RelativePath, source: io::Error) {
        (self.failed)(error.unwrap_or(ReadError { kind: ExceptionKind::Error, path, source }));
    }

    /// What was found.
    pub fn finish(self) -> Survey {
        self.survey.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
