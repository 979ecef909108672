//! What an archive holds by modality and year, so that both sides of a migration can be compared, and
//! what does not add up in it.

use std::collections::{BTreeMap, HashMap, HashSet, hash_map::Entry};

use drover_types::RelativePath;

use super::{
    Tally,
    distinct::{Count, Distinct, Hashing},
    keep_smallest,
    paths::Paths,
};
use crate::dicom::{DicomHeader, Oddity};

/// Different things in one row of the table that are counted exactly.
const EXACT: usize = 1 << 16;
/// The same for the totals.
const EXACT_TOTAL: usize = 1 << 20;
/// Rows of the table; what comes after is counted in a row without modality and year.
const ROWS: usize = 2048;
/// Objects, and studies, that are compared with each other.
const COMPARED: usize = 1 << 20;

/// What does not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnomalyKind {
    /// One SOP instance UID on objects whose pixels differ.
    OneUidSeveralImages,
    /// The same pixels under different SOP instance UIDs.
    OneImageSeveralUids,
    /// A study UID under different patients.
    OneStudySeveralPatients,
    /// A study of which no object has pixels (reports, presentation states, key objects only).
    StudyWithoutImages,
    /// An object whose study date is missing or no day.
    NoStudyDate,
    /// An object without patient id.
    NoPatientId,
    /// An object without study or instance UID.
    NoUid,
    /// A header that ends early or holds what is no element.
    UnreadableHeader,
    /// A DICOMDIR that names a file which is not there.
    MissingFromDirectory,
}

impl AnomalyKind {
    /// The word that JSON and people read.
    pub fn as_str(self) -> &'static str {
        match self {
            AnomalyKind::OneUidSeveralImages => "one-uid-several-images",
            AnomalyKind::OneImageSeveralUids => "one-image-several-uids",
            AnomalyKind::OneStudySeveralPatients => "one-study-several-patients",
            AnomalyKind::StudyWithoutImages => "study-without-images",
            AnomalyKind::NoStudyDate => "no-study-date",
            AnomalyKind::NoPatientId => "no-patient-id",
            AnomalyKind::NoUid => "no-uid",
            AnomalyKind::UnreadableHeader => "unreadable-header",
            AnomalyKind::MissingFromDirectory => "missing-from-directory",
        }
    }
}

/// One sort of anomaly, how often, and where for example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// What.
    pub kind: AnomalyKind,
    /// Of objects, UIDs or studies, as the kind says.
    pub count: u64,
    /// Of those about files: a few of them; those about two files hold both.
    pub examples: Vec<Vec<RelativePath>>,
}

/// One row: a modality in a year.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// Empty where the header has none.
    pub modality: String,
    /// Of the study date.
    pub year: Option<u16>,
    /// Different patients.
    pub patients: Count,
    /// Different studies.
    pub studies: Count,
    /// Different series.
    pub series: Count,
    /// Different objects.
    pub instances: Count,
    /// Files, copies among them.
    pub files: u64,
}

/// What both sides of a migration have to agree on, and what does not add up on this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// By modality and year, in this order.
    pub periods: Vec<Period>,
    /// Different patients of all.
    pub patients: Count,
    /// Different studies of all.
    pub studies: Count,
    /// Different series of all.
    pub series: Count,
    /// Different objects of all.
    pub instances: Count,
    /// DICOM files.
    pub files: u64,
    /// Sorts of anomalies that were met.
    pub anomalies: Vec<Anomaly>,
    /// Objects that were not compared with others, because there were over 1,048,576.
    pub not_compared: u64,
    /// Files by what a well-made one does not do.
    pub oddities: Vec<(Oddity, Tally)>,
    /// Files whose header says that names stand in the pixels.
    pub burned_in: Tally,
}

#[derive(Clone, Debug, Default)]
struct Sets {
    patients: Distinct,
    studies: Distinct,
    series: Distinct,
    instances: Distinct,
    files: u64,
}

impl Sets {
    fn add(&mut self, header: &DicomHeader, bound: usize) {
        let sets = [
            (&mut self.patients, header.patient),
            (&mut self.studies, header.study),
            (&mut self.series, header.series),
            (&mut self.instances, header.instance),
        ];
        for (set, hash) in sets {
            if let Some(hash) = hash {
                set.insert(hash, bound);
            }
        }
        self.files += 1;
    }

