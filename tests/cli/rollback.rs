//! The way back of a cutover: with writes on both sides, and killed wherever it may be.

use std::{fs, path::Path, process::Command, thread};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    clinic::{Client, Clinic, journal, more_lines, refused},
    compare::assert_same,
    lab::{Answer, is_long},
    trace::run_up_to,
};

#[test]
fn the_way_back_loses_nothing_of_either_side() {
    let clinic = Clinic::new();
    fs::write(clinic.source.join("scratch.tmp"), "left out").unwrap();
    fs::write(clinic.source.join("both"), "at the switch").unwrap();
    let clinic = clinic.prepared();
    clinic.cutover(&[]).expect(0);
    // What clients do on the target, and somebody on the source all the same.
    fs::write(clinic.target.join("new"), "from the cloud").unwrap();
    fs::write(clinic.target.join("letters/a"), "rewritten").unwrap();
    fs::remove_file(clinic.target.join("readme")).unwrap();
    fs::write(clinic.target.join("both"), "the target's").unwrap();
    fs::write(clinic.source.join("both"), "the source's own").unwrap();
    fs::write(clinic.source.join("alone"), "only here").unwrap();
    fs::remove_file(clinic.programs("ran")).unwrap();

    let back = clinic.cutover(&["--rollback"]).expect(0).json();
    assert_eq!(back["state"], "reverted");
    assert_eq!(back["conflicts"], serde_json::json!(["both"]));
    assert_eq!(
        clinic.ran(),
        ["freeze_target", "before", "after", "switch_back", "thaw"],
        "the source is thawed last"
    );
    let read = |name: &str| fs::read_to_string(clinic.source.join(name)).unwrap();
    assert_eq!(read("new"), "from the cloud");
    assert_eq!(read("letters/a"), "rewritten");
    assert!(!clinic.source.join("readme").exists());
    assert_eq!(read("both"), "the target's");
    assert_eq!(read("alone"), "only here");
    assert_eq!(read("scratch.tmp"), "left out");
    assert!(!clinic.source.join(".drover-restore").exists());
    // What the source had is in the repository.
    let kept = clinic.lab.run(&["ls", &clinic.plan, "latest", "--source", "files"]).expect(0);
    assert!(String::from_utf8_lossy(&kept.stdout).contains("alone"));
    let both = clinic.lab.run(&["cat", &clinic.plan, "latest:both", "--source", "files"]);
    assert_eq!(both.expect(0).stdout, b"the source's own");

    // And forward again.
    clinic.cutover(&[]).expect(0);
    assert_eq!(clinic.serves(), "target");
    assert_same(&clinic.source, &clinic.target, &["scratch.tmp"]);
}

#[test]
fn a_way_back_that_leads_elsewhere_is_refused() {
    let clinic = Clinic::new().prepared();
    clinic.cutover(&[]).expect(0);
    fs::write(clinic.target.join("new"), "from the cloud").unwrap();
    let plan = fs::read_to_string(&clinic.plan).unwrap();
    let lead_to = |place: &Path| {
        fs::write(&clinic.plan, format!("{plan}write_back = \"{}\"\n", place.display())).unwrap();
    };
    let elsewhere = clinic.lab.path("elsewhere");
    lead_to(&elsewhere);
    let ran = clinic.ran();
    clinic.cutover(&["--rollback"]).refused(1, "cutover", "elsewhere, which is no directory");
    assert_eq!((clinic.state().as_str(), clinic.ran()), ("cut over", ran));
    assert!(!elsewhere.exists());
    let shown = clinic.cutover(&["--show"]).expect(0).json();
    assert!(refused(&shown).contains(&"way back"), "{shown}");
    // One that is there, such as where nothing is mounted.
    fs::create_dir(&elsewhere).unwrap();
    clinic.cutover(&["--rollback"]).refused(1, "write-back", "is not the source");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    lead_to(&clinic.target);
    clinic.cutover(&["--rollback"]).refused(1, "cutover", "leads to the target");
    assert_eq!(clinic.state(), "rolling back");
    assert!(clinic.is_frozen());
    assert!(!clinic.source.join("new").exists());

    let link = clinic.lab.path("link");
    std::os::unix::fs::symlink(&clinic.source, &link).unwrap();
    lead_to(&link);
    assert_eq!(clinic.cutover(&["--rollback"]).expect(0).json()["state"], "reverted");
    assert_eq!(fs::read_to_string(clinic.source.join("new")).unwrap(), "from the cloud");
}

/// A clinic that is cut over and worked in, on either side, and can be set back to that.
struct Moved {
    clinic: Clinic,
    /// All of the clinic's directory as it was.
    then: TempDir,
}

fn mirror(from: &Path, to: &Path) {
    let mut rsync = Command::new("rsync");
    rsync.args(["-aH", "--delete", "--checksum"]);
    let status = rsync.arg(format!("{}/", from.display())).arg(to).status().unwrap();
    assert!(status.success());
}

