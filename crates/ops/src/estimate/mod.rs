//! What a first pass will store, send and take, foretold from a sample of the data.
//!
//! ```text
//! walk → Strata        every entry counted; of each class of files some are kept to be read
//!      → Manifest      made as a pass makes it, and thrown away: its size
//! Strata → Units → read, cut, hashed, compressed, packed as a pass does → ratio of each stratum
//! all of it → Estimate
//! ```
//!
//! The sample is stratified: files of about one size with one extension are alike, so that few of
//! them tell much of the rest. Which ones are read depends on the seed and their paths alone: the
//! same tree gives the same sample. Ratios and their errors are those of a stratified ratio estimate
//! without replacement (Cochran, Sampling Techniques, 3rd edition, sections 6.10 and 5.5).
//!
//! Not foreseen: parts that files share which are not the same as a whole. Copies of whole files are
//! taken off as far as somebody found them (`copies`).

mod manifest;
mod measure;
mod strata;
mod work;

use std::time::Duration;

use drover_crypt::domain::DomainSecret;
use drover_source::{Source, WalkEvent, WalkOptions};
use drover_types::{Counter, Entry, Kind, Observer};

use crate::{Cancel, Error, compare::FirstNames, pipeline::LARGEST_PACK};
use manifest::Manifest;
use measure::Measured;
use strata::Strata;

/// Requests of a pass besides those for packs: index objects, the record in the audit log and the
/// snapshot.
const OTHER_REQUESTS: u64 = 4;
/// What a pack has besides its frames, in bytes: header, tag and trailer, and half a step of padding.
const PACK_OVERHEAD: u64 = 256 + 32 + (64 << 10) / 2;
/// What a pack's directory, and the index, have of each frame, in bytes.
const FRAME_OVERHEAD: u64 = 42 + 60;
/// A meta pack is closed at this many bytes.
const META_PACK: u64 = 8 << 20;
/// Standard deviations that the middle 95 % of a normal distribution reach to either side.
const DEVIATIONS_95: f64 = 1.96;

/// How a sample is taken.
#[derive(Clone, Copy, Debug)]
pub struct EstimateOptions {
    /// About how many bytes are read.
    pub sample: u64,
    /// Which of the possible samples.
    pub seed: u64,
    /// Do not enter what is mounted below the source's root.
    pub one_file_system: bool,
    /// zstd's level.
    pub compression_level: i32,
    /// Files that are read at a time; one for each core where it is 0.
    pub parallel: usize,
}

impl Default for EstimateOptions {
    /// 512 MiB.
    fn default() -> Self {
        Self {
            sample: 512 << 20,
            seed: 1,
            one_file_system: false,
            compression_level: drover_chunk::DEFAULT_LEVEL,
            parallel: 0,
        }
    }
}

/// A figure and how far it may be off.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Range {
    /// The best guess.
    pub value: u64,
    /// In 95 of 100 samples it is no less.
    pub low: u64,
    /// In 95 of 100 samples it is no more.
    pub high: u64,
}

/// What was read, and how fast it went.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sampled {
    /// Files that something was read of.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
    /// Classes of files.
    pub strata: u64,
    /// The part of all bytes whose class nothing could be read of.
    pub unsampled: f64,
    /// Threads that read and worked.
    pub threads: u64,
    /// Bytes a second that reading brought, all threads together.
    pub read_rate: f64,
    /// Files a second that were opened, all threads together.
    pub open_rate: f64,
    /// Bytes a second that everything from cutting to a closed pack takes, all threads together.
    pub process_rate: f64,
}

/// What a first pass of a source comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Entries.
    pub entries: u64,
    /// Files with content, each once.
    pub files: u64,
    /// Bytes of their content, without holes, and without what cannot be read.
    pub bytes: u64,
    /// Bytes of copies of other files.
    pub copies: u64,
    /// Plaintext bytes of chunks that a pass stores, manifest included.
    pub new: u64,
    /// Their size once compressed and sealed: `bytes.stored` of a pass.
    pub stored: Range,
    /// All bodies that are sent: with headers, directories, padding and index.
    pub uploaded: u64,
    /// Chunks.
    pub chunks: u64,
    /// Requests that put an object.
    pub puts: Range,
    /// How long the walk took, and the making of the manifest with it.
    pub walk: Duration,
    /// What this is known from.
    pub sampled: Sampled,
}

