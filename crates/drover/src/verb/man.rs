//! `drover man`: the manual page.

use clap::{Args, CommandFactory};

use crate::{
    cli::Cli,
    context::Context,
    error::Error,
    output::{self, Answer},
};

const EXAMPLES: &str = "\
Examples:
  drover man > drover.1
  drover man sync | man -l -";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ManArgs {
    /// The manual page of one verb
    #[arg(value_name = "VERB", value_parser = clap::builder::PossibleValuesParser::new(crate::cli::VERBS))]
    verb: Option<String>,
}

impl ManArgs {
    pub fn run(self, context: &Context) -> Result<Answer, Error> {
        context.no_document("man")?;
        let mut command = Cli::command();
        // Completes each verb's usage line and options.
        command.build();
        let chosen = self.verb.as_deref().and_then(|verb| command.find_subcommand(verb)).cloned();
        let mut page = Vec::new();
        clap_mangen::Man::new(chosen.unwrap_or(command).version(env!("CARGO_PKG_VERSION")))
            .render(&mut page)
            .map_err(Error::output)?;
        output::to_stdout(&page)?;
        Ok(Answer::Listed(None))
    }
}
