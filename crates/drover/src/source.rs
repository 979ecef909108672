//! Where a source is, and how it is opened: a directory, or another server's by SFTP.

use std::{
    env,
    ffi::OsString,
    fmt,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use clap::Args;
use drover_plan::{Helper, Location, SftpUrl, Ssh, is_fingerprint};
use drover_source::{
    CommandSource, HelperProgram, HelperSource, LocalSource, Proxy, SftpOptions, SftpSource,
    Source, SourceError, SshLaunch, SshSecrets,
    helper::{LaunchError, OpenError},
    host::{Host, LocalHost, SshHost, open_for_writing_on},
    legacy_algorithms_in,
    local::holders::{OpenFiles, open_for_writing},
};
use drover_types::{RelativePath, lock, path::escape};
use zeroize::Zeroizing;

use crate::{
    context::Context,
    error::Error,
    helper, hooks,
    output::shown,
    password::{Password, PasswordSources},
    place,
    ssh_config::{Asked, environment},
};

/// How a server of a source is recognised, and lets us in.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "SSH")]
pub struct SshArgs {
    /// A private key to offer, beside those of the agent
    #[arg(long, value_name = "FILE")]
    ssh_identity_file: Option<PathBuf>,
    /// The file that holds the password of the account
    #[arg(long, value_name = "FILE", conflicts_with = "ssh_password_command")]
    ssh_password_file: Option<PathBuf>,
    /// The command that prints the password of the account
    #[arg(long, value_name = "COMMAND")]
    ssh_password_command: Option<OsString>,
    /// The fingerprint of the only host key that counts, as ssh-keygen -l prints it
    #[arg(long, value_name = "SHA256:…", value_parser = fingerprint)]
    ssh_host_key: Option<String>,
    /// A file of settings that OpenSSH is asked for, in place of ~/.ssh/config and the system's
    #[arg(long, value_name = "FILE")]
    ssh_config: Option<PathBuf>,
    /// Let a server that knows nothing better use algorithms that are broken or weak (SHA-1, CBC)
    #[arg(long)]
    ssh_legacy_algorithms: bool,
    /// Do not ask a shell of the account what SFTP does not say
    #[arg(long)]
    ssh_no_shell: bool,
    /// Have a helper on the server read it: this program, copied there for as long as it is needed
    #[arg(long)]
    ssh_helper: bool,
}

fn fingerprint(text: &str) -> Result<String, String> {
    match is_fingerprint(text) {
        true => Ok(text.to_owned()),
        false => {
            Err("a fingerprint is SHA256: and 43 characters, as ssh-keygen -l prints it".into())
        }
    }
}

/// Where a source is.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A directory of this machine.
    Directory(PathBuf),
    /// One of another server.
    Server(SftpUrl, Ssh),
    /// What a command prints, as a file.
    Command(Printed),
}

/// A command whose output is a file.
#[derive(Clone, Debug)]
pub struct Printed {
    words: Vec<String>,
    file: RelativePath,
    /// Where it runs, where that is not here.
    server: Option<(SftpUrl, Ssh)>,
    /// How long it may print nothing.
    silence: Duration,
}

impl Origin {
    /// A source of a plan.
    pub fn of(source: &drover_plan::Source, given: &SshArgs) -> Result<Self, Error> {
        let Some(printed) = &source.command else {
            return Self::new(&source.url, given, Some(&source.ssh));
        };
        let server = match &source.url {
            Location::Sftp(_) => match Self::new(&source.url, given, Some(&source.ssh))? {
                Self::Server(url, ssh) => Some((url, ssh)),
                _ => None,
            },
            _ => None,
        };
        let file = RelativePath::new(printed.file.as_bytes());
        let file = file.map_err(|error| Error::Usage(format!("{}: {error}", printed.file)))?;
        let (words, silence) = (printed.words.clone(), source.hooks.timeout.0);
        Ok(Self::Command(Printed { words, file, server, silence }))
    }

