//! Many snapshots: what a pass takes does not grow with their number, and what reads all of them
//! grows no faster than it.
//!
//! By default few; 10,000 with `DROVER_TEST_LONG=1`, with what each verb took. It needs about 1 GiB
//! where `TMPDIR` leads, which had best be in memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "how much was tried")]

mod common;

use std::{fs, time::Instant};

use common::{World, secret};
use drover_ops::{
    Cancel, ReaderSession, RestoreOptions, SyncOptions, Verdict, VerifyOptions, WriterSession,
    inspect, restore, sync, verify,
};
use drover_repo::objects::Objects;
use drover_source::LocalSource;
use drover_store::Usage;
use drover_types::{RelativePath, Silent};

/// What one verb took.
#[derive(Clone, Debug)]
struct Cost {
    verb: &'static str,
    requests: u64,
    received: u64,
}

/// The most memory that this process had since the last time, in MiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    // Where that may not be set back, it is the most of all.
    let _ = fs::write("/proc/self/clear_refs", "5");
    kib >> 10
}

fn requests(usage: &Usage) -> u64 {
    usage.get + usage.put + usage.head + usage.list + usage.delete
}

/// Does `work` with a store of its own, and says what it took.
fn cost(world: &World, verb: &'static str, work: impl FnOnce(Objects)) -> Cost {
    let objects = world.objects();
    peak();
    let begun = Instant::now();
    work(objects.clone());
    let seconds = begun.elapsed().as_secs_f64();
    let usage = objects.usage();
    let cost = Cost { verb, requests: requests(&usage), received: usage.bytes_received };
    println!(
        "{verb:>12} {seconds:8.2} s {:7} requests {:9} KiB received {:5} MiB",
        cost.requests,
        cost.received >> 10,
        peak()
    );
    cost
}

fn pass(world: &World, objects: Objects) {
    let url = world.repository().display().to_string();
    let ask = || Ok(Some(secret()));
    let session = WriterSession::open(objects, &url, &world.path("state"), &ask, &Silent).unwrap();
    let source = LocalSource::open(&world.source()).unwrap();
    sync(&session, &source, &SyncOptions::default(), &Silent, &Cancel::new()).unwrap();
}

fn costs(world: &World, snapshots: usize) -> Vec<Cost> {
    println!("{snapshots} snapshots");
    let reader = |objects| ReaderSession::open(objects, &secret(), None, &Silent).unwrap();
    let verified = |objects, read_data| {
        let options = VerifyOptions { read_data, ..VerifyOptions::default() };
        let outcome = verify(&mut reader(objects), &options, &Silent, &Cancel::new()).unwrap();
        assert_eq!(outcome.verdict, Verdict::Verified);
    };
    let target = world.path(&format!("target {snapshots}"));
    vec![
        cost(world, "pass", |objects| pass(world, objects)),
        cost(world, "snapshots", |objects| {
            let reader = reader(objects);
            assert!(reader.history.snapshots.len() > snapshots && reader.problems.is_empty());
        }),
        cost(world, "log verify", |objects| {
            let (records, problems) = inspect::log(&reader(objects)).unwrap();
            assert!(records.len() > snapshots && problems.is_empty());
        }),
        cost(world, "restore", |objects| {
            let mut reader = reader(objects);
            let latest = reader.find("latest", None).unwrap().id();
            let (below, options) = (RelativePath::root(), RestoreOptions::default());
            let (observer, cancel) = (&Silent, Cancel::new());
            restore(&mut reader, latest, &below, &target, &options, observer, &cancel).unwrap();
        }),
        cost(world, "verify", |objects| verified(objects, None)),
        cost(world, "read back", |objects| verified(objects, Some(1.0))),
    ]
}

#[test]
fn verbs_bear_many_snapshots() {
    let is_long = std::env::var("DROVER_TEST_LONG").is_ok_and(|v| v == "1");
    let sizes: &[usize] = if is_long { &[100, 1000, 10_000] } else { &[8, 32] };
    let world = World::new();
    for file in 0..20 {
        fs::write(world.source().join(format!("{file}")), common::noise(file, 1000)).unwrap();
    }
    let mut made = 0;
    let mut before: Option<(usize, Vec<Cost>)> = None;
    for &size in sizes {
        let begun = Instant::now();
        while made < size {
            // A file changes in each.
            fs::write(world.source().join("changes"), format!("pass {made}")).unwrap();
            pass(&world, world.objects());
            made += 1;
        }
        println!("made in {:.1} s", begun.elapsed().as_secs_f64());
        fs::write(world.source().join("changes"), format!("pass {made}")).unwrap();
        let now = costs(&world, size);
        made += 1;
        if let Some((fewer, costs)) = before {
            for (then, now) in costs.iter().zip(&now) {
                match now.verb {
                    "pass" => assert_eq!(now.requests, then.requests, "a pass at {size}"),
                    _ => assert!(
                        now.requests * fewer as u64 <= then.requests * size as u64,
                        "{}: {} requests at {size}, {} at {fewer}",
                        now.verb,
                        now.requests,
                        then.requests
                    ),
                }
            }
        }
        before = Some((size, now));
    }
}
