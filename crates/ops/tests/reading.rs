//! What is read where a repository holds more, or other things, than one writer's whole history.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{collections::HashMap, fs, path::PathBuf};

use common::{World, assert_same, noise};
use drover_ops::{Cancel, Error, SyncOptions, Verdict, VerifyOptions, sync, verify};
use drover_pack::PackReceipt;
use drover_repo::{Tree, index, names, record};
use drover_source::LocalSource;
use drover_types::{ChunkId, Entry, PackClass, RelativePath, Silent, SnapshotId, codec::Encoder};

/// A pass of the machine whose state is in `state`, over a source of this name.
fn pass(world: &World, state: &str, name: &str) -> SnapshotId {
    let options = SyncOptions { name: Some(name.into()), ..SyncOptions::default() };
    let source = LocalSource::open(&world.source()).unwrap();
    sync(&world.session_of(state), &source, &options, &Silent, &Cancel::new()).unwrap().snapshot
}

fn ambiguous<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::NoSuchSnapshot(message)) if message.contains("ambiguous"))
}

#[test]
fn the_newest_snapshot_of_a_source_may_be_any_writers() {
    let world = World::new();
    fs::write(world.source().join("a"), "one").unwrap();
    pass(&world, "first", "pacs");
    let second = pass(&world, "second", "pacs");
    let reader = world.reader();
    assert_eq!(reader.history.writers.len(), 2);
    assert_eq!(reader.find("latest", None).unwrap().id(), second);
    let third = pass(&world, "first", "pacs");
    assert_eq!(world.reader().find("latest", Some("pacs")).unwrap().id(), third);

    // Another name is another source, and both lie in the same place.
    let other = pass(&world, "first", "files");
    let reader = world.reader();
    assert!(ambiguous(reader.find("latest", None)));
    assert!(ambiguous(reader.find("latest", Some(world.source().to_str().unwrap()))));
    assert_eq!(reader.find("latest", Some("pacs")).unwrap().id(), third);
    assert_eq!(reader.find("latest", Some("files")).unwrap().id(), other);
}

#[test]
fn a_snapshot_that_is_not_there_is_not_verified() {
    let world = World::new();
    world.sync();
    let verify = |id| {
        let options = VerifyOptions { snapshot: Some(id), ..VerifyOptions::default() };
        verify(&mut world.reader(), &options, &Silent, &Cancel::new())
    };
    assert!(verify(world.sync().snapshot).is_ok());
    let refused = verify(SnapshotId([7; 32]));
    assert!(matches!(refused, Err(Error::NoSuchSnapshot(_))), "{refused:?}");
}

/// The index objects of a repository.
fn index_objects(world: &World) -> Vec<PathBuf> {
    let entries = fs::read_dir(world.repository().join("index")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| !path.to_str().unwrap().contains("packs-")).collect()
}

/// A repository with one snapshot of a few files, in more than one pack.
fn with_files() -> (World, SnapshotId) {
    let world = World::new();
    for number in 0..4 {
        fs::write(world.source().join(format!("{number}")), noise(number, 300_000)).unwrap();
    }
    let snapshot = world.sync().snapshot;
    assert_eq!(index_objects(&world).len(), 1);
    (world, snapshot)
}

/// Everything can be read, and a verification names this index object and nothing else.
fn assert_named(world: &World, snapshot: SnapshotId, object: &str, what: &str) {
    for read_data in [false, true] {
        let outcome = world.verify(read_data);
        assert_eq!(outcome.verdict, Verdict::Failed, "{what}");
        for problem in &outcome.problems {
            let named = (problem.kind.as_str(), problem.object.as_deref(), &problem.path);
            assert_eq!(named, ("index", Some(object), &None), "{what}");
        }
    }
    world.restore(snapshot, what);
    assert_same(world, what);
}

#[test]
fn a_damaged_index_object_costs_nothing_but_its_name_in_a_verification() {
    let (world, snapshot) = with_files();
    let path = &index_objects(&world)[0];
    let object = format!("index/{}", path.file_name().unwrap().to_str().unwrap());
    let whole = fs::read(path).unwrap();
    for at in [0, 8, 9, 15, 30, 44, 50, whole.len() / 2, whole.len() - 1] {
        let mut bent = whole.clone();
        bent[at] ^= 4;
        fs::write(path, &bent).unwrap();
        assert_named(&world, snapshot, &object, &format!("byte {at}"));
    }
    for len in [0, 20, whole.len() - 1] {
        fs::write(path, &whole[..len]).unwrap();
        assert_named(&world, snapshot, &object, &format!("length {len}"));
    }
    fs::remove_file(path).unwrap();
    world.restore(snapshot, "without");
    assert_same(&world, "without");
    assert_eq!(world.verify(true).verdict, Verdict::Verified);
}

