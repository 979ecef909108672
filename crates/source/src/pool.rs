//! What is dear to make and used by one thread at a time, such as a connection: kept for whoever comes
//! next, and made anew where all are in use.

use std::{fmt::Display, sync::PoisonError};

use crate::sync::{Arc, Condvar, Mutex, lock};

/// So many are made at a time. Servers refuse many that have not logged in yet: OpenSSH, where nothing else
/// is set, begins to at ten (`MaxStartups`).
pub(crate) const MAKING: usize = 4;

/// Keeps what nobody uses. At most a fixed number is in use at a time.
pub(crate) struct Pool<C> {
    most: usize,
    state: Mutex<State<C>>,
    /// Something was given back or made.
    free: Condvar,
}

struct State<C> {
    idle: Vec<C>,
    /// In use or being made.
    busy: usize,
    /// Being made.
    making: usize,
    /// Why none can be made any more: nobody waits for it once more.
    gone: Option<String>,
}

/// One of them, which goes back when this is dropped, unless it was given up.
pub(crate) struct Lease<C> {
    pool: Arc<Pool<C>>,
    content: Option<C>,
}

impl<C> Pool<C> {
    /// With the first one.
    pub(crate) fn new(first: C, most: usize) -> Arc<Self> {
        let state = State { idle: vec![first], busy: 0, making: 0, gone: None };
        Arc::new(Self { most, state: Mutex::new(state), free: Condvar::new() })
    }

    /// One that nobody uses, or what `make` makes; waits where all are in use, or [`MAKING`] are being made.
    /// `gone` says why there is none, once one could not be made.
    pub(crate) fn take<E: Display>(
        self: &Arc<Self>,
        make: impl FnOnce() -> Result<C, E>,
        gone: impl Fn(&str) -> E,
    ) -> Result<Lease<C>, E> {
        let mut state = lock(&self.state);
        loop {
            if let Some(why) = &state.gone {
                return Err(gone(why));
            }
            if let Some(content) = state.idle.pop() {
                state.busy += 1;
                return Ok(Lease { pool: self.clone(), content: Some(content) });
            }
            if state.busy < self.most && state.making < MAKING {
                break;
            }
            // Whichever is sooner: one that is given back, or this one's turn to make one.
            state = self.free.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.busy += 1;
        state.making += 1;
        drop(state);
        let made = make();
        let mut state = lock(&self.state);
        state.making -= 1;
        self.free.notify_all();
        match made {
            Ok(content) => Ok(Lease { pool: self.clone(), content: Some(content) }),
            Err(error) => {
                state.busy -= 1;
                state.gone.get_or_insert_with(|| error.to_string());
                Err(error)
            }
        }
    }
}

impl<C> Lease<C> {
    /// What was leased. Nothing may be asked of what was given up.
    pub(crate) fn get(&mut self) -> &mut C {
        self.content.as_mut().expect("nothing is asked of what was given up")
    }

    /// The same, unless it was given up.
    pub(crate) fn left(&mut self) -> Option<&mut C> {
        self.content.as_mut()
    }

    /// Takes out what is of no use any more; it does not go back.
    pub(crate) fn give_up(&mut self) -> Option<C> {
        let content = self.content.take()?;
        lock(&self.pool.state).busy -= 1;
        self.pool.free.notify_one();
        Some(content)
    }

    /// The same, and those that idle, which have most likely met the same end.
    pub(crate) fn give_up_all(&mut self) -> Vec<C> {
        let Some(content) = self.give_up() else { return Vec::new() };
        let mut all = std::mem::take(&mut lock(&self.pool.state).idle);
        all.push(content);
        all
    }
}

impl<C> Drop for Lease<C> {
    fn drop(&mut self) {
        let Some(content) = self.content.take() else { return };
        let mut state = lock(&self.pool.state);
        state.busy -= 1;
        state.idle.push(content);
        drop(state);
        self.pool.free.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_used_again() {
        let pool = Pool::new(1, 2);
        let make = |value: u32| move || Ok::<u32, String>(value);
        let gone = |why: &str| why.to_owned();
        let mut first = pool.take(make(7), gone).unwrap();
        let mut second = pool.take(make(2), gone).unwrap();
        assert_eq!((*first.get(), *second.get()), (1, 2));
        // All are in use: whoever comes next waits for one of them.
        let waiting = pool.clone();
        let waiter = std::thread::spawn(move || *waiting.take(make(9), gone).unwrap().get());
        drop(first);
        assert_eq!(waiter.join().unwrap(), 1);
        assert_eq!(second.give_up_all(), [1, 2]);
        assert_eq!(second.give_up(), None);
        assert_eq!(*pool.take(make(3), gone).unwrap().get(), 3);
    }

    #[test]
    fn several_are_made_at_a_time() {
        let pool = Pool::new(0, 8);
        let gone = |why: &str| why.to_owned();
        let _first = pool.take(|| Ok::<_, String>(1), gone).unwrap();
        let begun = std::time::Instant::now();
        let making = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let takers = [(); MAKING].map(|()| {
            let (pool, making) = (pool.clone(), making.clone());
            std::thread::spawn(move || {
                let make = || {
                    making.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    while making.load(std::sync::atomic::Ordering::SeqCst) < MAKING {
                        assert!(begun.elapsed().as_secs() < 60, "they wait for each other");
                        std::thread::park_timeout(std::time::Duration::from_millis(1));
                    }
                    Ok::<_, String>(2)
                };
                pool.take(make, gone).map(|_| ()).unwrap();
            })
        });
        takers.into_iter().for_each(|taker| taker.join().unwrap());
    }

    #[test]
    fn nobody_waits_for_what_is_gone() {
        let pool = Pool::new(1, 4);
        let gone = |why: &str| format!("gone: {why}");
        let mut first = pool.take(|| Ok(5), gone).unwrap();
        first.give_up();
        let failed = pool.take(|| Err("no answer".to_owned()), gone).err().unwrap();
        assert_eq!(failed, "no answer");
        let again = pool.take(|| panic!("nobody asks again"), gone).err().unwrap();
        assert_eq!(again, "gone: no answer");
    }
}
