//! The operations on a store: names checked, attempts repeated, bodies bounded, puts compared.

use std::{
    collections::VecDeque,
    num::NonZeroU64,
    ops::Range,
    os::unix::fs::DirBuilderExt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use object_store::{
    Attribute, GetOptions, GetRange, GetResult, GetResultPayload, ObjectStoreExt, PutMode,
    PutOptions, list::PaginatedListOptions, path::Path,
};

use crate::{
    Capabilities, CreateOnly, Permit, StoreError, StoreOptions, StoreUrl, Usage,
    backend::Backend,
    bandwidth::Bandwidth,
    classify::{PutFailure, io_error, put_failure, store_error},
    client::Traffic,
    concurrency::Concurrency,
    name,
    retry::Attempts,
    url::Place,
    usage::Meter,
};

/// Where packs are: the only objects that the storage class of the options applies to.
const PACKS: &str = "packs/";

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
    traffic: Arc<Traffic>,
    concurrency: Concurrency,
    capabilities: Mutex<Option<Capabilities>>,
    reached: AtomicBool,
}

/// How a put ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object was not there and is now.
    Created,
    /// The same bytes were already there: they were read and compared.
    AlreadyThere,
    /// Something is there under this name, and these credentials may not read it. Where the name
    /// is the content's hash it is the same content, unless it was damaged.
    Unread,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its name below the store's prefix.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
}

