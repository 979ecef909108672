//! `drover restore`: puts a snapshot, or a part of it, back on a file system.

mod bucket;
mod follow;

use std::{
    ffi::OsString,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use drover_ops::{Destination, ReaderSession, RestoreOptions, RestoreOutcome, audit::of_snapshot};
use drover_plan::Location;
use drover_report::{ExceptionItem, RestoreBytes, RestoreEntries, RestoreReport, Text, format};
use drover_source::target::Owners;
use drover_types::SnapshotId;

use crate::{
    context::Context,
    error::Error,
    interrupt::Bell,
    output::{self, Answer},
    owners::OwnerArgs,
    place::{self, Place, RepositoryArgs, SnapshotPath},
    reading::{self, SourceArg},
};

const EXAMPLES: &str = "\
Examples:
  The newest snapshot, into a directory that is new or empty:
    drover restore --repo s3://clinic-archive/server1 latest /srv/restored

  One directory, or one file, of a snapshot:
    drover restore --repo /mnt/backup 5f3a91:studies/2019 /tmp/2019

  Bring an earlier restore up to date, removing what is gone:
    drover restore plan.toml latest /srv/restored --delete

  As plain objects in a bucket:
    drover restore plan.toml latest s3://clinic-files/server1 --delete

  Keep a directory, or a bucket, up to date with each pass, until it is stopped:
    drover restore plan.toml latest /srv/landing --follow --poll 30s
    drover restore plan.toml latest s3://clinic-files/server1 --follow";

#[derive(Debug, Args)]
#[command(
    after_help = EXAMPLES,
    override_usage = "drover restore [OPTIONS] [PLAN] [SNAPSHOT[:PATH]] [TARGET]"
)]
pub struct RestoreArgs {
    /// A plan file, unless --repo is given; then what to restore (latest, or the beginning of a
    /// snapshot's id, and a path below it), and where to
    #[arg(value_name = "PLAN, SNAPSHOT[:PATH], TARGET", num_args = 0..=3)]
    positionals: Vec<OsString>,
    #[command(flatten)]
    repository: RepositoryArgs,
    #[command(flatten)]
    source: SourceArg,
    #[command(flatten)]
    owner_map: OwnerArgs,
    /// Remove from the target what the snapshot lacks
    #[arg(long)]
    delete: bool,
    /// Accept a target that is not empty and is no earlier restore of this source
    #[arg(long)]
    overwrite: bool,
    /// Accept that what is written over is a source of the plan, or a part of one
    #[arg(long, requires = "overwrite")]
    into_source: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Bring the target up to date with each new snapshot, deletions included, until SIGINT or
    /// SIGTERM; SIGUSR1 looks at once
    #[arg(long, conflicts_with = "dry_run")]
    follow: bool,
    /// How often to look for a new snapshot: a number with s, m or h
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = interval, requires = "follow")]
    poll: Duration,
    /// Compare each landing with its snapshot, every file hashed; the outcome is in the audit log,
    /// where a cutover on another machine waits for it
    #[arg(long, requires = "follow")]
    verify: bool,
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
        let bell = self.follow.then(Bell::install).transpose().map_err(Error::Signals)?;
        let place = self.repository.place(&mut self.positionals)?;
        let (wanted, target) = match self.positionals.as_slice() {
            [wanted, target] => (wanted.clone(), place::location(target, "TARGET")?),
            rest => {
                let planned = place.plan.as_ref().and_then(|plan| plan.target.as_ref());
                let wanted = rest.first().cloned().unwrap_or_else(|| "latest".into());
                match (planned.map(|target| &target.url), rest.len()) {
                    (Some(target), 0 | 1) => (wanted, target.clone()),
                    _ => {
                        let message =
                            "what is to be restored, and where to? SNAPSHOT[:PATH] TARGET";
                        return Err(Error::Usage(message.to_owned()));
                    }
                }
            }
        };
        let target = match target {
            Location::Directory(target) => target,
            Location::Cloud(url) => {
                return self.landed_in_bucket(&place, &wanted, &url, bell, context);
            }
            Location::Sftp(_) => {
                let message = "TARGET must be a directory of this machine, or a bucket";
                return Err(Error::Usage(message.to_owned()));
            }
        };
        place.refuse_around(&target, "the target")?;
        if self.overwrite && !self.into_source {
            place.refuse_sources(&target)?;
        }
        if self.delete || self.follow {
            place.refuse_within(&target, "the target", false)?;
        }
        let wanted = SnapshotPath::parse(&wanted)?;
        let mut session = reading::open(&place, context)?;
        if let Some(bell) = bell {
            let to = Destination::Directory(target);
            return self.followed(&place, &wanted, to, session, &bell, context);
        }
        let found = session.find(&wanted.snapshot, self.source.source.as_deref())?;
        let (snapshot, details) = (found.id(), found.details.clone());
        let time = format::time(found.stored.open.time);
        let outcome = drover_ops::restore(
            &mut session,
            snapshot,
            &wanted.path,
            &target,
            &self.options(&place)?,
            &context.progress,
            &context.cancel,
        )
        .map_err(|error| place.explain(error));
        if !self.dry_run {
            record(context, &session, &details.source, snapshot, &outcome);
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

    fn options(&self, place: &Place) -> Result<RestoreOptions, Error> {
        let owners = self.owner_map.map(place.plan.as_ref())?;
        let options = RestoreOptions {
            delete: self.delete,
            overwrite: self.overwrite,
            dry_run: self.dry_run,
            ..RestoreOptions::default()
        };
        let mut options = options.owned(owners);
        let target = &mut options.target;
        if let Some(owners) = self.owners {
            target.owners = match owners {
                OwnersArg::Keep => Owners::Keep,
                OwnersArg::ByName => Owners::ByName,
                OwnersArg::Ignore => Owners::Ignore,
            };
        }
        target.setuid |= self.setuid;
        target.devices |= self.devices;
        Ok(options)
    }
}

/// Records in the audit log what came of a restore.
fn record(
    context: &Context,
    session: &ReaderSession,
    source: &str,
    snapshot: SnapshotId,
    outcome: &Result<RestoreOutcome, Error>,
) {
    let recorded = outcome.as_ref().map_or_else(Error::outcome, |outcome| {
        let RestoreOutcome { written, unchanged, removed, exceptions, .. } = outcome;
        let exceptions = exceptions.len();
        format!("{written} entries written, {unchanged} there already, {removed} removed, {exceptions} exceptions")
    });
    let subject = of_snapshot(source, snapshot);
    context.record(&session.repository, "restore", &subject, &recorded);
}

/// A number with `s`, `m` or `h`.
fn interval(text: &str) -> Result<Duration, String> {
    let unit = text.chars().last().unwrap_or_default();
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => 0,
    };
    let number = text.strip_suffix(unit).and_then(|number| number.parse::<u32>().ok());
    match number.map(|number| u64::from(number) * seconds) {
        Some(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("it is a number with s, m or h, such as 30s, from a second to a day".to_owned()),
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
        bytes: RestoreBytes { written: outcome.bytes_written, received, sent: None },
        exceptions: outcome.exceptions.iter().map(ExceptionItem::from).collect(),
        ..RestoreReport::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_a_number_with_a_unit() {
        let seconds = |text: &str| interval(text).map(|interval| interval.as_secs());
        assert_eq!((seconds("30s"), seconds("5m"), seconds("2h")), (Ok(30), Ok(300), Ok(7200)));
        for bad in ["", "s", "0s", "30", "1d", "-1s", "1.5s", "25h", "\u{b5}"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }
}
