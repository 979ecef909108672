//! What the tests of the verbs share: a repository in a directory, passes, restores, and a
//! description of a tree that two trees can be compared by.
#![allow(dead_code)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod bucket;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use drover_crypt::hierarchy::{KdfParameters, UnlockSecret};
use drover_ops::{
    Cancel, Error, ReaderSession, RestoreOptions, RestoreOutcome, SyncOptions, SyncOutcome,
    VerifyOptions, VerifyOutcome, WriterSession, init, restore, sync, verify,
};
use drover_repo::objects::Objects;
use drover_source::LocalSource;
use drover_store::{Store, StoreOptions, StoreUrl};
use drover_types::{RelativePath, Silent, SnapshotId};
use zeroize::Zeroizing;

pub struct World {
    pub dir: tempfile::TempDir,
    pub runtime: Arc<tokio::runtime::Runtime>,
}

pub fn secret() -> UnlockSecret {
    // A key file costs no time to open.
    UnlockSecret::KeyFile(Zeroizing::new(vec![7; 64]))
}

impl World {
    /// An empty source and a new repository.
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let world = Self { dir: tempfile::tempdir().unwrap(), runtime: Arc::new(runtime) };
        fs::create_dir(world.source()).unwrap();
        init(world.objects_at(&world.repository(), true), &secret(), KdfParameters::minimum())
            .unwrap();
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn source(&self) -> PathBuf {
        self.path("source")
    }

    pub fn repository(&self) -> PathBuf {
        self.path("repository")
    }

    pub fn objects_at(&self, path: &Path, create: bool) -> Objects {
        let (url, options) = (StoreUrl::from(path), StoreOptions::default());
        let store = self.runtime.block_on(async {
            match create {
                true => Store::create(&url, &options).await,
                false => Store::connect(&url, &options).await,
            }
        });
        Objects::new(store.unwrap(), self.runtime.clone())
    }

    pub fn objects(&self) -> Objects {
        self.objects_at(&self.repository(), false)
    }

    pub fn session(&self) -> WriterSession {
        self.session_of("state")
    }

    /// A machine that keeps its state in `state`.
    pub fn session_of(&self, state: &str) -> WriterSession {
        let url = self.repository().display().to_string();
        let ask = || Ok(Some(secret()));
        WriterSession::open(self.objects(), &url, &self.path(state), &ask, &Silent).unwrap()
    }

    pub fn try_sync(&self, options: &SyncOptions) -> Result<SyncOutcome, Error> {
        let source = LocalSource::open(&self.source()).unwrap();
        sync(&self.session(), &source, options, &Silent, &Cancel::new())
    }

    pub fn sync(&self) -> SyncOutcome {
        self.try_sync(&SyncOptions::default()).unwrap()
    }

    pub fn reader(&self) -> ReaderSession {
        ReaderSession::open(self.objects(), &secret(), None, &Silent).unwrap()
    }

    pub fn verify(&self, read_data: bool) -> VerifyOutcome {
        let options =
            VerifyOptions { read_data: read_data.then_some(1.0), ..VerifyOptions::default() };
        verify(&mut self.reader(), &options, &Silent, &Cancel::new()).unwrap()
    }

    pub fn restore(&self, snapshot: SnapshotId, name: &str) -> RestoreOutcome {
        self.restore_with(snapshot, "", name, &RestoreOptions::default()).unwrap()
    }

    pub fn restore_with(
        &self,
        snapshot: SnapshotId,
        below: &str,
        name: &str,
        options: &RestoreOptions,
    ) -> Result<RestoreOutcome, Error> {
        let below = RelativePath::new(below.as_bytes()).unwrap();
        let target = self.path(name);
        restore(&mut self.reader(), snapshot, &below, &target, options, &Silent, &Cancel::new())
    }
}

/// Everything of a tree that a restore must bring back, by path.
pub fn describe(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut map = BTreeMap::new();
    let mut first_names = BTreeMap::new();
    describe_into(root, root, &mut map, &mut first_names);
    map
}

fn describe_into(
    root: &Path,
    path: &Path,
    map: &mut BTreeMap<Vec<u8>, String>,
    first_names: &mut BTreeMap<u64, Vec<u8>>,
) {
    let relative = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
    if relative == b".drover-restore" {
        return;
    }
    let meta = fs::symlink_metadata(path).unwrap();
    let mut line = format!(
        "{:o} {}:{} {}.{:09}",
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.mtime(),
        meta.mtime_nsec()
    );
    if meta.is_file() {
        line.push_str(&format!(" {} {}", meta.len(), blake3::hash(&fs::read(path).unwrap())));
    }
    if meta.is_symlink() {
        line.push_str(&format!(" -> {:?}", fs::read_link(path).unwrap()));
    }
    if meta.rdev() != 0 {
        line.push_str(&format!(" device {}", meta.rdev()));
    }
    if meta.nlink() > 1 && !meta.is_dir() {
        let first = first_names.entry(meta.ino()).or_insert_with(|| relative.clone());
        line.push_str(&format!(" first {:?}", String::from_utf8_lossy(first)));
    }
    map.insert(relative, line);
    if meta.is_dir() {
        let mut children: Vec<_> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        children.sort();
        for child in children {
            describe_into(root, &child, map, first_names);
        }
    }
}

/// Compares a restore with the source, path by path.
pub fn assert_same(world: &World, restored: &str) {
    let (expected, found) = (describe(&world.source()), describe(&world.path(restored)));
    for (path, line) in &expected {
        let name = String::from_utf8_lossy(path);
        assert_eq!(found.get(path), Some(line), "{name}");
    }
    assert_eq!(found.len(), expected.len());
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
