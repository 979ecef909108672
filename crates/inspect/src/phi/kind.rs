//! The kinds of patients' data, their counts, and the shapes that stand for values.

use std::fmt;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PhiKind {
    /// A social security number of the United States.
    Ssn,
    /// A telephone or fax number.
    Phone,
    /// A day somebody was born on.
    BirthDate,
    /// The number of a medical record, chart or patient.
    RecordNumber,
    /// An e-mail address.
    Email,
    /// The number of a member or beneficiary of a health plan.
    MemberId,
    /// The number of a payment card.
    PaymentCard,
}

/// How many kinds there are.
pub(crate) const KINDS: usize = 7;

impl PhiKind {
    /// All of them, in the order of their codes.
    pub const ALL: [PhiKind; KINDS] = [
        PhiKind::Ssn,
        PhiKind::Phone,
        PhiKind::BirthDate,
        PhiKind::RecordNumber,
        PhiKind::Email,
        PhiKind::MemberId,
        PhiKind::PaymentCard,
    ];

    /// The word that JSON and people read.
    pub fn as_str(self) -> &'static str {
        match self {
            PhiKind::Ssn => "ssn",
            PhiKind::Phone => "phone",
            PhiKind::BirthDate => "birth-date",
            PhiKind::RecordNumber => "record-number",
            PhiKind::Email => "email",
            PhiKind::MemberId => "member-id",
            PhiKind::PaymentCard => "payment-card",
        }
    }
}

impl fmt::Display for PhiKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The shape of a value: `d` for each digit, `a` for each run of letters, separators as they stand.
/// No character that could identify somebody is kept, nor how many letters a name has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape(String);

/// Characters of a shape.
const LONGEST: usize = 32;

impl Shape {
    /// Of a value as it stands in a text.
    pub fn of(value: &[u8]) -> Self {
        let mut shape = String::new();
        for &byte in value {
            let sign = match byte {
                b'0'..=b'9' => 'd',
                b' ' | b'-' | b'.' | b'/' | b'(' | b')' | b'+' | b'@' => char::from(byte),
                _ if shape.ends_with('a') => continue,
                _ => 'a',
            };
            shape.push(sign);
            if shape.len() == LONGEST {
                break;
            }
        }
        Self(shape)
    }

    /// The shape as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What was found of each kind, and the shape of the first value of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PhiCounts {
    counts: [u64; KINDS],
    shapes: [Option<Shape>; KINDS],
}

impl PhiCounts {
    /// Values of this kind.
    pub fn of(&self, kind: PhiKind) -> u64 {
        self.counts[kind as usize]
    }

    /// The shape of the first value of this kind.
    pub fn shape(&self, kind: PhiKind) -> Option<&Shape> {
        self.shapes[kind as usize].as_ref()
    }

    /// Values of all kinds.
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, &count| sum.saturating_add(count))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|&count| count == 0)
    }

    /// Counts one value.
    pub(crate) fn add(&mut self, kind: PhiKind, value: &[u8]) {
        self.counts[kind as usize] = self.counts[kind as usize].saturating_add(1);
        self.shapes[kind as usize].get_or_insert_with(|| Shape::of(value));
    }

    /// Adds what was found elsewhere.
    pub(crate) fn merge(&mut self, other: &Self) {
        for kind in 0..KINDS {
            self.counts[kind] = self.counts[kind].saturating_add(other.counts[kind]);
            if self.shapes[kind].is_none() {
                self.shapes[kind].clone_from(&other.shapes[kind]);
            }
        }
    }

    /// Counts one value whose form is known without it.
    pub(crate) fn add_shaped(&mut self, kind: PhiKind, shape: &str) {
        self.counts[kind as usize] = self.counts[kind as usize].saturating_add(1);
        self.shapes[kind as usize].get_or_insert_with(|| Shape(shape.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_keeps_nothing() {
        assert_eq!(Shape::of(b"123-45-6789").as_str(), "ddd-dd-dddd");
        assert_eq!(Shape::of(b"john.doe@clinic.example").as_str(), "a.a@a.a");
        assert_eq!(Shape::of("geb. 3. März 1980".as_bytes()).as_str(), "a. d. a dddd");
        assert_eq!(Shape::of(&[b'7'; 100]).as_str().len(), 32);
        assert_eq!(Shape::of(b"<b>\x1b").as_str(), "a");
    }
}
