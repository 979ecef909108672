//! Identifiers are counted, never kept: what stays of one is 64 bits of a keyed hash.

use std::fmt;

/// The key that identifiers of patients, studies, series, instances and messages are hashed with.
/// Drawn anew for each inventory by whoever runs it, and never stored, so that nobody can try
/// numbers against what is left.
#[derive(Clone)]
pub struct HashKey([u8; 32]);

impl HashKey {
    /// From 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash of one identifier in parts; the same parts give the same hash, however they are
    /// cut no other ones do but by chance (2⁻⁶⁴).
    pub(crate) fn hash(&self, parts: &[&[u8]]) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut first = [0; 8];
        hasher.finalize_xof().fill(&mut first);
        u64::from_le_bytes(first)
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey")
    }
}
