//! What a writer whose keys are good can do to whoever restores what it wrote: nothing outside of
//! the target, and nothing without a word.
//!
//! Every repository of the catalogue is real: packs, a manifest, a signed snapshot. It is restored
//! twice, and verified. A directory beside the target, which the manifests aim at, is compared
//! before and after with everything that the kernel tells of it, the times of change included. All
//! of it runs as root and as a user, each with `openat2` and where the kernel refuses it, in child
//! processes whose address space is bounded.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "a test says what it counted")]

mod catalogue;
#[path = "../common/mod.rs"]
mod common;
mod rogue;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use catalogue::{Case, Expected};
use common::World;
use drover_ops::{Cancel, Error, RestoreOutcome, VerifyOptions, verify};
use drover_types::{Silent, SnapshotId};
use rogue::Rogue;
use rustix::process::{Resource, Rlimit, geteuid, setrlimit};

/// Set in the children; names what they are to do without.
const CHILD: &str = "DROVER_HOSTILE_CHILD";
/// Bytes of address space of a child: threads' stacks and arenas, and what is mapped of its files.
const ADDRESS_SPACE: u64 = 3 << 30;
/// Bytes of memory that a child may have held at a time.
const MEMORY: u64 = 256 << 20;

/// Everything that can be seen of a tree from outside; less how many names its files have, and when
/// that changed, where others lie within the target.
fn picture(root: &Path, shared: bool) -> BTreeMap<PathBuf, String> {
    let mut seen = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let m = fs::symlink_metadata(&path).unwrap();
        let content = match m.file_type() {
            kind if kind.is_file() => blake3::hash(&fs::read(&path).unwrap()).to_string(),
            kind if kind.is_symlink() => format!("{:?}", fs::read_link(&path).unwrap()),
            _ => String::new(),
        };
        if m.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let change = (!shared).then(|| (m.nlink(), m.ctime(), m.ctime_nsec()));
        let modified = (m.mtime(), m.mtime_nsec());
        let what = (m.ino(), m.mode(), m.uid(), m.gid(), m.size(), modified, change);
        seen.insert(path, format!("{what:?} {content}"));
    }
    seen
}

