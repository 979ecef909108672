//! `drover status`: passes, whether they become shorter, and how long the freeze will be.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::plan::Likely;
use crate::{
    Page, Table, Text, Tone, format,
    page::TERMINAL_ROWS,
    plot::{Amount, Figure, Plot},
};

/// A pass.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StatusPass {
    /// The snapshot that it left.
    pub snapshot: Text,
    /// `baseline` or `delta`.
    pub kind: Text,
    /// When it began.
    pub started: Text,
    /// How long it took.
    pub seconds: f64,
    /// Entries in all.
    pub entries: u64,
    /// Logical bytes in all.
    pub bytes: u64,
    /// Entries that differ from the pass before; nothing where they were not compared.
    pub changed: Option<u64>,
    /// Bytes of the files among them.
    pub changed_bytes: Option<u64>,
    /// What could not be taken.
    pub exceptions: u64,
}

/// How one source comes along.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StatusSource {
    /// Its name.
    pub source: Text,
    /// Where it stands on its way.
    pub state: Text,
    /// Its passes, the oldest first.
    pub passes: Vec<StatusPass>,
    /// Bytes that change in an hour.
    pub bytes_per_hour: Likely,
    /// Entries that change in an hour.
    pub items_per_hour: Likely,
    /// The part of the pace of passes that changes take: from 1 on passes do not become shorter.
    pub load: Likely,
    /// Whether passes become shorter; nothing where there are too few.
    pub converges: Option<bool>,
    /// How long the source will rest, in seconds.
    pub freeze: Likely,
    /// What this is known from.
    pub basis: Text,
    /// When to cut over.
    pub when: Text,
    /// Seconds since the newest snapshot.
    pub age: Option<f64>,
}

/// All sources of a repository, or of a plan.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StatusReport {
    /// The repository's URL, without credentials.
    pub repository: Text,
    /// Each source.
    pub sources: Vec<StatusSource>,
    /// Warnings.
    pub warnings: Vec<Text>,
    /// How long it took.
    pub seconds: f64,
}

impl StatusReport {
    pub(super) fn page(&self) -> Page {
        let waiting = |source: &&StatusSource| source.passes.is_empty();
        let without = self.sources.iter().filter(waiting).count() as u64;
        let endless = self.sources.iter().filter(|s| s.converges == Some(false)).count() as u64;
        let (tone, verdict) = match (without, endless) {
            (0, 0) => {
                let n = format::counted(self.sources.len() as u64, "source", "sources");
                (Tone::Plain, n)
            }
            (_, 1..) => {
                let n = format::counted(endless, "source does", "sources do");
                (Tone::Bad, format!("{n} not converge"))
            }
            _ => {
                let n = format::counted(without, "source has", "sources have");
                (Tone::Caution, format!("{n} no pass yet"))
            }
        };
        let mut page = Page::new("Status", tone, verdict);
        page.fact("Repository", self.repository.to_string());
        page.fact("Time", format::duration(self.seconds));
        page.table(self.overview());
        for source in &self.sources {
            let bars = source.passes.iter().map(|pass| {
                let label = format!("{} {}", pass.kind, pass.started);
                Amount::new(label, pass.seconds, format::duration(pass.seconds))
            });
            page.figure(Figure::new(
                format!("Passes of {}", source.source),
                "How long each pass took, the oldest first.",
                Plot::Bars(bars.collect()),
            ));
            page.table(passes(source));
        }
        page.table(crate::page::warnings(&self.warnings));
        page.next = self
            .sources
            .iter()
            .filter(|s| !s.when.is_empty())
            .map(|s| s.when.to_string())
            .collect();
        page
    }

    fn overview(&self) -> Table {
        let time = |seconds: Option<f64>| seconds.map_or("unknown".into(), format::duration);
        let row = |s: &StatusSource| {
            vec![
                s.source.to_string(),
                s.state.to_string(),
                s.passes.len().to_string(),
                s.bytes_per_hour.p50.map_or("unknown".into(), |n| format::bytes(n as u64)),
                s.load.p90.map_or("unknown".into(), |load| format!("{:.1} %", load * 100.0)),
                time(s.freeze.p50),
                time(s.freeze.p90),
                time(s.age),
            ]
        };
        Table {
            title: "Sources".to_owned(),
            columns: vec![
                "source",
                "state",
                "passes",
                "changes in an hour",
                "of the pace",
                "freeze, half",
                "freeze, 9 in 10",
                "last pass ago",
            ],
            rows: self.sources.iter().map(row).collect(),
            note: "A freeze is the walk, what changed since the pass before, its verification, and the \
                   switch."
                .to_owned(),
            terminal_rows: TERMINAL_ROWS,
        }
    }
}

fn passes(source: &StatusSource) -> Table {
    let count = |n: Option<u64>| n.map_or("all".into(), format::count);
    let row = |pass: &StatusPass| {
        vec![
            pass.kind.to_string(),
            pass.started.to_string(),
            format::duration(pass.seconds),
            format::count(pass.entries),
            count(pass.changed),
            pass.changed_bytes.map_or_else(|| format::bytes(pass.bytes), format::bytes),
            format::count(pass.exceptions),
            format::short_id(pass.snapshot.as_str()).to_owned(),
        ]
    };
    Table {
        title: format!("Passes of {}", source.source),
        columns: vec![
            "pass",
            "began",
            "took",
            "entries",
            "changed",
            "bytes",
            "exceptions",
            "snapshot",
        ],
        rows: source.passes.iter().map(row).collect(),
        note: source.basis.to_string(),
        terminal_rows: TERMINAL_ROWS,
    }
}
