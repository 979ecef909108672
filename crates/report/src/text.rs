//! A string that is safe to show: one line, nothing invisible, nothing that turns text around.

use std::fmt;

use drover_types::path::escape;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// One line of printable text. Control, bidirectional and invisible characters are written as
/// `\xNN`, whoever made the string: the system, a server, or a report file that came by mail.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Text(String);

impl Text {
    /// Takes text as it is, but for the characters that are not to be shown.
    pub fn new(text: &str) -> Self {
        // Backslashes stay: they may be those of an earlier escaping.
        let parts: Vec<_> = text.split('\\').map(|part| escape(part.as_bytes())).collect();
        Self(parts.join("\\"))
    }

    /// Bytes that nobody escaped yet; a backslash among them is escaped too.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(escape(bytes))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_could_deceive_is_escaped_and_backslashes_stay() {
        assert_eq!(Text::new("a\nb\\x0ac\u{202e}").as_str(), "a\\x0ab\\x0ac\\xe2\\x80\\xae");
        assert_eq!(Text::from_bytes(b"a\\b\xff").as_str(), "a\\x5cb\\xff");
    }

    proptest! {
        #[test]
        fn escaping_twice_changes_nothing(text in any::<String>()) {
            let once = Text::new(&text);
            prop_assert_eq!(&Text::new(once.as_str()), &once);
            prop_assert!(!once.as_str().chars().any(char::is_control));
        }
    }
}
