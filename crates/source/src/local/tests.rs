use std::{
    ffi::CString,
    fs,
    mem::MaybeUninit,
    os::{
        fd::BorrowedFd,
        unix::{
            ffi::OsStrExt,
            fs::{MetadataExt, PermissionsExt, symlink},
            net::UnixListener,
        },
    },
};

use drover_types::{ExceptionKind, Timestamp, Xattr};
use proptest::prelude::*;
use rustix::fs::{
    AtFlags, CWD, FileType, IFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags, fsetxattr,
    ioctl_setflags, lsetxattr, makedev, mknodat, setxattr, utimensat,
};
use tempfile::TempDir;

use super::{
    names::{BUFFER, Incomplete, Names},
    *,
};
use crate::{WalkEvent, error::ReadError};

fn path(text: &str) -> RelativePath {
    RelativePath::new(text.as_bytes()).unwrap()
}

fn source(directory: &TempDir) -> LocalSource {
    LocalSource::open(directory.path()).unwrap()
}

fn entries(source: &LocalSource) -> Vec<Entry> {
    let walk = source.walk(&WalkOptions::default()).unwrap();
    walk.map(|event| match event {
        WalkEvent::Entry(entry) => entry,
        other => panic!("{other:?}"),
    })
    .collect()
}

fn entry(source: &LocalSource, at: &str) -> Entry {
    entries(source).into_iter().find(|entry| entry.path == path(at)).unwrap()
}

fn kind_of_error<T>(result: Result<T, ReadError>) -> Option<ExceptionKind> {
    result.err().map(|error| error.kind)
}

fn is_root() -> bool {
    geteuid().is_root()
}

#[test]
fn times_modes_and_links_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("old"), "x").unwrap();
    fs::hard_link(at("old"), at("other name")).unwrap();
    fs::write(at("new"), "").unwrap();
    fs::set_permissions(at("new"), fs::Permissions::from_mode(0o6751)).unwrap();
    let set = |name: &str, tv_sec, tv_nsec| {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec, tv_nsec },
        };
        utimensat(CWD, at(name), &times, AtFlags::empty()).unwrap();
    };
    set("old", -1_000_000_000, 123_456_789);
    set("new", 5_000_000_000, 1);

    let source = source(&directory);
    let old = entry(&source, "old");
    assert_eq!(old.attributes.mtime, Timestamp::new(-1_000_000_000, 123_456_789).unwrap());
    assert_eq!((old.evidence.links, old.evidence.size), (2, 1));
    assert_eq!(old.evidence.inode, entry(&source, "other name").evidence.inode);
    assert_eq!(old.evidence.device, fs::metadata(at("old")).unwrap().dev());
    let new = entry(&source, "new");
    assert_eq!(new.attributes.mtime, Timestamp::new(5_000_000_000, 1).unwrap());
    assert_eq!(new.attributes.mode, 0o6751);

    let opened = source.open(&path("old")).unwrap().stat().unwrap();
    assert_eq!(opened.attributes, old.attributes);
    assert_eq!(opened.kind, Kind::File);
}

#[test]
fn every_kind_is_told_and_completed() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("directory")).unwrap();
    fs::write(at("file"), "").unwrap();
    symlink(std::ffi::OsStr::from_bytes(b"../no\xffwhere"), at("link")).unwrap();
    mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _listener = UnixListener::bind(at("socket")).unwrap();
    let mut expected = vec![
        ("directory", Kind::Directory),
        ("file", Kind::File),
        ("link", Kind::Symlink { target: (*b"../no\xffwhere").into() }),
        ("pipe", Kind::Fifo),
        ("socket", Kind::Socket),
    ];
    if is_root() {
        let device = makedev(1, 7);
        mknodat(CWD, at("char"), FileType::CharacterDevice, Mode::RUSR, device).unwrap();
        mknodat(CWD, at("block"), FileType::BlockDevice, Mode::RUSR, device).unwrap();
        expected.insert(0, ("block", Kind::BlockDevice { major: 1, minor: 7 }));
        expected.insert(1, ("char", Kind::CharDevice { major: 1, minor: 7 }));
    }
    let source = source(&directory);
    let mut found = entries(&source);
    assert!(found.remove(0).path.is_root());
    for entry in &mut found {
        source.complete(entry).unwrap();
    }
    let found: Vec<_> =
        found.into_iter().map(|entry| (entry.path.to_string(), entry.kind)).collect();
    let expected: Vec<_> =
        expected.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect();
    assert_eq!(found, expected);
}

