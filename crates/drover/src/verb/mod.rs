//! One file for each verb: its arguments, and what it does with them.

pub mod completions;
pub mod man;
pub mod report;
