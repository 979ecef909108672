//! Certificates: one form, and none that was changed.

use proptest::prelude::*;

use super::*;

fn snapshot(writer: u8, sequence: u64) -> CertifiedSnapshot {
    let snapshot = SnapshotId([sequence as u8; 32]);
    CertifiedSnapshot {
        head: CertifiedHead { writer: WriterId([writer; 16]), sequence, snapshot },
        time: 1_795_823_807,
        entries: 12,
        files: 10,
        bytes: 1 << 40,
        exceptions: 1,
        exceptions_digest: Some([3; 32]),
        manifest_root: [4; 32],
        packs: 7,
        packs_root: [5; 32],
        result: None,
    }
}

/// The same, where each snapshot was verified by itself: two of them landed, one read back.
fn of_each(key: &SigningKey) -> Certificate {
    let mut whole = certificate(key);
    (whole.method, whole.sample, whole.verdict) = (Method::ReadBack, None, Verdict::Failed);
    (whole.problems, whole.unchecked) = (2, 1);
    let landed = CertifiedResult {
        method: Method::LandedAndHashed,
        opened: true,
        verdict: Verdict::Verified,
        problems: 0,
        unchecked: 0,
        changed_since: 0,
    };
    let (verdict, method) = (Verdict::Failed, Method::ReadBack);
    let failed = CertifiedResult { verdict, method, problems: 2, ..landed };
    let results = [landed, failed, landed];
    for (snapshot, result) in whole.snapshots.iter_mut().zip(results) {
        snapshot.result = Some(result);
    }
    whole
}

fn certificate(key: &SigningKey) -> Certificate {
    let snapshots = vec![snapshot(1, 1), snapshot(1, 2), snapshot(2, 9)];
    Certificate {
        program: "drover 0.1.0".into(),
        time: 1_795_823_808,
        repository: Some(RepositoryId([9; 16])),
        verifier: key.public(),
        method: Method::ReadBackSample,
        opened: true,
        sample: Some(Sample { packs: 12, of: 240, seed: 77 }),
        statement: "twelve packs of 240 were read back".into(),
        verdict: Verdict::Verified,
        problems: 0,
        unchecked: 0,
        changed_since: 0,
        totals: Totals { entries: 36, files: 30, bytes: 3 << 40, packs: 240, chunks: 900 },
        heads: vec![snapshots[1].head, snapshots[2].head],
        snapshots,
    }
}

#[test]
fn what_is_signed_is_read() {
    let key = SigningKey::from_seed(&[1; 32]);
    let certificate = certificate(&key);
    let file = certificate.sign(&key);
    assert_eq!(Certificate::open(file.as_bytes()), Ok(certificate.clone()));
    let of_each = of_each(&key);
    let file = of_each.sign(&key);
    assert!(file.starts_with("drover-certificate: 2\n"));
    assert_eq!(Certificate::open(file.as_bytes()), Ok(of_each));
    // Somebody else's signature under the verifier's name.
    let other = SigningKey::from_seed(&[2; 32]);
    let forged = certificate.sign(&other);
    assert!(matches!(
        Certificate::open(forged.as_bytes()),
        Err(CertificateError::Form(FormError::Contradiction(_)))
    ));
}

/// Never edited: what was signed then is read for ever.
#[test]
fn the_first_version_is_read() {
    let file = include_str!("version-1.txt");
    let key = SigningKey::from_seed(&[1; 32]);
    assert_eq!(Certificate::open(file.as_bytes()), Ok(certificate(&key)));
    assert_eq!(certificate(&key).sign(&key), file);
}

#[test]
fn every_changed_byte_is_refused() {
    let key = SigningKey::from_seed(&[1; 32]);
    let [first, second] = [certificate(&key), of_each(&key)].map(|c| c.sign(&key).into_bytes());
    no_byte_is_changed(&first);
    no_byte_is_changed(&second);
}

fn no_byte_is_changed(file: &[u8]) {
    for at in 0..file.len() {
        for change in [1, 2, 0x20, 0x80] {
            let mut changed = file.to_vec();
            changed[at] ^= change;
            assert!(Certificate::open(&changed).is_err(), "byte {at} by {change}");
        }
    }
    for len in 0..file.len() {
        assert!(Certificate::open(&file[..len]).is_err(), "cut at {len}");
    }
}

