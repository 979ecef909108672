//! From the name of a chunk to its bytes.
//!
//! What the index says is a hint. Where index objects say different things of a pack, all are
//! tried; where none leads to the chunk, the pack's own directory has the last word.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, OnceLock},
};

use bytes::Bytes;
use drover_crypt::{Key, domain::DomainKeys, hierarchy::Keyring};
use drover_pack::{FrameReader, PackError, PackKey, PackReceipt};
use drover_store::StoreError;
use drover_types::{ChunkId, ChunkKind, ChunkRef, FileHash, PackClass, PackId, limits, lock};

use crate::{
    history::{History, Problem},
    names,
    objects::Objects,
    places::{ChunkIndex, directory_of, read_directory},
};

/// Memory for packs of metadata that were read and may be needed again, in bytes.
const CACHE: usize = 96 << 20;

/// Why a chunk cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// The store.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// No listed pack holds it.
    #[error("no pack holds chunk {0}")]
    Missing(ChunkId),
    /// Its pack is damaged.
    #[error("pack {pack}: {error}")]
    Pack {
        /// The pack.
        pack: PackId,
        /// What is wrong with it.
        error: PackError,
    },
    /// The bytes of the pack are not those its name says.
    #[error("pack {0}: its bytes are not those its name says")]
    Hash(PackId),
    /// The keys at hand do not open it.
    #[error("these keys do not open pack {0}")]
    Keys(PackId),
    /// It is another writer's than those who list it.
    #[error("pack {0}: the writer that it names does not list it")]
    Unlisted(PackId),
}

/// A pack in memory, with its key.
pub struct OpenPack {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its key.
    pub key: PackKey,
}

type Slot = Arc<OnceLock<Result<Arc<OpenPack>, Arc<ChunkError>>>>;
/// What a pack says of itself; `None` where it cannot.
type Own = Arc<OnceLock<Option<Arc<PackReceipt>>>>;

/// Reads chunks; packs of metadata that were read are kept for a while.
pub struct ChunkReader<'r> {
    pub(crate) objects: &'r Objects,
    keyring: &'r Keyring,
    history: &'r History,
    index: &'r ChunkIndex,
    sessions: Mutex<HashMap<Vec<u8>, Key>>,
    cache: Mutex<Cache>,
    /// Packs whose own directory was asked, because the index did not lead to a chunk.
    own: Mutex<HashMap<PackId, Own>>,
}

/// Packs of metadata in memory: at most 96 MiB.
#[derive(Default)]
pub struct KeptPacks(Vec<(PackReceipt, Slot)>);

#[derive(Default)]
struct Cache {
    packs: HashMap<u32, Slot>,
    order: VecDeque<u32>,
    bytes: usize,
}

impl<'r> ChunkReader<'r> {
    /// Over an index.
    pub fn new(
        objects: &'r Objects,
        keyring: &'r Keyring,
        history: &'r History,
        index: &'r ChunkIndex,
    ) -> Self {
        let (sessions, cache, own) = Default::default();
        Self { objects, keyring, history, index, sessions, cache, own }
    }

    /// With packs of metadata that an earlier reader kept, as far as the index still knows them.
    pub fn with_packs(self, kept: KeptPacks) -> Self {
        let packs = self.index.packs();
        let mut cache = lock(&self.cache);
        for (receipt, slot) in kept.0 {
            let first = packs.partition_point(|pack| pack.id < receipt.id);
            let same = packs[first..].iter().take_while(|pack| pack.id == receipt.id);
            let Some(at) = same.clone().position(|pack| *pack == receipt) else { continue };
            let number = (first + at) as u32;
            if cache.packs.insert(number, slot).is_none() {
                cache.order.push_back(number);
                cache.bytes += receipt.len as usize;
            }
        }
        drop(cache);
        self
    }

    /// The packs of metadata that are kept, for a later reader.
    pub fn into_packs(self) -> KeptPacks {
        let Cache { mut packs, order, .. } = self.cache.into_inner().unwrap_or_default();
        let kept = order.into_iter().filter_map(|number| {
            let slot = packs.remove(&number)?;
            // What could not be read now may be read then.
            let is_there = slot.get().is_some_and(Result::is_ok);
            is_there.then(|| (self.index.packs()[number as usize].clone(), slot))
        });
        KeptPacks(kept.collect())
    }

