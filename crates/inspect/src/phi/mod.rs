//! Patients' data in text: what is found, how it is judged, and what is never kept.
//!
//! ```text
//! pieces → TextScanner → blocks of whole lines → fields of known meaning (tables, SQL, HTML, HL7 v2, X12)
//!                                              → runs of digits and @ → labels, objects around → rules of each kind
//! ```
//!
//! Digits and `@` are what is looked for, since every value of these kinds has one of them; words before
//! are read only there. What a value has to be follows the rules of those who give such numbers out.

mod aligned;
mod digits;
mod email;
mod fields;
mod free;
mod html;
mod kind;
mod label;
mod lines;
mod list;
mod near;
mod part;
mod phone;
mod scan;
mod segments;
mod spelling;
mod sql;
mod table;
mod token;
mod values;
mod vocabulary;
mod words;
mod x12;

pub(crate) use kind::KINDS;
pub use kind::{PhiCounts, PhiKind, Shape};
pub(crate) use scan::counting;
pub use scan::{Span, TextScanner};
pub(crate) use table::header_columns;
