#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, path::Path};

use drover_types::ExceptionKind;
use proptest::prelude::*;

use super::*;
use crate::{LocalSource, Share, WalkEvent};

fn rule(text: &str) -> Rule {
    let (verb, glob) = text.split_once(' ').unwrap();
    Rule { include: verb == "include", glob: glob.to_owned() }
}

fn rules(texts: &[&str]) -> FilterOptions {
    FilterOptions { rules: texts.iter().map(|text| rule(text)).collect(), ..Default::default() }
}

fn paths(texts: &[&str]) -> Option<Vec<RelativePath>> {
    Some(texts.iter().map(|text| RelativePath::new(text.as_bytes()).unwrap()).collect())
}

/// A tree of these files, each with its own path as content.
fn tree(files: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    dir
}

/// What a walk yields: entries that are taken, problems, and what each rule leaves out.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    taken: Vec<String>,
    problems: Vec<(String, ExceptionKind)>,
    shares: BTreeMap<String, Share>,
}

fn see(root: &Path, options: FilterOptions, count: bool) -> Seen {
    let filter = Filter::new(options, drover_types::clock::now()).unwrap();
    let source = Filtered::new(Arc::new(LocalSource::open(root).unwrap()), Arc::new(filter));
    let source = if count { source.counting() } else { source };
    let mut seen = Seen::default();
    let mut last: Option<RelativePath> = None;
    for event in source.walk(&WalkOptions::default()).unwrap() {
        assert!(last.as_ref().is_none_or(|last| last <= event.path()), "out of order");
        last = Some(event.path().clone());
        match event {
            WalkEvent::Entry(entry) if entry.path.is_root() => {}
            WalkEvent::Entry(entry) => seen.taken.push(entry.path.to_string()),
            WalkEvent::Problem { path, exception, .. } => {
                seen.problems.push((path.to_string(), exception.kind));
            }
            WalkEvent::Excluded { rule, share, .. } => {
                *seen.shares.entry(rule.to_string()).or_default() += share;
            }
        }
    }
    seen
}

fn taken(root: &Path, options: FilterOptions) -> Vec<String> {
    let seen = see(root, options.clone(), false);
    let counted = see(root, options, true);
    assert_eq!(seen.taken, counted.taken, "counting changes what is taken");
    assert!(counted.shares.values().all(|share| share.unseen == 0));
    seen.taken
}

#[test]
fn the_last_rule_that_matches_counts() {
    let dir = tree(&["a.tmp", "keep.tmp", "b/c.tmp", "b/d", "#x", "!y"]);
    let all = ["!y", "#x", "a.tmp", "b", "b/c.tmp", "b/d", "keep.tmp"];
    assert_eq!(taken(dir.path(), rules(&[])), all);
    let out = |texts: &[&str]| {
        let left = taken(dir.path(), rules(texts));
        all.into_iter().filter(|path| !left.iter().any(|l| l == path)).collect::<Vec<_>>()
    };
    assert_eq!(out(&["exclude *.tmp"]), ["a.tmp", "b/c.tmp", "keep.tmp"]);
    assert_eq!(out(&["exclude *.tmp", "include keep.tmp"]), ["a.tmp", "b/c.tmp"]);
    assert_eq!(out(&["include keep.tmp", "exclude *.tmp"]), ["a.tmp", "b/c.tmp", "keep.tmp"]);
    assert_eq!(out(&["exclude /*.tmp"]), ["a.tmp", "keep.tmp"]);
    assert_eq!(out(&["exclude b/*", "include b/d"]), ["b/c.tmp"]);
    assert_eq!(out(&["exclude d/"]), [""; 0]);
    assert_eq!(out(&["exclude b/"]), ["b", "b/c.tmp", "b/d"]);
    // Below a directory that is left out nothing is taken.
    assert_eq!(out(&["exclude b", "include b/d"]), ["b", "b/c.tmp", "b/d"]);
    assert_eq!(out(&["exclude #x", "exclude !y"]), ["!y", "#x"]);
    assert_eq!(out(&["exclude *", "include !y"]).len(), 6);
}

