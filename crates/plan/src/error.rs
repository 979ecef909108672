//! Why a plan is refused, and where in the file.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use drover_types::path::escape;

use crate::{FilterError, LocationError, RateError, windows::WindowError};

/// Why a plan cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file cannot be read.
    #[error("{}: cannot read the plan: {source}", Shown(file))]
    Read {
        /// The plan.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What the file says is wrong.
    #[error("{}:{line}:{column}: {problem}", Shown(file))]
    Invalid {
        /// The plan.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// What is wrong there.
        problem: Problem,
    },
}

/// What is wrong at one place of a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is longer than any plan.
    #[error("a plan has at most {0} bytes")]
    TooLong(usize),
    /// It is not text.
    #[error("a plan is UTF-8 text")]
    NotText,
    /// It is not TOML.
    #[error("{0}")]
    Syntax(String),
    /// A key that no plan has at this place.
    #[error("unknown key {}{}", Quoted(key), DidYouMean(*nearest))]
    UnknownKey {
        /// The key.
        key: String,
        /// The known key that is most like it, where one is.
        nearest: Option<&'static str>,
    },
    /// A key that must be there is not.
    #[error("the key \"{key}\" is missing{}", Within(table))]
    MissingKey {
        /// The key.
        key: &'static str,
        /// The table it belongs into; empty for the file itself.
        table: &'static str,
    },
    /// A value of another type.
    #[error("\"{key}\" must be {expected}, not {found}")]
    Type {
        /// The key.
        key: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// A number that is too small or too large.
    #[error("\"{key}\" must be from {least} to {most}")]
    Range {
        /// The key.
        key: &'static str,
        /// The smallest value.
        least: usize,
        /// The largest value.
        most: usize,
    },
    /// A source's name that cannot be one.
    #[error("a source's name has 1 to 64 characters, each a-z, 0-9 or \"-\"")]
    SourceName,
    /// Two sources of one name.
    #[error("another source is named \"{0}\" already")]
    DuplicateSource(String),
    /// No source at all.
    #[error("a plan needs at least one [[source]]")]
    NoSource,
    /// A rate that cannot be understood.
    #[error("\"{0}\": {1}")]
    Rate(&'static str, RateError),
    /// A rule, size or age that cannot be understood.
    #[error("\"{0}\": {1}")]
    Filter(&'static str, FilterError),
    /// Hours or a window that cannot be understood.
    #[error("\"{0}\": {1}")]
    Window(&'static str, WindowError),
    /// A command without a program.
    #[error("\"{0}\" is a program and its arguments, none of them with a NUL byte")]
    Command(&'static str),
    /// A word that is none of those that the key takes.
    #[error("\"{0}\" is one of {words}", words = Words(.1))]
    Word(&'static str, Vec<&'static str>),
    /// A command beside a directory.
    #[error(
        "a source is a directory or the output of a command: with \"command\", \"url\" only names a server"
    )]
    CommandPlace,
    /// A file's name without the command that prints it.
    #[error("\"file\" names what \"command\" prints, and there is no command")]
    FileWithoutCommand,
    /// A name that no file has.
    #[error("\"file\" is the name of a file, without \"/\", of at most 255 bytes")]
    FileName,
    /// A key that only a server's directory has.
    #[error("\"{0}\" is for sources at sftp:// only")]
    OnlySftp(&'static str),
    /// A fingerprint that cannot be one.
    #[error("a host key is given as ssh-keygen -l prints it: SHA256: and 43 characters")]
    Fingerprint,
    /// A place that cannot be understood, or that does not serve here.
    #[error("{0}")]
    Location(LocationError),
    /// Two places of which one lies in the other, so that one verb would destroy or repeat what
    /// another made.
    #[error("the {inner} lies within the {outer}")]
    Nested {
        /// What lies within.
        inner: &'static str,
        /// What it lies in.
        outer: String,
    },
}

/// A path as people read it.
struct Shown<'a>(&'a Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(self.0.as_os_str().as_encoded_bytes()))
    }
}

/// What someone else wrote, in quotes, and not too much of it.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 60;
        let start: String = self.0.chars().take(MOST).collect();
        let more = if start.len() < self.0.len() { "…" } else { "" };
        write!(f, "\"{}{more}\"", escape(start.as_bytes()))
    }
}

/// Words, each in quotes.
struct Words<'a>(&'a [&'static str]);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted: Vec<_> = self.0.iter().map(|word| format!("\"{word}\"")).collect();
        f.write_str(&quoted.join(", "))
    }
}

struct DidYouMean(Option<&'static str>);

impl fmt::Display for DidYouMean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |key| write!(f, " (did you mean \"{key}\"?)"))
    }
}

/// The table that something belongs into.
struct Within<'a>(&'a str);

impl fmt::Display for Within<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => Ok(()),
            table => write!(f, " in \"{table}\""),
        }
    }
}
