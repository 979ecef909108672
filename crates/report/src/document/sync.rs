//! `drover sync`: one pass over one source or several.

use std::iter::Sum;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exception::{self, ExceptionItem};
use crate::{Failure, Page, Table, Text, Tone, format, page};

/// What happened to the entries of a pass. Directories count, the root does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SyncEntries {
    /// `new + changed + metadata + unchanged`.
    pub total: u64,
    /// Not in the pass before.
    pub new: u64,
    /// With other content, or of another sort.
    pub changed: u64,
    /// With other attributes only.
    pub metadata: u64,
    /// As before.
    pub unchanged: u64,
    /// In the pass before, and gone from the source.
    pub removed: u64,
    /// In the pass before, and left out by a rule now.
    pub excluded: u64,
}

/// What one rule left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SyncExclusion {
    /// The rule as the plan has it, or the key that it stands behind.
    pub rule: Text,
    /// Entries that were seen.
    pub entries: u64,
    /// Logical bytes of the files among them.
    pub bytes: u64,
    /// Directories that were not gone into: what is in them was not counted. A dry run goes into
    /// all but other file systems.
    pub unseen: u64,
}

/// The bytes of a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SyncBytes {
    /// Logical size of the source's files.
    pub source: u64,
    /// Read from the source.
    pub read: u64,
    /// Plaintext of the chunks that were not in the repository.
    pub new: u64,
    /// Their size as sealed.
    pub stored: u64,
    /// All bodies sent.
    pub uploaded: u64,
}

/// A command that ran before or after a pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SyncHook {
    /// Its key in the plan.
    pub hook: Text,
    /// Program and arguments.
    pub command: Text,
    /// `done`, `interrupted`, or how else it ended.
    pub outcome: Text,
    /// The end of what it printed.
    pub output: Text,
    /// How long it took.
    pub seconds: f64,
}

/// Requests to the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SyncRequests {
    /// Objects written.
    pub put: u64,
    /// Objects read.
    pub get: u64,
    /// Objects looked up.
    pub head: u64,
    /// Pages of listings.
    pub list: u64,
}

/// What became of something that entries have besides their content.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FidelityItem {
    /// What it is.
    pub class: Text,
    /// Of how many entries it may be.
    pub count: u64,
    /// `lost`: the source could not say it.
    pub outcome: Text,
}

/// Where the threads of one stage of a pass spent their time, all threads together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SyncStage {
    /// What the stage does.
    pub stage: Text,
    /// How many threads do it at most.
    pub threads: u64,
    /// Seconds at work.
    pub busy: f64,
    /// Seconds of waiting for something to do.
    pub input: f64,
    /// Seconds of waiting for room to put what is done.
    pub room: f64,
}

/// One source of a pass.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SyncSource {
    /// The source's name.
    pub source: Text,
    /// The snapshot that the pass left; `None` where it left none.
    pub snapshot: Option<Text>,
    /// The newest snapshot of the source before it.
    pub parent: Option<Text>,
    /// What happened to the entries.
    pub entries: SyncEntries,
    /// The bytes.
    pub bytes: SyncBytes,
    /// The requests.
    pub requests: SyncRequests,
    /// What could not be taken faithfully.
    pub exceptions: Vec<ExceptionItem>,
    /// What each rule left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclusions: Vec<SyncExclusion>,
    /// What ran before and after the pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<SyncHook>,
    /// What the source could not say, though its entries have it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fidelity: Vec<FidelityItem>,
    /// What was negotiated with the source's server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<Text>,
    /// Where the time went, in the order of the flow. Workers read, prepare and seal in turns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<SyncStage>,
    /// How long it took.
    pub seconds: f64,
    /// Why this source left no snapshot, while others did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// One of several passes in a run, over all sources.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SyncRound {
    /// When it began.
    pub began: Text,
    /// How long it took.
    pub seconds: f64,
    /// What happened to the entries.
    pub entries: SyncEntries,
    /// All bodies sent.
    pub uploaded: u64,
    /// What could not be taken.
    pub exceptions: u64,
}

/// A pass.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SyncReport {
    /// The repository's URL, without credentials.
    pub repository: Text,
    /// Nothing was taken: this is what a pass would take.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// The only source, or the sums over all.
    #[serde(flatten)]
    pub sums: SyncSource,
    /// Each source, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SyncSource>,
    /// Each pass, where the run made several; the rest of the report is of the last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rounds: Vec<SyncRound>,
    /// What is worth knowing and no exception.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Text>,
}

/// The passes of a run.
fn rounds(rounds: &[SyncRound]) -> Table {
    let row = |round: &SyncRound| {
        vec![
            round.began.to_string(),
            format::duration(round.seconds),
            format::count(round.entries.new),
            format::count(round.entries.changed + round.entries.metadata),
            format::count(round.entries.removed),
            format::bytes(round.uploaded),
            format::count(round.exceptions),
        ]
    };
    Table {
        title: "Passes of this run".to_owned(),
        columns: vec!["began", "took", "new", "changed", "removed", "sent", "exceptions"],
        rows: rounds.iter().map(row).collect(),
        note: String::new(),
        terminal_rows: usize::MAX,
    }
}

