//! A repository as it is found: its signed description, and its keys.

use std::path::Path;

use drover_crypt::{
    hierarchy::{
        self, Config, HierarchyError, KdfParameters, Keyring, Object, UnlockError, UnlockSecret,
    },
    sign::PublicKey,
};
use drover_store::StoreError;
use drover_types::{RepositoryId, clock, limits};

use crate::{claim::Claim, names, objects::Objects, state::StateFolder};

/// How many objects are read side by side.
pub const PARALLEL_READS: usize = 16;

/// Why a repository cannot be opened or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing there.
    #[error("there is no repository here")]
    NoRepository,
    /// One is there already.
    #[error("there is a repository here already")]
    AlreadyThere,
    /// What is left of one.
    #[error("{0} is there, of a repository whose config is gone")]
    WithoutConfig(String),
    /// Somebody else is making one, or its keys anew, or was interrupted.
    #[error("{0}: another init or rotation of keys is at work here, or was interrupted")]
    BeingMade(String),
    /// What was just written is not what is read.
    #[error("{0}: the store does not give back what was written")]
    NotKept(String),
    /// Its description is damaged or of another version.
    #[error("the repository's config cannot be used: {0}")]
    Config(HierarchyError),
    /// Password or key.
    #[error(transparent)]
    Unlock(#[from] UnlockError),
    /// Keys of another repository.
    #[error("the repository here is not the one that this machine knows")]
    OtherRepository,
}

impl RepositoryError {
    /// Whether the store refused the permission.
    pub fn is_denied(&self) -> bool {
        matches!(self, RepositoryError::Store(StoreError::Denied { .. }))
    }
}

/// A repository whose description was read.
#[derive(Clone)]
pub struct Repository {
    objects: Objects,
    bytes: Vec<u8>,
    config: Config,
}

impl Repository {
    /// Makes a new repository with one slot, reads all of it back, and opens it.
    pub fn init(
        objects: Objects,
        secret: &UnlockSecret,
        kdf: KdfParameters,
    ) -> Result<(Self, Keyring), RepositoryError> {
        let (files, keyring) = hierarchy::create_repository(secret, kdf, clock::now())
            .map_err(RepositoryError::Config)?;
        // The config comes last: a repository that has one has its keys.
        let (config, keys): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|object| object.name == names::CONFIG);
        let claim = Claim::raise(&objects, *keyring.repository().as_bytes())?;
        let prepared = claim.check().and_then(|()| match objects.head(names::CONFIG)? {
            Some(_) => Err(RepositoryError::AlreadyThere),
            None => put_all(&objects, &keys),
        });
        let made = match prepared.map(|()| put_all(&objects, &config)) {
            Ok(Ok(())) => read_back(&objects, keys.iter().chain(&config)),
            // The config may be there, or arrive yet: the claim stays to keep others away.
            Ok(Err(RepositoryError::Store(error))) if error.is_transient() => {
                return Err(error.into());
            }
            Ok(Err(error)) | Err(error) => Err(error),
        };
        claim.lower();
        made?;
        Ok((Self::open(objects)?, keyring))
    }

    /// Reads the description.
    pub fn open(objects: Objects) -> Result<Self, RepositoryError> {
        let bytes = match objects.get(names::CONFIG, limits::SMALL_OBJECT) {
            Err(error) if error.is_not_found() => return Err(RepositoryError::NoRepository),
            result => result?.to_vec(),
        };
        let config = Config::decode(&bytes).map_err(RepositoryError::Config)?;
        Ok(Self { objects, bytes, config })
    }

    /// Which repository this is.
    pub fn id(&self) -> RepositoryId {
        self.config.repository
    }

    /// The store.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// The signed description.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Compares it with the one that was used at `url`, by the states below `state_root`: a
    /// repository of the same owner opens with the same password, and is another all the same.
    pub fn check_place(&self, state_root: &Path, url: &str) -> Result<(), RepositoryError> {
        let known = StateFolder::find(state_root, url);
        match known.iter().all(|(known, _)| *known == self.id()) {
            true => Ok(()),
            false => Err(RepositoryError::OtherRepository),
        }
    }

    /// Compares the root key with one that is known.
    pub fn check_root(&self, known: &PublicKey) -> Result<(), RepositoryError> {
        if self.config.root == *known { Ok(()) } else { Err(RepositoryError::OtherRepository) }
    }

    /// Everything in this repository's folder below `keys/`.
    pub fn keys(&self) -> Result<Vec<Object>, RepositoryError> {
        self.keys_after(&[])
    }

    /// The same, of which only that is read which `known` lacks: keys are never replaced. What is
    /// not there any more is left out.
    pub fn keys_after(&self, known: &[Object]) -> Result<Vec<Object>, RepositoryError> {
        let listed = self.objects.list(&hierarchy::keys_folder(self.id()))?;
        let names: Vec<String> = listed.into_iter().map(|object| object.name).collect();
        let (names, there): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| known.iter().all(|key| key.name != *name));
        let there = known.iter().filter(|key| there.contains(&key.name)).cloned();
        let bodies = self.objects.get_all(&names, limits::SMALL_OBJECT, PARALLEL_READS);
        names
            .into_iter()
            .zip(bodies)
            // What is larger than any key is none, and must not keep the owner from the others.
            .filter(|(_, body)| !matches!(body, Err(StoreError::TooLarge { .. })))
            .map(|(name, body)| Ok(Object { name, bytes: body?.to_vec() }))
            .chain(there.map(Ok))
            .collect()
    }

    /// Opens the keys with a password or a key.
    pub fn unlock(&self, secret: &UnlockSecret) -> Result<Keyring, RepositoryError> {
        self.unlock_with(&self.keys()?, secret)
    }

    /// Opens the keys, where all of them were read already.
    pub fn unlock_with(
        &self,
        keys: &[Object],
        secret: &UnlockSecret,
    ) -> Result<Keyring, RepositoryError> {
        Ok(hierarchy::unlock(&self.bytes, keys, secret)?)
    }
}

/// Stores what must not be there yet.
fn put_all(objects: &Objects, files: &[Object]) -> Result<(), RepositoryError> {
    for object in files {
        match objects.put_new(&object.name, object.bytes.clone().into()) {
            Err(StoreError::Conflict { .. }) if object.name == names::CONFIG => {
                return Err(RepositoryError::AlreadyThere);
            }
            result => result?,
        }
    }
    Ok(())
}

/// Compares what was stored with what was to be. Another config is another's repository: the store
/// let it replace ours.
fn read_back<'f>(
    objects: &Objects,
    files: impl Iterator<Item = &'f Object>,
) -> Result<(), RepositoryError> {
    for object in files {
        match objects.get(&object.name, limits::SMALL_OBJECT) {
            Ok(bytes) if bytes == object.bytes => {}
            Ok(_) if object.name == names::CONFIG => return Err(RepositoryError::AlreadyThere),
            Err(error) if !error.is_not_found() => return Err(error.into()),
            Ok(_) | Err(_) => return Err(RepositoryError::NotKept(object.name.clone())),
        }
    }
    Ok(())
}
