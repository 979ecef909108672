//! One file for each verb: its arguments, and what it does with them.

pub mod audit;
pub mod cat;
pub mod completions;
pub mod cutover;
pub mod demo;
pub mod diff;
pub mod evidence;
pub mod helper;
pub mod init;
pub mod inventory;
pub mod key;
pub mod log;
pub mod ls;
pub mod man;
pub mod plan;
pub mod report;
pub mod restore;
pub mod runbook;
pub mod snapshots;
pub mod status;
pub mod sync;
pub mod verify;
