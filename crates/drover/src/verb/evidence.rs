//! `drover evidence`: one folder for whoever has to be shown what was done.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    time::Instant,
};

use clap::Args;
use drover_ops::{
    ReaderSession,
    cutover::{Chain, State, Taken},
    evidence::{EvidenceFolder, Piece, Summary},
    exceptions, inspect,
};
use drover_plan::Location;
use drover_report::{
    BucketSetting, Document, EvidencePiece, EvidenceReport, Failure, Text, Verdict, VerifyReport,
    csv, format,
};
use drover_types::{FileHash, RelativePath, SnapshotId, clock};

use super::{
    key, log, snapshots,
    verify::{self, MethodArgs, Signed},
};
use crate::{
    bucket,
    context::Context,
    error::Error,
    output::{self, Answer},
    place::{self, Place, RepositoryArgs},
    reading,
};

const EXAMPLES: &str = "\
Examples:
  After a quick verification, or one that reads everything back:
    drover evidence plan.toml --out evidence
    drover evidence plan.toml --out evidence --read-data

  With the landed target compared, and reports of earlier steps in the folder:
    drover evidence plan.toml --out evidence --target /srv/restored --include sync.html

  With a row for each file:
    drover evidence plan.toml --out evidence --files";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct EvidenceArgs {
    /// A plan file, instead of --repo
    plan: Option<OsString>,
    #[command(flatten)]
    repository: RepositoryArgs,
    /// The folder to make; one that drover evidence made is made anew
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A file to put into it as it is, such as a report; may be given several times
    #[arg(long, value_name = "FILE")]
    include: Vec<PathBuf>,
    /// List every file of the newest snapshot of each source, with its hash
    #[arg(long)]
    files: bool,
    #[command(flatten)]
    method: MethodArgs,
}

impl EvidenceArgs {
    pub fn run(self, context: &Context) -> Result<Answer, Error> {
        let started = Instant::now();
        let place = self.repository.place(&mut self.plan.clone().into_iter().collect())?;
        let out = match place::location(self.out.as_os_str(), "--out")? {
            Location::Directory(out) => out,
            Location::Cloud(_) | Location::Sftp(_) => {
                return Err(Error::Usage("--out must be a directory of this machine".to_owned()));
            }
        };
        place.refuse_around(&out, "the evidence")?;
        // What can go wrong on this machine does so before the verification begins.
        let key = verify::signing_key(context)?;
        let mut folder = EvidenceFolder::create(&out).map_err(drover_ops::Error::from)?;
        if let Some(plan) = self.plan.as_ref().filter(|_| place.plan.is_some()) {
            let path = PathBuf::from(plan);
            let bytes = fs::read(&path).map_err(|source| Error::File {
                what: "cannot read the plan",
                path,
                source,
            })?;
            add(&mut folder, "plan.toml", "the plan, byte by byte", &bytes)?;
        }
        for file in &self.include {
            folder.include(file).map_err(drover_ops::Error::from)?;
        }

        let (mut report, certificate) =
            verify::certified(&self.method, &place, Some(&key), None, context)?;
        if let Some((certificate, text)) = certificate {
            report.certificate = Some(verify::item(Path::new("certificate.txt"), &certificate));
            let what = "what was verified, signed, without names";
            add(&mut folder, "certificate.txt", what, text.as_bytes())?;
        }
        report.seconds = started.elapsed().as_secs_f64();
        let (method, verdict) = (report.method.clone(), report.verdict);
        let failure = verification(&mut folder, report)?;

        let mut made = EvidenceReport {
            repository: place.text(),
            folder: Text::from(output::shown(folder.root())),
            verdict,
            method,
            log: Verdict::Incomplete,
            verifier: Text::from(verify::hex(&key.public().0)),
            ..EvidenceReport::default()
        };
        self.rest(&mut folder, &place, &mut made, context)?;
        let summary = Summary {
            time: format::time(clock::now()).to_string(),
            repository: made.repository.to_string(),
            verdict: made.verdict.as_str().to_owned(),
            method: made.method.to_string(),
            log: made.log.as_str().to_owned(),
            verifier: made.verifier.to_string(),
            missing: made.missing.iter().map(Text::to_string).collect(),
        };
        let pieces = folder.finish(&key, &summary).map_err(drover_ops::Error::from)?;
        made.pieces = pieces.iter().map(piece).collect();
        made.seconds = started.elapsed().as_secs_f64();
        Ok(match (failure, made.missing.len()) {
            (Some(failure), _) => Answer::failed(made, failure),
            (None, 0) => Answer::done(made),
            (None, _) => {
                let failure = Failure {
                    kind: "incomplete".into(),
                    message: "the folder lacks something; the list below says what and why".into(),
                    remedy: "Mend what stood in the way, and run it again.".into(),
                    exit: 1,
                };
                Answer::failed(made, failure)
            }
        })
    }

