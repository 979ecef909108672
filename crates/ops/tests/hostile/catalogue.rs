//! The hostile manifests, and what is to become of each.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::{FileTypeExt, MetadataExt, symlink},
    path::Path,
};

use drover_ops::RestoreOptions;
use drover_source::target::{Owners, TargetOptions};
use drover_types::{ChunkId, ChunkKind, ChunkRef, Extent};

use super::rogue::{Form, Lies, Raw, Rogue, dir, file, link, name_of, other};

/// What becomes of a manifest.
pub enum Expected {
    /// The restore ends with an error that says this.
    Refused(&'static str),
    /// It ends well, with exceptions of exactly these paths.
    Excepted(&'static [&'static str]),
    /// It ends well, and nothing is left out.
    Landed,
    /// Either, as the file system likes.
    Harmless,
}
use Expected::{Excepted, Harmless, Landed, Refused};

/// Makes a manifest; is given the path of the directory outside.
type Build = fn(&mut Rogue, &str) -> Vec<Raw>;
/// Is given the target and the directory outside.
type Look = fn(&Path, &Path);

/// One of the catalogue.
pub struct Case {
    pub name: &'static str,
    pub build: Build,
    pub expected: Expected,
    /// Where it is another for a user.
    pub as_user: Option<Expected>,
    /// What was restored there before.
    pub first: Option<Build>,
    /// What somebody else put into the target.
    pub plant: Option<Look>,
    pub check: Option<Look>,
    /// What is planted is a further name of a file outside.
    pub shared: bool,
    pub below: &'static str,
    pub options: RestoreOptions,
}

impl Case {
    fn user(self, expected: Expected) -> Self {
        Self { as_user: Some(expected), ..self }
    }
    fn after(self, first: Build) -> Self {
        Self { first: Some(first), ..self }
    }
    fn planted(mut self, plant: Look) -> Self {
        self.options.overwrite = true;
        Self { plant: Some(plant), ..self }
    }
    fn shared(self) -> Self {
        Self { shared: true, ..self }
    }
    fn check(self, check: Look) -> Self {
        Self { check: Some(check), ..self }
    }
    fn delete(mut self) -> Self {
        self.options.delete = true;
        self
    }
    fn below(self, below: &'static str) -> Self {
        Self { below, ..self }
    }
    fn only(mut self, owners: Owners, devices: bool, setuid: bool) -> Self {
        self.options.target = TargetOptions { owners, devices, setuid };
        self
    }
}

fn case(name: &'static str, expected: Expected, build: Build) -> Case {
    Case {
        name,
        build,
        expected,
        as_user: None,
        first: None,
        plant: None,
        check: None,
        shared: false,
        below: "",
        options: RestoreOptions::default(),
    }
}

/// Below a root of its own.
fn tree(entries: impl IntoIterator<Item = Raw>) -> Vec<Raw> {
    std::iter::once(dir("")).chain(entries).collect()
}

fn xattr(entry: Raw, name: &[u8], value: &[u8]) -> Raw {
    Raw { xattrs: vec![(name.to_vec(), value.to_vec())], ..entry }
}

fn hole(len: u64) -> Extent {
    Extent::Hole(len)
}

fn nowhere(len: u32) -> ChunkRef {
    ChunkRef { id: ChunkId([7; 32]), len }
}

/// Zeros, as zstd stores them.
fn bomb(len: u64) -> Vec<u8> {
    zstd::encode_all(io::repeat(0).take(len), 1).unwrap()
}

/// Sizes and times like those of the file outside.
fn like_guard(r: &mut Rogue, mode: u64) -> Vec<Raw> {
    tree([Raw { mode, links: 2, ..r.content("f", b"12345") }])
}

/// Another name of the file outside in place of `f`, with the time that `f` had.
fn another_name_of_the_same_time(target: &Path, guard: &Path) {
    let old = fs::metadata(target.join("f")).unwrap().modified().unwrap();
    fs::File::open(guard.join("file")).unwrap().set_modified(old).unwrap();
    replace_by(target, "f", |at| fs::hard_link(guard.join("file"), at).unwrap());
}

fn replace_by(target: &Path, name: &str, put: impl FnOnce(&Path)) {
    let path = target.join(name);
    match fs::symlink_metadata(&path) {
        Ok(there) if there.is_dir() => fs::remove_dir_all(&path).unwrap(),
        Ok(_) => fs::remove_file(&path).unwrap(),
        Err(_) => {}
    }
    put(&path);
}

/// A capability as the kernel stores it: CAP_NET_BIND_SERVICE, effective.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

pub fn cases() -> Vec<Case> {
    [components(), parents(), links(), kinds(), attributes(), names(), contents(), layouts()]
        .into_iter()
        .flatten()
        .collect()
}

