//! AES-256-GCM, the cipher of suite 1.
//!
//! GCM fails badly when a nonce repeats under a key. drover never draws nonces: a key belongs to
//! one pack or one small object, and its nonces count from 0 in a [`NonceCounter`] that cannot wrap
//! and hands each [`Nonce`] out once.
//!
//! The bytes are the same whichever implementation makes them. [`Cipher`] is for bulk and uses
//! ring, two to three times as fast (`docs/decisions/0002-bulk-cipher.md`); [`reference::Cipher`] is pure
//! Rust, overwrites its key when dropped, and serves the small things. Tests hold the two against
//! each other.
//!
//! GCM does not commit to its key: whoever opens compares [`crate::commitment`] first.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, UnboundKey};

use crate::Key;

pub mod reference;
#[cfg(test)]
mod tests;

/// Length of a tag in bytes.
pub const TAG_LEN: usize = 16;

/// The ciphertext, its tag, the associated data, the nonce or the key is not the one it was sealed
/// with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("authentication failed: the bytes were changed, or belong elsewhere")]
pub struct OpenError;

/// A nonce: four zero bytes, then a counter of 64 bits, little-endian. Not to be copied, so that
/// sealing uses it up.
#[derive(Debug, PartialEq, Eq)]
pub struct Nonce([u8; 12]);

impl Nonce {
    /// The nonce of the message numbered `counter`, for opening it. To seal, take nonces from a
    /// [`NonceCounter`].
    pub fn from_counter(counter: u64) -> Self {
        let mut bytes = [0; 12];
        bytes[4..].copy_from_slice(&counter.to_le_bytes());
        Self(bytes)
    }

    /// The bytes that GCM takes.
    pub fn as_bytes(&self) -> &[u8; 12] {
        &self.0
    }
}

/// The key has sealed as many messages as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key has sealed as many messages as it may")]
pub struct NonceExhausted;

/// The last number a message may have: 2^32 messages under one key are within NIST SP 800-38D.
const LAST_COUNTER: u64 = u32::MAX as u64;

/// Hands out the nonces of one key, each once, from 0.
#[derive(Debug, Default)]
pub struct NonceCounter(u64);

impl NonceCounter {
    /// For a key that has sealed nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next nonce.
    // Not an iterator: the end is an error that must not pass unnoticed.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Nonce, NonceExhausted> {
        if self.0 > LAST_COUNTER {
            return Err(NonceExhausted);
        }
        let nonce = Nonce::from_counter(self.0);
        self.0 += 1;
        Ok(nonce)
    }
}

/// AES-256-GCM for bulk, by ring.
pub struct Cipher(LessSafeKey);

impl Cipher {
    /// Expands `key`.
    pub fn new(key: &Key) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key.as_bytes())
            .expect("an AES-256 key has 32 bytes, as a Key has");
        Self(LessSafeKey::new(key))
    }

    /// Encrypts `buffer` where it lies and returns its tag.
    ///
    /// # Panics
    /// Where `buffer` has 64 GiB or more; every bound on a frame is far below.
    pub fn seal_in_place(&self, nonce: Nonce, aad: &[u8], buffer: &mut [u8]) -> [u8; TAG_LEN] {
        let nonce = ring::aead::Nonce::assume_unique_for_key(nonce.0);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(aad), buffer)
            .expect("the buffer is shorter than 64 GiB");
        tag.as_ref().try_into().expect("a GCM tag has 16 bytes")
    }

    /// Decrypts `buffer` where it lies. On an error it is left filled with zeros.
    pub fn open_in_place(
        &self,
        nonce: Nonce,
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), OpenError> {
        let nonce = ring::aead::Nonce::assume_unique_for_key(nonce.0);
        let opened = self
            .0
            .open_in_place_separate_tag(nonce, Aad::from(aad), (*tag).into(), buffer, 0..)
            .is_ok();
        if !opened {
            buffer.fill(0);
            return Err(OpenError);
        }
        Ok(())
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher(..)")
    }
}
