//! What changed since a snapshot: the walk in lock step with the snapshot's entries.

use std::iter::Peekable;

use drover_report::{InventoryChange, InventorySince, Text, format};
use drover_source::SourceDescription;
use drover_types::{Entry, Kind, RelativePath, Timestamp};

use crate::Error;

/// The entries of a snapshot in order, and which it is.
pub struct Since<'s> {
    entries: Peekable<Box<dyn Iterator<Item = Result<Entry, Error>> + 's>>,
    time: Timestamp,
    found: InventorySince,
    /// Times of the source are whole seconds.
    coarse: bool,
    /// Whatever is within these is not known to be gone.
    unknown: Vec<RelativePath>,
}

impl<'s> Since<'s> {
    /// The snapshot `id`, whose pass ended at `time`.
    pub fn new(
        id: &str,
        time: Timestamp,
        entries: Box<dyn Iterator<Item = Result<Entry, Error>> + 's>,
    ) -> Self {
        let found = InventorySince {
            snapshot: Text::from(id),
            time: format::time(time),
            ..InventorySince::default()
        };
        Self { entries: entries.peekable(), time, found, coarse: false, unknown: Vec::new() }
    }

    /// Against this source.
    pub(super) fn of(self, source: &SourceDescription) -> Self {
        Self { coarse: source.kind == "sftp", ..self }
    }

    /// Takes the next entry of the walk.
    pub fn add(&mut self, entry: &Entry) -> Result<(), Error> {
        self.advance(&entry.path)?;
        let before = match self.entries.peek() {
            Some(Ok(before)) if before.path == entry.path => self.entries.next().transpose()?,
            _ => None,
        };
        let size = if entry.kind == Kind::File { entry.evidence.size } else { 0 };
        if entry.path.is_root() {
            return Ok(());
        }
        let change = match before {
            None => &mut self.found.new,
            Some(before) => match compare(&before, entry, self.coarse) {
                Changed::Content => &mut self.found.changed,
                Changed::Attributes => &mut self.found.metadata,
                Changed::Nothing => &mut self.found.unchanged,
            },
        };
        count(change, size);
        Ok(())
    }

    /// What is at and below `path` is not known, as far as the walk does not show it.
    pub fn unknown(&mut self, path: &RelativePath) -> Result<(), Error> {
        self.advance(path)?;
        self.unknown.retain(|above| path.is_within(above));
        self.unknown.push(path.clone());
        Ok(())
    }

    /// What the snapshot has before `path` and the walk had not.
    fn advance(&mut self, path: &RelativePath) -> Result<(), Error> {
        while let Some(Ok(before)) = self.entries.peek() {
            if before.path >= *path {
                break;
            }
            self.gone()?;
        }
        match self.entries.next_if(Result::is_err) {
            Some(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn gone(&mut self) -> Result<(), Error> {
        let Some(entry) = self.entries.next().transpose()? else { return Ok(()) };
        if entry.path.is_root() {
            return Ok(());
        }
        let unknown = self.unknown.iter().any(|above| entry.path.is_within(above));
        let change = match unknown || entry.stale {
            true => &mut self.found.unknown,
            false => &mut self.found.removed,
        };
        count(change, entry.content.as_ref().map_or(0, |content| content.size));
        Ok(())
    }

    /// The walk is at its end.
    pub fn finish(mut self, now: Timestamp) -> Result<InventorySince, Error> {
        while self.entries.peek().is_some() {
            self.gone()?;
        }
        let nanos = now.as_nanos() - self.time.as_nanos();
        Ok(InventorySince { seconds: (nanos as f64 / 1e9).max(0.0), ..self.found })
    }
}

fn count(change: &mut InventoryChange, bytes: u64) {
    change.entries += 1;
    change.bytes = change.bytes.saturating_add(bytes);
}

enum Changed {
    Content,
    Attributes,
    Nothing,
}

fn compare(before: &Entry, now: &Entry, coarse: bool) -> Changed {
    if !before.kind.same_sort(&now.kind) {
        return Changed::Content;
    }
    let (a, b) = (&before.attributes, &now.attributes);
    let other_time =
        a.mtime.seconds != b.mtime.seconds || !coarse && a.mtime.nanos != b.mtime.nanos;
    let size = before.content.as_ref().map_or(before.evidence.size, |content| content.size);
    match before.kind {
        Kind::File if size != now.evidence.size || other_time => Changed::Content,
        // What a directory's time says shows in what is in it.
        _ if a.mode != b.mode || (a.uid, a.gid) != (b.uid, b.gid) => Changed::Attributes,
        _ => Changed::Nothing,
    }
}
