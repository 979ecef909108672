//! What a command on a server prints, over a real sshd: counted where it ended well, and otherwise not.

use std::{fs, path::Path, time::Duration};

use serde_json::Value;

use crate::{
    lab::{Lab, number},
    sshd::Sshd,
};

/// A plan whose source is what `script` prints on the server.
fn plan(lab: &Lab, sshd: &Sshd, script: &str, more: &str) -> String {
    let file = lab.path("plan.toml");
    let text = format!(
        "[repository]\nurl = '{}'\n[[source]]\nname = 'dump'\nurl = '{}'\nfile = 'all.sql'\n\
         command = ['/bin/sh', '-c', \"\"\"{script}\"\"\"]\nidentity_file = '{}'\nhost_key = '{}'\n{more}\n",
        lab.repository,
        sshd.url(Path::new("/")),
        sshd.path("user_key").display(),
        sshd.fingerprint,
    );
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

fn message(report: &Value) -> &str {
    report["exceptions"][0]["message"].as_str().unwrap()
}

/// A pass that finds that `script` does not count, for this reason.
fn refused(lab: &Lab, sshd: &Sshd, script: &str, more: &str, why: &str) {
    let plan = plan(lab, sshd, script, more);
    let pass = lab.run(&["sync", &plan, "--json"]).expect(3).json();
    assert!(message(&pass).contains(why), "{script}: {pass}");
    let kept = lab.run(&["cat", &plan, "latest:all.sql"]).expect(0);
    assert_eq!(kept.stdout, b"whole\n", "{script}: the last whole one stays");
}

#[test]
fn what_a_command_on_a_server_prints_is_a_file() {
    let Some(sshd) = Sshd::start("") else { return };
    let lab = Lab::with_repository();
    // More errors than a channel's window holds, before the output and after.
    let errors = "head -c 9000000 /dev/zero | tr '\\\\0' e >&2";
    let script =
        format!("{errors}; yes INSERT | head -c 30000000; printf '\\\\0\\\\377'; {errors}");
    let plan = plan(&lab, &sshd, &script, "");
    let pass = lab.run(&["sync", &plan, "--json"]).expect(0).json();
    assert_eq!(number(&pass, "/bytes/read"), 30_000_002);
    assert!(pass["connection"].as_str().unwrap().contains("ssh-ed25519"), "{pass}");
    let dump = lab.run(&["cat", &plan, "latest:all.sql"]).expect(0).stdout;
    assert_eq!(dump.len(), 30_000_002);
    assert!(dump.starts_with(b"INSERT\nINSERT\n") && dump.ends_with(b"IN\0\xff"));
    // The same again is run again, and sends nothing.
    let again = lab.run(&["sync", &plan, "--json"]).expect(0).json();
    assert_eq!(number(&again, "/bytes/read"), 30_000_002);
    assert!(number(&again, "/bytes/new") < 10_000, "more than the manifest: {again}");
}

#[test]
fn what_ends_badly_on_a_server_does_not_count() {
    let Some(sshd) = Sshd::start("") else { return };
    let lab = Lab::with_repository();
    let whole = plan(&lab, &sshd, "echo whole", "");
    lab.run(&["sync", &whole, "--json"]).expect(0);

    refused(
        &lab,
        &sshd,
        "echo half; echo no such database >&2; exit 4",
        "",
        "exit code 4, and said: no",
    );
    refused(&lab, &sshd, "echo half; kill -9 $$", "", "a signal");
    // The connection goes, in the middle of the output and after all of it.
    let server = "kill -9 $PPID";
    refused(&lab, &sshd, &format!("echo half; {server}; sleep 1000"), "", "the connection broke");
    let ended = format!("echo half; exec >&- 2>&-; {server}; sleep 1000");
    refused(&lab, &sshd, &ended, "", "the connection broke");

    // What goes on in silence is ended, on the server too.
    let noted = lab.path("process");
    let silent = format!("echo $$ >'{}'; echo half; exec sleep 1000", noted.display());
    refused(&lab, &sshd, &silent, "hook_timeout = '1 second'", "silent for 1s");
    let closed = "echo half; exec >&- 2>&-; exec sleep 1000";
    refused(&lab, &sshd, closed, "hook_timeout = '1 second'", "silent for 1s");
    let process = fs::read_to_string(&noted).unwrap();
    let process = Path::new("/proc").join(process.trim());
    let begun = std::time::Instant::now();
    while process.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it goes on without anybody");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn an_account_that_runs_something_else_is_no_source() {
    let sftp = "ForceCommand internal-sftp";
    let (Some(sshd), Some(other)) = (Sshd::start(""), Sshd::start(sftp)) else { return };
    let lab = Lab::with_repository();
    let whole = plan(&lab, &sshd, "echo whole", "");
    lab.run(&["sync", &whole, "--json"]).expect(0);
    refused(&lab, &other, "echo half", "hook_timeout = '1 second'", "something else");
    let other = Sshd::start("ForceCommand echo not for you; exit 0").unwrap();
    refused(&lab, &other, "echo half", "", "\"not for you\"");
    // What a profile prints is no part of it.
    let chatty = "ForceCommand echo Welcome; exec sh -c \"$SSH_ORIGINAL_COMMAND\"";
    let chatty = Sshd::start(chatty).unwrap();
    let plan = plan(&lab, &chatty, "echo second", "");
    lab.run(&["sync", &plan, "--json"]).expect(0);
    assert_eq!(lab.run(&["cat", &plan, "latest:all.sql"]).expect(0).stdout, b"second\n");
    // A server that is not there is an error of the source.
    drop(chatty);
    lab.run(&["sync", &plan, "--json"]).refused(1, "ssh-connection", "127.0.0.1");
}

#[test]
fn a_command_runs_behind_a_jump_host() {
    let Some(sshd) = Sshd::start("") else { return };
    let lab = Lab::with_repository();
    let config = lab.path("config");
    let way = "bash -c 'exec 3<>/dev/tcp/%h/%p; cat <&3 & exec cat >&3'";
    fs::write(&config, format!("Host *\n  ProxyCommand {way}\n")).unwrap();
    let more = format!("ssh_config = '{}'", config.display());
    let plan = plan(&lab, &sshd, "yes | head -c 3000000", &more);
    let pass = lab.run(&["sync", &plan, "--json"]).expect(0).json();
    assert_eq!(number(&pass, "/bytes/read"), 3_000_000);
}
