//! What goes in comes out: passes, verification and restores over a directory as repository.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use common::{World, assert_same, noise};
use drover_ops::{Cancel, Error, RestoreOptions, SyncOptions, Verdict, sync};
use drover_source::LocalSource;
use drover_types::Silent;

fn populate(root: &Path) {
    fs::create_dir_all(root.join("a/b/c")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::write(root.join("a/one.txt"), "one\n".repeat(1000)).unwrap();
    fs::write(root.join("a/b/zero"), "").unwrap();
    fs::write(root.join("a/b/c/noise"), noise(1, 3 << 20)).unwrap();
    fs::write(root.join("a-b"), "beside a").unwrap();
    fs::write(root.join("large"), noise(2, 20 << 20)).unwrap();
    fs::write(root.join("copy of large"), noise(2, 20 << 20)).unwrap();
    fs::hard_link(root.join("a/one.txt"), root.join("second name")).unwrap();
    symlink("../nowhere", root.join("a/link")).unwrap();
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    fs::set_permissions(root.join("a-b"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::set_permissions(root.join("empty"), fs::Permissions::from_mode(0o1500)).unwrap();
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, &noise(3, 70_000), 30 << 20).unwrap();
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let world = World::new();
    populate(&world.source());
    let first = world.sync();
    assert_eq!(first.exceptions, []);
    assert_eq!(first.counts.new, first.counts.total());
    assert!(first.new < 24 << 20, "the copy is stored once: {}", first.new);

    let outcome = world.restore(first.snapshot, "restored");
    assert_eq!(outcome.exceptions, []);
    assert_same(&world, "restored");
    let sparse = fs::metadata(world.path("restored/sparse")).unwrap();
    assert!(sparse.blocks() * 512 < 1 << 20, "holes stay holes");

    for read_data in [false, true] {
        let verified = world.verify(read_data);
        assert_eq!(verified.problems, []);
        assert_eq!(verified.verdict, Verdict::Verified);
    }
}

#[test]
fn a_pass_without_change_sends_a_handful_of_requests() {
    let world = World::new();
    populate(&world.source());
    // What was made a moment ago could still change within the same tick of the clock.
    let first = world.sync();
    let second = world.sync();
    let third = world.sync();
    assert_eq!(third.parent, Some(second.snapshot));
    assert_eq!(second.parent, Some(first.snapshot));
    assert_eq!(third.counts.unchanged, third.counts.total());
    assert_eq!(third.new, 0);
    let usage = third.usage;
    assert!(usage.put <= 4, "{usage:?}");
    assert_eq!((usage.get, usage.list), (0, 0), "{usage:?}");
    assert_eq!(world.verify(false).verdict, Verdict::Verified);
}

#[test]
fn a_delta_pass_takes_what_changed_and_a_later_restore_writes_only_that() {
    let world = World::new();
    populate(&world.source());
    let first = world.sync();
    world.restore(first.snapshot, "restored");

    fs::write(world.source().join("a/one.txt"), "two").unwrap();
    fs::remove_file(world.source().join("a-b")).unwrap();
    fs::write(world.source().join("new"), "new").unwrap();
    fs::set_permissions(world.source().join("large"), fs::Permissions::from_mode(0o600)).unwrap();
    let second = world.sync();
    assert_eq!((second.counts.new, second.counts.removed), (1, 1));
    assert_eq!(second.counts.changed, 2, "both names of one file");

    let options = RestoreOptions { delete: true, ..RestoreOptions::default() };
    let outcome = world.restore_with(second.snapshot, "", "restored", &options).unwrap();
    assert_eq!(outcome.exceptions, []);
    assert_eq!(outcome.removed, 1);
    assert!(outcome.bytes_written < 1000, "{}", outcome.bytes_written);
    assert_same(&world, "restored");
    // The first snapshot is still what it was.
    world.restore(first.snapshot, "as before");
    assert_eq!(fs::read(world.path("as before/a-b")).unwrap(), b"beside a");
}

#[test]
fn a_part_lands_right_under_the_target() {
    let world = World::new();
    populate(&world.source());
    let snapshot = world.sync().snapshot;
    let options = RestoreOptions::default();
    world.restore_with(snapshot, "a/b", "part", &options).unwrap();
    assert_eq!(fs::read(world.path("part/c/noise")).unwrap(), noise(1, 3 << 20));
    world.restore_with(snapshot, "second name", "one", &options).unwrap();
    assert_eq!(fs::read(world.path("one/second name")).unwrap(), "one\n".repeat(1000).as_bytes());
    let missing = world.restore_with(snapshot, "a/nothing", "none", &options);
    assert!(matches!(missing, Err(Error::NoSuchPath(_))));
}

#[test]
fn a_target_that_is_not_ours_is_refused() {
    let world = World::new();
    populate(&world.source());
    let snapshot = world.sync().snapshot;
    fs::create_dir(world.path("busy")).unwrap();
    fs::write(world.path("busy/something"), "precious").unwrap();
    let refused = world.restore_with(snapshot, "", "busy", &RestoreOptions::default());
    assert!(matches!(refused, Err(Error::TargetNotEmpty(_))));
    let delete = RestoreOptions { delete: true, ..RestoreOptions::default() };
    assert!(world.restore_with(snapshot, "", "busy", &delete).is_err());
    assert_eq!(fs::read(world.path("busy/something")).unwrap(), b"precious");
    let overwrite = RestoreOptions { overwrite: true, ..RestoreOptions::default() };
    world.restore_with(snapshot, "", "busy", &overwrite).unwrap();
    assert_eq!(fs::read(world.path("busy/something")).unwrap(), b"precious");
}

#[test]
fn a_lost_mount_does_not_empty_the_cloud() {
    let world = World::new();
    populate(&world.source());
    let first = world.sync();
    fs::rename(world.source(), world.path("aside")).unwrap();
    fs::create_dir(world.source()).unwrap();
    let refused = world.try_sync(&SyncOptions::default());
    assert!(matches!(refused, Err(Error::SuspectSource { .. })), "{refused:?}");
    assert_eq!(world.reader().history.snapshots.len(), 1);
    let options = SyncOptions { allow_empty: true, ..SyncOptions::default() };
    let emptied = world.try_sync(&options).unwrap();
    assert_eq!(emptied.counts.removed, first.counts.total());
}

#[test]
fn every_flipped_byte_of_a_pack_is_found_and_hurts_the_right_files() {
    let world = World::new();
    fs::write(world.source().join("victim"), noise(9, 300_000)).unwrap();
    world.sync();
    let mut packs = Vec::new();
    for folder in fs::read_dir(world.repository().join("packs")).unwrap() {
        for pack in fs::read_dir(folder.unwrap().path()).unwrap() {
            packs.push(pack.unwrap().path());
        }
    }
    assert_eq!(packs.len(), 2, "one of content, one of names");
    for path in packs {
        let whole = fs::read(&path).unwrap();
        let holds_content = whole[10] == 0;
        for at in [0, 11, 80, 200, 300, whole.len() / 2, whole.len() - 20, whole.len() - 1] {
            let mut bent = whole.clone();
            bent[at] ^= 0x10;
            fs::write(&path, &bent).unwrap();
            let outcome = world.verify(true);
            assert_eq!(outcome.verdict, Verdict::Failed, "byte {at} of {path:?}");
            let hit_frame = holds_content && (256..256 + 300_000).contains(&at);
            let named = outcome.problems.iter().any(|p| p.path.is_some());
            assert_eq!(named, hit_frame, "byte {at}: {:?}", outcome.problems);
        }
        fs::remove_file(&path).unwrap();
        let outcome = world.verify(false);
        assert_eq!(outcome.verdict, Verdict::Failed);
        assert!(outcome.problems.iter().any(|p| p.message == "it is missing"));
        fs::write(&path, &whole).unwrap();
    }
    assert_eq!(world.verify(true).verdict, Verdict::Verified);
}

#[test]
fn passes_side_by_side_leave_one_history() {
    let world = World::new();
    let session = world.session();
    let roots: Vec<_> = (0..3).map(|number| world.path(&format!("root {number}"))).collect();
    roots.iter().for_each(|root| populate(root));
    let mut last = Vec::new();
    for round in 0..3 {
        for (number, root) in roots.iter().enumerate() {
            fs::write(root.join("changed"), noise(100 * round + number as u64, 300_000)).unwrap();
        }
        let pass = |number: usize| {
            let name = Some(format!("source {number}"));
            let options = SyncOptions { name, ..SyncOptions::default() };
            let source = LocalSource::open(&roots[number]).unwrap();
            sync(&session, &source, &options, &Silent, &Cancel::new()).unwrap()
        };
        last = std::thread::scope(|scope| {
            let passes: Vec<_> = (0..3).map(|number| scope.spawn(move || pass(number))).collect();
            passes.into_iter().map(|pass| pass.join().unwrap()).collect::<Vec<_>>()
        });
        for outcome in &last {
            assert_eq!(outcome.exceptions, []);
            // Each counts its own: its packs, an index object, the list of packs, record, snapshot.
            assert!((3..20).contains(&outcome.usage.put), "{:?}", outcome.usage);
            assert!(outcome.usage.bytes_sent >= outcome.stored, "{:?}", outcome.usage);
        }
    }
    assert_eq!(world.reader().history.snapshots.len(), 9);
    let verified = world.verify(true);
    assert_eq!((verified.problems.as_slice(), verified.verdict), (&[][..], Verdict::Verified));
    for (number, outcome) in last.iter().enumerate() {
        let name = format!("restored {number}");
        assert_eq!(world.restore(outcome.snapshot, &name).exceptions, []);
        assert!(common::describe(&roots[number]) == common::describe(&world.path(&name)));
    }
}
