//! Certificates: what a verifier signs (`docs/certificate.md`).
//!
//! A certificate says what was verified, by which method, and what came of it, and holds what it
//! takes to find out later whether the repository is still that one. It names no source and no
//! path, so that it can be handed on. It claims what the verifier did; nobody's key but the
//! verifier's stands behind it.

mod method;
mod result;

pub use method::{Method, Sample, Verdict};
pub use result::CertifiedResult;

use drover_crypt::{
    sign::{PublicKey, SigningKey},
    text::{self, SignedText},
};
use drover_types::{RepositoryId, SnapshotId, WriterId};

use crate::form::{self, Fields, FormError, Lines};

/// The longest certificate that is read, in bytes: one of about 60,000 snapshots.
pub const LONGEST: usize = 64 << 20;

const FORM: &str = "drover-certificate";
/// Of one verification of all its snapshots.
const OF_ALL: &str = "1";
/// Of a verification of each of its snapshots.
const OF_EACH: &str = "2";

/// The newest snapshot of a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertifiedHead {
    /// The writer.
    pub writer: WriterId,
    /// The snapshot's number.
    pub sequence: u64,
    /// BLAKE3 of the snapshot's bytes.
    pub snapshot: SnapshotId,
}

/// A snapshot that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedSnapshot {
    /// Its writer, number and hash.
    pub head: CertifiedHead,
    /// When its pass ended, in seconds since 1970.
    pub time: i64,
    /// Entries, the root not counted.
    pub entries: u64,
    /// Regular files.
    pub files: u64,
    /// Their logical bytes.
    pub bytes: u64,
    /// How many exceptions its pass recorded.
    pub exceptions: u64,
    /// The salted hash of their list; `None` where it could not be read.
    pub exceptions_digest: Option<[u8; 32]>,
    /// Merkle root of its manifest.
    pub manifest_root: [u8; 32],
    /// How many packs its writer has listed up to it.
    pub packs: u64,
    /// Merkle root of all of them.
    pub packs_root: [u8; 32],
    /// What came of it, where each snapshot was verified by itself: then all have one, and the
    /// certificate's own fields are of the worst of them.
    pub result: Option<CertifiedResult>,
}

/// What a verifier signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Name and version of the program.
    pub program: String,
    /// When the verification ended, in seconds since 1970.
    pub time: i64,
    /// The repository; `None` where it did not even open.
    pub repository: Option<RepositoryId>,
    /// Whose signature it has.
    pub verifier: PublicKey,
    /// How it was verified.
    pub method: Method,
    /// Whether packs of content were decrypted, where they were read back, or only hashed.
    pub opened: bool,
    /// Which packs were read, where not all were.
    pub sample: Option<Sample>,
    /// The method in a sentence.
    pub statement: String,
    /// What came of it.
    pub verdict: Verdict,
    /// How many problems were found.
    pub problems: u64,
    /// How many things could not be looked at.
    pub unchecked: u64,
    /// How many entries changed on a living source since its snapshot.
    pub changed_since: u64,
    /// Entries, regular files, bytes, packs, chunks that were looked at.
    pub totals: Totals,
    /// Every writer's newest snapshot, by writer.
    pub heads: Vec<CertifiedHead>,
    /// The snapshots that were verified, by writer and number.
    pub snapshots: Vec<CertifiedSnapshot>,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Entries of the manifests.
    pub entries: u64,
    /// Regular files among them.
    pub files: u64,
    /// Their logical bytes.
    pub bytes: u64,
    /// Packs.
    pub packs: u64,
    /// Different chunks.
    pub chunks: u64,
}

