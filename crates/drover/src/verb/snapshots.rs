//! `drover snapshots`: what passes left.

use std::ffi::OsString;

use clap::Args;
use drover_ops::ReaderSession;
use drover_repo::CheckedSnapshot;
use drover_report::{SnapshotItem, SnapshotsReport, Text, format};

use crate::{
    context::Context,
    error::Error,
    output::Answer,
    place::{Place, RepositoryArgs},
    reading,
};

const EXAMPLES: &str = "\
Examples:
  drover snapshots plan.toml
  drover snapshots --repo s3://clinic-archive/server1 --source pacs --json";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SnapshotsArgs {
    /// A plan file, instead of --repo
    plan: Option<OsString>,
    #[command(flatten)]
    repository: RepositoryArgs,
    /// Only those of one source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

impl SnapshotsArgs {
    pub fn run(self, context: &Context) -> Result<Answer, Error> {
        let place = self.repository.place(&mut self.plan.into_iter().collect())?;
        let session = reading::open(&place, context)?;
        Ok(Answer::done(report(&place, &session, self.source.as_deref())))
    }
}

/// The snapshots of all sources, or of the one of this name, oldest first.
pub fn report(place: &Place, session: &ReaderSession, source: Option<&str>) -> SnapshotsReport {
    let mut snapshots: Vec<&CheckedSnapshot> = session
        .history
        .snapshots
        .iter()
        .filter(|s| source.is_none_or(|name| s.details.source == name))
        .collect();
    snapshots.sort_by_key(|s| s.committed());
    SnapshotsReport {
        repository: place.text(),
        snapshots: snapshots.into_iter().map(item).collect(),
    }
}

fn item(snapshot: &CheckedSnapshot) -> SnapshotItem {
    let (open, details) = (&snapshot.stored.open, &snapshot.details);
    let parent = drover_types::SnapshotId(details.parent);
    SnapshotItem {
        id: Text::from(snapshot.id().to_string()),
        parent: (details.parent != [0; 32]).then(|| Text::from(parent.to_string())),
        source: Text::from(details.source.as_str()),
        location: Text::from_bytes(&details.location),
        host: Text::from(details.host.as_str()),
        writer: Text::from(open.writer.to_string()),
        sequence: open.sequence,
        started: format::time(details.started),
        time: format::time(open.time),
        entries: open.entries,
        files: open.files,
        bytes: open.bytes,
        exceptions: details.exception_count,
        operator: Text::from(details.operator.as_str()),
    }
}
