//! What the reading verbs share: the repository opened with the password.

use clap::Args;
use drover_ops::ReaderSession;

use crate::{context::Context, error::Error, place::Place};

/// Beyond this many problems, `drover verify` names the rest.
const SHOWN_PROBLEMS: usize = 5;

/// Which of a repository's sources is meant.
#[derive(Debug, Args)]
pub struct SourceArg {
    /// Which source `latest` is of, where the repository has several
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
}

/// Opens the repository for reading. What is wrong with its history is warned about: a damaged
/// repository is to be read as far as it can be.
pub fn open(place: &Place, context: &Context) -> Result<ReaderSession, Error> {
    let objects = place.connect(false)?;
    let secret = context.secret()?;
    let state = context.state_dir()?;
    let session = ReaderSession::open(objects, &secret, Some(&state), &context.progress)
        .map_err(|error| place.explain(error))?;
    for problem in session.problems.iter().take(SHOWN_PROBLEMS) {
        context.progress.warn(&format!("{}: {}", problem.object, problem.message));
    }
    if session.problems.len() > SHOWN_PROBLEMS {
        let left = session.problems.len() - SHOWN_PROBLEMS;
        context.progress.warn(&format!("{left} more problems: drover verify names them"));
    }
    Ok(session)
}
