//! A command on this machine.

use std::{
    ffi::OsString,
    io::{self, ErrorKind, Read},
    iter,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Instant,
};

use rustix::{
    io::ioctl_fionbio,
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

use super::{BY_SIGNAL, ERRORS, Output, Patience, Said, by_code};

pub(super) struct Running {
    child: Child,
    /// Readable once the child has ended; kernels before 5.3 have none.
    ended: Option<OwnedFd>,
    stdout: ChildStdout,
    /// Until its end.
    stderr: Option<ChildStderr>,
    said: Said,
    patience: Arc<Patience>,
}

impl Running {
    pub(super) fn start(
        words: &[String],
        environment: &[(OsString, OsString)],
        patience: Arc<Patience>,
    ) -> io::Result<Self> {
        let [program, arguments @ ..] = words else {
            return Err(io::Error::other("an empty command"));
        };
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let (Some(stdout), stderr) = (child.stdout.take(), child.stderr.take()) else {
            return Err(io::Error::other("it has no output"));
        };
        let ended = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).ok();
        let running = Self { child, ended, stdout, stderr, said: Said::default(), patience };
        ioctl_fionbio(&running.stdout, true)?;
        running.stderr.as_ref().map_or(Ok(()), |stderr| ioctl_fionbio(stderr, true))?;
        Ok(running)
    }

    /// Waits for `output`, or for what is said of errors.
    fn wait(&self, output: &impl AsFd, begun: Instant) -> io::Result<()> {
        let errors = self.stderr.as_ref().map(AsFd::as_fd);
        let outputs: Vec<_> = iter::once(output.as_fd()).chain(errors).collect();
        self.patience.wait(&outputs, begun)
    }

    /// Takes what was said of errors meanwhile.
    fn listen(&mut self) {
        let Some(stderr) = &mut self.stderr else { return };
        let mut buffer = [0; ERRORS];
        match stderr.read(&mut buffer) {
            Ok(said @ 1..) => self.said.add(&buffer[..said]),
            Err(error) if is_pause(&error) => {}
            Ok(0) | Err(_) => self.stderr = None,
        }
    }
}

/// Whether there is nothing for the moment.
fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

impl Output for Running {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begun = Instant::now();
        loop {
            self.listen();
            match self.stdout.read(buffer) {
                Err(error) if is_pause(&error) => {}
                read => return read,
            }
            self.wait(&self.stdout, begun)?;
        }
    }

    fn end(&mut self) -> io::Result<Option<String>> {
        let begun = Instant::now();
        let status = loop {
            match (self.child.try_wait()?, &self.ended) {
                (Some(status), _) => break status,
                (None, None) => break self.child.wait()?,
                (None, Some(ended)) => self.wait(ended, begun)?,
            }
            self.listen();
        };
        // Once more: what it said last.
        self.listen();
        Ok(status.code().map_or_else(|| Some(BY_SIGNAL.to_owned()), by_code))
    }

    fn said(&self) -> &Said {
        &self.said
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}
