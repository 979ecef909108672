//! Segments of HL7 v2 and X12, whose fields have known meanings.

use super::{PhiKind, fields::value, free::Hit};

/// Where in HL7's segments values are: segment, field, kind. Fields count from 1, as the standard has it.
const FIELDS: &[(&[u8; 3], usize, PhiKind)] = &[
    (b"PID", 2, PhiKind::RecordNumber),
    (b"PID", 3, PhiKind::RecordNumber),
    (b"PID", 4, PhiKind::RecordNumber),
    (b"PID", 7, PhiKind::BirthDate),
    (b"PID", 13, PhiKind::Phone),
    (b"PID", 14, PhiKind::Phone),
    (b"PID", 19, PhiKind::Ssn),
    (b"MRG", 1, PhiKind::RecordNumber),
    (b"NK1", 5, PhiKind::Phone),
    (b"NK1", 6, PhiKind::Phone),
    (b"NK1", 16, PhiKind::BirthDate),
    (b"GT1", 6, PhiKind::Phone),
    (b"GT1", 7, PhiKind::Phone),
    (b"GT1", 8, PhiKind::BirthDate),
    (b"GT1", 12, PhiKind::Ssn),
    (b"IN1", 18, PhiKind::BirthDate),
    (b"IN1", 36, PhiKind::MemberId),
    (b"IN1", 49, PhiKind::MemberId),
    (b"IN2", 2, PhiKind::Ssn),
    (b"IN2", 6, PhiKind::MemberId),
    (b"IN2", 8, PhiKind::MemberId),
    (b"IN2", 63, PhiKind::Phone),
    (b"IN1", 7, PhiKind::Phone),
    (b"GT1", 18, PhiKind::Phone),
    (b"NK1", 7, PhiKind::Phone),
    (b"NK1", 31, PhiKind::Phone),
    (b"NK1", 37, PhiKind::Ssn),
    (b"PID", 21, PhiKind::RecordNumber),
    (b"PID", 40, PhiKind::Phone),
    (b"MRG", 4, PhiKind::RecordNumber),
    (b"ORC", 14, PhiKind::Phone),
    (b"ORC", 23, PhiKind::Phone),
    (b"OBR", 17, PhiKind::Phone),
    (b"PRD", 5, PhiKind::Phone),
    (b"CTD", 5, PhiKind::Phone),
];

/// Other segments of HL7 v2, which are no rows of a table.
const SEGMENTS: [&[u8; 3]; 35] = [
    b"MSH", b"EVN", b"PV1", b"PV2", b"OBX", b"NTE", b"AL1", b"DG1", b"MSA", b"PD1", b"FT1", b"SCH",
    b"TXA", b"RXE", b"RXO", b"RXA", b"SPM", b"TQ1", b"ERR", b"QRD", b"QAK", b"BHS", b"FHS", b"BTS",
    b"FTS", b"ROL", b"DB1", b"ACC", b"UB1", b"UB2", b"PR1", b"AIG", b"AIL", b"RGS", b"IAM",
];

/// A segment: where it begins and ends, and where the value of an observation begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub start: usize,
    pub end: usize,
    pub value: usize,
}

impl Segment {
    /// Of a line that begins at `at`.
    pub fn of(line: &[u8], at: usize) -> Self {
        let is_observation = line.starts_with(b"OBX|");
        let value = memchr::memchr_iter(b'|', line).nth(4).filter(|_| is_observation);
        Self { start: at, end: at + line.len(), value: at + value.map_or(0, |bar| bar + 1) }
    }

    /// Whether what begins at `at` is the beginning of a field, of which what is before says nothing:
    /// all but the value of an observation, before which its name is.
    pub fn parts(&self, text: &[u8], at: usize) -> bool {
        (self.start + 1..self.end).contains(&at)
            && at != self.value
            && matches!(text[at - 1], b'|' | b'^' | b'~' | b'&')
    }
}

/// Reads `line`, which begins at `at`, where it is a segment of HL7 v2.
pub(super) fn hl7(line: &[u8], at: usize, now: u32, hits: &mut Vec<Hit>) -> bool {
    let Some([a, b, c, b'|']) = line.first_chunk::<4>() else { return false };
    let id = [*a, *b, *c];
    if FIELDS.iter().any(|(segment, ..)| **segment == id) {
        segment(&id, line, at, now, hits);
        return true;
    }
    SEGMENTS.iter().any(|segment| **segment == id)
}

/// Reads the segments of a message that stands within a line of a log, with whatever ends them there.
pub(super) fn embedded(line: &[u8], at: usize, now: u32, hits: &mut Vec<Hit>) {
    let ends: [&[u8]; 6] = [b"<CR>", b"\\r", b"\\n", b"\\x0d", b"&#13;", b"&#xD;"];
    let begins = |at: usize| {
        at == 0
            || !line[at - 1].is_ascii_alphanumeric() && !matches!(line[at - 1], b'|' | b'^')
            || ends.iter().any(|end| line[..at].ends_with(end))
    };
    for bar in memchr::memchr_iter(b'|', line) {
        let Some(start) = bar.checked_sub(3).filter(|start| begins(*start)) else { continue };
        let Some(id) = line[start..].first_chunk::<3>() else { continue };
        if !FIELDS.iter().any(|(segment, ..)| *segment == id) {
            continue;
        }
        let rest = &line[start..];
        let end = ends.iter().filter_map(|end| memchr::memmem::find(rest, end)).min();
        segment(id, &rest[..end.unwrap_or(rest.len())], at + start, now, hits);
    }
}

