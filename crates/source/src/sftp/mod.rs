//! A tree on another server, read over SFTP: no agent, nothing written there.
//!
//! The protocol says of an entry its sort, mode, numeric owners, size, and a time of whole seconds.
//! The rest comes from a shell of the account where it has one, and else is [`Source::losses`], so
//! that a pass can say what it lacks. Evidence is weak for the same reason: without ctime and inode,
//! size, time, mode and owners have to do, and whatever changed shortly before it was scanned is
//! read again.
//!
//! Every path is resolved by the server, which may be led by a link that takes the place of a
//! directory while it is read: the account's rights are what bounds a pass there.

mod algorithms;
pub mod answers;
mod batch;
mod client;
mod connect;
mod error;
mod file;
mod known_hosts;
pub mod packet;
mod pool;
mod shell;
mod walk;
mod wire;

use std::{
    ffi::OsString,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use drover_types::{
    Attributes, Entry, Evidence, Kind, RelativePath, Timestamp, limits, path::escape,
};
use rustix::io::Errno;

pub use algorithms::legacy_in as legacy_algorithms_in;
use answers::Tells;
use batch::Batches;
pub(crate) use client::{BLOCK, Failure, Sftp, channel};
pub use connect::SshSecrets;
pub(crate) use connect::session;
pub use error::SshError;
use file::SftpFile;
use packet::{DIRECTORY, FILE, FileAttributes, LINK, Request};
pub(crate) use pool::patiently;
use pool::{Lease, Pool};
use shell::Shell;
pub(crate) use wire::Wire;

use crate::{
    Cutter, Loss, ReadError, Source, SourceDescription, SourceError, SourceFile, Stat, Taker, Walk,
    WalkOptions,
};

/// How often an operation is begun again on a new connection.
const TRIES: usize = 4;

/// How long before its scan a change makes an entry one to read again: the two seconds that times
/// of whole seconds take, and a minute for a server whose clock is behind this machine's.
const RECENT_NANOS: i128 = 62_000_000_000;

/// How a server is reached, and as whom.
#[derive(Clone)]
pub struct SftpOptions {
    /// The URL, without a password: how snapshots and reports call the source.
    pub url: String,
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The account.
    pub user: String,
    /// The tree's root on the server: an absolute path, or one below the account's home.
    pub root: Vec<u8>,
    /// The way over a jump host, in place of a connection to `host` and `port`.
    pub proxy: Option<Proxy>,
    /// The only host key that counts, as `SHA256:…`; without it, known hosts count.
    pub host_key: Option<String>,
    /// The name that known hosts have the server under, where it is another than `host` and `port`.
    pub host_key_alias: Option<String>,
    /// Files of known hosts; what someone comes to trust is added to the first.
    pub known_hosts: Vec<PathBuf>,
    /// Private keys to offer.
    pub identities: Vec<PathBuf>,
    /// Nobody asked for these keys: one that is not there is none.
    pub identities_are_defaults: bool,
    /// Where the agent is asked for keys.
    pub agent: Agent,
    /// Of the agent's keys, offer only those whose public parts stand beside `identities`.
    pub identities_only: bool,
    /// Whether algorithms that are broken or weak may be used, for a server that knows no others.
    pub legacy_algorithms: bool,
    /// Whether a shell of the account may be asked what SFTP does not say.
    pub shell: bool,
    /// How long the server may take to answer anything before it counts as gone.
    pub answer: Duration,
    /// More names in one directory are no directory of files, but a server that makes them up.
    pub names: usize,
    /// Whom to ask.
    pub secrets: Arc<dyn SshSecrets>,
}

/// A program whose standard streams are a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// All that it finds in its environment.
    pub environment: Vec<(OsString, OsString)>,
}

/// Whether keys of an agent are offered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Agent {
    /// Those of the agent that `SSH_AUTH_SOCK` names.
    #[default]
    Default,
    /// Those of the agent at this socket.
    At(PathBuf),
    /// None.
    No,
}

