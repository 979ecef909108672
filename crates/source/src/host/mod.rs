//! A machine that is asked about itself: commands are run and files are read there, nothing is
//! written.
//!
//! A [`Host`] is this machine or one that is reached over SSH. Whatever it answers is bounded in time
//! and length, by who asks and not by the machine: a command that goes on too long is ended, output
//! that is too long is cut, and what is no regular file is not read.

mod holders;
mod local;
mod process;
mod remote;
mod sudo;

use std::{
    fmt, io,
    io::{Read, Write},
    time::Duration,
};

pub use holders::open_for_writing_on;
pub use local::LocalHost;
pub use remote::SshHost;
pub use remote::{line, quoted};
pub use sudo::{AsRoot, as_root};

/// Where programs are looked for, on every host: an account's own `PATH` may lead elsewhere, and
/// often lacks the folders of administrators' programs.
pub const SEARCH_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// At most this many names of a directory are listed.
pub const LONGEST_LISTING: usize = 10_000;

/// A command and what it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostCommand<'c> {
    /// The program and its arguments; no shell looks at them.
    pub words: &'c [&'c str],
    /// How long it may run.
    pub timeout: Duration,
    /// The most bytes that are kept of what it prints, of standard output and of errors each.
    pub most: usize,
}

/// What a command left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandOutput {
    /// Its exit code; `None` where a signal ended it.
    pub status: Option<i32>,
    /// The beginning of what it printed.
    pub stdout: Vec<u8>,
    /// The beginning of its errors.
    pub stderr: Vec<u8>,
    /// Whether it printed more than was kept.
    pub truncated: bool,
}

/// Which part of a file is wanted where it is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its beginning.
    Head,
    /// Its end: of logs. Files whose length the system does not know, such as those of `/proc`, are
    /// read from their beginning.
    Tail,
}

/// A file's content, or a part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileContent {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether there is more.
    pub truncated: bool,
}

/// What a name of a directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedKind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link: what it leads to is not looked at.
    Link,
    /// Something else.
    Other,
}

/// One name of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: ListedKind,
    /// Its permissions; 0 where the server does not say.
    pub mode: u32,
    /// Its owner's number; 0 where the server does not say.
    pub owner: u32,
    /// Its size in bytes.
    pub size: u64,
    /// When it was changed, in seconds since 1970.
    pub modified: i64,
}

/// Why a host does not answer.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No such program, file or listener.
    #[error("it is not there")]
    Missing,
    /// Not for this account.
    #[error("this account may not")]
    Denied,
    /// `sudo` does not let this account, for what it says.
    #[error("{0}")]
    Refused(String),
    /// It took too long, and was ended.
    #[error("it took longer than {0:?}")]
    TimedOut(Duration),
    /// Not a sort of file that is read, or not a sort of question that this host takes.
    #[error("{0}")]
    Unsuitable(&'static str),
    /// Anything else.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl HostError {
    /// Sorts an error of the system.
    fn of(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::ConnectionRefused => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::Denied,
            _ => Self::Io(error),
        }
    }
}

/// A connection to a port of a host.
pub trait HostStream: Read + Write + Send {}

impl<S: Read + Write + Send> HostStream for S {}

/// A machine that can be asked.
pub trait Host {
    /// How reports call it: host and port, or this machine's name.
    fn place(&self) -> &str;

    /// The account it is asked as.
    fn user(&self) -> &str;

    /// Runs a command to its end.
    fn run(&self, command: &HostCommand<'_>) -> Result<CommandOutput, HostError>;

    /// Reads at most `most` bytes of a regular file.
    fn read(&self, path: &str, part: Part, most: usize) -> Result<FileContent, HostError>;

    /// The names in a directory, in their order; at most [`LONGEST_LISTING`].
    fn list(&self, path: &str) -> Result<Vec<Listed>, HostError>;

    /// Connects to a port of the host, from the host itself where that can be done, so that what
    /// listens on its loopback is reached too. A read or a write that takes longer than `timeout`
    /// fails.
    fn connect(&self, port: u16, timeout: Duration) -> Result<Box<dyn HostStream>, HostError>;
}

impl fmt::Debug for dyn Host + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Host").field(&self.place()).finish()
    }
}

#[cfg(test)]
mod tests;
