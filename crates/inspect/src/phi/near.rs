//! What stands beside a value in the same object: the type, system and code of FHIR's identifiers and
//! contacts, the name of a field whose value is in another member, roots of CDA's identifiers.

use super::{
    PhiKind,
    label::{self, Label},
};

/// Names of members and attributes that say nothing of their value.
const GENERIC: [&[u8]; 22] = [
    b"value",
    b"extension",
    b"id",
    b"number",
    b"val",
    b"data",
    b"answer",
    b"content",
    b"text",
    b"v",
    b"valuestring",
    b"valuedate",
    b"$date",
    b"identifier",
    b"no",
    b"nr",
    b"raw",
    b"assignedid",
    b"idnumber",
    b"fieldvalue",
    b"response",
    b"#text",
];

/// Identifiers' types of HL7 (table 0203), and whom those of others belong to.
fn of_code(code: &[u8]) -> Option<Label> {
    Some(match code {
        b"MR" | b"MRN" | b"PI" | b"PT" | b"MRT" | b"PRN" | b"NH" => {
            Label::Of(PhiKind::RecordNumber)
        }
        b"SS" | b"SSN" => Label::Of(PhiKind::Ssn),
        b"MB" | b"MC" | b"MA" | b"SN" | b"NIIP" | b"HC" | b"MCR" | b"MCD" => {
            Label::Of(PhiKind::MemberId)
        }
        b"DL" | b"PPN" | b"ACSN" | b"VN" | b"AN" | b"FILL" | b"PLAC" | b"NPI" | b"TAX" | b"BRN"
        | b"EI" | b"EN" | b"SR" | b"VS" | b"MD" | b"DEA" => Label::Other,
        _ => return None,
    })
}

/// Object identifiers of those who give numbers out (HL7's registry of them).
fn of_oid(text: &[u8]) -> Option<Label> {
    let oid = text.strip_prefix(b"urn:oid:").unwrap_or(text);
    Some(match oid.strip_prefix(b"2.16.840.1.113883.")? {
        b"4.1" => Label::Of(PhiKind::Ssn),
        b"4.572" | b"4.927" => Label::Of(PhiKind::MemberId),
        b"4.6" | b"4.2" | b"4.4" => Label::Other,
        b"2.1.4.1" => Label::Of(PhiKind::RecordNumber),
        _ => return None,
    })
}

fn of_string(text: &[u8]) -> Option<Label> {
    if text.len() < 2 {
        return None;
    }
    of_code(text)
        .or_else(|| of_oid(text))
        .or_else(|| label::of_type(&text[text.len().saturating_sub(64)..]))
}

fn is_generic(name: &[u8]) -> bool {
    name.len() <= 16 && GENERIC.iter().any(|generic| name.eq_ignore_ascii_case(generic))
}

/// The strings in double quotes in `text`, last first.
fn strings_back(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut end = text.len();
    std::iter::from_fn(move || {
        let close = memchr::memrchr(b'"', &text[..end])?;
        let open = memchr::memrchr(b'"', &text[..close])?;
        end = open;
        Some(&text[open + 1..close])
    })
}

/// What the object says in which a value stands between `before` and `after`.
pub(super) fn find(before: &[u8], after: &[u8]) -> Option<Label> {
    let text = before.strip_suffix(b"\"").unwrap_or(before);
    match text.trim_ascii_end().last()? {
        b':' => member(text.trim_ascii_end(), after),
        b'=' => attribute(text, after),
        _ => None,
    }
}

/// `"name":` at the end of `text`: the name, and what is before it.
fn name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_suffix(b":")?.trim_ascii_end().strip_suffix(b"\"")?;
    let open = memchr::memrchr(b'"', text)?;
    Some((&text[open + 1..], &text[..open]))
}

/// A member of a JSON object.
fn member(text: &[u8], after: &[u8]) -> Option<Label> {
    let (key, rest) = name(text)?;
    if !is_generic(key) {
        return None;
    }
    let start = edge(rest.iter().rev().copied(), b'}', b'{').map(|back| rest.len() - back);
    let beside = &rest[start.unwrap_or(0)..];
    if let Some(found) = strings_back(beside).find_map(of_string) {
        return Some(found);
    }
    let end = edge(after.iter().copied(), b'{', b'}').unwrap_or(after.len());
    // From the end of the value on.
    let rest_of_it = memchr::memchr(b'"', &after[..end]).map_or(end, |quote| quote + 1);
    if let Some(found) = strings_back(&after[rest_of_it..end]).find_map(of_string) {
        return Some(found);
    }
    // `"patient": {"id": "0048291"`
    let outer = rest[..start?].strip_suffix(b"{")?.trim_ascii_end();
    let outer = outer.strip_suffix(b"[").unwrap_or(outer).trim_ascii_end();
    let (outer, _) = name(outer)?;
    let mut path = [b' '; 64];
    let len = outer.len() + 1 + key.len();
    path.get_mut(..outer.len())?.copy_from_slice(outer);
    path.get_mut(outer.len() + 1..len)?.copy_from_slice(key);
    label::of_name(&path[..len]).or_else(|| label::of_name(outer))
}

