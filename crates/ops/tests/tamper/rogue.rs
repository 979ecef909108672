//! What somebody does who has the credential of `office` as well as the store.

use drover_crypt::hierarchy::{KdfParameters, Role};
use drover_ops::keys::KeySession;
use drover_pack::PackReceipt;
use drover_repo::{
    index::{self, ListedPack},
    names,
};
use drover_types::{PackClass, PackId, RepositoryId, clock};

use crate::{
    common::{bucket::Bucket, secret},
    scenario::{Scenario, both, unseen},
    stage::{Stage, attacker, last},
    store::lists,
};

/// Puts a list of packs in the store, and a snapshot of `office` that names it.
fn rogue_list(stage: &Stage, bytes: &[u8], packs: &[ListedPack]) {
    let hash = *blake3::hash(bytes).as_bytes();
    stage.put(&names::pack_list(&hash), bytes);
    stage.rogue(|open, _| {
        (open.pack_list, open.new_packs) = (hash, packs.len() as u64);
        packs.iter().for_each(|pack| open.packs.push(pack.leaf()));
    });
}

fn listed(stage: &Stage, list: &str) -> Vec<ListedPack> {
    index::decode_list(&stage.now[list]).unwrap()
}

pub const SCENARIOS: &[Scenario] = &[
    both(
        "a writer leaves out a number",
        |s| drop(s.rogue(|open, _| open.sequence += 1)),
        "missing snapshot",
    ),
    both(
        "a writer numbers a snapshot 0",
        |s| drop(s.rogue(|open, _| open.sequence = 0)),
        "chain, missing snapshot",
    ),
    both(
        "a writer uses up all numbers",
        |s| drop(s.rogue(|open, _| open.sequence = u64::MAX)),
        "missing snapshot",
    ),
    both(
        "a writer names another snapshot before its own",
        |s| drop(s.rogue(|open, _| open.previous = [3; 32])),
        "chain",
    ),
    both(
        "a writer writes a snapshot as another",
        |s| drop(s.rogue(|open, _| open.writer = s.session("ward").credential.writer_id())),
        "snapshot",
    ),
    both(
        "a writer writes a snapshot for another repository",
        |s| drop(s.rogue(|open, _| open.repository = RepositoryId([1; 16]))),
        "snapshot",
    ),
    both(
        "a writer claims another's domain",
        |s| drop(s.rogue(|open, _| open.domain = s.session("ward").credential.domain_id())),
        "snapshot",
    ),
    both(
        "a writer seals to an epoch that is not there",
        |s| drop(s.rogue(|open, _| open.epoch = 9)),
        "snapshot",
    ),
    both(
        "a writer names two manifests",
        |s| drop(s.rogue(|open, _| open.manifest_root = [1; 32])),
        "snapshot",
    ),
    both(
        "a writer names a manifest that is in no pack",
        |s| drop(s.rogue(|_, details| details.manifest.chunk.id.0 = [1; 32])),
        "manifest",
    ),
    both(
        "a writer signs another root than that of its manifest",
        |s| {
            drop(s.rogue(|open, details| {
                open.manifest_root = [1; 32];
                details.manifest.root = [1; 32];
            }));
        },
        "manifest",
    ),
    both(
        "a writer signs another number of entries than its manifest has",
        |s| drop(s.rogue(|_, details| details.manifest.entries += 1)),
        "manifest",
    ),
    unseen("a writer counts what no number holds", |s| {
        drop(s.rogue(|open, _| {
            (open.entries, open.files, open.bytes) = (u64::MAX, u64::MAX, u64::MAX)
        }));
    }),
    both(
        "a writer names a record that is not there",
        |s| drop(s.rogue(|open, _| open.log_head = [1; 32])),
        "log",
    ),
    unseen("a writer takes the name of another's source", |s| {
        drop(s.rogue(|_, details| details.source = "ward".into()));
    }),
    both(
        "a writer lists no pack and signs another tree",
        |s| drop(s.rogue(|open, _| open.packs.push([1; 32]))),
        "pack list",
    ),
    both(
        "a writer names a list that is not there",
        |s| {
            drop(s.rogue(|open, _| (open.pack_list, open.new_packs) = ([1; 32], 1)));
        },
        "pack list",
    ),
    both(
        "a writer's list is none",
        |s| {
            rogue_list(s, b"junk", &[ListedPack { id: PackId([1; 32]), len: 1 }]);
        },
        "pack list",
    ),
    both(
        "a writer's list says of more packs than it has",
        |s| {
            let mut bytes = b"DRVRLIST\x01".to_vec();
            bytes.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
            rogue_list(s, &bytes, &[ListedPack { id: PackId([1; 32]), len: 1 }]);
        },
        "pack list",
    ),
    both(
        "a writer lists a pack that is not there",
        |s| {
            let pack = ListedPack { id: PackId([1; 32]), len: 5000 };
            rogue_list(s, &index::encode_list(&[pack]), &[pack]);
        },
        "pack",
    ),
    unseen("a writer lists another's packs", |s| {
        let packs: Vec<_> = lists(s).iter().flat_map(|list| listed(s, list)).collect();
        rogue_list(s, &index::encode_list(&packs), &packs);
    }),
    both(
        "a writer lists another's pack with another length",
        |s| {
            let mut packs = Vec::new();
            for list in lists(s) {
                packs.extend(
                    listed(s, &list)
                        .into_iter()
                        .map(|pack| ListedPack { len: pack.len + 1, ..pack }),
                );
            }
            rogue_list(s, &index::encode_list(&packs), &packs);
        },
        "pack",
    ),
    both(
        "a writer's index object says that another's packs hold other chunks",
        |s| {
            let session = s.session("office");
            let mut reader = s.clinic.bucket.reader().unwrap();
            let index = reader.load_index().unwrap();
            let mut packs: Vec<PackReceipt> = index.packs().to_vec();
            packs.iter_mut().for_each(|pack| pack.entries.iter_mut().for_each(|e| e.id.0[0] ^= 1));
            let (writer, meta) =
                (session.credential.writer_id(), session.credential.reader(PackClass::Meta));
            let bytes = index::encode(session.repository, writer, 1, &packs, meta).unwrap();
            s.put(&names::index(blake3::hash(&bytes).as_bytes()), &bytes);
        },
        "index",
    ),
    both(
        "a writer makes itself a slot",
        |s| {
            // Whoever has no root key signs with another.
            let foreign = Bucket::with(&s.foreign);
            let keys = KeySession::open(foreign.0.clone(), &attacker()).unwrap();
            let made = keys.keyring.add_slot(
                &secret(),
                Role::Owner,
                "",
                KdfParameters::minimum(),
                clock::now(),
            );
            let folder = s.keys("slot-")[0].rsplit_once('/').unwrap().0.to_owned();
            for object in made.unwrap().1 {
                s.put(&format!("{folder}/{}", last(&object.name)), &object.bytes);
            }
        },
        "key",
    ),
];
