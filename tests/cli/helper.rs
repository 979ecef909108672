//! A helper on the server, over a real sshd: copied there and taken away again, installed there, or not
//! to be had.

use std::{
    fs,
    path::Path,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use crate::{
    compare::assert_same,
    lab::{Answer, Lab, number},
    sshd::{Sshd, cutting},
    tree,
};

fn sync(lab: &Lab, url: &str, options: &[String]) -> Answer {
    let mut arguments = vec!["--source".to_owned(), url.to_owned()];
    arguments.extend_from_slice(options);
    lab.verb("sync", &arguments)
}

/// What lets a run in, and has it copy a helper.
fn copied(sshd: &Sshd) -> Vec<String> {
    [sshd.options(), vec!["--ssh-helper".to_owned()]].concat()
}

/// A plan whose source is read by a helper that is installed there as `program`.
fn plan(lab: &Lab, sshd: &Sshd, url: &str, program: &str) -> String {
    let text = format!(
        "[repository]\nurl = '{}'\n[[source]]\nname = 'server'\nurl = '{url}'\n\
         identity_file = '{}'\nhost_key = '{}'\nhelper_command = ['{program}', 'helper']\n",
        lab.repository,
        sshd.path("user_key").display(),
        sshd.fingerprint,
    );
    let file = lab.path("plan.toml");
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().next().is_none()
}

#[test]
fn it_is_copied_there_takes_everything_and_leaves_nothing() {
    let lab = Lab::with_repository();
    let folder = lab.path("folder of the account");
    fs::create_dir(&folder).unwrap();
    let more = format!("SetEnv \"TMPDIR={}\"", folder.display());
    let Some(sshd) = Sshd::start(&more) else { return };
    let source = lab.path("source");
    let entries = tree::hostile(&source);
    let url = sshd.url(&source);

    let pass = sync(&lab, &url, &copied(&sshd)).expect(0).json();
    assert_eq!(number(&pass, "/entries/total"), entries, "{pass}");
    assert!(pass["fidelity"].as_array().is_none_or(Vec::is_empty), "{pass}");
    assert!(pass["warnings"].as_array().is_none_or(Vec::is_empty), "{pass}");
    assert!(pass["connection"].as_str().unwrap().contains("ssh-ed25519"), "{pass}");
    assert!(is_empty(&folder), "something is left on the server");
    let target = lab.path("target");
    lab.verb("restore", &["latest", target.to_str().unwrap()]).expect(0);
    assert_same(&source, &target, &[]);

    // Nothing is read again, and what verification reads is the same.
    let again = sync(&lab, &url, &copied(&sshd)).expect(0).json();
    assert_eq!(number(&again, "/entries/unchanged"), entries, "{again}");
    assert_eq!(number(&again, "/bytes/read"), 0);
    let options = [vec!["--source".to_owned(), url.clone()], copied(&sshd)].concat();
    let verified = lab.verb("verify", &options).expect(0).json();
    assert_eq!(verified["verdict"], "verified", "{verified}");
    assert!(is_empty(&folder), "something is left on the server");

    // And so is what an inventory counts.
    let there = [vec!["inventory", "--json", "--source", &url], vec![]].concat();
    let there: Vec<String> = there.into_iter().map(str::to_owned).chain(copied(&sshd)).collect();
    let there = lab.run(&there).expect(0).json();
    let here = ["inventory", "--json", "--source", source.to_str().unwrap()];
    let here = lab.run(&here).expect(0).json();
    assert_eq!(there["totals"], here["totals"]);
}

#[test]
fn one_that_is_installed_is_run_as_it_is() {
    let Some(sshd) = Sshd::start("") else { return };
    let lab = Lab::with_repository();
    let source = lab.path("source");
    let entries = tree::hostile(&source);
    let url = sshd.url(&source);
    let plan = plan(&lab, &sshd, &url, env!("CARGO_BIN_EXE_drover"));
    let pass = lab.run(&["sync", &plan, "--json"]).expect(0).json();
    assert_eq!(number(&pass, "/entries/total"), entries, "{pass}");
    assert!(pass["warnings"].as_array().is_none_or(Vec::is_empty), "{pass}");
    let target = lab.path("target");
    lab.run(&["restore", &plan, "latest", target.to_str().unwrap()]).expect(0);
    assert_same(&source, &target, &[]);
}

#[test]
fn where_there_is_none_sftp_has_to_do_and_it_is_said() {
    let lab = Lab::with_repository();
    let source = lab.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "content").unwrap();
    fs::write(lab.path("other"), "#!/bin/sh\necho drover helper 0.0.0, of another time\n").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(lab.path("other"), executable).unwrap();
    let other = lab.path("other").to_str().unwrap().to_owned();
    for (sshd, program, why) in [
        ("", "/no/such/program", "/no/such/program"),
        ("", "/bin/echo", "helper"),
        ("", other.as_str(), "of another version"),
        ("ForceCommand internal-sftp", "/bin/true", "helper"),
    ] {
        let Some(sshd) = Sshd::start(sshd) else { return };
        let plan = plan(&lab, &sshd, &sshd.url(&source), program);
        let pass = lab.run(&["sync", &plan, "--json"]).expect(0).json();
        let warnings = pass["warnings"].to_string();
        assert!(warnings.contains("is read by SFTP") && warnings.contains(why), "{warnings}");
        assert_eq!(number(&pass, "/entries/total"), 1);
    }

    // A machine of another sort is asked what it is before anything is copied there.
    let folder = lab.path("folder of the account");
    fs::create_dir(&folder).unwrap();
    let more = format!("SetEnv \"TMPDIR={}\"", folder.display());
    let Some(sshd) = Sshd::start(&more) else { return };
    let mut header = fs::read(env!("CARGO_BIN_EXE_drover")).unwrap();
    header.truncate(4096);
    header[18..20]
        .copy_from_slice(&if cfg!(target_arch = "x86_64") { 0xb7_u16 } else { 0x3e }.to_le_bytes());
    fs::write(lab.path("foreign"), header).unwrap();
    let foreign = lab.path("foreign").to_str().unwrap().to_owned();
    let lab = lab.with_variable("DROVER_HELPER", &foreign);
    let pass = sync(&lab, &sshd.url(&source), &copied(&sshd)).expect(0).json();
    let warnings = pass["warnings"].to_string();
    assert!(warnings.contains("the program is for Linux"), "{warnings}");
    // What was made there goes once the server sees that nothing comes.
    let begun = Instant::now();
    while !is_empty(&folder) {
        assert!(begun.elapsed() < Duration::from_secs(60), "something is left on the server");
        std::thread::park_timeout(Duration::from_millis(20));
    }

    // What is no program at all is an error of whoever names it.
    let lab = lab.with_variable("DROVER_HELPER", &other);
    sync(&lab, &sshd.url(&source), &copied(&sshd)).refused(2, "command-line", "DROVER_HELPER");
}

