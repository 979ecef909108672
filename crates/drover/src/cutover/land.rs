//! Landing the last snapshot and verifying it: here, in a bucket, or by another machine.

use std::time::Duration;

use drover_ops::{
    Compared, RestoreOptions, RestoreOutcome, Verdict, VerifyOptions, VerifyOutcome,
    audit::{Event, of_snapshot},
    inspect,
};
use drover_plan::{Landing, Method};
use drover_report::{Text, format};
use drover_source::LocalSource;
use drover_types::{RelativePath, SnapshotId, Timestamp, clock};

use super::{Cutover, gates};
use crate::{
    error::Error,
    owners::OwnerArgs,
    verb::verify::{self, Verified},
};

/// How often the audit log is looked at for what another machine landed.
const LOOK: Duration = Duration::from_secs(2);

impl Cutover<'_> {
    /// Lands a snapshot and verifies it, as the plan asks; then looks at its exceptions.
    pub(super) fn land_and_verify(&mut self, snapshot: SnapshotId) -> Result<(), Error> {
        self.refresh()?;
        let owners = OwnerArgs::default().map(Some(self.plan))?;
        let target = self.target();
        let bucket = self.bucket().map(|url| self.place.bucket(&url)).transpose()?;
        let elsewhere = self.plan.cutover.landing == Landing::Elsewhere;
        if let Some(target) = &target {
            self.step("landing", |cutover| {
                let options = RestoreOptions { delete: true, ..RestoreOptions::default() };
                let options = options.owned(owners.clone());
                let (progress, cancel) = (&cutover.context.progress, &cutover.context.cancel);
                let root = RelativePath::root();
                let done = drover_ops::restore(
                    &mut cutover.reader,
                    snapshot,
                    &root,
                    target,
                    &options,
                    progress,
                    cancel,
                )?;
                Ok(landed(&done))
            })?;
        } else if let Some(bucket) = &bucket {
            self.step("landing in the bucket", |cutover| {
                let options = RestoreOptions { delete: true, ..RestoreOptions::default() };
                let (progress, cancel) = (&cutover.context.progress, &cutover.context.cancel);
                let done = drover_ops::land_in_bucket(
                    &mut cutover.reader,
                    snapshot,
                    bucket,
                    &options,
                    progress,
                    cancel,
                )?;
                Ok(landed(&done))
            })?;
        } else if elsewhere {
            self.step("landing elsewhere", |cutover| cutover.wait_for("restore", "", snapshot))?;
        }
        let method = self.plan.cutover.verify;
        self.step("verification", |cutover| {
            let options = VerifyOptions {
                read_data: (method == Method::ReadBack).then_some(1.0),
                snapshot: Some(snapshot),
                ..VerifyOptions::default()
            };
            let (progress, cancel) = (&cutover.context.progress, &cutover.context.cancel);
            let outcome = drover_ops::verify(&mut cutover.reader, &options, progress, cancel)?;
            cutover.judge(&outcome, snapshot)
        })?;
        if let (Some(bucket), Method::Landed) = (&bucket, method) {
            self.step("verification of the bucket", |cutover| {
                let (progress, cancel) = (&cutover.context.progress, &cutover.context.cancel);
                let reader = &mut cutover.reader;
                let outcome =
                    drover_ops::verify_bucket(reader, snapshot, bucket, None, progress, cancel)?;
                cutover.judge(&outcome, snapshot)
            })?;
        }
        match (&target, method, elsewhere) {
            (Some(target), Method::Landed, _) => {
                self.step("verification of the target", |cutover| {
                    let source = LocalSource::open(target).map_err(drover_ops::Error::from)?;
                    let (progress, cancel) = (&cutover.context.progress, &cutover.context.cancel);
                    let what = Compared::Target;
                    let (outcome, _) = drover_ops::compare_mapped(
                        &mut cutover.reader,
                        snapshot,
                        &source,
                        what,
                        &owners,
                        progress,
                        cancel,
                    )?;
                    cutover.judge(&outcome, snapshot)
                })?
            }
            (None, Method::Landed, true) => self.step("verification elsewhere", |cutover| {
                let outcome = "verified, landed and hashed";
                cutover.wait_for("verify", outcome, snapshot)
            })?,
            _ => {}
        }
        let list = drover_ops::cutover::exceptions(&mut self.reader, snapshot)?;
        let open = gates::open_exceptions(&list, &self.chain, self.name()).len();
        let allowed = self.plan.cutover.exceptions.unwrap_or(0);
        if open > allowed {
            let open = format::counted(open as u64, "exception", "exceptions");
            let message = format!("the last pass has {open} that nobody accepted");
            return Err(Error::Cutover(message));
        }
        Ok(())
    }

    fn judge(&mut self, outcome: &VerifyOutcome, snapshot: SnapshotId) -> Result<String, Error> {
        let mut verified = Verified::new(outcome);
        verified.snapshots = vec![snapshot];
        let told = verify::told(&verified.report);
        let (operator, subject) = (self.context.operator(), of_snapshot(self.name(), snapshot));
        let event =
            Event { operator: &operator, verb: "verify", subject: &subject, outcome: &told };
        self.writer.record(&event)?;
        let found = &verified.report;
        let (name, several) = (self.name(), self.parts.len() > 1);
        let problems = found.problems.iter().chain(&found.unchecked).cloned().map(|mut problem| {
            if several {
                problem.message = Text::from(format!("{name}: {}", problem.message));
            }
            problem
        });
        self.report.problems.extend(problems);
        self.verified.insert(self.at, verified);
        match outcome.verdict {
            Verdict::Verified => Ok(told),
            Verdict::Failed | Verdict::Incomplete => Err(Error::Difference(told)),
        }
    }

    /// Waits until the audit log tells that another machine did something with a snapshot.
    fn wait_for(
        &mut self,
        verb: &str,
        outcome: &str,
        snapshot: SnapshotId,
    ) -> Result<String, Error> {
        let subject = of_snapshot(self.name(), snapshot);
        // A rehearsal waits as long as the freeze may take.
        let limit = self.plan.cutover.freeze.map_or(3600, |age| age.0.as_secs());
        let deadline = self.deadline().unwrap_or_else(|| {
            let now = clock::now();
            Timestamp { seconds: now.seconds.saturating_add_unsigned(limit), ..now }
        });
        loop {
            let (records, _) = inspect::log(&self.reader)?;
            // This machine records verifications of its own, by other methods.
            let newest = records.iter().rev().map(|(_, action)| action).find(|action| {
                let told = &action.outcome;
                let counts = told.starts_with("failed") || told.starts_with(outcome);
                action.verb == verb && action.subject == subject && counts
            });
            match newest {
                Some(action) if action.outcome.starts_with("failed") => {
                    let host = &action.host;
                    let message = format!("{host} says of {verb}: {}", action.outcome);
                    return Err(Error::Difference(message));
                }
                Some(action) => return Ok(format!("{}: {}", action.host, action.outcome)),
                None => {}
            }
            if clock::now() >= deadline {
                let message = format!("the time for it is over, and no machine recorded a {verb}");
                return Err(Error::Cutover(message));
            }
            if !self.context.wait(LOOK) {
                return Err(Error::Ops(drover_ops::Error::Interrupted));
            }
            // A machine may have become a writer only now.
            self.refresh()?;
        }
    }
}

/// A landing in words.
fn landed(done: &RestoreOutcome) -> String {
    let exceptions = format::counted(done.exceptions.len() as u64, "exception", "exceptions");
    format!("{} written, {} removed, {exceptions}", done.written, done.removed)
}
