//! `drover verify`: whether what is in the cloud is what was on the server.

mod check;
mod exceptions;
mod files;
mod heads;
mod method;
mod reconcile;
mod together;

pub use exceptions::Signed;
pub use method::{MethodArgs, Verified};
pub use together::together;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Instant,
};

use clap::Args;
use drover_crypt::sign::SigningKey;
use drover_ops::{Findings, ReaderSession, audit::of_snapshot};
use drover_plan::Location;
use drover_repo::{
    certificate::{Certificate, Totals, Verdict as Certified},
    state,
};
use drover_report::{
    CertificateItem, CheckedSnapshot, Failure, Head, Problem, Text, Verdict, VerifyReport, format,
};
use drover_types::{SnapshotId, Timestamp, WriterId};

use crate::{
    context::Context,
    error::Error,
    output::{self, Answer},
    place::{self, Place, RepositoryArgs},
    reading,
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

  What it says of each file, for a spreadsheet:
    drover verify plan.toml --target /srv/restored --files files.csv

  Patients, studies and messages of an inventory of the source beside those of the target:
    drover verify plan.toml --target /srv/restored --inventory inventory.json

  A certificate that can be handed on; whether one holds; whether anything was taken back since:
    drover verify plan.toml --read-data --certificate certificate.txt
    drover verify --check-certificate certificate.txt --verifier 3f0c…
    drover verify plan.toml --expect-head certificate.txt

  That one file is in the migration, without showing its neighbours:
    drover verify plan.toml --prove letters/2019.pdf --proof letter.proof
    drover verify --check-proof letter.proof --certificate certificate.txt";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct VerifyArgs {
    /// A plan file, instead of --repo
    plan: Option<OsString>,
    #[command(flatten)]
    repository: RepositoryArgs,
    #[command(flatten)]
    method: MethodArgs,
    /// What drover inventory or plan printed of the source with --json: its counts of DICOM and HL7
    /// stand beside those of the target
    #[arg(long, value_name = "FILE", requires = "target", help_heading = "Evidence")]
    inventory: Option<PathBuf>,
    /// Write what was found of each entry as CSV: path, size, BLAKE3 as b3sum prints it, verdict
    #[arg(long, value_name = "FILE", help_heading = "Evidence", conflicts_with_all = ["check_certificate", "prove", "check_proof"])]
    files: Option<PathBuf>,
    /// Write what was found, signed by this machine and without names; with --check-proof, the
    /// certificate that has to name the snapshot
    #[arg(long, value_name = "FILE", help_heading = "Evidence")]
    certificate: Option<PathBuf>,
    /// Check a certificate; alone, or against a repository
    #[arg(long, value_name = "FILE", help_heading = "Evidence", conflicts_with_all = ["certificate", "prove", "check_proof", "read_data", "target", "source", "snapshot", "expect_head"])]
    check_certificate: Option<PathBuf>,
    /// The verifier whose signature it must have: the key, or a file with it as PEM
    #[arg(long, value_name = "KEY | FILE", help_heading = "Evidence")]
    verifier: Option<OsString>,
    /// Prove that this path is in the snapshot
    #[arg(long, value_name = "PATH", help_heading = "Evidence", requires = "proof", conflicts_with_all = ["read_data", "target", "certificate", "check_proof", "expect_head", "verifier"])]
    prove: Option<OsString>,
    /// Where to write the proof
    #[arg(long, value_name = "FILE", help_heading = "Evidence", requires = "prove")]
    proof: Option<PathBuf>,
    /// Check a proof; alone, or against a repository
    #[arg(long, value_name = "FILE", help_heading = "Evidence", conflicts_with_all = ["read_data", "target", "source", "snapshot", "expect_head"])]
    check_proof: Option<PathBuf>,
}

