//! What survives, what is ready, what stands in the way, and what has to be so for going on.

use drover_plan::{Location, Plan};
use drover_report::{
    BucketSetting, InventorySource, PlanBlocker, PlanFidelity, PlanForecast, PlanForecastSource,
    PlanGate, PlanReadiness, PlanReport, Text, format,
};

use super::{Looked, text};

/// What becomes of what entries have besides their content.
pub fn fidelity(plan: Option<&Plan>, looked: &[Looked]) -> Vec<PlanFidelity> {
    let mut ledger: Vec<PlanFidelity> = Vec::new();
    let mut add = |class: &str, count: u64, outcome: &str, note: &str| {
        if count == 0 {
            return;
        }
        match ledger
            .iter_mut()
            .find(|line| line.class.as_str() == class && line.outcome.as_str() == outcome)
        {
            Some(line) => line.count += count,
            None => ledger.push(PlanFidelity {
                class: Text::from(class),
                count,
                outcome: Text::from(outcome),
                note: Text::from(note),
            }),
        }
    };
    for source in looked {
        let t = &source.inventory.totals;
        let entries = t.files + t.dirs + t.symlinks + t.special;
        let lost = |class: &str| source.losses.iter().any(|(loss, _)| *loss == class);
        for (class, of_files) in &source.losses {
            let note = "the source does not tell it; a local run, or an account with a shell, does";
            add(class, if *of_files { t.files } else { entries }, "lost", note);
        }
        add("content, with a BLAKE3 of each file", t.files, "native", "");
        add("modes and times of last change", entries, "native", "");
        let owners = "by number, and by name where the source has one; a restore sets them as root";
        add("owners", entries, "conditional", owners);
        if !lost("extended attributes and ACLs") {
            let note = "as far as the target's file system has them";
            add("extended attributes and ACLs", entries, "conditional", note);
        }
        if !lost("hard links") {
            add("further names of files (hard links)", t.hard_links, "native", "");
        }
        if !lost("holes") {
            add("holes in files", t.sparse_files, "native", "");
        }
        add("symbolic links", t.symlinks, "native", "");
        let note = "recorded; a restore makes them as root, devices with --devices only";
        add("pipes, sockets and devices", t.special, "conditional", note);
        let note = "put back with --setuid only";
        add("setuid and setgid", t.setuid, "conditional", note);
        add("times of last access", entries, "lost", "they are not kept");
        let target = plan.and_then(|plan| plan.target.as_ref());
        let target = target.filter(|target| matches!(target.url, Location::Directory(_)));
        for names in &source.inventory.names {
            // drover's repository holds any name; a directory of Linux does as well.
            if target.is_some() && names.target.as_str() == "linux" {
                add("names that the target cannot hold", names.count, "lost", names.label.as_str());
            }
        }
    }
    ledger
}

/// Findings that stand in the way of a faithful copy.
fn stands_in_the_way(severity: &str) -> bool {
    matches!(severity, "critical" | "high")
}

fn unread(source: &InventorySource) -> u64 {
    source.exceptions.len() as u64 + source.exceptions_not_listed
}

/// Each source.
pub fn readiness(looked: &[Looked]) -> Vec<PlanReadiness> {
    let one = |source: &Looked| {
        let inventory = &source.inventory;
        let (state, why) = if let Some(error) = &inventory.error {
            ("not ready", error.message.to_string())
        } else {
            let mut why = Vec::new();
            let unread = unread(inventory);
            if unread > 0 {
                why.push(format!("{} cannot be read", format::counted(unread, "entry", "entries")));
            }
            let serious =
                inventory.findings.iter().filter(|f| stands_in_the_way(f.severity.as_str()));
            why.extend(serious.map(|finding| finding.title.to_string()));
            match why.is_empty() {
                true => {
                    ("ready", "all of it can be read, and nothing stands in the way".to_owned())
                }
                false => ("conditional", why.join("; ")),
            }
        };
        PlanReadiness {
            source: inventory.source.clone(),
            state: Text::from(state),
            why: Text::from(why),
        }
    };
    looked.iter().map(one).collect()
}

/// What has to be settled before.
pub fn blockers(looked: &[Looked]) -> Vec<PlanBlocker> {
    let mut blockers = Vec::new();
    for source in looked {
        let inventory = &source.inventory;
        let mut add = |what: String, remedy: &str| {
            blockers.push(PlanBlocker {
                source: inventory.source.clone(),
                what: Text::from(what),
                remedy: Text::from(remedy),
            });
        };
        if let Some(error) = &inventory.error {
            add(format!("it cannot be looked at: {}", error.message), error.remedy.as_str());
        }
        let unread = unread(inventory);
        if unread > 0 {
            add(
                format!(
                    "{} cannot be read, and would be exceptions",
                    format::counted(unread, "entry", "entries")
                ),
                "Run as root, give the account the right to read them, or leave them out by a rule.",
            );
        }
        for finding in inventory.findings.iter().filter(|f| stands_in_the_way(f.severity.as_str()))
        {
            let paths: Vec<_> = finding.paths.iter().take(3).map(|path| path.shown()).collect();
            let paths =
                if paths.is_empty() { String::new() } else { format!(": {}", paths.join(", ")) };
            add(format!("{}{paths}", finding.title), finding.remedy.as_str());
        }
    }
    blockers
}

