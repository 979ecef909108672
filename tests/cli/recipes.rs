//! The recipes of the plan file on the real thing: a snapshot of btrfs, dumps of PostgreSQL and MariaDB,
//! each while somebody changes what is taken.
//!
//! They take packages that no other test needs, and root: where these are not there they are skipped
//! with a message, except in the long sweep, which installs them.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::lab::{Lab, is_long};

/// Whether these programs are there, and whoever runs this is root.
#[allow(clippy::print_stderr)]
pub fn has(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| !Path::new(program).exists());
    let root = nix::unistd::Uid::effective().is_root();
    if missing.is_none() && root {
        return true;
    }
    assert!(!is_long(), "{missing:?} is not installed, or this is not root");
    eprintln!("skipped: {missing:?} is not installed, or this is not root");
    false
}

/// Runs a program to its end; what it printed.
#[track_caller]
pub fn run(words: &[&str], input: &[u8]) -> String {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.current_dir("/").spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Tries until it works.
fn until(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not start");
        thread::park_timeout(Duration::from_millis(50));
    }
}

/// Something that goes on until it is dropped.
struct Busy(Arc<AtomicBool>, Option<thread::JoinHandle<u64>>);

impl Busy {
    fn with(mut step: impl FnMut(u64) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                step(number);
                number += 1;
            }
            number
        });
        Self(stop, Some(thread))
    }

    /// How many steps it made.
    fn end(mut self) -> u64 {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().unwrap().join().unwrap()
    }
}

fn plan(lab: &Lab, source: &str) -> String {
    let plan = lab.path("plan.toml");
    let text = format!(
        "[repository]\nurl = \"{}\"\n[[source]]\nname = \"it\"\n{source}\n",
        lab.repository
    );
    fs::write(&plan, text).unwrap();
    plan.to_str().unwrap().to_owned()
}

/// A file system in a file, mounted until it is dropped.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_snapshot_of_btrfs_is_of_one_moment() {
    if !has(&["/usr/bin/btrfs", "/usr/sbin/mkfs.btrfs"]) {
        return;
    }
    let lab = Lab::with_repository();
    let (image, mount) = (lab.path("image"), lab.path("mount"));
    fs::File::create(&image).unwrap().set_len(512 << 20).unwrap();
    fs::create_dir(&mount).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    run(&["mkfs.btrfs", "-q", &text(&image)], b"");
    run(&["mount", "-o", "loop", &text(&image), &text(&mount)], b"");
    let _mounted = Mounted(mount.clone());
    let (live, still) = (mount.join("srv"), mount.join("still"));
    run(&["btrfs", "subvolume", "create", &text(&live)], b"");
    for n in 0..200 {
        fs::write(live.join(format!("file {n}")), vec![n as u8; 50_000]).unwrap();
    }
    // Two files that say the same, one after the other: at one moment they differ by one at most.
    let (first, second) = (live.join("a first"), live.join("z second"));
    let replace = |file: &Path, number: u64| {
        let new = file.with_extension("new");
        fs::write(&new, number.to_string()).unwrap();
        fs::rename(new, file).unwrap();
    };
    replace(&first, 0);
    replace(&second, 0);
    let busy = Busy::with(move |number| {
        replace(&first, number);
        replace(&second, number);
    });
    let plan = plan(
        &lab,
        &format!(
            "url = \"{0}\"\nbefore_pass = [\"btrfs\", \"subvolume\", \"snapshot\", \"-r\", \"{1}\", \"{0}\"]\n\
             after_pass = [\"btrfs\", \"subvolume\", \"delete\", \"{0}\"]",
            text(&still),
            text(&live)
        ),
    );
    for _ in 0..3 {
        // Nothing is torn, vanished or in the way.
        lab.run(&["sync", &plan, "--json"]).expect(0);
        assert!(!still.exists(), "the snapshot is taken away");
        let read = |name: &str| -> u64 {
            let printed = lab.run(&["cat", &plan, &format!("latest:{name}")]).expect(0).stdout;
            String::from_utf8(printed).unwrap().parse().unwrap()
        };
        let (first, second) = (read("a first"), read("z second"));
        assert!(first - second <= 1, "{first} and {second} are not of one moment");
    }
    assert!(busy.end() > 10);
}

