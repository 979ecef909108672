//! A tree on another server, read by a helper there: this program itself, on the server's side of an
//! SSH connection, without a port and without a file left behind.
//!
//! What a walk on the spot sees comes over the connection, in order; files are cut and hashed where
//! they lie, and of their chunks only those are sent that are wanted ([`Taker`]). Several helpers run
//! side by side, each on a connection of its own, so that no message needs an address and whoever
//! reads too slowly is waited for by the connection itself. Where a connection breaks, its helper is
//! launched again: a walk goes on behind what it has told, a file from its beginning.
//!
//! The helper answers questions and changes nothing; `drover_ops::helper` is its side.

mod entry;
mod lane;
mod launch;
pub mod message;

use std::{io, ops::Range, sync::Arc, vec};

use drover_types::{Attributes, Entry, Exception, ExceptionKind, Kind, RelativePath};

use crate::{
    Loss, ReadError, Scope, Source, SourceDescription, SourceError, SourceFile, Stat, Walk,
    WalkEvent, WalkOptions,
    taker::{Cutter, Taker},
};
use lane::{LaneTaker, Lease, Pool, out_of_turn, refused, rest};
pub use launch::{Compress, GREETING, HelperProgram, Launch, LaunchError, SshLaunch, Stream};
use message::{Answer, Question, RootError};

/// How often something is begun again with a new helper.
const TRIES: usize = 4;

/// A directory of another server, read by a helper there.
pub struct HelperSource {
    pool: Arc<Pool>,
    description: SourceDescription,
}

impl HelperSource {
    /// Launches a helper, and has it open `root`. `url` is how snapshots and reports call the source,
    /// and `host` the server.
    pub fn open(
        launch: Box<dyn Launch>,
        root: Vec<u8>,
        url: &str,
        host: &str,
    ) -> Result<Self, OpenError> {
        let (pool, description) = Pool::open(launch, root).map_err(|error| match error {
            LaunchError::Root { kind, message } => OpenError::Source(kind.source(url, message)),
            error => OpenError::Launch(error),
        })?;
        let (root, host) = (url.as_bytes().into(), host.to_owned());
        Ok(Self { pool, description: SourceDescription { root, host, ..description } })
    }
}

/// Why a tree cannot be read by a helper.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The tree cannot be read, by whomever.
    #[error(transparent)]
    Source(SourceError),
    /// There is no helper; another way may do.
    #[error(transparent)]
    Launch(LaunchError),
}

fn failed(path: &RelativePath, error: impl ToString) -> ReadError {
    ReadError::new(path, io::Error::other(error.to_string()))
}

impl Source for HelperSource {
    fn description(&self) -> SourceDescription {
        self.description.clone()
    }

    fn walk(&self, options: &WalkOptions) -> Result<Walk, SourceError> {
        let question = Question::Walk {
            threads: options.threads as u64,
            one_file_system: options.one_file_system,
            buffer: options.buffer as u64,
        };
        let mut events = Events {
            pool: Arc::clone(&self.pool),
            question,
            lease: None,
            batch: Vec::new().into_iter(),
            last: None,
            counts: Vec::new(),
            breaks: 0,
            ended: false,
        };
        // Fails early where the root is not what it was.
        let shown = String::from_utf8_lossy(&self.description.root).into_owned();
        events.batch = events.first(&shown)?;
        Ok(Walk::new(events))
    }

    fn open(&self, path: &RelativePath) -> Result<Box<dyn SourceFile>, ReadError> {
        let mut file = HelperFile {
            pool: Arc::clone(&self.pool),
            path: path.clone(),
            lease: None,
            stat: None,
        };
        file.reopen()?;
        Ok(Box::new(file))
    }

    fn complete(&self, entry: &mut Entry) -> Result<(), ReadError> {
        let question = Question::Complete(entry.path.clone(), entry.kind.clone());
        let answer = ask(&self.pool, &entry.path, &question)?.0;
        rest(entry, answer).map_err(|error| failed(&entry.path, error))
    }

    fn losses(&self) -> &[Loss] {
        &[]
    }

    fn taker(&self, cutter: &Cutter) -> Option<Box<dyn Taker>> {
        Some(Box::new(LaneTaker::new(Arc::clone(&self.pool), cutter.clone())))
    }
}

