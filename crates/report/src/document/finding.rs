//! Findings: what is risky, how much, and what to do about it. Each is a row of a risk register.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Table, Text, page::TERMINAL_ROWS};

/// Something that is risky.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FindingItem {
    /// What sort of finding it is: stable, for programs.
    pub id: Text,
    /// `info`, `low`, `medium` or `high`.
    pub severity: Text,
    /// `low`, `medium` or `high`.
    pub likelihood: Text,
    /// `low`, `medium` or `high`.
    pub impact: Text,
    /// What it is about.
    pub title: Text,
    /// What was seen.
    pub evidence: Text,
    /// What to do about it.
    pub remedy: Text,
    /// What it concerns: files, and on a server accounts and ports too.
    pub paths: Vec<Text>,
}

impl FindingItem {
    /// Its place among others: the worst first.
    pub fn rank(&self) -> u8 {
        match self.severity.as_str() {
            "high" => 0,
            "medium" => 1,
            "low" => 2,
            _ => 3,
        }
    }
}

/// The table of findings, in their order.
pub fn table<'a>(findings: impl IntoIterator<Item = &'a FindingItem>) -> Table {
    let row = |finding: &FindingItem| {
        vec![
            finding.severity.to_string(),
            finding.id.to_string(),
            finding.evidence.to_string(),
            finding.remedy.to_string(),
        ]
    };
    Table {
        title: "Findings".to_owned(),
        columns: vec!["severity", "finding", "evidence", "remedy"],
        rows: findings.into_iter().map(row).collect(),
        note: String::new(),
        terminal_rows: TERMINAL_ROWS,
    }
}
