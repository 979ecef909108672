//! Segments of HL7 v2, whose fields have known meanings, each in its line or several in one.

use super::{
    PhiKind,
    fields::value,
    free::Hit,
    part::{Part, worked},
};

/// Where in a segment values are, and of which kind. Fields count from 1, as the standard has it.
fn values_of(id: &[u8; 3]) -> &'static [(usize, PhiKind)] {
    use PhiKind::{BirthDate, MemberId, Phone, RecordNumber, Ssn};
    match id {
        b"PID" => &[
            (2, RecordNumber),
            (3, RecordNumber),
            (4, RecordNumber),
            (7, BirthDate),
            (13, Phone),
            (14, Phone),
            (19, Ssn),
            (21, RecordNumber),
            (40, Phone),
        ],
        b"MRG" => &[(1, RecordNumber), (4, RecordNumber)],
        b"NK1" => &[(5, Phone), (6, Phone), (7, Phone), (16, BirthDate), (31, Phone), (37, Ssn)],
        b"GT1" => &[(6, Phone), (7, Phone), (8, BirthDate), (12, Ssn), (18, Phone)],
        b"IN1" => &[(7, Phone), (18, BirthDate), (36, MemberId), (49, MemberId)],
        b"IN2" => &[(2, Ssn), (6, MemberId), (8, MemberId), (63, Phone)],
        b"ORC" => &[(14, Phone), (23, Phone)],
        b"OBR" => &[(17, Phone)],
        b"PRD" => &[(5, Phone)],
        b"CTD" => &[(5, Phone)],
        _ => &[],
    }
}

/// Whether these are the first letters of a segment of HL7 v2, which is no row of a table.
fn is_known(id: &[u8; 3]) -> bool {
    #[rustfmt::skip]
    let other = matches!(
        id,
        b"MSH" | b"EVN" | b"PV1" | b"PV2" | b"OBX" | b"NTE" | b"AL1" | b"DG1" | b"MSA" | b"PD1" | b"FT1" | b"SCH"
            | b"TXA" | b"RXE" | b"RXO" | b"RXA" | b"SPM" | b"TQ1" | b"ERR" | b"QRD" | b"QAK" | b"BHS" | b"FHS" | b"BTS"
            | b"FTS" | b"ROL" | b"DB1" | b"ACC" | b"UB1" | b"UB2" | b"PR1" | b"AIG" | b"AIL" | b"RGS" | b"IAM"
    );
    other || !values_of(id).is_empty()
}

/// What ends segments where they are written into one line.
const ENDS: [&[u8]; 6] = [b"<CR>", b"\\r", b"\\n", b"\\x0d", b"&#13;", b"&#xD;"];

/// A segment: where it begins and ends, and where the value of an observation begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub start: usize,
    pub end: usize,
    pub value: Option<usize>,
}

impl Segment {
    /// Of a line that begins at `at`.
    fn of(line: &[u8], at: usize) -> Self {
        let is_observation = line.starts_with(b"OBX|");
        let value = memchr::memchr_iter(b'|', line).nth(4).filter(|_| is_observation);
        Self { start: at, end: at + line.len(), value: value.map(|bar| at + bar + 1) }
    }

    /// Whether what begins at `at` is the beginning of a field, of which what is before says nothing:
    /// all but the value of an observation, before which its name is.
    pub fn parts(&self, text: &[u8], at: usize) -> bool {
        (self.start + 1..self.end).contains(&at)
            && self.value != Some(at)
            && matches!(text[at - 1], b'|' | b'^' | b'~' | b'&')
    }

    /// The text begins `drop` bytes later.
    pub fn shift(&mut self, drop: usize) {
        self.start = self.start.saturating_sub(drop);
        self.end = self.end.saturating_sub(drop);
        self.value = self.value.and_then(|value| value.checked_sub(drop));
    }
}

/// What may be the segment that `line` begins with, and how many bytes of a frame are before it.
fn id(line: &[u8]) -> Option<(usize, &[u8; 3])> {
    let framed = usize::from(line.starts_with(b"\x0b"));
    let (id, rest) = line[framed..].split_first_chunk::<3>()?;
    (rest.first() == Some(&b'|')).then_some((framed, id))
}

/// Whether `line` is the header of a message or a batch.
pub(super) fn is_header(line: &[u8]) -> bool {
    matches!(id(line), Some((_, b"MSH" | b"FHS" | b"BHS")))
}

