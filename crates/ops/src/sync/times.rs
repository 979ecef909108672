//! Where the threads of a pass spend their time, stage by stage: what holds the pass up.
//!
//! A thread is busy, waits for something to do, or waits for room to put what it made. Clocks are read
//! once a batch, a pack and a call to the source, which costs nothing that shows.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use drover_source::{ReadError, SourceFile, Stat};
use drover_types::Attributes;

/// What adds up, in nanoseconds, over all threads that add to it.
#[derive(Debug, Default)]
pub(crate) struct Clock(AtomicU64);

impl Clock {
    /// Does `work`, and adds what it took.
    pub(crate) fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        self.add(began.elapsed());
        done
    }

    fn add(&self, time: Duration) {
        self.0.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    fn read(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// The clocks of all stages. What a thread does not wait for it is busy with, so that waits and
/// totals are measured.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    /// The merge: a step from the walk and the last manifest.
    pub steps: Clock,
    /// The merge: until a worker takes a batch.
    pub given: Clock,
    /// Workers: until there is a batch.
    pub batches: Clock,
    /// Workers: with a batch, all in all.
    pub work: Clock,
    /// Workers: calls to the source.
    pub reading: Clock,
    /// Workers: what was done beside calls to the source.
    beside: Clock,
    /// Whoever stores a chunk: until a pack is there to be filled.
    pub filling: Clock,
    /// Closing packs: until there is a buffer to send them in.
    pub buffers: Clock,
    /// Closing packs: sealing and checking.
    pub sealing: Clock,
    /// Senders: until there is a pack.
    pub packs: Clock,
    /// Senders: the store's requests.
    pub sending: Clock,
    /// Senders: what is noted in the state.
    pub noting: Clock,
    /// The collector: until a batch is done.
    pub done: Clock,
    /// The collector: the manifest.
    pub collecting: Clock,
}

/// Where the threads of one stage spent a pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StageTime {
    /// What it does.
    pub stage: &'static str,
    /// How many threads do it at most.
    pub threads: usize,
    /// At work, all threads together.
    pub busy: Duration,
    /// Waiting for something to do.
    pub input: Duration,
    /// Waiting for room to put what is done.
    pub room: Duration,
}

impl Clocks {
    /// Reads on this thread while `work` is done by rayon's.
    pub(crate) fn beside<R, W: Send>(
        &self,
        read: impl FnOnce() -> R,
        work: impl FnOnce() -> W + Send,
    ) -> (R, W) {
        let (mut done, began) = (None, Instant::now());
        let (read, took) = rayon::in_place_scope(|scope| {
            scope.spawn(|_| {
                let began = Instant::now();
                done = Some((work(), began.elapsed()));
            });
            (read(), began.elapsed())
        });
        let Some((done, worked)) = done else { unreachable!("a scope ends when its work does") };
        self.beside.add((took + worked).saturating_sub(began.elapsed()));
        (read, done)
    }

    /// What they tell of a pass with so many workers and senders.
    pub(crate) fn stages(&self, workers: usize, senders: usize) -> Vec<StageTime> {
        let stage = |stage, threads, busy: Duration, input: &[&Clock], room: &[&Clock]| StageTime {
            stage,
            threads,
            busy,
            input: input.iter().map(|clock| clock.read()).sum(),
            room: room.iter().map(|clock| clock.read()).sum(),
        };
        let (reading, work) = (self.reading.read(), self.work.read() + self.beside.read());
        let waited = self.filling.read() + self.buffers.read() + self.sealing.read();
        let preparing = work.saturating_sub(reading).saturating_sub(waited);
        let sending = self.sending.read() + self.noting.read();
        vec![
            stage("walk and merge", 1, self.steps.read(), &[], &[&self.given]),
            stage("read the source", workers, reading, &[&self.batches], &[]),
            stage("cut, hash, compress", workers, preparing, &[], &[&self.filling]),
            stage("seal and check", workers, self.sealing.read(), &[], &[&self.buffers]),
            stage("send", senders, sending, &[&self.packs], &[]),
            stage("manifest", 1, self.collecting.read(), &[&self.done], &[]),
        ]
    }
}

/// A file whose calls are timed.
pub(crate) struct Timed<'c> {
    file: Box<dyn SourceFile>,
    clock: &'c Clock,
}

impl<'c> Timed<'c> {
    pub(crate) fn open(
        clock: &'c Clock,
        open: impl FnOnce() -> Result<Box<dyn SourceFile>, ReadError>,
    ) -> Result<Self, ReadError> {
        Ok(Self { file: clock.time(open)?, clock })
    }
}

impl SourceFile for Timed<'_> {
    fn stat(&mut self) -> Result<Stat, ReadError> {
        self.clock.time(|| self.file.stat())
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        self.clock.time(|| self.file.read_at(offset, buffer))
    }

    fn next_data(&mut self, offset: u64) -> Result<Option<Range<u64>>, ReadError> {
        self.clock.time(|| self.file.next_data(offset))
    }

    fn complete(&mut self, attributes: &mut Attributes) -> Result<(), ReadError> {
        self.clock.time(|| self.file.complete(attributes))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn reading_and_work_go_on_at_once() {
        let (begun, reads) = channel();
        let (works, working) = channel();
        let patience = Duration::from_secs(20);
        let (read, worked) = Clocks::default().beside(
            || begun.send(()).is_ok() && working.recv_timeout(patience).is_ok(),
            move || reads.recv_timeout(patience).is_ok() && works.send(()).is_ok(),
        );
        assert!(read && worked, "one waited for the other's end");
    }
}
