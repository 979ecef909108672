//! Random sequences of changes, passes, interrupted passes and restores, against the tree itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use common::{World, assert_same, describe, noise};
use drover_ops::{Cancel, Error, RestoreOptions, SyncOptions, SyncOutcome, Verdict, sync};
use drover_source::LocalSource;
use drover_types::{Counter, Exception, Observer, Phase};
use proptest::prelude::*;

const NAMES: [&str; 8] = ["a", "b", "d/a", "d/b", "d/e/c", "d-", "d.x/y", "z"];

#[derive(Clone, Debug)]
enum Step {
    Write(usize, usize, u64),
    Remove(usize),
    Folder(usize),
    Link(usize, usize),
    Symlink(usize),
    Rename(usize, usize),
    Mode(usize, u32),
    Pass,
    Interrupted(u64),
    Restore,
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0..NAMES.len();
    let size = prop_oneof![Just(0usize), 1usize..5000, Just(3 << 20)];
    prop_oneof![
        5 => (name(), size, 0u64..4).prop_map(|(n, size, seed)| Step::Write(n, size, seed)),
        2 => name().prop_map(Step::Remove),
        1 => name().prop_map(Step::Folder),
        2 => (name(), name()).prop_map(|(a, b)| Step::Link(a, b)),
        1 => name().prop_map(Step::Symlink),
        2 => (name(), name()).prop_map(|(a, b)| Step::Rename(a, b)),
        1 => (name(), 0o400u32..0o1000).prop_map(|(n, mode)| Step::Mode(n, mode)),
        3 => Just(Step::Pass),
        3 => (0u64..12).prop_map(Step::Interrupted),
        1 => Just(Step::Restore),
    ]
}

/// Asks to stop once this many entries are done.
struct StopAfter {
    left: AtomicU64,
    cancel: Cancel,
}

impl Observer for StopAfter {
    fn add(&self, counter: Counter, _: u64) {
        if counter == Counter::EntriesDone && self.left.fetch_sub(1, Ordering::SeqCst) == 0 {
            self.cancel.set();
        }
    }
    fn phase(&self, _: Phase) {}
    fn exception(&self, _: &Exception) {}
    fn warning(&self, _: &str) {}
}

struct Model {
    world: World,
    /// The tree as the last snapshot must have it.
    last: BTreeMap<Vec<u8>, String>,
    snapshot: Option<drover_types::SnapshotId>,
}

impl Model {
    fn path(&self, name: usize) -> PathBuf {
        self.world.source().join(NAMES[name])
    }

    /// Changes the tree; what the file system does not allow is no change.
    fn change(&self, step: &Step) -> std::io::Result<()> {
        let make = |name: usize| {
            let path = self.path(name);
            fs::create_dir_all(path.parent().unwrap()).map(|()| path)
        };
        match *step {
            Step::Write(name, size, seed) => fs::write(make(name)?, noise(seed, size)),
            Step::Remove(name) => {
                let path = self.path(name);
                if fs::symlink_metadata(&path)?.is_dir() {
                    fs::remove_dir_all(path)
                } else {
                    fs::remove_file(path)
                }
            }
            Step::Folder(name) => fs::create_dir_all(self.path(name)),
            Step::Link(first, second) => fs::hard_link(self.path(first), make(second)?),
            Step::Symlink(name) => symlink("d/a", make(name)?),
            Step::Rename(from, to) => fs::rename(self.path(from), make(to)?),
            Step::Mode(name, mode) => {
                fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode))
            }
            Step::Pass | Step::Interrupted(_) | Step::Restore => Ok(()),
        }
    }

    fn pass(&mut self, stop_after: Option<u64>) -> Result<(), TestCaseError> {
        let cancel = Cancel::new();
        let observer = StopAfter {
            left: AtomicU64::new(stop_after.unwrap_or(u64::MAX)),
            cancel: cancel.clone(),
        };
        let source = LocalSource::open(&self.world.source()).unwrap();
        let options = SyncOptions { allow_empty: true, ..SyncOptions::default() };
        match sync(&self.world.session(), &source, &options, &observer, &cancel) {
            Ok(outcome) => self.compare(&outcome),
            Err(Error::Interrupted) if stop_after.is_some() => Ok(()),
            Err(error) => Err(TestCaseError::fail(format!("{error:?}"))),
        }
    }

    fn compare(&mut self, outcome: &SyncOutcome) -> Result<(), TestCaseError> {
        let now = describe(&self.world.source());
        let missing = |a: &BTreeMap<Vec<u8>, String>, b: &BTreeMap<Vec<u8>, String>| {
            a.keys().filter(|path| !path.is_empty() && !b.contains_key(*path)).count() as u64
        };
        let counts = outcome.counts;
        prop_assert_eq!(&outcome.exceptions, &[]);
        prop_assert_eq!(counts.total(), now.len() as u64 - 1);
        prop_assert_eq!(counts.new, missing(&now, &self.last));
        prop_assert_eq!(counts.removed, missing(&self.last, &now));
        prop_assert_eq!(outcome.parent, self.snapshot);
        self.last = now;
        self.snapshot = Some(outcome.snapshot);
        Ok(())
    }

    fn restore(&self) {
        let options = RestoreOptions { delete: true, ..RestoreOptions::default() };
        let snapshot = self.snapshot.unwrap();
        let outcome = self.world.restore_with(snapshot, "", "restored", &options).unwrap();
        assert_eq!(outcome.exceptions, []);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn passes_and_restores_follow_the_tree(steps in proptest::collection::vec(step(), 4..24)) {
        let mut model = Model { world: World::new(), last: BTreeMap::new(), snapshot: None };
        for step in &steps {
            match step {
                Step::Pass => model.pass(None)?,
                Step::Interrupted(after) => model.pass(Some(*after))?,
                Step::Restore if model.snapshot.is_some() => model.restore(),
                change => drop(model.change(change)),
            }
        }
        model.pass(None)?;
        model.restore();
        assert_same(&model.world, "restored");
        let verified = model.world.verify(true);
        prop_assert_eq!(&verified.problems, &[]);
        prop_assert_eq!(verified.verdict, Verdict::Verified);
    }
}
