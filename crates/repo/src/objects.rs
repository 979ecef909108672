//! The store as the stages see it: blocking calls from plain threads.

use std::sync::Arc;

use bytes::Bytes;
use drover_store::{Account, ObjectInfo, Store, StoreError, Usage};
use futures::TryStreamExt;

/// A store and the runtime its calls run on. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    store: Store,
    runtime: Arc<tokio::runtime::Runtime>,
    /// Counts what goes by way of this value and its clones, where that is wanted.
    account: Option<Account>,
}

impl Objects {
    /// Calls to `store` run on `runtime`.
    pub fn new(store: Store, runtime: Arc<tokio::runtime::Runtime>) -> Self {
        Self { store, runtime, account: None }
    }

    /// The store itself.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The same store, by a way of its own on which requests and bytes are counted apart.
    pub fn accounted(&self) -> Self {
        Self { account: Some(Account::default()), ..self.clone() }
    }

    /// Waits for one call. Must not be used inside of the runtime.
    pub fn wait<T>(&self, call: impl Future<Output = T>) -> T {
        match &self.account {
            Some(account) => self.runtime.block_on(account.of(call)),
            None => self.runtime.block_on(call),
        }
    }

    /// Stores a new object; the same bytes again are no error.
    pub fn put_new(&self, name: &str, body: Bytes) -> Result<(), StoreError> {
        self.wait(self.store.put_new(name, body)).map(|_| ())
    }

    /// Reads an object of at most `limit` bytes.
    pub fn get(&self, name: &str, limit: usize) -> Result<Bytes, StoreError> {
        self.wait(self.store.get(name, limit))
    }

    /// Reads a part of an object.
    pub fn get_range(&self, name: &str, range: std::ops::Range<u64>) -> Result<Bytes, StoreError> {
        self.wait(self.store.get_range(name, range))
    }

    /// The length of an object, where there is one.
    pub fn head(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.wait(self.store.head(name))
    }

    /// All objects whose names begin with `prefix`, in no order.
    pub fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        self.wait(self.store.list(prefix).try_collect())
    }

    /// Removes an object.
    pub fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.wait(self.store.delete(name))
    }

    /// Reads several objects side by side, in the order of `names`.
    pub fn get_all(
        &self,
        names: &[String],
        limit: usize,
        parallel: usize,
    ) -> Vec<Result<Bytes, StoreError>> {
        use futures::StreamExt;
        let calls = futures::stream::iter(names)
            .map(|name| self.store.get(name, limit))
            .buffered(parallel.max(1));
        self.wait(calls.collect())
    }

    /// Reads several parts of an object side by side, in the order of `ranges`.
    pub fn get_ranges(
        &self,
        name: &str,
        ranges: &[std::ops::Range<u64>],
        parallel: usize,
    ) -> Vec<Result<Bytes, StoreError>> {
        use futures::StreamExt;
        let calls = futures::stream::iter(ranges)
            .map(|range| self.store.get_range(name, range.clone()))
            .buffered(parallel.max(1));
        self.wait(calls.collect())
    }

    /// Requests and bytes so far: of the whole store, or where they are [counted
    /// apart](Self::accounted), of this way to it.
    pub fn usage(&self) -> Usage {
        self.account.as_ref().map_or_else(|| self.store.usage(), Account::usage)
    }
}