fn components() -> Vec<Case> {
    const NO: Expected = Refused("a path is not allowed");
    let deepest: &'static [&'static str] = Box::leak(Box::new([&*deep(100_000).leak()]));
    vec![
        case("..", NO, |_, _| tree([dir("..")])),
        case("../guard/file", NO, |_, _| tree([file("../guard/file")])),
        case("a/../../guard/file", NO, |_, _| tree([dir("a"), file("a/../../guard/file")])),
        case("a/..", NO, |_, _| tree([dir("a"), dir("a/..")])),
        case(".", NO, |_, _| tree([dir(".")])),
        case("a/./b", NO, |_, _| tree([dir("a"), file("a/./b")])),
        case("an empty component", NO, |_, _| tree([dir("a"), file("a//b")])),
        case("a slash at the end", NO, |_, _| tree([dir("a/")])),
        case("a slash alone", NO, |_, _| tree([dir("/")])),
        case("an absolute path", NO, |_, aim| tree([file(format!("{aim}/file"))])),
        case("an absolute directory", NO, |_, aim| tree([dir(aim)])),
        case("NUL within a name", NO, |_, _| tree([file("a\0b")])),
        case("NUL before what follows", NO, |_, _| tree([file("\0/../guard/file")])),
        case("a name of 256 bytes", NO, |_, _| tree([file([b'n'; 256])])),
        case("a name of 255 bytes", Landed, |_, _| tree([file([b'n'; 255])])),
        case("a path of 2 MiB", Refused("is over the bound"), |_, _| {
            tree([file("d/".repeat(1 << 20) + "f")])
        }),
        case("a first entry outside", NO, |_, _| vec![file("../guard/file")]),
        case("the mark's name", Excepted(&[".drover-restore"]), |r, _| {
            tree([r.content(".drover-restore", b"junk")])
        }),
        case(
            "the mark's name as a directory",
            Excepted(&[".drover-restore", ".drover-restore/f"]),
            |_, _| tree([dir(".drover-restore"), file(".drover-restore/f")]),
        ),
        case("the mark's name as a link", Excepted(&[".drover-restore"]), |_, aim| {
            tree([link(".drover-restore", format!("{aim}/file"))])
        }),
        case("a temporary name", Landed, |_, _| tree([file(".drover-restore-1-1")])),
        case("100,000 components", Excepted(deepest), |_, _| tree([file(deep(100_000))])),
        case("2,500 directories deep", Landed, |_, _| {
            tree((1..2500).map(|n| dir(deep(n))).chain([file(deep(2500))]))
        }),
    ]
}

/// A path of this many components.
fn deep(components: usize) -> String {
    vec!["d"; components].join("/")
}

