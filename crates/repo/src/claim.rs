//! Being alone where the store lets one write replace another: making a repository, beginning a new
//! epoch of its keys.
//!
//! Of two `init`s in one place only one may believe that the repository there is its own: what is
//! written with the other's keys could not be read. Where the store honours create-only puts, the
//! put of `config` decides. Where it does not, each raises a claim, an object of its own name, and
//! then looks for others' claims and for a config; only where there is neither does it go on. It
//! takes the claim down once its config is there. A rotation of keys does the same, and reads the
//! keys again after it looked for others: those of an earlier rotation are there by then. Of two, whichever raised its claim later sees the
//! other's, or the config that was there before that was taken down: never do both go on, though
//! both may give up. No lock would do better on a store with plain reads and writes alone.

use drover_store::{CreateOnly, StoreError};

use crate::{names, objects::Objects, repository::RepositoryError};

/// A claim, where the store needs one.
pub struct Claim<'o> {
    objects: &'o Objects,
    name: Option<String>,
}

impl<'o> Claim<'o> {
    /// Raises a claim where the store was found not to honour create-only puts.
    /// `id` is of this run alone.
    pub fn raise(objects: &'o Objects, id: [u8; 16]) -> Result<Self, RepositoryError> {
        let found = objects.store().capabilities().unwrap_or_default();
        let name = (found.create_only != CreateOnly::Honoured).then(|| names::claim(&id));
        if let Some(name) = &name {
            objects.put_new(name, bytes::Bytes::copy_from_slice(&id))?;
        }
        Ok(Self { objects, name })
    }

    /// Whether nobody else has a claim up. A store that shows no listing is believed: `init` warns
    /// of such stores.
    pub fn check(&self) -> Result<(), RepositoryError> {
        let Some(own) = &self.name else { return Ok(()) };
        let claims = match self.objects.list(names::CLAIMS) {
            Err(StoreError::Denied { .. }) => return Ok(()),
            claims => claims?,
        };
        match claims.into_iter().find(|claim| claim.name != *own) {
            None => Ok(()),
            Some(other) => Err(RepositoryError::BeingMade(other.name)),
        }
    }

    /// Takes it down. One that stays does no harm beside a config, which is looked for first, and
    /// is named to whoever meets it where there is none.
    pub fn lower(self) {
        if let Some(name) = &self.name {
            self.objects.delete(name).ok();
        }
    }
}
