//! `drover restore --follow`: the target kept up to date with each new snapshot.

use std::{
    sync::mpsc::{self, TryRecvError},
    time::{Duration, Instant},
};

use drover_ops::{
    Compared, Destination, Follow, Look, ReaderSession, Verdict, audit::of_snapshot,
    compare_mapped, list_snapshots, verify_bucket,
};
use drover_report::{
    Following, LandingItem, RestoreBytes, RestoreReport, SyncRequests, Text, format,
};
use drover_source::LocalSource;
use drover_types::{SnapshotId, clock};

use super::{RestoreArgs, item, record};
use crate::{
    context::Context,
    error::Error,
    interrupt::Bell,
    output::{self, Answer},
    place::{Place, SnapshotPath},
    verb::{
        sync,
        verify::{self, Verified},
    },
};

/// The longest that is waited after failures, unless looks are rarer anyway.
const LONGEST: Duration = Duration::from_secs(600);
/// Landings that the document lists.
const LISTED: usize = 1000;

/// What waiting for a listing came to.
enum Heard {
    Listing(Result<Vec<String>, drover_ops::Error>),
    /// Someone asked to stop.
    Stop,
}

impl RestoreArgs {
    /// Lands each new snapshot until someone asks to stop.
    pub(super) fn followed(
        &self,
        place: &Place,
        wanted: &SnapshotPath,
        to: Destination,
        mut session: ReaderSession,
        bell: &Bell,
        context: &Context,
    ) -> Result<Answer, Error> {
        let started = Instant::now();
        if wanted.snapshot != "latest" {
            let message = "--follow lands each newest snapshot: give latest, not an id";
            return Err(Error::Usage(message.to_owned()));
        }
        // Who waits for a landing, such as a cutover on another machine, looks into the audit log.
        if let Err(error) = sync::open(place, context) {
            context.progress.warn(&format!("landings are not recorded in the audit log: {error}"));
        }
        let secret = context.secret()?;
        let source = session.find("latest", self.source.source.as_deref())?.details.source.clone();
        let below = wanted.path.clone();
        let target = match &to {
            Destination::Directory(root) => output::shown(root),
            Destination::Bucket(bucket) => bucket.store().url().to_string(),
        };
        let mut follow = Follow::new(&session, &source, below, to, self.options(place)?)?;
        let mut report = RestoreReport {
            repository: place.text(),
            path: Text::from_bytes(wanted.path.as_bytes()),
            source: Text::from(source.as_str()),
            target: Text::from(target),
            ..RestoreReport::default()
        };
        let (mut following, mut failures) = (Following::default(), 0u32);
        let ended = loop {
            following.looks += 1;
            let listing = match heard(&session, bell, context)? {
                Heard::Listing(listing) => listing,
                Heard::Stop => break None,
            };
            let look = listing
                .and_then(|names| follow.look(names, &mut session, &secret, &context.progress));
            let landed = match look {
                _ if context.cancel.is_set() => break None,
                Ok(Look::New(snapshot)) => {
                    self.land(&mut follow, snapshot, place, &mut session, &mut report, context)
                }
                Ok(Look::Refused(why)) => {
                    context.progress.warn(&format!("nothing is landed: {why}"));
                    Ok(())
                }
                Ok(Look::Nothing) => Ok(()),
                Err(error) => Err(error.into()),
            };
            match landed {
                Ok(()) => failures = 0,
                Err(error) if error.is_of_store() || error.is_damage() => {
                    failures += 1;
                    let (message, wait) = (error.failure().message, self.pause(failures));
                    let wait = format::duration(wait.as_secs_f64());
                    context.progress.warn(&format!("{message}: tried again in {wait}"));
                }
                Err(error) => break Some(error),
            }
            context.progress.rest(None);
            if context.cancel.is_set() {
                break None;
            }
            // Rung, or not: either way it is time to look, or to stop.
            bell.wait(self.pause(failures)).map_err(Error::Signals)?;
            if context.cancel.is_set() {
                break None;
            }
        };
        let usage = session.objects().usage();
        following.landings =
            following.landings.max(report.following.take().map_or(0, |f| f.landings));
        following.requests =
            SyncRequests { put: usage.put, get: usage.get, head: usage.head, list: usage.list };
        report.following = Some(following);
        report.warnings = context.warnings();
        report.seconds = started.elapsed().as_secs_f64();
        let exceptions = report.has_exceptions();
        match ended {
            None => Ok(Answer::with_exceptions(report, exceptions)),
            Some(error) if report.landings.is_empty() && !error.is_interruption() => Err(error),
            Some(error) => Ok(Answer::failed(report, error.failure())),
        }
    }

    /// How long to wait after so many failures in a row.
    fn pause(&self, failures: u32) -> Duration {
        let longest = LONGEST.max(self.poll);
        self.poll.saturating_mul(1 << failures.min(16)).min(longest)
    }

