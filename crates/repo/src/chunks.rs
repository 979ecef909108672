//! From the name of a chunk to its bytes.
//!
//! Only packs that a signed snapshot lists are looked into, and only under the domain of the
//! writer who listed them: nobody who can write to the store can make one chunk pass for another.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, OnceLock},
};

use bytes::Bytes;
use drover_crypt::{Key, domain::DomainKeys, hierarchy::Keyring};
use drover_pack::{FrameReader, PackError, PackHeader, PackKey, PackReceipt, read_directory_len};
use drover_store::StoreError;
use drover_types::{ChunkId, ChunkKind, ChunkRef, FileHash, PackClass, PackId, limits};

use crate::{
    history::{History, Problem},
    index, names,
    objects::Objects,
    repository::{PARALLEL_READS, RepositoryError},
};

/// Memory for packs that were read and may be needed again, in bytes.
const CACHE: usize = 96 << 20;

/// Reads of a part of a pack begin and end at multiples of this.
const ALIGNMENT: u64 = 64 << 10;

/// Why a chunk cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// The store.
    #[error("{0}")]
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
}

/// Where a frame lies.
#[derive(Clone, Copy)]
struct Place {
    prefix: u64,
    pack: u32,
    frame: u32,
}

/// The packs of a repository and what they hold.
pub struct ChunkIndex {
    packs: Vec<PackReceipt>,
    places: Vec<Place>,
}

fn prefix(id: &ChunkId) -> u64 {
    u64::from_be_bytes(*id.0.first_chunk().expect("an id has 32 bytes"))
}

impl ChunkIndex {
    /// Reads the index, and the directories of listed packs that it lacks.
    pub fn load(
        objects: &Objects,
        keyring: &Keyring,
        history: &History,
        problems: &mut Vec<Problem>,
    ) -> Result<Self, RepositoryError> {
        let listed = objects.list(names::INDEX)?;
        let names: Vec<String> = listed
            .into_iter()
            .map(|object| object.name)
            .filter(|name| !name.starts_with("index/packs-"))
            .collect();
        let mut found: HashMap<PackId, PackReceipt> = HashMap::new();
        for group in names.chunks(PARALLEL_READS) {
            let bodies = objects.get_all(group, limits::INDEX_OBJECT, PARALLEL_READS);
            for (name, body) in group.iter().zip(bodies) {
                match Self::open_index(name, body, keyring) {
                    Ok(packs) => {
                        for pack in packs.into_iter().filter(|pack| is_listed(pack, history)) {
                            found.entry(pack.id).or_insert(pack);
                        }
                    }
                    Err(message) => problems.push(Problem::new("index", name, message)),
                }
            }
        }
        for (id, (pack, _)) in &history.packs {
            if found.contains_key(id) {
                continue;
            }
            match read_directory(objects, keyring, *id, pack.len) {
                Ok(receipt) if is_listed(&receipt, history) => {
                    found.insert(*id, receipt);
                }
                Ok(_) => {}
                Err(error) => {
                    problems.push(Problem::new("pack", names::pack(id), error.to_string()));
                }
            }
        }
        let mut packs: Vec<_> = found.into_values().collect();
        packs.sort_by_key(|pack| pack.id);
        Ok(Self::over(packs))
    }

    fn over(packs: Vec<PackReceipt>) -> Self {
        let mut places: Vec<Place> =
            Vec::with_capacity(packs.iter().map(|p| p.entries.len()).sum());
        for (number, pack) in packs.iter().enumerate() {
            for (frame, entry) in pack.entries.iter().enumerate() {
                let (pack, frame) = (number as u32, frame as u32);
                places.push(Place { prefix: prefix(&entry.id), pack, frame });
            }
        }
        places.sort_unstable_by_key(|place| (place.prefix, place.pack, place.frame));
        Self { packs, places }
    }

    fn open_index(
        name: &str,
        body: Result<Bytes, StoreError>,
        keyring: &Keyring,
    ) -> Result<Vec<PackReceipt>, String> {
        let body = body.map_err(|e| e.to_string())?;
        if names::index(blake3::hash(&body).as_bytes()) != name {
            return Err("its bytes are not those its name says".into());
        }
        let epoch = index::epoch_of(&body, keyring.repository()).map_err(|e| e.to_string())?;
        let meta = keyring
            .reader_secret(PackClass::Meta, epoch)
            .ok_or("the keys of its epoch are not at hand")?;
        index::decode(&body, meta).map_err(|e| e.to_string())
    }

