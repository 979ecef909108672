//! The database of the state: redb, every commit synced.
//!
//! The order of the commits is what makes a pass safe to kill. A pack's intent is durable before
//! the pack is sent; its chunks count as stored only after the store acknowledged it; log record
//! and snapshot are kept, byte for byte, before they are sent, so that a pass killed between
//! sending and noting it sends the same bytes again instead of forking its own history.

use std::{path::Path, sync::OnceLock};

use drover_pack::PackReceipt;
use drover_types::{ChunkId, PackId, SourceId, WriterId, codec::Decoder};
use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use super::{
    Filter, StateError,
    values::{
        Commit, ENCODED_ENTRY, Head, Partial, SourceRecord, decode_commit, decode_head,
        decode_partial, decode_receipt, decode_source, encode_commit, encode_head, encode_partial,
        encode_receipt, encode_source,
    },
};
use crate::index::ListedPack;

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const CHUNKS: TableDefinition<[u8; 32], ()> = TableDefinition::new("chunks");
const INTENTS: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("intents");
/// Acknowledged packs that no snapshot lists yet, in the order of acknowledgement.
const UNLISTED: TableDefinition<u64, &[u8]> = TableDefinition::new("unlisted");
/// Acknowledged packs that no index object holds yet.
const UNINDEXED: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("unindexed");
const SOURCES: TableDefinition<[u8; 16], &[u8]> = TableDefinition::new("sources");
const PARTIALS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("partials");

const COUNTER: &str = "pack counter";
const HEAD: &str = "head";
const COMMIT: &str = "commit";
const WRITER: &str = "writer";
/// Memory for the database's pages, in bytes.
const CACHE: usize = 24 << 20;

/// The database.
pub struct Database {
    db: redb::Database,
    path: std::path::PathBuf,
    /// Why an access failed first: redb only says that one did.
    failed: OnceLock<std::io::ErrorKind>,
}

