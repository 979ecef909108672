//! Which chunks need not be stored again.
//!
//! A chunk is known when an acknowledged pack holds it (the state's database, behind a filter
//! that spares most look-ups of a first pass) or when this pass has already put it on its way.

use std::{
    collections::HashSet,
    sync::{Mutex, OnceLock},
};

use drover_repo::state::{Database, Filter, StateError};
use drover_types::{ChunkId, ChunkRef, Content, Extent, Extents, lock};

const SHARDS: usize = 16;
/// Room the filter has for chunks of this pass.
const EXPECTED_NEW: usize = 1 << 20;

/// Knows the chunks of a repository's writer.
pub struct Dedup<'s> {
    database: &'s Database,
    filter: OnceLock<Filter>,
    on_their_way: [Mutex<HashSet<ChunkId>>; SHARDS],
}

impl<'s> Dedup<'s> {
    /// Over the state's database.
    pub fn new(database: &'s Database) -> Self {
        Self { database, filter: OnceLock::new(), on_their_way: Default::default() }
    }

    fn filter(&self) -> Result<&Filter, StateError> {
        if let Some(filter) = self.filter.get() {
            return Ok(filter);
        }
        let filter = self.database.filter(EXPECTED_NEW)?;
        Ok(self.filter.get_or_init(|| filter))
    }

    fn shard(&self, id: &ChunkId) -> std::sync::MutexGuard<'_, HashSet<ChunkId>> {
        lock(&self.on_their_way[usize::from(id.0[31]) % SHARDS])
    }

    /// Whether the caller must store this chunk; from now on it counts as being on its way.
    pub fn claim(&self, id: &ChunkId) -> Result<bool, StateError> {
        let filter = self.filter()?;
        let mut shard = self.shard(id);
        if shard.contains(id) || (filter.may_contain(id) && self.database.has_chunk(id)?) {
            return Ok(false);
        }
        shard.insert(*id);
        Ok(true)
    }

    /// Whether this chunk is stored or on its way. Nothing is promised by asking.
    pub fn is_known(&self, id: &ChunkId) -> Result<bool, StateError> {
        let filter = self.filter()?;
        let on_its_way = self.shard(id).contains(id);
        Ok(on_its_way || (filter.may_contain(id) && self.database.has_chunk(id)?))
    }

    /// Notes that these chunks are in an acknowledged pack now. The database knew it first, so
    /// that no claim falls between.
    pub fn arrived(&self, ids: impl Iterator<Item = ChunkId>) -> Result<(), StateError> {
        let filter = self.filter()?;
        for id in ids {
            filter.insert(&id);
            self.shard(&id).remove(&id);
        }
        Ok(())
    }

    /// Whether an acknowledged pack holds this chunk.
    pub fn is_stored(&self, chunk: &ChunkRef) -> Result<bool, StateError> {
        Ok(self.filter()?.may_contain(&chunk.id) && self.database.has_chunk(&chunk.id)?)
    }

    /// Whether acknowledged packs surely hold every chunk of `content`. Of a long list this says
    /// no: how far such a file has come is kept apart, place by place (`state::Partial`).
    pub fn all_stored(&self, content: &Content) -> Result<bool, StateError> {
        let stored = |chunk: &ChunkRef| self.is_stored(chunk);
        match &content.extents {
            Extents::Inline(extents) => {
                for extent in extents.iter() {
                    if let Extent::Chunk(chunk) = extent
                        && !stored(chunk)?
                    {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Extents::Lists { .. } => Ok(false),
        }
    }
}
