//! A source that is read no faster than its server can bear.
//!
//! All that is read of it, by any thread, goes by one [`Pace`]: so many bytes a second, and nothing while
//! the machine has more to do than it was said to bear. Walks are not held back: they read no content.

use std::{
    fmt, fs,
    ops::Range,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use drover_types::{Attributes, Entry, RelativePath, lock};

use crate::{
    Cutter, Loss, Piece, ReadError, Source, SourceDescription, SourceError, SourceFile, Stat,
    TakeError, Taker, Walk, WalkOptions, Wish,
};

/// What may be caught up at once after a wait that took longer than it should.
const BURST: Duration = Duration::from_millis(250);
/// How often the machine's load is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Waits; `false` where nothing is to be waited for any more.
pub type Wait = dyn Fn(Duration) -> bool + Send + Sync;

/// How fast may be read.
pub struct Pace {
    /// Bytes a second.
    rate: Option<u64>,
    /// The load average of a minute, above which nothing is read.
    load: Option<f64>,
    state: Mutex<State>,
    wait: Box<Wait>,
}

struct State {
    /// When what was taken has been paid for.
    paid: Instant,
    /// When the load was last looked at.
    looked: Option<Instant>,
}

impl Pace {
    /// At most `rate` bytes a second, and nothing while this machine's load is over `load`.
    pub fn new(rate: Option<u64>, load: Option<f64>, wait: Box<Wait>) -> Self {
        let state = State { paid: Instant::now(), looked: None };
        Self { rate, load, state: Mutex::new(state), wait }
    }

    /// Waits until `bytes` more may have been read.
    fn take(&self, bytes: u64) {
        while self.is_overloaded() && (self.wait)(LOOK) {}
        let Some(rate) = self.rate.filter(|_| bytes > 0) else { return };
        let now = Instant::now();
        let due = {
            let mut state = lock(&self.state);
            let begin = state.paid.max(now.checked_sub(BURST).unwrap_or(now));
            state.paid = begin + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
            state.paid
        };
        if let Some(left) = due.checked_duration_since(now) {
            (self.wait)(left);
        }
    }

    fn is_overloaded(&self) -> bool {
        let Some(most) = self.load else { return false };
        {
            let mut state = lock(&self.state);
            let now = Instant::now();
            if state.looked.is_some_and(|looked| now.duration_since(looked) < LOOK / 2) {
                return false;
            }
            state.looked = Some(now);
        }
        load().is_some_and(|load| load > most)
    }
}

/// The load average of the last minute, where the system tells it.
fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, load, .. } = self;
        f.debug_struct("Pace").field("rate", rate).field("load", load).finish_non_exhaustive()
    }
}

/// A source that is read at a pace.
pub struct Paced {
    inner: Arc<dyn Source>,
    pace: Arc<Pace>,
}

impl Paced {
    /// `inner`, at this pace.
    pub fn new(inner: Arc<dyn Source>, pace: Arc<Pace>) -> Self {
        Self { inner, pace }
    }
}

impl Source for Paced {
    fn description(&self) -> SourceDescription {
        self.inner.description()
    }

    fn walk(&self, options: &WalkOptions) -> Result<Walk, SourceError> {
        self.inner.walk(options)
    }

    fn open(&self, path: &RelativePath) -> Result<Box<dyn SourceFile>, ReadError> {
        let inner = self.inner.open(path)?;
        Ok(Box::new(PacedFile { inner, pace: self.pace.clone() }))
    }

    fn complete(&self, entry: &mut Entry) -> Result<(), ReadError> {
        self.inner.complete(entry)
    }

    fn losses(&self) -> &[Loss] {
        self.inner.losses()
    }

    fn taker(&self, cutter: &Cutter) -> Option<Box<dyn Taker>> {
        let inner = self.inner.taker(cutter)?;
        Some(Box::new(PacedTaker { inner, pace: self.pace.clone() }))
    }
}

struct PacedFile {
    inner: Box<dyn SourceFile>,
    pace: Arc<Pace>,
}

