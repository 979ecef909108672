//! Commands that the plan has: what stops, dumps or freezes before a pass, and what undoes that; what
//! leads clients elsewhere.
//!
//! A command runs without a shell, in a process group of its own, with no standard input and an
//! environment of a few harmless variables. Its output is bounded. When its time is over, or someone
//! asks to stop, the whole group is ended. What undoes always runs, also after an interruption. Where
//! the plan says so, a source's commands run on its server, over SSH.

use std::{
    env,
    ffi::OsString,
    io::{self, Read},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use drover_ops::Cancel;
use drover_plan::{Hooks, HooksOn};
use drover_report::{SyncHook, SyncSource, Text};
use drover_source::host::{Host, HostCommand, HostError};
use drover_types::lock;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::{context::Context, error::Error, source::Origin};

/// Of a command's output this much is kept: its end.
const OUTPUT: usize = 8 << 10;
/// Of a command's output this much stands in an error.
const SHOWN: usize = 500;
/// How long a group may take to end by itself once it was asked to.
const GRACE: Duration = Duration::from_secs(5);
/// How often the wish to stop is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What a command finds in its environment of drover's; passwords and keys of stores are not there.
pub fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    const NAMES: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"];
    NAMES.into_iter().filter_map(|name| Some((name.into(), env::var_os(name)?)))
}

/// Runs `pass` between the source's hooks. What comes after runs whatever came before it.
pub fn around(
    hooks: &Hooks,
    source: &str,
    origin: &Origin,
    context: &Context,
    pass: impl FnOnce() -> Result<SyncSource, Error>,
) -> Result<SyncSource, Error> {
    let mut ran = Vec::new();
    let mut run = |name, command: &Option<Vec<String>>, cancel| match command {
        Some(command) => {
            let hook = Hook { name, command, source, limit: hooks.timeout.0 };
            let (report, result) = hook.run_on(hooks.on, origin, context, cancel);
            ran.push(report);
            result
        }
        None => Ok(()),
    };
    let result =
        run("before_pass", &hooks.before_pass, Some(&context.cancel)).and_then(|()| pass());
    let undone = run("after_pass", &hooks.after_pass, None);
    match (result, undone) {
        (Ok(mut item), undone) => {
            item.hooks = ran;
            item.error = undone.err().map(|error| error.failure());
            Ok(item)
        }
        (Err(error), undone) => {
            // The first error is the pass's.
            if let Err(undone) = undone {
                context.progress.warn(&undone.to_string());
            }
            Err(error)
        }
    }
}

/// One command.
pub struct Hook<'h> {
    /// Its key in the plan.
    pub name: &'static str,
    /// Program and arguments.
    pub command: &'h [String],
    /// The source.
    pub source: &'h str,
    /// How long it may take.
    pub limit: Duration,
}

