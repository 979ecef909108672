//! `drover demo`: a made-up clinic, migrated end to end on this machine.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    path::{self, PathBuf},
    process::Command,
    time::Instant,
};

use clap::{Args, ValueEnum};
use drover_report::{DemoReport, DemoStep, Text};

use crate::{
    context::Context,
    demo::{Places, Stage, Step, play},
    error::Error,
    interrupt,
    output::{self, Answer},
    progress::ProgressMode,
};

const EXAMPLES: &str = "\
Examples:
  In a new directory drover-demo, which stays to look around in:
    drover demo

  Elsewhere, with another clinic:
    drover demo /tmp/clinic --seed 7";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DemoArgs {
    /// Where everything is written, about 200 MB; must be empty or not exist
    #[arg(default_value = "drover-demo")]
    dir: PathBuf,
    /// Chooses the clinic: the same number, the same files
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

impl DemoArgs {
    pub fn run(self, context: &Context) -> Result<Answer, Error> {
        let started = Instant::now();
        let global = context.global;
        let typed = self.dir.to_str().filter(|dir| !dir.chars().any(char::is_control));
        if typed.is_none() {
            let message = "the demo shows commands to type, so its directory needs a plain name";
            return Err(Error::Usage(message.to_owned()));
        }
        let dir = path::absolute(&self.dir).map_err(Error::WorkingDirectory)?;
        let places = Places { dir };
        let mut stage =
            Terminal { progress: global.progress, aside: global.json, steps: Vec::new() };
        let played = play(&places, self.seed, &mut stage).map_err(Error::from);
        if global.json || global.has_files() {
            let report = DemoReport {
                directory: Text::from(output::shown(&places.dir)),
                seed: self.seed,
                steps: stage.steps,
                seconds: started.elapsed().as_secs_f64(),
            };
            return match played {
                Ok(()) => Ok(Answer::done(report)),
                Err(error @ Error::OutputClosed) => Err(error),
                Err(error) => Ok(Answer::failed(report, error.failure())),
            };
        }
        played?;
        let end = format!(
            "\nThat was all of it. Everything is in {}: look around, type the commands yourself, \
             and remove the directory when you are done.\n",
            output::shown(&places.dir)
        );
        output::to_stdout(end.as_bytes())?;
        Ok(Answer::Listed(None))
    }
}

/// Shows the demo on stdout. drover runs as a process of its own and writes there as well.
struct Terminal {
    progress: ProgressMode,
    /// All of this goes to stderr: stdout is for the document.
    aside: bool,
    steps: Vec<DemoStep>,
}

impl Terminal {
    fn say(&self, text: &str) -> io::Result<()> {
        let mut out: Box<dyn Write> = match self.aside {
            true => Box::new(io::stderr().lock()),
            false => Box::new(io::stdout().lock()),
        };
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    }
}

impl Stage for Terminal {
    fn begin(
        &mut self,
        number: usize,
        step: &Step,
        explanation: &str,
        command: &str,
    ) -> io::Result<()> {
        let mut text = format!("\n{number}. {}\n\n", step.title);
        for line in wrapped(explanation, 78) {
            text += &format!("  {line}\n");
        }
        if !command.is_empty() {
            text += &format!("\n  $ {command}\n");
        }
        let (title, command) = (Text::from(step.title), Text::from(command));
        self.steps.push(DemoStep { title, command, ..DemoStep::default() });
        self.say(&(text + "\n"))
    }

    fn drover(&mut self, places: &Places, arguments: &[OsString]) -> io::Result<u8> {
        let mut command = Command::new(env::current_exe()?);
        command.args(arguments);
        if let Some(mode) = self.progress.to_possible_value() {
            command.arg("--progress").arg(mode.get_name());
        }
        if self.aside {
            command.stdout(io::stderr());
        }
        let status = command
            .env("DROVER_STATE_DIR", places.state())
            .env("DROVER_PASSWORD_FILE", places.password())
            .status()?;
        // Ended by a signal: as when it is interrupted.
        let exit =
            status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(interrupt::EXIT);
        if let Some(step) = self.steps.last_mut() {
            step.exit = Some(exit);
        }
        Ok(exit)
    }

    fn outcome(&mut self, text: &str) -> io::Result<()> {
        if let Some(step) = self.steps.last_mut() {
            step.outcome = Text::from(text);
        }
        self.say(&format!("  {text}.\n"))
    }
}

/// The words of `text` in lines of at most `width` characters, where no word is longer.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_hold_all_words_and_no_more_than_fit() {
        let text = "a bb ccc dddd eeeee ffffff";
        assert_eq!(wrapped(text, 8), ["a bb ccc", "dddd", "eeeee", "ffffff"]);
        assert_eq!(wrapped(text, 80), [text]);
        assert!(wrapped("", 8).is_empty());
    }
}
