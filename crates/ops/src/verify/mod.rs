//! verify: whether the repository is what its writers signed, and whether a tree is what a
//! snapshot says.
//!
//! Packs come first: which are missing, have another length, or, where they are read back, do
//! not hash, open or decompress to what they should. Then the manifests are walked, and every
//! file that touches a damaged chunk is named.

mod packs;
mod sample;
mod tree;

pub use sample::{confidence, damaged_below};
pub use tree::{Compared, compare_mapped, compare_tree};

use std::collections::{BTreeMap, HashSet};

use drover_chunk::Decompressor;
use drover_pack::FrameReader;
use drover_repo::{
    CheckedSnapshot, ChunkError, ChunkIndex, ChunkReader, Problem, Tree, TreeError,
    certificate::{Method, Sample},
    names, tree as stored,
};
use drover_store::StoreError;
use drover_types::{
    Basis, ChunkId, ChunkRef, Counter, Entry, Extent, Extents, Observer, PackId, Phase,
    RelativePath, Total, WriterId,
};

use crate::{Cancel, Error, inspect, reading::ReaderSession, threads};

/// How a repository is verified.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// Read packs back: all, or this part of them, between 0 and 1.
    pub read_data: Option<f64>,
    /// Chooses the sample.
    pub seed: u64,
    /// Only this snapshot; all where there is none.
    pub snapshot: Option<drover_types::SnapshotId>,
    /// Heads that must be there.
    pub expected_heads: Vec<(WriterId, u64, [u8; 32])>,
    /// Packs read at a time; 0 for one per core.
    pub parallel: usize,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What sort of thing: one word or two.
    pub kind: String,
    /// The object it shows at.
    pub object: Option<String>,
    /// The file it hurts.
    pub path: Option<RelativePath>,
    /// What is wrong.
    pub message: String,
}

impl Finding {
    /// The store does not let anyone look at `object`.
    fn denied(object: impl Into<String>, error: &StoreError) -> Self {
        Self {
            kind: "denied".into(),
            object: Some(object.into()),
            path: None,
            message: error.to_string(),
        }
    }
}

impl From<&Problem> for Finding {
    fn from(problem: &Problem) -> Self {
        Self {
            kind: problem.kind.into(),
            object: Some(problem.object.clone()),
            path: None,
            message: problem.message.clone(),
        }
    }
}

/// What a verification came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All is as it should be.
    Verified,
    /// Something is not.
    Failed,
    /// Something could not be looked at, and nothing else was found.
    Incomplete,
}

/// What a verification found.
#[derive(Clone, Debug)]
pub struct VerifyOutcome {
    /// What it came to.
    pub verdict: Verdict,
    /// How it was done.
    pub kind: Method,
    /// Which part was read back, where not all was.
    pub sample: Option<Sample>,
    /// Whether packs of content were opened, where they were read back, or only hashed.
    pub opened: bool,
    /// How it was done, in words that claim no more.
    pub method: String,
    /// Entries, files and bytes of the snapshots, chunks and packs they name.
    pub entries: u64,
    /// Regular files.
    pub files: u64,
    /// Their logical bytes.
    pub bytes: u64,
    /// Different chunks.
    pub chunks: u64,
    /// Packs.
    pub packs: u64,
    /// What is wrong.
    pub problems: Vec<Finding>,
    /// What could not be looked at.
    pub unchecked: Vec<Finding>,
}

