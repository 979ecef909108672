//! `docs/vectors/keys.json`: made here from a fixed seed, compared byte by byte with the file, and
//! read back from the file alone, rejections included.
//!
//! After a change of the format, which needs a new version, write the file anew with
//! `DROVER_WRITE_VECTORS=1 cargo test -p drover-crypt vectors`.

use data_encoding::HEXLOWER;
use drover_types::{ChunkKind, PackClass, RepositoryId, Timestamp};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::*;
use crate::{domain::DomainSecret, merkle, random, seal, secret, sign};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/keys.json");
const NOW: Timestamp = Timestamp { seconds: 1_800_000_000, nanos: 123_456_789 };
const DERIVE_CONTEXT: &str = "drover 2026-11 test vector";

fn hex(bytes: impl AsRef<[u8]>) -> String {
    HEXLOWER.encode(bytes.as_ref())
}

fn unhex(value: &Value) -> Vec<u8> {
    HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

fn secret(kind: &str, bytes: Vec<u8>) -> UnlockSecret {
    match kind {
        "passphrase" => UnlockSecret::Passphrase(Zeroizing::new(bytes)),
        "key-file" => UnlockSecret::KeyFile(Zeroizing::new(bytes)),
        "identity" => UnlockSecret::Identity(Zeroizing::new(bytes.try_into().unwrap())),
        other => panic!("no kind {other}"),
    }
}

/// What a keyring opens, as the file shows it.
fn opened(keyring: &Keyring) -> Value {
    let epochs: Vec<Value> = keyring
        .epochs()
        .map(|number| {
            let reader = |class| {
                keyring.reader_secret(class, number).map(|secret| {
                    json!({ "x25519": hex(secret.secret_bytes()), "psk": hex(secret.psk().as_bytes()) })
                })
            };
            json!({ "number": number, "data": reader(PackClass::Data), "meta": reader(PackClass::Meta) })
        })
        .collect();
    json!({ "role": keyring.role().as_str(), "can_sign": keyring.can_sign(), "epochs": epochs })
}

/// The kind of an error, as the file names it.
fn error_of(error: &UnlockError) -> (&str, &str) {
    match error {
        UnlockError::WrongSecret(_) => ("wrong secret", ""),
        UnlockError::Missing(name) => ("missing", name),
        UnlockError::Damaged { object, error } => {
            let kind = match error {
                HierarchyError::Layout(_) => "layout",
                HierarchyError::Version(..) => "version",
                HierarchyError::Signature => "signature",
                HierarchyError::Sealed => "sealed",
                HierarchyError::OtherRepository => "other repository",
                HierarchyError::OtherName => "other name",
                HierarchyError::Parameters => "parameters",
                _ => "other",
            };
            (kind, object)
        }
    }
}

fn generate() -> Value {
    let passphrase = b"correct horse battery staple".to_vec();
    let (key_file, identity) = ([7; 64].to_vec(), [9; 32].to_vec());
    let (mut objects, owner) =
        create_repository(&secret("passphrase", passphrase.clone()), KdfParameters::minimum(), NOW)
            .unwrap();
    let kdf = KdfParameters::minimum();
    let key_slot = secret("key-file", key_file.clone());
    let (reader, added) = owner.add_slot(&key_slot, Role::Reader, "second site", kdf, NOW).unwrap();
    objects.extend(added);
    let id_slot = secret("identity", identity.clone());
    let (auditor, added) = owner.add_slot(&id_slot, Role::Auditor, "", kdf, NOW).unwrap();
    objects.extend(added);
    objects.extend(owner.rotate(&objects, NOW).unwrap().1);
    let config = objects.remove(objects.iter().position(|o| o.name == "config").unwrap());
    let owner = unlock(&config.bytes, &objects, &secret("passphrase", passphrase.clone())).unwrap();
    let (credential, grant) = owner.issue_writer("server one", None, NOW).unwrap();
    let revocation = owner.revoke(credential.writer_id(), 41).unwrap();
    objects.extend([grant.clone(), revocation]);
    let parsed = Grant::decode_verified(&grant.bytes, owner.root_public()).unwrap();
    let domain = owner.open_grant(&parsed).unwrap();
    objects.sort_by(|a, b| a.name.cmp(&b.name));

    let secrets = [
        ("passphrase", passphrase, owner.slot().clone()),
        ("key-file", key_file, reader),
        ("identity", identity, auditor),
    ];
    let opens: Vec<Value> = secrets
        .iter()
        .map(|(kind, bytes, slot)| {
            let keyring = unlock(&config.bytes, &objects, &secret(kind, bytes.clone())).unwrap();
            json!({
                "kind": kind, "secret": hex(bytes), "slot": slot.hex(),
                "label": owner.label(slot, &objects).unwrap(), "opened": opened(&keyring),
            })
        })
        .collect();
    let slot = |at: usize| secrets[at].2.hex();
    json!({
        "about": "docs/format-keys.md, version 1, suite 1; bytes in hexadecimal",
        "config": hex(&config.bytes),
        "objects": objects.iter().map(|o| (o.name.clone(), hex(&o.bytes).into())).collect::<serde_json::Map<_, Value>>(),
        "root_public": owner.root_public().0.map(|b| format!("{b:02x}")).concat(),
        "opens": opens,
        "grant": {
            "object": grant.name, "writer": parsed.writer.to_hex(), "public_key": hex(parsed.public_key.0),
            "domain": parsed.domain.to_hex(), "epoch": parsed.epoch,
            "domain_secret": hex(domain.as_bytes()), "label": "server one", "last_sequence": 41,
        },
        "credential": hex(&*credential.encode()),
        "primitives": primitives(&domain),
        "rejections": rejections(owner.repository(), &slot(0), &slot(1), &slot(2), owner.epochs().count()),
    })
}

fn primitives(domain: &DomainSecret) -> Value {
    let keys = domain.keys();
    let key = secret::derive(DERIVE_CONTEXT, &[b"one", b"", b"three"]);
    let reader = seal::ReaderSecret::from_parts([1; 32], secret::Key::from_bytes([2; 32]));
    let sealed = seal::seal(&reader.public(), b"info", b"plaintext");
    let signing = sign::SigningKey::from_seed(&[3; 32]);
    let leaves: Vec<[u8; 32]> = (0..7u8).map(|i| merkle::plain_leaf(&[i])).collect();
    let content = *blake3::hash(b"content").as_bytes();
    json!({
        "derive": { "context": DERIVE_CONTEXT, "parts": ["6f6e65", "", "7468726565"], "key": hex(key.as_bytes()), "commitment": hex(secret::commitment(&key)) },
        "seal": { "x25519": hex([1; 32]), "psk": hex([2; 32]), "info": hex("info"), "plaintext": hex("plaintext"), "sealed": hex(sealed) },
        "sign": { "seed": hex([3; 32]), "public": hex(signing.public().0), "context": DERIVE_CONTEXT, "message": hex("message"), "signature": hex(signing.sign(DERIVE_CONTEXT, b"message").0) },
        "domain": {
            "content": hex(content),
            "chunk_ids": ChunkKind::ALL.map(|kind| keys.chunk_id(kind, &content).to_hex()),
            "gear_table": [hex(keys.gear_table()[0].to_le_bytes()), hex(keys.gear_table()[255].to_le_bytes())],
            "path": hex("a/b"), "path_hash": hex(keys.path_hash(b"a/b").to_le_bytes()),
            "leaf": hex("leaf"), "leaf_salt": hex(keys.leaf_salt(b"leaf")),
            "source": hex("files"), "source_id": keys.source_id(b"files").to_hex(),
        },
        "merkle": {
            "plain_leaves": ["00", "01", "02", "03", "04", "05", "06"], "root": hex(merkle::root_of(leaves.iter().copied())),
            "index": 4, "proof": merkle::prove(&leaves, 4).unwrap().iter().map(hex).collect::<Vec<_>>(),
        },
    })
}

/// What is done to the objects, what they are then opened with, and the error that must come.
fn rejections(
    repository: RepositoryId,
    owner: &str,
    reader: &str,
    auditor: &str,
    epochs: usize,
) -> Value {
    let keys = keys_folder(repository);
    let slot = |id: &str| format!("{keys}/slot-{id}");
    let epoch = |number: usize| format!("{keys}/epoch-{number}");
    let box_of = |number: usize, id: &str| format!("{}-{id}", epoch(number));
    let case = |why: &str, change: Value, kind: &str, error: &str, object: String| json!({ "why": why, "change": change, "open_with": kind, "error": error, "object": object });
    let flip = |object: &str, bit: usize| json!({ "flip": { "object": object, "bit": bit } });
    let bytes_of =
        |object: &str, from: &str| json!({ "replace": { "object": object, "by_bytes_of": from } });
    let remove = |object: &str| json!({ "remove": { "object": object } });
    let cut = |object: &str, len: usize| json!({ "cut": { "object": object, "length": len } });
    let config = || "config".to_owned();
    let cases = vec![
        case("another secret", json!({}), "other key-file", "wrong secret", String::new()),
        case("another kind of object", flip("config", 0), "key-file", "layout", config()),
        case("a later version", flip("config", 8 * 8 + 1), "key-file", "version", config()),
        case("another suite", flip("config", 9 * 8), "key-file", "version", config()),
        case("another root key", flip("config", 30 * 8), "key-file", "signature", config()),
        case("another repository", flip("config", 10 * 8), "key-file", "signature", config()),
        case("a config cut short", cut("config", 57), "key-file", "layout", config()),
        case("an empty config", cut("config", 0), "key-file", "layout", config()),
        case(
            "a slot whose wrapped key was changed",
            flip(&slot(reader), 170 * 8),
            "key-file",
            "signature",
            slot(reader),
        ),
        case(
            "a slot whose role was raised",
            flip(&slot(reader), 35 * 8),
            "key-file",
            "signature",
            slot(reader),
        ),
        case(
            "an auditor's slot made an owner's",
            flip(&slot(auditor), 35 * 8 + 1),
            "identity",
            "signature",
            slot(auditor),
        ),
        case(
            "cheaper key derivation",
            flip(&slot(owner), 47 * 8),
            "passphrase",
            "signature",
            slot(owner),
        ),
        case(
            "the slot of another",
            bytes_of(&slot(reader), &slot(owner)),
            "key-file",
            "other name",
            slot(reader),
        ),
        case(
            "a box where a slot was",
            bytes_of(&slot(reader), &box_of(1, reader)),
            "key-file",
            "signature",
            slot(reader),
        ),
        case("a slot cut short", cut(&slot(reader), 64), "key-file", "signature", slot(reader)),
        case("a missing slot", remove(&slot(reader)), "key-file", "wrong secret", String::new()),
        case(
            "a withheld box",
            remove(&box_of(epochs, reader)),
            "key-file",
            "missing",
            box_of(epochs, reader),
        ),
        case(
            "a box with a changed ciphertext",
            flip(&box_of(1, reader), 120 * 8),
            "key-file",
            "sealed",
            box_of(1, reader),
        ),
        case(
            "a box with a changed commitment",
            flip(&box_of(1, reader), 80 * 8),
            "key-file",
            "sealed",
            box_of(1, reader),
        ),
        case(
            "a box of another role",
            flip(&box_of(1, auditor), 38 * 8 + 1),
            "identity",
            "sealed",
            box_of(1, auditor),
        ),
        case(
            "a box of another slot",
            bytes_of(&box_of(1, reader), &box_of(1, owner)),
            "key-file",
            "sealed",
            box_of(1, reader),
        ),
        case(
            "the box of an earlier epoch",
            bytes_of(&box_of(2, reader), &box_of(1, reader)),
            "key-file",
            "other name",
            box_of(2, reader),
        ),
        case(
            "the readers of an earlier epoch",
            bytes_of(&epoch(2), &epoch(1)),
            "key-file",
            "other name",
            epoch(2),
        ),
        case("a changed reader's key", flip(&epoch(1), 40 * 8), "key-file", "signature", epoch(1)),
        case(
            "no epoch at all",
            json!({ "remove_all": [epoch(1), epoch(2)] }),
            "key-file",
            "missing",
            epoch(1),
        ),
    ];
    Value::Array(cases)
}

fn file() -> Value {
    serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap()
}

fn objects_in(file: &Value) -> Vec<Object> {
    let objects = file["objects"].as_object().unwrap();
    objects.iter().map(|(name, bytes)| Object { name: name.clone(), bytes: unhex(bytes) }).collect()
}

#[test]
fn vectors_are_what_this_version_writes() {
    let made = random::with_seed(b"drover key vectors, version 1", generate);
    if std::env::var_os("DROVER_WRITE_VECTORS").is_some() {
        std::fs::write(FILE, serde_json::to_string_pretty(&made).unwrap() + "\n").unwrap();
    }
    assert_eq!(file(), made);
}

#[test]
fn vectors_open_to_what_they_say() {
    let file = file();
    let (config, objects) = (unhex(&file["config"]), objects_in(&file));
    for case in file["opens"].as_array().unwrap() {
        let kind = case["kind"].as_str().unwrap();
        let keyring = unlock(&config, &objects, &secret(kind, unhex(&case["secret"]))).unwrap();
        assert_eq!(opened(&keyring), case["opened"], "{kind}");
        assert_eq!(hex(keyring.root_public().0), file["root_public"]);
    }
    let credential = WriterCredential::decode(&unhex(&file["credential"])).unwrap();
    assert_eq!(credential.writer_id().to_hex(), file["grant"]["writer"]);
    let vector = &file["primitives"]["seal"];
    let parts = |name: &str| -> [u8; 32] { unhex(&vector[name]).try_into().unwrap() };
    let reader =
        seal::ReaderSecret::from_parts(parts("x25519"), secret::Key::from_bytes(parts("psk")));
    let plain = seal::open(&reader, &unhex(&vector["info"]), &unhex(&vector["sealed"])).unwrap();
    assert_eq!(hex(&*plain), vector["plaintext"]);
}

#[test]
fn vectors_that_must_be_rejected_are() {
    let file = file();
    for case in file["rejections"].as_array().unwrap() {
        let why = case["why"].as_str().unwrap();
        let mut config = unhex(&file["config"]);
        let mut objects = objects_in(&file);
        let change = case["change"].as_object().unwrap();
        for (what, how) in change {
            let name = how["object"].as_str().unwrap_or("");
            let from = how["by_bytes_of"].as_str().unwrap_or("");
            let replacement = objects.iter().find(|o| o.name == from).map(|o| o.bytes.clone());
            let bytes = match objects.iter_mut().find(|o| o.name == name) {
                Some(object) => &mut object.bytes,
                None => &mut config,
            };
            match what.as_str() {
                "flip" => {
                    let bit = how["bit"].as_u64().unwrap() as usize;
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
                "cut" => bytes.truncate(how["length"].as_u64().unwrap() as usize),
                "replace" => *bytes = replacement.unwrap(),
                "remove" => objects.retain(|o| o.name != name),
                "remove_all" => objects.retain(|o| {
                    !how.as_array().unwrap().iter().any(|gone| gone == o.name.as_str())
                }),
                other => panic!("no change {other}"),
            }
        }
        let with = case["open_with"].as_str().unwrap();
        let opening = match with {
            "other key-file" => secret("key-file", vec![8; 64]),
            kind => {
                let known = file["opens"].as_array().unwrap();
                let known = known.iter().find(|known| known["kind"] == kind).unwrap();
                secret(kind, unhex(&known["secret"]))
            }
        };
        let Err(error) = unlock(&config, &objects, &opening) else { panic!("{why}: it opened") };
        let (kind, object) = error_of(&error);
        assert_eq!(
            (kind, object),
            (case["error"].as_str().unwrap(), case["object"].as_str().unwrap()),
            "{why}"
        );
    }
}
