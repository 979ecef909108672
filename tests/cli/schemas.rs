//! The published JSON schemas are those of the types, and what the verbs print is what they say.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::lab::Lab;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The names of the schemas in the documents.
fn published() -> BTreeSet<String> {
    let files = fs::read_dir(root().join("docs/schemas/reports")).unwrap();
    let name = |file: fs::DirEntry| file.path().file_stem().unwrap().to_str().unwrap().to_owned();
    files.map(|file| name(file.unwrap())).collect()
}

#[test]
fn schemas_are_up_to_date() {
    let lab = Lab::new();
    let help = lab.run(&["report", "--schema", "none"]).expect(2).stderr;
    let known = help.split_once("[possible values: ").unwrap().1.split_once(']').unwrap().0;
    assert_eq!(known.split(", ").map(str::to_owned).collect::<BTreeSet<_>>(), published());
    for name in published() {
        let path = root().join(format!("docs/schemas/reports/{name}.json"));
        let printed = lab.run(&["report", "--schema", &name]).expect(0).stdout;
        let printed = String::from_utf8(printed).unwrap();
        let told = format!("drover report --schema {name} >{}", path.display());
        assert!(printed == fs::read_to_string(&path).unwrap(), "{told}");
    }
}

/// Documents of every verb, done, with exceptions and failed.
fn documents(lab: &Lab) -> Vec<PathBuf> {
    let source = lab.path("source");
    fs::create_dir_all(source.join("letters")).unwrap();
    fs::write(source.join("letters/\u{202e}a"), "SSN: 536-22-1234, born 03/04/1961").unwrap();
    fs::write(source.join("readme"), "hello").unwrap();
    std::os::unix::fs::symlink("readme", source.join("link")).unwrap();
    let plan = lab.path("plan.toml");
    let (repository, target) = (&lab.repository, lab.path("target"));
    let text = format!(
        "[repository]\nurl = \"{repository}\"\n\n[[source]]\nname = \"office\"\nurl = \"{}\"\n\n\
         [target]\nurl = \"{}\"\n\n[cutover]\nfreeze = \"1 hour\"\n\n[costs]\nprices = \"{}\"\n",
        source.display(),
        target.display(),
        root().join("plans/prices/aws.toml").display(),
    );
    fs::write(&plan, text).unwrap();
    let plan = plan.to_str().unwrap();
    let path = |name: &str| lab.path(name).to_str().unwrap().to_owned();
    let (to, out, certificate, proof) =
        (path("target"), path("evidence"), path("certificate.txt"), path("proof.txt"));
    let at = source.to_str().unwrap();
    let verbs: &[&[&str]] = &[
        &["sync", plan],
        &["init", plan],
        &["init", plan],
        &["status", plan],
        &["plan", plan],
        &["plan", plan, "--offline", "--no-content"],
        &["sync", plan, "--dry-run"],
        &["sync", plan],
        &["sync", plan],
        &["sync", "--repo", repository, "--source", at, "--source", &lab.repository],
        &["plan", plan],
        &["status", plan],
        &["inventory", plan],
        &["inventory", plan, "--since", "latest"],
        &["inventory", "--source", at, "--source", "/nowhere"],
        &["audit"],
        &["verify", plan],
        &["verify", plan, "--read-data=50%", "--certificate", &certificate],
        &["verify", "--check-certificate", &certificate],
        &["verify", plan, "--prove", "readme", "--proof", &proof],
        &["verify", "--check-proof", &proof],
        &["restore", plan, "latest", &to],
        &["restore", plan, "latest", &to, "--overwrite", "--dry-run"],
        &["verify", plan, "--target", &to],
        &["evidence", plan, "--out", &out],
        &["cutover", plan, "--show"],
        &["cutover", plan, "--rehearse", "--operator", "someone"],
        &["snapshots", plan],
        &["ls", plan, "latest", "--recursive"],
        &["ls", plan, "latest:none"],
        &["diff", plan, "latest", "latest"],
        &["key", "list", "--repo", repository],
        &["key", "rotate", "--repo", repository],
        &["key", "revoke", "--repo", repository, "none"],
        &["log", "show", "--repo", repository],
        &["log", "verify", "--repo", repository],
        &["cat", plan, "latest:none"],
        &["report", "none"],
    ];
    let mut written = Vec::new();
    let mut run = |at: usize, verb: &[&str]| {
        let answer = lab.run(&[verb, &["--json"]].concat());
        answer.json();
        let path = lab.path(&format!("{at:02}-{}.json", verb[0]));
        fs::write(&path, &answer.stdout).unwrap();
        written.push(path);
    };
    verbs.iter().enumerate().for_each(|(at, verb)| run(at, verb));
    fs::write(target.join("readme"), "other").unwrap();
    run(90, &["verify", plan, "--target", &to]);
    run(91, &["demo", &path("demo")]);
    written
}

#[test]
fn documents_are_what_their_schemas_say() {
    let python = root().join("target/test-tools/reader/bin/python");
    if !python.exists() {
        assert!(std::env::var_os("DROVER_TEST_SERVICES").is_none(), "run tests/services/install");
        return;
    }
    let lab = Lab::new();
    let documents = documents(&lab);
    let seen: BTreeSet<String> = documents
        .iter()
        .map(|path| {
            let document: serde_json::Value =
                serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            let body = document.as_object().unwrap().len() > 2 || document["error"].is_null();
            let schema = document["schema"].as_str().unwrap();
            let verb = schema.trim_start_matches("drover.").trim_end_matches("/1");
            if body { verb.to_owned() } else { "failure".to_owned() }
        })
        .collect();
    assert_eq!(seen, published(), "a verb is not tried, or always fails");
    let mut check = Command::new(python);
    check
        .arg("-B")
        .arg(root().join("tests/cli/schemas.py"))
        .arg(root().join("docs/schemas/reports"));
    let output = check.args(&documents).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
}
