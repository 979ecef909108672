//! The clinic's server as a tree of files, and what a working day does to it.
//!
//! About 2,000 files and 60 MB: what a practice shares, the archive of its imaging devices, the
//! drop folder of its laboratory, a mailbox and a database, and beside them everything that makes
//! trees hard to copy. The same seed makes the same tree, to the last time stamp.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};

use super::{
    dicom::{self, DEVICES, Study},
    documents,
    draw::Draw,
    hl7,
    people::{Person, patients},
    tree::{Summary, Tree, at},
};

/// 2025-03-10T17:00:00Z, when the clinic closed on the day before the first pass.
const FIRST_CLOSE: i64 = 1_741_626_000;
/// Says that the tree is a made-up clinic, of which seed and how old.
const MARKER: &str = "README.txt";
const MARKER_HEAD: &str =
    "This is the server of a made-up clinic. Nobody in it exists, and no value was ever measured.";
/// How far back the clinic's records go, in days.
const RECORDS: usize = 700;
const DATABASE: &str = "database/practice.db";
const DATABASE_LEN: u64 = 64 << 20;
const DATABASE_RUN: usize = 64 << 10;

/// Writes the clinic with this seed to `root`, which must be empty or not exist.
pub fn make_clinic(root: &Path, seed: u64) -> io::Result<Summary> {
    at(root, fs::create_dir_all(root))?;
    if at(root, fs::read_dir(root))?.next().is_some() {
        let error = io::Error::new(io::ErrorKind::DirectoryNotEmpty, "is not empty");
        return at(root, Err(error));
    }
    let mut clinic = Clinic::on_day(root, seed, 0)?;
    clinic.marker()?;
    clinic.letters(500)?;
    clinic.scans(60)?;
    clinic.tables(60)?;
    for (at, device) in DEVICES.iter().enumerate() {
        let (studies, series, images) = match device.modality {
            "CT" => (14, 1, 16),
            "MR" => (8, 2, 10),
            _ => (10, 1, 1),
        };
        for number in 0..studies {
            clinic.study(at, number, series, images)?;
        }
    }
    clinic.messages(400, 300)?;
    clinic.batches(12)?;
    clinic.mails(250, "cur")?;
    clinic.mails(10, "new")?;
    clinic.tree.directory("mail/tmp")?;
    clinic.database()?;
    clinic.oddities()?;
    clinic.tree.finish()
}

/// Changes about one file in fifty of a clinic that [`make_clinic`] wrote, as a day of work does:
/// new studies, messages and mails; letters and tables edited, a page of the database written;
/// a letter and a study renamed, mails moved; old messages removed. It can be called again for
/// the day after.
pub fn one_day_later(root: &Path) -> io::Result<Summary> {
    let (seed, day) = read_marker(root)?;
    let mut clinic = Clinic::on_day(root, seed, day + 1)?;
    let mut draw = clinic.draw("changes");

    let mut mails = clinic.tree.files("mail/new")?;
    for from in draw.take(&mut mails, 4) {
        let mut name = from.file_name().unwrap_or_default().to_owned();
        name.push(":2,S");
        clinic.tree.rename(&from, &Path::new("mail/cur").join(name))?;
    }
    let mut letters = clinic.tree.files("shared/Letters")?;
    for path in draw.take(&mut letters, 4) {
        let mut text = clinic.tree.read(&path)?;
        text.extend_from_slice(b"\nPS: This line was added a day later.\n");
        clinic.tree.rewrite(&path, &text, clinic.close)?;
    }
    for from in draw.take(&mut letters, 1) {
        let to = from.with_extension("signed.txt");
        clinic.tree.rename(&from, &to)?;
    }
    let mut tables = clinic.tree.files("shared/Billing")?;
    for path in draw.take(&mut tables, 3) {
        let mut text = clinic.tree.read(&path)?;
        let rows = documents::rows(&clinic.patients, 5, clinic.close, &mut draw);
        text.extend_from_slice(rows.as_bytes());
        clinic.tree.rewrite(&path, &text, clinic.close)?;
    }
    let mut messages = clinic.tree.files("hl7/in")?;
    for path in draw.take(&mut messages, 6) {
        clinic.tree.remove(&path)?;
    }
    let mut studies: Vec<PathBuf> = clinic
        .tree
        .files("pacs")?
        .iter()
        .filter_map(|image| image.ancestors().nth(2))
        .filter(|study| study.as_os_str().as_bytes().ends_with(b"-CR"))
        .map(Path::to_owned)
        .collect();
    for from in draw.take(&mut studies, 1) {
        let mut to = from.clone().into_os_string();
        to.push("-corrected");
        clinic.tree.rename(&from, Path::new(&to))?;
    }
    let mut page = vec![0; 4096];
    draw.fill(&mut page);
    let offset = 4096 * draw.below(DATABASE_RUN / 4096) as u64;
    clinic.tree.patch(DATABASE, offset, &page, clinic.close)?;

    clinic.study(0, 0, 1, 5)?;
    clinic.study(2, 0, 1, 1)?;
    clinic.messages(6, 6)?;
    clinic.mails(3, "new")?;
    clinic.letters(2)?;
    clinic.marker()?;
    clinic.tree.finish()
}

