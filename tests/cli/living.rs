//! Sources that people work on: what is left out, what a dry run says of it, and the commands around a
//! pass.

use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};

use serde_json::Value;

use crate::lab::{Answer, Lab, PASSWORD, number};

/// Fills `root` with files of which a plan leaves out some, all of them too old to be racy.
fn fill(root: &Path) {
    for (path, len) in [
        ("letters/a", 1000),
        ("letters/b.tmp", 200),
        ("letters/keep.tmp", 300),
        ("work/cache/x", 4000),
        ("work/cache/deep/y", 5000),
        ("work/report", 70_000),
        ("large", 3 << 20),
        ("built/.gitignore", 2),
        ("built/out.o", 900),
    ] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, vec![b'x'; len]).unwrap();
    }
    fs::write(root.join("built/.gitignore"), "*.o\n").unwrap();
    fs::write(
        root.join("work/cache/CACHEDIR.TAG"),
        "Signature: 8a477f597d28d172789f06886806bc55\n",
    )
    .unwrap();
}

fn plan(lab: &Lab, keys: &str) -> String {
    let plan = lab.path("plan.toml");
    let (repository, source) = (&lab.repository, lab.path("source"));
    let source = source.display();
    fs::write(
        &plan,
        format!(
            "[repository]\nurl = \"{repository}\"\n[[source]]\nname = \"clinic\"\nurl = \"{source}\"\n{keys}\n"
        ),
    )
    .unwrap();
    plan.to_str().unwrap().to_owned()
}

const RULES: &str = "rules = [\"exclude *.tmp\", \"include keep.tmp\", \"exclude none\"]
ignore_files = [\".gitignore\"]
exclude_caches = true
max_size = \"1 MiB\"";

/// What the rules left out, as rule, entries, bytes and directories that were not gone into.
fn shares(document: &Value) -> Vec<(String, u64, u64, u64)> {
    let Some(rules) = document["exclusions"].as_array() else { return Vec::new() };
    let one = |rule: &Value| {
        let n = |field: &str| rule[field].as_u64().unwrap();
        (rule["rule"].as_str().unwrap().to_owned(), n("entries"), n("bytes"), n("unseen"))
    };
    rules.iter().map(one).collect()
}

/// Runs a dry run and then the pass, and compares what both say.
fn foretold(lab: &Lab, arguments: &[&str]) -> (Value, Value) {
    let run = |more: &[&str]| {
        let all = [&["sync", "--json"], arguments, more].concat();
        lab.run(&all).expect(0).json()
    };
    let before = objects(lab);
    let told = run(&["--dry-run"]);
    assert_eq!(told["dry_run"], true);
    assert_eq!(told["snapshot"], Value::Null);
    assert_eq!(objects(lab), before, "a dry run left something in the repository");
    let done = run(&[]);
    for field in ["total", "new", "removed", "excluded"] {
        assert_eq!(told["entries"][field], done["entries"][field], "{field}: {told} {done}");
    }
    let looked_at = number(&told, "/entries/changed");
    let differ = number(&done, "/entries/changed") + number(&done, "/entries/metadata");
    assert!(looked_at >= differ, "{told} {done}");
    assert_eq!(told["bytes"]["read"], done["bytes"]["read"], "{told} {done}");
    assert_eq!(told["bytes"]["source"], done["bytes"]["source"], "{told} {done}");
    let rule = |(rule, ..): (String, u64, u64, u64)| rule;
    let rules = |document| shares(document).into_iter().map(rule).collect::<Vec<_>>();
    assert_eq!(rules(&told), rules(&done));
    (told, done)
}

/// The names of all objects of the repository.
fn objects(lab: &Lab) -> Vec<String> {
    let mut names = Vec::new();
    let mut directories = vec![Path::new(&lab.repository).to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                names.push(path.display().to_string());
            }
        }
    }
    names.sort();
    names
}

