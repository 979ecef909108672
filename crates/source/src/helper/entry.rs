//! Entries as a helper tells them: what a walk yields, and what a file is.

use drover_types::{
    Attributes, Entry, Evidence, Kind,
    codec::{
        DecodeError, Decoder, Encoder,
        entry::{self, decode_attributes, decode_time, encode_attributes, encode_time, kind_code},
    },
};

use super::message::{flag, path};
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
    encode_attributes(attributes, e);
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
    let attributes = decode_attributes(d)?;
    let (device, inode, links) = (d.varint()?, d.varint()?, d.varint32()?);
    let (size, allocated) = (d.varint()?, d.varint()?);
    let ctime = if flag(d)? { Some(decode_time(d)?) } else { None };
    let racy = flag(d)?;
    let evidence = Evidence { device, inode, links, size, allocated, ctime, racy };
    Ok(Stat { kind, attributes, evidence })
}

pub(super) fn encode_kind(kind: &Kind, e: &mut Encoder) {
    e.u8(kind_code(kind));
    entry::encode_kind(kind, e);
}

pub(super) fn decode_kind(d: &mut Decoder<'_>) -> Result<Kind, DecodeError> {
    entry::decode_kind(d.u8()?, d)
}
