//! Too few descriptors, too little memory, files that may not grow: each run does what it should or
//! says what it lacks, and once it has that the same command goes on.

use std::{fs, process::Command};

use crate::{
    lab::{Answer, Lab},
    roundtrip::comes_back,
};

/// The binary under a limit of the shell's `ulimit`.
fn limited(lab: &Lab, limit: &str, arguments: &[&str]) -> Answer {
    let all: Vec<&str> =
        arguments.iter().copied().chain(["--repo", &lab.repository, "--json"]).collect();
    let command = lab.command(&all);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")]);
    shell.arg(command.get_program()).args(command.get_args()).current_dir(lab.path(""));
    shell.env_clear();
    for (name, value) in command.get_envs() {
        shell.envs(value.map(|value| (name, value)));
    }
    Answer::new(shell.output().unwrap())
}

/// Whether it did all that it should. If not, it says so: an error with its remedy, or exceptions.
fn done(answer: &Answer, limit: &str) -> bool {
    match answer.code {
        0 => return true,
        3 => {}
        code => {
            let document = answer.json();
            assert_eq!(document["error"]["exit"], code, "{limit}: {document}");
            assert!(document["error"]["remedy"].as_str().unwrap().len() > 10, "{document}");
        }
    }
    let said = String::from_utf8_lossy(&answer.stdout);
    assert!(said.contains("Too many open files"), "{limit}: {said}");
    false
}

#[test]
fn every_number_of_descriptors() {
    let (lab, source) = Lab::with_source();
    for directory in 0..30 {
        let directory = source.join(format!("directory {directory}"));
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("file"), format!("{directory:?}")).unwrap();
    }
    let (from, to) = (source.to_str().unwrap(), lab.path("restored"));
    let (mut syncs, mut restores) = (Vec::new(), Vec::new());
    for descriptors in 5..48 {
        let limit = format!("-n {descriptors}");
        fs::write(source.join("readme"), &limit).unwrap();
        syncs.push(done(&limited(&lab, &limit, &["sync", "--source", from]), &limit));
        if syncs.contains(&true) && descriptors % 4 == 0 {
            let _ = fs::remove_dir_all(&to);
            let restore = ["restore", "latest", to.to_str().unwrap()];
            restores.push(done(&limited(&lab, &limit, &restore), &limit));
        }
    }
    assert!(syncs.contains(&false) && syncs.contains(&true), "{syncs:?}");
    assert!(!restores.is_empty());
    lab.sync(&source).expect(0);
    comes_back(&lab, &source, &[]);
}

#[test]
fn too_little_memory_for_a_password_is_no_damage() {
    let (lab, source) = Lab::with_source();
    lab.sync(&source).expect(0);
    // In KiB: enough to begin, and not for the 64 MiB of Argon2id as well.
    let answer = limited(&lab, "-v 80000", &["verify"]);
    answer.refused(1, "memory", "64 MiB");
    lab.verb("verify", &["--read-data"]).expect(0);
}

#[test]
fn a_file_that_may_not_grow_is_no_signal() {
    let (lab, source) = Lab::with_source();
    fs::write(source.join("large"), crate::tree::noise(1, 12 << 20)).unwrap();
    let from = source.to_str().unwrap();
    // In blocks of 512 bytes.
    let answer = limited(&lab, "-f 8192", &["sync", "--source", from]);
    answer.refused(1, "no-space", "packs/");
    lab.sync(&source).expect(0);
    let to = lab.path("restored");
    let answer = limited(&lab, "-f 8192", &["restore", "latest", to.to_str().unwrap()]).expect(3);
    assert!(answer.json().to_string().contains("cannot write large"));
    assert!(!to.join("large").exists(), "nothing half made is left");
    comes_back(&lab, &source, &[]);
}