/// Asks one question about one entry, of another helper where one broke.
fn ask(
    pool: &Arc<Pool>,
    path: &RelativePath,
    question: &Question,
) -> Result<(Answer, Lease), ReadError> {
    let mut tries = 0;
    loop {
        let mut lease = pool.take().map_err(|error| failed(path, error))?;
        tries += 1;
        match lease.ask(question).and_then(|()| lease.answer()) {
            Ok(Answer::Refused(kind, message)) => return Err(refused(path, kind, message)),
            Ok(answer) => return Ok((answer, lease)),
            Err(error) => {
                lease.give_up();
                if tries == TRIES {
                    return Err(failed(path, error));
                }
            }
        }
    }
}

/// Why a walk does not go on.
enum Why {
    /// Its root cannot be used.
    Root(RootError, String),
    /// Something else.
    Words(String),
}

/// The events of a walk.
struct Events {
    pool: Arc<Pool>,
    question: Question,
    lease: Option<Lease>,
    batch: vec::IntoIter<WalkEvent>,
    /// The path of what came last.
    last: Option<RelativePath>,
    /// How many names came of each directory that the walk is in.
    counts: Vec<usize>,
    /// How often a helper broke since something came.
    breaks: usize,
    ended: bool,
}

/// More names in one directory are no directory of files, but a server that makes them up.
const NAMES: usize = 4_000_000;

impl Events {
    /// The first batch, or why there is none.
    fn first(&mut self, url: &str) -> Result<vec::IntoIter<WalkEvent>, SourceError> {
        let failed = |why| SourceError::Io { path: url.into(), source: io::Error::other(why) };
        let batch = self.more().map_err(|why| match why {
            Why::Root(kind, message) => kind.source(url, message),
            Why::Words(why) => failed(why),
        })?;
        batch.ok_or_else(|| failed(out_of_turn()))
    }

    fn ask(&mut self) -> io::Result<Answer> {
        let lease = match &mut self.lease {
            Some(lease) => lease,
            None => {
                let mut lease = self.pool.take().map_err(io::Error::other)?;
                lease.ask(&self.question)?;
                self.lease.insert(lease)
            }
        };
        lease.answer()
    }

    /// More events; none at the end.
    fn more(&mut self) -> Result<Option<vec::IntoIter<WalkEvent>>, Why> {
        loop {
            let why = match self.ask() {
                Ok(Answer::Events(events)) => return Ok(Some(events.into_iter())),
                Ok(Answer::End) => {
                    // The helper is of use to others again.
                    self.lease = None;
                    return Ok(None);
                }
                Ok(Answer::Failed(kind, message)) => return Err(Why::Root(kind, message)),
                Ok(_) => out_of_turn(),
                Err(error) => error.to_string(),
            };
            self.give_up();
            self.breaks += 1;
            if self.breaks == TRIES {
                return Err(Why::Words(why));
            }
        }
    }

    fn give_up(&mut self) {
        if let Some(mut lease) = self.lease.take() {
            lease.give_up();
        }
    }

    /// Whether the event is the next in order. What was told before a helper broke comes again, and
    /// is passed over.
    fn is_next(&mut self, event: &WalkEvent) -> Result<bool, String> {
        let path = event.path();
        let Some(last) = &self.last else { return Ok(true) };
        match path.cmp(last) {
            std::cmp::Ordering::Greater => Ok(true),
            // A directory, and that it cannot be listed.
            std::cmp::Ordering::Equal if matches!(event, WalkEvent::Problem { .. }) => Ok(true),
            _ if self.breaks > 0 => Ok(false),
            _ => Err("the helper tells entries out of order".to_owned()),
        }
    }

    /// Counts the names of each directory that the walk is in.
    fn count(&mut self, path: &RelativePath) -> Result<(), String> {
        if path.is_root() {
            return Ok(());
        }
        let depth = 1 + path.as_bytes().iter().filter(|&&b| b == b'/').count();
        self.counts.resize(depth, 0);
        let count = &mut self.counts[depth - 1];
        *count += 1;
        match *count > NAMES {
            true => Err(format!("a directory of more than {NAMES} names")),
            false => Ok(()),
        }
    }

