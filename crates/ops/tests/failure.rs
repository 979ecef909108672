//! What a pass leaves when something fails: the error itself, a caller that can go on, and one
//! history.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{fs, ops::Range, os::unix::fs::PermissionsExt};

use common::{World, noise};
use drover_ops::{
    Cancel, Compared, Error, SyncOptions, Verdict, WriterSession, compare_tree, sync,
};
use drover_source::{
    LocalSource, ReadError, Source, SourceDescription, SourceError, SourceFile, Stat, Walk,
    WalkEvent, WalkOptions,
};
use drover_types::{Attributes, Counter, Entry, Exception, Observer, Phase, RelativePath, Silent};

/// A source on which nothing changed a moment ago, but for the first look at an open file.
struct Calm {
    inner: LocalSource,
    racy_at_first: bool,
}

struct CalmFile {
    inner: Box<dyn SourceFile>,
    racy: bool,
}

impl Source for Calm {
    fn description(&self) -> SourceDescription {
        self.inner.description()
    }
    fn walk(&self, options: &WalkOptions) -> Result<Walk, SourceError> {
        Ok(Walk::new(self.inner.walk(options)?.map(|event| match event {
            WalkEvent::Entry(mut entry) => {
                entry.evidence.racy = false;
                WalkEvent::Entry(entry)
            }
            problem => problem,
        })))
    }
    fn open(&self, path: &RelativePath) -> Result<Box<dyn SourceFile>, ReadError> {
        let inner = self.inner.open(path)?;
        Ok(Box::new(CalmFile { inner, racy: self.racy_at_first }))
    }
    fn complete(&self, entry: &mut Entry) -> Result<(), ReadError> {
        self.inner.complete(entry)
    }
}

impl SourceFile for CalmFile {
    fn stat(&mut self) -> Result<Stat, ReadError> {
        let mut stat = self.inner.stat()?;
        stat.evidence.racy = std::mem::take(&mut self.racy);
        Ok(stat)
    }
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        self.inner.read_at(offset, buffer)
    }
    fn next_data(&mut self, offset: u64) -> Result<Option<Range<u64>>, ReadError> {
        self.inner.next_data(offset)
    }
    fn complete(&mut self, attributes: &mut Attributes) -> Result<(), ReadError> {
        self.inner.complete(attributes)
    }
}

fn calm(world: &World, racy_at_first: bool) -> Calm {
    Calm { inner: LocalSource::open(&world.source()).unwrap(), racy_at_first }
}

#[test]
fn a_change_within_the_tick_of_the_first_look_is_not_trusted_away() {
    let world = World::new();
    fs::write(world.source().join("a"), noise(1, 1000)).unwrap();
    let pass = |racy| {
        let (options, cancel) = (SyncOptions::default(), Cancel::new());
        sync(&world.session(), &calm(&world, racy), &options, &Silent, &cancel).unwrap()
    };
    pass(true);
    assert_eq!(pass(false).read, 1000, "the first look was too close to a change");
    assert_eq!(pass(false).read, 0);
}

/// Asks to stop at the end of the first entries.
struct StopAtFirst(Cancel);

impl Observer for StopAtFirst {
    fn add(&self, counter: Counter, _: u64) {
        if counter == Counter::EntriesDone {
            self.0.set();
        }
    }
    fn phase(&self, _: Phase) {}
    fn exception(&self, _: &Exception) {}
    fn warning(&self, _: &str) {}
}

#[test]
fn to_read_everything_again_trusts_no_unfinished_pass() {
    let world = World::new();
    for name in ["a", "b", "c"] {
        fs::write(world.source().join(name), name.repeat(1000)).unwrap();
    }
    let ordinary = SyncOptions::default();
    sync(&world.session(), &calm(&world, false), &ordinary, &Silent, &Cancel::new()).unwrap();
    let cancel = Cancel::new();
    let stop = StopAtFirst(cancel.clone());
    let stopped = sync(&world.session(), &calm(&world, false), &ordinary, &stop, &cancel);
    assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    let reread = SyncOptions { reread: true, ..SyncOptions::default() };
    let outcome =
        sync(&world.session(), &calm(&world, false), &reread, &Silent, &Cancel::new()).unwrap();
    assert_eq!(outcome.read, 3000);
    assert_eq!(outcome.counts.unchanged, 3);
}

#[test]
fn a_store_that_fails_is_the_error_and_does_not_stop_what_comes_next() {
    let world = World::new();
    fs::write(world.source().join("a"), noise(1, 100_000)).unwrap();
    fs::write(world.repository().join("packs"), "in the way").unwrap();
    let (source, cancel) = (LocalSource::open(&world.source()).unwrap(), Cancel::new());
    let session = world.session();
    let failed = sync(&session, &source, &SyncOptions::default(), &Silent, &cancel);
    assert!(matches!(failed, Err(Error::Store(_))), "{failed:?}");
    assert!(!cancel.is_set());
    fs::remove_file(world.repository().join("packs")).unwrap();
    sync(&session, &source, &SyncOptions::default(), &Silent, &cancel).unwrap();
    drop(session);
    assert_eq!(world.verify(true).verdict, Verdict::Verified);
}

