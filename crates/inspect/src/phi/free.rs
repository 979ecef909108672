//! Values in free text, from the run of digits or the `@` that gives them away.
//!
//! Whatever is decided about a place depends on [`BACK`] bytes before it and [`AHEAD`] bytes from it on
//! and on nothing else, so that it makes no difference how a text is cut for reading.

use super::{
    PhiKind,
    label::{self, Label},
    values,
};

/// Bytes before a place that are looked at.
pub(super) const BACK: usize = 192;
/// Bytes from a place on that are looked at.
pub(super) const AHEAD: usize = 128;

/// A value: where it begins and ends, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub start: usize,
    pub end: usize,
    /// `None` where the place says that it is nothing that is looked for.
    pub kind: Option<PhiKind>,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// One place in a text, with what may be seen from it.
struct Place<'a> {
    before: &'a [u8],
    after: &'a [u8],
    now: u32,
}

impl Place<'_> {
    /// Whether a value may begin here: no letter or digit before it, nor a digit and a sign that would
    /// make it the rest of a longer number.
    fn begins(&self) -> bool {
        match *self.before {
            [] => true,
            [.., last] if is_word(last) => false,
            [.., digit, b'-' | b'.' | b'/' | b':' | b',' | b'+'] if digit.is_ascii_digit() => false,
            [.., b'$' | 0xa3] => false,
            _ => true,
        }
    }

    /// Whether a value may end `len` bytes after here.
    fn ends(&self, len: usize) -> bool {
        match self.after.get(len..).unwrap_or_default() {
            [] => true,
            [next, ..] if is_word(*next) => false,
            [b'-' | b'.' | b'/' | b':' | b',' | b'%', next, ..] if next.is_ascii_digit() => false,
            [b'-', next, ..] if next.is_ascii_alphabetic() => false,
            [b'@' | b'%', ..] => false,
            _ => true,
        }
    }

    fn label(&self) -> Option<label::Found> {
        label::find(self.before)
    }
}

/// The lengths of the groups of digits that `text` begins with, with one separator each between them.
fn groups(text: &[u8]) -> ([usize; 6], usize, usize) {
    let mut lengths = [0; 6];
    let (mut count, mut at) = (0, 0);
    while count < 6 {
        let len = text[at..].iter().take(20).take_while(|b| b.is_ascii_digit()).count();
        if len == 0 {
            break;
        }
        lengths[count] = len;
        count += 1;
        at += len;
        match text.get(at..at + 2) {
            Some([b'-' | b' ' | b'.', next]) if next.is_ascii_digit() && count < 6 => at += 1,
            _ => break,
        }
    }
    let end = at.min(text.len());
    (lengths, count, end)
}

/// What begins with the run of digits at `at`, which is not within another; `now` is this year.
pub(super) fn at_digit(text: &[u8], at: usize, now: u32) -> Option<Hit> {
    let before = &text[at.saturating_sub(BACK)..at];
    let after = &text[at..text.len().min(at + AHEAD)];
    let place = Place { before, after, now };
    let hit = |start: usize, end: usize, kind| Some(Hit { start, end, kind: Some(kind) });
    let run = after.iter().take_while(|b| b.is_ascii_digit()).count();
    if place.begins() {
        if run <= 8
            && let Some((back, ahead)) = birth_date(&place, run)
        {
            return hit(at - back, at + ahead, PhiKind::BirthDate);
        }
        if run == 1
            && let Some(len) = mbi(&place)
        {
            return hit(at, at + len, PhiKind::MemberId);
        }
        if let Some((back, len)) = phone(&place, run) {
            return hit(at - back, at + len, PhiKind::Phone);
        }
        if let Some((len, kind)) = ssn(&place, run) {
            return hit(at, at + len, kind);
        }
        if let Some(len) = card(&place, run) {
            return hit(at, at + len, PhiKind::PaymentCard);
        }
    }
    token(&place, run).and_then(|(back, len, kind)| hit(at - back, at + len, kind))
}

/// Days on which somebody was born, before or behind their label.
fn birth_date(place: &Place<'_>, run: usize) -> Option<(usize, usize)> {
    if !matches!(run, 1 | 2 | 4 | 8) {
        return None;
    }
    let (back, ahead) = match values::date(place.after, place.now) {
        Some(ahead) => (0, ahead),
        None if run <= 2 => values::date_after_month(place.before, place.after, place.now)?,
        None => return None,
    };
    let before = &place.before[..place.before.len() - back];
    let label = label::find(before).map(|found| found.label);
    let is_birth = label == Some(Label::Of(PhiKind::BirthDate));
    // 01/02/1980 (DOB)
    let behind = || {
        let rest = place.after.get(ahead..).unwrap_or_default();
        let gap = rest.iter().take(2).take_while(|b| matches!(b, b' ' | b'(')).count();
        let start = rest[gap..rest.len().min(gap + 16)].to_ascii_lowercase();
        let labels: [&[u8]; 4] = [b"dob", b"d.o.b", b"date of birth", b"birth"];
        // With what follows the label being no value of its own.
        gap > 0
            && labels.iter().any(|label| {
                start
                    .strip_prefix(*label)
                    .is_some_and(|after| !matches!(after.first(), Some(b':' | b'=' | b'#')))
            })
    };
    (is_birth || label.is_none() && behind()).then_some((back, ahead))
}

