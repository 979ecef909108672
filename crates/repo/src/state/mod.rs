//! What a machine that runs passes keeps for itself.
//!
//! State makes passes fast and lets a machine that can only write do delta passes. It may be
//! lost or damaged: then it is set aside, never repaired, and rebuilt from the repository or, by
//! a machine that holds a write credential alone, by sending again what the next pass finds.
//!
//! Beside the key that this machine signs certificates with (`verifier`, mode 0600) there is one
//! folder for each repository: `state.redb` (the database, full sync), `credential` (mode
//! 0600), `location` (where the repository was used), and for each source its last manifest and the
//! checkpoints of an unfinished pass.

mod database;
mod filter;
mod links;
mod tape;
mod values;
mod verifier;

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use drover_store::CreateOnly;
use drover_types::{PackId, RepositoryId, SnapshotId, SourceId, WriterId, codec::DecodeError};

pub use database::Database;
pub use filter::Filter;
pub use links::{FileKey, LinkMap};
pub use tape::{EndedTape, TapeReader, TapeRecord, TapeWriter};
pub use values::{Commit, Head, Partial, SourceRecord};
pub use verifier::verifier_key;

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file of the state.
    #[error("the state's {path}: {source}", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process holds it.
    #[error("the state in {path} is in use by another drover", path = .0.display())]
    InUse(PathBuf),
    /// The database is damaged.
    #[error("the state's database in {path} is damaged: {message}", path = path.display())]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What the database said.
        message: String,
    },
    /// A value in it does not decode.
    #[error("the state holds a value that does not decode: {0}")]
    Value(#[from] DecodeError),
    /// An acknowledgement of a pack that no intent names.
    #[error("pack {0} was acknowledged without an intent")]
    NoIntent(PackId),
}

impl StateError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> StateError + '_ {
        move |source| StateError::Io { path: path.to_owned(), source }
    }

    /// Whether the state can be set aside and made anew without losing anything.
    pub fn is_damage(&self) -> bool {
        matches!(self, StateError::Damaged { .. } | StateError::Value(_))
    }
}

/// The folder of one repository's state.
#[derive(Clone, Debug)]
pub struct StateFolder(PathBuf);

