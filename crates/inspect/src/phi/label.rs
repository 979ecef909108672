//! Words before a value that say what it is: `DOB:`, `Social Security Number`, `"patientPhone": "`.
//!
//! The words are read backwards from the value. Words that only connect (`is`, `number`, `value`) are
//! passed over; the first other one has to end a label, or there is none. So a date behind `DOB
//! 03/04/1980, visit on` is no birth date, however near the label is.

use std::sync::LazyLock;

use super::PhiKind;

/// What the words before a value say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// The value is of this kind.
    Of(PhiKind),
    /// The value is a number of Medicare, and has to be as one is.
    Medicare,
    /// The value is something else: an order, a part, an invoice.
    Other,
}

/// A label, and whether `:`, `=` or `#` stands between it and the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub label: Label,
    pub marked: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Label(Label),
    /// A label only where a mark follows.
    Marked(Label),
    Connector,
}

/// Words in small letters; for each sort the labels that end in it, last word first.
struct Entry {
    last: u128,
    before: Vec<u128>,
    sort: Sort,
}

/// Up to 16 bytes of a word in lower case.
fn packed(word: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(word) {
        *to = from.to_ascii_lowercase();
    }
    u128::from_le_bytes(bytes)
}

const BIRTH: &str = "dob|d o b|date of birth|dates of birth|birth date|birthdate|birthday|birth day|born|birth time|\
    birthtime|bday|bdate|birth|birth dt|birthdt|geburtsdatum|geburtstag|geboren|geb|nacimiento|naissance|nacido|nacida";
const SSN: &str =
    "ssn|s s n|ss|social security|soc sec|social|ssnum|ssno|ssn no|socialsecurity|ssnumber|ssns";
const PHONE: &str = "phone|phones|telephone|tel|mobile|cell|cellphone|fax|pager|call|called|ph|telecom|tele|\
    dial|telefon|phone number|fax number|contact number|callback|hotline|reached at|reach at|telefax|\
    handy|mobil|facsimile|whatsapp|sms|text|beeper|voicemail";
const RECORD: &str = "mrn|m r n|mrns|mr no|mr number|medical record|med rec|medical rec|medical records|patient id|\
    pat id|patient no|patient number|patient num|patient identifier|pt id|pt no|pt number|chart no|\
    chart number|chart id|record no|record number|record num|hospital no|hospital number|mrno|mrnumber|patientid|patid|\
    emr id|ehr id|emr no|health record|medical record id|unit record|patient nr|patienten id|medrec|ehr number|\
    emr number|clinic number|clinic no|hospital id|medical number|patient mrn|record id|medicalrecord|pid";
const RECORD_MARKED: &str = "chart|mr|record|patient|rec";
const MEMBER: &str = "member id|member no|member number|subscriber id|subscriber no|subscriber number|beneficiary id|\
    beneficiary no|beneficiary number|medicaid id|medicaid no|medicaid number|insurance id|insurance no|\
    insurance number|health plan id|plan member|insured id|hicn|memberid|subscriberid|member identifier|\
    subscriber identifier|beneficiary identifier|plan id|health plan number|plan number|insured number|policyholder id|\
    insurance policy no|insurance policy number|insurance policy|health insurance|member num|medicaid|enrollee id|\
    insured no|health plan|enrollee number|cardholder id|membership number|membership id|membership no|plan beneficiary|\
    health plan member";
const MEMBER_MARKED: &str = "member|subscriber|beneficiary|enrollee";
const MEDICARE: &str = "mbi|medicare id|medicare no|medicare number|medicare beneficiary identifier|medicare|\
    medicare beneficiary|medicare beneficiary id|medicare beneficiary number|mbis";
const CARD: &str = "credit card|card number|card no|debit card|visa|mastercard|amex|card|cc|ccn|payment card|\
    american express|discover|master card|charge card|cardnumber";
