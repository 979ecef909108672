//! Records of the audit log: the open part, and the sealed part once it is open.

use drover_repo::log::{Action, StoredRecord, encode};

use crate::shared::record;
use drover_crypt::{seal::ReaderSecret, sign::SigningKey};
use drover_types::codec::Encoder;

/// Bytes as either.
pub fn run(data: &[u8]) -> bool {
    let record = StoredRecord::decode(data.to_vec());
    if let Ok(record) = &record {
        assert!(record.verify(&SigningKey::from_seed(&[9; 32]).public()).is_err());
    }
    record.is_ok() || Action::decode(data).is_ok()
}

/// One of each.
pub fn seeds() -> Vec<Vec<u8>> {
    let key = SigningKey::from_seed(&[2; 32]);
    let action = Action {
        operator: "operator".into(),
        host: "server".into(),
        verb: "sync".into(),
        subject: "documents".into(),
        outcome: "ok".into(),
        program: "drover".into(),
    };
    let mut plain = Encoder::new();
    for text in ["operator", "server", "sync", "documents", "ok", "drover"] {
        plain.bytes(text.as_bytes());
    }
    let reader = ReaderSecret::generate();
    vec![encode(&record(&key), &action, &reader.public(), &key), plain.finish()]
}
