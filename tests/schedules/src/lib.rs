//! The walk's list of work and the pool of connections, as they stand in `crates/source`, over the
//! threads and locks of shuttle: it decides at each of them who goes on, so that a schedule can be
//! drawn, and repeated. A lost wake-up shows as a deadlock.
//!
//! The files are compiled a second time, with another `crate::sync`: what is explored is what runs.

#![allow(missing_docs, reason = "it is for its own tests alone")]
#![allow(dead_code, reason = "of what is compiled a second time, not all is explored")]

#[path = "../../../crates/source/src/ordered.rs"]
mod ordered;
#[path = "../../../crates/source/src/pool.rs"]
mod pool;
mod sync {
    pub(crate) use std::sync::PoisonError;

    pub(crate) use shuttle::{
        sync::{Arc, Condvar, Mutex, MutexGuard},
        thread,
    };

    pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

use std::sync::atomic::{AtomicUsize, Ordering};

use ordered::{Ordered, Outcome};
use pool::Pool;
use sync::{Arc, thread};

/// A tree of work: each piece has `width` further pieces, down to `depth`, with an event before and
/// after each; where it is `quiet`, none after, and none on the last two levels.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub depth: u32,
    pub width: u32,
    pub quiet: bool,
    pub workers: u32,
    /// Events that may wait.
    pub limit: usize,
    /// Pieces that a worker takes at a time.
    pub most: usize,
    /// How many events the reader takes before it turns away.
    pub taken: usize,
}

/// A piece of work: how far down, and the number of its first event.
type Work = (u32, u32);

/// How many events come of a piece.
fn events(shape: Shape, depth: u32) -> u32 {
    match (depth, shape.quiet) {
        (0, quiet) => u32::from(!quiet),
        (1, true) => 0,
        (_, quiet) => shape.width * (1 + events(shape, depth - 1)) + u32::from(!quiet),
    }
}

fn outcome(shape: Shape, (depth, mut first): Work) -> Outcome<Work, u32> {
    let mut outcome = Outcome::new();
    let tells = !shape.quiet || depth > 1;
    for _ in 0..if depth == 0 { 0 } else { shape.width } {
        if tells {
            outcome.event(first, 1);
            first += 1;
        }
        outcome.work((depth - 1, first));
        first += events(shape, depth - 1);
    }
    if !shape.quiet {
        outcome.event(first, 1);
    }
    outcome
}

/// Walks such a tree: every event comes, in order, and all threads end.
pub fn walk(shape: Shape) {
    let works = move |works: Vec<Work>| works.into_iter().map(|w| outcome(shape, w)).collect();
    let workers = (0..shape.workers).map(|_| works);
    let first = outcome(shape, (shape.depth, 0));
    let walk = Ordered::start_with(first, workers, shape.limit, shape.most);
    let walk = walk.expect("there are threads");
    let all = events(shape, shape.depth);
    let seen: Vec<u32> = walk.take(shape.taken).collect();
    let expected: Vec<u32> = (0..all).take(shape.taken).collect();
    assert_eq!(seen, expected);
}

/// Threads that take what a pool has in turns; `failing` is which attempt to make one fails, and
/// `broken` which use of one makes it of no use.
#[derive(Clone, Copy, Debug)]
pub struct Sharing {
    pub threads: usize,
    pub most: usize,
    pub turns: usize,
    pub failing: Option<usize>,
    pub broken: Option<usize>,
}

/// No more are in use than may be, none by two at a time, one is made at a time, and nobody waits for
/// ever.
pub fn share(sharing: Sharing) {
    let pool = Pool::new(0usize, sharing.most);
    let made = Arc::new(AtomicUsize::new(0));
    let making = Arc::new(AtomicUsize::new(0));
    let busy = Arc::new(AtomicUsize::new(0));
    let uses = Arc::new(AtomicUsize::new(0));
    let each = |_| {
        let (pool, made, making) = (pool.clone(), made.clone(), making.clone());
        let (busy, uses) = (busy.clone(), uses.clone());
        thread::spawn(move || {
            let make = || {
                let others = making.fetch_add(1, Ordering::SeqCst);
                assert!(others < pool::MAKING, "too many are made at a time");
                thread::yield_now();
                making.fetch_sub(1, Ordering::SeqCst);
                let number = made.fetch_add(1, Ordering::SeqCst) + 1;
                if sharing.failing == Some(number) {
                    Err("no answer".to_owned())
                } else {
                    Ok(number)
                }
            };
            for _ in 0..sharing.turns {
                let Ok(mut lease) = pool.take(make, |why: &str| why.to_owned()) else { return };
                let now = busy.fetch_add(1, Ordering::SeqCst);
                assert!(now < sharing.most, "more than may be are in use");
                lease.get();
                thread::yield_now();
                busy.fetch_sub(1, Ordering::SeqCst);
                if sharing.broken == Some(uses.fetch_add(1, Ordering::SeqCst)) {
                    lease.give_up_all();
                }
            }
        })
    };
    let threads: Vec<_> = (0..sharing.threads).map(each).collect();
    for thread in threads {
        thread.join().expect("none panics");
    }
    if sharing.broken.is_none() {
        assert!(
            made.load(Ordering::SeqCst) < sharing.most.max(2),
            "more were made than may be used"
        );
    }
}