impl Moved {
    fn new() -> Self {
        let clinic = Clinic::new();
        fs::write(clinic.source.join("both"), "at the switch").unwrap();
        fs::create_dir(clinic.source.join("emptied")).unwrap();
        for n in 0..20 {
            fs::write(clinic.source.join(format!("emptied/{n}")), vec![n; 3000]).unwrap();
        }
        fs::write(clinic.source.join("large"), vec![7; 3 << 20]).unwrap();
        let client = Client::begin(&clinic);
        let plan = fs::read_to_string(&clinic.plan).unwrap();
        fs::write(&clinic.plan, format!("{plan}exceptions = 1\n")).unwrap();
        let clinic = clinic.prepared();
        clinic.cutover(&[]).expect(0);
        more_lines(&clinic.target);
        client.end();
        let target = |name: &str| clinic.target.join(name);
        fs::write(target("new"), "from the cloud").unwrap();
        fs::write(target("letters/a"), "rewritten").unwrap();
        fs::write(target("large"), [vec![7; 1 << 20], vec![8; 2 << 20]].concat()).unwrap();
        fs::remove_file(target("readme")).unwrap();
        fs::remove_dir_all(target("emptied")).unwrap();
        fs::write(target("both"), "the target's").unwrap();
        fs::write(clinic.source.join("both"), "the source's own").unwrap();
        fs::write(clinic.source.join("alone"), "only here").unwrap();
        let then = tempfile::tempdir().unwrap();
        mirror(&clinic.lab.path(""), then.path());
        Self { clinic, then }
    }

    fn set_back(&self) {
        mirror(self.then.path(), &self.clinic.lab.path(""));
    }

    fn command(&self) -> Command {
        let plan = self.clinic.plan.as_str();
        self.clinic.lab.command(&["--operator", "anna", "--json", "cutover", plan, "--rollback"])
    }

    /// Kills a rollback, goes on, and looks at what has come of it. `kill` says what the first run
    /// answered, where it ended by itself.
    fn comes_back(&self, what: &str, kill: impl FnOnce(Command) -> Option<Answer>) -> bool {
        let clinic = &self.clinic;
        let client = Client::begin_at(clinic, journal(&clinic.target).len() as u64);
        let ended = kill(self.command());
        let killed = ended.is_none();
        let document: Value = match ended {
            Some(answer) => answer.expect(0).json(),
            None => {
                let state = clinic.state();
                assert!(
                    ["cut over", "rolling back", "reverted"].contains(&state.as_str()),
                    "{what}: {state}"
                );
                let source_is_open = !clinic.is_frozen();
                let target_is_open =
                    clinic.serves() == "target" && !clinic.programs("target-frozen").exists();
                assert!(!(source_is_open && target_is_open), "{what}: both sides are open");
                if source_is_open {
                    // Whoever works there already must not lose it.
                    more_lines(&clinic.source);
                }
                if state == "reverted" {
                    clinic.cutover(&["--show"]).expect(0).json()
                } else {
                    clinic.cutover(&["--rollback"]).expect(0).json()
                }
            }
        };
        assert_eq!(document["state"], "reverted", "{what}");
        if document["action"] == "roll back" {
            assert_eq!(document["conflicts"], serde_json::json!(["both"]), "{what}");
        }
        assert!(!clinic.is_frozen() && clinic.serves() == "source", "{what}");
        more_lines(&clinic.source);
        let (lines, _) = client.end();
        assert!(journal(&clinic.source).into_iter().eq(0..lines), "{what}: lines are lost");
        let source = |name: &str| clinic.source.join(name);
        let read = |name: &str| fs::read_to_string(source(name)).unwrap();
        assert_eq!(read("new"), "from the cloud", "{what}");
        assert_eq!(read("letters/a"), "rewritten", "{what}");
        assert_eq!(read("both"), "the target's", "{what}");
        assert_eq!(read("alone"), "only here", "{what}");
        assert!(!source("readme").exists() && !source("emptied").exists(), "{what}");
        assert!(!source(".drover-restore").exists(), "{what}");
        assert_same(&clinic.source, &clinic.target, &["alone", "journal"]);
        // What the source had of what both changed is in the repository still.
        let listed = clinic.lab.run(&["snapshots", &clinic.plan, "--json"]).expect(0).json();
        let had = listed["snapshots"].as_array().unwrap().iter().any(|snapshot| {
            let both = format!("{}:both", snapshot["id"].as_str().unwrap());
            let had = clinic.lab.run(&["cat", &clinic.plan, &both]);
            had.code == 0 && had.stdout == b"the source's own"
        });
        assert!(had, "{what}: the source's own version is lost");
        killed
    }
}

/// By default in the last three of its commands.
#[test]
fn a_rollback_killed_at_each_step() {
    let moved = Moved::new();
    let all = ["freeze_target", "before", "after", "switch_back", "thaw"];
    let kills = if is_long() { &all[..] } else { &all[2..] };
    for kill in kills {
        moved.set_back();
        moved.clinic.tell(&format!("kill-{kill}"));
        let killed = moved.comes_back(kill, |mut command| {
            Answer::new(command.output().unwrap()).expect(-1);
            None
        });
        assert!(killed);
    }
}

/// At the system calls that change something, of drover and of the commands that it runs; what is
/// killed with it leaves off where it is. By default at two of them; at many with
/// `DROVER_TEST_LONG=1`.
#[test]
#[allow(clippy::print_stdout, reason = "how much was tried")]
fn a_rollback_killed_at_its_calls() {
    let moved = Moved::new();
    let (mut at, mut kills) = (if is_long() { 1 } else { 150 }, 0);
    loop {
        moved.set_back();
        let killed = moved.comes_back(&format!("call {at}"), |command| {
            // What it began ends with the thread that traces it.
            thread::spawn(move || run_up_to(command, at)).join().unwrap()
        });
        if !killed {
            break;
        }
        kills += 1;
        at += if is_long() { 1 + at / 25 } else { at };
        if !is_long() && kills == 2 {
            break;
        }
    }
    println!("{kills} kills, the last before call {at}");
    assert!(kills > 1);
}
