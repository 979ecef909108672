//! How two entries at the same path differ.

use drover_types::{Attributes, Entry, FileHash, Kind, Timestamp, path::escape};

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
#[derive(Default)]
pub struct FirstNames(std::collections::HashMap<(u64, u64), (drover_types::RelativePath, u32)>);

impl FirstNames {
    /// The first name of `entry`'s file, where this is a further one.
    pub fn first_of(&mut self, entry: &Entry) -> Option<drover_types::RelativePath> {
        let v = &entry.evidence;
        if v.links < 2 || v.inode == 0 || entry.kind == Kind::Directory {
            return None;
        }
        match self.0.get_mut(&(v.device, v.inode)) {
            None => {
                self.0.insert((v.device, v.inode), (entry.path.clone(), v.links - 1));
                None
            }
            Some((first, left)) => {
                let first = first.clone();
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.0.remove(&(v.device, v.inode));
                }
                Some(first)
            }
        }
    }
}
