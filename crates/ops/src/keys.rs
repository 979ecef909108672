//! Keys: slots listed, added and removed, writers exported, epochs rotated.

use drover_crypt::hierarchy::{
    Grant, HierarchyError, KdfParameters, Keyring, Object, Role, SlotInfo, UnlockSecret,
    WriterCredential,
};
use drover_repo::{CheckedSnapshot, Claim, History, Repository, objects::Objects};
use drover_types::{Timestamp, WriterId, clock, path::escape};

use crate::Error;

/// A repository's keys, opened.
pub struct KeySession {
    /// The repository.
    pub repository: Repository,
    /// Everything in the repository's folder below `keys/`.
    pub keys: Vec<Object>,
    /// What was opened.
    pub keyring: Keyring,
}

/// A slot, with its label for those who may read it.
#[derive(Clone, Debug)]
pub struct ListedSlot {
    /// What is known of it.
    pub info: SlotInfo,
    /// Its label.
    pub label: Option<String>,
    /// Whether it is the one that was opened.
    pub current: bool,
}

/// A writer, as its grant says.
#[derive(Clone, Debug)]
pub struct ListedWriter {
    /// Its id.
    pub id: WriterId,
    /// Its label.
    pub label: String,
    /// When it was granted.
    pub issued: Timestamp,
    /// The epoch it may seal to, and does from its next pass on.
    pub epoch: u32,
    /// The number of its last snapshot that counts, where it was revoked.
    pub revoked_after: Option<u64>,
}

/// Up to where a writer's snapshots count.
#[derive(Clone, Copy, Debug)]
pub enum Last<'l> {
    /// Those that are there.
    Newest,
    /// Up to the one whose id begins so.
    Snapshot(&'l str),
    /// Not one.
    None,
}

fn not_owner(error: HierarchyError) -> Error {
    match error {
        HierarchyError::NotOwner => {
            Error::NotAllowed("these keys may not do that: it takes the owner's")
        }
        HierarchyError::Parameters => {
            Error::NotAllowed("the parameters of key derivation are out of bounds")
        }
        HierarchyError::Memory(_) => {
            Error::NotAllowed("there is not the memory that a passphrase's slot takes")
        }
        HierarchyError::WeakSecret(_) => Error::NotAllowed(
            "the new secret is too weak: a passphrase must not be empty, a key file must have at least 32 bytes",
        ),
        _ => Error::NotAllowed("a key of the repository does not open: it was changed"),
    }
}

impl KeySession {
    /// Opens the keys with a password or a key.
    pub fn open(objects: Objects, secret: &UnlockSecret) -> Result<Self, Error> {
        let repository = Repository::open(objects)?;
        let keys = repository.keys()?;
        let keyring = repository.unlock_with(&keys, secret)?;
        Ok(Self { repository, keys, keyring })
    }

    fn put(&self, objects: &[Object]) -> Result<(), Error> {
        for object in objects {
            self.repository.objects().put_new(&object.name, object.bytes.clone().into())?;
        }
        Ok(())
    }

    /// All slots.
    pub fn slots(&self) -> Result<Vec<ListedSlot>, Error> {
        let slots = self.keyring.slots(&self.keys).map_err(drover_repo::RepositoryError::from)?;
        Ok(slots
            .into_iter()
            .map(|info| ListedSlot {
                label: self.keyring.label(&info, &self.keys).filter(|label| !label.is_empty()),
                current: info == *self.keyring.slot(),
                info,
            })
            .collect())
    }

    /// All writers whose grants open, each by its newest.
    pub fn writers(&self) -> Vec<ListedWriter> {
        let grants = self.keyring.grants(&self.keys);
        let revoked = self.keyring.revoked(&self.keys);
        let listed = grants.into_iter().filter_map(|grant| {
            let (_, label) = self.keyring.open_grant_with_label(&grant).ok()?;
            let Grant { writer: id, issued, epoch, .. } = grant;
            let revoked_after = revoked.get(&id).copied();
            Some(ListedWriter { id, label, issued, epoch, revoked_after })
        });
        listed.collect()
    }

    /// Adds a slot.
    pub fn add(
        &self,
        secret: &UnlockSecret,
        role: Role,
        label: &str,
        kdf: KdfParameters,
    ) -> Result<SlotInfo, Error> {
        let (slot, objects) =
            self.keyring.add_slot(secret, role, label, kdf, clock::now()).map_err(not_owner)?;
        self.put(&objects)?;
        Ok(slot)
    }

