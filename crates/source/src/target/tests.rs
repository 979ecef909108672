//! Tests of the landing. Each runs with and without `openat2`; what only root can show is shown
//! if the tests run as root, and what only a user can show is then run by a child without rights.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
    path::PathBuf,
    process::Command,
};

use drover_types::{
    Attributes, Content, Evidence, Extents, FileHash, RepositoryId, SnapshotId, SourceId,
    Timestamp, Xattr,
};
use tempfile::TempDir;

use super::*;
use crate::{LocalSource, Source, WalkEvent, WalkOptions};

fn path(text: &str) -> RelativePath {
    RelativePath::new(text.as_bytes()).unwrap()
}

fn root_user() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a test on a fresh target for each way of opening.
fn each(test: impl Fn(&Target, PathBuf)) {
    each_with(TargetOptions::default(), test);
}

fn each_with(options: TargetOptions, test: impl Fn(&Target, PathBuf)) {
    for openat2 in [true, false] {
        let directory = TempDir::new().unwrap();
        let root = directory.path().join("target");
        fs::create_dir(&root).unwrap();
        let mut beneath = Beneath::open(&root).unwrap();
        if !openat2 {
            beneath = beneath.without_openat2();
        }
        test(&Target::on(beneath, options).unwrap(), root);
    }
}

/// An entry of ours with mode 0644 or 0755 and a time in the past.
fn entry(at: &str, kind: Kind) -> Entry {
    let directory = kind == Kind::Directory;
    Entry {
        path: path(at),
        kind,
        attributes: Attributes {
            mode: if directory { 0o755 } else { 0o644 },
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            mtime: Timestamp { seconds: 1_500_000_000, nanos: 123_456_789 },
            ..Attributes::default()
        },
        content: None,
        hard_link: None,
        evidence: Evidence { links: 1, ..Evidence::default() },
        stale: false,
    }
}

fn file(at: &str, size: usize) -> Entry {
    let extents = Extents::Inline([].into());
    let content = Content { size: size as u64, hash: FileHash([0; 32]), extents };
    Entry { content: Some(content), ..entry(at, Kind::File) }
}

fn link(at: &str, to: &str) -> Entry {
    entry(at, Kind::Symlink { target: to.as_bytes().into() })
}

fn write(target: &Target, entry: &Entry, bytes: &[u8]) -> Losses {
    let new = target.create_file(entry).unwrap();
    new.write_at(0, bytes).unwrap();
    new.finish(entry).unwrap()
}

fn replace(target: &Target, entry: &Entry, bytes: &[u8]) -> Losses {
    let new = target.replace_file(entry).unwrap();
    new.write_at(0, bytes).unwrap();
    new.finish(entry).unwrap()
}

fn synced(target: &Target) {
    let failed = target.sync().unwrap();
    assert!(failed.is_empty(), "{failed:?}");
}

fn kind_of<T: std::fmt::Debug>(result: Result<T, TargetError>) -> TargetErrorKind {
    result.unwrap_err().kind()
}

