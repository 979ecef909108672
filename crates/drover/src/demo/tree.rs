//! Writing a tree whose every attribute is decided, and nothing left to the umask or the clock.

use std::{
    collections::BTreeSet,
    fmt, fs,
    io::{self, Write},
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use jiff::Timestamp;
use rustix::{
    fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags},
    io::Errno,
};

/// What was written, and what else was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// New files; further names of a file are not counted again.
    pub files: u64,
    /// New directories, the root counted.
    pub directories: u64,
    /// New symbolic links.
    pub symlinks: u64,
    /// Further names of files.
    pub hard_links: u64,
    /// Files whose content changed.
    pub changed: u64,
    /// Files and directories that got another name.
    pub renamed: u64,
    /// Files that are gone.
    pub removed: u64,
    /// Bytes that were written as content; holes are not counted.
    pub bytes: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.files, "new files"),
            (self.directories, "new directories"),
            (self.symlinks, "new symbolic links"),
            (self.hard_links, "new hard links"),
            (self.changed, "files changed"),
            (self.renamed, "renamed"),
            (self.removed, "removed"),
        ];
        for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{count} {what}, ")?;
        }
        write!(f, "{:.1} MB written", self.bytes as f64 / 1e6)
    }
}

/// Writes below one root. Paths are relative to it.
pub struct Tree {
    root: PathBuf,
    /// The time that directories get in the end.
    close: Timestamp,
    touched: BTreeSet<PathBuf>,
    summary: Summary,
}

impl Tree {
    /// Writes below `root`, an empty directory.
    pub fn create(root: &Path, close: Timestamp) -> io::Result<Self> {
        let mut tree = Self::open(root, close);
        mode(root, 0o755)?;
        tree.touched.insert(root.to_owned());
        tree.summary.directories += 1;
        Ok(tree)
    }

    /// Writes below `root`, which exists; every directory that is touched is dated `close`.
    pub fn open(root: &Path, close: Timestamp) -> Self {
        Self { root: root.to_owned(), close, touched: BTreeSet::new(), summary: Summary::default() }
    }

    /// A directory with all above it, each rwxr-xr-x where it is new.
    pub fn directory(&mut self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = self.root.join(path);
        let mut missing: Vec<_> =
            path.ancestors().take_while(|above| !above.is_dir()).map(Path::to_owned).collect();
        while let Some(directory) = missing.pop() {
            at(&directory, fs::create_dir(&directory))?;
            mode(&directory, 0o755)?;
            self.touch(&directory);
            self.touched.insert(directory);
            self.summary.directories += 1;
        }
        Ok(())
    }

    /// A new file rw-r--r--, with the directories above it.
    pub fn file(
        &mut self,
        path: impl AsRef<Path>,
        content: &[u8],
        modified: Timestamp,
    ) -> io::Result<()> {
        let path = path.as_ref();
        self.directory(path.parent().unwrap_or(Path::new("")))?;
        let path = self.root.join(path);
        at(&path, fs::File::create_new(&path).and_then(|mut file| file.write_all(content)))?;
        mode(&path, 0o644)?;
        self.summary.files += 1;
        self.written(&path, content.len(), modified)
    }

    /// Other permissions for what is there.
    pub fn mode(&self, path: impl AsRef<Path>, bits: u32) -> io::Result<()> {
        mode(&self.root.join(path), bits)
    }

    /// Other content for a file that is there, in place.
    pub fn rewrite(&mut self, path: &Path, content: &[u8], modified: Timestamp) -> io::Result<()> {
        let path = self.root.join(path);
        at(&path, fs::write(&path, content))?;
        self.summary.changed += 1;
        self.written(&path, content.len(), modified)
    }

    /// A file of `len` bytes that holds `runs` (offset, content) and is a hole elsewhere.
    pub fn sparse(
        &mut self,
        path: impl AsRef<Path>,
        len: u64,
        runs: &[(u64, Vec<u8>)],
        modified: Timestamp,
    ) -> io::Result<()> {
        self.file(&path, &[], modified)?;
        let path = self.root.join(path);
        let file = at(&path, fs::OpenOptions::new().write(true).open(&path))?;
        at(&path, file.set_len(len))?;
        for (offset, content) in runs {
            at(&path, file.write_all_at(content, *offset))?;
        }
        self.written(&path, runs.iter().map(|(_, content)| content.len()).sum(), modified)
    }

