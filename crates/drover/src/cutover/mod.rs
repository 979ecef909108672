//! A cutover: one source led from its server to its target, in a freeze of minutes.
//!
//! `gates.rs` says whether it may begin, with `stores.rs` for buckets and what ends; `forward.rs` goes
//! through freeze, last pass, verification and switch (`land.rs` lands and verifies), and gives up safely; `back.rs` goes the way back; `timer.rs`
//! thaws the source when nobody comes back. Where the source stands is a signed step in the repository
//! before anything is done there, so that whoever is killed, or another engineer's machine, goes on
//! from it.

mod back;
mod foretell;
mod forward;
mod gates;
mod land;
mod live;
mod rest;
mod stores;
mod timer;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use drover_crypt::sign::SigningKey;
use drover_ops::{
    ReaderSession, SyncOptions, WriterSession,
    audit::of_snapshot,
    cutover::{Chain, Pass, State, exceptions, passes, step},
    inspect,
};
use drover_plan::{Landing, Location, Plan};
use drover_report::{CutoverAccepted, CutoverEvent, CutoverReport, CutoverStep, Text, format};
use drover_types::{Exception, Timestamp, clock};

use crate::{
    bandwidth::Keeper,
    context::Context,
    error::Error,
    hooks::Hook,
    place::Place,
    reading,
    source::SshArgs,
    verb::{
        sync::{self, Planned},
        verify::{self, Verified},
    },
};

pub use foretell::{Foretold, LOOKED_AT, foretell};
pub use gates::last_rehearsal;
use gates::{Looked, gates};
pub use live::{Address, Live};

/// What the command line says of all steps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choices {
    /// Nobody else works on it.
    pub sole_operator: bool,
    /// It may go on without a way back.
    pub no_way_back: bool,
}

/// One source's cutover, on this machine.
pub struct Cutover<'c> {
    context: &'c Context<'c>,
    place: &'c Place,
    plan: &'c Plan,
    source: &'c drover_plan::Source,
    planned: Planned,
    plan_hash: String,
    choices: Choices,
    writer: WriterSession,
    /// Opened once: keys are derived for most of a second.
    reader: ReaderSession,
    chain: Chain,
    /// What those who go on have to know: carried from step to step.
    facts: BTreeMap<String, String>,
    /// The settings of the buckets as they were looked at last, as facts.
    settings: BTreeMap<String, String>,
    /// What is told of it.
    pub report: CutoverReport,
    /// The last verification of this run.
    verified: Option<Verified>,
    /// The page that shows it as it happens.
    pub live: Option<Live>,
}

impl<'c> Cutover<'c> {
    /// Opens the repository for reading and for writing.
    pub fn open(
        context: &'c Context<'c>,
        place: &'c Place,
        plan: (&'c Plan, PathBuf),
        source: &'c drover_plan::Source,
        ssh: &SshArgs,
        choices: Choices,
    ) -> Result<Self, Error> {
        let (plan, file) = plan;
        let bytes = fs::read(&file).map_err(|source| Error::File {
            what: "cannot read the plan",
            path: file,
            source,
        })?;
        let options = SyncOptions { operator: context.operator(), ..SyncOptions::default() };
        let planned = Planned::new(source, &options, ssh)?;
        let writer = sync::open(place, context)?;
        let reader = reading::open(place, context)?;
        let chain = Chain::load(&reader)?;
        let mut cutover = Self {
            context,
            place,
            plan,
            source,
            planned,
            plan_hash: blake3::hash(&bytes).to_hex().to_string(),
            choices,
            writer,
            reader,
            chain,
            facts: BTreeMap::new(),
            settings: BTreeMap::new(),
            report: CutoverReport {
                repository: place.text(),
                source: Text::from(source.name.as_str()),
                ..CutoverReport::default()
            },
            verified: None,
            live: None,
        };
        if let Some(last) = cutover.chain.of(source.name.as_str()).next_back()
            && last.to.state >= State::Freezing
        {
            cutover.facts = last.to.facts.clone();
        }
        Ok(cutover)
    }

    /// Keeps the plan's bandwidth for as long as what is returned lives.
    pub fn keep_bandwidth(&self) -> Option<Keeper> {
        Keeper::start(self.place, &self.writer.objects, self.context)
    }

    fn name(&self) -> &'c str {
        self.source.name.as_str()
    }

