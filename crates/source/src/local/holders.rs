//! Who is writing to a tree of this machine: the open files of all processes, as `/proc` shows
//! them.
//!
//! Only root sees the files of other users' processes, and nobody sees those of another machine
//! that shares the file system.

use std::{
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
};

use drover_types::RelativePath;

/// Open files that are listed.
const LISTED: usize = 10_000;
/// Bytes of a process' name.
const COMMAND: usize = 64;

/// A file that a process has open for writing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpenFile {
    /// Relative to the root that was asked for.
    pub path: RelativePath,
    /// The process.
    pub process: u32,
    /// Its name: bytes that it chose itself.
    pub command: Vec<u8>,
}

/// What could be found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenFiles {
    /// Files below the root that are open for writing, in the order of paths.
    pub files: Vec<OpenFile>,
    /// Beyond those that are listed.
    pub more: u64,
    /// Processes whose files this user may not see.
    pub unseen: u64,
}

impl OpenFiles {
    /// Adds a file by its path below the root, where it is one of the tree: one without a name any more
    /// is not. `command` is asked for only then.
    pub(crate) fn add(&mut self, below: &[u8], process: u32, command: impl FnOnce() -> Vec<u8>) {
        if below.ends_with(b" (deleted)") {
            return;
        }
        let Ok(path) = RelativePath::new(below) else { return };
        if self.files.len() >= LISTED {
            self.more += 1;
            return;
        }
        let mut command = command();
        command.truncate(COMMAND);
        self.files.push(OpenFile { path, process, command });
    }

    /// In the order of paths, each once.
    pub(crate) fn sorted(mut self) -> Self {
        self.files.sort();
        self.files.dedup();
        self
    }
}

/// Which files below `root`, a canonical path, are open for writing. `None` where there is no
/// `/proc` to say so.
pub fn open_for_writing(root: &Path) -> Option<OpenFiles> {
    let mut found = OpenFiles::default();
    let own = std::process::id();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let name = process.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if number == own {
            continue;
        }
        let process = process.path();
        let descriptors = match fs::read_dir(process.join("fd")) {
            Ok(descriptors) => descriptors,
            // One that has ended has no open files.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(_) => {
                found.unseen += 1;
                continue;
            }
        };
        let mut command = None;
        for descriptor in descriptors.flatten() {
            let link = descriptor.path();
            // The mode of the link is how the file is open.
            let writes = fs::symlink_metadata(&link)
                .is_ok_and(|metadata| metadata.permissions().mode() & 0o200 != 0);
            if !writes {
                continue;
            }
            let Ok(target) = fs::read_link(&link) else { continue };
            let Ok(below) = target.strip_prefix(root) else { continue };
            if !fs::metadata(&link).is_ok_and(|metadata| metadata.is_file()) {
                continue;
            }
            let name = || fs::read(process.join("comm")).unwrap_or_default();
            found.add(below.as_os_str().as_bytes(), number, || {
                command.get_or_insert_with(|| name().trim_ascii_end().to_vec()).clone()
            });
        }
    }
    Some(found.sorted())
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn a_writer_is_found_and_a_reader_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::write(root.join("read"), "x").unwrap();
        let script = "exec 3>written 4<read; echo ready; read wait";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .current_dir(&root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
        let found = open_for_writing(&root).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        let files: Vec<_> = found.files.iter().map(|f| (f.path.to_string(), f.process)).collect();
        assert_eq!(files, [("written".to_owned(), child.id())]);
        assert!(!found.files[0].command.is_empty());
        assert_eq!(open_for_writing(&root).unwrap().files, []);
    }
}