#[test]
fn what_is_left_out_is_not_walked_and_counted_only_when_asked() {
    let dir = tree(&["cache/a", "cache/deep/b", "x.tmp", "keep"]);
    let options = rules(&["exclude cache", "exclude *.tmp"]);
    let share = |entries, bytes, unseen| Share { entries, bytes, unseen };
    let seen = see(dir.path(), options.clone(), false);
    assert_eq!(seen.shares["exclude cache"], share(1, 0, 1));
    assert_eq!(seen.shares["exclude *.tmp"], share(1, 5, 0));
    let seen = see(dir.path(), options, true);
    assert_eq!(seen.shares["exclude cache"], share(4, 7 + 12, 0));
}

#[test]
fn ignore_files_hold_for_their_directory_and_rules_stand_above_them() {
    let dir = tree(&["log", "a/log", "a/b/log", "a/b/keep.log", "a/x.log", "top.log"]);
    fs::write(dir.path().join(".gitignore"), "*.log\n").unwrap();
    fs::write(dir.path().join("a/.gitignore"), "# a comment\n/log\n[\n").unwrap();
    fs::write(dir.path().join("a/b/.gitignore"), "!keep.log\n").unwrap();
    let names = FilterOptions { ignore_files: vec![".gitignore".into()], ..Default::default() };
    let left = taken(dir.path(), names.clone());
    let expected = [
        ".gitignore",
        "a",
        "a/.gitignore",
        "a/b",
        "a/b/.gitignore",
        "a/b/keep.log",
        "a/b/log",
        "log",
    ];
    assert_eq!(left, expected);
    let above = FilterOptions { rules: rules(&["include top.log"]).rules, ..names };
    assert!(taken(dir.path(), above).contains(&"top.log".to_owned()));
    assert_eq!(taken(dir.path(), rules(&[])).len(), 11);
}

#[test]
fn a_cache_keeps_its_directory_and_its_tag() {
    let dir = tree(&["c/deep/x", "c/y", "false/y", "z"]);
    let tag = "Signature: 8a477f597d28d172789f06886806bc55\n# made by something\n";
    fs::write(dir.path().join("c/CACHEDIR.TAG"), tag).unwrap();
    fs::write(dir.path().join("false/CACHEDIR.TAG"), "Signature: another").unwrap();
    let options = FilterOptions { exclude_caches: true, ..Default::default() };
    let expected = ["c", "c/CACHEDIR.TAG", "false", "false/CACHEDIR.TAG", "false/y", "z"];
    assert_eq!(taken(dir.path(), options), expected);
}

#[test]
fn a_list_takes_what_is_on_it_and_tells_what_is_missing() {
    let dir = tree(&["a/b/c", "a/b/d", "a/e", "f", "a.x"]);
    let options = FilterOptions { files: paths(&["a/b", "a/b/c", "gone", "a/none"]), ..rules(&[]) };
    let seen = see(dir.path(), options, false);
    assert_eq!(seen.taken, ["a", "a/b", "a/b/c", "a/b/d"]);
    let vanished = |path: &str| (path.to_owned(), ExceptionKind::Vanished);
    assert_eq!(seen.problems, [vanished("a/none"), vanished("gone")]);
    assert_eq!(seen.shares["files_from"].entries, 3);

    // What is below something that a rule leaves out is not missing.
    let options = FilterOptions { files: paths(&["a/b/x", "f"]), ..rules(&["exclude a"]) };
    let seen = see(dir.path(), options, false);
    assert_eq!((seen.taken, seen.problems), (vec!["f".to_owned()], vec![]));
}

