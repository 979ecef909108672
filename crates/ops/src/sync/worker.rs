//! What a worker does with a step: from a step to a finished entry.

use drover_crypt::domain::DomainKeys;
use drover_repo::{record, state::TapeRecord};
use drover_types::{Counter, Entry, Exception, ExceptionKind, codec::Encoder};

use super::{
    reader::{Buffers, ReadContext, ReadFailure},
    steps::Step,
};
use crate::Error;

/// How an entry differs from the last manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    New,
    Changed,
    Metadata,
    Unchanged,
}

/// A step that is done.
pub(crate) enum Done {
    /// An entry of the new manifest.
    Entry { record: Box<TapeRecord>, class: Class, exception: Option<Exception> },
    /// A further name of a file, whose content is that of its first name.
    Link { entry: Box<Entry>, parent: Option<Box<TapeRecord>> },
    /// No entry of the new manifest.
    Absent { exception: Option<Exception>, removed: bool },
    /// In the last manifest, and left out by a rule now.
    Excluded,
}

/// Does one step.
pub(crate) fn work(
    step: Step,
    context: &ReadContext<'_>,
    keys: &DomainKeys,
    buffers: &mut Buffers<'_>,
) -> Result<Done, Error> {
    let size = step.size();
    buffers.told = 0;
    let done = match step {
        Step::Keep(record) => Done::Entry { record, class: Class::Unchanged, exception: None },
        Step::Take { record, parent } => {
            let class = classify(&record, parent.as_deref());
            Done::Entry { record, class, exception: None }
        }
        Step::Read { entry, parent } => {
            let result = context.take(*entry, buffers);
            finished(result, parent, keys)?
        }
        Step::Complete { mut entry, parent } => {
            let completed = match &mut buffers.taking {
                Some(taking) => taking.complete(&mut entry),
                None => context.source.complete(&mut entry),
            };
            let result = match completed {
                Ok(()) => Ok(*entry),
                Err(error) => Err(ReadFailure::Exception(error.into())),
            };
            finished(result, parent, keys)?
        }
        Step::Refresh { mut entry, parent } => {
            entry.attributes.xattrs = parent.entry.attributes.xattrs.clone();
            entry.attributes.flags = parent.entry.attributes.flags;
            entry.kind = parent.entry.kind.clone();
            entry.content = parent.entry.content.clone();
            finished(Ok(*entry), Some(parent), keys)?
        }
        Step::Link { entry, parent } => Done::Link { entry, parent },
        Step::Stale { record, exception } => carried(record, exception, keys),
        Step::Lost { exception, removed } => Done::Absent { exception: Some(exception), removed },
        Step::Excluded => Done::Excluded,
        Step::Removed => Done::Absent { exception: None, removed: true },
    };
    // Of a file that could not be taken nothing is left to do either.
    context.observer.add(Counter::BytesDone, size.saturating_sub(buffers.told));
    Ok(done)
}

fn finished(
    result: Result<Entry, ReadFailure>,
    parent: Option<Box<TapeRecord>>,
    keys: &DomainKeys,
) -> Result<Done, Error> {
    match result {
        Ok(entry) => Ok(entry_done(entry, parent.as_deref(), keys)),
        Err(ReadFailure::Fatal(error)) => Err(error),
        Err(ReadFailure::Exception(exception)) => Ok(failed(exception, parent, keys)),
    }
}

/// An entry that was taken.
pub(crate) fn entry_done(entry: Entry, parent: Option<&TapeRecord>, keys: &DomainKeys) -> Done {
    let record = Box::new(encode(entry, keys));
    let class = classify(&record, parent);
    Done::Entry { record, class, exception: None }
}

/// An entry that could not be taken: its previous leaf is carried over, unless it is gone.
pub(crate) fn failed(
    exception: Exception,
    parent: Option<Box<TapeRecord>>,
    keys: &DomainKeys,
) -> Done {
    match parent {
        Some(record) if exception.kind != ExceptionKind::Vanished => {
            carried(record, Some(exception), keys)
        }
        parent => Done::Absent { removed: parent.is_some(), exception: Some(exception) },
    }
}

fn carried(record: Box<TapeRecord>, exception: Option<Exception>, keys: &DomainKeys) -> Done {
    let mut record = *record;
    if !record.entry.stale {
        record.entry.stale = true;
        record = encode(record.entry, keys);
    }
    Done::Entry { record: Box::new(record), class: Class::Unchanged, exception }
}

fn encode(entry: Entry, keys: &DomainKeys) -> TapeRecord {
    let (mut leaf, mut side) = (Encoder::new(), Encoder::new());
    record::encode_leaf(&entry, &mut leaf);
    record::encode_side(&entry, keys, &mut side);
    TapeRecord { entry, leaf: leaf.finish().into(), side: side.finish().into() }
}

fn classify(record: &TapeRecord, parent: Option<&TapeRecord>) -> Class {
    let Some(parent) = parent else { return Class::New };
    let (now, before) = (&record.entry, &parent.entry);
    let hash = |entry: &Entry| entry.content.as_ref().map(|content| content.hash);
    if record.leaf == parent.leaf {
        Class::Unchanged
    } else if hash(now) != hash(before) || now.kind != before.kind {
        Class::Changed
    } else {
        Class::Metadata
    }
}
