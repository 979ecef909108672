//! A new epoch of keys, and the machines that write: each finds its grant and goes on as itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::{World, assert_same, noise, secret};
use drover_crypt::hierarchy::Grant;
use drover_ops::{
    Cancel, SyncOptions, Verdict, WriterSession,
    audit::{self, Event},
    inspect,
    keys::KeySession,
    sync,
};
use drover_source::LocalSource;
use drover_types::{PackClass, Silent};

fn pass(world: &World, session: &WriterSession) -> drover_ops::SyncOutcome {
    let source = LocalSource::open(&world.source()).unwrap();
    sync(session, &source, &SyncOptions::default(), &Silent, &Cancel::new()).unwrap()
}

fn rotate(world: &World) -> u32 {
    KeySession::open(world.objects(), &secret()).unwrap().rotate().unwrap()
}

#[test]
fn machines_that_write_take_the_new_epoch_and_go_on() {
    let world = World::new();
    fs::write(world.source().join("a"), noise(1, 300_000)).unwrap();
    let states = ["state", "another state"];
    let writers = states.map(|state| {
        let session = world.session_of(state);
        pass(&world, &session);
        assert_eq!(session.credential.epoch(), 1);
        session.credential.writer_id()
    });
    assert_eq!(rotate(&world), 2);
    let keys = KeySession::open(world.objects(), &secret()).unwrap();
    assert!(keys.writers().iter().all(|writer| writer.epoch == 2));
    assert_eq!(keys.writers().len(), 2);

    // What is recorded of the rotation is sealed to the new keys already.
    let event = Event { operator: "", verb: "key rotate", subject: "2", outcome: "done" };
    audit::record(&keys.repository, &world.path("state"), &event, &Silent);
    let reader = world.reader();
    let (records, problems) = inspect::log(&reader).unwrap();
    assert_eq!(problems, []);
    assert_eq!(records.last().unwrap().0.open.epoch, 2);

    for (state, writer) in states.into_iter().zip(writers) {
        fs::write(world.source().join(state), noise(2, 300_000)).unwrap();
        let session = world.session_of(state);
        assert_eq!((session.credential.epoch(), session.credential.writer_id()), (2, writer));
        let delta = pass(&world, &session);
        assert_eq!(
            (delta.counts.new, delta.counts.unchanged),
            (1 + u64::from(state != "state"), 1)
        );
        assert!(delta.parent.is_some(), "it is the same source");
    }
    let mut reader = world.reader();
    assert_eq!(reader.problems, []);
    let epochs: Vec<_> = reader.history.snapshots.iter().map(|s| s.stored.open.epoch).collect();
    assert_eq!(epochs, [1, 2, 1, 2]);
    let index = reader.load_index().unwrap();
    let data = index.packs().iter().filter(|pack| pack.header.class == PackClass::Data);
    let mut epochs: Vec<_> = data.map(|pack| pack.header.epoch).collect();
    epochs.sort_unstable();
    // Machines of one name share a domain: what the first had sent, the second did not send again.
    assert_eq!(epochs, [1, 2, 2]);
    let verified = world.verify(true);
    assert_eq!((verified.verdict, verified.problems), (Verdict::Verified, vec![]));
    let latest = world.reader().find("latest", None).unwrap().id();
    world.restore(latest, "restored");
    assert_same(&world, "restored");
}

#[test]
fn what_is_no_grant_of_this_writer_is_passed_over() {
    let world = World::new();
    let credential = world.session().credential;
    let stranger = world.session_of("another state").credential;
    rotate(&world);
    let (repository, writer) = (credential.repository(), credential.writer_id());
    let folder = world.repository();
    let grant =
        |writer, epoch: u32| folder.join(format!("{}{epoch}", Grant::names(repository, writer)));
    // Junk, another writer's, and an earlier one of its own under a later number.
    fs::write(grant(writer, 9), "junk").unwrap();
    fs::copy(grant(stranger.writer_id(), 2), grant(writer, 8)).unwrap();
    fs::copy(grant(writer, 1), grant(writer, 7)).unwrap();
    let renewed = world.session().credential;
    assert_eq!((renewed.epoch(), renewed.writer_id()), (2, writer));
    // Where the store withholds it, the machine goes on with what it has.
    fs::remove_file(grant(stranger.writer_id(), 2)).unwrap();
    assert_eq!(world.session_of("another state").credential.epoch(), 1);
}
