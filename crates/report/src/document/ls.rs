//! `drover ls`: what is in a snapshot.

use drover_types::{Entry, Kind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exception::PathText;
use crate::{Page, Table, Text, Tone, format};

/// One entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LsItem {
    /// Which.
    #[serde(flatten)]
    pub path: PathText,
    /// `file`, `directory`, `symlink`, ….
    pub kind: Text,
    /// Logical size of a file in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Permission bits in octal: `0644`.
    pub mode: Text,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// The owner's name on the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Text>,
    /// The group's name on the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Text>,
    /// Last change of the content.
    pub mtime: Text,
    /// Plain BLAKE3 of a file's content, as `b3sum` prints it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blake3: Option<Text>,
    /// Where a symlink points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Text>,
    /// The first name of the same file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_link: Option<Text>,
    /// Carried over from an earlier pass, because the last could not take it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

impl From<&Entry> for LsItem {
    fn from(entry: &Entry) -> Self {
        let a = &entry.attributes;
        let target = match &entry.kind {
            Kind::Symlink { target } => Some(Text::from_bytes(target)),
            _ => None,
        };
        Self {
            path: PathText::from(&entry.path),
            kind: Text::from(entry.kind.as_str()),
            size: entry.content.as_ref().map(|content| content.size),
            mode: Text::from(format!("{:04o}", a.mode)),
            uid: a.uid,
            gid: a.gid,
            user: a.user.as_deref().map(Text::from),
            group: a.group.as_deref().map(Text::from),
            mtime: format::time(a.mtime),
            blake3: entry.content.as_ref().map(|content| Text::from(content.hash.to_hex())),
            target,
            hard_link: entry.hard_link.as_ref().map(|path| Text::from_bytes(path.as_bytes())),
            stale: entry.stale,
        }
    }
}

impl LsItem {
    /// One line, much as `ls -l` has it.
    pub fn line(&self) -> String {
        let owner = |name: &Option<Text>, id: u32| match name {
            Some(name) => name.to_string(),
            None => id.to_string(),
        };
        let size = self.size.map(|size| size.to_string()).unwrap_or_default();
        let mut line = format!(
            "{} {} {:>8} {:>8} {size:>14} {} {}",
            self.kind.as_str().chars().next().map_or('?', |c| if c == 'f' { '-' } else { c }),
            self.mode,
            owner(&self.user, self.uid),
            owner(&self.group, self.gid),
            self.mtime,
            self.path.shown(),
        );
        if let Some(target) = &self.target {
            line.push_str(&format!(" -> {target}"));
        }
        if let Some(first) = &self.hard_link {
            line.push_str(&format!(" = {first}"));
        }
        if self.stale {
            line.push_str(" (stale)");
        }
        line
    }
}

/// The entries of a snapshot, or of a part of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LsReport {
    /// The snapshot.
    pub snapshot: Text,
    /// The directory that was listed.
    #[serde(flatten)]
    pub path: PathText,
    /// The entries in their order.
    pub entries: Vec<LsItem>,
}

impl LsReport {
    pub(super) fn page(&self) -> Page {
        let n = format::counted(self.entries.len() as u64, "entry", "entries");
        let mut page = Page::new("Listing", Tone::Plain, n);
        page.fact("Snapshot", self.snapshot.to_string());
        page.fact("Path", self.path.shown());
        let row = |item: &LsItem| {
            vec![
                item.path.shown(),
                item.kind.to_string(),
                item.size.map(format::count).unwrap_or_default(),
                item.mode.to_string(),
                item.mtime.to_string(),
                item.blake3.as_ref().map(Text::to_string).unwrap_or_default(),
            ]
        };
        page.table(Table {
            title: "Entries".to_owned(),
            columns: vec!["path", "kind", "size", "mode", "changed", "BLAKE3"],
            rows: self.entries.iter().map(row).collect(),
            note: String::new(),
            terminal_rows: usize::MAX,
        });
        page
    }
}
