//! A pack's header, its trailer, and its directory once that is open.

use drover_pack::{
    HEADER_LEN, PackBuilder, PackHeader, PackIdentity, Sealer, Session, decode_directory,
    read_directory_len,
};
use drover_types::{Compression, PackClass};

use drover_crypt::{domain::DomainSecret, seal::ReaderSecret, sign::SigningKey};
use drover_types::{ChunkKind, RepositoryId, codec::Encoder};

/// Bytes as a pack, and as a directory of 256 + 33 bytes of frames.
pub fn run(data: &[u8]) -> bool {
    let header = PackHeader::decode(data);
    if let Ok(header) = &header {
        assert_eq!(header.encode()[..], data[..HEADER_LEN]);
    }
    let len = read_directory_len(data, data.len() as u64);
    if let Ok(len) = len {
        assert!(len < data.len());
    }
    let directory = decode_directory(data, HEADER_LEN + 33);
    (header.is_ok() && len.is_ok()) || directory.is_ok()
}

pub(crate) fn sealed() -> drover_pack::SealedPack {
    let secret = DomainSecret::from_bytes([7; 32]);
    let identity = PackIdentity {
        repository: RepositoryId([1; 16]),
        writer: SigningKey::from_seed(&[2; 32]).public().writer_id(),
        domain: secret.id(),
    };
    let reader = ReaderSecret::generate().public();
    let session = Session::new(identity, PackClass::Data, 1, &reader);
    let mut pack = PackBuilder::default();
    let id = secret.keys().chunk_id(ChunkKind::Data, blake3::hash(b"x").as_bytes());
    pack.push(ChunkKind::Data, id, 1, Compression::None, b"x");
    pack.seal(&session, &secret.keys(), 0, &mut Sealer::new(1, true), Vec::new()).unwrap()
}

/// A whole pack, and a directory.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut directory = Encoder::new();
    directory.u32(2);
    for len in [1, 0] {
        directory.u8(1);
        directory.u8(u8::from(len == 0));
        directory.raw(&[3; 32]);
        directory.u32(len);
        directory.u32(9);
    }
    directory.raw(&[0; 100]);
    vec![sealed().bytes, directory.finish()]
}