#[test]
fn only_what_is_still_a_regular_file_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("directory")).unwrap();
    fs::write(at("directory/file"), "").unwrap();
    symlink("directory", at("link")).unwrap();
    symlink("directory/file", at("link to file")).unwrap();
    mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _listener = UnixListener::bind(at("socket")).unwrap();
    let source = source(&directory);
    let open = |at: &str| kind_of_error(source.open(&path(at)).map(|_| ()));
    assert_eq!(open("directory/file"), None);
    for other in ["directory", "link", "link to file", "link/file", "pipe", "socket"] {
        assert_eq!(open(other), Some(ExceptionKind::Torn), "{other}");
    }
    assert_eq!(open("directory/file/file"), Some(ExceptionKind::Torn));
    assert_eq!(open("nothing"), Some(ExceptionKind::Vanished));
    assert_eq!(
        kind_of_error(source.open(&RelativePath::root()).map(|_| ())),
        Some(ExceptionKind::Torn)
    );
}

#[test]
fn an_entry_of_another_kind_is_torn_and_left_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("it");
    fs::create_dir(&at).unwrap();
    let source = source(&directory);
    let walked = entry(&source, "it");
    fs::remove_dir(&at).unwrap();
    symlink("elsewhere", &at).unwrap();
    let mut completed = walked.clone();
    assert_eq!(kind_of_error(source.complete(&mut completed)), Some(ExceptionKind::Torn));
    assert_eq!(completed, walked);
    fs::remove_file(&at).unwrap();
    assert_eq!(kind_of_error(source.complete(&mut completed)), Some(ExceptionKind::Vanished));
}

#[test]
fn holes_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let file = fs::File::create(directory.path().join("sparse")).unwrap();
    let block = 1 << 20;
    file.set_len(4 * block).unwrap();
    rustix::io::pwrite(&file, b"data", 2 * block).unwrap();
    fs::write(directory.path().join("empty"), "").unwrap();
    let source = source(&directory);
    let mut file = source.open(&path("sparse")).unwrap();
    let first = file.next_data(0).unwrap().unwrap();
    assert!(first.start <= 2 * block && first.end >= 2 * block + 4);
    if first != (0..4 * block) {
        assert_eq!(file.next_data(first.end).unwrap(), None);
    }
    assert_eq!(file.next_data(2 * block + 1).unwrap().unwrap().start, 2 * block + 1);
    assert_eq!(file.next_data(4 * block).unwrap(), None);
    assert_eq!(file.next_data(u64::MAX).unwrap(), None);
    let mut buffer = [1; 8];
    assert_eq!(file.read_at(2 * block - 2, &mut buffer).unwrap(), 8);
    assert_eq!(&buffer, b"\0\0data\0\0");
    assert_eq!(file.read_at(4 * block, &mut buffer).unwrap(), 0);
    assert_eq!(source.open(&path("empty")).unwrap().next_data(0).unwrap(), None);
}

/// Sets an attribute, and tells whether this file system and this user can.
fn can(result: rustix::io::Result<()>) -> bool {
    match result {
        Ok(()) => true,
        Err(Errno::OPNOTSUPP | Errno::PERM) => false,
        Err(errno) => panic!("{errno}"),
    }
}

