//! A command on this machine, with an end to its time and to its output.

use std::{
    io::{self, Read},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{CommandOutput, HostCommand, HostError, SEARCH_PATH};

/// How long what is left of a command's group may hold its output open once the command has ended.
const LEFTOVER: Duration = Duration::from_millis(500);

/// What one of a command's two outputs had.
struct Collected {
    kept: Vec<u8>,
    truncated: bool,
}

/// Runs it without a shell, in a process group of its own, with nothing to read and an environment
/// of two variables. When its time is over the whole group is ended.
pub(super) fn run(command: &HostCommand<'_>) -> Result<CommandOutput, HostError> {
    let [program, arguments @ ..] = command.words else {
        return Err(HostError::Unsuitable("an empty command"));
    };
    let started = Instant::now();
    let mut child = Command::new(find(program)?)
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", SEARCH_PATH)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .current_dir("/")
        .process_group(0)
        .spawn()
        .map_err(HostError::of)?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let stdout = child.stdout.take().map(|pipe| collect(pipe, command.most));
    let stderr = child.stderr.take().map(|pipe| collect(pipe, command.most));
    let exited = wait(child);
    let left = command.timeout.saturating_sub(started.elapsed());
    let Ok(status) = exited.recv_timeout(left) else {
        // The group is there for as long as its leader was not waited for.
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
        let _ = exited.recv_timeout(LEFTOVER);
        return Err(HostError::TimedOut(command.timeout));
    };
    let kept = |from: Option<Receiver<Collected>>| {
        from.and_then(|from| from.recv_timeout(LEFTOVER).ok())
            .unwrap_or(Collected { kept: Vec::new(), truncated: true })
    };
    let (stdout, stderr) = (kept(stdout), kept(stderr));
    Ok(CommandOutput {
        status: status?.code(),
        truncated: stdout.truncated || stderr.truncated,
        stdout: stdout.kept,
        stderr: stderr.kept,
    })
}

/// The program in the one search path that counts. Where it has slashes it is taken as it is.
fn find(program: &str) -> Result<std::path::PathBuf, HostError> {
    if program.contains('/') {
        return Ok(program.into());
    }
    SEARCH_PATH
        .split(':')
        .map(|folder| std::path::Path::new(folder).join(program))
        .find(|file| file.is_file())
        .ok_or(HostError::Missing)
}

/// Reads to the end, and keeps the beginning.
fn collect(mut pipe: impl Read + Send + 'static, most: usize) -> Receiver<Collected> {
    let (end, result) = mpsc::channel();
    thread::spawn(move || {
        let mut collected = Collected { kept: Vec::new(), truncated: false };
        let mut buffer = [0; 16 << 10];
        while let Ok(n @ 1..) = pipe.read(&mut buffer) {
            let room = most.saturating_sub(collected.kept.len()).min(n);
            collected.kept.extend_from_slice(&buffer[..room]);
            if room < n {
                // What goes on writing is told so by the closed pipe.
                collected.truncated = true;
                break;
            }
        }
        drop(pipe);
        let _ = end.send(collected);
    });
    result
}

fn wait(mut child: Child) -> Receiver<io::Result<ExitStatus>> {
    let (end, exited) = mpsc::channel();
    thread::spawn(move || end.send(child.wait()));
    exited
}
