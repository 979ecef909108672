//! Files that change, grow, shrink, go away and are replaced while a pass reads them: each is really
//! changed on the disk, at the moment at which the pass opens or reads it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use common::{World, assert_same, noise};
use drover_ops::{Cancel, ReaderSession, SyncOptions, SyncOutcome, sync};
use drover_source::{
    LocalSource, ReadError, Source, SourceDescription, SourceError, SourceFile, Stat, Walk,
    WalkOptions,
};
use drover_types::{
    Attributes, Counter, Entry, Exception, ExceptionKind, Observer, Phase, RelativePath, Silent,
};

/// What the pass is about to do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Open,
    Read,
}

type Meddle = Arc<dyn Fn(At, usize) + Send + Sync>;

/// A directory in which somebody works on `path`: told of each opening and of each read, counted
/// from 1, before it happens.
struct Busy {
    inner: LocalSource,
    path: &'static str,
    meddle: Meddle,
}

struct BusyFile {
    inner: Box<dyn SourceFile>,
    reads: AtomicUsize,
    meddle: Option<Meddle>,
}

impl Source for Busy {
    fn description(&self) -> SourceDescription {
        self.inner.description()
    }
    fn walk(&self, options: &WalkOptions) -> Result<Walk, SourceError> {
        self.inner.walk(options)
    }
    fn open(&self, path: &RelativePath) -> Result<Box<dyn SourceFile>, ReadError> {
        let meddle = (path.as_bytes() == self.path.as_bytes()).then(|| self.meddle.clone());
        if let Some(meddle) = &meddle {
            meddle(At::Open, 1);
        }
        let inner = self.inner.open(path)?;
        Ok(Box::new(BusyFile { inner, reads: AtomicUsize::new(0), meddle }))
    }
    fn complete(&self, entry: &mut Entry) -> Result<(), ReadError> {
        self.inner.complete(entry)
    }
}

impl SourceFile for BusyFile {
    fn stat(&mut self) -> Result<Stat, ReadError> {
        self.inner.stat()
    }
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        if let Some(meddle) = &self.meddle {
            meddle(At::Read, self.reads.fetch_add(1, Ordering::Relaxed) + 1);
        }
        // Short reads are legal, and leave time between them.
        let len = buffer.len().min(1 << 20);
        self.inner.read_at(offset, &mut buffer[..len])
    }
    fn next_data(&mut self, offset: u64) -> Result<Option<Range<u64>>, ReadError> {
        self.inner.next_data(offset)
    }
    fn complete(&mut self, attributes: &mut Attributes) -> Result<(), ReadError> {
        self.inner.complete(attributes)
    }
}

/// A world with `file` of `len` bytes and a neighbour, taken once; then a pass while `meddle` works
/// on a changed `file`.
fn pass(
    len: usize,
    meddle: impl Fn(&Path, At, usize) + Send + Sync + 'static,
) -> (World, SyncOutcome) {
    let world = World::new();
    let file = world.source().join("file");
    fs::write(&file, noise(1, len)).unwrap();
    fs::write(world.source().join("neighbour"), "calm").unwrap();
    world.sync();
    fs::write(&file, noise(2, len)).unwrap();
    let source = Busy {
        inner: LocalSource::open(&world.source()).unwrap(),
        path: "file",
        meddle: Arc::new(move |at, count| meddle(&file, at, count)),
    };
    let options = SyncOptions::default();
    let outcome = sync(&world.session(), &source, &options, &Silent, &Cancel::new()).unwrap();
    (world, outcome)
}

/// What the newest snapshot has in `file`, restored.
fn restored(world: &World, outcome: &SyncOutcome) -> Vec<u8> {
    world.restore(outcome.snapshot, "landing");
    fs::read(world.path("landing/file")).unwrap()
}

fn is_stale(world: &World, outcome: &SyncOutcome) -> bool {
    let mut session: ReaderSession = world.reader();
    let mut stale = None;
    drover_ops::inspect::list(
        &mut session,
        outcome.snapshot,
        &RelativePath::root(),
        true,
        &mut |entry| {
            if entry.path.as_bytes() == b"file" {
                stale = Some(entry.stale);
            }
            Ok(())
        },
    )
    .unwrap();
    stale.expect("the file is in the snapshot")
}