const OTHER: &str = "order|order no|order number|part|part no|part number|ticket|ticket no|invoice|tracking|serial|\
    model|sku|version|po|item|catalog|lot|batch|reference|ref|confirmation|isbn|npi|ein|fein|ndc|firmware|build|\
    serial number|serial no|invoice no|ticket number|tracking number|reference number|reference no|\
    lot number|lot no|accession|accession number|accession no|account|account number|account no|acct|acct no|\
    routing|routing number|case|case number|case no|claim|claim number|claim no|asset|asset tag|device id|\
    license|license number|uuid|guid|oid|uid|udi|tax id|taxid|tin|study id|sample|specimen|sample id|specimen id|\
    group number|group no|group|encounter|visit|encounter id|encounter number|visit number|visit id|requisition|\
    order id|transaction|transaction id|transaction number|barcode|upc|ean|dea|issn|doi|page|room|\
    extension|ext|policy|policy no|policy number|catalogue|article|product|job|job id|process|code|checksum|hash|\
    message id|message|control id|iban|invoice number|purchase order|test|port|size|bytes|offset|line|error|\
    control number|ticket id|item number|batch number|catalog number|part id|catalog no|batch no|item no";
const CONNECTORS: &str = "is|no|number|num|nr|on|was|am|the|of|value|id|mm|dd|yyyy|yy|d|m|y|are|td|th|tr|span|b|strong|\
    em|label|div|string|text|to|at|for|and|or|his|her|their|my|your|patient|pt|s|as|date|dt|home|work|office|cell|day|\
    evening|daytime|main|primary|us|usa|format|listed|reads|li|p|dd|v|br|nbsp|el|le|de|extension|me|us|mobile|\
    last|confirmed|verified|recorded|given|direct|line|phone|identifier|numbers|file|field|following|date|him|them|lists|\
    use|use|valuestring|valuedate|or|via|now|self|emergency|contact|new|our|back|toll|free";

static TABLE: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let of = |kind| Sort::Label(Label::Of(kind));
    let lists = [
        (BIRTH, of(PhiKind::BirthDate)),
        (SSN, of(PhiKind::Ssn)),
        (PHONE, of(PhiKind::Phone)),
        (RECORD, of(PhiKind::RecordNumber)),
        (RECORD_MARKED, Sort::Marked(Label::Of(PhiKind::RecordNumber))),
        (MEMBER, of(PhiKind::MemberId)),
        (MEMBER_MARKED, Sort::Marked(Label::Of(PhiKind::MemberId))),
        (MEDICARE, Sort::Label(Label::Medicare)),
        (CARD, of(PhiKind::PaymentCard)),
        (OTHER, Sort::Label(Label::Other)),
        (CONNECTORS, Sort::Connector),
    ];
    let mut entries = Vec::new();
    for (list, sort) in lists {
        for label in list.split('|') {
            let mut words =
                label.split_ascii_whitespace().rev().map(|word| packed(word.as_bytes()));
            let last = words.next().unwrap_or_default();
            entries.push(Entry { last, before: words.collect(), sort });
        }
    }
    // Longer labels first, connectors last.
    entries.sort_by_key(|entry| {
        (entry.last, entry.sort == Sort::Connector, std::cmp::Reverse(entry.before.len()))
    });
    entries
});

/// Words that are read backwards at most.
const WORDS: usize = 10;

/// Bytes between words that are passed over.
fn is_gap(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t'
            | b':'
            | b'='
            | b'"'
            | b'\''
            | b'>'
            | b'<'
            | b'/'
            | b'('
            | b')'
            | b'['
            | b']'
            | b'-'
            | b'.'
            | b'|'
            | b'*'
            | b'_'
            | b','
            | b'+'
            | b'{'
            | b'\\'
            | b'`'
            | b'~'
    )
}

/// Whether a digit behind `rest` only tells several of a sort apart: `phone1`, `phone 2:`.
fn is_ordinal(rest: &[u8]) -> bool {
    let word = rest.strip_suffix(b" ").unwrap_or(rest);
    word.last().is_some_and(u8::is_ascii_alphabetic)
}

/// Walks back over words.
struct Words<'a> {
    text: &'a [u8],
    marked: bool,
    started: bool,
    breaks: u8,
}

