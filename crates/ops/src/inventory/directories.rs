//! Directories as the walk goes through them: a stack of those above the entry at hand.

use drover_types::{Entry, Kind, RelativePath};

use super::{
    live::{Live, Marks},
    tally::{EXTREMES, Top},
};

/// Directories near the root that are listed.
const NEAR: usize = 500;
/// How deep a directory near the root may be.
const NEAR_DEPTH: usize = 3;

/// What a directory holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Which.
    pub path: RelativePath,
    /// Entries of its own.
    pub entries: u64,
    /// Regular files at any depth below it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

struct Frame {
    directory: Directory,
    depth: usize,
    marks: Marks,
}

/// All directories of a walk.
pub struct Directories {
    stack: Vec<Frame>,
    /// Those with the most entries of their own.
    pub widest: Top<u64, Directory>,
    /// Those near the root: the ones with the most bytes.
    pub near: Top<u64, Directory>,
    /// What looks like a database's data, or a disk of a virtual machine.
    pub live: Live,
}

impl Default for Directories {
    fn default() -> Self {
        Self {
            stack: Vec::new(),
            widest: Top::new(EXTREMES),
            near: Top::new(NEAR),
            live: Live::default(),
        }
    }
}

impl Directories {
    /// Takes the next entry of a walk; `further` where an earlier one is the same file.
    pub fn add(&mut self, entry: &Entry, further: bool) {
        while let Some(top) = self.stack.last() {
            let above = &top.directory.path;
            if entry.path != *above && entry.path.is_within(above) {
                break;
            }
            self.close();
        }
        if let Some(parent) = self.stack.last_mut() {
            parent.directory.entries += 1;
            parent.marks.add(entry);
            if entry.kind == Kind::File {
                parent.directory.files += 1;
                let bytes = if further { 0 } else { entry.evidence.size };
                parent.directory.bytes = parent.directory.bytes.saturating_add(bytes);
            }
        }
        if entry.kind == Kind::Directory {
            let directory = Directory { path: entry.path.clone(), entries: 0, files: 0, bytes: 0 };
            let depth = entry.path.components().count();
            self.stack.push(Frame { directory, depth, marks: Marks::default() });
        }
    }

    fn close(&mut self) {
        let Some(Frame { directory, depth, marks }) = self.stack.pop() else { return };
        if let Some(parent) = self.stack.last_mut() {
            parent.directory.files += directory.files;
            parent.directory.bytes = parent.directory.bytes.saturating_add(directory.bytes);
        }
        self.live.add(&directory.path, marks);
        self.widest.offer(directory.entries, || directory.clone());
        if (1..=NEAR_DEPTH).contains(&depth) {
            self.near.offer(directory.bytes, || directory);
        }
    }

    /// The walk is at its end.
    pub fn finish(&mut self) {
        while !self.stack.is_empty() {
            self.close();
        }
    }
}
