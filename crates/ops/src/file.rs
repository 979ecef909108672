//! Files that are there whole or not at all.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use drover_crypt::random;

/// Writes a file under another name beside it, syncs it, and gives it its own: whatever happens,
/// `path` holds what it held before, or all of `bytes`. `mode` is what the umask leaves of it.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write_from(path, &mut &bytes[..], mode).map(drop)
}

/// The same with what `from` gives. Returns the BLAKE3 and the length of what was written.
pub fn write_from(path: &Path, from: &mut dyn Read, mode: u32) -> io::Result<([u8; 32], u64)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name.to_string_lossy().chars().take(40).collect::<String>());
    temporary.push(format!(".{:016x}.new", u64::from_le_bytes(random::array())));
    let temporary = path.with_file_name(temporary);
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    let written = copy(from, &mut file)
        .and_then(|done| file.sync_all().map(|()| done))
        .and_then(|done| fs::rename(&temporary, path).map(|()| done));
    if written.is_err() {
        // What is left of it would only be in the way.
        let _ = fs::remove_file(&temporary);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all())?;
    written
}

fn copy(from: &mut dyn Read, file: &mut fs::File) -> io::Result<([u8; 32], u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let len = match from.read(&mut buffer) {
            Ok(0) => return Ok((*hasher.finalize().as_bytes(), hasher.count())),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..len]);
        file.write_all(&buffer[..len])?;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_fails_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_whole(&path, b"first", 0o600).unwrap();
        struct Fails(bool);
        impl Read for Fails {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                match std::mem::replace(&mut self.0, true) {
                    false => Ok(buffer.len()),
                    true => Err(io::Error::other("gone")),
                }
            }
        }
        assert!(write_from(&path, &mut Fails(false), 0o600).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"first");
        let (hash, len) = write_from(&path, &mut &b"second"[..], 0o600).unwrap();
        assert_eq!((hash, len), (*blake3::hash(b"second").as_bytes(), 6));
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