impl Words<'_> {
    /// The word before, in small letters; `None` at a digit, at the end of a clause, at any other
    /// sign, and at the beginning.
    fn next(&mut self) -> Option<u128> {
        let mut comma = false;
        loop {
            let (&last, rest) = self.text.split_last()?;
            match last {
                b'#' => {
                    self.text = rest;
                    self.marked |= !self.started;
                    self.started = true;
                    return Some(packed(b"no"));
                }
                b'\n' | b'\r' => {
                    // A label may stand in the line before, if nothing else follows it there.
                    self.breaks += u8::from(last == b'\n');
                    if self.breaks > 1 || self.started {
                        return None;
                    }
                }
                b';' => {
                    if !rest.ends_with(b"&nbsp") {
                        return None;
                    }
                }
                b':' | b'=' | b'|' if !self.started => self.marked = true,
                b',' => {
                    // In JSON and tables a comma ends what was before.
                    if std::mem::replace(&mut comma, true) {
                        return None;
                    }
                }
                _ if is_gap(last) => {}
                b'0'..=b'9' if !self.started && is_ordinal(rest) => {}
                _ if last.is_ascii_alphabetic() => break,
                _ => return None,
            }
            self.text = rest;
        }
        if self.breaks == 1 && !self.started && !self.marked {
            return None;
        }
        self.started = true;
        let mut start = self.text.len() - 1;
        while start > 0 {
            let (here, before) = (self.text[start], self.text[start - 1]);
            if !before.is_ascii_alphabetic()
                || here.is_ascii_uppercase() && before.is_ascii_lowercase()
            {
                break;
            }
            start -= 1;
        }
        let (rest, word) = self.text.split_at(start);
        self.text = rest;
        if word.len() > 16 {
            return None;
        }
        // A letter above ASCII before it: part of a longer word.
        if rest.last().is_some_and(|&b| b >= 0x80) {
            return None;
        }
        Some(packed(word))
    }
}

/// What the words at the end of `before` say.
pub(super) fn find(before: &[u8]) -> Option<Found> {
    let table = &*TABLE;
    let mut words = Words { text: before, marked: false, started: false, breaks: 0 };
    let mut seen = [0u128; WORDS];
    let mut count = 0;
    let mut at = 0;
    while at < WORDS {
        if count <= at {
            seen[count] = words.next()?;
            count += 1;
        }
        let last = seen[at];
        let from = table.partition_point(|entry| entry.last < last);
        let mut connects = false;
        'entries: for entry in table[from..].iter().take_while(|entry| entry.last == last) {
            for (offset, &before) in entry.before.iter().enumerate() {
                let need = at + 1 + offset;
                if need >= WORDS {
                    continue 'entries;
                }
                while count <= need {
                    match words.next() {
                        Some(word) => seen[count] = word,
                        None => seen[count] = 0,
                    }
                    count += 1;
                }
                if seen[need] != before {
                    continue 'entries;
                }
            }
            match entry.sort {
                Sort::Label(label) => return Some(Found { label, marked: words.marked }),
                Sort::Marked(label) if words.marked && at == 0 => {
                    return Some(Found { label, marked: true });
                }
                Sort::Marked(_) => {}
                Sort::Connector => connects = true,
            }
        }
        if !connects {
            return None;
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(before: &str) -> Option<Label> {
        find(before.as_bytes()).map(|found| found.label)
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
            ("SSN#", Ssn),
            ("Social Security Number is ", Ssn),
            ("<td>SSN</td><td>", Ssn),
            ("patient_ssn=", Ssn),
            ("Home phone 2: ", Phone),
            ("{\"system\":\"phone\",\"value\":\"", Phone),
            ("MRN ", RecordNumber),
            ("Medical Record No.: ", RecordNumber),
            ("MR#: ", RecordNumber),
            ("Patient ID = ", RecordNumber),
            ("Chart: ", RecordNumber),
            ("SSN:\n", Ssn),
            ("Member ID: ", MemberId),
        ] {
            assert_eq!(kind(before), Some(Label::Of(expected)), "{before}");
        }
        assert_eq!(kind("Order No. "), Some(Label::Other));
        assert_eq!(kind("MBI: "), Some(Label::Medicare));
        for before in
            ["DOB 01/02/1980, seen ", "the chart ", "SSN\n", "SSN: x; other ", "Mr ", "ü", ""]
        {
            assert_eq!(kind(before), None, "{before}");
        }
    }
}
