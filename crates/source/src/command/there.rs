//! A command on a server: a channel of an SSH connection of its own.
//!
//! A server says of a command only how it ended. What is asked for may be another: an account can be one
//! that runs a fixed program whatever it is asked to, and a shell's profile may print something of its own
//! before. So a script goes before the command that says when it begins, and that ends it once nobody
//! listens any more: a server closes the streams of a command, and lets it go on.

use std::{
    io::{self, ErrorKind, Read},
    os::fd::AsFd,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use drover_types::{lock, path::escape};
use ssh2::{Channel, Session};

use super::{BY_SIGNAL, ERRORS, Output, Patience, Said, by_code};
use crate::{
    host::{SEARCH_PATH, line},
    sftp::{SftpOptions, SshError, Wire, channel, patiently, session},
};

/// Bytes that a server may send before it hears that they were taken: at 20 ms, 400 MB/s.
const WINDOW: u32 = 8 << 20;
/// What is printed before the command's own output.
const GREETING: &[u8] = b"drover: the output follows\n";
/// What may be printed before that.
const PROFILE: usize = 64 << 10;
/// Runs its arguments without input. The channel's input ends with the connection; the server has made a
/// group of processes for the channel, of which this ends all.
const RUN: &str = r#"exec 3<&0
{ read -r end <&3; kill 0; } >/dev/null 2>&1 &
echo "drover: the output follows"
exec "$@" </dev/null 3<&-"#;

pub(super) struct Server {
    pub(super) options: SftpOptions,
    /// What both sides agreed on.
    pub(super) algorithms: String,
    /// The first connection, until it is used.
    reached: Mutex<Option<(Session, Wire)>>,
}

impl Server {
    pub(super) fn reach(options: SftpOptions) -> Result<Self, SshError> {
        let (session, wire, algorithms) = session(&options)?;
        Ok(Self { options, algorithms, reached: Mutex::new(Some((session, wire))) })
    }

    pub(super) fn run(&self, words: &[String], patience: Arc<Patience>) -> io::Result<Running> {
        // It may have been left alone so long that it is gone.
        if let Some((session, wire)) = lock(&self.reached).take()
            && let Ok(channel) = start(&session, words)
        {
            return Running::greeted(channel, session, wire, self.options.answer, patience);
        }
        let (session, wire, _) = patiently(|| session(&self.options)).map_err(io::Error::other)?;
        let channel = start(&session, words)?;
        Running::greeted(channel, session, wire, self.options.answer, patience)
    }
}

fn start(session: &Session, words: &[String]) -> io::Result<Channel> {
    let mut channel = channel(session, WINDOW)?;
    let path = format!("PATH={SEARCH_PATH}");
    let mut all = vec!["/usr/bin/env", path.as_str(), "/bin/sh", "-c", RUN, "drover"];
    all.extend(words.iter().map(String::as_str));
    channel.exec(&line(&all))?;
    session.set_blocking(false);
    Ok(channel)
}

/// The fields are dropped in this order.
pub(super) struct Running {
    channel: Channel,
    _session: Session,
    wire: Wire,
    /// What came behind the greeting.
    ahead: Vec<u8>,
    said: Said,
    patience: Arc<Patience>,
}

impl Running {
    /// Once the command begins, which has to be within `answer`.
    fn greeted(
        channel: Channel,
        session: Session,
        wire: Wire,
        answer: Duration,
        patience: Arc<Patience>,
    ) -> io::Result<Self> {
        let answer = answer.min(patience.silence);
        let (ahead, said) = (Vec::new(), Said::default());
        let mut running = Self { channel, _session: session, wire, ahead, said, patience };
        let begun = Instant::now();
        let (mut printed, mut buffer) = (Vec::new(), vec![0; 4 << 10]);
        while printed.len() < PROFILE {
            match running.more(&mut buffer, begun, answer) {
                Ok(read @ 1..) => printed.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() != ErrorKind::TimedOut => return Err(error),
                Ok(0) | Err(_) => break,
            }
            if let Some(at) = printed.windows(GREETING.len()).position(|bytes| bytes == GREETING) {
                running.ahead = printed.split_off(at + GREETING.len());
                return Ok(running);
            }
        }
        printed.truncate(200);
        printed.extend_from_slice(&running.said.0);
        Err(io::Error::other(format!(
            "the account runs something else, which says {:?}: it takes one with a shell, and without a \
             command of its own in the server's settings or beside its key",
            escape(printed.trim_ascii())
        )))
    }

    /// More of what comes; nothing once that has ended.
    fn more(&mut self, buffer: &mut [u8], begun: Instant, silence: Duration) -> io::Result<usize> {
        loop {
            // Errors that nobody takes would stay in memory.
            let mut errors = [0; ERRORS];
            let mut said = false;
            if let Some(len @ 1..) = pausing(self.channel.stderr().read(&mut errors))? {
                self.said.add(&errors[..len]);
                said = true;
            }
            match pausing(self.channel.read(buffer))? {
                Some(0) if self.channel.eof() => return Ok(0),
                Some(0) | None if said => {}
                Some(0) | None => {
                    self.patience.wait_for(&[self.wire.as_fd()], begun, silence)?;
                }
                Some(read) => return Ok(read),
            }
        }
    }
}

/// `None` where there is nothing for the moment.
fn pausing<T>(answer: io::Result<T>) -> io::Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("the connection broke: {error}"))),
    }
}

impl Output for Running {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.ahead.is_empty() {
            let len = self.ahead.len().min(buffer.len());
            buffer[..len].copy_from_slice(&self.ahead[..len]);
            self.ahead.drain(..len);
            return Ok(len);
        }
        self.more(buffer, Instant::now(), self.patience.silence)
    }

    fn end(&mut self) -> io::Result<Option<String>> {
        let begun = Instant::now();
        while pausing(self.channel.wait_close().map_err(Into::into))?.is_none() {
            self.patience.wait(&[self.wire.as_fd()], begun)?;
        }
        let signalled = self.channel.exit_signal().is_ok_and(|signal| signal.exit_signal.is_some());
        Ok(match self.channel.exit_status()? {
            _ if signalled => Some(BY_SIGNAL.to_owned()),
            code => by_code(code),
        })
    }

    fn said(&self) -> &Said {
        &self.said
    }
}

impl Drop for Running {
    /// Says nothing more to the server, which might not listen.
    fn drop(&mut self) {
        self.wire.cut();
    }
}
