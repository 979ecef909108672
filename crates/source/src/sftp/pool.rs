//! Connections to one server, each used by one thread at a time.
//!
//! A session has one cipher, which one core does at a time, so that what is to run side by side takes
//! sessions of its own.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    SftpOptions, answers::Tells, client::Sftp, connect::Connection, error::SshError, shell::Shell,
};
use crate::pool;

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
    connections: Arc<pool::Pool<Connection>>,
    /// What the shell of the first connection tells; `None` where it has none.
    tells: Option<Tells>,
}

/// A connection that goes back into the pool when it is dropped, unless it was given up.
pub(super) struct Lease(pool::Lease<Connection>);

impl Pool {
    /// A pool with its first connection, which shows that the server lets us in.
    pub(super) fn open(options: SftpOptions) -> Result<(Arc<Self>, String), SshError> {
        let connection = Connection::open(&options)?;
        let algorithms = connection.algorithms.clone();
        let tells = connection.shell.as_ref().map(|shell| shell.tells);
        // Nobody waits again for a shell that is not there.
        let options = SftpOptions { shell: tells.is_some(), ..options };
        let connections = pool::Pool::new(connection, SESSIONS);
        Ok((Arc::new(Self { options, connections, tells }), algorithms))
    }

    /// What a shell tells besides SFTP, where the account has one.
    pub(super) fn tells(&self) -> Option<Tells> {
        self.tells
    }

    /// A connection; waits for one where all are in use. Nobody takes two at a time, so that
    /// there is always one that comes back.
    pub(super) fn take(&self) -> Result<Lease, SshError> {
        let make = || patiently(|| Connection::open(&self.options));
        let gone = |why: &str| SshError::Connect {
            host: self.options.place(),
            source: io::Error::other(why.to_owned()),
        };
        self.connections.take(make, gone).map(Lease)
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
    /// What speaks SFTP on the connection.
    pub(super) fn sftp(&mut self) -> &mut Sftp {
        &mut self.0.get().sftp
    }

    /// The same, unless the connection was given up.
    pub(super) fn left(&mut self) -> Option<&mut Sftp> {
        self.0.left().map(|connection| &mut connection.sftp)
    }

    /// What speaks SFTP, and the shell.
    pub(super) fn both(&mut self) -> (&mut Sftp, Option<&mut Shell>) {
        let connection = self.0.get();
        (&mut connection.sftp, connection.shell.as_mut())
    }

    /// The connection's shell, where it has one.
    pub(super) fn shell(&mut self) -> Option<&mut Shell> {
        self.0.get().shell.as_mut()
    }

    /// Gives a connection up that failed: it is cut, so that nothing on it waits any more, and
    /// none goes back. Those that idle are made anew.
    pub(super) fn give_up(&mut self) {
        self.0.give_up_all().iter().for_each(Connection::cut);
    }
}