impl VerifyArgs {
    pub fn run(mut self, context: &Context) -> Result<Answer, Error> {
        let started = Instant::now();
        let mut report = match (&self.check_certificate, &self.check_proof, &self.prove) {
            (Some(file), ..) => self.check_certificate(file, context)?,
            (_, Some(file), _) => self.check_proof(file, context)?,
            (.., Some(path)) => self.prove(path, context)?,
            (None, None, None) if self.verifier.is_some() => {
                let message = "--verifier is whose certificate is checked: give \
                               --check-certificate, or --check-proof with --certificate";
                return Err(Error::Usage(message.to_owned()));
            }
            (None, None, None) => {
                let place = self.repository.place(&mut self.plan.clone().into_iter().collect())?;
                let certificate = match &self.certificate {
                    Some(file) => Some((file.as_path(), verifier(file, context)?)),
                    None => None,
                };
                if self.files.is_some() && !self.method.is_of_one_snapshot(&place) {
                    let message = "--files lists one snapshot: name it with --snapshot, --target or \
                                   --source";
                    return Err(Error::Usage(message.to_owned()));
                }
                if self.inventory.is_some() && !self.method.is_of_one_snapshot(&place) {
                    let message = "--inventory counts one source: name it with --source";
                    return Err(Error::Usage(message.to_owned()));
                }
                // What can go wrong here does so before the verification begins.
                let source = self.method.source.as_ref().and_then(|name| name.to_str());
                let before = self.inventory.as_deref().map(|file| reconcile::kept(file, source));
                let mut before = before.transpose()?;
                if let Some(target) = &self.method.target
                    && let Location::Cloud(_) = place::location(target, "--target")?
                {
                    // Counted while it is read back.
                    self.method.counted = before.take();
                }
                let files = self.files.as_deref();
                let mut report =
                    verify(&self.method, &place, certificate.as_ref(), files, context)?;
                if let (Some(before), Some(target)) = (before, &self.method.target) {
                    let counted = reconcile::with_target(&before, Path::new(target), context)?;
                    report.reconciliation = Some(counted);
                }
                report
            }
        };
        report.seconds = started.elapsed().as_secs_f64();
        report.warnings = context.warnings();
        Ok(answer(report))
    }
}

/// The key of this machine, once it is clear that `file` can be written: a verification can take
/// hours.
pub fn verifier(file: &Path, context: &Context) -> Result<SigningKey, Error> {
    let what = "cannot write the certificate";
    let fail = |source| Error::File { what, path: file.into(), source };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    if !folder.unwrap_or(Path::new(".")).metadata().map_err(fail)?.is_dir() {
        return Err(fail(std::io::ErrorKind::NotADirectory.into()));
    }
    if file.is_dir() {
        return Err(fail(std::io::ErrorKind::IsADirectory.into()));
    }
    signing_key(context)
}

/// The key of this machine, made if there is none yet.
pub fn signing_key(context: &Context) -> Result<SigningKey, Error> {
    state::verifier_key(&context.state_dir()?)
        .map_err(|error| Error::from(drover_ops::Error::from(error)))
}

/// Verifies, records it, and writes the certificate where one is asked for.
pub fn verify(
    method: &MethodArgs,
    place: &Place,
    certificate: Option<&(&Path, SigningKey)>,
    files: Option<&Path>,
    context: &Context,
) -> Result<VerifyReport, Error> {
    let key = certificate.map(|(_, key)| key);
    let (mut report, text) = certified(method, place, key, files, context)?;
    if let (Some((file, _)), Some(certificate)) = (certificate, text) {
        report.certificate = Some(write(file, &certificate)?);
    }
    Ok(report)
}

/// Writes a certificate, and says how reports have it.
fn write(
    file: &Path,
    (certificate, text): &(Certificate, String),
) -> Result<CertificateItem, Error> {
    drover_ops::file::write_whole(file, text.as_bytes(), 0o644).map_err(|source| {
        let what = "cannot write the certificate";
        Error::File { what, path: file.into(), source }
    })?;
    Ok(item(file, certificate))
}

