//! Where the password comes from: file, command, environment, prompt, in this order. Never from
//! an argument, which every user of the machine could read.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, IsTerminal, Read},
    os::unix::{ffi::OsStringExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use drover_types::path::escape;
use zeroize::Zeroizing;

/// Longer is something else than a password.
const LONGEST: u64 = 64 << 10;

/// A password as bytes, without the one newline that a file or a command ends with.
pub type Password = Zeroizing<Vec<u8>>;

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The file cannot be read.
    #[error("cannot read the password file {}: {source}", escape(path.as_os_str().as_encoded_bytes()))]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The command cannot be run or read.
    #[error("cannot run the password command: {0}")]
    Command(io::Error),
    /// The command failed.
    #[error("the password command failed: {0}")]
    CommandFailed(ExitStatus),
    /// The prompt failed.
    #[error("cannot ask for the password: {0}")]
    Prompt(io::Error),
    /// Nowhere to take it from.
    #[error("no password was given, and there is no terminal to ask on")]
    Missing,
    /// Nothing in it.
    #[error("the password is empty")]
    Empty,
    /// Too much in it.
    #[error("the password is longer than {LONGEST} bytes")]
    TooLong,
    /// Typed twice, differently.
    #[error("the two passwords differ")]
    Mismatch,
    /// Ctrl-C at the prompt.
    #[error("interrupted")]
    Interrupted,
}

/// The places to look at.
#[derive(Debug, Default)]
pub struct PasswordSources {
    /// `--password-file`
    pub file: Option<PathBuf>,
    /// `--password-command`
    pub command: Option<OsString>,
    /// `DROVER_PASSWORD_FILE`
    pub environment_file: Option<PathBuf>,
    /// `DROVER_PASSWORD`
    pub environment: Option<Password>,
}

impl PasswordSources {
    /// The arguments, and what the environment says.
    pub fn new(file: Option<PathBuf>, command: Option<OsString>) -> Self {
        Self {
            file,
            command,
            environment_file: env::var_os("DROVER_PASSWORD_FILE").map(PathBuf::from),
            environment: env::var_os("DROVER_PASSWORD")
                .map(|password| Zeroizing::new(password.into_vec())),
        }
    }

    /// Whether there is a place that may have one.
    pub fn is_given(&self) -> bool {
        let files = [self.file.is_some(), self.environment_file.is_some()];
        files.contains(&true) || self.command.is_some() || self.environment.is_some()
    }

    /// The password from the first place that has one; `prompt` asks for it where none has, and
    /// asks twice where `confirm` says that it is a new one. `warn` gets a line when the file can
    /// be read by others.
    pub fn password(
        &self,
        prompt: &str,
        confirm: bool,
        warn: &dyn Fn(&str),
    ) -> Result<Password, PasswordError> {
        let password = if let Some(path) = &self.file {
            from_file(path, warn)?
        } else if let Some(command) = &self.command {
            from_command(command)?
        } else if let Some(path) = &self.environment_file {
            from_file(path, warn)?
        } else if let Some(password) = &self.environment {
            without_newline(password.clone())
        } else {
            from_prompt(prompt, confirm)?
        };
        if password.is_empty() { Err(PasswordError::Empty) } else { Ok(password) }
    }
}

/// Reads a password file.
pub fn from_file(path: &Path, warn: &dyn Fn(&str)) -> Result<Password, PasswordError> {
    let read = || {
        let file = File::open(path)?;
        let mode = file.metadata()?.permissions().mode();
        Ok((mode, read_bounded(file)?))
    };
    let (mode, password) =
        read().map_err(|source| PasswordError::File { path: path.to_owned(), source })?;
    if mode & 0o004 != 0 {
        let shown = escape(path.as_os_str().as_encoded_bytes());
        warn(&format!("every user of this machine can read the password file {shown}: chmod 600"));
    }
    bounded(password)
}

/// The whole content of a key file.
pub fn key_file(path: &Path) -> Result<Password, PasswordError> {
    let fail = |source| PasswordError::File { path: path.to_owned(), source };
    let key = File::open(path).and_then(read_bounded).map_err(fail)?;
    match key.len() as u64 {
        0 => Err(PasswordError::Empty),
        n if n > LONGEST => Err(PasswordError::TooLong),
        _ => Ok(key),
    }
}

