//! `drover init`: a new repository.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Page, Text, Tone, page};

/// A repository that was made.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InitReport {
    /// Its URL, without credentials.
    pub url: Text,
    /// Its id.
    pub repository: Text,
    /// The id of the slot that the password opens.
    pub slot: Text,
    /// Whether the store keeps a write from replacing an object: `honoured`, `ignored` or
    /// `refused`.
    pub create_only: Text,
    /// What is worth knowing about this store.
    pub warnings: Vec<Text>,
    /// How long it took.
    pub seconds: f64,
}

impl InitReport {
    pub(super) fn page(&self) -> Page {
        let mut page = Page::new("New repository", Tone::Good, format!("made at {}", self.url));
        page.explanation = "Without its password nobody can read what will be in it, and nobody \
                            can help: keep a copy of the password where this machine's fate does \
                            not reach it."
            .to_owned();
        page.fact("Repository", self.repository.to_string());
        page.fact("Key slot", self.slot.to_string());
        page.fact("Create-only writes", self.create_only.to_string());
        page.table(page::warnings(&self.warnings));
        page.next.push("Add a second way in: drover key add".to_owned());
        page.next.push(format!("Take a first pass: drover sync --repo {} --source DIR", self.url));
        page
    }
}
