//! From elements to what an inventory keeps of them.

use std::io::{self, Read};

use super::{
    charset::Charset,
    parse::{
        EXPLICIT_LITTLE, Element, Stop, Syntax, Tag, UNDEFINED, element, is_vr, items, number,
    },
};
use crate::{content::Reader, date::Date, key::HashKey};

/// Sizes that the beginning of the file is read in, one after the other, until the header is whole.
const STEPS: [usize; 4] = [4 << 10, 32 << 10, 256 << 10, 1 << 20];
/// Contributing equipment and software versions that are kept of one file.
const SEVERAL: usize = 8;
/// Bytes of pixel data that two images are compared by.
const SAMPLE: usize = 4096;

/// What an archive's file does that a well-made one does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Oddity {
    /// The 128 bytes and `DICM` in front are missing.
    NoPreamble,
    /// No group 0002: the transfer syntax was guessed.
    NoMetaHeader,
    /// Explicit VR big endian, retired in 2006.
    BigEndian,
    /// The data set is deflated.
    Deflated,
    /// The data set is written in another syntax than the meta header announces.
    OtherSyntax,
    /// The file ends within its header, or before the pixels that it announces.
    Truncated,
    /// After some elements comes something that is none.
    Malformed,
    /// The pixel data begins beyond the 1 MiB that was read.
    LongHeader,
    /// `SpecificCharacterSet` names one that is not known.
    UnknownCharset,
}

impl Oddity {
    /// The word that JSON and people read.
    pub fn as_str(self) -> &'static str {
        match self {
            Oddity::NoPreamble => "no preamble",
            Oddity::NoMetaHeader => "no meta header",
            Oddity::BigEndian => "big endian",
            Oddity::Deflated => "deflated",
            Oddity::OtherSyntax => "another syntax than announced",
            Oddity::Truncated => "truncated",
            Oddity::Malformed => "malformed",
            Oddity::LongHeader => "header over 1 MiB",
            Oddity::UnknownCharset => "unknown character set",
        }
    }
}

/// The machine that made an object. Any field may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Equipment {
    /// (0008,0070)
    pub manufacturer: String,
    /// (0008,1090)
    pub model: String,
    /// (0018,1000)
    pub serial: String,
    /// (0008,1010)
    pub station: String,
    /// (0008,0080)
    pub institution: String,
    /// (0008,1040)
    pub department: String,
    /// (0018,1020), at most 8.
    pub software: Vec<String>,
    /// (0018,1200), the last of them.
    pub calibrated: Option<Date>,
}

/// What is kept of one object. No value that names a patient is in it: identifiers are hashes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DicomHeader {
    /// UID of the transfer syntax; empty where there is none.
    pub transfer_syntax: String,
    /// (0008,0016)
    pub sop_class: String,
    /// (0008,0060)
    pub modality: String,
    /// The machine that made it.
    pub equipment: Equipment,
    /// Machines that worked on it later or before (0018,A001), at most 8.
    pub contributing: Vec<Equipment>,
    /// Keyed hash of issuer and patient id, or of name and birth date where there is no id.
    pub patient: Option<u64>,
    /// Keyed hash of (0020,000D).
    pub study: Option<u64>,
    /// Keyed hash of (0020,000E).
    pub series: Option<u64>,
    /// Keyed hash of (0008,0018).
    pub instance: Option<u64>,
    /// (0008,0020), where it is a day.
    pub study_date: Option<Date>,
    /// The best known day it was made: of acquisition, content, series or study, in this order.
    pub made: Option<Date>,
    /// Whether it has pixels, as far as the header shows.
    pub has_pixels: bool,
    /// (0028,0008), 1 where it is missing.
    pub frames: u32,
    /// Keyed hash of 4 KiB from the middle of its pixel data, of their length and its geometry;
    /// `None` without pixels, or where the sample is of one value only and so says nothing.
    pub image: Option<u64>,
    /// Which values that identify the patient are in it.
    pub identifies: Identifies,
    /// (0028,0301) is `YES`: names may stand in the pixels themselves.
    pub burned_in: bool,
    /// What it does that a well-made file does not, in order.
    pub oddities: Vec<Oddity>,
}