fn mbi(place: &Place<'_>) -> Option<usize> {
    let mut characters = [0; 11];
    let (mut count, mut at) = (0, 0);
    while count < 11 {
        let byte = *place.after.get(at)?;
        match byte {
            b'-' | b' '
                if matches!(count, 4 | 7) && place.after.get(at.checked_sub(1)?) != Some(&byte) => {
            }
            _ if byte.is_ascii_alphanumeric() => {
                characters[count] = byte;
                count += 1;
            }
            _ => return None,
        }
        at += 1;
    }
    let lower = characters.iter().any(u8::is_ascii_lowercase);
    let parted = at > 11;
    let fits = values::is_mbi(&characters) && place.ends(at);
    if !fits || parted && at != 13 {
        return None;
    }
    let label = place.label().map(|found| found.label);
    let named = matches!(label, Some(Label::Medicare | Label::Of(PhiKind::MemberId)));
    (named || !lower && label != Some(Label::Other)).then_some(at)
}

/// `536-90-4399`; with blanks or without anything only behind a label.
fn ssn(place: &Place<'_>, run: usize) -> Option<(usize, PhiKind)> {
    let (len, dashed) = match run {
        3 => {
            let shape = place.after.get(..11)?;
            let separator = shape[3];
            let fits = matches!(separator, b'-' | b' ' | b'.')
                && shape[6] == separator
                && [4, 5, 7, 8, 9, 10].iter().all(|&at| shape[at].is_ascii_digit());
            if !fits {
                return None;
            }
            (11, separator == b'-')
        }
        9 => (9, false),
        _ => return None,
    };
    if !place.ends(len) {
        return None;
    }
    let (digits, count) = values::digits::<9>(&place.after[..len])?;
    let label = place.label();
    match label.map(|found| found.label) {
        Some(Label::Of(PhiKind::Ssn)) => {
            values::is_ssn(&digits[..count]).then_some((len, PhiKind::Ssn))
        }
        Some(Label::Of(kind @ (PhiKind::RecordNumber | PhiKind::MemberId))) => Some((len, kind)),
        Some(Label::Other | Label::Medicare) => None,
        _ if dashed => values::is_ssn(&digits[..count]).then_some((len, PhiKind::Ssn)),
        _ => None,
    }
}

