//! Hosts that only say what they are asked, and those that answer.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
};

use drover_audit::{Ask, Outcome, PROBES, Rights};
use drover_source::host::{
    CommandOutput, FileContent, HostCommand, HostError, HostStream, Listed, LocalHost, Part,
};

use super::*;

/// Writes down everything that it is asked, and answers from a few files.
#[derive(Default)]
struct Told {
    asked: RefCell<BTreeSet<String>>,
    files: Vec<(&'static str, String)>,
    uname: &'static str,
    /// Whether what is not there is denied.
    denies: bool,
}

impl Told {
    fn note(&self, what: &str) {
        self.asked.borrow_mut().insert(what.to_owned());
    }
}

impl Host for Told {
    fn place(&self) -> &str {
        "told"
    }

    fn user(&self) -> &str {
        "nobody"
    }

    fn run(&self, command: &HostCommand<'_>) -> Result<CommandOutput, HostError> {
        self.note(&format!("run {}", command.words.join(" ")));
        let stdout = match command.words {
            ["uname", ..] => self.uname,
            ["lsblk", ..] => {
                "NAME=\"sda\" KNAME=\"sda\" TYPE=\"disk\"\nNAME=\"x\" KNAME=\"s;x\" TYPE=\"disk\"\n"
            }
            ["sudo", "-n", "-l"] => "(root) NOPASSWD: ALL\n",
            ["sudo", "-n", "stat", ..] => "81a0\n",
            _ => return Err(HostError::Denied),
        };
        let stdout = stdout.as_bytes().to_vec();
        Ok(CommandOutput { status: Some(0), stdout, ..CommandOutput::default() })
    }

    fn read(&self, path: &str, _: Part, _: usize) -> Result<FileContent, HostError> {
        self.note(&format!("read {path}"));
        let file = self.files.iter().find(|(name, _)| *name == path);
        let bytes = file.map(|(_, text)| text.clone().into_bytes());
        let bytes =
            bytes.ok_or(if self.denies { HostError::Denied } else { HostError::Missing })?;
        Ok(FileContent { bytes, truncated: false })
    }

    fn list(&self, path: &str) -> Result<Vec<Listed>, HostError> {
        self.note(&format!("list {path}"));
        let name = |name: &str, kind| Listed {
            name: name.into(),
            kind,
            mode: 0o644,
            owner: 0,
            size: 1,
            modified: 0,
        };
        use drover_source::host::ListedKind::{Directory, File};
        Ok(vec![name("one", File), name(".hidden", File), name("folder", Directory)])
    }

    fn connect(&self, port: u16, _: Duration) -> Result<Box<dyn HostStream>, HostError> {
        self.note(&format!("connect {port}"));
        Err(HostError::Missing)
    }
}

/// A clock that does not wait.
struct Still(RefCell<Vec<Duration>>);

impl Pace for Still {
    fn wait(&self, time: Duration) -> bool {
        self.0.borrow_mut().push(time);
        true
    }
}

fn still() -> Still {
    Still(RefCell::default())
}

#[test]
fn nothing_is_asked_that_the_table_does_not_name() {
    let passwd = "root:x:0:0::/root:/bin/sh\n".to_owned();
    let host =
        Told { files: vec![("/etc/passwd", passwd)], uname: "Linux 6 x\n", ..Told::default() };
    let options = ServerOptions { sample: Duration::ZERO, ..ServerOptions::default() };
    audit_server(&host, &options, &still(), &Cancel::new()).unwrap();
    let asked = host.asked.borrow();
    let mut allowed = BTreeSet::new();
    for probe in PROBES {
        match probe.ask {
            Ask::DiskCommand(words) => {
                allowed.insert(format!("run {}", words.join(" ").replace("{}", "/dev/sda")));
            }
            Ask::FilesIn(folder) => {
                allowed.extend([format!("list {folder}"), format!("read {folder}/one")]);
            }
            Ask::HomeFile(name) => {
                allowed.insert(format!("read /root/{name}"));
            }
            Ask::Tail(path) => {
                allowed.insert(format!("read {path}"));
            }
            ask => {
                allowed.insert(format!("{} {ask}", ask.verb()));
            }
        }
    }
    assert_eq!(*asked, allowed);
}

#[test]
fn with_sudo_nothing_else_is_run_as_root_than_is_listed() {
    let passwd = "root:x:0:0::/root:/bin/sh\n".to_owned();
    let files = vec![("/etc/passwd", passwd)];
    let host = Told { files, uname: "Linux 6 x\n", denies: true, ..Told::default() };
    let options = ServerOptions { sample: Duration::ZERO, sudo: true, ..ServerOptions::default() };
    let found = audit_server(&host, &options, &still(), &Cancel::new()).unwrap();
    assert!(found.sudo);
    let asked = host.asked.borrow();
    let of_root: BTreeSet<_> =
        asked.iter().filter(|asked| asked.contains("sudo")).cloned().collect();
    let mut allowed = BTreeSet::from(["run sudo -n -l".to_owned()]);
    let mut reads = |path: &str, how: &str| {
        allowed.insert(format!("run sudo -n stat -L -c %f -- {path}"));
        allowed.insert(format!("run sudo -n {how} -- {path}"));
    };
    for probe in PROBES.iter().filter(|probe| probe.rights != Rights::Any) {
        match probe.ask {
            Ask::Command(_) | Ask::DiskCommand(_) | Ask::Listing(_) => {}
            Ask::File(path) => reads(path, "cat"),
            Ask::Tail(path) => reads(path, &format!("tail -c {}", probe.most)),
            Ask::FilesIn(folder) => reads(&format!("{folder}/one"), "cat"),
            Ask::HomeFile(name) => reads(&format!("/root/{name}"), "cat"),
        }
    }
    for probe in PROBES.iter().filter(|probe| probe.rights != Rights::Any) {
        let (Ask::Command(words) | Ask::DiskCommand(words)) = probe.ask else { continue };
        allowed.insert(format!("run sudo -n {}", words.join(" ").replace("{}", "/dev/sda")));
    }
    // These are files of sudo's, read as the account first.
    allowed.extend(
        ["read /etc/sudoers", "read /etc/sudoers.d/one", "list /etc/sudoers.d"].map(str::to_owned),
    );
    assert_eq!(of_root, allowed);
    // Without the option nobody is asked.
    let plain = Told { uname: "Linux 6 x\n", denies: true, ..Told::default() };
    let options = ServerOptions { sudo: false, ..options };
    audit_server(&plain, &options, &still(), &Cancel::new()).unwrap();
    assert!(!plain.asked.borrow().iter().any(|asked| asked.contains("run sudo")));
}

#[test]
fn an_account_without_a_shell_is_asked_for_files_only() {
    // What sshd says for an account whose shell is nologin.
    for uname in ["This account is currently not available.\n", ""] {
        let release = "ID=debian\nVERSION_ID=\"9\"\nPRETTY_NAME=\"Debian 9\"\n".to_owned();
        let files = vec![("/etc/os-release", release)];
        let host = Told { files, uname, ..Told::default() };
        let options = ServerOptions { sample: Duration::ZERO, ..ServerOptions::default() };
        let found = audit_server(&host, &options, &still(), &Cancel::new()).unwrap();
        let run = host.asked.borrow().iter().filter(|asked| asked.starts_with("run ")).count();
        assert_eq!(run, 1, "{uname}");
        let of = |id| &found.checks.iter().find(|check| check.spec.id == id).unwrap().outcome;
        assert!(matches!(of("os-support"), Outcome::Finding { .. }), "{:?}", of("os-support"));
        assert!(
            matches!(of("disk-space"), Outcome::CouldNotCheck(why) if why.contains("no commands"))
        );
    }
}

/// Each look at the clock is a minute later.
struct Slow(Cell<i64>);

impl Pace for Slow {
    fn wait(&self, _: Duration) -> bool {
        true
    }

