//! What a text is, by how it begins and what it is called.

use crate::{kind::FileType as T, phi::header_columns};

fn find(text: &[u8], what: &[u8]) -> bool {
    memchr::memmem::find(text, what).is_some()
}

/// The type of a text that begins with `text`, in UTF-8 or a code page. `extension` in lower case.
pub(crate) fn sort(text: &[u8], extension: &[u8]) -> T {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let trimmed = text.trim_ascii_start();
    if is_hl7(text) {
        return T::HL7;
    }
    if trimmed.starts_with(b"ISA") && is_x12(trimmed) {
        return T::X12;
    }
    if (trimmed.starts_with(b"H|\\^&") || trimmed.starts_with(b"1H|\\^&")) && !trimmed.is_empty() {
        return T::ASTM;
    }
    if trimmed.starts_with(b"-----BEGIN ") {
        let line = &trimmed[..trimmed.len().min(64)];
        if find(line, b"PRIVATE KEY") {
            return T::PRIVATE_KEY;
        }
        if find(line, b"PGP MESSAGE") {
            return T::PGP;
        }
        return T::CERTIFICATE;
    }
    match trimmed.first() {
        Some(b'{' | b'[') if extension != b"ini" && extension != b"rtf" => {
            if let Some(json) = json(trimmed, extension) {
                return json;
            }
        }
        Some(b'<') => return markup(trimmed, extension),
        _ => {}
    }
    if let Some(dump) = dump(trimmed) {
        return dump;
    }
    if trimmed.starts_with(b"BEGIN:VCARD") {
        return T::VCARD;
    }
    if trimmed.starts_with(b"From ") && find(text, b"\nReceived:") {
        return T::MBOX;
    }
    if is_mail(trimmed) {
        return T::EML;
    }
    if trimmed.starts_with(b"#!") {
        return T::SCRIPT;
    }
    if let Some(patients) = header_columns(text) {
        return if patients { T::CSV_PATIENTS } else { T::CSV };
    }
    match extension {
        b"csv" | b"tsv" => T::CSV,
        b"sql" => T::SQL,
        b"ldif" => T::LDIF,
        b"log" => T::LOG,
        b"ini" | b"conf" | b"cfg" | b"toml" | b"yaml" | b"yml" | b"properties" | b"env" => {
            T::CONFIG
        }
        b"sh" | b"bat" | b"cmd" | b"ps1" | b"py" | b"pl" | b"vbs" => T::SCRIPT,
        _ => T::TEXT,
    }
}

/// A message, a batch or a file of batches, framed or not.
fn is_hl7(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    let text = text.strip_prefix(b"\x0b").unwrap_or(text).trim_ascii_start();
    let (Some(segment), Some(rest)) = (text.get(..3), text.get(3..)) else { return false };
    matches!(segment, b"MSH" | b"FHS" | b"BHS")
        && matches!(rest, [separator, encoding, ..]
            if separator.is_ascii_punctuation() && encoding.is_ascii_punctuation() && separator != encoding)
}

/// `ISA` has 16 elements of fixed length; the separator stands in the same places in all.
fn is_x12(text: &[u8]) -> bool {
    let (Some(&separator), Some(isa)) = (text.get(3), text.get(..106)) else { return false };
    !separator.is_ascii_alphanumeric()
        && [3, 6, 17, 20, 31, 34, 50, 53, 69, 76, 81, 83, 89, 99, 101, 103]
            .iter()
            .all(|&at| isa[at] == separator)
}

fn json(text: &[u8], extension: &[u8]) -> Option<T> {
    if find(&text[..text.len().min(4096)], b"\"resourceType\"") {
        return Some(T::FHIR_JSON);
    }
    let looks = match text[1..].trim_ascii_start().first() {
        Some(b'"' | b'}') => text[0] == b'{' || extension.starts_with(b"json"),
        Some(b'{' | b'[' | b']' | b'-' | b'0'..=b'9') => text[0] == b'[',
        _ => false,
    };
    (looks || matches!(extension, b"json" | b"ndjson" | b"jsonl")).then_some(T::JSON)
}

