//! What the account's own SSH settings say of a host: `~/.ssh/config` and the system's, as OpenSSH
//! itself understands them.
//!
//! The settings have patterns, includes, conditions and tokens that only OpenSSH evaluates
//! rightly, so it is asked (`ssh -G`), and it leads over jump hosts too (`ssh -W`): by the same keys,
//! agent and known hosts as when the engineer types `ssh`. Where it is not installed, there are no
//! settings.

use std::{
    env,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use drover_source::Agent;
use nix::unistd::{Uid, User};

use crate::{error::Error, output::shown};

/// The longest answer of `ssh -G` that is looked at, in bytes.
const LONGEST: usize = 1 << 20;

/// What is set for one host.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SshConfig {
    pub host: Option<String>,
    pub port: Option<u16>,
    pub user: Option<String>,
    pub identities: Vec<PathBuf>,
    pub known_hosts: Vec<PathBuf>,
    pub host_key_alias: Option<String>,
    pub agent: Agent,
    pub identities_only: bool,
    pub proxy: Option<Vec<OsString>>,
}

/// What the URL and the plan say, which counts before what is set.
pub struct Asked<'a> {
    pub host: &'a str,
    pub user: Option<&'a str>,
    pub port: Option<u16>,
    /// The file of settings, in place of the account's and the system's.
    pub file: Option<&'a Path>,
    pub home: Option<&'a Path>,
}

impl Asked<'_> {
    /// Asks OpenSSH; nothing is set where it is not there and no file was named.
    pub fn ask(&self) -> Result<SshConfig, Error> {
        if !is_plain(self.host) {
            return Err(Error::Usage(format!("{:?} is no host's name", self.host)));
        }
        let file = match self.file {
            Some(file) => Some(file.to_owned()),
            None => self.account_file(),
        };
        let mut command = Command::new("ssh");
        command.arg("-G");
        for arguments in self.arguments(file.as_deref()) {
            command.arg(arguments);
        }
        command.arg("--").arg(self.host).stdin(Stdio::null());
        command.env_clear().envs(environment());
        let output = match command.output() {
            Ok(output) => output,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return match file {
                    Some(file) => Err(Error::Usage(format!(
                        "{}: OpenSSH reads these settings, and it is not installed (apt install \
                         openssh-client). To do without them, give --ssh-config /dev/null",
                        shown(&file)
                    ))),
                    None => Ok(SshConfig::default()),
                };
            }
            Err(error) => return Err(Error::Usage(format!("ssh cannot be run: {error}"))),
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().next().unwrap_or("it does not say why");
            let said = drover_types::path::escape(said.as_bytes());
            return Err(Error::Usage(format!("OpenSSH does not take its settings: {said}")));
        }
        let text = output.stdout.get(..output.stdout.len().min(LONGEST)).unwrap_or_default();
        self.read(&String::from_utf8_lossy(text), file.as_deref())
    }

    /// OpenSSH takes the home of the account, and not `HOME`; where they differ, the file of the
    /// latter is named to it.
    fn account_file(&self) -> Option<PathBuf> {
        let home = self.home?;
        let file = home.join(".ssh/config");
        (account_home().as_deref() != Some(home) && file.exists()).then_some(file)
    }

    fn arguments(&self, file: Option<&Path>) -> Vec<OsString> {
        let mut arguments = Vec::new();
        let mut option = |name: &str, value: OsString| {
            arguments.extend([OsString::from(name), value]);
        };
        if let Some(file) = file {
            option("-F", file.into());
        }
        if let Some(user) = self.user {
            option("-l", user.into());
        }
        if let Some(port) = self.port {
            option("-p", port.to_string().into());
        }
        arguments
    }

    /// Of what `ssh -G` prints: a setting on each line, its name in small letters.
    fn read(&self, text: &str, file: Option<&Path>) -> Result<SshConfig, Error> {
        let mut config = SshConfig::default();
        let mut jump = None;
        let mut command = None;
        for line in text.lines() {
            let Some((key, value)) = line.split_once(' ') else { continue };
            let paths = || value.split_whitespace().map(|path| self.path(path));
            let unset = value.is_empty() || value == "none";
            match key {
                "hostname" => config.host = Some(value.to_owned()),
                "port" => config.port = value.parse().ok(),
                "user" => config.user = Some(value.to_owned()),
                "identityfile" => config.identities.push(self.path(value)),
                "identitiesonly" => config.identities_only = value == "yes",
                "identityagent" if value == "none" => config.agent = Agent::No,
                "identityagent" if value != "SSH_AUTH_SOCK" => {
                    config.agent = Agent::At(self.path(value));
                }
                "userknownhostsfile" if unset => {}
                "userknownhostsfile" => config.known_hosts.splice(0..0, paths()).for_each(drop),
                "globalknownhostsfile" => config.known_hosts.extend(paths()),
                "hostkeyalias" if !unset => config.host_key_alias = Some(value.to_owned()),
                "proxyjump" if !unset => jump = Some(value.to_owned()),
                "proxycommand" if !unset => command = Some(value.to_owned()),
                _ => {}
            }
        }
        config.proxy = match (jump, command) {
            (Some(jump), _) => Some(over(&jump, &config, file)),
            (None, Some(command)) => Some(self.by(&command, &config)?),
            (None, None) => None,
        };
        Ok(config)
    }

    /// With `~` for the home. OpenSSH fills in the account's where it names its own files of known
    /// hosts.
    fn path(&self, text: &str) -> PathBuf {
        let Some(home) = self.home else { return PathBuf::from(text) };
        let own = ["known_hosts", "known_hosts2"].into_iter().find(|name| {
            account_home().is_some_and(|home| home.join(".ssh").join(name) == Path::new(text))
        });
        match (text.strip_prefix("~/"), own) {
            (Some(rest), _) => home.join(rest),
            (None, Some(name)) => home.join(".ssh").join(name),
            (None, None) => PathBuf::from(text),
        }
    }

    /// A shell command, with its tokens filled in.
    fn by(&self, command: &str, config: &SshConfig) -> Result<Vec<OsString>, Error> {
        let host = config.host.as_deref().unwrap_or(self.host);
        let user = config.user.as_deref().unwrap_or_default();
        if !is_plain(host) || !is_plain(user) {
            let message = format!("{host:?} or {user:?} does not belong into a ProxyCommand");
            return Err(Error::Usage(message));
        }
        let mut filled = String::from("exec ");
        let mut characters = command.chars();
        while let Some(character) = characters.next() {
            match (character, character == '%') {
                (_, true) => match characters.next() {
                    Some('%') => filled.push('%'),
                    Some('h') => filled.push_str(host),
                    Some('n') => filled.push_str(self.host),
                    Some('p') => filled.push_str(&config.port.unwrap_or(22).to_string()),
                    Some('r') => filled.push_str(user),
                    other => {
                        let token: String = other.into_iter().collect();
                        return Err(Error::Usage(format!(
                            "the ProxyCommand for {} has the token %{token}, which is not known here",
                            self.host
                        )));
                    }
                },
                _ => filled.push(character),
            }
        }
        Ok(["/bin/sh", "-c", &filled].map(OsString::from).to_vec())
    }
}

