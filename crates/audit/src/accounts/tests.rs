//! Accounts of synthetic files: they prove parsing and judgement only.

use super::*;
use crate::{Absent, Answers, Content, PeerMap};

fn content(text: &str) -> Content {
    Content { status: Some(0), bytes: text.as_bytes().to_vec(), ..Content::default() }
}

fn answers(files: &[(P, &str)]) -> Answers {
    let mut answers = Answers::default();
    for (id, text) in files {
        answers.add(*id, "", Ok(content(text)));
    }
    answers
}

fn run(id: &str, answers: &Answers) -> Outcome {
    let peers = PeerMap::default();
    let now = drover_types::Timestamp { seconds: 1_795_760_701, nanos: 0 };
    let facts = Facts { answers, peers: &peers, tls: &[], now };
    (CHECKS.iter().find(|spec| spec.id == id).unwrap().run)(&facts)
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
                      daemon:x:1:1::/usr/sbin:/usr/sbin/nologin\n\
                      scanner:x:1001:1001::/home/scanner:/bin/sh\n\
                      toor:x:0:0::/root:/bin/sh\n\
                      old:x:1002:1002::/home/old:/bin/bash\n";

#[test]
fn what_is_wrong_is_found_and_names_accounts() {
    let shadow =
        "root:*:19000:0:::::\nscanner::19000:::::\ntoor:!:1:::::\nold:$6$a$b:19000::::::\n";
    let last = "Username Port From Latest\nold pts/0 10.0.0.9 Mon Jan  6 10:11:12 +0000 2025\n\
                root **Never logged in**\n";
    let all = answers(&[(P::Passwd, PASSWD), (P::Shadow, shadow), (P::LastLog, last)]);
    let of = |id| match run(id, &all) {
        Outcome::Finding { of, .. } => of,
        other => panic!("{id}: {other:?}"),
    };
    assert_eq!(of("empty-password"), ["scanner"]);
    assert_eq!(of("second-root"), ["toor"]);
    assert_eq!(of("stale-accounts"), ["old (last used 2025-01-06)"]);
    assert!(matches!(run("well-known-password", &all), Outcome::Pass(_)));
}

#[test]
fn what_cannot_be_seen_is_not_taken_for_right() {
    let mut without = answers(&[(P::Passwd, PASSWD)]);
    without.add(P::Shadow, "", Err(Absent::Denied));
    without.add(P::Sudoers, "", Err(Absent::Denied));
    without.add(P::AuthorizedKeys, "/root/.ssh/authorized_keys", Err(Absent::Denied));
    without.add(P::Rhosts, "/root/.rhosts", Err(Absent::Denied));
    for id in [
        "empty-password",
        "well-known-password",
        "weak-password-hash",
        "sudo-without-password",
        "stale-accounts",
        "weak-keys",
        "shared-keys",
        "rhosts",
        "shadow-readable",
    ] {
        let outcome = run(id, &without);
        assert!(
            matches!(&outcome, Outcome::CouldNotCheck(why) if why.len() > 10),
            "{id}: {outcome:?}"
        );
    }
}

#[test]
fn rules_of_sudo() {
    let rules = "# comment NOPASSWD: ALL\nDefaults env_reset\nroot ALL=(ALL) ALL\n\
                 backup ALL=(root) NOPASSWD: /usr/bin/rsync\n%ops ALL=(ALL) \\\n NOPASSWD: ALL\n";
    let all = answers(&[(P::Passwd, PASSWD), (P::Sudoers, rules)]);
    let outcome = run("sudo-without-password", &all);
    assert!(
        matches!(&outcome, Outcome::Finding { of, .. } if of == &["%ops (any command)"]),
        "{outcome:?}"
    );
}

#[test]
fn homes_are_those_of_whoever_has_a_shell() {
    assert_eq!(homes(PASSWD), ["/home/old", "/home/scanner", "/root"]);
    assert!(homes("a:x:0:0::/a/../etc:/bin/sh\nb:x:0:0:::/bin/sh\nc\n").is_empty());
}
