//! Buckets that follow their source: what lands as plain objects, pass by pass.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    lab::{Lab, number},
    landing::{Follower, lines, pass},
    services::{Service, s3_service, services},
    trace::run_up_to,
    tree,
};

/// A source, its repository at a service, and a bucket beside it.
struct Bucket {
    service: Service,
    lab: Lab,
    source: PathBuf,
    url: String,
}

impl Bucket {
    fn new() -> Option<Self> {
        s3_service().map(Self::at)
    }

    fn at(service: Service) -> Self {
        let lab = service.lab();
        lab.verb("init", &[""; 0]).expect(0);
        let source = lab.path("source");
        fs::create_dir_all(source.join("letters")).unwrap();
        let url = format!("{}-objects", lab.repository);
        Self { service, lab, source, url }
    }

    /// Writes a file with the time that belongs to this content.
    fn write(&self, name: &str, content: &[u8]) {
        let path = self.source.join(name);
        fs::write(&path, content).unwrap();
        let first = u64::from(content.first().copied().unwrap_or_default());
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + first);
        File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }

    fn follow(&self, more: &[&str]) -> Follower {
        Follower::start(&self.lab, Path::new(&self.url), more)
    }

    fn object(&self, key: &str) -> Option<Vec<u8>> {
        self.service.object(&format!("{}/{key}", self.url))
    }

    fn state(&self) -> Option<Value> {
        self.object(".drover/landing.json").map(|json| serde_json::from_slice(&json).unwrap())
    }

    fn note(&self, state: &Value) {
        let url = format!("{}/.drover/landing.json", self.url);
        self.service.put(&url, state.to_string().as_bytes());
    }

    /// All of a snapshot is there, and nothing else.
    #[track_caller]
    fn holds(&self, snapshot: &str) {
        self.lab.verb("verify", &["--target", &self.url]).expect(0);
        if !self.service.can_be_asked() {
            return;
        }
        let state = self.state().unwrap();
        assert_eq!(
            (&state["snapshot"], &state["complete"], &state["whole"]),
            (&snapshot.into(), &true.into(), &true.into())
        );
    }
}

fn each_new_snapshot_lands(bucket: &Bucket) {
    for at in 0..40u64 {
        bucket.write(&format!("letters/{at}"), &tree::noise(at, 30_000));
    }
    let (first, said) = pass(&bucket.lab, &bucket.source);
    let mut follower = bucket.follow(&["--poll", "1h", "--verify"]);
    follower.says(&said);
    bucket.holds(&first);

    bucket.write("letters/1", b"changed");
    bucket.write("new", b"new");
    fs::remove_file(bucket.source.join("letters/2")).unwrap();
    let (second, said) = pass(&bucket.lab, &bucket.source);
    follower.signal(Signal::SIGUSR1);
    follower.says(&said);
    bucket.holds(&second);
    if bucket.service.can_be_asked() {
        assert_eq!(bucket.object("letters/1").unwrap(), b"changed");
        assert_eq!(bucket.object("new").unwrap(), b"new");
        assert_eq!(bucket.object("letters/2"), None);
    }
    let ended = follower.stop().expect(0).json();
    assert_eq!(number(&ended, "/landings/0/entries/written"), 41, "{ended}");
    assert!(number(&ended, "/landings/0/bytes/sent") > 40 * 30_000, "{ended}");
    assert_eq!(number(&ended, "/landings/1/entries/removed"), 1, "{ended}");
    assert!(number(&ended, "/landings/1/bytes/sent") < 60_000, "only what changed: {ended}");
    for landing in ended["landings"].as_array().unwrap() {
        assert_eq!(landing["verified"], true);
    }

    // A restore that left something there says so, and whoever follows takes it away.
    fs::remove_file(bucket.source.join("new")).unwrap();
    let (third, said) = pass(&bucket.lab, &bucket.source);
    bucket.lab.verb("restore", &["latest", &bucket.url]).expect(0);
    if bucket.service.can_be_asked() {
        assert_eq!(bucket.state().unwrap()["whole"], false);
    }
    let mut follower = bucket.follow(&["--poll", "1h"]);
    follower.says(&said);
    bucket.holds(&third);
    follower.stop().expect(0);

    let refused = ["latest:letters", &bucket.url, "--follow"];
    bucket.lab.verb("restore", &refused).refused(2, "command-line", "whole snapshots");
}

#[test]
fn each_new_snapshot_lands_in_a_bucket() {
    services().into_iter().map(Bucket::at).for_each(|bucket| each_new_snapshot_lands(&bucket));
}

#[test]
fn an_older_repository_does_not_land_in_a_bucket() {
    let Some(bucket) = Bucket::new() else { return };
    bucket.write("readme", b"1");
    let (first, _) = pass(&bucket.lab, &bucket.source);
    bucket.lab.verb("restore", &["latest", &bucket.url]).expect(0);
    // What landed last is a snapshot that the repository does not have any more, whole or cut off.
    let mut state = bucket.state().unwrap();
    state["snapshot"] = "ab".repeat(32).into();
    let mut cut_off = state.clone();
    cut_off["complete"] = false.into();
    cut_off["before"] = state["snapshot"].clone();
    for state in [state, cut_off] {
        bucket.note(&state);
        let mut follower = bucket.follow(&["--poll", "1h"]);
        follower.says("nothing is landed");
        follower.stop().expect(0);
        assert_eq!(bucket.state().unwrap(), state);
    }
    assert_ne!(first, "ab".repeat(32));
}

