//! The way back: what the target took since the switch is brought to the source.
//!
//! It goes through the repository, so that neither side's state is ever lost: the source as it is
//! was taken before (`first`), the target is taken now, and the source becomes what the target is.
//! Where both changed the same path the target's version stands, and the source's is in `first`, or
//! in `kept`, where it came after a run that ended in the middle.

use std::{collections::BTreeSet, ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::Path};

use drover_crypt::hierarchy::UnlockSecret;
use drover_source::{
    LocalSource, Loss, ReadError, Source, SourceDescription, SourceError, SourceFile, Walk,
    WalkEvent, WalkOptions,
    target::{MARKER, Target, TargetOptions, is_marker, is_temporary},
};
use drover_types::{Entry, Kind, Observer, RelativePath, SnapshotId, path::escape};

use crate::{
    Cancel, Compared, Error, Finding, OwnerMap, ReaderSession, RestoreOptions, SyncOptions,
    WriterSession, compare_mapped,
    inspect::{Change, diff},
    restore, sync,
};

/// What was brought to the source.
#[derive(Clone, Debug)]
pub struct Brought {
    /// The target as it was taken.
    pub snapshot: SnapshotId,
    /// Entries of the source that were written.
    pub written: u64,
    /// Entries of the source that were removed.
    pub removed: u64,
    /// Paths that both sides had changed: the target's version stands.
    pub conflicts: Vec<RelativePath>,
    /// Where the source is not what the target is, after all.
    pub problems: Vec<Finding>,
}

/// Where and from what.
pub struct Back<'b> {
    /// The right to write.
    pub writer: &'b WriterSession,
    /// What opens the repository, where it has new keys by then.
    pub secret: &'b UnlockSecret,
    /// The target.
    pub target: &'b Path,
    /// The source, as it can be written.
    pub write_back: &'b Path,
    /// What the target was at the switch.
    pub switched: SnapshotId,
    /// What the source was before anything was brought to it.
    pub first: SnapshotId,
    /// What the source is now: the same, but where an earlier run ended in the middle.
    pub kept: SnapshotId,
    /// Whether the target had been hashed then: only so is what it lacks known to be removed there.
    pub landed: bool,
    /// How the target is taken.
    pub options: SyncOptions,
    /// Whose things those of the target are on the source.
    pub owners: OwnerMap,
}

/// Brings it. `session` takes what is new on the way.
pub fn bring_back(
    session: &mut ReaderSession,
    back: &Back<'_>,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<Brought, Error> {
    let target = Unmarked(LocalSource::open(back.target)?);
    let taken = sync(back.writer, &target, &back.options, observer, cancel)?;
    session.refresh(back.secret)?;
    let theirs = changes(session, back.switched, taken.snapshot)?;
    let mut ours = changes(session, back.switched, back.first)?.all;
    if back.first != back.kept {
        // What an earlier run brought is no change of the source's, nor is what it did by that to
        // directories.
        let since = changes(session, back.first, back.kept)?;
        let other = changes(session, taken.snapshot, back.kept)?.all;
        let since = since.all.difference(&since.directories);
        ours.extend(since.filter(|path| other.contains(*path)).cloned());
    }
    let conflicts = theirs.all.intersection(&ours).cloned().collect();
    // What is not there is not made: it would not be the source.
    LocalSource::open(back.write_back)?;
    let there = Target::open(back.write_back, TargetOptions::default())?;
    let (mut removed, mut left) = (0, BTreeSet::new());
    // Children before their directories, and before these get their times.
    for path in theirs.removed.iter().rev().filter(|_| back.landed) {
        if has_own(back.write_back, path) {
            left.insert(path.clone());
            continue;
        }
        there.remove(path)?;
        removed += 1;
    }
    there.sync()?;
    let options = RestoreOptions { overwrite: true, ..RestoreOptions::default() };
    let options = options.owned(back.owners.clone());
    let root = RelativePath::root();
    let done =
        restore(session, taken.snapshot, &root, back.write_back, &options, observer, cancel)?;
    unmark(session, taken.snapshot, back.write_back)?;
    let source = LocalSource::open(back.write_back)?;
    let compared = Compared::Target;
    let owners = &back.owners;
    let (outcome, _) =
        compare_mapped(session, taken.snapshot, &source, compared, owners, observer, cancel)?;
    // What rules leave out was not taken, and what only the source has stays there.
    let counts = |finding: &Finding| {
        let path = finding.path.as_ref();
        let removed = |path| theirs.removed.contains(path) && !left.contains(path);
        finding.kind != "extra" || (back.landed && path.is_some_and(removed))
    };
    let mut problems: Vec<_> = outcome.problems.into_iter().filter(counts).collect();
    problems.extend(outcome.unchecked);
    let exceptions = done.exceptions.into_iter().map(|exception| Finding {
        kind: exception.kind.to_string(),
        object: None,
        path: Some(exception.path),
        message: exception.message,
    });
    problems.extend(exceptions);
    Ok(Brought { snapshot: taken.snapshot, written: done.written, removed, conflicts, problems })
}

