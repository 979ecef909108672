//! An account that may act as root, behind a real sshd whose accounts are the test's own.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use serde_json::Value;

use crate::{
    audit::check,
    lab::{Answer, Lab},
    sshd::Sshd,
};

/// The rule of `docs/audit.md`, for the disks and accounts that are here.
fn rule() -> String {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/audit.md");
    let document = fs::read_to_string(document).unwrap();
    let (_, rule) = document.split_once("```sudoers\n").unwrap();
    let (rule, _) = rule.split_once("```").unwrap();
    // Each account has lines of its own: those of one more, after each of these.
    let mut lines = Vec::new();
    for command in rule.replace(" \\\n", " ").lines() {
        let commands = command.split(", ").flat_map(|command| {
            let more = command.contains("/home/scanner/");
            let more = more.then(|| {
                let words = command.rsplit(" = ").next().unwrap();
                words.trim().replace("/home/scanner/", "/home/other/")
            });
            [Some(command.to_owned()), more].into_iter().flatten()
        });
        lines.push(commands.collect::<Vec<_>>().join(", "));
    }
    lines.join("\n") + "\n"
}

struct Server {
    lab: Lab,
    sshd: Sshd,
}

impl Server {
    fn audit(&self, user: &str, more: &[&str]) -> Answer {
        let url = format!("ssh://{user}@127.0.0.1:{}", self.sshd.port);
        let options = self.sshd.options();
        let mut arguments =
            vec!["audit", "--host", &url, "--json", "--sample-peers", "0", "--no-tls"];
        arguments.extend(options.iter().map(String::as_str));
        arguments.extend(more);
        self.lab.run(&arguments)
    }
}

/// `None` where there is no root, sudo or sshd.
#[allow(clippy::print_stderr)]
fn server() -> Option<Server> {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root || !Path::new("/usr/bin/sudo").exists() {
        let required = std::env::var("DROVER_TEST_SERVICES").is_ok_and(|v| v == "required");
        assert!(!(is_root && required), "sudo is not installed");
        eprintln!("skipped: it takes root and sudo");
        return None;
    }
    let lab = Lab::new();
    let accounts = lab.path("accounts");
    for directory in ["etc", "home", "crontabs"] {
        fs::create_dir_all(accounts.join(directory)).unwrap();
    }
    let at = |name: &str| accounts.join(name).display().to_string();
    let sudoers = lab.path("rule");
    // What it did is for the test to read.
    let log = lab.path("sudo.log").display().to_string();
    fs::write(&sudoers, format!("Defaults logfile={log}\n{}", rule())).unwrap();
    fs::write(accounts.join("crontabs/root"), "5 1 * * * restic backup /srv\n").unwrap();
    fs::set_permissions(accounts.join("crontabs"), fs::Permissions::from_mode(0o1730)).unwrap();
    let before = [
        format!("cp -a /etc/. '{}' && mount --bind '{0}' /etc", at("etc")),
        format!("mount --bind '{}' /home", at("home")),
        format!(
            "mkdir -p /var/spool/cron/crontabs && mount --bind '{}' /var/spool/cron/crontabs",
            at("crontabs")
        ),
        "rm -f /etc/sudoers.d/[!R]*".to_owned(),
        "for account in auditor scanner other; do useradd -m -s /bin/sh $account; done".to_owned(),
        "echo scanner:dicom | chpasswd && chmod 700 /home/scanner".to_owned(),
        format!("install -m 440 '{}' /etc/sudoers.d/audit && visudo -c >&2", sudoers.display()),
    ];
    // An account without a password counts as locked where there is no PAM.
    let more = "UsePAM yes\nAuthorizedKeysFile /home/keys/%u";
    let sshd = Sshd::start_within(&before.join(" && "), more)?;
    fs::create_dir(accounts.join("home/keys")).unwrap();
    for user in ["auditor", "other", "root"] {
        let keys = accounts.join("home/keys").join(user);
        fs::copy(sshd.path("user_key.pub"), keys).unwrap();
    }
    // Synthetic: of a kind that nobody makes any more.
    let weak = "ssh-dss AAAAB3NzaC1kc3M= device\n";
    let ssh = accounts.join("home/scanner/.ssh");
    fs::create_dir(&ssh).unwrap();
    fs::write(ssh.join("authorized_keys"), weak).unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o700)).unwrap();
    Some(Server { lab, sshd })
}