/// Whoever holds a key can sign anything; what contradicts itself is refused all the same.
#[test]
fn contradictions_are_refused() {
    let key = SigningKey::from_seed(&[1; 32]);
    let whole = certificate(&key);
    type Change = fn(&mut Certificate);
    let changes: [(&str, Change); 12] = [
        ("verified with problems", |c| c.problems = 1),
        ("verified with something unchecked", |c| c.unchecked = 1),
        ("failed without a problem", |c| c.verdict = Verdict::Failed),
        ("incomplete with nothing unchecked", |c| c.verdict = Verdict::Incomplete),
        ("verified nothing", |c| {
            (c.method, c.sample) = (Method::Nothing, None);
        }),
        ("verified no repository", |c| c.repository = None),
        ("a sample of all", |c| {
            c.sample = Some(Sample { packs: 240, of: 240, seed: 1 });
        }),
        ("heads out of order", |c| c.heads.reverse()),
        ("a head twice", |c| c.heads.push(c.heads[1])),
        ("snapshots out of order", |c| c.snapshots.reverse()),
        ("a snapshot twice", |c| c.snapshots.push(snapshot(2, 9))),
        ("a snapshot beyond its head", |c| c.snapshots.push(snapshot(2, 10))),
    ];
    for (what, change) in changes {
        let mut changed = whole.clone();
        change(&mut changed);
        let opened = Certificate::open(changed.sign(&key).as_bytes());
        assert!(
            matches!(opened, Err(CertificateError::Form(FormError::Contradiction(_)))),
            "{what}: {opened:?}"
        );
    }
}

/// The whole says no more than what came of each.
#[test]
fn a_whole_better_than_its_parts_is_refused() {
    let key = SigningKey::from_seed(&[1; 32]);
    let whole = of_each(&key);
    type Change = fn(&mut Certificate);
    fn result(c: &mut Certificate, at: usize) -> &mut CertifiedResult {
        c.snapshots[at].result.as_mut().unwrap()
    }
    let changes: [(&str, Change); 11] = [
        ("verified, and a part failed", |c| {
            (c.verdict, c.problems, c.unchecked) = (Verdict::Verified, 0, 0);
        }),
        ("incomplete, and a part failed", |c| (c.verdict, c.problems) = (Verdict::Incomplete, 0)),
        ("fewer problems", |c| c.problems = 1),
        ("fewer things unchecked", |c| {
            let result = result(c, 0);
            (result.verdict, result.unchecked) = (Verdict::Incomplete, 2);
        }),
        ("fewer changes", |c| result(c, 0).changed_since = 1),
        ("a stronger method", |c| c.method = Method::LandedAndHashed),
        ("opened, and a part was not", |c| result(c, 1).opened = false),
        ("a part failed without a problem", |c| result(c, 0).verdict = Verdict::Failed),
        ("a part verified nothing", |c| {
            (c.method, result(c, 0).method) = (Method::Nothing, Method::Nothing);
        }),
        ("a part of a sample", |c| {
            (c.method, result(c, 0).method) = (Method::Acknowledged, Method::ReadBackSample);
        }),
        ("so many problems that a sum would turn over", |c| {
            let result = result(c, 0);
            (result.verdict, result.problems) = (Verdict::Failed, u64::MAX);
        }),
    ];
    assert!(Certificate::open(whole.sign(&key).as_bytes()).is_ok());
    for (what, change) in changes {
        let mut changed = whole.clone();
        change(&mut changed);
        let opened = Certificate::open(changed.sign(&key).as_bytes());
        assert!(
            matches!(opened, Err(CertificateError::Form(FormError::Contradiction(_)))),
            "{what}: {opened:?}"
        );
    }
    // All of them have a result, or none, by the version.
    let mut changed = whole.clone();
    changed.snapshots[1].result = None;
    assert!(Certificate::open(changed.sign(&key).as_bytes()).is_err());
    for (text, from, to) in [
        (whole.text(), "certificate: 2", "certificate: 1"),
        (certificate(&key).text(), ": 1", ": 2"),
    ] {
        assert!(Certificate::parse(&text).is_ok());
        assert!(Certificate::parse(&text.replacen(from, to, 1)).is_err());
    }
}

