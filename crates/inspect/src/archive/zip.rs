//! Zip files by their central directory (APPNOTE 6.3), with the 64-bit forms.

use std::io;

use super::{ArchiveLimits, Inflated, Stretch, Visit};
use crate::content::Reader;

/// How far from the end the end of the directory is looked for: its comment has at most 65,535 bytes.
const TAIL: u64 = 65_557;
/// Bytes of the directory that are read at a time.
const PIECE: usize = 32 << 10;

fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// One entry of the directory.
struct Member {
    name: Vec<u8>,
    encrypted: bool,
    method: u16,
    packed: u64,
    plain: u64,
    /// Where its own header is.
    offset: u64,
}

/// Where the directory begins, and how many entries it says it has.
fn directory(reader: &mut Reader<'_>) -> io::Result<Option<(u64, u64)>> {
    let size = reader.size();
    let from = size.saturating_sub(TAIL);
    let mut tail = vec![0; (size - from) as usize];
    let came = reader.fill(from, &mut tail)?;
    tail.truncate(came);
    let Some(at) = memchr::memmem::rfind(&tail, b"PK\x05\x06") else { return Ok(None) };
    let end = &tail[at..];
    let (Some(entries), Some(offset)) = (le16(end, 10), le32(end, 16)) else { return Ok(None) };
    if entries != u16::MAX && offset != u32::MAX {
        return Ok(Some((offset.into(), entries.into())));
    }
    let locator = at.checked_sub(20).and_then(|at| tail.get(at..at + 20));
    let Some(place) = locator.filter(|l| l.starts_with(b"PK\x06\x07")).and_then(|l| le64(l, 8))
    else {
        return Ok(Some((offset.into(), entries.into())));
    };
    let mut wide = [0; 56];
    let came = reader.fill(place, &mut wide)?;
    let wide = &wide[..came];
    Ok(wide.starts_with(b"PK\x06\x06").then(|| Some((le64(wide, 48)?, le64(wide, 32)?))).flatten())
}

/// The entry at the front of `bytes`, and how long it is; `None` where it is none or cut off.
fn entry(bytes: &[u8]) -> Option<(Member, usize)> {
    let lengths = [le16(bytes, 28)?, le16(bytes, 30)?, le16(bytes, 32)?].map(usize::from);
    if !bytes.starts_with(b"PK\x01\x02") {
        return None;
    }
    let name = bytes.get(46..46 + lengths[0])?.to_vec();
    let extra = bytes.get(46 + lengths[0]..46 + lengths[0] + lengths[1])?;
    let (mut packed, mut plain, mut offset) =
        (u64::from(le32(bytes, 20)?), u64::from(le32(bytes, 24)?), u64::from(le32(bytes, 42)?));
    let mut at = 0;
    while let (Some(id), Some(len)) = (le16(extra, at), le16(extra, at + 2)) {
        let field = extra.get(at + 4..at + 4 + usize::from(len)).unwrap_or_default();
        if id == 1 {
            let mut next = 0;
            for value in [&mut plain, &mut packed, &mut offset] {
                if *value == u64::from(u32::MAX)
                    && let Some(wide) = le64(field, next)
                {
                    *value = wide;
                    next += 8;
                }
            }
        }
        at += 4 + usize::from(len);
    }
    let member = Member {
        name,
        encrypted: le16(bytes, 8)? & 1 != 0,
        method: le16(bytes, 10)?,
        packed,
        plain,
        offset,
    };
    Some((member, 46 + lengths.iter().sum::<usize>()))
}

/// Goes through the members; whether all could be looked into.
pub(super) fn members(
    reader: &mut Reader<'_>,
    limits: &mut ArchiveLimits,
    visit: &mut Visit<'_>,
) -> io::Result<bool> {
    let Some((mut at, count)) = directory(reader)? else { return Ok(false) };
    let mut whole = true;
    let mut buffer = Vec::new();
    let mut used = 0;
    for _ in 0..count {
        let (member, len) = match entry(&buffer[used..]) {
            Some(found) => found,
            None => {
                at = at.saturating_add(used as u64);
                buffer.resize(PIECE, 0);
                let came = reader.fill(at, &mut buffer)?;
                buffer.truncate(came);
                used = 0;
                // An entry with its name, extra fields and comment has up to 196 KB; such are let go.
                match entry(&buffer) {
                    Some(found) => found,
                    None => return Ok(false),
                }
            }
        };
        used += len;
        if used > buffer.len() {
            at = at.saturating_add(used as u64);
            (used, buffer) = (0, Vec::new());
        }
        if limits.entries == 0 || limits.bytes == 0 {
            return Ok(false);
        }
        limits.entries -= 1;
        if member.name.ends_with(b"/") || member.plain == 0 {
            continue;
        }
        whole &= look(&member, reader, limits, visit)?;
    }
    Ok(whole)
}

fn look(
    member: &Member,
    reader: &mut Reader<'_>,
    limits: &mut ArchiveLimits,
    visit: &mut Visit<'_>,
) -> io::Result<bool> {
    let mut own = [0; 30];
    let came = reader.fill(member.offset, &mut own)?;
    let own = &own[..came];
    let (Some(name), Some(extra)) = (le16(own, 26), le16(own, 28)) else { return Ok(false) };
    if !own.starts_with(b"PK\x03\x04") || member.encrypted {
        return Ok(false);
    }
    let start = member.offset.saturating_add(30 + u64::from(name) + u64::from(extra));
    let name = member.name.rsplit(|&b| b == b'/' || b == b'\\').next().unwrap_or_default();
    match member.method {
        0 => {
            let len = member.packed.min(reader.size().saturating_sub(start));
            let before = reader.read;
            let bound = len.min(limits.bytes);
            visit(name, &mut Stretch { reader, offset: start, len: bound }, limits)?;
            limits.bytes = limits.bytes.saturating_sub(reader.read - before);
            Ok(bound == len)
        }
        8 => {
            let left = member.packed.min(reader.size().saturating_sub(start));
            let mut inner = Inflated::new(reader, start, left, member.plain, limits.bytes);
            visit(name, &mut inner, limits)?;
            limits.bytes = limits.bytes.saturating_sub(inner.unpacked());
            Ok(!inner.is_cut())
        }
        // Other methods are rare in what clinics have.
        _ => Ok(false),
    }
}
