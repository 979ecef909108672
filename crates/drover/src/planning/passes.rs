//! What the passes that were made foretell, where the repository has some.

use drover_ops::cutover::{Chain, passes};
use drover_plan::Cutover;
use drover_report::{Likely, PlanForecastSource, Text};

use super::{Looked, text};
use crate::{
    context::Context,
    cutover::{Foretold, LOOKED_AT, foretell, last_rehearsal},
    error::Error,
    place::Place,
    reading,
};

/// What is known of one source.
pub struct Past {
    source: Text,
    /// How many passes there are.
    count: usize,
    foretold: Foretold,
}

/// What the passes over all sources come to, and why where that is nothing.
pub enum Passes {
    /// Each source has several.
    All(Vec<Past>),
    /// Not all have; what there is instead has to do.
    Not(String),
}

/// Reads the passes of each source. Nothing is asked of people for it.
pub fn ask(place: &Place, looked: &[Looked], snapshots: bool, context: &Context) -> Passes {
    if !snapshots {
        return Passes::Not(String::new());
    }
    if !context.has_secret() {
        return Passes::Not(
            "the repository has passes, and its password would tell more".to_owned(),
        );
    }
    match read(place, looked, context) {
        Ok(found) => {
            let lacks: Vec<_> = found
                .iter()
                .filter(|past| past.foretold.converges.is_none())
                .map(|past| past.source.as_str())
                .collect();
            match (lacks.is_empty(), found.is_empty()) {
                (_, true) => Passes::Not(String::new()),
                (true, _) => Passes::All(found),
                (false, _) => Passes::Not(format!(
                    "too few passes of {} to tell it from those",
                    lacks.join(", ")
                )),
            }
        }
        Err(error) => {
            Passes::Not(format!("the passes cannot be read: {}", error.failure().message))
        }
    }
}

fn read(place: &Place, looked: &[Looked], context: &Context) -> Result<Vec<Past>, Error> {
    let mut session = reading::open(place, context)?;
    let chain = Chain::load(&session)?;
    let cutover = place.plan.as_ref().map(|plan| plan.cutover.clone()).unwrap_or_default();
    let mut found = Vec::new();
    for source in looked.iter().filter(|source| source.estimate.is_some()) {
        let asked = source.inventory.source.as_str();
        // A source without a name is known by its place.
        let name = match session.find("latest", Some(asked)) {
            Ok(newest) => newest.details.source.clone(),
            Err(_) => asked.to_owned(),
        };
        let passes = passes(&mut session, &name, LOOKED_AT)?;
        let rehearsal = last_rehearsal(&chain, &name).map(|taken| &taken.to);
        found.push(Past {
            source: source.inventory.source.clone(),
            count: passes.len(),
            foretold: foretell(&passes, &cutover, rehearsal),
        });
    }
    Ok(found)
}

/// All sources, one after the other: they share the link.
#[derive(Debug, Default)]
pub struct Sum {
    pub basis: String,
    pub bytes_per_day: Likely,
    pub items_per_day: Likely,
    pub load: Likely,
    pub converges: bool,
    pub freeze: Likely,
    pub passes: Vec<f64>,
    /// The same at nine in ten; empty where that is not told.
    pub passes_p90: Vec<f64>,
    pub sources: Vec<PlanForecastSource>,
}

