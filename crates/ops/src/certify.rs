//! Certificates of verifications, and whether a repository is still what one says.

use std::collections::{BTreeSet, HashMap, HashSet};

use drover_chunk::Decompressor;
use drover_crypt::{domain::DomainKeys, merkle, sign::PublicKey};
use drover_pack::FrameReader;
use drover_repo::{
    CheckedSnapshot, ChunkReader, Problem, TreeError,
    certificate::{
        Certificate, CertifiedHead, CertifiedResult, CertifiedSnapshot, Method, Sample, Totals,
        Verdict,
    },
    snapshot::{decode_exceptions, encode_exceptions},
};
use drover_types::{ChunkKind, Exception, SnapshotId, clock};

use crate::{Error, PROGRAM, ReaderSession};

/// Precedes the hash of a list of exceptions where its salt is made: no leaf of a manifest begins so.
const SALT_PREFIX: &[u8] = b"drover exceptions 1\n";

/// What a verification came to, as far as a certificate tells it.
#[derive(Clone, Debug)]
pub struct Findings {
    /// How it was done.
    pub method: Method,
    /// Whether packs of content were opened, where they were read back.
    pub opened: bool,
    /// Which part was read.
    pub sample: Option<Sample>,
    /// The method in a sentence.
    pub statement: String,
    /// What it came to.
    pub verdict: Verdict,
    /// How many problems there are.
    pub problems: u64,
    /// How many things could not be looked at.
    pub unchecked: u64,
    /// How much changed on a living source since.
    pub changed_since: u64,
    /// How much was looked at.
    pub totals: Totals,
    /// What came of each snapshot, where each was verified by itself.
    pub results: Vec<(SnapshotId, CertifiedResult)>,
}

/// The certificate of a verification of a repository that did not open.
pub fn certify_unopened(verifier: PublicKey, findings: Findings) -> Certificate {
    Certificate {
        program: PROGRAM.to_owned(),
        time: clock::now().seconds,
        repository: None,
        verifier,
        method: findings.method,
        opened: findings.opened,
        sample: findings.sample,
        statement: findings.statement,
        verdict: findings.verdict,
        problems: findings.problems,
        unchecked: findings.unchecked,
        changed_since: findings.changed_since,
        totals: findings.totals,
        heads: Vec::new(),
        snapshots: Vec::new(),
    }
}

/// The certificate of a verification of `snapshots`.
pub fn certify(
    session: &mut ReaderSession,
    snapshots: &[SnapshotId],
    verifier: PublicKey,
    findings: Findings,
) -> Result<Certificate, Error> {
    let results: HashMap<_, _> = findings.results.iter().copied().collect();
    let snapshots = with_chunks(session, snapshots, |session, reader, snapshot| {
        let digest = exceptions_digest(session.history.keys(snapshot), reader, snapshot);
        certified(snapshot, digest.ok(), results.get(&snapshot.id()).copied())
    })?;
    let mut certificate = certify_unopened(verifier, findings);
    certificate.repository = Some(session.repository.id());
    certificate.heads = session.history.heads().iter().map(CertifiedHead::new).collect();
    certificate.snapshots = snapshots;
    certificate.snapshots.sort_by_key(|snapshot| snapshot.head);
    Ok(certificate)
}

/// Whether the repository is the one that `certificate` is of, and still has what it names: heads,
/// snapshots, their counts, roots and exceptions. What is not so comes back.
pub fn compare_certificate(
    session: &mut ReaderSession,
    certificate: &Certificate,
) -> Result<Vec<Problem>, Error> {
    const WHY: &str = "the certificate has it";
    if certificate.repository != Some(session.repository.id()) {
        let message =
            format!("the certificate is not of this repository, {}", session.repository.id());
        return Ok(vec![Problem::new("certificate", "config", message)]);
    }
    let there: HashSet<SnapshotId> =
        session.history.snapshots.iter().map(CheckedSnapshot::id).collect();
    let said: HashMap<SnapshotId, &CertifiedSnapshot> =
        certificate.snapshots.iter().map(|known| (known.head.snapshot, known)).collect();
    // A snapshot that is its writer's head is looked for once. By its hash alone: where it is there
    // with another writer or number, it differs.
    let gone: BTreeSet<CertifiedHead> = certificate
        .snapshots
        .iter()
        .map(|known| known.head)
        .filter(|head| !there.contains(&head.snapshot))
        .chain(certificate.heads.iter().copied())
        .collect();
    let gone: Vec<_> = gone.iter().map(CertifiedHead::parts).collect();
    let mut problems = ReaderSession::compare_heads(&session.history, &gone, WHY);
    let there: Vec<SnapshotId> = said.keys().copied().filter(|id| there.contains(id)).collect();
    let different = with_chunks(session, &there, |session, reader, snapshot| {
        let said = *said.get(&snapshot.id())?;
        let digest = match said.exceptions_digest {
            // It was not known then; that it is now is no contradiction.
            None => None,
            Some(_) => exceptions_digest(session.history.keys(snapshot), reader, snapshot).ok(),
        };
        let message = "the certificate says something else of it";
        (certified(snapshot, digest, said.result) != *said)
            .then(|| Problem::new("certificate", snapshot.object(), message))
    })?;
    problems.extend(different.into_iter().flatten());
    Ok(problems)
}

