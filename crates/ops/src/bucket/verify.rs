//! Whether a bucket holds what a snapshot says: every object read back and hashed, every line of
//! the side manifest compared.

use std::collections::HashSet;

use drover_repo::{certificate::Method, objects::Objects};
use drover_store::StoreError;
use drover_types::{Basis, Counter, FileHash, Observer, Phase, RelativePath, SnapshotId, Total};
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    Listed, READERS, is_note, key,
    object::{self, Glance},
    side::{Line, Lines, SideEntry, State},
};
use crate::{
    Cancel, Error, Finding, Verdict, VerifyOutcome,
    inventory::Counts,
    merge::{Merged, merge},
    reading::ReaderSession,
};

/// Objects that are read before their results are looked at.
const BATCH: usize = 64;

/// An object that must be there.
struct Expected {
    path: RelativePath,
    key: String,
    size: u64,
    hash: FileHash,
}

/// Compares the objects of `bucket` with `snapshot`, by their plain BLAKE3, and its side manifest
/// with the snapshot's entries; counts what is in the objects, where that is asked for. Takes the
/// meta key alone.
pub fn verify_bucket(
    session: &mut ReaderSession,
    snapshot: SnapshotId,
    bucket: &Objects,
    counts: Option<&mut Counts>,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<VerifyOutcome, Error> {
    let index = session.load_index()?;
    let session: &ReaderSession = session;
    let snapshot = session.snapshot(snapshot)?;
    let reader = session.chunks(&index);
    observer.phase(Phase::Comparing);
    let open = &snapshot.stored.open;
    let (entries, bytes) = (open.entries, open.bytes);
    observer.total(Total { entries, bytes, basis: Basis::Snapshot });

    let listed = Listed::new(bucket)?;
    let (problems, unchecked) = (Vec::new(), Vec::new());
    let mut check = Check { bucket, observer, counts, problems, unchecked, files: 0, bytes: 0 };
    match State::read(bucket)? {
        Some(state) if state.complete && state.snapshot == snapshot.id().to_hex() => {}
        Some(state) if state.complete => {
            check.object(super::side::STATE, "another snapshot landed last".into());
        }
        Some(_) => {
            check.object(super::side::STATE, "a landing is under way, or was cut off".into())
        }
        None => check.object(super::side::STATE, "nothing says that something landed".into()),
    }
    let mut lines = match Lines::fetch(bucket)? {
        Some(lines) => lines,
        None => {
            check.object(super::side::MANIFEST, "it is missing or damaged".into());
            Lines::new()?
        }
    };
    let expected = session
        .tree(&reader, snapshot, RelativePath::root())?
        .map(|entry| entry.map_err(Error::from));
    let (mut count, mut batch) = (0, Vec::new());
    let mut wanted = HashSet::new();
    for step in merge(expected, lines.entries()?) {
        if cancel.is_set() {
            return Err(Error::Interrupted);
        }
        let (entry, found) = match step? {
            Merged::Left(entry) => (entry, None),
            Merged::Both(entry, found) => (entry, Some(found.line)),
            Merged::Right(SideEntry { path, .. }) => {
                check.path("extra", path, "the side manifest has it, and the snapshot does not");
                continue;
            }
        };
        let line = Line::of(&entry);
        let counted = u64::from(!entry.path.is_root());
        count += counted;
        observer.add(Counter::Entries, counted);
        observer.add(Counter::EntriesDone, counted);
        match found {
            None => {
                check.path("missing", entry.path.clone(), "it is not in the side manifest");
            }
            Some(found) if found != line => {
                let message = "the side manifest says otherwise of it than the snapshot";
                check.path("different", entry.path.clone(), message);
            }
            Some(_) => {}
        }
        if let (Some(key), Some(content)) = (line.key, entry.content) {
            observer.add(Counter::Bytes, content.size);
            wanted.insert(listed.hash(&key));
            match listed.len(&key) {
                Some(len) if len == content.size => {}
                // A longer object would pass for what it begins with.
                there => {
                    let (kind, message) = match there {
                        Some(_) => ("different", "its object has another length"),
                        None => ("missing", "its object is not there"),
                    };
                    check.path(kind, entry.path, message);
                    check.files += 1;
                    observer.add(Counter::BytesDone, content.size);
                    continue;
                }
            }
            batch.push(Expected { path: entry.path, key, size: content.size, hash: content.hash });
            if batch.len() == BATCH {
                check.objects(std::mem::take(&mut batch), cancel)?;
            }
        }
    }
    check.objects(batch, cancel)?;
    let mut listing = bucket.store().list_plain();
    while let Some(object) = bucket.wait(listing.try_next())? {
        if !is_note(&object.name) && !wanted.contains(&listed.hash(&object.name)) {
            match key::to_path(&object.name) {
                Some(path) => check.path("extra", path, "the snapshot does not have it"),
                None => check.object(&object.name, "the snapshot does not have it".into()),
            }
        }
    }
    let Check { mut problems, unchecked, files, bytes, .. } = check;
    problems.sort();
    let verdict = match (problems.is_empty(), unchecked.is_empty()) {
        (false, _) => Verdict::Failed,
        (true, false) => Verdict::Incomplete,
        (true, true) => Verdict::Verified,
    };
    Ok(VerifyOutcome {
        verdict,
        kind: Method::LandedAndHashed,
        sample: None,
        opened: true,
        method: "landed and hashed".into(),
        entries: count,
        files,
        bytes,
        chunks: 0,
        packs: 0,
        problems,
        unchecked,
    })
}

struct Check<'c> {
    bucket: &'c Objects,
    observer: &'c dyn Observer,
    counts: Option<&'c mut Counts>,
    problems: Vec<Finding>,
    unchecked: Vec<Finding>,
    files: u64,
    bytes: u64,
}

