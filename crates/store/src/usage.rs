//! Exact counts of requests and bytes. One attempt is one request, so retries are counted too.

use std::sync::atomic::{AtomicU64, Ordering};

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
