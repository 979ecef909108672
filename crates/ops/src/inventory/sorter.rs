//! Any number of records in order, in little memory: what does not fit is sorted in parts, and the
//! parts lie in a file without a name until they are merged.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
};

use crate::Error;

/// Bytes of records that are held before they are written out.
const HELD: usize = 12 << 20;
/// Bytes that are read ahead of each part.
const AHEAD: usize = 64 << 10;

/// Takes records, byte strings, and gives them back in their order.
pub struct Sorter {
    bytes: Vec<u8>,
    /// The first eight bytes of each record, where it begins, how long it is.
    records: Vec<(u64, u32, u32)>,
    held: usize,
    file: Option<File>,
    /// Where each part lies in the file.
    parts: Vec<(u64, u64)>,
}

fn prefix(record: &[u8]) -> u64 {
    let mut first = [0; 8];
    let len = record.len().min(8);
    first[..len].copy_from_slice(&record[..len]);
    u64::from_be_bytes(first)
}

impl Default for Sorter {
    fn default() -> Self {
        Self::holding(HELD)
    }
}

impl Sorter {
    /// One that holds about so many bytes.
    pub fn holding(held: usize) -> Self {
        Self { bytes: Vec::new(), records: Vec::new(), held, file: None, parts: Vec::new() }
    }

    /// Takes a record, which is at most 1 MiB and a bit: a path and a few bytes before it.
    pub fn push(&mut self, record: &[&[u8]]) -> Result<(), Error> {
        let from = self.bytes.len();
        for part in record {
            self.bytes.extend_from_slice(part);
        }
        let len = self.bytes.len() - from;
        self.records.push((prefix(&self.bytes[from..]), from as u32, len as u32));
        if self.bytes.len() + self.records.len() * 16 >= self.held {
            self.spill().map_err(Error::Scratch)?;
        }
        Ok(())
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        let of =
            |&(_, from, len): &(u64, u32, u32)| &bytes[from as usize..from as usize + len as usize];
        self.records.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| of(a).cmp(of(b))));
    }

    fn spill(&mut self) -> io::Result<()> {
        self.sort();
        let file = match self.file.take() {
            Some(file) => file,
            None => nameless()?,
        };
        let from = self.parts.last().map_or(0, |&(_, to)| to);
        let mut out = BufWriter::with_capacity(1 << 20, &file);
        out.seek(SeekFrom::Start(from))?;
        let mut to = from;
        for &(_, at, len) in &self.records {
            out.write_all(&len.to_le_bytes())?;
            out.write_all(&self.bytes[at as usize..][..len as usize])?;
            to += 4 + u64::from(len);
        }
        out.flush()?;
        drop(out);
        self.parts.push((from, to));
        self.file = Some(file);
        self.bytes.clear();
        self.records.clear();
        Ok(())
    }

    /// All records in order, those that are the same as often as they came.
    pub fn finish(mut self) -> Result<Sorted, Error> {
        self.sort();
        let mut sorted = Sorted {
            bytes: self.bytes,
            records: self.records.into_iter(),
            parts: Vec::new(),
            heads: BinaryHeap::new(),
        };
        if let Some(file) = self.file {
            for (from, to) in self.parts {
                let file = file.try_clone().map_err(Error::Scratch)?;
                let part = Part { file, at: from, to };
                sorted.parts.push(BufReader::with_capacity(AHEAD, part));
            }
        }
        for part in 0..=sorted.parts.len() {
            sorted.refill(part)?;
        }
        Ok(sorted)
    }
}

/// A file that is gone with the process, however that ends.
pub(crate) fn nameless() -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("drover-sort-{}-{number}", std::process::id()));
    // What a run of this number left that was killed between the next two lines.
    let _ = std::fs::remove_file(&path);
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// One part of the file.
struct Part {
    file: File,
    at: u64,
    to: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.to - self.at).unwrap_or(usize::MAX);
        let len = left.min(buffer.len());
        let came = self.file.read_at(&mut buffer[..len], self.at)?;
        self.at += came as u64;
        Ok(came)
    }
}

/// Records in order.
pub struct Sorted {
    bytes: Vec<u8>,
    records: std::vec::IntoIter<(u64, u32, u32)>,
    parts: Vec<BufReader<Part>>,
    /// The next record of each part; the last part is what was never written.
    heads: BinaryHeap<Reverse<(Vec<u8>, usize)>>,
}

