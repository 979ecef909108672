//! Lines of more than a block: what servers hold as one line is told as it is in short ones.
//!
//! Every patient is made up. Columns and segments alone say what the values are: none has a form that
//! gives it away, nor a label before it, unless the format is one of labels.

#![allow(clippy::unwrap_used, reason = "what is not there is a failure")]
#![allow(clippy::print_stdout, reason = "what is found of each sort is worth a look")]

use std::fmt::Write;

use drover_inspect::{
    PhiKind,
    phi::{Span, TextScanner},
};
use proptest::prelude::*;

const NOW: u32 = 2026;
/// The smallest blocks there are.
const SMALL: usize = 4096;

fn scan(text: &[u8], block: usize, piece: usize) -> Vec<Span> {
    let mut scanner = TextScanner::with_block(NOW, block);
    let mut found = Vec::new();
    for piece in text.chunks(piece.max(1)) {
        scanner.feed(piece, &mut |span, _| found.push(span));
    }
    scanner.finish(&mut |span, _| found.push(span));
    found
}

/// Numbers that depend on nothing: xorshift64*, Vigna 2016.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

#[derive(Clone, Debug)]
struct Patient {
    mrn: String,
    /// Year, month, day.
    born: (u64, u64, u64),
    /// Nine digits.
    ssn: String,
    /// Ten digits.
    phone: String,
    family: &'static str,
}

impl Patient {
    fn iso(&self) -> String {
        format!("{}-{:02}-{:02}", self.born.0, self.born.1, self.born.2)
    }

    fn packed(&self) -> String {
        self.iso().replace('-', "")
    }
}

fn patients(count: usize, seed: u64) -> Vec<Patient> {
    let mut numbers = Numbers(seed | 1);
    (0..count)
        .map(|_| Patient {
            mrn: format!("{:07}", 1_000_000 + numbers.below(8_000_000)),
            born: (1930 + numbers.below(80), 1 + numbers.below(12), 13 + numbers.below(15)),
            ssn: format!(
                "{:03}{:02}{:04}",
                100 + numbers.below(500),
                1 + numbers.below(98),
                1 + numbers.below(9998)
            ),
            phone: format!("617{}{:04}", 200 + numbers.below(799), numbers.below(10_000)),
            family: ["Example", "O'Sample", "Muster (née Probe)", "Test; Case", "Ja\\\\ne"]
                [numbers.below(5) as usize],
        })
        .collect()
}

/// Words without a digit: as many bytes as asked for, and a few more.
fn words(len: usize, seed: u64) -> String {
    let mut numbers = Numbers(seed | 1);
    let mut text = String::new();
    while text.len() < len {
        text.push_str(
            ["seen ", "again ", "with ", "her ", "knee ", "and ", "feels ", "better "]
                [numbers.below(8) as usize],
        );
    }
    text
}

/// What is between the values of two patients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lines {
    /// All in one line.
    Long,
    /// Whatever ends lines in this sort.
    Short,
}

/// A text of a sort, and how many values of each kind are in it.
struct Text {
    text: String,
    expected: [(PhiKind, u64); 4],
}

/// Writes a text of these patients, with a filler of about so many bytes for each.
type Writer = fn(&[Patient], usize, Lines) -> String;

/// Sorts of texts, by what writes them.
const SORTS: &[(&str, Writer)] = &[
    ("mysqldump", mysqldump),
    ("insert with names", insert_with_names),
    ("sqlite dump", sqlite),
    ("pg_dump with inserts", pg_dump),
    ("copy", copy),
    ("hl7", hl7),
    ("hl7 with a document", hl7_document),
    ("hl7 in json", hl7_json),
    ("hl7 in one line", hl7_joined),
    ("x12", x12),
    ("fhir bundle", fhir_json),
    ("fhir xml", fhir_xml),
    ("ndjson", ndjson),
    ("xml", xml),
    ("html", html),
    ("csv with notes", csv),
    ("tsv of many columns", wide_tsv),
    ("csv of many columns", wide_csv),
];

/// A text of this sort, of about so many bytes for each patient beside the values.
fn text(sort: usize, count: usize, filler: usize, lines: Lines, seed: u64) -> Text {
    let patients = patients(count, seed);
    let count = count as u64;
    let expected = [PhiKind::Ssn, PhiKind::Phone, PhiKind::BirthDate, PhiKind::RecordNumber];
    Text {
        text: SORTS[sort].1(&patients, filler, lines),
        expected: expected.map(|kind| (kind, count)),
    }
}

