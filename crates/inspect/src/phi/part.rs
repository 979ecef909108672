//! A line, or a part of one that is too long to be looked at as a whole.

/// Bytes of a row's cell, a segment's field or an element that are looked at as one: what is longer is a
/// text, and no value. It is less than what is kept of a text that has been looked through.
pub(super) const UNIT: usize = 512;

/// A part of a line. Most lines are one part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    /// What is there, up to the end of the part: of the line at least [`UNIT`] bytes before the part.
    pub text: &'a [u8],
    /// Where the part begins.
    pub from: usize,
    /// The line ends with it.
    pub ends: bool,
    /// This year.
    pub now: u32,
}

impl<'a> Part<'a> {
    /// Without what is before it.
    pub fn line(&self) -> &'a [u8] {
        &self.text[self.from..]
    }

    /// What begins at `start`, in this part or before, and ends at `end`; nothing where it is longer
    /// than what is looked at.
    pub fn unit(&self, start: usize, end: usize) -> &'a [u8] {
        let unit = self.text.get(start..end).filter(|unit| unit.len() <= UNIT).unwrap_or_default();
        worked(unit.len());
        unit
    }
}

/// Counts bytes that were looked at, in tests.
#[cfg(not(test))]
#[inline]
pub(super) fn worked(_: usize) {}

#[cfg(test)]
pub(super) use tests::worked;

#[cfg(test)]
#[path = "hostile.rs"]
mod tests;