impl Sorted {
    fn refill(&mut self, part: usize) -> Result<(), Error> {
        let next = match self.parts.get_mut(part) {
            Some(part) => read(part).map_err(Error::Scratch)?,
            None => self
                .records
                .next()
                .map(|(_, at, len)| self.bytes[at as usize..][..len as usize].to_vec()),
        };
        if let Some(record) = next {
            self.heads.push(Reverse((record, part)));
        }
        Ok(())
    }

    /// Records whose first `key` bytes are the same come together: hands each such group of two or
    /// more to `take`, which gets no more than `most` of them, and their number.
    pub fn groups(
        self,
        key: usize,
        most: usize,
        mut take: impl FnMut(&[Vec<u8>], u64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut group: Vec<Vec<u8>> = Vec::new();
        let mut count = 0;
        for record in self {
            let record = record?;
            if group.first().is_some_and(|first| first.get(..key) != record.get(..key)) {
                if count > 1 {
                    take(&group, count)?;
                }
                group.clear();
                count = 0;
            }
            count += 1;
            if group.len() < most {
                group.push(record);
            }
        }
        if count > 1 {
            take(&group, count)?;
        }
        Ok(())
    }

    /// Hands every record of a group of two or more to `take`, however large the group is.
    pub fn shared(
        self,
        key: usize,
        mut take: impl FnMut(Vec<u8>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut before: Option<(Vec<u8>, bool)> = None;
        for record in self {
            let record = record?;
            let same = before.as_ref().is_some_and(|(b, _)| b.get(..key) == record.get(..key));
            if let Some((before, shared)) = before.replace((record, same))
                && (shared || same)
            {
                take(before)?;
            }
        }
        match before {
            Some((last, true)) => take(last),
            _ => Ok(()),
        }
    }
}

fn read(part: &mut BufReader<Part>) -> io::Result<Option<Vec<u8>>> {
    let mut len = [0; 4];
    match part.read_exact(&mut len) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut record = vec![0; u32::from_le_bytes(len) as usize];
    part.read_exact(&mut record)?;
    Ok(Some(record))
}

impl Iterator for Sorted {
    type Item = Result<Vec<u8>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((record, part)) = self.heads.pop()?;
        match self.refill(part) {
            Ok(()) => Some(Ok(record)),
            Err(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn everything_comes_back_in_order(
            records in prop::collection::vec(prop::collection::vec(0u8..4, 0..12), 0..200),
            held in 1usize..2000,
        ) {
            let mut sorter = Sorter::holding(held);
            for record in &records {
                sorter.push(&[&record[..record.len() / 2], &record[record.len() / 2..]]).unwrap();
            }
            let sorted: Vec<_> = sorter.finish().unwrap().map(Result::unwrap).collect();
            let mut expected = records.clone();
            expected.sort();
            prop_assert_eq!(sorted, expected);
        }

        #[test]
        fn groups_are_those_of_a_map(
            records in prop::collection::vec(prop::collection::vec(0u8..3, 3..6), 0..100),
            held in 1usize..500,
        ) {
            let fill = || {
                let mut sorter = Sorter::holding(held);
                records.iter().for_each(|record| sorter.push(&[record]).unwrap());
                sorter.finish().unwrap()
            };
            let mut expected = std::collections::BTreeMap::<_, Vec<_>>::new();
            records.iter().for_each(|r| expected.entry(r[..3].to_vec()).or_default().push(r.clone()));
            expected.values_mut().for_each(|group| group.sort());
            expected.retain(|_, group| group.len() > 1);
            let mut found = Vec::new();
            fill().groups(3, 2, |group, count| {
                found.push((group.to_vec(), count));
                Ok(())
            }).unwrap();
            let groups = expected.values().map(|g| (g[..2].to_vec(), g.len() as u64));
            prop_assert_eq!(found, groups.collect::<Vec<_>>());
            let mut shared = Vec::new();
            fill().shared(3, |record| {
                shared.push(record);
                Ok(())
            }).unwrap();
            prop_assert_eq!(shared, expected.into_values().flatten().collect::<Vec<_>>());
        }
    }
}
