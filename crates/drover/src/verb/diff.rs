//! `drover diff`: what changed from one snapshot to another.

use std::{
    ffi::OsString,
    io::{self, BufWriter, Write},
};

use clap::Args;
use drover_ops::inspect::{self, Change};
use drover_report::{ChangeItem, DiffReport, DiffTotals, ListWriter, PathText, Text};
use drover_types::Entry;
use serde_json::json;

use crate::{
    context::Context,
    error::Error,
    output::Answer,
    place::SnapshotPath,
    reading::{Inside, InsideArgs},
};

const EXAMPLES: &str = "\
Examples:
  drover diff plan.toml 5f3a91 c04e77
  drover diff --repo s3://clinic-archive/server1 5f3a91 latest --json";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, override_usage = "drover diff [OPTIONS] [PLAN] FROM TO")]
pub struct DiffArgs {
    /// A plan file, unless --repo is given; then two snapshots, the earlier one first
    #[arg(value_name = "PLAN, FROM, TO", num_args = 1..=3, required = true)]
    positionals: Vec<OsString>,
    #[command(flatten)]
    inside: InsideArgs,
}

impl DiffArgs {
    pub fn run(self, context: &Context) -> Result<Answer, Error> {
        let Inside { mut session, snapshots: [first, second], .. } =
            self.inside.open(self.positionals, context, |rest| {
                let (from, to) = match rest {
                    [from] => (SnapshotPath::parse(from)?, SnapshotPath::parse("latest".as_ref())?),
                    [from, to] => (SnapshotPath::parse(from)?, SnapshotPath::parse(to)?),
                    _ => return Err(Error::Usage("which snapshots? FROM [TO]".to_owned())),
                };
                if !from.path.is_root() || !to.path.is_root() {
                    return Err(Error::Usage("whole snapshots are compared: no :PATH".to_owned()));
                }
                Ok([from, to])
            })?;
        let (from, to) = (Text::from(first.to_string()), Text::from(second.to_string()));
        let mut totals = DiffTotals::default();
        let mut each = |take: &mut dyn FnMut(ChangeItem) -> Result<(), drover_ops::Error>| {
            inspect::diff(&mut session, first, second, &mut |change| {
                count(&mut totals, &change);
                take(item(&change))
            })
        };
        if context.global.has_files() {
            let mut changes = Vec::new();
            each(&mut |change| {
                changes.push(change);
                Ok(())
            })?;
            return Ok(Answer::done(DiffReport { from, to, changes, totals }));
        }
        let mut out = BufWriter::new(io::stdout().lock());
        context.progress.finish();
        if context.global.json {
            let head = json!({ "from": from, "to": to });
            let mut list = ListWriter::begin(out, &drover_report::schema("diff"), &head, "changes")
                .map_err(Error::output)?;
            let result = each(&mut |change| list.item(&change).map_err(drover_ops::Error::Output));
            let failure = result.map_err(Error::from).map_err(|error| error.failure()).err();
            list.finish(&json!({ "totals": totals }), failure.as_ref()).map_err(Error::output)?;
            return Ok(Answer::Listed(failure));
        }
        each(&mut |change| writeln!(out, "{}", change.line()).map_err(drover_ops::Error::Output))?;
        out.flush().map_err(Error::output)?;
        Ok(Answer::Listed(None))
    }
}

fn count(totals: &mut DiffTotals, change: &Change) {
    match change {
        Change::Added(_) => totals.added += 1,
        Change::Removed(_) => totals.removed += 1,
        Change::Changed(..) => totals.changed += 1,
        Change::Metadata(..) => totals.metadata += 1,
    }
}

fn item(change: &Change) -> ChangeItem {
    let size = |entry: &Entry| entry.content.as_ref().map(|content| content.size);
    let (word, entry, size_before, size_after) = match change {
        Change::Added(entry) => ("added", entry, None, size(entry)),
        Change::Removed(entry) => ("removed", entry, size(entry), None),
        Change::Changed(before, after) if !before.kind.same_sort(&after.kind) => {
            ("kind", after, size(before), size(after))
        }
        Change::Changed(before, after) => ("content", after, size(before), size(after)),
        Change::Metadata(entry, _) => ("metadata", entry, size(entry), size(entry)),
    };
    ChangeItem {
        path: PathText::from(&entry.path),
        change: Text::from(word),
        kind: Text::from(entry.kind.as_str()),
        size_before,
        size_after,
        attributes: match change {
            Change::Metadata(_, fields) => fields.iter().map(|f| Text::from(f.as_str())).collect(),
            _ => Vec::new(),
        },
    }
}
