//! In which packs chunks lie.
//!
//! Only packs that a signed snapshot lists are looked into, and only under the domain of the
//! writer who listed them: nobody who can write to the store can make one chunk pass for another.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use drover_crypt::hierarchy::Keyring;
use drover_pack::{PackHeader, PackKey, PackReceipt};
use drover_store::StoreError;
use drover_types::{ChunkId, ChunkKind, ChunkRef, PackClass, PackId, limits};

use crate::{
    chunks::ChunkError,
    history::{History, Problem},
    index, names,
    objects::Objects,
    repository::RepositoryError,
};

/// Where a frame lies.
#[derive(Clone, Copy)]
struct Place {
    prefix: u64,
    pack: u32,
    frame: u32,
}

/// The packs of a repository and what they hold.
pub struct ChunkIndex {
    /// By id; several of one pack where index objects say different things of it.
    packs: Vec<PackReceipt>,
    /// For each of these the index object that says so; `None` where the pack itself does.
    said_by: Vec<Option<u32>>,
    /// The index objects.
    objects: Vec<String>,
    /// Those of them that hold more than was taken from them, or could not be read.
    unfinished: BTreeSet<String>,
    places: Vec<Place>,
}

/// Index objects read at a time: each holds some 65,000 chunks, and is opened as a whole.
const READ_AT_A_TIME: usize = 4;

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
        Self::load_after(None, objects, keyring, history, problems)
    }

    /// The same, of which only that is read which `known` lacks: index objects are named by their
    /// hash. One that told of packs that no snapshot listed then is read again.
    pub fn load_after(
        known: Option<Self>,
        objects: &Objects,
        keyring: &Keyring,
        history: &History,
        problems: &mut Vec<Problem>,
    ) -> Result<Self, RepositoryError> {
        let mut known = known.map(Known::new).unwrap_or_default();
        let mut unfinished = BTreeSet::new();
        let listed = objects.list(names::INDEX)?;
        let names: Vec<String> = listed
            .into_iter()
            .map(|object| object.name)
            .filter(|name| !name.starts_with("index/packs-"))
            .collect();
        let mut found: HashMap<PackId, Vec<(PackReceipt, Option<u32>)>> = HashMap::new();
        let mut disputes: BTreeSet<(u32, u32)> = BTreeSet::new();
        for (number, group) in names.chunks(READ_AT_A_TIME).enumerate() {
            let unread: Vec<String> =
                group.iter().filter(|name| !known.by_object.contains_key(*name)).cloned().collect();
            let bodies = objects.get_all(&unread, limits::INDEX_OBJECT, READ_AT_A_TIME);
            let mut bodies = bodies.into_iter();
            let numbers = (number * READ_AT_A_TIME) as u32..;
            for (name, number) in group.iter().zip(numbers) {
                let packs = match known.by_object.remove(name) {
                    Some(packs) => Ok(packs),
                    None => {
                        let body = bodies.next().expect("one body for each that was not known");
                        Self::open_index(name, body, keyring)
                    }
                };
                let packs = match packs {
                    Ok(packs) => packs,
                    Err(message) => {
                        unfinished.insert(name.clone());
                        problems.push(Problem::new("index", name, message));
                        continue;
                    }
                };
                for pack in packs {
                    if !is_listed(&pack, history) {
                        unfinished.insert(name.clone());
                        continue;
                    }
                    let known = found.entry(pack.id).or_default();
                    if known.iter().all(|(known, _)| *known != pack) {
                        disputes.extend(known.iter().filter_map(|(_, by)| Some((number, (*by)?))));
                        known.push((pack, Some(number)));
                    }
                }
            }
        }
        for (object, other) in disputes {
            let message = format!("it says other things of a pack than {}", names[other as usize]);
            problems.push(Problem::new("index", &names[object as usize], message));
        }
        for id in history.packs.keys() {
            if found.contains_key(id) {
                continue;
            }
            let own = match known.own.remove(id) {
                Some(own) => Ok(own),
                None => read_directory(objects, keyring, history, *id),
            };
            match own {
                Ok(receipt) => {
                    found.insert(*id, vec![(receipt, None)]);
                }
                Err(ChunkError::Unlisted(_)) => {}
                Err(error) => {
                    problems.push(Problem::new("pack", names::pack(id), error.to_string()));
                }
            }
        }
        let index = Self::over(found.into_values().flatten().collect(), names);
        Ok(Self { unfinished, ..index })
    }

    /// With what packs themselves say in the place of what index objects said of them.
    pub fn corrected(self, own: Vec<PackReceipt>) -> Self {
        let ids: BTreeSet<PackId> = own.iter().map(|pack| pack.id).collect();
        let said = self.packs.into_iter().zip(self.said_by);
        let kept = said.filter(|(pack, _)| !ids.contains(&pack.id));
        Self::over(kept.chain(own.into_iter().map(|pack| (pack, None))).collect(), self.objects)
    }

    /// What is wrong with the index objects that say something else of a pack than it does itself.
    pub fn contradicted(&self, own: &PackReceipt) -> impl Iterator<Item = Problem> {
        let start = self.packs.partition_point(|pack| pack.id < own.id);
        let said = self.packs[start..].iter().zip(&self.said_by[start..]);
        said.take_while(|(pack, _)| pack.id == own.id)
            .filter(move |(pack, _)| *pack != own)
            .filter_map(|(_, by)| {
                let object = &self.objects[(*by)? as usize];
                let message = "what it says of a pack is not what the pack itself says";
                Some(Problem::new("index", object, message))
            })
    }

    fn over(mut said: Vec<(PackReceipt, Option<u32>)>, objects: Vec<String>) -> Self {
        said.sort_by_key(|(pack, by)| (pack.id, *by));
        let (packs, said_by): (Vec<PackReceipt>, Vec<_>) = said.into_iter().unzip();
        let mut places: Vec<Place> =
            Vec::with_capacity(packs.iter().map(|p| p.entries.len()).sum());
        for (number, pack) in packs.iter().enumerate() {
            for (frame, entry) in pack.entries.iter().enumerate() {
                let (pack, frame) = (number as u32, frame as u32);
                places.push(Place { prefix: prefix(&entry.id), pack, frame });
            }
        }
        places.sort_unstable_by_key(|place| (place.prefix, place.pack, place.frame));
        Self { packs, said_by, objects, unfinished: BTreeSet::new(), places }
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

    /// The packs, by id: several of one where index objects say different things of it.
    pub fn packs(&self) -> &[PackReceipt] {
        &self.packs
    }

    /// A number of chunk `id`'s own, below [`Self::frames`].
    pub fn number(&self, id: &ChunkId) -> Option<usize> {
        self.numbered(id).next().map(|(number, _)| number)
    }

    /// How many frames there are.
    pub fn frames(&self) -> usize {
        self.places.len()
    }

    /// Where chunk `id` lies: number of the pack, number of the frame. Several where it was
    /// stored more than once.
    pub fn places(&self, id: &ChunkId) -> impl Iterator<Item = (u32, u32)> {
        self.numbered(id).map(|(_, place)| (place.pack, place.frame))
    }

    fn numbered(&self, id: &ChunkId) -> impl Iterator<Item = (usize, &Place)> {
        let wanted = prefix(id);
        let start = self.places.partition_point(|place| place.prefix < wanted);
        self.places[start..]
            .iter()
            .enumerate()
            .map(move |(at, place)| (start + at, place))
            .take_while(move |(_, place)| place.prefix == wanted)
            .filter(move |(_, place)| {
                self.packs[place.pack as usize].entries[place.frame as usize].id == *id
            })
    }

    /// The first place of `chunk` that says of it what its reference says.
    pub fn place(&self, chunk: &ChunkRef, kind: ChunkKind) -> Option<(u32, u32)> {
        self.places(&chunk.id).find(|&(pack, frame)| {
            let entry = &self.packs[pack as usize].entries[frame as usize];
            entry.kind == kind && entry.plain_len == chunk.len
        })
    }

    /// Whether some pack holds it.
    pub fn contains(&self, id: &ChunkId) -> bool {
        self.places(id).next().is_some()
    }
}

