//! A clinic to be cut over: a directory and a few small programs, one that freezes it, one that thaws
//! it, one that leads clients to the target. Each writes down that it ran; one that is told so fails, or
//! kills the drover that called it.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::lab::{Answer, Lab};

/// What a program of the clinic does.
const PROGRAM: &str = r#"#!/bin/sh
# Notes that it ran, and does what the files beside it say.
here=$(dirname "$0")
name=$(basename "$0")
echo "$name" >> "$here/ran"
if [ -e "$here/fail-$name" ]; then echo "it was told to fail"; exit 7; fi
# What a test has put there beside it.
if [ -x "$here/also-$name" ]; then "$here/also-$name" || exit; fi
# Whoever writes holds the lock, as a service that is stopped ends what it is at.
case $name in
    freeze) flock "$here/lock" touch "$here/frozen" ;;
    thaw) rm -f "$here/frozen" ;;
    switch) [ -e "$here/frozen" ] || exit 8; rm -f "$here/target-frozen"; echo target > "$here/serves" ;;
    freeze_target) flock "$here/lock" touch "$here/target-frozen" ;;
    switch_back) [ -e "$here/frozen" ] && [ -e "$here/target-frozen" ] || exit 8; echo source > "$here/serves" ;;
    smoke) grep -q target "$here/serves" ;;
esac || exit
if [ -e "$here/kill-$name" ]; then
    rm "$here/kill-$name"
    kill -9 "$PPID"
    sleep 5
fi
"#;
const PROGRAMS: [&str; 8] =
    ["freeze", "thaw", "before", "after", "switch", "smoke", "switch_back", "freeze_target"];

pub struct Clinic {
    pub lab: Lab,
    pub source: PathBuf,
    pub target: PathBuf,
    pub plan: String,
}

impl Clinic {
    pub fn new() -> Self {
        Self::with("60 seconds", "", "", |source| source.display().to_string())
    }

    pub fn with(
        freeze: &str,
        source_keys: &str,
        cutover_keys: &str,
        url: impl Fn(&Path) -> String,
    ) -> Self {
        let (lab, source) = Lab::with_source();
        let target = lab.path("target");
        let to = target.to_str().unwrap().to_owned();
        Self::within(lab, source, &to, freeze, source_keys, cutover_keys, url)
    }