    fn merge(&mut self, other: Self, bound: usize) {
        self.patients.merge(other.patients, bound);
        self.studies.merge(other.studies, bound);
        self.series.merge(other.series, bound);
        self.instances.merge(other.instances, bound);
        self.files += other.files;
    }
}

/// What is remembered of one study.
#[derive(Clone, Copy, Debug)]
struct Study {
    patient: Option<u64>,
    file: u32,
    pixels: bool,
}

/// One object: its pixels and its file.
#[derive(Clone, Copy, Debug)]
struct Object {
    instance: u64,
    image: u64,
    file: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Studies {
    periods: BTreeMap<(String, Option<u16>), Sets>,
    total: Sets,
    by_instance: HashMap<u64, Object, Hashing>,
    by_image: HashMap<u64, Object, Hashing>,
    by_study: HashMap<u64, Study, Hashing>,
    paths: Paths,
    not_compared: u64,
    conflicts: BTreeMap<AnomalyKind, Conflict>,
    single: BTreeMap<AnomalyKind, Tally>,
    oddities: BTreeMap<Oddity, Tally>,
    burned_in: Tally,
}

/// UIDs or images that conflict, and pairs of files to show it.
#[derive(Clone, Debug, Default)]
struct Conflict {
    which: HashSet<u64, Hashing>,
    examples: Vec<Vec<RelativePath>>,
}

impl Conflict {
    fn add(&mut self, which: u64, mut files: Vec<RelativePath>) {
        if self.which.len() < COMPARED {
            self.which.insert(which);
        }
        files.sort();
        if !self.examples.contains(&files) {
            keep_smallest(&mut self.examples, files);
        }
    }
}

impl Studies {
    /// Adds one object.
    pub fn add(&mut self, path: &RelativePath, header: &DicomHeader) {
        let year = header.study_date.map(|date| date.year);
        let mut row = (header.modality.clone(), year);
        if self.periods.len() >= ROWS && !self.periods.contains_key(&row) {
            row = Default::default();
        }
        self.periods.entry(row).or_default().add(header, EXACT);
        self.total.add(header, EXACT_TOTAL);
        for oddity in &header.oddities {
            self.oddities.entry(*oddity).or_default().add(path, 0);
        }
        if header.burned_in {
            self.burned_in.add(path, 0);
        }
        let unreadable =
            header.oddities.iter().any(|o| matches!(o, Oddity::Truncated | Oddity::Malformed));
        let single = [
            (AnomalyKind::UnreadableHeader, unreadable),
            (AnomalyKind::NoUid, !header.is_usable()),
            (AnomalyKind::NoStudyDate, header.study_date.is_none()),
            (AnomalyKind::NoPatientId, !header.identifies.record_number),
        ];
        for (kind, _) in single.into_iter().filter(|&(_, met)| met) {
            self.single.entry(kind).or_default().add(path, 0);
        }
        let needs_path = header.study.is_some() || header.image.is_some();
        if self.by_instance.len() >= COMPARED || self.by_study.len() >= COMPARED {
            self.not_compared += 1;
            return;
        }
        let Some(file) = needs_path.then(|| self.paths.add(path)).flatten() else { return };
        if let Some(study) = header.study {
            self.study(study, Study { patient: header.patient, file, pixels: header.has_pixels });
        }
        if let (Some(instance), Some(image)) = (header.instance, header.image) {
            self.object(Object { instance, image, file });
        }
    }

    fn study(&mut self, uid: u64, study: Study) {
        match self.by_study.entry(uid) {
            Entry::Vacant(free) => drop(free.insert(study)),
            Entry::Occupied(mut there) => {
                let known = there.get_mut();
                known.pixels |= study.pixels;
                let patients = (known.patient, study.patient);
                known.patient = known.patient.or(study.patient);
                if let (Some(one), Some(other)) = patients
                    && one != other
                {
                    let files = vec![self.paths.get(known.file), self.paths.get(study.file)];
                    self.conflicts
                        .entry(AnomalyKind::OneStudySeveralPatients)
                        .or_default()
                        .add(uid, files);
                }
            }
        }
    }