impl SyncReport {
    /// The report of a pass over `sources`.
    pub fn new(repository: Text, mut sources: Vec<SyncSource>, seconds: f64) -> Self {
        if sources.len() == 1
            && let Some(only) = sources.pop()
        {
            return Self { repository, sums: only, ..Self::default() };
        }
        let sums = SyncSource {
            entries: sources.iter().map(|s| s.entries).sum(),
            bytes: sources.iter().map(|s| s.bytes).sum(),
            requests: sources.iter().map(|s| s.requests).sum(),
            exceptions: sources.iter().flat_map(|s| s.exceptions.iter().cloned()).collect(),
            seconds,
            ..SyncSource::default()
        };
        Self { repository, sums, sources, ..Self::default() }
    }

    /// Whether something could not be taken faithfully.
    pub fn has_exceptions(&self) -> bool {
        !self.sums.exceptions.is_empty()
    }

    pub(super) fn page(&self) -> Page {
        let sums = &self.sums;
        let count = |n| format::count(n);
        let exceptions = sums.exceptions.len() as u64;
        let kept = format::counted(sums.entries.total, "entry", "entries");
        let (name, did) = match self.dry_run {
            true => ("Dry run", "a pass would keep"),
            false => ("Pass", "complete"),
        };
        let mut page = if exceptions == 0 {
            Page::new(name, Tone::Good, format!("{did}: {kept}"))
        } else {
            let exceptions = format::counted(exceptions, "exception", "exceptions");
            Page::new(name, Tone::Caution, format!("{did}, with {exceptions}: {kept}"))
        };
        let e = &sums.entries;
        page.explanation = match self.dry_run {
            true => format!(
                "{} new, {} to be looked at again, {} as before, {} removed.",
                count(e.new),
                count(e.changed),
                count(e.unchanged),
                count(e.removed),
            ),
            false => format!(
                "{} new, {} changed, {} with other attributes, {} as before, {} removed.",
                count(e.new),
                count(e.changed),
                count(e.metadata),
                count(e.unchanged),
                count(e.removed),
            ),
        };
        if e.excluded > 0 {
            let left = format::counted(e.excluded, "entry", "entries");
            page.explanation.push_str(&format!(
                " {left} of the pass before {} left out by a rule now.",
                if e.excluded == 1 { "is" } else { "are" }
            ));
        }
        page.fact("Repository", self.repository.to_string());
        page.fact("Source", sums.source.to_string());
        page.fact("Snapshot", sums.snapshot.as_ref().map(Text::to_string).unwrap_or_default());
        page.fact("Parent", sums.parent.as_ref().map(Text::to_string).unwrap_or_default());
        page.fact("Size of the source", format::bytes_exact(sums.bytes.source));
        let read = if self.dry_run { "To be read" } else { "Read from the source" };
        page.fact(read, format::bytes_exact(sums.bytes.read));
        if !self.dry_run {
            self.sent_facts(&mut page);
        }
        page.fact("Time", format::duration(sums.seconds));
        page.fact("Busiest stage", busiest(sums).unwrap_or_default());
        if let Some(connection) = &sums.connection {
            page.fact("Connection", connection.to_string());
        }
        if self.sources.is_empty() {
            page.table(exclusions(&sums.exclusions, "Left out"));
            page.table(hooks(&sums.hooks, "Commands"));
            page.table(exception::table(&sums.exceptions, NOTE));
            page.table(fidelity_table(&sums.fidelity, "Fidelity"));
            page.table(stages(sums, "Where the time went"));
        } else {
            page.table(self.sources_table());
            for source in &self.sources {
                page.table(exclusions(&source.exclusions, &format!("{}: left out", source.source)));
                page.table(hooks(&source.hooks, &format!("{}: commands", source.source)));
                let mut table = exception::table(&source.exceptions, NOTE);
                table.title = format!("{}: {}", source.source, table.title);
                page.table(table);
                let title = format!("{}: fidelity", source.source);
                page.table(fidelity_table(&source.fidelity, &title));
                let title = format!("{}: where the time went", source.source);
                page.table(stages(source, &title));
            }
        }
        page.table(rounds(&self.rounds));
        page.table(page::warnings(&self.warnings));
        if self.dry_run {
            return page;
        }
        if exceptions > 0 {
            page.next.push(
                "Look at the exceptions; once what stood in the way is gone, the same command \
                 takes what is missing."
                    .to_owned(),
            );
        }
        page.next.push(format!("Prove it: drover verify --repo {}", self.repository));
        page
    }

