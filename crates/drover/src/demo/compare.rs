//! Compares two trees by plain means.
//!
//! It uses nothing of what moves the data, so that a mistake there is not repeated here.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use super::tree::at;

/// One difference between two trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Relative to both roots.
    pub path: PathBuf,
    /// What differs, in words.
    pub what: &'static str,
}

/// What differs between the trees at `left` and `right`, roots included: names, kinds, content,
/// permissions, owners, times of change, links, extended attributes. `left_out`, a name in the
/// root, is not looked at.
pub fn differences(left: &Path, right: &Path, left_out: &str) -> io::Result<Vec<Difference>> {
    let mut differences = Vec::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(path) = pending.pop() {
        let (a, b) = (left.join(&path), right.join(&path));
        let (meta_a, meta_b) = (metadata(&a)?, metadata(&b)?);
        let (Some(meta_a), Some(meta_b)) = (&meta_a, &meta_b) else {
            let what = if meta_a.is_some() { "only on the left" } else { "only on the right" };
            differences.push(Difference { path, what });
            continue;
        };
        let attributes = compare_attributes(meta_a, meta_b);
        let mut found: Vec<_> = attributes.into_iter().flatten().collect();
        if meta_a.file_type() != meta_b.file_type() {
            found.push("kind");
        } else if meta_a.is_dir() {
            let names: BTreeSet<OsString> = names(&a)?.into_iter().chain(names(&b)?).collect();
            let paths = names.into_iter().rev().map(|name| path.join(name));
            pending.extend(paths.filter(|path| path != Path::new(left_out)));
        } else if meta_a.is_symlink() {
            if at(&a, fs::read_link(&a))? != at(&b, fs::read_link(&b))? {
                found.push("target of the link");
            }
        } else if meta_a.is_file() && (meta_a.len() != meta_b.len() || !same_content(&a, &b)?) {
            found.push("content");
        }
        if xattrs(&a)? != xattrs(&b)? {
            found.push("extended attributes");
        }
        differences.extend(found.into_iter().map(|what| Difference { path: path.clone(), what }));
    }
    Ok(differences)
}

fn compare_attributes(a: &Metadata, b: &Metadata) -> [Option<&'static str>; 4] {
    let time = |meta: &Metadata| (meta.mtime(), meta.mtime_nsec());
    [
        (a.mode() & 0o7777 != b.mode() & 0o7777).then_some("permissions"),
        ((a.uid(), a.gid()) != (b.uid(), b.gid())).then_some("owner"),
        (time(a) != time(b)).then_some("time of change"),
        // The number of a directory's links says how the file system counts, and no more.
        (!a.is_dir() && a.nlink() != b.nlink()).then_some("number of hard links"),
    ]
}

fn metadata(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => at(path, Err(error)),
    }
}

fn names(directory: &Path) -> io::Result<Vec<OsString>> {
    let entries = at(directory, fs::read_dir(directory))?;
    entries.map(|entry| Ok(at(directory, entry)?.file_name())).collect()
}

fn same_content(a: &Path, b: &Path) -> io::Result<bool> {
    const STEP: u64 = 1 << 20;
    let (mut file_a, mut file_b) = (at(a, File::open(a))?, at(b, File::open(b))?);
    let (mut part_a, mut part_b) = (Vec::new(), Vec::new());
    loop {
        part_a.clear();
        part_b.clear();
        at(a, (&mut file_a).take(STEP).read_to_end(&mut part_a))?;
        at(b, (&mut file_b).take(STEP).read_to_end(&mut part_b))?;
        if part_a != part_b || part_a.is_empty() {
            return Ok(part_a == part_b);
        }
    }
}

/// Name and value of each extended attribute, in order of the names. They fit 64 KiB together on
/// every file system that Linux has.
fn xattrs(path: &Path) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut buffer = vec![0; 64 << 10];
    let list = match rustix::fs::llistxattr(path, &mut buffer[..]) {
        Ok(len) => buffer[..len].to_vec(),
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(error) => return at(path, Err(error.into())),
    };
    let mut found = Vec::new();
    for name in list.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let len = rustix::fs::lgetxattr(path, name, &mut buffer[..])
            .or_else(|error| at(path, Err(error.into())))?;
        found.push((name.to_vec(), buffer[..len].to_vec()));
    }
    found.sort();
    Ok(found)
}
