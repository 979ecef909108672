//! What is wrong is refused with its own exit code and kind, by its name, and with what to do
//! about it; and nothing is lost.

use std::{
    fs::{self, Permissions},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

use crate::{
    lab::{Answer, Lab},
    roundtrip::{restored, verified},
    tree,
};

const NONE: &[&str] = &[];

/// Everything in the repository, by name and size.
fn listing(lab: &Lab) -> String {
    let mut find = Command::new("find");
    find.args([&*lab.repository, "-type", "f", "-printf", "%P %s\n"]);
    String::from_utf8(find.output().unwrap().stdout).unwrap()
}

#[test]
fn a_wrong_password() {
    let (lab, source) = Lab::with_source();
    for wrong in ["not it", "canary"] {
        let mut command = lab.command(&[
            "sync",
            "--repo",
            &lab.repository,
            "--json",
            "--source",
            source.to_str().unwrap(),
        ]);
        let output = command.env("DROVER_PASSWORD", wrong).output().unwrap();
        Answer::new(output).refused(12, "wrong-password", "password");
    }
    lab.sync(&source).expect(0);
}

#[test]
fn no_password() {
    let (lab, _) = Lab::with_source();
    let mut command = lab.command(&["snapshots", "--repo", &lab.repository, "--json"]);
    let output = command.env_remove("DROVER_PASSWORD").output().unwrap();
    Answer::new(output).refused(12, "no-password", "password");
    let mut command = lab.command(&["snapshots", "--repo", &lab.repository, "--json"]);
    let output = command.args(["--password-file", "nowhere.txt"]).output().unwrap();
    Answer::new(output).refused(12, "no-password", "nowhere.txt");
    let mut command = lab.command(&["snapshots", "--repo", &lab.repository, "--json"]);
    let output = command.args(["--password-command", "exit 3"]).output().unwrap();
    Answer::new(output).refused(12, "no-password", "command");
}

#[test]
fn no_repository() {
    let lab = Lab::new();
    lab.verb("snapshots", NONE).refused(10, "no-repository", &lab.repository);
    fs::create_dir(&lab.repository).unwrap();
    lab.verb("snapshots", NONE).refused(10, "no-repository", &lab.repository);
    lab.verb("verify", NONE).refused(10, "no-repository", &lab.repository);
    assert_eq!(listing(&lab), "");
}

#[test]
fn a_repository_twice() {
    let lab = Lab::with_repository();
    let before = listing(&lab);
    lab.verb("init", NONE).refused(1, "repository-exists", &lab.repository);
    assert_eq!(listing(&lab), before);
}

/// A config that is lost makes no empty place of a repository.
#[test]
fn a_repository_over_what_is_left_of_one() {
    let (lab, source) = Lab::with_source();
    lab.sync(&source).expect(0);
    let config = Path::new(&lab.repository).join("config");
    let kept = fs::read(&config).unwrap();
    fs::remove_file(&config).unwrap();
    let before = listing(&lab);
    lab.sync(&source).refused(10, "no-repository", &lab.repository);
    lab.verb("init", NONE).refused(1, "repository-exists", "of a repository whose config is gone");
    assert_eq!(listing(&lab), before);
    fs::write(&config, kept).unwrap();
    lab.verb("verify", &["--read-data"]).expect(0);
}

#[test]
fn a_page_that_cannot_be_written() {
    let (lab, source) = Lab::with_source();
    let page = lab.path("no such directory/page.html");
    let arguments = ["--source", source.to_str().unwrap(), "--html", page.to_str().unwrap()];
    let answer = lab.verb("sync", &arguments).expect(1);
    // The pass was done; its document says that, and what failed.
    let document = answer.json();
    assert!(document["snapshot"].is_string(), "{document}");
    assert_eq!(document["error"]["exit"], 1, "{document}");
}

#[test]
fn a_key_slot_that_is_not_there() {
    let lab = Lab::with_repository();
    lab.run(&["key", "remove", "--repo", &lab.repository, "ffff", "--json"]).refused(
        1,
        "no-such-key",
        "key slot ffff",
    );
}

#[test]
fn a_plan_with_a_typing_error() {
    let lab = Lab::new();
    let plan = lab.path("plan.toml");
    fs::write(&plan, "[repository]\nurl = \"r\"\n\n[[sorce]]\nname = \"a\"\nurl = \"s\"\n")
        .unwrap();
    let plan = plan.to_str().unwrap();
    lab.run(&["sync", plan, "--json"]).refused(2, "plan", "did you mean \"source\"");
    lab.run(&["init", "nowhere.toml", "--json"]).refused(2, "plan", "nowhere.toml");
}

#[test]
fn a_command_line_with_a_typing_error() {
    let lab = Lab::new();
    let unknown = lab.verb("sync", &["--sorce", "x"]).expect(2);
    assert!(unknown.stderr.contains("--source"), "{}", unknown.stderr);
    assert_eq!(unknown.json()["error"]["exit"], 2);
    lab.verb("sync", NONE).refused(2, "command-line", "source");
    lab.run(&["sync", "--json"]).refused(2, "command-line", "repository");
}

#[test]
fn a_source_that_is_no_directory() {
    let (lab, source) = Lab::with_source();
    let before = listing(&lab);
    lab.sync(&source.join("readme")).refused(1, "source", "readme");
    lab.sync(&source.join("missing")).refused(1, "source", "missing");
    // The writer is known now, and nothing else is.
    assert_eq!(listing(&lab).matches("snapshots/").count(), before.matches("snapshots/").count());
}

#[test]
fn a_source_that_may_not_be_read() {
    let lab = Lab::with_repository();
    let source = lab.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("open"), "open").unwrap();
    fs::write(source.join("closed"), "closed").unwrap();
    let run = |lab: &Lab| {
        let source = source.to_str().unwrap();
        lab.run_denied(&["sync", "--repo", &lab.repository, "--json", "--source", source])
    };
    fs::create_dir(source.join("locked")).unwrap();
    fs::write(source.join("locked/within"), "within").unwrap();
    for name in ["closed", "locked"] {
        fs::set_permissions(source.join(name), Permissions::from_mode(0o000)).unwrap();
    }
    let pass = run(&lab).expect(3).json();
    let found = pass["exceptions"].as_array().unwrap();
    let rows: Vec<_> = found.iter().map(|row| [&row["path"], &row["kind"]]).collect();
    // Each once: neither the list nor the attributes of the directory can be had.
    assert_eq!(rows, [["closed", "denied"], ["locked", "denied"]], "{pass}");
    fs::set_permissions(&source, Permissions::from_mode(0o000)).unwrap();
    run(&lab).refused(1, "source", "source");
    fs::set_permissions(&source, Permissions::from_mode(0o755)).unwrap();
    // What could not be read is on the list, and what could is there.
    verified(&lab, &["--read-data"]);
    assert_eq!(
        lab.run(&["cat", "--repo", &lab.repository, "latest:open"]).expect(0).stdout,
        b"open"
    );
}