/// Certifies what was verified in a cutover, into `file`.
pub fn certify_into(
    file: &Path,
    key: &SigningKey,
    session: &mut ReaderSession,
    verified: &Verified,
) -> Result<CertificateItem, Error> {
    write(file, &certify(session, verified, key)?)
}

/// Verifies and records it, and lists what was found of each entry in `files`. Returns the report
/// and, where there is a key, its certificate.
pub fn certified(
    method: &MethodArgs,
    place: &Place,
    key: Option<&SigningKey>,
    files: Option<&Path>,
    context: &Context,
) -> Result<Found, Error> {
    let (mut report, certificate) = match opened(method, place, key, files, context) {
        // Nothing was found to be wrong, and nothing to be right.
        Err(error) if error.is_denied() => unopened(denied(&error), key),
        // Without it nothing else can be looked at, and that is a finding of its own.
        Err(error) => unopened(damaged(&error).ok_or(error)?, key),
        Ok(found) => found,
    };
    report.repository = place.text();
    Ok((report, certificate))
}

/// A report, and the certificate of it as it is and as it is written.
type Found = (VerifyReport, Option<(Certificate, String)>);

fn opened(
    method: &MethodArgs,
    place: &Place,
    key: Option<&SigningKey>,
    files: Option<&Path>,
    context: &Context,
) -> Result<Found, Error> {
    let expected_heads = method.expected_heads()?;
    let mut session = reading::open(place, context)?;
    let verified = method.verify(place, &mut session, expected_heads, context);
    let records = match &verified {
        Ok(verified) => recorded(&verified.report),
        Err(error) => vec![(String::new(), error.outcome())],
    };
    for (subject, outcome) in records {
        context.record(&session.repository, "verify", &subject, &outcome);
    }
    let mut verified = verified?;
    verified.report.heads = session.history.heads().iter().map(head).collect();
    match exceptions::listed(&mut session, &verified.snapshots) {
        Ok(listed) => verified.report.exceptions = listed,
        Err(error) => {
            let why = error.failure().message;
            context.progress.warn(&format!("exceptions of the passes cannot be listed: {why}"));
        }
    }
    if let Some(path) = files {
        files::write(path, &mut session, &verified)?;
    }
    let certificate = match key {
        Some(key) => Some(certify(&mut session, &verified, key)?),
        None => None,
    };
    Ok((verified.report, certificate))
}

fn certify(
    session: &mut ReaderSession,
    verified: &Verified,
    key: &SigningKey,
) -> Result<(Certificate, String), Error> {
    let findings = findings(verified);
    let made = drover_ops::certify(session, &verified.snapshots, key.public(), findings)?;
    let text = made.sign(key);
    Ok((made, text))
}

fn unopened(report: VerifyReport, key: Option<&SigningKey>) -> Found {
    let verified = Verified::nothing(report);
    let certificate = key.map(|key| {
        let made = drover_ops::certify_unopened(key.public(), findings(&verified));
        let text = made.sign(key);
        (made, text)
    });
    (verified.report, certificate)
}

/// What a certificate says of a verification: what was compared stays out of it, for it is a path.
fn findings(verified: &Verified) -> Findings {
    let (report, totals) = (&verified.report, &verified.report.totals);
    Findings {
        method: verified.method,
        opened: verified.opened,
        sample: verified.sample,
        statement: report.statement(),
        verdict: certified_verdict(report.verdict),
        problems: report.problems.len() as u64,
        unchecked: report.unchecked.len() as u64,
        changed_since: report.changed_since.len() as u64,
        totals: Totals {
            entries: totals.entries,
            files: totals.files,
            bytes: totals.bytes,
            packs: totals.packs,
            chunks: totals.chunks,
        },
        results: verified.results.clone(),
    }
}

fn certified_verdict(verdict: Verdict) -> Certified {
    match verdict {
        Verdict::Verified => Certified::Verified,
        Verdict::Failed => Certified::Failed,
        Verdict::Incomplete => Certified::Incomplete,
    }
}