    /// The index.
    pub fn index(&self) -> &'r ChunkIndex {
        self.index
    }

    /// Lets go of the packs that are kept.
    pub fn forget_packs(&self) {
        *lock(&self.cache) = Cache::default();
    }

    /// Reads a chunk and hands its plaintext and plain BLAKE3 to `take`. Where it was stored
    /// more than once, any copy that opens will do.
    pub fn read<T>(
        &self,
        chunk: &ChunkRef,
        kind: ChunkKind,
        frames: &mut FrameReader,
        take: impl FnOnce(&[u8], FileHash) -> T,
    ) -> Result<T, ChunkError> {
        let mut failure = ChunkError::Missing(chunk.id);
        let mut doubtful = false;
        for (pack, frame) in self.index.places(&chunk.id) {
            let receipt = &self.index.packs()[pack as usize];
            match self.open_frame(Some(pack), receipt, frame, chunk, kind, frames) {
                Ok((plain, hash)) => return Ok(take(plain, hash)),
                Err(error) => failure = error,
            }
            doubtful |= !matches!(failure, ChunkError::Store(_));
        }
        for (pack, _) in self.index.places(&chunk.id).filter(|_| doubtful) {
            let Some(own) = self.own(&self.index.packs()[pack as usize]) else { continue };
            let frame = own.entries.iter().position(|entry| entry.id == chunk.id);
            let Some(frame) = frame.and_then(|frame| u32::try_from(frame).ok()) else { continue };
            match self.open_frame(None, &own, frame, chunk, kind, frames) {
                Ok((plain, hash)) => return Ok(take(plain, hash)),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Opens one frame. A pack of metadata of the index, by its number, is kept whole.
    fn open_frame<'f>(
        &self,
        number: Option<u32>,
        receipt: &PackReceipt,
        frame: u32,
        chunk: &ChunkRef,
        kind: ChunkKind,
        frames: &'f mut FrameReader,
    ) -> Result<(&'f [u8], FileHash), ChunkError> {
        let entry = &receipt.entries[frame as usize];
        if entry.kind != kind || entry.plain_len != chunk.len {
            return Err(ChunkError::Missing(chunk.id));
        }
        let keys = self.domain_keys(receipt);
        let damaged = |error| ChunkError::Pack { pack: receipt.id, error };
        match (number, receipt.header.class) {
            // Metadata is read in order, a pack at a time.
            (Some(number), PackClass::Meta) => {
                let open = self.pack(number)?;
                let range = entry.range();
                let sealed = open.bytes.get(range.start as usize..range.end as usize);
                let sealed = sealed.unwrap_or_default();
                frames.open(&open.key, keys, frame, entry, sealed).map_err(damaged)
            }
            _ => self.open_part(&self.fetch_frames(receipt, &[frame])?, receipt, frame, frames),
        }
    }

    /// What a pack itself says, where the index leads to nothing in it.
    fn own(&self, said: &PackReceipt) -> Option<Arc<PackReceipt>> {
        let own = lock(&self.own).entry(said.id).or_default().clone();
        let read = || read_directory(self.objects, self.keyring, self.history, said.id);
        own.get_or_init(|| read().ok().map(Arc::new)).clone()
    }

    /// Whether a pack itself has this chunk, where an index object says another length of it.
    pub fn vouches(&self, said: &PackReceipt, chunk: &ChunkRef) -> bool {
        self.own(said).is_some_and(|own| {
            own.entries.iter().any(|entry| entry.id == chunk.id && entry.plain_len == chunk.len)
        })
    }

    /// What a pack says of itself, where `bytes` are those of its name.
    pub fn receipt(&self, id: PackId, bytes: &[u8]) -> Result<PackReceipt, ChunkError> {
        directory_of(bytes, self.keyring, self.history, id)
    }

    /// Index objects that turned out to be wrong while chunks were read.
    pub fn contradicted(&self) -> Vec<Problem> {
        let own: Vec<_> = lock(&self.own).values().filter_map(|own| own.get()?.clone()).collect();
        own.iter().flat_map(|own| self.index.contradicted(own)).collect()
    }

    /// Reads a chunk of metadata whole.
    pub fn read_vec(
        &self,
        chunk: &ChunkRef,
        kind: ChunkKind,
        frames: &mut FrameReader,
    ) -> Result<Vec<u8>, ChunkError> {
        self.read(chunk, kind, frames, |plain, _| plain.to_vec())
    }

    /// The keys of the domain of a pack.
    pub fn domain_keys(&self, receipt: &PackReceipt) -> &DomainKeys {
        &self.history.domains[&receipt.header.identity.domain]
    }

    fn filled(&self, slot: &Slot, number: u32) -> Result<Arc<OpenPack>, ChunkError> {
        let receipt = &self.index.packs()[number as usize];
        match slot.get_or_init(|| self.fetch(receipt).map(Arc::new).map_err(Arc::new)) {
            Ok(open) => Ok(open.clone()),
            Err(error) => Err(error.again()),
        }
    }

    /// Fetches a pack, or finds it among those kept.
    pub fn pack(&self, number: u32) -> Result<Arc<OpenPack>, ChunkError> {
        let receipt = &self.index.packs()[number as usize];
        let slot = {
            let mut cache = lock(&self.cache);
            match cache.packs.get(&number) {
                Some(slot) => slot.clone(),
                None => {
                    let slot = Slot::default();
                    cache.packs.insert(number, slot.clone());
                    cache.order.push_back(number);
                    cache.bytes += receipt.len as usize;
                    while cache.bytes > CACHE && cache.order.len() > 1 {
                        let oldest = cache.order.pop_front().expect("it is not empty");
                        cache.packs.remove(&oldest);
                        cache.bytes -= self.index.packs()[oldest as usize].len as usize;
                    }
                    slot
                }
            }
        };
        self.filled(&slot, number)
    }

    /// Fetches a pack without keeping it.
    fn fetch(&self, receipt: &PackReceipt) -> Result<OpenPack, ChunkError> {
        let key = self.key(receipt)?;
        let bytes = self
            .objects
            .get(&names::pack(&receipt.id), limits::PACK)
            .map_err(|error| ChunkError::Store(Arc::new(error)))?;
        Ok(OpenPack { bytes, key })
    }

    /// The key of a pack.
    pub fn key(&self, receipt: &PackReceipt) -> Result<PackKey, ChunkError> {
        let header = &receipt.header;
        let damaged = |error| ChunkError::Pack { pack: receipt.id, error };
        let reader = self
            .keyring
            .reader_secret(header.class, header.epoch)
            .ok_or(ChunkError::Keys(receipt.id))?;
        let known = lock(&self.sessions).get(&header.session[..]).cloned();
        let session = match known {
            Some(session) => session,
            None => {
                let session = PackKey::session(header, reader).map_err(damaged)?;
                lock(&self.sessions).insert(header.session.to_vec(), session.clone());
                session
            }
        };
        PackKey::with_session(header.clone(), &session).map_err(damaged)
    }
}

impl ChunkError {
    /// The same error once more, for another who waited for the same pack.
    pub fn again(&self) -> Self {
        match self {
            ChunkError::Store(error) => ChunkError::Store(error.clone()),
            ChunkError::Missing(id) => ChunkError::Missing(*id),
            ChunkError::Hash(id) => ChunkError::Hash(*id),
            ChunkError::Keys(id) => ChunkError::Keys(*id),
            ChunkError::Unlisted(id) => ChunkError::Unlisted(*id),
            ChunkError::Pack { pack, error } => {
                ChunkError::Pack { pack: *pack, error: PackError::Sealed { what: what_of(error) } }
            }
        }
    }
}

fn what_of(error: &PackError) -> &'static str {
    match error {
        PackError::Sealed { what } => what,
        _ => "a part",
    }
}
