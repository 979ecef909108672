//! What goes wrong around drover: disks that are full or read-only, a clock that is off, a bucket
//! that may not be listed, a store that lets one write replace another. Each is named, with what to
//! do about it; and once that is done the same command goes on, and nothing was lost.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::{
    compare::assert_same,
    lab::{Answer, Lab, PASSWORD},
    proxy::{Fate, proxy},
    roundtrip::{comes_back, restored, verified},
    services::s3_service,
    tree,
};

const NONE: &[&str] = &[];

/// A file system of its own, in memory, that can be made full, larger and read-only.
struct Disk(PathBuf);

impl Disk {
    /// `None` where nothing may be mounted, which skips the test.
    #[allow(clippy::print_stderr)]
    fn mount(at: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "tmpfs"]).arg(&at);
        if !mount.output().is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: this process may not mount a file system");
            return None;
        }
        Some(Self(at))
    }

    fn remount(&self, options: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,{options}")]).arg(&self.0);
        assert!(mount.status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

#[test]
fn a_full_repository() {
    let lab = Lab::new();
    let Some(disk) = Disk::mount(lab.path("disk"), "6m") else { return };
    let lab = lab.move_to(disk.0.join("repository").to_str().unwrap());
    lab.verb("init", NONE).expect(0);
    let source = lab.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("large"), tree::noise(1, 12 << 20)).unwrap();
    lab.sync(&source).refused(1, "no-space", "packs/");
    // Still full: nothing else becomes of it.
    lab.sync(&source).refused(1, "no-space", "packs/");
    lab.verb("snapshots", NONE).expect(0);
    disk.remount("size=64m");
    lab.sync(&source).expect(0);
    comes_back(&lab, &source, &[]);
}

#[test]
fn a_repository_that_is_read_only() {
    let lab = Lab::new();
    let Some(disk) = Disk::mount(lab.path("disk"), "64m") else { return };
    let lab = lab.move_to(disk.0.join("repository").to_str().unwrap());
    lab.verb("init", NONE).expect(0);
    let source = lab.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "first").unwrap();
    lab.sync(&source).expect(0);
    fs::write(source.join("file"), "second").unwrap();
    disk.remount("ro");
    lab.sync(&source).refused(1, "read-only", "read-only");
    // What only reads needs no more.
    verified(&lab, &["--read-data"]);
    restored(&lab, "latest", &lab.path("earlier"), &[]);
    assert_eq!(fs::read(lab.path("earlier/file")).unwrap(), b"first");
    disk.remount("rw");
    lab.sync(&source).expect(0);
    comes_back(&lab, &source, &[]);
}

#[test]
fn a_full_state_directory() {
    let (lab, source) = Lab::with_source();
    let Some(disk) = Disk::mount(lab.path("state"), "32k") else { return };
    // From the beginning, and then in the middle of a pass.
    lab.sync(&source).refused(1, "state-full", "state");
    disk.remount("size=64m");
    lab.sync(&source).expect(0);
    verified(&lab, &["--read-data"]);
    let (filler, kept) = (disk.0.join("filler"), listing(&disk.0));
    fs::write(source.join("large"), tree::noise(2, 8 << 20)).unwrap();
    for number in 0..300 {
        fs::write(source.join(format!("{number}")), "small").unwrap();
    }
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    lab.sync(&source).refused(1, "state-full", "state");
    // A state that cannot be written to is not a damaged one: it is not set aside.
    assert!(!listing(&disk.0).iter().any(|name| name.contains("damaged")));
    assert!(kept.iter().all(|name| listing(&disk.0).contains(name)));
    fs::remove_file(&filler).unwrap();
    lab.sync(&source).expect(0);
    comes_back(&lab, &source, &[]);
}

/// The names of all files.
fn listing(directory: &Path) -> Vec<String> {
    let found = Command::new("find").arg(directory).args(["-type", "f"]).output().unwrap();
    let text = String::from_utf8(found.stdout).unwrap();
    text.lines().filter(|name| !name.ends_with("/filler")).map(str::to_owned).collect()
}

#[test]
fn a_full_target() {
    let (lab, source) = Lab::with_source();
    fs::write(source.join("large"), tree::noise(3, 12 << 20)).unwrap();
    lab.sync(&source).expect(0);
    let Some(disk) = Disk::mount(lab.path("landing"), "6m") else { return };
    let target = disk.0.to_str().unwrap();
    lab.verb("restore", &["latest", target]).refused(1, "target-full", "large");
    disk.remount("size=64m");
    let again = lab.verb("restore", &["latest", target]).expect(0).json();
    assert!(again["exceptions"].as_array().unwrap().is_empty(), "{again}");
    assert_same(&source, &disk.0, &[".drover-restore"]);
    verified(&lab, &["--target", target]);
}

/// What stands between drover and a store, and changes what is asked and answered.
#[derive(Default)]
struct Between {
    /// Answers listings with 403.
    denies_listings: AtomicBool,
    /// Takes the conditions off writes.
    drops_conditions: AtomicBool,
}

