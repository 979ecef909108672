//! What a shell on the server tells of entries, and SFTP does not.
//!
//! Where the account has a shell, and GNU find is there, a channel beside the SFTP one runs
//! `/bin/sh`, which is given commands that only read: `find -printf` for one directory or one entry,
//! and `getfattr`. A question is one round trip, as a listing by SFTP is; where several are asked
//! before the first answer is taken, all of them are one.
//!
//! Answers are fields that end with NUL, a byte that is in no name. After those of a question come
//! an empty one, which no entry begins with, and the command's status. Nothing that a tree holds can
//! be taken for either. A path goes to the shell between single quotes.

use std::{
    io::{self, Read, Write},
    ops::ControlFlow,
    sync::Arc,
};

use drover_types::{Attributes, Evidence, Kind, Timestamp, Xattr, limits};
use ssh2::{Channel, Session};

use super::RECENT_NANOS;
use crate::Stat;

/// How many times longer than any other answer a command may take: a listing is sorted before any
/// of it comes.
const PATIENCE: u32 = 4;
/// The longest field, in bytes: what `getfattr` prints of all the attributes that a file can have.
const LONGEST: usize = 4 * limits::XATTRS;
/// The longest field of what `find` prints: a name, a number, an owner's name.
const LONGEST_OF_FIND: usize = 4096;

/// What `find` prints of an entry after its name or path: sort, permissions, owners by number and by
/// name, size, mtime, ctime, device, inode, links, blocks of 512 bytes.
const FORMAT: &str = r"\0%y\0%m\0%U\0%G\0%u\0%g\0%s\0%T@\0%C@\0%D\0%i\0%n\0%b\0";
/// How many fields follow the name.
const FIELDS: usize = 13;

/// A shell that waits for questions.
pub(super) struct Shell {
    session: Session,
    channel: Channel,
    /// What came and was not looked at yet.
    buffer: Vec<u8>,
    position: usize,
    /// What else than `find` there is.
    pub(super) tells: Tells,
}

/// What the commands of a server tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tells {
    /// Times finer than a second.
    pub(super) fine_times: bool,
    /// Extended attributes, ACLs among them.
    pub(super) xattrs: bool,
}

/// An entry as the shell tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) name: Box<[u8]>,
    /// `None` for what no file system of drover's knows, and for devices, whose numbers are asked
    /// for apart.
    pub(super) kind: Option<Kind>,
    /// The letter that `find` has for its sort.
    sort: u8,
    mode: u32,
    uid: u32,
    gid: u32,
    user: Option<Arc<str>>,
    group: Option<Arc<str>>,
    pub(super) size: u64,
    pub(super) mtime: Timestamp,
    ctime: Timestamp,
    device: u64,
    inode: u64,
    links: u32,
    blocks: u64,
}

impl Shell {
    /// Asks for a shell; `None` where there is none, or none with GNU find.
    pub(super) fn open(session: &Session) -> Option<Self> {
        let mut channel = session.channel_session().ok()?;
        channel.exec("exec /bin/sh").ok()?;
        let mut shell = Self {
            session: session.clone(),
            channel,
            buffer: Vec::new(),
            position: 0,
            tells: Tells::default(),
        };
        shell.probe().ok()??;
        Some(shell)
    }

    fn probe(&mut self) -> io::Result<Option<()>> {
        self.say(b"LC_ALL=C; export LC_ALL; umask 077; printf 'ready\\0'")?;
        self.ask(b"find / -maxdepth 0 -printf '%T@ %C@ %D %i %n %b'")?;
        self.ask(b"getfattr -h -d -m - -e hex --absolute-names /")?;
        if self.field(LONGEST_OF_FIND)? != b"ready" {
            return Ok(None);
        }
        let (status, found) = self.output()?;
        let found = String::from_utf8_lossy(&found).into_owned();
        let parts: Vec<_> = found.split(' ').collect();
        let whole = |text: &&str| text.parse::<u64>().is_ok();
        let times = |text: &&str| timestamp(text.as_bytes()).is_some();
        if status != 0
            || parts.len() != 6
            || !parts[..2].iter().all(times)
            || !parts[2..].iter().all(whole)
        {
            return Ok(None);
        }
        self.tells.fine_times = parts[0].contains('.');
        self.tells.xattrs = self.output()?.0 == 0;
        Ok(Some(()))
    }

