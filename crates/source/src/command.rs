//! What a command prints, as a source of one file: the dump of a database, which is never on a disk.
//!
//! The output is read as it comes, once, from its beginning to its end. How long it is shows only then,
//! and so does whether it counts: what ends with anything but exit code 0 is no file. Here the command
//! runs in a process group of its own; on a server it is a channel of an SSH connection.

use std::{
    ffi::OsString,
    io::{self, Read},
    ops::Range,
    os::unix::process::CommandExt,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use drover_types::{Attributes, Entry, Evidence, Kind, RelativePath, Timestamp, clock, lock};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, kill_process_group},
};
use ssh2::{Channel, Session};

use crate::{
    Loss, ReadError, Source, SourceDescription, SourceError, SourceFile, Stat, Walk, WalkEvent,
    WalkOptions,
    host::{SEARCH_PATH, line},
    sftp::{SftpOptions, session},
};

/// The size of a file whose end is not known before it is read.
pub const STREAM: u64 = u64::MAX;
/// Of what the command says of its errors, so much is kept: its end.
const SAID: usize = 2 << 10;

/// A command whose output is a file.
pub struct CommandSource {
    description: SourceDescription,
    file: RelativePath,
    words: Vec<String>,
    environment: Vec<(OsString, OsString)>,
    server: Option<SftpOptions>,
    silence: Duration,
}

impl CommandSource {
    /// `words` printed as the file `name`; on a server, where there is one. A command that prints
    /// nothing for as long as `silence` is ended. Here it finds `environment`, and nothing else.
    pub fn new(
        words: Vec<String>,
        name: &RelativePath,
        server: Option<SftpOptions>,
        silence: Duration,
        environment: Vec<(OsString, OsString)>,
    ) -> Self {
        let here = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        let description = SourceDescription {
            kind: "command",
            host: server.as_ref().map_or_else(here, SftpOptions::place),
            root: words.join(" ").into_bytes().into(),
            user: server.as_ref().map(|server| server.user.clone()).unwrap_or_default(),
            privileged: false,
            file_system: 0,
            connection: String::new(),
        };
        Self { description, file: name.clone(), words, environment, server, silence }
    }

    fn entry(&self, path: RelativePath, kind: Kind, mode: u32, mtime: Timestamp) -> Entry {
        Entry {
            path,
            kind,
            attributes: Attributes {
                mode,
                uid: rustix::process::geteuid().as_raw(),
                gid: rustix::process::getegid().as_raw(),
                mtime,
                ..Attributes::default()
            },
            content: None,
            hard_link: None,
            // Nothing tells whether it would print the same again.
            evidence: Evidence { racy: true, ..Evidence::default() },
            stale: false,
        }
    }

    fn here(&self) -> io::Result<Output> {
        let [program, arguments @ ..] = self.words.as_slice() else {
            return Err(io::Error::other("an empty command"));
        };
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let listener = child.stderr.take().map(|stderr| listen(stderr, said.clone()));
        let Some(stdout) = child.stdout.take() else {
            return Err(io::Error::other("it has no output"));
        };
        Ok(Output::Here { child, stdout, said, listener, silence: self.silence })
    }

    fn there(&self, options: &SftpOptions) -> io::Result<Output> {
        let (session, ..) = session(options).map_err(io::Error::other)?;
        let millis = u32::try_from(self.silence.as_millis()).unwrap_or(u32::MAX).max(1);
        session.set_blocking(true);
        session.set_timeout(millis);
        let path = format!("PATH={SEARCH_PATH}");
        let mut words = vec!["/usr/bin/env", path.as_str()];
        words.extend(self.words.iter().map(String::as_str));
        let mut channel = session.channel_session()?;
        channel.exec(&line(&words))?;
        channel.send_eof()?;
        Ok(Output::There { channel, _session: session })
    }
}

impl Source for CommandSource {
    fn description(&self) -> SourceDescription {
        self.description.clone()
    }

    fn walk(&self, _: &WalkOptions) -> Result<Walk, SourceError> {
        let now = clock::now();
        let root = self.entry(RelativePath::root(), Kind::Directory, 0o700, now);
        let file = self.entry(self.file.clone(), Kind::File, 0o600, now);
        Ok(Walk::new([root, file].into_iter().map(WalkEvent::Entry)))
    }

    fn open(&self, path: &RelativePath) -> Result<Box<dyn SourceFile>, ReadError> {
        if *path != self.file {
            return Err(ReadError::other(path, "the command prints one file alone"));
        }
        let output = match &self.server {
            None => self.here(),
            Some(options) => self.there(options),
        };
        let output = output.map_err(|error| {
            ReadError::other(path, format!("the command cannot be run: {error}"))
        })?;
        let stat = self.entry(path.clone(), Kind::File, 0o600, clock::now());
        Ok(Box::new(CommandFile { entry: stat, output, at: 0, ended: false }))
    }

    fn complete(&self, _: &mut Entry) -> Result<(), ReadError> {
        Ok(())
    }

    fn losses(&self) -> &[Loss] {
        &[]
    }
}

/// Where the output comes from.
enum Output {
    Here {
        child: Child,
        stdout: ChildStdout,
        said: Arc<Mutex<Vec<u8>>>,
        listener: Option<JoinHandle<()>>,
        silence: Duration,
    },
    There {
        channel: Channel,
        _session: Session,
    },
}

impl Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Here { stdout, silence, .. } => {
                let mut fds = [PollFd::new(&*stdout, PollFlags::IN)];
                let patience = Timespec::try_from(*silence).ok();
                loop {
                    match poll(&mut fds, patience.as_ref()) {
                        Ok(0) => {
                            return Err(io::Error::other(format!("it was silent for {silence:?}")));
                        }
                        Ok(_) => break,
                        Err(rustix::io::Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                stdout.read(buffer)
            }
            Self::There { channel, .. } => channel.read(buffer),
        }
    }

