//! Signatures: Ed25519 with strict verification.
//!
//! What Ed25519 signs, but for [texts](crate::text), is always these 32 bytes:
//!
//! ```text
//! BLAKE3(length of context (8 bytes, little-endian) ‖ context ‖ message)
//! ```
//!
//! The context names what sort of object is signed, so that no signature serves for another sort.
//! Strict verification refuses small-order keys and encodings that are not canonical: one message
//! and key have signatures that every implementation judges alike.

use std::fmt;

use drover_types::WriterId;
use ed25519_dalek::Signer;

use crate::secret::Key;

/// A signature does not fit the key, the context and the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct SignatureError;

/// A signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

/// The public half of a [`SigningKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// Checks that the holder of this key signed `message` in `context`.
    pub fn verify(
        &self,
        context: &'static str,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), SignatureError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(&self.0).map_err(|_| SignatureError)?;
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(&digest(context, message), &signature).map_err(|_| SignatureError)
    }

    /// Checks that the holder of this key signed a text as it is, without a context: see
    /// [`crate::text`].
    pub fn verify_text(&self, text: &[u8], signature: &Signature) -> Result<(), SignatureError> {
        // So short a text could be the digest of an object.
        if text.len() <= 32 {
            return Err(SignatureError);
        }
        let key = ed25519_dalek::VerifyingKey::from_bytes(&self.0).map_err(|_| SignatureError)?;
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(text, &signature).map_err(|_| SignatureError)
    }

    /// The identifier of the writer with this key: the first 16 bytes of the key's BLAKE3.
    pub fn writer_id(&self) -> WriterId {
        let hash = blake3::hash(&self.0);
        WriterId(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
    }
}

/// A key that signs. Wiped when dropped, never prints.
#[derive(Clone)]
pub struct SigningKey {
    seed: Key,
    public: PublicKey,
}

impl SigningKey {
    /// A fresh key.
    pub fn generate() -> Self {
        Self::from_key(Key::random())
    }

    /// The key with this seed (RFC 8032's private key).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self::from_key(Key::from_bytes(*seed))
    }

    /// The key with this seed.
    pub(crate) fn from_key(seed: Key) -> Self {
        let whole = ed25519_dalek::SigningKey::from_bytes(seed.as_bytes());
        Self { public: PublicKey(whole.verifying_key().to_bytes()), seed }
    }

    /// The seed.
    pub fn seed(&self) -> &[u8; 32] {
        self.seed.as_bytes()
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// As the signature takes it; gone again once it is made.
    fn whole(&self) -> ed25519_dalek::SigningKey {
        ed25519_dalek::SigningKey::from_bytes(self.seed.as_bytes())
    }

    /// Signs `message` in `context`. The same input gives the same signature.
    pub fn sign(&self, context: &'static str, message: &[u8]) -> Signature {
        Signature(self.whole().sign(&digest(context, message)).to_bytes())
    }

    /// Signs a text as it is, without a context: see [`crate::text`]. What it begins with has to say
    /// of what sort it is, and it is longer than the 32 bytes of a digest.
    pub fn sign_text(&self, text: &[u8]) -> Signature {
        Signature(self.whole().sign(text).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

fn digest(context: &'static str, message: &[u8]) -> [u8; 32] {
    let len = (context.len() as u64).to_le_bytes();
    *blake3::Hasher::new()
        .update(&len)
        .update(context.as_bytes())
        .update(message)
        .finalize()
        .as_bytes()
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;

    const CONTEXT: &str = "drover 2026-11 test";

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
    }

    /// RFC 8032, section 7.1, tests 1 and 3: the primitive is the one we mean.
    #[test]
    fn ed25519_is_rfc_8032() {
        for (seed, public, message, signature) in [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                "af82",
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            ),
        ] {
            let key = SigningKey::from_seed(&hex(seed));
            assert_eq!(key.public(), PublicKey(hex(public)));
            let message = HEXLOWER.decode(message.as_bytes()).unwrap();
            assert_eq!(key.whole().sign(&message).to_bytes(), hex::<64>(signature));
        }
    }

    #[test]
    fn small_order_keys_sign_nothing() {
        // With the neutral element as key and R, s = 0 satisfies the equation for any message.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        let verdict = PublicKey(neutral).verify(CONTEXT, b"anything", &Signature(signature));
        assert_eq!(verdict, Err(SignatureError));
    }

    #[test]
    fn a_signature_serves_one_context() {
        let key = SigningKey::generate();
        let signature = key.sign(CONTEXT, b"x");
        assert_eq!(key.public().verify(CONTEXT, b"x", &signature), Ok(()));
        assert!(key.public().verify("drover 2026-11 tes", b"tx", &signature).is_err());
        assert!(SigningKey::generate().public().verify(CONTEXT, b"x", &signature).is_err());
        assert_eq!(format!("{key:?}"), "SigningKey(..)");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn any_flipped_bit_is_refused(message in prop::collection::vec(any::<u8>(), 1..80), bit in any::<prop::sample::Index>(), of_signature in any::<bool>()) {
            let key = SigningKey::from_seed(&[3; 32]);
            let (mut message, mut signature) = (message.clone(), key.sign(CONTEXT, &message));
            let target = if of_signature { &mut signature.0[..] } else { &mut message[..] };
            let bit = bit.index(target.len() * 8);
            target[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(key.public().verify(CONTEXT, &message, &signature).is_err());
        }
    }
}
