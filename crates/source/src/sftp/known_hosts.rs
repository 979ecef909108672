//! Which host keys are known.
//!
//! The files of OpenSSH are read a line at a time, and libssh2 says whether a line is about a
//! host, of hashed names as well. All keys of a host count: a server that is known by a key of one
//! type is asked for that type, and one that then shows another has changed.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

use data_encoding::{BASE64, BASE64_NOPAD};
use sha2::{Digest, Sha256};
use ssh2::{CheckResult, KnownHostFileKind, Session};

use super::error::SshError;

/// Types of keys, and the algorithms that are asked for to get them; best first.
const TYPES: [(&str, &str); 5] = [
    ("ssh-ed25519", "ssh-ed25519"),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
    ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"),
    ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
    ("ssh-rsa", "rsa-sha2-512,rsa-sha2-256"),
];

/// A key that a host is known by.
struct KnownKey {
    key_type: String,
    blob: Vec<u8>,
    revoked: bool,
    place: String,
}

/// The keys that one host is known by.
pub(super) struct KnownKeys(Vec<KnownKey>);

/// What a key that a host shows is to us.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It is one of the known ones.
    Same,
    /// Nothing is known.
    Not,
    /// Others are known, from this file.
    Other { fingerprints: String, place: String },
    /// It must not be trusted, by this file.
    Revoked { place: String },
}

/// The fingerprint of a key's blob, as `ssh-keygen -l` prints it.
pub(super) fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", BASE64_NOPAD.encode(&Sha256::digest(blob)))
}

/// The name of the type that a key's blob begins with.
pub(super) fn key_type(blob: &[u8]) -> Option<&str> {
    let length = u32::from_be_bytes(blob.get(..4)?.try_into().ok()?);
    str::from_utf8(blob.get(4..)?.get(..usize::try_from(length).ok()?)?).ok()
}

/// A host as known hosts name it.
fn name_of(host: &str, port: u16) -> String {
    if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") }
}

impl KnownKeys {
    /// What the files that are there say of a host.
    pub(super) fn read(
        session: &Session,
        files: &[PathBuf],
        host: &str,
        port: u16,
    ) -> Result<Self, SshError> {
        let name = name_of(host, port);
        let mut keys = Vec::new();
        for path in files {
            let bytes = match fs::read(path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(SshError::File { path: path.clone(), source }),
            };
            let place = path.display().to_string();
            for line in String::from_utf8_lossy(&bytes).lines() {
                keys.extend(known_key(session, line, &name, &place));
            }
        }
        Ok(Self(keys))
    }

    /// The algorithms of host keys to ask for: those first whose keys are known, and at the end
    /// what is only for servers that know nothing better.
    pub(super) fn preference(&self, legacy: &[&'static str]) -> String {
        let known = |name: &str| self.0.iter().any(|key| !key.revoked && key.key_type == name);
        let (first, then): (Vec<_>, Vec<_>) = TYPES.into_iter().partition(|(name, _)| known(name));
        let names = first.into_iter().chain(then).map(|(_, names)| names);
        names.chain(legacy.iter().copied()).collect::<Vec<_>>().join(",")
    }

    /// What the key `blob` is to us.
    pub(super) fn verdict(&self, blob: &[u8]) -> Known {
        if let Some(key) = self.0.iter().find(|key| key.revoked && key.blob == blob) {
            return Known::Revoked { place: key.place.clone() };
        }
        let known: Vec<_> = self.0.iter().filter(|key| !key.revoked).collect();
        match known.first() {
            None => Known::Not,
            Some(_) if known.iter().any(|key| key.blob == blob) => Known::Same,
            Some(first) => {
                let list: Vec<_> = known.iter().map(|key| fingerprint(&key.blob)).collect();
                Known::Other { fingerprints: list.join(", "), place: first.place.clone() }
            }
        }
    }
}

/// The key of a line that is about the host of this name.
fn known_key(session: &Session, line: &str, name: &str, place: &str) -> Option<KnownKey> {
    let line = line.trim();
    let (revoked, line) = match line.strip_prefix("@revoked") {
        Some(rest) => (true, rest.trim_start()),
        None => (false, line),
    };
    // Certificates are not asked for, so that their authorities do not matter.
    if line.is_empty() || line.starts_with(['#', '@']) {
        return None;
    }
    let mut fields = line.split_ascii_whitespace().skip(1);
    let key_type = fields.next()?.to_owned();
    let blob = BASE64.decode(fields.next()?.as_bytes()).ok()?;
    if revoked {
        // Whichever hosts the line names, most often by a pattern, which libssh2 does not match.
        return Some(KnownKey { key_type, blob, revoked, place: place.to_owned() });
    }
    let mut hosts = session.known_hosts().ok()?;
    // What libssh2 cannot read, such as a type of key it does not know, it could not check either.
    hosts.read_str(line, KnownHostFileKind::OpenSSH).ok()?;
    match hosts.check(name, &blob) {
        CheckResult::Match | CheckResult::Mismatch => {
            Some(KnownKey { key_type, blob, revoked, place: place.to_owned() })
        }
        CheckResult::NotFound | CheckResult::Failure => None,
    }
}

/// Adds a host's key to the first of `files`, as `ssh` does once someone said yes.
pub(super) fn remember(files: &[PathBuf], host: &str, port: u16, blob: &[u8]) -> io::Result<()> {
    let (Some(file), Some(key_type)) = (files.first(), key_type(blob)) else {
        return Err(io::Error::other("there is no file for known hosts"));
    };
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut file = fs::OpenOptions::new().create(true).append(true).open(file)?;
    writeln!(file, "{} {key_type} {}", name_of(host, port), BASE64.encode(blob))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(key_type: &str, rest: &str) -> Vec<u8> {
        let mut blob = u32::try_from(key_type.len()).unwrap().to_be_bytes().to_vec();
        blob.extend_from_slice(key_type.as_bytes());
        blob.extend_from_slice(rest.as_bytes());
        blob
    }

    #[test]
    fn keys_of_a_host_by_name_port_and_hash() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("below/known_hosts");
        let files = [file.clone(), directory.path().join("none")];
        let session = Session::new().unwrap();
        let read = |host, port| KnownKeys::read(&session, &files, host, port).unwrap();
        let (first, second) = (blob("ssh-rsa", "first"), blob("ssh-ed25519", "second"));
        assert_eq!(read("server", 22).verdict(&first), Known::Not);

        remember(&files, "server", 22, &first).unwrap();
        remember(&files, "server", 2222, &second).unwrap();
        assert_eq!(read("server", 22).verdict(&first), Known::Same);
        assert_eq!(read("server", 2222).verdict(&second), Known::Same);
        assert_eq!(read("other", 22).verdict(&first), Known::Not);
        // A host that is known by a key of one type has changed if it shows one of another.
        let Known::Other { fingerprints, .. } = read("server", 22).verdict(&second) else {
            panic!("another key is known");
        };
        assert_eq!(fingerprints, fingerprint(&first));
        assert!(read("server", 22).preference(&[]).starts_with("rsa-sha2-512,rsa-sha2-256,ssh-ed"));
        assert!(read("server", 2222).preference(&[]).starts_with("ssh-ed25519"));

        let revoked = format!("@revoked * ssh-rsa {}\n", BASE64.encode(&first));
        let before = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("# note\n\n{before}{revoked}junk\n")).unwrap();
        assert!(matches!(read("server", 22).verdict(&first), Known::Revoked { .. }));
    }
}
