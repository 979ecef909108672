//! `drover log`: the tamper-evident record of who did what.

use std::ffi::OsString;

use clap::{Args, Subcommand};
use drover_ops::{ReaderSession, inspect};
use drover_repo::log::{Action, StoredRecord};
use drover_report::{Failure, LogItem, LogReport, Problem, Text, Verdict, format};

use crate::{
    context::Context,
    error::Error,
    output::Answer,
    place::{Place, RepositoryArgs},
    reading,
};

const EXAMPLES: &str = "\
Examples:
  drover log show plan.toml
  drover log verify --repo s3://clinic-archive/server1";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct LogArgs {
    #[command(subcommand)]
    action: LogAction,
}

#[derive(Debug, Subcommand)]
enum LogAction {
    /// Check the log and print its records
    Show(WhereArgs),
    /// Check that no record was changed or taken away
    Verify(WhereArgs),
}

#[derive(Debug, Args)]
struct WhereArgs {
    /// A plan file, instead of --repo
    plan: Option<OsString>,
    #[command(flatten)]
    repository: RepositoryArgs,
}

impl LogArgs {
    pub fn run(self, context: &Context) -> Result<Answer, Error> {
        let (action, place) = match self.action {
            LogAction::Show(place) => ("show", place),
            LogAction::Verify(place) => ("verify", place),
        };
        let place = place.repository.place(&mut place.plan.into_iter().collect())?;
        let session = reading::open(&place, context)?;
        let (records, problems) = inspect::log(&session)?;
        let report = report(&place, &session, action, &records, &problems);
        let found = report.problems.len() as u64;
        if found == 0 {
            return Ok(Answer::done(report));
        }
        let n = format::counted(found, "problem was", "problems were");
        let failure = Failure {
            kind: "difference".into(),
            message: format!("{n} found").into(),
            remedy: "Keep the repository as it is, and find out who wrote to it.".into(),
            exit: 4,
        };
        Ok(Answer::failed(report, failure))
    }
}

/// The log as reports have it; the records themselves where they are to be shown.
pub fn report(
    place: &Place,
    session: &ReaderSession,
    action: &str,
    records: &[inspect::LoggedAction],
    problems: &[drover_repo::Problem],
) -> LogReport {
    let problems: Vec<Problem> = session
        .problems
        .iter()
        .chain(problems)
        .map(|p| Problem {
            kind: Text::from(p.kind),
            object: Some(Text::from(p.object.as_str())),
            message: Text::from(p.message.as_str()),
            ..Problem::default()
        })
        .collect();
    LogReport {
        repository: place.text(),
        action: Text::from(action),
        verdict: if problems.is_empty() { Verdict::Verified } else { Verdict::Failed },
        checked: records.len() as u64,
        records: match action {
            "show" => records.iter().map(item).collect(),
            _ => Vec::new(),
        },
        problems,
    }
}

fn item((record, action): &(StoredRecord, Action)) -> LogItem {
    let open = &record.open;
    LogItem {
        time: format::time(open.time),
        writer: Text::from(open.writer.to_string()),
        sequence: open.sequence,
        operator: Text::from(action.operator.as_str()),
        host: Text::from(action.host.as_str()),
        verb: Text::from(action.verb.as_str()),
        subject: Text::from(action.subject.as_str()),
        outcome: Text::from(action.outcome.as_str()),
        program: Text::from(action.program.as_str()),
        hash: Text::from(drover_types::SnapshotId(record.hash).to_string()),
    }
}
