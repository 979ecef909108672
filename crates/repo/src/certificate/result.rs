//! What came of one snapshot, where each of several was verified by itself.

use super::{Certificate, Method, Verdict};
use crate::form::{Fields, FormError, Lines};

/// How one of several snapshots was verified, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertifiedResult {
    /// How it was verified; never by a sample, which is drawn from the packs of all.
    pub method: Method,
    /// Whether packs of content were decrypted, where they were read back.
    pub opened: bool,
    /// What came of it.
    pub verdict: Verdict,
    /// How many problems were found.
    pub problems: u64,
    /// How many things could not be looked at.
    pub unchecked: u64,
    /// How many entries changed on a living source since.
    pub changed_since: u64,
}

impl CertifiedResult {
    pub(super) fn write(&self, lines: &mut Lines) {
        lines.line("snapshot-method", self.method.as_str());
        if self.method.reads_back() {
            lines.line("snapshot-content", if self.opened { "opened" } else { "hashed only" });
        }
        lines.line("snapshot-verdict", self.verdict.as_str());
        lines.line("snapshot-problems", self.problems);
        lines.line("snapshot-unchecked", self.unchecked);
        lines.line("snapshot-changed-since", self.changed_since);
    }

    pub(super) fn parse(fields: &mut Fields<'_>) -> Result<Self, FormError> {
        let method = fields.value("snapshot-method", Method::parse)?;
        Ok(Self {
            method,
            opened: !method.reads_back()
                || fields.value("snapshot-content", |text| match text {
                    "opened" => Some(true),
                    "hashed only" => Some(false),
                    _ => None,
                })?,
            verdict: fields.value("snapshot-verdict", Verdict::parse)?,
            problems: fields.number("snapshot-problems")?,
            unchecked: fields.number("snapshot-unchecked")?,
            changed_since: fields.number("snapshot-changed-since")?,
        })
    }

    fn is_sound(&self) -> bool {
        let claims_nothing = self.method == Method::Nothing && self.verdict == Verdict::Verified;
        Verdict::of(self.problems, self.unchecked) == self.verdict
            && self.method != Method::ReadBackSample
            && !claims_nothing
    }
}

/// Whether the whole claims no more than what came of each: all its numbers at least, and the
/// weakest of the methods at most. Its verdict is that of its numbers, and so no better than the
/// worst.
pub(super) fn fit(whole: &Certificate) -> bool {
    let results: Vec<_> = whole.snapshots.iter().filter_map(|known| known.result).collect();
    let sum = |number: fn(&CertifiedResult) -> u64| -> u128 {
        results.iter().map(|result| u128::from(number(result))).sum()
    };
    let says_opened = whole.opened && whole.method.reads_back();
    let claimed = |result: &CertifiedResult| {
        result.is_sound() && whole.method <= result.method && (result.opened || !says_opened)
    };
    results.is_empty()
        || (results.len() == whole.snapshots.len()
            && whole.sample.is_none()
            && results.iter().all(claimed)
            && u128::from(whole.problems) >= sum(|result| result.problems)
            && u128::from(whole.unchecked) >= sum(|result| result.unchecked)
            && u128::from(whole.changed_since) >= sum(|result| result.changed_since))
}
