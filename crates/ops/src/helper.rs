//! The side of a helper that is on the server: it answers questions about a tree, and changes nothing.
//!
//! Questions come on one stream and answers go on another, in the same order. What a file consists of
//! is computed here, so that only what is asked for is sent; a window is read and hashed while the one
//! before it waits for the answer which of its chunks are wanted.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    ops::Range,
    os::unix::ffi::OsStrExt,
    path::Path,
    thread::scope,
};

use crossbeam_channel::{Receiver, Sender, bounded};
use drover_chunk::{ChunkSizes, Chunker, FileHasher};
use drover_source::{
    Cut, Cutter, LocalSource, ReadError, Source, SourceError, SourceFile, Stat, Taken, WalkEvent,
    WalkOptions,
    helper::{
        GREETING,
        message::{Answer, EVENTS, Question, RootError},
    },
};
use drover_types::{Attributes, Entry, Evidence, Exception, FileHash, Kind, RelativePath, limits};
use rayon::prelude::*;

use crate::{
    sync::window::{Data, TRIES, Window, Windows, read_full, settled, torn},
    threads,
};

/// A file of at most so many bytes is sent without asking: it is one chunk, and the question would
/// take as long as the answer.
const WHOLE: u64 = 64 << 10;
/// Bytes of paths after which events of a walk are sent.
const PATHS: usize = 256 << 10;
/// Windows that are ready before they are asked for.
const READY: usize = 1;

/// Answers until nobody asks any more.
pub fn serve(questions: impl Read, answers: impl Write) -> io::Result<()> {
    let mut talk = Talk {
        questions: BufReader::with_capacity(64 << 10, questions),
        early: VecDeque::new(),
        answers: BufWriter::with_capacity(256 << 10, answers),
    };
    threads::start_shared().map_err(io::Error::other)?;
    talk.answers.write_all(GREETING.as_bytes())?;
    let Some(source) = talk.root()? else { return Ok(()) };
    let mut cutter = None;
    let mut buffer = Vec::new();
    let mut open: Option<Box<dyn SourceFile>> = None;
    while let Some(question) = talk.next()? {
        let answer = match question {
            Question::Root(_) | Question::Want(_) => return Err(out_of_turn()),
            Question::Walk { threads, one_file_system, buffer } => {
                let options = WalkOptions {
                    threads: threads.clamp(1, 16) as usize,
                    one_file_system,
                    buffer: buffer.clamp(512, 1 << 16) as usize,
                    enter: None,
                };
                match source.walk(&options) {
                    Ok(walk) => {
                        talk.walk(walk)?;
                        Answer::End
                    }
                    Err(error) => failed(&error),
                }
            }
            Question::Cutter(new) => {
                cutter = Some(chunker(&new)?);
                continue;
            }
            Question::Take(path) => {
                let chunker = cutter.as_ref().ok_or_else(out_of_turn)?;
                match talk.take(&source, &path, chunker, &mut buffer) {
                    Ok(taken) => Answer::Taken(Box::new(taken)),
                    Err(Stop::Entry(error)) => refused(error),
                    Err(Stop::Io(error)) => return Err(error),
                }
            }
            Question::Complete(path, kind) => complete(&source, path, kind),
            Question::Parts(path, places) => {
                parts(&source, &path, &places).map_or_else(refused, Answer::Parts)
            }
            Question::Open(path) => match source.open(&path) {
                Ok(file) => open.insert(file).stat().map_or_else(refused, Answer::Stat),
                Err(error) => refused(error),
            },
            Question::Stat | Question::Read { .. } | Question::NextData(_) | Question::Rest => {
                let file = open.as_mut().ok_or_else(out_of_turn)?;
                about(&mut **file, &question)
            }
        };
        answer.write(&mut talk.answers)?;
    }
    Ok(())
}

/// About the open file.
fn about(file: &mut dyn SourceFile, question: &Question) -> Answer {
    let answer = match question {
        Question::Stat => file.stat().map(Answer::Stat),
        Question::NextData(offset) => file.next_data(*offset).map(Answer::Data),
        Question::Read { offset, len } => {
            let mut bytes = vec![0; (*len).min(limits::CHUNK as u64) as usize];
            file.read_at(*offset, &mut bytes).map(|read| {
                bytes.truncate(read);
                Answer::Bytes(bytes)
            })
        }
        _ => {
            let mut attributes = Attributes::default();
            file.complete(&mut attributes).map(|()| Answer::Rest { kind: Kind::File, attributes })
        }
    };
    answer.unwrap_or_else(refused)
}