/// What an earlier index knows.
#[derive(Default)]
struct Known {
    /// What each index object says that need not be read again.
    by_object: HashMap<String, Vec<PackReceipt>>,
    /// What packs say of themselves.
    own: HashMap<PackId, PackReceipt>,
}

impl Known {
    fn new(index: ChunkIndex) -> Self {
        let ChunkIndex { packs, said_by, objects, unfinished, .. } = index;
        let mut known = Self::default();
        for name in objects.iter().filter(|name| !unfinished.contains(*name)) {
            known.by_object.insert(name.clone(), Vec::new());
        }
        for (pack, by) in packs.into_iter().zip(said_by) {
            match by {
                None => drop(known.own.insert(pack.id, pack)),
                Some(by) => {
                    if let Some(said) = known.by_object.get_mut(&objects[by as usize]) {
                        said.push(pack);
                    }
                }
            }
        }
        known
    }
}

/// Whether a signed snapshot of the writer that the pack names lists it, with its length.
fn is_listed(pack: &PackReceipt, history: &History) -> bool {
    let identity = &pack.header.identity;
    history.packs.get(&pack.id).is_some_and(|writers| {
        let writer = &identity.writer;
        writers.get(writer) == Some(&pack.len)
            && history.writers.get(writer).is_some_and(|w| w.domain == identity.domain)
    })
}

/// Reads a pack's header and directory from the pack itself.
pub(crate) fn read_directory(
    objects: &Objects,
    keyring: &Keyring,
    history: &History,
    id: PackId,
) -> Result<PackReceipt, ChunkError> {
    let store = |error| ChunkError::Store(Arc::new(error));
    let bytes = objects.get(&names::pack(&id), limits::PACK).map_err(store)?;
    if *blake3::hash(&bytes).as_bytes() != id.0 {
        return Err(ChunkError::Hash(id));
    }
    directory_of(&bytes, keyring, history, id)
}

/// What a pack whose bytes are those of its name says of itself.
pub(crate) fn directory_of(
    bytes: &[u8],
    keyring: &Keyring,
    history: &History,
    id: PackId,
) -> Result<PackReceipt, ChunkError> {
    let damaged = |error| ChunkError::Pack { pack: id, error };
    let len = bytes.len() as u64;
    let header = PackHeader::decode(bytes).map_err(damaged)?;
    let reader = keyring.reader_secret(header.class, header.epoch).ok_or(ChunkError::Keys(id))?;
    let session = PackKey::session(&header, reader).map_err(damaged)?;
    let key = PackKey::with_session(header.clone(), &session).map_err(damaged)?;
    let entries = key.directory(bytes).map_err(damaged)?;
    let receipt = PackReceipt { id, len, header, entries };
    if is_listed(&receipt, history) { Ok(receipt) } else { Err(ChunkError::Unlisted(id)) }
}
