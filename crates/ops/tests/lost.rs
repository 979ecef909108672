//! State that is lost, damaged or cut: what the repository has is neither sent nor read again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use common::{World, noise, secret};
use drover_ops::{Cancel, Error, SyncOptions, SyncOutcome, Verdict, WriterSession, sync};
use drover_source::{
    LocalSource, ReadError, Source, SourceDescription, SourceError, SourceFile, Walk, WalkEvent,
    WalkOptions,
};
use drover_types::{Counter, Entry, Exception, Observer, Phase, RelativePath};

const BYTES: u64 = 6 << 20;

/// A source on which nothing changed a moment ago.
struct Calm(LocalSource);

impl Source for Calm {
    fn description(&self) -> SourceDescription {
        self.0.description()
    }
    fn walk(&self, options: &WalkOptions) -> Result<Walk, SourceError> {
        Ok(Walk::new(self.0.walk(options)?.map(|mut event| {
            if let WalkEvent::Entry(entry) = &mut event {
                entry.evidence.racy = false;
            }
            event
        })))
    }
    fn open(&self, path: &RelativePath) -> Result<Box<dyn SourceFile>, ReadError> {
        self.0.open(path)
    }
    fn complete(&self, entry: &mut Entry) -> Result<(), ReadError> {
        self.0.complete(entry)
    }
}

#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Warnings {
    fn mention(&self, text: &str) -> bool {
        self.0.lock().unwrap().iter().any(|warning| warning.contains(text))
    }
}

impl Observer for Warnings {
    fn add(&self, _: Counter, _: u64) {}
    fn phase(&self, _: Phase) {}
    fn exception(&self, _: &Exception) {}
    fn warning(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

fn world() -> World {
    let world = World::new();
    fs::create_dir(world.source().join("below")).unwrap();
    for number in 0..3 {
        let file = world.source().join(format!("below/{number}"));
        fs::write(file, noise(number, BYTES as usize / 3)).unwrap();
    }
    world
}

fn pass(world: &World, password: bool) -> (SyncOutcome, Warnings) {
    let warnings = Warnings::default();
    let url = world.repository().display().to_string();
    let ask = || Ok(password.then(secret));
    let session =
        WriterSession::open(world.objects(), &url, &world.path("state"), &ask, &warnings).unwrap();
    // How racy a file is that was just written is the clock's affair: it is old enough here.
    let source = Calm(LocalSource::open(&world.source()).unwrap());
    let options = SyncOptions::default();
    let outcome = sync(&session, &source, &options, &warnings, &Cancel::new()).unwrap();
    (outcome, warnings)
}

/// The file of the state whose name begins so.
fn state_file(world: &World, prefix: &str) -> PathBuf {
    let folder = fs::read_dir(world.path("state")).unwrap().next().unwrap().unwrap().path();
    let is_it = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(prefix);
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).find(is_it).unwrap()
}

fn cut(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() - 20]).unwrap();
}

#[track_caller]
fn assert_nothing_again(world: &World, before: &SyncOutcome, after: &SyncOutcome) {
    assert_eq!(after.counts.unchanged, before.counts.total(), "{after:?}");
    assert_eq!(after.parent, Some(before.snapshot));
    assert_eq!(after.read, 0);
    assert!(after.usage.bytes_sent < 64 << 10, "{:?}", after.usage);
    let verified = world.verify(true);
    assert_eq!(verified.problems, []);
    assert_eq!(verified.verdict, Verdict::Verified);
}

/// A first pass, and one that leaves no evidence that is too young to be trusted.
fn settled(world: &World) -> SyncOutcome {
    pass(world, true);
    pass(world, true).0
}

#[test]
fn a_lost_state_is_rebuilt_by_a_new_writer() {
    let world = world();
    let before = settled(&world);
    assert!(before.counts.files == 3 && before.counts.bytes == BYTES);
    fs::remove_dir_all(world.path("state")).unwrap();
    let (after, warnings) = pass(&world, true);
    assert!(warnings.mention("rebuilt"));
    assert_nothing_again(&world, &before, &after);
    // It is a state like any other from now on.
    let (again, warnings) = pass(&world, false);
    assert_eq!(warnings.0.into_inner().unwrap(), [""; 0]);
    assert_nothing_again(&world, &after, &again);
}

#[test]
fn a_damaged_state_is_rebuilt_by_the_same_writer() {
    let world = world();
    let before = settled(&world);
    fs::write(state_file(&world, "state.redb"), "no database").unwrap();
    let (after, warnings) = pass(&world, true);
    assert!(warnings.mention("set aside") && warnings.mention("rebuilt"));
    assert_nothing_again(&world, &before, &after);
    assert_eq!(world.reader().history.writers.len(), 1);
}

#[test]
fn without_a_password_the_pass_says_that_it_reads_everything() {
    let world = world();
    settled(&world);
    fs::write(state_file(&world, "state.redb"), "no database").unwrap();
    let (after, warnings) = pass(&world, false);
    assert!(warnings.mention("reads everything"));
    assert_eq!(after.read, BYTES);
    // Its history goes on all the same.
    assert_eq!(world.verify(true).problems, []);
    let (_, warnings) = pass(&world, false);
    assert_eq!(warnings.0.into_inner().unwrap(), [""; 0]);
}

#[test]
fn what_the_store_has_lost_is_sent_again() {
    let world = world();
    settled(&world);
    fs::remove_dir_all(world.path("state")).unwrap();
    let mut reader = world.reader();
    let index = reader.load_index().unwrap();
    let largest = index.packs().iter().max_by_key(|pack| pack.len).unwrap();
    fs::remove_file(world.repository().join(drover_repo::names::pack(&largest.id))).unwrap();
    let (after, _) = pass(&world, true);
    assert_eq!(after.read, BYTES);
    assert_eq!(after.exceptions, []);
    world.restore(after.snapshot, "restored");
    common::assert_same(&world, "restored");
}

#[test]
fn a_domain_of_a_revoked_writer_is_not_taken_up() {
    let world = world();
    settled(&world);
    fs::remove_dir_all(world.path("state")).unwrap();
    let reader = world.reader();
    let writer = *reader.history.writers.keys().next().unwrap();
    let revocation = reader.keyring.revoke(writer, 2).unwrap();
    reader.objects().put_new(&revocation.name, revocation.bytes.into()).unwrap();
    let (after, _) = pass(&world, true);
    assert_eq!((after.parent, after.read), (None, BYTES));
}

#[test]
fn a_manifest_that_is_cut_off_is_no_silent_loss() {
    let world = world();
    let before = settled(&world);
    cut(&state_file(&world, "manifest-"));
    let (after, warnings) = pass(&world, true);
    assert!(warnings.mention("cut off"));
    assert_eq!(after.counts.total(), before.counts.total());
    assert_eq!(after.exceptions, []);
    assert!(after.new < 64 << 10, "{after:?}");
}

#[test]
fn a_name_that_could_not_be_read_again_is_refused() {
    let world = world();
    for options in [
        SyncOptions { name: Some("n".repeat(4097)), ..SyncOptions::default() },
        SyncOptions { operator: "n".repeat(4097), ..SyncOptions::default() },
    ] {
        assert!(matches!(world.try_sync(&options), Err(Error::LongName { len: 4097, .. })));
    }
    assert_eq!(world.reader().history.snapshots.len(), 0);
}