    fn now(&self) -> Timestamp {
        self.0.set(self.0.get() + 60);
        Timestamp { seconds: self.0.get(), nanos: 0 }
    }
}

#[test]
fn a_server_that_lets_everything_wait_is_given_up() {
    let host = Told { uname: "Linux 6 x\n", ..Told::default() };
    let options = ServerOptions { sample: Duration::ZERO, ..ServerOptions::default() };
    let found = audit_server(&host, &options, &Slow(Cell::new(0)), &Cancel::new()).unwrap();
    assert!(host.asked.borrow().len() < PROBES.len() / 2);
    let late = found.checks.iter().find(|check| check.spec.id == "backup").unwrap();
    assert!(matches!(&late.outcome, Outcome::CouldNotCheck(_)), "{:?}", late.outcome);
    assert!(found.unanswered.iter().any(|(_, why)| why.contains("wait for too long")));
}

#[test]
fn peers_are_sampled_for_as_long_as_asked() {
    // Synthetic: DICOM listens, and one device talks to it.
    let table = "0: 00000000:2B68 00000000:0000 0A\n1: 0A00000A:2B68 0B00000A:C001 01\n".to_owned();
    let host = Told { files: vec![("/proc/net/tcp", table)], ..Told::default() };
    let pace = still();
    let options = ServerOptions {
        sample: Duration::from_millis(2500),
        every: Duration::from_secs(1),
        ..ServerOptions::default()
    };
    let found = audit_server(&host, &options, &pace, &Cancel::new()).unwrap();
    assert_eq!(found.samples, (4, 2.5));
    assert_eq!(*pace.0.borrow(), [1000, 1000, 500].map(Duration::from_millis));
    assert_eq!(found.peers.len(), 1);
    assert_eq!((found.peers[0].port, found.peers[0].samples), (11112, 4));
    let cancelled = Cancel::new();
    cancelled.set();
    assert!(matches!(audit_server(&host, &options, &pace, &cancelled), Err(Error::Interrupted)));
}

#[test]
fn this_machine_says_what_it_is() {
    let options = ServerOptions { sample: Duration::ZERO, ..ServerOptions::default() };
    let found = audit_server(&LocalHost::new(), &options, &still(), &Cancel::new()).unwrap();
    assert!(!found.system.kernel.is_empty() && !found.system.os.is_empty(), "{:?}", found.system);
    assert!(!found.accounts.is_empty() && !found.mounts.is_empty());
    let made = found.checks.iter().filter(|c| !matches!(c.outcome, Outcome::CouldNotCheck(_)));
    assert!(made.count() >= 12);
}
