//! What directories say about what is in them: ignore files and cache tags.
//!
//! A walk asks about a directory from one of its threads before the directory's entry comes out at
//! its end, and both must get the same answer, whatever happens to the files in between: what was
//! not gone into for a rule would otherwise be taken for removed. So each directory is decided
//! once, and the decision is kept until the walk has left the directory.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use drover_types::{Entry, RelativePath, lock};
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::{CACHE_TAG, Filter, native};
use crate::{Enter, Source};

/// A longer ignore file is not followed.
const LONGEST_IGNORE_FILE: usize = 64 << 10;
/// How a cache's tag begins.
const SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// A directory that was decided about.
#[derive(Debug)]
pub(super) struct Directory {
    /// The rule that leaves it out, and everything in it.
    pub(super) excluded: Option<Arc<str>>,
    /// Only its tag is taken.
    pub(super) is_cache: bool,
    /// What ignore files in it and above it say.
    ignored: Option<Arc<Ignored>>,
}

/// The ignore files of one directory, and of those above it.
#[derive(Debug)]
struct Ignored {
    directory: RelativePath,
    /// In the order of their names in the options.
    files: Vec<Gitignore>,
    above: Option<Arc<Ignored>>,
}

impl Directory {
    /// Whether ignore files leave out `path`, which is right in this directory.
    pub(super) fn ignores(&self, path: &RelativePath, is_directory: bool) -> bool {
        let mut level = self.ignored.as_ref();
        while let Some(ignored) = level {
            let below = path.strip_prefix(&ignored.directory).unwrap_or_default();
            for file in ignored.files.iter().rev() {
                let matched = file.matched(native(&below), is_directory);
                if !matched.is_none() {
                    return matched.is_ignore();
                }
            }
            level = ignored.above.as_ref();
        }
        false
    }
}

/// The decisions about the directories that a walk is in, or is about to come to.
pub(super) struct Marks {
    source: Arc<dyn Source>,
    pub(super) filter: Arc<Filter>,
    decided: Mutex<HashMap<RelativePath, Arc<Directory>>>,
}

impl Marks {
    pub(super) fn new(source: Arc<dyn Source>, filter: Arc<Filter>) -> Self {
        Self { source, filter, decided: Mutex::default() }
    }

    /// The walk's question.
    pub(super) fn enter(self: Arc<Self>) -> Enter {
        Enter::new(move |entry| self.directory(entry).excluded.is_none())
    }

    /// What was, and from now on is, decided about this directory.
    pub(super) fn directory(&self, entry: &Entry) -> Arc<Directory> {
        if let Some(known) = lock(&self.decided).get(&entry.path) {
            return known.clone();
        }
        let decided = Arc::new(self.decide(entry));
        // Only the first answer counts.
        lock(&self.decided).entry(entry.path.clone()).or_insert(decided).clone()
    }

    /// The walk has left it for good.
    pub(super) fn forget(&self, path: &RelativePath) {
        lock(&self.decided).remove(path);
    }

    /// The directory that holds `path`. The walk came to it before it came to `path`.
    pub(super) fn parent(&self, path: &RelativePath) -> Option<Arc<Directory>> {
        let parent = path.parent()?;
        if let Some(known) = lock(&self.decided).get(&parent) {
            return Some(known.clone());
        }
        // A walk need not ask about its root.
        parent.is_root().then(|| {
            let root = Arc::new(self.read(&parent, None));
            lock(&self.decided).entry(parent).or_insert(root).clone()
        })
    }

    fn decide(&self, entry: &Entry) -> Directory {
        let Some(parent) = self.parent(&entry.path) else {
            return self.read(&entry.path, None);
        };
        let excluded = parent.excluded.as_ref();
        match excluded.or_else(|| self.filter.excludes(entry, &parent)) {
            Some(rule) => {
                Directory { excluded: Some(rule.clone()), is_cache: false, ignored: None }
            }
            None => self.read(&entry.path, parent.ignored.clone()),
        }
    }

    /// Reads what a directory says about what is in it.
    fn read(&self, path: &RelativePath, above: Option<Arc<Ignored>>) -> Directory {
        let options = &self.filter.options;
        let is_cache = options.exclude_caches
            && self.beginning(path, CACHE_TAG, SIGNATURE.len()).is_some_and(|tag| tag == SIGNATURE);
        let files: Vec<_> = options
            .ignore_files
            .iter()
            .filter_map(|name| self.beginning(path, name, LONGEST_IGNORE_FILE + 1))
            .filter(|text| text.len() <= LONGEST_IGNORE_FILE)
            .filter_map(|text| ignore_file(&text))
            .collect();
        let ignored = match files.is_empty() {
            true => above,
            false => Some(Arc::new(Ignored { directory: path.clone(), files, above })),
        };
        Directory { excluded: None, is_cache, ignored }
    }

    /// The first `most` bytes of a file. What cannot be read says nothing: the pass meets it again
    /// as an entry.
    fn beginning(&self, directory: &RelativePath, name: &str, most: usize) -> Option<Vec<u8>> {
        let mut file = self.source.open(&directory.join(name.as_bytes()).ok()?).ok()?;
        let mut bytes = vec![0; most];
        let mut len = 0;
        while len < most {
            match file.read_at(len as u64, &mut bytes[len..]).ok()? {
                0 => break,
                n => len += n,
            }
        }
        bytes.truncate(len);
        Some(bytes)
    }
}

/// The rules of an ignore file. A line that is none is passed over, as git does.
fn ignore_file(text: &[u8]) -> Option<Gitignore> {
    let mut globs = GitignoreBuilder::new(".");
    for line in String::from_utf8_lossy(text).trim_start_matches('\u{feff}').lines() {
        let _ = globs.add_line(None, line);
    }
    globs.build().ok().filter(|globs| !globs.is_empty())
}
