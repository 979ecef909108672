//! Telephone numbers: of North America in their usual forms, international ones behind a `+`, seven
//! digits, ten without separators and other countries' forms behind a label.

use super::{
    PhiKind,
    free::{Place, is_word},
    label::{self, Label},
    values,
};

/// How many bytes before the place belong to the number that begins there, and how many from it on.
pub(super) fn phone(place: &Place<'_>, run: usize) -> Option<(usize, usize)> {
    // `(617) 555-0142`, `( 617) 555-0142`: the parenthesis belongs to it.
    let text = place.after;
    if run == 3 && text.get(3..).is_some_and(|rest| rest.trim_ascii_start().starts_with(b")")) {
        let open = match place.before {
            [.., b'('] => 1,
            [.., b'(', b' '] => 2,
            _ => 0,
        };
        return in_parentheses(place, open);
    }
    if place.before.ends_with(b"+") {
        return international(place);
    }
    // `1 (617) 555-0142`, `1-617-555-0142`
    if run == 1 && text[0] == b'1' && matches!(text.get(1), Some(b' ' | b'-' | b'.' | b'(')) {
        let gap = text[1..].iter().take(2);
        let skip = 1 + gap.take_while(|b| matches!(b, b' ' | b'-' | b'.' | b'(')).count();
        let before: &[u8] = if text[skip - 1] == b'(' { b"(" } else { b"" };
        let inner = Place::new(before, &text[skip..], place.now);
        let run = inner.after.iter().take_while(|b| b.is_ascii_digit()).count();
        let (_, len) = if run == 3 { phone(&inner, run)? } else { return None };
        return Some((0, skip + len));
    }
    // `617/555-0142`
    if run == 3
        && let [_, _, _, b'/', a, b, c, b'-' | b'.', d, e, f, g, ..] = *text
        && [a, b, c, d, e, f, g].iter().all(u8::is_ascii_digit)
    {
        let (digits, count) = values::digits::<10>(&text[..12])?;
        let other = || !matches!(place.label(), None | Some(Label::Of(PhiKind::Phone)));
        return (values::is_phone(&digits[..count], false) && place.ends(12) && !other())
            .then_some((0, 12));
    }
    // Any other form is known by its label.
    if place.bare && run != 3 {
        return None;
    }
    // One group of digits alone, or eight and more of them.
    if !(7..=15).contains(&run) {
        let joined = |b: &u8| b.is_ascii_digit() || *b == b'(';
        let [first, second] = [text.get(run), text.get(run + 1)];
        let sign = matches!(first, Some(b'-' | b' ' | b'.' | b'/' | b'(' | b')'));
        if !sign || !second.is_some_and(|b| joined(b) || matches!(b, b'-' | b' ' | b'/' | b'(')) {
            return None;
        }
    }
    let (lengths, count, end) = place.groups();
    let is_labelled = || place.label() == Some(Label::Of(PhiKind::Phone));
    match lengths[..count] {
        [3, 3, 4, ..] => {
            let (first, second) = (text[3], text[7]);
            // 617 555-0142 is written as well, 617.555 0142 is not.
            if count != 3 && text.get(12) != Some(&b' ')
                || first != second && !(first == b' ' && second == b'-')
            {
                return None;
            }
            let label = place.label();
            let labelled = label == Some(Label::Of(PhiKind::Phone));
            let other = matches!(
                label,
                Some(Label::Other | Label::Account | Label::Of(PhiKind::RecordNumber))
            );
            if other || !place.ends(12) {
                return None;
            }
            let (digits, count) = values::digits::<10>(&text[..12])?;
            let fits = values::is_phone(&digits[..count], labelled);
            // Three numbers in a row are a table as often as a telephone number.
            (fits && (labelled || first != b' ' || second != b' ')).then_some((0, 12))
        }
        [3, 4] if end == 8 => (text[0] != b'0' && place.ends(8) && is_labelled()).then_some((0, 8)),
        [10] | [11] | [7] => {
            if !place.ends(run) || !is_labelled() {
                return None;
            }
            if run == 7 {
                return (text[0] > b'1').then_some((0, run));
            }
            let (digits, count) = values::digits::<11>(&text[..run])?;
            let fits = values::is_phone(&digits[..count], true) || text[0] == b'0';
            fits.then_some((0, run))
        }
        _ => {
            // Other countries' forms: behind a label only, 8 to 15 digits.
            if !is_labelled() {
                return None;
            }
            let (len, parts) = loose(text)?;
            let fits = text[0] == b'0' || parts > 1 || run == 9;
            let fits = fits && place.ends(len) && place.date().is_none();
            fits.then_some((0, len))
        }
    }
}

/// A number whose area stands in parentheses, of which `open` bytes are before the place.
fn in_parentheses(place: &Place<'_>, open: usize) -> Option<(usize, usize)> {
    let text = place.after;
    if open == 0 {
        return None;
    }
    let mut at = 4 + usize::from(text.get(3) == Some(&b' '));
    at += text.get(at..)?.iter().take(2).take_while(|b| matches!(b, b' ' | b'-' | b'.')).count();
    let rest = text.get(at..at + 7)?;
    let joined = rest.iter().all(u8::is_ascii_digit);
    let len = at + if joined { 7 } else { 8 };
    let parted = || {
        let rest = text.get(at..at + 8)?;
        let digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
        (digits(&rest[..3]) && matches!(rest[3], b'-' | b' ' | b'.') && digits(&rest[4..]))
            .then_some(())
    };
    if !joined {
        parted()?;
    }
    let (digits, count) = values::digits::<10>(&text[..len])?;
    let lead = &place.before[..place.before.len() - open];
    let other = || label::find(lead).is_some_and(|found| found.label == Label::Other);
    (values::is_phone(&digits[..count], true) && place.ends(len) && !other()).then_some((open, len))
}

/// Digits with blanks, dashes, slashes, dots and parentheses between them: 8 to 15 digits. How many
/// bytes, and in how many groups.
fn loose(text: &[u8]) -> Option<(usize, usize)> {
    let (mut digits, mut end, mut parts) = (0, 0, 0);
    for (at, &byte) in text.iter().take(24).enumerate() {
        match byte {
            b'0'..=b'9' => {
                parts += usize::from(digits == 0 || end != at);
                digits += 1;
                end = at + 1;
            }
            b' ' | b'-' | b'/' | b'.' | b'(' | b')' if at + 1 - end <= 2 => {}
            _ => break,
        }
    }
    (8..=15).contains(&digits).then_some((end, parts))
}

/// `+` and a country's code: E.164 has at most 15 digits.
fn international(place: &Place<'_>) -> Option<(usize, usize)> {
    let lead = &place.before[..place.before.len() - 1];
    if lead.last().is_some_and(|&b| is_word(b)) || place.after.first() == Some(&b'0') {
        return None;
    }
    let (len, _) = loose(place.after)?;
    let (digits, count) = values::digits::<15>(&place.after[..len])?;
    if digits[0] == 1 && !values::is_phone(&digits[..count], true) {
        return None;
    }
    let other = label::find(lead).is_some_and(|found| found.label == Label::Other);
    (place.ends(len) && !other).then_some((1, len))
}
