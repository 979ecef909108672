//! When to try again: exponential backoff with jitter, as long as the store asks for where it
//! asks, within a bounded total time.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use tokio::time::Instant;

use crate::{Store, StoreError};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long to try before the store has answered for the first time: a mistyped endpoint should
/// not take minutes to show.
const FIRST_CONTACT: Duration = Duration::from_secs(20);

impl Store {
    /// Runs attempts at one operation until one succeeds or another is of no use. Each holds a
    /// permit, so that no more run at a time than the store takes; one that waits to be repeated
    /// does not. An attempt is told whether the one before may have done its work although it
    /// failed.
    pub(crate) async fn retried<T, F>(&self, attempt: impl Fn(bool) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut permit = self.concurrency().permit().await;
        let mut pauses = Pauses::new(self.retry_budget());
        let mut is_unclear = false;
        loop {
            let epoch = self.concurrency().epoch();
            let result = attempt(is_unclear).await;
            self.note(&result, epoch);
            drop(permit);
            match result {
                Ok(value) => return Ok(value),
                Err(error) => {
                    is_unclear = error.is_ambiguous();
                    pauses.wait(error, self.was_reached()).await?;
                }
            }
            permit = self.concurrency().permit().await;
        }
    }

    /// Notes how an attempt that began in `epoch` ended, while its permit is still out: the
    /// concurrency grows only where all are.
    fn note<T>(&self, result: &Result<T, StoreError>, epoch: u64) {
        match result {
            Ok(_) => {
                self.set_reached();
                self.concurrency().succeeded();
            }
            Err(error) => {
                if error.was_answered() {
                    self.set_reached();
                }
                if error.is_congestion() {
                    self.concurrency().congested(epoch);
                }
            }
        }
    }
}

/// The pauses between attempts.
struct Pauses {
    deadline: Instant,
    first_contact: Instant,
    next: Duration,
}

impl Pauses {
    fn new(budget: Duration) -> Self {
        let now = Instant::now();
        Self {
            deadline: now + budget,
            first_contact: now + budget.min(FIRST_CONTACT),
            next: FIRST_PAUSE,
        }
    }

    /// Waits before the next attempt, or gives the error back where another is of no use.
    async fn wait(&mut self, error: StoreError, was_reached: bool) -> Result<(), StoreError> {
        if !error.is_transient() {
            return Err(error);
        }
        let pause = match error.retry_after() {
            Some(asked) => asked.max(jitter(FIRST_PAUSE)),
            None => jitter(self.next),
        };
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        let deadline = if was_reached { self.deadline } else { self.first_contact };
        if Instant::now() + pause > deadline {
            return Err(error);
        }
        tracing::debug!(%error, ?pause, "trying again");
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// Between half of `pause` and all of it, so that many clients do not come back at once.
fn jitter(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + 0.5 * (unpredictable() >> 11) as f64 / (1u64 << 53) as f64)
}

/// A number that differs from call to call and from process to process. Not for secrets: the
/// standard library's hash seeds are enough to spread retries and to name probes.
pub(crate) fn unpredictable() -> u64 {
    RandomState::new().hash_one(std::thread::current().id())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::StoreOptions;

    #[tokio::test(start_paused = true)]
    async fn no_more_run_at_a_time_than_the_store_takes() {
        let options = StoreOptions { concurrency_max: 3, ..StoreOptions::default() };
        let store = Store::connect(&"memory:".parse().unwrap(), &options).await.unwrap();
        let (running, most) = (Cell::new(0), Cell::new(0));
        let run = |result: fn() -> Result<(), StoreError>| {
            let (running, most) = (&running, &most);
            store.retried(move |_| async move {
                running.set(running.get() + 1);
                most.set(most.get().max(running.get()));
                tokio::task::yield_now().await;
                running.set(running.get() - 1);
                result()
            })
        };
        let all = futures::future::join_all((0..10).map(|_| run(|| Ok(()))));
        assert!(all.await.iter().all(Result::is_ok));
        assert_eq!((most.replace(0), store.concurrency_limit()), (3, 3));

        // Asked to slow down again and again.
        let slow_down = || {
            let (object, source) = (String::new(), None);
            Err(StoreError::Throttled { object, retry_after: None, source })
        };
        assert!(run(slow_down).await.is_err());
        assert_eq!(store.concurrency_limit(), 1);
        most.set(0);
        let all = futures::future::join_all((0..2).map(|_| run(|| Ok(()))));
        assert!(all.await.iter().all(Result::is_ok));
        assert_eq!(most.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_never_answered_is_given_up_soon() {
        let options = StoreOptions::default();
        let store = Store::connect(&"memory:".parse().unwrap(), &options).await.unwrap();
        let began = Instant::now();
        let nobody = || async {
            Err::<(), _>(StoreError::Unreachable { object: String::new(), source: None })
        };
        assert!(store.retried(|_| nobody()).await.is_err());
        assert!(began.elapsed() <= FIRST_CONTACT, "of the runtime's own clock, which is stopped");
        // Once it has answered, a failure of the link is waited out.
        store.set_reached();
        assert!(store.retried(|_| nobody()).await.is_err());
        assert!(began.elapsed() > store.retry_budget() / 2);
    }
}
