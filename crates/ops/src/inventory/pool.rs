//! Threads that work on what one thread hands out, a bounded number of batches ahead.

use crate::{Cancel, Error, batch::Batch, threads};

/// Batches that wait for each thread.
const AHEAD: usize = 2;

/// Runs `workers` threads, each with a state of its own that `begin` makes, which take what `feed`
/// hands to its argument, each piece with the bytes that are to be read of it; in batches. The first
/// error, of either side, ends everything.
pub fn pool<T: Send, S>(
    workers: usize,
    cancel: &Cancel,
    begin: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, Vec<T>) -> Result<(), Error> + Sync,
    feed: impl FnOnce(&mut dyn FnMut(T, u64) -> Result<(), Error>) -> Result<(), Error>,
) -> Result<(), Error> {
    threads::start_shared()?;
    let (sender, receiver) = crossbeam_channel::bounded::<Vec<T>>(AHEAD * workers.max(1));
    let worker = || -> Result<(), Error> {
        // Dropped with the thread, so that nobody waits for one that has ended.
        let receiver = receiver.clone();
        let mut state = begin();
        for batch in receiver {
            if cancel.is_set() {
                return Err(Error::Interrupted);
            }
            work(&mut state, batch)?;
        }
        Ok(())
    };
    let worker = &worker;
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..workers.max(1)).map_while(|_| threads::spawn(scope, worker).ok()).collect();
        if threads.is_empty() {
            threads::spawn(scope, worker)?;
        }
        // Nobody takes it any more where all threads failed; why comes with them.
        let send = |batch| sender.send(batch).map_err(|_| Error::Stopped);
        let mut batch = Batch::new();
        let mut take = |piece: T, bytes: u64| {
            if cancel.is_set() {
                return Err(Error::Interrupted);
            }
            batch.push(piece, bytes).map_or(Ok(()), send)
        };
        let fed = feed(&mut take).and_then(|()| batch.rest().map_or(Ok(()), send));
        drop(sender);
        let mut failed = None;
        for thread in threads {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failed = failed.or(Some(error)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        match (failed, fed) {
            (Some(error), _) => Err(error),
            (None, fed) => fed,
        }
    })
}
