//! A repository opened for reading: its keys, its history, its packs.

use std::{collections::BTreeMap, path::Path};

use drover_crypt::hierarchy::{Keyring, Object, UnlockSecret};
use drover_repo::{
    CheckedSnapshot, ChunkIndex, ChunkReader, History, Problem, Repository, Tree, objects::Objects,
    state::StateFolder,
};
use drover_types::{Observer, Phase, RelativePath, SnapshotId, WriterId, path::escape};

use crate::{Error, threads};

/// What a problem is called where the store has an older state than was seen of it.
pub(crate) const ROLLED_BACK: &str = "rolled back";

/// A repository opened for reading.
pub struct ReaderSession {
    /// The repository.
    pub repository: Repository,
    /// Its keys.
    pub keyring: Keyring,
    /// Everything in the repository's folder below `keys/`.
    pub keys: Vec<Object>,
    /// Writers, snapshots, lists of packs.
    pub history: History,
    /// What is wrong with it, as far as opening showed.
    pub problems: Vec<Problem>,
    folder: Option<StateFolder>,
}

impl ReaderSession {
    /// Opens keys and history. What this machine saw before, by `state_root`, must still be
    /// there: the repository, and the heads of its history.
    pub fn open(
        objects: Objects,
        secret: &UnlockSecret,
        state_root: Option<&Path>,
        observer: &dyn Observer,
    ) -> Result<Self, Error> {
        observer.phase(Phase::Opening);
        let url = objects.store().url().to_string();
        let repository = Repository::open(objects)?;
        if let Some(root) = state_root {
            repository.check_place(root, &url)?;
        }
        let keys = repository.keys()?;
        let keyring = repository.unlock_with(&keys, secret)?;
        let history = History::load(repository.objects(), &keyring, &keys)?;
        let mut problems = history.problems.clone();
        let folder =
            state_root.map(|root| StateFolder::create(root, repository.id())).transpose()?;
        if let Some(folder) = &folder {
            folder.remember_location(&url)?;
            problems.extend(Self::rolled_back(&history, folder.seen_heads()?));
            if problems.is_empty() {
                folder.remember_heads(&history.heads())?;
            }
        }
        Ok(Self { repository, keyring, keys, history, problems, folder })
    }

    /// Takes what is new in the repository, and reads nothing again that was read before. What this
    /// machine saw before must still be there, else the history of before stays, and the problem
    /// says why.
    pub fn refresh(&mut self, secret: &UnlockSecret) -> Result<(), Error> {
        let keys = self.repository.keys_after(&self.keys)?;
        let names = |keys: &[Object]| {
            keys.iter().map(|key| key.name.clone()).collect::<std::collections::BTreeSet<_>>()
        };
        if names(&keys) != names(&self.keys) {
            self.keyring = self.repository.unlock_with(&keys, secret)?;
            self.keys = keys;
        }
        let objects = self.repository.objects();
        let known = Some(&self.history);
        let history = History::load_after(known, objects, &self.keyring, &self.keys)?;
        let mut problems = history.problems.clone();
        let before = self.history.heads();
        let seen = self.folder.as_ref().map(StateFolder::seen_heads).transpose()?;
        for seen in [before, seen.unwrap_or_default()] {
            problems.extend(Self::rolled_back(&history, seen));
        }
        problems.dedup();
        if problems.iter().all(|problem| problem.kind != ROLLED_BACK) {
            self.history = history;
        }
        if let Some(folder) = self.folder.as_ref().filter(|_| problems.is_empty()) {
            folder.remember_heads(&self.history.heads())?;
        }
        self.problems = problems;
        Ok(())
    }

    /// What this machine saw before and is not there, but for what was revoked since.
    fn rolled_back(history: &History, mut seen: Vec<(WriterId, u64, [u8; 32])>) -> Vec<Problem> {
        seen.retain(|(writer, sequence, _)| {
            !history.writers.get(writer).is_some_and(|w| w.is_revoked_before(*sequence))
        });
        Self::compare_heads(history, &seen, "this machine saw it before")
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
                Problem::new(ROLLED_BACK, object, format!("it is not there any more: {why}"))
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

    /// The same after [`Self::refresh`], with what `known` has already.
    pub fn refresh_index(&mut self, known: Option<ChunkIndex>) -> Result<ChunkIndex, Error> {
        let objects = self.repository.objects();
        let (history, problems) = (&self.history, &mut self.problems);
        Ok(ChunkIndex::load_after(known, objects, &self.keyring, history, problems)?)
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
        let tree = Tree::open(reader, keys, &snapshot.details.manifest, below)?;
        Ok(threads::ahead(tree))
    }

    /// The sources by name, each with its newest snapshot. A source is its name: where several
    /// writers hold snapshots of it, the newest of them all is the newest.
    pub fn sources(&self) -> BTreeMap<&str, &CheckedSnapshot> {
        self.history.newest_by(|snapshot| Some(snapshot.details.source.as_str()))
    }

    /// The snapshot with this id.
    pub fn snapshot(&self, id: SnapshotId) -> Result<&CheckedSnapshot, Error> {
        self.history
            .snapshots
            .iter()
            .find(|snapshot| snapshot.id() == id)
            .ok_or_else(|| Error::NoSuchSnapshot(format!("there is no snapshot {id}")))
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
            let names = |of: &[&CheckedSnapshot]| {
                let name = |s: &&CheckedSnapshot| escape(s.details.source.as_bytes());
                of.iter().map(name).collect::<Vec<_>>().join(", ")
            };
            let all: Vec<_> = sources.values().copied().collect();
            let fitting = match source.and_then(|source| sources.get(source)) {
                Some(newest) => vec![*newest],
                None => all.iter().copied().filter(is_source).collect(),
            };
            return match (fitting.as_slice(), source) {
                ([newest], _) => Ok(newest),
                ([], None) => missing("the repository has no snapshot yet".into()),
                ([], Some(source)) => missing(format!(
                    "the repository has no snapshot of the source {}; it has: {}",
                    escape(source.as_bytes()),
                    names(&all)
                )),
                (several, _) => missing(format!(
                    "there are several sources, so `latest` is ambiguous: name one with --source: {}",
                    names(several)
                )),
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