fn parents() -> Vec<Case> {
    vec![
        case("a child below a link", Excepted(&["a/file"]), |_, aim| {
            tree([link("a", aim), file("a/file")])
        })
        .check(|target, _| assert!(target.join("a").is_symlink())),
        case("a directory below a link", Excepted(&["a/d", "a/d/file"]), |_, aim| {
            tree([link("a", aim), dir("a/d"), file("a/d/file")])
        }),
        case("a link below a link", Excepted(&["a/new"]), |_, aim| {
            tree([link("a", aim), link("a/new", "/etc/passwd")])
        }),
        case("a FIFO below a link", Excepted(&["a/new"]), |_, aim| {
            tree([link("a", aim), other(3, "a/new", (0, 0))])
        }),
        case("a child below a link upwards", Excepted(&["a/guard/file"]), |_, _| {
            tree([link("a", ".."), file("a/guard/file")])
        }),
        case("a link and a directory of one name", Refused("not in order"), |_, aim| {
            tree([link("a", aim), dir("a"), file("a/file")])
        }),
        case("a directory and a link of one name", Refused("not in order"), |_, aim| {
            tree([dir("a"), link("a", aim), file("a/file")])
        }),
        case("a child before the link", Refused("not in order"), |_, aim| {
            tree([file("a/file"), link("a", aim)])
        }),
        case("the link in another block, after", Refused("not in order"), |r, aim| {
            r.lies = Lies { split: true, ..Lies::default() };
            tree([file("a/file"), link("a", aim)])
        }),
        case("the link in another block, before", Excepted(&["a/file"]), |r, aim| {
            r.lies = Lies { split: true, ..Lies::default() };
            tree([link("a", aim), file("a/file")])
        }),
        case("a link in place of a directory", Landed, |_, _| tree([dir("a"), file("a/new")]))
            .planted(|target, guard| symlink(guard, target.join("a")).unwrap())
            .check(|target, _| assert!(target.join("a/new").is_file())),
        case("a link on the way, not in the manifest", Excepted(&["a/new"]), |_, _| {
            tree([file("a/new")])
        })
        .planted(|target, guard| symlink(guard, target.join("a")).unwrap()),
        case("a link in place of a landed directory", Landed, |_, _| {
            tree([dir("a"), file("a/file")])
        })
        .after(|_, _| tree([dir("a"), file("a/file"), file("a/old")]))
        .planted(|target, guard| replace_by(target, "a", |at| symlink(guard, at).unwrap()))
        .delete(),
        case("what a link leads to is not removed", Landed, |_, _| tree([]))
            .after(|_, _| tree([dir("a"), file("a/file")]))
            .planted(|target, guard| replace_by(target, "a", |at| symlink(guard, at).unwrap()))
            .delete()
            .check(|target, _| assert!(!target.join("a").is_symlink())),
        case("a link in place of a file", Landed, |r, _| tree([r.content("f", b"new")]))
            .planted(|target, guard| symlink(guard.join("file"), target.join("f")).unwrap())
            .check(|target, _| assert_eq!(fs::read(target.join("f")).unwrap(), b"new")),
        case("a link in place of a FIFO", Landed, |_, _| tree([other(3, "f", (0, 0))]))
            .planted(|target, guard| symlink(guard.join("file"), target.join("f")).unwrap()),
        case("a link in place of the mark", Harmless, |_, _| tree([file("f")])).planted(
            |target, guard| {
                symlink(guard.join("file"), target.join(".drover-restore")).unwrap();
            },
        ),
        case("another name of the file outside, other content", Landed, |r, _| {
            tree([r.content("f", b"new content")])
        })
        .after(|r, _| tree([r.content("f", b"12345")]))
        .planted(|target, guard| {
            replace_by(target, "f", |at| fs::hard_link(guard.join("file"), at).unwrap());
        })
        .shared(),
        case("another name of the file outside, other mode", Landed, |r, _| like_guard(r, 0o4777))
            .user(Excepted(&["f"]))
            .after(|r, _| like_guard(r, 0o600))
            .planted(another_name_of_the_same_time)
            .shared(),
        case("another name of a file outside, as it is, gets names", Landed, |r, _| {
            let mut entries = like_guard(r, 0o640);
            entries.push(Raw { mode: 0o640, ..name_of("g", "f") });
            entries[2].form = entries[1].form.clone();
            (entries[2].size, entries[2].hash) = (5, entries[1].hash);
            entries
        })
        .after(|r, _| like_guard(r, 0o600))
        .planted(another_name_of_the_same_time)
        .shared(),
        case("a FIFO in place of a file", Landed, |r, _| tree([r.content("f", b"new")]))
            .after(|r, _| tree([r.content("f", b"old")]))
            .planted(|target, _| {
                replace_by(target, "f", |at| {
                    let mode = rustix::fs::Mode::RWXU;
                    let fifo = rustix::fs::FileType::Fifo;
                    rustix::fs::mknodat(rustix::fs::CWD, at, fifo, mode, 0).unwrap();
                });
            }),
        case("a file that is a parent", Excepted(&["a/b"]), |_, _| tree([file("a"), file("a/b")])),
        case("a FIFO that is a parent", Excepted(&["a/b"]), |_, _| {
            tree([other(3, "a", (0, 0)), dir("a/b")])
        }),
        case("a parent that is missing", Excepted(&["a/b"]), |_, _| tree([file("a/b")])),
        case("the root is a file", Excepted(&[""]), |r, _| vec![r.content("", b"root")]),
        case("the root is a link", Excepted(&[""]), |_, aim| vec![link("", aim), file("file")]),
        case("the root is a link, below it restored", Landed, |_, aim| {
            vec![link("", aim), dir("d"), file("d/file")]
        })
        .below("d"),
        case("below a link", Landed, |_, aim| tree([link("d", aim), file("d/file")]))
            .below("d/file"),
        case("no entry at all", Refused("the snapshot has no"), |_, _| vec![]),
        case("no root", Landed, |_, _| vec![dir("a"), file("a/b")]),
    ]
}

