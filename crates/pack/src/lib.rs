//! Packs: the unit of upload and of resume.
//!
//! A pack is filled with frames (chunks, compressed where it helps), and closed: the frames are
//! shuffled, sealed under a key of the pack's own, followed by an encrypted directory that is
//! padded so that the pack's size is a step of a coarse scale, and the whole is named by the
//! BLAKE3 of its bytes. Before it is handed out it is opened again in memory, every frame
//! decompressed and hashed: compressors and memory have had faults, and a pack that cannot be
//! read back is found while the source is still there.
//!
//! `docs/format.md` has the byte tables.

mod layout;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use layout::{
    DirectoryEntry, HEADER_LEN, PackHeader, PackIdentity, TAG_LEN, TRAILER_LEN, decode_directory,
    padded,
};
pub use reader::{FrameReader, PackKey, read_directory_len};
pub use writer::{PackBuilder, PackReceipt, SealedPack, Sealer, Session};

use drover_types::{ChunkId, codec::DecodeError};

/// Why a pack cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The bytes are no pack of this version.
    #[error("not a pack: {0}")]
    Layout(#[from] DecodeError),
    /// A version or suite this program does not know.
    #[error("the pack is of version {version}, suite {suite}, which this program cannot read")]
    Version {
        /// Of the format.
        version: u8,
        /// Of the algorithms.
        suite: u8,
    },
    /// The seal, a commitment, a tag: the bytes or the key are not those it was written with.
    #[error("{what} of the pack does not open: it was changed, or belongs to other keys")]
    Sealed {
        /// Which part.
        what: &'static str,
    },
    /// A frame does not open, decompress or hash to its name.
    #[error("chunk {id} {why}")]
    Frame {
        /// The chunk.
        id: ChunkId,
        /// What failed.
        why: &'static str,
    },
    /// More frames than one pack may hold.
    #[error("the pack holds too many frames")]
    Full,
    /// The system gives no thread to seal it on.
    #[error("cannot start a thread: {0}")]
    Threads(std::io::Error),
}
