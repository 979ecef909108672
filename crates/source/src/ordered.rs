//! Work that unfolds in parallel and whose results come out in order.
//!
//! A walk is a tree of work: listing a directory gives runs of names to stat, and those give
//! directories to list. The results have to come in the order a single thread would find them.
//! So every piece of unfinished work keeps its place in one list, from the earliest to the
//! latest, and whatever was found after it and before the next piece waits behind it:
//!
//! ```text
//! ready │ work A │ events │ work B │ events │ work C │ …
//!         ▲ head
//! ```
//!
//! A thread takes the earliest piece that nobody has. When it is done, the piece is replaced by
//! what came of it: events, and further work with events between. Events that no work precedes
//! are `ready` to be taken.
//!
//! What waits is bounded: when as many events wait as there is room for, no further work is
//! begun, but for the head, which is always admitted once nothing is ready. The reader can then
//! only be waiting for the head, and the head is either being worked on or may be begun, so there
//! is no deadlock, however small the bound.

use std::{collections::VecDeque, io, panic, sync::PoisonError};

use crate::sync::{
    Arc, Condvar, Mutex, MutexGuard,
    thread::{self, JoinHandle},
};

/// What came of a piece of work: events and further work, in order.
#[derive(Debug)]
pub(crate) struct Outcome<W, E> {
    lead: Batch<E>,
    children: Vec<(W, Batch<E>)>,
}

impl<W, E> Outcome<W, E> {
    pub(crate) fn new() -> Self {
        Self { lead: Batch::new(), children: Vec::new() }
    }

    /// The next event, taking `weight` of the room that events may take while they wait.
    pub(crate) fn event(&mut self, event: E, weight: usize) {
        let batch = self.children.last_mut().map_or(&mut self.lead, |(_, batch)| batch);
        batch.events.push(event);
        batch.weight += weight;
    }

    /// Work whose results come next.
    pub(crate) fn work(&mut self, work: W) {
        self.children.push((work, Batch::new()));
    }

    pub(crate) fn has_work(&self) -> bool {
        !self.children.is_empty()
    }
}

#[derive(Debug)]
struct Batch<E> {
    events: Vec<E>,
    weight: usize,
}

impl<E> Batch<E> {
    fn new() -> Self {
        Self { events: Vec::new(), weight: 0 }
    }
}

const NONE: usize = usize::MAX;

/// A piece of unfinished work in its place.
struct Node<W, E> {
    /// `None` while a thread has it.
    work: Option<W>,
    /// What was found after it and before the next piece.
    after: VecDeque<Batch<E>>,
    previous: usize,
    next: usize,
}

struct State<W, E> {
    /// All nodes; the list runs through them by index.
    nodes: Vec<Node<W, E>>,
    /// Indices of `nodes` that are not in the list.
    free: Vec<usize>,
    head: usize,
    /// Events that no unfinished work precedes.
    ready: VecDeque<Batch<E>>,
    /// Weight of all events that wait, ready or not.
    waiting: usize,
    idle_workers: usize,
    reader_waits: bool,
    stopped: bool,
    panicked: bool,
}

impl<W, E> State<W, E> {
    fn insert_before(&mut self, next: usize, previous: usize, work: W, after: Batch<E>) -> usize {
        let after = if after.events.is_empty() { VecDeque::new() } else { VecDeque::from([after]) };
        let node = Node { work: Some(work), after, previous, next };
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at] = node;
                at
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        match previous {
            NONE => self.head = at,
            previous => self.nodes[previous].next = at,
        }
        if next != NONE {
            self.nodes[next].previous = at;
        }
        at
    }

    fn unlink(&mut self, at: usize) -> VecDeque<Batch<E>> {
        let node = &mut self.nodes[at];
        let (previous, next, after) = (node.previous, node.next, std::mem::take(&mut node.after));
        match previous {
            NONE => self.head = next,
            previous => self.nodes[previous].next = next,
        }
        if next != NONE {
            self.nodes[next].previous = previous;
        }
        self.free.push(at);
        after
    }

    /// The earliest piece of work that nobody has, if it may be begun now.
    fn admitted(&self, limit: usize) -> Option<usize> {
        let mut at = self.head;
        // At most as many nodes are passed over as workers may take.
        while at != NONE && self.nodes[at].work.is_none() {
            at = self.nodes[at].next;
        }
        let room = self.waiting < limit || (at == self.head && self.ready.is_empty());
        (at != NONE && room).then_some(at)
    }

    /// Puts what came of the work at `at` in its place.
    fn finish(&mut self, at: usize, outcome: Outcome<W, E>) {
        self.waiting += outcome.lead.weight;
        let (previous, next) = (self.nodes[at].previous, self.nodes[at].next);
        let mut tail = self.unlink(at);
        let before = match previous {
            NONE => &mut self.ready,
            previous => &mut self.nodes[previous].after,
        };
        if !outcome.lead.events.is_empty() {
            before.push_back(outcome.lead);
        }
        if outcome.children.is_empty() {
            before.append(&mut tail);
            return;
        }
        let mut last = previous;
        for (work, after) in outcome.children {
            self.waiting += after.weight;
            last = self.insert_before(next, last, work, after);
        }
        self.nodes[last].after.append(&mut tail);
    }
}

struct Shared<W, E> {
    limit: usize,
    /// How many pieces of work a worker takes at a time.
    most: usize,
    state: Mutex<State<W, E>>,
    /// Workers wait here for work that may be begun.
    work: Condvar,
    /// The reader waits here for events.
    events: Condvar,
}

