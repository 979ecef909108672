//! Many frames of one pack at once.
//!
//! Who knows beforehand what is needed of a pack fetches that once: what lies close together in
//! one read, and nothing of what lies between far parts.

use std::ops::Range;

use bytes::Bytes;
use drover_pack::{DirectoryEntry, FrameReader, PackKey, PackReceipt};
use drover_types::FileHash;

use crate::{
    chunks::{ChunkError, ChunkReader},
    names,
    repository::PARALLEL_READS,
};

/// Reads begin and end at multiples of this, so that the place and size of a frame do not show.
const ALIGNMENT: u64 = 64 << 10;
/// What lies closer together than this is read at once: another request takes about as long.
const GAP: u64 = 512 << 10;

/// A part of a pack in memory, with the pack's key.
pub struct PackPart {
    key: PackKey,
    /// Where each run begins, and its bytes; ascending.
    runs: Vec<(u64, Bytes)>,
}

impl PackPart {
    /// The bytes of a frame, tag included; empty where they were not fetched.
    fn sealed(&self, entry: &DirectoryEntry) -> &[u8] {
        let range = entry.range();
        let after = self.runs.partition_point(|(start, _)| *start <= range.start);
        let Some((start, bytes)) = after.checked_sub(1).and_then(|at| self.runs.get(at)) else {
            return &[];
        };
        bytes.get((range.start - start) as usize..(range.end - start) as usize).unwrap_or_default()
    }
}

impl ChunkReader<'_> {
    /// Fetches `frames` of a pack: their numbers, ascending.
    pub fn fetch_frames(
        &self,
        receipt: &PackReceipt,
        frames: &[u32],
    ) -> Result<PackPart, ChunkError> {
        let key = self.key(receipt)?;
        let ranges = frames.iter().map(|&frame| receipt.entries[frame as usize].range());
        let ranges = runs(ranges, receipt.len);
        let bodies = self.objects.get_ranges(&names::pack(&receipt.id), &ranges, PARALLEL_READS);
        let runs = ranges
            .iter()
            .zip(bodies)
            .map(|(range, body)| Ok((range.start, body?)))
            .collect::<Result<_, _>>()
            .map_err(|error| ChunkError::Store(std::sync::Arc::new(error)))?;
        Ok(PackPart { key, runs })
    }

    /// Opens a frame of a part that was fetched with it: its plaintext, valid as long as `frames`
    /// opens no other, and its plain BLAKE3.
    pub fn open_part<'f>(
        &self,
        part: &PackPart,
        receipt: &PackReceipt,
        frame: u32,
        frames: &'f mut FrameReader,
    ) -> Result<(&'f [u8], FileHash), ChunkError> {
        let entry = &receipt.entries[frame as usize];
        frames
            .open(&part.key, self.domain_keys(receipt), frame, entry, part.sealed(entry))
            .map_err(|error| ChunkError::Pack { pack: receipt.id, error })
    }
}

/// What to read of a pack of `len` bytes to have all of `ranges`, which ascend.
fn runs(ranges: impl Iterator<Item = Range<u64>>, len: u64) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        let start = range.start & !(ALIGNMENT - 1);
        let end = range.end.next_multiple_of(ALIGNMENT).min(len);
        match runs.last_mut() {
            Some(last) if start <= last.end + GAP => last.end = last.end.max(end),
            _ => runs.push(start..end),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_close_together_is_read_at_once() {
        const MIB: u64 = 1 << 20;
        let read = |ranges: &[(u64, u64)]| -> Vec<(u64, u64)> {
            let ranges = ranges.iter().map(|&(start, end)| start..end);
            runs(ranges, 8 * MIB - 4096).into_iter().map(|run| (run.start, run.end)).collect()
        };
        assert_eq!(read(&[]), []);
        assert_eq!(read(&[(300, 400)]), [(0, ALIGNMENT)]);
        assert_eq!(read(&[(300, 400), (400, 70_000)]), [(0, 2 * ALIGNMENT)]);
        let far = [(0, ALIGNMENT), (MIB, MIB + ALIGNMENT)];
        assert_eq!(read(&[(300, 400), (MIB, MIB + 1)]), far);
        assert_eq!(read(&[(300, 400), (MIB / 2, MIB)]), [(0, MIB)]);
        let last = [(8 * MIB - ALIGNMENT, 8 * MIB - 4096)];
        assert_eq!(read(&[(8 * MIB - 9000, 8 * MIB - 5000)]), last);
    }
}
