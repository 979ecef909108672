//! How something is verified: what `verify` and `evidence` share.

use std::{ffi::OsString, sync::Arc};

use clap::Args;
use drover_ops::{
    Compared, Finding, OwnerMap, ReaderSession, VerifyOptions, VerifyOutcome, inventory::Counts,
};
use drover_plan::Location;
use drover_repo::{
    CheckedSnapshot,
    certificate::{CertifiedResult, Method, Sample},
    objects::Objects,
};
use drover_report::{
    ChangedItem, CheckedSnapshot as SnapshotLine, InventorySource, PathText, Problem,
    Reconciliation, Text, Verdict, VerifyReport, VerifySample, VerifyTotals, format,
};
use drover_source::{Filtered, LocalSource, Source};
use drover_types::{RelativePath, SnapshotId};

use super::heads::{self, Head};
use crate::{
    context::Context,
    error::Error,
    filter::filter,
    owners::OwnerArgs,
    place::{self, Place},
    reading,
    source::{Origin, SshArgs},
};

/// How, and of what.
#[derive(Debug, Args)]
pub struct MethodArgs {
    /// Read packs back: all of them, or a random part
    #[arg(
        long,
        value_name = "N%",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "100%",
        value_parser = percent,
        conflicts_with_all = ["source", "target"]
    )]
    read_data: Option<f64>,
    /// Chooses the part, so that the same one can be read again
    #[arg(long, value_name = "NUMBER", requires = "read_data")]
    seed: Option<u64>,
    /// Compare with the source as it is now; beside --target, only which source is meant
    #[arg(long, value_name = "URL | NAME")]
    pub source: Option<OsString>,
    /// Compare with a restore; of a plan with several sources and without --source and --snapshot, each
    /// source with the directory, or prefix, of its name in it
    #[arg(long, value_name = "DIR | URL")]
    pub target: Option<OsString>,
    /// Only this snapshot [default: all; with --source or --target that source's newest]
    #[arg(long, value_name = "ID")]
    pub snapshot: Option<String>,
    /// A snapshot that must still be there: WRITER/SEQUENCE-ID, or an earlier verification's
    /// certificate or JSON
    #[arg(long, value_name = "HEAD | FILE")]
    expect_head: Vec<OsString>,
    #[command(flatten)]
    owner_map: OwnerArgs,
    #[command(flatten)]
    ssh: SshArgs,
    /// The inventory that what is read back of a bucket is counted beside.
    #[arg(skip)]
    pub(super) counted: Option<InventorySource>,
}

/// What a verification came to, and what of it a report does not hold.
pub struct Verified {
    /// The report.
    pub report: VerifyReport,
    /// How it was done.
    pub method: Method,
    /// Which part of the packs was read back.
    pub sample: Option<Sample>,
    /// Whether packs of content were opened, where they were read back.
    pub opened: bool,
    /// The snapshots that were verified.
    pub snapshots: Vec<SnapshotId>,
    /// What came of each of them, where each was verified by itself.
    pub results: Vec<(SnapshotId, CertifiedResult)>,
}

impl Verified {
    /// Of an outcome; which snapshots were verified is still to be said.
    pub fn new(outcome: &VerifyOutcome) -> Self {
        Self {
            report: item(outcome),
            method: outcome.kind,
            sample: outcome.sample,
            opened: outcome.opened,
            snapshots: Vec::new(),
            results: Vec::new(),
        }
    }

    /// Where nothing could be looked at.
    pub fn nothing(report: VerifyReport) -> Self {
        let (snapshots, results) = (Vec::new(), Vec::new());
        Self { report, method: Method::Nothing, sample: None, opened: true, snapshots, results }
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').unwrap_or(text).parse::<f64>() {
        Ok(n) if n > 0.0 && n <= 100.0 => Ok(n / 100.0),
        _ => Err("a part is given as 5%, above 0 and up to 100".to_owned()),
    }
}

impl MethodArgs {
    /// Whether it is one snapshot that is verified.
    pub fn is_of_one_snapshot(&self, place: &Place) -> bool {
        let named = self.source.is_some() || self.target.is_some() || self.snapshot.is_some();
        named && self.beside(place).is_none()
    }

    /// The heads that must be there.
    pub fn expected_heads(&self) -> Result<Vec<Head>, Error> {
        heads::expected(&self.expect_head)
    }

