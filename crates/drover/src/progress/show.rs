//! Progress on stderr.

use std::{
    io::{self, Write},
    time::Duration,
};

use drover_report::{PathText, Text, format};
use drover_types::{Basis, Phase, Total};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::{
    Message, ProgressMode, phase_name,
    stage::{Stage, basis_name},
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

    /// Shows where the work stands, `seconds` after it began.
    pub fn progress(&mut self, seconds: f64, stage: &Stage) {
        match self.mode {
            ProgressMode::Bar => self.draw(stage),
            ProgressMode::Plain => {
                let counts = stage.counts();
                // Before anything is counted there is nothing to tell.
                if counts.entries + counts.bytes == 0 {
                    return;
                }
                let line = line(stage);
                if line != self.last_line {
                    write_line(&line);
                    self.last_line = line;
                }
            }
            ProgressMode::Json => write_line(&progress_event(seconds, stage)),
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

    fn draw(&mut self, stage: &Stage) {
        let bar = self.bar.get_or_insert_with(|| {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
        });
        let template = match stage.done() {
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
        bar.set_message(line(stage));
        bar.tick();
    }
}

fn progress_event(seconds: f64, stage: &Stage) -> String {
    let (counts, total, left) = (stage.counts(), stage.total(), stage.left());
    json!({
        "event": "progress",
        "phase": phase_name(stage.phase),
        "seconds": seconds,
        "entries": {
            "found": counts.entries,
            "done": counts.entries_done,
            "total": total.map(|total| total.entries),
        },
        "bytes": {
            "found": counts.bytes,
            "done": counts.bytes_done,
            "total": total.map(|total| total.bytes),
            "read": counts.bytes_read,
            "transferred": counts.bytes_transferred,
        },
        "total_by": total.map(|total| basis_name(total.basis)),
        "exceptions": counts.exceptions,
        "seconds_left": left.map(|(left, _)| left),
    })
    .to_string()
}

fn line(stage: &Stage) -> String {
    let (counts, meter) = (stage.counts(), &stage.meter);
    // Without a total, what was found so far is said to be no more than that; what the source
    // held in its last pass, to be about what it holds.
    let (entries, bytes, about, so_far) = match stage.total() {
        Some(Total { entries, bytes, basis: Basis::LastPass }) => (entries, bytes, "about ", ""),
        Some(Total { entries, bytes, .. }) => (entries, bytes, "", ""),
        None if matches!(stage.phase, Phase::Committing | Phase::Flushing) => {
            (counts.entries, counts.bytes, "", "")
        }
        None => (counts.entries, counts.bytes, "", " found so far"),
    };
    let mut parts = vec![phase_name(stage.phase).to_owned()];
    if entries > 0 {
        let (done, entries) = (format::count(counts.entries_done), format::count(entries));
        parts.push(format!("{done} of {about}{entries} entries{so_far}"));
    }
    if bytes > 0 {
        let (done, bytes) = (format::bytes(counts.bytes_done), format::bytes(bytes));
        parts.push(format!("{done} of {about}{bytes}"));
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
    if let Some((left, basis)) = stage.left().filter(|(left, _)| *left >= 1.0) {
        let left = format::duration(coarse(left));
        parts.push(format!("about {left} left, by the {}", basis_name(basis)));
    }
    parts.join("  ")
}

/// Seconds as finely as a guess can tell them: to the ten, the minute, the ten minutes, upwards.
fn coarse(seconds: f64) -> f64 {
    let step = match seconds {
        ..300.0 => 10.0,
        ..7200.0 => 60.0,
        _ => 600.0,
    };
    (seconds / step).ceil() * step
}

fn words(message: &Message, mode: ProgressMode) -> Option<String> {
    match message {
        Message::Warning(text) => Some(format!("warning: {}", Text::from(text.as_str()))),
        Message::Exception(_) | Message::Phase(_) | Message::Done(_)
            if mode == ProgressMode::None =>
        {
            None
        }
        Message::Done(text) => Some(Text::from(text.as_str()).to_string()),
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
        Message::Done(text) => json!({"event": "done", "message": Text::from(text.as_str())}),
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
    use crate::progress::meter::Counts;

    fn stage() -> Stage {
        let mut stage = Stage::begin(Phase::Syncing, &Counts::default(), None);
        stage.update(0.0, &Counts::default());
        let counts = Counts {
            entries: 30,
            entries_done: 20,
            bytes: 4096,
            bytes_done: 2048,
            ..Default::default()
        };
        stage.update(10.0, &counts);
        stage
    }

    #[test]
    fn a_line_names_no_total_and_no_time_that_is_not_known() {
        let mut stage = stage();
        assert_eq!(
            line(&stage),
            "syncing  20 of 30 entries found so far  2.00 KiB of 4.00 KiB  204 B/s"
        );
        stage.set_total(Total { entries: 60, bytes: 4096, basis: Basis::LastPass });
        assert_eq!(
            line(&stage),
            "syncing  20 of about 60 entries  2.00 KiB of about 4.00 KiB  204 B/s  \
             about 20 s left, by the last pass"
        );
        stage.set_total(Total { entries: 60, bytes: 4096, basis: Basis::Counted });
        assert_eq!(
            line(&stage),
            "syncing  20 of 60 entries  2.00 KiB of 4.00 KiB  204 B/s  \
             about 20 s left, by the count of the source"
        );
    }

    #[test]
    fn an_event_says_what_its_total_is_known_by() {
        let event = |stage: &Stage| -> serde_json::Value {
            serde_json::from_str(&progress_event(10.0, stage)).unwrap()
        };
        let mut stage = stage();
        for key in ["total_by", "seconds_left"] {
            assert!(event(&stage)[key].is_null());
        }
        stage.set_total(Total { entries: 60, bytes: 4096, basis: Basis::Snapshot });
        assert_eq!(event(&stage)["total_by"], "snapshot");
        assert_eq!(event(&stage)["entries"]["total"], 60);
        assert!(event(&stage)["seconds_left"].as_f64().unwrap() > 15.0);
    }

    #[test]
    fn a_time_left_is_no_finer_than_a_guess() {
        assert_eq!([1.0, 61.0, 301.0, 7201.0].map(coarse), [10.0, 70.0, 360.0, 7800.0]);
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
