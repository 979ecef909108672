//! An entry: everything drover keeps of one file, directory, link or special file.

use std::sync::Arc;

use crate::{ChunkRef, FileHash, RelativePath, Timestamp};

/// One file, directory, link or special file.
///
/// A walk yields entries without symlink targets, flags, extended attributes and content (the
/// source fills them for what is new or changed); a manifest holds them whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the source's root; empty for the root itself.
    pub path: RelativePath,
    /// What it is.
    pub kind: Kind,
    /// What a restore puts back besides the content.
    pub attributes: Attributes,
    /// A regular file's bytes.
    pub content: Option<Content>,
    /// Where this is a further name of a file that came earlier in the order: the first name.
    /// Content and attributes stand here as well.
    pub hard_link: Option<RelativePath>,
    /// What tells the next pass cheaply whether it changed.
    pub evidence: Evidence,
    /// Carried over from an earlier pass because this one could not take it.
    pub stale: bool,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link, as it is.
    Symlink {
        /// Where it points, in bytes; empty until the source filled it.
        target: Box<[u8]>,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

impl Kind {
    /// Whether `other` is the same sort of thing, whatever it points to or stands for.
    pub fn same_sort(&self, other: &Kind) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// The word people read.
    pub fn as_str(&self) -> &'static str {
        match self {
            Kind::Directory => "directory",
            Kind::File => "file",
            Kind::Symlink { .. } => "symlink",
            Kind::Fifo => "fifo",
            Kind::Socket => "socket",
            Kind::CharDevice { .. } => "character device",
            Kind::BlockDevice { .. } => "block device",
        }
    }
}

/// What a restore puts back besides the content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits with setuid, setgid and sticky: the low twelve of `st_mode`.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// The owner's name on the source, where it has one.
    pub user: Option<Arc<str>>,
    /// The group's name on the source, where it has one.
    pub group: Option<Arc<str>>,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// File flags as `FS_IOC_GETFLAGS` gives them, masked to those a restore can set.
    pub flags: u32,
    /// Extended attributes, sorted by name; ACLs and capabilities are among them.
    pub xattrs: Vec<Xattr>,
}

/// One extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// Its full name, namespace included.
    pub name: Box<[u8]>,
    /// Its value.
    pub value: Box<[u8]>,
}

/// A regular file's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Logical length in bytes, holes included.
    pub size: u64,
    /// Plain BLAKE3 of the whole file, holes as zeros.
    pub hash: FileHash,
    /// What it consists of, in order; lengths add up to `size`.
    pub extents: Extents,
}

/// The extents of a file, or where they are written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extents {
    /// The extents themselves.
    Inline(Arc<[Extent]>),
    /// Chunks of kind `ExtentList`, in order. At level 1 their items are the extents; at a higher
    /// level they are lists of the level below.
    Lists {
        /// How many steps lie between these chunks and the extents, 1 or more.
        level: u8,
        /// The lists; the lengths are those of the lists' plaintexts.
        lists: Arc<[ChunkRef]>,
    },
}

/// A run of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extent {
    /// Bytes that are a chunk.
    Chunk(ChunkRef),
    /// This many bytes that read as zero and take no room; never 0.
    Hole(u64),
}

impl Extent {
    /// How many bytes of the file it covers.
    pub fn len(&self) -> u64 {
        match self {
            Extent::Chunk(chunk) => u64::from(chunk.len),
            Extent::Hole(len) => *len,
        }
    }

    /// Never: an extent covers at least one byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What tells the next pass cheaply whether an entry changed. It says nothing to a restore, and
/// it is no part of what is proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Device number of the file system.
    pub device: u64,
    /// Inode number; 0 where the source has none.
    pub inode: u64,
    /// Number of names.
    pub links: u32,
    /// Logical size in bytes as `stat` gave it.
    pub size: u64,
    /// Allocated bytes.
    pub allocated: u64,
    /// Last change of content or attributes; `None` where the source has none (SFTP).
    pub ctime: Option<Timestamp>,
    /// The entry changed so shortly before it was scanned that a later change could carry the
    /// same times: the next pass must not trust them.
    pub racy: bool,
}

impl Evidence {
    /// Whether an entry with evidence `self` in the last pass may be taken for unchanged now.
    /// `mtime` is compared by the caller, which has it in the attributes.
    ///
    /// Where a source has no ctime, size and mtime have to do: a change that keeps both goes
    /// unseen until someone asks to read all again. A source that had ctime and has none now, or
    /// the other way round, holds nothing.
    pub fn still_holds(&self, now: &Evidence) -> bool {
        !self.racy && self.ctime == now.ctime && self.inode == now.inode && self.size == now.size
    }
}
