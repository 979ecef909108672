//! Fields whose place says what they are, and whether what stands in them is that.

use super::{PhiKind, part::Part, values};

/// The part of `field` that is a value of `kind`, if it is one; `now` is this year.
pub(super) fn value(kind: PhiKind, field: &[u8], now: u32) -> Option<(usize, usize)> {
    let start = field.iter().position(|b| !b.is_ascii_whitespace() && *b != b'"' && *b != b'\'')?;
    let end =
        field.iter().rposition(|b| !b.is_ascii_whitespace() && *b != b'"' && *b != b'\'')? + 1;
    let text = &field[start..end];
    let count = text.iter().filter(|b| b.is_ascii_digit()).count();
    let plain = |allowed: &[u8]| text.iter().all(|b| b.is_ascii_digit() || allowed.contains(b));
    let fits = match kind {
        PhiKind::Ssn => {
            plain(b"- .")
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
            let sign =
                |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'/' | b'_' | b'#');
            (2..=24).contains(&text.len())
                && count >= 2
                && (text.iter().all(|&b| sign(b)) || count >= 6 && plain(b" "))
                && values::date(text, now).is_none_or(|len| len == 8 && !text.contains(&b'/'))
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

/// Where a row's fields end. A quote in a quoted field is two.
#[derive(Clone, Debug)]
struct Ends {
    separator: u8,
    /// What was read last is of the field.
    within: Field,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Start,
    Quoted,
    /// Behind a quote that closes, or is the first of two.
    Closed,
    Plain,
}

impl Ends {
    fn new(separator: u8) -> Self {
        Self { separator, within: Field::Start }
    }

    /// The separator that ends the field of which `text` from `at` on is read; `None` where it goes on.
    fn next(&mut self, text: &[u8], mut at: usize) -> Option<usize> {
        loop {
            if self.within == Field::Quoted {
                at += memchr::memchr(b'"', text.get(at..)?)? + 1;
                self.within = Field::Closed;
            }
            // What follows the closing quote up to the separator belongs to the field.
            if self.within != Field::Plain && *text.get(at)? == b'"' {
                self.within = Field::Quoted;
                at += 1;
                continue;
            }
            self.within = Field::Plain;
            let end = at + memchr::memchr(self.separator, text.get(at..)?)?;
            self.within = Field::Start;
            return Some(end);
        }
    }
}

/// The fields of a row and where they begin, quotes and all.
pub(super) fn fields(line: &[u8], separator: u8) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = Some(0);
    let mut ends = Ends::new(separator);
    std::iter::from_fn(move || {
        let start = at?;
        let end = ends.next(line, start).unwrap_or(line.len());
        at = (end < line.len()).then_some(end + 1);
        Some((start, &line[start..end]))
    })
}

/// A row that is read part by part.
#[derive(Clone, Debug)]
pub(super) struct Row {
    ends: Ends,
    /// Where the field begins that is read.
    pub start: usize,
    /// Its number.
    pub index: usize,
}

impl Row {
    /// One that begins at `start`.
    pub fn new(separator: u8, start: usize) -> Self {
        Self { ends: Ends::new(separator), start, index: 0 }
    }

    /// Gives `each` every field that ends in this part, its number and where it begins.
    pub fn read<'a>(&mut self, part: &Part<'a>, mut each: impl FnMut(usize, usize, &'a [u8])) {
        let mut at = part.from;
        while let Some(end) = self.ends.next(part.text, at) {
            each(self.index, self.start, part.unit(self.start, end));
            self.index += 1;
            at = end + 1;
            self.start = at;
        }
        if part.ends {
            each(self.index, self.start, part.unit(self.start, part.text.len()));
            self.index += 1;
        }
    }
}
