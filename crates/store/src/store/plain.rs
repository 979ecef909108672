//! Plain objects: files as other programs read them, under names that drover does not choose.
//!
//! Nothing here is create-only: an object is replaced by its next version. A put stores the whole
//! object or nothing; a large one goes in parts and is there when they are joined. The names are
//! the caller's, who must see to it that every store takes them.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use object_store::{
    Attribute, Attributes, GetOptions, MultipartId, PutMultipartOptions, PutOptions,
    multipart::PartId, path::Path,
};

use super::{Store, list::ObjectInfo};
use crate::{StoreError, StoreKind, classify::store_error};

/// What is said of an object beside its content: names of letters and digits, text in ASCII.
pub type Metadata = BTreeMap<&'static str, String>;

/// An object that is sent in parts.
#[derive(Clone, Debug)]
pub struct PlainUpload {
    key: String,
    path: Path,
    id: MultipartId,
    /// Whether its metadata went along.
    described: bool,
}

impl PlainUpload {
    /// What the store calls it.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// A part that was stored.
#[derive(Clone, Debug)]
pub struct PlainPart(PartId);

impl PlainPart {
    /// What the store calls it.
    pub fn id(&self) -> &str {
        &self.0.content_id
    }

    /// One that an earlier process sent.
    pub fn from_id(content_id: String) -> Self {
        Self(PartId { content_id })
    }
}

fn attributes(metadata: &Metadata) -> Attributes {
    let mut attributes = Attributes::new();
    for (name, value) in metadata {
        attributes.insert(Attribute::Metadata((*name).into()), value.clone().into());
    }
    attributes
}

impl Store {
    fn plain_path(&self, key: &str) -> Result<Path, StoreError> {
        Path::parse(format!("{}{key}", self.0.prefix))
            .map_err(|_| StoreError::BadName { object: key.to_owned() })
    }

    /// How many bytes of a name the prefix takes.
    pub fn prefix_len(&self) -> usize {
        self.0.prefix.len()
    }

    /// Whether the metadata of an object goes along with one that is sent in parts.
    pub fn describes_parts(&self) -> bool {
        matches!(self.0.url.kind(), StoreKind::S3 | StoreKind::Gcs)
    }

    /// Stores an object in place of whatever has its name.
    pub async fn put_plain(
        &self,
        key: &str,
        body: Bytes,
        metadata: &Metadata,
    ) -> Result<(), StoreError> {
        let path = self.plain_path(key)?;
        self.retried(|_| async {
            self.0.traffic.meter.add(|m| &m.put, 1);
            let options = PutOptions { attributes: attributes(metadata), ..PutOptions::default() };
            let put = self.0.backend.objects().put_opts(&path, body.clone().into(), options);
            put.await.map(|_| ()).map_err(|error| store_error(key, error))
        })
        .await
    }

    /// Begins an object that is sent in parts.
    pub async fn begin_plain(
        &self,
        key: &str,
        metadata: &Metadata,
    ) -> Result<PlainUpload, StoreError> {
        let path = self.plain_path(key)?;
        let described = self.describes_parts();
        let parts = self.parts(key)?;
        let id = self
            .retried(|_| async {
                self.0.traffic.meter.add(|m| &m.put, 1);
                let attributes =
                    if described { attributes(metadata) } else { Attributes::default() };
                let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
                let begun = parts.create_multipart_opts(&path, options).await;
                begun.map_err(|error| store_error(key, error))
            })
            .await?;
        Ok(PlainUpload { key: key.to_owned(), path, id, described })
    }

    /// An upload that an earlier process began.
    pub fn plain_upload(&self, key: &str, id: &str) -> Result<PlainUpload, StoreError> {
        let (key, path) = (key.to_owned(), self.plain_path(key)?);
        Ok(PlainUpload { key, path, id: id.to_owned(), described: self.describes_parts() })
    }

    fn parts(&self, key: &str) -> Result<&dyn object_store::multipart::MultipartStore, StoreError> {
        self.0.backend.parts().ok_or_else(|| StoreError::Protocol {
            object: key.to_owned(),
            source: Some("only clouds take objects in parts".into()),
        })
    }

