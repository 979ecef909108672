//! What waits until all files are there: it can be as much as the snapshot has entries, so that it
//! lies on the target's disk.

use std::collections::HashSet;

use drover_crypt::domain::DomainKeys;
use drover_repo::record;
use drover_source::target::{Scratch, Target};
use drover_types::{
    Entry, Evidence, RelativePath, Timestamp,
    codec::{DecodeError, Decoder, Encoder},
};

use crate::Error;

/// What was noted on the target's disk is not what is read there.
pub(super) fn damaged_note(source: DecodeError) -> Error {
    Error::Decode { what: "a note on the target's disk".into(), source }
}

/// What waits until all files are there.
pub(super) struct Later {
    pub symlinks: EntryList,
    pub links: EntryList,
    /// As [`Later::directory`] notes them.
    pub directories: EntryList,
    /// Directories that could not be made.
    pub unmade: HashSet<RelativePath>,
    pub removals: Vec<RelativePath>,
    pub after_removals: Vec<Entry>,
    /// Entries made already, and entries that were as they should be.
    pub written: u64,
    pub unchanged: u64,
}

impl Later {
    /// Nothing yet. Without a target, in a dry run, things are only counted.
    pub fn new(target: Option<&Target>, keys: &DomainKeys) -> Result<Self, Error> {
        let list = || EntryList::new(target, keys);
        Ok(Self {
            symlinks: list()?,
            links: list()?,
            directories: list()?,
            unmade: HashSet::new(),
            removals: Vec::new(),
            after_removals: Vec::new(),
            written: 0,
            unchanged: 0,
        })
    }

    /// A directory gets its attributes at the end, unless it has them and its ctime is what was
    /// `seen` of it.
    pub fn directory(&mut self, entry: &Entry, seen: Option<Timestamp>) -> Result<(), Error> {
        let evidence = Evidence { ctime: seen, ..Evidence::default() };
        self.directories.push(&Entry { evidence, ..entry.clone() })
    }
}

/// Entries on the target's disk, in the order in which they were added; 8 bytes of memory each.
pub(super) struct EntryList {
    scratch: Option<Scratch>,
    keys: DomainKeys,
    /// Where each ends.
    ends: Vec<u64>,
}

impl EntryList {
    /// None yet.
    pub fn new(target: Option<&Target>, keys: &DomainKeys) -> Result<Self, Error> {
        let scratch = target.map(Target::scratch).transpose()?;
        Ok(Self { scratch, keys: keys.clone(), ends: Vec::new() })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Adds one.
    pub fn push(&mut self, entry: &Entry) -> Result<(), Error> {
        let mut end = 0;
        if let Some(scratch) = &self.scratch {
            let mut leaf = Encoder::new();
            record::encode_leaf(entry, &mut leaf);
            let mut e = Encoder::new();
            e.bytes(leaf.as_bytes());
            record::encode_side(entry, &self.keys, &mut e);
            end = scratch.append(e.as_bytes())? + e.as_bytes().len() as u64;
        }
        self.ends.push(end);
        Ok(())
    }

    /// All of them, in the order in which they were added; reading them again and again is fine.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Result<Entry, Error>> {
        (0..self.len()).map(|number| self.get(number))
    }

    fn get(&self, number: usize) -> Result<Entry, Error> {
        let begin = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        let mut bytes = vec![0; (self.ends[number] - begin) as usize];
        let read = match &self.scratch {
            Some(scratch) => scratch.read_at(begin, &mut bytes)?,
            None => 0,
        };
        let mut d = Decoder::new(&bytes[..read]);
        d.bytes(read)
            .and_then(|leaf| record::decode(leaf, d.rest(), &self.keys))
            .map_err(damaged_note)
    }
}
