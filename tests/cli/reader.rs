//! drover beside a reader that shares no code with it: tests/reader, written from docs/format.md.
//!
//! What both can read and what both miss is the format; what one alone does is a mistake of the
//! code or of the document.

use std::{collections::BTreeSet, ffi::OsStr, fs, path::Path, process::Command};

use serde_json::Value;

use crate::{
    compare::assert_same,
    lab::{Answer, Lab, PASSWORD},
    tree,
};

const NOTHING: &[&str] = &[];

/// The reader's answer; none where its packages are not installed and need not be.
fn read<S: AsRef<OsStr>>(lab: &Lab, verb: &str, arguments: &[S]) -> Option<Answer> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/test-tools/reader/bin/python");
    if !python.exists() {
        assert!(std::env::var_os("DROVER_TEST_SERVICES").is_none(), "run tests/services/install");
        return None;
    }
    let mut command = Command::new(python);
    command.arg("-B").arg(root.join("tests/reader")).args([verb, &lab.repository]).args(arguments);
    Some(Answer::new(command.env("DROVER_PASSWORD", PASSWORD).output().unwrap()))
}

fn document(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.stdout).unwrap()
}

#[test]
fn the_document_is_enough_to_restore() {
    let lab = Lab::with_repository();
    let source = lab.path("source");
    tree::hostile(&source);
    let first = lab.sync(&source).expect(0).json()["snapshot"].as_str().unwrap().to_owned();
    let earlier = lab.path("earlier");
    let Some(answer) = read(&lab, "restore", &[OsStr::new(&first), earlier.as_os_str()]) else {
        return;
    };
    answer.expect(0);
    assert_same(&source, &earlier, NOTHING);

    fs::write(source.join("text"), "other content").unwrap();
    fs::remove_file(source.join("fifo")).unwrap();
    lab.sync(&source).expect(0);
    let target = lab.path("target");
    read(&lab, "restore", &[OsStr::new("latest"), target.as_os_str()]).unwrap().expect(0);
    assert_same(&source, &target, NOTHING);
    let found = document(&read(&lab, "check", NOTHING).unwrap().expect(0));
    assert_eq!(found["snapshots"].as_array().unwrap().len(), 2, "{found}");
}

/// With a snapshot of twelve files that share nothing.
fn with_files() -> Lab {
    let lab = Lab::with_repository();
    let source = lab.path("source");
    fs::create_dir(&source).unwrap();
    for number in 0..12 {
        fs::write(source.join(number.to_string()), tree::noise(number, 50_000)).unwrap();
    }
    lab.sync(&source).expect(0);
    lab
}

/// Paths that drover and the reader say are hurt; each names the object too.
fn hurt(lab: &Lab, object: &str) -> Option<[BTreeSet<String>; 2]> {
    let mine = read(lab, "check", NOTHING)?.expect(1);
    let mine = document(&mine);
    assert!(mine["objects"].get(object).is_some(), "{object} is not named: {mine}");
    let verified = lab.verb("verify", &["--read-data"]).expect(4).json();
    let problems = verified["problems"].as_array().unwrap();
    assert!(problems.iter().any(|p| p["object"] == object), "{object} is not named: {verified}");
    let theirs = problems.iter().filter_map(|p| p["path"].as_str().map(str::to_owned)).collect();
    Some([theirs, mine["files"].as_object().unwrap().keys().cloned().collect()])
}

#[test]
fn both_find_the_same_damage() {
    let lab = with_files();
    let mut named = BTreeSet::new();
    for (pack, length) in tree::packs(&lab.repository) {
        // The pack of data; without one of metadata nobody can tell which files there are.
        if length < 12 * 50_000 {
            continue;
        }
        let object = format!("packs/{}/{pack}", &pack[..2]);
        let path = Path::new(&lab.repository).join(&object);
        let whole = fs::read(&path).unwrap();
        let mut damage = |bytes: Option<&[u8]>| {
            match bytes {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let found = hurt(&lab, &object);
            fs::write(&path, &whole).unwrap();
            let Some([theirs, mine]) = found else { return false };
            assert_eq!(theirs, mine);
            assert!(!mine.is_empty());
            named.extend(mine);
            true
        };
        for at in [1000, 123_456, 300_000, 555_555] {
            let mut flipped = whole.clone();
            flipped[at] ^= 16;
            if !damage(Some(&flipped)) {
                return;
            }
        }
        damage(None);
    }
    assert_eq!(named.len(), 12, "{named:?}");
    read(&lab, "check", NOTHING).unwrap().expect(0);
}

#[test]
fn a_cut_pack_hurts_only_what_lay_in_the_cut() {
    let lab = with_files();
    let (pack, length) = tree::packs(&lab.repository).into_iter().max_by_key(|p| p.1).unwrap();
    let object = format!("packs/{}/{pack}", &pack[..2]);
    let path = Path::new(&lab.repository).join(&object);
    let whole = fs::read(&path).unwrap();
    for (left, most) in [(length - 1, 0), (length / 2, 11)] {
        fs::write(&path, &whole[..left as usize]).unwrap();
        let Some([theirs, mine]) = hurt(&lab, &object) else { return };
        assert_eq!(theirs, mine, "{left} of {length} bytes");
        assert!(theirs.len() <= most, "{theirs:?} by {left} of {length} bytes");
    }
}

#[test]
fn the_log_is_part_of_what_is_verified() {
    let lab = Lab::with_repository();
    let source = lab.path("source");
    fs::create_dir(&source).unwrap();
    for pass in 0..2 {
        fs::write(source.join("file"), tree::noise(pass, 500)).unwrap();
        lab.sync(&source).expect(0);
    }
    let folder = fs::read_dir(Path::new(&lab.repository).join("log")).unwrap().next().unwrap();
    let folder = folder.unwrap().path();
    let mut records: Vec<_> = fs::read_dir(folder).unwrap().map(|r| r.unwrap().path()).collect();
    records.sort();
    assert!(records.len() >= 2);
    for record in &records {
        let whole = fs::read(record).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 4;
        for damaged in [Some(flipped), Some(whole[..whole.len() - 1].to_vec()), None] {
            match damaged {
                Some(bytes) => fs::write(record, bytes).unwrap(),
                None => fs::remove_file(record).unwrap(),
            }
            let found = lab.verb("verify", NOTHING).expect(4).json();
            let problems = found["problems"].as_array().unwrap();
            assert!(problems.iter().all(|problem| problem["kind"] == "log"), "{found}");
            if let Some(answer) = read(&lab, "check", NOTHING) {
                answer.expect(1);
            }
        }
        fs::write(record, whole).unwrap();
    }
    lab.verb("verify", NOTHING).expect(0);
}
