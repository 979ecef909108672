//! An open file: read ahead of whoever reads it, and opened anew where a connection breaks.

use std::{collections::VecDeque, io, ops::Range, sync::Arc};

use drover_types::{Attributes, Kind, RelativePath, Timestamp, clock};

use super::{
    TRIES, Tree, answered, broken,
    client::{BLOCK, Failure, Sftp, Ticket},
    convert, kind_of,
    packet::{FileAttributes, Request},
    pool::Lease,
    says_the_same,
    shell::Shell,
    unreadable,
};
use crate::{ReadError, SourceFile, Stat};

/// Bytes of a file that are under way at a time: at 20 ms, 400 MB/s.
const AHEAD: usize = 8 << 20;

/// An open regular file.
pub(super) struct SftpFile {
    tree: Arc<Tree>,
    path: RelativePath,
    opened: Opened,
}

/// A file as one connection has it open.
struct Opened {
    handle: Vec<u8>,
    lease: Lease,
    /// What it is, as the server said last.
    stat: FileAttributes,
    /// When that was asked.
    scanned: Timestamp,
    /// The stat that [`Opened::new`] took is not told to anyone yet.
    fresh: bool,
    blocks: Blocks,
}

/// What of a file was asked for and not given out yet.
#[derive(Default)]
struct Blocks {
    /// Where reading one after the other began.
    begun: u64,
    /// Where the next byte is given out, if what is read next follows what was read last.
    position: u64,
    /// Where the next request begins.
    next: u64,
    /// From `position` on, after `rest`, with the bytes that each asks for.
    under_way: VecDeque<(Ticket, usize)>,
    /// What is left of the block that came last.
    rest: Vec<u8>,
}

impl Blocks {
    /// Bytes that are under way.
    fn len(&self) -> usize {
        self.under_way.iter().map(|(_, len)| len).sum()
    }

    /// Asks for what is before `end`, as far as there is room.
    fn ask(&mut self, sftp: &mut Sftp, handle: &[u8], end: u64) {
        let mut len = self.len();
        // Many at a time, so that they share packets.
        if len > AHEAD / 4 * 3 {
            return;
        }
        while len < AHEAD && self.next < end {
            let block = (end - self.next).min(BLOCK as u64) as usize;
            let offset = self.next;
            let ticket = sftp.ask(Request::Read { handle, offset, len: block as u32 });
            self.under_way.push_back((ticket, block));
            self.next += block as u64;
            len += block;
        }
    }

    /// Goes on at `offset`, and forgets what is under way.
    fn turn(&mut self, sftp: &mut Sftp, offset: u64) {
        self.under_way.drain(..).for_each(|(ticket, _)| sftp.forget(ticket));
        self.rest.clear();
        (self.begun, self.position, self.next) = (offset, offset, offset);
    }

    /// Gives out as much as has come in one piece, and waits for what fits into `buffer`. Nothing is
    /// the end of the file.
    fn read(
        &mut self,
        sftp: &mut Sftp,
        handle: &[u8],
        offset: u64,
        buffer: &mut [u8],
        size: u64,
    ) -> Result<usize, Failure> {
        if offset != self.position {
            self.turn(sftp, offset);
        }
        // Whoever has gone on where they were so far will most likely do so as far again.
        let ahead = (offset - self.begun).min(AHEAD as u64);
        let end = offset.saturating_add(buffer.len() as u64).saturating_add(ahead).min(size);
        let mut got = 0;
        let result = loop {
            let len = self.rest.len().min(buffer.len() - got);
            buffer[got..got + len].copy_from_slice(&self.rest[..len]);
            self.rest.drain(..len);
            got += len;
            if got == buffer.len() {
                break Ok(());
            }
            self.ask(sftp, handle, end);
            if self.under_way.is_empty() {
                // What may be behind the end that was told last.
                let one = self.next.saturating_add((buffer.len() - got).min(BLOCK) as u64);
                self.ask(sftp, handle, one);
            }
            let Some((ticket, len)) = self.under_way.pop_front() else { break Ok(()) };
            match sftp.data(ticket, len) {
                Ok(Some(data)) if data.len() == len => self.rest = data,
                // A server may give less; what follows was asked for in vain.
                Ok(Some(data)) => {
                    let begun = self.begun;
                    self.turn(sftp, offset + (got + data.len()) as u64);
                    (self.begun, self.rest) = (begun, data);
                }
                Ok(None) => {
                    self.turn(sftp, offset + got as u64);
                    break Ok(());
                }
                Err(failure) => break Err(failure),
            }
        };
        self.position = offset + got as u64;
        match result {
            Ok(()) => {
                // The server reads on while what came is worked on.
                self.ask(sftp, handle, end);
                // Whether the connection still stands shows at the next answer.
                let _ = sftp.flush();
            }
            // What came counts; the next read fails the same way, or goes on.
            Err(_) if got > 0 => self.turn(sftp, offset + got as u64),
            Err(failure) => return Err(failure),
        }
        Ok(got)
    }
}

