//! init: a new repository.

use drover_crypt::hierarchy::{KdfParameters, Keyring, UnlockSecret};
use drover_repo::{Repository, RepositoryError, names, objects::Objects};
use drover_store::{Capabilities, StoreError};

use crate::Error;

/// A repository that was just made.
pub struct NewRepository {
    /// It.
    pub repository: Repository,
    /// Its keys.
    pub keyring: Keyring,
    /// What its store can do, as far as that could be found out.
    pub capabilities: Option<Capabilities>,
}

/// Makes a repository, after asking the store what it can do. What is left of another repository,
/// whose config is gone, is no place for one.
pub fn init(
    objects: Objects,
    secret: &UnlockSecret,
    kdf: KdfParameters,
) -> Result<NewRepository, Error> {
    if objects.head(names::CONFIG)?.is_some() {
        return Err(RepositoryError::AlreadyThere.into());
    }
    for folder in [names::SNAPSHOTS, names::LOG] {
        match objects.list(folder) {
            Ok(found) => {
                if let Some(object) = found.into_iter().next() {
                    return Err(RepositoryError::WithoutConfig(object.name).into());
                }
            }
            Err(StoreError::Denied { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let capabilities = objects.wait(objects.store().probe())?;
    let (repository, keyring) = Repository::init(objects, secret, kdf)?;
    Ok(NewRepository { repository, keyring, capabilities: Some(capabilities) })
}
