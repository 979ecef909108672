//! What is said between a helper and who asks it.
//!
//! Both sides are of one version of one program, so that the messages are no format: a helper of
//! another version is not spoken to. All the same, what a server sends is checked like everything that
//! comes from outside.
//!
//! A message is a length (four bytes, little-endian), a byte that says what it is, and its fields in
//! the encoding of all stored structures. Answers come in the order of the questions.

use std::{
    io::{self, Read, Write},
    ops::Range,
};

use drover_types::{
    Attributes, Exception, ExceptionKind, FileHash, Kind, RelativePath,
    codec::{
        DecodeError, Decoder, Encoder,
        entry::{decode_attributes, decode_path, encode_attributes},
    },
    limits,
};

use super::entry::{
    decode_entry, decode_kind, decode_stat, encode_entry, encode_kind, encode_stat,
};
use crate::{
    Scope, SourceDescription, Stat, WalkEvent,
    taker::{Cut, Cutter, PARTS, PARTS_BYTES, Taken},
};

/// The longest message: a chunk, or the attributes of an entry, and what is said about it.
const LONGEST: usize = limits::CHUNK + 2 * limits::PATH + 2 * limits::XATTRS;
/// The most chunks that are told at a time.
const CUTS: usize = 1 << 16;
/// The most events of a walk in one message.
pub const EVENTS: usize = 512;
/// The bytes that say that an answer is content.
const WHOLE: u8 = 4;
const BYTES: u8 = 9;
/// The longest that a helper says in words.
const WORDS: usize = 64 << 10;

/// What a helper is asked.
#[derive(Clone, Debug)]
pub enum Question {
    /// Begin with this root: [`Answer::Ready`] or [`Answer::Failed`].
    Root(Vec<u8>),
    /// Walk the tree: [`Answer::Events`] until [`Answer::End`], or [`Answer::Failed`]. Nothing else
    /// is asked after it.
    Walk {
        /// As in [`crate::WalkOptions`].
        threads: u64,
        /// As in [`crate::WalkOptions`].
        one_file_system: bool,
        /// As in [`crate::WalkOptions`].
        buffer: u64,
    },
    /// How files are cut that are taken from now on; no answer.
    Cutter(Cutter),
    /// A file: its pieces, at last [`Answer::Taken`] or [`Answer::Refused`].
    Take(RelativePath),
    /// Which chunks of the last [`Answer::Cuts`] are wanted: as many [`Answer::Bytes`].
    Want(Vec<bool>),
    /// What the walk leaves out of an entry: [`Answer::Rest`] or [`Answer::Refused`].
    Complete(RelativePath, Kind),
    /// Open a file, and close the one before: [`Answer::Stat`] or [`Answer::Refused`].
    Open(RelativePath),
    /// What the open file is now: [`Answer::Stat`] or [`Answer::Refused`].
    Stat,
    /// Bytes of the open file: [`Answer::Bytes`] or [`Answer::Refused`].
    Read {
        /// From the beginning of the file.
        offset: u64,
        /// At most so many.
        len: u64,
    },
    /// The next run of data in the open file: [`Answer::Data`] or [`Answer::Refused`].
    NextData(u64),
    /// Extended attributes and flags of the open file: [`Answer::Rest`] or [`Answer::Refused`].
    Rest,
    /// Places of a file: [`Answer::Parts`] or [`Answer::Refused`].
    Parts(RelativePath, Vec<Range<u64>>),
}

/// What a helper answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The source is open.
    Ready(SourceDescription),
    /// It cannot be used at all, in words; `true` where what was asked for is not there.
    Failed(RootError, String),
    /// Events of a walk.
    Events(Vec<WalkEvent>),
    /// The end of a walk.
    End,
    /// All of a small file.
    Whole(Vec<u8>),
    /// A hole of so many bytes.
    Hole(u64),
    /// Chunks.
    Cuts(Vec<Cut>),
    /// The file changed and begins again.
    Again,
    /// The end of a file.
    Taken(Box<Taken>),
    /// Bytes that were asked for.
    Bytes(Vec<u8>),
    /// What the walk left out: a link's target, extended attributes, flags.
    Rest {
        /// With a link's target.
        kind: Kind,
        /// Only extended attributes and flags count.
        attributes: Attributes,
    },
    /// What the open file is.
    Stat(Stat),
    /// A run of data, or none.
    Data(Option<Range<u64>>),
    /// What is at the places that were asked for, shorter where the file ends.
    Parts(Vec<Vec<u8>>),
    /// It concerns one entry.
    Refused(ExceptionKind, String),
}

/// Why a root cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RootError {
    /// It is not there.
    NotFound,
    /// It is no directory.
    NotADirectory,
    /// It may not be listed.
    Denied,
    /// Something else.
    Other,
}