fn only_exception(outcome: &SyncOutcome) -> ExceptionKind {
    let [exception] = outcome.exceptions.as_slice() else { panic!("{:?}", outcome.exceptions) };
    assert_eq!(exception.path.as_bytes(), b"file");
    exception.kind
}

/// Lengths of a file that is read at once, and of one that is read window by window.
const LENGTHS: [usize; 2] = [100_000, 30 << 20];

/// Writes a byte in place, with a time of change that differs from the one before.
fn scribble(file: &Path) {
    let file = OpenOptions::new().write(true).open(file).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(b"!", 0).unwrap();
    file.set_modified(modified + std::time::Duration::from_secs(1)).unwrap();
}

#[test]
fn a_file_that_changes_at_each_read_is_torn_and_keeps_its_previous_leaf() {
    for len in LENGTHS {
        let (world, outcome) = pass(len, |file, at, _| {
            if at == At::Read {
                scribble(file);
            }
        });
        assert_eq!(only_exception(&outcome), ExceptionKind::Torn);
        assert!(is_stale(&world, &outcome));
        assert_eq!(restored(&world, &outcome), noise(1, len));
        // Read three times, the neighbour not at all.
        let times = outcome.read / len as u64;
        assert!((2..=3).contains(&times), "{} bytes were read of {len}", outcome.read);
        // Once it is left alone it is taken.
        assert!(world.sync().exceptions.is_empty());
    }
}

#[test]
fn a_file_that_changes_once_is_read_again_and_taken() {
    for len in LENGTHS {
        let (world, outcome) = pass(len, |file, at, count| {
            if at == At::Read && count == 1 {
                scribble(file);
            }
        });
        assert!(outcome.exceptions.is_empty(), "{:?}", outcome.exceptions);
        let mut expected = noise(2, len);
        expected[0] = b'!';
        assert_eq!(restored(&world, &outcome), expected);
        assert_same(&world, "landing");
    }
}

#[test]
fn a_file_that_grows_for_ever_comes_to_an_end() {
    for len in LENGTHS {
        let (world, outcome) = pass(len, |file, at, _| {
            if at == At::Read {
                let mut file = OpenOptions::new().append(true).open(file).unwrap();
                file.write_all(&noise(3, 1 << 20)).unwrap();
            }
        });
        assert_eq!(only_exception(&outcome), ExceptionKind::Torn);
        assert_eq!(restored(&world, &outcome), noise(1, len));
    }
}

#[test]
fn a_file_that_is_cut_while_it_is_read_is_read_again() {
    for (len, left) in [(100_000, 10), (30 << 20, 1 << 20), (30 << 20, 0)] {
        // In the middle, where it is read window by window.
        let when = if len == 100_000 { 1 } else { 20 };
        let (world, outcome) = pass(len, move |file, at, count| {
            if at == At::Read && count == when {
                File::options().write(true).open(file).unwrap().set_len(left).unwrap();
            }
        });
        assert!(outcome.exceptions.is_empty(), "{:?}", outcome.exceptions);
        assert_eq!(restored(&world, &outcome), noise(2, len)[..left as usize]);
    }
}

#[test]
fn a_file_that_went_away_is_removed_and_told() {
    let (_, outcome) = pass(1000, |file, at, _| {
        if at == At::Open {
            fs::remove_file(file).unwrap();
        }
    });
    assert_eq!(only_exception(&outcome), ExceptionKind::Vanished);
    assert_eq!((outcome.counts.removed, outcome.counts.total()), (1, 1));
}

#[test]
fn a_file_that_becomes_something_else_keeps_its_previous_leaf() {
    let changes: [fn(&Path); 3] = [
        |file| std::os::unix::fs::symlink("/etc/passwd", file).unwrap(),
        |file| fs::create_dir(file).unwrap(),
        |file| drop(std::os::unix::net::UnixListener::bind(file).unwrap()),
    ];
    for change in changes {
        let (world, outcome) = pass(1000, move |file, at, _| {
            if at == At::Open {
                fs::remove_file(file).unwrap();
                change(file);
            }
        });
        assert_eq!(only_exception(&outcome), ExceptionKind::Torn);
        assert!(is_stale(&world, &outcome));
        assert_eq!(restored(&world, &outcome), noise(1, 1000));
    }
}

