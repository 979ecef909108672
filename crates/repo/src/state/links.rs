//! What is remembered of files of several names, from the first name to the last.
//!
//! A source can have as many of them as it has files, so that they lie on the disk: in a database
//! over a file without a name, which is gone with the process, however that ends. Nothing is ever
//! committed or synced there. As long as no file has several names, there is no such file either.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use redb::{ReadableTable, StorageBackend, TableDefinition, WriteTransaction};

use super::StateError;

/// A file: device and inode.
pub type FileKey = (u64, u64);

/// How many names are still to come, and what is remembered.
const LINKS: TableDefinition<FileKey, (u32, &[u8])> = TableDefinition::new("links");
/// Memory for the database's pages, in bytes.
const CACHE: usize = 8 << 20;

/// What is remembered of files of several names, each until its last name came.
pub struct LinkMap {
    folder: PathBuf,
    open: Option<Open>,
}

struct Open {
    changes: WriteTransaction,
    _database: redb::Database,
}

impl LinkMap {
    /// An empty map. Once it is needed its file lies in `folder`, whose owner alone should be able
    /// to look into it: names and attributes are written there.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), open: None }
    }

    /// What is remembered of the file `key`.
    pub fn get(&self, key: FileKey) -> Result<Option<Vec<u8>>, StateError> {
        let Some(open) = &self.open else { return Ok(None) };
        let get = || {
            let table = open.changes.open_table(LINKS)?;
            let found = table.get(key)?;
            Ok(found.map(|found| found.value().1.to_vec()))
        };
        get().map_err(|error| self.error(error))
    }

    /// Notes that one more of the names of `key` came. Returns what is remembered of it; after the
    /// last name nothing is any more.
    pub fn count(&mut self, key: FileKey) -> Result<Option<Vec<u8>>, StateError> {
        let Some(open) = &self.open else { return Ok(None) };
        let count = || {
            let mut table = open.changes.open_table(LINKS)?;
            let mut entry = match table.get_mut(key)? {
                None => return Ok(None),
                Some(entry) => entry,
            };
            let (left, value) = entry.value();
            let value = value.to_vec();
            if left > 1 {
                entry.insert((left - 1, &value[..]))?;
            } else {
                drop(entry);
                table.remove(key)?;
            }
            Ok(Some(value))
        };
        count().map_err(|error| self.error(error))
    }

    /// Remembers `value` of the file `key`, of which `left` further names will come.
    pub fn insert(&mut self, key: FileKey, left: u32, value: &[u8]) -> Result<(), StateError> {
        if left == 0 {
            return Ok(());
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => Open::create(&self.folder).map_err(|error| self.error(error))?,
        };
        let insert = || {
            open.changes.open_table(LINKS)?.insert(key, (left, value))?;
            Ok(())
        };
        let inserted = insert().map_err(|error| self.error(error));
        self.open = Some(open);
        inserted
    }

    fn error(&self, error: redb::Error) -> StateError {
        let source = match error {
            redb::Error::Io(source) => source,
            other => io::Error::other(other.to_string()),
        };
        StateError::Io { path: self.folder.clone(), source }
    }
}

impl Open {
    fn create(folder: &Path) -> Result<Self, redb::Error> {
        let storage = Nameless::create(folder).map_err(redb::Error::Io)?;
        let database = redb::Builder::new().set_cache_size(CACHE).create_with_backend(storage)?;
        let changes = database.begin_write()?;
        Ok(Self { changes, _database: database })
    }
}

/// A file without a name.
#[derive(Debug)]
struct Nameless(File);

impl Nameless {
    fn create(folder: &Path) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("links-{}-{number}", std::process::id()));
        // What a run of this number left that was killed between the next two lines.
        let _ = fs::remove_file(&path);
        let file =
            File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        fs::remove_file(&path)?;
        Ok(Self(file))
    }
}

impl StorageBackend for Nameless {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.write_all_at(data, offset)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The map is a map, and leaves nothing behind that has a name.
        #[test]
        fn like_a_map(steps in prop::collection::vec((0u64..40, 1u32..4, 0usize..3000), 1..200)) {
            let folder = tempfile::tempdir().unwrap();
            let mut map = LinkMap::new(folder.path());
            let mut model: HashMap<FileKey, (u32, Vec<u8>)> = HashMap::new();
            for (number, left, len) in steps {
                let key = (number % 3, number);
                let known = model.get(&key).map(|(_, value)| value.clone());
                prop_assert_eq!(map.get(key).unwrap(), known.clone());
                prop_assert_eq!(map.count(key).unwrap(), known);
                match model.get_mut(&key) {
                    Some((1, _)) => drop(model.remove(&key)),
                    Some((left, _)) => *left -= 1,
                    None => {
                        let value = vec![number as u8; len];
                        map.insert(key, left, &value).unwrap();
                        model.insert(key, (left, value));
                    }
                }
            }
            prop_assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn nothing_is_made_before_it_is_needed() {
        let mut map = LinkMap::new(Path::new("/there is no such folder"));
        assert_eq!(map.get((1, 2)).unwrap(), None);
        assert_eq!(map.count((1, 2)).unwrap(), None);
        map.insert((1, 2), 0, b"its only name").unwrap();
        let error = map.insert((1, 2), 1, b"its first name").unwrap_err();
        assert!(error.to_string().contains("no such folder"), "{error}");
    }
}