#[test]
fn what_a_dry_run_says_is_what_the_pass_does() {
    let lab = Lab::with_repository();
    let source = lab.path("source");
    fill(&source);
    let with = plan(&lab, RULES);
    let (told, done) = foretold(&lab, &[&with]);
    let share = |rule: &str, entries, bytes, unseen| (rule.to_owned(), entries, bytes, unseen);
    let expected = [
        share("exclude *.tmp", 1, 200, 0),
        share("exclude none", 0, 0, 0),
        share("ignore_files .gitignore", 1, 900, 0),
        share("exclude_caches", 3, 9000, 0),
        share("max_size", 1, 3 << 20, 0),
    ];
    assert_eq!(shares(&told), expected);
    // A pass does not go into what it leaves out.
    assert_eq!(shares(&done)[3], share("exclude_caches", 2, 4000, 1));

    // What is changed, gone and new later.
    fs::write(source.join("letters/a"), "another").unwrap();
    fs::remove_file(source.join("letters/keep.tmp")).unwrap();
    fs::write(source.join("work/new"), "new").unwrap();
    foretold(&lab, &[&with]);
    lab.run(&["verify", &with, "--source", "clinic", "--json"]).expect(0);
    lab.run(&["verify", &with, "--read-data", "--json"]).expect(0);
}

#[test]
fn what_a_new_rule_leaves_out_is_not_counted_as_removed() {
    let lab = Lab::with_repository();
    let source = lab.path("source");
    fill(&source);
    let without = plan(&lab, "");
    let (_, whole) = foretold(&lab, &[&without]);
    let all = number(&whole, "/entries/total");

    // work/cache with four entries, and what is really gone beside it.
    fs::remove_file(source.join("letters/b.tmp")).unwrap();
    let with = plan(&lab, "rules = [\"exclude work/cache\"]");
    let (_, less) = foretold(&lab, &[&with]);
    assert_eq!(number(&less, "/entries/excluded"), 5);
    assert_eq!(number(&less, "/entries/removed"), 1);
    assert_eq!(number(&less, "/entries/total"), all - 6);
    // The source is compared as the plan takes it, and as a whole.
    let compared = lab.run(&["verify", &with, "--source", "clinic", "--json"]).expect(0).json();
    assert_eq!(compared["changed_since"], serde_json::json!([]));

    // Without the rule it comes back, and nothing of it is sent again.
    let without = plan(&lab, "");
    let (_, again) = foretold(&lab, &[&without]);
    assert_eq!(number(&again, "/entries/new"), 5);
    let (read, new) = (number(&again, "/bytes/read"), number(&again, "/bytes/new"));
    assert!(read >= 9000 && new < 4000, "no more than the manifest is new: {again}");
}

#[test]
fn options_add_to_the_plan_and_the_last_one_counts() {
    let lab = Lab::with_repository();
    fill(&lab.path("source"));
    let with = plan(&lab, "rules = [\"exclude *.tmp\"]");
    let paths = |arguments: &[&str]| {
        let (_, done) = foretold(&lab, &[&[&*with][..], arguments].concat());
        let id = done["snapshot"].as_str().unwrap();
        let listed = lab.verb("ls", &[id, "--recursive"]).expect(0).json();
        let path = |entry: &Value| entry["path"].as_str().unwrap().to_owned();
        let paths: Vec<String> = listed["entries"].as_array().unwrap().iter().map(path).collect();
        paths.into_iter().filter(|path| path.starts_with("letters/")).collect::<Vec<_>>()
    };
    assert_eq!(paths(&[]), ["letters/a"]);
    assert_eq!(paths(&["--include", "b.*"]), ["letters/a", "letters/b.tmp"]);
    assert_eq!(
        paths(&["--include", "*.tmp", "--exclude", "b.*"]),
        ["letters/a", "letters/keep.tmp"]
    );
    assert_eq!(paths(&["--exclude", "b.*", "--include", "*.tmp"]).len(), 3);
    assert_eq!(paths(&["--exclude", "letters/*"]), [""; 0]);

    let old = File::options().write(true).open(lab.path("source/letters/a")).unwrap();
    let made = old.metadata().unwrap().modified().unwrap();
    old.set_modified(made - Duration::from_secs(90_000)).unwrap();
    assert_eq!(paths(&["--max-age", "1 day"]), [""; 0]);
    assert_eq!(paths(&["--min-age", "1 day"]), ["letters/a"]);
    let list = lab.path("list");
    fs::write(&list, "letters/a\nwork\n").unwrap();
    assert_eq!(paths(&["--files-from", list.to_str().unwrap()]), ["letters/a"]);

    // What is on the list and not there is told: exit code 3.
    fs::write(&list, "letters/a\nletters/none\n").unwrap();
    let missing = lab.run(&["sync", &with, "--json", "--files-from", list.to_str().unwrap()]);
    let missing = missing.expect(3).json();
    assert_eq!(missing["exceptions"][0]["path"], "letters/none");
    assert_eq!(missing["exceptions"][0]["kind"], "vanished");
}

