//! What a shell on the server answers: entries as `find` prints them, attributes as `getfattr` does.
//!
//! Answers are fields that end with NUL, a byte that is in no name. After those of a question come
//! an empty one, which no entry begins with, and the command's status. Nothing that a tree holds can
//! be taken for either.

use std::{
    io::{self, Read},
    ops::ControlFlow,
    sync::Arc,
};

use drover_types::{Attributes, Evidence, Kind, Timestamp, Xattr, limits};

use super::RECENT_NANOS;
use crate::Stat;

/// The longest field, in bytes: what `getfattr` prints of all the attributes that a file can have.
const LONGEST: usize = 4 * limits::XATTRS;
/// The longest field of what `find` prints: a name, a number, an owner's name.
const LONGEST_OF_FIND: usize = 4096;
/// How many fields follow the name of an entry.
const FIELDS: usize = 13;

/// Takes the answers to what was asked, in the order of the questions.
pub struct Answers<R> {
    input: R,
    /// What came and was not looked at yet.
    buffer: Vec<u8>,
    position: usize,
}

/// What the commands of a server tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tells {
    /// Times finer than a second.
    pub fine_times: bool,
    /// Extended attributes, ACLs among them.
    pub xattrs: bool,
}

/// An entry as the shell tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Name or path, as it was asked for.
    pub name: Box<[u8]>,
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
    /// In bytes.
    pub size: u64,
    pub(super) mtime: Timestamp,
    ctime: Timestamp,
    device: u64,
    inode: u64,
    links: u32,
    blocks: u64,
}

impl<R: Read> Answers<R> {
    /// What is read from `input`.
    pub fn new(input: R) -> Self {
        Self { input, buffer: Vec::new(), position: 0 }
    }

    /// What the commands of the server tell; `None` where there is no shell, or none with GNU find.
    pub fn probe(&mut self) -> io::Result<Option<Tells>> {
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
        let fine_times = parts[0].contains('.');
        Ok(Some(Tells { fine_times, xattrs: self.output()?.0 == 0 }))
    }

    /// Tells the entries of the directory that was asked for one by one, as the server has them; ends
    /// early where `take` says so, after which the shell is of no use any more. Whether all were told.
    pub fn listed(&mut self, mut take: impl FnMut(Told) -> ControlFlow<()>) -> io::Result<bool> {
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

    /// What is at each of the paths that were asked for; `None` where nothing can be seen.
    pub fn stats(&mut self, paths: &[&[u8]]) -> io::Result<Vec<Option<Told>>> {
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

    /// Major and minor number of the device that was asked for.
    pub fn device(&mut self) -> io::Result<Option<(u32, u32)>> {
        let (status, answer) = self.output()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let number = |text: &str| u32::from_str_radix(text, 16).ok();
        let numbers = answer.trim_end().split_once(' ').filter(|_| status == 0);
        Ok(numbers.and_then(|(major, minor)| Some((number(major)?, number(minor)?))))
    }

    /// The extended attributes of each of the paths that were asked for. `None` where those of one
    /// cannot be read.
    pub fn all_xattrs(&mut self, paths: &[&[u8]]) -> io::Result<Option<Vec<Vec<Xattr>>>> {
        let (status, text) = self.output()?;
        Ok(xattrs(&text, paths).filter(|_| status == 0))
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

    /// The status of a command that prints no NUL, and what it printed.
    fn output(&mut self) -> io::Result<(u32, Vec<u8>)> {
        let output = self.field(LONGEST)?;
        let status = self.field(LONGEST_OF_FIND)?;
        Ok((number(&status).ok_or_else(nonsense)?, output))
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
            match self.input.read(&mut piece)? {
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

    proptest! {
        #[test]
        fn whatever_a_server_answers_is_no_panic(text: Vec<u8>, fields: Vec<Vec<u8>>) {
            let _ = xattrs(&text, &[b"/a"]);
            let _ = timestamp(&text);
            let _ = told(text, &fields, None);
        }
    }
}