/// Adds up.
pub fn sum(found: &[Past], plan: Option<&Cutover>) -> Sum {
    const HOURS: f64 = 24.0;
    let switch = plan
        .and_then(|cutover| cutover.switch)
        .map_or(drover_plan::forecast::SWITCH, |age| age.0.as_secs_f64());
    let add = |of: &dyn Fn(&Foretold) -> Likely, times: f64| {
        let all = |part: fn(Likely) -> Option<f64>| {
            found.iter().try_fold(0.0, |sum, past| Some(sum + part(of(&past.foretold))? * times))
        };
        Likely { p50: all(|likely| likely.p50), p90: all(|likely| likely.p90) }
    };
    let load = add(&|foretold| foretold.load, 1.0);
    let converges = found.iter().all(|past| past.foretold.converges == Some(true))
        && load.p90.is_some_and(|load| load < 1.0);
    // Each freeze has a switch of its own; together they have one.
    let once = |freeze: Option<f64>| freeze.map(|sum| sum - switch * (found.len() as f64 - 1.0));
    let freeze = add(&|foretold| foretold.freeze, 1.0);
    let ends = |load: Option<f64>| load.is_some_and(|load| load < 1.0);
    let freeze = Likely {
        p50: once(freeze.p50).filter(|_| ends(load.p50)),
        p90: once(freeze.p90).filter(|_| ends(load.p90)),
    };
    let longest = found.iter().map(|past| past.foretold.passes.len()).max().unwrap_or(0);
    let pass = |at: usize| {
        let seconds =
            |past: &Past| past.foretold.passes.get(at).or(past.foretold.passes.last()).copied();
        found.iter().filter_map(seconds).sum()
    };
    let each = |past: &Past| PlanForecastSource {
        source: past.source.clone(),
        passes: past.count as u64,
        basis: text(&past.foretold.basis),
        load: past.foretold.load,
        converges: past.foretold.converges == Some(true),
        freeze: past.foretold.freeze,
    };
    let basis = match found {
        [one] => one.foretold.basis.clone(),
        several => format!("the delta passes of each of the {} sources, added up", several.len()),
    };
    Sum {
        basis,
        bytes_per_day: add(&|foretold| foretold.bytes_per_hour, HOURS),
        items_per_day: add(&|foretold| foretold.items_per_hour, HOURS),
        load,
        converges,
        freeze,
        passes: (0..if converges { longest } else { 0 }).map(pass).collect(),
        passes_p90: Vec::new(),
        sources: found.iter().map(each).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(source: &str, load: f64, freeze: Option<f64>) -> Past {
        let likely = |value: Option<f64>| Likely { p50: value, p90: value };
        let foretold = Foretold {
            bytes_per_hour: likely(Some(10.0)),
            items_per_hour: likely(Some(1.0)),
            load: likely(Some(load)),
            converges: Some(freeze.is_some()),
            freeze: likely(freeze),
            passes: vec![60.0, 30.0],
            basis: "2 delta passes".to_owned(),
        };
        Past { source: source.into(), count: 3, foretold }
    }

    #[test]
    fn sources_add_up_and_share_one_switch() {
        let sum = sum(&[past("a", 0.2, Some(400.0)), past("b", 0.3, Some(500.0))], None);
        assert_eq!(sum.freeze.p50, Some(600.0));
        assert_eq!(sum.load.p90, Some(0.5));
        assert_eq!(sum.bytes_per_day.p50, Some(480.0));
        assert_eq!((sum.converges, sum.passes), (true, vec![120.0, 60.0]));
    }

    #[test]
    fn a_freeze_that_only_busy_days_lack_is_told() {
        let mut often = past("a", 0.5, Some(400.0));
        (often.foretold.load.p90, often.foretold.freeze.p90) = (Some(1.2), None);
        often.foretold.converges = Some(false);
        let sum = sum(&[often], None);
        assert_eq!(sum.freeze, Likely { p50: Some(400.0), p90: None });
        assert!(!sum.converges);
    }

    #[test]
    fn what_does_not_converge_has_no_freeze_and_is_named() {
        for other in [past("b", 1.4, None), past("b", 0.9, Some(500.0))] {
            let sum = sum(&[past("a", 0.2, Some(400.0)), other], None);
            assert_eq!(sum.freeze, Likely::default());
            assert!(!sum.converges && sum.passes.is_empty());
        }
        let sum = sum(&[past("a", 0.2, Some(400.0)), past("b", 1.4, None)], None);
        let forecast = drover_report::PlanForecast { sources: sum.sources, ..Default::default() };
        let blockers = crate::planning::ledger::endless(&forecast);
        assert_eq!(blockers.len(), 1);
        assert_eq!(blockers[0].source.as_str(), "b");
        assert!(blockers[0].what.as_str().contains("140 %"), "{blockers:?}");
    }
}
