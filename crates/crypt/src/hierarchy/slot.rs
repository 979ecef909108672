//! Slots: what a person or a machine opens a repository with.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use drover_types::{RepositoryId, Timestamp, codec::DecodeError};
use x25519_dalek::{PublicKey as X25519Public, StaticSecret};
use zeroize::Zeroizing;

use super::{
    HierarchyError, Object, begin, expect, keys_folder, sign, verified,
    wrap::{self, UnwrapError},
};
use crate::{
    random,
    secret::{Key, derive},
    sign::{PublicKey, SigningKey},
};

const MAGIC: [u8; 8] = *b"DRVRSLOT";
const CONTEXT: &str = "drover 2026-11 slot";
const KEY_CONTEXT: &str = "drover 2026-11 slot wrapping key";
const ID_CONTEXT: &str = "drover 2026-11 slot id";
const LABEL_CONTEXT: &str = "drover 2026-11 slot label key";
/// Longest label, in bytes.
const LABEL: usize = 256;
/// Least length of a key file, in bytes: nothing makes guessing it dear.
const KEY_FILE: usize = 32;
const MIB: u32 = 1024;

/// What a slot may open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Role {
    /// Everything: root, data and meta.
    Owner = 0,
    /// Data and meta.
    Reader = 1,
    /// Meta alone: names, hashes and attributes, no content.
    Auditor = 2,
}

impl Role {
    pub(super) fn from_code(code: u8) -> Option<Self> {
        [Role::Owner, Role::Reader, Role::Auditor].get(usize::from(code)).copied()
    }

    /// The word people use.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Reader => "reader",
            Role::Auditor => "auditor",
        }
    }
}

/// What opens a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SlotKind {
    /// A passphrase, by Argon2id.
    Passphrase = 0,
    /// The bytes of a file with at least 32 bytes of randomness.
    KeyFile = 1,
    /// The secret of an X25519 identity.
    Identity = 2,
}

impl SlotKind {
    /// The word people use.
    pub fn as_str(self) -> &'static str {
        match self {
            SlotKind::Passphrase => "passphrase",
            SlotKind::KeyFile => "key-file",
            SlotKind::Identity => "identity",
        }
    }
}

/// How dear guessing a passphrase is made (RFC 9106).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfParameters {
    /// Memory in KiB.
    pub memory: u32,
    /// Passes over it.
    pub time: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for KdfParameters {
    /// RFC 9106's second recommendation: 64 MiB, three passes, four lanes.
    fn default() -> Self {
        Self { memory: 64 * MIB, time: 3, lanes: 4 }
    }
}

impl KdfParameters {
    /// The least that is accepted: 64 MiB, one pass, one lane.
    pub fn minimum() -> Self {
        Self { memory: 64 * MIB, time: 1, lanes: 1 }
    }

    fn check(self) -> Result<Self, HierarchyError> {
        let allowed = (64 * MIB..=2048 * MIB).contains(&self.memory)
            && (1..=16).contains(&self.time)
            && (1..=16).contains(&self.lanes);
        if allowed { Ok(self) } else { Err(HierarchyError::Parameters) }
    }
}

/// What opens a repository.
pub enum UnlockSecret {
    /// A passphrase, as bytes.
    Passphrase(Zeroizing<Vec<u8>>),
    /// The whole content of a key file.
    KeyFile(Zeroizing<Vec<u8>>),
    /// The secret scalar of an X25519 identity.
    Identity(Zeroizing<[u8; 32]>),
}

impl fmt::Debug for UnlockSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnlockSecret::{}(..)", self.kind().as_str())
    }
}

impl UnlockSecret {
    /// Which slots it is tried on.
    pub fn kind(&self) -> SlotKind {
        match self {
            UnlockSecret::Passphrase(_) => SlotKind::Passphrase,
            UnlockSecret::KeyFile(_) => SlotKind::KeyFile,
            UnlockSecret::Identity(_) => SlotKind::Identity,
        }
    }
}

impl UnlockSecret {
    /// Refuses, for a new slot, what anyone could guess.
    fn check_strength(&self) -> Result<(), HierarchyError> {
        match self {
            UnlockSecret::Passphrase(bytes) if bytes.is_empty() => {
                Err(HierarchyError::WeakSecret("the passphrase is empty"))
            }
            UnlockSecret::KeyFile(bytes) if bytes.len() < KEY_FILE => {
                Err(HierarchyError::WeakSecret("the key file has less than 32 bytes"))
            }
            _ => Ok(()),
        }
    }
}