    /// Takes what is new in the repository.
    fn refresh(&mut self) -> Result<(), Error> {
        Ok(self.reader.refresh(&self.context.secret()?)?)
    }

    /// The passes so far, the last of them compared, and what the newest could not take.
    fn passes(&mut self, compared: usize) -> Result<(Vec<Pass>, Vec<Exception>), Error> {
        self.refresh()?;
        let found = passes(&mut self.reader, self.source.name.as_str(), compared)?;
        let exceptions = match found.last() {
            Some(last) => exceptions(&mut self.reader, last.snapshot)?,
            None => Vec::new(),
        };
        self.report.snapshot = found.last().map(|pass| Text::from(pass.snapshot.to_string()));
        Ok((found, exceptions))
    }

    /// Where the source stands.
    fn state(&self) -> State {
        let of_source = |name: &str| name == self.name();
        let snapshots = &self.reader.history.snapshots;
        let count = snapshots.iter().filter(|s| of_source(&s.details.source)).count();
        self.chain.state(self.name(), count)
    }

    /// The last step's state; what has no step has not begun to rest.
    fn stands(&self) -> State {
        self.chain.of(self.name()).next_back().map_or(State::Converging, |last| last.to.state)
    }

    /// Takes the next step.
    fn take(&mut self, state: State, note: &str) -> Result<(), Error> {
        let from = self.stands();
        if !from.may_become(state) {
            return Err(Error::Cutover(format!("what is {from} cannot become {state}")));
        }
        if let Some(problem) = self.chain.problems.first() {
            let (object, message) = (&problem.object, &problem.message);
            return Err(Error::Cutover(format!(
                "the chain of steps is not whole: {object}: {message}"
            )));
        }
        let mut to = step(state, self.name(), &self.context.operator());
        to.note = note.to_owned();
        to.facts = self.facts.clone();
        self.chain.take(&self.writer, to)?;
        self.say(state.as_str());
        self.show_state(state);
        Ok(())
    }

    /// A line for people, wherever they look.
    fn say(&self, text: &str) {
        let line = format!("{}: {text}", self.name());
        self.context.progress.note(&line);
        if let Some(live) = &self.live {
            live.note(&line);
        }
    }

    fn show_state(&self, state: State) {
        if let Some(live) = &self.live {
            let deadline = self.deadline().filter(|_| state.is_frozen());
            live.state(state.as_str(), deadline.map(|deadline| deadline.seconds));
        }
    }

    /// Does something, and tells how long it took and what came of it.
    fn step(
        &mut self,
        name: &str,
        run: impl FnOnce(&mut Self) -> Result<String, Error>,
    ) -> Result<(), Error> {
        self.say(&format!("{name} …"));
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
        self.say(&format!("{name} {outcome} after {}{colon}{detail}", format::duration(seconds)));
        if let Some(live) = &self.live {
            live.step(name, Some((seconds, &outcome)));
        }
        self.report.steps.push(CutoverStep {
            name: Text::from(name),
            seconds,
            outcome: Text::from(outcome),
            detail: Text::from(detail),
        });
        result.map(drop)
    }

    /// Runs one of the source's commands, where the plan says. What undoes is not interrupted.
    fn source_command(
        &self,
        name: &'static str,
        command: Option<&Vec<String>>,
        undoes: bool,
    ) -> Result<String, Error> {
        let Some(command) = command else { return Ok("no command".to_owned()) };
        let hooks = &self.source.hooks;
        let hook = Hook { name, command, source: self.name(), limit: hooks.timeout.0 };
        let cancel = (!undoes).then_some(&self.context.cancel);
        let (ran, result) = hook.run_on(hooks.on, &self.planned.origin, self.context, cancel);
        result.map(|()| last_line(ran.output.as_str()))
    }

    /// Runs one of the cutover's own commands, here.
    fn command(&self, name: &'static str, command: Option<&Vec<String>>) -> Result<String, Error> {
        let Some(command) = command else { return Ok("no command".to_owned()) };
        let limit = self.plan.cutover.hook_timeout.0;
        let hook = Hook { name, command, source: self.name(), limit };
        let (ran, result) = hook.run(Some(&self.context.cancel));
        result.map(|()| last_line(ran.output.as_str()))
    }

