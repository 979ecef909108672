//! Progress for people and programs: a bar, plain lines, JSON lines, or nothing.
//!
//! The libraries count from many threads into atomics; one thread wakes now and then and shows
//! what it finds. A time left is only named once it is known how much there is to do and while the
//! pace is steady, and always with what it is told by.

mod meter;
mod show;
mod stage;

use std::{
    io::{self, IsTerminal},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use drover_types::{Counter, Exception, Observer, Phase, Total, lock, observer::COUNTERS};

use meter::Counts;
use show::Show;
use stage::Stage;

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// A bar on a terminal, else plain lines
    Auto,
    /// A bar
    Bar,
    /// A line every few seconds
    Plain,
    /// One JSON object a line
    Json,
    /// Nothing but warnings
    None,
}

/// Receives what the libraries report, and shows it. Clones show in the same place.
#[derive(Clone)]
pub struct Progress {
    shared: Arc<Shared>,
    ticker: Arc<Mutex<Option<JoinHandle<()>>>>,
}

struct Shared {
    counters: [AtomicU64; COUNTERS],
    exceptions: AtomicU64,
    events: Mutex<Events>,
    wake: Condvar,
    show: Mutex<Show>,
}

#[derive(Default)]
struct Events {
    stage: Option<Stage>,
    /// Lines to be shown.
    messages: Vec<Message>,
    warnings: Vec<String>,
    finished: bool,
}

/// A line between two lines of progress.
enum Message {
    Warning(String),
    Note(String),
    Exception(Exception),
    Phase(Phase),
}

/// Beyond this many exceptions the report has them, and the progress only counts.
const SHOWN_EXCEPTIONS: u64 = 10;

impl Progress {
    /// Begins; nothing is shown before a verb reports its first phase.
    pub fn start(mode: ProgressMode) -> Self {
        let mode = match mode {
            ProgressMode::Auto if io::stderr().is_terminal() => ProgressMode::Bar,
            ProgressMode::Auto => ProgressMode::Plain,
            mode => mode,
        };
        let shared = Arc::new(Shared {
            counters: Default::default(),
            exceptions: AtomicU64::new(0),
            events: Mutex::default(),
            wake: Condvar::new(),
            show: Mutex::new(Show::new(mode)),
        });
        Self { shared, ticker: Arc::default() }
    }

    /// Shows the last of it and ends.
    pub fn finish(&self) {
        lock(&self.shared.events).finished = true;
        self.shared.wake.notify_all();
        let ticker = lock(&self.ticker).take();
        if let Some(ticker) = ticker {
            // It panics never; if it did, there would be nothing left to show.
            let _ = ticker.join();
        }
        let mut show = lock(&self.shared.show);
        show.messages(std::mem::take(&mut lock(&self.shared.events).messages));
        show.clear();
    }

    /// Keeps the terminal free while `action` runs.
    pub fn pause<T>(&self, action: impl FnOnce() -> T) -> T {
        let mut show = lock(&self.shared.show);
        show.clear();
        action()
    }

    /// A line for people.
    pub fn warn(&self, message: &str) {
        let mut events = lock(&self.shared.events);
        // Said once is enough.
        if !events.warnings.iter().any(|known| known == message) {
            events.warnings.push(message.to_owned());
            events.messages.push(Message::Warning(message.to_owned()));
        }
    }

    /// A line for people that is no warning.
    pub fn note(&self, message: &str) {
        lock(&self.shared.events).messages.push(Message::Note(message.to_owned()));
        self.begin();
        self.shared.wake.notify_all();
    }

    /// What was counted so far, as a live page has it.
    pub fn counts_json(&self) -> serde_json::Value {
        let counts = self.shared.counts();
        let phase = lock(&self.shared.events).stage.map(|stage| phase_name(stage.phase));
        serde_json::json!({
            "event": "counts",
            "phase": phase.unwrap_or(""),
            "entries": counts.entries,
            "entries_done": counts.entries_done,
            "bytes_read": counts.bytes_read,
            "bytes_transferred": counts.bytes_transferred,
            "exceptions": counts.exceptions,
        })
    }