/// A clinic on one of its days.
struct Clinic {
    tree: Tree,
    seed: u64,
    day: u32,
    /// When the clinic closes that day: nothing is younger.
    close: Timestamp,
    /// How many days back the new things of that day go.
    span: usize,
    patients: Vec<Person>,
}

impl Clinic {
    fn on_day(root: &Path, seed: u64, day: u32) -> io::Result<Self> {
        let close = Timestamp::UNIX_EPOCH
            + SignedDuration::from_secs(FIRST_CLOSE + 86_400 * i64::from(day));
        let (tree, span) = match day {
            0 => (Tree::create(root, close)?, RECORDS),
            _ => (Tree::open(root, close), 1),
        };
        Ok(Self { tree, seed, day, close, span, patients: patients(seed) })
    }

    /// What is drawn for `what` on this day.
    fn draw(&self, what: &str) -> Draw {
        Draw::new(self.seed, &format!("day {}: {what}", self.day))
    }

    fn marker(&mut self) -> io::Result<()> {
        let text = format!("{MARKER_HEAD}\n\nseed: {}\nday: {}\n", self.seed, self.day);
        match self.day {
            0 => self.tree.file(MARKER, text.as_bytes(), self.close),
            _ => self.tree.rewrite(Path::new(MARKER), text.as_bytes(), self.close),
        }
    }

    fn letters(&mut self, count: usize) -> io::Result<()> {
        let mut draw = self.draw("letters");
        for number in 0..count {
            let patient = draw.pick(&self.patients);
            let time = draw.before(self.close, self.span);
            let text = documents::letter(patient, time, &mut draw);
            let path = format!(
                "shared/Letters/{}/{} {}, {} {}-{number:03}.txt",
                time.strftime("%Y-%m"),
                patient.record,
                patient.family,
                patient.given,
                self.day,
            );
            self.tree.file(path, text.as_bytes(), time)?;
        }
        Ok(())
    }

    fn scans(&mut self, count: usize) -> io::Result<()> {
        let mut draw = self.draw("scans");
        for number in 0..count {
            let patient = draw.pick(&self.patients);
            let time = draw.before(self.close, self.span);
            let pdf = documents::scan(patient, time, &mut draw);
            let path = format!("shared/Scans/{}/scan {number:04}.pdf", time.strftime("%Y"));
            self.tree.file(&path, &pdf, time)?;
            self.tree.attribute(&path, "user.scanner", "Make-Believe Scanner 2")?;
        }
        Ok(())
    }

    fn tables(&mut self, count: usize) -> io::Result<()> {
        let mut draw = self.draw("tables");
        for number in 0..count {
            let time = self.close - SignedDuration::from_hours(24 * 7 * number as i64);
            let lines = 150 + draw.below(200);
            let rows = documents::rows(&self.patients, lines, time, &mut draw);
            let path = format!("shared/Billing/invoices {}.csv", time.strftime("%Y-%m-%d"));
            self.tree.file(path, (documents::COLUMNS.to_owned() + &rows).as_bytes(), time)?;
        }
        Ok(())
    }

