//! HL7 v2: who sends what to whom, from the `MSH` segments of files and batches.
//!
//! Messages may stand one after the other, in batches (`FHS`, `BHS`), framed for MLLP (0x0b before, 0x1c
//! after) or behind what a log writes before them; segments may end with `\r`, `\n` or both. Only
//! `MSH` segments are read; their values name systems, and the control id is kept as a hash.

use std::collections::BTreeMap;

use crate::{date::Date, key::HashKey};

/// Bytes of a segment that are looked at: what an `MSH` holds up to its eighteenth field.
const SEGMENT: usize = 1024;
/// Interfaces that are told apart in one file.
const INTERFACES: usize = 256;
/// Control ids that are kept of one file.
const CONTROL_IDS: usize = 1 << 16;
/// Characters of a name that are kept.
const LONGEST: usize = 64;

/// Who sends what to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceKey {
    /// MSH-3, sending application.
    pub sender: String,
    /// MSH-4, sending facility.
    pub sender_facility: String,
    /// MSH-5, receiving application.
    pub receiver: String,
    /// MSH-6, receiving facility.
    pub receiver_facility: String,
    /// MSH-9, the type and its event: `ORU^R01`.
    pub message_type: String,
    /// MSH-12.
    pub version: String,
}

/// What was sent that way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages.
    pub messages: u64,
    /// Bytes of them, with what follows each up to the next.
    pub bytes: u64,
    /// The first and last day in MSH-7, where it is one.
    pub seen: Option<(Date, Date)>,
    /// Character sets in MSH-18, at most 8.
    pub charsets: Vec<String>,
    /// Keyed hashes of sender and control id (MSH-10), at most 65,536 of a file.
    pub(crate) control_ids: Vec<u64>,
    /// Messages without a control id.
    pub without_id: u64,
    /// Messages whose control id was not kept, because there were too many.
    pub ids_not_kept: u64,
}

/// The messages of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// By who sends what to whom.
    pub interfaces: BTreeMap<InterfaceKey, Traffic>,
    /// Messages of interfaces beyond the 256 that are told apart.
    pub others: u64,
    /// `MSH` segments that could not be read.
    pub malformed: u64,
    /// Whether there were batch headers.
    pub batch: bool,
}

impl Messages {
    /// All messages that were read.
    pub fn total(&self) -> u64 {
        self.interfaces.values().map(|traffic| traffic.messages).sum::<u64>() + self.others
    }
}

/// Reads messages as they come in, piece by piece.
#[derive(Debug, Default)]
pub(crate) struct MessageReader {
    line: Vec<u8>,
    /// Bytes of the line beyond what is kept of it.
    messages: Messages,
    current: Option<InterfaceKey>,
    /// The fields of the last header that say whose it was.
    source: Vec<u8>,
    pending: u64,
    kept: usize,
}

/// A name without control characters, at most 64 characters, of its first component.
fn name(field: &[u8], component: u8) -> String {
    let first = field.split(|&b| b == component).next().unwrap_or_default();
    text(first)
}

fn text(bytes: &[u8]) -> String {
    let bytes = bytes.trim_ascii();
    // Mostly there is nothing to take out.
    if bytes.len() <= LONGEST && bytes.iter().all(|b| (b' '..=b'~').contains(b)) {
        return bytes.iter().map(|&b| char::from(b)).collect();
    }
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST * 4)]);
    let kept: String = text.chars().filter(|c| !c.is_control()).collect();
    kept.trim().chars().take(LONGEST).collect()
}

impl MessageReader {
    /// Takes what comes next.
    pub fn feed(&mut self, mut piece: &[u8], key: &HashKey) {
        while !piece.is_empty() {
            let end = memchr::memchr2(b'\r', b'\n', piece);
            let part = &piece[..end.unwrap_or(piece.len())];
            let room = SEGMENT - self.line.len().min(SEGMENT);
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            self.pending += part.len() as u64;
            if end.is_some() {
                self.pending += 1;
                self.segment(key);
            }
            piece = &piece[end.map_or(piece.len(), |at| at + 1)..];
        }
    }

    /// Nothing comes any more.
    pub fn finish(mut self, key: &HashKey) -> Messages {
        self.segment(key);
        self.account();
        self.messages
    }

    /// Bytes since the last message began belong to it.
    fn account(&mut self) {
        if let Some(traffic) =
            self.current.as_ref().and_then(|key| self.messages.interfaces.get_mut(key))
        {
            traffic.bytes = traffic.bytes.saturating_add(self.pending);
        }
        self.pending = 0;
    }

    fn segment(&mut self, key: &HashKey) {
        let line = std::mem::take(&mut self.line);
        let start = line.iter().take_while(|b| matches!(b, 0x0b | 0x1c | b' ' | b'\t')).count();
        let segment = &line[start..];
        match segment.get(..3) {
            Some(b"MSH") => {
                // Its own bytes have been counted for the one before.
                let own = (line.len() as u64 + 1).min(self.pending);
                self.pending -= own;
                self.account();
                self.pending = own;
                self.header(segment, key);
            }
            Some(b"FHS" | b"BHS") => self.messages.batch = true,
            _ => {}
        }
        self.line = line;
        self.line.clear();
    }

