//! The table of checks, and that no answer can do harm.

use std::collections::BTreeSet;

use drover_types::Timestamp;
use proptest::prelude::*;

use crate::{check::AREAS, *};

fn all() -> impl Iterator<Item = &'static Spec> {
    AREAS.iter().copied().flatten()
}

#[test]
fn checks_are_told_apart_and_say_what_to_do() {
    let ids: Vec<_> = all().map(|spec| spec.id).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    assert!(ids.len() >= 36, "{}", ids.len());
    for spec in all() {
        assert!(spec.id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
        assert!(spec.reference.starts_with("NIST SP 800-53 "), "{spec:?}");
        assert!(spec.remedy.ends_with('.') && !spec.title.ends_with('.'), "{spec:?}");
        assert!(!spec.asks.is_empty(), "{spec:?}");
        for word in [spec.likelihood, spec.impact] {
            assert!(["low", "medium", "high"].contains(&word), "{spec:?}");
        }
    }
}

#[test]
fn the_document_has_every_check_and_every_question() {
    let document = include_str!("../../../docs/audit.md");
    for spec in all() {
        let Spec { id, title, severity, reference, .. } = spec;
        let row = format!("| `{id}` | {title} | {} | {reference} |", severity.as_str());
        assert!(document.contains(&row), "{row}");
    }
    for probe in PROBES {
        let Probe { ask, purpose, rights, .. } = probe;
        let row = format!("| {} | `{ask}` | {purpose} | {} |", ask.verb(), rights.as_str());
        assert!(document.contains(&row), "{row}");
    }
}

#[test]
fn without_any_answer_nothing_is_in_order_by_itself() {
    let answers = Answers::default();
    let mut denied = Answers::default();
    PROBES.iter().for_each(|probe| denied.add(probe.id, "", Err(Absent::Denied)));
    let mut peers = PeerMap::default();
    peers.failure = Some(Absent::Denied);
    let facts = Facts { answers: &denied, peers: &peers, tls: &[], now: Timestamp::default() };
    for check in checks(&facts) {
        let unknown = matches!(&check.outcome, Outcome::CouldNotCheck(why) if !why.is_empty());
        assert!(unknown, "{}: {:?}", check.spec.id, check.outcome);
    }
    // Where nothing is there, only what is then truly in order may pass.
    let facts = Facts { answers: &answers, ..facts };
    for check in checks(&facts).iter().filter(|check| matches!(check.outcome, Outcome::Pass(_))) {
        let may = [
            "package-lists",
            "smb-guests",
            "smb1",
            "nfs-world",
            "nfs-root",
            "ssh-root",
            "ssh-passwords",
            "ssh-empty-passwords",
            "ssh-algorithms",
            "sudo-without-password",
        ];
        assert!(may.contains(&check.spec.id), "{}: {:?}", check.spec.id, check.outcome);
    }
}

/// Words that mean something to one parser or another, so that drawn text gets past its beginning.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec![
            "tcp",
            "LISTEN",
            "0:",
            "0100007F:0019",
            "md0",
            ":",
            "[2/1]",
            "[U_]",
            "(F)",
            "NAME=\"sda\"",
            "PKNAME=\"sda\"",
            "KNAME=\"sda\"",
            "TYPE=\"crypt\"",
            "root:x:0:0::/root:/bin/sh",
            "Inst",
            "NOPASSWD:",
            "ALL",
            "ssh-rsa",
            "Match",
            "[global]",
            "guest ok = yes",
            "vmlinuz-1",
            "2026-11-27",
            "Id=a.timer",
            "LastTriggerUSec=",
            "$6$",
            "rounds=9",
            "0A",
            "users:((\"",
            "\\\n",
            "f 644 0 1 2 name",
            "/dev/sda",
            "ext4",
            "nfs4",
            "host:/x",
            "99999999999999999999",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,6}",
        any::<String>(),
    ]
}

fn text() -> impl Strategy<Value = String> {
    let line = prop::collection::vec(word(), 0..8).prop_map(|words| words.join(" "));
    prop::collection::vec(line, 0..6).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn whatever_a_server_answers_is_judged(
        text in text(),
        status in prop_oneof![Just(Some(0)), Just(Some(100)), Just(None)],
        seconds in any::<i32>(),
    ) {
        let mut answers = Answers::default();
        for probe in PROBES {
            let bytes = text.clone().into_bytes();
            let content = Content { status, bytes, ..Content::default() };
            answers.add(probe.id, "/root/.ssh/authorized_keys", Ok(content));
        }
        let mut peers = PeerMap::default();
        peers.add(&[&text]);
        let now = Timestamp { seconds: seconds.into(), nanos: 0 };
        let facts = Facts { answers: &answers, peers: &peers, tls: &[], now };
        prop_assert_eq!(checks(&facts).len(), all().count());
        system(&facts);
        peers.peers(&facts);
        shares(&facts);
        cron_jobs(&facts);
        homes(&text);
        backup::backups(&facts);
    }
}
