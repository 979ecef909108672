//! Certificates and proofs checked, without keys where no repository is given; proofs made.

use std::{ffi::OsStr, path::Path};

use drover_crypt::{sign::PublicKey, text};
use drover_ops::file::write_whole;
use drover_repo::{
    Problem as Wrong,
    certificate::{Certificate, Verdict as Certified},
    proof::{self, Proof},
};
use drover_report::{
    CertificateItem, PathText, Problem, ProofItem, Text, Verdict, VerifyReport, VerifySample,
    VerifyTotals, format,
};
use drover_types::Timestamp;

use super::{CHECK, VerifyArgs, head, heads, hex, item, method};
use crate::{
    context::Context,
    error::Error,
    output,
    place::{Place, SnapshotPath},
    reading,
};

/// What is wrong with what was checked.
fn problem(kind: &str, message: impl Into<String>) -> Problem {
    Problem { kind: kind.into(), message: Text::from(message.into()), ..Problem::default() }
}

fn found(wrong: &Wrong) -> Problem {
    Problem { object: Some(wrong.object.as_str().into()), ..problem(wrong.kind, &*wrong.message) }
}

impl VerifyArgs {
    /// The repository to compare with, where one was given.
    fn compared_place(&self) -> Result<Option<Place>, Error> {
        match self.plan.is_some() || self.repository.is_given() {
            true => {
                let mut positionals = self.plan.clone().into_iter().collect();
                self.repository.place(&mut positionals).map(Some)
            }
            false => Ok(None),
        }
    }

    /// Whether a certificate holds, and what it claims.
    pub(super) fn check_certificate(
        &self,
        file: &Path,
        context: &Context,
    ) -> Result<VerifyReport, Error> {
        let place = self.compared_place()?;
        let expected = self.verifier.as_deref().map(public_key).transpose()?;
        let certificate = match heads::certificate(file)? {
            Ok(certificate) => certificate,
            Err(error) => {
                let file = Text::from(output::shown(file));
                return Ok(VerifyReport {
                    action: CHECK.into(),
                    verdict: Verdict::Failed,
                    method: "none".into(),
                    certificate: Some(CertificateItem { file, ..CertificateItem::default() }),
                    problems: vec![problem("certificate", error.to_string())],
                    ..VerifyReport::default()
                });
            }
        };
        let mut report = claimed(file, &certificate, expected);
        if let Some(place) = place {
            let mut session = reading::open(&place, context)?;
            let wrong = drover_ops::compare_certificate(&mut session, &certificate)?;
            report.problems.extend(session.problems.iter().chain(&wrong).map(found));
            report.repository = place.text();
            report.compared = Some(place.text());
        }
        if !report.problems.is_empty() {
            report.verdict = Verdict::Failed;
        }
        Ok(report)
    }

    /// Whether a proof holds, and of what.
    pub(super) fn check_proof(
        &self,
        file: &Path,
        context: &Context,
    ) -> Result<VerifyReport, Error> {
        if self.verifier.is_some() && self.certificate.is_none() {
            let message = "--verifier is whose certificate is checked: give --certificate";
            return Err(Error::Usage(message.to_owned()));
        }
        let place = self.compared_place()?;
        let bytes = heads::read(file, "cannot read the proof", proof::LONGEST as u64)?;
        let mut report = VerifyReport { action: "check-proof".into(), ..VerifyReport::default() };
        let proof = match Proof::open(&bytes) {
            Ok(proof) => proof,
            Err(error) => {
                report.verdict = Verdict::Failed;
                report.method = "none".into();
                let file = Text::from(output::shown(file));
                report.proof = Some(ProofItem { file, ..ProofItem::default() });
                report.problems = vec![problem("proof", error.to_string())];
                return Ok(report);
            }
        };
        let mut shown = proven(file, &proof);
        if let Some(file) = &self.certificate {
            let expected = self.verifier.as_deref().map(public_key).transpose()?;
            report.problems.extend(match heads::certificate(file)? {
                Err(error) => Some(problem("certificate", error.to_string())),
                Ok(certificate) => {
                    shown.certified_by = Some(Text::from(hex(&certificate.verifier.0)));
                    certifies(&certificate, &proof, expected)
                }
            });
        }
        if let Some(place) = place {
            let session = reading::open(&place, context)?;
            let open = &proof.snapshot.open;
            let is_there = session.history.snapshots.iter().any(|s| s.id() == proof.snapshot.id);
            if !is_there || open.repository != session.repository.id() {
                report.problems.push(problem("proof", "its snapshot is not in the repository"));
            }
            report.repository = place.text();
            report.compared = Some(place.text());
        }
        let holds = report.problems.is_empty();
        report.verdict = if holds { Verdict::Verified } else { Verdict::Failed };
        report.method = "proven by hashes".into();
        report.proof = Some(shown);
        Ok(report)
    }

    /// Proves that a path is in a snapshot.
    pub(super) fn prove(&self, path: &OsStr, context: &Context) -> Result<VerifyReport, Error> {
        let place = self.repository.place(&mut self.plan.clone().into_iter().collect())?;
        let path = SnapshotPath::parse_path(path)?;
        let source = self.method.source.as_ref();
        let source = source.map(|text| method::selector(&place, text)).transpose()?;
        let mut session = reading::open(&place, context)?;
        let wanted = self.method.snapshot.as_deref().unwrap_or("latest");
        let snapshot = session.find(wanted, source.as_deref())?.id();
        let made = drover_ops::prove(&mut session, snapshot, &path);
        let outcome = match &made {
            Ok(_) => "proven".to_owned(),
            Err(_) => "not proven".to_owned(),
        };
        // Which path it was stays out of the log.
        context.record(&session.repository, "verify", &format!("snapshot {snapshot}"), &outcome);
        let made = made?;
        let Some(file) = &self.proof else {
            return Err(Error::Usage("where to? Give --proof FILE".to_owned()));
        };
        let what = "cannot write the proof";
        write_whole(file, made.proof.text().as_bytes(), 0o600).map_err(|source| Error::File {
            what,
            path: file.clone(),
            source,
        })?;
        let mut shown = proven(file, &made.proof);
        shown.stale = Some(made.stale);
        Ok(VerifyReport {
            action: "prove".into(),
            repository: place.text(),
            verdict: Verdict::Verified,
            method: "proven by hashes".into(),
            proof: Some(shown),
            ..VerifyReport::default()
        })
    }
}

