//! What every source must satisfy, whatever stands behind it: run on each implementation, over a
//! tree that holds one of everything.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "shared with the tests of the binary")]
#[path = "../../../tests/cli/sshd.rs"]
mod sshd;

mod suite;

use std::{fs, os::unix::ffi::OsStrExt, path::Path, sync::Arc};

use drover_source::{
    LocalSource, SftpOptions, SftpSource, Source, SshSecrets, WalkEvent, WalkOptions,
};
use drover_types::{Entry, ExceptionKind, Kind};
use sshd::Sshd;
use suite::{build, check, contents, entries};
use tempfile::tempdir;
use zeroize::Zeroizing;

#[test]
fn local() {
    let root = tempdir().unwrap();
    build(root.path());
    check(&LocalSource::open(root.path()).unwrap(), root.path());
}

/// On a file system in memory, which answers differently here and there.
#[test]
fn local_in_memory() {
    let Ok(root) = tempfile::tempdir_in("/dev/shm") else { return };
    build(root.path());
    check(&LocalSource::open(root.path()).unwrap(), root.path());
}

struct Nobody;

impl SshSecrets for Nobody {
    fn password(&self, _: &str, _: &str) -> Result<Option<Zeroizing<String>>, String> {
        Ok(None)
    }
    fn passphrase(&self, _: &Path) -> Result<Option<Zeroizing<String>>, String> {
        Ok(None)
    }
    fn trust(&self, _: &str, _: &str, _: &str) -> bool {
        false
    }
}

fn over_ssh(sshd: &Sshd, root: &Path) -> SftpSource {
    let url = sshd.url(root);
    let user = url.strip_prefix("sftp://").unwrap().split('@').next().unwrap().to_owned();
    let options = SftpOptions {
        user,
        root: root.as_os_str().as_bytes().to_vec(),
        host_key: Some(sshd.fingerprint.clone()),
        identities: vec![sshd.path("user_key")],
        ..SftpOptions::new(url, "127.0.0.1", sshd.port, Arc::new(Nobody))
    };
    SftpSource::open(options).unwrap()
}

/// Over SSH with a shell, a tree is what it is on the spot, but for flags.
#[test]
fn sftp_with_a_shell() {
    let root = tempdir().unwrap();
    build(root.path());
    // Names that a shell must not take for anything else.
    for name in ["it's $(touch here)", "new\nline", "-rf", " ", "*", "'", "\\"] {
        fs::create_dir(root.path().join(name)).unwrap();
        fs::write(root.path().join(name).join("`x`"), name).unwrap();
    }
    let Some(sshd) = Sshd::start("") else { return };
    let (here, there) = (LocalSource::open(root.path()).unwrap(), over_ssh(&sshd, root.path()));
    let classes: Vec<_> = there.losses().iter().map(|loss| loss.class).collect();
    assert_eq!(classes, ["file flags", "holes"]);
    let (mut expected, found) = (entries(&here), entries(&there));
    for (path, entry) in &mut expected {
        entry.attributes.flags = 0;
        // All of them were made a moment ago, of which the scans think alike.
        entry.evidence.racy = found[path].evidence.racy;
    }
    assert_eq!(found, expected);
    assert!(contents(&here, &expected) == contents(&there, &found));
}

/// Without one, it is what SFTP says.
#[test]
fn sftp_alone() {
    let root = tempdir().unwrap();
    build(root.path());
    let Some(sshd) = Sshd::start("ForceCommand internal-sftp") else { return };
    let (here, there) = (LocalSource::open(root.path()).unwrap(), over_ssh(&sshd, root.path()));
    assert_eq!(there.losses().len(), 8);
    let expected = entries(&here);
    let walk = there.walk(&WalkOptions::default()).unwrap();
    let mut devices = 0;
    for event in walk {
        let mut entry = match event {
            WalkEvent::Entry(entry) => entry,
            WalkEvent::Problem { exception, .. } => {
                assert_eq!(exception.kind, ExceptionKind::Unsupported);
                devices += 1;
                continue;
            }
            WalkEvent::Excluded { .. } => unreachable!(),
        };
        if entry.kind != Kind::File {
            there.complete(&mut entry).unwrap();
        }
        let same = &expected[&entry.path];
        assert_eq!((&entry.kind, entry.attributes.mode), (&same.kind, same.attributes.mode));
        assert_eq!(entry.attributes.uid, same.attributes.uid);
        assert_eq!(entry.evidence.size, same.evidence.size);
    }
    let is_device =
        |e: &&Entry| matches!(e.kind, Kind::CharDevice { .. } | Kind::BlockDevice { .. });
    assert_eq!(devices, expected.values().filter(is_device).count());
    assert!(contents(&here, &expected) == contents(&there, &expected));
}
