//! The ordered end of the pipeline: finished entries become the new manifest.

use drover_crypt::domain::DomainKeys;
use drover_repo::{
    manifest::{ChunkSink, ManifestRoot, ManifestWriter},
    record,
    snapshot::{self, EXCEPTION_CHUNK_BYTES, INLINE_EXCEPTION_BYTES},
    state::{LinkMap, StateError, StateFolder, TapeRecord, TapeWriter},
};
use drover_types::{
    ChunkKind, ChunkRef, Counter, Entry, Exception, ExceptionKind, Kind, Observer,
    codec::{Decoder, Encoder},
};

use super::{
    packer::MetaSink,
    worker::{Class, Done, entry_done, failed},
};
use crate::Error;

/// How many entries there are of each sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryCounts {
    /// Not in the last manifest.
    pub new: u64,
    /// Another content.
    pub changed: u64,
    /// The same content, other attributes.
    pub metadata: u64,
    /// As they were, carried-over ones included.
    pub unchanged: u64,
    /// In the last manifest and gone.
    pub removed: u64,
    /// In the last manifest and left out by a rule now.
    pub excluded: u64,
    /// Regular files, further names included.
    pub files: u64,
    /// Logical bytes of the regular files.
    pub bytes: u64,
}

impl EntryCounts {
    /// All entries of the new manifest, the root not counted.
    pub fn total(&self) -> u64 {
        self.new + self.changed + self.metadata + self.unchanged
    }
}

/// Takes finished entries in their order.
pub(crate) struct Collector<'s> {
    keys: &'s DomainKeys,
    observer: &'s dyn Observer,
    manifest: ManifestWriter<'s>,
    sink: MetaSink<'s, 's>,
    tape: TapeWriter,
    /// Leaf and side of files that have further names.
    first_names: LinkMap,
    pub(crate) counts: EntryCounts,
    pub(crate) exceptions: Vec<Exception>,
}

impl<'s> Collector<'s> {
    pub(crate) fn new(
        keys: &'s DomainKeys,
        observer: &'s dyn Observer,
        sink: MetaSink<'s, 's>,
        tape: TapeWriter,
        folder: &StateFolder,
    ) -> Self {
        Self {
            keys,
            observer,
            manifest: ManifestWriter::new(keys),
            sink,
            tape,
            first_names: LinkMap::new(folder.path()),
            counts: EntryCounts::default(),
            exceptions: Vec::new(),
        }
    }

    /// Takes a batch. What it holds outlives this process as soon as this returns.
    pub(crate) fn take(&mut self, batch: Vec<Done>) -> Result<(), Error> {
        for done in batch {
            self.one(done)?;
        }
        Ok(self.tape.flush()?)
    }

    fn one(&mut self, done: Done) -> Result<(), Error> {
        match done {
            Done::Entry { record, class, exception } => {
                if let Some(exception) = exception {
                    self.exception(exception);
                }
                self.entry(*record, class)
            }
            Done::Link { entry, parent } => {
                let done = self.link(*entry, parent)?;
                self.one(done)
            }
            Done::Excluded => {
                self.counts.excluded += 1;
                Ok(())
            }
            Done::Absent { exception, removed } => {
                self.counts.removed += u64::from(removed);
                if let Some(exception) = exception {
                    self.exception(exception);
                }
                Ok(())
            }
        }
    }

    fn exception(&mut self, exception: Exception) {
        // A directory that may not be opened is one for its listing and for its attributes.
        let same = |last: &Exception| last.path == exception.path && last.kind == exception.kind;
        if self.exceptions.last().is_some_and(same) {
            return;
        }
        self.observer.exception(&exception);
        self.exceptions.push(exception);
    }

    fn entry(&mut self, record: TapeRecord, class: Class) -> Result<(), Error> {
        let TapeRecord { entry, leaf, side } = record;
        if !entry.path.is_root() {
            match class {
                Class::New => self.counts.new += 1,
                Class::Changed => self.counts.changed += 1,
                Class::Metadata => self.counts.metadata += 1,
                Class::Unchanged => self.counts.unchanged += 1,
            }
            self.observer.add(Counter::EntriesDone, 1);
        }
        if let Some(content) = &entry.content {
            self.counts.files += 1;
            self.counts.bytes = self.counts.bytes.saturating_add(content.size);
        }
        self.manifest.push(&entry.path, &leaf, &side, &mut self.sink)?;
        self.tape.push(&leaf, &side)?;
        self.remember(&entry, &leaf, &side)
    }

    /// Keeps what further names of this file will need.
    fn remember(&mut self, entry: &Entry, leaf: &[u8], side: &[u8]) -> Result<(), Error> {
        let v = &entry.evidence;
        if v.links < 2 || entry.kind == Kind::Directory || entry.stale {
            return Ok(());
        }
        let key = (v.device, v.inode);
        if self.first_names.count(key)?.is_none() {
            let mut value = Encoder::new();
            value.bytes(leaf);
            value.raw(side);
            self.first_names.insert(key, v.links - 1, &value.finish())?;
        }
        Ok(())
    }

    fn link(&self, mut entry: Entry, parent: Option<Box<TapeRecord>>) -> Result<Done, Error> {
        let v = &entry.evidence;
        let Some(value) = self.first_names.get((v.device, v.inode))? else {
            let exception = Exception {
                path: entry.path,
                kind: ExceptionKind::Error,
                message: "another name of a file whose first name could not be taken".into(),
            };
            return Ok(failed(exception, parent, self.keys));
        };
        let mut d = Decoder::new(&value);
        let first = d
            .bytes(value.len())
            .and_then(|leaf| record::decode(leaf, d.rest(), self.keys))
            .map_err(StateError::from)?;
        entry.kind = first.kind;
        entry.attributes = first.attributes;
        entry.content = first.content;
        Ok(entry_done(entry, parent.as_deref(), self.keys))
    }

    /// Ends the manifest.
    pub(crate) fn finish(mut self) -> Result<Collected<'s>, Error> {
        let manifest = self.manifest.finish(&mut self.sink)?;
        let Self { counts, exceptions, tape, sink, .. } = self;
        Ok(Collected { manifest, counts, exceptions, exception_chunks: Vec::new(), tape, sink })
    }
}

/// What a pass collected.
pub(crate) struct Collected<'s> {
    pub manifest: ManifestRoot,
    pub counts: EntryCounts,
    pub exceptions: Vec<Exception>,
    pub exception_chunks: Vec<ChunkRef>,
    pub tape: TapeWriter,
    sink: MetaSink<'s, 's>,
}

impl Collected<'_> {
    /// Stores exceptions as chunks where they are too many for the snapshot itself.
    pub(crate) fn store_exceptions(&mut self) -> Result<(), Error> {
        let mut bytes = 0;
        let fits = |exception: &Exception| {
            bytes += snapshot::encode_exceptions(std::slice::from_ref(exception)).len();
            bytes <= INLINE_EXCEPTION_BYTES
        };
        if self.exceptions.iter().all(fits) {
            return Ok(());
        }
        let mut from = 0;
        while from < self.exceptions.len() {
            let mut to = from + 1;
            let mut plain = snapshot::encode_exceptions(&self.exceptions[from..to]);
            while to < self.exceptions.len() && plain.len() < EXCEPTION_CHUNK_BYTES {
                plain.extend(snapshot::encode_exceptions(&self.exceptions[to..to + 1]));
                to += 1;
            }
            self.exception_chunks.push(self.sink.put(ChunkKind::Exceptions, &plain)?);
            from = to;
        }
        Ok(())
    }
}
