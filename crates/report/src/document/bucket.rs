//! The settings of a bucket: what they are, and what to do about them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Table, Text, page::TERMINAL_ROWS};

/// One setting of a repository's bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BucketSetting {
    /// `versioning`, `lock`, `public-access`, `encryption`, `lifecycle` or `tls`.
    pub setting: Text,
    /// `pass`, `finding` or `could-not-check`.
    pub result: Text,
    /// How much a finding matters: `high`, `medium` or `low`.
    pub severity: Text,
    /// What it is, or why nobody knows.
    pub is: Text,
    /// What a finding leads to.
    pub threat: Text,
    /// What to do about it.
    pub remedy: Text,
}

/// The table of settings.
pub(super) fn table(settings: &[BucketSetting]) -> Table {
    let row = |s: &BucketSetting| {
        let severity = if s.result.as_str() == "finding" { s.severity.as_str() } else { "" };
        let [setting, result, is, remedy] = [&s.setting, &s.result, &s.is, &s.remedy];
        let remedy = if s.result.as_str() == "pass" { "" } else { remedy.as_str() };
        [setting.as_str(), result.as_str(), severity, is.as_str(), remedy]
            .map(str::to_owned)
            .to_vec()
    };
    Table {
        title: "The bucket".to_owned(),
        columns: vec!["setting", "result", "severity", "is", "what to do"],
        rows: settings.iter().map(row).collect(),
        note: "As the store answered, read only.".to_owned(),
        terminal_rows: TERMINAL_ROWS,
    }
}
