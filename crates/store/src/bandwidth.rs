//! A limit on bytes per second, shared by all transfers in one direction.
//!
//! A token bucket kept as the one time at which it is empty again: a slice of a body reserves its
//! bytes and is told when it may go. Reservations line up in the order they were made, so that
//! transfers share the rate evenly, slice by slice.

use std::{num::NonZeroU64, sync::Mutex, time::Duration};

use tokio::time::Instant;

/// The longest slice of a body, in bytes.
const SLICE: usize = 64 << 10;
/// How much of the rate may go at once after a pause.
const BURST: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Bandwidth(Mutex<State>);

#[derive(Debug)]
struct State {
    rate: Option<NonZeroU64>,
    free_at: Instant,
}

impl Bandwidth {
    pub fn new(rate: Option<NonZeroU64>) -> Self {
        Self(Mutex::new(State { rate, free_at: Instant::now() }))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic elsewhere cannot leave two plain values half written.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Another rate in bytes per second from now on; `None` for no limit.
    pub fn set(&self, rate: Option<NonZeroU64>) {
        let mut state = self.state();
        state.rate = rate;
        state.free_at = Instant::now();
    }

    /// The longest slice to reserve at once: a quarter of a second's worth, so that a slow rate
    /// is still an even one.
    pub fn slice(&self) -> usize {
        match self.state().rate {
            Some(rate) => usize::try_from(rate.get() / 4).unwrap_or(SLICE).clamp(1, SLICE),
            None => SLICE,
        }
    }

    /// Reserves `len` bytes; the time at which they may go, `None` for at once.
    pub fn reserve(&self, len: usize) -> Option<Instant> {
        let mut state = self.state();
        let rate = state.rate?;
        let now = Instant::now();
        let start = state.free_at.max(now.checked_sub(BURST).unwrap_or(now));
        state.free_at = start + Duration::from_secs_f64(len as f64 / rate.get() as f64);
        (start > now).then_some(start)
    }

    /// Waits until `len` bytes have passed, slice by slice.
    pub async fn pass(&self, mut len: u64) {
        while len > 0 && self.state().rate.is_some() {
            let slice = (self.slice() as u64).min(len);
            if let Some(at) = self.reserve(slice as usize) {
                tokio::time::sleep_until(at).await;
            }
            len -= slice;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(bytes: u64) -> Option<NonZeroU64> {
        NonZeroU64::new(bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_kept_over_many_transfers() {
        let limit = std::sync::Arc::new(Bandwidth::new(rate(1_000_000)));
        let start = Instant::now();
        let transfers: Vec<_> = (0..4)
            .map(|_| {
                let limit = limit.clone();
                tokio::spawn(async move { limit.pass(2_500_000).await })
            })
            .collect();
        for transfer in transfers {
            transfer.await.unwrap();
        }
        let seconds = start.elapsed().as_secs_f64();
        assert!((9.5..=10.1).contains(&seconds), "{seconds}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_saves_up_no_more_than_the_burst() {
        let limit = Bandwidth::new(rate(1000));
        tokio::time::advance(Duration::from_secs(3600)).await;
        let start = Instant::now();
        limit.pass(2000).await;
        assert!(start.elapsed() >= Duration::from_millis(1600), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_waits_and_a_new_rate_counts_at_once() {
        let limit = Bandwidth::new(rate(1));
        limit.reserve(1_000_000);
        limit.set(None);
        let start = Instant::now();
        limit.pass(1 << 40).await;
        limit.set(rate(100));
        limit.pass(50).await;
        assert!(start.elapsed() < Duration::from_secs(1));
    }
}
