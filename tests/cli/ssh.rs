//! The ways to a server: settings of OpenSSH, jump hosts, agents, passwords, old algorithms.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{
    compare::assert_same,
    lab::{Answer, Lab, PASSWORD, number},
    sshd::{Sshd, make_key},
    tree,
};

fn sync(lab: &Lab, url: &str, options: &[&str]) -> Answer {
    let mut arguments = vec!["--source", url];
    arguments.extend_from_slice(options);
    lab.verb("sync", &arguments)
}

fn user() -> String {
    let user = Command::new("id").arg("-un").output().unwrap().stdout;
    String::from_utf8(user).unwrap().trim().to_owned()
}

/// The account's settings.
fn configure(lab: &Lab, config: &str) -> PathBuf {
    let directory = lab.path("home/.ssh");
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join("config");
    fs::write(&file, config).unwrap();
    file
}

/// What `config` says of a server, for one name of it.
fn host(name: &str, sshd: &Sshd, more: &str) -> String {
    format!(
        "Host {name}\n  HostName 127.0.0.1\n  Port {}\n  User {}\n  IdentityFile {}\n  \
         UserKnownHostsFile {}\n  {more}\n",
        sshd.port,
        user(),
        sshd.path("user_key").display(),
        sshd.path("known").display(),
    )
}

fn know(sshd: &Sshd) {
    fs::write(sshd.path("known"), sshd.known(&sshd.path("host_key.pub"))).unwrap();
}

#[test]
fn with_a_shell_everything_comes_back() {
    let Some(sshd) = Sshd::start("") else { return };
    let lab = Lab::with_repository();
    let source = lab.path("source");
    let entries = tree::hostile(&source);
    let (url, options) = (sshd.url(&source), sshd.options());
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let pass = sync(&lab, &url, &options).expect(0).json();
    assert_eq!(number(&pass, "/entries/total"), entries, "{pass}");
    let classes: Vec<_> =
        pass["fidelity"].as_array().unwrap().iter().map(|i| &i["class"]).collect();
    assert_eq!(classes, ["file flags", "holes"]);
    let target = lab.path("target");
    lab.verb("restore", &["latest", target.to_str().unwrap()]).expect(0);
    assert_same(&source, &target, &[]);

    // Nobody has to trust a shell.
    let mut without = options.clone();
    without.push("--ssh-no-shell");
    let weak = sync(&lab, &url, &without).expect(0).json();
    assert_eq!(weak["fidelity"].as_array().unwrap().len(), 8);
}

#[test]
fn settings_of_openssh_lead_there() {
    let (Some(sshd), Some(jump)) = (Sshd::start(""), Sshd::start("")) else { return };
    let (lab, source) = Lab::with_source();
    know(&sshd);
    know(&jump);
    // One server lets in the other's key.
    fs::copy(sshd.path("user_key.pub"), jump.path("authorized_keys")).unwrap();
    let over = format!("ProxyJump {}@bastion", user());
    let config = [
        host("ward-3", &sshd, ""),
        host("behind", &sshd, &over),
        host("piped", &sshd, "ProxyCommand nc %h %p"),
        host("alias", &sshd, "HostKeyAlias other"),
        host("nowhere", &sshd, "ProxyCommand echo no way there >&2; exit 1"),
        host("bastion", &jump, "").replace("user_key", "../user_key"),
    ];
    let config = config.concat().replace(
        &jump.path("../user_key").display().to_string(),
        &sshd.path("user_key").display().to_string(),
    );
    configure(&lab, &config);

    let url = |name: &str| format!("sftp://{name}{}", source.display());
    let pass = sync(&lab, &url("ward-3"), &[]).expect(0).json();
    assert_eq!(pass["source"], url("ward-3"), "the name of a source is what was given");
    sync(&lab, &url("behind"), &[]).expect(0);
    sync(&lab, &url("nowhere"), &[]).refused(1, "ssh-connection", "no way there");
    if Command::new("nc").arg("-h").output().is_ok() {
        sync(&lab, &url("piped"), &[]).expect(0);
    }
    sync(&lab, &url("alias"), &[]).refused(1, "host-key", "not known");
    let key = fs::read_to_string(sshd.path("host_key.pub")).unwrap();
    fs::write(sshd.path("known"), format!("other {key}")).unwrap();
    sync(&lab, &url("alias"), &[]).expect(0);
    know(&sshd);

    // What is given counts before what is set, and settings can be named or left out.
    sync(&lab, &format!("sftp://no-such-account@ward-3{}", source.display()), &[]).expect(12);
    let other = lab.path("other-config");
    fs::write(&other, host("elsewhere", &sshd, "")).unwrap();
    let file = other.to_str().unwrap();
    sync(&lab, &url("elsewhere"), &["--ssh-config", file]).expect(0);
    sync(&lab, &url("ward-3"), &["--ssh-config", "/dev/null"]).expect(1);
    configure(&lab, "Host x\n  Port many\n");
    sync(&lab, &url("ward-3"), &[]).refused(
        2,
        "command-line",
        "OpenSSH does not take its settings",
    );
}

