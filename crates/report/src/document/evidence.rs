//! `drover evidence`: one folder for whoever has to be shown what was done.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    bucket::{self, BucketSetting},
    verify::Verdict,
};
use crate::{Page, Table, Text, Tone, format};

/// A file of the folder.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EvidencePiece {
    /// Its name within the folder.
    pub name: Text,
    /// What it is.
    pub what: Text,
    /// Its size.
    pub bytes: u64,
    /// Its BLAKE3.
    pub blake3: Text,
}

/// A folder of evidence.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EvidenceReport {
    /// The repository's URL, without credentials.
    pub repository: Text,
    /// Where the folder is.
    pub folder: Text,
    /// What the verification in it came to.
    pub verdict: Verdict,
    /// How it was done.
    pub method: Text,
    /// What the check of the audit log came to.
    pub log: Verdict,
    /// The public key of whoever signed, in hexadecimal.
    pub verifier: Text,
    /// The settings of the repository's bucket at the time; empty of a directory.
    pub bucket: Vec<BucketSetting>,
    /// What is in the folder.
    pub pieces: Vec<EvidencePiece>,
    /// What should be and is not, and why.
    pub missing: Vec<Text>,
    /// How long it took.
    pub seconds: f64,
}

impl EvidenceReport {
    pub(super) fn page(&self) -> Page {
        let files = format::counted(self.pieces.len() as u64, "file", "files");
        let (tone, verdict) = match self.verdict {
            Verdict::Verified if self.missing.is_empty() => {
                (Tone::Good, format!("verified: {files}"))
            }
            Verdict::Verified => (Tone::Caution, format!("verified, not complete: {files}")),
            Verdict::Failed => (Tone::Bad, format!("of a verification that failed: {files}")),
            Verdict::Incomplete => {
                (Tone::Caution, format!("of a verification that was incomplete: {files}"))
            }
        };
        let mut page = Page::new("Evidence", tone, verdict);
        page.explanation = "README.txt in the folder says what each file is and how it is checked \
                            without drover."
            .to_owned();
        page.fact("Folder", self.folder.to_string());
        page.fact("Repository", self.repository.to_string());
        page.fact("Method", self.method.to_string());
        page.fact("Verifier", self.verifier.to_string());
        page.fact("Time", format::duration(self.seconds));
        let row = |text: &Text| vec![text.to_string()];
        page.table(Table {
            title: "Missing".to_owned(),
            columns: vec!["what"],
            rows: self.missing.iter().map(row).collect(),
            note: String::new(),
            terminal_rows: usize::MAX,
        });
        page.table(bucket::table(&self.bucket));
        let row = |piece: &EvidencePiece| {
            vec![piece.name.to_string(), format::bytes(piece.bytes), piece.what.to_string()]
        };
        page.table(Table {
            title: "Files".to_owned(),
            columns: vec!["name", "size", "what"],
            rows: self.pieces.iter().map(row).collect(),
            note: String::new(),
            terminal_rows: usize::MAX,
        });
        page.next.push(
            "Keep the folder as you keep the data: it names sources, machines, operators and paths. \
             The certificate alone holds no names."
                .to_owned(),
        );
        page.next.push(
            "Tell whoever gets it the verifier's key by another way than with the folder."
                .to_owned(),
        );
        page
    }
}
