//! Certificates and proofs: what drover says of them, and what openssl and b3sum do.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    lab::{Answer, Lab},
    tree,
};

/// Where a certificate of `lab`'s repository is written, once it was verified with `more`.
fn certify(lab: &Lab, name: &str, more: &[&str], code: i32) -> (PathBuf, Value) {
    let file = lab.path(name);
    let arguments = [&["--certificate", file.to_str().unwrap()], more].concat();
    let report = lab.verb("verify", &arguments).expect(code).json();
    (file, report)
}

/// Checks a certificate alone, on a machine that has nothing else.
fn check(file: &Path, more: &[&str]) -> Answer {
    let other = Lab::new();
    let arguments = [&["verify", "--check-certificate", file.to_str().unwrap(), "--json"], more];
    let mut command = other.command(&arguments.concat());
    Answer::new(command.env_remove("DROVER_PASSWORD").output().unwrap())
}

#[test]
fn a_certificate_says_what_was_done_and_no_names() {
    let (lab, source) = Lab::with_source();
    lab.sync(&source).expect(0);
    let (file, report) = certify(&lab, "certificate.txt", &["--read-data"], 0);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("drover-certificate: 1\nprogram: drover "), "{text}");
    for line in ["method: read back", "content: opened", "verdict: verified", "problems: 0"] {
        assert!(text.contains(&format!("\n{line}\n")), "{line}: {text}");
    }
    for name in ["readme", "letters", "source\n", lab.path("").to_str().unwrap()] {
        assert!(!text.contains(name), "{name}: {text}");
    }
    // The key lies in the state, for its owner alone.
    let key = lab.path("state/verifier");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let verifier = report["certificate"]["verifier"].as_str().unwrap();
    assert!(text.contains(&format!("\nverifier: {verifier}\n")));

    let found = check(&file, &[]).expect(0).json();
    assert_eq!(found["schema"], "drover.verify/1");
    assert_eq!(found["verdict"], "verified");
    assert_eq!(found["method"], "read back");
    assert_eq!(found["heads"], report["heads"]);
    assert_eq!(found["totals"], report["totals"]);
    assert_eq!(found["certificate"]["expected"], Value::Null);
    let found = check(&file, &["--verifier", verifier]).expect(0).json();
    assert_eq!(found["certificate"]["expected"], true);
    check(&file, &["--verifier", &"0f".repeat(32)]).refused(4, "difference", "1 problem");

    // The next one has the same key, and another verifier another.
    let (_, again) = certify(&lab, "again.txt", &[], 0);
    assert_eq!(again["certificate"]["verifier"], verifier);
    let other = Lab::at(lab.repository.clone(), &[]);
    let (_, theirs) = certify(&other, "theirs.txt", &[], 0);
    assert_ne!(theirs["certificate"]["verifier"], verifier);
}

#[test]
fn a_certificate_shows_what_was_taken_back() {
    let (lab, source) = Lab::with_source();
    lab.sync(&source).expect(0);
    fs::write(source.join("more"), "more").unwrap();
    lab.sync(&source).expect(0);
    let (file, report) = certify(&lab, "certificate.txt", &[], 0);
    let name = file.to_str().unwrap();
    let against = lab.verb("verify", &["--check-certificate", name]).expect(0).json();
    assert_eq!(against["compared"], against["repository"]);
    assert_eq!(against["snapshots"].as_array().unwrap().len(), 2);
    lab.verb("verify", &["--expect-head", name]).expect(0);

    // A later snapshot takes nothing back.
    fs::write(source.join("more"), "and more").unwrap();
    lab.sync(&source).expect(0);
    lab.verb("verify", &["--check-certificate", name]).expect(0);

    // Without the newest two, seen by a machine that never saw them.
    let head = &report["heads"][0];
    let folder =
        Path::new(&lab.repository).join("snapshots").join(head["writer"].as_str().unwrap());
    for sequence in [2, 3] {
        let prefix = format!("{sequence:020}-");
        let entry = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let gone = entry
            .into_iter()
            .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&prefix));
        fs::remove_file(gone.unwrap()).unwrap();
    }
    let other = Lab::at(lab.repository.clone(), &[]);
    other.verb("verify", &[] as &[&str]).expect(0);
    let found = other.verb("verify", &["--check-certificate", name]).expect(4).json();
    assert_eq!(found["problems"][0]["kind"], "rolled back", "{found}");
    let found = other.verb("verify", &["--expect-head", name]).expect(4).json();
    assert_eq!(found["problems"][0]["kind"], "rolled back", "{found}");

    // Another repository is not the one that was certified.
    let (stranger, source) = Lab::with_source();
    stranger.sync(&source).expect(0);
    let found = stranger.verb("verify", &["--check-certificate", name]).expect(4).json();
    assert_eq!(found["problems"][0]["object"], "config", "{found}");
}

