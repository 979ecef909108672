//! Which repository, source and target: from a plan, or from the command line.

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use clap::Args;
use drover_plan::{Location, Plan, Rate};
use drover_repo::{RepositoryError, objects::Objects};
use drover_report::Text;
use drover_store::{Store, StoreOptions, StoreUrl};
use drover_types::{RelativePath, lock};
use tokio::runtime::Runtime;

use crate::{error::Error, output::shown};

/// A repository and the way to it.
#[derive(Debug, Args)]
pub struct RepositoryArgs {
    /// The repository: a directory, or s3://, az://, gs:// with bucket and prefix
    #[arg(long = "repo", value_name = "URL")]
    repo: Option<OsString>,
    /// The most that is sent and received, such as "20 MiB/s"
    #[arg(long, value_name = "RATE", help_heading = "Storage")]
    bandwidth: Option<Rate>,
    /// The most requests at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), help_heading = "Storage")]
    parallel: Option<u16>,
    /// The service's URL, where it is not the provider's own
    #[arg(long, value_name = "URL", help_heading = "Storage")]
    endpoint: Option<String>,
    /// Storage class or access tier of packs, by the provider's name
    #[arg(long, value_name = "CLASS", help_heading = "Storage")]
    storage_class: Option<String>,
    /// S3's own encryption beside drover's: AES256, aws:kms or aws:kms:dsse
    #[arg(long, value_name = "KIND", help_heading = "Storage")]
    sse: Option<String>,
    /// The KMS key of S3's own encryption
    #[arg(long, value_name = "ID", help_heading = "Storage")]
    kms_key_id: Option<String>,
    /// Certificate authorities (PEM) to trust beside the system's
    #[arg(long, value_name = "FILE", help_heading = "Storage")]
    ca_file: Option<PathBuf>,
    /// Allow plain http to another machine
    #[arg(long, help_heading = "Storage")]
    allow_http: bool,
}

/// A repository that was named, by a plan or by its URL.
pub struct Place {
    /// Where it is.
    pub url: StoreUrl,
    /// The plan that named it.
    pub plan: Option<Plan>,
    /// Where the plan lies.
    pub plan_file: Option<PathBuf>,
    /// The command line has a rate, which counts before the plan's.
    pub bandwidth_is_given: bool,
    options: StoreOptions,
}

impl RepositoryArgs {
    /// Whether the command line names a repository.
    pub fn is_given(&self) -> bool {
        self.repo.is_some()
    }

    /// Finds out which repository is meant. Without `--repo`, the first of `positionals` is a
    /// plan, and is taken away from them.
    pub fn place(&self, positionals: &mut Vec<OsString>) -> Result<Place, Error> {
        let mut options = StoreOptions::from_env(
            env::vars_os()
                .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))),
        );
        options.allow_http = self.allow_http;
        if self.endpoint.is_some() {
            options.endpoint.clone_from(&self.endpoint);
        }
        options.ca_file.clone_from(&self.ca_file);
        let mut plan_file = None;
        let (location, plan) = match &self.repo {
            Some(repo) => (location(repo, "--repo")?, None),
            None if positionals.is_empty() => {
                let message = "which repository? Give a plan file, or --repo URL";
                return Err(Error::Usage(message.to_owned()));
            }
            None => {
                let file = PathBuf::from(positionals.remove(0));
                let plan = Plan::load(&file)?;
                plan_file = Some(file);
                options.bandwidth = plan.limits.upload.map(Rate::bytes_per_second);
                if let Some(parallel) = plan.limits.parallel {
                    options.concurrency_max = parallel;
                }
                let repository = &plan.repository;
                options.storage_class.clone_from(&repository.storage_class);
                options.sse.clone_from(&repository.sse);
                options.kms_key_id.clone_from(&repository.kms_key_id);
                (plan.repository.url.clone(), Some(plan))
            }
        };
        for (option, given) in [
            (&mut options.storage_class, &self.storage_class),
            (&mut options.sse, &self.sse),
            (&mut options.kms_key_id, &self.kms_key_id),
        ] {
            if given.is_some() {
                option.clone_from(given);
            }
        }
        if let Some(rate) = self.bandwidth {
            options.bandwidth = Some(rate.bytes_per_second());
        }
        if let Some(parallel) = self.parallel {
            options.concurrency_max = usize::from(parallel);
        }
        let url = match location {
            Location::Directory(path) => StoreUrl::from(path.as_path()),
            Location::Cloud(url) => url.parse()?,
            Location::Sftp(_) => {
                let message =
                    "sftp serves as a source only: a repository is a directory or a bucket";
                return Err(Error::Usage(message.to_owned()));
            }
        };
        let bandwidth_is_given = self.bandwidth.is_some();
        Ok(Place { url, plan, plan_file, bandwidth_is_given, options })
    }
}

