//! Threads that the system may not give: where memory or their number is limited, starting one is
//! an error of the verb like any other.

use std::{
    error::Error as _,
    io,
    sync::Mutex,
    thread::{Builder, Scope, ScopedJoinHandle},
};

use drover_repo::Tree;
use drover_types::lock;

use crate::Error;

/// Starts a thread of `scope`. What `work` holds is dropped where that fails, so that nobody waits
/// for it.
pub(crate) fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Error> {
    Builder::new().spawn_scoped(scope, work).map_err(Error::Threads)
}

/// Starts `wanted` threads that share work, each with what `work` makes; fewer where the system
/// gives no more, and at least one.
pub(crate) fn spawn_some<'scope, W: FnOnce() + Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    wanted: usize,
    mut work: impl FnMut() -> W,
) -> Result<(), Error> {
    spawn(scope, work())?;
    (1..wanted).take_while(|_| spawn(scope, work()).is_ok()).for_each(drop);
    Ok(())
}

/// Starts rayon's threads, which would panic where it comes to them by itself and there are none.
pub(crate) fn start_shared() -> Result<(), Error> {
    static STARTED: Mutex<Option<Result<(), io::ErrorKind>>> = Mutex::new(None);
    // Rayon tries once in the life of a process.
    let result = *lock(&STARTED).get_or_insert_with(|| {
        let Err(error) = rayon::ThreadPoolBuilder::new().build_global() else { return Ok(()) };
        // Any other error says that they were started before.
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        cause.map_or(Ok(()), |cause| Err(cause.kind()))
    });
    result.map_err(|kind| Error::Threads(kind.into()))
}

/// Lets a manifest be read ahead by rayon's threads, where there are any.
pub(crate) fn ahead(tree: Tree<'_>) -> Tree<'_> {
    if start_shared().is_ok() { tree.ahead() } else { tree }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn shared_threads_start_once() {
        for _ in 0..3 {
            start_shared().unwrap();
        }
    }

    #[test]
    fn as_many_as_wanted() {
        let count = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let one = || {
                count.fetch_add(1, Ordering::Relaxed);
            };
            spawn_some(scope, 3, || one).unwrap();
        });
        assert_eq!(count.into_inner(), 3);
    }
}