#[test]
fn a_verification_that_fails_is_certified_as_that() {
    let (lab, source) = Lab::with_source();
    lab.sync(&source).expect(0);
    for (pack, _) in tree::packs(&lab.repository) {
        let path = Path::new(&lab.repository).join("packs").join(&pack[..2]).join(&pack);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    let (file, report) = certify(&lab, "certificate.txt", &["--read-data"], 4);
    let problems = report["problems"].as_array().unwrap().len();
    let found = check(&file, &[]).expect(4).json();
    assert_eq!(found["error"]["exit"], 4);
    assert_eq!(found["certificate"]["verdict"], "failed");
    assert_eq!(found["certificate"]["problems"], problems);
    let statement = found["certificate"]["statement"].as_str().unwrap();
    assert!(!statement.contains("every file is made"), "it claims what it did not find");

    // Of a repository that does not even open there is one too.
    let config = Path::new(&lab.repository).join("config");
    let mut bytes = fs::read(&config).unwrap();
    bytes[40] ^= 1;
    fs::write(&config, bytes).unwrap();
    let (file, _) = certify(&lab, "unopened.txt", &[], 4);
    let found = check(&file, &[]).expect(4).json();
    assert_eq!(found["certificate"]["repository"], "unknown");
    assert_eq!(found["method"], "nothing");
}

#[test]
fn a_sample_says_how_sure_it_makes() {
    let lab = Lab::with_repository();
    let source = lab.path("source");
    fs::create_dir(&source).unwrap();
    // A pass leaves a pack of data and one of metadata.
    for pass in 0..5 {
        fs::write(source.join(pass.to_string()), tree::noise(pass, 5000)).unwrap();
        lab.sync(&source).expect(0);
    }
    let of = tree::packs(&lab.repository).len();
    let (file, report) = certify(&lab, "certificate.txt", &["--read-data=50%", "--seed", "7"], 0);
    let read = of.div_ceil(2);
    assert_eq!(report["sample"]["packs"], read);
    assert_eq!(report["sample"]["of"], of);
    let method = report["method"].as_str().unwrap();
    assert!(method.contains("with 99 % confidence fewer than "), "{method}");
    let text = fs::read_to_string(&file).unwrap();
    let lines = format!(
        "method: read back a sample\ncontent: opened\nsample-packs: {read}\nsample-of: {of}\nsample-seed: 7\n"
    );
    assert!(text.contains(&lines), "{text}");
    let found = check(&file, &[]).expect(0).json();
    assert_eq!(found["sample"], report["sample"]);
    assert!(found["method"].as_str().unwrap().contains("with 99 % confidence"), "{found}");
}

#[test]
fn other_methods_are_certified_as_what_they_are() {
    let (lab, source) = Lab::with_source();
    lab.sync(&source).expect(0);
    let landing = lab.path("landing");
    lab.verb("restore", &[OsStr::new("latest"), landing.as_os_str()]).expect(0);
    let check_method = |more: &[&str], method: &str| {
        let (file, _) = certify(&lab, "certificate.txt", more, 0);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(&format!("\nmethod: {method}\n")), "{text}");
        // What was compared is a path.
        assert!(!text.contains("landing") && !text.contains("/source"), "{text}");
        assert_eq!(check(&file, &[]).expect(0).json()["method"], method);
    };
    check_method(&["--target", landing.to_str().unwrap()], "landed and hashed");
    check_method(&["--source", source.to_str().unwrap()], "source against snapshot");

    // An auditor opens no content, and claims to have opened none.
    let password = lab.path("auditor");
    fs::write(&password, "an auditor's password").unwrap();
    let password = password.to_str().unwrap();
    let add = ["--role", "auditor", "--new-password-file", password];
    lab.verb("key add", &add).expect(0);
    let with = ["--read-data", "--password-file", password];
    let (file, _) = certify(&lab, "auditor.txt", &with, 0);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("\ncontent: hashed only\n"), "{text}");
    assert!(text.contains("contents were not."), "{text}");
    let method = check(&file, &[]).expect(0).json()["method"].clone();
    assert_eq!(method, "read back; packs of content were hashed and not opened");
    // Proving takes names and hashes only.
    let proof = lab.path("proof");
    let prove = ["--prove", "readme", "--proof", proof.to_str().unwrap()];
    lab.verb("verify", &[&prove[..], &with[1..]].concat()).expect(0);
}

