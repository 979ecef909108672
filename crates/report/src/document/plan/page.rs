//! A planning report as people read it: whether it can go ahead, how long, how much, what is lost.

use super::{Likely, PlanReport};
use crate::{
    Page, Table, Tone,
    document::bucket,
    format,
    page::TERMINAL_ROWS,
    plot::{Amount, Figure, Plot, Span},
};

fn table(title: &str, columns: Vec<&'static str>, rows: Vec<Vec<String>>, note: &str) -> Table {
    let (title, note) = (title.to_owned(), note.to_owned());
    Table { title, columns, rows, note, terminal_rows: TERMINAL_ROWS }
}

/// `2 h 05 min, 9 in 10 cases 3 h 10 min`.
fn likely(likely: Likely) -> String {
    match (likely.p50, likely.p90) {
        (Some(p50), Some(p90)) => {
            let (p50, p90) = (format::duration(p50), format::duration(p90));
            match p50 == p90 {
                true => p50,
                false => format!("{p50}; within {p90} in 9 of 10 cases"),
            }
        }
        (Some(p50), None) => format!("{}; no end in 1 of 10 cases", format::duration(p50)),
        _ => "cannot be told".to_owned(),
    }
}

/// `2 h 05 min to 3 h 10 min`, for a plot.
fn reach(likely: Likely) -> String {
    let shown = [likely.p50, likely.p90].map(|seconds| seconds.map(format::duration));
    match shown {
        [Some(p50), Some(p90)] if p50 != p90 => format!("{p50} to {p90}"),
        [Some(p50), Some(_)] => p50,
        [Some(p50), None] => format!("{p50}, or no end"),
        [None, _] => String::new(),
    }
}

fn money(amount: f64, currency: &str) -> String {
    match amount {
        amount if amount > 0.0 && amount < 0.01 => format!("under 0.01 {currency}"),
        amount => format!("{amount:.2} {currency}"),
    }
}

fn rate(rate: f64) -> String {
    if rate > 0.0 { format!("{}/s", format::bytes(rate as u64)) } else { String::new() }
}

