//! What a landing in a bucket notes beside the objects (`docs/landing.md`, "Side manifest").
//!
//! Two objects: one says which snapshot is there and whether it is whole, the other has a line of
//! JSON for each entry, in the order of entries. What they say is a hint of which objects need
//! not be sent again; whoever verifies compares with the snapshot.

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Read, Seek, Write},
};

use data_encoding::BASE64;
use drover_repo::objects::Objects;
use drover_store::{Metadata, StoreError};
use drover_types::{Entry, Kind, RelativePath, Timestamp, limits, path::escape};
use serde::{Deserialize, Serialize};

use super::{
    key,
    parts::{PART, Whole},
};
use crate::{Error, merge::Ordered};

/// Which snapshot is there.
pub const STATE: &str = ".drover/landing.json";
/// Its entries.
pub const MANIFEST: &str = ".drover/manifest.jsonl";
const FORMAT: &str = "drover-landing/1";
/// The longest line, in bytes: a path, a link's target and attributes, in Base64.
const LINE: u64 = 8 << 20;
/// Bytes of the side manifest that are read at a time.
const READ: u64 = 8 << 20;
/// More than any side manifest has, in bytes.
const LONGEST: u64 = 64 << 30;

/// Which snapshot is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    format: String,
    /// The repository it came from.
    pub repository: String,
    /// The source within it.
    pub source: String,
    /// The snapshot.
    pub snapshot: String,
    /// Whether all of it is there; if not, it is under way or was cut off.
    pub complete: bool,
    /// Whether nothing else is there.
    pub whole: bool,
    /// How many entries could not be landed.
    pub exceptions: u64,
    /// When this was written, in seconds since 1970.
    pub time: String,
    /// The snapshot that was complete here before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    /// Landings of several snapshots were cut off since the side manifest was written: an object can
    /// be that of any of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mixed: bool,
}

impl State {
    /// Of a landing that begins now, where `known` was noted.
    pub fn under_way(
        repository: String,
        source: String,
        snapshot: String,
        known: Option<&Self>,
    ) -> Self {
        let cut_off = known.filter(|known| !known.complete);
        Self {
            format: FORMAT.to_owned(),
            repository,
            source,
            mixed: cut_off.is_some_and(|known| known.mixed || known.snapshot != snapshot),
            before: known.and_then(Self::last_complete).map(str::to_owned),
            snapshot,
            complete: false,
            whole: false,
            exceptions: 0,
            time: seconds(drover_types::clock::now()),
        }
    }

    /// The same of one that is done.
    pub fn done(self, whole: bool, exceptions: u64) -> Self {
        let time = seconds(drover_types::clock::now());
        Self { complete: true, whole, exceptions, time, mixed: false, ..self }
    }

    /// The snapshot that was complete here last.
    pub fn last_complete(&self) -> Option<&str> {
        match self.complete {
            true => Some(&self.snapshot),
            false => self.before.as_deref(),
        }
    }

    /// What is noted in a bucket; `None` where there is nothing, or something else.
    pub fn read(bucket: &Objects) -> Result<Option<Self>, Error> {
        let store = bucket.store();
        let Some((len, _)) = bucket.wait(store.plain_metadata(STATE))? else { return Ok(None) };
        if len > limits::SMALL_OBJECT as u64 {
            return Ok(None);
        }
        let bytes = bucket.wait(store.get_plain(STATE, 0..len))?;
        let state = serde_json::from_slice::<Self>(&bytes).ok();
        Ok(state.filter(|state| state.format == FORMAT))
    }

    pub fn write(&self, bucket: &Objects) -> Result<(), Error> {
        let json = serde_json::to_vec_pretty(self).map_err(|error| Error::Output(error.into()))?;
        let none = Metadata::new();
        Ok(bucket.wait(bucket.store().put_plain(STATE, json.into(), &none))?)
    }
}

/// Seconds since 1970 with nine decimals, rounded down.
pub fn seconds(time: Timestamp) -> String {
    format!("{}.{:09}", time.seconds, time.nanos)
}

/// Bytes as a line has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct TextBytes {
    /// Printable; `\xNN` stands for each byte that is not.
    text: String,
    /// Base64 of the bytes, where something had to be escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    b64: Option<String>,
}

impl TextBytes {
    fn new(bytes: &[u8]) -> Self {
        let text = escape(bytes);
        let b64 = (text.as_bytes() != bytes).then(|| BASE64.encode(bytes));
        Self { text, b64 }
    }

