//! Every error of the libraries as people and programs get it: kind, message, what to do about
//! it, exit code.

use std::{io, path::PathBuf};

use drover_crypt::hierarchy::{HierarchyError, UnlockError};
use drover_ops::evidence::EvidenceError;
use drover_plan::PlanError;
use drover_repo::{
    ChunkError, RepositoryError, TreeError, certificate::CertificateError, names, state::StateError,
};
use drover_report::{Failure, ParseError, Text};
use drover_source::{SourceError, SshError, target::TargetErrorKind};
use drover_store::StoreError;
use rustix::io::Errno;

use crate::{demo::PlayError, interrupt, output::shown, password::PasswordError};

/// Failed.
const FAILED: u8 = 1;
/// The command line or the plan is wrong in itself.
const USAGE: u8 = 2;
/// A verification found a difference or damage.
const DIFFERENCE: u8 = 4;
/// A gate refused.
const GATE: u8 = 5;
/// No repository there.
const NO_REPOSITORY: u8 = 10;
/// Wrong or missing password or key.
const PASSWORD: u8 = 12;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Arguments that clap takes and that make no sense together.
    #[error("{0}")]
    Usage(String),
    /// A name that the plan does not have.
    #[error("the plan has no source called {name}; it has: {known}")]
    NoSuchSource {
        /// What was asked for.
        name: String,
        /// What the plan has.
        known: String,
    },
    /// No home, and no state directory given.
    #[error("there is no place for the state: neither HOME nor DROVER_STATE_DIR is set")]
    NoStateDir,
    /// The current directory is gone.
    #[error("cannot find out the current directory: {0}")]
    WorkingDirectory(io::Error),
    /// The system gives no threads.
    #[error("cannot start threads: {0}")]
    Threads(io::Error),
    /// Signals cannot be caught.
    #[error("cannot catch signals: {0}")]
    Signals(io::Error),
    /// The plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Nothing there.
    #[error("there is no repository at {0}")]
    NoRepository(String),
    /// One is there already.
    #[error("there is a repository at {0} already")]
    AlreadyThere(String),
    /// Of two places that must lie apart, one is within the other.
    #[error("{inner} lies within {outer}")]
    Nested {
        /// The place that is within.
        inner: String,
        /// The place around it.
        outer: String,
    },
    /// What is to be written over is, or holds, or lies within a source of the plan.
    #[error("the target {target} and the source {source_root} of the plan lie in one another")]
    IntoSource {
        /// The target.
        target: String,
        /// The source.
        source_root: String,
    },
    /// This machine's state lies within what a pass shall take.
    #[error("this machine's state {state} lies within the source {source_root}")]
    StateWithin {
        /// The state.
        state: String,
        /// The source.
        source_root: String,
    },
    /// A command around a pass.
    #[error("the command {hook} of the source {source_name} failed: {why}{said}")]
    Hook {
        /// Its key in the plan.
        hook: &'static str,
        /// The source.
        source_name: String,
        /// How it ended.
        why: String,
        /// The end of its output, with words before it; empty where there is none.
        said: String,
    },
    /// The timer on the source that thaws it.
    #[error("the timer on {host} that thaws the source: {why}")]
    Timer {
        /// The machine.
        host: String,
        /// What is wrong.
        why: String,
    },
    /// The page that shows a cutover as it happens.
    #[error("cannot serve at {address}: {source}")]
    Serve {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// What a cutover cannot do where the source stands.
    #[error("{0}")]
    Cutover(String),
    /// What was landed or stored is not what was on the source.
    #[error("it is not what was on the source: {0}")]
    Difference(String),
    /// Conditions that are not met.
    #[error("{0}")]
    Gate(String),
    /// A cutover that was given up, and left the source at work.
    #[error("the cutover was given up{}: {why}", if *.thawed { " and the source thawed" } else { "" })]
    GivenUp {
        /// Why.
        why: String,
        /// Whether the source rested.
        thawed: bool,
        /// Whether a difference was found.
        difference: bool,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A verb.
    #[error(transparent)]
    Ops(drover_ops::Error),
    /// Password.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// A file that the verb reads or writes by itself.
    #[error("{what} {}: {source}", shown(path))]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that is no report.
    #[error("{}: {source}", shown(path))]
    Report {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ParseError,
    },
    /// A file that is no certificate, or was changed.
    #[error("{}: {source}", shown(path))]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: CertificateError,
    },
    /// A server that was reached, and then said nothing.
    #[error("the server runs no command for this account and shows it no file")]
    Unanswered,
    /// The demo turned out otherwise than told.
    #[error(transparent)]
    Demo(PlayError),
    /// Standard output does not take it.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    /// Whoever read standard output is gone.
    #[error("standard output was closed")]
    OutputClosed,
}