/// Foretells a first pass over `source`. `copies` says of a size, in bytes, and an extension how many
/// bytes of such files are copies of others.
pub fn estimate(
    source: &dyn Source,
    copies: &dyn Fn(&strata::Class) -> u64,
    options: &EstimateOptions,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<Estimate, Error> {
    // Nothing is sealed with these: where chunks and blocks end is to depend on the seed alone.
    let seed = blake3::derive_key("drover 2026 domain of an estimate", &options.seed.to_le_bytes());
    let keys = DomainSecret::from_bytes(seed).keys();
    let mut strata = Strata::new(options.seed);
    let mut manifest = Manifest::new(&keys, options.compression_level);
    let mut links = FirstNames::new(None);
    let mut result = Estimate::default();
    let walk_options =
        WalkOptions { one_file_system: options.one_file_system, ..WalkOptions::default() };
    let started = std::time::Instant::now();
    for event in source.walk(&walk_options)? {
        if cancel.is_set() {
            return Err(Error::Interrupted);
        }
        // What cannot be seen is on the list of exceptions of whoever walks for it.
        let WalkEvent::Entry(entry) = event else { continue };
        result.entries += u64::from(!entry.path.is_root());
        observer.add(Counter::Entries, 1);
        if entry.kind == Kind::File && links.first_of(&entry)?.is_none() && data(&entry) > 0 {
            result.files += 1;
            result.bytes = result.bytes.saturating_add(data(&entry));
            strata.add(&entry);
        }
        manifest.add(entry)?;
    }
    result.walk = started.elapsed();
    let meta = manifest.finish()?;
    let measured = measure::measure(source, &strata, copies, options, &keys, observer, cancel)?;
    result.combine(&measured, copies, meta);
    Ok(result)
}

/// Bytes of a file that are no hole, as far as that is known without opening it.
fn data(entry: &Entry) -> u64 {
    entry.evidence.size.min(entry.evidence.allocated.max(entry.evidence.size.min(4096)))
}

/// What a manifest comes to.
#[derive(Clone, Copy, Debug, Default)]
struct Meta {
    plain: u64,
    stored: u64,
    chunks: u64,
}

impl Estimate {
    /// From strata to the whole.
    fn combine(&mut self, measured: &Measured, copies: &dyn Fn(&strata::Class) -> u64, meta: Meta) {
        let (mut plain, mut stored, mut chunks, mut variance) = (0.0, 0.0, 0.0, 0.0);
        let mut unreadable = 0.0;
        for stratum in &measured.strata {
            let copied = copies(&stratum.class).min(stratum.bytes);
            let unique = (stratum.bytes - copied) as f64;
            self.copies += copied;
            unreadable += stratum.bytes as f64 * (1.0 - stratum.readable);
            plain += unique * stratum.readable;
            stored += unique * stratum.ratio;
            chunks += unique * stratum.chunks_per_byte;
            variance += (unique * stratum.ratio_deviation).powi(2);
        }
        let deviation = variance.sqrt();
        self.bytes = self.bytes.saturating_sub(unreadable.round() as u64);
        let meta_stored = meta.stored as f64;
        let range = |value: f64, deviation: f64| Range {
            value: value.round() as u64,
            low: (value - DEVIATIONS_95 * deviation).max(0.0).round() as u64,
            high: (value + DEVIATIONS_95 * deviation).round() as u64,
        };
        self.chunks = chunks.round() as u64 + meta.chunks;
        self.new = plain.round() as u64 + meta.plain;
        self.stored = range(stored + meta_stored, deviation);
        // A pack is closed by the chunk that fills it.
        let frame = if chunks > 0.0 { stored / chunks } else { 0.0 };
        let packs = |bytes: f64| match bytes {
            bytes if bytes <= 0.0 => 0.0,
            bytes => (bytes / (LARGEST_PACK as f64 + frame / 2.0)).ceil(),
        };
        let meta_packs = (meta.stored as f64 / META_PACK as f64).ceil().max(1.0);
        let puts = |bytes: f64| (packs(bytes) + meta_packs) as u64 + OTHER_REQUESTS;
        self.puts = Range {
            value: puts(stored),
            low: puts(stored - DEVIATIONS_95 * deviation),
            high: puts(stored + DEVIATIONS_95 * deviation),
        };
        let all_packs = self.puts.value - OTHER_REQUESTS;
        self.uploaded =
            self.stored.value + all_packs * PACK_OVERHEAD + self.chunks * FRAME_OVERHEAD;
        self.sampled = measured.sampled;
    }
}

pub use strata::Class;

#[cfg(test)]
mod tests;
