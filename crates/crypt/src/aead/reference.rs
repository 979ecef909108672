//! The same cipher by the crate aes-gcm: portable Rust, key material wiped when dropped. It is
//! what small things are encrypted with, and what the bulk cipher is tested against.

use std::fmt;

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};

use super::{Nonce, OpenError, TAG_LEN};
use crate::secret::Key;

/// AES-256-GCM for small things. Wiped when dropped, never prints.
pub struct Cipher(Aes256Gcm);

impl Cipher {
    /// Expands `key`.
    pub fn new(key: &Key) -> Self {
        Self(Aes256Gcm::new(key.as_bytes().into()))
    }

    /// As [`super::Cipher::seal_in_place`].
    ///
    /// # Panics
    /// As [`super::Cipher::seal_in_place`].
    pub fn seal_in_place(&self, nonce: Nonce, aad: &[u8], buffer: &mut [u8]) -> [u8; TAG_LEN] {
        self.0
            .encrypt_inout_detached(nonce.as_bytes().into(), aad, buffer.into())
            .expect("the buffer is shorter than 64 GiB")
            .into()
    }

    /// As [`super::Cipher::open_in_place`].
    pub fn open_in_place(
        &self,
        nonce: Nonce,
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), OpenError> {
        let nonce = nonce.as_bytes().into();
        self.0.decrypt_inout_detached(nonce, aad, (&mut *buffer).into(), tag.into()).map_err(|_| {
            buffer.fill(0);
            OpenError
        })
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher(..)")
    }
}
