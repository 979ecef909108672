//! `drover diff`: what changed from one snapshot to another.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exception::PathText;
use crate::{Page, Table, Text, Tone, format};

/// One change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ChangeItem {
    /// Which entry.
    #[serde(flatten)]
    pub path: PathText,
    /// `added`, `removed`, `kind`, `content` or `metadata`.
    pub change: Text,
    /// What it is, in the later snapshot or else in the earlier.
    pub kind: Text,
    /// Its size in the earlier snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_before: Option<u64>,
    /// Its size in the later snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_after: Option<u64>,
    /// The attributes that differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Text>,
}

impl ChangeItem {
    /// One line: a sign, the path, what differs.
    pub fn line(&self) -> String {
        let sign = match self.change.as_str() {
            "added" => '+',
            "removed" => '-',
            "metadata" => '~',
            _ => '*',
        };
        let mut line = format!("{sign} {}", self.path.shown());
        if !self.attributes.is_empty() {
            let attributes: Vec<_> = self.attributes.iter().map(Text::as_str).collect();
            line.push_str(&format!("  ({})", attributes.join(", ")));
        }
        line
    }
}

/// How many changes there are of each sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DiffTotals {
    /// Only in the later snapshot.
    pub added: u64,
    /// Only in the earlier snapshot.
    pub removed: u64,
    /// With other content, or of another sort.
    pub changed: u64,
    /// With other attributes only.
    pub metadata: u64,
}

/// What changed from one snapshot to another.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DiffReport {
    /// The earlier snapshot.
    pub from: Text,
    /// The later snapshot.
    pub to: Text,
    /// The changes, in the order of their paths.
    pub changes: Vec<ChangeItem>,
    /// How many there are.
    pub totals: DiffTotals,
}

impl DiffReport {
    pub(super) fn page(&self) -> Page {
        let t = &self.totals;
        let verdict = format!(
            "{} added, {} removed, {} changed, {} with other attributes",
            format::count(t.added),
            format::count(t.removed),
            format::count(t.changed),
            format::count(t.metadata)
        );
        let mut page = Page::new("Difference", Tone::Plain, verdict);
        page.fact("From", self.from.to_string());
        page.fact("To", self.to.to_string());
        let size = |size: Option<u64>| size.map(format::count).unwrap_or_default();
        let row = |c: &ChangeItem| {
            let attributes: Vec<_> = c.attributes.iter().map(Text::as_str).collect();
            vec![
                c.change.to_string(),
                c.path.shown(),
                c.kind.to_string(),
                size(c.size_before),
                size(c.size_after),
                attributes.join(", "),
            ]
        };
        page.table(Table {
            title: "Changes".to_owned(),
            columns: vec!["change", "path", "kind", "size before", "size after", "attributes"],
            rows: self.changes.iter().map(row).collect(),
            note: String::new(),
            terminal_rows: usize::MAX,
        });
        page
    }
}
