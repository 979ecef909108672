//! What several targets need.

use drover_crypt::{
    domain::{DomainKeys, DomainSecret},
    sign::SigningKey,
};
use drover_repo::chained::Record;
use drover_types::{RepositoryId, Timestamp};

/// Keys of a domain.
pub fn domain() -> DomainKeys {
    DomainSecret::from_bytes([7; 32]).keys()
}

/// A time.
pub fn time() -> Timestamp {
    Timestamp::new(1_700_000_000, 1).unwrap()
}

/// The first record of a chain, by whoever has `key`.
pub fn record(key: &SigningKey) -> Record {
    Record {
        repository: RepositoryId([1; 16]),
        writer: key.public().writer_id(),
        sequence: 1,
        previous: [0; 32],
        time: time(),
        epoch: 1,
    }
}

/// `data` as text.
pub fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// `data` in two parts: the first two bytes say where.
pub fn split(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (at, rest) = data.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_le_bytes(*at).into())
}

/// What [`split`] takes apart.
pub fn joined(first: &[u8], second: &[u8]) -> Vec<u8> {
    [&(first.len() as u16).to_le_bytes(), first, second].concat()
}
