//! The walk as its user sees it: options, and an iterator of events.

use std::{fmt, sync::Arc, thread};

use drover_types::Entry;

use crate::{ReadError, Scope, WalkEvent, ordered::Outcome};

/// How a tree is walked.
#[derive(Clone, Debug)]
pub struct WalkOptions {
    /// Threads that list and stat ahead of the caller; 1 at least.
    pub threads: usize,
    /// Do not enter directories on another file system than the root's; the mount points themselves
    /// are entries.
    pub one_file_system: bool,
    /// Entries that may be held ahead of the caller. Those of one directory of up to
    /// [`WalkOptions::BATCH`] names for each thread come on top. An entry with a path over 256 bytes
    /// counts as several.
    pub buffer: usize,
    /// Which directories to go into; all where it is `None`. A source that does not ask goes into
    /// more than it has to, and is as right.
    pub enter: Option<Enter>,
}

/// Says of each directory below the root whether to go into it. Asked from any thread, before the
/// directory's own entry is yielded.
#[derive(Clone)]
pub struct Enter(Arc<dyn Fn(&Entry) -> bool + Send + Sync>);

impl Enter {
    /// By this.
    pub fn new(answer: impl Fn(&Entry) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(answer))
    }

    /// Whether to go into `directory`.
    pub fn enters(&self, directory: &Entry) -> bool {
        (self.0)(directory)
    }
}

impl fmt::Debug for Enter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enter").finish_non_exhaustive()
    }
}

impl WalkOptions {
    /// How many names of a directory a thread takes at once.
    pub const BATCH: usize = 512;
}

impl Default for WalkOptions {
    /// As many threads as there are processors, at least 4 (a disk or a server is waited for in
    /// parallel) and at most 16; all file systems; 16,384 entries, which take about 8 MiB.
    fn default() -> Self {
        let processors = thread::available_parallelism().map_or(4, usize::from);
        Self {
            threads: processors.clamp(4, 16),
            one_file_system: false,
            buffer: 16_384,
            enter: None,
        }
    }
}

/// The events of a walk, in the order of paths. Dropping it early ends its threads.
pub struct Walk(Box<dyn Iterator<Item = WalkEvent> + Send>);

impl Walk {
    /// A walk that yields what `events` yields, which must be in the order of paths.
    pub fn new(events: impl Iterator<Item = WalkEvent> + Send + 'static) -> Self {
        Self(Box::new(events))
    }
}

impl Iterator for Walk {
    type Item = WalkEvent;

    fn next(&mut self) -> Option<WalkEvent> {
        self.0.next()
    }
}

impl fmt::Debug for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk").finish_non_exhaustive()
    }
}

/// What could not be seen, as a walk yields it.
pub(crate) fn problem(scope: Scope, error: ReadError) -> WalkEvent {
    WalkEvent::Problem { path: error.path.clone(), scope, exception: error.into() }
}

/// The next event of a walk. A long path takes the room of several entries, so that the bound on
/// what waits is one on memory.
pub(crate) fn emit<W>(outcome: &mut Outcome<W, WalkEvent>, event: WalkEvent) {
    let weight = 1 + event.path().as_bytes().len() / 256;
    outcome.event(event, weight);
}