fn links() -> Vec<Case> {
    vec![
        case("a name of what is outside", Refused("a path is not allowed"), |_, _| {
            tree([name_of("z", "../guard/file")])
        }),
        case("a name of an absolute path", Refused("a path is not allowed"), |_, aim| {
            tree([name_of("z", format!("{aim}/file"))])
        }),
        case("a name through a link", Excepted(&["z"]), |_, aim| {
            tree([link("a", aim), name_of("z", "a/file")])
        }),
        case("a name of a link outwards", Excepted(&["z"]), |_, aim| {
            tree([Raw { links: 2, ..link("a", format!("{aim}/file")) }, name_of("z", "a")])
        }),
        case("a name of what is not there", Excepted(&["z"]), |_, _| tree([name_of("z", "a")]))
            .check(|target, _| assert!(target.join("z").is_file())),
        case("a name of what this run did not make", Excepted(&["z"]), |_, _| {
            tree([name_of("z", "a")])
        })
        .planted(|target, _| fs::write(target.join("a"), "there before").unwrap())
        .check(|target, _| assert_eq!(fs::metadata(target.join("z")).unwrap().len(), 0)),
        case("a name of a planted name of what is outside", Excepted(&["z"]), |_, _| {
            tree([name_of("z", "a")])
        })
        .planted(|target, guard| fs::hard_link(guard.join("file"), target.join("a")).unwrap()),
        case("a name of a directory", Excepted(&["z"]), |_, _| {
            tree([Raw { links: 2, ..dir("d") }, name_of("z", "d")])
        }),
        case("a name of a later entry", Refused("does not follow its first name"), |_, _| {
            tree([name_of("a", "z"), file("z")])
        }),
        case("a name of itself", Refused("does not follow its first name"), |_, _| {
            tree([name_of("a", "a")])
        }),
        case("a directory with another name", Refused("does not follow"), |_, _| {
            tree([dir("a"), Raw { hard_link: b"a".to_vec(), ..dir("b") }])
        }),
        case("a chain of names", Landed, |_, _| {
            tree([Raw { links: 3, ..file("a") }, name_of("b", "a"), name_of("c", "b")])
        })
        .check(|target, _| assert_eq!(fs::metadata(target.join("a")).unwrap().nlink(), 3)),
        case("a name of a file of one name", Excepted(&["z"]), |_, _| {
            tree([file("a"), name_of("z", "a")])
        }),
        case("4 G names", Landed, |_, _| tree([Raw { links: u32::MAX.into(), ..file("a") }])),
        case("a name of a file that was excepted", Excepted(&["a", "b"]), |r, _| {
            let lost = r.extents("a", 5, &[Extent::Chunk(nowhere(5))]);
            tree([
                Raw { links: 2, ..lost.clone() },
                Raw { hard_link: b"a".to_vec(), path: b"b".to_vec(), ..lost },
            ])
        }),
        case("a name of a FIFO, as a file", Excepted(&["z"]), |_, _| {
            tree([Raw { links: 2, ..other(3, "a", (0, 0)) }, name_of("z", "a")])
        }),
    ]
}

fn kinds() -> Vec<Case> {
    fn no_device(target: &Path, _: &Path) {
        assert!(fs::symlink_metadata(target.join("d")).is_err());
    }
    let not_asked = |case: Case| case.only(Owners::Ignore, false, false).check(no_device);
    vec![
        case("a character device", Landed, |_, _| tree([other(5, "d", (1, 3))]))
            .user(Excepted(&["d"])),
        case("a block device", Landed, |_, _| tree([other(6, "d", (8, 0))])).user(Excepted(&["d"])),
        not_asked(case("a block device that nobody asked for", Excepted(&["d"]), |_, _| {
            tree([other(6, "d", (8, 0))])
        })),
        not_asked(case("/dev/mem that nobody asked for", Excepted(&["d"]), |_, _| {
            tree([other(5, "d", (1, 1))])
        })),
        case("a device of numbers that wrap", Excepted(&["d"]), |_, _| {
            tree([other(5, "d", (0x8000_0001, 0x0100_0003))])
        })
        .check(no_device),
        case("a device of numbers beyond 32 bits", Refused("canonical"), |_, _| {
            tree([other(5, "d", (1 << 32, 3))])
        }),
        case("a FIFO", Landed, |_, _| tree([other(3, "f", (0, 0))])).check(|target, _| {
            let kind = fs::symlink_metadata(target.join("f")).unwrap().file_type();
            assert!(kind.is_fifo());
        }),
        case("a socket", Landed, |_, _| tree([other(4, "s", (0, 0))])),
        case("a kind that there is not", Refused("unknown kind"), |_, _| {
            tree([other(7, "d", (0, 0))])
        }),
        case("a link to nothing", Excepted(&["l"]), |_, _| tree([link("l", "")])),
        case("a link with NUL", Excepted(&["l"]), |_, _| tree([link("l", "a\0b")])),
        case("a link of 4,097 bytes", Refused("is over the bound"), |_, _| {
            tree([link("l", [b'x'; 4097])])
        }),
        case("an absolute link", Landed, |_, aim| tree([link("l", format!("{aim}/file"))])),
    ]
}