impl SftpOptions {
    /// The server's root as an account without a name or a key; 30 seconds for an answer, four
    /// million names in a directory.
    pub fn new(url: String, host: &str, port: u16, secrets: Arc<dyn SshSecrets>) -> Self {
        Self {
            url,
            host: host.to_owned(),
            port,
            user: String::new(),
            root: b"/".to_vec(),
            proxy: None,
            host_key: None,
            host_key_alias: None,
            known_hosts: Vec::new(),
            identities: Vec::new(),
            identities_are_defaults: false,
            agent: Agent::Default,
            identities_only: false,
            legacy_algorithms: false,
            shell: true,
            answer: Duration::from_secs(30),
            names: 4_000_000,
            secrets,
        }
    }

    /// Host and port, as reports have them.
    pub fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Name and port that known hosts have the server under.
    fn known_as(&self) -> (&str, u16) {
        match &self.host_key_alias {
            Some(alias) => (alias, 22),
            None => (&self.host, self.port),
        }
    }
}

/// What SFTP does not say.
const LOSSES: [Loss; 8] = [
    Loss { class: "times finer than a second", of_files: false },
    Loss { class: "times before 1970 and after 2106", of_files: false },
    Loss { class: "times of the last change of attributes", of_files: false },
    Loss { class: "names of owners", of_files: false },
    Loss { class: "extended attributes and ACLs", of_files: false },
    Loss { class: "file flags", of_files: false },
    Loss { class: "hard links", of_files: true },
    Loss { class: "holes", of_files: true },
];

/// Which of [`LOSSES`] remain where a shell tells this much.
fn losses(tells: Tells) -> Vec<Loss> {
    let remains = |loss: &Loss| match loss.class {
        "times finer than a second" => !tells.fine_times,
        "extended attributes and ACLs" => !tells.xattrs,
        "file flags" | "holes" => true,
        _ => false,
    };
    LOSSES.into_iter().filter(remains).collect()
}

/// A directory of another server as a source.
pub struct SftpSource {
    tree: Arc<Tree>,
    algorithms: String,
    /// What the shell does not say either; empty where there is none.
    losses: Vec<Loss>,
}

/// What a source, its walks and its open files share.
struct Tree {
    pool: Arc<Pool>,
    /// The root as the server resolved it.
    root: Vec<u8>,
    /// Directories of which the shell did not tell all, so that SFTP had to do.
    by_sftp: AtomicU64,
}

impl SftpSource {
    /// Connects, and finds the root, which must be a directory. The way to it may hold symbolic
    /// links.
    pub fn open(options: SftpOptions) -> Result<Self, SourceError> {
        let url = options.url.clone();
        let failed = |source| SourceError::Ssh { url: url.clone(), source: Box::new(source) };
        let (host, root) = (options.place(), options.root.clone());
        let (pool, algorithms) = Pool::open(options).map_err(failed)?;
        let losses = pool.tells().map(losses).unwrap_or_default();
        let tree = Tree { pool, root, by_sftp: AtomicU64::new(0) };
        let answered = |source| failed(SshError::Server { host: host.clone(), source });
        let real = tree
            .ask(|sftp| {
                let ticket = sftp.ask(Request::RealPath(&tree.at(&RelativePath::root())));
                sftp.name(ticket)
            })
            .map_err(answered)?;
        if real.len() > limits::SYMLINK {
            return Err(answered(io::Error::other("the path of the root is too long")));
        }
        let tree = Tree { root: real, ..tree };
        let shown = || PathBuf::from(url.clone());
        match tree.root() {
            Ok(stat) if kind_of(&stat) == Some(Kind::Directory) => {}
            Ok(_) => return Err(SourceError::NotADirectory(shown())),
            Err(error) => return Err(SourceError::new(shown(), error)),
        }
        Ok(Self { tree: Arc::new(tree), algorithms, losses })
    }
}

