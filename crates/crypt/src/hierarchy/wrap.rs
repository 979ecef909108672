//! Wrapping: one small secret under a key that is used for nothing else.
//!
//! ```text
//! commitment 32 | ciphertext | tag 16
//! ```
//!
//! The key comes from a derivation over a salt that depends on what is wrapped, so it encrypts one
//! message and nonce 0 is right. What stands before the ciphertext is associated data: what the
//! caller gives, then the commitment.

use zeroize::Zeroizing;

use super::HierarchyError;
use crate::{
    aead::{Nonce, TAG_LEN, reference::Cipher},
    random,
    secret::{Key, commitment, commitment_matches, derive},
};

/// How many bytes longer a wrapped secret is than the secret.
pub(super) const OVERHEAD: usize = 32 + TAG_LEN;

/// Why a wrapped secret does not open.
pub(super) enum UnwrapError {
    /// It is under another key.
    OtherKey,
    /// It was changed, or stands in another place.
    Changed,
}

impl From<UnwrapError> for HierarchyError {
    fn from(_: UnwrapError) -> Self {
        HierarchyError::Sealed
    }
}

/// Wraps `secret` under a key that wraps nothing else.
pub(super) fn wrap(key: &Key, context: &[u8], secret: &[u8]) -> Vec<u8> {
    let commitment = commitment(key);
    let mut out = Vec::with_capacity(secret.len() + OVERHEAD);
    out.extend_from_slice(&commitment);
    out.extend_from_slice(secret);
    let aad = [context, &commitment].concat();
    let nonce = Nonce::from_counter(0);
    let tag = Cipher::new(key).seal_in_place(nonce, &aad, &mut out[commitment.len()..]);
    out.extend_from_slice(&tag);
    out
}

/// Opens what [`wrap`] made with the same key and context.
pub(super) fn unwrap(
    key: &Key,
    context: &[u8],
    wrapped: &[u8],
) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
    let (stored, rest) = wrapped.split_first_chunk::<32>().ok_or(UnwrapError::Changed)?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(UnwrapError::Changed)?;
    if !commitment_matches(key, stored) {
        return Err(UnwrapError::OtherKey);
    }
    let aad = [context, stored].concat();
    let mut secret = Zeroizing::new(ciphertext.to_vec());
    Cipher::new(key)
        .open_in_place(Nonce::from_counter(0), &aad, &mut secret, tag)
        .map_err(|_| UnwrapError::Changed)?;
    Ok(secret)
}

/// A salt from randomness and from what it will protect: a generator that repeats itself gives two
/// different secrets two different salts.
pub(super) fn salt(protected: &[&[u8]]) -> [u8; 32] {
    let fresh = Zeroizing::new(random::array::<32>());
    let parts: Vec<&[u8]> =
        std::iter::once(fresh.as_slice()).chain(protected.iter().copied()).collect();
    *derive("drover 2026-11 wrapping salt", &parts).as_bytes()
}
