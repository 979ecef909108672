//! The walk of a tree in the page cache, beside a plain list and stat on one thread.

#![allow(missing_docs, reason = "criterion_group! makes undocumented functions")]

use std::{fs, hint::black_box};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use drover_source::{LocalSource, Source, WalkOptions};

const DIRECTORIES: u64 = 200;
const FILES: u64 = 100;

fn walk(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory for the tree");
    for directory in 0..DIRECTORIES {
        let path = dir.path().join(format!("{}/{directory}", directory % 10));
        fs::create_dir_all(&path).expect("a directory");
        (0..FILES).for_each(|file| fs::write(path.join(file.to_string()), [7; 9]).expect("a file"));
    }
    let mut group = c.benchmark_group("walk");
    group.throughput(Throughput::Elements(DIRECTORIES * FILES));
    let source = LocalSource::open(dir.path()).expect("the tree");
    for threads in [1, 2, 4] {
        let options = WalkOptions { threads, ..WalkOptions::default() };
        group.bench_function(format!("drover, {threads} threads"), |b| {
            b.iter(|| source.walk(&options).expect("the root").count());
        });
    }
    group.bench_function("list and stat alone", |b| {
        b.iter(|| {
            for entry in walkdir::WalkDir::new(dir.path()) {
                black_box(entry.expect("an entry").metadata().expect("its stat"));
            }
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = walk
}
criterion_main!(benches);
