//! One file, from its first bytes to what is known of it.
//!
//! ```text
//! first 4 KiB → numbers at fixed places | DICOM | text → type
//!               more of it only where the type asks for it: a header, a text, an archive's members
//! ```

use std::{collections::BTreeMap, io};

use drover_types::clock;

use crate::{
    archive::{self, ArchiveLimits},
    content::{Content, Reader},
    dicom::{self, DicomDirectory, DicomHeader},
    entropy::{Entropy, entropy},
    hl7::{MessageReader, Messages},
    key::HashKey,
    kind::{Class, FileType},
    magic,
    phi::{PhiCounts, PhiKind, TextScanner, counting},
    ransom::Signs,
    text::{self, Encoding, Transcoder},
};

/// Bytes of a file that are read first; they are enough for its type and for most headers.
const HEAD: usize = 4096;
/// Bytes of a text that are read at a time.
const PIECE: usize = 64 << 10;
/// Places of a longer text that are looked at, beside its beginning.
const SAMPLES: u64 = 32;
/// Where the sign of an ISO 9660 image is.
const ISO_SIGN: u64 = 32769;

/// What is looked for, and how far.
#[derive(Clone, Debug)]
pub struct InspectOptions {
    /// The key of all hashes; the same for all inspectors whose results are put together.
    pub key: HashKey,
    /// Whether to look for patients' data and for HL7's messages: in texts, headers and archives.
    pub classify: bool,
    /// Bytes of one text that are looked through. Of a longer one its first half, and the rest in 32
    /// pieces spread evenly; it counts as seen partly then.
    pub text_limit: u64,
    /// How far archives are looked into; a depth of 0 is not at all.
    pub archives: ArchiveLimits,
    /// Whether ISO images are looked into as well.
    pub iso: bool,
}

impl InspectOptions {
    /// All of it but ISO images, within the usual limits: 16 MiB of a text, and of archives what
    /// [`ArchiveLimits::default`] says.
    pub fn new(key: HashKey) -> Self {
        let archives = ArchiveLimits::default();
        Self { key, classify: true, text_limit: 16 << 20, archives, iso: false }
    }
}

/// What protects a file's content from being read, or claims to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Encrypted by design, or unknown bytes that cannot be told from random ones (by somebody's
    /// encryption of files, such as EFS, for example).
    Encrypted,
    /// Bytes that cannot be told from random ones, under a name that promises a format.
    NotAsNamed,
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

/// What is in an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveContents {
    /// Members that were looked into, those of archives within it among them.
    pub members: u64,
    /// Of which types they are.
    pub types: BTreeMap<FileType, u64>,
}

/// What is known of one file. Nothing in it is a value of a patient.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    /// What it is.
    pub file_type: FileType,
    /// Of text: how it is written.
    pub encoding: Option<Encoding>,
    /// Of bytes that no format explains: how random they look.
    pub entropy: Option<Entropy>,
    /// Whether it is encrypted, and by whom.
    pub protection: Option<Protection>,
    /// Of DICOM objects: their header.
    pub dicom: Option<Box<DicomHeader>>,
    /// Of a DICOMDIR: what it lists.
    pub directory: Option<Box<DicomDirectory>>,
    /// Of HL7 v2: who sends what to whom.
    pub messages: Option<Box<Messages>>,
    /// Of archives that were looked into: what is in them.
    pub archive: Option<Box<ArchiveContents>>,
    /// Patients' data by kind, that in members among them.
    pub phi: PhiCounts,
    /// Bytes of text that were looked through, unpacked and in UTF-8.
    pub scanned: u64,
    /// Not looked through to its end, because of a limit or because a member could not be read.
    pub partly: bool,
    /// Bytes that were read of it.
    pub read: u64,
}

