//! State that was lost is found again in the repository, by whoever may read it.
//!
//! A machine whose credential is lost too gets a new writer, in the domain of the one before: its
//! chunks then have the names they had, and its sources the ids. A writer of before is told by
//! its label, which the root signed for; what a snapshot says of its host would not do.

use std::collections::HashMap;

use drover_crypt::{
    domain::{DomainKeys, DomainSecret},
    hierarchy::{Keyring, Object, UnlockSecret},
};
use drover_repo::{
    CheckedSnapshot, ChunkIndex, ChunkReader, History, Repository, Tree, names, record,
    state::{Database, SourceRecord, StateFolder, TapeWriter},
};
use drover_types::{
    Content, DomainId, Entry, Extents, Observer, PackId, RelativePath, codec::Encoder,
};

use crate::{Error, sync::dedup::Dedup, threads};

/// Packs whose chunks become known in one commit.
const PACKS_AT_ONCE: usize = 64;

/// A repository and the keys that read it.
pub(crate) struct Readable<'r> {
    repository: &'r Repository,
    keys: Vec<Object>,
    pub(crate) keyring: Keyring,
}

impl<'r> Readable<'r> {
    /// Opens the keys with a password or a key.
    pub(crate) fn open(repository: &'r Repository, secret: &UnlockSecret) -> Result<Self, Error> {
        let keys = repository.keys()?;
        let keyring = repository.unlock_with(&keys, secret)?;
        Ok(Self { repository, keys, keyring })
    }

    /// Stores a key.
    pub(crate) fn put(&self, key: &Object) -> Result<(), Error> {
        Ok(self.repository.objects().put_new(&key.name, key.bytes.clone().into())?)
    }

    /// The domain of the newest writer with this label; none where one of the domain's writers
    /// was revoked, because its secret may be in the wrong hands.
    pub(crate) fn domain_of(&self, label: &str) -> Option<DomainSecret> {
        let revoked = self.keyring.revoked(&self.keys);
        let grants = self.keyring.grants(&self.keys);
        let is_trusted = |domain: DomainId| {
            grants
                .iter()
                .all(|grant| grant.domain != domain || !revoked.contains_key(&grant.writer))
        };
        grants
            .iter()
            .filter(|grant| is_trusted(grant.domain))
            .filter_map(|grant| {
                let (domain, of) = self.keyring.open_grant_with_label(grant).ok()?;
                (of == label).then_some((grant.issued, domain))
            })
            .max_by_key(|(issued, _)| *issued)
            .map(|(_, domain)| domain)
    }

    /// Learns from the repository which chunks of a domain are stored, and what its sources held
    /// at their last pass.
    pub(crate) fn rebuild(
        &self,
        domain: &DomainKeys,
        folder: &StateFolder,
        database: &Database,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        let objects = self.repository.objects();
        let history = History::load(objects, &self.keyring, &self.keys)?;
        let id = domain.id();
        let sources = history.newest_by(|s| (s.stored.open.domain == id).then_some(s.source()));
        if sources.is_empty() {
            return Ok(());
        }
        let mut problems = history.problems.clone();
        let index = ChunkIndex::load(objects, &self.keyring, &history, &mut problems)?;
        if let Some(problem) = problems.first() {
            observer.warning(&format!(
                "the repository from which the state is rebuilt is not as it should be: run drover verify: {}: {}",
                problem.object, problem.message
            ));
        }
        // A chunk counts as stored only where its pack is there, with its length.
        let there: HashMap<PackId, u64> = objects
            .list(names::PACKS)?
            .into_iter()
            .filter_map(|object| Some((names::parse_pack(&object.name)?, object.len)))
            .collect();
        let packs: Vec<_> = index
            .packs()
            .iter()
            .filter(|pack| pack.header.identity.domain == id)
            .filter(|pack| there.get(&pack.id) == Some(&pack.len))
            .collect();
        for packs in packs.chunks(PACKS_AT_ONCE) {
            database.adopt(packs)?;
        }
        let reader = ChunkReader::new(objects, &self.keyring, &history, &index);
        let dedup = Dedup::new(database)?;
        for (id, snapshot) in sources {
            match write_tape(&reader, &history, snapshot, folder, &dedup) {
                Ok(()) => {
                    let open = &snapshot.stored.open;
                    let source = SourceRecord {
                        name: snapshot.details.source.clone(),
                        snapshot: snapshot.id(),
                        // Which one it was, no manifest says.
                        device: 0,
                        entries: open.entries,
                        bytes: open.bytes,
                        time: open.time,
                    };
                    database.set_source(id, &source)?;
                }
                Err(error @ (Error::Tree(_) | Error::Chunk(_))) => observer.warning(&format!(
                    "the last manifest of {} cannot be read, so every file is read again: {error}",
                    drover_types::path::escape(snapshot.details.source.as_bytes())
                )),
                Err(error) => return Err(error),
            }
        }
        observer.warning(&format!(
            "the local state was lost and is rebuilt from the repository: {} chunks are known",
            database.chunk_count()?
        ));
        Ok(())
    }
}

/// Writes the manifest of `snapshot` where a pass looks for it. An entry whose chunks are not all
/// stored is left out: the pass then reads and stores it as if it were new.
fn write_tape(
    reader: &ChunkReader<'_>,
    history: &History,
    snapshot: &CheckedSnapshot,
    folder: &StateFolder,
    dedup: &Dedup<'_>,
) -> Result<(), Error> {
    let keys = history.keys(snapshot);
    let manifest = &snapshot.details.manifest;
    let tree = Tree::open(reader, keys.clone(), manifest, RelativePath::root())?;
    let mut tree = threads::ahead(tree);
    let mut tape = TapeWriter::create(folder.next_checkpoint(snapshot.source()))?;
    while let Some(entry) = tree.next().transpose()? {
        if !is_stored(&entry, &mut tree, dedup)? {
            continue;
        }
        let (mut leaf, mut side) = (Encoder::new(), Encoder::new());
        record::encode_leaf(&entry, &mut leaf);
        record::encode_side(&entry, keys, &mut side);
        tape.push(leaf.as_bytes(), side.as_bytes())?;
    }
    Ok(tape.finish(&folder.manifest(snapshot.source(), snapshot.id()))?)
}

fn is_stored(entry: &Entry, tree: &mut Tree<'_>, dedup: &Dedup<'_>) -> Result<bool, Error> {
    let Some(content) = &entry.content else { return Ok(true) };
    let Extents::Lists { lists, .. } = &content.extents else {
        return Ok(dedup.all_stored(content)?);
    };
    for list in lists.iter() {
        if !dedup.is_stored(list)? {
            return Ok(false);
        }
    }
    let Ok(extents) = tree.extents(content) else { return Ok(false) };
    let resolved = Content { extents: Extents::Inline(extents), ..content.clone() };
    Ok(dedup.all_stored(&resolved)?)
}
