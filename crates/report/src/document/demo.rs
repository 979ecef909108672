//! `drover demo`: a made-up clinic, migrated end to end on this machine.

use serde::{Deserialize, Serialize};

use super::{
    restore::RestoreReport,
    sync::SyncReport,
    verify::{Verdict, VerifyReport},
};
use crate::{Page, Table, Text, Tone, format};

/// The steps of the demonstration.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DemoReport {
    /// The folder that holds it all.
    pub directory: Text,
    /// The made-up server.
    pub source: Text,
    /// The repository.
    pub repository: Text,
    /// Where it was restored to.
    pub target: Text,
    /// The baseline pass.
    pub baseline: SyncReport,
    /// The pass after a day of work.
    pub delta: SyncReport,
    /// The verification of the repository, everything read back.
    pub verified: VerifyReport,
    /// The restore.
    pub restored: RestoreReport,
    /// The verification of what landed.
    pub landed: VerifyReport,
    /// How long it took.
    pub seconds: f64,
}

impl DemoReport {
    /// Whether everything went as it should.
    pub fn is_good(&self) -> bool {
        self.verified.verdict == Verdict::Verified && self.landed.verdict == Verdict::Verified
    }

    pub(super) fn page(&self) -> Page {
        let mut page = if self.is_good() {
            Page::new("Demonstration", Tone::Good, "a clinic moved, verified, and landed")
        } else {
            Page::new("Demonstration", Tone::Bad, "something is not as it should be")
        };
        page.fact("Made-up server", self.source.to_string());
        page.fact("Repository", self.repository.to_string());
        page.fact("Landed in", self.target.to_string());
        page.fact("Time", format::duration(self.seconds));
        let step = |name: &str, what: Page, seconds: f64| {
            vec![name.to_owned(), what.verdict, format::duration(seconds)]
        };
        page.table(Table {
            title: "Steps".to_owned(),
            columns: vec!["step", "outcome", "time"],
            rows: vec![
                step("baseline pass", self.baseline.page(), self.baseline.sums.seconds),
                step("delta pass", self.delta.page(), self.delta.sums.seconds),
                step("verify, read back", self.verified.page(), self.verified.seconds),
                step("restore", self.restored.page(), self.restored.seconds),
                step("verify what landed", self.landed.page(), self.landed.seconds),
            ],
            note: String::new(),
            terminal_rows: usize::MAX,
        });
        page.next.push(format!("Look around in {}; nothing else was touched.", self.directory));
        page
    }
}
