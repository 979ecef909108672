//! Values in free text, from the run of digits that gives them away.
//!
//! Whatever is decided about a place depends on [`BACK`] bytes before it and [`AHEAD`] bytes from it on
//! and on nothing else, so that it makes no difference how a text is cut for reading.

use std::cell::OnceCell;

use super::{
    PhiKind,
    label::{self, Found, Label},
    near,
    phone::phone,
    spelling, token, values,
};

/// Bytes before a place that are looked at.
pub(super) const BACK: usize = 640;
/// Bytes from a place on that are looked at.
pub(super) const AHEAD: usize = 256;

/// A value: where it begins and ends, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub start: usize,
    pub end: usize,
    /// `None` where the place says that it is nothing that is looked for.
    pub kind: Option<PhiKind>,
}

pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// One place in a text, with what may be seen from it.
pub(super) struct Place<'a> {
    pub before: &'a [u8],
    pub after: &'a [u8],
    pub now: u32,
    /// Digits that stand here, at most 20.
    pub run: usize,
    /// What the words before say.
    found: OnceCell<Option<Found>>,
    /// What stands beside in the same object, or is the name of a field.
    beside: OnceCell<Option<Label>>,
    label: OnceCell<Option<Label>>,
    groups: OnceCell<Groups>,
    date: OnceCell<Option<usize>>,
    /// Nothing that stands before it says anything of it.
    pub bare: bool,
}

impl<'a> Place<'a> {
    pub fn new(before: &'a [u8], after: &'a [u8], now: u32) -> Self {
        Self::of(before, after, leading_digits(after), now)
    }

    /// Where it is known how many digits stand there.
    fn of(before: &'a [u8], after: &'a [u8], run: usize, now: u32) -> Self {
        let (found, beside, label) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        let (groups, date) = (OnceCell::new(), OnceCell::new());
        Self { before, after, now, run, found, beside, label, groups, date, bare: false }
    }

    /// One that nothing before it says anything of.
    fn bare(self) -> Self {
        let (found, label) = (OnceCell::from(None), OnceCell::from(None));
        Self { found, label, bare: true, ..self }
    }

    /// How long the date is that begins here.
    pub fn date(&self) -> Option<usize> {
        *self.date.get_or_init(|| values::date(self.after, self.now))
    }

    /// The lengths of the groups of digits here, how many there are, and where the last ends.
    pub fn groups(&self) -> Groups {
        *self.groups.get_or_init(|| groups(self.after))
    }

    /// What the words before the place say.
    pub fn found(&self) -> Option<Found> {
        *self.found.get_or_init(|| label::find(self.before))
    }

    /// Whether a value may begin here: no letter or digit before it, nor a digit and a sign that would
    /// make it the rest of a longer number.
    pub fn begins(&self) -> bool {
        match *self.before {
            [] => true,
            // Lines to write on, no-break spaces, dashes, quotes, and tracks of cards.
            [.., b'_', b'_'] | [.., 0xc2, 0xa0] | [.., 0xe2, 0x80, 0xa6 | 0x98..=0x9d] => true,
            [.., last, 0xe2, 0x80, 0x90..=0x95 | 0xaf] => !last.is_ascii_digit(),
            [.., b'%', b'B'] => true,
            [.., last] if is_word(last) => false,
            // `1,204` but `1002,536-90-4399`
            [.., digit, b','] if digit.is_ascii_digit() => {
                !matches!(*self.after, [_, _, _, next, ..] if next != b'-' && !next.is_ascii_digit())
            }
            [.., digit, b'-' | b'.' | b'/' | b':' | b'+'] if digit.is_ascii_digit() => false,
            [.., b'$' | 0xa3] => false,
            _ => true,
        }
    }

    /// Whether a value may end `len` bytes after here.
    pub fn ends(&self, len: usize) -> bool {
        match self.after.get(len..).unwrap_or_default() {
            [] => true,
            [b'_', b'_', ..] | [0xc2, 0xa0, ..] | [0xe2, 0x80, 0x98..=0xa6, ..] => true,
            [0xe2, 0x80, 0x90..=0x97 | 0xaf, next, ..] => !next.is_ascii_digit(),
            [next, ..] if is_word(*next) => false,
            [b',', a, b, c, rest @ ..] if [a, b, c].iter().all(|b| b.is_ascii_digit()) => {
                // Thousands, unless four digits or more stand before.
                rest.first().is_some_and(u8::is_ascii_digit)
                    || len >= 4 && self.after[len - 4..len].iter().all(u8::is_ascii_digit)
            }
            [b'-' | b'.' | b'/' | b':' | b'%', next, ..] if next.is_ascii_digit() => false,
            [b'-', next, ..] if next.is_ascii_alphabetic() => false,
            [b'@' | b'%', ..] => false,
            _ => true,
        }
    }