    /// Asks for the entries of the directory at `path`: [`Self::listed`].
    pub(super) fn ask_list(&mut self, path: &[u8]) -> io::Result<()> {
        let mut command = b"find".to_vec();
        append(&mut command, &[path], b"/.");
        command.extend_from_slice(b" -mindepth 1 -maxdepth 1");
        self.find(command, "%f")
    }

    /// Asks for the entries of several directories by one command: [`Self::listed`] tells those of each after
    /// the directory itself, which is called `.` there.
    pub(super) fn ask_lists(&mut self, paths: &[&[u8]]) -> io::Result<()> {
        let mut command = b"find".to_vec();
        append(&mut command, paths, b"/.");
        command.extend_from_slice(b" -maxdepth 1");
        self.find(command, "%f")
    }

    /// Tells the entries of the directory that was asked for one by one, as the server has them; ends
    /// early where `take` says so, after which the shell is of no use any more. Whether all were told.
    pub(super) fn listed(
        &mut self,
        mut take: impl FnMut(Told) -> ControlFlow<()>,
    ) -> io::Result<bool> {
        let mut last = None;
        loop {
            let told = match self.entry(last.as_ref())? {
                Ok(told) => told,
                Err(status) => return Ok(status == 0),
            };
            if take(told.clone()).is_break() {
                return Ok(false);
            }
            last = Some(told);
        }
    }

    /// What is at `path`; a link is not followed. `None` where nothing can be seen.
    pub(super) fn stat(&mut self, path: &[u8]) -> io::Result<Option<Told>> {
        self.ask_stats(&[path])?;
        Ok(self.stats(&[path])?.pop().flatten())
    }

    /// Asks what is at each of `paths`: [`Self::stats`].
    pub(super) fn ask_stats(&mut self, paths: &[&[u8]]) -> io::Result<()> {
        let mut command = b"find".to_vec();
        append(&mut command, paths, b"");
        command.extend_from_slice(b" -maxdepth 0");
        self.find(command, "%p")
    }

    /// What is at each of the paths that were asked for; `None` where nothing can be seen.
    pub(super) fn stats(&mut self, paths: &[&[u8]]) -> io::Result<Vec<Option<Told>>> {
        let mut found = Vec::with_capacity(paths.len());
        let mut last = None;
        // It tells them in order, and leaves out what it does not see.
        while let Ok(told) = self.entry(last.as_ref())? {
            let left = paths.get(found.len()..).unwrap_or_default();
            let missing = left.iter().position(|path| **path == *told.name).ok_or_else(nonsense)?;
            found.resize(found.len() + missing, None);
            last = Some(told.clone());
            found.push(Some(told));
        }
        found.resize(paths.len(), None);
        Ok(found)
    }

    /// Major and minor number of the device at `path`.
    pub(super) fn device(&mut self, path: &[u8]) -> io::Result<Option<(u32, u32)>> {
        let mut command = b"stat -c '%t %T' ".to_vec();
        quote(&mut command, path);
        self.ask(&command)?;
        let (status, answer) = self.output()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let number = |text: &str| u32::from_str_radix(text, 16).ok();
        let numbers = answer.trim_end().split_once(' ').filter(|_| status == 0);
        Ok(numbers.and_then(|(major, minor)| Some((number(major)?, number(minor)?))))
    }

    /// The extended attributes of what is at `path`, a link itself; sorted by name. `None` where
    /// they cannot be read.
    pub(super) fn xattrs(&mut self, path: &[u8]) -> io::Result<Option<Vec<Xattr>>> {
        self.ask_all_xattrs(&[path])?;
        Ok(self.all_xattrs(&[path])?.and_then(|mut all| all.pop()))
    }

