//! Epochs: generations of the readers' keys, and the boxes that give them to slots.

use drover_types::{
    RepositoryId,
    codec::{DecodeError, Decoder, Encoder},
};
use zeroize::Zeroizing;

use super::{
    HierarchyError, Object, Role, SlotInfo, begin, expect, keys_folder, sign, verified, wrap,
};
use crate::{
    seal::ReaderSecret,
    secret::{Key, derive},
    sign::{PublicKey, SigningKey},
};

const EPOCH_MAGIC: [u8; 8] = *b"DRVREPOC";
const BOX_MAGIC: [u8; 8] = *b"DRVRSBOX";
const EPOCH_CONTEXT: &str = "drover 2026-11 epoch";
const BOX_CONTEXT: &str = "drover 2026-11 slot box";
const BOX_KEY_CONTEXT: &str = "drover 2026-11 slot box key";
const ESCROW_KEY_CONTEXT: &str = "drover 2026-11 escrow key";

/// Bound on the sealed part of a box, in bytes; the longest is an owner's.
const SEALED: usize = 7 * 32 + wrap::OVERHEAD;

/// The name of an epoch's object.
pub(super) fn epoch_name(repository: RepositoryId, number: u32) -> String {
    format!("{}/epoch-{number}", keys_folder(repository))
}

/// The name of the box of an epoch for the slot of this id.
pub(super) fn box_name(repository: RepositoryId, number: u32, slot: &[u8; 8]) -> String {
    format!("{}-{}", epoch_name(repository, number), data_encoding::HEXLOWER.encode(slot))
}

/// The secrets of one epoch, as far as a role has them.
#[derive(Clone)]
pub struct EpochKeys {
    /// Number of the epoch, from 1.
    pub number: u32,
    /// Opens data packs; owners and readers have it.
    pub data: Option<ReaderSecret>,
    /// Opens everything else.
    pub meta: ReaderSecret,
    /// Opens the escrow of slot keys; owners have it.
    pub(super) owner: Option<Key>,
    /// The repository's root; owners have it.
    pub(super) root: Option<Key>,
    /// The root's public key: what authenticates everything else.
    pub(super) root_public: PublicKey,
}

impl EpochKeys {
    /// Fresh keys.
    pub(super) fn generate(number: u32, root: &SigningKey) -> Self {
        Self {
            number,
            data: Some(ReaderSecret::generate()),
            meta: ReaderSecret::generate(),
            owner: Some(Key::random()),
            root: Key::from_slice(root.seed()),
            root_public: root.public(),
        }
    }

    /// The object that names the epoch's public keys.
    pub(super) fn object(&self, repository: RepositoryId, root: &SigningKey) -> Object {
        let mut e = begin(&EPOCH_MAGIC);
        e.raw(repository.as_bytes());
        e.u32(self.number);
        let data = self.data.as_ref().map(|secret| *secret.public().key());
        e.raw(&data.expect("an owner has both readers"));
        e.raw(self.meta.public().key());
        Object { name: epoch_name(repository, self.number), bytes: sign(e, EPOCH_CONTEXT, root) }
    }

    /// The box that gives a slot what its role may have.
    pub(super) fn box_for(
        &self,
        repository: RepositoryId,
        slot: &SlotInfo,
        slot_key: &Key,
        root: &SigningKey,
    ) -> Result<Object, HierarchyError> {
        let owner = self.owner.as_ref().ok_or(HierarchyError::NotOwner)?;
        let data = self.data.as_ref().ok_or(HierarchyError::NotOwner)?;
        // All of it fits: what grows leaves copies behind.
        let mut plain = Encoder::onto(Vec::with_capacity(256));
        plain.raw(&self.root_public.0);
        plain.raw(self.meta.secret_bytes());
        plain.raw(self.meta.psk().as_bytes());
        if slot.role != Role::Auditor {
            plain.raw(data.secret_bytes());
            plain.raw(data.psk().as_bytes());
        }
        if slot.role == Role::Owner {
            plain.raw(&root.seed()[..]);
            plain.raw(owner.as_bytes());
        }
        let plain = Zeroizing::new(plain.finish());

        let salt = wrap::salt(&[slot_key.as_bytes(), &plain]);
        let mut e = begin(&BOX_MAGIC);
        e.raw(repository.as_bytes());
        e.u32(self.number);
        e.raw(&slot.id);
        e.u8(slot.role as u8);
        e.raw(&salt);
        let header = e.as_bytes();
        let sealed = wrap::wrap(&box_key(slot_key, header), header, &plain);
        let escrow = wrap::wrap(&escrow_key(owner, header), header, slot_key.as_bytes());
        e.bytes(&sealed);
        e.raw(&escrow);
        let name = box_name(repository, self.number, &slot.id);
        Ok(Object { name, bytes: sign(e, BOX_CONTEXT, root) })
    }
}

