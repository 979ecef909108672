//! Landings that follow their source.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::Path,
    process::Child,
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use serde_json::Value;

use crate::{
    compare::assert_same,
    lab::{Answer, Lab, number},
    services::{Service, s3_service, services},
    trace::run_up_to,
    tree,
};

/// How long something may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// A landing that follows, and what it says.
pub struct Follower {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Follower {
    pub fn start(lab: &Lab, target: &Path, more: &[&str]) -> Self {
        let target = target.to_str().unwrap();
        let arguments =
            ["restore", "--repo", &lab.repository, "latest", target, "--follow", "--json"];
        Self::of(lab.start(&[&arguments[..], more].concat()))
    }

    /// One that was started.
    pub fn of(mut child: Child) -> Self {
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|l| send.send(l))
        });
        Self { child, lines, said: Vec::new() }
    }

    /// Waits for a line with `text`.
    #[track_caller]
    pub fn says(&mut self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(error) => panic!("{text:?} was not said ({error}): {:#?}", self.said),
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits for its end.
    fn end(mut self) -> Answer {
        let mut stdout = Vec::new();
        self.child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        self.said.extend(self.lines.iter());
        Answer::of(code, stdout, self.said.join("\n").into_bytes())
    }

    pub fn stop(self) -> Answer {
        self.signal(Signal::SIGTERM);
        self.end()
    }
}

/// A pass; the snapshot that it left, and the beginning of its name that people read.
pub fn pass(lab: &Lab, source: &Path) -> (String, String) {
    let id = lab.sync(source).expect(0).json()["snapshot"].as_str().unwrap().to_owned();
    let short = format!("landed {}", id.get(..8).unwrap());
    (id, short)
}

/// The last line of a target's mark, and the snapshot that it names.
fn mark(target: &Path) -> Option<(String, String)> {
    let text = fs::read_to_string(target.join(".drover-restore")).ok()?;
    let line = |begin: &str| text.lines().find_map(|line| line.strip_prefix(begin));
    Some((text.lines().last()?.to_owned(), line("snapshot ")?.to_owned()))
}

#[test]
fn each_new_snapshot_lands() {
    let (lab, source) = Lab::with_source();
    let target = lab.path("target");
    let (first, said) = pass(&lab, &source);
    let mut follower = Follower::start(&lab, &target, &["--poll", "1h"]);
    follower.says(&said);
    assert_same(&source, &target, &[]);
    assert_eq!(mark(&target), Some(("complete".into(), format!("{first} whole"))));

    fs::write(source.join("readme"), "hello again").unwrap();
    fs::remove_file(source.join("letters/a")).unwrap();
    fs::create_dir(source.join("more")).unwrap();
    let (second, said) = pass(&lab, &source);
    follower.signal(Signal::SIGUSR1);
    follower.says(&said);
    assert_same(&source, &target, &[]);

    // Nothing new: a look is one listing.
    for _ in 0..20 {
        follower.signal(Signal::SIGUSR1);
    }
    fs::write(source.join("last"), "of all").unwrap();
    let (third, said) = pass(&lab, &source);
    follower.signal(Signal::SIGUSR1);
    follower.says(&said);
    let ended = follower.stop().expect(0).json();
    assert_same(&source, &target, &[]);
    assert_eq!(mark(&target), Some(("complete".into(), format!("{third} whole"))));

    assert_eq!(ended["schema"], "drover.restore/1");
    assert_eq!(ended["snapshot"], *third);
    let landings = ended["landings"].as_array().unwrap();
    let ids: Vec<_> =
        landings.iter().map(|landing| landing["snapshot"].as_str().unwrap()).collect();
    assert_eq!(ids, [&first, &second, &third]);
    assert_eq!(number(&landings[1], "/entries/removed"), 1, "{ended}");
    assert_eq!(number(&landings[2], "/entries/written"), 1, "{ended}");
    assert!(landings.iter().all(|landing| landing["lag_seconds"].as_f64().unwrap() >= 0.0));
    // The second and the third landing read what is new, and of that little.
    assert!(number(&landings[2], "/bytes/received") < 64 << 10, "{ended}");
    let (looks, lists) =
        (number(&ended, "/following/looks"), number(&ended, "/following/requests/list"));
    assert!(looks >= 3, "{ended}");
    // Opening lists four folders or so, and what is new is looked for in three.
    assert!(lists <= looks + 3 * 4 + 8, "{lists} listings for {looks} looks: {ended}");
    let log = lab.verb("log show", &[""; 0]).expect(0);
    assert!(String::from_utf8_lossy(&log.stdout).contains(&third), "it is on the record");
}

