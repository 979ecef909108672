//! `drover report`: renders any report again.

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

use clap::Args;
use drover_report::{Document, LONGEST};

use crate::{
    context::Context,
    error::Error,
    output::{self, Answer},
};

const EXAMPLES: &str = "\
Examples:
  drover verify --repo /backup --json > verify.json
  drover report verify.json --html verify.html
  drover report plan.json --markdown plan.md --csv tables
  drover report verify.json";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ReportArgs {
    /// What a verb printed with --json; - for stdin
    file: PathBuf,
}

impl ReportArgs {
    pub fn run(self, context: &Context) -> Result<Answer, Error> {
        let json = self.read().map_err(|source| Error::File {
            what: "cannot read the report",
            path: self.file.clone(),
            source,
        })?;
        let document = Document::parse(&json)
            .map_err(|source| Error::Report { path: self.file.clone(), source })?;
        // The files are all that was asked for; stdout stays as it is.
        if context.global.has_files() && !context.global.json {
            output::write_files(context.global, &document)?;
            return Ok(Answer::Listed(None));
        }
        Ok(Answer::Report(Box::new(document), 0))
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let mut json = Vec::new();
        if self.file.as_os_str() == "-" {
            io::stdin().lock().take(LONGEST).read_to_end(&mut json)?;
        } else {
            File::open(&self.file)?.take(LONGEST).read_to_end(&mut json)?;
        }
        Ok(json)
    }
}