    /// Once the output has ended: whether it counts.
    fn end(&mut self) -> io::Result<()> {
        let (ended, said) = match self {
            Self::Here { child, said, listener, .. } => {
                let status = child.wait()?;
                if let Some(listener) = listener.take() {
                    let _ = listener.join();
                }
                let ended = match status.code() {
                    Some(0) => return Ok(()),
                    Some(code) => format!("it ended with exit code {code}"),
                    None => "it was ended by a signal".to_owned(),
                };
                (ended, std::mem::take(&mut *lock(said)))
            }
            Self::There { channel, .. } => {
                let mut said = Vec::new();
                let _ = channel.stderr().take(SAID as u64).read_to_end(&mut said);
                channel.wait_close()?;
                let signalled =
                    channel.exit_signal().is_ok_and(|signal| signal.exit_signal.is_some());
                let ended = match channel.exit_status()? {
                    _ if signalled => "it was ended by a signal".to_owned(),
                    0 => return Ok(()),
                    code => format!("it ended with exit code {code}"),
                };
                (ended, said)
            }
        };
        let said = drover_types::path::escape(said.trim_ascii());
        let colon = if said.is_empty() { "" } else { ", and said: " };
        Err(io::Error::other(format!("{ended}{colon}{said}")))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Self::Here { child, .. } = self
            && matches!(child.try_wait(), Ok(None))
        {
            let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            let _ = group.map(|group| kill_process_group(group, Signal::KILL));
            let _ = child.wait();
        }
    }
}

/// Keeps the end of what a command says of its errors.
fn listen(mut stderr: impl Read + Send + 'static, said: Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok(n @ 1..) = stderr.read(&mut buffer) {
            let mut said = lock(&said);
            said.extend_from_slice(&buffer[..n]);
            let over = said.len().saturating_sub(SAID);
            said.drain(..over);
        }
    })
}

/// The output under way.
struct CommandFile {
    entry: Entry,
    output: Output,
    at: u64,
    ended: bool,
}

impl CommandFile {
    fn failed(&self, error: &io::Error) -> ReadError {
        ReadError::other(&self.entry.path, format!("the command failed: {error}"))
    }
}

impl SourceFile for CommandFile {
    /// Until the end is known the size is [`STREAM`].
    fn stat(&mut self) -> Result<Stat, ReadError> {
        let size = if self.ended { self.at } else { STREAM };
        Ok(Stat {
            kind: Kind::File,
            attributes: self.entry.attributes.clone(),
            evidence: Evidence { size, allocated: size, ..self.entry.evidence },
        })
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        if offset != self.at {
            let message = "what a command prints is read once, from its beginning to its end";
            return Err(ReadError::other(&self.entry.path, message));
        }
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        let read = self.output.read(buffer).map_err(|error| self.failed(&error))?;
        self.at += read as u64;
        if read == 0 {
            self.ended = true;
            self.output.end().map_err(|error| self.failed(&error))?;
        }
        Ok(read)
    }

    fn next_data(&mut self, offset: u64) -> Result<Option<Range<u64>>, ReadError> {
        Ok(Some(offset..STREAM))
    }

    fn complete(&mut self, _: &mut Attributes) -> Result<(), ReadError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Vec<(OsString, OsString)> {
        vec![("PATH".into(), SEARCH_PATH.into())]
    }

    fn source(script: &str) -> CommandSource {
        let words = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let name = RelativePath::new(*b"all.sql").unwrap();
        CommandSource::new(words, &name, None, Duration::from_secs(30), environment())
    }

    fn read(script: &str) -> Result<(Vec<u8>, u64), String> {
        let source = source(script);
        let name = RelativePath::new(*b"all.sql").unwrap();
        let mut file = source.open(&name).unwrap();
        assert_eq!(file.stat().unwrap().evidence.size, STREAM);
        let (mut all, mut buffer) = (Vec::new(), [0; 1000]);
        loop {
            match file.read_at(all.len() as u64, &mut buffer) {
                Ok(0) => return Ok((all, file.stat().unwrap().evidence.size)),
                Ok(n) => all.extend_from_slice(&buffer[..n]),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    #[test]
    fn what_is_printed_is_the_file() {
        let (all, size) = read("yes | head -n 5000").unwrap();
        assert_eq!((all.len(), size), (10_000, 10_000));
        assert_eq!(read("true").unwrap().0, b"");
    }

    #[test]
    fn what_ends_badly_is_no_file() {
        let error = read("echo half; echo 'no such table' >&2; exit 3").unwrap_err();
        assert!(error.contains("exit code 3") && error.contains("no such table"), "{error}");
        let error = read("echo half; kill -9 $$").unwrap_err();
        assert!(error.contains("signal"), "{error}");
    }

    #[test]
    fn what_is_left_alone_is_ended() {
        let source = source("echo begun; exec sleep 1000");
        let name = RelativePath::new(*b"all.sql").unwrap();
        let mut file = source.open(&name).unwrap();
        let mut buffer = [0; 100];
        assert_eq!(file.read_at(0, &mut buffer).unwrap(), 6);
        assert!(file.read_at(0, &mut buffer).is_err(), "there is no way back in it");
        drop(file);
    }

    #[test]
    fn silence_has_an_end() {
        let words = ["sleep".to_owned(), "1000".to_owned()].to_vec();
        let name = RelativePath::new(*b"all.sql").unwrap();
        let silence = Duration::from_millis(50);
        let source = CommandSource::new(words, &name, None, silence, environment());
        let error = source.open(&name).unwrap().read_at(0, &mut [0; 10]).unwrap_err();
        assert!(error.to_string().contains("silent"), "{error}");
    }
}
