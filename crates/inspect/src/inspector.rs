//! One file, from its first bytes to what is known of it.
//!
//! ```text
//! first 4 KiB → numbers at fixed places | DICOM | text → type
//!               more of it only where the type asks for it: a header, a text
//! ```

use std::io;

use crate::{
    content::{Content, Reader},
    dicom::{self, DicomHeader},
    entropy::{Entropy, entropy},
    key::HashKey,
    kind::FileType,
    magic,
    phi::{PhiCounts, PhiKind},
    ransom::Signs,
    text,
};

/// Bytes of a file that are read first; they are enough for its type and for most headers.
const HEAD: usize = 4096;
/// Where the sign of an ISO 9660 image is.
const ISO_SIGN: u64 = 32769;

/// What is looked for, and how far.
#[derive(Clone, Debug)]
pub struct InspectOptions {
    /// The key of all hashes; the same for all inspectors whose results are put together.
    pub key: HashKey,
    /// Whether to count patients' data. So far in headers of DICOM objects.
    pub classify: bool,
}

impl InspectOptions {
    /// All of it, within the usual limits.
    pub fn new(key: HashKey) -> Self {
        Self { key, classify: true }
    }
}

/// What protects a file's content from being read, or claims to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Encrypted by design, or unknown bytes that cannot be told from random ones (by somebody's
    /// encryption of files, such as EFS, for example).
    Encrypted,
    /// Bytes that cannot be told from random ones, under a name that ransomware gives.
    Ransomed {
        /// Whose name it is.
        family: &'static str,
    },
    /// The name of a note that ransomware leaves.
    RansomNote {
        /// Whose note it is.
        family: &'static str,
    },
}

/// What is known of one file. Nothing in it is a value of a patient.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    /// What it is.
    pub file_type: FileType,
    /// Of text: how it is written.
    pub encoding: Option<text::Encoding>,
    /// Of bytes that no format explains: how random they look.
    pub entropy: Option<Entropy>,
    /// Whether it is encrypted, and by whom.
    pub protection: Option<Protection>,
    /// Of DICOM objects: their header.
    pub dicom: Option<Box<DicomHeader>>,
    /// Patients' data by kind.
    pub phi: PhiCounts,
    /// Not looked through to its end, because of a limit.
    pub partly: bool,
    /// Bytes that were read of it.
    pub read: u64,
}

/// Looks into files, one after the other. One for each thread: it keeps its buffers.
#[derive(Clone, Debug)]
pub struct Inspector {
    options: InspectOptions,
    signs: Signs,
    head: Vec<u8>,
}

/// A name in lower case, and what follows its last dot.
fn parts(name: &[u8]) -> (Vec<u8>, usize) {
    let lower = name.to_ascii_lowercase();
    let dot = lower.iter().rposition(|&b| b == b'.').map_or(lower.len(), |dot| dot + 1);
    (lower, dot)
}

impl Inspector {
    /// With these options.
    pub fn new(options: InspectOptions) -> Self {
        Self { options, signs: Signs::built_in(), head: Vec::with_capacity(HEAD) }
    }

    /// Looks into the file called `name` (its last component). The error is that of a read; what is in
    /// a file is never one.
    pub fn inspect(&mut self, name: &[u8], content: &mut dyn Content) -> io::Result<Inspection> {
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        let result = self.look(name, &mut Reader::new(content), &mut head);
        // A long header's memory is not kept for the next file.
        head.shrink_to(HEAD);
        self.head = head;
        result
    }

    fn look(
        &self,
        name: &[u8],
        reader: &mut Reader<'_>,
        head: &mut Vec<u8>,
    ) -> io::Result<Inspection> {
        let (lower, dot) = parts(name);
        let extension = &lower[dot..];
        let mut found = Inspection {
            file_type: FileType::EMPTY,
            encoding: None,
            entropy: None,
            protection: None,
            dicom: None,
            phi: PhiCounts::default(),
            partly: false,
            read: 0,
        };
        if reader.size() > 0 {
            reader.grow(head, HEAD)?;
        }
        if !head.is_empty() {
            self.judge(&lower, extension, reader, head, &mut found)?;
        }
        if let Some(family) = self.signs.note(&lower) {
            found.protection = Some(Protection::RansomNote { family });
        }
        found.read = reader.read;
        Ok(found)
    }