/// Which identifying values of the patient a header holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identifies {
    /// (0010,0010)
    pub name: bool,
    /// (0010,0020)
    pub record_number: bool,
    /// (0010,0030)
    pub birth_date: bool,
    /// (0010,2154)
    pub phone: bool,
}

impl DicomHeader {
    /// Whether it has what makes it an object of a study.
    pub fn is_usable(&self) -> bool {
        self.instance.is_some() && self.study.is_some()
    }
}

/// Whether `head` begins like a DICOM file, with its preamble or without.
pub(crate) fn looks_like(head: &[u8]) -> bool {
    head.get(128..132) == Some(b"DICM") || bare_syntax(head).is_some()
}

/// The syntax of a data set that begins without preamble, where two elements in ascending order show
/// that it is one.
fn bare_syntax(head: &[u8]) -> Option<Syntax> {
    let big = match head.get(..4)? {
        [0x02 | 0x08, 0, low, high] if u16::from_le_bytes([*low, *high]) <= 0x0070 => false,
        [0, 0x08, high, low] if u16::from_be_bytes([*high, *low]) <= 0x0070 => true,
        _ => return None,
    };
    let syntax = Syntax { explicit: is_vr(head.get(4..6)?), big };
    if big && !syntax.explicit {
        return None;
    }
    let first = element(head, 0, syntax).ok()?;
    let next = first.end(head, syntax).ok().filter(|&end| end < 1024)?;
    // The second element may be of another syntax where the first ends the meta header.
    let second = element(head, next, syntax).ok()?;
    (first.length < 1024 && second.tag > first.tag && second.tag.0 <= 0x0020).then_some(syntax)
}

/// What one pass over the bytes gathered.
#[derive(Default)]
struct Gathered {
    header: DicomHeader,
    charset: Charset,
    identifiers: [Vec<u8>; 4],
    dates: [Option<Date>; 4],
    geometry: [u16; 2],
    /// Where pixel data begins in the data set, and its announced length.
    pixels: Option<(usize, u32)>,
    stop: Option<Stop>,
}

const PATIENT_ID: usize = 0;
const ISSUER: usize = 1;
const NAME: usize = 2;
const BIRTH: usize = 3;

/// Values of the standard are at most 64 characters; a longer one is somebody else's.
fn identifier(value: &[u8]) -> &[u8] {
    let value = &value[..value.len().min(256)];
    let end = value.iter().rposition(|b| !matches!(b, 0 | b' ')).map_or(0, |p| p + 1);
    value[..end].trim_ascii_start()
}

impl Gathered {
    /// Reads elements from `at` to the pixel data or the end of `data`.
    fn data_set(&mut self, data: &[u8], mut at: usize, mut syntax: Syntax, key: &HashKey) {
        let mut last: Tag = (0, 0);
        let mut first = true;
        loop {
            if at >= data.len() {
                self.stop = (at > data.len()).then_some(Stop::End);
                return;
            }
            let mut found = element(data, at, syntax);
            if std::mem::take(&mut first) && !fits(data, at, syntax) {
                // Announced one way and written another: take what the first element shows.
                let other = Syntax { explicit: !syntax.explicit, ..syntax };
                if fits(data, at, other) {
                    syntax = other;
                    self.header.oddities.push(Oddity::OtherSyntax);
                    found = element(data, at, syntax);
                }
            }
            let found = match found {
                Ok(found) => found,
                Err(stop) => return self.stop = Some(stop),
            };
            if found.tag == (0x7fe0, 0x0010) || matches!(found.tag, (0x7fe0, 0x0008 | 0x0009)) {
                self.header.has_pixels = true;
                self.pixels = Some((found.value, found.length));
                return;
            }
            if found.tag < last || found.tag.0 == 0xfffe {
                return self.stop = Some(Stop::Malformed);
            }
            last = found.tag;
            let end = match found.end(data, syntax) {
                Ok(end) => end,
                Err(stop) => return self.stop = Some(stop),
            };
            if found.tag == (0x0018, 0xa001) {
                self.contributing(data, &found, syntax);
            } else if found.length != UNDEFINED {
                match found.value(data) {
                    Some(value) => self.take(found.tag, value, syntax, key),
                    None => return self.stop = Some(Stop::End),
                }
            }
            at = end;
        }
    }

