//! Disks that fail: a system call that writes, syncs, makes, renames or removes something answers
//! with an error, once or from then on. Such a run says what failed and what to do, or it did what
//! it should in another way; it never panics, and never says that it is done where it is not. The
//! same command goes on once the disk works.
//!
//! By default a slice of the calls; all of them with `DROVER_TEST_LONG=1`.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::print_stdout, reason = "how much was tried")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use nix::errno::Errno;

use crate::{
    compare::assert_same,
    crash::{changed_source, fork, goes_on, small_source},
    lab::{Answer, Lab, is_long, number},
    roundtrip::{comes_back, restored, verified},
    trace::run_failing,
    tree,
};

/// What a disk answers.
const ERRORS: [Errno; 4] = [Errno::EIO, Errno::ENOSPC, Errno::EDQUOT, Errno::EROFS];

/// What the faults of a test came to: how many, and the kinds of errors.
#[derive(Debug, Default)]
struct Tally {
    faults: usize,
    kinds: BTreeMap<String, usize>,
}

#[derive(Clone, Copy, Debug)]
struct Fault {
    at: usize,
    error: Errno,
    from_then_on: bool,
}

impl Fault {
    /// Lets `command` meet it. What it answered; `None` where it ended before.
    fn meets(self, command: Command) -> Option<Answer> {
        let mut is_met = false;
        let (mut unsynced, mut synced_again) = (Vec::<PathBuf>::new(), None);
        let answer = run_failing(command, |call| {
            let fails = call.at == self.at || self.from_then_on && call.at > self.at;
            is_met |= fails;
            // What could not be synced may be gone: to sync it again, and to be content with
            // that, would be to take it for written.
            if let Some(file) = &call.file {
                match (call.syncs(), fails) {
                    (true, true) => unsynced.push(file.clone()),
                    (true, false) if unsynced.contains(file) => synced_again = Some(file.clone()),
                    (false, false) => unsynced.retain(|other| other != file),
                    (true, false) | (false, true) => {}
                }
            }
            fails.then_some(self.error)
        });
        assert!(answer.code != 0 || synced_again.is_none(), "{self:?}: {synced_again:?}");
        is_met.then_some(answer)
    }
}

/// Has `once` meet a fault at each call, or at ever fewer of them, and check what comes of it,
/// until it says that the run ended before.
fn fail_at_calls(what: &str, mut once: impl FnMut(Fault) -> Option<Answer>) {
    let next = |at: &usize| Some(if is_long() { at + 1 } else { at + 1 + at / 2 });
    let mut tally = Tally::default();
    for (step, at) in std::iter::successors(Some(1), next).enumerate() {
        // By turns, so that each error comes both ways.
        let error = ERRORS[step % ERRORS.len()];
        let from_then_on = step / ERRORS.len() % 2 == 1;
        let Some(answer) = once(Fault { at, error, from_then_on }) else { break };
        tally.faults += 1;
        let document = answer.json();
        let kind = match answer.code {
            0 => "done",
            3 => "exceptions",
            _ => document["error"]["kind"].as_str().unwrap(),
        };
        *tally.kinds.entry(kind.to_owned()).or_default() += 1;
    }
    println!("{what}: {tally:?}");
    assert!(tally.faults > 5);
}

/// Ends the test where a run failed without saying what, and what to do.
fn says_what(answer: &Answer, fault: Fault, codes: &[i32]) {
    if answer.code == 0 {
        return;
    }
    let document = answer.json();
    let error = &document["error"];
    assert!(codes.contains(&answer.code), "{fault:?}: {document}");
    if answer.code == 3 {
        assert!(!document["exceptions"].as_array().unwrap().is_empty(), "{document}");
        return;
    }
    let message = error["message"].as_str().unwrap();
    assert!(error["remedy"].as_str().unwrap().len() > 10, "{fault:?}: {error}");
    // An object, a path, or what could not be done to which entry.
    let named =
        message.contains('/') || message.starts_with("config") || message.starts_with("cannot ");
    assert!(named, "{fault:?}: {message}");
    assert_ne!(error["kind"], "failed", "{fault:?}: {error}");
    assert_ne!(error["kind"], "damaged", "{fault:?}: {error}");
}

/// Lets passes meet faults, each from the state that `lab` is in.
fn fail_passes(what: &str, lab: &Lab, source: &Path) {
    let entries = tree::count(source);
    fail_at_calls(what, |fault| {
        let fork = fork(lab);
        let text = source.to_str().unwrap();
        let arguments = ["sync", "--repo", &fork.repository, "--source", text, "--json"];
        let answer = fault.meets(fork.command(&arguments))?;
        says_what(&answer, fault, &[1]);
        if answer.code == 0 {
            let said = answer.json();
            assert_eq!(number(&said, "/entries/total"), entries, "{fault:?}: {said}");
            comes_back(&fork, source, &[]);
        }
        let packs = tree::packs(&fork.repository);
        goes_on(&fork, source, &packs, &["--delete"], &format!("{fault:?}"));
        Some(answer)
    });
}

