//! Reads the sample, and does to it what a pass does.

use std::{
    cell::RefCell,
    collections::HashSet,
    sync::Mutex,
    time::{Duration, Instant},
};

use drover_chunk::{ChunkSizes, Chunker, Compressor};
use drover_crypt::domain::DomainKeys;
use drover_source::{ReadError, Source};
use drover_types::{Counter, Observer, lock};
use rayon::prelude::*;

use super::{
    EstimateOptions, Sampled,
    strata::{Candidate, Class, Strata},
};
use crate::{Cancel, Error};

/// What is read of a large file at one place, in bytes: two of the largest chunks.
const PIECE: u64 = 8 << 20;
/// Pieces or files that are read of a class at least, where it has so many, ….
const LEAST_UNITS: u64 = 6;
/// … unless they come to so many bytes before.
const LEAST_BYTES: u64 = 2 * PIECE;
/// Pieces that are read of one file at most.
const MOST_PIECES: u64 = 8;
/// What a ratio is thought to be off where there is but one unit to judge it by.
const UNKNOWN_DEVIATION: f64 = 0.25;
/// The ratio of what nothing could be read of: it is stored as it is.
const UNKNOWN_RATIO: f64 = 1.0;

thread_local! {
    static COMPRESSOR: RefCell<Option<(i32, Compressor)>> = const { RefCell::new(None) };
}

/// Something to read: a whole file, or a piece of a large one.
struct Unit {
    stratum: usize,
    candidate: Candidate,
    start: u64,
    len: u64,
}

/// What came of a unit.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    plain: u64,
    stored: u64,
    chunks: u64,
}

/// A class, measured.
pub(super) struct MeasuredStratum {
    pub(super) class: Class,
    pub(super) bytes: u64,
    /// Stored bytes of each byte.
    pub(super) ratio: f64,
    /// The standard deviation of `ratio`.
    pub(super) ratio_deviation: f64,
    pub(super) chunks_per_byte: f64,
}

/// All classes, measured.
pub(super) struct Measured {
    pub(super) strata: Vec<MeasuredStratum>,
    pub(super) sampled: Sampled,
}

/// What the reading of all units adds up to.
#[derive(Default)]
struct Clocked {
    units: Vec<Vec<Seen>>,
    opening: Duration,
    reading: Duration,
    working: Duration,
    bytes: u64,
    files: u64,
}

pub(super) fn measure(
    source: &dyn Source,
    strata: &Strata,
    options: &EstimateOptions,
    keys: &DomainKeys,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<Measured, Error> {
    let chunker = Chunker::new(&keys.gear_table(), ChunkSizes::default());
    let units = units(strata, options.sample);
    let clocked =
        Mutex::new(Clocked { units: vec![Vec::new(); strata.classes.len()], ..Clocked::default() });
    // Chunks that were seen before are stored once.
    let known = Mutex::new(HashSet::new());
    let one = |unit: &Unit| {
        if cancel.is_set() {
            return;
        }
        // What cannot be read is on the list of exceptions of the pass, and stands for nothing.
        if let Ok(seen) = read(source, unit, &chunker, &known, options, &clocked) {
            observer.add(Counter::BytesRead, seen.plain);
            lock(&clocked).units[unit.stratum].push(seen);
        }
    };
    let threads = crate::workers(options.parallel);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    match pool {
        Ok(pool) => pool.install(|| units.par_iter().for_each(one)),
        // No threads are to be had: one after the other.
        Err(_) => units.iter().for_each(one),
    }
    if cancel.is_set() {
        return Err(Error::Interrupted);
    }
    let clocked = clocked.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let total: f64 = strata.classes.values().map(|stratum| stratum.bytes as f64).sum();
    let mut unsampled = 0.0;
    let mut measured = Vec::new();
    for ((class, stratum), seen) in strata.classes.iter().zip(&clocked.units) {
        let plain: f64 = seen.iter().map(|unit| unit.plain as f64).sum();
        let stored: f64 = seen.iter().map(|unit| unit.stored as f64).sum();
        let chunks: f64 = seen.iter().map(|unit| unit.chunks as f64).sum();
        let (ratio, ratio_deviation) = if plain > 0.0 {
            let ratio = stored / plain;
            (ratio, deviation(seen, ratio, stratum.bytes))
        } else {
            unsampled += stratum.bytes as f64;
            (UNKNOWN_RATIO, UNKNOWN_DEVIATION)
        };
        measured.push(MeasuredStratum {
            class: class.clone(),
            bytes: stratum.bytes,
            ratio,
            ratio_deviation,
            chunks_per_byte: if plain > 0.0 { chunks / plain } else { 1.0 / (1 << 20) as f64 },
        });
    }
    let rate = |amount: u64, time: Duration| match time.as_secs_f64() {
        seconds if seconds > 0.0 => amount as f64 / seconds * threads as f64,
        _ => 0.0,
    };
    Ok(Measured {
        strata: measured,
        sampled: Sampled {
            files: clocked.files,
            bytes: clocked.bytes,
            strata: strata.classes.len() as u64,
            unsampled: if total > 0.0 { unsampled / total } else { 0.0 },
            read_rate: rate(clocked.bytes, clocked.reading),
            open_rate: rate(clocked.files, clocked.opening),
            process_rate: rate(clocked.bytes, clocked.working),
        },
    })
}

/// The standard deviation of the ratio of a class of `bytes` bytes, of which these units were drawn.
fn deviation(units: &[Seen], ratio: f64, bytes: u64) -> f64 {
    let n = units.len() as f64;
    let plain: f64 = units.iter().map(|unit| unit.plain as f64).sum();
    let rest = (1.0 - plain / bytes as f64).max(0.0);
    if rest == 0.0 {
        return 0.0;
    }
    if units.len() < 2 {
        return UNKNOWN_DEVIATION * rest.sqrt();
    }
    let mean = plain / n;
    let squares: f64 =
        units.iter().map(|unit| (unit.stored as f64 - ratio * unit.plain as f64).powi(2)).sum();
    (rest / n * squares / (n - 1.0)).sqrt() / mean
}

/// What to read of each class, so that all together is about `budget` bytes.
fn units(strata: &Strata, budget: u64) -> Vec<Unit> {
    let total: f64 = strata.classes.values().map(|stratum| stratum.bytes as f64).sum();
    let mut units = Vec::new();
    for (index, stratum) in strata.classes.values().enumerate() {
        let share = (budget as f64 * stratum.bytes as f64 / total.max(1.0)) as u64;
        let candidates = stratum.candidates();
        let mut taken = 0;
        let mut count = 0;
        // The first piece of each file, then the second of each, until it is enough.
        'rounds: for round in 0..MOST_PIECES {
            let mut more = false;
            for candidate in &candidates {
                if taken >= share && (count >= LEAST_UNITS || taken >= LEAST_BYTES) {
                    break 'rounds;
                }
                let pieces = candidate.size.div_ceil(PIECE).max(1);
                if round >= pieces {
                    continue;
                }
                more = true;
                let unit = piece(strata, index, candidate, round, pieces);
                taken += unit.len;
                count += 1;
                units.push(unit);
            }
            if !more {
                break;
            }
        }
    }
    units
}