fn end(lines: Lines) -> &'static str {
    if lines == Lines::Long { "" } else { "\n" }
}

fn mysqldump(patients: &[Patient], filler: usize, lines: Lines) -> String {
    let mut text = String::from(
        "-- MySQL dump 10.13  Distrib 8.0.36\n--\n\nDROP TABLE IF EXISTS `patients`;\n\
         CREATE TABLE `patients` (\n  `id` int NOT NULL AUTO_INCREMENT,\n  `mrn` varchar(16) NOT NULL,\n  \
         `name` varchar(80),\n  `dob` date DEFAULT NULL,\n  `note` longtext,\n  `ssn` char(9),\n  \
         `phone` varchar(20),\n  PRIMARY KEY (`id`),\n  KEY `mrn` (`mrn`)\n) ENGINE=InnoDB;\n\n\
         LOCK TABLES `patients` WRITE;\nINSERT INTO `patients` VALUES ",
    );
    for (at, p) in patients.iter().enumerate() {
        let between = if at == 0 { "" } else { "," };
        let name = p.family.replace('\'', "\\'");
        let note = words(filler, at as u64);
        let _ = write!(
            text,
            "{between}{}({at},'{}','{name}','{}','{note}\\'quoted\\', (in brackets); or not','{}','{}')",
            end(lines),
            p.mrn,
            p.iso(),
            p.ssn,
            p.phone
        );
    }
    text + ";\nUNLOCK TABLES;\n"
}

fn insert_with_names(patients: &[Patient], filler: usize, lines: Lines) -> String {
    let mut text = String::from(
        "INSERT INTO clinic.patient (surname, date_of_birth, remarks, social_security_no, home_phone, chart_no) VALUES ",
    );
    for (at, p) in patients.iter().enumerate() {
        let between = if at == 0 { "" } else { ", " };
        let name = p.family.replace('\'', "''").replace("\\\\", "\\");
        let _ = write!(
            text,
            "{between}{}('{name}', DATE '{}', N'{} in C:\\', '{}', '{}', {})",
            end(lines),
            p.iso(),
            words(filler, at as u64),
            p.ssn,
            p.phone,
            p.mrn
        );
    }
    text + ";\n"
}

fn pg_dump(patients: &[Patient], filler: usize, lines: Lines) -> String {
    let mut text = String::from(
        "--\n-- PostgreSQL database dump\n--\n\nCREATE TABLE public.patients (\n    id integer NOT NULL,\n    \
         dob date,\n    note text,\n    ssn character(9),\n    phone text,\n    mrn text\n);\n\n\n\
         INSERT INTO public.patients VALUES",
    );
    for (at, p) in patients.iter().enumerate() {
        let between = if at == 0 { "" } else { "," };
        let note = words(filler, at as u64);
        let (born, ssn, phone, mrn) = (p.iso(), &p.ssn, &p.phone, &p.mrn);
        let _ = write!(
            text,
            "{between}{} ({at}, '{born}', '{note}', '{ssn}', '{phone}', '{mrn}')",
            end(lines)
        );
    }
    text + ";\n\n"
}

/// One statement for each patient.
fn sqlite(patients: &[Patient], filler: usize, lines: Lines) -> String {
    let mut text = String::from(
        "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n\
         CREATE TABLE patients(id INTEGER PRIMARY KEY, dob TEXT, note TEXT DEFAULT 'a, b', ssn TEXT, phone TEXT, mrn TEXT);\n",
    );
    for (at, p) in patients.iter().enumerate() {
        let note = words(filler, at as u64);
        let (born, ssn, phone, mrn) = (p.iso(), &p.ssn, &p.phone, &p.mrn);
        let _ = write!(
            text,
            "INSERT INTO patients VALUES({at},'{born}','{note}','{ssn}','{phone}','{mrn}');{}",
            end(lines)
        );
    }
    text + "\nCOMMIT;\n"
}

fn copy(patients: &[Patient], filler: usize, lines: Lines) -> String {
    let mut text = String::from("COPY public.patients (dob, ssn, notes, phone, mrn) FROM stdin;\n");
    // A row is a line: only what is in it is long.
    let filler = if lines == Lines::Long { filler.max(2 * SMALL) } else { filler };
    for (at, p) in patients.iter().enumerate() {
        let note = words(filler, at as u64);
        let _ = writeln!(text, "{}\t{}\t{note}\t{}\t{}", p.iso(), p.ssn, p.phone, p.mrn);
    }
    text + "\\.\n"
}

