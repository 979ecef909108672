//! Entries as a helper tells them: what a walk yields, and what a file is.

use std::sync::Arc;

use drover_types::{
    Attributes, Entry, Evidence, Kind, Timestamp,
    codec::{DecodeError, Decoder, Encoder},
    limits,
};

use super::message::{decode_xattrs, encode_xattrs, flag, path, words};
use crate::Stat;

pub(super) fn encode_entry(entry: &Entry, e: &mut Encoder) {
    e.bytes(entry.path.as_bytes());
    encode(&entry.kind, &entry.attributes, &entry.evidence, e);
}

pub(super) fn decode_entry(d: &mut Decoder<'_>) -> Result<Entry, DecodeError> {
    let path = path(d)?;
    Ok(decode_stat(d)?.into_entry(path))
}

pub(super) fn encode_stat(stat: &Stat, e: &mut Encoder) {
    encode(&stat.kind, &stat.attributes, &stat.evidence, e);
}

fn encode(kind: &Kind, attributes: &Attributes, evidence: &Evidence, e: &mut Encoder) {
    encode_kind(kind, e);
    e.varint(attributes.mode.into());
    e.varint(attributes.uid.into());
    e.varint(attributes.gid.into());
    e.bytes(attributes.user.as_deref().unwrap_or("").as_bytes());
    e.bytes(attributes.group.as_deref().unwrap_or("").as_bytes());
    encode_time(attributes.mtime, e);
    e.varint(attributes.flags.into());
    encode_xattrs(&attributes.xattrs, e);
    e.varint(evidence.device);
    e.varint(evidence.inode);
    e.varint(evidence.links.into());
    e.varint(evidence.size);
    e.varint(evidence.allocated);
    e.u8(u8::from(evidence.ctime.is_some()));
    if let Some(ctime) = evidence.ctime {
        encode_time(ctime, e);
    }
    e.u8(u8::from(evidence.racy));
}

pub(super) fn decode_stat(d: &mut Decoder<'_>) -> Result<Stat, DecodeError> {
    let kind = decode_kind(d)?;
    let mode = d.varint32()?;
    if mode > 0o7777 {
        return Err(DecodeError::Invalid("a mode that files do not have"));
    }
    let (uid, gid) = (d.varint32()?, d.varint32()?);
    let (user, group) = (owner(d)?, owner(d)?);
    let mtime = decode_time(d)?;
    let flags = d.varint32()?;
    let xattrs = decode_xattrs(d)?;
    let attributes = Attributes { mode, uid, gid, user, group, mtime, flags, xattrs };
    let (device, inode, links) = (d.varint()?, d.varint()?, d.varint32()?);
    let (size, allocated) = (d.varint()?, d.varint()?);
    let ctime = if flag(d)? { Some(decode_time(d)?) } else { None };
    let racy = flag(d)?;
    let evidence = Evidence { device, inode, links, size, allocated, ctime, racy };
    Ok(Stat { kind, attributes, evidence })
}

fn owner(d: &mut Decoder<'_>) -> Result<Option<Arc<str>>, DecodeError> {
    let name = words(d, limits::OWNER_NAME)?;
    Ok((!name.is_empty()).then(|| name.into()))
}

pub(super) fn encode_kind(kind: &Kind, e: &mut Encoder) {
    let (code, numbers) = match kind {
        Kind::Directory => (0, None),
        Kind::File => (1, None),
        Kind::Symlink { .. } => (2, None),
        Kind::Fifo => (3, None),
        Kind::Socket => (4, None),
        Kind::CharDevice { major, minor } => (5, Some((*major, *minor))),
        Kind::BlockDevice { major, minor } => (6, Some((*major, *minor))),
    };
    e.u8(code);
    if let Kind::Symlink { target } = kind {
        e.bytes(target);
    }
    if let Some((major, minor)) = numbers {
        e.varint(major.into());
        e.varint(minor.into());
    }
}

pub(super) fn decode_kind(d: &mut Decoder<'_>) -> Result<Kind, DecodeError> {
    Ok(match d.u8()? {
        0 => Kind::Directory,
        1 => Kind::File,
        2 => Kind::Symlink { target: d.bytes(limits::SYMLINK)?.into() },
        3 => Kind::Fifo,
        4 => Kind::Socket,
        5 => Kind::CharDevice { major: d.varint32()?, minor: d.varint32()? },
        6 => Kind::BlockDevice { major: d.varint32()?, minor: d.varint32()? },
        _ => return Err(DecodeError::Invalid("no such sort of entry")),
    })
}

fn encode_time(time: Timestamp, e: &mut Encoder) {
    e.signed(time.seconds);
    e.varint(time.nanos.into());
}

fn decode_time(d: &mut Decoder<'_>) -> Result<Timestamp, DecodeError> {
    let (seconds, nanos) = (d.signed()?, d.varint32()?);
    Timestamp::new(seconds, nanos).ok_or(DecodeError::Invalid("a fraction of over a second"))
}
