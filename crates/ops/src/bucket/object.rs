//! An object that is read once from its beginning to its end, and looked into afterwards.

use std::io;

use bytes::Bytes;
use drover_inspect::Content;
use drover_repo::objects::Objects;
use drover_store::StoreError;
use drover_types::{Counter, FileHash, Observer};

use crate::Cancel;

/// Bytes read at a time, of one object: one of at most so many is kept whole.
const READ: u64 = 8 << 20;
/// Of a longer one its beginning is kept, and as much is fetched at a time of what else is asked for.
const KEPT: usize = 1 << 20;

/// The hash of an object of `size` bytes, and with `keep` how it begins.
pub async fn read(
    bucket: &Objects,
    (key, size): (&str, u64),
    keep: bool,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<(FileHash, Bytes), StoreError> {
    let mut hasher = blake3::Hasher::new();
    let mut begins = Bytes::new();
    let mut at = 0;
    while at < size && !cancel.is_set() {
        let end = (at + READ).min(size);
        let bytes = bucket.store().get_plain(key, at..end).await?;
        hasher.update(&bytes);
        observer.add(Counter::BytesDone, end - at);
        if keep && at == 0 {
            begins = match size <= READ {
                true => bytes,
                false => Bytes::copy_from_slice(&bytes[..KEPT.min(bytes.len())]),
            };
        }
        at = end;
    }
    Ok((FileHash(*hasher.finalize().as_bytes()), begins))
}

/// An object of which a piece is in memory.
pub struct Glance<'b> {
    bucket: &'b Objects,
    key: &'b str,
    size: u64,
    /// What is in memory, and where it begins.
    piece: Bytes,
    at: u64,
    /// Why a read failed.
    pub error: Option<StoreError>,
}

impl<'b> Glance<'b> {
    /// Of an object that begins with `piece`.
    pub fn new(bucket: &'b Objects, key: &'b str, size: u64, piece: Bytes) -> Self {
        Self { bucket, key, size, piece, at: 0, error: None }
    }

    /// What is in memory from `offset` on.
    fn here(&self, offset: u64) -> &[u8] {
        let from = offset.checked_sub(self.at).and_then(|from| usize::try_from(from).ok());
        from.and_then(|from| self.piece.get(from..)).unwrap_or_default()
    }
}

impl Content for Glance<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || offset >= self.size {
            return Ok(0);
        }
        if self.here(offset).is_empty() {
            let end = self.size.min(offset.saturating_add(KEPT as u64));
            let read = self.bucket.store().get_plain(self.key, offset..end);
            self.piece = self.bucket.wait(read).map_err(|error| {
                self.error = Some(error);
                io::Error::other("a read failed")
            })?;
            self.at = offset;
        }
        let rest = self.here(offset);
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}
