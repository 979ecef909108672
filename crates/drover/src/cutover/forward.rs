//! The way forward: rehearsal, freeze, last pass, landing, verification, switch; and giving up.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use drover_ops::cutover::{State, scan};
use drover_report::format;
use drover_source::Source;
use drover_types::{SnapshotId, clock};

use super::{
    Cutover,
    foretell::REHEARSED,
    gates, rest,
    timer::{Fate, Timer},
};
use crate::{error::Error, hooks, verb::sync};

/// How often a source's machine is asked again whether the timer is disarmed.
const TRIES: usize = 5;

impl Cutover<'_> {
    /// Everything but freeze and switch.
    pub fn rehearse(&mut self) -> Result<(), Error> {
        self.look()?;
        let state = self.stands();
        if !state.may_become(State::Rehearsed) {
            return Err(Error::Cutover(format!("what is {state} is not rehearsed")));
        }
        self.step("arm and disarm a timer", |cutover| {
            let host = cutover.planned.hooks_host(cutover.context)?;
            let id = id();
            let timer = Timer::new(&*host, &id);
            let how = timer.arm(600, &["true".to_owned()], cutover.name())?;
            let fate = timer.disarm()?;
            timer.clear()?;
            match fate {
                Fate::Disarmed => Ok(format!("by {how}")),
                fate => Err(cutover.broken(&*host, &format!("disarmed, it is {fate:?}"))),
            }
        })?;
        let timed = Instant::now();
        let moved = self.scans()?;
        if !moved.is_empty() {
            self.say(&format!("between two scans changed: {moved}"));
        }
        let snapshot = self.one_pass("pass", false)?;
        self.land_and_verify(snapshot)?;
        let seconds = timed.elapsed().as_secs_f64();
        self.facts = BTreeMap::from([
            ("plan".to_owned(), self.plan_hash.clone()),
            (REHEARSED.to_owned(), format!("{seconds:.3}")),
            ("snapshot".to_owned(), snapshot.to_string()),
        ]);
        self.facts.extend(self.settings.clone());
        self.take(State::Rehearsed, "")?;
        // With the rehearsal, what is foretold is another.
        self.look()
    }

    /// From wherever the source stands to its switch.
    pub fn go(&mut self) -> Result<(), Error> {
        self.look()?;
        match self.stands() {
            State::Switching => self.switch(),
            state if state.is_frozen() => self.resume(),
            State::CutOver => Err(Error::Cutover("it is cut over already".to_owned())),
            State::Committed => Err(Error::Cutover("it is final".to_owned())),
            State::RollingBack => {
                Err(Error::Cutover("it is on its way back: go on with --rollback".to_owned()))
            }
            _ => {
                self.pass_gates()?;
                self.begin()
            }
        }
    }

    fn begin(&mut self) -> Result<(), Error> {
        let now = clock::now();
        let seconds = gates::rest(&self.plan.cutover, now).unwrap_or(f64::MAX);
        let deadline = now.seconds.saturating_add(seconds as i64);
        self.facts = BTreeMap::from([
            ("plan".to_owned(), self.plan_hash.clone()),
            ("timer".to_owned(), id()),
            ("deadline".to_owned(), deadline.to_string()),
        ]);
        self.facts.extend(self.settings.clone());
        if let Some(p90) = self.report.freeze.predicted.p90 {
            self.facts.insert("predicted".to_owned(), format!("{p90:.1}"));
        }
        self.take(State::Freezing, "")?;
        self.through()
    }

    /// From the freeze on.
    fn through(&mut self) -> Result<(), Error> {
        if let Err(error) = self.rest_and_verify() {
            return self.give_up(&error);
        }
        match self.disarm() {
            Ok(Fate::Disarmed) => self.switch(),
            Ok(fate) => {
                let why = format!("the timer on the source is {fate:?}: its time was over");
                self.give_up(&Error::Cutover(why))
            }
            // Whether it thaws is not known: nothing is switched, and nothing is undone.
            Err(error) => Err(Error::Cutover(format!(
                "{error}: whether the source is thawed at its time is not known, and nothing was \
                 switched. Run the same command again; --rollback thaws it"
            ))),
        }
    }

    fn timer_id(&self) -> Result<String, Error> {
        let known = self.facts.get("timer").filter(|id| id.bytes().all(|b| b.is_ascii_hexdigit()));
        known.cloned().ok_or_else(|| Error::Cutover("the step before names no timer".to_owned()))
    }

    fn rest_and_verify(&mut self) -> Result<(), Error> {
        let hooks = &self.source.hooks;
        let thaw = hooks.thaw.as_deref().unwrap_or_default();
        let deadline = self.deadline().unwrap_or_default().seconds;
        let left = deadline.saturating_sub(clock::now().seconds);
        if left <= 0 {
            return Err(Error::Cutover("the time for it is over".to_owned()));
        }
        self.step("arm the timer", |cutover| {
            let host = cutover.planned.hooks_host(cutover.context)?;
            let id = cutover.timer_id()?;
            let how = Timer::new(&*host, &id).arm(left.unsigned_abs(), thaw, cutover.name())?;
            let left = format::duration(left as f64);
            Ok(format!("by {how}; it thaws the source in {left}"))
        })?;
        let now = clock::now();
        let frozen = format!("{}.{:03}", now.seconds, now.nanos / 1_000_000);
        self.facts.entry("frozen".to_owned()).or_insert(frozen);
        self.step("freeze", |cutover| {
            cutover.source_command("freeze", hooks.freeze.as_ref(), false)
        })?;
        let moved = self.scans()?;
        self.step("nobody writes", |cutover| {
            if !moved.is_empty() {
                let message =
                    format!("the source does not rest: between two scans changed {moved}");
                return Err(Error::Cutover(message));
            }
            let writers = rest::writers(&cutover.planned.origin, cutover.context)?;
            match writers.is_empty() {
                true => Ok(String::new()),
                false => {
                    let message = format!("the source does not rest: {}", writers.join(", "));
                    Err(Error::Cutover(message))
                }
            }
        })?;
        self.take(State::FinalPass, "")?;
        let snapshot = self.one_pass("final pass", true)?;
        self.facts.insert("snapshot".to_owned(), snapshot.to_string());
        self.take(State::Verifying, "")?;
        self.land_and_verify(snapshot)
    }

    /// Two scans, one after the other; what changed between them, in words.
    fn scans(&mut self) -> Result<String, Error> {
        // What a command prints, it prints anew: there is nothing to be scanned.
        if self.planned.origin.is_command() {
            return Ok(String::new());
        }
        let mut first = None;
        self.step("first scan", |cutover| {
            let source: Arc<dyn Source> = Arc::new(cutover.planned.open(cutover.context)?);
            let (seen, _) = cutover.scan(&source, None)?;
            let entries = format::counted(seen.len() as u64, "entry", "entries");
            first = Some((source, seen));
            Ok(entries)
        })?;
        let mut moved = String::new();
        self.step("second scan", |cutover| {
            let Some((source, seen)) = &first else { return Ok(String::new()) };
            let (_, rest) = cutover.scan(source, Some(seen))?;
            if !rest.is_at_rest() {
                let names: Vec<_> = rest.changed.iter().map(ToString::to_string).collect();
                moved = match names.is_empty() {
                    true => {
                        format::counted(rest.gone, "entry that is gone", "entries that are gone")
                    }
                    false => names.join(", "),
                };
            }
            Ok(if moved.is_empty() { "nothing changed" } else { "something changed" }.to_owned())
        })?;
        Ok(moved)
    }

    fn scan(
        &self,
        source: &Arc<dyn Source>,
        before: Option<&drover_ops::cutover::Scan>,
    ) -> Result<(drover_ops::cutover::Scan, drover_ops::cutover::Rest), Error> {
        let one = self.planned.options.one_file_system;
        let Self { context, .. } = self;
        Ok(scan(source, one, before, &context.progress, &context.cancel)?)
    }

    /// One pass. Where the source has no times of changes of attributes, or none that can be
    /// trusted, a last pass reads everything.
    pub(super) fn one_pass(&mut self, name: &str, is_last: bool) -> Result<SnapshotId, Error> {
        let mut snapshot = None;
        self.step(name, |cutover| {
            cutover.planned.options.reread = is_last && cutover.weak_evidence()?;
            let planned = &cutover.planned;
            let item = hooks::around(
                &planned.hooks,
                cutover.name(),
                &planned.origin,
                cutover.context,
                || sync::pass(&cutover.writer, planned, cutover.context, &cutover.context.progress),
            )?;
            if let Some(failure) = item.error {
                return Err(Error::Cutover(failure.message.to_string()));
            }
            snapshot = item.snapshot.as_ref().and_then(|id| SnapshotId::from_hex(id.as_str()));
            let entries = item.entries;
            Ok(format!(
                "{} new, {} changed, {} removed; {} sent; {}{}",
                entries.new,
                entries.changed + entries.metadata,
                entries.removed,
                format::bytes(item.bytes.uploaded),
                format::counted(item.exceptions.len() as u64, "exception", "exceptions"),
                if cutover.planned.options.reread { "; everything was read again" } else { "" },
            ))
        })?;
        snapshot.ok_or_else(|| Error::Cutover("the pass left no snapshot".to_owned()))
    }

    fn weak_evidence(&self) -> Result<bool, Error> {
        if self.planned.origin.directory().is_some() {
            return Ok(false);
        }
        let source = self.planned.origin.open(self.context)?;
        Ok(source.losses().iter().any(|loss| loss.class.starts_with("times of the last change")))
    }

    /// Asks until it is known.
    fn disarm(&mut self) -> Result<Fate, Error> {
        let mut fate = Fate::Gone;
        self.step("disarm the timer", |cutover| {
            let id = cutover.timer_id()?;
            let ask = || {
                let host = cutover.planned.hooks_host(cutover.context)?;
                Timer::new(&*host, &id).disarm()
            };
            let mut answer = ask();
            for _ in 1..TRIES {
                if answer.is_ok() {
                    break;
                }
                answer = ask();
            }
            fate = answer?;
            Ok(format!("{fate:?}").to_lowercase())
        })?;
        Ok(fate)
    }

    /// Leads clients to the target. From here on nothing thaws the source by itself.
    fn switch(&mut self) -> Result<(), Error> {
        self.take(State::Switching, "").map_err(|error| {
            Error::Cutover(format!(
                "{error}. The source rests, nothing was switched, and nothing thaws it by itself: run \
                 the same command again, or thaw it with --rollback"
            ))
        })?;
        let commands = &self.plan.cutover;
        self.step("switch", |cutover| {
            cutover.command("switch_command", commands.switch_command.as_ref())
        })?;
        self.step("smoke test", |cutover| {
            cutover.command("smoke_test", commands.smoke_test.as_ref())
        })?;
        let now = clock::now();
        let frozen = self.facts.get("frozen").and_then(|frozen| frozen.parse::<f64>().ok());
        let now = now.seconds as f64 + f64::from(now.nanos) / 1e9;
        self.report.freeze.actual = frozen.map(|frozen| (now - frozen).max(0.0));
        if let Some(actual) = self.report.freeze.actual {
            self.facts.insert("freeze".to_owned(), format!("{actual:.3}"));
        }
        self.take(State::CutOver, "")?;
        self.clear_timer();
        Ok(())
    }

    /// Takes the timer's files away; that they stay is no harm.
    pub(super) fn clear_timer(&self) {
        let clear = || {
            let host = self.planned.hooks_host(self.context)?;
            Timer::new(&*host, &self.timer_id()?).clear()
        };
        if let Err(error) = clear() {
            self.context.progress.warn(&error.to_string());
        }
    }

    pub(super) fn thaw(&mut self) -> Result<String, Error> {
        self.source_command("thaw", self.source.hooks.thaw.as_ref(), true)
    }

    /// Thaws the source, then the timer is of no use any more. Where thawing fails, the timer stays.
    pub(super) fn give_up(&mut self, why: &Error) -> Result<(), Error> {
        let difference = matches!(why, Error::Difference(_));
        let interrupted = why.is_interruption();
        let thawed = self.step("thaw", Self::thaw).or_else(|_| self.step("thaw", Self::thaw));
        if let Err(error) = thawed {
            let message = format!(
                "{why}; and the source could not be thawed: {error}. The timer on it tries at its time"
            );
            return Err(Error::Cutover(message));
        }
        let withdrawn = self.planned.hooks_host(self.context).and_then(|host| {
            let id = self.timer_id()?;
            Timer::new(&*host, &id).withdraw()
        });
        if let Err(error) = withdrawn {
            self.context.progress.warn(&error.to_string());
        }
        // Where this cannot be written now, the timer's files tell the next run.
        match self.take(State::Converging, &format!("given up: {}", why.outcome())) {
            Ok(()) => self.clear_timer(),
            Err(error) => self.context.progress.warn(&error.to_string()),
        }
        self.facts.clear();
        match interrupted {
            true => Err(Error::Ops(drover_ops::Error::Interrupted)),
            false => Err(Error::GivenUp { why: why.to_string(), thawed: true, difference }),
        }
    }

    /// Goes on where an earlier run ended, as the timer says.
    fn resume(&mut self) -> Result<(), Error> {
        let id = self.timer_id()?;
        let host = self.planned.hooks_host(self.context)?;
        let fate = Timer::new(&*host, &id).fate()?;
        drop(host);
        self.say(&format!("the timer is {fate:?}").to_lowercase());
        match (fate, self.stands()) {
            (Fate::Armed, _) => {
                if self.stands() != State::Freezing {
                    self.take(State::Freezing, "an earlier run ended here")?;
                }
                self.through()
            }
            // Verified and disarmed, and then it ended.
            (Fate::Disarmed, State::Verifying) => self.switch(),
            (Fate::Fired | Fate::Withdrawn, _) => {
                self.take(State::Converging, "the source was thawed")?;
                self.clear_timer();
                self.facts.clear();
                let why = "an earlier run did not end in time".to_owned();
                Err(Error::GivenUp { why, thawed: true, difference: false })
            }
            (Fate::Dead | Fate::Gone | Fate::Disarmed, _) => {
                let why = "the timer of an earlier run is not there any more".to_owned();
                self.give_up(&Error::Cutover(why))
            }
        }
    }

    fn broken(&self, host: &dyn drover_source::host::Host, why: &str) -> Error {
        Error::Timer { host: host.place().to_owned(), why: why.to_owned() }
    }
}

/// A name for a timer that nobody guesses.
fn id() -> String {
    drover_types::RepositoryId(drover_crypt::random::array()).to_hex()
}
