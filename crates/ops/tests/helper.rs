//! A source that a helper reads: what it says is what is there, whatever happens to the way to it, and
//! a helper that lies is believed nothing that can be checked.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "../../source/tests/suite/mod.rs"]
mod suite;

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    os::unix::{ffi::OsStrExt, net::UnixStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use common::{World, assert_same, describe, noise};
use drover_ops::{
    Cancel, Compared, EntryCounts, Error, SyncOptions, SyncOutcome, Verdict, compare_tree,
    helper::serve,
    inventory::{InventoryOptions, inventory},
    sync,
};
use drover_source::{
    Cut, HelperSource, LocalSource, Source, Stat, Taken, WalkEvent, WalkOptions,
    helper::{
        GREETING, Launch, LaunchError, Stream,
        message::{Answer, Question},
    },
};
use drover_types::{
    Attributes, Evidence, Exception, ExceptionKind, FileHash, Kind, RelativePath, Silent,
    Timestamp, Xattr,
};

type Side = Arc<dyn Fn(UnixStream) + Send + Sync>;
type Meddle = Arc<dyn Fn(usize) + Send + Sync>;

/// Helpers in threads of this process.
struct Here {
    /// The helper's side.
    side: Side,
    /// How many bytes each of the first helpers may send before its way breaks.
    breaks: Vec<usize>,
    launched: Arc<AtomicUsize>,
    /// Told before what is said to a helper goes, counted over all of them.
    meddle: Option<Meddle>,
    said: Arc<AtomicUsize>,
    /// Bytes that came from all of them.
    heard: Arc<AtomicUsize>,
}

impl Here {
    fn new() -> Self {
        let side = |socket: UnixStream| drop(serve(socket.try_clone().unwrap(), socket));
        Self::with(side)
    }

    fn with(side: impl Fn(UnixStream) + Send + Sync + 'static) -> Self {
        let (launched, said, heard) = (Arc::default(), Arc::default(), Arc::default());
        Self { side: Arc::new(side), breaks: Vec::new(), launched, meddle: None, said, heard }
    }

    fn source(self, root: &Path) -> HelperSource {
        let root = root.as_os_str().as_bytes().to_vec();
        HelperSource::open(Box::new(self), root, "sftp://server/tree", "server").unwrap()
    }
}

impl Launch for Here {
    fn launch(&self) -> Result<Box<dyn Stream>, LaunchError> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let side = self.side.clone();
        thread::spawn(move || side(theirs));
        let mut greeting = vec![0; GREETING.len()];
        (&ours).read_exact(&mut greeting).unwrap();
        assert_eq!(greeting, GREETING.as_bytes());
        let number = self.launched.fetch_add(1, Ordering::SeqCst);
        let left = self.breaks.get(number).copied().unwrap_or(usize::MAX);
        let (meddle, said, heard) = (self.meddle.clone(), self.said.clone(), self.heard.clone());
        Ok(Box::new(Breaking { socket: ours, left, meddle, said, heard }))
    }
}

/// A way that breaks.
struct Breaking {
    socket: UnixStream,
    left: usize,
    meddle: Option<Meddle>,
    said: Arc<AtomicUsize>,
    heard: Arc<AtomicUsize>,
}

impl Read for Breaking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let len = buffer.len().min(self.left);
        let read = self.socket.read(&mut buffer[..len])?;
        self.left -= read;
        self.heard.fetch_add(read, Ordering::SeqCst);
        Ok(read)
    }
}

impl Write for Breaking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(meddle) = &self.meddle {
            meddle(self.said.fetch_add(1, Ordering::SeqCst) + 1);
        }
        self.socket.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

