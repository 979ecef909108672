//! Transfers between memory and disk past the page cache.
//!
//! Packs are written once, and read seldom and whole. Through the page cache they cost a copy, pages that
//! the kernel has to find for them and to write back, and whoever works on the machine loses what
//! he had there. Where a file system has no direct transfers, or refuses one, the page cache takes
//! it as ever.

use std::{fs::File, io, os::unix::fs::FileExt};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// Memory, offsets and lengths of direct transfers are multiples of this: as much as any device
/// asks for.
pub(crate) const ALIGNMENT: usize = 4096;

/// Shorter bodies are not worth it: `object_store` and the allocator have them.
pub(crate) const LEAST: usize = 1 << 20;

/// Has a file's transfers go past the page cache, or not. Whether they do now.
pub(crate) fn set(file: &File, is_direct: bool) -> bool {
    let Ok(mut flags) = fcntl_getfl(file) else { return false };
    flags.set(OFlags::DIRECT, is_direct);
    fcntl_setfl(file, flags).is_ok() && is_direct
}

/// Whether a direct transfer is not to be had, though the file seemed to take them.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput
}

/// Writes `body` into an empty file, by way of `room`, which is aligned.
pub(crate) fn write(file: &File, body: &[u8], room: &mut [u8]) -> io::Result<()> {
    let whole = body.len() - body.len() % ALIGNMENT;
    let mut at = 0;
    if set(file, true) {
        for piece in body[..whole].chunks(room.len()) {
            let room = &mut room[..piece.len()];
            room.copy_from_slice(piece);
            match file.write_all_at(room, at as u64) {
                Ok(()) => at += piece.len(),
                Err(error) if is_refusal(&error) => break,
                Err(error) => return Err(error),
            }
        }
        set(file, false);
    }
    file.write_all_at(&body[at..], at as u64)
}