/// A server that is ended with the value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let process = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        let _ = nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// The rules of accounts: transfers between them leave their sum as it is.
const ACCOUNTS: &str =
    "CREATE TABLE accounts (id INT PRIMARY KEY, balance INT NOT NULL, note VARCHAR(200));";
const NUMBER: u64 = 2000;

fn accounts() -> String {
    let rows: Vec<_> =
        (0..NUMBER).map(|id| format!("({id},100,'Grüße an {id}''s \"Praxis\"')")).collect();
    format!("{ACCOUNTS} INSERT INTO accounts VALUES {};", rows.join(","))
}

fn transfer(number: u64) -> String {
    let (from, to) = (number * 7 % NUMBER, (number * 13 + 5) % NUMBER);
    format!(
        "BEGIN; UPDATE accounts SET balance = balance - 1 WHERE id = {from}; \
         UPDATE accounts SET balance = balance + 1 WHERE id = {to}; COMMIT;"
    )
}

/// Before a command: as the account of PostgreSQL.
pub const AS_POSTGRES: [&str; 5] =
    ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"];

/// Where the programs of PostgreSQL's newest server are.
pub fn postgresql() -> impl Fn(&str) -> String {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.map(|version| version.path()).max().unwrap_or_default();
    move |name| newest.join("bin").join(name).to_str().unwrap().to_owned()
}