impl Stream for Breaking {
    fn cut(&self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

fn path(text: &str) -> RelativePath {
    RelativePath::new(text.as_bytes()).unwrap()
}

/// Small files, some of them in many chunks, holes, links.
fn populate(root: &Path) {
    suite::build(root);
    for i in 0..1300 {
        fs::write(root.join(format!("small {i:04}")), noise(i, 100 + 7 * i as usize)).unwrap();
    }
    fs::write(root.join("middling"), noise(1000, 900_000)).unwrap();
    fs::write(root.join("large"), noise(1001, 30 << 20)).unwrap();
    fs::write(root.join("large again"), noise(1001, 30 << 20)).unwrap();
}

fn named() -> SyncOptions {
    SyncOptions { name: Some("tree".to_owned()), parallel: 3, ..SyncOptions::default() }
}

fn pass(world: &World, source: &dyn Source) -> Result<SyncOutcome, Error> {
    sync(&world.session(), source, &named(), &Silent, &Cancel::new())
}

#[test]
fn it_is_a_source_like_any_other() {
    let root = tempfile::tempdir().unwrap();
    suite::build(root.path());
    let (here, there) = (LocalSource::open(root.path()).unwrap(), Here::new().source(root.path()));
    suite::check(&there, root.path());
    let (expected, found) = (suite::entries(&here), suite::entries(&there));
    assert_eq!(found, expected);
    assert!(suite::contents(&here, &expected) == suite::contents(&there, &found));
    assert_eq!(there.losses(), []);
}

#[test]
fn what_it_took_is_what_a_pass_on_the_spot_takes() {
    let world = World::new();
    populate(&world.source());
    let first = pass(&world, &Here::new().source(&world.source())).unwrap();
    assert_eq!(first.exceptions, []);
    assert!(first.new < 42 << 20, "what is there twice is sent once: {}", first.new);
    assert_eq!(world.restore(first.snapshot, "restored").exceptions, []);
    assert_same(&world, "restored");
    assert_eq!(world.verify(true).verdict, Verdict::Verified);

    // On the spot, of the same name, every file is read again and nothing is new.
    let source = LocalSource::open(&world.source()).unwrap();
    let options = SyncOptions { reread: true, ..named() };
    let second = sync(&world.session(), &source, &options, &Silent, &Cancel::new()).unwrap();
    assert_eq!((second.counts.unchanged, second.new), (first.counts.total(), 0));

    // Of a verification, hashes come, and small files.
    let compare = |here: Here, what| {
        let source = here.source(&world.source());
        let (reader, cancel) = (&mut world.reader(), Cancel::new());
        compare_tree(reader, second.snapshot, &source, what, &Silent, &cancel).unwrap().0
    };
    let here = Here::new();
    let heard = here.heard.clone();
    let verified = compare(here, Compared::Source);
    assert_eq!((verified.verdict, verified.problems), (Verdict::Verified, vec![]));
    assert!(verified.bytes > 60 << 20, "{}", verified.bytes);
    let heard = heard.load(Ordering::SeqCst);
    assert!(heard < 8 << 20, "{heard}");
    let breaks = Here { breaks: vec![100_000, 1_000_000, 300_000, 1_000_000], ..Here::new() };
    let verified = compare(breaks, Compared::Source);
    assert_eq!((verified.verdict, verified.problems), (Verdict::Verified, vec![]));

    // An insertion sends what is around it.
    let mut large = fs::read(world.path("source/large")).unwrap();
    large.splice(10 << 20..10 << 20, *b"inserted");
    fs::write(world.path("source/large"), &large).unwrap();
    let third = pass(&world, &Here::new().source(&world.source())).unwrap();
    assert_eq!(third.counts.changed, 1);
    assert!(third.new < 9 << 20, "{}", third.new);
    let other = compare(Here::new(), Compared::Target);
    let found: Vec<_> = other.problems.iter().map(|problem| problem.kind.as_str()).collect();
    assert!(found.contains(&"content differs"), "{found:?}");
    world.restore(third.snapshot, "again");
    assert_same(&world, "again");
}

#[test]
fn a_way_that_breaks_anywhere_loses_nothing() {
    let source = tempfile::tempdir().unwrap();
    populate(source.path());
    let expected = describe(source.path());
    for after in [300, 50_000, 120_000, 1 << 20, 13 << 20, 25 << 20] {
        // Whoever comes next finds the way broken as well, and only then none.
        let here = Here { breaks: vec![after + 300, after, after / 2 + 300], ..Here::new() };
        let launched = here.launched.clone();
        let world = World::new();
        let outcome = pass(&world, &here.source(source.path())).unwrap();
        assert_eq!(outcome.exceptions, [], "after {after}");
        assert!(launched.load(Ordering::SeqCst) >= 2, "after {after}");
        world.restore(outcome.snapshot, "restored");
        assert!(describe(&world.path("restored")) == expected, "after {after}");
    }
}

/// Another pass over a tree that was taken, of which `large` changed, where each way breaks after this
/// many bytes.
fn broken(after: usize) -> (EntryCounts, Vec<Exception>) {
    let world = World::new();
    populate(&world.source());
    let first = pass(&world, &Here::new().source(&world.source())).unwrap();
    fs::write(world.path("source/large"), noise(7, 30 << 20)).unwrap();
    let here = Here { breaks: vec![after; 1000], ..Here::new() };
    let second = pass(&world, &here.source(&world.source())).unwrap();
    assert_eq!((second.counts.removed, second.counts.total()), (0, first.counts.total()));
    assert_eq!(world.verify(true).verdict, Verdict::Verified);
    (second.counts, second.exceptions)
}

#[test]
fn a_way_that_stays_broken_is_no_removal() {
    // In a file: it stays what it was, and everything else is taken.
    let (_, exceptions) = broken(4 << 20);
    let [exception] = &exceptions[..] else { panic!("{exceptions:?}") };
    assert_eq!((exception.kind, &exception.path), (ExceptionKind::Error, &path("large")));
    // In the walk: what was not told is not known to be gone.
    let (counts, exceptions) = broken(50_000);
    assert!(exceptions.iter().any(|exception| exception.path.is_root()), "{exceptions:?}");
    assert_eq!(counts.unchanged, counts.total());
}

#[test]
fn a_file_that_changes_meanwhile_is_taken_whole_or_not_at_all() {
    for never_rests in [false, true] {
        let world = World::new();
        let file = world.path("source/file");
        fs::write(&file, noise(1, 30 << 20)).unwrap();
        let meddle: Meddle = {
            let file = file.clone();
            Arc::new(move |said| {
                // By then the file is being taken.
                if said == 5 || (never_rests && said > 5) {
                    let mut file = OpenOptions::new().append(true).open(&file).unwrap();
                    file.write_all(b"more").unwrap();
                }
            })
        };
        let here = Here { meddle: Some(meddle), ..Here::new() };
        let said = here.said.clone();
        let outcome = pass(&world, &here.source(&world.source())).unwrap();
        assert!(said.load(Ordering::SeqCst) >= 5);
        if never_rests {
            let [exception] = &outcome.exceptions[..] else { panic!("{:?}", outcome.exceptions) };
            assert_eq!(exception.kind, ExceptionKind::Torn);
        } else {
            assert_eq!(outcome.exceptions, []);
            world.restore(outcome.snapshot, "restored");
            assert_same(&world, "restored");
        }
        assert_eq!(world.verify(true).verdict, Verdict::Verified);
    }
}

#[test]
fn what_cannot_be_read_is_said() {
    let root = tempfile::tempdir().unwrap();
    let open = |root: &Path| {
        let root = root.as_os_str().as_bytes().to_vec();
        HelperSource::open(Box::new(Here::new()), root, "sftp://server/tree", "server")
    };
    let missing = open(&root.path().join("none")).err().unwrap().to_string();
    assert!(missing.contains("there is no such directory"), "{missing}");
    fs::write(root.path().join("file"), "").unwrap();
    let file = open(&root.path().join("file")).err().unwrap().to_string();
    assert!(file.contains("not a directory"), "{file}");
    assert_eq!(
        open(root.path()).unwrap().open(&path("none")).err().unwrap().kind,
        ExceptionKind::Vanished
    );
}

/// A helper that answers what `answer` says; a file `a` of what looks like 100 bytes is in its tree.
fn lying(answer: impl Fn(&Question) -> Vec<Answer> + Send + Sync + 'static) -> Here {
    Here::with(move |socket| {
        let mut from = socket.try_clone().unwrap();
        let mut to = socket;
        to.write_all(GREETING.as_bytes()).unwrap();
        while let Ok(Some(question)) = Question::read(&mut from) {
            let answers = match &question {
                Question::Root(_) => {
                    vec![Answer::Ready(LocalSource::open(Path::new("/")).unwrap().description())]
                }
                question => answer(question),
            };
            for answer in answers {
                if answer.write(&mut to).is_err() {
                    return;
                }
            }
        }
    })
}

fn stat(kind: Kind, size: u64) -> Stat {
    let time = Timestamp::new(1_700_000_000, 0);
    let attributes = Attributes { mode: 0o700, mtime: time.unwrap(), ..Attributes::default() };
    let evidence =
        Evidence { inode: 1, links: 1, size, allocated: size, ctime: time, ..Evidence::default() };
    Stat { kind, attributes, evidence }
}

fn events(names: &[&str]) -> Vec<Answer> {
    let root = stat(Kind::Directory, 0).into_entry(RelativePath::root());
    let files = names.iter().map(|name| stat(Kind::File, 100).into_entry(path(name)));
    let events = [root].into_iter().chain(files).map(WalkEvent::Entry).collect();
    vec![Answer::Events(events), Answer::End]
}

/// A helper of one file, which answers everything but its walk so.
fn of_one_file(answers: impl Fn(&Question) -> Vec<Answer> + Send + Sync + 'static) -> Here {
    lying(move |question| match question {
        Question::Walk { .. } => events(&["a"]),
        Question::Cutter(_) => vec![],
        Question::Complete(_, kind) => {
            vec![Answer::Rest { kind: kind.clone(), attributes: Attributes::default() }]
        }
        question => answers(question),
    })
}

/// The kinds of exceptions of a pass over a helper that answers a file so.
fn taken(
    answers: impl Fn(&Question) -> Vec<Answer> + Send + Sync + 'static,
) -> Vec<(ExceptionKind, String)> {
    let world = World::new();
    let here = of_one_file(answers);
    let outcome = pass(&world, &here.source(Path::new("/"))).unwrap();
    assert_eq!(world.verify(true).verdict, Verdict::Verified);
    outcome.exceptions.into_iter().map(|e| (e.kind, e.message)).collect()
}

fn end(size: u64, hash: Option<FileHash>) -> Answer {
    Answer::Taken(Box::new(Taken { size, hash, stat: stat(Kind::File, size) }))
}

#[test]
fn a_helper_that_lies_about_a_file_is_not_believed() {
    let cut = |len| Cut { len, hash: *blake3::hash(b"what it is said to be").as_bytes() };
    let hash = FileHash(*blake3::hash(b"what it is said to be").as_bytes());
    type Lie = Box<dyn Fn(&Question) -> Vec<Answer> + Send + Sync>;
    let lies: Vec<(&str, Lie)> = vec![
        (
            "other bytes than it tells",
            Box::new(move |question| match question {
                Question::Take(_) => vec![Answer::Cuts(vec![cut(100)])],
                _ => vec![Answer::Bytes(vec![7; 100]), end(100, Some(hash))],
            }),
        ),
        (
            "fewer bytes than it tells",
            Box::new(move |question| match question {
                Question::Take(_) => vec![Answer::Cuts(vec![cut(100)])],
                _ => vec![Answer::Bytes(vec![7; 99]), end(100, Some(hash))],
            }),
        ),
        (
            "more than a window",
            Box::new(move |question| match question {
                Question::Take(_) => vec![Answer::Cuts(vec![cut(8 << 20); 1000])],
                _ => vec![],
            }),
        ),
        (
            "another size at its end",
            Box::new(move |question| match question {
                Question::Take(_) => vec![Answer::Hole(50), end(100, Some(hash))],
                _ => vec![],
            }),
        ),
        (
            "no hash",
            Box::new(move |question| match question {
                Question::Take(_) => vec![Answer::Hole(100), end(100, None)],
                _ => vec![],
            }),
        ),
        (
            "a hole of nothing",
            Box::new(move |question| match question {
                Question::Take(_) => vec![Answer::Hole(0), end(0, Some(hash))],
                _ => vec![],
            }),
        ),
        (
            "an attribute without a name",
            Box::new(move |question| match question {
                Question::Take(_) => {
                    let nameless = Xattr { name: [].into(), value: [7].into() };
                    let mut stat = stat(Kind::File, 100);
                    stat.attributes.xattrs = vec![nameless];
                    let taken = Taken { size: 100, hash: Some(hash), stat };
                    vec![Answer::Hole(100), Answer::Taken(Box::new(taken))]
                }
                _ => vec![],
            }),
        ),
        (
            "something else",
            Box::new(move |question| match question {
                Question::Take(_) => vec![Answer::End],
                _ => vec![],
            }),
        ),
    ];
    for (lie, answers) in lies {
        let exceptions = taken(answers);
        assert_eq!(exceptions.len(), 1, "{lie}: {exceptions:?}");
        assert_eq!(exceptions[0].0, ExceptionKind::Error, "{lie}");
    }
    let refused = taken(|_| vec![Answer::Refused(ExceptionKind::Denied, "not for you".into())]);
    assert_eq!(refused, [(ExceptionKind::Denied, "not for you".to_owned())]);
}

/// Nobody else knows what a file hashes to there; but what does not fit is no hash.
#[test]
fn a_verification_takes_no_more_of_a_helper_than_a_pass_does() {
    let world = World::new();
    let hash = |of: &[u8]| FileHash(*blake3::hash(of).as_bytes());
    let told = hash(b"told");
    let honest = move |question: &Question| match question {
        Question::Take(_) => vec![Answer::Hole(100), end(100, Some(told))],
        _ => vec![],
    };
    let snapshot = pass(&world, &of_one_file(honest).source(Path::new("/"))).unwrap().snapshot;
    let verdict = |here: Here| {
        let (source, cancel) = (here.source(Path::new("/")), Cancel::new());
        let (reader, what) = (&mut world.reader(), Compared::Target);
        compare_tree(reader, snapshot, &source, what, &Silent, &cancel).unwrap().0.verdict
    };
    assert_eq!(verdict(of_one_file(honest)), Verdict::Verified);
    let cut = Cut { len: 8 << 20, hash: [7; 32] };
    let lies: Vec<(Verdict, Vec<Answer>)> = vec![
        (Verdict::Failed, vec![Answer::Hole(100), end(100, Some(hash(b"other")))]),
        (Verdict::Failed, vec![Answer::Hole(99), end(99, Some(told))]),
        (Verdict::Failed, vec![Answer::Whole(vec![7; 100]), end(100, Some(told))]),
        (Verdict::Incomplete, vec![Answer::Hole(99), end(100, Some(told))]),
        (Verdict::Incomplete, vec![Answer::Hole(100), end(100, None)]),
        (Verdict::Incomplete, vec![Answer::Hole(0), end(100, Some(told))]),
        (
            Verdict::Incomplete,
            vec![Answer::Hole(u64::MAX), Answer::Hole(101), end(100, Some(told))],
        ),
        (Verdict::Incomplete, vec![Answer::Whole(vec![7; 100]), Answer::Again, end(0, None)]),
        (Verdict::Incomplete, vec![Answer::Cuts(vec![cut; 1000])]),
        (Verdict::Incomplete, vec![Answer::Bytes(vec![7; 100]), end(100, Some(told))]),
        (Verdict::Incomplete, vec![Answer::Refused(ExceptionKind::Denied, "no".into())]),
    ];
    for (expected, answers) in lies {
        let shown = format!("{answers:?}");
        let here = of_one_file(move |question| match question {
            Question::Take(_) => answers.clone(),
            _ => vec![],
        });
        assert_eq!(verdict(here), expected, "{shown}");
    }
}

#[test]
fn an_inventory_takes_no_places_that_it_did_not_ask_for() {
    let look = |answer: Answer| {
        let source = of_one_file(move |_| vec![answer.clone()]).source(Path::new("/"));
        let options = InventoryOptions { parallel: 1, ..InventoryOptions::default() };
        inventory(&source, None, &|| None, &options, &Silent, &Cancel::new()).unwrap().report
    };
    let found = look(Answer::Parts(vec![b"letter ".repeat(20)[..100].to_vec()]));
    assert!(found.exceptions.is_empty(), "{:?}", found.exceptions);
    assert_eq!(found.types[0].files, 1);
    for lie in [
        Answer::Parts(vec![vec![7; 101]]),
        Answer::Parts(vec![vec![7; 50], vec![7; 50]]),
        Answer::Parts(vec![]),
        Answer::Bytes(vec![7; 100]),
        Answer::Refused(ExceptionKind::Denied, "no".into()),
    ] {
        let shown = format!("{lie:?}");
        assert_eq!(look(lie).exceptions.len(), 1, "{shown}");
    }
}

#[test]
fn a_helper_that_lies_about_a_tree_leaves_the_rest_unknown() {
    let walk = |names: &'static [&'static str]| {
        let here = lying(move |_| events(names));
        here.source(Path::new("/")).walk(&WalkOptions::default()).unwrap().collect::<Vec<_>>()
    };
    assert!(walk(&["a", "b"]).iter().all(|event| matches!(event, WalkEvent::Entry(_))));
    for names in [&["b", "a"][..], &["a", "a"], &["a", "a/b", "a"]] {
        let events = walk(names);
        assert!(matches!(events.last(), Some(WalkEvent::Problem { path, .. }) if path.is_root()));
    }
    // What is no message at all.
    let here = Here::with(|mut socket: UnixStream| {
        socket.write_all(GREETING.as_bytes()).unwrap();
        Question::read(&mut socket).unwrap();
        let _ = socket.write_all(&[0xff; 4096]);
    });
    let opened = HelperSource::open(Box::new(here), b"/".to_vec(), "sftp://server/", "server");
    let error = opened.err().unwrap().to_string();
    assert!(error.contains("no message"), "{error}");
}
