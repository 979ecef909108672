//! How much a source holds, counted beside its first pass.
//!
//! A first pass has nothing to foretell its length by, and its own walk is bounded to run a little
//! ahead only. So the source is walked once more by one thread, which opens no file. A pass of a
//! few seconds needs no time left and is not burdened with this.

use std::{convert::Infallible, time::Duration};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use drover_source::{Source, WalkEvent, WalkOptions};
use drover_types::{Basis, Kind, Observer, Total};

/// Only a pass that has taken this long is worth a count.
pub(super) const AFTER: Duration = Duration::from_secs(5);
/// Entries held between the walk and the count.
const BUFFER: usize = 1024;

/// Counts `source` once `after` has gone by, and tells `observer`. Returns early when `pass` is
/// hung up: the pass has ended.
pub(super) fn beside(
    source: &dyn Source,
    options: &WalkOptions,
    after: Duration,
    pass: &Receiver<Infallible>,
    observer: &dyn Observer,
) {
    if pass.recv_timeout(after) != Err(RecvTimeoutError::Timeout) {
        return;
    }
    let options = WalkOptions { threads: 1, buffer: BUFFER, ..options.clone() };
    // Whatever cannot be seen is the pass's to report.
    let Ok(walk) = source.walk(&options) else { return };
    let mut total = Total { entries: 0, bytes: 0, basis: Basis::Counted };
    for event in walk {
        if pass.try_recv() == Err(TryRecvError::Disconnected) {
            return;
        }
        if let WalkEvent::Entry(entry) = event {
            total.entries += u64::from(!entry.path.is_root());
            if entry.kind == Kind::File {
                total.bytes = total.bytes.saturating_add(entry.evidence.size);
            }
        }
    }
    observer.total(total);
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Mutex};

    use crossbeam_channel::bounded;
    use drover_source::LocalSource;
    use drover_types::{Counter, Exception, Phase};

    use super::*;

    #[derive(Default)]
    struct Totals(Mutex<Vec<Total>>);

    impl Observer for Totals {
        fn add(&self, _: Counter, _: u64) {}
        fn phase(&self, _: Phase) {}
        fn total(&self, total: Total) {
            self.0.lock().unwrap().push(total);
        }
        fn exception(&self, _: &Exception) {}
        fn warning(&self, _: &str) {}
    }

    fn counted(after: Duration, ended: bool) -> Vec<Total> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/a"), [1; 1000]).unwrap();
        fs::write(dir.path().join("b"), [1; 24]).unwrap();
        std::os::unix::fs::symlink("b", dir.path().join("c")).unwrap();
        let source = LocalSource::open(dir.path()).unwrap();
        let (sender, pass) = bounded(0);
        let sender = (!ended).then_some(sender);
        let totals = Totals::default();
        beside(&source, &WalkOptions::default(), after, &pass, &totals);
        drop(sender);
        totals.0.into_inner().unwrap()
    }

    #[test]
    fn entries_but_the_root_and_bytes_of_files_are_counted() {
        let expected = Total { entries: 4, bytes: 1024, basis: Basis::Counted };
        assert_eq!(counted(Duration::ZERO, false), [expected]);
    }

    #[test]
    fn a_pass_that_has_ended_is_not_counted() {
        assert_eq!(counted(Duration::from_secs(3600), true), []);
    }
}
