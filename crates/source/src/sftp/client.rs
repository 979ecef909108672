//! SFTP on a channel: many requests are under way at a time, and none waits for another's answer.
//!
//! A round trip is dear, and most of what is asked does not depend on the answer before: the blocks of
//! a file, the files of a batch, the answers of a listing. libssh2's own SFTP asks one thing at a time,
//! so that this stands in its place, on a channel of libssh2's.
//!
//! Requests are numbered, gathered, and sent when an answer is waited for. Whoever asks keeps what is
//! under way small ([`BLOCK`], [`AHEAD`]): requests have to fit into the buffers on the way, for nobody
//! reads answers while they are sent.

use std::{
    collections::HashMap,
    fmt,
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use ssh2::{Channel, ExtendedData, Session};

use super::packet::{Answer, FileAttributes, LONGEST, Name, Request};

/// Bytes that a server may send before it hears that they were taken: more than is asked for at a time.
const WINDOW: u32 = 12 << 20;
/// The largest packet of SSH that every implementation takes.
const PACKET: u32 = 32 << 10;
/// Bytes of a file that are asked for by one request: what every server gives.
pub(crate) const BLOCK: usize = 32 << 10;
/// Bytes of small files that are under way at a time.
pub(crate) const AHEAD: usize = 4 << 20;
/// The longest handle, by the protocol.
const HANDLE: usize = 256;

/// A channel that speaks SFTP.
pub(crate) struct Sftp {
    channel: Channel,
    /// How long an answer may take.
    patience: Duration,
    /// The number of the next request.
    next: u32,
    /// Requests that were not sent yet.
    out: Vec<u8>,
    /// What came: `taken..filled` was not looked at yet.
    input: Box<[u8]>,
    taken: usize,
    filled: usize,
    under_way: HashMap<u32, State>,
    /// It does not answer, or not to what it is asked.
    broken: bool,
}

enum State {
    Awaited,
    /// Nobody wants the answer any more.
    Forgotten,
    Here(Answer),
}

/// A request that is under way: to be answered or forgotten.
#[derive(Debug)]
#[must_use]
pub(crate) struct Ticket(u32);

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It says nothing about what was asked for, but that the connection is of no use.
    Broken(io::Error),
    /// What the server says of what was asked for.
    Status { code: u32, message: Vec<u8> },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(error) => error.fmt(f),
            Self::Status { code, message } if message.is_empty() => write!(f, "status {code}"),
            Self::Status { message, .. } => {
                f.write_str(&drover_types::path::escape(&message[..message.len().min(200)]))
            }
        }
    }
}

/// An answer that is none to what was asked.
pub(crate) fn nonsense() -> Failure {
    Failure::Broken(io::Error::new(io::ErrorKind::InvalidData, "the server answers nonsense"))
}

/// A new channel, on which a server may send so many bytes before it hears that they were taken.
pub(crate) fn channel(session: &Session, window: u32) -> Result<Channel, ssh2::Error> {
    session.channel_open("session", window, PACKET, None)
}

impl Sftp {
    /// Starts SFTP on a new channel.
    pub(crate) fn open(session: &Session, patience: Duration) -> io::Result<Self> {
        let mut channel = channel(session, WINDOW)?;
        channel.handle_extended_data(ExtendedData::Ignore)?;
        channel.subsystem("sftp")?;
        let mut sftp = Self {
            channel,
            patience,
            next: 0,
            out: Vec::new(),
            input: vec![0; 4 + LONGEST].into(),
            taken: 0,
            filled: 0,
            under_way: HashMap::new(),
            broken: false,
        };
        Request::Init.write(0, &mut sftp.out);
        sftp.flush()?;
        match sftp.packet()? {
            (_, Answer::Version(_)) => Ok(sftp),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it does not speak SFTP")),
        }
    }

    /// Asks something; it is sent once an answer is waited for.
    pub(crate) fn ask(&mut self, request: Request<'_>) -> Ticket {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        request.write(number, &mut self.out);
        self.under_way.insert(number, State::Awaited);
        Ticket(number)
    }

