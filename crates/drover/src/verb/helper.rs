//! `drover helper`: the other end of a source that a helper on its server reads.
//!
//! Nobody types it: drover runs it over SSH. It answers what is asked on its standard input and
//! changes nothing, but that a program that was copied there for this takes itself away at its end.

use std::{env, fs, io, path::Path};

use clap::Args;

use crate::{context::Context, error::Error, output::Answer};

const EXAMPLES: &str = "\
Example, a rule for sudo that lets an account's helper read everything:
  migration ALL=(root) NOPASSWD: /usr/local/bin/drover helper";

/// How the folder is called that the program was copied to.
const FOLDER: &str = "drover-helper.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct HelperArgs {}

impl HelperArgs {
    pub fn run(self, context: &Context) -> Result<Answer, Error> {
        context.no_document("helper")?;
        context.progress.finish();
        let served = drover_ops::helper::serve(io::stdin(), io::stdout());
        if let Ok(program) = env::current_exe() {
            take_away(&program);
        }
        served.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Error::OutputClosed,
            _ => Error::Output(error),
        })?;
        Ok(Answer::Listed(None))
    }
}

/// Removes a program that was copied for this, and its folder. Another helper may have done so.
fn take_away(program: &Path) {
    let Some(folder) = program.parent() else { return };
    let name = folder.file_name().unwrap_or_default().as_encoded_bytes();
    if name.starts_with(FOLDER.as_bytes()) {
        let _ = fs::remove_file(program);
        let _ = fs::remove_dir(folder);
    }
}
