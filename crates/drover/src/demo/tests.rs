use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{
    clinic::{make_clinic, one_day_later},
    compare::differences,
    damage::Damage,
    story::*,
    tree::Summary,
    *,
};

/// A temporary directory, and clinics in it.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn clinic(&self, name: &str, seed: u64) -> (PathBuf, Summary) {
        let root = self.path(name);
        let summary = make_clinic(&root, seed).unwrap();
        (root, summary)
    }
}

fn entries(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![root.to_owned()];
    let mut at = 0;
    while at < found.len() {
        if found[at].is_dir() && !found[at].is_symlink() {
            found.extend(fs::read_dir(&found[at]).unwrap().map(|entry| entry.unwrap().path()));
        }
        at += 1;
    }
    found
}

#[test]
fn another_seed_makes_other_people() {
    let names = |seed| -> Vec<String> {
        people::patients(seed).iter().map(people::Person::caret_name).collect()
    };
    assert_ne!(names(1), names(2));
    assert_eq!(names(1), names(1));
}

// Making a clinic takes longer than looking at one, so all that is looked at is in one test.
#[test]
fn a_clinic_has_what_it_should_and_a_day_changes_one_file_in_fifty() {
    let bench = Bench::new();
    let (root, made) = bench.clinic("a", 1);
    assert!((1900..2100).contains(&made.files), "{made}");
    assert!((55_000_000..65_000_000).contains(&made.bytes), "{made}");
    assert_eq!((made.symlinks, made.hard_links), (3, 2));
    assert_eq!((made.changed, made.renamed, made.removed), (0, 0, 0));
    // What was counted is what is there.
    let all = entries(&root);
    let count = |test: fn(&Path) -> bool| all.iter().filter(|path| test(path)).count() as u64;
    assert_eq!(count(|path| path.is_symlink()), made.symlinks);
    assert_eq!(count(|path| path.is_dir() && !path.is_symlink()), made.directories);
    let files = count(|path| path.is_file() && !path.is_symlink());
    assert_eq!(files, made.files + made.hard_links);

    dicom_files_are_whole(&root);
    hard_cases_are_there(&root);
    messages_have_their_form(&root);
    scans_have_their_form(&root);

    let day = one_day_later(&root).unwrap();
    assert!(day.renamed >= 6 && day.removed >= 5 && day.changed >= 8, "{day}");
    let touched = day.files + day.changed + day.renamed + day.removed;
    assert!((30..60).contains(&touched), "{day}");
    assert!((800_000..2_500_000).contains(&day.bytes), "{day}");
    let now = entries(&root).iter().filter(|path| path.is_file() && !path.is_symlink()).count();
    assert_eq!(now as u64, files + day.files - day.removed);
    dicom_files_are_whole(&root);
}

fn dicom_files_are_whole(root: &Path) {
    let mut names = BTreeSet::new();
    let mut devices = BTreeSet::new();
    let images: Vec<_> = entries(&root.join("pacs")).into_iter().filter(|p| p.is_file()).collect();
    for path in &images {
        let bytes = fs::read(path).unwrap();
        let (meta, data) = dicom_parts(&bytes);
        let value = |set: &[Part<'_>], tag| {
            let (_, value) = set.iter().find(|(found, _)| *found == tag).unwrap();
            str::from_utf8(value).unwrap().trim_end_matches(['\0', ' ']).to_owned()
        };
        let uid = value(&meta, (2, 3));
        assert_eq!(value(&meta, (2, 0x10)), "1.2.840.10008.1.2.1");
        assert_eq!(value(&meta, (2, 2)), value(&data, (8, 0x16)));
        assert_eq!(uid, value(&data, (8, 0x18)));
        assert_eq!(path.file_stem().unwrap(), uid.as_str());
        assert!(uid.len() <= 64);
        devices.insert((value(&data, (8, 0x1090)), value(&data, (8, 0x1010))));
        names.insert(uid);
        let number = |tag| {
            let (_, value) = data.iter().find(|(found, _)| *found == tag).unwrap();
            usize::from(u16::from_le_bytes([value[0], value[1]]))
        };
        let (tag, pixels) = data.last().unwrap();
        assert_eq!(*tag, (0x7fe0, 0x10));
        assert_eq!(pixels.len(), 2 * number((0x28, 0x10)) * number((0x28, 0x11)));
        let mut sample = pixels.chunks_exact(2).step_by(61);
        assert!(sample.all(|pixel| u16::from_le_bytes([pixel[0], pixel[1]]) < 1 << 12));
    }
    assert_eq!(names.len(), images.len());
    assert!(images.len() > 300);
    assert_eq!(devices.len(), 4);
}