impl Question {
    /// Writes it as a message.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut e = Encoder::new();
        match self {
            Self::Root(root) => {
                e.u8(0);
                e.bytes(root);
            }
            Self::Walk { threads, one_file_system, buffer } => {
                e.u8(1);
                e.varint(*threads);
                e.u8(u8::from(*one_file_system));
                e.varint(*buffer);
            }
            Self::Cutter(Cutter { sizes, gear }) => {
                e.u8(2);
                sizes.iter().for_each(|size| e.u32(*size));
                gear.iter().for_each(|value| e.u64(*value));
            }
            Self::Take(path) => {
                e.u8(3);
                e.bytes(path.as_bytes());
            }
            Self::Want(wanted) => {
                e.u8(4);
                e.varint(wanted.len() as u64);
                wanted.iter().for_each(|wanted| e.u8(u8::from(*wanted)));
            }
            Self::Complete(path, kind) => {
                e.u8(5);
                e.bytes(path.as_bytes());
                encode_kind(kind, &mut e);
            }
            Self::Open(path) => {
                e.u8(6);
                e.bytes(path.as_bytes());
            }
            Self::Stat => e.u8(7),
            Self::Read { offset, len } => {
                e.u8(8);
                e.varint(*offset);
                e.varint(*len);
            }
            Self::NextData(offset) => {
                e.u8(9);
                e.varint(*offset);
            }
            Self::Rest => e.u8(10),
            Self::Parts(path, parts) => {
                e.u8(11);
                e.bytes(path.as_bytes());
                e.varint(parts.len() as u64);
                for part in parts {
                    e.varint(part.start);
                    e.varint(part.end);
                }
            }
        }
        write_message(&e.finish(), to)
    }

    /// Reads the next one; `None` where nobody asks any more.
    pub fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        match read_message(from)? {
            Some(bytes) => Self::decode(&bytes).map(Some).map_err(nonsense),
            None => Ok(None),
        }
    }

    /// From the bytes of a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut d = Decoder::new(bytes);
        let question = match d.u8()? {
            0 => Self::Root(d.bytes(limits::PATH)?.to_vec()),
            1 => {
                let threads = d.varint()?;
                Self::Walk { threads, one_file_system: flag(&mut d)?, buffer: d.varint()? }
            }
            2 => {
                let sizes = [d.u32()?, d.u32()?, d.u32()?];
                let mut gear = Box::new([0; 256]);
                for value in gear.iter_mut() {
                    *value = d.u64()?;
                }
                Self::Cutter(Cutter { sizes, gear })
            }
            3 => Self::Take(path(&mut d)?),
            4 => {
                let count = d.length(CUTS)?;
                Self::Want((0..count).map(|_| flag(&mut d)).collect::<Result<_, _>>()?)
            }
            5 => Self::Complete(path(&mut d)?, decode_kind(&mut d)?),
            6 => Self::Open(path(&mut d)?),
            7 => Self::Stat,
            8 => Self::Read { offset: d.varint()?, len: d.varint()? },
            9 => Self::NextData(d.varint()?),
            10 => Self::Rest,
            11 => {
                let path = path(&mut d)?;
                let count = d.length(PARTS)?;
                let parts = (0..count).map(|_| range(&mut d)).collect::<Result<Vec<_>, _>>()?;
                let fits = |left: u64, part: &Range<u64>| left.checked_sub(part.end - part.start);
                if parts.iter().try_fold(PARTS_BYTES, fits).is_none() {
                    return Err(DecodeError::Invalid("more places than are told at a time"));
                }
                Self::Parts(path, parts)
            }
            _ => return Err(DecodeError::Invalid("no such question")),
        };
        d.end()?;
        Ok(question)
    }
}

impl Answer {
    /// An answer that concerns one entry.
    pub fn refused(exception: Exception) -> Self {
        let mut message = exception.message;
        message.truncate(message.floor_char_boundary(WORDS));
        Self::Refused(exception.kind, message)
    }