    fn take(&mut self, tag: Tag, value: &[u8], syntax: Syntax, key: &HashKey) {
        let header = &mut self.header;
        match tag {
            (0x0008, 0x0005) => {
                self.charset = Charset::new(value);
                if self.charset.unknown {
                    header.oddities.push(Oddity::UnknownCharset);
                }
            }
            (0x0008, 0x0016) => header.sop_class = uid(value),
            (0x0008, 0x0018) => header.instance = hashed(key, b"instance", value),
            (0x0008, 0x0020) => self.dates[3] = Date::leading(value.trim_ascii()),
            (0x0008, 0x0021) => self.dates[2] = Date::leading(value.trim_ascii()),
            (0x0008, 0x0022) => self.dates[0] = Date::leading(value.trim_ascii()),
            (0x0008, 0x0023) => self.dates[1] = Date::leading(value.trim_ascii()),
            (0x0008, 0x0060) => header.modality = code(value),
            (0x0010, 0x0020) => self.identifiers[PATIENT_ID] = identifier(value).to_vec(),
            (0x0010, 0x0021) => self.identifiers[ISSUER] = identifier(value).to_vec(),
            (0x0010, 0x0010) => self.identifiers[NAME] = identifier(value).to_vec(),
            (0x0010, 0x0030) => self.identifiers[BIRTH] = identifier(value).to_vec(),
            (0x0010, 0x2154) => header.identifies.phone = !identifier(value).is_empty(),
            (0x0020, 0x000d) => header.study = hashed(key, b"study", value),
            (0x0020, 0x000e) => header.series = hashed(key, b"series", value),
            (0x0028, 0x0008) => {
                let text = String::from_utf8_lossy(identifier(value));
                header.frames = text.trim().parse().unwrap_or(1);
            }
            (0x0028, 0x0010) => self.geometry[0] = number(value, syntax).unwrap_or(0),
            (0x0028, 0x0011) => self.geometry[1] = number(value, syntax).unwrap_or(0),
            (0x0028, 0x0301) => header.burned_in = identifier(value) == b"YES",
            _ => equipment(&mut header.equipment, tag, value, &self.charset),
        }
    }

    fn contributing(&mut self, data: &[u8], sequence: &Element, syntax: Syntax) {
        let inner = sequence.inner(syntax);
        for (from, to) in items(data, sequence, syntax, SEVERAL) {
            let mut machine = Equipment::default();
            let (item, mut at) = (&data[..to.min(data.len())], from);
            while let Ok(found) = element(item, at, inner) {
                let Ok(end) = found.end(item, inner) else { break };
                if let Some(value) = found.value(item).filter(|_| found.length != UNDEFINED) {
                    equipment(&mut machine, found.tag, value, &self.charset);
                }
                at = end;
            }
            if machine != Equipment::default() {
                self.header.contributing.push(machine);
            }
        }
    }

    fn finish(mut self, key: &HashKey) -> DicomHeader {
        let header = &mut self.header;
        header.study_date = self.dates[3];
        header.made = self.dates.into_iter().flatten().next();
        header.frames = header.frames.max(1);
        header.identifies.name = !self.identifiers[NAME].is_empty();
        header.identifies.record_number = !self.identifiers[PATIENT_ID].is_empty();
        header.identifies.birth_date = Date::leading(&self.identifiers[BIRTH]).is_some();
        let [id, issuer, name, birth] = &self.identifiers;
        header.patient = if !id.is_empty() {
            Some(key.hash(&[b"patient", issuer, id]))
        } else if !name.is_empty() {
            Some(key.hash(&[b"patient by name", name, birth]))
        } else {
            None
        };
        header.oddities.sort_unstable();
        header.oddities.dedup();
        self.header
    }
}

