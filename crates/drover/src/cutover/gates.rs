//! The conditions of a cutover: what the plan asks for beside what there is. All are looked at, so
//! that who reads them need not run it once for each.

use std::path::{Path, PathBuf};

use drover_ops::cutover::{Chain, Pass, State, Taken, seconds};
use drover_plan::{Cutover, Landing, Plan, windows::WEEK};
use drover_report::{CutoverGate, Text, format};
use drover_types::{Exception, Timestamp};
use jiff::tz::TimeZone;

use super::{
    foretell::{Foretold, REHEARSED},
    stores,
};
use crate::{bandwidth::minute_of_week, output::shown};

/// Room that is asked for beside what the last pass leads to expect.
const SPARE: u64 = 256 << 20;
/// Exceptions that a gate names.
const NAMED: usize = 5;

/// What the gates look at.
pub struct Looked<'l> {
    pub plan: &'l Plan,
    pub source: &'l drover_plan::Source,
    /// BLAKE3 of the plan's file.
    pub plan_hash: &'l str,
    pub passes: &'l [Pass],
    /// Of all that go together.
    pub foretold: &'l Foretold,
    pub exceptions: &'l [Exception],
    pub chain: &'l Chain,
    /// What is wrong with the repository and the chain.
    pub problems: usize,
    /// When a verification last found everything in order.
    pub verified: Option<Timestamp>,
    /// The newest snapshot that another machine landed.
    pub landed_elsewhere: Option<String>,
    /// How far the source's clock is from this one, in seconds; why it is not known.
    pub skew: Result<f64, String>,
    /// The repository, and the target where it is a bucket; `None` once the source rests.
    pub stores: Option<&'l [stores::Looked]>,
    pub now: Timestamp,
    pub keeps_order: bool,
    pub sole_operator: bool,
    pub no_way_back: bool,
    pub target: Option<&'l Path>,
    /// The bytes that all of them want there.
    pub wanted: u64,
    /// Whether the owners of the plan's target are known to be whose on the source.
    pub owners_lead_back: bool,
    pub write_back: Option<PathBuf>,
}

pub(super) fn gate(
    id: &str,
    threshold: impl Into<String>,
    value: impl Into<String>,
    passed: bool,
    remedy: &str,
) -> CutoverGate {
    CutoverGate {
        source: Text::default(),
        id: Text::from(id),
        threshold: Text::from(threshold.into()),
        value: Text::from(value.into()),
        outcome: Text::from(if passed { "passed" } else { "refused" }),
        remedy: Text::from(if passed { "" } else { remedy }),
    }
}

/// Seconds that are left of the window, where it is open now; `None` where the plan has none.
pub fn window_left(cutover: &Cutover, now: Timestamp, zone: &TimeZone) -> Option<f64> {
    let window = cutover.window?;
    let minute = minute_of_week(now, zone);
    let since = window
        .begins()
        .map(|begin| (minute + WEEK - begin) % WEEK)
        .filter(|since| *since < window.minutes())
        .min();
    let Some(since) = since else { return Some(0.0) };
    // Windows that touch are one.
    let mut left = window.minutes() - since;
    while left < WEEK && window.holds((minute + left) % WEEK) {
        left += 1;
    }
    Some(f64::from(left) * 60.0 - now.seconds.rem_euclid(60) as f64)
}

/// Seconds that the source may rest from now on; `None` where the plan does not say.
pub fn rest(cutover: &Cutover, now: Timestamp) -> Option<f64> {
    let window = window_left(cutover, now, &TimeZone::system());
    let limit = cutover.freeze.map(|age| age.0.as_secs_f64());
    window.into_iter().chain(limit).reduce(f64::min)
}

