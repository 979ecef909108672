//! Exceptions: entries that could not be taken, or put back, faithfully.

use std::fmt;

use serde::Serialize;

use crate::RelativePath;

/// Why an entry is on the exception list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum ExceptionKind {
    /// It was listed, and gone when it was to be read.
    Vanished = 0,
    /// Permission was refused.
    Denied = 1,
    /// It changed while it was read, three times.
    Torn = 2,
    /// Anything else the system answered.
    Error = 3,
    /// It cannot be kept here: the target's file system or the rights of this process lack it.
    Unsupported = 4,
}

impl ExceptionKind {
    /// The kind with this code.
    pub fn from_code(code: u8) -> Option<Self> {
        use ExceptionKind::*;
        [Vanished, Denied, Torn, Error, Unsupported].get(usize::from(code)).copied()
    }

    /// The word that JSON and people read.
    pub fn as_str(self) -> &'static str {
        match self {
            ExceptionKind::Vanished => "vanished",
            ExceptionKind::Denied => "denied",
            ExceptionKind::Torn => "torn",
            ExceptionKind::Error => "error",
            ExceptionKind::Unsupported => "unsupported",
        }
    }
}

impl fmt::Display for ExceptionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One entry that could not be taken, or put back, faithfully.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Relative to the source's root.
    pub path: RelativePath,
    /// Why.
    pub kind: ExceptionKind,
    /// What the system said, in words; holds no content and no secret.
    pub message: String,
}
