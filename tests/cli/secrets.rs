//! Canaries in everything that a run leaves or shows: output, reports, the state, the repository,
//! arguments and environments of what it starts, what is left when it dies.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    net::TcpListener,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
};

use data_encoding::{BASE64, BASE64URL, HEXLOWER, HEXUPPER};
use drover_crypt::hierarchy::{UnlockSecret, WriterCredential};
use drover_repo::{Repository, objects::Objects};
use drover_store::{Store, StoreOptions, StoreUrl};
use drover_types::PackClass;
use zeroize::Zeroizing;

use crate::{
    lab::{Answer, Lab, PASSWORD},
    trace::run_to_look,
};

const CONTENT: &str = "canary-5e0c7: a patient's blood count";
const NAME: &str = "canary-b81f2-name-of-a-patient";
const OTHER: &str = "canary-1d94a, another password";

/// Each in every form that it could be printed in.
struct Canaries(BTreeMap<&'static str, Vec<Vec<u8>>>);

impl Canaries {
    fn new(secrets: &[(&'static str, &[u8])]) -> Self {
        let forms = |secret: &[u8]| {
            let list = format!("{secret:?}");
            vec![
                secret.to_vec(),
                HEXLOWER.encode(secret).into(),
                HEXUPPER.encode(secret).into(),
                BASE64.encode(secret).trim_end_matches('=').into(),
                BASE64URL.encode(secret).trim_end_matches('=').into(),
                list.trim_matches(['[', ']']).into(),
            ]
        };
        Self(secrets.iter().map(|(name, secret)| (*name, forms(secret))).collect())
    }

    /// What of them is in memory, where only what was never made text counts.
    fn found<'c>(&'c self, bytes: &'c [u8]) -> impl Iterator<Item = &'static str> + 'c {
        let is_there = |forms: &[Vec<u8>]| memchr::memmem::find(bytes, &forms[0]).is_some();
        self.0.iter().filter(move |(_, forms)| is_there(forms)).map(|(name, _)| *name)
    }

    #[track_caller]
    fn none_in(&self, bytes: &[u8], place: &str, but: &[&str]) {
        for (name, forms) in self.0.iter().filter(|(name, _)| !but.contains(name)) {
            for form in forms {
                let found = bytes.windows(form.len()).any(|window| window == form);
                assert!(!found, "{place} holds {name}");
            }
        }
    }

    /// Looks into every file below `root`, and at its name. Returns how many there are.
    #[track_caller]
    fn none_below(&self, root: &Path, but: &[&str]) -> usize {
        let mut files = 0;
        let mut left = vec![root.to_owned()];
        while let Some(path) = left.pop() {
            let shown = path.display().to_string();
            self.none_in(shown.as_bytes(), &shown, but);
            if path.is_dir() {
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else {
                self.none_in(&fs::read(&path).unwrap(), &shown, but);
                files += 1;
            }
        }
        files
    }
}

/// The secrets of the lab's repository, and of its one writer.
fn secrets(lab: &Lab) -> Canaries {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let url = StoreUrl::from(Path::new(&lab.repository));
    let store = runtime.block_on(Store::connect(&url, &StoreOptions::default())).unwrap();
    let repository = Repository::open(Objects::new(store, runtime.into())).unwrap();
    let password = UnlockSecret::Passphrase(Zeroizing::new(PASSWORD.into()));
    let keys = repository.unlock(&password).unwrap();
    let reader = |class| keys.reader_secret(class, 1).unwrap();
    let (data, meta) = (reader(PackClass::Data), reader(PackClass::Meta));
    let state = fs::read_dir(lab.path("state")).unwrap().next().unwrap().unwrap().path();
    let credential = WriterCredential::decode(&fs::read(state.join("credential")).unwrap());
    let credential = credential.unwrap();
    let domain = keys.open_grant(credential.grant()).unwrap();
    let seed = credential.signing_key().seed();
    Canaries::new(&[
        ("the password", PASSWORD.as_bytes()),
        ("another password", OTHER.as_bytes()),
        ("content", CONTENT.as_bytes()),
        ("a name", NAME.as_bytes()),
        ("the data reader's secret", data.secret_bytes()),
        ("the meta reader's secret", meta.secret_bytes()),
        ("the data reader's shared key", data.psk().as_bytes()),
        ("the meta reader's shared key", meta.psk().as_bytes()),
        ("the writer's key", &seed[..]),
        ("the domain's secret", domain.as_bytes()),
    ])
}

/// What is printed, and the page that `--html` makes.
fn look(canaries: &Canaries, lab: &Lab, verb: &str, more: &[&str], code: i32, but: &[&str]) {
    let page = lab.path("page.html");
    let _ = fs::remove_file(&page);
    for form in ["--json", "--html"] {
        let mut all: Vec<&str> = verb.split(' ').collect();
        all.extend(["--repo", &lab.repository, form]);
        all.extend((form == "--html").then(|| page.to_str().unwrap()));
        all.extend(more);
        let mut command = lab.command(&all);
        command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full");
        let answer = Answer::new(command.output().unwrap()).expect(code);
        canaries.none_in(&answer.stdout, &format!("{verb} {form}, stdout"), but);
        canaries.none_in(answer.stderr.as_bytes(), &format!("{verb} {form}, stderr"), but);
    }
    if page.exists() {
        canaries.none_in(&fs::read(&page).unwrap(), &format!("the page of {verb}"), but);
    }
}

#[test]
fn no_canary_is_found_where_it_does_not_belong() {
    let lab = Lab::with_repository();
    let temporary = lab.path("temporary");
    fs::create_dir(&temporary).unwrap();
    let lab = lab.with_variable("TMPDIR", temporary.to_str().unwrap());
    let source = lab.path("source");
    fs::create_dir_all(source.join(NAME)).unwrap();
    fs::write(source.join(NAME).join("result"), CONTENT).unwrap();
    fs::write(source.join("large"), CONTENT.repeat(200_000)).unwrap();
    lab.sync(&source).expect(0);

    let canaries = secrets(&lab);
    let at = |name: &str| lab.path(name).to_str().unwrap().to_owned();
    let but = &["a name"];
    fs::write(source.join("more"), CONTENT).unwrap();
    look(&canaries, &lab, "sync", &["--source", &at("source")], 0, but);
    look(&canaries, &lab, "verify", &["--read-data"], 0, but);
    look(&canaries, &lab, "snapshots", &[], 0, but);
    look(&canaries, &lab, "ls", &["latest"], 0, but);
    look(&canaries, &lab, "restore", &["latest", &at("restored"), "--overwrite"], 0, but);
    look(&canaries, &lab, "verify", &["--target", &at("restored")], 0, but);
    look(&canaries, &lab, "log show", &[], 0, but);
    look(&canaries, &lab, "key list", &[], 0, but);

    // The state holds the credential, and what the source shows; the log and the repository less.
    let own = ["a name", "the writer's key", "the domain's secret"];
    assert!(canaries.none_below(&lab.path("state"), &own) >= 4);
    // The search finds what is there.
    let state = fs::read_dir(lab.path("state")).unwrap().next().unwrap().unwrap().path();
    let credential = fs::read(state.join("credential")).unwrap();
    for secret in ["the writer's key", "the domain's secret"] {
        let forms = &canaries.0[secret];
        let found = |form: &Vec<u8>| credential.windows(form.len()).any(|window| window == form);
        assert!(forms.iter().any(found), "the credential lacks {secret}");
    }
    assert!(canaries.none_below(Path::new(&lab.repository), &[]) >= 8);
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "something is left in TMPDIR");

    // Errors: another password, a damaged key, a damaged pack, nonsense, help.
    let other = Lab::new().move_to(&lab.repository).with_variable("DROVER_PASSWORD", OTHER);
    look(&canaries, &other, "verify", &[], 12, &[]);
    for verb in ["", "init", "sync", "key", "key export-writer"] {
        let mut all: Vec<&str> = verb.split_whitespace().collect();
        all.push("--help");
        let answer = lab.run(&all).expect(0);
        canaries.none_in(&answer.stdout, &format!("the help of {verb}"), &[]);
    }
    let answer = lab.run(&["verify", "--password", OTHER]);
    assert_eq!(answer.code, 2, "passwords are no arguments");
    for folder in ["packs", "keys"] {
        let mut left = vec![Path::new(&lab.repository).join(folder)];
        while let Some(path) = left.pop() {
            if path.is_dir() {
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
        for verb in ["verify", "ls"] {
            let mut command = lab.command(&[verb, "--repo", &lab.repository, "--json"]);
            command.arg(if verb == "ls" { "latest" } else { "--read-data" });
            let answer = Answer::new(command.output().unwrap());
            assert!(answer.code != 0 || verb == "ls", "{verb} of what is damaged");
            canaries.none_in(&answer.stdout, "the failure's document", but);
            canaries.none_in(answer.stderr.as_bytes(), "the failure", but);
        }
    }
}

/// Once a run is over nothing of its keys is in its memory: what it leaves can be swapped out, or be
/// given to somebody else.
#[test]
fn no_key_is_left_in_memory() {
    let lab = Lab::new();
    let password = lab.path("password");
    fs::write(&password, PASSWORD).unwrap();
    let source = lab.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("result"), "a blood count").unwrap();
    fs::write(source.join("large"), crate::tree::noise(1, 9 << 20)).unwrap();
    let at = |name: &str| lab.path(name).to_str().unwrap().to_owned();
    let (from, to) = (at("source"), at("restored"));
    let verbs: [&[&str]; 7] = [
        &["init"],
        &["sync", "--source", &from],
        &["sync", "--source", &from],
        &["verify", "--read-data"],
        &["restore", "latest", &to],
        &["verify", "--target", &to],
        &["key", "list"],
    ];
    let mut canaries = Canaries::new(&[("the password", PASSWORD.as_bytes())]);
    let mut left = Vec::new();
    for arguments in verbs {
        let mut command = lab.command(arguments);
        command
            .args(["--repo", &lab.repository, "--json"])
            .args(["--password-file".as_ref(), password.as_os_str()]);
        command.env_remove("DROVER_PASSWORD");
        // Before the first pass its keys are not known here: what they are is found out after it.
        let (mut pieces, keeps) = (Vec::new(), !lab.path("state").exists());
        let mut bytes = 0;
        run_to_look(command, |map, piece| {
            bytes += piece.len();
            if keeps {
                pieces.push((map.to_owned(), piece.to_vec()));
            } else {
                left.extend(
                    canaries.found(piece).map(|name| format!("{arguments:?}: {name} in {map}")),
                );
            }
        })
        .expect(0);
        assert!(bytes > 1 << 20, "{arguments:?}: {bytes} bytes looked at");
        if arguments[0] == "sync" && canaries.0.len() == 1 {
            canaries = secrets(&lab);
            for secret in ["content", "a name", "another password"] {
                canaries.0.remove(secret);
            }
        }
        for (map, piece) in pieces {
            left.extend(
                canaries.found(&piece).map(|name| format!("{arguments:?}: {name} in {map}")),
            );
        }
    }
    assert!(left.is_empty(), "{left:#?}");
}

/// What is started to ask for the password sees neither it nor a key.
#[test]
fn a_password_command_is_told_no_secret() {
    let (lab, source) = Lab::with_source();
    let seen = lab.path("seen");
    let script = format!(
        "cat /proc/$$/cmdline /proc/$$/environ /proc/$PPID/cmdline >> {}; printf '%s' '{PASSWORD}'",
        seen.display()
    );
    fs::write(lab.path("ask"), script).unwrap();
    let ask = format!("sh {}", lab.path("ask").display());
    let arguments =
        ["verify", "--repo", &lab.repository, "--password-command", &ask].map(str::to_owned);
    lab.sync(&source).expect(0);
    let mut command = lab.command(&arguments);
    command.env_remove("DROVER_PASSWORD");
    Answer::new(command.output().unwrap()).expect(0);
    let seen = fs::read(seen).unwrap();
    assert!(seen.len() > 50);
    secrets(&lab).none_in(&seen, "what a child is started with", &[]);
}

/// Kills `command`, run with as large a core as it likes; whether it left one, and where it was run.
fn dies(mut command: Command, signal: &str, wait: impl FnOnce(&mut std::process::Child)) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let program = command.get_program().to_owned();
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -c unlimited && exec \"$0\" \"$@\""]).arg(program);
    shell.args(command.get_args()).current_dir(directory.path());
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    wait(&mut child);
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, signal.parse::<nix::sys::signal::Signal>().unwrap()).unwrap();
    let status = child.wait().unwrap();
    assert!(status.signal().is_some(), "{status}");
    let _ = command.stdin(Stdio::null());
    status.core_dumped() || fs::read_dir(directory.path()).unwrap().count() > 0
}

#[test]
#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
fn what_dies_leaves_no_core() {
    let mut cat = Command::new("cat");
    cat.env("PATH", "/usr/bin:/bin");
    if !dies(cat, "SIGABRT", |child| {
        let stdin = child.stdin.as_mut().unwrap();
        std::io::Write::write_all(stdin, b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    }) {
        eprintln!("skipped: nothing leaves a core here");
        return;
    }
    for signal in ["SIGABRT", "SIGTRAP", "SIGSYS"] {
        // A service that never answers: password and environment are in memory.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let lab = Lab::at_s3(&format!("http://{}", listener.local_addr().unwrap()));
        let command = lab.command(&["verify", "--repo", &lab.repository]);
        let asked = dies(command, signal, |_| {
            listener.accept().unwrap().0.read_exact(&mut [0; 16]).unwrap();
        });
        assert!(!asked, "{signal} leaves a core");
    }
}