impl Certificate {
    /// The text that is signed.
    pub fn text(&self) -> String {
        let mut lines = Lines::default();
        lines.line(FORM, if self.is_of_each() { OF_EACH } else { OF_ALL });
        lines.line("program", &self.program);
        lines.line("time", form::time(self.time));
        match &self.repository {
            Some(repository) => lines.line("repository", repository),
            None => lines.line("repository", "unknown"),
        }
        lines.hex("verifier", &self.verifier.0);
        lines.line("method", self.method.as_str());
        if self.method.reads_back() {
            lines.line("content", if self.opened { "opened" } else { "hashed only" });
        }
        if let Some(sample) = &self.sample {
            lines.line("sample-packs", sample.packs);
            lines.line("sample-of", sample.of);
            lines.line("sample-seed", sample.seed);
        }
        lines.line("statement", &self.statement);
        lines.line("verdict", self.verdict.as_str());
        lines.line("problems", self.problems);
        lines.line("unchecked", self.unchecked);
        lines.line("changed-since", self.changed_since);
        lines.line("entries", self.totals.entries);
        lines.line("files", self.totals.files);
        lines.line("bytes", self.totals.bytes);
        lines.line("packs", self.totals.packs);
        lines.line("chunks", self.totals.chunks);
        for head in &self.heads {
            lines.line("head", head_text(head));
        }
        for snapshot in &self.snapshots {
            lines.line("snapshot", head_text(&snapshot.head));
            lines.line("snapshot-time", form::time(snapshot.time));
            lines.line("snapshot-entries", snapshot.entries);
            lines.line("snapshot-files", snapshot.files);
            lines.line("snapshot-bytes", snapshot.bytes);
            lines.line("snapshot-exceptions", snapshot.exceptions);
            match &snapshot.exceptions_digest {
                Some(digest) => lines.hex("snapshot-exceptions-digest", digest),
                None => lines.line("snapshot-exceptions-digest", "unreadable"),
            }
            lines.hex("snapshot-manifest-root", &snapshot.manifest_root);
            lines.line("snapshot-packs", snapshot.packs);
            lines.hex("snapshot-packs-root", &snapshot.packs_root);
            if let Some(result) = &snapshot.result {
                result.write(&mut lines);
            }
        }
        lines.finish()
    }

    /// Whether each snapshot was verified by itself, as those of sources that go together are.
    pub fn is_of_each(&self) -> bool {
        self.snapshots.iter().any(|snapshot| snapshot.result.is_some())
    }

    /// The whole file, signed by `key`, whose public half is `verifier`.
    pub fn sign(&self, key: &SigningKey) -> String {
        text::sign(&self.text(), key)
    }

    /// Reads a certificate: its form, that it does not contradict itself, and its signature.
    /// Whether the key is the verifier's is for the reader to know.
    pub fn open(bytes: &[u8]) -> Result<Self, CertificateError> {
        if bytes.len() > LONGEST {
            return Err(FormError::TooLong { len: bytes.len(), bound: LONGEST }.into());
        }
        let signed = SignedText::parse(bytes).map_err(FormError::from)?;
        signed.verify().map_err(|_| CertificateError::Signature)?;
        let certificate = Self::parse(signed.text)?;
        match certificate.verifier == signed.key {
            true => Ok(certificate),
            false => Err(FormError::Contradiction("it is signed by another verifier").into()),
        }
    }

    /// Reads the text that is signed.
    pub fn parse(text: &str) -> Result<Self, FormError> {
        let mut fields = Fields::new(text);
        let of_each = fields.value(FORM, |version| match version {
            OF_ALL => Some(false),
            OF_EACH => Some(true),
            _ => None,
        })?;
        let program = fields.free("program")?;
        let time = fields.value("time", form::parse_time)?;
        let repository = fields.value("repository", |text| match text {
            "unknown" => Some(None),
            id => RepositoryId::from_hex(id).map(Some),
        })?;
        let verifier = PublicKey(fields.hex("verifier")?);
        let method = fields.value("method", Method::parse)?;
        let opened = !method.reads_back()
            || fields.value("content", |text| match text {
                "opened" => Some(true),
                "hashed only" => Some(false),
                _ => None,
            })?;
        let sample = match method {
            Method::ReadBackSample => Some(Sample {
                packs: fields.number("sample-packs")?,
                of: fields.number("sample-of")?,
                seed: fields.number("sample-seed")?,
            }),
            _ => None,
        };
        let statement = fields.free("statement")?;
        let verdict = fields.value("verdict", Verdict::parse)?;
        let mut numbers = [0; 8];
        for (number, key) in numbers.iter_mut().zip([
            "problems",
            "unchecked",
            "changed-since",
            "entries",
            "files",
            "bytes",
            "packs",
            "chunks",
        ]) {
            *number = fields.number(key)?;
        }
        let [problems, unchecked, changed_since, entries, files, bytes, packs, chunks] = numbers;
        let mut heads = Vec::new();
        while let Some(head) = fields.optional("head") {
            heads.push(parse_head(head).ok_or(FormError::Value("head"))?);
        }
        let mut snapshots = Vec::new();
        while let Some(head) = fields.optional("snapshot") {
            snapshots.push(parse_snapshot(head, of_each, &mut fields)?);
        }
        fields.end()?;
        let totals = Totals { entries, files, bytes, packs, chunks };
        let certificate = Self {
            program,
            time,
            repository,
            verifier,
            method,
            opened,
            sample,
            statement,
            verdict,
            problems,
            unchecked,
            changed_since,
            totals,
            heads,
            snapshots,
        };
        certificate.check()?;
        if certificate.text() != text {
            return Err(FormError::Spelling);
        }
        Ok(certificate)
    }