/// Numbers of North America in their usual forms, international ones behind a `+`, seven digits and
/// ten without separators behind a label.
fn phone(place: &Place<'_>, run: usize) -> Option<(usize, usize)> {
    // `(617) 555-0142`: the parenthesis belongs to it.
    let open = usize::from(place.before.ends_with(b"("));
    let plus = usize::from(place.before.ends_with(b"+"));
    let text = place.after;
    if open == 1 && run == 3 {
        let mut at = 4;
        if text.get(3) != Some(&b')') {
            return None;
        }
        at += text[at..].iter().take(2).take_while(|b| matches!(b, b' ' | b'-' | b'.')).count();
        let rest = text.get(at..at + 8)?;
        let fits = rest[..3].iter().all(u8::is_ascii_digit)
            && matches!(rest[3], b'-' | b' ' | b'.')
            && rest[4..].iter().all(u8::is_ascii_digit);
        let (digits, count) = values::digits::<10>(&text[..at + 8])?;
        let fits = fits && values::is_phone(&digits[..count], true) && place.ends(at + 8);
        let lead = &place.before[..place.before.len() - 1];
        let other = label::find(lead).is_some_and(|found| found.label == Label::Other);
        return (fits && !other).then_some((1, at + 8));
    }
    if plus == 1 {
        return international(place);
    }
    // `1 (617) 555-0142`, `1-617-555-0142`
    if run == 1 && text[0] == b'1' && matches!(text.get(1), Some(b' ' | b'-' | b'.' | b'(')) {
        let skip = 1 + text[1..]
            .iter()
            .take(2)
            .take_while(|b| matches!(b, b' ' | b'-' | b'.' | b'('))
            .count();
        let opened = text[skip - 1] == b'(';
        let inner =
            Place { before: if opened { b"(" } else { b"" }, after: &text[skip..], now: place.now };
        let run = inner.after.iter().take_while(|b| b.is_ascii_digit()).count();
        if run == 3 {
            let (_, len) = phone(&inner, run)?;
            return Some((0, skip + len));
        }
        return None;
    }
    let (lengths, count, end) = groups(text);
    let separators = |at: usize| text.get(at).copied();
    match lengths[..count] {
        [3, 3, 4, ..] => {
            let (first, second) = (separators(3)?, separators(7)?);
            // 617 555-0142 is written as well, 617.555 0142 is not.
            if count != 3 && text.get(12) != Some(&b' ')
                || first != second && !(first == b' ' && second == b'-')
            {
                return None;
            }
            let found = place.label();
            let labelled = found.is_some_and(|found| found.label == Label::Of(PhiKind::Phone));
            let other =
                found.is_some_and(|found| !matches!(found.label, Label::Of(PhiKind::Phone)));
            if other || !place.ends(12) {
                return None;
            }
            let (digits, count) = values::digits::<10>(&text[..12])?;
            let fits = values::is_phone(&digits[..count], labelled);
            // Three numbers in a row are a table as often as a telephone number.
            (fits && (labelled || first != b' ' || second != b' ')).then_some((0, 12))
        }
        [3, 4] if end == 8 => {
            let found = place.label()?;
            let fits = found.label == Label::Of(PhiKind::Phone) && text[0] != b'0' && place.ends(8);
            fits.then_some((0, 8))
        }
        [10] | [11] | [7] => {
            let found = place.label()?;
            if found.label != Label::Of(PhiKind::Phone) || !place.ends(run) {
                return None;
            }
            if run == 7 {
                return (text[0] > b'1').then_some((0, run));
            }
            let (digits, count) = values::digits::<11>(&text[..run])?;
            values::is_phone(&digits[..count], true).then_some((0, run))
        }
        _ => {
            // Other countries' forms: behind a label only, 8 to 15 digits.
            if text[0] != b'0' || place.label()?.label != Label::Of(PhiKind::Phone) {
                return None;
            }
            loose(text).map(|len| (0, len)).filter(|&(_, len)| place.ends(len))
        }
    }
}

/// Digits with blanks, dashes, slashes, dots and parentheses between them: 8 to 15 digits.
fn loose(text: &[u8]) -> Option<usize> {
    let (mut digits, mut end) = (0, 0);
    for (at, &byte) in text.iter().take(24).enumerate() {
        match byte {
            b'0'..=b'9' => {
                digits += 1;
                end = at + 1;
            }
            b' ' | b'-' | b'/' | b'.' | b'(' | b')' if at + 1 - end <= 2 => {}
            _ => break,
        }
    }
    (8..=15).contains(&digits).then_some(end)
}

/// `+` and a country's code: E.164 has at most 15 digits.
fn international(place: &Place<'_>) -> Option<(usize, usize)> {
    let lead = &place.before[..place.before.len() - 1];
    if lead.last().is_some_and(|&b| is_word(b)) || place.after.first() == Some(&b'0') {
        return None;
    }
    let len = loose(place.after)?;
    let (digits, count) = values::digits::<15>(&place.after[..len])?;
    if digits[0] == 1 && !values::is_phone(&digits[..count], true) {
        return None;
    }
    let other = label::find(lead).is_some_and(|found| found.label == Label::Other);
    (place.ends(len) && !other).then_some((1, len))
}