fn from_command(command: &OsStr) -> Result<Password, PasswordError> {
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(PasswordError::Command)?;
    let password = match child.stdout.take() {
        Some(out) => read_bounded(out),
        None => Ok(Password::default()),
    };
    let status = child.wait().map_err(PasswordError::Command)?;
    if !status.success() {
        return Err(PasswordError::CommandFailed(status));
    }
    bounded(password.map_err(PasswordError::Command)?)
}

fn from_prompt(prompt: &str, confirm: bool) -> Result<Password, PasswordError> {
    if !io::stdin().is_terminal() {
        return Err(PasswordError::Missing);
    }
    let ask = |prompt: String| match rpassword::prompt_password(prompt) {
        Ok(password) => Ok(Zeroizing::new(password.into_bytes())),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(PasswordError::Interrupted),
        Err(error) => Err(PasswordError::Prompt(error)),
    };
    let password = ask(format!("{prompt}: "))?;
    if confirm && *password != *ask(format!("{prompt}, once more: "))? {
        return Err(PasswordError::Mismatch);
    }
    Ok(password)
}

/// One byte more than allowed, so that [`bounded`] sees it.
fn read_bounded(from: impl Read) -> io::Result<Password> {
    // The room is taken at once: a buffer that grows leaves copies behind.
    let mut password = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 1));
    from.take(LONGEST + 1).read_to_end(&mut password)?;
    Ok(password)
}

fn bounded(password: Password) -> Result<Password, PasswordError> {
    if password.len() as u64 > LONGEST {
        return Err(PasswordError::TooLong);
    }
    Ok(without_newline(password))
}

fn without_newline(mut password: Password) -> Password {
    if password.last() == Some(&b'\n') {
        password.pop();
    }
    password
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, fs};

    use super::*;

    fn ask(sources: &PasswordSources) -> Result<Vec<u8>, PasswordError> {
        sources.password("Password", false, &|_| {}).map(|password| password.to_vec())
    }

    #[test]
    fn the_first_place_wins_and_one_newline_is_stripped() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            Some(path)
        };
        let mut sources = PasswordSources {
            file: file("a", b"one\n\n"),
            command: Some("printf 'two\\n'".into()),
            environment_file: file("b", b"three\r\n"),
            environment: Some(Zeroizing::new(b"four".to_vec())),
        };
        assert_eq!(ask(&sources).unwrap(), b"one\n");
        sources.file = None;
        assert_eq!(ask(&sources).unwrap(), b"two");
        sources.command = None;
        assert_eq!(ask(&sources).unwrap(), b"three\r");
        sources.environment_file = None;
        assert_eq!(ask(&sources).unwrap(), b"four");
    }

    #[test]
    fn what_is_no_password_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p");
        let of = |path: &Path| PasswordSources { file: Some(path.into()), ..Default::default() };
        assert!(matches!(ask(&of(&path)), Err(PasswordError::File { .. })));
        fs::write(&path, b"\n").unwrap();
        assert!(matches!(ask(&of(&path)), Err(PasswordError::Empty)));
        fs::write(&path, vec![b'x'; LONGEST as usize + 1]).unwrap();
        assert!(matches!(ask(&of(&path)), Err(PasswordError::TooLong)));
        let command = |c: &str| PasswordSources { command: Some(c.into()), ..Default::default() };
        assert!(matches!(ask(&command("echo x; exit 3")), Err(PasswordError::CommandFailed(_))));
        assert!(matches!(ask(&command("true")), Err(PasswordError::Empty)));
    }

    #[test]
    fn a_file_that_others_can_read_is_warned_about() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p");
        fs::write(&path, "secret").unwrap();
        for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let lines = RefCell::new(Vec::new());
            from_file(&path, &|line| lines.borrow_mut().push(line.to_owned())).unwrap();
            assert_eq!(!lines.borrow().is_empty(), warned, "{mode:o}");
            assert!(!lines.borrow().iter().any(|line| line.contains("secret")));
        }
    }
}
