//! What an inventory says of what is in the files. No value of a patient is in it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::exception::PathText;
use crate::Text;

/// One software version of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventorySoftware {
    /// As the machine writes it.
    pub version: Text,
    /// The first and the last day an object was made with it.
    pub first_seen: Option<Text>,
    /// See there.
    pub last_seen: Option<Text>,
    /// Objects.
    pub instances: u64,
}

/// A machine that made data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryDevice {
    /// Its maker.
    pub manufacturer: Text,
    /// Its model.
    pub model: Text,
    /// Its station's name; several are joined by `, `.
    pub station: Text,
    /// Its serial number.
    pub serial: Text,
    /// The newest software version.
    pub software: Text,
    /// All software versions, the earliest first.
    pub versions: Vec<InventorySoftware>,
    /// Where it stands; several are joined by `, `.
    pub institution: Text,
    /// Its department; several are joined by `, `.
    pub department: Text,
    /// What its objects are: `CT`, `MR`, ….
    pub modalities: Vec<Text>,
    /// The first day an object was made.
    pub first_seen: Option<Text>,
    /// The last day an object was made.
    pub last_seen: Option<Text>,
    /// The last calibration that an object names.
    pub calibrated: Option<Text>,
    /// What it is told apart from others by: `serial`, `station`, `institution`, `model`,
    /// `nothing` or `others`.
    pub told_by: Text,
    /// Different patients.
    pub patients: u64,
    /// Different studies.
    pub studies: u64,
    /// Different series.
    pub series: u64,
    /// Different objects.
    pub instances: u64,
    /// Whether one of the four is an estimate, with a standard error of 1.6 %.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
    /// Files, copies among them.
    pub files: u64,
    /// Their logical bytes.
    pub bytes: u64,
    /// Objects that it had a part in, made by another machine.
    pub contributed: u64,
}

/// Who sends what to whom by HL7 v2.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryInterface {
    /// The sending application (MSH-3).
    pub sender: Text,
    /// The sending facility (MSH-4).
    pub sender_facility: Text,
    /// The receiving application (MSH-5).
    pub receiver: Text,
    /// The receiving facility (MSH-6).
    pub receiver_facility: Text,
    /// The type of message (MSH-9).
    pub message: Text,
    /// The version (MSH-12).
    pub version: Text,
    /// Character sets (MSH-18).
    pub charsets: Vec<Text>,
    /// Messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that hold any.
    pub files: u64,
    /// Messages whose sender and control id (MSH-10) another one has as well.
    pub duplicate_ids: u64,
    /// Messages without a control id.
    pub without_id: u64,
    /// Messages whose control id was not compared, because there were too many.
    #[serde(skip_serializing_if = "super::is_zero")]
    pub ids_not_compared: u64,
    /// The day of the first and of the last message.
    pub first_seen: Option<Text>,
    /// See there.
    pub last_seen: Option<Text>,
}

/// Where a value of a kind stands, and its form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryPhiExample {
    /// The file.
    #[serde(flatten)]
    pub path: PathText,
    /// `d` for each digit, `a` for each run of letters: never the value.
    pub shape: Text,
    /// Values of this kind in it.
    pub values: u64,
}

/// What was found of one kind of patients' data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryPhi {
    /// The kind: `ssn`, `birth-date`, ….
    pub kind: Text,
    /// Files with at least one value.
    pub files: u64,
    /// Values.
    pub values: u64,
    /// Logical bytes of these files.
    pub bytes: u64,
    /// Some of these files.
    pub examples: Vec<InventoryPhiExample>,
}

/// DICOM objects of one modality and year.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryPeriod {
    /// Empty where the header has none.
    pub modality: Text,
    /// Of the study's date.
    pub year: Option<u16>,
    /// Different patients.
    pub patients: u64,
    /// Different studies.
    pub studies: u64,
    /// Different series.
    pub series: u64,
    /// Different objects.
    pub instances: u64,
    /// Files, copies among them.
    pub files: u64,
}

/// Something in a DICOM archive that does not add up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryAnomaly {
    /// A stable word: `no-study-date`, ….
    pub kind: Text,
    /// Of objects, studies or UIDs, as the kind says.
    pub count: u64,
    /// Some of the files; of what is about two files, both.
    pub examples: Vec<Vec<PathText>>,
}

/// What both sides of a migration have to agree on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryReconciliation {
    /// Different patients.
    pub patients: u64,
    /// Different studies.
    pub studies: u64,
    /// Different series.
    pub series: u64,
    /// Different objects.
    pub instances: u64,
    /// Whether one of the four is an estimate, with a standard error of 1.6 %.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
    /// DICOM files, copies among them.
    pub files: u64,
    /// By modality and year.
    pub periods: Vec<InventoryPeriod>,
    /// What does not add up.
    pub anomalies: Vec<InventoryAnomaly>,
    /// Objects that were not compared with others, because there were too many.
    pub not_compared: u64,
}

/// What the content says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InventoryContent {
    /// Machines that made data, most bytes first.
    pub devices: Vec<InventoryDevice>,
    /// Who sends what to whom by HL7 v2.
    pub interfaces: Vec<InventoryInterface>,
    /// Patients' data by kind.
    pub phi: Vec<InventoryPhi>,
    /// DICOM objects in numbers that the other side of a migration can be held against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconciliation: Option<InventoryReconciliation>,
}
