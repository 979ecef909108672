//! Plays the story: does what the steps say, one after the other, and stops where one turns out
//! otherwise than told.
//!
//! The commands are given to drover as a user would give them, whole and from outside, so that
//! what the demo shows is what the tool does.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::PathBuf,
};

use super::{
    clinic::{make_clinic, one_day_later},
    compare::differences,
    damage::Damage,
    story::{Action, Places, STEPS, Step},
    tree::at,
};

/// The password of a repository that holds nothing but inventions, in a directory that only its
/// owner can enter.
const PASSWORD: &str = "the password of a made-up clinic\n";

/// What a restore leaves in its target, to know its own work by.
const MARK: &str = ".drover-restore";

/// Who shows the demo to the user, and runs drover.
pub trait Stage {
    /// A step begins: its number from 1, title, explanation, and the command to type (empty where
    /// there is none).
    fn begin(
        &mut self,
        number: usize,
        step: &Step,
        explanation: &str,
        command: &str,
    ) -> io::Result<()>;

    /// Runs drover with `arguments` and with the state directory and the password file of
    /// `places`, shows what it answers, and returns its exit code.
    fn drover(&mut self, places: &Places, arguments: &[OsString]) -> io::Result<u8>;

    /// What came of a step that is not a command of drover, in a sentence.
    fn outcome(&mut self, text: &str) -> io::Result<()>;
}

/// Why the demo did not go as told.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The system refused something.
    #[error("the demo stopped at \"{title}\": {source}")]
    Io {
        /// The step.
        title: &'static str,
        /// What it said, with the path.
        source: io::Error,
    },
    /// drover gave another exit code than told.
    #[error(
        "the demo stopped at \"{title}\": exit code {got} instead of {expected} from {command}"
    )]
    Exit {
        /// The step.
        title: &'static str,
        /// What was run.
        command: String,
        /// The exit code that it was to give.
        expected: u8,
        /// The one that it gave.
        got: u8,
    },
    /// What came back is not what went in.
    #[error(
        "the demo failed: the clinic and what came back differ in {count} places, first {path:?}: {what}"
    )]
    Different {
        /// How many.
        count: usize,
        /// Of the first, relative to the clinic.
        path: PathBuf,
        /// What differs in the first.
        what: &'static str,
    },
}

/// Plays all steps below the directory of `places`, which must be empty or not exist, with the
/// clinic of this seed.
pub fn play(places: &Places, seed: u64, stage: &mut impl Stage) -> Result<(), PlayError> {
    let mut damage = None;
    for (at, step) in STEPS.iter().enumerate() {
        let failed = |source| PlayError::Io { title: step.title, source };
        // The command of a damage can only be told once it is known where it is.
        if step.action == Action::Damage {
            damage = Some(Damage::make(&places.repository()).map_err(failed)?);
        }
        let command = step.command(places, damage.as_ref());
        stage.begin(at + 1, step, &step.explanation(places), &command).map_err(failed)?;
        if let Some(arguments) = step.arguments(places) {
            let got = stage.drover(places, &arguments).map_err(failed)?;
            if got != step.exit {
                let (title, expected) = (step.title, step.exit);
                return Err(PlayError::Exit { title, command, expected, got });
            }
            continue;
        }
        let outcome = match (step.action, &damage) {
            (Action::MakeClinic, _) => {
                prepare(places).map_err(failed)?;
                make_clinic(&places.clinic(), seed).map_err(failed)?.to_string()
            }
            (Action::OneDayLater, _) => {
                one_day_later(&places.clinic()).map_err(failed)?.to_string()
            }
            (Action::Damage, Some(damage)) => format!(
                "Byte {} of {} was {:#04x} and is {:#04x} now",
                damage.offset,
                damage.pack.display(),
                damage.before,
                damage.after
            ),
            (Action::Repair, Some(damage)) => {
                damage.repair().map_err(failed)?;
                format!("Byte {} is {:#04x} again", damage.offset, damage.before)
            }
            (Action::Compare, _) => {
                let found =
                    differences(&places.clinic(), &places.restored(), MARK).map_err(failed)?;
                if let Some(first) = found.first() {
                    let (path, what) = (first.path.clone(), first.what);
                    return Err(PlayError::Different { count: found.len(), path, what });
                }
                "No difference: names, contents, permissions, owners, times, links, attributes"
                    .to_owned()
            }
            // The rest are commands of drover.
            _ => continue,
        };
        stage.outcome(&outcome).map_err(failed)?;
    }
    Ok(())
}

/// The directory of the demo, for its owner alone, and the password in it.
fn prepare(places: &Places) -> io::Result<()> {
    let dir = &places.dir;
    at(dir, fs::create_dir_all(dir))?;
    if at(dir, fs::read_dir(dir))?.next().is_some() {
        let error = io::Error::new(io::ErrorKind::DirectoryNotEmpty, "is not empty");
        return at(dir, Err(error));
    }
    at(dir, fs::set_permissions(dir, Permissions::from_mode(0o700)))?;
    let path = places.password();
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    at(&path, file.and_then(|mut file| file.write_all(PASSWORD.as_bytes())))
}
