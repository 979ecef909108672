use drover_types::{Exception, ExceptionKind, RelativePath};
use serde_json::json;

use super::{exception::ExceptionItem, sync::*, verify::*, *};
use crate::{ListWriter, html};

fn hostile() -> ExceptionItem {
    ExceptionItem::from(&Exception {
        path: RelativePath::new(&b"<script>alert(1)</script>\xff\x1b[2J"[..]).unwrap(),
        kind: ExceptionKind::Denied,
        message: "no\nway \u{202e}".to_owned(),
    })
}

fn pass(exceptions: Vec<ExceptionItem>) -> SyncSource {
    SyncSource {
        source: "archive".into(),
        snapshot: Some("ab".repeat(32).into()),
        entries: SyncEntries { total: 3, new: 1, unchanged: 2, ..Default::default() },
        bytes: SyncBytes { source: 10, read: 4, new: 4, stored: 5, uploaded: 9 },
        requests: SyncRequests { put: 3, get: 1, head: 0, list: 1 },
        exceptions,
        seconds: 1.5,
        ..Default::default()
    }
}

fn text(document: &Document) -> String {
    let mut out = Vec::new();
    document.page().write_text(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_pass_has_the_fields_that_others_rely_on() {
    let report = SyncReport::new("s3://b/p".into(), vec![pass(vec![hostile()])], 2.0);
    let json: Value = serde_json::from_str(&Document::done(report).to_json().unwrap()).unwrap();
    let expected = json!({
        "schema": "drover.sync/1",
        "repository": "s3://b/p",
        "source": "archive",
        "snapshot": "ab".repeat(32),
        "parent": null,
        "entries":
            {"total": 3, "new": 1, "changed": 0, "metadata": 0, "unchanged": 2, "removed": 0, "excluded": 0},
        "bytes": {"source": 10, "read": 4, "new": 4, "stored": 5, "uploaded": 9},
        "requests": {"put": 3, "get": 1, "head": 0, "list": 1},
        "exceptions": [{
            "path": "<script>alert(1)</script>\\xff\\x1b[2J",
            "path_b64": "PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pv8bWzJK",
            "kind": "denied",
            "message": "no\\x0away \\xe2\\x80\\xae",
        }],
        "seconds": 1.5,
    });
    assert_eq!(json, expected);
}

#[test]
fn several_sources_are_summed_and_listed() {
    let sources = vec![pass(vec![]), pass(vec![hostile()])];
    let report = SyncReport::new("r".into(), sources, 2.0);
    assert!(report.has_exceptions());
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["entries"]["total"], 6);
    assert_eq!(json["bytes"]["uploaded"], 18);
    assert_eq!(json["requests"]["put"], 6);
    assert_eq!(json["snapshot"], Value::Null);
    assert_eq!(json["sources"][1]["exceptions"][0]["kind"], "denied");
    assert_eq!(json["seconds"], 2.0);
}

#[test]
fn what_was_written_reads_again_and_says_the_same() {
    let problem = Problem {
        kind: "content".into(),
        path: Some("a".into()),
        message: "differs".into(),
        ..Default::default()
    };
    let verify = VerifyReport {
        verdict: Verdict::Failed,
        method: "read back".into(),
        problems: vec![problem],
        heads: vec![Head { writer: "w".into(), sequence: 4, snapshot: "s".into() }],
        ..Default::default()
    };
    let failure = Failure { kind: "difference".into(), exit: 4, ..Default::default() };
    let lost = SyncSource { error: Some(failure.clone()), ..Default::default() };
    let partial = SyncReport::new("r".into(), vec![pass(vec![]), lost], 1.0);
    let step = |exit| crate::DemoStep { title: "t".into(), exit, ..Default::default() };
    let demo =
        crate::DemoReport { steps: vec![step(None), step(Some(4))], seed: 7, ..Default::default() };
    let documents = [
        Document::done(demo.clone()),
        Document::failed_with(demo, failure.clone()),
        Document::failed_with(partial, failure.clone()),
        Document::done(SyncReport::new("r".into(), vec![pass(vec![]), pass(vec![])], 1.0)),
        Document::failed_with(verify, failure.clone()),
        Document::failed("restore", failure),
        Document::done(crate::KeyReport { action: "list".into(), ..Default::default() }),
    ];
    for document in documents {
        let json = document.to_json().unwrap();
        let again = Document::parse(json.as_bytes()).unwrap();
        assert_eq!(again.to_json().unwrap(), json);
        assert_eq!(text(&again), text(&document));
    }
}

#[test]
fn a_report_from_elsewhere_cannot_deceive_or_run() {
    let json = br#"{"schema":"drover.sync/1","source":"<img src=x onerror=alert(1)>",
        "exceptions":[{"path":"a\u001b[2J\"'<b>","kind":"denied\nfake line","message":"x"}],
        "added_later": true}"#;
    let page = Document::parse(json).unwrap().page();
    let html = html(&page).unwrap();
    assert!(!html.contains("<img") && !html.contains("<b>") && !html.contains('\u{1b}'));
    assert!(html.contains("&#60;img src=x"));
    let mut text = Vec::new();
    page.write_text(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    assert!(!text.lines().any(|line| line.starts_with("fake line")));
}

#[test]
fn the_page_allows_its_own_style_and_script_and_nothing_else() {
    use data_encoding::BASE64;
    use sha2::{Digest, Sha256};
    let html = html(&Document::done(VerifyReport::default()).page()).unwrap();
    let style = html.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    let script = html.split_once("<script>").unwrap().1.split_once("</script>").unwrap().0;
    let hash = |text: &str| BASE64.encode(&Sha256::digest(text.as_bytes()));
    let allowed = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; ",
        hash(style),
        hash(script)
    );
    assert!(html.contains(&allowed));
    assert_eq!(html.matches("<script").count(), 1);
    for word in ["http://", "https://", " style=", "url(", "innerHTML", "eval("] {
        assert!(!html.contains(word), "{word}");
    }
}