impl<W, E> Shared<W, E> {
    fn lock(&self) -> MutexGuard<'_, State<W, E>> {
        // Nothing panics while it holds the lock, so that a poisoned state is a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work_until_done(&self, mut run: impl FnMut(Vec<W>) -> Vec<Outcome<W, E>>) {
        let mut state = self.lock();
        loop {
            if state.stopped || state.head == NONE {
                return;
            }
            let (mut places, mut taken) = (Vec::new(), Vec::new());
            while taken.len() < self.most
                && let Some(at) = state.admitted(self.limit)
                && let Some(work) = state.nodes[at].work.take()
            {
                places.push(at);
                taken.push(work);
            }
            if taken.is_empty() {
                state.idle_workers += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle_workers -= 1;
                continue;
            }
            if state.idle_workers > 0 && state.admitted(self.limit).is_some() {
                self.work.notify_one();
            }
            drop(state);
            let outcomes = run(taken);
            state = self.lock();
            for (at, outcome) in places.into_iter().zip(outcomes) {
                state.finish(at, outcome);
            }
            if state.head == NONE {
                self.work.notify_all();
            }
            if state.reader_waits && (!state.ready.is_empty() || state.head == NONE) {
                self.events.notify_one();
            }
        }
    }
}

/// Tells the reader when a worker panics, which would wait for its events for ever.
struct OnPanic<'a, W, E>(&'a Shared<W, E>);

impl<W, E> Drop for OnPanic<'_, W, E> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().panicked = true;
            self.0.events.notify_one();
        }
    }
}

/// The events of a tree of work, in order. Dropping it stops the workers and waits for them.
pub(crate) struct Ordered<W, E> {
    shared: Arc<Shared<W, E>>,
    workers: Vec<JoinHandle<()>>,
    current: std::vec::IntoIter<E>,
}

impl<W: Send + 'static, E: Send + 'static> Ordered<W, E> {
    /// Begins with `first`; one thread for each of `workers`. `limit` is the weight of events
    /// that may wait; each worker may go beyond it by what comes of one piece of work.
    pub(crate) fn start<F>(
        first: Outcome<W, E>,
        workers: impl IntoIterator<Item = F>,
        limit: usize,
    ) -> io::Result<Self>
    where
        F: FnMut(W) -> Outcome<W, E> + Send + 'static,
    {
        let some = |mut run: F| move |works: Vec<W>| works.into_iter().map(&mut run).collect();
        Self::start_with(first, workers.into_iter().map(some), limit, 1)
    }

    /// The same; a worker takes up to `most` pieces of work at a time, as far as there are any, and
    /// gives as many outcomes, in their order.
    pub(crate) fn start_with<F>(
        first: Outcome<W, E>,
        workers: impl IntoIterator<Item = F>,
        limit: usize,
        most: usize,
    ) -> io::Result<Self>
    where
        F: FnMut(Vec<W>) -> Vec<Outcome<W, E>> + Send + 'static,
    {
        let mut state = State {
            nodes: Vec::new(),
            free: Vec::new(),
            head: NONE,
            ready: VecDeque::new(),
            waiting: first.lead.weight,
            idle_workers: 0,
            reader_waits: false,
            stopped: false,
            panicked: false,
        };
        if !first.lead.events.is_empty() {
            state.ready.push_back(first.lead);
        }
        let mut last = NONE;
        for (work, after) in first.children {
            state.waiting += after.weight;
            last = state.insert_before(NONE, last, work, after);
        }
        let shared = Arc::new(Shared {
            limit,
            most,
            state: Mutex::new(state),
            work: Condvar::new(),
            events: Condvar::new(),
        });
        let mut ordered = Self { shared, workers: Vec::new(), current: Vec::new().into_iter() };
        for run in workers {
            let shared = Arc::clone(&ordered.shared);
            let worker = thread::Builder::new().name("walk".into()).spawn(move || {
                let _on_panic = OnPanic(&shared);
                shared.work_until_done(run);
            });
            let failed =
                |e: io::Error| io::Error::new(e.kind(), format!("cannot start a thread: {e}"));
            ordered.workers.push(worker.map_err(failed)?);
        }
        Ok(ordered)
    }
}

impl<W, E> Ordered<W, E> {
    /// Stops the workers, waits for them, and passes a panic of one of them on.
    fn join(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.work.notify_all();
        for worker in self.workers.drain(..) {
            if let Err(cause) = worker.join()
                && !std::thread::panicking()
            {
                panic::resume_unwind(cause);
            }
        }
    }

    fn next_batch(&mut self) -> Option<Vec<E>> {
        let mut state = self.shared.lock();
        loop {
            if state.panicked {
                drop(state);
                self.join();
                return None;
            }
            if let Some(batch) = state.ready.pop_front() {
                state.waiting -= batch.weight;
                if state.idle_workers > 0 && state.admitted(self.shared.limit).is_some() {
                    self.shared.work.notify_one();
                }
                return Some(batch.events);
            }
            if state.head == NONE {
                return None;
            }
            state.reader_waits = true;
            state = self.shared.events.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.reader_waits = false;
        }
    }
}

impl<W, E> Iterator for Ordered<W, E> {
    type Item = E;

    fn next(&mut self) -> Option<E> {
        loop {
            if let Some(event) = self.current.next() {
                return Some(event);
            }
            self.current = self.next_batch()?.into_iter();
        }
    }
}

impl<W, E> Drop for Ordered<W, E> {
    fn drop(&mut self) {
        self.join();
    }
}

#[cfg(test)]
#[path = "ordered/tests.rs"]
mod tests;
