//! `drover completions`: a completion script for a shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{
    cli::Cli,
    context::Context,
    error::Error,
    output::{self, Answer},
};

const EXAMPLES: &str = "\
Examples:
  drover completions bash > /etc/bash_completion.d/drover
  drover completions zsh > ~/.zfunc/_drover";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

impl CompletionsArgs {
    pub fn run(self, context: &Context) -> Result<Answer, Error> {
        context.no_document("completions")?;
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "drover", &mut script);
        output::to_stdout(&script)?;
        Ok(Answer::Listed(None))
    }
}
