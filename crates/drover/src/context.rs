//! What every verb has at hand: options, environment, progress, the wish to stop.

use std::{
    env,
    path::PathBuf,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use drover_crypt::hierarchy::UnlockSecret;
use drover_ops::{Cancel, audit::Event};
use drover_repo::Repository;
use drover_report::Text;
use drover_types::lock;

use crate::{
    cli::Global,
    error::Error,
    interrupt,
    password::{self, Password, PasswordError, PasswordSources},
    progress::Progress,
};

/// How often the wish to stop is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What every verb has at hand.
pub struct Context<'g> {
    /// The options that every verb takes.
    pub global: &'g Global,
    /// Receives what the libraries report.
    pub progress: Progress,
    /// Set when someone asks to stop.
    pub cancel: Cancel,
    passwords: PasswordSources,
    /// A password is asked for once, however often it is needed.
    known: Mutex<Option<Password>>,
}

impl<'g> Context<'g> {
    /// Reads the environment, and catches signals from now on.
    pub fn new(global: &'g Global) -> Result<Self, Error> {
        let passwords =
            PasswordSources::new(global.password_file.clone(), global.password_command.clone());
        let cancel = Cancel::new();
        interrupt::install(&cancel.flag()).map_err(Error::Signals)?;
        let progress = Progress::start(global.progress);
        Ok(Self { global, progress, cancel, passwords, known: Mutex::default() })
    }

    /// What opens the repository: the key file, else the password.
    pub fn secret(&self) -> Result<UnlockSecret, PasswordError> {
        if let Some(path) = &self.global.key_file {
            return Ok(UnlockSecret::KeyFile(password::key_file(path)?));
        }
        let mut known = lock(&self.known);
        if let Some(known) = &*known {
            return Ok(UnlockSecret::Passphrase(known.clone()));
        }
        let password = self.ask("Password", false)?;
        *known = Some(password.clone());
        Ok(UnlockSecret::Passphrase(password))
    }

    /// Whether the repository can be opened without asking anyone.
    pub fn has_secret(&self) -> bool {
        self.global.key_file.is_some() || self.passwords.is_given()
    }

    /// What shall open a new repository.
    pub fn new_secret(&self) -> Result<UnlockSecret, PasswordError> {
        match &self.global.key_file {
            Some(path) => Ok(UnlockSecret::KeyFile(password::key_file(path)?)),
            None => self.ask("Password for the new repository", true).map(UnlockSecret::Passphrase),
        }
    }

    /// Asks on the terminal for a new password.
    pub fn prompt(&self, prompt: &str) -> Result<Password, PasswordError> {
        self.progress.pause(|| {
            PasswordSources::default().password(prompt, true, &|line| self.progress.warn(line))
        })
    }

    fn ask(&self, prompt: &str, confirm: bool) -> Result<Password, PasswordError> {
        self.progress
            .pause(|| self.passwords.password(prompt, confirm, &|line| self.progress.warn(line)))
    }

    /// Where this machine keeps its state.
    pub fn state_dir(&self) -> Result<PathBuf, Error> {
        let set = |name| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        self.global
            .state_dir
            .clone()
            .or_else(|| set("DROVER_STATE_DIR"))
            // The standard says to ignore a relative path.
            .or_else(|| set("XDG_STATE_HOME").filter(|p| p.is_absolute()).map(|p| p.join("drover")))
            .or_else(|| set("HOME").map(|home| home.join(".local/state/drover")))
            .ok_or(Error::NoStateDir)
    }

    /// Who runs this.
    pub fn operator(&self) -> String {
        self.global.operator.clone().unwrap_or_default()
    }

    /// Records what was done in the repository's audit log, where this machine may write to it.
    pub fn record(&self, repository: &Repository, verb: &str, subject: &str, outcome: &str) {
        // Where there is no state there is no credential to sign with.
        let Ok(state) = self.state_dir() else { return };
        let event = Event { operator: &self.operator(), verb, subject, outcome };
        drover_ops::audit::record(repository, &state, &event, &self.progress);
    }

    /// Waits in small steps, so that a wish to stop is heard; whether nobody wished it.
    pub fn wait(&self, time: Duration) -> bool {
        wait(&self.cancel, time)
    }

    /// The same, for whoever outlives the context.
    pub fn waiter(&self) -> impl Fn(Duration) -> bool + Send + Sync + 'static {
        let cancel = self.cancel.clone();
        move |time| wait(&cancel, time)
    }

    /// The warnings so far, for the report.
    pub fn warnings(&self) -> Vec<Text> {
        self.progress.warnings().into_iter().map(Text::from).collect()
    }

    /// Refuses what `verb`, whose output is no report, cannot do.
    pub fn no_document(&self, verb: &'static str) -> Result<(), Error> {
        let Global { json, html, markdown, csv, .. } = self.global;
        let asked = [
            (*json, "--json"),
            (html.is_some(), "--html"),
            (markdown.is_some(), "--markdown"),
            (csv.is_some(), "--csv"),
        ];
        let Some((_, option)) = asked.iter().find(|(asked, _)| *asked) else { return Ok(()) };
        Err(Error::Usage(format!("{verb} prints no report, so it takes no {option}")))
    }
}

fn wait(cancel: &Cancel, time: Duration) -> bool {
    let end = Instant::now() + time;
    loop {
        if cancel.is_set() {
            return false;
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        thread::park_timeout(left.min(LOOK));
    }
}
