//! What a fuzzer would do, without one: the corpus that is kept, and seeds that are changed.

use std::{fs, path::Path};

use drover_fuzz::TARGETS;

/// How often each seed is changed.
const CHANGES: u32 = 1500;

/// xorshift64*, Vigna 2016: the same changes in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound.max(1)
    }
}

/// Changes `data` as files and attackers do: bits, lengths, pieces of it elsewhere.
fn change(data: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let extremes = [0, 1, 0x7f, 0x80, 0xfe, 0xff, b'/', b'.', b'"', b'<'];
    for _ in 0..=random.below(4) {
        let at = random.below(data.len());
        match random.below(7) {
            0 if !data.is_empty() => data[at] ^= 1 << random.below(8),
            1 if !data.is_empty() => data[at] = extremes[random.below(extremes.len())],
            2 => data.truncate(at),
            3 => data.insert(at, random.below(256) as u8),
            4 if !data.is_empty() => drop(data.remove(at)),
            5 => {
                let from = random.below(other.len());
                let piece = &other[from..other.len().min(from + random.below(64))];
                data.splice(at..at, piece.iter().copied());
            }
            // A varint or a length as large as it can be.
            _ => {
                let end = data.len().min(at + 1 + random.below(9));
                data[at..end].fill(0xff);
            }
        }
    }
}

#[test]
fn seeds_are_accepted() {
    for target in TARGETS {
        for (number, seed) in (target.seeds)().iter().enumerate() {
            assert!((target.run)(seed), "seed {number} of {} is refused", target.name);
        }
    }
}

#[test]
fn changed_seeds_are_refused_or_mean_something() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        for seed in &seeds {
            for _ in 0..CHANGES {
                let mut data = seed.clone();
                let other = &seeds[random.below(seeds.len())];
                change(&mut data, other, &mut random);
                (target.run)(&data);
            }
        }
    }
}

#[test]
fn the_corpus_that_is_kept_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in TARGETS {
        // A target is new until it was fuzzed.
        let Ok(files) = fs::read_dir(corpus.join(target.name)) else { continue };
        for file in files {
            let data = fs::read(file.unwrap().path()).unwrap();
            (target.run)(&data);
        }
    }
}
