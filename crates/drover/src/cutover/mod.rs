//! A cutover: a source led from its server to its target, in a freeze of minutes; or several together,
//! all of which are led there, or none.
//!
//! `gates.rs` says whether it may begin, with `stores.rs` for buckets and what ends; `forward.rs` goes
//! through freeze, last pass, verification and switch (`land.rs` lands and verifies), and gives up
//! safely; `back.rs` goes the way back; `timer.rs` thaws the source when nobody comes back; `tell.rs`
//! tells. Where a source stands is a signed step in the repository before anything is done there, so
//! that whoever is killed, or another engineer's machine, goes on from it.

mod back;
mod foretell;
mod forward;
mod gates;
mod land;
mod live;
mod rest;
mod stores;
mod tell;
mod timer;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use drover_crypt::sign::SigningKey;
use drover_ops::{
    ReaderSession, SyncOptions, WriterSession,
    audit::of_snapshot,
    cutover::{Chain, Pass, State, Taken, exceptions, passes, step},
    inspect,
};
use drover_plan::{Landing, Location, Plan};
use drover_report::{CutoverGate, CutoverReport, Text};
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
use gates::Looked;
pub use gates::last_rehearsal;
pub use live::{Address, Live};

/// What the command line says of all steps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choices {
    /// Nobody else works on it.
    pub sole_operator: bool,
    /// It may go on without a way back.
    pub no_way_back: bool,
}

/// A source on its way.
struct Part<'c> {
    source: &'c drover_plan::Source,
    planned: Planned,
    /// What those who go on have to know: carried from step to step.
    facts: BTreeMap<String, String>,
    /// It works already, and is not thawed once more.
    works: bool,
}

/// The fact that names the sources that go together, one on each line.
const TOGETHER: &str = "together";
/// So often a step is taken anew where steps of other sources were faster.
const STEPS: usize = 16;

/// A source's cutover, or that of several, on this machine.
pub struct Cutover<'c> {
    context: &'c Context<'c>,
    place: &'c Place,
    plan: &'c Plan,
    /// At least one.
    parts: Vec<Part<'c>>,
    /// Which of them is at work.
    at: usize,
    plan_hash: String,
    choices: Choices,
    writer: WriterSession,
    /// Opened once: keys are derived for most of a second.
    reader: ReaderSession,
    chain: Chain,
    /// The settings of the buckets as they were looked at last, as facts.
    settings: BTreeMap<String, String>,
    /// What is told of it.
    pub report: CutoverReport,
    /// The last verification of this run, of each source that was reached.
    verified: BTreeMap<usize, Verified>,
    /// The page that shows it as it happens.
    pub live: Option<Live>,
}

impl<'c> Cutover<'c> {
    /// Opens the repository for reading and for writing.
    pub fn open(
        context: &'c Context<'c>,
        place: &'c Place,
        plan: (&'c Plan, PathBuf),
        sources: &[&'c drover_plan::Source],
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
        let writer = sync::open(place, context)?;
        let reader = reading::open(place, context)?;
        let chain = Chain::load(&reader)?;
        let part = |source: &&'c drover_plan::Source| {
            let last = chain.of(source.name.as_str()).next_back();
            let last = last.filter(|last| last.to.state >= State::Freezing);
            let facts = last.map(|last| last.to.facts.clone()).unwrap_or_default();
            let planned = Planned::new(source, &options, ssh)?;
            Ok(Part { source, planned, facts, works: false })
        };
        let parts = sources.iter().map(part).collect::<Result<Vec<_>, Error>>()?;
        let names: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
        Ok(Self {
            context,
            place,
            plan,
            parts,
            at: 0,
            plan_hash: blake3::hash(&bytes).to_hex().to_string(),
            choices,
            writer,
            reader,
            chain,
            settings: BTreeMap::new(),
            report: CutoverReport {
                repository: place.text(),
                source: Text::from(names.join(", ")),
                ..CutoverReport::default()
            },
            verified: BTreeMap::new(),
            live: None,
        })
    }

    /// Keeps the plan's bandwidth for as long as what is returned lives.
    pub fn keep_bandwidth(&self) -> Option<Keeper> {
        Keeper::start(self.place, &self.writer.objects, self.context)
    }

    fn part(&self) -> &Part<'c> {
        &self.parts[self.at]
    }

