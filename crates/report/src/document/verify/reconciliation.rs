//! What an inventory of the source counted, beside what the landed target shows: patients, studies and
//! messages, which people on both sides of a migration have to agree on.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{InventoryContent, InventorySource, Table, Text, format, page::TERMINAL_ROWS};

/// One count on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReconciliationCount {
    /// All of DICOM, a modality and year of it, or an HL7 interface.
    pub of: Text,
    /// `patients`, `studies`, `series`, `objects` or `messages`.
    pub what: Text,
    /// In the inventory.
    pub before: u64,
    /// On the target.
    pub after: u64,
}

/// Counts before and after.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Reconciliation {
    /// The source that the inventory is of.
    pub source: Text,
    /// When the inventory began.
    pub time: Text,
    /// Whether some counts are estimates, with a standard error of 1.6 %.
    pub estimated: bool,
    /// Everything that either side has.
    pub counts: Vec<ReconciliationCount>,
}

impl Reconciliation {
    /// Of two inventories with their content.
    pub fn new(before: &InventorySource, after: &InventorySource) -> Self {
        let mut counts = BTreeMap::<(String, usize), [u64; 2]>::new();
        let mut estimated = false;
        for (side, source) in [before, after].into_iter().enumerate() {
            for (of, at, count) in counted(&source.content) {
                counts.entry((of, at)).or_default()[side] += count;
            }
            let archive = source.content.reconciliation.as_ref();
            estimated |= archive.is_some_and(|archive| archive.estimated);
        }
        let count = |((of, at), [before, after]): ((String, usize), [u64; 2])| {
            ReconciliationCount { of: Text::from(of), what: Text::from(WHAT[at]), before, after }
        };
        Self {
            source: before.source.clone(),
            time: before.started.clone(),
            estimated,
            counts: counts.into_iter().map(count).collect(),
        }
    }

    /// How many counts differ.
    pub fn different(&self) -> usize {
        self.counts.iter().filter(|count| count.before != count.after).count()
    }

    pub(super) fn table(&self) -> Table {
        let row = |c: &ReconciliationCount| {
            let is = if c.before == c.after { "" } else { "differs" };
            let (before, after) = (format::count(c.before), format::count(c.after));
            vec![c.of.to_string(), c.what.to_string(), before, after, is.to_owned()]
        };
        let about = match self.estimated {
            true => " Some counts are estimates, within 1.6 % in two of three cases.",
            false => "",
        };
        Table {
            title: format!(
                "Before and after: {}",
                match self.different() {
                    0 => "the same counts".to_owned(),
                    n => format::counted(n as u64, "count differs", "counts differ"),
                }
            ),
            columns: vec!["of", "what", "before", "after", ""],
            rows: self.counts.iter().map(row).collect(),
            note: format!(
                "Before: the inventory of {} of {}. What the source took between it and the pass differs \
                 too.{about}",
                self.source, self.time
            ),
            terminal_rows: TERMINAL_ROWS,
        }
    }
}

const WHAT: [&str; 5] = ["patients", "studies", "series", "objects", "messages"];

/// Of what, the place in [`WHAT`], and how many.
fn counted(content: &InventoryContent) -> Vec<(String, usize, u64)> {
    let mut found = Vec::new();
    let mut add = |of: String, counts: [u64; 4]| {
        let counts = counts.into_iter().enumerate();
        found.extend(counts.map(|(at, count)| (of.clone(), at, count)));
    };
    if let Some(archive) = &content.reconciliation {
        let all = [archive.patients, archive.studies, archive.series, archive.instances];
        add("DICOM".to_owned(), all);
        for period in &archive.periods {
            let year = period.year.map_or_else(|| "no year".to_owned(), |year| year.to_string());
            let modality = match period.modality.as_str() {
                "" => "no modality",
                modality => modality,
            };
            let all = [period.patients, period.studies, period.series, period.instances];
            add(format!("DICOM {modality} {year}"), all);
        }
    }
    for i in &content.interfaces {
        let of = format!(
            "HL7 {} ({}) to {} ({}) {}",
            i.sender, i.sender_facility, i.receiver, i.receiver_facility, i.message
        );
        found.push((of, 4, i.messages));
    }
    found
}
