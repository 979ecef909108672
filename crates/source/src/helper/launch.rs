//! Launching helpers on a server.
//!
//! The account's shell makes a folder that is the account's alone and where programs may run, the
//! program is copied into it, and every helper is that program on the streams of a channel. Helpers
//! remove the folder as they end, which the end of their connection makes them do. A helper that an
//! administrator installed is run as it is: so it can have rights that the account lacks.

use std::{
    io::{self, Read, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use drover_types::{lock, path::escape};
use ssh2::{Channel, Session};

use super::message::RootError;
use crate::{
    host::line,
    sftp::{SftpOptions, SshError, Wire, patiently, session},
};

/// How long a helper may take to answer: a walk waits for a disk, a file for its first chunk.
const ANSWER: Duration = Duration::from_secs(300);
/// How long a helper may take to end.
const FAREWELL: Duration = Duration::from_secs(5);
/// Bytes that a server may send before it hears that they were taken: at 50 ms of delay, 640 MB/s.
const WINDOW: u32 = 32 << 20;
/// The largest packet of SSH that every implementation takes.
const PACKET: u32 = 32 << 10;
/// Of what is said in errors, so much is kept.
const SAID: u64 = 1 << 10;

/// What a helper says first: that it is one, and of which version.
pub const GREETING: &str = concat!("drover helper ", env!("CARGO_PKG_VERSION"), ", messages 2\n");

/// Finds a folder for the program: one where programs may run. What it prints begins with what it
/// found; nothing else is left.
const FOLDER: &str = r#"umask 077
printf 'machine %s\n' "$(uname -sm)"
for place in "${TMPDIR:-/tmp}" /var/tmp "$HOME" /dev/shm; do
    folder=$(mktemp -d "$place/drover-helper.XXXXXXXXXX" 2>/dev/null) || continue
    printf '#!/bin/sh\nexit 0\n' >"$folder/drover" && chmod 700 "$folder/drover" &&
        "$folder/drover" 2>/dev/null && printf 'folder %s\n' "$folder" && exit 0
    rm -rf "$folder"
done
exit 1"#;

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

/// Which program is a server's helper.
#[derive(Clone)]
pub enum HelperProgram {
    /// A program that is copied: its bytes, compressed by gzip, and the machine that it is for, as
    /// `uname -sm` says it.
    Copied {
        /// Compressed by gzip.
        gzip: Arc<[u8]>,
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

    /// Runs the program on a channel of `session` and hears its greeting.
    fn start(&self, session: &Session, words: &[&str]) -> Result<Channel, LaunchError> {
        let mut channel = session
            .channel_open("session", WINDOW, PACKET, None)
            .map_err(|error| LaunchError::Helper(error.to_string()))?;
        let polite = ["/bin/sh", "-c", POLITE, "drover"].iter().filter(|_| self.polite);
        let words: Vec<_> = polite.chain(words).copied().collect();
        channel.exec(&line(&words)).map_err(|error| LaunchError::Helper(error.to_string()))?;
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

    fn copied(
        &self,
        session: &Session,
        gzip: &[u8],
        machine: &str,
    ) -> Result<Channel, LaunchError> {
        let mut folder = lock(&self.folder);
        if let Some(folder) = &*folder
            && let Ok(channel) = self.start(session, &[&program_in(folder), "helper"])
        {
            return Ok(channel);
        }
        // The first, or the one that was there is gone with the helpers that a broken connection
        // ended.
        let made = make_folder(session, machine)?;
        let program = program_in(&made);
        let script = format!("umask 077; gzip -dc >{} && chmod 700 {0}", line(&[&program]));
        let (status, said) = run(session, &script, gzip)?;
        if status != 0 {
            return Err(LaunchError::NoPlace(format!("{made}: {}", said.trim())));
        }
        let channel = self.start(session, &[&program, "helper"])?;
        *folder = Some(made);
        Ok(channel)
    }
}

fn program_in(folder: &str) -> String {
    format!("{folder}/drover")
}

/// A folder of the account's own on the server, where programs may run.
fn make_folder(session: &Session, machine: &str) -> Result<String, LaunchError> {
    let (status, said) = run(session, FOLDER, b"")?;
    let told = |what: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(' '));
        line.map(str::to_owned)
    };
    let found = told("machine").ok_or_else(|| LaunchError::NoPlace(said.trim().to_owned()))?;
    if found != machine {
        return Err(LaunchError::Machine { found: escape(found.as_bytes()), ours: machine.into() });
    }
    match told("folder").filter(|folder| status == 0 && folder.starts_with('/')) {
        Some(folder) => Ok(folder),
        None => Err(LaunchError::NoPlace(
            "in none of its temporary folder, /var/tmp, its home and /dev/shm".to_owned(),
        )),
    }
}

/// Runs a script to its end; its exit code, and the beginning of what it says.
fn run(session: &Session, script: &str, input: &[u8]) -> Result<(i32, String), LaunchError> {
    let run = || -> io::Result<(i32, String)> {
        let mut channel = session.channel_session()?;
        channel.exec(&line(&["/bin/sh", "-c", script]))?;
        channel.write_all(input)?;
        channel.send_eof()?;
        let mut said = Vec::new();
        (&mut channel).take(SAID).read_to_end(&mut said)?;
        channel.stderr().take(SAID).read_to_end(&mut said)?;
        channel.wait_close()?;
        Ok((channel.exit_status()?, String::from_utf8_lossy(&said).into_owned()))
    };
    run().map_err(|error| LaunchError::NoPlace(error.to_string()))
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
        session.set_timeout(u32::try_from(ANSWER.as_millis()).unwrap_or(u32::MAX));
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
        self.session.set_timeout(u32::try_from(FAREWELL.as_millis()).unwrap_or(u32::MAX));
        // Of a connection that was cut, or broke, all of this fails at once.
        let _ = self.channel.send_eof();
        let _ = self.channel.wait_eof();
        let _ = self.channel.close();
        let _ = self.channel.wait_close();
    }
}
