//! What can go wrong with a store, as few kinds as people can act upon.

use std::{error::Error, time::Duration};

/// What lay beneath an error.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why an operation on a store failed. Each names the object (or the URL, the directory, the
/// option) it is about; the source holds the store's own words.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The object, or the local directory of a store that was to be opened, is not there.
    #[error("{object} is not there")]
    NotFound {
        /// Name of the object or path of the directory.
        object: String,
        /// The store's answer.
        source: Option<Cause>,
    },
    /// The bucket or container itself is not there.
    #[error("{object}: the bucket or container does not exist")]
    NoContainer {
        /// Name of the object that was asked for.
        object: String,
        /// The store's answer.
        source: Option<Cause>,
    },
    /// Another content is already stored under the name.
    #[error("{object}: something else is stored under this name")]
    Conflict {
        /// Name of the object.
        object: String,
        /// The store's answer.
        source: Option<Cause>,
    },
    /// The credentials are known and do not allow this (403).
    #[error("{object}: the store denies access")]
    Denied {
        /// Name of the object.
        object: String,
        /// The store's answer.
        source: Option<Cause>,
    },
    /// There are no credentials, or the store does not accept them (401 and its kin).
    #[error("{object}: the store does not accept the credentials")]
    Unauthenticated {
        /// Name of the object.
        object: String,
        /// The store's answer.
        source: Option<Cause>,
    },
    /// The store refuses what is signed with this machine's idea of the time.
    #[error("{object}: this machine's clock is {}", off_by(*ahead))]
    WrongClock {
        /// Name of the object.
        object: String,
        /// How many seconds it is ahead of the store's, where the store said its time.
        ahead: Option<i64>,
        /// The store's answer.
        source: Option<Cause>,
    },
    /// No connection came about.
    #[error("{object}: the store cannot be reached")]
    Unreachable {
        /// Name of the object.
        object: String,
        /// What the network said.
        source: Option<Cause>,
    },
    /// The server's certificate is not one that is trusted.
    #[error("{object}: the store's certificate is not trusted")]
    Untrusted {
        /// Name of the object.
        object: String,
        /// What is wrong with the certificate.
        source: Option<Cause>,
    },
    /// No answer, or no progress, within the time allowed.
    #[error("{object}: the store did not answer in time")]
    TimedOut {
        /// Name of the object.
        object: String,
        /// How long was waited, and for what.
        source: Option<Cause>,
    },
    /// The connection broke, or a body was damaged or cut short on its way.
    #[error("{object}: the transfer broke off")]
    Interrupted {
        /// Name of the object.
        object: String,
        /// What the network said.
        source: Option<Cause>,
    },
    /// The store asks to slow down (429, 503).
    #[error("{object}: the store asks to slow down")]
    Throttled {
        /// Name of the object.
        object: String,
        /// How long the store asks to wait.
        retry_after: Option<Duration>,
        /// The store's answer.
        source: Option<Cause>,
    },
    /// The store has a failure of its own (500, 502, 504).
    #[error("{object}: the store has a failure of its own")]
    Unavailable {
        /// Name of the object.
        object: String,
        /// How long the store asks to wait.
        retry_after: Option<Duration>,
        /// The store's answer.
        source: Option<Cause>,
    },
    /// No room is left, or a quota is used up.
    #[error("{object}: no room is left in the store")]
    NoSpace {
        /// Name of the object.
        object: String,
        /// What the system said.
        source: Option<Cause>,
    },
    /// The file system of a local store is read-only.
    #[error("{object}: the store is read-only")]
    ReadOnly {
        /// Name of the object.
        object: String,
        /// What the system said.
        source: Option<Cause>,
    },
    /// Reading or writing a local store failed.
    #[error("{object}: input or output failed")]
    Io {
        /// Name of the object.
        object: String,
        /// What the system said.
        source: Option<Cause>,
    },
    /// An object is longer than the caller allows.
    #[error("{object} has {len} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Name of the object.
        object: String,
        /// Its length in bytes.
        len: u64,
        /// What the caller allows, in bytes.
        limit: u64,
    },
    /// An object is shorter than the range that was asked for, or than the store said.
    #[error("{object}: {expected} bytes were expected, {got} are there")]
    WrongLength {
        /// Name of the object.
        object: String,
        /// Bytes that should be there.
        expected: u64,
        /// Bytes that are there.
        got: u64,
    },
    /// A name that drover does not make.
    #[error("{object:?} is not the name of an object")]
    BadName {
        /// The name.
        object: String,
    },
    /// A URL that names no store.
    #[error("{url}: {reason}")]
    BadUrl {
        /// The URL, without secrets.
        url: String,
        /// What is wrong and how it is written instead.
        reason: String,
    },
    /// An option or a setting of the provider that cannot be used.
    #[error("{name}: {reason}")]
    BadOption {
        /// Name of the option, of the environment variable or of the file.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Plain http to another machine.
    #[error("{url}: plain http would show the credentials to the network")]
    InsecureHttp {
        /// The endpoint.
        url: String,
    },
    /// The store answered with something that cannot be.
    #[error("{object}: the store's answer makes no sense")]
    Protocol {
        /// Name of the object.
        object: String,
        /// What was wrong with it.
        source: Option<Cause>,
    },
}

