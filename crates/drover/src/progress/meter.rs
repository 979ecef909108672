//! Rates, and the time left.

/// Everything that is counted, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub entries: u64,
    pub entries_done: u64,
    pub bytes: u64,
    pub bytes_done: u64,
    pub bytes_read: u64,
    pub bytes_transferred: u64,
    pub exceptions: u64,
}

/// Smooths what was done per second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    last: Option<(f64, Counts)>,
    measured: f64,
    entries: f64,
    bytes: f64,
    transferred: f64,
}

/// What happened this many seconds ago counts about a third.
const MEMORY: f64 = 15.0;
/// Below this many seconds a rate is an accident.
const ENOUGH: f64 = 3.0;

impl Meter {
    /// Takes the counts at a moment, in seconds since some start.
    pub fn update(&mut self, seconds: f64, counts: &Counts) {
        if let Some((before, last)) = self.last {
            let passed = seconds - before;
            if passed <= 0.0 {
                return;
            }
            self.measured += passed;
            // A mean over what was measured, until that is longer than the memory.
            let weight = (1.0 - (-passed / MEMORY).exp()).max(passed / self.measured).min(1.0);
            let smooth = |rate: &mut f64, now: u64, then: u64| {
                *rate += weight * (now.saturating_sub(then) as f64 / passed - *rate);
            };
            smooth(&mut self.entries, counts.entries_done, last.entries_done);
            smooth(&mut self.bytes, counts.bytes_done, last.bytes_done);
            smooth(&mut self.transferred, counts.bytes_transferred, last.bytes_transferred);
        }
        self.last = Some((seconds, *counts));
    }

    /// Bytes of files done per second.
    pub fn bytes_per_second(&self) -> u64 {
        self.bytes as u64
    }

    /// Bytes sent or received per second.
    pub fn transferred_per_second(&self) -> u64 {
        self.transferred as u64
    }

    /// Seconds left of `total` entries and bytes; `None` where nobody can know yet. Files and
    /// bytes have each their own pace, and the slower one decides.
    pub fn left(&self, counts: &Counts, total: Option<(u64, u64)>) -> Option<f64> {
        let (entries, bytes) = total?;
        if self.measured < ENOUGH {
            return None;
        }
        let left = |total: u64, done: u64, rate: f64| match total.saturating_sub(done) {
            0 => Some(0.0),
            _ if rate < 1e-3 => None,
            left => Some(left as f64 / rate),
        };
        let by_entries = left(entries, counts.entries_done, self.entries)?;
        Some(by_entries.max(left(bytes, counts.bytes_done, self.bytes)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(entries_done: u64, bytes_done: u64) -> Counts {
        Counts { entries_done, bytes_done, ..Default::default() }
    }

    #[test]
    fn no_time_left_before_the_total_is_known_or_enough_is_measured() {
        let mut meter = Meter::default();
        meter.update(0.0, &done(0, 0));
        meter.update(1.0, &done(10, 1000));
        assert_eq!(meter.left(&done(10, 1000), Some((20, 2000))), None);
        meter.update(4.0, &done(40, 4000));
        assert_eq!(meter.left(&done(40, 4000), None), None);
        assert!(meter.left(&done(40, 4000), Some((80, 8000))).is_some());
    }

    #[test]
    fn a_steady_pace_gives_the_time_that_is_left_and_the_slower_decides() {
        let mut meter = Meter::default();
        for second in 0u32..=60 {
            meter
                .update(f64::from(second), &done(u64::from(second) * 10, u64::from(second) * 1000));
        }
        let now = done(600, 60_000);
        let left = |total| meter.left(&now, Some(total)).unwrap();
        assert!((left((700, 60_000)) - 10.0).abs() < 0.1);
        assert!((left((700, 90_000)) - 30.0).abs() < 0.1);
        assert_eq!(left((600, 60_000)), 0.0);
        assert_eq!(meter.bytes_per_second(), 1000);
    }

    #[test]
    fn a_stalled_run_promises_nothing_and_a_new_pace_is_learnt() {
        let mut meter = Meter::default();
        meter.update(0.0, &done(0, 0));
        meter.update(100.0, &done(0, 0));
        assert_eq!(meter.left(&done(0, 0), Some((5, 5))), None);
        for second in 101u32..=200 {
            meter.update(f64::from(second), &done(0, u64::from(second - 100) * 500));
        }
        let left = meter.left(&done(0, 50_000), Some((0, 100_000))).unwrap();
        assert!((95.0..105.0).contains(&left), "{left}");
    }
}
