//! `drover cat`: a file's bytes.

use std::{ffi::OsString, io};

use clap::Args;
use drover_ops::inspect;

use crate::{
    context::Context,
    error::Error,
    output::Answer,
    place::SnapshotPath,
    reading::{Inside, InsideArgs},
};

const EXAMPLES: &str = "\
Examples:
  drover cat plan.toml latest:export/patients.csv | head
  drover cat --repo s3://clinic-archive/server1 5f3a91:db/dump.sql.gz > dump.sql.gz";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, override_usage = "drover cat [OPTIONS] [PLAN] SNAPSHOT:PATH")]
pub struct CatArgs {
    /// A plan file, unless --repo is given; then a snapshot, and the path of a file in it
    #[arg(value_name = "PLAN, SNAPSHOT:PATH", num_args = 1..=2, required = true)]
    positionals: Vec<OsString>,
    #[command(flatten)]
    inside: InsideArgs,
}

impl CatArgs {
    pub fn run(self, context: &Context) -> Result<Answer, Error> {
        context.no_document("cat")?;
        let Inside { mut session, snapshots: [snapshot], wanted: [wanted] } =
            self.inside.open(self.positionals, context, |rest| match rest {
                [wanted] => Ok([SnapshotPath::parse(wanted)?]),
                _ => Err(Error::Usage("which file? SNAPSHOT:PATH".to_owned())),
            })?;
        context.progress.finish();
        let mut out = io::stdout().lock();
        inspect::cat(&mut session, snapshot, &wanted.path, &mut out, &context.cancel)?;
        Ok(Answer::Listed(None))
    }
}
