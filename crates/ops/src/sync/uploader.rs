//! From closed packs to acknowledged ones: the asynchronous edge of the pipeline.
//!
//! For each pack: a durable intent, the PUT, a durable acknowledgement. Packs are sent side by
//! side, as many as there are buffers for, and fewer where the store asks to slow down. As soon as
//! enough chunks wait for an index object, one is written.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use crossbeam_channel as channel;
use drover_crypt::seal::ReaderPublic;
use drover_pack::{PackReceipt, SealedPack};
use drover_repo::{
    index::{self, CHUNKS_PER_INDEX},
    names,
    state::Database,
};
use drover_types::{Counter, Observer, RepositoryId, WriterId, lock};

use super::{dedup::Dedup, packer::Pool, times::Clocks};
use drover_repo::objects::Objects;

use crate::{Cancel, Error, threads};

/// Packs are closed at what the link sends in about this many seconds.
const SECONDS_PER_PACK: f64 = 60.0;
/// The smallest pack, in bytes.
pub(crate) const SMALLEST_PACK: usize = 1 << 20;

/// Takes closed packs. The number of buffers bounds how many wait.
pub(crate) struct Sender(Mutex<Option<channel::Sender<SealedPack>>>);

impl Sender {
    /// Hands a pack to the uploader.
    pub(crate) fn send(&self, pack: SealedPack) -> Result<(), Error> {
        let sender = lock(&self.0).clone();
        sender.and_then(|sender| sender.send(pack).ok()).ok_or(Error::Stopped)
    }

    /// Says that nothing more will come.
    pub(crate) fn hang_up(&self) {
        lock(&self.0).take();
    }
}

/// The channel between packer and uploader.
pub(crate) fn channel() -> (Sender, channel::Receiver<SealedPack>) {
    let (sender, receiver) = channel::unbounded();
    (Sender(Mutex::new(Some(sender))), receiver)
}

/// Sends packs.
pub(crate) struct Uploader<'s> {
    pub objects: &'s Objects,
    pub database: &'s Database,
    pub dedup: &'s Dedup<'s>,
    pub sending: Arc<Pool>,
    pub target: &'s AtomicUsize,
    pub largest_pack: usize,
    pub observer: &'s dyn Observer,
    pub cancel: &'s Cancel,
    pub repository: RepositoryId,
    pub writer: WriterId,
    pub epoch: u32,
    pub meta: &'s ReaderPublic,
    /// How many packs are sent at a time.
    pub parallel: usize,
    pub clocks: &'s Clocks,
}

/// A buffer on its way through the store's client; gives itself back when nobody holds it.
struct Lent {
    buffer: Vec<u8>,
    pool: Arc<Pool>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.buffer));
    }
}

impl Uploader<'_> {
    /// Runs until the packer hangs up and all is acknowledged, or something fails. Each of
    /// `parallel` threads takes one pack at a time.
    pub(crate) fn run(&self, receiver: &channel::Receiver<SealedPack>) -> Result<(), Error> {
        let failed: Mutex<Option<Error>> = Mutex::new(None);
        let waiting = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            threads::spawn_some(scope, self.parallel, || {
                || {
                    while let Ok(pack) = self.clocks.packs.time(|| receiver.recv()) {
                        let result = match self.cancel.is_set() {
                            true => Err(Error::Stopped),
                            false => self.send(pack, &waiting),
                        };
                        if let Err(error) = result {
                            // The error itself before those that only follow from it.
                            let mut failed = lock(&failed);
                            match &*failed {
                                Some(known) if !matches!(known, Error::Stopped) => {}
                                _ => *failed = Some(error),
                            }
                            self.cancel.set();
                        }
                    }
                }
            })
        })?;
        failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).map_or(Ok(()), Err)
    }

    fn send(&self, pack: SealedPack, waiting: &AtomicUsize) -> Result<(), Error> {
        let SealedPack { receipt, bytes } = pack;
        self.clocks.noting.time(|| self.database.intend(&receipt))?;
        let body = Bytes::from_owner(Lent { buffer: bytes, pool: self.sending.clone() });
        let began = Instant::now();
        let name = names::pack(&receipt.id);
        self.clocks.sending.time(|| self.objects.put_new(&name, body))?;
        self.follow_goodput(receipt.len, began);
        self.observer.add(Counter::BytesTransferred, receipt.len);
        self.clocks.noting.time(|| self.acknowledged(&receipt))?;
        let chunks = waiting.fetch_add(receipt.entries.len(), Ordering::SeqCst);
        if chunks + receipt.entries.len() >= CHUNKS_PER_INDEX {
            waiting.store(0, Ordering::SeqCst);
            self.write_index(CHUNKS_PER_INDEX)?;
        }
        Ok(())
    }

    pub(crate) fn acknowledged(&self, receipt: &PackReceipt) -> Result<(), Error> {
        self.database.acknowledge(receipt)?;
        self.dedup.arrived(receipt.entries.iter().map(|entry| entry.id));
        Ok(())
    }

    /// The next packs are as large as the link sends in a minute: a link that drops every few
    /// minutes still gets on.
    fn follow_goodput(&self, len: u64, began: Instant) {
        let rate = len as f64 / began.elapsed().as_secs_f64().max(0.001);
        let fits = (rate * SECONDS_PER_PACK) as usize;
        self.target.store(fits.clamp(SMALLEST_PACK, self.largest_pack), Ordering::Relaxed);
    }

    /// Writes an index object over acknowledged packs of about `chunks` chunks; `false` where
    /// there are none.
    fn write_index(&self, chunks: usize) -> Result<bool, Error> {
        let packs = self.database.unindexed(chunks)?;
        if packs.is_empty() {
            return Ok(false);
        }
        let bytes = index::encode(self.repository, self.writer, self.epoch, &packs, self.meta)?;
        let name = names::index(blake3::hash(&bytes).as_bytes());
        self.objects.put_new(&name, bytes.into())?;
        self.database.indexed(&packs)?;
        Ok(true)
    }

    /// Writes index objects until every acknowledged pack is in one.
    pub(crate) fn finish_index(&self) -> Result<(), Error> {
        while self.write_index(CHUNKS_PER_INDEX)? {}
        Ok(())
    }
}
