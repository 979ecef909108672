//! Names that targets cannot hold, and names that targets take for one.
//!
//! | target | what its documentation says |
//! | --- | --- |
//! | Linux | `PATH_MAX` is 4,096 bytes with the end: programs cannot name what is deeper |
//! | S3 | "Creating object key names": UTF-8, at most 1,024 bytes; control characters need care |
//! | Azure | "Naming and referencing containers, blobs, and metadata": 1,024 characters, 254 segments, none ending with a dot, no control characters |
//! | GCS | "About Cloud Storage objects": UTF-8, at most 1,024 bytes, no line breaks, not below `.well-known/acme-challenge/` |
//! | Windows | "Naming files, paths, and namespaces": `<>:"\|?*`, control characters, device names, a dot or blank at the end; 259 characters without long paths |

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
};

use drover_types::RelativePath;
use unicode_normalization::UnicodeNormalization;

use super::{EXAMPLES, sorter::Sorter};
use crate::Error;

/// Collisions that are listed.
const LISTED: usize = 1000;

/// Why a kind of target cannot hold a name: target, reason, the reason for people.
pub type Unfit = (&'static str, &'static str, &'static str);

const LINUX_LONG: Unfit = ("linux", "path-too-long", "the path is over 4,095 bytes");
const S3_LONG: Unfit = ("s3", "key-too-long", "the key is over 1,024 bytes");
const S3_BYTES: Unfit = ("s3", "not-utf-8", "the name is no UTF-8");
const S3_CONTROL: Unfit = ("s3", "control-characters", "control characters need special handling");
const AZURE_LONG: Unfit = ("azure", "key-too-long", "the name is over 1,024 characters");
const AZURE_BYTES: Unfit = ("azure", "not-utf-8", "the name is no UTF-8");
const AZURE_DEEP: Unfit = ("azure", "too-deep", "the name has over 254 segments");
const AZURE_END: Unfit = ("azure", "bad-end", "it ends with a dot or a backslash");
const AZURE_CONTROL: Unfit = ("azure", "control-characters", "control characters are not allowed");
const GCS_LONG: Unfit = ("gcs", "key-too-long", "the name is over 1,024 bytes");
const GCS_BYTES: Unfit = ("gcs", "not-utf-8", "the name is no UTF-8");
const GCS_LINES: Unfit = ("gcs", "line-break", "line breaks are not allowed");
const GCS_ACME: Unfit = ("gcs", "acme-challenge", "it begins with .well-known/acme-challenge/");
const WINDOWS_BYTES: Unfit = ("windows", "not-utf-8", "the name is no Unicode");
const WINDOWS_CHARACTER: Unfit =
    ("windows", "reserved-character", "it holds one of < > : \" \\ | ? * or a control character");
const WINDOWS_END: Unfit = ("windows", "bad-end", "it ends with a dot or a blank");
const WINDOWS_DEVICE: Unfit = ("windows", "device-name", "it is the name of a device, such as CON");
const WINDOWS_LONG: Unfit =
    ("windows", "path-too-long", "the path is over 259 characters, the limit of most programs");

/// How long a path may be without anybody minding.
const SHORT: usize = 250;

/// Whether a byte in a name is well everywhere.
fn plain(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b' ' | b'+' | b',' | b'=' | b'(' | b')' | b'~' | b'#' | b'@' | b'$' | b'&' | b'\'' | b'[' | b']' | b'{' | b'}' | b'!' | b'%' | b';' | b'^' | b'`')
}

/// The names of Windows' devices are taken with any extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end();
    let upper = stem.to_ascii_uppercase();
    match upper.as_str() {
        "CON" | "PRN" | "AUX" | "NUL" => true,
        _ => {
            let number = upper.strip_prefix("COM").or_else(|| upper.strip_prefix("LPT"));
            let mut digits = number.unwrap_or_default().chars();
            matches!(digits.next(), Some('1'..='9' | '¹' | '²' | '³')) && digits.next().is_none()
        }
    }
}

