//! Buffers of large bodies, used again.
//!
//! Memory that an allocator gets anew for each pack and gives back after it costs page faults, or
//! stays with whichever thread read it last: a few threads that take turns at packs of 32 MiB then
//! hold several times what is in use.

use std::{
    fs::File,
    io,
    ops::{Deref, Range},
    os::unix::fs::FileExt,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

use crate::direct::{self, ALIGNMENT, LEAST};

/// How many buffers wait to be used again, at most.
const KEPT: usize = 3;

/// Buffers that wait to be used again.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

/// A buffer that goes back when it is dropped.
pub(crate) struct Buffer {
    /// Never shorter than it was: what was filled once is not filled with zeros again.
    room: Vec<u8>,
    /// Where its bytes are in it.
    part: Range<usize>,
    home: Option<Arc<Buffers>>,
}

impl Buffers {
    /// An empty buffer with room for `len` bytes.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> Buffer {
        if len < LEAST {
            return Buffer { room: Vec::with_capacity(len + ALIGNMENT), part: 0..0, home: None };
        }
        let mut room = self.lock().pop().unwrap_or_default();
        // With what direct transfers need before and after.
        let most = len + 3 * ALIGNMENT;
        if room.capacity() < most {
            // Nothing of it is worth being copied.
            room = Vec::new();
            room.reserve_exact(most);
        }
        Buffer { room, part: 0..0, home: Some(self.clone()) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffer {
    /// Appends bytes.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        let end = self.part.end + bytes.len();
        let known = bytes.len().min(self.room.len() - self.part.end);
        self.room[self.part.end..][..known].copy_from_slice(&bytes[..known]);
        self.room.extend_from_slice(&bytes[known..]);
        self.part.end = end;
    }

    /// Room for `len` bytes that begins at a multiple of [`ALIGNMENT`], whatever is in it.
    pub(crate) fn aligned(&mut self, len: usize) -> &mut [u8] {
        if self.room.len() < len + ALIGNMENT {
            self.room.resize(len + ALIGNMENT, 0);
        }
        let start = self.start();
        &mut self.room[start..start + len]
    }

    /// Where the aligned room begins.
    fn start(&self) -> usize {
        self.room.as_ptr().align_offset(ALIGNMENT)
    }

    /// Becomes `len` bytes of `file` from `start` on, or as many as there are.
    pub(crate) fn read(&mut self, file: &File, start: u64, len: usize) -> io::Result<()> {
        let mut is_direct = self.home.is_some() && direct::set(file, true);
        let alignment = if is_direct { ALIGNMENT } else { 1 };
        let before = (start % alignment as u64) as usize;
        let room = self.aligned((before + len).next_multiple_of(alignment));
        let mut filled = 0;
        let from = start - before as u64;
        while filled < before + len {
            match file.read_at(&mut room[filled..], from + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_direct && direct::is_refusal(&error) => {
                    is_direct = direct::set(file, false);
                }
                Err(error) => return Err(error),
            }
        }
        let start = self.start();
        self.part = start + before.min(filled)..start + filled.min(before + len);
        Ok(())
    }

    /// Shares it; it goes back with the last share.
    pub(crate) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.room[self.part.clone()]
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_ref()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            let mut kept = home.lock();
            if kept.len() < KEPT {
                kept.push(std::mem::take(&mut self.room));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_large_buffer_is_used_again_and_a_small_one_is_not_kept() {
        let buffers = Arc::new(Buffers::default());
        let mut large = buffers.take(LEAST);
        large.append(&[7; 100]);
        let place = large.as_ptr();
        let shared = large.freeze();
        let part = shared.slice(10..20);
        drop(shared);
        assert!(buffers.lock().is_empty(), "a part of it is still in use");
        drop(part);
        let mut again = buffers.take(LEAST);
        assert!(again.is_empty());
        again.append(&[8; 200]);
        assert_eq!((again.as_ptr(), &again[..]), (place, &[8; 200][..]));
        drop(buffers.take(LEAST - 1));
        drop(again);
        assert_eq!(buffers.lock().len(), 1);
        let many: Vec<_> = (0..2 * KEPT).map(|_| buffers.take(LEAST)).collect();
        drop(many);
        assert_eq!(buffers.lock().len(), KEPT);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn what_is_written_past_the_cache_is_read_past_it(
            len in 0..3 * LEAST,
            room in 1..5usize,
            parts in prop::collection::vec((any::<prop::sample::Index>(), 0..2 * LEAST), 1..5),
        ) {
            let body: Vec<u8> = (0..len).map(|at| ((at / 3) ^ (at >> 9)) as u8).collect();
            // Not in memory, where nothing is past the cache.
            let file = tempfile::NamedTempFile::new_in(".").unwrap();
            let buffers = Arc::new(Buffers::default());
            direct::write(file.as_file(), &body, buffers.take(LEAST).aligned(room * ALIGNMENT)).unwrap();
            for (start, len) in parts {
                let start = start.index(body.len() + 1);
                let mut read = buffers.take(len);
                let file = File::open(file.path()).unwrap();
                read.read(&file, start as u64, len).unwrap();
                prop_assert!(read[..] == body[start..body.len().min(start + len)]);
            }
        }
    }
}