fn attributes() -> Vec<Case> {
    fn mode(target: &Path) -> u32 {
        fs::metadata(target.join("f")).unwrap().mode() & 0o7777
    }
    vec![
        case("setuid", Landed, |_, _| tree([Raw { mode: 0o4755, ..file("f") }]))
            .user(Excepted(&["f"]))
            .check(|target, _| {
                let root = rustix::process::geteuid().is_root();
                assert_eq!(mode(target), if root { 0o4755 } else { 0o755 });
            }),
        case("setuid that nobody asked for", Excepted(&["f"]), |_, _| {
            tree([Raw { mode: 0o6755, ..file("f") }])
        })
        .only(Owners::Ignore, false, false)
        .check(|target, _| assert_eq!(mode(target), 0o755)),
        case("setuid for an owner that was not set", Excepted(&["f"]), |_, _| {
            tree([Raw { mode: 0o4755, uid: 0, gid: 12345, ..file("f") }])
        })
        .only(Owners::Ignore, false, true)
        .check(|target, _| assert_eq!(mode(target) & 0o2000, 0)),
        case("setgid for a group that was not set", Excepted(&["f"]), |_, _| {
            tree([Raw { mode: 0o2755, gid: 12345, ..file("f") }])
        })
        .only(Owners::Ignore, false, true)
        .check(|target, _| assert_eq!(mode(target), 0o755)),
        case("a file's capability", Landed, |_, _| {
            tree([xattr(file("f"), b"security.capability", &CAPABILITY)])
        })
        .user(Excepted(&["f"])),
        case("a capability that nobody asked for", Excepted(&["f"]), |_, _| {
            tree([xattr(file("f"), b"security.capability", &CAPABILITY)])
        })
        .only(Owners::Ignore, false, false)
        .check(|target, _| {
            let mut room = [0u8; 64];
            let got = rustix::fs::getxattr(target.join("f"), "security.capability", &mut room[..]);
            assert!(got.is_err(), "it may do what nobody gave it");
        }),
        case("a capability of no sense", Excepted(&["f"]), |_, _| {
            tree([xattr(file("f"), b"security.capability", b"all of them")])
        }),
        case("trusted attributes", Landed, |_, _| {
            tree([xattr(file("f"), b"trusted.overlay.redirect", b"../../guard")])
        })
        .user(Excepted(&["f"])),
        case("a label", Harmless, |_, _| {
            tree([xattr(file("f"), b"security.selinux", b"system_u:object_r:shadow_t:s0\0")])
        }),
        case("an integrity attribute", Harmless, |_, _| {
            tree([xattr(file("f"), b"security.ima", b"\x01junk")])
        }),
        case("an ACL of no sense", Excepted(&["f"]), |_, _| {
            tree([xattr(file("f"), b"system.posix_acl_access", b"\x02\0\0\0junk")])
        }),
        case("an ACL of 1 MiB", Excepted(&["f"]), |_, _| {
            let mut acl = 2u32.to_le_bytes().to_vec();
            acl.resize(1 << 19, 1);
            tree([xattr(file("f"), b"system.posix_acl_access", &acl)])
        }),
        case("a default ACL on a file", Harmless, |_, _| {
            tree([xattr(file("f"), b"system.posix_acl_default", b"\x02\0\0\0")])
        }),
        case("an attribute of no namespace", Excepted(&["f"]), |_, _| {
            tree([xattr(file("f"), b"name", b"value")])
        }),
        case("an attribute of a name too long", Excepted(&["f"]), |_, _| {
            tree([xattr(file("f"), &[b"user.".as_slice(), &[b'x'; 300]].concat(), b"")])
        }),
        case("an attribute that the file system has no room for", Harmless, |_, _| {
            tree([xattr(file("f"), b"user.large", &vec![1; 60_000])])
        }),
        case("attributes over 1 MiB", Refused("is over the bound"), |_, _| {
            tree([xattr(file("f"), b"user.large", &vec![1; 1 << 20])])
        }),
        case("4 G attributes", Refused("is over the bound"), |_, _| {
            tree([Raw { xattr_count: Some(1 << 32), ..file("f") }])
        }),
        case("half a million attributes that are not there", Refused("too early"), |_, _| {
            tree([Raw { xattr_count: Some(500_000), ..file("f") }])
        }),
        case("an attribute without a name", Refused("is not allowed"), |_, _| {
            tree([xattr(file("f"), b"", b"value")])
        }),
        case("an attribute with NUL in its name", Refused("is not allowed"), |_, _| {
            tree([xattr(file("f"), b"user.\0", b"value")])
        }),
        case("an attribute twice", Refused("not in order"), |_, _| {
            let one = (b"user.a".to_vec(), b"1".to_vec());
            tree([Raw { xattrs: vec![one.clone(), one], ..file("f") }])
        }),
        case("another owner", Landed, |_, _| tree([Raw { uid: 12345, gid: 54321, ..file("f") }]))
            .user(Excepted(&["f"])),
        case("the owner that is none", Excepted(&["f"]), |_, _| {
            tree([Raw { uid: u32::MAX.into(), gid: u32::MAX.into(), ..file("f") }])
        }),
        case("an owner beyond 32 bits", Refused("canonical"), |_, _| {
            tree([Raw { uid: 1 << 32, ..file("f") }])
        }),
        case("an owner by a name of ours", Landed, |_, _| {
            tree([Raw { user: b"root".to_vec(), ..file("f") }])
        })
        .only(Owners::ByName, false, false)
        .user(Excepted(&["f"])),
        case("an owner's name of 257 bytes", Refused("is over the bound"), |_, _| {
            tree([Raw { user: vec![b'u'; 257], ..file("f") }])
        }),
        case("an owner's name of no text", Refused("UTF-8"), |_, _| {
            tree([Raw { user: b"\xff".to_vec(), ..file("f") }])
        }),
        case("mode bits beyond twelve", Refused("unknown bits"), |_, _| {
            tree([Raw { mode: 0o104_755, ..file("f") }])
        }),
        case("the end of time", Excepted(&["f"]), |_, _| {
            tree([Raw { mtime: (i64::MAX, 999_999_999), ..file("f") }])
        }),
        case("the beginning of time", Excepted(&["f"]), |_, _| {
            tree([Raw { mtime: (i64::MIN, 0), ..file("f") }])
        }),
        case("a fraction of more than a second", Refused("more than a second"), |_, _| {
            tree([Raw { mtime: (0, 1_000_000_000), ..file("f") }])
        }),
        // Nanoseconds that would mean "now" to the kernel.
        case("a fraction with a meaning", Refused("more than a second"), |_, _| {
            tree([Raw { mtime: (0, 0x3fff_ffff), ..file("f") }])
        }),
        // All but immutable and append-only, which nobody could clear away.
        case("all file flags", Harmless, |_, _| {
            tree([Raw { flags: u64::from(!0x30u32), ..file("f") }])
        }),
        case("file flags beyond 32 bits", Refused("canonical"), |_, _| {
            tree([Raw { flags: 1 << 32, ..file("f") }])
        }),
        case("a stale entry", Landed, |_, _| tree([Raw { side_flags: 1, ..file("f") }])),
        case("all flags of the side", Refused("unknown flags"), |_, _| {
            tree([Raw { side_flags: 0xff, ..file("f") }])
        }),
    ]
}

