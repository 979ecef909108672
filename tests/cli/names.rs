//! Names that would steer a terminal, a browser or a reader's eye, through everything that shows
//! names: none comes out as it is.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::Path};

use crate::lab::Lab;

const NAMES: &[&[u8]] = &[
    b"a\x1b[2Jb",
    b"new\nline",
    b"return\rover",
    b"\x07\x08\x7f",
    "c1\u{9b}31m".as_bytes(),
    "a\u{202e}txt.exe".as_bytes(),
    "\u{2066}isolated\u{2069}\u{200b}\u{feff}".as_bytes(),
    b"<script>alert(1)<b onload=x>",
    b"'\"&lt;",
    b"=1+1",
    b"\xff\xfe",
];

/// Neither a control character but the ends of lines, nor one that turns or hides text.
fn is_plain(text: &str) -> bool {
    text.chars().all(|c| {
        let deceives = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}' | '\u{feff}');
        (c == '\n' || !c.is_control()) && !deceives
    })
}

#[test]
fn no_name_comes_out_raw() {
    let lab = Lab::with_repository();
    let source = lab.path("source\u{1b}[31m\u{202e}<script>");
    fs::create_dir(&source).unwrap();
    for name in NAMES {
        let directory = source.join(OsStr::from_bytes(name));
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join(OsStr::from_bytes(name)), name).unwrap();
    }
    let from = source.to_str().unwrap().to_owned();
    lab.run(&["sync", "--repo", &lab.repository, "--source", &from]).expect(0);
    fs::write(source.join(OsStr::from_bytes(NAMES[0])).join("more"), "more").unwrap();
    let newest = lab.verb("snapshots", &[""; 0]).expect(0).json().to_string();
    assert!(is_plain(&newest));

    let to = lab.path("restored").to_str().unwrap().to_owned();
    let verbs: &[&[&str]] = &[
        &["sync", "--source", &from, "--operator", "o\u{1b}[31m\u{202e}<script>"],
        &["verify", "--read-data"],
        &["snapshots"],
        &["ls", "latest"],
        &["restore", "latest", &to, "--overwrite"],
        &["verify", "--target", &to],
        &["log", "show"],
    ];
    let mut checked = 0;
    for verb in verbs {
        for form in ["text", "--json", "--html", "--markdown", "--csv"] {
            let page = lab.path(&format!("page{checked}"));
            // A target that differs, so that names are in the report of a failure too.
            if verb.contains(&"--target") {
                let victim = Path::new(&to).join(OsStr::from_bytes(NAMES[5]));
                let _ = fs::remove_dir_all(victim);
            }
            let words = if verb[0] == "log" { 2 } else { 1 };
            let mut all = verb[..words].to_vec();
            all.extend(["--repo", &lab.repository]);
            all.extend(&verb[words..]);
            all.extend((form != "text").then_some(form));
            let is_file = ["--html", "--markdown", "--csv"].contains(&form);
            all.extend(is_file.then(|| page.to_str().unwrap()));
            let answer = lab.run(&all);
            let shown = String::from_utf8(answer.stdout).unwrap();
            assert!(is_plain(&shown), "{all:?}: {shown:?}");
            assert!(is_plain(&answer.stderr), "{all:?}: {:?}", answer.stderr);
            if form == "--html" {
                let page = fs::read_to_string(&page).unwrap();
                // The page has one script of its own.
                let scripts = page.matches("<script").count();
                assert!(is_plain(&page) && scripts == 1 && !page.contains("<b onload"));
            }
            if form == "--markdown" {
                let page = fs::read_to_string(&page).unwrap();
                assert!(is_plain(&page) && !page.replace("\\<", "").contains('<'), "{page}");
            }
            if form == "--csv" {
                for sheet in fs::read_dir(&page).unwrap().map(|entry| entry.unwrap().path()) {
                    let rows = fs::read_to_string(&sheet).unwrap().replace("\r\n", "\n");
                    assert!(is_plain(&rows) && !rows.contains("\"=1+1"), "{rows}");
                }
            }
            checked += 1;
        }
    }
    assert_eq!(checked, 5 * verbs.len());

    // What is handed on: a folder of all of it, and proofs of names.
    let folder = lab.path("evidence");
    let out =
        ["--files", "--out", folder.to_str().unwrap(), "--operator", "o\u{1b}[31m\u{202e}<script>"];
    lab.verb("evidence", &out).expect(0);
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    for file in files.filter(|path| path.extension().is_some_and(|kind| kind != "sig")) {
        let text = fs::read_to_string(&file).unwrap().replace("\r\n", "\n");
        let scripts = if file.extension().is_some_and(|kind| kind == "html") { 1 } else { 0 };
        assert!(is_plain(&text), "{}: {text:?}", file.display());
        assert!(scripts == 0 || text.matches("<script").count() == scripts, "{}", file.display());
    }
    let proof = lab.path("proof.txt");
    for name in NAMES {
        // As it is printed, it is found.
        let shown = drover_types::path::escape(name);
        let to = ["--prove", &shown, "--proof", proof.to_str().unwrap()];
        lab.verb("verify", &to).expect(0);
        assert!(is_plain(&fs::read_to_string(&proof).unwrap()));
    }
}
