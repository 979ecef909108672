//! Where a repository's objects lie.

use drover_types::{PackId, RepositoryId, SnapshotId, WriterId};

/// The signed description of the repository.
pub const CONFIG: &str = "config";
/// Claims of those who have to be alone: who makes a repository, or begins a new epoch.
pub const CLAIMS: &str = "init/";
/// All packs.
pub const PACKS: &str = "packs/";
/// Index objects and lists of packs.
pub const INDEX: &str = "index/";
/// All snapshots.
pub const SNAPSHOTS: &str = "snapshots/";
/// The audit log.
pub const LOG: &str = "log/";
/// The steps of cutovers.
pub const CUTOVER: &str = "cutover/";

/// A claim: of the id of the repository that is being made, or of a rotation's own.
pub fn claim(id: &[u8; 16]) -> String {
    format!("{CLAIMS}{}", RepositoryId(*id))
}

/// A pack, spread over 256 folders by the first byte of its name.
pub fn pack(id: &PackId) -> String {
    let hex = id.to_hex();
    format!("packs/{}/{hex}", &hex[..2])
}

/// The pack at this place; `None` for anything else.
pub fn parse_pack(name: &str) -> Option<PackId> {
    let (folder, hex) = name.strip_prefix(PACKS)?.split_once('/')?;
    let id = PackId::from_hex(hex)?;
    hex.starts_with(folder).then_some(id).filter(|_| folder.len() == 2)
}

/// An index object.
pub fn index(hash: &[u8; 32]) -> String {
    format!("index/{}", hex(hash))
}

/// A list of the packs that a pass added.
pub fn pack_list(hash: &[u8; 32]) -> String {
    format!("index/packs-{}", hex(hash))
}

/// A snapshot.
pub fn snapshot(writer: &WriterId, sequence: u64, id: &SnapshotId) -> String {
    format!("snapshots/{writer}/{sequence:020}-{id}")
}

/// A record of the audit log.
pub fn log(writer: &WriterId, sequence: u64, hash: &[u8; 32]) -> String {
    format!("log/{writer}/{sequence:020}-{}", hex(hash))
}

/// A step of a cutover. There is no hash in it: whoever comes second finds the number taken.
pub fn cutover_step(sequence: u64) -> String {
    format!("{CUTOVER}{sequence:020}")
}

/// The number of a step from its name.
pub fn parse_cutover_step(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(CUTOVER)?;
    let is_number = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

/// Writer, number and hash from the name of a snapshot or a log record.
pub fn parse_numbered(name: &str, prefix: &str) -> Option<(WriterId, u64, [u8; 32])> {
    let (writer, rest) = name.strip_prefix(prefix)?.split_once('/')?;
    let (sequence, hash) = rest.split_once('-')?;
    let digits = sequence.len() == 20 && sequence.bytes().all(|b| b.is_ascii_digit());
    let sequence = digits.then(|| sequence.parse().ok()).flatten()?;
    Some((WriterId::from_hex(writer)?, sequence, SnapshotId::from_hex(hash)?.0))
}

fn hex(hash: &[u8; 32]) -> String {
    SnapshotId(*hash).to_hex()
}