pub(super) fn page(report: &PlanReport) -> Page {
    let e = &report.estimate;
    let no_go = report.gates.iter().filter(|gate| gate.state.as_str() == "no-go").count();
    let not_ready =
        |state: &str| report.readiness.iter().filter(|r| r.state.as_str() == state).count();
    let stopped = no_go + not_ready("not ready") > 0;
    let (tone, verdict) = match (stopped, report.blockers.is_empty() && not_ready("ready") > 0) {
        (true, _) => (Tone::Bad, "not ready"),
        (false, true) => (Tone::Good, "ready to begin"),
        (false, false) => (Tone::Caution, "ready under conditions"),
    };
    let mut page = Page::new("Migration plan", tone, verdict);
    page.explanation = explanation(report, no_go);
    let sum = &report.inventory.sum;
    page.fact("Files", format::count(sum.totals.files));
    page.fact("Bytes", format::bytes_exact(sum.totals.bytes));
    page.fact(
        "Stored, foretold",
        format!(
            "{}, from {} to {} in 95 of 100 samples",
            format::bytes(e.stored),
            format::bytes(e.stored_low),
            format::bytes(e.stored_high)
        ),
    );
    page.fact("First pass", likely(e.baseline_seconds));
    page.fact("Freeze", likely(e.freeze_seconds));
    if let Some(cost) = &report.cost {
        let (month, once) = (
            money(cost.monthly, cost.currency.as_str()),
            money(cost.one_off, cost.currency.as_str()),
        );
        page.fact("Costs", format!("{month} a month, {once} once"));
    }
    page.fact("Repository", format!("{}: {}", report.repository.url, report.repository.detail));
    page.fact("Plan", report.plan.file.to_string());
    page.fact("BLAKE3 of the plan", report.plan.blake3.to_string());
    page.fact("SHA-256 of the plan", report.plan.sha256.to_string());
    page.fact("Made", format!("{} by {}", report.plan.made, report.plan.program));

    figures(&mut page, report);
    let rows = report.gates.iter().map(|gate| {
        [&gate.state, &gate.gate, &gate.threshold, &gate.now].map(|t| t.to_string()).to_vec()
    });
    page.table(table("Gates", vec!["state", "gate", "threshold", "now"], rows.collect(), ""));
    let rows = report.blockers.iter().map(|blocker| {
        [&blocker.source, &blocker.what, &blocker.remedy].map(|t| t.to_string()).to_vec()
    });
    page.table(table("To be settled before", vec!["source", "what", "remedy"], rows.collect(), ""));
    let rows = report
        .readiness
        .iter()
        .map(|r| [&r.source, &r.state, &r.why].map(|t| t.to_string()).to_vec());
    page.table(table("Readiness", vec!["source", "state", "why"], rows.collect(), ""));
    page.table(bucket::table(&report.bucket));
    estimates(&mut page, report);
    forecast(&mut page, report);
    costs(&mut page, report);
    let rows = report.fidelity.iter().map(|f| {
        vec![f.class.to_string(), format::count(f.count), f.outcome.to_string(), f.note.to_string()]
    });
    page.table(table(
        "What becomes of what entries have",
        vec!["what", "entries", "outcome", "note"],
        rows.collect(),
        "native: as it was. conditional: where the note holds. lost: not in the snapshot.",
    ));
    let rows = report.risks.iter().map(|risk| {
        let owner = if risk.owner.is_empty() { "not named" } else { risk.owner.as_str() };
        let cells = [
            risk.severity.as_str(),
            risk.asset.as_str(),
            risk.threat.as_str(),
            risk.likelihood.as_str(),
            risk.impact.as_str(),
            owner,
            risk.patient_data.as_str(),
            risk.control.as_str(),
            risk.evidence.as_str(),
            risk.finding.as_str(),
        ];
        cells.map(str::to_owned).to_vec()
    });
    let columns = vec![
        "severity",
        "asset",
        "threat",
        "likelihood",
        "impact",
        "owner",
        "patients' data",
        "control",
        "evidence",
        "finding",
    ];
    let note = "From the findings of the inventory, and of an audit where one was given (--audit). The \
                plan's risk_owner names owners.";
    // Too wide for a terminal.
    page.table(Table { terminal_rows: 0, ..table("Risk register", columns, rows.collect(), note) });
    // What is there comes after what it comes to.
    let inventory = report.inventory.page();
    page.figures.extend(inventory.figures);
    page.tables.extend(inventory.tables);
    page.next.extend(inventory.next);
    if report.repository.state.as_str() == "empty" {
        page.next.push("drover init makes the repository.".to_owned());
    }
    page
}