/// Hands everything that is wrong with the last component of `path`, or with its length, to `take`.
pub fn unfit(path: &RelativePath, mut take: impl FnMut(Unfit)) {
    let (bytes, name) = (path.as_bytes(), path.name());
    let ends_well = !matches!(name.last(), Some(b'.' | b' '));
    let may_be_device = matches!(
        name.first(),
        Some(b'c' | b'C' | b'p' | b'P' | b'a' | b'A' | b'n' | b'N' | b'l' | b'L')
    );
    if bytes.len() <= SHORT && ends_well && !may_be_device && name.iter().all(|&b| plain(b)) {
        // No challenge of GCS either: it begins with a dot, and the check below is for its files.
        if !bytes.starts_with(b".well-known/acme-challenge/") {
            return;
        }
    }
    if bytes.len() > 4095 {
        take(LINUX_LONG);
    }
    if bytes.len() > 1024 {
        take(S3_LONG);
        take(GCS_LONG);
    }
    if bytes.iter().filter(|&&b| b == b'/').count() >= 254 {
        take(AZURE_DEEP);
    }
    if bytes.starts_with(b".well-known/acme-challenge/") {
        take(GCS_ACME);
    }
    let Ok(text) = std::str::from_utf8(name) else {
        for target in [S3_BYTES, AZURE_BYTES, GCS_BYTES, WINDOWS_BYTES] {
            take(target);
        }
        return;
    };
    let whole = String::from_utf8_lossy(bytes);
    if bytes.len() > 1024 && whole.chars().count() > 1024 {
        take(AZURE_LONG);
    }
    // `C:\` stands before it.
    if bytes.len() > SHORT && whole.encode_utf16().count() + 3 > 259 {
        take(WINDOWS_LONG);
    }
    if text.chars().any(char::is_control) {
        take(S3_CONTROL);
        take(AZURE_CONTROL);
    }
    if text.contains(['\r', '\n']) {
        take(GCS_LINES);
    }
    if text.ends_with(['.', '\\']) {
        take(AZURE_END);
    }
    if text.contains(|c: char| c < ' ' || "<>:\"\\|?*".contains(c)) {
        take(WINDOWS_CHARACTER);
    }
    if text.ends_with(['.', ' ']) {
        take(WINDOWS_END);
    }
    if is_device(text) {
        take(WINDOWS_DEVICE);
    }
}

/// A name as targets see it that tell neither cases nor forms of Unicode apart. Bytes that are no
/// text stay as they are.
pub fn folded(name: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(name) {
        Ok(text) if !text.is_ascii() => {
            text.nfc().flat_map(char::to_lowercase).nfc().collect::<String>().into_bytes()
        }
        _ => name.to_ascii_lowercase(),
    }
}

/// Whether two names are the same characters in different forms of Unicode.
fn same_characters(a: &[u8], b: &[u8]) -> bool {
    match (std::str::from_utf8(a), std::str::from_utf8(b)) {
        (Ok(a), Ok(b)) => a.nfc().eq(b.nfc()),
        _ => false,
    }
}

/// Two names of one directory that some targets take for one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Collision {
    /// The first in the order of paths, and the one that collides with it.
    pub paths: [RelativePath; 2],
    /// They differ in nothing but the form of Unicode; else in upper and lower case.
    pub normalisation: bool,
}

/// All names of a tree.
#[derive(Default)]
pub struct Names {
    unfit: BTreeMap<Unfit, (u64, Vec<RelativePath>)>,
    /// A hash of directory and folded name, and the path.
    folded: Sorter,
    hashing: RandomState,
}

/// What is wrong with the names of a tree.
#[derive(Debug, Default)]
pub struct Badly {
    /// By target and reason: how many, and some of them.
    pub unfit: BTreeMap<Unfit, (u64, Vec<RelativePath>)>,
    /// The first of the collisions.
    pub collisions: Vec<Collision>,
    /// Collisions that differ in case.
    pub case: u64,
    /// Collisions that differ in the form of Unicode.
    pub normalisation: u64,
}

impl Names {
    /// Looks at one.
    pub fn add(&mut self, path: &RelativePath) -> Result<(), Error> {
        unfit(path, |why| {
            let (count, paths) = self.unfit.entry(why).or_default();
            *count += 1;
            if paths.len() < EXAMPLES {
                paths.push(path.clone());
            }
        });
        let (bytes, name) = (path.as_bytes(), path.name());
        let directory = &bytes[..bytes.len() - name.len()];
        let hash = self.hashing.hash_one((directory, folded(name)));
        self.folded.push(&[&hash.to_be_bytes(), bytes])
    }

