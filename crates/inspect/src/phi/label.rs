//! Words before a value that say what it is: `DOB:`, `Social Security Number`, `"patientPhone": "`.
//!
//! The words are read backwards from the value. Words that only connect (`is`, `number`, `value`) are
//! passed over, and the name of somebody whose value it is (`SSN for Mr. Doe is`); the first other one
//! has to end a label, or there is none. So a date behind `DOB 03/04/1980, visit on` is no birth date,
//! however near the label is.

use std::sync::LazyLock;

use super::{
    PhiKind,
    vocabulary::{Sort, Vocabulary},
    words::{Packed, Word, Words, packed},
};

/// What the words before a value say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// The value is of this kind.
    Of(PhiKind),
    /// The value is a number of Medicare, and has to be as one is.
    Medicare,
    /// The value is the number of an account: somebody's card, or something else.
    Account,
    /// The value is something else: an order, a part, an invoice.
    Other,
}

/// A label, and whether `:`, `=` or `#` stands between it and the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub label: Label,
    pub marked: bool,
    /// A word that is a label only before a number that leaves no doubt: `patient 0048291`.
    pub weak: bool,
}

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(Vocabulary::new);

/// Words that are read backwards at most.
const WORDS: usize = 12;
/// Words of somebody's name.
const NAMES: usize = 3;

/// Whether `word` leads from a label to somebody's name or to a place: `SSN for`, `born in`.
fn leads(word: Packed) -> bool {
    static LEADS: LazyLock<[Packed; 5]> =
        LazyLock::new(|| [b"for".as_slice(), b"of", b"in", b"fur", b"de"].map(packed));
    LEADS.contains(&word)
}

/// Whether the label that begins at `start` in the line above goes on into this line: it is all there
/// is, or the end of a sentence, and not the name of a table's last column.
fn goes_on(before: &[u8], start: usize) -> bool {
    let line = &before[memchr::memrchr(b'\n', &before[..start]).map_or(0, |at| at + 1)..start];
    let trimmed = line.trim_ascii();
    let parts =
        |pair: &[u8]| matches!(pair, [b' ', b' '] | [b'\t' | b'|', _] | [b',' | b';', b'!'..=255]);
    !trimmed.windows(2).any(parts)
        && !trimmed.ends_with(b"|")
        && (trimmed.is_empty()
            || !line.ends_with(b"  ") && !line.ends_with(b"\t") && !line.ends_with(b","))
}

/// What the words at the end of `before` say.
pub(super) fn find(before: &[u8]) -> Option<Found> {
    let vocabulary = &*VOCABULARY;
    let mut words = Words::new(before);
    let mut seen = [Word::default(); WORDS];
    // The line of each word, counted from the value's.
    let mut lines = [0; WORDS];
    let mut count = 0;
    let (mut at, mut names) = (0, 0);
    // What is said by a word that may be part of a longer phrase: `birth date of the patient:`.
    let mut weak = None;
    while at < WORDS {
        while count <= at {
            let Some(word) = words.next() else { return weak };
            seen[count] = word;
            lines[count] = words.breaks;
            count += 1;
        }
        let last = seen[at];
        if last.packed == 0 {
            return weak;
        }
        let mut connects = None;
        'entries: for entry in vocabulary.ending(last.packed) {
            let mut first = at;
            for before in entry.before() {
                first += 1;
                if first >= WORDS {
                    continue 'entries;
                }
                while count <= first {
                    seen[count] = words.next().unwrap_or_default();
                    lines[count] = words.breaks;
                    count += 1;
                }
                if seen[first].packed != before {
                    continue 'entries;
                }
            }
            let found = |label, weak| {
                let named = names == 0 || leads(seen[at - 1].packed);
                let start = seen[first].start;
                let here = lines[at] == 0 || words.marked || goes_on(before, start);
                (named && here && !is_behind(before, start)).then_some(Found {
                    label,
                    marked: words.marked,
                    weak,
                })
            };
            match entry.sort {
                Sort::Label(label) => return found(label, false).or(weak),
                Sort::Weak(label) if names == 0 && lines[at] == 0 => {
                    weak = weak.or_else(|| found(label, at > 0 || !words.marked));
                }
                Sort::Marked(label) if words.marked && at == 0 && lines[0] == 0 => {
                    weak = found(label, false);
                }
                Sort::Weak(_) | Sort::Marked(_) => {}
                Sort::Connector => {
                    connects = Some(first + 1);
                    break;
                }
            }
        }
        match connects {
            Some(next) => at = next,
            None => {
                // A name stands before `is` or a mark.
                if !last.capital || names == NAMES || at == 0 && !words.marked {
                    return weak;
                }
                names += 1;
                at += 1;
            }
        }
    }
    weak
}

