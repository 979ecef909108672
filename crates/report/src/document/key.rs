//! `drover key`: who can open a repository, and who can write to it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Page, Table, Text, Tone, format};

/// A way in: a passphrase, a key file, an identity.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SlotItem {
    /// Its id.
    pub id: Text,
    /// `passphrase`, `key file` or `identity`.
    pub kind: Text,
    /// What it opens: `owner`, `reader` or `auditor`.
    pub role: Text,
    /// When it was made.
    pub created: Text,
    /// What it was called when it was made; may be empty.
    pub label: Text,
    /// Whether it is the one that opened the repository just now.
    pub current: bool,
}

/// A machine that may write.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct WriterItem {
    /// Its id.
    pub id: Text,
    /// What it was called when it was made.
    pub label: Text,
    /// When it was made.
    pub issued: Text,
    /// The generation of the readers' keys that it may seal to, and does from its next pass on.
    pub epoch: u32,
    /// Where it was revoked, the number of its last snapshot that counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_after: Option<u64>,
}

/// The keys of a repository, after what was done.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct KeyReport {
    /// The repository's URL, without credentials.
    pub repository: Text,
    /// `list`, `add`, `remove`, `export-writer`, `rotate` or `revoke`.
    pub action: Text,
    /// The slot, writer or epoch that it was done to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Text>,
    /// The file that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Text>,
    /// Ways in.
    pub slots: Vec<SlotItem>,
    /// Machines that may write.
    pub writers: Vec<WriterItem>,
    /// The newest generation of the readers' keys, from 1; 0 where it was not looked up.
    pub epoch: u32,
}

impl KeyReport {
    pub(super) fn page(&self) -> Page {
        let subject = self.subject.as_ref().map(Text::to_string).unwrap_or_default();
        let (tone, verdict) = match self.action.as_str() {
            "add" => (Tone::Good, format!("slot {subject} added")),
            "remove" => (Tone::Good, format!("slot {subject} removed")),
            "export-writer" => (Tone::Good, format!("writer {subject} made")),
            "rotate" => (Tone::Good, format!("epoch {subject} begun")),
            "revoke" => (Tone::Good, format!("writer {subject} revoked")),
            _ => {
                let slots = format::counted(self.slots.len() as u64, "way in", "ways in");
                let writers = format::counted(self.writers.len() as u64, "writer", "writers");
                (Tone::Plain, format!("{slots}, {writers}"))
            }
        };
        let mut page = Page::new("Keys", tone, verdict);
        page.fact("Repository", self.repository.to_string());
        page.fact("File", self.file.as_ref().map(Text::to_string).unwrap_or_default());
        match self.action.as_str() {
            "remove" => page.next.push(
                "Whoever had this key may have copied what it opened: begin a new epoch with \
                 drover key rotate, so that later packs are closed to it."
                    .to_owned(),
            ),
            "rotate" => page.next.extend([
                "The new keys protect what is written from now on; what is there stays sealed as \
                 it was."
                    .to_owned(),
                "Every writer that is listed with this epoch takes it at its next pass. A machine \
                 that may not list and read keys/ goes on with the old keys: give it that \
                 permission for one pass."
                    .to_owned(),
            ]),
            "revoke" => page.next.extend([
                "Its credential may be able to put objects into the store still: take that right away \
                 there. What it puts does not count."
                    .to_owned(),
                "Whoever has its credential can tell which content is stored: a new writer for that \
                 machine sends everything again."
                    .to_owned(),
            ]),
            "export-writer" => page.next.push(
                "Carry the file to the machine that is to write, and nowhere else: it can write \
                 to this repository and cannot read from it."
                    .to_owned(),
            ),
            _ => {}
        }
        if self.epoch > 0 {
            page.fact("Epoch", self.epoch.to_string());
        }
        let row = |s: &SlotItem| {
            vec![
                s.id.to_string(),
                s.kind.to_string(),
                s.role.to_string(),
                s.created.to_string(),
                s.label.to_string(),
                if s.current { "this one" } else { "" }.to_owned(),
            ]
        };
        page.table(table(
            "Ways in",
            vec!["id", "kind", "role", "created", "label", "used"],
            self.slots.iter().map(row).collect(),
        ));
        let row = |w: &WriterItem| {
            let revoked = |last: u64| format!("after its snapshot number {last}");
            vec![
                w.id.to_string(),
                w.label.to_string(),
                w.issued.to_string(),
                w.epoch.to_string(),
                w.revoked_after.map(revoked).unwrap_or_default(),
            ]
        };
        page.table(table(
            "Writers",
            vec!["id", "label", "issued", "epoch", "revoked"],
            self.writers.iter().map(row).collect(),
        ));
        page
    }
}

fn table(title: &str, columns: Vec<&'static str>, rows: Vec<Vec<String>>) -> Table {
    let title = title.to_owned();
    Table { title, columns, rows, note: String::new(), terminal_rows: usize::MAX }
}