fn complete(source: &LocalSource, path: RelativePath, kind: Kind) -> Answer {
    let stat = Stat { kind, attributes: Attributes::default(), evidence: Evidence::default() };
    let mut entry: Entry = stat.into_entry(path);
    match source.complete(&mut entry) {
        Ok(()) => Answer::Rest { kind: entry.kind, attributes: entry.attributes },
        Err(error) => refused(error),
    }
}

/// What is at these places of a file.
fn parts(
    source: &LocalSource,
    path: &RelativePath,
    places: &[Range<u64>],
) -> Result<Vec<Vec<u8>>, ReadError> {
    let mut file = source.open(path)?;
    let one = |place: &Range<u64>| {
        let mut bytes = Vec::new();
        let len = (place.end - place.start) as usize;
        let came = read_full(&mut *file, place.start, &mut bytes, len)?;
        bytes.truncate(came);
        Ok(bytes)
    };
    places.iter().map(one).collect()
}

fn chunker(cutter: &Cutter) -> io::Result<Chunker> {
    let [min, average, max] = cutter.sizes.map(|size| size as usize);
    let sizes = ChunkSizes::new(min, average, max).map_err(io::Error::other)?;
    Ok(Chunker::new(&cutter.gear, sizes))
}

fn refused(error: ReadError) -> Answer {
    Answer::refused(Exception::from(error))
}

fn failed(error: &SourceError) -> Answer {
    let kind = match error {
        SourceError::NotFound(_) => RootError::NotFound,
        SourceError::NotADirectory(_) => RootError::NotADirectory,
        SourceError::Denied(_) => RootError::Denied,
        _ => RootError::Other,
    };
    Answer::Failed(kind, error.to_string())
}

fn out_of_turn() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a question out of turn")
}