    fn header(&mut self, segment: &[u8], key: &HashKey) {
        let last = self.current.take();
        let (Some(&separator), Some(&component)) = (segment.get(3), segment.get(4)) else {
            self.messages.malformed += 1;
            return;
        };
        if !separator.is_ascii_punctuation() || !component.is_ascii_punctuation() {
            self.messages.malformed += 1;
            return;
        }
        // The separator itself is MSH-1: the first field behind it is MSH-2.
        let mut fields = [&[][..]; 17];
        for (to, from) in fields.iter_mut().zip(segment[4..].split(|&b| b == separator)) {
            *to = from;
        }
        let field = |number: usize| fields[number - 2];
        let whose = [field(3), field(4), field(5), field(6), field(9), field(12)];
        // Most messages are of the interface that the one before was of.
        let same = || {
            let known = self.source.split(|b| *b == b'\n');
            known.eq(whose.into_iter().chain([&[component][..]]))
        };
        let found = match last.filter(|_| same()) {
            Some(last) => last,
            None => {
                let mut types = field(9).split(|&b| b == component).take(2).map(text);
                let kind = types.next().unwrap_or_default();
                let event = types.next().unwrap_or_default();
                if kind.is_empty() {
                    self.messages.malformed += 1;
                    return;
                }
                self.source =
                    whose.into_iter().chain([&[component][..]]).collect::<Vec<_>>().join(&b'\n');
                InterfaceKey {
                    sender: name(field(3), component),
                    sender_facility: name(field(4), component),
                    receiver: name(field(5), component),
                    receiver_facility: name(field(6), component),
                    message_type: if event.is_empty() { kind } else { format!("{kind}^{event}") },
                    version: name(field(12), component),
                }
            }
        };
        let interfaces = &mut self.messages.interfaces;
        if !interfaces.contains_key(&found) {
            if interfaces.len() >= INTERFACES {
                self.messages.others += 1;
                return;
            }
            interfaces.insert(found.clone(), Traffic::default());
        }
        let Some(traffic) = interfaces.get_mut(&found) else { return };
        traffic.messages += 1;
        let day = Date::leading(field(7)).map(|day| (day, day));
        widen(&mut traffic.seen, day);
        let charset = name(field(18), b'~');
        if !charset.is_empty() && traffic.charsets.len() < 8 && !traffic.charsets.contains(&charset)
        {
            traffic.charsets.push(charset);
            traffic.charsets.sort();
        }
        let id = field(10).trim_ascii();
        if id.is_empty() {
            traffic.without_id += 1;
        } else if self.kept < CONTROL_IDS {
            self.kept += 1;
            let sender = (found.sender.as_bytes(), found.sender_facility.as_bytes());
            traffic.control_ids.push(key.hash(&[b"control id", sender.0, sender.1, id]));
        } else {
            traffic.ids_not_kept += 1;
        }
        self.current = Some(found);
    }
}

/// The span of days that holds both.
pub(crate) fn widen(seen: &mut Option<(Date, Date)>, other: Option<(Date, Date)>) {
    *seen = match (*seen, other) {
        (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
        (one, other) => one.or(other),
    };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], piece: usize) -> Messages {
        let key = HashKey::new([7; 32]);
        let mut reader = MessageReader::default();
        bytes.chunks(piece).for_each(|piece| reader.feed(piece, &key));
        reader.finish(&key)
    }

    const ORU: &str = "MSH|^~\\&|LAB^1.2.3^ISO|MERCY|EHR|CLINIC|20240214101500||ORU^R01^ORU_R01|77|P|2.5.1||||||UNICODE UTF-8\rPID|1||x\rOBX|1\r";
    const A40: &str = "MSH|^~\\&|ADT|MERCY|EHR|CLINIC|20240301||ADT^A40|78|P|2.3\rMRG|1\r";

    #[test]
    fn files_batches_frames_and_any_line_end_say_the_same() {
        let plain = format!("{ORU}{A40}{ORU}");
        let expected = read(plain.as_bytes(), 4096);
        assert_eq!(expected.total(), 3);
        let (key, traffic) =
            expected.interfaces.iter().find(|(k, _)| k.message_type == "ORU^R01").unwrap();
        assert_eq!((key.sender.as_str(), key.sender_facility.as_str()), ("LAB", "MERCY"));
        assert_eq!((key.receiver.as_str(), key.version.as_str()), ("EHR", "2.5.1"));
        assert_eq!((traffic.messages, traffic.bytes), (2, 2 * ORU.len() as u64));
        assert_eq!(traffic.charsets, ["UNICODE UTF-8"]);
        assert_eq!(traffic.control_ids[0], traffic.control_ids[1]);
        let batch = format!("FHS|^~\\&|LAB\rBHS|^~\\&|LAB\r{plain}BTS|3\rFTS|1\r");
        let framed: String = [ORU, A40, ORU].iter().map(|m| format!("\x0b{m}\x1c\r")).collect();
        for other in [batch, framed, plain.replace('\r', "\n"), plain.replace('\r', "\r\n")] {
            let messages = read(other.as_bytes(), 4096);
            let counts = |m: &Messages| {
                m.interfaces.iter().map(|(k, t)| (k.clone(), t.messages)).collect::<Vec<_>>()
            };
            assert_eq!(counts(&messages), counts(&expected));
        }
    }

    #[test]
    fn other_separators_and_broken_headers() {
        let messages =
            read(b"MSH#*~\\&#A#B#C#D#20240101##ADT*A01#1#P#2.4\rMSH|^~\\&|A\rMSH\rMSHABC\r", 4096);
        assert_eq!((messages.total(), messages.malformed), (1, 3));
        assert_eq!(messages.interfaces.keys().next().unwrap().message_type, "ADT^A01");
    }

    proptest! {
        #[test]
        fn pieces_change_nothing(text in "(MSH\\|\\^~|\\||A|[\r\n\x0b]|\\PC){0,200}", piece in 1usize..50) {
            prop_assert_eq!(read(text.as_bytes(), piece), read(text.as_bytes(), 1 << 20));
        }
    }
}
