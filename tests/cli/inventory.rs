//! What a server holds, told by `drover inventory`, on trees whose numbers are known.

use std::{
    fs::{self, File, FileTimes},
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::{
    lab::{Answer, Lab, number},
    sshd::Sshd,
    tree,
};

fn inventory<S: AsRef<std::ffi::OsStr>>(lab: &Lab, arguments: &[S]) -> Answer {
    let mut all: Vec<&std::ffi::OsStr> = ["inventory", "--json"].map(AsRef::as_ref).to_vec();
    all.extend(arguments.iter().map(AsRef::as_ref));
    lab.run(&all)
}

fn of(lab: &Lab, source: &Path, options: &[&str]) -> Answer {
    let mut arguments = vec!["--source", source.to_str().unwrap()];
    arguments.extend_from_slice(options);
    inventory(lab, &arguments)
}

/// The finding of this id.
#[track_caller]
fn finding<'d>(document: &'d Value, id: &str) -> &'d Value {
    let findings = document["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["id"] == id);
    found.unwrap_or_else(|| panic!("no {id}: {}", document["findings"]))
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["path"].as_str().unwrap()).collect()
}

fn touch(path: &Path, seconds: i64) {
    let now = u64::try_from(drover_types::clock::now().seconds + seconds).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
    File::open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
}

/// A tree of one of everything that an inventory tells.
fn make(root: &Path) {
    let write = |name: &str, bytes: &[u8]| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
    };
    write("a/one.txt", &[b'x'; 5000]);
    write("a/two.txt", &[b'x'; 5000]);
    write("a/other.txt", &[b'y'; 5000]);
    write("large/first.bin", &tree::noise(1, 100_000));
    write("large/again.bin", &tree::noise(1, 100_000));
    // The same ends, and another middle.
    let mut third = tree::noise(1, 100_000);
    third[50_000] ^= 1;
    write("large/third.bin", &third);
    fs::hard_link(root.join("large/third.bin"), root.join("large/third again.bin")).unwrap();
    write("names/Report.txt", b"1");
    write("names/REPORT.txt", b"2");
    write("names/CON", b"3");
    write("empty", b"");
    File::create(root.join("holes")).unwrap().set_len(1 << 20).unwrap();
    symlink("a", root.join("link")).unwrap();
    write("pg/PG_VERSION", b"15\n");
    write("pg/postmaster.pid", b"1\n");
    write("pg/base/1/2", b"x");
    write("future", b"later");
    touch(&root.join("future"), 86_400);
    touch(&root.join("a/one.txt"), -40 * 86_400);
    fs::set_permissions(root.join("a/other.txt"), fs::Permissions::from_mode(0o666)).unwrap();
}

