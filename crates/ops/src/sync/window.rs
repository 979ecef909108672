//! A file's bytes, window by window, cut into chunks; and whether it was one file throughout.

use std::ops::Range;

use drover_chunk::Chunker;
use drover_source::{ReadError, SourceFile, Stat, command::STREAM};
use drover_types::RelativePath;

/// How many times a file is read before it counts as torn.
pub(crate) const TRIES: usize = 3;
/// Bytes of a window, of which there are two for each file: one is read while the other is worked on. At
/// least twice the largest chunk, so that every window cuts one.
pub(crate) const WINDOW: usize = 8 << 20;

/// What comes next of a file.
pub(crate) enum Window {
    /// Bytes that read as zero and take no room.
    Hole(Range<u64>),
    /// Bytes.
    Data(Data),
    /// Nothing more.
    End,
    /// The file has become shorter than it was at first.
    Shorter,
}

/// Bytes that are cut into chunks.
pub(crate) struct Data {
    buffer: Vec<u8>,
    /// Where they are cut: from their beginning to their end.
    pub cuts: Vec<Range<usize>>,
}

impl Data {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.cuts.last().map_or(0, |cut| cut.end)]
    }
}

/// Goes through a file. Of one that grows no more is read than was there at first, so that there is an
/// end however fast it grows.
pub(crate) struct Windows<'c> {
    chunker: &'c Chunker,
    /// What the file's stat said.
    size: u64,
    /// Everything before this was given out.
    at: u64,
    /// The end of the run of data that `at` is in.
    data_end: u64,
    /// Its beginning holds so many bytes from `at` on.
    buffer: Vec<u8>,
    filled: usize,
    /// Buffers to be used again.
    spare: &'c mut Vec<Vec<u8>>,
    /// The file ended before its stat said.
    ended: bool,
}

impl<'c> Windows<'c> {
    /// The file from `at` on, where a chunk begins.
    pub(crate) fn new(
        chunker: &'c Chunker,
        spare: &'c mut Vec<Vec<u8>>,
        size: u64,
        at: u64,
    ) -> Self {
        let buffer = spare.pop().unwrap_or_default();
        Self { chunker, size, at, data_end: at, buffer, filled: 0, spare, ended: false }
    }

    /// The next window. Its buffer is to be given back.
    pub(crate) fn next(&mut self, file: &mut dyn SourceFile) -> Result<Window, ReadError> {
        if self.at >= self.data_end || self.ended {
            if self.at >= self.size {
                return Ok(Window::End);
            }
            let data = match file.next_data(self.at)? {
                // The caller sees that the size is another.
                Some(_) if self.ended => return Ok(Window::End),
                Some(data) => data.start.min(self.size)..data.end.min(self.size),
                None => self.size..self.size,
            };
            self.data_end = data.end;
            if data.start > self.at {
                let hole = self.at..data.start;
                self.at = data.start;
                return Ok(Window::Hole(hole));
            }
        }
        let want = (self.data_end - self.at).min(WINDOW as u64) as usize;
        grow(&mut self.buffer, want);
        while self.filled < want {
            let at = self.at + self.filled as u64;
            match file.read_at(at, &mut self.buffer[self.filled..want])? {
                0 => break,
                n => self.filled += n,
            }
        }
        if self.filled == 0 {
            return Ok(if self.size == STREAM { Window::End } else { Window::Shorter });
        }
        let at_end = self.at + self.filled as u64 >= self.data_end || self.filled < want;
        let cuts = self.cuts(&self.buffer[..self.filled], at_end);
        let used = cuts.last().map_or(0, |cut| cut.end);
        self.at += used as u64;
        self.ended = used == self.filled && at_end && self.at < self.data_end;
        // What is left over begins the next one.
        let mut next = self.spare.pop().unwrap_or_default();
        let rest = &self.buffer[used..self.filled];
        grow(&mut next, rest.len());
        next[..rest.len()].copy_from_slice(rest);
        self.filled = rest.len();
        let buffer = std::mem::replace(&mut self.buffer, next);
        Ok(Window::Data(Data { buffer, cuts }))
    }

    /// Lets what a window was in be used again.
    pub(crate) fn give_back(&mut self, data: Data) {
        self.spare.push(data.buffer);
    }

    /// Where `data` is cut into chunks; what is left over needs more data.
    fn cuts(&self, data: &[u8], at_end: bool) -> Vec<Range<usize>> {
        let mut cuts = Vec::new();
        let mut start = 0;
        while start < data.len() {
            match self.chunker.cut(&data[start..], at_end) {
                Some(len) => {
                    cuts.push(start..start + len);
                    start += len;
                }
                None => break,
            }
        }
        cuts
    }
}

impl Drop for Windows<'_> {
    fn drop(&mut self) {
        self.spare.push(std::mem::take(&mut self.buffer));
    }
}

fn grow(buffer: &mut Vec<u8>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
}

/// What the file is, if it is what it was `before` it was read and has `size` bytes.
pub(crate) fn settled(
    file: &mut dyn SourceFile,
    before: Stat,
    size: u64,
) -> Result<Option<Stat>, ReadError> {
    let mut attributes = before.attributes.clone();
    file.complete(&mut attributes)?;
    let after = file.stat()?;
    if size != after.evidence.size {
        return Ok(None);
    }
    Ok(before.rested(after).map(|stat| Stat { attributes, ..stat }))
}

/// A file that never rested.
pub(crate) fn torn(path: &RelativePath) -> ReadError {
    ReadError::changed(path, format!("it changed while it was read, {TRIES} times"))
}

/// Reads up to `len` bytes from `offset` into the beginning of `buffer`; fewer only at the end.
pub(crate) fn read_full(
    file: &mut dyn SourceFile,
    offset: u64,
    buffer: &mut Vec<u8>,
    len: usize,
) -> Result<usize, ReadError> {
    grow(buffer, len);
    let mut filled = 0;
    while filled < len {
        match file.read_at(offset + filled as u64, &mut buffer[filled..len])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}
