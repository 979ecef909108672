//! What makes digits and letters a value of a kind: the rules of those who give the numbers out.

use crate::date::Date;

/// The digits of `text`, and how many there are; at most `N`, else `None`.
pub(super) fn digits<const N: usize>(text: &[u8]) -> Option<([u8; N], usize)> {
    let mut out = [0; N];
    let mut count = 0;
    for &byte in text.iter().filter(|b| b.is_ascii_digit()) {
        *out.get_mut(count)? = byte - b'0';
        count += 1;
    }
    Some((out, count))
}

fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |sum, &digit| sum * 10 + u32::from(digit))
}

/// Whether nine digits can be a social security number: no area 000, 666 or 900 to 999, no group 00,
/// no serial 0000 (Social Security Administration, since the randomisation of 2011), and none of
/// those that stood in advertisements and forms or are somebody's placeholder.
pub(super) fn is_ssn(digits: &[u8]) -> bool {
    if digits.len() != 9 {
        return false;
    }
    let (area, group, serial) = (number(&digits[..3]), number(&digits[3..5]), number(&digits[5..]));
    let placeholder = digits.iter().all(|digit| *digit == digits[0]);
    !matches!(area, 0 | 666 | 900..)
        && group != 0
        && serial != 0
        && !placeholder
        && !matches!(
            (area, group, serial),
            (78, 5, 1120) | (219, 9, 9999) | (457, 55, 5462) | (123, 45, 6789)
        )
}

/// Whether ten digits can be a telephone number of North America: area and exchange begin with 2 to 9,
/// and no area is `N11`. `loose`, next to a label, takes any exchange.
pub(super) fn is_phone(digits: &[u8], loose: bool) -> bool {
    let digits = match digits {
        [1, rest @ ..] if rest.len() == 10 => rest,
        _ => digits,
    };
    digits.len() == 10
        && digits[0] >= 2
        && !(digits[1] == 1 && digits[2] == 1)
        && (loose || digits[3] >= 2)
        && !digits.iter().all(|digit| *digit == digits[0])
}

/// The check digit of ISO/IEC 7812-1, annex B (Luhn).
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, &digit)| match (index % 2, digit) {
            (0, digit) => u32::from(digit),
            (_, digit) if digit < 5 => u32::from(digit) * 2,
            (_, digit) => u32::from(digit) * 2 - 9,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether the digits are the number of a payment card: the ranges and lengths of the large schemes,
/// and the check digit.
pub(super) fn is_card(digits: &[u8]) -> bool {
    let len = digits.len();
    if !(13..=19).contains(&len) {
        return false;
    }
    let (two, three, four) = (number(&digits[..2]), number(&digits[..3]), number(&digits[..4]));
    let scheme = match (digits[0], len) {
        (4, 13 | 16 | 19) => true,
        (_, 15) => two == 34 || two == 37,
        (_, 14) => two == 36 || two == 38 || two == 39 || (300..=305).contains(&three),
        (_, 16..=19) => {
            len == 16 && ((51..=55).contains(&two) || (2221..=2720).contains(&four))
                || four == 6011
                || two == 65
                || (644..=649).contains(&three)
                || (3528..=3589).contains(&four)
                || two == 62
        }
        _ => false,
    };
    scheme && luhn(digits) && digits.iter().any(|digit| *digit != digits[len - 1])
}

/// Whether eleven characters are a Medicare Beneficiary Identifier (CMS, "Understanding the MBI
/// format"): a digit from 1, a letter, either, a digit, a letter, either, a digit, two letters, two
/// digits; of letters none that looks like a digit (S, L, O, I, B, Z).
pub(super) fn is_mbi(characters: &[u8]) -> bool {
    let is_letter = |b: u8| {
        b.is_ascii_alphabetic()
            && !matches!(b.to_ascii_uppercase(), b'S' | b'L' | b'O' | b'I' | b'B' | b'Z')
    };
    let rules = b"1A*0A*0AA00";
    characters.len() == rules.len()
        && characters.iter().zip(rules).all(|(&character, rule)| match rule {
            b'1' => matches!(character, b'1'..=b'9'),
            b'0' => character.is_ascii_digit(),
            b'A' => is_letter(character),
            _ => character.is_ascii_digit() || is_letter(character),
        })
}

/// The month that a word of letters names or abbreviates, in English, German, French or Spanish.
fn month(word: &[u8]) -> Option<u32> {
    const MONTHS: [&[&str]; 12] = [
        &["jan", "january", "januar", "janvier", "enero"],
        &["feb", "february", "februar", "fevrier", "febrero"],
        &["mar", "march", "maerz", "mars", "marzo"],
        &["apr", "april", "avril", "abril"],
        &["may", "mai", "mayo"],
        &["jun", "june", "juni", "juin", "junio"],
        &["jul", "july", "juli", "juillet", "julio"],
        &["aug", "august", "aout", "agosto"],
        &["sep", "sept", "september", "septembre", "septiembre"],
        &["oct", "october", "oktober", "okt", "octobre", "octubre"],
        &["nov", "november", "novembre", "noviembre"],
        &["dec", "december", "dezember", "dez", "decembre", "diciembre"],
    ];
    if !(3..=10).contains(&word.len()) {
        return None;
    }
    // Few words begin as a month does.
    let first = [word[0], word[1], word[2]].map(|b| b.to_ascii_lowercase());
    #[rustfmt::skip]
    let may_be = matches!(
        &first,
        b"jan" | b"ene" | b"feb" | b"fev" | b"mar" | b"mae" | b"apr" | b"avr" | b"abr" | b"may" | b"mai" | b"jun"
            | b"jui" | b"jul" | b"aug" | b"aou" | b"ago" | b"sep" | b"oct" | b"okt" | b"nov" | b"dec" | b"dez" | b"dic"
    );
    if !may_be {
        return None;
    }
    let at = MONTHS
        .iter()
        .position(|names| names.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes())))?;
    Some(at as u32 + 1)
}

