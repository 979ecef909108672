//! Power is lost under the state's database: whatever a call acknowledged is there afterwards, and
//! what was under way is there as a whole or not at all.
//!
//! A disk in memory records what is written and when it is synced. From a run of what passes do,
//! images are made of what a disk can hold after a loss of power at any moment: everything up to
//! the last sync, and of what came after it any part, in writes or in single sectors, since a disk
//! orders them as it likes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "how much was tried")]

use std::sync::{Arc, Mutex};

use drover_pack::{DirectoryEntry, PackHeader, PackIdentity, PackReceipt};
use drover_repo::{
    index::ListedPack,
    state::{Commit, Database, Head, Partial, SourceRecord},
};
use drover_types::{
    ChunkId, ChunkKind, Compression, DomainId, Extent, PackClass, PackId, RepositoryId, SnapshotId,
    SourceId, Timestamp, WriterId,
};

const SECTOR: usize = 512;
const SOURCE: SourceId = SourceId([7; 16]);
const PATH: &[u8] = b"a large file";

/// What a disk is told.
#[derive(Clone, Debug)]
enum Step {
    Write(u64, Vec<u8>),
    Resize(u64),
    Sync,
}

impl Step {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Step::Write(at, bytes) => write(image, *at as usize, bytes),
            Step::Resize(len) => image.resize(*len as usize, 0),
            Step::Sync => {}
        }
    }
}

fn write(image: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if image.len() < at + bytes.len() {
        image.resize(at + bytes.len(), 0);
    }
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A disk in memory that notes what it is told.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<(Vec<u8>, Vec<Step>)>>);