    /// The sources that the command line gives, of which there must be one at least.
    pub fn given(sources: &[OsString], ssh: &SshArgs) -> Result<Vec<Self>, Error> {
        if sources.is_empty() {
            let message = "which source? Give a directory with --source, or a plan file";
            return Err(Error::Usage(message.to_owned()));
        }
        let one = |source: &OsString| Self::new(&place::location(source, "--source")?, ssh, None);
        sources.iter().map(one).collect()
    }

    /// Whether it is what a command prints: that runs in passes alone.
    pub fn is_command(&self) -> bool {
        matches!(self, Self::Command(_))
    }

    /// What was given on the command line counts before what the plan says.
    pub fn new(location: &Location, given: &SshArgs, planned: Option<&Ssh>) -> Result<Self, Error> {
        match location {
            Location::Directory(root) => Ok(Self::Directory(root.clone())),
            Location::Sftp(url) => {
                let mut ssh = planned.cloned().unwrap_or_default();
                if let Some(file) = &given.ssh_identity_file {
                    ssh.identity_file = Some(file.clone());
                }
                if given.ssh_password_file.is_some() || given.ssh_password_command.is_some() {
                    ssh.password_file.clone_from(&given.ssh_password_file);
                    let command = given.ssh_password_command.as_ref();
                    ssh.password_command = command.map(|c| c.to_string_lossy().into_owned());
                }
                if let Some(key) = &given.ssh_host_key {
                    ssh.host_key = Some(key.clone());
                }
                if let Some(file) = &given.ssh_config {
                    ssh.config = Some(file.clone());
                }
                ssh.legacy_algorithms |= given.ssh_legacy_algorithms;
                ssh.shell &= !given.ssh_no_shell;
                if given.ssh_helper && ssh.helper == Helper::No {
                    ssh.helper = Helper::Copied;
                }
                Ok(Self::Server(url.clone(), ssh))
            }
            Location::Cloud(url) => Err(Error::Usage(format!(
                "{url}: a source is a directory, here or at sftp://, and no bucket"
            ))),
        }
    }

    /// The directory, where it is one of this machine.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(root) => Some(root),
            Self::Server(..) | Self::Command(_) => None,
        }
    }

    /// How its server is reached; `None` of this machine.
    pub fn ssh_options(&self, context: &Context) -> Result<Option<SftpOptions>, Error> {
        match self {
            Self::Directory(_) | Self::Command(Printed { server: None, .. }) => Ok(None),
            Self::Server(url, ssh) | Self::Command(Printed { server: Some((url, ssh)), .. }) => {
                options(url, ssh, context).map(Some)
            }
        }
    }

    /// The machine that it is on, to be asked and told.
    pub fn host(&self, context: &Context) -> Result<Box<dyn Host>, Error> {
        let Some(options) = self.ssh_options(context)? else {
            return Ok(Box::new(LocalHost::new()));
        };
        Ok(Box::new(self.ssh_host(&options, context)?))
    }

    /// Which of its files are open for writing there, `None` of what a command prints; an error has in
    /// words why nobody knows.
    pub fn open_files(&self, context: &Context) -> Result<Option<OpenFiles>, String> {
        match self {
            Self::Command(_) => Ok(None),
            Self::Directory(directory) => {
                let root = directory.canonicalize().map_err(|error| error.to_string())?;
                let open = open_for_writing(&root).ok_or("this machine has no /proc")?;
                Ok(Some(open))
            }
            Self::Server(_, ssh) if !ssh.shell => Err("no shell is allowed there".to_owned()),
            Self::Server(url, _) => {
                let path = url.path.to_str().ok_or("its path is not UTF-8")?;
                let host = self.host(context).map_err(|error| error.to_string())?;
                open_for_writing_on(host.as_ref(), path).map(Some)
            }
        }
    }

    /// The server that it is on.
    pub fn ssh_host(&self, options: &SftpOptions, context: &Context) -> Result<SshHost, Error> {
        let host = context.progress.pause(|| SshHost::open(options));
        host.map_err(|source| {
            let (url, source) = (self.to_string(), Box::new(source));
            drover_ops::Error::Source(SourceError::Ssh { url, source }).into()
        })
    }

    /// The machine that it is on, as it was written; `None` of this one.
    pub fn machine(&self) -> Option<String> {
        match self {
            Self::Directory(_) | Self::Command(Printed { server: None, .. }) => None,
            Self::Server(url, _) | Self::Command(Printed { server: Some((url, _)), .. }) => {
                Some(url.host.clone())
            }
        }
    }

    /// Whether both are of one server, as one account.
    pub fn same_server(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Directory(_), Self::Directory(_)) => true,
            (Self::Server(a, _), Self::Server(b, _)) => {
                (&a.host, a.port, &a.user) == (&b.host, b.port, &b.user)
            }
            _ => false,
        }
    }

    /// Opens it; a server is asked for its key, and for what it takes.
    pub fn open(&self, context: &Context) -> Result<Arc<dyn Source>, Error> {
        match self {
            Self::Directory(root) => {
                let source = LocalSource::open(root).map_err(drover_ops::Error::from)?;
                Ok(Arc::new(source))
            }
            Self::Command(printed) => {
                let Printed { words, file, silence, .. } = printed;
                let (words, cancel) = (words.clone(), context.cancel.clone());
                let stopped = Box::new(move || cancel.is_set());
                let Some(options) = self.ssh_options(context)? else {
                    let environment = hooks::environment().collect();
                    let source = CommandSource::here(words, file, environment, *silence, stopped);
                    return Ok(Arc::new(source));
                };
                let host = options.host.clone();
                let open = || CommandSource::there(words, file, options, *silence, stopped);
                let source = context.progress.pause(open).map_err(drover_ops::Error::from)?;
                warn_of_algorithms(&source.description().connection, &host, context);
                Ok(Arc::new(source))
            }
            Self::Server(url, ssh) => {
                let options = options(url, ssh, context)?;
                let source: Arc<dyn Source> = match helper(ssh, &options, context)? {
                    Some(source) => Arc::new(source),
                    None => {
                        let source = context.progress.pause(|| SftpSource::open(options));
                        Arc::new(source.map_err(drover_ops::Error::from)?)
                    }
                };
                warn_of_algorithms(&source.description().connection, &url.host, context);
                Ok(source)
            }
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(root) => f.write_str(&shown(root)),
            Self::Server(url, _) => url.fmt(f),
            Self::Command(printed) => f.write_str(&escape(printed.words.join(" ").as_bytes())),
        }
    }
}