/// Refuses a directory that is not the source as `kept` has it, by names, sorts and sizes: what is
/// brought elsewhere is lost to the source.
pub fn check_write_back(
    session: &mut ReaderSession,
    kept: SnapshotId,
    write_back: &Path,
) -> Result<(), Error> {
    let index = session.load_index()?;
    let session: &ReaderSession = session;
    let reader = session.chunks(&index);
    for entry in session.tree(&reader, session.snapshot(kept)?, RelativePath::root())? {
        let entry = entry?;
        if entry.stale {
            continue;
        }
        let there = write_back.join(OsStr::from_bytes(entry.path.as_bytes())).symlink_metadata();
        let why = match &there {
            Err(error) => error.to_string(),
            Ok(there) if sort(&entry.kind) != sort_of(there.file_type()) => {
                format!("it is no {}", entry.kind.as_str())
            }
            Ok(there) => match &entry.content {
                Some(content) if content.size != there.len() => {
                    format!("it has {} bytes, and not {}", there.len(), content.size)
                }
                _ => continue,
            },
        };
        return Err(Error::NotTheSource {
            write_back: escape(write_back.as_os_str().as_bytes()),
            path: entry.path,
            why,
        });
    }
    Ok(())
}

/// Directory, file, link, or something else.
fn sort(kind: &Kind) -> (bool, bool, bool) {
    let is_link = matches!(kind, Kind::Symlink { .. });
    (*kind == Kind::Directory, *kind == Kind::File, is_link)
}

fn sort_of(found: fs::FileType) -> (bool, bool, bool) {
    (found.is_dir(), found.is_file(), found.is_symlink())
}

/// Whether a directory has something in it that the target never had.
fn has_own(root: &Path, path: &RelativePath) -> bool {
    let directory = root.join(OsStr::from_bytes(path.as_bytes()));
    let is_directory = directory.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    is_directory && fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
}

/// The source is no restore: takes the mark away, and gives the root its time again.
fn unmark(session: &mut ReaderSession, snapshot: SnapshotId, root: &Path) -> Result<(), Error> {
    match fs::remove_file(root.join(OsStr::from_bytes(MARKER))) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::Scratch(error));
        }
        _ => {}
    }
    let index = session.load_index()?;
    let session: &ReaderSession = session;
    let reader = session.chunks(&index);
    let mut tree = session.tree(&reader, session.snapshot(snapshot)?, RelativePath::root())?;
    if let Some(entry) = tree.next().transpose()?.filter(|entry| entry.path.is_root()) {
        Target::open(root, TargetOptions::default())?.set_attributes(&entry)?;
    }
    Ok(())
}

/// Paths that differ between two snapshots.
#[derive(Default)]
struct Changes {
    all: BTreeSet<RelativePath>,
    removed: BTreeSet<RelativePath>,
    /// Of whose attributes alone differ.
    directories: BTreeSet<RelativePath>,
}

fn changes(
    session: &mut ReaderSession,
    before: SnapshotId,
    after: SnapshotId,
) -> Result<Changes, Error> {
    let mut changes = Changes::default();
    diff(session, before, after, &mut |change| {
        let path = change.path().clone();
        match &change {
            Change::Removed(_) => drop(changes.removed.insert(path.clone())),
            Change::Metadata(entry, _) if entry.kind == Kind::Directory => {
                changes.directories.insert(path.clone());
            }
            _ => {}
        }
        if !path.is_root() {
            changes.all.insert(path);
        }
        Ok(())
    })?;
    Ok(changes)
}

/// A restore without what drover leaves in it.
struct Unmarked(LocalSource);

impl Source for Unmarked {
    fn description(&self) -> SourceDescription {
        self.0.description()
    }

    fn walk(&self, options: &WalkOptions) -> Result<Walk, SourceError> {
        let ours = |event: &WalkEvent| is_marker(event.path()) || is_temporary(event.path().name());
        Ok(Walk::new(self.0.walk(options)?.filter(move |event| !ours(event))))
    }

    fn open(&self, path: &RelativePath) -> Result<Box<dyn SourceFile>, ReadError> {
        self.0.open(path)
    }

    fn complete(&self, entry: &mut Entry) -> Result<(), ReadError> {
        self.0.complete(entry)
    }

    fn losses(&self) -> &[Loss] {
        self.0.losses()
    }
}
