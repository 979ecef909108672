//! What a pass leaves out, by rules.
//!
//! [`Filtered`] stands before any source and turns the entries that a rule leaves out into
//! [`WalkEvent::Excluded`](crate::WalkEvent::Excluded), so that a merge with the last manifest can
//! tell what is left out from what is gone. It decides from the walk's events alone; a source that
//! asks [`WalkOptions::enter`] besides does not go into directories that are left out.
//!
//! In order, the first that says something decides:
//!
//! 1. a directory marked as a cache keeps its tag, and nothing else;
//! 2. what is not on the list of files, above or below something on it, is left out;
//! 3. the include and exclude rules: of those that match, the last one;
//! 4. ignore files: of those that match, the one nearest to the entry, and in it the last line.
//!
//! Of a file that is still in, size and age are looked at. Whatever is below a directory that is
//! left out is left out, as git has it.

use std::{
    cmp::Ordering, ffi::OsStr, os::unix::ffi::OsStrExt, path::Path, sync::Arc, time::Duration,
};

use drover_types::{Entry, Kind, RelativePath, Timestamp};
use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};

use crate::{
    Cutter, Loss, Source, SourceDescription, SourceError, SourceFile, Taker, Walk, WalkOptions,
};

mod events;
mod marks;

use events::Events;
use marks::{Directory, Marks};

/// The name of the tag that marks a directory as a cache.
pub const CACHE_TAG: &str = "CACHEDIR.TAG";

/// What to leave out; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterOptions {
    /// Include and exclude rules: of those that match, the last one counts.
    pub rules: Vec<Rule>,
    /// Names of files that hold rules for the directory they are in.
    pub ignore_files: Vec<String>,
    /// Leave out what is in directories marked by a [`CACHE_TAG`].
    pub exclude_caches: bool,
    /// Take only these, and what is below them.
    pub files: Option<Vec<RelativePath>>,
    /// Leave out smaller files, in bytes.
    pub min_size: Option<u64>,
    /// Leave out larger files, in bytes.
    pub max_size: Option<u64>,
    /// Leave out files changed less than this ago.
    pub min_age: Option<Duration>,
    /// Leave out files not changed for longer than this.
    pub max_age: Option<Duration>,
}

/// A rule on paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Take what matches, instead of leaving it out.
    pub include: bool,
    /// As git's ignore files have them: without a `/` but at the end it matches names at any
    /// depth, with one it matches from the root; a `/` at its end makes it match directories only;
    /// `*` and `?` do not match `/`, `**` does.
    pub glob: String,
}

/// Why rules cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rule \"{rule}\" cannot be understood: {message}")]
pub struct FilterError {
    /// The rule.
    pub rule: String,
    /// What is wrong with it.
    pub message: String,
}

/// Rules, ready for use.
#[derive(Debug)]
pub struct Filter {
    options: FilterOptions,
    globs: Gitignore,
    /// Sorted, none within another.
    files: Option<Vec<RelativePath>>,
    /// Files changed after this are too young.
    youngest: Option<Timestamp>,
    /// Files not changed since before this are too old.
    oldest: Option<Timestamp>,
    labels: Labels,
}

/// What reports call the rules.
#[derive(Debug)]
struct Labels {
    rules: Vec<Arc<str>>,
    ignore_files: Arc<str>,
    caches: Arc<str>,
    files: Arc<str>,
    min_size: Arc<str>,
    max_size: Arc<str>,
    min_age: Arc<str>,
    max_age: Arc<str>,
    one_file_system: Arc<str>,
}

impl Filter {
    /// Rules as of `now`, which ages are counted from.
    pub fn new(options: FilterOptions, now: Timestamp) -> Result<Self, FilterError> {
        let mut globs = GitignoreBuilder::new(".");
        for rule in &options.rules {
            let error = |message: String| FilterError { rule: rule.glob.clone(), message };
            if let Some(message) = rule.problem() {
                return Err(error(message.to_owned()));
            }
            globs.add_line(None, &rule.line()).map_err(|e| error(e.to_string()))?;
        }
        let failed = |e: ignore::Error| FilterError { rule: String::new(), message: e.to_string() };
        let globs = globs.build().map_err(failed)?;
        let files = options.files.clone().map(|mut files| {
            files.sort();
            files.dedup_by(|path, before| path.is_within(before));
            files
        });
        let labels = Labels::new(&options);
        let ago = |age: Duration| Timestamp {
            seconds: now.seconds.saturating_sub_unsigned(age.as_secs()),
            nanos: now.nanos,
        };
        let (youngest, oldest) = (options.min_age.map(ago), options.max_age.map(ago));
        Ok(Self { options, globs, files, youngest, oldest, labels })
    }

    /// What reports call the rules that are in use, in their order.
    pub fn labels(&self) -> Vec<Arc<str>> {
        let (o, l) = (&self.options, &self.labels);
        let excluding = o.rules.iter().zip(&l.rules).filter(|(rule, _)| !rule.include);
        let mut labels: Vec<_> = excluding.map(|(_, label)| label.clone()).collect();
        for (used, label) in [
            (!o.ignore_files.is_empty(), &l.ignore_files),
            (o.exclude_caches, &l.caches),
            (o.files.is_some(), &l.files),
            (o.min_size.is_some(), &l.min_size),
            (o.max_size.is_some(), &l.max_size),
            (o.min_age.is_some(), &l.min_age),
            (o.max_age.is_some(), &l.max_age),
        ] {
            if used {
                labels.push(label.clone());
            }
        }
        labels
    }

