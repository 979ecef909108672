//! ISO 9660 images: what was burned on discs, directory by directory.

use std::io;

use super::{ArchiveLimits, Stretch, Visit};
use crate::content::Reader;

const SECTOR: u64 = 2048;
/// Bytes of one directory that are read.
const DIRECTORY: u64 = 1 << 20;
/// Directories within directories.
const DEPTH: u32 = 16;

/// Where an extent is, from a directory record (ECMA-119, section 9.1).
fn extent(record: &[u8]) -> Option<(u64, u64)> {
    let place = u32::from_le_bytes(record.get(2..6)?.try_into().ok()?);
    let len = u32::from_le_bytes(record.get(10..14)?.try_into().ok()?);
    Some((u64::from(place) * SECTOR, len.into()))
}

/// Goes through the files; whether all were seen.
pub(super) fn members(
    reader: &mut Reader<'_>,
    limits: &mut ArchiveLimits,
    visit: &mut Visit<'_>,
) -> io::Result<bool> {
    let mut descriptor = [0; 190];
    let came = reader.fill(16 * SECTOR, &mut descriptor)?;
    if came < 190 || descriptor[..6] != *b"\x01CD001" {
        return Ok(false);
    }
    let Some(root) = extent(&descriptor[156..]) else { return Ok(false) };
    let mut pending = vec![(root, 0)];
    let mut whole = true;
    while let Some(((offset, len), depth)) = pending.pop() {
        if depth > DEPTH || len > DIRECTORY {
            whole = false;
            continue;
        }
        let mut directory = vec![0; len as usize];
        let came = reader.fill(offset, &mut directory)?;
        directory.truncate(came);
        limits.bytes = limits.bytes.saturating_sub(came as u64);
        let mut at = 0;
        while let Some(&size) = directory.get(at) {
            let size = usize::from(size);
            if size == 0 {
                // Records do not cross sectors.
                at = (at / SECTOR as usize + 1) * SECTOR as usize;
                continue;
            }
            let Some(record) = directory.get(at..at + size).filter(|r| r.len() >= 34) else {
                whole = false;
                break;
            };
            at += size;
            let name_len = usize::from(record[32]);
            let Some(name) = record.get(33..33 + name_len) else { continue };
            let Some(place) = extent(record) else { continue };
            if matches!(name, [0] | [1]) {
                continue;
            }
            if limits.entries == 0 || limits.bytes == 0 {
                return Ok(false);
            }
            limits.entries -= 1;
            if record[25] & 2 != 0 {
                pending.push((place, depth + 1));
                continue;
            }
            // `NAME.EXT;1`
            let name = name.split(|&b| b == b';').next().unwrap_or_default().to_vec();
            let before = reader.read;
            let len = place.1.min(limits.bytes);
            visit(&name, &mut Stretch { reader, offset: place.0, len }, limits)?;
            limits.bytes = limits.bytes.saturating_sub(reader.read - before);
            whole &= len == place.1;
        }
    }
    Ok(whole)
}
