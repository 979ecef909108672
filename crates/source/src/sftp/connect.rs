//! A connection: reached, recognised, let in.

use std::{fs, path::Path};

use data_encoding::BASE64;
use ssh2::{KeyboardInteractivePrompt, Prompt, Session};
use zeroize::Zeroizing;

use super::{
    Agent, SftpOptions,
    algorithms::{self, LEGACY_HOST_KEYS},
    client::Sftp,
    error::SshError,
    known_hosts::{self, Known, KnownKeys},
    shell::Shell,
    wire::Wire,
};

/// What only a person, or who stands for one, can say.
pub trait SshSecrets: Send + Sync {
    /// The password of `user` on `host`; `None` where there is none to give.
    fn password(&self, user: &str, host: &str) -> Result<Option<Zeroizing<String>>, String>;
    /// The passphrase of a key file that has one.
    fn passphrase(&self, file: &Path) -> Result<Option<Zeroizing<String>>, String>;
    /// Whether the key with this fingerprint, which nobody knows yet, is that of `host`.
    fn trust(&self, host: &str, algorithm: &str, fingerprint: &str) -> bool;
}

/// A session with its SFTP channel, and one for a shell. The fields are dropped in this order.
pub(super) struct Connection {
    pub(super) sftp: Sftp,
    /// Beside it, where the account has one that is of use.
    pub(super) shell: Option<Shell>,
    _session: Session,
    /// Another handle of what the session speaks through: what hangs is cut off by it.
    wire: Wire,
    /// What both sides agreed on.
    pub(super) algorithms: String,
}

impl Connection {
    /// A session with a channel for SFTP.
    pub(super) fn open(options: &SftpOptions) -> Result<Self, SshError> {
        let (session, wire, algorithms) = session(options)?;
        let sftp = Sftp::open(&session, options.answer)
            .map_err(|source| SshError::NoSftp { host: options.place(), source })?;
        let shell = if options.shell { Shell::open(&session) } else { None };
        Ok(Self { sftp, shell, _session: session, wire, algorithms })
    }

    /// Cuts the connection, so that nothing that is still to be said waits for an answer.
    pub(super) fn cut(&self) {
        self.wire.cut();
    }
}

/// Connects, checks the host's key, and lets the server check the user. With the session come
/// another handle of what it speaks through, and what both sides agreed on.
pub(crate) fn session(options: &SftpOptions) -> Result<(Session, Wire, String), SshError> {
    let host = options.place();
    let connect = |source| SshError::Connect { host: host.clone(), source };
    let handshake = |source| SshError::Handshake { host: host.clone(), source };
    let mut session = Session::new().map_err(handshake)?;
    session.set_timeout(u32::try_from(options.answer.as_millis()).unwrap_or(u32::MAX));
    let (name, port) = options.known_as();
    let known = KnownKeys::read(&session, &options.known_hosts, name, port)?;
    let legacy: &[_] = if options.legacy_algorithms { &LEGACY_HOST_KEYS } else { &[] };
    algorithms::allow(&session, &known.preference(legacy), options.legacy_algorithms)
        .map_err(handshake)?;
    let wire = Wire::open(options).map_err(connect)?;
    wire.give_to(&mut session).map_err(connect)?;
    // What a program on the way has to say is more than that the connection ended.
    session.handshake().map_err(|source| match wire.complaint() {
        Some(complaint) => connect(complaint),
        None => handshake(source),
    })?;
    recognise(&session, options, &known)?;
    log_in(&session, options)?;
    let algorithms = algorithms::agreed(&session);
    Ok((session, wire, algorithms))
}

/// Refuses a host whose key is not the known one.
fn recognise(session: &Session, options: &SftpOptions, known: &KnownKeys) -> Result<(), SshError> {
    let host = options.place();
    let Some((blob, _)) = session.host_key() else {
        return Err(SshError::Handshake { host, source: ssh2::Error::unknown() });
    };
    let found = known_hosts::fingerprint(blob);
    let algorithm = known_hosts::key_type(blob).unwrap_or("of an unknown type").to_owned();
    let changed = |known, place| SshError::HostKeyChanged {
        host: host.clone(),
        algorithm: algorithm.clone(),
        found: found.clone(),
        known,
        place,
    };
    if let Some(pin) = &options.host_key {
        return match *pin == found {
            true => Ok(()),
            false => Err(changed(pin.clone(), "the pin".into())),
        };
    }
    match known.verdict(blob) {
        Known::Same => Ok(()),
        Known::Revoked { place } => Err(SshError::HostKeyRevoked { host, found, place }),
        Known::Other { fingerprints, place } => Err(changed(fingerprints, place)),
        Known::Not if options.secrets.trust(&host, &algorithm, &found) => {
            let path = options.known_hosts.first().cloned().unwrap_or_default();
            let (name, port) = options.known_as();
            known_hosts::remember(&options.known_hosts, name, port, blob)
                .map_err(|source| SshError::File { path, source })
        }
        Known::Not => Err(SshError::HostKeyUnknown { host, algorithm, found }),
    }
}