fn names(root: &std::path::Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Everything below `root` as a source sees it, evidence left out.
fn seen(root: &std::path::Path) -> Vec<Entry> {
    let source = LocalSource::open(root).unwrap();
    let walk = source.walk(&WalkOptions::default()).unwrap();
    walk.map(|event| {
        let WalkEvent::Entry(mut entry) = event else { panic!("{event:?}") };
        if entry.kind == Kind::File {
            let mut file = source.open(&entry.path).unwrap();
            file.complete(&mut entry.attributes).unwrap();
        } else {
            source.complete(&mut entry).unwrap();
        }
        entry.attributes.xattrs.retain(|x| *x.name != *b"security.selinux");
        entry.evidence = Evidence { links: entry.evidence.links, ..Evidence::default() };
        entry
    })
    .collect()
}

fn xattr(name: &str, value: &[u8]) -> Xattr {
    Xattr { name: name.as_bytes().into(), value: value.into() }
}

/// An ACL as the kernel stores it.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// Owner rwx, user 1234 rw, group r, mask `mask`, others nothing.
fn some_acl(mask: u16) -> Vec<u8> {
    acl(&[(1, 7, !0), (2, 6, 1234), (4, 4, !0), (0x10, mask, !0), (0x20, 0, !0)])
}

/// Takes immutable flags off when a test ends, so that its directory can be removed.
struct Unlock(PathBuf);

impl Drop for Unlock {
    fn drop(&mut self) {
        for name in walkdir::WalkDir::new(&self.0).into_iter().flatten() {
            if name.file_type().is_file() || name.file_type().is_dir() {
                let fd = OwnedFd::from(fs::File::open(name.path()).unwrap());
                let _ = Object::opened(&fd).unlock();
            }
        }
    }
}

#[test]
fn what_lands_is_what_was_given() {
    each(|target, root| {
        let _unlock = Unlock(root.clone());
        let mut given = vec![
            entry("", Kind::Directory),
            entry("d", Kind::Directory),
            file("d/f", 5),
            entry("d/fifo", Kind::Fifo),
            link("d/link", "/nowhere/at all"),
            entry("d/socket", Kind::Socket),
            file("f", 3),
        ];
        given[0].attributes.mode = 0o1777;
        given[1].attributes.mode = 0o2750;
        given[1].attributes.mtime = Timestamp { seconds: -5, nanos: 7 };
        given[2].attributes.mode = 0o404;
        given[2].attributes.xattrs = vec![xattr("user.a", b"1"), xattr("user.b", b"\0\xff")];
        given[2].attributes.flags = 0x40 | 0x80;
        given[4].attributes.mode = 0o777;
        given[6].attributes.mtime = Timestamp { seconds: (1 << 31) + 5, nanos: 999_999_999 };
        if root_user() {
            let mut device = entry("null", Kind::CharDevice { major: 1, minor: 3 });
            device.attributes.mode = 0o666;
            given.push(device);
            let mut device = entry("zz", Kind::BlockDevice { major: 259, minor: 70_000 });
            device.attributes.uid = 77;
            given.push(device);
            given[1].attributes.uid = 1001;
            given[1].attributes.gid = 1002;
            given[1].attributes.xattrs = vec![
                xattr("system.posix_acl_access", &some_acl(5)),
                xattr("system.posix_acl_default", &some_acl(7)),
            ];
            given[1].attributes.flags = 0x10;
            given[2].attributes.uid = 5;
            given[2].attributes.mode = 0o6711;
            // Effective, permitted: CAP_NET_BIND_SERVICE.
            let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            given[2].attributes.xattrs.insert(0, xattr("security.capability", &capability));
            given[2].attributes.xattrs.insert(1, xattr("trusted.t", b"t"));
            given[4].attributes.uid = 1003;
            given[4].attributes.xattrs = vec![xattr("trusted.link", b"l")];
            given[6].attributes.mode = 0o750;
            given[6].attributes.xattrs = vec![xattr("system.posix_acl_access", &some_acl(5))];
            given[6].attributes.flags = 0x20;
        }
        for entry in &given {
            let losses = match entry.kind {
                Kind::Directory => {
                    assert_eq!(
                        target.create_directory(&entry.path).unwrap(),
                        !entry.path.is_root()
                    );
                    continue;
                }
                Kind::File => write(target, entry, &b"12345"[..entry_size(entry)]),
                _ => target.create_other(entry).unwrap(),
            };
            assert_eq!(losses, [], "{}", entry.path);
        }
        for entry in given.iter().rev().filter(|entry| entry.kind == Kind::Directory) {
            assert_eq!(target.set_attributes(entry).unwrap(), [], "{}", entry.path);
        }
        synced(target);

        let mut found = seen(&root);
        for (found, given) in found.iter_mut().zip(&mut given) {
            given.attributes.user = found.attributes.user.clone();
            given.attributes.group = found.attributes.group.clone();
            given.content = None;
            found.content = None;
            found.evidence = given.evidence;
            assert_eq!(found, given);
        }
        assert_eq!(found.len(), given.len());
        // Once more over what is there: nothing to lose, nothing changes.
        for entry in given.iter().rev() {
            assert_eq!(target.set_attributes(entry).unwrap(), [], "{}", entry.path);
        }
        let again = seen(&root);
        for (again, found) in again.iter().zip(&found) {
            assert_eq!(again.attributes, found.attributes, "{}", found.path);
        }
        assert_eq!(fs::read(root.join("f")).unwrap(), b"123");
    });
}

fn entry_size(entry: &Entry) -> usize {
    entry.content.as_ref().map_or(0, |content| content.size as usize)
}

#[test]
fn a_directory_swapped_for_a_symlink_leads_nowhere() {
    each(|target, root| {
        let outside = TempDir::new().unwrap();
        fs::write(outside.path().join("victim"), "untouched").unwrap();
        fs::create_dir(outside.path().join("sub")).unwrap();
        symlink(outside.path(), root.join("d")).unwrap();
        let before = seen(outside.path());

        use TargetErrorKind::{Exists, Redirected, WrongKind};
        assert_eq!(kind_of(target.create_file(&file("d/new", 1))), Redirected);
        assert_eq!(kind_of(target.replace_file(&file("d/victim", 1))), Redirected);
        assert_eq!(kind_of(target.create_directory(&path("d/sub"))), Redirected);
        assert_eq!(kind_of(target.create_directory(&path("d"))), Exists);
        assert_eq!(kind_of(target.create_other(&link("d/link", "x"))), Redirected);
        assert_eq!(kind_of(target.set_attributes(&file("d/victim", 9))), Redirected);
        assert_eq!(kind_of(target.set_attributes(&entry("d", Kind::Directory))), WrongKind);
        assert_eq!(kind_of(target.remove(&path("d/victim"))), Redirected);
        assert_eq!(kind_of(target.vouch(&path("d/victim"))), Redirected);
        assert_eq!(kind_of(target.open_existing(&path("d/victim"))), Redirected);
        write(target, &file("own", 0), b"");
        target.vouch(&path("own")).unwrap();
        assert_eq!(kind_of(target.hard_link(&path("own"), &file("d/own", 0))), Redirected);
        assert_eq!(kind_of(target.hard_link(&path("d/victim"), &file("mine", 0))), Redirected);
        assert_eq!(seen(outside.path()), before);

        // Swapped while its directory is known to the target: still inside, or nowhere.
        target.create_directory(&path("e")).unwrap();
        write(target, &file("e/one", 0), b"");
        fs::rename(root.join("e"), root.join("moved")).unwrap();
        symlink(outside.path(), root.join("e")).unwrap();
        let _ = target.create_file(&file("e/two", 0)).map(|new| new.finish(&file("e/two", 0)));
        assert_eq!(seen(outside.path()), before);
    });
}

#[test]
fn a_symlink_in_place_of_a_file_is_replaced_and_not_followed() {
    each(|target, root| {
        let victim = root.parent().unwrap().join("victim");
        fs::write(&victim, "untouched").unwrap();
        symlink(&victim, root.join("f")).unwrap();
        let new = file("f", 3);
        assert_eq!(kind_of(target.create_file(&new)), TargetErrorKind::Exists);
        assert_eq!(kind_of(target.set_attributes(&new)), TargetErrorKind::WrongKind);
        assert!(target.open_existing(&path("f")).unwrap().is_none());

        replace(target, &new, b"new");
        assert!(root.join("f").is_symlink(), "only a sync lets it take its place");
        synced(target);
        assert!(root.join("f").symlink_metadata().unwrap().is_file());
        assert_eq!(fs::read(root.join("f")).unwrap(), b"new");

        assert_eq!(target.create_other(&link("f", "elsewhere")).unwrap(), []);
        assert_eq!(fs::read_link(root.join("f")).unwrap().as_os_str(), "elsewhere");
        assert_eq!(target.create_other(&entry("f", Kind::Fifo)).unwrap(), []);
        assert!(root.join("f").symlink_metadata().unwrap().file_type().is_fifo());
        target.remove(&path("f")).unwrap();
        target.remove(&path("f")).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"untouched");
        assert_eq!(names(&root), [""; 0]);
    });
}

