//! Keys, sealing, signing and Merkle trees: pure functions over bytes, without I/O.
//!
//! From the bottom up:
//!
//! - [`random`] is the one door to randomness, [`secret`] the type of every symmetric key and the
//!   one way to derive one from another.
//! - [`aead`] encrypts under a key whose nonces only count, [`seal`] to a reader's public key,
//!   [`sign`] signs, [`text`] what people check, [`merkle`] proves membership.
//! - [`domain`] holds the secrets that name chunks and cut files.
//! - [`hierarchy`] puts them together: the objects `config` and `keys/` of a repository, what
//!   opens them and what a writer is given (`docs/format-keys.md`).
//!
//! Suite 1 is: AES-256-GCM, BLAKE3, X25519, Ed25519, Argon2id. Every stored structure names its
//! suite, so that another can follow.

pub mod aead;
pub mod domain;
pub mod hierarchy;
pub mod merkle;
pub mod random;
pub mod seal;
pub mod secret;
pub mod sign;
pub mod text;

pub use aead::{Nonce, OpenError};
pub use secret::{Key, commitment, commitment_matches};
