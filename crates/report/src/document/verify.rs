//! `drover verify`: whether what is in the cloud is what was on the server.

mod evidence;
mod reconciliation;

pub use evidence::{CertificateItem, ProofItem, VerifySample};
pub use reconciliation::{Reconciliation, ReconciliationCount};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exception::{ExceptionItem, PathText};
use crate::{
    Page, Table, Text, Tone, format,
    page::{self, TERMINAL_ROWS},
};

/// What a verification found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything it looked at is as it should be.
    Verified,
    /// It found a difference or damage.
    Failed,
    /// It found nothing wrong and could not look at everything.
    #[default]
    Incomplete,
}

impl Verdict {
    /// The word that documents and the audit log have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Failed => "failed",
            Self::Incomplete => "incomplete",
        }
    }
}

/// How much a verification looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct VerifyTotals {
    /// Entries of the manifests.
    pub entries: u64,
    /// Regular files among them.
    pub files: u64,
    /// Their logical size.
    pub bytes: u64,
    /// Chunks named.
    pub chunks: u64,
    /// Packs that hold them.
    pub packs: u64,
}

/// One difference, or one piece of damage.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Problem {
    /// A stable word for programs: `missing`, `damaged`, `content`, `metadata`, `extra`, ….
    pub kind: Text,
    /// The object in the repository, where it is about one.
    pub object: Option<Text>,
    /// The path, where it is about an entry.
    pub path: Option<Text>,
    /// Base64 of the path's bytes, where something had to be escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_b64: Option<Text>,
    /// What is wrong.
    pub message: Text,
}

/// An entry of a living source that changed since the pass: no difference.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ChangedItem {
    /// Which.
    #[serde(flatten)]
    pub path: PathText,
    /// How.
    pub message: Text,
}

/// An exception that a pass recorded.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SignedException {
    /// Of which source.
    pub source: Text,
    /// What could not be taken faithfully.
    #[serde(flatten)]
    pub exception: ExceptionItem,
    /// Who signed for it, where somebody did.
    pub accepted_by: Option<Text>,
}

/// A snapshot that was checked.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CheckedSnapshot {
    /// Its id.
    pub id: Text,
    /// Its source.
    pub source: Text,
    /// When its pass ended.
    pub time: Text,
    /// How many exceptions its pass recorded; they are no problems here.
    pub exceptions: u64,
    /// How it was verified, where each snapshot was verified by itself.
    #[serde(skip_serializing_if = "Text::is_empty")]
    pub method: Text,
    /// What came of it then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

/// The newest snapshot of a writer: what the next verification can be told to expect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Head {
    /// The writer.
    pub writer: Text,
    /// The number of its newest snapshot.
    pub sequence: u64,
    /// The id of its newest snapshot.
    pub snapshot: Text,
}

/// A verification.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct VerifyReport {
    /// `check-certificate`, `prove` or `check-proof`; empty where something was verified.
    #[serde(skip_serializing_if = "Text::is_empty")]
    pub action: Text,
    /// The repository's URL, without credentials.
    pub repository: Text,
    /// What it found.
    pub verdict: Verdict,
    /// How strong it is: `acknowledged`, `read back`, `landed and hashed`.
    pub method: Text,
    /// What chose the sample, where only a part was read back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Which part was read back, where only a part was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<VerifySample>,
    /// What was compared with the snapshot, where a source or a target was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared: Option<Text>,
    /// How much it looked at.
    pub totals: VerifyTotals,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What it could not look at, and why.
    pub unchecked: Vec<Problem>,
    /// What changed on a living source since the pass.
    pub changed_since: Vec<ChangedItem>,
    /// Counts of an inventory beside those of the target, where one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconciliation: Option<Reconciliation>,
    /// The snapshots it checked.
    pub snapshots: Vec<CheckedSnapshot>,
    /// What their passes could not take faithfully, the first thousand: no problems here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<SignedException>,
    /// Every writer's newest snapshot.
    pub heads: Vec<Head>,
    /// The certificate that was written or checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateItem>,
    /// The proof that was made or checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<ProofItem>,
    /// How long it took.
    pub seconds: f64,
    /// What is worth knowing and no problem.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Text>,
}

