//! The way back: clients are led to the source again, with what the target took.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, path::Path};

use drover_ops::{
    SyncOptions,
    cutover::{Back, State, bring_back, check_write_back},
};
use drover_plan::Method;
use drover_report::{Text, format};
use drover_types::{RelativePath, SnapshotId};

use super::Cutover;
use crate::{error::Error, output::shown, owners};

/// The fact that the source has what the target took, and may work again.
const THAWING: &str = "thawing";
/// The fact that names what the source was before any of it was brought.
const KEPT: &str = "kept";
/// The fact that lists conflicts, one on each line.
const CONFLICTS: &str = "conflicts";
/// The fact that says how many of them it does not list.
const UNLISTED: &str = "conflicts not listed";
/// The fact that names what the target was when it was brought.
const BROUGHT: &str = "brought";
/// So many bytes of conflicts at most.
const TOLD: usize = 32 << 10;
/// What is put after a source's name where its target is taken: no name of a plan has it.
const SINCE_SWITCH: &str = ".since-switch";

impl Cutover<'_> {
    /// Leads back. What was frozen and not switched is thawed.
    pub fn roll_back(&mut self) -> Result<(), Error> {
        self.look()?;
        self.check_together()?;
        let states = self.standings();
        let begun =
            |state: &State| matches!(state, State::Switching | State::CutOver | State::RollingBack);
        if states.contains(&State::Committed) {
            let message = "it is final: there is no way back that drover knows".to_owned();
            return Err(Error::Cutover(message));
        }
        if !states.iter().any(begun) {
            if !states.iter().any(|state| state.is_frozen()) {
                let state = self.all_state();
                return Err(Error::Cutover(format!("what is {state} needs no way back")));
            }
            let why = Error::Cutover("rolled back before the switch".to_owned());
            return match self.give_up(&why) {
                Err(Error::GivenUp { thawed: true, .. }) => Ok(()),
                other => other,
            };
        }
        // An earlier run may have come so far that the sources work again: what clients wrote there
        // since must not become what the target was. All are noted before the first is thawed.
        let thawing = self.parts.iter().all(|part| match self.stands_of(part) {
            State::RollingBack => part.facts.contains_key(THAWING),
            state => state == State::Reverted,
        });
        if !thawing {
            // Before clients are kept from the target.
            self.each(|cutover| match (cutover.target(), cutover.write_back()) {
                (Some(_), Some(there)) if !there.is_dir() => Err(Error::Cutover(format!(
                    "the way back leads to {}, which is no directory: mount it, or name the source by \
                     write_back in the plan",
                    shown(&there)
                ))),
                _ => Ok(()),
            })?;
            self.each(|cutover| {
                // Of several, one may not have come to its switch.
                if cutover.stands().is_frozen() {
                    cutover.take(State::Switching, "")?;
                }
                cutover.part_mut().facts.remove(THAWING);
                cutover.take(State::RollingBack, "")
            })?;
        }
        let commands = &self.plan.cutover;
        self.once("freeze the target", |cutover| {
            cutover.command("freeze_target", commands.freeze_target.as_ref())
        })?;
        self.report.conflicts.clear();
        if thawing {
            self.report.conflicts = self.parts.iter().flat_map(|part| noted(&part.facts)).collect();
            self.each(|cutover| {
                if let Some(warning) = unlisted(cutover.facts()) {
                    cutover.context.progress.warn(&format!("{}: {warning}", cutover.name()));
                }
                Ok(())
            })?;
        } else {
            self.each(Self::bring_back)?;
            self.once("switch back", |cutover| {
                cutover.command("switch_back", commands.switch_back.as_ref())
            })?;
            self.each(|cutover| {
                cutover.part_mut().facts.insert(THAWING.to_owned(), "yes".to_owned());
                let note = "the source has what the target took; it is thawed";
                cutover.take(State::RollingBack, note)
            })?;
        }
        self.each(|cutover| {
            if cutover.stands() == State::Reverted {
                return Ok(());
            }
            cutover.step("thaw", Self::thaw)?;
            cutover.take(State::Reverted, "")?;
            cutover.clear_timer();
            Ok(())
        })
    }

    fn bring_back(&mut self) -> Result<(), Error> {
        let (Some(target), Some(write_back)) = (self.target(), self.write_back()) else {
            self.context.progress.warn(
                "what the target took since the switch is not brought back: the plan names no target \
                 of this machine, or no way to write to the source",
            );
            return Ok(());
        };
        let named = self.facts().get("snapshot").and_then(|id| SnapshotId::from_hex(id));
        let switched =
            named.ok_or_else(|| Error::Cutover("the step before names no snapshot".to_owned()))?;
        let kept = self.one_pass("pass over the source", false)?;
        // Where an earlier run ended in the middle, this pass has a part of the target's already.
        let known = self.facts().get(KEPT).and_then(|id| SnapshotId::from_hex(id));
        let first = known.unwrap_or(kept);
        if known.is_none() {
            let origin = &self.part().planned.origin;
            let is_origin = origin.directory().is_some_and(|origin| same(origin, &write_back));
            // What a command prints was never in a directory.
            if !is_origin && !origin.is_command() {
                self.step("write_back is the source", |cutover| {
                    if same(&target, &write_back) {
                        let message = "write_back leads to the target, and not to the source";
                        return Err(Error::Cutover(message.to_owned()));
                    }
                    cutover.refresh()?;
                    check_write_back(&mut cutover.reader, kept, &write_back)?;
                    Ok(shown(&write_back))
                })?;
            }
            self.part_mut().facts.insert(KEPT.to_owned(), kept.to_string());
            self.take(State::RollingBack, "what the source had is kept")?;
        }
        self.step("bring back", |cutover| {
            let options = SyncOptions {
                name: Some(format!("{}{SINCE_SWITCH}", cutover.name())),
                allow_empty: true,
                operator: cutover.context.operator(),
                ..SyncOptions::default()
            };
            let back = Back {
                writer: &cutover.writer,
                secret: &cutover.context.secret()?,
                target: &target,
                write_back: &write_back,
                switched,
                first,
                kept,
                landed: cutover.plan.cutover.verify == Method::Landed,
                options,
                owners: owners::reversed(cutover.plan)?,
            };
            let (progress, cancel) = (&cutover.context.progress, &cutover.context.cancel);
            let brought = bring_back(&mut cutover.reader, &back, progress, cancel)?;
            let (name, several) = (cutover.name(), cutover.parts.len() > 1);
            let told = |path: &RelativePath| match several {
                true => format!("{name}/{path}"),
                false => path.to_string(),
            };
            let conflicts: Vec<_> = brought.conflicts.iter().map(told).collect();
            let facts = &mut cutover.part_mut().facts;
            note(facts, &conflicts);
            facts.insert(BROUGHT.to_owned(), brought.snapshot.to_string());
            cutover.report.conflicts.extend(conflicts.into_iter().map(Text::from));
            if let Some(problem) = brought.problems.first() {
                let n = format::counted(brought.problems.len() as u64, "problem", "problems");
                let path = problem.path.as_ref().map(ToString::to_string).unwrap_or_default();
                let message = format!("{n}; the first: {path}: {}", problem.message);
                return Err(Error::Difference(message));
            }
            Ok(format!(
                "{} written, {} removed, {}; the target is kept as snapshot {}, the source as {first}",
                brought.written,
                brought.removed,
                format::counted(brought.conflicts.len() as u64, "conflict", "conflicts"),
                brought.snapshot,
            ))
        })
    }
}