impl Tree {
    /// The path on the server.
    fn at(&self, path: &RelativePath) -> Vec<u8> {
        let mut bytes = self.root.clone();
        if !path.is_root() {
            if bytes.last() != Some(&b'/') {
                bytes.push(b'/');
            }
            bytes.extend_from_slice(path.as_bytes());
        }
        bytes
    }

    /// What the root is.
    fn root(&self) -> io::Result<FileAttributes> {
        let at = self.at(&RelativePath::root());
        self.ask(|sftp| {
            let ticket = sftp.ask(Request::Stat(&at));
            sftp.attributes(ticket)
        })
    }

    /// Asks the shell, on a new connection where one broke. `None` where there is no shell.
    fn ask_shell<T>(
        &self,
        mut question: impl FnMut(&mut Shell) -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        if self.pool.tells().is_none() {
            return Ok(None);
        }
        let mut tries = 0;
        loop {
            let mut lease = self.pool.take().map_err(io::Error::other)?;
            let answer = match lease.shell() {
                Some(shell) => question(shell),
                None => return Ok(None),
            };
            tries += 1;
            match answer {
                Ok(answer) => return Ok(Some(answer)),
                Err(error) => {
                    lease.give_up();
                    if tries == TRIES {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Asks the server, on a new connection where one broke.
    fn ask<T>(&self, question: impl FnMut(&mut Sftp) -> Result<T, Failure>) -> io::Result<T> {
        self.ask_keeping(question).map(|(answer, _)| answer)
    }

    /// The same, with the connection that the answer came on.
    fn ask_keeping<T>(
        &self,
        mut question: impl FnMut(&mut Sftp) -> Result<T, Failure>,
    ) -> io::Result<(T, Lease)> {
        let mut tries = 0;
        loop {
            let mut lease = self.pool.take().map_err(io::Error::other)?;
            tries += 1;
            match question(lease.sftp()) {
                Ok(answer) => return Ok((answer, lease)),
                Err(Failure::Broken(error)) => {
                    lease.give_up();
                    if tries == TRIES {
                        return Err(broken(&error));
                    }
                }
                Err(failure) => return Err(answered(failure)),
            }
        }
    }
}

fn broken(error: &io::Error) -> io::Error {
    io::Error::other(format!("the connection broke {TRIES} times, at last: {error}"))
}

/// What a server's status means.
pub(crate) fn answered(failure: Failure) -> io::Error {
    match failure {
        // No such file, no such path.
        Failure::Status { code: 2 | 10, .. } => Errno::NOENT.into(),
        Failure::Status { code: 3, .. } => Errno::ACCESS.into(),
        failure => io::Error::other(format!("the server answers: {failure}")),
    }
}

/// What sort of thing it is; `None` where the server does not say, and for devices, whose numbers
/// it does not say.
fn kind_of(stat: &FileAttributes) -> Option<Kind> {
    Some(match stat.sort() {
        DIRECTORY => Kind::Directory,
        FILE => Kind::File,
        LINK => Kind::Symlink { target: Box::default() },
        0o010_000 => Kind::Fifo,
        0o140_000 => Kind::Socket,
        _ => return None,
    })
}

/// In the project's types. `scanned` was taken before the server was asked.
fn convert(stat: &FileAttributes, scanned: Timestamp) -> Option<Stat> {
    let kind = kind_of(stat)?;
    let mtime = Timestamp { seconds: stat.mtime.unwrap_or(0).into(), nanos: 0 };
    let size = stat.size.unwrap_or(0);
    let (uid, gid) = stat.owners.unwrap_or((0, 0));
    Some(Stat {
        kind,
        attributes: Attributes {
            mode: stat.mode.unwrap_or(0) & 0o7777,
            uid,
            gid,
            mtime,
            ..Attributes::default()
        },
        evidence: Evidence {
            device: 0,
            inode: 0,
            links: 1,
            size,
            // Nobody knows of holes.
            allocated: size,
            ctime: None,
            racy: mtime.as_nanos() > scanned.as_nanos() - RECENT_NANOS,
        },
    })
}

impl Source for SftpSource {
    fn description(&self) -> SourceDescription {
        let options = &self.tree.pool.options;
        SourceDescription {
            kind: "sftp",
            host: options.host.clone(),
            root: options.url.as_bytes().into(),
            user: options.user.clone(),
            privileged: options.user == "root",
            file_system: 0,
            connection: self.algorithms.clone(),
        }
    }

    fn losses(&self) -> &[Loss] {
        let by_shell = self.tree.pool.tells().is_some();
        match by_shell && self.tree.by_sftp.load(Ordering::Relaxed) == 0 {
            true => &self.losses,
            false => &LOSSES,
        }
    }

    fn walk(&self, options: &WalkOptions) -> Result<Walk, SourceError> {
        walk::start(&self.tree, options)
    }

    fn open(&self, path: &RelativePath) -> Result<Box<dyn SourceFile>, ReadError> {
        Ok(Box::new(SftpFile::open(&self.tree, path)?))
    }

    fn complete(&self, entry: &mut Entry) -> Result<(), ReadError> {
        self.tree.complete(entry)
    }

    /// Nothing is cut or hashed there; but batches of files come in a few round trips.
    fn taker(&self, _: &Cutter) -> Option<Box<dyn Taker>> {
        Some(Box::new(Batches::new(&self.tree)))
    }
}

impl Tree {
    /// [`Source::complete`].
    fn complete(&self, entry: &mut Entry) -> Result<(), ReadError> {
        let failed = |error| ReadError::new(&entry.path, error);
        let at = self.at(&entry.path);
        if self.pool.tells().is_some_and(|tells| tells.xattrs) {
            match self.ask_shell(|shell| shell.xattrs(&at)).map_err(failed)? {
                Some(Some(xattrs)) => entry.attributes.xattrs = xattrs,
                // Whether it is still there says SFTP better.
                Some(None) => {
                    self.ask(|sftp| {
                        let ticket = sftp.ask(Request::Lstat(&at));
                        sftp.attributes(ticket)
                    })
                    .map_err(failed)?;
                    return Err(unreadable(&entry.path));
                }
                None => return Err(unreadable(&entry.path)),
            }
        }
        let Kind::Symlink { target } = &mut entry.kind else { return Ok(()) };
        let found = self.ask(|sftp| {
            let ticket = sftp.ask(Request::ReadLink(&at));
            sftp.name(ticket)
        });
        let found = found.map_err(failed)?;
        if found.len() > limits::SYMLINK {
            return Err(ReadError::other(&entry.path, "the link's target is too long"));
        }
        *target = found.into_boxed_slice();
        Ok(())
    }
}

fn unreadable(path: &RelativePath) -> ReadError {
    ReadError::other(path, "its extended attributes cannot be read")
}

/// Whether both say of one file what SFTP can say.
fn says_the_same(strong: &Stat, weak: &FileAttributes) -> bool {
    let (attributes, evidence) = (&strong.attributes, &strong.evidence);
    let mtime = attributes.mtime.seconds.rem_euclid(1 << 32);
    weak.size == Some(evidence.size)
        && mtime == weak.mtime.unwrap_or(0).into()
        && weak.mode.unwrap_or(0) & 0o7777 == attributes.mode
        && weak.owners == Some((attributes.uid, attributes.gid))
}

/// A name that a server gave, if it is one.
fn checked_name(name: &[u8], room: usize) -> Result<(), String> {
    let why = match name {
        b"" => "it is empty",
        _ if name.contains(&b'/') || name.contains(&0) => "it is no name",
        _ if name.len() > limits::COMPONENT => "a name over 255 bytes cannot be kept",
        _ if name.len() > room => "its path would be too long",
        _ => return Ok(()),
    };
    Err(format!("{}: {why}", escape(&name[..name.len().min(limits::COMPONENT)])))
}
