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
        assert!(!keyring.can_sign());
        assert!(keyring.rotate_for(&owner.slots(&objects).unwrap(), &objects, NOW).is_err());
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
    let opened =
        unlock(&config, &objects, &UnlockSecret::Identity(Zeroizing::new(secret))).unwrap();
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
    objects.extend(owner.rotate(&objects, NOW).unwrap().1);

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

/// Bits, lengths and places: whatever happens to an object, the error names that object.
#[test]
fn a_changed_object_is_named() {
    let (config, mut objects, owner) = made();
    let (_, added) =
        owner.add_slot(&key_file(2), Role::Reader, "x", KdfParameters::minimum(), NOW).unwrap();
    objects.extend(added);
    let opened = unlock(&config, &objects, &key_file(1)).unwrap();
    let own = opened.slot().hex();

    let of_the_other_slot =
        |name: &str| !name.contains(&own) && name != "config" && key_name(name) != Some("epoch-1");
    let named = |config: &[u8], objects: &[Object], expected: &str, what: &str| {
        match unlock(config, objects, &key_file(1)) {
            Err(UnlockError::Damaged { object, .. }) => assert_eq!(object, expected, "{what}"),
            Err(error) => panic!("{expected}, {what}: {error}"),
            // What only the other slot needs is not looked at.
            Ok(_) => assert!(of_the_other_slot(expected), "{expected}, {what}: not noticed"),
        }
    };
    for bit in 0..config.len() * 8 {
        let mut bent = config.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        named(&bent, &objects, "config", &format!("bit {bit}"));
    }
    for len in 0..config.len() {
        named(&config[..len], &objects, "config", &format!("length {len}"));
    }
    for at in 0..objects.len() {
        let (name, len) = (objects[at].name.clone(), objects[at].bytes.len());
        for bit in 0..len * 8 {
            let mut bent = objects.clone();
            bent[at].bytes[bit / 8] ^= 1 << (bit % 8);
            named(&config, &bent, &name, &format!("bit {bit}"));
        }
        for len in 0..len {
            let mut bent = objects.clone();
            bent[at].bytes.truncate(len);
            named(&config, &bent, &name, &format!("length {len}"));
        }
        for other in (0..objects.len()).filter(|other| *other != at) {
            let mut bent = objects.clone();
            bent[at].bytes = objects[other].bytes.clone();
            named(&config, &bent, &name, &format!("the bytes of {}", objects[other].name));
        }
    }
}

#[test]
fn every_bit_of_a_grant_a_revocation_and_a_credential_counts() {
    let (_, _, owner) = made();
    let (credential, grant) = owner.issue_writer("w", None, NOW).unwrap();
    let revocation = owner.revoke(credential.writer_id(), 7).unwrap();
    let root = owner.root_public();
    for bit in 0..grant.bytes.len() * 8 {
        let mut bent = grant.bytes.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        assert!(Grant::decode_verified(&bent, root).is_err());
    }
    for bit in 0..revocation.bytes.len() * 8 {
        let mut bent = revocation.bytes.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        assert!(Revocation::decode_verified(&bent, root).is_err());
    }
    // A root-signed object is of one sort.
    assert!(Grant::decode_verified(&revocation.bytes, root).is_err());
    assert!(Revocation::decode_verified(&grant.bytes, root).is_err());

    let bytes = credential.encode();
    for len in 0..bytes.len() {
        assert!(WriterCredential::decode(&bytes[..len]).is_err());
    }
    // Seed, root and grant, and the domain at the end, are bound to each other; the readers'
    // keys between them are only as good as the file's permissions.
    let readers = bytes.len() - 32 - 4 * 32..bytes.len() - 32;
    for at in (0..bytes.len()).filter(|at| !readers.contains(at)) {
        let mut bent = bytes.to_vec();
        bent[at] ^= 1;
        assert!(WriterCredential::decode(&bent).is_err(), "byte {at}");
    }
}

