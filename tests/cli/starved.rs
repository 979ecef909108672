//! Too few descriptors, too little memory, files that may not grow: each run does what it should or
//! says what it lacks, and once it has that the same command goes on.

#![allow(clippy::print_stdout, reason = "what was seen")]

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    compare::assert_same,
    lab::{Answer, Lab, NO_STACK, is_long},
    roundtrip::comes_back,
    tree::noise,
};

/// The binary under a limit of the shell's `ulimit`.
fn limited(lab: &Lab, limit: &str, arguments: &[&str]) -> Answer {
    within(lab, &format!("ulimit {limit}"), arguments)
}

/// The binary, after the shell has done `first`.
fn within(lab: &Lab, first: &str, arguments: &[&str]) -> Answer {
    let all: Vec<&str> =
        arguments.iter().copied().chain(["--repo", &lab.repository, "--json"]).collect();
    let command = lab.command(&all);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{first} && exec \"$0\" \"$@\"")]);
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
    // In KiB: enough to begin, and not for the 64 MiB of Argon2id as well. In the middle of what is both:
    // near its lower end (62,000, most of it the program itself) a busy machine has another allocation
    // fail first.
    let answer = limited(&lab, "-v 100000", &["verify"]);
    answer.refused(1, "memory", "64 MiB");
    lab.verb("verify", &["--read-data"]).expect(0);
}

/// What is said where memory lacks for what no program can refuse: an allocation, what a thread needs
/// before it begins, what is to be run at its end.
const LAST_WORDS: [&str; 3] =
    ["memory allocation of", NO_STACK, "failed to register TLS destructor: out of memory"];

/// Whatever memory there is: a run is done, or says that memory or threads are lacking. Where an
/// allocation fails in the middle of the work the message of language or libc is the last word.
#[test]
fn any_size_of_memory() {
    let (lab, source) = Lab::with_source();
    fs::write(source.join("large"), crate::tree::noise(1, 9 << 20)).unwrap();
    let (from, to) = (source.to_str().unwrap(), lab.path("restored"));
    let (mut kinds, mut passes) = (BTreeMap::new(), 0);
    for kib in (60_000..700_000).step_by(40_000) {
        fs::write(source.join("readme"), kib.to_string()).unwrap();
        let restore = ["restore", "latest", to.to_str().unwrap()];
        let verbs: [&[&str]; 3] =
            [&["sync", "--source", from], &["verify", "--read-data"], &restore];
        for arguments in verbs.iter().take(if passes > 0 { 3 } else { 1 }) {
            let _ = fs::remove_dir_all(&to);
            let answer = limited(&lab, &format!("-v {kib}"), arguments);
            passes += usize::from(answer.code == 0);
            let kind = match answer.code {
                0 => "done".to_owned(),
                1 => {
                    let document = answer.json();
                    let remedy = document["error"]["remedy"].as_str().unwrap();
                    assert!(remedy.contains("memory"), "{kib} KiB: {document}");
                    document["error"]["kind"].as_str().unwrap().to_owned()
                }
                code => {
                    let said = LAST_WORDS.iter().any(|words| answer.stderr.contains(words));
                    assert!(code == -1 && said, "{kib} KiB: {code} {}", answer.stderr);
                    "aborted".to_owned()
                }
            };
            *kinds.entry(kind).or_insert(0) += 1;
        }
    }
    println!("{kinds:?}");
    lab.sync(&source).expect(0);
    let _ = fs::remove_dir_all(&to);
    comes_back(&lab, &source, &[]);
}

/// A control group with a limit on memory, page cache included.
struct Group(PathBuf);

impl Group {
    /// `None` where this process may make none.
    #[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn new(limit: u64) -> Option<Self> {
        let name = format!("drover-test-{}", std::process::id());
        for (root, file) in
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
        {
            let group = Self(Path::new(root).join(&name));
            if fs::create_dir(&group.0).is_ok()
                && fs::write(group.0.join(file), limit.to_string()).is_ok()
            {
                return Some(group);
            }
        }
        eprintln!("skipped: this process may make no control group with a limit on memory");
        None
    }

    /// The most that was used since the last time, in MiB; of version 2, since the beginning.
    fn most(&self) -> u64 {
        let file = self.0.join("memory.max_usage_in_bytes");
        let text = fs::read_to_string(&file)
            .or_else(|_| fs::read_to_string(self.0.join("memory.peak")))
            .unwrap_or_default();
        let _ = fs::write(file, "0");
        text.trim().parse::<u64>().unwrap_or_default() >> 20
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// 200,000 small files and one of 1 GiB go through every verb within 256 MiB. In the long sweep.
#[test]
fn a_quarter_of_a_gibibyte_is_enough() {
    if !is_long() {
        return;
    }
    let Some(group) = Group::new(256 << 20) else { return };
    let lab = Lab::with_repository();
    let source = lab.path("source");
    for folder in 0..200_u64 {
        let path = source.join(folder.to_string());
        fs::create_dir_all(&path).unwrap();
        for file in 0..1000 {
            fs::write(path.join(file.to_string()), noise(folder * 1000 + file, 200)).unwrap();
        }
    }
    let mut large = fs::File::create(source.join("large")).unwrap();
    for part in 0..64 {
        large.write_all(&noise(1 << 32 | part, 16 << 20)).unwrap();
    }
    let (from, to) = (source.to_str().unwrap(), lab.path("restored"));
    let target = to.to_str().unwrap();
    let join = format!("echo $$ > {}/cgroup.procs", group.0.display());
    let verbs: [&[&str]; 5] = [
        &["sync", "--source", from],
        &["sync", "--source", from],
        &["verify", "--read-data"],
        &["restore", "latest", target],
        &["verify", "--target", target],
    ];
    for arguments in verbs {
        let begun = std::time::Instant::now();
        let answer = within(&lab, &join, arguments).expect(0);
        assert!(!answer.stdout.is_empty());
        let seconds = begun.elapsed().as_secs();
        println!(
            "{}: {seconds} s, at most {} MiB with page cache",
            arguments[..1].concat(),
            group.most()
        );
    }
    assert_same(&source, &to, &[]);
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
