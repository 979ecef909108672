//! A repository that an earlier version wrote, and that every later one has to read.

use std::{
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, symlink},
    },
    path::Path,
};

use serde_json::Value;

use crate::lab::Lab;

const PASSWORD: &str = "password";

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// Ends the test where an entry below `root` is not as `expected` says. Owners are not compared:
/// the test's user may not be able to set them.
fn check(root: &Path, expected: &Value) {
    let path = root.join(std::ffi::OsStr::from_bytes(&unhex(expected["path"].as_str().unwrap())));
    let shown = path.display();
    let found = fs::symlink_metadata(&path).unwrap_or_else(|e| panic!("{shown}: {e}"));
    assert_eq!(expected["mode"], found.mode(), "{shown}");
    let nanoseconds = found.mtime() * 1_000_000_000 + found.mtime_nsec();
    assert_eq!(expected["mtime"], nanoseconds, "{shown}");
    if !expected["links"].is_null() {
        assert_eq!(expected["links"], found.nlink(), "{shown}");
    }
    if let Some(target) = expected["target"].as_str() {
        assert_eq!(fs::read_link(&path).unwrap().as_os_str().as_bytes(), unhex(target), "{shown}");
    }
    if let Some(size) = expected["size"].as_u64() {
        assert_eq!(found.len(), size, "{shown}");
        let sum = std::process::Command::new("sha256sum").arg("--").arg(&path).output().unwrap();
        let sum = String::from_utf8_lossy(&sum.stdout).into_owned();
        // A name that has to be escaped is announced by a backslash.
        let sum = sum.trim_start_matches('\\');
        assert!(sum.starts_with(expected["sha256"].as_str().unwrap()), "{shown}: {sum}");
    }
}

#[test]
fn what_version_1_wrote_is_read() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/vectors/repository-1");
    let lab = Lab::new();
    // Nothing is written to it, whatever a reader does.
    symlink(fixture.join("repository"), &lab.repository).unwrap();
    let password = lab.path("password");
    fs::write(&password, PASSWORD).unwrap();
    let with = ["--password-file", password.to_str().unwrap()];
    let found = lab.verb("verify", &[&with[..], &["--read-data"]].concat()).expect(0).json();
    assert_eq!(found["verdict"], "verified", "{found}");
    assert_eq!(found["snapshots"].as_array().map(Vec::len), Some(2), "{found}");

    let target = lab.path("target");
    let arguments = [&with[..], &["latest", target.to_str().unwrap()]].concat();
    lab.verb("restore", &arguments).expect(0);
    let expected = fs::read(fixture.join("expected.json")).unwrap();
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    let entries = expected.as_array().unwrap();
    assert!(entries.len() > 8);
    entries.iter().for_each(|entry| check(&target, entry));
    assert_eq!(crate::tree::count(&target), entries.len() as u64 + 1, "and the restore's mark");
}

#[test]
fn what_version_1_signed_holds() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/vectors");
    let [certificate, proof] = ["certificate-1.txt", "proof-1.txt"].map(|name| vectors.join(name));
    let [certificate, proof] = [&certificate, &proof].map(|path| path.to_str().unwrap());
    let lab = Lab::new();
    let found = lab.run(&["verify", "--check-certificate", certificate, "--json"]).expect(0).json();
    let verifier = "2472992f9daad82b304a2a0d291f9fc33b0a4f40046f41b28d9828c1abe24e8e";
    assert_eq!(found["certificate"]["verifier"], verifier, "{found}");
    let arguments = ["verify", "--check-proof", proof, "--certificate", certificate, "--json"];
    let found = lab.run(&arguments).expect(0).json();
    assert_eq!(found["proof"]["path"], "letter.txt", "{found}");
    assert_eq!(found["proof"]["certified_by"], verifier, "{found}");
    // And the repository that they were made of still has what they name.
    symlink(vectors.join("repository-1/repository"), &lab.repository).unwrap();
    let password = lab.path("password");
    fs::write(&password, PASSWORD).unwrap();
    let with = ["--password-file", password.to_str().unwrap()];
    for check in [["--check-certificate", certificate], ["--check-proof", proof]] {
        lab.verb("verify", &[&with[..], &check].concat()).expect(0);
    }
}
