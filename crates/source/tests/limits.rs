//! What a walk takes of the process it runs in. One test: it lowers the limits of its process and
//! counts what the process holds, so that nothing else may run beside it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, File},
    path::Path,
};

use drover_source::{LocalSource, Source, WalkEvent, WalkOptions};
use rustix::process::{Resource, getrlimit, setrlimit};
use tempfile::TempDir;

/// In memory where there is such a place: the many files here are no test of the disk.
fn tempdir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn walking_threads() -> usize {
    fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| fs::read(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.starts_with(b"walk"))
        .count()
}

/// The most memory that the process held since `reset_peak`, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn reset_peak() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// Fans out at every level: 4 + 16 + … + 4^`depth` directories, with a file each.
fn fan(at: &Path, depth: usize) -> usize {
    File::create(at.join("file")).unwrap();
    let mut entries = 2;
    if depth > 0 {
        for name in ["a", "b", "c", "d"] {
            let below = at.join(name);
            fs::create_dir(&below).unwrap();
            entries += fan(&below, depth - 1);
        }
    }
    entries
}

#[test]
fn descriptors_threads_and_memory_are_bounded() {
    // A wide directory: memory for names, not for what stat says of all of them.
    const WIDE: usize = 200_000;
    let root = tempdir();
    for at in 0..WIDE {
        File::create(root.path().join(format!("image-{at:08}.dcm"))).unwrap();
    }
    let source = LocalSource::open(root.path()).unwrap();
    reset_peak();
    let before = peak();
    assert_eq!(source.walk(&WalkOptions::default()).unwrap().count(), WIDE + 1);
    let taken = peak() - before;
    // Entries of them all would take over 70 MiB.
    assert!(taken < 40 << 10, "{taken} KiB");

    // A walk that is dropped early leaves neither threads nor descriptors.
    let held = open_descriptors();
    for read in [0, 1, 2, 700] {
        let mut walk = source.walk(&WalkOptions::default()).unwrap();
        assert_eq!(walk.by_ref().take(read).count(), read);
        drop(walk);
        assert_eq!((walking_threads(), open_descriptors()), (0, held));
    }
    drop(source);

    // Few descriptors allowed, many directories and threads.
    let root = tempdir();
    let entries = fan(root.path(), 5);
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(64);
    setrlimit(Resource::Nofile, limit).unwrap();
    let source = LocalSource::open(root.path()).unwrap();
    let options = WalkOptions { threads: 16, ..WalkOptions::default() };
    let mut found = 0;
    for event in source.walk(&options).unwrap() {
        assert!(matches!(event, WalkEvent::Entry(_)), "{event:?}");
        found += 1;
    }
    assert_eq!(found, entries);
}
