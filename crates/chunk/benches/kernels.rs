//! Cut, hash and compress, each beside what the library under it does with the same bytes.

#![allow(missing_docs, reason = "criterion_group! makes undocumented functions")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use drover_chunk::{ChunkSizes, Chunker, Compressor, Decompressor, FileHasher};
use drover_types::Compression;

const MIB: usize = 1 << 20;

/// Bytes that look random, and depend on `len` alone.
fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// Words and numbers.
fn text(len: usize) -> Vec<u8> {
    let words = ["patient", "study", "of", "the", "series", "image", "and", "ward", "lab"];
    let mut order = noise(len).into_iter();
    let mut text = Vec::with_capacity(len + 16);
    while text.len() < len {
        let pick = usize::from(order.next().expect("a byte for each word"));
        text.extend_from_slice(words[pick % words.len()].as_bytes());
        text.extend_from_slice(if pick < 26 { b"\n" } else { b" " });
    }
    text.truncate(len);
    text
}

/// A slice of 16-bit pixels: a slope with four bits of noise.
fn image(len: usize) -> Vec<u8> {
    noise(len / 2)
        .into_iter()
        .enumerate()
        .flat_map(|(x, n)| (1000 + (x % 4096) as u16 / 4 + u16::from(n & 15)).to_le_bytes())
        .collect()
}

fn cut(c: &mut Criterion) {
    let data = noise(64 * MIB);
    let gear: [u64; 256] = std::array::from_fn(|i| {
        u64::from_le_bytes(data[8 * i..8 * i + 8].try_into().expect("eight bytes"))
    });
    let mut group = c.benchmark_group("cut");
    group.throughput(Throughput::Bytes(data.len() as u64));
    let chunker = Chunker::new(&gear, ChunkSizes::DEFAULT);
    group.bench_function("drover", |b| {
        b.iter(|| {
            let mut rest = &data[..];
            while let Some(len) = chunker.cut(rest, true) {
                rest = &rest[black_box(len)..];
            }
        });
    });
    group.bench_function("fastcdc", |b| {
        b.iter(|| {
            let sizes = ChunkSizes::DEFAULT;
            fastcdc::v2020::FastCDC::new(&data, sizes.min(), sizes.average(), sizes.max())
                .for_each(|chunk| {
                    black_box(chunk);
                });
        });
    });
    group.finish();
}

fn hash(c: &mut Criterion) {
    let data = noise(64 * MIB);
    let mut group = c.benchmark_group("hash");
    group.throughput(Throughput::Bytes(data.len() as u64));
    group.bench_function("drover", |b| {
        b.iter(|| {
            let mut hasher = FileHasher::new();
            data.chunks(MIB).for_each(|part| hasher.update(part));
            hasher.finalize()
        });
    });
    group.bench_function("blake3", |b| {
        b.iter(|| {
            let mut hasher = blake3::Hasher::new();
            data.chunks(MIB).for_each(|part| {
                hasher.update(part);
            });
            hasher.finalize()
        });
    });
    group.bench_function("drover, all threads", |b| {
        b.iter(|| {
            let mut hasher = FileHasher::new();
            hasher.update_rayon(&data);
            hasher.finalize()
        });
    });
    group.bench_function("drover, a hole", |b| {
        b.iter(|| {
            let mut hasher = FileHasher::new();
            hasher.update_zeros(data.len() as u64);
            hasher.finalize()
        });
    });
    group.finish();
}

fn compress(c: &mut Criterion) {
    for (name, data) in [("noise", noise(MIB)), ("text", text(MIB)), ("image", image(MIB))] {
        let mut group = c.benchmark_group(format!("compress {name}"));
        group.throughput(Throughput::Bytes(data.len() as u64));
        let mut out = Vec::new();
        for level in [1, 3] {
            let mut compressor = Compressor::new(level);
            group.bench_function(format!("drover, level {level}"), |b| {
                b.iter(|| compressor.compress(&data, &mut out).1.len());
            });
            let mut context = zstd::bulk::Compressor::new(level).expect("a valid level");
            let mut plain = Vec::with_capacity(zstd::zstd_safe::compress_bound(data.len()));
            group.bench_function(format!("zstd, level {level}"), |b| {
                b.iter(|| context.compress_to_buffer(&data, &mut plain));
            });
        }
        let frame = zstd::bulk::compress(&data, 1).expect("memory");
        let mut decompressor = Decompressor::new();
        group.bench_function("drover, back", |b| {
            b.iter_batched_ref(
                Vec::new,
                |out| decompressor.decompress(Compression::Zstd, &frame, data.len(), out),
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

criterion_group! {
    name = kernels;
    config = Criterion::default().sample_size(10);
    targets = cut, hash, compress
}
criterion_main!(kernels);
