//! What a shell on the server tells of entries, and SFTP does not.
//!
//! Where the account has a shell, and GNU find is there, a channel beside the SFTP one runs
//! `/bin/sh`, which is given commands that only read: `find -printf` for one directory or one entry,
//! and `getfattr`. A question is one round trip, as a listing by SFTP is; where several are asked
//! before the first answer is taken, all of them are one.
//!
//! A path goes to the shell between single quotes. What it answers is read in [`super::answers`].

use std::{
    io::{self, Read, Write},
    ops::ControlFlow,
};

use drover_types::Xattr;
use ssh2::{Channel, Session};

use super::answers::{Answers, Tells, Told};

/// How many times longer than any other answer a command may take: a listing is sorted before any
/// of it comes.
const PATIENCE: u32 = 4;

/// What `find` prints of an entry after its name or path: sort, permissions, owners by number and by
/// name, size, mtime, ctime, device, inode, links, blocks of 512 bytes.
const FORMAT: &str = r"\0%y\0%m\0%U\0%G\0%u\0%g\0%s\0%T@\0%C@\0%D\0%i\0%n\0%b\0";

/// A shell that waits for questions.
pub(super) struct Shell {
    channel: Channel,
    answers: Answers<Patient>,
    /// What else than `find` there is.
    pub(super) tells: Tells,
}

impl Shell {
    /// Asks for a shell; `None` where there is none, or none with GNU find.
    pub(super) fn open(session: &Session) -> Option<Self> {
        let mut channel = session.channel_session().ok()?;
        channel.exec("exec /bin/sh").ok()?;
        let input = Patient { session: session.clone(), channel: channel.clone() };
        let answers = Answers::new(input);
        let mut shell = Self { channel, answers, tells: Tells::default() };
        shell.tells = shell.probe().ok()??;
        Some(shell)
    }

    fn probe(&mut self) -> io::Result<Option<Tells>> {
        self.say(b"LC_ALL=C; export LC_ALL; umask 077; printf 'ready\\0'")?;
        self.ask(b"find / -maxdepth 0 -printf '%T@ %C@ %D %i %n %b'")?;
        self.ask(b"getfattr -h -d -m - -e hex --absolute-names /")?;
        self.answers.probe()
    }

    /// Asks for the entries of the directory at `path`: [`Self::listed`].
    pub(super) fn ask_list(&mut self, path: &[u8]) -> io::Result<()> {
        let mut command = b"find".to_vec();
        append(&mut command, &[path], b"/.");
        command.extend_from_slice(b" -mindepth 1 -maxdepth 1");
        self.find(command, "%f")
    }

    /// Asks for the entries of several directories by one command: [`Self::listed`] tells those of each after
    /// the directory itself, which is called `.` there.
    pub(super) fn ask_lists(&mut self, paths: &[&[u8]]) -> io::Result<()> {
        let mut command = b"find".to_vec();
        append(&mut command, paths, b"/.");
        command.extend_from_slice(b" -maxdepth 1");
        self.find(command, "%f")
    }

    /// [`Answers::listed`].
    pub(super) fn listed(&mut self, take: impl FnMut(Told) -> ControlFlow<()>) -> io::Result<bool> {
        self.answers.listed(take)
    }

    /// What is at `path`; a link is not followed. `None` where nothing can be seen.
    pub(super) fn stat(&mut self, path: &[u8]) -> io::Result<Option<Told>> {
        self.ask_stats(&[path])?;
        Ok(self.stats(&[path])?.pop().flatten())
    }

    /// Asks what is at each of `paths`: [`Self::stats`].
    pub(super) fn ask_stats(&mut self, paths: &[&[u8]]) -> io::Result<()> {
        let mut command = b"find".to_vec();
        append(&mut command, paths, b"");
        command.extend_from_slice(b" -maxdepth 0");
        self.find(command, "%p")
    }

    /// [`Answers::stats`].
    pub(super) fn stats(&mut self, paths: &[&[u8]]) -> io::Result<Vec<Option<Told>>> {
        self.answers.stats(paths)
    }

    /// Major and minor number of the device at `path`.
    pub(super) fn device(&mut self, path: &[u8]) -> io::Result<Option<(u32, u32)>> {
        let mut command = b"stat -c '%t %T' ".to_vec();
        quote(&mut command, path);
        self.ask(&command)?;
        self.answers.device()
    }

    /// The extended attributes of what is at `path`, a link itself; sorted by name. `None` where
    /// they cannot be read.
    pub(super) fn xattrs(&mut self, path: &[u8]) -> io::Result<Option<Vec<Xattr>>> {
        self.ask_all_xattrs(&[path])?;
        Ok(self.all_xattrs(&[path])?.and_then(|mut all| all.pop()))
    }

    /// Asks for the extended attributes of each of `paths`: [`Self::all_xattrs`].
    pub(super) fn ask_all_xattrs(&mut self, paths: &[&[u8]]) -> io::Result<()> {
        let mut command = b"getfattr -h -d -m - -e hex --absolute-names".to_vec();
        append(&mut command, paths, b"");
        self.ask(&command)
    }

    /// [`Answers::all_xattrs`].
    pub(super) fn all_xattrs(&mut self, paths: &[&[u8]]) -> io::Result<Option<Vec<Vec<Xattr>>>> {
        self.answers.all_xattrs(paths)
    }

    /// Asks `find`, and has the end of its answer marked.
    fn find(&mut self, mut command: Vec<u8>, name: &str) -> io::Result<()> {
        command.extend_from_slice(b" -printf '");
        command.extend_from_slice(name.as_bytes());
        command.extend_from_slice(FORMAT.as_bytes());
        command.push(b'\'');
        self.ask(&command)
    }

    /// Has a command run whose answer ends with its status.
    fn ask(&mut self, command: &[u8]) -> io::Result<()> {
        let mut line = command.to_vec();
        line.extend_from_slice(b" </dev/null 2>/dev/null; printf '\\0%d\\0' $?");
        self.say(&line)
    }

    fn say(&mut self, command: &[u8]) -> io::Result<()> {
        // Not flushed: libssh2 sends at once, and its flush throws away answers that were not read yet.
        self.channel.write_all(command)?;
        self.channel.write_all(b"\n")
    }
}

/// Reads what the shell prints, and waits longer for it than for other answers.
struct Patient {
    session: Session,
    channel: Channel,
}

impl Read for Patient {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        let usual = self.session.timeout();
        self.session.set_timeout(usual.saturating_mul(PATIENCE));
        let read = self.channel.read(piece);
        self.session.set_timeout(usual);
        read
    }
}

/// Appends words that the shell takes as these paths, each with `end` behind it.
fn append(command: &mut Vec<u8>, paths: &[&[u8]], end: &[u8]) {
    for path in paths {
        command.push(b' ');
        quote(command, path);
        command.extend_from_slice(end);
    }
}

/// Appends `path` as the shell takes it for one word.
fn quote(command: &mut Vec<u8>, path: &[u8]) {
    command.push(b'\'');
    for &byte in path {
        match byte {
            b'\'' => command.extend_from_slice(b"'\\''"),
            byte => command.push(byte),
        }
    }
    command.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted() {
        let mut command = Vec::new();
        quote(&mut command, b"/it's $(here)\n\xff");
        assert_eq!(command, b"'/it'\\''s $(here)\n\xff'");
    }
}