/// Says so where a connection came to use algorithms that are only for servers that know no others.
fn warn_of_algorithms(connection: &str, host: &str, context: &Context) {
    let legacy = legacy_algorithms_in(connection);
    if !legacy.is_empty() {
        context.progress.warn(&format!(
            "the connection to {host} uses algorithms that are broken or weak, as was allowed for it: {}. \
             Whoever can listen in may come to read or change what is sent",
            legacy.join(", ")
        ));
    }
}

/// The source as a helper on the server reads it; `None` where none is asked for, or where none can be
/// had there, which is told.
fn helper(
    ssh: &Ssh,
    options: &SftpOptions,
    context: &Context,
) -> Result<Option<HelperSource>, Error> {
    let program = match &ssh.helper {
        Helper::No => return Ok(None),
        Helper::Installed(words) => HelperProgram::Installed(words.clone()),
        Helper::Copied => helper::program()?,
    };
    let SftpOptions { url, host, root, .. } = options;
    // A helper gives way where this process does.
    let polite = rustix::process::getpriority_process(None).is_ok_and(|nice| nice >= 19);
    let launch = Box::new(SshLaunch::new(options.clone(), program).polite(polite));
    let opened = context.progress.pause(|| HelperSource::open(launch, root.clone(), url, host));
    let failed = |error| Err(Error::Ops(drover_ops::Error::Source(error)));
    match opened {
        Ok(source) => Ok(Some(source)),
        Err(OpenError::Source(error)) => failed(error),
        Err(OpenError::Launch(LaunchError::Ssh(source))) => {
            failed(SourceError::Ssh { url: url.clone(), source: Box::new(source) })
        }
        Err(OpenError::Launch(error)) => {
            context.progress.warn(&format!("{url} is read by SFTP, and not by a helper: {error}"));
            Ok(None)
        }
    }
}

