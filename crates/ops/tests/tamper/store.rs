//! What somebody does who holds the store, and may have kept what was there before.

use drover_crypt::sign::SigningKey;
use drover_ops::{ReaderSession, audit::Event};
use drover_repo::{log, names, snapshot::StoredSnapshot};
use drover_types::{PackClass, PackId, Silent, SnapshotId, WriterId};

use crate::{
    common::{noise, secret},
    scenario::{Scenario, both, seen, unseen},
    stage::{Stage, last},
};

fn swap(stage: &Stage, one: &str, other: &str) {
    stage.put(one, &stage.now[other]);
    stage.put(other, &stage.now[one]);
}

/// Packs of a class, the largest first.
fn packs(stage: &Stage, class: PackClass) -> Vec<String> {
    let mut packs = stage.names("packs/");
    packs.retain(|name| stage.now[name][10] == class as u8);
    packs.sort_by_key(|name| std::cmp::Reverse(stage.now[name].len()));
    packs
}

pub fn lists(stage: &Stage) -> Vec<String> {
    stage.names("index/packs-")
}

/// The list of the first snapshot of `ward`.
fn first_list(stage: &Stage) -> String {
    let bytes = stage.now[&stage.snapshots("ward")[0]].to_vec();
    names::pack_list(&StoredSnapshot::decode(bytes).unwrap().open.pack_list)
}

pub fn hints(stage: &Stage) -> Vec<String> {
    stage.names("index/").into_iter().filter(|name| !name.contains("packs-")).collect()
}

fn set_back(stage: &Stage) {
    stage.clinic.bucket.set(&stage.early);
}

/// The state of `ward` copied, and a pass of each copy.
fn fork(stage: &Stage) {
    let state = stage.clinic.state("ward");
    let aside = state.with_extension("aside");
    crate::stage::copy(&state, &aside);
    stage.clinic.write("ward", "one way", b"1");
    stage.clinic.pass("ward");
    std::fs::remove_dir_all(&state).unwrap();
    crate::stage::copy(&aside, &state);
    stage.clinic.write("ward", "other way", b"2");
    stage.clinic.pass("ward");
    for name in ["one way", "other way"] {
        std::fs::remove_file(stage.clinic.source("ward").join(name)).unwrap();
    }
}

/// A record of the log that `signer` signs as the `number`th of `writer`.
pub fn record(
    stage: &Stage,
    writer: WriterId,
    number: u64,
    previous: [u8; 32],
    signer: &SigningKey,
) {
    let session = stage.session("office");
    let record = log::Record {
        repository: session.repository,
        writer,
        sequence: number,
        previous,
        time: drover_types::clock::now(),
        epoch: session.credential.epoch(),
    };
    let text = String::new;
    let action = log::Action {
        operator: text(),
        host: text(),
        verb: "sync".into(),
        subject: text(),
        outcome: text(),
        program: text(),
    };
    let bytes = log::encode(&record, &action, session.credential.reader(PackClass::Meta), signer);
    stage.put(&names::log(&writer, number, blake3::hash(&bytes).as_bytes()), &bytes);
}

pub fn office(stage: &Stage) -> (WriterId, SigningKey) {
    let credential = stage.session("office").credential;
    (credential.writer_id(), credential.signing_key().clone())
}