#[test]
fn a_source_that_is_suddenly_empty() {
    let (lab, source) = Lab::with_source();
    let first = lab.sync(&source).expect(0).json()["snapshot"].as_str().unwrap().to_owned();
    fs::remove_dir_all(&source).unwrap();
    fs::create_dir(&source).unwrap();
    lab.sync(&source).refused(1, "suspect-source", "source");
    let latest = |lab: &Lab| lab.run(&["cat", "--repo", &lab.repository, "latest:readme"]);
    assert_eq!(latest(&lab).expect(0).stdout, b"hello");
    let meant = lab.verb("sync", &["--allow-empty", "--source", source.to_str().unwrap()]);
    let meant = meant.expect(0).json();
    assert_eq!(meant["entries"]["removed"], 3, "{meant}");
    assert_eq!(meant["parent"], *first);
    latest(&lab).expect(1);
    restored(&lab, &first, &lab.path("target"), &[]);
}

#[test]
fn which_snapshot() {
    let (lab, source) = Lab::with_source();
    lab.verb("restore", &["latest", "target"]).refused(1, "no-such-snapshot", "snapshot");
    let id = lab.sync(&source).expect(0).json()["snapshot"].as_str().unwrap().to_owned();
    for wrong in ["0123456789abcdef", "nonsense"] {
        lab.verb("ls", &[wrong]).refused(1, "no-such-snapshot", wrong);
    }
    lab.verb("ls", &[&*format!("{id}:no/such")]).refused(1, "no-such-path", "no/such");

    // Two sources: the newest of which one?
    let other = lab.path("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("file"), "other").unwrap();
    let second = lab.sync(&other).expect(0).json();
    let answer = lab.verb("ls", &["latest"]).expect(1);
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    for name in ["/source", "/other"] {
        assert!(message.contains(name), "{message}");
    }
    let name = lab.verb("snapshots", NONE).expect(0).json()["snapshots"][1]["source"]
        .as_str()
        .unwrap()
        .to_owned();
    let ls = lab.verb("ls", &["latest", "--source", &name]).expect(0).json();
    assert_eq!(ls["snapshot"], second["snapshot"], "{ls}");
    lab.verb("ls", &["latest", "--source", "nobody"]).refused(1, "no-such-snapshot", "nobody");

    // As many snapshots as it takes for two of them to begin with the same digit.
    let mut ids = vec![id, second["snapshot"].as_str().unwrap().to_owned()];
    let shared = loop {
        let digit = |id: &String| id.as_bytes()[0];
        let newest = ids.last().unwrap();
        if ids[..ids.len() - 1].iter().any(|id| digit(id) == digit(newest)) {
            break newest[..1].to_owned();
        }
        ids.push(lab.sync(&other).expect(0).json()["snapshot"].as_str().unwrap().to_owned());
    };
    lab.verb("ls", &[&*shared]).expect(1);
}

#[test]
fn a_target_that_holds_something() {
    let (lab, source) = Lab::with_source();
    lab.sync(&source).expect(0);
    let target = lab.path("target");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("mine"), "mine").unwrap();
    let target_text = target.to_str().unwrap();
    for extra in [&[][..], &["--delete"]] {
        let mut all = vec!["latest", target_text];
        all.extend(extra);
        lab.verb("restore", &all).refused(1, "target-not-empty", target_text);
        assert_eq!(tree::count(&target), 1, "it is as it was");
    }
    restored(&lab, "latest", &target, &["--overwrite"]);
    assert_eq!(fs::read(target.join("mine")).unwrap(), b"mine");
    assert_eq!(fs::read(target.join("readme")).unwrap(), b"hello");
}

