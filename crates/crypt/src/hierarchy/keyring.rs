//! Making a repository's keys, opening them, and what an owner does with them.

use std::collections::{BTreeMap, BTreeSet};

use drover_types::{PackClass, RepositoryId, Timestamp, WriterId};

use super::{
    Config, EpochKeys, Grant, HierarchyError, KdfParameters, Object, Revocation, Role, SlotInfo,
    UnlockSecret, WriterCredential,
    epoch::{SlotBox, box_name, decode_epoch, epoch_name},
    key_name, keys_folder,
    slot::{self, NewSecret, Slot},
};
use crate::{
    domain::DomainSecret,
    random,
    seal::ReaderSecret,
    secret::Key,
    sign::{PublicKey, SigningKey},
};

/// How many slots a repository may have.
const SLOTS: usize = 256;

/// Why keys cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnlockError {
    /// No slot opens with this.
    #[error("wrong {0}: it opens no key of this repository")]
    WrongSecret(&'static str),
    /// An object is not what it should be.
    #[error("{object}: {error}")]
    Damaged {
        /// Its name.
        object: String,
        /// What is wrong with it.
        error: HierarchyError,
    },
    /// An object that must be there is not.
    #[error("{0} is missing")]
    Missing(String),
}

/// The keys that a slot opens.
#[derive(Clone)]
pub struct Keyring {
    repository: RepositoryId,
    role: Role,
    slot: SlotInfo,
    root_public: PublicKey,
    root: Option<SigningKey>,
    epochs: BTreeMap<u32, EpochKeys>,
}

/// Makes the objects of a new repository, with one owner's slot, and its keys.
pub fn create_repository(
    secret: &UnlockSecret,
    kdf: KdfParameters,
    now: Timestamp,
) -> Result<(Vec<Object>, Keyring), HierarchyError> {
    let repository = RepositoryId(random::array());
    let root = SigningKey::generate();
    let config = Config { repository, root: root.public(), created: now };
    let slot_key = Key::random();
    let secret = NewSecret::Secret(secret);
    let (slot, slot_object) =
        slot::create(repository, &secret, Role::Owner, "", kdf, now, &slot_key, &root)?;
    let epoch = EpochKeys::generate(1, &root);
    let objects = vec![
        slot_object,
        epoch.object(repository, &root),
        epoch.box_for(repository, &slot, &slot_key, &root)?,
        Object { name: "config".into(), bytes: config.encode(&root) },
    ];
    let keyring = Keyring {
        repository,
        role: Role::Owner,
        slot,
        root_public: root.public(),
        root: Some(root),
        epochs: BTreeMap::from([(1, epoch)]),
    };
    Ok((objects, keyring))
}

/// Opens the keys of a repository: `config`, and everything in its folder below `keys/`.
pub fn unlock(
    config: &[u8],
    keys: &[Object],
    secret: &UnlockSecret,
) -> Result<Keyring, UnlockError> {
    let damaged = |object: &str| {
        let object = object.to_owned();
        move |error| UnlockError::Damaged { object, error }
    };
    let decoded = Config::decode(config).map_err(damaged("config"))?;
    let repository = decoded.repository;
    // A description that was swapped for another's names a folder that is not there.
    if !keys.iter().any(|object| is_slot(&object.name)) {
        return Err(UnlockError::Missing(keys_folder(repository)));
    }
    let mut first_damage = None;
    let mut tried = 0;
    for object in keys.iter().filter(|o| is_slot(&o.name)) {
        let opened =
            Slot::decode_verified(&object.bytes, repository, &decoded.root).and_then(|slot| {
                if object.name != slot.info.object_name(repository) {
                    return Err(HierarchyError::OtherName);
                }
                // Each try may cost seconds and gigabytes, and the store chose how many there are.
                tried += 1;
                if tried > SLOTS {
                    return Err(HierarchyError::TooManySlots);
                }
                Ok(slot.open(secret)?.map(|key| (slot, key)))
            });
        match opened {
            Ok(None) => {}
            Ok(Some((slot, key))) => return open_epochs(decoded, keys, slot, &key),
            Err(error) => first_damage = first_damage.or(Some((object, error))),
        }
    }
    Err(match first_damage {
        Some((object, error)) => UnlockError::Damaged { object: object.name.clone(), error },
        None => UnlockError::WrongSecret(match secret {
            UnlockSecret::Passphrase(_) => "password",
            UnlockSecret::KeyFile(_) => "key file",
            UnlockSecret::Identity(_) => "identity",
        }),
    })
}

