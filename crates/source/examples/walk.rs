//! Walks a directory and says how long it took: `walk DIR [THREADS] [TIMES]`.
//!
//! The time is that of listing and stat'ing alone, with a caller that does nothing but count, to be
//! compared with the bare system calls.

#![allow(clippy::print_stdout)]

use std::{env, error::Error, path::Path, time::Instant};

use drover_source::{LocalSource, Source, WalkEvent, WalkOptions};
use rustix::time::{ClockId, clock_gettime};

/// Processor time of the process, in seconds; on a busy machine it says more than the clock.
fn processor_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

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
        let (start, worked) = (Instant::now(), processor_seconds());
        let (mut entries, mut bytes, mut problems) = (0_u64, 0_u64, 0_u64);
        for event in source.walk(&options)? {
            match event {
                WalkEvent::Entry(entry) => {
                    entries += 1;
                    bytes += entry.evidence.size;
                }
                WalkEvent::Problem { .. } | WalkEvent::Excluded { .. } => problems += 1,
            }
        }
        let (seconds, worked) = (start.elapsed().as_secs_f64(), processor_seconds() - worked);
        println!(
            "{seconds:.3} s, {worked:.3} s of processor, {entries} entries, {bytes} bytes, \
             {problems} problems"
        );
    }
    Ok(())
}
