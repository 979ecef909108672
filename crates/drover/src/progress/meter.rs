//! Rates, and the time left.

use drover_types::Total;

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

impl Counts {
    /// What was counted after `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            entries: self.entries - earlier.entries,
            entries_done: self.entries_done - earlier.entries_done,
            bytes: self.bytes - earlier.bytes,
            bytes_done: self.bytes_done - earlier.bytes_done,
            bytes_read: self.bytes_read - earlier.bytes_read,
            bytes_transferred: self.bytes_transferred - earlier.bytes_transferred,
            exceptions: self.exceptions - earlier.exceptions,
        }
    }
}

/// A mean over the last seconds, or over all where these are fewer.
#[derive(Clone, Copy, Debug, Default)]
struct Rate(f64);

impl Rate {
    /// Takes `amount` of the last `passed` of `measured` seconds. What happened `memory` seconds
    /// ago counts about a third.
    fn add(&mut self, amount: f64, passed: f64, measured: f64, memory: f64) {
        let weight = (1.0 - (-passed / memory).exp()).max(passed / measured).min(1.0);
        self.0 += weight * (amount / passed - self.0);
    }
}

/// Measures what is done per second, from counts at moments that the caller names.
///
/// A time left is an honest guess only while the pace is steady. So the pace is measured twice,
/// over a longer time and over the end of it: where these differ much, because small files follow
/// large ones or changed files unchanged ones, no time is named until they agree again. A pace is
/// taken from one moment at which something got done to the next, so that a slow link, which
/// acknowledges a pack a minute, has a pace too; a wait well beyond what is usual is a stall.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    last: Option<(f64, Counts)>,
    seen: f64,
    bytes: Rate,
    transferred: Rate,
    /// The last moment at which something had got done.
    moved: (f64, f64),
    /// Seconds that the paces are taken from.
    measured: f64,
    /// About the longest wait for something to get done.
    wait: f64,
    pace: Rate,
    lately: Rate,
}

/// Memory of the rates that are shown, in seconds.
const SHOWN: f64 = 15.0;
/// Below this many seconds a pace, or the lack of one, is an accident.
const ENOUGH: f64 = 5.0;
/// An entry is about as much work as this many bytes.
const ENTRY: f64 = 32.0 * 1024.0;
/// How many times the pace of late may be that of the longer time, or the other way round.
const STEADY: f64 = 1.5;

fn work(entries: u64, bytes: u64) -> f64 {
    entries as f64 * ENTRY + bytes as f64
}

impl Meter {
    /// Takes the counts at a moment, in seconds since some start.
    pub fn update(&mut self, seconds: f64, counts: &Counts) {
        let done = work(counts.entries_done, counts.bytes_done);
        match self.last {
            None => self.moved = (seconds, done),
            Some((before, last)) if seconds > before => {
                let (new, passed) = (counts.since(&last), seconds - before);
                self.seen += passed;
                self.bytes.add(new.bytes_done as f64, passed, self.seen, SHOWN);
                self.transferred.add(new.bytes_transferred as f64, passed, self.seen, SHOWN);
                if done > self.moved.1 {
                    self.progress(seconds, done);
                }
            }
            Some(_) => return,
        }
        self.last = Some((seconds, *counts));
    }

    fn progress(&mut self, seconds: f64, done: f64) {
        let (passed, amount) = (seconds - self.moved.0, done - self.moved.1);
        self.moved = (seconds, done);
        self.measured += passed;
        self.wait = passed.max(self.wait * 0.9);
        let memory = (self.measured / 4.0).clamp(20.0, 120.0).max(4.0 * self.wait);
        self.pace.add(amount, passed, self.measured, memory);
        self.lately.add(amount, passed, self.measured, memory / 4.0);
    }

    /// Bytes of files done per second.
    pub fn bytes_per_second(&self) -> u64 {
        self.bytes.0 as u64
    }

    /// Bytes sent or received per second.
    pub fn transferred_per_second(&self) -> u64 {
        self.transferred.0 as u64
    }

    /// Whether there is a pace to foretell by.
    fn is_steady(&self) -> bool {
        let (Rate(pace), Rate(lately)) = (self.pace, self.lately);
        let waited = self.last.map_or(0.0, |(now, _)| now - self.moved.0);
        self.measured >= ENOUGH
            && waited <= (3.0 * self.wait).max(ENOUGH)
            && lately <= pace * STEADY
            && pace <= lately * STEADY
    }

    /// Seconds left until all of `total` is done; `None` while the pace is not steady.
    pub fn left(&self, counts: &Counts, total: &Total) -> Option<f64> {
        let entries = total.entries.saturating_sub(counts.entries_done);
        let bytes = total.bytes.saturating_sub(counts.bytes_done);
        match work(entries, bytes) {
            0.0 => Some(0.0),
            left => self.is_steady().then(|| left / self.pace.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use drover_types::Basis;

    use super::*;

    fn done(entries_done: u64, bytes_done: u64) -> Counts {
        Counts { entries_done, bytes_done, ..Default::default() }
    }

    fn total(entries: u64, bytes: u64) -> Total {
        Total { entries, bytes, basis: Basis::Snapshot }
    }

    /// A meter that is told once a second what `pace` says was done by then.
    fn measured(seconds: u32, pace: impl Fn(u64) -> Counts) -> Meter {
        let mut meter = Meter::default();
        (0..=seconds).for_each(|second| meter.update(second.into(), &pace(second.into())));
        meter
    }

    #[test]
    fn no_time_is_named_after_a_moment() {
        let pace = |second| done(0, second * 1000);
        assert_eq!(measured(4, pace).left(&pace(4), &total(0, 100_000)), None);
        assert!(measured(5, pace).left(&pace(5), &total(0, 100_000)).is_some());
    }

    #[test]
    fn a_steady_pace_gives_the_time_that_is_left_by_entries_and_bytes() {
        let pace = |second| done(second * 10, second * 1000);
        let meter = measured(60, pace);
        let left = meter.left(&pace(60), &total(700, 70_000)).unwrap();
        assert!((left - 10.0).abs() < 0.1, "{left}");
        assert_eq!(meter.left(&pace(60), &total(600, 60_000)), Some(0.0));
        assert_eq!(meter.bytes_per_second(), 1000);
    }

    #[test]
    fn a_stall_takes_the_time_back() {
        let pace = |second: u64| done(0, second.min(60) * 1000);
        assert!(measured(60, pace).left(&pace(60), &total(0, 90_000)).is_some());
        assert_eq!(measured(75, pace).left(&pace(75), &total(0, 90_000)), None);
    }

    #[test]
    fn another_pace_is_named_once_it_is_learnt() {
        // Unchanged files fly by; what follows has to be read.
        let pace = |second: u64| done(0, second.min(10) * 100_000 + second.max(10) * 100);
        let all = total(0, pace(300).bytes_done + 10_000);
        assert_eq!(measured(15, pace).left(&pace(15), &all), None);
        let left = measured(300, pace).left(&pace(300), &all).unwrap();
        assert!((80.0..=105.0).contains(&left), "{left}");
    }

    #[test]
    fn a_link_that_acknowledges_a_pack_a_minute_becomes_steady() {
        let pace = |second: u64| done(0, second / 60 * 32_000_000);
        let meter = measured(1800, pace);
        let left = meter.left(&pace(1800), &total(0, 1_920_000_000)).unwrap();
        assert!((1790.0..=1810.0).contains(&left), "{left}");
    }
}