    /// The bytes of a message.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        match self {
            Self::Ready(description) => {
                e.u8(0);
                e.bytes(description.host.as_bytes());
                e.bytes(&description.root);
                e.bytes(description.user.as_bytes());
                e.u8(u8::from(description.privileged));
                e.varint(description.file_system);
            }
            Self::Failed(kind, message) => {
                e.u8(1);
                e.u8(*kind as u8);
                e.bytes(message.as_bytes());
            }
            Self::Events(events) => {
                e.u8(2);
                e.varint(events.len() as u64);
                events.iter().for_each(|event| encode_event(event, &mut e));
            }
            Self::End => e.u8(3),
            Self::Whole(bytes) => {
                e.u8(WHOLE);
                e.raw(bytes);
            }
            Self::Hole(len) => {
                e.u8(5);
                e.varint(*len);
            }
            Self::Cuts(cuts) => {
                e.u8(6);
                e.varint(cuts.len() as u64);
                for cut in cuts {
                    e.u32(cut.len);
                    e.raw(&cut.hash);
                }
            }
            Self::Again => e.u8(7),
            Self::Taken(taken) => {
                e.u8(8);
                e.varint(taken.size);
                e.u8(u8::from(taken.hash.is_some()));
                if let Some(hash) = &taken.hash {
                    e.raw(hash.as_bytes());
                }
                encode_stat(&taken.stat, &mut e);
            }
            Self::Bytes(bytes) => {
                e.u8(BYTES);
                e.raw(bytes);
            }
            Self::Rest { kind, attributes } => {
                e.u8(10);
                encode_kind(kind, &mut e);
                encode_attributes(attributes, &mut e);
            }
            Self::Stat(stat) => {
                e.u8(11);
                encode_stat(stat, &mut e);
            }
            Self::Data(run) => {
                e.u8(12);
                e.u8(u8::from(run.is_some()));
                if let Some(run) = run {
                    e.varint(run.start);
                    e.varint(run.end);
                }
            }
            Self::Refused(kind, message) => {
                e.u8(13);
                e.u8(*kind as u8);
                e.bytes(message.as_bytes());
            }
            Self::Parts(parts) => {
                e.u8(14);
                e.varint(parts.len() as u64);
                parts.iter().for_each(|part| e.bytes(part));
            }
        }
        e.finish()
    }

    /// Writes it as a message.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        write_message(&self.encode(), to)
    }

    /// Writes [`Answer::Whole`] of these bytes, which are not copied.
    pub fn write_whole(bytes: &[u8], to: &mut impl Write) -> io::Result<()> {
        write_tagged(WHOLE, bytes, to)
    }

    /// Writes [`Answer::Bytes`] of these bytes, which are not copied.
    pub fn write_bytes(bytes: &[u8], to: &mut impl Write) -> io::Result<()> {
        write_tagged(BYTES, bytes, to)
    }

    /// Reads the next one.
    pub fn read(from: &mut impl Read) -> io::Result<Self> {
        let bytes = read_message(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Self::decode(&bytes).map_err(nonsense)
    }

    /// From the bytes of a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut d = Decoder::new(bytes);
        let answer = match d.u8()? {
            0 => Self::Ready(SourceDescription {
                kind: "helper",
                host: words(&mut d, limits::NAME)?,
                root: d.bytes(limits::PATH)?.into(),
                user: words(&mut d, limits::NAME)?,
                privileged: flag(&mut d)?,
                file_system: d.varint()?,
                connection: String::new(),
            }),
            1 => {
                let kind = match d.u8()? {
                    0 => RootError::NotFound,
                    1 => RootError::NotADirectory,
                    2 => RootError::Denied,
                    3 => RootError::Other,
                    _ => return Err(DecodeError::Invalid("no such reason")),
                };
                Self::Failed(kind, words(&mut d, WORDS)?)
            }
            2 => {
                let count = d.length(EVENTS)?;
                Self::Events((0..count).map(|_| decode_event(&mut d)).collect::<Result<_, _>>()?)
            }
            3 => Self::End,
            WHOLE => Self::Whole(all(&mut d, limits::CHUNK)?),
            5 => Self::Hole(d.varint()?),
            6 => {
                let count = d.length(CUTS)?;
                let one = |d: &mut Decoder<'_>| Ok(Cut { len: d.u32()?, hash: d.array()? });
                let cuts: Vec<Cut> =
                    (0..count).map(|_| one(&mut d)).collect::<Result<_, DecodeError>>()?;
                if cuts.iter().any(|cut| cut.len == 0 || cut.len as usize > limits::CHUNK) {
                    return Err(DecodeError::Invalid("a chunk of no length that chunks have"));
                }
                Self::Cuts(cuts)
            }
            7 => Self::Again,
            8 => {
                let size = d.varint()?;
                let hash = if flag(&mut d)? { Some(FileHash(d.array()?)) } else { None };
                Self::Taken(Box::new(Taken { size, hash, stat: decode_stat(&mut d)? }))
            }
            BYTES => Self::Bytes(all(&mut d, limits::CHUNK)?),
            10 => {
                let kind = decode_kind(&mut d)?;
                Self::Rest { kind, attributes: decode_attributes(&mut d)? }
            }
            11 => Self::Stat(decode_stat(&mut d)?),
            12 => Self::Data(match flag(&mut d)? {
                true => Some(range(&mut d)?),
                false => None,
            }),
            13 => {
                let kind = ExceptionKind::from_code(d.u8()?);
                let kind = kind.ok_or(DecodeError::Invalid("no such exception"))?;
                Self::Refused(kind, words(&mut d, WORDS)?)
            }
            14 => {
                let count = d.length(PARTS)?;
                let part = |d: &mut Decoder<'_>| d.bytes(PARTS_BYTES as usize).map(<[u8]>::to_vec);
                Self::Parts((0..count).map(|_| part(&mut d)).collect::<Result<_, _>>()?)
            }
            _ => return Err(DecodeError::Invalid("no such answer")),
        };
        d.end()?;
        Ok(answer)
    }
}

