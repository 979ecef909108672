//! Whether two trees are the same, judged by rsync.

use std::{path::Path, process::Command};

/// Ends the test where rsync sees a difference in content or attributes, in either direction.
/// `left_out` are rsync's patterns of what is not compared.
#[track_caller]
pub fn assert_same(a: &Path, b: &Path, left_out: &[&str]) {
    for (from, to) in [(a, b), (b, a)] {
        let mut command = Command::new("rsync");
        // What is here and not there shows as sent, so that both directions see all.
        command.args(["-aHAXn", "--checksum", "--itemize-changes", "--exclude=/.drover-restore*"]);
        command.args(left_out.iter().map(|pattern| format!("--exclude={pattern}")));
        let mut from = from.as_os_str().to_owned();
        from.push("/");
        let output = command.arg(from).arg(to).output().expect("rsync is installed");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(shown.is_empty(), "{} and {}:\n{shown}", a.display(), b.display());
    }
}
