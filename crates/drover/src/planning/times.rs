//! How long: first passes, the passes after them, the freeze, and when in the week.

use drover_ops::estimate::Estimate;
use drover_plan::{
    Plan,
    forecast::{Change, Pace, SPREAD, SWITCH, quantile},
    windows::{Schedule, WEEK},
};
use drover_report::{Likely, PlanEstimate, PlanForecast, PlanReport, PlanStep, PlanWindow, Text};
use drover_types::clock;
use jiff::{Timestamp, tz::TimeZone};

use super::{
    Looked,
    passes::{self, Passes, Sum},
    text,
};

/// Days of the past that changes are counted on.
const DAYS: usize = 28;
const DAY: f64 = 86_400.0;
/// Windows of bandwidth are told for so many seconds at most: eight weeks.
const LONGEST: f64 = 56.0 * DAY;

/// The link to the store.
pub struct Link {
    schedule: Schedule,
    /// Bytes a second, as measured.
    measured: Option<f64>,
}

impl Link {
    pub fn new(plan: Option<&Plan>, measured: Option<f64>) -> Self {
        let limits = plan.map(|plan| plan.limits.clone()).unwrap_or_default();
        Self { schedule: Schedule { windows: limits.windows, otherwise: limits.upload }, measured }
    }

    /// Bytes a second outside of windows, and what that is known from.
    fn rate(&self) -> (Option<f64>, &'static str) {
        let limit = self.schedule.otherwise.map(|rate| rate.bytes_per_second().get() as f64);
        match (self.measured, limit) {
            (Some(measured), Some(limit)) if limit < measured => (Some(limit), "limit"),
            (Some(measured), _) => (Some(measured), "measured"),
            (None, Some(limit)) => (Some(limit), "limit"),
            (None, None) => (None, ""),
        }
    }

    /// Bytes a second of the link itself, windows apart: where nobody knows, it is not what holds
    /// anything up.
    fn bare(&self) -> f64 {
        self.measured.unwrap_or(f64::MAX)
    }
}

/// A source's first pass.
pub fn estimate(e: &Estimate, link: &Link) -> PlanEstimate {
    let s = &e.sampled;
    let (upload_rate, from) = link.rate();
    let over = |amount: u64, rate: f64| if rate > 0.0 { amount as f64 / rate } else { 0.0 };
    let reading = over(e.files, s.open_rate) + over(e.bytes, s.read_rate);
    let working = over(e.bytes, s.process_rate);
    let sending = upload_rate.map_or(0.0, |rate| over(e.uploaded, rate));
    // Reading, working and the walk share the processors; sending goes on beside them.
    let walk = e.walk.as_secs_f64();
    let seconds = walk.max(reading + working + walk / s.threads.max(1) as f64).max(sending);
    let unique = e.bytes.saturating_sub(e.copies);
    let ratio = |a: u64, b: u64| if b > 0 { a as f64 / b as f64 } else { 1.0 };
    PlanEstimate {
        read: e.bytes,
        stored: e.stored.value,
        stored_low: e.stored.low,
        stored_high: e.stored.high,
        uploaded: e.uploaded,
        requests: e.puts.value,
        dedup_ratio: ratio(e.bytes, unique),
        compression_ratio: ratio(unique, e.stored.value),
        read_rate: s.read_rate,
        open_rate: s.open_rate,
        process_rate: s.process_rate,
        upload_rate,
        upload_rate_from: Text::from(from),
        baseline_seconds: Likely { p50: Some(seconds), p90: Some(seconds * SPREAD) },
        freeze_seconds: Likely::default(),
        sampled_bytes: s.bytes,
        sampled_files: s.files,
        unsampled: s.unsampled,
    }
}

