//! What a pass would take, without taking it: the same walk, the same merge, the same steps, and
//! nothing done of them.

use std::path::Path;

use drover_crypt::{domain::DomainKeys, hierarchy::WriterCredential};
use drover_repo::state::{Database, StateFolder, TapeReader};
use drover_source::{Source, WalkOptions};
use drover_types::{Entry, Exception, Kind, Observer, Phase};

use super::{
    Exclusions, SyncOptions, begin,
    dedup::Dedup,
    name_of,
    steps::{Checkpoints, Step, Steps, Tape},
};
use crate::{Cancel, Error};

/// What this machine's state knows of earlier passes.
pub struct LastPass {
    folder: StateFolder,
    database: Database,
    keys: DomainKeys,
}

impl LastPass {
    /// What the state knows of the repository at `url`; `None` where no pass was made. Neither the
    /// repository nor a password is asked.
    pub fn find(state_root: &Path, url: &str) -> Result<Option<Self>, Error> {
        let Some((_, folder)) = StateFolder::find(state_root, url).pop() else { return Ok(None) };
        let Some(credential) = folder.credential()? else { return Ok(None) };
        let credential =
            WriterCredential::decode(&credential).map_err(|_| Error::DAMAGED_CREDENTIAL)?;
        let (database, _) = folder.open_database()?;
        Ok(Some(Self { folder, database, keys: credential.domain_keys() }))
    }
}

/// What a pass would take. What only shows when an entry is opened, such as that it may not be, a
/// preview does not see.
#[derive(Clone, Debug, Default)]
pub struct Preview {
    /// The source's name.
    pub source: String,
    /// Entries that the last manifest lacks.
    pub new: u64,
    /// Entries to be looked at: other times or another size than in the last manifest, or times
    /// that cannot be trusted. Whether the content is another shows when it is read.
    pub changed: u64,
    /// Entries that the last manifest's evidence still holds for, carried-over ones included.
    pub unchanged: u64,
    /// In the last manifest and gone.
    pub removed: u64,
    /// In the last manifest and left out by a rule now.
    pub excluded: u64,
    /// Logical bytes of all regular files that would be in the manifest.
    pub bytes: u64,
    /// Bytes to be read. Of a file with holes these are its allocated bytes.
    pub read: u64,
    /// What cannot be seen.
    pub exceptions: Vec<Exception>,
    /// What rules leave out.
    pub exclusions: Exclusions,
}

/// Looks at `source` as a pass with `options` would.
pub fn preview(
    last_pass: Option<&LastPass>,
    source: &dyn Source,
    options: &SyncOptions,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<Preview, Error> {
    let name = name_of(&source.description(), options)?;
    observer.phase(Phase::Syncing);
    let known = last_pass.map(|known| (known, known.keys.source_id(name.as_bytes())));
    let last = known.map(|(known, id)| known.database.source(id)).transpose()?.flatten();
    let walk_options =
        WalkOptions { one_file_system: options.one_file_system, ..WalkOptions::default() };
    let walk = begin(source, &name, last.as_ref(), options, &walk_options)?;
    let dedup = last_pass.map(|known| Dedup::new(&known.database)).transpose()?;
    let mut tapes = Vec::new();
    if let Some((known, id)) = known {
        for (_, path) in known.folder.checkpoints(id) {
            tapes.push(Tape::new(TapeReader::open(&path)?, &known.keys));
        }
    }
    let parent = match known.zip(last) {
        Some(((known, id), last)) => {
            let tape = TapeReader::open(&known.folder.manifest(id, last.snapshot))?;
            Some(Tape::parent(tape, &known.keys, observer))
        }
        None => None,
    };
    let exclusions = std::sync::Mutex::default();
    let steps = Steps::new(
        walk,
        Box::new(parent.into_iter().flatten()),
        Checkpoints::new(tapes.into_iter()),
        dedup.as_ref(),
        &exclusions,
        observer,
        last_pass.map(|known| &known.folder),
    )
    .rereading(options.reread);
    let mut preview = Preview { source: name, ..Preview::default() };
    for step in steps {
        if cancel.is_set() {
            return Err(Error::Interrupted);
        }
        preview.count(step?);
    }
    preview.exclusions = exclusions.into_inner().unwrap_or_default();
    Ok(preview)
}

impl Preview {
    /// All entries that would be in the manifest, the root not counted.
    pub fn total(&self) -> u64 {
        self.new + self.changed + self.unchanged
    }

    fn count(&mut self, step: Step) {
        match step {
            Step::Keep(record) => self.unchanged(&record.entry),
            Step::Refresh { entry, parent } => self.taken(&entry, Some(&parent.entry)),
            Step::Take { record, parent } => {
                self.taken(&record.entry, parent.as_ref().map(|parent| &parent.entry));
            }
            Step::Read { entry, parent } => {
                self.read += entry.evidence.size.min(match entry.evidence.allocated {
                    // Small files may have their bytes beside the blocks.
                    0 if entry.evidence.size < 4096 => entry.evidence.size,
                    allocated => allocated,
                });
                self.taken(&entry, parent.as_ref().map(|parent| &parent.entry));
            }
            Step::Complete { entry, parent } | Step::Link { entry, parent } => {
                self.taken(&entry, parent.as_ref().map(|parent| &parent.entry));
            }
            Step::Stale { record, exception } => {
                self.unchanged(&record.entry);
                self.exceptions.extend(exception);
            }
            Step::Lost { exception, removed } => {
                self.removed += u64::from(removed);
                self.exceptions.push(exception);
            }
            Step::Removed => self.removed += 1,
            Step::Excluded => self.excluded += 1,
        }
    }

    fn taken(&mut self, entry: &Entry, parent: Option<&Entry>) {
        if !entry.path.is_root() {
            match parent {
                Some(_) => self.changed += 1,
                None => self.new += 1,
            }
        }
        if entry.kind == Kind::File {
            self.bytes += entry.evidence.size;
        }
    }

    fn unchanged(&mut self, entry: &Entry) {
        self.unchanged += u64::from(!entry.path.is_root());
        self.bytes += entry.content.as_ref().map_or(0, |content| content.size);
    }
}