/// Objects of a landing that was cut off are not taken for those of the one before it, which the
/// side manifest is still of.
#[test]
fn what_another_snapshot_left_is_asked_for() {
    let Some(bucket) = Bucket::new() else { return };
    bucket.write("readme", b"1");
    bucket.write("other", b"same");
    let (first, _) = pass(&bucket.lab, &bucket.source);
    bucket.lab.verb("restore", &["latest", &bucket.url, "--delete"]).expect(0);
    let whole = bucket.state().unwrap();
    bucket.write("readme", b"2");
    let (second, _) = pass(&bucket.lab, &bucket.source);
    bucket.write("readme", b"1");
    let (third, _) = pass(&bucket.lab, &bucket.source);
    // Killed in the midst of the second; then in the midst of the third, after that.
    for (of, mixed) in [(&second, false), (&third, true)] {
        bucket.service.put(&format!("{}/readme", bucket.url), b"2");
        let mut state = whole.clone();
        state["snapshot"] = of.as_str().into();
        state["before"] = first.as_str().into();
        state["complete"] = false.into();
        if mixed {
            state["mixed"] = true.into();
        }
        bucket.note(&state);
        bucket.lab.verb("restore", &["latest", &bucket.url, "--delete"]).expect(0);
        assert_eq!(bucket.object("readme").unwrap(), b"1", "cut off in {of}");
        assert_eq!(bucket.state().unwrap().get("mixed"), None);
        bucket.holds(&third);
    }
}

/// Killed again and again, with passes in between that change, take back, add and remove.
fn killed(seed: u64) {
    const FILES: u64 = 40;
    let Some(bucket) = Bucket::new() else { return };
    let chance = tree::noise(seed, 4096);
    let mut chance = chance.iter().map(|byte| u64::from(*byte));
    let mut drawn = |below: u64| (chance.next().unwrap() * 256 + chance.next().unwrap()) % below;
    // Of each name all that was ever written to it.
    let mut written = BTreeMap::<String, BTreeSet<Vec<u8>>>::new();
    let mut write = |at: u64, variant: u64| {
        let name = format!("letters/{at}");
        let mut content = tree::noise(at, 5000);
        content[0] = variant as u8;
        bucket.write(&name, &content);
        written.entry(name).or_default().insert(content);
    };
    (0..FILES).for_each(|at| write(at, 0));
    // In parts.
    let large = FILES;
    let name = format!("letters/{large}");
    bucket.write(&name, &tree::noise(99, 33 << 20));
    pass(&bucket.lab, &bucket.source);
    let repository = &bucket.lab.repository;
    let follow =
        ["restore", "--repo", repository, "latest", &bucket.url, "--follow", "--poll", "1s"];
    for _ in 0..4 {
        let at = 20 + drawn(220) as usize;
        assert!(run_up_to(bucket.lab.command(&follow), at).is_none(), "it came to its end");
        for (name, contents) in &written {
            let whole = bucket.object(name).is_none_or(|object| contents.contains(&object));
            assert!(whole, "{name} is half written");
        }
        let large = bucket.object(&name);
        assert!(large.is_none_or(|object| object == tree::noise(99, 33 << 20)));
        let mut write = |at: u64, variant: u64| {
            let name = format!("letters/{at}");
            let mut content = tree::noise(at, 5000);
            content[0] = variant as u8;
            bucket.write(&name, &content);
            written.entry(name).or_default().insert(content);
        };
        for _ in 0..10 {
            let name = drawn(FILES);
            match drawn(4) {
                0 => drop(fs::remove_file(bucket.source.join(format!("letters/{name}")))),
                variant => write(name, variant % 3),
            }
        }
        pass(&bucket.lab, &bucket.source);
    }
    bucket.write("last", b"of all");
    let (last, said) = pass(&bucket.lab, &bucket.source);
    let mut follower = bucket.follow(&["--poll", "1h"]);
    follower.says(&said);
    follower.stop().expect(0);
    bucket.holds(&last);
    let uninterrupted = format!("{}-again", bucket.url);
    bucket.lab.verb("restore", &["latest", &uninterrupted]).expect(0);
    assert_eq!(lines(&bucket.service, &bucket.url), lines(&bucket.service, &uninterrupted));
}

#[test]
fn a_bucket_that_follows_is_killed_and_goes_on() {
    [1, 2, 3].into_iter().for_each(killed);
}

#[test]
fn a_cutover_sees_what_landed_in_a_bucket_elsewhere() {
    let Some(bucket) = Bucket::new() else { return };
    bucket.write("readme", b"1");
    let plan = bucket.lab.path("plan.toml");
    let text = format!(
        "[repository]\nurl = \"{}\"\n[[source]]\nname = \"office\"\nurl = \"{}\"\n[target]\nurl = \"{}\"\n\
         [cutover]\nlanding = \"elsewhere\"\n",
        bucket.lab.repository,
        bucket.source.display(),
        bucket.url
    );
    fs::write(&plan, text).unwrap();
    let plan = plan.to_str().unwrap();
    let run = |arguments: &[&str]| bucket.lab.run(&[arguments, &["--json"]].concat());
    let lag = || {
        let shown = run(&["cutover", plan, "--show"]).expect(0).json();
        let gates = shown["gates"].as_array().unwrap().iter();
        let lag = gates.clone().find(|gate| gate["id"] == "lag").unwrap();
        lag["outcome"].as_str().unwrap().to_owned()
    };
    run(&["sync", plan]).expect(0);
    assert_eq!(lag(), "refused");
    let arguments = ["restore", plan, "latest", &bucket.url, "--follow", "--poll", "1h", "--json"];
    let mut follower = Follower::of(bucket.lab.start(&arguments));
    follower.says(" landed ");
    assert_eq!(lag(), "passed");
    bucket.write("readme", b"2");
    run(&["sync", plan]).expect(0);
    assert_eq!(lag(), "refused");
    follower.signal(Signal::SIGUSR1);
    follower.says(" landed ");
    assert_eq!(lag(), "passed");
    follower.stop().expect(0);
}