    /// Sends a part; numbers begin with 0. All but the last have the same length, 5 MiB or more.
    pub async fn put_plain_part(
        &self,
        upload: &PlainUpload,
        number: usize,
        body: Bytes,
    ) -> Result<PlainPart, StoreError> {
        let PlainUpload { key, path, id, .. } = upload;
        let parts = self.parts(key)?;
        self.retried(|_| async {
            self.0.traffic.meter.add(|m| &m.put, 1);
            let put = parts.put_part(path, id, number, body.clone().into());
            put.await.map(PlainPart).map_err(|error| store_error(key, error))
        })
        .await
    }

    /// Joins the parts, at least one, in order: the object is there, of `len` bytes.
    pub async fn complete_plain(
        &self,
        upload: &PlainUpload,
        joined: Vec<PlainPart>,
        metadata: &Metadata,
        len: u64,
    ) -> Result<(), StoreError> {
        let PlainUpload { key, path, id, described } = upload;
        let parts = self.parts(key)?;
        let joined: Vec<PartId> = joined.into_iter().map(|part| part.0).collect();
        let joined = &joined;
        self.retried(|is_unclear| async move {
            // After a lost answer the upload can be gone because it was completed.
            if is_unclear
                && *described
                && let Some((there, said)) = self.try_metadata(key, path).await?
                && there == len
                && metadata.iter().all(|(name, value)| said.get(*name) == Some(value))
            {
                return Ok(());
            }
            self.0.traffic.meter.add(|m| &m.put, 1);
            let done = parts.complete_multipart(path, id, joined.clone()).await;
            done.map(|_| ()).map_err(|error| store_error(key, error))
        })
        .await
    }

    /// Gives up an object that was sent in parts; what the store keeps of it all the same, its
    /// own rules remove.
    pub async fn abort_plain(&self, upload: &PlainUpload) -> Result<(), StoreError> {
        let PlainUpload { key, path, id, .. } = upload;
        self.0.traffic.meter.add(|m| &m.delete, 1);
        let aborted = self.parts(key)?.abort_multipart(path, id).await;
        aborted.map_err(|error| store_error(key, error))
    }

    /// Length and metadata of an object; `None` where there is none.
    pub async fn plain_metadata(
        &self,
        key: &str,
    ) -> Result<Option<(u64, BTreeMap<String, String>)>, StoreError> {
        let path = self.plain_path(key)?;
        self.retried(|_| self.try_metadata(key, &path)).await
    }

    async fn try_metadata(
        &self,
        key: &str,
        path: &Path,
    ) -> Result<Option<(u64, BTreeMap<String, String>)>, StoreError> {
        self.0.traffic.meter.add(|m| &m.head, 1);
        let options = GetOptions { head: true, ..GetOptions::default() };
        let found = match self.0.backend.objects().get_opts(path, options).await {
            Ok(found) => found,
            Err(error) => {
                return match store_error(key, error) {
                    StoreError::NotFound { .. } => Ok(None),
                    error => Err(error),
                };
            }
        };
        let said = found.attributes.iter().filter_map(|(name, value)| match name {
            // Stores and libraries differ in the case that they hand names back in.
            Attribute::Metadata(name) => Some((name.to_ascii_lowercase(), value.to_string())),
            _ => None,
        });
        Ok(Some((found.meta.size, said.collect())))
    }

    /// Reads a range of an object, all of it. The caller bounds its length.
    pub async fn get_plain(
        &self,
        key: &str,
        range: std::ops::Range<u64>,
    ) -> Result<Bytes, StoreError> {
        let path = self.plain_path(key)?;
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        self.retried(|_| self.try_get_range(key, &path, range.clone())).await
    }

    /// Deletes an object; one that is not there is no error.
    pub async fn delete_plain(&self, key: &str) -> Result<(), StoreError> {
        let path = self.plain_path(key)?;
        self.retried(|_| self.try_delete(key, &path)).await
    }

    /// All objects below the prefix, whatever they are called.
    pub fn list_plain(
        &self,
    ) -> impl Stream<Item = Result<ObjectInfo, StoreError>> + Send + Unpin + use<> {
        match self.0.backend.is_cloud() {
            true => self.list_pages(String::new(), false).boxed(),
            false => self.list_files(String::new(), false).boxed(),
        }
    }
}
