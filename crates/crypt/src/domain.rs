//! The secrets of a dedup domain: what chunks are named by and where data is cut.
//!
//! A dedup domain is the set of writers who share chunk names, by default one writer. Who holds
//! its secret can tell whether a chunk that he guesses exists there, and nothing else.
//!
//! A chunk's name is `keyed BLAKE3(K_kind, BLAKE3(plaintext))`: over the hash, not the bytes, so
//! that the plain hash of a file of one chunk is computed once and an auditor can tie the hash in
//! a manifest to the chunk's name without the data (`docs/decisions/0003-chunk-names.md`).

use std::{fmt, sync::Arc};

use drover_types::{
    ChunkId, ChunkKind, DomainId, SourceId,
    codec::{DecodeError, Decoder},
};
use zeroize::Zeroize;

use crate::secret::{Key, derive};

const ID_CONTEXT: &str = "drover 2026-11 domain id";
const CHUNK_CONTEXT: &str = "drover 2026-11 domain chunk names";
const GEAR_CONTEXT: &str = "drover 2026-11 domain gear table";
const PATH_CONTEXT: &str = "drover 2026-11 domain manifest blocks";
const SALT_CONTEXT: &str = "drover 2026-11 domain leaf salts";
const SOURCE_CONTEXT: &str = "drover 2026-11 domain source names";

/// The secret that all others of a domain are derived from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainSecret(Key);

impl DomainSecret {
    /// The secret of a new domain.
    pub fn random() -> Self {
        Self(Key::random())
    }

    /// The secret with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Key::from_bytes(bytes))
    }

    /// The next 32 bytes of what is decoded.
    pub(crate) fn read(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Key::read(decoder).map(Self)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Names the domain; derived from the secret and none itself.
    pub fn id(&self) -> DomainId {
        let id = derive(ID_CONTEXT, &[self.as_bytes()]);
        DomainId(*id.as_bytes().first_chunk().expect("a key has 32 bytes"))
    }

    /// The keys that are derived from it.
    pub fn keys(&self) -> DomainKeys {
        let key = |context| derive(context, &[self.as_bytes()]);
        DomainKeys(Arc::new(Keys {
            id: self.id(),
            chunk: ChunkKind::ALL
                .map(|kind| derive(CHUNK_CONTEXT, &[self.as_bytes(), &[kind as u8]])),
            gear: key(GEAR_CONTEXT),
            path: key(PATH_CONTEXT),
            salt: key(SALT_CONTEXT),
            source: key(SOURCE_CONTEXT),
        }))
    }
}

/// The keys of a dedup domain. A clone shares them.
#[derive(Clone)]
pub struct DomainKeys(Arc<Keys>);

struct Keys {
    id: DomainId,
    /// By the code of the kind.
    chunk: [Key; ChunkKind::ALL.len()],
    gear: Key,
    path: Key,
    salt: Key,
    source: Key,
}

impl DomainKeys {
    /// The domain.
    pub fn id(&self) -> DomainId {
        self.0.id
    }

    /// The name of a chunk of `kind`, from the plain BLAKE3 of its content.
    pub fn chunk_id(&self, kind: ChunkKind, content: &[u8; 32]) -> ChunkId {
        ChunkId(keyed(&self.0.chunk[kind as usize], content))
    }

    /// The table that a gear hash adds for each byte: 256 words of the key's extended output,
    /// little-endian.
    pub fn gear_table(&self) -> Box<[u64; 256]> {
        let mut hasher = blake3::Hasher::new_keyed(self.0.gear.as_bytes());
        let mut output = hasher.finalize_xof();
        let mut word = [0; 8];
        let mut table = Box::new([0; 256]);
        for entry in table.iter_mut() {
            output.fill(&mut word);
            *entry = u64::from_le_bytes(word);
        }
        word.zeroize();
        output.zeroize();
        hasher.zeroize();
        table
    }

    /// Decides whether a manifest's block ends after the entry with this path: the first eight
    /// bytes, little-endian, of its keyed hash.
    pub fn path_hash(&self, path: &[u8]) -> u64 {
        let hash = keyed(&self.0.path, path);
        u64::from_le_bytes(*hash.first_chunk().expect("a hash has 32 bytes"))
    }

    /// The salt of a manifest's leaf. The same leaf has the same salt, so that unchanged blocks
    /// keep their roots.
    pub fn leaf_salt(&self, leaf: &[u8]) -> [u8; 32] {
        keyed(&self.0.salt, leaf)
    }

    /// Names a source without showing its name: the first half of the name's keyed hash.
    pub fn source_id(&self, name: &[u8]) -> SourceId {
        let hash = keyed(&self.0.source, name);
        SourceId(*hash.first_chunk().expect("a hash has 32 bytes"))
    }
}

impl fmt::Debug for DomainKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DomainKeys({})", self.id())
    }
}

fn keyed(key: &Key, bytes: &[u8]) -> [u8; 32] {
    *blake3::keyed_hash(key.as_bytes(), bytes).as_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_kind_passes_for_another_and_no_domain_for_another() {
        let (a, b) = (DomainSecret::random().keys(), DomainSecret::random().keys());
        let content = *blake3::hash(b"content").as_bytes();
        let ids: HashSet<_> = ChunkKind::ALL
            .iter()
            .flat_map(|kind| [a.chunk_id(*kind, &content), b.chunk_id(*kind, &content)])
            .collect();
        assert_eq!(ids.len(), 10);
        assert_ne!(a.id(), b.id());
        assert_ne!(a.gear_table(), b.gear_table());
        assert_ne!(a.leaf_salt(b"x"), b.leaf_salt(b"x"));
    }

    #[test]
    fn the_same_secret_gives_the_same_keys() {
        let secret = DomainSecret::random();
        let again = DomainSecret::from_bytes(*secret.as_bytes());
        let (a, b) = (secret.keys(), again.keys());
        assert_eq!(a.gear_table(), b.gear_table());
        assert_eq!(a.path_hash(b"p"), b.path_hash(b"p"));
        assert_eq!(a.leaf_salt(b"p"), b.leaf_salt(b"p"));
        assert_eq!(a.source_id(b"p"), b.source_id(b"p"));
        assert_eq!(a.id(), secret.id());
    }

    #[test]
    fn the_gear_table_has_no_repeats() {
        let table = DomainSecret::from_bytes([1; 32]).keys().gear_table();
        assert_eq!(table.iter().collect::<HashSet<_>>().len(), 256);
    }

    #[test]
    fn nothing_secret_prints() {
        let secret = DomainSecret::from_bytes([0xab; 32]);
        assert_eq!(format!("{secret:?}"), "DomainSecret(Key(..))");
        assert_eq!(format!("{:?}", secret.keys()), format!("DomainKeys({})", secret.id()));
    }
}