    /// What is wrong with them.
    pub fn finish(self) -> Result<Badly, Error> {
        let mut found = Badly { unfit: self.unfit, ..Badly::default() };
        self.folded.finish()?.groups(8, LISTED, |group, _| {
            // Hashes may be the same by chance.
            let mut first = HashMap::<Vec<u8>, RelativePath>::new();
            let mut paths: Vec<_> =
                group.iter().filter_map(|record| RelativePath::new(&record[8..]).ok()).collect();
            paths.sort();
            for path in paths {
                let (bytes, name) = (path.as_bytes(), path.name());
                let key = [&bytes[..bytes.len() - name.len()], &folded(name)].concat();
                let Some(known) = first.get(&key) else {
                    first.insert(key, path);
                    continue;
                };
                let normalisation = same_characters(known.name(), name);
                match normalisation {
                    true => found.normalisation += 1,
                    false => found.case += 1,
                }
                let collision = Collision { paths: [known.clone(), path], normalisation };
                let at = found.collisions.partition_point(|there| *there < collision);
                if at < LISTED {
                    found.collisions.insert(at, collision);
                    found.collisions.truncate(LISTED);
                }
            }
            Ok(())
        })?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(bytes: &[u8]) -> RelativePath {
        RelativePath::new(bytes).unwrap()
    }

    fn reasons(bytes: &[u8]) -> Vec<String> {
        let mut all = Vec::new();
        unfit(&path(bytes), |(target, reason, _)| all.push(format!("{target} {reason}")));
        all
    }

    #[test]
    fn what_targets_cannot_hold() {
        for good in [
            "a/b.txt",
            "CONsole",
            "common.txt",
            "lpt10",
            "nul_",
            "über",
            "a+b (1).dcm",
            ".well-known/x",
        ] {
            assert_eq!(reasons(good.as_bytes()), Vec::<String>::new(), "{good}");
        }
        assert_eq!(reasons(b"x/con.txt"), ["windows device-name"]);
        assert_eq!(reasons("COM\u{b9}".as_bytes()), ["windows device-name"]);
        assert_eq!(reasons(b"a."), ["azure bad-end", "windows bad-end"]);
        assert_eq!(reasons(b"a "), ["windows bad-end"]);
        assert_eq!(reasons(b"12:30"), ["windows reserved-character"]);
        assert_eq!(reasons(b"\xff").len(), 4);
        let lines = reasons(b"a\nb");
        assert!(lines.contains(&"gcs line-break".into()) && lines.len() == 4, "{lines:?}");
        assert_eq!(reasons(b".well-known/acme-challenge/x"), ["gcs acme-challenge"]);
        let long = vec!["x".repeat(200); 6].join("/");
        let long = reasons(long.as_bytes());
        assert_eq!(
            long,
            ["s3 key-too-long", "gcs key-too-long", "azure key-too-long", "windows path-too-long"]
        );
        assert!(
            reasons("x/".repeat(255).trim_end_matches('/').as_bytes())
                .contains(&"azure too-deep".into())
        );
        // 1,100 bytes and 600 characters.
        let umlauts = ["é".repeat(100).as_str(); 5].join("/") + "/" + &"é".repeat(46);
        assert!(!reasons(umlauts.as_bytes()).contains(&"azure key-too-long".into()));
    }

    #[test]
    fn collisions_are_those_of_one_directory() {
        let mut names = Names::default();
        for name in ["A/x", "a/X", "b/Read", "b/READ", "b/read", "c/é", "c/e\u{301}", "c/É"] {
            names.add(&path(name.as_bytes())).unwrap();
        }
        let found = names.finish().unwrap();
        assert_eq!((found.case, found.normalisation), (3, 1));
        let kinds: Vec<_> =
            found.collisions.iter().map(|c| c.paths.clone().map(|p| p.to_string())).collect();
        assert!(kinds.contains(&["b/READ".into(), "b/Read".into()]), "{kinds:?}");
        assert!(kinds.contains(&["b/READ".into(), "b/read".into()]), "{kinds:?}");
    }

    proptest! {
        #[test]
        fn collisions_are_those_of_a_map(names in prop::collection::btree_set("[abAB]/[xyXYéÉ]{1,2}", 0..40)) {
            let mut all = Names::default();
            let mut expected = 0;
            let mut known = std::collections::HashMap::<String, u64>::new();
            for name in &names {
                all.add(&path(name.as_bytes())).unwrap();
                let (directory, file) = name.split_once('/').unwrap();
                let same = known.entry(format!("{directory}/{}", file.to_lowercase())).or_default();
                expected += u64::from(*same > 0);
                *same += 1;
            }
            let found = all.finish().unwrap();
            prop_assert_eq!(found.case + found.normalisation, expected);
            prop_assert_eq!(found.collisions.len() as u64, expected);
        }
    }
}
