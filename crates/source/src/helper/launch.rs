//! Launching helpers on a server.
//!
//! The account's shell makes a folder that is the account's alone and where programs may run, the
//! program is copied into it, and every helper is that program on the streams of a channel. Helpers
//! remove the folder as they end, which the end of their connection makes them do. A helper that an
//! administrator installed is run as it is: so it can have rights that the account lacks.

use std::{
    fmt,
    io::{self, Read, Write},
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use drover_types::{lock, path::escape};
use ssh2::{Channel, Session};

use super::message::RootError;
use crate::{
    host::line,
    sftp::{SftpOptions, SshError, Wire, channel, patiently, session},
};

/// How long a helper may take to answer: a walk waits for a disk, a file for its first chunk.
const ANSWER: Duration = Duration::from_secs(300);
/// How long a helper may take to end.
const FAREWELL: Duration = Duration::from_secs(5);
/// Bytes that a server may send before it hears that they were taken: at 50 ms of delay, 640 MB/s.
const WINDOW: u32 = 32 << 20;
/// Of what is said in errors, so much is kept.
const SAID: u64 = 1 << 10;

/// What a helper says first: that it is one, and of which version.
pub const GREETING: &str = concat!("drover helper ", env!("CARGO_PKG_VERSION"), ", messages 2\n");

/// Finds a folder for the program, one where programs may run, copies it there, and runs it. It is the
/// beginning of what comes in, so many bytes of it, compressed. All of it is one command: each costs what
/// the account's shell does before it begins.
const COPY: &str = r#"umask 077
printf 'machine %s\n' "$(uname -sm)"
for place in "${TMPDIR:-/tmp}" /var/tmp "$HOME" /dev/shm; do
    folder=$(mktemp -d "$place/drover-helper.XXXXXXXXXX" 2>/dev/null) || continue
    if printf '#!/bin/sh\nexit 0\n' >"$folder/drover" && chmod 700 "$folder/drover" &&
        "$folder/drover" 2>/dev/null
    then
        printf 'folder %s\n' "$folder"
        head -c "$1" | gzip -dc >"$folder/drover" && shift && exec "$@" "$folder/drover" helper
        rm -rf "$folder"
        exit 1
    fi
    rm -rf "$folder"
done
printf 'folder\n'
exit 1"#;
/// The longest answer to it.
const ANSWERED: usize = 8 << 10;

/// Runs its arguments so that whatever else the server does goes before.
const POLITE: &str = r#"ionice -c 3 -p $$ >/dev/null 2>&1
exec nice -n 19 "$@""#;

/// A connection to a helper.
pub trait Stream: Read + Write + Send {
    /// Ends it at once: nobody waits on it any more.
    fn cut(&self);
}

/// Starts helpers.
pub trait Launch: Send + Sync {
    /// A connection to a new helper, which has not been asked anything.
    fn launch(&self) -> Result<Box<dyn Stream>, LaunchError>;

    /// What was negotiated with the server; empty where there is none.
    fn connection(&self) -> String {
        String::new()
    }
}

/// Why there is no helper.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// No connection to the server.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// The server is another sort of machine than this program is for.
    #[error("the server is {found}, and the program is for {ours}")]
    Machine {
        /// What the server says it is.
        found: String,
        /// What the program is for.
        ours: String,
    },
    /// The account cannot run a program of its own there.
    #[error("the account cannot run a program on the server: {0}")]
    NoPlace(String),
    /// It is of another version.
    #[error("the helper on the server is of another version: it says {0:?}")]
    Version(String),
    /// It does not run, or says what it should not.
    #[error("the helper on the server failed: {0}")]
    Helper(String),
    /// The root cannot be used.
    #[error("{message}")]
    Root {
        /// Why.
        kind: RootError,
        /// In words.
        message: String,
    },
}

/// Compresses a program.
pub type Compress = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// Which program is a server's helper.
#[derive(Clone)]
pub enum HelperProgram {
    /// A program that is copied: its bytes, compressed by gzip, and the machine that it is for, as
    /// `uname -sm` says it.
    Copied {
        /// Compressed by gzip, once that is done.
        gzip: Arc<LazyLock<Vec<u8>, Compress>>,
        /// Such as `Linux x86_64`.
        machine: String,
    },
    /// One that is there: the program and its arguments.
    Installed(Vec<String>),
}

