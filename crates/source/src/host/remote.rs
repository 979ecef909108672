//! A machine that is reached over SSH: commands by exec channels, files by SFTP.
//!
//! The account's shell sees one line of words that are each quoted. `env` gives the command the same
//! environment as everywhere, and `timeout`, where the host has it, ends it there too: closing the
//! channel does not.

use std::{
    cell::{OnceCell, RefCell, RefMut},
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{Channel, ErrorCode, Session};

use super::{
    CommandOutput, FileContent, Host, HostCommand, HostError, HostStream, LONGEST_LISTING, Listed,
    ListedKind, Part, SEARCH_PATH,
};
use crate::sftp::{
    BLOCK, Failure, Sftp, SftpOptions, SshError, Wire, answered,
    packet::{DIRECTORY, FILE, LINK, Request},
    session,
};

/// How long a server may take to answer a question about a file or a channel.
const ANSWER: Duration = Duration::from_secs(30);

/// Another machine, as an account of it.
pub struct SshHost {
    place: String,
    user: String,
    session: Session,
    wire: Wire,
    algorithms: String,
    sftp: OnceCell<Option<RefCell<Sftp>>>,
    /// Whether `timeout` is there to be put before commands.
    has_timeout: OnceCell<bool>,
}

impl SshHost {
    /// Connects, checks the host's key, and lets the host check the account.
    pub fn open(options: &SftpOptions) -> Result<Self, SshError> {
        let (session, wire, algorithms) = session(options)?;
        Ok(Self {
            place: options.place(),
            user: options.user.clone(),
            session,
            wire,
            algorithms,
            sftp: OnceCell::new(),
            has_timeout: OnceCell::new(),
        })
    }

    /// What both sides agreed on: key exchange, host key, cipher, message authentication.
    pub fn algorithms(&self) -> &str {
        &self.algorithms
    }

    fn sftp(&self) -> Result<RefMut<'_, Sftp>, HostError> {
        self.answer_within(ANSWER);
        let open = || Sftp::open(&self.session, ANSWER).ok().map(RefCell::new);
        let sftp = self.sftp.get_or_init(open).as_ref();
        Ok(sftp.ok_or(HostError::Unsuitable("the server offers no SFTP"))?.borrow_mut())
    }

    fn answer_within(&self, time: Duration) {
        self.session.set_blocking(true);
        self.session.set_timeout(u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1));
    }

    /// Whether the host can end commands by itself.
    fn has_timeout(&self) -> bool {
        *self.has_timeout.get_or_init(|| {
            let words = ["timeout", "-s", "KILL", "5", "true"];
            let command =
                HostCommand { words: &words, timeout: Duration::from_secs(10), most: 1 << 10 };
            self.exec(&words, &command).is_ok_and(|output| output.status == Some(0))
        })
    }

    fn exec(&self, words: &[&str], command: &HostCommand<'_>) -> Result<CommandOutput, HostError> {
        let started = Instant::now();
        self.answer_within(ANSWER);
        let mut channel = self.session.channel_session().map_err(failed)?;
        channel.exec(&line(words)).map_err(failed)?;
        // There is nothing for it to read.
        channel.send_eof().map_err(failed)?;
        self.session.set_blocking(false);
        let mut outputs = [Vec::new(), Vec::new()];
        let mut truncated = false;
        let result = loop {
            let (mut progress, mut ended) = (false, true);
            for (number, output) in outputs.iter_mut().enumerate() {
                let mut buffer = [0; 16 << 10];
                match channel.stream(number as i32).read(&mut buffer) {
                    Ok(0) => {}
                    Ok(n) => {
                        (progress, ended) = (true, false);
                        let room = command.most.saturating_sub(output.len()).min(n);
                        output.extend_from_slice(&buffer[..room]);
                        truncated |= room < n;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => ended = false,
                    Err(error) => return Err(HostError::Io(error)),
                }
            }
            if truncated || (ended && channel.eof()) {
                break Ok(());
            }
            let left = command.timeout.saturating_sub(started.elapsed());
            if left.is_zero() {
                break Err(HostError::TimedOut(command.timeout));
            }
            if !progress {
                self.wait(left)?;
            }
        };
        let status = match (&result, truncated) {
            (Ok(()), false) => self.end(channel),
            // What goes on writing is told so by the closed channel, as well as it goes.
            _ => {
                self.session.set_blocking(false);
                let _ = channel.close();
                None
            }
        };
        result?;
        let [stdout, stderr] = outputs;
        Ok(CommandOutput { status, stdout, stderr, truncated })
    }

    /// Waits until the server has said something, at most for `left`.
    fn wait(&self, left: Duration) -> Result<(), HostError> {
        let mut fds = [PollFd::new(&self.wire, PollFlags::IN)];
        let left = Timespec::try_from(left).ok();
        match poll(&mut fds, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(HostError::Io(error.into())),
        }
    }

    /// Connects from here, to the address that the server was reached at.
    fn connect_to(&self, port: u16, timeout: Duration) -> Result<Box<dyn HostStream>, HostError> {
        let mut address = self.wire.peer()?;
        address.set_port(port);
        let stream = TcpStream::connect_timeout(&address, timeout).map_err(HostError::of)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(Box::new(stream))
    }

    /// The exit code of a command whose output has ended.
    fn end(&self, mut channel: Channel) -> Option<i32> {
        self.answer_within(Duration::from_secs(5));
        channel.wait_close().ok()?;
        let signalled = channel.exit_signal().is_ok_and(|signal| signal.exit_signal.is_some());
        if signalled { None } else { channel.exit_status().ok() }
    }
}

