//! A machine's right to write: its credential, its state, and what an earlier run left undone.

use std::{path::Path, sync::Mutex};

use drover_crypt::hierarchy::{Grant, Revocation, UnlockSecret, WriterCredential, keys_folder};
use drover_repo::{
    Repository,
    log::StoredRecord,
    names,
    objects::Objects,
    snapshot::StoredSnapshot,
    state::{Database, Head, StateError, StateFolder},
};
use drover_store::{Capabilities, CreateOnly, ObjectInfo, StoreError, StoreKind};
use drover_types::{Observer, RepositoryId, WriterId, clock, limits};

use crate::{Error, rebuild::Readable};

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
    /// Held while a pass is committed: a history has one end.
    pub(crate) committing: Mutex<()>,
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
                repository.check_place(state_root, url)?;
                let id = repository.id();
                (id, StateFolder::create(state_root, id)?)
            }
            None => StateFolder::find(state_root, url).pop().ok_or(Error::NoCredential)?,
        };
        know_store(&objects, url, &folder)?;
        let stored = folder.credential()?;
        let credential = match (&repository, stored) {
            (_, Some(bytes)) => {
                let credential =
                    WriterCredential::decode(&bytes).map_err(|_| Error::DAMAGED_CREDENTIAL)?;
                if let Some(repository) = &repository {
                    repository.check_root(credential.root_public())?;
                }
                credential
            }
            (None, None) => return Err(Error::NoCredential),
            (Some(repository), None) => {
                let secret = ask()?.ok_or(Error::NoCredential)?;
                let readable = Readable::open(repository, &secret)?;
                Self::first_credential(&readable, &folder, observer).inspect_err(|error| {
                    // What a full disk left of it is no damage the next time.
                    if matches!(error, Error::State(StateError::Io { .. })) {
                        folder.forget_database();
                    }
                })?
            }
        };
        folder.remember_location(url)?;
        let session = Self::resume(objects, id, credential, folder, observer)?;
        if session.database.writer()? != Some(session.credential.writer_id()) {
            session.rebuild(repository.as_ref(), ask, observer)?;
        }
        session.finish_earlier_run(observer)?;
        Ok(session)
    }

    /// Opens the state of a machine that has a credential, and finds what it lacks of the
    /// writer's own history; takes the keys of a newer epoch, where there is one.
    pub(crate) fn resume(
        objects: Objects,
        repository: RepositoryId,
        credential: WriterCredential,
        folder: StateFolder,
        observer: &dyn Observer,
    ) -> Result<Self, Error> {
        let database = open_database(&folder, Some(credential.writer_id()), observer)?;
        let credential = renewed(credential, &objects, &folder, observer)?;
        let session = Self {
            objects,
            repository,
            credential,
            folder,
            database,
            committing: Mutex::default(),
        };
        if session.database.head()? == Head::default() {
            session.recover_history(observer)?;
        }
        Ok(session)
    }

    /// Makes this machine a writer, in the domain of the one it had before, and fills its state.
    /// Nothing is kept of the new writer before that: a run that is killed in between begins again.
    fn first_credential(
        readable: &Readable<'_>,
        folder: &StateFolder,
        observer: &dyn Observer,
    ) -> Result<WriterCredential, Error> {
        let database = open_database(folder, None, observer)?;
        let label = crate::host_name();
        let domain = readable.domain_of(&label);
        let (credential, grant) =
            readable.keyring.issue_writer(&label, domain, clock::now()).map_err(|_| {
                Error::NotAllowed("these keys cannot make a writer: it takes the owner's")
            })?;
        readable.rebuild(&credential.domain_keys(), folder, &database, observer)?;
        readable.put(&grant)?;
        database.set_writer(credential.writer_id())?;
        folder.store_credential(&credential.encode())?;
        Ok(credential)
    }

    /// Finds out again what the state lacks, where keys are at hand that read it.
    fn rebuild(
        &self,
        repository: Option<&Repository>,
        ask: &AskPassword<'_>,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        if self.database.head()?.sequence > 0 {
            let secret = repository.map(|_| ask()).transpose()?.flatten();
            let Some((repository, secret)) = repository.zip(secret) else {
                // The next run asks again, unless a pass was completed by then.
                observer.warning("the local state was lost, and no password was given to rebuild it from the repository: this pass reads everything, and sends again what it cannot know to be stored");
                return Ok(());
            };
            let keys = self.credential.domain_keys();
            let readable = Readable::open(repository, &secret)?;
            readable.rebuild(&keys, &self.folder, &self.database, observer)?;
        }
        Ok(self.database.set_writer(self.credential.writer_id())?)
    }

    /// The grant of this writer.
    pub fn grant(&self) -> &Grant {
        self.credential.grant()
    }

    /// Finds the end of this writer's own history in the store, where the state has none. The log
    /// may have gone on after the newest snapshot.
    fn recover_history(&self, observer: &dyn Observer) -> Result<(), Error> {
        let key = self.credential.public_key();
        let of = |prefix: &str| format!("{prefix}{}/", self.credential.writer_id());
        let number =
            |prefix: &'static str| move |name: &str| Some(names::parse_numbered(name, prefix)?.1);
        let snapshot = |name: &str, bytes: Result<Vec<u8>, StoreError>| {
            let stored = StoredSnapshot::decode(bytes.ok()?).ok()?;
            let open = &stored.open;
            let known = name == names::snapshot(&open.writer, open.sequence, &stored.id);
            (known && stored.verify(&key).is_ok()).then_some(stored)
        };
        let record = |name: &str, bytes: Result<Vec<u8>, StoreError>| {
            let stored = StoredRecord::decode(bytes.ok()?).ok()?;
            let open = &stored.open;
            let known = name == names::log(&open.writer, open.sequence, &stored.hash);
            (known && stored.verify(&key).is_ok()).then_some(stored)
        };
        let (snapshots, log) = (names::SNAPSHOTS, names::LOG);
        let list = |prefix| self.objects.list(&of(prefix));
        let newest = list(snapshots)
            .and_then(|listed| newest(&self.objects, listed, number(snapshots), snapshot))
            .and_then(|found| Ok((found, newest(&self.objects, list(log)?, number(log), record)?)));
        let (snapshot, record) = match newest {
            Ok(newest) => newest,
            Err(StoreError::Denied { .. }) => {
                observer.warning("this machine may not list the repository, and its state has no history: snapshots of an earlier state, if there are any, are not continued, and this pass reads everything and sends all of it");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let mut head = snapshot.map_or_else(Head::default, |stored| Head {
            sequence: stored.open.sequence,
            snapshot: stored.id.0,
            log_sequence: stored.open.log_sequence,
            log: stored.open.log_head,
            packs: stored.open.packs,
        });
        if let Some(record) = record.filter(|record| record.open.sequence > head.log_sequence) {
            (head.log_sequence, head.log) = (record.open.sequence, record.hash);
        }
        Ok(self.database.set_head(&head)?)
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
            let pack = names::pack(&receipt.id);
            self.objects.wait(self.objects.store().remove_unfinished(&pack))?;
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
        match intact {
            // It counts as stored from now on, so that its name has to last as well.
            true => self.objects.wait(self.objects.store().sync(&name))?,
            false => self.objects.delete(&name)?,
        }
        Ok(intact)
    }
}

/// Opens the state's database; one that is damaged, or not that of `writer`, is set aside.
fn open_database(
    folder: &StateFolder,
    writer: Option<WriterId>,
    observer: &dyn Observer,
) -> Result<Database, Error> {
    let (database, set_aside) = folder.open_database()?;
    if set_aside {
        observer.warning(
            "the local state was damaged and was set aside; what it knew is found out again",
        );
    }
    let known = database.writer()?;
    if known.is_none() || known == writer {
        return Ok(database);
    }
    drop(database);
    folder.set_aside()?;
    Ok(folder.open_database()?.0)
}

/// Finds out what the store does with create-only puts, once on each machine. One that may not be
/// tried is trusted with nothing.
fn know_store(objects: &Objects, url: &str, folder: &StateFolder) -> Result<(), Error> {
    let store = objects.store();
    let assume = |create_only| {
        let believed = store.capabilities().unwrap_or_default();
        store.assume(Capabilities { create_only, ..believed });
    };
    if let Some(known) = folder.create_only(url) {
        assume(known);
        return Ok(());
    }
    match objects.wait(store.probe()) {
        Ok(found) => Ok(folder.remember_create_only(url, found.create_only)?),
        Err(StoreError::Denied { .. }) => {
            assume(CreateOnly::Ignored);
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// The credential with the newest grant that the store has for its writer, unless that was revoked. A
/// machine that may not look goes on sealing to the epoch it knows.
fn renewed(
    credential: WriterCredential,
    objects: &Objects,
    folder: &StateFolder,
    observer: &dyn Observer,
) -> Result<WriterCredential, Error> {
    let repository = credential.repository();
    let names = Grant::names(repository, credential.writer_id());
    let later = |name: &str| {
        let epoch = name.strip_prefix(&names)?.parse::<u32>().ok()?;
        (epoch > credential.epoch()).then_some(epoch)
    };
    let listed = match objects.list(&keys_folder(repository)) {
        Err(StoreError::Denied { .. }) => return Ok(credential),
        listed => listed?,
    };
    let revoked = Revocation::name(repository, credential.writer_id());
    if listed.iter().any(|object| object.name == revoked) {
        let bytes = objects.get(&revoked, limits::SMALL_OBJECT)?;
        // What the root did not sign ends nothing.
        if let Some(revocation) = Revocation::of(&revoked, &bytes, credential.root_public()) {
            return Err(Error::Revoked { last: revocation.last_sequence });
        }
    }
    let found = newest(objects, listed, later, |name, bytes| {
        let renewed = bytes.map_err(|error| error.to_string()).and_then(|bytes| {
            let refused = |e| format!("{name} is no grant of this machine's writer: {e}");
            credential.renewed(&bytes).map_err(refused)
        });
        renewed.map_err(|message| observer.warning(&message)).ok()
    });
    match found {
        Ok(Some(renewed)) => {
            folder.store_credential(&renewed.encode())?;
            Ok(renewed)
        }
        Ok(None) | Err(StoreError::Denied { .. }) => Ok(credential),
        Err(error) => Err(error.into()),
    }
}

/// What `check` makes of an object that is listed: of the one with the highest number of which it
/// makes something, since anyone who can write to the store can put others there. One that is too
/// long to be read is handed over as that error.
fn newest<N: Ord, T>(
    objects: &Objects,
    listed: Vec<ObjectInfo>,
    number: impl Fn(&str) -> Option<N>,
    mut check: impl FnMut(&str, Result<Vec<u8>, StoreError>) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    let mut numbered: Vec<_> =
        listed.into_iter().filter_map(|o| Some((number(&o.name)?, o.name))).collect();
    numbered.sort();
    for (_, name) in numbered.iter().rev() {
        let bytes = match objects.get(name, limits::SMALL_OBJECT) {
            Err(error) if !matches!(error, StoreError::TooLarge { .. }) => return Err(error),
            bytes => bytes.map(|bytes| bytes.to_vec()),
        };
        if let Some(found) = check(name, bytes) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
