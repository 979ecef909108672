//! How two entries at the same path differ.

use drover_repo::{
    record,
    state::{LinkMap, StateError, StateFolder},
};
use drover_types::{Attributes, Entry, FileHash, Kind, RelativePath, Timestamp, path::escape};

use crate::Error;

/// Which attributes count.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// Numeric owners.
    pub owners: bool,
    /// Extended attributes and flags: both entries must be filled in.
    pub extended: bool,
}

/// One field that differs, with both values as people read them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which field.
    pub field: &'static str,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} instead of {}", self.field, self.found, self.expected)
    }
}

/// Everything that differs between what was expected and what was found, but for the content.
pub fn differences(expected: &Entry, found: &Entry, how: Comparison) -> Vec<Difference> {
    let mut list = Vec::new();
    let mut field = |field, expected: String, found: String| {
        if expected != found {
            list.push(Difference { field, expected, found });
        }
    };
    if !expected.kind.same_sort(&found.kind) {
        field("kind", expected.kind.as_str().into(), found.kind.as_str().into());
        return list;
    }
    let (a, b) = (&expected.attributes, &found.attributes);
    if !matches!(expected.kind, Kind::Symlink { .. }) {
        field("mode", format!("{:04o}", a.mode), format!("{:04o}", b.mode));
    }
    if how.owners {
        field("owner", owner(a), owner(b));
    }
    field("time", time(a.mtime), time(b.mtime));
    match (&expected.kind, &found.kind) {
        (Kind::Symlink { target: a }, Kind::Symlink { target: b }) => {
            field("target", escape(a), escape(b));
        }
        (a, b) => field("device", device(a), device(b)),
    }
    let first_name = |entry: &Entry| match &entry.hard_link {
        Some(first) => first.to_string(),
        None => "(none)".into(),
    };
    field("hard link to", first_name(expected), first_name(found));
    if how.extended {
        field("flags", format!("{:#x}", a.flags), format!("{:#x}", b.flags));
        field("extended attributes", xattrs(a), xattrs(b));
    }
    list
}

fn owner(attributes: &Attributes) -> String {
    format!("{}:{}", attributes.uid, attributes.gid)
}

fn time(time: Timestamp) -> String {
    format!("{}.{:09}", time.seconds, time.nanos)
}

fn device(kind: &Kind) -> String {
    match kind {
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            format!("{major}:{minor}")
        }
        _ => String::new(),
    }
}

/// Names and the beginnings of hashes: values can be anything, and secret.
fn xattrs(attributes: &Attributes) -> String {
    let one = |x: &drover_types::Xattr| {
        let hash = FileHash(*blake3::hash(&x.value).as_bytes()).to_hex();
        format!("{}#{}", escape(&x.name), &hash[..8])
    };
    let list: Vec<_> = attributes.xattrs.iter().map(one).collect();
    if list.is_empty() { "(none)".into() } else { list.join(" ") }
}

/// Tells the further names of a file by device and inode, as they come in order.
pub struct FirstNames(LinkMap);

impl FirstNames {
    /// None yet. What must be remembered lies in `folder` for a while, else among the temporary
    /// files.
    pub fn new(folder: Option<&StateFolder>) -> Self {
        let temporary = std::env::temp_dir();
        Self(LinkMap::new(folder.map_or(&temporary, |folder| folder.path())))
    }

    /// The first name of `entry`'s file, where this is a further one.
    pub fn first_of(&mut self, entry: &Entry) -> Result<Option<RelativePath>, Error> {
        let v = &entry.evidence;
        if v.links < 2 || v.inode == 0 || entry.kind == Kind::Directory {
            return Ok(None);
        }
        let key = (v.device, v.inode);
        match self.0.count(key)? {
            None => {
                self.0.insert(key, v.links - 1, entry.path.as_bytes())?;
                Ok(None)
            }
            Some(first) => Ok(Some(record::decode_path(&first).map_err(StateError::from)?)),
        }
    }
}
