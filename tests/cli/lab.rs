//! A directory of its own for each test, and the binary run in it.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// Looked for in everything that the binary prints.
pub const PASSWORD: &str = "canary-9f31c6 that nobody must see";

/// Whether everything is to be tried, and not the part that every change can wait for.
pub fn is_long() -> bool {
    std::env::var("DROVER_TEST_LONG").is_ok_and(|v| v == "1")
}

/// A test's own directory.
pub struct Lab {
    directory: TempDir,
    environment: Vec<(String, String)>,
    /// Where the repository is, as `--repo` takes it.
    pub repository: String,
}

/// What a run answered.
pub struct Answer {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Lab {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let repository = directory.path().join("repository").to_str().unwrap().to_owned();
        Self { directory, environment: Vec::new(), repository }
    }

    /// With a repository.
    pub fn with_repository() -> Self {
        let lab = Self::new();
        lab.run(&["init", "--repo", &lab.repository]).expect(0);
        lab
    }

    /// With a repository and a source of a few files.
    pub fn with_source() -> (Self, PathBuf) {
        let lab = Self::with_repository();
        let source = lab.path("source");
        fs::create_dir_all(source.join("letters")).unwrap();
        fs::write(source.join("readme"), "hello").unwrap();
        fs::write(source.join("letters/a"), vec![7; 100_000]).unwrap();
        (lab, source)
    }

    /// With the repository at `url`, which these variables lead to.
    pub fn at(url: String, environment: &[(&str, &str)]) -> Self {
        let environment =
            environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Self { repository: url, environment, ..Self::new() }
    }

    /// The same with its repository elsewhere.
    pub fn move_to(self, repository: &str) -> Self {
        Self { repository: repository.to_owned(), ..self }
    }

    /// The same with one more variable.
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With its repository in a bucket of a service at `endpoint` that answers as a test tells it.
    pub fn at_s3(endpoint: &str) -> Self {
        let environment = [
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "us-east-1"),
        ];
        Self::at("s3://bucket/prefix".into(), &environment)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The binary with these arguments, and with nothing of the environment of whoever runs the
    /// tests that it would listen to.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_drover"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("DROVER_STATE_DIR", self.path("state"))
            .env("DROVER_PASSWORD", PASSWORD)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Answer {
        Answer::new(self.command(arguments).output().unwrap())
    }

    /// The same by somebody to whom things can be denied: where root runs the tests, by nobody, to
    /// whom all of the lab belongs from then on.
    pub fn run_denied<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Answer {
        let mut command = self.command(arguments);
        if fs::metadata("/proc/self").is_ok_and(|found| found.uid() == 0) {
            let root = self.directory.path();
            // The binary may lie where only root gets to.
            let copy = self.path("drover");
            if !copy.exists() {
                // Not by this process: what it has open for writing, another test's child has too
                // for a moment, and what is open for writing cannot be run.
                let copied = Command::new("cp").arg(command.get_program()).arg(&copy).status();
                assert!(copied.unwrap().success());
            }
            fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
            fs::create_dir_all(self.path("state")).unwrap();
            let chown = Command::new("chown").args(["-R", "65534:65534"]).arg(root).status();
            assert!(chown.unwrap().success());
            let mut user = Command::new("setpriv");
            user.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(copy);
            user.args(command.get_args()).env_clear().current_dir("/").stdin(Stdio::null());
            user.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command = user;
        }
        Answer::new(command.output().unwrap())
    }

    /// `verb --repo REPOSITORY arguments… --json`.
    pub fn verb<S: AsRef<OsStr>>(&self, verb: &str, arguments: &[S]) -> Answer {
        let mut all: Vec<&OsStr> = verb.split(' ').map(OsStr::new).collect();
        all.extend(["--repo", &self.repository, "--json"].map(OsStr::new));
        all.extend(arguments.iter().map(AsRef::as_ref));
        self.run(&all)
    }

    /// A pass over `source`.
    pub fn sync(&self, source: &Path) -> Answer {
        self.verb("sync", &[OsStr::new("--source"), source.as_os_str()])
    }

    /// Begins a run and does not wait for its end.
    pub fn start<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

/// What the standard library says where it has no memory for a thread.
pub const NO_STACK: &str = "failed to allocate an alternative stack";

impl Answer {
    pub fn new(output: Output) -> Self {
        Self::of(output.status.code().unwrap_or(-1), output.stdout, output.stderr)
    }

    pub fn of(code: i32, stdout: Vec<u8>, stderr: Vec<u8>) -> Self {
        let stderr = String::from_utf8(stderr).unwrap();
        let shown = String::from_utf8_lossy(&stdout);
        assert!(!shown.contains(PASSWORD) && !stderr.contains(PASSWORD), "it shows the password");
        // Where a thread gets no memory to begin with, the standard library panics, before any line of
        // the program's.
        let began = !stderr.contains(NO_STACK);
        assert!(!(began && stderr.contains("panicked")), "{stderr}");
        Self { code, stdout, stderr }
    }

    /// Ends the test where the exit code is another one.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        let shown = String::from_utf8_lossy(&self.stdout);
        let shown: String = shown.chars().take(4000).collect();
        assert_eq!(self.code, code, "stdout: {shown}\nstderr: {}", self.stderr);
        self
    }

    /// The one document on stdout.
    #[track_caller]
    pub fn json(&self) -> Value {
        let document: Value = serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.stdout)));
        assert!(document["schema"].as_str().unwrap().starts_with("drover."));
        document
    }

    /// Ends the test unless the run failed with this code and kind, named `thing`, and said what
    /// to do, in the document and to people.
    #[track_caller]
    pub fn refused(self, code: i32, kind: &str, thing: &str) {
        let answer = self.expect(code);
        let document = answer.json();
        let error = &document["error"];
        assert_eq!(error["exit"], code, "{error}");
        assert_eq!(error["kind"], kind, "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(thing), "{thing:?} is not in {message:?}");
        let remedy = error["remedy"].as_str().unwrap();
        assert!(remedy.len() > 10, "no remedy: {error}");
        assert!(answer.stderr.contains(message.lines().next().unwrap()), "{}", answer.stderr);
    }
}

/// The sum of these numbers of a document.
#[track_caller]
pub fn number(document: &Value, pointer: &str) -> u64 {
    document
        .pointer(pointer)
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("no {pointer}: {document}"))
}
