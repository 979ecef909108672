//! drover's verbs: sync, verify, restore, and looking inside.
//!
//! `pipeline.rs` shows the stages of a pass in one place; everything that compares two trees is a
//! [`merge`] of sorted streams. Nothing here prints or reads the environment: what happens is
//! told to an [`Observer`](drover_types::Observer), and stopping early is asked for by a
//! [`Cancel`].

pub mod audit;
mod batch;
mod bucket;
mod cancel;
mod certify;
pub mod compare;
pub mod cutover;
mod error;
pub mod estimate;
pub mod evidence;
pub mod file;
mod follow;
pub mod helper;
mod init;
pub mod inspect;
pub mod inventory;
pub mod keys;
pub mod merge;
mod owners;
mod pipeline;
pub mod probe;
mod prove;
mod reading;
mod rebuild;
mod restore;
pub mod server;
pub mod session;
pub mod sync;
mod taking;
mod threads;
mod verify;

pub use bucket::{land_in_bucket, verify_bucket};
pub use cancel::Cancel;
pub use certify::{Findings, certify, certify_unopened, compare_certificate, exceptions};
pub use error::Error;
pub use follow::{Destination, Follow, Look, list_snapshots};
pub use init::{NewRepository, init};
pub use owners::OwnerMap;
pub use prove::{Proven, prove};
pub use reading::ReaderSession;
pub use restore::{RestoreOptions, RestoreOutcome, restore};
pub use session::WriterSession;
pub use sync::{
    EntryCounts, Exclusions, Fidelity, LastPass, Preview, StageTime, SyncOptions, SyncOutcome,
    preview, sync,
};
pub use verify::{
    Compared, Finding, Verdict, VerifyOptions, VerifyOutcome, compare_mapped, compare_tree,
    confidence, damaged_below, verify,
};

/// Name and version, as snapshots and records of the audit log hold them.
pub const PROGRAM: &str = concat!("drover ", env!("CARGO_PKG_VERSION"));

/// This machine's name, as far as it has one.
pub fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

/// Workers that read a source over a network, where nobody asks for another number: they wait for it more
/// than they compute.
pub const WAITING_READERS: usize = 6;

/// How many workers to start: as many as asked for, or one for each core where that is 0.
pub(crate) fn workers(asked: usize) -> usize {
    match asked {
        0 => std::thread::available_parallelism().map_or(2, |cores| cores.get()),
        asked => asked,
    }
}
