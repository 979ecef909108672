//! What the reading verbs share: the repository opened with the password, and what is looked at.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    path::Path,
};

use clap::Args;
use drover_ops::ReaderSession;
use drover_report::{Document, LONGEST, Problem, Text};
use drover_types::SnapshotId;

use crate::{
    context::Context,
    error::Error,
    place::{Place, RepositoryArgs, SnapshotPath},
};

/// Beyond this many problems, `drover verify` names the rest.
const SHOWN_PROBLEMS: usize = 5;

/// What is wrong with a repository, as reports have it.
pub fn problem(found: &drover_repo::Problem) -> Problem {
    Problem {
        kind: Text::from(found.kind),
        object: Some(Text::from(found.object.as_str())),
        message: Text::from(found.message.as_str()),
        ..Problem::default()
    }
}

/// A report that a verb printed with --json and somebody kept; `what` says what cannot be read where it
/// cannot.
pub fn report(path: &Path, what: &'static str) -> Result<Document, Error> {
    report_from(path, what, File::open(path))
}

/// The same, from what was opened as `path`.
pub fn report_from(
    path: &Path,
    what: &'static str,
    from: io::Result<impl Read>,
) -> Result<Document, Error> {
    let mut json = Vec::new();
    from.and_then(|from| from.take(LONGEST).read_to_end(&mut json))
        .map_err(|source| Error::File { what, path: path.into(), source })?;
    Document::parse(&json).map_err(|source| Error::Report { path: path.into(), source })
}

/// Which of a repository's sources is meant.
#[derive(Debug, Args)]
pub struct SourceArg {
    /// Which source `latest` is of, where the repository has several
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
}

/// Where snapshots are looked into, and of which source: what ls, diff and cat begin with.
#[derive(Debug, Args)]
pub struct InsideArgs {
    #[command(flatten)]
    repository: RepositoryArgs,
    #[command(flatten)]
    source: SourceArg,
}

/// Snapshots that are looked into.
pub struct Inside<const N: usize> {
    /// Their repository.
    pub session: ReaderSession,
    /// Which they are.
    pub snapshots: [SnapshotId; N],
    /// How they were named, and where in them to look.
    pub wanted: [SnapshotPath; N],
}

impl InsideArgs {
    /// Opens the repository, and finds the snapshots that `choose` takes from the arguments, once
    /// a plan among them has been taken.
    pub fn open<const N: usize>(
        &self,
        mut positionals: Vec<OsString>,
        context: &Context,
        choose: impl FnOnce(&[OsString]) -> Result<[SnapshotPath; N], Error>,
    ) -> Result<Inside<N>, Error> {
        let place = self.repository.place(&mut positionals)?;
        let wanted = choose(&positionals)?;
        let session = open(&place, context)?;
        let mut snapshots = [SnapshotId([0; 32]); N];
        for (id, wanted) in snapshots.iter_mut().zip(&wanted) {
            *id = session.find(&wanted.snapshot, self.source.source.as_deref())?.id();
        }
        Ok(Inside { session, snapshots, wanted })
    }
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
