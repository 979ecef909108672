//! Where one phase of the work stands.

use drover_types::{Basis, Phase, Total};

use super::meter::{Counts, Meter};

/// One phase: what was counted in it, and how much there is.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    pub phase: Phase,
    pub meter: Meter,
    begun: Counts,
    now: Counts,
    total: Option<Total>,
}

impl Stage {
    /// Begins a phase at `counts`. Committing and flushing end what the phase before them did,
    /// and go on with its counts.
    pub fn begin(phase: Phase, counts: &Counts, before: Option<&Self>) -> Self {
        match before {
            Some(before) if matches!(phase, Phase::Committing | Phase::Flushing) => {
                Self { phase, total: None, meter: Meter::default(), ..*before }
            }
            _ => Self { phase, meter: Meter::default(), begun: *counts, now: *counts, total: None },
        }
    }

    /// How much there is to do is known from now on.
    pub fn set_total(&mut self, total: Total) {
        self.total = Some(total);
    }

    /// Takes what is counted at a moment, in seconds since some start.
    pub fn update(&mut self, seconds: f64, counts: &Counts) {
        self.now = *counts;
        self.meter.update(seconds, counts);
    }

    /// What was counted in this phase.
    pub fn counts(&self) -> Counts {
        self.now.since(&self.begun)
    }

    /// How much there is to do. A total that has been passed was wrong, and is not known then.
    pub fn total(&self) -> Option<Total> {
        let found = self.counts();
        self.total.filter(|total| found.entries <= total.entries && found.bytes <= total.bytes)
    }

    /// How much is done, from 0 to 1; by bytes where there are any.
    pub fn done(&self) -> Option<f64> {
        let counts = self.counts();
        let (done, total) = match self.total()? {
            Total { entries: 0, bytes: 0, .. } => return None,
            Total { entries, bytes: 0, .. } => (counts.entries_done, entries),
            Total { bytes, .. } => (counts.bytes_done, bytes),
        };
        Some((done as f64 / total as f64).clamp(0.0, 1.0))
    }

    /// Seconds left of this phase, where that can be told, and what it is told by.
    pub fn left(&self) -> Option<(f64, Basis)> {
        let total = self.total()?;
        Some((self.meter.left(&self.counts(), &total)?, total.basis))
    }
}

/// What a time left is told by: the words that people and programs read.
pub fn basis_name(basis: Basis) -> &'static str {
    match basis {
        Basis::LastPass => "last pass",
        Basis::Counted => "count of the source",
        Basis::Snapshot => "snapshot",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(n: u64) -> Counts {
        Counts {
            entries: n,
            entries_done: n,
            bytes: n * 1000,
            bytes_done: n * 1000,
            ..Default::default()
        }
    }

    fn total(entries: u64, basis: Basis) -> Total {
        Total { entries, bytes: entries * 1000, basis }
    }

    /// A phase that begins at 100 entries and does ten each second for `seconds`.
    fn stage(seconds: u32) -> Stage {
        let mut stage = Stage::begin(Phase::Syncing, &counts(100), None);
        for second in 0..=seconds {
            stage.update(second.into(), &counts(100 + 10 * u64::from(second)));
        }
        stage
    }

    #[test]
    fn a_phase_counts_from_its_beginning() {
        let mut stage = stage(10);
        assert_eq!(stage.counts(), counts(100));
        assert_eq!(stage.left(), None, "no total, no time");
        stage.set_total(total(200, Basis::LastPass));
        assert_eq!(stage.done(), Some(0.5));
        let (left, basis) = stage.left().unwrap();
        assert!((left - 10.0).abs() < 0.1, "{left}");
        assert_eq!(basis, Basis::LastPass);
    }

    #[test]
    fn an_estimate_that_was_passed_is_dropped_until_a_better_one_comes() {
        let mut stage = stage(10);
        stage.set_total(total(99, Basis::LastPass));
        assert_eq!((stage.total(), stage.done(), stage.left()), (None, None, None));
        stage.set_total(total(300, Basis::Counted));
        assert_eq!(stage.left().unwrap().1, Basis::Counted);
    }

    #[test]
    fn the_next_phase_has_no_total_and_committing_keeps_the_counts() {
        let mut syncing = stage(10);
        syncing.set_total(total(200, Basis::LastPass));
        let committing = Stage::begin(Phase::Committing, &counts(200), Some(&syncing));
        assert_eq!((committing.counts(), committing.left()), (counts(100), None));
        let next = Stage::begin(Phase::ReadingBack, &counts(200), Some(&syncing));
        assert_eq!((next.counts(), next.total()), (Counts::default(), None));
    }

    #[test]
    fn packs_alone_have_a_share_done() {
        let bytes = |bytes_done| Counts { bytes: 8, bytes_done, ..Default::default() };
        let mut stage = Stage::begin(Phase::ReadingBack, &Counts::default(), None);
        stage.set_total(Total { entries: 0, bytes: 8, basis: Basis::Snapshot });
        stage.update(0.0, &bytes(2));
        assert_eq!(stage.done(), Some(0.25));
    }
}
