//! `drover log`: the tamper-evident record of who did what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::verify::{Problem, Verdict};
use crate::{Page, Table, Text, Tone, format};

/// One record.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LogItem {
    /// When.
    pub time: Text,
    /// Who wrote it.
    pub writer: Text,
    /// Its number among the writer's records.
    pub sequence: u64,
    /// Who, as given by `--operator`.
    pub operator: Text,
    /// The machine.
    pub host: Text,
    /// Which verb.
    pub verb: Text,
    /// On what.
    pub subject: Text,
    /// What came of it.
    pub outcome: Text,
    /// The program and its version.
    pub program: Text,
    /// BLAKE3 of the record as it is stored.
    pub hash: Text,
}

/// The audit log.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LogReport {
    /// The repository's URL, without credentials.
    pub repository: Text,
    /// `show` or `verify`.
    pub action: Text,
    /// What the check of numbers, hashes and signatures found.
    pub verdict: Verdict,
    /// How many records were checked.
    pub checked: u64,
    /// The records, oldest first; none where the log was only verified.
    pub records: Vec<LogItem>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl LogReport {
    pub(super) fn page(&self) -> Page {
        let records = format::counted(self.checked, "record", "records");
        let (tone, verdict) = match self.verdict {
            Verdict::Verified => (Tone::Good, format!("whole: {records}")),
            Verdict::Failed => (Tone::Bad, "not whole".to_owned()),
            Verdict::Incomplete => (Tone::Caution, format!("not wholly checked: {records}")),
        };
        let mut page = Page::new("Audit log", tone, verdict);
        page.fact("Repository", self.repository.to_string());
        page.table(super::verify::problem_table("Problems", &self.problems));
        let row = |r: &LogItem| {
            vec![
                r.time.to_string(),
                r.operator.to_string(),
                r.host.to_string(),
                r.verb.to_string(),
                r.subject.to_string(),
                r.outcome.to_string(),
            ]
        };
        page.table(Table {
            title: "Records".to_owned(),
            columns: vec!["time", "operator", "host", "verb", "subject", "outcome"],
            rows: self.records.iter().map(row).collect(),
            note: String::new(),
            terminal_rows: usize::MAX,
        });
        page
    }
}
