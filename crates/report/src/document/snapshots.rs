//! `drover snapshots`: what passes left.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Page, Table, Text, Tone, format};

/// One snapshot.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SnapshotItem {
    /// Its id.
    pub id: Text,
    /// The newest of the same source before it.
    pub parent: Option<Text>,
    /// Its source's name.
    pub source: Text,
    /// Where the source was read.
    pub location: Text,
    /// The machine that ran the pass.
    pub host: Text,
    /// Who wrote it.
    pub writer: Text,
    /// Its number among the writer's snapshots.
    pub sequence: u64,
    /// When the pass began.
    pub started: Text,
    /// When the pass ended.
    pub time: Text,
    /// Entries, the root not counted.
    pub entries: u64,
    /// Regular files among them.
    pub files: u64,
    /// Their logical size.
    pub bytes: u64,
    /// What the pass could not take.
    pub exceptions: u64,
    /// Who ran it, as given by `--operator`.
    pub operator: Text,
}

/// The snapshots of a repository, oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SnapshotsReport {
    /// The repository's URL, without credentials.
    pub repository: Text,
    /// The snapshots.
    pub snapshots: Vec<SnapshotItem>,
}

impl SnapshotsReport {
    pub(super) fn page(&self) -> Page {
        let n = format::counted(self.snapshots.len() as u64, "snapshot", "snapshots");
        let mut page = Page::new("Snapshots", Tone::Plain, n);
        let row = |s: &SnapshotItem| {
            vec![
                format::short_id(s.id.as_str()).to_owned(),
                s.time.to_string(),
                s.source.to_string(),
                s.host.to_string(),
                format::count(s.entries),
                format::bytes(s.bytes),
                format::count(s.exceptions),
            ]
        };
        page.table(Table {
            title: self.repository.to_string(),
            columns: vec!["id", "time", "source", "host", "entries", "size", "exceptions"],
            rows: self.snapshots.iter().map(row).collect(),
            note: String::new(),
            terminal_rows: usize::MAX,
        });
        page
    }
}
