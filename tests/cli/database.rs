//! A clinic with a PostgreSQL, led to the cloud as its files: clients write into it, and into a journal
//! beside it, all the while.
//!
//! The freeze stops the server, the switch starts another one on what was landed. The client tries both
//! sides again and again, each time with another number: what was acknowledged has to be there in the
//! end, and no side may take anything between two rows of the other.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    clinic::{Client, Clinic, journal, more_lines},
    lab::{Lab, is_long},
    recipes::{AS_POSTGRES, has, postgresql, run},
    services::s3_service,
    sshd::Sshd,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Source,
    Target,
}
use Side::{Source, Target};

/// A side's cluster and the directory of its socket.
#[derive(Clone)]
struct Place {
    data: PathBuf,
    socket: PathBuf,
}

impl Place {
    fn new(lab: &Lab, side: &Path, name: &str) -> Self {
        let socket = lab.path(name);
        run(&["install", "-d", "-o", "postgres", socket.to_str().unwrap()], b"");
        Self { data: side.join("pg"), socket }
    }

    /// `pg_ctl` of it, as a line of a shell.
    fn control(&self, what: &str) -> String {
        let bin = postgresql();
        format!("{} {} -D '{}' {what}", AS_POSTGRES.join(" "), bin("pg_ctl"), self.data.display())
    }

    /// Starts its server, or does nothing where it runs.
    fn start(&self) -> String {
        let socket = self.socket.display();
        let start = self.control(&format!(
            "-w -l '{socket}/log' -o \"-k '{socket}' -c listen_addresses= -c fsync=off\" start"
        ));
        format!("{} || {start}", self.control("status"))
    }

    /// Stops it; fails where it runs after that.
    fn stop(&self) -> String {
        format!("{}; ! {}", self.control("-w -m fast stop"), self.control("status"))
    }

    fn psql(&self, statement: &str) -> Command {
        let mut command = Command::new("/usr/bin/psql");
        command.arg("-h").arg(&self.socket).args([
            "-U",
            "postgres",
            "-qAt",
            "-v",
            "ON_ERROR_STOP=1",
        ]);
        command.args(["-c", statement]).current_dir("/");
        command
    }

    fn ask(&self, statement: &str) -> String {
        let output = self.psql(statement).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// A clinic with a database on its source.
struct Practice {
    clinic: Clinic,
    source: Place,
    target: Place,
}

impl Drop for Practice {
    fn drop(&mut self) {
        for place in [&self.source, &self.target] {
            let stop = place.control("-m immediate stop");
            let _ = Command::new("sh").args(["-c", &stop]).stderr(Stdio::null()).output();
        }
    }
}

/// Whether there is a PostgreSQL here.
fn is_installed() -> bool {
    let bin = postgresql();
    has(&[&bin("initdb"), &bin("pg_ctl"), "/usr/bin/psql", "/usr/bin/flock"])
}

impl Practice {
    fn new(lab: Lab, source_keys: &str, cutover_keys: &str, url: impl Fn(&Path) -> String) -> Self {
        let source = lab.path("source");
        fs::create_dir(&source).unwrap();
        // The account of the database has to come as far as its directory.
        fs::set_permissions(lab.path(""), fs::Permissions::from_mode(0o711)).unwrap();
        let target = lab.path("target").to_str().unwrap().to_owned();
        let cutover_keys = format!("exceptions = 100\n{cutover_keys}");
        let clinic =
            Clinic::within(lab, source, &target, "300 seconds", source_keys, &cutover_keys, url);
        let practice = Self {
            source: Place::new(&clinic.lab, &clinic.source, "socket"),
            target: Place::new(&clinic.lab, &clinic.target, "socket-of-the-target"),
            clinic,
        };
        let Self { clinic, source, target } = &practice;
        for (name, script) in [
            ("freeze", source.stop()),
            ("thaw", source.start()),
            ("switch", target.start()),
            ("freeze_target", target.stop()),
        ] {
            let file = clinic.programs(&format!("also-{name}"));
            fs::write(&file, format!("#!/bin/sh\ncd /\n{{ {script}; }} >/dev/null 2>&1\n"))
                .unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let data = source.data.to_str().unwrap();
        run(&["install", "-d", "-o", "postgres", "-m", "700", data], b"");
        let initdb = postgresql()("initdb");
        let options = ["-D", data, "-E", "UTF8", "--auth=trust", "--no-sync", "--wal-segsize=1"];
        run(&[&AS_POSTGRES[..], &[&initdb], &options].concat(), b"");
        run(&["sh", "-c", &format!("{} >/dev/null", source.start())], b"");
        source.ask("CREATE TABLE visits (number BIGINT PRIMARY KEY)");
        practice
    }

    fn place(&self, side: Side) -> &Place {
        match side {
            Source => &self.source,
            Target => &self.target,
        }
    }

    /// Whether everything that was acknowledged is there.
    fn has_all(&self, side: Side, visits: &Visits) {
        // It goes on: what it gets acknowledged after this may not be in the answer.
        let acknowledged = visits.acknowledged.lock().unwrap().clone();
        let rows = self.place(side).ask("SELECT number FROM visits");
        let rows: std::collections::HashSet<u64> =
            rows.lines().map(|row| row.parse().unwrap()).collect();
        let lost: Vec<_> = acknowledged.iter().filter(|visit| !rows.contains(&visit.0)).collect();
        assert!(lost.is_empty(), "lost on the {side:?}: {lost:?}");
    }
}

/// What the database's client got acknowledged: number, side, and when.
type Acknowledged = Arc<Mutex<Vec<(u64, Side, Instant)>>>;

/// The database's client.
struct Visits {
    stop: Arc<AtomicBool>,
    acknowledged: Acknowledged,
    thread: Option<thread::JoinHandle<()>>,
}

impl Visits {
    fn begin(practice: &Practice) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Acknowledged::default());
        let (stopped, taken) = (stop.clone(), acknowledged.clone());
        let places = [(Source, practice.source.clone()), (Target, practice.target.clone())];
        let thread = thread::spawn(move || {
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                for (side, place) in &places {
                    number += 1;
                    let statement = format!("INSERT INTO visits VALUES ({number})");
                    let mut psql = place.psql(&statement);
                    let status = psql.stdout(Stdio::null()).stderr(Stdio::null()).status();
                    if status.unwrap().success() {
                        taken.lock().unwrap().push((number, *side, Instant::now()));
                    }
                }
                thread::park_timeout(Duration::from_millis(20));
            }
        });
        Self { stop, acknowledged, thread: Some(thread) }
    }

