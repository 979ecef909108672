//! Taking files from a source over a network.
//!
//! Files are announced many at a time, so that none costs a round trip of its own. It is dear, too, to
//! fetch what the repository has already: a source that can run code on its server says of each file
//! what chunks it consists of, and sends those that are wanted. One that cannot sends small files whole,
//! and leaves the others to be read. Who wants to see only some places of a file asks for these.

use std::{fmt, ops::Range};

use drover_types::{Entry, FileHash, Kind, RelativePath};
use zeroize::Zeroize;

use crate::{ReadError, Stat};

/// How files are cut where they lie: sizes in bytes and the domain's gear table, of which the chunks
/// of a repository come.
#[derive(Clone)]
pub struct Cutter {
    /// Least, average and largest length of a chunk.
    pub sizes: [u32; 3],
    /// The gear table. It is a secret of the domain: it tells nothing of what was stored, but with it
    /// the lengths of chunks would.
    pub gear: Box<[u64; 256]>,
}

impl Cutter {
    /// One for who wants no chunks, but hashes of whole files: it cuts as seldom as it may, whatever
    /// the bytes are, and holds no secret.
    pub fn coarse() -> Self {
        Self { sizes: [4 << 20; 3], gear: Box::new([0; 256]) }
    }
}

impl fmt::Debug for Cutter {
    /// Without the table, which is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cutter").field("sizes", &self.sizes).finish_non_exhaustive()
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.gear.zeroize();
    }
}

/// A chunk of a file, as its source names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Bytes.
    pub len: u32,
    /// Plain BLAKE3.
    pub hash: [u8; 32],
}

/// What a file is made of, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// All of a file that is too small to ask whether it is wanted.
    Whole(Vec<u8>),
    /// This many bytes that read as zero and take no room.
    Hole(u64),
    /// Chunks; [`Taker::want`] is to say which of them are to be sent, and [`Taker::chunk`] then gives
    /// those, in order.
    Cuts(Vec<Cut>),
    /// The file changed while it was read: what came of it is to be forgotten, and comes again.
    Again,
    /// The file is to be read: [`Source::open`](crate::Source::open). Nothing else comes of it.
    Alone,
    /// The end of the file.
    End(Box<Taken>),
}

/// A file that was the same from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Length in bytes, holes included.
    pub size: u64,
    /// Plain BLAKE3 of all of it; `None` where it came as [`Piece::Whole`].
    pub hash: Option<FileHash>,
    /// What it is, extended attributes and flags included.
    pub stat: Stat,
}

/// Something that a [`Taker`] is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A regular file: [`Taker::begin`].
    File {
        /// Which.
        path: RelativePath,
        /// Bytes, as the walk saw it.
        size: u64,
    },
    /// What the walk left out of another entry, which is of this kind: [`Taker::complete`].
    Rest(RelativePath, Kind),
    /// Some places of a regular file, in bytes from its beginning: [`Taker::parts`]. At most
    /// [`PARTS`] of them, and [`PARTS_BYTES`] together.
    Parts(RelativePath, Vec<Range<u64>>),
}

/// Places of one file that may be asked for at a time.
pub const PARTS: usize = 8;
/// Bytes of one file that may be asked for by place at a time.
pub const PARTS_BYTES: u64 = 1 << 20;

impl Wish {
    /// The entry that it is about.
    pub fn path(&self) -> &RelativePath {
        match self {
            Self::File { path, .. } | Self::Rest(path, _) | Self::Parts(path, _) => path,
        }
    }
}

/// Why a taker did not give what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// It concerns this entry alone.
    #[error(transparent)]
    Entry(#[from] ReadError),
    /// The way to the source broke: this taker is of no use any more, and another may be.
    #[error("{0}")]
    Broken(String),
}

/// Takes files and entries in the order in which they were announced, each once.
pub trait Taker: Send {
    /// Says what will be taken. Announce no more than a batch before it is taken.
    fn announce(&mut self, wishes: &[Wish]) -> Result<(), TakeError>;

    /// Begins the next file, which was announced as `path`.
    fn begin(&mut self, path: &RelativePath) -> Result<(), TakeError>;

    /// The next piece of the file that was begun.
    fn piece(&mut self) -> Result<Piece, TakeError>;

    /// Which of the chunks of the last [`Piece::Cuts`] are to be sent.
    fn want(&mut self, wanted: &[bool]) -> Result<(), TakeError>;

    /// The next chunk that was wanted, of the length that was told. What it hashes to is for the
    /// caller to check.
    fn chunk(&mut self, len: u32, buffer: &mut Vec<u8>) -> Result<(), TakeError>;

    /// Fills what the walk left out of the next entry, which was announced.
    fn complete(&mut self, entry: &mut Entry) -> Result<(), TakeError>;

    /// The places of the next file that were asked for, each no longer than that, and shorter only
    /// where the file ends. `None` where the file is to be read: [`Source::open`](crate::Source::open).
    fn parts(&mut self, path: &RelativePath) -> Result<Option<Vec<Vec<u8>>>, TakeError>;
}