/// What of the bucket stands in the way.
pub fn of_bucket(report: &PlanReport) -> Vec<PlanBlocker> {
    let serious = report.bucket.iter().filter(|setting| {
        setting.result.as_str() == "finding" && stands_in_the_way(setting.severity.as_str())
    });
    let blocker = |setting: &BucketSetting| PlanBlocker {
        source: report.repository.url.clone(),
        what: text(format!("{} of the bucket: {}", setting.setting, setting.is)),
        remedy: setting.remedy.clone(),
    };
    serious.map(blocker).collect()
}

/// The sources whose passes do not become short.
pub fn endless(forecast: &PlanForecast) -> Vec<PlanBlocker> {
    let endless = forecast.sources.iter().filter(|source| !source.converges);
    let blocker = |source: &PlanForecastSource| {
        let load =
            source.load.p90.map_or_else(String::new, |load| format!(": {:.0} %", load * 100.0));
        PlanBlocker {
            source: source.source.clone(),
            what: text(format!("as much changes as is sent, by its passes{load}")),
            remedy: Text::from(
                "Raise the bandwidth, leave out what need not move, or move it in parts.",
            ),
        }
    };
    endless.map(blocker).collect()
}

/// The conditions of the plan, against what is foretold.
pub fn gates(plan: Option<&Plan>, report: &PlanReport, unreachable: usize) -> Vec<PlanGate> {
    let mut gates = Vec::new();
    let mut add = |gate: &str, threshold: String, now: String, holds: Option<bool>| {
        gates.push(PlanGate {
            gate: Text::from(gate),
            threshold: Text::from(threshold),
            now: Text::from(now),
            state: Text::from(match holds {
                Some(true) => "go",
                Some(false) => "no-go",
                None => "open",
            }),
        });
    };
    add(
        "every source can be reached",
        "all".to_owned(),
        format::counted(unreachable as u64, "cannot", "cannot"),
        Some(unreachable == 0),
    );
    let state = report.repository.state.as_str();
    add(
        "the store can be reached",
        "yes".to_owned(),
        report.repository.detail.to_string(),
        match state {
            "there" | "empty" => Some(true),
            "unreachable" => Some(false),
            _ => None,
        },
    );
    if let Some(public) = report.bucket.iter().find(|s| s.setting.as_str() == "public-access") {
        add(
            "the bucket is closed to the public",
            "yes".to_owned(),
            public.is.to_string(),
            // What an account blocks for all its buckets does not show here.
            (public.result.as_str() == "pass").then_some(true),
        );
    }
    let load = report.forecast.load.p90;
    let shown = load.map_or_else(|| "unknown".to_owned(), |load| format!("{:.1} %", load * 100.0));
    add(
        "changes are slower than they are sent",
        "under 100 % of the pace on 9 of 10 days".to_owned(),
        shown,
        load.map(|load| load < 1.0),
    );
    let cutover = plan.map(|plan| plan.cutover.clone()).unwrap_or_default();
    let freeze = report.estimate.freeze_seconds.p90;
    let shown = freeze.map_or_else(|| "no end".to_owned(), format::duration);
    if let Some(most) = cutover.freeze {
        let most = most.0.as_secs_f64();
        add(
            "the freeze is short enough",
            format!("at most {} in 9 of 10 cases", format::duration(most)),
            shown.clone(),
            Some(freeze.is_some_and(|freeze| freeze <= most)),
        );
    }
    if let Some(window) = cutover.window {
        let long = f64::from(window.minutes()) * 60.0;
        add(
            "the freeze fits the window",
            format!("{window}, {}", format::duration(long)),
            shown,
            Some(freeze.is_some_and(|freeze| freeze <= long)),
        );
    }
    if let Some(most) = cutover.exceptions {
        let sum = &report.inventory.sum;
        let now = unread(sum);
        add(
            "exceptions",
            format!("at most {}", format::count(most as u64)),
            format!("{} foretold", format::count(now)),
            Some(now <= most as u64),
        );
    }
    let target = plan.and_then(|plan| plan.target.as_ref());
    if let Some(target) = target {
        add(
            "the target has room",
            format::bytes(report.inventory.sum.totals.bytes),
            text(format!("{}: not asked from here", target.url)).to_string(),
            None,
        );
    }
    gates
}
