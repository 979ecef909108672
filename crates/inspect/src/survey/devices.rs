//! The machines behind an archive, told apart by the best that their headers say.

use std::collections::{BTreeMap, BTreeSet};

use super::distinct::{Count, Distinct};
use crate::{
    date::Date,
    dicom::{DicomHeader, Equipment},
    hl7::widen,
};

/// Machines that are told apart; what comes after is counted as one, `others`.
const DEVICES: usize = 4096;
/// Different patients, studies, series or instances of one machine that are counted exactly.
const EXACT: usize = 1 << 16;
/// Versions, modalities, institutions and stations that are kept of one machine.
const SEVERAL: usize = 32;

/// What a machine was told apart by, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grouping {
    /// Manufacturer, model and serial number: one machine.
    Serial,
    /// Manufacturer, model and station name: one machine, unless stations share a name.
    Station,
    /// Manufacturer, model, institution and department: several of a kind may be one.
    Institution,
    /// Manufacturer and model alone.
    Model,
    /// The headers say nothing; by modality.
    Nothing,
    /// More machines than are told apart.
    Others,
}

impl Grouping {
    /// The word that JSON and people read.
    pub fn as_str(self) -> &'static str {
        match self {
            Grouping::Serial => "serial",
            Grouping::Station => "station",
            Grouping::Institution => "institution",
            Grouping::Model => "model",
            Grouping::Nothing => "nothing",
            Grouping::Others => "others",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    grouping: Grouping,
    parts: [String; 4],
}

/// One software version of a machine, and when it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Software {
    /// The versions of an object, joined by `, `.
    pub version: String,
    /// The first and last day an object of it was made, where known.
    pub seen: Option<(Date, Date)>,
    /// Objects.
    pub objects: u64,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// What it was told apart by.
    pub grouping: Grouping,
    /// Its maker.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// Its serial number.
    pub serial: String,
    /// Names of the station, at most 32.
    pub stations: Vec<String>,
    /// Where it stood, at most 32.
    pub institutions: Vec<String>,
    /// Departments, at most 32.
    pub departments: Vec<String>,
    /// Modalities of its objects, at most 32.
    pub modalities: Vec<String>,
    /// Software versions over time, the earliest first, at most 32.
    pub software: Vec<Software>,
    /// The last calibration that an object names.
    pub calibrated: Option<Date>,
    /// The first and last day an object was made, where any says.
    pub seen: Option<(Date, Date)>,
    /// Different patients.
    pub patients: Count,
    /// Different studies.
    pub studies: Count,
    /// Different series.
    pub series: Count,
    /// Different objects.
    pub instances: Count,
    /// Files, copies of an object among them.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Objects that it worked on without having made them (contributing equipment).
    pub contributed: u64,
}

#[derive(Clone, Debug, Default)]
struct Sum {
    manufacturer: String,
    model: String,
    serial: String,
    stations: BTreeSet<String>,
    institutions: BTreeSet<String>,
    departments: BTreeSet<String>,
    modalities: BTreeSet<String>,
    software: BTreeMap<String, (Option<(Date, Date)>, u64)>,
    calibrated: Option<Date>,
    seen: Option<(Date, Date)>,
    patients: Distinct,
    studies: Distinct,
    series: Distinct,
    instances: Distinct,
    files: u64,
    bytes: u64,
    contributed: u64,
}

/// All machines.
#[derive(Clone, Debug, Default)]
pub(super) struct Devices(BTreeMap<Key, Sum>);

