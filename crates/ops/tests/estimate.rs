//! What an estimate foretells, against what the pass then does: on trees of three sorts that it was
//! not made for, with a sample of a fraction of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "its figures are what it is run for")]

mod common;

use std::{collections::BTreeMap, fs, path::Path};

use common::World;
use drover_ops::{
    Cancel,
    estimate::{Class, Estimate, EstimateOptions, estimate},
};
use drover_source::LocalSource;
use drover_types::Silent;

/// Draws that depend on a seed alone.
struct Draw(blake3::OutputReader);

impl Draw {
    fn new(seed: &str) -> Self {
        Self(blake3::Hasher::new_derive_key(seed).finalize_xof())
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.fill(&mut bytes);
        bytes
    }

    fn number(&mut self, most: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes) % most
    }

    /// Sizes as file systems have them: most are small, most bytes are in the large ones.
    fn size(&mut self, median: f64, spread: f64) -> usize {
        let normal: f64 = (0..12).map(|_| self.number(1 << 20) as f64 / (1 << 20) as f64).sum();
        (median * ((normal - 6.0) * spread).exp()) as usize
    }

    fn words(&mut self, len: usize) -> Vec<u8> {
        const WORDS: [&str; 24] = [
            "patient", "visit", "result", "normal", "left", "right", "the", "of", "and", "was",
            "mg", "daily", "blood", "pressure", "referred", "to", "clinic", "no", "history",
            "image", "series", "report", "signed", "date",
        ];
        let mut text = Vec::with_capacity(len + 16);
        while text.len() < len {
            let draw = self.number(1 << 32);
            text.extend_from_slice(WORDS[(draw % 24) as usize].as_bytes());
            match draw >> 8 & 15 {
                0 => text.extend_from_slice(format!(" {} ", draw >> 12 & 0xffff).as_bytes()),
                1 => text.extend_from_slice(b".\n"),
                _ => text.push(b' '),
            }
        }
        text.truncate(len);
        text
    }
}

fn write(root: &Path, path: &str, content: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Foretells a pass over what `make` makes, which also says which bytes of which class are copies,
/// and then makes the pass.
fn check(name: &str, sample: u64, make: impl Fn(&Path) -> BTreeMap<Class, u64>) -> Estimate {
    let world = World::new();
    let copies = make(&world.source());
    let source = LocalSource::open(&world.source()).unwrap();
    let copied = |class: &Class| copies.get(class).copied().unwrap_or(0);
    let options = EstimateOptions { sample, ..EstimateOptions::default() };
    let told = estimate(&source, &copied, &options, &Silent, &Cancel::default()).unwrap();
    let pass = world.sync();

    assert_eq!(told.entries, pass.counts.total(), "{name}");
    let off = |told: u64, is: u64| (told as f64 - is as f64) / is as f64;
    let stored = off(told.stored.value, pass.stored);
    let uploaded = off(told.uploaded, pass.usage.bytes_sent);
    println!(
        "{name}: stored {:+.2} %, uploaded {:+.2} %, puts {} and {}, chunks {}, read {} of {} bytes",
        stored * 100.0,
        uploaded * 100.0,
        told.puts.value,
        pass.usage.put,
        told.chunks,
        told.sampled.bytes,
        told.bytes
    );
    assert!(stored.abs() < 0.05, "{name}: {told:?}\n{}", pass.stored);
    assert!(uploaded.abs() < 0.05, "{name}: {told:?}\n{:?}", pass.usage);
    assert!(told.puts.value.abs_diff(pass.usage.put) <= (pass.usage.put / 20).max(1), "{name}");
    assert!(told.sampled.bytes * 2 < told.bytes, "{name}: that is no sample");
    told
}

#[test]
fn an_office() {
    check("office", 12 << 20, |root| {
        let mut draw = Draw::new("drover test office");
        let mut copies = BTreeMap::new();
        let mut last: Option<(Vec<u8>, &str)> = None;
        for n in 0..6_000 {
            let directory = format!("d{}/e{}", n % 13, n % 7);
            let (extension, content) = match (draw.number(10), &last) {
                (0 | 1, Some((content, extension))) => {
                    let class =
                        Class::of(content.len() as u64, format!("x.{extension}").as_bytes());
                    *copies.entry(class).or_default() += content.len() as u64;
                    (*extension, content.clone())
                }
                (2..=4, _) => {
                    let size = draw.size(9_000.0, 1.1);
                    ("txt", draw.words(size + 1))
                }
                (5 | 6, _) => {
                    let size = draw.size(14_000.0, 1.3);
                    ("docx", draw.bytes(size + 1))
                }
                (7, _) => {
                    let size = draw.size(4_000.0, 0.8);
                    let mut content = draw.words(size + 1);
                    let noise = draw.bytes(content.len() / 2);
                    content[..noise.len()].copy_from_slice(&noise);
                    ("doc", content)
                }
                _ => {
                    let size = draw.size(1_200.0, 0.7);
                    ("", draw.words(size + 1))
                }
            };
            let dot = if extension.is_empty() { "" } else { "." };
            write(root, &format!("{directory}/file {n}{dot}{extension}"), &content);
            last = Some((content, extension));
        }
        copies
    });
}

#[test]
fn an_archive_of_images() {
    check("images", 16 << 20, |root| {
        let mut draw = Draw::new("drover test images");
        for n in 0..180 {
            // 16 bits of which 11 are used, smooth but for noise, as scanners give them.
            let width = 256 + 64 * draw.number(4);
            let noisy = draw.bytes((width * width) as usize);
            let shift = 2 + draw.number(4);
            let pixels: Vec<u8> = (0..width * width)
                .flat_map(|at| {
                    let (x, y) = (at % width, at / width);
                    let value = ((x * y) >> shift) % 1800 + u64::from(noisy[at as usize] & 7);
                    (value as u16).to_le_bytes()
                })
                .collect();
            write(root, &format!("study{}/series{}/{n}.dcm", n / 30, n / 10), &pixels);
        }
        for n in 0..40 {
            let size = draw.size(400_000.0, 0.4);
            write(root, &format!("exports/{n}.jpg"), &draw.bytes(size));
        }
        BTreeMap::new()
    });
}

#[test]
fn a_few_large_files() {
    check("large", 32 << 20, |root| {
        let mut draw = Draw::new("drover test large");
        write(root, "db/dump.sql", &draw.words(60 << 20));
        write(root, "db/base.dat", &draw.bytes(50 << 20));
        // A disk that is in part empty, in part text, in part noise.
        let mut disk = Vec::new();
        for n in 0..40 {
            match n % 4 {
                0 => disk.extend_from_slice(&draw.words(2 << 20)),
                1 => disk.resize(disk.len() + (1 << 20), 0),
                _ => disk.extend_from_slice(&draw.bytes(1 << 20)),
            }
        }
        write(root, "vm/disk.img", &disk);
        BTreeMap::new()
    });
}
