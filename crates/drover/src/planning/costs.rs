//! What a migration costs, by a price list that the engineer keeps.

use drover_plan::{
    Plan,
    prices::{GB, Prices},
};
use drover_report::{PlanCost, PlanCostClass, PlanCostLine, PlanReport, Text};
use drover_types::path::escape;

use super::{class, text};
use crate::error::Error;

/// Days of a month.
const MONTH: f64 = 30.4;

/// By the plan's price list; `None` where it names none.
pub fn costs(plan: Option<&Plan>, report: &PlanReport) -> Result<Option<PlanCost>, Error> {
    let Some((plan, file)) = plan.and_then(|plan| Some((plan, plan.costs.prices.as_ref()?))) else {
        return Ok(None);
    };
    let prices = Prices::load(file).map_err(|error| Error::Usage(error.to_string()))?;
    let Some(of) = prices.class(class(plan)) else {
        let known: Vec<_> = prices.classes.iter().map(|class| class.name.as_str()).collect();
        return Err(Error::Usage(format!(
            "{}: there is no class {:?}; it has {}. Name one as class under [costs]",
            escape(file.as_os_str().as_encoded_bytes()),
            class(plan).unwrap_or_default(),
            known.join(", ")
        )));
    };
    let e = &report.estimate;
    let stored = e.uploaded as f64 / GB;
    let thousands = e.requests as f64 / 1000.0;
    let line = |what: &str, quantity: f64, unit: &str, price: f64, per: &str| PlanCostLine {
        what: Text::from(what),
        quantity,
        unit: Text::from(unit),
        price,
        amount: quantity * price,
        per: Text::from(per),
    };
    let changed = report.forecast.bytes_per_day.p50.unwrap_or(0.0) * MONTH;
    let ratio = if e.read > 0 { e.uploaded as f64 / e.read as f64 } else { 0.0 };
    let free = prices.egress_free_gb;
    let mut lines = vec![
        line("storage", stored, "GB", of.storage_per_gb_month, "month"),
        line(
            "more storage with each month of daily passes, as it changes now",
            changed * ratio / GB,
            "GB",
            of.storage_per_gb_month,
            "month",
        ),
        line(
            "requests of daily passes",
            30.0 * f64::from(u8::try_from(report.estimates.len() * 4).unwrap_or(u8::MAX)) / 1000.0,
            "thousand",
            of.puts_per_1000,
            "month",
        ),
        line("requests of the first pass", thousands, "thousand", of.puts_per_1000, "once"),
        line(
            "reading all back once, to verify or land it",
            stored,
            "GB",
            of.retrieval_per_gb,
            "once",
        ),
        line("its requests", thousands, "thousand", of.gets_per_1000, "once"),
        line(
            "its way out of the provider's network (nothing within the region)",
            (stored - free).max(0.0),
            "GB",
            prices.egress_per_gb,
            "once",
        ),
    ];
    if of.minimum_months > 0.0 {
        lines.push(line(
            &format!("storage is paid for {} months at least", of.minimum_months),
            stored * of.minimum_months,
            "GB months",
            0.0,
            "once",
        ));
    }
    let total = |per: &str| {
        lines.iter().filter(|line| line.per.as_str() == per).map(|line| line.amount).sum()
    };
    let classes = prices.classes.iter().map(|of| PlanCostClass {
        class: text(&of.name),
        storage: stored * of.storage_per_gb_month,
        first_pass: thousands * of.puts_per_1000,
        // All three providers charge a move by a rule as a put into the class that it leads to.
        moved: thousands * of.puts_per_1000,
        read_back: stored * of.retrieval_per_gb + thousands * of.gets_per_1000,
        minimum_months: of.minimum_months,
    });
    Ok(Some(PlanCost {
        classes: classes.collect(),
        currency: text(&prices.currency),
        priced_on: text(&prices.priced_on),
        provider: text(format!("{}, {}", prices.provider, prices.region)),
        class: text(&of.name),
        prices: text(&prices.source),
        monthly: total("month"),
        one_off: total("once"),
        lines,
    }))
}