#[test]
fn replacing_is_all_or_nothing() {
    each(|target, root| {
        fs::write(root.join("f"), "old").unwrap();
        let new = file("f", 6);
        drop(target.replace_file(&new).unwrap());
        drop(target.create_file(&file("g", 1)).unwrap());
        assert_eq!(names(&root), ["f"], "what is not finished is taken away");

        let old = target.open_existing(&path("f")).unwrap().unwrap();
        let writing = target.replace_file(&new).unwrap();
        writing.copy_from(&old, 0, 0, 3).unwrap();
        writing.write_at(3, b"new").unwrap();
        let mut read = [0; 8];
        assert_eq!(writing.read_at(0, &mut read).unwrap(), 6);
        assert_eq!(kind_of(writing.copy_from(&old, 2, 0, 2)), TargetErrorKind::Unsupported);
        assert_eq!(kind_of(writing.write_at(4, b"far")), TargetErrorKind::Other);
        assert_eq!(kind_of(writing.write_at(u64::MAX, b"far")), TargetErrorKind::Other);
        writing.write_at(0, b"old").unwrap();
        writing.finish(&new).unwrap();
        assert_eq!(fs::read(root.join("f")).unwrap(), b"old");
        // Replaced again before the first replacement took place.
        replace(target, &new, b"newest");
        synced(target);
        assert_eq!(fs::read(root.join("f")).unwrap(), b"newest");
        assert_eq!(names(&root), ["f"]);

        replace(target, &new, b"gone..");
        target.remove(&path("f")).unwrap();
        synced(target);
        assert_eq!(names(&root), [""; 0]);

        // What cannot take its place is told of, and leaves what is there.
        target.create_directory(&path("f")).unwrap();
        replace(target, &new, b"refuse");
        let failed = target.sync().unwrap();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].kind(), TargetErrorKind::Exists);
        assert_eq!(names(&root), ["f"]);
        assert!(target.sync().unwrap().is_empty());
    });
}

#[test]
fn a_target_that_is_dropped_takes_its_temporary_files_along() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("f"), "old").unwrap();
    let target = Target::open(directory.path(), TargetOptions::default()).unwrap();
    replace(&target, &file("f", 3), b"new");
    let leftover = names(directory.path());
    assert_eq!(leftover.iter().filter(|name| is_temporary(name.as_bytes())).count(), 1);
    drop(target);
    assert_eq!(fs::read(directory.path().join("f")).unwrap(), b"old");
    assert_eq!(names(directory.path()), ["f"]);
}

#[test]
fn many_replacements_do_not_wait_for_ever() {
    let directory = TempDir::new().unwrap();
    let target = Target::open(directory.path(), TargetOptions::default()).unwrap();
    for n in 0..replace::WAITING {
        let entry = file(&n.to_string(), 0);
        target.replace_file(&entry).unwrap().finish(&entry).unwrap();
    }
    assert!(lock(&target.0.waiting).is_empty());
    assert!(names(directory.path()).iter().all(|name| !is_temporary(name.as_bytes())));
}

