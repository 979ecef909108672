//! Proofs: what holds, and that nothing changed does.

use std::sync::Arc;

use drover_crypt::{domain::DomainSecret, merkle::Frontier, seal::ReaderSecret, sign::SigningKey};
use drover_types::{
    Attributes, ChunkId, ChunkRef, Content, DomainId, Evidence, Extents, FileHash, Kind,
    RepositoryId, SourceId, Timestamp, codec::Encoder,
};

use super::*;
use crate::{
    manifest::ManifestRoot,
    snapshot::{self, Details, Snapshot},
};

fn entry(path: &str) -> Entry {
    let hash = FileHash(*blake3::hash(path.as_bytes()).as_bytes());
    Entry {
        path: RelativePath::new(path.as_bytes()).unwrap(),
        kind: Kind::File,
        attributes: Attributes { mode: 0o640, uid: 1000, gid: 1000, ..Attributes::default() },
        content: Some(Content { size: 77, hash, extents: Extents::Inline(Arc::new([])) }),
        hard_link: None,
        evidence: Evidence::default(),
        stale: false,
    }
}

/// A proof of the entry `number` of the block `block`, of blocks of so many entries.
fn proof(blocks: &[usize], block: usize, number: usize) -> Proof {
    let keys = DomainSecret::from_bytes([7; 32]).keys();
    let leaf = |block: usize, number: usize| {
        let mut e = Encoder::new();
        record::encode_leaf(&entry(&format!("patient {block}/letter {number}")), &mut e);
        e.finish()
    };
    let leaves = |block: usize| -> Vec<[u8; 32]> {
        let hash = |number| {
            let leaf = leaf(block, number);
            merkle::leaf_hash(&keys.leaf_salt(&leaf), &leaf)
        };
        (0..blocks[block]).map(hash).collect()
    };
    let roots: Vec<[u8; 32]> = (0..blocks.len())
        .map(|block| merkle::plain_leaf(&merkle::root_of(leaves(block))))
        .collect();
    let root = merkle::root_of(roots.iter().copied());
    let key = SigningKey::from_seed(&[2; 32]);
    let open = Snapshot {
        repository: RepositoryId([1; 16]),
        writer: key.public().writer_id(),
        sequence: 3,
        previous: [5; 32],
        epoch: 1,
        domain: DomainId([6; 16]),
        time: Timestamp { seconds: 1_795_823_807, nanos: 5 },
        source: SourceId([6; 16]),
        entries: 10,
        files: 9,
        bytes: 8,
        pack_list: [7; 32],
        new_packs: 2,
        packs: (0..3).map(|n| [n; 32]).collect::<Frontier>(),
        manifest_root: root,
        log_sequence: 3,
        log_head: [9; 32],
    };
    let chunk = ChunkRef { id: ChunkId([4; 32]), len: 100 };
    let details = Details {
        source: "a source whose name stays sealed".into(),
        location: b"/srv".to_vec(),
        host: "server".into(),
        parent: [5; 32],
        started: open.time,
        manifest: ManifestRoot { chunk, root, entries: 10 },
        exceptions: Vec::new(),
        exception_count: 0,
        exception_chunks: Vec::new(),
        program: "drover".into(),
        operator: String::new(),
    };
    let stored = snapshot::encode(&open, &details, &ReaderSecret::generate().public(), &key);
    let leaf = leaf(block, number);
    Proof {
        writer: key.public(),
        snapshot: StoredSnapshot::decode(stored).unwrap(),
        entry: record::decode_leaf(&leaf).unwrap(),
        salt: keys.leaf_salt(&leaf),
        leaf,
        block: merkle::steps(&leaves(block), number).unwrap(),
        manifest: merkle::steps(&roots, block).unwrap(),
    }
}

#[test]
fn every_entry_is_proven() {
    for blocks in [&[1][..], &[3], &[1, 1], &[5, 1, 4], &[2, 3, 4, 5, 1]] {
        for (block, entries) in blocks.iter().enumerate() {
            for number in 0..*entries {
                let made = proof(blocks, block, number);
                let read = Proof::open(made.text().as_bytes()).unwrap();
                assert_eq!(read.entry, made.entry);
                assert_eq!(read.snapshot.id, made.snapshot.id);
            }
        }
    }
}