fn off_by(ahead: Option<i64>) -> String {
    let Some(ahead) = ahead else { return "not the store's".to_owned() };
    let minutes = ahead.unsigned_abs() / 60;
    let by = match minutes {
        0..120 => format!("{minutes} minutes"),
        120..2880 => format!("{} hours", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    };
    let direction = if ahead < 0 { "behind" } else { "ahead of" };
    format!("{by} {direction} the store's")
}

impl StoreError {
    /// Whether the same operation may well succeed a little later.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::TimedOut { .. }
                | Self::Interrupted { .. }
                | Self::Throttled { .. }
                | Self::Unavailable { .. }
        )
    }

    /// Whether what was asked for is not there: object, directory, bucket or container.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::NoContainer { .. })
    }

    /// Whether fewer requests at a time would have helped.
    pub(crate) fn is_congestion(&self) -> bool {
        matches!(self, Self::Throttled { .. } | Self::TimedOut { .. })
    }

    /// Whether the store may have done what was asked, although it did not say so.
    pub(crate) fn is_ambiguous(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::Interrupted { .. } | Self::Unavailable { .. })
    }

    /// Whether the store answered at all, so that its address is right.
    pub(crate) fn was_answered(&self) -> bool {
        !matches!(self, Self::Unreachable { .. } | Self::Untrusted { .. } | Self::TimedOut { .. })
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after, .. } | Self::Unavailable { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }

    /// What a person can do about it, in one sentence.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "Check the URL and its prefix.",
            Self::NoContainer { .. } => {
                "Create the bucket or container first, and check its name, endpoint and region."
            }
            Self::Conflict { .. } => {
                "Nothing was overwritten. Verify the repository, and find out who else writes to this prefix."
            }
            Self::Denied { .. } => {
                "Allow these credentials to get, put and list objects under the prefix."
            }
            Self::Unauthenticated { .. } => {
                "Set the provider's credentials (AWS_*, AZURE_*, GOOGLE_*), check that they have not expired, and that the region is right."
            }
            Self::WrongClock { .. } => {
                "Set this machine's clock (timedatectl set-ntp true, or chronyd); then run it again."
            }
            Self::Unreachable { .. } => {
                "Check the network, the name of the endpoint, the proxy and the firewall."
            }
            Self::Untrusted { .. } => {
                "Give the certificate authority's file as the CA file, and check that the clock is right."
            }
            Self::TimedOut { .. } => "Check the link, or lower the concurrency; then run it again.",
            Self::Interrupted { .. } => "Check the link; then run it again.",
            Self::Throttled { .. } => "Lower the concurrency, or wait; then run it again.",
            Self::Unavailable { .. } => "Look at the provider's status page; then run it again.",
            Self::NoSpace { .. } => "Make room or raise the quota; then run it again.",
            Self::ReadOnly { .. } => "Mount the file system for writing; then run it again.",
            Self::Io { .. } => "Look at the system's log for failures of the disk or the mount.",
            Self::TooLarge { .. } | Self::WrongLength { .. } => {
                "The object is damaged or not drover's: verify the repository."
            }
            Self::BadName { .. } => "Something that is no drover repository is at this URL.",
            Self::BadUrl { .. } => {
                "Use a path, file:///path, s3://bucket/prefix, az://container/prefix or gs://bucket/prefix."
            }
            Self::BadOption { .. } => "Correct the setting.",
            Self::InsecureHttp { .. } => {
                "Use https, or allow plain http where the network is trusted."
            }
            Self::Protocol { .. } => {
                "Check that the endpoint is the store and no proxy or portal answers in its place, that the region is right, and that credentials are set (AWS_*, AZURE_*, GOOGLE_*): without them a metadata server is asked."
            }
        }
    }
}
