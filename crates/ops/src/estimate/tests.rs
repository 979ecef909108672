//! What was foretold against what a pass then does.

use std::{fs, path::Path};

use drover_source::{LocalSource, ReadError, SourceDescription, SourceError, SourceFile, Walk};
use drover_types::{ExceptionKind, RelativePath, Silent};

use super::*;

/// Bytes that are as good as random.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let key = blake3::derive_key("noise", &seed.to_le_bytes());
    blake3::Hasher::new_keyed(&key).finalize_xof().fill(&mut bytes);
    bytes
}

fn told(root: &Path, options: &EstimateOptions) -> Estimate {
    let source = LocalSource::open(root).unwrap();
    estimate(&source, &|_| 0, options, &Silent, &Cancel::default()).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_sample() {
    let root = tempfile::tempdir().unwrap();
    for n in 0..300 {
        fs::write(root.path().join(format!("{n}.bin")), noise(n, 1000 + n as usize * 10)).unwrap();
    }
    let options = EstimateOptions { sample: 50_000, ..EstimateOptions::default() };
    let figures = |estimate: Estimate| (estimate.sampled.bytes, estimate.puts);
    let (first, again) = (told(root.path(), &options), told(root.path(), &options));
    // How fresh the files are is noted of each, and takes a few bytes of what is stored.
    assert!(first.stored.value.abs_diff(again.stored.value) < 100, "{first:?} {again:?}");
    assert_eq!(figures(first), figures(again));
    let other = EstimateOptions { seed: 2, ..options };
    assert_ne!(figures(told(root.path(), &options)), figures(told(root.path(), &other)));
    assert!(told(root.path(), &options).sampled.bytes < 150_000);
}

#[test]
fn a_tree_with_nothing_in_it() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("empty"), "").unwrap();
    let estimate = told(root.path(), &EstimateOptions::default());
    assert_eq!((estimate.entries, estimate.files, estimate.bytes), (1, 0, 0));
    assert!(estimate.stored.value < 2000, "{estimate:?}");
    assert_eq!(estimate.sampled.unsampled, 0.0);
}

#[test]
fn what_is_whole_in_the_sample_is_certain() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("a.bin"), noise(1, 3_000_000)).unwrap();
    fs::write(root.path().join("b.txt"), "all the same ".repeat(100_000)).unwrap();
    let estimate = told(root.path(), &EstimateOptions::default());
    assert_eq!(estimate.stored.low, estimate.stored.high);
    assert!((3_000_000..3_100_000).contains(&estimate.stored.value), "{estimate:?}");
}

/// A directory of which files whose names begin with `x` cannot be opened.
struct Closed(LocalSource);

impl Source for Closed {
    fn description(&self) -> SourceDescription {
        self.0.description()
    }

    fn walk(&self, options: &WalkOptions) -> Result<Walk, SourceError> {
        self.0.walk(options)
    }

    fn open(&self, path: &RelativePath) -> Result<Box<dyn SourceFile>, ReadError> {
        match path.as_bytes().starts_with(b"x") {
            true => Err(ReadError {
                kind: ExceptionKind::Denied,
                path: path.clone(),
                source: std::io::ErrorKind::PermissionDenied.into(),
            }),
            false => self.0.open(path),
        }
    }

    fn complete(&self, entry: &mut Entry) -> Result<(), ReadError> {
        self.0.complete(entry)
    }
}

#[test]
fn what_cannot_be_read_is_not_stored() {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, len: usize| {
        let seed = blake3::hash(name.as_bytes());
        let seed = u64::from_le_bytes(*seed.as_bytes().first_chunk().unwrap());
        fs::write(root.path().join(name), noise(seed, len)).unwrap();
    };
    // One that is a class by itself, and a quarter of another class.
    write("x.journal", 5_000_000);
    for n in 0..300 {
        let closed = if n % 4 == 0 { "x" } else { "o" };
        write(&format!("{closed}{n}.data"), 20_000);
    }
    let source = Closed(LocalSource::open(root.path()).unwrap());
    let options = EstimateOptions::default();
    let told = estimate(&source, &|_| 0, &options, &Silent, &Cancel::default()).unwrap();
    let readable = 225 * 20_000;
    let off = |value: u64| (value as f64 / f64::from(readable) - 1.0).abs();
    assert!(off(told.bytes) < 0.1 && off(told.stored.value) < 0.12, "{told:?}");
    assert!(told.stored.low < told.stored.high, "{told:?}");
    assert_eq!(told.sampled.unsampled, 0.0);
}

/// The sample meets them, and so did whoever looked for copies: they are taken off once.
#[test]
fn copies_in_the_sample_are_taken_off_once() {
    let root = tempfile::tempdir().unwrap();
    for n in 0..40 {
        let content = noise(n % 20, 50_000);
        fs::write(root.path().join(format!("{n}.bin")), content).unwrap();
    }
    let source = LocalSource::open(root.path()).unwrap();
    let options = EstimateOptions::default();
    let told = |copied: u64| {
        estimate(&source, &|_| copied, &options, &Silent, &Cancel::default()).unwrap().stored
    };
    for copied in [0, 20 * 50_000] {
        let stored = told(copied);
        assert!((1_000_000..1_030_000).contains(&stored.value), "{copied}: {stored:?}");
    }
}
