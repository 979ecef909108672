//! Proofs that one entry is in a snapshot, without its neighbours (`docs/certificate.md`).
//!
//! A proof holds the entry's leaf and its salt, the steps from there up to the root of its block
//! and on to the root of the manifest, and the snapshot as it is stored, whose open part names that
//! root and which its writer signed. Its sealed part stays sealed. The hashes on the way are those
//! of salted leaves: nobody can test a guess of a neighbour's name against them.
//!
//! Whether the writer is to be believed a proof does not say: a certificate that names the snapshot
//! does, or the repository.

use data_encoding::{BASE64, HEXLOWER};
use drover_chunk::Decompressor;
use drover_crypt::{
    domain::DomainKeys,
    merkle::{self, Step},
    sign::PublicKey,
};
use drover_pack::FrameReader;
use drover_types::{ChunkKind, Entry, RelativePath, codec::DecodeError, path::escape};

use crate::{
    chunks::ChunkReader,
    form::{self, Fields, FormError, Lines},
    history::CheckedSnapshot,
    manifest::{self, ENTRY_BYTES},
    record,
    snapshot::{SnapshotError, StoredSnapshot},
    tree::TreeError,
};

/// The longest proof that is read, in bytes: the largest leaf, its path, the largest snapshot.
pub const LONGEST: usize = 48 << 20;

const FORM: &str = "drover-proof";
const VERSION: &str = "1";
/// More steps than a tree of any size has.
const STEPS: usize = 64;
/// Bytes of the snapshot in a line: 64 characters.
const LINE: usize = 48;

/// A proof that holds.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The key of the writer who signed the snapshot.
    pub writer: PublicKey,
    /// The snapshot, whose signature was checked.
    pub snapshot: StoredSnapshot,
    /// The entry: what a restore puts back, without where its content lies.
    pub entry: Entry,
    leaf: Vec<u8>,
    salt: [u8; 32],
    block: Vec<Step>,
    manifest: Vec<Step>,
}

