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

/// How long the parts of a unit took.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    opening: Duration,
    reading: Duration,
    working: Duration,
}

/// What came of the units of each class.
type Came = Vec<Vec<(Seen, Times)>>;

pub(super) fn measure(
    source: &dyn Source,
    strata: &Strata,
    copies: &dyn Fn(&Class) -> u64,
    options: &EstimateOptions,
    keys: &DomainKeys,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<Measured, Error> {
    let work = Work::new(keys, options.compression_level);
    let units = units(strata, options.sample);
    let has_copies: Vec<bool> = strata.classes.keys().map(|class| copies(class) > 0).collect();
    let came: Mutex<Came> = Mutex::new(vec![Vec::new(); strata.classes.len()]);
    let one = |unit: &Unit| -> Result<(), Error> {
        if cancel.is_set() {
            return Ok(());
        }
        // What cannot be read is on the list of exceptions of the pass: it stands for what else of its
        // class cannot be read, and is not stored.
        let one = match read(source, unit) {
            Ok((bytes, times)) => {
                let begun = Instant::now();
                let whole = unit.start + unit.len >= unit.candidate.size;
                let mut seen = work.store(&bytes, whole)?;
                observer.add(Counter::BytesRead, bytes.len() as u64);
                // A copy of another file of the sample is among those that are taken off already.
                let copy = seen.plain == unit.candidate.size && seen.stored == 0;
                if copy && has_copies[unit.stratum] {
                    seen = Seen::default();
                }
                (seen, Times { working: begun.elapsed(), ..times })
            }
            Err(_) => (Seen { len: unit.len, ..Seen::default() }, Times::default()),
        };
        lock(&came)[unit.stratum].push(one);
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
    let rest = work.finish()?;
    let came = came.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let pace = pace(strata, &came, rest);
    let total: f64 = strata.classes.values().map(|stratum| stratum.bytes as f64).sum();
    let mut unsampled = 0.0;
    let mut measured = Vec::new();
    for ((class, stratum), came) in strata.classes.iter().zip(&came) {
        let seen: Vec<Seen> = came.iter().map(|(seen, _)| *seen).collect();
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
                ratio_deviation: deviation(&seen, ratio, bytes),
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
    let all = || came.iter().flatten().filter(|(seen, _)| seen.plain > 0);
    Ok(Measured {
        strata: measured,
        sampled: Sampled {
            files: all().count() as u64,
            bytes: all().map(|(seen, _)| seen.plain).sum(),
            strata: strata.classes.len() as u64,
            unsampled: if total > 0.0 { unsampled / total } else { 0.0 },
            threads: threads as u64,
            read_rate: pace.read_rate * threads as f64,
            open_rate: pace.open_rate * threads as f64,
            process_rate: pace.process_rate * threads as f64,
        },
    })
}

/// What one thread comes to with the whole tree: bytes and files a second.
struct Pace {
    read_rate: f64,
    open_rate: f64,
    process_rate: f64,
}

/// From the times of each class to those of the whole, because a class of small files costs more for
/// each byte, and its part of the sample is smaller. `rest` was worked for all of them at the end.
fn pace(strata: &Strata, came: &Came, rest: Duration) -> Pace {
    let [mut opening, mut reading, mut working, mut worked] = [0.0; 4];
    let [mut files, mut bytes] = [0.0; 2];
    for (stratum, units) in strata.classes.values().zip(came) {
        let read = units.iter().filter(|(seen, _)| seen.plain > 0);
        let (mut count, mut plain, mut sum) = (0.0, 0.0, Times::default());
        for (seen, times) in read {
            count += 1.0;
            plain += seen.plain as f64;
            sum.opening += times.opening;
            sum.reading += times.reading;
            sum.working += times.working;
        }
        if count == 0.0 {
            continue;
        }
        files += stratum.files as f64;
        bytes += stratum.bytes as f64;
        opening += sum.opening.as_secs_f64() / count * stratum.files as f64;
        reading += sum.reading.as_secs_f64() / plain * stratum.bytes as f64;
        working += sum.working.as_secs_f64() / plain * stratum.bytes as f64;
        worked += sum.working.as_secs_f64();
    }
    if worked > 0.0 {
        working *= 1.0 + rest.as_secs_f64() / worked;
    }
    let rate = |amount: f64, seconds: f64| if seconds > 0.0 { amount / seconds } else { 0.0 };
    Pace {
        read_rate: rate(bytes, reading),
        open_rate: rate(files, opening),
        process_rate: rate(bytes, working),
    }
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
fn read(source: &dyn Source, unit: &Unit) -> Result<(Vec<u8>, Times), ReadError> {
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
    Ok((bytes, Times { opening, reading: begun.elapsed(), ..Times::default() }))
}
