//! What an inventory says of the tree itself: sizes, times, names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::exception::PathText;
use crate::Text;

/// How much there is. The root is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryTotals {
    /// Names of regular files: a file of two names counts twice.
    pub files: u64,
    /// Directories.
    pub dirs: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Pipes, sockets and devices.
    pub special: u64,
    /// Logical bytes of regular files; a file of several names counts once.
    pub bytes: u64,
    /// Bytes that they take on the disk; a file of several names counts once. 0 where the source
    /// cannot say.
    pub allocated: u64,
    /// Further names of files that have another name in this source.
    pub hard_links: u64,
    /// Logical bytes that these names would add, were each a file of its own.
    pub hard_link_bytes: u64,
    /// Files that take less room than their size.
    pub sparse_files: u64,
    /// Bytes of theirs that take no room.
    pub hole_bytes: u64,
    /// Files without a byte.
    pub empty_files: u64,
    /// Files that run with their owner's or group's rights.
    pub setuid: u64,
    /// Files and directories that everyone may write to (directories with the sticky bit are not).
    pub world_writable: u64,
    /// Files last changed more than a minute after the inventory began, by their times.
    pub future: u64,
    /// The most components of a path.
    pub depth: u64,
    /// The most bytes of a path.
    pub longest_path: u64,
}

/// Files of a range of sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventorySize {
    /// From this many bytes.
    pub from: u64,
    /// To less than this many; `None` for the last.
    pub to: Option<u64>,
    /// Files.
    pub files: u64,
    /// Their logical bytes.
    pub bytes: u64,
}

/// Files of a range of ages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryAge {
    /// The range as people read it: `1 day to 1 week`.
    pub label: Text,
    /// Last changed at least this many seconds before; `None` for those of the future.
    pub from: Option<u64>,
    /// Less than this many; `None` for the oldest.
    pub to: Option<u64>,
    /// Files.
    pub files: u64,
    /// Their logical bytes.
    pub bytes: u64,
}

/// Last changes in one hour of one day of the week.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryActivity {
    /// 1 is Monday, 7 is Sunday.
    pub weekday: u8,
    /// 0 to 23.
    pub hour: u8,
    /// Files.
    pub files: u64,
    /// Their logical bytes.
    pub bytes: u64,
}

/// Last changes on one day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryDay {
    /// `2026-11-24`.
    pub date: Text,
    /// Files.
    pub files: u64,
    /// Their logical bytes.
    pub bytes: u64,
}

/// Files of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryType {
    /// A stable word: `dicom`; where files were not opened, what follows the name's last dot.
    #[serde(rename = "type")]
    pub kind: Text,
    /// As people call it.
    pub label: Text,
    /// Its sort: `medical`, `database`, …; `name` where it is told by the name alone.
    pub class: Text,
    /// Files.
    pub files: u64,
    /// Their logical bytes.
    pub bytes: u64,
}

/// An entry that is an extreme.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryFile {
    /// Which.
    #[serde(flatten)]
    pub path: PathText,
    /// Its logical size.
    pub bytes: u64,
    /// Components of its path.
    pub depth: u64,
    /// Its last change.
    pub modified: Text,
}

/// A directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryDirectory {
    /// Which.
    #[serde(flatten)]
    pub path: PathText,
    /// Entries of its own.
    pub entries: u64,
    /// Regular files at any depth below it.
    pub files: u64,
    /// Their logical bytes, a file of several names where its first one is.
    pub bytes: u64,
}

/// Files that are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryDuplicateGroup {
    /// The size of each.
    pub bytes: u64,
    /// How many there are.
    pub files: u64,
    /// Some of them.
    pub paths: Vec<PathText>,
}

/// Copies by content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryDuplicates {
    /// Files whose content another file has as well, one of each content not counted.
    pub files: u64,
    /// Logical bytes of these.
    pub bytes: u64,
    /// Contents that several files have.
    pub groups: u64,
    /// Those with the most bytes to spare.
    pub largest: Vec<InventoryDuplicateGroup>,
}

/// Names of one directory that some targets take for one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryCollision {
    /// `case`: they differ in upper and lower case; `normalisation`: they are the same characters
    /// in other bytes.
    pub kind: Text,
    /// The first, and the one that collides with it.
    pub paths: Vec<PathText>,
}

/// Names that one kind of target cannot hold, for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryNames {
    /// `linux`, `s3`, `azure`, `gcs` or `windows`.
    pub target: Text,
    /// Why, as a stable word.
    pub reason: Text,
    /// Why, for people.
    pub label: Text,
    /// Entries with such a name.
    pub count: u64,
    /// Some of them.
    pub paths: Vec<PathText>,
}

/// A file that a process had open for writing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryOpenFile {
    /// Which.
    #[serde(flatten)]
    pub path: PathText,
    /// The process.
    pub process: u32,
    /// Its name.
    pub command: Text,
}

/// A database's data, or a disk of a virtual machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryDatabase {
    /// The directory, or the file.
    #[serde(flatten)]
    pub path: PathText,
    /// What it is.
    pub kind: Text,
    /// `running`, `maybe running` or `no sign of running`.
    pub state: Text,
    /// What that is known from.
    pub evidence: Text,
}

/// One sort of change since a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryChange {
    /// Entries of every kind, the root not counted.
    pub entries: u64,
    /// Logical bytes of the regular files among them: as they are now, or were where they are
    /// gone.
    pub bytes: u64,
}

/// What changed since a snapshot, by sizes, times, owners and modes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventorySince {
    /// The snapshot.
    pub snapshot: Text,
    /// When its pass ended.
    pub time: Text,
    /// Seconds from then to now.
    pub seconds: f64,
    /// Not in the snapshot.
    pub new: InventoryChange,
    /// Of another sort, or with another size or time of last change.
    pub changed: InventoryChange,
    /// With other owners or another mode only.
    pub metadata: InventoryChange,
    /// As in the snapshot.
    pub unchanged: InventoryChange,
    /// In the snapshot and gone.
    pub removed: InventoryChange,
    /// In the snapshot, and left out or not to be seen now.
    pub unknown: InventoryChange,
}