    /// What is read from the repository beside the verification. What cannot be is missing.
    fn rest(
        &self,
        folder: &mut EvidenceFolder,
        place: &Place,
        made: &mut EvidenceReport,
        context: &Context,
    ) -> Result<(), Error> {
        let mut missing = |what: &str, error: &Error| {
            let failure = error.failure();
            made.missing.push(Text::from(format!("{what}: {}", failure.message)));
        };
        let mut session = match reading::open(place, context) {
            Ok(session) => session,
            Err(error) => {
                missing("the audit log, keys, snapshots and exceptions", &error);
                return Ok(());
            }
        };
        let chain = match inspect::log(&session) {
            Ok((records, problems)) => {
                let report = log::report(place, &session, "show", &records, &problems);
                made.log = report.verdict;
                documents(folder, "log", "the audit log, and whether it is whole", report, true)?;
                Chain::beside(&session, &records).map_err(Error::from)
            }
            Err(error) => {
                let error = Error::from(error);
                missing("the audit log", &error);
                Err(error)
            }
        };
        match key::listed(place, context) {
            Ok(report) => {
                let what = "ways in and writers, without any secret";
                documents(folder, "keys", what, report, false)?;
            }
            Err(error) => missing("the keys", &error),
        }
        let chain = chain.unwrap_or_else(|error| {
            missing("the steps of the cutover", &error);
            Chain::default()
        });
        step_rows(folder, &chain)?;
        made.bucket = bucket::ask(session.objects());
        bucket_rows(folder, &made.bucket, &chain)?;
        let report = snapshots::report(place, &session, None);
        documents(folder, "snapshots", "what each pass left", report, false)?;
        if let Err(error) = exception_rows(folder, &mut session, &Signed::of(&chain)) {
            missing("the exceptions", &error);
        }
        if self.files
            && let Err(error) = file_rows(folder, &mut session)
        {
            missing("the files", &error);
        }
        let subject = format::counted(folder.pieces().len() as u64, "piece", "pieces");
        context.record(&session.repository, "evidence", &subject, made.verdict.as_str());
        Ok(())
    }
}

fn add(
    folder: &mut EvidenceFolder,
    name: &str,
    what: &'static str,
    bytes: &[u8],
) -> Result<(), Error> {
    folder.add(name, what, bytes).map_err(|error| drover_ops::Error::from(error).into())
}

/// Adds a report as JSON and as a page, and with `text` as text too.
fn documents(
    folder: &mut EvidenceFolder,
    name: &str,
    what: &'static str,
    body: impl Into<drover_report::Body>,
    text: bool,
) -> Result<(), Error> {
    document(folder, name, what, &Document::done(body), text)
}

fn document(
    folder: &mut EvidenceFolder,
    name: &str,
    what: &'static str,
    document: &Document,
    text: bool,
) -> Result<(), Error> {
    let json = document.to_json().map_err(|error| Error::Output(error.into()))?;
    add(folder, &format!("{name}.json"), what, json.as_bytes())?;
    let page = document.page();
    let html = drover_report::html(&page)
        .map_err(|error| Error::Output(io::Error::other(error.to_string())))?;
    add(folder, &format!("{name}.html"), what, html.as_bytes())?;
    if text {
        let mut lines = Vec::new();
        page.write_text(&mut lines).map_err(Error::Output)?;
        add(folder, &format!("{name}.txt"), what, &lines)?;
    }
    Ok(())
}

/// Adds the report of the verification as `drover verify --json` prints it. Returns why it failed,
/// where it did.
fn verification(
    folder: &mut EvidenceFolder,
    report: VerifyReport,
) -> Result<Option<Failure>, Error> {
    let Answer::Report(found, _) = verify::answer(report) else { return Ok(None) };
    document(folder, "verification", "the report of the verification", &found, false)?;
    Ok(found.error)
}

/// Takes the cells of a row.
type Line<'l> = dyn FnMut(&[&str]) -> Result<(), drover_ops::Error> + 'l;

