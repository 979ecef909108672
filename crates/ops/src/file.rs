//! Files that are there whole or not at all.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use drover_crypt::random;

/// Writes a file under another name beside it, syncs it, and gives it its own: whatever happens,
/// `path` holds what it held before, or all of `bytes`. `mode` is what the umask leaves of it.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write_with(path, mode, |out| out.write_all(bytes)).map(drop)
}

/// The same with what `write` writes. Returns the BLAKE3 and the length of it.
pub fn write_with(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<([u8; 32], u64)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name.to_string_lossy().chars().take(40).collect::<String>());
    temporary.push(format!(".{:016x}.new", u64::from_le_bytes(random::array())));
    let temporary = path.with_file_name(temporary);
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    let mut out = Hashing { file: io::BufWriter::new(file), hasher: blake3::Hasher::new() };
    let written = write(&mut out)
        .and_then(|()| out.flush())
        .and_then(|()| out.file.get_ref().sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // What is left of it would only be in the way.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all())?;
    Ok((*out.hasher.finalize().as_bytes(), out.hasher.count()))
}

struct Hashing {
    file: io::BufWriter<fs::File>,
    hasher: blake3::Hasher,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.file.write(bytes)?;
        self.hasher.update(&bytes[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
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
        let failed = write_with(&path, 0o600, |out| {
            out.write_all(&[7; 100_000])?;
            Err(io::Error::other("gone"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"first");
        let (hash, len) = write_with(&path, 0o600, |out| out.write_all(b"second")).unwrap();
        assert_eq!((hash, len), (*blake3::hash(b"second").as_bytes(), 6));
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
