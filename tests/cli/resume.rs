//! Killed and stopped runs: what arrived is neither lost nor sent again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use crate::{
    compare::assert_same,
    lab::{Answer, Lab, number},
    roundtrip::{comes_back, restored, verified},
    tree,
};

/// Files of the source, of which each is of [`FILE`] bytes.
const FILES: u64 = 32;
const FILE: u64 = 4 << 20;

fn with_noise() -> (Lab, PathBuf) {
    let lab = Lab::with_repository();
    let source = lab.path("source");
    fs::create_dir(&source).unwrap();
    for file in 0..FILES {
        fs::write(source.join(format!("{file:03}")), tree::noise(file + 1, FILE as usize)).unwrap();
    }
    (lab, source)
}

/// Starts a pass; it is slow enough to be caught on its way.
fn start(lab: &Lab, source: &Path) -> Child {
    let source = source.to_str().unwrap();
    let repository = &*lab.repository;
    lab.start(&[
        "sync",
        "--repo",
        repository,
        "--source",
        source,
        "--json",
        "--bandwidth",
        "24 MiB/s",
    ])
}

/// Waits until the repository holds `count` packs; ends the test where the run ends before.
fn wait_for_packs(lab: &Lab, run: &mut Child, count: usize) {
    while tree::packs(&lab.repository).len() < count {
        assert!(run.try_wait().unwrap().is_none(), "the pass ended before it had {count} packs");
        // Another process's progress on disk: there is nothing to wait for but its effect.
        #[allow(clippy::disallowed_methods)]
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(run: &Child, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(run.id().to_string()).status();
    assert!(status.unwrap().success());
}

/// Checks that nothing is there twice, and that what comes back is what went in.
fn check(lab: &Lab, source: &Path, last: &Answer, packs_before: &[(String, u64)]) {
    let last = last.json();
    let packs = tree::packs(&lab.repository);
    for pack in packs_before {
        assert!(packs.contains(pack), "{} is gone", pack.0);
    }
    let before: u64 = packs_before.iter().map(|pack| pack.1).sum();
    let stored: u64 = packs.iter().map(|pack| pack.1).sum();
    // Noise does not compress: what is there beyond its size would be there twice. The frames,
    // the trees and the manifest take less than a hundredth.
    assert!(stored < FILES * FILE / 100 * 101, "{stored} bytes in {} packs: {last}", packs.len());
    let uploaded = number(&last, "/bytes/uploaded");
    assert!(uploaded < stored - before + (1 << 20), "{uploaded} sent after {before} of {stored}");
    comes_back(lab, source, &[]);
}

#[test]
fn a_killed_pass_goes_on() {
    let (lab, source) = with_noise();
    let mut before = Vec::new();
    for count in 1..=3 {
        let mut run = start(&lab, &source);
        wait_for_packs(&lab, &mut run, count);
        run.kill().unwrap();
        run.wait().unwrap();
        let packs = tree::packs(&lab.repository);
        for pack in &before {
            assert!(packs.contains(pack));
        }
        before = packs;
        // What is there is nothing yet, and nothing wrong either.
        let snapshots = lab.verb("snapshots", &[""; 0]).expect(0).json();
        assert_eq!(snapshots["snapshots"].as_array().map(Vec::len), Some(0));
    }
    assert!(before.len() >= 3);
    // What a run that was killed while it wrote a pack leaves beside the pack's place.
    let last = lab.sync(&source).expect(0);
    check(&lab, &source, &last, &before);
    let listed = Command::new("find").arg(&lab.repository).args(["-name", "*#*"]).output().unwrap();
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), "");
}

#[test]
fn an_interrupted_pass_says_so_and_goes_on() {
    let (lab, source) = with_noise();
    let mut run = start(&lab, &source);
    wait_for_packs(&lab, &mut run, 1);
    signal(&run, "INT");
    Answer::new(run.wait_with_output().unwrap()).refused(130, "interrupted", "interrupted");
    let before = tree::packs(&lab.repository);
    let last = lab.sync(&source).expect(0);
    check(&lab, &source, &last, &before);
}

#[test]
fn a_killed_restore_goes_on() {
    let (lab, source) = with_noise();
    lab.sync(&source).expect(0);
    let target = lab.path("target");
    let arguments = ["restore", "--repo", &lab.repository, "latest", target.to_str().unwrap()];
    let mut run = lab.start(&arguments);
    while fs::read_dir(&target).map_or(0, |entries| entries.count()) < 5 {
        assert!(run.try_wait().unwrap().is_none(), "the restore ended before it was killed");
        std::thread::yield_now();
    }
    run.kill().unwrap();
    run.wait().unwrap();
    restored(&lab, "latest", &target, &["--delete"]);
    assert_same(&source, &target, &[]);
    verified(&lab, &["--target", target.to_str().unwrap()]);
}

#[test]
fn one_pass_at_a_time() {
    let (lab, source) = with_noise();
    let mut run = start(&lab, &source);
    wait_for_packs(&lab, &mut run, 1);
    lab.sync(&source).refused(1, "in-use", "");
    signal(&run, "TERM");
    assert_eq!(run.wait().unwrap().code(), Some(130));
    lab.sync(&source).expect(0);
}