/// When what is done, what it costs, how passes become shorter.
fn figures(page: &mut Page, report: &PlanReport) {
    let when = |begins: f64, ends: f64| {
        format!("after {}, until {}", format::duration(begins), format::duration(ends))
    };
    let spans = report.schedule.iter().map(|step| Span {
        label: match step.source.is_empty() {
            true => step.step.to_string(),
            false => format!("{} {}", step.step, step.source),
        },
        from: step.begins,
        to: step.ends,
        shown: when(step.begins, step.ends),
    });
    let shades = report.windows.iter().map(|window| Span {
        label: match window.rate {
            Some(limit) => format!("at most {}", rate(limit)),
            None => "no limit".to_owned(),
        },
        from: window.begins,
        to: window.ends,
        shown: when(window.begins, window.ends),
    });
    page.figure(Figure::new(
        "Schedule",
        "What is done when, from the moment of the report on. Windows of bandwidth are shaded.",
        Plot::Gantt { spans: spans.collect(), shades: shades.collect() },
    ));
    let e = &report.estimate;
    let told = |label: String, seconds: Likely| (label, seconds, reach(seconds));
    let mut passes = vec![told("first pass".to_owned(), e.baseline_seconds)];
    let busy = |n: usize| report.forecast.passes_p90.get(n).copied();
    let deltas = report.forecast.passes.iter().enumerate();
    passes.extend(deltas.map(|(n, seconds)| {
        let (label, p90) = (format!("delta pass {}", n + 1), busy(n));
        let seconds = Likely { p50: Some(*seconds), p90: p90.or(Some(*seconds)) };
        told(label, seconds)
    }));
    passes.push(told("freeze".to_owned(), e.freeze_seconds));
    let bars = passes.into_iter().filter_map(|(label, seconds, shown)| {
        let usual = seconds.p50?;
        let amount = Amount::new(label, usual, shown);
        Some(amount.up_to(seconds.p90.unwrap_or(usual)))
    });
    let note = "How long each pass takes, and how long the source rests at the end: half of all cases \
                stay within the bar, 9 in 10 within its pale part.";
    page.figure(Figure::new("Passes and freeze", note, Plot::Bars(bars.collect())));
    if let Some(cost) = &report.cost {
        let bars = cost.lines.iter().map(|line| {
            let label = format!("{}, {}", line.what, line.per);
            Amount::new(label, line.amount, money(line.amount, cost.currency.as_str()))
        });
        let note = format!("By line, at the prices of {}.", cost.priced_on);
        page.figure(Figure::new("Costs", note, Plot::Bars(bars.collect())));
        let bars = cost.classes.iter().map(|of| {
            Amount::new(of.class.to_string(), of.storage, money(of.storage, cost.currency.as_str()))
        });
        let note = "Keeping what the first pass stores for a month, in each class of the list.";
        page.figure(Figure::new("Costs by class", note, Plot::Bars(bars.collect())));
    }
}

fn explanation(report: &PlanReport, no_go: usize) -> String {
    let mut parts = Vec::new();
    if no_go > 0 {
        parts.push(format!("{} not met.", format::counted(no_go as u64, "gate is", "gates are")));
    }
    let blockers = report.blockers.len() as u64;
    if blockers > 0 {
        parts.push(format!(
            "{} to be settled before.",
            format::counted(blockers, "thing is", "things are")
        ));
    }
    if !report.forecast.converges && !report.forecast.basis.is_empty() {
        let endless = report.forecast.sources.iter().filter(|source| !source.converges);
        let endless: Vec<_> = endless.map(|source| source.source.as_str()).collect();
        let which = match endless.as_slice() {
            [] => "The sources change".to_owned(),
            [one] => format!("{one} changes"),
            several => format!("{} change", several.join(", ")),
        };
        parts.push(format!(
            "{which} faster than what changes can be sent: delta passes would not become short."
        ));
    }
    if report.estimate.upload_rate.is_none() {
        parts.push(
            "How fast the link to the store is was neither measured (--probe-upload) nor set: times are \
             those of reading and compressing alone."
                .to_owned(),
        );
    }
    parts.join(" ")
}

fn estimates(page: &mut Page, report: &PlanReport) {
    let row = |name: String, wave: String, e: &super::PlanEstimate| {
        vec![
            name,
            wave,
            format::bytes(e.read),
            format::bytes(e.stored),
            format!("{:.2}", e.dedup_ratio),
            format!("{:.2}", e.compression_ratio),
            format::count(e.requests),
            rate(e.read_rate),
            rate(e.process_rate),
            e.upload_rate.map(rate).unwrap_or_default(),
            likely(e.baseline_seconds),
            format::bytes(e.sampled_bytes),
        ]
    };
    let mut rows: Vec<_> = report
        .estimates
        .iter()
        .map(|s| row(s.source.to_string(), s.wave.to_string(), &s.estimate))
        .collect();
    if rows.len() > 1 {
        rows.push(row("all".to_owned(), String::new(), &report.estimate));
    }
    page.table(table(
        "First passes",
        vec![
            "source", "wave", "read", "stored", "dedup", "compression", "requests", "reading",
            "processing", "sending", "time", "sampled",
        ],
        rows,
        "Measured on a sample of the data, which went through all that a pass does up to the closed pack.",
    ));
    let rows = report.schedule.iter().map(|step| {
        vec![
            step.step.to_string(),
            step.source.to_string(),
            step.wave.to_string(),
            format::duration(step.begins),
            format::duration(step.ends),
            step.rate.map(rate).unwrap_or_default(),
        ]
    });
    page.table(table(
        "Schedule",
        vec!["step", "source", "wave", "begins after", "ends after", "rate"],
        rows.collect(),
        "From the moment the report was made, through the windows of bandwidth.",
    ));
}