impl From<PlayError> for Error {
    fn from(error: PlayError) -> Self {
        match error {
            PlayError::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => {
                Self::OutputClosed
            }
            error => Self::Demo(error),
        }
    }
}

impl From<drover_ops::Error> for Error {
    fn from(error: drover_ops::Error) -> Self {
        match error {
            drover_ops::Error::Output(error) => Self::output(error),
            error => Self::Ops(error),
        }
    }
}

/// What to do where a device answers with errors.
const DEVICE: &str = "Look at the system's log for failures of the disk or the mount; then run it \
                      again: it goes on.";

/// What to do where the system gives no threads.
const THREADS: &str = "Raise what limits memory and processes (ulimit -v and -u; MemoryMax and TasksMax of a \
                       service); then run it again: it goes on.";

/// Kind, what to do about it, exit code.
type Advice = (&'static str, &'static str, u8);

impl Error {
    /// An error of standard output.
    pub fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Output(error),
        }
    }

    /// The error as documents have it.
    pub fn failure(&self) -> Failure {
        let (kind, remedy, exit) = self.advice();
        Failure { kind: kind.into(), message: message(self), remedy: remedy.into(), exit }
    }

    /// What came of what failed so, as the audit log has it: no more than the kind, for messages
    /// can name paths.
    pub fn outcome(&self) -> String {
        format!("failed: {}", self.advice().0)
    }

    /// Whether someone asked to stop.
    pub fn is_interruption(&self) -> bool {
        self.advice().2 == interrupt::EXIT
    }

    /// Whether trying again later is of use: the store failed.
    pub fn is_of_store(&self) -> bool {
        match self {
            Self::Store(_) => true,
            Self::Ops(error) => error.is_of_store(),
            _ => false,
        }
    }

    /// Whether a snapshot, or what it names, is damaged or missing.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Ops(error) if error.is_damage())
    }

    /// Whether the store denies access.
    pub fn is_denied(&self) -> bool {
        self.advice().0 == "denied"
    }

    /// The damaged object without which the repository does not open, and what is wrong with it.
    pub fn damage(&self) -> Option<(&str, String)> {
        let Self::Ops(drover_ops::Error::Repository(error)) = self else { return None };
        match error {
            RepositoryError::Config(error) => Some((names::CONFIG, error.to_string())),
            RepositoryError::Unlock(UnlockError::Damaged { object, error })
                if !matches!(error, HierarchyError::Memory(_)) =>
            {
                Some((object, error.to_string()))
            }
            RepositoryError::Unlock(UnlockError::Missing(object)) => {
                Some((object, "it is missing".to_owned()))
            }
            _ => None,
        }
    }

    fn advice(&self) -> Advice {
        match self {
            Self::Usage(_) => ("command-line", "drover --help shows what there is.", USAGE),
            Self::NoSuchSource { .. } => {
                ("no-such-source", "Name one of these, or correct the plan.", FAILED)
            }
            Self::NoStateDir => ("no-state-directory", "Give one with --state-dir.", FAILED),
            Self::Threads(_) => ("threads", THREADS, FAILED),
            Self::WorkingDirectory(_) | Self::Signals(_) => {
                ("system", "Look at the limits and the state of this machine.", FAILED)
            }
            Self::Plan(PlanError::Read { .. }) => {
                ("plan", "Check the plan's path and permissions.", USAGE)
            }
            Self::Plan(_) => ("plan", "Correct the plan at this place.", USAGE),
            Self::NoRepository(_) => (
                "no-repository",
                "Check the URL and the prefix, or make a repository there with drover init.",
                NO_REPOSITORY,
            ),
            Self::AlreadyThere(_) => (
                "repository-exists",
                "Use it as it is, or choose another place for the new one.",
                FAILED,
            ),
            Self::Nested { .. } => (
                "nested",
                "Choose places that lie beside one another: this would destroy data or repeat it.",
                USAGE,
            ),
            Self::IntoSource { .. } => (
                "nested",
                "Give another target. To write over what people may be working on, on purpose: \
                 --into-source.",
                USAGE,
            ),
            Self::StateWithin { .. } => (
                "nested",
                "Give --state-dir a place outside of every source: the state changes with each \
                 pass, and holds a credential.",
                USAGE,
            ),
            Self::Hook { .. } => {
                ("hook", "Run the command by itself, and mend what it says.", FAILED)
            }
            Self::Timer { .. } => (
                "timer",
                "The account needs a shell, and a folder of its own below /var/tmp; see                  docs/cutover.md.",
                FAILED,
            ),
            Self::Serve { .. } => {
                ("serve", "Give a port that is free and an address of this machine.", FAILED)
            }
            Self::Cutover(_) => {
                ("cutover", "drover cutover PLAN --show says where the source stands.", FAILED)
            }
            Self::Difference(_) => (
                "difference",
                "Find out what differs with drover verify before anything else.",
                DIFFERENCE,
            ),
            Self::Gate(_) => ("gate", "Each gate says what to do.", GATE),
            Self::GivenUp { difference, .. } => (
                "given-up",
                "The source works on as before. Mend what it says, and run it again.",
                if *difference { DIFFERENCE } else { FAILED },
            ),
            Self::Store(error) => store(error),
            Self::Ops(error) => ops(error),
            Self::Password(error) => password(error),
            Self::File { .. } => ("file", "Check that it is there, and its permissions.", FAILED),
            Self::Report { .. } => {
                ("not-a-report", "Give a file that a verb wrote with --json.", FAILED)
            }
            Self::Certificate { .. } => (
                "not-a-certificate",
                "Get it again from whoever made it; do not rely on this one.",
                FAILED,
            ),
            Self::Unanswered => (
                "unanswered",
                "Look at the server's log. The account needs SFTP (Subsystem sftp internal-sftp), and \
                 for all checks a shell.",
                FAILED,
            ),
            Self::Demo(PlayError::Exit { got: interrupt::EXIT, .. }) => {
                ("interrupted", "Run it again in another directory.", interrupt::EXIT)
            }
            Self::Demo(_) => ("demo", "Run it again in an empty directory.", FAILED),
            Self::Output(_) | Self::OutputClosed => {
                ("output", "Check where standard output goes.", FAILED)
            }
        }
    }
}

