//! What is said of a chunk outside of its bytes.

use crate::ChunkId;

/// What a chunk's plaintext is. The key of its name depends on the kind, so that no kind passes
/// for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ChunkKind {
    /// Bytes of a file.
    Data = 0,
    /// A file's long list of extents, or a list of such lists.
    ExtentList = 1,
    /// A block of a manifest: entries.
    ManifestBlock = 2,
    /// A list of a manifest's blocks, or the list of those lists.
    ManifestList = 3,
    /// What a pass could not take, where it is too long for the snapshot itself.
    Exceptions = 4,
}

impl ChunkKind {
    /// Every kind, in the order of its code.
    pub const ALL: [ChunkKind; 5] = [
        ChunkKind::Data,
        ChunkKind::ExtentList,
        ChunkKind::ManifestBlock,
        ChunkKind::ManifestList,
        ChunkKind::Exceptions,
    ];

    /// The kind with this code.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The class of pack that holds chunks of this kind, and so the reader who can open it.
    pub fn class(self) -> PackClass {
        match self {
            ChunkKind::Data => PackClass::Data,
            _ => PackClass::Meta,
        }
    }
}

/// Which of the two readers a pack is sealed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PackClass {
    /// Contents of files.
    Data = 0,
    /// Names, attributes, hashes, lists of chunks: what an auditor may read.
    Meta = 1,
}

impl PackClass {
    /// The class with this code.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(PackClass::Data),
            1 => Some(PackClass::Meta),
            _ => None,
        }
    }
}

/// How a frame's plaintext was made smaller before it was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Compression {
    /// Stored as it is.
    None = 0,
    /// One zstd frame without a dictionary.
    Zstd = 1,
}

impl Compression {
    /// The compression with this code.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Compression::None),
            1 => Some(Compression::Zstd),
            _ => None,
        }
    }
}

/// A chunk as a list of extents names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChunkRef {
    /// Its name.
    pub id: ChunkId,
    /// Length of its plaintext in bytes, at most [`crate::limits::CHUNK`], never 0.
    pub len: u32,
}
