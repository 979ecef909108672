//! What looking into files costs: text by sort, and headers of DICOM objects.

#![allow(missing_docs, reason = "criterion_group! makes undocumented functions")]

use std::{fmt::Write, hint::black_box};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use drover_inspect::{HashKey, InspectOptions, Inspector};

const SIZE: usize = 8 << 20;

/// Numbers that depend on nothing: xorshift64*, Vigna 2016.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

/// Text until there is enough of it, line by line.
fn lines(mut line: impl FnMut(&mut String, &mut Numbers)) -> Vec<u8> {
    let mut text = String::with_capacity(SIZE + 4096);
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    while text.len() < SIZE {
        line(&mut text, &mut numbers);
    }
    text.into_bytes()
}

fn prose() -> Vec<u8> {
    let words = [
        "patient",
        "was",
        "seen",
        "for",
        "follow-up",
        "of",
        "the",
        "left",
        "knee",
        "and",
        "denies",
        "pain",
    ];
    lines(|text, numbers| {
        for _ in 0..14 {
            text.push_str(words[numbers.below(12) as usize]);
            text.push(' ');
        }
        if numbers.below(30) == 0 {
            let _ = write!(
                text,
                "DOB: {:02}/{:02}/{}",
                1 + numbers.below(12),
                1 + numbers.below(28),
                1930 + numbers.below(90)
            );
        }
        text.push('\n');
    })
}

fn log() -> Vec<u8> {
    lines(|text, numbers| {
        let _ = writeln!(
            text,
            "2024-02-14 10:{:02}:{:02},{:03} INFO  [worker-{}] message {} from 10.2.{}.{}:2575 stored in {} ms",
            numbers.below(60),
            numbers.below(60),
            numbers.below(1000),
            numbers.below(16),
            numbers.below(1 << 30),
            numbers.below(256),
            numbers.below(256),
            numbers.below(900),
        );
    })
}

fn table() -> Vec<u8> {
    let mut text = b"patient_id,last_name,first_name,dob,ssn,phone,visit_date,total\n".to_vec();
    text.extend(lines(|text, numbers| {
        let _ = writeln!(
            text,
            "{},Doe,Jane,{}-{:02}-{:02},{:03}-{:02}-{:04},617-555-{:04},2024-01-15,{}.{:02}",
            numbers.below(1 << 20),
            1930 + numbers.below(90),
            1 + numbers.below(12),
            1 + numbers.below(28),
            1 + numbers.below(600),
            1 + numbers.below(99),
            1 + numbers.below(9999),
            numbers.below(10_000),
            numbers.below(1000),
            numbers.below(100),
        );
    }));
    text
}

/// A dump whose rows are in lines of a megabyte, as `mysqldump` writes them.
fn dump() -> Vec<u8> {
    let mut text = b"CREATE TABLE `patients` (\n`id` int,\n`name` text,\n`dob` date,\n`note` text,\n`ssn` char(9)\n);\n".to_vec();
    let mut line = 0;
    text.extend(lines(|text, numbers| {
        let begins = text.len() >= line;
        if begins {
            line = text.len() + (1 << 20);
            text.push_str(";\nINSERT INTO `patients` VALUES ");
        }
        let _ = write!(
            text,
            "{}({},'Doe','{}-{:02}-{:02}','denies pain, (left knee)','{:09}')",
            if begins { "" } else { "," },
            numbers.below(1 << 20),
            1930 + numbers.below(90),
            1 + numbers.below(12),
            1 + numbers.below(28),
            100_000_000 + numbers.below(500_000_000),
        );
    }));
    text
}

fn messages() -> Vec<u8> {
    lines(|text, numbers| {
        let id = numbers.below(1 << 30);
        let _ = write!(
            text,
            "MSH|^~\\&|LAB|MERCY|EHR|CLINIC|20240214101500||ORU^R01|{id}|P|2.5.1\rPID|1||{id}^^^M^MR||DOE^JANE||19611203|F\r\
             OBR|1|ORD-77231|LAB-220191|24323-8^COMPREHENSIVE METABOLIC PANEL^LN|||20240214090000\r\
             OBX|1|NM|2345-7^GLUCOSE^LN||98|mg/dL|70-105|N|||F|||20240214095500\r"
        );
    })
}

/// Explicit little endian, with what scanners write before the pixels.
fn image() -> Vec<u8> {
    let mut file = vec![0; 128];
    file.extend(b"DICM");
    let mut element = |group: u16, number: u16, vr: &str, value: &str| {
        let mut value = value.as_bytes().to_vec();
        value.resize(value.len().next_multiple_of(2), b' ');
        file.extend(group.to_le_bytes());
        file.extend(number.to_le_bytes());
        file.extend(vr.as_bytes());
        file.extend((value.len() as u16).to_le_bytes());
        file.extend(value);
    };
    element(2, 0x10, "UI", "1.2.840.10008.1.2.1");
    element(8, 5, "CS", "ISO_IR 100");
    element(8, 0x18, "UI", "1.2.840.113619.2.55.3.604688119.971.1234567890.1");
    element(8, 0x20, "DA", "20210304");
    element(8, 0x60, "CS", "CT");
    element(8, 0x70, "LO", "ACME Imaging");
    element(8, 0x80, "LO", "Mercy Hospital");
    element(8, 0x1010, "SH", "CT01");
    element(8, 0x1090, "LO", "Scanner 3000");
    for number in 0..60 {
        element(9, 0x1000 + number, "LO", "something private of the maker");
    }
    element(0x10, 0x10, "PN", "Doe^Jane");
    element(0x10, 0x20, "LO", "0048291");
    element(0x18, 0x1000, "LO", "SN-4711");
    element(0x20, 0xd, "UI", "1.2.840.113619.2.55.3.604688119.971.1234567890");
    element(0x20, 0xe, "UI", "1.2.840.113619.2.55.3.604688119.971.1234567891");
    file.extend([0xe0, 0x7f, 0x10, 0, b'O', b'W', 0, 0, 0, 0, 8, 0]);
    file.extend((0..512 << 10).map(|n: u32| (n ^ (n >> 9)) as u8));
    file
}

fn inspect(c: &mut Criterion) {
    let mut inspector = Inspector::new(InspectOptions::new(HashKey::new([7; 32])));
    let mut group = c.benchmark_group("text");
    let texts = [
        ("prose", prose()),
        ("log", log()),
        ("table", table()),
        ("hl7", messages()),
        ("dump", dump()),
    ];
    for (name, text) in &texts {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(*name, |b| {
            b.iter(|| black_box(inspector.inspect(b"file", &mut text.as_slice())).expect("memory"));
        });
    }
    group.finish();
    let mut group = c.benchmark_group("file");
    let image = image();
    group.bench_function("dicom header", |b| {
        b.iter(|| black_box(inspector.inspect(b"IM1", &mut image.as_slice())).expect("memory"));
    });
    let small = &texts[0].1[..6 << 10];
    group.bench_function("text of 6 KiB", |b| {
        b.iter(|| black_box(inspector.inspect(b"a.txt", &mut &small[..])).expect("memory"));
    });
    let photo = [&b"\xff\xd8\xff\xe0\0\x10JFIF"[..], &image].concat();
    group.bench_function("type of a photo", |b| {
        b.iter(|| black_box(inspector.inspect(b"a.jpg", &mut photo.as_slice())).expect("memory"));
    });
    group.finish();
}

criterion_group!(benches, inspect);
criterion_main!(benches);