#[test]
fn only_own_temporary_names_are_temporary() {
    for name in [".drover-new-1-0", ".drover-new-4194304-99"] {
        assert!(is_temporary(name.as_bytes()));
    }
    for name in [".drover-new-", ".drover-new-1", ".drover-new-1-", ".drover-new-1-2-3", "1-2"] {
        assert!(!is_temporary(name.as_bytes()), "{name}");
    }
}

#[test]
fn hard_links_lead_to_what_this_run_made() {
    each(|target, root| {
        let several = |at| {
            let mut entry = file(at, 2);
            entry.evidence.links = 2;
            entry
        };
        fs::write(root.join("foreign"), "x").unwrap();
        write(target, &several("a"), b"ab");
        write(target, &file("single", 0), b"");
        fs::create_dir(root.join("d")).unwrap();
        assert_eq!(
            kind_of(target.hard_link(&path("foreign"), &file("b", 0))),
            TargetErrorKind::NotOurs
        );
        assert_eq!(
            kind_of(target.hard_link(&path("single"), &file("b", 0))),
            TargetErrorKind::NotOurs
        );
        assert_eq!(
            kind_of(target.hard_link(&path("none"), &file("b", 0))),
            TargetErrorKind::Missing
        );
        target.hard_link(&path("a"), &file("b", 0)).unwrap();
        target.hard_link(&path("a"), &file("b", 0)).unwrap();
        target.hard_link(&path("a"), &file("d/c", 0)).unwrap();
        target.vouch(&path("foreign")).unwrap();
        target.hard_link(&path("foreign"), &file("single", 0)).unwrap();
        synced(target);
        let inode = |at: &str| root.join(at).symlink_metadata().unwrap().ino();
        assert!(inode("a") == inode("b") && inode("a") == inode("d/c"));
        assert_eq!(inode("foreign"), inode("single"));

        // The name of a file that waits to replace another stands for the new one.
        let old = inode("a");
        replace(target, &several("a"), b"AB");
        target.hard_link(&path("a"), &file("b", 0)).unwrap();
        target.hard_link(&path("b"), &file("e", 0)).unwrap();
        synced(target);
        assert!(inode("a") == inode("b") && inode("a") == inode("e") && inode("a") != old);
        assert_eq!(fs::read(root.join("b")).unwrap(), b"AB");

        // Links themselves have further names too.
        let mut one = link("link", "to");
        one.evidence.links = 2;
        target.create_other(&one).unwrap();
        target.hard_link(&path("link"), &link("link2", "to")).unwrap();
        assert_eq!(inode("link"), inode("link2"));
        assert_eq!(names(&root), ["a", "b", "d", "e", "foreign", "link", "link2", "single"]);
    });
}

#[test]
fn long_paths_and_long_names() {
    each(|target, root| {
        let mut deep = RelativePath::root();
        for _ in 0..40 {
            deep = deep.join(&[b'd'; 255]).unwrap();
            assert!(target.create_directory(&deep).unwrap());
        }
        assert!(deep.as_bytes().len() > 2 * 4096);
        let mut new = file("", 4);
        new.path = deep.join(&[b'f'; 255]).unwrap();
        new.evidence.links = 2;
        write(target, &new, b"deep");
        new.attributes.mode = 0o600;
        replace(target, &new, b"peed");
        let mut other = link("", "x");
        other.path = deep.join(b"link").unwrap();
        target.create_other(&other).unwrap();
        target.hard_link(&new.path, &file("short", 0)).unwrap();
        synced(target);
        let mut directory = entry("", Kind::Directory);
        directory.path = deep.clone();
        assert_eq!(target.set_attributes(&directory).unwrap(), []);
        assert_eq!(fs::read(root.join("short")).unwrap(), b"peed");
        assert_eq!(root.join("short").metadata().unwrap().nlink(), 2);
        let found = seen(&root);
        assert_eq!(found.iter().filter(|entry| entry.path.is_within(&deep)).count(), 3);

        for gone in [&new.path, &other.path] {
            target.remove(gone).unwrap();
        }
        while !deep.is_root() {
            target.remove(&deep).unwrap();
            deep = deep.parent().unwrap();
        }
        assert_eq!(names(&root), ["short"]);
        assert_eq!(kind_of(target.remove(&deep)), TargetErrorKind::Other);
    });
}

#[test]
fn holes_stay_holes() {
    each(|target, root| {
        let size = 64 << 20;
        let sparse = file("sparse", size);
        let new = target.create_file(&sparse).unwrap();
        new.write_at(32 << 20, b"middle").unwrap();
        assert_eq!(new.finish(&sparse).unwrap(), []);
        let empty = file("hole", size);
        target.create_file(&empty).unwrap().finish(&empty).unwrap();
        synced(target);
        for (name, allocated) in [("sparse", 64 << 10), ("hole", 0)] {
            let found = root.join(name).metadata().unwrap();
            assert_eq!(found.len(), size as u64);
            assert!(found.blocks() * 512 <= allocated, "{name}: {}", found.blocks());
        }
    });
}

