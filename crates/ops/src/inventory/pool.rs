//! Threads that work on what one thread hands out, a bounded number of pieces ahead.

use crate::{Cancel, Error, threads};

/// Pieces that wait for a thread.
const AHEAD: usize = 512;

/// Runs `workers` threads, each with a state of its own that `begin` makes, which take what `feed`
/// hands to its argument. The first error, of either side, ends everything.
pub fn pool<T: Send, S>(
    workers: usize,
    cancel: &Cancel,
    begin: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, T) -> Result<(), Error> + Sync,
    feed: impl FnOnce(&mut dyn FnMut(T) -> Result<(), Error>) -> Result<(), Error>,
) -> Result<(), Error> {
    threads::start_shared()?;
    let (sender, receiver) = crossbeam_channel::bounded::<T>(AHEAD);
    let worker = || -> Result<(), Error> {
        // Dropped with the thread, so that nobody waits for one that has ended.
        let receiver = receiver.clone();
        let mut state = begin();
        for piece in receiver {
            if cancel.is_set() {
                return Err(Error::Interrupted);
            }
            work(&mut state, piece)?;
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
        let mut send = |piece: T| {
            if cancel.is_set() {
                return Err(Error::Interrupted);
            }
            // Nobody takes it any more where all threads failed; why comes with them.
            sender.send(piece).map_err(|_| Error::Stopped)
        };
        let fed = feed(&mut send);
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
