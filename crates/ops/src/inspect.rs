//! Looking inside: entries of a snapshot, what differs between two, a file's bytes, the log.

use std::{collections::HashSet, io::Write};

use drover_chunk::Decompressor;
use drover_pack::FrameReader;
use drover_repo::{
    ChunkReader, Problem,
    log::{Action, StoredRecord},
    names, tree,
};
use drover_types::{ChunkKind, Entry, Extent, Kind, PackClass, RelativePath, SnapshotId, limits};

use crate::{
    Cancel, Error,
    compare::{Comparison, differences},
    merge::{Merged, merge},
    reading::ReaderSession,
};

/// Hands every entry of a snapshot at or below a path to `take`, in order. Without `recursive`
/// only what is directly in the directory, or the file itself.
pub fn list(
    session: &mut ReaderSession,
    snapshot: SnapshotId,
    below: &RelativePath,
    recursive: bool,
    take: &mut dyn FnMut(&Entry) -> Result<(), Error>,
) -> Result<(), Error> {
    let index = session.load_index()?;
    let session: &ReaderSession = session;
    let snapshot = session.snapshot(snapshot)?;
    let reader = session.chunks(&index);
    let depth = below.components().count();
    let mut found = false;
    for entry in session.tree(&reader, snapshot, below.clone())? {
        let entry = entry?;
        found = true;
        let itself = entry.path == *below;
        let level = entry.path.components().count() - depth;
        if (itself && entry.kind == Kind::Directory) || (!recursive && level > 1) {
            continue;
        }
        take(&entry)?;
    }
    if found { Ok(()) } else { Err(Error::NoSuchPath(below.to_string())) }
}

/// How an entry differs between two snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only the second has it.
    Added(Box<Entry>),
    /// Only the first has it.
    Removed(Box<Entry>),
    /// Another content or another kind.
    Changed(Box<Entry>, Box<Entry>),
    /// Other attributes: which, and both values.
    Metadata(Box<Entry>, Vec<String>),
}

impl Change {
    /// What changed.
    pub fn path(&self) -> &RelativePath {
        match self {
            Self::Added(entry) | Self::Removed(entry) | Self::Metadata(entry, _) => &entry.path,
            Self::Changed(_, after) => &after.path,
        }
    }
}

/// Hands every difference between two snapshots to `take`, in order.
pub fn diff(
    session: &mut ReaderSession,
    first: SnapshotId,
    second: SnapshotId,
    take: &mut dyn FnMut(Change) -> Result<(), Error>,
) -> Result<(), Error> {
    let index = session.load_index()?;
    let session: &ReaderSession = session;
    diff_by(session, &session.chunks(&index), first, second, take)
}

/// The same by a reader that may have read before, and may read again.
pub(crate) fn diff_by(
    session: &ReaderSession,
    reader: &ChunkReader<'_>,
    first: SnapshotId,
    second: SnapshotId,
    take: &mut dyn FnMut(Change) -> Result<(), Error>,
) -> Result<(), Error> {
    let open = |id: SnapshotId| -> Result<_, Error> {
        let snapshot = session.snapshot(id)?;
        let tree = session.tree(reader, snapshot, RelativePath::root())?;
        Ok(tree.map(|entry| entry.map_err(Error::from)))
    };
    for step in merge(open(first)?, open(second)?) {
        match step? {
            Merged::Left(entry) => take(Change::Removed(Box::new(entry)))?,
            Merged::Right(entry) => take(Change::Added(Box::new(entry)))?,
            Merged::Both(before, after) => {
                let hash = |entry: &Entry| entry.content.as_ref().map(|content| content.hash);
                if !before.kind.same_sort(&after.kind) || hash(&before) != hash(&after) {
                    take(Change::Changed(Box::new(before), Box::new(after)))?;
                    continue;
                }
                let how = Comparison { owners: true, extended: true };
                let fields: Vec<String> =
                    differences(&before, &after, how).iter().map(ToString::to_string).collect();
                if !fields.is_empty() {
                    take(Change::Metadata(Box::new(after), fields))?;
                }
            }
        }
    }
    Ok(())
}

