//! Damage of every sort to every object of a small repository: found, and the files named are
//! exactly those hurt, as an oracle of the test's own works out.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "how much was tried")]

#[path = "../common/mod.rs"]
mod common;
mod fixture;
mod oracle;

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use common::bucket::{Bucket, Contents};
use drover_ops::ReaderSession;
use fixture::{Whole, look, seen, whole};
use oracle::{Fate, Seen};

fn long() -> bool {
    std::env::var_os("DROVER_TEST_LONG").is_some()
}

/// A bucket that is damaged, and the whole repository that was in it.
struct Damaged<'w> {
    whole: &'w Whole,
    bucket: Bucket,
    /// Opened before: packs are not read until then.
    reader: ReaderSession,
}

impl<'w> Damaged<'w> {
    fn new(whole: &'w Whole) -> Self {
        let bucket = Bucket::with(&whole.contents);
        let reader = bucket.reader().unwrap();
        Self { whole, bucket, reader }
    }

    /// Changes an object, and compares what a verification sees with what it must.
    fn check(&mut self, object: &str, what: &str, changed: &[u8]) {
        let Whole { contents, layout, heads } = self.whole;
        let before = &contents[object];
        let differs = |range: &Range<u64>| {
            let range = range.start as usize..range.end as usize;
            changed.get(range.clone()) != before.get(range)
        };
        self.bucket.put(object, changed.to_vec());
        let expected = layout.expected(object, &Fate::Changed(&differs));
        assert_ne!(expected, Seen::Found { objects: [].into(), files: [].into() });
        let found = match class(object) {
            "packs" => seen(Bucket::verify_by(&mut self.reader, heads)),
            _ => look(&self.bucket, heads),
        };
        assert_eq!(found, expected, "{object}: {what}");
    }

    fn mend(&self, object: &str) {
        self.bucket.put(object, self.whole.contents[object].clone());
    }
}

#[test]
fn every_flipped_bit_is_found_and_the_files_named_are_those_hurt() {
    let whole = whole();
    let stride = if long() { 1 } else { 401 };
    let bits: u64 = whole.contents.values().map(|bytes| bytes.len() as u64 * 8).sum();
    let done = AtomicU64::new(0);
    let workers = std::thread::available_parallelism().map_or(2, |cores| cores.get()) as u64;
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let (whole, done) = (&whole, &done);
            scope.spawn(move || {
                let mut damaged = Damaged::new(whole);
                let mut number = 0;
                for (object, bytes) in &whole.contents {
                    let mut bent = bytes.to_vec();
                    for bit in 0..bytes.len() * 8 {
                        number += 1;
                        if number % stride != 0 || number / stride % workers != worker {
                            continue;
                        }
                        bent[bit / 8] ^= 1 << (bit % 8);
                        damaged.check(object, &format!("bit {bit}"), &bent);
                        bent[bit / 8] ^= 1 << (bit % 8);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    damaged.mend(object);
                }
            });
        }
    });
    println!(
        "{} of {bits} bits flipped, in {} objects",
        done.load(Ordering::Relaxed),
        whole.contents.len()
    );
}

/// What of a repository an object is: objects of one class can pass for one another.
fn class(name: &str) -> &str {
    let last = name.rsplit('/').next().unwrap();
    match name.split('/').next().unwrap() {
        "keys" => last.split('-').next().unwrap(),
        "index" if last.starts_with("packs-") => "list",
        class => class,
    }
}

/// The objects of each class, in order.
fn classes(contents: &Contents) -> BTreeMap<&str, Vec<&String>> {
    let mut classes: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    contents.keys().for_each(|name| classes.entry(class(name)).or_default().push(name));
    classes
}

#[test]
fn every_object_that_is_cut_grown_or_replaced_is_found() {
    let (whole, other) = (whole(), whole());
    let mut damaged = Damaged::new(&whole);
    let (own, foreign) = (classes(&whole.contents), classes(&other.contents));
    let mut done = 0;
    for (object, bytes) in &whole.contents {
        let mut check = |what: &str, changed: &[u8]| {
            if changed != bytes {
                damaged.check(object, what, changed);
                done += 1;
            }
        };
        for len in
            [0, 1, 8, 255, bytes.len() / 4, bytes.len() / 2, bytes.len() - 17, bytes.len() - 1]
        {
            if len < bytes.len() {
                check(&format!("cut to {len} bytes"), &bytes[..len]);
            }
        }
        check("a byte longer", &[&bytes[..], &[0]].concat());
        check("a block longer", &[&bytes[..], &[0; 4096]].concat());
        check("twice as long", &[&bytes[..], &bytes[..]].concat());
        check("zeros", &vec![0; bytes.len()]);
        check("without its first byte", &bytes[1..]);
        // Of the same class: other writers', other epochs' and earlier ones among them.
        for name in &own[class(object)] {
            check(&format!("replaced by {name}"), &whole.contents[*name]);
        }
        if object != "config" {
            for name in &foreign[class(object)] {
                check("replaced by another repository's", &other.contents[*name]);
            }
        }
        damaged.mend(object);
    }
    // A config of another repository is whole, and names keys that are not there.
    damaged.bucket.put("config", other.contents["config"].clone());
    let folder = other.contents.keys().find(|name| name.starts_with("keys/")).unwrap();
    let folder = folder.rsplit_once('/').unwrap().0;
    assert_eq!(look(&damaged.bucket, &whole.heads), Seen::Refused(folder.into()));
    println!("{} changes to {} objects", done + 1, whole.contents.len());
}

#[test]
fn every_object_that_is_gone_shows_where_something_says_that_it_was_there() {
    let whole = whole();
    let bucket = Bucket::with(&whole.contents);
    let mut unseen = Vec::new();
    for (object, bytes) in &whole.contents {
        bucket.remove(object);
        let seen = look(&bucket, &whole.heads);
        assert_eq!(seen, whole.layout.expected(object, &Fate::Gone), "{object}");
        if seen == (Seen::Found { objects: [].into(), files: [].into() }) {
            unseen.push(class(object));
        }
        bucket.put(object, bytes.clone());
    }
    // Hints, a slot of somebody else, grants of epochs that the writer needs no more, and what
    // the threat model says of revocations.
    unseen.sort();
    unseen.dedup();
    assert_eq!(unseen, ["index", "revoked", "slot", "writer"]);
    println!("{} objects removed", whole.contents.len());
}

#[test]
fn without_index_objects_a_pack_is_whole_or_lost() {
    let mut whole = whole();
    whole.contents.retain(|name, _| !whole.layout.index.contains_key(name));
    let bucket = Bucket::with(&whole.contents);
    let all = |_: &Range<u64>| true;
    let mut done = 0;
    for (object, bytes) in whole.contents.iter().filter(|(name, _)| class(name) == "packs") {
        let expected = whole.layout.expected(object, &Fate::Changed(&all));
        for at in [0, 9, 20, 100, 200, 250, 300, bytes.len() / 2, bytes.len() - 20, bytes.len() - 1]
        {
            let mut bent = bytes.to_vec();
            bent[at] ^= 4;
            bucket.put(object, bent);
            assert_eq!(look(&bucket, &whole.heads), expected, "{object}: byte {at}");
            done += 1;
        }
        bucket.remove(object);
        assert_eq!(look(&bucket, &whole.heads), expected, "{object}: gone");
        bucket.put(object, bytes.clone());
    }
    println!("{done} changes to packs without an index");
}
