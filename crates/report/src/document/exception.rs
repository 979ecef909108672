//! Exceptions as documents list them, and paths as documents write them.

use std::collections::BTreeMap;

use drover_types::{Exception, RelativePath};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Table, Text, format, page::TERMINAL_ROWS};

/// A path relative to its source's root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PathText {
    /// Printable; `\xNN` stands for each byte that is not.
    pub path: Text,
    /// Base64 of the bytes, where something had to be escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_b64: Option<Text>,
}

impl From<&RelativePath> for PathText {
    fn from(path: &RelativePath) -> Self {
        Self {
            path: Text::from_bytes(path.as_bytes()),
            path_b64: path.base64_if_escaped().map(Text::from),
        }
    }
}

impl PathText {
    /// The path as people read it: the root has a name too.
    pub fn shown(&self) -> String {
        if self.path.is_empty() { "(the root)".to_owned() } else { self.path.to_string() }
    }
}

/// An entry that could not be taken, or put back, faithfully.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ExceptionItem {
    /// Which.
    #[serde(flatten)]
    pub path: PathText,
    /// `vanished`, `denied`, `torn`, `error` or `unsupported`.
    pub kind: Text,
    /// What the system said.
    pub message: Text,
}

impl From<&Exception> for ExceptionItem {
    fn from(exception: &Exception) -> Self {
        Self {
            path: PathText::from(&exception.path),
            kind: Text::from(exception.kind.as_str()),
            message: Text::from(exception.message.as_str()),
        }
    }
}

/// The table of `exceptions`, with `note` below its heading.
pub fn table<'a>(
    exceptions: impl IntoIterator<Item = &'a ExceptionItem>,
    note: impl Into<String>,
) -> Table {
    let rows: Vec<Vec<String>> = exceptions
        .into_iter()
        .map(|e| vec![e.kind.to_string(), e.path.shown(), e.message.to_string()])
        .collect();
    let mut kinds = BTreeMap::<&str, u64>::new();
    rows.iter().for_each(|row| *kinds.entry(&row[0]).or_default() += 1);
    let kinds: Vec<_> =
        kinds.iter().map(|(kind, n)| format!("{} {kind}", format::count(*n))).collect();
    Table {
        title: format!("Exceptions: {}", kinds.join(", ")),
        columns: vec!["kind", "path", "message"],
        rows,
        note: note.into(),
        terminal_rows: TERMINAL_ROWS,
    }
}
