//! A walk's events without what the rules leave out.

use std::{collections::VecDeque, sync::Arc};

use drover_types::{Entry, Exception, ExceptionKind, Kind, RelativePath};

use super::marks::Marks;
use crate::{Scope, Share, Walk, WalkEvent};

/// The events that are left, in their order.
pub(super) struct Events {
    walk: Walk,
    marks: Arc<Marks>,
    one_file_system: bool,
    /// Directories that are left out are walked, to count what is in them.
    count: bool,
    /// The root's file system.
    device: Option<u64>,
    /// The directories that the walk is in.
    within: Vec<RelativePath>,
    /// The directory whose entry came last.
    last: Option<RelativePath>,
    /// A directory that is left out, and why.
    excluded: Option<(RelativePath, Arc<str>)>,
    /// Directories that the walk is in, of which something could not be seen or that are left out:
    /// what is on the list of files and does not come may be there.
    unseen: Vec<RelativePath>,
    /// How many of the list of files the walk has passed.
    listed: usize,
    ready: VecDeque<WalkEvent>,
    ended: bool,
}

impl Events {
    pub(super) fn new(walk: Walk, marks: Arc<Marks>, one_file_system: bool, count: bool) -> Self {
        Self {
            walk,
            marks,
            one_file_system,
            count,
            device: None,
            within: Vec::new(),
            last: None,
            excluded: None,
            unseen: Vec::new(),
            listed: 0,
            ready: VecDeque::new(),
            ended: false,
        }
    }

    fn take(&mut self, event: WalkEvent) {
        let path = event.path();
        self.missing_before(Some(path));
        while self.within.last().is_some_and(|directory| !path.is_within(directory)) {
            self.within.pop().inspect(|directory| self.marks.forget(directory));
        }
        while self.unseen.last().is_some_and(|directory| !path.is_within(directory)) {
            self.unseen.pop();
        }
        if self.excluded.as_ref().is_some_and(|(directory, _)| !path.is_within(directory)) {
            self.excluded = None;
        }
        match event {
            WalkEvent::Entry(entry) => self.entry(entry),
            WalkEvent::Problem { path, scope, exception } => self.problem(path, scope, exception),
            event @ WalkEvent::Excluded { .. } => self.ready.push_back(event),
        }
    }

    fn entry(&mut self, entry: Entry) {
        let device = *self.device.get_or_insert(entry.evidence.device);
        let is_directory = entry.kind == Kind::Directory;
        self.last = is_directory.then(|| entry.path.clone());
        if let Some((_, rule)) = &self.excluded {
            if self.count {
                let event = excluded(&entry, rule.clone(), 0);
                self.ready.push_back(event);
            }
            return;
        }
        let rule = if is_directory {
            self.within.push(entry.path.clone());
            self.marks.directory(&entry).excluded.clone()
        } else {
            let marks = self.marks.clone();
            marks
                .parent(&entry.path)
                .and_then(|parent| marks.filter.excludes(&entry, &parent).cloned())
        };
        match rule {
            Some(rule) => {
                let unseen = u64::from(is_directory && !self.count);
                self.ready.push_back(excluded(&entry, rule.clone(), unseen));
                if is_directory {
                    self.unseen.push(entry.path.clone());
                    self.excluded = Some((entry.path, rule));
                }
            }
            None => {
                let elsewhere = entry.evidence.device != device;
                let left_out = is_directory && self.one_file_system && elsewhere;
                let mount = left_out.then(|| entry.path.clone());
                self.ready.push_back(WalkEvent::Entry(entry));
                if let Some(path) = mount {
                    let rule = self.marks.filter.labels.one_file_system.clone();
                    self.unseen.push(path.clone());
                    let share = Share { unseen: 1, ..Share::default() };
                    self.ready.push_back(WalkEvent::Excluded { path, rule, share });
                }
            }
        }
    }

    fn problem(&mut self, path: RelativePath, scope: Scope, exception: Exception) {
        if let Some((_, rule)) = &self.excluded {
            if self.count {
                let (rule, unseen) = (rule.clone(), u64::from(scope != Scope::Entry));
                let share = Share { unseen, ..Share::default() };
                self.ready.push_back(WalkEvent::Excluded { path, rule, share });
            }
            return;
        }
        // What cannot be seen may be left out all the same, by its name.
        if scope != Scope::Listing
            && self.last.as_ref() != Some(&path)
            && let Some(parent) = self.marks.parent(&path)
            && let Some(rule) = self.marks.filter.by_path(&path, false, &parent)
        {
            let (rule, unseen) = (rule.clone(), u64::from(scope == Scope::Subtree));
            let share = Share { entries: 1, bytes: 0, unseen };
            self.ready.push_back(WalkEvent::Excluded { path, rule, share });
            return;
        }
        if scope != Scope::Entry {
            self.unseen.push(path.clone());
        }
        self.ready.push_back(WalkEvent::Problem { path, scope, exception });
    }

    /// Tells of what is on the list of files, comes before `next` and did not come.
    fn missing_before(&mut self, next: Option<&RelativePath>) {
        let files = self.marks.filter.files.as_deref().unwrap_or_default();
        while let Some(file) = files.get(self.listed) {
            match next {
                Some(next) if next < file => break,
                Some(next) if next.is_within(file) => {
                    self.listed += 1;
                    break;
                }
                _ => {}
            }
            self.listed += 1;
            if self.unseen.iter().any(|directory| file.is_within(directory)) {
                continue;
            }
            let exception = Exception {
                path: file.clone(),
                kind: ExceptionKind::Vanished,
                message: "it is on the list of files, and is not there".to_owned(),
            };
            let (path, scope) = (file.clone(), Scope::Entry);
            self.ready.push_back(WalkEvent::Problem { path, scope, exception });
        }
    }
}

/// An entry that is left out.
fn excluded(entry: &Entry, rule: Arc<str>, unseen: u64) -> WalkEvent {
    let bytes = if entry.kind == Kind::File { entry.evidence.size } else { 0 };
    let share = Share { entries: 1, bytes, unseen };
    WalkEvent::Excluded { path: entry.path.clone(), rule, share }
}

impl Iterator for Events {
    type Item = WalkEvent;

    fn next(&mut self) -> Option<WalkEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            match self.walk.next() {
                Some(event) => self.take(event),
                None => {
                    self.ended = true;
                    self.missing_before(None);
                }
            }
        }
    }
}