    /// What the words before the place say, or what stands beside it in the same object.
    pub fn label(&self) -> Option<Label> {
        *self.label.get_or_init(|| {
            if let Some(label) = label::slot(self.before, self.after) {
                return Some(label);
            }
            match self.found() {
                Some(found) if !found.weak => return Some(found.label),
                _ => {}
            }
            self.beside()
        })
    }

    /// What stands beside the place in the same object, or what the name of a field says that holds
    /// digits.
    pub fn beside(&self) -> Option<Label> {
        let beside = || near::find(self.before, self.after).or_else(|| code(self.before));
        *self.beside.get_or_init(beside)
    }
}

/// What names of fields say that hold digits: `PID.7 '`, `PID-3: `, and tags of DICOM with what tools
/// write between them and the value: `(0010,0020) LO [`.
pub(super) fn code(before: &[u8]) -> Option<Label> {
    // Quotes, brackets and blanks are between, and a tag's type.
    let between = |text: &[u8]| {
        let signs = text.iter().rev().take(8);
        let between = |b: &&u8| {
            matches!(
                b,
                b' ' | b'\'' | b'"' | b'[' | b']' | b'=' | b':' | b'(' | b'>' | b'^' | b')' | b'\t'
            )
        };
        text.len() - signs.take_while(between).count()
    };
    let mut end = between(before);
    if end == before.len() {
        return None;
    }
    if let [.., b' ', a, b] = before[..end]
        && a.is_ascii_uppercase()
        && b.is_ascii_uppercase()
    {
        end = between(&before[..end - 2]);
    }
    if !before[..end].last().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let digits = before[..end].iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let (number, rest) = (&before[end - digits..end], &before[..end - digits]);
    // `<PID.3><CX.1>`
    let component = [&b"><CX."[..], b"><TS.", b"><DTM.", b"><XTN."];
    if number == b"1"
        && let Some(rest) = component.iter().find_map(|name| rest.strip_suffix(*name))
    {
        return if rest.ends_with(b">") { None } else { code_of(rest) };
    }
    code_of(&before[..end])
}

fn code_of(before: &[u8]) -> Option<Label> {
    let end = before.len();
    let digits = before.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let (number, rest) = (&before[end - digits..end], &before[..end - digits]);
    let kind = if rest.ends_with(b"PID.") || rest.ends_with(b"PID-") {
        match number {
            b"2" | b"3" | b"4" => PhiKind::RecordNumber,
            b"7" => PhiKind::BirthDate,
            b"13" | b"14" => PhiKind::Phone,
            b"19" => PhiKind::Ssn,
            _ => return None,
        }
    } else if rest.ends_with(b"0010,") || rest.ends_with(b"0010, ") || number.starts_with(b"0010") {
        match number {
            b"0020" | b"1000" | b"00100020" => PhiKind::RecordNumber,
            b"0030" | b"00100030" => PhiKind::BirthDate,
            b"2154" | b"00102154" => PhiKind::Phone,
            _ => return None,
        }
    } else {
        return None;
    };
    Some(Label::Of(kind))
}

/// Lengths of groups of digits, how many there are, and where the last ends.
type Groups = ([usize; 6], usize, usize);