pub const SCENARIOS: &[Scenario] = &[
    // Snapshots.
    seen(
        "the newest snapshot is taken away",
        |s| s.remove(&s.snapshots("ward")[2]),
        "verified",
        "rolled back",
        "goes on",
    ),
    seen(
        "the newest two",
        |s| s.snapshots("ward")[1..].iter().for_each(|name| s.remove(name)),
        "verified",
        "rolled back",
        "goes on",
    ),
    seen(
        "the newest, and its record of the log",
        |s| {
            s.remove(&s.snapshots("ward")[2]);
            s.remove(&s.records("ward")[2]);
        },
        "verified",
        "rolled back",
        "goes on",
    ),
    both(
        "one in the middle",
        |s| s.remove(&s.snapshots("ward")[1]),
        "damaged file, missing snapshot",
    ),
    both("the first", |s| s.remove(&s.snapshots("ward")[0]), "damaged file, missing snapshot"),
    seen(
        "all of one writer",
        |s| s.snapshots("ward").iter().for_each(|name| s.remove(name)),
        "verified",
        "rolled back",
        "goes on",
    ),
    seen(
        "all of all writers",
        |s| s.names("snapshots/").iter().for_each(|name| s.remove(name)),
        "verified",
        "rolled back",
        "goes on",
    ),
    seen("everything is set back", set_back, "verified", "rolled back", "goes on"),
    seen(
        "the newest is replaced by the one before it",
        |s| s.put(&s.snapshots("ward")[2], &s.now[&s.snapshots("ward")[1]]),
        "snapshot",
        "rolled back, snapshot",
        "goes on",
    ),
    both(
        "two snapshots change places",
        |s| swap(s, &s.snapshots("ward")[0], &s.snapshots("ward")[1]),
        "damaged file, missing snapshot, snapshot",
    ),
    both(
        "one is repeated under a later number",
        |s| {
            let (name, bytes) = (&s.snapshots("ward")[2], &s.now[&s.snapshots("ward")[2]]);
            s.put(&name.replace("00003-", "00004-"), bytes);
        },
        "snapshot",
    ),
    both(
        "one is repeated under another writer",
        |s| {
            let name = &s.snapshots("ward")[2];
            let (writer, _) = office(s);
            s.put(&format!("snapshots/{writer}/{}", last(name)), &s.now[name]);
        },
        "snapshot",
    ),
    both(
        "one of another repository is added",
        |s| {
            let name = s.other.keys().find(|name| name.starts_with("snapshots/")).unwrap();
            s.put(name, &s.other[name]);
        },
        "snapshot",
    ),
    seen(
        "one is emptied",
        |s| s.put(&s.snapshots("ward")[2], b""),
        "snapshot",
        "rolled back, snapshot",
        "goes on",
    ),
    both(
        "one larger than any may be",
        |s| s.put("snapshots/large", &vec![0; 17 << 20]),
        "snapshot",
    ),
    both("junk among the snapshots", |s| s.put("snapshots/junk", b"junk"), "snapshot"),
    // Forks.
    both("a machine was cloned: two histories from one state", fork, "fork, log"),
    seen(
        "two histories, of which each reader is shown one",
        |s| {
            fork(s);
            // The reader has seen the one, and is shown the other.
            let writer = s.session("ward").credential.writer_id();
            let all = s.clinic.bucket.contents();
            let prefix = format!("snapshots/{writer}/");
            let fork: Vec<_> =
                all.keys().filter(|name| name.starts_with(&prefix)).skip(3).collect();
            assert_eq!(fork.len(), 2);
            s.remove(fork[1]);
            let objects = s.clinic.bucket.0.clone();
            let state = s.clinic.state("reader");
            ReaderSession::open(objects, &secret(), Some(&state), &Silent).unwrap();
            s.clinic.bucket.set(&all);
            s.remove(fork[0]);
        },
        "log",
        "log, rolled back",
        "goes on",
    ),
    // Packs.
    both(
        "a pack of content is taken away",
        |s| s.remove(&packs(s, PackClass::Data)[0]),
        "damaged file, pack",
    ),
    both(
        "all packs",
        |s| s.names("packs/").iter().for_each(|name| s.remove(name)),
        "manifest, pack",
    ),
    both(
        "two packs of content change places",
        |s| swap(s, &packs(s, PackClass::Data)[0], &packs(s, PackClass::Data)[1]),
        "damaged file, pack",
    ),
    both(
        "a pack of names stands for one of content",
        |s| s.put(&packs(s, PackClass::Data)[0], &s.now[&packs(s, PackClass::Meta)[0]]),
        "damaged file, pack",
    ),
    both("a pack is emptied", |s| s.put(&packs(s, PackClass::Data)[0], b""), "damaged file, pack"),
    both(
        "a pack is zeros of its length",
        |s| {
            let name = &packs(s, PackClass::Data)[0];
            s.put(name, &vec![0; s.now[name].len()]);
        },
        "damaged file, pack",
    ),
    both(
        "a pack lies in the wrong folder",
        |s| {
            let name = &packs(s, PackClass::Data)[0];
            s.remove(name);
            s.put(&format!("packs/zz/{}", last(name)), &s.now[name]);
        },
        "damaged file, pack",
    ),
    unseen("a pack lies in a wrong folder too", |s| {
        let name = &packs(s, PackClass::Data)[0];
        s.put(&format!("packs/zz/{}", last(name)), &s.now[name]);
    }),
    unseen("packs that no snapshot lists are added", |s| {
        let junk = noise(99, 5000);
        s.put(&names::pack(&PackId(*blake3::hash(&junk).as_bytes())), &junk);
        let (name, bytes) = s.other.iter().find(|(name, _)| name.starts_with("packs/")).unwrap();
        s.put(name, bytes);
    }),
    unseen("junk beside everything", |s| {
        for name in ["junk", "packs/junk", "packs/00/junk", "cutover/junk", "init/junk"] {
            s.put(name, b"junk");
        }
    }),
    // Lists of packs.
    both("a list of packs is taken away", |s| s.remove(&first_list(s)), LIST_LOST),
    both("a list of packs is emptied", |s| s.put(&first_list(s), b""), LIST_LOST),
    both(
        "all lists of packs",
        |s| lists(s).iter().for_each(|name| s.remove(name)),
        "manifest, pack list",
    ),
    // Index objects.
    unseen("all index objects are taken away", |s| hints(s).iter().for_each(|name| s.remove(name))),
    both("an index object is changed", |s| s.put(&hints(s)[0], b"index"), "index"),
    both(
        "an index object of another repository is added",
        |s| {
            let is = |name: &&String| name.starts_with("index/") && !name.contains("packs-");
            let name = s.other.keys().find(is).unwrap();
            s.put(name, &s.other[name]);
        },
        "index",
    ),
    both(
        "an index object under its own name that is none",
        |s| {
            let junk = noise(98, 4000);
            s.put(&names::index(blake3::hash(&junk).as_bytes()), &junk);
        },
        "index",
    ),
    // The audit log.
    both("a record in the middle is taken away", |s| s.remove(&s.records("ward")[1]), "log"),
    both("the last record", |s| s.remove(&s.records("ward")[2]), "log"),
    both("the first record", |s| s.remove(&s.records("ward")[0]), "log"),
    both("the whole log", |s| s.names("log/").iter().for_each(|name| s.remove(name)), "log"),
    both(
        "two records change places",
        |s| swap(s, &s.records("ward")[0], &s.records("ward")[1]),
        "log",
    ),
    both("a record larger than any may be", |s| s.put("log/large", &vec![0; 17 << 20]), "log"),
    both("junk in the log", |s| s.put("log/junk", b""), "log"),
    both(
        "a record that another writer signed",
        |s| {
            let ward = s.session("ward").credential.writer_id();
            let last = SnapshotId::from_hex(&last(&s.records("ward")[2])[21..]).unwrap().0;
            record(s, ward, 4, last, &office(s).1);
        },
        "log",
    ),
    both("a writer forks its own log", |s| record(s, office(s).0, 2, [7; 32], &office(s).1), "log"),
    both(
        "a writer numbers its log to the end of all numbers",
        |s| [8, 9].iter().for_each(|p| record(s, office(s).0, u64::MAX, [*p; 32], &office(s).1)),
        "log",
    ),
    unseen("records after the last snapshot are taken away", |s| {
        let event = Event { operator: "", verb: "verify", subject: "", outcome: "done" };
        s.session("ward").record(&event).unwrap();
        s.clinic.bucket.set(&s.now);
    }),
];

/// What is seen where the packs of a list are not known any more.
const LIST_LOST: &str = "damaged file, manifest, pack list";