fn segment(id: &[u8; 3], line: &[u8], at: usize, now: u32, hits: &mut Vec<Hit>) {
    let mut start = 0;
    for (number, field) in line.split(|&b| b == b'|').enumerate() {
        let kind = FIELDS.iter().find(|(segment, field, _)| *segment == id && *field == number);
        if let Some(&(.., kind)) = kind {
            let mut from = start;
            for repetition in field.split(|&b| b == b'~') {
                component(kind, repetition, at + from, now, hits);
                from += repetition.len() + 1;
            }
        }
        start += field.len() + 1;
    }
}

/// One repetition of a field. Identifiers name their type in the fifth component, telephone numbers
/// are in the first, or in pieces from the sixth on.
fn component(kind: PhiKind, text: &[u8], at: usize, now: u32, hits: &mut Vec<Hit>) {
    let mut parts = text.split(|&b| b == b'^');
    let first = parts.next().unwrap_or_default();
    let kind = match (kind, text.split(|&b| b == b'^').nth(4)) {
        (PhiKind::RecordNumber, Some(b"SS" | b"SSN")) => PhiKind::Ssn,
        (PhiKind::RecordNumber, Some(b"MC" | b"MA" | b"HC" | b"MB" | b"SN" | b"NIIP")) => {
            PhiKind::MemberId
        }
        // Numbers of licences, passports, accounts, visits.
        (PhiKind::RecordNumber, Some(b"DL" | b"PPN" | b"AN" | b"VN" | b"BC" | b"BRN")) => return,
        (kind, _) => kind,
    };
    if let Some((from, to)) = value(kind, first, now) {
        hits.push(Hit { start: at + from, end: at + to, kind: Some(kind) });
    } else if kind == PhiKind::Phone && first.is_empty() {
        // `^PRN^PH^^1^617^5550142`: area and number.
        let mut start = 0;
        let mut spans = [(0, 0); 8];
        for (span, part) in spans.iter_mut().zip(text.split(|&b| b == b'^')) {
            *span = (start, start + part.len());
            start += part.len() + 1;
        }
        let (area, number) = (spans[5], spans[6]);
        let is_number = |(from, to): (usize, usize)| {
            to > from && text[from..to].iter().all(|b| b.is_ascii_digit() || *b == b'-')
        };
        if is_number(area) && is_number(number) {
            hits.push(Hit { start: at + area.0, end: at + number.1, kind: Some(kind) });
        }
    }
}

/// Whether `line` is of X12, or many of its segments.
pub(super) fn is_x12(line: &[u8]) -> bool {
    memchr::memchr(b'~', line).is_some() && memchr::memchr(b'*', line).is_some()
        || [&b"DMG*"[..], b"NM1*", b"REF*", b"PER*"].iter().any(|id| line.starts_with(id))
}

/// Reads the segments of X12 in a line.
pub(super) fn x12(line: &[u8], at: usize, now: u32, hits: &mut Vec<Hit>) {
    let mut start = 0;
    for part in line.split(|&b| b == b'~') {
        x12_segment(part, at + start, now, hits);
        start += part.len() + 1;
    }
}

/// One segment of X12: the insured's number, demographics, references, contacts.
fn x12_segment(line: &[u8], at: usize, now: u32, hits: &mut Vec<Hit>) {
    let line_start = line.iter().take_while(|b| b.is_ascii_whitespace()).count();
    let at = at + line_start;
    let line = &line[line_start..];
    let mut spans = [(0usize, 0usize); 16];
    let mut start = 0;
    for (span, part) in spans.iter_mut().zip(line.split(|&b| b == b'*')) {
        *span = (start, start + part.len());
        start += part.len() + 1;
    }
    let part = |index: usize| line.get(spans[index].0..spans[index].1).unwrap_or_default();
    let mut push = |index: usize, kind| {
        if let Some((from, to)) = value(kind, part(index), now) {
            let start = at + spans[index].0;
            hits.push(Hit { start: start + from, end: start + to, kind: Some(kind) });
        }
    };
    match part(0) {
        b"NM1" if matches!(part(8), b"MI" | b"HN" | b"II" | b"MR") => push(9, PhiKind::MemberId),
        b"NM1" if part(8) == b"34" => push(9, PhiKind::Ssn),
        b"DMG" if part(1) == b"D8" => push(2, PhiKind::BirthDate),
        b"REF" => match part(1) {
            b"SY" => push(2, PhiKind::Ssn),
            b"EA" => push(2, PhiKind::RecordNumber),
            b"1W" | b"0F" => push(2, PhiKind::MemberId),
            _ => {}
        },
        b"PER" => {
            for index in [3, 5, 7] {
                if matches!(part(index), b"TE" | b"FX" | b"CP" | b"HP" | b"WP") {
                    push(index + 1, PhiKind::Phone);
                }
            }
        }
        _ => {}
    }
}
