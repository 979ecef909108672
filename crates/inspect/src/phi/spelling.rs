//! Values as people and machines misspell them: with dashes of typesetters, blanks around separators,
//! and letters that a reader of images took for digits.

use super::{
    PhiKind,
    free::{self, Place, is_word},
    label::{self, Found, Label},
};

/// Bytes from a place on that are spelt anew.
const LEN: usize = 48;

/// The dash or blank that an entity of HTML at the beginning of `text` stands for, and its length.
fn of_entity(text: &[u8]) -> Option<(u8, usize)> {
    const NAMES: [(&[u8], u8); 8] = [
        (b"&nbsp;", b' '),
        (b"&#160;", b' '),
        (b"&#8209;", b'-'),
        (b"&#8211;", b'-'),
        (b"&ndash;", b'-'),
        (b"&#45;", b'-'),
        (b"&#8208;", b'-'),
        (b"&minus;", b'-'),
    ];
    NAMES.iter().find(|(name, _)| text.starts_with(name)).map(|&(name, byte)| (byte, name.len()))
}

/// What is there once it is spelt as it should be.
fn judge_spelt(place: &Place<'_>) -> Option<(usize, usize, PhiKind)> {
    let text = &place.after[..place.after.len().min(LEN)];
    // What parts its first digits from the next is odd.
    let run = place.run;
    let odd = |byte: &u8| *byte >= 0x80 || *byte == b'&';
    let parted = match text[run..].first_chunk::<8>() {
        // All of them at once.
        Some(next) => next.iter().fold(false, |any, byte| any | odd(byte)),
        None => text[run..].iter().any(odd),
    };
    let parted = parted || matches!(text[run..], [b' ', b'-' | b'/' | b'.', b' ', ..]);
    if !parted || label::slot(place.before, place.after).is_some() {
        return None;
    }
    let (mut spelt, mut ends) = ([0u8; LEN], [0; LEN]);
    let (mut len, mut at) = (0, 0);
    while at < text.len() {
        let (byte, taken) = match text[at..] {
            [b'&', ..] => of_entity(&text[at..]).unwrap_or((b'&', 1)),
            [0xe2, 0x80, 0x90..=0x95, ..] | [0xe2, 0x88, 0x92, ..] => (b'-', 3),
            [0xe2, 0x80, 0xaf, ..] => (b' ', 3),
            [0xc2, 0xa0, ..] => (b' ', 2),
            [b' ', sign @ (b'-' | b'/' | b'.'), b' ', next, ..]
                if next.is_ascii_digit() && len > 0 && spelt[len - 1].is_ascii_digit() =>
            {
                (sign, 3)
            }
            [byte, ..] => (byte, 1),
            [] => break,
        };
        at += taken;
        spelt[len] = byte;
        len += 1;
        ends[len - 1] = at;
    }
    let (back, value, kind) = free::judge(&Place::new(place.before, &spelt[..len], place.now))?;
    Some((back, ends[value.checked_sub(1)?], kind))
}

fn is_taken_for_digit(byte: u8) -> Option<u8> {
    Some(match byte {
        b'O' | b'o' => b'0',
        b'l' | b'I' | b'|' => b'1',
        b'S' => b'5',
        b'B' => b'8',
        _ => return None,
    })
}

/// Numbers of known kinds of which some digits were read as letters.
fn judge_read(place: &Place<'_>) -> Option<(usize, usize, PhiKind)> {
    let text = &place.after[..place.after.len().min(24)];
    let is_read = |b: &u8| is_taken_for_digit(*b).is_some();
    let lead = place.before.iter().rev().take(2).take_while(|b| is_read(b)).count();
    let goes_on = |b: &u8| matches!(b, b'-' | b'/' | b'.') || is_read(b);
    if lead == 0 && !text.get(place.run).is_some_and(goes_on) {
        return None;
    }
    // Up to what no number has.
    let (mut len, mut read) = (0, lead);
    for byte in text {
        match byte {
            b'0'..=b'9' | b'-' | b'/' | b'.' => {}
            letter if is_read(letter) => read += 1,
            _ => break,
        }
        len += 1;
    }
    if len < 8 || read == 0 || read > 4 {
        return None;
    }
    let before = &place.before[..place.before.len() - lead];
    if before.last().is_some_and(|&b| is_word(b)) {
        return None;
    }
    let found = if lead == 0 { place.found() } else { label::find(before) };
    let Some(Found { label: Label::Of(kind), weak: false, .. }) = found else { return None };
    let mut spelt = [0; 32];
    let whole = place.before[before.len()..].iter().chain(&text[..len]);
    for (to, from) in spelt.iter_mut().zip(whole) {
        *to = is_taken_for_digit(*from).unwrap_or(*from);
    }
    let (back, value, found) = free::judge(&Place::new(before, &spelt[..lead + len], place.now))?;
    (found == kind && value > lead).then_some((lead + back, value - lead, kind))
}

/// What stands at a place where nothing is found as it is spelt.
pub(super) fn judge(place: &Place<'_>) -> Option<(usize, usize, PhiKind)> {
    judge_spelt(place).or_else(|| judge_read(place))
}