/// Whether the parts of `file`, taken apart as the document says, fit for openssl.
fn openssl(lab: &Lab, file: &Path) -> bool {
    let script = r#"
        sed '/^-----BEGIN PUBLIC KEY-----$/,$d' "$0" >body.txt
        sed -n '/^-----BEGIN PUBLIC KEY-----$/,/^-----END PUBLIC KEY-----$/p' "$0" >verifier.pem
        sed -n '/^-----BEGIN DROVER SIGNATURE-----$/,/^-----END DROVER SIGNATURE-----$/p' "$0" |
            sed '/^-----/d' | base64 -d >signature
        openssl pkeyutl -verify -rawin -pubin -inkey verifier.pem -in body.txt -sigfile signature
    "#;
    let mut shell = Command::new("sh");
    let output = shell.args(["-euc", script]).arg(file).current_dir(lab.path("")).output().unwrap();
    output.status.success()
}

#[test]
fn openssl_agrees() {
    let (lab, source) = Lab::with_source();
    lab.sync(&source).expect(0);
    let (file, report) = certify(&lab, "certificate.txt", &[], 0);
    assert!(openssl(&lab, &file));
    // The file that it was taken apart into names the verifier as well.
    let pem = lab.path("verifier.pem");
    check(&file, &["--verifier", pem.to_str().unwrap()]).expect(0);
    let der = Command::new("openssl")
        .args(["pkey", "-pubin", "-outform", "DER", "-in"])
        .arg(&pem)
        .output()
        .unwrap();
    let key = data_encoding::HEXLOWER.encode(&der.stdout[der.stdout.len() - 32..]);
    assert_eq!(report["certificate"]["verifier"], key);

    let whole = fs::read_to_string(&file).unwrap();
    for (from, to) in [("problems: 0", "problems: 1"), ("verdict: v", "verdict: V"), ("\n", "\n\n")]
    {
        fs::write(&file, whole.replacen(from, to, 1)).unwrap();
        assert!(!openssl(&lab, &file), "{from}");
        check(&file, &[]).refused(4, "difference", "1 problem");
        let refused = lab.verb("verify", &["--expect-head", file.to_str().unwrap()]);
        refused.refused(1, "not-a-certificate", "signature");
    }
}