impl Disk {
    fn with(image: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new((image, Vec::new()))))
    }

    fn tell(&self, step: Step) {
        let mut disk = self.0.lock().unwrap();
        step.apply(&mut disk.0);
        disk.1.push(step);
    }

    fn steps(&self) -> Vec<Step> {
        self.0.lock().unwrap().1.clone()
    }

    fn told(&self) -> usize {
        self.0.lock().unwrap().1.len()
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> Result<u64, std::io::Error> {
        Ok(self.0.lock().unwrap().0.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        let disk = self.0.lock().unwrap();
        let at = offset as usize;
        let bytes = disk.0.get(at..at + out.len()).ok_or(std::io::ErrorKind::UnexpectedEof);
        out.copy_from_slice(bytes.map_err(std::io::Error::from)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.tell(Step::Resize(len));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.tell(Step::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.tell(Step::Write(offset, data.to_vec()));
        Ok(())
    }
}

/// Numbers that are the same for the same seed.
struct Draw(blake3::OutputReader);

impl Draw {
    fn new(seed: u64) -> Self {
        Self(blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof())
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill(&mut bytes);
        bytes
    }

    fn below(&mut self, bound: usize) -> usize {
        (u64::from_le_bytes(self.bytes()) % bound as u64) as usize
    }
}

/// What a disk can hold when the power goes: all of `before`, and of what it was told since then,
/// in no order, any part.
fn lose_power(before: &[u8], unsynced: &[Step], draw: &mut Draw) -> Vec<u8> {
    let mut image = before.to_vec();
    let kept = [0, 10, 50, 90, 100][draw.below(5)];
    let torn = draw.below(2) == 0;
    for step in unsynced {
        match step {
            Step::Write(at, bytes) if torn => {
                for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                    if draw.below(100) < kept {
                        write(&mut image, *at as usize + number * SECTOR, sector);
                    }
                }
            }
            step => {
                if draw.below(100) < kept {
                    step.apply(&mut image);
                }
            }
        }
    }
    image
}

/// Everything that the database knows.
#[derive(Clone, Debug, PartialEq)]
struct View {
    counter: u64,
    head: Head,
    writer: Option<WriterId>,
    commit: Option<Commit>,
    intents: Vec<PackReceipt>,
    unlisted: Vec<ListedPack>,
    unindexed: Vec<PackReceipt>,
    source: Option<SourceRecord>,
    partial: Option<Partial>,
    chunks: Vec<bool>,
    chunk_count: u64,
}

impl View {
    fn of(database: &Database, counter: u64, chunks: &[ChunkId]) -> Self {
        Self {
            counter,
            head: database.head().unwrap(),
            writer: database.writer().unwrap(),
            commit: database.pending_commit().unwrap(),
            intents: database.intents().unwrap(),
            unlisted: database.unlisted().unwrap(),
            unindexed: database.unindexed(usize::MAX >> 8).unwrap(),
            source: database.source(SOURCE).unwrap(),
            partial: database.partial(SOURCE, PATH).unwrap(),
            chunks: chunks.iter().map(|id| database.has_chunk(id).unwrap()).collect(),
            chunk_count: database.chunk_count().unwrap(),
        }
    }
}

fn receipt(draw: &mut Draw) -> PackReceipt {
    let mut offset = 256;
    let mut entries = Vec::new();
    for _ in 0..1 + draw.below(150) {
        let id = ChunkId(draw.bytes());
        let (kind, compression) = (ChunkKind::Data, Compression::Zstd);
        entries.push(DirectoryEntry {
            kind,
            compression,
            id,
            offset,
            stored_len: 90,
            plain_len: 99,
        });
        offset += 106;
    }
    let identity = PackIdentity {
        repository: RepositoryId([1; 16]),
        writer: WriterId([2; 16]),
        domain: DomainId([3; 16]),
    };
    let header = PackHeader {
        class: PackClass::Data,
        epoch: 1,
        identity,
        session: [4; 112],
        salt: draw.bytes(),
        commitment: draw.bytes(),
    };
    PackReceipt { id: PackId(draw.bytes()), len: u64::from(offset) + 4096, header, entries }
}

/// A call of the state, and what it adds to the pack counter.
type Call = (Box<dyn Fn(&Database)>, u64);

fn call(f: impl Fn(&Database) + 'static) -> Call {
    (Box::new(f), 0)
}

/// What passes ask of the state, and the chunks they store.
fn calls(passes: u64, draw: &mut Draw) -> (Vec<Call>, Vec<ChunkId>) {
    let mut calls: Vec<Call> = vec![call(|db| db.set_writer(WriterId([2; 16])).unwrap())];
    let mut chunks = Vec::new();
    let mut packs = drover_crypt::merkle::Frontier::new();
    for pass in 1..=passes {
        calls.push((Box::new(|db| assert!(db.reserve_counters(16).is_ok())), 16));
        let mut sent = Vec::new();
        for number in 0..2 + draw.below(6) as u64 {
            let pack = receipt(draw);
            let intended = pack.clone();
            calls.push(call(move |db| db.intend(&intended).unwrap()));
            let (extents, places) = (vec![Extent::Hole(number + 1)], vec![(number, vec![5; 2000])]);
            let partial = Partial { extents, places, ..Partial::default() };
            calls.push(call(move |db| db.set_partial(SOURCE, PATH, Some(&partial)).unwrap()));
            // Now and then one does not arrive.
            if draw.below(6) == 0 {
                calls.push(call(move |db| db.forget_intent(&pack.id).unwrap()));
                continue;
            }
            chunks.extend(pack.entries.iter().map(|entry| entry.id));
            packs.push(ListedPack { id: pack.id, len: pack.len }.leaf());
            sent.push(pack.clone());
            calls.push(call(move |db| db.acknowledge(&pack).unwrap()));
        }
        let listed = sent.len() as u64;
        calls.push(call(move |db| db.indexed(&sent).unwrap()));
        let (snapshot, log) = (draw.bytes(), draw.bytes());
        let packs = packs.clone();
        let head = Head { sequence: pass, snapshot, log_sequence: pass, log, packs };
        let record = SourceRecord {
            name: "source".into(),
            snapshot: SnapshotId(snapshot),
            device: 1,
            entries: pass,
            bytes: pass,
            time: Timestamp::default(),
        };
        let objects = vec![("log/1".into(), vec![6; 600]), ("snapshots/1".into(), vec![7; 900])];
        let commit = Commit { objects, head, source: Some((SOURCE, record)), listed };
        let begun = commit.clone();
        calls.push(call(move |db| db.begin_commit(&begun).unwrap()));
        calls.push(call(move |db| db.finish_commit(&commit).unwrap()));
    }
    (calls, chunks)
}

/// What came of opening an image.
enum Opened {
    As(Box<View>),
    Damaged(String),
}

/// Opens an image and reads everything in it; and what the disk was told by that.
fn open(image: Vec<u8>, chunks: &[ChunkId]) -> (Opened, Vec<Step>) {
    let disk = Disk::with(image);
    let told = disk.clone();
    let opened = std::panic::catch_unwind(move || {
        let database = Database::with_backend(disk).map_err(|error| error.to_string())?;
        // Nothing is reserved by this, and the number is read.
        let counter = database.reserve_counters(0).map_err(|error| error.to_string())?;
        Ok(View::of(&database, counter, chunks))
    });
    let opened = match opened {
        Ok(Ok(view)) => Opened::As(Box::new(view)),
        Ok(Err(error)) => Opened::Damaged(error),
        Err(_) => Opened::Damaged("a panic".into()),
    };
    (opened, told.steps())
}

/// How many images were what.
#[derive(Debug, Default)]
struct Tally {
    /// All that had been acknowledged, and what was under way.
    with_the_last: u32,
    /// All that had been acknowledged.
    without_it: u32,
    /// A database that was just being made.
    unborn: u32,
    /// Of all these, those where the power was lost again while the database was repaired.
    again: u32,
}

/// A run of calls on a disk.
struct Run {
    steps: Vec<Step>,
    /// After how many steps each call had returned, and what was known then.
    returned: Vec<(usize, View)>,
    chunks: Vec<ChunkId>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let (calls, chunks) = calls(4, &mut Draw::new(seed));
        let disk = Disk::default();
        let database = Database::with_backend(disk.clone()).unwrap();
        let mut counter = 0;
        let mut returned = vec![(disk.told(), View::of(&database, counter, &chunks))];
        for (f, counted) in &calls {
            f(&database);
            counter += counted;
            returned.push((disk.told(), View::of(&database, counter, &chunks)));
        }
        // As when a process is killed: nothing is closed before the steps are taken down.
        Self { steps: disk.steps(), returned, chunks }
    }

    /// Loses the power after `at` steps, and looks what is left.
    fn crash(&self, at: usize, synced: &[u8], since: &[Step], seed: u64, tally: &mut Tally) {
        let mut draw = Draw::new(seed);
        let image = lose_power(synced, since, &mut draw);
        let (opened, repair) = open(image.clone(), &self.chunks);
        self.judge(at, opened, seed, tally);
        if draw.below(4) == 0 {
            let end = draw.below(repair.len() + 1);
            let last_sync = repair[..end].iter().rposition(|step| matches!(step, Step::Sync));
            let (synced, since) = repair[..end].split_at(last_sync.map_or(0, |at| at + 1));
            let mut base = image;
            synced.iter().for_each(|step| step.apply(&mut base));
            let image = lose_power(&base, since, &mut draw);
            self.judge(at, open(image, &self.chunks).0, seed, tally);
            tally.again += 1;
        }
    }

    fn judge(&self, at: usize, opened: Opened, seed: u64, tally: &mut Tally) {
        let returned = self.returned.partition_point(|(steps, _)| *steps <= at);
        let before = returned.checked_sub(1).map(|last| &self.returned[last].1);
        let under_way = self.returned.get(returned).map(|(_, view)| view);
        match opened {
            Opened::As(view) if Some(&*view) == before => tally.without_it += 1,
            Opened::As(view) if Some(&*view) == under_way => tally.with_the_last += 1,
            // Nobody relies on anything in a database that is being made.
            _ if before.is_none() => tally.unborn += 1,
            Opened::As(_) => panic!("seed {seed}: power lost after step {at}, and less is there"),
            Opened::Damaged(error) => panic!("seed {seed}: power lost after step {at}: {error}"),
        }
    }
}

#[test]
fn what_was_acknowledged_outlasts_a_loss_of_power() {
    let long = std::env::var("DROVER_TEST_LONG").is_ok_and(|value| value == "1");
    let (runs, images) = if long { (8, 8) } else { (2, 1) };
    let mut tally = Tally::default();
    let mut points = 0;
    for seed in 0..runs {
        let run = Run::new(seed);
        let stride = if long { 1 } else { 1 + run.steps.len() / 250 };
        let (mut base, mut synced) = (Vec::new(), 0);
        for at in 0..=run.steps.len() {
            if at > 0 && matches!(run.steps[at - 1], Step::Sync) {
                run.steps[synced..at].iter().for_each(|step| step.apply(&mut base));
                synced = at;
            }
            if at % stride != 0 {
                continue;
            }
            points += 1;
            for image in 0..images {
                let seed = seed << 40 | (at as u64) << 8 | image;
                run.crash(at, &base, &run.steps[synced..at], seed, &mut tally);
            }
        }
    }
    println!("power lost at {points} points: {tally:?}");
}
