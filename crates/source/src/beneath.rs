//! Opening below a directory, and nowhere else.
//!
//! Both sides of a migration need this: the source's tree changes while it is read, and the
//! target's may be in other hands. A path that was checked as text proves nothing once a
//! component is swapped for a symlink, so the kernel is asked to resolve it without following
//! any (`openat2` with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS`, Linux
//! 5.6). Where it cannot, the path is walked by descriptors, one component at a time, each
//! opened with `O_NOFOLLOW`; that gives the same answer with more system calls. Mount points
//! are crossed either way.
//!
//! Paths longer than `PATH_MAX` are opened in pieces, each relative to the one before.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::OnceLock,
};

use drover_types::RelativePath;
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, openat, openat2, statat},
    io::{Errno, retry_on_intr},
};

/// The longest path that is given to the kernel at once, in bytes: `PATH_MAX` less the NUL.
const PIECE: usize = 4095;

/// How often a resolution is tried that a rename elsewhere disturbed, before it is walked.
const TRIES: usize = 32;

/// What stays of the flags beside `O_PATH`, which `openat` ignores and `openat2` refuses.
const WITH_PATH: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// For a directory that is only stepped through.
const STEP: OFlags = WITH_PATH;

/// A directory that nothing is opened outside of.
#[derive(Debug)]
pub struct Beneath {
    root: OwnedFd,
    openat2: bool,
}

impl Beneath {
    /// The directory at `root`. The way to it may hold symlinks: it is the operator's word.
    pub fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self::from_fd(retry_on_intr(|| openat(CWD, root, flags, Mode::empty()))?))
    }

    /// The directory that `root` is open on.
    pub fn from_fd(root: OwnedFd) -> Self {
        Self { root, openat2: kernel_has_openat2() }
    }

    /// The same, walking by descriptors even where the kernel could resolve the path itself.
    pub fn without_openat2(self) -> Self {
        Self { openat2: false, ..self }
    }

    /// The directory itself.
    pub fn root_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens `path`; the empty path opens the root anew. `O_CLOEXEC` and `O_NOFOLLOW` are added.
    ///
    /// A symlink on the way is `ELOOP`. At the end it is `ELOOP` too, `ENOTDIR` if a directory
    /// was asked for, and itself under `O_PATH`.
    pub fn open_at(&self, path: &RelativePath, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let mut flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        if flags.contains(OFlags::PATH) {
            flags &= WITH_PATH;
        }
        let creates = flags.intersects(OFlags::CREATE) || flags.contains(OFlags::TMPFILE);
        let mode = if creates { mode } else { Mode::empty() };

        let mut rest = path.as_bytes();
        if rest.is_empty() {
            return open_name(self.root_fd(), b".", flags, mode);
        }
        let mut stepped: Option<OwnedFd> = None;
        while rest.len() > PIECE {
            let (head, tail) = split_piece(rest);
            let from = stepped.as_ref().map_or(self.root_fd(), AsFd::as_fd);
            stepped = Some(self.resolve(from, head, STEP, Mode::empty())?);
            rest = tail;
        }
        let from = stepped.as_ref().map_or(self.root_fd(), AsFd::as_fd);
        self.resolve(from, rest, flags, mode)
    }

    /// The directory that holds `path`, open with `O_PATH`, and the name in it. For the root:
    /// the root and `.`.
    pub fn parent_of<'a>(&self, path: &'a RelativePath) -> io::Result<(OwnedFd, &'a [u8])> {
        match path.parent() {
            None => Ok((self.open_at(path, STEP, Mode::empty())?, b".")),
            Some(parent) => Ok((self.open_at(&parent, STEP, Mode::empty())?, path.name())),
        }
    }

    /// Opens a path of at most [`PIECE`] bytes below `from`.
    fn resolve(
        &self,
        from: BorrowedFd<'_>,
        path: &[u8],
        flags: OFlags,
        mode: Mode,
    ) -> io::Result<OwnedFd> {
        if self.openat2 {
            let how =
                ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            for _ in 0..TRIES {
                match openat2(from, path, flags, mode, how) {
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    answer => return Ok(answer?),
                }
            }
        }
        let mut at: Option<OwnedFd> = None;
        let mut names = path.split(|&b| b == b'/').peekable();
        while let Some(name) = names.next() {
            let from = at.as_ref().map_or(from, AsFd::as_fd);
            if names.peek().is_none() {
                return open_name(from, name, flags, mode);
            }
            at = Some(open_name(from, name, STEP, Mode::empty()).map_err(|error| {
                if is_symlink(from, name) { Errno::LOOP.into() } else { error }
            })?);
        }
        Err(Errno::NOENT.into())
    }
}

/// Opens one component.
fn open_name(from: BorrowedFd<'_>, name: &[u8], flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    Ok(retry_on_intr(|| openat(from, name, flags, mode))?)
}

fn is_symlink(from: BorrowedFd<'_>, name: &[u8]) -> bool {
    statat(from, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_symlink())
}

/// Cuts a path that is longer than [`PIECE`] at the last `/` that leaves a piece the kernel
/// takes. There is one: a component is at most 255 bytes long.
fn split_piece(path: &[u8]) -> (&[u8], &[u8]) {
    let window = &path[..path.len().min(PIECE + 1)];
    match window.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (path, b""),
    }
}

