//! Sources of several machines at a time: those of one machine take turns, and others do not wait for
//! them.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::Builder,
};

use drover_types::{Basis, Counter, Exception, Observer, Phase, Total, lock};

use crate::source::Origin;

/// Of how many machines sources are taken at a time, where nobody says.
pub const MACHINES: usize = 4;

/// Does `work` for each of `sources`, by their numbers, on `threads` machines at a time; what it gives
/// comes in the order of the sources. Where it gives `None`, no further source is begun.
pub fn each<T: Send>(
    sources: &[&Origin],
    threads: usize,
    work: impl Fn(usize) -> Option<T> + Sync,
) -> Vec<Option<T>> {
    let machines = machines(sources);
    let done: Vec<Mutex<Option<T>>> = sources.iter().map(|_| Mutex::default()).collect();
    let next = AtomicUsize::new(0);
    let turns = || {
        while let Some(machine) = machines.get(next.fetch_add(1, Ordering::SeqCst)) {
            for &source in machine {
                let result = work(source);
                let ends = result.is_none();
                *lock(&done[source]) = result;
                if ends {
                    next.store(machines.len(), Ordering::SeqCst);
                    return;
                }
            }
        }
    };
    match threads.min(machines.len()) {
        0 | 1 => turns(),
        // This thread is one of them; where the system gives fewer, those have more turns.
        threads => std::thread::scope(|scope| {
            for _ in 1..threads {
                if Builder::new().spawn_scoped(scope, turns).is_err() {
                    break;
                }
            }
            turns();
        }),
    }
    let taken = |one: Mutex<Option<T>>| one.into_inner().unwrap_or_else(|e| e.into_inner());
    done.into_iter().map(taken).collect()
}

/// The sources of each machine, in the order in which the machines come.
fn machines(sources: &[&Origin]) -> Vec<Vec<usize>> {
    let mut machines: Vec<(Option<String>, Vec<usize>)> = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        let name = source.machine();
        match machines.iter_mut().find(|(known, _)| *known == name) {
            Some((_, numbers)) => numbers.push(number),
            None => machines.push((name, vec![number])),
        }
    }
    machines.into_iter().map(|(_, numbers)| numbers).collect()
}

/// What several passes at a time report, as one.
pub struct Together<'o> {
    inner: &'o dyn Observer,
    state: Mutex<State>,
}

struct State {
    /// One of them has said what it does.
    begun: bool,
    totals: Vec<Option<Total>>,
}

/// One of them.
pub struct OneOf<'t, 'o> {
    together: &'t Together<'o>,
    number: usize,
}

impl<'o> Together<'o> {
    /// Of `count` passes.
    pub fn new(inner: &'o dyn Observer, count: usize) -> Self {
        Self { inner, state: Mutex::new(State { begun: false, totals: vec![None; count] }) }
    }

    /// The observer of the pass with this number.
    pub fn one(&self, number: usize) -> OneOf<'_, 'o> {
        OneOf { together: self, number }
    }
}

impl Observer for OneOf<'_, '_> {
    fn add(&self, counter: Counter, amount: u64) {
        self.together.inner.add(counter, amount);
    }

    /// Passes are in different phases: what is shown is that they are under way.
    fn phase(&self, phase: Phase) {
        let begun = std::mem::replace(&mut lock(&self.together.state).begun, true);
        if !begun {
            self.together.inner.phase(phase);
        }
    }

    /// Known once it is known of all; as good as the worst of them.
    fn total(&self, total: Total) {
        let mut state = lock(&self.together.state);
        state.totals[self.number] = Some(total);
        let all = state.totals.iter().copied().collect::<Option<Vec<_>>>();
        drop(state);
        let Some(all) = all else { return };
        let is_estimate = all.iter().any(|total| total.basis == Basis::LastPass);
        self.together.inner.total(Total {
            entries: all.iter().map(|total| total.entries).sum(),
            bytes: all.iter().fold(0, |sum, total| sum.saturating_add(total.bytes)),
            basis: if is_estimate { Basis::LastPass } else { Basis::Counted },
        });
    }

    fn exception(&self, exception: &Exception) {
        self.together.inner.exception(exception);
    }

    fn warning(&self, message: &str) {
        self.together.inner.warning(message);
    }
}

#[cfg(test)]
mod tests {
    use drover_plan::Location;

    use super::*;
    use crate::source::SshArgs;

    fn origin(url: &str) -> Origin {
        let location = Location::parse(url, std::path::Path::new("/")).unwrap();
        Origin::new(&location, &SshArgs::default(), None).unwrap()
    }

    #[test]
    fn those_of_one_machine_take_turns() {
        let urls = ["/a", "sftp://u@one/a", "/b", "sftp://u@two/a", "sftp://v@one/b"];
        let origins = urls.map(origin);
        let origins: Vec<&Origin> = origins.iter().collect();
        assert_eq!(machines(&origins), [vec![0, 2], vec![1, 4], vec![3]]);
        let running: Mutex<Vec<Option<String>>> = Mutex::default();
        for threads in 1..5 {
            let done = each(&origins, threads, |number| {
                let machine = origins[number].machine();
                {
                    let mut running = lock(&running);
                    assert!(!running.contains(&machine) && running.len() < threads);
                    running.push(machine.clone());
                }
                std::thread::yield_now();
                lock(&running).retain(|one| *one != machine);
                Some(number)
            });
            assert_eq!(done, [0, 1, 2, 3, 4].map(Some));
        }
        // Whoever is interrupted begins nothing any more.
        let done = each(&origins, 1, |number| (number != 2).then_some(number));
        assert_eq!(done, [Some(0), None, None, None, None]);
    }
}