/// What whoever holds a writer's credential can make an index object say.
type Forgery = (&'static str, fn(&mut PackReceipt));

const FORGERIES: [Forgery; 4] = [
    ("another commitment", |pack| pack.header.commitment[0] ^= 1),
    ("another session", |pack| pack.header.session[0] ^= 1),
    ("another salt", |pack| pack.header.salt[0] ^= 1),
    ("chunks in each other's places", |pack| {
        let ids: Vec<ChunkId> = pack.entries.iter().map(|entry| entry.id).collect();
        for (entry, id) in pack.entries.iter_mut().zip(ids.iter().cycle().skip(1)) {
            entry.id = *id;
        }
    }),
];

/// Puts an index object in the store that says of every pack what `forge` makes of it.
fn forge(world: &World, forge: fn(&mut PackReceipt)) -> String {
    let session = world.session();
    let reader = world.reader();
    let meta = reader.keyring.reader_secret(PackClass::Meta, 1).unwrap();
    let mut packs = index::decode(&fs::read(&index_objects(world)[0]).unwrap(), meta).unwrap();
    packs.iter_mut().for_each(forge);
    let (writer, public) =
        (session.credential.writer_id(), session.credential.reader(PackClass::Meta));
    let bytes = index::encode(session.repository, writer, 1, &packs, public).unwrap();
    let name = names::index(blake3::hash(&bytes).as_bytes());
    session.objects.put_new(&name, bytes.into()).unwrap();
    name
}

#[test]
fn a_forged_index_object_alone_is_found_out_and_packs_are_read_without_it() {
    for (what, how) in FORGERIES {
        let (world, snapshot) = with_files();
        let honest = index_objects(&world).remove(0);
        let forged = forge(&world, how);
        fs::remove_file(honest).unwrap();
        assert_named(&world, snapshot, &forged, what);
    }
}

#[test]
fn a_forged_index_object_beside_an_honest_one_is_named() {
    let omission: Forgery = ("a chunk left out", |pack| {
        pack.entries.pop();
    });
    for (what, how) in FORGERIES.into_iter().chain([omission]) {
        let (world, snapshot) = with_files();
        let forged = forge(&world, how);
        world.restore(snapshot, "restored");
        assert_same(&world, "restored");
        let named = |problem: &drover_ops::Finding| problem.to_owned().object.unwrap_or_default();
        let outcome = world.verify(false);
        assert_eq!(outcome.verdict, Verdict::Failed, "{what}");
        assert!(outcome.problems.iter().all(|problem| problem.kind == "index"), "{what}");
        // Only the packs can tell which of two is wrong.
        let outcome = world.verify(true);
        let wrong = |p: &&drover_ops::Finding| p.message.contains("the pack itself");
        let wrong: Vec<_> = outcome.problems.iter().filter(wrong).map(named).collect();
        assert_eq!(wrong, [forged], "{what}");
        assert!(outcome.problems.iter().all(|problem| problem.path.is_none()), "{what}");
    }
}

#[test]
fn a_chunk_left_out_by_the_only_index_object_is_found_by_reading_back() {
    let (world, _) = with_files();
    let honest = index_objects(&world).remove(0);
    let forged = forge(&world, |pack| {
        if pack.header.class == PackClass::Data {
            pack.entries.pop();
        }
    });
    fs::remove_file(honest).unwrap();
    let outcome = world.verify(true);
    let named: Vec<_> = outcome.problems.iter().map(|p| p.object.as_deref().unwrap()).collect();
    assert_eq!(named, [forged], "{:?}", outcome.problems);
}

fn leaf(entry: &Entry) -> Vec<u8> {
    let mut e = Encoder::new();
    record::encode_leaf(entry, &mut e);
    e.finish()
}

#[test]
fn a_manifest_tells_which_entries_an_earlier_one_has() {
    let world = World::new();
    let path = |number: u64| {
        let folder = world.source().join(format!("{}", number % 7));
        fs::create_dir_all(&folder).unwrap();
        folder.join(format!("{number:04}"))
    };
    for number in 0..4000 {
        fs::write(path(number), number.to_string()).unwrap();
    }
    let first = world.sync().snapshot;
    // In nearly every block something: changed, gone, new, or of another kind.
    for number in (0..4000).step_by(60) {
        match number % 4 {
            0 => fs::write(path(number), format!("changed {number}")).unwrap(),
            1 => fs::remove_file(path(number)).unwrap(),
            2 => fs::write(path(number).with_extension("new"), "new").unwrap(),
            _ => {
                fs::remove_file(path(number)).unwrap();
                fs::create_dir(path(number)).unwrap();
            }
        }
    }
    for number in 4000..4900 {
        fs::write(world.source().join(format!("3/3000-{number}")), "a run of new ones").unwrap();
    }
    let second = world.sync().snapshot;

    let mut session = world.reader();
    let index = session.load_index().unwrap();
    let session = session;
    let reader = session.chunks(&index);
    let open = |id| {
        let snapshot = session.snapshot(id).unwrap();
        (snapshot, session.tree(&reader, snapshot, RelativePath::root()).unwrap())
    };
    for (id, earlier) in [(second, first), (first, second), (second, second)] {
        let (earlier, entries) = open(earlier);
        let before: HashMap<_, _> = entries
            .map(|entry| entry.map(|entry| (entry.path.clone(), leaf(&entry))).unwrap())
            .collect();
        let (snapshot, tree) = open(id);
        let mut tree = tree.beside(&earlier.details.manifest);
        let mut ahead = Vec::new();
        let mut stayed = 0;
        while let Some(entry) = tree.next() {
            let entry = entry.unwrap();
            let is_as_before = before.get(&entry.path) == Some(&leaf(&entry));
            assert_eq!(tree.is_as_before(), is_as_before, "{}", entry.path);
            stayed += usize::from(is_as_before);
            ahead.push(entry);
        }
        assert!(stayed > 3800, "{stayed}");
        // One block after the other it is the same, and nothing is as before.
        let keys = session.history.keys(snapshot).clone();
        let manifest = &snapshot.details.manifest;
        let mut tree = Tree::open(&reader, keys, manifest, RelativePath::root()).unwrap();
        for entry in ahead {
            assert_eq!(tree.next().unwrap().unwrap(), entry);
            assert!(!tree.is_as_before());
        }
        assert!(tree.next().is_none());
    }
}
