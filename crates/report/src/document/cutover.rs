//! `drover cutover`: where a source stands on its way, what was done, what stands in the way.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{plan::Likely, verify::Problem};
use crate::{
    CertificateItem, Page, Table, Text, Tone, format,
    page::TERMINAL_ROWS,
    plot::{Figure, Plot, Span},
};

/// Something that was done.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CutoverStep {
    /// Of which source, or of which that go together.
    pub source: Text,
    /// What.
    pub name: Text,
    /// How long it took.
    pub seconds: f64,
    /// `done`, or why not.
    pub outcome: Text,
    /// What came of it; the end of a command's output.
    pub detail: Text,
}

/// A condition of going on.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CutoverGate {
    /// Of which source, or of which that go together.
    pub source: Text,
    /// A stable word for programs.
    pub id: Text,
    /// What is asked for.
    pub threshold: Text,
    /// What there is.
    pub value: Text,
    /// `passed` or `refused`.
    pub outcome: Text,
    /// What to do about it.
    pub remedy: Text,
}

/// How long the source rests.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CutoverFreeze {
    /// As foretold, in seconds; nothing where the passes say nothing yet.
    pub predicted: Likely,
    /// As the plan allows, in seconds.
    pub limit: Option<f64>,
    /// As it was, in seconds: from the freeze command to the end of the smoke test.
    pub actual: Option<f64>,
}

/// A step that was signed into the repository.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CutoverEvent {
    /// Of which source.
    pub source: Text,
    /// Its number.
    pub sequence: u64,
    /// When.
    pub time: Text,
    /// Where the source stood from then on.
    pub state: Text,
    /// Who.
    pub operator: Text,
    /// On which machine.
    pub host: Text,
    /// Why.
    pub note: Text,
}

/// An exception that somebody signed for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CutoverAccepted {
    /// Of which source.
    pub source: Text,
    /// Its path.
    pub path: Text,
    /// Who.
    pub operator: Text,
}

/// A source on its way.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CutoverSource {
    /// Its name.
    pub source: Text,
    /// Where it stands now.
    pub state: Text,
    /// The snapshot of its last pass.
    pub snapshot: Option<Text>,
}

/// A cutover.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CutoverReport {
    /// The repository's URL, without credentials.
    pub repository: Text,
    /// The source; the names of several that go together, divided by commas.
    pub source: Text,
    /// Each of them.
    pub sources: Vec<CutoverSource>,
    /// `show`, `rehearse`, `cut over`, `roll back`, `commit`, `accept`.
    pub action: Text,
    /// Where the source stands now; of several, that which is at rest or under way, else the one that
    /// is least far.
    pub state: Text,
    /// What is next.
    pub next: Text,
    /// The snapshot of the last pass, of one source.
    pub snapshot: Option<Text>,
    /// How long the source rests.
    pub freeze: CutoverFreeze,
    /// When the timer on the source thaws it, where one is armed.
    pub deadline: Option<Text>,
    /// The certificate of the last verification of this run, where one was asked for.
    pub certificate: Option<CertificateItem>,
    /// What this run did.
    pub steps: Vec<CutoverStep>,
    /// The conditions.
    pub gates: Vec<CutoverGate>,
    /// Exceptions that somebody signed for.
    pub accepted: Vec<CutoverAccepted>,
    /// Paths that both sides had changed, where the target's version stands.
    pub conflicts: Vec<Text>,
    /// What is not as it should be.
    pub problems: Vec<Problem>,
    /// All steps of these sources, the oldest first.
    pub history: Vec<CutoverEvent>,
    /// Warnings.
    pub warnings: Vec<Text>,
    /// How long it took.
    pub seconds: f64,
}

impl CutoverReport {
    /// Whether a gate refuses.
    pub fn is_refused(&self) -> bool {
        self.gates.iter().any(|gate| gate.outcome.as_str() == "refused")
    }

