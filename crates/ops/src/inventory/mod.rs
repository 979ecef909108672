//! What is on a server, in one pass over it: sizes, times and names from the walk alone, types,
//! machines and patients' data from the files' content.
//!
//! ```text
//! walk → Tally, Directories, Names, Sizes, Since     one entry after the other, in order
//!      → pool of threads → Inspector → Survey         each file opened once
//! then   Sizes → hashes → Duplicates                  only files of one size are opened again
//!        open files of this machine                   where the source is local
//!        all of it → findings → InventorySource
//! ```
//!
//! Nothing is written to a repository. Memory is bounded: what grows with the tree is sorted on the
//! disk, among the temporary files.

mod content;
mod counts;
mod directories;
mod duplicates;
mod findings;
mod live;
mod names;
mod pool;
mod report;
mod since;
mod sorter;
mod tally;
mod veil;

use std::{collections::BTreeMap, sync::Mutex};

use drover_inspect::{HashKey, InspectOptions};
use drover_report::InventorySource;
use drover_source::{ReadError, Source, WalkEvent, WalkOptions, local::holders::OpenFiles};
use drover_types::{Counter, Entry, Exception, Kind, Observer, Phase, RelativePath, clock, lock};
use jiff::tz::TimeZone;

use crate::{Cancel, Error, Exclusions, compare::FirstNames, estimate::Class};
use content::Contents;
use directories::Directories;
use duplicates::Sizes;
use names::Names;
use tally::Tally;
use veil::Veil;

pub use counts::Counts;
pub use since::Since;
pub(crate) use sorter::nameless;

/// Paths that are kept as examples of anything.
const EXAMPLES: usize = 10;
/// Exceptions that are listed.
const EXCEPTIONS: usize = 20_000;

/// How an inventory is made.
#[derive(Clone, Debug)]
pub struct InventoryOptions {
    /// The source's name in the plan.
    pub name: Option<String>,
    /// Do not enter what is mounted below the source's root.
    pub one_file_system: bool,
    /// Open the files to see what they are.
    pub content: bool,
    /// Look into ISO images as well.
    pub iso: bool,
    /// Look for copies.
    pub duplicates: bool,
    /// Write paths as codes.
    pub hide_paths: bool,
    /// Files that are read at a time; one for each core where it is 0.
    pub parallel: usize,
    /// Whose hours and days are counted.
    pub zone: TimeZone,
}

impl Default for InventoryOptions {
    fn default() -> Self {
        Self {
            name: None,
            one_file_system: false,
            content: true,
            iso: false,
            duplicates: true,
            hide_paths: false,
            parallel: 0,
            zone: TimeZone::UTC,
        }
    }
}

/// What an inventory found.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// As reports have it.
    pub report: InventorySource,
    /// What rules leave out.
    pub exclusions: Exclusions,
    /// Bytes of copies by the class of files that they are of.
    pub copies: BTreeMap<Class, u64>,
}

/// What could not be seen or read, each entry once.
#[derive(Default)]
struct Exceptions {
    listed: BTreeMap<RelativePath, Exception>,
    more: u64,
}

impl Exceptions {
    /// Whether it is a new one.
    fn add(&mut self, exception: Exception) -> bool {
        if self.listed.contains_key(&exception.path) {
            return false;
        }
        match self.listed.len() < EXCEPTIONS {
            true => drop(self.listed.insert(exception.path.clone(), exception)),
            false => self.more += 1,
        }
        true
    }
}

/// What the walk alone tells.
struct Walked<'s> {
    tally: Tally,
    directories: Directories,
    names: Names,
    sizes: Option<Sizes>,
    links: FirstNames,
    since: Option<Since<'s>>,
    exclusions: Exclusions,
}

impl Walked<'_> {
    /// Takes an entry; whether it is a file with content that no earlier entry is.
    fn add(&mut self, entry: &Entry) -> Result<bool, Error> {
        if let Some(since) = &mut self.since {
            since.add(entry)?;
        }
        if entry.path.is_root() {
            self.directories.add(entry, false);
            return Ok(false);
        }
        let is_file = entry.kind == Kind::File;
        let further = is_file && self.links.first_of(entry)?.is_some();
        self.tally.add(entry, further);
        self.directories.add(entry, further);
        self.names.add(&entry.path)?;
        let first = is_file && !further;
        if first
            && entry.evidence.size > 0
            && let Some(sizes) = &mut self.sizes
        {
            sizes.add(&entry.path, entry.evidence.size)?;
        }
        Ok(first)
    }
}