/// Whether an element that begins a data set stands at `at` in this syntax.
fn fits(data: &[u8], at: usize, syntax: Syntax) -> bool {
    let Ok(found) = element(data, at, syntax) else { return false };
    // Two capitals would be a length beyond all first elements.
    if !syntax.explicit && data.get(at + 4..at + 6).is_some_and(is_vr) {
        return false;
    }
    matches!(found.tag.0, 0x0008..=0x0020) && (found.length == UNDEFINED || found.length < 1 << 20)
}

fn equipment(machine: &mut Equipment, tag: Tag, value: &[u8], charset: &Charset) {
    match tag {
        (0x0008, 0x0070) => machine.manufacturer = charset.text(value),
        (0x0008, 0x0080) => machine.institution = charset.text(value),
        (0x0008, 0x1010) => machine.station = charset.text(value),
        (0x0008, 0x1040) => machine.department = charset.text(value),
        (0x0008, 0x1090) => machine.model = charset.text(value),
        (0x0018, 0x1000) => machine.serial = charset.text(value),
        (0x0018, 0x1020) => {
            let versions = value.split(|&b| b == b'\\').map(|version| charset.text(version));
            machine.software =
                versions.filter(|version| !version.is_empty()).take(SEVERAL).collect();
        }
        (0x0018, 0x1200) => {
            let days =
                value.split(|&b| b == b'\\').filter_map(|day| Date::leading(day.trim_ascii()));
            machine.calibrated = days.max();
        }
        _ => {}
    }
}

fn uid(value: &[u8]) -> String {
    let value = identifier(value);
    let fits = value.len() <= 64 && value.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    if fits { String::from_utf8_lossy(value).into_owned() } else { String::new() }
}

/// A code string: capitals, digits, blanks, underscores; at most 16.
fn code(value: &[u8]) -> String {
    let value = identifier(value);
    let first = value.split(|&b| b == b'\\').next().unwrap_or_default();
    let letters = first.iter().filter(|b| b.is_ascii_alphanumeric() || **b == b'_' || **b == b' ');
    letters
        .take(16)
        .map(|b| char::from(b.to_ascii_uppercase()))
        .collect::<String>()
        .trim()
        .to_owned()
}

fn hashed(key: &HashKey, what: &[u8], value: &[u8]) -> Option<u64> {
    let value = identifier(value);
    (!value.is_empty()).then(|| key.hash(&[what, value]))
}

/// Where the data set begins and how it is written.
pub(super) struct Start {
    pub at: usize,
    pub syntax: Syntax,
    deflated: bool,
}

/// The meta header at `at`, in explicit little endian whatever follows it.
pub(super) fn meta(data: &[u8], mut at: usize, header: &mut DicomHeader) -> Result<Start, Stop> {
    loop {
        let found = match element(data, at, EXPLICIT_LITTLE) {
            Ok(found) if found.tag.0 == 0x0002 => found,
            Err(Stop::End) => return Err(Stop::End),
            _ => break,
        };
        let end = found.end(data, EXPLICIT_LITTLE)?;
        let value = found.value(data).ok_or(Stop::End)?;
        if found.tag == (0x0002, 0x0002) {
            header.sop_class = uid(value);
        }
        if found.tag == (0x0002, 0x0010) {
            header.transfer_syntax = uid(value);
        }
        at = end;
    }
    let (syntax, deflated) = match header.transfer_syntax.as_str() {
        "1.2.840.10008.1.2" => (Syntax { explicit: false, big: false }, false),
        "1.2.840.10008.1.2.2" => (Syntax { explicit: true, big: true }, false),
        "1.2.840.10008.1.2.1.99" | "1.2.840.10008.1.2.4.95" => (EXPLICIT_LITTLE, true),
        "" => (guess(data, at), false),
        _ => (EXPLICIT_LITTLE, false),
    };
    if header.transfer_syntax.is_empty() {
        header.oddities.push(Oddity::NoMetaHeader);
    }
    Ok(Start { at, syntax, deflated })
}

/// The syntax of a data set that nothing announces.
fn guess(data: &[u8], at: usize) -> Syntax {
    let explicit = data.get(at + 4..at + 6).is_some_and(is_vr);
    let big = explicit && matches!(data.get(at..at + 2), Some([0, 1..=0x20]));
    Syntax { explicit, big }
}

