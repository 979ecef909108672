//! Passes one after the other: until they become no shorter, or for as long as nobody stops them.

use std::time::{Duration, Instant};

use drover_plan::Age;
use drover_report::{Failure, SyncReport, SyncRound, format};

use crate::{context::Context, error::Error, output::Answer};

/// A pass that takes at least this part of the one before has converged.
const SETTLED: f64 = 0.9;
/// A pass that takes more than this, and a second, longer than the one before has grown.
const GROWN: f64 = 1.25;
/// So many that have grown, one after the other, never end.
const GROWING: usize = 3;

/// When a pass is followed by another.
#[derive(Clone, Copy, Debug, Default)]
pub struct Repeats {
    /// From the beginning of one to that of the next.
    pub every: Option<Age>,
    /// Until one takes as long as the one before.
    pub until_converged: bool,
}

/// A pass over each source.
pub struct Round {
    pub report: SyncReport,
    pub failed: Option<Failure>,
}

/// What the passes so far come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Shorter,
    Settled,
    Endless,
}

impl Repeats {
    /// Runs `once` as often as is asked for. What fails ends it, but for exceptions.
    pub fn run(
        self,
        context: &Context,
        mut once: impl FnMut(&[SyncRound]) -> Result<Round, Error>,
    ) -> Result<Answer, Error> {
        let single = self.every.is_none() && !self.until_converged;
        let mut rounds: Vec<SyncRound> = Vec::new();
        loop {
            let began = Instant::now();
            let Round { mut report, failed } = once(&rounds)?;
            if single {
                report.rounds.clear();
            }
            if failed.is_some() || single {
                return Ok(answer(report, failed));
            }
            rounds.clone_from(&report.rounds);
            if let Some(last) = rounds.last() {
                let e = last.entries;
                context.progress.note(&format!(
                    "pass {} took {}: {} new, {} changed, {} removed, {} sent",
                    rounds.len(),
                    format::duration(last.seconds),
                    e.new,
                    e.changed + e.metadata,
                    e.removed,
                    format::bytes(last.uploaded),
                ));
            }
            let seconds: Vec<f64> = rounds.iter().map(|round| round.seconds).collect();
            match course(&seconds) {
                Course::Settled if self.until_converged => return Ok(answer(report, None)),
                Course::Endless if self.until_converged => {
                    let why = "passes become longer and longer: as much changes as is sent";
                    let failure = Error::Gate(why.to_owned()).failure();
                    return Ok(Answer::failed(report, failure));
                }
                _ => {}
            }
            let wait = self.every.map_or(Duration::ZERO, |every| every.0);
            if !context.wait(wait.saturating_sub(began.elapsed())) {
                // Between two passes there is nothing to go on with.
                return Ok(answer(report, None));
            }
        }
    }
}

fn answer(report: SyncReport, failed: Option<Failure>) -> Answer {
    let exceptions = report.has_exceptions();
    match failed {
        Some(failure) => Answer::failed(report, failure),
        None => Answer::with_exceptions(report, exceptions),
    }
}

fn course(seconds: &[f64]) -> Course {
    let grown = |pair: &[f64]| pair[1] > pair[0] * GROWN + 1.0;
    let growing = seconds.windows(2).rev().take_while(|pair| grown(pair)).count();
    match seconds {
        _ if growing >= GROWING => Course::Endless,
        [.., before, last] if growing == 0 && *last >= before * SETTLED => Course::Settled,
        _ => Course::Shorter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_end_where_they_become_no_shorter() {
        assert_eq!(course(&[]), Course::Shorter);
        assert_eq!(course(&[100.0]), Course::Shorter);
        assert_eq!(course(&[100.0, 20.0]), Course::Shorter);
        assert_eq!(course(&[100.0, 20.0, 19.0]), Course::Settled);
        assert_eq!(course(&[0.2, 0.3]), Course::Settled, "noise is no growth");
        assert_eq!(course(&[100.0, 20.0, 30.0]), Course::Shorter);
        assert_eq!(course(&[100.0, 130.0, 180.0]), Course::Shorter);
        assert_eq!(course(&[100.0, 130.0, 180.0, 250.0]), Course::Endless);
    }
}