fn card(place: &Place<'_>, run: usize) -> Option<usize> {
    let (lengths, count, end) = groups(place.after);
    let fits = match lengths[..count] {
        [13..=19] => true,
        [4, 4, 4, 4] | [4, 6, 5] | [4, 6, 4] | [4, 4, 4, 4, 3] => {
            let separator = place.after[4];
            let mut at = 4;
            lengths[1..count].iter().all(|len| {
                let same = place.after[at] == separator && separator != b'.';
                at += len + 1;
                same
            })
        }
        _ => false,
    };
    if !fits || !matches!(run, 4 | 13..=19) || !place.ends(end) {
        return None;
    }
    let (digits, count) = values::digits::<19>(&place.after[..end])?;
    if !values::is_card(&digits[..count]) {
        return None;
    }
    let label = place.label().map(|found| found.label);
    (!matches!(label, Some(Label::Other | Label::Of(PhiKind::RecordNumber | PhiKind::MemberId))))
        .then_some(end)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

/// Numbers of records and members behind their labels: letters, digits and dashes, with at least three
/// digits.
fn token(place: &Place<'_>, run: usize) -> Option<(usize, usize, PhiKind)> {
    // Letters and dashes before the first digit belong to it; a digit there means that this is not
    // the first.
    let lead = place.before.iter().rev().take(12).take_while(|&&b| is_token(b)).count();
    let start = place.before.len() - lead;
    let prefix = &place.before[start..];
    if prefix.iter().any(u8::is_ascii_digit)
        || place.before[..start].last().is_some_and(|&b| is_word(b) && b != b'_')
    {
        return None;
    }
    if run < 2 && lead == 0 && !place.after.get(1).is_some_and(|&b| is_token(b)) {
        return None;
    }
    let tail = place.after.iter().take(32).take_while(|&&b| is_token(b)).count();
    let digits = place.after[..tail].iter().filter(|b| b.is_ascii_digit()).count();
    if digits < 3 || tail + lead > 24 {
        return None;
    }
    let mut tail = tail;
    while place.after[..tail].last() == Some(&b'-') {
        tail -= 1;
    }
    if !place.ends(tail) {
        return None;
    }
    let before = &place.before[..start];
    let found = label::find(before).or_else(|| {
        // `MRN-482913`, `MRN482913`: the label is the prefix itself.
        let own =
            matches!(prefix.to_ascii_uppercase().as_slice(), b"MRN" | b"MRN-" | b"MBI-" | b"MBI");
        own.then(|| label::find(place.before)).flatten()
    })?;
    match found.label {
        Label::Of(PhiKind::RecordNumber)
            if values::date(place.after, place.now).is_none_or(|len| len == 8) =>
        {
            Some((lead, tail, PhiKind::RecordNumber))
        }
        Label::Of(PhiKind::MemberId) if digits >= 4 => Some((lead, tail, PhiKind::MemberId)),
        _ => None,
    }
}

fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-' | b'\'')
}

/// Ends of names that are files, not domains: `logo@2x.png`.
const FILES: [&[u8]; 14] = [
    b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp", b"css", b"js", b"html", b"php", b"json",
    b"xml", b"pdf", b"local",
];

/// The address around the `@` at `at`.
pub(super) fn at_sign(text: &[u8], at: usize) -> Option<Hit> {
    let before = &text[at.saturating_sub(BACK)..at];
    let after = &text[at + 1..text.len().min(at + AHEAD)];
    let local = before.iter().rev().take(65).take_while(|&&b| is_local(b)).count();
    let name = &before[before.len() - local..];
    let skipped =
        name.iter().take_while(|b| matches!(b, b'.' | b'\'' | b'-' | b'%' | b'+')).count();
    let name = &name[skipped..];
    if name.is_empty()
        || name.len() > 64
        || name.ends_with(b".")
        || name.windows(2).any(|pair| pair == b"..")
    {
        return None;
    }
    let lead = &before[..before.len() - local];
    // `scheme://user@host` and `://user:secret@host` are no addresses, nor is a host of ssh.
    if lead.ends_with(b"//")
        || lead.last() == Some(&b':')
            && memchr::memmem::rfind(lead, b"://").is_some_and(|p| {
                !lead[p + 3..].iter().any(|b| b.is_ascii_whitespace() || *b == b'"' || *b == b'/')
            })
    {
        return None;
    }
    if lead.last().is_some_and(|&b| b >= 0x80 || b == b'@') {
        return None;
    }
    // A message's or a part's identifier, not somebody's address.
    let line = &lead[memchr::memrchr2(b'\n', b'\r', lead).map_or(0, |p| p + 1)..];
    let field = line[..line.len().min(14)].to_ascii_lowercase();
    if [&b"message-id:"[..], b"in-reply-to:", b"references:", b"content-id:"]
        .iter()
        .any(|f| field.starts_with(f))
    {
        return None;
    }
    let mut domain =
        after.iter().take_while(|&&b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.').count();
    while after[..domain].last().is_some_and(|b| matches!(b, b'.' | b'-')) {
        domain -= 1;
    }
    let host = &after[..domain];
    let dot = memchr::memrchr(b'.', host)?;
    let top = &host[dot + 1..];
    let labels_fit = host
        .split(|&b| b == b'.')
        .all(|l| !l.is_empty() && !l.starts_with(b"-") && !l.ends_with(b"-"));
    let top_fits = (2..=24).contains(&top.len())
        && top.iter().all(u8::is_ascii_alphabetic)
        && !FILES.iter().any(|file| top.eq_ignore_ascii_case(file));
    if !labels_fit || !top_fits || domain > 100 {
        return None;
    }
    // `git@host.example:path` names a repository.
    let next = after.get(domain).copied();
    if next == Some(b':')
        && after.get(domain + 1).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'/')
    {
        return None;
    }
    if next.is_some_and(|b| b == b'@' || b == b'_' || b >= 0x80) {
        return None;
    }
    Some(Hit { start: at - name.len(), end: at + 1 + domain, kind: Some(PhiKind::Email) })
}