fn leading_digits(text: &[u8]) -> usize {
    text.iter().take(9).take_while(|b| b.is_ascii_digit()).count()
}

fn parse(text: &[u8]) -> u32 {
    text.iter()
        .fold(0, |sum, &b| sum.wrapping_mul(10).wrapping_add(u32::from(b.wrapping_sub(b'0'))))
}

/// Two digits of a year stand for one of the last hundred years.
fn year(text: &[u8], now: u32) -> Option<u32> {
    match text.len() {
        4 => Some(parse(text)),
        2 => {
            let this = now % 100;
            let year = parse(text);
            Some(now - this + year - if year > this { 100 } else { 0 })
        }
        _ => None,
    }
}

/// A real day, in either order of day and month, on which somebody may have been born by the year
/// `now`.
fn day(year: u32, a: u32, b: u32, now: u32) -> Option<Date> {
    Date::new(year, a, b)
        .or_else(|| Date::new(year, b, a))
        .filter(|date| u32::from(date.year) <= now)
}

/// The length of the date that `text` begins with, whose first digits are there: `1980-01-02`,
/// `1/2/80`, `02.01.1980`, `19800102`, `2 January 1980`, `02-JAN-80`.
pub(super) fn date(text: &[u8], now: u32) -> Option<usize> {
    let first = leading_digits(text);
    let ends = |end: usize| {
        let next = text.get(end).copied().unwrap_or(b' ');
        let after = text.get(end + 1).copied().unwrap_or(b' ');
        let joined = matches!(next, b'-' | b'/' | b'.') && after.is_ascii_digit();
        (!next.is_ascii_digit() && !joined).then_some(end)
    };
    if first == 8 {
        let [y, m, d] = [parse(&text[..4]), parse(&text[4..6]), parse(&text[6..8])];
        // MMDDYYYY, too.
        let other = || Date::new(parse(&text[4..8]), parse(&text[..2]), parse(&text[2..4]));
        let date = Date::new(y, m, d).or_else(other).filter(|date| u32::from(date.year) <= now);
        return date.and_then(|_| ends(8));
    }
    let separator = *text.get(first)?;
    let rest = &text[first + 1..];
    if matches!(separator, b'/' | b'-' | b'.') && rest.first().is_some_and(u8::is_ascii_digit) {
        let second = leading_digits(rest);
        if rest.get(second) != Some(&separator) || second > 2 {
            return None;
        }
        let rest = &rest[second + 1..];
        let third = leading_digits(rest);
        let end = first + second + third + 2;
        let (one, two, three) =
            (&text[..first], &text[first + 1..first + 1 + second], &rest[..third]);
        let date = match (first, third) {
            (4, 1..=2) => day(parse(one), parse(two), parse(three), now),
            (1..=2, 4 | 2) => day(year(three, now)?, parse(one), parse(two), now),
            _ => None,
        };
        return date.and_then(|_| ends(end));
    }
    if first == 4 {
        return year_first(text, now).and_then(ends);
    }
    if !(1..=2).contains(&first) {
        return None;
    }
    // `2 January 1980`, `2nd of January, 1980`, `02-JAN-1980`, `3. März 1980`
    let mut at = first;
    if matches!(text.get(at..at + 2), Some(b"st" | b"nd" | b"rd" | b"th" | b"er")) {
        at += 2;
    }
    at += gap(&text[at..]);
    at += joint(&text[at..]);
    let word = text[at..].iter().take(12).take_while(|b| b.is_ascii_alphabetic()).count();
    let (month, word) = match month(&text[at..at + word]) {
        Some(month) => (month, word),
        // März, février, août: with the letters above ASCII in UTF-8 or Latin-1.
        None => accented(&text[at..])?,
    };
    at += word;
    at += gap(&text[at..]);
    at += joint(&text[at..]);
    let last = leading_digits(&text[at..]);
    let year = year(&text[at..at + last], now)?;
    Date::new(year, month, parse(&text[..first])).filter(|_| year <= now)?;
    ends(at + last)
}