    fn check(&self) -> Result<(), FormError> {
        if Verdict::of(self.problems, self.unchecked) != self.verdict {
            return Err(FormError::Contradiction("its verdict is not that of its numbers"));
        }
        if self.sample.is_some_and(|sample| sample.packs >= sample.of) {
            return Err(FormError::Contradiction("its sample is no part"));
        }
        let nothing = self.method == Method::Nothing || self.repository.is_none();
        if nothing && self.verdict == Verdict::Verified {
            return Err(FormError::Contradiction("nothing was verified"));
        }
        let ordered = self.heads.windows(2).all(|pair| pair[0].writer < pair[1].writer)
            && self.snapshots.windows(2).all(|pair| pair[0].head < pair[1].head);
        if !ordered {
            return Err(FormError::Contradiction("its heads or snapshots are not in order"));
        }
        let headed = |snapshot: &CertifiedSnapshot| {
            let at = self.heads.binary_search_by_key(&snapshot.head.writer, |head| head.writer);
            at.is_ok_and(|at| self.heads[at].sequence >= snapshot.head.sequence)
        };
        if !self.snapshots.iter().all(headed) {
            return Err(FormError::Contradiction("a snapshot is beyond its writer's head"));
        }
        match result::fit(self) {
            true => Ok(()),
            false => Err(FormError::Contradiction("it is not what came of its snapshots")),
        }
    }
}

/// Why a certificate does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is none.
    #[error("it is no certificate: {0}")]
    Form(#[from] FormError),
    /// It was changed, or signed by somebody else.
    #[error("its signature is not that of the key it names")]
    Signature,
}

impl CertifiedHead {
    /// From the parts that heads are handed about in.
    pub fn new((writer, sequence, hash): &(WriterId, u64, [u8; 32])) -> Self {
        Self { writer: *writer, sequence: *sequence, snapshot: SnapshotId(*hash) }
    }

    /// The parts.
    pub fn parts(&self) -> (WriterId, u64, [u8; 32]) {
        (self.writer, self.sequence, self.snapshot.0)
    }
}

fn head_text(head: &CertifiedHead) -> String {
    format!("{} {} {}", head.writer, head.sequence, head.snapshot)
}

fn parse_head(text: &str) -> Option<CertifiedHead> {
    let mut words = text.split(' ');
    let writer = WriterId::from_hex(words.next()?)?;
    let sequence = words.next()?.parse().ok()?;
    let snapshot = SnapshotId::from_hex(words.next()?)?;
    Some(CertifiedHead { writer, sequence, snapshot })
}

fn parse_snapshot(
    head: &str,
    of_each: bool,
    fields: &mut Fields<'_>,
) -> Result<CertifiedSnapshot, FormError> {
    Ok(CertifiedSnapshot {
        head: parse_head(head).ok_or(FormError::Value("snapshot"))?,
        time: fields.value("snapshot-time", form::parse_time)?,
        entries: fields.number("snapshot-entries")?,
        files: fields.number("snapshot-files")?,
        bytes: fields.number("snapshot-bytes")?,
        exceptions: fields.number("snapshot-exceptions")?,
        exceptions_digest: fields.value("snapshot-exceptions-digest", |text| match text {
            "unreadable" => Some(None),
            digest => form::unhex(digest).map(Some),
        })?,
        manifest_root: fields.hex("snapshot-manifest-root")?,
        packs: fields.number("snapshot-packs")?,
        packs_root: fields.hex("snapshot-packs-root")?,
        result: match of_each {
            true => Some(CertifiedResult::parse(fields)?),
            false => None,
        },
    })
}

#[cfg(test)]
mod tests;
