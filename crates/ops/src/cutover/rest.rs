//! Whether a source rests: two scans that see the same, one after the other.
//!
//! A scan keeps sixteen bytes for each entry, so that a million take 16 MiB: what it is called and
//! what its evidence is, both as hashes.

use std::sync::Arc;

use drover_source::{Source, WalkEvent, WalkOptions};
use drover_types::{Counter, Entry, Observer, Phase, RelativePath};

use crate::{Cancel, Error};

/// Of what changed, so many paths are kept.
const NAMED: usize = 20;

/// What a walk saw of a source.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// Hash of the path, hash of the evidence; by path hash.
    entries: Vec<(u64, u64)>,
}

/// How two scans differ.
#[derive(Clone, Debug, Default)]
pub struct Rest {
    /// Entries of the second scan that the first has not, or not so: the first of them.
    pub changed: Vec<RelativePath>,
    /// How many there are in all.
    pub count: u64,
    /// Entries of the first scan that the second has not.
    pub gone: u64,
}

impl Rest {
    /// Whether nothing changed.
    pub fn is_at_rest(&self) -> bool {
        self.count == 0 && self.gone == 0
    }
}

/// Walks `source`, and compares with an earlier walk where there is one.
pub fn scan(
    source: &Arc<dyn Source>,
    one_file_system: bool,
    before: Option<&Scan>,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<(Scan, Rest), Error> {
    observer.phase(Phase::Comparing);
    let options = WalkOptions { one_file_system, ..WalkOptions::default() };
    let (mut scan, mut rest) = (Scan::default(), Rest::default());
    let mut known = 0;
    for event in source.walk(&options)? {
        if cancel.is_set() {
            return Err(Error::Interrupted);
        }
        observer.add(Counter::Entries, 1);
        let (path, seen) = match event {
            WalkEvent::Entry(entry) => {
                let evidence = evidence(&entry);
                (entry.path, evidence)
            }
            // What cannot be seen is the same for as long as it cannot be seen for the same reason.
            WalkEvent::Problem { path, exception, .. } => {
                (path, short(&[b"problem", exception.message.as_bytes()]))
            }
            WalkEvent::Excluded { .. } => continue,
        };
        let key = short(&[path.as_bytes()]);
        if let Some(before) = before {
            match before.find(key) {
                Some(evidence) if evidence == seen => known += 1,
                found => {
                    known += u64::from(found.is_some());
                    rest.count += 1;
                    if rest.changed.len() < NAMED {
                        rest.changed.push(path);
                    }
                }
            }
        }
        scan.entries.push((key, seen));
    }
    scan.entries.sort_unstable();
    if let Some(before) = before {
        rest.gone = (before.entries.len() as u64).saturating_sub(known);
    }
    Ok((scan, rest))
}

impl Scan {
    /// How many entries it saw.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it saw nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn find(&self, key: u64) -> Option<u64> {
        let at = self.entries.partition_point(|(path, _)| *path < key);
        self.entries.get(at).filter(|(path, _)| *path == key).map(|(_, evidence)| *evidence)
    }
}

fn evidence(entry: &Entry) -> u64 {
    let (a, v) = (&entry.attributes, &entry.evidence);
    let ctime = v.ctime.unwrap_or_default();
    let numbers = [
        u64::from(a.mode),
        u64::from(a.uid) << 32 | u64::from(a.gid),
        a.mtime.seconds.cast_unsigned(),
        u64::from(a.mtime.nanos),
        ctime.seconds.cast_unsigned(),
        u64::from(ctime.nanos),
        v.inode,
        v.size,
    ];
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    short(&[entry.kind.as_str().as_bytes(), &bytes])
}

fn short(parts: &[&[u8]]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
        hasher.update(&[0]);
    }
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use drover_source::LocalSource;
    use drover_types::Silent;

    use super::*;

    #[test]
    fn what_is_written_between_two_scans_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["a", "b", "c"] {
            fs::write(root.join(name), name).unwrap();
        }
        let source: Arc<dyn Source> = Arc::new(LocalSource::open(root).unwrap());
        let look =
            |before: Option<&Scan>| scan(&source, false, before, &Silent, &Cancel::new()).unwrap();
        let (first, _) = look(None);
        assert_eq!(first.len(), 4);
        let (_, rest) = look(Some(&first));
        assert!(rest.is_at_rest());
        fs::write(root.join("b"), "longer").unwrap();
        let (second, rest) = look(Some(&first));
        assert_eq!(rest.changed, [RelativePath::new(*b"b").unwrap()]);
        assert_eq!(rest.gone, 0);
        fs::remove_file(root.join("c")).unwrap();
        let (_, rest) = look(Some(&second));
        assert_eq!(rest.gone, 1);
        assert!(!rest.is_at_rest());
    }
}
