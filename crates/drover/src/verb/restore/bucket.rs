//! `drover restore` into a bucket: files as plain objects.

use std::{ffi::OsStr, time::Instant};

use drover_ops::Destination;
use drover_report::{RestoreBytes, RestoreReport, Text, format};

use super::{RestoreArgs, item, record};
use crate::{
    context::Context,
    error::Error,
    interrupt::Bell,
    output::Answer,
    place::{Place, SnapshotPath},
    reading,
};

impl RestoreArgs {
    /// Lands a snapshot as objects below `url`.
    pub(super) fn landed_in_bucket(
        &self,
        place: &Place,
        wanted: &OsStr,
        url: &str,
        bell: Option<Bell>,
        context: &Context,
    ) -> Result<Answer, Error> {
        let started = Instant::now();
        let wanted = SnapshotPath::parse(wanted)?;
        let options = self.options(place)?;
        let refusal = if !wanted.path.is_root() {
            Some("a bucket takes whole snapshots: give no path")
        } else if !options.owners.is_empty() || self.owners.is_some() {
            Some("objects have no owners: the side manifest keeps those of the source")
        } else {
            None
        };
        if let Some(message) = refusal {
            return Err(Error::Usage(message.to_owned()));
        }
        let bucket = place.bucket(url)?;
        let mut session = reading::open(place, context)?;
        if let Some(bell) = bell {
            let to = Destination::Bucket(bucket);
            return self.followed(place, &wanted, to, session, &bell, context);
        }
        let found = session.find(&wanted.snapshot, self.source.source.as_deref())?;
        let (snapshot, details) = (found.id(), found.details.clone());
        let time = format::time(found.stored.open.time);
        let outcome = drover_ops::land_in_bucket(
            &mut session,
            snapshot,
            &bucket,
            &options,
            &context.progress,
            &context.cancel,
        )
        .map_err(|error| place.explain(error));
        if !self.dry_run {
            record(context, &session, &details.source, snapshot, &outcome);
        }
        let outcome = outcome?;
        let done = item(&outcome, session.objects().usage().bytes_received);
        let sent = bucket.usage().bytes_sent;
        let report = RestoreReport {
            repository: place.text(),
            dry_run: self.dry_run,
            snapshot: Text::from(snapshot.to_string()),
            source: Text::from(details.source),
            time,
            target: Text::from(bucket.store().url().to_string()),
            warnings: context.warnings(),
            seconds: started.elapsed().as_secs_f64(),
            bytes: RestoreBytes { sent: Some(sent), ..done.bytes },
            ..done
        };
        let exceptions = report.has_exceptions();
        Ok(Answer::with_exceptions(report, exceptions))
    }
}
