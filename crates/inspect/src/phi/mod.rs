//! Patients' data in text.

mod kind;
mod table;

pub(crate) use kind::KINDS;
pub use kind::{PhiCounts, PhiKind, Shape};
pub(crate) use table::header_columns;
