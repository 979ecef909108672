//! Whether the packs are there, and whether they are what they should be.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use drover_chunk::Decompressor;
use drover_pack::{FrameReader, PackReceipt};
use drover_repo::{ChunkError, ChunkIndex, ChunkReader, names};
use drover_store::StoreError;
use drover_types::{Counter, Observer, PackClass, PackId, limits};

use super::{Damage, Finding, VerifyOptions};
use crate::{Cancel, Error, reading::ReaderSession, sync::packer::lock};

/// Compares the store's listing with the packs that signed snapshots list. What the listing
/// lacks is asked for by name: a listing alone decides nothing.
pub(super) fn presence(
    session: &ReaderSession,
    index: &ChunkIndex,
    damage: &mut Damage,
    unchecked: &mut Vec<Finding>,
) -> Result<(), Error> {
    let objects = session.objects();
    let listed: HashMap<PackId, u64> = match objects.list(names::PACKS) {
        Ok(listed) => listed
            .iter()
            .filter_map(|object| Some((names::parse_pack(&object.name)?, object.len)))
            .collect(),
        Err(StoreError::Denied { .. }) => HashMap::new(),
        Err(error) => return Err(error.into()),
    };
    let numbers: HashMap<PackId, u32> =
        index.packs().iter().enumerate().map(|(at, pack)| (pack.id, at as u32)).collect();
    for (id, (pack, _)) in &session.history.packs {
        let name = names::pack(id);
        let found = match listed.get(id) {
            Some(len) => Some(*len),
            None => match objects.head(&name) {
                Ok(found) => found,
                Err(error @ StoreError::Denied { .. }) => {
                    unchecked.push(Finding {
                        kind: "denied".into(),
                        object: Some(name),
                        path: None,
                        message: error.to_string(),
                    });
                    continue;
                }
                Err(error) => return Err(error.into()),
            },
        };
        let message = match found {
            Some(len) if len == pack.len => continue,
            Some(len) => format!("it has {len} bytes instead of {}", pack.len),
            None => "it is missing".into(),
        };
        damage.objects.insert(name, message);
        damage.packs.extend(numbers.get(id));
    }
    Ok(())
}

/// Reads packs back: hashes their bytes, opens their directories and every frame. Returns the
/// method, in words.
#[expect(clippy::too_many_arguments, reason = "what it reads with, and what it adds to")]
pub(super) fn read_back(
    session: &ReaderSession,
    index: &ChunkIndex,
    reader: &ChunkReader<'_>,
    part: f64,
    options: &VerifyOptions,
    damage: &mut Damage,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<String, Error> {
    let all: Vec<u32> =
        (0..index.packs().len() as u32).filter(|pack| !damage.packs.contains(pack)).collect();
    let chosen = sample(&all, part, options.seed, index);
    for pack in &chosen {
        observer.add(Counter::Bytes, index.packs()[*pack as usize].len);
    }
    let workers = crate::workers(options.parallel);
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(u32, PackState)>> = Mutex::default();
    let fatal: Mutex<Option<Error>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut frames = FrameReader::new(Decompressor::new());
                while !cancel.is_set() {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&number) = chosen.get(at) else { break };
                    let receipt = &index.packs()[number as usize];
                    match check(session, reader, receipt, &mut frames) {
                        Ok(PackState::Whole) => {}
                        Ok(state) => lock(&results).push((number, state)),
                        Err(error) => {
                            cancel.set();
                            lock(&fatal).get_or_insert(error);
                        }
                    }
                    observer.add(Counter::BytesDone, receipt.len);
                }
            });
        }
    });
    if let Some(error) = fatal.into_inner().unwrap_or_default() {
        return Err(error);
    }
    if cancel.is_set() {
        return Err(Error::Interrupted);
    }
    let mut hashed_only = 0;
    for (number, state) in results.into_inner().unwrap_or_default() {
        let name = names::pack(&index.packs()[number as usize].id);
        match state {
            PackState::Whole => {}
            PackState::HashedOnly => hashed_only += 1,
            PackState::Unreadable(message) => {
                damage.objects.insert(name, message);
                damage.packs.insert(number);
            }
            PackState::Frames(bad, message) => {
                damage.objects.insert(name, message);
                damage.frames.extend(bad.into_iter().map(|frame| (number, frame)));
            }
        }
    }
    let mut method = if chosen.len() == all.len() {
        "read back".to_owned()
    } else {
        let n = chosen.len().max(1) as f64;
        let undetected = 100.0 * (1.0 - 0.01f64.powf(1.0 / n));
        format!(
            "read back a sample: {} of {} packs, seed {}; where all of these are whole, fewer than {undetected:.2} % of all packs are damaged, with 99 % confidence",
            chosen.len(),
            all.len(),
            options.seed
        )
    };
    if hashed_only > 0 {
        method.push_str("; packs of content were hashed and not opened, for these keys open names and attributes only");
    }
    Ok(method)
}