/// The `round`th piece that is drawn of a file of so many pieces.
fn piece(strata: &Strata, stratum: usize, candidate: &Candidate, round: u64, pieces: u64) -> Unit {
    let candidate = candidate.clone();
    if pieces == 1 {
        let len = candidate.size;
        return Unit { stratum, candidate, start: 0, len };
    }
    // One of the pieces of each part, as many parts as are drawn at most.
    let parts = pieces.min(MOST_PIECES);
    let (from, to) = (pieces * round / parts, pieces * (round + 1) / parts);
    let drawn = strata.draw(&[candidate.path.as_bytes(), b"\0", &round.to_le_bytes()].concat());
    let start = (from + drawn % (to - from).max(1)) * PIECE;
    let len = PIECE.min(candidate.size - start.min(candidate.size));
    Unit { stratum, candidate, start, len }
}

fn read(
    source: &dyn Source,
    unit: &Unit,
    chunker: &Chunker,
    known: &Mutex<HashSet<[u8; 32]>>,
    options: &EstimateOptions,
    clocked: &Mutex<Clocked>,
) -> Result<Seen, ReadError> {
    let path = &unit.candidate.path;
    let begun = Instant::now();
    let mut file = source.open(path)?;
    // A pass looks before and after.
    file.stat()?;
    file.stat()?;
    let opening = begun.elapsed();
    let begun = Instant::now();
    let mut bytes = vec![0; usize::try_from(unit.len).unwrap_or(usize::MAX)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(unit.start + filled as u64, &mut bytes[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    let reading = begun.elapsed();
    let begun = Instant::now();
    let whole = unit.start + unit.len >= unit.candidate.size;
    let seen = store(&bytes, whole, chunker, known, options.compression_level);
    let working = begun.elapsed();
    let mut clocked = lock(clocked);
    clocked.opening += opening;
    clocked.reading += reading;
    clocked.working += working;
    clocked.bytes += filled as u64;
    clocked.files += u64::from(unit.start == 0 || unit.len < unit.candidate.size);
    Ok(seen)
}

/// Cut, hashed, and compressed unless it was there before. The end of a piece that is not the end
/// of its file is no chunk.
fn store(
    data: &[u8],
    whole: bool,
    chunker: &Chunker,
    known: &Mutex<HashSet<[u8; 32]>>,
    level: i32,
) -> Seen {
    let mut seen = Seen::default();
    let mut rest = data;
    let mut buffer = Vec::new();
    while let Some(len) = chunker.cut(rest, whole).filter(|_| !rest.is_empty()) {
        let (chunk, after) = rest.split_at(len);
        rest = after;
        seen.plain += len as u64;
        seen.chunks += 1;
        if !lock(known).insert(*blake3::hash(chunk).as_bytes()) {
            continue;
        }
        seen.stored += COMPRESSOR.with_borrow_mut(|kept| {
            let (_, compressor) = match kept {
                Some(kept) if kept.0 == level => kept,
                kept => kept.insert((level, Compressor::new(level))),
            };
            compressor.compress(chunk, &mut buffer).1.len() as u64 + 16
        });
    }
    seen
}