/// Bytes and files of each of the last days, today left out: days without any are 0.
fn days(looked: &[Looked]) -> (Vec<f64>, Vec<f64>) {
    let (mut bytes, mut files) = (vec![0.0; DAYS], vec![0.0; DAYS]);
    let today = Timestamp::from_second(clock::now().seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    for source in looked {
        for day in &source.inventory.days {
            let Ok(date) = day.date.as_str().parse::<jiff::civil::Date>() else { continue };
            let Ok(then) = date.to_zoned_datetime(TimeZone::UTC) else { continue };
            let age = (today.as_second() - then.timestamp().as_second()).div_euclid(86_400);
            if let Some(slot) = usize::try_from(age - 1).ok().filter(|slot| *slot < DAYS) {
                bytes[slot] += day.bytes as f64;
                files[slot] += day.files as f64;
            }
        }
    }
    (bytes, files)
}

/// Forecast and schedule.
pub fn schedule(
    report: &mut PlanReport,
    looked: &[Looked],
    plan: Option<&Plan>,
    link: &Link,
    passes: &Passes,
    zone: &TimeZone,
) {
    let now = Timestamp::from_second(clock::now().seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    let local = now.to_zoned_datetime(zone.clone());
    let of_week = (f64::from(local.weekday().to_monday_zero_offset()) * 24.0
        + f64::from(local.hour()))
        * 3600.0
        + f64::from(local.minute()) * 60.0;
    // First passes, wave by wave, one after the other: they share the link.
    let mut at = 0.0;
    let mut order: Vec<_> = report.estimates.iter().collect();
    order.sort_by_key(|source| source.wave);
    let waves = order.iter().map(|source| source.wave).max().unwrap_or(1);
    if matches!(passes, Passes::All(_)) {
        // They were made.
        order.clear();
    }
    let mut steps = Vec::new();
    for source in order {
        let busy = source.estimate.baseline_seconds.p50.unwrap_or(0.0);
        let sent = link.schedule.send(of_week + at, source.estimate.uploaded as f64, link.bare());
        let sending = sent.last().map_or(0.0, |last| last.to);
        let seconds = busy.max(sending);
        steps.push(PlanStep {
            step: "baseline".into(),
            source: source.source.clone(),
            wave: source.wave,
            begins: at,
            ends: at + seconds,
            rate: Some(source.estimate.uploaded as f64 / seconds.max(1e-9)),
        });
        at += seconds;
    }
    let first: f64 =
        report.estimates.iter().filter_map(|source| source.estimate.baseline_seconds.p50).sum();
    let baseline = if at > 0.0 { at } else { first };
    report.estimate.baseline_seconds = Likely { p50: Some(baseline), p90: Some(baseline * SPREAD) };
    let (from, sum) = match passes {
        Passes::All(past) => ("passes", passes::sum(past, plan.map(|plan| &plan.cutover))),
        Passes::Not(why) => ("times", by_times(report, looked, plan, baseline, why)),
    };
    report.estimate.freeze_seconds = sum.freeze;
    for (n, seconds) in sum.passes.iter().enumerate() {
        let step = match n + 1 == sum.passes.len() {
            true => "last delta",
            false => "delta",
        };
        steps.push(PlanStep {
            step: step.into(),
            source: Text::default(),
            wave: waves,
            begins: at,
            ends: at + seconds,
            rate: None,
        });
        at += seconds;
    }
    if let (Some(freeze), true) = (sum.freeze.p50, plan.is_some()) {
        let begins = plan.and_then(|plan| plan.cutover.window).map_or(at, |window| {
            // The next time that the window opens.
            let minute = ((of_week + at) / 60.0).rem_euclid(f64::from(WEEK));
            let wait = window
                .begins()
                .map(|begin| (f64::from(begin) - minute).rem_euclid(f64::from(WEEK)))
                .fold(f64::MAX, f64::min);
            at + wait * 60.0
        });
        steps.push(PlanStep {
            step: "cutover".into(),
            source: Text::default(),
            wave: waves,
            begins,
            ends: begins + freeze,
            rate: None,
        });
    }
    let long = steps.iter().map(|step| step.ends).fold(0.0, f64::max);
    let limits = link.schedule.limits(of_week, long.min(LONGEST));
    let windows = limits.into_iter().filter(|limit| limit.rate != link.schedule.otherwise);
    report.windows = windows
        .map(|limit| PlanWindow {
            begins: limit.from,
            ends: limit.to,
            rate: limit.rate.map(|rate| rate.bytes_per_second().get() as f64),
        })
        .collect();
    report.schedule = steps;
    report.forecast = PlanForecast {
        basis: text(sum.basis),
        from: Text::from(from),
        sources: sum.sources,
        bytes_per_day: sum.bytes_per_day,
        files_per_day: sum.items_per_day,
        load: sum.load,
        converges: sum.converges,
        passes: sum.passes,
        passes_p90: sum.passes_p90,
        quiet: quiet(looked, report.estimate.freeze_seconds.p90),
    };
}

/// What the times of last changes foretell, where passes do not; `why` they do not.
fn by_times(
    report: &PlanReport,
    looked: &[Looked],
    plan: Option<&Plan>,
    baseline: f64,
    why: &str,
) -> Sum {
    let switch = plan.and_then(|plan| plan.cutover.switch).map_or(SWITCH, |a| a.0.as_secs_f64());
    let walk: f64 = looked
        .iter()
        .filter_map(|source| source.estimate.as_ref())
        .map(|estimate| estimate.walk.as_secs_f64())
        .sum();
    let e = &report.estimate;
    let slowest = [e.read_rate, e.process_rate, e.upload_rate.unwrap_or(f64::MAX)];
    let slowest = slowest.into_iter().filter(|rate| *rate > 0.0).fold(f64::MAX, f64::min);
    let pace = Pace {
        walk,
        bytes: if slowest == f64::MAX { 0.0 } else { slowest },
        items: e.open_rate,
        // What is read back is decrypted and hashed, which is not slower than compressing.
        verify: e.process_rate,
        switch,
    };
    let (mut bytes, mut files) = days(looked);
    let change = |bytes: f64, files: f64| Change { bytes: bytes / DAY, items: files / DAY };
    let (bytes50, bytes90) = (quantile(&mut bytes, 0.5), quantile(&mut bytes, 0.9));
    let (files50, files90) = (quantile(&mut files, 0.5), quantile(&mut files, 0.9));
    let (usual, busy) = (change(bytes50, files50), change(bytes90, files90));
    let (f50, f90) = (pace.forecast(baseline, usual), pace.forecast(baseline * SPREAD, busy));
    let spread = |freeze: Option<f64>| freeze.map(|f| (f - switch) * SPREAD + switch);
    let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
    Sum {
        basis: format!(
            "the times of last changes on the last {DAYS} days: a file that changes daily counts once, \
             so that this is the least that changes{why}"
        ),
        bytes_per_day: Likely { p50: Some(bytes50), p90: Some(bytes90) },
        items_per_day: Likely { p50: Some(files50), p90: Some(files90) },
        load: Likely { p50: Some(pace.load(usual)), p90: Some(pace.load(busy)) },
        converges: f50.freeze.is_some() && f90.freeze.is_some(),
        freeze: Likely { p50: f50.freeze, p90: spread(f90.freeze) },
        passes: f50.passes,
        passes_p90: f90.passes.iter().map(|seconds| seconds * SPREAD).collect(),
        sources: Vec::new(),
    }
}

/// The hours of the week in which the fewest files changed last, as many as the freeze takes.
fn quiet(looked: &[Looked], freeze: Option<f64>) -> Text {
    const NAMES: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let mut hours = [0u64; 168];
    for activity in looked.iter().flat_map(|source| &source.inventory.activity) {
        let at = usize::from(activity.weekday.saturating_sub(1)) * 24 + usize::from(activity.hour);
        if let Some(hour) = hours.get_mut(at) {
            *hour += activity.files;
        }
    }
    if hours.iter().all(|files| *files == 0) {
        return Text::default();
    }
    let long = freeze.map_or(1, |seconds| ((seconds / 3600.0).ceil() as usize).clamp(1, 24));
    let files = |start: usize| (0..long).map(|h| hours[(start + h) % 168]).sum::<u64>();
    // Of those that are alike, the one in the middle of the longest quiet stretch.
    let least = (0..168).map(files).min().unwrap_or(0);
    let run = |start: usize| (0..168).take_while(|h| files((start + h) % 168) == least).count();
    let Some(start) = (0..168).filter(|s| files(*s) == least).max_by_key(|s| (run(*s), 168 - *s))
    else {
        return Text::default();
    };
    let start = (start + run(start).min(167) / 2) % 168;
    let end = (start + long) % 168;
    let name = |hour: usize| format!("{} {:02}:00", NAMES[hour / 24], hour % 24);
    text(format!("{} to {}", name(start), name(end)))
}