impl StateFolder {
    /// Finds or makes the folder of `repository` below `root`.
    pub fn create(root: &Path, repository: RepositoryId) -> Result<Self, StateError> {
        let folder = Self::at(root, repository);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder.0)
            .map_err(StateError::io(&folder.0))?;
        Ok(folder)
    }

    /// The folder of `repository` below `root`, whether it is there or not.
    pub fn at(root: &Path, repository: RepositoryId) -> Self {
        Self(root.join(repository.to_hex()))
    }

    /// The folders below `root` whose repository was used at `url`.
    pub fn find(root: &Path, url: &str) -> Vec<(RepositoryId, Self)> {
        let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| {
                let id = RepositoryId::from_hex(entry.file_name().to_str()?)?;
                let folder = Self(entry.path());
                folder
                    .locations()
                    .iter()
                    .any(|known| known == url.as_bytes())
                    .then_some((id, folder))
            })
            .collect()
    }

    /// No longer expects any repository at `url`, where a new one was made.
    pub fn forget(root: &Path, url: &str) -> Result<(), StateError> {
        for (_, folder) in Self::find(root, url) {
            let mut known = folder.locations();
            known.retain(|known| known != url.as_bytes());
            folder.set_locations(&known)?;
        }
        Ok(())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The file that holds this machine's credential, where it has one.
    fn credential_file(&self) -> PathBuf {
        self.0.join("credential")
    }

    /// Remembers where the repository is.
    pub fn remember_location(&self, url: &str) -> Result<(), StateError> {
        let mut known = self.locations();
        if known.iter().any(|known| known == url.as_bytes()) {
            return Ok(());
        }
        known.push(url.into());
        self.set_locations(&known)
    }

    /// Where the repository was used: a URL can be a path, which holds anything but NUL.
    fn locations(&self) -> Vec<Vec<u8>> {
        let bytes = fs::read(self.0.join("location")).unwrap_or_default();
        bytes.split(|byte| *byte == 0).filter(|url| !url.is_empty()).map(<[u8]>::to_vec).collect()
    }

    fn set_locations(&self, known: &[Vec<u8>]) -> Result<(), StateError> {
        write_durably(&self.0.join("location"), &known.join(&0))
    }

    /// What the store at `url` was found to do with create-only puts; `None` where nobody tried.
    pub fn create_only(&self, url: &str) -> Option<CreateOnly> {
        let known = fs::read_to_string(self.0.join("store")).ok()?;
        let (word, of) = known.split_once(' ')?;
        let found = [CreateOnly::Honoured, CreateOnly::Ignored, CreateOnly::Refused];
        found.into_iter().find(|found| found.as_str() == word && of == url)
    }

    /// Remembers what the store at `url` does with create-only puts.
    pub fn remember_create_only(&self, url: &str, found: CreateOnly) -> Result<(), StateError> {
        write_durably(&self.0.join("store"), format!("{} {url}", found.as_str()).as_bytes())
    }

    /// The writer's credential, as it was stored.
    pub fn credential(&self) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, StateError> {
        let path = self.credential_file();
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StateError::io(&path)(e)),
        }
    }

    /// Stores the writer's credential, readable by its owner alone.
    pub fn store_credential(&self, bytes: &[u8]) -> Result<(), StateError> {
        write_durably(&self.credential_file(), bytes)
    }

    /// Opens the database. A damaged one is set aside under another name, and `true` says so.
    pub fn open_database(&self) -> Result<(Database, bool), StateError> {
        let path = self.0.join("state.redb");
        // What every run needs is read at once, so that damage there is found here. The database
        // trusts its file, and panics over pages that a loss of power left as zeros.
        let open = || {
            let database = Database::open(&path)?;
            database.head()?;
            database.writer()?;
            database.pending_commit()?;
            database.intents()?;
            Ok(database)
        };
        let opened = std::panic::catch_unwind(open).unwrap_or_else(|_| {
            let message = "its pages make no sense".into();
            Err(StateError::Damaged { path: path.clone(), message })
        });
        match opened {
            Err(e) if e.is_damage() => {
                self.set_aside()?;
                Ok((Database::open(&path)?, true))
            }
            opened => Ok((opened?, false)),
        }
    }

    /// Removes the database of a machine that is no writer yet.
    pub fn forget_database(&self) {
        let _ = fs::remove_file(self.0.join("state.redb"));
    }

    /// Moves database, manifests and checkpoints out of the way; the credential stays.
    pub fn set_aside(&self) -> Result<(), StateError> {
        let stamp = drover_types::clock::now().as_nanos();
        let aside = self.0.join(format!("damaged-{stamp}"));
        fs::create_dir(&aside).map_err(StateError::io(&aside))?;
        for entry in fs::read_dir(&self.0).map_err(StateError::io(&self.0))?.flatten() {
            let name = entry.file_name();
            let text = name.to_string_lossy();
            if text == "state.redb"
                || text.starts_with("manifest-")
                || text.starts_with("checkpoint-")
            {
                fs::rename(entry.path(), aside.join(&name)).map_err(StateError::io(&self.0))?;
            }
        }
        Ok(())
    }

    /// The heads of writers that this machine saw last: number and hash.
    pub fn seen_heads(&self) -> Result<Vec<(WriterId, u64, [u8; 32])>, StateError> {
        let path = self.0.join("heads");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(StateError::io(&path)(e)),
        };
        let parse = |line: &str| {
            let mut words = line.split(' ');
            let writer = WriterId::from_hex(words.next()?)?;
            let sequence = words.next()?.parse().ok()?;
            Some((writer, sequence, SnapshotId::from_hex(words.next()?)?.0))
        };
        text.lines()
            .map(|line| parse(line).ok_or(DecodeError::Invalid("the file of seen heads").into()))
            .collect()
    }

    /// Remembers the heads of writers, beside those that are not named.
    pub fn remember_heads(&self, heads: &[(WriterId, u64, [u8; 32])]) -> Result<(), StateError> {
        let mut all: std::collections::BTreeMap<_, _> = self
            .seen_heads()
            .unwrap_or_default()
            .into_iter()
            .map(|(writer, sequence, hash)| (writer, (sequence, hash)))
            .collect();
        for (writer, sequence, hash) in heads {
            all.insert(*writer, (*sequence, *hash));
        }
        let lines: String = all
            .iter()
            .map(|(writer, (sequence, hash))| {
                format!("{writer} {sequence} {}\n", SnapshotId(*hash).to_hex())
            })
            .collect();
        write_durably(&self.0.join("heads"), lines.as_bytes())
    }

    /// Where the last manifest of a source lies, named by the snapshot it belongs to.
    pub fn manifest(&self, source: SourceId, snapshot: SnapshotId) -> PathBuf {
        self.0.join(format!("manifest-{source}-{}", &snapshot.to_hex()[..16]))
    }

    /// Puts the tape of a pass that was killed while it committed `snapshot` in its place: it is
    /// the newest checkpoint, and whole.
    pub fn complete_manifest(
        &self,
        source: SourceId,
        snapshot: SnapshotId,
    ) -> Result<(), StateError> {
        let place = self.manifest(source, snapshot);
        if place.exists() {
            return Ok(());
        }
        let Some((_, path)) = self.checkpoints(source).into_iter().next() else { return Ok(()) };
        fs::rename(&path, &place).map_err(StateError::io(&place))?;
        sync_folder(&place)
    }

    /// Removes every manifest of `source` but the one of `keep`.
    pub fn remove_other_manifests(&self, source: SourceId, keep: SnapshotId) {
        let keep = self.manifest(source, keep);
        for path in self.named(&format!("manifest-{source}-")) {
            if path != keep {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// The checkpoints of an unfinished pass over `source`, newest first.
    pub fn checkpoints(&self, source: SourceId) -> Vec<(u64, PathBuf)> {
        let prefix = format!("checkpoint-{source}-");
        let number =
            |path: &PathBuf| path.file_name()?.to_str()?.strip_prefix(&prefix)?.parse::<u64>().ok();
        let mut found: Vec<_> = self
            .named(&prefix)
            .into_iter()
            .filter_map(|path| Some((number(&path)?, path)))
            .collect();
        found.sort_by(|a, b| b.cmp(a));
        found
    }

    /// Removes all checkpoints of `source` but the newest and the longest: however often a pass
    /// is cut off, few files are kept, and what is forgotten is only read again.
    pub fn prune_checkpoints(&self, source: SourceId) {
        let length = |path: &PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let all = self.checkpoints(source);
        let longest = all.iter().max_by_key(|(_, path)| length(path)).map(|(number, _)| *number);
        for (number, path) in all.into_iter().skip(1) {
            if Some(number) != longest {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// The place of the next checkpoint of `source`.
    pub fn next_checkpoint(&self, source: SourceId) -> PathBuf {
        let number = self.checkpoints(source).first().map_or(0, |(number, _)| number + 1);
        self.0.join(format!("checkpoint-{source}-{number}"))
    }

    /// Removes the checkpoints of `source`, once its pass is done.
    pub fn remove_checkpoints(&self, source: SourceId) {
        for (_, path) in self.checkpoints(source) {
            let _ = fs::remove_file(path);
        }
    }

    fn named(&self, prefix: &str) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.0) else { return Vec::new() };
        entries
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .map(|entry| entry.path())
            .collect()
    }
}

/// Writes a small file beside its place, makes it durable and moves it there.
fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let error = |source| StateError::Io { path: path.to_owned(), source };
    let temporary = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(error)?;
    file.write_all(bytes).map_err(error)?;
    file.sync_all().map_err(error)?;
    fs::rename(&temporary, path).map_err(error)?;
    sync_folder(path)
}

/// Makes the entry of `path` in its folder durable.
pub(crate) fn sync_folder(path: &Path) -> Result<(), StateError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::File::open(folder).and_then(|f| f.sync_all()).map_err(StateError::io(folder))
}