#[test]
fn no_service_there() {
    // A port that was free a moment ago: nobody listens.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let lab = Lab::at_s3(&endpoint);
    lab.verb("snapshots", NONE).refused(1, "unreachable", "127.0.0.1");
}

#[test]
fn one_source_of_two_is_missing() {
    let (lab, source) = Lab::with_source();
    let plan = lab.path("plan.toml");
    let table = |name: &str, url: &str| format!("[[source]]\nname = \"{name}\"\nurl = \"{url}\"\n");
    let mut text = format!("[repository]\nurl = \"{}\"\n", lab.repository);
    text += &table("gone", lab.path("gone").to_str().unwrap());
    text += &table("there", source.to_str().unwrap());
    fs::write(&plan, text).unwrap();
    let answer = lab.run(&["sync", plan.to_str().unwrap(), "--json"]).expect(1);
    let document = answer.json();
    assert!(document["error"]["message"].as_str().unwrap().contains("gone"), "{document}");
    // The other one is taken all the same.
    assert_eq!(document["sources"][1]["source"], "there", "{document}");
    assert_eq!(document["sources"][1]["entries"]["total"], 3, "{document}");
    let target = lab.path("target");
    restored(&lab, "latest", &target, &["--source", "there"]);
    assert_eq!(fs::read(target.join("readme")).unwrap(), b"hello");
}

