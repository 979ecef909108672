//! A tree on another server, read over SFTP: no agent, nothing written there.
//!
//! What the protocol says of an entry is what there is: sort, mode, numeric owners, size, and a
//! time of whole seconds. The rest is [`Source::losses`], so that a pass can say what it lacks.
//! Evidence is weak for the same reason: without ctime and inode, size, time, mode and owners have
//! to do, and whatever changed shortly before it was scanned is read again.
//!
//! Every path is resolved by the server, which may be led by a link that takes the place of a
//! directory while it is read: the account's rights are what bounds a pass there.

mod connect;
mod error;
mod known_hosts;
mod pool;
mod walk;

use std::{
    ffi::OsStr,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::PathBuf,
    sync::Arc,
};

use drover_types::{
    Attributes, Entry, Evidence, Kind, RelativePath, Timestamp, clock, limits, path::escape,
};
use rustix::io::Errno;
use ssh2::{ErrorCode, FileStat, Sftp};

pub use connect::SshSecrets;
pub(crate) use connect::session;
pub use error::SshError;
use pool::{Lease, Pool};

use crate::{
    Loss, ReadError, Source, SourceDescription, SourceError, SourceFile, Stat, Walk, WalkOptions,
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
    /// The only host key that counts, as `SHA256:…`; without it, known hosts count.
    pub host_key: Option<String>,
    /// Files of known hosts; what someone comes to trust is added to the first.
    pub known_hosts: Vec<PathBuf>,
    /// Private keys to offer.
    pub identities: Vec<PathBuf>,
    /// Nobody asked for these keys: one that is not there is none.
    pub identities_are_defaults: bool,
    /// Whom to ask.
    pub secrets: Arc<dyn SshSecrets>,
}

impl SftpOptions {
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// What SFTP does not say. Of which entries is in the second part.
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

/// A directory of another server as a source.
pub struct SftpSource {
    tree: Arc<Tree>,
    algorithms: String,
}

/// What a source, its walks and its open files share.
struct Tree {
    pool: Arc<Pool>,
    /// The root as the server resolved it.
    root: Vec<u8>,
}

impl SftpSource {
    /// Connects, and finds the root, which must be a directory. The way to it may hold symbolic
    /// links.
    pub fn open(options: SftpOptions) -> Result<Self, SourceError> {
        let url = options.url.clone();
        let failed = |source| SourceError::Ssh { url: url.clone(), source: Box::new(source) };
        let (host, root) = (options.place(), options.root.clone());
        let (pool, algorithms) = Pool::open(options).map_err(failed)?;
        let tree = Tree { pool, root };
        let answered = |source| failed(SshError::Server { host: host.clone(), source });
        let real =
            tree.ask(|sftp| sftp.realpath(&tree.at(&RelativePath::root()))).map_err(answered)?;
        let tree = Tree { root: real.into_os_string().into_vec(), ..tree };
        let shown = || PathBuf::from(url.clone());
        match tree.ask(|sftp| sftp.stat(&tree.at(&RelativePath::root()))) {
            Ok(stat) if kind_of(&stat) == Some(Kind::Directory) => {}
            Ok(_) => return Err(SourceError::NotADirectory(shown())),
            Err(error) => return Err(SourceError::new(shown(), error)),
        }
        Ok(Self { tree: Arc::new(tree), algorithms })
    }
}

impl Tree {
    /// The path on the server.
    fn at(&self, path: &RelativePath) -> PathBuf {
        let mut bytes = self.root.clone();
        if !path.is_root() {
            if bytes.last() != Some(&b'/') {
                bytes.push(b'/');
            }
            bytes.extend_from_slice(path.as_bytes());
        }
        PathBuf::from(OsStr::from_bytes(&bytes))
    }

    /// Asks the server, on a new connection where one broke.
    fn ask<T>(&self, question: impl FnMut(&Sftp) -> Result<T, ssh2::Error>) -> io::Result<T> {
        self.ask_keeping(question).map(|(answer, _)| answer)
    }

