//! There and back, on a local disk.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    compare::assert_same,
    lab::{Lab, number},
    tree,
};

const NOTHING: &[&str] = &[];

#[test]
fn what_comes_back_is_what_went_in() {
    let lab = Lab::with_repository();
    let source = lab.path("source");
    let entries = tree::hostile(&source);

    let baseline = lab.sync(&source).expect(0).json();
    assert_eq!(baseline["schema"], "drover.sync/1");
    check_sums(&baseline);
    assert_eq!(number(&baseline, "/entries/total"), entries);
    assert_eq!(number(&baseline, "/entries/new"), entries);
    assert!(baseline["parent"].is_null());
    assert!(number(&baseline, "/bytes/source") > 80 << 20, "a hole counts by its length");
    // Twice the same noise, and text that repeats.
    assert!((3_000_000..3_500_000).contains(&number(&baseline, "/bytes/stored")), "{baseline}");
    assert!(number(&baseline, "/bytes/read") < 20 << 20, "holes are not read: {baseline}");
    let on_disk: u64 = tree::packs(&lab.repository).iter().map(|pack| pack.1).sum();
    assert!(number(&baseline, "/bytes/uploaded") >= on_disk);

    let target = lab.path("target");
    verified(&lab, &["--read-data"]);
    restored(&lab, "latest", &target, &[]);
    assert_same(&source, &target, NOTHING);
    verified(&lab, &["--target", target.to_str().unwrap()]);
    verified(&lab, &["--source", source.to_str().unwrap()]);

    // Nothing changed: nothing is read.
    let idle = lab.sync(&source).expect(0).json();
    check_sums(&idle);
    assert_eq!(number(&idle, "/entries/unchanged"), entries, "{idle}");
    assert_eq!(number(&idle, "/bytes/new"), 0);
    assert_eq!(idle["parent"], baseline["snapshot"]);

    // One of each change.
    fs::write(source.join("text"), "other content").unwrap();
    fs::write(source.join("hollow/added"), "more").unwrap();
    fs::remove_file(source.join("empty")).unwrap();
    fs::remove_file(source.join("fifo")).unwrap();
    fs::rename(source.join("*"), source.join("renamed")).unwrap();
    let delta = lab.sync(&source).expect(0).json();
    check_sums(&delta);
    assert_eq!(number(&delta, "/entries/new"), 2, "{delta}");
    assert_eq!(number(&delta, "/entries/changed"), 1, "{delta}");
    assert_eq!(number(&delta, "/entries/removed"), 3, "{delta}");
    assert!(number(&delta, "/bytes/read") < 1000, "{delta}");

    // The earlier restore is brought up to date, and a new one of the first pass is as it was.
    restored(&lab, "latest", &target, &["--delete"]);
    assert_same(&source, &target, NOTHING);
    verified(&lab, &["--target", target.to_str().unwrap()]);
    let earlier = lab.path("earlier");
    restored(&lab, baseline["snapshot"].as_str().unwrap(), &earlier, &[]);
    assert!(earlier.join("fifo").exists() && earlier.join("empty").exists());
    assert_ne!(fs::read(earlier.join("text")).unwrap(), b"other content");
    verified(&lab, &["--read-data=20%", "--seed", "7"]);
}

