//! What a restore fetches, what it takes from what is there, and what it leaves when it fails.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use common::{World, assert_same, describe, noise};
use drover_ops::{Cancel, Error, ReaderSession, RestoreOptions, RestoreOutcome, restore};
use drover_types::{Counter, Exception, Observer, Phase, RelativePath, Silent, SnapshotId};
use proptest::prelude::*;

/// All packs of a repository, with their lengths.
fn packs(world: &World) -> Vec<(PathBuf, u64)> {
    let mut packs = Vec::new();
    for folder in fs::read_dir(world.repository().join("packs")).unwrap() {
        for pack in fs::read_dir(folder.unwrap().path()).unwrap() {
            let pack = pack.unwrap();
            packs.push((pack.path(), pack.metadata().unwrap().len()));
        }
    }
    packs
}

fn is_data(pack: &Path) -> bool {
    fs::read(pack).unwrap()[10] == 0
}

/// Restores the whole of a snapshot; returns how many bytes were received for it besides what
/// opening takes.
fn metered(world: &World, snapshot: SnapshotId, name: &str) -> (RestoreOutcome, u64) {
    let mut session: ReaderSession = world.reader();
    let before = session.objects().usage().bytes_received;
    let options = RestoreOptions { delete: true, ..RestoreOptions::default() };
    let target = world.path(name);
    let root = RelativePath::root();
    let outcome =
        restore(&mut session, snapshot, &root, &target, &options, &Silent, &Cancel::new()).unwrap();
    (outcome, session.objects().usage().bytes_received - before)
}

/// Several snapshots whose files share chunks far apart: files of every size, a fifth of them
/// copies of others, changed in part from pass to pass, so that the last one's chunks lie in the
/// packs of all.
fn mixed(world: &World) -> SnapshotId {
    let source = world.source();
    let content = |n: u64| match n % 10 {
        0 => noise(n, 9 << 20),
        1..=3 => noise(n, 700_000),
        _ => noise(n, 3000),
    };
    for n in 0..120u64 {
        fs::create_dir_all(source.join(format!("{}", n % 7))).unwrap();
        let from = if n % 5 == 4 { n * 31 % 120 / 5 * 5 } else { n };
        fs::write(source.join(format!("{}/{n:03}", n % 7)), content(from)).unwrap();
    }
    let mut snapshot = world.sync().snapshot;
    for pass in 1..4u64 {
        for n in (pass..120).step_by(9) {
            let path = source.join(format!("{}/{n:03}", n % 7));
            let file = fs::File::options().write(true).open(path).unwrap();
            file.write_at(&noise(1000 * pass + n, 2000), 500 * pass).unwrap();
        }
        let name = format!("0/a first that needs the last of all packs {pass}");
        fs::write(source.join(name), content(110 + pass % 2 * 10)).unwrap();
        snapshot = world.sync().snapshot;
    }
    snapshot
}

#[test]
fn hardly_a_byte_of_a_pack_is_fetched_twice() {
    let world = World::new();
    let snapshot = mixed(&world);
    let stored: u64 = packs(&world).iter().map(|(_, len)| len).sum();
    assert!(packs(&world).iter().filter(|(path, _)| is_data(path)).count() >= 5);
    let index: u64 = fs::read_dir(world.repository().join("index"))
        .unwrap()
        .map(|object| object.unwrap().metadata().unwrap().len())
        .sum();

    let (outcome, received) = metered(&world, snapshot, "restored");
    assert_eq!(outcome.exceptions, []);
    assert_same(&world, "restored");
    assert!(received < (stored + index) * 105 / 100, "{received} of {stored}");
    // Copies come from what was fetched for the first.
    assert!(outcome.bytes_written > stored, "{} written", outcome.bytes_written);

    let (outcome, received) = metered(&world, snapshot, "restored");
    assert_eq!((outcome.bytes_written, outcome.written), (0, 0));
    assert!(received < stored / 10, "{received} for nothing");
}

#[test]
fn of_a_large_file_only_what_changed_is_fetched() {
    let world = World::new();
    let file = world.source().join("image");
    fs::write(&file, noise(1, 40 << 20)).unwrap();
    fs::write(world.source().join("log"), noise(2, 6 << 20)).unwrap();
    let first = world.sync().snapshot;
    metered(&world, first, "restored");

    let open = fs::File::options().write(true).open(&file).unwrap();
    open.write_at(&noise(3, 4096), 17 << 20).unwrap();
    let mut log = noise(2, 6 << 20);
    log.extend(noise(4, 50_000));
    fs::write(world.source().join("log"), log).unwrap();
    let second = world.sync().snapshot;
    let (outcome, received) = metered(&world, second, "restored");
    assert_eq!(outcome.exceptions, []);
    assert_same(&world, "restored");
    assert!(outcome.bytes_written < 12 << 20, "{} written", outcome.bytes_written);
    assert!(received < 14 << 20, "{received} received");
    // And back, without the pack of the changed part.
    let (outcome, _) = metered(&world, first, "restored");
    assert!(outcome.bytes_written < 12 << 20, "{} written", outcome.bytes_written);
    assert_eq!(fs::read(world.path("restored/image")).unwrap(), noise(1, 40 << 20));
    let names = describe(&world.path("restored"));
    assert_eq!(names.len(), 3, "nothing is left beside");
}