/// The lengths of the groups of digits that `text` begins with, with one separator each between them.
fn groups(text: &[u8]) -> Groups {
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

/// What begins with the run of digits at `at`, which is not within another; `now` is this year. The
/// place is `bare` where what is before it is of another field.
pub(super) fn at_digit(text: &[u8], at: usize, bare: bool, now: u32) -> Option<Hit> {
    let before = &text[at.saturating_sub(BACK)..at];
    // The rest of a number, a time or an address.
    if let [.., digit, b'-' | b'.' | b':' | b'/' | b'+'] = *before
        && digit.is_ascii_digit()
    {
        return None;
    }
    let after = &text[at..text.len().min(at + AHEAD)];
    let run = leading_digits(after);
    if is_short(after, run) {
        return None;
    }
    let mut place = Place::of(before, after, run, now);
    if bare {
        place = place.bare();
    }
    if is_address(&place) {
        return None;
    }
    let found = judge_large(&place).or_else(|| if bare { None } else { spelling::judge(&place) });
    found.map(|(back, len, kind)| Hit { start: at - back, end: at + len, kind: Some(kind) })
}

fn leading_digits(text: &[u8]) -> usize {
    text.iter().take(20).take_while(|b| b.is_ascii_digit()).count()
}

/// Whether the `run` digits at the beginning of `text` stand alone, and are too few for a value.
fn is_short(text: &[u8], run: usize) -> bool {
    let goes_on = |next: &u8| {
        matches!(next, b'-' | b'/' | b' ' | b',' | b')' | b'&' | 0x80.. | b'.')
            || next.is_ascii_alphabetic()
    };
    run <= 2 && !text.get(run).is_some_and(goes_on)
}

/// Whether an address of a network is there.
fn is_address(place: &Place<'_>) -> bool {
    if place.run > 3 || place.after.get(place.run) != Some(&b'.') {
        return false;
    }
    let (lengths, count, end) = place.groups();
    count == 4
        && lengths[..4].iter().all(|len| *len <= 3)
        && place.after[..end].iter().filter(|b| **b == b'.').count() == 3
}

/// How many bytes before the place and from it on are a value, and of what.
pub(super) fn judge(place: &Place<'_>) -> Option<(usize, usize, PhiKind)> {
    if is_short(place.after, place.run) || is_address(place) {
        return None;
    }
    judge_large(place)
}

/// The same of what is neither short nor an address.
fn judge_large(place: &Place<'_>) -> Option<(usize, usize, PhiKind)> {
    let run = place.run;
    let begins = place.begins();
    if !begins && !place.before.last().is_some_and(|&b| is_word(b) || b == b'-') {
        return None;
    }
    if begins {
        if run <= 8
            && let Some((back, ahead)) = birth_date(place, run)
        {
            return Some((back, ahead, PhiKind::BirthDate));
        }
        // `12 ms`: before a word a number of two digits is a day, or nothing.
        if run <= 2
            && matches!(place.after.get(run..), Some([b' ', next, ..]) if next.is_ascii_alphabetic())
        {
            return None;
        }
        // Any other day is nothing else; of eight characters it may be a number.
        if run == 4 && place.date().is_some_and(|len| len > 8) {
            return None;
        }
        if run == 1
            && let Some(len) = mbi(place)
        {
            return Some((0, len, PhiKind::MemberId));
        }
        if let Some((back, len)) = phone(place, run) {
            return Some((back, len, PhiKind::Phone));
        }
        if let Some((len, kind)) = ssn(place, run) {
            return Some((0, len, kind));
        }
        if let Some(len) = card(place, run) {
            return Some((0, len, PhiKind::PaymentCard));
        }
    }
    token::token(place, run, begins)
}

/// What stands behind a value: `01/02/1980 (DOB)`, `536-90-4399 (SSN)`, `01/02/1980 DOB`.
pub(super) fn behind(place: &Place<'_>, len: usize) -> Option<Label> {
    let rest = place.after.get(len..)?;
    let gap = rest.iter().take(2).take_while(|b| matches!(b, b' ' | b'(')).count();
    let first = rest.get(gap)?;
    if gap == 0 || !first.is_ascii_alphabetic() {
        return None;
    }
    let rest = &rest[gap..rest.len().min(gap + 24)];
    let opened = place.after[len + gap - 1] == b'(';
    let end = rest.iter().enumerate().position(|(at, byte)| match byte {
        b')' => true,
        b',' | b';' | b']' | b'/' | b'.' | b'|' | b'\t' | b'\n' | b'\r' => !opened,
        b' ' => !opened && rest.get(at + 1) == Some(&b' '),
        _ => false,
    });
    // With what follows the label being no value of its own.
    let label = match end {
        Some(end) => &rest[..end],
        None if !opened && place.after.len() == len + gap + rest.len() => rest,
        None => return None,
    };
    let mut words = *b":                        :";
    words[1..=label.len()].copy_from_slice(label);
    let found = label::find(&words[..=label.len()])?;
    (!found.weak && !label.contains(&b':') && !label.contains(&b'=')).then_some(found.label)
}

/// Days on which somebody was born, before or behind their label.
fn birth_date(place: &Place<'_>, run: usize) -> Option<(usize, usize)> {
    if !matches!(run, 1 | 2 | 4 | 6 | 8) {
        return None;
    }
    let (back, ahead) = match place.date() {
        Some(ahead) => (0, ahead),
        None if run <= 2 => values::date_after_month(place.before, place.after, place.now)
            .or_else(|| Some((0, values::spaced_date(place.after, place.now)?)))?,
        None if run == 6 && place.ends(6) => (0, values::short_date(place.after, place.now)?),
        None => return None,
    };
    let birth = Some(Label::Of(PhiKind::BirthDate));
    let label = if back == 0 {
        place.label()
    } else {
        label::find(&place.before[..place.before.len() - back]).map(|found| found.label)
    };
    if label == birth || label.is_none() && behind(place, ahead) == birth {
        return Some((back, ahead));
    }
    let before = &place.before[..place.before.len() - back];
    if label.is_some() {
        return None;
    }
    // `*17.03.1951`, as German letters have it.
    let star = matches!(before, [.., b' ' | b'(' | b',', b'*'])
        && back == 0
        && place.after.get(..ahead).is_some_and(|date| date.contains(&b'.'))
        && place.after.get(ahead) != Some(&b'*');
    (star || is_born(before)).then_some((back, ahead))
}

/// `born by cesarean section on `: within the same clause.
fn is_born(before: &[u8]) -> bool {
    let Some(text) = before.strip_suffix(b" on ").or_else(|| before.strip_suffix(b" on the "))
    else {
        return false;
    };
    let text = &text[text.len().saturating_sub(64)..];
    let Some(born) = memchr::memmem::rfind(text, b" born ") else { return false };
    let clause = &text[born + 5..];
    !clause.iter().any(|b| matches!(b, b',' | b';' | b'.' | b'(' | b'"' | b'<'))
        && ["and ", "who ", "was "]
            .iter()
            .all(|word| memchr::memmem::find(clause, word.as_bytes()).is_none())
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
    let label = place.label();
    let named = matches!(label, Some(Label::Medicare | Label::Of(PhiKind::MemberId)));
    (named || !lower && !matches!(label, Some(Label::Other))).then_some(at)
}

/// `536-90-4399`; with blanks or without anything only beside a label.
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
    let valid = || values::is_ssn(&digits[..count]);
    match place.label().or_else(|| behind(place, len)) {
        Some(Label::Of(PhiKind::Ssn)) => valid().then_some((len, PhiKind::Ssn)),
        Some(Label::Of(kind @ (PhiKind::RecordNumber | PhiKind::MemberId))) => Some((len, kind)),
        Some(Label::Other | Label::Medicare | Label::Account) => None,
        _ if dashed => valid().then_some((len, PhiKind::Ssn)),
        _ => None,
    }
}