fn names() -> Vec<Case> {
    vec![
        case("case twins", Landed, |r, _| {
            tree([r.content("README", b"1"), r.content("readme", b"2")])
        })
        .check(|target, _| {
            assert_eq!(fs::read(target.join("README")).unwrap(), b"1");
            assert_eq!(fs::read(target.join("readme")).unwrap(), b"2");
        }),
        case("a link and a directory that are case twins", Landed, |_, aim| {
            tree([link("A", aim), dir("a"), file("a/file")])
        }),
        case("normalisation twins", Landed, |r, _| {
            tree([r.content("e\u{301}", b"1"), r.content("\u{e9}", b"2")])
        })
        .check(|target, _| assert_eq!(fs::read(target.join("\u{e9}")).unwrap(), b"2")),
        case("a twin of `..` and `/`", Landed, |_, _| {
            tree([dir("\u{2025}"), file("\u{2025}/f"), file("\u{ff0e}\u{ff0e}\u{2215}guard")])
        }),
        case("a backslash", Landed, |_, _| tree([file("..\\guard\\file")])),
        case("control characters", Landed, |_, _| tree([file("\x1b[2J\r\n\x07")])),
        case("bidirectional characters", Landed, |_, _| tree([file("a\u{202e}gpj.exe")])),
        case("markup", Landed, |_, _| tree([file("<script>alert(1)<"), file("=1+1")])),
        case("bytes that are no text", Landed, |_, _| tree([file(b"\xff\xfe")])),
        case("`~`, `-rf` and `*`", Landed, |_, _| tree([file("*"), file("-rf"), file("~")])),
    ]
}

