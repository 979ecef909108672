//! Reading: bounded before memory is taken, and all of what was asked for or an error.

use std::ops::Range;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{GetOptions, GetRange, GetResult, GetResultPayload, ObjectStoreExt, path::Path};

use super::{Store, blocking};
use crate::{
    StoreError,
    classify::{io_error, store_error},
};

impl Store {
    /// Reads an object of at most `limit` bytes; a longer one is refused before memory is taken.
    pub async fn get(&self, name: &str, limit: usize) -> Result<Bytes, StoreError> {
        let path = self.path(name)?;
        self.retried(|_| self.try_get(name, &path, limit)).await
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
        self.retried(|_| self.try_get_range(name, &path, range.clone())).await
    }

    pub(super) async fn try_get_range(
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
    pub(super) async fn open(
        &self,
        name: &str,
        path: &Path,
        range: Option<Range<u64>>,
    ) -> Result<GetResult, StoreError> {
        self.0.traffic.meter.add(|m| &m.get, 1);
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
        let mut whole = self.0.buffers.take(len);
        let start = found.range.start;
        if let GetResultPayload::File(file, _) = found.payload {
            let object = name.to_owned();
            whole = blocking(name, move || match whole.read(&file, start, len) {
                Ok(()) => Ok(whole),
                Err(error) => Err(io_error(&object, error.kind(), Some(Box::new(error)))),
            })
            .await?;
            self.note_received(whole.len()).await;
        } else {
            let mut pieces = found.into_stream();
            while let Some(piece) =
                pieces.try_next().await.map_err(|error| store_error(name, error))?
            {
                self.note_received(piece.len()).await;
                let got = (whole.len() + piece.len()) as u64;
                if got > len as u64 {
                    return Err(StoreError::WrongLength {
                        object: name.to_owned(),
                        expected: len as u64,
                        got,
                    });
                }
                whole.append(&piece);
            }
        }
        let bytes = whole.freeze();
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
    pub(super) async fn note_received(&self, len: usize) {
        if !self.0.backend.is_cloud() {
            self.0.traffic.meter.add(|m| &m.received, len as u64);
            self.0.traffic.download.pass(len as u64).await;
        }
    }

    /// The length of an object in bytes, `None` where there is none.
    pub async fn head(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let path = self.path(name)?;
        self.retried(|_| self.try_head(name, &path)).await
    }

    async fn try_head(&self, name: &str, path: &Path) -> Result<Option<u64>, StoreError> {
        self.0.traffic.meter.add(|m| &m.head, 1);
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
}
