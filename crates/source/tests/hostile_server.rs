//! SFTP servers that lie: each ends in an error of its own or a bounded wait, and nothing that they
//! make up comes out of the walk.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "suite/nobody.rs"]
mod nobody;
#[allow(dead_code, reason = "shared with the tests of the binary")]
#[path = "../../../tests/cli/sshd.rs"]
mod sshd;

use std::{path::Path, sync::Arc, thread, time::Duration};

use drover_source::{
    Cutter, Piece, ReadError, SftpOptions, SftpSource, Source, SourceError, WalkEvent, WalkOptions,
    Wish,
    host::{Host, Part, SshHost},
};
use drover_types::{Entry, Kind, RelativePath};
use nobody::Nobody;
use sshd::Sshd;

fn options(sshd: &Sshd, answer: Duration) -> SftpOptions {
    let url = sshd.url(Path::new("/tree"));
    let user = url.strip_prefix("sftp://").unwrap().split('@').next().unwrap().to_owned();
    SftpOptions {
        user,
        root: b"/tree".to_vec(),
        host_key: Some(sshd.fingerprint.clone()),
        identities: vec![sshd.path("user_key")],
        answer,
        names: 20_000,
        shell: false,
        ..SftpOptions::new(url, "127.0.0.1", sshd.port, Arc::new(Nobody))
    }
}

/// What came of a walk.
#[derive(Debug)]
struct Seen {
    names: Vec<String>,
    problems: Vec<String>,
}

struct Liar {
    sshd: Sshd,
    source: Result<SftpSource, SourceError>,
}

impl Liar {
    /// `None` where there is no sshd on this machine.
    fn new(lie: &str) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/sftp.py");
        let subsystem = format!("Subsystem sftp /usr/bin/env python3 {} {lie}", script.display());
        let sshd = Sshd::start_with(&subsystem, "")?;
        // Only those that never answer are not waited for.
        let hangs = lie.starts_with("hangs") || NEVER_LISTED.contains(&lie) || lie == "silent";
        let answer = Duration::from_millis(if hangs { 6_000 } else { 20_000 });
        let open = || SftpSource::open(options(&sshd, answer));
        // A busy machine may need longer to start the server than one that never answers is given.
        let opens = NEVER_LISTED.contains(&lie) && lie != "wrong-number";
        let source = open().or_else(|error| if opens { open() } else { Err(error) });
        Some(Self { sshd, source })
    }

    fn walk(&self) -> Seen {
        let source = self.source.as_ref().unwrap();
        let mut seen = Seen { names: Vec::new(), problems: Vec::new() };
        for event in source.walk(&WalkOptions::default()).unwrap() {
            match event {
                WalkEvent::Entry(Entry { path, .. }) => seen.names.push(path.to_string()),
                WalkEvent::Problem { exception, .. } => seen.problems.push(exception.message),
                WalkEvent::Excluded { .. } => unreachable!(),
            }
        }
        seen
    }

    /// The bytes of `path`, read until a read comes with none.
    fn read(&self, path: &str) -> Result<u64, ReadError> {
        let source = self.source.as_ref().unwrap();
        let mut file = source.open(&RelativePath::new(path.as_bytes()).unwrap())?;
        let before = file.stat()?;
        assert_eq!(before.kind, Kind::File);
        let mut buffer = vec![0; 64 << 10];
        let (mut at, end) = (0, before.evidence.size);
        while at < end {
            let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            match file.read_at(at, &mut buffer[..most])? {
                0 => break,
                read => {
                    assert!(read <= most, "more came than was asked for");
                    assert!(buffer[..read].iter().all(|&b| b == 7));
                    at += read as u64;
                }
            }
        }
        file.stat()?;
        Ok(at)
    }
}

macro_rules! liar {
    ($lie:expr) => {
        match Liar::new($lie) {
            Some(liar) => liar,
            None => return,
        }
    };
}

#[test]
fn an_honest_one_for_comparison() {
    let liar = liar!("not");
    let seen = liar.walk();
    assert_eq!(seen.names, ["", "file"]);
    assert!(seen.problems.is_empty(), "{seen:?}");
    assert_eq!(liar.read("file").unwrap(), 300_000);
}

#[test]
fn what_never_becomes_a_session_is_an_error() {
    for lie in ["silent", "noise", "hangs-up", "long-root"] {
        let liar = liar!(lie);
        match liar.source {
            Err(error) => assert!(error.to_string().contains("127.0.0.1"), "{lie}: {error}"),
            // What cannot be listed is nothing that was removed.
            Ok(_) => assert!(!liar.walk().problems.is_empty(), "{lie}"),
        }
    }
}