    /// Where this machine lands, and what is added to it: several sources lie beside one another.
    fn lands_at(&self) -> Option<(&'c Location, Option<&'c str>)> {
        let here = self.plan.cutover.landing == Landing::Here;
        let target = self.plan.target.as_ref().filter(|_| here)?;
        Some((&target.url, (self.plan.sources.len() > 1).then_some(self.name())))
    }

    /// The target's directory, where this machine lands it.
    fn target(&self) -> Option<PathBuf> {
        let (Location::Directory(target), beside) = self.lands_at()? else { return None };
        Some(beside.map_or_else(|| target.clone(), |name| target.join(name)))
    }

    /// The target's prefix, where this machine lands objects in a bucket.
    fn bucket(&self) -> Option<String> {
        let (Location::Cloud(url), beside) = self.lands_at()? else { return None };
        let within = |name| format!("{}/{name}", url.trim_end_matches('/'));
        Some(beside.map_or_else(|| url.clone(), within))
    }

    /// The source's directory, as it can be written from here.
    fn write_back(&self) -> Option<PathBuf> {
        let here = self.planned.origin.directory().map(PathBuf::from);
        self.plan.cutover.write_back.clone().or(here)
    }

    /// Looks at all gates, and where the source stands.
    pub fn look(&mut self) -> Result<(), Error> {
        let (found, exceptions) = self.passes(LOOKED_AT)?;
        let rehearsal = gates::last_rehearsal(&self.chain, self.name()).map(|taken| &taken.to);
        let foretold = foretell(&found, &self.plan.cutover, rehearsal);
        let (verified, landed_elsewhere) = self.recorded()?;
        let target = self.target();
        // Who goes on, or back, is not kept waiting for answers that decide nothing any more.
        let stores = self.stands().may_become(State::Freezing) && !self.stands().is_frozen();
        let stores = stores.then(|| self.stores()).transpose()?;
        self.settings = stores.iter().flatten().flat_map(stores::Looked::facts).collect();
        let writer = self.writer.credential.writer_id();
        let writer = self.reader.history.writers.get(&writer);
        let looked = Looked {
            plan: self.plan,
            source: self.source,
            plan_hash: &self.plan_hash,
            passes: &found,
            foretold: &foretold,
            exceptions: &exceptions,
            chain: &self.chain,
            problems: self.reader.problems.len() + self.chain.problems.len(),
            verified,
            landed_elsewhere,
            skew: rest::skew(&self.planned.origin, self.context),
            stores: stores.as_deref(),
            writer_is_revoked: writer.is_some_and(|writer| writer.revoked_after.is_some()),
            now: clock::now(),
            keeps_order: self.writer.keeps_order(),
            sole_operator: self.choices.sole_operator,
            no_way_back: self.choices.no_way_back,
            target: target.as_deref(),
            owners_lead_back: crate::owners::reversed(self.plan).is_ok(),
            write_back: self.write_back(),
        };
        self.report.gates = gates(&looked);
        self.report.freeze.predicted = foretold.freeze;
        self.report.freeze.limit = self.plan.cutover.freeze.map(|age| age.0.as_secs_f64());
        if let Some(live) = &self.live {
            live.gates(&self.report.gates, foretold.freeze.p50, foretold.freeze.p90);
        }
        self.tell(&exceptions, &found);
        self.show_state(self.state());
        Ok(())
    }

    /// The repository, and the target where it is a bucket.
    fn stores(&self) -> Result<Vec<stores::Looked>, Error> {
        let mut stores = vec![stores::Looked::at("repository", &self.writer.objects)?];
        if let Some(url) = self.bucket() {
            stores.push(stores::Looked::at("target", &self.place.bucket(&url)?)?);
        }
        Ok(stores)
    }

    /// When a verification last went well, and which snapshot another machine landed last.
    fn recorded(&self) -> Result<(Option<Timestamp>, Option<String>), Error> {
        let (records, _) = inspect::log(&self.reader)?;
        let (mut verified, mut landed) = (None, None);
        let of_source = of_snapshot(self.name(), "");
        for (record, action) in &records {
            let ours = action.subject.starts_with(&of_source);
            match action.verb.as_str() {
                "verify"
                    if action.outcome.starts_with("verified")
                        && (ours || action.subject.ends_with(" snapshots")) =>
                {
                    verified = Some(record.open.time);
                }
                "restore" if ours && !action.outcome.starts_with("failed") => {
                    landed = action.subject.strip_prefix(&of_source).map(str::to_owned);
                }
                _ => {}
            }
        }
        Ok((verified, landed))
    }

