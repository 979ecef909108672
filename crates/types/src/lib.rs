//! The types that travel between drover's stages: one per arrow of the flow.
//!
//! `Source → Entry → Chunk → Frame → Pack → PackReceipt → Manifest → Snapshot → Report`
//!
//! Everything here is plain data. Nothing reads a file, talks to a network, draws random numbers
//! or prints; the one exception is [`clock`], the only door to the time of day.

pub mod chunk;
pub mod clock;
pub mod codec;
pub mod entry;
pub mod exception;
pub mod id;
pub mod limits;
pub mod lock;
pub mod observer;
pub mod path;

pub use chunk::{ChunkKind, ChunkRef, Compression, PackClass};
pub use clock::Timestamp;
pub use entry::{Attributes, Content, Entry, Evidence, Extent, Extents, Kind, Xattr};
pub use exception::{Exception, ExceptionKind};
pub use id::{ChunkId, DomainId, FileHash, PackId, RepositoryId, SnapshotId, SourceId, WriterId};
pub use lock::lock;
pub use observer::{Basis, Counter, Observer, Phase, Silent, Total};
pub use path::{PathError, RelativePath};