/// Starts so many threads, all of them there at once, and ends them again.
fn ask_for_threads(count: usize) -> io::Result<()> {
    let gate = Arc::new(Mutex::new(()));
    let closed = lock(&gate);
    let threads: io::Result<Vec<_>> = (0..count)
        .map(|_| {
            let gate = gate.clone();
            thread::Builder::new().spawn(move || drop(lock(&gate)))
        })
        .collect();
    drop(closed);
    threads?.into_iter().for_each(|thread| drop(thread.join()));
    Ok(())
}

/// How long the system may take to start a thread.
const START: Duration = Duration::from_secs(30);

/// Threads of the runtime: those that run requests, and the first of those that block.
const WORKERS: usize = 2;

/// What requests run on. Without threads to be had tokio would panic, or wait for ever for one to
/// do what blocks: so as many are asked for first, whose stacks it then takes over, and one that blocks
/// is there from the beginning.
fn runtime() -> Result<Runtime, Error> {
    ask_for_threads(WORKERS + 1).map_err(Error::Threads)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("store")
        .thread_keep_alive(Duration::from_secs(86_400))
        .enable_all()
        .build()
        .map_err(Error::Threads)?;
    let first = runtime.spawn_blocking(|| ());
    match runtime.block_on(async { tokio::time::timeout(START, first).await }) {
        Ok(Ok(())) => Ok(runtime),
        _ => {
            runtime.shutdown_background();
            Err(Error::Threads(io::ErrorKind::WouldBlock.into()))
        }
    }
}

impl Place {
    /// The URL as reports have it.
    pub fn text(&self) -> Text {
        Text::from(self.url.to_string())
    }

