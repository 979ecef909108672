//! What every source must satisfy, whatever stands behind it: run on each implementation, over a
//! tree that holds one of everything.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "suite/nobody.rs"]
mod nobody;
#[allow(dead_code, reason = "shared with the tests of the binary")]
#[path = "../../../tests/cli/sshd.rs"]
mod sshd;

mod suite;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use drover_source::{
    Cutter, LocalSource, Piece, SftpOptions, SftpSource, Source, WalkEvent, WalkOptions, Wish,
};
use drover_types::{Entry, ExceptionKind, Kind, RelativePath};
use nobody::Nobody;
use sshd::{Sshd, counting, cutting};
use suite::{build, check, contents, entries};
use tempfile::tempdir;

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

fn over_ssh(sshd: &Sshd, root: &Path) -> SftpSource {
    over_port(sshd, sshd.port, root)
}

fn over_port(sshd: &Sshd, port: u16, root: &Path) -> SftpSource {
    let url = sshd.url_at(port, root);
    let user = url.strip_prefix("sftp://").unwrap().split('@').next().unwrap().to_owned();
    let options = SftpOptions {
        user,
        root: root.as_os_str().as_bytes().to_vec(),
        host_key: Some(sshd.fingerprint.clone()),
        identities: vec![sshd.path("user_key")],
        ..SftpOptions::new(url, "127.0.0.1", port, Arc::new(Nobody))
    };
    SftpSource::open(options).unwrap()
}

/// Takes `entries` as a pass does, announced together, and makes sure that each is what it is when it
/// is asked for alone. How many files came whole, and their content.
fn taken(
    source: &dyn Source,
    entries: &BTreeMap<RelativePath, Entry>,
) -> BTreeMap<RelativePath, Vec<u8>> {
    let mut taker = source.taker(&Cutter { sizes: [1, 2, 3], gear: Box::new([0; 256]) }).unwrap();
    let bare = |entry: &Entry| match &entry.kind {
        Kind::Symlink { .. } => Kind::Symlink { target: Box::default() },
        kind => kind.clone(),
    };
    let wish = |entry: &Entry| match &entry.kind {
        Kind::File => Wish::File { path: entry.path.clone(), size: entry.evidence.size },
        _ => Wish::Rest(entry.path.clone(), bare(entry)),
    };
    taker.announce(&entries.values().map(wish).collect::<Vec<_>>()).unwrap();
    let mut whole = BTreeMap::new();
    for entry in entries.values() {
        if entry.kind != Kind::File {
            let mut taken = Entry { kind: bare(entry), ..entry.clone() };
            taken.attributes.xattrs.clear();
            taker.complete(&mut taken).unwrap();
            assert_eq!(taken, *entry);
            continue;
        }
        taker.begin(&entry.path).unwrap();
        match taker.piece().unwrap() {
            Piece::Alone => {}
            Piece::Whole(bytes) => {
                let Piece::End(taken) = taker.piece().unwrap() else { panic!("it goes on") };
                assert_eq!(taken.size, bytes.len() as u64);
                assert_eq!(taken.stat.attributes, entry.attributes);
                let mut evidence = taken.stat.evidence;
                evidence.racy = entry.evidence.racy;
                assert_eq!(evidence, entry.evidence);
                whole.insert(entry.path.clone(), bytes);
            }
            piece => panic!("{piece:?}"),
        }
    }
    whole
}

/// All small files come whole, and hold what is here.
fn assert_taken(source: &dyn Source, root: &Path, entries: &BTreeMap<RelativePath, Entry>) {
    let taken = taken(source, entries);
    let small = entries.values().filter(|e| e.kind == Kind::File && e.evidence.size <= 4 << 20);
    assert_eq!(taken.len(), small.count());
    for (path, bytes) in taken {
        let here = root.join(std::ffi::OsStr::from_bytes(path.as_bytes()));
        assert!(fs::read(here).unwrap() == bytes, "{path}");
    }
}

/// Files of `len` bytes, `per` to a directory.
fn many(root: &Path, count: usize, per: usize, len: usize) {
    for number in 0..count {
        let folder = root.join(format!("{:03}", number / per));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{number:04}")), vec![number as u8; len]).unwrap();
    }
}

/// A round trip is dear: neither a directory nor a small file costs one of its own.
#[test]
fn round_trips_are_few() {
    let root = tempdir().unwrap();
    many(root.path(), 300, 5, 1000);
    for (with, shell) in [("", true), ("ForceCommand internal-sftp", false)] {
        let Some(sshd) = Sshd::start(with) else { return };
        let (port, turns) = counting(sshd.port);
        let there = over_port(&sshd, port, root.path());
        let options = WalkOptions { threads: 1, ..WalkOptions::default() };
        let before = turns.swap(0, Ordering::SeqCst);
        assert!(before > 0);
        let found = there.walk(&options).unwrap().map(|event| match event {
            WalkEvent::Entry(entry) => (entry.path.clone(), entry),
            event => panic!("{event:?}"),
        });
        let found: BTreeMap<_, _> = found.collect();
        let walked = turns.swap(0, Ordering::SeqCst);
        assert_eq!(found.len(), 361);
        assert!(walked < 60, "{walked} for 61 directories");
        let mut files = found;
        files.retain(|_, entry| entry.kind == Kind::File);
        assert_taken(&there, root.path(), &files);
        let read = turns.load(Ordering::SeqCst);
        assert!(read < 100, "{read} for 300 files");
        assert_eq!(there.losses().len() < 8, shell);
    }
}

/// What a connection was about when it broke comes all the same.
#[test]
fn files_come_however_often_the_connection_breaks() {
    let root = tempdir().unwrap();
    many(root.path(), 300, 100, 4000);
    for with in ["", "ForceCommand internal-sftp"] {
        let Some(sshd) = Sshd::start(with) else { return };
        let entries = entries(&over_ssh(&sshd, root.path()));
        let (port, cuts) = cutting(sshd.port, 6, 150_000);
        let there = over_port(&sshd, port, root.path());
        let taken = taken(&there, &entries);
        assert!(cuts.load(Ordering::SeqCst) > 1, "nothing was cut");
        for entry in entries.values().filter(|entry| entry.kind == Kind::File) {
            let here = root.path().join(std::ffi::OsStr::from_bytes(entry.path.as_bytes()));
            if let Some(bytes) = taken.get(&entry.path) {
                assert!(fs::read(here).unwrap() == *bytes);
            }
        }
    }
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
    assert_taken(&there, root.path(), &found);
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
    let (mut devices, mut found) = (0, BTreeMap::new());
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
        found.insert(entry.path.clone(), entry.clone());
        let same = &expected[&entry.path];
        assert_eq!((&entry.kind, entry.attributes.mode), (&same.kind, same.attributes.mode));
        assert_eq!(entry.attributes.uid, same.attributes.uid);
        assert_eq!(entry.evidence.size, same.evidence.size);
    }
    let is_device =
        |e: &&Entry| matches!(e.kind, Kind::CharDevice { .. } | Kind::BlockDevice { .. });
    assert_eq!(devices, expected.values().filter(is_device).count());
    assert!(contents(&here, &expected) == contents(&there, &expected));
    assert_taken(&there, root.path(), &found);
}