#[test]
fn what_is_refused() {
    let (lab, source) = Lab::with_source();
    let (id, _) = pass(&lab, &source);
    let target = lab.path("target");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("somebody's"), "file").unwrap();
    let to = target.to_str().unwrap();
    lab.verb("restore", &["latest", to, "--follow"]).refused(1, "target-not-empty", to);
    assert_eq!(fs::read_dir(&target).unwrap().count(), 1);
    let new = lab.path("new");
    let new = new.to_str().unwrap();
    lab.verb("restore", &[&id, new, "--follow"]).refused(2, "command-line", "latest");
    lab.verb("restore", &["latest", new, "--follow", "--poll", "0s"]).expect(2);
}

#[test]
fn a_store_that_fails_is_told_and_tried_again() {
    let (lab, source) = Lab::with_source();
    let target = lab.path("target");
    let (first, said) = pass(&lab, &source);
    let mut follower = Follower::start(&lab, &target, &["--poll", "1h"]);
    follower.says(&said);
    fs::write(source.join("readme"), "changed").unwrap();
    let (second, said) = pass(&lab, &source);
    // A listing meets what leads nowhere but to itself.
    let odd = Path::new(&lab.repository).join("snapshots/odd");
    std::os::unix::fs::symlink("odd", &odd).unwrap();
    follower.signal(Signal::SIGUSR1);
    follower.says("tried again in");
    assert_eq!(mark(&target), Some(("complete".into(), format!("{first} whole"))));
    fs::remove_file(odd).unwrap();
    follower.signal(Signal::SIGUSR1);
    follower.says(&said);
    assert_eq!(mark(&target), Some(("complete".into(), format!("{second} whole"))));
    follower.stop().expect(0);
}

/// The objects of the snapshots of a repository in a directory.
fn snapshots(lab: &Lab) -> Vec<std::path::PathBuf> {
    let folder = Path::new(&lab.repository).join("snapshots");
    let writers = fs::read_dir(folder).unwrap().map(|writer| writer.unwrap().path());
    let all = writers.flat_map(|writer| fs::read_dir(writer).unwrap().map(|o| o.unwrap().path()));
    let mut all: Vec<_> = all.collect();
    all.sort();
    all
}

#[test]
fn what_is_damaged_or_older_does_not_land() {
    let (lab, source) = Lab::with_source();
    let target = lab.path("target");
    let (_, said) = pass(&lab, &source);
    let mut follower = Follower::start(&lab, &target, &["--poll", "1h"]);
    follower.says(&said);
    let kept = fs::read(source.join("readme")).unwrap();

    // A snapshot whose object is damaged.
    fs::write(source.join("readme"), "changed").unwrap();
    let (second, said) = pass(&lab, &source);
    let object = snapshots(&lab).pop().unwrap();
    let good = fs::read(&object).unwrap();
    let mut bad = good.clone();
    bad[200] ^= 1;
    fs::write(&object, bad).unwrap();
    follower.signal(Signal::SIGUSR1);
    follower.says("bytes are not those its name says");
    assert_eq!(fs::read(target.join("readme")).unwrap(), kept);

    // It is whole again, and lands when another one makes it be looked at.
    fs::write(&object, good).unwrap();
    fs::write(source.join("readme"), "changed again").unwrap();
    let (third, said_third) = pass(&lab, &source);
    follower.signal(Signal::SIGUSR1);
    follower.says(&said_third);
    assert!(!follower.said.iter().any(|line| line.contains(&said)), "{second} was passed over");
    assert_eq!(fs::read(target.join("readme")).unwrap(), b"changed again");

    // The repository is taken back to where it was before.
    fs::remove_file(snapshots(&lab).pop().unwrap()).unwrap();
    follower.signal(Signal::SIGUSR1);
    follower.says("nothing is landed");
    assert_eq!(fs::read(target.join("readme")).unwrap(), b"changed again");
    let ended = follower.stop().expect(0).json();
    assert_eq!(ended["landings"].as_array().unwrap().len(), 2);
    assert_eq!(mark(&target), Some(("complete".into(), format!("{third} whole"))));

    // Neither by a machine that has not seen it: what the target holds says so.
    fs::remove_dir_all(lab.path("state")).unwrap();
    let mut follower = Follower::start(&lab, &target, &[]);
    follower.says("nothing is landed");
    follower.stop().expect(0);
    assert_eq!(fs::read(target.join("readme")).unwrap(), b"changed again");
}

