//! Many inspections taken together, in memory that is bounded whatever there are.
//!
//! A survey is filled file by file ([`Survey::absorb`]); what several threads have gathered is put
//! together with [`Survey::merge`]. In which order makes no difference to what comes out, as long as
//! no bound is met; where one is, the table says so.

mod devices;
mod distinct;
mod paths;
mod studies;
mod types;

use drover_types::RelativePath;

pub use devices::{Device, Grouping, Software};
pub use distinct::Count;
pub use studies::{Anomaly, AnomalyKind, Period, Reconciliation};
pub use types::TypeRow;

use crate::{
    inspector::Inspection,
    kind::FileType,
    phi::{KINDS, PhiKind, Shape},
};

/// Examples that are kept of anything: those with the smallest paths.
pub const EXAMPLES: usize = 5;

/// Where a value of a kind stands, and what it looks like.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PhiExample {
    /// The file.
    pub path: RelativePath,
    /// Its first value's shape.
    pub shape: Shape,
    /// Values of this kind in it.
    pub values: u64,
}

/// What was found of one kind of patients' data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhiRow {
    /// The kind.
    pub kind: PhiKind,
    /// Files with at least one value.
    pub files: u64,
    /// Values in them.
    pub values: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// The five with the smallest paths.
    pub examples: Vec<PhiExample>,
}

/// Files of one verdict, and a few of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// The five smallest paths.
    pub examples: Vec<RelativePath>,
}

impl Tally {
    pub(crate) fn add(&mut self, path: &RelativePath, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        keep_smallest(&mut self.examples, path.clone());
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.files += other.files;
        self.bytes = self.bytes.saturating_add(other.bytes);
        other.examples.into_iter().for_each(|path| keep_smallest(&mut self.examples, path));
    }
}

/// Puts `value` among the smallest, in order.
pub(crate) fn keep_smallest<T: Ord>(kept: &mut Vec<T>, value: T) {
    let at = kept.partition_point(|there| *there < value);
    if at < EXAMPLES {
        kept.insert(at, value);
        kept.truncate(EXAMPLES);
    }
}

/// What is known of all files inspected so far.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    types: types::Types,
    devices: devices::Devices,
    studies: studies::Studies,
    phi: [PhiSum; KINDS],
    encrypted: Tally,
    ransomed: Tally,
    notes: Tally,
    databases: Tally,
    disks: Tally,
    keys: Tally,
    partly: Tally,
    read: u64,
}

#[derive(Clone, Debug, Default)]
struct PhiSum {
    files: u64,
    values: u64,
    bytes: u64,
    examples: Vec<PhiExample>,
}

impl Survey {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what was found in the file at `path` of `size` bytes.
    pub fn absorb(&mut self, path: &RelativePath, size: u64, inspection: &Inspection) {
        use crate::{inspector::Protection, kind::Class};
        self.types.add(inspection.file_type, size);
        self.read = self.read.saturating_add(inspection.read);
        if let Some(header) = &inspection.dicom {
            self.devices.add(header, size);
            self.studies.add(path, header);
        }
        for kind in PhiKind::ALL {
            let values = inspection.phi.of(kind);
            let Some(shape) = inspection.phi.shape(kind).filter(|_| values > 0) else { continue };
            let sum = &mut self.phi[kind as usize];
            sum.files += 1;
            sum.values = sum.values.saturating_add(values);
            sum.bytes = sum.bytes.saturating_add(size);
            let example = PhiExample { path: path.clone(), shape: shape.clone(), values };
            keep_smallest(&mut sum.examples, example);
        }
        match inspection.protection {
            Some(Protection::Encrypted) => self.encrypted.add(path, size),
            Some(Protection::Ransomed { .. }) => self.ransomed.add(path, size),
            Some(Protection::RansomNote { .. }) => self.notes.add(path, size),
            None => {}
        }
        match inspection.file_type.class {
            Class::Database => self.databases.add(path, size),
            Class::Disk if inspection.file_type != FileType::ISO => self.disks.add(path, size),
            Class::Key if inspection.file_type != FileType::CERTIFICATE => {
                self.keys.add(path, size)
            }
            _ => {}
        }
        if inspection.partly {
            self.partly.add(path, size);
        }
    }

    /// Notes that the DICOMDIR at `path` names `files` files which are not there: whoever walks knows.
    pub fn missing_from_directory(&mut self, path: &RelativePath, files: u64) {
        if files > 0 {
            self.studies.missing(path, files);
        }
    }

    /// Adds what another survey, with the same key of hashes, has gathered.
    pub fn merge(&mut self, other: Self) {
        self.types.merge(other.types);
        self.devices.merge(other.devices);
        self.studies.merge(other.studies);
        for (sum, more) in self.phi.iter_mut().zip(other.phi) {
            sum.files += more.files;
            sum.values = sum.values.saturating_add(more.values);
            sum.bytes = sum.bytes.saturating_add(more.bytes);
            more.examples.into_iter().for_each(|e| keep_smallest(&mut sum.examples, e));
        }
        self.encrypted.merge(other.encrypted);
        self.ransomed.merge(other.ransomed);
        self.notes.merge(other.notes);
        self.databases.merge(other.databases);
        self.disks.merge(other.disks);
        self.keys.merge(other.keys);
        self.partly.merge(other.partly);
        self.read = self.read.saturating_add(other.read);
    }

    /// Types with their files and bytes, most bytes first.
    pub fn types(&self) -> Vec<TypeRow> {
        self.types.rows()
    }

    /// The machines that made the DICOM objects, most bytes first.
    pub fn devices(&self) -> Vec<Device> {
        self.devices.rows()
    }

    /// Patients, studies, series and instances by modality and year, and what does not add up.
    pub fn reconciliation(&self) -> Reconciliation {
        self.studies.reconciliation()
    }

    /// What was found of each kind, those with values only, in the order of [`PhiKind::ALL`].
    pub fn phi(&self) -> Vec<PhiRow> {
        let rows = PhiKind::ALL.into_iter().map(|kind| {
            let sum = &self.phi[kind as usize];
            PhiRow {
                kind,
                files: sum.files,
                values: sum.values,
                bytes: sum.bytes,
                examples: sum.examples.clone(),
            }
        });
        rows.filter(|row| row.files > 0).collect()
    }

    /// Files that are encrypted by design, or of unknown content that looks so.
    pub fn encrypted(&self) -> &Tally {
        &self.encrypted
    }

    /// Files that look encrypted and have a name that ransomware gives.
    pub fn ransomed(&self) -> &Tally {
        &self.ransomed
    }

    /// Files with the name of a ransom note.
    pub fn ransom_notes(&self) -> &Tally {
        &self.notes
    }

    /// Files of databases, which may be live.
    pub fn databases(&self) -> &Tally {
        &self.databases
    }

    /// Disks of virtual machines and disk images.
    pub fn disks(&self) -> &Tally {
        &self.disks
    }

    /// Private keys and stores of keys or passwords.
    pub fn keys(&self) -> &Tally {
        &self.keys
    }

    /// Files that were not looked through to their end, because of a limit.
    pub fn partly(&self) -> &Tally {
        &self.partly
    }

    /// Bytes that were read of all files.
    pub fn read(&self) -> u64 {
        self.read
    }
}
