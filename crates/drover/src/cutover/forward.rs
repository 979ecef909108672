//! The way forward: rehearsal, freeze, last pass, landing, verification, switch; and giving up.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use drover_ops::cutover::{State, scan};
use drover_report::format;
use drover_source::Source;
use drover_types::{SnapshotId, clock};

use super::{
    Cutover, Part, TOGETHER,
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
        if let Some(state) = self.standings().iter().find(|s| !s.may_become(State::Rehearsed)) {
            return Err(Error::Cutover(format!("what is {state} is not rehearsed")));
        }
        // What an earlier cutover left, such as its deadline, is not this one's.
        self.each(|cutover| {
            cutover.part_mut().facts.clear();
            Ok(())
        })?;
        self.each(|cutover| {
            cutover.step("arm and disarm a timer", |cutover| {
                let host = cutover.part().planned.hooks_host(cutover.context)?;
                let id = id();
                let timer = Timer::new(&*host, &id);
                let how = timer.arm(600, &["true".to_owned()], cutover.name())?;
                let fate = timer.disarm()?;
                timer.clear()?;
                match fate {
                    Fate::Disarmed => Ok(format!("by {how}")),
                    fate => Err(cutover.broken(&*host, &format!("disarmed, it is {fate:?}"))),
                }
            })
        })?;
        self.each(|cutover| {
            let timed = Instant::now();
            let moved = cutover.scans()?;
            if !moved.is_empty() {
                cutover.say(&format!("between two scans changed: {moved}"));
            }
            let snapshot = cutover.one_pass("pass", false)?;
            cutover.land_and_verify(snapshot)?;
            let seconds = timed.elapsed().as_secs_f64();
            let mut facts = cutover.begun();
            facts.insert(REHEARSED.to_owned(), format!("{seconds:.3}"));
            facts.insert("snapshot".to_owned(), snapshot.to_string());
            cutover.part_mut().facts = facts;
            Ok(())
        })?;
        self.each(|cutover| cutover.take(State::Rehearsed, ""))?;
        // With the rehearsal, what is foretold is another.
        self.look()
    }

    /// The facts that a step begins with.
    fn begun(&self) -> BTreeMap<String, String> {
        let mut facts = self.settings.clone();
        facts.insert("plan".to_owned(), self.plan_hash.clone());
        facts.extend(self.together().map(|names| (TOGETHER.to_owned(), names)));
        facts
    }

    /// From wherever the sources stand to their switch.
    pub fn go(&mut self) -> Result<(), Error> {
        self.look()?;
        self.check_together()?;
        let states = self.standings();
        let all = |state| states.iter().all(|found| *found == state);
        let any = |state| states.contains(&state);
        if any(State::RollingBack) || (any(State::Reverted) && any(State::CutOver)) {
            let message = "it is on its way back: go on with --rollback";
            return Err(Error::Cutover(message.to_owned()));
        }
        if all(State::CutOver) {
            return Err(Error::Cutover("it is cut over already".to_owned()));
        }
        if any(State::Committed) {
            return Err(Error::Cutover("it is final".to_owned()));
        }
        // Of several the first is switched only once nothing thaws any of them.
        if any(State::Switching) || any(State::CutOver) {
            return self.switch();
        }
        if states.iter().any(|state| state.is_frozen()) {
            return self.resume();
        }
        self.pass_gates()?;
        self.begin()
    }

    fn begin(&mut self) -> Result<(), Error> {
        let now = clock::now();
        let seconds = gates::rest(&self.plan.cutover, now).unwrap_or(f64::MAX);
        let deadline = now.seconds.saturating_add(seconds as i64);
        let predicted = self.report.freeze.predicted.p90;
        self.each(|cutover| {
            let mut facts = cutover.begun();
            facts.insert("timer".to_owned(), id());
            facts.insert("deadline".to_owned(), deadline.to_string());
            facts.extend(predicted.map(|p90| ("predicted".to_owned(), format!("{p90:.1}"))));
            cutover.part_mut().facts = facts;
            Ok(())
        })?;
        if let Err(error) = self.each(|cutover| cutover.take(State::Freezing, "")) {
            // Of several, some may stand there already: nothing rests yet, and none of them has to.
            return match self.standings().iter().any(|state| state.is_frozen()) {
                true => self.give_up(&error),
                false => Err(error),
            };
        }
        self.through()
    }

    /// From the freeze on.
    fn through(&mut self) -> Result<(), Error> {
        match self.rest_and_verify() {
            Ok(()) => self.disarm_and_switch(),
            Err(error) => self.give_up(&error),
        }
    }

    /// Once all are verified.
    fn disarm_and_switch(&mut self) -> Result<(), Error> {
        let mut fates = Vec::new();
        let asked = self.each(|cutover| {
            fates.push(cutover.disarm()?);
            Ok(())
        });
        match (asked, fates.iter().find(|fate| **fate != Fate::Disarmed)) {
            (_, Some(fate)) => {
                let why = format!("the timer on the source is {fate:?}: its time was over");
                self.give_up(&Error::Cutover(why))
            }
            (Ok(()), None) => self.switch(),
            // Whether it thaws is not known: nothing is switched, and nothing is undone.
            (Err(error), None) => Err(Error::Cutover(format!(
                "{error}: whether the source is thawed at its time is not known, and nothing was \
                 switched. Run the same command again; --rollback thaws it"
            ))),
        }
    }

    fn timer_id(&self) -> Result<String, Error> {
        let known =
            self.facts().get("timer").filter(|id| id.bytes().all(|b| b.is_ascii_hexdigit()));
        known.cloned().ok_or_else(|| Error::Cutover("the step before names no timer".to_owned()))
    }

    fn rest_and_verify(&mut self) -> Result<(), Error> {
        let deadline = self.deadline().unwrap_or_default().seconds;
        // What thaws is armed on all machines before any of them rests.
        self.each(|cutover| {
            let left = deadline.saturating_sub(clock::now().seconds);
            if left <= 0 {
                return Err(Error::Cutover("the time for it is over".to_owned()));
            }
            let thaw = cutover.source().hooks.thaw.as_deref().unwrap_or_default();
            cutover.step("arm the timer", |cutover| {
                let host = cutover.part().planned.hooks_host(cutover.context)?;
                let id = cutover.timer_id()?;
                let how = Timer::new(&*host, &id).arm(left.unsigned_abs(), thaw, cutover.name())?;
                let left = format::duration(left as f64);
                Ok(format!("by {how}; it thaws the source in {left}"))
            })
        })?;
        self.each(|cutover| {
            let now = clock::now();
            let frozen = format!("{}.{:03}", now.seconds, now.nanos / 1_000_000);
            cutover.part_mut().facts.entry("frozen".to_owned()).or_insert(frozen);
            cutover.step("freeze", |cutover| {
                cutover.source_command("freeze", cutover.source().hooks.freeze.as_ref(), false)
            })
        })?;
        // All rest from here on, so that what one says of another is in both.
        self.each(|cutover| {
            let moved = cutover.scans()?;
            cutover.step("nobody writes", |cutover| {
                if !moved.is_empty() {
                    let message =
                        format!("the source does not rest: between two scans changed {moved}");
                    return Err(Error::Cutover(message));
                }
                let writers = rest::writers(&cutover.part().planned.origin, cutover.context)?;
                match writers.is_empty() {
                    true => Ok(String::new()),
                    false => {
                        let message = format!("the source does not rest: {}", writers.join(", "));
                        Err(Error::Cutover(message))
                    }
                }
            })?;
            cutover.take(State::FinalPass, "")?;
            let snapshot = cutover.one_pass("final pass", true)?;
            cutover.part_mut().facts.insert("snapshot".to_owned(), snapshot.to_string());
            cutover.take(State::Verifying, "")?;
            cutover.land_and_verify(snapshot)
        })
    }

    /// Two scans, one after the other; what changed between them, in words.
    fn scans(&mut self) -> Result<String, Error> {
        // What a command prints, it prints anew: there is nothing to be scanned.
        if self.part().planned.origin.is_command() {
            return Ok(String::new());
        }
        let mut first = None;
        self.step("first scan", |cutover| {
            let source: Arc<dyn Source> = Arc::new(cutover.part().planned.open(cutover.context)?);
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
        let one = self.part().planned.options.one_file_system;
        let Self { context, .. } = self;
        Ok(scan(source, one, before, &context.progress, &context.cancel)?)
    }

    /// One pass. Where the source has no times of changes of attributes, or none that can be
    /// trusted, a last pass reads everything.
    pub(super) fn one_pass(&mut self, name: &str, is_last: bool) -> Result<SnapshotId, Error> {
        let mut snapshot = None;
        self.step(name, |cutover| {
            let reread = is_last && cutover.weak_evidence()?;
            cutover.part_mut().planned.options.reread = reread;
            let planned = &cutover.part().planned;
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
                if reread { "; everything was read again" } else { "" },
            ))
        })?;
        snapshot.ok_or_else(|| Error::Cutover("the pass left no snapshot".to_owned()))
    }

    fn weak_evidence(&self) -> Result<bool, Error> {
        let origin = &self.part().planned.origin;
        if origin.directory().is_some() {
            return Ok(false);
        }
        let source = origin.open(self.context)?;
        Ok(source.losses().iter().any(|loss| loss.class.starts_with("times of the last change")))
    }

    /// Asks until it is known.
    fn disarm(&mut self) -> Result<Fate, Error> {
        let mut fate = Fate::Gone;
        self.step("disarm the timer", |cutover| {
            let id = cutover.timer_id()?;
            let ask = || {
                let host = cutover.part().planned.hooks_host(cutover.context)?;
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

    /// Leads clients to the target. From here on nothing thaws a source by itself.
    fn switch(&mut self) -> Result<(), Error> {
        self.each(|cutover| match cutover.stands() {
            State::CutOver => Ok(()),
            _ => cutover.take(State::Switching, "").map_err(|error| match is_moved(&error) {
                true => error,
                false => Error::Cutover(format!(
                    "{error}. The source rests, nothing was switched, and nothing thaws it by itself: \
                     run the same command again, or thaw it with --rollback"
                )),
            }),
        })?;
        let commands = &self.plan.cutover;
        self.once("switch", |cutover| {
            cutover.command("switch_command", commands.switch_command.as_ref())
        })?;
        self.once("smoke test", |cutover| {
            cutover.command("smoke_test", commands.smoke_test.as_ref())
        })?;
        let now = clock::now();
        let now = now.seconds as f64 + f64::from(now.nanos) / 1e9;
        let frozen = |part: &Part<'_>| part.facts.get("frozen")?.parse::<f64>().ok();
        let longest = self.parts.iter().filter_map(frozen).reduce(f64::min);
        self.report.freeze.actual = longest.map(|frozen| (now - frozen).max(0.0));
        self.each(|cutover| {
            if cutover.stands() == State::CutOver {
                return Ok(());
            }
            if let Some(frozen) = frozen(cutover.part()) {
                let actual = format!("{:.3}", (now - frozen).max(0.0));
                cutover.part_mut().facts.insert("freeze".to_owned(), actual);
            }
            cutover.take(State::CutOver, "")
        })?;
        self.each(|cutover| {
            cutover.clear_timer();
            Ok(())
        })
    }

    /// Takes the timer's files away; that they stay is no harm.
    pub(super) fn clear_timer(&self) {
        let clear = || {
            let host = self.part().planned.hooks_host(self.context)?;
            Timer::new(&*host, &self.timer_id()?).clear()
        };
        if let Err(error) = clear() {
            self.context.progress.warn(&error.to_string());
        }
    }

    pub(super) fn thaw(&mut self) -> Result<String, Error> {
        self.source_command("thaw", self.source().hooks.thaw.as_ref(), true)
    }

    /// Thaws all, then their timers are of no use any more. Where thawing fails, the timer stays.
    pub(super) fn give_up(&mut self, why: &Error) -> Result<(), Error> {
        let difference = matches!(why, Error::Difference(_));
        let interrupted = why.is_interruption();
        if is_moved(why) {
            // Whoever was faster has it in hand; who thaws below takes it out of theirs.
            return Err(Error::Ops(drover_ops::Error::CutoverMoved));
        }
        if let Err(error) = self.note_thaw(why) {
            if is_moved(&error) {
                return Err(error);
            }
            return Err(Error::Cutover(format!(
                "{why}; and that the source is thawed could not be noted: {error}. It was not \
                 thawed, since the next run could have taken it for resting: run the same command again"
            )));
        }
        let mut rest = Vec::new();
        self.each(|cutover| {
            if let Err(error) = cutover.give_up_one(why) {
                let told = match cutover.fate() {
                    Ok(Fate::Armed) => "its timer tries at its time",
                    Ok(_) => "nothing thaws it by itself: run the same command again",
                    Err(_) => "whether its timer thaws it is not known: run the same command again",
                };
                rest.push(format!("{}: {error}; {told}", cutover.name()));
            }
            Ok(())
        })?;
        if !rest.is_empty() {
            let rest = rest.join("; ");
            let message = format!("{why}; and the source could not be thawed: {rest}");
            return Err(Error::Cutover(message));
        }
        match interrupted {
            true => Err(Error::Ops(drover_ops::Error::Interrupted)),
            false => Err(Error::GivenUp { why: why.to_string(), thawed: true, difference }),
        }
    }

    /// Before any of them is thawed it is noted that they are: the next run would switch what is
    /// verified and disarmed as resting, and another run that is at work now may be about to. Where
    /// the store cannot take it, timers that wait still tell either that nothing is to be switched.
    fn note_thaw(&mut self, why: &Error) -> Result<(), Error> {
        if why.is_of_store() && self.timers_tell() {
            return Ok(());
        }
        let noted = self.each(|cutover| match cutover.stands().is_frozen() {
            true => cutover.take(State::Freezing, "it is thawed"),
            false => Ok(()),
        });
        match noted {
            Err(error) if !is_moved(&error) && self.timers_tell() => {
                self.context.progress.warn(&error.to_string());
                Ok(())
            }
            noted => noted,
        }
    }

    /// Whether no timer of what rests is disarmed, or may be.
    fn timers_tell(&mut self) -> bool {
        let tells = |cutover: &Self| {
            matches!(cutover.fate(), Ok(Fate::Armed | Fate::Fired | Fate::Withdrawn))
        };
        let asked = self.each(|cutover| match cutover.stands().is_frozen() && !tells(cutover) {
            true => Err(Error::Cutover(String::new())),
            false => Ok(()),
        });
        asked.is_ok()
    }

    /// What became of its timer.
    fn fate(&self) -> Result<Fate, Error> {
        let id = self.timer_id()?;
        let host = self.part().planned.hooks_host(self.context)?;
        Timer::new(&*host, &id).fate()
    }

    fn give_up_one(&mut self, why: &Error) -> Result<(), Error> {
        // Of several, another run may have come so far with this one.
        if !self.stands().is_frozen() {
            return Ok(());
        }
        if !self.part().works {
            self.step("thaw", Self::thaw).or_else(|_| self.step("thaw", Self::thaw))?;
            let withdrawn = self.part().planned.hooks_host(self.context).and_then(|host| {
                let id = self.timer_id()?;
                Timer::new(&*host, &id).withdraw()
            });
            if let Err(error) = withdrawn {
                self.context.progress.warn(&error.to_string());
            }
        }
        // Where this cannot be written now, the timer's files tell the next run.
        match self.take(State::Converging, &format!("given up: {}", why.outcome())) {
            Ok(()) => self.clear_timer(),
            Err(error) => self.context.progress.warn(&error.to_string()),
        }
        self.part_mut().facts.clear();
        Ok(())
    }

    /// Goes on where an earlier run ended, as the timers say.
    fn resume(&mut self) -> Result<(), Error> {
        let mut fates = Vec::new();
        self.each(|cutover| {
            if !cutover.stands().is_frozen() {
                return Ok(());
            }
            let fate = cutover.fate()?;
            cutover.say(&format!("the timer is {fate:?}").to_lowercase());
            // What a timer ran may have failed: what it thawed is thawed once more.
            cutover.part_mut().works = fate == Fate::Withdrawn;
            fates.push(fate);
            Ok(())
        })?;
        let states = self.standings();
        let give_up =
            |cutover: &mut Self, why: &str| cutover.give_up(&Error::Cutover(why.to_owned()));
        if fates.iter().any(|fate| matches!(fate, Fate::Fired | Fate::Withdrawn)) {
            return give_up(self, "an earlier run did not end in time");
        }
        if fates.len() < states.len() {
            return give_up(self, "an earlier run gave up another of the sources");
        }
        if fates.iter().all(|fate| *fate == Fate::Armed) {
            self.each(|cutover| match cutover.stands() {
                State::Freezing => Ok(()),
                _ => cutover.take(State::Freezing, "an earlier run ended here"),
            })?;
            return self.through();
        }
        // One is disarmed once all are verified.
        let known = |fate: &Fate| matches!(fate, Fate::Armed | Fate::Disarmed);
        if fates.iter().all(known) && states.iter().all(|state| *state == State::Verifying) {
            return self.disarm_and_switch();
        }
        give_up(self, "the timer of an earlier run is not there any more")
    }

    fn broken(&self, host: &dyn drover_source::host::Host, why: &str) -> Error {
        Error::Timer { host: host.place().to_owned(), why: why.to_owned() }
    }
}

/// Whether another run is at work with the same source.
fn is_moved(error: &Error) -> bool {
    matches!(error, Error::Ops(drover_ops::Error::CutoverMoved))
}

/// A name for a timer that nobody guesses.
fn id() -> String {
    drover_types::RepositoryId(drover_crypt::random::array()).to_hex()
}