fn markup(text: &[u8], extension: &[u8]) -> T {
    let start = &text[..text.len().min(2048)];
    let lower = start.to_ascii_lowercase();
    if find(&lower, b"<!doctype html") || find(&lower, b"<html") {
        return T::HTML;
    }
    if find(start, b"http://hl7.org/fhir") {
        return T::FHIR_XML;
    }
    if find(start, b"urn:hl7-org:v3") {
        if find(start, b"AnnotatedECG") {
            return T::AECG;
        }
        if find(start, b"ClinicalDocument") {
            return T::CDA;
        }
    }
    if find(start, b"<svg") {
        return T::SVG;
    }
    match extension {
        b"htm" | b"html" => T::HTML,
        _ if text.starts_with(b"<?xml") || extension == b"xml" || extension == b"xsl" => T::XML,
        _ if matches!(text.get(1), Some(b'a'..=b'z' | b'A'..=b'Z' | b'!')) && find(text, b"</") => {
            T::XML
        }
        _ => T::TEXT,
    }
}

fn dump(text: &[u8]) -> Option<T> {
    if !matches!(text.first(), Some(b'-' | b'/' | b'P')) {
        return None;
    }
    let start = &text[..text.len().min(256)];
    if find(start, b"PostgreSQL database") {
        Some(T::PG_DUMP_SQL)
    } else if find(start, b"MySQL dump") || find(start, b"MariaDB dump") || find(start, b"-- Host:")
    {
        Some(T::MYSQL_DUMP)
    } else if text.starts_with(b"PRAGMA foreign_keys") {
        Some(T::SQLITE_DUMP)
    } else {
        None
    }
}

/// A message as RFC 5322 has it: header fields that each has.
fn is_mail(text: &[u8]) -> bool {
    const FIRST: [&[u8]; 8] = [
        b"Received:",
        b"Return-Path:",
        b"From:",
        b"MIME-Version:",
        b"Message-ID:",
        b"Date:",
        b"Delivered-To:",
        b"X-",
    ];
    FIRST.iter().any(|field| text.starts_with(field))
        && find(text, b"\nSubject:")
        && (find(text, b"\nTo:") || find(text, b"\nMessage-ID:") || find(text, b"\nMIME-Version:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_told_apart() {
        let cases: &[(&str, &str, T)] = &[
            ("MSH|^~\\&|LAB|A|EHR|B|20240102||ORU^R01|1|P|2.5\r", "", T::HL7),
            ("\x0bMSH|^~\\&|", "dat", T::HL7),
            ("FHS|^~\\&|\rBHS|^~\\&|\r", "hl7", T::HL7),
            ("MSHA is a word", "", T::TEXT),
            ("{\"resourceType\": \"Patient\"}", "json", T::FHIR_JSON),
            ("<Patient xmlns=\"http://hl7.org/fhir\">", "xml", T::FHIR_XML),
            ("<?xml version=\"1.0\"?><ClinicalDocument xmlns=\"urn:hl7-org:v3\">", "xml", T::CDA),
            ("<?xml version=\"1.0\"?><a/>", "", T::XML),
            ("<!DOCTYPE html><html>", "", T::HTML),
            ("{\"a\": 1}", "", T::JSON),
            ("[section]\nkey=value\n", "ini", T::CONFIG),
            ("-- PostgreSQL database dump\n", "sql", T::PG_DUMP_SQL),
            ("-- MySQL dump 10.13  Distrib\n", "sql", T::MYSQL_DUMP),
            ("--\n-- PostgreSQL database dump\n--\n", "", T::PG_DUMP_SQL),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "", T::PRIVATE_KEY),
            ("-----BEGIN CERTIFICATE-----\n", "", T::CERTIFICATE),
            ("patient_id,dob,name\n1,2,3\n", "txt", T::CSV_PATIENTS),
            ("sku,price,count\n1,2,3\n", "csv", T::CSV),
            ("From: a\nTo: b\nSubject: c\n\nd", "", T::EML),
            ("just words", "", T::TEXT),
        ];
        for (text, extension, expected) in cases {
            assert_eq!(sort(text.as_bytes(), extension.as_bytes()).id, expected.id, "{text}");
        }
        let wide: String = (0..300).map(|n| format!("question_{n},")).collect();
        assert_eq!(sort(format!("patient_id,{wide}").as_bytes(), b"dat"), T::CSV_PATIENTS);
        assert_eq!(sort(format!("sku,{wide}").as_bytes(), b"dat"), T::TEXT);
        let isa = "ISA*00*          *00*          *ZZ*SENDER         *ZZ*RECEIVER       *240102*1200*^*00501*000000001*0*P*:~";
        assert_eq!(sort(isa.as_bytes(), b""), T::X12);
    }
}
