//! Passes and restores through a proxy that fails a good part of the requests, in ways that follow
//! a seed. Each run ends well, or with an error that says what it is; either way the next one
//! without faults goes on, and what is there is whole.
//!
//! A few seeds by default; 500 with `DROVER_TEST_LONG=1`.

use std::fs;

use crate::{
    compare::assert_same,
    lab::Answer,
    proxy::Proxy,
    roundtrip::{restored, verified},
    services::{Service, services},
    tree,
};

/// Of a hundred requests, so many fail.
const FAULTS: u64 = 25;
/// What a run may come to where the service fails. A repository that is "not there" or "damaged",
/// a wrong password or a panic are none of these.
const KINDS: [&str; 3] = ["network", "unreachable", "store"];

/// Ends the test where a run failed with an error that does not tell of the service.
fn tolerated(answer: &Answer, what: &str) {
    if answer.code == 0 {
        return;
    }
    let error = answer.json()["error"].clone();
    let kind = error["kind"].as_str().unwrap().to_owned();
    assert!(answer.code == 1 && KINDS.contains(&&*kind), "{what}: {error}");
    assert!(error["remedy"].as_str().unwrap().len() > 10, "{what}: {error}");
}

fn run(service: &Service, seed: u64) {
    let what = format!("{} with seed {seed}", service.scheme);
    let proxy = Proxy::start(&service.endpoint, seed, FAULTS);
    let lab = service.lab_through(&proxy.endpoint());
    let source = lab.path("source");
    fs::create_dir(&source).unwrap();
    for file in 0..20 {
        fs::write(source.join(file.to_string()), tree::noise(seed + file, 20_000)).unwrap();
    }

    // Made by the first run that gets through.
    let made = lab.verb("init", &[""; 0]);
    if made.code != 0 {
        tolerated(&made, &what);
        proxy.clear();
        let again = lab.verb("init", &[""; 0]);
        if again.code != 0 {
            again.refused(1, "repository-exists", "");
        }
        return;
    }
    for pass in 0..3 {
        fs::write(source.join("changes"), tree::noise(pass, 50_000)).unwrap();
        tolerated(&lab.sync(&source), &what);
    }
    let target = lab.path("target");
    let text = target.to_str().unwrap();
    tolerated(&lab.verb("restore", &["latest", text]).or_no_snapshot(), &what);
    // Some requests are tried again, none for ever.
    let asked = proxy.requests();
    assert!(asked < 1000, "{what}: {asked} requests");

    proxy.clear();
    lab.sync(&source).expect(0);
    verified(&lab, &["--read-data"]);
    restored(&lab, "latest", &target, &["--delete"]);
    assert_same(&source, &target, &[]);
}

#[test]
fn faults_end_well_or_say_what_they_are() {
    let is_long = std::env::var("DROVER_TEST_LONG").is_ok_and(|v| v == "1");
    let services = services();
    for seed in 0..if is_long { 500 } else { 6 } {
        if let Some(service) = services.get(seed as usize % services.len().max(1)) {
            run(service, seed);
        }
    }
}