fn make_guard(guard: &Path) {
    fs::create_dir_all(guard.join("inner")).unwrap();
    fs::write(guard.join("file"), "guard").unwrap();
    fs::set_permissions(guard.join("file"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(guard.join("inner/file"), "inner guard").unwrap();
    symlink("file", guard.join("link")).unwrap();
    fs::hard_link(guard.join("file"), guard.join("name")).unwrap();
}

fn names(world: &World) -> BTreeSet<PathBuf> {
    fs::read_dir(world.dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn restore(world: &World, snapshot: SnapshotId, case: &Case) -> Result<RestoreOutcome, Error> {
    world.restore_with(snapshot, case.below, "target", &case.options)
}

fn run(case: &Case, what: &str) {
    let world = World::new();
    let (guard, target) = (world.path("guard"), world.path("target"));
    make_guard(&guard);
    let aim = guard.display().to_string();
    if let Some(first) = case.first {
        let mut rogue = Rogue::new(&world);
        let entries = first(&mut rogue, &aim);
        let snapshot = rogue.publish(&entries);
        let outcome = restore(&world, snapshot, case).unwrap();
        assert_eq!(outcome.exceptions, [], "{what}, before");
    }
    if let Some(plant) = case.plant {
        fs::create_dir_all(&target).unwrap();
        plant(&target, &guard);
    }
    let mut rogue = Rogue::new(&world);
    let entries = (case.build)(&mut rogue, &aim);
    let snapshot = rogue.publish(&entries);
    fs::create_dir_all(&target).unwrap();

    let (before, beside) = (picture(&guard, case.shared), names(&world));
    let outcome = restore(&world, snapshot, case);
    assert_eq!(picture(&guard, case.shared), before, "{what} touched what is outside");
    assert_eq!(names(&world), beside, "{what} left something beside the target");
    let expected = match &case.as_user {
        Some(expected) if !geteuid().is_root() => expected,
        _ => &case.expected,
    };
    expected.check(&outcome, what);
    if let Some(check) = case.check {
        check(&target, &guard);
    }

    // Onto what landed, and looked at by those who only read.
    let _ = restore(&world, snapshot, case);
    let options = VerifyOptions { read_data: Some(1.0), ..VerifyOptions::default() };
    let _ = verify(&mut world.reader(), &options, &Silent, &Cancel::new());
    assert_eq!(
        picture(&guard, case.shared),
        before,
        "{what} touched what is outside, the second time"
    );
    assert_eq!(names(&world), beside, "{what} left something beside the target");
}

impl Expected {
    fn check(&self, outcome: &Result<RestoreOutcome, Error>, what: &str) {
        match (self, outcome) {
            (Expected::Refused(why), Err(error)) => {
                assert!(error.to_string().contains(why), "{what}: {error}");
            }
            (Expected::Excepted(paths), Ok(outcome)) => {
                let found: BTreeSet<_> =
                    outcome.exceptions.iter().map(|e| e.path.to_string()).collect();
                let paths = paths.iter().map(ToString::to_string).collect();
                assert_eq!(found, paths, "{what}: {:?}", outcome.exceptions);
            }
            (Expected::Landed, Ok(outcome)) => assert_eq!(outcome.exceptions, [], "{what}"),
            (Expected::Harmless, _) => {}
            _ => panic!("{what}: {outcome:?}"),
        }
    }
}

/// As on a kernel before 5.6: for this thread, and those that it will start.
fn without_openat2() {
    use seccompiler::{SeccompAction, SeccompFilter, apply_filter};
    const OPENAT2: i64 = 437;
    const ENOSYS: u32 = 38;
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let rules = [(OPENAT2, Vec::new())].into_iter().collect();
    let refuse = SeccompAction::Errno(ENOSYS);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).unwrap();
    let program: seccompiler::BpfProgram = filter.try_into().unwrap();
    apply_filter(&program).unwrap();
}

/// Runs in the children only.
#[test]
fn child() {
    let Ok(without) = std::env::var(CHILD) else { return };
    if without == "openat2" {
        without_openat2();
    }
    let limit = Rlimit { current: Some(ADDRESS_SPACE), maximum: Some(ADDRESS_SPACE) };
    setrlimit(Resource::As, limit).unwrap();
    let only = std::env::var("DROVER_HOSTILE_ONLY").unwrap_or_default();
    let cases = catalogue::cases();
    for case in cases.iter().filter(|case| case.name.contains(&only)) {
        run(case, case.name);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("{} manifests, at most {} MiB", cases.len(), peak >> 10);
    assert!(peak << 10 < MEMORY, "{peak} kB of memory");
}

#[test]
fn nothing_outside_of_the_target_is_touched() {
    let directory = tempfile::tempdir().unwrap();
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(directory.path(), open.clone()).unwrap();
    let program = directory.path().join("hostile");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, open).unwrap();

    let names: BTreeSet<_> = catalogue::cases().iter().map(|case| case.name).collect();
    assert_eq!(names.len(), catalogue::cases().len(), "each has its name");
    assert!(names.len() >= 60);
    let mut children = Vec::new();
    for user in [false, true] {
        if user && !geteuid().is_root() {
            continue;
        }
        for without in ["nothing", "openat2"] {
            let mut command = match user {
                false => Command::new(&program),
                true => {
                    let mut command = Command::new("setpriv");
                    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
                    command.arg("--inh-caps=-all").arg(&program);
                    command
                }
            };
            command
                .args(["--exact", "child", "--nocapture"])
                .env(CHILD, without)
                .env("TMPDIR", directory.path())
                .current_dir(directory.path())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let child = command.spawn().expect("setpriv, of util-linux, runs the tests as a user");
            let who = if user { "as a user" } else { "as whoever runs the tests" };
            children.push((format!("{who}, without {without}"), child));
        }
    }
    for (who, child) in children {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let told = text.lines().find(|line| line.contains("manifests"));
        assert!(
            output.status.success() && told.is_some(),
            "{who}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        println!("{who}: {}", told.unwrap_or_default());
    }
}