/// Those that are the same for all that go together.
pub fn of_all(looked: &Looked<'_>) -> Vec<CutoverGate> {
    let cutover = &looked.plan.cutover;
    let mut gates = vec![gate(
        "repository",
        "no problem",
        format::counted(looked.problems as u64, "problem", "problems"),
        looked.problems == 0,
        "drover verify and drover log verify say more.",
    )];
    gates.extend(freeze(looked, cutover));
    if let Some(stores) = looked.stores {
        let rest = rest(cutover, looked.now).unwrap_or(0.0);
        gates.push(stores::credentials(stores, cutover, rest, looked.now));
        let rehearsal = last_rehearsal(looked.chain, looked.source.name.as_str());
        let then = rehearsal.map(|step| &step.to.facts);
        gates.extend(stores::settings(stores, cutover, then));
    }
    gates.push(gate(
        "one operator",
        "the store keeps the order of steps",
        if looked.keeps_order { "it does" } else { "it does not" },
        looked.keeps_order || looked.sole_operator,
        "Make sure that nobody else works on this cutover, and say so with --sole-operator.",
    ));
    gates
}

/// Those of a source.
pub fn of_each(looked: &Looked<'_>) -> Vec<CutoverGate> {
    let cutover = &looked.plan.cutover;
    let mut gates = vec![
        baseline(looked),
        exceptions(looked),
        rehearsal(looked, cutover),
        commands(looked, cutover),
        landing(looked, cutover),
    ];
    gates.extend(space(looked));
    gates.extend([clock(looked, cutover), way_back(looked, cutover)]);
    gates
}

fn baseline(looked: &Looked<'_>) -> CutoverGate {
    let first = looked.passes.first().map(|pass| pass.ended);
    let verified = looked.verified.filter(|when| first.is_some_and(|first| *when >= first));
    let value = match (first, verified) {
        (None, _) => "no pass yet".to_owned(),
        (Some(_), None) => "a pass, and no verification after it".to_owned(),
        (_, Some(when)) => format!("verified at {}", format::time(when)),
    };
    let remedy = "Take a pass with drover sync, then run drover verify: a machine that wrote to the \
                  repository records the outcome.";
    gate("baseline", "a pass, and a verification after it", value, verified.is_some(), remedy)
}

/// The exceptions that nobody accepted.
pub fn open_exceptions<'l>(
    list: &'l [Exception],
    chain: &Chain,
    source: &str,
) -> Vec<&'l Exception> {
    let accepted = chain.accepted(source);
    let open = |e: &&Exception| !accepted.contains_key(e.path.to_string().as_str());
    list.iter().filter(open).collect()
}

fn exceptions(looked: &Looked<'_>) -> CutoverGate {
    let allowed = looked.plan.cutover.exceptions.unwrap_or(0);
    let open = open_exceptions(looked.exceptions, looked.chain, looked.source.name.as_str());
    let mut value = match looked.exceptions.len() {
        0 => "none".to_owned(),
        all => format!("{all}, {} of them accepted", all - open.len()),
    };
    if open.len() > allowed {
        let names: Vec<_> = open.iter().take(NAMED).map(|e| e.path.to_string()).collect();
        let more = if open.len() > NAMED { ", …" } else { "" };
        value.push_str(&format!(": {}{more}", names.join(", ")));
    }
    let remedy = "Give the permission that is missing and take another pass, or sign for each by its \
                  path with --accept.";
    let threshold = format!("at most {allowed} that nobody accepted");
    gate("exceptions", threshold, value, open.len() <= allowed, remedy)
}

fn freeze(looked: &Looked<'_>, cutover: &Cutover) -> Vec<CutoverGate> {
    let p90 = looked.foretold.freeze.p90;
    let value = match (p90, looked.foretold.converges) {
        (Some(p90), _) => format!("{} in 9 of 10 cases", format::duration(p90)),
        (None, Some(false)) => "there is no end of passes: as much changes as is sent".to_owned(),
        (None, _) => "unknown: a second pass tells".to_owned(),
    };
    let remedy = "Take delta passes until less changes, raise the bandwidth, or leave out what need \
                  not move; drover status shows how it goes.";
    let mut gates = Vec::new();
    if let Some(limit) = cutover.freeze {
        let limit = limit.0.as_secs_f64();
        let passed = p90.is_some_and(|p90| p90 <= limit);
        let threshold = format!("at most {}", format::duration(limit));
        gates.push(gate("freeze", threshold, value.clone(), passed, remedy));
    }
    match (window_left(cutover, looked.now, &TimeZone::system()), cutover.window) {
        (Some(left), Some(window)) => {
            let passed = p90.is_some_and(|p90| p90 <= left);
            let found = match left > 0.0 {
                true => format!("{} are left; the freeze: {value}", format::duration(left)),
                false => "it is not open now".to_owned(),
            };
            let remedy = "Wait for the window, or change it in the plan; delta passes make the freeze \
                          shorter.";
            gates.push(gate("window", window.to_string(), found, passed, remedy));
        }
        _ if cutover.freeze.is_none() => {
            let remedy = "Give [cutover] freeze or window in the plan: without it nobody knows when \
                          the source is to be thawed again.";
            gates.push(gate("window", "an end of the freeze", "none is given", false, remedy));
        }
        _ => {}
    }
    gates
}