fn encode_event(event: &WalkEvent, e: &mut Encoder) {
    match event {
        WalkEvent::Entry(entry) => {
            e.u8(0);
            encode_entry(entry, e);
        }
        WalkEvent::Problem { path, scope, exception } => {
            e.u8(1);
            e.bytes(path.as_bytes());
            e.u8(match scope {
                Scope::Entry => 0,
                Scope::Subtree => 1,
                Scope::Listing => 2,
            });
            e.u8(exception.kind as u8);
            e.bytes(exception.message.as_bytes());
        }
        // Rules are applied where the plan is.
        WalkEvent::Excluded { .. } => unreachable!("a helper filters nothing"),
    }
}

fn decode_event(d: &mut Decoder<'_>) -> Result<WalkEvent, DecodeError> {
    Ok(match d.u8()? {
        0 => WalkEvent::Entry(decode_entry(d)?),
        1 => {
            let path = path(d)?;
            let scope = match d.u8()? {
                0 => Scope::Entry,
                1 => Scope::Subtree,
                2 => Scope::Listing,
                _ => return Err(DecodeError::Invalid("no such scope")),
            };
            let kind = ExceptionKind::from_code(d.u8()?);
            let kind = kind.ok_or(DecodeError::Invalid("no such exception"))?;
            let message = words(d, WORDS)?;
            let exception = Exception { path: path.clone(), kind, message };
            WalkEvent::Problem { path, scope, exception }
        }
        _ => return Err(DecodeError::Invalid("no such event")),
    })
}

pub(super) fn path(d: &mut Decoder<'_>) -> Result<RelativePath, DecodeError> {
    decode_path(d.bytes(limits::PATH)?)
}

pub(super) fn flag(d: &mut Decoder<'_>) -> Result<bool, DecodeError> {
    match d.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Invalid("neither yes nor no")),
    }
}

fn range(d: &mut Decoder<'_>) -> Result<Range<u64>, DecodeError> {
    let (start, end) = (d.varint()?, d.varint()?);
    match start < end {
        true => Ok(start..end),
        false => Err(DecodeError::Invalid("a place of no length")),
    }
}

fn words(d: &mut Decoder<'_>, bound: usize) -> Result<String, DecodeError> {
    let words = str::from_utf8(d.bytes(bound)?);
    words.map(str::to_owned).map_err(|_| DecodeError::Invalid("words that are no text"))
}

fn all(d: &mut Decoder<'_>, bound: usize) -> Result<Vec<u8>, DecodeError> {
    let rest = d.rest();
    match rest.len() <= bound {
        true => d.raw(rest.len()).map(<[u8]>::to_vec),
        false => Err(DecodeError::TooLong { len: rest.len() as u64, bound: bound as u64 }),
    }
}

fn write_message(bytes: &[u8], to: &mut impl Write) -> io::Result<()> {
    let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    to.write_all(&len.to_le_bytes())?;
    to.write_all(bytes)
}

fn write_tagged(tag: u8, bytes: &[u8], to: &mut impl Write) -> io::Result<()> {
    let len = u32::try_from(bytes.len() + 1).map_err(io::Error::other)?;
    to.write_all(&len.to_le_bytes())?;
    to.write_all(&[tag])?;
    to.write_all(bytes)
}

/// `None` at the end, where no message has begun.
fn read_message(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut len = [0; 4];
    let mut got = 0;
    while got < len.len() {
        match from.read(&mut len[got..]) {
            Ok(0) if got == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let len = u32::from_le_bytes(len) as usize;
    if len > LONGEST {
        return Err(nonsense(DecodeError::TooLong { len: len as u64, bound: LONGEST as u64 }));
    }
    // What is named is not believed: memory grows with what comes.
    let mut bytes = Vec::with_capacity(len.min(64 << 10));
    from.take(len as u64).read_to_end(&mut bytes)?;
    match bytes.len() == len {
        true => Ok(Some(bytes)),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn nonsense(error: DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("what came is no message: {error}"))
}
