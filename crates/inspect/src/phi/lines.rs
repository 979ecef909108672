//! Values whose place says what they are: columns of tables, fields of HL7 v2 and X12 segments.

use super::{
    PhiKind,
    free::Hit,
    table::{self, Column, Header},
    values,
};

/// A longer line is no row and no segment.
const LONGEST: usize = 64 << 10;

/// What is remembered from line to line.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    table: Option<Header>,
}

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
];

/// The part of `field` that is a value of `kind`, if it is one; `now` is this year.
fn value(kind: PhiKind, field: &[u8], now: u32) -> Option<(usize, usize)> {
    let start = field.iter().position(|b| !b.is_ascii_whitespace() && *b != b'"' && *b != b'\'')?;
    let end =
        field.iter().rposition(|b| !b.is_ascii_whitespace() && *b != b'"' && *b != b'\'')? + 1;
    let text = &field[start..end];
    let count = text.iter().filter(|b| b.is_ascii_digit()).count();
    let plain = |allowed: &[u8]| text.iter().all(|b| b.is_ascii_digit() || allowed.contains(b));
    let fits = match kind {
        PhiKind::Ssn => {
            plain(b"- ")
                && values::digits::<9>(text).is_some_and(|(digits, n)| values::is_ssn(&digits[..n]))
        }
        PhiKind::BirthDate => {
            let date = values::date(text, now);
            date.is_some_and(|len| len == text.len() || matches!(text[len], b' ' | b'T'))
                // HL7's and databases' times: the day, then hours and minutes.
                || count == text.len() && count > 8 && values::date(&text[..8], now).is_some()
                || text.len() > 8
                    && text[0].is_ascii_alphabetic()
                    && text.iter().position(u8::is_ascii_digit).is_some_and(|at| {
                        values::date_after_month(&text[..at], &text[at..], now).is_some()
                    })
        }
        PhiKind::Phone => (7..=15).contains(&count) && plain(b"-+(). /xX") && text.len() <= 24,
        PhiKind::RecordNumber => {
            (2..=24).contains(&text.len())
                && count >= 2
                && text
                    .iter()
                    .all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'/' | b'_'))
        }
        PhiKind::MemberId => {
            (5..=24).contains(&text.len())
                && count >= 3
                && text
                    .iter()
                    .all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b' ' | b'_'))
        }
        PhiKind::Email => return None,
        PhiKind::PaymentCard => {
            plain(b"- ")
                && values::digits::<19>(text)
                    .is_some_and(|(digits, n)| values::is_card(&digits[..n]))
        }
    };
    fits.then_some((start, end))
}

/// The fields of a row and where they begin, quotes and all.
fn fields(line: &[u8], separator: u8) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = Some(0);
    std::iter::from_fn(move || {
        let start = at?;
        let rest = &line[start..];
        // What follows the closing quote up to the separator belongs to the field.
        let quoted = match rest.first() {
            Some(b'"') => memchr::memchr(b'"', &rest[1..]).map_or(rest.len(), |close| close + 2),
            _ => 0,
        };
        let len = memchr::memchr(separator, &rest[quoted..]).map_or(rest.len(), |p| p + quoted);
        at = (start + len < line.len()).then_some(start + len + 1);
        Some((start, &rest[..len]))
    })
}

impl Lines {
    /// Looks through `text[from..to]`, whole lines, in which a line may end with any of line feed,
    /// carriage return and `~`.
    pub fn look(&mut self, text: &[u8], from: usize, to: usize, now: u32, hits: &mut Vec<Hit>) {
        let mut at = from;
        while at < to {
            let end = memchr::memchr2(b'\n', b'\r', &text[at..to]).map_or(to, |p| at + p);
            let line = &text[at..end];
            // `\r\n` is one line end.
            let next = if text[end..to].starts_with(b"\r\n") { end + 2 } else { end + 1 };
            if (4..=LONGEST).contains(&line.len()) {
                self.line(text, at, end, &text[next.min(to)..to], now, hits);
            } else if self.table.is_some() && line.iter().all(u8::is_ascii_whitespace) {
                self.table = None;
            }
            at = next;
        }
    }

    fn line(
        &mut self,
        text: &[u8],
        at: usize,
        end: usize,
        after: &[u8],
        now: u32,
        hits: &mut Vec<Hit>,
    ) {
        let line = &text[at..end];
        let trimmed = line.strip_prefix(b"\x0b").unwrap_or(line);
        let lead = line.len() - trimmed.len();
        if let Some([a, b, c, b'|']) = trimmed.first_chunk::<4>()
            && let id = [*a, *b, *c]
            && FIELDS.iter().any(|(segment, ..)| **segment == id)
        {
            return segment(&id, trimmed, at + lead, now, hits);
        }
        if memchr::memchr(b'~', line).is_some() && memchr::memchr(b'*', line).is_some()
            || line.starts_with(b"DMG*")
            || line.starts_with(b"NM1*")
            || line.starts_with(b"REF*")
            || line.starts_with(b"PER*")
        {
            let mut start = 0;
            for part in line.split(|&b| b == b'~') {
                x12(part, at + start, now, hits);
                start += part.len() + 1;
            }
        }
        if let Some(header) = &self.table {
            let mut count = 0;
            let before = hits.len();
            for (start, field) in fields(line, header.separator) {
                match header.columns.get(count) {
                    Some(Column::Of(kind)) => {
                        if let Some((from, to)) = value(*kind, field, now) {
                            let (start, end) = (at + start + from, at + start + to);
                            hits.push(Hit { start, end, kind: Some(*kind) });
                        }
                    }
                    Some(Column::Other) if !field.is_empty() => {
                        let (start, end) = (at + start, at + start + field.len());
                        hits.push(Hit { start, end, kind: None });
                    }
                    _ => {}
                }
                count += 1;
            }
            if count == header.columns.len() || count + 1 == header.columns.len() {
                return;
            }
            // Another number of fields: no row of it. A field of several lines may be the reason.
            hits.truncate(before);
            if count <= 1 {
                self.table = None;
            }
        }
        // Names of columns do not begin with a digit, and fit into a few kilobytes.
        if line[0].is_ascii_digit() || line.len() > 4096 {
            return;
        }
        let after = &after[..after.len().min(4096)];
        if memchr::memchr3(b',', b'|', b';', &line[..line.len().min(512)]).is_some()
            || memchr::memchr(b'\t', &line[..line.len().min(512)]).is_some()
        {
            let found = table::header_of(line, after)
                .filter(|header| header.columns.iter().any(|column| *column != Column::Plain));
            self.table = found.or_else(|| self.table.take());
        }
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
        (PhiKind::RecordNumber, Some(b"SS")) => PhiKind::Ssn,
        (PhiKind::RecordNumber, Some(b"MC" | b"MA" | b"HC")) => PhiKind::MemberId,
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

/// One segment of X12: the insured's number, demographics, references, contacts.
fn x12(line: &[u8], at: usize, now: u32, hits: &mut Vec<Hit>) {
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
        b"NM1" if part(8) == b"MI" => push(9, PhiKind::MemberId),
        b"NM1" if part(8) == b"34" => push(9, PhiKind::Ssn),
        b"DMG" if part(1) == b"D8" => push(2, PhiKind::BirthDate),
        b"REF" => match part(1) {
            b"SY" => push(2, PhiKind::Ssn),
            b"EA" => push(2, PhiKind::RecordNumber),
            b"1W" => push(2, PhiKind::MemberId),
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