#[test]
fn every_changed_byte_is_refused() {
    let text = proof(&[5, 1, 4], 2, 1).text().into_bytes();
    for at in 0..text.len() {
        for change in [1, 2, 0x20, 0x80] {
            let mut changed = text.clone();
            changed[at] ^= change;
            assert!(Proof::open(&changed).is_err(), "byte {at} by {change}");
        }
    }
    for len in 0..text.len() {
        assert!(Proof::open(&text[..len]).is_err(), "cut at {len}");
    }
}

#[test]
fn a_proof_of_another_snapshot_or_entry_is_none() {
    let [one, other] = [proof(&[5, 1, 4], 0, 1), proof(&[5, 2, 4], 0, 2)];
    type Change = fn(&mut Proof, &Proof);
    let changes: [(&str, Change); 6] = [
        ("leaf", |proof, other| {
            proof.leaf.clone_from(&other.leaf);
            proof.entry.clone_from(&other.entry);
        }),
        ("salt", |proof, other| proof.salt = other.salt),
        ("path within the block", |proof, other| proof.block.clone_from(&other.block)),
        ("path to the root", |proof, other| proof.manifest.clone_from(&other.manifest)),
        ("snapshot", |proof, other| proof.snapshot = other.snapshot.clone()),
        ("a step left out", |proof, _| {
            proof.manifest.pop();
        }),
    ];
    for (what, change) in changes {
        let mut changed = one.clone();
        change(&mut changed, &other);
        let opened = Proof::open(changed.text().as_bytes());
        assert!(matches!(opened, Err(ProofError::Root)), "{what}: {opened:?}");
    }
    let mut changed = one.clone();
    changed.writer = SigningKey::from_seed(&[3; 32]).public();
    assert!(matches!(Proof::open(changed.text().as_bytes()), Err(ProofError::Writer)));
}

/// The tree's inner nodes are no entries, whatever is said of them.
#[test]
fn a_root_of_a_block_is_no_entry() {
    let mut forged = proof(&[5, 1, 4], 0, 1);
    let block = merkle::climb(merkle::leaf_hash(&forged.salt, &forged.leaf), &forged.block);
    (forged.salt, forged.leaf, forged.block) = (block, Vec::new(), Vec::new());
    assert!(Proof::open(forged.text().as_bytes()).is_err());
}

/// A guess of a neighbour cannot be tried against a proof: without the domain's secret its salt
/// is not known.
#[test]
fn neighbours_do_not_show() {
    let text = proof(&[2], 0, 0).text();
    assert!(!text.contains("letter 1") && !text.contains("source whose name"));
    let mut e = Encoder::new();
    record::encode_leaf(&entry("patient 0/letter 1"), &mut e);
    let neighbour = e.finish();
    for salt in [[0; 32], proof(&[2], 0, 0).salt] {
        let guess = HEXLOWER.encode(&merkle::leaf_hash(&salt, &neighbour));
        assert!(!text.contains(&guess));
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    #[test]
    fn an_entry_of_any_tree_is_proven(
        blocks in proptest::collection::vec(1usize..12, 1..12),
        at in proptest::prelude::any::<(proptest::sample::Index, proptest::sample::Index)>(),
        bit in proptest::prelude::any::<proptest::sample::Index>(),
    ) {
        let block = at.0.index(blocks.len());
        let made = proof(&blocks, block, at.1.index(blocks[block]));
        let mut text = made.text().into_bytes();
        let read = Proof::open(&text);
        proptest::prop_assert_eq!(read.ok().map(|read| read.entry), Some(made.entry));
        let bit = bit.index(text.len() * 8);
        text[bit / 8] ^= 1 << (bit % 8);
        proptest::prop_assert!(Proof::open(&text).is_err());
    }
}