    /// The packs.
    pub fn packs(&self) -> &[PackReceipt] {
        &self.packs
    }

    /// How many frames there are.
    pub fn frames(&self) -> usize {
        self.places.len()
    }

    /// Where chunk `id` lies: number of the pack, number of the frame. Several where it was
    /// stored more than once.
    pub fn places(&self, id: &ChunkId) -> impl Iterator<Item = (u32, u32)> {
        let wanted = prefix(id);
        let start = self.places.partition_point(|place| place.prefix < wanted);
        self.places[start..]
            .iter()
            .take_while(move |place| place.prefix == wanted)
            .filter(move |place| {
                self.packs[place.pack as usize].entries[place.frame as usize].id == *id
            })
            .map(|place| (place.pack, place.frame))
    }

    /// Whether some pack holds it.
    pub fn contains(&self, id: &ChunkId) -> bool {
        self.places(id).next().is_some()
    }
}

/// Whether a signed snapshot of the writer that the pack names lists it, with its length.
fn is_listed(pack: &PackReceipt, history: &History) -> bool {
    let identity = &pack.header.identity;
    history.packs.get(&pack.id).is_some_and(|(listed, writers)| {
        let writer = &identity.writer;
        listed.len == pack.len
            && writers.contains(writer)
            && history.writers.get(writer).is_some_and(|w| w.domain == identity.domain)
    })
}

/// Reads a pack's header and directory from the pack itself.
fn read_directory(
    objects: &Objects,
    keyring: &Keyring,
    id: PackId,
    len: u64,
) -> Result<PackReceipt, ChunkError> {
    let store = |error| ChunkError::Store(Arc::new(error));
    let bytes = objects.get(&names::pack(&id), limits::PACK).map_err(store)?;
    if bytes.len() as u64 != len || *blake3::hash(&bytes).as_bytes() != id.0 {
        return Err(ChunkError::Hash(id));
    }
    let damaged = |error| ChunkError::Pack { pack: id, error };
    let header = PackHeader::decode(&bytes).map_err(damaged)?;
    let reader = keyring.reader_secret(header.class, header.epoch).ok_or(ChunkError::Keys(id))?;
    let session = PackKey::session(&header, reader).map_err(damaged)?;
    let key = PackKey::with_session(header.clone(), &session).map_err(damaged)?;
    let entries = key.directory(&bytes).map_err(damaged)?;
    read_directory_len(&bytes, len).map_err(damaged)?;
    Ok(PackReceipt { id, len, header, entries })
}

/// A pack in memory, with its key.
pub struct OpenPack {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its key.
    pub key: PackKey,
}

type Slot = Arc<OnceLock<Result<Arc<OpenPack>, Arc<ChunkError>>>>;

/// Reads chunks; packs that were read are kept for a while.
pub struct ChunkReader<'r> {
    objects: &'r Objects,
    keyring: &'r Keyring,
    history: &'r History,
    index: &'r ChunkIndex,
    sessions: Mutex<HashMap<Vec<u8>, Key>>,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    packs: HashMap<u32, Slot>,
    order: VecDeque<u32>,
    bytes: usize,
    /// How often a pack was fetched that had been fetched before.
    refetched: u64,
    fetched: std::collections::HashSet<u32>,
}

impl<'r> ChunkReader<'r> {
    /// Over an index.
    pub fn new(
        objects: &'r Objects,
        keyring: &'r Keyring,
        history: &'r History,
        index: &'r ChunkIndex,
    ) -> Self {
        let (sessions, cache) = Default::default();
        Self { objects, keyring, history, index, sessions, cache }
    }

