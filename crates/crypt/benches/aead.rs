//! Both implementations of AES-256-GCM on one thread: frames of three sizes, and 32 MiB
//! that no core's cache holds.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use drover_crypt::{
    Key,
    aead::{Cipher, Nonce, reference},
};

fn seal(c: &mut Criterion) {
    let mut group = c.benchmark_group("AES-256-GCM seal");
    let key = Key::from_bytes([7; 32]);
    let (ring, pure) = (Cipher::new(&key), reference::Cipher::new(&key));
    for len in [4 << 10, 64 << 10, 1 << 20, 32 << 20] {
        let mut buffer = vec![0; len];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::new("ring", len), |b| {
            b.iter(|| ring.seal_in_place(Nonce::from_counter(1), b"header", &mut buffer));
        });
        group.bench_function(BenchmarkId::new("aes-gcm", len), |b| {
            b.iter(|| pure.seal_in_place(Nonce::from_counter(1), b"header", &mut buffer));
        });
    }
    group.finish();
}

criterion_group!(benches, seal);
criterion_main!(benches);