impl Store {
    /// Opens a store. A local directory must be there ([`StoreError::NotFound`] otherwise); to a
    /// cloud nothing is sent.
    pub async fn connect(url: &StoreUrl, options: &StoreOptions) -> Result<Self, StoreError> {
        let traffic = Arc::new(Traffic {
            meter: Meter::default(),
            upload: Bandwidth::new(options.bandwidth),
            download: Bandwidth::new(options.bandwidth),
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
                let fail =
                    |error: std::io::Error| io_error(&object, error.kind(), Some(Box::new(error)));
                let missing =
                    path.ancestors().take_while(|a| !a.as_os_str().is_empty() && !a.exists());
                let parents: Vec<_> =
                    missing.filter_map(|a| a.parent()).map(ToOwned::to_owned).collect();
                std::fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&path)
                    .map_err(fail)?;
                for parent in parents {
                    let parent = if parent.as_os_str().is_empty() { ".".into() } else { parent };
                    std::fs::File::open(parent).and_then(|dir| dir.sync_all()).map_err(fail)?;
                }
                Ok(())
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

    /// Waits until one more transfer may run. The number that may run adapts to how the
    /// operations of this store fare.
    pub async fn permit(&self) -> Permit {
        self.0.concurrency.permit().await
    }

    /// How many transfers may run at a time now.
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

    /// Stores `body` under a name that nothing, or the same bytes, are stored under. Other content
    /// is never overwritten: that is [`StoreError::Conflict`].
    ///
    /// Where the store honours create-only puts, two writers cannot both create. Where it does
    /// not, the name is looked up first, which leaves a moment in between; names that hold the
    /// content's hash make that harmless. After a lost answer the object is looked up and
    /// compared before anything is sent again. A local object is durable when this returns.
    pub async fn put_new(&self, name: &str, body: Bytes) -> Result<PutOutcome, StoreError> {
        let path = self.path(name)?;
        let mut attempts = self.attempts();
        let mut look_first = false;
        loop {
            let result = self.try_put_new(name, &path, &body, look_first).await;
            attempts.note(&result);
            match result {
                Ok(outcome) => return Ok(outcome),
                Err(error) => {
                    look_first = error.is_ambiguous();
                    attempts.pause(error).await?;
                }
            }
        }
    }

    async fn try_put_new(
        &self,
        name: &str,
        path: &Path,
        body: &Bytes,
        look_first: bool,
    ) -> Result<PutOutcome, StoreError> {
        let mut is_absent = false;
        if look_first {
            match self.compare(name, path, body).await {
                // Writers that may not read cannot look; the put will tell.
                Ok(Compared::Unreadable) => {}
                Ok(Compared::Absent) => is_absent = true,
                Ok(Compared::Equal) => return Ok(PutOutcome::AlreadyThere),
                Err(error) => return Err(error),
            }
        }
        let believed = self.capabilities().map_or(CreateOnly::Honoured, |c| c.create_only);
        if believed == CreateOnly::Honoured {
            match self.send(name, path, body, PutMode::Create).await {
                Ok(()) => return Ok(PutOutcome::Created),
                Err(PutFailure::Taken(refusal)) => {
                    return match self.compare(name, path, body).await? {
                        Compared::Equal => Ok(PutOutcome::AlreadyThere),
                        Compared::Unreadable => Ok(PutOutcome::Unread),
                        // A 409 that wrote nothing: another attempt was under way.
                        Compared::Absent => Err(StoreError::Interrupted {
                            object: name.to_owned(),
                            source: Some(Box::new(refusal)),
                        }),
                    };
                }
                Err(PutFailure::Unsupported(_)) => self.note_create_only(CreateOnly::Refused),
                Err(PutFailure::Other(error)) => return Err(error),
            }
        }
        if !is_absent {
            match self.compare(name, path, body).await? {
                Compared::Equal => return Ok(PutOutcome::AlreadyThere),
                // A writer that may not read, on a store without conditions, could never write
                // otherwise.
                Compared::Absent | Compared::Unreadable => {}
            }
        }
        match self.send(name, path, body, PutMode::Overwrite).await {
            Ok(()) => Ok(PutOutcome::Created),
            Err(
                PutFailure::Taken(error)
                | PutFailure::Unsupported(error)
                | PutFailure::Other(error),
            ) => Err(error),
        }
    }

    fn note_create_only(&self, create_only: CreateOnly) {
        let mut capabilities = self.0.capabilities.lock().unwrap_or_else(PoisonError::into_inner);
        capabilities.get_or_insert_default().create_only = create_only;
    }

    /// One request that stores an object.
    pub(crate) async fn send(
        &self,
        name: &str,
        path: &Path,
        body: &Bytes,
        mode: PutMode,
    ) -> Result<(), PutFailure> {
        let Inner { backend, traffic, options, .. } = &*self.0;
        traffic.meter.put.add(1);
        let mut put = PutOptions { mode, ..PutOptions::default() };
        if backend.is_cloud() {
            if let Some(class) = options.storage_class.as_ref().filter(|_| name.starts_with(PACKS))
            {
                put.attributes.insert(Attribute::StorageClass, class.clone().into());
            }
        } else {
            traffic.upload.pass(body.len() as u64).await;
            traffic.meter.sent.add(body.len() as u64);
        }
        match backend.objects().put_opts(path, body.clone().into(), put).await {
            Ok(_) => Ok(()),
            Err(error) => Err(put_failure(name, error)),
        }
    }

    /// Reads what is stored under a name alongside `body`, without keeping it.
    async fn compare(&self, name: &str, path: &Path, body: &Bytes) -> Result<Compared, StoreError> {
        let different = || StoreError::Conflict { object: name.to_owned(), source: None };
        let found = match self.open(name, path, None).await {
            Ok(found) => found,
            Err(StoreError::NotFound { .. }) => return Ok(Compared::Absent),
            Err(StoreError::Denied { .. }) => return Ok(Compared::Unreadable),
            Err(error) => return Err(error),
        };
        if found.meta.size != body.len() as u64 {
            return Err(different());
        }
        let mut rest = &body[..];
        let mut pieces = found.into_stream();
        while let Some(piece) = pieces.try_next().await.map_err(|error| store_error(name, error))? {
            self.note_received(piece.len()).await;
            rest = rest.strip_prefix(&piece[..]).ok_or_else(different)?;
        }
        if !rest.is_empty() {
            return Err(different());
        }
        self.sync(name).await?;
        Ok(Compared::Equal)
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

    /// Reads an object of at most `limit` bytes; a longer one is refused before memory is taken.
    pub async fn get(&self, name: &str, limit: usize) -> Result<Bytes, StoreError> {
        let path = self.path(name)?;
        let mut attempts = self.attempts();
        loop {
            let result = self.try_get(name, &path, limit).await;
            attempts.note(&result);
            match result {
                Ok(bytes) => return Ok(bytes),
                Err(error) => attempts.pause(error).await?,
            }
        }
    }

    async fn try_get(&self, name: &str, path: &Path, limit: usize) -> Result<Bytes, StoreError> {
        let found = self.open(name, path, None).await?;
        let len = found.meta.size;
        match usize::try_from(len) {
            Ok(fits) if fits <= limit => self.collect(name, found, fits).await,
            _ => Err(StoreError::TooLarge { object: name.to_owned(), len, limit: limit as u64 }),
        }
    }

    /// Reads `range` of an object, all of it: [`StoreError::WrongLength`] where the object ends
    /// earlier. The caller bounds the length of the range.
    pub async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let path = self.path(name)?;
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let mut attempts = self.attempts();
        loop {
            let result = self.try_get_range(name, &path, range.clone()).await;
            attempts.note(&result);
            match result {
                Ok(bytes) => return Ok(bytes),
                Err(error) => attempts.pause(error).await?,
            }
        }
    }

    async fn try_get_range(
        &self,
        name: &str,
        path: &Path,
        range: Range<u64>,
    ) -> Result<Bytes, StoreError> {
        let expected = range.end - range.start;
        let wrong = |got| StoreError::WrongLength { object: name.to_owned(), expected, got };
        match self.open(name, path, Some(range.clone())).await {
            Ok(found) if found.range == range => {
                let len = usize::try_from(expected).map_err(|_| wrong(0))?;
                self.collect(name, found, len).await
            }
            Ok(found) => Err(wrong(found.range.end.saturating_sub(found.range.start))),
            Err(error @ StoreError::Protocol { .. }) => {
                // Stores differ in how they say that a range begins beyond the end.
                match self.try_head(name, path).await? {
                    Some(len) if len < range.end => Err(wrong(len.saturating_sub(range.start))),
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// One request for content; the body is still to come.
    async fn open(
        &self,
        name: &str,
        path: &Path,
        range: Option<Range<u64>>,
    ) -> Result<GetResult, StoreError> {
        self.0.traffic.meter.get.add(1);
        self.check_local(name).await?;
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let found = self.0.backend.objects().get_opts(path, options).await;
        found.map_err(|error| store_error(name, error))
    }

    /// Refuses what is no plain file before it is opened: a FIFO that someone put in the place of
    /// an object would never open.
    async fn check_local(&self, name: &str) -> Result<(), StoreError> {
        let Some(root) = self.0.url.local_path() else { return Ok(()) };
        let (object, path) = (name.to_owned(), root.join(name));
        blocking(name, move || match std::fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(()),
            Ok(metadata) if metadata.is_dir() => Err(StoreError::NotFound { object, source: None }),
            Ok(_) => Err(StoreError::Protocol {
                object,
                source: Some("it is neither a file nor a directory".into()),
            }),
            Err(error) => Err(io_error(&object, error.kind(), Some(Box::new(error)))),
        })
        .await
    }

    /// The body of an answer, which has `len` bytes or is an error.
    async fn collect(&self, name: &str, found: GetResult, len: usize) -> Result<Bytes, StoreError> {
        let is_file = matches!(found.payload, GetResultPayload::File(..));
        let bytes = if is_file {
            let bytes = found.bytes().await.map_err(|error| store_error(name, error))?;
            self.note_received(bytes.len()).await;
            bytes
        } else {
            let mut pieces = found.into_stream();
            let mut whole = BytesMut::new();
            while let Some(piece) =
                pieces.try_next().await.map_err(|error| store_error(name, error))?
            {
                self.note_received(piece.len()).await;
                if piece.len() == len && whole.is_empty() {
                    return Ok(piece);
                }
                if whole.is_empty() {
                    whole = BytesMut::with_capacity(len);
                }
                if whole.len() + piece.len() > len {
                    let got = (whole.len() + piece.len()) as u64;
                    return Err(StoreError::WrongLength {
                        object: name.to_owned(),
                        expected: len as u64,
                        got,
                    });
                }
                whole.extend_from_slice(&piece);
            }
            whole.freeze()
        };
        if bytes.len() == len {
            return Ok(bytes);
        }
        let (object, expected, got) = (name.to_owned(), len as u64, bytes.len() as u64);
        let short = StoreError::WrongLength { object: object.clone(), expected, got };
        // Over a network a short body is a broken transfer, in a file it is what is there.
        match self.0.backend.is_cloud() {
            true => Err(StoreError::Interrupted { object, source: Some(Box::new(short)) }),
            false => Err(short),
        }
    }

    /// Counts and paces what did not come through [`crate::client`], which does so itself.
    async fn note_received(&self, len: usize) {
        if !self.0.backend.is_cloud() {
            self.0.traffic.meter.received.add(len as u64);
            self.0.traffic.download.pass(len as u64).await;
        }
    }

    /// The length of an object in bytes, `None` where there is none.
    pub async fn head(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let path = self.path(name)?;
        let mut attempts = self.attempts();
        loop {
            let result = self.try_head(name, &path).await;
            attempts.note(&result);
            match result {
                Ok(len) => return Ok(len),
                Err(error) => attempts.pause(error).await?,
            }
        }
    }

    async fn try_head(&self, name: &str, path: &Path) -> Result<Option<u64>, StoreError> {
        self.0.traffic.meter.head.add(1);
        match self.check_local(name).await {
            Ok(()) => {}
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
        match self.0.backend.objects().head(path).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(error) => match store_error(name, error) {
                StoreError::NotFound { .. } => Ok(None),
                error => Err(error),
            },
        }
    }

    /// All objects below a directory of names (`packs`, `snapshots/ab`; empty for all), in no
    /// particular order. Fetched page by page as the stream is read. What drover did not name, and
    /// what is being written, is left out.
    pub fn list(
        &self,
        directory: &str,
    ) -> impl Stream<Item = Result<ObjectInfo, StoreError>> + Send + Unpin + use<> {
        let directory = directory.trim_end_matches('/').to_owned();
        if !directory.is_empty()
            && let Err(error) = name::check(&directory)
        {
            return stream::once(std::future::ready(Err(error))).boxed();
        }
        if self.0.backend.is_cloud() {
            self.list_pages(directory).boxed()
        } else {
            self.list_files(directory).boxed()
        }
    }

    fn list_files(
        &self,
        directory: String,
    ) -> impl Stream<Item = Result<ObjectInfo, StoreError>> + use<> {
        self.0.traffic.meter.list.add(1);
        let prefix = (!directory.is_empty()).then(|| Path::from(directory.as_str()));
        let store = self.clone();
        self.0.backend.objects().list(prefix.as_ref()).filter_map(move |item| {
            let listed = match item {
                Ok(meta) => store.listed(meta.location.as_ref(), meta.size).map(Ok),
                Err(error) => Some(Err(store_error(&directory, error))),
            };
            std::future::ready(listed)
        })
    }

    fn list_pages(
        &self,
        directory: String,
    ) -> impl Stream<Item = Result<ObjectInfo, StoreError>> + use<> {
        let prefix = match directory.as_str() {
            "" => self.0.prefix.clone(),
            directory => format!("{}{directory}/", self.0.prefix),
        };
        struct State {
            store: Store,
            page: VecDeque<ObjectInfo>,
            /// The page to ask for next; `None` after the last.
            next: Option<Option<String>>,
        }
        let state = State { store: self.clone(), page: VecDeque::new(), next: Some(None) };
        stream::try_unfold(state, move |mut state| {
            let (directory, prefix) = (directory.clone(), prefix.clone());
            async move {
                loop {
                    if let Some(object) = state.page.pop_front() {
                        return Ok(Some((object, state)));
                    }
                    let Some(token) = state.next.take() else { return Ok(None) };
                    let (page, next) = state.store.page(&directory, &prefix, token.clone()).await?;
                    if next.is_some() && next == token {
                        return Err(StoreError::Protocol {
                            object: directory,
                            source: Some("the listing names the same page as the next one".into()),
                        });
                    }
                    state.page = page;
                    state.next = next.map(Some);
                }
            }
        })
    }

    /// One page of a listing, and the token of the next.
    async fn page(
        &self,
        directory: &str,
        prefix: &str,
        token: Option<String>,
    ) -> Result<(VecDeque<ObjectInfo>, Option<String>), StoreError> {
        let pages = self.0.backend.pages().ok_or_else(|| StoreError::Protocol {
            object: directory.to_owned(),
            source: Some("only clouds are listed by pages".into()),
        })?;
        let mut attempts = self.attempts();
        loop {
            self.0.traffic.meter.list.add(1);
            let options = PaginatedListOptions { page_token: token.clone(), ..Default::default() };
            let prefix = (!prefix.is_empty()).then_some(prefix);
            let result = pages.list_paginated(prefix, options).await;
            let result = result.map_err(|error| store_error(directory, error));
            attempts.note(&result);
            match result {
                Ok(page) => {
                    let objects = page.result.objects.iter();
                    let listed = objects.filter_map(|o| self.listed(o.location.as_ref(), o.size));
                    return Ok((listed.collect(), page.page_token));
                }
                Err(error) => attempts.pause(error).await?,
            }
        }
    }

    fn listed(&self, location: &str, len: u64) -> Option<ObjectInfo> {
        let name = location.strip_prefix(&self.0.prefix)?;
        name::is_valid(name).then(|| ObjectInfo { name: name.to_owned(), len })
    }

    /// Deletes an object; one that is not there is no error. For key slots and probes only:
    /// nothing else that drover stored is ever deleted.
    pub async fn delete(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name)?;
        let mut attempts = self.attempts();
        loop {
            self.0.traffic.meter.delete.add(1);
            let result = match self.0.backend.objects().delete(&path).await {
                Ok(()) => Ok(()),
                Err(error) => match store_error(name, error) {
                    StoreError::NotFound { .. } => Ok(()),
                    error => Err(error),
                },
            };
            attempts.note(&result);
            match result {
                Ok(()) => return Ok(()),
                Err(error) => attempts.pause(error).await?,
            }
        }
    }

    pub(crate) fn path(&self, name: &str) -> Result<Path, StoreError> {
        name::check(name)?;
        Path::parse(format!("{}{name}", self.0.prefix))
            .map_err(|_| StoreError::BadName { object: name.to_owned() })
    }

    pub(crate) fn attempts(&self) -> Attempts<'_> {
        Attempts::new(self, self.0.options.retry)
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

enum Compared {
    Equal,
    Absent,
    Unreadable,
}

/// Runs what blocks on tokio's threads for that.
async fn blocking<T: Send + 'static>(
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
