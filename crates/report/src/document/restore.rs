//! `drover restore`: a snapshot put back.

use serde::{Deserialize, Serialize};

use super::exception::{self, ExceptionItem};
use crate::{Page, Text, Tone, format, page};

/// What happened to the entries of a restore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestoreBytes {
    /// Written to the target; holes are not.
    pub written: u64,
    /// Received from the store.
    pub received: u64,
}

/// A restore.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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

    pub(super) fn page(&self) -> Page {
        let e = &self.entries;
        let there = format::counted(e.written + e.unchanged, "entry", "entries");
        let (name, did) = match self.dry_run {
            true => ("Dry run", "a restore would leave"),
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
        page.fact("Time", format::duration(self.seconds));
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
