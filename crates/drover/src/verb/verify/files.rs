//! What a verification says of each entry, as CSV: a row each, written as the manifest is read.
//!
//! A row claims no more than the method did: where packs were not read back it says so, and where
//! something is wrong that no file was named for, no row says that all is well.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::Path,
};

use drover_ops::{ReaderSession, file::write_with, inspect};
use drover_repo::certificate::Method;
use drover_report::{PathText, Problem, Text, VerifyReport, csv, format};
use drover_types::{Entry, RelativePath, SnapshotId};

use super::Verified;
use crate::error::Error;

const COLUMNS: [&str; 9] =
    ["path", "path_b64", "kind", "size", "modified", "blake3", "verdict", "method", "note"];
const STALE: &str = "the pass could not take it faithfully: this is what an earlier one took";

/// Writes the rows of the one snapshot that was verified.
pub fn write(path: &Path, session: &mut ReaderSession, verified: &Verified) -> Result<(), Error> {
    let Some(&snapshot) = verified.snapshots.first() else { return Ok(()) };
    let verdicts = Verdicts::new(verified);
    let mut failed = None;
    let written = write_with(path, 0o600, |out| {
        let mut line = String::new();
        let rows = rows(session, snapshot, &verdicts, &mut |cells| {
            line.clear();
            csv::row(&mut line, cells);
            out.write_all(line.as_bytes()).map_err(drover_ops::Error::Output)
        });
        rows.map_err(|error| {
            let shown = std::io::Error::other("the manifest cannot be read");
            failed = Some(error);
            shown
        })
    });
    match (failed, written) {
        // A disk that is full is this file's own failure.
        (Some(drover_ops::Error::Output(source)), _) | (None, Err(source)) => {
            Err(Error::File { what: "cannot write the list of files", path: path.into(), source })
        }
        (Some(error), _) => Err(error.into()),
        (None, Ok(_)) => Ok(()),
    }
}

type Take<'t> = dyn FnMut([&str; 9]) -> Result<(), drover_ops::Error> + 't;

fn rows(
    session: &mut ReaderSession,
    snapshot: SnapshotId,
    verdicts: &Verdicts<'_>,
    take: &mut Take<'_>,
) -> Result<(), drover_ops::Error> {
    take(COLUMNS)?;
    let mut seen = HashSet::<String>::new();
    inspect::list(session, snapshot, &RelativePath::root(), true, &mut |entry| {
        let path = PathText::from(&entry.path);
        if verdicts.named.contains_key(path.path.as_str()) {
            seen.insert(path.path.to_string());
        }
        let content = entry.content.as_ref();
        let size = content.map(|content| content.size.to_string()).unwrap_or_default();
        let hash = content.map(|content| content.hash.to_hex()).unwrap_or_default();
        take([
            path.path.as_str(),
            path.path_b64.as_ref().map_or("", Text::as_str),
            entry.kind.as_str(),
            &size,
            format::time(entry.attributes.mtime).as_str(),
            &hash,
            &verdicts.of(entry, path.path.as_str()),
            verdicts.method.as_str(),
            if entry.stale { STALE } else { "" },
        ])
    })?;
    // What the snapshot does not have.
    let mut extra: Vec<_> =
        verdicts.named.iter().filter(|(path, _)| !seen.contains(**path)).collect();
    extra.sort_unstable_by_key(|(path, _)| **path);
    extra.into_iter().try_for_each(|(path, named)| {
        let verdict = named.kinds();
        let b64 = named.path_b64.map_or("", Text::as_str);
        take([path, b64, "", "", "", "", &verdict, verdicts.method.as_str(), ""])
    })
}

/// What was found at one path.
#[derive(Default)]
struct Named<'r> {
    kinds: BTreeSet<&'r str>,
    path_b64: Option<&'r Text>,
}

impl Named<'_> {
    fn kinds(&self) -> String {
        self.kinds.iter().copied().collect::<Vec<_>>().join("; ")
    }
}

/// What a report says of paths.
struct Verdicts<'r> {
    named: HashMap<&'r str, Named<'r>>,
    /// Of these and of what is below them nothing is known.
    unknown: HashSet<&'r str>,
    /// What is said of entries of which nothing is.
    otherwise: &'static str,
    /// Whether stale entries were compared.
    stale_counts: bool,
    method: &'r Text,
}

impl<'r> Verdicts<'r> {
    fn new(verified: &'r Verified) -> Self {
        let report: &VerifyReport = &verified.report;
        let mut named = HashMap::<&str, Named<'_>>::new();
        let mut unknown = HashSet::new();
        let mut add = |path: &'r str, kind: &'r str, path_b64: Option<&'r Text>| {
            let named = named.entry(path).or_default();
            named.kinds.insert(kind);
            named.path_b64 = path_b64;
        };
        let at = |problem: &'r Problem| problem.path.as_ref().map(|path| (path, problem));
        for (path, problem) in report.problems.iter().filter_map(at) {
            add(path.as_str(), problem.kind.as_str(), problem.path_b64.as_ref());
        }
        for (path, problem) in report.unchecked.iter().filter_map(at) {
            add(path.as_str(), UNKNOWN, problem.path_b64.as_ref());
            unknown.insert(path.as_str());
        }
        for item in &report.changed_since {
            let left_out = item.message.as_str().starts_with("left out by");
            let kind = if left_out { "excluded" } else { "changed since" };
            add(item.path.path.as_str(), kind, item.path.path_b64.as_ref());
            if left_out {
                unknown.insert(item.path.path.as_str());
            }
        }
        // The files that a damaged pack hurts are named; those of anything else may not be.
        let doubted = report.problems.iter().any(|p| p.path.is_none() && p.kind.as_str() != "pack");
        let unasked = report.unchecked.iter().any(|p| p.path.is_none());
        let otherwise = match verified.method {
            _ if doubted || unasked => "in doubt",
            Method::ReadBack if verified.opened => "match",
            Method::LandedAndHashed | Method::SourceAgainstSnapshot => "match",
            _ => "acknowledged",
        };
        let stale_counts = verified.method != Method::SourceAgainstSnapshot;
        Self { named, unknown, otherwise, stale_counts, method: &report.method }
    }

    fn of(&self, entry: &Entry, path: &str) -> String {
        if let Some(named) = self.named.get(path) {
            return named.kinds();
        }
        let below = |path: &str| {
            let ends = path.match_indices('/').map(|(at, _)| &path[..at]);
            // The root has no name.
            std::iter::once("").chain(ends).any(|above| self.unknown.contains(above))
        };
        match () {
            () if !self.unknown.is_empty() && below(path) => UNKNOWN.to_owned(),
            () if entry.stale && !self.stale_counts => "not compared".to_owned(),
            () => self.otherwise.to_owned(),
        }
    }
}

const UNKNOWN: &str = "not looked at";
