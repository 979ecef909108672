//! Fields whose place says what they are, and whether what stands in them is that.

use super::{PhiKind, values};

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

/// The fields of a row and where they begin, quotes and all. A quote in a quoted field is two.
pub(super) fn fields(line: &[u8], separator: u8) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = Some(0);
    std::iter::from_fn(move || {
        let start = at?;
        let rest = &line[start..];
        let mut quoted = 0;
        while rest.get(quoted) == Some(&b'"') {
            quoted = match memchr::memchr(b'"', &rest[quoted + 1..]) {
                Some(close) => quoted + close + 2,
                None => rest.len(),
            };
        }
        // What follows the closing quote up to the separator belongs to the field.
        let len = memchr::memchr(separator, &rest[quoted..]).map_or(rest.len(), |p| p + quoted);
        at = (start + len < line.len()).then_some(start + len + 1);
        Some((start, &rest[..len]))
    })
}
