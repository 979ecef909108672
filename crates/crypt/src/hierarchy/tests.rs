use drover_types::{PackClass, Timestamp};
use zeroize::Zeroizing;

use super::*;

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanos: 5 };

fn password(text: &str) -> UnlockSecret {
    UnlockSecret::Passphrase(Zeroizing::new(text.as_bytes().to_vec()))
}

fn key_file(byte: u8) -> UnlockSecret {
    UnlockSecret::KeyFile(Zeroizing::new(vec![byte; 64]))
}

/// A repository whose owner has a key file, which costs no time to open.
fn made() -> (Vec<u8>, Vec<Object>, Keyring) {
    let (mut objects, keyring) =
        create_repository(&key_file(1), KdfParameters::minimum(), NOW).unwrap();
    let config = objects.pop().unwrap();
    assert_eq!(config.name, "config");
    (config.bytes, objects, keyring)
}

fn same_keys(a: &Keyring, b: &Keyring, epoch: u32) -> bool {
    let public = |k: &Keyring, class| k.reader_secret(class, epoch).map(|s| *s.public().key());
    public(a, PackClass::Data) == public(b, PackClass::Data)
        && public(a, PackClass::Meta) == public(b, PackClass::Meta)
}

#[test]
fn a_passphrase_opens_what_it_made_and_no_other_does() {
    let (mut objects, made) =
        create_repository(&password("correct"), KdfParameters::minimum(), NOW).unwrap();
    let config = objects.pop().unwrap().bytes;
    let opened = unlock(&config, &objects, &password("correct")).unwrap();
    assert!(same_keys(&made, &opened, 1));
    assert_eq!(opened.role(), Role::Owner);
    let wrong = unlock(&config, &objects, &password("wrong"));
    assert!(matches!(wrong, Err(UnlockError::WrongSecret("password"))));
}

#[test]
fn roles_have_what_they_may_have() {
    let (config, mut objects, owner) = made();
    for (byte, role) in [(2, Role::Reader), (3, Role::Auditor)] {
        let (_, added) =
            owner.add_slot(&key_file(byte), role, "who", KdfParameters::default(), NOW).unwrap();
        objects.extend(added);
    }
    let reader = unlock(&config, &objects, &key_file(2)).unwrap();
    let auditor = unlock(&config, &objects, &key_file(3)).unwrap();
    assert!(same_keys(&owner, &reader, 1));
    assert!(auditor.reader_secret(PackClass::Data, 1).is_none());
    assert!(auditor.reader_secret(PackClass::Meta, 1).is_some());
    for keyring in [&reader, &auditor] {
        assert!(keyring.issue_writer("w", None, NOW).is_err());
        assert!(keyring.rotate(&objects).is_err());
    }
    let slots = owner.slots(&objects).unwrap();
    assert_eq!(slots.len(), 3);
    assert_eq!(owner.label(&slots[1], &objects).as_deref(), Some("who"));
    assert_eq!(auditor.label(&slots[1], &objects), None);
}

#[test]
fn an_identity_opens_a_slot_made_for_its_public_key() {
    let (config, mut objects, owner) = made();
    let secret = [7; 32];
    let public = x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from(secret));
    let (_, added) = owner.add_recipient(public.to_bytes(), Role::Reader, "", NOW).unwrap();
    objects.extend(added);
    let opened = unlock(&config, &objects, &UnlockSecret::Identity(Zeroizing::new(secret))).unwrap();
    assert!(same_keys(&owner, &opened, 1));
    let other = unlock(&config, &objects, &UnlockSecret::Identity(Zeroizing::new([8; 32])));
    assert!(matches!(other, Err(UnlockError::WrongSecret("identity"))));
}

#[test]
fn rotation_reaches_the_slots_that_remain_and_not_those_removed() {
    let (config, mut objects, owner) = made();
    for byte in [2, 3] {
        let (_, added) = owner
            .add_slot(&key_file(byte), Role::Reader, "", KdfParameters::default(), NOW)
            .unwrap();
        objects.extend(added);
    }
    let removed = unlock(&config, &objects, &key_file(3)).unwrap();
    let gone = owner.objects_of(removed.slot(), &objects);
    assert_eq!(gone.len(), 2);
    objects.retain(|object| !gone.contains(&object.name));
    objects.extend(owner.rotate(&objects).unwrap());

    let reader = unlock(&config, &objects, &key_file(2)).unwrap();
    let owner = unlock(&config, &objects, &key_file(1)).unwrap();
    assert_eq!((reader.newest_epoch(), owner.newest_epoch()), (2, 2));
    assert!(same_keys(&owner, &reader, 1) && same_keys(&owner, &reader, 2));
    assert!(unlock(&config, &objects, &key_file(3)).is_err());
    assert!(removed.reader_secret(PackClass::Data, 2).is_none());
}

#[test]
fn a_writer_proves_its_grant_and_readers_learn_its_domain() {
    let (_, _, owner) = made();
    let (credential, object) = owner.issue_writer("server one", None, NOW).unwrap();
    let again = WriterCredential::decode(&credential.encode()).unwrap();
    assert_eq!(again.writer_id(), credential.writer_id());
    let grant = Grant::decode_verified(&object.bytes, owner.root_public()).unwrap();
    let (domain, label) = owner.open_grant_with_label(&grant).unwrap();
    assert_eq!((domain.id(), label.as_str()), (credential.domain_id(), "server one"));
    let stranger = crate::sign::SigningKey::generate().public();
    assert!(Grant::decode_verified(&object.bytes, &stranger).is_err());

    let revoked = owner.revoke(credential.writer_id(), 7).unwrap();
    let revocation = Revocation::decode_verified(&revoked.bytes, owner.root_public()).unwrap();
    assert_eq!(revocation.last_sequence, 7);
}

#[test]
fn any_flipped_bit_of_any_object_is_found() {
    let (config, objects, owner) = made();
    for bit in 0..config.len() * 8 {
        let mut bent = config.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        assert!(unlock(&bent, &objects, &key_file(1)).is_err(), "config bit {bit}");
    }
    for at in 0..objects.len() {
        for bit in 0..objects[at].bytes.len() * 8 {
            let mut bent = objects.clone();
            bent[at].bytes[bit / 8] ^= 1 << (bit % 8);
            let opened = unlock(&config, &bent, &key_file(1));
            assert!(opened.is_err(), "{} bit {bit}", objects[at].name);
        }
    }
    let (credential, _) = owner.issue_writer("w", None, NOW).unwrap();
    let bytes = credential.encode();
    let mut bent = bytes.to_vec();
    bent[50] ^= 1;
    assert!(WriterCredential::decode(&bent).is_err());
}

#[test]
fn objects_of_another_repository_are_refused() {
    let (config, objects, _) = made();
    let (other_config, other_objects, _) = made();
    assert!(unlock(&config, &other_objects, &key_file(1)).is_err());
    assert!(unlock(&other_config, &objects, &key_file(1)).is_err());
}

#[test]
fn dear_or_cheap_parameters_are_refused_before_they_run() {
    for kdf in [
        KdfParameters { memory: 1 << 10, time: 1, lanes: 1 },
        KdfParameters { memory: 4 << 20, time: 1, lanes: 1 },
        KdfParameters { memory: 64 << 10, time: 17, lanes: 1 },
        KdfParameters { memory: 64 << 10, time: 1, lanes: 0 },
    ] {
        let refused = create_repository(&password("p"), kdf, NOW);
        assert!(matches!(refused, Err(HierarchyError::Parameters)));
    }
}