/// Adds a table as CSV, a row for each that `fill` hands over.
fn rows(
    folder: &mut EvidenceFolder,
    name: &str,
    what: &'static str,
    columns: &[&str],
    fill: impl FnOnce(&mut Line<'_>) -> Result<(), drover_ops::Error>,
) -> Result<(), Error> {
    let mut failed = None;
    let added = folder.add_with(name, what, |out| {
        let mut line = |cells: &[&str]| {
            let mut row = String::new();
            csv::row(&mut row, cells.iter().copied());
            out.write_all(row.as_bytes()).map_err(drover_ops::Error::Output)
        };
        let filled = line(columns).and_then(|()| fill(&mut line));
        filled.map_err(|error| {
            failed = Some(error);
            io::Error::other("what it lists cannot be read")
        })
    });
    match (failed, added) {
        (Some(error), _) => Err(error.into()),
        (None, added) => added.map_err(|error| drover_ops::Error::from(error).into()),
    }
}

/// Adds the steps of cutovers, where there are any.
fn step_rows(folder: &mut EvidenceFolder, chain: &Chain) -> Result<(), Error> {
    if chain.steps.is_empty() {
        return Ok(());
    }
    let what = "each step of the cutover, as it was signed";
    let columns = ["number", "time", "source", "state", "operator", "host", "note", "accepted"];
    rows(folder, "cutover.csv", what, &columns, |line| {
        chain.steps.iter().try_for_each(|step| {
            let to = &step.to;
            let texts = [&to.operator, &to.host, &to.note].map(|text| Text::from(text.as_str()));
            let [operator, host, note] = texts.each_ref().map(Text::as_str);
            let (number, time) = (step.sequence.to_string(), format::time(step.time));
            let source = Text::from(to.source.as_str());
            let (state, accepted) = (to.state.as_str(), step.accepted().unwrap_or_default());
            line(&[&number, time.as_str(), source.as_str(), state, operator, host, note, accepted])
        })
    })
}

/// Adds the settings of the bucket: as rehearsals and freezes found them, and as they are.
fn bucket_rows(
    folder: &mut EvidenceFolder,
    now: &[BucketSetting],
    chain: &Chain,
) -> Result<(), Error> {
    let is_noted = |step: &&Taken| matches!(step.to.state, State::Rehearsed | State::Freezing);
    let noted: Vec<_> = chain.steps.iter().filter(is_noted).collect();
    if now.is_empty() && noted.iter().all(|step| step.settings().next().is_none()) {
        return Ok(());
    }
    let what = "the settings of the bucket: at each rehearsal and freeze, and when this was made";
    let columns = ["when", "time", "setting", "result", "is", "remedy"];
    rows(folder, "bucket.csv", what, &columns, |line| {
        for step in noted {
            let time = format::time(step.time);
            for (setting, words) in step.settings() {
                let words = Text::from(words);
                let when = step.to.state.as_str();
                line(&[when, time.as_str(), setting, "", words.as_str(), ""])?;
            }
        }
        let time = format::time(clock::now());
        now.iter().try_for_each(|s| {
            let [setting, result, is, remedy] =
                [&s.setting, &s.result, &s.is, &s.remedy].map(Text::as_str);
            line(&["now", time.as_str(), setting, result, is, remedy])
        })
    })
}

/// Adds what the newest pass of each source could not take, and who signed for it.
fn exception_rows(
    folder: &mut EvidenceFolder,
    session: &mut ReaderSession,
    signed: &Signed,
) -> Result<(), Error> {
    let newest: Vec<_> = session.sources().values().map(|snapshot| snapshot.id()).collect();
    let what = "what the newest pass of each source could not take";
    let columns = ["snapshot", "source", "kind", "path", "message", "accepted by"];
    rows(folder, "exceptions.csv", what, &columns, |line| {
        exceptions(session, &newest, &mut |snapshot, exception| {
            let source = Text::from(snapshot.details.source.as_str());
            let path = Text::from_bytes(exception.path.as_bytes());
            let message = Text::from(exception.message.as_str());
            let id = snapshot.id().to_hex();
            let kind = exception.kind.as_str();
            let by = signed.by(&snapshot.details.source, exception).unwrap_or_default();
            let by = Text::from(by);
            line(&[&id, source.as_str(), kind, path.as_str(), message.as_str(), by.as_str()])
        })
    })
}

/// Adds every entry of the newest snapshot of each source.
fn file_rows(folder: &mut EvidenceFolder, session: &mut ReaderSession) -> Result<(), Error> {
    let newest: Vec<(String, SnapshotId)> =
        session.sources().iter().map(|(name, newest)| ((*name).to_owned(), newest.id())).collect();
    let what = "every entry of the newest snapshot of each source, with its hash";
    let columns = ["snapshot", "source", "path", "kind", "size", "modified", "blake3"];
    rows(folder, "files.csv", what, &columns, |line| {
        for (source, snapshot) in newest {
            let (source, id) = (Text::from(source), snapshot.to_hex());
            inspect::list(session, snapshot, &RelativePath::root(), true, &mut |entry| {
                let path = Text::from_bytes(entry.path.as_bytes());
                let time = format::time(entry.attributes.mtime);
                let content = entry.content.as_ref();
                let size = content.map(|content| content.size.to_string()).unwrap_or_default();
                let hash = content.map(|content| content.hash.to_hex()).unwrap_or_default();
                let kind = entry.kind.as_str();
                let (path, time) = (path.as_str(), time.as_str());
                line(&[&id, source.as_str(), path, kind, &size, time, &hash])
            })?;
        }
        Ok(())
    })
}

fn piece(piece: &Piece) -> EvidencePiece {
    EvidencePiece {
        name: Text::from(piece.name.as_str()),
        what: Text::from(piece.what),
        bytes: piece.bytes,
        blake3: Text::from(FileHash(piece.blake3).to_hex()),
    }
}
