//! Trees that are hard to move.

use std::{
    ffi::OsStr,
    fs::{self, File, FileTimes, Permissions},
    io::{Seek, SeekFrom, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
        net::UnixListener,
    },
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

/// Bytes that look like noise, and are the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn set_modified(path: &Path, time: SystemTime) {
    File::open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
}

/// Makes a tree of everything that tends to get lost; returns its count of entries.
pub fn hostile(root: &Path) -> u64 {
    fs::create_dir(root).unwrap();
    let make = |name: &[u8], content: &[u8]| {
        let path = root.join(OsStr::from_bytes(name));
        fs::write(&path, content).unwrap();
        path
    };

    for name in [
        b"latin \xe4\xf6\xfc".as_slice(),
        b"\xff\xfe",
        b"new\nline",
        b"esc\x1b[31mred",
        b"back\\slash \\x41",
        b" blank ",
        b"-rf",
        b"*",
        b"...",
        "o\u{308} \u{202e}txt.exe".as_bytes(),
    ] {
        make(name, name);
    }
    make(&[b'n'; 255], b"a long name");
    make(b"empty", b"");
    make(b"text", "a line that repeats\n".repeat(50_000).as_bytes());
    make(b"noise", &noise(1, 3_000_000));
    make(b"noise again", &noise(1, 3_000_000));

    // A path longer than PATH_MAX is tested by the crates; this is as long as rsync can read.
    let deep = (0..15).fold(root.join("deep"), |path, _| path.join("d".repeat(200)));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("bottom"), "here").unwrap();
    fs::create_dir_all(root.join("hollow/hollow")).unwrap();

    symlink("text", root.join("link")).unwrap();
    symlink("/nowhere/at all", root.join("dangling")).unwrap();
    symlink(OsStr::from_bytes(b"\xff"), root.join("link to bytes")).unwrap();
    fs::hard_link(root.join("noise"), root.join("hollow/hard link")).unwrap();

    let mut sparse = File::create(root.join("sparse")).unwrap();
    sparse.seek(SeekFrom::Start(40 << 20)).unwrap();
    sparse.write_all(b"in the middle").unwrap();
    sparse.set_len(80 << 20).unwrap();

    let fifo = Command::new("mkfifo").arg(root.join("fifo")).status().unwrap();
    assert!(fifo.success());
    drop(UnixListener::bind(root.join("socket")).unwrap());

    let tool = make(b"tool", b"#!/bin/sh\n");
    fs::set_permissions(&tool, Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(root.join("hollow"), Permissions::from_mode(0o1777)).unwrap();
    fs::set_permissions(root.join("hollow/hollow"), Permissions::from_mode(0o500)).unwrap();
    // Where the file system has none, there is nothing to lose.
    for (name, value) in [("user.empty", ""), ("user.note", "of the file")] {
        let _ = Command::new("setfattr").args(["-n", name, "-v", value]).arg(&tool).output();
    }
    let _ = Command::new("setfacl").args(["-m", "u:65534:rw"]).arg(root.join("text")).output();

    let day = Duration::from_secs(86_400);
    let epoch = SystemTime::UNIX_EPOCH;
    set_modified(&make(b"from 1955", b"old"), epoch - 5_480 * day + Duration::from_nanos(1));
    set_modified(&make(b"from 2100", b"new"), epoch + 47_500 * day + Duration::from_nanos(999));
    set_modified(&root.join("hollow/hollow"), epoch + 1000 * day);
    count(root)
}

/// Entries below `root`.
pub fn count(root: &Path) -> u64 {
    fs::read_dir(root)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let below = if entry.file_type().unwrap().is_dir() { count(&entry.path()) } else { 0 };
            1 + below
        })
        .sum()
}

/// All files below `root` whose names are 64 digits, with their sizes: a repository's packs.
pub fn packs(repository: &str) -> Vec<(String, u64)> {
    let Ok(folders) = fs::read_dir(Path::new(repository).join("packs")) else { return Vec::new() };
    folders
        .filter_map(|folder| fs::read_dir(folder.ok()?.path()).ok())
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            (name.len() == 64).then_some((name, entry.metadata().ok()?.len()))
        })
        .collect()
}