fn options(url: &SftpUrl, ssh: &Ssh, context: &Context) -> Result<SftpOptions, Error> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let below_home = |name: &str| home.as_ref().map(|home| home.join(".ssh").join(name));
    let config = Asked {
        host: &url.host,
        user: url.user.as_deref(),
        port: url.port,
        file: ssh.config.as_deref(),
        home: home.as_deref(),
    }
    .ask()?;
    let user = url.user.clone().or(config.user).or_else(|| env::var("USER").ok());
    let user = user.ok_or_else(|| {
        Error::Usage(format!("{url}: which account? Write sftp://user@host/path"))
    })?;
    let known_hosts = match config.known_hosts.is_empty() {
        true => below_home("known_hosts")
            .into_iter()
            .chain(["/etc/ssh/ssh_known_hosts".into()])
            .collect(),
        false => config.known_hosts,
    };
    let identities = match &ssh.identity_file {
        Some(file) => vec![file.clone()],
        None if !config.identities.is_empty() => config.identities,
        None => ["id_ed25519", "id_ecdsa", "id_rsa"].iter().filter_map(|n| below_home(n)).collect(),
    };
    // Asked for before there are threads that would wait for the answer.
    let source = PasswordSources {
        file: ssh.password_file.clone(),
        command: ssh.password_command.clone().map(OsString::from),
        ..PasswordSources::default()
    };
    let may_ask = io::stdin().is_terminal();
    let given = source.file.is_some() || source.command.is_some();
    let password = match given {
        true => Some(source.password("", false, &|line| context.progress.warn(line))?),
        false => None,
    };
    let host = config.host.unwrap_or_else(|| url.host.clone());
    let port = url.port.or(config.port).unwrap_or(22);
    let secrets = Arc::new(Person { password: Mutex::new(password), may_ask });
    Ok(SftpOptions {
        user,
        root: url.path.clone().into_os_string().into_encoded_bytes(),
        proxy: config.proxy.map(|command| Proxy { command, environment: environment().collect() }),
        host_key: ssh.host_key.clone(),
        host_key_alias: config.host_key_alias,
        known_hosts,
        identities,
        identities_are_defaults: ssh.identity_file.is_none(),
        agent: config.agent,
        identities_only: config.identities_only && ssh.identity_file.is_none(),
        legacy_algorithms: ssh.legacy_algorithms,
        shell: ssh.shell,
        ..SftpOptions::new(url.to_string(), &host, port, secrets)
    })
}

/// Who is asked for what only a person knows. What was said is remembered for the connections
/// that follow.
struct Person {
    password: Mutex<Option<Password>>,
    may_ask: bool,
}

impl Person {
    fn ask(&self, question: &str) -> Result<Option<Password>, String> {
        let mut known = lock(&self.password);
        if known.is_none() && self.may_ask {
            let answer = PasswordSources::default().password(question, false, &|_| {});
            *known = Some(answer.map_err(|error| error.to_string())?);
        }
        Ok(known.clone())
    }
}

fn text(secret: Option<Password>) -> Result<Option<Zeroizing<String>>, String> {
    let text = |bytes: Password| match str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err("the password is no UTF-8 text".to_owned()),
    };
    secret.map(text).transpose()
}

impl SshSecrets for Person {
    fn password(&self, user: &str, host: &str) -> Result<Option<Zeroizing<String>>, String> {
        text(self.ask(&format!("Password of {user} on {host}"))?)
    }

    fn passphrase(&self, file: &Path) -> Result<Option<Zeroizing<String>>, String> {
        text(self.ask(&format!("Passphrase of {}", shown(file)))?)
    }

    fn trust(&self, host: &str, algorithm: &str, fingerprint: &str) -> bool {
        if !self.may_ask {
            return false;
        }
        let mut terminal = io::stderr();
        let asked = writeln!(
            terminal,
            "{host} is not known. Its key ({algorithm}) is {fingerprint}\n\
             Compare it with what the server's administrator says. Is it the same? (yes/no)"
        );
        let mut answer = String::new();
        asked.is_ok()
            && io::stdin().read_line(&mut answer).is_ok()
            && answer.trim().eq_ignore_ascii_case("yes")
    }
}