    /// The index.
    pub fn index(&self) -> &'r ChunkIndex {
        self.index
    }

    /// How many packs were fetched, and how many of them more than once.
    pub fn fetches(&self) -> (u64, u64) {
        let cache = lock(&self.cache);
        (cache.fetched.len() as u64, cache.refetched)
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
        let mut take = Some(take);
        for (pack, frame) in self.index.places(&chunk.id) {
            let receipt = &self.index.packs[pack as usize];
            let entry = &receipt.entries[frame as usize];
            if entry.kind != kind || entry.plain_len != chunk.len {
                continue;
            }
            let keys = self.domain_keys(receipt);
            let range = entry.range();
            let whole = match receipt.header.class {
                // Metadata is read in order, a pack at a time.
                PackClass::Meta => Some(self.pack(pack)),
                PackClass::Data => self.kept(pack),
            };
            let opened = match whole {
                Some(Ok(open)) => {
                    let sealed = open.bytes.get(range.start as usize..range.end as usize);
                    frames.open(&open.key, keys, frame, entry, sealed.unwrap_or_default())
                }
                Some(Err(error)) => {
                    failure = error;
                    continue;
                }
                None => match self.frame(receipt, range) {
                    Ok((key, sealed)) => frames.open(&key, keys, frame, entry, &sealed),
                    Err(error) => {
                        failure = error;
                        continue;
                    }
                },
            };
            match opened {
                Ok((plain, hash)) => {
                    let take = take.take().expect("only one copy is taken");
                    return Ok(take(plain, hash));
                }
                Err(error) => failure = ChunkError::Pack { pack: receipt.id, error },
            }
        }
        Err(failure)
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

    /// The pack, where it is kept or on its way.
    fn kept(&self, number: u32) -> Option<Result<Arc<OpenPack>, ChunkError>> {
        let slot = lock(&self.cache).packs.get(&number).cloned()?;
        Some(self.filled(&slot, number))
    }

    fn filled(&self, slot: &Slot, number: u32) -> Result<Arc<OpenPack>, ChunkError> {
        let receipt = &self.index.packs[number as usize];
        match slot.get_or_init(|| self.fetch(receipt).map(Arc::new).map_err(Arc::new)) {
            Ok(open) => Ok(open.clone()),
            Err(error) => Err(error.again()),
        }
    }

    /// One frame, by a read that is aligned, so that its place and size do not show.
    fn frame(
        &self,
        receipt: &PackReceipt,
        range: std::ops::Range<u64>,
    ) -> Result<(PackKey, Bytes), ChunkError> {
        let key = self.key(receipt)?;
        let start = range.start & !(ALIGNMENT - 1);
        let end = range.end.next_multiple_of(ALIGNMENT).min(receipt.len);
        let bytes = self
            .objects
            .get_range(&names::pack(&receipt.id), start..end)
            .map_err(|error| ChunkError::Store(Arc::new(error)))?;
        let from = ((range.start - start) as usize).min(bytes.len());
        let to = ((range.end - start) as usize).min(bytes.len());
        Ok((key, bytes.slice(from..to)))
    }

    /// Fetches a pack, or finds it among those kept.
    pub fn pack(&self, number: u32) -> Result<Arc<OpenPack>, ChunkError> {
        let receipt = &self.index.packs[number as usize];
        let slot = {
            let mut cache = lock(&self.cache);
            match cache.packs.get(&number) {
                Some(slot) => slot.clone(),
                None => {
                    let slot = Slot::default();
                    cache.packs.insert(number, slot.clone());
                    cache.order.push_back(number);
                    cache.bytes += receipt.len as usize;
                    if !cache.fetched.insert(number) {
                        cache.refetched += 1;
                    }
                    while cache.bytes > CACHE && cache.order.len() > 1 {
                        let oldest = cache.order.pop_front().expect("it is not empty");
                        cache.packs.remove(&oldest);
                        cache.bytes -= self.index.packs[oldest as usize].len as usize;
                    }
                    slot
                }
            }
        };
        self.filled(&slot, number)
    }

    /// Fetches a pack without keeping it.
    pub fn fetch(&self, receipt: &PackReceipt) -> Result<OpenPack, ChunkError> {
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
    fn again(&self) -> Self {
        match self {
            ChunkError::Store(error) => ChunkError::Store(error.clone()),
            ChunkError::Missing(id) => ChunkError::Missing(*id),
            ChunkError::Hash(id) => ChunkError::Hash(*id),
            ChunkError::Keys(id) => ChunkError::Keys(*id),
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

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
