//! Objects that are sent in parts, and go on in a new process.
//!
//! A note in the bucket says which parts of a large object are there: its upload's id, and what the
//! store called each part. It is written after every few parts, and taken away when the parts are
//! joined. Whoever lands next goes on behind the last part that a note names; of a file that is
//! another one by then the upload is given up.

use std::collections::BTreeMap;

use bytes::Bytes;
use drover_repo::objects::Objects;
use drover_store::{Metadata, PlainPart, PlainUpload, StoreError};
use drover_types::limits;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

use crate::Error;

/// A part, in bytes, unless there would be too many.
pub const PART: u64 = 16 << 20;
/// Stores take 10,000 parts.
const PARTS: u64 = 9_000;
/// Parts sent at a time.
const TOGETHER: usize = 2;
/// Objects of fewer parts are begun again.
const WORTH_IT: u64 = 4;
/// Where notes are.
const UPLOADS: &str = ".drover/uploads/";

/// An object that is to be sent in parts.
pub struct Whole<'w> {
    pub key: &'w str,
    pub size: u64,
    pub metadata: &'w Metadata,
    /// What tells this content from any other; `None` where it is always begun anew.
    pub content: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Note {
    key: String,
    content: String,
    size: u64,
    part: u64,
    metadata: BTreeMap<String, String>,
    id: String,
    parts: Vec<String>,
}

impl Whole<'_> {
    fn part(&self) -> u64 {
        PART.max(self.size.div_ceil(PARTS).next_multiple_of(1 << 20))
    }

    fn note_name(&self) -> String {
        format!("{UPLOADS}{}", blake3::hash(self.key.as_bytes()).to_hex())
    }

    /// The content, where notes are kept of it.
    fn noted(&self) -> Option<&String> {
        self.content.as_ref().filter(|_| self.size > WORTH_IT * self.part())
    }

    /// Sends it. `next` hands out the part at an offset, of a length, one after the other.
    pub fn send(
        &self,
        bucket: &Objects,
        may_go_on: bool,
        next: &mut dyn FnMut(u64, u64) -> Result<Vec<u8>, Error>,
    ) -> Result<(), Error> {
        if may_go_on
            && self.noted().is_some()
            && let Some(note) = Note::read(bucket, &self.note_name())?
        {
            if note.is_of(self) {
                let upload = bucket.store().plain_upload(self.key, &note.id)?;
                let sent = note.parts.into_iter().map(PlainPart::from_id).collect();
                match self.send_from(bucket, &upload, sent, next) {
                    // The store has forgotten it.
                    Err(Error::Store(
                        StoreError::NotFound { .. } | StoreError::Protocol { .. },
                    )) => {
                        self.forget(bucket)?;
                    }
                    sent => return sent,
                }
            } else {
                note.give_up(bucket);
                self.forget(bucket)?;
            }
        }
        let upload = bucket.wait(bucket.store().begin_plain(self.key, self.metadata))?;
        self.send_from(bucket, &upload, Vec::new(), next)
    }

    fn send_from(
        &self,
        bucket: &Objects,
        upload: &PlainUpload,
        mut sent: Vec<PlainPart>,
        next: &mut dyn FnMut(u64, u64) -> Result<Vec<u8>, Error>,
    ) -> Result<(), Error> {
        let store = bucket.store();
        let rest = self.send_rest(bucket, upload, &mut sent, next);
        if let Err(error) = rest {
            // What a note tells of goes on later.
            let goes_on =
                error.is_of_store() || matches!(error, Error::Interrupted | Error::Stopped);
            if !(goes_on && self.noted().is_some()) {
                // Where this fails too, the bucket's own rules remove what is left.
                let _ = bucket.wait(store.abort_plain(upload));
                self.forget(bucket)?;
            }
            return Err(error);
        }
        bucket.wait(store.complete_plain(upload, sent, self.metadata, self.size))?;
        self.forget(bucket)
    }

    fn send_rest(
        &self,
        bucket: &Objects,
        upload: &PlainUpload,
        sent: &mut Vec<PlainPart>,
        next: &mut dyn FnMut(u64, u64) -> Result<Vec<u8>, Error>,
    ) -> Result<(), Error> {
        let store = bucket.store();
        let part = self.part();
        let mut at = part * sent.len() as u64;
        while at < self.size {
            let mut bodies = Vec::with_capacity(TOGETHER);
            while at < self.size && bodies.len() < TOGETHER {
                let len = part.min(self.size - at);
                bodies.push(Bytes::from(next(at, len)?));
                at += len;
            }
            let first = sent.len();
            let puts = bodies
                .into_iter()
                .enumerate()
                .map(|(number, body)| store.put_plain_part(upload, first + number, body));
            for put in bucket.wait(futures::future::join_all(puts)) {
                sent.push(put?);
            }
            if at < self.size
                && let Some(content) = self.noted()
            {
                self.note(content, upload, sent).write(bucket, &self.note_name())?;
            }
        }
        Ok(())
    }

    fn note(&self, content: &str, upload: &PlainUpload, sent: &[PlainPart]) -> Note {
        Note {
            key: self.key.to_owned(),
            content: content.to_owned(),
            size: self.size,
            part: self.part(),
            metadata: owned(self.metadata),
            id: upload.id().to_owned(),
            parts: sent.iter().map(|part| part.id().to_owned()).collect(),
        }
    }

    fn forget(&self, bucket: &Objects) -> Result<(), Error> {
        match self.noted() {
            Some(_) => Ok(bucket.wait(bucket.store().delete_plain(&self.note_name()))?),
            None => Ok(()),
        }
    }
}

fn owned(metadata: &Metadata) -> BTreeMap<String, String> {
    metadata.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

impl Note {
    fn read(bucket: &Objects, name: &str) -> Result<Option<Self>, Error> {
        let store = bucket.store();
        let Some((len, _)) = bucket.wait(store.plain_metadata(name))? else { return Ok(None) };
        if len > limits::SMALL_OBJECT as u64 {
            return Ok(None);
        }
        let bytes = bucket.wait(store.get_plain(name, 0..len))?;
        Ok(serde_json::from_slice(&bytes).ok())
    }

    fn write(&self, bucket: &Objects, name: &str) -> Result<(), Error> {
        let json = serde_json::to_vec(self).map_err(|error| Error::Output(error.into()))?;
        let none = Metadata::new();
        Ok(bucket.wait(bucket.store().put_plain(name, json.into(), &none))?)
    }

    fn is_of(&self, whole: &Whole<'_>) -> bool {
        self.key == whole.key
            && Some(&self.content) == whole.content.as_ref()
            && (self.size, self.part) == (whole.size, whole.part())
            && self.metadata == owned(whole.metadata)
            && (self.parts.len() as u64) * self.part < self.size
    }

    /// Gives up an upload; where that fails, the bucket's own rules remove what is left.
    fn give_up(&self, bucket: &Objects) {
        let store = bucket.store();
        if let Ok(upload) = store.plain_upload(&self.key, &self.id) {
            let _ = bucket.wait(store.abort_plain(&upload));
        }
    }
}

/// Gives up what no landing went on with: when all is there, what notes tell of is not needed.
pub fn clear(bucket: &Objects) -> Result<(), Error> {
    let store = bucket.store();
    let notes = store.list_plain().try_filter(|object| {
        let is_note = object.name.starts_with(UPLOADS);
        async move { is_note }
    });
    for object in bucket.wait(notes.try_collect::<Vec<_>>())? {
        if let Some(note) = Note::read(bucket, &object.name)? {
            note.give_up(bucket);
        }
        bucket.wait(store.delete_plain(&object.name))?;
    }
    Ok(())
}