/// `of`, and what it is in French and Spanish, between the parts of a date.
fn joint(text: &[u8]) -> usize {
    let words: [&[u8]; 3] = [b"of ", b"de ", b"del "];
    words.iter().find(|word| text.starts_with(word)).map_or(0, |word| word.len())
}

/// The end of a date written `1980 Jan 02`, `1980-Jan-02`.
fn year_first(text: &[u8], now: u32) -> Option<usize> {
    let mut at = 4 + gap(&text[4..]);
    let word = text[at..].iter().take(12).take_while(|b| b.is_ascii_alphabetic()).count();
    let month = month(&text[at..at + word])?;
    at += word;
    at += gap(&text[at..]);
    let last = leading_digits(&text[at..]);
    let year = Some(parse(&text[..4])).filter(|year| *year <= now)?;
    Date::new(
        year,
        month,
        parse(text.get(at..at + last).filter(|day| matches!(day.len(), 1 | 2))?),
    )?;
    Some(at + last)
}

/// The length of a date of six digits, `031457` or `570314`.
pub(super) fn short_date(text: &[u8], now: u32) -> Option<usize> {
    if leading_digits(text) != 6 {
        return None;
    }
    let [a, b, c] = [&text[..2], &text[2..4], &text[4..6]];
    day(year(c, now)?, parse(a), parse(b), now)
        .or_else(|| Date::new(year(a, now)?, parse(b), parse(c)))
        .map(|_| 6)
}

/// The date written `03 14 1957`, month or day first, as forms have it in boxes, and how long it is.
pub(super) fn spaced_date(text: &[u8], now: u32) -> Option<usize> {
    let first = leading_digits(text);
    let rest = text.get(first..)?.strip_prefix(b" ")?;
    let second = leading_digits(rest);
    let third = rest.get(second..)?.strip_prefix(b" ")?;
    if !(1..=2).contains(&first) || !(1..=2).contains(&second) || leading_digits(third) != 4 {
        return None;
    }
    day(parse(&third[..4]), parse(&text[..first]), parse(&rest[..second]), now)?;
    Some(first + second + 6)
}

/// Months whose names have letters above ASCII, and how many bytes they take.
fn accented(text: &[u8]) -> Option<(u32, usize)> {
    const NAMES: [(&[u8], u32); 8] = [
        ("März".as_bytes(), 3),
        (b"M\xe4rz", 3),
        ("février".as_bytes(), 2),
        (b"f\xe9vrier", 2),
        ("août".as_bytes(), 8),
        (b"ao\xfbt", 8),
        ("décembre".as_bytes(), 12),
        (b"d\xe9cembre", 12),
    ];
    NAMES.iter().find(|(name, _)| text.starts_with(name)).map(|&(name, month)| (month, name.len()))
}

