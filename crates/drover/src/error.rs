//! Every error of the libraries as people and programs get it: kind, message, what to do about
//! it, exit code.

use std::{io, path::PathBuf};

use drover_report::{Failure, ParseError, Text};

use crate::{interrupt, output::shown, password::PasswordError};

/// Failed.
const FAILED: u8 = 1;
/// The command line or the plan is wrong in itself.
const USAGE: u8 = 2;
/// Wrong or missing password or key.
const PASSWORD: u8 = 12;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Arguments that clap takes and that make no sense together.
    #[error("{0}")]
    Usage(String),
    /// No home, and no state directory given.
    #[error("there is no place for the state: neither HOME nor DROVER_STATE_DIR is set")]
    NoStateDir,
    /// Password.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// A file that the verb reads or writes by itself.
    #[error("{what} {}: {source}", shown(path))]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that is no report.
    #[error("{}: {source}", shown(path))]
    Report {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ParseError,
    },
    /// Standard output does not take it.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    /// Whoever read standard output is gone.
    #[error("standard output was closed")]
    OutputClosed,
}

/// Kind, what to do about it, exit code.
type Advice = (&'static str, &'static str, u8);

impl Error {
    /// An error of standard output.
    pub fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Output(error),
        }
    }

    /// The error as documents have it.
    pub fn failure(&self) -> Failure {
        let (kind, remedy, exit) = self.advice();
        Failure { kind: kind.into(), message: message(self), remedy: remedy.into(), exit }
    }

    fn advice(&self) -> Advice {
        match self {
            Self::Usage(_) => ("command-line", "drover --help shows what there is.", USAGE),
            Self::NoStateDir => ("no-state-directory", "Give one with --state-dir.", FAILED),
            Self::Password(error) => password(error),
            Self::File { .. } => ("file", "Check that it is there, and its permissions.", FAILED),
            Self::Report { .. } => {
                ("not-a-report", "Give a file that a verb wrote with --json.", FAILED)
            }
            Self::Output(_) | Self::OutputClosed => {
                ("output", "Check where standard output goes.", FAILED)
            }
        }
    }
}

fn password(error: &PasswordError) -> Advice {
    match error {
        PasswordError::Interrupted => ("interrupted", "", interrupt::EXIT),
        PasswordError::Missing => (
            "no-password",
            "Give it with --password-file, --password-command, DROVER_PASSWORD_FILE or DROVER_PASSWORD.",
            PASSWORD,
        ),
        PasswordError::Mismatch => ("no-password", "Run it again.", PASSWORD),
        PasswordError::Empty | PasswordError::TooLong => {
            ("no-password", "Check what the file or the command holds.", PASSWORD)
        }
        PasswordError::File { .. }
        | PasswordError::Command(_)
        | PasswordError::CommandFailed(_)
        | PasswordError::Prompt(_) => {
            ("no-password", "Check the file or the command that the password comes from.", PASSWORD)
        }
    }
}

/// The error, and what lay beneath it where the error does not say so itself.
fn message(error: &dyn std::error::Error) -> Text {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    Text::from(text)
}
