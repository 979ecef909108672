//! A real SSH server of a test's own, and proxies before it that cut connections, or count how often the
//! client waits.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use tempfile::TempDir;

const SERVER: &str = "/usr/sbin/sshd";

/// OpenSSH's server on a free port, with keys of its own. It ends with the value.
pub struct Sshd {
    directory: TempDir,
    child: Child,
    pub port: u16,
    /// The fingerprint of its host key.
    pub fingerprint: String,
}

impl Sshd {
    /// `None` where there is no such server on this machine, which `tests/run` does not allow.
    pub fn start(more: &str) -> Option<Self> {
        Self::start_with("Subsystem sftp internal-sftp", more)
    }

    /// With this for SFTP.
    pub fn start_with(subsystem: &str, more: &str) -> Option<Self> {
        Self::launch(subsystem, more, "ed25519", "")
    }

    /// With a host key of this type.
    pub fn with_host_key(key: &str, more: &str) -> Option<Self> {
        Self::launch("Subsystem sftp internal-sftp", more, key, "")
    }

    /// In a mount namespace of its own, after `before`.
    pub fn start_within(before: &str, more: &str) -> Option<Self> {
        Self::launch("Subsystem sftp internal-sftp", more, "ed25519", before)
    }

    #[allow(clippy::print_stderr)]
    fn launch(subsystem: &str, more: &str, key: &str, before: &str) -> Option<Self> {
        if !Path::new(SERVER).exists() {
            let required = std::env::var("DROVER_TEST_SERVICES").is_ok_and(|v| v == "required");
            assert!(!required, "openssh-server is not installed");
            eprintln!("skipped: there is no {SERVER}");
            return None;
        }
        // Where it separates its privileges, which it does as root.
        let _ = fs::create_dir_all("/run/sshd");
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        make_key_of(key, &at("host_key"), "");
        make_key(&at("user_key"), "");
        fs::copy(at("user_key.pub"), at("authorized_keys")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Of an option that is given twice, the first counts.
        let config = format!(
            "{more}\nPort {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\n\
             PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             PermitRootLogin yes\n{subsystem}\nMaxStartups 100\n",
            at("host_key").display(),
            at("authorized_keys").display(),
        );
        fs::write(at("config"), config).unwrap();
        let run = format!("{SERVER} -D -e -f '{}'", at("config").display());
        let mut command = match before {
            "" => Command::new("sh"),
            _ => Command::new("unshare"),
        };
        let script = match before {
            "" => format!("exec {run}"),
            before => {
                command.args(["-m", "sh"]);
                format!("{before} && exec {run}")
            }
        };
        let mut child = command
            .arg("-c")
            .arg(script)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("Server listening") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "sshd does not start");
        }
        // Whoever logs must not wait for a reader.
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let fingerprint = fingerprint(&at("host_key.pub"));
        Some(Self { directory, child, port, fingerprint })
    }

    /// A file of its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The URL of a directory, through `port`.
    pub fn url_at(&self, port: u16, directory: &Path) -> String {
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let user = String::from_utf8(user).unwrap();
        format!("sftp://{}@127.0.0.1:{port}{}", user.trim(), directory.display())
    }

    pub fn url(&self, directory: &Path) -> String {
        self.url_at(self.port, directory)
    }

    /// The options that let a run in.
    pub fn options(&self) -> Vec<String> {
        let key = self.path("user_key").to_str().unwrap().to_owned();
        let pin = self.fingerprint.clone();
        vec!["--ssh-identity-file".into(), key, "--ssh-host-key".into(), pin]
    }

    /// A line of `known_hosts` that names the key in `public` for this server.
    pub fn known(&self, public: &Path) -> String {
        let key = fs::read_to_string(public).unwrap();
        let fields: Vec<_> = key.split_whitespace().take(2).collect();
        format!("[127.0.0.1]:{} {}\n", self.port, fields.join(" "))
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn make_key(file: &Path, passphrase: &str) {
    make_key_of("ed25519", file, passphrase);
}

fn make_key_of(key: &str, file: &Path, passphrase: &str) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", key, "-N", passphrase, "-C", "test", "-f"])
        .arg(file)
        .status()
        .unwrap();
    assert!(made.success());
}

pub fn fingerprint(public: &Path) -> String {
    let shown = Command::new("ssh-keygen").arg("-lf").arg(public).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    shown.split_whitespace().nth(1).unwrap().to_owned()
}

/// A proxy before `port` that cuts each of the first `cut` connections once the server has sent
/// `after` bytes. Returns its port, and how many it has cut.
pub fn cutting(port: u16, cut: usize, after: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    let done = Arc::new(AtomicUsize::new(0));
    let counted = done.clone();
    // Ends with the process.
    thread::spawn(move || {
        let begun = Arc::new(AtomicUsize::new(0));
        for client in listener.incoming() {
            let Ok(client) = client else { return };
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let left = (begun.fetch_add(1, Ordering::SeqCst) < cut).then_some(after);
            let (to_server, from_client) =
                (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || relay(from_client, to_server, None));
            let counted = counted.clone();
            thread::spawn(move || {
                if relay(server, client, left) {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    (own, done)
}

/// Whether it was cut.
fn relay(mut from: TcpStream, mut to: TcpStream, mut left: Option<usize>) -> bool {
    let mut buffer = [0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if left.is_some_and(|left| left < read) {
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
            return true;
        }
        left = left.map(|left| left - read);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
    false
}

/// A proxy before `port` that counts how often the client speaks after the server did.
pub fn counting(port: u16) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = turns.clone();
    // Ends with the process.
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, spoke) = (client.unwrap(), Arc::new(AtomicBool::new(false)));
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let relay = |mut from: TcpStream, mut to: TcpStream, note: Box<dyn Fn() + Send>| {
                thread::spawn(move || {
                    let mut buffer = [0; 64 << 10];
                    while let Ok(read @ 1..) = from.read(&mut buffer) {
                        note();
                        if to.write_all(&buffer[..read]).is_err() {
                            break;
                        }
                    }
                    let _ = to.shutdown(Shutdown::Write);
                })
            };
            let (asked, answered, turns) = (spoke.clone(), spoke, counted.clone());
            let note = move || {
                turns.fetch_add(usize::from(asked.swap(false, Ordering::SeqCst)), Ordering::SeqCst);
            };
            relay(client.try_clone().unwrap(), server.try_clone().unwrap(), Box::new(note));
            let note = move || answered.store(true, Ordering::SeqCst);
            relay(server, client, Box::new(note));
        }
    });
    (own, turns)
}
