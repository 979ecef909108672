//! The audit of a server: this machine, and one of a test's own behind a real sshd.

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    lab::{Answer, Lab, is_long},
    sshd::Sshd,
};

/// Of the password `admin`, with salts that are looked for in everything that is printed.
const MD5: &str = "$1$saltmdfv$M3Z8RacoR/xQkpptPXY3Y.";
const SHA512: &str = "$6$saltshafive12$kQ7bX0E8xj7pHYWmDqTkUeWlQDnE0jE0Cq";

pub fn results(document: &Value, result: &str) -> BTreeSet<String> {
    let checks = document["checks"].as_array().unwrap();
    let of = checks.iter().filter(|check| check["result"] == result);
    of.map(|check| check["id"].as_str().unwrap().to_owned()).collect()
}

pub fn check<'d>(document: &'d Value, id: &str) -> &'d Value {
    let checks = document["checks"].as_array().unwrap();
    checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no {id}"))
}

/// An audit of a server behind `sshd`.
pub fn over(lab: &Lab, sshd: &Sshd, more: &[&str]) -> Answer {
    let url = sshd.url(Path::new("/")).replace("sftp://", "ssh://");
    let mut arguments = vec!["audit", "--host", url.trim_end_matches('/'), "--json"];
    let options = sshd.options();
    arguments.extend(options.iter().map(String::as_str));
    arguments.extend(more);
    lab.run(&arguments)
}

#[test]
fn this_machine_as_json_page_and_text() {
    let lab = Lab::new();
    let page = lab.path("audit.html");
    let answer =
        lab.run(&["audit", "--sample-peers", "0", "--json", "--html", page.to_str().unwrap()]);
    assert!([0, 3].contains(&answer.code), "{}", answer.stderr);
    let document = answer.json();
    assert_eq!(document["schema"], "drover.audit/1");
    assert_eq!(answer.code == 3, !results(&document, "could-not-check").is_empty());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(document["system"]["kernel"], kernel.trim());
    assert_eq!(document["samples"], 1);
    let checks = document["checks"].as_array().unwrap();
    let found = results(&document, "finding");
    assert_eq!(found.len(), document["findings"].as_array().unwrap().len());
    for check in checks {
        for field in ["id", "severity", "title", "evidence", "remedy", "reference"] {
            assert!(!check[field].as_str().unwrap().is_empty(), "{check}");
        }
    }
    // The accounts are this machine's, by name and number.
    let accounts = document["accounts"].as_array().unwrap();
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    assert_eq!(
        accounts.len(),
        passwd.lines().filter(|line| line.matches(':').count() == 6).count()
    );
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("Server audit") && !html.contains("<script src"));

    // Rendered again it is the same report.
    let kept = lab.path("audit.json");
    fs::write(&kept, &answer.stdout).unwrap();
    let again = lab.run(&["report", kept.to_str().unwrap()]).expect(0);
    let shown = String::from_utf8(again.stdout).unwrap();
    assert!(shown.contains("All checks") && shown.contains("os-support"), "{shown}");
}

#[test]
fn commands_are_listed_for_whoever_has_to_allow_them() {
    let lab = Lab::new();
    let shown = String::from_utf8(lab.run(&["audit", "--show-commands"]).expect(0).stdout).unwrap();
    for line in ["run   uname -srm", "read  /etc/shadow", "list  /etc\n", "[root]", "ss -lntup"] {
        assert!(shown.contains(line), "{line}");
    }
    lab.run(&["audit", "--show-commands", "--json"]).refused(2, "command-line", "--json");
    lab.run(&["audit", "--host", "old-server", "--json"]).refused(2, "command-line", "ssh://");
    let secret = lab.run(&["audit", "--host", "ssh://u:secret-in-url@h", "--json"]);
    assert!(!secret.stderr.contains("secret-in-url"));
    secret.refused(2, "command-line", "password");
}