#[test]
fn a_manifest_that_cannot_be_read_leaves_the_target_as_it_was() {
    let (lab, source) = Lab::with_source();
    let target = lab.path("target");
    let (first, said) = pass(&lab, &source);
    let mut follower = Follower::start(&lab, &target, &["--poll", "1h"]);
    follower.says(&said);
    let before: Vec<_> = tree::packs(&lab.repository);
    fs::remove_file(source.join("readme")).unwrap();
    fs::create_dir(source.join("new")).unwrap();
    let (second, said) = pass(&lab, &source);
    // Nothing but a manifest is new.
    let new: Vec<_> =
        tree::packs(&lab.repository).into_iter().filter(|p| !before.contains(p)).collect();
    let kept: Vec<_> = new
        .iter()
        .map(|(name, _)| {
            let path = Path::new(&lab.repository).join("packs").join(&name[..2]).join(name);
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, vec![0; bytes.len()]).unwrap();
            (path, bytes)
        })
        .collect();
    assert!(!kept.is_empty());
    follower.signal(Signal::SIGUSR1);
    follower.says("tried again");
    assert!(target.join("readme").exists() && !target.join("new").exists());
    assert_eq!(mark(&target), Some(("complete".into(), format!("{first} whole"))));
    for (path, bytes) in kept {
        fs::write(path, bytes).unwrap();
    }
    follower.signal(Signal::SIGUSR1);
    follower.says(&said);
    assert_same(&source, &target, &[]);
    assert_eq!(mark(&target), Some(("complete".into(), format!("{second} whole"))));
    follower.stop().expect(0);
}

#[test]
fn killed_in_the_middle_it_goes_on() {
    let (lab, source) = Lab::with_source();
    let target = lab.path("target");
    let mut killed = [0, 0];
    for round in 0..16u64 {
        for number in 0..400 {
            let path = source.join(format!("{}", number % 7));
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join(format!("{number}")), tree::noise(round * 1000 + number, 3000))
                .unwrap();
        }
        let (id, said) = pass(&lab, &source);
        let follower = Follower::start(&lab, &target, &["--poll", "1h"]);
        let end = Instant::now() + PATIENCE;
        // The mark names the snapshot from the first change on.
        while mark(&target).is_none_or(|(_, snapshot)| !snapshot.starts_with(&id)) {
            assert!(Instant::now() < end, "no landing began");
            std::thread::yield_now();
        }
        let asked = round % 2 == 1;
        follower.signal(if asked { Signal::SIGTERM } else { Signal::SIGKILL });
        let ended = follower.end();
        let (state, _) = mark(&target).unwrap();
        let in_the_middle = state.starts_with("under way");
        match (asked, in_the_middle) {
            (false, _) => drop(ended.expect(-1)),
            (true, false) => drop(ended.expect(0)),
            (true, true) => {
                let ended = ended.expect(130).json();
                assert_eq!(ended["error"]["kind"], "interrupted", "{ended}");
            }
        }
        killed[usize::from(asked)] += u64::from(in_the_middle);
        let mut follower = Follower::start(&lab, &target, &["--poll", "1h"]);
        if state != "complete" {
            follower.says(&said);
        }
        // Once it looks for more, what it found is done.
        follower.stop();
        lab.verb("restore", &["latest", target.to_str().unwrap(), "--delete"]).expect(0);
        assert_same(&source, &target, &[]);
        if killed.iter().all(|times| *times > 0) {
            return;
        }
    }
    panic!("in the middle it was killed and ended so often: {killed:?}");
}

