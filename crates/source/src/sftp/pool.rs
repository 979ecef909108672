//! Connections to one server, each used by one thread at a time.
//!
//! libssh2 does one thing at a time on a session, so that what is to run side by side takes
//! sessions of its own. They are made one after the other: servers refuse many that have not
//! logged in yet (`MaxStartups`).

use std::{
    io,
    ops::Deref,
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use drover_types::lock;

use super::{
    SftpOptions,
    connect::Connection,
    error::SshError,
    shell::{Shell, Tells},
};

/// At most this many connections at a time.
pub(super) const SESSIONS: usize = 8;
/// The waits between attempts to reach a server again.
const BACKOFF: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_millis(1_600),
    Duration::from_secs(5),
    Duration::from_secs(15),
];

pub(super) struct Pool {
    pub(super) options: SftpOptions,
    state: Mutex<State>,
    /// Something was given back.
    free: Condvar,
    /// Held while a connection is made.
    making: Mutex<()>,
    /// What the shell of the first connection tells; `None` where it has none.
    tells: Option<Tells>,
}

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    /// In use or being made.
    busy: usize,
    /// Why the server could not be reached again: nobody waits for it once more.
    gone: Option<String>,
}

/// A connection that goes back into the pool when it is dropped, unless it was given up.
pub(super) struct Lease {
    pool: Arc<Pool>,
    connection: Option<Connection>,
}

impl Pool {
    /// A pool with its first connection, which shows that the server lets us in.
    pub(super) fn open(options: SftpOptions) -> Result<(Arc<Self>, String), SshError> {
        let connection = Connection::open(&options)?;
        let algorithms = connection.algorithms.clone();
        let tells = connection.shell.as_ref().map(|shell| shell.tells);
        // Nobody waits again for a shell that is not there.
        let options = SftpOptions { shell: tells.is_some(), ..options };
        let state = Mutex::new(State { idle: vec![connection], ..State::default() });
        let pool = Self { options, state, free: Condvar::new(), making: Mutex::new(()), tells };
        Ok((Arc::new(pool), algorithms))
    }

    /// What a shell tells besides SFTP, where the account has one.
    pub(super) fn tells(&self) -> Option<Tells> {
        self.tells
    }

    /// A connection; waits for one where all are in use. Nobody takes two at a time, so that
    /// there is always one that comes back.
    pub(super) fn take(self: &Arc<Self>) -> Result<Lease, SshError> {
        let mut state = lock(&self.state);
        loop {
            if let Some(why) = &state.gone {
                return Err(self.gone(why));
            }
            if let Some(connection) = state.idle.pop() {
                state.busy += 1;
                return Ok(Lease { pool: self.clone(), connection: Some(connection) });
            }
            if state.busy < SESSIONS {
                break;
            }
            state = self.free.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        state.busy += 1;
        drop(state);
        match self.make() {
            Ok(connection) => Ok(Lease { pool: self.clone(), connection: Some(connection) }),
            Err(error) => {
                let mut state = lock(&self.state);
                state.busy -= 1;
                state.gone.get_or_insert_with(|| error.to_string());
                self.free.notify_all();
                Err(error)
            }
        }
    }

    fn gone(&self, why: &str) -> SshError {
        SshError::Connect { host: self.options.place(), source: io::Error::other(why.to_owned()) }
    }

    fn make(&self) -> Result<Connection, SshError> {
        let _making = lock(&self.making);
        if let Some(why) = &lock(&self.state).gone {
            return Err(self.gone(why));
        }
        patiently(|| Connection::open(&self.options))
    }
}

/// Tries again for a while where a server does not answer: one that has too much to do, or is being
/// restarted, hangs up as well.
pub(crate) fn patiently<T>(mut open: impl FnMut() -> Result<T, SshError>) -> Result<T, SshError> {
    let mut waits = BACKOFF.iter();
    loop {
        match open() {
            Err(SshError::Connect { .. } | SshError::Handshake { .. })
                if let Some(wait) = waits.next() =>
            {
                pause(*wait);
            }
            answer => return answer,
        }
    }
}

/// Waits without being woken by chance.
fn pause(wait: Duration) {
    let end = Instant::now() + wait;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|l| !l.is_zero()) {
        thread::park_timeout(left);
    }
}

impl Lease {
    /// The connection's shell, where it has one.
    pub(super) fn shell(&mut self) -> Option<&mut Shell> {
        self.connection.as_mut()?.shell.as_mut()
    }

    /// Gives a connection up that failed: it is cut, so that nothing on it waits any more, and
    /// none goes back. Those that idle have most likely met the same end, and are made anew.
    pub(super) fn give_up(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        connection.cut();
        let mut state = lock(&self.pool.state);
        state.busy -= 1;
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        self.pool.free.notify_one();
        idle.iter().for_each(Connection::cut);
    }
}

impl Deref for Lease {
    type Target = ssh2::Sftp;

    fn deref(&self) -> &ssh2::Sftp {
        &self.connection.as_ref().expect("nothing is asked on what was given up").sftp
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let mut state = lock(&self.pool.state);
        state.busy -= 1;
        state.idle.push(connection);
        drop(state);
        self.pool.free.notify_one();
    }
}