    pub fn verify(
        &self,
        place: &Place,
        session: &mut ReaderSession,
        expected_heads: Vec<Head>,
        context: &Context,
    ) -> Result<Verified, Error> {
        match (&self.target, &self.source) {
            (None, None) => self.stored(session, expected_heads, context),
            (Some(target), source) => {
                let location = place::location(target, "--target")?;
                let source = source.as_ref().map(|text| selector(place, text)).transpose()?;
                let problems =
                    ReaderSession::compare_heads(&session.history, &expected_heads, EXPECTED);
                session.problems.extend(problems);
                match self.beside(place) {
                    Some(sources) => self.each_of(place, session, &location, sources, context),
                    None => self.landed(place, session, location, source.as_deref(), context),
                }
            }
            (None, Some(text)) => {
                let plan = place.plan.as_ref().zip(text.to_str());
                let planned = plan.and_then(|(plan, name)| plan.source(name));
                let origin = match planned {
                    Some(source) => Origin::of(source, &self.ssh)?,
                    None => Origin::new(&place::location(text, "--source")?, &self.ssh, None)?,
                };
                if origin.is_command() {
                    let message = "what a command prints, it prints anew: compare a restore, or leave \
                                   --source out";
                    return Err(Error::Usage(message.to_owned()));
                }
                // What the plan leaves out is no difference.
                let rules = planned.map(|source| source.filter.clone()).unwrap_or_default();
                let source = selector(place, text)?;
                let problems =
                    ReaderSession::compare_heads(&session.history, &expected_heads, EXPECTED);
                session.problems.extend(problems);
                let tree = (&origin, &rules, &OwnerMap::default());
                self.compared(session, tree, Some(&source), Compared::Source, context)
            }
        }
    }

    /// Compares what landed of one source.
    pub(super) fn landed(
        &self,
        place: &Place,
        session: &mut ReaderSession,
        location: Location,
        source: Option<&str>,
        context: &Context,
    ) -> Result<Verified, Error> {
        let origin = match location {
            Location::Directory(target) => Origin::Directory(target),
            Location::Cloud(url) => {
                let bucket = place.bucket(&url)?;
                return self.bucket(session, &bucket, source, context);
            }
            Location::Sftp(_) => {
                let message = "--target must be a directory of this machine, or a bucket";
                return Err(Error::Usage(message.to_owned()));
            }
        };
        let owners = self.owner_map.map(place.plan.as_ref())?;
        let tree = (&origin, &drover_plan::Filter::default(), &owners);
        self.compared(session, tree, source, Compared::Target, context)
    }

    /// Verifies what is in the repository.
    fn stored(
        &self,
        session: &mut ReaderSession,
        expected_heads: Vec<Head>,
        context: &Context,
    ) -> Result<Verified, Error> {
        let snapshot = match &self.snapshot {
            Some(wanted) => Some(session.find(wanted, None)?.id()),
            None => None,
        };
        let seed = self.seed.unwrap_or_else(|| u64::from_le_bytes(drover_crypt::random::array()));
        let options = VerifyOptions {
            read_data: self.read_data,
            seed,
            snapshot,
            expected_heads,
            ..VerifyOptions::default()
        };
        let outcome = drover_ops::verify(session, &options, &context.progress, &context.cancel)?;
        let mut verified = Verified::new(&outcome);
        let report = &mut verified.report;
        report.seed = self.read_data.filter(|part| *part < 1.0).map(|_| seed);
        let of = session.history.snapshots.iter();
        let of: Vec<_> = of.filter(|s| snapshot.is_none_or(|id| s.id() == id)).collect();
        report.snapshots = of.iter().map(|snapshot| line(snapshot)).collect();
        verified.snapshots = of.iter().map(|snapshot| snapshot.id()).collect();
        Ok(verified)
    }

    /// Compares the objects of a bucket with a snapshot.
    fn bucket(
        &self,
        session: &mut ReaderSession,
        bucket: &Objects,
        source: Option<&str>,
        context: &Context,
    ) -> Result<Verified, Error> {
        let found = session.find(self.snapshot.as_deref().unwrap_or("latest"), source)?;
        let (snapshot, lines) = (found.id(), vec![line(found)]);
        let (progress, cancel) = (&context.progress, &context.cancel);
        let mut counts = self.counted.as_ref().map(|_| Counts::default());
        let outcome = drover_ops::verify_bucket(
            session,
            snapshot,
            bucket,
            counts.as_mut(),
            progress,
            cancel,
        )?;
        let compared = Text::from(bucket.store().url().to_string());
        let mut verified = Verified::new(&outcome);
        verified.report.reconciliation = self
            .counted
            .as_ref()
            .zip(counts)
            .map(|(before, counts)| Reconciliation::new(before, &counts.finish()));
        with_history(session, &mut verified.report, compared, lines);
        verified.snapshots = vec![snapshot];
        Ok(verified)
    }

