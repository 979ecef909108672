//! How many operations at a time: as many as the store and the link take.
//!
//! Additive increase, multiplicative decrease, as congestion control does it. Until the store
//! first asks to slow down, each success admits one transfer more; afterwards, one more for each
//! round of successes. Being asked to slow down, or a timeout, takes a third away, once for all
//! the transfers that were under way at that moment: they met the same congestion.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Transfers at a time to begin with.
const INITIAL: usize = 4;

#[derive(Clone, Debug)]
pub(crate) struct Concurrency(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    semaphore: Arc<Semaphore>,
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: usize,
    /// Permits that are out and will not come back, because the limit sank meanwhile.
    surplus: usize,
    /// Successes since the limit last changed.
    successes: usize,
    /// Whether there was congestion yet.
    congested: bool,
    /// How often the limit sank: what began in an earlier epoch says nothing new.
    epoch: u64,
}

/// Leave to run one transfer, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    permit: Option<OwnedSemaphorePermit>,
    concurrency: Concurrency,
}

impl Concurrency {
    pub fn new(max: usize) -> Self {
        let max = max.clamp(1, Semaphore::MAX_PERMITS);
        let limit = INITIAL.min(max);
        Self(Arc::new(Shared {
            semaphore: Arc::new(Semaphore::new(limit)),
            max,
            state: Mutex::new(State {
                limit,
                surplus: 0,
                successes: 0,
                congested: false,
                epoch: 0,
            }),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn limit(&self) -> usize {
        self.state().limit
    }

    pub async fn permit(&self) -> Permit {
        // The semaphore is never closed, so that acquiring always succeeds.
        let permit = self.0.semaphore.clone().acquire_owned().await.ok();
        Permit { permit, concurrency: self.clone() }
    }

    /// What an attempt keeps from its beginning to its end.
    pub fn epoch(&self) -> u64 {
        self.state().epoch
    }

    /// An attempt succeeded.
    pub fn succeeded(&self) {
        let mut state = self.state();
        state.successes += 1;
        let round = if state.congested { state.limit } else { 1 };
        if state.successes < round || state.limit == self.0.max {
            return;
        }
        // Growing only where the limit is what holds transfers back: otherwise it says nothing.
        if self.0.semaphore.available_permits() > 0 {
            state.successes = round;
            return;
        }
        state.successes = 0;
        state.limit += 1;
        match state.surplus {
            0 => self.0.semaphore.add_permits(1),
            _ => state.surplus -= 1,
        }
    }

    /// An attempt that began in `epoch` met congestion.
    pub fn congested(&self, epoch: u64) {
        let mut state = self.state();
        state.congested = true;
        if state.epoch != epoch {
            return;
        }
        state.epoch += 1;
        state.successes = 0;
        let limit = (state.limit * 2 / 3).max(1);
        let sunk = state.limit - limit;
        state.limit = limit;
        state.surplus += sunk - self.0.semaphore.forget_permits(sunk);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.concurrency.state();
        if state.surplus > 0
            && let Some(permit) = self.permit.take()
        {
            state.surplus -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use proptest::prelude::*;

    use super::*;

    /// All permits that can be had now.
    fn take_all(concurrency: &Concurrency) -> Vec<Permit> {
        std::iter::from_fn(|| concurrency.permit().now_or_never()).collect()
    }

    #[test]
    fn it_grows_with_success_and_sinks_once_for_one_congestion() {
        let concurrency = Concurrency::new(16);
        let mut held = take_all(&concurrency);
        while concurrency.limit() < 16 {
            concurrency.succeeded();
            held.extend(take_all(&concurrency));
        }
        assert_eq!(held.len(), 16);
        let epoch = concurrency.epoch();
        for _ in 0..16 {
            concurrency.congested(epoch);
        }
        assert_eq!(concurrency.limit(), 10);
        drop(held);
        assert_eq!(take_all(&concurrency).len(), 10);
    }

    #[test]
    fn after_congestion_it_grows_by_one_a_round() {
        let concurrency = Concurrency::new(8);
        concurrency.congested(0);
        let _held = take_all(&concurrency);
        assert_eq!(concurrency.limit(), 2);
        concurrency.succeeded();
        assert_eq!(concurrency.limit(), 2);
        concurrency.succeeded();
        assert_eq!(concurrency.limit(), 3);
    }

    #[test]
    fn idle_success_does_not_raise_the_limit() {
        let concurrency = Concurrency::new(8);
        for _ in 0..100 {
            concurrency.succeeded();
        }
        assert_eq!(concurrency.limit(), 4);
    }

    proptest! {
        /// Whatever happens, exactly `limit` permits can be out once all have come back, and the
        /// limit stays within its bounds.
        #[test]
        fn permits_are_conserved(max in 1usize..12, steps in prop::collection::vec(0u8..4, 0..80)) {
            let concurrency = Concurrency::new(max);
            let mut held = Vec::new();
            for step in steps {
                match step {
                    0 => held.extend(concurrency.permit().now_or_never()),
                    1 => { held.pop(); }
                    2 => concurrency.succeeded(),
                    _ => concurrency.congested(concurrency.epoch()),
                }
                prop_assert!((1..=max).contains(&concurrency.limit()));
            }
            drop(held);
            prop_assert_eq!(take_all(&concurrency).len(), concurrency.limit());
        }
    }
}