#[test]
fn what_is_no_report_is_refused() {
    for bad in [
        &b""[..],
        b"[]",
        b"{}",
        b"\"drover.sync/1\"",
        b"{\"schema\":1}",
        b"{\"schema\":\"drover.sync/2\"}",
        b"{\"schema\":\"drover.cat/1\"}",
        b"{\"schema\":\"drover.sync/1\",\"exceptions\":3}",
        b"{\"schema\":\"drover.verify/1\",\"verdict\":\"perhaps\"}",
    ] {
        assert!(Document::parse(bad).is_err(), "{}", bad.escape_ascii());
    }
}

#[test]
fn a_failure_says_what_and_what_to_do() {
    let failure = Failure {
        kind: "no-repository".into(),
        message: "there is no repository at /x".into(),
        remedy: "make one".into(),
        exit: 10,
    };
    let document = Document::failed("sync", failure.clone());
    let json: Value = serde_json::from_str(&document.to_json().unwrap()).unwrap();
    assert_eq!(json["error"]["exit"], 10);
    assert_eq!(json.as_object().unwrap().len(), 2);
    let page = Document::failed_with(SyncReport::default(), failure).page();
    assert_eq!((page.tone, page.verdict.as_str()), (Tone::Bad, "failed"));
    assert_eq!(page.next[0], "make one");
}

#[test]
fn a_list_written_as_it_goes_is_one_document() {
    #[derive(Serialize)]
    struct Head {
        snapshot: Text,
    }
    let error = Failure { kind: "damaged".into(), exit: 1, ..Default::default() };
    for items in 0..3 {
        let mut out = Vec::new();
        let head = Head { snapshot: "s".into() };
        let mut list = ListWriter::begin(&mut out, &schema("ls"), &head, "entries").unwrap();
        for at in 0..items {
            let path = crate::PathText { path: format!("f{at}").into(), path_b64: None };
            list.item(&crate::LsItem { path, ..Default::default() }).unwrap();
        }
        list.finish(&json!({}), Some(&error)).unwrap();
        let document = Document::parse(&out).unwrap();
        assert_eq!(document.error, Some(error.clone()));
        match document.body {
            Some(Body::Ls(ls)) => assert_eq!(ls.entries.len(), items),
            other => panic!("{other:?}"),
        }
    }
}
