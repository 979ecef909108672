use drover_chunk::{Compressor, Decompressor};
use drover_crypt::{
    domain::{DomainKeys, DomainSecret},
    seal::ReaderSecret,
};
use drover_types::{ChunkKind, PackClass, RepositoryId, WriterId};
use proptest::prelude::*;

use crate::*;

struct World {
    keys: DomainKeys,
    reader: ReaderSecret,
    session: Session,
}

fn world() -> World {
    let secret = DomainSecret::random();
    let reader = ReaderSecret::generate();
    let identity = PackIdentity {
        repository: RepositoryId([1; 16]),
        writer: WriterId([2; 16]),
        domain: secret.id(),
    };
    let session = Session::new(identity, PackClass::Data, 1, &reader.public());
    World { keys: secret.keys(), reader, session }
}

impl World {
    /// Closes a pack of `chunks` on `threads` threads.
    fn pack(&self, chunks: &[Vec<u8>], threads: usize) -> SealedPack {
        let mut builder = PackBuilder::default();
        let (mut compressor, mut scratch) = (Compressor::default(), Vec::new());
        for plain in chunks {
            let id = self.keys.chunk_id(ChunkKind::Data, blake3::hash(plain).as_bytes());
            let (compression, stored) = compressor.compress(plain, &mut scratch);
            builder.push(ChunkKind::Data, id, plain.len() as u32, compression, stored);
        }
        let mut sealer = Sealer::new(threads, true);
        // A buffer that held another pack.
        let used = vec![0xA5; 5000];
        let sealed = builder.seal(&self.session, &self.keys, 7, &mut sealer, used).unwrap();
        assert!(builder.is_empty());
        sealed
    }

    /// Opens a whole pack as a reader does; the plaintexts in the order of its directory.
    fn open(&self, pack: &[u8]) -> Result<Vec<Vec<u8>>, PackError> {
        let header = PackHeader::decode(pack)?;
        let secret = PackKey::session(&header, &self.reader)?;
        let key = PackKey::with_session(header, &secret)?;
        let mut frames = FrameReader::new(Decompressor::new());
        let mut plain = Vec::new();
        for (index, entry) in key.directory(pack)?.iter().enumerate() {
            let range = entry.range();
            let sealed = &pack[range.start as usize..range.end as usize];
            plain.push(frames.open(&key, &self.keys, index as u32, entry, sealed)?.0.to_vec());
        }
        Ok(plain)
    }
}

fn sorted(mut chunks: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    chunks.sort();
    chunks
}

/// `count` chunks: every other one compresses, lengths differ, together more than one thread's
/// least share where `count` is large.
fn chunks(count: usize) -> Vec<Vec<u8>> {
    let one = |at: usize| {
        let mut bytes = vec![at as u8; 1 + at * 1009 % 60_000];
        if at % 2 == 1 {
            blake3::Hasher::new().update(&at.to_le_bytes()).finalize_xof().fill(&mut bytes);
        }
        bytes
    };
    (0..count).map(one).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_goes_in_comes_out(
        chunks in prop::collection::vec(prop::collection::vec(0..4_u8, 1..3000), 1..40),
        threads in 1..6_usize,
    ) {
        let world = world();
        let pack = world.pack(&chunks, threads);
        prop_assert_eq!(pack.receipt.len, pack.bytes.len() as u64);
        prop_assert_eq!(pack.receipt.id.0, *blake3::hash(&pack.bytes).as_bytes());
        prop_assert_eq!(sorted(world.open(&pack.bytes).unwrap()), sorted(chunks));
    }
}

