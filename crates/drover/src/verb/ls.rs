//! `drover ls`: what is in a snapshot.

use std::{
    ffi::OsString,
    io::{self, BufWriter, Write},
};

use clap::Args;
use drover_ops::inspect;
use drover_report::{ListWriter, LsItem, LsReport, PathText, Text};
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
  drover ls plan.toml
  drover ls --repo s3://clinic-archive/server1 latest:studies/2019 --recursive
  drover ls --repo /mnt/backup 5f3a91 --recursive --json";

#[derive(Debug, Args)]
#[command(
    after_help = EXAMPLES,
    override_usage = "drover ls [OPTIONS] [PLAN] [SNAPSHOT[:PATH]]"
)]
pub struct LsArgs {
    /// A plan file, unless --repo is given; then a snapshot, and a path in it
    #[arg(value_name = "PLAN, SNAPSHOT[:PATH]", num_args = 0..=2)]
    positionals: Vec<OsString>,
    #[command(flatten)]
    inside: InsideArgs,
    /// Everything below as well
    #[arg(long, short)]
    recursive: bool,
}

impl LsArgs {
    pub fn run(self, context: &Context) -> Result<Answer, Error> {
        let Inside { mut session, snapshots: [snapshot], wanted: [wanted] } =
            self.inside.open(self.positionals, context, |rest| match rest {
                [] => Ok([SnapshotPath::parse("latest".as_ref())?]),
                [wanted] => Ok([SnapshotPath::parse(wanted)?]),
                _ => Err(Error::Usage("one snapshot at a time: SNAPSHOT[:PATH]".to_owned())),
            })?;
        let mut report = LsReport {
            snapshot: Text::from(snapshot.to_string()),
            path: PathText::from(&wanted.path),
            entries: Vec::new(),
        };
        let mut each = |take: &mut dyn FnMut(LsItem) -> Result<(), drover_ops::Error>| {
            inspect::list(&mut session, snapshot, &wanted.path, self.recursive, &mut |entry| {
                take(LsItem::from(entry))
            })
        };
        if context.global.has_files() {
            each(&mut |item| {
                report.entries.push(item);
                Ok(())
            })?;
            return Ok(Answer::done(report));
        }
        // A snapshot may have more entries than memory has room for: they are printed as they come.
        let mut out = BufWriter::new(io::stdout().lock());
        context.progress.finish();
        if context.global.json {
            let head = json!({ "snapshot": report.snapshot, "path": report.path.path, "path_b64": report.path.path_b64 });
            let mut list = ListWriter::begin(out, &drover_report::schema("ls"), &head, "entries")
                .map_err(Error::output)?;
            let result = each(&mut |item| list.item(&item).map_err(drover_ops::Error::Output));
            let failure = result.map_err(Error::from).map_err(|error| error.failure()).err();
            list.finish(&json!({}), failure.as_ref()).map_err(Error::output)?;
            return Ok(Answer::Listed(failure));
        }
        each(&mut |item| writeln!(out, "{}", item.line()).map_err(drover_ops::Error::Output))?;
        out.flush().map_err(Error::output)?;
        Ok(Answer::Listed(None))
    }
}