    /// Other bytes at one place of a file that is there.
    pub fn patch(
        &mut self,
        path: impl AsRef<Path>,
        offset: u64,
        content: &[u8],
        modified: Timestamp,
    ) -> io::Result<()> {
        let path = self.root.join(path);
        let file = at(&path, fs::OpenOptions::new().write(true).open(&path))?;
        at(&path, file.write_all_at(content, offset))?;
        self.summary.changed += 1;
        self.written(&path, content.len(), modified)
    }

    /// A symbolic link to `target`, wherever that is.
    pub fn symlink(
        &mut self,
        path: impl AsRef<Path>,
        target: &str,
        modified: Timestamp,
    ) -> io::Result<()> {
        let path = self.root.join(path);
        at(&path, std::os::unix::fs::symlink(target, &path))?;
        let time = Timespec { tv_sec: modified.as_second(), tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        let set = rustix::fs::utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW);
        at(&path, set.map_err(io::Error::from))?;
        self.touch(&path);
        self.summary.symlinks += 1;
        Ok(())
    }

    /// A further name for a file.
    pub fn hard_link(&mut self, path: &str, first: &str) -> io::Result<()> {
        let path = self.root.join(path);
        at(&path, fs::hard_link(self.root.join(first), &path))?;
        self.touch(&path);
        self.summary.hard_links += 1;
        Ok(())
    }

    /// Another name for what is there.
    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.root.join(from), self.root.join(to));
        at(&from, fs::rename(&from, &to))?;
        self.touch(&from);
        self.touch(&to);
        self.summary.renamed += 1;
        Ok(())
    }

    /// Removes a file.
    pub fn remove(&mut self, path: &Path) -> io::Result<()> {
        let path = self.root.join(path);
        at(&path, fs::remove_file(&path))?;
        self.touch(&path);
        self.summary.removed += 1;
        Ok(())
    }

    /// An extended attribute, where the file system has them.
    pub fn attribute(&self, path: impl AsRef<Path>, name: &str, value: &str) -> io::Result<()> {
        let path = self.root.join(path);
        match rustix::fs::setxattr(&path, name, value.as_bytes(), XattrFlags::empty()) {
            Err(Errno::NOTSUP) | Ok(()) => Ok(()),
            Err(error) => at(&path, Err(error.into())),
        }
    }

    /// A file as it is.
    pub fn read(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        let path = self.root.join(path);
        at(&path, fs::read(&path))
    }

    /// The regular files below `directory` in the order of their paths, relative to the root.
    pub fn files(&self, directory: &str) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let mut pending = vec![PathBuf::from(directory)];
        while let Some(directory) = pending.pop() {
            let full = self.root.join(&directory);
            for entry in at(&full, fs::read_dir(&full))? {
                let entry = at(&full, entry)?;
                let path = directory.join(entry.file_name());
                let kind = at(&full, entry.file_type())?;
                if kind.is_dir() {
                    pending.push(path);
                } else if kind.is_file() {
                    files.push(path);
                }
            }
        }
        files.sort();
        Ok(files)
    }

    /// Dates the directories, and says what was done.
    pub fn finish(self) -> io::Result<Summary> {
        for directory in self.touched.iter().filter(|path| path.is_dir()) {
            date(directory, self.close)?;
        }
        Ok(self.summary)
    }

    fn written(&mut self, path: &Path, len: usize, modified: Timestamp) -> io::Result<()> {
        date(path, modified)?;
        self.touch(path);
        self.summary.bytes += len as u64;
        Ok(())
    }

    /// The directory above `path` is dated again in the end.
    fn touch(&mut self, path: &Path) {
        if path != self.root
            && let Some(parent) = path.parent()
        {
            self.touched.insert(parent.to_owned());
        }
    }
}

/// An error says where it happened.
pub fn at<T>(path: &Path, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn mode(path: &Path, bits: u32) -> io::Result<()> {
    at(path, fs::set_permissions(path, fs::Permissions::from_mode(bits)))
}

fn date(path: &Path, modified: Timestamp) -> io::Result<()> {
    // Nothing in the clinic is older than 1970.
    let time = UNIX_EPOCH + Duration::from_secs(modified.as_second().unsigned_abs());
    let times = fs::FileTimes::new().set_accessed(time).set_modified(time);
    at(path, fs::File::open(path).and_then(|file| file.set_times(times)))
}
