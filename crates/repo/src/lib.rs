//! What a repository is made of above packs: manifests, snapshots, index, audit log; how it is
//! opened and read; the state that a machine keeps to run passes; and what is handed to others as
//! evidence, certificates and proofs.

mod blocks;
pub mod certificate;
pub mod chained;
pub mod chunks;
mod claim;
pub mod cutover;
pub mod fetch;
mod form;
pub mod history;
pub mod index;
pub mod log;
pub mod manifest;
pub mod names;
pub mod objects;
pub mod places;
pub mod proof;
pub mod record;
pub mod repository;
pub mod snapshot;
pub mod state;
pub mod tree;

pub use chunks::{ChunkError, ChunkReader, KeptPacks};
pub use claim::Claim;
pub use fetch::PackPart;
pub use form::FormError;
pub use history::{CheckedSnapshot, History, Problem};
pub use places::ChunkIndex;
pub use repository::{Repository, RepositoryError};
pub use tree::{Tree, TreeError};