impl Opened {
    fn new(tree: &Tree, path: &RelativePath) -> Result<Self, ReadError> {
        let scanned = clock::now();
        let at = tree.at(path);
        let ((handle, stat), lease) = tree
            .ask_keeping(|sftp| {
                let ticket = sftp.ask(Request::Open(&at));
                let handle = sftp.handle(ticket)?;
                let ticket = sftp.ask(Request::Fstat(&handle));
                let stat = sftp.attributes(ticket).inspect_err(|_| sftp.close(&handle))?;
                Ok((handle, stat))
            })
            .map_err(|error| ReadError::new(path, error))?;
        let blocks = Blocks::default();
        let opened = Self { handle, lease, stat, scanned, fresh: true, blocks };
        match kind_of(&stat) {
            Some(Kind::File) => Ok(opened),
            _ => Err(ReadError::changed(path, "it is no regular file any more")),
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let Some(sftp) = self.lease.left() else { return };
        self.blocks.turn(sftp, 0);
        sftp.close(&self.handle);
        // Whoever uses a connection that broke finds that out.
        let _ = sftp.flush();
    }
}

impl SftpFile {
    pub(super) fn open(tree: &Arc<Tree>, path: &RelativePath) -> Result<Self, ReadError> {
        let opened = Opened::new(tree, path)?;
        Ok(Self { tree: Arc::clone(tree), path: path.clone(), opened })
    }

    /// Does something with the file; where the connection breaks, once more on a new one, if the
    /// file is still the same.
    fn with<T>(
        &mut self,
        mut action: impl FnMut(&mut Opened) -> Result<T, Failure>,
    ) -> Result<T, ReadError> {
        let mut last = None;
        for _ in 0..TRIES {
            match action(&mut self.opened) {
                Err(Failure::Broken(error)) => last = Some(error),
                answer => {
                    return answer.map_err(|e| ReadError::new(&self.path, answered(e)));
                }
            }
            self.reopen()?;
        }
        let last = last.unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
        Err(ReadError::new(&self.path, broken(&last)))
    }

    /// Asks the shell about its path; `None` where there is no shell.
    fn with_shell<T>(
        &mut self,
        mut question: impl FnMut(&mut Shell, &[u8]) -> io::Result<T>,
    ) -> Result<Option<T>, ReadError> {
        if self.tree.pool.tells().is_none() {
            return Ok(None);
        }
        let at = self.tree.at(&self.path);
        let mut last = None;
        for _ in 0..TRIES {
            let Some(shell) = self.opened.lease.shell() else { break };
            match question(shell, &at) {
                Ok(answer) => return Ok(Some(answer)),
                Err(error) => last = Some(error),
            }
            self.reopen()?;
        }
        let error = last.unwrap_or_else(|| io::Error::other("the account's shell is gone"));
        Err(ReadError::new(&self.path, error))
    }

    /// Opens it anew, and makes sure that it is the same file as before.
    fn reopen(&mut self) -> Result<(), ReadError> {
        self.opened.lease.give_up();
        let before = self.opened.stat;
        let again = Opened::new(&self.tree, &self.path)?;
        if (again.stat.size, again.stat.mtime) != (before.size, before.mtime) {
            return Err(ReadError::changed(
                &self.path,
                "it changed while the connection to the server was lost",
            ));
        }
        self.opened = again;
        Ok(())
    }
}

impl SourceFile for SftpFile {
    /// By the file that is open and, where there is a shell, by what its name leads to, which has
    /// to be the same file: the shell says more, and the open file is the one that is read.
    fn stat(&mut self) -> Result<Stat, ReadError> {
        for _ in 0..TRIES {
            if !std::mem::take(&mut self.opened.fresh) {
                let scanned = clock::now();
                let stat = self.with(|opened| {
                    let sftp = opened.lease.sftp();
                    let ticket = sftp.ask(Request::Fstat(&opened.handle));
                    sftp.attributes(ticket)
                })?;
                (self.opened.stat, self.opened.scanned) = (stat, scanned);
            }
            let stat = convert(&self.opened.stat, self.opened.scanned)
                .filter(|stat| stat.kind == Kind::File)
                .ok_or_else(|| ReadError::changed(&self.path, "it is no regular file any more"))?;
            let told = match self.with_shell(Shell::stat)? {
                None => return Ok(stat),
                Some(told) => told,
            };
            if let Some(told) = told.filter(|told| told.kind == Some(Kind::File)) {
                let strong = told.into_stat(Kind::File, self.opened.scanned);
                if says_the_same(&strong, &self.opened.stat) {
                    return Ok(strong);
                }
            }
        }
        Err(ReadError::changed(&self.path, "its name leads to another file, or it never rests"))
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        self.with(|opened| {
            let Opened { handle, lease, stat, blocks, .. } = opened;
            blocks.read(lease.sftp(), handle, offset, buffer, stat.size.unwrap_or(0))
        })
    }

    /// All that is left, as long as the file was when it was last asked about: one that grows for
    /// ever is read to no further.
    fn next_data(&mut self, offset: u64) -> Result<Option<Range<u64>>, ReadError> {
        let size = self.opened.stat.size.unwrap_or(0);
        Ok((offset < size).then_some(offset..size))
    }

    fn complete(&mut self, attributes: &mut Attributes) -> Result<(), ReadError> {
        if self.tree.pool.tells().is_some_and(|tells| tells.xattrs) {
            let found = self.with_shell(Shell::xattrs)?.flatten();
            attributes.xattrs = found.ok_or_else(|| unreadable(&self.path))?;
        }
        Ok(())
    }
}