/// What `data`, the beginning of a file or all of it, says.
fn parse(data: &[u8], whole: bool, key: &HashKey) -> (Gathered, bool) {
    let mut gathered = Gathered::default();
    let preamble = data.get(128..132) == Some(b"DICM");
    if !preamble {
        gathered.header.oddities.push(Oddity::NoPreamble);
    }
    let from = if preamble { 132 } else { 0 };
    let start = match meta(data, from, &mut gathered.header) {
        Ok(start) => start,
        Err(stop) => {
            gathered.stop = Some(stop);
            return (gathered, false);
        }
    };
    if start.syntax.big {
        gathered.header.oddities.push(Oddity::BigEndian);
    }
    if start.deflated {
        gathered.header.oddities.push(Oddity::Deflated);
        let mut inflated = Vec::new();
        let packed = data.get(start.at..).unwrap_or_default();
        let decoder = flate2::read::DeflateDecoder::new(packed);
        // An error at the end of what was read is the end of what was read.
        let ended = decoder.take(STEPS[3] as u64).read_to_end(&mut inflated).is_ok();
        gathered.data_set(&inflated, 0, start.syntax, key);
        if gathered.stop.is_none() && gathered.pixels.is_none() && !(ended && whole) {
            gathered.stop = Some(Stop::End);
        }
        // Its pixels lie in the packed bytes: no sample.
        gathered.pixels = None;
        return (gathered, true);
    }
    gathered.data_set(data, start.at, start.syntax, key);
    (gathered, false)
}

/// Reads the header of the file whose first bytes are in `head`; `head` may be lengthened.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    head: &mut Vec<u8>,
    key: &HashKey,
) -> io::Result<DicomHeader> {
    let mut steps = STEPS.into_iter();
    let (mut gathered, more) = loop {
        let goes_on = (head.len() as u64) < reader.size();
        let (gathered, _) = parse(head, !goes_on, key);
        let enough = gathered.pixels.is_some()
            || gathered.header.has_pixels
            || gathered.stop == Some(Stop::Malformed)
            || !goes_on;
        if enough {
            break (gathered, false);
        }
        let before = head.len();
        match steps.find(|&step| step > before) {
            Some(step) => {
                reader.grow(head, step)?;
                if head.len() == before {
                    break (gathered, false);
                }
            }
            None => break (gathered, true),
        }
    };
    match gathered.stop {
        Some(Stop::Malformed) => gathered.header.oddities.push(Oddity::Malformed),
        _ if more => gathered.header.oddities.push(Oddity::LongHeader),
        Some(Stop::End) => gathered.header.oddities.push(Oddity::Truncated),
        None => {}
    }
    if let Some((at, length)) = gathered.pixels.filter(|_| !reader.is_sequential()) {
        sample(reader, &mut gathered, at as u64, length, key)?;
    }
    Ok(gathered.finish(key))
}

/// Hashes 4 KiB from the middle of the pixel data, and notices where the file ends before them.
fn sample(
    reader: &mut Reader<'_>,
    gathered: &mut Gathered,
    at: u64,
    length: u32,
    key: &HashKey,
) -> io::Result<()> {
    let available = reader.size().saturating_sub(at);
    let length = match length {
        UNDEFINED => available,
        length if u64::from(length) > available => {
            gathered.header.oddities.push(Oddity::Truncated);
            return Ok(());
        }
        length => length.into(),
    };
    let mut buffer = [0; SAMPLE];
    let from = at + length.saturating_sub(SAMPLE as u64) / 2;
    let len = usize::try_from(length).unwrap_or(SAMPLE).min(SAMPLE);
    let came = reader.fill(from, &mut buffer[..len])?;
    let sample = &buffer[..came];
    if sample.first().is_some_and(|first| sample.iter().any(|byte| byte != first)) {
        let [rows, columns] = gathered.geometry.map(u16::to_le_bytes);
        gathered.header.image =
            Some(key.hash(&[b"image", &rows, &columns, &length.to_le_bytes(), sample]));
    }
    Ok(())
}
