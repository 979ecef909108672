//! Whether the packs are there, and whether they are what they should be.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use drover_chunk::Decompressor;
use drover_pack::{FrameReader, PackHeader, PackReceipt};
use drover_repo::{
    ChunkError, ChunkIndex, ChunkReader,
    certificate::{Method, Sample},
    names,
};
use drover_store::StoreError;
use drover_types::{Basis, ChunkId, Counter, Observer, PackClass, PackId, Total, limits, lock};

use super::{Damage, Finding, VerifyOptions, confidence};
use crate::{Cancel, Error, reading::ReaderSession, threads};

/// Compares the store's listing with the packs that signed snapshots list. What the listing
/// lacks is asked for by name: a listing alone decides nothing.
pub(super) fn presence(
    session: &ReaderSession,
    all_are_read: bool,
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
    for (id, writers) in &session.history.packs {
        let name = names::pack(id);
        let found = match listed.get(id) {
            Some(len) => Some(*len),
            None => match objects.head(&name) {
                Ok(found) => found,
                Err(error @ StoreError::Denied { .. }) => {
                    unchecked.push(Finding::denied(name, &error));
                    continue;
                }
                Err(error) => return Err(error.into()),
            },
        };
        let wrong = writers.iter().find(|(_, listed)| found != Some(**listed));
        let Some((writer, listed)) = wrong else { continue };
        let message = match found {
            Some(len) if writers.len() > 1 => {
                format!("it has {len} bytes, and the writer {writer} lists it with {listed}")
            }
            Some(len) => format!("it has {len} bytes instead of {listed}"),
            None => "it is missing".into(),
        };
        damage.objects.insert(name, message);
        // Which chunks of a pack of another length are whole shows when it is read back. Where
        // somebody else lists it wrongly, nothing is wrong with the pack.
        let is_whole = |len: u64| writers.values().any(|listed| *listed == len);
        if !found.is_some_and(|len| all_are_read || is_whole(len)) {
            damage.packs.insert(*id);
        }
    }
    Ok(())
}

/// What reading packs back came to.
pub(super) struct ReadBack {
    /// How much was read.
    pub kind: Method,
    /// Which part, where not all was.
    pub sample: Option<Sample>,
    /// Whether packs of content were opened.
    pub opened: bool,
    /// How it was done, in words.
    pub method: String,
    /// What packs say of themselves, where an index object says something else.
    pub own: Vec<PackReceipt>,
}

/// Reads packs back: hashes their bytes, opens their directories and every frame.
pub(super) fn read_back(
    session: &ReaderSession,
    index: &ChunkIndex,
    part: f64,
    options: &VerifyOptions,
    damage: &mut Damage,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<ReadBack, Error> {
    let reader = session.chunks(index);
    let packs = index.packs().chunk_by(|one, other| one.id == other.id);
    let all: Vec<&[PackReceipt]> =
        packs.filter(|said| !damage.packs.contains(&said[0].id)).collect();
    let chosen = sample(&all, part, options.seed);
    let bytes = chosen.iter().map(|said| said[0].len).sum();
    observer.add(Counter::Bytes, bytes);
    observer.total(Total { entries: 0, bytes, basis: Basis::Snapshot });
    // One more than there are processors: while it waits for its pack, the others have theirs.
    let workers = crate::workers(options.parallel) + usize::from(options.parallel == 0);
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(PackId, PackState)>> = Mutex::default();
    let own: Mutex<Vec<PackReceipt>> = Mutex::default();
    let fatal: Mutex<Option<Error>> = Mutex::default();
    std::thread::scope(|scope| {
        threads::spawn_some(scope, workers, || {
            || {
                let mut frames = FrameReader::new(Decompressor::new());
                while !cancel.is_set() {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&said) = chosen.get(at) else { break };
                    match check(session, &reader, said, &mut frames) {
                        Ok((state, other)) => {
                            lock(&own).extend(other);
                            lock(&results).push((said[0].id, state));
                        }
                        Err(error) => {
                            cancel.set();
                            lock(&fatal).get_or_insert(error);
                        }
                    }
                    observer.add(Counter::BytesDone, said[0].len);
                }
            }
        })
    })?;
    if let Some(error) = fatal.into_inner().unwrap_or_default() {
        return Err(error);
    }
    if cancel.is_set() {
        return Err(Error::Interrupted);
    }
    let (mut hashed_only, mut damaged) = (0, 0);
    for (id, state) in results.into_inner().unwrap_or_default() {
        let name = names::pack(&id);
        damaged += u64::from(!matches!(state, PackState::Whole | PackState::HashedOnly));
        match state {
            PackState::Whole => {}
            PackState::HashedOnly => hashed_only += 1,
            PackState::Unreadable(message) => {
                damage.objects.insert(name, message);
                damage.packs.insert(id);
            }
            PackState::Chunks(bad, message) => {
                damage.objects.insert(name, message);
                damage.chunks.extend(bad.into_iter().map(|chunk| (id, chunk)));
            }
        }
    }
    let part = Sample { packs: chosen.len() as u64, of: all.len() as u64, seed: options.seed };
    let sample = (part.packs < part.of).then_some(part);
    let mut method = match &sample {
        None => "read back".to_owned(),
        Some(sample) => {
            let Sample { packs, of, seed } = sample;
            let found = match damaged {
                // Those that were not even there are not among these.
                0 => format!("all of them were whole: {}", confidence(sample)),
                _ => "some of them are damaged, so others may be".to_owned(),
            };
            format!("read back a sample: {packs} of {of} packs, seed {seed}; {found}")
        }
    };
    if hashed_only > 0 {
        method.push_str("; packs of content were hashed and not opened, for these keys open names and attributes only");
    }
    Ok(ReadBack {
        kind: if sample.is_some() { Method::ReadBackSample } else { Method::ReadBack },
        sample,
        opened: hashed_only == 0,
        method,
        own: own.into_inner().unwrap_or_default(),
    })
}

