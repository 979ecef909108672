//! What can be asked of a store before there is a repository: whether one is there, and how fast
//! the link is.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    thread::ScopedJoinHandle,
    time::Instant,
};

use bytes::Bytes;
use drover_repo::{names, objects::Objects};

use crate::{Cancel, Error, threads};

/// The size of an object that is put to measure the link, in bytes.
const OBJECT: usize = 4 << 20;
/// How many are put.
const OBJECTS: usize = 8;
/// How many at a time: as many as packs are sent.
const AT_A_TIME: usize = crate::pipeline::SENDING;

/// What is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Snapshots; `None` where they may not be listed.
    pub snapshots: Option<usize>,
}

/// Looks for a repository; no key is needed for it. `None` where there is none.
pub fn presence(objects: &Objects) -> Result<Option<Presence>, Error> {
    if objects.head(names::CONFIG)?.is_none() {
        return Ok(None);
    }
    let snapshots = objects.list(names::SNAPSHOTS).ok().map(|list| list.len());
    Ok(Some(Presence { snapshots }))
}

/// Puts objects that hold nothing, deletes them whatever happens, and says how many bytes a second
/// went. `objects` is a place that nobody else uses.
pub fn upload_rate(objects: &Objects, cancel: &Cancel) -> Result<f64, Error> {
    let next = AtomicUsize::new(0);
    let sent = AtomicU64::new(0);
    let noise = drover_crypt::random::array::<32>();
    let begun = Instant::now();
    let one = || -> Result<(), Error> {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= OBJECTS {
                return Ok(());
            }
            if cancel.is_set() {
                return Err(Error::Interrupted);
            }
            let mut body = vec![0; OBJECT];
            let seed = blake3::keyed_hash(&noise, &n.to_le_bytes());
            blake3::Hasher::new_keyed(seed.as_bytes()).finalize_xof().fill(&mut body);
            objects.put_new(&format!("probe-{n}"), Bytes::from(body))?;
            sent.fetch_add(OBJECT as u64, Ordering::Relaxed);
        }
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_A_TIME).map(|_| threads::spawn(scope, one)).collect();
        let end = |thread: ScopedJoinHandle<'_, _>| thread.join().unwrap_or(Err(Error::Stopped));
        threads.into_iter().map(|thread| thread.and_then(end)).collect()
    });
    let seconds = begun.elapsed().as_secs_f64();
    let mut left = None;
    for n in 0..OBJECTS {
        // What was not put cannot be deleted.
        if let Err(error) = objects.delete(&format!("probe-{n}"))
            && !error.is_not_found()
        {
            left = Some(error);
        }
    }
    results.into_iter().collect::<Result<Vec<_>, _>>()?;
    match left {
        Some(error) => Err(error.into()),
        None => Ok(sent.into_inner() as f64 / seconds.max(1e-3)),
    }
}
