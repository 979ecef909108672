//! Names of objects, as a store lists them.

use drover_repo::names;
use drover_types::SnapshotId;

use crate::shared::text;
use drover_crypt::sign::SigningKey;
use drover_types::PackId;

/// Text as a name. What is accepted is the name that its parts have.
pub fn run(data: &[u8]) -> bool {
    let Some(name) = text(data) else { return false };
    if let Some(id) = names::parse_pack(name) {
        assert_eq!(names::pack(&id), name);
        return true;
    }
    if let Some((writer, sequence, id)) = names::parse_numbered(name, names::SNAPSHOTS) {
        assert_eq!(names::snapshot(&writer, sequence, &SnapshotId(id)), name);
        return true;
    }
    names::parse_numbered(name, names::LOG)
        .inspect(|(writer, sequence, hash)| {
            assert_eq!(names::log(writer, *sequence, hash), name);
        })
        .is_some()
}

/// One of each.
pub fn seeds() -> Vec<Vec<u8>> {
    let writer = SigningKey::from_seed(&[2; 32]).public().writer_id();
    [
        names::pack(&PackId([0xab; 32])),
        names::snapshot(&writer, 7, &SnapshotId([1; 32])),
        names::log(&writer, u64::MAX, &[2; 32]),
    ]
    .map(String::into_bytes)
    .to_vec()
}