#[test]
fn one_file_is_proven_without_its_neighbours() {
    let lab = Lab::with_repository();
    let source = lab.path("source");
    tree::hostile(&source);
    for number in 0..700 {
        fs::write(source.join(format!("neighbour {number}")), number.to_string()).unwrap();
    }
    lab.sync(&source).expect(0);
    let (certificate, _) = certify(&lab, "certificate.txt", &[], 0);
    let certificate = certificate.to_str().unwrap();
    let proof = lab.path("proof.txt");
    let name = proof.to_str().unwrap();
    let snapshot = lab.verb("snapshots", &[] as &[&str]).expect(0).json();
    let snapshot = snapshot["snapshots"][0]["id"].as_str().unwrap().to_owned();
    for (path, kind) in [
        ("neighbour 311", "file"),
        ("noise", "file"),
        ("hollow/hard link", "file"),
        ("latin \\xe4\\xf6\\xfc", "file"),
        ("hollow", "directory"),
        ("link", "symlink"),
        ("", "directory"),
    ] {
        let made = lab.verb("verify", &["--prove", path, "--snapshot", &snapshot, "--proof", name]);
        let made = made.expect(0).json();
        assert_eq!(made["proof"]["path"], path, "{made}");
        assert_eq!(made["proof"]["kind"], kind, "{made}");
        let text = fs::read_to_string(&proof).unwrap();
        assert_eq!(
            text.matches("neighbour").count(),
            usize::from(path.starts_with('n')) * usize::from(path.contains(' '))
        );

        // By somebody who has neither keys nor repository.
        let other = Lab::new();
        let arguments = ["verify", "--check-proof", name, "--certificate", certificate, "--json"];
        let checked = other.run(&arguments).expect(0).json();
        assert_eq!(checked["proof"]["path"], path);
        assert!(checked["proof"]["certified_by"].is_string());
        if path == "neighbour 311" {
            let hash = blake3::hash(b"311").to_hex();
            assert_eq!(checked["proof"]["blake3"], hash.as_str());
            assert_eq!(checked["proof"]["size"], 3);
        }
        lab.verb("verify", &["--check-proof", name]).expect(0);
    }
    let missing = ["--prove", "no such file", "--proof", name];
    lab.verb("verify", &missing).refused(1, "no-such-path", "no such file");

    // A certificate of another repository does not stand behind it.
    let (stranger, source) = Lab::with_source();
    stranger.sync(&source).expect(0);
    let (theirs, _) = certify(&stranger, "certificate.txt", &[], 0);
    let arguments = ["verify", "--check-proof", name, "--certificate", theirs.to_str().unwrap()];
    let found = lab.run(&[&arguments[..], &["--json"]].concat()).expect(4).json();
    assert_eq!(found["problems"][0]["kind"], "certificate", "{found}");
    stranger.verb("verify", &["--check-proof", name]).expect(4);
    let whole = fs::read(&proof).unwrap();
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    fs::write(&proof, changed).unwrap();
    lab.run(&["verify", "--check-proof", name, "--json"]).refused(4, "difference", "1 problem");
}

#[test]
fn what_is_typed_wrongly_is_refused() {
    let (lab, source) = Lab::with_source();
    lab.sync(&source).expect(0);
    let nowhere = lab.path("nowhere/certificate.txt");
    let nowhere = nowhere.to_str().unwrap();
    lab.verb("verify", &["--certificate", nowhere]).refused(1, "file", "nowhere");
    lab.verb("verify", &["--verifier", "x"]).refused(2, "command-line", "--verifier");
    lab.run(&["verify", "--check-certificate", nowhere, "--json"]).refused(1, "file", "nowhere");
    let readme = source.join("readme");
    let readme = readme.to_str().unwrap();
    check(Path::new(readme), &[]).refused(4, "difference", "1 problem");
    check(Path::new(readme), &["--verifier", readme]).refused(2, "command-line", "Ed25519");
    // What would be passed over is refused.
    for both in [
        ["--check-certificate", readme, "--certificate", readme],
        ["--check-certificate", readme, "--expect-head", readme],
        ["--check-proof", readme, "--target", readme],
        ["--check-proof", readme, "--prove", readme],
        ["--prove", "readme", "--seed", "7"],
    ] {
        lab.verb("verify", &both).expect(2);
    }
    // A damaged key is not replaced by another.
    fs::write(lab.path("state/verifier"), "nothing").unwrap();
    let file = lab.path("certificate.txt");
    let refused = lab.verb("verify", &["--certificate", file.to_str().unwrap()]);
    refused.refused(1, "state", "signing key");
}
