//! DICOM files: explicit VR little endian, with preamble and meta header (PS3.10, PS3.5).
//!
//! The UIDs are below 2.25, the root that anyone may use with a random number of 128 bits, so that
//! they collide with nobody's.

use jiff::Timestamp;

use super::{draw::Draw, people::Person};

/// A machine that makes images, of a maker that does not exist.
pub struct Device {
    pub modality: &'static str,
    pub manufacturer: &'static str,
    pub model: &'static str,
    pub station: &'static str,
    pub serial: &'static str,
    pub software: &'static str,
    pub calibrated: &'static str,
    pub body_part: &'static str,
    /// Columns, a multiple of four, and rows of an image.
    pub size: (u16, u16),
    /// SOP class: what sort of image it makes.
    class: &'static str,
}

/// The clinic's machines. The last one says little about itself, as old ones do.
pub const DEVICES: [Device; 4] = [
    Device {
        modality: "CT",
        manufacturer: "Imaginary Imaging",
        model: "Phantomscan 64",
        station: "CT1",
        serial: "MADEUP-0001",
        software: "7.2.1",
        calibrated: "20250203",
        body_part: "CHEST",
        size: (256, 256),
        class: "1.2.840.10008.5.1.4.1.1.2",
    },
    Device {
        modality: "MR",
        manufacturer: "Fabled Magnets",
        model: "Dreamfield 1.5",
        station: "MR1",
        serial: "MADEUP-0002",
        software: "Dream 4.0",
        calibrated: "20241111",
        body_part: "KNEE",
        size: (192, 192),
        class: "1.2.840.10008.5.1.4.1.1.4",
    },
    Device {
        modality: "CR",
        manufacturer: "Nonesuch Radiography",
        model: "Clearplate 3",
        station: "XR1",
        serial: "MADEUP-0003",
        software: "3.9",
        calibrated: "20240620",
        body_part: "HAND",
        size: (512, 640),
        class: "1.2.840.10008.5.1.4.1.1.1",
    },
    Device {
        modality: "CR",
        manufacturer: "Nonesuch Radiography",
        model: "Clearplate 1",
        station: "",
        serial: "",
        software: "",
        calibrated: "",
        body_part: "FOOT",
        size: (512, 640),
        class: "1.2.840.10008.5.1.4.1.1.1",
    },
];

const EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";
const IMPLEMENTATION: &str = "2.25.20250310170000";

/// A study of one patient on one machine.
pub struct Study<'a> {
    pub device: &'a Device,
    pub patient: &'a Person,
    pub uid: String,
    /// Accession number.
    pub accession: String,
    pub time: Timestamp,
}

/// One file of a study.
pub struct Instance {
    /// SOP instance UID.
    pub uid: String,
    /// The whole file.
    pub bytes: Vec<u8>,
}

/// A UID that nobody else has.
pub fn uid(draw: &mut Draw) -> String {
    format!("2.25.{}", draw.wide())
}

/// The images of series `number` of `study`.
pub fn series(study: &Study<'_>, number: u16, images: u16, draw: &mut Draw) -> Vec<Instance> {
    let series_uid = uid(draw);
    let body = body(study.device.size, draw);
    (1..=images)
        .map(|image| {
            let uid = uid(draw);
            let header = header(study, &series_uid, number, &uid, image);
            let bytes = file(study.device.class, &uid, header, &noisy(&body, draw));
            Instance { uid, bytes }
        })
        .collect()
}

/// Everything of the data set before the pixels, in the order of the tags.
fn header(study: &Study<'_>, series_uid: &str, series: u16, uid: &str, image: u16) -> Elements {
    let Study { device, patient, .. } = study;
    let (columns, rows) = device.size;
    let date = study.time.strftime("%Y%m%d").to_string();
    let time = study.time.strftime("%H%M%S").to_string();
    let mut set = Elements::default();
    set.text(0x0008, 0x0005, b"CS", "ISO_IR 192");
    set.text(0x0008, 0x0008, b"CS", "ORIGINAL\\PRIMARY");
    set.uid(0x0008, 0x0016, device.class);
    set.uid(0x0008, 0x0018, uid);
    set.text(0x0008, 0x0020, b"DA", &date);
    set.text(0x0008, 0x0030, b"TM", &time);
    set.text(0x0008, 0x0050, b"SH", &study.accession);
    set.text(0x0008, 0x0060, b"CS", device.modality);
    set.text(0x0008, 0x0070, b"LO", device.manufacturer);
    set.text(0x0008, 0x0080, b"LO", "Nowhere Clinic (made up)");
    set.text(0x0008, 0x0090, b"PN", study.patient.doctor);
    set.text(0x0008, 0x1010, b"SH", device.station);
    set.text(0x0008, 0x1030, b"LO", &format!("{} {}", device.modality, device.body_part));
    set.text(0x0008, 0x103e, b"LO", &format!("Series {series}"));
    set.text(0x0008, 0x1040, b"LO", "Radiology");
    set.text(0x0008, 0x1090, b"LO", device.model);
    set.text(0x0010, 0x0010, b"PN", &patient.caret_name());
    set.text(0x0010, 0x0020, b"LO", &patient.record);
    set.text(0x0010, 0x0030, b"DA", &patient.birth);
    set.text(0x0010, 0x0040, b"CS", patient.sex);
    set.text(0x0018, 0x0015, b"CS", device.body_part);
    set.text(0x0018, 0x1000, b"LO", device.serial);
    set.text(0x0018, 0x1020, b"LO", device.software);
    set.text(0x0018, 0x1200, b"DA", device.calibrated);
    set.uid(0x0020, 0x000d, &study.uid);
    set.uid(0x0020, 0x000e, series_uid);
    set.text(0x0020, 0x0010, b"SH", &study.accession);
    set.text(0x0020, 0x0011, b"IS", &series.to_string());
    set.text(0x0020, 0x0013, b"IS", &image.to_string());
    set.short(0x0028, 0x0002, 1);
    set.text(0x0028, 0x0004, b"CS", "MONOCHROME2");
    set.short(0x0028, 0x0010, rows);
    set.short(0x0028, 0x0011, columns);
    set.short(0x0028, 0x0100, 16);
    set.short(0x0028, 0x0101, 12);
    set.short(0x0028, 0x0102, 11);
    set.short(0x0028, 0x0103, 0);
    set
}

