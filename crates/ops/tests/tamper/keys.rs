//! What somebody does to `config` and `keys/` who holds the store.

use drover_ops::keys::KeySession;

use crate::{
    scenario::{Scenario, both, refused, seen, unseen},
    stage::{Stage, attacker, last},
    store::office,
};

/// Everything of one epoch taken away again.
fn withhold_epoch(stage: &Stage) {
    let before = stage.clinic.bucket.contents();
    stage.owner().rotate().unwrap();
    stage.clinic.bucket.set(&before);
}

pub const SCENARIOS: &[Scenario] = &[
    // Config and repository.
    refused(
        "the config is taken away",
        |s| s.remove("config"),
        "refused: no repository",
        "refused: no repository",
    ),
    refused(
        "the config is emptied",
        |s| s.put("config", b""),
        "refused: damaged config",
        "refused: damaged config",
    ),
    seen(
        "the config is replaced by that of another repository of the owner's",
        |s| s.put("config", &s.other["config"]),
        "refused: missing key",
        "refused: other repository",
        "refused: other repository",
    ),
    seen(
        "config and keys are replaced by somebody else's",
        |s| s.clinic.bucket.set(&s.foreign),
        "refused: wrong key",
        "refused: other repository",
        "refused: other repository",
    ),
    seen(
        "another repository of the owner's stands in its place",
        |s| s.clinic.bucket.set(&s.other),
        "verified",
        "refused: other repository",
        "refused: other repository",
    ),
    unseen("another repository's keys lie beside its own", |s| {
        let keys = s.foreign.iter().filter(|(name, _)| name.starts_with("keys/"));
        keys.for_each(|(name, bytes)| s.put(name, bytes));
    }),
    // Slots, boxes, epochs.
    refused(
        "the reader's slot is taken away",
        |s| {
            let own = s.owner().keyring.slot().hex();
            s.keys("slot-").iter().filter(|n| n.ends_with(&own)).for_each(|name| s.remove(name));
        },
        "refused: wrong key",
        "goes on",
    ),
    refused(
        "all slots are taken away",
        |s| s.keys("slot-").iter().for_each(|name| s.remove(name)),
        "refused: missing key",
        "goes on",
    ),
    unseen("somebody else's slot is taken away", |s| s.remove(&s.auditor_slot())),
    both("somebody else's slot is changed", |s| s.put(&s.auditor_slot(), b"slot"), "key"),
    both(
        "somebody else's box is taken away",
        |s| s.remove(&s.auditor_slot().replace("slot-", "epoch-1-")),
        "key",
    ),
    both(
        "a slot of somebody else's making, who knows its key",
        |s| {
            let slot = s.foreign.iter().find(|(name, _)| last(name).starts_with("slot-")).unwrap();
            s.put(&s.keys("slot-")[0].replace(last(&s.keys("slot-")[0]), last(slot.0)), slot.1);
            assert!(KeySession::open(s.clinic.bucket.0.clone(), &attacker()).is_err());
        },
        "key",
    ),
    unseen("a slot that was removed is put back, before another epoch", |s| {
        let slot = s.auditor_slot();
        s.owner().remove(last(&slot).strip_prefix("slot-").unwrap()).unwrap();
        s.clinic.bucket.set(&s.now);
    }),
    both(
        "a slot that was removed is put back, with its boxes, after another epoch",
        |s| {
            let slot = s.auditor_slot();
            s.owner().remove(last(&slot).strip_prefix("slot-").unwrap()).unwrap();
            s.owner().rotate().unwrap();
            for name in [slot.clone(), slot.replace("slot-", "epoch-1-")] {
                s.put(&name, &s.now[&name]);
            }
        },
        "key",
    ),
    refused(
        "the reader's box is replaced by the auditor's",
        |s| {
            let own = s.owner().keyring.slot().hex();
            let boxes = s.keys("epoch-1-");
            let (own, other): (Vec<_>, Vec<_>) =
                boxes.iter().partition(|name| name.ends_with(&own));
            s.put(own[0], &s.now[other[0]]);
        },
        "refused: damaged key",
        "goes on",
    ),
    refused(
        "the epoch is replaced by somebody else's",
        |s| {
            let epoch = s.foreign.iter().find(|(name, _)| name.ends_with("/epoch-1")).unwrap();
            let own = s.keys("epoch-1").into_iter().find(|name| name.ends_with("/epoch-1"));
            s.put(&own.unwrap(), epoch.1);
        },
        "refused: damaged key",
        "goes on",
    ),
    unseen("a new epoch is withheld before anything was sealed to it", withhold_epoch),
    seen(
        "an epoch to which a snapshot was sealed is taken away",
        |s| {
            s.owner().rotate().unwrap();
            s.clinic.pass("ward");
            let newest = s.clinic.bucket.contents().into_keys();
            newest.filter(|n| last(n).starts_with("epoch-2")).for_each(|name| s.remove(&name));
        },
        "grant, index, log, snapshot",
        "grant, index, log, snapshot",
        "goes on",
    ),
    both(
        "junk among the keys",
        |s| s.put(&format!("{}-x", s.keys("slot-")[0].replace("slot", "junk")), b"junk"),
        "key",
    ),
    unseen("a key larger than any may be", |s| {
        s.put(&format!("{}0", s.keys("slot-")[0]), &vec![0; 17 << 20]);
    }),
    // Grants and revocations.
    seen(
        "the grant of a writer is taken away",
        |s| s.remove(&s.grant("ward")),
        "log, snapshot",
        "log, rolled back, snapshot",
        "goes on",
    ),
    seen(
        "the grant of a writer is replaced by another's",
        |s| s.put(&s.grant("ward"), &s.now[&s.grant("office")]),
        "grant, log, snapshot",
        "grant, log, rolled back, snapshot",
        "goes on",
    ),
    both(
        "a grant of another repository is added",
        |s| {
            let (name, bytes) =
                s.other.iter().find(|(n, _)| last(n).starts_with("writer-")).unwrap();
            let folder = s.grant("ward").rsplit_once('/').unwrap().0.to_owned();
            s.put(&format!("{folder}/{}", last(name)), bytes);
        },
        "grant",
    ),
    unseen("the grant of a new epoch is withheld", |s| {
        s.owner().rotate().unwrap();
        let grant = s.grant("ward");
        s.remove(&format!("{}2", &grant[..grant.len() - 1]));
    }),
    // What comes after a revocation counts for nothing, and is no damage.
    unseen("a writer is revoked, and its later snapshots are kept", |s| {
        let revocation = s.owner().keyring.revoke(office(s).0, 1).unwrap();
        s.put(&revocation.name, &revocation.bytes);
    }),
    unseen("a revoked writer goes on", |s| {
        s.clinic.pass("office");
        let revocation = s.owner().keyring.revoke(office(s).0, 2).unwrap();
        s.put(&revocation.name, &revocation.bytes);
    }),
    unseen("a revoked writer goes on, and its revocation is withheld", |s| {
        s.clinic.pass("office");
    }),
    both(
        "a revocation is put under the name of another writer",
        |s| {
            let (ward, office) = (s.session("ward").credential.writer_id(), office(s).0);
            let revocation = s.owner().keyring.revoke(office, 1).unwrap();
            s.put(&revocation.name.replace(&office.to_hex(), &ward.to_hex()), &revocation.bytes);
        },
        "grant",
    ),
];
