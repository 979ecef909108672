//! Copies by content, without holding the tree in memory.
//!
//! ```text
//! (size, path) sorted → those of one size → (size, hash of both ends, path) sorted
//!                     → those that are the same, read whole → (size, hash, path) sorted → groups
//! ```
//!
//! Small files are read whole at once. Only what has a size that another file has is opened, and
//! only what has the ends of another as well is read to the end.

use std::{collections::BTreeMap, sync::Mutex};

use drover_source::{ReadError, Source};
use drover_types::{Counter, Observer, RelativePath, lock};

use super::{
    EXAMPLES,
    pool::pool,
    sorter::{Sorted, Sorter},
    tally::{EXTREMES, Top},
};
use crate::{Cancel, Error, estimate::Class};

/// Files up to this size, in bytes, are read whole at once.
const SMALL: u64 = 32 << 10;
/// Bytes that are read of each end of a larger one.
const END: u64 = 8 << 10;
/// Bytes of a size and a hash.
const KEY: usize = 40;
/// Classes of files that copies are counted by.
const MOST_CLASSES: usize = 4096;

/// Files that are the same.
#[derive(Debug)]
pub struct Group {
    /// The size of each, in bytes.
    pub bytes: u64,
    /// How many there are.
    pub files: u64,
    /// The first of them.
    pub paths: Vec<RelativePath>,
}

/// All that are the same.
#[derive(Debug)]
pub struct Duplicates {
    /// Files beyond the first of each group.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Groups.
    pub groups: u64,
    /// Those with the most bytes to spare.
    pub largest: Top<u64, Group>,
    /// Bytes of copies by the class of files that they are of.
    pub by_class: BTreeMap<Class, u64>,
    /// Bytes that were read to find them.
    pub read: u64,
}

/// Sizes of all files.
#[derive(Default)]
pub struct Sizes(Sorter);

impl Sizes {
    /// A file with content.
    pub fn add(&mut self, path: &RelativePath, size: u64) -> Result<(), Error> {
        self.0.push(&[&size.to_be_bytes(), path.as_bytes()])
    }

    /// Finds those that are the same. What cannot be read, or is not what the walk saw, is the same
    /// as nothing; the former goes to `failed`.
    pub fn finish(
        self,
        source: &dyn Source,
        workers: usize,
        failed: &(dyn Fn(ReadError) + Sync),
        observer: &dyn Observer,
        cancel: &Cancel,
    ) -> Result<Duplicates, Error> {
        let read = Mutex::new(0u64);
        // Of each group whose records are the same in the first `key` bytes.
        let hashed = |candidates: Sorted, key: usize, whole: bool| -> Result<Sorter, Error> {
            let sorter = Mutex::new(Sorter::default());
            let work = |buffer: &mut Vec<u8>, record: Vec<u8>| {
                let (size, path) = parse(&record, key);
                let Some(path) = path else { return Ok(()) };
                let mut bytes = 0;
                let hash = hash(source, &path, size, whole, buffer, &mut bytes, cancel);
                observer.add(Counter::BytesRead, bytes);
                *lock(&read) += bytes;
                match hash {
                    Ok(Some(hash)) => {
                        let record = [&size.to_be_bytes(), &hash.as_bytes()[..], path.as_bytes()];
                        lock(&sorter).push(&record)
                    }
                    Ok(None) => Ok(()),
                    Err(error) => {
                        failed(error);
                        Ok(())
                    }
                }
            };
            pool(workers, cancel, Vec::new, work, |send| candidates.shared(key, send))?;
            Ok(sorter.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
        };
        let ends = hashed(self.0.finish()?, 8, false)?.finish()?;
        let mut found = Duplicates {
            files: 0,
            bytes: 0,
            groups: 0,
            largest: Top::new(EXTREMES),
            by_class: BTreeMap::new(),
            read: 0,
        };
        let mut larger = Sorter::default();
        ends.shared_or_groups(
            |group, count| found.take(group, count),
            |record| larger.push(&[record]),
        )?;
        let whole = hashed(larger.finish()?, KEY, true)?.finish()?;
        whole.groups(KEY, EXAMPLES, |group, count| {
            found.take(group, count);
            Ok(())
        })?;
        found.read = read.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(found)
    }
}

impl Sorted {
    /// Small files whose hash is that of the whole come in groups; the records of larger ones one
    /// by one, for another look.
    fn shared_or_groups(
        self,
        mut group: impl FnMut(&[Vec<u8>], u64),
        mut larger: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut same: Vec<Vec<u8>> = Vec::new();
        let mut count = 0;
        for record in self {
            let record = record?;
            if parse(&record, KEY).0 > SMALL {
                larger(&record)?;
                continue;
            }
            if same.first().is_some_and(|first| first.get(..KEY) != record.get(..KEY)) {
                if count > 1 {
                    group(&same, count);
                }
                same.clear();
                count = 0;
            }
            count += 1;
            if same.len() < EXAMPLES {
                same.push(record);
            }
        }
        if count > 1 {
            group(&same, count);
        }
        Ok(())
    }
}

fn parse(record: &[u8], key: usize) -> (u64, Option<RelativePath>) {
    let size = record.first_chunk::<8>().map_or(0, |size| u64::from_be_bytes(*size));
    (size, record.get(key..).and_then(|path| RelativePath::new(path).ok()))
}

impl Duplicates {
    fn take(&mut self, group: &[Vec<u8>], files: u64) {
        let (bytes, _) = parse(&group[0], KEY);
        let spare = bytes.saturating_mul(files - 1);
        self.groups += 1;
        self.files += files - 1;
        self.bytes = self.bytes.saturating_add(spare);
        if let Some(first) = group.first().and_then(|record| parse(record, KEY).1) {
            let class = Class::of(bytes, first.name());
            if self.by_class.len() < MOST_CLASSES || self.by_class.contains_key(&class) {
                *self.by_class.entry(class).or_default() += spare;
            }
        }
        self.largest.offer(spare, || {
            let paths = group.iter().filter_map(|record| parse(record, KEY).1).collect();
            Group { bytes, files, paths }
        });
    }
}

/// The hash of a file's ends, or of all of it; `None` where it is not as long as the walk saw.
fn hash(
    source: &dyn Source,
    path: &RelativePath,
    size: u64,
    whole: bool,
    buffer: &mut Vec<u8>,
    read: &mut u64,
    cancel: &Cancel,
) -> Result<Option<blake3::Hash>, ReadError> {
    buffer.resize(if whole { 1 << 20 } else { SMALL as usize }, 0);
    let mut file = source.open(path)?;
    let mut hasher = blake3::Hasher::new();
    let runs = match whole || size <= SMALL {
        true => vec![(0, size)],
        false => vec![(0, END), (size - END, size)],
    };
    for (mut at, to) in runs {
        while at < to {
            if cancel.is_set() {
                return Ok(None);
            }
            let len = usize::try_from(to - at).unwrap_or(usize::MAX).min(buffer.len());
            let came = file.read_at(at, &mut buffer[..len])?;
            if came == 0 {
                return Ok(None);
            }
            hasher.update(&buffer[..came]);
            at += came as u64;
            *read += came as u64;
        }
    }
    // A file that grew is none of those that were compared.
    Ok(match file.read_at(size, &mut buffer[..1])? {
        0 => Some(hasher.finalize()),
        _ => None,
    })
}
