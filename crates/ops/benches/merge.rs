//! The merge of two streams of entries, beside going through both.

#![allow(missing_docs, reason = "criterion_group! makes undocumented functions")]

use std::{convert::Infallible, hint::black_box};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use drover_ops::merge::merge;
use drover_types::{Attributes, Entry, Evidence, Kind, RelativePath};

const ENTRIES: u64 = 100_000;

/// Entries in order, without every hundredth, counted from `skip`.
fn entries(skip: u64) -> Vec<Result<Entry, Infallible>> {
    (0..ENTRIES)
        .filter(|number| number % 100 != skip)
        .map(|number| {
            Ok(Entry {
                path: RelativePath::new(
                    format!("ward/{:04}/{number:06}.dcm", number / 100).as_bytes(),
                )
                .expect("a path"),
                kind: Kind::File,
                attributes: Attributes::default(),
                content: None,
                hard_link: None,
                evidence: Evidence::default(),
                stale: false,
            })
        })
        .collect()
}

fn merges(c: &mut Criterion) {
    let streams = || (entries(3), entries(7));
    let mut group = c.benchmark_group("merge");
    group.throughput(Throughput::Elements(ENTRIES));
    group.bench_function("two streams", |b| {
        b.iter_batched(
            streams,
            |(left, right)| merge(left, right).map(black_box).count(),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("going through both", |b| {
        b.iter_batched(
            streams,
            |(left, right)| left.into_iter().chain(right).map(black_box).count(),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = merges
}
criterion_main!(benches);