/// Whether the label that begins at `start` stands in parentheses behind another value.
fn is_behind(before: &[u8], start: usize) -> bool {
    let lead = &before[..start];
    let lead = lead.strip_suffix(b"(").map(|lead| lead.strip_suffix(b" ").unwrap_or(lead));
    lead.is_some_and(|lead| lead.last().is_some_and(u8::is_ascii_digit))
}

/// What the label says whose turn it is where several share a colon: `Name/MRN/DOB: Doe / 4711 / `.
pub(super) fn slot(before: &[u8], after: &[u8]) -> Option<Label> {
    let text = before.trim_ascii_end();
    let fits = match text.last()? {
        b'/' => text.ends_with(b" /") && text.len() < before.len(),
        b':' => {
            let values = &after[..after.len().min(24)];
            memchr::memmem::find(values, b" / ").is_some()
        }
        _ => false,
    };
    if !fits {
        return None;
    }
    let line = &text[text.len().saturating_sub(96)..];
    let line = &line[memchr::memrchr2(b'\n', b'\r', line).map_or(0, |at| at + 1)..];
    let (names, values) = line.split_at(memchr::memrchr(b':', line)?);
    let turn = values.windows(2).filter(|pair| pair == b" /").count();
    let names = &names[memchr::memmem::rfind(names, b"  ").map_or(0, |at| at + 2)..];
    memchr::memchr(b'/', names)?;
    of_name(names.split(|&b| b == b'/').nth(turn)?)
}

/// What a name of a column or a field says.
pub(super) fn of_name(name: &[u8]) -> Option<Label> {
    let mut text = [b':'; 65];
    let mut len = 0;
    // Numbers tell several of a sort apart: `phone2`, `ins1id`.
    for (to, from) in text[..64].iter_mut().zip(name.iter().filter(|b| !b.is_ascii_digit())) {
        *to = *from;
        len += 1;
    }
    find(&text[..=len]).map(|found| found.label)
}

/// What the name of a type says, in which `patient` does not stand for the patient's number.
pub(super) fn of_type(name: &[u8]) -> Option<Label> {
    find(name).filter(|found| !found.weak).map(|found| found.label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(before: &str) -> Option<Label> {
        find(before.as_bytes()).filter(|found| !found.weak).map(|found| found.label)
    }

    #[test]
    fn words_before_a_value_are_understood() {
        use PhiKind::*;
        for (before, expected) in [
            ("DOB: ", BirthDate),
            ("D.O.B. ", BirthDate),
            ("Date of Birth (mm/dd/yyyy): ", BirthDate),
            ("\"birthDate\": \"", BirthDate),
            ("<birthTime value=\"", BirthDate),
            ("was born on ", BirthDate),
            ("born in Graz on ", BirthDate),
            ("Geb.-Datum: ", BirthDate),
            ("née le ", BirthDate),
            ("n\u{e9}(e) le ", BirthDate),
            ("D0B: ", BirthDate),
            ("SSN#", Ssn),
            ("Social Security Number is ", Ssn),
            ("<td>SSN</td><td>", Ssn),
            ("patient_ssn=", Ssn),
            ("PATIENTSSN=", Ssn),
            ("SSN for Mr. Doe is ", Ssn),
            ("SSN………", Ssn),
            ("Home phone 2: ", Phone),
            ("{\"system\":\"phone\",\"value\":\"", Phone),
            ("TEL;TYPE=CELL,VOICE:", Phone),
            ("MRN ", RecordNumber),
            ("Medical Record No.: ", RecordNumber),
            ("MR#: ", RecordNumber),
            ("Patient ID = ", RecordNumber),
            ("Chart: ", RecordNumber),
            ("Nº de historia clínica: ", RecordNumber),
            ("SSN:\n", Ssn),
            ("SSN\n", Ssn),
            ("her social\nsecurity number is ", Ssn),
            ("1a. INSURED'S I.D. NUMBER\n   ", MemberId),
            ("Member ID: ", MemberId),
        ] {
            assert_eq!(kind(before), Some(Label::Of(expected)), "{before}");
        }
        assert_eq!(kind("Order No. "), Some(Label::Other));
        assert_eq!(kind("Patient Account No.: "), Some(Label::Other));
        assert_eq!(kind("MBI: "), Some(Label::Medicare));
        for before in [
            "DOB 01/02/1980, seen ",
            "the chart ",
            "name,SSN\n",
            "Name  SSN\n",
            "| Name | SSN |\n",
            "SSN\n\n",
            "DOB:\nDate: ",
            "SSN: x; other ",
            "SSN, Boston ",
            "Mr ",
            "ü",
            "",
        ] {
            assert_eq!(kind(before), None, "{before}");
        }
    }
}
