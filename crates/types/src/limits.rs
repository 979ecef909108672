//! Bounds that are checked before anything is allocated for data that came from outside.
//!
//! A repository, a source and a network are hostile until checked: a count or a length that they
//! name is compared with these before memory is taken for it.

/// Plaintext of one chunk, in bytes.
pub const CHUNK: usize = 8 << 20;
/// A whole pack as stored, in bytes.
pub const PACK: usize = 256 << 20;
/// The directory of one pack, in bytes.
pub const DIRECTORY: usize = 64 << 20;
/// One path component, in bytes (`NAME_MAX` on Linux).
pub const COMPONENT: usize = 255;
/// A whole path relative to its source's root, in bytes.
pub const PATH: usize = 1 << 20;
/// All extended attributes of one entry, names and values, in bytes.
pub const XATTRS: usize = 1 << 20;
/// Extents of one file: of chunks of usual size 64 TiB.
pub const EXTENTS: usize = 1 << 26;
/// A symlink's target, in bytes (`PATH_MAX` on Linux).
pub const SYMLINK: usize = 4096;
/// The name of a user or a group, in bytes.
pub const OWNER_NAME: usize = 256;
/// The name of a source, a host or an operator, in bytes.
pub const NAME: usize = 4096;
/// Any object other than a pack that is read whole (snapshot, grant, slot, log record), in bytes.
pub const SMALL_OBJECT: usize = 16 << 20;
/// An index object or a list of packs, in bytes.
pub const INDEX_OBJECT: usize = 256 << 20;
