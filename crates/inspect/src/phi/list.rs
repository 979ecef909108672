//! Values that follow one of their kind without a label of their own: `MRNs 4711, 4712 and 4713`.

use super::{PhiKind, free::Hit, values};

/// Characters of a value that is followed by others.
const LONGEST: usize = 24;

/// A value that others of its kind may follow. No digit and no letter of it is kept.
#[derive(Clone, Debug)]
pub(super) struct List {
    kind: PhiKind,
    /// `0` for each digit, `a` for each letter, signs as they are.
    shape: [u8; LONGEST],
    len: usize,
}

fn class(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => b'0',
        b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => b'a',
        sign => sign,
    }
}

impl List {
    /// What begins with a value.
    pub fn of(text: &[u8], hit: &Hit) -> Option<Self> {
        let value = &text[hit.start..hit.end];
        let mut shape = [0; LONGEST];
        let len = value.len();
        for (to, from) in shape.get_mut(..len)?.iter_mut().zip(value) {
            *to = class(*from);
        }
        Some(Self { kind: hit.kind?, shape, len })
    }

    /// The value that begins with the digit at `at`, where it follows the one that ended at `end`.
    pub fn next(&self, text: &[u8], end: usize, at: usize, now: u32) -> Option<Hit> {
        // Letters before the first digit are the value's, as they are the first one's.
        let lead = self.shape.iter().take(self.len).take_while(|b| **b != b'0').count();
        let start = at.checked_sub(lead).filter(|start| *start > end && *start <= end + 8)?;
        let between = &text[end..start];
        let either: [&[u8]; 5] = [b" or ", b" and ", b" & ", b" and/or ", b" into "];
        let more: [&[u8]; 5] = [b", ", b"; ", b" / ", b", and ", b", or "];
        let joined = either.contains(&between);
        let end = match self.kind {
            // A date after a comma is as often that of something else.
            PhiKind::BirthDate if joined => {
                start + values::date(text.get(start..text.len().min(start + 32))?, now)?
            }
            PhiKind::Ssn | PhiKind::RecordNumber | PhiKind::MemberId | PhiKind::Phone
                if joined || more.contains(&between) =>
            {
                let value = text.get(start..start + self.len)?;
                let same =
                    value.iter().map(|b| class(*b)).eq(self.shape[..self.len].iter().copied());
                if !same {
                    return None;
                }
                start + self.len
            }
            _ => return None,
        };
        let next = text.get(end).copied().unwrap_or(b' ');
        let goes_on = next.is_ascii_alphanumeric()
            || matches!(next, b'-' | b'/' | b':' | b'%' | b'_')
            || next == b'.' && text.get(end + 1).is_some_and(u8::is_ascii_digit);
        (!goes_on).then_some(Hit { start, end, kind: Some(self.kind) })
    }
}
