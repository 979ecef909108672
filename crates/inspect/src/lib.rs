//! What files are, which devices made them, and whether patients' data is in them: by their content,
//! which somebody else opens.
//!
//! ```text
//! name, Content → Inspector → Inspection        one file: type, header, counts
//!                             Inspection → Survey   many files: types, devices, interfaces, kinds
//! ```
//!
//! Whatever is read is hostile, and much of it is secret. Reads, memory and nesting are bounded; nothing
//! here panics on input; identifiers leave only as keyed hashes, and values of patients' data only as
//! counts and as shapes that keep no character of them.

pub mod archive;
pub mod content;
pub mod date;
pub mod dicom;
pub mod entropy;
pub mod hl7;
mod inspector;
pub mod key;
pub mod kind;
mod magic;
pub mod phi;
mod ransom;
pub mod survey;
pub mod text;

pub use archive::ArchiveLimits;
pub use content::Content;
pub use date::Date;
pub use dicom::{DicomDirectory, DicomHeader, Equipment, Oddity};
pub use entropy::Entropy;
pub use inspector::{ArchiveContents, InspectOptions, Inspection, Inspector, Protection};
pub use key::HashKey;
pub use kind::{Class, FileType};
pub use phi::{PhiCounts, PhiKind};
pub use survey::Survey;
