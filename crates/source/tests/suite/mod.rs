//! The suite that every source has to pass, over a tree that holds one of everything. Shared with the
//! tests of crates that have sources of their own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

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
};

use drover_source::{Source, SourceFile, WalkEvent, WalkOptions};
use drover_types::{Entry, Evidence, ExceptionKind, Kind, RelativePath};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lsetxattr, makedev, mknodat,
    setxattr, utimensat,
};

/// One of everything.
pub fn build(root: &Path) {
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
pub fn entries(source: &dyn Source) -> BTreeMap<RelativePath, Entry> {
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
pub fn check(source: &dyn Source, root: &Path) {
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

/// Content, by an entry's path, of all files.
pub fn contents(source: &dyn Source, entries: &BTreeMap<RelativePath, Entry>) -> Vec<Vec<u8>> {
    let files = entries.values().filter(|entry| entry.kind == Kind::File);
    files.map(|entry| read_all(&mut *source.open(&entry.path).unwrap(), 50_000)).collect()
}