impl Inspection {
    fn of(file_type: FileType) -> Self {
        Self {
            file_type,
            encoding: None,
            entropy: None,
            protection: None,
            dicom: None,
            directory: None,
            messages: None,
            archive: None,
            phi: PhiCounts::default(),
            scanned: 0,
            partly: false,
            read: 0,
        }
    }
}

/// Looks into files, one after the other. One for each thread: it keeps its buffers.
#[derive(Debug)]
pub struct Inspector {
    judge: Judge,
    scratch: Scratch,
}

impl Clone for Inspector {
    fn clone(&self) -> Self {
        Self { judge: self.judge.clone(), scratch: Scratch::new(self.judge.now) }
    }
}

/// What does not change from file to file.
#[derive(Clone, Debug)]
struct Judge {
    options: InspectOptions,
    signs: Signs,
    /// This year.
    now: u32,
}

/// Memory that is used again.
#[derive(Debug)]
struct Scratch {
    head: Vec<u8>,
    piece: Vec<u8>,
    plain: Vec<u8>,
    scanner: TextScanner,
}

impl Scratch {
    fn new(now: u32) -> Self {
        Self {
            head: Vec::new(),
            piece: Vec::new(),
            plain: Vec::new(),
            scanner: TextScanner::new(now),
        }
    }
}

/// A name in lower case, and where what follows its last dot begins.
fn lowered(name: &[u8]) -> (Vec<u8>, usize) {
    let lower = name.to_ascii_lowercase();
    let dot = lower.iter().rposition(|&b| b == b'.').map_or(lower.len(), |dot| dot + 1);
    (lower, dot)
}

impl Inspector {
    /// With these options.
    pub fn new(options: InspectOptions) -> Self {
        // Of a year 365.2425 days.
        let year = 1970 + clock::now().seconds.max(0) / 31_556_952;
        let now = u32::try_from(year).unwrap_or(2199);
        let judge = Judge { options, signs: Signs::built_in(), now };
        Self { judge, scratch: Scratch::new(now) }
    }

    /// Looks into the file called `name` (its last component). The error is that of a read; what is in
    /// a file is never one.
    pub fn inspect(&mut self, name: &[u8], content: &mut dyn Content) -> io::Result<Inspection> {
        let mut limits = self.judge.options.archives;
        self.judge.look(name, &mut Reader::new(content), &mut self.scratch, &mut limits)
    }
}

impl Judge {
    fn look(
        &self,
        name: &[u8],
        reader: &mut Reader<'_>,
        scratch: &mut Scratch,
        limits: &mut ArchiveLimits,
    ) -> io::Result<Inspection> {
        let (lower, dot) = lowered(name);
        let mut head = std::mem::take(&mut scratch.head);
        head.clear();
        let mut found = Inspection::of(FileType::EMPTY);
        if reader.size() > 0 {
            reader.grow(&mut head, HEAD)?;
        }
        if !head.is_empty() {
            self.file_type(&lower, &lower[dot..], reader, &mut head, &mut found)?;
            self.content(&lower, reader, &head, scratch, limits, &mut found)?;
        }
        if found.file_type.class == Class::Encrypted && found.protection.is_none() {
            found.protection = Some(Protection::Encrypted);
        }
        if let Some(family) = self.signs.note(&lower) {
            found.protection = Some(Protection::RansomNote { family });
        }
        found.read = reader.read;
        // A long header's memory is not kept for the next file.
        head.clear();
        head.shrink_to(HEAD);
        scratch.head = head;
        Ok(found)
    }