    /// Fills in where the source stands and how it came there.
    fn tell(&mut self, exceptions: &[Exception], passes: &[Pass]) {
        let state = self.state();
        self.report.state = Text::from(state.as_str());
        let accepted = self.chain.accepted(self.name());
        let there = exceptions.iter().filter_map(|exception| {
            let path = exception.path.to_string();
            let operator = accepted.get(path.as_str())?;
            Some(CutoverAccepted { operator: Text::from(*operator), path: Text::from(path) })
        });
        self.report.accepted = there.collect();
        let event = |taken: &drover_ops::cutover::Taken| CutoverEvent {
            sequence: taken.sequence,
            time: format::time(taken.time),
            state: Text::from(taken.to.state.as_str()),
            operator: Text::from(taken.to.operator.as_str()),
            host: Text::from(taken.to.host.as_str()),
            note: Text::from(taken.to.note.as_str()),
        };
        self.report.history = self.chain.of(self.name()).map(event).collect();
        self.report.deadline = None;
        if state.is_frozen() {
            let deadline = self.deadline();
            self.report.deadline = deadline.map(format::time);
        }
        self.report.next = Text::from(self.next(state, passes));
    }

    /// Tells again where the source stands, after something was done.
    pub fn end(&mut self) -> Result<(), Error> {
        let (found, exceptions) = self.passes(0)?;
        self.tell(&exceptions, &found);
        Ok(())
    }

    fn next(&self, state: State, passes: &[Pass]) -> &'static str {
        match state {
            State::Planned => "Take the first pass: drover sync PLAN.",
            _ if passes.len() < 2 && state < State::Freezing => {
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

    fn deadline(&self) -> Option<Timestamp> {
        let seconds = self.facts.get("deadline")?.parse().ok()?;
        Some(Timestamp { seconds, nanos: 0 })
    }

    /// Refuses where a gate does.
    fn pass_gates(&self) -> Result<(), Error> {
        let refused: Vec<_> = self
            .report
            .gates
            .iter()
            .filter(|gate| gate.outcome.as_str() == "refused")
            .map(|gate| gate.id.to_string())
            .collect();
        match refused.is_empty() {
            true => Ok(()),
            false => Err(Error::Gate(format!("not ready for the cutover: {}", refused.join(", ")))),
        }
    }

    /// Signs for exceptions by their paths.
    pub fn accept(&mut self, paths: &[String]) -> Result<(), Error> {
        let state = self.state();
        if !matches!(
            state,
            State::Baseline | State::Converging | State::Rehearsed | State::Reverted
        ) {
            return Err(Error::Cutover(format!("nothing is accepted of what is {state}")));
        }
        let (_, list) = self.passes(0)?;
        for path in paths {
            if !list.iter().any(|exception| exception.path.to_string() == *path) {
                let message = format!("the newest snapshot has no exception at {path}");
                return Err(Error::Cutover(message));
            }
        }
        for path in paths {
            let state = if state == State::Reverted { State::Converging } else { state };
            self.facts = BTreeMap::from([(drover_ops::cutover::ACCEPTED.to_owned(), path.clone())]);
            self.take(state, "an exception was accepted")?;
        }
        Ok(())
    }

    /// Writes a certificate of the last verification of this run, where there was one.
    pub fn certify(&mut self, file: &Path, key: &SigningKey) -> Result<(), Error> {
        let Some(verified) = &self.verified else { return Ok(()) };
        let reader = &mut self.reader;
        self.report.certificate = Some(verify::certify_into(file, key, reader, verified)?);
        Ok(())
    }

    /// Makes it final.
    pub fn commit(&mut self) -> Result<(), Error> {
        if self.stands() != State::CutOver {
            let message = format!("what is {} is not made final", self.stands());
            return Err(Error::Cutover(message));
        }
        self.take(State::Committed, "")
    }
}

/// The last line that something printed.
fn last_line(output: &str) -> String {
    output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}
