//! A target that follows its source: landed again with each new snapshot.
//!
//! ```text
//! names below snapshots/ ── as they were ──► nothing is read
//!         │ others
//!         ▼
//! what is new of keys, history, index ──► newest snapshot of the source ── not newer ──► told
//!         │ newer, and its manifest can be read to its end
//!         ▼
//! restore, with what the last landing read still in memory
//! ```
//!
//! A listing alone decides nothing: it only says when to look. What is landed is signed, newer
//! than what the target holds, and readable as far as that can be known before the target is
//! touched.

use std::path::PathBuf;

use drover_crypt::hierarchy::UnlockSecret;
use drover_repo::{
    ChunkError, ChunkIndex, KeptPacks, Problem, RepositoryError, TreeError, names, objects::Objects,
};
use drover_source::target::{Target, TargetOptions};
use drover_types::{Observer, RelativePath, SnapshotId};

use crate::{
    Cancel, Error, RestoreOptions, RestoreOutcome, bucket,
    reading::{ROLLED_BACK, ReaderSession},
    restore::restore_by,
};

/// Where a source lands.
pub enum Destination {
    /// As files, in a directory.
    Directory(PathBuf),
    /// As plain objects, in a bucket.
    Bucket(Objects),
}

/// Follows one source into one place.
pub struct Follow {
    source: String,
    below: RelativePath,
    to: Destination,
    options: RestoreOptions,
    /// The names of snapshots when they were last looked at.
    listed: Vec<String>,
    /// What the target holds.
    landed: Option<SnapshotId>,
    /// And nothing else, as far as its mark tells.
    whole: bool,
    index: Option<ChunkIndex>,
    packs: KeptPacks,
    /// What was said already of what is wrong.
    told: Vec<Problem>,
}

/// What there is to be landed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing that the target does not hold.
    Nothing,
    /// This snapshot.
    New(SnapshotId),
    /// Nothing, because something is wrong; in words.
    Refused(String),
}

impl Follow {
    /// Follows the source of this name into `to`, where an earlier restore of it may lie. Deletions
    /// are followed too.
    pub fn new(
        session: &ReaderSession,
        source: &str,
        below: RelativePath,
        to: Destination,
        options: RestoreOptions,
    ) -> Result<Self, Error> {
        let options =
            RestoreOptions { delete: true, keep_packs: true, check_first: true, ..options };
        let repository = session.repository.id();
        let known = match &to {
            Destination::Directory(root) if root.is_dir() => {
                let marker = Target::open(root, TargetOptions::default())?.read_marker()?;
                let marker = marker.filter(|marker| marker.repository == repository);
                marker.and_then(|marker| Some((marker.last_complete()?, true)))
            }
            Destination::Directory(_) => None,
            Destination::Bucket(bucket) => bucket::landed(bucket, &repository.to_hex())?,
        };
        Ok(Self {
            source: source.to_owned(),
            below,
            to,
            options,
            listed: Vec::new(),
            landed: known.map(|(snapshot, _)| snapshot),
            whole: known.is_none_or(|(_, whole)| whole),
            index: None,
            packs: KeptPacks::default(),
            told: Vec::new(),
        })
    }

    /// Where it lands.
    pub fn to(&self) -> &Destination {
        &self.to
    }

    /// The snapshot that the target holds, as far as this run or its mark tells.
    pub fn landed(&self) -> Option<SnapshotId> {
        self.landed
    }

    /// Looks into what a listing of snapshots has: nothing is read where it is what it was.
    pub fn look(
        &mut self,
        listed: Vec<String>,
        session: &mut ReaderSession,
        secret: &UnlockSecret,
        observer: &dyn Observer,
    ) -> Result<Look, Error> {
        let (first, mut listed) = (self.listed.is_empty(), listed);
        listed.sort_unstable();
        if !first && listed == self.listed {
            return Ok(Look::Nothing);
        }
        session.refresh(secret)?;
        for problem in &session.problems {
            if !self.told.contains(problem) {
                observer.warning(&format!("{}: {}", problem.object, problem.message));
                self.told.push(problem.clone());
            }
        }
        let rolled_back = session.problems.iter().any(|problem| problem.kind == ROLLED_BACK);
        let newest = session.find("latest", Some(&self.source))?;
        let look = match self.landed {
            _ if rolled_back => {
                Look::Refused("the repository lacks snapshots that this machine saw".into())
            }
            Some(landed) if landed == newest.id() => match self.whole {
                true => Look::Nothing,
                false => Look::New(landed),
            },
            None => Look::New(newest.id()),
            Some(landed) => match session.snapshot(landed) {
                Err(_) => Look::Refused(format!(
                    "the repository lacks the snapshot {landed}, which is what the target holds"
                )),
                Ok(there) if there.committed() < newest.committed() => Look::New(newest.id()),
                Ok(_) => Look::Nothing,
            },
        };
        // Only now: what failed is looked at again.
        self.listed = listed;
        Ok(look)
    }

    /// Brings the target to `snapshot`, once its manifest was read to its end. Where that fails
    /// the target is as it was.
    pub fn land(
        &mut self,
        snapshot: SnapshotId,
        session: &mut ReaderSession,
        observer: &dyn Observer,
        cancel: &Cancel,
    ) -> Result<RestoreOutcome, Error> {
        let landed = self.try_land(snapshot, session, observer, cancel);
        match &landed {
            // The mark says so already, and the next snapshot is compared with this one.
            Ok(_) => (self.landed, self.whole) = (Some(snapshot), true),
            Err(_) => self.listed.clear(),
        }
        landed
    }

    fn try_land(
        &mut self,
        snapshot: SnapshotId,
        session: &mut ReaderSession,
        observer: &dyn Observer,
        cancel: &Cancel,
    ) -> Result<RestoreOutcome, Error> {
        let index = session.refresh_index(self.index.take())?;
        let session: &ReaderSession = session;
        let reader = session.chunks(&index).with_packs(std::mem::take(&mut self.packs));
        let (below, options) = (&self.below, &self.options);
        let landed = match &self.to {
            Destination::Directory(root) => {
                restore_by(session, &reader, snapshot, below, root, options, observer, cancel)
            }
            Destination::Bucket(bucket) => {
                bucket::land_by(session, &reader, snapshot, bucket, options, observer, cancel)
            }
        };
        self.packs = reader.into_packs();
        self.index = Some(index);
        landed
    }
}

/// The names of all snapshots: what to ask for again and again.
pub fn list_snapshots(objects: &drover_repo::objects::Objects) -> Result<Vec<String>, Error> {
    Ok(objects.list(names::SNAPSHOTS)?.into_iter().map(|object| object.name).collect())
}

impl Error {
    /// Whether it was the store that failed, so that trying again later is of use.
    pub fn is_of_store(&self) -> bool {
        match self {
            Self::Store(_) | Self::Repository(RepositoryError::Store(_)) => true,
            Self::Chunk(error) | Self::Tree(TreeError::Chunk(error)) => {
                matches!(error, ChunkError::Store(_))
            }
            _ => false,
        }
    }

    /// Whether a snapshot, or what it names, is damaged or missing.
    pub fn is_damage(&self) -> bool {
        let damage =
            matches!(self, Self::Chunk(_) | Self::Tree(_) | Self::Decode { .. } | Self::Content);
        damage && !self.is_of_store()
    }
}