    /// A line for people that says what was done; until the next phase nothing is under way.
    pub fn rest(&self, done: Option<String>) {
        let mut events = lock(&self.shared.events);
        events.stage = None;
        events.messages.extend(done.map(Message::Note));
        let messages = std::mem::take(&mut events.messages);
        drop(events);
        let mut show = lock(&self.shared.show);
        show.clear();
        show.messages(messages);
    }

    /// All warnings so far.
    pub fn warnings(&self) -> Vec<String> {
        lock(&self.shared.events).warnings.clone()
    }

    fn begin(&self) {
        let mut ticker = lock(&self.ticker);
        if ticker.is_none() {
            let shared = self.shared.clone();
            *ticker = std::thread::Builder::new()
                .name("progress".to_owned())
                .spawn(move || shared.run())
                // Without the thread there is no progress to see, and the work goes on.
                .ok();
        }
    }
}

impl Shared {
    fn run(&self) {
        let started = Instant::now();
        let interval = lock(&self.show).interval();
        let mut events = lock(&self.events);
        while !events.finished {
            let wait = self.wake.wait_timeout(events, interval);
            events = wait.unwrap_or_else(PoisonError::into_inner).0;
            let seconds = started.elapsed().as_secs_f64();
            if let Some(stage) = &mut events.stage {
                stage.update(seconds, &self.counts());
            }
            let stage = events.stage;
            let messages = std::mem::take(&mut events.messages);
            drop(events);
            // While the terminal is someone else's, there is nothing to show.
            if let Ok(mut show) = self.show.try_lock() {
                show.messages(messages);
                if let Some(stage) = stage {
                    show.progress(seconds, &stage);
                }
                drop(show);
                events = lock(&self.events);
            } else {
                events = lock(&self.events);
                events.messages.splice(0..0, messages);
            }
        }
    }

    fn counts(&self) -> Counts {
        let of = |counter: Counter| self.counters[counter as usize].load(Ordering::Relaxed);
        Counts {
            entries: of(Counter::Entries),
            entries_done: of(Counter::EntriesDone),
            bytes: of(Counter::Bytes),
            bytes_done: of(Counter::BytesDone),
            bytes_read: of(Counter::BytesRead),
            bytes_transferred: of(Counter::BytesTransferred),
            exceptions: self.exceptions.load(Ordering::Relaxed),
        }
    }
}

impl Observer for Progress {
    fn add(&self, counter: Counter, amount: u64) {
        self.shared.counters[counter as usize].fetch_add(amount, Ordering::Relaxed);
    }

    fn phase(&self, phase: Phase) {
        {
            let mut events = lock(&self.shared.events);
            events.stage = Some(Stage::begin(phase, &self.shared.counts(), events.stage.as_ref()));
            events.messages.push(Message::Phase(phase));
        }
        self.begin();
    }

    fn total(&self, total: Total) {
        if let Some(stage) = &mut lock(&self.shared.events).stage {
            stage.set_total(total);
        }
    }

    fn exception(&self, exception: &Exception) {
        if self.shared.exceptions.fetch_add(1, Ordering::Relaxed) < SHOWN_EXCEPTIONS {
            lock(&self.shared.events).messages.push(Message::Exception(exception.clone()));
        }
    }

    fn warning(&self, message: &str) {
        self.warn(message);
    }
}

/// How often each way of showing progress is refreshed.
fn interval(mode: ProgressMode) -> Duration {
    match mode {
        ProgressMode::Bar => Duration::from_millis(200),
        ProgressMode::Json => Duration::from_secs(1),
        _ => Duration::from_secs(5),
    }
}

/// The word that people and programs read.
fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Opening => "opening",
        Phase::Surveying => "taking inventory",
        Phase::Syncing => "syncing",
        Phase::Committing => "committing",
        Phase::CheckingStructure => "checking structure",
        Phase::ReadingBack => "reading back",
        Phase::Comparing => "comparing",
        Phase::Restoring => "restoring",
        Phase::Flushing => "flushing",
    }
}
