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

/// The attempts at one operation.
pub(crate) struct Attempts<'a> {
    store: &'a Store,
    epoch: u64,
    deadline: Instant,
    first_contact: Instant,
    next_pause: Duration,
}

impl<'a> Attempts<'a> {
    pub fn new(store: &'a Store, budget: Duration) -> Self {
        let now = Instant::now();
        Self {
            store,
            epoch: store.concurrency().epoch(),
            deadline: now + budget,
            first_contact: now + budget.min(FIRST_CONTACT),
            next_pause: FIRST_PAUSE,
        }
    }

    /// Notes how an attempt ended.
    pub fn note<T>(&self, result: &Result<T, StoreError>) {
        match result {
            Ok(_) => {
                self.store.set_reached();
                self.store.concurrency().succeeded();
            }
            Err(error) => {
                if error.was_answered() {
                    self.store.set_reached();
                }
                if error.is_congestion() {
                    self.store.concurrency().congested(self.epoch);
                }
            }
        }
    }

    /// Waits before the next attempt, or gives the error back where another is of no use.
    pub async fn pause(&mut self, error: StoreError) -> Result<(), StoreError> {
        if !error.is_transient() {
            return Err(error);
        }
        let pause = match error.retry_after() {
            Some(asked) => asked.max(jitter(FIRST_PAUSE)),
            None => jitter(self.next_pause),
        };
        self.next_pause = (self.next_pause * 2).min(LONGEST_PAUSE);
        let deadline = if self.store.was_reached() { self.deadline } else { self.first_contact };
        if Instant::now() + pause > deadline {
            return Err(error);
        }
        tracing::debug!(%error, ?pause, "trying again");
        tokio::time::sleep(pause).await;
        self.epoch = self.store.concurrency().epoch();
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