#[test]
fn what_is_taken_from_the_old_file_is_checked() {
    let world = World::new();
    fs::write(world.source().join("image"), noise(1, 12 << 20)).unwrap();
    fs::write(world.source().join("small"), noise(2, 5000)).unwrap();
    let snapshot = world.sync().snapshot;
    metered(&world, snapshot, "restored");
    // Another content, and a mark that says that size and times are not to be trusted.
    let old = world.path("restored/image");
    let times = fs::metadata(&old).unwrap().modified().unwrap();
    let open = fs::File::options().write(true).open(&old).unwrap();
    open.write_at(b"other", 5 << 20).unwrap();
    open.set_modified(times).unwrap();
    let mark = world.path("restored/.drover-restore");
    let text = fs::read_to_string(&mark).unwrap();
    fs::write(&mark, text.replace("complete", "under way another-boot")).unwrap();

    let (outcome, received) = metered(&world, snapshot, "restored");
    assert_same(&world, "restored");
    assert!((1..8 << 20).contains(&outcome.bytes_written), "{}", outcome.bytes_written);
    assert!(received < 9 << 20, "{received}");
}

#[test]
fn a_pack_that_is_gone_costs_its_files_and_no_others() {
    let world = World::new();
    fs::write(world.source().join("large"), noise(1, 40 << 20)).unwrap();
    fs::write(world.source().join("sound"), noise(2, 1 << 20)).unwrap();
    let first = world.sync().snapshot;
    metered(&world, first, "restored");
    let before = packs(&world);
    fs::write(world.source().join("large"), noise(3, 40 << 20)).unwrap();
    fs::write(world.source().join("zzz"), noise(4, 3 << 20)).unwrap();
    let second = world.sync().snapshot;
    let mut new: Vec<_> = packs(&world)
        .into_iter()
        .filter(|pack| !before.contains(pack) && is_data(&pack.0))
        .collect();
    new.sort_by_key(|(_, len)| *len);
    fs::remove_file(&new.last().unwrap().0).unwrap();

    let (outcome, _) = metered(&world, second, "restored");
    assert!(!outcome.exceptions.is_empty());
    assert_eq!(outcome.exceptions[0].path.as_bytes(), b"large");
    assert_eq!(fs::read(world.path("restored/large")).unwrap(), noise(1, 40 << 20), "the old one");
    assert_eq!(fs::read(world.path("restored/sound")).unwrap(), noise(2, 1 << 20));
    let left = fs::read_dir(world.path("restored")).unwrap().count();
    assert!(left <= 4, "nothing half made is left");
}

#[test]
fn a_dry_run_changes_nothing_and_fetches_no_content() {
    let world = World::new();
    fs::write(world.source().join("a"), noise(1, 5 << 20)).unwrap();
    let first = world.sync().snapshot;
    let dry = RestoreOptions { dry_run: true, delete: true, ..RestoreOptions::default() };
    let outcome = world.restore_with(first, "", "restored", &dry).unwrap();
    assert_eq!((outcome.written, outcome.bytes_written), (1, 0));
    assert!(!world.path("restored").exists());

    metered(&world, first, "restored");
    fs::write(world.path("restored/extra"), "extra").unwrap();
    fs::write(world.source().join("a"), noise(2, 5 << 20)).unwrap();
    let second = world.sync().snapshot;
    let before = describe(&world.path("restored"));
    let mut session = world.reader();
    let (target, root) = (world.path("restored"), RelativePath::root());
    let outcome =
        restore(&mut session, second, &root, &target, &dry, &Silent, &Cancel::new()).unwrap();
    assert_eq!(outcome.removed, 1);
    assert_eq!(describe(&world.path("restored")), before);
    assert!(session.objects().usage().bytes_received < 1 << 20);
}

/// Asks to stop once this many bytes have landed.
struct StopAfter {
    left: AtomicU64,
    cancel: Cancel,
}

impl Observer for StopAfter {
    fn add(&self, counter: Counter, amount: u64) {
        if counter != Counter::BytesDone {
            return;
        }
        let take = |left: u64| Some(left.saturating_sub(amount));
        let before = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
        if before.is_ok_and(|before| before <= amount) {
            self.cancel.set();
        }
    }
    fn phase(&self, _: Phase) {}
    fn exception(&self, _: &Exception) {}
    fn warning(&self, _: &str) {}
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    /// Stopped wherever it is, over whatever an earlier restore left, it goes on to the same end.
    #[test]
    fn a_restore_that_was_stopped_goes_on(
        stops in proptest::collection::vec(0u64..60 << 20, 1..4),
        sizes in proptest::collection::vec(prop_oneof![0usize..5000, Just(9 << 20)], 1..8),
        seed in 0u64..1000,
    ) {
        let world = World::new();
        let write = |round: u64| {
            for (n, size) in sizes.iter().enumerate() {
                let mut bytes = noise(seed + n as u64 / 2, *size);
                let at = bytes.len() / 2;
                bytes[at..].iter_mut().take(9).for_each(|byte| *byte ^= round as u8);
                fs::write(world.source().join(format!("{n}")), bytes).unwrap();
            }
        };
        write(0);
        let first = world.sync().snapshot;
        metered(&world, first, "restored");
        write(1);
        let second = world.sync().snapshot;
        for stop in stops {
            let cancel = Cancel::new();
            let observer = StopAfter { left: AtomicU64::new(stop), cancel: cancel.clone() };
            let (root, options) = (RelativePath::root(), RestoreOptions::default());
            let target = world.path("restored");
            let stopped = restore(
                &mut world.reader(), second, &root, &target, &options, &observer, &cancel,
            );
            prop_assert!(matches!(stopped, Ok(_) | Err(Error::Interrupted)), "{:?}", stopped);
            prop_assert_eq!(fs::read_dir(&target).unwrap().count(), sizes.len() + 1);
        }
        let (outcome, _) = metered(&world, second, "restored");
        prop_assert_eq!(outcome.exceptions, vec![]);
        assert_same(&world, "restored");
    }
}