/// Why a proof does not hold.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// It is none.
    #[error("it is no proof: {0}")]
    Form(#[from] FormError),
    /// The entry does not decode.
    #[error("the entry in it does not decode: {0}")]
    Entry(#[from] DecodeError),
    /// The snapshot.
    #[error("the snapshot in it: {0}")]
    Snapshot(#[from] SnapshotError),
    /// The snapshot's writer has another key.
    #[error("the snapshot in it is of another writer than the key it names")]
    Writer,
    /// The entry is not in the snapshot.
    #[error("its steps do not lead from the entry to the root that the snapshot names")]
    Root,
}

impl Proof {
    /// Proves that `path` is in `snapshot`, whose chunks `keys` name and whose writer has the key
    /// `writer`. `None` where it is not. Says also whether the entry is stale: the pass could not
    /// take it, and an earlier one's stands there.
    pub fn make(
        reader: &ChunkReader<'_>,
        keys: &DomainKeys,
        writer: PublicKey,
        snapshot: &CheckedSnapshot,
        path: &RelativePath,
    ) -> Result<Option<(Self, bool)>, TreeError> {
        let mut frames = FrameReader::new(Decompressor::new());
        let root = &snapshot.details.manifest;
        let plain = reader.read_vec(&root.chunk, ChunkKind::ManifestList, &mut frames)?;
        let mut roots = Vec::new();
        let mut holder = None;
        for list in manifest::decode_root(&plain)? {
            let plain = reader.read_vec(&list.chunk, ChunkKind::ManifestList, &mut frames)?;
            for block in manifest::decode_list(&plain)? {
                roots.push(merkle::plain_leaf(&block.root));
                // The last one that does not begin after it.
                if block.first <= *path {
                    holder = Some((roots.len() - 1, block));
                }
            }
        }
        let Some((number, block)) = holder else { return Ok(None) };
        let plain = reader.read_vec(&block.chunk, ChunkKind::ManifestBlock, &mut frames)?;
        let Some(found) = manifest::find_in_block(&plain, &block, keys, path)? else {
            return Ok(None);
        };
        let stale = found.entry.stale;
        let proof = Self {
            writer,
            snapshot: snapshot.stored.clone(),
            // As the leaf alone has it.
            entry: record::decode_leaf(&found.leaf)?,
            salt: keys.leaf_salt(&found.leaf),
            leaf: found.leaf,
            block: merkle::steps(&found.leaves, found.index).unwrap_or_default(),
            manifest: merkle::steps(&roots, number).unwrap_or_default(),
        };
        match proof.root() == snapshot.stored.open.manifest_root {
            true => Ok(Some((proof, stale))),
            false => Err(TreeError::Root("another Merkle root")),
        }
    }

    fn root(&self) -> [u8; 32] {
        let leaf = merkle::leaf_hash(&self.salt, &self.leaf);
        let block = merkle::climb(leaf, &self.block);
        merkle::climb(merkle::plain_leaf(&block), &self.manifest)
    }

    /// The proof as it is kept. What people want to know comes first, and is read from the leaf
    /// again when it is checked.
    pub fn text(&self) -> String {
        let open = &self.snapshot.open;
        let mut lines = Lines::default();
        lines.line(FORM, VERSION);
        lines.line("path", escape(self.entry.path.as_bytes()));
        lines.line("kind", self.entry.kind.as_str());
        if let Some(content) = &self.entry.content {
            lines.line("size", content.size);
            lines.hex("blake3", content.hash.as_bytes());
        }
        lines.line("repository", open.repository);
        lines.line("snapshot", self.snapshot.id);
        lines.line("snapshot-sequence", open.sequence);
        lines.line("snapshot-time", form::time(open.time.seconds));
        lines.hex("writer", &self.writer.0);
        lines.hex("leaf", &self.leaf);
        lines.hex("salt", &self.salt);
        for (key, steps) in [("block-step", &self.block), ("manifest-step", &self.manifest)] {
            for step in steps {
                let (side, sibling) = match step {
                    Step::Left(sibling) => ("left", sibling),
                    Step::Right(sibling) => ("right", sibling),
                };
                lines.line(key, format_args!("{side} {}", HEXLOWER.encode(sibling)));
            }
        }
        lines.hex("manifest-root", &open.manifest_root);
        for part in self.snapshot.as_bytes().chunks(LINE) {
            lines.line("snapshot-bytes", BASE64.encode(part));
        }
        lines.finish()
    }

    /// Reads a proof and checks everything in it: that the steps lead from the entry to the root
    /// that the snapshot names, that the snapshot is signed, that it says nothing else besides.
    pub fn open(bytes: &[u8]) -> Result<Self, ProofError> {
        if bytes.len() > LONGEST {
            return Err(FormError::TooLong { len: bytes.len(), bound: LONGEST }.into());
        }
        let text = std::str::from_utf8(bytes).map_err(|_| FormError::Spelling)?;
        let mut fields = Fields::new(text);
        fields.value(FORM, |version| (version == VERSION).then_some(()))?;
        // What the leaf and the snapshot say is compared at the end.
        for key in ["path", "kind"] {
            fields.text(key)?;
        }
        if fields.optional("size").is_some() {
            fields.text("blake3")?;
        }
        for key in ["repository", "snapshot", "snapshot-sequence", "snapshot-time"] {
            fields.text(key)?;
        }
        let writer = PublicKey(fields.hex("writer")?);
        let leaf = fields.value("leaf", |text| {
            let short = text.len() <= 2 * ENTRY_BYTES;
            short.then(|| HEXLOWER.decode(text.as_bytes()).ok()).flatten()
        })?;
        let salt = fields.hex("salt")?;
        let block = steps(&mut fields, "block-step")?;
        let manifest = steps(&mut fields, "manifest-step")?;
        fields.text("manifest-root")?;
        let mut stored = Vec::new();
        while let Some(part) = fields.optional("snapshot-bytes") {
            let part = BASE64.decode(part.as_bytes());
            stored.extend(part.map_err(|_| FormError::Value("snapshot-bytes"))?);
        }
        fields.end()?;
        let snapshot = StoredSnapshot::decode(stored)?;
        if writer.writer_id() != snapshot.open.writer {
            return Err(ProofError::Writer);
        }
        snapshot.verify(&writer)?;
        let entry = record::decode_leaf(&leaf)?;
        let proof = Self { writer, snapshot, entry, leaf, salt, block, manifest };
        if proof.root() != proof.snapshot.open.manifest_root {
            return Err(ProofError::Root);
        }
        match proof.text() == text {
            true => Ok(proof),
            false => Err(FormError::Spelling.into()),
        }
    }
}

fn steps(fields: &mut Fields<'_>, key: &'static str) -> Result<Vec<Step>, FormError> {
    let mut steps = Vec::new();
    while let Some(text) = fields.optional(key) {
        let (side, sibling) = text.split_once(' ').ok_or(FormError::Value(key))?;
        let sibling = form::unhex(sibling).ok_or(FormError::Value(key))?;
        steps.push(match side {
            "left" => Step::Left(sibling),
            "right" => Step::Right(sibling),
            _ => return Err(FormError::Value(key)),
        });
        if steps.len() > STEPS {
            return Err(FormError::TooLong { len: steps.len(), bound: STEPS });
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests;