fn open_epochs(
    config: Config,
    keys: &[Object],
    slot: Slot,
    slot_key: &Key,
) -> Result<Keyring, UnlockError> {
    let repository = config.repository;
    let damaged =
        |object: &Object, error| UnlockError::Damaged { object: object.name.clone(), error };
    let mut epochs = BTreeMap::new();
    for object in keys.iter().filter(|o| is_box_of(&o.name, &slot.info)) {
        let opened = SlotBox::decode(&object.bytes, repository)
            .and_then(|found| Ok((found.slot, found.open(slot_key)?)))
            .map_err(|error| damaged(object, error))?;
        let (id, epoch) = opened;
        let name = box_name(repository, epoch.number, &slot.info.id);
        if id != slot.info.id || object.name != name {
            return Err(damaged(object, HierarchyError::OtherName));
        }
        if epoch.root_public != config.root {
            let object = Object { name: "config".into(), bytes: Vec::new() };
            return Err(damaged(&object, HierarchyError::Signature));
        }
        epochs.insert(epoch.number, epoch);
    }
    // Every epoch that the root signed must open, and its public keys must be those opened. A box
    // without an epoch is what an interrupted rotation left: nobody may seal to it.
    let mut finished = BTreeSet::new();
    for object in keys.iter().filter(|object| epoch_number(&object.name).is_some()) {
        let (number, data, meta) = decode_epoch(&object.bytes, repository, &config.root)
            .map_err(|error| damaged(object, error))?;
        let missing = || UnlockError::Missing(box_name(repository, number, &slot.info.id));
        let epoch = epochs.get(&number).ok_or_else(missing)?;
        let data_fits = epoch.data.as_ref().is_none_or(|s| *s.public().key() == data);
        if object.name != epoch_name(repository, number) {
            return Err(damaged(object, HierarchyError::OtherName));
        }
        if !data_fits || *epoch.meta.public().key() != meta {
            return Err(damaged(object, HierarchyError::Sealed));
        }
        finished.insert(number);
    }
    epochs.retain(|number, _| finished.contains(number));
    let Some(newest) = epochs.values().next_back() else {
        return Err(UnlockError::Missing(epoch_name(repository, 1)));
    };
    let root = newest.root.as_ref().map(|seed| SigningKey::from_key(seed.clone()));
    Ok(Keyring {
        repository,
        role: slot.info.role,
        root_public: config.root,
        root,
        slot: slot.info,
        epochs,
    })
}

pub(super) fn is_slot(name: &str) -> bool {
    key_name(name).is_some_and(|name| name.starts_with("slot-"))
}

/// What follows in the name of an epoch or of a box.
fn of_epoch(name: &str) -> Option<&str> {
    key_name(name)?.strip_prefix("epoch-")
}

fn is_box_of(name: &str, slot: &SlotInfo) -> bool {
    of_epoch(name).and_then(|rest| rest.split_once('-')).is_some_and(|(_, id)| id == slot.hex())
}

pub(super) fn epoch_number(name: &str) -> Option<u32> {
    of_epoch(name)?.parse().ok()
}

/// The number in the name of an epoch or of a box.
fn number_used(name: &str) -> Option<u32> {
    of_epoch(name)?.split('-').next()?.parse().ok()
}

impl Keyring {
    /// Which repository.
    pub fn repository(&self) -> RepositoryId {
        self.repository
    }

    /// What these keys may do.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The slot that was opened.
    pub fn slot(&self) -> &SlotInfo {
        &self.slot
    }

    /// The key that everything is signed with.
    pub fn root_public(&self) -> &PublicKey {
        &self.root_public
    }

    /// Whether the root's key is among these: whether they may issue, revoke, add and rotate.
    pub fn can_sign(&self) -> bool {
        self.root.is_some()
    }

    /// The numbers of the epochs that these keys open, in order.
    pub fn epochs(&self) -> impl Iterator<Item = u32> {
        self.epochs.keys().copied()
    }

    /// Number of the newest epoch.
    pub fn newest_epoch(&self) -> u32 {
        *self.epochs.keys().next_back().expect("a keyring has an epoch")
    }

    /// The key that opens what was sealed to this reader in this epoch.
    pub fn reader_secret(&self, class: PackClass, epoch: u32) -> Option<&ReaderSecret> {
        let epoch = self.epochs.get(&epoch)?;
        match class {
            PackClass::Data => epoch.data.as_ref(),
            PackClass::Meta => Some(&epoch.meta),
        }
    }

    fn root(&self) -> Result<&SigningKey, HierarchyError> {
        self.root.as_ref().ok_or(HierarchyError::NotOwner)
    }

    fn newest(&self) -> &EpochKeys {
        &self.epochs[&self.newest_epoch()]
    }

