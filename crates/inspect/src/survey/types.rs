//! Files and bytes by type.

use std::collections::BTreeMap;

use crate::kind::FileType;

/// One type's share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeRow {
    /// The type.
    pub file_type: FileType,
    /// Files of it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Types(BTreeMap<FileType, (u64, u64)>);

impl Types {
    pub fn add(&mut self, file_type: FileType, size: u64) {
        let (files, bytes) = self.0.entry(file_type).or_default();
        *files += 1;
        *bytes = bytes.saturating_add(size);
    }

    pub fn merge(&mut self, other: Self) {
        for (file_type, (more, size)) in other.0 {
            let (files, bytes) = self.0.entry(file_type).or_default();
            *files += more;
            *bytes = bytes.saturating_add(size);
        }
    }

    pub fn rows(&self) -> Vec<TypeRow> {
        let row = |(&file_type, &(files, bytes)): (&FileType, &(u64, u64))| TypeRow {
            file_type,
            files,
            bytes,
        };
        let mut rows: Vec<_> = self.0.iter().map(row).collect();
        rows.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.file_type.cmp(&b.file_type)));
        rows
    }
}
