//! What every source must satisfy, whatever stands behind it: run on each implementation, over a
//! tree that holds one of everything.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "shared with the tests of the binary")]
#[path = "../../../tests/cli/sshd.rs"]
mod sshd;

use std::{
    collections::BTreeMap,
    fs::{self, File, Permissions},
    ops::Range,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt, PermissionsExt, symlink},
        net::UnixListener,
    },
    path::Path,
    sync::Arc,
};

use drover_source::{
    LocalSource, SftpOptions, SftpSource, Source, SourceFile, SshSecrets, WalkEvent, WalkOptions,
};
use drover_types::{Entry, Evidence, ExceptionKind, Kind, RelativePath};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lsetxattr, makedev, mknodat,
    setxattr, utimensat,
};
use sshd::Sshd;
use tempfile::tempdir;
use zeroize::Zeroizing;

/// One of everything.
fn build(root: &Path) {
    let at = |path: &str| root.join(path);
    for directory in ["directory", "directory/empty", "other"] {
        fs::create_dir(at(directory)).unwrap();
    }
    fs::write(at("empty"), "").unwrap();
    let content: Vec<u8> = (0..300_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    fs::write(at("directory/file"), content).unwrap();
    fs::hard_link(at("directory/file"), at("other/name")).unwrap();
    fs::write(at("setuid"), "#!").unwrap();
    fs::set_permissions(at("setuid"), Permissions::from_mode(0o4711)).unwrap();
    fs::set_permissions(at("directory"), Permissions::from_mode(0o1777)).unwrap();

    let sparse = File::create(at("sparse")).unwrap();
    sparse.write_all_at(b"in the middle", 3 << 20).unwrap();
    sparse.set_len(8 << 20).unwrap();
    File::create(at("hole")).unwrap().set_len(1 << 20).unwrap();

    symlink("directory/file", at("link")).unwrap();
    symlink("/no/such\u{1}thing", at("other/dangling")).unwrap();
    symlink("..", at("other/up")).unwrap();
    mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    drop(UnixListener::bind(at("socket")).unwrap());
    // Only root may.
    let _ = mknodat(CWD, at("null"), FileType::CharacterDevice, Mode::RUSR, makedev(1, 3));
    let _ = mknodat(CWD, at("disk"), FileType::BlockDevice, Mode::RUSR, makedev(7, 99));

    // Where the file system has them.
    for path in ["directory/file", "directory"] {
        let _ = setxattr(at(path), c"user.b", b"\0value", XattrFlags::empty());
        let _ = setxattr(at(path), c"user.a", b"", XattrFlags::empty());
    }
    let _ = lsetxattr(at("link"), c"trusted.link", b"on the link itself", XattrFlags::empty());
    let _ = lsetxattr(at("fifo"), c"trusted.fifo", b"on the pipe", XattrFlags::empty());

    for (path, seconds) in [("empty", -86_400 * 365 * 10), ("setuid", 1 << 32), ("link", 1)] {
        let time = Timespec { tv_sec: seconds, tv_nsec: 123_456_789 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, at(path), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

/// What the source says of each path, completed.
fn entries(source: &dyn Source) -> BTreeMap<RelativePath, Entry> {
    let mut all = BTreeMap::new();
    let mut last: Option<RelativePath> = None;
    for event in source.walk(&WalkOptions::default()).unwrap() {
        let WalkEvent::Entry(mut entry) = event else { panic!("{event:?}") };
        assert!(last.as_ref() < Some(&entry.path));
        assert_eq!((entry.attributes.flags, entry.attributes.xattrs.len()), (0, 0));
        if entry.kind == Kind::File {
            let mut file = source.open(&entry.path).unwrap();
            let stat = file.stat().unwrap();
            assert_eq!((&stat.kind, &stat.attributes), (&entry.kind, &entry.attributes));
            let settled = |evidence: Evidence| Evidence { racy: false, ..evidence };
            assert_eq!(settled(stat.evidence), settled(entry.evidence));
            file.complete(&mut entry.attributes).unwrap();
        } else {
            source.complete(&mut entry).unwrap();
        }
        last = Some(entry.path.clone());
        all.insert(entry.path.clone(), entry);
    }
    all
}

fn read_all(file: &mut dyn SourceFile, piece: usize) -> Vec<u8> {
    let mut content = Vec::new();
    let mut buffer = vec![0; piece];
    loop {
        let read = file.read_at(content.len() as u64, &mut buffer).unwrap();
        if read == 0 {
            return content;
        }
        content.extend_from_slice(&buffer[..read]);
    }
}

fn data(file: &mut dyn SourceFile) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    let mut offset = 0;
    while let Some(run) = file.next_data(offset).unwrap() {
        assert!(offset <= run.start && run.start < run.end);
        offset = run.end;
        runs.push(run);
    }
    runs
}

/// The suite: `source` must be the tree at `root`, as [`build`] made it.
fn check(source: &dyn Source, root: &Path) {
    let entries = entries(source);
    let path = |text: &str| RelativePath::new(text.as_bytes()).unwrap();
    let entry = |text: &str| &entries[&path(text)];

    for (at, entry) in &entries {
        let here = root.join(std::ffi::OsStr::from_bytes(at.as_bytes()));
        let stat = fs::symlink_metadata(&here).unwrap();
        assert_eq!(entry.attributes.mode, stat.mode() & 0o7777, "{at}");
        assert_eq!((entry.attributes.uid, entry.attributes.gid), (stat.uid(), stat.gid()));
        assert_eq!(entry.attributes.mtime.seconds, stat.mtime(), "{at}");
        let names: Vec<_> = entry.attributes.xattrs.iter().map(|xattr| &xattr.name).collect();
        assert!(names.is_sorted());
        match &entry.kind {
            Kind::File => {
                let content = fs::read(&here).unwrap();
                let mut file = source.open(at).unwrap();
                assert_eq!(read_all(&mut *file, 100_000), content, "{at}");
                let size = content.len() as u64;
                assert_eq!(file.read_at(size, &mut [0; 8]).unwrap(), 0);
                assert_eq!(file.read_at(size + 1_000_000, &mut [0; 8]).unwrap(), 0);
                assert_eq!(file.next_data(size).unwrap(), None);

                let mut rebuilt = vec![0; content.len()];
                for run in data(&mut *file) {
                    let run = run.start as usize..run.end as usize;
                    rebuilt[run.clone()].copy_from_slice(&content[run]);
                }
                assert!(rebuilt == content, "{at}: a hole holds data");
            }
            Kind::Symlink { target } => {
                assert_eq!(&target[..], fs::read_link(&here).unwrap().as_os_str().as_bytes());
            }
            _ => {}
        }
        // Whatever is no regular file is not opened, and nobody waits for the other end of a pipe.
        if entry.kind != Kind::File {
            let error = source.open(at).err().unwrap();
            assert_eq!((error.kind, &error.path), (ExceptionKind::Torn, at));
        }
    }

    assert!(entries.values().any(|entry| entry.kind == Kind::Fifo));
    assert!(entries.values().any(|entry| entry.kind == Kind::Socket));
    assert_eq!(entry("setuid").attributes.mode, 0o4711);
    assert_eq!(entry("setuid").attributes.mtime.seconds, 1 << 32);
    assert!(entry("empty").attributes.mtime.seconds < 0);
    assert_eq!(entry("hole").evidence.size, 1 << 20);
    let (one, other) = (&entry("directory/file").evidence, &entry("other/name").evidence);
    assert_eq!((one.inode, one.links), (other.inode, 2));

    let vanished = source.open(&path("none")).err().unwrap();
    assert_eq!(vanished.kind, ExceptionKind::Vanished);
    assert_eq!(source.open(&path("empty/below")).err().unwrap().kind, ExceptionKind::Torn);
    // Not even a link to the inside is followed.
    assert_eq!(source.open(&path("other/up/empty")).err().unwrap().kind, ExceptionKind::Torn);

    // An entry that became something else is told from the one that the walk saw.
    let mut changed = entry("fifo").clone();
    changed.kind = Kind::Directory;
    assert_eq!(source.complete(&mut changed).unwrap_err().kind, ExceptionKind::Torn);
    changed.path = path("none");
    assert_eq!(source.complete(&mut changed).unwrap_err().kind, ExceptionKind::Vanished);

    // What the file system took of extended attributes is there, wherever it is.
    for (at, name) in
        [("directory/file", "user.a"), ("directory", "user.b"), ("fifo", "trusted.fifo")]
    {
        let mut value = [0_u8; 64];
        if let Ok(len) = rustix::fs::lgetxattr(root.join(at), name, &mut value[..]) {
            let xattrs = &entry(at).attributes.xattrs;
            let found = xattrs.iter().find(|xattr| &xattr.name[..] == name.as_bytes()).unwrap();
            assert_eq!(found.value[..], value[..len]);
        }
    }
    let mut value = [0_u8; 64];
    if rustix::fs::lgetxattr(root.join("link"), "trusted.link", &mut value[..]).is_ok() {
        let [xattr] = &entry("link").attributes.xattrs[..] else { panic!("not the link's own") };
        assert_eq!(&xattr.value[..], b"on the link itself");
    }
}

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

/// Content, by an entry's path, of all files.
fn contents(source: &dyn Source, entries: &BTreeMap<RelativePath, Entry>) -> Vec<Vec<u8>> {
    let files = entries.values().filter(|entry| entry.kind == Kind::File);
    files.map(|entry| read_all(&mut *source.open(&entry.path).unwrap(), 50_000)).collect()
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