#[test]
fn times_outside_of_the_common_range() {
    each(|target, root| {
        // ext4 holds 1901 to 2446.
        for (n, seconds) in [-1, -2_000_000_000, 1 << 31, 1 << 33].into_iter().enumerate() {
            for nanos in [0, 1, 999_999_999] {
                let mut new = file(&format!("{n}-{nanos}"), 0);
                new.attributes.mtime = Timestamp { seconds, nanos };
                let losses = write(target, &new, b"");
                let found = fs::metadata(root.join(new.path.to_string())).unwrap();
                let kept = (found.mtime(), found.mtime_nsec()) == (seconds, i64::from(nanos));
                assert_eq!(losses.is_empty(), kept, "{losses:?}");
            }
        }
        let mut new = file("never", 0);
        new.attributes.mtime = Timestamp { seconds: i64::MAX / 2, nanos: 0 };
        let losses = write(target, &new, b"");
        let kept = fs::metadata(root.join("never")).unwrap().mtime() == i64::MAX / 2;
        assert_eq!(losses.is_empty(), kept);
    });
}

#[test]
fn what_is_locked_can_be_replaced_linked_and_removed() {
    if !root_user() {
        return;
    }
    each(|target, root| {
        let _unlock = Unlock(root.clone());
        let locked = |at| {
            let mut entry = file(at, 1);
            entry.attributes.flags = 0x10;
            entry.evidence.links = 2;
            entry
        };
        target.create_directory(&path("d")).unwrap();
        assert_eq!(write(target, &locked("d/f"), b"1"), []);
        let mut directory = entry("d", Kind::Directory);
        directory.attributes.flags = 0x10;
        assert_eq!(target.set_attributes(&directory).unwrap(), []);
        assert_eq!(
            kind_of(target.create_file(&file("d/g", 0))),
            TargetErrorKind::Denied,
            "the directory was not opened up"
        );

        assert!(!target.create_directory(&path("d")).unwrap());
        assert_eq!(replace(target, &locked("d/f"), b"2"), []);
        target.hard_link(&path("d/f"), &file("d/g", 0)).unwrap();
        synced(target);
        target.hard_link(&path("d/f"), &file("d/h", 0)).unwrap();
        fs::write(root.join("d/i"), "").unwrap();
        target.hard_link(&path("d/f"), &file("d/i", 0)).unwrap();
        synced(target);
        for name in ["f", "g", "h", "i"] {
            assert_eq!(fs::read(root.join("d").join(name)).unwrap(), b"2");
        }
        assert_eq!(target.set_attributes(&directory).unwrap(), []);
        let found = seen(&root);
        assert_eq!(
            found.iter().map(|e| e.attributes.flags).collect::<Vec<_>>(),
            [0, 0x10, 0x10, 0x10, 0x10, 0x10]
        );
        // What the entry lacks is taken off.
        assert_eq!(target.set_attributes(&entry("d", Kind::Directory)).unwrap(), []);
        assert_eq!(target.set_attributes(&file("d/h", 1)).unwrap(), []);
        for name in ["d/f", "d/g", "d/h", "d/i", "d"] {
            target.remove(&path(name)).unwrap();
        }
        assert_eq!(names(&root), [""; 0]);
    });
}

#[test]
fn nothing_is_inherited() {
    each(|target, root| {
        let _unlock = Unlock(root.clone());
        fs::create_dir(root.join("d")).unwrap();
        let fd = OwnedFd::from(fs::File::open(root.join("d")).unwrap());
        let object = Object::opened(&fd);
        object.set_xattr(b"system.posix_acl_default", &some_acl(7)).unwrap();
        object.set_flags(object.flags().unwrap() | 0x40 | 0x80).unwrap();

        target.create_directory(&path("d")).unwrap();
        target.create_directory(&path("d/sub")).unwrap();
        let private = {
            let mut entry = file("d/f", 0);
            entry.attributes.mode = 0o640;
            entry
        };
        assert_eq!(write(target, &private, b""), []);
        assert_eq!(write(target, &file("d/sub/f", 0), b""), []);
        assert_eq!(target.create_other(&entry("d/sub/fifo", Kind::Fifo)).unwrap(), []);
        for name in ["d/sub", "d", ""] {
            assert_eq!(target.set_attributes(&entry(name, Kind::Directory)).unwrap(), []);
        }
        for found in seen(&root) {
            assert_eq!(found.attributes.xattrs, [], "{}", found.path);
            assert_eq!(found.attributes.flags, 0, "{}", found.path);
            let mode = match found.kind {
                Kind::Directory => 0o755,
                _ if found.path == private.path => 0o640,
                _ => 0o644,
            };
            assert_eq!(found.attributes.mode, mode, "{}", found.path);
        }
    });
}