/// The rehearsal that counts, if there is one.
pub fn last_rehearsal<'c>(chain: &'c Chain, source: &'c str) -> Option<&'c Taken> {
    // An exception that was accepted since is no rehearsal.
    let rehearsals = chain.of(source).filter(|step| step.to.state == State::Rehearsed);
    rehearsals.rev().find(|step| step.to.facts.contains_key(REHEARSED))
}

fn rehearsal(looked: &Looked<'_>, cutover: &Cutover) -> CutoverGate {
    let within = cutover.rehearsed_within.0.as_secs_f64();
    let last = last_rehearsal(looked.chain, looked.source.name.as_str());
    let same =
        |step: &Taken| step.to.facts.get("plan").map(String::as_str) == Some(looked.plan_hash);
    let (value, passed) = match last {
        None => ("none".to_owned(), false),
        Some(step) if !same(step) => ("with another plan".to_owned(), false),
        Some(step) => {
            let age = seconds(step.time, looked.now);
            (format!("{} ago", format::duration(age)), age <= within)
        }
    };
    let threshold = format!("one within {}, with this plan", format::duration(within));
    gate("rehearsal", threshold, value, passed, "Rehearse: drover cutover PLAN --rehearse.")
}

fn commands(looked: &Looked<'_>, cutover: &Cutover) -> CutoverGate {
    let hooks = &looked.source.hooks;
    let wanted = [
        ("freeze", hooks.freeze.is_some()),
        ("thaw", hooks.thaw.is_some()),
        ("switch_command", cutover.switch_command.is_some()),
    ];
    let missing: Vec<_> = wanted.iter().filter(|(_, there)| !there).map(|(key, _)| *key).collect();
    let value = match missing.is_empty() {
        true => "all are there".to_owned(),
        false => format!("missing: {}", missing.join(", ")),
    };
    let remedy = "Give them in the plan: freeze and thaw with the source, switch_command in \
                  [cutover]. What a person does by hand is [\"true\"].";
    gate("commands", "freeze, thaw, switch_command", value, missing.is_empty(), remedy)
}

fn landing(looked: &Looked<'_>, cutover: &Cutover) -> CutoverGate {
    let Some(newest) = looked.passes.last() else {
        return gate("lag", "a pass", "none", false, "Take a pass with drover sync.");
    };
    let age = seconds(newest.ended, looked.now);
    let limit = cutover.lag.0.as_secs_f64();
    let threshold = format!("a pass within {}", format::duration(limit));
    let value = format!("{} ago", format::duration(age));
    if cutover.landing == Landing::Here {
        let remedy = "Take a pass with drover sync: what it sends, the freeze need not send.";
        return gate("lag", threshold, value, age <= limit, remedy);
    }
    let id = newest.snapshot.to_string();
    let (value, landed) = match &looked.landed_elsewhere {
        Some(landed) if *landed == id => (format!("{value}, and landed"), true),
        Some(_) => (format!("{value}, and an older one landed"), false),
        None => (format!("{value}, and nothing landed that was recorded"), false),
    };
    let remedy = "Look at the machine that lands: drover restore records what it landed where its \
                  state has a writer's credential.";
    gate("lag", format!("{threshold}, and landed"), value, landed && age <= limit, remedy)
}

