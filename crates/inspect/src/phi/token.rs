//! Numbers of records and members beside their labels: letters, digits and dashes, with at least three
//! digits.

use super::{
    PhiKind,
    free::{Place, behind, code, is_word},
    label::{self, Label},
    near,
};

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

/// How many bytes before the place belong to the number, how many from it on, and what it is.
pub(super) fn token(
    place: &Place<'_>,
    run: usize,
    begins: bool,
) -> Option<(usize, usize, PhiKind)> {
    // Letters and dashes before the first digit belong to it; a digit there means that this is not
    // the first.
    let lead = place.before.iter().rev().take(12).take_while(|&&b| is_token(b)).count();
    let start = place.before.len() - lead;
    let prefix = &place.before[start..];
    if prefix.iter().any(u8::is_ascii_digit)
        || place.before[..start].last().is_some_and(|&b| is_word(b) && b != b'_' && b < 0x80)
        || lead == 0 && !begins
    {
        return None;
    }
    if run < 2 && lead == 0 && !place.after.get(1).is_some_and(|&b| is_token(b)) {
        return None;
    }
    let mut tail = place.after.iter().take(32).take_while(|&&b| is_token(b)).count();
    while place.after[..tail].last() == Some(&b'-') {
        tail -= 1;
    }
    let mut digits = place.after[..tail].iter().filter(|b| b.is_ascii_digit()).count();
    let parted = || matches!(place.after.get(run..), Some([b' ', b'0'..=b'9', ..]));
    if lead == 0 && run == tail && run <= 3 && parted() {
        // `943 476 5919`, `44 10 22`
        tail = spaced(place);
        digits = place.after[..tail].iter().filter(|b| b.is_ascii_digit()).count();
    }
    if digits < 3 || tail + lead > 24 || place.bare {
        return None;
    }
    let slashed = matches!(place.after.get(tail..tail + 2), Some([b'/', b'0'..=b'9']));
    if !slashed && !place.ends(tail) {
        return None;
    }
    // Of eight characters it may as well be no date.
    if place.date().is_some_and(|len| len != 8 || slashed) {
        return None;
    }
    let (lead, label) = of(place, start, prefix, tail)?;
    match label {
        Label::Of(PhiKind::RecordNumber) => Some((lead, tail, PhiKind::RecordNumber)),
        Label::Of(PhiKind::MemberId) if digits >= 4 => Some((lead, tail, PhiKind::MemberId)),
        _ => None,
    }
}

/// Groups of two to five digits with blanks between them: NHS numbers, numbers by last digits.
fn spaced(place: &Place<'_>) -> usize {
    let (lengths, count, end) = place.groups();
    let blanks = place.after[..end].iter().filter(|&&b| b == b' ').count() + 1 == count;
    match lengths[..count] {
        [3, 3, 4] | [2, 2, 2] | [2, 2, 3] | [3, 2, 2] | [3, 3] | [3, 3, 3] if blanks => end,
        _ => lengths[0],
    }
}

/// The label of a number that begins with `prefix`, and how many bytes before the place are the
/// number's own.
fn of(place: &Place<'_>, start: usize, prefix: &[u8], tail: usize) -> Option<(usize, Label)> {
    let before = &place.before[..start];
    let lead = prefix.len();
    if let Some(label) = label::slot(before, place.after) {
        return Some((lead, label));
    }
    let run = place.after[..tail].iter().filter(|b| b.is_ascii_digit()).count();
    let found = if lead == 0 { place.found() } else { label::find(before) };
    match found {
        Some(found) if !found.weak => return Some((lead, found.label)),
        // `patient 0048291`, but `patient 2 of 14`, `patient 20240214`.
        Some(found) if run >= 5 && place.date().is_none() => {
            return Some((lead, found.label));
        }
        Some(_) => return None,
        None => {}
    }
    let beside = if lead == 0 {
        place.beside()
    } else {
        near::find(before, &place.after[tail..]).or_else(|| code(before))
    };
    if let Some(label) = beside {
        return Some((lead, label));
    }
    if let Some(label) = behind(place, tail) {
        return Some((lead, label));
    }
    // `Hosp. No. A 221905`, `Subscriber ID: XWV 882019334`
    if lead == 0
        && let Some(text) = before.strip_suffix(b" ")
    {
        let letters = text.iter().rev().take(5).take_while(|b| b.is_ascii_uppercase()).count();
        let rest = &text[..text.len() - letters];
        if (1..=4).contains(&letters)
            && rest.ends_with(b" ")
            && let Some(found) = label::find(rest)
            && !found.weak
            && (letters < 3 || found.label == Label::Of(PhiKind::MemberId))
        {
            return Some((letters + 1, found.label));
        }
    }
    // `MRN-482913`, `MRN482913`: the label is the prefix itself.
    if lead >= 2 {
        let letters = prefix.iter().take_while(|b| b.is_ascii_alphabetic()).count();
        let own = letters >= 3 && prefix[letters..].iter().all(|b| *b == b'-');
        if own
            && let Some(label) = label::of_type(&prefix[..letters])
            && matches!(label, Label::Of(PhiKind::RecordNumber | PhiKind::MemberId))
        {
            return Some((lead, label));
        }
    }
    insured(before).map(|label| (lead, label))
}

/// `ID #:` in a line about an insurance, behind its name: a member's number.
fn insured(before: &[u8]) -> Option<Label> {
    let text = before.trim_ascii_end();
    let text = text.strip_suffix(b":").unwrap_or(text).trim_ascii_end();
    let number = text.strip_suffix(b"#").or(text.strip_suffix(b"No."));
    let text = number.unwrap_or(text).trim_ascii_end();
    let rest = text.strip_suffix(b"ID").or_else(|| text.strip_suffix(b"I.D."))?;
    if rest.last().is_some_and(|&b| is_word(b)) {
        return None;
    }
    let rest = &rest[rest.len().saturating_sub(96)..];
    let line = &rest[memchr::memrchr2(b'\n', b'\r', rest).map_or(0, |at| at + 1)..];
    const WORDS: [&[u8]; 12] = [
        b"nsurance",
        b"nsurer",
        b"NSURANCE",
        b"Payer",
        b"Payor",
        b"Coverage",
        b"COVERAGE",
        b"edicaid",
        b"edicare",
        b"upplement",
        b"Health Plan",
        b"PPO",
    ];
    let about = WORDS.iter().any(|word| memchr::memmem::find(line, word).is_some());
    about.then_some(Label::Of(PhiKind::MemberId))
}
