//! Certificates and proofs, as a verification writes and checks them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Verdict, VerifyReport, problem_table};
use crate::{Page, Text, Tone, document::exception::PathText, format};

/// Which part of the packs was read back, and what that says of all.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct VerifySample {
    /// How many packs were read.
    pub packs: u64,
    /// How many are there.
    pub of: u64,
    /// How sure the next number is, between 0 and 1.
    pub confidence: f64,
    /// Fewer packs than this are damaged, if all that were read were whole.
    pub damaged_below: u64,
}

/// A certificate that was written or checked.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CertificateItem {
    /// The file.
    pub file: Text,
    /// The public key of whoever signed it, in hexadecimal.
    pub verifier: Text,
    /// Whether that is the key that was expected; `null` where none was.
    pub expected: Option<bool>,
    /// When the verification ended.
    pub time: Text,
    /// The program that wrote it.
    pub program: Text,
    /// The repository's id.
    pub repository: Text,
    /// What the verification came to, as the certificate has it.
    pub verdict: Text,
    /// The method in a sentence, as the certificate has it.
    pub statement: Text,
    /// How many problems the verification found.
    pub problems: u64,
    /// How many things it could not look at.
    pub unchecked: u64,
}

/// A proof that was written or checked.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProofItem {
    /// The file.
    pub file: Text,
    /// What is proven to be in the snapshot.
    #[serde(flatten)]
    pub path: PathText,
    /// What it is: `file`, `directory`, ….
    pub kind: Text,
    /// Of a file, its size.
    pub size: Option<u64>,
    /// Of a file, the BLAKE3 of its content.
    pub blake3: Option<Text>,
    /// The snapshot.
    pub snapshot: Text,
    /// Its number among its writer's.
    pub sequence: u64,
    /// When its pass ended.
    pub time: Text,
    /// The repository's id.
    pub repository: Text,
    /// The public key of the snapshot's writer, in hexadecimal.
    pub writer: Text,
    /// The verifier whose certificate names the snapshot, where one was given.
    pub certified_by: Option<Text>,
    /// Whether the pass could not take it, so that an earlier one's stands there; known only where
    /// the proof is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<bool>,
}

/// The page of a certificate that was checked.
pub(super) fn certificate_page(report: &VerifyReport, item: &CertificateItem) -> Page {
    let (tone, verdict) = match report.verdict {
        Verdict::Verified => (Tone::Good, format!("genuine: {}", item.verdict)),
        Verdict::Incomplete => (Tone::Caution, "genuine, of an incomplete verification".to_owned()),
        // A form that does not hold was not read.
        Verdict::Failed if item.verdict.as_str() == "failed" && report.problems.is_empty() => {
            (Tone::Bad, "genuine, of a verification that failed".to_owned())
        }
        Verdict::Failed if report.compared.is_some() && item.expected != Some(false) => {
            (Tone::Bad, "genuine, and the repository is not what it says".to_owned())
        }
        Verdict::Failed => (Tone::Bad, "does not hold".to_owned()),
    };
    let mut page = Page::new("Certificate", tone, verdict);
    page.explanation = match item.expected {
        _ if item.verifier.is_empty() => "It claims nothing that could be relied on.".to_owned(),
        Some(true) => {
            "It was signed by the verifier that was expected, and not changed since.".to_owned()
        }
        Some(false) => "It was signed, but not by the verifier that was expected.".to_owned(),
        None => "It was signed by the key below and not changed since. Whether that is the \
                 verifier's key, compare with one that came to you by another way."
            .to_owned(),
    };
    page.fact("File", item.file.to_string());
    page.fact("Verifier", item.verifier.to_string());
    page.fact("Verified at", item.time.to_string());
    page.fact("Program", item.program.to_string());
    page.fact("Repository", item.repository.to_string());
    page.fact("Verdict", item.verdict.to_string());
    page.fact("Method", report.method.to_string());
    page.fact("In words", item.statement.to_string());
    if !item.verifier.is_empty() {
        let t = &report.totals;
        page.fact("Problems", format::count(item.problems));
        page.fact("Not looked at", format::count(item.unchecked));
        page.fact("Entries", format::count(t.entries));
        page.fact("Files", format::count(t.files));
        page.fact("Bytes", format::bytes_exact(t.bytes));
        page.fact("Packs", format::count(t.packs));
    }
    let compared = report.compared.as_ref().map(Text::to_string).unwrap_or_default();
    page.fact("Compared with", compared);
    page.table(problem_table("Problems", &report.problems));
    page.table(report.snapshots_table());
    page.table(report.heads_table());
    if report.compared.is_none() && report.verdict != Verdict::Failed {
        page.next.push(
            "This says what was so then. Whether the repository still is that one, check with \
             --repo or a plan beside it."
                .to_owned(),
        );
    }
    page
}

/// The page of a proof that was made or checked.
pub(super) fn proof_page(report: &VerifyReport, item: &ProofItem) -> Page {
    let made = report.action.as_str() == "prove";
    let (tone, verdict) = match (report.verdict, made) {
        (Verdict::Verified, true) => (Tone::Good, "made".to_owned()),
        (Verdict::Verified, false) => (Tone::Good, "holds".to_owned()),
        _ => (Tone::Bad, "does not hold".to_owned()),
    };
    let mut page = Page::new("Proof", tone, verdict);
    page.explanation = match (report.verdict, &item.certified_by) {
        (Verdict::Verified, Some(_)) => "This entry is in the snapshot, and the certificate names \
                                         the snapshot."
            .to_owned(),
        (Verdict::Verified, None) => "This entry is in a snapshot that the writer below signed. \
                                      Whether that is a snapshot of the repository, a certificate \
                                      says, or the repository itself."
            .to_owned(),
        _ => "It proves nothing.".to_owned(),
    };
    page.fact("File", item.file.to_string());
    if !item.snapshot.is_empty() {
        page.fact("Path", item.path.shown());
        page.fact("Kind", item.kind.to_string());
        page.fact("Size", item.size.map(format::bytes_exact).unwrap_or_default());
        page.fact("BLAKE3", item.blake3.as_ref().map(Text::to_string).unwrap_or_default());
        page.fact("Snapshot", item.snapshot.to_string());
        page.fact("Taken", item.time.to_string());
        page.fact("Repository", item.repository.to_string());
        page.fact("Writer", item.writer.to_string());
        let by = item.certified_by.as_ref().map(Text::to_string).unwrap_or_default();
        page.fact("Certified by", by);
    }
    if item.stale == Some(true) {
        page.fact("Stale", "the pass could not take it; an earlier pass did");
    }
    page.table(problem_table("Problems", &report.problems));
    if item.blake3.is_some() && report.verdict == Verdict::Verified {
        page.next.push("Compare a copy of the file: b3sum prints the same hash for it.".to_owned());
    }
    page
}