#[test]
fn rules_that_cannot_be_understood_are_refused() {
    let lab = Lab::with_repository();
    fill(&lab.path("source"));
    let with = plan(&lab, "rules = [\"exclude a{b\"]");
    lab.run(&["sync", &with, "--json"]).refused(2, "plan", "the pattern cannot be understood");
    let with = plan(&lab, "");
    let bad = |arguments: &[&str]| lab.run(&[&["sync", &with, "--json"], arguments].concat());
    assert_eq!(bad(&["--exclude", "a{b"]).code, 2);
    assert_eq!(bad(&["--ignore-file", "a/b"]).code, 2);
    let list = lab.path("list");
    fs::write(&list, "../up\n").unwrap();
    let list = list.to_str().unwrap();
    bad(&["--files-from", list]).refused(2, "command-line", "path 1 is none");
    bad(&["--files-from", "/no/list"]).refused(1, "file", "/no/list");
}

#[test]
fn a_dry_run_asks_neither_for_a_repository_nor_for_a_password() {
    let lab = Lab::new();
    fill(&lab.path("source"));
    let with = plan(&lab, RULES);
    let mut command = lab.command(&["sync", &with, "--dry-run", "--json"]);
    let answer = Answer::new(command.env_remove("DROVER_PASSWORD").output().unwrap());
    let told = answer.expect(0).json();
    assert_eq!(told["entries"]["new"], told["entries"]["total"]);
    assert!(number(&told, "/bytes/read") > 70_000);
    assert!(!lab.path("repository").exists() && !lab.path("state").exists());
}

/// A plan with hooks, each a line of shell.
fn hooked(lab: &Lab, before: &str, after: &str, more: &str) -> String {
    let quoted = |line: &str| format!("[\"/bin/sh\", \"-c\", '''{line}''']");
    let (before, after) = (quoted(before), quoted(after));
    plan(lab, &format!("before_pass = {before}\nafter_pass = {after}\n{more}"))
}

#[test]
fn commands_run_around_a_pass_and_see_no_secrets() {
    let lab = Lab::with_repository().with_variable("AWS_SECRET_ACCESS_KEY", PASSWORD);
    let (live, here) = (lab.path("live"), lab.path(""));
    fill(&live);
    // As with a snapshot of a file system: it is there for as long as the pass.
    let here = here.display();
    let before = format!("echo begins; env; cp -a {here}/live {here}/source");
    let after = format!("echo \"$DROVER_SOURCE\" ends >&2; rm -r {here}/source");
    let with = hooked(&lab, &before, &after, "");
    let done = lab.run(&["sync", &with, "--json"]).expect(0).json();
    assert_eq!(done["hooks"][0]["hook"], "before_pass");
    assert_eq!(done["hooks"][0]["outcome"], "done");
    let output = done["hooks"][0]["output"].as_str().unwrap();
    assert!(output.starts_with("begins") && output.contains("PATH="), "{output}");
    assert!(!output.contains("DROVER_PASSWORD") && !output.contains("AWS"), "{output}");
    assert_eq!(done["hooks"][1]["output"], "clinic ends\\x0a");
    assert!(!lab.path("source").exists());
    assert_eq!(number(&done, "/entries/new"), 15);
}

