//! `drover restore`: puts a snapshot, or a part of it, back on a file system.

use std::{ffi::OsString, time::Instant};

use clap::{Args, ValueEnum};
use drover_ops::{RestoreOptions, RestoreOutcome};
use drover_plan::Location;
use drover_report::{ExceptionItem, RestoreBytes, RestoreEntries, RestoreReport, Text, format};
use drover_source::target::{Owners, TargetOptions};

use crate::{
    context::Context,
    error::Error,
    output::{self, Answer},
    place::{self, RepositoryArgs, SnapshotPath},
    reading::{self, SourceArg},
};

const EXAMPLES: &str = "\
Examples:
  The newest snapshot, into a directory that is new or empty:
    drover restore --repo s3://clinic-archive/server1 latest /srv/restored

  One directory, or one file, of a snapshot:
    drover restore --repo /mnt/backup 5f3a91:studies/2019 /tmp/2019

  Bring an earlier restore up to date, removing what is gone:
    drover restore plan.toml latest /srv/restored --delete";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RestoreArgs {
    /// A plan file, unless --repo is given; then what to restore (latest, or the beginning of a
    /// snapshot's id, and a path below it), and where to
    #[arg(value_name = "PLAN] [SNAPSHOT[:PATH]] [TARGET", num_args = 0..=3)]
    positionals: Vec<OsString>,
    #[command(flatten)]
    repository: RepositoryArgs,
    #[command(flatten)]
    source: SourceArg,
    /// Remove from the target what the snapshot lacks
    #[arg(long)]
    delete: bool,
    /// Accept a target that is not empty and is no earlier restore of this source
    #[arg(long)]
    overwrite: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Whom the files shall belong to [default: keep for root, else ignore]
    #[arg(long, value_name = "WHO")]
    owners: Option<OwnersArg>,
    /// Put setuid, setgid and capabilities back on files [default: for root only]
    #[arg(long)]
    setuid: bool,
    /// Make character and block devices [default: for root only]
    #[arg(long)]
    devices: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OwnersArg {
    /// The numbers they had
    Keep,
    /// Whoever has the same name here
    ByName,
    /// Whoever runs the restore
    Ignore,
}

impl RestoreArgs {
    pub fn run(mut self, context: &Context) -> Result<Answer, Error> {
        let started = Instant::now();
        let place = self.repository.place(&mut self.positionals)?;
        let (wanted, target) = match self.positionals.as_slice() {
            [wanted, target] => (wanted.clone(), place::directory(target, "TARGET")?),
            rest => {
                let planned = place.plan.as_ref().and_then(|plan| plan.target.as_ref());
                let wanted = rest.first().cloned().unwrap_or_else(|| "latest".into());
                match (planned.map(|target| &target.url), rest.len()) {
                    (Some(Location::Directory(target)), 0 | 1) => (wanted, target.clone()),
                    _ => {
                        let message =
                            "what is to be restored, and where to? SNAPSHOT[:PATH] TARGET";
                        return Err(Error::Usage(message.to_owned()));
                    }
                }
            }
        };
        place.refuse_around(&target, "the target")?;
        if self.delete {
            place.refuse_within(&target, "the target", false)?;
        }
        let wanted = SnapshotPath::parse(&wanted)?;
        let mut session = reading::open(&place, context)?;
        let found = session.find(&wanted.snapshot, self.source.source.as_deref())?;
        let (snapshot, details) = (found.id(), found.details.clone());
        let time = format::time(found.stored.open.time);
        let outcome = drover_ops::restore(
            &mut session,
            snapshot,
            &wanted.path,
            &target,
            &self.options(),
            &context.progress,
            &context.cancel,
        )
        .map_err(|error| place.explain(error));
        if !self.dry_run {
            let subject = format!("{}, snapshot {snapshot}", details.source);
            let recorded = outcome.as_ref().map_or_else(Error::outcome, |outcome| {
                let RestoreOutcome { written, unchanged, removed, exceptions, .. } = outcome;
                let exceptions = exceptions.len();
                format!("{written} entries written, {unchanged} there already, {removed} removed, {exceptions} exceptions")
            });
            context.record(&session.repository, "restore", &subject, &recorded);
        }
        let outcome = outcome?;
        let received = session.objects().usage().bytes_received;
        let report = RestoreReport {
            repository: place.text(),
            dry_run: self.dry_run,
            snapshot: Text::from(snapshot.to_string()),
            path: Text::from_bytes(wanted.path.as_bytes()),
            source: Text::from(details.source),
            time,
            target: Text::from(output::shown(&target)),
            warnings: context.warnings(),
            seconds: started.elapsed().as_secs_f64(),
            ..item(&outcome, received)
        };
        let exceptions = report.has_exceptions();
        Ok(Answer::with_exceptions(report, exceptions))
    }

    fn options(&self) -> RestoreOptions {
        let mut target = TargetOptions::default();
        if let Some(owners) = self.owners {
            target.owners = match owners {
                OwnersArg::Keep => Owners::Keep,
                OwnersArg::ByName => Owners::ByName,
                OwnersArg::Ignore => Owners::Ignore,
            };
        }
        target.setuid |= self.setuid;
        target.devices |= self.devices;
        RestoreOptions {
            delete: self.delete,
            overwrite: self.overwrite,
            dry_run: self.dry_run,
            target,
        }
    }
}

/// A restore as reports have it, as far as its outcome says.
pub fn item(outcome: &RestoreOutcome, received: u64) -> RestoreReport {
    RestoreReport {
        entries: RestoreEntries {
            written: outcome.written,
            unchanged: outcome.unchanged,
            removed: outcome.removed,
        },
        bytes: RestoreBytes { written: outcome.bytes_written, received },
        exceptions: outcome.exceptions.iter().map(ExceptionItem::from).collect(),
        ..RestoreReport::default()
    }
}