    /// Study `number` of this day on device number `device`.
    fn study(&mut self, device: usize, number: u16, series: u16, images: u16) -> io::Result<()> {
        let mut draw = self.draw(&format!("device {device}, study {number}"));
        let study = Study {
            device: &DEVICES[device],
            patient: draw.pick(&self.patients),
            uid: dicom::uid(&mut draw),
            accession: format!("D{:03}{device}{number:03}", self.day),
            time: draw.before(self.close, self.span),
        };
        let folder = PathBuf::from(format!(
            "pacs/{}/{}-{}-{}",
            study.time.strftime("%Y"),
            study.time.strftime("%Y%m%d"),
            study.accession,
            study.device.modality,
        ));
        for number in 1..=series {
            for image in dicom::series(&study, number, images, &mut draw) {
                let path = folder.join(format!("series {number}/{}.dcm", image.uid));
                self.tree.file(path, &image.bytes, study.time)?;
            }
        }
        Ok(())
    }

    fn messages(&mut self, admissions: usize, results: usize) -> io::Result<()> {
        let mut draw = self.draw("messages");
        for number in 0..admissions + results {
            let patient = draw.pick(&self.patients);
            let time = draw.before(self.close, self.span.min(30));
            let id = format!("{:03}{number:05}", self.day);
            let (folder, message) = if number < admissions {
                ("adt", hl7::admission(patient, &id, time, &mut draw))
            } else {
                ("oru", hl7::results(patient, &id, time, &mut draw))
            };
            self.tree.file(format!("hl7/in/{folder}/{id}.hl7"), message.as_bytes(), time)?;
        }
        Ok(())
    }

    fn batches(&mut self, count: usize) -> io::Result<()> {
        let mut draw = self.draw("batches");
        for number in 0..count {
            let time = draw.before(self.close, self.span);
            let messages: Vec<String> = (0..20)
                .map(|at| {
                    let patient = draw.pick(&self.patients);
                    hl7::results(patient, &format!("B{number:02}{at:03}"), time, &mut draw)
                })
                .collect();
            // One of them is what the interface keeps of the wire.
            let (name, text) = match number {
                0 => ("wire.mllp".into(), hl7::spool(&messages)),
                _ => {
                    let id = format!("BATCH{number:02}");
                    (format!("{id}.hl7"), hl7::batch(&messages, &id, time))
                }
            };
            self.tree.file(format!("hl7/batch/{name}"), text.as_bytes(), time)?;
        }
        Ok(())
    }

    /// Mails in the mailbox's folder `cur` (seen) or `new`.
    fn mails(&mut self, count: usize, folder: &str) -> io::Result<()> {
        let mut draw = self.draw(&format!("mail/{folder}"));
        let flags = if folder == "cur" { ":2,S" } else { "" };
        for number in 0..count {
            let patient = draw.pick(&self.patients);
            let time = draw.before(self.close, self.span);
            let id = format!("{}.{folder}{number}.clinic", time.as_second());
            let text = documents::mail(patient, &id, time, &mut draw);
            self.tree.file(format!("mail/{folder}/{id}{flags}"), text.as_bytes(), time)?;
        }
        Ok(())
    }

    /// A database file that is mostly hole, as databases are that reserve their room.
    fn database(&mut self) -> io::Result<()> {
        let mut draw = self.draw("database");
        let places = DATABASE_LEN / DATABASE_RUN as u64;
        // The first run holds the header; the others are spread, each in its own part of the file.
        let runs: Vec<(u64, Vec<u8>)> = (0..32)
            .map(|part| {
                let place = match part {
                    0 => 0,
                    _ => part * (places / 32) + draw.below(places as usize / 32) as u64,
                };
                let mut run = vec![0; DATABASE_RUN];
                draw.fill(&mut run[..DATABASE_RUN / 2]);
                run[..24].copy_from_slice(b"made-up database, v1\0\0\0\0");
                (place * DATABASE_RUN as u64, run)
            })
            .collect();
        self.tree.sparse(DATABASE, DATABASE_LEN, &runs, self.close)?;
        self.tree.mode(DATABASE, 0o600)
    }

