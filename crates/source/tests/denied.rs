//! What a user without the right to read meets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    thread,
};

use drover_source::{LocalSource, Scope, Source, SourceError, WalkEvent, WalkOptions};
use drover_types::{ExceptionKind, RelativePath};
use rustix::{
    process::geteuid,
    thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};
use tempfile::tempdir;

/// Runs `test` on a thread without privileges. Credentials belong to a thread, and the threads
/// that it starts inherit them.
fn unprivileged(test: impl FnOnce() + Send) {
    thread::scope(|scope| {
        scope
            .spawn(|| {
                if geteuid().is_root() {
                    let (uid, gid) = (Uid::from_raw(65_534), Gid::from_raw(65_534));
                    set_thread_groups(&[]).unwrap();
                    set_thread_res_gid(gid, gid, gid).unwrap();
                    set_thread_res_uid(uid, uid, uid).unwrap();
                }
                test();
            })
            .join()
            .unwrap();
    });
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_is_denied_is_told_and_nothing_else_is_lost() {
    let root = tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    mode(root.path(), 0o755);
    for directory in ["closed", "open", "listed"] {
        fs::create_dir(at(directory)).unwrap();
        fs::write(at(directory).join("file"), "content").unwrap();
    }
    fs::write(at("secret"), "content").unwrap();
    mode(&at("secret"), 0);
    mode(&at("closed"), 0);
    mode(&at("listed"), 0o444);

    unprivileged(|| {
        let source = LocalSource::open(root.path()).unwrap();
        let told: Vec<_> = source
            .walk(&WalkOptions::default())
            .unwrap()
            .map(|event| match event {
                WalkEvent::Entry(entry) => (entry.path.to_string(), None),
                WalkEvent::Problem { path, scope, exception } => {
                    assert_eq!(path, exception.path);
                    (path.to_string(), Some((scope, exception.kind)))
                }
                WalkEvent::Excluded { path, .. } => panic!("{path} is left out"),
            })
            .collect();
        let denied = Some((Scope::Subtree, ExceptionKind::Denied));
        let expected = [
            ("", None),
            ("closed", None),
            ("closed", denied),
            ("listed", None),
            ("listed/file", denied),
            ("open", None),
            ("open/file", None),
            ("secret", None),
        ];
        assert_eq!(told, expected.map(|(path, problem)| (path.to_owned(), problem)));

        let path = RelativePath::new(*b"secret").unwrap();
        let error = source.open(&path).err().unwrap();
        assert_eq!((error.kind, &error.path), (ExceptionKind::Denied, &path));
        assert!(matches!(LocalSource::open(&at("closed")).unwrap_err(), SourceError::Denied(_)));
    });

    // So that the directory can be removed by a user who is not root as well.
    mode(&at("closed"), 0o755);
    mode(&at("listed"), 0o755);
}
