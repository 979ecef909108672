//! An open store, and what all its operations share.

mod get;
mod list;
mod local;
mod plain;
mod put;

pub use list::ObjectInfo;
pub use plain::{Metadata, PlainPart, PlainUpload};
pub use put::PutOutcome;

use std::{
    num::NonZeroU64,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use object_store::{ObjectStoreExt, path::Path};

use crate::{
    Capabilities, StoreError, StoreOptions, StoreUrl, Usage,
    backend::Backend,
    bandwidth::Bandwidth,
    buffers::Buffers,
    classify::{io_error, store_error},
    client::Traffic,
    concurrency::Concurrency,
    name,
    url::Place,
    usage::Meter,
};

/// An open store. Clones are cheap and share everything. Its operations run on tokio, and may be
/// dropped at any time: a put that is dropped has stored its whole object or nothing.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    url: StoreUrl,
    prefix: String,
    options: StoreOptions,
    backend: Backend,
    buffers: Arc<Buffers>,
    traffic: Arc<Traffic>,
    concurrency: Concurrency,
    capabilities: Mutex<Option<Capabilities>>,
    reached: AtomicBool,
}

impl Store {
    /// Opens a store. A local directory must be there ([`StoreError::NotFound`] otherwise); to a
    /// cloud nothing is sent.
    pub async fn connect(url: &StoreUrl, options: &StoreOptions) -> Result<Self, StoreError> {
        let traffic = Arc::new(Traffic {
            meter: Meter::default(),
            upload: Bandwidth::new(options.bandwidth),
            download: Bandwidth::new(options.bandwidth),
            shown: Arc::default(),
        });
        let (of, with, traffic_of_backend) = (url.clone(), options.clone(), traffic.clone());
        // Opening reads files: certificates, profiles, the directory.
        let backend =
            blocking(&url.to_string(), move || Backend::open(&of, &with, &traffic_of_backend))
                .await?;
        let prefix = match url.place() {
            Place::Cloud { prefix, .. } if !prefix.is_empty() => format!("{prefix}/"),
            _ => String::new(),
        };
        Ok(Self(Arc::new(Inner {
            url: url.clone(),
            prefix,
            concurrency: Concurrency::new(options.concurrency_max),
            options: options.clone(),
            backend,
            buffers: Arc::default(),
            traffic,
            capabilities: Mutex::new(None),
            reached: AtomicBool::new(false),
        })))
    }

    /// Like [`Store::connect`], and makes the directory of a local store (mode 0700) where it is
    /// missing. Buckets and containers are never made: who pays and where is not for drover to say.
    pub async fn create(url: &StoreUrl, options: &StoreOptions) -> Result<Self, StoreError> {
        if let Some(path) = url.local_path() {
            let (object, path) = (url.to_string(), path.to_owned());
            blocking(&object.clone(), move || {
                local::make_directories(&path, 0o700)
                    .map_err(|error| io_error(&object, error.kind(), Some(Box::new(error))))
            })
            .await?;
        }
        Self::connect(url, options).await
    }

    /// Where it is.
    pub fn url(&self) -> &StoreUrl {
        &self.0.url
    }

    /// Requests and bytes since it was opened.
    pub fn usage(&self) -> Usage {
        self.0.traffic.meter.usage()
    }

    /// Another bandwidth limit from now on, in bytes per second and direction.
    pub fn set_bandwidth(&self, rate: Option<NonZeroU64>) {
        self.0.traffic.upload.set(rate);
        self.0.traffic.download.set(rate);
    }

    /// How many operations may run at a time now: it adapts to how they fare.
    pub fn concurrency_limit(&self) -> usize {
        self.0.concurrency.limit()
    }

    /// What [`Store::probe`] or [`Store::assume`] found out.
    pub fn capabilities(&self) -> Option<Capabilities> {
        *self.0.capabilities.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what an earlier probe found out for granted. Without this or a probe, create-only
    /// puts are believed to work until the store refuses one.
    pub fn assume(&self, capabilities: Capabilities) {
        *self.0.capabilities.lock().unwrap_or_else(PoisonError::into_inner) = Some(capabilities);
    }

    /// Removes what a killed process left of putting an object into a local directory, beside its
    /// place. Only for objects that nobody else puts. Does nothing for the clouds.
    pub async fn remove_unfinished(&self, name: &str) -> Result<(), StoreError> {
        name::check(name)?;
        let Some(path) = self.0.url.local_path().map(|root| root.join(name)) else { return Ok(()) };
        blocking(name, move || {
            // object_store writes `name#1`, or the next number that is free, and renames it.
            let unfinished = |number: u32| {
                let mut unfinished = path.clone().into_os_string();
                unfinished.push(format!("#{number}"));
                unfinished
            };
            (1..).take_while(|&number| std::fs::remove_file(unfinished(number)).is_ok()).count();
            Ok(())
        })
        .await
    }

    /// Makes a local object durable that an earlier process may have left undurable: after a
    /// power loss it could be empty or gone. Does nothing for the clouds.
    pub async fn sync(&self, name: &str) -> Result<(), StoreError> {
        name::check(name)?;
        let Some(root) = self.0.url.local_path() else { return Ok(()) };
        let (object, root, path) = (name.to_owned(), root.to_owned(), root.join(name));
        blocking(name, move || {
            let directories = path.ancestors().skip(1).take_while(|a| a.starts_with(&root));
            for path in std::iter::once(path.as_path()).chain(directories) {
                std::fs::File::open(path)
                    .and_then(|file| file.sync_all())
                    .map_err(|error| io_error(&object, error.kind(), Some(Box::new(error))))?;
            }
            Ok(())
        })
        .await
    }

    /// Deletes an object; one that is not there is no error. For key slots and probes only:
    /// nothing else that drover stored is ever deleted.
    pub async fn delete(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name)?;
        self.retried(|_| self.try_delete(name, &path)).await
    }

    async fn try_delete(&self, name: &str, path: &Path) -> Result<(), StoreError> {
        self.0.traffic.meter.add(|m| &m.delete, 1);
        match self.0.backend.objects().delete(path).await {
            Ok(()) => Ok(()),
            Err(error) => match store_error(name, error) {
                StoreError::NotFound { .. } => Ok(()),
                error => Err(error),
            },
        }
    }

    pub(crate) fn path(&self, name: &str) -> Result<Path, StoreError> {
        name::check(name)?;
        Path::parse(format!("{}{name}", self.0.prefix))
            .map_err(|_| StoreError::BadName { object: name.to_owned() })
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.0.backend
    }

    pub(crate) fn options(&self) -> &StoreOptions {
        &self.0.options
    }

    pub(crate) fn traffic(&self) -> &Arc<Traffic> {
        &self.0.traffic
    }

    pub(crate) fn retry_budget(&self) -> Duration {
        self.0.options.retry
    }

    pub(crate) fn concurrency(&self) -> &Concurrency {
        &self.0.concurrency
    }

    pub(crate) fn set_reached(&self) {
        self.0.reached.store(true, Ordering::Relaxed);
    }

    pub(crate) fn was_reached(&self) -> bool {
        self.0.reached.load(Ordering::Relaxed)
    }

    pub(crate) fn sends_checksums(&self) -> bool {
        matches!(self.0.backend, Backend::S3(_)) && self.0.options.checksum != crate::Checksum::None
    }
}

/// Runs what blocks on tokio's threads for that.
pub(crate) async fn blocking<T: Send + 'static>(
    object: &str,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            Err(StoreError::Io { object: object.to_owned(), source: Some(Box::new(error)) })
        }
    }
}