    fn judge(
        &self,
        lower: &[u8],
        extension: &[u8],
        reader: &mut Reader<'_>,
        head: &mut Vec<u8>,
        found: &mut Inspection,
    ) -> io::Result<()> {
        if dicom::looks_like(head) {
            let header = dicom::read(reader, head, &self.options.key)?;
            found.file_type = FileType::DICOM;
            if self.options.classify {
                dicom_values(&header, &mut found.phi);
            }
            found.dicom = Some(Box::new(header));
            return Ok(());
        }
        if let Some(file_type) = magic::binary(head, lower, extension) {
            found.file_type = file_type;
        } else if let Some(encoding) = text::detect(head, (head.len() as u64) < reader.size()) {
            found.encoding = Some(encoding);
            found.file_type = match text::Transcoder::new(encoding) {
                Some(mut transcoder) => {
                    let mut plain = Vec::with_capacity(head.len());
                    transcoder.feed(head, &mut plain);
                    text::sort(&plain, extension)
                }
                None => text::sort(head, extension),
            };
        } else {
            found.file_type = self.unknown(lower, extension, reader, head, found)?;
        }
        if found.file_type.class == crate::kind::Class::Encrypted && found.protection.is_none() {
            found.protection = Some(Protection::Encrypted);
        }
        Ok(())
    }

    /// Bytes that show no format: by a sign further in, by name, by how random they look.
    fn unknown(
        &self,
        lower: &[u8],
        extension: &[u8],
        reader: &mut Reader<'_>,
        head: &[u8],
        found: &mut Inspection,
    ) -> io::Result<FileType> {
        if reader.size() > ISO_SIGN + 5 && head.iter().take(512).all(|&b| b == 0)
            || matches!(extension, b"iso" | b"img")
        {
            let mut sign = [0; 5];
            if reader.fill(ISO_SIGN, &mut sign)? == 5 && (&sign == b"CD001" || &sign == b"BEA01") {
                return Ok(FileType::ISO);
            }
        }
        if let Some(file_type) = magic::by_name(lower, extension) {
            return Ok(file_type);
        }
        // The middle is judged as well: what is random only in front is no ciphertext, but it may
        // well have been encrypted in front only, which is quick.
        found.entropy = entropy(head);
        if head.iter().all(|&b| b == 0) {
            return Ok(FileType::ZEROS);
        }
        if !found.entropy.is_some_and(|e| e.random) {
            return Ok(FileType::UNKNOWN);
        }
        if let Some(family) = self.signs.extension(lower) {
            found.protection = Some(Protection::Ransomed { family });
            return Ok(FileType::RANDOM);
        }
        let size = reader.size();
        if size > 4 * HEAD as u64 {
            let mut middle = [0; HEAD];
            let came = reader.fill(size / 2, &mut middle)?;
            if !entropy(&middle[..came]).is_some_and(|e| e.random) {
                return Ok(FileType::UNKNOWN);
            }
        }
        Ok(FileType::RANDOM)
    }
}

/// What a header says of its patient, counted as a text's values are.
fn dicom_values(header: &DicomHeader, phi: &mut PhiCounts) {
    let identifies = header.identifies;
    let values = [
        (identifies.record_number, PhiKind::RecordNumber, "(0010,0020)"),
        (identifies.birth_date, PhiKind::BirthDate, "dddddddd"),
        (identifies.phone, PhiKind::Phone, "(0010,2154)"),
    ];
    for (_, kind, shape) in values.into_iter().filter(|&(is, ..)| is) {
        phi.add_shaped(kind, shape);
    }
}