impl VerifyReport {
    /// The method in words that claim no more than was done, for a certificate: what it says of
    /// itself, and what that means.
    pub fn statement(&self) -> String {
        let meaning = meaning(self.method.as_str());
        let stop = if meaning.is_empty() { "" } else { ". " };
        match self.verdict {
            Verdict::Verified => format!("{}{stop}{meaning}", self.method),
            // What the method would have meant does not hold.
            Verdict::Failed => format!("{}. Not all is as it should be.", self.method),
            Verdict::Incomplete => {
                format!("{}. Not everything could be looked at.", self.method)
            }
        }
    }

    pub(super) fn page(&self) -> Page {
        match (self.action.as_str(), &self.certificate, &self.proof) {
            ("check-certificate", Some(item), _) => return evidence::certificate_page(self, item),
            ("prove" | "check-proof", _, Some(item)) => return evidence::proof_page(self, item),
            _ => {}
        }
        let t = &self.totals;
        let what = format!(
            "{} in {}",
            format::counted(t.entries, "entry", "entries"),
            format::counted(self.snapshots.len() as u64, "snapshot", "snapshots"),
        );
        let (tone, verdict) = match self.verdict {
            Verdict::Verified => (Tone::Good, format!("verified: {what}")),
            Verdict::Failed => {
                let problems = format::counted(self.problems.len() as u64, "problem", "problems");
                (Tone::Bad, format!("failed: {problems}"))
            }
            Verdict::Incomplete => (Tone::Caution, "incomplete".to_owned()),
        };
        let mut page = Page::new("Verification", tone, verdict);
        page.explanation = match self.verdict {
            Verdict::Verified => meaning(self.method.as_str()),
            Verdict::Failed => "What is listed below is not what was on the source.".to_owned(),
            Verdict::Incomplete => "Nothing was found to be wrong, but not everything could be \
                                    looked at: this proves nothing about what is listed below."
                .to_owned(),
        };
        page.fact("Method", self.method.to_string());
        page.fact("Seed of the sample", self.seed.map(|seed| seed.to_string()).unwrap_or_default());
        page.fact("Repository", self.repository.to_string());
        page.fact("Compared with", self.compared.as_ref().map(Text::to_string).unwrap_or_default());
        page.fact("Entries", format::count(t.entries));
        page.fact("Files", format::count(t.files));
        page.fact("Bytes", format::bytes_exact(t.bytes));
        page.fact("Chunks", format::count(t.chunks));
        page.fact("Packs", format::count(t.packs));
        let exceptions: u64 = self.snapshots.iter().map(|s| s.exceptions).sum();
        page.fact("Exceptions the passes recorded", format::count(exceptions));
        page.fact("Time", format::duration(self.seconds));
        if let Some(certificate) = &self.certificate {
            page.fact("Certificate", certificate.file.to_string());
            page.fact("Verifier", certificate.verifier.to_string());
        }
        page.table(problem_table("Problems", &self.problems));
        page.table(problem_table("Not looked at", &self.unchecked));
        if let Some(reconciliation) = &self.reconciliation {
            page.table(reconciliation.table());
        }
        page.table(self.changed_table());
        page.table(self.snapshots_table());
        page.table(self.exceptions_table());
        page.table(self.heads_table());
        page.table(page::warnings(&self.warnings));
        page.next = match self.verdict {
            Verdict::Verified => {
                let what = if self.certificate.is_some() { "certificate" } else { "report" };
                let keep = format!(
                    "Keep this {what}: its heads tell a later verification what to expect."
                );
                let check = self.certificate.as_ref().map(|certificate| {
                    format!(
                        "Anyone can check it: drover verify --check-certificate {} --verifier {}",
                        certificate.file, certificate.verifier
                    )
                });
                [keep].into_iter().chain(check).collect()
            }
            Verdict::Failed if self.method.as_str() == "landed and hashed" => vec![
                "Restore the snapshot onto the target again: what differs is written again, and \
                 with --delete what it lacks is removed."
                    .to_owned(),
            ],
            Verdict::Failed if self.method.as_str() == "source against snapshot" => vec![
                "Take another pass with --reread, and verify again.".to_owned(),
            ],
            Verdict::Failed => vec![
                "Keep the repository as it is, and this report with it.".to_owned(),
                "If the source still stands, take it into a new repository: this version does not mend \
                 a damaged one."
                    .to_owned(),
            ],
            Verdict::Incomplete => {
                vec!["Give the permission that is missing, and verify again.".to_owned()]
            }
        };
        page
    }