#[test]
fn there_is_one_spelling() {
    let key = SigningKey::from_seed(&[1; 32]);
    let text = certificate(&key).text();
    assert!(Certificate::parse(&text).is_ok());
    for (from, to) in [
        ("problems: 0", "problems: 00"),
        ("problems: 0", "problems: +0"),
        ("time: 2026-11-27T23:56:48Z", "time: 2026-11-27T23:56:48.0Z"),
        ("time: 2026-11-27T23:56:48Z", "time: 2026-11-28T00:56:48+01:00"),
        ("time: 2026-11-27T23:56:48Z", "time: @1795823808"),
        ("\nverdict", "\n\nverdict"),
        ("verdict: verified\n", "verdict: verified\r\n"),
        ("method: read back a sample", "method: landed and hashed"),
        ("program: drover 0.1.0", "program: "),
    ] {
        let other = text.replacen(from, to, 1);
        assert_ne!(other, text, "{from}");
        assert!(Certificate::parse(&other).is_err(), "{to}");
    }
    assert_eq!(Certificate::parse(&format!("{text}more: 1\n")), Err(FormError::Trailing));
}

fn head() -> impl Strategy<Value = CertifiedHead> {
    (any::<[u8; 16]>(), any::<u64>(), any::<[u8; 32]>()).prop_map(|(writer, sequence, hash)| {
        CertifiedHead { writer: WriterId(writer), sequence, snapshot: SnapshotId(hash) }
    })
}

prop_compose! {
    /// Any certificate that does not contradict itself.
    fn any_certificate()(
        known in prop::collection::btree_map(any::<[u8; 16]>(), (head(), 0u64..3), 0..4),
        method in prop::sample::select(&Method::ALL[1..]),
        verdict in prop::sample::select(&Verdict::ALL[..]),
        opened in any::<bool>(),
        numbers in any::<[u32; 8]>(),
        time in any::<i64>(),
        digest in any::<Option<[u8; 32]>>(),
        statement in "[!-\\[\\]-~]([ -\\[\\]-~]{0,80}[!-\\[\\]-~])?",
    ) -> Certificate {
        let number = |at: usize| u64::from(numbers[at]);
        let heads: Vec<CertifiedHead> = known
            .iter()
            .map(|(writer, (head, _))| CertifiedHead { writer: WriterId(*writer), ..*head })
            .collect();
        let of = |head: &CertifiedHead, count: u64| -> Vec<CertifiedSnapshot> {
            let sequences = (0..count).rev().filter_map(|back| head.sequence.checked_sub(back));
            sequences
                .map(|sequence| CertifiedSnapshot {
                    head: CertifiedHead { sequence, ..*head },
                    time,
                    exceptions_digest: digest,
                    ..snapshot(1, 1)
                })
                .collect()
        };
        let counts = known.values().map(|(_, count)| *count);
        let snapshots = heads.iter().zip(counts).flat_map(|(head, count)| of(head, count)).collect();
        let sample = Sample { packs: number(0), of: number(0) + 1 + number(1), seed: number(2) };
        Certificate {
            program: statement.clone(),
            time,
            repository: Some(RepositoryId([9; 16])),
            verifier: SigningKey::from_seed(&[1; 32]).public(),
            method,
            opened: opened || !method.reads_back(),
            sample: (method == Method::ReadBackSample).then_some(sample),
            statement,
            verdict,
            problems: if verdict == Verdict::Failed { 1 + number(3) } else { 0 },
            unchecked: match verdict {
                Verdict::Verified => 0,
                Verdict::Failed => number(4),
                Verdict::Incomplete => 1 + number(4),
            },
            changed_since: number(5),
            totals: Totals { entries: number(6), files: number(7), ..Totals::default() },
            heads,
            snapshots,
        }
    }
}

proptest! {
    #[test]
    fn any_certificate_is_read_as_it_was_written(certificate in any_certificate()) {
        let key = SigningKey::from_seed(&[1; 32]);
        let file = certificate.sign(&key);
        prop_assert_eq!(Certificate::open(file.as_bytes()), Ok(certificate));
    }

    #[test]
    fn any_text_is_read_as_it_is_or_refused(
        line in any::<prop::sample::Index>(),
        text in "[ -~\n]{0,40}",
    ) {
        let key = SigningKey::from_seed(&[1; 32]);
        let whole = certificate(&key).text();
        let mut lines: Vec<&str> = whole.split_inclusive('\n').collect();
        let at = line.index(lines.len());
        lines[at] = &text;
        let changed = lines.concat();
        if let Ok(read) = Certificate::parse(&changed) {
            prop_assert_eq!(read.text(), changed);
        }
    }
}
