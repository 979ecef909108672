//! Helpers, each with a connection of its own, each used by one thread at a time.

use std::{
    collections::VecDeque,
    io::{self, BufReader, Write},
    ops::Range,
    sync::Arc,
};

use drover_types::{Entry, RelativePath};

use super::{
    TRIES,
    launch::{Launch, LaunchError, Stream},
    message::{Answer, Question, RootError},
};
use crate::{
    ReadError, SourceDescription, pool,
    taker::{Cutter, Piece, TakeError, Taker, Wish},
};

/// At most this many helpers at a time.
const LANES: usize = 32;
/// Bytes of questions that may be on their way: whoever answers is never kept from listening.
const AHEAD: usize = 64 << 10;
/// Bytes that are asked of the stream at a time.
const BUFFER: usize = 256 << 10;

/// A helper, and what is said to it.
pub(super) struct Lane {
    stream: BufReader<Box<dyn Stream>>,
    /// What was not sent yet.
    out: Vec<u8>,
}

impl Lane {
    pub(super) fn ask(&mut self, question: &Question) -> io::Result<()> {
        question.write(&mut self.out)
    }

    pub(super) fn answer(&mut self) -> io::Result<Answer> {
        self.flush()?;
        Answer::read(&mut self.stream)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            let stream = self.stream.get_mut();
            stream.write_all(&self.out)?;
            stream.flush()?;
            self.out.clear();
        }
        Ok(())
    }
}

/// The helpers of one source.
pub(super) struct Pool {
    launch: Box<dyn Launch>,
    root: Vec<u8>,
    lanes: Arc<pool::Pool<Lane>>,
}

/// A lane that goes back into the pool when it is dropped, unless it was given up.
pub(super) struct Lease(pool::Lease<Lane>);

impl Pool {
    /// A pool with its first helper, which has opened the root.
    pub(super) fn open(
        launch: Box<dyn Launch>,
        root: Vec<u8>,
    ) -> Result<(Arc<Self>, SourceDescription), LaunchError> {
        let (lane, mut description) = open(&*launch, &root)?;
        description.connection = launch.connection();
        let lanes = pool::Pool::new(lane, LANES);
        Ok((Arc::new(Self { launch, root, lanes }), description))
    }

    /// A helper; waits for one where all are in use. Nobody takes two at a time but a walk beside
    /// what it is walked for.
    pub(super) fn take(&self) -> Result<Lease, LaunchError> {
        let one = || open(&*self.launch, &self.root).map(|(lane, _)| lane);
        // They ran before: what fails now is most likely the way there, once more.
        let make = || {
            (1..TRIES).fold(one(), |launched, _| match launched {
                Err(LaunchError::Helper(_)) => one(),
                launched => launched,
            })
        };
        self.lanes.take(make, |why| LaunchError::Helper(why.to_owned())).map(Lease)
    }
}

/// A new helper, which has opened the root.
fn open(launch: &dyn Launch, root: &[u8]) -> Result<(Lane, SourceDescription), LaunchError> {
    let stream = BufReader::with_capacity(BUFFER, launch.launch()?);
    let mut lane = Lane { stream, out: Vec::with_capacity(AHEAD) };
    let answer = lane.ask(&Question::Root(root.to_vec())).and_then(|()| lane.answer());
    match answer.map_err(|error| LaunchError::Helper(error.to_string()))? {
        Answer::Ready(description) => Ok((lane, description)),
        Answer::Failed(kind, message) => Err(LaunchError::Root { kind, message }),
        _ => Err(LaunchError::Helper(out_of_turn())),
    }
}

impl Lease {
    fn lane(&mut self) -> &mut Lane {
        self.0.get()
    }

    pub(super) fn ask(&mut self, question: &Question) -> io::Result<()> {
        self.lane().ask(question)
    }

    pub(super) fn answer(&mut self) -> io::Result<Answer> {
        self.lane().answer()
    }

    /// Gives up a helper that is of no use any more: its stream is cut, and none goes back.
    pub(super) fn give_up(&mut self) {
        if let Some(lane) = self.0.give_up() {
            lane.stream.get_ref().cut();
        }
    }
}

/// Takes files from one helper, which is asked for once there is something to take.
pub(super) struct LaneTaker {
    pool: Arc<Pool>,
    cutter: Cutter,
    lease: Option<Lease>,
    /// Announced and not asked for yet.
    wishes: VecDeque<Question>,
    /// Asked for and not taken yet.
    asked: VecDeque<Asked>,
    /// Bytes of those.
    ahead: usize,
    /// What is being taken.
    path: RelativePath,
    /// Its answers are not all here: with them a helper is of no use to anyone else.
    under_way: bool,
}

struct Asked {
    path: RelativePath,
    /// Bytes of the question.
    len: usize,
    /// Where only places of the file are wanted: which.
    parts: Vec<Range<u64>>,
}

impl LaneTaker {
    pub(super) fn new(pool: Arc<Pool>, cutter: Cutter) -> Self {
        Self {
            pool,
            cutter,
            lease: None,
            wishes: VecDeque::new(),
            asked: VecDeque::new(),
            ahead: 0,
            path: RelativePath::root(),
            under_way: false,
        }
    }

    fn lease(&mut self) -> io::Result<&mut Lease> {
        match &mut self.lease {
            Some(lease) => Ok(lease),
            none => {
                let mut lease = self.pool.take().map_err(io::Error::other)?;
                lease.ask(&Question::Cutter(self.cutter.clone()))?;
                Ok(none.insert(lease))
            }
        }
    }