/// A certificate as reports have it.
pub fn item(file: &Path, certificate: &Certificate) -> CertificateItem {
    let at = |seconds| format::time(Timestamp { seconds, nanos: 0 });
    let repository = certificate.repository.map(|id| id.to_string());
    CertificateItem {
        file: Text::from(output::shown(file)),
        verifier: Text::from(hex(&certificate.verifier.0)),
        expected: None,
        time: at(certificate.time),
        program: Text::from(certificate.program.as_str()),
        repository: Text::from(repository.unwrap_or_else(|| "unknown".to_owned())),
        verdict: Text::from(certificate.verdict.as_str()),
        statement: Text::from(certificate.statement.as_str()),
        problems: certificate.problems,
        unchecked: certificate.unchecked,
    }
}

/// 32 bytes in hexadecimal.
pub fn hex(bytes: &[u8; 32]) -> String {
    SnapshotId(*bytes).to_hex()
}

const DIFFERENCE: &str = "Read the list of problems, and what is to be done below it.";
const CERTIFIED: &str = "Ask whoever made it for the report, or verify again.";
/// What a report of a certificate that was checked calls itself.
const CHECK: &str = "check-certificate";
const INCOMPLETE: &str = "Give the permissions that are missing, and verify again.";

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
fn damaged(error: &Error) -> Option<VerifyReport> {
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

/// What is answered with a report.
pub fn answer(report: VerifyReport) -> Answer {
    let failure = |kind: &str, message: String, remedy: &str, exit| Failure {
        kind: kind.into(),
        message: message.into(),
        remedy: remedy.into(),
        exit,
    };
    // A genuine certificate of a verification that did not verify is nothing to rely on either.
    let claimed = report.certificate.as_ref().filter(|_| report.action.as_str() == CHECK);
    match report.verdict {
        Verdict::Verified => Answer::done(report),
        Verdict::Failed if claimed.is_some() && report.problems.is_empty() => {
            let message = "it is the certificate of a verification that failed".to_owned();
            Answer::failed(report, failure("difference", message, CERTIFIED, 4))
        }
        Verdict::Failed => {
            let n = format::counted(report.problems.len() as u64, "problem was", "problems were");
            Answer::failed(report, failure("difference", format!("{n} found"), DIFFERENCE, 4))
        }
        Verdict::Incomplete if claimed.is_some() => {
            let message = "it is the certificate of a verification that was incomplete".to_owned();
            Answer::failed(report, failure("incomplete", message, CERTIFIED, 1))
        }
        Verdict::Incomplete => {
            let n = format::counted(report.unchecked.len() as u64, "thing", "things");
            let message = format!("{n} could not be looked at");
            Answer::failed(report, failure("incomplete", message, INCOMPLETE, 1))
        }
    }
}

/// Subjects and outcomes as the audit log has them. Of sources that were verified each by itself
/// each has its own, which a cutover may be waiting for.
fn recorded(report: &VerifyReport) -> Vec<(String, String)> {
    let subject = |of: &CheckedSnapshot| of_snapshot(&of.source, &of.id);
    let each = |of: &CheckedSnapshot| {
        let verdict = of.verdict?;
        Some((subject(of), format!("{}, {}", verdict.as_str(), of.method)))
    };
    if let Some(each) = report.snapshots.iter().map(each).collect()
        && report.snapshots.len() > 1
    {
        return each;
    }
    let subject = match report.snapshots.as_slice() {
        [one] => subject(one),
        all => format!("{} snapshots", all.len()),
    };
    vec![(subject, told(report))]
}

/// What a verification came to, as the audit log has it.
pub fn told(report: &VerifyReport) -> String {
    let problems = format::counted(report.problems.len() as u64, "problem", "problems");
    format!("{}, {}: {problems}", report.verdict.as_str(), report.method)
}

fn head((writer, sequence, id): &(WriterId, u64, [u8; 32])) -> Head {
    Head {
        writer: Text::from(writer.to_string()),
        sequence: *sequence,
        snapshot: Text::from(SnapshotId(*id).to_string()),
    }
}