fn ops(error: &drover_ops::Error) -> Advice {
    use drover_ops::Error;
    match error {
        Error::Store(error) => store(error),
        Error::State(error) => state(error),
        Error::Repository(error) => repository(error),
        Error::Chunk(ChunkError::Store(error))
        | Error::Tree(TreeError::Chunk(ChunkError::Store(error))) => store(error),
        Error::Chunk(ChunkError::Keys(_)) | Error::Tree(TreeError::Chunk(ChunkError::Keys(_))) => (
            "not-allowed",
            "An auditor's key opens names and attributes only: use a reader's or the owner's.",
            PASSWORD,
        ),
        Error::Index(_)
        | Error::Snapshot(_)
        | Error::Tree(_)
        | Error::Chunk(_)
        | Error::Log(_)
        | Error::Content
        | Error::Decode { .. } => (
            "damaged",
            "Verify the repository to see how far the damage goes; the source, if it still stands, \
             can be synced again.",
            FAILED,
        ),
        Error::Pack(_) => (
            "self-check",
            "Memory or processor of this machine may be failing: test them before going on.",
            FAILED,
        ),
        Error::Source(SourceError::Ssh { source, .. }) => ssh(source),
        // Of all that a source is asked for only a thread is refused so.
        Error::Source(SourceError::Io { source, .. })
            if source.kind() == io::ErrorKind::WouldBlock =>
        {
            ("threads", THREADS, FAILED)
        }
        Error::Source(_) => ("source", "Check the source's path, mount and permissions.", FAILED),
        Error::Target(error) => match error.kind() {
            TargetErrorKind::Full | TargetErrorKind::Quota => {
                ("target-full", "Make room, then run it again: it goes on.", FAILED)
            }
            TargetErrorKind::ReadOnly => {
                ("target-read-only", "Mount the target for writing.", FAILED)
            }
            TargetErrorKind::Device => ("target", DEVICE, FAILED),
            _ => ("target", "Check the target's path, mount and permissions.", FAILED),
        },
        Error::SuspectSource { .. } => (
            "suspect-source",
            "Check that the right file system is mounted there. If it is meant to be so, give \
             --allow-empty.",
            FAILED,
        ),
        Error::LongName { .. } => {
            ("long-name", "Give a shorter name: for a source, in a plan file.", USAGE)
        }
        Error::NoCredential => (
            "no-credential",
            "Give the password once: the state then keeps a credential.",
            PASSWORD,
        ),
        Error::Revoked { .. } => (
            "writer-revoked",
            "Find out why it was revoked (drover log show). To make this machine a new writer, remove \
             the file \"credential\" of its state and give the owner's password, or a new credential: it \
             sends everything again, since whoever has the old one can tell which content is stored.",
            PASSWORD,
        ),
        Error::NotAllowed(_) => {
            ("not-allowed", "Use a key with the right that it takes.", PASSWORD)
        }
        Error::NoSuchSnapshot(_) => {
            ("no-such-snapshot", "drover snapshots lists what there is.", FAILED)
        }
        Error::NoSuchKey(_) => ("no-such-key", "drover key list lists what there is.", FAILED),
        Error::NoSuchPath(_) => ("no-such-path", "drover ls lists what there is.", FAILED),
        Error::TargetBusy(_) => {
            ("target-busy", "Wait for it, or end it: one that follows lands by itself.", FAILED)
        }
        Error::TargetNotEmpty(_) => (
            "target-not-empty",
            "Choose an empty directory. If what is there may be replaced, give --overwrite.",
            FAILED,
        ),
        Error::CutoverMoved => (
            "cutover-moved",
            "Find out who works on this cutover too; drover cutover PLAN --show has all steps.",
            FAILED,
        ),
        Error::NotTheSource { .. } => (
            "write-back",
            "Name the source by write_back in the plan, as it can be written from this machine: of a \
             plan with several sources, the directory that holds each by its name. If the source does \
             not rest, run the same command again.",
            FAILED,
        ),
        Error::History(_) => (
            "history",
            "The repository may have been set back or swapped: find out before trusting it.",
            FAILED,
        ),
        Error::Evidence(EvidenceError::NotEmpty(_)) => (
            "evidence-not-empty",
            "Choose an empty directory, or one that drover evidence made.",
            FAILED,
        ),
        Error::Evidence(EvidenceError::Include { .. }) => {
            ("include", "Give a file with a plain name, each name once.", USAGE)
        }
        Error::Evidence(EvidenceError::Io { .. }) => {
            ("file", "Check that it is there, its permissions, and the room.", FAILED)
        }
        Error::Threads(_) => ("threads", THREADS, FAILED),
        Error::Scratch(_) => (
            "temporary-file",
            "Make room where TMPDIR leads, which is /tmp otherwise, or let it lead elsewhere.",
            FAILED,
        ),
        Error::Interrupted | Error::Stopped => (
            "interrupted",
            "What was done is kept: run the same command again, and it goes on.",
            interrupt::EXIT,
        ),
        _ => ("failed", "", FAILED),
    }
}