fn gap(text: &[u8]) -> usize {
    text.iter().take(3).take_while(|b| matches!(b, b' ' | b'-' | b'.' | b',' | b'/')).count()
}

/// The date written `January 2, 1980`, whose day begins at the start of `after` and whose month ends
/// `before`: how many bytes it takes before and after.
pub(super) fn date_after_month(before: &[u8], after: &[u8], now: u32) -> Option<(usize, usize)> {
    let gaps = before.iter().rev().take(3).take_while(|b| matches!(b, b' ' | b'.' | b'-')).count();
    let first = leading_digits(after);
    if gaps == 0 || !(1..=2).contains(&first) {
        return None;
    }
    let mut at = first;
    if matches!(after.get(at..at + 2), Some(b"st" | b"nd" | b"rd" | b"th")) {
        at += 2;
    }
    let separated = gap(&after[at..]);
    at += separated;
    if separated == 0 || leading_digits(&after[at..]) != 4 {
        return None;
    }
    let word_end = before.len() - gaps;
    let letters =
        before[..word_end].iter().rev().take(12).take_while(|b| b.is_ascii_alphabetic()).count();
    let month = month(&before[word_end - letters..word_end])?;
    let year = parse(&after[at..at + 4]);
    Date::new(year, month, parse(&after[..first])).filter(|_| year <= now)?;
    Some((letters + gaps, at + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nine(text: &str) -> bool {
        let (digits, count) = digits::<9>(text.as_bytes()).expect("nine at most");
        is_ssn(&digits[..count])
    }

    #[test]
    fn social_security_numbers_follow_their_rules() {
        assert!(nine("536-90-4399") && nine("001-01-0001") && nine("899-99-9998"));
        for bad in [
            "000-12-3456",
            "666-12-3456",
            "900-12-3456",
            "999-99-9999",
            "536-00-4399",
            "536-90-0000",
            "078-05-1120",
            "219-09-9999",
            "111-11-1111",
            "12345678",
        ] {
            assert!(!nine(bad), "{bad}");
        }
    }

    #[test]
    fn cards_have_a_scheme_and_a_check_digit() {
        let card =
            |text: &str| digits::<19>(text.as_bytes()).is_some_and(|(d, n)| is_card(&d[..n]));
        for good in [
            "4111111111111111",
            "5555555555554444",
            "378282246310005",
            "6011111111111117",
            "3530111333300000",
            "30569309025904",
            "2223003122003222",
        ] {
            assert!(card(good), "{good}");
        }
        for bad in ["4111111111111112", "1234567812345670", "0000000000000000", "411111111111"] {
            assert!(!card(bad), "{bad}");
        }
    }

    #[test]
    fn beneficiary_identifiers_have_a_format() {
        assert!(is_mbi(b"1EG4TE5MK73"));
        for bad in
            [&b"0EG4TE5MK73"[..], b"1SG4TE5MK73", b"1EG4TE5MK7", b"1EG4TE5MKA3", b"11G4TE5MK73"]
        {
            assert!(!is_mbi(bad));
        }
    }

    #[test]
    fn dates_are_real() {
        for good in [
            "1980-01-02",
            "1/2/80",
            "02.01.1980",
            "31/12/1999",
            "19800102",
            "01021980",
            "2 January 1980",
            "2nd of March, 1971",
            "02-JAN-1980",
            "3. März 1980",
            "12/31/99",
        ] {
            assert_eq!(date(good.as_bytes(), 2026), Some(good.len()), "{good}");
        }
        for bad in [
            "1980-13-32",
            "30/02/1980",
            "1/2/3",
            "2099-01-01",
            "1980-01",
            "10.1.2.3",
            "2 Jan",
            "1/2/1980/3",
        ] {
            assert_eq!(date(bad.as_bytes(), 2026), None, "{bad}");
        }
        assert_eq!(date_after_month(b"born January ", b"2, 1980.", 2026), Some((8, 7)));
        assert_eq!(date_after_month(b"room ", b"2, 1980.", 2026), None);
    }
}