#[test]
fn of_a_large_file_what_changed_is_fetched() {
    const MIB: usize = 1 << 20;
    let (lab, source) = Lab::with_source();
    let (large, target) = (source.join("large"), lab.path("target"));
    fs::write(&large, tree::noise(1, 200 * MIB)).unwrap();
    let (_, said) = pass(&lab, &source);
    let mut follower = Follower::start(&lab, &target, &["--poll", "1h"]);
    follower.says(&said);

    let mut file = File::options().write(true).open(&large).unwrap();
    file.seek(SeekFrom::Start(77 * MIB as u64)).unwrap();
    file.write_all(&tree::noise(2, MIB)).unwrap();
    drop(file);
    let (_, said) = pass(&lab, &source);
    follower.signal(Signal::SIGUSR1);
    follower.says(&said);

    // All of it moves, and little is new.
    let mut content = fs::read(&large).unwrap();
    content.splice(MIB..MIB, tree::noise(3, 12_345));
    fs::write(&large, content).unwrap();
    let (_, said) = pass(&lab, &source);
    follower.signal(Signal::SIGUSR1);
    follower.says(&said);
    let ended = follower.stop().expect(0).json();
    assert_same(&source, &target, &[]);
    for landing in [1, 2] {
        let received = number(&ended, &format!("/landings/{landing}/bytes/received"));
        assert!(received < 12 * MIB as u64, "landing {landing} received {received} bytes");
    }
}

/// The lines of a side manifest, which a bucket has beside its objects.
pub fn lines(service: &Service, bucket: &str) -> Vec<Value> {
    let text = service.object(&format!("{bucket}/.drover/manifest.jsonl")).unwrap();
    text.split(|&b| b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect()
}

fn restore(lab: &Lab, bucket: &str, more: &[&str]) -> Value {
    lab.verb("restore", &[&["latest", bucket], more].concat()).expect(0).json()
}

fn verify(lab: &Lab, bucket: &str, code: i32) -> Value {
    lab.verb("verify", &["--target", bucket]).expect(code).json()
}

/// Names of which stores or programs could make something else.
const AWKWARD: &[(&[u8], &str)] = &[
    (b"100%", "100%25"),
    (b"a\\b", "a%5Cb"),
    (b"dots./x", "dots%2E/x"),
    (b"new\nline", "new%0Aline"),
    (b"not utf-8 \xff", "not utf-8 %FF"),
    (b"question?#mark&+ =", "question?#mark&+ ="),
    ("M\u{fc}ller \u{1f600}".as_bytes(), "M\u{fc}ller \u{1f600}"),
    (b".drover/mine", "%2Edrover/mine"),
];

fn what_is_there(service: &Service, bucket: &str, source: &Path, id: &str) {
    for (_, key) in AWKWARD {
        assert_eq!(service.object(&format!("{bucket}/{key}")).unwrap(), b"awkward", "{key}");
    }
    assert_eq!(
        service.object(&format!("{bucket}/large")).unwrap(),
        fs::read(source.join("large")).unwrap()
    );
    let noted = lines(service, bucket);
    // The root has a line too.
    assert_eq!(noted.len() as u64, tree::count(source) + 1);
    let line = |noted: &[Value], path: &str| {
        noted.iter().find(|l| l["path"]["text"] == path).unwrap().clone()
    };
    assert_eq!(line(&noted, "link")["target"]["text"], "studies/1");
    assert_eq!(line(&noted, "studies/first name of none")["link"]["text"], "studies/1");
    assert_eq!(line(&noted, "not utf-8 \\xff")["key"], "not utf-8 %FF");
    let state: Value =
        serde_json::from_slice(&service.object(&format!("{bucket}/.drover/landing.json")).unwrap())
            .unwrap();
    assert_eq!(
        (&state["snapshot"], &state["complete"], &state["whole"]),
        (&Value::from(id), &Value::from(true), &Value::from(true))
    );
}

fn objects(service: &Service) {
    use std::os::unix::{ffi::OsStrExt, fs::symlink};
    let lab = service.lab();
    lab.verb("init", &[""; 0]).expect(0);
    let source = lab.path("source");
    let bucket = format!("{}-objects", lab.repository);
    fs::create_dir_all(source.join("studies/2019")).unwrap();
    for number in 0..300u64 {
        fs::write(source.join(format!("studies/{number}")), tree::noise(number, 2000)).unwrap();
    }
    for (path, _) in AWKWARD {
        let path = source.join(std::ffi::OsStr::from_bytes(path));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "awkward").unwrap();
    }
    fs::write(source.join("empty"), "").unwrap();
    // In parts, with a hole that parts begin in.
    let mut large = File::create(source.join("large")).unwrap();
    large.write_all(&tree::noise(77, 9 << 20)).unwrap();
    large.seek(SeekFrom::Start(35 << 20)).unwrap();
    large.write_all(&tree::noise(78, 3 << 20)).unwrap();
    drop(large);
    symlink("studies/1", source.join("link")).unwrap();
    fs::hard_link(source.join("studies/1"), source.join("studies/first name of none")).unwrap();
    let (id, _) = pass(&lab, &source);

    let first = restore(&lab, &bucket, &[]);
    let entries = tree::count(&source);
    assert_eq!(number(&first, "/entries/written"), entries, "{first}");
    if service.can_be_asked() {
        what_is_there(service, &bucket, &source, &id);
    }
    let verified = verify(&lab, &bucket, 0);
    assert_eq!(verified["method"], "landed and hashed");
    assert_eq!(number(&verified, "/totals/bytes"), number(&first, "/bytes/written"), "{verified}");

    // Nothing new: nothing is sent but the notes.
    let again = restore(&lab, &bucket, &["--delete"]);
    assert_eq!(number(&again, "/entries/unchanged"), entries, "{again}");
    assert_eq!(number(&again, "/bytes/written"), 0);
    assert!(number(&again, "/bytes/sent") < 512 << 10, "{again}");

    // One of each change; what somebody took from the bucket comes back.
    fs::write(source.join("studies/7"), "changed").unwrap();
    fs::remove_file(source.join("studies/8")).unwrap();
    fs::rename(source.join("studies/9"), source.join("studies/2019/9")).unwrap();
    if service.can_be_asked() {
        service.delete(&format!("{bucket}/studies/10"));
    }
    pass(&lab, &source);
    let kept = restore(&lab, &bucket, &[]);
    assert_eq!(number(&kept, "/entries/removed"), 0, "{kept}");
    let extra = verify(&lab, &bucket, 4);
    assert!(extra["problems"].as_array().unwrap().iter().all(|p| p["kind"] == "extra"), "{extra}");
    let dry = restore(&lab, &bucket, &["--delete", "--dry-run"]);
    assert_eq!(dry["dry_run"], true);
    let deleted = restore(&lab, &bucket, &["--delete"]);
    assert_eq!(number(&deleted, "/entries/removed"), 2, "{deleted}");
    assert_eq!(number(&deleted, "/bytes/written"), 0, "{deleted}");
    verify(&lab, &bucket, 0);
    if !service.can_be_asked() {
        return;
    }
    assert!(service.object(&format!("{bucket}/studies/8")).is_none());
    assert!(service.object(&format!("{bucket}/studies/10")).is_some());

    // Other content of the same length, and a note that was changed, are found.
    service.put(&format!("{bucket}/studies/7"), b"Changed");
    let damaged = verify(&lab, &bucket, 4);
    assert_eq!(damaged["problems"][0]["path"], "studies/7", "{damaged}");
}

