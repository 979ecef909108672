//! init: a new repository.

use drover_crypt::hierarchy::{KdfParameters, Keyring, UnlockSecret};
use drover_repo::{Repository, objects::Objects};
use drover_store::Capabilities;

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

/// Makes a repository, after asking the store what it can do.
pub fn init(
    objects: Objects,
    secret: &UnlockSecret,
    kdf: KdfParameters,
) -> Result<NewRepository, Error> {
    if objects.head(drover_repo::names::CONFIG)?.is_some() {
        return Err(drover_repo::RepositoryError::AlreadyThere.into());
    }
    let capabilities = objects.wait(objects.store().probe())?;
    let (repository, keyring) = Repository::init(objects, secret, kdf)?;
    Ok(NewRepository { repository, keyring, capabilities: Some(capabilities) })
}