    /// One landing: done, recorded, and told in a line.
    fn land(
        &self,
        follow: &mut Follow,
        snapshot: SnapshotId,
        place: &Place,
        session: &mut ReaderSession,
        report: &mut RestoreReport,
        context: &Context,
    ) -> Result<(), Error> {
        let started = Instant::now();
        let before = session.objects().usage().bytes_received;
        let sent = |follow: &Follow| match follow.to() {
            Destination::Directory(_) => None,
            Destination::Bucket(bucket) => Some(bucket.usage().bytes_sent),
        };
        let sent_before = sent(follow);
        let outcome = follow.land(snapshot, session, &context.progress, &context.cancel);
        let outcome = outcome.map_err(Error::from);
        record(context, session, report.source.as_str(), snapshot, &outcome);
        let outcome = outcome?;
        let received = session.objects().usage().bytes_received - before;
        let verified = match self.verify {
            true => Some(self.compared(snapshot, place, follow.to(), session, report, context)?),
            false => None,
        };
        let taken = session.snapshot(snapshot)?.stored.open.time;
        let now = clock::now();
        let mut done = item(&outcome, received);
        done.bytes.sent = sent(follow).zip(sent_before).map(|(sent, before)| sent - before);
        let landing = LandingItem {
            snapshot: Text::from(snapshot.to_string()),
            time: format::time(taken),
            landed: format::time(now),
            entries: done.entries,
            bytes: done.bytes,
            exceptions: done.exceptions.len() as u64,
            verified,
            seconds: started.elapsed().as_secs_f64(),
            lag_seconds: (now.as_nanos() - taken.as_nanos()) as f64 / 1e9,
        };
        context.progress.rest(Some(line(&landing)));
        report.snapshot = landing.snapshot.clone();
        report.time = landing.time.clone();
        report.entries.written += done.entries.written;
        report.entries.unchanged += done.entries.unchanged;
        report.entries.removed += done.entries.removed;
        let RestoreBytes { written, received, sent } = done.bytes;
        report.bytes.written += written;
        report.bytes.received += received;
        if let Some(sent) = sent {
            *report.bytes.sent.get_or_insert_default() += sent;
        }
        report.exceptions = done.exceptions;
        report.following.get_or_insert_default().landings += 1;
        if report.landings.len() == LISTED {
            report.landings.remove(0);
        }
        report.landings.push(landing);
        Ok(())
    }
}

impl RestoreArgs {
    /// Whether what was landed is what the snapshot says, every file hashed; recorded as `verify`
    /// records it.
    fn compared(
        &self,
        snapshot: SnapshotId,
        place: &Place,
        to: &Destination,
        session: &mut ReaderSession,
        report: &RestoreReport,
        context: &Context,
    ) -> Result<bool, Error> {
        let (progress, cancel) = (&context.progress, &context.cancel);
        let outcome = match to {
            Destination::Directory(root) => {
                let tree = LocalSource::open(root).map_err(drover_ops::Error::from)?;
                let owners = self.owner_map.map(place.plan.as_ref())?;
                let what = Compared::Target;
                compare_mapped(session, snapshot, &tree, what, &owners, progress, cancel)?.0
            }
            Destination::Bucket(bucket) => {
                verify_bucket(session, snapshot, bucket, None, progress, cancel)?
            }
        };
        let verified = outcome.verdict == Verdict::Verified;
        let told = verify::told(&Verified::new(&outcome).report);
        if !verified {
            context
                .progress
                .warn(&format!("the landing of {snapshot} is not what it should be: {told}"));
        }
        let subject = of_snapshot(&report.source, snapshot);
        context.record(&session.repository, "verify", &subject, &told);
        Ok(verified)
    }
}

/// Asks for the names of snapshots, without keeping whoever wants to stop waiting for a store that
/// does not answer.
fn heard(session: &ReaderSession, bell: &Bell, context: &Context) -> Result<Heard, Error> {
    let (send, receive) = mpsc::channel();
    let (objects, ringer) = (session.objects().clone(), bell.ringer().map_err(Error::Signals)?);
    std::thread::Builder::new()
        .name("look".to_owned())
        .spawn(move || {
            // Nobody waits for it where the run has ended.
            let _ = send.send(list_snapshots(&objects));
            ringer.ring();
        })
        .map_err(Error::Threads)?;
    loop {
        match receive.try_recv() {
            Ok(listing) => return Ok(Heard::Listing(listing)),
            Err(_) if context.cancel.is_set() => return Ok(Heard::Stop),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                return Err(Error::Threads(std::io::Error::other("the look ended early")));
            }
        }
        bell.listen(None).map_err(Error::Signals)?;
    }
}

fn line(landing: &LandingItem) -> String {
    let LandingItem { entries, bytes, .. } = landing;
    let mut line = format!(
        "{} landed {}: {} written, {} removed, {}, in {}, {} after its pass",
        landing.landed,
        format::short_id(landing.snapshot.as_str()),
        format::count(entries.written),
        format::count(entries.removed),
        match bytes.sent {
            Some(sent) => format!("{} sent", format::bytes(sent)),
            None => format!("{} received", format::bytes(bytes.received)),
        },
        format::duration(landing.seconds),
        format::duration(landing.lag_seconds),
    );
    if landing.exceptions > 0 {
        let exceptions = format::counted(landing.exceptions, "exception", "exceptions");
        line.push_str(&format!(", {exceptions}"));
    }
    line
}