impl Host for SshHost {
    fn place(&self) -> &str {
        &self.place
    }

    fn user(&self) -> &str {
        &self.user
    }

    fn run(&self, command: &HostCommand<'_>) -> Result<CommandOutput, HostError> {
        let path = format!("PATH={SEARCH_PATH}");
        let seconds = command.timeout.as_secs().max(1).to_string();
        let mut words = vec!["/usr/bin/env", "LC_ALL=C", path.as_str()];
        let ended_there = self.has_timeout();
        if ended_there {
            words.extend(["timeout", "-s", "KILL", seconds.as_str()]);
        }
        words.extend_from_slice(command.words);
        // Where the host ends it, that it did so comes as its answer.
        let grace = Duration::from_secs(if ended_there { 2 } else { 0 });
        let waited = HostCommand { timeout: command.timeout + grace, ..*command };
        let output = self.exec(&words, &waited)?;
        match output.status {
            Some(127) => Err(HostError::Missing),
            Some(126) => Err(HostError::Denied),
            // What `timeout` says where it had to kill.
            Some(124 | 137) if ended_there => Err(HostError::TimedOut(command.timeout)),
            _ => Ok(output),
        }
    }

    fn read(&self, path: &str, part: Part, most: usize) -> Result<FileContent, HostError> {
        let sftp = &mut *self.sftp()?;
        let stat = sftp.ask(Request::Stat(path.as_bytes()));
        let stat = sftp.attributes(stat).map_err(refused)?;
        if stat.mode.is_some() && stat.sort() != FILE {
            return Err(HostError::Unsuitable("it is no regular file"));
        }
        let skipped = match part {
            Part::Tail => stat.size.unwrap_or(0).saturating_sub(most as u64),
            Part::Head => 0,
        };
        let handle = sftp.ask(Request::Open(path.as_bytes()));
        let handle = sftp.handle(handle).map_err(refused)?;
        // One after the other: those of /proc come in pieces of any length, and have no size.
        let (mut bytes, mut offset) = (Vec::new(), skipped);
        let read = loop {
            // One more than wanted, to see whether there is more.
            let len = (most + 1 - bytes.len()).min(BLOCK);
            let ticket = sftp.ask(Request::Read { handle: &handle, offset, len: len as u32 });
            match sftp.data(ticket, len) {
                Ok(Some(data)) => {
                    offset += data.len() as u64;
                    bytes.extend_from_slice(&data);
                    if bytes.len() > most {
                        break Ok(());
                    }
                }
                Ok(None) => break Ok(()),
                Err(failure) => break Err(refused(failure)),
            }
        };
        sftp.close(&handle);
        read?;
        let more = bytes.len() > most;
        bytes.truncate(most);
        Ok(FileContent { bytes, truncated: more || skipped > 0 })
    }

