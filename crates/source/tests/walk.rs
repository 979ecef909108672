//! The walk of a local tree against an independent walker, and on trees that change or are odd.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::MetadataExt, fs::symlink},
    },
    path::Path,
};

use drover_source::{LocalSource, Scope, Source, SourceError, WalkEvent, WalkOptions};
use drover_types::{Entry, ExceptionKind, Kind, RelativePath};
use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode, OFlags, mkdirat, mknodat, openat};
use tempfile::{TempDir, tempdir};
use walkdir::WalkDir;

/// For trees of thousands: in memory where there is such a place, as they are no test of the disk.
fn tempdir_in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempdir()).unwrap()
}

fn options(threads: usize, buffer: usize) -> WalkOptions {
    WalkOptions { threads, buffer, ..WalkOptions::default() }
}

fn walk(root: &Path, options: &WalkOptions) -> Vec<WalkEvent> {
    LocalSource::open(root).unwrap().walk(options).unwrap().collect()
}

fn entries(root: &Path, options: &WalkOptions) -> Vec<Entry> {
    walk(root, options)
        .into_iter()
        .map(|event| match event {
            WalkEvent::Entry(entry) => entry,
            other => panic!("{other:?}"),
        })
        .collect()
}

/// The order that the walk promises: each path after the one before, but for a problem with the
/// children of the entry right before it.
fn assert_ordered(events: &[WalkEvent]) {
    for pair in events.windows(2) {
        let (a, b) = (&pair[0], &pair[1]);
        let about_children = matches!(a, WalkEvent::Entry(_))
            && matches!(b, WalkEvent::Problem { scope: Scope::Subtree | Scope::Listing, .. })
            && a.path() == b.path();
        assert!(a.path() < b.path() || about_children, "{} before {}", a.path(), b.path());
    }
}

/// Compares with what walkdir and the standard library find.
fn assert_same_as_walkdir(root: &Path, options: &WalkOptions) {
    let found = entries(root, options);
    let expected: Vec<_> = WalkDir::new(root)
        .sort_by(|a, b| a.file_name().cmp(b.file_name()))
        .into_iter()
        .map(|entry| entry.unwrap())
        .collect();
    let paths: Vec<&[u8]> = found.iter().map(|entry| entry.path.as_bytes()).collect();
    let expected_paths: Vec<&[u8]> = expected
        .iter()
        .map(|entry| entry.path().strip_prefix(root).unwrap().as_os_str().as_bytes())
        .collect();
    assert_eq!(paths, expected_paths);
    for (found, expected) in found.iter().zip(&expected) {
        let stat = fs::symlink_metadata(expected.path()).unwrap();
        let at = &found.path;
        assert_eq!(found.attributes.mode, stat.mode() & 0o7777, "{at}");
        assert_eq!((found.attributes.uid, found.attributes.gid), (stat.uid(), stat.gid()), "{at}");
        let mtime = found.attributes.mtime;
        assert_eq!((mtime.seconds, i64::from(mtime.nanos)), (stat.mtime(), stat.mtime_nsec()));
        let ctime = found.evidence.ctime.unwrap();
        assert_eq!((ctime.seconds, i64::from(ctime.nanos)), (stat.ctime(), stat.ctime_nsec()));
        let evidence = &found.evidence;
        assert_eq!((evidence.device, evidence.inode), (stat.dev(), stat.ino()), "{at}");
        assert_eq!(u64::from(evidence.links), stat.nlink(), "{at}");
        assert_eq!((evidence.size, evidence.allocated), (stat.size(), stat.blocks() * 512), "{at}");
        let sort = match found.kind {
            Kind::Directory => FileType::Directory,
            Kind::File => FileType::RegularFile,
            Kind::Symlink { .. } => FileType::Symlink,
            Kind::Fifo => FileType::Fifo,
            Kind::Socket => FileType::Socket,
            Kind::CharDevice { .. } => FileType::CharacterDevice,
            Kind::BlockDevice { .. } => FileType::BlockDevice,
        };
        assert_eq!(sort, FileType::from_raw_mode(stat.mode()), "{at}");
        assert!(found.content.is_none() && found.hard_link.is_none() && !found.stale);
    }
}

/// What a random tree is made of; what cannot be made where it should be is left out.
#[derive(Clone, Debug)]
enum Make {
    Directory,
    File(usize),
    Symlink(Vec<u8>),
    Fifo,
    HardLink(Vec<Vec<u8>>),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    // Around `/` and NUL in the order of bytes, and outside of UTF-8.
    let byte = prop::sample::select(vec![0x01, b'-', b'.', b'0', b'a', b'\n', 0x7f, 0xff]);
    prop::collection::vec(byte, 1..3).prop_filter("a name", |name| name != b"." && name != b"..")
}

fn tree() -> impl Strategy<Value = Vec<(Vec<Vec<u8>>, Make)>> {
    let path = || prop::collection::vec(name(), 1..5);
    let make = prop_oneof![
        4 => Just(Make::Directory),
        3 => (0_usize..5_000).prop_map(Make::File),
        1 => prop::collection::vec(1_u8..=255, 1..20).prop_map(Make::Symlink),
        1 => Just(Make::Fifo),
        1 => path().prop_map(Make::HardLink),
    ];
    prop::collection::vec((path(), make), 0..40)
}

