//! How long the source will rest, from the passes that were made and the last rehearsal.

use drover_ops::cutover::{Move, Pass, seconds};
use drover_plan::{
    Cutover,
    forecast::{Change, Pace, SPREAD, SWITCH, quantile},
};
use drover_report::Likely;

/// So many passes tell how much changes.
pub const LOOKED_AT: usize = 20;
/// The fact of a rehearsal: seconds from the freeze's first scan to the end of verification.
pub const REHEARSED: &str = "seconds";

/// What is foretold.
#[derive(Clone, Debug, Default)]
pub struct Foretold {
    pub bytes_per_hour: Likely,
    pub items_per_hour: Likely,
    pub load: Likely,
    /// Nothing where there are too few passes.
    pub converges: Option<bool>,
    pub freeze: Likely,
    /// Seconds of the delta passes to come, at half of all cases.
    pub passes: Vec<f64>,
    pub basis: String,
}

/// Reckons.
pub fn foretell(passes: &[Pass], plan: &Cutover, rehearsal: Option<&Move>) -> Foretold {
    let deltas: Vec<(&Pass, f64, f64, f64)> = passes
        .windows(2)
        .filter_map(|pair| {
            let (items, bytes) = pair[1].changed?;
            let hours = seconds(pair[0].ended, pair[1].ended) / 3600.0;
            Some((&pair[1], items as f64, bytes as f64, hours.max(1e-6)))
        })
        .collect();
    let (Some(first), Some((last, ..))) = (passes.first(), deltas.last()) else {
        return Foretold {
            basis: "a single pass says nothing of how much changes: take another".to_owned(),
            ..Foretold::default()
        };
    };
    let switch = plan.switch.map_or(SWITCH, |age| age.0.as_secs_f64());
    let walk = deltas.iter().map(|(pass, ..)| pass.seconds()).fold(f64::MAX, f64::min);
    // A pace that passes without changes cannot show is that of the first.
    let pace = |of: fn(&(&Pass, f64, f64, f64)) -> f64, whole: u64| {
        let busy = |delta: &&(&Pass, f64, f64, f64)| delta.0.seconds() - walk > 0.5;
        let (amount, time) =
            deltas.iter().filter(busy).fold((0.0, 0.0), |(amount, time), delta| {
                (amount + of(delta), time + delta.0.seconds() - walk)
            });
        let by_first = whole as f64 / first.seconds().max(1e-3);
        if amount > 0.0 { (amount / time).max(by_first) } else { by_first }
    };
    let pace = Pace {
        walk,
        bytes: pace(|delta| delta.2, first.bytes),
        items: pace(|delta| delta.1, first.entries),
        verify: first.bytes as f64 / first.seconds().max(1e-3),
        switch,
    };
    let rates = |of: fn(&(&Pass, f64, f64, f64)) -> f64, part: f64| {
        let mut rates: Vec<f64> = deltas.iter().map(|delta| of(delta) / delta.3).collect();
        quantile(&mut rates, part)
    };
    let hourly = |part: f64| (rates(|delta| delta.2, part), rates(|delta| delta.1, part));
    let (usual, busy) = (hourly(0.5), hourly(0.9));
    let change =
        |(bytes, items): (f64, f64)| Change { bytes: bytes / 3600.0, items: items / 3600.0 };
    let (f50, f90) = (
        pace.forecast(last.seconds(), change(usual)),
        pace.forecast(last.seconds() * SPREAD, change(busy)),
    );
    // The freeze is shown by two walks before the last pass.
    let mut p50 = f50.freeze.map(|freeze| freeze + 2.0 * walk);
    let mut p90 = f90.freeze.map(|freeze| (freeze - switch + 2.0 * walk) * SPREAD + switch);
    let mut basis = format!(
        "{} delta passes: the walk is that of the shortest, the pace that of those that sent most",
        deltas.len()
    );
    let rehearsed = rehearsal
        .and_then(|rehearsal| rehearsal.facts.get(REHEARSED)?.parse::<f64>().ok())
        .filter(|seconds| seconds.is_finite());
    if let Some(rehearsed) = rehearsed {
        let whole = rehearsed + switch;
        p50 = p50.map(|p50| p50.max(whole));
        p90 = p90.map(|p90| p90.max(rehearsed * SPREAD + switch));
        basis.push_str("; no less than the last rehearsal took");
    }
    let likely = |a: f64, b: f64| Likely { p50: Some(a), p90: Some(b) };
    Foretold {
        bytes_per_hour: likely(usual.0, busy.0),
        items_per_hour: likely(usual.1, busy.1),
        load: likely(pace.load(change(usual)), pace.load(change(busy))),
        converges: Some(f50.freeze.is_some() && f90.freeze.is_some()),
        freeze: Likely { p50, p90 },
        passes: f50.passes,
        basis,
    }
}

