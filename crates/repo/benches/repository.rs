//! Manifests written and read, and the index of known chunks, beside a hash set.

#![allow(missing_docs, reason = "criterion_group! makes undocumented functions")]

use std::{collections::HashSet, hint::black_box};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use drover_crypt::{
    domain::{DomainKeys, DomainSecret},
    seal::ReaderSecret,
};
use drover_pack::{PackBuilder, PackIdentity, PackReceipt, Sealer, Session};
use drover_repo::{
    manifest::{BlockRef, ChunkSink, ManifestWriter, decode_block, decode_list},
    record,
    state::{Database, Filter},
};
use drover_types::{
    Attributes, ChunkId, ChunkKind, ChunkRef, Compression, Content, DomainId, Entry, Evidence,
    Extent, Extents, FileHash, Kind, PackClass, RelativePath, RepositoryId, WriterId,
    codec::Encoder,
};

const ENTRIES: u64 = 100_000;
const CHUNKS: u64 = 100_000;

fn id(number: u64) -> ChunkId {
    ChunkId(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

fn entries() -> Vec<Entry> {
    (0..ENTRIES)
        .map(|number| Entry {
            path: RelativePath::new(format!("ward/{:04}/{number:06}.dcm", number / 100).as_bytes())
                .expect("a path"),
            kind: Kind::File,
            attributes: Attributes { mode: 0o640, uid: 1000, gid: 1000, ..Attributes::default() },
            content: Some(Content {
                size: 9000,
                hash: FileHash(id(number).0),
                extents: Extents::Inline(
                    [Extent::Chunk(ChunkRef { id: id(number), len: 9000 })].into(),
                ),
            }),
            hard_link: None,
            evidence: Evidence { size: 9000, inode: number, links: 1, ..Evidence::default() },
            stale: false,
        })
        .collect()
}

/// Keeps chunks in memory.
#[derive(Default)]
struct Kept(Vec<(ChunkKind, Vec<u8>)>);

impl ChunkSink for Kept {
    type Error = std::convert::Infallible;
    fn put(&mut self, kind: ChunkKind, plain: &[u8]) -> Result<ChunkRef, Self::Error> {
        self.0.push((kind, plain.to_vec()));
        Ok(ChunkRef { id: id(self.0.len() as u64), len: plain.len() as u32 })
    }
}

fn write(entries: &[Entry], keys: &DomainKeys) -> Kept {
    let (mut kept, mut writer) = (Kept::default(), ManifestWriter::new(keys));
    for entry in entries {
        let (mut leaf, mut side) = (Encoder::new(), Encoder::new());
        record::encode_leaf(entry, &mut leaf);
        record::encode_side(entry, keys, &mut side);
        let Ok(()) = writer.push(&entry.path, leaf.as_bytes(), side.as_bytes(), &mut kept);
    }
    let Ok(_) = writer.finish(&mut kept);
    kept
}

fn manifest(c: &mut Criterion) {
    let keys = DomainSecret::from_bytes([4; 32]).keys();
    let entries = entries();
    let mut group = c.benchmark_group("manifest");
    group.throughput(Throughput::Elements(ENTRIES));
    group.bench_function("written", |b| b.iter(|| write(&entries, &keys)));
    let kept = write(&entries, &keys);
    let of = |kind| kept.0.iter().filter(move |(k, _)| *k == kind).map(|(_, bytes)| bytes);
    let blocks: Vec<BlockRef> =
        of(ChunkKind::ManifestList).filter_map(|bytes| decode_list(bytes).ok()).flatten().collect();
    group.bench_function("read and checked", |b| {
        b.iter(|| {
            for (block, bytes) in blocks.iter().zip(of(ChunkKind::ManifestBlock)) {
                black_box(decode_block(bytes, block, &keys).expect("our own block"));
            }
        });
    });
    group.finish();
}

/// A pack of `chunks` chunks that begin at number `from`.
fn receipt(from: u64, chunks: u64) -> PackReceipt {
    let identity = PackIdentity {
        repository: RepositoryId([1; 16]),
        writer: WriterId([2; 16]),
        domain: DomainId([3; 16]),
    };
    let reader = ReaderSecret::generate();
    let session = Session::new(identity, PackClass::Data, 1, &reader.public());
    let keys = DomainSecret::from_bytes([4; 32]).keys();
    let mut builder = PackBuilder::default();
    for number in from..from + chunks {
        builder.push(ChunkKind::Data, id(number), 1, Compression::None, &[7]);
    }
    let sealed = builder.seal(&session, &keys, 1, &mut Sealer::new(1, false), Vec::new());
    sealed.expect("a small pack").receipt
}

/// Notes that a pack is sent, and that it arrived.
fn note(database: &Database, receipt: &PackReceipt) {
    database.intend(receipt).expect("room");
    database.acknowledge(receipt).expect("room");
}

fn index(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory for the state");
    let database = Database::open(&dir.path().join("state")).expect("a new state");
    for from in (0..CHUNKS).step_by(4000) {
        note(&database, &receipt(from, 4000));
    }
    let (known, unknown): (Vec<_>, Vec<_>) =
        ((0..10_000).map(|n| id(n * 10)).collect(), (0..10_000).map(|n| id(CHUNKS + n)).collect());
    let mut group = c.benchmark_group(format!("index of {CHUNKS} chunks"));
    group.throughput(Throughput::Elements(10_000));
    group.bench_function("known, in the database", |b| {
        b.iter(|| known.iter().filter(|id| database.has_chunk(id).expect("readable")).count());
    });
    group.bench_function("unknown, in the database", |b| {
        b.iter(|| unknown.iter().filter(|id| database.has_chunk(id).expect("readable")).count());
    });
    group.throughput(Throughput::Elements(CHUNKS));
    group.bench_function("made into a filter", |b| {
        b.iter(|| database.filter(1 << 20).expect("readable"));
    });
    group.throughput(Throughput::Elements(10_000));
    let filter = database.filter(1 << 20).expect("readable");
    group.bench_function("unknown, at the filter", |b| {
        b.iter(|| unknown.iter().filter(|id| filter.may_contain(id)).count());
    });
    let set: HashSet<ChunkId> = (0..CHUNKS).map(id).collect();
    group.bench_function("known, in a hash set", |b| {
        b.iter(|| known.iter().filter(|id| set.contains(id)).count());
    });
    group.bench_function("added to the filter", |b| {
        b.iter_batched_ref(
            || Filter::with_capacity(1 << 20),
            |filter| known.iter().for_each(|id| filter.insert(id)),
            BatchSize::PerIteration,
        );
    });
    let mut from = CHUNKS;
    group.throughput(Throughput::Elements(4000));
    group.bench_function("a pack of 4,000 intended and acknowledged, durably", |b| {
        b.iter_batched_ref(
            || {
                from += 4000;
                receipt(from, 4000)
            },
            |receipt| note(&database, receipt),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = manifest, index
}
criterion_main!(benches);
