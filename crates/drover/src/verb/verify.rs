//! `drover verify`: whether what is in the cloud is what was on the server.

use std::{ffi::OsString, fs, path::Path, sync::Arc, time::Instant};

use clap::Args;
use drover_ops::{Compared, Finding, OwnerMap, ReaderSession, VerifyOptions, VerifyOutcome};
use drover_plan::Location;
use drover_repo::{CheckedSnapshot, names, objects::Objects};
use drover_report::{
    Body, ChangedItem, CheckedSnapshot as SnapshotLine, Document, Failure, Head, PathText, Problem,
    Text, Verdict, VerifyReport, VerifyTotals, format,
};
use drover_source::{Filtered, LocalSource, Source};
use drover_types::{RelativePath, SnapshotId, WriterId};

use crate::{
    context::Context,
    error::Error,
    filter::filter,
    output::{self, Answer},
    owners::OwnerArgs,
    place::{self, Place, RepositoryArgs},
    reading,
    source::{Origin, SshArgs},
};

const EXAMPLES: &str = "\
Examples:
  Everything that the snapshots name is there, signed and in order:
    drover verify plan.toml

  Read everything back, or a sample:
    drover verify --repo s3://clinic-archive/server1 --read-data
    drover verify --repo s3://clinic-archive/server1 --read-data=5%

  A restore, or the server itself, against the newest snapshot:
    drover verify --repo s3://clinic-archive/server1 --target /srv/restored
    drover verify plan.toml --target s3://clinic-files/server1
    drover verify plan.toml --source pacs

  Nothing was taken back since an earlier verification:
    drover verify plan.toml --expect-head verify.json";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct VerifyArgs {
    /// A plan file, instead of --repo
    plan: Option<OsString>,
    #[command(flatten)]
    repository: RepositoryArgs,
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
    source: Option<OsString>,
    /// Compare with a restore
    #[arg(long, value_name = "DIR | URL")]
    target: Option<OsString>,
    /// Only this snapshot [default: all; with --source or --target that source's newest]
    #[arg(long, value_name = "ID")]
    snapshot: Option<String>,
    /// A snapshot that must still be there: WRITER/SEQUENCE-ID, or an earlier verification's JSON
    #[arg(long, value_name = "HEAD | FILE")]
    expect_head: Vec<OsString>,
    #[command(flatten)]
    owner_map: OwnerArgs,
    #[command(flatten)]
    ssh: SshArgs,
}

fn percent(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').unwrap_or(text).parse::<f64>() {
        Ok(n) if n > 0.0 && n <= 100.0 => Ok(n / 100.0),
        _ => Err("a part is given as 5%, above 0 and up to 100".to_owned()),
    }
}

impl VerifyArgs {
    pub fn run(self, context: &Context) -> Result<Answer, Error> {
        let started = Instant::now();
        let place = self.repository.place(&mut self.plan.clone().into_iter().collect())?;
        let mut report = match self.verified(&place, context) {
            // Nothing was found to be wrong, and nothing to be right.
            Err(error) if error.is_denied() => denied(&error),
            // Without it nothing else can be looked at, and that is a finding of its own.
            Err(error) => unopened(&error).ok_or(error)?,
            Ok(report) => report,
        };
        report.repository = place.text();
        report.seconds = started.elapsed().as_secs_f64();
        Ok(answer(report))
    }

    fn verified(&self, place: &Place, context: &Context) -> Result<VerifyReport, Error> {
        let expected_heads = self.expected_heads()?;
        let mut session = reading::open(place, context)?;
        let verified = self.verify(place, &mut session, expected_heads, context);
        let (subject, outcome) = match &verified {
            Ok(report) => recorded(report),
            Err(error) => (String::new(), error.outcome()),
        };
        context.record(&session.repository, "verify", &subject, &outcome);
        let mut report = verified?;
        report.heads = session.history.heads().iter().map(head).collect();
        Ok(report)
    }

