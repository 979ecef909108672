//! Making a repository's keys, opening them, and what an owner does with them.

use std::collections::BTreeMap;

use drover_types::{PackClass, RepositoryId, Timestamp, WriterId};

use super::{
    Config, EpochKeys, Grant, HierarchyError, KdfParameters, Object, Revocation, Role, SlotInfo,
    UnlockSecret, WriterCredential,
    epoch::{SlotBox, decode_epoch},
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

/// Opens the keys of a repository: `config`, and everything below `keys/`.
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
    let mut first_damage = None;
    for object in keys.iter().filter(|o| o.name.starts_with("keys/slot-")).take(SLOTS) {
        let opened = Slot::decode(&object.bytes, repository)
            .and_then(|slot| Ok(slot.open(secret)?.map(|key| (slot, key))));
        match opened {
            Ok(None) => {}
            Ok(Some((slot, key))) if object.name == slot.info.object_name() => {
                return open_epochs(decoded, keys, object, slot, &key);
            }
            Ok(Some(_)) => {
                first_damage = Some((object, HierarchyError::OtherRepository));
            }
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
    slot_object: &Object,
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
        if id != slot.info.id || object.name != format!("keys/epoch-{}-{}", epoch.number, slot.info.hex())
        {
            return Err(damaged(object, HierarchyError::OtherRepository));
        }
        if epoch.root_public != config.root {
            let object = Object { name: "config".into(), bytes: Vec::new() };
            return Err(damaged(&object, HierarchyError::Signature));
        }
        epochs.insert(epoch.number, epoch);
    }
    Slot::verify(&slot_object.bytes, &config.root).map_err(|error| damaged(slot_object, error))?;
    // Every epoch that the root signed must open, and its public keys must be those opened.
    for object in keys.iter().filter(|object| epoch_number(&object.name).is_some()) {
        let (number, data, meta) = decode_epoch(&object.bytes, repository, &config.root)
            .map_err(|error| damaged(object, error))?;
        let missing = || UnlockError::Missing(format!("keys/epoch-{number}-{}", slot.info.hex()));
        let epoch = epochs.get(&number).ok_or_else(missing)?;
        let data_fits = epoch.data.as_ref().is_none_or(|s| *s.public().key() == data);
        if epoch_number(&object.name) != Some(number)
            || !data_fits
            || *epoch.meta.public().key() != meta
        {
            return Err(damaged(object, HierarchyError::OtherRepository));
        }
    }
    let Some(newest) = epochs.values().next_back() else {
        return Err(UnlockError::Missing(format!("keys/epoch-1-{}", slot.info.hex())));
    };
    let root = newest.root.as_ref().map(|seed| SigningKey::from_seed(seed));
    Ok(Keyring {
        repository,
        role: slot.info.role,
        root_public: config.root,
        root,
        slot: slot.info,
        epochs,
    })
}

fn is_box_of(name: &str, slot: &SlotInfo) -> bool {
    name.strip_prefix("keys/epoch-")
        .and_then(|rest| rest.split_once('-'))
        .is_some_and(|(_, id)| id == slot.hex())
}

fn epoch_number(name: &str) -> Option<u32> {
    name.strip_prefix("keys/epoch-")?.parse().ok()
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
        let epoch = self.newest();
        let data = epoch.data.as_ref().ok_or(HierarchyError::NotOwner)?.public();
        let meta = epoch.meta.public();
        let key = SigningKey::generate();
        let domain = domain.unwrap_or_else(DomainSecret::random);
        let grant = Grant::issue(
            self.repository,
            key.public(),
            &domain,
            epoch.number,
            &meta,
            label,
            now,
            root,
        );
        let object = grant.object();
        Ok((WriterCredential::new(key, self.root_public, grant, data, meta, domain), object))
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

    /// Makes a revocation.
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
            .filter(|object| object.name.starts_with("keys/slot-"))
            .map(|object| {
                Slot::verify(&object.bytes, &self.root_public)
                    .and_then(|()| Slot::decode(&object.bytes, self.repository))
                    .map(|slot| slot.info)
                    .map_err(|error| UnlockError::Damaged { object: object.name.clone(), error })
            })
            .collect()
    }

    /// The label of a slot, for an owner.
    pub fn label(&self, slot: &SlotInfo, keys: &[Object]) -> Option<String> {
        let object = keys.iter().find(|object| object.name == slot.object_name())?;
        let stored = Slot::decode(&object.bytes, self.repository).ok()?;
        stored.label(&self.slot_key(slot, keys).ok()?)
    }

    /// A slot's key, by the escrow of the newest epoch that has a box for it.
    fn slot_key(&self, slot: &SlotInfo, keys: &[Object]) -> Result<Key, HierarchyError> {
        for epoch in self.epochs.values().rev() {
            let name = format!("keys/epoch-{}-{}", epoch.number, slot.hex());
            if let Some(object) = keys.iter().find(|object| object.name == name) {
                let owner = epoch.owner.as_ref().ok_or(HierarchyError::NotOwner)?;
                return SlotBox::decode(&object.bytes, self.repository)?.escrowed(owner);
            }
        }
        Err(HierarchyError::Sealed)
    }

    /// The objects that go when a slot is removed: its boxes first.
    pub fn objects_of(&self, slot: &SlotInfo, keys: &[Object]) -> Vec<String> {
        let mut names: Vec<String> = keys
            .iter()
            .map(|object| object.name.clone())
            .filter(|name| is_box_of(name, slot))
            .collect();
        names.insert(0, slot.object_name());
        names
    }

    /// Makes a new epoch, with fresh keys for both readers and the owner, for every slot that is
    /// in `keys`. What was sealed before stays open to whoever has the earlier keys.
    pub fn rotate(&self, keys: &[Object]) -> Result<Vec<Object>, UnlockError> {
        let not_owner = |error| UnlockError::Damaged { object: "keys/".into(), error };
        let root = self.root().map_err(not_owner)?;
        let epoch = EpochKeys::generate(self.newest_epoch() + 1, root);
        let mut objects = Vec::new();
        for slot in self.slots(keys)? {
            let made = self
                .slot_key(&slot, keys)
                .and_then(|key| epoch.box_for(self.repository, &slot, &key, root));
            objects.push(made.map_err(|error| UnlockError::Damaged {
                object: slot.object_name(),
                error,
            })?);
        }
        objects.push(epoch.object(self.repository, root));
        Ok(objects)
    }
}
