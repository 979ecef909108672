//! Progress on stderr.

use std::{
    io::{self, Write},
    time::Duration,
};

use drover_report::{PathText, Text, format};
use drover_types::Phase;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::{
    Message, ProgressMode,
    meter::{Counts, Meter},
    phase_name,
};

/// Writes progress in one of the ways.
pub struct Show {
    mode: ProgressMode,
    bar: Option<ProgressBar>,
    last_line: String,
}

impl Show {
    pub fn new(mode: ProgressMode) -> Self {
        Self { mode, bar: None, last_line: String::new() }
    }

    /// How often [`Show::progress`] is wanted.
    pub fn interval(&self) -> Duration {
        super::interval(self.mode)
    }

    /// Shows where the work stands.
    pub fn progress(
        &mut self,
        phase: Phase,
        seconds: f64,
        counts: &Counts,
        total: Option<(u64, u64)>,
        meter: &Meter,
    ) {
        match self.mode {
            ProgressMode::Bar => self.draw(phase, counts, total, meter),
            // Before anything is counted there is nothing to tell.
            ProgressMode::Plain if counts.entries + counts.bytes == 0 => {}
            ProgressMode::Plain => {
                let line = line(phase, counts, total, meter);
                if line != self.last_line {
                    write_line(&line);
                    self.last_line = line;
                }
            }
            ProgressMode::Json => {
                let event = json!({
                    "event": "progress",
                    "phase": phase_name(phase),
                    "seconds": seconds,
                    "entries": {
                        "found": counts.entries,
                        "done": counts.entries_done,
                        "total": total.map(|total| total.0),
                    },
                    "bytes": {
                        "found": counts.bytes,
                        "done": counts.bytes_done,
                        "total": total.map(|total| total.1),
                        "read": counts.bytes_read,
                        "transferred": counts.bytes_transferred,
                    },
                    "exceptions": counts.exceptions,
                    "seconds_left": meter.left(counts, total),
                });
                write_line(&event.to_string());
            }
            ProgressMode::Auto | ProgressMode::None => {}
        }
    }

    /// Shows lines that stay.
    pub fn messages(&mut self, messages: Vec<Message>) {
        for message in messages {
            let line = match self.mode {
                ProgressMode::Json => Some(event(&message)),
                mode => words(&message, mode),
            };
            match (line, &self.bar) {
                (Some(line), Some(bar)) => bar.suspend(|| write_line(&line)),
                (Some(line), None) => write_line(&line),
                (None, _) => {}
            }
        }
    }

    /// Takes the bar away.
    pub fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn draw(&mut self, phase: Phase, counts: &Counts, total: Option<(u64, u64)>, meter: &Meter) {
        let bar = self.bar.get_or_insert_with(|| {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
        });
        let template = match done(counts, total) {
            Some(done) => {
                bar.set_length(1000);
                bar.set_position((done * 1000.0) as u64);
                "{spinner} {bar:20} {percent:>3} % {wide_msg}"
            }
            None => "{spinner} {wide_msg}",
        };
        // Both templates are fixed and valid; a default style would do as well.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(line(phase, counts, total, meter));
        bar.tick();
    }
}

/// How much is done, from 0 to 1; by bytes where there are any.
fn done(counts: &Counts, total: Option<(u64, u64)>) -> Option<f64> {
    let share = |done: u64, total: u64| (done as f64 / total as f64).clamp(0.0, 1.0);
    match total? {
        (0, _) => None,
        (entries, 0) => Some(share(counts.entries_done, entries)),
        (_, bytes) => Some(share(counts.bytes_done, bytes)),
    }
}

fn line(phase: Phase, counts: &Counts, total: Option<(u64, u64)>, meter: &Meter) -> String {
    // Without a total, what was found so far is said to be no more than that.
    let (entries, bytes, so_far) = match total {
        Some((entries, bytes)) => (entries, bytes, ""),
        None if matches!(phase, Phase::Committing | Phase::Flushing) => {
            (counts.entries, counts.bytes, "")
        }
        None => (counts.entries, counts.bytes, " found so far"),
    };
    let mut parts = vec![phase_name(phase).to_owned()];
    if entries > 0 {
        parts.push(format!(
            "{} of {} entries{so_far}",
            format::count(counts.entries_done),
            format::count(entries)
        ));
    }
    if bytes > 0 {
        parts.push(format!("{} of {}", format::bytes(counts.bytes_done), format::bytes(bytes)));
    }
    if meter.bytes_per_second() > 0 {
        parts.push(format!("{}/s", format::bytes(meter.bytes_per_second())));
    }
    if counts.bytes_transferred > 0 {
        let transferred = format::bytes(counts.bytes_transferred);
        let rate = format::bytes(meter.transferred_per_second());
        parts.push(format!("store {transferred}, {rate}/s"));
    }
    if counts.exceptions > 0 {
        parts.push(format::counted(counts.exceptions, "exception", "exceptions"));
    }
    if let Some(left) = meter.left(counts, total).filter(|left| *left >= 1.0) {
        parts.push(format!("about {} left", format::duration(left.ceil().max(10.0))));
    }
    parts.join("  ")
}

fn words(message: &Message, mode: ProgressMode) -> Option<String> {
    match message {
        Message::Warning(text) => Some(format!("warning: {}", Text::from(text.as_str()))),
        Message::Exception(_) | Message::Phase(_) if mode == ProgressMode::None => None,
        Message::Exception(e) => Some(format!(
            "{}: {}: {}",
            e.kind,
            PathText::from(&e.path).shown(),
            Text::from(e.message.as_str())
        )),
        Message::Phase(_) => None,
    }
}

fn event(message: &Message) -> String {
    match message {
        Message::Warning(text) => {
            json!({"event": "warning", "message": Text::from(text.as_str())})
        }
        Message::Exception(e) => {
            let item = drover_report::ExceptionItem::from(e);
            json!({"event": "exception", "exception": item})
        }
        Message::Phase(phase) => json!({"event": "phase", "phase": phase_name(*phase)}),
    }
    .to_string()
}

fn write_line(line: &str) {
    let mut line = line.to_owned();
    line.push('\n');
    // Whoever closed stderr does not want to know.
    let _ = io::stderr().write_all(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use drover_types::{Exception, ExceptionKind, RelativePath};

    use super::*;

    #[test]
    fn a_line_names_no_total_and_no_time_that_is_not_known() {
        let counts = Counts {
            entries: 30,
            entries_done: 20,
            bytes: 4096,
            bytes_done: 2048,
            ..Default::default()
        };
        let mut meter = Meter::default();
        assert_eq!(
            line(Phase::Syncing, &counts, None, &meter),
            "syncing  20 of 30 entries found so far  2.00 KiB of 4.00 KiB"
        );
        meter.update(0.0, &Counts::default());
        meter.update(10.0, &counts);
        assert_eq!(
            line(Phase::Syncing, &counts, Some((60, 4096)), &meter),
            "syncing  20 of 60 entries  2.00 KiB of 4.00 KiB  204 B/s  about 20 s left"
        );
    }

    #[test]
    fn every_event_is_one_line_of_json() {
        let exception = Exception {
            path: RelativePath::new(&b"a\nb"[..]).unwrap(),
            kind: ExceptionKind::Torn,
            message: "x\ny".into(),
        };
        for message in [
            Message::Warning("a\nb".into()),
            Message::Exception(exception),
            Message::Phase(Phase::Flushing),
        ] {
            let line = event(&message);
            assert!(!line.contains('\n'));
            assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok());
        }
    }
}