fn certified(
    snapshot: &CheckedSnapshot,
    digest: Option<[u8; 32]>,
    result: Option<CertifiedResult>,
) -> CertifiedSnapshot {
    let open = &snapshot.stored.open;
    CertifiedSnapshot {
        head: CertifiedHead {
            writer: open.writer,
            sequence: open.sequence,
            snapshot: snapshot.id(),
        },
        time: open.time.seconds,
        entries: open.entries,
        files: open.files,
        bytes: open.bytes,
        exceptions: snapshot.details.exception_count,
        exceptions_digest: digest,
        manifest_root: open.manifest_root,
        packs: open.packs.len(),
        packs_root: open.packs.root(),
        result,
    }
}

/// Goes through `snapshots`, with a reader of chunks where any of them takes one.
fn with_chunks<T>(
    session: &mut ReaderSession,
    snapshots: &[SnapshotId],
    mut each: impl FnMut(&ReaderSession, Option<&ChunkReader<'_>>, &CheckedSnapshot) -> T,
) -> Result<Vec<T>, Error> {
    let chosen: HashSet<&SnapshotId> = snapshots.iter().collect();
    let chosen = |snapshot: &&CheckedSnapshot| chosen.contains(&snapshot.id());
    let in_chunks = |snapshot: &CheckedSnapshot| !snapshot.details.exception_chunks.is_empty();
    let takes_chunks = session.history.snapshots.iter().filter(chosen).any(in_chunks);
    let index = match takes_chunks {
        true => {
            // What is wrong with the index is among the problems already.
            let known = session.problems.len();
            let index = session.load_index()?;
            session.problems.truncate(known);
            Some(index)
        }
        false => None,
    };
    let session: &ReaderSession = session;
    let reader = index.as_ref().map(|index| session.chunks(index));
    let each = |snapshot| each(session, reader.as_ref(), snapshot);
    Ok(session.history.snapshots.iter().filter(chosen).map(each).collect())
}

/// The salted hash of the exceptions that a pass recorded: of their list's encoding, wherever it is
/// stored. The salt keeps a list of one path from being guessed; it is a function of the list, so
/// that whoever has the keys gets the same again.
pub fn exceptions_digest(
    keys: &DomainKeys,
    reader: Option<&ChunkReader<'_>>,
    snapshot: &CheckedSnapshot,
) -> Result<[u8; 32], TreeError> {
    let details = &snapshot.details;
    let mut list = blake3::Hasher::new();
    list.update(&encode_exceptions(&details.exceptions));
    let mut frames = FrameReader::new(Decompressor::new());
    for chunk in &details.exception_chunks {
        let reader = reader.ok_or(TreeError::Root("nothing reads its exceptions"))?;
        reader.read(chunk, ChunkKind::Exceptions, &mut frames, |plain, _| {
            list.update(plain);
        })?;
    }
    let list = *list.finalize().as_bytes();
    let salt = keys.leaf_salt(&[SALT_PREFIX, &list].concat());
    Ok(merkle::leaf_hash(&salt, &list))
}

/// Hands every exception that the passes of `snapshots` recorded to `take`.
pub fn exceptions(
    session: &mut ReaderSession,
    snapshots: &[SnapshotId],
    take: &mut dyn FnMut(&CheckedSnapshot, &Exception) -> Result<(), Error>,
) -> Result<(), Error> {
    let each = |_: &ReaderSession, reader: Option<&ChunkReader<'_>>, snapshot: &CheckedSnapshot| {
        let mut frames = FrameReader::new(Decompressor::new());
        for exception in &snapshot.details.exceptions {
            take(snapshot, exception)?;
        }
        for chunk in &snapshot.details.exception_chunks {
            let reader = reader.ok_or(TreeError::Root("nothing reads its exceptions"))?;
            let plain = reader.read_vec(chunk, ChunkKind::Exceptions, &mut frames)?;
            for exception in decode_exceptions(&plain).map_err(TreeError::from)? {
                take(snapshot, &exception)?;
            }
        }
        Ok(())
    };
    with_chunks(session, snapshots, each)?.into_iter().collect()
}