    /// Waits until a side has taken some rows more.
    #[track_caller]
    fn more(&self, side: Side) {
        let count =
            || self.acknowledged.lock().unwrap().iter().filter(|visit| visit.1 == side).count();
        let (before, begun) = (count(), Instant::now());
        while count() < before + 10 {
            assert!(begun.elapsed() < Duration::from_secs(60), "the {side:?} takes nothing");
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// The sides that took rows, one after the other.
    fn sides(&self) -> Vec<Side> {
        let mut sides: Vec<_> =
            self.acknowledged.lock().unwrap().iter().map(|visit| visit.1).collect();
        sides.dedup();
        sides
    }

    /// The longest time between two rows, since a moment.
    fn longest(&self, since: Instant) -> Duration {
        let acknowledged = self.acknowledged.lock().unwrap();
        let pairs = acknowledged.windows(2).filter(|pair| pair[1].2 > since);
        pairs.map(|pair| pair[1].2 - pair[0].2).max().unwrap_or_default()
    }
}

impl Drop for Visits {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The last pass took everything: whatever a living database may do to the ones before.
fn last_pass_is_whole(done: &Value) {
    let steps = done["steps"].as_array().unwrap();
    let last = steps.iter().find(|step| step["name"] == "final pass").unwrap();
    assert!(last["detail"].as_str().unwrap().contains("0 exceptions"), "{last}");
}

#[allow(clippy::print_stderr)]
fn tell(longest: Duration, done: &Value) {
    let seconds = |value: &Value| value.as_f64().unwrap();
    let predicted = &done["freeze"]["predicted"];
    eprintln!(
        "the database took nothing for {:.1} s; the freeze was {:.1} s, foretold {:.1} s, and {:.1} s in 9 \
         of 10 cases",
        longest.as_secs_f64(),
        seconds(&done["freeze"]["actual"]),
        seconds(&predicted["p50"]),
        seconds(&predicted["p90"]),
    );
}

impl Practice {
    /// Passes while everybody works, a verification and a rehearsal.
    fn prepare(&self) {
        for verb in ["sync", "verify"] {
            self.living(&[verb, &self.clinic.plan, "--json"]);
        }
        self.clinic.cutover(&["--rehearse"]).expect(0);
        let _ = fs::remove_file(self.clinic.programs("ran"));
    }

    /// A run over a database that works: some of its files are torn.
    fn living(&self, arguments: &[&str]) {
        let answer = self.clinic.lab.run(arguments);
        let code = if answer.code == 3 { 3 } else { 0 };
        answer.expect(code);
    }

    /// Over to the target, where clients go on.
    #[track_caller]
    fn over(&self, visits: &Visits, more: &[&str]) -> Value {
        let begun = Instant::now();
        let done = self.clinic.cutover(more).expect(0).json();
        assert_eq!(done["state"], "cut over");
        visits.more(Target);
        more_lines(&self.clinic.target);
        self.has_all(Target, visits);
        // One that goes on where another ended need not take the last pass again.
        if done["steps"].as_array().unwrap().iter().any(|step| step["name"] == "freeze") {
            last_pass_is_whole(&done);
            tell(visits.longest(begun), &done);
        }
        done
    }

    /// Back to the source, where clients go on.
    #[track_caller]
    fn back(&self, visits: &Visits) {
        assert_eq!(self.clinic.cutover(&["--rollback"]).expect(0).json()["state"], "reverted");
        visits.more(Source);
        more_lines(&self.clinic.source);
        self.has_all(Source, visits);
    }

    /// Ends both clients, and looks at what they wrote in all.
    #[track_caller]
    fn end(&self, visits: &Visits, client: Client, sides: &[Side]) {
        let (lines, _) = client.end();
        let place = match sides.last() {
            Some(Target) => &self.clinic.target,
            _ => &self.clinic.source,
        };
        assert!(journal(place).into_iter().eq(0..lines), "lines of the journal are lost");
        assert_eq!(visits.sides(), sides, "one side after the other");
    }
}

#[test]
fn a_database_goes_over_and_comes_back() {
    if !is_installed() {
        return;
    }
    let practice =
        Practice::new(Lab::with_repository(), "", "", |source| source.display().to_string());
    let (visits, client) = (Visits::begin(&practice), Client::begin(&practice.clinic));
    practice.prepare();
    visits.more(Source);
    practice.over(&visits, &[]);
    practice.back(&visits);
    practice.end(&visits, client, &[Source, Target, Source]);
}

/// With nothing but real parts: a server over SSH, a bucket, another process that lands.
#[test]
fn a_whole_migration() {
    if !is_long() || !is_installed() {
        return;
    }
    let Some(service) = s3_service() else { return };
    let Some(sshd) = Sshd::start("") else { return };
    let lab = service.lab();
    lab.verb("init", &[""; 0]).expect(0);
    let keys = format!(
        "hooks_on = \"server\"\nidentity_file = \"{}\"\nhost_key = \"{}\"",
        sshd.path("user_key").display(),
        sshd.fingerprint
    );
    let url = |source: &Path| sshd.url(source);
    let practice = Practice::new(lab, &keys, "landing = \"elsewhere\"", url);
    let (visits, client) = (Visits::begin(&practice), Client::begin(&practice.clinic));
    let Clinic { lab, plan, target, .. } = &practice.clinic;
    practice.living(&["sync", plan, "--json"]);
    let target = target.to_str().unwrap();
    let mut follow = lab.command(&[
        "restore", plan, "latest", target, "--follow", "--verify", "--poll", "1s", "--json",
    ]);
    follow.env("DROVER_STATE_DIR", lab.path("the landing machine's state"));
    follow.stdout(Stdio::null()).stderr(Stdio::null());
    let mut follow = follow.spawn().unwrap();
    practice.prepare();
    visits.more(Source);
    practice.over(&visits, &["--no-way-back"]);
    let process = nix::unistd::Pid::from_raw(follow.id().cast_signed());
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM).unwrap();
    follow.wait().unwrap();
    practice.end(&visits, client, &[Source, Target]);
    assert_eq!(practice.clinic.cutover(&["--commit"]).expect(0).json()["state"], "committed");
}

/// A failure in each command, and a kill in each, there and back.
#[test]
fn a_database_through_failures_and_kills() {
    if !is_long() || !is_installed() {
        return;
    }
    let practice =
        Practice::new(Lab::with_repository(), "", "", |source| source.display().to_string());
    let clinic = &practice.clinic;
    let (visits, client) = (Visits::begin(&practice), Client::begin(clinic));
    practice.prepare();
    for fails in ["fail-freeze", "fail-before", "fail-after"] {
        clinic.tell(fails);
        clinic.cutover(&[]).expect(1);
        fs::remove_file(clinic.programs(fails)).unwrap();
        assert_eq!(clinic.state(), "converging", "{fails}");
        visits.more(Source);
        more_lines(&clinic.source);
        practice.has_all(Source, &visits);
    }
    let mut sides = vec![Source];
    for fails in ["fail-switch", "fail-smoke"] {
        clinic.tell(fails);
        clinic.cutover(&[]).expect(1);
        fs::remove_file(clinic.programs(fails)).unwrap();
        assert_eq!(clinic.state(), "switching", "{fails}");
        practice.over(&visits, &[]);
        practice.back(&visits);
        sides.extend([Target, Source]);
    }
    for killed in ["freeze", "before", "after", "switch", "smoke"] {
        clinic.tell(&format!("kill-{killed}"));
        clinic.cutover(&[]).expect(-1);
        practice.over(&visits, &[]);
        practice.back(&visits);
        sides.extend([Target, Source]);
    }
    for killed in ["freeze_target", "before", "after", "switch_back", "thaw"] {
        practice.over(&visits, &[]);
        clinic.tell(&format!("kill-{killed}"));
        clinic.cutover(&["--rollback"]).expect(-1);
        practice.back(&visits);
        sides.extend([Target, Source]);
    }
    practice.end(&visits, client, &sides);
}
