//! Taking files from a source over a network.
//!
//! What a batch needs is announced at its beginning and taken in its order. Where the way to the
//! source breaks, what was not taken yet is announced to a new taker.

use std::collections::VecDeque;

use drover_chunk::Chunker;
use drover_crypt::domain::DomainKeys;
use drover_source::{Cutter, ReadError, Source, TakeError, Taker, Wish};
use drover_types::{Entry, Kind};

use super::{reader::INCONSISTENT, steps::Step};

/// How often the way to the source may break before an entry counts as unreadable.
const TRIES: usize = 4;

/// Takes what a worker's batches need.
pub(crate) struct Taking<'s> {
    source: &'s dyn Source,
    cutter: Cutter,
    taker: Option<Box<dyn Taker>>,
    /// Announced and not taken yet.
    ahead: VecDeque<Wish>,
}

impl<'s> Taking<'s> {
    /// `None` where the source is one that is read file by file.
    pub(crate) fn new(
        source: &'s dyn Source,
        keys: &DomainKeys,
        chunker: &Chunker,
    ) -> Option<Self> {
        let sizes = chunker.sizes();
        let sizes = [sizes.min(), sizes.average(), sizes.max()].map(|size| size as u32);
        let cutter = Cutter { sizes, gear: keys.gear_table() };
        let taker = Some(source.taker(&cutter)?);
        Some(Self { source, cutter, taker, ahead: VecDeque::new() })
    }

    /// Says what `steps` will need.
    pub(crate) fn announce(&mut self, steps: &[Step]) {
        let wish = |step: &Step| match step {
            Step::Read { entry, .. } => {
                Some(Wish::File { path: entry.path.clone(), size: entry.evidence.size })
            }
            Step::Complete { entry, .. } => {
                Some(Wish::Rest(entry.path.clone(), entry.kind.clone()))
            }
            _ => None,
        };
        let wishes: Vec<Wish> = steps.iter().filter_map(wish).collect();
        self.ahead.extend(wishes.iter().cloned());
        if let Some(taker) = &mut self.taker
            && taker.announce(&wishes).is_err()
        {
            self.taker = None;
        }
    }

    /// Takes the file of `entry` by what `take` does with a taker that has begun it.
    pub(crate) fn file<T, E: From<ReadError>>(
        &mut self,
        entry: &Entry,
        mut take: impl FnMut(&mut dyn Taker) -> Result<T, Broken<E>>,
    ) -> Result<T, E> {
        self.next(entry, |taker| {
            taker.begin(&entry.path)?;
            take(taker)
        })
    }

    /// Fills what the walk left out of an entry that is no file.
    pub(crate) fn complete(&mut self, entry: &mut Entry) -> Result<(), ReadError> {
        let asked = entry.clone();
        self.next(&asked, |taker| Ok(taker.complete(entry)?))
    }

    fn next<T, E: From<ReadError>>(
        &mut self,
        entry: &Entry,
        mut take: impl FnMut(&mut dyn Taker) -> Result<T, Broken<E>>,
    ) -> Result<T, E> {
        debug_assert!(self.ahead.front().is_some_and(|wish| match wish {
            Wish::File { path, .. } => entry.kind == Kind::File && *path == entry.path,
            Wish::Rest(path, _) => *path == entry.path,
        }));
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
                        break Err(ReadError::other(&entry.path, why).into());
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