#[test]
fn objects_in_a_bucket() {
    services().iter().for_each(objects);
}

#[test]
fn what_a_bucket_refuses() {
    let Some(service) = s3_service() else { return };
    let lab = service.lab();
    lab.verb("init", &[""; 0]).expect(0);
    let source = lab.path("source");
    let deep = source.join("a".repeat(250)).join("b".repeat(250)).join("c".repeat(250));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("d".repeat(250)), "too long").unwrap();
    fs::write(deep.join("d".repeat(100)), "fits").unwrap();
    pass(&lab, &source);
    let bucket = format!("{}-objects", lab.repository);
    let inside = format!("{}/inside", lab.repository);
    lab.verb("restore", &["latest", &inside]).refused(2, "nested", "the target lies within");
    lab.verb("restore", &["latest:a", &bucket]).refused(2, "command-line", "whole snapshots");
    service.put(&format!("{bucket}/somebody's"), b"object");
    lab.verb("restore", &["latest", &bucket, "--delete"]).refused(1, "target-not-empty", &bucket);
    let landed = lab.verb("restore", &["latest", &bucket, "--overwrite"]).expect(3).json();
    let exceptions = landed["exceptions"].as_array().unwrap();
    assert_eq!((exceptions.len(), &exceptions[0]["kind"]), (1, &"unsupported".into()), "{landed}");
    assert_eq!(service.object(&format!("{bucket}/somebody's")).unwrap(), b"object");
}

