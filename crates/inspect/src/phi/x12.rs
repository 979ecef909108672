//! Segments of X12, whose elements have known meanings.

use super::{PhiKind, fields::value, free::Hit, part::Part};

/// Whether `line` is of X12, or many of its segments.
pub(super) fn is_x12(line: &[u8]) -> bool {
    memchr::memchr(b'~', line).is_some() && memchr::memchr(b'*', line).is_some()
        || [&b"DMG*"[..], b"NM1*", b"REF*", b"PER*"].iter().any(|id| line.starts_with(id))
}

/// Segments in a line.
#[derive(Clone, Debug)]
pub(super) struct X12 {
    /// Where the one begins that is read.
    pub start: usize,
}

impl X12 {
    /// Reads every segment that ends in this part.
    pub fn read(&mut self, part: &Part<'_>, hits: &mut Vec<Hit>) {
        let mut take = |end: usize| {
            segment(part.unit(self.start, end), self.start, part.now, hits);
            self.start = end + 1;
        };
        memchr::memchr_iter(b'~', part.line()).for_each(|end| take(part.from + end));
        if part.ends {
            take(part.text.len());
        }
    }
}

/// One segment: the insured's number, demographics, references, contacts.
fn segment(line: &[u8], at: usize, now: u32, hits: &mut Vec<Hit>) {
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