#[test]
fn a_snapshot_that_arrived_unnoticed_is_followed_and_not_forked() {
    let world = World::new();
    fs::write(world.source().join("a"), "one").unwrap();
    let (source, cancel) = (LocalSource::open(&world.source()).unwrap(), Cancel::new());
    let session = world.session();
    let options = SyncOptions::default();
    let first = sync(&session, &source, &options, &Silent, &cancel).unwrap();

    let folder = world.repository().join("snapshots").join(session.credential.writer_id().to_hex());
    let aside = world.path("snapshots aside");
    fs::rename(&folder, &aside).unwrap();
    fs::write(&folder, "in the way").unwrap();
    let failed = sync(&session, &source, &options, &Silent, &cancel);
    assert!(matches!(failed, Err(Error::Store(_))), "{failed:?}");
    fs::remove_file(&folder).unwrap();
    fs::rename(&aside, &folder).unwrap();
    // The store had taken it; only its answer was lost.
    let pending = session.database.pending_commit().unwrap().unwrap();
    for (name, bytes) in pending.objects {
        session.objects.put_new(&name, bytes.into()).unwrap();
    }

    let third = sync(&session, &source, &options, &Silent, &cancel).unwrap();
    assert_ne!(third.parent, Some(first.snapshot));
    drop(session);
    let reader = world.reader();
    assert_eq!(reader.problems, []);
    assert_eq!(reader.history.snapshots.len(), 3);
    assert_eq!(world.verify(true).verdict, Verdict::Verified);
}

#[test]
fn a_target_is_compared_to_its_last_entry() {
    let world = World::new();
    fs::create_dir(world.source().join("d")).unwrap();
    fs::write(world.source().join("d/a"), noise(1, 5000)).unwrap();
    fs::write(world.source().join("b"), "b").unwrap();
    let snapshot = world.sync().snapshot;
    world.restore(snapshot, "restored");
    let compare = |path: &str, what| {
        let tree = LocalSource::open(&world.path(path)).unwrap();
        compare_tree(&mut world.reader(), snapshot, &tree, what, &Silent, &Cancel::new()).unwrap().0
    };
    let same = compare("restored", Compared::Target);
    assert_eq!((same.verdict, same.problems), (Verdict::Verified, vec![]));
    assert_eq!(compare("source", Compared::Source).verdict, Verdict::Verified);
    fs::set_permissions(world.path("restored/b"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(world.path("restored/d/a")).unwrap();
    let other = compare("restored", Compared::Target);
    assert_eq!(other.verdict, Verdict::Failed);
    let kinds: Vec<_> = other.problems.iter().map(|p| p.kind.as_str()).collect();
    assert!(kinds.contains(&"missing") && kinds.contains(&"metadata differs"), "{kinds:?}");
}

#[test]
fn junk_beside_snapshots_and_keys_keeps_nobody_from_the_rest() {
    let world = World::new();
    fs::write(world.source().join("a"), "one").unwrap();
    let snapshot = world.sync().snapshot;
    for folder in ["snapshots", "keys"] {
        let junk = fs::File::create(world.repository().join(folder).join("junk")).unwrap();
        junk.set_len(64 << 20).unwrap();
    }
    world.restore(snapshot, "restored");
    assert_eq!(fs::read(world.path("restored/a")).unwrap(), b"one");
    assert_eq!(world.verify(false).verdict, Verdict::Failed);
}

#[test]
fn a_pass_killed_while_it_committed_leaves_its_manifest_to_the_next() {
    let world = World::new();
    for name in ["a", "b", "c"] {
        fs::write(world.source().join(name), name.repeat(1000)).unwrap();
    }
    let options = SyncOptions::default();
    let pass = |session: &WriterSession| {
        sync(session, &calm(&world, false), &options, &Silent, &Cancel::new())
    };
    let session = world.session();
    let folder = world.repository().join("snapshots");
    fs::write(&folder, "in the way").unwrap();
    assert!(matches!(pass(&session), Err(Error::Store(_))));
    fs::remove_file(&folder).unwrap();
    // As if it had been killed before the manifest was put in its place.
    let pending = session.database.pending_commit().unwrap().unwrap();
    let (source, record) = pending.source.unwrap();
    let place = session.folder.next_checkpoint(source);
    fs::rename(session.folder.manifest(source, record.snapshot), place).unwrap();
    drop(session);

    let next = pass(&world.session()).unwrap();
    assert_eq!((next.parent, next.read), (Some(record.snapshot), 0));
    assert_eq!(next.counts.unchanged, 3);
    assert_eq!(world.reader().problems, []);
}

#[test]
fn damaged_state_is_set_aside_and_the_history_goes_on() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [Damage; 5] = [
        |bytes| bytes.clear(),
        |bytes| bytes.truncate(100),
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.fill(0x5a),
        |bytes| bytes.iter_mut().skip(4096).for_each(|byte| *byte = 0),
    ];
    for (number, damage) in damages.iter().enumerate() {
        let world = World::new();
        fs::write(world.source().join("a"), noise(1, 5000)).unwrap();
        world.sync();
        let path = world.session().folder.path().join("state.redb");
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();

        let next = world.sync();
        world.restore(next.snapshot, "restored");
        let reader = world.reader();
        assert_eq!(reader.problems, [], "damage {number}");
        assert_eq!(reader.history.snapshots.len(), 2);
        assert_eq!(world.verify(true).verdict, Verdict::Verified);
    }
}

#[test]
fn however_often_a_pass_is_cut_off_few_checkpoints_are_kept() {
    let world = World::new();
    for name in ["a", "b", "c"] {
        fs::write(world.source().join(name), name.repeat(1000)).unwrap();
    }
    let options = SyncOptions::default();
    let session = world.session();
    for _ in 0..6 {
        let cancel = Cancel::new();
        let stop = StopAtFirst(cancel.clone());
        let stopped = sync(&session, &calm(&world, false), &options, &stop, &cancel);
        assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    }
    let checkpoints = || {
        let entries = fs::read_dir(session.folder.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("checkpoint-")).count()
    };
    assert!((1..=3).contains(&checkpoints()), "{}", checkpoints());
    let cancel = Cancel::new();
    let done = sync(&session, &calm(&world, false), &options, &Silent, &cancel).unwrap();
    assert_eq!((done.counts.new, checkpoints()), (3, 0));
}