fn message(p: &Patient, at: usize, cr: &str, filler: usize) -> String {
    let note = words(filler, at as u64);
    format!(
        "MSH|^~\\&|LAB|MERCY|EHR|CLINIC|20240214101500||ORU^R01|M{at}|P|2.5.1{cr}EVN|A08|20240214{cr}\
         PID|1||{}^^^M^MR||SAMPLE^JANE^^^^||{}|F|||1 MAIN ST||{}^PRN^PH||||||{}{cr}PV1|1|O|WARD^1{cr}\
         OBR|1|ORD-77231|LAB-220191|24323-8^PANEL^LN|||20240214090000{cr}\
         OBX|1|TX|2345-7^NOTE^LN||{note}||||||F{cr}",
        p.mrn,
        p.packed(),
        p.phone,
        p.ssn
    )
}

fn hl7(patients: &[Patient], filler: usize, _: Lines) -> String {
    let messages = patients.iter().enumerate();
    let body: String = messages.map(|(at, p)| message(p, at, "\r", filler)).collect();
    format!("FHS|^~\\&|LAB\rBHS|^~\\&|LAB\r{body}BTS|{}\rFTS|1\r", patients.len())
}

/// A document in an observation, before what is said of its patient.
fn hl7_document(patients: &[Patient], filler: usize, lines: Lines) -> String {
    let filler = if lines == Lines::Long { filler.max(2 * SMALL) } else { filler };
    let mut text = String::new();
    for (at, p) in patients.iter().enumerate() {
        let note = words(filler, at as u64).replace(' ', "/Q+");
        let _ = write!(
            text,
            "MSH|^~\\&|DOC|MERCY|EHR|CLINIC|20240214101500||MDM^T02|D{at}|P|2.5.1\r\
             OBX|1|ED|PDF^REPORT^L||^application^pdf^Base64^{note}||||||F\r\
             PID|1||{}^^^M^MR||SAMPLE^JANE||{}|F|||1 MAIN ST||{}^PRN^PH||||||{}\r",
            p.mrn,
            p.packed(),
            p.phone,
            p.ssn
        );
    }
    text
}

fn hl7_json(patients: &[Patient], filler: usize, lines: Lines) -> String {
    let mut text = String::from("[");
    for (at, p) in patients.iter().enumerate() {
        let message = message(p, at, "\\r", filler).replace("^~\\&", "^~\\\\&");
        let _ = write!(text, "{{\"channel\":\"adt\",\"raw\":\"{message}\"}},{}", end(lines));
    }
    text + "{}]\n"
}

/// As tools write messages that take the ends of segments for nothing.
fn hl7_joined(patients: &[Patient], filler: usize, lines: Lines) -> String {
    let ends = ["<CR>", " ", "", "\\x0d"];
    let messages = patients.iter().enumerate();
    messages
        .map(|(at, p)| {
            // A blank, or nothing: then the next segment is known by its name.
            let cr = ends[at % ends.len()];
            message(p, at, cr, filler) + end(lines)
        })
        .collect::<String>()
        + "\n"
}

fn x12(patients: &[Patient], filler: usize, lines: Lines) -> String {
    let mut text = String::from(
        "ISA*00*          *00*          *ZZ*SENDER         *ZZ*RECEIVER       *240102*1200*^*00501*000000001*0*P*:~",
    );
    text += end(lines);
    for (at, p) in patients.iter().enumerate() {
        let note = words(filler, at as u64);
        let cut = end(lines);
        let _ = write!(
            text,
            "NM1*IL*1*SAMPLE*JANE****34*{}~{cut}DMG*D8*{}*F~{cut}PER*IC*FRONT DESK*TE*{}~{cut}\
             NTE*ADD*{note}~{cut}REF*EA*{}~{cut}",
            p.ssn,
            p.packed(),
            p.phone,
            p.mrn
        );
    }
    text + "\n"
}

fn fhir_json(patients: &[Patient], filler: usize, lines: Lines) -> String {
    let cut = end(lines);
    let mut text =
        format!("{{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[{cut}");
    for (at, p) in patients.iter().enumerate() {
        let note = words(filler, at as u64);
        let _ = write!(
            text,
            "{{\"resource\":{{\"resourceType\":\"Patient\",\"text\":{{\"status\":\"generated\",\"div\":\"{note}\"}},{cut}\
             \"identifier\":[{{\"type\":{{\"coding\":[{{\"code\":\"MR\"}}]}},\"value\":\"{}\"}},{cut}\
             {{\"system\":\"http://hl7.org/fhir/sid/us-ssn\",\"value\":\"{}\"}}],{cut}\
             \"telecom\":[{{\"system\":\"phone\",\"value\":\"{}\"}}],{cut}\"birthDate\":\"{}\"}}}},{cut}",
            p.mrn,
            p.ssn,
            p.phone,
            p.iso()
        );
    }
    text + "{}]}\n"
}