    fn list(&self, path: &str) -> Result<Vec<Listed>, HostError> {
        let sftp = &mut *self.sftp()?;
        let handle = sftp.ask(Request::OpenDir(path.as_bytes()));
        let handle = sftp.handle(handle).map_err(refused)?;
        let (mut listed, mut left) = (Vec::new(), LONGEST_LISTING);
        let names = loop {
            let ticket = sftp.ask(Request::ReadDir(&handle));
            let names = match sftp.names(ticket) {
                Ok(Some(names)) => names,
                Ok(None) => break Ok(()),
                Err(failure) => break Err(refused(failure)),
            };
            let is_plain = |name: &[u8]| !matches!(name, b"." | b"..") && !name.contains(&b'/');
            let told = names.len();
            let plain = names.into_iter().filter(|entry| is_plain(&entry.name));
            listed.extend(plain.take(left).map(|entry| {
                let attributes = entry.attributes;
                Listed {
                    name: entry.name,
                    kind: match attributes.sort() {
                        FILE => ListedKind::File,
                        DIRECTORY => ListedKind::Directory,
                        LINK => ListedKind::Link,
                        _ => ListedKind::Other,
                    },
                    mode: attributes.mode.unwrap_or(0) & 0o7777,
                    owner: attributes.owners.map_or(0, |(user, _)| user),
                    size: attributes.size.unwrap_or(0),
                    modified: attributes.mtime.map_or(0, i64::from),
                }
            }));
            left = left.saturating_sub(told);
            if left == 0 {
                break Ok(());
            }
        };
        sftp.close(&handle);
        names?;
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    fn connect(&self, port: u16, timeout: Duration) -> Result<Box<dyn HostStream>, HostError> {
        self.answer_within(timeout);
        match self.session.channel_direct_tcpip("127.0.0.1", port, None) {
            Ok(channel) => Ok(Box::new(Forwarded(channel))),
            // `LIBSSH2_ERROR_CHANNEL_FAILURE`: no listener on that address, or no forwarding.
            Err(error) if error.code() == ErrorCode::Session(-21) => self.connect_to(port, timeout),
            Err(error) => Err(failed(error)),
        }
    }
}

/// A connection that the server makes for us.
struct Forwarded(Channel);

impl Read for Forwarded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Forwarded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    /// What is written is sent at once. libssh2's flush throws away what came and was not read yet.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sorts an error of the library.
fn failed(error: ssh2::Error) -> HostError {
    HostError::of(error.into())
}

/// Sorts what a server says of a file.
fn refused(failure: Failure) -> HostError {
    match failure {
        Failure::Broken(error) => HostError::of(error),
        failure => HostError::of(answered(failure)),
    }
}

/// One line that any shell takes apart into these words again: within single quotes nothing but the
/// quote has a meaning.
pub fn line(words: &[&str]) -> String {
    let plain = |word: &str| {
        !word.is_empty()
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(&b))
    };
    let each = words.iter().map(|word| match plain(word) {
        true => (*word).to_owned(),
        false => quoted(word),
    });
    each.collect::<Vec<_>>().join(" ")
}

/// A word that any shell takes as it is, whatever is in it.
pub fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::line;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_shell_sees_the_words_again(words in prop::collection::vec("[^\0]{0,12}", 1..5)) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let script = format!("printf '%s\\0' {}", line(&words));
            let shown = Command::new("sh").arg("-c").arg(script).output().unwrap().stdout;
            let expected: Vec<u8> =
                words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
            prop_assert_eq!(shown, expected);
        }
    }
}
