//! Files within files: zip (office documents among them), gzip, tar, and ISO 9660 on request.
//!
//! Members come out one after the other as [`Content`], inflated only as far as somebody reads on. How
//! many there are, how deep they lie and how many bytes come out of them has bounds for the whole of an
//! outer file, so that a few kilobytes that stand for terabytes cost no more than these.

mod inflate;
mod iso;
mod tar;
mod zip;

use std::io;

use crate::{
    content::{Content, Reader},
    kind::FileType,
};

pub(crate) use inflate::Inflated;

/// What is left of the bounds of one outer file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Archives within archives: 1 looks into the outermost only.
    pub depth: u32,
    /// Members, of all archives together.
    pub entries: u64,
    /// Bytes that are unpacked, of all members together.
    pub bytes: u64,
}

impl Default for ArchiveLimits {
    /// Three deep, 2,000 members, 64 MiB.
    fn default() -> Self {
        Self { depth: 3, entries: 2000, bytes: 64 << 20 }
    }
}

/// Receives a member: its name, its bytes, and what is left of the bounds.
pub(crate) type Visit<'a> =
    dyn FnMut(&[u8], &mut dyn Content, &mut ArchiveLimits) -> io::Result<()> + 'a;

/// Goes through the members of an archive of this type; whether all of them were seen.
pub(crate) fn members(
    file_type: FileType,
    name: &[u8],
    reader: &mut Reader<'_>,
    limits: &mut ArchiveLimits,
    visit: &mut Visit<'_>,
) -> io::Result<bool> {
    match file_type {
        FileType::GZIP => {
            let inner = name.strip_suffix(b".gz").unwrap_or(name);
            // `.tgz` stands for `.tar.gz`.
            let inner =
                inner.strip_suffix(b".tgz").map_or(inner.to_vec(), |stem| [stem, b".tar"].concat());
            inflate::gzip(&inner, reader, limits, visit)
        }
        FileType::TAR => tar::members(reader, limits, visit),
        FileType::ISO => iso::members(reader, limits, visit),
        _ => zip::members(reader, limits, visit),
    }
}

/// Whether this is an archive that can be gone through.
pub(crate) fn is_archive(file_type: FileType) -> bool {
    matches!(
        file_type,
        FileType::ZIP
            | FileType::DOCX
            | FileType::XLSX
            | FileType::PPTX
            | FileType::ODF
            | FileType::EPUB
            | FileType::GZIP
            | FileType::TAR
    )
}

/// A stretch of an archive, as a file of its own.
pub(crate) struct Stretch<'a, 'b> {
    pub reader: &'a mut Reader<'b>,
    pub offset: u64,
    pub len: u64,
}

impl Content for Stretch<'_, '_> {
    fn size(&self) -> u64 {
        self.len
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.len.saturating_sub(offset);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let from = self.offset.saturating_add(offset);
        self.reader.fill(from, &mut buffer[..len])
    }
}
