//! An inventory as people read it: what is risky first, then what is there.

use super::{InventoryReport, InventorySource};
use crate::{
    Page, Table, Text, Tone,
    document::exception::{self, PathText},
    format,
    page::{TERMINAL_ROWS, warnings},
    plot::{Amount, Figure, Plot},
};

/// Severities, worst first.
const SEVERITIES: [&str; 5] = ["critical", "high", "medium", "low", "info"];

/// The place of a severity: 0 is the worst.
pub(super) fn rank(severity: &str) -> usize {
    SEVERITIES.iter().position(|known| *known == severity).unwrap_or(SEVERITIES.len())
}

fn table(title: impl Into<String>, columns: Vec<&'static str>, rows: Vec<Vec<String>>) -> Table {
    let (note, terminal_rows) = (String::new(), 10);
    Table { title: title.into(), columns, rows, note, terminal_rows }
}

fn paths(paths: &[PathText], count: u64) -> String {
    let mut shown: Vec<String> = paths.iter().map(PathText::shown).collect();
    let left = count.saturating_sub(shown.len() as u64);
    if left > 0 && !shown.is_empty() {
        shown.push(format!("… and {} more", format::count(left)));
    }
    shown.join("; ")
}

fn list(texts: &[Text]) -> String {
    texts.iter().map(Text::as_str).collect::<Vec<_>>().join(", ")
}

fn span(first: Option<&Text>, last: Option<&Text>) -> String {
    match (first, last) {
        (Some(first), Some(last)) if first == last => first.to_string(),
        (Some(first), Some(last)) => format!("{first} to {last}"),
        _ => String::new(),
    }
}

/// What people are to read.
pub(super) fn page(report: &InventoryReport) -> Page {
    let sum = &report.sum;
    let t = &sum.totals;
    let verdict = format!(
        "{} in {}, {}",
        format::counted(t.files, "file", "files"),
        format::counted(t.dirs + 1, "directory", "directories"),
        format::bytes(t.bytes)
    );
    let serious = sum.findings.iter().filter(|f| rank(f.severity.as_str()) <= 1).count();
    let tone = match (serious, report.has_exceptions()) {
        (0, false) => Tone::Plain,
        _ => Tone::Caution,
    };
    let mut page = Page::new("Inventory", tone, verdict);
    page.explanation = explanation(report, serious);
    facts(&mut page, report);
    figures(&mut page, sum);
    findings(&mut page, sum);
    if !sum.exceptions.is_empty() {
        let mut note = "What is behind these is not in the numbers.".to_owned();
        if sum.exceptions_not_listed > 0 {
            let more = format::count(sum.exceptions_not_listed);
            note = format!("{note} {more} more are counted and not listed.");
        }
        page.table(exception::table(&sum.exceptions, note));
    }
    page.table(per_source(report));
    content(&mut page, sum);
    tree(&mut page, sum);
    page.table(warnings(&report.warnings));
    if !sum.content_read && report.sources.is_empty() && sum.error.is_none() {
        page.next.push(
            "No file was opened. Without --no-content the inventory tells types by content, and \
             finds machines, patients' data and copies."
                .to_owned(),
        );
    }
    page
}

fn explanation(report: &InventoryReport, serious: usize) -> String {
    let sum = &report.sum;
    let mut parts = Vec::new();
    if serious > 0 {
        let n = format::counted(serious as u64, "finding is", "findings are");
        parts.push(format!("{n} critical or high."));
    }
    if report.has_exceptions() {
        let n = sum.exceptions.len() as u64 + sum.exceptions_not_listed;
        parts.push(format!(
            "{} could not be seen or read, so the numbers are a lower bound.",
            format::counted(n, "entry", "entries")
        ));
    }
    let failed = report.sources.iter().filter(|source| source.error.is_some()).count();
    if failed > 0 {
        parts.push(format!(
            "{} not looked at.",
            format::counted(failed as u64, "source was", "sources were")
        ));
    }
    parts.join(" ")
}

