//! A repository in memory, and what somebody who holds its store can do with it.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

use bytes::Bytes;
use drover_crypt::hierarchy::KdfParameters;
use drover_ops::{
    Cancel, Error, ReaderSession, SyncOptions, SyncOutcome, VerifyOptions, VerifyOutcome,
    WriterSession, init, keys::KeySession, sync, verify,
};
use drover_repo::{objects::Objects, state::StateFolder};
use drover_source::LocalSource;
use drover_store::{Store, StoreOptions, StoreUrl};
use drover_types::{Silent, WriterId, limits};

use super::secret;

/// Every object of a repository by its name.
pub type Contents = BTreeMap<String, Bytes>;
/// Heads of writers: number and hash of their newest snapshots.
pub type Heads = Vec<(WriterId, u64, [u8; 32])>;

/// A store in memory that whoever holds it can change.
pub struct Bucket(pub Objects);

impl Bucket {
    /// An empty one.
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let url: StoreUrl = "memory:".parse().unwrap();
        let store = runtime.block_on(Store::connect(&url, &StoreOptions::default())).unwrap();
        Self(Objects::new(store, Arc::new(runtime)))
    }

    /// One with these objects.
    pub fn with(contents: &Contents) -> Self {
        let bucket = Self::new();
        for (name, bytes) in contents {
            bucket.put(name, bytes.clone());
        }
        bucket
    }

    /// All of it.
    pub fn contents(&self) -> Contents {
        let listed = self.0.list("").unwrap().into_iter().map(|object| object.name);
        listed.map(|name| (name.clone(), self.0.get(&name, limits::PACK).unwrap())).collect()
    }

    /// Puts an object there, whatever was there before.
    pub fn put(&self, name: &str, bytes: impl Into<Bytes>) {
        self.remove(name);
        self.0.put_new(name, bytes.into()).unwrap();
    }

    /// Takes one away, where it is there.
    pub fn remove(&self, name: &str) {
        if self.0.head(name).unwrap().is_some() {
            self.0.delete(name).unwrap();
        }
    }

    /// Makes it hold just these objects.
    pub fn set(&self, contents: &Contents) {
        let now = self.contents();
        now.keys().filter(|name| !contents.contains_key(*name)).for_each(|name| self.remove(name));
        for (name, bytes) in contents.iter().filter(|(name, bytes)| now.get(*name) != Some(bytes)) {
            self.put(name, bytes.clone());
        }
    }

    pub fn reader(&self) -> Result<ReaderSession, Error> {
        ReaderSession::open(self.0.clone(), &secret(), None, &Silent)
    }

    /// Verifies all of it, by reading back, where these heads are expected.
    pub fn verify(&self, heads: &Heads) -> Result<VerifyOutcome, Error> {
        Self::verify_by(&mut self.reader()?, heads)
    }

    /// The same, where keys and history are open already.
    pub fn verify_by(session: &mut ReaderSession, heads: &Heads) -> Result<VerifyOutcome, Error> {
        let options = VerifyOptions {
            read_data: Some(1.0),
            expected_heads: heads.clone(),
            parallel: 1,
            ..VerifyOptions::default()
        };
        verify(session, &options, &Silent, &Cancel::new())
    }
}

/// A repository in memory with machines that write to it: their sources and states are folders.
pub struct Clinic {
    pub dir: tempfile::TempDir,
    pub bucket: Bucket,
}

impl Clinic {
    /// A new repository.
    pub fn new() -> Self {
        let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
        init(bucket.0.clone(), &secret(), KdfParameters::minimum()).unwrap();
        Self { dir, bucket }
    }

    /// The source of a machine.
    pub fn source(&self, machine: &str) -> PathBuf {
        let path = self.dir.path().join("sources").join(machine);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// The state of a machine.
    pub fn state(&self, machine: &str) -> PathBuf {
        self.dir.path().join("states").join(machine)
    }

    /// Writes a file of a machine's source.
    pub fn write(&self, machine: &str, name: &str, bytes: &[u8]) {
        fs::write(self.source(machine).join(name), bytes).unwrap();
    }

    pub fn session(&self, machine: &str) -> WriterSession {
        self.try_session(machine).unwrap()
    }

    pub fn try_session(&self, machine: &str) -> Result<WriterSession, Error> {
        let ask = || Ok(Some(secret()));
        WriterSession::open(self.bucket.0.clone(), "memory:", &self.state(machine), &ask, &Silent)
    }

    /// Makes a machine a writer with a domain of its own, by a credential that the owner gives it.
    pub fn enrol(&self, machine: &str) {
        let keys = KeySession::open(self.bucket.0.clone(), &secret()).unwrap();
        let credential = keys.export_writer(machine).unwrap();
        let folder = StateFolder::create(&self.state(machine), keys.repository.id()).unwrap();
        folder.store_credential(&credential.encode()).unwrap();
    }

    /// One pass of a machine over its source.
    pub fn pass(&self, machine: &str) -> SyncOutcome {
        self.try_pass(machine).unwrap()
    }

    pub fn try_pass(&self, machine: &str) -> Result<SyncOutcome, Error> {
        let source = LocalSource::open(&self.source(machine)).unwrap();
        let options = SyncOptions { name: Some(machine.into()), ..SyncOptions::default() };
        sync(&self.try_session(machine)?, &source, &options, &Silent, &Cancel::new())
    }
}
