//! Folders of evidence: what is in them, and that their own page is enough to check them.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use data_encoding::{BASE64, HEXLOWER};
use serde_json::Value;

use crate::{
    lab::{Lab, PASSWORD},
    tree,
};

/// A plan with a source of which a pass was taken.
fn planned() -> (Lab, String) {
    let (lab, source) = Lab::with_source();
    let plan = lab.path("move.toml");
    let text = format!(
        "[repository]\nurl = \"{}\"\n\n[[source]]\nname = \"letters\"\nurl = \"{}\"\n",
        lab.repository,
        source.display()
    );
    fs::write(&plan, text).unwrap();
    let plan = plan.to_str().unwrap().to_owned();
    lab.run(&["sync", &plan, "--operator", "erika", "--json"]).expect(0);
    (lab, plan)
}

fn evidence(lab: &Lab, plan: &str, more: &[&str], code: i32) -> (PathBuf, Value) {
    let folder = lab.path("evidence");
    let arguments = ["evidence", plan, "--out", folder.to_str().unwrap(), "--json"];
    let report = lab.run(&[&arguments[..], more].concat()).expect(code).json();
    (folder, report)
}

/// The commands that README.txt tells people to run, without those that take the repository.
fn commands(readme: &str) -> String {
    let shown = readme.lines().filter_map(|line| line.strip_prefix("     "));
    shown.filter(|line| !line.starts_with("drover")).collect::<Vec<_>>().join("\n")
}

fn run(folder: &Path, script: &str) -> bool {
    let output = Command::new("sh").args(["-euc", script]).current_dir(folder).output().unwrap();
    output.status.success()
}

#[test]
fn a_folder_is_checked_by_its_own_page() {
    let (lab, plan) = planned();
    let include = lab.path("sync report.html");
    fs::write(&include, "<p>a report</p>").unwrap();
    let include = ["--read-data", "--files", "--include", include.to_str().unwrap()];
    let (folder, report) = evidence(&lab, &plan, &include, 0);
    assert_eq!(report["schema"], "drover.evidence/1");
    assert_eq!(report["verdict"], "verified", "{report}");
    assert_eq!(report["log"], "verified", "{report}");
    let pieces = report["pieces"].as_array().unwrap();
    for name in [
        "README.txt",
        "certificate.txt",
        "controls.csv",
        "controls.html",
        "exceptions.csv",
        "files.csv",
        "included/sync report.html",
        "keys.json",
        "log.json",
        "log.txt",
        "plan.toml",
        "snapshots.html",
        "verification.html",
        "verification.json",
        "verifier.pem",
    ] {
        let piece = pieces.iter().find(|piece| piece["name"] == name);
        let piece = piece.unwrap_or_else(|| panic!("no {name}: {report}"));
        let path = folder.join(name);
        let hash = blake3::hash(&fs::read(&path).unwrap());
        assert_eq!(piece["blake3"], hash.to_hex().as_str(), "{name}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read(folder.join("plan.toml")).unwrap(), fs::read(&plan).unwrap());
    let log: Value = serde_json::from_slice(&fs::read(folder.join("log.json")).unwrap()).unwrap();
    let verbs: Vec<_> = log["records"].as_array().unwrap().iter().map(|r| &r["verb"]).collect();
    assert_eq!(verbs, ["sync", "verify"], "{log}");

    let files = fs::read_to_string(folder.join("files.csv")).unwrap();
    let hash = blake3::hash(b"hello").to_hex();
    assert_eq!(files.lines().count(), 4, "{files}");
    assert!(files.contains("\"letters\",\"readme\",\"file\",\"5\",\""), "{files}");
    assert!(files.contains(hash.as_str()), "{files}");

    // What it says is to be run is run.
    let readme = fs::read_to_string(folder.join("README.txt")).unwrap();
    let script = commands(&readme);
    assert!(script.matches("openssl pkeyutl").count() == 2 && script.contains("b3sum --check"));
    assert!(run(&folder, &script), "{script}");
    for (file, at) in
        [("keys.json", 30), ("b3sums.txt", 3), ("b3sums.sig", 9), ("certificate.txt", 99)]
    {
        let path = folder.join(file);
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&path, changed).unwrap();
        assert!(!run(&folder, &script), "a change of {file} is not found");
        fs::write(&path, whole).unwrap();
    }
    assert!(run(&folder, &script));
    let [certificate, pem] =
        ["certificate.txt", "verifier.pem"].map(|n| folder.join(n).to_str().unwrap().to_owned());
    let check = ["verify", &plan, "--check-certificate", &certificate, "--verifier", &pem];
    lab.run(&[&check[..], &["--json"]].concat()).expect(0);
    lab.run(&["log", "verify", &plan, "--json"]).expect(0);

    // A second time into the same folder: what is not given again is gone.
    let (_, again) = evidence(&lab, &plan, &[], 0);
    assert_eq!(again["method"], "acknowledged");
    assert!(!folder.join("included/sync report.html").exists());
    assert!(run(&folder, &script));
}

#[test]
fn a_folder_holds_no_secret() {
    let (lab, plan) = planned();
    let (folder, report) = evidence(&lab, &plan, &["--read-data"], 0);
    let verifier = fs::read(lab.path("state/verifier")).unwrap();
    let seed = &verifier[verifier.len() - 32..];
    let state = fs::read_dir(lab.path("state")).unwrap().map(|entry| entry.unwrap().path());
    let state = state.into_iter().find(|path| path.is_dir()).unwrap();
    let credential = fs::read(state.join("credential")).unwrap();
    let mut secrets = vec![PASSWORD.as_bytes().to_vec(), seed.to_vec()];
    secrets.extend(credential.windows(32).map(<[u8]>::to_vec));
    // What of the credential anyone may know: it is in the repository's own objects.
    let known = |window: &Vec<u8>| {
        let keys = Path::new(&lab.repository).join("keys");
        fs::read_dir(keys)
            .unwrap()
            .flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap())
            .any(|object| {
                let bytes = fs::read(object.unwrap().path()).unwrap();
                bytes.windows(32).any(|public| public == &window[..])
            })
    };
    for piece in report["pieces"].as_array().unwrap() {
        let bytes = fs::read(folder.join(piece["name"].as_str().unwrap())).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(PASSWORD));
        for secret in &secrets {
            for form in [HEXLOWER.encode(secret), BASE64.encode(secret)] {
                let form = form.trim_end_matches('=');
                assert!(!text.contains(form) || known(secret), "{}", piece["name"]);
            }
        }
    }
}