    /// Asks for the extended attributes of each of `paths`: [`Self::all_xattrs`].
    pub(super) fn ask_all_xattrs(&mut self, paths: &[&[u8]]) -> io::Result<()> {
        let mut command = b"getfattr -h -d -m - -e hex --absolute-names".to_vec();
        append(&mut command, paths, b"");
        self.ask(&command)
    }

    /// The extended attributes of each of the paths that were asked for. `None` where those of one
    /// cannot be read.
    pub(super) fn all_xattrs(&mut self, paths: &[&[u8]]) -> io::Result<Option<Vec<Vec<Xattr>>>> {
        let (status, text) = self.output()?;
        Ok(xattrs(&text, paths).filter(|_| status == 0))
    }

    /// Asks `find`, and has the end of its answer marked.
    fn find(&mut self, mut command: Vec<u8>, name: &str) -> io::Result<()> {
        command.extend_from_slice(b" -printf '");
        command.extend_from_slice(name.as_bytes());
        command.extend_from_slice(FORMAT.as_bytes());
        command.push(b'\'');
        self.ask(&command)
    }

    /// The next entry, or the status with which the command ended.
    fn entry(&mut self, last: Option<&Told>) -> io::Result<Result<Told, u32>> {
        let name = self.field(LONGEST_OF_FIND)?;
        if name.is_empty() {
            let status = self.field(LONGEST_OF_FIND)?;
            return number(&status).map(Err).ok_or_else(nonsense);
        }
        let mut fields = Vec::with_capacity(FIELDS);
        for _ in 0..FIELDS {
            fields.push(self.field(LONGEST_OF_FIND)?);
        }
        told(name, &fields, last).map(Ok).ok_or_else(nonsense)
    }

    /// Has a command run whose answer ends with its status.
    fn ask(&mut self, command: &[u8]) -> io::Result<()> {
        let mut line = command.to_vec();
        line.extend_from_slice(b" </dev/null 2>/dev/null; printf '\\0%d\\0' $?");
        self.say(&line)
    }

    /// The status of a command that prints no NUL, and what it printed.
    fn output(&mut self) -> io::Result<(u32, Vec<u8>)> {
        let output = self.field(LONGEST)?;
        let status = self.field(LONGEST_OF_FIND)?;
        Ok((number(&status).ok_or_else(nonsense)?, output))
    }

    fn say(&mut self, command: &[u8]) -> io::Result<()> {
        // Not flushed: libssh2 sends at once, and its flush throws away answers that were not read yet.
        self.channel.write_all(command)?;
        self.channel.write_all(b"\n")
    }

    /// The bytes up to the next NUL, at most `most`.
    fn field(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let mut searched = self.position;
        loop {
            if let Some(at) = self.buffer[searched..].iter().position(|&b| b == 0) {
                let field = self.buffer[self.position..searched + at].to_vec();
                self.position = searched + at + 1;
                return Ok(field);
            }
            if self.buffer.len() - self.position > most {
                return Err(nonsense());
            }
            self.buffer.drain(..self.position);
            self.position = 0;
            searched = self.buffer.len();
            let mut piece = [0; 32 << 10];
            let usual = self.session.timeout();
            self.session.set_timeout(usual.saturating_mul(PATIENCE));
            let read = self.channel.read(&mut piece);
            self.session.set_timeout(usual);
            match read? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.buffer.extend_from_slice(&piece[..read]),
            }
        }
    }
}

impl Told {
    /// It is a device, whose numbers are to be asked for.
    pub(super) fn is_device(&self) -> bool {
        matches!(self.sort, b'c' | b'b')
    }

    /// The sort of a device with these numbers.
    pub(super) fn device(&self, (major, minor): (u32, u32)) -> Kind {
        match self.sort {
            b'c' => Kind::CharDevice { major, minor },
            _ => Kind::BlockDevice { major, minor },
        }
    }

