//! Reads the sample, and does to it what a pass does.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use drover_crypt::domain::DomainKeys;
use drover_source::{ReadError, Source};
use drover_types::{Counter, Observer, lock};
use rayon::prelude::*;

use super::{
    EstimateOptions, Sampled,
    strata::{Candidate, Class, Strata},
    work::{Seen, Work},
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

/// Something to read: a whole file, or a piece of a large one.
struct Unit {
    stratum: usize,
    candidate: Candidate,
    start: u64,
    len: u64,
}

/// A class, measured.
pub(super) struct MeasuredStratum {
    pub(super) class: Class,
    pub(super) bytes: u64,
    /// The part of these that can be read, from 0 to 1.
    pub(super) readable: f64,
    /// Stored bytes of each byte; none of those that cannot be read.
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
    let work = Work::new(keys, options.compression_level);
    let units = units(strata, options.sample);
    let clocked =
        Mutex::new(Clocked { units: vec![Vec::new(); strata.classes.len()], ..Clocked::default() });
    let one = |unit: &Unit| -> Result<(), Error> {
        if cancel.is_set() {
            return Ok(());
        }
        // What cannot be read is on the list of exceptions of the pass: it stands for what else of its
        // class cannot be read, and is not stored.
        let seen = match read(source, unit) {
            Ok((bytes, times)) => process(unit, &bytes, times, &work, &clocked)?,
            Err(_) => Seen { len: unit.len, ..Seen::default() },
        };
        observer.add(Counter::BytesRead, seen.plain);
        lock(&clocked).units[unit.stratum].push(seen);
        Ok(())
    };
    let threads = crate::workers(options.parallel);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    match pool {
        Ok(pool) => pool.install(|| units.par_iter().try_for_each(one)),
        // No threads are to be had: one after the other.
        Err(_) => units.iter().try_for_each(one),
    }?;
    if cancel.is_set() {
        return Err(Error::Interrupted);
    }
    let mut clocked = clocked.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    clocked.working += work.finish()?;
    let total: f64 = strata.classes.values().map(|stratum| stratum.bytes as f64).sum();
    let mut unsampled = 0.0;
    let mut measured = Vec::new();
    for ((class, stratum), seen) in strata.classes.iter().zip(&clocked.units) {
        let sum = |of: fn(&Seen) -> u64| seen.iter().map(|unit| of(unit) as f64).sum::<f64>();
        let len = sum(|unit| unit.len);
        let (class, bytes) = (class.clone(), stratum.bytes);
        measured.push(if len > 0.0 {
            let ratio = sum(|unit| unit.stored) / len;
            MeasuredStratum {
                class,
                bytes,
                readable: sum(|unit| unit.plain) / len,
                ratio,
                ratio_deviation: deviation(seen, ratio, bytes),
                chunks_per_byte: sum(|unit| unit.chunks) / len,
            }
        } else {
            unsampled += bytes as f64;
            MeasuredStratum {
                class,
                bytes,
                readable: 1.0,
                ratio: UNKNOWN_RATIO,
                ratio_deviation: UNKNOWN_DEVIATION,
                chunks_per_byte: 1.0 / (1 << 20) as f64,
            }
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
            threads: threads as u64,
            read_rate: rate(clocked.bytes, clocked.reading),
            open_rate: rate(clocked.files, clocked.opening),
            process_rate: rate(clocked.bytes, clocked.working),
        },
    })
}

/// The standard deviation of the ratio of a class of `bytes` bytes, of which these units were drawn.
fn deviation(units: &[Seen], ratio: f64, bytes: u64) -> f64 {
    let n = units.len() as f64;
    let len: f64 = units.iter().map(|unit| unit.len as f64).sum();
    let rest = (1.0 - len / bytes as f64).max(0.0);
    if rest == 0.0 {
        return 0.0;
    }
    if units.len() < 2 {
        return UNKNOWN_DEVIATION * rest.sqrt();
    }
    let mean = len / n;
    let squares: f64 =
        units.iter().map(|unit| (unit.stored as f64 - ratio * unit.len as f64).powi(2)).sum();
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

/// The bytes of a unit, and how long opening and reading took.
fn read(source: &dyn Source, unit: &Unit) -> Result<(Vec<u8>, [Duration; 2]), ReadError> {
    let begun = Instant::now();
    let mut file = source.open(&unit.candidate.path)?;
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
    Ok((bytes, [opening, begun.elapsed()]))
}

/// Does to a unit what a pass does, and notes how long each part took.
fn process(
    unit: &Unit,
    bytes: &[u8],
    [opening, reading]: [Duration; 2],
    work: &Work<'_>,
    clocked: &Mutex<Clocked>,
) -> Result<Seen, Error> {
    let begun = Instant::now();
    let seen = work.store(bytes, unit.start + unit.len >= unit.candidate.size)?;
    let mut clocked = lock(clocked);
    clocked.opening += opening;
    clocked.reading += reading;
    clocked.working += begun.elapsed();
    clocked.bytes += bytes.len() as u64;
    clocked.files += u64::from(unit.start == 0 || unit.len < unit.candidate.size);
    Ok(seen)
}
