//! Walks a directory and says how long it took: `walk DIR [THREADS] [TIMES]`.
//!
//! The time is that of listing and stat'ing alone, with a caller that does nothing but count, to be
//! compared with the bare system calls.

#![allow(clippy::print_stdout)]

use std::{env, error::Error, path::Path, time::Instant};

use drover_source::{LocalSource, Source, WalkEvent, WalkOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let root = arguments.next().ok_or("walk DIR [THREADS] [TIMES]")?;
    let mut options = WalkOptions::default();
    if let Some(threads) = arguments.next() {
        options.threads = threads.parse()?;
    }
    let times: usize = arguments.next().map_or(Ok(1), |times| times.parse())?;

    let source = LocalSource::open(Path::new(&root))?;
    for _ in 0..times {
        let start = Instant::now();
        let (mut entries, mut bytes, mut problems) = (0_u64, 0_u64, 0_u64);
        for event in source.walk(&options)? {
            match event {
                WalkEvent::Entry(entry) => {
                    entries += 1;
                    bytes += entry.evidence.size;
                }
                WalkEvent::Problem { .. } => problems += 1,
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        println!("{seconds:.3} s, {entries} entries, {bytes} bytes, {problems} problems");
    }
    Ok(())
}
