//! This machine as a host, and what is bounded.

use std::{fs, io::Write, os::unix::fs::symlink, time::Duration};

use super::*;

fn run(words: &[&str], timeout: Duration, most: usize) -> Result<CommandOutput, HostError> {
    LocalHost::new().run(&HostCommand { words, timeout, most })
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_command_has_its_output_and_nothing_of_ours() {
    let output = run(&["env"], LONG, 1 << 10).unwrap();
    assert_eq!(output.status, Some(0));
    let shown = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<_> = shown.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["LC_ALL=C", &format!("PATH={SEARCH_PATH}")]);
    let output = run(&["sh", "-c", "echo out; echo err >&2; exit 3"], LONG, 1 << 10).unwrap();
    assert_eq!(
        (output.status, &*output.stdout, &*output.stderr),
        (Some(3), &b"out\n"[..], &b"err\n"[..])
    );
    assert!(!output.truncated);
    // Nothing of a shell is in the words.
    let output = run(&["echo", "$HOME", "`id`", ";", "id"], LONG, 1 << 10).unwrap();
    assert_eq!(output.stdout, b"$HOME `id` ; id\n");
}

#[test]
fn time_and_output_have_an_end() {
    let endless = run(&["sh", "-c", "sleep 1000 & sleep 1000"], Duration::from_millis(50), 10);
    assert!(matches!(endless, Err(HostError::TimedOut(_))), "{endless:?}");
    let output = run(&["cat", "/dev/zero"], LONG, 1000).unwrap();
    assert!(output.truncated && output.stdout.len() == 1000);
    assert!(matches!(run(&["no-such-program"], LONG, 1), Err(HostError::Missing)));
    assert!(matches!(run(&[], LONG, 1), Err(HostError::Unsuitable(_))));
}

#[test]
fn only_regular_files_are_read_and_only_so_much() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs::File::create(at("log")).unwrap().write_all(b"one\ntwo\nthree\n").unwrap();
    symlink(at("log"), at("link")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), rustix::fs::Mode::RUSR).unwrap();
    let host = LocalHost::new();
    let whole = host.read(&at("link"), Part::Head, 100).unwrap();
    assert_eq!(whole, FileContent { bytes: b"one\ntwo\nthree\n".to_vec(), truncated: false });
    let head = host.read(&at("log"), Part::Head, 4).unwrap();
    assert_eq!(head, FileContent { bytes: b"one\n".to_vec(), truncated: true });
    let tail = host.read(&at("log"), Part::Tail, 6).unwrap();
    assert_eq!(tail, FileContent { bytes: b"three\n".to_vec(), truncated: true });
    assert!(!host.read("/proc/self/stat", Part::Tail, 1 << 10).unwrap().bytes.is_empty());
    for none in ["fifo", "."] {
        assert!(matches!(host.read(&at(none), Part::Head, 9), Err(HostError::Unsuitable(_))));
    }
    assert!(matches!(host.read("/dev/zero", Part::Head, 9), Err(HostError::Unsuitable(_))));
    assert!(matches!(host.read(&at("none"), Part::Head, 9), Err(HostError::Missing)));
    let listed = host.list(&at("")).unwrap();
    let kinds: Vec<_> = listed.iter().map(|l| (&*l.name, l.kind)).collect();
    assert_eq!(
        kinds,
        [
            (&b"fifo"[..], ListedKind::Other),
            (b"link", ListedKind::Link),
            (b"log", ListedKind::File)
        ]
    );
    assert!(matches!(host.list(&at("log")), Err(HostError::Missing)));
}