#[test]
fn a_disk_fails_a_first_pass() {
    let lab = Lab::with_repository();
    let source = small_source(&lab);
    fail_passes("a first pass", &lab, &source);
}

#[test]
fn a_disk_fails_a_later_pass() {
    let lab = Lab::with_repository();
    let source = changed_source(&lab);
    fail_passes("a later pass", &lab, &source);
}

#[test]
fn what_is_adopted_is_made_durable() {
    let lab = Lab::with_repository();
    let source = small_source(&lab);
    let text = source.to_str().unwrap();
    let arguments = ["sync", "--repo", &lab.repository, "--source", text, "--json"];
    // The packs have their names, and these are not known to last.
    let packs = Path::new(&lab.repository).join("packs");
    let answer = run_failing(lab.command(&arguments), |call| {
        let folder = call.file.as_ref().filter(|file| file.starts_with(&packs) && file.is_dir())?;
        let holds_one = !tree::packs(&lab.repository).is_empty();
        (call.syncs() && folder.exists() && holds_one).then_some(Errno::EIO)
    });
    answer.refused(1, "store", "packs/");
    let arrived = tree::packs(&lab.repository);
    assert!(!arrived.is_empty());
    let mut synced = Vec::new();
    let answer = run_failing(lab.command(&arguments), |call| {
        synced.extend(call.file.clone().filter(|_| call.syncs()));
        None
    });
    answer.expect(0);
    for (name, _) in arrived {
        let folder = packs.join(&name[..2]);
        for path in [folder.join(&name), folder, packs.clone()] {
            assert!(synced.contains(&path), "{path:?} was not synced");
        }
    }
    comes_back(&lab, &source, &[]);
}

/// Lets restores of the latest snapshot meet faults, each onto what `prepare` puts there.
fn fail_restores(what: &str, lab: &Lab, source: &Path, prepare: impl Fn(&Path)) {
    let pass = lab.sync(source).expect(0).json();
    let snapshot = pass["snapshot"].as_str().unwrap();
    fail_at_calls(what, |fault| {
        let target = lab.path("restored");
        prepare(&target);
        let text = target.to_str().unwrap();
        let arguments =
            ["restore", "--repo", &lab.repository, "latest", text, "--delete", "--json"];
        let answer = fault.meets(lab.command(&arguments))?;
        says_what(&answer, fault, &[1, 3]);
        let mark = fs::read_to_string(target.join(".drover-restore")).unwrap_or_default();
        let holds =
            [&format!("snapshot {snapshot} whole"), "exceptions 00000000000000000000", "complete"];
        if answer.code == 0 || holds.iter().all(|line| mark.lines().any(|l| l == *line)) {
            assert_same(source, &target, &[]);
        }
        restored(lab, "latest", &target, &["--delete"]);
        assert_same(source, &target, &[]);
        verified(lab, &["--target", text]);
        fs::remove_dir_all(target).unwrap();
        Some(answer)
    });
}

#[test]
fn a_disk_fails_a_restore() {
    let lab = Lab::with_repository();
    let source = small_source(&lab);
    fail_restores("a restore", &lab, &source, |_| {});
}

#[test]
fn a_disk_fails_a_restore_over_an_earlier_one() {
    let lab = Lab::with_repository();
    let source = small_source(&lab);
    lab.sync(&source).expect(0);
    let earlier = lab.path("earlier");
    restored(&lab, "latest", &earlier, &[]);
    fs::write(source.join("folder 1/3"), tree::noise(7, 5000)).unwrap();
    fs::rename(source.join("folder 2"), source.join("renamed")).unwrap();
    fs::remove_file(source.join("folder 3/9")).unwrap();
    let mut large = tree::noise(999, 9 << 20);
    large[5 << 20] ^= 1;
    fs::write(source.join("large"), large).unwrap();
    fail_restores("a restore over an earlier one", &lab, &source, |target| {
        let copied = Command::new("cp").arg("-a").args([&earlier, target]).status().unwrap();
        assert!(copied.success());
    });
}

#[test]
fn a_disk_fails_an_init() {
    fail_at_calls("an init", |fault| {
        let lab = Lab::new();
        let arguments = ["init", "--repo", &lab.repository, "--json"];
        let answer = fault.meets(lab.command(&arguments))?;
        says_what(&answer, fault, &[1]);
        let again = lab.verb("init", &[""; 0]);
        if answer.code == 0 || again.code != 0 {
            again.refused(1, "repository-exists", "");
        }
        let source = lab.path("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), "content").unwrap();
        lab.sync(&source).expect(0);
        verified(&lab, &["--read-data"]);
        Some(answer)
    });
}
