//! From what was found, measured and asked to a planning report.
//!
//! ```text
//! inventory ─┬─► change of the last days ─┬─► forecast ─► freeze ─► gates
//! passes    ─┤        (else)             ─┘
//! estimate  ─┼─► first pass, store, requests ─► schedule, costs
//! store     ─┤─► state of the repository, speed of the link
//! audit     ─┘─► with the inventory's findings: risk register
//! ```

pub mod costs;
pub mod ledger;
pub mod passes;
pub mod risks;
pub mod store;
pub mod template;
pub mod times;

use drover_ops::estimate::Estimate;
use drover_plan::Plan;
use drover_report::{
    AuditReport, InventoryReport, InventorySource, PlanEstimate, PlanReport, PlanSource, Text,
};
use jiff::tz::TimeZone;

use crate::{error::Error, place::Place};

/// What was found out about one source.
pub struct Looked {
    pub inventory: InventorySource,
    /// `None` where the source cannot be reached.
    pub estimate: Option<Estimate>,
    /// What the source does not say, and whether of files only.
    pub losses: Vec<(&'static str, bool)>,
    pub wave: usize,
    /// Who answers for its risks.
    pub owner: Option<String>,
}

/// Puts the report together.
pub fn report(
    place: &Place,
    looked: Vec<Looked>,
    store: store::Asked,
    passes: &passes::Passes,
    audits: &[AuditReport],
    zone: &TimeZone,
) -> Result<PlanReport, Error> {
    let plan = place.plan.as_ref();
    let mut report =
        PlanReport { repository: store.repository, bucket: store.bucket, ..PlanReport::default() };
    let link = times::Link::new(plan, store.upload_rate);
    for source in &looked {
        let Some(estimate) = &source.estimate else { continue };
        report.estimates.push(PlanSource {
            source: source.inventory.source.clone(),
            wave: source.wave as u64,
            estimate: times::estimate(estimate, &link),
        });
    }
    report.estimate = sum(&report.estimates);
    report.fidelity = ledger::fidelity(plan, &looked);
    report.readiness = ledger::readiness(&looked);
    report.blockers = ledger::blockers(&looked);
    report.risks = risks::register(&looked, audits, &report.repository.url, &report.bucket);
    times::schedule(&mut report, &looked, plan, &link, passes, zone);
    report.blockers.extend(ledger::endless(&report.forecast));
    report.blockers.extend(ledger::of_bucket(&report));
    report.cost = costs::costs(plan, &report)?;
    let failed = looked.iter().filter(|source| source.estimate.is_none()).count();
    let inventories = looked.into_iter().map(|source| source.inventory).collect();
    report.inventory = InventoryReport::new(inventories, 0.0);
    report.gates = ledger::gates(plan, &report, failed);
    Ok(report)
}

/// All sources, one after the other.
fn sum(sources: &[PlanSource]) -> PlanEstimate {
    let mut sum = PlanEstimate::default();
    let (mut unique, mut compressed) = (0.0, 0.0);
    for PlanSource { estimate: e, .. } in sources {
        sum.read += e.read;
        sum.stored += e.stored;
        sum.stored_low += e.stored_low;
        sum.stored_high += e.stored_high;
        sum.uploaded += e.uploaded;
        sum.requests += e.requests;
        sum.sampled_bytes += e.sampled_bytes;
        sum.sampled_files += e.sampled_files;
        sum.unsampled += e.unsampled * e.read as f64;
        let without = if e.dedup_ratio > 0.0 { e.read as f64 / e.dedup_ratio } else { 0.0 };
        unique += without;
        compressed += if e.compression_ratio > 0.0 { without / e.compression_ratio } else { 0.0 };
        // The slowest says least about the others, and is the safest guess.
        let slower = |a: f64, b: f64| if a == 0.0 { b } else { a.min(b) };
        sum.read_rate = slower(sum.read_rate, e.read_rate);
        sum.open_rate = slower(sum.open_rate, e.open_rate);
        sum.process_rate = slower(sum.process_rate, e.process_rate);
        sum.upload_rate = e.upload_rate;
        sum.upload_rate_from = e.upload_rate_from.clone();
        let add = |a: Option<f64>, b: Option<f64>| Some(a.unwrap_or(0.0) + b?);
        sum.baseline_seconds.p50 = add(sum.baseline_seconds.p50, e.baseline_seconds.p50);
        sum.baseline_seconds.p90 = add(sum.baseline_seconds.p90, e.baseline_seconds.p90);
    }
    sum.unsampled = if sum.read > 0 { sum.unsampled / sum.read as f64 } else { 0.0 };
    sum.dedup_ratio = if unique > 0.0 { sum.read as f64 / unique } else { 1.0 };
    sum.compression_ratio = if compressed > 0.0 { unique / compressed } else { 1.0 };
    sum
}

/// What a plan calls its storage class for costs: its own word for it, else the repository's.
fn class(plan: &Plan) -> Option<&str> {
    plan.costs.class.as_deref().or(plan.repository.storage_class.as_deref())
}

/// Text of something that is shown.
fn text(value: impl ToString) -> Text {
    Text::from(value.to_string())
}