/// For comparing: case, blanks and punctuation do not tell machines apart.
fn folded(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Serial numbers that are none.
fn is_filler(serial: &str) -> bool {
    let mut letters = serial.chars();
    let first = letters.next();
    first.is_none_or(|first| letters.all(|c| c == first))
        || matches!(
            serial,
            "na" | "none"
                | "unknown"
                | "null"
                | "default"
                | "serial"
                | "sn"
                | "serialnumber"
                | "notavailable"
                | "12345"
                | "123456"
                | "1234567"
                | "12345678"
                | "123456789"
                | "anonymized"
                | "anonymous"
        )
}

fn key(machine: &Equipment, modality: &str) -> Key {
    let [maker, model, serial, station] =
        [&machine.manufacturer, &machine.model, &machine.serial, &machine.station]
            .map(|t| folded(t));
    let [institution, department] = [&machine.institution, &machine.department].map(|t| folded(t));
    let known = !(maker.is_empty() && model.is_empty());
    let (grouping, parts) = if !is_filler(&serial) {
        (Grouping::Serial, [maker, model, serial, String::new()])
    } else if !station.is_empty() {
        (Grouping::Station, [maker, model, station, String::new()])
    } else if known && !(institution.is_empty() && department.is_empty()) {
        (Grouping::Institution, [maker, model, institution, department])
    } else if known {
        (Grouping::Model, [maker, model, String::new(), String::new()])
    } else {
        (Grouping::Nothing, [modality.to_owned(), institution, department, String::new()])
    };
    Key { grouping, parts }
}

fn remember(set: &mut BTreeSet<String>, text: &str) {
    if !text.is_empty() && !set.contains(text) && set.len() < SEVERAL {
        set.insert(text.to_owned());
    }
}

/// The smaller of two spellings, so that the order of files makes no difference.
fn name(kept: &mut String, text: &str) {
    if !text.is_empty() && (kept.is_empty() || text < kept.as_str()) {
        text.clone_into(kept);
    }
}

impl Sum {
    fn describe(&mut self, machine: &Equipment) {
        name(&mut self.manufacturer, &machine.manufacturer);
        name(&mut self.model, &machine.model);
        name(&mut self.serial, &machine.serial);
        remember(&mut self.stations, &machine.station);
        remember(&mut self.institutions, &machine.institution);
        remember(&mut self.departments, &machine.department);
        self.calibrated = self.calibrated.max(machine.calibrated);
    }

    fn software(&mut self, version: String, seen: Option<(Date, Date)>, objects: u64) {
        if version.is_empty()
            || self.software.len() >= SEVERAL && !self.software.contains_key(&version)
        {
            return;
        }
        let (days, count) = self.software.entry(version).or_default();
        widen(days, seen);
        *count += objects;
    }

    fn merge(&mut self, other: Sum) {
        name(&mut self.manufacturer, &other.manufacturer);
        name(&mut self.model, &other.model);
        name(&mut self.serial, &other.serial);
        other.stations.iter().for_each(|text| remember(&mut self.stations, text));
        other.institutions.iter().for_each(|text| remember(&mut self.institutions, text));
        other.departments.iter().for_each(|text| remember(&mut self.departments, text));
        other.modalities.iter().for_each(|text| remember(&mut self.modalities, text));
        for (version, (seen, objects)) in other.software {
            self.software(version, seen, objects);
        }
        self.calibrated = self.calibrated.max(other.calibrated);
        widen(&mut self.seen, other.seen);
        self.patients.merge(other.patients, EXACT);
        self.studies.merge(other.studies, EXACT);
        self.series.merge(other.series, EXACT);
        self.instances.merge(other.instances, EXACT);
        self.files += other.files;
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.contributed += other.contributed;
    }
}

impl Devices {
    fn of(&mut self, key: Key) -> &mut Sum {
        let full = self.0.len() >= DEVICES && !self.0.contains_key(&key);
        let others = Key { grouping: Grouping::Others, parts: Default::default() };
        self.0.entry(if full { others } else { key }).or_default()
    }

    /// Adds one object.
    pub fn add(&mut self, header: &DicomHeader, size: u64) {
        for machine in &header.contributing {
            let sum = self.of(key(machine, ""));
            sum.describe(machine);
            sum.contributed += 1;
        }
        let machine = &header.equipment;
        let day = header.made.map(|day| (day, day));
        let sum = self.of(key(machine, &header.modality));
        sum.describe(machine);
        remember(&mut sum.modalities, &header.modality);
        sum.software(machine.software.join(", "), day, 1);
        widen(&mut sum.seen, day);
        let sets = [
            (&mut sum.patients, header.patient),
            (&mut sum.studies, header.study),
            (&mut sum.series, header.series),
            (&mut sum.instances, header.instance),
        ];
        for (set, hash) in sets {
            if let Some(hash) = hash {
                set.insert(hash, EXACT);
            }
        }
        sum.files += 1;
        sum.bytes = sum.bytes.saturating_add(size);
    }

    pub fn merge(&mut self, other: Self) {
        for (key, sum) in other.0 {
            self.of(key).merge(sum);
        }
    }

    pub fn rows(&self) -> Vec<Device> {
        let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
        let row = |(key, sum): (&Key, &Sum)| {
            let mut software: Vec<_> = sum
                .software
                .iter()
                .map(|(version, &(seen, objects))| Software {
                    version: version.clone(),
                    seen,
                    objects,
                })
                .collect();
            software.sort_by_key(|s| s.seen);
            Device {
                grouping: key.grouping,
                manufacturer: sum.manufacturer.clone(),
                model: sum.model.clone(),
                serial: if key.grouping == Grouping::Serial {
                    sum.serial.clone()
                } else {
                    String::new()
                },
                stations: list(&sum.stations),
                institutions: list(&sum.institutions),
                departments: list(&sum.departments),
                modalities: list(&sum.modalities),
                software,
                calibrated: sum.calibrated,
                seen: sum.seen,
                patients: sum.patients.count(),
                studies: sum.studies.count(),
                series: sum.series.count(),
                instances: sum.instances.count(),
                files: sum.files,
                bytes: sum.bytes,
                contributed: sum.contributed,
            }
        };
        let mut rows: Vec<_> = self.0.iter().map(row).collect();
        rows.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.model.cmp(&b.model)));
        rows
    }
}