#[test]
fn a_restore_onto_the_source() {
    let (lab, source) = Lab::with_source();
    lab.sync(&source).expect(0);
    fs::write(source.join("readme"), "newer than the snapshot").unwrap();
    let text = source.to_str().unwrap();
    lab.verb("restore", &["latest", text, "--delete"]).refused(1, "target-not-empty", text);
    assert_eq!(fs::read(source.join("readme")).unwrap(), b"newer than the snapshot");
}

#[test]
fn a_state_within_the_source() {
    let (lab, source) = Lab::with_source();
    let state = source.join("state");
    let arguments = ["--source", source.to_str().unwrap(), "--state-dir", state.to_str().unwrap()];
    lab.verb("sync", &arguments).refused(2, "nested", "state");
    assert!(!state.exists());
}

#[test]
fn places_within_one_another() {
    let (lab, source) = Lab::with_source();
    lab.sync(&source).expect(0);
    let before = listing(&lab);
    // By another name, too.
    let around = lab.path("around");
    std::os::unix::fs::symlink(lab.path(""), &around).unwrap();
    for around in [lab.path(""), around] {
        lab.sync(&around).refused(2, "nested", "the repository");
        let text = around.to_str().unwrap();
        let replace = ["latest", text, "--overwrite", "--delete"];
        lab.verb("restore", &replace).refused(2, "nested", "the repository");
    }
    let within = format!("{}/packs/new", lab.repository);
    for target in [&*lab.repository, &within] {
        lab.verb("restore", &["latest", target, "--overwrite"]).refused(2, "nested", target);
    }
    lab.sync(&Path::new(&lab.repository).join("packs")).refused(2, "nested", "packs");
    assert_eq!(listing(&lab), before);
}

#[test]
fn a_restore_onto_a_source_of_the_plan() {
    let (lab, source) = Lab::with_source();
    let plan = lab.path("plan.toml");
    let (repository, root) = (&lab.repository, source.display());
    let text = format!(
        "[repository]\nurl = \"{repository}\"\n[[source]]\nname = \"a\"\nurl = \"{root}\"\n"
    );
    fs::write(&plan, text).unwrap();
    let plan = plan.to_str().unwrap();
    lab.run(&["sync", plan]).expect(0);
    fs::write(source.join("readme"), "written since").unwrap();
    let by_another_name = lab.path("link");
    std::os::unix::fs::symlink(&source, &by_another_name).unwrap();
    let (within, around) = (source.join("letters"), lab.path(""));
    for target in [&source, &by_another_name, &within, &around] {
        let target = target.to_str().unwrap();
        let restore = ["restore", plan, "latest", target, "--overwrite", "--json"];
        lab.run(&restore).refused(2, "nested", "the source");
    }
    let read = || fs::read_to_string(source.join("readme")).unwrap();
    assert_eq!(read(), "written since");
    // Beside it, and on purpose.
    let beside = lab.path("source-restored");
    fs::create_dir(&beside).unwrap();
    fs::write(beside.join("else"), "").unwrap();
    let beside = beside.to_str().unwrap();
    lab.run(&["restore", plan, "latest", beside, "--overwrite"]).expect(0);
    let target = source.to_str().unwrap();
    lab.run(&["restore", plan, "latest", target, "--overwrite", "--into-source"]).expect(0);
    assert_eq!(read(), "hello");
}

#[test]
fn a_demo_where_something_is() {
    let (lab, source) = Lab::with_source();
    let answer = lab.run(&["demo", source.to_str().unwrap(), "--json"]);
    let steps = answer.json()["steps"].clone();
    assert_eq!(steps.as_array().map(Vec::len), Some(1), "{steps}");
    assert!(answer.stderr.contains("DROVER_STATE_DIR"), "what people read: {}", answer.stderr);
    answer.refused(1, "demo", source.to_str().unwrap());
}
