//! Steps of cutovers: the open part, and the sealed part once it is open.

use std::collections::BTreeMap;

use drover_crypt::{seal::ReaderSecret, sign::SigningKey};
use drover_repo::cutover::{Move, State, StoredStep, encode};

use crate::shared::record;

/// Bytes as either. What is sealed has one encoding only.
pub fn run(data: &[u8]) -> bool {
    let step = StoredStep::decode(data.to_vec());
    if let Ok(step) = &step {
        assert!(step.verify(&SigningKey::from_seed(&[9; 32]).public()).is_err());
    }
    let to = Move::decode(data);
    if let Ok(to) = &to {
        assert_eq!(to.encode(), data);
    }
    step.is_ok() || to.is_ok()
}

/// One of each.
pub fn seeds() -> Vec<Vec<u8>> {
    let key = SigningKey::from_seed(&[2; 32]);
    let facts = [("deadline", "1"), ("timer", "ab")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let to = Move {
        state: State::Freezing,
        source: "pacs".into(),
        operator: "operator".into(),
        host: "server".into(),
        program: "drover".into(),
        note: "note".into(),
        facts: BTreeMap::from(facts),
    };
    let reader = ReaderSecret::generate();
    vec![encode(&record(&key), &to, &reader.public(), &key), to.encode()]
}
