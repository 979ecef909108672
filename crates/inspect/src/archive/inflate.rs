//! DEFLATE, inflated as far as somebody reads on.

use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress, Status};

use super::{ArchiveLimits, Visit};
use crate::content::{Content, Reader};

/// Packed bytes that are read at a time.
const PIECE: usize = 16 << 10;
/// Bytes of one member that are kept unpacked, so that its beginning can be read again.
const KEPT: u64 = 32 << 20;

/// Packed bytes of a stretch of an archive as what they stand for.
pub(crate) struct Inflated<'a, 'b> {
    reader: &'a mut Reader<'b>,
    /// Where the next packed byte is, and how many are left.
    at: u64,
    left: u64,
    packed: Vec<u8>,
    used: usize,
    decoder: Decompress,
    plain: Vec<u8>,
    /// Bytes that may come out of it.
    limit: u64,
    announced: u64,
    /// Why nothing more comes.
    ended: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    Limit,
    Damaged,
}

impl<'a, 'b> Inflated<'a, 'b> {
    /// Of `left` bytes at `at`, said to become `announced`; at most `limit` come out.
    pub fn new(reader: &'a mut Reader<'b>, at: u64, left: u64, announced: u64, limit: u64) -> Self {
        Self {
            reader,
            at,
            left,
            packed: Vec::new(),
            used: 0,
            decoder: Decompress::new(false),
            plain: Vec::new(),
            limit: limit.min(KEPT),
            announced,
            ended: None,
        }
    }

    /// Bytes that came out so far.
    pub fn unpacked(&self) -> u64 {
        self.plain.len() as u64
    }

    /// Whether the bound was met before its end.
    pub fn is_cut(&self) -> bool {
        self.ended == Some(End::Limit)
    }

    /// Inflates until `plain` has `wanted` bytes.
    fn advance(&mut self, wanted: u64) -> io::Result<()> {
        while self.ended.is_none() && self.unpacked() < wanted {
            if self.unpacked() >= self.limit {
                self.ended = Some(End::Limit);
                break;
            }
            if self.used == self.packed.len() {
                let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(PIECE);
                self.packed.resize(len, 0);
                let came = self.reader.fill(self.at, &mut self.packed)?;
                self.packed.truncate(came);
                self.at += came as u64;
                self.left -= came as u64;
                self.used = 0;
            }
            let room =
                usize::try_from(self.limit - self.unpacked()).unwrap_or(usize::MAX).min(64 << 10);
            self.plain.reserve_exact(room.min((self.plain.len() / 2).max(8 << 10)));
            let before = (self.decoder.total_in(), self.plain.len());
            let input = &self.packed[self.used..];
            let status = self.decoder.decompress_vec(input, &mut self.plain, FlushDecompress::None);
            let consumed = (self.decoder.total_in() - before.0) as usize;
            self.used += consumed;
            match status {
                Ok(Status::StreamEnd) => self.ended = Some(End::Whole),
                Ok(_) if consumed == 0 && self.plain.len() == before.1 && input.is_empty() => {
                    self.ended = Some(End::Damaged);
                }
                Ok(Status::BufError) if consumed == 0 && self.plain.len() == before.1 => {
                    self.ended = Some(End::Damaged);
                }
                Ok(_) => {}
                Err(_) => self.ended = Some(End::Damaged),
            }
        }
        Ok(())
    }
}

impl Content for Inflated<'_, '_> {
    fn size(&self) -> u64 {
        match self.ended {
            Some(_) => self.unpacked(),
            None => self.announced.max(self.unpacked()),
        }
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.advance(offset.saturating_add(buffer.len() as u64))?;
        let mut rest = usize::try_from(offset)
            .ok()
            .and_then(|from| self.plain.get(from..))
            .unwrap_or_default();
        rest.read(buffer)
    }

    fn is_sequential(&self) -> bool {
        true
    }
}

/// The one member of a gzip file. Several that were put together are read up to the end of the first.
pub(super) fn gzip(
    name: &[u8],
    reader: &mut Reader<'_>,
    limits: &mut ArchiveLimits,
    visit: &mut Visit<'_>,
) -> io::Result<bool> {
    let mut head = [0; 2048];
    let came = reader.fill(0, &mut head)?;
    let Some(at) = gzip_header(&head[..came]) else { return Ok(false) };
    if limits.entries == 0 || limits.bytes == 0 {
        return Ok(false);
    }
    limits.entries -= 1;
    let left = reader.size().saturating_sub(at);
    let mut inner = Inflated::new(reader, at, left, u64::MAX, limits.bytes);
    visit(name, &mut inner, limits)?;
    limits.bytes = limits.bytes.saturating_sub(inner.unpacked());
    // After the stream come eight bytes; more is another member.
    let behind = inner.left + (inner.packed.len() - inner.used) as u64;
    let another = inner.ended == Some(End::Whole) && behind > 8;
    let whole = !(another || inner.is_cut());
    Ok(whole)
}

/// Where the packed bytes begin (RFC 1952, section 2.3).
fn gzip_header(head: &[u8]) -> Option<u64> {
    let flags = *head.get(3)?;
    let mut at = 10;
    if flags & 4 != 0 {
        at += 2 + usize::from(u16::from_le_bytes([*head.get(at)?, *head.get(at + 1)?]));
    }
    for bit in [8, 16] {
        if flags & bit != 0 {
            at += memchr::memchr(0, head.get(at..)?)? + 1;
        }
    }
    if flags & 2 != 0 {
        at += 2;
    }
    Some(at as u64)
}