/// Whether both paths lead to one directory.
fn same(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    id(one).is_some_and(|found| id(other) == Some(found))
}

/// Has whoever goes on know of the conflicts, as far as a step may say.
fn note(facts: &mut BTreeMap<String, String>, conflicts: &[String]) {
    let mut told = String::new();
    let mut listed = 0;
    for path in conflicts {
        if told.len() + path.len() >= TOLD {
            break;
        }
        told.push_str(path);
        told.push('\n');
        listed += 1;
    }
    facts.insert(CONFLICTS.to_owned(), told);
    facts.insert(UNLISTED.to_owned(), (conflicts.len() - listed).to_string());
}

/// What is to be said of conflicts that no step lists.
fn unlisted(facts: &BTreeMap<String, String>) -> Option<String> {
    let left = facts.get(UNLISTED)?.parse().ok().filter(|left| *left > 0)?;
    let (kept, brought) = (facts.get(KEPT)?, facts.get(BROUGHT)?);
    let left = format::counted(left, "more conflict is", "more conflicts are");
    Some(format!(
        "{left} not listed: what the source had is snapshot {kept}, what the target had {brought}; \
         drover diff shows where they differ"
    ))
}

fn noted(facts: &BTreeMap<String, String>) -> Vec<Text> {
    let told = facts.get(CONFLICTS).map(String::as_str).unwrap_or_default();
    told.lines().map(Text::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_that_a_step_does_not_list_are_told_of() {
        let mut facts = BTreeMap::new();
        let conflicts: Vec<_> = (0..5000).map(|n| format!("a directory/file {n:04}")).collect();
        note(&mut facts, &conflicts);
        facts.insert(KEPT.to_owned(), "aa".to_owned());
        facts.insert(BROUGHT.to_owned(), "bb".to_owned());
        let left = 5000 - noted(&facts).len();
        assert!(left > 0);
        let told = unlisted(&facts).unwrap();
        assert!(
            told.starts_with(&format!(
                "{} more conflicts are not listed",
                format::count(left as u64)
            )),
            "{told}"
        );
        assert!(told.contains("aa") && told.contains("bb"), "{told}");
        note(&mut facts, &conflicts[..100]);
        assert_eq!((noted(&facts).len(), unlisted(&facts)), (100, None));
    }
}