#[test]
fn rights_are_lent_to_no_one() {
    let options = TargetOptions { owners: Owners::Ignore, devices: false, setuid: true };
    each_with(options, |target, root| {
        let mut new = file("owner", 0);
        new.attributes.mode = 0o6755;
        assert_eq!(write(target, &new, b""), [], "it belongs to whom it should");
        new = file("other", 0);
        new.attributes.mode = 0o6755;
        new.attributes.uid += 1;
        let losses = write(target, &new, b"");
        assert_eq!(losses.iter().map(|loss| loss.what).collect::<Vec<_>>(), ["owner", "setuid"]);
        let mode = |at: &str| root.join(at).metadata().unwrap().mode() & 0o7777;
        assert_eq!(mode("owner"), 0o6755);
        assert_eq!(mode("other"), 0o2755, "its group is the right one");

        let device = entry("device", Kind::CharDevice { major: 1, minor: 3 });
        let losses = target.create_other(&device).unwrap();
        assert_eq!(losses.iter().map(|loss| loss.what).collect::<Vec<_>>(), ["device"]);
        assert!(!root.join("device").exists());
    });
    let options = TargetOptions { owners: Owners::Ignore, devices: false, setuid: false };
    each_with(options, |target, root| {
        let mut new = file("f", 0);
        new.attributes.mode = 0o6711;
        let losses = write(target, &new, b"");
        assert_eq!(losses.iter().map(|loss| loss.what).collect::<Vec<_>>(), ["setuid"]);
        assert_eq!(root.join("f").metadata().unwrap().mode() & 0o7777, 0o711);
    });
}

#[test]
fn attributes_that_cannot_be_are_losses() {
    each(|target, root| {
        let mut new = file("f", 0);
        new.attributes.xattrs = vec![
            xattr("nonsense.x", b"1"),
            xattr("user.large", &[7; 70_000]),
            xattr("user.z", b""),
        ];
        let losses = write(target, &new, b"");
        assert_eq!(losses.iter().map(|loss| loss.what).collect::<Vec<_>>(), ["xattr"; 2]);
        assert_eq!(seen(&root)[1].attributes.xattrs, [xattr("user.z", b"")]);

        let mut new = file("g", 0);
        new.attributes.uid = u32::MAX;
        let losses = write(target, &new, b"");
        assert_eq!(losses.iter().map(|loss| loss.what).collect::<Vec<_>>(), ["owner"]);
    });
}

#[test]
fn an_acl_that_is_lost_lets_the_group_do_no_more() {
    assert_eq!(attributes::group_permissions(&some_acl(7)), 4);
    assert_eq!(attributes::group_permissions(&some_acl(3)), 0);
    assert_eq!(attributes::group_permissions(&acl(&[(1, 7, !0), (4, 6, !0), (32, 0, !0)])), 6);
    for broken in [&b""[..], b"abc", &some_acl(7)[..7]] {
        assert_eq!(attributes::group_permissions(broken), 0);
    }
    each(|target, root| {
        let mut new = file("f", 0);
        new.attributes.mode = 0o670;
        // A version that no kernel takes.
        let mut value = some_acl(7);
        value[0] = 99;
        new.attributes.xattrs = vec![xattr("system.posix_acl_access", &value)];
        let losses = write(target, &new, b"");
        assert_eq!(losses.iter().map(|loss| loss.what).collect::<Vec<_>>(), ["xattr"]);
        assert_eq!(root.join("f").metadata().unwrap().mode() & 0o7777, 0o640);
    });
}

#[test]
fn owners_by_name() {
    if !root_user() {
        return;
    }
    let options = TargetOptions { owners: Owners::ByName, ..TargetOptions::default() };
    each_with(options, |target, root| {
        let mut new = file("f", 0);
        new.attributes.uid = 4711;
        new.attributes.gid = 4712;
        new.attributes.user = Some("root".into());
        new.attributes.group = Some("no such group".into());
        assert_eq!(write(target, &new, b""), []);
        let found = root.join("f").metadata().unwrap();
        assert_eq!((found.uid(), found.gid()), (0, 4712));
    });
}

fn begun() -> Marker {
    let (repository, source) = (RepositoryId([1; RepositoryId::LEN]), SourceId([2; SourceId::LEN]));
    Marker::under_way(repository, source, SnapshotId([3; SnapshotId::LEN]))
}

#[test]
fn a_mark_that_was_only_begun_is_taken_away() {
    each(|target, root| {
        let temporary = root.join(".drover-new-0-0");
        for other in [None, Some("other")] {
            if let Some(other) = other {
                fs::write(root.join(other), "").unwrap();
            }
            fs::write(&temporary, "drover-res").unwrap();
            assert_eq!(target.is_empty().unwrap(), other.is_none());
            target.write_marker(&begun()).unwrap();
            let mark = std::str::from_utf8(MARKER).unwrap();
            let left: Vec<_> = std::iter::once(mark).chain(other).collect();
            assert_eq!(names(&root), left);
        }
        fs::remove_file(root.join("other")).unwrap();
        let leftover = root.join(".drover-new-12-3");
        fs::write(&leftover, "a file's").unwrap();
        target.write_marker(&begun()).unwrap();
        assert!(!leftover.exists(), "beside nothing else it is nobody's");
        // Somebody's directory of that name is left alone, and named.
        fs::create_dir(&temporary).unwrap();
        assert!(target.write_marker(&begun()).is_err());
        assert!(temporary.exists());
    });
}

