//! What is in the files: each is opened once, by one of several threads, and only as much of it is
//! read as its type asks for.

use std::{io, sync::Mutex};

use drover_inspect::{Content, InspectOptions, Inspector, Survey};
use drover_source::{ReadError, Source, SourceFile};
use drover_types::{Counter, ExceptionKind, Observer, RelativePath, lock};

/// A file that waits to be looked into: its path and its size in bytes.
pub type Piece = (RelativePath, u64);

/// Looks into files, and gathers what is found.
pub struct Contents<'a> {
    source: &'a dyn Source,
    observer: &'a dyn Observer,
    failed: &'a (dyn Fn(ReadError) + Sync),
    options: InspectOptions,
    survey: Mutex<Survey>,
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
    pub fn begin(&self) -> Inspector {
        Inspector::new(self.options.clone())
    }

    /// Looks into one file.
    pub fn look(&self, inspector: &mut Inspector, (path, size): Piece) {
        let mut opened = match self.source.open(&path) {
            Ok(file) => Opened { file, size, error: None },
            Err(error) => return (self.failed)(error),
        };
        match inspector.inspect(path.name(), &mut opened) {
            Ok(inspection) => {
                self.observer.add(Counter::BytesRead, inspection.read);
                self.observer.add(Counter::EntriesDone, 1);
                self.observer.add(Counter::BytesDone, size);
                lock(&self.survey).absorb(&path, size, &inspection);
            }
            Err(error) => (self.failed)(opened.error.unwrap_or(ReadError {
                kind: ExceptionKind::Error,
                path,
                source: error,
            })),
        }
    }

    /// What was found.
    pub fn finish(self) -> Survey {
        self.survey.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
