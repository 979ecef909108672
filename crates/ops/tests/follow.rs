//! Following a source: what a look costs, what a landing reads, and that what somebody changed in the
//! target is put right.

#![allow(clippy::unwrap_used)]

mod common;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use common::{World, assert_same, noise, secret};
use drover_ops::{
    Cancel, Destination, Follow, Look, ReaderSession, RestoreOptions, list_snapshots,
};
use drover_types::{RelativePath, Silent};

const MIB: usize = 1 << 20;

struct Following {
    session: ReaderSession,
    follow: Follow,
}

impl Following {
    fn new(world: &World) -> Self {
        let session = world.reader();
        let source = session.sources().into_keys().next().unwrap().to_owned();
        let (root, options) = (RelativePath::root(), RestoreOptions::default());
        let to = Destination::Directory(world.path("target"));
        let follow = Follow::new(&session, &source, root, to, options).unwrap();
        Self { session, follow }
    }

    fn look(&mut self) -> Look {
        let listed = list_snapshots(self.session.objects()).unwrap();
        self.follow.look(listed, &mut self.session, &secret(), &Silent).unwrap()
    }

    /// Looks and lands; how many objects that took, and how many bytes of them.
    fn land(&mut self) -> (u64, u64) {
        let before = self.session.objects().usage();
        let Look::New(snapshot) = self.look() else { panic!("nothing new") };
        let (session, follow) = (&mut self.session, &mut self.follow);
        let landed = follow.land(snapshot, session, &Silent, &Cancel::new()).unwrap();
        assert_eq!(landed.exceptions, []);
        assert_eq!(follow.landed(), Some(snapshot));
        let after = self.session.objects().usage();
        (after.get - before.get, after.bytes_received - before.bytes_received)
    }
}

/// Files of a hundred passes' worth.
fn world() -> World {
    let world = World::new();
    for number in 0..600 {
        let folder = world.source().join(format!("{}", number % 9));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{number}")), noise(number, 4000)).unwrap();
    }
    world
}

#[test]
fn a_look_is_a_listing_and_a_landing_reads_what_is_new() {
    let world = world();
    world.sync();
    let mut following = Following::new(&world);
    following.land();
    let before = following.session.objects().usage();
    for _ in 0..50 {
        assert_eq!(following.look(), Look::Nothing);
    }
    let after = following.session.objects().usage();
    assert_eq!((after.list - before.list, after.get - before.get), (50, 0));

    // However many passes there were, a landing reads of the last.
    let mut costs = Vec::new();
    for pass in 0..12 {
        fs::write(world.source().join("3/changed"), noise(1000 + pass, 4000)).unwrap();
        world.sync();
        costs.push(following.land());
        assert_same(&world, "target");
    }
    let (objects, bytes) = costs[11];
    assert!(objects <= costs[1].0 + 2 && objects < 12, "{costs:?}");
    assert!(bytes < 300_000, "{costs:?}");
}

#[test]
fn directories_of_which_nothing_changed_are_left_alone_and_others_are_not() {
    let world = world();
    let source = world.source();
    fs::create_dir_all(source.join("1/in/deep")).unwrap();
    fs::create_dir(source.join("2/gone")).unwrap();
    world.sync();
    let mut following = Following::new(&world);
    following.land();
    let target = world.path("target");
    let ctime = |name: &str| {
        let status = target.join(name).metadata().unwrap();
        (status.ctime(), status.ctime_nsec())
    };
    let before = ["1", "1/in", "3"].map(ctime);
    // What is as old as the mark is looked at closely, and a file system's clock goes by ticks of some
    // milliseconds: the mark gets a later one.
    while ctime(".drover-restore") <= before.into_iter().max().unwrap() {
        let own = fs::Permissions::from_mode(0o600);
        fs::set_permissions(target.join(".drover-restore"), own).unwrap();
    }
    // A new one, one less, another mode above one that stays, and another time below it.
    fs::create_dir_all(source.join("0/new/deep")).unwrap();
    fs::remove_dir(source.join("2/gone")).unwrap();
    fs::set_permissions(source.join("1"), fs::Permissions::from_mode(0o500)).unwrap();
    fs::write(source.join("1/in/deep/file"), "new").unwrap();
    fs::write(source.join("4/4"), noise(44, 4000)).unwrap();
    world.sync();
    following.land();
    assert_same(&world, "target");
    let now = ["1", "1/in", "3"].map(ctime);
    assert_ne!(now[0], before[0]);
    assert_eq!(now[1..], before[1..]);
}

#[test]
fn what_somebody_changed_in_the_target_is_put_right() {
    let world = world();
    world.sync();
    let mut following = Following::new(&world);
    following.land();
    let target = world.path("target");
    let times = |name: &str| target.join(name).metadata().unwrap().modified().unwrap();
    let kept = times("1/1");
    fs::set_permissions(target.join("1/1"), fs::Permissions::from_mode(0o777)).unwrap();
    // Of other content, with its size and times.
    let modified = times("2/2");
    fs::write(target.join("2/2"), noise(99, 4000)).unwrap();
    fs::File::options()
        .write(true)
        .open(target.join("2/2"))
        .unwrap()
        .set_modified(modified)
        .unwrap();
    fs::remove_file(target.join("4/4")).unwrap();
    fs::write(target.join("5/more"), "not of the source").unwrap();
    fs::set_permissions(target.join("6"), fs::Permissions::from_mode(0o700)).unwrap();
    let untouched = target.join("7/7").metadata().unwrap();

    fs::write(world.source().join("8/changed"), "by the source").unwrap();
    world.sync();
    following.land();
    assert_eq!(times("1/1"), kept);
    let now = target.join("7/7").metadata().unwrap();
    assert_eq!((now.ino(), now.ctime_nsec()), (untouched.ino(), untouched.ctime_nsec()));
    // Size and time stand for content: that one is found by a verification.
    assert_eq!(fs::read(target.join("2/2")).unwrap(), noise(99, 4000));
    fs::write(target.join("2/2"), noise(2, 4000)).unwrap();
    fs::File::options()
        .write(true)
        .open(target.join("2/2"))
        .unwrap()
        .set_modified(modified)
        .unwrap();
    assert_same(&world, "target");
}

#[test]
fn a_file_that_moved_within_itself_is_taken_from_there() {
    let world = World::new();
    let large = world.source().join("large");
    fs::write(&large, noise(1, 24 * MIB)).unwrap();
    world.sync();
    let mut following = Following::new(&world);
    following.land();
    let mut content = fs::read(&large).unwrap();
    content.splice(..0, noise(2, 1234));
    content.truncate(20 * MIB);
    fs::write(&large, content).unwrap();
    world.sync();
    let (_, bytes) = following.land();
    assert_same(&world, "target");
    assert!(bytes < 8 * MIB as u64, "{bytes} bytes");
}