/// Launches helpers over SSH.
pub struct SshLaunch {
    options: SftpOptions,
    program: HelperProgram,
    /// Whether whatever else the server does goes before.
    polite: bool,
    /// The folder that the program was copied to.
    folder: Mutex<Option<String>>,
    algorithms: Mutex<String>,
}

impl SshLaunch {
    /// Nothing is asked yet.
    pub fn new(options: SftpOptions, program: HelperProgram) -> Self {
        let (folder, algorithms) = (Mutex::default(), Mutex::default());
        Self { options, program, polite: false, folder, algorithms }
    }

    /// With helpers that leave whatever else the server does before, or not.
    pub fn polite(self, polite: bool) -> Self {
        Self { polite, ..self }
    }

    /// What goes before the program.
    fn before(&self) -> Vec<&str> {
        let polite = ["/bin/sh", "-c", POLITE, "drover"];
        polite.into_iter().filter(|_| self.polite).collect()
    }

    /// Runs the program on a channel of `session` and hears its greeting.
    fn start(&self, session: &Session, words: &[&str]) -> Result<Channel, LaunchError> {
        greeted(exec(session, &[&self.before(), words].concat())?)
    }

    fn copied(
        &self,
        session: &Session,
        gzip: &LazyLock<Vec<u8>, Compress>,
        machine: &str,
    ) -> Result<Channel, LaunchError> {
        let known = lock(&self.folder).clone();
        if let Some(folder) = &known
            && let Ok(channel) = self.start(session, &[&program_in(folder), "helper"])
        {
            return Ok(channel);
        }
        // The first, or the one that was there is gone with the helpers that a broken connection
        // ended. Another may have copied it again meanwhile.
        let mut folder = lock(&self.folder);
        if let Some(folder) = folder.as_ref().filter(|_| *folder != known) {
            return self.start(session, &[&program_in(folder), "helper"]);
        }
        let (channel, made) = self.copy(session, gzip, machine)?;
        *folder = Some(made);
        Ok(channel)
    }

    /// Copies the program to a folder of the account's own, and runs it.
    fn copy(
        &self,
        session: &Session,
        gzip: &LazyLock<Vec<u8>, Compress>,
        machine: &str,
    ) -> Result<(Channel, String), LaunchError> {
        let no_place = |error: &dyn fmt::Display| LaunchError::NoPlace(error.to_string());
        let gzip: &[u8] = gzip;
        let length = gzip.len().to_string();
        let script = ["/bin/sh", "-c", COPY, "drover", length.as_str()];
        let mut channel = exec(session, &[&script[..], &self.before()].concat())?;
        // What runs in its place may wait for ever for what comes in.
        answer_within(session, self.options.answer);
        let folder = make_folder(&mut channel, machine)?;
        answer_within(session, ANSWER);
        let sent = channel.write_all(gzip);
        let started = match sent {
            Ok(()) => greeted(channel),
            Err(_) => Err(no_place(&last_words(channel, b""))),
        };
        // What does not run takes nothing away.
        if started.is_err()
            && let Ok(mut channel) = exec(session, &["rm", "-rf", &folder])
        {
            let _ = channel.wait_close();
        }
        Ok((started?, folder))
    }
}

