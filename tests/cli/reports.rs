//! Reports in their other forms: Markdown, CSV, and what a verification says of each file.

use std::{collections::BTreeMap, fs, path::Path};

use crate::{lab::Lab, services::s3_service};

/// The rows of a CSV file (RFC 4180), each by the names of its columns.
fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = vec![vec![String::new()]];
    let mut quoted = false;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let line = lines.last_mut().unwrap();
        match (c, quoted) {
            ('"', true) if rest.peek() == Some(&'"') => {
                rest.next();
                line.last_mut().unwrap().push('"');
            }
            ('"', _) => quoted = !quoted,
            (',', false) => line.push(String::new()),
            ('\r', false) => assert_eq!(rest.peek(), Some(&'\n'), "{text}"),
            ('\n', false) => lines.push(vec![String::new()]),
            (c, _) => line.last_mut().unwrap().push(c),
        }
    }
    assert!(!quoted && lines.pop() == Some(vec![String::new()]), "{text}");
    let columns = lines.remove(0);
    let row = |cells: Vec<String>| {
        assert_eq!(cells.len(), columns.len(), "{text}");
        columns.iter().cloned().zip(cells).collect()
    };
    lines.into_iter().map(row).collect()
}

/// Whether two cells are the same. A fraction that was read from text may have another last digit.
fn is_same((told, again): ((&String, &String), (&String, &String))) -> bool {
    let number = |cell: &String| cell.parse::<f64>().ok();
    let is_near = match (number(told.1), number(again.1)) {
        (Some(a), Some(b)) => (a - b).abs() <= a.abs() * 1e-12,
        _ => false,
    };
    told == again || (told.0 == again.0 && is_near)
}

#[test]
fn every_form_says_the_same() {
    let (lab, source) = Lab::with_source();
    fs::write(source.join("=cmd|' C'!A0"), "formula").unwrap();
    let (at, repository) = (source.to_str().unwrap(), lab.repository.clone());
    let verbs: &[&[&str]] = &[
        &["inventory", "--source", at],
        &["plan", "--repo", &repository, "--source", at],
        &["audit"],
        &["sync", "--repo", &repository, "--source", at],
        &["verify", "--repo", &repository],
        &["ls", "--repo", &repository, "latest", "--recursive"],
    ];
    for verb in verbs {
        let path = |end: &str| lab.path(&format!("{}{end}", verb[0]));
        let (json, markdown, tables) = (path(".json"), path(".md"), path("-tables"));
        let (again, tables_again) = (path("-again.md"), path("-tables-again"));
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let mut all: Vec<String> = verb.iter().map(|word| (*word).to_owned()).collect();
        let forms = ["--json", "--markdown", &text(&markdown), "--csv", &text(&tables)];
        all.extend(forms.map(str::to_owned));
        let answer = lab.run(&all);
        assert!([0, 3].contains(&answer.code), "{all:?}: {}", answer.stderr);
        fs::write(&json, &answer.stdout).unwrap();
        let forms = ["--markdown", &text(&again), "--csv", &text(&tables_again)];
        let rendered = lab.run(&[&["report", json.to_str().unwrap()], &forms[..]].concat());
        let rendered = rendered.expect(0);
        assert!(rendered.stdout.is_empty() && rendered.stderr.is_empty(), "{}", rendered.stderr);

        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert!(read(&markdown).starts_with("# "), "{}", read(&markdown));
        assert_eq!(read(&markdown), read(&again), "{all:?}");
        let mut sheets = 0;
        for sheet in fs::read_dir(&tables).unwrap().map(|entry| entry.unwrap()) {
            let (told, again) = (rows(&sheet.path()), rows(&tables_again.join(sheet.file_name())));
            assert!(!told.is_empty() && told.len() == again.len(), "{sheet:?}");
            for (told, again) in told.iter().zip(&again) {
                assert!(told.iter().zip(again).all(is_same), "{sheet:?}: {told:?} {again:?}");
            }
            sheets += 1;
        }
        assert_eq!(sheets, fs::read_dir(&tables_again).unwrap().count());
        let schema = format!("drover.{}/1", verb[0]);
        assert_eq!(rows(&tables.join("report.csv"))[0]["value"], schema);
        // Tables of another report could be taken for those of this one.
        if verb[0] == "verify" {
            lab.run(&all).refused(1, "file", "tables");
        }
    }
    // Lists are those of the JSON, and no name is a formula.
    let listed = rows(&lab.path("ls-tables/entries.csv"));
    let names: Vec<&str> = listed.iter().map(|row| row["path"].as_str()).collect();
    assert_eq!(names, ["'=cmd|' C'!A0", "letters", "letters/a", "readme"]);
    assert_eq!(listed[2]["size"], "100000");
    let checks = rows(&lab.path("audit-tables/checks.csv"));
    assert!(checks.iter().any(|check| check["result"] == "pass"));
    let markdown = fs::read_to_string(lab.path("ls.md")).unwrap();
    assert!(markdown.contains("=cmd\\|' C'!A0"), "{markdown}");
}

