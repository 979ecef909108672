//! The pages in a real browser: Chromium, without a screen.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::lab::Lab;

const DRIVER: &str = "/usr/bin/chromedriver";
const BROWSER: &str = "/usr/bin/chromium";

/// What the browser saw of these pages; `None` where there is none, which `tests/run` does not
/// allow.
fn look(pages: &[&Path]) -> Option<Value> {
    browse(pages.iter().map(|page| page.as_os_str()))
}

/// What the browser saw of a live page: before the file `go` is made, and once its state is `until`.
pub fn watch(url: &str, go: &Path, until: &str) -> Option<Value> {
    browse(["--watch".as_ref(), url.as_ref(), go.as_os_str(), until.as_ref()].into_iter())
}

#[allow(clippy::print_stderr)]
fn browse<'a>(arguments: impl Iterator<Item = &'a std::ffi::OsStr>) -> Option<Value> {
    if !Path::new(DRIVER).exists() || !Path::new(BROWSER).exists() {
        let required = std::env::var("DROVER_TEST_SERVICES").is_ok_and(|v| v == "required");
        assert!(!required, "chromium and chromium-driver are not installed");
        eprintln!("skipped: there is no {DRIVER}");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/browser.py");
    let output = Command::new("python3")
        .arg(script)
        .args([DRIVER, BROWSER])
        .args(arguments)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// A tree whose names would like to be markup.
fn source(lab: &Lab) -> PathBuf {
    let source = lab.path("source");
    fs::create_dir(&source).unwrap();
    for (n, name) in [
        "<script>window.planted=1<\u{2215}script>",
        "<img src=x onerror=window.planted=2>",
        "\"><svg onload=window.planted=3>",
        "control \u{1} \u{202e} name",
        "</style><b>bold</b>".replace('/', "\u{2215}").as_str(),
        "needle in the hay",
        "&lt;b&gt; is text",
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(source.join(name), vec![7; 1000 * n]).unwrap();
    }
    for n in 0..300_usize {
        fs::write(source.join(format!("file {n}")), vec![1; n * n * 3]).unwrap();
    }
    source
}

#[test]
fn pages_are_what_they_should_be_in_a_browser() {
    let lab = Lab::with_repository();
    let source = source(&lab);
    lab.sync(&source).expect(0);
    let at = source.to_str().unwrap();
    let page = |name: &str| lab.path(&format!("{name}.html"));
    let write = |verb: &str, more: &[&str]| {
        let page = page(verb);
        let html = page.to_str().unwrap();
        lab.verb(verb, &[more, &["--html", html]].concat());
        assert!(page.exists(), "{verb}");
        page
    };
    let folder = lab.path("evidence");
    let evidence = write("evidence", &["--out", folder.to_str().unwrap()]);
    let certificate = folder.join("certificate.txt");
    let proof = lab.path("proof.txt");
    let [certificate, proof] = [&certificate, &proof].map(|path| path.to_str().unwrap());
    // Of one verb two pages: what was checked is moved out of the way.
    let checked = |name: &str, more: &[&str]| {
        let checked = page(name);
        fs::rename(write("verify", more), &checked).unwrap();
        checked
    };
    let proven =
        checked("proven", &["--prove", "<img src=x onerror=window.planted=2>", "--proof", proof]);
    let certified = checked("certified", &["--check-certificate", certificate]);
    let pages = [
        write("ls", &["latest"]),
        write("verify", &["--read-data"]),
        write("sync", &["--source", at]),
        write("plan", &["--source", at, "--sample", "1 MiB"]),
        evidence,
        folder.join("controls.html"),
        folder.join("keys.html"),
        proven,
        certified,
    ];
    let pages: Vec<&Path> = pages.iter().map(PathBuf::as_path).collect();
    let Some(seen) = look(&pages) else { return };
    for page in &pages {
        let page = &seen[page.to_str().unwrap()];
        assert_eq!(page["console"], Value::Array(Vec::new()));
        assert!(page["printed"].as_u64().unwrap() > 10_000);
        let looks = page["looks"].as_object().unwrap();
        for (how, look) in looks {
            assert_eq!(look["overflow"], 0, "{how}");
            assert_eq!(look["fetched"], Value::Array(Vec::new()), "{how}");
            assert_eq!((&look["planted"], &look["images"]), (&Value::Null, &0.into()), "{how}");
            assert_eq!(look["scripts"], 1, "{how}");
        }
        assert_ne!(looks["1280 light"]["ground"], looks["1280 dark"]["ground"]);
    }
    // Sizes, ages, the week and the days, types: each is drawn, in a browser that is strict.
    let figures = &seen[page("plan").to_str().unwrap()]["looks"]["390 dark"]["figures"];
    assert!(figures.as_u64().unwrap() >= 6, "{figures}");
    let list = &seen[page("ls").to_str().unwrap()];
    let text = list["looks"]["1280 light"]["text"].as_str().unwrap();
    assert!(text.contains("<img src=x onerror=window.planted=2>"));
    let sorting = &list["sorting"];
    assert_eq!((&sorting["all"], &sorting["hidden"]), (&200.into(), &false.into()), "{sorting}");
    assert_eq!((&sorting["filtered"], &sorting["after_more"]), (&1.into(), &307.into()));
    assert_eq!(sorting["aria"], "ascending");
    let sizes = |which: &str| -> Vec<u64> {
        let cells = sorting[which].as_array().unwrap().iter();
        cells.filter_map(|c| c.as_str().unwrap().replace(',', "").parse().ok()).collect()
    };
    assert!(sizes("up").is_sorted() && sizes("up").len() == 200);
    assert!(sizes("down").iter().rev().is_sorted() && sizes("down")[0] == 299 * 299 * 3);
}
