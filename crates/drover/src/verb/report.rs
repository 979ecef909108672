//! `drover report`: renders any report again.

use std::{io, path::PathBuf};

use clap::{Args, builder::PossibleValuesParser};
use drover_report::schemas;

use crate::{
    context::Context,
    error::Error,
    output::{self, Answer},
    reading,
};

const EXAMPLES: &str = "\
Examples:
  drover verify --repo /backup --json > verify.json
  drover report verify.json --html verify.html
  drover report plan.json --markdown plan.md --csv tables
  drover report --schema verify
  drover report verify.json";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ReportArgs {
    /// What a verb printed with --json; - for stdin
    #[arg(required_unless_present = "schema")]
    file: Option<PathBuf>,
    /// Print the JSON schema of a verb's reports
    #[arg(long, value_name = "VERB", conflicts_with = "file", value_parser = PossibleValuesParser::new(schemas::names()))]
    schema: Option<String>,
}

impl ReportArgs {
    pub fn run(self, context: &Context) -> Result<Answer, Error> {
        if let Some(schema) = self.schema.as_deref().and_then(schemas::of) {
            context.no_document("report --schema")?;
            output::to_stdout(format!("{schema:#}\n").as_bytes())?;
            return Ok(Answer::Listed(None));
        }
        let path = self.file.unwrap_or_default();
        const WHAT: &str = "cannot read the report";
        let document = match path.as_os_str() == "-" {
            true => reading::report_from(&path, WHAT, Ok(io::stdin().lock())),
            false => reading::report(&path, WHAT),
        }?;
        // The files are all that was asked for; stdout stays as it is.
        if context.global.has_files() && !context.global.json {
            output::write_files(context.global, &document)?;
            return Ok(Answer::Listed(None));
        }
        Ok(Answer::Report(Box::new(document), 0))
    }
}