    fn file_type(
        &self,
        lower: &[u8],
        extension: &[u8],
        reader: &mut Reader<'_>,
        head: &mut Vec<u8>,
        found: &mut Inspection,
    ) -> io::Result<()> {
        if dicom::is_directory(head) {
            found.file_type = FileType::DICOMDIR;
            found.directory = Some(Box::new(dicom::read_directory(reader, head)?));
        } else if dicom::looks_like(head) {
            let header = dicom::read(reader, head, &self.options.key)?;
            found.file_type = FileType::DICOM;
            if self.options.classify {
                dicom_values(&header, &mut found.phi);
            }
            found.dicom = Some(Box::new(header));
        } else if let Some(file_type) = magic::binary(head, lower, extension) {
            found.file_type = file_type;
        } else if let Some(encoding) = text::detect(head, (head.len() as u64) < reader.size()) {
            found.encoding = Some(encoding);
            found.file_type = match Transcoder::new(encoding) {
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
        let zeros = head.iter().all(|&b| b == 0);
        if !reader.is_sequential() && (zeros || matches!(extension, b"iso" | b"img")) {
            let mut sign = [0; 5];
            if reader.fill(ISO_SIGN, &mut sign)? == 5 && matches!(&sign, b"CD001" | b"BEA01") {
                return Ok(FileType::ISO);
            }
        }
        if let Some(file_type) = magic::by_name(lower, extension) {
            return Ok(file_type);
        }
        if zeros {
            return Ok(FileType::ZEROS);
        }
        found.entropy = entropy(head);
        if !found.entropy.is_some_and(|e| e.random) {
            return Ok(FileType::UNKNOWN);
        }
        // Some encrypt the beginning only, which is quick.
        if let Some(family) = self.signs.extension(lower) {
            found.protection = Some(Protection::Ransomed { family });
            return Ok(FileType::RANDOM);
        }
        let size = reader.size();
        if size > 4 * HEAD as u64 && !reader.is_sequential() {
            let mut middle = [0; HEAD];
            let came = reader.fill(size / 2, &mut middle)?;
            if !entropy(&middle[..came]).is_some_and(|e| e.random) {
                return Ok(FileType::UNKNOWN);
            }
        }
        if magic::promises_format(extension) {
            found.protection = Some(Protection::NotAsNamed);
        }
        Ok(FileType::RANDOM)
    }

    /// Looks through what is text or holds files.
    fn content(
        &self,
        lower: &[u8],
        reader: &mut Reader<'_>,
        head: &[u8],
        scratch: &mut Scratch,
        limits: &mut ArchiveLimits,
        found: &mut Inspection,
    ) -> io::Result<()> {
        if !self.options.classify {
            return Ok(());
        }
        if let Some(encoding) = found.encoding.filter(|_| found.file_type.is_text()) {
            return self.text(encoding, reader, head, scratch, found);
        }
        let archive = archive::is_archive(found.file_type)
            || found.file_type == FileType::ISO && self.options.iso;
        if archive && limits.depth > 0 {
            return self.archive(lower, reader, limits, found);
        }
        found.partly |= archive && limits.depth == 0 && self.options.archives.depth > 0;
        Ok(())
    }

    fn archive(
        &self,
        lower: &[u8],
        reader: &mut Reader<'_>,
        limits: &mut ArchiveLimits,
        found: &mut Inspection,
    ) -> io::Result<()> {
        let mut contents = ArchiveContents::default();
        let mut scratch = Scratch::new(self.now);
        let (phi, partly, scanned) = (&mut found.phi, &mut found.partly, &mut found.scanned);
        limits.depth -= 1;
        let whole = archive::members(
            found.file_type,
            lower,
            reader,
            limits,
            &mut |name, member, limits| {
                let inner = self.look(name, &mut Reader::new(member), &mut scratch, limits)?;
                contents.members += 1;
                *contents.types.entry(inner.file_type).or_default() += 1;
                if let Some(deeper) = inner.archive {
                    contents.members += deeper.members;
                    for (file_type, count) in deeper.types {
                        *contents.types.entry(file_type).or_default() += count;
                    }
                }
                phi.merge(&inner.phi);
                *partly |= inner.partly;
                *scanned += inner.scanned;
                Ok(())
            },
        )?;
        limits.depth += 1;
        found.partly |= !whole;
        found.archive = Some(Box::new(contents));
        Ok(())
    }

    /// Reads a text, or samples it where it is too long.
    fn text(
        &self,
        encoding: Encoding,
        reader: &mut Reader<'_>,
        head: &[u8],
        scratch: &mut Scratch,
        found: &mut Inspection,
    ) -> io::Result<()> {
        let (size, limit) = (reader.size(), self.options.text_limit);
        let sampled = size > limit && !reader.is_sequential();
        let first = if sampled { limit / 2 } else { limit };
        let mut reading = Reading {
            key: &self.options.key,
            transcoder: Transcoder::new(encoding),
            messages: (found.file_type == FileType::HL7).then(MessageReader::default),
            plain: &mut scratch.plain,
            scanner: &mut scratch.scanner,
            phi: &mut found.phi,
            scanned: 0,
        };
        reading.scanner.reset();
        reading.take(head);
        scratch.piece.resize(PIECE, 0);
        let mut at = head.len() as u64;
        let mut ended = at >= size;
        while !ended && at < first {
            let came = reader.fill(at, &mut scratch.piece)?;
            reading.take(&scratch.piece[..came]);
            at += came as u64;
            ended = came < scratch.piece.len();
        }
        if sampled && !ended {
            // Messages that are cut are none: only the beginning counts for them.
            found.messages = reading.messages.take().map(|m| Box::new(m.finish(&self.options.key)));
            let length = (limit / 2 / SAMPLES).max(PIECE as u64);
            let stride = (size - at) / SAMPLES;
            for number in 1..=SAMPLES {
                // The last one is the end. Characters of UTF-16 are two bytes.
                let end = if number == SAMPLES { size } else { at + stride * number };
                let mut from = end.saturating_sub(length).max(at) & !1;
                let mut first = true;
                while from < end {
                    let want = usize::try_from(end - from).unwrap_or(PIECE).min(PIECE);
                    let came = reader.fill(from, &mut scratch.piece[..want])?;
                    if came == 0 {
                        break;
                    }
                    from += came as u64;
                    let piece = &scratch.piece[..came];
                    let mut skip = 0;
                    if std::mem::take(&mut first) {
                        // The line in whose midst it begins is left out, unless it is a long one.
                        let line = memchr::memchr2(b'\n', b'\r', piece);
                        let line = line.filter(|_| reading.transcoder.is_none());
                        skip = line.map_or(0, |line| line + 1);
                        reading.skip(encoding, line.is_none());
                    }
                    reading.take(&piece[skip..]);
                }
            }
        }
        reading.finish();
        found.scanned = reading.scanned;
        if let Some(messages) = reading.messages {
            found.messages = Some(Box::new(messages.finish(&self.options.key)));
        }
        // A member whose end was not met has the limit's length.
        found.partly |= sampled || (!ended && reader.size() > at);
        Ok(())
    }
}

/// A text on its way to those who look at it.
struct Reading<'a> {
    key: &'a HashKey,
    transcoder: Option<Transcoder>,
    messages: Option<MessageReader>,
    plain: &'a mut Vec<u8>,
    scanner: &'a mut TextScanner,
    phi: &'a mut PhiCounts,
    scanned: u64,
}

impl Reading<'_> {
    fn take(&mut self, piece: &[u8]) {
        let text = match &mut self.transcoder {
            Some(transcoder) => {
                self.plain.clear();
                transcoder.feed(piece, self.plain);
                self.plain.as_slice()
            }
            None => piece,
        };
        self.scanned += text.len() as u64;
        if let Some(messages) = &mut self.messages {
            messages.feed(text, self.key);
        }
        self.scanner.feed(text, &mut counting(self.phi));
    }

    /// What comes next stands elsewhere, `within` a line or at the beginning of one.
    fn skip(&mut self, encoding: Encoding, within: bool) {
        self.transcoder = Transcoder::new(encoding);
        self.scanner.skip(within, &mut counting(self.phi));
    }

    fn finish(&mut self) {
        self.scanner.finish(&mut counting(self.phi));
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
