//! Texts of `key: value` lines, in one form only: what certificates and proofs are written in.
//!
//! Every key stands where the form says, once or as often as it says; numbers and hashes have one
//! spelling. Whatever is read is written again and compared, so that nothing can hide in a second
//! spelling.

use data_encoding::HEXLOWER;
use drover_types::path::escape;

/// The longest value that is free text, in bytes.
const FREE_TEXT: usize = 1024;

/// Why a text is not of its form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// Longer than any is.
    #[error("it has {len} bytes, and may have {bound}")]
    TooLong {
        /// What it has.
        len: usize,
        /// What it may have.
        bound: usize,
    },
    /// Not signed text.
    #[error(transparent)]
    Text(#[from] drover_crypt::text::TextError),
    /// A line that should be there is not.
    #[error("the line `{0}:` is not where it should be")]
    Line(&'static str),
    /// A value that the key does not take.
    #[error("the value of `{0}:` is not one")]
    Value(&'static str),
    /// Lines after the last.
    #[error("it has lines after its last one")]
    Trailing,
    /// It says the right things in another spelling.
    #[error("it is not in its one spelling")]
    Spelling,
    /// Its lines contradict one another.
    #[error("it contradicts itself: {0}")]
    Contradiction(&'static str),
}

/// Writes lines.
#[derive(Debug, Default)]
pub(crate) struct Lines(String);

impl Lines {
    /// Adds a line.
    pub fn line(&mut self, key: &str, value: impl std::fmt::Display) {
        use std::fmt::Write;
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{key}: {value}");
    }

    /// Adds a line with bytes in hexadecimal.
    pub fn hex(&mut self, key: &str, bytes: &[u8]) {
        self.line(key, HEXLOWER.encode(bytes));
    }

    /// The text.
    pub fn finish(self) -> String {
        self.0
    }
}

/// Reads lines.
pub(crate) struct Fields<'t>(&'t str);

impl<'t> Fields<'t> {
    /// From the first line of `text` on.
    pub fn new(text: &'t str) -> Self {
        Self(text)
    }

    /// The value of the next line, if it has this key.
    pub fn optional(&mut self, key: &str) -> Option<&'t str> {
        let (line, rest) = self.0.split_once('\n')?;
        let value = line.strip_prefix(key)?.strip_prefix(": ")?;
        self.0 = rest;
        Some(value)
    }

    /// The value of the next line, which has this key.
    pub fn text(&mut self, key: &'static str) -> Result<&'t str, FormError> {
        self.optional(key).ok_or(FormError::Line(key))
    }

    /// The value of the next line as `read` understands it.
    pub fn value<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&'t str) -> Option<T>,
    ) -> Result<T, FormError> {
        read(self.text(key)?).ok_or(FormError::Value(key))
    }

    /// A number.
    pub fn number(&mut self, key: &'static str) -> Result<u64, FormError> {
        self.value(key, |text| text.parse().ok())
    }

    /// So many bytes.
    pub fn hex<const N: usize>(&mut self, key: &'static str) -> Result<[u8; N], FormError> {
        self.value(key, unhex)
    }

    /// Text for people: one line that can be shown as it is.
    pub fn free(&mut self, key: &'static str) -> Result<String, FormError> {
        self.value(key, |text| {
            let shown = text.len() <= FREE_TEXT && escape(text.as_bytes()) == text;
            (shown && !text.is_empty()).then(|| text.to_owned())
        })
    }

    /// Nothing may follow.
    pub fn end(self) -> Result<(), FormError> {
        if self.0.is_empty() { Ok(()) } else { Err(FormError::Trailing) }
    }
}

/// So many bytes from lower-case hexadecimal.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// Seconds since 1970 as RFC 3339 in UTC; outside of the years that it has, `@` and the number.
pub(crate) fn time(seconds: i64) -> String {
    match jiff::Timestamp::from_second(seconds) {
        Ok(time) => time.to_string(),
        Err(_) => format!("@{seconds}"),
    }
}

/// Reads what [`time`] writes.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    match text.strip_prefix('@') {
        Some(seconds) => seconds.parse().ok(),
        None => Some(text.parse::<jiff::Timestamp>().ok()?.as_second()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_in_their_order() {
        let text = "a: 1\nb: x y\nb: z\nhash: 0aff\n";
        let mut fields = Fields::new(text);
        assert_eq!(fields.number("a"), Ok(1));
        assert_eq!(fields.optional("c"), None);
        assert_eq!([fields.text("b"), fields.text("b")], [Ok("x y"), Ok("z")]);
        assert_eq!(fields.hex("hash"), Ok([0x0a, 0xff]));
        assert_eq!(fields.end(), Ok(()));
        assert_eq!(Fields::new("a 1\n").number("a"), Err(FormError::Line("a")));
        assert_eq!(Fields::new("a: 1").number("a"), Err(FormError::Line("a")), "no line feed");
        assert_eq!(Fields::new("a: x\n").number("a"), Err(FormError::Value("a")));
        assert_eq!(Fields::new("a: 0AFF\n").hex::<2>("a"), Err(FormError::Value("a")));
        assert_eq!(Fields::new("a: x\u{202e}y\n").free("a"), Err(FormError::Value("a")));
    }

    #[test]
    fn times_are_those_of_rfc_3339() {
        for seconds in [0, -1, 1_795_823_807, i64::MIN, i64::MAX] {
            assert_eq!(parse_time(&time(seconds)), Some(seconds));
        }
        assert_eq!(time(1_795_823_807), "2026-11-27T23:56:47Z");
    }
}
