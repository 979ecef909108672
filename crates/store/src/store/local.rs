//! Putting large objects into a local directory: as `object_store` does, but past the page cache
//! ([`crate::direct`]).

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use object_store::PutMode;

use crate::direct;

/// Bytes of one transfer.
pub(super) const TRANSFER: usize = 4 << 20;

/// Puts `body` at `path`: beside its place first, under the name of the place, `#` and a number.
/// Durable when it returns, with the directories made for it. `room` is aligned.
pub(super) fn put(path: &Path, body: &[u8], mode: &PutMode, room: &mut [u8]) -> io::Result<()> {
    let (file, staged) = stage(path)?;
    let published =
        direct::write(&file, body, room).and_then(|()| file.sync_all()).and_then(|()| match mode {
            PutMode::Create => fs::hard_link(&staged, path),
            _ => fs::rename(&staged, path),
        });
    if published.is_err() || matches!(mode, PutMode::Create) {
        // What stays is removed as what a killed process left.
        let _ = fs::remove_file(&staged);
    }
    published?;
    sync_parent(path)
}

/// A new file beside `path`.
fn stage(path: &Path) -> io::Result<(File, PathBuf)> {
    let mut number = 1;
    loop {
        let mut staged = path.as_os_str().to_owned();
        staged.push(format!("#{number}"));
        let staged = PathBuf::from(staged);
        match OpenOptions::new().write(true).create_new(true).open(&staged) {
            Ok(file) => return Ok((file, staged)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_directories(path.parent().ok_or(error)?, 0o777)?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Makes a directory and those above it that are missing, with this mode, and all of them durable.
pub(super) fn make_directories(path: &Path, mode: u32) -> io::Result<()> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let missing: Vec<_> = path.ancestors().take_while(is_missing).collect();
    fs::DirBuilder::new().recursive(true).mode(mode).create(path)?;
    missing.into_iter().try_for_each(sync_parent)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    File::open(parent)?.sync_all()
}