#[test]
fn extended_attributes_are_kept_on_every_kind() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("file"), "").unwrap();
    fs::create_dir(at("directory")).unwrap();
    symlink("file", at("link")).unwrap();
    mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let none = XattrFlags::empty();
    let source = source(&directory);
    let xattr =
        |name: &str, value: &[u8]| Xattr { name: name.as_bytes().into(), value: value.into() };
    let completed = |name: &str| {
        let mut entry = entry(&source, name);
        source.complete(&mut entry).unwrap();
        entry.attributes.xattrs
    };
    if can(setxattr(at("file"), "user.b", b"", none)) {
        // Longer than the room that is tried first.
        let long = vec![7; 3_000];
        setxattr(at("file"), "user.a", &long, none).unwrap();
        let mut attributes = Attributes::default();
        source.open(&path("file")).unwrap().complete(&mut attributes).unwrap();
        assert_eq!(attributes.xattrs, [xattr("user.a", &long), xattr("user.b", b"")]);
        setxattr(at("directory"), "user.d", b"\0\xff", none).unwrap();
        assert_eq!(completed("directory"), [xattr("user.d", b"\0\xff")]);
    }
    if is_root() && can(lsetxattr(at("link"), "trusted.l", b"of the link", none)) {
        assert_eq!(completed("link"), [xattr("trusted.l", b"of the link")]);
        setxattr(at("pipe"), "trusted.p", b"pipe", none).unwrap();
        assert_eq!(completed("pipe"), [xattr("trusted.p", b"pipe")]);
    }
    // Version 2; owner rwx, user 1000 r--, group r-x, mask r-x, other ---.
    let acl = b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x02\0\x04\0\xe8\x03\0\0\x04\0\x05\0\xff\xff\xff\xff\x10\0\x05\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";
    fs::create_dir(at("shared")).unwrap();
    if can(setxattr(at("shared"), "system.posix_acl_default", acl, none)) {
        assert_eq!(completed("shared"), [xattr("system.posix_acl_default", acl)]);
    }
}

#[test]
fn more_attributes_than_one_room_are_listed() {
    let directory = tempfile::tempdir().unwrap();
    let file = fs::File::create(directory.path().join("file")).unwrap();
    let name = |n: usize| format!("user.{n:0>100}");
    let mut expected = Vec::new();
    for n in 0..20 {
        if !can(fsetxattr(&file, name(n), b"v", XattrFlags::empty())) {
            return;
        }
        expected.push(name(n).into_bytes());
    }
    let mut attributes = Attributes::default();
    source(&directory).open(&path("file")).unwrap().complete(&mut attributes).unwrap();
    let found: Vec<_> = attributes.xattrs.iter().map(|xattr| xattr.name.to_vec()).collect();
    assert_eq!(found, expected);
}

#[test]
fn settable_flags_are_kept_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let file = fs::File::create(directory.path().join("file")).unwrap();
    if ioctl_setflags(&file, IFlags::NODUMP | IFlags::NOATIME).is_err() {
        return; // This file system has no flags.
    }
    let mut attributes = Attributes::default();
    source(&directory).open(&path("file")).unwrap().complete(&mut attributes).unwrap();
    // ext4 shows that it uses extents as well, which is no choice.
    assert_eq!(attributes.flags, (IFlags::NODUMP | IFlags::NOATIME).bits());
}

#[test]
fn reading_leaves_no_trace() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("below");
    fs::create_dir(&at).unwrap();
    fs::write(at.join("file"), "content").unwrap();
    // So old that reading would set it anew.
    let times = Timestamps {
        last_access: Timespec { tv_sec: 1_000, tv_nsec: 0 },
        last_modification: Timespec { tv_sec: 2_000, tv_nsec: 0 },
    };
    for name in [at.join("file"), at.clone()] {
        utimensat(CWD, name, &times, AtFlags::empty()).unwrap();
    }
    let source = source(&directory);
    assert_eq!(entries(&source).len(), 3);
    let mut file = source.open(&path("below/file")).unwrap();
    assert_eq!(file.read_at(0, &mut [0; 16]).unwrap(), 7);
    for name in [at.join("file"), at] {
        assert_eq!(fs::metadata(&name).unwrap().atime(), 1_000, "{}", name.display());
    }
}

