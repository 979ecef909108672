//! Certificates: the file as a whole, and the text that is signed in it.

use drover_crypt::sign::SigningKey;
use drover_repo::certificate::{
    Certificate, CertifiedHead, CertifiedResult, CertifiedSnapshot, Method, Sample, Totals, Verdict,
};
use drover_types::{RepositoryId, SnapshotId, WriterId};

/// Bytes as either. What is read is written again as it was.
pub fn run(data: &[u8]) -> bool {
    let whole = Certificate::open(data);
    if let Ok(certificate) = &whole {
        assert_eq!(certificate.verifier, key().public(), "a signature was forged");
        assert_eq!(certificate.sign(&key()).as_bytes(), data);
    }
    let text = std::str::from_utf8(data).ok().map(Certificate::parse);
    if let Some(Ok(certificate)) = &text {
        assert_eq!(certificate.text().as_bytes(), data);
    }
    whole.is_ok() || matches!(text, Some(Ok(_)))
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[2; 32])
}

fn certificate(method: Method, verdict: Verdict) -> Certificate {
    let head =
        CertifiedHead { writer: WriterId([1; 16]), sequence: 3, snapshot: SnapshotId([5; 32]) };
    let snapshot = CertifiedSnapshot {
        head,
        time: -1,
        entries: 10,
        files: 9,
        bytes: 8,
        exceptions: 1,
        exceptions_digest: (verdict == Verdict::Verified).then_some([6; 32]),
        manifest_root: [7; 32],
        packs: 4,
        packs_root: [8; 32],
        result: None,
    };
    let nothing = method == Method::Nothing;
    Certificate {
        program: "drover 0.1.0".into(),
        time: 1_795_823_807,
        repository: (!nothing).then_some(RepositoryId([9; 16])),
        verifier: key().public(),
        method,
        opened: method != Method::ReadBack,
        sample: (method == Method::ReadBackSample).then_some(Sample { packs: 1, of: 4, seed: 7 }),
        statement: "what was done".into(),
        verdict,
        problems: u64::from(verdict == Verdict::Failed),
        unchecked: u64::from(verdict == Verdict::Incomplete),
        changed_since: 0,
        totals: Totals { entries: 10, files: 9, bytes: 8, packs: 4, chunks: 20 },
        heads: if nothing { Vec::new() } else { vec![head] },
        snapshots: if nothing { Vec::new() } else { vec![snapshot] },
    }
}

/// One of two snapshots, each of which was verified by itself.
fn of_each() -> Certificate {
    let mut whole = certificate(Method::ReadBack, Verdict::Failed);
    whole.opened = false;
    let Some(first) = whole.snapshots.pop() else { return whole };
    let failed = CertifiedResult {
        method: Method::ReadBack,
        opened: false,
        verdict: Verdict::Failed,
        problems: 1,
        unchecked: 0,
        changed_since: 0,
    };
    let (method, verdict) = (Method::LandedAndHashed, Verdict::Verified);
    let landed = CertifiedResult { method, opened: true, verdict, problems: 0, ..failed };
    for (sequence, result) in [(2, landed), (3, failed)] {
        let head = CertifiedHead { sequence, ..first.head };
        whole.snapshots.push(CertifiedSnapshot { head, result: Some(result), ..first.clone() });
    }
    whole
}

/// Of each method and verdict one, whole and as its text.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        (Method::ReadBackSample, Verdict::Verified),
        (Method::ReadBack, Verdict::Verified),
        (Method::Acknowledged, Verdict::Failed),
        (Method::Nothing, Verdict::Incomplete),
    ]
    .into_iter()
    .map(|(method, verdict)| certificate(method, verdict))
    .chain([of_each()])
    .flat_map(|certificate| {
        [certificate.sign(&key()).into_bytes(), certificate.text().into_bytes()]
    })
    .collect()
}
