//! What is done beside passes stands in the audit log of the machine's own writer, in one chain
//! with what its passes leave.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{fs, sync::Mutex};

use common::World;
use drover_ops::{
    audit::{Event, record},
    inspect,
};
use drover_types::{Counter, Exception, Observer, Phase};

/// Keeps warnings.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Observer for Warnings {
    fn warning(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
    fn add(&self, _: Counter, _: u64) {}
    fn phase(&self, _: Phase) {}
    fn exception(&self, _: &Exception) {}
}

/// Records a restore by the machine whose state is in `state`; returns the warnings.
fn note(world: &World, state: &str) -> Vec<String> {
    let event =
        Event { operator: "ada", verb: "restore", subject: "pacs", outcome: "3 entries written" };
    let warnings = Warnings::default();
    record(&world.reader().repository, &world.path(state), &event, &warnings);
    warnings.0.into_inner().unwrap()
}

/// The verbs of the whole log, which must be whole.
#[track_caller]
fn verbs(world: &World) -> Vec<String> {
    let (records, problems) = inspect::log(&world.reader()).unwrap();
    assert_eq!(problems, []);
    records.into_iter().map(|(_, action)| action.verb).collect()
}

#[test]
fn records_and_passes_are_one_chain() {
    let world = World::new();
    world.sync();
    assert_eq!(note(&world, "state"), [""; 0]);
    assert_eq!(note(&world, "state"), [""; 0]);
    world.sync();
    assert_eq!(verbs(&world), ["sync", "restore", "restore", "sync"]);
    let (records, _) = inspect::log(&world.reader()).unwrap();
    let (_, action) = &records[1];
    let said = (action.operator.as_str(), action.subject.as_str(), action.outcome.as_str());
    assert_eq!(said, ("ada", "pacs", "3 entries written"));
}

#[test]
fn who_only_reads_leaves_no_record_and_no_state() {
    let world = World::new();
    world.sync();
    assert_eq!(note(&world, "another state"), [""; 0]);
    assert!(!world.path("another state").exists());
    assert_eq!(verbs(&world), ["sync"]);
}

#[test]
fn a_record_that_does_not_arrive_is_a_warning_and_comes_later() {
    let world = World::new();
    world.sync();
    let (log, aside) = (world.repository().join("log"), world.path("aside"));
    fs::rename(&log, &aside).unwrap();
    fs::write(&log, "in the way").unwrap();
    let warnings = note(&world, "state");
    assert!(warnings.len() == 1 && warnings[0].contains("audit log"), "{warnings:?}");
    fs::remove_file(&log).unwrap();
    fs::rename(&aside, &log).unwrap();
    assert_eq!(note(&world, "state"), [""; 0]);
    assert_eq!(verbs(&world), ["sync", "restore", "restore"]);
    world.sync();
    assert_eq!(verbs(&world).len(), 4);
}

#[test]
fn a_lost_state_goes_on_after_the_last_record_and_not_after_strangers() {
    let world = World::new();
    world.sync();
    note(&world, "state");
    let session = world.session();
    let writer = session.credential.writer_id();
    let path = session.folder.path().join("state.redb");
    drop(session);
    // Anyone who can write to the store can put something there.
    let stranger = world.repository().join(format!("log/{writer}/{:020}-{}", 99, "ab".repeat(32)));
    fs::write(&stranger, "not signed").unwrap();
    fs::write(path, "").unwrap();
    note(&world, "state");
    fs::remove_file(stranger).unwrap();
    assert_eq!(verbs(&world), ["sync", "restore", "restore"]);
    world.sync();
    assert_eq!(verbs(&world).len(), 4);
}