#[test]
fn no_report_takes_no_form() {
    let (lab, source) = Lab::with_source();
    lab.sync(&source).expect(0);
    for form in ["--markdown", "--csv"] {
        let refused = lab.run(&["cat", "--repo", &lab.repository, "latest:readme", form, "out"]);
        let refused = refused.expect(2);
        assert!(refused.stderr.contains(form), "{}", refused.stderr);
    }
}

/// The verdict on each path.
fn verdicts(path: &Path) -> BTreeMap<String, String> {
    rows(path).into_iter().map(|row| (row["path"].clone(), row["verdict"].clone())).collect()
}

#[test]
fn each_file_has_a_verdict() {
    let (lab, source) = Lab::with_source();
    fs::write(source.join("other"), "other").unwrap();
    lab.sync(&source).expect(0);
    let (files, target) = (lab.path("files.csv"), lab.path("target"));
    let (file, to) = (files.to_str().unwrap(), target.to_str().unwrap());
    let verify = |more: &[&str]| lab.verb("verify", &[&["--files", file], more].concat());
    verify(&[]).refused(2, "command-line", "--files");

    // No row claims more than the method.
    verify(&["--snapshot", "latest"]).expect(0);
    let listed = rows(&files);
    assert!(listed.iter().all(|row| row["verdict"] == "acknowledged"), "{listed:?}");
    let hash = blake3::hash(b"hello").to_hex().to_string();
    let readme = listed.iter().find(|row| row["path"] == "readme").unwrap();
    assert_eq!((&readme["blake3"], &*readme["size"]), (&hash, "5"));
    verify(&["--snapshot", "latest", "--read-data"]).expect(0);
    assert!(verdicts(&files).values().all(|verdict| verdict == "match"));

    lab.verb("restore", &["latest", to]).expect(0);
    verify(&["--target", to]).expect(0);
    assert!(verdicts(&files).values().all(|verdict| verdict == "match"));
    fs::write(target.join("letters/a"), vec![8; 100_000]).unwrap();
    fs::remove_file(target.join("other")).unwrap();
    fs::write(target.join("more"), "more").unwrap();
    verify(&["--target", to]).expect(4);
    let found = verdicts(&files);
    let of = |path: &str| found[path].as_str();
    assert!(of("letters/a").contains("content differs"), "{found:?}");
    assert_eq!((of("other"), of("more"), of("readme")), ("missing", "extra", "match"));

    // A living source.
    fs::write(source.join("readme"), "changed").unwrap();
    verify(&["--source", source.to_str().unwrap()]).expect(0);
    assert_eq!(verdicts(&files)["readme"], "changed since");

    // A damaged pack hurts some, and those are named.
    let mut packs = Vec::new();
    let mut left = vec![Path::new(&lab.repository).join("packs")];
    while let Some(path) = left.pop() {
        match path.is_dir() {
            true => left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path())),
            false => packs.push(path),
        }
    }
    packs.sort_by_key(|pack| fs::metadata(pack).unwrap().len());
    let largest = packs.last().unwrap();
    let mut bytes = fs::read(largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(largest).unwrap();
    fs::write(largest, bytes).unwrap();
    let report = verify(&["--snapshot", "latest", "--read-data"]).expect(4).json();
    let hurt: Vec<_> =
        report["problems"].as_array().unwrap().iter().filter_map(|p| p["path"].as_str()).collect();
    for (path, verdict) in verdicts(&files) {
        let expected = if hurt.contains(&path.as_str()) { "damaged file" } else { "match" };
        assert_eq!(verdict, expected, "{path}: {report}");
    }
}

