//! SIGKILL at random, again and again within one pass, by way of each store: over a first pass and
//! one that takes what changed, until they come to their ends.
//!
//! A run dies as it enters a system call of a drawn number: what a kill leaves behind is what was
//! done by then, so that this is every moment at which a kill can make a difference.
//!
//! By default few kills; 70 by way of each store with `DROVER_TEST_LONG=1`.

#![allow(clippy::print_stdout, reason = "how much was tried")]

use std::{fs, path::Path};

use crate::{
    lab::{Lab, is_long, number},
    roundtrip::comes_back,
    services::{azure_service, s3_service},
    trace::run_up_to,
    tree,
};

/// Most kills of one pass; then it is let go on to its end.
const KILLS_OF_A_PASS: usize = 8;
const LARGE: usize = 6 << 20;

/// Numbers that are the same for the same seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 += 1;
        let bytes = tree::noise(self.0, 16);
        (u64::from_le_bytes(*bytes.last_chunk().unwrap()) % bound as u64) as usize
    }
}

/// Runs of passes, and how often they were killed.
struct Killer {
    draw: Draw,
    /// About how many calls a pass takes.
    calls: usize,
    kills: usize,
}

impl Killer {
    /// Kills a pass again and again, lets it end, and checks that all is there.
    fn pass(&mut self, lab: &Lab, source: &Path) {
        let text = source.to_str().unwrap();
        let arguments = ["sync", "--repo", &lab.repository, "--source", text, "--json"];
        for _ in 0..KILLS_OF_A_PASS {
            let at = 1 + self.draw.below(self.calls);
            match run_up_to(lab.command(&arguments), at) {
                None => {
                    self.kills += 1;
                    self.calls += self.calls / 8 + 1;
                }
                // It came to its end before that call.
                Some(answer) => {
                    answer.expect(0);
                    self.calls = (self.calls * 2 / 3).max(12);
                    break;
                }
            }
        }
        let last = lab.sync(source).expect(0).json();
        assert_eq!(number(&last, "/entries/total"), tree::count(source), "{last}");
        comes_back(lab, source, &["--delete"]);
        let idle = lab.sync(source).expect(0).json();
        assert_eq!(number(&idle, "/entries/unchanged"), tree::count(source), "{idle}");
        assert_eq!(number(&idle, "/bytes/new"), 0, "{idle}");
    }

    /// A first pass and a later one, of a repository of their own.
    fn passes(&mut self, lab: &Lab) {
        lab.verb("init", &[""; 0]).expect(0);
        let source = lab.path("source");
        let seed = self.draw.below(1 << 30) as u64;
        for folder in 0..3_u64 {
            let path = source.join(format!("folder {folder}"));
            fs::create_dir_all(&path).unwrap();
            for file in 0..10 {
                let content = tree::noise(seed + folder * 100 + file, 3000);
                fs::write(path.join(format!("{file}")), content).unwrap();
            }
        }
        fs::write(source.join("large"), tree::noise(seed + 999, LARGE)).unwrap();
        let before = self.kills;
        self.pass(lab, &source);
        fs::write(source.join("large too"), tree::noise(seed + 1000, LARGE)).unwrap();
        fs::write(source.join("folder 1/3"), tree::noise(seed + 1001, 5000)).unwrap();
        fs::rename(source.join("folder 2"), source.join("renamed")).unwrap();
        fs::remove_file(source.join("folder 0/9")).unwrap();
        self.pass(lab, &source);
        // Of a directory the packs can be counted. Noise does not compress: what they hold beyond it
        // would be there twice. Each kill costs padding, and a manifest that no snapshot names.
        let stored: u64 = tree::packs(&lab.repository).iter().map(|pack| pack.1).sum();
        let noise = 2 * LARGE as u64 + 31 * 3000;
        let kills = (self.kills - before) as u64;
        assert!(stored < noise / 100 * 102 + (kills + 4) * (96 << 10), "{stored} bytes");
    }
}

fn kill_passes(what: &str, seed: u64, lab: impl Fn() -> Lab) {
    let mut killer = Killer { draw: Draw(seed << 32), calls: 60, kills: 0 };
    let (wanted, mut rounds) = (if is_long() { 70 } else { 4 }, 0);
    while killer.kills < wanted {
        killer.passes(&lab());
        rounds += 1;
    }
    println!("{what}: {} kills over {} passes", killer.kills, rounds * 2);
}

#[test]
fn on_a_directory() {
    kill_passes("directory", 1, Lab::new);
}

#[test]
fn on_s3() {
    if let Some(service) = s3_service() {
        kill_passes("S3", 2, || service.lab());
    }
}

#[test]
fn on_azure() {
    if let Some(service) = azure_service() {
        kill_passes("Azure", 3, || service.lab());
    }
}
