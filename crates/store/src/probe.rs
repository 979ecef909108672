//! What a store can do, found out by trying: some ignore conditions and say nothing.

use bytes::Bytes;
use futures::StreamExt;
use object_store::PutMode;

use crate::{Store, StoreError, classify::PutFailure, retry::unpredictable};

/// What a store does with a create-only put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CreateOnly {
    /// It refuses to overwrite.
    #[default]
    Honoured,
    /// It overwrites and reports success.
    Ignored,
    /// It does not accept such a put.
    Refused,
}

impl CreateOnly {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            CreateOnly::Honoured => "honoured",
            CreateOnly::Ignored => "ignored",
            CreateOnly::Refused => "refused",
        }
    }
}

/// What a store and the credentials allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// What becomes of a create-only put.
    pub create_only: CreateOnly,
    /// Whether bodies go with a checksum that the store checks.
    pub checksums: bool,
    /// Whether objects can be read.
    pub read: bool,
    /// Whether objects can be listed.
    pub list: bool,
    /// Whether objects can be deleted.
    pub delete: bool,
}

impl Default for Capabilities {
    /// What is believed of a store that was not probed.
    fn default() -> Self {
        Self {
            create_only: CreateOnly::Honoured,
            checksums: false,
            read: true,
            list: true,
            delete: true,
        }
    }
}

impl Store {
    /// Tries what the store can do with one tiny object under `probe/`, which is deleted
    /// afterwards where that is allowed, and keeps the answer for later puts.
    ///
    /// Fails where nothing can be written, or where something else is read than was written.
    pub async fn probe(&self) -> Result<Capabilities, StoreError> {
        let name = format!("probe/{:016x}", unpredictable());
        let (first, second) =
            (Bytes::from_static(b"drover probe 1"), Bytes::from_static(b"drover probe 2"));
        let mut found =
            Capabilities { checksums: self.sends_checksums(), ..Capabilities::default() };

        let mut expected = &first;
        found.create_only = match self.try_create(&name, &first).await? {
            Created::Yes => match self.try_create(&name, &second).await? {
                Created::Yes => {
                    expected = &second;
                    CreateOnly::Ignored
                }
                Created::Taken => CreateOnly::Honoured,
                Created::Unsupported => CreateOnly::Refused,
            },
            Created::Unsupported => {
                self.assume(Capabilities { create_only: CreateOnly::Refused, ..found });
                self.put_new(&name, first.clone()).await?;
                CreateOnly::Refused
            }
            // The name is as good as unique: what took it is our own put, whose answer was lost.
            Created::Taken => CreateOnly::Honoured,
        };

        match self.get(&name, 1024).await {
            Ok(bytes) if bytes == expected => {}
            Ok(_) => {
                return Err(StoreError::Protocol {
                    object: name,
                    source: Some("what was read is not what was written".into()),
                });
            }
            Err(StoreError::Denied { .. }) => found.read = false,
            Err(error) => return Err(error),
        }
        let mut listing = self.list("probe");
        found.list = loop {
            match listing.next().await {
                Some(Ok(object)) if object.name == name => break true,
                Some(Ok(_)) => {}
                // A listing that lags behind is of no use either.
                Some(Err(StoreError::Denied { .. })) | None => break false,
                Some(Err(error)) => return Err(error),
            }
        };
        found.delete = match self.delete(&name).await {
            Ok(()) => true,
            Err(StoreError::Denied { .. }) => false,
            Err(error) => return Err(error),
        };
        self.assume(found);
        Ok(found)
    }

    async fn try_create(&self, name: &str, body: &Bytes) -> Result<Created, StoreError> {
        let path = self.path(name)?;
        self.retried(|_| async {
            match self.send(name, &path, body, PutMode::Create).await {
                Ok(()) => Ok(Created::Yes),
                Err(PutFailure::Taken(_)) => Ok(Created::Taken),
                Err(PutFailure::Unsupported(_)) => Ok(Created::Unsupported),
                Err(PutFailure::Other(error)) => Err(error),
            }
        })
        .await
    }
}

enum Created {
    Yes,
    Taken,
    Unsupported,
}