impl SourceFile for PacedFile {
    fn stat(&mut self) -> Result<Stat, ReadError> {
        self.inner.stat()
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        // In pieces, so that a slow pace is an even one.
        let len = buffer.len().min(1 << 20);
        let read = self.inner.read_at(offset, &mut buffer[..len])?;
        self.pace.take(read as u64);
        Ok(read)
    }

    fn next_data(&mut self, offset: u64) -> Result<Option<Range<u64>>, ReadError> {
        self.inner.next_data(offset)
    }

    fn complete(&mut self, attributes: &mut Attributes) -> Result<(), ReadError> {
        self.inner.complete(attributes)
    }
}

struct PacedTaker {
    inner: Box<dyn Taker>,
    pace: Arc<Pace>,
}

impl Taker for PacedTaker {
    fn announce(&mut self, wishes: &[Wish]) -> Result<(), TakeError> {
        self.inner.announce(wishes)
    }

    fn begin(&mut self, path: &RelativePath) -> Result<(), TakeError> {
        self.inner.begin(path)
    }

    /// What a helper told was read there, whether or not it is sent. What is read alone is held back
    /// as it is read.
    fn piece(&mut self) -> Result<Piece, TakeError> {
        let piece = self.inner.piece()?;
        self.pace.take(match &piece {
            Piece::Whole(bytes) => bytes.len() as u64,
            Piece::Cuts(cuts) => cuts.iter().map(|cut| u64::from(cut.len)).sum(),
            Piece::Hole(_) | Piece::Again | Piece::Alone | Piece::End(_) => 0,
        });
        Ok(piece)
    }

    fn want(&mut self, wanted: &[bool]) -> Result<(), TakeError> {
        self.inner.want(wanted)
    }

    fn chunk(&mut self, len: u32, buffer: &mut Vec<u8>) -> Result<(), TakeError> {
        self.inner.chunk(len, buffer)
    }

    fn complete(&mut self, entry: &mut Entry) -> Result<(), TakeError> {
        self.inner.complete(entry)
    }

    fn parts(&mut self, path: &RelativePath) -> Result<Option<Vec<Vec<u8>>>, TakeError> {
        let parts = self.inner.parts(path)?;
        self.pace.take(parts.iter().flatten().map(|part| part.len() as u64).sum());
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::LocalSource;

    /// A pace whose waits are counted, in milliseconds, and not waited.
    fn counted(rate: Option<u64>, load: Option<f64>) -> (Arc<Pace>, Arc<AtomicU64>) {
        let waited = Arc::new(AtomicU64::new(0));
        let counter = waited.clone();
        let wait = move |time: Duration| {
            counter.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
            false
        };
        (Arc::new(Pace::new(rate, load, Box::new(wait))), waited)
    }

    #[test]
    fn what_is_read_is_waited_for() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), vec![7; 5 << 20]).unwrap();
        let (pace, waited) = counted(Some(100 << 10), None);
        let source = Paced::new(Arc::new(LocalSource::open(root.path()).unwrap()), pace);
        let mut file = source.open(&RelativePath::new(*b"file").unwrap()).unwrap();
        let (mut at, mut buffer) = (0, vec![0; 5 << 20]);
        while let n @ 1.. = file.read_at(at, &mut buffer).unwrap() {
            at += n as u64;
        }
        assert_eq!(at, 5 << 20);
        // Nobody waits here, so that each read is asked to wait for all that came before: 10 + 20 + …
        // + 50 seconds, less what passed meanwhile and the burst.
        let waited = waited.load(Ordering::SeqCst);
        assert!((140_000..=156_000).contains(&waited), "{waited} ms");
    }

    #[test]
    fn a_machine_with_too_much_to_do_is_waited_for() {
        let (pace, waited) = counted(None, Some(-1.0));
        pace.take(1);
        assert_eq!(waited.load(Ordering::SeqCst), 1000);
        let (pace, waited) = counted(None, Some(f64::MAX));
        pace.take(1);
        assert_eq!(waited.load(Ordering::SeqCst), 0);
        assert!(load().is_some());
    }
}
