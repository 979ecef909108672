//! Types, encrypted data, texts in their encodings, messages and archives, as an inventory meets them.

#![allow(clippy::unwrap_used, reason = "what is not there is a failure")]

mod support;

use std::{io, io::Write};

use drover_inspect::{
    ArchiveLimits, Class, Content, FileType, HashKey, InspectOptions, Inspector, PhiKind,
    Protection, Survey,
};
use drover_types::RelativePath;
use proptest::prelude::*;
use support::{Object, Writing, inspect, inspector};

/// Bytes that cannot be told from random ones.
fn random(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

fn padded(front: &[u8]) -> Vec<u8> {
    let mut bytes = front.to_vec();
    bytes.resize(9000.max(front.len()), 0);
    bytes
}

#[test]
fn types_go_by_content_and_then_by_name() {
    let mut innodb = vec![0; 38];
    innodb[25] = 8;
    let mut page = vec![0; 24];
    page[18..20].copy_from_slice(&[0x04, 0x20]);
    page[0] = 1;
    let mut oracle = vec![0; 32];
    oracle[..2].copy_from_slice(&[0, 0xa2]);
    oracle[28..].copy_from_slice(&[0x7d, 0x7c, 0x7b, 0x7a]);
    let mut iso = vec![0; 40_000];
    iso[32769..32774].copy_from_slice(b"CD001");
    let cases: &[(&str, &[u8], FileType)] = &[
        ("EHR.mdf", b"\x01\x0f\0\0\x08", FileType::MSSQL_DATA),
        ("EHR_log.LDF", b"\x01\x0f\0\0\x08", FileType::MSSQL_LOG),
        ("patient.ibd", &innodb, FileType::MYSQL_INNODB),
        ("16384", &page, FileType::POSTGRES_DATA),
        ("system01.dbf", &oracle, FileType::ORACLE),
        ("CACHE.DAT", b"\x01\x02\x03", FileType::CACHE),
        ("x.bak", b"TAPE\0\0\x03\0", FileType::MSSQL_BACKUP),
        ("dump", b"PGDMP\x01\x0e", FileType::PG_DUMP),
        ("a.txt", b"SQLite format 3\0", FileType::SQLITE),
        ("disk.vhdx", b"vhdxfile", FileType::VHDX),
        ("disk.qcow2", b"QFI\xfb\0\0\0\x03", FileType::QCOW2),
        ("mail.pst", b"!BDN\x11", FileType::PST),
        ("scan", b"%PDF-1.7\n%\xe2\xe3", FileType::PDF),
        ("photo", b"\xff\xd8\xff\xe0\0\x10JFIF", FileType::JPEG),
        ("disc", &iso, FileType::ISO),
        ("zeros.bin", &[0; 5000], FileType::ZEROS),
    ];
    for (name, front, expected) in cases {
        assert_eq!(inspect(name, &padded(front)).file_type.id, expected.id, "{name}");
    }
    assert_eq!(inspect("PG_VERSION", b"15\n").file_type, FileType::POSTGRES_MARK);
    assert_eq!(inspect("empty", b"").file_type, FileType::EMPTY);
    assert_eq!(
        inspect("id_rsa", b"-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n").file_type.class,
        Class::Key
    );
    let ids: std::collections::BTreeSet<_> = FileType::ALL.iter().map(|t| t.id).collect();
    assert_eq!(ids.len(), FileType::ALL.len(), "an id stands for two types");
}

#[test]
fn encrypted_data_is_told_by_content_and_the_name_says_by_whom() {
    let bytes = random(40_000);
    let protection = |name: &str, bytes: &[u8]| inspect(name, bytes).protection;
    assert_eq!(
        protection("report.docx.lockbit", &bytes),
        Some(Protection::Ransomed { family: "LockBit" })
    );
    assert_eq!(protection("report.docx", &bytes), Some(Protection::NotAsNamed));
    assert_eq!(protection("blob.bin", &bytes), Some(Protection::Encrypted));
    // Only the beginning is random: a known name counts, any other does not.
    let mut partly = bytes[..8192].to_vec();
    partly.resize(60_000, 7);
    assert_eq!(protection("x.conti", &partly), Some(Protection::Ransomed { family: "Conti" }));
    assert_eq!(protection("x.bin", &partly), None);
    // A name alone is not enough.
    assert_eq!(protection("functions.inc", b"<?php echo 1; ?> plain text of a program"), None);
    assert_eq!(
        protection("HOW_TO_DECRYPT.txt", b"pay"),
        Some(Protection::RansomNote { family: "several" })
    );
    assert_eq!(protection("volume", &padded(b"LUKS\xba\xbe\0\x02")), Some(Protection::Encrypted));
}

const LETTER: &str =
    "Patient: Zo\u{eb} Example\r\nDOB: 03/14/1957\r\nMRN: 00482913\r\nSSN: 536-90-4399\r\n";

fn check_letter(found: &drover_inspect::PhiCounts, how: &str) {
    for kind in [PhiKind::BirthDate, PhiKind::RecordNumber, PhiKind::Ssn] {
        assert_eq!(found.of(kind), 1, "{how}: {kind}");
    }
    assert_eq!(found.total(), 3, "{how}");
}

#[test]
fn every_encoding_is_looked_through() {
    let utf16: Vec<u8> = LETTER.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> =
        "\u{feff}".encode_utf16().chain(LETTER.encode_utf16()).flat_map(u16::to_be_bytes).collect();
    let latin: Vec<u8> = LETTER.chars().map(|c| c as u8).collect();
    for (how, bytes) in [
        ("utf-8", LETTER.as_bytes().to_vec()),
        ("utf-16le", utf16),
        ("utf-16be", big),
        ("latin-1", latin),
    ] {
        check_letter(&inspect("letter.txt", &bytes).phi, how);
    }
}

/// A zip with these members, each stored or deflated.
fn zip(members: &[(&str, &[u8], bool)]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes, packed) in members {
        let body = if *packed { deflate(bytes) } else { bytes.to_vec() };
        let offset = file.len() as u32;
        let method = if *packed { 8u16 } else { 0 };
        let mut common = Vec::new();
        common.extend([20, 0, 0, 0]);
        common.extend(method.to_le_bytes());
        common.extend([0; 8]);
        common.extend((body.len() as u32).to_le_bytes());
        common.extend((bytes.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        file.extend(b"PK\x03\x04");
        file.extend(&common);
        file.extend(name.as_bytes());
        file.extend(&body);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = file.len() as u32;
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    let count = members.len() as u16;
    file.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0, 0]);
    file
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file = Vec::new();
    for (name, bytes) in members {
        let mut header = [0u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..136].copy_from_slice(format!("{:011o}\0", bytes.len()).as_bytes());
        header[156] = b'0';
        header[257..263].copy_from_slice(b"ustar\0");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        file.extend(header);
        file.extend(*bytes);
        file.resize(file.len().next_multiple_of(512), 0);
    }
    file.resize(file.len() + 1024, 0);
    file
}

#[test]
fn archives_are_looked_into() {
    let letter = LETTER.as_bytes();
    let image = Object::default().file(Writing::Explicit);
    let stored = zip(&[("a/letter.txt", letter, false), ("empty", b"", false)]);
    let packed = zip(&[("a/letter.txt", letter, true), ("IM1", &image[..600], true)]);
    check_letter(&inspect("a.zip", &stored).phi, "stored");
    let found = inspect("a.zip", &packed);
    assert_eq!(found.phi.of(PhiKind::Ssn), 1);
    let contents = found.archive.unwrap();
    assert_eq!((contents.members, contents.types[&FileType::DICOM]), (2, 1));
    check_letter(&inspect("letter.txt.gz", &gzip(letter)).phi, "gzip");
    check_letter(&inspect("a.tar", &tar(&[("x/letter.txt", letter)])).phi, "tar");
    check_letter(&inspect("a.tgz", &gzip(&tar(&[("letter.txt", letter)]))).phi, "tgz");
    let nested = zip(&[("inner.zip", &packed, true), ("other.txt", b"nothing in it", true)]);
    let found = inspect("b.zip", &nested);
    assert_eq!(found.phi.of(PhiKind::Ssn), 1);
    assert_eq!(found.archive.unwrap().members, 4);
    let word = zip(&[
        ("[Content_Types].xml", b"<?xml version=\"1.0\"?><Types/>", true),
        (
            "word/document.xml",
            b"<?xml version=\"1.0\"?><w:p><w:t>SSN: 536-90-4399</w:t></w:p>",
            true,
        ),
    ]);
    let found = inspect("letter.docx", &word);
    assert_eq!((found.file_type, found.phi.of(PhiKind::Ssn)), (FileType::DOCX, 1));
}

#[test]
fn bombs_cost_no_more_than_the_limits() {
    let zeros = vec![b'7'; 80 << 20];
    let bomb = gzip(&gzip(&zeros));
    let found = inspect("bomb.gz.gz", &bomb);
    assert!(found.partly);
    // Members that overlap, as the bombs of David Fifield have them, and a depth without end.
    let one = zip(&[("x", &zeros[..32 << 20], true)]);
    let members: Vec<_> = (0..50).map(|_| ("x.zip", one.as_slice(), true)).collect();
    let found = inspect("quine.zip", &zip(&members));
    assert!(found.partly);
    assert!(found.scanned <= 64 << 20, "{}", found.scanned);
    let mut deep = LETTER.as_bytes().to_vec();
    for _ in 0..6 {
        deep = zip(&[("deeper.zip", &deep, true)]);
    }
    let found = inspect("deep.zip", &deep);
    assert!(found.partly && found.phi.is_empty());
}

#[test]
fn limits_are_kept_and_said() {
    let mut options = InspectOptions::new(HashKey::new([7; 32]));
    options.text_limit = 1 << 20;
    options.archives = ArchiveLimits { depth: 0, ..ArchiveLimits::default() };
    let mut inspector = Inspector::new(options);
    let line = "2024-02-14 10:15:00 INFO worker done, nothing of note in this line at all\n";
    let mut text = line.repeat((8 << 20) / line.len()).into_bytes();
    let end = text.len();
    text[end - 40..].copy_from_slice(b"\nthe last line. SSN: 536-90-4399 is it\n\n");
    let mut content = text.as_slice();
    let found = inspector.inspect(b"big.log", &mut content).unwrap();
    assert!(found.partly);
    assert!(found.read < 4 << 20, "{}", found.read);
    assert_eq!(found.phi.of(PhiKind::Ssn), 1, "the end is one of the samples");
    let archive = zip(&[("letter.txt", LETTER.as_bytes(), true)]);
    let found = inspector.inspect(b"a.zip", &mut archive.as_slice()).unwrap();
    assert!(found.phi.is_empty() && found.archive.is_none());
}

#[test]
fn a_sample_within_a_row_is_no_row() {
    let mut options = InspectOptions::new(HashKey::new([7; 32]));
    // Samples of 128 KiB.
    options.text_limit = 8 << 20;
    // Longer than a sample, and with what would be a number of a patient where one begins.
    let note = "12345, seen again and better, ".repeat(24_000);
    let text = format!("mrn,note,dob\n{}", format!("4711,\"{note}\",1961-12-03\n").repeat(16));
    let found = Inspector::new(options).inspect(b"notes.csv", &mut text.as_bytes()).unwrap();
    assert!(found.partly);
    // Some of the samples reach over the end of a row, into the next.
    let numbers = found.phi.of(PhiKind::RecordNumber);
    assert!((1..=16).contains(&numbers), "{numbers}");
}

#[test]
fn a_statement_goes_on_in_samples() {
    let mut options = InspectOptions::new(HashKey::new([7; 32]));
    options.text_limit = 1 << 20;
    let rows = "('Doe','1961-12-03','seen again and better'),\n".repeat(100_000);
    let text = format!("INSERT INTO patients (name, dob, note) VALUES\n{rows}");
    let found = Inspector::new(options).inspect(b"patients.sql", &mut text.as_bytes()).unwrap();
    let (rows, line) = (found.phi.of(PhiKind::BirthDate), text.len() as u64 / 100_000);
    assert!(found.partly && rows > found.scanned / line - 64, "{rows} of {}", found.scanned / line);
}

#[test]
fn interfaces_are_put_together() {
    let oru = "MSH|^~\\&|LAB|MERCY|EHR|CLINIC|20240214||ORU^R01|77|P|2.5.1\rPID|1||0048291^^^M^MR||DOE^JANE||19611203\r";
    let adt = "MSH|^~\\&|ADT|MERCY|EHR|CLINIC|20240301||ADT^A40|78|P|2.3\r";
    let mut survey = Survey::new();
    for (path, text) in [("in/1.hl7", oru.to_owned()), ("in/2.hl7", format!("{oru}{adt}"))] {
        let found = inspect(path, text.as_bytes());
        assert_eq!(found.file_type, FileType::HL7);
        survey.absorb(&RelativePath::new(path.as_bytes()).unwrap(), text.len() as u64, &found);
    }
    let rows = survey.interfaces();
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[0].key.sender.as_str(), rows[0].messages, rows[0].files), ("LAB", 2, 2));
    assert_eq!(rows[0].duplicate_ids, 1);
    assert_eq!(rows[1].key.message_type, "ADT^A40");
    assert_eq!(
        survey.phi().iter().map(|row| (row.kind, row.values)).collect::<Vec<_>>(),
        [(PhiKind::BirthDate, 2), (PhiKind::RecordNumber, 2)]
    );
    assert_eq!(survey.phi()[1].examples[0].shape.as_str(), "ddddddd");
    let shown = format!("{survey:?}");
    assert!(!shown.contains("0048291") && !shown.contains("19611203") && !shown.contains("DOE"));
}

