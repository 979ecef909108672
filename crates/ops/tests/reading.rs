//! What is read where a repository holds more, or other things, than one writer's whole history.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::World;
use drover_ops::{Cancel, Error, SyncOptions, VerifyOptions, sync, verify};
use drover_source::LocalSource;
use drover_types::{Silent, SnapshotId};

/// A pass of the machine whose state is in `state`, over a source of this name.
fn pass(world: &World, state: &str, name: &str) -> SnapshotId {
    let options = SyncOptions { name: Some(name.into()), ..SyncOptions::default() };
    let source = LocalSource::open(&world.source()).unwrap();
    sync(&world.session_of(state), &source, &options, &Silent, &Cancel::new()).unwrap().snapshot
}

fn ambiguous<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::NoSuchSnapshot(message)) if message.contains("ambiguous"))
}

#[test]
fn the_newest_snapshot_of_a_source_may_be_any_writers() {
    let world = World::new();
    fs::write(world.source().join("a"), "one").unwrap();
    pass(&world, "first", "pacs");
    let second = pass(&world, "second", "pacs");
    let reader = world.reader();
    assert_eq!(reader.history.writers.len(), 2);
    assert_eq!(reader.find("latest", None).unwrap().id(), second);
    let third = pass(&world, "first", "pacs");
    assert_eq!(world.reader().find("latest", Some("pacs")).unwrap().id(), third);

    // Another name is another source, and both lie in the same place.
    let other = pass(&world, "first", "files");
    let reader = world.reader();
    assert!(ambiguous(reader.find("latest", None)));
    assert!(ambiguous(reader.find("latest", Some(world.source().to_str().unwrap()))));
    assert_eq!(reader.find("latest", Some("pacs")).unwrap().id(), third);
    assert_eq!(reader.find("latest", Some("files")).unwrap().id(), other);
}

#[test]
fn a_snapshot_that_is_not_there_is_not_verified() {
    let world = World::new();
    world.sync();
    let verify = |id| {
        let options = VerifyOptions { snapshot: Some(id), ..VerifyOptions::default() };
        verify(&mut world.reader(), &options, &Silent, &Cancel::new())
    };
    assert!(verify(world.sync().snapshot).is_ok());
    let refused = verify(SnapshotId([7; 32]));
    assert!(matches!(refused, Err(Error::NoSuchSnapshot(_))), "{refused:?}");
}