fn ssh(error: &SshError) -> Advice {
    match error {
        SshError::Connect { .. } => {
            ("ssh-connection", "Check host and port, and that nothing stands between.", FAILED)
        }
        SshError::Handshake { .. } => (
            "ssh-connection",
            "Look at the server's log. A server that knows only algorithms with SHA-1 or CBC is talked \
             to where the plan has legacy_algorithms = true for its source.",
            FAILED,
        ),
        SshError::HostKeyChanged { .. } | SshError::HostKeyRevoked { .. } => (
            "host-key",
            "Someone may stand between. Ask the server's administrator for its fingerprint; only if \
             it is this one, take the old key out of known_hosts (ssh-keygen -R) or correct the pin.",
            FAILED,
        ),
        SshError::HostKeyUnknown { .. } => (
            "host-key",
            "Ask the server's administrator for its fingerprint; if it is this one, give it as \
             host_key in the plan or with --ssh-host-key, or connect once with ssh.",
            FAILED,
        ),
        SshError::Denied { .. } => (
            "ssh-denied",
            "Check the account, and that the server has the key or the password is right.",
            PASSWORD,
        ),
        SshError::Secret(_) => (
            "ssh-denied",
            "Give it with --ssh-password-file or --ssh-password-command, or load the key into the \
             agent.",
            PASSWORD,
        ),
        SshError::NoSftp { .. } => (
            "no-sftp",
            "Turn SFTP on for this account: Subsystem sftp internal-sftp in sshd_config.",
            FAILED,
        ),
        SshError::File { .. } => ("file", "Check its permissions.", FAILED),
        SshError::Server { .. } => ("source", "Check the path and the account's rights.", FAILED),
    }
}

