//! Proofs of one entry. The seed is one that was made of a real repository: nothing but its own
//! bytes is ever accepted.

use drover_repo::proof::Proof;

const SEED: &str = include_str!("../../../docs/vectors/proof-1.txt");

/// What holds is the seed, and is written again as it was.
pub fn run(data: &[u8]) -> bool {
    match Proof::open(data) {
        Ok(proof) => {
            assert_eq!(proof.text().as_bytes(), data);
            assert_eq!(data, SEED.as_bytes(), "a proof was forged");
            true
        }
        Err(_) => false,
    }
}

/// One.
pub fn seeds() -> Vec<Vec<u8>> {
    vec![SEED.into()]
}
