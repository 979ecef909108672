//! Storing: an object is created once, and never replaced.

use std::{io, sync::PoisonError};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{Attribute, PutMode, PutOptions, path::Path};

use super::{Inner, Store, local};
use crate::{
    CreateOnly, StoreError,
    classify::{PutFailure, put_failure, store_error},
    direct,
};

/// Where packs are: the only objects that the storage class of the options applies to.
const PACKS: &str = "packs/";

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

impl Store {
    /// Stores `body` under a name that nothing, or the same bytes, are stored under. Other content
    /// is never overwritten: that is [`StoreError::Conflict`].
    ///
    /// Where the store honours create-only puts, two writers cannot both create. Where it does
    /// not, the name is looked up first, which leaves a moment in between; names that hold the
    /// content's hash make that harmless. After a lost answer the object is looked up and
    /// compared before anything is sent again. A local object is durable when this returns.
    pub async fn put_new(&self, name: &str, body: Bytes) -> Result<PutOutcome, StoreError> {
        let path = self.path(name)?;
        self.retried(|is_unclear| self.try_put_new(name, &path, &body, is_unclear)).await
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
        traffic.meter.add(|m| &m.put, 1);
        let mut put = PutOptions { mode, ..PutOptions::default() };
        if backend.is_cloud() {
            if let Some(class) = options.storage_class.as_ref().filter(|_| name.starts_with(PACKS))
            {
                put.attributes.insert(Attribute::StorageClass, class.clone().into());
            }
        } else {
            traffic.upload.pass(body.len() as u64).await;
            traffic.meter.add(|m| &m.sent, body.len() as u64);
        }
        let done = match self.0.url.local_path() {
            Some(root) if body.len() >= direct::LEAST => {
                let (at, body) = (root.join(name), body.clone());
                let mut room = self.0.buffers.take(local::TRANSFER);
                let work = move || {
                    let room = room.aligned(local::TRANSFER);
                    local::put(&at, &body, &put.mode, room)
                };
                tokio::task::spawn_blocking(work).await.map_err(io::Error::from).flatten().map_err(
                    |error| object_store::Error::Generic {
                        store: "the directory",
                        source: Box::new(error),
                    },
                )
            }
            _ => backend.objects().put_opts(path, body.clone().into(), put).await.map(drop),
        };
        done.map_err(|error| put_failure(name, error))
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
}

enum Compared {
    Equal,
    Absent,
    Unreadable,
}
