//! What is done to a file's bytes before they are sealed: cut, hashed, compressed.
//!
//! Everything here is computation on slices. Nothing reads a file, holds a key longer than its
//! caller, or starts a thread of its own; long hashing work runs on rayon's pool.
//!
//! - [`Chunker`] finds where one chunk ends and the next begins.
//! - [`FileHasher`] computes the plain BLAKE3 of a whole file, and can stop and go on later.
//! - [`Compressor`] and [`Decompressor`] make a chunk smaller where that helps, and undo it.

pub mod compress;
pub mod cut;
mod gear;
pub mod hash;
mod sample;

pub use compress::{Compressor, DEFAULT_LEVEL, DecompressError, Decompressor};
pub use cut::{ChunkSizes, ChunkSizesError, Chunker};
pub use hash::{FileHasher, HasherState};

#[cfg(test)]
mod testing;