    /// Opens the store; `create` makes the directory of a local one.
    pub fn connect(&self, create: bool) -> Result<Objects, Error> {
        let runtime = runtime()?;
        let store = runtime.block_on(async {
            match create {
                true => Store::create(&self.url, &self.options).await,
                false => Store::connect(&self.url, &self.options).await,
            }
        });
        match store {
            Ok(store) => Ok(Objects::new(store, Arc::new(runtime))),
            Err(error) if error.is_not_found() => Err(Error::NoRepository(self.url.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    /// A bucket where files land as plain objects.
    pub fn bucket(&self, url: &str) -> Result<Objects, Error> {
        let url: StoreUrl = url.parse()?;
        let text = |url: &StoreUrl| format!("{}/", url.to_string().trim_end_matches('/'));
        let (there, own) = (text(&url), text(&self.url));
        if there.starts_with(&own) || own.starts_with(&there) {
            let (inner, outer) = ("the target".to_owned(), "the repository".to_owned());
            let (inner, outer) = match there.starts_with(&own) {
                true => (inner, outer),
                false => (outer, inner),
            };
            return Err(Error::Nested { inner, outer });
        }
        let mut options = self.options.clone();
        options.storage_class = None;
        if url.kind() != self.url.kind() {
            // What was given for the repository's service means nothing to another.
            (options.endpoint, options.sse, options.kms_key_id) = (None, None, None);
        }
        let place = Place { url, plan: None, plan_file: None, bandwidth_is_given: false, options };
        place.connect(false)
    }

    /// A place beside the repository, outside of its prefix, for what is put to be measured.
    pub fn beside(&self) -> Result<Objects, Error> {
        let url = match self.url.local_path() {
            Some(path) => StoreUrl::from(beside(path).as_path()),
            None => format!("{}-drover-probe", self.url).parse()?,
        };
        let options = self.options.clone();
        let place = Place { url, plan: None, plan_file: None, bandwidth_is_given: false, options };
        place.connect(true)
    }

    /// Takes away what [`Place::beside`] made of directories, if nothing is in it.
    pub fn clear_beside(&self) {
        if let Some(path) = self.url.local_path() {
            // What somebody else put there stays.
            let _ = std::fs::remove_dir(beside(path));
        }
    }

    /// Refuses a local repository within `directory`, which is used as `what` says: a pass would
    /// take the repository itself, and a restore could remove it. Where only `one_file_system` is
    /// used, the repository may be on another one.
    pub fn refuse_within(
        &self,
        directory: &Path,
        what: &str,
        one_file_system: bool,
    ) -> Result<(), Error> {
        let Some(repository) = self.url.local_path() else { return Ok(()) };
        if one_file_system && device(repository) != device(directory) {
            return Ok(());
        }
        refuse_nested((repository, "the repository"), (directory, what))
    }

    /// Refuses `directory`, which is used as `what` says, within a local repository.
    pub fn refuse_around(&self, directory: &Path, what: &str) -> Result<(), Error> {
        let Some(repository) = self.url.local_path() else { return Ok(()) };
        refuse_nested((directory, what), (repository, "the repository"))
    }

    /// Refuses a target that lies within a source of the plan, or around one: people may work there.
    pub fn refuse_sources(&self, target: &Path) -> Result<(), Error> {
        let target_root = resolved(target);
        for source in self.plan.iter().flat_map(|plan| &plan.sources) {
            let Location::Directory(root) = &source.url else { continue };
            let there = resolved(root);
            if there.starts_with(&target_root) || target_root.starts_with(&there) {
                let (target, source_root) = (shown(target), shown(root));
                return Err(Error::IntoSource { target, source_root });
            }
        }
        Ok(())
    }

    /// The error with the repository's URL where it lacks it.
    pub fn explain(&self, error: drover_ops::Error) -> Error {
        let url = || self.url.to_string();
        match error {
            drover_ops::Error::Repository(RepositoryError::NoRepository) => {
                Error::NoRepository(url())
            }
            drover_ops::Error::Repository(RepositoryError::AlreadyThere) => {
                Error::AlreadyThere(url())
            }
            error => error.into(),
        }
    }
}

/// The directory beside a local repository.
fn beside(repository: &Path) -> PathBuf {
    let mut name = repository.as_os_str().to_owned();
    name.push("-drover-probe");
    PathBuf::from(name)
}

/// The sources of `plan` that these names choose: all where there are none.
pub fn chosen<'p>(
    plan: &'p Plan,
    names: &[OsString],
) -> Result<Vec<&'p drover_plan::Source>, Error> {
    if names.is_empty() {
        return Ok(plan.sources.iter().collect());
    }
    let one = |name: &OsString| {
        name.to_str().and_then(|name| plan.source(name)).ok_or_else(|| {
            let known: Vec<_> = plan.sources.iter().map(|s| s.name.as_str()).collect();
            let name = drover_types::path::escape(name.as_encoded_bytes());
            Error::NoSuchSource { name, known: known.join(", ") }
        })
    };
    names.iter().map(one).collect()
}

/// Refuses the state within `source`: it changes with every pass, and holds a credential.
pub fn refuse_state_within(
    state: &Path,
    source: &Path,
    one_file_system: bool,
) -> Result<(), Error> {
    if one_file_system && device(state) != device(source) {
        return Ok(());
    }
    match resolved(state).starts_with(resolved(source)) {
        true => Err(Error::StateWithin { state: shown(state), source_root: shown(source) }),
        false => Ok(()),
    }
}

/// The file system that `path` lies on, or will, as far as it is there.
fn device(path: &Path) -> Option<u64> {
    path.ancestors().find_map(|there| there.metadata().ok()).map(|metadata| metadata.dev())
}

fn refuse_nested(inner: (&Path, &str), outer: (&Path, &str)) -> Result<(), Error> {
    if !resolved(inner.0).starts_with(resolved(outer.0)) {
        return Ok(());
    }
    let text = |(path, what): (&Path, &str)| format!("{what} {}", shown(path));
    Err(Error::Nested { inner: text(inner), outer: text(outer) })
}

/// `path` with its symbolic links followed, as far as it is there.
fn resolved(path: &Path) -> PathBuf {
    path.ancestors()
        .find_map(|there| {
            let rest = path.strip_prefix(there).ok()?;
            Some(there.canonicalize().ok()?.join(rest))
        })
        .unwrap_or_else(|| path.to_owned())
}

/// A path or URL of the command line; `what` is what it was given for.
pub fn location(text: &OsStr, what: &str) -> Result<Location, Error> {
    let base = env::current_dir().map_err(Error::WorkingDirectory)?;
    match text.to_str() {
        Some(text) => {
            Location::parse(text, &base).map_err(|error| Error::Usage(format!("{what}: {error}")))
        }
        // A URL is text; whatever is not can only be a path.
        None => Ok(Location::Directory(base.join(text))),
    }
}

/// What `SNAPSHOT[:PATH]` names.
#[derive(Debug, PartialEq, Eq)]
pub struct SnapshotPath {
    /// `latest`, or the beginning of an id.
    pub snapshot: String,
    /// The path below the source's root; the root where none is given.
    pub path: RelativePath,
}

impl SnapshotPath {
    /// Reads it. A path may be written as reports print it, with `\xNN` for a byte.
    pub fn parse(text: &OsStr) -> Result<Self, Error> {
        let bytes = text.as_bytes();
        let (snapshot, path) = match bytes.iter().position(|&b| b == b':') {
            Some(colon) => (&bytes[..colon], &bytes[colon + 1..]),
            None => (bytes, &b""[..]),
        };
        let path = relative(path).map_err(|error| {
            let shown = drover_types::path::escape(bytes);
            Error::Usage(format!("{shown} is not SNAPSHOT:PATH: {error}"))
        })?;
        let snapshot = match snapshot {
            b"" => "latest".to_owned(),
            snapshot => drover_types::path::escape(snapshot),
        };
        Ok(Self { snapshot, path })
    }

    /// Reads a path alone, in the same way.
    pub fn parse_path(text: &OsStr) -> Result<RelativePath, Error> {
        relative(text.as_bytes()).map_err(|error| {
            let shown = drover_types::path::escape(text.as_bytes());
            Error::Usage(format!("{shown} is no path below a source: {error}"))
        })
    }
}

/// A path below the source's root, as reports print it.
fn relative(text: &[u8]) -> Result<RelativePath, drover_types::path::PathError> {
    let mut path = unescape(text);
    path.drain(..path.iter().take_while(|&&b| b == b'/').count());
    path.truncate(path.len() - path.iter().rev().take_while(|&&b| b == b'/').count());
    RelativePath::new(path)
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let byte = match rest {
            [b'\\', b'x', high, low, ..] => hex(*high).zip(hex(*low)).map(|(h, l)| h << 4 | l),
            _ => None,
        };
        out.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &rest[4..] } else { tail };
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (String, Vec<u8>) {
        let parsed = SnapshotPath::parse(OsStr::new(text)).unwrap();
        (parsed.snapshot, parsed.path.as_bytes().to_vec())
    }

    #[test]
    fn a_snapshot_and_a_path_as_they_are_printed() {
        assert_eq!(parse("latest"), ("latest".into(), b"".to_vec()));
        assert_eq!(parse("ab12:a/b c"), ("ab12".into(), b"a/b c".to_vec()));
        assert_eq!(parse(":/a/"), ("latest".into(), b"a".to_vec()));
        assert_eq!(parse("x:a:b"), ("x".into(), b"a:b".to_vec()));
        assert_eq!(parse(r"x:\xffa\x5cx41\q\x4"), ("x".into(), b"\xffa\\x41\\q\\x4".to_vec()));
        assert!(SnapshotPath::parse(OsStr::new("x:a/../b")).is_err());
        assert!(SnapshotPath::parse(OsStr::new(r"x:a\x00")).is_err());
    }

    #[test]
    fn unescaping_undoes_escaping() {
        for bytes in [&b"a\\b"[..], b"\\x41", b"\xff\xfe", "x\u{202e}y".as_bytes(), b"\\\\x5c"] {
            assert_eq!(unescape(drover_types::path::escape(bytes).as_bytes()), bytes);
        }
    }
}