/// Why a file was not taken.
enum Stop {
    /// For a reason of its own.
    Entry(ReadError),
    /// Nobody listens any more.
    Io(io::Error),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Entry(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A window that is read, cut and hashed.
enum Ready {
    Hole(u64),
    Cuts {
        data: Data,
        cuts: Vec<Cut>,
    },
    /// The end: size and hash, or none where the file became shorter.
    End(Option<(u64, FileHash)>),
}

/// Both streams.
struct Talk<R: Read, W: Write> {
    questions: BufReader<R>,
    /// Questions that came before an answer that was waited for.
    early: VecDeque<Question>,
    answers: BufWriter<W>,
}

impl<R: Read, W: Write> Talk<R, W> {
    /// The root that the first question names, once it is open.
    fn root(&mut self) -> io::Result<Option<LocalSource>> {
        let root = match self.next()? {
            Some(Question::Root(root)) => root,
            Some(_) => return Err(out_of_turn()),
            None => return Ok(None),
        };
        let source = LocalSource::open(Path::new(std::ffi::OsStr::from_bytes(&root)));
        match source {
            Ok(source) => {
                Answer::Ready(source.description()).write(&mut self.answers)?;
                Ok(Some(source))
            }
            Err(error) => {
                failed(&error).write(&mut self.answers)?;
                self.answers.flush()?;
                Ok(None)
            }
        }
    }

    /// The next question; what was answered is sent before it is waited for.
    fn next(&mut self) -> io::Result<Option<Question>> {
        match self.early.pop_front() {
            Some(question) => Ok(Some(question)),
            None => self.hear(),
        }
    }

    fn hear(&mut self) -> io::Result<Option<Question>> {
        if self.questions.buffer().is_empty() {
            self.answers.flush()?;
            self.questions.fill_buf()?;
        }
        Question::read(&mut self.questions)
    }

    /// Which chunks are wanted. Questions about what comes later may come before.
    fn wanted(&mut self) -> io::Result<Vec<bool>> {
        self.answers.flush()?;
        loop {
            match self.hear()? {
                Some(Question::Want(wanted)) => return Ok(wanted),
                Some(question) => self.early.push_back(question),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    fn walk(&mut self, walk: impl Iterator<Item = WalkEvent>) -> io::Result<()> {
        let (mut batch, mut paths) = (Vec::new(), 0);
        for event in walk {
            paths += event.path().as_bytes().len();
            batch.push(event);
            if batch.len() == EVENTS || paths >= PATHS {
                Answer::Events(std::mem::take(&mut batch)).write(&mut self.answers)?;
                paths = 0;
            }
        }
        match batch.is_empty() {
            true => Ok(()),
            false => Answer::Events(batch).write(&mut self.answers),
        }
    }

    /// Sends a file; it is begun again where it changes meanwhile, a few times.
    fn take(
        &mut self,
        source: &LocalSource,
        path: &RelativePath,
        chunker: &Chunker,
        buffer: &mut Vec<u8>,
    ) -> Result<Taken, Stop> {
        let mut file = source.open(path)?;
        for _ in 0..TRIES {
            let before = file.stat()?;
            let Evidence { size, allocated, .. } = before.evidence;
            if size <= WHOLE.min(chunker.sizes().min() as u64) && allocated >= size {
                let len = read_full(&mut *file, 0, buffer, size as usize + 1)?;
                if let Some(stat) = settled(&mut *file, before, len as u64)? {
                    Answer::write_whole(&buffer[..len], &mut self.answers)?;
                    return Ok(Taken { size: len as u64, hash: None, stat });
                }
            } else if let Some((size, hash)) = self.send(&mut *file, size, chunker)?
                && let Some(stat) = settled(&mut *file, before, size)?
            {
                return Ok(Taken { size, hash: Some(hash), stat });
            } else {
                Answer::Again.write(&mut self.answers)?;
            }
        }
        Err(torn(path).into())
    }

    /// Sends what a file consists of; `None` where it became shorter.
    fn send(
        &mut self,
        file: &mut dyn SourceFile,
        size: u64,
        chunker: &Chunker,
    ) -> Result<Option<(u64, FileHash)>, Stop> {
        scope(|scope| {
            let (ready, windows) = bounded(READY);
            let (give_back, buffers) = bounded(READY + 2);
            let reading =
                threads::spawn(scope, move || read(file, size, chunker, &ready, &buffers))
                    .map_err(io::Error::other)?;
            let sent = self.tell(&windows, &give_back);
            // Whoever reads stops when nobody takes it.
            drop(windows);
            let read = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match (sent, read) {
                (Err(error), _) => Err(error.into()),
                (_, Err(error)) => Err(error.into()),
                (Ok(end), Ok(())) => Ok(end),
            }
        })
    }

    /// Tells windows as they come, and sends of each what is wanted.
    fn tell(
        &mut self,
        windows: &Receiver<Ready>,
        give_back: &Sender<Data>,
    ) -> io::Result<Option<(u64, FileHash)>> {
        for window in windows {
            match window {
                Ready::Hole(len) => Answer::Hole(len).write(&mut self.answers)?,
                Ready::End(end) => return Ok(end),
                Ready::Cuts { data, cuts } => {
                    let lens: Vec<_> = cuts.iter().map(|cut| cut.len as usize).collect();
                    Answer::Cuts(cuts).write(&mut self.answers)?;
                    let wanted = self.wanted()?;
                    if wanted.len() != lens.len() {
                        return Err(out_of_turn());
                    }
                    let mut rest = data.bytes();
                    for (len, wanted) in lens.into_iter().zip(wanted) {
                        let (chunk, after) = rest.split_at(len);
                        if wanted {
                            Answer::write_bytes(chunk, &mut self.answers)?;
                        }
                        rest = after;
                    }
                    // Nobody may be waiting for it any more.
                    let _ = give_back.send(data);
                }
            }
        }
        // Whoever reads met an error, which says more.
        Ok(None)
    }
}

/// Reads, cuts and hashes a file, a window ahead of what is told.
fn read(
    file: &mut dyn SourceFile,
    size: u64,
    chunker: &Chunker,
    ready: &Sender<Ready>,
    buffers: &Receiver<Data>,
) -> Result<(), ReadError> {
    let mut spare = Vec::new();
    let mut windows = Windows::new(chunker, &mut spare, size, 0);
    let mut hasher = FileHasher::new();
    loop {
        buffers.try_iter().for_each(|data| windows.give_back(data));
        let window = match windows.next(file)? {
            Window::Hole(hole) => {
                let len = hole.end - hole.start;
                hasher.update_zeros(len);
                Ready::Hole(len)
            }
            Window::Data(data) => {
                let bytes = data.bytes();
                let hash = |cut: &Range<usize>| Cut {
                    len: cut.len() as u32,
                    hash: *blake3::hash(&bytes[cut.clone()]).as_bytes(),
                };
                let ((), cuts) = rayon::join(
                    || hasher.update(bytes),
                    || data.cuts.par_iter().map(hash).collect::<Vec<_>>(),
                );
                Ready::Cuts { data, cuts }
            }
            Window::Shorter => Ready::End(None),
            Window::End => Ready::End(Some((hasher.len(), hasher.finalize()))),
        };
        let ended = matches!(window, Ready::End(_));
        if ready.send(window).is_err() || ended {
            return Ok(());
        }
    }
}
