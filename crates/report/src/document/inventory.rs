//! `drover inventory`: what is on a server, which machines feed it, and what is risky.

mod content;
mod join;
mod page;
mod tree;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exception::{ExceptionItem, PathText};
use crate::{Failure, Text};

pub use content::{
    InventoryAnomaly, InventoryContent, InventoryDevice, InventoryInterface, InventoryPeriod,
    InventoryPhi, InventoryPhiExample, InventoryReconciliation, InventorySoftware,
};
pub use tree::{
    InventoryActivity, InventoryAge, InventoryChange, InventoryCollision, InventoryDatabase,
    InventoryDay, InventoryDirectory, InventoryDuplicateGroup, InventoryDuplicates, InventoryFile,
    InventoryNames, InventoryOpenFile, InventorySince, InventorySize, InventoryTotals,
    InventoryType,
};

/// A risk, or something that someone has to decide on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryFinding {
    /// A stable word for programs; `docs/inventory.md` lists them.
    pub id: Text,
    /// Which source, where the report is about several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Text>,
    /// `critical`, `high`, `medium`, `low` or `info`: the worse of likelihood and impact, together.
    pub severity: Text,
    /// How likely harm is: `certain`, `likely`, `possible` or `unlikely`.
    pub likelihood: Text,
    /// How bad it would be: `severe`, `moderate` or `minor`.
    pub impact: Text,
    /// What it is, in a sentence.
    pub title: Text,
    /// What it is known from.
    pub evidence: Text,
    /// What to do about it.
    pub remedy: Text,
    /// How many entries it concerns.
    pub count: u64,
    /// Some of them.
    pub paths: Vec<PathText>,
}

/// The inventory of one source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventorySource {
    /// The source's name in the plan, else where it is.
    pub source: Text,
    /// The host whose data it is.
    pub host: Text,
    /// The user it was read as.
    pub user: Text,
    /// Whether permissions hide nothing from that user.
    pub privileged: bool,
    /// What was negotiated with the source's server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<Text>,
    /// When the inventory began.
    pub started: Text,
    /// The time zone that hours and days are of.
    pub time_zone: Text,
    /// Whether files were opened: without it there is nothing about types by content, machines,
    /// patients' data and duplicates, and types are told by names.
    pub content_read: bool,
    /// Whether copies were looked for.
    pub duplicates_sought: bool,
    /// Whether it was found out which files are open.
    pub open_files_sought: bool,
    /// Whether paths are written as codes.
    pub paths_hidden: bool,
    /// How much there is.
    pub totals: InventoryTotals,
    /// Files by size.
    pub sizes: Vec<InventorySize>,
    /// Files by the time since their last change.
    pub ages: Vec<InventoryAge>,
    /// Last changes by hour of the day and day of the week.
    pub activity: Vec<InventoryActivity>,
    /// Last changes on each of the last days, the earliest first, days without any left out.
    pub days: Vec<InventoryDay>,
    /// Files by type.
    pub types: Vec<InventoryType>,
    /// The largest files.
    pub largest: Vec<InventoryFile>,
    /// The entries with the most directories above them.
    pub deepest: Vec<InventoryFile>,
    /// The directories with the most entries of their own.
    pub widest: Vec<InventoryDirectory>,
    /// The directories near the root, with all that is below them.
    pub directories: Vec<InventoryDirectory>,
    /// Copies.
    pub duplicates: InventoryDuplicates,
    /// Names of one directory that some targets take for one.
    pub collisions: Vec<InventoryCollision>,
    /// Names that targets cannot hold.
    pub names: Vec<InventoryNames>,
    /// Files that were open for writing.
    pub open_files: Vec<InventoryOpenFile>,
    /// Data directories of databases, disks of virtual machines.
    pub databases: Vec<InventoryDatabase>,
    /// What the content says, as far as it was read.
    #[serde(flatten)]
    pub content: InventoryContent,
    /// What changed since a snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<InventorySince>,
    /// What is risky, worst first.
    pub findings: Vec<InventoryFinding>,
    /// What could not be seen or read.
    pub exceptions: Vec<ExceptionItem>,
    /// How many exceptions there are beside those that are listed.
    #[serde(skip_serializing_if = "is_zero")]
    pub exceptions_not_listed: u64,
    /// What rules leave out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclusions: Vec<super::sync::SyncExclusion>,
    /// Bytes that were read of files.
    pub bytes_read: u64,
    /// How long it took.
    pub seconds: f64,
    /// Why there is no inventory of this source, while there is one of others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// An inventory of one source or of several.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryReport {
    /// The only source, or the sum of all.
    #[serde(flatten)]
    pub sum: InventorySource,
    /// Each source, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<InventorySource>,
    /// What is worth knowing and no finding.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Text>,
}

impl InventoryReport {
    /// Of these sources.
    pub fn new(mut sources: Vec<InventorySource>, seconds: f64) -> Self {
        match sources.len() {
            1 => Self { sum: InventorySource { seconds, ..sources.remove(0) }, ..Self::default() },
            _ => {
                let sum = InventorySource { seconds, ..join::join(&sources) };
                Self { sum, sources, ..Self::default() }
            }
        }
    }

    /// Whether there is anything that could not be seen or read.
    pub fn has_exceptions(&self) -> bool {
        !self.sum.exceptions.is_empty() || self.sum.exceptions_not_listed > 0
    }

    pub(super) fn page(&self) -> crate::Page {
        page::page(self)
    }
}