fn ndjson(patients: &[Patient], filler: usize, lines: Lines) -> String {
    // A document is a line: only what is in it is long.
    let filler = if lines == Lines::Long { filler.max(2 * SMALL) } else { filler };
    let mut text = String::new();
    for (at, p) in patients.iter().enumerate() {
        let note = words(filler, at as u64).replace(' ', "+");
        let _ = writeln!(
            text,
            "{{\"_id\":\"a{at}\",\"doc\":\"{note}\",\"patient\":{{\"mrn\":\"{}\",\"dob\":\"{}\",\"more\":\"{note}\",\"ssn\":\"{}\"}},\"mobile\":\"{}\"}}",
            p.mrn,
            p.iso(),
            p.ssn,
            p.phone
        );
    }
    text
}

fn fhir_xml(patients: &[Patient], filler: usize, lines: Lines) -> String {
    let cut = end(lines);
    let mut text =
        format!("<?xml version=\"1.0\"?>{cut}<Bundle xmlns=\"http://hl7.org/fhir\">{cut}");
    for (at, p) in patients.iter().enumerate() {
        let note = words(filler, at as u64);
        let _ = write!(
            text,
            "<entry><resource><Patient><text><div>{note}</div></text>{cut}\
             <identifier><type><coding><code value=\"MR\"/></coding></type><value value=\"{}\"/></identifier>{cut}\
             <identifier><type><coding><code value=\"SS\"/></coding></type><value value=\"{}\"/></identifier>{cut}\
             <telecom><system value=\"phone\"/><value value=\"{}\"/></telecom>{cut}\
             <birthDate value=\"{}\"/></Patient></resource></entry>{cut}",
            p.mrn,
            p.ssn,
            p.phone,
            p.iso()
        );
    }
    text + "</Bundle>\n"
}

fn xml(patients: &[Patient], filler: usize, lines: Lines) -> String {
    let cut = end(lines);
    let mut text = format!("<?xml version=\"1.0\"?>{cut}<patients>{cut}");
    for (at, p) in patients.iter().enumerate() {
        let note = words(filler, at as u64);
        let _ = write!(
            text,
            "<patient><mrn>{}</mrn>{cut}<dateOfBirth>{}</dateOfBirth>{cut}<note>{note}</note>{cut}\
             <ssn>{}</ssn>{cut}<homePhone>{}</homePhone></patient>{cut}",
            p.mrn,
            p.iso(),
            p.ssn,
            p.phone
        );
    }
    text + "</patients>\n"
}

fn html(patients: &[Patient], filler: usize, lines: Lines) -> String {
    let cut = end(lines);
    let mut text = format!(
        "<html><body>{cut}<table class=\"list\"><tr><th>Name</th><th>Date of birth</th><th>Remarks</th>\
         <th>SSN</th><th>Phone</th><th>MRN</th></tr>{cut}"
    );
    for (at, p) in patients.iter().enumerate() {
        let note = words(filler, at as u64);
        let _ = write!(
            text,
            "<tr><td>Sample</td><td><b>{}</b></td><td>{note}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td></tr>{cut}",
            p.iso(),
            p.ssn,
            p.phone,
            p.mrn
        );
    }
    text + "</table></body></html>\n"
}

fn csv(patients: &[Patient], filler: usize, lines: Lines) -> String {
    // A row is a line: only what is in it is long.
    let filler = if lines == Lines::Long { filler.max(2 * SMALL) } else { filler };
    let mut text = String::from("name,dob,progress_note,ssn,phone,mrn\n");
    for (at, p) in patients.iter().enumerate() {
        let note = words(filler, at as u64);
        let _ = writeln!(
            text,
            "Sample,{},\"{note}, \"\"quoted\"\", and more\",{},{},{}",
            p.iso(),
            p.ssn,
            p.phone,
            p.mrn
        );
    }
    text
}

