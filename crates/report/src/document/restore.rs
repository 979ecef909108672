//! `drover restore`: a snapshot put back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    exception::{self, ExceptionItem},
    sync::SyncRequests,
};
use crate::{Page, Table, Text, Tone, format, page, page::TERMINAL_ROWS};

/// What happened to the entries of a restore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RestoreEntries {
    /// Made or changed.
    pub written: u64,
    /// There already, and right.
    pub unchanged: u64,
    /// Removed from the target, because the snapshot lacks them.
    pub removed: u64,
}

/// The bytes of a restore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RestoreBytes {
    /// Written to the target; holes are not.
    pub written: u64,
    /// Received from the store.
    pub received: u64,
    /// Sent to a bucket as objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<u64>,
}

/// One landing of a restore that follows its source.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LandingItem {
    /// The snapshot.
    pub snapshot: Text,
    /// When the snapshot's pass ended.
    pub time: Text,
    /// When it had landed.
    pub landed: Text,
    /// What happened to the entries.
    pub entries: RestoreEntries,
    /// The bytes.
    pub bytes: RestoreBytes,
    /// How many entries could not be put back faithfully.
    pub exceptions: u64,
    /// Whether every file of it was compared, and is what the snapshot says; nothing where nobody asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
    /// How long it took.
    pub seconds: f64,
    /// How long after the end of its pass it had landed, by the clocks of the machines that took
    /// and landed it.
    pub lag_seconds: f64,
}

/// What following took beside its landings.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Following {
    /// How often the repository was asked for new snapshots.
    pub looks: u64,
    /// How many landings there were; the document has the last thousand.
    pub landings: u64,
    /// Requests to the store, those of opening included.
    pub requests: SyncRequests,
}

/// A restore.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RestoreReport {
    /// The repository's URL, without credentials.
    pub repository: Text,
    /// Nothing was written: this is what a restore would do.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// The snapshot.
    pub snapshot: Text,
    /// The path that was restored; empty for all of it.
    #[serde(skip_serializing_if = "Text::is_empty")]
    pub path: Text,
    /// The snapshot's source.
    pub source: Text,
    /// When the snapshot's pass ended.
    pub time: Text,
    /// Where it landed.
    pub target: Text,
    /// What happened to the entries.
    pub entries: RestoreEntries,
    /// The bytes.
    pub bytes: RestoreBytes,
    /// What could not be put back faithfully.
    pub exceptions: Vec<ExceptionItem>,
    /// Of one that followed its source: each landing, of which the counts above are the sums and the
    /// exceptions those of the last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub landings: Vec<LandingItem>,
    /// That it followed its source, and what that took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub following: Option<Following>,
    /// What is worth knowing and no exception.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Text>,
    /// How long it took.
    pub seconds: f64,
}

impl RestoreReport {
    /// Whether something could not be put back faithfully.
    pub fn has_exceptions(&self) -> bool {
        !self.exceptions.is_empty()
    }

    fn landings_table(&self) -> Table {
        let row = |l: &LandingItem| {
            vec![
                l.landed.to_string(),
                format::short_id(l.snapshot.as_str()).to_owned(),
                format::count(l.entries.written),
                format::count(l.entries.removed),
                format::bytes(l.bytes.received),
                format::duration(l.seconds),
                format::duration(l.lag_seconds),
            ]
        };
        Table {
            title: format!("Landings: {}", format::count(self.landings.len() as u64)),
            columns: vec!["landed", "snapshot", "written", "removed", "received", "took", "behind"],
            rows: self.landings.iter().map(row).collect(),
            note:
                "Behind: from the end of a pass to the end of its landing, by the clocks of both \
                   machines."
                    .into(),
            terminal_rows: TERMINAL_ROWS,
        }
    }

    pub(super) fn page(&self) -> Page {
        let e = &self.entries;
        let there = format::counted(e.written + e.unchanged, "entry", "entries");
        let (name, did) = match self.dry_run {
            true => ("Dry run", "a restore would leave"),
            false if self.following.is_some() => ("Landing", "followed its source"),
            false => ("Restore", "complete"),
        };
        let mut page = if self.exceptions.is_empty() {
            Page::new(name, Tone::Good, format!("{did}: {there}"))
        } else {
            let n = self.exceptions.len() as u64;
            let exceptions = format::counted(n, "exception", "exceptions");
            Page::new(name, Tone::Caution, format!("{did}, with {exceptions}: {there}"))
        };
        page.explanation = format!(
            "{} {}, {} there already, {} {}.",
            format::count(e.written),
            if self.dry_run { "to be written" } else { "written" },
            format::count(e.unchanged),
            format::count(e.removed),
            if self.dry_run { "to be removed" } else { "removed" },
        );
        page.fact("Target", self.target.to_string());
        page.fact("Snapshot", self.snapshot.to_string());
        page.fact("Source", self.source.to_string());
        page.fact("Taken", self.time.to_string());
        page.fact("Repository", self.repository.to_string());
        page.fact("Written", format::bytes_exact(self.bytes.written));
        page.fact("Received", format::bytes_exact(self.bytes.received));
        if let Some(sent) = self.bytes.sent {
            page.fact("Sent", format::bytes_exact(sent));
        }
        page.fact("Time", format::duration(self.seconds));
        if let Some(following) = &self.following {
            page.fact("Landings", format::count(following.landings));
            page.fact("Looks", format::count(following.looks));
        }
        page.table(self.landings_table());
        page.table(exception::table(
            &self.exceptions,
            "The target lacks what is listed here, or has it without what is named.",
        ));
        page.table(page::warnings(&self.warnings));
        // Only a whole restore can be compared with its snapshot.
        if self.dry_run || !self.path.is_empty() {
            return page;
        }
        page.next.push(format!(
            "Prove it: drover verify --repo {} --target {} --snapshot {}",
            self.repository,
            self.target,
            format::short_id(self.snapshot.as_str())
        ));
        page
    }
}