/// Verifies a repository.
pub fn verify(
    session: &mut ReaderSession,
    options: &VerifyOptions,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<VerifyOutcome, Error> {
    let cancel = &cancel.nested();
    // A verification of nothing would find nothing wrong.
    if let Some(id) = options.snapshot {
        session.snapshot(id)?;
    }
    observer.phase(Phase::CheckingStructure);
    let mut index = session.load_index()?;
    let session: &ReaderSession = session;
    let mut problems: Vec<Finding> = session
        .problems
        .iter()
        .chain(&ReaderSession::compare_heads(
            &session.history,
            &options.expected_heads,
            "it was expected",
        ))
        .map(Finding::from)
        .collect();
    problems.extend(session.keyring.check(&session.keys).into_iter().map(|(object, error)| {
        Finding { kind: "key".into(), object: Some(object), path: None, message: error.to_string() }
    }));
    for (writer, of) in session.history.writers.iter().filter(|(_, w)| w.after_revocation > 0) {
        observer.warning(&format!(
            "snapshots of the writer {writer} that come after its revocation, and count for nothing: {}",
            of.after_revocation
        ));
    }
    let mut unchecked = Vec::new();
    match inspect::log(session) {
        Ok((_, wrong)) => problems.extend(wrong.iter().map(Finding::from)),
        Err(Error::Store(error @ StoreError::Denied { .. })) => {
            unchecked.push(Finding::denied(names::LOG, &error));
        }
        Err(error) => return Err(error),
    }

    let mut damage = Damage::default();
    let all_are_read = options.read_data.is_some_and(|part| part >= 1.0);
    packs::presence(session, all_are_read, &mut damage, &mut unchecked)?;
    let (mut kind, mut sample, mut opened) = (Method::Acknowledged, None, true);
    let method = match options.read_data {
        None => "acknowledged".to_owned(),
        Some(part) => {
            observer.phase(Phase::ReadingBack);
            let read =
                packs::read_back(session, &index, part, options, &mut damage, observer, cancel)?;
            // What the packs themselves say is what counts from here on.
            let wrong = read.own.iter().flat_map(|own| index.contradicted(own));
            problems.extend(wrong.map(|problem| Finding::from(&problem)));
            if !read.own.is_empty() {
                index = index.corrected(read.own);
            }
            (kind, sample, opened) = (read.kind, read.sample, read.opened);
            read.method
        }
    };
    let reader = session.chunks(&index);

    observer.phase(Phase::CheckingStructure);
    let mut walk = Walk {
        session,
        index: &index,
        reader: &reader,
        damage: &damage,
        chunks: Chunks::new(&index),
        hurt: BTreeMap::new(),
        frames: FrameReader::new(Decompressor::new()),
        observer,
        entries: 0,
    };
    let (mut entries, mut files, mut bytes) = (0u64, 0u64, 0u64);
    let mut seen = HashSet::new();
    let chosen = |s: &&CheckedSnapshot| options.snapshot.is_none_or(|id| s.id() == id);
    // What a snapshot says of itself can be anything.
    let total = session.history.snapshots.iter().filter(chosen);
    let total = total.fold(0u64, |sum, s| sum.saturating_add(s.stored.open.entries));
    observer.add(Counter::Entries, total);
    observer.total(Total { entries: total, bytes: 0, basis: Basis::Snapshot });
    for snapshot in session.history.snapshots.iter().filter(chosen) {
        if cancel.is_set() {
            return Err(Error::Interrupted);
        }
        let open = &snapshot.stored.open;
        entries = entries.saturating_add(open.entries);
        files = files.saturating_add(open.files);
        bytes = bytes.saturating_add(open.bytes);
        walk.entries = 0;
        seen = walk.snapshot(snapshot, seen, &mut problems)?;
        // What an earlier snapshot has as well was looked at with it.
        observer.add(Counter::EntriesDone, open.entries.saturating_sub(walk.entries));
    }
    let chunks = walk.chunks.count();
    for (path, object, message) in walk.hurt.into_values() {
        problems.push(Finding {
            kind: "damaged file".into(),
            object: Some(object),
            path: Some(path),
            message,
        });
    }
    for (object, message) in damage.objects {
        problems.push(Finding { kind: "pack".into(), object: Some(object), path: None, message });
    }
    problems.extend(reader.contradicted().iter().map(Finding::from));
    problems.sort();
    problems.dedup();
    let verdict = match (problems.is_empty(), unchecked.is_empty()) {
        (false, _) => Verdict::Failed,
        (true, false) => Verdict::Incomplete,
        (true, true) => Verdict::Verified,
    };
    let packs = session.history.packs.len() as u64;
    Ok(VerifyOutcome {
        verdict,
        kind,
        sample,
        opened,
        method,
        entries,
        files,
        bytes,
        chunks,
        packs,
        problems,
        unchecked,
    })
}

/// What is damaged.
#[derive(Default)]
struct Damage {
    /// Packs none of whose chunks can be read.
    packs: HashSet<PackId>,
    /// Chunks that cannot be read from a pack.
    chunks: HashSet<(PackId, ChunkId)>,
    /// Objects, and what is wrong with them.
    objects: BTreeMap<String, String>,
}

/// What is wrong with what cannot be read. A store that denies access, or does not answer, says
/// nothing about the repository: that stays an error.
fn unreadable(error: TreeError) -> Result<String, Error> {
    match &error {
        TreeError::Chunk(ChunkError::Store(cause))
            if cause.is_transient() || matches!(**cause, StoreError::Denied { .. }) =>
        {
            Err(error.into())
        }
        error => Ok(error.to_string()),
    }
}

/// Counts different chunks: a bit for each that the index has, whole names of the others only.
struct Chunks {
    known: Vec<u64>,
    unknown: HashSet<ChunkId>,
}

impl Chunks {
    fn new(index: &ChunkIndex) -> Self {
        Self { known: vec![0; index.frames().div_ceil(64)], unknown: HashSet::new() }
    }

    fn insert(&mut self, index: &ChunkIndex, id: &ChunkId) {
        match index.number(id) {
            Some(number) => self.known[number / 64] |= 1 << (number % 64),
            None => drop(self.unknown.insert(*id)),
        }
    }

    fn count(&self) -> u64 {
        let known: u64 = self.known.iter().map(|bits| u64::from(bits.count_ones())).sum();
        known + self.unknown.len() as u64
    }
}

/// Walks manifests and finds what damage hurts.
struct Walk<'v> {
    session: &'v ReaderSession,
    index: &'v ChunkIndex,
    reader: &'v ChunkReader<'v>,
    damage: &'v Damage,
    chunks: Chunks,
    /// By path and object: the file, the object, the message.
    hurt: BTreeMap<(Vec<u8>, String), (RelativePath, String, String)>,
    frames: FrameReader,
    observer: &'v dyn Observer,
    /// How many entries of the snapshot were looked at.
    entries: u64,
}