#[test]
fn sizes_and_ages_are_those_of_files() {
    let dir = tree(&["d/small", "d/a-much-larger-one"]);
    let old = std::fs::File::options().write(true).open(dir.path().join("d/small")).unwrap();
    old.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
    let with = |change: fn(&mut FilterOptions)| {
        let mut options = FilterOptions::default();
        change(&mut options);
        taken(dir.path(), options)
    };
    let (small, large) = (["d", "d/small"], ["d", "d/a-much-larger-one"]);
    assert_eq!(with(|o| o.max_size = Some(7)), small);
    assert_eq!(with(|o| o.min_size = Some(8)), large);
    assert_eq!(with(|o| o.max_age = Some(Duration::from_secs(3600))), large);
    assert_eq!(with(|o| o.min_age = Some(Duration::from_secs(3600))), small);
    assert_eq!(with(|o| o.max_age = Some(Duration::MAX)).len(), 3);
}

#[test]
fn an_answer_that_was_given_stands() {
    // What the walk did not go into must stay left out, even where the ignore file goes away
    // between the question and the entry: it would be taken for removed.
    let dir = tree(&["a/x"]);
    fs::write(dir.path().join(".gitignore"), "a\n").unwrap();
    let names = FilterOptions { ignore_files: vec![".gitignore".into()], ..Default::default() };
    let filter = Arc::new(Filter::new(names, Timestamp::default()).unwrap());
    let inner: Arc<dyn Source> = Arc::new(LocalSource::open(dir.path()).unwrap());
    let marks = Marks::new(inner.clone(), filter);
    let a = inner
        .walk(&WalkOptions::default())
        .unwrap()
        .find_map(|event| match event {
            WalkEvent::Entry(entry) if entry.path.to_string() == "a" => Some(entry),
            _ => None,
        })
        .unwrap();
    assert!(marks.directory(&a).excluded.is_some());
    fs::write(dir.path().join(".gitignore"), "").unwrap();
    assert!(marks.directory(&a).excluded.is_some());
    marks.forget(&a.path);
    marks.forget(&RelativePath::root());
    assert!(marks.directory(&a).excluded.is_none());
}

#[test]
fn rules_that_cannot_be_meant_are_refused() {
    for text in ["", "/", "a\nb", " a", "a ", "a{b"] {
        let options = FilterOptions {
            rules: vec![Rule { include: false, glob: text.to_owned() }],
            ..Default::default()
        };
        assert!(Filter::new(options, Timestamp::default()).is_err(), "{text:?}");
    }
}

proptest! {
    /// A walk that goes into nothing that is left out takes the same as one that goes into all.
    #[test]
    fn pruning_changes_nothing(
        files in proptest::collection::btree_set("[ab]{1,2}(/[ab]{1,2}){0,2}", 1..12),
        globs in proptest::collection::vec(("[ab*/]{1,4}", any::<bool>()), 0..4),
        listed in proptest::option::of(proptest::collection::vec("[ab]{1,2}(/[ab]{1,2})?", 0..4)),
    ) {
        let dir = tempfile::tempdir().unwrap();
        for file in &files {
            let path = dir.path().join(file);
            // Some of them are directories of others.
            let _ = fs::create_dir_all(path.parent().unwrap());
            let _ = fs::write(path, file);
        }
        let rules: Vec<_> =
            globs.into_iter().map(|(glob, include)| Rule { include, glob }).collect();
        prop_assume!(rules.iter().all(|rule| rule.problem().is_none()));
        let files = listed.map(|l| l.iter().map(|p| RelativePath::new(p.as_bytes()).unwrap()).collect());
        let options = FilterOptions { rules, files, ..Default::default() };
        prop_assume!(Filter::new(options.clone(), Timestamp::default()).is_ok());
        let pruned = see(dir.path(), options.clone(), false);
        let counted = see(dir.path(), options, true);
        prop_assert_eq!(&pruned.taken, &counted.taken);
        prop_assert_eq!(&pruned.problems, &counted.problems);
        let all = see(dir.path(), FilterOptions::default(), false).taken.len() as u64;
        let left: u64 = counted.shares.values().map(|share| share.entries).sum();
        prop_assert_eq!(counted.taken.len() as u64 + left, all);
    }
}
