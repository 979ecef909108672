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

use std::path::{Path, PathBuf};

use drover_crypt::hierarchy::UnlockSecret;
use drover_repo::{ChunkError, ChunkIndex, KeptPacks, Problem, RepositoryError, TreeError, names};
use drover_source::target::{Target, TargetOptions};
use drover_types::{Observer, RelativePath, SnapshotId};

use crate::{
    Cancel, Error, RestoreOptions, RestoreOutcome,
    reading::{ROLLED_BACK, ReaderSession},
    restore::restore_by,
};

/// Follows one source into one directory.
pub struct Follow {
    source: String,
    below: RelativePath,
    root: PathBuf,
    options: RestoreOptions,
    /// The names of snapshots when they were last looked at.
    listed: Vec<String>,
    /// What the target holds.
    landed: Option<SnapshotId>,
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
    /// Follows the source of this name into `root`, where an earlier restore of it may lie.
    /// Deletions are followed too.
    pub fn new(
        session: &ReaderSession,
        source: &str,
        below: RelativePath,
        root: &Path,
        options: RestoreOptions,
    ) -> Result<Self, Error> {
        let options =
            RestoreOptions { delete: true, keep_packs: true, check_first: true, ..options };
        let mut landed = None;
        if root.is_dir() {
            let target = Target::open(root, TargetOptions::default())?;
            let marker = target.read_marker()?;
            let marker = marker.filter(|marker| marker.repository == session.repository.id());
            landed = marker.and_then(|marker| marker.last_complete());
        }
        Ok(Self {
            source: source.to_owned(),
            below,
            root: root.to_owned(),
            options,
            listed: Vec::new(),
            landed,
            index: None,
            packs: KeptPacks::default(),
            told: Vec::new(),
        })
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
            Some(landed) if landed == newest.id() => Look::Nothing,
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
            Ok(_) => self.landed = Some(snapshot),
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
        let (below, root) = (&self.below, &self.root);
        let options = &self.options;
        let landed = restore_by(session, &reader, snapshot, below, root, options, observer, cancel);
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