/// The bytes that a last pass is expected to want on a target of this machine.
pub fn wanted(target: Option<&Path>, newest: Option<&Pass>) -> u64 {
    let (Some(target), Some(newest)) = (target, newest) else { return 0 };
    let landed = target.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    // What changes is written beside what it replaces.
    let changed = newest.changed.map_or(newest.bytes, |(_, bytes)| bytes.saturating_mul(2));
    if landed { changed } else { newest.bytes }
}

fn space(looked: &Looked<'_>) -> Option<CutoverGate> {
    let target = looked.target?;
    looked.passes.last()?;
    let there = target.ancestors().find(|path| path.exists())?;
    let Ok(room) = rustix::fs::statvfs(there) else {
        let remedy = "Check the target's path, mount and permissions.";
        return Some(gate("space", "room on the target", "unknown", false, remedy));
    };
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    let wanted = looked.wanted.saturating_add(SPARE);
    let threshold = format!("{} free at {}", format::bytes(wanted), shown(target));
    let remedy = "Make room on the target.";
    Some(gate("space", threshold, format::bytes(free), free >= wanted, remedy))
}

fn clock(looked: &Looked<'_>, cutover: &Cutover) -> CutoverGate {
    let limit = cutover.clock_skew.0.as_secs_f64();
    let threshold = format!("within {} of this machine's", format::duration(limit));
    let remedy = "Set the clocks: times of changes decide what a pass reads again.";
    match &looked.skew {
        Ok(skew) => {
            let value = format!("{} apart", format::duration(skew.abs()));
            gate("clock", threshold, value, skew.abs() <= limit, remedy)
        }
        Err(why) => {
            gate("clock", threshold, format!("unknown: {why}"), false, "Let the account run date.")
        }
    }
}

fn way_back(looked: &Looked<'_>, cutover: &Cutover) -> CutoverGate {
    let here = cutover.landing == Landing::Here && looked.target.is_some();
    let mut missing = Vec::new();
    if cutover.switch_back.is_none() {
        missing.push("switch_back");
    }
    if cutover.freeze_target.is_none() {
        missing.push("freeze_target");
    }
    match &looked.write_back {
        None => missing.push("write_back"),
        Some(there) if !there.is_dir() => missing.push("write_back as a directory that is there"),
        Some(_) => {}
    }
    if !here {
        missing.push("a directory that this machine lands");
    }
    if !looked.owners_lead_back {
        missing.push("the source's owners, by a number or a name of this machine");
    }
    let value = match missing.is_empty() {
        true => "there is one".to_owned(),
        false => format!("missing: {}", missing.join(", ")),
    };
    let remedy =
        "Give them in the plan, or go without a way back that loses nothing: --no-way-back.";
    let passed = missing.is_empty() || looked.no_way_back;
    gate("way back", "switch_back, freeze_target, write_back, a target", value, passed, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Monday, 5 January 2026, 12:00 UTC.
    const MONDAY_NOON: i64 = 1_767_614_400;

    fn left(window: &str, at: i64) -> f64 {
        let cutover = Cutover { window: Some(window.parse().unwrap()), ..Cutover::default() };
        let now = Timestamp { seconds: at, nanos: 0 };
        window_left(&cutover, now, &TimeZone::UTC).unwrap()
    }

    #[test]
    fn what_is_left_of_a_window() {
        assert_eq!(left("Mon 11:00-13:30", MONDAY_NOON), 90.0 * 60.0);
        assert_eq!(left("Mon 11:00-13:30", MONDAY_NOON + 30), 90.0 * 60.0 - 30.0);
        assert_eq!(left("Mon 13:00-14:00", MONDAY_NOON), 0.0);
        assert_eq!(left("Sun 22:00-06:00", MONDAY_NOON - 8 * 3600), 2.0 * 3600.0);
        assert_eq!(left("Tue 11:00-13:00", MONDAY_NOON), 0.0);
        assert_eq!(left("daily 00:00-24:00", MONDAY_NOON), 7.0 * 86_400.0);
    }

    #[test]
    fn a_plan_without_a_window_has_none_left() {
        let now = Timestamp { seconds: MONDAY_NOON, nanos: 0 };
        assert_eq!(window_left(&Cutover::default(), now, &TimeZone::UTC), None);
    }
}