#[test]
fn counts_stand_beside_those_of_the_target() {
    let lab = Lab::with_repository();
    let demo = lab.path("demo");
    lab.run(&["demo", demo.to_str().unwrap(), "--progress", "none"]).expect(0);
    let source = demo.join("clinic");
    let at = source.to_str().unwrap();
    let inventory = lab.path("inventory.json");
    let answer = lab.run(&["inventory", "--source", at, "--json"]).expect(0);
    fs::write(&inventory, &answer.stdout).unwrap();
    let archive = answer.json()["reconciliation"].clone();
    lab.sync(&source).expect(0);
    let target = lab.path("target");
    let (to, file) = (target.to_str().unwrap(), inventory.to_str().unwrap());
    lab.verb("restore", &["latest", to]).expect(0);
    let verify = ["--target", to, "--inventory", file];
    let report = lab.verb("verify", &verify).expect(0).json();
    let counts = report["reconciliation"]["counts"].as_array().unwrap().clone();
    assert!(counts.iter().all(|count| count["before"] == count["after"]), "{counts:?}");
    let studies = |counts: &[serde_json::Value]| {
        let mut found = counts.iter().filter(|c| c["of"] == "DICOM" && c["what"] == "studies");
        found.next().unwrap().clone()
    };
    assert_eq!(studies(&counts)["before"], archive["studies"]);
    assert!(counts.iter().any(|count| count["what"] == "messages" && count["before"] != 0));
    // A study that is gone shows beside the files that are missing.
    let mut left = vec![target.clone()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if fs::read(&path).is_ok_and(|bytes| bytes.get(128..132) == Some(b"DICM")) {
            fs::remove_file(path).unwrap();
        }
    }
    let report = lab.verb("verify", &verify).expect(4).json();
    let counts = report["reconciliation"]["counts"].as_array().unwrap().clone();
    assert_eq!(
        (&studies(&counts)["before"], &studies(&counts)["after"]),
        (&archive["studies"], &0.into())
    );
    lab.verb("verify", &["--inventory", file]).expect(2);
}

#[test]
fn counts_stand_beside_those_of_a_bucket() {
    let Some(service) = s3_service() else { return };
    let lab = service.lab();
    lab.verb("init", &[""; 0]).expect(0);
    let demo = lab.path("demo");
    lab.run(&["demo", demo.to_str().unwrap(), "--progress", "none"]).expect(0);
    let source = demo.join("clinic");
    // One that is read in more than one piece, and whose last messages are not in the first.
    let mut feed = String::new();
    for id in 0..8192 {
        feed += &format!("MSH|^~\\&|LAB|EAST|EHR|EAST|20240102||ORU^R01|{id}|P|2.3\r");
        feed += &format!("OBX|1|TX|||{}\r", "-".repeat(1024));
    }
    assert!(feed.len() > 8 << 20);
    fs::write(source.join("feed.hl7"), feed).unwrap();
    let inventory = lab.path("inventory.json");
    let answer = lab.run(&["inventory", "--source", source.to_str().unwrap(), "--json"]).expect(0);
    fs::write(&inventory, &answer.stdout).unwrap();
    let archive = answer.json()["reconciliation"].clone();
    lab.sync(&source).expect(0);
    let bucket = format!("{}-objects", lab.repository);
    lab.verb("restore", &["latest", &bucket]).expect(0);
    let verify = ["--target", &bucket, "--inventory", inventory.to_str().unwrap()];
    let counts = |code: i32| {
        let report = lab.verb("verify", &verify).expect(code).json();
        report["reconciliation"]["counts"].as_array().unwrap().clone()
    };
    let found = counts(0);
    assert!(found.iter().all(|count| count["before"] == count["after"]), "{found:?}");
    let of = |found: &[serde_json::Value], of: &str, what: &str| {
        let mut fitting = found
            .iter()
            .filter(|count| count["of"].as_str().unwrap().starts_with(of) && count["what"] == what);
        fitting.next().unwrap().clone()
    };
    assert_eq!(of(&found, "DICOM", "studies")["after"], archive["studies"]);
    assert_eq!(of(&found, "HL7 LAB (EAST)", "messages")["after"], 8192);
    // Objects that are gone, and one that is another, show in the counts too.
    let mut left = vec![source.clone()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if fs::read(&path).is_ok_and(|bytes| bytes.get(128..132) == Some(b"DICM")) {
            let key = path.strip_prefix(&source).unwrap().to_str().unwrap();
            service.delete(&format!("{bucket}/{key}"));
        }
    }
    let feed = fs::read_to_string(source.join("feed.hl7")).unwrap().replace("LAB|EAST", "LAB|WEST");
    service.put(&format!("{bucket}/feed.hl7"), feed.as_bytes());
    let found = counts(4);
    let studies = of(&found, "DICOM", "studies");
    assert_eq!((&studies["before"], &studies["after"]), (&archive["studies"], &0.into()));
    assert_eq!(of(&found, "HL7 LAB (EAST)", "messages")["after"], 0);
    assert_eq!(of(&found, "HL7 LAB (WEST)", "messages")["after"], 8192);
}