#[test]
fn a_command_that_fails_stops_the_pass_and_the_undo_runs() {
    let lab = Lab::with_repository();
    fill(&lab.path("source"));
    let undone = lab.path("undone");
    let undo = format!("echo x >>{}", undone.display());
    let with = hooked(&lab, "echo no database >&2; exit 7", &undo, "");
    let before = objects(&lab);
    let failed = lab.run(&["sync", &with, "--json"]);
    failed.refused(1, "hook", "exit code 7; it said: no database");
    // But for this machine's right to write, which the first run makes.
    let snapshots = |names: Vec<String>| names.iter().filter(|n| n.contains("/snapshots/")).count();
    assert_eq!(snapshots(objects(&lab)), snapshots(before));
    assert_eq!(fs::read(&undone).unwrap(), b"x\n");

    // What fails after the pass leaves its snapshot, and is a failure.
    let with = hooked(&lab, "true", "exit 8", "");
    let answer = lab.run(&["sync", &with, "--json"]).expect(1).json();
    assert!(answer["snapshot"].is_string(), "{answer}");
    assert_eq!(answer["error"]["kind"], "hook");

    // A source that is not there is no reason to leave the undo out.
    fs::remove_dir_all(lab.path("source")).unwrap();
    let with = hooked(&lab, "true", &undo, "");
    assert_eq!(lab.run(&["sync", &with, "--json"]).code, 1);
    assert_eq!(fs::read(&undone).unwrap(), b"x\nx\n");
}