    /// Makes a writer; in a domain of its own, unless one is given.
    pub fn issue_writer(
        &self,
        label: &str,
        domain: Option<DomainSecret>,
        now: Timestamp,
    ) -> Result<(WriterCredential, Object), HierarchyError> {
        let root = self.root()?;
        let key = SigningKey::generate();
        let domain = domain.unwrap_or_else(DomainSecret::random);
        let epoch = self.newest();
        let grant = Grant::issue(self.repository, &key, &domain, epoch, label, now, root)?;
        let object = grant.object();
        Ok((WriterCredential::new(key, self.root_public, grant, domain)?, object))
    }

    /// The writers that `keys` revoke, each with the number of its last snapshot that counts.
    pub fn revoked(&self, keys: &[Object]) -> BTreeMap<WriterId, u64> {
        let read = |object: &Object| {
            let revocation = Revocation::of(&object.name, &object.bytes, &self.root_public)?;
            Some((revocation.writer, revocation.last_sequence))
        };
        keys.iter().filter_map(read).collect()
    }

    /// The newest grant of each writer in `keys`, of those that open.
    pub fn grants(&self, keys: &[Object]) -> Vec<Grant> {
        let mut newest: BTreeMap<WriterId, Grant> = BTreeMap::new();
        for object in keys {
            let Ok(grant) = Grant::decode_verified(&object.bytes, &self.root_public) else {
                continue;
            };
            let known = newest.get(&grant.writer).map_or(0, |known| known.epoch);
            if object.name == grant.object_name()
                && grant.epoch > known
                && self.open_grant(&grant).is_ok()
            {
                newest.insert(grant.writer, grant);
            }
        }
        newest.into_values().collect()
    }

    /// The secret of a grant's domain.
    pub fn open_grant(&self, grant: &Grant) -> Result<DomainSecret, HierarchyError> {
        Ok(self.open_grant_with_label(grant)?.0)
    }

    /// The secret of a grant's domain, and the writer's label.
    pub fn open_grant_with_label(
        &self,
        grant: &Grant,
    ) -> Result<(DomainSecret, String), HierarchyError> {
        if grant.repository != self.repository {
            return Err(HierarchyError::OtherRepository);
        }
        let meta = self.reader_secret(PackClass::Meta, grant.epoch);
        grant.open(meta.ok_or(HierarchyError::Sealed)?)
    }

    /// Makes a revocation: no snapshot of `writer` after this number counts.
    pub fn revoke(&self, writer: WriterId, last_sequence: u64) -> Result<Object, HierarchyError> {
        let revocation = Revocation { repository: self.repository, writer, last_sequence };
        Ok(revocation.object(self.root()?))
    }

    /// Makes a slot that opens every epoch so far.
    pub fn add_slot(
        &self,
        secret: &UnlockSecret,
        role: Role,
        label: &str,
        kdf: KdfParameters,
        now: Timestamp,
    ) -> Result<(SlotInfo, Vec<Object>), HierarchyError> {
        self.add(&NewSecret::Secret(secret), role, label, kdf, now)
    }

    /// Makes a slot for the holder of an X25519 identity, of whom only the public key is known.
    pub fn add_recipient(
        &self,
        recipient: [u8; 32],
        role: Role,
        label: &str,
        now: Timestamp,
    ) -> Result<(SlotInfo, Vec<Object>), HierarchyError> {
        let secret = NewSecret::Recipient(recipient);
        self.add(&secret, role, label, KdfParameters::default(), now)
    }

    fn add(
        &self,
        secret: &NewSecret<'_>,
        role: Role,
        label: &str,
        kdf: KdfParameters,
        now: Timestamp,
    ) -> Result<(SlotInfo, Vec<Object>), HierarchyError> {
        let root = self.root()?;
        let slot_key = Key::random();
        let (slot, object) =
            slot::create(self.repository, secret, role, label, kdf, now, &slot_key, root)?;
        let mut objects = Vec::new();
        for epoch in self.epochs.values() {
            objects.push(epoch.box_for(self.repository, &slot, &slot_key, root)?);
        }
        // The slot comes last: one that is there has its boxes.
        objects.push(object);
        Ok((slot, objects))
    }

    /// The slots of a repository, as `keys/` shows them.
    pub fn slots(&self, keys: &[Object]) -> Result<Vec<SlotInfo>, UnlockError> {
        keys.iter()
            .filter(|object| is_slot(&object.name))
            .map(|object| {
                self.slot_in(object)
                    .map(|slot| slot.info)
                    .map_err(|error| UnlockError::Damaged { object: object.name.clone(), error })
            })
            .collect()
    }