    /// What comes after `last` is not known: the root's content is not, as far as it did not come.
    fn unknown(&mut self, why: String) -> WalkEvent {
        self.give_up();
        self.ended = true;
        let path = RelativePath::root();
        let exception = Exception { path: path.clone(), kind: ExceptionKind::Error, message: why };
        WalkEvent::Problem { path, scope: Scope::Subtree, exception }
    }
}

impl Iterator for Events {
    type Item = WalkEvent;

    fn next(&mut self) -> Option<WalkEvent> {
        while !self.ended {
            let Some(event) = self.batch.next() else {
                match self.more() {
                    Ok(Some(batch)) => self.batch = batch,
                    Ok(None) => self.ended = true,
                    Err(Why::Root(_, why) | Why::Words(why)) => return Some(self.unknown(why)),
                }
                continue;
            };
            match self.is_next(&event) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(why) => return Some(self.unknown(why)),
            }
            let path = event.path().clone();
            if let Err(why) = self.count(&path) {
                return Some(self.unknown(why));
            }
            self.last = Some(path);
            self.breaks = 0;
            return Some(event);
        }
        None
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // Its helper is still telling.
        self.give_up();
    }
}

/// An open file, which a helper has open for this alone.
struct HelperFile {
    pool: Arc<Pool>,
    path: RelativePath,
    lease: Option<Lease>,
    /// What it was when it was last looked at.
    stat: Option<Stat>,
}

impl HelperFile {
    /// Opens it, again where a helper broke; it has to be the same file then.
    fn reopen(&mut self) -> Result<(), ReadError> {
        let (answer, lease) = ask(&self.pool, &self.path, &Question::Open(self.path.clone()))?;
        let Answer::Stat(stat) = answer else { return Err(failed(&self.path, out_of_turn())) };
        if let Some(before) = &self.stat
            && !(before.evidence.still_holds(&stat.evidence)
                && before.attributes.mtime == stat.attributes.mtime)
        {
            let message = "it changed while the connection to the server was lost";
            return Err(ReadError::changed(&self.path, message));
        }
        (self.lease, self.stat) = (Some(lease), Some(stat));
        Ok(())
    }

    fn ask(&mut self, question: &Question) -> Result<Answer, ReadError> {
        let mut last = None;
        for _ in 0..TRIES {
            let Some(lease) = &mut self.lease else {
                self.reopen()?;
                continue;
            };
            match lease.ask(question).and_then(|()| lease.answer()) {
                Ok(Answer::Refused(kind, message)) => {
                    return Err(refused(&self.path, kind, message));
                }
                Ok(answer) => return Ok(answer),
                Err(error) => last = Some(error),
            }
            lease.give_up();
            self.lease = None;
        }
        Err(failed(&self.path, last.map_or_else(out_of_turn, |error| error.to_string())))
    }
}

impl SourceFile for HelperFile {
    fn stat(&mut self) -> Result<Stat, ReadError> {
        let Answer::Stat(stat) = self.ask(&Question::Stat)? else {
            return Err(failed(&self.path, out_of_turn()));
        };
        if stat.kind != Kind::File {
            return Err(ReadError::changed(&self.path, "it is no regular file any more"));
        }
        self.stat = Some(stat.clone());
        Ok(stat)
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let Answer::Bytes(bytes) =
            self.ask(&Question::Read { offset, len: buffer.len() as u64 })?
        else {
            return Err(failed(&self.path, out_of_turn()));
        };
        match buffer.get_mut(..bytes.len()) {
            Some(room) => room.copy_from_slice(&bytes),
            None => return Err(failed(&self.path, out_of_turn())),
        }
        Ok(bytes.len())
    }

    fn next_data(&mut self, offset: u64) -> Result<Option<Range<u64>>, ReadError> {
        match self.ask(&Question::NextData(offset))? {
            Answer::Data(Some(run)) if run.start < offset => Err(failed(&self.path, out_of_turn())),
            Answer::Data(run) => Ok(run),
            _ => Err(failed(&self.path, out_of_turn())),
        }
    }

    fn complete(&mut self, attributes: &mut Attributes) -> Result<(), ReadError> {
        match self.ask(&Question::Rest)? {
            Answer::Rest { attributes: found, .. } => {
                attributes.flags = found.flags;
                attributes.xattrs = found.xattrs;
                Ok(())
            }
            _ => Err(failed(&self.path, out_of_turn())),
        }
    }
}