impl Hook<'_> {
    /// Runs it to its end, or until its time is over or `cancel` is set.
    pub fn run(&self, cancel: Option<&Cancel>) -> (SyncHook, Result<(), Error>) {
        self.report(|output| self.finish(cancel, output))
    }

    /// Runs it where the plan says. A server ends what takes too long; it is not interrupted.
    pub fn run_on(
        &self,
        on: HooksOn,
        origin: &Origin,
        context: &Context,
        cancel: Option<&Cancel>,
    ) -> (SyncHook, Result<(), Error>) {
        if on == HooksOn::Here {
            return self.run(cancel);
        }
        self.report(|output| {
            if cancel.is_some_and(Cancel::is_set) {
                return Err(Stopped::Interrupted);
            }
            let host = origin.host(context).map_err(|error| Stopped::Failed(error.to_string()))?;
            self.over(&*host, output)
        })
    }

    fn over(&self, host: &dyn Host, output: &mut Vec<u8>) -> Result<(), Stopped> {
        let words: Vec<&str> = self.command.iter().map(String::as_str).collect();
        let command = HostCommand { words: &words, timeout: self.limit, most: 1 << 20 };
        let ended = host.run(&command).map_err(|error| match error {
            HostError::TimedOut(limit) => Stopped::Failed(format!("it took longer than {limit:?}")),
            error => Stopped::Failed(format!("it cannot be run: {error}")),
        })?;
        output.extend(ended.stdout);
        output.extend(ended.stderr);
        match ended.status {
            Some(0) => Ok(()),
            Some(code) => Err(Stopped::Failed(format!("it ended with exit code {code}"))),
            None => Err(Stopped::Failed("it was ended by a signal".to_owned())),
        }
    }

    fn report(
        &self,
        run: impl FnOnce(&mut Vec<u8>) -> Result<(), Stopped>,
    ) -> (SyncHook, Result<(), Error>) {
        let started = Instant::now();
        let mut output = Vec::new();
        let result = run(&mut output);
        let kept = &output[output.len().saturating_sub(OUTPUT)..];
        let report = SyncHook {
            hook: Text::from(self.name),
            command: Text::from(self.command.join(" ")),
            outcome: Text::from(match &result {
                Ok(()) => "done".to_owned(),
                Err(Stopped::Interrupted) => "interrupted".to_owned(),
                Err(Stopped::Failed(why)) => why.clone(),
            }),
            output: Text::from_bytes(kept),
            seconds: started.elapsed().as_secs_f64(),
        };
        let error = |stopped| match stopped {
            Stopped::Interrupted => Error::Ops(drover_ops::Error::Interrupted),
            Stopped::Failed(why) => {
                let shown = &kept[kept.len().saturating_sub(SHOWN)..];
                let said = drover_types::path::escape(shown.trim_ascii());
                let said = if said.is_empty() { said } else { format!("; it said: {said}") };
                Error::Hook { hook: self.name, source_name: self.source.to_owned(), why, said }
            }
        };
        (report, result.map_err(error))
    }

    fn finish(&self, cancel: Option<&Cancel>, output: &mut Vec<u8>) -> Result<(), Stopped> {
        if cancel.is_some_and(Cancel::is_set) {
            return Err(Stopped::Interrupted);
        }
        let failed = |error: io::Error| Stopped::Failed(format!("it cannot be run: {error}"));
        let [program, arguments @ ..] = self.command else { return Ok(()) };
        let (reader, writer) = io::pipe().map_err(failed)?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("DROVER_SOURCE", self.source);
        command.envs(environment());
        command.stdin(Stdio::null()).stdout(writer.try_clone().map_err(failed)?).stderr(writer);
        let child = command.process_group(0).spawn().map_err(failed)?;
        // The command holds the writing ends: without it here, its end is the output's.
        drop(command);
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let (kept, closed) = collect(reader);
        let exited = wait(child);
        let ended = self.watch(&exited, group, cancel);
        // What it leaves running may hold the output open for as long as it likes.
        let _ = closed.recv_timeout(LOOK);
        output.append(&mut lock(&kept));
        match ended? {
            status if status.success() => Ok(()),
            status => Err(Stopped::Failed(match (status.code(), status.signal()) {
                (Some(code), _) => format!("it ended with exit code {code}"),
                (None, signal) => format!("it was ended by signal {}", signal.unwrap_or_default()),
            })),
        }
    }

    /// Waits for the end of the command; ends its group where that does not come.
    fn watch(
        &self,
        exited: &Receiver<io::Result<ExitStatus>>,
        group: Option<Pid>,
        cancel: Option<&Cancel>,
    ) -> Result<ExitStatus, Stopped> {
        let failed =
            |error: io::Error| Stopped::Failed(format!("it cannot be waited for: {error}"));
        let started = Instant::now();
        let why = loop {
            let left = self.limit.saturating_sub(started.elapsed());
            match exited.recv_timeout(left.min(LOOK)) {
                Ok(status) => return status.map_err(failed),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(failed(io::Error::other("its end was missed")));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if cancel.is_some_and(Cancel::is_set) {
                break Stopped::Interrupted;
            }
            if started.elapsed() >= self.limit {
                break Stopped::Failed(format!("it took longer than {:?}", self.limit));
            }
        };
        // The group is there for as long as its leader was not waited for.
        for (signal, patience) in [(Signal::TERM, GRACE), (Signal::KILL, GRACE)] {
            let _ = group.map(|group| kill_process_group(group, signal));
            if exited.recv_timeout(patience).is_ok() {
                break;
            }
        }
        Err(why)
    }
}

/// Why a command did not end well.
enum Stopped {
    Interrupted,
    Failed(String),
}

/// Reads output to its end, and keeps the last of it; says when the end came.
fn collect(mut reader: io::PipeReader) -> (Arc<Mutex<Vec<u8>>>, Receiver<()>) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let (end, closed) = mpsc::channel();
    let into = kept.clone();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = reader.read(&mut buffer) {
            let mut kept = lock(&into);
            kept.extend_from_slice(&buffer[..n]);
            let over = kept.len().saturating_sub(OUTPUT);
            kept.drain(..over);
        }
        let _ = end.send(());
    });
    (kept, closed)
}

fn wait(mut child: Child) -> Receiver<io::Result<ExitStatus>> {
    let (end, exited) = mpsc::channel();
    thread::spawn(move || end.send(child.wait()));
    exited
}