#[test]
fn a_dump_of_postgresql_is_of_one_moment() {
    let bin = postgresql();
    if !has(&[&bin("initdb"), &bin("postgres"), "/usr/bin/psql"]) {
        return;
    }
    let lab = Lab::with_repository();
    let as_postgres = AS_POSTGRES;
    let begin = |name: &str| -> (Server, String) {
        let folder = std::env::temp_dir().join(format!("drover-pg-{}-{name}", std::process::id()));
        let at = folder.to_str().unwrap().to_owned();
        run(&["install", "-d", "-o", "postgres", "-m", "700", &at], b"");
        let data = format!("{at}/data");
        run(
            &[&as_postgres[..], &[&bin("initdb"), "-D", &data, "-E", "UTF8", "--no-sync"]].concat(),
            b"",
        );
        let mut command = Command::new(as_postgres[0]);
        command.args(&as_postgres[1..]).arg(bin("postgres"));
        command.args(["-D", &data, "-k", &at, "-c", "listen_addresses=", "-c", "fsync=off"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
        let server = Server(command.spawn().unwrap());
        let ready = || {
            Command::new("/usr/bin/psql")
                .args(["-h", &at, "-U", "postgres", "-c", "SELECT 1"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        };
        until(ready);
        (server, at)
    };
    let psql = |at: &str, script: &str| {
        run(
            &["psql", "-h", at, "-U", "postgres", "-qAt", "-v", "ON_ERROR_STOP=1"],
            script.as_bytes(),
        )
    };
    let (old, at) = begin("old");
    psql(&at, &accounts());
    let client = at.clone();
    let busy = Busy::with(move |number| {
        let script: String = (0..20).map(|n| transfer(number * 20 + n)).collect();
        run(&["psql", "-h", &client, "-U", "postgres", "-qAt"], script.as_bytes());
    });
    let plan = plan(
        &lab,
        &format!(
            "command = [\"pg_dumpall\", \"-h\", \"{at}\", \"-U\", \"postgres\"]\nfile = \"all.sql\""
        ),
    );
    lab.run(&["sync", &plan, "--json"]).expect(0);
    let steps = busy.end();
    let dump = lab.run(&["cat", &plan, "latest:all.sql"]).expect(0).stdout;
    let (new, there) = begin("new");
    // The roles of a new cluster are there already.
    run(&["psql", "-h", &there, "-U", "postgres", "-q"], &dump);
    let sums = psql(&there, "SELECT count(*), sum(balance), count(DISTINCT note) FROM accounts;");
    assert_eq!(sums.trim(), format!("{NUMBER}|{}|{NUMBER}", NUMBER * 100), "after {steps} steps");
    drop((old, new));
    for folder in [at, there] {
        fs::remove_dir_all(folder).unwrap();
    }
    // A server that is gone leaves what was there, and an exception.
    let failed = lab.run(&["sync", &plan, "--json"]).expect(3).json();
    assert!(failed["exceptions"][0]["message"].as_str().unwrap().contains("exit code"));
    assert_eq!(lab.run(&["cat", &plan, "latest:all.sql"]).expect(0).stdout, dump);
}

#[test]
fn a_dump_of_mariadb_is_of_one_moment() {
    let programs = ["/usr/sbin/mariadbd", "/usr/bin/mariadb-install-db", "/usr/bin/mariadb-dump"];
    if !has(&programs) {
        return;
    }
    let lab = Lab::with_repository();
    let begin = |name: &str| -> (Server, String) {
        let folder = std::env::temp_dir().join(format!("drover-my-{}-{name}", std::process::id()));
        let at = folder.to_str().unwrap().to_owned();
        run(&["install", "-d", "-o", "mysql", "-m", "755", &at], b"");
        let data = format!("--datadir={at}/data");
        run(
            &[
                "mariadb-install-db",
                "--user=mysql",
                &data,
                "--skip-test-db",
                "--auth-root-authentication-method=socket",
            ],
            b"",
        );
        let mut command = Command::new("mariadbd");
        command.args(["--no-defaults", "--user=mysql", &data, "--skip-networking"]);
        command.args([format!("--socket={at}/socket"), format!("--pid-file={at}/pid")]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
        let server = Server(command.spawn().unwrap());
        let socket = format!("{at}/socket");
        until(|| {
            let mut ping = Command::new("mariadb");
            ping.args(["--no-defaults", "-S", &socket, "-e", "SELECT 1"]);
            ping.stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        });
        (server, at)
    };
    let client = |at: &str, script: &str| {
        let socket = format!("{at}/socket");
        let words =
            ["mariadb", "--no-defaults", "--default-character-set=utf8mb4", "-NB", "-S", &socket];
        run(&words, script.as_bytes())
    };
    let (old, at) = begin("old");
    client(
        &at,
        &format!("CREATE DATABASE clinic CHARACTER SET utf8mb4; USE clinic; {}", accounts()),
    );
    let socket = format!("{at}/socket");
    let busy = Busy::with(move |number| {
        let script: String = (0..20).map(|n| transfer(number * 20 + n)).collect();
        run(&["mariadb", "--no-defaults", "-S", &socket, "clinic"], script.as_bytes());
    });
    let dump = format!(
        "command = [\"mariadb-dump\", \"--no-defaults\", \"-S\", \"{at}/socket\", \"--single-transaction\", \
         \"--databases\", \"clinic\"]\nfile = \"clinic.sql\""
    );
    let plan = plan(&lab, &dump);
    lab.run(&["sync", &plan, "--json"]).expect(0);
    let steps = busy.end();
    let dump = lab.run(&["cat", &plan, "latest:clinic.sql"]).expect(0).stdout;
    let (new, there) = begin("new");
    client(&there, std::str::from_utf8(&dump).unwrap());
    let sums =
        client(&there, "SELECT COUNT(*), SUM(balance), COUNT(DISTINCT note) FROM clinic.accounts");
    assert_eq!(sums.trim(), format!("{NUMBER}\t{}\t{NUMBER}", NUMBER * 100), "after {steps} steps");
    drop((old, new));
    for folder in [at, there] {
        fs::remove_dir_all(folder).unwrap();
    }
}