    fn changed_table(&self) -> Table {
        let row = |item: &ChangedItem| vec![item.path.shown(), item.message.to_string()];
        Table {
            title: format!(
                "Changed since the pass: {}",
                format::count(self.changed_since.len() as u64)
            ),
            columns: vec!["path", "how"],
            rows: self.changed_since.iter().map(row).collect(),
            note: "The source lives on; the next pass takes these.".to_owned(),
            terminal_rows: TERMINAL_ROWS,
        }
    }

    fn snapshots_table(&self) -> Table {
        let of_each = self.snapshots.iter().any(|s| s.verdict.is_some());
        let row = |s: &CheckedSnapshot| {
            let mut row = vec![
                s.source.to_string(),
                s.time.to_string(),
                format::count(s.exceptions),
                s.id.to_string(),
            ];
            if of_each {
                let verdict = s.verdict.map_or("", Verdict::as_str);
                row.splice(1..1, [verdict.to_owned(), s.method.to_string()]);
            }
            row
        };
        let mut columns = vec!["source", "time", "exceptions", "id"];
        if of_each {
            columns.splice(1..1, ["verdict", "method"]);
        }
        Table {
            title: "Snapshots".to_owned(),
            columns,
            rows: self.snapshots.iter().map(row).collect(),
            note: String::new(),
            terminal_rows: TERMINAL_ROWS,
        }
    }

    fn exceptions_table(&self) -> Table {
        let row = |signed: &SignedException| {
            let SignedException { source, exception, accepted_by } = signed;
            vec![
                source.to_string(),
                exception.path.shown(),
                exception.kind.to_string(),
                exception.message.to_string(),
                accepted_by.as_ref().map(Text::to_string).unwrap_or_default(),
            ]
        };
        Table {
            title: "Exceptions that the passes recorded".to_owned(),
            columns: vec!["source", "path", "kind", "what", "accepted by"],
            rows: self.exceptions.iter().map(row).collect(),
            note: "No problems of this verification: it proves what was taken.".to_owned(),
            terminal_rows: TERMINAL_ROWS,
        }
    }

    fn heads_table(&self) -> Table {
        let row = |head: &Head| {
            vec![head.writer.to_string(), head.sequence.to_string(), head.snapshot.to_string()]
        };
        Table {
            title: "Heads".to_owned(),
            columns: vec!["writer", "sequence", "snapshot"],
            rows: self.heads.iter().map(row).collect(),
            note: String::new(),
            terminal_rows: TERMINAL_ROWS,
        }
    }
}

/// What a method proves, in a sentence. A method may say more after the words it begins with.
fn meaning(method: &str) -> String {
    let of_keys = "Every pack was read back from the store and its bytes were hashed; names and \
                   attributes were decrypted and checked, contents were not.";
    let sentence = match method {
        "acknowledged" => {
            "Every object that the snapshots name is in the store, with its length, and every \
             signature, number and root is right. The packs were not read back."
        }
        "read back" => {
            "Every pack was read back from the store, decrypted and hashed, and every file is made \
             of exactly these bytes."
        }
        "source against snapshot" => {
            "The source as it is now was compared with the snapshot, and every file's bytes were \
             hashed; what changed after the pass is listed and is no difference."
        }
        "landed and hashed" => {
            "Every entry was compared with the snapshot, and every file's bytes were hashed."
        }
        other if other.starts_with("read back a sample") => {
            "Every signature, number and root is right, and every object is there with its length. \
             A sample of the packs was read back and hashed as well."
        }
        other if other.starts_with("read back;") => of_keys,
        _ => "",
    };
    sentence.to_owned()
}

pub(super) fn problem_table(title: &str, problems: &[Problem]) -> Table {
    let row = |p: &Problem| {
        let text = |field: &Option<Text>| field.as_ref().map(Text::to_string).unwrap_or_default();
        vec![p.kind.to_string(), text(&p.path), text(&p.object), p.message.to_string()]
    };
    Table {
        title: format!("{title}: {}", format::count(problems.len() as u64)),
        columns: vec!["kind", "path", "object", "message"],
        rows: problems.iter().map(row).collect(),
        note: String::new(),
        terminal_rows: TERMINAL_ROWS,
    }
}