/// Preamble, magic, meta header, data set.
fn file(class: &str, uid: &str, data_set: Elements, pixels: &[u8]) -> Vec<u8> {
    let mut meta = Elements::default();
    meta.long(0x0002, 0x0001, b"OB", &[0, 1]);
    meta.uid(0x0002, 0x0002, class);
    meta.uid(0x0002, 0x0003, uid);
    meta.uid(0x0002, 0x0010, EXPLICIT_LITTLE_ENDIAN);
    meta.uid(0x0002, 0x0012, IMPLEMENTATION);
    meta.text(0x0002, 0x0013, b"SH", "MADE_UP_CLINIC");
    let mut whole = Elements(vec![0; 128]);
    whole.0.extend_from_slice(b"DICM");
    // The group's length counts what follows it.
    whole.element(0x0002, 0x0000, b"UL", &(meta.0.len() as u32).to_le_bytes());
    whole.0.extend_from_slice(&meta.0);
    whole.0.extend_from_slice(&data_set.0);
    whole.long(0x7fe0, 0x0010, b"OW", pixels);
    whole.0
}

/// Encoded elements. Values are padded to an even length: text with a space, the rest with zero.
#[derive(Default)]
struct Elements(Vec<u8>);

impl Elements {
    fn tag(&mut self, group: u16, element: u16, vr: &[u8; 2]) {
        self.0.extend_from_slice(&group.to_le_bytes());
        self.0.extend_from_slice(&element.to_le_bytes());
        self.0.extend_from_slice(vr);
    }

    /// A value with a length of two bytes; all here are shorter than 64 KiB.
    fn element(&mut self, group: u16, element: u16, vr: &[u8; 2], value: &[u8]) {
        self.tag(group, element, vr);
        self.0.extend_from_slice(&(value.len() as u16).to_le_bytes());
        self.0.extend_from_slice(value);
    }

    /// A value with a length of four bytes, of an even number of bytes.
    fn long(&mut self, group: u16, element: u16, vr: &[u8; 2], value: &[u8]) {
        self.tag(group, element, vr);
        self.0.extend_from_slice(&[0, 0]);
        self.0.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.0.extend_from_slice(value);
    }

    fn padded(&mut self, group: u16, element: u16, vr: &[u8; 2], value: &str, padding: u8) {
        let mut value = value.as_bytes().to_vec();
        if value.len() % 2 == 1 {
            value.push(padding);
        }
        self.element(group, element, vr, &value);
    }

    fn text(&mut self, group: u16, element: u16, vr: &[u8; 2], value: &str) {
        self.padded(group, element, vr, value, b' ');
    }

    fn uid(&mut self, group: u16, element: u16, value: &str) {
        self.padded(group, element, b"UI", value, 0);
    }

    fn short(&mut self, group: u16, element: u16, value: u16) {
        self.element(group, element, b"US", &value.to_le_bytes());
    }
}

/// A bright oval on a dark ground, darker towards its edge: enough to look like something and to
/// compress like an image. Four pixels of sixteen bits stand in each word, the first lowest.
fn body((columns, rows): (u16, u16), draw: &mut Draw) -> Vec<u64> {
    let (columns, rows) = (i32::from(columns), i32::from(rows));
    let width = columns / 4 + draw.below(columns as usize / 6) as i32;
    let height = rows / 4 + draw.below(rows as usize / 6) as i32;
    let mut words = Vec::with_capacity((columns * rows / 4) as usize);
    for row in 0..rows {
        let y = 1000 * (row - rows / 2) / height;
        let mut word = 0;
        for column in 0..columns {
            let x = 1000 * (column - columns / 2) / width;
            let inside = 1_000_000 - x * x - y * y;
            let value = 40 + (inside.max(0) / 300) as u64;
            word |= value << (16 * (column % 4));
            if column % 4 == 3 {
                words.push(word);
                word = 0;
            }
        }
    }
    words
}

/// The pixels of one image, twelve bits in two bytes each, with a noise of four bits.
fn noisy(body: &[u64], draw: &mut Draw) -> Vec<u8> {
    let mut pixels = vec![0; 8 * body.len()];
    draw.fill(&mut pixels);
    let (words, _) = pixels.as_chunks_mut::<8>();
    for (pixels, body) in words.iter_mut().zip(body) {
        // No pixel of a body comes near 2^16, so no sum runs into the next pixel.
        let noise = u64::from_le_bytes(*pixels) & 0x000f_000f_000f_000f;
        *pixels = (body + noise).to_le_bytes();
    }
    pixels
}