    /// With the repository of `lab`, and the target at this place.
    pub fn within(
        lab: Lab,
        source: PathBuf,
        to: &str,
        freeze: &str,
        source_keys: &str,
        cutover_keys: &str,
        url: impl Fn(&Path) -> String,
    ) -> Self {
        let target = lab.path("target");
        let programs = lab.path("programs");
        fs::create_dir(&programs).unwrap();
        for name in PROGRAMS {
            let file = programs.join(name);
            fs::write(&file, PROGRAM).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let program = |name: &str| format!("[\"{}\"]", programs.join(name).display());
        let plan = format!(
            "[repository]\nurl = \"{}\"\n\
             [[source]]\nname = \"files\"\nurl = \"{}\"\nfreeze = {}\nthaw = {}\nbefore_pass = {}\n\
             after_pass = {}\nrules = [\"exclude *.tmp\"]\n{source_keys}\n\
             [target]\nurl = \"{}\"\n\
             [cutover]\nfreeze = \"{freeze}\"\nswitch = \"1 seconds\"\nswitch_command = {}\n\
             smoke_test = {}\nswitch_back = {}\nfreeze_target = {}\n{cutover_keys}\n",
            lab.repository,
            url(&source),
            program("freeze"),
            program("thaw"),
            program("before"),
            program("after"),
            to,
            program("switch"),
            program("smoke"),
            program("switch_back"),
            program("freeze_target"),
        );
        let file = lab.path("plan.toml");
        fs::write(&file, plan).unwrap();
        let plan = file.to_str().unwrap().to_owned();
        Self { lab, source, target, plan }
    }

    pub fn cutover(&self, more: &[&str]) -> Answer {
        let mut all = vec!["--operator", "anna", "--json", "cutover", self.plan.as_str()];
        all.extend(more);
        self.lab.run(&all)
    }

    /// Two passes, a verification, a rehearsal.
    pub fn prepared(self) -> Self {
        for verb in ["sync", "sync", "verify"] {
            let answer = self.lab.run(&[verb, self.plan.as_str(), "--json"]);
            // What somebody writes all the while may be torn.
            let code = if answer.code == 3 { 3 } else { 0 };
            answer.expect(code);
        }
        self.cutover(&["--rehearse"]).expect(0);
        fs::remove_file(self.programs("ran")).unwrap();
        self
    }

    pub fn programs(&self, name: &str) -> PathBuf {
        self.lab.path("programs").join(name)
    }

    pub fn tell(&self, what: &str) {
        fs::write(self.programs(what), "").unwrap();
    }

    /// What ran, one after the other.
    pub fn ran(&self) -> Vec<String> {
        let ran = fs::read_to_string(self.programs("ran")).unwrap_or_default();
        ran.lines().map(str::to_owned).collect()
    }

    pub fn is_frozen(&self) -> bool {
        self.programs("frozen").exists()
    }

    pub fn serves(&self) -> String {
        fs::read_to_string(self.programs("serves")).unwrap_or("source\n".into()).trim().to_owned()
    }

    /// Where it stands, by another run.
    pub fn state(&self) -> String {
        let shown = self.lab.run(&["cutover", self.plan.as_str(), "--show", "--json"]).expect(0);
        shown.json()["state"].as_str().unwrap().to_owned()
    }
}

/// The gates that refuse.
pub fn refused(document: &Value) -> Vec<&str> {
    let gates = document["gates"].as_array().unwrap();
    let refused = gates.iter().filter(|gate| gate["outcome"] == "refused");
    refused.map(|gate| gate["id"].as_str().unwrap()).collect()
}

/// A client that writes numbered lines into the journal of whichever side is open, all the while.
pub struct Client {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<(u64, Duration)>,
}

impl Client {
    pub fn begin(clinic: &Clinic) -> Self {
        Self::begin_at(clinic, 0)
    }

    /// From this number on.
    pub fn begin_at(clinic: &Clinic, first: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, programs) = (stop.clone(), clinic.lab.path("programs"));
        let (source, target) = (clinic.source.clone(), clinic.target.clone());
        let lock = fs::File::create(programs.join("lock")).unwrap();
        let thread = thread::spawn(move || {
            let (mut number, mut longest, mut last) = (first, Duration::ZERO, Instant::now());
            while !stopped.load(Ordering::Relaxed) {
                lock.lock().unwrap();
                // In this order: forward the source is frozen before the target serves, and back the
                // target before the source is thawed.
                let serves = fs::read_to_string(programs.join("serves")).unwrap_or_default();
                let source_is_open = !programs.join("frozen").exists();
                let target_is_open =
                    serves.trim() == "target" && !programs.join("target-frozen").exists();
                assert!(!(source_is_open && target_is_open), "both sides are open");
                let side = match serves.trim() {
                    "target" => target_is_open.then_some(&target),
                    _ => source_is_open.then_some(&source),
                };
                if let Some(side) = side {
                    let mut open = fs::File::options();
                    let file = open.append(true).create(true).open(side.join("journal"));
                    writeln!(file.unwrap(), "{number}").unwrap();
                    number += 1;
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                }
                lock.unlock().unwrap();
                thread::park_timeout(Duration::from_millis(50));
            }
            (number, longest)
        });
        Self { stop, thread }
    }

    /// The number after its last, and the longest time that it could write none.
    pub fn end(self) -> (u64, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The numbers that the client wrote, as a side has them.
#[track_caller]
pub fn journal(side: &Path) -> Vec<u64> {
    let text = fs::read_to_string(side.join("journal")).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// Waits until the client has written some lines more.
#[track_caller]
pub fn more_lines(side: &Path) {
    let length = || fs::metadata(side.join("journal")).map_or(0, |metadata| metadata.len());
    let (before, begun) = (length(), Instant::now());
    while length() < before + 50 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody writes in {}", side.display());
        thread::park_timeout(Duration::from_millis(10));
    }
}