/// Makes an inventory of `source`; against `since` where it is given. `open_files` is asked once, after
/// the walk, which files are open for writing: `None` where nobody knows.
pub fn inventory(
    source: &dyn Source,
    since: Option<Since<'_>>,
    open_files: &dyn Fn() -> Option<OpenFiles>,
    options: &InventoryOptions,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<Inventory, Error> {
    let now = clock::now();
    let random = drover_crypt::random::array::<32>;
    let veil = Veil::new(options.hide_paths.then(random));
    let description = source.description();
    let workers = crate::workers(options.parallel);
    observer.phase(Phase::Surveying);
    let mut walked = Walked {
        tally: Tally::new(now, options.zone.clone()),
        directories: Directories::default(),
        names: Names::default(),
        sizes: options.duplicates.then(Sizes::default),
        links: FirstNames::new(None),
        since: since.map(|since| since.of(&description)),
        exclusions: Exclusions::new(),
    };
    let exceptions = Mutex::new(Exceptions::default());
    let except = |exception: Exception| {
        let shown = Exception { path: veil.cover(&exception.path), ..exception.clone() };
        if lock(&exceptions).add(exception) {
            observer.exception(&shown);
        }
    };
    let failed = |error: ReadError| except(error.into());
    let contents = options.content.then(|| {
        let inspect = InspectOptions::new(HashKey::new(random()));
        Contents::new(source, InspectOptions { iso: options.iso, ..inspect }, &failed, observer)
    });
    let walk_options =
        WalkOptions { one_file_system: options.one_file_system, ..WalkOptions::default() };
    let mut take = |send: &mut dyn FnMut(content::Piece, u64) -> Result<(), Error>| {
        for event in source.walk(&walk_options)? {
            if cancel.is_set() {
                return Err(Error::Interrupted);
            }
            match event {
                WalkEvent::Entry(entry) => {
                    observer.add(Counter::Entries, 1);
                    let first = walked.add(&entry)?;
                    if first {
                        observer.add(Counter::Bytes, entry.evidence.size);
                        let size = entry.evidence.size;
                        send((entry.path, size), content::about(size))?;
                    } else {
                        observer.add(Counter::EntriesDone, 1);
                    }
                }
                WalkEvent::Problem { path, exception, .. } => {
                    if let Some(since) = &mut walked.since {
                        since.unknown(&path)?;
                    }
                    except(exception);
                }
                WalkEvent::Excluded { path, rule, share } => {
                    if let Some(since) = &mut walked.since {
                        since.unknown(&path)?;
                    }
                    *walked.exclusions.entry(rule).or_default() += share;
                }
            }
        }
        Ok(())
    };
    match &contents {
        Some(contents) => {
            let work = |looker: &mut _, batch| {
                contents.look(looker, batch, cancel);
                Ok(())
            };
            pool::pool(workers, cancel, || contents.begin(), work, take)?;
        }
        None => take(&mut |(_, size), _| {
            observer.add(Counter::EntriesDone, 1);
            observer.add(Counter::BytesDone, size);
            Ok(())
        })?,
    }
    walked.directories.finish();
    let survey = contents.map(Contents::finish);
    let duplicates = match walked.sizes.take() {
        Some(sizes) => {
            observer.phase(Phase::Comparing);
            Some(sizes.finish(source, workers, &failed, observer, cancel)?)
        }
        None => None,
    };
    let open = open_files();
    let exceptions = exceptions.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let found = report::Found { walked, survey, duplicates, open, exceptions, started: now };
    found.report(&description, options, &veil)
}

/// Bytes of open files by path and the name of who writes.
fn writers(open: Option<&OpenFiles>) -> Vec<(RelativePath, String)> {
    let one = |file: &drover_source::local::holders::OpenFile| {
        (file.path.clone(), drover_types::path::escape(&file.command))
    };
    open.map(|open| open.files.iter().map(one).collect()).unwrap_or_default()
}