/// Writes a file's bytes to `out`.
pub fn cat(
    session: &mut ReaderSession,
    snapshot: SnapshotId,
    path: &RelativePath,
    out: &mut dyn Write,
    cancel: &Cancel,
) -> Result<(), Error> {
    let index = session.load_index()?;
    let session: &ReaderSession = session;
    let snapshot = session.snapshot(snapshot)?;
    let reader = session.chunks(&index);
    let entry = session
        .tree(&reader, snapshot, path.clone())?
        .next()
        .ok_or_else(|| Error::NoSuchPath(path.to_string()))??;
    let Some(content) = &entry.content else {
        return Err(Error::NoSuchPath(format!("file {path}: it is a {}", entry.kind.as_str())));
    };
    let mut frames = FrameReader::new(Decompressor::new());
    let extents = tree::resolve(&reader, content, &mut frames)?;
    let zeros = vec![0; 64 << 10];
    for extent in extents.iter() {
        if cancel.is_set() {
            return Err(Error::Interrupted);
        }
        match extent {
            Extent::Chunk(chunk) => {
                reader
                    .read(chunk, ChunkKind::Data, &mut frames, |plain, _| out.write_all(plain))?
                    .map_err(Error::Output)?;
            }
            Extent::Hole(len) => {
                let mut left = *len;
                while left > 0 {
                    let part = left.min(zeros.len() as u64);
                    out.write_all(&zeros[..part as usize]).map_err(Error::Output)?;
                    left -= part;
                }
            }
        }
    }
    out.flush().map_err(Error::Output)
}

/// A record of the audit log, and what it says.
pub type LoggedAction = (StoredRecord, Action);

/// The audit log: every record with what it says, and what is wrong with the chains.
pub fn log(session: &ReaderSession) -> Result<(Vec<LoggedAction>, Vec<Problem>), Error> {
    let objects = session.objects();
    let mut listed: Vec<String> =
        objects.list(names::LOG)?.into_iter().map(|object| object.name).collect();
    listed.sort();
    let bodies = objects.get_all(&listed, limits::SMALL_OBJECT, 16);
    let mut problems = Vec::new();
    let mut records: Vec<LoggedAction> = Vec::new();
    for (name, body) in listed.iter().zip(bodies) {
        let body = match body {
            Err(error @ drover_store::StoreError::TooLarge { .. }) => {
                problems.push(Problem::new("log", name, error.to_string()));
                continue;
            }
            body => body?,
        };
        let checked = check_record(session, name, &body);
        let (record, action) = match checked {
            Ok(checked) => checked,
            Err(message) => {
                problems.push(Problem::new("log", name, message));
                continue;
            }
        };
        let before = records
            .last()
            .map(|(record, _)| record)
            .filter(|before| before.open.writer == record.open.writer);
        let (sequence, hash) = before.map_or((0, [0; 32]), |b| (b.open.sequence, b.hash));
        if record.open.sequence.checked_sub(1) != Some(sequence) || record.open.previous != hash {
            let message =
                "it does not follow the record before it: records are missing, or there is a fork";
            problems.push(Problem::new("log", name, message));
        }
        records.push((record, action));
    }
    // Every snapshot says where its writer's log ended then.
    let there: HashSet<_> =
        records.iter().map(|(r, _)| (r.open.writer, r.open.sequence, r.hash)).collect();
    for snapshot in &session.history.snapshots {
        let open = &snapshot.stored.open;
        let named = (open.writer, open.log_sequence, open.log_head);
        if open.log_sequence > 0 && !there.contains(&named) {
            let message =
                format!("the record number {} that it names is not there", open.log_sequence);
            problems.push(Problem::new("log", snapshot.object(), message));
        }
    }
    records.sort_by_key(|(record, _)| (record.open.time, record.open.sequence));
    Ok((records, problems))
}

fn check_record(
    session: &ReaderSession,
    name: &str,
    body: &[u8],
) -> Result<(StoredRecord, Action), String> {
    let record = StoredRecord::decode(body.to_vec()).map_err(|e| e.to_string())?;
    let open = &record.open;
    if name != names::log(&open.writer, open.sequence, &record.hash) {
        return Err("its bytes are not those its name says".into());
    }
    if open.repository != session.repository.id() {
        return Err("it is of another repository".into());
    }
    let writer = session.history.writers.get(&open.writer).ok_or("its writer has no grant")?;
    record.verify(&writer.public_key).map_err(|e| e.to_string())?;
    let meta = session
        .keyring
        .reader_secret(PackClass::Meta, open.epoch)
        .ok_or("the keys of its epoch are not at hand")?;
    let action = record.action(meta).map_err(|e| e.to_string())?;
    Ok((record, action))
}
