//! One module for each parser of bytes that come from outside: from a repository, a plan, a
//! service, a state directory that was damaged.
//!
//! `run` gives a parser any bytes. It may refuse them; it may not panic, hang, take memory that
//! the bytes do not account for, or accept bytes that its own encoder would not have written.
//! `true` says that they were accepted. `seeds` are inputs that are accepted, to begin from.
//!
//! The same functions serve two ends: `tests/fuzz/run` feeds them from a coverage-guided engine,
//! and `cargo test -p drover-fuzz` from the corpus that is kept and from changed seeds.

#![allow(clippy::unwrap_used, reason = "seeds are made here; what fails on the way is a finding")]

pub mod certificate;
pub mod cut;
pub mod cutover;
pub mod entry;
pub mod frame;
pub mod hasher;
pub mod helper;
pub mod index;
pub mod inspect;
pub mod keys;
pub mod log;
pub mod manifest;
pub mod names;
pub mod pack;
pub mod plan;
pub mod proof;
pub mod report;
pub mod server;
pub mod sftp;
mod shared;
pub mod shell;
pub mod snapshot;
pub mod tape;
pub mod url;

/// A parser under test.
pub struct Target {
    /// Name of the module, of the binary and of the folder of its corpus.
    pub name: &'static str,
    /// Gives it bytes; whether it accepted them.
    pub run: fn(&[u8]) -> bool,
    /// Bytes that it accepts.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

macro_rules! targets {
    ($($name:ident)*) => {
        /// All of them.
        pub const TARGETS: &[Target] =
            &[$(Target { name: stringify!($name), run: $name::run, seeds: $name::seeds }),*];
    };
}

targets! {
    pack frame index snapshot log manifest entry keys tape plan url report hasher cut names server inspect certificate
    proof cutover helper sftp shell
}