/// What a genuine certificate claims; a problem where it is another verifier's.
fn claimed(file: &Path, certificate: &Certificate, expected: Option<PublicKey>) -> VerifyReport {
    let mut shown = item(file, certificate);
    shown.expected = expected.map(|key| key == certificate.verifier);
    let mut problems = Vec::new();
    if shown.expected == Some(false) {
        problems.push(problem("verifier", "it is not signed by the verifier that was expected"));
    }
    let totals = &certificate.totals;
    let sample = certificate.sample.as_ref();
    VerifyReport {
        action: CHECK.into(),
        verdict: verdict(certificate.verdict),
        method: Text::from(words(certificate)),
        seed: sample.map(|sample| sample.seed),
        sample: sample.map(|sample| VerifySample {
            packs: sample.packs,
            of: sample.of,
            confidence: 0.99,
            damaged_below: drover_ops::damaged_below(sample),
        }),
        totals: VerifyTotals {
            entries: totals.entries,
            files: totals.files,
            bytes: totals.bytes,
            chunks: totals.chunks,
            packs: totals.packs,
        },
        problems,
        snapshots: certificate.snapshots.iter().map(line).collect(),
        heads: certificate.heads.iter().map(|known| head(&known.parts())).collect(),
        certificate: Some(shown),
        ..VerifyReport::default()
    }
}

fn verdict(certified: Certified) -> Verdict {
    match certified {
        Certified::Verified => Verdict::Verified,
        Certified::Failed => Verdict::Failed,
        Certified::Incomplete => Verdict::Incomplete,
    }
}

/// The method from the certificate's own fields, whatever its sentence says.
fn words(certificate: &Certificate) -> String {
    let mut words = certificate.method.as_str().to_owned();
    if let Some(sample) = &certificate.sample {
        words.push_str(&format!(": {} of {} packs, seed {}", sample.packs, sample.of, sample.seed));
        if certificate.verdict == Certified::Verified {
            words.push_str(&format!("; {}", drover_ops::confidence(sample)));
        }
    }
    if !certificate.opened {
        words.push_str("; packs of content were hashed and not opened");
    }
    words
}

fn line(snapshot: &drover_repo::certificate::CertifiedSnapshot) -> drover_report::CheckedSnapshot {
    drover_report::CheckedSnapshot {
        id: Text::from(snapshot.head.snapshot.to_string()),
        source: Text::default(),
        time: format::time(Timestamp { seconds: snapshot.time, nanos: 0 }),
        exceptions: snapshot.exceptions,
        method: Text::from(snapshot.result.map_or("", |result| result.method.as_str())),
        verdict: snapshot.result.map(|result| verdict(result.verdict)),
    }
}

/// What keeps `certificate` from standing behind the snapshot of `proof`.
fn certifies(
    certificate: &Certificate,
    proof: &Proof,
    expected: Option<PublicKey>,
) -> Option<Problem> {
    let open = &proof.snapshot.open;
    let named = certificate.snapshots.iter().find(|known| {
        known.head.snapshot == proof.snapshot.id
            && known.head.writer == open.writer
            && known.manifest_root == open.manifest_root
    });
    // What came of another source is not said of this one.
    let result = named.and_then(|known| known.result).map(|result| result.verdict);
    let message = if expected.is_some_and(|key| key != certificate.verifier) {
        "it is not signed by the verifier that was expected"
    } else if certificate.repository != Some(open.repository) || named.is_none() {
        "it does not name the proof's snapshot among those that were verified"
    } else if result.unwrap_or(certificate.verdict) != Certified::Verified {
        "it is of a verification that did not verify"
    } else {
        return None;
    };
    Some(problem("certificate", message))
}

fn proven(file: &Path, proof: &Proof) -> ProofItem {
    let (open, entry) = (&proof.snapshot.open, &proof.entry);
    ProofItem {
        file: Text::from(output::shown(file)),
        path: PathText::from(&entry.path),
        kind: Text::from(entry.kind.as_str()),
        size: entry.content.as_ref().map(|content| content.size),
        blake3: entry.content.as_ref().map(|content| Text::from(hex(&content.hash.0))),
        snapshot: Text::from(proof.snapshot.id.to_string()),
        sequence: open.sequence,
        time: format::time(open.time),
        repository: Text::from(open.repository.to_string()),
        writer: Text::from(hex(&proof.writer.0)),
        certified_by: None,
        stale: None,
    }
}

/// A key as it was printed, or a file with it as PEM.
fn public_key(given: &OsStr) -> Result<PublicKey, Error> {
    let hex = given.to_str().and_then(drover_types::SnapshotId::from_hex);
    if let Some(key) = hex {
        return Ok(PublicKey(key.0));
    }
    let path = Path::new(given);
    let pem = heads::read(path, "cannot read the verifier's key", 4096)?;
    std::str::from_utf8(&pem).ok().and_then(text::from_pem).ok_or_else(|| {
        let shown = output::shown(path);
        Error::Usage(format!("{shown} is no Ed25519 public key as PEM, and no 64 digits"))
    })
}
