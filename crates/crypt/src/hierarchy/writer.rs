//! Writers: who may add to a repository without being able to read it.

use drover_types::{
    DomainId, PackClass, RepositoryId, Timestamp, WriterId,
    codec::{DecodeError, Decoder, Encoder},
};
use zeroize::Zeroizing;

use super::{
    EpochKeys, HierarchyError, Object, begin, begin_onto, expect, keys_folder, sign, verified,
};
use crate::{
    domain::{DomainKeys, DomainSecret},
    seal::{self, ReaderPublic, ReaderSecret},
    secret::{Key, derive},
    sign::{PublicKey, SigningKey},
};

const GRANT_MAGIC: [u8; 8] = *b"DRVRGRNT";
const REVOCATION_MAGIC: [u8; 8] = *b"DRVRRVOK";
const CREDENTIAL_MAGIC: [u8; 8] = *b"DRVRCRED";
const SEAL_SECRET_CONTEXT: &str = "drover 2026-11 writer seal secret";
const SEAL_PSK_CONTEXT: &str = "drover 2026-11 writer seal psk";
const GRANT_CONTEXT: &str = "drover 2026-11 grant";
const REVOCATION_CONTEXT: &str = "drover 2026-11 revocation";
/// Longest label, in bytes.
const LABEL: usize = 256;
/// Bound on the sealed part of a grant, in bytes: the domain's secret, the label and its length.
const SEALED: usize = 32 + 2 + LABEL + seal::SEAL_OVERHEAD;
/// Length of the part that is sealed to the writer: both readers' keys and pre-shared keys.
const READERS: usize = 4 * 32 + seal::SEAL_OVERHEAD;
/// Bound on a grant within a credential, in bytes.
const GRANT: usize = 1024;

/// The root's word that a writer may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Which repository.
    pub repository: RepositoryId,
    /// Who.
    pub writer: WriterId,
    /// Its key.
    pub public_key: PublicKey,
    /// The X25519 key that the readers' keys are sealed to.
    seal_key: [u8; 32],
    /// The domain whose keys name its chunks.
    pub domain: DomainId,
    /// The epoch whose readers it seals to, and whose meta reader opens `sealed`.
    pub epoch: u32,
    /// When it was given.
    pub issued: Timestamp,
    /// How many bytes stand before the sealed part and its length: what the seal is bound to.
    open_len: usize,
    sealed: Vec<u8>,
    /// The same for the part that is sealed to the writer.
    readers_at: usize,
    readers: [u8; READERS],
    bytes: Vec<u8>,
}

/// What opens the part of a grant that is sealed to its writer. Nobody else has the secret; the
/// pre-shared key keeps it closed to the store if X25519 falls.
fn seal_secret(key: &SigningKey, domain: &DomainSecret) -> ReaderSecret {
    let secret = derive(SEAL_SECRET_CONTEXT, &[&key.seed()[..]]);
    ReaderSecret::from_keys(secret, seal_psk(domain))
}

fn seal_psk(domain: &DomainSecret) -> Key {
    derive(SEAL_PSK_CONTEXT, &[domain.as_bytes()])
}

impl Grant {
    /// The first grant of a writer.
    pub(super) fn issue(
        repository: RepositoryId,
        key: &SigningKey,
        domain: &DomainSecret,
        epoch: &EpochKeys,
        label: &str,
        issued: Timestamp,
        root: &SigningKey,
    ) -> Result<Self, HierarchyError> {
        let seal_key = *seal_secret(key, domain).public().key();
        let writer = (key.public(), seal_key);
        Self::make(repository, writer, domain, epoch, label, issued, root)
    }

    /// The same writer's grant for another epoch.
    pub(super) fn renew(
        &self,
        domain: &DomainSecret,
        epoch: &EpochKeys,
        label: &str,
        issued: Timestamp,
        root: &SigningKey,
    ) -> Result<Self, HierarchyError> {
        let writer = (self.public_key, self.seal_key);
        Self::make(self.repository, writer, domain, epoch, label, issued, root)
    }

