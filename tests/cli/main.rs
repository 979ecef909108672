//! Black-box tests: the real binary, on trees, repositories and services made for it.
//!
//! What the tests of the crates cannot see is tested here: the verbs one after the other, exit
//! codes, JSON, kills, and that what comes back is what went in, judged by rsync and not by us.

#![allow(clippy::unwrap_used)]

mod audit;
mod audit_sudo;
mod audit_tls;
mod browser;
mod bucket;
mod certificate;
mod clinic;
mod compare;
mod crash;
mod cutover;
mod database;
mod docs;
mod evidence;
mod failing;
mod faults;
mod fixture;
mod flaky;
mod following;
mod gates;
mod helper;
mod inventory;
mod kills;
mod lab;
mod landing;
mod living;
mod names;
mod plan;
mod printed;
mod proxy;
mod reader;
mod recipes;
mod refusals;
mod reports;
mod resume;
mod rollback;
mod roundtrip;
mod schemas;
mod secrets;
mod services;
mod sftp;
mod ssh;
mod sshd;
mod starved;
mod tamper;
mod together;
mod trace;
mod tree;
