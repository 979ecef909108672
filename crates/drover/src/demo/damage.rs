//! One wrong byte in a repository, as a bad disk or a bad neighbour leaves it.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::tree::at;

/// A byte that was changed, and what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The pack.
    pub pack: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What stood there.
    pub before: u8,
    /// What stands there now.
    pub after: u8,
}

impl Damage {
    /// Inverts the byte in the middle of the largest pack of the repository in directory
    /// `repository`: the largest one holds contents of files, and there are frames in its middle.
    pub fn make(repository: &Path) -> io::Result<Self> {
        let pack = largest_pack(&repository.join("packs"))?;
        let offset = at(&pack, fs::metadata(&pack))?.len() / 2;
        let mut byte = [0];
        let file = at(&pack, fs::File::open(&pack))?;
        at(&pack, file.read_exact_at(&mut byte, offset))?;
        let damage = Self { offset, before: byte[0], after: !byte[0], pack };
        damage.write(damage.after)?;
        Ok(damage)
    }

    /// Puts the byte back.
    pub fn repair(&self) -> io::Result<()> {
        self.write(self.before)
    }

    fn write(&self, byte: u8) -> io::Result<()> {
        let path = &self.pack;
        let permissions = at(path, fs::metadata(path))?.permissions();
        let writable = fs::Permissions::from_mode(permissions.mode() | 0o200);
        at(path, fs::set_permissions(path, writable))?;
        let file = at(path, OpenOptions::new().write(true).open(path))?;
        at(path, file.write_all_at(&[byte], self.offset))?;
        at(path, fs::set_permissions(path, permissions))
    }
}

/// The largest of the files `hh/<hash>` below `packs`.
fn largest_pack(packs: &Path) -> io::Result<PathBuf> {
    let mut largest = None;
    for folder in at(packs, fs::read_dir(packs))? {
        let folder = at(packs, folder)?.path();
        if !folder.is_dir() {
            continue;
        }
        for pack in at(&folder, fs::read_dir(&folder))? {
            let pack = at(&folder, pack)?.path();
            let size = at(&pack, fs::metadata(&pack))?.size();
            largest = largest.max(Some((size, pack)));
        }
    }
    match largest {
        Some((size, pack)) if size > 0 => Ok(pack),
        _ => at(packs, Err(io::Error::new(io::ErrorKind::NotFound, "there is no pack"))),
    }
}