    fn object(&mut self, object: Object) {
        let known = *self.by_instance.entry(object.instance).or_insert(object);
        if known.image != object.image {
            let files = vec![self.paths.get(known.file), self.paths.get(object.file)];
            self.conflicts
                .entry(AnomalyKind::OneUidSeveralImages)
                .or_default()
                .add(object.instance, files);
        }
        let known = *self.by_image.entry(object.image).or_insert(object);
        if known.instance != object.instance {
            let files = vec![self.paths.get(known.file), self.paths.get(object.file)];
            self.conflicts
                .entry(AnomalyKind::OneImageSeveralUids)
                .or_default()
                .add(object.image, files);
        }
    }

    /// A DICOMDIR at `path` names files that are not there.
    pub fn missing(&mut self, path: &RelativePath, files: u64) {
        let tally = self.single.entry(AnomalyKind::MissingFromDirectory).or_default();
        tally.add(path, 0);
        tally.files = tally.files.saturating_add(files.saturating_sub(1));
    }

    pub fn merge(&mut self, mut other: Self) {
        for (row, sets) in std::mem::take(&mut other.periods) {
            let full = self.periods.len() >= ROWS && !self.periods.contains_key(&row);
            let row = if full { Default::default() } else { row };
            self.periods.entry(row).or_default().merge(sets, EXACT);
        }
        self.total.merge(std::mem::take(&mut other.total), EXACT_TOTAL);
        for (oddity, tally) in std::mem::take(&mut other.oddities) {
            self.oddities.entry(oddity).or_default().merge(tally);
        }
        for (kind, tally) in std::mem::take(&mut other.single) {
            self.single.entry(kind).or_default().merge(tally);
        }
        self.burned_in.merge(std::mem::take(&mut other.burned_in));
        self.not_compared += other.not_compared;
        for (kind, conflict) in std::mem::take(&mut other.conflicts) {
            let mine = self.conflicts.entry(kind).or_default();
            mine.which.extend(conflict.which);
            conflict
                .examples
                .into_iter()
                .for_each(|files| keep_smallest(&mut mine.examples, files));
        }
        for (uid, study) in std::mem::take(&mut other.by_study) {
            if self.by_study.len() >= COMPARED {
                self.not_compared += 1;
            } else if let Some(file) = self.paths.add(&other.paths.get(study.file)) {
                self.study(uid, Study { file, ..study });
            }
        }
        // An object is in one of the maps or in both.
        let of_instances = std::mem::take(&mut other.by_instance).into_values();
        let of_images = std::mem::take(&mut other.by_image).into_values();
        for object in of_instances.chain(of_images) {
            if self.by_instance.len() >= COMPARED {
                self.not_compared += 1;
            } else if let Some(file) = self.paths.add(&other.paths.get(object.file)) {
                self.object(Object { file, ..object });
            }
        }
    }

    pub fn reconciliation(&self) -> Reconciliation {
        let period = |((modality, year), sets): (&(String, Option<u16>), &Sets)| Period {
            modality: modality.clone(),
            year: *year,
            patients: sets.patients.count(),
            studies: sets.studies.count(),
            series: sets.series.count(),
            instances: sets.instances.count(),
            files: sets.files,
        };
        let mut anomalies: Vec<_> = self
            .conflicts
            .iter()
            .map(|(&kind, conflict)| Anomaly {
                kind,
                count: conflict.which.len() as u64,
                examples: conflict.examples.clone(),
            })
            .collect();
        let mut empty =
            Anomaly { kind: AnomalyKind::StudyWithoutImages, count: 0, examples: Vec::new() };
        for study in self.by_study.values().filter(|study| !study.pixels) {
            empty.count += 1;
            keep_smallest(&mut empty.examples, vec![self.paths.get(study.file)]);
        }
        anomalies.extend(Some(empty).filter(|anomaly| anomaly.count > 0));
        anomalies.extend(self.single.iter().map(|(&kind, tally)| Anomaly {
            kind,
            count: tally.files,
            examples: tally.examples.iter().map(|path| vec![path.clone()]).collect(),
        }));
        anomalies.sort_by_key(|anomaly| anomaly.kind);
        Reconciliation {
            periods: self.periods.iter().map(period).collect(),
            patients: self.total.patients.count(),
            studies: self.total.studies.count(),
            series: self.total.series.count(),
            instances: self.total.instances.count(),
            files: self.total.files,
            anomalies,
            not_compared: self.not_compared,
            oddities: self
                .oddities
                .iter()
                .map(|(&oddity, tally)| (oddity, tally.clone()))
                .collect(),
            burned_in: self.burned_in.clone(),
        }
    }
}
