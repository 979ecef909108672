//! What a command prints, as a source of one file: the dump of a database, which is never on a disk.
//!
//! The output is read as it comes, once, from its beginning to its end. How long it is shows only then,
//! and so does whether it counts: what ends with anything but exit code 0 is no file. Here the command
//! runs in a process group of its own; on a server it is a channel of an SSH connection.

mod here;
mod there;

use std::{
    ffi::OsString,
    fmt,
    io::{self, ErrorKind},
    ops::Range,
    os::fd::BorrowedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use drover_types::{
    Attributes, Entry, Evidence, Kind, RelativePath, Timestamp, clock, path::escape,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use crate::{
    Loss, ReadError, Source, SourceDescription, SourceError, SourceFile, Stat, Walk, WalkEvent,
    WalkOptions, sftp::SftpOptions,
};

/// The size of a file whose end is not known before it is read.
pub const STREAM: u64 = u64::MAX;
/// Of what the command says of its errors, so much is kept: its end.
const SAID: usize = 2 << 10;
/// Bytes of errors that are taken at a time.
const ERRORS: usize = 16 << 10;
/// How often a command that is silent is asked whether anybody still wants its output.
const LOOK: Duration = Duration::from_millis(250);

/// Whether nobody wants the output any more.
pub type Stopped = dyn Fn() -> bool + Send + Sync;

/// A command whose output is a file.
pub struct CommandSource {
    file: RelativePath,
    words: Vec<String>,
    place: Place,
    patience: Arc<Patience>,
}

/// Where the command runs.
enum Place {
    /// On this machine; it finds this environment, and nothing else.
    Here(Vec<(OsString, OsString)>),
    There(Box<there::Server>),
}

impl CommandSource {
    /// `words` printed as the file `name`, on this machine: the command finds `environment`, and nothing
    /// else. One that prints nothing for as long as `silence`, or is stopped, is ended.
    pub fn here(
        words: Vec<String>,
        name: &RelativePath,
        environment: Vec<(OsString, OsString)>,
        silence: Duration,
        stopped: Box<Stopped>,
    ) -> Self {
        let patience = Arc::new(Patience { silence, stopped });
        Self { file: name.clone(), words, place: Place::Here(environment), patience }
    }

    /// The same on a server, to which a connection is made.
    pub fn there(
        words: Vec<String>,
        name: &RelativePath,
        server: SftpOptions,
        silence: Duration,
        stopped: Box<Stopped>,
    ) -> Result<Self, SourceError> {
        let patience = Arc::new(Patience { silence, stopped });
        let url = server.url.clone();
        let server = there::Server::reach(server)
            .map_err(|source| SourceError::Ssh { url, source: Box::new(source) })?;
        Ok(Self { file: name.clone(), words, place: Place::There(Box::new(server)), patience })
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

    fn run(&self) -> io::Result<Box<dyn Output>> {
        let patience = self.patience.clone();
        Ok(match &self.place {
            Place::Here(environment) => {
                Box::new(here::Running::start(&self.words, environment, patience)?)
            }
            Place::There(server) => Box::new(server.run(&self.words, patience)?),
        })
    }
}

impl Source for CommandSource {
    fn description(&self) -> SourceDescription {
        let here = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        let (host, user, connection) = match &self.place {
            Place::Here(_) => (here(), String::new(), String::new()),
            Place::There(server) => {
                let options = &server.options;
                (options.place(), options.user.clone(), server.algorithms.clone())
            }
        };
        SourceDescription {
            kind: "command",
            host,
            root: self.words.join(" ").into_bytes().into(),
            user,
            privileged: false,
            file_system: 0,
            connection,
        }
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
        let output = self.run().map_err(|error| {
            ReadError::other(path, format!("the command cannot be run: {error}"))
        })?;
        let entry = self.entry(path.clone(), Kind::File, 0o600, clock::now());
        Ok(Box::new(CommandFile { entry, output, at: 0, ended: false }))
    }

    fn complete(&self, _: &mut Entry) -> Result<(), ReadError> {
        Ok(())
    }

    fn losses(&self) -> &[Loss] {
        &[]
    }
}

/// A command that runs. Dropping it ends it.
trait Output: Send {
    /// More of what it prints; nothing once it prints no more.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// How it ended, once it prints no more: in words, unless all is well.
    fn end(&mut self) -> io::Result<Option<String>>;

    /// The end of what it said of its errors.
    fn said(&self) -> &Said;
}

/// The end of what a command says of its errors.
#[derive(Default)]
struct Said(Vec<u8>);

impl Said {
    fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let over = self.0.len().saturating_sub(SAID);
        self.0.drain(..over);
    }
}

/// How long output is waited for.
struct Patience {
    silence: Duration,
    stopped: Box<Stopped>,
}

impl Patience {
    /// Waits until one of `outputs` has something, at most as long as a silence may last that began at
    /// `begun`.
    fn wait(&self, outputs: &[BorrowedFd<'_>], begun: Instant) -> io::Result<()> {
        self.wait_for(outputs, begun, self.silence)
    }

    /// The same, at most for `silence`: an error of the kind `TimedOut`.
    fn wait_for(
        &self,
        outputs: &[BorrowedFd<'_>],
        begun: Instant,
        silence: Duration,
    ) -> io::Result<()> {
        loop {
            if (self.stopped)() {
                return Err(io::Error::other("nobody wants what it prints any more"));
            }
            let left = silence.saturating_sub(begun.elapsed());
            if left.is_zero() {
                let message = format!("it was silent for {silence:?}");
                return Err(io::Error::new(ErrorKind::TimedOut, message));
            }
            let mut fds: Vec<_> =
                outputs.iter().map(|output| PollFd::new(output, PollFlags::IN)).collect();
            match poll(&mut fds, Timespec::try_from(left.min(LOOK)).ok().as_ref()) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The output under way.
struct CommandFile {
    entry: Entry,
    output: Box<dyn Output>,
    at: u64,
    ended: bool,
}

impl CommandFile {
    /// What `why` and the command's own words come to.
    fn failed(&self, why: &dyn fmt::Display) -> ReadError {
        let said = escape(self.output.said().0.trim_ascii());
        let colon = if said.is_empty() { "" } else { ", and said: " };
        ReadError::other(&self.entry.path, format!("the command failed: {why}{colon}{said}"))
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
            if let Some(why) = self.output.end().map_err(|error| self.failed(&error))? {
                return Err(self.failed(&why));
            }
            self.ended = true;
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

/// How a command ended, by its exit code; `None` where all is well.
fn by_code(code: i32) -> Option<String> {
    (code != 0).then(|| format!("it ended with exit code {code}"))
}

/// How a command ended that did not end by itself.
const BY_SIGNAL: &str = "it was ended by a signal";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::SEARCH_PATH;

    fn environment() -> Vec<(OsString, OsString)> {
        vec![("PATH".into(), SEARCH_PATH.into())]
    }

    fn source(script: &str) -> CommandSource {
        let words = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let name = RelativePath::new(*b"all.sql").unwrap();
        let silence = Duration::from_secs(30);
        CommandSource::here(words, &name, environment(), silence, Box::new(|| false))
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
        let stopped = Box::new(|| false);
        let source = CommandSource::here(words, &name, environment(), silence, stopped);
        let error = source.open(&name).unwrap().read_at(0, &mut [0; 10]).unwrap_err();
        assert!(error.to_string().contains("silent"), "{error}");
    }

    #[test]
    fn nobody_waits_for_what_is_not_wanted() {
        let words = ["sleep".to_owned(), "1000".to_owned()].to_vec();
        let name = RelativePath::new(*b"all.sql").unwrap();
        let stopped = Box::new(|| true);
        let silence = Duration::from_secs(1000);
        let source = CommandSource::here(words, &name, environment(), silence, stopped);
        let error = source.open(&name).unwrap().read_at(0, &mut [0; 10]).unwrap_err();
        assert!(error.to_string().contains("nobody wants"), "{error}");
    }

    #[test]
    fn errors_without_end_hold_nothing_up() {
        // More of them than a pipe holds, before and after the output; and a child that keeps them open.
        let errors = "head -c 1000000 /dev/zero | tr '\\0' e >&2";
        let script = format!("{errors}; echo out; {errors}; sleep 1000 >/dev/null & exit 0");
        assert_eq!(read(&script).unwrap().0, b"out\n");
        let error = read(&format!("{errors}; echo last words >&2; exit 1")).unwrap_err();
        assert!(error.ends_with("last words") && error.len() < 3 << 10, "{error}");
    }

    #[test]
    fn who_goes_on_without_printing_is_not_waited_for() {
        let words = ["/bin/sh", "-c", "exec >&-; exec sleep 1000"].map(str::to_owned).to_vec();
        let name = RelativePath::new(*b"all.sql").unwrap();
        let silence = Duration::from_millis(50);
        let stopped = Box::new(|| false);
        let source = CommandSource::here(words, &name, environment(), silence, stopped);
        let error = source.open(&name).unwrap().read_at(0, &mut [0; 10]).unwrap_err();
        assert!(error.to_string().contains("silent"), "{error}");
    }
}