/// The programs of the table write nothing either: apt-get, when it simulates, has a log of its own.
#[test]
#[allow(clippy::print_stderr)]
fn nothing_is_written_and_nothing_else_is_run() {
    let lab = Lab::new();
    let log = lab.path("calls");
    let calls = "trace=execve,openat,open,creat,rename,renameat,renameat2,unlink,unlinkat,mkdir,\
                 mkdirat,chmod,fchmodat,chown,fchownat,truncate,link,linkat,symlink,symlinkat";
    let program = env!("CARGO_BIN_EXE_drover");
    let ran = Command::new("strace")
        .args(["-f", "--seccomp-bpf", "-qq", "-s", "4000", "-e", calls, "-o"])
        .args([log.as_os_str(), program.as_ref()])
        .args(["audit", "--sample-peers", "0", "--json"])
        .env("HOME", lab.path("home"))
        .output();
    if ran.is_err() {
        let required = std::env::var("DROVER_TEST_SERVICES").is_ok_and(|v| v == "required");
        assert!(!required, "strace is not installed");
        eprintln!("skipped: there is no strace");
        return;
    }
    let shown = String::from_utf8(lab.run(&["audit", "--show-commands"]).stdout).unwrap();
    let text = fs::read_to_string(&log).unwrap();
    let own = text.split_whitespace().next().unwrap();
    let mut run = 0;
    for call in text.lines().filter(|line| line.contains(" = ") && !line.contains(" = -1")) {
        let name = call.split_whitespace().nth(1).and_then(|call| call.split('(').next()).unwrap();
        let file = call.split('"').nth(1).unwrap_or_default();
        let harmless = file.starts_with("/dev/") || call.contains("O_TMPFILE");
        match name {
            // Of what drover starts; what those start is theirs.
            "execve" if !call.starts_with(own) => {
                let words: Vec<&str> = call
                    .split_once('[')
                    .and_then(|(_, rest)| rest.split_once("], "))
                    .map(|(words, _)| {
                        words.split(", ").map(|word| word.trim_matches('"')).collect()
                    })
                    .unwrap();
                let name = words[0].rsplit('/').next().unwrap();
                let words: Vec<&str> = [&[name][..], &words[1..]]
                    .concat()
                    .into_iter()
                    .map(|word| if word.starts_with("/dev/") { "/dev/DISK" } else { word })
                    .collect();
                let known = shown.contains(&format!("run   {}\n", words.join(" ")));
                // dpkg and the ways to mirrors are apt-get's.
                let of_apt = file == "/usr/bin/dpkg" || file.starts_with("/usr/lib/apt/");
                assert!(known || of_apt, "{call}");
                run += 1;
            }
            "execve" => {}
            "open" | "openat" => {
                let writes =
                    ["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| call.contains(flag));
                assert!(!writes || harmless, "{call}");
            }
            _ => panic!("{call}"),
        }
    }
    assert!(run > 5, "{text}");
}

/// A directory that sshd takes as another server's root: its parents are root's own.
fn root_of_its_own() -> Option<TempDir> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(place).unwrap();
    let safe = |path: &Path| {
        let metadata = path.metadata().unwrap();
        metadata.uid() == 0 && metadata.mode() & 0o022 == 0
    };
    if !place.ancestors().all(safe) {
        return None;
    }
    let root = tempfile::tempdir_in(place).unwrap();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    Some(root)
}

/// A port of this machine that speaks TLS 1.2, with a certificate that expired years ago.
fn expired() -> u16 {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec!["old-server".to_owned()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(2020, 2, 3);
    parameters.not_after = rcgen::date_time_ymd(2021, 2, 3);
    let certificate = parameters.self_signed(&key).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(
        rustls::crypto::ring::default_provider().into(),
    )
    .with_protocol_versions(&[&rustls::version::TLS12])
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(vec![certificate.der().clone()], key.into())
    .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Ends with the process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut connection = rustls::ServerConnection::new(config.clone()).unwrap();
            // It ends with the greeting, or with an alert.
            let _ = connection.complete_io(&mut stream);
            let _ = connection.write_tls(&mut stream);
        }
    });
    port
}

