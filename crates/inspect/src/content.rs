//! The one way to a file's bytes: somebody else opens it, and what is read is counted and bounded.

use std::io;

/// Random access to the bytes of one file that somebody else opened.
pub trait Content {
    /// Logical size in bytes, as its entry has it.
    fn size(&self) -> u64;

    /// Reads from `offset` into `buffer`; how many bytes came. Fewer than asked for is allowed, and
    /// 0 is the end. The error is the source's.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Whether what is in front has to be read, and paid for, to read what is behind: such a file is
    /// not sampled.
    fn is_sequential(&self) -> bool {
        false
    }
}

impl Content for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let rest = &self[from..];
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}

/// A [`Content`] whose reads are counted.
pub(crate) struct Reader<'a> {
    content: &'a mut dyn Content,
    /// Bytes that came so far.
    pub read: u64,
}

impl<'a> Reader<'a> {
    pub fn new(content: &'a mut dyn Content) -> Self {
        Self { content, read: 0 }
    }

    pub fn size(&self) -> u64 {
        self.content.size()
    }

    pub fn is_sequential(&self) -> bool {
        self.content.is_sequential()
    }

    /// Fills `buffer` from `offset` as far as the file goes; how many bytes came.
    pub fn fill(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.content.read_at(offset.saturating_add(done as u64), &mut buffer[done..]) {
                Ok(0) => break,
                // A source that says more than it was asked for is not believed.
                Ok(n) => done += n.min(buffer.len() - done),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.read += done as u64;
        Ok(done)
    }

    /// Lengthens `buffer`, which holds the file's beginning, to `len` bytes or to the file's end;
    /// whether the file goes on after it.
    pub fn grow(&mut self, buffer: &mut Vec<u8>, len: usize) -> io::Result<bool> {
        let have = buffer.len();
        if len > have {
            let size = usize::try_from(self.size()).unwrap_or(usize::MAX);
            buffer.resize(len.min(size.max(have)), 0);
            let came = self.fill(have as u64, &mut buffer[have..])?;
            buffer.truncate(have + came);
        }
        Ok(buffer.len() >= len && (buffer.len() as u64) < self.size())
    }
}