    /// Whatever makes trees hard to copy.
    fn oddities(&mut self) -> io::Result<()> {
        let time = self.close - SignedDuration::from_hours(24 * 400);
        let tree = &mut self.tree;

        // Links: a file with three names, and pointers that hold, that go up, and that dangle.
        tree.file("shared/Templates/letterhead.txt", b"Nowhere Clinic (made up)\n", time)?;
        tree.hard_link("shared/Templates/letterhead copy.txt", "shared/Templates/letterhead.txt")?;
        tree.hard_link("shared/Letters/letterhead.txt", "shared/Templates/letterhead.txt")?;
        tree.symlink("shared/current.csv", "Billing/invoices 2025-03-10.csv", time)?;
        tree.symlink("shared/images", "../pacs", time)?;
        tree.symlink("shared/old server", "/mnt/a server that was switched off", time)?;

        // Names.
        let names: [&[u8]; 10] = [
            "Müller Überweisung äöü ß.txt".as_bytes(),
            "Mu\u{308}ller decomposed.txt".as_bytes(),
            "検査結果 🩺.txt".as_bytes(),
            b"  spaces  at both ends  ",
            b"-rf",
            b"line\nbreak and\ttab.txt",
            b"quote ' double \" dollar $HOME back\\slash `date`.txt",
            b"Latin-1 \xfcber \xff.txt",
            "right\u{202e}txt.exe".as_bytes(),
            &[b'n'; 255],
        ];
        let folder = Path::new("shared/Odd names");
        tree.directory(folder)?;
        for name in names {
            let path = folder.join(OsStr::from_bytes(name));
            match tree.file(&path, b"The name is the odd part.\n", time) {
                // A file system that only holds UTF-8 refuses others.
                Err(_) if std::str::from_utf8(name).is_err() => {}
                result => result?,
            }
        }
        for name in ["Case.txt", "CASE.txt"] {
            tree.file(folder.join(name), name.as_bytes(), time)?;
        }

        // Permissions.
        let it = "shared/IT";
        tree.file(
            format!("{it}/router.txt"),
            b"Router in the cellar (made up)\nuser: admin\npassword: admin\n",
            time,
        )?;
        tree.file(format!("{it}/handbook.txt"), b"This handbook is read-only.\n", time)?;
        tree.mode(format!("{it}/handbook.txt"), 0o444)?;
        tree.file(format!("{it}/everyone.txt"), b"Everyone may write here.\n", time)?;
        tree.mode(format!("{it}/everyone.txt"), 0o666)?;
        tree.file(format!("{it}/backup.sh"), b"#!/bin/sh\necho 'no backup since 2019'\n", time)?;
        tree.mode(format!("{it}/backup.sh"), 0o755)?;
        tree.directory("shared/Private")?;
        tree.mode("shared/Private", 0o700)?;

        // Nothing, in two ways.
        tree.directory("shared/Empty/Empty too")?;
        tree.file("shared/Empty/empty.txt", b"", time)
    }
}

/// Seed and day of the clinic at `root`. Whatever else is there is refused, so that nobody's own
/// files are changed.
fn read_marker(root: &Path) -> io::Result<(u64, u32)> {
    let path = root.join(MARKER);
    let text = at(&path, fs::read_to_string(&path))?;
    let values = || {
        let mut lines = text.strip_prefix(MARKER_HEAD)?.trim().lines();
        let seed = lines.next()?.strip_prefix("seed: ")?.parse().ok()?;
        let day: u32 = lines.next()?.strip_prefix("day: ")?.parse().ok()?;
        // A thousand days are more than anyone will play.
        (day < 1000).then_some((seed, day))
    };
    values().ok_or_else(|| {
        let message = format!("{}: is not the mark of a made-up clinic", path.display());
        io::Error::new(io::ErrorKind::InvalidData, message)
    })
}
