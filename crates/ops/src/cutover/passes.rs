//! What passes took: how long, and how much had changed.

use drover_repo::CheckedSnapshot;
use drover_types::{Entry, Exception, Kind, SnapshotId, Timestamp};

use crate::{
    Error, ReaderSession,
    inspect::{Change, diff_by},
};

/// A pass over a source, by what it left.
#[derive(Clone, Debug)]
pub struct Pass {
    /// Its snapshot.
    pub snapshot: SnapshotId,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// The machine that ran it.
    pub host: String,
    /// Who ran it.
    pub operator: String,
    /// Entries, the root not counted.
    pub entries: u64,
    /// Logical bytes of the regular files.
    pub bytes: u64,
    /// What could not be taken.
    pub exceptions: u64,
    /// Entries that differ from the pass before, and the bytes of the files among them; `None` of a
    /// first pass, and of those that were not compared.
    pub changed: Option<(u64, u64)>,
}

impl Pass {
    /// How long it took.
    pub fn seconds(&self) -> f64 {
        seconds(self.started, self.ended)
    }
}

/// Seconds from one moment to the other, none where the clock was set back.
pub fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    ((to.as_nanos() - from.as_nanos()) as f64 / 1e9).max(0.0)
}

/// The passes over a source, the oldest first; the last `compared` of them with what had changed.
pub fn passes(
    session: &mut ReaderSession,
    source: &str,
    compared: usize,
) -> Result<Vec<Pass>, Error> {
    let of_source = |snapshot: &&CheckedSnapshot| snapshot.details.source == source;
    let mut found: Vec<&CheckedSnapshot> =
        session.history.snapshots.iter().filter(of_source).collect();
    found.sort_by_key(|snapshot| snapshot.committed());
    let mut passes: Vec<Pass> = found
        .into_iter()
        .map(|snapshot| Pass {
            snapshot: snapshot.id(),
            started: snapshot.details.started,
            ended: snapshot.stored.open.time,
            host: snapshot.details.host.clone(),
            operator: snapshot.details.operator.clone(),
            entries: snapshot.stored.open.entries,
            bytes: snapshot.stored.open.bytes,
            exceptions: snapshot.details.exception_count,
            changed: None,
        })
        .collect();
    let first = passes.len().saturating_sub(compared).max(1);
    if first >= passes.len() {
        return Ok(passes);
    }
    let index = session.load_index()?;
    let session: &ReaderSession = session;
    let reader = session.chunks(&index);
    for at in first..passes.len() {
        let (before, after) = (passes[at - 1].snapshot, passes[at].snapshot);
        let (mut entries, mut bytes) = (0, 0);
        diff_by(session, &reader, before, after, &mut |change| {
            entries += u64::from(!change.path().is_root());
            if let Change::Added(entry) | Change::Changed(_, entry) = change {
                bytes += size(&entry);
            }
            Ok(())
        })?;
        passes[at].changed = Some((entries, bytes));
    }
    Ok(passes)
}

fn size(entry: &Entry) -> u64 {
    match &entry.content {
        Some(content) if entry.kind == Kind::File && entry.hard_link.is_none() => content.size,
        _ => 0,
    }
}

/// What the pass of a snapshot could not take.
pub fn exceptions(
    session: &mut ReaderSession,
    snapshot: SnapshotId,
) -> Result<Vec<Exception>, Error> {
    let mut list = Vec::new();
    crate::exceptions(session, &[snapshot], &mut |_, exception| {
        list.push(exception.clone());
        Ok(())
    })?;
    Ok(list)
}