/// A table of questions and answers, with the patients' columns in the midst of them.
fn wide(patients: &[Patient], questions: usize, separator: char) -> String {
    let mut text = String::from("record_no");
    let names = ["date_of_birth", "social_security_number", "telephone"];
    for number in 0..questions {
        let _ = write!(text, "{separator}answer_to_question_{number}");
        if number % (questions / 3) == questions / 4 {
            let _ = write!(text, "{separator}{}", names[(number / (questions / 3)).min(2)]);
        }
    }
    text.push('\n');
    for p in patients {
        text += &p.mrn;
        let values = [p.iso(), p.ssn.clone(), p.phone.clone()];
        for number in 0..questions {
            let _ = write!(text, "{separator}{}", ["yes", "no", "7", ""][number % 4]);
            if number % (questions / 3) == questions / 4 {
                let _ = write!(text, "{separator}{}", values[(number / (questions / 3)).min(2)]);
            }
        }
        text.push('\n');
    }
    text
}

fn wide_tsv(patients: &[Patient], _: usize, lines: Lines) -> String {
    wide(patients, if lines == Lines::Long { 3600 } else { 12 }, '\t')
}

fn wide_csv(patients: &[Patient], _: usize, lines: Lines) -> String {
    wide(patients, if lines == Lines::Long { 1200 } else { 12 }, ',')
}

/// What is expected of a kind and what is found, where that is not the same.
fn differences(text: &Text, block: usize, piece: usize) -> Vec<(PhiKind, u64, u64)> {
    let found = scan(text.text.as_bytes(), block, piece);
    let of = |kind| found.iter().filter(|span| span.kind == kind).count() as u64;
    PhiKind::ALL
        .into_iter()
        .map(|kind| {
            let expected = text.expected.iter().find(|(k, _)| *k == kind).map_or(0, |(_, n)| *n);
            (kind, expected, of(kind))
        })
        .filter(|(_, expected, found)| expected != found)
        .collect()
}

#[test]
fn what_is_in_long_lines_is_found() {
    let mut wrong = Vec::new();
    for (sort, (name, _)) in SORTS.iter().enumerate() {
        for (count, filler) in [(1000, 40), (12, 100_000)] {
            let text = text(sort, count, filler, Lines::Long, 7);
            let longest = text.text.split(['\n', '\r']).map(str::len).max().unwrap_or(0);
            let differ = differences(&text, 65536, usize::MAX);
            println!("{name}: {count} patients, lines of up to {longest} bytes: {differ:?}");
            if !differ.is_empty() {
                wrong.push(*name);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn short_lines_say_the_same() {
    for (sort, (name, _)) in SORTS.iter().enumerate() {
        let text = text(sort, 100, 40, Lines::Short, 11);
        assert_eq!(differences(&text, 65536, usize::MAX), [], "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// However long lines and blocks are, and wherever the pieces are cut.
    #[test]
    fn lengths_of_lines_and_cuts_change_nothing(
        sort in 0..SORTS.len(), count in 1usize..60, filler in 0usize..600, seed in any::<u64>(),
        long in any::<bool>(), block in SMALL..3 * SMALL, piece in 1usize..9000,
    ) {
        let lines = if long { Lines::Long } else { Lines::Short };
        let text = text(sort, count, filler, lines, seed);
        prop_assert_eq!(differences(&text, block, piece), [], "{}", SORTS[sort].0);
        // Each at its place, and once.
        let found = scan(text.text.as_bytes(), block, piece);
        prop_assert_eq!(found, scan(text.text.as_bytes(), 1 << 30, usize::MAX));
    }

    /// Whatever a long line is of, there is an answer, and the pieces make no difference to it.
    #[test]
    fn nothing_panics_in_long_lines(
        front in "(name,dob,ssn\n|CREATE TABLE `t` \\(\n`dob` date\n\\);\n|<table><tr><th>SSN</th></tr>|MRN  DOB\n|ISA\\*~|MSH\\||a PID\\||INSERT INTO `t` VALUES |COPY t \\(dob, ssn\\) FROM stdin;\n)?",
        text in "([0-9]{1,12}|1961-12-03|[-./() +:@#,;|~^*]|DOB|SSN|PID\\||NM1\\*|DMG\\*D8\\*|<td>|</td>|<b|<th>|[{}<>\"'`\\\\&;]|INSERT INTO t |\\(dob, ssn\\)|VALUES|CREATE TABLE t\\(|\t|  |[éü–\u{a0}]|\\PC){1,60}",
        times in 1usize..400, block in SMALL..3 * SMALL, piece in 1usize..9000,
    ) {
        let text = front + &text.repeat(times);
        let found = scan(text.as_bytes(), block, piece);
        prop_assert!(found.iter().all(|span| span.end as usize <= text.len() && span.start < span.end));
        prop_assert!(found.windows(2).all(|pair| pair[0].end <= pair[1].start));
        prop_assert_eq!(found, scan(text.as_bytes(), block, usize::MAX));
    }
}