    /// The rule that leaves `entry` out, which is in `parent`; `None` where it is taken.
    fn excludes(&self, entry: &Entry, parent: &Directory) -> Option<&Arc<str>> {
        let by_path = self.by_path(&entry.path, entry.kind == Kind::Directory, parent);
        if by_path.is_some() || entry.kind != Kind::File {
            return by_path;
        }
        let labels = &self.labels;
        let (size, mtime) = (entry.evidence.size, entry.attributes.mtime);
        let o = &self.options;
        [
            (o.min_size.is_some_and(|least| size < least), &labels.min_size),
            (o.max_size.is_some_and(|most| size > most), &labels.max_size),
            (self.youngest.is_some_and(|youngest| mtime > youngest), &labels.min_age),
            (self.oldest.is_some_and(|oldest| mtime < oldest), &labels.max_age),
        ]
        .into_iter()
        .find_map(|(excluded, label)| excluded.then_some(label))
    }

    /// The rule that leaves out whatever is at `path`.
    fn by_path(
        &self,
        path: &RelativePath,
        is_directory: bool,
        parent: &Directory,
    ) -> Option<&Arc<str>> {
        if parent.is_cache && path.name() != CACHE_TAG.as_bytes() {
            return Some(&self.labels.caches);
        }
        if !self.is_listed(path) {
            return Some(&self.labels.files);
        }
        match self.globs.matched(native(path), is_directory) {
            Match::Whitelist(_) => None,
            Match::Ignore(glob) => {
                let line = glob.original();
                let by_line = |rule: &Rule| !rule.include && rule.line() == line;
                let at = self.options.rules.iter().rposition(by_line)?;
                self.labels.rules.get(at)
            }
            Match::None => parent.ignores(path, is_directory).then_some(&self.labels.ignore_files),
        }
    }

    /// Whether `path` is on the list of files, or above or below something on it.
    fn is_listed(&self, path: &RelativePath) -> bool {
        let Some(files) = &self.files else { return true };
        // Those up to here are `path`, or come before it.
        let after = files.partition_point(|file| file.cmp(path) != Ordering::Greater);
        let below = after.checked_sub(1).is_some_and(|at| path.is_within(&files[at]));
        below || files.get(after).is_some_and(|file| file.is_within(path))
    }
}

impl Rule {
    /// What is wrong with it, that a line of an ignore file would not show.
    fn problem(&self) -> Option<&'static str> {
        let glob = self.glob.as_str();
        if glob.trim_matches('/').is_empty() {
            Some("it is empty")
        } else if glob.trim() != glob || glob.contains(['\n', '\r', '\0']) {
            Some("it begins or ends with white space, or has more than one line")
        } else {
            None
        }
    }

    /// As a line of an ignore file.
    fn line(&self) -> String {
        let glob = &self.glob;
        match (self.include, glob.starts_with(['!', '#'])) {
            (true, false) => format!("!{glob}"),
            (true, true) => format!("!\\{glob}"),
            (false, true) => format!("\\{glob}"),
            (false, false) => glob.clone(),
        }
    }
}

impl Labels {
    fn new(options: &FilterOptions) -> Self {
        let rule = |rule: &Rule| {
            let verb = if rule.include { "include" } else { "exclude" };
            Arc::from(format!("{verb} {}", rule.glob))
        };
        Self {
            rules: options.rules.iter().map(rule).collect(),
            ignore_files: format!("ignore_files {}", options.ignore_files.join(", ")).into(),
            caches: "exclude_caches".into(),
            files: "files_from".into(),
            min_size: "min_size".into(),
            max_size: "max_size".into(),
            min_age: "min_age".into(),
            max_age: "max_age".into(),
            one_file_system: "one_file_system".into(),
        }
    }
}

fn native(path: &RelativePath) -> &Path {
    Path::new(OsStr::from_bytes(path.as_bytes()))
}

/// A source without what the rules leave out.
#[derive(Clone)]
pub struct Filtered {
    inner: Arc<dyn Source>,
    filter: Arc<Filter>,
    count: bool,
}

impl Filtered {
    /// `inner` without what `filter` leaves out.
    pub fn new(inner: Arc<dyn Source>, filter: Arc<Filter>) -> Self {
        Self { inner, filter, count: false }
    }

    /// Goes into directories that are left out as well, to count what is in them.
    pub fn counting(self) -> Self {
        Self { count: true, ..self }
    }

    /// The rules.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }
}

impl Source for Filtered {
    fn description(&self) -> SourceDescription {
        self.inner.description()
    }

    fn walk(&self, options: &WalkOptions) -> Result<Walk, SourceError> {
        // Most passes leave nothing out, and nothing is to be asked about each entry then.
        if self.filter.options == FilterOptions::default() && !options.one_file_system {
            return self.inner.walk(options);
        }
        let marks = Arc::new(Marks::new(self.inner.clone(), self.filter.clone()));
        let mut inner = options.clone();
        if !self.count {
            inner.enter = Some(marks.clone().enter());
        }
        let walk = self.inner.walk(&inner)?;
        Ok(Walk::new(Events::new(walk, marks, options.one_file_system, self.count)))
    }

    fn open(&self, path: &RelativePath) -> Result<Box<dyn SourceFile>, crate::ReadError> {
        self.inner.open(path)
    }

    fn complete(&self, entry: &mut Entry) -> Result<(), crate::ReadError> {
        self.inner.complete(entry)
    }

    fn taker(&self, cutter: &Cutter) -> Option<Box<dyn Taker>> {
        self.inner.taker(cutter)
    }

    fn losses(&self) -> &[Loss] {
        self.inner.losses()
    }
}

#[cfg(test)]
mod tests;
