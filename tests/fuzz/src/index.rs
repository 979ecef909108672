//! Index objects once they are open, and lists of packs.

use drover_repo::index::{ListedPack, decode_directories, decode_list, encode_list};

use crate::pack;
use drover_types::{PackId, codec::Encoder};

/// Bytes as either.
pub fn run(data: &[u8]) -> bool {
    let list = decode_list(data);
    if let Ok(list) = &list {
        assert_eq!(encode_list(list), data);
    }
    list.is_ok() || decode_directories(data).is_ok()
}

/// One of each.
pub fn seeds() -> Vec<Vec<u8>> {
    let packs = [1, 2].map(|n| ListedPack { id: PackId([n; 32]), len: 1 << n });
    let receipt = pack::sealed().receipt;
    let header = receipt.header.encode();
    let mut directories = Encoder::new();
    directories.varint(1);
    let session = header.len() - 80;
    directories.raw(&header[..session]);
    directories.varint(1);
    directories.raw(&receipt.id.0);
    directories.varint(receipt.len);
    directories.varint(0);
    directories.raw(&header[session..session + 64]);
    directories.varint(1);
    directories.u8((receipt.entries[0].kind as u8) << 4);
    directories.raw(receipt.entries[0].id.as_bytes());
    directories.varint(1);
    directories.varint(1);
    vec![encode_list(&packs), directories.finish()]
}