fn build(root: &Path, tree: &[(Vec<Vec<u8>>, Make)]) {
    let at = |path: &[Vec<u8>]| root.join(OsStr::from_bytes(&path.join(&b'/')));
    for (path, make) in tree {
        let here = at(path);
        let _ = fs::create_dir_all(here.parent().unwrap());
        let _ = match make {
            Make::Directory => fs::create_dir_all(&here),
            Make::File(_) if here.symlink_metadata().is_ok() => Ok(()),
            Make::File(size) => fs::write(&here, vec![7; *size]),
            Make::Symlink(target) => symlink(OsStr::from_bytes(target), &here),
            Make::Fifo => mknodat(CWD, &here, FileType::Fifo, Mode::RUSR, 0).map_err(Into::into),
            Make::HardLink(existing) => fs::hard_link(at(existing), &here),
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_trees(tree in tree(), threads in 1_usize..4, buffer in 0_usize..30) {
        let root = tempdir().unwrap();
        build(root.path(), &tree);
        assert_same_as_walkdir(root.path(), &options(threads, buffer));
    }
}

/// Directories of more names than are stat'ed at once, some of which are directories again.
fn wide_tree() -> TempDir {
    let root = tempdir_in_memory();
    for at in 0..1_300 {
        let path = root.path().join(format!("{at:04}"));
        if at % 100 == 0 {
            fs::create_dir(&path).unwrap();
            for below in 0..(at * 7 % 600) {
                File::create(path.join(below.to_string())).unwrap();
            }
        } else {
            File::create(path).unwrap();
        }
    }
    root
}

#[test]
fn wide_directories_at_any_bound() {
    let root = wide_tree();
    for (threads, buffer) in [(1, 0), (1, 1), (2, 1), (3, 100), (8, 16_384)] {
        assert_same_as_walkdir(root.path(), &options(threads, buffer));
    }
}

#[test]
fn an_empty_root_is_one_entry() {
    let root = tempdir().unwrap();
    let found = entries(root.path(), &WalkOptions::default());
    assert_eq!(found.len(), 1);
    assert!(found[0].path.is_root());
    assert_eq!(found[0].kind, Kind::Directory);
}

/// A chain of directories whose path is far longer than the system takes at once.
#[test]
fn paths_longer_than_the_system_takes() {
    const DEPTH: usize = 3_000;
    let root = tempdir_in_memory();
    let name = b"0123456789";
    let mut at = openat(CWD, root.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..DEPTH {
        mkdirat(&at, &name[..], Mode::RWXU).unwrap();
        at = openat(&at, &name[..], OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let flags = OFlags::CREATE | OFlags::WRONLY;
    let file = openat(&at, c"file", flags, Mode::RUSR | Mode::WUSR).unwrap();
    rustix::io::write(&file, b"deep down").unwrap();

    let source = LocalSource::open(root.path()).unwrap();
    let mut last = RelativePath::root();
    let mut count = 0;
    for event in source.walk(&options(2, 16)).unwrap() {
        let WalkEvent::Entry(mut entry) = event else { panic!("{event:?}") };
        assert!(last < entry.path || entry.path.is_root());
        if entry.kind == Kind::Directory && count % 500 == 0 {
            source.complete(&mut entry).unwrap();
        }
        last = entry.path;
        count += 1;
    }
    assert_eq!(count, 1 + DEPTH + 1);
    let mut buffer = [0; 16];
    let read = source.open(&last).unwrap().read_at(0, &mut buffer).unwrap();
    assert_eq!(&buffer[..read], b"deep down");

    remove_chain(root.path(), at, name);
}

/// Removes a chain from its deep end: `remove_dir_all` needs a descriptor for each step.
fn remove_chain(root: &Path, mut at: OwnedFd, name: &[u8]) {
    use rustix::fs::{AtFlags, fstat, unlinkat};
    unlinkat(&at, c"file", AtFlags::empty()).unwrap();
    let top = fs::metadata(root).unwrap().ino();
    while fstat(&at).unwrap().st_ino != top {
        at = openat(at.as_fd(), c"..", OFlags::DIRECTORY, Mode::empty()).unwrap();
        unlinkat(&at, name, AtFlags::REMOVEDIR).unwrap();
    }
}

#[test]
fn what_vanishes_during_the_walk_is_a_problem_and_no_silence() {
    let root = tempdir().unwrap();
    let directory = |at: usize| root.path().join(format!("d{at:02}"));
    for at in 0..20 {
        fs::create_dir(directory(at)).unwrap();
        File::create(directory(at).join("file")).unwrap();
    }
    // With room for one entry only the earliest directory can have been listed ahead.
    let mut walk = LocalSource::open(root.path()).unwrap().walk(&options(2, 1)).unwrap();
    let mut events: Vec<_> = walk.by_ref().take(2).collect();
    assert_eq!(events[1].path().as_bytes(), b"d00");
    for at in 1..20 {
        fs::remove_dir_all(directory(at)).unwrap();
    }
    events.extend(walk);
    assert_ordered(&events);
    for at in 1..20 {
        let path = RelativePath::new(format!("d{at:02}").into_bytes()).unwrap();
        let about: Vec<_> = events.iter().filter(|event| event.path().is_within(&path)).collect();
        let [WalkEvent::Entry(_), WalkEvent::Problem { scope, exception, .. }] = about[..] else {
            panic!("{about:?}")
        };
        assert_eq!((*scope, exception.kind), (Scope::Subtree, ExceptionKind::Vanished));
    }
}

#[test]
fn names_that_vanish_between_listing_and_stat() {
    let root = tempdir_in_memory();
    let file = |at: usize| root.path().join(format!("{at:05}"));
    for at in 0..6 * WalkOptions::BATCH {
        File::create(file(at)).unwrap();
    }
    let mut walk = LocalSource::open(root.path()).unwrap().walk(&options(1, 1)).unwrap();
    let mut events: Vec<_> = walk.by_ref().take(2).collect();
    for at in 4 * WalkOptions::BATCH..6 * WalkOptions::BATCH {
        fs::remove_file(file(at)).unwrap();
    }
    events.extend(walk);
    assert_ordered(&events);
    assert_eq!(events.len(), 1 + 6 * WalkOptions::BATCH, "each name that was listed is told of");
    for (at, event) in events[1..].iter().enumerate() {
        match event {
            WalkEvent::Entry(_) => assert!(at < 4 * WalkOptions::BATCH),
            WalkEvent::Problem { scope, exception, .. } => {
                assert!(at >= 4 * WalkOptions::BATCH);
                assert_eq!((*scope, exception.kind), (Scope::Subtree, ExceptionKind::Vanished));
            }
            WalkEvent::Excluded { path, .. } => panic!("{path} is left out"),
        }
    }
}

#[test]
fn a_directory_that_becomes_a_link_is_not_followed() {
    let outside = tempdir().unwrap();
    File::create(outside.path().join("secret")).unwrap();
    let root = tempdir().unwrap();
    for name in ["a", "b", "c"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    let mut walk = LocalSource::open(root.path()).unwrap().walk(&options(1, 1)).unwrap();
    let mut events: Vec<_> = walk.by_ref().take(2).collect();
    fs::remove_dir(root.path().join("c")).unwrap();
    symlink(outside.path(), root.path().join("c")).unwrap();
    events.extend(walk);
    let Some(WalkEvent::Problem { path, scope, exception }) = events.last() else {
        panic!("{events:?}")
    };
    assert_eq!((path.as_bytes(), *scope), (&b"c"[..], Scope::Subtree));
    assert_eq!(exception.kind, ExceptionKind::Torn);
    assert!(events.iter().all(|event| event.path().name() != b"secret"));
}

#[test]
fn one_file_system_stays_on_it() {
    // Every Linux system has other file systems mounted in /dev.
    let source = LocalSource::open(Path::new("/dev")).unwrap();
    let whole = WalkOptions::default();
    let only = WalkOptions { one_file_system: true, ..WalkOptions::default() };
    let entry = |event| match event {
        WalkEvent::Entry(entry) => Some(entry),
        _ => None,
    };
    let device = fs::metadata("/dev").unwrap().dev();
    let beyond: Vec<_> = source
        .walk(&whole)
        .unwrap()
        .filter_map(entry)
        .filter(|entry| entry.evidence.device != device)
        .collect();
    let mounts: Vec<_> = source
        .walk(&only)
        .unwrap()
        .filter_map(entry)
        .filter(|entry| entry.evidence.device != device)
        .collect();
    for mount in &mounts {
        assert!(mounts.iter().all(|m| m.path == mount.path || !m.path.is_within(&mount.path)));
    }
    for entry in &beyond {
        assert!(mounts.iter().any(|mount| entry.path.is_within(&mount.path)), "{}", entry.path);
    }
}

#[test]
fn roots_that_cannot_be_used() {
    let root = tempdir().unwrap();
    let file = root.path().join("file");
    File::create(&file).unwrap();
    let open = |path: &Path| LocalSource::open(path).unwrap_err();
    assert!(matches!(open(&root.path().join("none")), SourceError::NotFound(_)));
    assert!(matches!(open(&file), SourceError::NotADirectory(_)));
    assert!(matches!(open(&file.join("below")), SourceError::NotADirectory(_)));
}

#[test]
fn the_description_names_the_canonical_root() {
    let root = tempdir().unwrap();
    symlink(root.path(), root.path().join("link")).unwrap();
    let description = LocalSource::open(&root.path().join("link/.")).unwrap().description();
    let canonical = root.path().canonicalize().unwrap();
    assert_eq!(&description.root[..], canonical.as_os_str().as_bytes());
    assert_eq!(description.kind, "local");
    assert!(!description.user.is_empty());
}
