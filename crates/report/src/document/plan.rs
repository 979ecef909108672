//! `drover plan`: what a migration will take, cost and lose, before a byte is sent.

mod page;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{bucket::BucketSetting, inventory::InventoryReport};
use crate::{Page, Text};

/// What the report is about, and who made it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PlanIdentity {
    /// The plan's file; empty where there is none.
    pub file: Text,
    /// BLAKE3 of the file, as `b3sum` prints it.
    pub blake3: Text,
    /// SHA-256 of the file.
    pub sha256: Text,
    /// Name and version of the program.
    pub program: Text,
    /// When it was made.
    pub made: Text,
    /// Which of the possible samples was read.
    pub seed: u64,
}

/// What the store says of the repository, read only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PlanRepository {
    /// Where it is.
    pub url: Text,
    /// `there`, `empty`, `unreachable` or `not asked`.
    pub state: Text,
    /// In a sentence.
    pub detail: Text,
}

/// Half of all cases and nine in ten stay within these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Likely {
    /// The value that half of all cases stay within.
    pub p50: Option<f64>,
    /// The value that nine in ten cases stay within.
    pub p90: Option<f64>,
}

/// A first pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PlanEstimate {
    /// Bytes that are read from the source.
    pub read: u64,
    /// Bytes that are stored, compressed and sealed: `bytes.stored` of the pass.
    pub stored: u64,
    /// In 95 of 100 samples it is no less.
    pub stored_low: u64,
    /// In 95 of 100 samples it is no more.
    pub stored_high: u64,
    /// Bytes that are sent.
    pub uploaded: u64,
    /// Requests that store an object.
    pub requests: u64,
    /// Bytes of the source to bytes without copies.
    pub dedup_ratio: f64,
    /// Bytes without copies to bytes stored.
    pub compression_ratio: f64,
    /// Bytes a second that reading brings.
    pub read_rate: f64,
    /// Files a second that can be opened.
    pub open_rate: f64,
    /// Bytes a second that everything from cutting to a closed pack takes.
    pub process_rate: f64,
    /// Bytes a second to the store; `None` where nobody measured or set it.
    pub upload_rate: Option<f64>,
    /// Where `upload_rate` is from: `measured`, `limit`, or empty.
    pub upload_rate_from: Text,
    /// Seconds of the first pass.
    pub baseline_seconds: Likely,
    /// Seconds that the source must rest at the end.
    pub freeze_seconds: Likely,
    /// Bytes that were read for this.
    pub sampled_bytes: u64,
    /// Files that something was read of.
    pub sampled_files: u64,
    /// The part of all bytes of which nothing was read that is like them, from 0 to 1.
    pub unsampled: f64,
}

/// The estimate of one source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PlanSource {
    /// Its name.
    pub source: Text,
    /// When its turn is.
    pub wave: u64,
    /// Its first pass.
    pub estimate: PlanEstimate,
}

/// What the passes over one source foretell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PlanForecastSource {
    /// Which.
    pub source: Text,
    /// Its passes so far.
    pub passes: u64,
    /// What this is known from.
    pub basis: Text,
    /// The part of the pace that changes take.
    pub load: Likely,
    /// Whether passes become short.
    pub converges: bool,
    /// Seconds of the freeze.
    pub freeze: Likely,
}

/// How fast the sources change, and what comes of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PlanForecast {
    /// What it is known from.
    pub basis: Text,
    /// `passes`, or `times` of last changes.
    pub from: Text,
    /// Each source, where it is known from passes.
    pub sources: Vec<PlanForecastSource>,
    /// Bytes that change in a day.
    pub bytes_per_day: Likely,
    /// Files that change in a day.
    pub files_per_day: Likely,
    /// The part of the pace that changes take; from 1 on there is no end of passes.
    pub load: Likely,
    /// Whether passes become short.
    pub converges: bool,
    /// Seconds of each delta pass, at half of all cases.
    pub passes: Vec<f64>,
    /// The same, at nine in ten; empty where that is not told pass by pass.
    pub passes_p90: Vec<f64>,
    /// The hours of the week in which the least changes, as long as the freeze.
    pub quiet: Text,
}

/// A part of the schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PlanStep {
    /// `baseline`, `delta` or `cutover`.
    pub step: Text,
    /// Of which source; of all where it is empty.
    pub source: Text,
    /// Of which wave.
    pub wave: u64,
    /// Seconds after the beginning.
    pub begins: f64,
    /// Seconds after the beginning.
    pub ends: f64,
    /// Bytes a second, at most.
    pub rate: Option<f64>,
}

/// Hours in which another rate holds than otherwise, as far as the schedule goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PlanWindow {
    /// Seconds after the beginning.
    pub begins: f64,
    /// Seconds after the beginning.
    pub ends: f64,
    /// Bytes a second that are sent at most; `None` where there is no limit.
    pub rate: Option<f64>,
}

