//! Files to inspect: DICOM objects made element by element, in every syntax, well and badly.

#![allow(clippy::unwrap_used, reason = "what is not there is a failure")]
#![allow(dead_code, reason = "each test uses some of it")]

use drover_inspect::{HashKey, InspectOptions, Inspection, Inspector};

/// With a fixed key.
pub fn inspector() -> Inspector {
    Inspector::new(InspectOptions::new(HashKey::new([7; 32])))
}

/// One file in memory.
pub fn inspect(name: &str, content: &[u8]) -> Inspection {
    let mut content = content;
    inspector().inspect(name.as_bytes(), &mut content).expect("memory can be read")
}

/// How a data set is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    Implicit,
    Explicit,
    Big,
}

impl Writing {
    pub fn uid(self) -> &'static str {
        match self {
            Writing::Implicit => "1.2.840.10008.1.2",
            Writing::Explicit => "1.2.840.10008.1.2.1",
            Writing::Big => "1.2.840.10008.1.2.2",
        }
    }
}

/// Elements one behind the other.
#[derive(Clone)]
pub struct DataSet {
    pub writing: Writing,
    pub bytes: Vec<u8>,
}

impl DataSet {
    pub fn new(writing: Writing) -> Self {
        Self { writing, bytes: Vec::new() }
    }

    fn u16(&mut self, value: u16) {
        match self.writing {
            Writing::Big => self.bytes.extend(value.to_be_bytes()),
            _ => self.bytes.extend(value.to_le_bytes()),
        }
    }

    fn u32(&mut self, value: u32) {
        match self.writing {
            Writing::Big => self.bytes.extend(value.to_be_bytes()),
            _ => self.bytes.extend(value.to_le_bytes()),
        }
    }

    /// The front of an element.
    pub fn front(&mut self, tag: (u16, u16), vr: &str, length: u32) -> &mut Self {
        self.u16(tag.0);
        self.u16(tag.1);
        if self.writing == Writing::Implicit || tag.0 == 0xfffe {
            self.u32(length);
        } else {
            self.bytes.extend(vr.as_bytes());
            if ["OB", "OW", "SQ", "UN", "UT"].contains(&vr) {
                self.bytes.extend([0, 0]);
                self.u32(length);
            } else {
                self.u16(length as u16);
            }
        }
        self
    }

    /// An element, padded to even length.
    pub fn element(&mut self, tag: (u16, u16), vr: &str, value: &[u8]) -> &mut Self {
        let mut value = value.to_vec();
        if value.len() % 2 == 1 {
            value.push(if vr == "UI" { 0 } else { b' ' });
        }
        self.front(tag, vr, value.len() as u32);
        self.bytes.extend(value);
        self
    }

    pub fn number(&mut self, tag: (u16, u16), value: u16) -> &mut Self {
        self.front(tag, "US", 2);
        self.u16(value);
        self
    }
}

/// The values of an object that tests change.
#[derive(Clone)]
pub struct Object {
    pub charset: &'static str,
    pub instance: String,
    pub study: String,
    pub series: String,
    pub study_date: &'static str,
    pub modality: &'static str,
    pub manufacturer: Vec<u8>,
    pub institution: Vec<u8>,
    pub station: &'static str,
    pub model: &'static str,
    pub serial: &'static str,
    pub software: &'static str,
    pub patient: &'static str,
    pub pixels: Option<Vec<u8>>,
}

impl Default for Object {
    fn default() -> Self {
        Self {
            charset: "ISO_IR 100",
            instance: "1.2.3.4.5".into(),
            study: "1.2.3".into(),
            series: "1.2.3.4".into(),
            study_date: "20210304",
            modality: "CT",
            manufacturer: b"ACME Imaging".to_vec(),
            institution: b"Universit\xe4t".to_vec(),
            station: "CT01",
            model: "Scanner 3000",
            serial: "SN-4711",
            software: "V1.0\\B12",
            patient: "PID-0815",
            pixels: Some((0..8192u32).map(|n| (n * 7 + n / 13) as u8).collect()),
        }
    }
}