impl Walk<'_> {
    fn snapshot(
        &mut self,
        snapshot: &CheckedSnapshot,
        seen: HashSet<ChunkId>,
        problems: &mut Vec<Finding>,
    ) -> Result<HashSet<ChunkId>, Error> {
        let manifest_problem = |message: String| Finding {
            kind: "manifest".into(),
            object: Some(snapshot.object()),
            path: None,
            message,
        };
        let keys = self.session.history.keys(snapshot).clone();
        let opened =
            Tree::open(self.reader, keys, &snapshot.details.manifest, RelativePath::root());
        let mut tree = match opened {
            Ok(tree) => threads::ahead(tree).skipping(seen),
            Err(error) => {
                problems.push(manifest_problem(unreadable(error)?));
                return Ok(seen);
            }
        };
        for entry in tree.by_ref() {
            match entry {
                Ok(entry) => self.entry(&entry)?,
                Err(error) => problems.push(manifest_problem(unreadable(error)?)),
            }
        }
        for chunk in &snapshot.details.exception_chunks {
            if let Err(message) = self.chunk(chunk) {
                problems.push(manifest_problem(message.1));
            }
        }
        Ok(tree.into_seen())
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), Error> {
        if !entry.path.is_root() {
            self.observer.add(Counter::EntriesDone, 1);
            self.entries += 1;
        }
        let Some(content) = &entry.content else { return Ok(()) };
        let lists = match &content.extents {
            Extents::Inline(_) => None,
            Extents::Lists { .. } => Some(stored::resolve(self.reader, content, &mut self.frames)),
        };
        let extents = match (&content.extents, lists) {
            (Extents::Inline(extents), _) => extents.clone(),
            (_, Some(Ok(extents))) => extents,
            (_, Some(Err(error))) => {
                let message = unreadable(error)?;
                self.hurts(entry, "its list of extents".into(), message);
                return Ok(());
            }
            (_, None) => return Ok(()),
        };
        for extent in extents.iter() {
            if let Extent::Chunk(chunk) = extent
                && let Err((object, message)) = self.chunk(chunk)
            {
                self.hurts(entry, object, message);
            }
        }
        Ok(())
    }

    fn hurts(&mut self, entry: &Entry, object: String, message: String) {
        let key = (entry.path.as_bytes().to_vec(), object.clone());
        self.hurt.entry(key).or_insert_with(|| (entry.path.clone(), object, message));
    }

    /// Whether some undamaged pack holds the chunk; else the object that should, and what is
    /// wrong with it.
    fn chunk(&mut self, chunk: &ChunkRef) -> Result<(), (String, String)> {
        self.chunks.insert(self.index, &chunk.id);
        let mut failure = None;
        for (pack, frame) in self.index.places(&chunk.id) {
            let receipt = &self.index.packs()[pack as usize];
            let entry = &receipt.entries[frame as usize];
            let object = names::pack(&receipt.id);
            if self.damage.packs.contains(&receipt.id) {
                let message = self.damage.objects.get(&object).cloned().unwrap_or_default();
                failure.get_or_insert((object, message));
            } else if self.damage.chunks.contains(&(receipt.id, chunk.id)) {
                failure.get_or_insert((object, format!("chunk {} is damaged", chunk.id)));
            // What an index object says is a hint: the pack has the last word.
            } else if entry.plain_len != chunk.len && !self.reader.vouches(receipt, chunk) {
                failure.get_or_insert((object, "it has a chunk of another length".to_owned()));
            } else {
                return Ok(());
            }
        }
        Err(failure.unwrap_or_else(|| {
            ("no pack".into(), format!("chunk {} is in no pack that is there", chunk.id))
        }))
    }
}