    /// In the project's types. `scanned` was taken before the server was asked.
    pub(super) fn into_stat(self, kind: Kind, scanned: Timestamp) -> Stat {
        let recent = scanned.as_nanos() - RECENT_NANOS;
        Stat {
            kind,
            attributes: Attributes {
                mode: self.mode,
                uid: self.uid,
                gid: self.gid,
                user: self.user,
                group: self.group,
                mtime: self.mtime,
                ..Attributes::default()
            },
            evidence: Evidence {
                device: self.device,
                inode: self.inode,
                links: self.links,
                size: self.size,
                allocated: self.blocks.saturating_mul(512),
                ctime: Some(self.ctime),
                racy: self.mtime.as_nanos() > recent || self.ctime.as_nanos() > recent,
            },
        }
    }
}

fn nonsense() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the server's shell answers nonsense")
}

/// Appends words that the shell takes as these paths, each with `end` behind it.
fn append(command: &mut Vec<u8>, paths: &[&[u8]], end: &[u8]) {
    for path in paths {
        command.push(b' ');
        quote(command, path);
        command.extend_from_slice(end);
    }
}

/// Appends `path` as the shell takes it for one word.
fn quote(command: &mut Vec<u8>, path: &[u8]) {
    command.push(b'\'');
    for &byte in path {
        match byte {
            b'\'' => command.extend_from_slice(b"'\\''"),
            byte => command.push(byte),
        }
    }
    command.push(b'\'');
}

fn number<T: std::str::FromStr>(field: &[u8]) -> Option<T> {
    str::from_utf8(field).ok()?.parse().ok()
}

/// Seconds and, after a point, nanoseconds with one digit more; the fraction counts upwards also
/// before 1970.
fn timestamp(field: &[u8]) -> Option<Timestamp> {
    let text = str::from_utf8(field).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    Some(Timestamp { seconds: seconds.parse().ok()?, nanos: nanos.parse().ok()? })
}

/// The name of an owner: `find` prints the number where there is none.
fn owner(field: &[u8], id: u32, last: Option<&Option<Arc<str>>>) -> Option<Arc<str>> {
    let name = str::from_utf8(field).ok()?;
    if name.is_empty() || name.len() > limits::OWNER_NAME || name == id.to_string() {
        return None;
    }
    match last {
        Some(Some(last)) if **last == *name => Some(last.clone()),
        _ => Some(Arc::from(name)),
    }
}

fn told(name: Vec<u8>, fields: &[Vec<u8>], last: Option<&Told>) -> Option<Told> {
    let [sort, mode, uid, gid, user, group, size, mtime, ctime, device, inode, links, blocks] =
        fields
    else {
        return None;
    };
    let [sort] = sort[..] else { return None };
    let (uid, gid) = (number(uid)?, number(gid)?);
    Some(Told {
        name: name.into_boxed_slice(),
        kind: match sort {
            b'd' => Some(Kind::Directory),
            b'f' => Some(Kind::File),
            b'l' => Some(Kind::Symlink { target: Box::default() }),
            b'p' => Some(Kind::Fifo),
            b's' => Some(Kind::Socket),
            _ => None,
        },
        sort,
        mode: u32::from_str_radix(str::from_utf8(mode).ok()?, 8).ok()? & 0o7777,
        uid,
        gid,
        user: owner(user, uid, last.map(|last| &last.user)),
        group: owner(group, gid, last.map(|last| &last.group)),
        size: number(size)?,
        mtime: timestamp(mtime)?,
        ctime: timestamp(ctime)?,
        device: number(device)?,
        inode: number(inode)?,
        links: number(links)?,
        blocks: number(blocks)?,
    })
}