#[test]
fn what_changed_within_one_tick_of_the_scan_is_racy() {
    use Granularity::{Coarse, Fine};
    let at = |millis: i64| {
        Timestamp::new(
            100 + millis.div_euclid(1000),
            millis.rem_euclid(1000) as u32 * 1_000_000 + 1,
        )
        .unwrap()
    };
    let long_ago = at(-60_000);
    assert!(Fine.is_racy(at(-9), long_ago, at(0)));
    assert!(!Fine.is_racy(at(-10), long_ago, at(0)));
    assert!(Fine.is_racy(at(5_000), long_ago, at(0)), "a clock that runs ahead");
    assert!(!Fine.is_racy(long_ago, at(5_000), at(0)), "mtime can be set to anything");
    assert!(Coarse.is_racy(at(-1_999), long_ago, at(0)));
    assert!(!Coarse.is_racy(at(-2_000), long_ago, at(0)));
    assert!(Coarse.is_racy(long_ago, at(-1_999), at(0)));
    let whole_second = Timestamp::new(99, 0).unwrap();
    assert!(Fine.is_racy(whole_second, long_ago, at(0)), "a file system without nanoseconds");
}

#[test]
fn a_scan_right_after_a_change_finds_it_racy() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("file");
    fs::write(&at, "").unwrap();
    let mut file = source(&directory).open(&path("file")).unwrap();
    // This thread may be held up between the two, but not every time.
    assert!((0..1_000).any(|_| {
        fs::set_permissions(&at, fs::Permissions::from_mode(0o600)).unwrap();
        file.stat().unwrap().evidence.racy
    }));
    let settled = LocalSource::open(Path::new("/usr")).unwrap();
    let root = settled.tree.stat(&RelativePath::root(), settled.tree.beneath.root_fd()).unwrap();
    assert!(!root.evidence.racy);
}

#[test]
fn owners_are_named() {
    let owners = Owners::default();
    assert_eq!(owners.user(0).as_deref(), Some("root"));
    assert_eq!(owners.group(0).as_deref(), Some("root"));
    assert_eq!(owners.user(4_000_000_000), None);
}

fn list(directory: BorrowedFd<'_>, room: usize) -> (Vec<CString>, Option<Incomplete>) {
    let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
    let (names, incomplete) = Names::read(directory, room, &mut buffer);
    ((0..names.len()).map(|at| names.get(at).to_owned()).collect(), incomplete)
}

#[test]
fn names_that_would_make_a_path_too_long_are_told() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a", "bb", "ccc", "dddd", "eeee"] {
        fs::write(directory.path().join(name), "").unwrap();
    }
    let open = fs::File::open(directory.path()).unwrap();
    let (names, incomplete) = list(open.as_fd(), 3);
    assert_eq!(names, [c"a".into(), c"bb".into(), c"ccc".into()] as [CString; 3]);
    let Some(Incomplete::Refused(why)) = incomplete else { panic!("{incomplete:?}") };
    assert!(why.contains("too long") && why.ends_with("and 1 more"), "{why}");
}

#[test]
fn a_listing_that_fails_says_so() {
    // No directory: the kernel refuses to list it.
    let file = tempfile::tempfile().unwrap();
    let (names, incomplete) = list(file.as_fd(), 255);
    assert!(names.is_empty());
    assert!(matches!(incomplete, Some(Incomplete::Failed(Errno::NOTDIR))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn names_come_sorted_as_bytes(
        names in prop::collection::btree_set(
            prop::collection::vec(prop::sample::select(&b"ab\x01\xff-. "[..]), 1..12), 0..40),
    ) {
        // In memory where there is such a place: many files, and no test of the disk.
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let names: Vec<CString> = names
            .into_iter()
            .filter(|name| name != b"." && name != b"..")
            .map(|name| CString::new(name).unwrap())
            .collect();
        for name in &names {
            let at = directory.path().join(std::ffi::OsStr::from_bytes(name.as_bytes()));
            fs::write(at, "").unwrap();
        }
        let open = fs::File::open(directory.path()).unwrap();
        let (found, incomplete) = list(open.as_fd(), 255);
        prop_assert!(incomplete.is_none());
        prop_assert_eq!(found, names);
    }
}