/// A part of the packs: those whose keyed hash is lowest, which is as good as chance and the
/// same for the same seed.
fn sample<'p>(all: &[&'p [PackReceipt]], part: f64, seed: u64) -> Vec<&'p [PackReceipt]> {
    if part >= 1.0 {
        return all.to_vec();
    }
    let key = *blake3::hash(&seed.to_le_bytes()).as_bytes();
    let mut ranked: Vec<_> = all
        .iter()
        .map(|&said| (*blake3::keyed_hash(&key, &said[0].id.0).as_bytes(), said))
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    let wanted = ((all.len() as f64 * part).ceil() as usize).clamp(1.min(all.len()), all.len());
    ranked.into_iter().take(wanted).map(|(_, said)| said).collect()
}

enum PackState {
    Whole,
    /// Its bytes hash to its name; the keys at hand do not open it.
    HashedOnly,
    Unreadable(String),
    Chunks(Vec<ChunkId>, String),
}

/// Checks a pack, of which index objects say what `said` has. Bytes that are those of its name
/// speak for themselves, and what they say comes back where an index object says something else;
/// of others, only what was said of them can tell which chunks are whole.
fn check(
    session: &ReaderSession,
    reader: &ChunkReader<'_>,
    said: &[PackReceipt],
    frames: &mut FrameReader,
) -> Result<(PackState, Option<PackReceipt>), Error> {
    let first = &said[0];
    let bytes = match session.objects().get(&names::pack(&first.id), limits::PACK) {
        Ok(bytes) => bytes,
        Err(error) => return Ok((unreadable(error)?, None)),
    };
    let own = match *blake3::hash(&bytes).as_bytes() == first.id.0 {
        true => reader.receipt(first.id, &bytes).map_err(|error| {
            let class = PackHeader::decode(&bytes).map(|header| header.class);
            let of_content = matches!(class, Ok(PackClass::Data));
            (of_content && matches!(error, ChunkError::Keys(_)), error.to_string())
        }),
        false => Err((false, "its bytes are not those its name says".to_owned())),
    };
    let (receipt, flaw) = match own {
        Ok(own) => (own, None),
        Err((true, _)) => return Ok((PackState::HashedOnly, None)),
        Err((false, _)) if bytes.len() as u64 != first.len => {
            (first.clone(), Some(format!("it has {} bytes instead of {}", bytes.len(), first.len)))
        }
        Err((false, flaw)) => (first.clone(), Some(flaw)),
    };
    let key = match reader.key(&receipt) {
        Ok(key) => key,
        Err(error) => {
            return Ok((PackState::Unreadable(flaw.unwrap_or(error.to_string())), None));
        }
    };
    let keys = reader.domain_keys(&receipt);
    let mut bad = Vec::new();
    for (number, entry) in receipt.entries.iter().enumerate() {
        let range = entry.range();
        let sealed = bytes.get(range.start as usize..range.end as usize).unwrap_or_default();
        if frames.open(&key, keys, number as u32, entry, sealed).is_err() {
            bad.push(entry.id);
        }
    }
    let state = if !bad.is_empty() {
        let mut message =
            format!("{} of its {} chunks are damaged", bad.len(), receipt.entries.len());
        if let Some(flaw) = &flaw {
            message = format!("{flaw}; {message}");
        }
        PackState::Chunks(bad, message)
    } else if let Some(flaw) = &flaw {
        PackState::Chunks(Vec::new(), format!("{flaw}, though every chunk in it is whole"))
    } else {
        PackState::Whole
    };
    let differs = flaw.is_none() && said.iter().any(|said| *said != receipt);
    Ok((state, differs.then_some(receipt)))
}

/// An object that is gone, or has another length, is damage; a store that does not answer is
/// no finding about the repository.
fn unreadable(error: StoreError) -> Result<PackState, Error> {
    if error.is_transient() || matches!(error, StoreError::Denied { .. }) {
        return Err(error.into());
    }
    Ok(PackState::Unreadable(error.to_string()))
}
