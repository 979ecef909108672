//! Exact counts of requests and bytes. One attempt is one request, so retries are counted too.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

tokio::task_local! {
    /// What counts beside the store's own meter, for whoever asked for the call that runs.
    static BESIDE: Arc<Meter>;
}

/// What was asked of a store and sent to it since it was opened. Totals that only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests that store an object.
    pub put: u64,
    /// Requests for an object's content.
    pub get: u64,
    /// Requests for an object's length.
    pub head: u64,
    /// Pages of listings.
    pub list: u64,
    /// Requests that delete an object.
    pub delete: u64,
    /// Bytes of bodies sent, without headers.
    pub bytes_sent: u64,
    /// Bytes of objects received, without headers and listings.
    pub bytes_received: u64,
}

/// Counts apart what some of a store's callers use.
#[derive(Clone, Debug, Default)]
pub struct Account(Arc<Meter>);

impl Account {
    /// What was counted so far.
    pub fn usage(&self) -> Usage {
        self.0.usage()
    }

    /// Counts what `call` uses, here and in the store's totals.
    pub fn of<T>(&self, call: impl Future<Output = T>) -> impl Future<Output = T> {
        BESIDE.scope(self.0.clone(), call)
    }
}

/// The meter of whoever asked for the call that runs, for what goes on in another task.
pub(crate) fn beside() -> Option<Arc<Meter>> {
    BESIDE.try_with(Arc::clone).ok()
}

#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub put: Count,
    pub get: Count,
    pub head: Count,
    pub list: Count,
    pub delete: Count,
    pub sent: Count,
    pub received: Count,
}

impl Meter {
    /// Counts here, and for whoever asked for the call that runs.
    pub fn add(&self, which: impl Fn(&Self) -> &Count, amount: u64) {
        which(self).add(amount);
        let _ = BESIDE.try_with(|beside| which(beside).add(amount));
    }

    pub fn usage(&self) -> Usage {
        Usage {
            put: self.put.get(),
            get: self.get.get(),
            head: self.head.get(),
            list: self.list.get(),
            delete: self.delete.get(),
            bytes_sent: self.sent.get(),
            bytes_received: self.received.get(),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
