//! A machine's right to write: its credential, its state, and what an earlier run left undone.

use std::path::Path;

use drover_crypt::hierarchy::{Grant, Keyring, UnlockSecret, WriterCredential};
use drover_repo::{
    Repository, names,
    objects::Objects,
    state::{Database, StateFolder},
};
use drover_store::{StoreError, StoreKind};
use drover_types::{Observer, RepositoryId, clock, limits};

use crate::Error;

/// Where a password comes from when one is needed; `None` where there is none.
pub type AskPassword<'a> = dyn Fn() -> Result<Option<UnlockSecret>, Error> + 'a;

/// An open repository, with the right to write to it.
pub struct WriterSession {
    /// The store.
    pub objects: Objects,
    /// The repository.
    pub repository: RepositoryId,
    /// This machine's credential.
    pub credential: WriterCredential,
    /// Its state's folder.
    pub folder: StateFolder,
    /// Its state's database.
    pub database: Database,
}

impl WriterSession {
    /// Opens the repository at `url` with the credential that this machine's state holds, or,
    /// the first time, makes one with a password.
    pub fn open(
        objects: Objects,
        url: &str,
        state_root: &Path,
        ask: &AskPassword<'_>,
        observer: &dyn Observer,
    ) -> Result<Self, Error> {
        let repository = match Repository::open(objects.clone()) {
            Ok(repository) => Some(repository),
            // A machine that may only write knows from its state which repository this is.
            Err(error) if error.is_denied() => None,
            Err(error) => return Err(error.into()),
        };
        let (id, folder) = match &repository {
            Some(repository) => {
                let id = repository.id();
                (id, StateFolder::create(state_root, id)?)
            }
            None => StateFolder::find(state_root, url).pop().ok_or(Error::NoCredential)?,
        };
        let stored = folder.credential()?;
        let credential = match (&repository, stored) {
            (_, Some(bytes)) => {
                let credential = WriterCredential::decode(&bytes)
                    .map_err(|_| Error::NotAllowed("the stored credential is damaged: remove the file `credential` of the state and give the password again"))?;
                if let Some(repository) = &repository {
                    repository.check_root(credential.root_public())?;
                }
                credential
            }
            (None, None) => return Err(Error::NoCredential),
            (Some(repository), None) => {
                let secret = ask()?.ok_or(Error::NoCredential)?;
                let keyring = repository.unlock(&secret)?;
                Self::first_credential(repository, &keyring, &folder)?
            }
        };
        folder.remember_location(url)?;
        let (database, set_aside) = folder.open_database()?;
        if set_aside {
            observer.warning(
                "the local state was damaged and was set aside; what it knew is found out again",
            );
        }
        let session = Self { objects, repository: id, credential, folder, database };
        if set_aside || session.database.head()?.sequence == 0 {
            session.recover_history(observer)?;
        }
        session.finish_earlier_run(observer)?;
        Ok(session)
    }

    fn first_credential(
        repository: &Repository,
        keyring: &Keyring,
        folder: &StateFolder,
    ) -> Result<WriterCredential, Error> {
        let (credential, grant) =
            keyring.issue_writer(&crate::host_name(), None, clock::now()).map_err(|_| {
                Error::NotAllowed("these keys cannot make a writer: it takes the owner's")
            })?;
        repository.objects().put_new(&grant.name, grant.bytes.into())?;
        folder.store_credential(&credential.encode())?;
        Ok(credential)
    }

    /// The grant of this writer.
    pub fn grant(&self) -> &Grant {
        self.credential.grant()
    }

    /// Finds the end of this writer's own history in the store, where the state has none.
    fn recover_history(&self, observer: &dyn Observer) -> Result<(), Error> {
        let prefix = format!("{}{}/", names::SNAPSHOTS, self.credential.writer_id());
        let listed = match self.objects.list(&prefix) {
            Ok(listed) => listed,
            Err(StoreError::Denied { .. }) => {
                observer.warning("this machine may not list the repository, and its state has no history: snapshots of an earlier state, if there are any, are not continued");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let newest = listed
            .iter()
            .filter_map(|object| {
                let parsed = names::parse_numbered(&object.name, names::SNAPSHOTS)?;
                Some((parsed.1, object.name.clone()))
            })
            .max();
        let Some((_, name)) = newest else { return Ok(()) };
        let bytes = self.objects.get(&name, limits::SMALL_OBJECT)?;
        let stored = drover_repo::snapshot::StoredSnapshot::decode(bytes.to_vec())?;
        stored.verify(&self.credential.public_key())?;
        let open = &stored.open;
        if name != names::snapshot(&open.writer, open.sequence, &stored.id) {
            return Err(Error::History(format!(
                "{name} holds another snapshot of this writer: the store was changed"
            )));
        }
        self.database.set_head(&drover_repo::state::Head {
            sequence: stored.open.sequence,
            snapshot: stored.id.0,
            log_sequence: stored.open.log_sequence,
            log: stored.open.log_head,
            packs: stored.open.packs.clone(),
        })?;
        Ok(())
    }

    /// Completes what a killed run began: a commit that was kept is sent again, byte for byte;
    /// a pack that was on its way is adopted where it arrived, and forgotten where it did not.
    fn finish_earlier_run(&self, observer: &dyn Observer) -> Result<(), Error> {
        self.finish_pending_commit()?;
        for receipt in self.database.intents()? {
            let arrived = match self.arrived(&receipt) {
                Err(StoreError::Denied { .. }) => {
                    observer.warning("this machine may not ask for what it sent: packs of an interrupted run are sent again");
                    false
                }
                result => result?,
            };
            if arrived {
                self.database.acknowledge(&receipt)?;
            } else {
                self.database.forget_intent(&receipt.id)?;
            }
        }
        Ok(())
    }

    /// Sends a commit that was kept and not seen acknowledged: the same bytes, so that the
    /// history does not fork where they had arrived.
    pub(crate) fn finish_pending_commit(&self) -> Result<(), Error> {
        let Some(commit) = self.database.pending_commit()? else { return Ok(()) };
        if let Some((id, source)) = &commit.source {
            self.folder.complete_manifest(*id, source.snapshot)?;
        }
        for (name, bytes) in &commit.objects {
            self.objects.put_new(name, bytes.clone().into())?;
        }
        Ok(self.database.finish_commit(&commit)?)
    }

    fn arrived(&self, receipt: &drover_pack::PackReceipt) -> Result<bool, StoreError> {
        let name = names::pack(&receipt.id);
        if self.objects.head(&name)? != Some(receipt.len) {
            return Ok(false);
        }
        if self.objects.store().url().kind() != StoreKind::Local {
            return Ok(true);
        }
        // After a loss of power a local file can have its length and not its bytes.
        let bytes = self.objects.get(&name, limits::PACK)?;
        let intact = *blake3::hash(&bytes).as_bytes() == receipt.id.0;
        if !intact {
            self.objects.delete(&name)?;
        }
        Ok(intact)
    }
}
