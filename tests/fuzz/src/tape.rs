//! A tape of the state: a manifest's local copy.

use drover_repo::{
    record,
    state::{TapeReader, TapeWriter},
};
use tempfile::TempDir;

use crate::{entry, shared::domain};
use drover_types::codec::Encoder;

thread_local! {
    static FOLDER: TempDir = TempDir::new().unwrap();
}

/// Bytes as a tape; accepted where it has an end.
pub fn run(data: &[u8]) -> bool {
    let path = FOLDER.with(|folder| folder.path().join("tape"));
    std::fs::write(&path, data).unwrap();
    let Some(mut tape) = TapeReader::open(&path).unwrap() else { return false };
    let keys = domain();
    while let Ok(Some(_)) = tape.next(&keys) {}
    tape.is_whole()
}

/// A tape.
pub fn seeds() -> Vec<Vec<u8>> {
    let path = FOLDER.with(|folder| folder.path().join("seed"));
    let mut tape = TapeWriter::create(path.clone()).unwrap();
    for entry in entry::entries() {
        let (mut leaf, mut side) = (Encoder::new(), Encoder::new());
        record::encode_leaf(&entry, &mut leaf);
        record::encode_side(&entry, &domain(), &mut side);
        tape.push(leaf.as_bytes(), side.as_bytes()).unwrap();
    }
    tape.finish(&path).unwrap();
    vec![std::fs::read(path).unwrap()]
}
