//! Taking files from a source over a network.
//!
//! What a batch needs is announced at its beginning and taken in its order. Where the way to the
//! source breaks, what was not taken yet is announced to a new taker.

use std::collections::VecDeque;

use drover_chunk::{Chunker, FileHasher};
use drover_crypt::domain::DomainKeys;
use drover_source::{Cutter, Piece, ReadError, Source, Stat, TakeError, Taker, Wish};
use drover_types::{Counter, Entry, FileHash, Observer, RelativePath};

use crate::{Cancel, sync::window::WINDOW};

/// A helper's answers that do not fit each other.
pub(crate) const INCONSISTENT: &str = "what the helper sends does not fit what it tells";
/// How often the way to the source may break before an entry counts as unreadable.
const TRIES: usize = 4;

/// A file that was hashed where it lies, or as it came.
pub(crate) struct Hashed {
    pub(crate) size: u64,
    pub(crate) hash: FileHash,
    pub(crate) stat: Stat,
}

/// Takes what a worker's batches need.
pub(crate) struct Taking<'s> {
    source: &'s dyn Source,
    cutter: Cutter,
    taker: Option<Box<dyn Taker>>,
    /// Announced and not taken yet.
    ahead: VecDeque<Wish>,
}

impl<'s> Taking<'s> {
    /// For a pass, which cuts as its domain does. `None` where the source is one that is read file by
    /// file.
    pub(crate) fn cutting(
        source: &'s dyn Source,
        keys: &DomainKeys,
        chunker: &Chunker,
    ) -> Option<Self> {
        let sizes = chunker.sizes();
        let sizes = [sizes.min(), sizes.average(), sizes.max()].map(|size| size as u32);
        Self::new(source, Cutter { sizes, gear: keys.gear_table() })
    }

    /// For who wants no chunks.
    pub(crate) fn reading(source: &'s dyn Source) -> Option<Self> {
        Self::new(source, Cutter::coarse())
    }

    fn new(source: &'s dyn Source, cutter: Cutter) -> Option<Self> {
        let taker = Some(source.taker(&cutter)?);
        Some(Self { source, cutter, taker, ahead: VecDeque::new() })
    }

    /// Says what will be taken.
    pub(crate) fn announce(&mut self, wishes: Vec<Wish>) {
        if let Some(taker) = &mut self.taker
            && taker.announce(&wishes).is_err()
        {
            self.taker = None;
        }
        self.ahead.extend(wishes);
    }

    /// Takes the file at `path` by what `take` does with a taker that has begun it.
    pub(crate) fn file<T, E: From<ReadError>>(
        &mut self,
        path: &RelativePath,
        mut take: impl FnMut(&mut dyn Taker) -> Result<T, Broken<E>>,
    ) -> Result<T, E> {
        self.next(path, |taker| {
            taker.begin(path)?;
            take(taker)
        })
    }

    /// Hashes the file at `path`; none of its chunks is sent where its source hashes them. `reached` is
    /// told how far it is, in bytes. `None` where it is to be read.
    pub(crate) fn hash(
        &mut self,
        path: &RelativePath,
        observer: &dyn Observer,
        cancel: &Cancel,
        mut reached: impl FnMut(u64),
    ) -> Result<Option<Hashed>, ReadError> {
        let other = |why: &str| Broken::Not(ReadError::other(path, why));
        self.file(path, |taker| {
            let (mut size, mut whole) = (0u64, None);
            loop {
                if cancel.is_set() {
                    return Err(other("nobody wants it any more"));
                }
                let came = match taker.piece()? {
                    Piece::Whole(bytes) => {
                        let mut hasher = FileHasher::new();
                        hasher.update(&bytes);
                        whole = Some(hasher.finalize());
                        observer.add(Counter::BytesRead, bytes.len() as u64);
                        bytes.len() as u64
                    }
                    Piece::Hole(0) => return Err(nonsense()),
                    Piece::Hole(len) => len,
                    Piece::Cuts(cuts) => {
                        let len = cuts.iter().map(|cut| u64::from(cut.len)).sum();
                        if len > WINDOW as u64 {
                            return Err(nonsense());
                        }
                        taker.want(&vec![false; cuts.len()])?;
                        observer.add(Counter::BytesRead, len);
                        len
                    }
                    Piece::Again => {
                        (size, whole) = (0, None);
                        continue;
                    }
                    Piece::Alone => return Ok(None),
                    Piece::End(taken) => {
                        let hash = whole.or(taken.hash).filter(|_| taken.size == size);
                        let hash = hash.ok_or_else(|| other(INCONSISTENT))?;
                        return Ok(Some(Hashed { size, hash, stat: taken.stat }));
                    }
                };
                size = size.saturating_add(came);
                reached(size);
            }
        })
    }

    /// The places of the file at `path` that were announced: [`Taker::parts`].
    pub(crate) fn parts(&mut self, path: &RelativePath) -> Result<Option<Vec<Vec<u8>>>, ReadError> {
        self.next(path, |taker| Ok(taker.parts(path)?))
    }

    /// Fills what the walk left out of an entry that is no file.
    pub(crate) fn complete(&mut self, entry: &mut Entry) -> Result<(), ReadError> {
        let path = entry.path.clone();
        self.next(&path, |taker| Ok(taker.complete(entry)?))
    }

    fn next<T, E: From<ReadError>>(
        &mut self,
        path: &RelativePath,
        mut take: impl FnMut(&mut dyn Taker) -> Result<T, Broken<E>>,
    ) -> Result<T, E> {
        debug_assert!(self.ahead.front().is_some_and(|wish| wish.path() == path));
        let mut tries = 0;
        let result = loop {
            let result = match self.taker() {
                Ok(taker) => take(taker),
                Err(error) => Err(error.into()),
            };
            match result {
                Ok(taken) => break Ok(taken),
                Err(Broken::Not(error)) => break Err(error),
                Err(Broken::Way(why)) => {
                    self.taker = None;
                    tries += 1;
                    if tries == TRIES {
                        break Err(ReadError::other(path, why).into());
                    }
                }
            }
        };
        self.ahead.pop_front();
        result
    }

    fn taker(&mut self) -> Result<&mut dyn Taker, TakeError> {
        if self.taker.is_none() {
            let Some(mut taker) = self.source.taker(&self.cutter) else {
                return Err(TakeError::Broken("the source takes no files any more".to_owned()));
            };
            taker.announce(self.ahead.make_contiguous())?;
            self.taker = Some(taker);
        }
        match &mut self.taker {
            Some(taker) => Ok(&mut **taker),
            None => unreachable!("it was made a line above"),
        }
    }
}

/// Whether it was the way to the source that broke.
pub(crate) enum Broken<E> {
    /// It was; the file may be taken another way.
    Way(String),
    /// It was not.
    Not(E),
}

impl<E: From<ReadError>> From<TakeError> for Broken<E> {
    fn from(error: TakeError) -> Self {
        match error {
            TakeError::Entry(error) => Self::Not(error.into()),
            TakeError::Broken(why) => Self::Way(why),
        }
    }
}

/// What came is not what was told of it: no answer of an honest helper.
pub(crate) fn nonsense<E>() -> Broken<E> {
    Broken::Way(INCONSISTENT.to_owned())
}