/// The home that the system has for the account.
fn account_home() -> Option<PathBuf> {
    User::from_uid(Uid::current()).ok().flatten().map(|user| user.dir)
}

/// OpenSSH itself, which connects to the host from the last of the jump hosts.
fn over(jump: &str, config: &SshConfig, file: Option<&Path>) -> Vec<OsString> {
    let (before, last) = match jump.rsplit_once(',') {
        Some((before, last)) => (Some(before), last),
        None => (None, jump),
    };
    let mut command: Vec<OsString> = vec!["ssh".into()];
    if let Some(file) = file {
        command.extend(["-F".into(), file.into()]);
    }
    if let Some(before) = before {
        command.extend(["-J".into(), before.into()]);
    }
    let host = config.host.as_deref().unwrap_or_default();
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let last = match last.strip_prefix("ssh://") {
        Some(_) => last.to_owned(),
        None => format!("ssh://{last}"),
    };
    let to = format!("{host}:{}", config.port.unwrap_or(22));
    command.extend(["-W", &to, "--", &last].map(OsString::from));
    command
}

/// What OpenSSH and a program on the way find in their environment; passwords and keys of stores
/// are not there.
pub fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    const NAMES: [&str; 10] = [
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "TERM",
        "DISPLAY",
        "SSH_AUTH_SOCK",
        "SSH_ASKPASS",
        "SSH_ASKPASS_REQUIRE",
    ];
    NAMES.into_iter().filter_map(|name| Some((name.into(), env::var_os(name)?)))
}

/// Whether a shell and an option parser pass it on as it is.
fn is_plain(name: &str) -> bool {
    !name.starts_with('-')
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked<'static> {
        let home = Some(Path::new("/home/e"));
        Asked { host: "old", user: None, port: None, file: None, home }
    }

    #[test]
    fn what_is_set() {
        let text = "user drover\nhostname 10.1.2.3\nport 2022\nidentityfile ~/.ssh/old\n\
                    userknownhostsfile ~/.ssh/known_hosts ~/.ssh/known_hosts2\n\
                    globalknownhostsfile /etc/ssh/ssh_known_hosts\nidentitiesonly yes\n\
                    hostkeyalias ward-3\nproxyjump bastion,ops@inner:2200\nproxycommand none\n";
        let config = asked().read(text, Some(Path::new("/c"))).unwrap();
        assert_eq!((config.host.as_deref(), config.port), (Some("10.1.2.3"), Some(2022)));
        assert_eq!(config.identities, [Path::new("/home/e/.ssh/old")]);
        assert_eq!(config.known_hosts[0], Path::new("/home/e/.ssh/known_hosts"));
        assert_eq!(config.known_hosts[2], Path::new("/etc/ssh/ssh_known_hosts"));
        assert!(config.identities_only && config.agent == Agent::Default);
        assert_eq!(config.host_key_alias.as_deref(), Some("ward-3"));
        let proxy = ["ssh", "-F", "/c", "-J", "bastion", "-W", "10.1.2.3:2022", "--"];
        let proxy: Vec<_> = proxy.into_iter().chain(["ssh://ops@inner:2200"]).collect();
        assert_eq!(config.proxy.unwrap(), proxy);
    }

    #[test]
    fn commands_on_the_way() {
        let text =
            |command: &str| format!("hostname h.x\nport 22\nuser u\nproxycommand {command}\n");
        let by =
            |command: &str| asked().read(&text(command), None).map(|c| c.proxy.unwrap()[2].clone());
        assert_eq!(by("nc -X 5 %h %p # 100%%").unwrap(), "exec nc -X 5 h.x 22 # 100%");
        assert!(by("nc %C").is_err() && by("nc %").is_err());
        let evil = "hostname $(reboot)\nproxycommand nc %h\n";
        assert!(asked().read(evil, None).is_err());
        let asked = Asked { host: "-oProxyCommand=x", ..asked() };
        assert!(asked.ask().is_err());
    }
}