    fn make(
        repository: RepositoryId,
        (public_key, seal_key): (PublicKey, [u8; 32]),
        domain: &DomainSecret,
        epoch: &EpochKeys,
        label: &str,
        issued: Timestamp,
        root: &SigningKey,
    ) -> Result<Self, HierarchyError> {
        let data = epoch.data.as_ref().ok_or(HierarchyError::NotOwner)?.public();
        let meta = epoch.meta.public();
        let mut e = begin(&GRANT_MAGIC);
        e.raw(repository.as_bytes());
        e.raw(public_key.writer_id().as_bytes());
        e.raw(&public_key.0);
        e.raw(&seal_key);
        e.raw(domain.id().as_bytes());
        e.u32(epoch.number);
        e.signed(issued.seconds);
        e.varint(issued.nanos.into());
        let mut plain = Encoder::new();
        plain.raw(domain.as_bytes());
        plain.bytes(&label.as_bytes()[..label.floor_char_boundary(LABEL)]);
        let plain = Zeroizing::new(plain.finish());
        let sealed = seal::seal(&meta, e.as_bytes(), &plain);
        e.bytes(&sealed);
        let mut plain = Encoder::new();
        for reader in [&data, &meta] {
            plain.raw(reader.key());
            plain.raw(reader.psk().as_bytes());
        }
        let plain = Zeroizing::new(plain.finish());
        let writer =
            ReaderPublic::new(seal_key, seal_psk(domain)).map_err(|_| HierarchyError::Sealed)?;
        let readers = seal::seal(&writer, e.as_bytes(), &plain);
        e.raw(&readers);
        Self::decode_verified(&sign(e, GRANT_CONTEXT, root), &root.public())
    }

    /// Reads a grant and checks that `root` signed it.
    pub fn decode_verified(bytes: &[u8], root: &PublicKey) -> Result<Self, HierarchyError> {
        let body = verified(bytes, GRANT_CONTEXT, root)?;
        let mut d = expect(body, &GRANT_MAGIC)?;
        let repository = RepositoryId(d.array()?);
        let writer = WriterId(d.array()?);
        let public_key = PublicKey(d.array()?);
        let seal_key = d.array()?;
        let domain = DomainId(d.array()?);
        let epoch = d.u32()?;
        let issued =
            Timestamp::new(d.signed()?, d.varint32()?).ok_or(DecodeError::Invalid("not a time"))?;
        let open_len = body.len() - d.rest().len();
        let sealed = d.bytes(SEALED)?.to_vec();
        let readers_at = body.len() - d.rest().len();
        let readers = d.array()?;
        d.end()?;
        let bytes = bytes.to_vec();
        let grant = Self {
            repository,
            writer,
            public_key,
            seal_key,
            domain,
            epoch,
            issued,
            open_len,
            sealed,
            readers_at,
            readers,
            bytes,
        };
        if grant.public_key.writer_id() != grant.writer {
            return Err(DecodeError::Invalid("a writer's id is not that of its key").into());
        }
        Ok(grant)
    }

    /// The domain's secret and the label, for the meta reader of the grant's epoch.
    pub(super) fn open(
        &self,
        meta: &ReaderSecret,
    ) -> Result<(DomainSecret, String), HierarchyError> {
        let plain = seal::open(meta, &self.bytes[..self.open_len], &self.sealed)
            .map_err(|_| HierarchyError::Sealed)?;
        let mut d = Decoder::new(&plain);
        let secret = DomainSecret::read(&mut d)?;
        let label = String::from_utf8_lossy(d.bytes(LABEL)?).into_owned();
        d.end()?;
        if secret.id() != self.domain {
            return Err(DecodeError::Invalid("the domain is not that of its secret").into());
        }
        Ok((secret, label))
    }

    /// The readers of the grant's epoch, data and meta, for its writer.
    fn readers(&self, writer: &ReaderSecret) -> Result<[ReaderPublic; 2], HierarchyError> {
        let plain = seal::open(writer, &self.bytes[..self.readers_at], &self.readers)
            .map_err(|_| HierarchyError::Sealed)?;
        let mut d = Decoder::new(&plain);
        let mut reader = || -> Result<ReaderPublic, HierarchyError> {
            ReaderPublic::new(d.array()?, Key::read(&mut d)?).map_err(|_| HierarchyError::Sealed)
        };
        Ok([reader()?, reader()?])
    }

    /// The name of its object.
    pub fn object_name(&self) -> String {
        format!("{}{}", Self::names(self.repository, self.writer), self.epoch)
    }

    /// What the names of a writer's grants begin with; the number of the epoch follows.
    pub fn names(repository: RepositoryId, writer: WriterId) -> String {
        format!("{}/writer-{writer}-", keys_folder(repository))
    }

    pub(super) fn object(&self) -> Object {
        Object { name: self.object_name(), bytes: self.bytes.clone() }
    }
}

/// The root's word that a writer's snapshots count up to a number and no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Which repository.
    pub repository: RepositoryId,
    /// Who.
    pub writer: WriterId,
    /// The last number that counts.
    pub last_sequence: u64,
}

impl Revocation {
    pub(super) fn object(&self, root: &SigningKey) -> Object {
        let mut e = begin(&REVOCATION_MAGIC);
        e.raw(self.repository.as_bytes());
        e.raw(self.writer.as_bytes());
        e.u64(self.last_sequence);
        Object { name: self.object_name(), bytes: sign(e, REVOCATION_CONTEXT, root) }
    }

    /// The name of its object.
    pub fn object_name(&self) -> String {
        Self::name(self.repository, self.writer)
    }

    /// The name of a writer's.
    pub fn name(repository: RepositoryId, writer: WriterId) -> String {
        format!("{}/revoked-{writer}", keys_folder(repository))
    }

