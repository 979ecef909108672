//! drover moves the data of servers to cloud object storage, encrypted and proven.
//!
//! This is the only part that sees the command line, the terminal and the environment. What a
//! verb does is in the libraries; here it gets its arguments, and its answer is printed.
//!
//! `arguments → cli → verb → Answer → output → exit code`

mod bandwidth;
mod bucket;
mod cli;
mod context;
mod cutover;
mod demo;
mod error;
mod filter;
mod fleet;
mod helper;
mod hooks;
mod interrupt;
mod output;
mod owners;
mod pace;
mod password;
mod place;
mod planning;
mod progress;
mod reading;
mod repeat;
mod source;
mod ssh_config;
mod verb;

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use drover_report::{Document, Failure};

use zeroize::Zeroize;

use crate::{cli::Cli, context::Context, error::Error};

fn main() -> ExitCode {
    leave_no_core();
    let arguments: Vec<OsString> = env::args_os().collect();
    let exit = match Cli::try_parse_from(&arguments) {
        Ok(cli) => run(cli),
        Err(error) => refuse(&error, &arguments),
    };
    wipe_stack();
    ExitCode::from(exit)
}

/// What was on the stack goes with the process, to wherever the system puts its pages; keys passed
/// through it on their way into and out of functions.
#[inline(never)]
fn wipe_stack() {
    let mut room = [0_u8; 256 << 10];
    room.zeroize();
    std::hint::black_box(&room);
}

/// Whatever ends this process, its memory, and with it password and keys, does not go to a file or
/// to whoever collects such files; and no other process of the same user can read it.
fn leave_no_core() {
    use rustix::process::{
        DumpableBehavior, Resource, getrlimit, set_dumpable_behavior, setrlimit,
    };
    // Where a sandbox forbids it, there is nothing to be done.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let limit = rustix::process::Rlimit { current: Some(0), ..getrlimit(Resource::Core) };
    let _ = setrlimit(Resource::Core, limit);
}

fn run(Cli { global, verb }: Cli) -> u8 {
    let name = verb.name();
    let result = Context::new(&global).and_then(|context| {
        let result = verb.run(&context);
        // The report comes below the last line of progress.
        context.progress.finish();
        result
    });
    output::finish(&global, name, result)
}

/// Answers a command line that clap does not take, or one that only asks for help.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> u8 {
    let text = error.render();
    if !error.use_stderr() {
        let ansi = io::IsTerminal::is_terminal(&io::stdout());
        let text = if ansi { text.ansi().to_string() } else { text.to_string() };
        return match output::to_stdout(text.as_bytes()) {
            Ok(()) | Err(Error::OutputClosed) => 0,
            Err(_) => 1,
        };
    }
    let ansi = io::IsTerminal::is_terminal(&io::stderr());
    let shown = if ansi { text.ansi().to_string() } else { text.to_string() };
    // Nobody is left to tell where stderr is closed.
    let _ = io::stderr().write_all(shown.as_bytes());
    if arguments.iter().any(|argument| argument == "--json") {
        let verb = cli::VERBS
            .iter()
            .find(|verb| arguments.iter().skip(1).any(|argument| argument == **verb))
            .copied()
            .unwrap_or("drover");
        // Up to the usage: what is wrong, and on lines of their own the arguments it is about.
        let lines = text.to_string();
        let lines: Vec<_> = lines
            .lines()
            .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let message = lines.join(" ");
        let failure = Failure {
            kind: "command-line".into(),
            message: message.strip_prefix("error: ").unwrap_or(&message).into(),
            remedy: "drover --help shows what there is.".into(),
            exit: 2,
        };
        if let Ok(json) = Document::failed(verb, failure).to_json() {
            let _ = output::to_stdout(json.as_bytes());
        }
    }
    2
}
