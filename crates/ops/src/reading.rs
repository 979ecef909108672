//! A repository opened for reading: its keys, its history, its packs.

use std::path::Path;

use drover_crypt::hierarchy::{Keyring, Object, UnlockSecret};
use drover_repo::{
    CheckedSnapshot, ChunkIndex, ChunkReader, History, Problem, Repository, Tree, objects::Objects,
    state::StateFolder,
};
use drover_types::{Observer, Phase, RelativePath, SnapshotId, SourceId, WriterId, path::escape};

use crate::Error;

/// A repository opened for reading.
pub struct ReaderSession {
    /// The repository.
    pub repository: Repository,
    /// Its keys.
    pub keyring: Keyring,
    /// Everything below `keys/`.
    pub keys: Vec<Object>,
    /// Writers, snapshots, lists of packs.
    pub history: History,
    /// What is wrong with it, as far as opening showed.
    pub problems: Vec<Problem>,
    folder: Option<StateFolder>,
}

impl ReaderSession {
    /// Opens keys and history. What this machine saw of the history before, by `state_root`,
    /// must still be there.
    pub fn open(
        objects: Objects,
        secret: &UnlockSecret,
        state_root: Option<&Path>,
        observer: &dyn Observer,
    ) -> Result<Self, Error> {
        observer.phase(Phase::Opening);
        let repository = Repository::open(objects)?;
        let keys = repository.keys()?;
        let keyring = repository.unlock_with(&keys, secret)?;
        let history = History::load(repository.objects(), &keyring, &keys)?;
        let mut problems = history.problems.clone();
        let folder =
            state_root.map(|root| StateFolder::create(root, repository.id())).transpose()?;
        if let Some(folder) = &folder {
            let seen = folder.seen_heads()?;
            problems.extend(Self::compare_heads(&history, &seen, "this machine saw it before"));
            if problems.is_empty() {
                folder.remember_heads(&history.heads())?;
            }
        }
        Ok(Self { repository, keyring, keys, history, problems, folder })
    }

    /// Heads that are expected and not in the history.
    pub fn compare_heads(
        history: &History,
        expected: &[(WriterId, u64, [u8; 32])],
        why: &str,
    ) -> Vec<Problem> {
        let is_there = |writer: &WriterId, sequence: u64, hash: &[u8; 32]| {
            history.snapshots.iter().any(|snapshot| {
                let open = &snapshot.stored.open;
                open.writer == *writer && open.sequence == sequence && snapshot.id().0 == *hash
            })
        };
        expected
            .iter()
            .filter(|(writer, sequence, hash)| !is_there(writer, *sequence, hash))
            .map(|(writer, sequence, hash)| {
                let object = drover_repo::names::snapshot(writer, *sequence, &SnapshotId(*hash));
                Problem::new("rolled back", object, format!("it is not there any more: {why}"))
            })
            .collect()
    }

    /// The store.
    pub fn objects(&self) -> &Objects {
        self.repository.objects()
    }

    /// The state's folder, where there is one.
    pub fn folder(&self) -> Option<&StateFolder> {
        self.folder.as_ref()
    }

    /// Reads the index; what is wrong with it joins the problems.
    pub fn load_index(&mut self) -> Result<ChunkIndex, Error> {
        let objects = self.repository.objects();
        Ok(ChunkIndex::load(objects, &self.keyring, &self.history, &mut self.problems)?)
    }

    /// Reads chunks by way of `index`.
    pub fn chunks<'s>(&'s self, index: &'s ChunkIndex) -> ChunkReader<'s> {
        ChunkReader::new(self.objects(), &self.keyring, &self.history, index)
    }

    /// The entries of `snapshot` at and below a path.
    pub fn tree<'s>(
        &'s self,
        reader: &'s ChunkReader<'s>,
        snapshot: &CheckedSnapshot,
        below: RelativePath,
    ) -> Result<Tree<'s>, Error> {
        let keys = self.history.keys(snapshot).clone();
        Tree::open(reader, keys, &snapshot.details.manifest, below).map_err(Error::from)
    }

    /// The sources by name, each with its newest snapshot.
    pub fn sources(&self) -> Vec<(&str, &CheckedSnapshot)> {
        let mut ids: Vec<SourceId> = self.history.snapshots.iter().map(|s| s.source()).collect();
        ids.sort();
        ids.dedup();
        let mut sources: Vec<_> = ids
            .into_iter()
            .filter_map(|id| self.history.latest(id))
            .map(|snapshot| (snapshot.details.source.as_str(), snapshot))
            .collect();
        sources.sort_by_key(|(name, _)| *name);
        sources
    }

    /// The snapshot that `wanted` names: `latest`, or the beginning of an id. `source` is a name,
    /// or where it lies.
    pub fn find(&self, wanted: &str, source: Option<&str>) -> Result<&CheckedSnapshot, Error> {
        let missing = |message: String| Err(Error::NoSuchSnapshot(message));
        let is_source = |snapshot: &&CheckedSnapshot| {
            source.is_none_or(|source| {
                snapshot.details.source == source || snapshot.details.location == source.as_bytes()
            })
        };
        if wanted == "latest" {
            let sources = self.sources();
            let names = || {
                let names: Vec<_> =
                    sources.iter().map(|(name, _)| escape(name.as_bytes())).collect();
                names.join(", ")
            };
            let mut fitting: Vec<_> =
                sources.iter().map(|(_, newest)| *newest).filter(is_source).collect();
            fitting.sort_by_key(|s| (s.stored.open.time, s.stored.open.sequence));
            return match (source, fitting.len()) {
                (None, 0) => missing("the repository has no snapshot yet".into()),
                (Some(source), 0) => missing(format!(
                    "the repository has no snapshot of the source {}; it has: {}",
                    escape(source.as_bytes()),
                    names()
                )),
                (None, 2..) => missing(format!(
                    "the repository has several sources, so `latest` is ambiguous: name one with --source: {}",
                    names()
                )),
                _ => Ok(fitting.pop().expect("there is one")),
            };
        }
        let found: Vec<_> = self
            .history
            .snapshots
            .iter()
            .filter(|s| wanted.len() >= 4 && s.id().to_hex().starts_with(wanted))
            .filter(is_source)
            .collect();
        match found.as_slice() {
            [one] => Ok(one),
            [] => missing(format!(
                "there is no snapshot {}: it takes `latest`, or at least four characters of an id",
                escape(wanted.as_bytes())
            )),
            several => {
                let ids: Vec<_> = several.iter().map(|s| s.id().to_hex()).collect();
                missing(format!("the snapshot {wanted} is ambiguous: {}", ids.join(", ")))
            }
        }
    }
}