/// The public keys that an epoch's object names, checked against the root's signature.
pub(super) fn decode_epoch(
    bytes: &[u8],
    repository: RepositoryId,
    root: &PublicKey,
) -> Result<(u32, [u8; 32], [u8; 32]), HierarchyError> {
    let body = verified(bytes, EPOCH_CONTEXT, root)?;
    let mut d = expect(body, &EPOCH_MAGIC)?;
    if RepositoryId(d.array()?) != repository {
        return Err(HierarchyError::OtherRepository);
    }
    let epoch = (d.u32()?, d.array()?, d.array()?);
    d.end()?;
    Ok(epoch)
}

/// A box as it is stored. Its signature is checked once it is open, by the root key inside.
pub(super) struct SlotBox<'a> {
    pub number: u32,
    pub slot: [u8; 8],
    role: Role,
    header: &'a [u8],
    sealed: &'a [u8],
    escrow: [u8; Key::LEN + wrap::OVERHEAD],
    bytes: &'a [u8],
}

impl<'a> SlotBox<'a> {
    pub(super) fn decode(
        bytes: &'a [u8],
        repository: RepositoryId,
    ) -> Result<Self, HierarchyError> {
        let mut d = expect(bytes, &BOX_MAGIC)?;
        if RepositoryId(d.array()?) != repository {
            return Err(HierarchyError::OtherRepository);
        }
        let number = d.u32()?;
        let slot = d.array()?;
        let role = Role::from_code(d.u8()?).ok_or(DecodeError::Invalid("unknown role"))?;
        d.array::<32>()?;
        let header = &bytes[..bytes.len() - d.rest().len()];
        let sealed = d.bytes(SEALED)?;
        let escrow = d.array()?;
        d.array::<64>()?;
        d.end()?;
        Ok(Self { number, slot, role, header, sealed, escrow, bytes })
    }

    /// Opens the box with the slot's key, and checks by the root key inside that the root
    /// signed the box.
    pub(super) fn open(&self, slot_key: &Key) -> Result<EpochKeys, HierarchyError> {
        let plain = wrap::unwrap(&box_key(slot_key, self.header), self.header, self.sealed)?;
        let mut d = Decoder::new(&plain);
        let root_public = PublicKey(d.array()?);
        let meta = ReaderSecret::from_keys(Key::read(&mut d)?, Key::read(&mut d)?);
        let data = match self.role {
            Role::Auditor => None,
            _ => Some(ReaderSecret::from_keys(Key::read(&mut d)?, Key::read(&mut d)?)),
        };
        let (root, owner) = match self.role {
            Role::Owner => (Some(Key::read(&mut d)?), Some(Key::read(&mut d)?)),
            _ => (None, None),
        };
        d.end()?;
        verified(self.bytes, BOX_CONTEXT, &root_public)?;
        Ok(EpochKeys { number: self.number, data, meta, owner, root, root_public })
    }

    /// Checks that `root` signed the box.
    pub(super) fn verify(&self, root: &PublicKey) -> Result<(), HierarchyError> {
        verified(self.bytes, BOX_CONTEXT, root).map(drop)
    }

    /// The name of its object.
    pub(super) fn object_name(&self, repository: RepositoryId) -> String {
        box_name(repository, self.number, &self.slot)
    }

    /// The slot's key, by the owner's key of this epoch, where `root` signed the box.
    pub(super) fn escrowed(&self, owner: &Key, root: &PublicKey) -> Result<Key, HierarchyError> {
        verified(self.bytes, BOX_CONTEXT, root)?;
        let key = wrap::unwrap(&escrow_key(owner, self.header), self.header, &self.escrow)?;
        Key::from_slice(&key).ok_or(HierarchyError::Sealed)
    }
}

fn box_key(slot_key: &Key, header: &[u8]) -> Key {
    derive(BOX_KEY_CONTEXT, &[slot_key.as_bytes(), header])
}

fn escrow_key(owner: &Key, header: &[u8]) -> Key {
    derive(ESCROW_KEY_CONTEXT, &[owner.as_bytes(), header])
}