/// A file whose reads fail, come in pieces, or claim more than was asked for.
struct Unruly<'a> {
    bytes: &'a [u8],
    reads: u64,
    fails_after: u64,
}

impl Content for Unruly<'_> {
    fn size(&self) -> u64 {
        self.bytes.len() as u64 * 2
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads += 1;
        if self.reads > self.fails_after {
            return Err(io::Error::other("gone"));
        }
        let len = buffer.len().min(1 + (offset % 700) as usize);
        self.bytes.read_at(offset, &mut buffer[..len])
    }
}

#[test]
fn a_failing_read_is_an_error_and_a_short_file_is_none() {
    let text = LETTER.repeat(100);
    let mut unruly = Unruly { bytes: text.as_bytes(), reads: 0, fails_after: 3 };
    assert!(inspector().inspect(b"x.txt", &mut unruly).is_err());
    let mut unruly = Unruly { bytes: text.as_bytes(), reads: 0, fails_after: u64::MAX };
    let found = inspector().inspect(b"x.txt", &mut unruly).unwrap();
    assert_eq!(found.phi.of(PhiKind::Ssn), 100);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_panics_and_reads_are_bounded(
        front in 0usize..9, name in "[a-z]{1,4}\\.(zip|gz|tar|dcm|hl7|csv|txt|iso)",
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
    ) {
        let object = Object::default();
        let mut bytes = match front {
            0 => object.file(Writing::Explicit),
            1 => object.file(Writing::Implicit),
            2 => object.file(Writing::Big),
            3 => object.deflated(),
            4 => object.data_set(Writing::Implicit).bytes,
            5 => zip(&[("a.txt", LETTER.as_bytes(), true), ("b.txt", LETTER.as_bytes(), false)]),
            6 => gzip(&tar(&[("a.txt", LETTER.as_bytes())])),
            7 => tar(&[("a.txt", LETTER.as_bytes())]),
            _ => LETTER.as_bytes().to_vec(),
        };
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        let found = inspect(&name, &bytes);
        // What overlaps can be read for each member that claims it, and no more.
        prop_assert!(found.read <= 70 << 20, "{}", found.read);
    }
}
