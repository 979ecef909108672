//! Sources on another server, over a real sshd.

use std::{
    fs::{self, File, FileTimes},
    path::Path,
    process::Command,
    sync::atomic::Ordering,
    time::{Duration, SystemTime},
};

use crate::{
    lab::{Answer, Lab, PASSWORD, number},
    sshd::{Sshd, counting, cutting, fingerprint, make_key},
    tree,
};

/// For accounts without a shell.
const NO_SHELL: &str = "ForceCommand internal-sftp";

fn sync(lab: &Lab, url: &str, options: &[String]) -> Answer {
    let mut arguments = vec!["--source".to_owned(), url.to_owned()];
    arguments.extend_from_slice(options);
    lab.verb("sync", &arguments)
}

/// Ends the test where rsync sees a difference in what SFTP can say.
#[track_caller]
fn assert_same(a: &Path, b: &Path) {
    for (from, to) in [(a, b), (b, a)] {
        let mut command = Command::new("rsync");
        command.args(["-an", "--checksum", "--itemize-changes", "--modify-window=1"]);
        command.args(["--exclude=/.drover-restore*", "--exclude=/from 1955"]);
        let mut from = from.as_os_str().to_owned();
        from.push("/");
        let output = command.arg(from).arg(to).output().expect("rsync is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(shown.is_empty(), "{} and {}:\n{shown}", a.display(), b.display());
    }
}

#[test]
fn what_comes_back_is_what_sftp_can_say() {
    let Some(sshd) = Sshd::start(NO_SHELL) else { return };
    let lab = Lab::with_repository();
    let source = lab.path("source");
    let entries = tree::hostile(&source);
    let url = sshd.url(&source);

    let pass = sync(&lab, &url, &sshd.options()).expect(0).json();
    assert_eq!(number(&pass, "/entries/total"), entries, "{pass}");
    assert_eq!(pass["source"], url);
    // What is not in the snapshot is said, with how many entries it may concern.
    let lost = |class: &str| {
        let items = pass["fidelity"].as_array().unwrap();
        let item = items.iter().find(|item| item["class"] == class);
        let item = item.unwrap_or_else(|| panic!("{class}: {pass}"));
        assert_eq!(item["outcome"], "lost");
        number(item, "/count")
    };
    assert_eq!(lost("extended attributes and ACLs"), entries);
    assert_eq!(lost("times finer than a second"), entries);
    assert!(lost("hard links") > 10 && lost("holes") < entries);
    let connection = pass["connection"].as_str().unwrap();
    assert!(connection.contains("ssh-ed25519") && connection.contains("25519-sha256"), "{pass}");

    let target = lab.path("target");
    lab.verb("verify", &["--read-data"]).expect(0);
    lab.verb("restore", &["latest", target.to_str().unwrap()]).expect(0);
    assert_same(&source, &target);
    let mut against = vec!["--source".to_owned(), url];
    against.extend(sshd.options());
    let verified = lab.verb("verify", &against).expect(0).json();
    assert_eq!(verified["verdict"], "verified", "{verified}");
}

#[test]
fn a_pass_reads_what_changed_or_may_have() {
    let Some(sshd) = Sshd::start(NO_SHELL) else { return };
    let (lab, source) = Lab::with_source();
    let (letter, readme) = (source.join("letters/a"), source.join("readme"));
    let age = |path: &Path, seconds| {
        let now = u64::try_from(drover_types::clock::now().seconds).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(now - seconds);
        File::open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
    };
    age(&letter, 86_400);
    age(&readme, 3);
    let url = sshd.url(&source);
    sync(&lab, &url, &sshd.options()).expect(0);
    // What changed within the last seconds before its scan may have changed again since.
    let idle = sync(&lab, &url, &sshd.options()).expect(0).json();
    assert_eq!(number(&idle, "/bytes/read"), 5, "{idle}");
    assert_eq!(number(&idle, "/entries/unchanged"), 3, "{idle}");
    fs::write(&letter, vec![8; 100_000]).unwrap();
    age(&letter, 86_000);
    fs::remove_file(&readme).unwrap();
    let delta = sync(&lab, &url, &sshd.options()).expect(0).json();
    assert_eq!(number(&delta, "/bytes/read"), 100_000, "{delta}");
    assert_eq!(number(&delta, "/entries/changed"), 1, "{delta}");
    assert_eq!(number(&delta, "/entries/removed"), 1, "{delta}");
}

#[test]
fn only_a_host_that_is_known_is_talked_to() {
    let Some(sshd) = Sshd::start(NO_SHELL) else { return };
    let (lab, source) = Lab::with_source();
    let url = sshd.url(&source);
    let key = sshd.options()[..2].to_vec();
    sync(&lab, &url, &key).refused(1, "host-key", &sshd.fingerprint);

    let directory = lab.path("home/.ssh");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("known_hosts"), sshd.known(&sshd.path("host_key.pub"))).unwrap();
    sync(&lab, &url, &key).expect(0);

    let other = sshd.path("other");
    make_key(&other, "");
    let public = other.with_extension("pub");
    fs::write(directory.join("known_hosts"), sshd.known(&public)).unwrap();
    sync(&lab, &url, &key).refused(1, "host-key", &sshd.fingerprint);
    sync(&lab, &url, &key).refused(1, "host-key", &fingerprint(&public));

    // A pin counts before what is known.
    sync(&lab, &url, &sshd.options()).expect(0);
    let mut wrong = key;
    wrong.extend(["--ssh-host-key".to_owned(), fingerprint(&public)]);
    sync(&lab, &url, &wrong).refused(1, "host-key", &sshd.fingerprint);
}