/// Where the bytes are, how large and how old files are, and when they change.
fn figures(page: &mut Page, sum: &InventorySource) {
    let amount = |label: String, files: u64, bytes: u64| {
        let shown =
            format!("{}, {}", format::counted(files, "file", "files"), format::bytes(bytes));
        Amount::new(label, bytes as f64, shown)
    };
    // Directories within one another would count twice: only those of one level.
    let top = sum.directories.iter().filter(|d| {
        let path = d.path.shown();
        !path.contains('/') && path != "(the root)"
    });
    let areas = top.map(|d| amount(d.path.shown(), d.files, d.bytes)).collect();
    page.figure(Figure::new(
        "Bytes by directory",
        "Each area is a directory.",
        Plot::Treemap(areas),
    ));
    let areas = sum.types.iter().map(|t| amount(t.label.to_string(), t.files, t.bytes)).collect();
    page.figure(Figure::new("Bytes by type", "Each area is a type of file.", Plot::Treemap(areas)));
    let range = |from: u64, to: Option<u64>| match to {
        Some(to) => format!("{} to {}", format::bytes(from), format::bytes(to)),
        None => format!("{} and more", format::bytes(from)),
    };
    let files = |label: String, files: u64, bytes: u64| {
        let Amount { label, shown, .. } = amount(label, files, bytes);
        Amount::new(label, files as f64, shown)
    };
    let bars = sum.sizes.iter().map(|s| files(range(s.from, s.to), s.files, s.bytes)).collect();
    page.figure(Figure::new("Files by size", "The longer, the more files.", Plot::Bars(bars)));
    let bars = sum.ages.iter().map(|a| files(a.label.to_string(), a.files, a.bytes)).collect();
    let note = "The time since the last change; the longer, the more files.";
    page.figure(Figure::new("Files by age", note, Plot::Bars(bars)));
    let mut week = Box::new([[0.0; 24]; 7]);
    for activity in &sum.activity {
        let day = usize::from(activity.weekday.saturating_sub(1));
        if let Some(hour) =
            week.get_mut(day).and_then(|day| day.get_mut(usize::from(activity.hour)))
        {
            *hour += activity.files as f64;
        }
    }
    let note = "Files by the hour of their last change: when people, and machines, write.";
    page.figure(Figure::new("Activity", note, Plot::Week(week)));
    let bars = sum.days.iter().map(|d| amount(d.date.to_string(), d.files, d.bytes)).collect();
    let note = "Bytes by the day of their last change.";
    page.figure(Figure::new("The last days", note, Plot::Bars(bars)));
}

fn facts(page: &mut Page, report: &InventoryReport) {
    let sum = &report.sum;
    let t = &sum.totals;
    page.fact("Source", sum.source.to_string());
    let rights = if sum.privileged { ", from whom nothing is hidden" } else { "" };
    if !sum.user.is_empty() {
        page.fact("Read as", format!("{} on {}{rights}", sum.user, sum.host));
    }
    page.fact("Connection", sum.connection.as_ref().map(Text::to_string).unwrap_or_default());
    page.fact("Begun", sum.started.to_string());
    page.fact("Files", format::count(t.files));
    page.fact("Directories", format::count(t.dirs));
    page.fact(
        "Links and special files",
        match (t.symlinks, t.special) {
            (0, 0) => String::new(),
            (links, special) => format!("{} and {}", format::count(links), format::count(special)),
        },
    );
    page.fact("Bytes", format::bytes_exact(t.bytes));
    if t.allocated > 0 {
        page.fact("Bytes on the disk", format::bytes_exact(t.allocated));
    }
    if t.hard_links > 0 {
        let (names, bytes) = (format::count(t.hard_links), format::bytes(t.hard_link_bytes));
        page.fact("Further names of files", format!("{names}, which stand for {bytes}"));
    }
    if t.sparse_files > 0 {
        let holes = format::bytes(t.hole_bytes);
        page.fact(
            "Files with holes",
            format!("{}, with {holes} of holes", format::count(t.sparse_files)),
        );
    }
    if sum.duplicates_sought {
        let d = &sum.duplicates;
        page.fact(
            "Copies",
            match d.files {
                0 => "none".to_owned(),
                n => format!("{}, {}", format::counted(n, "file", "files"), format::bytes(d.bytes)),
            },
        );
    } else {
        page.fact("Copies", "not looked for");
    }
    if let Some(r) = &sum.content.reconciliation {
        let about = if r.estimated { "about " } else { "" };
        page.fact(
            "DICOM",
            format!(
                "{about}{}, {}, {}, {}",
                format::counted(r.patients, "patient", "patients"),
                format::counted(r.studies, "study", "studies"),
                format::counted(r.series, "series", "series"),
                format::counted(r.instances, "object", "objects")
            ),
        );
    }
    if let Some(since) = &sum.since {
        let part = |c: &super::InventoryChange| {
            format!("{} ({})", format::count(c.entries), format::bytes(c.bytes))
        };
        page.fact(
            "Since",
            format!("snapshot {}, {}", format::short_id(since.snapshot.as_str()), since.time),
        );
        page.fact("New since then", part(&since.new));
        page.fact("Changed since then", part(&since.changed));
        page.fact("Removed since then", part(&since.removed));
    }
    if sum.bytes_read > 0 {
        page.fact("Read", format::bytes(sum.bytes_read));
    }
    page.fact("Time", format::duration(sum.seconds));
}