    fn part_mut(&mut self) -> &mut Part<'c> {
        &mut self.parts[self.at]
    }

    fn source(&self) -> &'c drover_plan::Source {
        self.part().source
    }

    fn facts(&self) -> &BTreeMap<String, String> {
        &self.part().facts
    }

    fn name(&self) -> &'c str {
        self.source().name.as_str()
    }

    /// All of them, as what is done once has them.
    fn names(&self) -> String {
        let names: Vec<_> = self.parts.iter().map(|part| part.source.name.as_str()).collect();
        names.join(", ")
    }

    /// Does the same with each, until one fails.
    fn each(&mut self, mut run: impl FnMut(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        let done = (0..self.parts.len()).try_for_each(|at| {
            self.at = at;
            run(self)
        });
        self.at = 0;
        done
    }

    /// Where each stands.
    fn standings(&self) -> Vec<State> {
        self.parts.iter().map(|part| self.stands_of(part)).collect()
    }

    /// Which go together, where several do: whoever goes on has to take the same.
    fn together(&self) -> Option<String> {
        let names = self.parts.iter().map(|part| part.source.name.as_str());
        (self.parts.len() > 1).then(|| names.collect::<Vec<_>>().join("\n"))
    }

    /// Refuses to go on with others than it was begun with.
    fn check_together(&self) -> Result<(), Error> {
        let now = self.together();
        let mut begun = self.parts.iter().filter(|part| {
            let state = self.stands_of(part);
            !matches!(state, State::Reverted | State::Committed) && state >= State::Freezing
        });
        if let Some(part) = begun.find(|part| part.facts.get(TOGETHER) != now.as_ref()) {
            let (name, with) = (part.source.name.as_str(), part.facts.get(TOGETHER));
            let with = with.map_or_else(
                || "alone: --source, and no together in the plan".to_owned(),
                |names| {
                    format!(
                        "with all of {}: no --source, and together in the plan",
                        names.replace('\n', ", ")
                    )
                },
            );
            return Err(Error::Cutover(format!("{name} was begun {with}")));
        }
        Ok(())
    }

    /// Takes what is new in the repository.
    fn refresh(&mut self) -> Result<(), Error> {
        Ok(self.reader.refresh(&self.context.secret()?)?)
    }

    /// The passes so far, the last of them compared, and what the newest could not take.
    fn passes(&mut self, compared: usize) -> Result<(Vec<Pass>, Vec<Exception>), Error> {
        self.refresh()?;
        let name = self.name();
        let found = passes(&mut self.reader, name, compared)?;
        let exceptions = match found.last() {
            Some(last) => exceptions(&mut self.reader, last.snapshot)?,
            None => Vec::new(),
        };
        Ok((found, exceptions))
    }

    /// Where a source stands.
    fn state_of(&self, at: usize) -> State {
        let name = self.parts[at].source.name.as_str();
        let snapshots = &self.reader.history.snapshots;
        let count = snapshots.iter().filter(|s| s.details.source == name).count();
        self.chain.state(name, count)
    }

    /// The last step's state; what has no step has not begun to rest.
    fn stands(&self) -> State {
        self.stands_of(self.part())
    }

    fn stands_of(&self, part: &Part<'_>) -> State {
        let steps = &mut self.chain.of(part.source.name.as_str());
        steps.next_back().map_or(State::Converging, |last| last.to.state)
    }

    /// Takes the next step, after those of other sources where they were faster.
    fn take(&mut self, state: State, note: &str) -> Result<(), Error> {
        let from = self.stands();
        if !from.may_become(state) {
            return Err(Error::Cutover(format!("what is {from} cannot become {state}")));
        }
        let mut to = step(state, self.name(), &self.context.operator());
        to.note = note.to_owned();
        to.facts = self.facts().clone();
        let mut tries = 0;
        loop {
            if let Some(problem) = self.chain.problems.first() {
                let (object, message) = (&problem.object, &problem.message);
                return Err(Error::Cutover(format!(
                    "the chain of steps is not whole: {object}: {message}"
                )));
            }
            match self.chain.take(&self.writer, to.clone()) {
                Err(drover_ops::Error::CutoverMoved) if tries < STEPS => self.follow()?,
                Err(error) => return Err(error.into()),
                Ok(_) => break,
            }
            tries += 1;
        }
        self.say(state.as_str());
        self.show_state(self.all_state());
        Ok(())
    }

    /// Takes the steps that others took meanwhile, as long as they are of other sources.
    fn follow(&mut self) -> Result<(), Error> {
        self.refresh()?;
        let mut chain = Chain::load(&self.reader)?;
        if !chain.problems.is_empty() {
            // Of what is written between two looks, the log may have more than the list has.
            self.refresh()?;
            chain = Chain::load(&self.reader)?;
        }
        let known = self.chain.steps.len();
        let same = chain.steps.get(..known).is_some_and(|steps| {
            steps.iter().map(|step| step.hash).eq(self.chain.steps.iter().map(|step| step.hash))
        });
        let ours =
            |taken: &Taken| self.parts.iter().any(|p| p.source.name.as_str() == taken.to.source);
        if same && !chain.steps[known..].iter().any(ours) {
            self.chain = chain;
            return Ok(());
        }
        Err(drover_ops::Error::CutoverMoved.into())
    }

    /// Runs one of the source's commands, where the plan says. What undoes is not interrupted.
    fn source_command(
        &self,
        name: &'static str,
        command: Option<&Vec<String>>,
        undoes: bool,
    ) -> Result<String, Error> {
        let Some(command) = command else { return Ok("no command".to_owned()) };
        let hooks = &self.source().hooks;
        let hook = Hook { name, command, source: self.name(), limit: hooks.timeout.0 };
        let cancel = (!undoes).then_some(&self.context.cancel);
        let (ran, result) =
            hook.run_on(hooks.on, &self.part().planned.origin, self.context, cancel);
        result.map(|()| last_line(ran.output.as_str()))
    }

    /// Runs one of the cutover's own commands, here.
    fn command(&self, name: &'static str, command: Option<&Vec<String>>) -> Result<String, Error> {
        let Some(command) = command else { return Ok("no command".to_owned()) };
        let limit = self.plan.cutover.hook_timeout.0;
        let names = self.names();
        let hook = Hook { name, command, source: &names, limit };
        let (ran, result) = hook.run(Some(&self.context.cancel));
        result.map(|()| last_line(ran.output.as_str()))
    }

    /// Where this machine lands, and what is added to it: several sources lie beside one another.
    fn lands_at(&self, at: usize) -> Option<(&'c Location, Option<&'c str>)> {
        let here = self.plan.cutover.landing == Landing::Here;
        let target = self.plan.target.as_ref().filter(|_| here)?;
        let name = self.parts[at].source.name.as_str();
        Some((&target.url, (self.plan.sources.len() > 1).then_some(name)))
    }

    /// The target's directory, where this machine lands it.
    fn target(&self) -> Option<PathBuf> {
        self.target_of(self.at)
    }

    fn target_of(&self, at: usize) -> Option<PathBuf> {
        let (Location::Directory(target), beside) = self.lands_at(at)? else { return None };
        Some(beside.map_or_else(|| target.clone(), |name| target.join(name)))
    }

    /// The target's prefix, where this machine lands objects in a bucket.
    fn bucket(&self) -> Option<String> {
        let (Location::Cloud(url), beside) = self.lands_at(self.at)? else { return None };
        let within = |name| format!("{}/{name}", url.trim_end_matches('/'));
        Some(beside.map_or_else(|| url.clone(), within))
    }

    /// The source's directory, as it can be written from here; those of several lie beside one another.
    fn write_back(&self) -> Option<PathBuf> {
        let here = self.part().planned.origin.directory().map(PathBuf::from);
        let beside = |path: &PathBuf| match self.plan.sources.len() {
            1 => path.clone(),
            _ => path.join(self.name()),
        };
        self.plan.cutover.write_back.as_ref().map(beside).or(here)
    }

    /// Looks at all gates, and where they stand.
    pub fn look(&mut self) -> Result<(), Error> {
        self.report.gates.clear();
        let mut seen = Vec::new();
        self.each(|cutover| {
            let (passes, exceptions) = cutover.passes(LOOKED_AT)?;
            let rehearsal = gates::last_rehearsal(&cutover.chain, cutover.name());
            let foretold =
                foretell(&passes, &cutover.plan.cutover, rehearsal.map(|taken| &taken.to));
            seen.push((passes, exceptions, foretold));
            Ok(())
        })?;
        let foretold = foretell::together(seen.iter().map(|seen| &seen.2), &self.plan.cutover);
        // Who goes on, or back, is not kept waiting for answers that decide nothing any more.
        let before = |state: &State| state.may_become(State::Freezing) && !state.is_frozen();
        let stores = self.standings().iter().all(before);
        let stores = stores.then(|| self.stores()).transpose()?;
        self.settings = stores.iter().flatten().flat_map(stores::Looked::facts).collect();
        let wanted = |at: usize| gates::wanted(self.target_of(at).as_deref(), seen[at].0.last());
        let wanted: Vec<u64> = (0..self.parts.len()).map(wanted).collect();
        self.each(|cutover| {
            let (passes, exceptions, _) = &seen[cutover.at];
            let (verified, landed_elsewhere) = cutover.recorded()?;
            let target = cutover.target();
            let looked = Looked {
                plan: cutover.plan,
                source: cutover.source(),
                plan_hash: &cutover.plan_hash,
                passes,
                foretold: &foretold,
                exceptions,
                chain: &cutover.chain,
                problems: cutover.reader.problems.len() + cutover.chain.problems.len(),
                verified,
                landed_elsewhere,
                skew: rest::skew(&cutover.part().planned.origin, cutover.context),
                stores: stores.as_deref(),
                now: clock::now(),
                keeps_order: cutover.writer.keeps_order(),
                sole_operator: cutover.choices.sole_operator,
                no_way_back: cutover.choices.no_way_back,
                target: target.as_deref(),
                wanted: wanted.iter().sum(),
                owners_lead_back: crate::owners::reversed(cutover.plan).is_ok(),
                write_back: cutover.write_back(),
            };
            let of = |source: &str, gates: Vec<CutoverGate>| {
                let source = Text::from(source);
                gates.into_iter().map(move |gate| CutoverGate { source: source.clone(), ..gate })
            };
            let each = of(cutover.name(), gates::of_each(&looked));
            // Once.
            let all = (cutover.at == 0).then(|| of(&cutover.names(), gates::of_all(&looked)));
            let gates: Vec<_> = all.into_iter().flatten().chain(each).collect();
            cutover.report.gates.extend(gates);
            Ok(())
        })?;
        self.report.freeze.predicted = foretold.freeze;
        self.report.freeze.limit = self.plan.cutover.freeze.map(|age| age.0.as_secs_f64());
        if let Some(live) = &self.live {
            live.gates(&self.report.gates, foretold.freeze.p50, foretold.freeze.p90);
        }
        let exceptions: Vec<_> = seen.iter().map(|seen| seen.1.as_slice()).collect();
        let passes: Vec<_> = seen.iter().map(|seen| seen.0.len()).collect();
        self.tell(&exceptions, &passes)?;
        self.show_state(self.all_state());
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

    fn deadline(&self) -> Option<Timestamp> {
        deadline(self.facts())
    }

    /// Refuses where a gate does.
    fn pass_gates(&self) -> Result<(), Error> {
        let refused = self.report.gates.iter().filter(|gate| gate.outcome.as_str() == "refused");
        let name = |gate: &CutoverGate| match self.parts.len() {
            1 => gate.id.to_string(),
            _ => format!("{} of {}", gate.id, gate.source),
        };
        let refused: Vec<_> = refused.map(name).collect();
        match refused.is_empty() {
            true => Ok(()),
            false => Err(Error::Gate(format!("not ready for the cutover: {}", refused.join(", ")))),
        }
    }

    /// Signs for exceptions by their paths.
    pub fn accept(&mut self, paths: &[String]) -> Result<(), Error> {
        let state = self.state_of(self.at);
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
            let accepted = (drover_ops::cutover::ACCEPTED.to_owned(), path.clone());
            self.part_mut().facts = BTreeMap::from([accepted]);
            self.take(state, "an exception was accepted")?;
        }
        Ok(())
    }

    /// Writes a certificate of the last verification of this run, where there was one; of several
    /// sources one of all, which says so where one of them was not reached.
    pub fn certify(&mut self, file: &Path, key: &SigningKey) -> Result<(), Error> {
        let mut found = std::mem::take(&mut self.verified);
        if found.is_empty() {
            return Ok(());
        }
        let (mut parts, mut missing) = (Vec::new(), Vec::new());
        for (at, part) in self.parts.iter().enumerate() {
            let name = part.source.name.to_string();
            match found.remove(&at) {
                Some(verified) => parts.push((name, verified)),
                None => missing.push(name),
            }
        }
        let verified = match (parts.pop(), self.parts.len()) {
            (Some((_, verified)), 1) => verified,
            (last, _) => verify::together(parts.into_iter().chain(last).collect(), &missing),
        };
        let reader = &mut self.reader;
        self.report.certificate = Some(verify::certify_into(file, key, reader, &verified)?);
        Ok(())
    }

    /// Makes it final.
    pub fn commit(&mut self) -> Result<(), Error> {
        self.check_together()?;
        let states = self.standings();
        let may = |state: &State| matches!(state, State::CutOver | State::Committed);
        if !states.iter().all(may) || !states.contains(&State::CutOver) {
            let state = self.all_state();
            return Err(Error::Cutover(format!("what is {state} is not made final")));
        }
        self.each(|cutover| match cutover.stands() {
            State::CutOver => cutover.take(State::Committed, ""),
            _ => Ok(()),
        })
    }
}

fn deadline(facts: &BTreeMap<String, String>) -> Option<Timestamp> {
    let seconds = facts.get("deadline")?.parse().ok()?;
    Some(Timestamp { seconds, nanos: 0 })
}

/// The last line that something printed.
fn last_line(output: &str) -> String {
    output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}