fn plant(root: &Path, path: &str, text: &str) {
    let file = root.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

/// The planted files are synthetic; server, account and way to them are real.
#[test]
#[allow(clippy::print_stderr)]
fn what_was_planted_is_found_and_nothing_else() {
    let Some(root) = root_of_its_own() else {
        eprintln!("skipped: sshd takes no directory of this user as a root");
        return;
    };
    let chroot =
        format!("ChrootDirectory {}\nForceCommand internal-sftp -R", root.path().display());
    let Some(sshd) = Sshd::start(&chroot) else { return };
    let lab = Lab::new();
    let at = root.path();
    plant(
        at,
        "etc/os-release",
        "ID=debian\nVERSION_ID=\"9\"\nPRETTY_NAME=\"Debian GNU/Linux 9\"\n",
    );
    plant(
        at,
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/usr/sbin/nologin\n\
         scanner:x:1001:1001::/home/scanner:/bin/sh\nservice:x:1002:1002::/:/usr/sbin/nologin\n",
    );
    plant(
        at,
        "etc/shadow",
        &format!("root:*:19000::::::\nscanner:{MD5}:19000::::::\nservice:!{SHA512}:19000::::::\n"),
    );
    fs::set_permissions(at.join("etc/shadow"), fs::Permissions::from_mode(0o640)).unwrap();
    plant(
        at,
        "etc/ssh/sshd_config",
        "Port 22\nPermitRootLogin yes\nPermitEmptyPasswords yes\nCiphers aes256-ctr,aes128-cbc\n\
         Match User x\n  PermitRootLogin no\n",
    );
    // DICOM and telnet listen, a database on the loopback; one device sends.
    plant(
        at,
        "proc/net/tcp",
        "  sl  local_address rem_address   st\n   0: 00000000:2B68 00000000:0000 0A\n   \
         1: 00000000:0017 00000000:0000 0A\n   2: 0100007F:1538 00000000:0000 0A\n   \
         3: 0A00000A:2B68 0B00000A:C001 01\n",
    );
    plant(at, "etc/exports", "/srv/images *(rw,no_root_squash)\n");
    plant(at, "etc/cron.d/copy", "5 1 * * * root mysqldump -psecret-in-cron clinic\n");
    let port = expired().to_string();
    let options = ["--sample-peers", "0", "--tls-port", &port];
    let answer = over(&lab, &sshd, &options).expect(3);
    let everything = format!("{}{}", String::from_utf8_lossy(&answer.stdout), answer.stderr);
    for secret in [MD5, SHA512, "saltmdfv", "saltshafive12", "secret-in-cron"] {
        assert!(!everything.contains(secret), "{secret} is shown");
    }
    let document = answer.json();
    let expected = [
        "backup",
        "legacy-services",
        "medical-in-clear",
        "nfs-root",
        "nfs-world",
        "os-support",
        "ssh-algorithms",
        "ssh-empty-passwords",
        "ssh-passwords",
        "ssh-root",
        "tls-certificates",
        "weak-password-hash",
        "well-known-password",
    ];
    let expected: BTreeSet<_> = expected.iter().map(|id| (*id).to_owned()).collect();
    assert_eq!(results(&document, "finding"), expected, "{document}");
    let weak = check(&document, "well-known-password")["evidence"].as_str().unwrap();
    assert!(weak.contains("scanner") && !weak.contains("admin"), "{weak}");
    let shown = &document["tls"][0];
    assert_eq!(
        (&shown["port"], &shown["old_version"]),
        (&port.parse::<u16>().unwrap().into(), &"".into())
    );
    assert_eq!(
        (&shown["version"], &shown["not_after"]),
        (&"TLS 1.2".into(), &"2021-02-03T00:00:00Z".into())
    );
    // What takes commands could not be looked at, and says so.
    for id in ["disk-space", "packages-pending", "time-sync"] {
        let evidence = check(&document, id)["evidence"].as_str().unwrap();
        assert!(evidence.contains("no commands"), "{evidence}");
    }
    let peers = document["peers"].as_array().unwrap();
    assert_eq!(peers.len(), 1, "{document}");
    assert_eq!(peers[0]["address"], "10.0.0.11");
    assert_eq!((&peers[0]["direction"], &peers[0]["service"]), (&"in".into(), &"DICOM".into()));

    // Mended, the findings go.
    plant(at, "etc/ssh/sshd_config", "PermitRootLogin no\nPasswordAuthentication no\n");
    plant(at, "etc/shadow", "root:*:19000::::::\nscanner:!:19000::::::\n");
    let mended = over(&lab, &sshd, &["--sample-peers", "0"]).expect(3).json();
    let left = results(&mended, "finding");
    let gone: BTreeSet<_> = expected.difference(&left).map(String::as_str).collect();
    assert_eq!(
        gone.into_iter().collect::<Vec<_>>(),
        [
            "ssh-algorithms",
            "ssh-empty-passwords",
            "ssh-passwords",
            "ssh-root",
            "tls-certificates",
            "weak-password-hash",
            "well-known-password",
        ]
    );
}

#[test]
fn over_ssh_a_server_says_what_it_says_here() {
    let Some(sshd) = Sshd::start("") else { return };
    let lab = Lab::new();
    let there = over(&lab, &sshd, &["--sample-peers", "0"]);
    assert!([0, 3].contains(&there.code), "{}", there.stderr);
    let there = there.json();
    let here = lab.run(&["audit", "--sample-peers", "0", "--json"]).json();
    for part in ["os", "kernel", "version", "processors", "memory"] {
        assert_eq!(there["system"][part], here["system"][part], "{part}");
    }
    assert!(there["connection"].as_str().unwrap().contains("ssh-ed25519"));
    assert_eq!(there["accounts"], here["accounts"]);
    assert_eq!(there["disks"], here["disks"]);
    // Both see this server among what listens, by its program.
    let port = serde_json::json!(sshd.port);
    let listeners = there["listeners"].as_array().unwrap();
    let own = listeners.iter().find(|listener| listener["port"] == port).unwrap();
    assert_eq!(own["exposure"], "loopback");
    for (a, b) in there["checks"].as_array().unwrap().iter().zip(here["checks"].as_array().unwrap())
    {
        assert_eq!((&a["id"], &a["result"]), (&b["id"], &b["result"]), "{a} {b}");
    }
}

#[test]
fn each_server_of_a_plan_is_looked_at_once() {
    let lab = Lab::new();
    let plan = lab.path("plan.toml");
    let text = "[repository]\nurl = \"/backup\"\n[[source]]\nname = \"a\"\nurl = \"/srv\"\n\
                [[source]]\nname = \"b\"\nurl = \"/home\"\n\
                [[source]]\nname = \"c\"\nurl = \"sftp://nobody@127.0.0.1:1/\"\n";
    fs::write(&plan, text).unwrap();
    // One does not answer: the others are looked at all the same.
    let arguments = ["audit", plan.to_str().unwrap(), "--sample-peers", "0", "--json"];
    let answer = lab.run(&arguments).expect(1).json();
    let hosts = answer["hosts"].as_array().unwrap();
    assert_eq!(hosts.len(), 2, "each server once");
    assert!(hosts[0]["checks"].as_array().unwrap().len() > 30);
    assert_eq!(hosts[1]["error"]["kind"], "ssh-connection");
    assert_eq!(answer["error"]["kind"], "ssh-connection");
}

#[test]
fn a_server_that_says_nothing_is_no_audit() {
    let Some(sshd) = Sshd::start("ForceCommand /bin/false") else { return };
    let lab = Lab::new();
    over(&lab, &sshd, &["--sample-peers", "0"]).refused(1, "unanswered", "no command");
}

/// Systems that `tests/chroots` made, each in a directory with its name.
fn systems() -> Vec<PathBuf> {
    let Some(place) = std::env::var_os("DROVER_TEST_CHROOTS") else { return Vec::new() };
    fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Real systems, with their own programs and a password that their own tools set.
#[test]
#[allow(clippy::print_stderr)]
fn systems_of_several_years() {
    let systems = systems();
    if systems.is_empty() {
        assert!(!is_long(), "tests/chroots made no systems");
        eprintln!("skipped: DROVER_TEST_CHROOTS names no directory of systems");
    }
    for root in systems {
        let name = root.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(sshd) = Sshd::start(&format!("ChrootDirectory {}", root.display())) else {
            return;
        };
        let lab = Lab::new();
        let answer = over(&lab, &sshd, &["--sample-peers", "0"]).expect(3);
        let shadow = fs::read_to_string(root.join("etc/shadow")).unwrap();
        let hashes = shadow.lines().filter_map(|line| line.split(':').nth(1));
        let hashes: Vec<_> = hashes.filter(|hash| hash.len() > 12).collect();
        assert!(!hashes.is_empty(), "{name}: tests/chroots sets passwords");
        let everything = String::from_utf8_lossy(&answer.stdout).into_owned();
        assert!(hashes.iter().all(|hash| !everything.contains(hash)), "{name} shows a hash");
        let document = answer.json();
        let release = fs::read_to_string(root.join("etc/os-release")).unwrap();
        assert!(release.contains(document["system"]["os"].as_str().unwrap()), "{name}");
        // Of the two accounts with a password, the one with a bad one.
        let weak = check(&document, "well-known-password");
        assert_eq!(weak["result"], "finding", "{name}: {weak}");
        let evidence = weak["evidence"].as_str().unwrap();
        assert!(evidence.contains("scanner") && !evidence.contains("root"), "{name}: {evidence}");
        for (id, result) in [
            ("packages-pending", "pass"),
            ("package-lists", "pass"),
            ("empty-password", "pass"),
            ("second-root", "pass"),
            ("shadow-readable", "pass"),
            ("ssh-empty-passwords", "pass"),
            // There is no /proc, and so nothing that could be said.
            ("raid", "could-not-check"),
            ("disk-space", "could-not-check"),
            ("dependency-map", "could-not-check"),
        ] {
            let made = check(&document, id);
            assert_eq!(made["result"], result, "{name}: {made}");
        }
        let account = document["accounts"].as_array().unwrap();
        let account = account.iter().find(|account| account["name"] == "scanner").unwrap();
        eprintln!("{name}: {}, {}", document["system"]["os"], account["scheme"]);
    }
}
