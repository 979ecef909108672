//! Snapshots: the open part, and the sealed part once it is open.

use drover_crypt::merkle::Frontier;
use drover_repo::{
    manifest::ManifestRoot,
    snapshot::{Details, Snapshot, StoredSnapshot, decode_exceptions, encode, encode_exceptions},
};
use drover_types::{Exception, ExceptionKind, SourceId};

use crate::shared::time;
use drover_crypt::{domain::DomainSecret, seal::ReaderSecret, sign::SigningKey};
use drover_types::{ChunkId, ChunkRef, RelativePath, RepositoryId};

/// Bytes as any of them.
pub fn run(data: &[u8]) -> bool {
    let exceptions = decode_exceptions(data);
    if let Ok(exceptions) = &exceptions {
        assert_eq!(encode_exceptions(exceptions), data);
    }
    let stored = StoredSnapshot::decode(data.to_vec());
    if let Ok(stored) = &stored {
        assert!(stored.verify(&SigningKey::from_seed(&[9; 32]).public()).is_err());
    }
    (exceptions.is_ok() && !data.is_empty()) || stored.is_ok() || Details::decode(data).is_ok()
}

fn exceptions() -> Vec<Exception> {
    let path = RelativePath::new(&b"a/b"[..]).unwrap();
    vec![Exception { path, kind: ExceptionKind::Torn, message: "moved".into() }]
}

/// A snapshot, its sealed part, exceptions.
pub fn seeds() -> Vec<Vec<u8>> {
    let key = SigningKey::from_seed(&[2; 32]);
    let mut packs = Frontier::new();
    (0..3).for_each(|n| packs.push([n; 32]));
    let chunk = ChunkRef { id: ChunkId([4; 32]), len: 100 };
    let open = Snapshot {
        repository: RepositoryId([1; 16]),
        writer: key.public().writer_id(),
        sequence: 3,
        previous: [5; 32],
        epoch: 1,
        domain: DomainSecret::from_bytes([7; 32]).id(),
        time: time(),
        source: SourceId([6; 16]),
        entries: 10,
        files: 9,
        bytes: 8,
        pack_list: [7; 32],
        new_packs: 2,
        packs,
        manifest_root: [8; 32],
        log_sequence: 3,
        log_head: [9; 32],
    };
    let details = Details {
        source: "documents".into(),
        location: b"/srv/documents".to_vec(),
        host: "server".into(),
        parent: [5; 32],
        started: time(),
        manifest: ManifestRoot { chunk, root: [8; 32], entries: 10 },
        exceptions: exceptions(),
        exception_count: 1,
        exception_chunks: vec![chunk],
        program: "drover".into(),
        operator: "operator".into(),
    };
    let reader = ReaderSecret::generate();
    vec![
        encode(&open, &details, &reader.public(), &key),
        details.encode(),
        encode_exceptions(&exceptions()),
    ]
}
