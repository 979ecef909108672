//! The plan's bandwidth through the week, kept while something runs: windows that open and close, and
//! a plan that somebody edits meanwhile.

use std::{
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use drover_plan::{Plan, Rate, windows::Schedule};
use drover_repo::objects::Objects;
use drover_types::clock;
use jiff::tz::TimeZone;
use signal_hook::{SigId, consts::SIGHUP, flag};

use crate::{context::Context, place::Place};

/// How often the clock, the signal and the plan are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Keeps the rate of a store to the plan until it is dropped.
pub struct Keeper {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
    signal: Option<SigId>,
}

impl Keeper {
    /// Begins. Without a plan, or with a rate of the command line, there is nothing to keep.
    pub fn start(place: &Place, objects: &Objects, context: &Context) -> Option<Self> {
        let plan = place.plan.as_ref()?;
        let file = place.plan_file.clone()?;
        if place.bandwidth_is_given {
            return None;
        }
        let (stop, hangup) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let signal = flag::register(SIGHUP, hangup.clone()).ok();
        let mut watch = Watch {
            changed: changed(&file),
            file,
            schedule: schedule(plan),
            objects: objects.clone(),
            notes: context.progress.clone(),
            rate: None,
            hangup,
        };
        // Somebody may have edited it since it was read.
        watch.reload();
        watch.set();
        let stopped = stop.clone();
        let thread = thread::Builder::new().name("bandwidth".to_owned());
        let thread = thread.spawn(move || watch.run(&stopped)).ok();
        Some(Self { stop, thread, signal })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
        if let Some(signal) = self.signal {
            signal_hook::low_level::unregister(signal);
        }
    }
}

struct Watch {
    file: PathBuf,
    changed: Option<SystemTime>,
    schedule: Schedule,
    objects: Objects,
    notes: crate::progress::Progress,
    /// What was set last; the outer `None` before anything was.
    rate: Option<Option<NonZeroU64>>,
    hangup: Arc<AtomicBool>,
}

impl Watch {
    fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let now = changed(&self.file);
            if self.hangup.swap(false, Ordering::Relaxed) || now != self.changed {
                self.changed = now;
                self.reload();
            }
            self.set();
            thread::park_timeout(LOOK);
        }
    }

    /// A plan that does not parse, half written perhaps, changes nothing.
    fn reload(&mut self) {
        match Plan::load(&self.file) {
            Ok(plan) => self.schedule = schedule(&plan),
            Err(error) => {
                self.notes.warn(&format!("the plan's limits stay as they were: {error}"));
            }
        }
    }

    fn set(&mut self) {
        let now = self.schedule.at(minute_of_week(clock::now(), &TimeZone::system()));
        let rate = now.map(Rate::bytes_per_second);
        if self.rate == Some(rate) {
            return;
        }
        self.objects.store().set_bandwidth(rate);
        if self.rate.is_some() {
            let shown = now.map_or("no limit".to_owned(), |rate| rate.to_string());
            self.notes.note(&format!("the plan's bandwidth from now on: {shown}"));
        }
        self.rate = Some(rate);
    }
}

fn schedule(plan: &Plan) -> Schedule {
    Schedule { windows: plan.limits.windows.clone(), otherwise: plan.limits.upload }
}

fn changed(file: &Path) -> Option<SystemTime> {
    file.metadata().and_then(|metadata| metadata.modified()).ok()
}

/// Minutes since Monday, 00:00.
pub fn minute_of_week(time: drover_types::Timestamp, zone: &TimeZone) -> u32 {
    let Ok(time) = jiff::Timestamp::from_second(time.seconds) else { return 0 };
    let local = time.to_zoned_datetime(zone.clone());
    let part = |part: i8| u32::from(part.unsigned_abs());
    (part(local.weekday().to_monday_zero_offset()) * 24 + part(local.hour())) * 60
        + part(local.minute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_counted_from_monday_in_local_time() {
        // Monday, 5 January 2026, 12:00 UTC.
        let noon = drover_types::Timestamp { seconds: 1_767_614_400, nanos: 0 };
        assert_eq!(minute_of_week(noon, &TimeZone::UTC), 12 * 60);
        let berlin = TimeZone::fixed(jiff::tz::offset(1));
        assert_eq!(minute_of_week(noon, &berlin), 13 * 60);
        let earlier = TimeZone::fixed(jiff::tz::offset(-12));
        assert_eq!(minute_of_week(noon, &earlier), 0);
    }
}