#[test]
fn damage_is_in_the_folder_and_in_the_exit_code() {
    let (lab, plan) = planned();
    for (pack, _) in tree::packs(&lab.repository) {
        fs::remove_file(Path::new(&lab.repository).join("packs").join(&pack[..2]).join(&pack))
            .unwrap();
    }
    let (folder, report) = evidence(&lab, &plan, &[], 4);
    assert_eq!(report["verdict"], "failed");
    let certificate = fs::read_to_string(folder.join("certificate.txt")).unwrap();
    assert!(certificate.contains("\nverdict: failed\n"), "{certificate}");
    let found = fs::read(folder.join("verification.json")).unwrap();
    let found: Value = serde_json::from_slice(&found).unwrap();
    assert_eq!(found["error"]["exit"], 4);
    let script = commands(&fs::read_to_string(folder.join("README.txt")).unwrap());
    assert!(run(&folder, &script));

    // Of a repository that does not open, there is what there can be.
    let config = Path::new(&lab.repository).join("config");
    let mut bytes = fs::read(&config).unwrap();
    bytes[40] ^= 1;
    fs::write(&config, bytes).unwrap();
    let (folder, report) = evidence(&lab, &plan, &[], 4);
    assert_eq!(report["missing"].as_array().unwrap().len(), 1, "{report}");
    let readme = fs::read_to_string(folder.join("README.txt")).unwrap();
    assert!(readme.contains("What is missing:"), "{readme}");
    assert!(!folder.join("log.json").exists(), "of another run");
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let (lab, plan) = planned();
    let folder = lab.path("evidence");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("file"), "content").unwrap();
    let name = folder.to_str().unwrap();
    let refused = lab.run(&["evidence", &plan, "--out", name, "--json"]);
    refused.refused(1, "evidence-not-empty", "evidence");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    let within = Path::new(&lab.repository).join("evidence");
    let within = within.to_str().unwrap();
    lab.run(&["evidence", &plan, "--out", within, "--json"]).refused(2, "nested", "repository");
    let out = lab.path("other");
    let out = out.to_str().unwrap();
    let missing = ["evidence", &plan, "--out", out, "--include", "nowhere.html", "--json"];
    lab.run(&missing).refused(1, "file", "nowhere.html");
}

/// More exceptions than a snapshot holds itself.
#[test]
fn many_exceptions_are_certified_and_listed() {
    let lab = Lab::with_repository();
    let source = lab.path("source");
    fs::create_dir(&source).unwrap();
    let count = 1500;
    for number in 0..count {
        let path = source.join(format!("={number}-{}", "n".repeat(200)));
        fs::write(&path, "closed").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    }
    let at = source.to_str().unwrap();
    let plan = lab.path("move.toml");
    let text = format!(
        "[repository]\nurl = \"{}\"\n\n[[source]]\nname = \"letters\"\nurl = \"{at}\"\n",
        lab.repository
    );
    fs::write(&plan, text).unwrap();
    let plan = plan.to_str().unwrap();
    lab.run_denied(&["sync", plan]).expect(3);
    // Somebody signs for one of them.
    let signed = format!("=1-{}", "n".repeat(200));
    let accept = ["cutover", plan, "--operator", "anna", "--accept", &signed];
    lab.run(&accept).expect(0);
    let verified = lab.run(&["verify", plan, "--json"]).expect(0).json();
    let exceptions = verified["exceptions"].as_array().unwrap();
    assert_eq!(exceptions.len(), 1000);
    let by_anna = |e: &&Value| e["accepted_by"] == "anna" && e["path"] == signed.as_str();
    assert_eq!(exceptions.iter().filter(|e| !e["accepted_by"].is_null()).count(), 1);
    assert_eq!(exceptions.iter().filter(by_anna).count(), 1);

    let folder = lab.path("evidence");
    let out = ["--out", folder.to_str().unwrap()];
    lab.verb("evidence", &out).expect(0);
    let certificate = fs::read_to_string(folder.join("certificate.txt")).unwrap();
    let lines = format!("\nsnapshot-exceptions: {count}\nsnapshot-exceptions-digest: ");
    let digest = certificate.split_once(&lines).unwrap().1.lines().next().unwrap();
    assert_eq!(digest.len(), 64, "{certificate}");
    let rows = fs::read_to_string(folder.join("exceptions.csv")).unwrap();
    assert_eq!(rows.lines().count(), count + 1);
    // A name that a spreadsheet would take for a formula.
    assert_eq!(rows.matches(",\"'=").count(), count);
    assert_eq!(rows.lines().filter(|row| row.ends_with(",\"anna\"")).count(), 1);
    let steps = fs::read_to_string(folder.join("cutover.csv")).unwrap();
    assert!(steps.contains("\"anna\"") && steps.contains(&signed), "{steps}");
    let name = folder.join("certificate.txt");
    lab.verb("verify", &["--check-certificate", name.to_str().unwrap()]).expect(0);
}
