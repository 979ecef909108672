//! Making chunks smaller, where that helps, and undoing it.
//!
//! Much of what servers hold does not get smaller (images, archives, encrypted dumps), and asking
//! zstd costs many times what asking a sample costs. So a sample is asked first; a chunk that
//! looks random in it is stored as it is. What looks compressible goes to zstd whole, and is still
//! stored as it is unless that saves something worth a reader's time.

use std::{
    alloc::{Layout, handle_alloc_error},
    fmt,
};

use drover_types::{Compression, limits};
use zstd::zstd_safe::{self, CCtx, CParameter, DCtx, get_error_name};

use crate::sample;

/// A compressed chunk must be shorter than its plaintext by one part in this many.
const LEAST_SAVING: usize = 32;

/// zstd's level to use where nothing speaks for another.
pub const DEFAULT_LEVEL: i32 = 1;

/// zstd's levels that may be asked for; those above need too much memory for a small server.
const LEVELS: (i32, i32) = (1, 19);

/// How a zstd frame begins (RFC 8878, 3.1.1). Skippable frames begin otherwise.
const FRAME_MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// A context as zstd gave it. Where it has no memory for one the process ends as it does wherever there
/// is none, and does not panic.
fn given<T>(context: Option<T>) -> T {
    /// What one takes, about, in bytes.
    const CONTEXT: Layout = Layout::new::<[u8; 128 << 10]>();
    context.unwrap_or_else(|| handle_alloc_error(CONTEXT))
}

/// Compresses chunks. Holds zstd's working memory: one per thread, used again and again.
pub struct Compressor {
    context: CCtx<'static>,
}

impl Compressor {
    /// zstd's levels 1 (fast) to 19 (small); one outside is taken as the nearest of these.
    pub fn new(level: i32) -> Self {
        let mut context = given(CCtx::try_create());
        context
            .set_parameter(CParameter::CompressionLevel(level.clamp(LEVELS.0, LEVELS.1)))
            .expect("zstd takes these levels");
        Self { context }
    }

    /// What to store for `plain`, and how to undo it.
    ///
    /// A chunk that does not get smaller is not copied: what comes back is then `plain` itself,
    /// else it lies in `buffer`, which is there to be used again.
    pub fn compress<'a>(
        &mut self,
        plain: &'a [u8],
        buffer: &'a mut Vec<u8>,
    ) -> (Compression, &'a [u8]) {
        if !sample::looks_compressible(plain) {
            return (Compression::None, plain);
        }
        let most = plain.len() - plain.len().div_ceil(LEAST_SAVING);
        buffer.clear();
        buffer.reserve(most);
        // An error means that the result does not fit, or that zstd lacks memory: either way the
        // chunk can be stored as it is.
        match self.context.compress2(buffer, plain) {
            Ok(len) if len <= most => (Compression::Zstd, buffer),
            _ => (Compression::None, plain),
        }
    }
}

impl Default for Compressor {
    fn default() -> Self {
        Self::new(DEFAULT_LEVEL)
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

/// Why stored bytes are not the chunk that they are said to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// The plaintext would be longer than any chunk ([`limits::CHUNK`]).
    #[error("a chunk of {0} bytes is longer than any may be")]
    TooLong(usize),
    /// The plaintext has another length than it should, or the frame says so.
    #[error("a chunk of {expected} bytes comes out with another length ({found})")]
    Length {
        /// The authenticated length.
        expected: usize,
        /// What was found or named.
        found: u64,
    },
    /// The stored bytes are not exactly one zstd frame.
    #[error("the stored bytes are not one zstd frame")]
    NotOneFrame,
    /// zstd refuses the frame: damaged, or longer than said.
    #[error("zstd refuses the frame: {0}")]
    Zstd(String),
}

/// Restores what a [`Compressor`] made. Holds zstd's working memory: one per thread.
pub struct Decompressor {
    context: DCtx<'static>,
}

impl Decompressor {
    /// A new context.
    pub fn new() -> Self {
        Self { context: given(DCtx::try_create()) }
    }

    /// Puts the `plain_len` bytes that `stored` stands for into `out`, whose old content is lost.
    ///
    /// `plain_len` must be authenticated: neither more memory than that is taken nor one byte
    /// more or less accepted, whatever the frame says of itself. On an error `out` is empty.
    pub fn decompress(
        &mut self,
        compression: Compression,
        stored: &[u8],
        plain_len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), DecompressError> {
        let done = match compression {
            _ if plain_len > limits::CHUNK => Err(DecompressError::TooLong(plain_len)),
            Compression::None => copy(stored, plain_len, out),
            Compression::Zstd => self.frame(stored, plain_len, out),
        };
        if done.is_err() {
            out.clear();
        }
        done
    }

    fn frame(
        &mut self,
        stored: &[u8],
        plain_len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), DecompressError> {
        if !stored.starts_with(&FRAME_MAGIC)
            || zstd_safe::find_frame_compressed_size(stored) != Ok(stored.len())
        {
            return Err(DecompressError::NotOneFrame);
        }
        // A slice, not the vector's spare room, is the bound on what zstd writes. It is also
        // zstd's window: in one call from slice to slice, a frame's own window costs no memory.
        out.resize(plain_len, 0);
        let found = self
            .context
            .decompress(&mut out[..], stored)
            .map_err(|code| DecompressError::Zstd(get_error_name(code).to_owned()))?;
        if found != plain_len {
            return Err(DecompressError::Length { expected: plain_len, found: found as u64 });
        }
        Ok(())
    }
}

impl Default for Decompressor {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").finish_non_exhaustive()
    }
}

fn copy(stored: &[u8], plain_len: usize, out: &mut Vec<u8>) -> Result<(), DecompressError> {
    if stored.len() != plain_len {
        let found = stored.len() as u64;
        return Err(DecompressError::Length { expected: plain_len, found });
    }
    out.clear();
    out.extend_from_slice(stored);
    Ok(())
}

#[cfg(test)]
mod tests;