#[test]
fn names_that_lead_elsewhere_are_no_names() {
    for lie in ["dot-dot", "slash", "empty-name", "nul", "long-name", "huge-name"] {
        let liar = liar!(lie);
        let seen = liar.walk();
        assert_eq!(seen.names, ["", "file"], "{lie}: {seen:?}");
        assert_eq!(seen.problems.len(), 1, "{lie}: {seen:?}");
    }
    let seen = liar!("twice").walk();
    assert_eq!(seen.names, ["", "file"]);
    let seen = liar!("no-attributes").walk();
    assert_eq!((seen.names.len(), seen.problems.len()), (2, 1), "{seen:?}");
}

/// Lies that no listing comes of.
const NEVER_LISTED: [&str; 8] = [
    "hangs",
    "noise-later",
    "wrong-number",
    "wrong-sort",
    "huge-packet",
    "many-in-one",
    "cut-short",
    "empty-answers",
];

#[test]
fn a_listing_that_does_not_come_is_a_problem_and_no_empty_directory() {
    let listed = |lie: &str| {
        let liar = Liar::new(lie)?;
        // One that answers to other numbers does not get as far.
        if lie == "wrong-number" && liar.source.is_err() {
            return Some(Seen { names: vec![String::new()], problems: vec![String::new()] });
        }
        Some(liar.walk())
    };
    thread::scope(|scope| {
        let walks = NEVER_LISTED.map(|lie| (lie, scope.spawn(move || listed(lie))));
        for (lie, walk) in walks {
            let Some(seen) = walk.join().unwrap() else { return };
            assert_eq!(seen.names, [""], "{lie}: {seen:?}");
            assert_eq!(seen.problems.len(), 1, "{lie}: {seen:?}");
        }
    });
}

#[test]
fn a_directory_without_end_is_bounded() {
    let seen = liar!("endless").walk();
    assert_eq!(seen.names.len(), 20_001);
    assert!(seen.problems[0].contains("more than 20000 names"), "{:?}", seen.problems);
}

#[test]
fn a_tree_without_bottom_is_bounded() {
    let seen = liar!("deep").walk();
    assert!(seen.names.len() > 100, "{}", seen.names.len());
    assert_eq!(seen.problems.len(), 1, "{:?}", seen.problems);
}

#[test]
fn files_that_are_not_what_they_seem() {
    // The protocol promises whole reads of files; a server that breaks it is asked for the rest.
    assert_eq!(liar!("short-reads").read("file").unwrap(), 300_000);
    assert_eq!(liar!("ends-early").read("file").unwrap(), 10);
    assert!(liar!("vanishes").read("file").is_err());
    assert!(liar!("hangs-reading").read("file").is_err());
    // No more is asked for than there was at first.
    let grown = liar!("grows").read("file").unwrap();
    assert!(grown < 301_000, "{grown}");
    assert!(liar!("long-reads").read("file").is_err());

    let liar = liar!("link");
    let source = liar.source.as_ref().unwrap();
    let link = source.walk(&WalkOptions::default()).unwrap().find_map(|event| match event {
        WalkEvent::Entry(entry) if entry.path.to_string() == "link" => Some(entry),
        _ => None,
    });
    assert!(source.complete(&mut link.unwrap()).is_err());
}

/// What is not plain is left to be read alone, which sorts out what it is.
#[test]
fn a_batch_takes_only_what_is_plain() {
    let take = |lie: &str| {
        let liar = Liar::new(lie)?;
        let cutter = Cutter { sizes: [1, 2, 3], gear: Box::new([0; 256]) };
        let mut taker = liar.source.as_ref().unwrap().taker(&cutter).unwrap();
        let path = RelativePath::new(*b"file").unwrap();
        taker.announce(&[Wish::File { path: path.clone(), size: 300_000 }]).unwrap();
        taker.begin(&path).unwrap();
        Some(taker.piece().unwrap())
    };
    let Some(honest) = take("not") else { return };
    assert_eq!(honest, Piece::Whole(vec![7; 300_000]));
    for lie in ["short-reads", "ends-early", "vanishes", "grows", "long-reads", "hangs-reading"] {
        assert_eq!(take(lie), Some(Piece::Alone), "{lie}");
    }
}

/// Files of `/proc` come in pieces of any length too, and whole.
#[test]
fn a_host_reads_files_that_come_in_pieces() {
    let liar = liar!("short-reads");
    let host = SshHost::open(&options(&liar.sshd, Duration::from_secs(20))).unwrap();
    let read = |part, most| host.read("/tree/file", part, most).unwrap();
    let whole = read(Part::Head, 1 << 20);
    assert_eq!((whole.bytes.len(), whole.truncated), (300_000, false));
    assert!(whole.bytes.iter().all(|&b| b == 7));
    let head = read(Part::Head, 100_000);
    assert_eq!((head.bytes.len(), head.truncated), (100_000, true));
    let tail = read(Part::Tail, 100_000);
    assert_eq!((tail.bytes.len(), tail.truncated), (100_000, true));
    assert!(host.list("/tree").unwrap().iter().any(|listed| listed.name == b"file"));
}