fn repository(error: &RepositoryError) -> Advice {
    match error {
        RepositoryError::Store(error) => store(error),
        RepositoryError::NoRepository => (
            "no-repository",
            "Check the URL, or make a repository with drover init.",
            NO_REPOSITORY,
        ),
        RepositoryError::AlreadyThere => ("repository-exists", "Choose another place.", FAILED),
        RepositoryError::WithoutConfig(_) => (
            "repository-exists",
            "Put its config back from a copy: with it everything else is of use. Or choose another \
             place.",
            FAILED,
        ),
        RepositoryError::BeingMade(_) => (
            "init-under-way",
            "Wait until it has ended. If none is running, delete this object, and run it again.",
            FAILED,
        ),
        RepositoryError::NotKept(_) => (
            "store",
            "Use another store, or find out what stands between: this one loses what it is given.",
            FAILED,
        ),
        RepositoryError::Unlock(UnlockError::WrongSecret(_)) => (
            "wrong-password",
            "Check the password, and that this is the repository it belongs to.",
            PASSWORD,
        ),
        RepositoryError::Unlock(UnlockError::Damaged {
            error: HierarchyError::Memory(_), ..
        }) => (
            "memory",
            "Nothing is damaged. Give it more memory, or open the repository with a key file.",
            FAILED,
        ),
        RepositoryError::OtherRepository => (
            "other-repository",
            "Someone may have replaced the repository: find out before going on. If it is meant to \
             be so, use another --state-dir.",
            PASSWORD,
        ),
        _ => ("damaged", "Restore the damaged object from a copy of the bucket.", FAILED),
    }
}

fn state(error: &StateError) -> Advice {
    match error {
        StateError::InUse(_) => {
            ("in-use", "Wait until the other one has ended, or use another --state-dir.", FAILED)
        }
        StateError::Io { source, .. }
            if matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ) =>
        {
            (
                "state-full",
                "Make room in the state directory, then run it again: it goes on.",
                FAILED,
            )
        }
        StateError::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => (
            "state",
            "Mount the state directory for writing, or give another with --state-dir.",
            FAILED,
        ),
        StateError::Io { source, .. }
            if source.raw_os_error() == Some(Errno::IO.raw_os_error()) =>
        {
            ("state", DEVICE, FAILED)
        }
        StateError::Io { .. } => {
            ("state", "Check room and permissions of the state directory.", FAILED)
        }
        _ => ("state", "Move the state directory aside: it can be made again.", FAILED),
    }
}

fn store(error: &StoreError) -> Advice {
    let (kind, exit) = match error {
        StoreError::NotFound { .. } => ("not-found", FAILED),
        StoreError::NoContainer { .. } => ("no-bucket", NO_REPOSITORY),
        StoreError::Conflict { .. } => ("conflict", FAILED),
        StoreError::Denied { .. } => ("denied", FAILED),
        StoreError::Unauthenticated { .. } => ("credentials", FAILED),
        StoreError::WrongClock { .. } => ("clock", FAILED),
        StoreError::NoSpace { .. } => ("no-space", FAILED),
        StoreError::ReadOnly { .. } => ("read-only", FAILED),
        StoreError::BadUrl { .. }
        | StoreError::BadOption { .. }
        | StoreError::InsecureHttp { .. } => ("command-line", USAGE),
        StoreError::Unreachable { .. } | StoreError::Untrusted { .. } => ("unreachable", FAILED),
        StoreError::TooLarge { .. } | StoreError::WrongLength { .. } => ("damaged", FAILED),
        error if error.is_transient() => ("network", FAILED),
        _ => ("store", FAILED),
    };
    (kind, error.remedy(), exit)
}

fn password(error: &PasswordError) -> Advice {
    match error {
        PasswordError::Interrupted => ("interrupted", "", interrupt::EXIT),
        PasswordError::Missing => (
            "no-password",
            "Give it with --password-file, --password-command, DROVER_PASSWORD_FILE or DROVER_PASSWORD.",
            PASSWORD,
        ),
        PasswordError::Mismatch => ("no-password", "Run it again.", PASSWORD),
        PasswordError::Empty | PasswordError::TooLong => {
            ("no-password", "Check what the file or the command holds.", PASSWORD)
        }
        PasswordError::File { .. }
        | PasswordError::Command(_)
        | PasswordError::CommandFailed(_)
        | PasswordError::Prompt(_) => {
            ("no-password", "Check the file or the command that the password comes from.", PASSWORD)
        }
    }
}

/// The error, and what lay beneath it where the error does not say so itself.
fn message(error: &dyn std::error::Error) -> Text {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    Text::from(text)
}
