//! SIGINT and SIGTERM: the first asks to stop in good order, the second ends at once.
//!
//! Who waits for something to do is woken by them, by SIGUSR1, and by other threads, by way of a
//! [`Bell`].

use std::{
    cell::Cell,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM, SIGUSR1, SIGXFSZ},
    flag, low_level,
};

/// The exit code of an interrupted run.
pub const EXIT: u8 = 130;

/// Has the signals set `stop`. A file that may not grow is an error of its write, and no signal's end.
pub fn install(stop: &Arc<AtomicBool>) -> io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag unset, the second finds it set.
        flag::register_conditional_shutdown(signal, i32::from(EXIT), stop.clone())?;
        flag::register(signal, stop.clone())?;
    }
    flag::register(SIGXFSZ, Arc::default())?;
    Ok(())
}

/// What a [`Ringer`] writes; signals write something else.
const RUNG: u8 = 1;

/// Wakes who waits.
pub struct Bell {
    ear: UnixStream,
    clapper: UnixStream,
    /// A signal came that nobody waited for yet.
    signalled: Cell<bool>,
}

/// Rings a [`Bell`] from another thread.
pub struct Ringer(UnixStream);

impl Bell {
    /// Rung by SIGINT, SIGTERM and SIGUSR1 from now on.
    pub fn install() -> io::Result<Self> {
        let (ear, clapper) = UnixStream::pair()?;
        // Whoever rings one that is full need not wait: it is rung.
        clapper.set_nonblocking(true)?;
        for signal in [SIGINT, SIGTERM, SIGUSR1] {
            low_level::pipe::register(signal, clapper.try_clone()?)?;
        }
        Ok(Self { ear, clapper, signalled: Cell::new(false) })
    }

    /// For another thread.
    pub fn ringer(&self) -> io::Result<Ringer> {
        self.clapper.try_clone().map(Ringer)
    }

    /// Waits until it is rung, by a signal or another thread, at most so long.
    pub fn listen(&self, longest: Option<Duration>) -> io::Result<()> {
        self.ear.set_read_timeout(longest.map(|longest| longest.max(Duration::from_millis(1))))?;
        let mut rung = [RUNG; 64];
        match (&self.ear).read(&mut rung) {
            Ok(read) => {
                if rung[..read].iter().any(|by| *by != RUNG) {
                    self.signalled.set(true);
                }
                Ok(())
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock
                | io::ErrorKind::TimedOut
                | io::ErrorKind::Interrupted => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Waits for a signal, or for one that came since the last time, at most so long.
    pub fn wait(&self, longest: Duration) -> io::Result<()> {
        let began = Instant::now();
        while !self.signalled.take() {
            match longest.checked_sub(began.elapsed()) {
                Some(left) if !left.is_zero() => self.listen(Some(left))?,
                _ => break,
            }
        }
        Ok(())
    }
}

impl Ringer {
    /// Rings it.
    pub fn ring(mut self) {
        // One that is full is rung already.
        let _ = self.0.write(&[RUNG]);
    }
}