/// Reads a line where it is one segment.
pub(super) fn hl7(part: &Part<'_>, segments: &mut Vec<Segment>, hits: &mut Vec<Hit>) -> bool {
    let Some((framed, id)) = id(part.line()).filter(|(_, id)| is_known(id)) else { return false };
    let (line, at) = (&part.line()[framed..], part.from + framed);
    segments.push(Segment::of(line, at));
    let mut values = values_of(id).iter().peekable();
    let mut start = at;
    for (number, text) in line.split(|&b| b == b'|').enumerate() {
        let Some(next) = values.peek() else { break };
        if next.0 == number {
            field(next.1, text, start, part.now, hits);
            values.next();
        }
        start += text.len() + 1;
    }
    true
}

/// A line with several segments: a message in a line of a log, with whatever ends its segments there, or
/// one of which an export took their ends; or a segment that is too long to be looked at as a whole.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// Where the field begins that is read.
    pub start: usize,
    /// The segment that is read.
    id: Option<[u8; 3]>,
    /// The number of the field in it.
    number: usize,
    /// There was a segment of a patient, or the line begins with one.
    reads: bool,
    /// The line begins with a segment: what stands before a field says nothing of it.
    bare: bool,
    /// The line begins with a header: others may follow with nothing between.
    joined: bool,
}

impl Message {
    /// Of a line that begins with a segment.
    pub fn begin(part: &Part<'_>, segments: &mut Vec<Segment>) -> Option<Self> {
        let (framed, id) = id(part.line()).filter(|(_, id)| is_known(id))?;
        let (start, joined) = (part.from + framed, is_header(part.line()));
        segments.push(Segment { start, end: start, value: None });
        Some(Self { start, id: Some(*id), number: 0, reads: true, bare: true, joined })
    }

    /// Of any other line.
    pub fn within(part: &Part<'_>) -> Self {
        Self { start: part.from, id: None, number: 0, reads: false, bare: false, joined: false }
    }

    /// Reads every field that ends in this part.
    pub fn read(&mut self, part: &Part<'_>, segments: &mut Vec<Segment>, hits: &mut Vec<Hit>) {
        let mut open = if self.bare { segments.pop() } else { None };
        for bar in memchr::memchr_iter(b'|', part.line()) {
            let bar = part.from + bar;
            worked(0);
            // No longer than an end and an identifier.
            let tail = part.text.get(self.start.max(bar.saturating_sub(9))..bar);
            if let Some(id) = self.next(tail.unwrap_or_default()) {
                self.field(part, bar - 3, hits);
                (self.id, self.number) = (Some(id), 1);
                self.reads |= id == *b"PID";
                if let Some(open) = &mut open {
                    segments.push(Segment { end: bar - 3, ..*open });
                    *open = Segment { start: bar - 3, end: bar, value: None };
                }
            } else {
                self.field(part, bar, hits);
                self.number += 1;
            }
            self.start = bar + 1;
            if let Some(open) = &mut open
                && self.number == 5
                && self.id == Some(*b"OBX")
            {
                open.value = Some(self.start);
            }
        }
        if part.ends {
            self.field(part, part.text.len(), hits);
        }
        segments.extend(open.map(|open| Segment { end: part.text.len(), ..open }));
    }

    /// The segment whose identifier `text` ends with, which a bar follows.
    fn next(&self, text: &[u8]) -> Option<[u8; 3]> {
        let (lead, id) = text.split_last_chunk::<3>()?;
        let [first, others @ ..] = id;
        let upper = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit();
        if !first.is_ascii_uppercase() || !others.iter().all(upper) {
            return None;
        }
        let parted = match lead.last() {
            None => self.joined && self.number > 0,
            Some(b'^') => false,
            Some(last) if self.joined => !last.is_ascii_uppercase(),
            Some(last) => !last.is_ascii_alphanumeric(),
        };
        let begins = parted && is_known(id) || ENDS.iter().any(|end| lead.ends_with(end));
        begins.then_some(*id)
    }

    /// The field that is read ends at `end`.
    fn field(&self, part: &Part<'_>, end: usize, hits: &mut Vec<Hit>) {
        let Some(id) = self.id.filter(|_| self.reads) else { return };
        let kind = values_of(&id).iter().find(|(number, _)| *number == self.number);
        let Some(&(_, kind)) = kind else { return };
        let text = part.unit(self.start, end);
        let end = ENDS.iter().filter_map(|end| memchr::memmem::find(text, end)).min();
        field(kind, &text[..end.unwrap_or(text.len())], self.start, part.now, hits);
    }
}

/// A field, which may be repeated.
fn field(kind: PhiKind, text: &[u8], at: usize, now: u32, hits: &mut Vec<Hit>) {
    let mut start = at;
    for repetition in text.split(|&b| b == b'~') {
        component(kind, repetition, start, now, hits);
        start += repetition.len() + 1;
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