#[test]
fn many_threads_share_one_pack() {
    let (world, chunks) = (world(), chunks(200));
    for threads in [1, 2, 3, 64] {
        let pack = world.pack(&chunks, threads);
        assert_eq!(sorted(world.open(&pack.bytes).unwrap()), sorted(chunks.clone()), "{threads}");
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let world = world();
    let pack = world.pack(&chunks(3), 1).bytes;
    for bit in 0..pack.len() * 8 {
        let mut damaged = pack.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(world.open(&damaged).is_err(), "bit {} of byte {}", bit % 8, bit / 8);
    }
}

#[test]
fn every_cut_and_growth_is_found() {
    let world = world();
    let pack = world.pack(&chunks(3), 1).bytes;
    for len in 0..pack.len() {
        assert!(world.open(&pack[..len]).is_err(), "{len} bytes");
    }
    for more in [1, 16, 4096] {
        let grown = [pack.clone(), vec![0; more]].concat();
        assert!(world.open(&grown).is_err(), "{more} bytes more");
    }
}

#[test]
fn frames_belong_to_their_pack_and_place() {
    let world = world();
    // Chunks of one length that do not compress: their frames can be put in each other's place.
    let chunks: Vec<Vec<u8>> = (0..4_u8).map(|n| blake3::hash(&[n]).as_bytes().to_vec()).collect();
    let (pack, other) = (world.pack(&chunks, 1).bytes, world.pack(&chunks, 1).bytes);
    let frame = HEADER_LEN..HEADER_LEN + 32 + TAG_LEN;
    let next = frame.end..frame.end + frame.len();

    let mut swapped = pack.clone();
    swapped.copy_within(next.clone(), frame.start);
    swapped[next].copy_from_slice(&pack[frame.clone()]);
    assert!(matches!(world.open(&swapped), Err(PackError::Frame { .. })));

    let mut grafted = pack;
    grafted[frame.clone()].copy_from_slice(&other[frame]);
    assert!(matches!(world.open(&grafted), Err(PackError::Frame { .. })));
}

#[test]
fn a_pack_that_cannot_be_read_back_is_not_handed_out() {
    let world = world();
    for threads in [1, 4] {
        let mut builder = PackBuilder::default();
        for (at, plain) in chunks(200).iter().enumerate() {
            // One chunk's bytes are not those that it was named by.
            let mut named = plain.clone();
            named[0] ^= u8::from(at == 150);
            let id = world.keys.chunk_id(ChunkKind::Data, blake3::hash(&named).as_bytes());
            let none = drover_types::Compression::None;
            builder.push(ChunkKind::Data, id, plain.len() as u32, none, plain);
        }
        let mut sealer = Sealer::new(threads, true);
        let sealed = builder.seal(&world.session, &world.keys, 0, &mut sealer, Vec::new());
        assert!(matches!(sealed, Err(PackError::Frame { .. })), "{threads} threads");
    }
}

#[test]
fn two_packs_of_the_same_chunks_have_nothing_in_common() {
    let (world, chunks) = (world(), chunks(5));
    let (one, two) = (world.pack(&chunks, 1).receipt, world.pack(&chunks, 1).receipt);
    assert_ne!(one.header.salt, two.header.salt);
    assert_ne!(one.header.commitment, two.header.commitment);
    assert_ne!(one.id, two.id);
}

#[test]
fn another_reader_and_another_session_do_not_open_it() {
    let (world, stranger) = (world(), ReaderSecret::generate());
    let pack = world.pack(&chunks(3), 1).bytes;
    let header = PackHeader::decode(&pack).unwrap();
    assert!(PackKey::session(&header, &stranger).is_err());
    assert!(PackKey::with_session(header, &drover_crypt::secret::Key::random()).is_err());
}

/// Seals one pack of `frames` frames that all hold the same 16 bytes, and gathers the beginnings of
/// what becomes of them: two frames of one key and one nonce would look the same.
fn gather(
    session: &Session,
    keys: &DomainKeys,
    counter: u64,
    frames: usize,
    seen: &mut std::collections::HashSet<[u8; 16]>,
) -> PackReceipt {
    const PLAIN: [u8; 16] = *b"the same, always";
    let id = keys.chunk_id(ChunkKind::Data, blake3::hash(&PLAIN).as_bytes());
    let mut builder = PackBuilder::default();
    for _ in 0..frames {
        builder.push(ChunkKind::Data, id, 16, drover_types::Compression::None, &PLAIN);
    }
    let mut sealer = Sealer::new(2, false);
    let SealedPack { receipt, bytes } =
        builder.seal(session, keys, counter, &mut sealer, Vec::new()).unwrap();
    for entry in &receipt.entries {
        seen.insert(*bytes[entry.offset as usize..].first_chunk().unwrap());
    }
    receipt
}

#[test]
fn no_key_and_nonce_twice_in_a_million_frames() {
    const PACKS: u64 = 16;
    const FRAMES: usize = 1 << 16;
    let World { keys, session, .. } = world();
    let mut seen = std::collections::HashSet::new();
    let packs: std::collections::HashSet<_> = (0..PACKS)
        .map(|counter| gather(&session, &keys, counter, FRAMES, &mut seen).header.commitment)
        .collect();
    assert_eq!((packs.len() as u64, seen.len()), (PACKS, PACKS as usize * FRAMES));
}

/// The machine's clone has session and counter too; with a dead generator as well, only what is the
/// same pack is sealed under the same key.
#[test]
fn a_clone_and_a_dead_generator_repeat_no_key() {
    let World { keys, session, .. } = world();
    let clone = session.clone();
    let key = |session: &Session, counter, frames| {
        gather(session, &keys, counter, frames, &mut Default::default()).header.commitment
    };
    assert_ne!(key(&session, 1, 10), key(&clone, 1, 10), "the generator lives");
    drover_crypt::random::with_constant(0, || {
        assert_ne!(key(&session, 1, 10), key(&session, 2, 10), "another counter");
        assert_ne!(key(&session, 1, 10), key(&clone, 1, 11), "another content");
        assert_eq!(key(&session, 1, 10), key(&clone, 1, 10), "the same pack");
        // Its session's secret is drawn from the same zeros; so are all that it makes.
        let again = world();
        assert_ne!(key(&again.session, 1, 10), key(&again.session, 2, 10));
        let mut seen = std::collections::HashSet::new();
        for counter in 0..64 {
            gather(&again.session, &again.keys, counter, 256, &mut seen);
        }
        assert_eq!(seen.len(), 64 * 256);
    });
}