    /// Sends what was asked.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        // The channel is not flushed: libssh2 sends at once, and its flush throws away what came.
        let sent = self.channel.write_all(&self.out);
        self.out.clear();
        self.broken |= sent.is_err();
        sent
    }

    /// The answer, if it is none that says that something went wrong.
    pub(crate) fn answer(&mut self, ticket: Ticket) -> Result<Answer, Failure> {
        let answer = self.wait(&ticket).map_err(|error| {
            self.broken = true;
            Failure::Broken(error)
        })?;
        match answer {
            // No connection, connection lost.
            Answer::Status { code: 6 | 7, message } => Err(Failure::Broken(io::Error::other(
                format!("the server says: {}", Failure::Status { code: 7, message }),
            ))),
            Answer::Status { code, message } if code != 0 => Err(Failure::Status { code, message }),
            answer => Ok(answer),
        }
    }

    /// Lets go of an answer that nobody wants any more.
    pub(crate) fn forget(&mut self, ticket: Ticket) {
        if let Some(state) = self.under_way.get_mut(&ticket.0) {
            match state {
                State::Here(_) => drop(self.under_way.remove(&ticket.0)),
                state => *state = State::Forgotten,
            }
        }
    }

    /// Ends the use of a handle, without waiting for it.
    pub(crate) fn close(&mut self, handle: &[u8]) {
        let ticket = self.ask(Request::Close(handle));
        self.forget(ticket);
    }

    /// The handle of what was opened.
    pub(crate) fn handle(&mut self, ticket: Ticket) -> Result<Vec<u8>, Failure> {
        match self.answer(ticket)? {
            Answer::Handle(handle) if handle.len() <= HANDLE => Ok(handle),
            _ => Err(nonsense()),
        }
    }

    /// Attributes that were asked for.
    pub(crate) fn attributes(&mut self, ticket: Ticket) -> Result<FileAttributes, Failure> {
        match self.answer(ticket)? {
            Answer::Attributes(attributes) => Ok(attributes),
            _ => Err(nonsense()),
        }
    }

    /// Bytes of a file, at least one and at most as many as were asked for; `None` at its end.
    pub(crate) fn data(&mut self, ticket: Ticket, len: usize) -> Result<Option<Vec<u8>>, Failure> {
        match self.answer(ticket) {
            Ok(Answer::Data(data)) if (1..=len).contains(&data.len()) => Ok(Some(data)),
            Ok(_) => Err(nonsense()),
            Err(failure) => failure.or_end(),
        }
    }

    /// Names of a directory, at least one; `None` after the last.
    pub(crate) fn names(&mut self, ticket: Ticket) -> Result<Option<Vec<Name>>, Failure> {
        match self.answer(ticket) {
            Ok(Answer::Names(names)) if !names.is_empty() => Ok(Some(names)),
            Ok(_) => Err(nonsense()),
            Err(failure) => failure.or_end(),
        }
    }

    /// The one name that answers to [`Request::ReadLink`] and [`Request::RealPath`].
    pub(crate) fn name(&mut self, ticket: Ticket) -> Result<Vec<u8>, Failure> {
        match self.answer(ticket)? {
            Answer::Names(mut names) if names.len() == 1 => Ok(names.remove(0).name),
            _ => Err(nonsense()),
        }
    }

    fn wait(&mut self, ticket: &Ticket) -> io::Result<Answer> {
        let unasked = || io::Error::other("the server answers what it was not asked");
        if self.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.flush()?;
        loop {
            if let Some(State::Here(_)) = self.under_way.get(&ticket.0)
                && let Some(State::Here(answer)) = self.under_way.remove(&ticket.0)
            {
                return Ok(answer);
            }
            let (number, answer) = self.packet()?;
            match self.under_way.get_mut(&number).ok_or_else(unasked)? {
                State::Forgotten => drop(self.under_way.remove(&number)),
                state @ State::Awaited => *state = State::Here(answer),
                State::Here(_) => return Err(unasked()),
            }
        }
    }

    /// The next packet.
    fn packet(&mut self) -> io::Result<(u32, Answer)> {
        let nonsense = || io::Error::new(io::ErrorKind::InvalidData, "the server sends nonsense");
        let begun = Instant::now();
        loop {
            let here = &self.input[self.taken..self.filled];
            if let Some((len, rest)) = here.split_first_chunk::<4>() {
                let len = u32::from_be_bytes(*len) as usize;
                if len > LONGEST {
                    return Err(nonsense());
                }
                if let Some(packet) = rest.get(..len) {
                    let answer = Answer::decode(packet).ok_or_else(nonsense);
                    self.taken += 4 + len;
                    return answer;
                }
            }
            self.input.copy_within(self.taken..self.filled, 0);
            self.filled -= self.taken;
            self.taken = 0;
            // Each read has an end of its own; one that always brings a little is no answer either.
            if begun.elapsed() > self.patience {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match self.channel.read(&mut self.input[self.filled..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.filled += read,
            }
        }
    }
}

impl Failure {
    /// `None` where it says that there is nothing more.
    fn or_end<T>(self) -> Result<Option<T>, Self> {
        match self {
            Self::Status { code: 1, .. } => Ok(None),
            failure => Err(failure),
        }
    }
}
