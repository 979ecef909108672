//! Packs sealed, checked and opened, each beside what AES-256-GCM and BLAKE3 alone take for the
//! same bytes.

#![allow(missing_docs, reason = "criterion_group! makes undocumented functions")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use drover_chunk::Decompressor;
use drover_crypt::{
    Key,
    aead::{Cipher, Nonce},
    domain::{DomainKeys, DomainSecret},
    seal::ReaderSecret,
};
use drover_pack::{FrameReader, PackBuilder, PackIdentity, PackKey, SealedPack, Sealer, Session};
use drover_types::{ChunkKind, Compression, DomainId, PackClass, RepositoryId, WriterId};

/// Bytes of a pack's frames, about.
const PACK: usize = 28 << 20;

struct Bench {
    keys: DomainKeys,
    reader: ReaderSecret,
    session: Session,
    /// Frames that nothing compresses, of one length.
    frames: Vec<Vec<u8>>,
}

impl Bench {
    fn new(len: usize) -> Self {
        let reader = ReaderSecret::generate();
        let identity = PackIdentity {
            repository: RepositoryId([1; 16]),
            writer: WriterId([2; 16]),
            domain: DomainId([3; 16]),
        };
        let session = Session::new(identity, PackClass::Data, 1, &reader.public());
        let mut noise = blake3::Hasher::new().finalize_xof();
        let frames = (0..PACK / len)
            .map(|_| {
                let mut frame = vec![0; len];
                noise.fill(&mut frame);
                frame
            })
            .collect();
        Self { keys: DomainSecret::from_bytes([4; 32]).keys(), reader, session, frames }
    }

    fn filled(&self) -> PackBuilder {
        let mut builder = PackBuilder::default();
        for frame in &self.frames {
            let hash = blake3::hash(frame);
            let id = self.keys.chunk_id(ChunkKind::Data, hash.as_bytes());
            let len = frame.len() as u32;
            builder.push(ChunkKind::Data, id, len, Compression::None, frame);
        }
        builder
    }

    fn seal(&self, sealer: &mut Sealer, out: Vec<u8>) -> SealedPack {
        let sealed = self.filled().seal(&self.session, &self.keys, 1, sealer, out);
        sealed.expect("a pack that is not too large is sealed")
    }
}

fn packs(c: &mut Criterion) {
    for len in [1 << 20, 8 << 10] {
        let bench = Bench::new(len);
        let bytes = (bench.frames.len() * len) as u64;
        let mut group = c.benchmark_group(format!("pack of frames of {} KiB", len >> 10));
        group.throughput(Throughput::Bytes(bytes));
        for (name, threads, check) in [
            ("sealed", 1, false),
            ("sealed and checked", 1, true),
            ("sealed and checked on two threads", 2, true),
        ] {
            let mut sealer = Sealer::new(threads, check);
            let mut out = Vec::new();
            group.bench_function(name, |b| {
                b.iter_batched_ref(
                    || bench.filled(),
                    |builder| {
                        let room = std::mem::take(&mut out);
                        let sealed =
                            builder.seal(&bench.session, &bench.keys, 1, &mut sealer, room);
                        out = sealed.expect("a pack that is not too large is sealed").bytes;
                    },
                    BatchSize::PerIteration,
                );
            });
        }
        let sealed = bench.seal(&mut Sealer::new(1, false), Vec::new());
        let header = sealed.receipt.header.clone();
        let secret = PackKey::session(&header, &bench.reader).expect("our own pack");
        let key = PackKey::with_session(header, &secret).expect("our own pack");
        let mut reader = FrameReader::new(Decompressor::new());
        group.bench_function("opened", |b| {
            b.iter(|| {
                for (index, entry) in sealed.receipt.entries.iter().enumerate() {
                    let range = entry.range();
                    let frame = &sealed.bytes[range.start as usize..range.end as usize];
                    let opened = reader.open(&key, &bench.keys, index as u32, entry, frame);
                    black_box(opened.expect("our own frame"));
                }
            });
        });
        let cipher = Cipher::new(&Key::from_bytes([5; 32]));
        let mut plain = bench.frames.clone();
        group.bench_function("AES-256-GCM alone", |b| {
            b.iter(|| {
                for frame in &mut plain {
                    black_box(cipher.seal_in_place(Nonce::from_counter(1), &[0; 74], frame));
                }
            });
        });
        group.bench_function("BLAKE3 alone", |b| {
            b.iter(|| {
                for frame in &bench.frames {
                    black_box(blake3::hash(frame));
                }
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = packs
}
criterion_main!(benches);
