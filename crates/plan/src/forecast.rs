//! How long passes will take, and how long the source must rest at the end.
//!
//! While a pass runs the source changes on, at `c` bytes an hour. The next pass sends what changed
//! during it. Passes become shorter until one takes little longer than its walk, if less changes than
//! is sent in the same time; else they never do. The freeze is then the walk, what changed during the
//! pass before it, its verification, and the switch.

/// What a pass and a freeze are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    /// Seconds that a walk without changes takes.
    pub walk: f64,
    /// Bytes a second from source to store.
    pub bytes: f64,
    /// Changed items a second.
    pub items: f64,
    /// Bytes a second that are verified.
    pub verify: f64,
    /// Seconds that the switch takes.
    pub switch: f64,
}

/// How fast a source changes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Change {
    /// Bytes a second.
    pub bytes: f64,
    /// Items a second.
    pub items: f64,
}

/// What passes come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forecast {
    /// Seconds of each delta pass, the first one after the baseline first. Empty where they do not
    /// become shorter.
    pub passes: Vec<f64>,
    /// Seconds of the freeze; `None` where there is no end of passes.
    pub freeze: Option<f64>,
}

/// What nine in ten cases stay within where only one measurement was made: rates of disks and links
/// differ so much from hour to hour on machines that are used.
pub const SPREAD: f64 = 1.5;
/// A switch takes so many seconds where the plan does not say.
pub const SWITCH: f64 = 300.0;
/// The most passes that are foretold.
const MOST: usize = 12;
/// Passes end when one is within this part of the one before.
const SETTLED: f64 = 0.05;

impl Pace {
    /// Seconds of a delta pass over so much.
    pub fn pass(&self, bytes: f64, items: f64) -> f64 {
        self.walk + (over(bytes, self.bytes)).max(over(items, self.items))
    }

    /// The part of the pace that changes take, of bytes or of items, whichever is more: from 1 on
    /// there is no end.
    pub fn load(&self, change: Change) -> f64 {
        over(change.bytes, self.bytes).max(over(change.items, self.items))
    }

    /// After a baseline of so many seconds.
    pub fn forecast(&self, baseline: f64, change: Change) -> Forecast {
        let after = |seconds: f64| self.pass(change.bytes * seconds, change.items * seconds);
        let mut passes = Vec::new();
        let mut last = baseline;
        while passes.len() < MOST {
            let next = after(last);
            passes.push(next);
            let settled = (last - next).abs() <= SETTLED * next.max(1.0);
            last = next;
            if settled {
                break;
            }
        }
        if self.load(change) >= 1.0 {
            return Forecast::default();
        }
        let changed = change.bytes * last;
        let freeze = after(last) + over(changed, self.verify) + self.switch;
        Forecast { passes, freeze: Some(freeze) }
    }
}

/// `amount` at `rate`; nothing takes no time.
fn over(amount: f64, rate: f64) -> f64 {
    match (amount > 0.0, rate > 0.0) {
        (false, _) => 0.0,
        (true, true) => amount / rate,
        (true, false) => f64::INFINITY,
    }
}

/// The value that `part` of the sorted values do not exceed; 0 where there are none.
pub fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let at = (values.len() as f64 * part).ceil() as usize;
    values.get(at.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PACE: Pace = Pace { walk: 60.0, bytes: 20e6, items: 500.0, verify: 100e6, switch: 120.0 };

    #[test]
    fn passes_become_shorter_down_to_the_walk() {
        let change = Change { bytes: 1e6, items: 1.0 };
        let forecast = PACE.forecast(36_000.0, change);
        assert!(forecast.passes.windows(2).all(|pair| pair[1] <= pair[0]));
        // T = walk / (1 - c/r)
        let last = forecast.passes.last().copied().expect("a pass");
        assert!((last - 60.0 / (1.0 - 0.05)).abs() < 5.0, "{forecast:?}");
        let freeze = forecast.freeze.expect("an end");
        assert!((180.0..200.0).contains(&freeze), "{freeze}");
    }

    #[test]
    fn what_changes_faster_than_it_is_sent_has_no_end() {
        for change in [Change { bytes: 20e6, items: 0.0 }, Change { bytes: 0.0, items: 600.0 }] {
            assert_eq!(PACE.forecast(100.0, change).freeze, None);
        }
        let nothing = Pace { bytes: 0.0, ..PACE };
        assert_eq!(nothing.forecast(1.0, Change { bytes: 1.0, items: 0.0 }).freeze, None);
        assert!(nothing.forecast(1.0, Change::default()).freeze.is_some());
    }

    #[test]
    fn quantiles() {
        let mut days = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(quantile(&mut days, 0.5), 3.0);
        assert_eq!(quantile(&mut days, 0.9), 5.0);
        assert_eq!(quantile(&mut [], 0.9), 0.0);
    }

    proptest! {
        #[test]
        fn more_change_is_never_a_shorter_freeze(
            baseline in 0.0..1e7_f64, bytes in 0.0..1.9e7_f64, more in 0.0..9e5_f64,
        ) {
            let freeze = |bytes| PACE.forecast(baseline, Change { bytes, items: 0.0 }).freeze;
            let (less, more) = (freeze(bytes), freeze(bytes + more));
            // Passes end when they settle, which one more of them may take.
            prop_assert!(more.is_none_or(|more| less.is_some_and(|less| more >= less * 0.9)));
        }
    }
}
