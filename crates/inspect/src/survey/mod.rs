//! Many inspections taken together, in memory that is bounded whatever there are.
//!
//! A survey is filled file by file ([`Survey::absorb`]); what several threads have gathered is put
//! together with [`Survey::merge`]. In which order makes no difference to what comes out, as long as
//! no bound is met; where one is, the table says so.

mod devices;
mod distinct;
mod interfaces;
mod paths;
mod studies;
mod types;

use drover_types::RelativePath;

pub use devices::{Device, Grouping, Software};
pub use distinct::Count;
pub use interfaces::Interface;
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

/// Messages that no row of the interfaces counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessagesApart {
    /// Of interfaces beyond the 4,096 that are told apart.
    pub others: u64,
    /// Headers that could not be read.
    pub malformed: u64,
    /// Control ids that came twice, in two surveys that were put together.
    pub duplicate_ids: u64,
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
    interfaces: interfaces::Interfaces,
    phi: [PhiSum; KINDS],
    encrypted: Tally,
    ransomed: Tally,
    notes: Tally,
    not_as_named: Tally,
    archives: Tally,
    members: u64,
    scanned: u64,
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
        if let Some(messages) = &inspection.messages {
            self.interfaces.add(messages);
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
            Some(Protection::NotAsNamed) => self.not_as_named.add(path, size),
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
        self.scanned = self.scanned.saturating_add(inspection.scanned);
        if let Some(archive) = &inspection.archive {
            self.archives.add(path, size);
            self.members = self.members.saturating_add(archive.members);
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
        self.interfaces.merge(other.interfaces);
        for (sum, more) in self.phi.iter_mut().zip(other.phi) {
            sum.files += more.files;
            sum.values = sum.values.saturating_add(more.values);
            sum.bytes = sum.bytes.saturating_add(more.bytes);
            more.examples.into_iter().for_each(|e| keep_smallest(&mut sum.examples, e));
        }
        self.encrypted.merge(other.encrypted);
        self.ransomed.merge(other.ransomed);
        self.notes.merge(other.notes);
        self.not_as_named.merge(other.not_as_named);
        self.archives.merge(other.archives);
        self.members = self.members.saturating_add(other.members);
        self.scanned = self.scanned.saturating_add(other.scanned);
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

    /// Who sends what to whom by HL7 v2, most messages first.
    pub fn interfaces(&self) -> Vec<Interface> {
        self.interfaces.rows()
    }

    /// What of the messages is in no row: of too many interfaces, with headers that cannot be read, and
    /// control ids that came twice by way of [`Survey::merge`].
    pub fn messages_apart(&self) -> MessagesApart {
        let interfaces = &self.interfaces;
        MessagesApart {
            others: interfaces.others,
            malformed: interfaces.malformed,
            duplicate_ids: interfaces.across,
        }
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

    /// Files that look encrypted under a name that promises a format which is not: by ransomware that is
    /// not known, or by an encryption of files.
    pub fn not_as_named(&self) -> &Tally {
        &self.not_as_named
    }

    /// Archives and documents whose members were looked into.
    pub fn archives(&self) -> &Tally {
        &self.archives
    }

    /// Members of these that were looked into.
    pub fn members(&self) -> u64 {
        self.members
    }

    /// Bytes of text that were looked through for patients' data.
    pub fn scanned(&self) -> u64 {
        self.scanned
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