#[test]
fn a_landing_in_a_bucket_that_is_killed_goes_on() {
    const LARGE: usize = 100 << 20;
    let Some(service) = s3_service() else { return };
    let lab = service.lab();
    lab.verb("init", &[""; 0]).expect(0);
    let source = lab.path("source");
    fs::create_dir_all(&source).unwrap();
    for number in 0..40u64 {
        fs::write(source.join(format!("{number}")), tree::noise(number, 60_000)).unwrap();
    }
    fs::write(source.join("large"), tree::noise(999, LARGE)).unwrap();
    pass(&lab, &source);
    let bucket = format!("{}-objects", lab.repository);
    let arguments = ["restore", "--repo", &lab.repository, "latest", &bucket, "--json"];
    // Until it is killed while a note tells of parts that are there.
    let name = blake3::hash(b"large").to_hex();
    let note = || {
        let note = service.object(&format!("{bucket}/.drover/uploads/{name}"))?;
        let note: Value = serde_json::from_slice(&note).unwrap();
        note["parts"].as_array().map(Vec::len)
    };
    let mut at = 150;
    let parts = loop {
        assert!(run_up_to(lab.command(&arguments), at).is_none(), "it came to its end");
        let state = service.object(&format!("{bucket}/.drover/landing.json"));
        let state = state.map(|s| serde_json::from_slice::<Value>(&s).unwrap());
        assert!(state.is_none_or(|state| state["complete"] == false));
        match note() {
            Some(parts) => break parts,
            None => at += at / 4,
        }
    };
    let last = restore(&lab, &bucket, &[]);
    let (left, sent) = (LARGE - parts * (16 << 20), number(&last, "/bytes/sent"));
    assert!(sent < left as u64 + 41 * 60_000 + (1 << 20), "{parts} parts were there: {last}");
    assert_eq!(note(), None);
    verify(&lab, &bucket, 0);

    // What was sent before a kill is asked for its hash and not sent again.
    let state = service.object(&format!("{bucket}/.drover/landing.json")).unwrap();
    let state: Value = serde_json::from_slice(&state).unwrap();
    assert_eq!(state["complete"], true);
    let cut_off = state.to_string().replace("true", "false");
    service.put(&format!("{bucket}/.drover/landing.json"), cut_off.as_bytes());
    service.delete(&format!("{bucket}/.drover/manifest.jsonl"));
    let last = restore(&lab, &bucket, &[]);
    assert_eq!(number(&last, "/bytes/written"), 0, "{last}");
    assert_eq!(number(&last, "/entries/unchanged"), 41, "{last}");
    verify(&lab, &bucket, 0);
}

#[test]
fn owners_are_others_where_it_lands() {
    use std::os::unix::fs::{MetadataExt, chown};
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let (lab, source) = Lab::with_source();
    chown(source.join("readme"), Some(4711), Some(4712)).unwrap();
    pass(&lab, &source);
    let target = lab.path("target");
    let to = target.to_str().unwrap();
    let maps = ["--map-owner", "root:4000", "--map-owner", "4711:daemon", "--map-group", "4712:9"];
    lab.verb("restore", &[&["latest", to], &maps[..]].concat()).expect(0);
    let owner = |path: &str| {
        let found = target.join(path).metadata().unwrap();
        (found.uid(), found.gid())
    };
    assert_eq!(owner("readme"), (1, 9));
    assert_eq!(owner("letters/a"), (4000, 0));
    lab.verb("verify", &["--target", to]).expect(4);
    lab.verb("verify", &[&["--target", to], &maps[..]].concat()).expect(0);
    // Nothing is left to do, and a plan says the same.
    let plan = lab.path("plan.toml");
    let text = format!(
        "[repository]\nurl = \"{}\"\n[[source]]\nname = \"a\"\nurl = \"{}\"\n[target]\nurl = \"{to}\"\n\
         owners = [\"root:4000\", \"4711:daemon\"]\ngroups = [\"4712:9\"]\n",
        lab.repository,
        source.display()
    );
    fs::write(&plan, text).unwrap();
    let again = lab.run(&["restore", plan.to_str().unwrap(), "--json"]).expect(0).json();
    assert_eq!(number(&again, "/entries/written"), 0, "{again}");
    lab.verb("restore", &["latest", to, "--map-owner", "root:nobody here"]).refused(
        2,
        "command-line",
        "nobody here",
    );
}
