//! Tar files: ustar, and the long names of GNU and pax as far as sizes are right.

use std::io;

use super::{ArchiveLimits, Stretch, Visit};
use crate::content::Reader;

/// A number in octal, or in GNU's binary form.
fn number(field: &[u8]) -> Option<u64> {
    if field.first()? & 0x80 != 0 {
        let tail: [u8; 8] = field.get(field.len() - 8..)?.try_into().ok()?;
        return Some(u64::from_be_bytes(tail));
    }
    let digits = field.iter().filter(|b| (b'0'..=b'7').contains(b));
    digits.take(11).try_fold(0u64, |sum, b| sum.checked_mul(8)?.checked_add(u64::from(b - b'0')))
}

/// Whether the header's sum is right: of all its bytes, with blanks in the place of the sum.
fn is_header(header: &[u8; 512]) -> bool {
    let sum: u64 = header.iter().map(|&b| u64::from(b)).sum();
    let own: u64 = header[148..156].iter().map(|&b| u64::from(b)).sum();
    number(&header[148..156]) == Some(sum - own + 8 * 32)
}

/// Goes through the members; whether all were seen.
pub(super) fn members(
    reader: &mut Reader<'_>,
    limits: &mut ArchiveLimits,
    visit: &mut Visit<'_>,
) -> io::Result<bool> {
    let mut at = 0u64;
    loop {
        let mut header = [0; 512];
        let came = reader.fill(at, &mut header)?;
        if came == 0 || header.iter().all(|&b| b == 0) {
            return Ok(true);
        }
        let (true, Some(size)) = (came == 512 && is_header(&header), number(&header[124..136]))
        else {
            return Ok(false);
        };
        if limits.entries == 0 || limits.bytes == 0 {
            return Ok(false);
        }
        limits.entries -= 1;
        at = at.saturating_add(512);
        if matches!(header[156], b'0' | 0 | b'7') && size > 0 {
            let end = header[..100].iter().position(|&b| b == 0).unwrap_or(100);
            let name = header[..end].rsplit(|&b| b == b'/').next().unwrap_or_default().to_vec();
            let before = reader.read;
            let len = size.min(limits.bytes);
            visit(&name, &mut Stretch { reader, offset: at, len }, limits)?;
            limits.bytes = limits.bytes.saturating_sub(reader.read - before);
            if len < size {
                return Ok(false);
            }
        }
        let Some(next) = size.checked_next_multiple_of(512).and_then(|len| at.checked_add(len))
        else {
            return Ok(false);
        };
        at = next;
    }
}