    pub(super) fn slot_in(&self, object: &Object) -> Result<Slot, HierarchyError> {
        let slot = Slot::decode_verified(&object.bytes, self.repository, &self.root_public)?;
        if slot.info.object_name(self.repository) == object.name {
            Ok(slot)
        } else {
            Err(HierarchyError::OtherName)
        }
    }

    /// The label of a slot, for an owner.
    pub fn label(&self, slot: &SlotInfo, keys: &[Object]) -> Option<String> {
        let object = keys.iter().find(|object| object.name == slot.object_name(self.repository))?;
        let stored = self.slot_in(object).ok()?;
        stored.label(&self.slot_key(slot, keys).ok()?).ok()
    }

    /// A slot's key, by the escrow in its box of the newest epoch. A box of an earlier epoch does
    /// not do: whoever was removed may have put his back.
    fn slot_key(&self, slot: &SlotInfo, keys: &[Object]) -> Result<Key, HierarchyError> {
        let epoch = self.newest();
        let owner = epoch.owner.as_ref().ok_or(HierarchyError::NotOwner)?;
        let name = box_name(self.repository, epoch.number, &slot.id);
        let object = keys.iter().find(|object| object.name == name);
        let found = SlotBox::decode(&object.ok_or(HierarchyError::NoBox)?.bytes, self.repository)?;
        if (found.number, found.slot) != (epoch.number, slot.id) {
            return Err(HierarchyError::OtherName);
        }
        found.escrowed(owner, &self.root_public)
    }

    /// The objects that go when a slot is removed, in this order: the slot, then its boxes.
    ///
    /// Whoever held it keeps the keys he has seen; only a rotation without it
    /// ([`Self::rotate_for`]) keeps later ones from him.
    pub fn objects_of(&self, slot: &SlotInfo, keys: &[Object]) -> Vec<String> {
        let mut names: Vec<String> = keys
            .iter()
            .map(|object| object.name.clone())
            .filter(|name| is_box_of(name, slot))
            .collect();
        names.insert(0, slot.object_name(self.repository));
        names
    }

    /// [`Self::rotate_for`] every slot in `keys`. A slot that has no box in the newest epoch is an
    /// error that names it: it was removed and put back, or lost its box.
    pub fn rotate(
        &self,
        keys: &[Object],
        now: Timestamp,
    ) -> Result<(u32, Vec<Object>), UnlockError> {
        self.rotate_for(&self.slots(keys)?, keys, now)
    }

    /// Makes a new epoch for `slots`, with fresh keys for both readers and the owner, and a grant
    /// of it for each writer that was not revoked. What was sealed before stays open to whoever
    /// has the earlier keys, and a writer seals to the earlier epoch until it finds its grant.
    /// Returns the epoch's number, and the objects in the order in which to store them.
    ///
    /// After a removal, `slots` must be what the owner wants to remain, not what the store lists:
    /// whoever kept a copy of a removed slot can put it back until the next epoch exists. `keys`
    /// is everything in the repository's folder below `keys/`.
    pub fn rotate_for(
        &self,
        slots: &[SlotInfo],
        keys: &[Object],
        now: Timestamp,
    ) -> Result<(u32, Vec<Object>), UnlockError> {
        let damaged = |object: String| move |error| UnlockError::Damaged { object, error };
        let root = self.root().map_err(damaged(keys_folder(self.repository)))?;
        // A number is never used twice, not even that of a rotation that was interrupted.
        let used = keys.iter().filter_map(|object| number_used(&object.name));
        let last = used.fold(self.newest_epoch(), u32::max);
        let number = last.checked_add(1).ok_or(HierarchyError::OtherName);
        let epoch =
            EpochKeys::generate(number.map_err(damaged(epoch_name(self.repository, last)))?, root);
        let mut objects = Vec::new();
        for slot in slots {
            let made = self
                .slot_key(slot, keys)
                .and_then(|key| epoch.box_for(self.repository, slot, &key, root));
            objects.push(made.map_err(damaged(slot.object_name(self.repository)))?);
        }
        // The epoch comes after its boxes: one that is there has all of them.
        objects.push(epoch.object(self.repository, root));
        // Grants come after the epoch: nobody seals to one that is not there.
        let revoked = self.revoked(keys);
        for grant in self.grants(keys).iter().filter(|grant| !revoked.contains_key(&grant.writer)) {
            let renewed = self
                .open_grant_with_label(grant)
                .and_then(|(domain, label)| grant.renew(&domain, &epoch, &label, now, root))
                .map_err(damaged(grant.object_name()))?;
            objects.push(renewed.object());
        }
        Ok((epoch.number, objects))
    }
}