impl Object {
    /// Its data set, with private elements and sequences as real ones have.
    pub fn data_set(&self, writing: Writing) -> DataSet {
        let mut set = DataSet::new(writing);
        set.element((8, 5), "CS", self.charset.as_bytes())
            .element((8, 0x16), "UI", b"1.2.840.10008.5.1.4.1.1.2")
            .element((8, 0x18), "UI", self.instance.as_bytes())
            .element((8, 0x20), "DA", self.study_date.as_bytes())
            .element((8, 0x23), "DA", b"20210305")
            .element((8, 0x60), "CS", self.modality.as_bytes())
            .element((8, 0x70), "LO", &self.manufacturer)
            .element((8, 0x80), "LO", &self.institution)
            .element((8, 0x1010), "SH", self.station.as_bytes())
            .element((8, 0x1040), "LO", b"Radiology")
            .element((8, 0x1090), "LO", self.model.as_bytes());
        // A sequence of undefined length, with an item of undefined length and one of a known one.
        set.front((8, 0x1140), "SQ", u32::MAX)
            .front((0xfffe, 0xe000), "", u32::MAX)
            .element((8, 0x1150), "UI", b"1.2.3.4")
            .front((0xfffe, 0xe00d), "", 0)
            .front((0xfffe, 0xe000), "", 0)
            .front((0xfffe, 0xe0dd), "", 0);
        set.element((9, 0x10), "LO", b"ACME PRIVATE")
            .element((9, 0x1001), "UN", &[0xde, 0xad, 0xbe, 0xef])
            .element((0x10, 0x10), "PN", b"Doe^Jane")
            .element((0x10, 0x20), "LO", self.patient.as_bytes())
            .element((0x10, 0x30), "DA", b"19800102")
            .element((0x18, 0x1000), "LO", self.serial.as_bytes())
            .element((0x18, 0x1020), "LO", self.software.as_bytes())
            .element((0x18, 0x1200), "DA", b"20200101\\20201231");
        let mut item = DataSet::new(writing);
        item.element((8, 0x70), "LO", b"Gateway GmbH").element((8, 0x1090), "LO", b"Router 9");
        set.front((0x18, 0xa001), "SQ", item.bytes.len() as u32 + 8).front(
            (0xfffe, 0xe000),
            "",
            item.bytes.len() as u32,
        );
        set.bytes.extend(item.bytes);
        set.element((0x20, 0xd), "UI", self.study.as_bytes())
            .element((0x20, 0xe), "UI", self.series.as_bytes())
            .number((0x28, 0x10), 64)
            .number((0x28, 0x11), 64);
        if let Some(pixels) = &self.pixels {
            set.element((0x7fe0, 0x10), "OW", pixels);
        }
        set
    }

    /// A whole file, as the standard has it.
    pub fn file(&self, writing: Writing) -> Vec<u8> {
        with_meta(writing.uid(), &self.data_set(writing).bytes)
    }

    /// A whole file whose data set is deflated.
    pub fn deflated(&self) -> Vec<u8> {
        use std::io::Read;
        let bytes = self.data_set(Writing::Explicit).bytes;
        let mut packed = Vec::new();
        let level = flate2::Compression::new(6);
        flate2::read::DeflateEncoder::new(&bytes[..], level).read_to_end(&mut packed).unwrap();
        with_meta("1.2.840.10008.1.2.1.99", &packed)
    }
}

/// Preamble and meta header before a data set.
pub fn with_meta(syntax: &str, data_set: &[u8]) -> Vec<u8> {
    let mut meta = DataSet::new(Writing::Explicit);
    meta.element((2, 1), "OB", &[0, 1])
        .element((2, 2), "UI", b"1.2.840.10008.5.1.4.1.1.2")
        .element((2, 3), "UI", b"1.2.3.4.5")
        .element((2, 0x10), "UI", syntax.as_bytes());
    let mut file = vec![0; 128];
    file.extend(b"DICM");
    file.extend(meta.bytes);
    file.extend(data_set);
    file
}
