//! How libraries report what they do. They never print.

use crate::Exception;

/// What is counted while a verb runs. Each is a running total that only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Counter {
    /// Entries that the walk found or the manifest named.
    Entries,
    /// Entries whose work is done.
    EntriesDone,
    /// Logical bytes of the files found.
    Bytes,
    /// Logical bytes whose work is done (unchanged files included).
    BytesDone,
    /// Bytes read from the source or the target.
    BytesRead,
    /// Bytes sent to or received from the store.
    BytesTransferred,
}

/// How many counters there are.
pub const COUNTERS: usize = 6;

/// The part of a verb that is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Opening the repository, reading keys, snapshots and index.
    Opening,
    /// Walking, looking into files, sending nothing.
    Surveying,
    /// Walking, reading, packing, sending.
    Syncing,
    /// Writing index and snapshot.
    Committing,
    /// Checking names, signatures, roots, presence.
    CheckingStructure,
    /// Reading packs back.
    ReadingBack,
    /// Comparing a tree with a manifest.
    Comparing,
    /// Writing the target.
    Restoring,
    /// Making what was written durable.
    Flushing,
}

/// How much there is to do in a phase, in what [`Counter::EntriesDone`] and
/// [`Counter::BytesDone`] count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    /// Entries.
    pub entries: u64,
    /// Logical bytes of files, or bytes of packs where packs are read back.
    pub bytes: u64,
    /// Where this is known from.
    pub basis: Basis,
}

/// Where a [`Total`] is known from, and so how far it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// What the source held when its last pass ended. It lives on: an estimate.
    LastPass,
    /// The source was counted. It lives on, so this is as good as it is recent.
    Counted,
    /// What snapshots record: exact.
    Snapshot,
}

/// Receives what happens. Called from many threads; must not block.
pub trait Observer: Send + Sync {
    /// `counter` grew by `amount`.
    fn add(&self, counter: Counter, amount: u64);
    /// Another part begins.
    fn phase(&self, phase: Phase);
    /// How much there is to do in this phase is known from now on, or is known better. Until then
    /// nobody can say how long it will take.
    fn total(&self, total: Total) {
        let _ = total;
    }
    /// An entry could not be taken, or put back, faithfully.
    fn exception(&self, exception: &Exception);
    /// Something people should know of that is no exception: one line, no secrets.
    fn warning(&self, message: &str);
}

/// An observer that ignores everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn add(&self, _: Counter, _: u64) {}
    fn phase(&self, _: Phase) {}
    fn exception(&self, _: &Exception) {}
    fn warning(&self, _: &str) {}
}