    fn bytes(&self) -> Option<Vec<u8>> {
        match &self.b64 {
            Some(b64) => BASE64.decode(b64.as_bytes()).ok(),
            None => Some(self.text.clone().into_bytes()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct XattrLine {
    name: TextBytes,
    /// Base64.
    value: String,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    path: TextBytes,
    kind: String,
    /// The object that holds a file's content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Of a file's content, as `b3sum` prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<String>,
    /// Of a further name of a file: the first one, whose object has the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link: Option<TextBytes>,
    /// Where a symlink points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<TextBytes>,
    /// Major and minor number of a device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device: Option<[u32; 2]>,
    /// Octal.
    mode: String,
    uid: u32,
    gid: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// Seconds since 1970 with nine decimals.
    mtime: String,
    /// As `FS_IOC_GETFLAGS` gives them.
    #[serde(default, skip_serializing_if = "is_zero")]
    flags: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    xattrs: Vec<XattrLine>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
fn is_zero(flags: &u32) -> bool {
    *flags == 0
}

impl Line {
    pub fn of(entry: &Entry) -> Self {
        let a = &entry.attributes;
        let has_object = entry.kind == Kind::File && entry.hard_link.is_none();
        let xattr = |x: &drover_types::Xattr| XattrLine {
            name: TextBytes::new(&x.name),
            value: BASE64.encode(&x.value),
        };
        Self {
            path: TextBytes::new(entry.path.as_bytes()),
            kind: entry.kind.as_str().to_owned(),
            key: has_object.then(|| key::of_path(&entry.path)),
            size: entry.content.as_ref().map(|content| content.size),
            blake3: entry.content.as_ref().map(|content| content.hash.to_hex()),
            link: entry.hard_link.as_ref().map(|first| TextBytes::new(first.as_bytes())),
            target: match &entry.kind {
                Kind::Symlink { target } => Some(TextBytes::new(target)),
                _ => None,
            },
            device: match entry.kind {
                Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                    Some([major, minor])
                }
                _ => None,
            },
            mode: format!("{:04o}", a.mode),
            uid: a.uid,
            gid: a.gid,
            user: a.user.as_deref().map(str::to_owned),
            group: a.group.as_deref().map(str::to_owned),
            mtime: seconds(a.mtime),
            flags: a.flags,
            xattrs: a.xattrs.iter().map(xattr).collect(),
        }
    }

    /// What an object says of itself. Azure takes no hyphens in such names, and proxies drop
    /// underscores.
    pub fn metadata(&self) -> Metadata {
        let Self { mode, uid, gid, mtime, .. } = self;
        Metadata::from([
            ("droverblake3", self.blake3.clone().unwrap_or_default()),
            ("drovermode", mode.clone()),
            ("droverowner", format!("{uid}:{gid}")),
            ("drovermtime", mtime.clone()),
        ])
    }

    /// Whether an object that `self` tells of is right for `wanted`, metadata included.
    pub fn has_object_of(&self, wanted: &Self) -> bool {
        self.key == wanted.key && self.size == wanted.size && self.metadata() == wanted.metadata()
    }
}

/// A line and the path in it.
pub struct SideEntry {
    pub path: RelativePath,
    pub line: Line,
}

impl Ordered for SideEntry {
    fn path(&self) -> &RelativePath {
        &self.path
    }
}

/// Lines on the disk of this machine for a while.
pub struct Lines {
    file: BufWriter<File>,
    len: u64,
}

impl Lines {
    pub fn new() -> Result<Self, Error> {
        let file = crate::inventory::nameless().map_err(Error::Scratch)?;
        Ok(Self { file: BufWriter::new(file), len: 0 })
    }

    pub fn push(&mut self, line: &Line) -> Result<(), Error> {
        let mut json = serde_json::to_vec(line).map_err(|error| Error::Scratch(error.into()))?;
        json.push(b'\n');
        self.len += json.len() as u64;
        self.file.write_all(&json).map_err(Error::Scratch)
    }

    /// What a bucket has; `None` where it has none, or one that is damaged.
    pub fn fetch(bucket: &Objects) -> Result<Option<Self>, Error> {
        let store = bucket.store();
        let Some((len, _)) = bucket.wait(store.plain_metadata(MANIFEST))? else { return Ok(None) };
        if len > LONGEST {
            return Ok(None);
        }
        let mut lines = Self::new()?;
        let mut at = 0;
        while at < len {
            let end = len.min(at + READ);
            let bytes = bucket.wait(store.get_plain(MANIFEST, at..end))?;
            lines.file.write_all(&bytes).map_err(Error::Scratch)?;
            at = end;
        }
        lines.len = len;
        let mut last: Option<RelativePath> = None;
        for entry in lines.entries()? {
            let Ok(SideEntry { path, .. }) = entry else { return Ok(None) };
            if last.as_ref().is_some_and(|last| *last >= path) {
                return Ok(None);
            }
            last = Some(path);
        }
        Ok(Some(lines))
    }

    /// All of them, in the order in which they were added.
    pub fn entries(
        &mut self,
    ) -> Result<impl Iterator<Item = Result<SideEntry, Error>> + use<>, Error> {
        let reader = BufReader::new(self.rewound()?);
        Ok(Reader { reader })
    }

    fn rewound(&mut self) -> Result<File, Error> {
        let mut rewind = || {
            self.file.flush()?;
            // The clone shares the place in the file, and nothing more is added.
            let mut file = self.file.get_ref().try_clone()?;
            file.rewind()?;
            Ok(file)
        };
        rewind().map_err(Error::Scratch)
    }

    /// Stores them in a bucket.
    pub fn store(&mut self, bucket: &Objects) -> Result<(), Error> {
        let len = self.len;
        let mut file = self.rewound()?;
        let mut part = |len: u64| {
            let mut bytes = Vec::with_capacity(len as usize);
            (&mut file).take(len).read_to_end(&mut bytes).map_err(Error::Scratch)?;
            Ok(bytes)
        };
        let metadata = Metadata::new();
        if len <= PART {
            let put = bucket.store().put_plain(MANIFEST, part(len)?.into(), &metadata);
            return Ok(bucket.wait(put)?);
        }
        let whole = Whole { key: MANIFEST, size: len, metadata: &metadata, content: None };
        whole.send(bucket, false, &mut |_, len| part(len))
    }
}

struct Reader {
    reader: BufReader<File>,
}

impl Iterator for Reader {
    type Item = Result<SideEntry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut bytes = Vec::new();
        match (&mut self.reader).take(LINE).read_until(b'\n', &mut bytes) {
            Ok(0) => None,
            Ok(_) => Some(parse(&bytes).ok_or_else(|| {
                let object = MANIFEST.to_owned();
                Error::Store(StoreError::Protocol { object, source: None })
            })),
            Err(error) => Some(Err(Error::Scratch(error))),
        }
    }
}

fn parse(bytes: &[u8]) -> Option<SideEntry> {
    let line: Line = serde_json::from_slice(bytes.strip_suffix(b"\n")?).ok()?;
    let path = RelativePath::new(line.path.bytes()?).ok()?;
    Some(SideEntry { path, line })
}

#[cfg(test)]
mod tests {
    use drover_types::{Attributes, Content, Evidence, Extents, FileHash, Xattr};
    use proptest::prelude::*;

    use super::*;

    fn entry(path: &[u8], kind: Kind) -> Entry {
        let content = (kind == Kind::File).then(|| Content {
            size: 7,
            hash: FileHash([9; 32]),
            extents: Extents::Inline(Vec::new().into()),
        });
        let attributes = Attributes {
            mode: 0o4755,
            uid: 1,
            gid: 2,
            user: Some("m\u{fc}ller".into()),
            mtime: Timestamp { seconds: -1, nanos: 5 },
            xattrs: vec![Xattr { name: (*b"user.\xff").into(), value: (*b"\0").into() }],
            ..Attributes::default()
        };
        Entry {
            path: RelativePath::new(path).unwrap(),
            kind,
            attributes,
            content,
            hard_link: None,
            evidence: Evidence::default(),
            stale: false,
        }
    }

    fn json(line: &Line) -> Vec<u8> {
        let mut json = serde_json::to_vec(line).unwrap();
        assert!(!json.contains(&b'\n'));
        json.push(b'\n');
        json
    }

    #[test]
    fn a_line_says_what_an_entry_has() {
        let line = Line::of(&entry(b"a\nb/\xff", Kind::File));
        let text = String::from_utf8(json(&line)).unwrap();
        for part in [
            r#""text":"a\\x0ab/\\xff","b64":"YQpiL/8=""#,
            r#""key":"a%0Ab/%FF""#,
            r#""mode":"4755""#,
            r#""mtime":"-1.000000005""#,
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains("link") && !text.contains("device") && !text.contains("flags"));
        assert_eq!(line.metadata()["droverowner"], "1:2");
        let target = (*b"../\xfe").into();
        let link = Line::of(&entry(b"link", Kind::Symlink { target }));
        assert_eq!((link.key.as_ref(), link.size), (None, None));
        let mut further = entry(b"z", Kind::File);
        further.hard_link = Some(RelativePath::new(&b"a"[..]).unwrap());
        assert_eq!(Line::of(&further).key, None, "the first name has the object");
        for line in [&line, &link, &Line::of(&further)] {
            assert_eq!(parse(&json(line)).unwrap().line, *line);
        }
    }

    proptest! {
        #[test]
        fn what_is_noted_is_read_back(components in prop::collection::vec(prop::collection::vec(1u8.., 1..20), 1..4)) {
            let Ok(path) = RelativePath::new(components.join(&b'/')) else { return Ok(()) };
            let line = Line::of(&entry(path.as_bytes(), Kind::File));
            let read = parse(&json(&line)).unwrap();
            prop_assert_eq!(read.path, path);
            prop_assert_eq!(read.line, line);
        }

        #[test]
        fn what_somebody_changed_is_a_line_or_none(at in 0usize..400, byte: u8, cut in 0usize..400) {
            let mut bytes = json(&Line::of(&entry(b"some/path", Kind::File)));
            let len = bytes.len();
            bytes[at % len] = byte;
            bytes.truncate(len - cut % len);
            let _ = parse(&bytes);
        }
    }
}