#[test]
fn a_file_that_is_replaced_while_it_is_read_is_one_or_the_other() {
    for len in LENGTHS {
        let (world, outcome) = pass(len, move |file, at, count| {
            if at == At::Read && count == 1 {
                let beside = file.with_extension("new");
                fs::write(&beside, noise(4, len)).unwrap();
                fs::rename(beside, file).unwrap();
            }
        });
        assert!(outcome.exceptions.is_empty(), "{:?}", outcome.exceptions);
        let taken = restored(&world, &outcome);
        assert!(taken == noise(2, len) || taken == noise(4, len), "it is a mixture");
        world.restore(world.sync().snapshot, "later");
        assert_same(&world, "later");
    }
}

#[test]
fn passes_over_a_tree_that_never_rests_are_whole_and_the_one_after_is_right() {
    let world = World::new();
    let (source, stop) = (world.source(), AtomicBool::new(false));
    let step = |round: u64| {
        let name = source.join(format!("{}", round % 7));
        match round % 5 {
            0 => drop(fs::remove_file(&name)),
            1 => fs::write(&name, noise(round, 3000)).unwrap(),
            2 => fs::write(&name, noise(round, 5 << 20)).unwrap(),
            3 => {
                let mut file = OpenOptions::new().append(true).create(true).open(&name).unwrap();
                file.write_all(&noise(round, 1000)).unwrap();
            }
            _ => drop(fs::rename(&name, source.join(format!("{}", (round + 3) % 7)))),
        }
    };
    (0..20).for_each(step);
    std::thread::scope(|scope| {
        scope.spawn(|| (20..).take_while(|_| !stop.load(Ordering::Relaxed)).for_each(step));
        for _ in 0..6 {
            world.try_sync(&SyncOptions { allow_empty: true, ..SyncOptions::default() }).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let outcome = world.sync();
    assert!(outcome.exceptions.is_empty(), "{:?}", outcome.exceptions);
    assert!(world.verify(true).problems.is_empty());
    world.restore(outcome.snapshot, "landing");
    assert_same(&world, "landing");
}

/// Counts the bytes that were read and worked on.
#[derive(Clone, Default)]
struct Worked(Arc<AtomicU64>);

impl Observer for Worked {
    fn add(&self, counter: Counter, amount: u64) {
        if counter == Counter::BytesRead {
            self.0.fetch_add(amount, Ordering::SeqCst);
        }
    }
    fn phase(&self, _: Phase) {}
    fn exception(&self, _: &Exception) {}
    fn warning(&self, _: &str) {}
}

/// Reads are of 1 MiB, and windows of 8: the ninth is of the second window.
#[test]
fn the_next_window_is_read_while_one_is_worked_on() {
    let world = World::new();
    fs::write(world.source().join("file"), noise(1, 40 << 20)).unwrap();
    let (worked, behind) = (Worked::default(), Arc::new(AtomicU64::new(u64::MAX)));
    let (seen, noted) = (worked.0.clone(), behind.clone());
    let meddle = move |at, count| {
        if (at, count) == (At::Read, 9) {
            noted.store(seen.load(Ordering::SeqCst), Ordering::SeqCst);
        }
    };
    let inner = LocalSource::open(&world.source()).unwrap();
    let source = Busy { inner, path: "file", meddle: Arc::new(meddle) };
    let options = SyncOptions::default();
    let outcome = sync(&world.session(), &source, &options, &worked, &Cancel::new()).unwrap();
    assert_eq!(behind.load(Ordering::SeqCst), 0, "the first window was done before");
    assert_eq!(worked.0.load(Ordering::SeqCst), 40 << 20);
    world.restore(outcome.snapshot, "restored");
    assert_same(&world, "restored");
}