#[test]
fn looking_inside() {
    let (lab, source) = Lab::with_source();
    let first = lab.sync(&source).expect(0).json()["snapshot"].as_str().unwrap().to_owned();
    fs::write(source.join("readme"), "hello again").unwrap();
    fs::remove_file(source.join("letters/a")).unwrap();
    fs::write(source.join(OsStr::new("letters/b")), "b").unwrap();
    let second = lab.sync(&source).expect(0).json()["snapshot"].as_str().unwrap().to_owned();

    let snapshots = lab.verb("snapshots", &[""; 0]).expect(0).json();
    let listed: Vec<_> =
        snapshots["snapshots"].as_array().unwrap().iter().map(|s| s["id"].as_str()).collect();
    assert_eq!(listed, [Some(&*first), Some(&*second)], "{snapshots}");

    let ls = lab.verb("ls", &[&first, "--recursive"]).expect(0).json();
    let paths: Vec<_> =
        ls["entries"].as_array().unwrap().iter().map(|e| e["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["letters", "letters/a", "readme"]);

    let cat = |what: String| lab.run(&["cat", "--repo", &lab.repository, &what]).expect(0).stdout;
    assert_eq!(cat(format!("{first}:readme")), b"hello");
    assert_eq!(cat(format!("{}:letters/a", &first[..12])), vec![7; 100_000]);
    assert_eq!(cat("latest:readme".into()), b"hello again");

    let diff = lab.verb("diff", &[&first, &second]).expect(0).json();
    let shown = diff.to_string();
    for path in ["readme", "letters/a", "letters/b"] {
        assert!(shown.contains(&format!("\"{path}\"")), "{path} is not in {diff}");
    }

    let log = lab.verb("log verify", &[""; 0]).expect(0).json();
    assert_eq!(log["schema"], "drover.log/1");
    let keys = lab.verb("key list", &[""; 0]).expect(0).json();
    assert_eq!(keys["schema"], "drover.key/1");

    // One directory, and one file, alone.
    let part = lab.path("part");
    restored(&lab, &format!("{first}:letters"), &part, &[]);
    assert_eq!(fs::read(part.join("a")).unwrap(), vec![7; 100_000]);
    let file = lab.path("file");
    restored(&lab, &format!("{first}:readme"), &file, &[]);
    assert_eq!(fs::read(file.join("readme")).unwrap(), b"hello");
}

#[test]
fn a_writer_that_cannot_read() {
    let (lab, source) = Lab::with_source();
    let file = lab.path("server.cred");
    let file = file.to_str().unwrap();
    lab.verb("key export-writer", &["--label", "server", "--out", file]).expect(0);
    let elsewhere = |verb: &str, arguments: &[&str]| {
        let mut all = vec![verb, "--repo", &lab.repository, "--json"];
        all.extend(arguments);
        let mut command = lab.command(&all);
        command.env_remove("DROVER_PASSWORD").env("DROVER_STATE_DIR", lab.path("server"));
        crate::lab::Answer::new(command.output().unwrap())
    };
    let source = source.to_str().unwrap();
    elsewhere("sync", &["--source", source, "--credential", file]).expect(0);
    fs::write(Path::new(source).join("readme"), "changed").unwrap();
    let delta = elsewhere("sync", &["--source", source]).expect(0).json();
    assert_eq!(number(&delta, "/entries/changed"), 1, "{delta}");
    elsewhere("snapshots", &[]).refused(12, "no-password", "password");
    // It takes a new epoch's keys from the store; the file that it came with is as good as before.
    let rotated = lab.verb("key rotate", NOTHING).expect(0).json();
    assert_eq!((&rotated["epoch"], &rotated["writers"][0]["epoch"]), (&2.into(), &2.into()));
    fs::write(Path::new(source).join("readme"), "changed again").unwrap();
    elsewhere("sync", &["--source", source, "--credential", file]).expect(0);
    elsewhere("sync", &["--source", source, "--credential", file]).expect(0);
    verified(&lab, &["--read-data"]);
    let target = lab.path("target");
    restored(&lab, "latest", &target, &[]);
    assert_same(Path::new(source), &target, NOTHING);
}

#[test]
fn a_writer_that_is_revoked() {
    let (lab, source) = Lab::with_source();
    lab.sync(&source).expect(0);
    let credential = |name: &str| {
        let file = lab.path(name).display().to_string();
        let made = lab.verb("key export-writer", &["--label", "server", "--out", &file]);
        (made.expect(0).json()["subject"].as_str().unwrap().to_owned(), file)
    };
    let pass = |file: &str| {
        let source = source.to_str().unwrap();
        let all = ["sync", "--repo", &lab.repository, "--json", "--source", source];
        let mut command = lab.command(&all);
        command.args(["--credential", file]);
        command.env_remove("DROVER_PASSWORD").env("DROVER_STATE_DIR", lab.path("server"));
        crate::lab::Answer::new(command.output().unwrap())
    };
    let write = |text: &str| fs::write(source.join("readme"), text).unwrap();
    let (writer, file) = credential("server.cred");
    write("of the server");
    let last = pass(&file).expect(0).json();
    let last = last["snapshot"].as_str().unwrap();
    write("of a thief");
    pass(&file).expect(0);

    let revoke = |arguments: &[&str]| lab.verb("key revoke", arguments);
    revoke(&["ffff0000"]).refused(1, "no-such-key", "writer ffff0000");
    revoke(&[&writer, "--after", "0123abcd"]).refused(1, "no-such-key", "snapshot of this writer");
    let revoked = revoke(&[&writer[..8], "--after", last]).expect(0).json();
    let mut shown = revoked["writers"].as_array().unwrap().iter();
    let shown = shown.find(|shown| shown["id"] == writer.as_str()).unwrap();
    assert_eq!(shown["revoked_after"], 1);
    revoke(&[&writer]).refused(12, "not-allowed", "was revoked before");

    // What counts is there, and the rest is no damage: the repository can be verified.
    assert_eq!(
        lab.run(&["cat", "--repo", &lab.repository, "latest:readme"]).stdout,
        b"of the server"
    );
    let verified = lab.verb("verify", &["--read-data"]).expect(0).json();
    assert!(verified["warnings"].to_string().contains("count for nothing: 1"), "{verified}");
    pass(&file).refused(12, "writer-revoked", "after number 1");
    assert!(lab.verb("log show", NOTHING).expect(0).json().to_string().contains("key revoke"));

    // With another credential the machine goes on, by keys of its own.
    fs::remove_file(find(&lab.path("server"), "credential")).unwrap();
    write("of the server again");
    let again = pass(&credential("new.cred").1).expect(0).json();
    assert_eq!(number(&again, "/entries/unchanged"), 0, "{again}");
    let target = lab.path("target");
    restored(&lab, "latest", &target, &[]);
    assert_same(&source, &target, NOTHING);

    // Of a credential that never came to its machine nothing counts.
    let (writer, file) = credential("lost.cred");
    fs::remove_dir_all(lab.path("server")).unwrap();
    write("of another thief");
    pass(&file).expect(0);
    revoke(&[&writer, "--after", "none"]).expect(0);
    assert_eq!(
        lab.run(&["cat", "--repo", &lab.repository, "latest:readme"]).stdout,
        b"of the server again"
    );
}

/// The file of this name below a directory.
fn find(folder: &Path, name: &str) -> PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false if entry.file_name() == name => return entry.path(),
                false => {}
            }
        }
    }
    panic!("no {name}")
}