#[test]
fn connections_that_are_cut_lose_nothing() {
    let Some(sshd) = Sshd::start("") else { return };
    let lab = Lab::with_repository();
    let source = lab.path("source");
    tree::hostile(&source);
    let noise = |seed: u64| {
        let mut bytes = vec![0; 6 << 20];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    };
    for i in 0..4 {
        fs::write(source.join(format!("noise {i}")), noise(i)).unwrap();
    }
    let (port, cuts) = cutting(sshd.port, 7, 2 << 20);
    let url = sshd.url_at(port, &source);
    let plan = plan(&lab, &sshd, &url, env!("CARGO_BIN_EXE_drover"));
    let pass = lab.run(&["sync", &plan, "--json"]).expect(0).json();
    assert!(cuts.load(Ordering::SeqCst) >= 2, "nothing was cut");
    assert_eq!(pass["exceptions"].as_array().unwrap().len(), 0, "{pass}");
    let target = lab.path("target");
    lab.run(&["restore", &plan, "latest", target.to_str().unwrap()]).expect(0);
    assert_same(&source, &target, &[]);
}

/// The account and the rule for sudo of `docs/sftp.md`, on a server whose accounts are the test's own.
#[test]
#[allow(clippy::print_stderr)]
fn the_account_of_the_document_reads_everything() {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root || !Path::new("/usr/bin/sudo").exists() {
        let required = std::env::var("DROVER_TEST_SERVICES").is_ok_and(|v| v == "required");
        assert!(!(is_root && required), "sudo is not installed");
        eprintln!("skipped: it takes root and sudo");
        return;
    }
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sftp.md");
    let document = fs::read_to_string(document).unwrap();
    let command = |begin: &str| {
        let line = document.lines().find(|line| line.trim().starts_with(begin));
        let line = line.unwrap_or_else(|| panic!("the document has no {begin}"));
        // What follows is for people.
        line.split("  #").next().unwrap_or(line).trim().to_owned()
    };
    let lab = Lab::with_repository();
    let accounts = lab.path("accounts");
    for directory in ["etc", "home", "bin"] {
        fs::create_dir_all(accounts.join(directory)).unwrap();
    }
    let at = |name: &str| accounts.join(name).display().to_string();
    let before = [
        format!("cp -a /etc/. '{}' && mount --bind '{0}' /etc", at("etc")),
        format!(
            "mount --bind '{}' /home && mount --bind '{}' /usr/local/bin",
            at("home"),
            at("bin")
        ),
        command("useradd"),
        command("install -d"),
        command("usermod"),
        command("install -m 755").replace("target/helper/drover", env!("CARGO_BIN_EXE_drover")),
        command("echo 'drover ALL"),
    ];
    // An account without a password counts as locked where there is no PAM.
    let more = "UsePAM yes\nAuthorizedKeysFile /home/drover/.ssh/authorized_keys";
    let Some(sshd) = Sshd::start_within(&before.join(" && "), more) else { return };
    let keys = accounts.join("home/drover/.ssh/authorized_keys");
    fs::copy(sshd.path("user_key.pub"), &keys).unwrap();

    // What only root may read, and what the account may.
    let source = accounts.join("home/data");
    let entries = tree::hostile(&source);
    fs::set_permissions(&source, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let url = format!("sftp://drover@127.0.0.1:{}/home/data", sshd.port);
    let mut text = fs::read_to_string(plan(&lab, &sshd, &url, "/usr/local/bin/drover")).unwrap();
    let own = lab.path("plan.toml");
    let denied = lab.run(&["sync", own.to_str().unwrap(), "--json"]).expect(1).json();
    assert!(denied["error"]["message"].to_string().contains("permission"), "{denied}");

    let key = command("helper_command");
    let line = text.lines().find(|line| line.starts_with("helper_command")).unwrap().to_owned();
    text = text.replace(&line, &key);
    fs::write(&own, text).unwrap();
    let pass = lab.run(&["sync", own.to_str().unwrap(), "--json"]).expect(0).json();
    assert_eq!(number(&pass, "/entries/total"), entries, "{pass}");
    assert!(pass["warnings"].as_array().is_none_or(Vec::is_empty), "{pass}");
    let target = lab.path("target");
    lab.run(&["restore", own.to_str().unwrap(), "latest", target.to_str().unwrap()]).expect(0);
    assert_same(&source, &target, &[]);
}