/// Of what `getfattr -e hex` prints of `paths`, in their order: of each that has some a line with its
/// path, and `name=0x…` each. Bytes that are not plain in a path or name are `\` and three octal digits.
fn xattrs(text: &[u8], paths: &[&[u8]]) -> Option<Vec<Vec<Xattr>>> {
    let mut all: Vec<Vec<Xattr>> = Vec::new();
    let mut total = 0;
    for line in text.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
        if let Some(path) = line.strip_prefix(b"# file: ") {
            let path = unescape(path)?;
            let without = paths.get(all.len()..)?.iter().position(|asked| **asked == *path)?;
            all.resize(all.len() + without + 1, Vec::new());
            total = 0;
            continue;
        }
        let at = line.iter().position(|&b| b == b'=')?;
        let name = unescape(&line[..at])?;
        let digits = line[at + 1..].strip_prefix(b"0x")?;
        let value = data_encoding::HEXLOWER_PERMISSIVE.decode(digits).ok()?;
        total += name.len() + value.len();
        if name.is_empty() || name.contains(&0) || total > limits::XATTRS {
            return None;
        }
        let xattr = Xattr { name: name.into_boxed_slice(), value: value.into_boxed_slice() };
        all.last_mut()?.push(xattr);
    }
    for xattrs in &mut all {
        xattrs.sort_unstable();
        xattrs.dedup_by(|a, b| a.name == b.name);
    }
    all.resize(paths.len(), Vec::new());
    Some(all)
}

fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'\\' {
            let digits = str::from_utf8(tail.get(..3)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 8).ok()?);
            rest = &tail[3..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times() {
        let at = |text: &str| timestamp(text.as_bytes()).map(|t| (t.seconds, t.nanos));
        assert_eq!(at("1700000000.1234567890"), Some((1_700_000_000, 123_456_789)));
        assert_eq!(at("1700000000"), Some((1_700_000_000, 0)));
        assert_eq!(at("-468010433.2500000000"), Some((-468_010_433, 250_000_000)));
        for bad in ["", ".", "x", "1.x", "99999999999999999999"] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }

    #[test]
    fn attributes() {
        let text = b"# file: /tmp/x\nsystem.posix_acl_access=0x0200\nuser.empty=0x\n\
                     user.we\\075ird\\012n\\134x=0x00ff\n\n";
        let found = xattrs(text, &[b"/tmp/x"]).unwrap().remove(0);
        let names: Vec<_> = found.iter().map(|x| &*x.name).collect();
        assert_eq!(names, [&b"system.posix_acl_access"[..], b"user.empty", b"user.we=ird\nn\\x"]);
        assert_eq!(&*found[2].value, b"\0\xff");
        for bad in [&b"user.a"[..], b"user.a=0x0", b"user.a=\"x\"", b"=0x00", b"a\\9=0x00"] {
            let bad = [b"# file: /tmp/x\n", bad].concat();
            assert_eq!(xattrs(&bad, &[b"/tmp/x"]), None, "{bad:?}");
        }
        // Of a file that nobody asked about, and of none.
        assert_eq!(xattrs(text, &[b"/tmp/y"]), None);
        assert_eq!(xattrs(b"user.a=0x00\n", &[b"/tmp/x"]), None);
    }

    #[test]
    fn attributes_of_several() {
        let paths: [&[u8]; 4] = [b"/a", b"/b\n", b"/c\\", b"/d"];
        let text = b"# file: /b\\012\nuser.a=0x01\n\n# file: /c\\134\nuser.a=0x02\nuser.b=0x\n\n";
        let found = xattrs(text, &paths).unwrap();
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [0, 1, 2, 0]);
        assert_eq!(&*found[2][0].value, b"\x02");
        assert_eq!(xattrs(b"", &paths).unwrap().len(), 4);
        let turned: [&[u8]; 2] = [b"/c\\", b"/b\n"];
        assert_eq!(xattrs(text, &turned), None);
    }

    #[test]
    fn quoted() {
        let mut command = Vec::new();
        quote(&mut command, b"/it's $(here)\n\xff");
        assert_eq!(command, b"'/it'\\''s $(here)\n\xff'");
    }

    proptest! {
        #[test]
        fn whatever_a_server_answers_is_no_panic(text: Vec<u8>, fields: Vec<Vec<u8>>) {
            let _ = xattrs(&text, &[b"/a"]);
            let _ = timestamp(&text);
            let _ = told(text, &fields, None);
        }
    }
}
