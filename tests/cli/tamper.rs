//! What people see on the command line of what somebody did to their repository. All that can be
//! done is in `crates/ops/tests/tamper`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::lab::Lab;

/// Everything below a folder of the repository, in order.
fn objects(lab: &Lab, below: &str) -> Vec<PathBuf> {
    fn walk(path: &Path, found: &mut Vec<PathBuf>) {
        let mut entries: Vec<_> = fs::read_dir(path).unwrap().map(|e| e.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(&lab.repository).join(below), &mut found);
    found
}

/// A repository with three snapshots.
fn three_passes() -> (Lab, PathBuf) {
    let (lab, source) = Lab::with_source();
    for number in 0..3 {
        fs::write(source.join("readme"), format!("number {number}")).unwrap();
        lab.sync(&source).expect(0);
    }
    (lab, source)
}

/// The kinds of the problems that a verification names, which has to end with 4.
fn problems(lab: &Lab) -> Vec<String> {
    let report = lab.verb("verify", &["--read-data"]).expect(4).json();
    let problems = report["problems"].as_array().unwrap();
    let mut kinds: Vec<_> =
        problems.iter().map(|p| p["kind"].as_str().unwrap().to_owned()).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

#[test]
fn a_snapshot_taken_from_the_middle() {
    let (lab, _) = three_passes();
    fs::remove_file(&objects(&lab, "snapshots")[1]).unwrap();
    assert!(problems(&lab).contains(&"missing snapshot".to_owned()));
    // Who wants what is there gets it, and a warning.
    let restored = lab.path("restored");
    let answer = lab.verb("restore", &["latest", restored.to_str().unwrap()]).expect(0);
    assert!(answer.stderr.contains("the snapshots 2 to 2 before it are missing"));
    assert_eq!(fs::read(restored.join("readme")).unwrap(), b"number 2");
}

#[test]
fn a_slot_of_somebody_else_that_was_changed() {
    let (lab, _) = three_passes();
    let file = lab.path("key");
    fs::write(&file, [7; 64]).unwrap();
    let add = ["--new-key-file", file.to_str().unwrap(), "--role", "auditor"];
    let before = objects(&lab, "keys");
    lab.verb("key add", &add).expect(0);
    let is_its =
        |path: &PathBuf| path.to_str().unwrap().contains("/slot-") && !before.contains(path);
    let path = objects(&lab, "keys").into_iter().find(is_its).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(problems(&lab), ["key"]);
}

#[test]
fn a_config_of_another_repository() {
    let (lab, source) = three_passes();
    let other = Lab::with_repository();
    fs::copy(
        Path::new(&other.repository).join("config"),
        Path::new(&lab.repository).join("config"),
    )
    .unwrap();
    lab.verb("verify", &[""; 0]).refused(12, "other-repository", "not the one");
    lab.sync(&source).refused(12, "other-repository", "not the one");
    // Who has never been here sees that the keys are missing, and not a wrong password.
    fs::remove_dir_all(lab.path("state")).unwrap();
    let document = lab.verb("verify", &[""; 0]).expect(4).json();
    let object = document["problems"][0]["object"].as_str().unwrap();
    assert!(object.starts_with("keys/"), "{document}");
    // Nor is a damaged one anything but a finding.
    let config = Path::new(&lab.repository).join("config");
    let mut bytes = fs::read(&config).unwrap();
    bytes[40] ^= 1;
    fs::write(&config, bytes).unwrap();
    let document = lab.verb("verify", &[""; 0]).expect(4).json();
    assert_eq!(document["problems"][0]["object"], "config", "{document}");
}

#[test]
fn another_repository_of_the_same_password_in_its_place() {
    let (lab, source) = three_passes();
    let other = Lab::with_repository();
    other.sync(&source).expect(0);
    fs::remove_dir_all(&lab.repository).unwrap();
    fs::rename(&other.repository, &lab.repository).unwrap();
    lab.sync(&source).refused(12, "other-repository", "not the one");
    lab.verb("snapshots", &[""; 0]).refused(12, "other-repository", "not the one");
    // Whoever makes a new one in the place of the old means it.
    fs::remove_dir_all(&lab.repository).unwrap();
    lab.run(&["init", "--repo", &lab.repository]).expect(0);
    lab.sync(&source).expect(0);
    lab.verb("verify", &["--read-data"]).expect(0);
}
