//! What a server is, and what is wrong with it, from what its own commands and files say.
//!
//! `PROBES (asked elsewhere) → Answers → Facts → CHECKS → Audit`
//!
//! This crate does no input and no output: it says what is to be asked, in one table, and judges
//! what came back. So a customer can read the table and know everything that is looked at, and what
//! reads hostile output can do nothing but return a value. Hashes of passwords go into
//! [`accounts`], and only a yes or no comes out.
//!
//! A check passes, finds something, or says why it could not be made; it never takes what it could
//! not see for something that is in order.

pub mod accounts;
mod answer;
pub mod backup;
mod check;
mod network;
mod ports;
mod probe;
mod services;
mod shares;
mod sshd;
mod storage;
mod support;
mod system;
pub mod tls;
mod words;

pub use accounts::{Account, homes};
pub use answer::{Absent, Answer, Answers, Content};
pub use backup::Backup;
pub use check::{Check, Facts, Likelihood, Outcome, Severity, Spec, checks};
pub use network::{Direction, Exposure, Listener, Peer, PeerMap, listeners};
pub use probe::{Ask, PROBES, Probe, ProbeId, Rights};
pub use services::{CronJob, Timer, Unit, cron_jobs, timers, units};
pub use shares::{Share, shares};
pub use storage::{Disk, Mount, disks, mounts};
pub use support::{CHECKED_ON, Support};
pub use system::{System, system};

#[cfg(test)]
mod tests;