fn contents() -> Vec<Case> {
    const SUM: Expected = Refused("do not add up");
    vec![
        case("a size over the chunks", SUM, |r, _| {
            let chunk = r.chunk(ChunkKind::Data, b"12345");
            tree([r.extents("f", 6, &[Extent::Chunk(chunk)])])
        }),
        case("a size below the chunks", SUM, |r, _| {
            let chunk = r.chunk(ChunkKind::Data, b"12345");
            tree([r.extents("f", 4, &[Extent::Chunk(chunk)])])
        }),
        case("a size without chunks", SUM, |r, _| tree([r.extents("f", 1 << 40, &[])])),
        case("holes beyond the end", SUM, |r, _| tree([r.extents("f", 10, &[hole(5), hole(6)])])),
        case("holes that overflow", SUM, |r, _| {
            tree([r.extents("f", 4, &[hole(u64::MAX), hole(5)])])
        }),
        case("a hole of nothing", Refused("a hole of no length"), |r, _| {
            tree([r.extents("f", 0, &[hole(0)])])
        }),
        case("a file of 16 EiB", Excepted(&["f"]), |r, _| {
            tree([r.extents("f", u64::MAX, &[hole(u64::MAX)])])
        }),
        case("many files of 16 EiB", Excepted(&["b", "c"]), |r, _| {
            let huge = |r: &mut Rogue, path| r.extents(path, u64::MAX, &[hole(u64::MAX)]);
            tree([r.content("a", b"1"), huge(r, "b"), huge(r, "c")])
        }),
        case("a chunk behind 8 EiB", Excepted(&["f"]), |r, _| {
            let chunk = Extent::Chunk(r.chunk(ChunkKind::Data, b"12345"));
            let far = i64::MAX as u64 - 2;
            tree([r.extents("f", far + 5, &[hole(far), chunk])])
        }),
        case("a file of one chunk without a size", Refused("an impossible size"), |_, _| {
            tree([Raw { form: Form::One, ..file("f") }])
        }),
        case("a file of one chunk of 4 GiB", Refused("an impossible size"), |_, _| {
            tree([Raw { form: Form::One, size: 1 << 32, ..file("f") }])
        }),
        case("a hash of other content", Excepted(&["f"]), |r, _| {
            tree([Raw { hash: [3; 32], ..r.content("f", b"12345") }])
        })
        .check(|target, _| assert!(!target.join("f").exists())),
        case("a chunk that is in no pack", Excepted(&["f"]), |r, _| {
            tree([r.extents("f", 5, &[Extent::Chunk(nowhere(5))])])
        }),
        case("a chunk of another length", Excepted(&["f"]), |r, _| {
            let id = r.chunk(ChunkKind::Data, b"12345").id;
            tree([r.extents("f", 4, &[Extent::Chunk(ChunkRef { id, len: 4 })])])
        }),
        case("a chunk of another kind", Excepted(&["f"]), |r, _| {
            let list = r.list(&[hole(5)]);
            tree([r.extents("f", list.len.into(), &[Extent::Chunk(list)])])
        }),
        case("a chunk of no length", Refused("a chunk of no length"), |r, _| {
            tree([r.extents("f", 0, &[Extent::Chunk(nowhere(0))])])
        }),
        case("a chunk over 8 MiB", Refused("is over the bound"), |r, _| {
            tree([r.extents("f", 9 << 20, &[Extent::Chunk(nowhere(9 << 20))])])
        }),
        case("a chunk whose name is another's", Excepted(&["f"]), |r, _| {
            r.frame(ChunkKind::Data, ChunkId([7; 32]), 5, false, b"12345");
            tree([r.extents("f", 5, &[Extent::Chunk(nowhere(5))])])
        }),
        case("a bomb: 1 GiB that says 1 KiB", Excepted(&["f"]), |r, _| {
            r.frame(ChunkKind::Data, ChunkId([7; 32]), 1 << 20, true, &bomb(1 << 30));
            tree([r.extents("f", 1 << 20, &[Extent::Chunk(nowhere(1 << 20))])])
        }),
        case("a bomb: less than it says", Excepted(&["f"]), |r, _| {
            r.frame(ChunkKind::Data, ChunkId([7; 32]), 1 << 20, true, &bomb(1 << 10));
            tree([r.extents("f", 1 << 20, &[Extent::Chunk(nowhere(1 << 20))])])
        }),
        case("a bomb: two frames of zstd", Excepted(&["f"]), |r, _| {
            let two = [bomb(1 << 19), bomb(1 << 19)].concat();
            r.frame(ChunkKind::Data, ChunkId([7; 32]), 1 << 20, true, &two);
            tree([r.extents("f", 1 << 20, &[Extent::Chunk(nowhere(1 << 20))])])
        }),
        case("a bomb in a list", Excepted(&["f"]), |r, _| {
            r.frame(ChunkKind::ExtentList, ChunkId([7; 32]), 1 << 20, true, &bomb(1 << 30));
            tree([Raw { form: Form::Lists(1, vec![nowhere(1 << 20)]), size: 5, ..file("f") }])
        }),
        case("a bomb for a block", Refused("cannot be read"), |r, _| {
            r.frame(ChunkKind::ManifestBlock, ChunkId([7; 32]), 1 << 20, true, &bomb(1 << 30));
            r.lies.block = Some(nowhere(1 << 20));
            tree([])
        }),
        case("4 G extents", Refused("is over the bound"), |_, _| {
            tree([Raw { form: Form::InlineCount(1 << 32), ..file("f") }])
        }),
        case("1,024 extents that are not there", Refused("too early"), |_, _| {
            tree([Raw { form: Form::InlineCount(1024), ..file("f") }])
        }),
        case("lists of level 0", Refused("an impossible level"), |_, _| {
            tree([Raw { form: Form::Lists(0, vec![]), ..file("f") }])
        }),
        case("lists of level 9", Refused("an impossible level"), |_, _| {
            tree([Raw { form: Form::Lists(9, vec![nowhere(1)]), ..file("f") }])
        }),
        case("an unknown form", Refused("unknown form"), |_, _| {
            tree([Raw { form: Form::Other(4), ..file("f") }])
        }),
        case("extents of a directory", Refused("without content"), |_, _| {
            tree([Raw { form: Form::Inline(vec![]), ..dir("d") }])
        }),
        case("a list that names itself", Excepted(&["f"]), |r, _| {
            let mut plain = vec![0];
            plain.extend([7; 32]);
            plain.push(34);
            r.frame(ChunkKind::ExtentList, ChunkId([7; 32]), 34, false, &plain);
            tree([Raw { form: Form::Lists(8, vec![nowhere(34)]), size: 5, ..file("f") }])
        }),
        case("a list of data", Excepted(&["f"]), |r, _| {
            let chunk = r.chunk(ChunkKind::Data, b"12345");
            tree([Raw { form: Form::Lists(1, vec![chunk]), size: 5, ..file("f") }])
        }),
        case("a hole among lists", Excepted(&["f"]), |r, _| {
            let list = r.list(&[hole(5)]);
            tree([Raw { form: Form::Lists(2, vec![list]), size: 5, ..file("f") }])
        }),
        case("lists that do not add up", Excepted(&["f"]), |r, _| {
            let list = r.list(&[hole(5)]);
            tree([Raw { form: Form::Lists(1, vec![list, list]), size: 5, ..file("f") }])
        }),
        case("a list with junk behind", Excepted(&["f"]), |r, _| {
            let list = r.chunk(ChunkKind::ExtentList, &[1, 5, 2]);
            tree([Raw { form: Form::Lists(1, vec![list]), size: 5, ..file("f") }])
        }),
        case("a list of millions of holes", Excepted(&["f"]), |r, _| {
            let list = r.list(&vec![hole(1); 1_000_000]);
            let lists = vec![list; 1024];
            tree([Raw { form: Form::Lists(1, lists), size: 1_024_000_000, ..file("f") }])
        }),
        case("lists of lists of lists", Excepted(&["f"]), |r, _| {
            let mut list = r.list(&vec![hole(1); 100_000]);
            let mut size = 100_000u64;
            for _ in 0..7 {
                list = r.list(&[Extent::Chunk(list); 100]);
                size = size.saturating_mul(100);
            }
            tree([Raw { form: Form::Lists(8, vec![list]), size, ..file("f") }])
        }),
        case("lists of lists, of nothing", Excepted(&["f"]), |r, _| {
            let mut list = r.list(&[hole(1)]);
            for _ in 0..7 {
                list = r.list(&vec![Extent::Chunk(list); 20_000]);
            }
            tree([Raw { form: Form::Lists(8, vec![list]), size: 1 << 60, ..file("f") }])
        }),
    ]
}

