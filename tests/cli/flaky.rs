//! Passes and restores through a proxy that fails a good part of the requests, in ways that follow
//! a seed. Each run ends well, or with an error that says what it is; either way the next one
//! without faults goes on, and what is there is whole.
//!
//! A few seeds by default; 500 with `DROVER_TEST_LONG=1`, of which `DROVER_TEST_SEED` is the first.

#![allow(clippy::print_stdout, reason = "how much was tried")]

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crate::{
    lab::{Answer, is_long},
    proxy::{Fate, proxy},
    roundtrip::comes_back,
    services::{Service, services},
    tree,
};

/// Of a hundred requests, so many fail.
const FAULTS: u64 = 25;
/// What a run may come to where the service fails. A repository that is "not there" or "damaged",
/// a wrong password or a panic are none of these.
const KINDS: [&str; 3] = ["network", "unreachable", "store"];

/// Ends the test where a run failed with an error that does not tell of the service; whether it
/// failed.
fn fails(answer: &Answer, what: &str) -> bool {
    if answer.code == 0 {
        return false;
    }
    let error = answer.json()["error"].clone();
    let kind = error["kind"].as_str().unwrap().to_owned();
    assert!(answer.code == 1 && KINDS.contains(&&*kind), "{what}: {error}");
    assert!(error["remedy"].as_str().unwrap().len() > 10, "{what}: {error}");
    true
}

/// What stands before a service: its faults follow a seed, until they are over.
struct Weather {
    seed: u64,
    is_clear: AtomicBool,
    requests: AtomicU64,
    faults: AtomicU64,
}

impl Weather {
    fn next(&self) -> Fate {
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        // splitmix64, Steele and others 2014.
        let mut z = self.seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        if self.is_clear.load(Ordering::SeqCst) || z % 100 >= FAULTS {
            return Fate::Pass;
        }
        self.faults.fetch_add(1, Ordering::SeqCst);
        match (z >> 32) % 9 {
            0 => Fate::Refuse(500, "InternalError"),
            1 => Fate::Refuse(503, "SlowDown"),
            2 => Fate::Refuse(429, ""),
            3 => Fate::Refuse(409, "OperationAborted"),
            4 | 5 => Fate::LoseAnswer,
            6 => Fate::CutAnswer,
            7 => Fate::Twice,
            _ => Fate::Reset,
        }
    }
}

fn run(service: &Service, seed: u64) {
    let what = format!("{} with seed {seed}", service.scheme);
    let (is_clear, requests, faults) = Default::default();
    let weather = Arc::new(Weather { seed, is_clear, requests, faults });
    let asked = weather.clone();
    let lab = service.lab_through(&proxy(&service.endpoint, move |_| asked.next()));
    let clear = || weather.is_clear.store(true, Ordering::SeqCst);
    let source = lab.path("source");
    fs::create_dir(&source).unwrap();
    for file in 0..20 {
        fs::write(source.join(file.to_string()), tree::noise(seed + file, 20_000)).unwrap();
    }

    // Made by the first run that gets through.
    let made = lab.verb("init", &[""; 0]);
    if made.code != 0 {
        assert!(fails(&made, &what));
        clear();
        let again = lab.verb("init", &[""; 0]);
        if again.code != 0 {
            again.refused(1, "repository-exists", "");
        }
        println!("{what}: init failed");
        return;
    }
    let mut failed = 0;
    for pass in 0..3 {
        fs::write(source.join("changes"), tree::noise(pass, 50_000)).unwrap();
        failed += usize::from(fails(&lab.sync(&source), &what));
    }
    let target = lab.path("target");
    let text = target.to_str().unwrap();
    failed += usize::from(fails(&lab.verb("restore", &["latest", text]), &what));
    // Some requests are tried again, none for ever.
    let asked = weather.requests.load(Ordering::SeqCst);
    assert!(asked < 1000, "{what}: {asked} requests");
    let faults = weather.faults.load(Ordering::SeqCst);
    println!("{what}: {faults} of {asked} requests failed, and {failed} of 4 runs");

    clear();
    lab.sync(&source).expect(0);
    comes_back(&lab, &source, &["--delete"]);
}

#[test]
fn faults_end_well_or_say_what_they_are() {
    let services = services();
    let first = std::env::var("DROVER_TEST_SEED").map_or(0, |seed| seed.parse().unwrap());
    for seed in first..if is_long() { 500 } else { 6 } {
        if let Some(service) = services.get(seed as usize % services.len().max(1)) {
            run(service, seed);
        }
    }
}