#[test]
fn the_mark_is_kept_and_no_other_is_believed() {
    each(|target, root| {
        assert_eq!(target.read_marker().unwrap(), None);
        assert!(target.is_empty().unwrap());
        let begun = begun();
        target.write_marker(&begun).unwrap();
        assert_eq!(target.read_marker().unwrap(), Some(begun.clone()));
        assert!(begun.content_survived(), "the machine has been up since");
        assert_eq!(landed(&root), None);
        let lost = Marker { state: MarkerState::UnderWay("another".into()), ..begun.clone() };
        assert!(!lost.content_survived());
        let part = begun.settling(false);
        target.write_marker(&part).unwrap().complete(0).unwrap();
        assert_eq!(landed(&root), None);
        let whole = begun.settling(true);
        let settling = target.write_marker(&whole).unwrap();
        assert_eq!(target.read_marker().unwrap(), Some(whole.clone()));
        assert_eq!(landed(&root), None);
        let before = root.metadata().unwrap();
        settling.complete(7).unwrap();
        assert_eq!(root.metadata().unwrap().modified().unwrap(), before.modified().unwrap());
        let done = Marker { exceptions: 7, state: MarkerState::Complete, ..whole };
        assert_eq!(target.read_marker().unwrap(), Some(done.clone()));
        let Marker { repository, source, snapshot, exceptions, time, .. } = done;
        let snapshot = snapshot.unwrap();
        let there = Landed { repository, source, snapshot, time, exceptions };
        assert_eq!(landed(&root), Some(there));
        assert_eq!(landed(&root.join("nowhere")), None);
        let claim = target.claim().unwrap();
        let other = Target::open(&root, TargetOptions::default()).unwrap();
        assert!(other.claim().is_none());
        drop(claim);
        assert!(other.claim().is_some());
        assert!(target.is_empty().unwrap());
        let own = std::str::from_utf8(MARKER).unwrap();
        assert_eq!(names(&root), [own]);
        assert!(is_marker(&path(own)) && !is_marker(&path("d/.drover-restore")));
        assert_eq!(kind_of(target.create_file(&file(own, 0))), TargetErrorKind::Unsupported);
        assert_eq!(kind_of(target.remove(&path(own))), TargetErrorKind::Unsupported);

        let text = fs::read_to_string(root.join(own)).unwrap();
        for changed in ["", "drover-restore 1\n", &text[1..], &format!("{text}more\n"), text.trim()]
        {
            fs::write(root.join(own), changed).unwrap();
            assert_eq!(target.read_marker().unwrap(), None, "{changed:?}");
        }
        let id = |byte: &str, len| byte.repeat(len);
        let (repository, source) = (id("01", RepositoryId::LEN), id("02", SourceId::LEN));
        let earlier =
            format!("drover-restore 1\nrepository {repository}\nsource {source}\ncomplete\n");
        fs::write(root.join(own), earlier).unwrap();
        let read = target.read_marker().unwrap().unwrap();
        assert!(read.content_survived() && read.source == begun.source);
        assert_eq!((read.snapshots().count(), landed(&root)), (0, None));
        fs::write(root.join(own), &text).unwrap();
        fs::set_permissions(root.join(own), fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(target.read_marker().unwrap(), None, "anyone could have written it");
        fs::rename(root.join(own), root.join("real")).unwrap();
        symlink("real", root.join(own)).unwrap();
        assert_eq!(target.read_marker().unwrap(), None);
        assert!(!target.is_empty().unwrap());
    });
}

#[test]
fn many_threads_write_one_tree() {
    each(|target, root| {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for n in 0..60 {
                        let directory = format!("{}", n % 7);
                        target.create_directory(&path(&directory)).unwrap();
                        let entry = file(&format!("{directory}/{thread}-{n}"), 5);
                        if n % 2 == 0 {
                            assert_eq!(write(target, &entry, b"bytes"), []);
                        } else {
                            assert_eq!(replace(target, &entry, b"bytes"), []);
                        }
                        if n % 20 == 0 {
                            synced(target);
                        }
                    }
                });
            }
        });
        synced(target);
        let files = seen(&root).into_iter().filter(|entry| entry.kind == Kind::File);
        assert_eq!(files.filter(|entry| entry.attributes.mode == 0o644).count(), 240);
    });
}

#[test]
fn a_target_is_made_where_there_is_none() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("a/b");
    let target = Target::open(&root, TargetOptions::default()).unwrap();
    assert!(target.is_empty().unwrap());
    fs::create_dir(root.join("lost+found")).unwrap();
    assert!(target.is_empty().unwrap());
    write(&target, &file("f", 0), b"");
    assert!(!target.is_empty().unwrap());
    let error = Target::open(&root.join("f"), TargetOptions::default()).unwrap_err();
    assert!(matches!(error, TargetError::Open { .. }));
}

