//! Signed texts: what a person with common tools checks.
//!
//! A text of `key: value` lines, the public key of whoever signed it as PEM (RFC 8410), and the
//! signature, in one file:
//!
//! ```text
//! drover-certificate: 1
//! …
//! -----BEGIN PUBLIC KEY-----
//! …
//! -----END PUBLIC KEY-----
//! -----BEGIN DROVER SIGNATURE-----
//! …
//! -----END DROVER SIGNATURE-----
//! ```
//!
//! Ed25519 signs the bytes of the text themselves, and not the digest that [`crate::sign`] makes
//! for objects of a repository: any program that knows Ed25519 can check it (`openssl pkeyutl
//! -rawin`). The first line of a text says of what sort it is, so that none passes for another, and
//! a text is longer than a digest, so that none passes for an object.

use data_encoding::BASE64;

use crate::sign::{PublicKey, Signature, SignatureError, SigningKey};

const BEGIN_KEY: &str = "-----BEGIN PUBLIC KEY-----\n";
const END_KEY: &str = "\n-----END PUBLIC KEY-----\n";
const BEGIN_SIGNATURE: &str = "-----BEGIN DROVER SIGNATURE-----\n";
const END_SIGNATURE: &str = "\n-----END DROVER SIGNATURE-----\n";
/// An Ed25519 `SubjectPublicKeyInfo` up to the key (RFC 8410, section 4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why bytes are no signed text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Not UTF-8, or without the parts in their order.
    #[error("it is not a text, a public key and a signature, one after the other")]
    Layout,
    /// The public key is not one of Ed25519 in its one form.
    #[error("its public key is not one of Ed25519")]
    Key,
    /// The signature is not 64 bytes in Base64.
    #[error("its signature is not 64 bytes in Base64")]
    Signature,
}

/// A signed text whose signature has yet to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedText<'t> {
    /// The text, with its last line feed.
    pub text: &'t str,
    /// Whose signature it claims to have.
    pub key: PublicKey,
    /// The signature.
    pub signature: Signature,
}

/// `text`, which ends with a line feed, with key and signature after it.
pub fn sign(text: &str, key: &SigningKey) -> String {
    let signature = BASE64.encode(&key.sign_text(text.as_bytes()).0);
    format!("{text}{}{BEGIN_SIGNATURE}{signature}{END_SIGNATURE}", to_pem(&key.public()))
}

impl<'t> SignedText<'t> {
    /// Takes a file apart. There is one form: what is accepted is what [`sign`] makes.
    pub fn parse(bytes: &'t [u8]) -> Result<Self, TextError> {
        let whole = std::str::from_utf8(bytes).map_err(|_| TextError::Layout)?;
        let key_at = whole.find(BEGIN_KEY).ok_or(TextError::Layout)?;
        let (text, rest) = whole.split_at(key_at);
        let (pem, signature) = rest.split_once(BEGIN_SIGNATURE).ok_or(TextError::Layout)?;
        let signature = signature.strip_suffix(END_SIGNATURE).ok_or(TextError::Layout)?;
        if !text.ends_with('\n') {
            return Err(TextError::Layout);
        }
        let key = from_pem(pem).ok_or(TextError::Key)?;
        let signature = BASE64
            .decode(signature.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(TextError::Signature)?;
        Ok(Self { text, key, signature: Signature(signature) })
    }

    /// Checks that the holder of the key signed the text.
    pub fn verify(&self) -> Result<(), SignatureError> {
        self.key.verify_text(self.text.as_bytes(), &self.signature)
    }
}

/// The key as PEM, with a line feed at the end.
pub fn to_pem(key: &PublicKey) -> String {
    let der = [&SPKI[..], &key.0].concat();
    format!("{BEGIN_KEY}{}{END_KEY}", BASE64.encode(&der))
}

/// The key in exactly the form of [`to_pem`].
pub fn from_pem(pem: &str) -> Option<PublicKey> {
    let base64 = pem.strip_prefix(BEGIN_KEY)?.strip_suffix(END_KEY)?;
    let der = BASE64.decode(base64.as_bytes()).ok()?;
    Some(PublicKey(der.strip_prefix(&SPKI)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "drover-test: 1\nmethod: with words that are longer than a digest is\n";

    /// RFC 8410, section 10.1.
    #[test]
    fn a_key_is_written_as_the_rfc_does() {
        let key = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
        let key = data_encoding::HEXLOWER.decode(key.as_bytes()).unwrap();
        let key = PublicKey(key.try_into().unwrap());
        let pem = "-----BEGIN PUBLIC KEY-----\n\
                   MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
                   -----END PUBLIC KEY-----\n";
        assert_eq!(to_pem(&key), pem);
        assert_eq!(from_pem(pem), Some(key));
        assert_eq!(from_pem(&pem.replace("MCow", "MCox")), None);
        assert_eq!(from_pem(&pem.replace('\n', "\r\n")), None);
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let key = SigningKey::from_seed(&[3; 32]);
        let whole = sign(TEXT, &key);
        let parsed = SignedText::parse(whole.as_bytes()).unwrap();
        assert_eq!((parsed.text, parsed.key), (TEXT, key.public()));
        assert_eq!(parsed.verify(), Ok(()));
        for bit in 0..whole.len() * 8 {
            let mut changed = whole.clone().into_bytes();
            changed[bit / 8] ^= 1 << (bit % 8);
            let accepted = SignedText::parse(&changed)
                .is_ok_and(|parsed| parsed.key == key.public() && parsed.verify().is_ok());
            assert!(!accepted, "bit {bit}");
        }
    }

    #[test]
    fn a_digest_is_no_text() {
        let key = SigningKey::from_seed(&[3; 32]);
        let signature = key.sign("drover 2026-11 test", b"message");
        // What signs an object is the signature of its digest.
        let digest = *blake3::Hasher::new()
            .update(&19u64.to_le_bytes())
            .update(b"drover 2026-11 test")
            .update(b"message")
            .finalize()
            .as_bytes();
        assert!(key.public().verify_text(&digest, &signature).is_err());
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_what_is_made(text in "[a-z:\n -]{0,200}", cut in any::<prop::sample::Index>()) {
            let key = SigningKey::from_seed(&[4; 32]);
            let text = format!("{TEXT}{text}\n");
            let whole = sign(&text, &key);
            let parsed = SignedText::parse(whole.as_bytes()).unwrap();
            prop_assert_eq!(parsed.text, text.as_str());
            prop_assert_eq!(parsed.verify(), Ok(()));
            prop_assert!(SignedText::parse(&whole.as_bytes()[..cut.index(whole.len())]).is_err());
        }
    }
}