fn findings(page: &mut Page, sum: &InventorySource) {
    let row = |f: &super::InventoryFinding| {
        vec![
            f.severity.to_string(),
            match &f.source {
                Some(source) => format!("{source}: {}", f.title),
                None => f.title.to_string(),
            },
            format::count(f.count),
            f.id.to_string(),
        ]
    };
    let columns = vec!["severity", "what", "entries", "finding"];
    let rows = sum.findings.iter().map(row).collect();
    page.table(Table { terminal_rows: 100, ..table("Findings", columns, rows) });
    // Too wide for a terminal.
    let row = |f: &super::InventoryFinding| {
        vec![
            f.id.to_string(),
            f.evidence.to_string(),
            f.remedy.to_string(),
            format!("{}, {}", f.likelihood, f.impact),
            paths(&f.paths, f.count),
        ]
    };
    let columns = vec!["finding", "known from", "what to do", "likelihood, impact", "where"];
    let rows = sum.findings.iter().map(row).collect();
    page.table(Table { terminal_rows: 0, ..table("Findings in detail", columns, rows) });
}

fn per_source(report: &InventoryReport) -> Table {
    let row = |s: &InventorySource| {
        vec![
            s.source.to_string(),
            format::count(s.totals.files),
            format::bytes(s.totals.bytes),
            format::count(s.findings.len() as u64),
            format::count(s.exceptions.len() as u64 + s.exceptions_not_listed),
            s.error.as_ref().map(|error| error.message.to_string()).unwrap_or_default(),
        ]
    };
    table(
        "Sources",
        vec!["source", "files", "bytes", "findings", "exceptions", "error"],
        report.sources.iter().map(row).collect(),
    )
}

fn content(page: &mut Page, sum: &InventorySource) {
    let c = &sum.content;
    let rows = c.devices.iter().map(|d| {
        let number = |n: u64| match d.estimated {
            true => format!("about {}", format::count(n)),
            false => format::count(n),
        };
        vec![
            [d.manufacturer.as_str(), d.model.as_str()].join(" ").trim().to_owned(),
            d.serial.to_string(),
            d.station.to_string(),
            d.institution.to_string(),
            list(&d.modalities),
            d.software.to_string(),
            span(d.first_seen.as_ref(), d.last_seen.as_ref()),
            number(d.patients),
            number(d.studies),
            number(d.instances),
            format::bytes(d.bytes),
        ]
    });
    let columns = vec![
        "machine",
        "serial",
        "station",
        "institution",
        "modality",
        "software",
        "seen",
        "patients",
        "studies",
        "objects",
        "bytes",
    ];
    page.table(Table {
        terminal_rows: TERMINAL_ROWS,
        ..table("Machines", columns, rows.collect())
    });
    let rows = c.interfaces.iter().map(|i| {
        let end =
            |application: &Text, facility: &Text| match (application.as_str(), facility.as_str()) {
                (a, "") => a.to_owned(),
                ("", f) => f.to_owned(),
                (a, f) => format!("{a} ({f})"),
            };
        vec![
            end(&i.sender, &i.sender_facility),
            end(&i.receiver, &i.receiver_facility),
            i.message.to_string(),
            i.version.to_string(),
            format::count(i.messages),
            format::count(i.duplicate_ids),
            span(i.first_seen.as_ref(), i.last_seen.as_ref()),
        ]
    });
    let columns = vec!["from", "to", "message", "version", "messages", "same id", "seen"];
    page.table(table("Interfaces (HL7 v2)", columns, rows.collect()));
    let rows = c.phi.iter().map(|p| {
        let example = |e: &super::InventoryPhiExample| format!("{} in {}", e.shape, e.path.shown());
        vec![
            p.kind.to_string(),
            format::count(p.files),
            format::count(p.values),
            format::bytes(p.bytes),
            p.examples.iter().take(3).map(example).collect::<Vec<_>>().join("; "),
        ]
    });
    page.table(Table {
        note: "d stands for a digit, a for letters: values are not shown.".to_owned(),
        ..table(
            "Patients' data",
            vec!["kind", "files", "values", "bytes", "for example"],
            rows.collect(),
        )
    });
    if let Some(r) = &c.reconciliation {
        let rows = r.periods.iter().map(|p| {
            vec![
                p.modality.to_string(),
                p.year.map(|year| year.to_string()).unwrap_or_default(),
                format::count(p.patients),
                format::count(p.studies),
                format::count(p.series),
                format::count(p.instances),
            ]
        });
        let columns = vec!["modality", "year", "patients", "studies", "series", "objects"];
        page.table(table("DICOM by modality and year", columns, rows.collect()));
        let rows = r.anomalies.iter().map(|a| {
            let examples: Vec<_> = a.examples.iter().map(|files| paths(files, 0)).collect();
            vec![a.kind.to_string(), format::count(a.count), examples.join(" | ")]
        });
        let columns = vec!["what", "how often", "for example"];
        page.table(table("What does not add up in DICOM", columns, rows.collect()));
    }
    let rows = sum.types.iter().map(|t| {
        vec![
            t.label.to_string(),
            t.class.to_string(),
            format::count(t.files),
            format::bytes(t.bytes),
        ]
    });
    let title = if sum.content_read { "Types, by content" } else { "Types, by name alone" };
    page.table(table(title, vec!["type", "sort", "files", "bytes"], rows.collect()));
}

