//! Buffers of large bodies, used again.
//!
//! Memory that an allocator gets anew for each pack and gives back after it costs page faults, or
//! stays with whichever thread read it last: a few threads that take turns at packs of 32 MiB then
//! hold several times what is in use.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

/// Shorter bodies are left to the allocator.
const LEAST: usize = 1 << 20;
/// How many buffers wait to be used again, at most.
const KEPT: usize = 3;

/// Buffers that wait to be used again.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

/// A buffer that goes back when it is dropped.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    home: Option<Arc<Buffers>>,
}

impl Buffers {
    /// An empty buffer with room for `len` bytes.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> Buffer {
        if len < LEAST {
            return Buffer { bytes: Vec::with_capacity(len), home: None };
        }
        let mut bytes = self.lock().pop().unwrap_or_default();
        bytes.clear();
        bytes.reserve_exact(len);
        Buffer { bytes, home: Some(self.clone()) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffer {
    /// Its bytes so far.
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Shares it; it goes back with the last share.
    pub(crate) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            let mut kept = home.lock();
            if kept.len() < KEPT {
                kept.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_buffer_is_used_again_and_a_small_one_is_not_kept() {
        let buffers = Arc::new(Buffers::default());
        let mut large = buffers.take(LEAST);
        large.bytes().extend_from_slice(&[7; 100]);
        let place = large.as_ptr();
        let shared = large.freeze();
        let part = shared.slice(10..20);
        drop(shared);
        assert!(buffers.lock().is_empty(), "a part of it is still in use");
        drop(part);
        let again = buffers.take(LEAST);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        drop(buffers.take(LEAST - 1));
        drop(again);
        assert_eq!(buffers.lock().len(), 1);
        let many: Vec<_> = (0..2 * KEPT).map(|_| buffers.take(LEAST)).collect();
        drop(many);
        assert_eq!(buffers.lock().len(), KEPT);
    }
}