/// Tag and value of an element.
type Part<'a> = ((u16, u16), &'a [u8]);

/// Reads the elements of a file, written from the standard and not from what writes them: meta
/// group, data set. Tags must rise, lengths be even, the group's length be right.
fn dicom_parts(bytes: &[u8]) -> (Vec<Part<'_>>, Vec<Part<'_>>) {
    assert_eq!(&bytes[..128], &[0; 128]);
    assert_eq!(&bytes[128..132], b"DICM");
    let mut at = 132;
    let mut parts: Vec<Part<'_>> = Vec::new();
    let mut meta_end = None;
    while at < bytes.len() {
        let short = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let tag = (short(at), short(at + 2));
        assert!(parts.last().is_none_or(|(last, _)| *last < tag), "{tag:?}");
        assert!(tag == (2, 0) || (tag.0 == 2) == (Some(at) < meta_end), "{tag:?}");
        let (len, start) = match &bytes[at + 4..at + 6] {
            b"OB" | b"OW" => {
                assert_eq!(short(at + 6), 0);
                let len = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap());
                (len as usize, at + 12)
            }
            _ => (usize::from(short(at + 6)), at + 8),
        };
        assert_eq!(len % 2, 0);
        let value = &bytes[start..start + len];
        at = start + len;
        if tag == (2, 0) {
            let len = u32::from_le_bytes(value.try_into().unwrap());
            meta_end = Some(at + len as usize);
        }
        parts.push((tag, value));
    }
    let data = parts.split_off(parts.iter().position(|(tag, _)| tag.0 != 2).unwrap());
    (parts, data)
}

fn hard_cases_are_there(root: &Path) {
    let meta = |path: &str| fs::symlink_metadata(root.join(path)).unwrap();
    let database = meta("database/practice.db");
    assert_eq!(database.len(), 64 << 20);
    assert!(database.blocks() * 512 < 8 << 20, "the database has no holes");
    assert_eq!(meta("shared/Templates/letterhead.txt").nlink(), 3);
    assert_eq!(meta("shared/IT/handbook.txt").permissions().mode() & 0o7777, 0o444);
    assert_eq!(fs::read_dir(root.join("shared/Empty/Empty too")).unwrap().count(), 0);
    assert!(root.join("shared/current.csv").is_file());
    assert!(root.join("shared/images").is_dir());
    assert!(meta("shared/old server").is_symlink() && !root.join("shared/old server").exists());
    let odd = entries(&root.join("shared/Odd names"));
    assert!(odd.len() >= 12);
    assert!(odd.iter().any(|path| path.to_str().is_none()));
    assert!(odd.iter().any(|path| path.file_name().unwrap().len() == 255));
    let close = meta("README.txt").mtime();
    assert!(entries(root).iter().all(|path| fs::symlink_metadata(path).unwrap().mtime() <= close));
}

fn contents(folder: PathBuf) -> impl Iterator<Item = Vec<u8>> {
    let files = entries(&folder).into_iter().filter(|path| path.is_file());
    files.map(|path| fs::read(path).unwrap())
}

fn messages_have_their_form(root: &Path) {
    for message in contents(root.join("hl7/in")) {
        let text = String::from_utf8(message).unwrap();
        let head: Vec<&str> = text.split('\r').next().unwrap().split('|').collect();
        assert_eq!(
            (head[0], head[1], head[11], head[17]),
            ("MSH", "^~\\&", "2.5.1", "UNICODE UTF-8")
        );
        assert!(["ADT^A01", "ORU^R01"].contains(&head[8]));
        assert!(text.ends_with('\r') && !text.contains('\n'));
    }
    let batch = String::from_utf8(fs::read(root.join("hl7/batch/BATCH01.hl7")).unwrap()).unwrap();
    assert!(batch.starts_with("FHS|") && batch.ends_with("BTS|20\rFTS|1\r"));
    assert_eq!(batch.matches("\rMSH|").count(), 20);
}

fn scans_have_their_form(root: &Path) {
    for pdf in contents(root.join("shared/Scans")) {
        assert!(pdf.starts_with(b"%PDF-1.4\n") && pdf.ends_with(b"%%EOF\n"));
        let text = String::from_utf8_lossy(&pdf[pdf.len() - 20..]).into_owned();
        let start: usize = text.lines().rev().nth(1).unwrap().parse().unwrap();
        let table = String::from_utf8(pdf[start..].to_vec()).unwrap();
        let lines = table.lines().skip(3).take_while(|line| line.ends_with(" n "));
        for (at, line) in lines.enumerate() {
            let object: usize = line[..10].parse().unwrap();
            assert!(pdf[object..].starts_with(format!("{} 0 obj\n", at + 1).as_bytes()));
        }
    }
}