#[test]
fn damage_is_found_and_named() {
    let (lab, source) = Lab::with_source();
    fs::write(source.join("noise"), tree::noise(2, 1_000_000)).unwrap();
    lab.sync(&source).expect(0);
    let (name, _) = tree::packs(&lab.repository).into_iter().max_by_key(|pack| pack.1).unwrap();
    let pack = Path::new(&lab.repository).join("packs").join(&name[..2]).join(&name);
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&pack, &bytes).unwrap();
    let damaged = lab.verb("verify", &["--read-data"]).expect(4).json();
    assert_eq!(damaged["verdict"], "failed");
    assert!(damaged["problems"].to_string().contains(&name), "{damaged}");

    // What is whole comes back, and what is not is named.
    let target = lab.path("target");
    let restore = lab.verb("restore", &["latest", target.to_str().unwrap()]).expect(3).json();
    assert!(restore["exceptions"].to_string().contains("noise"), "{restore}");

    fs::remove_file(&pack).unwrap();
    let missing = lab.verb("verify", &[""; 0]).expect(4).json();
    assert!(missing["problems"].to_string().contains(&name), "{missing}");
}

/// Checks that the numbers of a pass agree with one another.
#[track_caller]
fn check_sums(pass: &serde_json::Value) {
    let entries = |name: &str| number(pass, &format!("/entries/{name}"));
    let parts = ["new", "changed", "metadata", "unchanged"].map(entries);
    assert_eq!(entries("total"), parts.iter().sum::<u64>(), "{pass}");
    for name in ["put", "get", "head", "list"] {
        number(pass, &format!("/requests/{name}"));
    }
    assert!(number(pass, "/bytes/uploaded") >= number(pass, "/bytes/stored"), "{pass}");
    assert_eq!(pass["exceptions"].as_array().map(Vec::len), Some(0), "{pass}");
    assert!(pass["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{pass}");
}

#[track_caller]
pub fn verified(lab: &Lab, arguments: &[&str]) {
    let verify = lab.verb("verify", arguments).expect(0).json();
    assert_eq!(verify["verdict"], "verified", "{verify}");
    assert_eq!(verify["problems"].as_array().map(Vec::len), Some(0), "{verify}");
}

#[track_caller]
pub fn restored(lab: &Lab, what: &str, target: &Path, arguments: &[&str]) {
    let mut all = vec![what, target.to_str().unwrap()];
    all.extend(arguments);
    let restore = lab.verb("restore", &all).expect(0).json();
    assert_eq!(restore["exceptions"].as_array().map(Vec::len), Some(0), "{restore}");
}

/// Ends the test unless everything in the repository reads back, and the newest snapshot comes back
/// as `source` is, into the lab's `target`.
#[track_caller]
pub fn comes_back(lab: &Lab, source: &Path, arguments: &[&str]) {
    verified(lab, &["--read-data"]);
    let target = lab.path("target");
    restored(lab, "latest", &target, arguments);
    assert_same(source, &target, &[]);
}

#[test]
fn a_target_that_is_not_as_it_should_be() {
    let (lab, source) = Lab::with_source();
    lab.sync(&source).expect(0);
    let target = lab.path("target");
    restored(&lab, "latest", &target, &[]);
    // Of the same length and time: only its content tells.
    let letter = target.join("letters/a");
    let modified = fs::metadata(&letter).unwrap().modified().unwrap();
    fs::write(&letter, vec![8; 100_000]).unwrap();
    fs::File::options().write(true).open(&letter).unwrap().set_modified(modified).unwrap();
    fs::remove_file(target.join("readme")).unwrap();
    fs::write(target.join("extra"), "extra").unwrap();
    let verify = lab.verb("verify", &["--target", target.to_str().unwrap()]).expect(4).json();
    assert_eq!(verify["verdict"], "failed");
    let problems = verify["problems"].to_string();
    for (kind, path) in
        [("content differs", "letters/a"), ("missing", "readme"), ("extra", "extra")]
    {
        assert!(problems.contains(kind) && problems.contains(path), "{kind} {path}: {problems}");
    }
}

#[test]
fn a_source_that_moved_on_is_no_damage() {
    let (lab, source) = Lab::with_source();
    lab.sync(&source).expect(0);
    fs::write(source.join("readme"), "changed since").unwrap();
    fs::write(source.join("new"), "new").unwrap();
    let verify = lab.verb("verify", &["--source", source.to_str().unwrap()]).expect(0).json();
    let changed = verify["changed_since"].to_string();
    assert!(changed.contains("readme") && changed.contains("new"), "{verify}");
}

#[test]
fn a_repository_that_was_set_back() {
    let (lab, source) = Lab::with_source();
    lab.sync(&source).expect(0);
    let copy = lab.path("copy");
    let set_back = |from: &Path, to: &Path| {
        let mut copy = Command::new("rsync");
        let mut from = from.as_os_str().to_owned();
        from.push("/");
        assert!(copy.args(["-a", "--delete"]).arg(from).arg(to).status().unwrap().success());
    };
    set_back(Path::new(&lab.repository), &copy);
    fs::write(source.join("readme"), "second").unwrap();
    lab.sync(&source).expect(0);
    let seen = lab.verb("verify", &[""; 0]).expect(0);
    let report = lab.path("verify.json");
    fs::write(&report, &seen.stdout).unwrap();
    set_back(&copy, Path::new(&lab.repository));

    // This machine saw the later head, and so did whoever kept the report.
    lab.verb("verify", &[""; 0]).expect(4);
    // What this machine then recorded shows it to everybody: the records before are missing.
    fs::remove_dir_all(lab.path("state")).unwrap();
    let verify = lab.verb("verify", &[""; 0]).expect(4).json();
    assert_eq!(verify["problems"][0]["kind"], "log", "{verify}");
    // Set back beyond that record too, it shows only to those who know of a later head.
    set_back(&copy, Path::new(&lab.repository));
    verified(&lab, &[]);
    let verify = lab.verb("verify", &["--expect-head", report.to_str().unwrap()]).expect(4).json();
    assert_eq!(verify["verdict"], "failed");
}

#[test]
fn a_report_can_be_rendered_again() {
    let (lab, source) = Lab::with_source();
    let pass = lab.sync(&source).expect(0);
    fs::write(lab.path("pass.json"), &pass.stdout).unwrap();
    let html = lab.path("pass.html");
    lab.run(&["report", "pass.json", "--html", html.to_str().unwrap()]).expect(0);
    let page = fs::read_to_string(html).unwrap();
    assert!(page.contains(&pass.json()["snapshot"].as_str().unwrap()[..12]), "{page}");
    // Its own, which sorts tables; the policy of the page allows no other.
    assert_eq!(page.matches("<script").count(), 1);
    assert!(page.contains("default-src 'none'; style-src 'sha256-"));
}

#[test]
fn the_log_tells_what_was_done_and_by_whom() {
    let (lab, source) = Lab::with_source();
    // A machine that never wrote cannot sign.
    lab.verb("verify", NOTHING).expect(0);
    lab.sync(&source).expect(0);
    let target = lab.path("target");
    lab.verb("verify", &["--read-data", "--operator", "ada"]).expect(0);
    lab.verb("restore", &["latest", target.to_str().unwrap(), "--dry-run"]).expect(0);
    restored(&lab, "latest", &target, &[]);
    let file = lab.path("key");
    fs::write(&file, [7; 64]).unwrap();
    let key = file.to_str().unwrap();
    let slot = lab.verb("key add", &["--new-key-file", key, "--role", "auditor"]).expect(0).json();
    lab.verb("key remove", &["ffffffffffffffffff"]).expect(1);
    lab.verb("verify", &["--snapshot", "ffff"]).expect(1);

    let log = lab.verb("log show", NOTHING).expect(0).json();
    let field = |name: &str| -> Vec<&str> {
        let records = log["records"].as_array().unwrap();
        records.iter().map(|record| record[name].as_str().unwrap()).collect()
    };
    let verbs = ["sync", "verify", "restore", "key add", "key remove", "verify"];
    assert_eq!(field("verb"), verbs, "{log}");
    assert_eq!(field("operator")[1], "ada");
    assert!(field("outcome")[1].starts_with("verified, read back"), "{log}");
    assert!(field("outcome")[2].contains("3 entries written"), "{log}");
    assert_eq!(field("subject")[3], slot["subject"]);
    assert_eq!(field("outcome")[5], "failed: no-such-snapshot");
    // Where something landed can tell of patients.
    assert!(!field("subject").concat().contains("target"), "{log}");
    lab.verb("log verify", NOTHING).expect(0);
}