impl Database {
    /// Opens or makes the database at `path`.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let is_new = !path.exists();
        Self::open_or_make(path).inspect_err(|error| {
            // Half of a new one, on a full disk say, is nothing yet, and no damage the next time.
            if is_new && matches!(error, StateError::Io { .. }) {
                let _ = std::fs::remove_file(path);
            }
        })
    }

    fn open_or_make(path: &Path) -> Result<Self, StateError> {
        let damaged = |message: String| StateError::Damaged { path: path.to_owned(), message };
        let db = redb::Builder::new().set_cache_size(CACHE).create(path).map_err(|e| match e {
            redb::DatabaseError::DatabaseAlreadyOpen => StateError::InUse(path.to_owned()),
            redb::DatabaseError::Storage(redb::StorageError::Io(source)) if !is_cut(&source) => {
                StateError::Io { path: path.to_owned(), source }
            }
            other => damaged(other.to_string()),
        })?;
        Self { db, path: path.to_owned(), failed: OnceLock::new() }.initialised()
    }

    /// Over a storage of the caller's: simulated power loss.
    pub fn with_backend(backend: impl redb::StorageBackend) -> Result<Self, StateError> {
        let path = std::path::PathBuf::from("backend");
        let db = redb::Builder::new()
            .set_cache_size(CACHE)
            .create_with_backend(backend)
            .map_err(|e| StateError::Damaged { path: path.clone(), message: e.to_string() })?;
        Self { db, path, failed: OnceLock::new() }.initialised()
    }

    fn initialised(self) -> Result<Self, StateError> {
        let missing = self.read(|tx| {
            Ok(match tx.open_table(PARTIALS) {
                Err(redb::TableError::TableDoesNotExist(_)) => true,
                other => other.map(|_| false)?,
            })
        })?;
        if missing {
            self.write(|tx| {
                tx.open_table(META)?;
                tx.open_table(CHUNKS)?;
                tx.open_table(INTENTS)?;
                tx.open_table(UNLISTED)?;
                tx.open_table(UNINDEXED)?;
                tx.open_table(SOURCES)?;
                tx.open_table(PARTIALS)?;
                Ok(())
            })?;
        }
        Ok(self)
    }

    fn error(&self, error: redb::Error) -> StateError {
        match error {
            redb::Error::Io(source) if !is_cut(&source) => {
                self.failed.get_or_init(|| source.kind());
                StateError::Io { path: self.path.clone(), source }
            }
            // The disk was full, say: what was committed before is whole.
            redb::Error::PreviousIo => StateError::Io {
                path: self.path.clone(),
                source: match self.failed.get() {
                    Some(kind) => std::io::Error::from(*kind),
                    None => std::io::Error::other("an earlier access failed"),
                },
            },
            other => StateError::Damaged { path: self.path.clone(), message: other.to_string() },
        }
    }

    fn read<T>(
        &self,
        f: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StateError> {
        self.db.begin_read().map_err(Into::into).and_then(|tx| f(&tx)).map_err(|e| self.error(e))
    }

    fn write<T>(
        &self,
        f: impl FnOnce(&redb::WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StateError> {
        let result = (|| {
            let tx = self.db.begin_write()?;
            let value = f(&tx)?;
            tx.commit()?;
            Ok(value)
        })();
        result.map_err(|e| self.error(e))
    }

    /// Numbers `first..first + count` that were never handed out before.
    pub fn reserve_counters(&self, count: u64) -> Result<u64, StateError> {
        self.write(|tx| {
            let mut meta = tx.open_table(META)?;
            let first = meta.get(COUNTER)?.map_or(0, |v| u64_of(v.value()));
            meta.insert(COUNTER, &(first + count).to_le_bytes()[..])?;
            Ok(first)
        })
    }

    /// The end of this writer's history.
    pub fn head(&self) -> Result<Head, StateError> {
        let bytes =
            self.read(|tx| Ok(tx.open_table(META)?.get(HEAD)?.map(|v| v.value().to_vec())))?;
        Ok(bytes.map(|bytes| decode_head(&bytes)).transpose()?.unwrap_or_default())
    }

    /// Sets the history's end, when the state is rebuilt from the repository.
    pub fn set_head(&self, head: &Head) -> Result<(), StateError> {
        self.write(|tx| {
            tx.open_table(META)?.insert(HEAD, &encode_head(head)[..])?;
            Ok(())
        })
    }

    /// Whose state this is; `None` as long as it may lack what the repository has.
    pub fn writer(&self) -> Result<Option<WriterId>, StateError> {
        let bytes =
            self.read(|tx| Ok(tx.open_table(META)?.get(WRITER)?.map(|v| v.value().to_vec())))?;
        Ok(bytes.map(|bytes| Decoder::new(&bytes).array().map(WriterId)).transpose()?)
    }

    /// Notes that this is the state of `writer`, and lacks nothing.
    pub fn set_writer(&self, writer: WriterId) -> Result<(), StateError> {
        if self.writer()? == Some(writer) {
            return Ok(());
        }
        self.write(|tx| {
            tx.open_table(META)?.insert(WRITER, &writer.0[..])?;
            Ok(())
        })
    }

    /// Whether this chunk is in an acknowledged pack.
    pub fn has_chunk(&self, id: &ChunkId) -> Result<bool, StateError> {
        self.read(|tx| Ok(tx.open_table(CHUNKS)?.get(id.0)?.is_some()))
    }

    /// How many chunks are in acknowledged packs.
    pub fn chunk_count(&self) -> Result<u64, StateError> {
        self.read(|tx| Ok(tx.open_table(CHUNKS)?.len()?))
    }

    /// A filter over all chunks in acknowledged packs, with room for `more`.
    pub fn filter(&self, more: usize) -> Result<Filter, StateError> {
        self.read(|tx| {
            let chunks = tx.open_table(CHUNKS)?;
            let filter = Filter::with_capacity(chunks.len()? as usize + more);
            for item in chunks.iter()? {
                filter.insert(&ChunkId(item?.0.value()));
            }
            Ok(filter)
        })
    }

    /// Notes that a pack is about to be sent.
    pub fn intend(&self, receipt: &PackReceipt) -> Result<(), StateError> {
        self.write(|tx| {
            tx.open_table(INTENTS)?.insert(receipt.id.0, &encode_receipt(receipt)[..])?;
            Ok(())
        })
    }

    /// The packs that were about to be sent when an earlier run ended.
    pub fn intents(&self) -> Result<Vec<PackReceipt>, StateError> {
        let values = self.read(|tx| {
            let table = tx.open_table(INTENTS)?;
            let values = table.iter()?.map(|item| Ok(item?.1.value().to_vec()));
            values.collect::<Result<Vec<_>, redb::Error>>()
        })?;
        Ok(values.iter().map(|v| decode_receipt(v)).collect::<Result<_, _>>()?)
    }

    /// Notes that the store acknowledged a pack: its chunks count from now on.
    pub fn acknowledge(&self, receipt: &PackReceipt) -> Result<(), StateError> {
        let known = self.write(|tx| {
            let Some(bytes) =
                tx.open_table(INTENTS)?.remove(receipt.id.0)?.map(|v| v.value().to_vec())
            else {
                return Ok(false);
            };
            insert_pack(tx, receipt, &bytes)?;
            Ok(true)
        })?;
        if known { Ok(()) } else { Err(StateError::NoIntent(receipt.id)) }
    }

    /// Forgets the intent of a pack that never arrived.
    pub fn forget_intent(&self, id: &PackId) -> Result<(), StateError> {
        self.write(|tx| {
            tx.open_table(INTENTS)?.remove(id.0)?;
            Ok(())
        })
    }

    /// Adds the chunks of packs that the repository's index lists, when the state is rebuilt.
    pub fn adopt(&self, packs: &[&PackReceipt]) -> Result<(), StateError> {
        self.write(|tx| {
            let mut chunks = tx.open_table(CHUNKS)?;
            for entry in packs.iter().flat_map(|pack| &pack.entries) {
                chunks.insert(entry.id.0, ())?;
            }
            Ok(())
        })
    }

    /// Acknowledged packs that no index object holds yet: as many as make about `chunks`
    /// chunks, at least one where there is one.
    pub fn unindexed(&self, chunks: usize) -> Result<Vec<PackReceipt>, StateError> {
        let mut room = (chunks * ENCODED_ENTRY) as isize;
        let values = self.read(|tx| {
            let table = tx.open_table(UNINDEXED)?;
            let mut values = Vec::new();
            for item in table.iter()? {
                let value = item?.1.value().to_vec();
                room -= value.len() as isize;
                values.push(value);
                if room <= 0 {
                    break;
                }
            }
            Ok(values)
        })?;
        Ok(values.iter().map(|v| decode_receipt(v)).collect::<Result<_, _>>()?)
    }

    /// Notes that the store acknowledged an index object over these packs.
    pub fn indexed(&self, packs: &[PackReceipt]) -> Result<(), StateError> {
        self.write(|tx| {
            let mut table = tx.open_table(UNINDEXED)?;
            for pack in packs {
                table.remove(pack.id.0)?;
            }
            Ok(())
        })
    }

    /// Acknowledged packs that no snapshot lists yet, in order.
    pub fn unlisted(&self) -> Result<Vec<ListedPack>, StateError> {
        let values = self.read(|tx| {
            let table = tx.open_table(UNLISTED)?;
            let values = table.iter()?.map(|item| Ok(item?.1.value().to_vec()));
            values.collect::<Result<Vec<_>, redb::Error>>()
        })?;
        values
            .iter()
            .map(|value| {
                let mut d = Decoder::new(value);
                Ok(ListedPack { id: PackId(d.array()?), len: d.u64()? })
            })
            .collect()
    }

    /// Keeps log record and snapshot before they are sent.
    pub fn begin_commit(&self, commit: &Commit) -> Result<(), StateError> {
        self.write(|tx| {
            tx.open_table(META)?.insert(COMMIT, &encode_commit(commit)[..])?;
            Ok(())
        })
    }

    /// What an earlier run kept and did not see acknowledged.
    pub fn pending_commit(&self) -> Result<Option<Commit>, StateError> {
        let bytes =
            self.read(|tx| Ok(tx.open_table(META)?.get(COMMIT)?.map(|v| v.value().to_vec())))?;
        Ok(bytes.map(|bytes| decode_commit(&bytes)).transpose()?)
    }

    /// Notes that the store acknowledged log record and snapshot.
    pub fn finish_commit(&self, commit: &Commit) -> Result<(), StateError> {
        self.write(|tx| {
            let mut meta = tx.open_table(META)?;
            meta.insert(HEAD, &encode_head(&commit.head)[..])?;
            meta.remove(COMMIT)?;
            let mut unlisted = tx.open_table(UNLISTED)?;
            for _ in 0..commit.listed {
                unlisted.pop_first()?;
            }
            if let Some((id, source)) = &commit.source {
                tx.open_table(SOURCES)?.insert(id.0, &encode_source(source)[..])?;
                remove_partials(tx, id)?;
            }
            Ok(())
        })
    }

    /// What is remembered of a source.
    pub fn source(&self, id: SourceId) -> Result<Option<SourceRecord>, StateError> {
        let bytes =
            self.read(|tx| Ok(tx.open_table(SOURCES)?.get(id.0)?.map(|v| v.value().to_vec())))?;
        Ok(bytes.map(|bytes| decode_source(&bytes)).transpose()?)
    }

    /// Remembers a source, when the state is rebuilt from the repository.
    pub fn set_source(&self, id: SourceId, source: &SourceRecord) -> Result<(), StateError> {
        self.write(|tx| {
            tx.open_table(SOURCES)?.insert(id.0, &encode_source(source)[..])?;
            Ok(())
        })
    }

    /// How far a large file of an unfinished pass has come.
    pub fn partial(&self, source: SourceId, path: &[u8]) -> Result<Option<Partial>, StateError> {
        let bytes = self.read(|tx| {
            let key = partial_key(&source, path);
            Ok(tx.open_table(PARTIALS)?.get(&key[..])?.map(|v| v.value().to_vec()))
        })?;
        Ok(bytes.map(|bytes| decode_partial(&bytes)).transpose()?)
    }

    /// Notes how far a large file has come; `None` when it is done.
    pub fn set_partial(
        &self,
        source: SourceId,
        path: &[u8],
        partial: Option<&Partial>,
    ) -> Result<(), StateError> {
        self.write(|tx| {
            let key = partial_key(&source, path);
            let mut table = tx.open_table(PARTIALS)?;
            match partial {
                Some(partial) => table.insert(&key[..], &encode_partial(partial)[..])?,
                None => table.remove(&key[..])?,
            };
            Ok(())
        })
    }
}

/// Whether the system read what was asked for, and it is no database, or not all of one.
fn is_cut(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData)
}

fn insert_pack(
    tx: &redb::WriteTransaction,
    receipt: &PackReceipt,
    encoded: &[u8],
) -> Result<(), redb::Error> {
    let mut chunks = tx.open_table(CHUNKS)?;
    for entry in &receipt.entries {
        chunks.insert(entry.id.0, ())?;
    }
    tx.open_table(UNINDEXED)?.insert(receipt.id.0, encoded)?;
    let mut unlisted = tx.open_table(UNLISTED)?;
    let next = unlisted.last()?.map_or(0, |(key, _)| key.value() + 1);
    let mut listed = receipt.id.0.to_vec();
    listed.extend_from_slice(&receipt.len.to_le_bytes());
    unlisted.insert(next, &listed[..])?;
    Ok(())
}

fn remove_partials(tx: &redb::WriteTransaction, source: &SourceId) -> Result<(), redb::Error> {
    let mut table = tx.open_table(PARTIALS)?;
    table.retain(|key, _| !key.starts_with(&source.0))?;
    Ok(())
}

fn partial_key(source: &SourceId, path: &[u8]) -> Vec<u8> {
    [&source.0[..], path].concat()
}

fn u64_of(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use drover_types::{Evidence, Extent, Timestamp};

    use super::*;

    #[test]
    fn how_far_a_file_has_come_is_kept_with_all_its_evidence() {
        let backend = redb::backends::InMemoryBackend::new();
        let database = Database::with_backend(backend).unwrap();
        let source = SourceId([1; 16]);
        for (racy, ctime) in [(false, None), (true, None), (true, Some(Timestamp::default()))] {
            let evidence = Evidence { racy, ctime, size: 9, ..Evidence::default() };
            let places = vec![(1, vec![1, 2, 3])];
            let extents = vec![Extent::Hole(7)];
            let partial = Partial { evidence, mtime: Timestamp::default(), extents, places };
            database.set_partial(source, b"a", Some(&partial)).unwrap();
            assert_eq!(database.partial(source, b"a").unwrap(), Some(partial));
        }
    }
}
