//! What came back from a server.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use crate::ProbeId;

/// Output of a command, or a file.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// The exit code of a command; 0 of a file.
    pub status: Option<i32>,
    /// What it printed or holds.
    pub bytes: Vec<u8>,
    /// What it printed as errors.
    pub errors: Vec<u8>,
    /// Whether there was more.
    pub truncated: bool,
    /// Permissions, owner and time of change of a file, where they are known.
    pub listed: Option<(u32, u32, i64)>,
}

/// Without the bytes: they may be hashes of passwords.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, status {:?}", self.bytes.len(), self.status)
    }
}

impl Content {
    /// A command's or file's text.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

/// Why there is no content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absent {
    /// No such program or file.
    Missing,
    /// Not for this account.
    Denied,
    /// Ended because it took too long.
    TimedOut,
    /// The account runs no commands.
    NoCommands,
    /// Not for this account, and `sudo` does not let it, for what it says.
    NoSudo(String),
    /// Anything else.
    Failed(String),
}

impl Absent {
    /// Why, as the end of a sentence that begins with what was asked.
    pub fn why(&self) -> String {
        match self {
            Self::Missing => "is not there".to_owned(),
            Self::Denied => "is denied to this account".to_owned(),
            Self::TimedOut => "took too long".to_owned(),
            Self::NoCommands => "cannot be run: this account runs no commands".to_owned(),
            Self::NoSudo(why) => {
                format!("is denied to this account, and cannot be had as root: {why}")
            }
            Self::Failed(why) => format!("failed: {why}"),
        }
    }
}

/// What one question came to.
pub type Answer = Result<Content, Absent>;

/// Everything that was asked, with what came back. A question that stands for several (a file of
/// each home, a command for each disk) has several answers, each with what it is of.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    all: BTreeMap<ProbeId, Vec<(String, Answer)>>,
}

impl Answers {
    /// Adds one; `of` is empty where the question stands for itself.
    pub fn add(&mut self, id: ProbeId, of: impl Into<String>, answer: Answer) {
        self.all.entry(id).or_default().push((of.into(), answer));
    }

    /// All answers to a question.
    pub fn all(&self, id: ProbeId) -> &[(String, Answer)] {
        self.all.get(&id).map_or(&[], Vec::as_slice)
    }

    /// The answer to a question that has one.
    pub fn one(&self, id: ProbeId) -> Result<&Content, Absent> {
        match self.all(id).first() {
            Some((_, Ok(content))) => Ok(content),
            Some((_, Err(absent))) => Err(absent.clone()),
            None => Err(Absent::Missing),
        }
    }

    /// The text of a file, or of what a command printed that succeeded.
    pub fn text(&self, id: ProbeId) -> Result<Cow<'_, str>, Absent> {
        let content = self.one(id)?;
        if content.status == Some(0) {
            return Ok(content.text());
        }
        let errors = String::from_utf8_lossy(&content.errors);
        let said = errors.lines().next().unwrap_or_default().trim_end_matches('.');
        let said: String = said.chars().take(200).collect();
        Err(Absent::Failed(match content.status {
            Some(code) if said.is_empty() => format!("exit code {code}"),
            Some(code) => format!("exit code {code}: {said}"),
            None => "a signal ended it".to_owned(),
        }))
    }
}
