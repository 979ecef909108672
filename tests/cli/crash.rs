//! Runs killed at the system calls that change something: files written, synced, renamed, bytes
//! sent. A run ends before one call, and after the one before it. Whatever was done by then, the
//! next run goes on, and the result is that of a run that was never killed.
//!
//! By default a slice of the calls; all of them with `DROVER_TEST_LONG=1`.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    compare::assert_same,
    lab::{Lab, is_long, number},
    roundtrip::{comes_back, restored, verified},
    trace::run_up_to,
    tree,
};

/// Runs the binary with these arguments, to be killed as it enters its call number `at`; `false`
/// where it ended well before.
fn is_killed<S: AsRef<OsStr>>(lab: &Lab, at: usize, arguments: &[S]) -> bool {
    run_up_to(lab.command(arguments), at).map(|answer| answer.expect(0)).is_none()
}

/// Has `once` kill a run at each call, or at ever fewer of them, and check what comes of it, until
/// it says that the run ended before.
fn kill_at_calls(once: impl FnMut(usize) -> bool) {
    let next = |at: &usize| Some(if is_long() { at + 1 } else { at + 1 + at / 3 });
    let kills = std::iter::successors(Some(1), next).map(once).take_while(|killed| *killed).count();
    assert!(kills > 5);
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}

/// A lab as this one is now.
pub fn fork(lab: &Lab) -> Lab {
    let other = Lab::new();
    for name in ["repository", "state"] {
        if lab.path(name).exists() {
            copy(&lab.path(name), &other.path(name));
        }
    }
    other
}

pub fn small_source(lab: &Lab) -> PathBuf {
    let source = lab.path("source");
    for folder in 0..4_u64 {
        let folder_path = source.join(format!("folder {folder}"));
        fs::create_dir_all(&folder_path).unwrap();
        for file in 0..10 {
            let content = tree::noise(folder * 100 + file + 1, 3000);
            fs::write(folder_path.join(format!("{file}")), content).unwrap();
        }
    }
    fs::write(source.join("large"), tree::noise(999, 9 << 20)).unwrap();
    fs::hard_link(source.join("large"), source.join("larger")).unwrap();
    source
}

/// A source that was taken, and changed since.
pub fn changed_source(lab: &Lab) -> PathBuf {
    let source = small_source(lab);
    lab.sync(&source).expect(0);
    fs::write(source.join("folder 1/3"), tree::noise(7, 5000)).unwrap();
    fs::rename(source.join("folder 2"), source.join("renamed")).unwrap();
    fs::remove_file(source.join("folder 3/9")).unwrap();
    source
}

/// Ends the test where the pass after one that ended at `when` does not take all of `source`, loses one of
/// `packs`, or leaves something to be done.
pub fn goes_on(lab: &Lab, source: &Path, packs: &[(String, u64)], restore: &[&str], when: &str) {
    let entries = tree::count(source);
    let resumed = lab.sync(source).expect(0).json();
    assert_eq!(number(&resumed, "/entries/total"), entries, "{when}: {resumed}");
    let after = tree::packs(&lab.repository);
    assert!(packs.iter().all(|pack| after.contains(pack)), "{when}: a pack is gone");
    comes_back(lab, source, restore);
    let idle = lab.sync(source).expect(0).json();
    assert_eq!(number(&idle, "/entries/unchanged"), entries, "{when}: {idle}");
    assert_eq!(number(&idle, "/bytes/new"), 0, "{when}: {idle}");
}

/// Kills a pass at one call after the other, each time from the state that `lab` is in, and
/// checks what the next pass makes of it.
fn kill_passes(lab: &Lab, source: &Path) {
    kill_at_calls(|at| {
        let fork = fork(lab);
        let text = source.to_str().unwrap();
        let arguments = ["sync", "--repo", &fork.repository, "--source", text, "--json"];
        if !is_killed(&fork, at, &arguments) {
            return false;
        }
        let packs = tree::packs(&fork.repository);
        // Killed again on the way, now and then.
        if at % 3 == 0 {
            is_killed(&fork, at + at / 2, &arguments);
        }
        goes_on(&fork, source, &packs, &[], &format!("call {at}"));
        true
    });
}

#[test]
fn a_first_pass_may_end_at_any_call() {
    let lab = Lab::with_repository();
    let source = small_source(&lab);
    kill_passes(&lab, &source);
}

#[test]
fn a_later_pass_may_end_at_any_call() {
    let lab = Lab::with_repository();
    let source = changed_source(&lab);
    kill_passes(&lab, &source);
}

#[test]
fn a_restore_may_end_at_any_call() {
    let lab = Lab::with_repository();
    let source = small_source(&lab);
    lab.sync(&source).expect(0);
    kill_at_calls(|at| {
        let target = lab.path(&format!("target {at}"));
        let text = target.to_str().unwrap();
        let arguments = ["restore", "--repo", &lab.repository, "latest", text, "--json"];
        if !is_killed(&lab, at, &arguments) {
            return false;
        }
        // What the mark says of the target holds: all of it is there, or it does not say so.
        let mark = fs::read_to_string(target.join(".drover-restore")).unwrap_or_default();
        if mark.ends_with("\ncomplete\n") {
            assert_same(&source, &target, &[]);
        }
        restored(&lab, "latest", &target, &["--delete"]);
        assert_same(&source, &target, &[]);
        verified(&lab, &["--target", text]);
        fs::remove_dir_all(target).unwrap();
        true
    });
}

#[test]
fn an_init_may_end_at_any_call() {
    kill_at_calls(|at| {
        let lab = Lab::new();
        let arguments = ["init", "--repo", &lab.repository, "--json"];
        if !is_killed(&lab, at, &arguments) {
            return false;
        }
        let again = lab.verb("init", &[""; 0]);
        if again.code != 0 {
            again.refused(1, "repository-exists", "");
        }
        let source = lab.path("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), "content").unwrap();
        lab.sync(&source).expect(0);
        verified(&lab, &["--read-data"]);
        true
    });
}