fn made(document: &Value) -> Vec<(String, String)> {
    let checks = document["checks"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    checks.iter().map(|check| (text(&check["id"]), text(&check["result"]))).collect()
}

#[test]
fn with_the_rule_of_the_document_an_account_sees_what_root_sees() {
    let Some(server) = server() else { return };
    let root = server.audit("root", &[]).json();
    let sudo = server.audit("auditor", &["--sudo"]).json();
    assert_eq!(made(&sudo), made(&root), "{sudo}");
    assert_eq!((&sudo["sudo"], &root["sudo"]), (&true.into(), &false.into()));
    for part in ["accounts", "jobs", "backups", "unanswered"] {
        assert_eq!(sudo[part], root[part], "{part}");
    }
    // Whose a port is, only root is told.
    let listeners = sudo["listeners"].as_array().unwrap();
    let own = listeners.iter().find(|listener| listener["port"] == server.sshd.port).unwrap();
    assert_eq!(own["process"], "sshd");
    let weak = check(&sudo, "well-known-password");
    assert!(weak["evidence"].as_str().unwrap().contains("scanner"), "{weak}");
    assert_eq!(check(&sudo, "weak-keys")["result"], "finding");
    // Everything was allowed, and is what the list says.
    let listed = server.lab.run(&["audit", "--show-commands", "--sudo"]).expect(0).stdout;
    let listed = String::from_utf8(listed).unwrap();
    let log = fs::read_to_string(server.lab.path("sudo.log")).unwrap().replace("\n    ", " ");
    let ran: Vec<_> = log
        .lines()
        .filter(|line| line.contains("auditor"))
        .inspect(|line| assert!(!line.contains("not allowed"), "{line}"))
        .filter_map(|line| line.split_once("COMMAND=").map(|(_, command)| command))
        .collect();
    assert!(ran.len() > 8 && listed.contains("sudo -n cat -- /etc/shadow"), "{log}");
    for command in ran.iter().filter(|command| **command != "list") {
        let (program, arguments) = command.split_once(' ').unwrap();
        let program = program.rsplit('/').next().unwrap();
        let (words, path) = arguments.rsplit_once(' ').unwrap_or(("", arguments));
        let name = path.rsplit_once('/').map(|(folder, _)| format!("{folder}/NAME"));
        let home = path.find("/.").map(|at| format!("HOME{}", &path[at..]));
        let paths = [Some(path.to_owned()), name, home, Some("/dev/DISK".to_owned())];
        let known = paths.into_iter().flatten().any(|path| {
            let line = ["sudo -n", program, words, &path];
            let line: Vec<_> = line.into_iter().filter(|word| !word.is_empty()).collect();
            listed.contains(&format!("{}\n", line.join(" ")))
        });
        assert!(known, "{command}");
    }

    // Nothing is run as root unasked.
    fs::write(server.lab.path("sudo.log"), "").unwrap();
    let plain = server.audit("auditor", &[]).expect(3).json();
    assert_eq!(check(&plain, "well-known-password")["result"], "could-not-check");
    assert_eq!(fs::read_to_string(server.lab.path("sudo.log")).unwrap(), "");
}

#[test]
fn where_sudo_asks_for_a_password_nothing_waits_and_each_check_says_why() {
    let Some(server) = server() else { return };
    let sudo = server.audit("other", &["--sudo"]).expect(3).json();
    let plain = server.audit("other", &[]).expect(3).json();
    assert_eq!(made(&sudo), made(&plain));
    assert_eq!(sudo["sudo"], false);
    for id in ["well-known-password", "weak-keys", "sudo-without-password"] {
        let evidence = check(&sudo, id)["evidence"].as_str().unwrap();
        assert!(evidence.contains("a password is required"), "{id}: {evidence}");
    }
    // It was tried once.
    let log = fs::read_to_string(server.lab.path("sudo.log")).unwrap_or_default();
    assert!(log.matches("COMMAND=").count() <= 1, "{log}");
}
