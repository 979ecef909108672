//! What can go wrong on the way to a server.

use std::{io, path::PathBuf};

/// Why there is no connection to a server, or none any more. No message holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// The server does not answer, or the connection ended.
    #[error("no connection to {host}: {source}")]
    Connect {
        /// Host and port.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// Both sides do not agree on how to speak.
    #[error("no SSH session with {host}: {source}")]
    Handshake {
        /// Host and port.
        host: String,
        /// What the library said.
        source: ssh2::Error,
    },
    /// The server shows another key than the known one.
    #[error(
        "the host key of {host} has changed: it shows {found} ({algorithm}), and {known} was known from {place}"
    )]
    HostKeyChanged {
        /// Host and port.
        host: String,
        /// What the key is for.
        algorithm: String,
        /// Fingerprint of the key it shows.
        found: String,
        /// Fingerprints of those that are known.
        known: String,
        /// The file or the pin that they are known from.
        place: String,
    },
    /// Nobody knows the server's key.
    #[error("the host key of {host} is not known: it shows {found} ({algorithm})")]
    HostKeyUnknown {
        /// Host and port.
        host: String,
        /// What the key is for.
        algorithm: String,
        /// Fingerprint of the key it shows.
        found: String,
    },
    /// The server's key was revoked.
    #[error("the host key of {host}, {found}, is marked as revoked in {place}")]
    HostKeyRevoked {
        /// Host and port.
        host: String,
        /// Its fingerprint.
        found: String,
        /// The file that says so.
        place: String,
    },
    /// A file that says what to do about SSH cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The server takes nothing that there is to offer.
    #[error("{host} lets {user} not in; tried: {tried}; it takes: {takes}")]
    Denied {
        /// Host and port.
        host: String,
        /// The account.
        user: String,
        /// What was offered.
        tried: String,
        /// What the server says that it takes.
        takes: String,
    },
    /// A password or passphrase is needed, and there is none.
    #[error("{0}")]
    Secret(String),
    /// The server has no SFTP for this account.
    #[error("{host} offers no SFTP: {source}")]
    NoSftp {
        /// Host and port.
        host: String,
        /// What came instead.
        source: io::Error,
    },
    /// The server's answer to a question about the root.
    #[error("{host}: {source}")]
    Server {
        /// Host and port.
        host: String,
        /// What it said.
        source: io::Error,
    },
}
