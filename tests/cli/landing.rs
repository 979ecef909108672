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

use crate::{
    compare::assert_same,
    lab::{Answer, Lab, number},
    tree,
};

/// How long something may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// A landing that follows, and what it says.
struct Follower {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Follower {
    fn start(lab: &Lab, target: &Path, more: &[&str]) -> Self {
        let target = target.to_str().unwrap();
        let arguments =
            ["restore", "--repo", &lab.repository, "latest", target, "--follow", "--json"];
        let mut child = lab.start(&[&arguments[..], more].concat());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|l| send.send(l))
        });
        Self { child, lines, said: Vec::new() }
    }

    /// Waits for a line with `text`.
    #[track_caller]
    fn says(&mut self, text: &str) -> String {
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

    fn signal(&self, signal: Signal) {
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

    fn stop(self) -> Answer {
        self.signal(Signal::SIGTERM);
        self.end()
    }
}

/// A pass; the snapshot that it left, and the beginning of its name that people read.
fn pass(lab: &Lab, source: &Path) -> (String, String) {
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
    let mut killed = 0;
    for round in 0..12u64 {
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
        follower.signal(Signal::SIGKILL);
        follower.end().expect(-1);
        let (state, _) = mark(&target).unwrap();
        killed += u64::from(state.starts_with("under way"));
        let mut follower = Follower::start(&lab, &target, &["--poll", "1h"]);
        if state != "complete" {
            follower.says(&said);
        }
        // Once it looks for more, what it found is done.
        follower.stop();
        lab.verb("restore", &["latest", target.to_str().unwrap(), "--delete"]).expect(0);
        assert_same(&source, &target, &[]);
        if killed == 2 {
            return;
        }
    }
    panic!("it was killed in the middle {killed} times only");
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