    pub(super) fn page(&self) -> Page {
        let refused = self.gates.iter().filter(|g| g.outcome.as_str() == "refused").count();
        let (tone, verdict) = match self.state.as_str() {
            "cut over" | "committed" => (Tone::Good, self.state.to_string()),
            _ if refused > 0 => {
                let gates = format::counted(refused as u64, "gate refuses", "gates refuse");
                (Tone::Caution, format!("{}; {gates}", self.state))
            }
            "rehearsed" | "reverted" => (Tone::Good, self.state.to_string()),
            "switching" | "rolling back" => (Tone::Bad, format!("{}, not ended", self.state)),
            _ => (Tone::Plain, self.state.to_string()),
        };
        let mut page = Page::new("Cutover", tone, verdict);
        page.explanation = meaning(self.state.as_str()).to_owned();
        page.fact("Source", self.source.to_string());
        page.fact("Repository", self.repository.to_string());
        page.fact("Last pass", self.snapshot.as_ref().map(Text::to_string).unwrap_or_default());
        let f = &self.freeze;
        let seconds = |seconds: Option<f64>| seconds.map(format::duration).unwrap_or_default();
        page.fact("Freeze, half of all cases", seconds(f.predicted.p50));
        page.fact("Freeze, 9 in 10 cases", seconds(f.predicted.p90));
        page.fact("Freeze, at most", seconds(f.limit));
        page.fact("Freeze, as it was", seconds(f.actual));
        page.fact(
            "Thawed by itself at",
            self.deadline.as_ref().map(Text::to_string).unwrap_or_default(),
        );
        let certificate = self.certificate.as_ref().map(|item| item.file.to_string());
        page.fact("Certificate", certificate.unwrap_or_default());
        page.fact("Time", format::duration(self.seconds));
        let several = self.sources.len() > 1;
        page.table(self.source_table());
        page.table(of_sources(
            self.gate_table(),
            several,
            self.gates.iter().map(|gate| &gate.source),
        ));
        page.table(of_sources(
            self.step_table(),
            several,
            self.steps.iter().map(|step| &step.source),
        ));
        page.figure(self.figure());
        page.table(super::verify::problem_table("Problems", &self.problems));
        let list = |title: &str, columns, rows: Vec<Vec<String>>| Table {
            title: title.to_owned(),
            columns,
            rows,
            note: String::new(),
            terminal_rows: TERMINAL_ROWS,
        };
        let conflicts = self.conflicts.iter().map(|path| vec![path.to_string()]).collect();
        page.table(list(
            "Changed on both sides; the target's version stands",
            vec!["path"],
            conflicts,
        ));
        let accepted =
            self.accepted.iter().map(|a| vec![a.path.to_string(), a.operator.to_string()]);
        let table = list("Accepted exceptions", vec!["path", "by"], accepted.collect());
        page.table(of_sources(table, several, self.accepted.iter().map(|a| &a.source)));
        let event = |e: &CutoverEvent| {
            vec![
                e.sequence.to_string(),
                e.time.to_string(),
                e.state.to_string(),
                e.operator.to_string(),
                e.host.to_string(),
                e.note.to_string(),
            ]
        };
        let columns = vec!["step", "time", "state", "by", "on", "note"];
        let table = list("So far", columns, self.history.iter().map(event).collect());
        page.table(of_sources(table, several, self.history.iter().map(|event| &event.source)));
        page.table(crate::page::warnings(&self.warnings));
        if !self.next.is_empty() {
            page.next.push(self.next.to_string());
        }
        page
    }

    /// Where each stands, where there are several.
    fn source_table(&self) -> Table {
        let row = |source: &CutoverSource| {
            let snapshot = source.snapshot.as_ref().map(Text::to_string).unwrap_or_default();
            vec![source.source.to_string(), source.state.to_string(), snapshot]
        };
        let several = self.sources.iter().filter(|_| self.sources.len() > 1);
        Table {
            title: "Sources that go together".to_owned(),
            columns: vec!["source", "state", "last pass"],
            rows: several.map(row).collect(),
            note: String::new(),
            terminal_rows: usize::MAX,
        }
    }

    fn gate_table(&self) -> Table {
        let row = |gate: &CutoverGate| {
            vec![
                gate.outcome.to_string(),
                gate.id.to_string(),
                gate.threshold.to_string(),
                gate.value.to_string(),
                gate.remedy.to_string(),
            ]
        };
        Table {
            title: "Gates".to_owned(),
            columns: vec!["outcome", "gate", "asked for", "found", "what to do"],
            rows: self.gates.iter().map(row).collect(),
            note: String::new(),
            terminal_rows: usize::MAX,
        }
    }

    fn step_table(&self) -> Table {
        let row = |step: &CutoverStep| {
            vec![
                step.name.to_string(),
                format::duration(step.seconds),
                step.outcome.to_string(),
                step.detail.to_string(),
            ]
        };
        Table {
            title: "Done now".to_owned(),
            columns: vec!["step", "time", "outcome", "detail"],
            rows: self.steps.iter().map(row).collect(),
            note: String::new(),
            terminal_rows: usize::MAX,
        }
    }

    /// Which step took how long.
    fn figure(&self) -> Figure {
        let mut at = 0.0;
        let span = |step: &CutoverStep| {
            let from = at;
            at += step.seconds;
            Span {
                label: step.name.to_string(),
                from,
                to: at,
                shown: format::duration(step.seconds),
            }
        };
        let spans = self.steps.iter().map(span).collect();
        let note = "What took how long, one after the other.";
        Figure::new("Steps of this run", note, Plot::Gantt { spans, shades: Vec::new() })
    }
}

/// The table with a column of whose each row is, where there are several.
fn of_sources<'t>(
    mut table: Table,
    several: bool,
    sources: impl Iterator<Item = &'t Text>,
) -> Table {
    if several {
        table.columns.push("source");
        for (row, source) in table.rows.iter_mut().zip(sources) {
            row.push(source.to_string());
        }
    }
    table
}

fn meaning(state: &str) -> &'static str {
    match state {
        "planned" => "Nothing was sent yet.",
        "baseline" => {
            "The first pass is there. Delta passes bring down what the freeze has to send."
        }
        "converging" => "Passes are made while the source works on.",
        "rehearsed" => "Everything but freeze and switch went well.",
        "freezing" | "final pass" | "verifying" => {
            "The source rests, or may. A timer on it thaws it when its time is over."
        }
        "switching" => {
            "The source rests and nothing thaws it by itself: go on with the same command, or go back \
             with --rollback."
        }
        "cut over" => {
            "Clients are served by the target. The source rests, and --rollback leads back without loss."
        }
        "committed" => "The cutover is final.",
        "rolling back" => "The way back is not at its end: the same command goes on.",
        "reverted" => "Clients are served by the source again, with what the target took.",
        _ => "",
    }
}
