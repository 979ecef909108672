//! Who wrote what, in which order: grants, chains of snapshots, lists of packs.
//!
//! Nothing here is believed because a listing says so. Each snapshot is signed by a writer that
//! the root signed for; a writer's snapshots are numbered without gaps, and each holds the hash
//! of the one before and the tree of all packs up to it. What does not fit is a [`Problem`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use drover_crypt::{
    domain::DomainKeys,
    hierarchy::{Grant, Keyring, Object, Revocation, key_name},
    merkle::Frontier,
    sign::PublicKey,
};
use drover_store::StoreError;
use drover_types::{
    DomainId, PackClass, PackId, SnapshotId, SourceId, Timestamp, WriterId, limits,
};

use crate::{
    index::{self, ListedPack},
    names,
    objects::Objects,
    repository::{PARALLEL_READS, RepositoryError},
    snapshot::{Details, StoredSnapshot},
};

/// Something about a repository that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What sort of thing is wrong: one word.
    pub kind: &'static str,
    /// The object it shows at.
    pub object: String,
    /// What is wrong.
    pub message: String,
}

impl Problem {
    /// A problem of `kind` at `object`.
    pub fn new(kind: &'static str, object: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, object: object.into(), message: message.into() }
    }
}

/// A writer that the root signed for.
#[derive(Clone)]
pub struct Writer {
    /// Its public key.
    pub public_key: PublicKey,
    /// The domain whose keys name its chunks.
    pub domain: DomainId,
    /// Its last number that counts, where it was revoked.
    pub revoked_after: Option<u64>,
    /// How many snapshots that it signed are there and do not count, since they come after that.
    pub after_revocation: u64,
}

impl Writer {
    /// Whether its snapshot of this number does not count.
    pub fn is_revoked_before(&self, sequence: u64) -> bool {
        self.revoked_after.is_some_and(|last| sequence > last)
    }
}

/// A snapshot whose signature was checked.
#[derive(Clone)]
pub struct CheckedSnapshot {
    /// As it was read.
    pub stored: StoredSnapshot,
    /// Its sealed part.
    pub details: Details,
}

impl CheckedSnapshot {
    /// Its name.
    pub fn id(&self) -> SnapshotId {
        self.stored.id
    }

    /// Its source.
    pub fn source(&self) -> SourceId {
        self.stored.open.source
    }

    /// When it was committed, by its writer's clock; what is equal has an order all the same.
    pub fn committed(&self) -> (Timestamp, u64, SnapshotId) {
        (self.stored.open.time, self.stored.open.sequence, self.id())
    }

    /// Where it lies.
    pub fn object(&self) -> String {
        let open = &self.stored.open;
        names::snapshot(&open.writer, open.sequence, &self.stored.id)
    }
}

/// All writers, snapshots and packs of a repository, and what is wrong with them.
pub struct History {
    /// By id.
    pub writers: HashMap<WriterId, Writer>,
    /// The keys of each domain.
    pub domains: HashMap<DomainId, Arc<DomainKeys>>,
    /// By writer and number; of a fork, both.
    pub snapshots: Vec<CheckedSnapshot>,
    /// Every pack that a signed snapshot lists, and the writers who list it, each with the length
    /// that it says: one, unless somebody lists what another wrote.
    pub packs: BTreeMap<PackId, BTreeMap<WriterId, u64>>,
    /// What is not as it should be.
    pub problems: Vec<Problem>,
    /// The lists of packs that were read, by the hash that snapshots name them by.
    lists: HashMap<[u8; 32], Arc<[ListedPack]>>,
}

impl History {
    /// Reads grants, snapshots and lists of packs.
    pub fn load(
        objects: &Objects,
        keyring: &Keyring,
        keys: &[Object],
    ) -> Result<Self, RepositoryError> {
        Self::load_after(None, objects, keyring, keys)
    }

    /// The same, of which only that is read which `known` lacks: names hold the hash of what they
    /// name. What is known is judged anew, by the keys of now.
    pub fn load_after(
        known: Option<&Self>,
        objects: &Objects,
        keyring: &Keyring,
        keys: &[Object],
    ) -> Result<Self, RepositoryError> {
        let mut history = Self {
            writers: HashMap::new(),
            domains: HashMap::new(),
            snapshots: Vec::new(),
            packs: BTreeMap::new(),
            problems: Vec::new(),
            lists: known.map(|known| known.lists.clone()).unwrap_or_default(),
        };
        history.read_grants(keyring, keys);
        history.read_snapshots(known, objects, keyring)?;
        history.read_packs(objects)?;
        Ok(history)
    }

    fn problem(&mut self, kind: &'static str, object: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(kind, object, message));
    }