/// How many bytes there are up to the bracket that none of its kind opens before.
fn edge(bytes: impl Iterator<Item = u8>, opens: u8, closes: u8) -> Option<usize> {
    let mut depth = 0;
    for (at, byte) in bytes.enumerate() {
        if byte == opens {
            depth += 1;
        } else if byte == closes {
            if depth == 0 {
                return Some(at);
            }
            depth -= 1;
        }
    }
    None
}

/// An attribute of an XML element.
fn attribute(text: &[u8], after: &[u8]) -> Option<Label> {
    let tag = memchr::memrchr(b'<', text)?;
    let inner = &text[tag + 1..text.len() - 1];
    let key = inner.iter().rposition(|b| b.is_ascii_whitespace())?;
    if !is_generic(&inner[key + 1..]) {
        return None;
    }
    let element = inner.split(u8::is_ascii_whitespace).next()?;
    let close = memchr::memchr(b'>', after)?;
    let value_end = memchr::memchr(b'"', &after[..close])? + 1;
    let beside = strings_back(&inner[..key]).chain(strings_back(&after[value_end..close]));
    if let Some(found) = beside.into_iter().find_map(of_string) {
        return Some(found);
    }
    let before = &text[..tag];
    match element {
        b"id" => {
            // The patient's own, after others of the same patient at most.
            let role = memchr::memmem::rfind(before, b"<patientRole")?;
            let only = before[role + 1..]
                .split(|&b| b == b'<')
                .skip(1)
                .all(|tag| tag.starts_with(b"id ") || tag.starts_with(b"/id"));
            only.then_some(Label::Of(PhiKind::RecordNumber))
        }
        b"value" => {
            let (open, shut) =
                [(&b"<identifier"[..], &b"</identifier"[..]), (b"<telecom", b"</telecom")]
                    .into_iter()
                    .filter_map(|(open, shut)| Some((memchr::memmem::rfind(before, open)?, shut)))
                    .max_by_key(|(at, _)| *at)?;
            let beside = &before[open..];
            if memchr::memmem::find(beside, shut).is_some() {
                return None;
            }
            let end = memchr::memmem::find(after, shut).unwrap_or(close);
            strings_back(beside)
                .chain(strings_back(&after[close.min(end)..end]))
                .find_map(of_string)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<Label> {
        let (before, after) = text.split_once('@').expect("a place");
        find(before.as_bytes(), after.as_bytes())
    }

    #[test]
    fn objects_say_what_their_values_are() {
        let record = Some(Label::Of(PhiKind::RecordNumber));
        let code = r#"{"type":{"coding":[{"code":"MR"}]},"system":"urn:oid:1.2.3","value":"@1"}"#;
        assert_eq!(at(code), record);
        assert_eq!(at(r#"{ "value": "@123", "type": { "text": "MRN" } }"#), record);
        assert_eq!(at(r#"{"patient": {"id": "@4"}}"#), record);
        assert_eq!(at(r#"{"type":{"text":"MRN"}},{"value":"@4"}"#), None);
        assert_eq!(at(r#"{"dob":{"$date":"@1"}}"#), Some(Label::Of(PhiKind::BirthDate)));
        assert_eq!(at(r#"{"order":{"id":"@4"}}"#), Some(Label::Other));
        assert_eq!(
            at(r#"<id root="2.16.840.1.113883.4.1" extension="@1"/>"#),
            Some(Label::Of(PhiKind::Ssn))
        );
        assert_eq!(at(r#"<patientRole><id extension="@1" root="1.2"/>"#), record);
        assert_eq!(at(r#"<encounter><id extension="@1" root="1.2"/>"#), None);
        let fhir = r#"<identifier><type><code value="MR"/></type><value value="@1"/></identifier>"#;
        assert_eq!(at(fhir), record);
    }
}