#[test]
fn a_tree_s_numbers_are_those_of_the_tree() {
    let lab = Lab::new();
    let root = lab.path("source");
    make(&root);
    let found = of(&lab, &root, &[]).expect(0).json();
    let total = |name: &str| number(&found, &format!("/totals/{name}"));
    assert_eq!(total("files"), 16, "{found}");
    assert_eq!(total("dirs"), 6);
    assert_eq!((total("symlinks"), total("special")), (1, 0));
    let bytes = 15_000 + 300_000 + 3 + (1 << 20) + 3 + 2 + 1 + 5;
    assert_eq!(total("bytes"), bytes);
    assert_eq!((total("hard_links"), total("hard_link_bytes")), (1, 100_000));
    assert_eq!((total("empty_files"), total("future"), total("world_writable")), (1, 1, 1));
    assert!(total("sparse_files") >= 1 && total("allocated") < bytes, "{found}");
    assert_eq!((total("depth"), total("longest_path")), (4, 21));

    // Whatever is counted once is counted in each table.
    for table in ["sizes", "ages", "types"] {
        let sum = |field: &str| -> u64 {
            found[table].as_array().unwrap().iter().map(|row| row[field].as_u64().unwrap()).sum()
        };
        assert_eq!((sum("files"), sum("bytes")), (15, bytes), "{table}: {}", found[table]);
    }
    assert_eq!(names(&found["largest"])[..2], ["holes", "large/again.bin"]);
    assert_eq!(number(&found, "/duplicates/groups"), 2, "{}", found["duplicates"]);
    assert_eq!(number(&found, "/duplicates/files"), 2);
    assert_eq!(number(&found, "/duplicates/bytes"), 105_000);
    let group = &found["duplicates"]["largest"][0];
    assert_eq!(names(&group["paths"]), ["large/again.bin", "large/first.bin"]);

    assert_eq!(
        names(&finding(&found, "names-case")["paths"]),
        ["names/REPORT.txt", "names/Report.txt"]
    );
    assert_eq!(names(&finding(&found, "names-windows")["paths"]), ["names/CON"]);
    assert_eq!(names(&finding(&found, "future-times")["paths"]), ["future"]);
    assert_eq!(names(&finding(&found, "world-writable")["paths"]), ["a/other.txt"]);
    let database = finding(&found, "database-maybe-running");
    assert_eq!(names(&database["paths"]), ["pg"]);
    assert!(database["evidence"].as_str().unwrap().contains("postmaster.pid"), "{database}");

    // Without opening a file, and without what a rule leaves out.
    let options = ["--no-content", "--no-duplicates", "--exclude", "large"];
    let quick = of(&lab, &root, &options).expect(0).json();
    assert_eq!(quick["content_read"], false);
    assert_eq!(number(&quick, "/bytes_read"), 0);
    assert_eq!(number(&quick, "/totals/bytes"), bytes - 300_000);
    assert_eq!(quick["exclusions"][0]["rule"], "exclude large");
    assert_eq!(number(&quick, "/exclusions/0/bytes"), 400_000);
    let text =
        lab.run(&["inventory", "--source", root.to_str().unwrap(), "--no-content"]).expect(0);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("Types, by name alone") && text.contains("No file was opened"), "{text}");
    assert!(!lab.path("state").exists(), "an inventory leaves nothing behind");
}

/// A process that has a file of `root` open for writing until its input ends.
fn writing(root: &Path, file: &str) -> Child {
    let mut child = Command::new("sh")
        .args(["-c", &format!("exec 3>>'{file}'; echo; read wait")])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    child
}

#[test]
fn who_writes_is_told() {
    let lab = Lab::new();
    let root = lab.path("source");
    make(&root);
    let mut child = writing(&root, "pg/base/1/2");
    let found = of(&lab, &root, &["--no-content", "--no-duplicates"]).expect(0).json();
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(names(&found["open_files"]), ["pg/base/1/2"], "{found}");
    assert_eq!(number(&found, "/open_files/0/process"), u64::from(child.id()));
    assert_eq!(names(&finding(&found, "database-running")["paths"]), ["pg"]);
    assert_eq!(found["databases"][0]["state"], "running");
}

#[test]
fn over_ssh_open_files_are_found_by_the_shell() {
    let Some(sshd) = Sshd::start("") else { return };
    let lab = Lab::new();
    let root = lab.path("source");
    make(&root);
    let mut child = writing(&root, "a/being written");
    let look = |more: &[&str]| {
        let mut arguments = vec!["--no-content".to_owned(), "--source".to_owned(), sshd.url(&root)];
        arguments.extend(sshd.options());
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        inventory(&lab, &arguments).expect(0).json()
    };
    let (found, without) = (look(&[]), look(&["--ssh-no-shell"]));
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(found["open_files_sought"], true);
    assert_eq!(names(&found["open_files"]), ["a/being written"], "{found}");
    assert_eq!(number(&found, "/open_files/0/process"), u64::from(child.id()));
    assert_eq!(names(&finding(&found, "open-files")["paths"]), ["a/being written"]);
    assert_eq!(without["open_files_sought"], false);
}

