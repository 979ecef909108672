//! Folders of evidence: what is in them, and what they are never made of.

use std::os::unix::fs::symlink;

use super::*;

fn fill(root: &Path, names: &[&str]) -> Vec<Piece> {
    let mut folder = EvidenceFolder::create(root).unwrap();
    for name in names {
        folder.add(name, "a piece", name.as_bytes()).unwrap();
    }
    let key = SigningKey::from_seed(&[1; 32]);
    folder.finish(&key, &Summary::default()).unwrap()
}

#[test]
fn a_folder_is_listed_and_signed() {
    let lab = tempfile::tempdir().unwrap();
    let root = lab.path().join("a/b");
    let pieces = fill(&root, &["log.json", "plan.toml"]);
    let text = fs::read_to_string(root.join(SUMS)).unwrap();
    assert_eq!(sums::names(&text).unwrap().len(), pieces.len());
    for piece in &pieces {
        let bytes = fs::read(root.join(&piece.name)).unwrap();
        assert_eq!(*blake3::hash(&bytes).as_bytes(), piece.blake3, "{}", piece.name);
        let mode = fs::metadata(root.join(&piece.name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", piece.name);
    }
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
    let signature = fs::read(root.join(SIGNATURE)).unwrap().try_into().unwrap();
    let key = SigningKey::from_seed(&[1; 32]).public();
    assert!(key.verify_text(text.as_bytes(), &drover_crypt::sign::Signature(signature)).is_ok());
    // Only what is there is mapped.
    let controls = fs::read_to_string(root.join("controls.csv")).unwrap();
    assert!(controls.contains("\"log.json\"") && !controls.contains("\"keys.json\""));
}

#[test]
fn a_second_run_leaves_nothing_of_the_first() {
    let lab = tempfile::tempdir().unwrap();
    let root = lab.path().join("evidence");
    fill(&root, &["log.json", "plan.toml"]);
    // Somebody's own notes are nobody's evidence, and stay.
    fs::write(root.join("notes"), "mine").unwrap();
    fill(&root, &["log.json"]);
    assert!(!root.join("plan.toml").exists());
    assert_eq!(fs::read(root.join("notes")).unwrap(), b"mine");
}

#[test]
fn a_folder_of_something_else_is_refused() {
    let lab = tempfile::tempdir().unwrap();
    fs::write(lab.path().join("file"), "content").unwrap();
    let refused = EvidenceFolder::create(lab.path());
    assert!(matches!(refused, Err(EvidenceError::NotEmpty(_))), "{refused:?}");
    assert_eq!(fs::read_dir(lab.path()).unwrap().count(), 1);
    // Files are not replaced through a link.
    let root = lab.path().join("evidence");
    fill(&root, &["log.json"]);
    symlink(lab.path(), root.join(INCLUDED)).unwrap();
    assert!(EvidenceFolder::create(&root).is_err());
}

#[test]
fn files_are_included_by_their_names() {
    let lab = tempfile::tempdir().unwrap();
    let mut folder = EvidenceFolder::create(&lab.path().join("evidence")).unwrap();
    let report = lab.path().join("sync report.html");
    fs::write(&report, "content").unwrap();
    folder.include(&report).unwrap();
    assert!(matches!(folder.include(&report), Err(EvidenceError::Include { .. })));
    for name in ["back\\slash", "new\nline", ".hidden", "bidi\u{202e}txt"] {
        let file = lab.path().join(name);
        fs::write(&file, "content").unwrap();
        assert!(matches!(folder.include(&file), Err(EvidenceError::Include { .. })), "{name:?}");
    }
    assert!(matches!(folder.include(lab.path()), Err(EvidenceError::Include { .. })));
    assert!(matches!(folder.include(&lab.path().join("x")), Err(EvidenceError::Io { .. })));
    let pieces = folder.finish(&SigningKey::from_seed(&[1; 32]), &Summary::default()).unwrap();
    assert!(pieces.iter().any(|piece| piece.name == "included/sync report.html"));
}