    fn verify(
        &self,
        place: &Place,
        session: &mut ReaderSession,
        expected_heads: Vec<(WriterId, u64, [u8; 32])>,
        context: &Context,
    ) -> Result<VerifyReport, Error> {
        match (&self.target, &self.source) {
            (None, None) => self.stored(session, expected_heads, context),
            (Some(target), source) => {
                let location = place::location(target, "--target")?;
                let source = source.as_ref().map(|text| selector(place, text)).transpose()?;
                let problems =
                    ReaderSession::compare_heads(&session.history, &expected_heads, EXPECTED);
                session.problems.extend(problems);
                let (source, all) = (source.as_deref(), drover_plan::Filter::default());
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
                let tree = (&origin, &all, &owners);
                self.compared(session, tree, source, Compared::Target, context)
            }
            (None, Some(text)) => {
                let plan = place.plan.as_ref().zip(text.to_str());
                let planned = plan.and_then(|(plan, name)| plan.source(name));
                let origin = match planned {
                    Some(source) => Origin::new(&source.url, &self.ssh, Some(&source.ssh))?,
                    None => Origin::new(&place::location(text, "--source")?, &self.ssh, None)?,
                };
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

    /// Verifies what is in the repository.
    fn stored(
        &self,
        session: &mut ReaderSession,
        expected_heads: Vec<(WriterId, u64, [u8; 32])>,
        context: &Context,
    ) -> Result<VerifyReport, Error> {
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
        let mut report = item(&outcome);
        report.seed = self.read_data.filter(|part| *part < 1.0).map(|_| seed);
        report.snapshots = session
            .history
            .snapshots
            .iter()
            .filter(|s| snapshot.is_none_or(|id| s.id() == id))
            .map(line)
            .collect();
        Ok(report)
    }

    /// Compares the objects of a bucket with a snapshot.
    fn bucket(
        &self,
        session: &mut ReaderSession,
        bucket: &Objects,
        source: Option<&str>,
        context: &Context,
    ) -> Result<VerifyReport, Error> {
        let found = session.find(self.snapshot.as_deref().unwrap_or("latest"), source)?;
        let (snapshot, lines) = (found.id(), vec![line(found)]);
        let (progress, cancel) = (&context.progress, &context.cancel);
        let outcome = drover_ops::verify_bucket(session, snapshot, bucket, progress, cancel)?;
        let compared = Text::from(bucket.store().url().to_string());
        Ok(with_history(session, item(&outcome), compared, lines))
    }

    /// Compares a tree, as rules and owners have it, with a snapshot.
    fn compared(
        &self,
        session: &mut ReaderSession,
        (origin, rules, owners): (&Origin, &drover_plan::Filter, &OwnerMap),
        source: Option<&str>,
        what: Compared,
        context: &Context,
    ) -> Result<VerifyReport, Error> {
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
        let compared = Text::from(origin.to_string());
        let mut report = with_history(session, item(&outcome), compared, lines);
        report.changed_since = changed.iter().map(changed_item).collect();
        Ok(report)
    }

    fn expected_heads(&self) -> Result<Vec<(WriterId, u64, [u8; 32])>, Error> {
        let mut heads = Vec::new();
        for text in &self.expect_head {
            let named = text.to_str().and_then(parse_head);
            match named {
                Some(head) => heads.push(head),
                None => heads.extend(heads_of(Path::new(text))?),
            }
        }
        Ok(heads)
    }
}

/// A comparison, and what the history has against the snapshot, which counts here too.
fn with_history(
    session: &ReaderSession,
    mut report: VerifyReport,
    compared: Text,
    lines: Vec<SnapshotLine>,
) -> VerifyReport {
    let history = session.problems.iter().map(|p| Problem {
        kind: Text::from(p.kind),
        object: Some(Text::from(p.object.as_str())),
        message: Text::from(p.message.as_str()),
        ..Problem::default()
    });
    if !session.problems.is_empty() {
        report.verdict = Verdict::Failed;
        report.problems.extend(history);
    }
    report.compared = Some(compared);
    report.snapshots = lines;
    report
}

const DIFFERENCE: &str = "Read the list of problems, and what is to be done below it.";
const INCOMPLETE: &str = "Give the permissions that are missing, and verify again.";
const EXPECTED: &str = "it was expected";

/// A head as the repository names its snapshot, with or without the leading zeros.
fn parse_head(text: &str) -> Option<(WriterId, u64, [u8; 32])> {
    let (writer, rest) = text.strip_prefix(names::SNAPSHOTS).unwrap_or(text).split_once('/')?;
    let (sequence, id) = rest.split_once('-')?;
    Some((WriterId::from_hex(writer)?, sequence.parse().ok()?, SnapshotId::from_hex(id)?.0))
}

/// The heads that an earlier verification saw.
fn heads_of(path: &Path) -> Result<Vec<(WriterId, u64, [u8; 32])>, Error> {
    let json = fs::read(path).map_err(|source| Error::File {
        what: "cannot read the earlier verification",
        path: path.into(),
        source,
    })?;
    let document =
        Document::parse(&json).map_err(|source| Error::Report { path: path.into(), source })?;
    let shown = output::shown(path);
    let Some(Body::Verify(report)) = document.body else {
        return Err(Error::Usage(format!("{shown} is no report of a verification")));
    };
    let heads: Option<Vec<_>> = report
        .heads
        .iter()
        .map(|head| {
            let writer = WriterId::from_hex(head.writer.as_str())?;
            Some((writer, head.sequence, SnapshotId::from_hex(head.snapshot.as_str())?.0))
        })
        .collect();
    match heads {
        Some(heads) if !heads.is_empty() => Ok(heads),
        _ => Err(Error::Usage(format!("{shown} names no heads"))),
    }
}

/// The source that was meant, as snapshots know it: by name, or by where it lies.
fn selector(place: &Place, text: &OsString) -> Result<String, Error> {
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

/// The report of a verification to which the store denied what it needs.
fn denied(error: &Error) -> VerifyReport {
    let message = format!("{}; what depends on it was not looked at", error.failure().message);
    VerifyReport {
        verdict: Verdict::Incomplete,
        method: Text::from("none"),
        unchecked: vec![Problem {
            kind: Text::from("denied"),
            message: Text::from(message),
            ..Problem::default()
        }],
        ..VerifyReport::default()
    }
}

/// The report of a verification that ended at a damaged config or key; `None` for other errors.
fn unopened(error: &Error) -> Option<VerifyReport> {
    let (object, message) = error.damage()?;
    Some(VerifyReport {
        verdict: Verdict::Failed,
        method: Text::from("none"),
        problems: vec![Problem {
            kind: Text::from("damaged"),
            object: Some(Text::from(object)),
            message: Text::from(format!("{message}; what depends on it was not looked at")),
            ..Problem::default()
        }],
        ..VerifyReport::default()
    })
}

fn answer(report: VerifyReport) -> Answer {
    let failure = |kind: &str, message: String, remedy: &str, exit| Failure {
        kind: kind.into(),
        message: message.into(),
        remedy: remedy.into(),
        exit,
    };
    match report.verdict {
        Verdict::Verified => Answer::done(report),
        Verdict::Failed => {
            let n = format::counted(report.problems.len() as u64, "problem was", "problems were");
            Answer::failed(report, failure("difference", format!("{n} found"), DIFFERENCE, 4))
        }
        Verdict::Incomplete => {
            let n = format::counted(report.unchecked.len() as u64, "thing", "things");
            let message = format!("{n} could not be looked at");
            Answer::failed(report, failure("incomplete", message, INCOMPLETE, 1))
        }
    }
}

/// Subject and outcome as the audit log has them.
fn recorded(report: &VerifyReport) -> (String, String) {
    let subject = match report.snapshots.as_slice() {
        [one] => format!("{}, snapshot {}", one.source, one.id),
        all => format!("{} snapshots", all.len()),
    };
    let verdict = match report.verdict {
        Verdict::Verified => "verified",
        Verdict::Failed => "failed",
        Verdict::Incomplete => "incomplete",
    };
    let problems = format::counted(report.problems.len() as u64, "problem", "problems");
    (subject, format!("{verdict}, {}: {problems}", report.method))
}

/// An outcome as reports have it.
pub fn item(outcome: &VerifyOutcome) -> VerifyReport {
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
    }
}

fn head((writer, sequence, id): &(WriterId, u64, [u8; 32])) -> Head {
    Head {
        writer: Text::from(writer.to_string()),
        sequence: *sequence,
        snapshot: Text::from(SnapshotId(*id).to_string()),
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

    #[test]
    fn a_head_is_named_as_its_object() {
        let (writer, id) = ("ab".repeat(16), "cd".repeat(32));
        let expected = Some((WriterId([0xab; 16]), 7, [0xcd; 32]));
        assert_eq!(parse_head(&format!("{writer}/7-{id}")), expected);
        assert_eq!(parse_head(&format!("snapshots/{writer}/{:020}-{id}", 7)), expected);
        assert_eq!(parse_head(&format!("{writer}/x-{id}")), None);
        assert_eq!(parse_head("verify.json"), None);
    }
}
