//! Copies by content, without holding the tree in memory.
//!
//! ```text
//! (size, path) sorted → those of one size → (size, hash of both ends, path) sorted
//!                     → those that are the same, read whole → (size, hash, path) sorted → groups
//! ```
//!
//! Small files are read whole at once. Only what has a size that another file has is opened, and
//! only what has the ends of another as well is read to the end. A source over a network is asked for
//! many ends at a time, and for hashes where it can compute them.

use std::{collections::BTreeMap, iter::once, ops::Range, sync::Mutex};

use drover_source::{ReadError, Source, Wish};
use drover_types::{Counter, Observer, RelativePath, lock};

use super::{
    EXAMPLES,
    pool::pool,
    sorter::{Sorted, Sorter},
    tally::{EXTREMES, Top},
};
use crate::{Cancel, Error, estimate::Class, taking::Taking};

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
            let begin = || Hasher::new(source, whole, observer, cancel);
            let work = |hasher: &mut Hasher<'_>, batch: Vec<(u64, RelativePath)>| {
                hasher.announce(&batch);
                for (size, path) in batch {
                    let mut bytes = 0;
                    let hash = hasher.hash(&path, size, &mut bytes);
                    *lock(&read) += bytes;
                    match hash {
                        Ok(Some(hash)) => {
                            let size = size.to_be_bytes();
                            lock(&sorter).push(&[&size, hash.as_bytes(), path.as_bytes()])?;
                        }
                        Ok(None) => {}
                        Err(error) => failed(error),
                    }
                }
                Ok(())
            };
            pool(workers, cancel, begin, work, |send| {
                candidates.shared(key, |record| {
                    let (size, path) = parse(&record, key);
                    let bytes = if whole { size } else { size.min(SMALL) };
                    path.map_or(Ok(()), |path| send((size, path), bytes))
                })
            })?;
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

/// Hashes files: their ends, or all of them.
struct Hasher<'s> {
    source: &'s dyn Source,
    taking: Option<Taking<'s>>,
    buffer: Vec<u8>,
    whole: bool,
    observer: &'s dyn Observer,
    cancel: &'s Cancel,
}

impl<'s> Hasher<'s> {
    fn new(
        source: &'s dyn Source,
        whole: bool,
        observer: &'s dyn Observer,
        cancel: &'s Cancel,
    ) -> Self {
        let buffer = vec![0; if whole { 1 << 20 } else { SMALL as usize }];
        Self { source, taking: Taking::reading(source), buffer, whole, observer, cancel }
    }

    /// What is hashed of a file of this size where not all of it is.
    fn ends(size: u64) -> Vec<Range<u64>> {
        match size <= SMALL {
            true => once(0..size).collect(),
            false => vec![0..END, size - END..size],
        }
    }

    /// Says which files come next.
    fn announce(&mut self, files: &[(u64, RelativePath)]) {
        let Some(taking) = &mut self.taking else { return };
        let whole = self.whole;
        let wish = |(size, path): &(u64, RelativePath)| match whole {
            true => Wish::File { path: path.clone(), size: *size },
            false => {
                let mut ends = Self::ends(*size);
                // Whether it goes on.
                ends.iter_mut().filter(|end| end.end == *size).for_each(|end| end.end += 1);
                Wish::Parts(path.clone(), ends)
            }
        };
        taking.announce(files.iter().map(wish).collect());
    }

    /// The hash of the next file, and the bytes that were read for it; `None` where it is not as long as
    /// the walk saw.
    fn hash(
        &mut self,
        path: &RelativePath,
        size: u64,
        read: &mut u64,
    ) -> Result<Option<blake3::Hash>, ReadError> {
        let Some(taking) = &mut self.taking else { return self.read(path, size, read) };
        if self.whole {
            return match taking.hash(path, self.observer, self.cancel, |_| {})? {
                None => self.read(path, size, read),
                Some(hashed) => {
                    *read += hashed.size;
                    let hash = blake3::Hash::from_bytes(*hashed.hash.as_bytes());
                    Ok((hashed.size == size).then_some(hash))
                }
            };
        }
        let Some(parts) = taking.parts(path)? else { return self.read(path, size, read) };
        let mut hasher = blake3::Hasher::new();
        let mut fits = true;
        for (part, end) in parts.iter().zip(Self::ends(size)) {
            fits &= part.len() as u64 == end.end - end.start;
            hasher.update(part);
            *read += part.len() as u64;
        }
        self.observer.add(Counter::BytesRead, *read);
        Ok(fits.then(|| hasher.finalize()))
    }

    /// The same of a file that is read alone.
    fn read(
        &mut self,
        path: &RelativePath,
        size: u64,
        read: &mut u64,
    ) -> Result<Option<blake3::Hash>, ReadError> {
        let buffer = &mut self.buffer[..];
        let mut file = self.source.open(path)?;
        let mut hasher = blake3::Hasher::new();
        let runs = if self.whole { once(0..size).collect() } else { Self::ends(size) };
        for run in runs {
            let mut at = run.start;
            while at < run.end {
                if self.cancel.is_set() {
                    return Ok(None);
                }
                let len = usize::try_from(run.end - at).unwrap_or(usize::MAX).min(buffer.len());
                let came = file.read_at(at, &mut buffer[..len])?;
                if came == 0 {
                    return Ok(None);
                }
                hasher.update(&buffer[..came]);
                at += came as u64;
                *read += came as u64;
                self.observer.add(Counter::BytesRead, came as u64);
            }
        }
        // A file that grew is none of those that were compared.
        Ok(match file.read_at(size, &mut buffer[..1])? {
            0 => Some(hasher.finalize()),
            _ => None,
        })
    }
}