#[test]
fn nobodys_own_files_are_touched() {
    let bench = Bench::new();
    let root = bench.path("own");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("README.txt"), "seed: 1\nday: 0\n").unwrap();
    let error = make_clinic(&root, 1).unwrap_err();
    assert!(error.to_string().contains("own"), "{error}");
    let error = one_day_later(&root).unwrap_err();
    assert!(error.to_string().contains("README.txt"), "{error}");
    assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
}

#[test]
fn every_sort_of_difference_is_seen() {
    let bench = Bench::new();
    let (a, b) = (bench.path("a"), bench.path("b"));
    let time = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    for root in [&a, &b] {
        fs::create_dir(root).unwrap();
        for name in ["content", "size", "mode", "time", "links", "xattr", "kind"] {
            fs::write(root.join(name), "12345").unwrap();
            fs::File::open(root.join(name)).unwrap().set_times(time).unwrap();
        }
        std::os::unix::fs::symlink("there", root.join("target")).unwrap();
    }
    fs::write(b.join("content"), "12346").unwrap();
    fs::write(b.join("size"), "1").unwrap();
    fs::set_permissions(b.join("mode"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(a.join("mode"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::hard_link(b.join("links"), b.join("right")).unwrap();
    fs::write(a.join("left"), "").unwrap();
    fs::write(a.join("left out"), "").unwrap();
    fs::remove_file(b.join("kind")).unwrap();
    fs::create_dir(b.join("kind")).unwrap();
    fs::remove_file(b.join("target")).unwrap();
    std::os::unix::fs::symlink("elsewhere", b.join("target")).unwrap();
    let set = rustix::fs::XattrFlags::empty();
    let has_xattrs = rustix::fs::setxattr(b.join("xattr"), "user.a", b"1", set).is_ok();
    for name in ["content", "size"] {
        fs::File::open(b.join(name)).unwrap().set_times(time).unwrap();
    }
    fs::File::open(b.join("time"))
        .unwrap()
        .set_times(time.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_nanos(1)))
        .unwrap();

    let found = differences(&a, &b, "left out").unwrap();
    let of = |name: &str| -> Vec<&str> {
        let here = found.iter().filter(|difference| difference.path == Path::new(name));
        here.map(|difference| difference.what).collect()
    };
    assert!(of("left out").is_empty());
    assert_eq!(of("content"), ["content"]);
    assert_eq!(of("size"), ["content"]);
    assert_eq!(of("mode"), ["permissions"]);
    assert_eq!(of("time"), ["time of change"]);
    assert_eq!(of("links"), ["number of hard links"]);
    assert_eq!(of("left"), ["only on the left"]);
    assert_eq!(of("right"), ["only on the right"]);
    assert!(of("kind").contains(&"kind"));
    assert!(of("target").contains(&"target of the link"));
    assert_eq!(of("xattr").is_empty(), !has_xattrs);
}

#[test]
fn damage_is_one_byte_and_can_be_undone() {
    let bench = Bench::new();
    let repository = bench.path("repository");
    fs::create_dir_all(repository.join("packs/ab")).unwrap();
    let error = Damage::make(&repository).unwrap_err();
    assert!(error.to_string().contains("packs"), "{error}");
    fs::write(repository.join("packs/ab/small"), [1; 10]).unwrap();
    let large = repository.join("packs/ab/large");
    fs::write(&large, [7; 101]).unwrap();
    fs::set_permissions(&large, fs::Permissions::from_mode(0o444)).unwrap();

    let damage = Damage::make(&repository).unwrap();
    let mut expected = [7; 101];
    expected[50] = !7;
    assert_eq!(fs::read(&large).unwrap(), expected);
    assert_eq!((damage.offset, damage.before, damage.after), (50, 7, !7));
    damage.repair().unwrap();
    assert_eq!(fs::read(&large).unwrap(), [7; 101]);
    assert_eq!(fs::metadata(&large).unwrap().permissions().mode() & 0o777, 0o444);
}

#[test]
fn every_step_can_be_typed() {
    let places = Places { dir: "/tmp/Bob's {pack} demo".into() };
    let damage =
        Damage { pack: places.repository().join("packs/ab/cd"), offset: 9, before: 1, after: 254 };
    for step in STEPS {
        let command = step.command(&places, Some(&damage));
        assert_eq!(command.contains('{'), command.contains("Bob"), "{command}");
        assert!(!step.title.is_empty() && step.explanation(&places).ends_with('.'));
        assert!(
            command.is_empty() || command.contains("'/tmp/Bob'\\''s {pack} demo/"),
            "{command}"
        );
    }
    let typed = |action: Action| {
        let step = STEPS.iter().find(|step| step.action == action).unwrap();
        step.command(&Places { dir: "/tmp/d".into() }, Some(&damage))
    };
    assert_eq!(typed(Action::Init), "drover init --repo /tmp/d/repository");
    assert!(typed(Action::Damage).starts_with("printf '\\376' | dd of="));
    assert!(typed(Action::Repair).starts_with("printf '\\001' | dd of="));
    // What is shown is what is run.
    for step in STEPS {
        let places = Places { dir: "/tmp/d".into() };
        let command = step.command(&places, Some(&damage));
        let run: Option<Vec<_>> = step.arguments(&places).map(|arguments| {
            arguments.into_iter().map(|argument| argument.into_string().unwrap()).collect()
        });
        assert_eq!(run.map(|run| run.join(" ")).as_deref(), command.strip_prefix("drover "));
    }
    // The one step that is to fail is the check between damage and repair.
    let failing: Vec<_> = STEPS.iter().filter(|step| step.exit != 0).collect();
    assert_eq!(failing.len(), 1);
    let at = STEPS.iter().position(|step| step.exit == 4).unwrap();
    let around = [at - 1, at, at + 1].map(|at| STEPS[at].action);
    assert_eq!(around, [Action::Damage, Action::Verify, Action::Repair]);
}

/// Stands in for drover: a sync copies the clinic, a verify compares packs with their copies, a
/// restore copies back.
#[derive(Default)]
struct Rehearsal {
    begun: Vec<String>,
    outcomes: Vec<String>,
    pack: Vec<u8>,
    /// Whether a verify sees damage.
    sound: bool,
}

impl Stage for Rehearsal {
    fn begin(
        &mut self,
        number: usize,
        step: &Step,
        explanation: &str,
        _: &str,
    ) -> std::io::Result<()> {
        assert!(!explanation.contains('{'));
        self.begun.push(format!("{number} {}", step.title));
        Ok(())
    }

    fn drover(&mut self, places: &Places, arguments: &[std::ffi::OsString]) -> std::io::Result<u8> {
        let pack = places.repository().join("packs/ab/cd");
        match arguments[0].to_str().unwrap() {
            "init" => fs::create_dir_all(pack.parent().unwrap())?,
            "sync" => {
                self.pack = fs::read(places.clinic().join("database/practice.db"))?[..999].into();
                fs::write(pack, &self.pack)?;
            }
            "verify" if self.sound && fs::read(pack)? != self.pack => return Ok(4),
            "verify" => {}
            "restore" => {
                let copied = std::process::Command::new("cp")
                    .args(["-a", "--sparse=always"])
                    .args([places.clinic(), places.restored()])
                    .status()?;
                assert!(copied.success());
            }
            other => panic!("{other}"),
        }
        Ok(0)
    }

    fn outcome(&mut self, text: &str) -> std::io::Result<()> {
        self.outcomes.push(text.to_owned());
        Ok(())
    }
}

// One test for both, since each clinic takes its time to make.
#[test]
fn the_story_is_played_as_far_as_it_is_true_and_the_same_seed_makes_the_same_days() {
    let bench = Bench::new();
    let places = Places { dir: bench.path("demo") };
    let mut stage = Rehearsal { sound: true, ..Rehearsal::default() };
    play(&places, 11, &mut stage).unwrap();
    assert_eq!(stage.begun.len(), STEPS.len());
    assert_eq!(stage.outcomes.len(), 5);
    assert!(stage.outcomes[4].starts_with("No difference"));
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(places.dir.clone()), mode(places.password())), (0o700, 0o600));

    // Not over what is there.
    let error = play(&places, 11, &mut stage).unwrap_err();
    assert!(matches!(error, PlayError::Io { .. }), "{error}");

    // A verify that sees no damage is no success.
    let blind = Places { dir: bench.path("blind") };
    let error = play(&blind, 11, &mut Rehearsal::default()).unwrap_err();
    assert!(matches!(error, PlayError::Exit { expected: 4, got: 0, .. }), "{error}");

    // Both have seen the same day, and see the same next one.
    let (a, b) = (places.clinic(), blind.clinic());
    assert_eq!(differences(&a, &b, "left out").unwrap(), []);
    assert_eq!(one_day_later(&a).unwrap(), one_day_later(&b).unwrap());
    assert_eq!(differences(&a, &b, "left out").unwrap(), []);
}