    /// The same, with the connection that the answer came on.
    fn ask_keeping<T>(
        &self,
        mut question: impl FnMut(&Sftp) -> Result<T, ssh2::Error>,
    ) -> io::Result<(T, Lease)> {
        let mut tries = 0;
        loop {
            let mut lease = self.pool.take().map_err(io::Error::other)?;
            tries += 1;
            match question(&lease) {
                Ok(answer) => return Ok((answer, lease)),
                Err(error) if is_of_the_connection(&error) => {
                    lease.give_up();
                    if tries == TRIES {
                        return Err(broken(&error));
                    }
                }
                Err(error) => return Err(answered(&error)),
            }
        }
    }
}

/// Whether the error says nothing about what was asked for, but that the connection is of no use.
fn is_of_the_connection(error: &ssh2::Error) -> bool {
    match error.code() {
        ErrorCode::Session(_) => true,
        // No connection, connection lost.
        ErrorCode::SFTP(code) => matches!(code, 6 | 7),
    }
}

fn broken(error: &ssh2::Error) -> io::Error {
    io::Error::other(format!("the connection broke {TRIES} times, at last: {}", error.message()))
}

/// What a server's status means.
fn answered(error: &ssh2::Error) -> io::Error {
    match error.code() {
        // No such file, no such path.
        ErrorCode::SFTP(2 | 10) => Errno::NOENT.into(),
        ErrorCode::SFTP(3) => Errno::ACCESS.into(),
        _ => io::Error::other(format!("the server answers: {}", error.message())),
    }
}

/// What sort of thing it is; `None` where the server does not say, and for devices, whose numbers
/// it does not say.
fn kind_of(stat: &FileStat) -> Option<Kind> {
    use ssh2::FileType;
    Some(match stat.file_type() {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => Kind::File,
        FileType::Symlink => Kind::Symlink { target: Box::default() },
        FileType::NamedPipe => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::CharDevice | FileType::BlockDevice | FileType::Other(_) => return None,
    })
}

/// In the project's types. `scanned` was taken before the server was asked.
fn convert(stat: &FileStat, scanned: Timestamp) -> Option<Stat> {
    let kind = kind_of(stat)?;
    let seconds = i64::try_from(stat.mtime.unwrap_or(0)).unwrap_or(i64::MAX);
    let mtime = Timestamp { seconds, nanos: 0 };
    let size = stat.size.unwrap_or(0);
    Some(Stat {
        kind,
        attributes: Attributes {
            mode: stat.perm.unwrap_or(0) & 0o7777,
            uid: stat.uid.unwrap_or(0),
            gid: stat.gid.unwrap_or(0),
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
        &LOSSES
    }

    fn walk(&self, options: &WalkOptions) -> Result<Walk, SourceError> {
        walk::start(&self.tree, options)
    }

    fn open(&self, path: &RelativePath) -> Result<Box<dyn SourceFile>, ReadError> {
        let opened = Opened::new(&self.tree, path)?;
        Ok(Box::new(SftpFile { tree: Arc::clone(&self.tree), path: path.clone(), opened }))
    }

    fn complete(&self, entry: &mut Entry) -> Result<(), ReadError> {
        let failed = |error| ReadError::new(&entry.path, error);
        let Kind::Symlink { target } = &mut entry.kind else { return Ok(()) };
        let at = self.tree.at(&entry.path);
        let found = self.tree.ask(|sftp| sftp.readlink(&at)).map_err(failed)?;
        let found = found.into_os_string().into_vec();
        if found.len() > limits::SYMLINK {
            return Err(ReadError::other(&entry.path, "the link's target is too long"));
        }
        *target = found.into_boxed_slice();
        Ok(())
    }
}

/// An open regular file.
struct SftpFile {
    tree: Arc<Tree>,
    path: RelativePath,
    opened: Opened,
}

/// A file as one connection has it open.
struct Opened {
    file: ssh2::File,
    lease: Lease,
    /// What it is, as the server said last.
    stat: FileStat,
    /// When that was asked.
    scanned: Timestamp,
    /// The stat that [`Opened::new`] took is not told to anyone yet.
    fresh: bool,
    /// Where the next byte is read.
    position: u64,
}

impl Opened {
    fn new(tree: &Tree, path: &RelativePath) -> Result<Self, ReadError> {
        let scanned = clock::now();
        let at = tree.at(path);
        let ((file, stat), lease) = tree
            .ask_keeping(|sftp| {
                let mut file = sftp.open(&at)?;
                let stat = file.stat()?;
                Ok((file, stat))
            })
            .map_err(|error| ReadError::new(path, error))?;
        if kind_of(&stat) != Some(Kind::File) {
            return Err(ReadError::changed(path, "it is no regular file any more"));
        }
        Ok(Self { file, lease, stat, scanned, fresh: true, position: 0 })
    }
}

impl SftpFile {
    /// Does something with the file; where the connection breaks, once more on a new one, if the
    /// file is still the same.
    fn with<T>(
        &mut self,
        mut action: impl FnMut(&mut Opened) -> Result<T, ssh2::Error>,
    ) -> Result<T, ReadError> {
        for _ in 0..TRIES {
            match action(&mut self.opened) {
                Err(error) if is_of_the_connection(&error) => self.reopen()?,
                answer => {
                    return answer.map_err(|e| ReadError::new(&self.path, answered(&e)));
                }
            }
        }
        let message = format!("the connection broke {TRIES} times at one place of it");
        Err(ReadError::other(&self.path, message))
    }

    /// Opens it anew, and makes sure that it is the same file as before.
    fn reopen(&mut self) -> Result<(), ReadError> {
        self.opened.lease.give_up();
        let before = self.opened.stat.clone();
        let again = Opened::new(&self.tree, &self.path)?;
        if (again.stat.size, again.stat.mtime) != (before.size, before.mtime) {
            return Err(ReadError::changed(
                &self.path,
                "it changed while the connection to the server was lost",
            ));
        }
        self.opened = again;
        Ok(())
    }
}

impl SourceFile for SftpFile {
    fn stat(&mut self) -> Result<Stat, ReadError> {
        if !std::mem::take(&mut self.opened.fresh) {
            let scanned = clock::now();
            let stat = self.with(|opened| opened.file.stat())?;
            (self.opened.stat, self.opened.scanned) = (stat, scanned);
        }
        convert(&self.opened.stat, self.opened.scanned)
            .filter(|stat| stat.kind == Kind::File)
            .ok_or_else(|| ReadError::changed(&self.path, "it is no regular file any more"))
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let read = self.with(|opened| {
            let failed = |error: io::Error| {
                error.downcast::<ssh2::Error>().unwrap_or_else(|_| ssh2::Error::unknown())
            };
            if opened.position != offset {
                opened.file.seek(SeekFrom::Start(offset)).map_err(failed)?;
                opened.position = offset;
            }
            opened.file.read(buffer).map_err(failed)
        })?;
        self.opened.position += read as u64;
        Ok(read)
    }

    /// All that is left, as long as the file was when it was last asked about: one that grows for
    /// ever is read to no further.
    fn next_data(&mut self, offset: u64) -> Result<Option<Range<u64>>, ReadError> {
        let size = self.opened.stat.size.unwrap_or(0);
        Ok((offset < size).then_some(offset..size))
    }

    fn complete(&mut self, _: &mut Attributes) -> Result<(), ReadError> {
        Ok(())
    }
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
    Err(format!("{}: {why}", escape(name)))
}