/// Offers keys of the agent, key files, then the password, as far as the server takes them.
fn log_in(session: &Session, options: &SftpOptions) -> Result<(), SshError> {
    let user = options.user.as_str();
    let takes = match session.auth_methods(user) {
        Ok(takes) => takes.to_owned(),
        // The server asks for nothing.
        Err(_) if session.authenticated() => return Ok(()),
        Err(source) => return Err(SshError::Handshake { host: options.place(), source }),
    };
    let mut tried = Vec::new();
    let mut secret_missing = None;
    if takes.contains("publickey") {
        for file in &options.identities {
            if !file.exists() && options.identities_are_defaults {
                continue;
            }
            tried.push(format!("key {}", file.display()));
            match with_key(session, user, file, options) {
                Ok(()) => return Ok(()),
                Err(why) => secret_missing = secret_missing.or(why),
            }
        }
        if let Some(count) = with_agent(session, options) {
            if session.authenticated() {
                return Ok(());
            }
            tried.push(format!("{count} keys of the agent"));
        }
    }
    let by_password = ["password", "keyboard-interactive"];
    if by_password.iter().any(|method| takes.split(',').any(|taken| taken == *method)) {
        let host = options.place();
        if let Some(password) = options.secrets.password(user, &host).map_err(SshError::Secret)? {
            if takes.split(',').any(|method| method == "password") {
                tried.push("password".to_owned());
                if session.userauth_password(user, &password).is_ok() {
                    return Ok(());
                }
            }
            if takes.contains("keyboard-interactive") {
                tried.push("keyboard-interactive".to_owned());
                let mut answers = Answers(&password);
                if session.userauth_keyboard_interactive(user, &mut answers).is_ok() {
                    return Ok(());
                }
            }
        }
    }
    if let Some(missing) = secret_missing {
        return Err(SshError::Secret(missing));
    }
    let tried = if tried.is_empty() { "nothing".to_owned() } else { tried.join(", ") };
    Err(SshError::Denied { host: options.place(), user: user.to_owned(), tried, takes })
}

/// Offers a key file, with its passphrase where it has one. The error says that a passphrase was
/// needed, if so.
fn with_key(
    session: &Session,
    user: &str,
    file: &Path,
    options: &SftpOptions,
) -> Result<(), Option<String>> {
    match session.userauth_pubkey_file(user, None, file, None) {
        Ok(()) => return Ok(()),
        // The server has looked at the key, and does not take it.
        Err(error) if error.code() == ssh2::ErrorCode::Session(AUTHENTICATION_FAILED) => {
            return Err(None);
        }
        Err(_) => {}
    }
    let Some(passphrase) = options.secrets.passphrase(file).map_err(Some)? else {
        return Err(Some(format!(
            "{} cannot be read, or is locked by a passphrase that was not given",
            file.display()
        )));
    };
    session.userauth_pubkey_file(user, None, file, Some(&passphrase)).map_err(|_| None)
}

/// `LIBSSH2_ERROR_AUTHENTICATION_FAILED` and `LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED` are -18.
const AUTHENTICATION_FAILED: i32 = -18;

/// Offers the agent's keys; how many there were, where there is an agent.
fn with_agent(session: &Session, options: &SftpOptions) -> Option<usize> {
    let mut agent = session.agent().ok()?;
    match &options.agent {
        Agent::Default => {}
        Agent::At(socket) => agent.set_identity_path(socket).ok()?,
        Agent::No => return None,
    }
    agent.connect().ok()?;
    agent.list_identities().ok()?;
    let mut identities = agent.identities().ok()?;
    if options.identities_only {
        let wanted: Vec<_> = options.identities.iter().filter_map(|file| public(file)).collect();
        identities.retain(|identity| wanted.iter().any(|blob| blob == identity.blob()));
    }
    for identity in &identities {
        if agent.userauth(&options.user, identity).is_ok() {
            break;
        }
    }
    Some(identities.len())
}

/// The public key that stands beside a private one, in the form that agents know it by.
fn public(identity: &Path) -> Option<Vec<u8>> {
    let mut name = identity.to_owned();
    if identity.extension().is_none_or(|extension| extension != "pub") {
        name.as_mut_os_string().push(".pub");
    }
    let text = fs::read_to_string(name).ok()?;
    BASE64.decode(text.split_whitespace().nth(1)?.as_bytes()).ok()
}

/// Answers each hidden question with the password.
struct Answers<'p>(&'p Zeroizing<String>);

impl KeyboardInteractivePrompt for Answers<'_> {
    fn prompt<'a>(&mut self, _: &str, _: &str, prompts: &[Prompt<'a>]) -> Vec<String> {
        let answer = |prompt: &Prompt<'a>| match prompt.echo {
            true => String::new(),
            false => self.0.to_string(),
        };
        prompts.iter().map(answer).collect()
    }
}