/// A pipe that reads to its end once nothing of a command is left.
fn pipe(lab: &Lab) -> std::path::PathBuf {
    let path = lab.path("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
    path
}

#[test]
fn a_command_that_takes_too_long_ends_with_all_that_it_began() {
    let lab = Lab::with_repository();
    fill(&lab.path("source"));
    let (pipe, undone) = (pipe(&lab), lab.path("undone"));
    // The shell does not listen, and what it began holds the pipe.
    let before = format!("trap '' TERM; exec 3>{}; sleep 1000 & wait", pipe.display());
    let undo = format!("touch {}", undone.display());
    let with = hooked(&lab, &before, &undo, "hook_timeout = \"1 second\"");
    let run = lab.start(&["sync", &with, "--json"]);
    assert_eq!(fs::read(&pipe).unwrap(), b"");
    let answer = Answer::new(run.wait_with_output().unwrap());
    answer.refused(1, "hook", "it took longer than 1s");
    assert!(undone.exists());
}

#[test]
fn an_interruption_ends_the_command_and_the_undo_runs() {
    let lab = Lab::with_repository();
    fill(&lab.path("source"));
    let (pipe, undone) = (pipe(&lab), lab.path("undone"));
    let before = format!("echo runs >{}; sleep 1000", pipe.display());
    let with = hooked(&lab, &before, &format!("touch {}", undone.display()), "");
    let run = lab.start(&["sync", &with, "--json"]);
    assert_eq!(fs::read(&pipe).unwrap(), b"runs\n");
    let process = i32::try_from(run.id()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let answer = Answer::new(run.wait_with_output().unwrap()).expect(130);
    assert_eq!(answer.json()["error"]["kind"], "interrupted");
    assert!(undone.exists());
}

#[test]
fn passes_go_on_until_they_become_no_shorter() {
    let lab = Lab::with_repository();
    fill(&lab.path("source"));
    let plan = plan(&lab, "");
    let answer = lab.run(&["sync", &plan, "--until-converged", "--json"]).expect(0);
    let document = answer.json();
    let rounds = document["rounds"].as_array().unwrap();
    assert!(rounds.len() >= 2, "{document}");
    assert!(number(&rounds[0], "/entries/new") > 5);
    assert_eq!(number(rounds.last().unwrap(), "/entries/new"), 0);
    let snapshots = lab.verb("snapshots", &[""; 0]).expect(0).json();
    assert_eq!(snapshots["snapshots"].as_array().unwrap().len(), rounds.len());
}

#[test]
fn a_plan_that_is_edited_changes_the_rate_of_a_pass_under_way() {
    let lab = Lab::with_repository();
    fs::create_dir(lab.path("source")).unwrap();
    let noise: Vec<u8> =
        (0..1u32 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(lab.path("source/noise"), noise).unwrap();
    // At this rate it would take the better part of a day.
    let slow = "[limits]\nupload = \"1 GiB/s\"\nwindows = [\"daily 00:00-24:00 16 B/s\"]";
    let file = plan(&lab, slow);
    let state = lab.path("state");
    let child = lab.start(&["sync", &file, "--json"]);
    // A pack that is on its way has been noted in the state.
    let begun = std::time::Instant::now();
    let is_sending = || fs::read_dir(&state).is_ok_and(|mut entries| entries.next().is_some());
    while !is_sending() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::park_timeout(Duration::from_millis(20));
    }
    plan(&lab, "[limits]\nwindows = [\"daily 00:00-24:00 1 GiB/s\"]");
    Answer::new(child.wait_with_output().unwrap()).expect(0);
}

/// A plan whose source is what a command prints.
fn printing(lab: &Lab, script: &str) -> String {
    let plan = lab.path("printing.toml");
    let text = format!(
        "[repository]\nurl = \"{}\"\n[[source]]\nname = \"dump\"\nfile = \"all.sql\"\n\
         command = [\"/bin/sh\", \"-c\", '{script}']\n",
        lab.repository
    );
    fs::write(&plan, text).unwrap();
    plan.to_str().unwrap().to_owned()
}

#[test]
fn what_a_command_prints_is_a_file_that_was_never_on_a_disk() {
    let lab = Lab::with_repository();
    let plan = printing(&lab, "yes INSERT | head -c 30000000; echo COMMIT");
    let pass = lab.run(&["sync", &plan, "--json"]).expect(0).json();
    assert_eq!(number(&pass, "/entries/new"), 1);
    assert_eq!(number(&pass, "/bytes/read"), 30_000_007);
    let target = lab.path("landed");
    lab.run(&["restore", &plan, "latest", target.to_str().unwrap(), "--json"]).expect(0);
    let dump = fs::read(target.join("all.sql")).unwrap();
    assert_eq!(dump.len(), 30_000_007);
    assert!(dump.starts_with(b"INSERT\n") && dump.ends_with(b"COMMIT\n"));
    lab.run(&["verify", &plan, "--target", target.to_str().unwrap(), "--json"]).expect(0);
    // The same again is run again, and sends nothing.
    let again = lab.run(&["sync", &plan, "--json"]).expect(0).json();
    assert_eq!(number(&again, "/bytes/read"), 30_000_007);
    assert!(number(&again, "/bytes/new") < 10_000, "more than the manifest: {again}");

    // What ends badly does not count: what was there stays, and is marked.
    let plan = printing(&lab, "echo half of it; echo no such database >&2; exit 4");
    let failed = lab.run(&["sync", &plan, "--json"]).expect(3).json();
    let message = failed["exceptions"][0]["message"].as_str().unwrap();
    assert!(message.contains("exit code 4") && message.contains("no such database"), "{message}");
    let kept = lab.run(&["cat", &plan, "latest:all.sql"]).expect(0);
    assert_eq!(kept.stdout.len(), 30_000_007);
    lab.run(&["verify", &plan, "--source", "dump", "--json"]).refused(2, "command-line", "prints");
    let empty = printing(&lab, "true");
    lab.run(&["sync", &empty, "--json"]).expect(0);
    assert_eq!(lab.run(&["cat", &empty, "latest:all.sql"]).expect(0).stdout, b"");
    lab.verb("verify", &["--read-data"]).expect(0);
}

#[test]
fn a_polite_pass_gives_way_and_takes_the_same() {
    let (lab, source) = Lab::with_source();
    let seen = lab.path("seen");
    let keys = format!(
        "before_pass = [\"sh\", \"-c\", \"nice > '{0}'; ionice -p $$ >> '{0}'\"]\n[limits]\n\
         polite = true\nread = \"1 GiB/s\"\nload = 10000",
        seen.display()
    );
    let plan = plan(&lab, &keys);
    lab.run(&["sync", &plan, "--json"]).expect(0);
    assert_eq!(fs::read_to_string(&seen).unwrap(), "19\nidle\n");
    let target = lab.path("target");
    lab.run(&["restore", &plan, "latest", target.to_str().unwrap()]).expect(0);
    crate::compare::assert_same(&source, &target, &[]);

    // The same on the command line, which counts before the plan.
    let options = ["--polite", "--read-rate", "1 KiB/s", "--max-load", "10000"];
    let arguments = [&["sync", &plan, "--json"], &options[..]].concat();
    let again = lab.run(&arguments).expect(0).json();
    assert_eq!(number(&again, "/bytes/read"), 0);
    lab.run(&["sync", &plan, "--json", "--max-load", "0"]).expect(2);
}