/// A test's own prefix in the S3 stand-in, by way of a proxy.
fn behind(between: &Arc<Between>) -> Option<Lab> {
    let between = between.clone();
    let service = s3_service()?;
    let endpoint = proxy(&service.endpoint, move |request| {
        if between.drops_conditions.load(Ordering::SeqCst) {
            request.drop_header("if-none-match:");
            request.drop_header("if-match:");
        }
        match between.denies_listings.load(Ordering::SeqCst) {
            true if request.head[0].contains("list-type=2") => Fate::Refuse(403, "AccessDenied"),
            _ => Fate::Pass,
        }
    });
    Some(service.lab_through(&endpoint))
}

#[test]
fn a_bucket_that_may_not_be_listed() {
    let between = Arc::new(Between::default());
    let Some(lab) = behind(&between) else { return };
    let source = lab.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "first").unwrap();
    between.denies_listings.store(true, Ordering::SeqCst);
    lab.verb("init", NONE).expect(0);
    // To make a writer takes the keys, which are listed.
    lab.sync(&source).refused(1, "denied", "keys/");
    between.denies_listings.store(false, Ordering::SeqCst);
    lab.sync(&source).expect(0);

    // The writer that is known goes on without.
    between.denies_listings.store(true, Ordering::SeqCst);
    fs::write(source.join("file"), "second").unwrap();
    lab.sync(&source).expect(0);
    // A verification says that it could not look, which is no damage, and not that all is well.
    for arguments in [&["--read-data"][..], &["--target", source.to_str().unwrap()]] {
        let answer = lab.verb("verify", arguments).expect(1);
        let document = answer.json();
        assert_eq!(document["verdict"], "incomplete", "{document}");
        assert_eq!(document["unchecked"][0]["kind"], "denied", "{document}");
        let message = document["unchecked"][0]["message"].as_str().unwrap();
        assert!(message.contains("keys/"), "{message}");
        assert!(document["problems"].as_array().unwrap().is_empty(), "{document}");
        answer.refused(1, "incomplete", "could not be looked at");
    }
    between.denies_listings.store(false, Ordering::SeqCst);
    verified(&lab, &["--read-data"]);
    restored(&lab, "latest", &lab.path("target"), &[]);
    assert_eq!(fs::read(lab.path("target/file")).unwrap(), b"second");
}

#[test]
fn a_store_that_lets_one_write_replace_another() {
    let between = Arc::new(Between::default());
    between.drops_conditions.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let Some(lab) = behind(&between) else { return };
        let passwords = [PASSWORD.to_owned(), format!("{PASSWORD}, the other one")];
        let init = ["init", "--repo", &lab.repository, "--json"];
        let racing: Vec<_> = passwords
            .iter()
            .map(|password| {
                let mut command = lab.command(&init);
                let pipes = command.stdout(std::process::Stdio::piped());
                pipes.stderr(std::process::Stdio::piped()).env("DROVER_PASSWORD", password);
                pipes.spawn().unwrap()
            })
            .collect();
        let answers: Vec<_> = racing
            .into_iter()
            .map(|child| Answer::new(child.wait_with_output().unwrap()))
            .collect();
        let made: Vec<_> = (0..2).filter(|&n| answers[n].code == 0).collect();
        assert!(made.len() <= 1, "both made it: {} {}", answers[0].stderr, answers[1].stderr);
        for answer in answers.iter().filter(|answer| answer.code != 0) {
            let kind = answer.json()["error"]["kind"].as_str().unwrap().to_owned();
            assert!(["repository-exists", "init-under-way"].contains(&&*kind), "{kind}");
        }
        let password = match made[..] {
            [winner] => &passwords[winner],
            // Both gave up, and left the place as it was.
            _ => {
                let document = lab.verb("init", NONE).expect(0).json();
                assert_eq!(document["create_only"], "ignored", "{document}");
                assert!(!document["warnings"].as_array().unwrap().is_empty());
                &passwords[0]
            }
        };
        let lab = lab.with_variable("DROVER_PASSWORD", password);
        lab.verb("init", NONE).refused(1, "repository-exists", &lab.repository);
        let source = lab.path("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), tree::noise(4, 100_000)).unwrap();
        lab.sync(&source).expect(0);
        fs::write(source.join("file"), "changed").unwrap();
        lab.sync(&source).expect(0);
        comes_back(&lab, &source, &[]);
    }
}

fn answer(client: &mut TcpStream, status: &str, headers: &str, text: &str) -> Option<()> {
    let length = text.len();
    write!(
        client,
        "HTTP/1.1 {status}\r\n{headers}Content-Type: application/xml\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{text}"
    )
    .ok()
}

#[test]
fn a_clock_that_is_off() {
    // As S3 refuses it, with the time that it has.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = BufReader::new(connection.unwrap());
            let mut first = String::new();
            let mut line = String::new();
            connection.read_line(&mut first).unwrap();
            while connection.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let text = match first.starts_with("HEAD") {
                true => "",
                false => {
                    "<Error><Code>RequestTimeTooSkewed</Code><Message>The difference between the \
                     request time and the current time is too large.</Message></Error>"
                }
            };
            let date = "Date: Wed, 21 Oct 2015 07:28:00 GMT\r\n";
            answer(connection.get_mut(), "403 Forbidden", date, text);
        }
    });
    let lab = Lab::at_s3(&endpoint);
    for verb in ["init", "snapshots", "verify"] {
        lab.verb(verb, NONE).refused(1, "clock", "days ahead of the store's");
    }
}