#[test]
fn who_is_let_in() {
    let Some(sshd) = Sshd::start(NO_SHELL) else { return };
    let (lab, source) = Lab::with_source();
    let url = sshd.url(&source);
    let with = |key: &Path, more: &[&str]| {
        let mut options = sshd.options();
        options[1] = key.to_str().unwrap().to_owned();
        options.extend(more.iter().map(|text| (*text).to_owned()));
        sync(&lab, &url, &options)
    };
    let (stranger, locked) = (sshd.path("stranger"), sshd.path("locked"));
    make_key(&stranger, "");
    with(&stranger, &[]).refused(12, "ssh-denied", "stranger");
    with(&lab.path("none"), &[]).refused(12, "ssh-denied", "none");

    make_key(&locked, PASSWORD);
    fs::copy(locked.with_extension("pub"), sshd.path("authorized_keys")).unwrap();
    with(&locked, &[]).refused(12, "ssh-denied", "passphrase");
    let file = lab.path("passphrase");
    fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    with(&locked, &["--ssh-password-file", file.to_str().unwrap()]).expect(0);
    let command = format!("cat '{}'", file.display());
    with(&locked, &["--ssh-password-command", &command]).expect(0);

    let url = format!("sftp://root:{PASSWORD}@127.0.0.1/srv");
    sync(&lab, &url, &[]).refused(2, "command-line", "password");
    sync(&lab, "sftp://root@127.0.0.1:1/srv", &[]).refused(1, "ssh-connection", "127.0.0.1:1");
    sync(&lab, &sshd.url(&source.join("none")), &sshd.options()).expect(12);
}

#[test]
fn a_cut_connection_goes_on_within_the_file() {
    let Some(sshd) = Sshd::start(NO_SHELL) else { return };
    let lab = Lab::with_repository();
    let source = lab.path("source");
    fs::create_dir(&source).unwrap();
    for n in 0..4 {
        fs::write(source.join(n.to_string()), tree::noise(n, 20_000_000)).unwrap();
    }
    let (port, cuts) = cutting(sshd.port, 6, 7_000_000);
    let pass = sync(&lab, &sshd.url_at(port, &source), &sshd.options()).expect(0).json();
    assert!(cuts.load(Ordering::SeqCst) >= 2, "nothing was cut");
    // Not from the beginning: each byte is read once.
    assert_eq!(number(&pass, "/bytes/read"), 80_000_000, "{pass}");
    let target = lab.path("target");
    lab.verb("restore", &["latest", target.to_str().unwrap()]).expect(0);
    assert_same(&source, &target);
}

/// A round trip is dear for whoever only looks, too: no file costs one of its own.
#[test]
fn verifications_and_inventories_wait_seldom() {
    let lab = Lab::with_repository();
    let source = lab.path("source");
    for number in 0..400 {
        let folder = source.join(format!("{}", number / 50));
        fs::create_dir_all(&folder).unwrap();
        // Each is there twice; of the larger ones, both ends are looked at first.
        let len = if number % 8 < 2 { 60_000 } else { 1_000 + number / 2 };
        let text = format!("letter {} to the patient\n", number / 2).repeat(len / 20);
        fs::write(folder.join(format!("{number:03}.txt")), text).unwrap();
    }
    let looked = ["inventory", "--json", "--source", source.to_str().unwrap()];
    let here = lab.run(&looked).expect(0).json();
    assert_eq!(number(&here, "/duplicates/groups"), 200, "{here}");
    let helper = format!("helper_command = ['{}', 'helper']", env!("CARGO_BIN_EXE_drover"));
    for (with, more) in [("", ""), (NO_SHELL, ""), ("", &*helper)] {
        let Some(sshd) = Sshd::start(with) else { return };
        let (port, turns) = counting(sshd.port);
        let (url, key) = (sshd.url_at(port, &source), sshd.path("user_key"));
        let (repository, pin) = (&lab.repository, &sshd.fingerprint);
        let name = format!("at-{port}");
        let text = format!(
            "[repository]\nurl = '{repository}'\n[[source]]\nname = '{name}'\nurl = '{url}'\n\
             identity_file = '{}'\nhost_key = '{pin}'\n{more}\n",
            key.display(),
        );
        fs::write(lab.path("plan.toml"), text).unwrap();
        let plan = lab.path("plan.toml").to_str().unwrap().to_owned();
        lab.run(&["sync", &plan, "--json"]).expect(0);
        turns.store(0, Ordering::SeqCst);
        let verified = lab.run(&["verify", &plan, "--source", &name, "--json"]).expect(0).json();
        assert_eq!(verified["verdict"], "verified", "{verified}");
        let verifying = turns.swap(0, Ordering::SeqCst);
        let there = lab.run(&["inventory", &plan, "--json"]).expect(0).json();
        let looking = turns.swap(0, Ordering::SeqCst);
        for part in ["/totals/bytes", "/types", "/content", "/duplicates"] {
            assert_eq!(there.pointer(part), here.pointer(part), "{with} {more} {part}");
        }
        // Six connections or helpers, each of which takes ten to be made.
        assert!(verifying < 150, "{with} {more}: {verifying}");
        assert!(looking < 250, "{with} {more}: {looking}");
    }
}
