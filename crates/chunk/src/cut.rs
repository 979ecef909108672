//! Content-defined chunking: FastCDC (Xia et al., 2020) with a keyed gear table.
//!
//! A cut depends on the bytes since the last one and on the table, never on how the bytes were
//! fed, so that equal runs of two files, or of two states of one file, become equal chunks. The
//! table comes from the domain's secrets: with a public one, the lengths of chunks would tell
//! which known file they belong to.

use std::{fmt, ops::ControlFlow};

use drover_types::limits;
use fastcdc::v2020::{self, Normalization};

use crate::gear::Gear;

/// How long chunks may be, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSizes {
    min: usize,
    average: usize,
    max: usize,
}

/// Why sizes do not make a chunker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "chunk sizes {min}, {average}, {max}: each must be even, none smaller than the one before, \
     the least at least 64, the average 1 KiB to 4 MiB, the largest at most {}",
    limits::CHUNK
)]
pub struct ChunkSizesError {
    /// The least length that was asked for.
    pub min: usize,
    /// The average length that was asked for.
    pub average: usize,
    /// The largest length that was asked for.
    pub max: usize,
}

impl ChunkSizes {
    /// 256 KiB, 1 MiB, 4 MiB.
    pub const DEFAULT: ChunkSizes = ChunkSizes { min: 256 << 10, average: 1 << 20, max: 4 << 20 };

    /// Checks that FastCDC works with these sizes: two bytes at a time, so all are even.
    pub fn new(min: usize, average: usize, max: usize) -> Result<Self, ChunkSizesError> {
        let fits = [min, average, max].iter().all(|size| size.is_multiple_of(2))
            && v2020::MINIMUM_MIN <= min
            && min <= average
            && average <= max
            && (1 << 10..=v2020::AVERAGE_MAX).contains(&average)
            && max <= limits::CHUNK;
        if fits {
            Ok(Self { min, average, max })
        } else {
            Err(ChunkSizesError { min, average, max })
        }
    }

    /// No chunk is shorter, but the last of a file.
    pub fn min(self) -> usize {
        self.min
    }

    /// About where chunks end.
    pub fn average(self) -> usize {
        self.average
    }

    /// No chunk is longer.
    pub fn max(self) -> usize {
        self.max
    }
}

impl Default for ChunkSizes {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Finds the ends of chunks. Cheap to share between threads, costly to copy (4 KiB).
#[derive(Clone)]
pub struct Chunker {
    sizes: ChunkSizes,
    gear: Gear,
    /// Before the average a cut is made less likely, after it more likely.
    mask_before: u64,
    mask_after: u64,
}

impl Chunker {
    /// `gear` must be 256 values drawn from the domain's secret.
    pub fn new(gear: &[u64; 256], sizes: ChunkSizes) -> Self {
        let (mask_before, mask_after) = v2020::select_masks(sizes.average, Normalization::Level1);
        Self { sizes, gear: Gear::new(gear), mask_before, mask_after }
    }

    /// The sizes it cuts to.
    pub fn sizes(&self) -> ChunkSizes {
        self.sizes
    }

    /// Length of the chunk at the start of `data`, or `None` where more data is needed to tell.
    ///
    /// With `end_of_input`, `data` is all that is left, and the rest becomes the last chunk;
    /// `None` then means that nothing is left. Without it, `None` is only returned for less than
    /// [`ChunkSizes::max`] bytes. The search starts over at each call, so a caller should offer
    /// that many whenever it can.
    pub fn cut(&self, data: &[u8], end_of_input: bool) -> Option<usize> {
        if data.is_empty() {
            return None;
        }
        let len = self.search(&data[..data.len().min(self.sizes.max)]);
        // A cut that was found lies before the end of the data; `len` at the end means none was.
        let complete = len < data.len() || len == self.sizes.max || end_of_input;
        complete.then_some(len)
    }

    /// Where the chunk ends that begins with `data`, which is no longer than any may be.
    fn search(&self, data: &[u8]) -> usize {
        // Bytes are looked at by two.
        let end = data.len() & !1;
        let (min, average) = (self.sizes.min.min(end), self.sizes.average.min(end));
        let found = match self.gear.find(&data[min..average], 0, self.mask_before) {
            ControlFlow::Continue(hash) => self
                .gear
                .find(&data[average..end], hash, self.mask_after)
                .map_break(|at| average + at),
            ControlFlow::Break(at) => ControlFlow::Break(min + at),
        };
        found.break_value().unwrap_or(data.len())
    }
}

impl fmt::Debug for Chunker {
    /// Without the table, which is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunker").field("sizes", &self.sizes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, ops::Range};

    use proptest::prelude::*;

    use super::*;
    use crate::testing::{gear, pseudo_random};

    fn small() -> ChunkSizes {
        ChunkSizes::new(256, 1024, 4096).expect("valid sizes")
    }

    /// The chunks of `data` when it arrives in pieces of the given lengths, repeated.
    fn chunks(chunker: &Chunker, data: &[u8], pieces: &[usize]) -> Vec<Range<usize>> {
        let mut pieces = pieces.iter().cycle();
        let (mut start, mut available, mut found) = (0, 0, Vec::new());
        loop {
            match chunker.cut(&data[start..available], available == data.len()) {
                Some(len) => {
                    found.push(start..start + len);
                    start += len;
                }
                None if available == data.len() => return found,
                None => available = data.len().min(available + pieces.next().expect("a cycle")),
            }
        }
    }

