//! Symmetric keys, and the one way to derive one secret from others.

use std::fmt;

use drover_types::codec::{DecodeError, Decoder};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

const COMMITMENT_CONTEXT: &str = "drover 2026-11 key commitment";

/// 32 secret bytes. They are wiped when dropped, never print, and compare in constant time. They lie
/// in a place of their own: what is moved leaves its bytes where it was, and nobody wipes those.
#[derive(Clone)]
pub struct Key(Box<[u8; 32]>);

impl Key {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// A fresh key.
    pub fn random() -> Self {
        let mut key = Self(Box::default());
        crate::random::fill(&mut key.0[..]);
        key
    }

    /// The key with these bytes. Whoever passes them on has a copy, too: [`Self::read`] needs none.
    pub fn from_bytes(mut bytes: [u8; 32]) -> Self {
        let key = Self::copied(&bytes);
        bytes.zeroize();
        key
    }

    /// The key with these bytes; `None` where they are not 32.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self::copied(bytes.try_into().ok()?))
    }

    /// The next 32 bytes of what is decoded.
    pub fn read(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Self::from_slice(decoder.raw(Self::LEN)?).ok_or(DecodeError::Truncated)
    }

    fn copied(bytes: &[u8; 32]) -> Self {
        let mut key = Self(Box::default());
        key.0.copy_from_slice(bytes);
        key
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Derives a key: BLAKE3 `derive_key` with `context` over `parts`, each preceded by its length
/// (8 bytes, little-endian), so that no two lists of parts give the same input.
///
/// `context` names one purpose in the whole program and is never built at run time.
pub fn derive(context: &'static str, parts: &[&[u8]]) -> Key {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut hash = hasher.finalize();
    let key = Key::copied(hash.as_bytes());
    hasher.zeroize();
    hash.zeroize();
    key
}

/// What stands beside a ciphertext and binds it to one key.
///
/// GCM alone does not: a ciphertext can be made that opens under many keys, which lets whoever
/// serves it test many passwords with one try of the reader's (a partitioning oracle).
pub fn commitment(key: &Key) -> [u8; 32] {
    *derive(COMMITMENT_CONTEXT, &[key.as_bytes()]).0
}

/// Whether `expected` is the commitment of `key`; checked in constant time, before anything is
/// decrypted.
pub fn commitment_matches(key: &Key, expected: &[u8; 32]) -> bool {
    commitment(key).ct_eq(expected).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONTEXT: &str = "drover 2026-11 test";

    #[test]
    fn keys_do_not_print() {
        assert_eq!(format!("{:?}", Key::from_bytes([0xab; 32])), "Key(..)");
    }

    #[test]
    fn derivation_is_blake3_derive_key_over_length_prefixed_parts() {
        let mut material = vec![2, 0, 0, 0, 0, 0, 0, 0];
        material.extend(b"ab\0\0\0\0\0\0\0\0");
        let expected = blake3::derive_key(CONTEXT, &material);
        assert_eq!(derive(CONTEXT, &[b"ab", b""]).as_bytes(), &expected);
    }

    #[test]
    fn the_context_and_the_commitment_separate() {
        let key = derive(CONTEXT, &[b"x"]);
        assert_ne!(key, derive("drover 2026-11 other test", &[b"x"]));
        assert_ne!(&commitment(&key), key.as_bytes());
        assert!(commitment_matches(&key, &commitment(&key)));
        assert!(!commitment_matches(&Key::from_bytes([0; 32]), &commitment(&key)));
    }

    proptest! {
        #[test]
        fn where_one_part_ends_matters(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 1..5), cut in any::<prop::sample::Index>()) {
            let joined = parts.concat();
            let whole: Vec<&[u8]> = parts.iter().map(|p| &p[..]).collect();
            let (head, tail) = joined.split_at(cut.index(joined.len() + 1));
            let same = whole == [head, tail];
            prop_assert_eq!(derive(CONTEXT, &whole) == derive(CONTEXT, &[head, tail]), same);
        }
    }
}