fn answer_within(session: &Session, time: Duration) {
    session.set_timeout(u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
}

fn program_in(folder: &str) -> String {
    format!("{folder}/drover")
}

/// Runs a command on a channel of its own.
fn exec(session: &Session, words: &[&str]) -> Result<Channel, LaunchError> {
    let exec = || {
        let mut channel = channel(session, WINDOW)?;
        channel.exec(&line(words)).map(|()| channel)
    };
    exec().map_err(|error: ssh2::Error| LaunchError::Helper(error.to_string()))
}

/// Hears a helper's greeting.
fn greeted(mut channel: Channel) -> Result<Channel, LaunchError> {
    let mut greeting = vec![0; GREETING.len()];
    let mut got = 0;
    while got < greeting.len() && greeting[..got] == GREETING.as_bytes()[..got] {
        match channel.read(&mut greeting[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) => return Err(LaunchError::Helper(error.to_string())),
        }
    }
    greeting.truncate(got);
    match greeting == GREETING.as_bytes() {
        true => Ok(channel),
        false if greeting.starts_with(b"drover helper ") => {
            Err(LaunchError::Version(escape(greeting.trim_ascii())))
        }
        false => Err(LaunchError::Helper(last_words(channel, &greeting))),
    }
}

/// The folder that [`COPY`] made on the server: it tells the machine and the folder, and then waits for
/// the program.
fn make_folder(channel: &mut Channel, machine: &str) -> Result<String, LaunchError> {
    let (mut said, mut buffer) = (Vec::new(), [0; 512]);
    let told = |said: &[u8], what: &str| {
        let said = String::from_utf8_lossy(said).into_owned();
        let mut lines = said.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        lines.find_map(|line| Some(line.strip_prefix(what)?.trim().to_owned()))
    };
    while told(&said, "folder").is_none() && said.len() < ANSWERED {
        match channel.read(&mut buffer) {
            Ok(n @ 1..) => said.extend_from_slice(&buffer[..n]),
            Ok(0) => break,
            Err(error) => return Err(LaunchError::NoPlace(error.to_string())),
        }
    }
    let Some(found) = told(&said, "machine ") else {
        let _ = channel.stderr().take(SAID).read_to_end(&mut said);
        said.truncate(SAID as usize);
        return Err(LaunchError::NoPlace(escape(said.trim_ascii())));
    };
    if found != machine {
        return Err(LaunchError::Machine { found: escape(found.as_bytes()), ours: machine.into() });
    }
    match told(&said, "folder").filter(|folder| folder.starts_with('/')) {
        Some(folder) => Ok(folder),
        None => Err(LaunchError::NoPlace(
            "in none of its temporary folder, /var/tmp, its home and /dev/shm".to_owned(),
        )),
    }
}

/// Why what should have greeted did not.
fn last_words(mut channel: Channel, greeting: &[u8]) -> String {
    let mut said = greeting.to_vec();
    let _ = (&mut channel).take(SAID).read_to_end(&mut said);
    let _ = channel.stderr().take(SAID).read_to_end(&mut said);
    let _ = channel.wait_close();
    let said = escape(said.trim_ascii());
    match channel.exit_status() {
        Ok(code) if said.is_empty() => format!("it ended with exit code {code}"),
        Ok(code) => format!("it ended with exit code {code}, and said: {said}"),
        Err(_) => said,
    }
}

impl Launch for SshLaunch {
    fn launch(&self) -> Result<Box<dyn Stream>, LaunchError> {
        let open = || session(&self.options);
        // One that was reached before is waited for; where nobody listens at first, nobody will.
        let reached = !lock(&self.algorithms).is_empty();
        let (session, wire, algorithms) = if reached { patiently(open)? } else { open()? };
        answer_within(&session, ANSWER);
        *lock(&self.algorithms) = algorithms;
        let channel = match &self.program {
            HelperProgram::Installed(words) => {
                let words: Vec<_> = words.iter().map(String::as_str).collect();
                self.start(&session, &words)?
            }
            HelperProgram::Copied { gzip, machine } => self.copied(&session, gzip, machine)?,
        };
        Ok(Box::new(SshStream { channel, session, wire }))
    }

    fn connection(&self) -> String {
        lock(&self.algorithms).clone()
    }
}

/// The streams of a helper over SSH. The fields are dropped in this order.
struct SshStream {
    channel: Channel,
    session: Session,
    wire: Wire,
}

impl Read for SshStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.channel.read(buffer)
    }
}

impl Write for SshStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.channel.write(bytes)
    }

    /// What is written is sent at once. libssh2's flush throws away what came and was not read yet.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for SshStream {
    fn cut(&self) {
        self.wire.cut();
    }
}

impl Drop for SshStream {
    /// Waits for the helper's end: it takes away what was copied.
    fn drop(&mut self) {
        answer_within(&self.session, FAREWELL);
        // Of a connection that was cut, or broke, all of this fails at once.
        let _ = self.channel.send_eof();
        let _ = self.channel.wait_eof();
        let _ = self.channel.close();
        let _ = self.channel.wait_close();
    }
}