    #[test]
    fn sizes_are_checked() {
        for (min, average, max) in [
            (255, 1024, 4096),
            (256, 1023, 4096),
            (256, 1024, 4095),
            (62, 1024, 4096),
            (2048, 1024, 4096),
            (256, 8192, 4096),
            (256, 512, 4096),
            (0, 0, 0),
            (1 << 20, 8 << 20, 8 << 20),
            (256, 1024, limits::CHUNK + 2),
        ] {
            assert!(ChunkSizes::new(min, average, max).is_err(), "{min} {average} {max}");
        }
        let d = ChunkSizes::DEFAULT;
        assert_eq!(ChunkSizes::new(d.min(), d.average(), d.max()), Ok(d));
    }

    #[test]
    fn chunks_are_about_as_long_as_asked() {
        let data = pseudo_random(1, 4 << 20);
        let found = chunks(&Chunker::new(&gear(1), small()), &data, &[1 << 20]);
        let average = data.len() / found.len();
        assert!((800..1700).contains(&average), "{average}");
    }

    #[test]
    fn a_run_of_one_byte_is_cut_at_the_maximum() {
        let chunker = Chunker::new(&gear(1), small());
        assert_eq!(chunker.cut(&[0; 10_000], false), Some(4096));
        assert_eq!(chunker.cut(&[0; 4095], false), None);
        assert_eq!(chunker.cut(&[0; 4096], false), Some(4096));
    }

    #[test]
    fn the_end_of_the_input_is_the_last_cut() {
        let chunker = Chunker::new(&gear(1), small());
        assert_eq!(chunker.cut(&[], true), None);
        assert_eq!(chunker.cut(&[], false), None);
        assert_eq!(chunker.cut(&[7], false), None);
        assert_eq!(chunker.cut(&[7], true), Some(1));
        assert_eq!(chunker.cut(&[7; 256], true), Some(256));
    }

    #[test]
    fn different_keys_cut_differently() {
        let data = pseudo_random(2, 1 << 20);
        let ends = |key| -> HashSet<usize> {
            let found = chunks(&Chunker::new(&gear(key), small()), &data, &[1 << 20]);
            found.iter().map(|c| c.end).filter(|&end| end != data.len()).collect()
        };
        let (a, b) = (ends(1), ends(2));
        assert!(a.len() > 500 && b.len() > 500);
        assert!(a.intersection(&b).count() < a.len() / 50);
    }

    #[test]
    fn the_table_is_not_printed() {
        let printed = format!("{:?}", Chunker::new(&gear(1), small()));
        assert!(!printed.contains(&gear(1)[0].to_string()) && printed.len() < 100, "{printed}");
    }

    /// Something between noise, which cuts often, and runs, which are cut at the maximum.
    fn content() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec((any::<u64>(), 0..6000usize, any::<bool>()), 0..12).prop_map(|runs| {
            runs.into_iter()
                .flat_map(
                    |(seed, len, noise)| {
                        if noise { pseudo_random(seed, len) } else { vec![seed as u8; len] }
                    },
                )
                .collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn how_data_is_fed_does_not_matter(
            data in content(),
            key in 0..4u64,
            pieces in prop::collection::vec(1..5000usize, 1..8),
        ) {
            let chunker = Chunker::new(&gear(key), small());
            let whole = chunks(&chunker, &data, &[usize::MAX / 2]);
            prop_assert_eq!(&chunks(&chunker, &data, &pieces), &whole);

            let mut at = 0;
            for (i, chunk) in whole.iter().enumerate() {
                prop_assert_eq!(chunk.start, at);
                let last = i + 1 == whole.len();
                prop_assert!(chunk.len() <= 4096 && (chunk.len() >= 256 || last));
                prop_assert!(!chunk.is_empty());
                at = chunk.end;
            }
            prop_assert_eq!(at, data.len());
        }

        /// Sizes with which stretches are searched in turns, and the crate's own search beside it.
        #[test]
        fn the_crate_finds_the_same(
            runs in prop::collection::vec((any::<u64>(), 0..90_000usize, 0..4u8), 1..6),
            key in 0..4u64,
            average in (10..=16u32).prop_map(|bits| 1 << bits),
        ) {
            let data: Vec<u8> = runs
                .into_iter()
                .flat_map(|(seed, len, sort)| match sort {
                    0 => vec![seed as u8; len],
                    _ => pseudo_random(seed, len),
                })
                .collect();
            let sizes = ChunkSizes::new(256, average, 1 << 18).expect("valid sizes");
            let chunker = Chunker::new(&gear(key), sizes);
            let (before, after) = (chunker.mask_before, chunker.mask_after);
            let (table, shifted) = (gear(key), gear(key).map(|value| value << 1));
            let mut rest = &data[..];
            while let Some(len) = chunker.cut(rest, true) {
                let (_, expected) = v2020::cut_gear(
                    rest, 256, average, 1 << 18, before, after, before << 1, after << 1, &table, &shifted,
                );
                prop_assert_eq!(len, expected);
                rest = &rest[len..];
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn cuts_come_together_again_after_an_insertion(
            seed in any::<u64>(),
            at in 0..50_000usize,
            inserted in prop::collection::vec(any::<u8>(), 1..300),
        ) {
            let chunker = Chunker::new(&gear(3), small());
            let before = pseudo_random(seed, 200_000);
            let mut after = before.clone();
            after.splice(at..at, inserted);

            let old: HashSet<Vec<u8>> =
                chunks(&chunker, &before, &[1 << 20]).into_iter().map(|r| before[r].to_vec()).collect();
            let new = chunks(&chunker, &after, &[1 << 20]);
            let unknown = new.iter().filter(|r| !old.contains(&after[(*r).clone()])).count();
            prop_assert!(unknown <= 20, "{} of {} chunks are new", unknown, new.len());
        }
    }
}