/// What is foretold of several in one freeze: they take turns, and are switched at once.
pub fn together<'f>(all: impl Iterator<Item = &'f Foretold>, plan: &Cutover) -> Foretold {
    let all: Vec<_> = all.collect();
    if let [one] = &*all {
        return (*one).clone();
    }
    let switch = plan.switch.map_or(SWITCH, |age| age.0.as_secs_f64());
    let sum = |of: fn(&Likely) -> Option<f64>| {
        let rests: Option<Vec<_>> =
            all.iter().map(|one| of(&one.freeze).map(|freeze| freeze - switch)).collect();
        rests.map(|rests| rests.iter().sum::<f64>() + switch)
    };
    let converges: Option<Vec<bool>> = all.iter().map(|one| one.converges).collect();
    Foretold {
        freeze: Likely { p50: sum(|likely| likely.p50), p90: sum(|likely| likely.p90) },
        converges: converges.map(|all| all.iter().all(|converges| *converges)),
        basis: "the sum of the sources, which take turns".to_owned(),
        ..Foretold::default()
    }
}

#[cfg(test)]
mod tests {
    use drover_types::{SnapshotId, Timestamp};

    use super::*;

    /// A pass that began at an hour and took so long, with what had changed.
    fn pass(hour: i64, seconds: i64, bytes: u64, changed: Option<(u64, u64)>) -> Pass {
        let at = |seconds| Timestamp { seconds, nanos: 0 };
        Pass {
            snapshot: SnapshotId([0; 32]),
            started: at(hour * 3600),
            ended: at(hour * 3600 + seconds),
            host: String::new(),
            operator: String::new(),
            entries: 1000,
            bytes,
            exceptions: 0,
            changed,
        }
    }

    const GIB: u64 = 1 << 30;

    #[test]
    fn several_take_turns_and_are_switched_once() {
        let plan = Cutover { switch: Some("60 seconds".parse().unwrap()), ..Cutover::default() };
        let of = |p50, p90| Foretold {
            freeze: Likely { p50, p90 },
            converges: p50.map(|_| true),
            ..Foretold::default()
        };
        let (a, b) = (of(Some(100.0), Some(150.0)), of(Some(80.0), Some(90.0)));
        let freeze = together([&a, &b].into_iter(), &plan).freeze;
        assert_eq!((freeze.p50, freeze.p90), (Some(120.0), Some(180.0)));
        let unknown = together([&a, &of(None, None)].into_iter(), &plan);
        assert_eq!((unknown.freeze, unknown.converges), (Likely::default(), None));
    }

    #[test]
    fn one_pass_says_nothing() {
        let foretold = foretell(&[pass(0, 600, GIB, None)], &Cutover::default(), None);
        assert_eq!(foretold.freeze, Likely::default());
        assert_eq!(foretold.converges, None);
    }

    #[test]
    fn a_source_that_changes_faster_than_it_is_sent_never_converges() {
        let passes = [
            pass(0, 3600, 10 * GIB, None),
            pass(1, 3600, 20 * GIB, Some((900, 20 * GIB))),
            pass(2, 3600, 40 * GIB, Some((900, 40 * GIB))),
        ];
        let foretold = foretell(&passes, &Cutover::default(), None);
        assert_eq!(foretold.converges, Some(false));
        assert_eq!(foretold.freeze, Likely::default());
    }

    #[test]
    fn a_quiet_source_rests_for_its_walks_and_the_switch() {
        let passes = [
            pass(0, 3600, 100 * GIB, None),
            pass(2, 60, 100 * GIB, Some((10, GIB / 100))),
            pass(4, 62, 100 * GIB, Some((10, GIB / 100))),
        ];
        let foretold = foretell(&passes, &Cutover::default(), None);
        assert_eq!(foretold.converges, Some(true));
        let p50 = foretold.freeze.p50.unwrap();
        assert!((480.0..500.0).contains(&p50), "{p50}");
        assert!(foretold.freeze.p90.unwrap() > p50);
        let mut rehearsal =
            drover_ops::cutover::step(drover_ops::cutover::State::Rehearsed, "pacs", "someone");
        rehearsal.facts.insert(REHEARSED.into(), "900".into());
        let foretold = foretell(&passes, &Cutover::default(), Some(&rehearsal));
        assert_eq!(foretold.freeze.p50, Some(1200.0));
    }
}
