//! `DICOMDIR`: the list of a disc's objects (PS3.3, annex F), to compare with what is there.

use std::io;

use drover_types::RelativePath;

use super::{
    header::{DicomHeader, meta},
    parse::{UNDEFINED, element, items},
};
use crate::content::Reader;

/// Bytes of a directory that are read.
const LONGEST: usize = 16 << 20;
/// Records that are read.
const RECORDS: usize = 200_000;

/// What a DICOMDIR lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DicomDirectory {
    /// Files it names, relative to its own directory, as it writes them: in capitals, mostly.
    pub files: Vec<RelativePath>,
    /// Records of patients.
    pub patients: u64,
    /// Records of studies.
    pub studies: u64,
    /// Records of series.
    pub series: u64,
    /// Whether all of it was read.
    pub whole: bool,
}

impl DicomDirectory {
    /// How many of its files are not among those that `exists` knows. Discs are copied with names in
    /// small letters, so `exists` has to compare without case.
    pub fn missing(&self, mut exists: impl FnMut(&RelativePath) -> bool) -> u64 {
        self.files.iter().filter(|file| !exists(file)).count() as u64
    }
}

/// Whether the beginning of a file says that it is a DICOMDIR.
pub(crate) fn is_directory(head: &[u8]) -> bool {
    let mut header = DicomHeader::default();
    head.get(128..132) == Some(b"DICM") && {
        // A meta header that is cut off has named its class by then.
        let _ = meta(head, 132, &mut header);
        header.sop_class == "1.2.840.10008.1.3.10"
    }
}

/// Reads the records.
pub(crate) fn read_directory(
    reader: &mut Reader<'_>,
    head: &mut Vec<u8>,
) -> io::Result<DicomDirectory> {
    let more = reader.grow(head, LONGEST)?;
    let mut found = DicomDirectory::default();
    let mut header = DicomHeader::default();
    let Ok(start) = meta(head, 132, &mut header) else { return Ok(found) };
    let (mut at, syntax) = (start.at, start.syntax);
    while let Ok(next) = element(head, at, syntax) {
        if next.tag == (0x0004, 0x1220) {
            let records = items(head, &next, syntax, RECORDS);
            found.whole = !more && records.len() < RECORDS;
            for (from, to) in records {
                record(&head[..to], from, syntax, &mut found);
            }
            break;
        }
        let Ok(end) = next.end(head, syntax) else { break };
        at = end;
    }
    Ok(found)
}

fn record(data: &[u8], mut at: usize, syntax: super::parse::Syntax, found: &mut DicomDirectory) {
    while let Ok(next) = element(data, at, syntax) {
        if let Some(value) = next.value(data).filter(|_| next.length != UNDEFINED) {
            match next.tag {
                (0x0004, 0x1430) => match value.trim_ascii() {
                    b"PATIENT" => found.patients += 1,
                    b"STUDY" => found.studies += 1,
                    b"SERIES" => found.series += 1,
                    _ => {}
                },
                (0x0004, 0x1500) => {
                    let parts = value.split(|&b| b == b'\\').map(|part| part.trim_ascii());
                    let path =
                        parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(&b'/');
                    // One that leads elsewhere is no path.
                    found.files.extend(RelativePath::new(path).ok().filter(|path| !path.is_root()));
                }
                // The rest of a record is about whom it is of.
                tag if tag.0 > 0x0004 => return,
                _ => {}
            }
        }
        let Ok(end) = next.end(data, syntax) else { return };
        at = end;
    }
}