/// An agent, which ends with the value.
struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(directory: &Path) -> Self {
        let socket = directory.join("agent");
        let mut child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It says where it listens once it does.
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, socket }
    }

    fn add(&self, key: &Path) {
        let mut add = Command::new("ssh-add");
        add.arg("-q").arg(key).env("SSH_AUTH_SOCK", &self.socket);
        assert!(add.status().unwrap().success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn keys_of_an_agent() {
    let Some(sshd) = Sshd::start("MaxAuthTries 3") else { return };
    let (lab, source) = Lab::with_source();
    know(&sshd);
    let agent = Agent::start(&lab.path(""));
    let lab = lab.with_variable("SSH_AUTH_SOCK", agent.socket.to_str().unwrap());
    let pin = ["--ssh-host-key", &*sshd.fingerprint];
    let url = sshd.url(&source);
    sync(&lab, &url, &pin).refused(12, "ssh-denied", "0 keys of the agent");
    let key = sshd.path("user_key");
    agent.add(&key);
    sync(&lab, &url, &pin).expect(0);

    // With more keys than the server looks at, the settings say which of them is offered.
    let crowded = Agent::start(&sshd.path(""));
    for n in 0..5 {
        let other = sshd.path(&format!("other-{n}"));
        make_key(&other, "");
        crowded.add(&other);
    }
    crowded.add(&key);
    let socket = crowded.socket.display();
    // The private part is in the agent alone.
    fs::rename(&key, sshd.path("taken-away")).unwrap();
    configure(&lab, &host("crowd", &sshd, &format!("IdentityAgent {socket}")));
    let url = format!("sftp://crowd{}", source.display());
    sync(&lab, &url, &[]).expect(12);
    let only = format!("IdentityAgent {socket}\n  IdentitiesOnly yes");
    configure(&lab, &host("crowd", &sshd, &only));
    sync(&lab, &url, &[]).expect(0);
    configure(&lab, &host("crowd", &sshd, "IdentityAgent none"));
    sync(&lab, &url, &[]).expect(12);
}

/// An sshd that knows the account by a password of the test's own: in a mount namespace, where the
/// system's files of accounts are others. `None` where that cannot be had.
fn with_password(lab: &Lab, more: &str) -> Option<Sshd> {
    let root = Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|s| s.success());
    if user() != "root" || !root {
        return None;
    }
    let hashed = Command::new("openssl").args(["passwd", "-6", PASSWORD]).output().ok()?;
    let hash = String::from_utf8(hashed.stdout).unwrap();
    let shadow = lab.path("shadow");
    fs::write(&shadow, format!("root:{}:19000:0:99999:7:::\n", hash.trim())).unwrap();
    let pam = lab.path("pam");
    fs::write(&pam, "auth required pam_unix.so\naccount required pam_permit.so\nsession required pam_permit.so\n")
        .unwrap();
    Sshd::start_within(
        &format!(
            "mount --bind '{}' /etc/shadow && {{ [ ! -e /etc/pam.d/sshd ] || mount --bind '{}' /etc/pam.d/sshd; }}",
            shadow.display(),
            pam.display()
        ),
        more,
    )
}

#[test]
fn passwords() {
    let (lab, source) = Lab::with_source();
    for more in [
        "PasswordAuthentication yes\nKbdInteractiveAuthentication no\nPubkeyAuthentication no",
        "PasswordAuthentication no\nKbdInteractiveAuthentication yes\nUsePAM yes\nPubkeyAuthentication no",
    ] {
        let Some(sshd) = with_password(&lab, more) else { return };
        let url = sshd.url(&source);
        let pin = ["--ssh-host-key", &*sshd.fingerprint];
        sync(&lab, &url, &pin).expect(12);
        let file = lab.path("ssh-password");
        fs::write(&file, format!("{PASSWORD}\n")).unwrap();
        let given = ["--ssh-password-file", file.to_str().unwrap()];
        sync(&lab, &url, &[pin, given].concat()).expect(0);
        let command = format!("cat '{}'", file.display());
        let given = ["--ssh-password-command", &*command];
        sync(&lab, &url, &[pin, given].concat()).expect(0);
        fs::write(&file, "another\n").unwrap();
        sync(&lab, &url, &[pin, given].concat()).refused(12, "ssh-denied", "tried");
    }
}

/// What a server from before 2012 knows.
const LEGACY: &str = "KexAlgorithms diffie-hellman-group14-sha1\nHostKeyAlgorithms ssh-rsa\n\
                      Ciphers aes128-cbc\nMACs hmac-sha1\nPubkeyAcceptedAlgorithms +ssh-rsa";

#[test]
fn old_algorithms_only_where_they_are_asked_for() {
    let Some(sshd) = Sshd::with_host_key("rsa", LEGACY) else { return };
    let (lab, source) = Lab::with_source();
    let (url, options) = (sshd.url(&source), sshd.options());
    let mut options: Vec<_> = options.iter().map(String::as_str).collect();
    sync(&lab, &url, &options).refused(1, "ssh-connection", "127.0.0.1");
    options.push("--ssh-legacy-algorithms");
    let pass = sync(&lab, &url, &options).expect(0).json();
    let connection = pass["connection"].as_str().unwrap();
    assert_eq!(connection, "diffie-hellman-group14-sha1, ssh-rsa, aes128-cbc, hmac-sha1");
    let warnings = pass["warnings"].to_string();
    assert!(warnings.contains("broken or weak") && warnings.contains("aes128-cbc"), "{warnings}");

    // From a plan, for that source alone; a server that knows better is not talked down.
    let modern = Sshd::start("").unwrap();
    let plan = lab.path("plan.toml");
    let source_table = |name: &str, sshd: &Sshd| {
        format!(
            "[[source]]\nname = \"{name}\"\nurl = \"{}\"\nidentity_file = \"{}\"\nhost_key = \"{}\"\n\
             legacy_algorithms = true\n",
            sshd.url(&source),
            sshd.path("user_key").display(),
            sshd.fingerprint
        )
    };
    let text = format!(
        "[repository]\nurl = \"{}\"\n{}{}",
        lab.repository,
        source_table("old", &sshd),
        source_table("new", &modern)
    );
    fs::write(&plan, text).unwrap();
    let pass = lab.run(&["sync", plan.to_str().unwrap(), "--json"]).expect(0).json();
    let connections: Vec<_> =
        pass["sources"].as_array().unwrap().iter().map(|s| s["connection"].to_string()).collect();
    assert!(connections[0].contains("ssh-rsa") && connections[1].contains("ssh-ed25519"), "{pass}");
    assert!(!connections[1].contains("sha1") && !connections[1].contains("cbc"), "{pass}");
}

/// Sources of three machines, two of which wait for each other before their passes: one after the other
/// they would never begin.
#[test]
fn machines_do_not_wait_for_each_other() {
    let Some(sshd) = Sshd::start("") else { return };
    let lab = Lab::with_repository();
    let meeting = lab.path("meeting");
    assert!(Command::new("mkfifo").arg(&meeting).status().unwrap().success());
    let mut text = format!("[repository]\nurl = '{}'\n", lab.repository);
    let mut source = |name: &str, url: String, hook: &str| {
        text.push_str(&format!("[[source]]\nname = '{name}'\nurl = '{url}'\n"));
        if url.starts_with("sftp") {
            let (key, pin) = (sshd.path("user_key"), &sshd.fingerprint);
            text.push_str(&format!("identity_file = '{}'\nhost_key = '{pin}'\n", key.display()));
        }
        if !hook.is_empty() {
            let meeting = meeting.display();
            text.push_str(&format!(
                "before_pass = ['sh', '-c', \"{hook} '{meeting}'\"]\nhook_timeout = '60 seconds'\n"
            ));
        }
    };
    let directories = ["a", "b", "c", "d"].map(|name| lab.path(name));
    for directory in &directories {
        tree::hostile(directory);
    }
    let [a, b, c, d] = &directories;
    source("first", sshd.url(a), "echo here >");
    source("second", sshd.url(b).replace("127.0.0.1", "localhost"), "cat");
    source("third", sshd.url(c), "");
    source("fourth", d.display().to_string(), "");
    source("missing", lab.path("none").display().to_string(), "");
    let plan = lab.path("plan.toml");
    fs::write(&plan, &text).unwrap();
    let plan = plan.to_str().unwrap();

    // One that fails does not stop the others, and it is said.
    let pass = lab.run(&["sync", plan, "--json"]).expect(1).json();
    let names: Vec<_> = pass["sources"].as_array().unwrap().iter().map(|s| &s["source"]).collect();
    assert_eq!(names, ["first", "second", "third", "fourth", "missing"]);
    let mut puts = 0;
    for source in &pass["sources"].as_array().unwrap()[..4] {
        assert!(source["error"].is_null() && source["snapshot"].is_string(), "{source}");
        assert!(number(source, "/requests/put") >= 3, "{source}");
        puts += number(source, "/requests/put");
    }
    assert!(pass["sources"][4]["error"]["message"].to_string().contains("none"));
    assert_eq!(number(&pass, "/requests/put"), puts);
    lab.run(&["verify", plan, "--read-data", "--json"]).expect(0);
    for (name, directory) in ["first", "second", "third", "fourth"].iter().zip(&directories) {
        let target = lab.path(&format!("restored {name}"));
        let target = target.to_str().unwrap();
        lab.run(&["restore", plan, "latest", target, "--source", name, "--json"]).expect(0);
        if *name == "fourth" {
            assert_same(directory, Path::new(target), &[]);
        }
    }

    // One at a time where the plan says so: the first waits in vain.
    fs::create_dir(lab.path("none")).unwrap();
    let alone = text.replace("60 seconds", "1 seconds") + "[limits]\nmachines = 1\n";
    fs::write(plan, alone).unwrap();
    let pass = lab.run(&["sync", plan, "--json"]).expect(1).json();
    assert!(pass["sources"][0]["error"]["message"].to_string().contains("before_pass"), "{pass}");
    assert!(pass["sources"][3]["error"].is_null(), "{pass}");
}