    /// Compares a tree, as rules and owners have it, with a snapshot.
    fn compared(
        &self,
        session: &mut ReaderSession,
        (origin, rules, owners): (&Origin, &drover_plan::Filter, &OwnerMap),
        source: Option<&str>,
        what: Compared,
        context: &Context,
    ) -> Result<Verified, Error> {
        let wanted = self.snapshot.as_deref().unwrap_or("latest");
        let found = session.find(wanted, source)?;
        let (snapshot, lines) = (found.id(), vec![line(found)]);
        let tree = Filtered::new(origin.open(context)?, Arc::new(filter(rules)?));
        let (outcome, changed) = drover_ops::compare_mapped(
            session,
            snapshot,
            &tree,
            what,
            owners,
            &context.progress,
            &context.cancel,
        )?;
        let mut verified = Verified::new(&outcome);
        let compared = Text::from(origin.to_string());
        with_history(session, &mut verified.report, compared, lines);
        verified.report.changed_since = changed.iter().map(changed_item).collect();
        verified.snapshots = vec![snapshot];
        Ok(verified)
    }
}

/// What the history has against a snapshot counts for what is compared with it too.
fn with_history(
    session: &ReaderSession,
    report: &mut VerifyReport,
    compared: Text,
    lines: Vec<SnapshotLine>,
) {
    if !session.problems.is_empty() {
        report.verdict = Verdict::Failed;
        report.problems.extend(session.problems.iter().map(reading::problem));
    }
    report.compared = Some(compared);
    report.snapshots = lines;
}

const EXPECTED: &str = "it was expected";

/// The source that was meant, as snapshots know it: by name, or by where it lies.
pub fn selector(place: &Place, text: &OsString) -> Result<String, Error> {
    let Some(name) = text.to_str() else {
        let shown = text.display();
        return Err(Error::Usage(format!("{shown}: name the source as drover snapshots does")));
    };
    let planned = place.plan.as_ref().is_some_and(|plan| plan.source(name).is_some());
    if planned {
        return Ok(name.to_owned());
    }
    // A directory is known by its canonical path, one of a server by its URL; whatever is none is
    // a name.
    let located = match place::location(text, "--source") {
        Ok(Location::Directory(root)) => LocalSource::open(&root)
            .ok()
            .and_then(|source| String::from_utf8(source.description().root.to_vec()).ok()),
        Ok(Location::Sftp(url)) => Some(url.to_string()),
        _ => None,
    };
    Ok(located.unwrap_or_else(|| name.to_owned()))
}

/// An outcome as reports have it.
fn item(outcome: &VerifyOutcome) -> VerifyReport {
    VerifyReport {
        verdict: match outcome.verdict {
            drover_ops::Verdict::Verified => Verdict::Verified,
            drover_ops::Verdict::Failed => Verdict::Failed,
            drover_ops::Verdict::Incomplete => Verdict::Incomplete,
        },
        method: Text::from(outcome.method.as_str()),
        totals: VerifyTotals {
            entries: outcome.entries,
            files: outcome.files,
            bytes: outcome.bytes,
            chunks: outcome.chunks,
            packs: outcome.packs,
        },
        problems: outcome.problems.iter().map(problem).collect(),
        unchecked: outcome.unchecked.iter().map(problem).collect(),
        sample: outcome.sample.as_ref().map(|sample| VerifySample {
            packs: sample.packs,
            of: sample.of,
            confidence: 0.99,
            damaged_below: drover_ops::damaged_below(sample),
        }),
        ..VerifyReport::default()
    }
}

fn problem(finding: &Finding) -> Problem {
    let path = finding.path.as_ref().map(PathText::from);
    Problem {
        kind: Text::from(finding.kind.as_str()),
        object: finding.object.as_deref().map(Text::from),
        path_b64: path.as_ref().and_then(|path| path.path_b64.clone()),
        path: path.map(|path| path.path),
        message: Text::from(finding.message.as_str()),
    }
}

fn changed_item((path, message): &(RelativePath, String)) -> ChangedItem {
    ChangedItem { path: PathText::from(path), message: Text::from(message.as_str()) }
}

fn line(snapshot: &CheckedSnapshot) -> SnapshotLine {
    SnapshotLine {
        id: Text::from(snapshot.id().to_string()),
        source: Text::from(snapshot.details.source.as_str()),
        time: format::time(snapshot.stored.open.time),
        exceptions: snapshot.details.exception_count,
        ..SnapshotLine::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_a_percentage() {
        assert_eq!(percent("5%"), Ok(0.05));
        assert_eq!(percent("100"), Ok(1.0));
        for bad in ["0", "101%", "-1", "x", "", "%", "NaN"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }
}