/// A part of the packs: those whose keyed hash is lowest, which is as good as chance and the
/// same for the same seed.
fn sample(all: &[u32], part: f64, seed: u64, index: &ChunkIndex) -> Vec<u32> {
    if part >= 1.0 {
        return all.to_vec();
    }
    let key = *blake3::hash(&seed.to_le_bytes()).as_bytes();
    let mut ranked: Vec<_> = all
        .iter()
        .map(|&pack| {
            (*blake3::keyed_hash(&key, &index.packs()[pack as usize].id.0).as_bytes(), pack)
        })
        .collect();
    ranked.sort();
    let wanted = ((all.len() as f64 * part).ceil() as usize).clamp(1.min(all.len()), all.len());
    ranked.into_iter().take(wanted).map(|(_, pack)| pack).collect()
}

enum PackState {
    Whole,
    /// Its bytes hash to its name; the keys at hand do not open it.
    HashedOnly,
    Unreadable(String),
    Frames(Vec<u32>, String),
}

fn check(
    session: &ReaderSession,
    reader: &ChunkReader<'_>,
    receipt: &PackReceipt,
    frames: &mut FrameReader,
) -> Result<PackState, Error> {
    let header = &receipt.header;
    let openable = session.keyring.reader_secret(header.class, header.epoch).is_some();
    if !openable && header.class == PackClass::Data {
        let bytes = match session.objects().get(&names::pack(&receipt.id), limits::PACK) {
            Ok(bytes) => bytes,
            Err(error) => return unreadable(error),
        };
        return Ok(if *blake3::hash(&bytes).as_bytes() == receipt.id.0 {
            PackState::HashedOnly
        } else {
            PackState::Unreadable("its bytes are not those its name says".into())
        });
    }
    let open = match reader.fetch(receipt) {
        Ok(open) => open,
        Err(ChunkError::Store(error)) => {
            return match std::sync::Arc::try_unwrap(error) {
                Ok(error) => unreadable(error),
                Err(shared) => Ok(PackState::Unreadable(shared.to_string())),
            };
        }
        Err(error) => return Ok(PackState::Unreadable(error.to_string())),
    };
    let hash_fits = *blake3::hash(&open.bytes).as_bytes() == receipt.id.0;
    if open.bytes.len() as u64 != receipt.len {
        return Ok(PackState::Unreadable(format!(
            "it has {} bytes instead of {}",
            open.bytes.len(),
            receipt.len
        )));
    }
    let directory = open.key.directory(&open.bytes);
    let keys = reader.domain_keys(receipt);
    let mut bad = Vec::new();
    for (number, entry) in receipt.entries.iter().enumerate() {
        let range = entry.range();
        let sealed = open.bytes.get(range.start as usize..range.end as usize).unwrap_or_default();
        if frames.open(&open.key, keys, number as u32, entry, sealed).is_err() {
            bad.push(number as u32);
        }
    }
    if !bad.is_empty() {
        let message = format!("{} of its {} chunks are damaged", bad.len(), receipt.entries.len());
        return Ok(PackState::Frames(bad, message));
    }
    match directory {
        _ if !hash_fits => Ok(PackState::Frames(
            Vec::new(),
            "its bytes are not those its name says, though every chunk in it is whole".into(),
        )),
        Ok(entries) if entries != receipt.entries => {
            Ok(PackState::Frames(Vec::new(), "its directory is not the one the index has".into()))
        }
        Ok(_) => Ok(PackState::Whole),
        Err(error) => Ok(PackState::Frames(Vec::new(), error.to_string())),
    }
}

/// An object that is gone, or has another length, is damage; a store that does not answer is
/// no finding about the repository.
fn unreadable(error: StoreError) -> Result<PackState, Error> {
    if error.is_transient() || matches!(error, StoreError::Denied { .. }) {
        return Err(error.into());
    }
    Ok(PackState::Unreadable(error.to_string()))
}