    /// What an object of this name revokes; `None` where `root` did not sign it, or for another writer.
    pub fn of(name: &str, bytes: &[u8], root: &PublicKey) -> Option<Self> {
        let revocation = Self::decode_verified(bytes, root).ok()?;
        (revocation.object_name() == name).then_some(revocation)
    }

    /// Reads a revocation and checks that `root` signed it.
    pub fn decode_verified(bytes: &[u8], root: &PublicKey) -> Result<Self, HierarchyError> {
        let body = verified(bytes, REVOCATION_CONTEXT, root)?;
        let mut d = expect(body, &REVOCATION_MAGIC)?;
        let revocation = Self {
            repository: RepositoryId(d.array()?),
            writer: WriterId(d.array()?),
            last_sequence: d.u64()?,
        };
        d.end()?;
        Ok(revocation)
    }
}

impl std::fmt::Debug for WriterCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WriterCredential({})", self.grant.writer)
    }
}

/// What a machine needs to write to one repository. It opens nothing, not even what it wrote.
#[derive(Clone)]
pub struct WriterCredential {
    key: SigningKey,
    root: PublicKey,
    grant: Grant,
    data: ReaderPublic,
    meta: ReaderPublic,
    domain: DomainSecret,
    keys: DomainKeys,
}

impl WriterCredential {
    pub(super) fn new(
        key: SigningKey,
        root: PublicKey,
        grant: Grant,
        domain: DomainSecret,
    ) -> Result<Self, HierarchyError> {
        if key.public() != grant.public_key || domain.id() != grant.domain {
            return Err(DecodeError::Invalid("its parts do not belong together").into());
        }
        let [data, meta] = grant.readers(&seal_secret(&key, &domain))?;
        let keys = domain.keys();
        Ok(Self { key, root, grant, data, meta, domain, keys })
    }

    /// The same writer with a later grant, as the store has it.
    pub fn renewed(&self, grant: &[u8]) -> Result<Self, HierarchyError> {
        let grant = Grant::decode_verified(grant, &self.root)?;
        if grant.repository != self.grant.repository {
            return Err(HierarchyError::OtherRepository);
        }
        if grant.epoch <= self.grant.epoch {
            return Err(HierarchyError::OtherName);
        }
        Self::new(self.key.clone(), self.root, grant, self.domain.clone())
    }

    /// The bytes for a file of mode 0600.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        // With room for all of it: what grows leaves copies behind.
        let room = Vec::with_capacity(self.grant.bytes.len() + 256);
        let mut e = begin_onto(room, &CREDENTIAL_MAGIC);
        e.raw(&self.key.seed()[..]);
        e.raw(&self.root.0);
        e.bytes(&self.grant.bytes);
        e.raw(self.domain.as_bytes());
        let check = blake3::hash(e.as_bytes());
        e.raw(check.as_bytes());
        Zeroizing::new(e.finish())
    }

    /// Reads what [`Self::encode`] wrote, and checks that its parts belong together.
    pub fn decode(bytes: &[u8]) -> Result<Self, HierarchyError> {
        let mut d = expect(bytes, &CREDENTIAL_MAGIC)?;
        let key = SigningKey::from_key(Key::read(&mut d)?);
        let root = PublicKey(d.array()?);
        let grant = Grant::decode_verified(d.bytes(GRANT)?, &root)?;
        let domain = DomainSecret::read(&mut d)?;
        let covered = &bytes[..bytes.len() - d.rest().len()];
        if d.array()? != *blake3::hash(covered).as_bytes() {
            return Err(DecodeError::Invalid("it is damaged: its checksum does not hold").into());
        }
        d.end()?;
        Self::new(key, root, grant, domain)
    }

    /// Which repository.
    pub fn repository(&self) -> RepositoryId {
        self.grant.repository
    }

    /// Who.
    pub fn writer_id(&self) -> WriterId {
        self.grant.writer
    }

    /// The key it signs with.
    pub fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    /// The key its signatures are checked with.
    pub fn public_key(&self) -> PublicKey {
        self.grant.public_key
    }

    /// The repository's root, which a config must name.
    pub fn root_public(&self) -> &PublicKey {
        &self.root
    }

    /// Its grant.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The epoch it seals to.
    pub fn epoch(&self) -> u32 {
        self.grant.epoch
    }

    /// The reader it seals packs of `class` to.
    pub fn reader(&self, class: PackClass) -> &ReaderPublic {
        match class {
            PackClass::Data => &self.data,
            PackClass::Meta => &self.meta,
        }
    }

    /// Its dedup domain.
    pub fn domain_id(&self) -> DomainId {
        self.grant.domain
    }

    /// The keys of its dedup domain.
    pub fn domain_keys(&self) -> DomainKeys {
        self.keys.clone()
    }
}
