//! Parts of an entry as bytes. What is stored of it and what a helper on a server says of it have the
//! same encoding and the same bounds: what could not be read back is not taken in the first place.

use std::sync::Arc;

use super::{DecodeError, Decoder, Encoder};
use crate::{Attributes, Kind, RelativePath, Timestamp, Xattr, limits};

/// Appends a time.
pub fn encode_time(time: Timestamp, e: &mut Encoder) {
    e.signed(time.seconds);
    e.varint(time.nanos.into());
}

/// Reads a time.
pub fn decode_time(d: &mut Decoder<'_>) -> Result<Timestamp, DecodeError> {
    Timestamp::new(d.signed()?, d.varint32()?)
        .ok_or(DecodeError::Invalid("nanoseconds are more than a second"))
}

/// Checks a path from outside.
pub fn decode_path(bytes: &[u8]) -> Result<RelativePath, DecodeError> {
    RelativePath::new(bytes).map_err(|_| DecodeError::Invalid("a path is not allowed"))
}

/// Appends mode, owners, mtime, flags and extended attributes.
pub fn encode_attributes(a: &Attributes, e: &mut Encoder) {
    e.varint(a.mode.into());
    e.varint(a.uid.into());
    e.varint(a.gid.into());
    e.bytes(a.user.as_deref().unwrap_or("").as_bytes());
    e.bytes(a.group.as_deref().unwrap_or("").as_bytes());
    encode_time(a.mtime, e);
    e.varint(a.flags.into());
    e.varint(a.xattrs.len() as u64);
    for xattr in &a.xattrs {
        e.bytes(&xattr.name);
        e.bytes(&xattr.value);
    }
}

/// Reads what [`encode_attributes`] wrote.
pub fn decode_attributes(d: &mut Decoder<'_>) -> Result<Attributes, DecodeError> {
    let mode = d.varint32()?;
    if mode > 0o7777 {
        return Err(DecodeError::Invalid("a mode has unknown bits"));
    }
    let (uid, gid) = (d.varint32()?, d.varint32()?);
    let (user, group) = (decode_owner(d)?, decode_owner(d)?);
    let mtime = decode_time(d)?;
    let flags = d.varint32()?;
    let xattrs = decode_xattrs(d)?;
    Ok(Attributes { mode, uid, gid, user, group, mtime, flags, xattrs })
}

/// The byte that says what an entry is.
pub fn kind_code(kind: &Kind) -> u8 {
    match kind {
        Kind::Directory => 0,
        Kind::File => 1,
        Kind::Symlink { .. } => 2,
        Kind::Fifo => 3,
        Kind::Socket => 4,
        Kind::CharDevice { .. } => 5,
        Kind::BlockDevice { .. } => 6,
    }
}

/// Appends what [`kind_code`] does not say: a link's target, a device's numbers.
pub fn encode_kind(kind: &Kind, e: &mut Encoder) {
    match kind {
        Kind::Symlink { target } => e.bytes(target),
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            e.varint((*major).into());
            e.varint((*minor).into());
        }
        Kind::Directory | Kind::File | Kind::Fifo | Kind::Socket => {}
    }
}

/// Reads what [`encode_kind`] wrote for a kind of this code.
pub fn decode_kind(code: u8, d: &mut Decoder<'_>) -> Result<Kind, DecodeError> {
    Ok(match code {
        0 => Kind::Directory,
        1 => Kind::File,
        2 => Kind::Symlink { target: d.bytes(limits::SYMLINK)?.into() },
        3 => Kind::Fifo,
        4 => Kind::Socket,
        5 => Kind::CharDevice { major: d.varint32()?, minor: d.varint32()? },
        6 => Kind::BlockDevice { major: d.varint32()?, minor: d.varint32()? },
        _ => return Err(DecodeError::Invalid("unknown kind of entry")),
    })
}

fn decode_owner(d: &mut Decoder<'_>) -> Result<Option<Arc<str>>, DecodeError> {
    let bytes = d.bytes(limits::OWNER_NAME)?;
    let name = std::str::from_utf8(bytes)
        .map_err(|_| DecodeError::Invalid("the name of an owner is not UTF-8"))?;
    Ok((!name.is_empty()).then(|| name.into()))
}

fn decode_xattrs(d: &mut Decoder<'_>) -> Result<Vec<Xattr>, DecodeError> {
    let count = d.length(limits::XATTRS / 2)?;
    let mut xattrs: Vec<Xattr> = Vec::new();
    let mut room = limits::XATTRS;
    for _ in 0..count {
        let name = d.bytes(room)?;
        let value = d.bytes(room - name.len())?;
        room -= name.len() + value.len();
        if name.is_empty() || name.contains(&0) {
            return Err(DecodeError::Invalid("the name of an extended attribute is not allowed"));
        }
        if xattrs.last().is_some_and(|last| *last.name >= *name) {
            return Err(DecodeError::Invalid("extended attributes are not in order"));
        }
        xattrs.push(Xattr { name: name.into(), value: value.into() });
    }
    Ok(xattrs)
}