/// Asked once: kernels before 5.6 and some sandboxes refuse the call.
fn kernel_has_openat2() -> bool {
    static PROBE: OnceLock<bool> = OnceLock::new();
    *PROBE
        .get_or_init(|| openat2(CWD, ".", STEP, Mode::empty(), ResolveFlags::NO_MAGICLINKS).is_ok())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{fstat, mkdirat};

    use super::*;

    fn path(text: &str) -> RelativePath {
        RelativePath::new(text.as_bytes()).unwrap()
    }

    fn both(root: &Path) -> [Beneath; 2] {
        [Beneath::open(root).unwrap(), Beneath::open(root).unwrap().without_openat2()]
    }

    fn errno(result: io::Result<OwnedFd>) -> Option<Errno> {
        Errno::from_io_error(&result.err()?)
    }

    #[test]
    fn symlinks_are_never_followed() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::create_dir(outside.path().join("sub")).unwrap();
        std::fs::write(outside.path().join("sub/secret"), "secret").unwrap();
        let root = tempfile::tempdir().unwrap();
        symlink(outside.path(), root.path().join("out")).unwrap();
        symlink("..", root.path().join("up")).unwrap();
        symlink("real", root.path().join("inner")).unwrap();
        std::fs::create_dir_all(root.path().join("real/sub")).unwrap();

        for beneath in both(root.path()) {
            let read = |text| errno(beneath.open_at(&path(text), OFlags::RDONLY, Mode::empty()));
            assert_eq!(read("out/sub/secret"), Some(Errno::LOOP));
            assert_eq!(read("out/sub"), Some(Errno::LOOP));
            assert_eq!(read("inner/sub"), Some(Errno::LOOP), "not even to the inside");
            assert_eq!(read("up/etc"), Some(Errno::LOOP));
            assert_eq!(read("out"), Some(Errno::LOOP));
            assert_eq!(read("real/none"), Some(Errno::NOENT));
            assert_eq!(read("real/sub"), None);
            assert_eq!(
                errno(beneath.parent_of(&path("out/sub/x")).map(|(fd, _)| fd)),
                Some(Errno::LOOP)
            );
            let directory = OFlags::RDONLY | OFlags::DIRECTORY;
            assert_eq!(
                errno(beneath.open_at(&path("out"), directory, Mode::empty())),
                Some(Errno::NOTDIR)
            );
            let link = beneath.open_at(&path("out"), OFlags::PATH, Mode::empty()).unwrap();
            let mode = fstat(&link).unwrap().st_mode;
            assert!(FileType::from_raw_mode(mode).is_symlink());
        }
    }

    #[test]
    fn the_root_opens_itself() {
        let root = tempfile::tempdir().unwrap();
        for beneath in both(root.path()) {
            let inode = fstat(beneath.root_fd()).unwrap().st_ino;
            let again =
                beneath.open_at(&RelativePath::root(), OFlags::RDONLY, Mode::empty()).unwrap();
            assert_eq!(fstat(again).unwrap().st_ino, inode);
            let root = RelativePath::root();
            let (parent, name) = beneath.parent_of(&root).unwrap();
            assert_eq!((fstat(parent).unwrap().st_ino, name), (inode, &b"."[..]));
        }
    }

    #[test]
    fn paths_longer_than_the_kernel_takes() {
        for length in [1, 10, 255] {
            let root = tempfile::tempdir().unwrap();
            let beneath = Beneath::open(root.path()).unwrap();
            let mut deep = RelativePath::root();
            let mut at = beneath.open_at(&deep, STEP, Mode::empty()).unwrap();
            while deep.as_bytes().len() < 3 * PIECE {
                let name = vec![b'd'; length];
                mkdirat(&at, &name[..], Mode::RWXU).unwrap();
                at = open_name(at.as_fd(), &name, STEP, Mode::empty()).unwrap();
                deep = deep.join(&name).unwrap();
            }
            let inode = fstat(&at).unwrap().st_ino;
            for beneath in both(root.path()) {
                let fd = beneath.open_at(&deep, OFlags::RDONLY, Mode::empty()).unwrap();
                assert_eq!(fstat(fd).unwrap().st_ino, inode);
                let file = deep.join(b"file").unwrap();
                let (parent, name) = beneath.parent_of(&file).unwrap();
                assert_eq!((fstat(parent).unwrap().st_ino, name), (inode, &b"file"[..]));
            }
        }
    }

    #[test]
    fn pieces_join_to_the_path() {
        for length in [1, 2, 13, 254, 255] {
            let component = "c".repeat(length);
            let whole = vec![component; 3 * PIECE / length].join("/");
            let mut rest = whole.as_bytes();
            let mut pieces = Vec::new();
            while rest.len() > PIECE {
                let (head, tail) = split_piece(rest);
                assert!(head.len() <= PIECE && !head.is_empty());
                pieces.push(head);
                rest = tail;
            }
            pieces.push(rest);
            assert_eq!(pieces.join(&b'/'), whole.as_bytes());
        }
    }
}