#[test]
fn a_user_writes_into_what_is_read_only() {
    if root_user() {
        return;
    }
    each(|target, root| {
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/f"), "old").unwrap();
        fs::set_permissions(root.join("d"), fs::Permissions::from_mode(0o555)).unwrap();
        assert_eq!(kind_of(target.create_file(&file("d/g", 0))), TargetErrorKind::Denied);
        target.create_directory(&path("d")).unwrap();
        replace(target, &file("d/f", 3), b"new");
        write(target, &file("d/g", 0), b"");
        synced(target);
        let mut directory = entry("d", Kind::Directory);
        directory.attributes.mode = 0o300;
        assert_eq!(target.set_attributes(&directory).unwrap(), []);
        assert_eq!(write(target, &file("d/h", 0), b""), [], "into what cannot be listed");
        directory.attributes.mode = 0;
        assert_eq!(target.set_attributes(&directory).unwrap(), []);
        directory.attributes.mode = 0o755;
        assert_eq!(target.set_attributes(&directory).unwrap(), [], "what cannot be opened");

        // Someone else's file: left out, and told of.
        let mut other = file("other", 0);
        other.attributes.uid = 0;
        other.attributes.mode = 0o4755;
        let losses = write(target, &other, b"");
        assert_eq!(losses.iter().map(|loss| loss.what).collect::<Vec<_>>(), ["owner", "setuid"]);
        assert_eq!(root.join("other").metadata().unwrap().mode() & 0o7777, 0o755);
        let device = entry("device", Kind::BlockDevice { major: 1, minor: 1 });
        assert_eq!(target.create_other(&device).unwrap()[0].what, "device");
        let mut locked = file("locked", 0);
        locked.attributes.flags = 0x10 | 0x40;
        locked.attributes.xattrs = vec![xattr("trusted.t", b"")];
        let losses = write(target, &locked, b"");
        assert_eq!(losses.iter().map(|loss| loss.what).collect::<Vec<_>>(), ["xattr", "flags"]);
        let found = seen(&root);
        let found = found.iter().find(|found| found.path == locked.path).unwrap();
        assert_eq!(found.attributes.flags, 0x40, "one refused flag does not take the others along");
    });
    // Asked for all the same: what the system refuses is a loss.
    let options = TargetOptions { owners: Owners::Keep, devices: true, setuid: true };
    each_with(options, |target, root| {
        let mut other = file("other", 0);
        other.attributes.uid = 0;
        other.attributes.mode = 0o4755;
        let losses = write(target, &other, b"");
        assert_eq!(losses.iter().map(|loss| loss.what).collect::<Vec<_>>(), ["owner", "setuid"]);
        assert_eq!(root.join("other").metadata().unwrap().mode() & 0o7777, 0o755);
        let device = entry("device", Kind::BlockDevice { major: 1, minor: 1 });
        assert_eq!(target.create_other(&device).unwrap()[0].what, "device");
    });
}

/// Runs these tests again in a child that has no rights.
#[test]
fn all_of_it_as_a_user() {
    if !root_user() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(directory.path(), open.clone()).unwrap();
    let program = directory.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, open).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
        .arg(&program)
        .arg("target::tests::")
        .env("TMPDIR", directory.path())
        .current_dir(directory.path())
        .output()
        .expect("setpriv, of util-linux, runs the tests as a user");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("a_user_writes_into_what_is_read_only"), "{text}");
}

#[test]
fn a_file_is_parked_and_gone_on_with() {
    each(|target, root| {
        fs::write(root.join("old"), "old").unwrap();
        for (entry, new) in [(file("new", 6), true), (file("old", 6), false)] {
            let begin = || match new {
                true => target.create_file(&entry).unwrap(),
                false => target.replace_file(&entry).unwrap(),
            };
            let before = names(&root);
            drop(begin().park().unwrap());
            assert_eq!(names(&root), before, "what is dropped is taken away");
            let begun = begin();
            begun.write_at(0, b"one").unwrap();
            let begun = begun.park().unwrap().resume().unwrap();
            begun.write_at(3, b"two").unwrap();
            begun.finish(&entry).unwrap();
            synced(target);
            assert_eq!(fs::read(root.join(entry.path.to_string())).unwrap(), b"onetwo");
        }
        let entry = file("swapped", 3);
        let parked = target.create_file(&entry).unwrap().park().unwrap();
        fs::remove_file(root.join("swapped")).unwrap();
        fs::write(root.join("victim"), "untouched").unwrap();
        symlink("victim", root.join("swapped")).unwrap();
        assert_eq!(kind_of(parked.resume()), TargetErrorKind::WrongKind);
        assert_eq!(fs::read(root.join("victim")).unwrap(), b"untouched");
    });
}

#[test]
fn notes_are_read_back_and_leave_no_name() {
    each(|target, root| {
        let scratch = target.scratch().unwrap();
        let mut at = Vec::new();
        for number in 0..300_000u32 {
            at.push(scratch.append(&number.to_le_bytes()).unwrap());
        }
        for number in [0, 1, 77_777, 299_999] {
            let mut read = [0; 4];
            assert_eq!(scratch.read_at(at[number], &mut read).unwrap(), 4);
            assert_eq!(u32::from_le_bytes(read), number as u32);
        }
        assert_eq!(scratch.read_at(at[299_999] + 2, &mut [0; 4]).unwrap(), 2);
        assert_eq!(names(&root), [""; 0]);
    });
}

#[test]
fn what_another_run_left_is_told_from_what_this_one_makes() {
    let directory = TempDir::new().unwrap();
    let open = || Target::open(directory.path(), TargetOptions::default()).unwrap();
    let (one, other) = (open(), open());
    let name = one.temporary();
    assert!(is_temporary(&name) && !one.is_leftover(&name));
    assert!(other.is_leftover(&name));
    assert!(!other.is_leftover(b"document"));
}
