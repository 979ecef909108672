//! A connection: reached, recognised, let in.

use std::{
    io,
    net::{Shutdown, TcpStream, ToSocketAddrs},
    path::Path,
    time::Duration,
};

use ssh2::{KeyboardInteractivePrompt, MethodType, Prompt, Session, Sftp};
use zeroize::Zeroizing;

use super::{
    SftpOptions,
    error::SshError,
    known_hosts::{self, Known, KnownKeys},
};

/// How long a server may take to answer anything before it counts as gone.
const ANSWER: Duration = Duration::from_secs(30);

/// Key exchange and message authentication without SHA-1, best first. libssh2 leaves out what it
/// was built without.
const KEX: &str = "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,\
                   ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,\
                   diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,\
                   diffie-hellman-group14-sha256";
const MAC: &str = "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,\
                   hmac-sha2-512";
const CIPHER: &str = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,\
                      aes128-ctr,aes256-ctr,aes192-ctr";

/// What only a person, or who stands for one, can say.
pub trait SshSecrets: Send + Sync {
    /// The password of `user` on `host`; `None` where there is none to give.
    fn password(&self, user: &str, host: &str) -> Result<Option<Zeroizing<String>>, String>;
    /// The passphrase of a key file that has one.
    fn passphrase(&self, file: &Path) -> Result<Option<Zeroizing<String>>, String>;
    /// Whether the key with this fingerprint, which nobody knows yet, is that of `host`.
    fn trust(&self, host: &str, algorithm: &str, fingerprint: &str) -> bool;
}

/// A session with its one SFTP channel. The fields are dropped in this order.
pub(super) struct Connection {
    pub(super) sftp: Sftp,
    _session: Session,
    /// Another handle of the session's socket: what hangs is cut off by it.
    socket: TcpStream,
    /// What both sides agreed on.
    pub(super) algorithms: String,
}

impl Connection {
    /// A session with a channel for SFTP.
    pub(super) fn open(options: &SftpOptions) -> Result<Self, SshError> {
        let (session, socket, algorithms) = session(options)?;
        let sftp =
            session.sftp().map_err(|source| SshError::NoSftp { host: options.place(), source })?;
        Ok(Self { sftp, _session: session, socket, algorithms })
    }

    /// Cuts the connection, so that nothing that is still to be said waits for an answer.
    pub(super) fn cut(&self) {
        // It may be cut already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// Connects, checks the host's key, and lets the server check the user. With the session come
/// another handle of its socket, and what both sides agreed on.
pub(crate) fn session(options: &SftpOptions) -> Result<(Session, TcpStream, String), SshError> {
    let host = options.place();
    let connect = |source| SshError::Connect { host: host.clone(), source };
    let socket = tcp(&options.host, options.port).map_err(connect)?;
    let other = socket.try_clone().map_err(connect)?;
    let handshake = |source| SshError::Handshake { host: host.clone(), source };
    let mut session = Session::new().map_err(handshake)?;
    session.set_timeout(u32::try_from(ANSWER.as_millis()).unwrap_or(u32::MAX));
    let known = KnownKeys::read(&session, &options.known_hosts, &options.host, options.port)?;
    let host_keys = known.preference();
    for (method, list) in [
        (MethodType::Kex, KEX),
        (MethodType::HostKey, &host_keys),
        (MethodType::CryptCs, CIPHER),
        (MethodType::CryptSc, CIPHER),
        (MethodType::MacCs, MAC),
        (MethodType::MacSc, MAC),
    ] {
        session.method_pref(method, list).map_err(handshake)?;
    }
    session.set_tcp_stream(socket);
    session.handshake().map_err(handshake)?;
    recognise(&session, options, &known)?;
    log_in(&session, options)?;
    let method = |method| session.methods(method).unwrap_or("none");
    let algorithms = format!(
        "{}, {}, {}, {}",
        method(MethodType::Kex),
        method(MethodType::HostKey),
        method(MethodType::CryptSc),
        method(MethodType::MacSc)
    );
    Ok((session, other, algorithms))
}

fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host's name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, ANSWER) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
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
            known_hosts::remember(&options.known_hosts, &options.host, options.port, blob)
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
        if let Some(count) = with_agent(session, user) {
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
fn with_agent(session: &Session, user: &str) -> Option<usize> {
    let mut agent = session.agent().ok()?;
    agent.connect().ok()?;
    agent.list_identities().ok()?;
    let identities = agent.identities().ok()?;
    for identity in &identities {
        if agent.userauth(user, identity).is_ok() {
            break;
        }
    }
    Some(identities.len())
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
