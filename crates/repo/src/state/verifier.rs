//! The key that this machine signs certificates with.
//!
//! It stands for the machine and whoever uses it, and for no repository: it lies beside the folders
//! of the repositories, is made when the first certificate is, and is never replaced. Who is handed
//! a certificate compares its public half with one that came by another way.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use drover_crypt::{random, sign::SigningKey};
use drover_types::codec::DecodeError;
use zeroize::Zeroizing;

use super::{StateError, sync_folder};

const FILE: &str = "verifier";
const MAGIC: [u8; 8] = *b"DRVRVRFY";
const VERSION: u8 = 1;
/// Ed25519.
const SUITE: u8 = 1;

/// The key of this machine, whose state lies below `root`; the first call makes it.
pub fn verifier_key(root: &Path) -> Result<SigningKey, StateError> {
    let path = root.join(FILE);
    if let Some(key) = read(&path)? {
        return Ok(key);
    }
    let error = |source| StateError::Io { path: path.clone(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(error)?;
    let key = SigningKey::generate();
    let mut bytes = Zeroizing::new(Vec::from(MAGIC));
    bytes.extend([VERSION, SUITE]);
    bytes.extend_from_slice(&key.seed()[..]);
    // Of two that make one at once, the one whose link is first counts for both.
    let temporary = root.join(format!("{FILE}.{:016x}.new", u64::from_le_bytes(random::array())));
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::hard_link(&temporary, &path));
    let removed = fs::remove_file(&temporary);
    match written {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            return read(&path)?.ok_or_else(|| error(io::ErrorKind::NotFound.into()));
        }
        written => written.and(removed).map_err(error)?,
    }
    sync_folder(&path)?;
    Ok(key)
}

fn read(path: &Path) -> Result<Option<SigningKey>, StateError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StateError::io(path)(e)),
    };
    let seed = bytes
        .strip_prefix(&MAGIC)
        .and_then(|rest| rest.strip_prefix(&[VERSION, SUITE]))
        .and_then(|seed| <&[u8; 32]>::try_from(seed).ok())
        // A new one would sign in another name.
        .ok_or(DecodeError::Invalid("the file `verifier` is no signing key"))?;
    Ok(Some(SigningKey::from_seed(seed)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_machine_has_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("state");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let made: Vec<_> =
                (0..8).map(|_| scope.spawn(|| verifier_key(&root).unwrap().public())).collect();
            made.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        assert_eq!(verifier_key(&root).unwrap().public(), keys[0]);
        let mode = fs::metadata(root.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&root).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_damaged_key_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        verifier_key(folder.path()).unwrap();
        let path = folder.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        for damaged in [&[0; 42][..], &whole[..41], &[&whole[..], &[0]].concat(), &[]] {
            fs::write(&path, damaged).unwrap();
            assert!(matches!(verifier_key(folder.path()), Err(StateError::Value(_))));
            assert_eq!(fs::read(&path).unwrap(), damaged);
        }
    }
}
