//! What the verbs tell of how much there is to do, and how much of it is done.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{collections::HashMap, fs, sync::Mutex};

use common::{World, noise};
use drover_ops::{
    Cancel, Compared, RestoreOptions, SyncOptions, VerifyOptions, compare_tree, restore, sync,
    verify,
};
use drover_source::LocalSource;
use drover_types::{Basis, Counter, Exception, Observer, Phase, RelativePath, SnapshotId, Total};

/// One phase as its observer saw it.
#[derive(Debug, Default)]
struct Seen {
    counters: HashMap<Counter, u64>,
    totals: Vec<Total>,
}

impl Seen {
    fn count(&self, counter: Counter) -> u64 {
        self.counters.get(&counter).copied().unwrap_or(0)
    }

    fn done(&self) -> (u64, u64) {
        (self.count(Counter::EntriesDone), self.count(Counter::BytesDone))
    }
}

#[derive(Default)]
struct Recorder(Mutex<Vec<(Phase, Seen)>>);

impl Recorder {
    fn with(&self, take: impl FnOnce(&mut Seen)) {
        if let Some((_, seen)) = self.0.lock().unwrap().last_mut() {
            take(seen);
        }
    }

    /// The only phase of this name that counted anything.
    fn phase(self, phase: Phase) -> Seen {
        let mut seen = self.0.into_inner().unwrap();
        seen.retain(|(p, seen)| *p == phase && !seen.counters.is_empty());
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0).1
    }
}

impl Observer for Recorder {
    fn add(&self, counter: Counter, amount: u64) {
        self.with(|seen| *seen.counters.entry(counter).or_default() += amount);
    }
    fn phase(&self, phase: Phase) {
        self.0.lock().unwrap().push((phase, Seen::default()));
    }
    fn total(&self, total: Total) {
        self.with(|seen| seen.totals.push(total));
    }
    fn exception(&self, _: &Exception) {}
    fn warning(&self, _: &str) {}
}

const LARGE: usize = 20 << 20;
const ENTRIES: u64 = 5;
const BYTES: u64 = LARGE as u64 + 3000 + 2 * 1000 + (64 << 20);

/// A directory, a small file with two names, a large one, one with a hole at its end.
fn world() -> World {
    let world = World::new();
    let source = world.source();
    fs::create_dir(source.join("d")).unwrap();
    fs::write(source.join("d/a"), noise(1, 1000)).unwrap();
    fs::hard_link(source.join("d/a"), source.join("d/b")).unwrap();
    fs::write(source.join("large"), noise(2, LARGE)).unwrap();
    fs::write(source.join("sparse"), noise(3, 3000)).unwrap();
    let sparse = fs::OpenOptions::new().append(true).open(source.join("sparse")).unwrap();
    sparse.set_len(3000 + (64 << 20)).unwrap();
    world
}

fn pass(world: &World) -> (SnapshotId, Seen) {
    let recorder = Recorder::default();
    let source = LocalSource::open(&world.source()).unwrap();
    let options = SyncOptions::default();
    let outcome = sync(&world.session(), &source, &options, &recorder, &Cancel::new()).unwrap();
    (outcome.snapshot, recorder.phase(Phase::Syncing))
}

fn total(entries: u64, bytes: u64, basis: Basis) -> Total {
    Total { entries, bytes, basis }
}

#[test]
fn a_first_pass_knows_its_length_at_the_end_of_the_walk_and_the_next_from_it() {
    let world = world();
    let (_, seen) = pass(&world);
    assert_eq!(seen.totals, [total(ENTRIES, BYTES, Basis::Counted)]);
    assert_eq!(seen.done(), (ENTRIES, BYTES));

    fs::write(world.source().join("d/new"), noise(4, 500)).unwrap();
    fs::remove_file(world.source().join("large")).unwrap();
    let (_, seen) = pass(&world);
    let now = BYTES + 500 - LARGE as u64;
    assert_eq!(
        seen.totals,
        [total(ENTRIES, BYTES, Basis::LastPass), total(ENTRIES, now, Basis::Counted)]
    );
    assert_eq!(seen.done(), (ENTRIES, now));
}

#[test]
fn a_restore_and_a_comparison_do_what_the_snapshot_records() {
    let world = world();
    let (snapshot, _) = pass(&world);
    let recorded = total(ENTRIES, BYTES, Basis::Snapshot);
    // Into an empty target, then onto what is there already.
    for _ in 0..2 {
        let recorder = Recorder::default();
        let target = world.path("target");
        restore(
            &mut world.reader(),
            snapshot,
            &RelativePath::root(),
            &target,
            &RestoreOptions::default(),
            &recorder,
            &Cancel::new(),
        )
        .unwrap();
        let seen = recorder.phase(Phase::Restoring);
        assert_eq!((&seen.totals[..], seen.done()), (&[recorded][..], (ENTRIES, BYTES)));
    }
    let recorder = Recorder::default();
    fs::remove_file(world.path("target/large")).unwrap();
    let target = LocalSource::open(&world.path("target")).unwrap();
    let (mut reader, cancel) = (world.reader(), Cancel::new());
    compare_tree(&mut reader, snapshot, &target, Compared::Target, &recorder, &cancel).unwrap();
    let seen = recorder.phase(Phase::Comparing);
    assert_eq!((&seen.totals[..], seen.done()), (&[recorded][..], (ENTRIES, BYTES)));
}

#[test]
fn a_verification_counts_packs_and_then_the_entries_of_all_snapshots() {
    let world = world();
    pass(&world);
    pass(&world);
    let run = |read_data| {
        let recorder = Recorder::default();
        let options = VerifyOptions { read_data, ..VerifyOptions::default() };
        verify(&mut world.reader(), &options, &recorder, &Cancel::new()).unwrap();
        recorder
    };
    let structure = run(Some(1.0)).phase(Phase::CheckingStructure);
    assert_eq!(structure.totals, [total(2 * ENTRIES, 0, Basis::Snapshot)]);
    assert_eq!(structure.done(), (2 * ENTRIES, 0), "what both snapshots hold counts twice");
    let packs = run(Some(1.0)).phase(Phase::ReadingBack);
    let bytes = packs.count(Counter::Bytes);
    assert!(bytes > 0);
    assert_eq!(
        (&packs.totals[..], packs.done()),
        (&[total(0, bytes, Basis::Snapshot)][..], (0, bytes))
    );
}