/// A line of the costs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PlanCostLine {
    /// What for.
    pub what: Text,
    /// How much of it.
    pub quantity: f64,
    /// Of what.
    pub unit: Text,
    /// What one of it costs.
    pub price: f64,
    /// What it comes to.
    pub amount: f64,
    /// `month` or `once`.
    pub per: Text,
}

/// What one class of storage would cost, so that classes can be compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PlanCostClass {
    /// The class.
    pub class: Text,
    /// Keeping what the first pass stores, for a month.
    pub storage: f64,
    /// The requests of a first pass that stores in it.
    pub first_pass: f64,
    /// Moving the objects into it afterwards, by a rule of the bucket's lifecycle.
    pub moved: f64,
    /// Reading all back once, within the provider's network.
    pub read_back: f64,
    /// Months that are paid at least.
    pub minimum_months: f64,
}

/// What it costs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PlanCost {
    /// Such as `USD`.
    pub currency: Text,
    /// The day the prices are of.
    pub priced_on: Text,
    /// Provider and region.
    pub provider: Text,
    /// The storage class.
    pub class: Text,
    /// Where the prices are from.
    pub prices: Text,
    /// Line by line.
    pub lines: Vec<PlanCostLine>,
    /// The classes of the price list, beside each other.
    pub classes: Vec<PlanCostClass>,
    /// All lines of a month.
    pub monthly: f64,
    /// All lines of once.
    pub one_off: f64,
}

/// What becomes of a class of what entries have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PlanFidelity {
    /// The class.
    pub class: Text,
    /// Of how many entries.
    pub count: u64,
    /// `native`, `conditional` or `lost`.
    pub outcome: Text,
    /// Why, or on what it depends.
    pub note: Text,
}

/// Whether a source can be moved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PlanReadiness {
    /// The source.
    pub source: Text,
    /// `ready`, `conditional`, `not ready` or `unknown`.
    pub state: Text,
    /// Why.
    pub why: Text,
}

/// What has to be settled before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PlanBlocker {
    /// The source.
    pub source: Text,
    /// What it is.
    pub what: Text,
    /// What to do about it.
    pub remedy: Text,
}

/// A row of the risk register.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PlanRisk {
    /// What is at risk: a source, or a server.
    pub asset: Text,
    /// How much patients' data is in it, in words.
    pub patient_data: Text,
    /// What could go wrong, or does.
    pub threat: Text,
    /// What to do about it.
    pub control: Text,
    /// `high`, `medium` or `low`.
    pub likelihood: Text,
    /// `high`, `medium` or `low`.
    pub impact: Text,
    /// What it is known from.
    pub evidence: Text,
    /// Who answers for it; empty where the plan names nobody: for people to fill in.
    pub owner: Text,
    /// `critical`, `high`, `medium` or `low`.
    pub severity: Text,
    /// The finding that it is made from.
    pub finding: Text,
    /// `inventory`, `audit` or `bucket`.
    pub from: Text,
}

/// A condition for going on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PlanGate {
    /// What is looked at.
    pub gate: Text,
    /// What it must keep to.
    pub threshold: Text,
    /// What it is, or is foretold to be.
    pub now: Text,
    /// `go`, `no-go` or `open`.
    pub state: Text,
}

/// The planning report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PlanReport {
    /// What is there.
    #[serde(flatten)]
    pub inventory: InventoryReport,
    /// What it is about.
    pub plan: PlanIdentity,
    /// Where the data is to go.
    pub repository: PlanRepository,
    /// All first passes together.
    pub estimate: PlanEstimate,
    /// Each source.
    pub estimates: Vec<PlanSource>,
    /// The passes after them.
    pub forecast: PlanForecast,
    /// When what is done.
    pub schedule: Vec<PlanStep>,
    /// The windows of bandwidth that it goes through.
    pub windows: Vec<PlanWindow>,
    /// What it costs; `None` where no prices are given.
    pub cost: Option<PlanCost>,
    /// What becomes of what entries have besides their content.
    pub fidelity: Vec<PlanFidelity>,
    /// Each source.
    pub readiness: Vec<PlanReadiness>,
    /// What has to be settled before.
    pub blockers: Vec<PlanBlocker>,
    /// What has to be so for going on.
    pub gates: Vec<PlanGate>,
    /// The settings of the repository's bucket; empty of a directory, and where nobody asked.
    pub bucket: Vec<BucketSetting>,
    /// The risk register, the worst first.
    pub risks: Vec<PlanRisk>,
}

impl PlanReport {
    pub(super) fn page(&self) -> Page {
        page::page(self)
    }
}
