//! The header of a DICOM file: who made it and what it belongs to, and never its pixels.
//!
//! ```text
//! first 4 KiB → preamble? → meta header? → syntax → elements up to the pixel data → DicomHeader
//!                                     more is read, up to 1 MiB, only where these are not enough
//! ```
//!
//! Archives hold files that the standard does not allow: no preamble, no meta header, another syntax
//! than announced, cut off. As much as can be read of them is, and [`Oddity`] says what was met.

mod charset;
mod directory;
mod header;
mod parse;

pub use directory::DicomDirectory;
pub(crate) use directory::{is_directory, read_directory};
pub use header::{DicomHeader, Equipment, Identifies, Oddity};
pub(crate) use header::{looks_like, read};
