//! Lands many small files, to count system calls (`strace -f -c`) and time.
//!
//!     land DIRECTORY [FILES] [THREADS]

use std::{error::Error, path::Path, time::Instant};

use drover_source::target::{Target, TargetOptions};
use drover_types::{
    Attributes, Content, Entry, Evidence, Extents, FileHash, Kind, RelativePath, Timestamp,
};

const PER_DIRECTORY: usize = 1000;
const SIZE: u64 = 4096;

fn entry(path: &str, kind: Kind) -> Result<Entry, Box<dyn Error + Send + Sync>> {
    let file = kind == Kind::File;
    let extents = Extents::Inline([].into());
    Ok(Entry {
        path: RelativePath::new(path.as_bytes())?,
        kind,
        attributes: Attributes {
            mode: if file { 0o644 } else { 0o755 },
            mtime: Timestamp { seconds: 1_500_000_000, nanos: 123_456_789 },
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            ..Attributes::default()
        },
        content: file.then_some(Content { size: SIZE, hash: FileHash([0; 32]), extents }),
        hard_link: None,
        evidence: Evidence { links: 1, ..Evidence::default() },
        stale: false,
    })
}

fn land(target: &Target, from: usize, to: usize) -> Result<(), Box<dyn Error + Send + Sync>> {
    let bytes = [7; SIZE as usize];
    for directory in from..to {
        let at = entry(&format!("{directory:05}"), Kind::Directory)?;
        target.create_directory(&at.path)?;
        for n in 0..PER_DIRECTORY {
            let file = entry(&format!("{directory:05}/{n:04}"), Kind::File)?;
            let new = target.create_file(&file)?;
            new.write_at(0, &bytes)?;
            new.finish(&file)?;
        }
        target.set_attributes(&at)?;
    }
    Ok(())
}

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let root = arguments.next().ok_or("usage: land DIRECTORY [FILES] [THREADS]")?;
    let files: usize = arguments.next().map_or(Ok(100_000), |n| n.parse())?;
    let threads: usize = arguments.next().map_or(Ok(2), |n| n.parse())?;
    let target = Target::open(Path::new(&root), TargetOptions::default())?;
    let directories = files.div_ceil(PER_DIRECTORY);
    let share = directories.div_ceil(threads.max(1));
    let start = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|n| {
                let target = &target;
                let to = directories.min((n + 1) * share);
                scope.spawn(move || land(target, n * share, to))
            })
            .collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(done) => done,
            Err(_) => Err("a thread failed".into()),
        })
    })?;
    println!("{} files in {:.2} s", directories * PER_DIRECTORY, start.elapsed().as_secs_f64());
    target.sync()?;
    println!("synced after {:.2} s", start.elapsed().as_secs_f64());
    Ok(())
}
