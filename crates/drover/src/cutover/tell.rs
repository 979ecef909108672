//! What is told of a cutover: lines and steps as they happen, and where the sources stand in the end.

use std::time::Instant;

use drover_ops::cutover::State;
use drover_report::{CutoverAccepted, CutoverEvent, CutoverSource, CutoverStep, Text, format};
use drover_types::{Exception, Timestamp};

use super::Cutover;
use crate::error::Error;

impl Cutover<'_> {
    /// A line for people, wherever they look.
    pub(super) fn say(&self, text: &str) {
        self.say_of(self.name(), text);
    }

    pub(super) fn say_of(&self, name: &str, text: &str) {
        let line = format!("{name}: {text}");
        self.context.progress.note(&line);
        if let Some(live) = &self.live {
            live.note(&line);
        }
    }

    pub(super) fn show_state(&self, state: State) {
        if let Some(live) = &self.live {
            let deadline = self.end_of_rest().filter(|_| state.is_frozen());
            live.state(state.as_str(), deadline.map(|deadline| deadline.seconds));
        }
    }

    /// When timers thaw: of several, some may have been thawed already.
    fn end_of_rest(&self) -> Option<Timestamp> {
        let part = self.parts.iter().find(|part| self.stands_of(part).is_frozen())?;
        super::deadline(&part.facts)
    }

    /// Does something, and tells how long it took and what came of it.
    pub(super) fn step(
        &mut self,
        name: &str,
        run: impl FnOnce(&mut Self) -> Result<String, Error>,
    ) -> Result<(), Error> {
        self.step_of(self.name(), name, run)
    }

    /// The same, of all of them.
    pub(super) fn once(
        &mut self,
        name: &str,
        run: impl FnOnce(&mut Self) -> Result<String, Error>,
    ) -> Result<(), Error> {
        let names = self.names();
        self.step_of(&names, name, run)
    }

    fn step_of(
        &mut self,
        source: &str,
        name: &str,
        run: impl FnOnce(&mut Self) -> Result<String, Error>,
    ) -> Result<(), Error> {
        self.say_of(source, &format!("{name} …"));
        if let Some(live) = &self.live {
            live.step(name, None);
        }
        let started = Instant::now();
        let result = run(self);
        let (outcome, detail) = match &result {
            Ok(detail) => ("done".to_owned(), detail.clone()),
            Err(error) => ("failed".to_owned(), error.to_string()),
        };
        let seconds = started.elapsed().as_secs_f64();
        let colon = if detail.is_empty() { "" } else { ": " };
        let took = format::duration(seconds);
        self.say_of(source, &format!("{name} {outcome} after {took}{colon}{detail}"));
        if let Some(live) = &self.live {
            live.step(name, Some((seconds, &outcome)));
        }
        self.report.steps.push(CutoverStep {
            source: Text::from(source),
            name: Text::from(name),
            seconds,
            outcome: Text::from(outcome),
            detail: Text::from(detail),
        });
        result.map(drop)
    }

    /// Where they stand in all: what rests or is led somewhere counts before what works, and what is
    /// less far before what is further.
    pub(super) fn all_state(&self) -> State {
        let rank = |state: &State| {
            let quiet =
                !(state.is_frozen() || matches!(state, State::Switching | State::RollingBack));
            (quiet, *state)
        };
        let states = (0..self.parts.len()).map(|at| self.state_of(at));
        states.min_by_key(rank).unwrap_or(State::Planned)
    }

    /// Fills in where they stand and how they came there.
    pub(super) fn tell(
        &mut self,
        exceptions: &[&[Exception]],
        passes: &[usize],
    ) -> Result<(), Error> {
        let state = self.all_state();
        self.report.state = Text::from(state.as_str());
        (self.report.sources, self.report.accepted, self.report.history) = Default::default();
        self.each(|cutover| {
            let name = Text::from(cutover.name());
            let accepted = cutover.chain.accepted(cutover.name());
            let there = exceptions[cutover.at].iter().filter_map(|exception| {
                let path = exception.path.to_string();
                let operator = Text::from(*accepted.get(path.as_str())?);
                Some(CutoverAccepted { source: name.clone(), operator, path: Text::from(path) })
            });
            cutover.report.accepted.extend(there);
            let event = |taken: &drover_ops::cutover::Taken| CutoverEvent {
                source: name.clone(),
                sequence: taken.sequence,
                time: format::time(taken.time),
                state: Text::from(taken.to.state.as_str()),
                operator: Text::from(taken.to.operator.as_str()),
                host: Text::from(taken.to.host.as_str()),
                note: Text::from(taken.to.note.as_str()),
            };
            cutover.report.history.extend(cutover.chain.of(cutover.name()).map(event));
            let snapshots = &cutover.reader.history.snapshots;
            let newest = snapshots.iter().filter(|s| s.details.source == cutover.name());
            let newest = newest.max_by_key(|snapshot| snapshot.committed());
            cutover.report.sources.push(CutoverSource {
                state: Text::from(cutover.state_of(cutover.at).as_str()),
                snapshot: newest.map(|snapshot| Text::from(snapshot.id().to_string())),
                source: name,
            });
            Ok(())
        })?;
        self.report.history.sort_by_key(|event| event.sequence);
        self.report.snapshot = match &*self.report.sources {
            [one] => one.snapshot.clone(),
            _ => None,
        };
        self.report.deadline = None;
        if state.is_frozen() {
            self.report.deadline = self.end_of_rest().map(format::time);
        }
        let passes = passes.iter().min().copied().unwrap_or(0);
        self.report.next = Text::from(self.next(state, passes));
        Ok(())
    }

    /// Tells again where they stand, after something was done.
    pub fn end(&mut self) -> Result<(), Error> {
        let mut seen = Vec::new();
        self.each(|cutover| {
            let (passes, exceptions) = cutover.passes(0)?;
            seen.push((passes.len(), exceptions));
            Ok(())
        })?;
        let exceptions: Vec<_> = seen.iter().map(|seen| seen.1.as_slice()).collect();
        let passes: Vec<_> = seen.iter().map(|seen| seen.0).collect();
        self.tell(&exceptions, &passes)
    }

    fn next(&self, state: State, passes: usize) -> &'static str {
        match state {
            State::Planned => "Take the first pass: drover sync PLAN.",
            _ if passes < 2 && state < State::Freezing => {
                "Verify the first pass with drover verify PLAN, and take delta passes with drover sync \
                 PLAN --until-converged."
            }
            State::Baseline | State::Converging | State::Reverted => {
                "Rehearse: drover cutover PLAN --rehearse."
            }
            State::Rehearsed => "In the window: drover cutover PLAN.",
            State::Freezing | State::FinalPass | State::Verifying => {
                "drover cutover PLAN goes on, or finds that the timer thawed the source."
            }
            State::Switching => {
                "drover cutover PLAN goes on with the switch; drover cutover PLAN --rollback leads back."
            }
            State::CutOver => {
                "When nobody wants to go back any more: drover cutover PLAN --commit. Until then: \
                 drover cutover PLAN --rollback."
            }
            State::Committed => "Withdraw the credentials, and keep the evidence.",
            State::RollingBack => "drover cutover PLAN --rollback goes on.",
        }
    }
}