#[test]
fn over_sftp_it_is_the_same() {
    let Some(sshd) = Sshd::start("ForceCommand internal-sftp") else { return };
    let lab = Lab::new();
    let root = lab.path("source");
    make(&root);
    let here = of(&lab, &root, &[]).expect(0).json();
    let mut arguments = vec!["--source".to_owned(), sshd.url(&root)];
    arguments.extend(sshd.options());
    let there = inventory(&lab, &arguments).expect(0).json();
    assert!(there["connection"].as_str().unwrap().contains("ssh-ed25519"), "{there}");
    assert_eq!(there["open_files_sought"], false);
    for field in ["activity", "days", "collisions", "names", "deepest"] {
        // The further name of a file is a file of its own there.
        let same = here[field] == there[field] || matches!(field, "activity" | "days");
        assert!(same, "{field}: {} and {}", here[field], there[field]);
    }
    assert_eq!(number(&there, "/totals/bytes"), number(&here, "/totals/bytes") + 100_000);
    assert_eq!(number(&there, "/duplicates/files"), 3);
}

#[test]
fn what_may_not_be_read_is_an_exception_and_the_exit_code_3() {
    let lab = Lab::new();
    let root = lab.path("source");
    make(&root);
    fs::set_permissions(root.join("a"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(root.join("empty"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(root.join("names/CON"), fs::Permissions::from_mode(0o000)).unwrap();
    let output = lab.run_denied(&["inventory", "--json", "--source", root.to_str().unwrap()]);
    fs::set_permissions(root.join("a"), fs::Permissions::from_mode(0o755)).unwrap();
    let found = output.expect(3).json();
    assert_eq!(names(&found["exceptions"]), ["a", "empty", "names/CON"], "{}", found["exceptions"]);
    assert_eq!(found["exceptions"][0]["kind"], "denied");
    assert_eq!(number(&found, "/totals/files"), 13, "what is behind it is not guessed");
    assert_eq!(number(finding(&found, "unreadable"), "/count"), 3);
    finding(&found, "not-privileged");
}

#[test]
fn what_changed_since_a_pass() {
    let (lab, source) = Lab::with_source();
    fs::write(source.join("gone"), "123").unwrap();
    fs::write(source.join("same"), "same").unwrap();
    let snapshot = lab.sync(&source).expect(0).json()["snapshot"].as_str().unwrap().to_owned();
    fs::remove_file(source.join("gone")).unwrap();
    fs::write(source.join("readme"), "hello again").unwrap();
    fs::write(source.join("new"), "1234567").unwrap();
    fs::set_permissions(source.join("same"), fs::Permissions::from_mode(0o600)).unwrap();
    for since in ["latest", &snapshot[..12]] {
        let repository = lab.repository.clone();
        let options = ["--repo", &repository, "--since", since];
        let found = of(&lab, &source, &options).expect(0).json();
        assert_eq!(found["since"]["snapshot"], snapshot.as_str());
        let part = |name: &str| {
            let of = |field: &str| number(&found, &format!("/since/{name}/{field}"));
            (of("entries"), of("bytes"))
        };
        assert_eq!(part("new"), (1, 7), "{}", found["since"]);
        assert_eq!(part("changed"), (1, 11));
        assert_eq!(part("metadata"), (1, 4));
        assert_eq!(part("removed"), (1, 3));
        assert_eq!(part("unchanged"), (2, 100_000));
        assert_eq!(part("unknown"), (0, 0));
    }
    // What a rule leaves out is not removed.
    let repository = lab.repository.clone();
    let options = ["--repo", &repository, "--since", "latest", "--exclude", "letters"];
    let found = of(&lab, &source, &options).expect(0).json();
    assert_eq!(number(&found, "/since/unknown/entries"), 2, "{}", found["since"]);
    assert_eq!(number(&found, "/since/removed/entries"), 1);
    of(&lab, &source, &["--since", "latest"]).refused(2, "command-line", "which repository");
    let options = ["--repo", &repository, "--since", "0000000000"];
    of(&lab, &source, &options).refused(1, "no-such-snapshot", "0000000000");
}

/// A patient whom no output may name.
const CANARY: [&str; 4] = ["Quillfeather", "Zebedee", "536-22-8719", "MRN7719305"];

fn canary_dicom() -> Vec<u8> {
    let element = |group: u16, element: u16, vr: &str, value: &str| {
        let mut bytes = [group.to_le_bytes(), element.to_le_bytes()].concat();
        let value = match value.len() % 2 {
            0 => value.to_owned(),
            _ => format!("{value} "),
        };
        bytes.extend_from_slice(vr.as_bytes());
        bytes.extend_from_slice(&(value.len() as u16).to_le_bytes());
        bytes.extend_from_slice(value.as_bytes());
        bytes
    };
    let meta = element(2, 0x10, "UI", "1.2.840.10008.1.2.1\0");
    let mut file = vec![0; 128];
    file.extend_from_slice(b"DICM");
    file.extend(element(2, 0, "UL", "").iter().take(6));
    file.extend_from_slice(&4u16.to_le_bytes());
    file.extend_from_slice(&(meta.len() as u32).to_le_bytes());
    file.extend(meta);
    for (group, number, vr, value) in [
        (0x08, 0x16, "UI", "1.2.840.10008.5.1.4.1.1.2"),
        (0x08, 0x18, "UI", "2.25.1"),
        (0x08, 0x20, "DA", "20240301"),
        (0x08, 0x60, "CS", "CT"),
        (0x08, 0x70, "LO", "Imaginary"),
        (0x10, 0x10, "PN", "Quillfeather^Zebedee"),
        (0x10, 0x20, "LO", "MRN7719305"),
        (0x10, 0x30, "DA", "19310412"),
        (0x18, 0x1000, "LO", "SN77"),
        (0x20, 0x0d, "UI", "2.25.2"),
        (0x20, 0x0e, "UI", "2.25.3"),
    ] {
        file.extend(element(group, number, vr, value));
    }
    file
}

#[test]
fn no_output_names_a_patient() {
    let lab = Lab::new();
    let root = lab.path("source");
    let named = root.join("Quillfeather, Zebedee");
    fs::create_dir_all(&named).unwrap();
    let letter = "Patient: Zebedee Quillfeather\nSSN: 536-22-8719\nMRN: MRN7719305\nDate of birth: 04/12/1931\n";
    fs::write(root.join("letter.txt"), letter).unwrap();
    fs::write(named.join("copy 536-22-8719.txt"), letter).unwrap();
    fs::write(named.join("image.dcm"), canary_dicom()).unwrap();
    let message = "MSH|^~\\&|LAB|NOWHERE|EHR|NOWHERE|20240301||ORU^R01|1|T|2.5.1\rPID|1||MRN7719305^^^X^MR||Quillfeather^Zebedee||19310412\r";
    fs::write(root.join("message.hl7"), message).unwrap();
    fs::write(
        root.join("patients.csv"),
        "mrn,name,ssn\nMRN7719305,Zebedee Quillfeather,536-22-8719\n",
    )
    .unwrap();
    let gone = named.join("MRN7719305.lock");
    symlink("/nowhere", &gone).unwrap();

    let page = lab.path("page.html");
    let html = ["--html", page.to_str().unwrap()];
    for hide in [true, false] {
        let options: &[&str] = if hide { &["--hide-paths"] } else { &[] };
        let json = of(&lab, &root, &[&html[..], options].concat()).expect(0);
        let found = json.json();
        assert_eq!(found["devices"][0]["serial"], "SN77", "{found}");
        assert_eq!(number(&found, "/interfaces/0/messages"), 1, "{found}");
        let kinds: Vec<_> =
            found["phi"].as_array().unwrap().iter().map(|row| &row["kind"]).collect();
        assert!(kinds.iter().any(|kind| *kind == "ssn"), "{kinds:?}");
        let mut arguments = vec!["inventory", "--source", root.to_str().unwrap()];
        arguments.extend_from_slice(options);
        let text = lab.run(&arguments).expect(0);
        let outputs = [
            String::from_utf8(json.stdout).unwrap(),
            json.stderr,
            String::from_utf8(text.stdout).unwrap(),
            text.stderr,
            fs::read_to_string(&page).unwrap(),
        ];
        for output in outputs {
            // Paths are shown unless they are hidden; nothing else holds a value.
            let rest = match hide {
                true => output,
                false => output
                    .replace("Quillfeather, Zebedee", "")
                    .replace("copy 536-22-8719.txt", "")
                    .replace("MRN7719305.lock", ""),
            };
            for canary in CANARY {
                assert!(!rest.contains(canary), "{canary} is in: {rest}");
            }
            assert!(!rest.contains("19310412") && !rest.contains("04/12/1931"), "a birth date");
        }
    }
}

#[test]
fn several_sources_are_each_and_their_sum() {
    let lab = Lab::new();
    let (one, two) = (lab.path("one"), lab.path("two"));
    make(&one);
    make(&two);
    let plan = format!(
        "[repository]\nurl = {:?}\n[[source]]\nname = \"one\"\nurl = {:?}\n[[source]]\nname = \"two\"\nurl = {:?}\nrules = [\"exclude large\"]\n",
        lab.repository,
        one.display(),
        two.display(),
    );
    fs::write(lab.path("plan.toml"), plan).unwrap();
    let found = inventory(&lab, &["plan.toml"]).expect(0).json();
    assert_eq!(found["sources"][1]["source"], "two");
    assert_eq!(
        number(&found, "/totals/bytes"),
        number(&found, "/sources/0/totals/bytes") + number(&found, "/sources/1/totals/bytes")
    );
    assert_eq!(number(&found, "/duplicates/files"), 3);
    let one = inventory(&lab, &["plan.toml", "--source", "two"]).expect(0).json();
    assert_eq!(one["source"], "two");
    assert_eq!(number(&one, "/totals/files"), 12);
    inventory(&lab, &["plan.toml", "--source", "three"]).refused(1, "no-such-source", "three");
    let nothing: [&str; 0] = [];
    inventory(&lab, &nothing).refused(2, "command-line", "which source");
    let missing = lab.path("missing");
    of(&lab, &missing, &[]).refused(1, "source", "missing");
}

#[test]
fn hostile_names_do_no_harm() {
    let lab = Lab::new();
    let root = lab.path("source");
    let entries = tree::hostile(&root);
    let page = lab.path("page.html");
    let answer = of(&lab, &root, &["--html", page.to_str().unwrap()]).expect(0);
    let found = answer.json();
    let total = |name: &str| number(&found, &format!("/totals/{name}"));
    let all = total("files") + total("dirs") + total("symlinks") + total("special");
    assert_eq!(all, entries, "{}", found["totals"]);
    let page = fs::read(&page).unwrap();
    for output in [&answer.stdout[..], answer.stderr.as_bytes(), &page] {
        assert!(output.iter().all(|&b| b >= b' ' || matches!(b, b'\n' | b'\r' | b'\t')));
    }
    // An empty directory, and one of a name that is no text.
    let empty = lab.path("empty");
    fs::create_dir(&empty).unwrap();
    assert_eq!(number(&of(&lab, &empty, &[]).expect(0).json(), "/totals/files"), 0);
    let odd = lab.path(".").join(std::ffi::OsStr::from_bytes(b"\xff"));
    fs::create_dir(&odd).unwrap();
    let mut command = lab.command(&["inventory", "--json", "--source"]);
    Answer::new(command.arg(&odd).output().unwrap()).expect(0);
}