    /// Removes the slot whose id begins with `wanted`. The last slot of an owner stays.
    pub fn remove(&self, wanted: &str) -> Result<SlotInfo, Error> {
        if self.keyring.role() != Role::Owner {
            return Err(not_owner(HierarchyError::NotOwner));
        }
        let slots = self.slots()?;
        let slot = named("key slot", wanted, &slots, |slot| slot.info.hex())?.info.clone();
        let owners = slots.iter().filter(|s| s.info.role == Role::Owner).count();
        if slot.role == Role::Owner && owners == 1 {
            return Err(Error::NotAllowed(
                "this is the owner's last key slot: without it nobody could add another",
            ));
        }
        for name in self.keyring.objects_of(&slot, &self.keys) {
            self.repository.objects().delete(&name)?;
        }
        Ok(slot)
    }

    /// Makes a writer for another machine, with a domain of its own.
    pub fn export_writer(&self, label: &str) -> Result<WriterCredential, Error> {
        let (credential, grant) =
            self.keyring.issue_writer(label, None, clock::now()).map_err(not_owner)?;
        self.put(&[grant])?;
        Ok(credential)
    }

    /// Revokes the writer whose id begins with `wanted`: its snapshots count up to `last`, and no
    /// further. Returns its id.
    pub fn revoke(&self, wanted: &str, last: Last<'_>) -> Result<WriterId, Error> {
        let writers = self.writers();
        let writer = named("writer", wanted, &writers, |writer| writer.id.to_string())?;
        if writer.revoked_after.is_some() {
            return Err(Error::NotAllowed(
                "this writer was revoked before, and a revocation is never changed",
            ));
        }
        let history = History::load(self.repository.objects(), &self.keyring, &self.keys)?;
        let snapshots: Vec<_> =
            history.snapshots.iter().filter(|s| s.stored.open.writer == writer.id).collect();
        let last = match last {
            Last::None => 0,
            Last::Newest => snapshots.last().map_or(0, |newest| newest.stored.open.sequence),
            Last::Snapshot(wanted) => {
                let id = |snapshot: &&CheckedSnapshot| snapshot.id().to_hex();
                named("snapshot of this writer", wanted, &snapshots, id)?.stored.open.sequence
            }
        };
        let revocation = self.keyring.revoke(writer.id, last).map_err(not_owner)?;
        self.put(&[revocation])?;
        Ok(writer.id)
    }

    /// Begins a new epoch for every slot, and for every writer that was not revoked: each takes it
    /// when it next opens the repository. Returns its number. Of two rotations at once, whatever
    /// the store does with create-only puts, each has an epoch of its own or fails.
    pub fn rotate(&self) -> Result<u32, Error> {
        if self.keyring.role() != Role::Owner {
            return Err(not_owner(HierarchyError::NotOwner));
        }
        let objects = self.repository.objects();
        objects.wait(objects.store().probe())?;
        let claim = Claim::raise(objects, drover_crypt::random::array())?;
        let rotated = claim.check().map_err(Error::from).and_then(|()| self.rotate_alone());
        if let Err(Error::Store(error)) = &rotated
            && error.is_transient()
        {
            // Something may arrive yet: the claim stays to keep others away.
            return rotated;
        }
        claim.lower();
        rotated
    }

    fn rotate_alone(&self) -> Result<u32, Error> {
        let keys = self.repository.keys()?;
        if keys.iter().any(|now| !self.keys.iter().any(|before| before.name == now.name)) {
            return Err(Error::NotAllowed(
                "somebody changed the repository's keys at the same time: run it again",
            ));
        }
        let rotated = self.keyring.rotate(&keys, clock::now());
        let (epoch, objects) = rotated.map_err(drover_repo::RepositoryError::from)?;
        self.put(&objects)?;
        Ok(epoch)
    }
}

/// The one of `all` whose id begins with `wanted`.
fn named<'a, T>(
    what: &str,
    wanted: &str,
    all: &'a [T],
    id: impl Fn(&T) -> String,
) -> Result<&'a T, Error> {
    let mut fitting = all.iter().filter(|one| !wanted.is_empty() && id(one).starts_with(wanted));
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Error::NoSuchKey(format!("{what} {}", escape(wanted.as_bytes())))),
        _ => Err(Error::NoSuchKey(format!("single {what} {wanted}: several begin so"))),
    }
}
