//! `drover demo`: a made-up clinic, migrated end to end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Page, Table, Text, Tone, format};

/// One step of the demo.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DemoStep {
    /// What it is about.
    pub title: Text,
    /// What a user would type; empty where there is nothing to type.
    pub command: Text,
    /// The exit code, where it was a command of drover.
    pub exit: Option<u8>,
    /// What came of it, where it was none.
    pub outcome: Text,
}

/// The demo, as far as it went.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DemoReport {
    /// Where everything was written.
    pub directory: Text,
    /// What chose the clinic.
    pub seed: u64,
    /// What was done, in order.
    pub steps: Vec<DemoStep>,
    /// How long it took.
    pub seconds: f64,
}

impl DemoReport {
    pub(super) fn page(&self) -> Page {
        let steps = format::counted(self.steps.len() as u64, "step", "steps");
        let mut page = Page::new("Demo", Tone::Good, format!("{steps}, each as told"));
        page.fact("Directory", self.directory.to_string());
        page.fact("Seed", self.seed.to_string());
        page.fact("Time", format::duration(self.seconds));
        let row = |step: &DemoStep| {
            let exit = step.exit.map(|exit| format!("exit code {exit}"));
            vec![
                step.title.to_string(),
                step.command.to_string(),
                exit.unwrap_or_else(|| step.outcome.to_string()),
            ]
        };
        page.table(Table {
            title: "Steps".to_owned(),
            columns: vec!["step", "command", "outcome"],
            rows: self.steps.iter().map(row).collect(),
            note: String::new(),
            terminal_rows: usize::MAX,
        });
        page
    }
}