#[test]
fn a_damaged_passphrase_slot_is_not_a_wrong_password() {
    let (mut objects, _) =
        create_repository(&password("p"), KdfParameters::minimum(), NOW).unwrap();
    let config = objects.pop().unwrap().bytes;
    let slot = objects
        .iter_mut()
        .find(|o| key_name(&o.name).is_some_and(|name| name.starts_with("slot-")))
        .unwrap();
    let name = slot.name.clone();
    slot.bytes[80] ^= 1;
    match unlock(&config, &objects, &password("p")) {
        Err(UnlockError::Damaged { object, error: HierarchyError::Signature }) => {
            assert_eq!(object, name);
        }
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn an_interrupted_rotation_changes_nothing_and_its_number_is_not_used_again() {
    let (config, mut objects, owner) = made();
    let (_, added) =
        owner.add_slot(&key_file(2), Role::Reader, "", KdfParameters::minimum(), NOW).unwrap();
    objects.extend(added);
    let slots = owner.slots(&objects).unwrap();
    let (_, rotated) = owner.rotate(&objects, NOW).unwrap();
    assert_eq!(key_name(&rotated.last().unwrap().name), Some("epoch-2"));
    for stored in 0..rotated.len() {
        let mut partly = objects.clone();
        partly.extend_from_slice(&rotated[..stored]);
        for byte in [1, 2] {
            assert_eq!(unlock(&config, &partly, &key_file(byte)).unwrap().newest_epoch(), 1);
        }
        let owner = unlock(&config, &partly, &key_file(1)).unwrap();
        let (_, again) = owner.rotate_for(&slots, &partly, NOW).unwrap();
        assert_eq!(key_name(&again.last().unwrap().name) == Some("epoch-2"), stored == 0);
        partly.extend(again);
        let newest = unlock(&config, &partly, &key_file(2)).unwrap().newest_epoch();
        assert_eq!(newest, if stored == 0 { 2 } else { 3 });
    }
}

#[test]
fn a_rotation_reaches_every_writer_that_was_not_revoked() {
    let (config, mut objects, owner) = made();
    let issue = |label| owner.issue_writer(label, None, NOW).unwrap();
    let ((first, grant), (second, other), (revoked, last)) = (issue("a"), issue("b"), issue("c"));
    objects.extend([grant, other, last, owner.revoke(revoked.writer_id(), 0).unwrap()]);
    let (number, rotated) = owner.rotate(&objects, NOW).unwrap();
    let epoch = rotated.iter().position(|o| key_name(&o.name) == Some("epoch-2")).unwrap();
    let (before, after) = rotated.split_at(epoch + 1);
    let is_grant = |object: &Object| key_name(&object.name).unwrap().starts_with("writer-");
    assert!(!before.iter().any(is_grant) && after.iter().all(is_grant));
    assert_eq!((number, after.len()), (2, 2));
    let of = |writer: &WriterCredential| {
        let name = format!("{}2", Grant::names(owner.repository(), writer.writer_id()));
        rotated.iter().find(|object| object.name == name)
    };
    assert!(of(&revoked).is_none());

    // The grant alone gives its writer the new readers, and nobody else.
    let renewed = first.renewed(&of(&first).unwrap().bytes).unwrap();
    let stored = WriterCredential::decode(&renewed.encode()).unwrap();
    objects.extend_from_slice(&rotated);
    let opened = unlock(&config, &objects, &key_file(1)).unwrap();
    for class in [PackClass::Data, PackClass::Meta] {
        let reader = opened.reader_secret(class, 2).unwrap().public();
        assert_eq!(stored.reader(class).key(), reader.key());
        assert_eq!(stored.reader(class).psk(), reader.psk());
        assert_ne!(first.reader(class).key(), reader.key());
    }
    assert_eq!((stored.epoch(), stored.writer_id()), (2, first.writer_id()));
    assert_eq!(stored.domain_id(), first.domain_id());
    assert!(first.renewed(&of(&second).unwrap().bytes).is_err(), "another writer's");
    assert!(renewed.renewed(&of(&first).unwrap().bytes).is_err(), "not a later one");
    let labels = |grant: &Grant| opened.open_grant_with_label(grant).unwrap().1;
    let grants = opened.grants(&objects);
    let mut known: Vec<_> = grants.iter().map(|grant| (labels(grant), grant.epoch)).collect();
    known.sort();
    assert_eq!(known, [("a".into(), 2), ("b".into(), 2), ("c".into(), 1)]);
}

#[test]
fn a_removed_slot_that_is_put_back_gets_no_later_keys() {
    let (config, mut objects, owner) = made();
    let (removed, added) =
        owner.add_slot(&key_file(2), Role::Reader, "", KdfParameters::minimum(), NOW).unwrap();
    let remaining = owner.slots(&objects).unwrap();
    // Put back before the rotation: the owner's list decides, not the store's.
    objects.extend(added);
    objects.extend(owner.rotate_for(&remaining, &objects, NOW).unwrap().1);
    assert!(matches!(unlock(&config, &objects, &key_file(2)), Err(UnlockError::Missing(_))));
    // Put back afterwards, and listed by mistake: it has no box to be escrowed from.
    let owner = unlock(&config, &objects, &key_file(1)).unwrap();
    let error = owner.rotate_for(&[removed], &objects, NOW).unwrap_err();
    assert!(matches!(error, UnlockError::Damaged { error: HierarchyError::NoBox, .. }));
    assert!(owner.rotate(&objects, NOW).is_err());
}

#[test]
fn a_re_signed_slot_under_another_root_opens_nothing() {
    // Whoever has the bucket makes a root of his own, signs a config of the same repository and
    // the victim's slot with it, and waits for the password.
    let (config, objects, _) = made();
    let forger = crate::sign::SigningKey::generate();
    let resign = |bytes: &[u8], context, key_at: Option<usize>| {
        let mut body = bytes[..bytes.len() - 64].to_vec();
        if let Some(at) = key_at {
            body[at..at + 32].copy_from_slice(&forger.public().0);
        }
        let signature = forger.sign(context, &body);
        body.extend_from_slice(&signature.0);
        body
    };
    let config = resign(&config, "drover 2026-11 config", Some(26));
    let objects: Vec<Object> = objects
        .into_iter()
        .map(|Object { name, bytes }| {
            let context = match name.matches('-').count() {
                2 => "drover 2026-11 slot box",
                _ if name.contains("slot") => "drover 2026-11 slot",
                _ => "drover 2026-11 epoch",
            };
            Object { bytes: resign(&bytes, context, None), name }
        })
        .collect();
    assert!(Config::decode(&config).is_ok());
    assert!(matches!(
        unlock(&config, &objects, &key_file(1)),
        Err(UnlockError::Damaged { error: HierarchyError::Signature, .. })
    ));
}

#[test]
fn a_dead_generator_gives_different_secrets_different_keys() {
    let (_, _, owner) = made();
    crate::random::with_constant(0, || {
        let add = |label: &str, role| {
            let (info, objects) =
                owner.add_slot(&key_file(2), role, label, KdfParameters::minimum(), NOW).unwrap();
            (info.id, objects.iter().map(|o| o.bytes.clone()).collect::<Vec<_>>())
        };
        assert_eq!(add("one", Role::Reader), add("one", Role::Reader));
        assert_ne!(add("one", Role::Reader).0, add("two", Role::Reader).0);
        assert_ne!(add("one", Role::Reader).0, add("one", Role::Auditor).0);
    });
}

#[test]
fn what_anyone_could_guess_makes_no_slot() {
    for secret in [password(""), UnlockSecret::KeyFile(Zeroizing::new(vec![7; 31]))] {
        let refused = create_repository(&secret, KdfParameters::minimum(), NOW);
        assert!(matches!(refused, Err(HierarchyError::WeakSecret(_))));
    }
}

#[test]
fn a_long_label_is_cut_between_characters() {
    let (_, mut objects, owner) = made();
    let label = "ä".repeat(200) + "x";
    let (info, added) =
        owner.add_slot(&key_file(2), Role::Reader, &label, KdfParameters::minimum(), NOW).unwrap();
    objects.extend(added);
    assert_eq!(owner.label(&info, &objects), Some("ä".repeat(128)));
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

/// RFC 9106, section 5.3: the algorithm and the version that slots use.
#[test]
fn argon2id_is_rfc_9106() {
    use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};
    let mut params = ParamsBuilder::new();
    params.m_cost(32).t_cost(3).p_cost(4).output_len(32);
    params.data(AssociatedData::new(&[4; 12]).unwrap());
    let params = params.build().unwrap();
    let mut tag = [0; 32];
    Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params)
        .unwrap()
        .hash_password_into(&[1; 32], &[2; 16], &mut tag)
        .unwrap();
    let expected = "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659";
    assert_eq!(data_encoding::HEXLOWER.encode(&tag), expected);
}
