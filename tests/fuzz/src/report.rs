//! Documents that `drover report` reads again.

use drover_report::{Document, Failure};

/// Bytes as a document; what is written of it parses again, and its page can be drawn.
pub fn run(data: &[u8]) -> bool {
    let Ok(document) = Document::parse(data) else { return false };
    let json = document.to_json().unwrap();
    assert_eq!(Document::parse(json.as_bytes()).unwrap().to_json().unwrap(), json);
    let html = drover_report::html(&document.page()).unwrap();
    // The page has one script of its own.
    assert_eq!(html.to_ascii_lowercase().matches("<script").count(), 1);
    true
}

/// A document of a failure, and those that the crate's own tests keep.
pub fn seeds() -> Vec<Vec<u8>> {
    let failure = Failure {
        kind: "wrong-password".into(),
        message: "<script>alert(1)</script>".into(),
        remedy: "\u{202e}check it".into(),
        exit: 1,
    };
    let document = Document::failed("sync", failure);
    vec![document.to_json().unwrap().into_bytes()]
}