fn card(place: &Place<'_>, run: usize) -> Option<usize> {
    if !matches!(run, 4 | 13..=19) {
        return None;
    }
    let (lengths, count, end) = place.groups();
    let grouped = match lengths[..count] {
        [13..=19] => false,
        [4, 4, 4, 4] | [4, 6, 5] | [4, 6, 4] | [4, 4, 4, 4, 3] => {
            let separator = place.after[4];
            let mut at = 4;
            let same = lengths[1..count].iter().all(|len| {
                let same = place.after[at] == separator;
                at += len + 1;
                same
            });
            if !same || separator == b'.' && place.before.ends_with(b".") {
                return None;
            }
            true
        }
        _ => return None,
    };
    // `4111111111111111/0427`: the month and year it is good until.
    let good_until = place.after.get(end) == Some(&b'/');
    if !good_until && !place.ends(end) {
        return None;
    }
    let (digits, count) = values::digits::<19>(&place.after[..end])?;
    if !values::is_card(&digits[..count]) {
        return None;
    }
    match place.label() {
        Some(Label::Of(PhiKind::PaymentCard)) => Some(end),
        Some(Label::Of(PhiKind::RecordNumber | PhiKind::MemberId) | Label::Medicare) => None,
        Some(Label::Other) => grouped.then_some(end),
        // Bar codes and clocks have 13 digits as well, and a third of those pass for cards.
        _ => (grouped || count != 13).then_some(end),
    }
}