    /// Asks for what was announced, as far as there is room.
    fn pump(&mut self) -> io::Result<()> {
        while self.ahead < AHEAD
            && let Some(wish) = self.wishes.pop_front()
        {
            let lease = self.lease()?;
            let before = lease.lane().out.len();
            lease.ask(&wish)?;
            let len = lease.lane().out.len() - before;
            let (path, parts) = match wish {
                Question::Parts(path, parts) => (path, parts),
                Question::Take(path) | Question::Complete(path, _) => (path, Vec::new()),
                _ => continue,
            };
            self.asked.push_back(Asked { path, len, parts });
            self.ahead += len;
        }
        match &mut self.lease {
            Some(lease) => lease.lane().flush(),
            None => Ok(()),
        }
    }

    /// Begins with what was announced as `path`; which of its places were asked for.
    fn next(&mut self, path: &RelativePath) -> Result<Vec<Range<u64>>, TakeError> {
        self.pump().map_err(broken)?;
        match self.asked.pop_front() {
            Some(asked) if asked.path == *path => {
                self.ahead -= asked.len;
                self.path = asked.path;
                self.under_way = true;
                Ok(asked.parts)
            }
            _ => Err(TakeError::Broken("it was not announced in this order".into())),
        }
    }

    fn answer(&mut self) -> Result<Answer, TakeError> {
        match self.lease().and_then(Lease::answer).map_err(broken)? {
            Answer::Refused(kind, message) => {
                self.ended();
                Err(TakeError::Entry(refused(&self.path, kind, message)))
            }
            answer => Ok(answer),
        }
    }

    /// All that is said of what was begun was said. Where nothing else is to come, the helper is of use to
    /// others.
    fn ended(&mut self) {
        self.under_way = false;
        if self.asked.is_empty() && self.wishes.is_empty() {
            self.lease = None;
        }
    }
}

impl Taker for LaneTaker {
    fn announce(&mut self, wishes: &[Wish]) -> Result<(), TakeError> {
        self.wishes.extend(wishes.iter().cloned().map(|wish| match wish {
            Wish::File { path, .. } => Question::Take(path),
            Wish::Rest(path, kind) => Question::Complete(path, kind),
            Wish::Parts(path, parts) => Question::Parts(path, parts),
        }));
        self.pump().map_err(broken)
    }

    fn begin(&mut self, path: &RelativePath) -> Result<(), TakeError> {
        self.next(path).map(drop)
    }

    fn piece(&mut self) -> Result<Piece, TakeError> {
        Ok(match self.answer()? {
            Answer::Whole(bytes) => Piece::Whole(bytes),
            Answer::Hole(len) => Piece::Hole(len),
            Answer::Cuts(cuts) => Piece::Cuts(cuts),
            Answer::Again => Piece::Again,
            Answer::Taken(taken) => {
                self.ended();
                Piece::End(taken)
            }
            _ => return Err(TakeError::Broken(out_of_turn())),
        })
    }

    fn want(&mut self, wanted: &[bool]) -> Result<(), TakeError> {
        let want = Question::Want(wanted.to_vec());
        self.lease().and_then(|lease| lease.ask(&want)).map_err(broken)
    }

    fn chunk(&mut self, len: u32, buffer: &mut Vec<u8>) -> Result<(), TakeError> {
        match self.answer()? {
            Answer::Bytes(bytes) if bytes.len() == len as usize => {
                buffer.extend_from_slice(&bytes);
                Ok(())
            }
            _ => Err(TakeError::Broken(out_of_turn())),
        }
    }

    fn complete(&mut self, entry: &mut Entry) -> Result<(), TakeError> {
        self.next(&entry.path)?;
        let answer = self.answer()?;
        rest(entry, answer).map_err(TakeError::Broken)?;
        self.ended();
        Ok(())
    }

    fn parts(&mut self, path: &RelativePath) -> Result<Option<Vec<Vec<u8>>>, TakeError> {
        let asked = self.next(path)?;
        let fits =
            |(part, asked): (&Vec<u8>, &Range<u64>)| part.len() as u64 <= asked.end - asked.start;
        match self.answer()? {
            Answer::Parts(parts)
                if parts.len() == asked.len() && parts.iter().zip(&asked).all(fits) =>
            {
                self.ended();
                Ok(Some(parts))
            }
            _ => Err(TakeError::Broken(out_of_turn())),
        }
    }
}

impl Drop for LaneTaker {
    fn drop(&mut self) {
        if (self.under_way || !self.asked.is_empty())
            && let Some(lease) = &mut self.lease
        {
            lease.give_up();
        }
    }
}

/// Fills what a walk leaves out of an entry that is no file.
pub(super) fn rest(entry: &mut Entry, answer: Answer) -> Result<(), String> {
    match answer {
        Answer::Rest { kind, attributes } if kind.same_sort(&entry.kind) => {
            entry.kind = kind;
            entry.attributes.flags = attributes.flags;
            entry.attributes.xattrs = attributes.xattrs;
            Ok(())
        }
        _ => Err(out_of_turn()),
    }
}

pub(super) fn refused(
    path: &RelativePath,
    kind: drover_types::ExceptionKind,
    message: String,
) -> ReadError {
    ReadError { kind, ..ReadError::other(path, message) }
}

fn broken(error: io::Error) -> TakeError {
    TakeError::Broken(error.to_string())
}

pub(super) fn out_of_turn() -> String {
    "the helper answers what it was not asked".to_owned()
}

impl RootError {
    /// The error of a source with this root.
    pub(super) fn source(self, root: &str, message: String) -> crate::SourceError {
        use crate::SourceError;
        match self {
            Self::NotFound => SourceError::NotFound(root.into()),
            Self::NotADirectory => SourceError::NotADirectory(root.into()),
            Self::Denied => SourceError::Denied(root.into()),
            Self::Other => SourceError::Io { path: root.into(), source: io::Error::other(message) },
        }
    }
}