impl Check<'_> {
    fn path(&mut self, kind: &str, path: RelativePath, message: &str) {
        let (kind, message) = (kind.to_owned(), message.to_owned());
        self.problems.push(Finding { kind, object: None, path: Some(path), message });
    }

    fn object(&mut self, object: &str, message: String) {
        let (kind, object) = ("object".to_owned(), Some(object.to_owned()));
        self.problems.push(Finding { kind, object, path: None, message });
    }

    /// Reads objects back, some of them side by side, compares their hashes and looks into them.
    fn objects(&mut self, batch: Vec<Expected>, cancel: &Cancel) -> Result<(), Error> {
        let (bucket, observer, keep) = (self.bucket, self.observer, self.counts.is_some());
        let calls = batch.into_iter().map(|expected| async move {
            let of = (expected.key.as_str(), expected.size);
            let read = object::read(bucket, of, keep, observer, cancel).await;
            (expected, read)
        });
        let mut reads = std::pin::pin!(stream::iter(calls).buffer_unordered(READERS));
        while let Some((expected, read)) = bucket.wait(reads.next()) {
            if cancel.is_set() {
                return Err(Error::Interrupted);
            }
            let Expected { path, key, hash, size } = expected;
            self.files += 1;
            let read = read.and_then(|(found, begins)| match &mut self.counts {
                Some(counts) => {
                    let mut glance = Glance::new(bucket, &key, size, begins);
                    let looked = counts.add(&path, &mut glance);
                    // Of memory nothing fails.
                    match (looked, glance.error) {
                        (Err(_), Some(error)) => Err(error),
                        _ => Ok(found),
                    }
                }
                None => Ok(found),
            });
            match read {
                Ok(found) if found == hash => self.bytes += size,
                Ok(_) => self.path("different", path, "the content of its object is another"),
                Err(StoreError::NotFound { .. }) => {
                    self.path("missing", path, "its object is not there");
                }
                Err(StoreError::WrongLength { .. }) => {
                    self.path("different", path, "its object has another length");
                }
                Err(error @ StoreError::Denied { .. }) => {
                    let (kind, message) = ("denied".to_owned(), error.to_string());
                    self.unchecked.push(Finding { kind, object: None, path: Some(path), message });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