/// What is known of a slot without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotInfo {
    /// Its id, as in its object's name.
    pub id: [u8; 8],
    /// What opens it.
    pub kind: SlotKind,
    /// What it opens.
    pub role: Role,
    /// When it was made.
    pub created: Timestamp,
}

impl SlotInfo {
    /// The id in hexadecimal.
    pub fn hex(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.id)
    }

    /// The name of its object.
    pub fn object_name(&self, repository: RepositoryId) -> String {
        format!("{}/slot-{}", keys_folder(repository), self.hex())
    }
}

/// A slot as it is stored, signed by the root. Everything before `wrapped` is its header, bound to
/// the wrapped key.
pub(super) struct Slot {
    pub info: SlotInfo,
    kdf: KdfParameters,
    salt: [u8; 32],
    /// The identity's public key, or zeros.
    recipient: [u8; 32],
    /// The ephemeral key of the exchange with the recipient, or zeros.
    ephemeral: [u8; 32],
    header: Vec<u8>,
    wrapped: [u8; Key::LEN + wrap::OVERHEAD],
    label: Vec<u8>,
}

/// What a new slot is opened with.
pub(super) enum NewSecret<'a> {
    Secret(&'a UnlockSecret),
    Recipient([u8; 32]),
}

/// Makes a slot around `slot_key`.
#[expect(clippy::too_many_arguments, reason = "each is a field of the slot")]
pub(super) fn create(
    repository: RepositoryId,
    secret: &NewSecret<'_>,
    role: Role,
    label_text: &str,
    kdf: KdfParameters,
    created: Timestamp,
    slot_key: &Key,
    root: &SigningKey,
) -> Result<(SlotInfo, Object), HierarchyError> {
    let kdf = kdf.check()?;
    let label = &label_text.as_bytes()[..label_text.floor_char_boundary(LABEL)];
    let salt = wrap::salt(&[slot_key.as_bytes(), repository.as_bytes(), &[role as u8], label]);
    let (kind, recipient, ephemeral, wrapping) = match secret {
        NewSecret::Secret(UnlockSecret::Identity(secret)) => {
            let public = X25519Public::from(&StaticSecret::from(**secret)).to_bytes();
            return create(
                repository,
                &NewSecret::Recipient(public),
                role,
                label_text,
                kdf,
                created,
                slot_key,
                root,
            );
        }
        NewSecret::Secret(secret) => {
            secret.check_strength()?;
            let wrapping = wrapping_key(secret, kdf, &salt)?;
            (secret.kind(), [0; 32], [0; 32], wrapping)
        }
        NewSecret::Recipient(recipient) => {
            let ephemeral = StaticSecret::from(random::array::<32>());
            let public = X25519Public::from(&ephemeral).to_bytes();
            let wrapping = exchange(&ephemeral, recipient, &salt, &public, recipient)?;
            (SlotKind::Identity, *recipient, public, wrapping)
        }
    };
    let id = derive(ID_CONTEXT, &[&salt]);
    let id = *id.as_bytes().first_chunk().expect("32 bytes have a first eight");
    let info = SlotInfo { id, kind, role, created };
    let mut e = begin(&MAGIC);
    e.raw(repository.as_bytes());
    e.raw(&info.id);
    e.u8(kind as u8);
    e.u8(role as u8);
    e.signed(created.seconds);
    e.varint(created.nanos.into());
    e.u32(kdf.memory);
    e.u32(kdf.time);
    e.u32(kdf.lanes);
    e.raw(&salt);
    e.raw(&recipient);
    e.raw(&ephemeral);
    let wrapped = wrap::wrap(&wrapping, e.as_bytes(), slot_key.as_bytes());
    e.raw(&wrapped);
    e.bytes(&wrap::wrap(&label_key(slot_key, &salt), &info.id, label));
    let object = Object { name: info.object_name(repository), bytes: sign(e, CONTEXT, root) };
    Ok((info, object))
}