    fn read_grants(&mut self, keyring: &Keyring, keys: &[Object]) {
        let root = keyring.root_public();
        let is = |kind: &'static str| {
            move |object: &&Object| {
                key_name(&object.name).is_some_and(|name| name.starts_with(kind))
            }
        };
        for object in keys.iter().filter(is("writer-")) {
            let opened = Grant::decode_verified(&object.bytes, root)
                .map_err(|e| e.to_string())
                .and_then(|grant| match object.name == grant.object_name() {
                    true => Ok(grant),
                    false => Err("it is the grant of another writer, or epoch".to_owned()),
                })
                .and_then(|grant| match self.writers.get(&grant.writer) {
                    Some(known) if known.domain != grant.domain => {
                        Err("it names another domain than its writer's other grant".to_owned())
                    }
                    _ => Ok(grant),
                })
                .and_then(|grant| {
                    let domain = keyring.open_grant(&grant).map_err(|e| e.to_string())?;
                    Ok((grant, domain))
                });
            match opened {
                Ok((grant, domain)) => {
                    self.domains.insert(grant.domain, Arc::new(domain.keys()));
                    self.writers.insert(
                        grant.writer,
                        Writer {
                            public_key: grant.public_key,
                            domain: grant.domain,
                            revoked_after: None,
                            after_revocation: 0,
                        },
                    );
                }
                Err(message) => self.problem("grant", &object.name, message),
            }
        }
        for object in keys.iter().filter(is("revoked-")) {
            match Revocation::decode_verified(&object.bytes, root) {
                Ok(revocation) if object.name != revocation.object_name() => {
                    self.problem("grant", &object.name, "it is the revocation of another writer");
                }
                Ok(revocation) => {
                    if let Some(writer) = self.writers.get_mut(&revocation.writer) {
                        writer.revoked_after = Some(revocation.last_sequence);
                    }
                }
                Err(error) => self.problem("grant", &object.name, error.to_string()),
            }
        }
    }

    fn read_snapshots(
        &mut self,
        known: Option<&Self>,
        objects: &Objects,
        keyring: &Keyring,
    ) -> Result<(), RepositoryError> {
        let known: HashMap<String, &StoredSnapshot> = known
            .into_iter()
            .flat_map(|known| &known.snapshots)
            .map(|snapshot| (snapshot.object(), &snapshot.stored))
            .collect();
        let mut listed: Vec<String> =
            objects.list(names::SNAPSHOTS)?.into_iter().map(|object| object.name).collect();
        listed.sort();
        let unread: Vec<String> =
            listed.iter().filter(|name| !known.contains_key(*name)).cloned().collect();
        let mut bodies = objects.get_all(&unread, limits::SMALL_OBJECT, PARALLEL_READS).into_iter();
        for name in &listed {
            let body = match known.get(name) {
                Some(stored) => Ok(stored.as_bytes().to_vec().into()),
                None => bodies.next().expect("one body for each that was not known"),
            };
            let body = match body {
                Err(error) if error.is_not_found() => {
                    self.problem("snapshot", name, "it was listed and is not there");
                    continue;
                }
                // Whoever can write to the store can put anything here: it must not keep
                // anyone from the rest.
                Err(error @ StoreError::TooLarge { .. }) => {
                    self.problem("snapshot", name, error.to_string());
                    continue;
                }
                body => body?,
            };
            match self.check_snapshot(name, body.to_vec(), keyring) {
                Ok(snapshot) => self.snapshots.extend(snapshot),
                Err(message) => self.problem("snapshot", name, message),
            }
        }
        self.snapshots.sort_by_key(|s| (s.stored.open.writer, s.stored.open.sequence));
        Ok(())
    }

    /// A snapshot, where it counts; `None` where its writer was revoked before it.
    fn check_snapshot(
        &mut self,
        name: &str,
        body: Vec<u8>,
        keyring: &Keyring,
    ) -> Result<Option<CheckedSnapshot>, String> {
        let stored = StoredSnapshot::decode(body).map_err(|e| e.to_string())?;
        let open = &stored.open;
        if name != names::snapshot(&open.writer, open.sequence, &stored.id) {
            return Err("its bytes are not those its name says".into());
        }
        let writer = self.writers.get_mut(&open.writer).ok_or("its writer has no grant")?;
        stored.verify(&writer.public_key).map_err(|e| e.to_string())?;
        if open.repository != keyring.repository() {
            return Err("it is of another repository".into());
        }
        if open.domain != writer.domain {
            return Err("it names chunks of a domain that is not its writer's".into());
        }
        if writer.is_revoked_before(open.sequence) {
            writer.after_revocation += 1;
            return Ok(None);
        }
        let meta = keyring
            .reader_secret(PackClass::Meta, open.epoch)
            .ok_or("the keys of its epoch are not at hand")?;
        let details = stored.details(meta).map_err(|e| e.to_string())?;
        if details.manifest.root != open.manifest_root {
            return Err("its open and its sealed part name different manifests".into());
        }
        Ok(Some(CheckedSnapshot { stored, details }))
    }

    /// Walks each writer's chain, and reads the lists of packs.
    fn read_packs(&mut self, objects: &Objects) -> Result<(), RepositoryError> {
        let lists: Vec<String> = self
            .snapshots
            .iter()
            .filter(|s| s.stored.open.new_packs > 0)
            .filter(|s| !self.lists.contains_key(&s.stored.open.pack_list))
            .map(|s| names::pack_list(&s.stored.open.pack_list))
            .collect();
        let bodies = objects.get_all(&lists, limits::INDEX_OBJECT, PARALLEL_READS);
        let mut bodies = lists.iter().zip(bodies);
        let snapshots = std::mem::take(&mut self.snapshots);
        let mut chain: Option<(WriterId, u64, [u8; 32], Frontier)> = None;
        let known = self.lists.clone();
        for snapshot in &snapshots {
            let open = &snapshot.stored.open;
            let object = snapshot.object();
            let mut packs: Arc<[ListedPack]> = Arc::default();
            let mut listed = true;
            if let Some(known) = known.get(&open.pack_list).filter(|_| open.new_packs > 0) {
                packs = known.clone();
            } else if open.new_packs > 0 {
                let (name, body) = bodies.next().expect("one list for each snapshot with packs");
                let decoded = match body {
                    Err(error) if error.is_not_found() => Err("it is not there".to_owned()),
                    Err(error @ StoreError::TooLarge { .. }) => Err(error.to_string()),
                    body => {
                        let body = body?;
                        if *blake3::hash(&body).as_bytes() == open.pack_list {
                            index::decode_list(&body).map_err(|e| e.to_string())
                        } else {
                            Err("its bytes are not those its name says".into())
                        }
                    }
                };
                match decoded {
                    Ok(decoded) => {
                        packs = decoded.into();
                        self.lists.insert(open.pack_list, packs.clone());
                    }
                    Err(message) => {
                        listed = false;
                        self.problem("pack list", name, message);
                    }
                }
            }
            let before = match &chain {
                Some((writer, sequence, id, tree)) if *writer == open.writer => {
                    let (sequence, id) = (*sequence, *id);
                    if open.sequence == sequence {
                        self.problem("fork", &object, format!("the writer has two snapshots numbered {sequence}: its state was cloned or restored"));
                    } else if open.sequence - 1 != sequence {
                        let missing = format!(
                            "the snapshots {} to {} before it are missing",
                            sequence + 1,
                            open.sequence - 1
                        );
                        self.problem("missing snapshot", &object, missing);
                    } else if open.previous != id {
                        self.problem("chain", &object, "it does not follow the snapshot before it");
                    }
                    (open.sequence.checked_sub(1) == Some(sequence) && open.previous == id)
                        .then(|| tree.clone())
                }
                _ if open.sequence == 1 => Some(Frontier::new()),
                _ => {
                    self.problem(
                        "missing snapshot",
                        &object,
                        format!(
                            "the snapshots before number {} of its writer are missing",
                            open.sequence
                        ),
                    );
                    None
                }
            };
            if let Some(mut tree) = before.filter(|_| listed) {
                packs.iter().for_each(|pack| tree.push(pack.leaf()));
                if tree != open.packs || packs.len() as u64 != open.new_packs {
                    self.problem(
                        "pack list",
                        &object,
                        "its packs do not lead from the tree before it to its own",
                    );
                }
            }
            for pack in packs.iter() {
                // What a writer lists again later takes nothing back.
                let listed = self.packs.entry(pack.id).or_default();
                listed.entry(open.writer).or_insert(pack.len);
            }
            chain = Some((open.writer, open.sequence, snapshot.id().0, open.packs.clone()));
        }
        self.snapshots = snapshots;
        Ok(())
    }

    /// The newest snapshot of each writer: number and hash.
    pub fn heads(&self) -> Vec<(WriterId, u64, [u8; 32])> {
        let mut heads: BTreeMap<WriterId, (u64, [u8; 32])> = BTreeMap::new();
        for snapshot in &self.snapshots {
            let open = &snapshot.stored.open;
            let head = heads.entry(open.writer).or_default();
            if open.sequence >= head.0 {
                *head = (open.sequence, snapshot.id().0);
            }
        }
        heads.into_iter().map(|(writer, (sequence, hash))| (writer, sequence, hash)).collect()
    }

    /// Of the snapshots for which `key` has one, the newest for each.
    pub fn newest_by<'h, K: Ord>(
        &'h self,
        key: impl Fn(&'h CheckedSnapshot) -> Option<K>,
    ) -> BTreeMap<K, &'h CheckedSnapshot> {
        let mut newest = BTreeMap::new();
        for snapshot in &self.snapshots {
            if let Some(key) = key(snapshot) {
                let known = newest.entry(key).or_insert(snapshot);
                if snapshot.committed() > known.committed() {
                    *known = snapshot;
                }
            }
        }
        newest
    }

    /// The keys that name the chunks of `snapshot`.
    pub fn keys(&self, snapshot: &CheckedSnapshot) -> &Arc<DomainKeys> {
        &self.domains[&snapshot.stored.open.domain]
    }
}