    fn sent_facts(&self, page: &mut Page) {
        let sums = &self.sums;
        let count = |n| format::count(n);
        page.fact("Not in the repository before", format::bytes_exact(sums.bytes.new));
        page.fact("Stored for it", format::bytes_exact(sums.bytes.stored));
        page.fact("Uploaded", format::bytes_exact(sums.bytes.uploaded));
        let r = &sums.requests;
        page.fact(
            "Requests",
            format!(
                "{} put, {} get, {} head, {} list",
                count(r.put),
                count(r.get),
                count(r.head),
                count(r.list)
            ),
        );
    }

    fn sources_table(&self) -> Table {
        let row = |s: &SyncSource| {
            vec![
                s.source.to_string(),
                match (&s.snapshot, &s.error) {
                    (Some(id), _) => format::short_id(id.as_str()).to_owned(),
                    (None, Some(error)) => format!("none: {}", error.message),
                    (None, None) => "none".to_owned(),
                },
                format::count(s.entries.total),
                format::count(s.entries.new + s.entries.changed + s.entries.metadata),
                format::bytes(s.bytes.source),
                format::bytes(s.bytes.uploaded),
                format::count(s.exceptions.len() as u64),
                format::duration(s.seconds),
            ]
        };
        Table {
            title: "Sources".to_owned(),
            columns: vec![
                "source",
                "snapshot",
                "entries",
                "changes",
                "size",
                "uploaded",
                "exceptions",
                "time",
            ],
            rows: self.sources.iter().map(row).collect(),
            note: String::new(),
            terminal_rows: usize::MAX,
        }
    }
}

fn hooks(hooks: &[SyncHook], title: &str) -> Table {
    let row = |h: &SyncHook| {
        let time = format::duration(h.seconds);
        vec![h.hook.to_string(), h.outcome.to_string(), time, h.output.to_string()]
    };
    Table {
        title: title.to_owned(),
        columns: vec!["when", "outcome", "time", "output"],
        rows: hooks.iter().map(row).collect(),
        note: String::new(),
        terminal_rows: usize::MAX,
    }
}

fn exclusions(exclusions: &[SyncExclusion], title: &str) -> Table {
    let row = |e: &SyncExclusion| {
        vec![
            e.rule.to_string(),
            format::count(e.entries),
            format::bytes(e.bytes),
            format::count(e.unseen),
        ]
    };
    Table {
        title: title.to_owned(),
        columns: vec!["rule", "entries", "bytes", "directories not gone into"],
        rows: exclusions.iter().map(row).collect(),
        note: String::new(),
        terminal_rows: usize::MAX,
    }
}

fn fidelity_table(items: &[FidelityItem], title: &str) -> Table {
    let row = |item: &FidelityItem| {
        vec![item.class.to_string(), format::count(item.count), item.outcome.to_string()]
    };
    Table {
        title: title.to_owned(),
        columns: vec!["what", "entries", "outcome"],
        rows: items.iter().map(row).collect(),
        note: "What the way to the source cannot say is not in the snapshot, whether an entry has \
               it or not."
            .to_owned(),
        terminal_rows: usize::MAX,
    }
}

/// Of a pass that took less there is nothing to be learnt.
const LEAST_SECONDS: f64 = 1.0;

/// The stage whose threads had the least time to spare: what holds a pass up.
fn busiest(source: &SyncSource) -> Option<String> {
    let all = |stage: &SyncStage| stage.threads.max(1) as f64 * source.seconds;
    let share = |stage: &SyncStage| stage.busy / all(stage);
    let busiest = stages_of(source).max_by(|a, b| share(a).total_cmp(&share(b)))?;
    let share = (share(busiest) * 100.0).min(100.0);
    Some(format!("{}: at work {share:.0} % of the time", busiest.stage))
}

fn stages_of(source: &SyncSource) -> impl Iterator<Item = &SyncStage> {
    source.stages.iter().filter(|_| source.seconds >= LEAST_SECONDS)
}

fn stages(source: &SyncSource, title: &str) -> Table {
    let row = |stage: &SyncStage| {
        let mut row = vec![stage.stage.to_string(), format::count(stage.threads)];
        row.extend([stage.busy, stage.input, stage.room].map(|time| format!("{time:.2} s")));
        row
    };
    Table {
        title: title.to_owned(),
        columns: vec!["stage", "threads", "at work", "waited for input", "waited for room"],
        rows: stages_of(source).map(row).collect(),
        note: "All threads of a stage together. The threads that read also cut, compress and seal."
            .to_owned(),
        terminal_rows: usize::MAX,
    }
}

const NOTE: &str = "What an earlier pass had of these is kept and marked as stale.";

/// Sums field by field. A field that is left out does not compile.
macro_rules! sum_by_field {
    ($($part:ident { $($field:ident),+ })+) => {
        $(impl Sum for $part {
            fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
                parts.fold(Self::default(), |a, b| Self { $($field: a.$field + b.$field),+ })
            }
        })+
    };
}

sum_by_field! {
    SyncEntries { total, new, changed, metadata, unchanged, removed, excluded }
    SyncBytes { source, read, new, stored, uploaded }
    SyncRequests { put, get, head, list }
}