fn tree(page: &mut Page, sum: &InventorySource) {
    let rows = sum.databases.iter().map(|d| {
        vec![d.kind.to_string(), d.path.shown(), d.state.to_string(), d.evidence.to_string()]
    });
    let columns = vec!["what", "where", "state", "known from"];
    page.table(table("Databases and virtual machines", columns, rows.collect()));
    let rows = sum
        .open_files
        .iter()
        .map(|f| vec![f.path.shown(), f.command.to_string(), f.process.to_string()]);
    let columns = vec!["path", "process", "number"];
    page.table(table("Open for writing", columns, rows.collect()));
    let rows = sum.names.iter().map(|n| {
        vec![
            n.target.to_string(),
            n.label.to_string(),
            format::count(n.count),
            paths(&n.paths, n.count),
        ]
    });
    let columns = vec!["target", "why", "entries", "for example"];
    page.table(table("Names that a target cannot hold", columns, rows.collect()));
    let rows = sum.collisions.iter().map(|c| vec![c.kind.to_string(), paths(&c.paths, 0)]);
    page.table(table("Names that collide", vec!["kind", "names"], rows.collect()));
    let rows = sum.sizes.iter().filter(|s| s.files > 0).map(|s| {
        let label = match s.to {
            Some(1) => "empty".to_owned(),
            Some(to) => format!("{} to {}", format::bytes(s.from), format::bytes(to)),
            None => format!("{} and more", format::bytes(s.from)),
        };
        vec![label, format::count(s.files), format::bytes(s.bytes)]
    });
    page.table(table("Sizes", vec!["size", "files", "bytes"], rows.collect()));
    let rows = sum
        .ages
        .iter()
        .filter(|a| a.files > 0)
        .map(|a| vec![a.label.to_string(), format::count(a.files), format::bytes(a.bytes)]);
    page.table(table("Last change", vec!["ago", "files", "bytes"], rows.collect()));
    let file = |f: &super::InventoryFile| {
        vec![f.path.shown(), format::bytes(f.bytes), f.depth.to_string(), f.modified.to_string()]
    };
    let columns = vec!["path", "bytes", "depth", "last change"];
    page.table(table("Largest files", columns.clone(), sum.largest.iter().map(file).collect()));
    page.table(Table {
        terminal_rows: 3,
        ..table("Deepest", columns, sum.deepest.iter().map(file).collect())
    });
    let directory = |d: &super::InventoryDirectory| {
        vec![
            d.path.shown(),
            format::count(d.entries),
            format::count(d.files),
            format::bytes(d.bytes),
        ]
    };
    let columns = vec!["path", "entries", "files below", "bytes below"];
    page.table(Table {
        terminal_rows: 3,
        ..table("Widest directories", columns.clone(), sum.widest.iter().map(directory).collect())
    });
    page.table(table("Near the root", columns, sum.directories.iter().map(directory).collect()));
    let rows =
        sum.duplicates.largest.iter().map(|g| {
            vec![format::count(g.files), format::bytes(g.bytes), paths(&g.paths, g.files)]
        });
    page.table(table("Copies", vec!["files", "bytes each", "where"], rows.collect()));
    let rows = sum
        .days
        .iter()
        .rev()
        .map(|d| vec![d.date.to_string(), format::count(d.files), format::bytes(d.bytes)]);
    page.table(Table {
        terminal_rows: 7,
        ..table("Last changes by day", vec!["day", "files", "bytes"], rows.collect())
    });
    let rows = sum.exclusions.iter().map(|e| {
        vec![
            e.rule.to_string(),
            format::count(e.entries),
            format::bytes(e.bytes),
            format::count(e.unseen),
        ]
    });
    let columns = vec!["rule", "entries", "bytes", "directories not counted"];
    page.table(table("Left out by rules", columns, rows.collect()));
}