fn forecast(page: &mut Page, report: &PlanReport) {
    let f = &report.forecast;
    if f.basis.is_empty() {
        return;
    }
    let number = |value: Option<f64>, show: &dyn Fn(f64) -> String| {
        value.map_or_else(|| "unknown".to_owned(), show)
    };
    let bytes = |v: f64| format::bytes(v as u64);
    let count = |v: f64| format::count(v as u64);
    let part = |v: f64| format!("{:.1} %", v * 100.0);
    let row = |what: &str, likely: Likely, show: &dyn Fn(f64) -> String| {
        vec![what.to_owned(), number(likely.p50, show), number(likely.p90, show)]
    };
    let mut rows = vec![
        row("bytes that change in a day", f.bytes_per_day, &bytes),
        row("files that change in a day", f.files_per_day, &count),
        row("of the pace that changes take", f.load, &part),
    ];
    let duration = |v: f64| format::duration(v);
    for source in &f.sources {
        rows.push(row(&format!("freeze of {}", source.source), source.freeze, &duration));
    }
    for (at, seconds) in f.passes.iter().enumerate() {
        let what = format!("delta pass {}", at + 1);
        rows.push(vec![what, duration(*seconds), String::new()]);
    }
    rows.push(row("freeze", report.estimate.freeze_seconds, &duration));
    let mut note = format!("From {}.", f.basis);
    if !f.quiet.is_empty() {
        note.push_str(&format!(" The quietest hours of the week: {}.", f.quiet));
    }
    page.table(table(
        "Passes after the first",
        vec!["what", "half of all cases", "9 in 10"],
        rows,
        &note,
    ));
}

fn costs(page: &mut Page, report: &PlanReport) {
    let Some(cost) = &report.cost else { return };
    let rows = cost.lines.iter().map(|line| {
        vec![
            line.what.to_string(),
            format!("{:.2} {}", line.quantity, line.unit),
            format!("{} {}", line.price, cost.currency),
            money(line.amount, cost.currency.as_str()),
            line.per.to_string(),
        ]
    });
    let note = format!(
        "Prices of {}, class {}, as of {}, from {}. They change: compare them with your contract.",
        cost.provider, cost.class, cost.priced_on, cost.prices
    );
    page.table(table(
        "Costs",
        vec!["what", "how much", "price", "amount", "per"],
        rows.collect(),
        &note,
    ));
    let rows = cost.classes.iter().map(|of| {
        let money = |amount: f64| money(amount, cost.currency.as_str());
        let least = match of.minimum_months {
            months if months > 0.0 => format!("{months} months at least"),
            _ => String::new(),
        };
        let once = [of.first_pass, of.moved, of.read_back].map(money);
        [vec![of.class.to_string(), money(of.storage)], once.to_vec(), vec![least]].concat()
    });
    page.table(table(
        "Costs by class",
        vec![
            "class",
            "storage, a month",
            "requests of the first pass",
            "or moved there by a rule",
            "reading all back",
            "paid for",
        ],
        rows.collect(),
        "What else is read, sent to other networks, or kept for less than is paid for comes on top.",
    ));
}