impl Slot {
    /// Reads a slot and checks that `root` signed it, so that nothing dear is computed for, and no
    /// secret is tried on, a slot that was changed.
    pub(super) fn decode_verified(
        bytes: &[u8],
        repository: RepositoryId,
        root: &PublicKey,
    ) -> Result<Self, HierarchyError> {
        let body = verified(bytes, CONTEXT, root)?;
        let mut d = expect(body, &MAGIC)?;
        if RepositoryId(d.array()?) != repository {
            return Err(HierarchyError::OtherRepository);
        }
        let id = d.array()?;
        let kind = match d.u8()? {
            0 => SlotKind::Passphrase,
            1 => SlotKind::KeyFile,
            2 => SlotKind::Identity,
            _ => return Err(DecodeError::Invalid("unknown kind of slot").into()),
        };
        let role = Role::from_code(d.u8()?).ok_or(DecodeError::Invalid("unknown role"))?;
        let created =
            Timestamp::new(d.signed()?, d.varint32()?).ok_or(DecodeError::Invalid("not a time"))?;
        let kdf = KdfParameters { memory: d.u32()?, time: d.u32()?, lanes: d.u32()? }.check()?;
        let (salt, recipient, ephemeral) = (d.array()?, d.array()?, d.array()?);
        let header = body[..body.len() - d.rest().len()].to_vec();
        let wrapped = d.array()?;
        let label = d.bytes(LABEL + wrap::OVERHEAD)?.to_vec();
        d.end()?;
        let info = SlotInfo { id, kind, role, created };
        Ok(Self { info, kdf, salt, recipient, ephemeral, header, wrapped, label })
    }

    /// The slot's key, where `secret` opens it; `None` where it does not.
    pub(super) fn open(&self, secret: &UnlockSecret) -> Result<Option<Key>, HierarchyError> {
        if secret.kind() != self.info.kind {
            return Ok(None);
        }
        let wrapping = match secret {
            UnlockSecret::Identity(secret) => {
                let secret = StaticSecret::from(**secret);
                if X25519Public::from(&secret).to_bytes() != self.recipient {
                    return Ok(None);
                }
                exchange(&secret, &self.ephemeral, &self.salt, &self.ephemeral, &self.recipient)?
            }
            secret => wrapping_key(secret, self.kdf, &self.salt)?,
        };
        match wrap::unwrap(&wrapping, &self.header, &self.wrapped) {
            Ok(key) => Key::from_slice(&key).map(Some).ok_or(HierarchyError::Sealed),
            Err(UnwrapError::OtherKey) => Ok(None),
            Err(UnwrapError::Changed) => Err(HierarchyError::Sealed),
        }
    }

    /// The slot's label, by its key.
    pub(super) fn label(&self, slot_key: &Key) -> Result<String, HierarchyError> {
        let label = wrap::unwrap(&label_key(slot_key, &self.salt), &self.info.id, &self.label)?;
        Ok(String::from_utf8_lossy(&label).into_owned())
    }
}

fn label_key(slot_key: &Key, salt: &[u8; 32]) -> Key {
    derive(LABEL_CONTEXT, &[slot_key.as_bytes(), salt])
}

fn wrapping_key(
    secret: &UnlockSecret,
    kdf: KdfParameters,
    salt: &[u8; 32],
) -> Result<Key, HierarchyError> {
    match secret {
        UnlockSecret::Passphrase(passphrase) => {
            let params = Params::new(kdf.memory, kdf.time, kdf.lanes, Some(32))
                .map_err(|_| HierarchyError::Parameters)?;
            let mut out = Zeroizing::new([0; 32]);
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into(passphrase, salt, &mut out[..])
                .map_err(|error| match error {
                    argon2::Error::OutOfMemory => HierarchyError::Memory(kdf.memory >> 10),
                    _ => HierarchyError::Parameters,
                })?;
            Ok(derive(KEY_CONTEXT, &[&[SlotKind::Passphrase as u8], &out[..], salt]))
        }
        UnlockSecret::KeyFile(bytes) => {
            Ok(derive(KEY_CONTEXT, &[&[SlotKind::KeyFile as u8], bytes, salt]))
        }
        // An identity takes part in an exchange instead.
        UnlockSecret::Identity(_) => Err(HierarchyError::Parameters),
    }
}

fn exchange(
    secret: &StaticSecret,
    other: &[u8; 32],
    salt: &[u8; 32],
    ephemeral: &[u8; 32],
    recipient: &[u8; 32],
) -> Result<Key, HierarchyError> {
    let shared = secret.diffie_hellman(&X25519Public::from(*other));
    if !shared.was_contributory() {
        return Err(HierarchyError::Sealed);
    }
    let kind = [SlotKind::Identity as u8];
    Ok(derive(KEY_CONTEXT, &[&kind, shared.as_bytes(), salt, ephemeral, recipient]))
}