fn layouts() -> Vec<Case> {
    fn lie(r: &mut Rogue, lies: Lies) -> Vec<Raw> {
        r.lies = lies;
        tree([file("f")])
    }
    vec![
        case("a duplicate", Refused("not in order"), |_, _| tree([file("a"), file("a")])),
        case("an order by bytes, not by components", Refused("not in order"), |_, _| {
            tree([dir("a"), file("a.b"), file("a/b")])
        }),
        case("a leaf of another version", Refused("unknown version"), |_, _| {
            tree([Raw { version: 2, ..file("f") }])
        }),
        case("a leaf with junk behind", Refused("left over"), |_, _| {
            tree([Raw { trailing: vec![0], ..file("f") }])
        }),
        case("a block of 4 G entries", Refused("not the one its list names"), |r, _| {
            lie(r, Lies { block_entries: Some(1 << 32), ..Lies::default() })
        }),
        case("a list of 4 G blocks", Refused("is over the bound"), |r, _| {
            lie(r, Lies { blocks: Some(1 << 32), ..Lies::default() })
        }),
        case("a list of fewer blocks", Refused("left over"), |r, _| {
            lie(r, Lies { blocks: Some(0), ..Lies::default() })
        }),
        case("a root of 4 G lists", Refused("is over the bound"), |r, _| {
            lie(r, Lies { lists: Some(1 << 32), ..Lies::default() })
        }),
        case("a snapshot of 4 G entries", Refused("another number of entries"), |r, _| {
            lie(r, Lies { entries: Some(1 << 32), ..Lies::default() })
        }),
        case("a block of another Merkle root", Refused("another Merkle root"), |r, _| {
            lie(r, Lies { block_root: true, ..Lies::default() })
        }),
        case("a manifest of another Merkle root", Refused("another Merkle root"), |r, _| {
            lie(r, Lies { root: true, ..Lies::default() })
        }),
        case("a snapshot of 16 EiB and as many entries", Landed, |r, _| {
            lie(r, Lies { totals: Some(u64::MAX), ..Lies::default() })
        }),
        case("a block that is another's chunk", Refused("cannot be read"), |r, _| {
            let chunk = r.chunk(ChunkKind::Data, b"12345");
            lie(r, Lies { block: Some(chunk), ..Lies::default() })
        }),
        case("a block in no pack", Refused("cannot be read"), |r, _| {
            lie(r, Lies { block: Some(nowhere(5)), ..Lies::default() })
        }),
    ]
}
