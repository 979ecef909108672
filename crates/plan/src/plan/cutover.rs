//! `[cutover]`: what a cutover must keep to, and what leads clients elsewhere and back.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{HOOK_TIMEOUT, command, one_of};
use crate::{
    Age, PlanError, Problem,
    table::{Table, Text},
    windows::Hours,
};

/// The most exceptions that a cutover may be allowed.
const MOST_EXCEPTIONS: usize = 1_000_000_000;

/// The keys of the table `cutover`.
pub(super) const CUTOVER_KEYS: [&str; 18] = [
    "together",
    "window",
    "freeze",
    "switch",
    "exceptions",
    "verify",
    "landing",
    "rehearsed_within",
    "lag",
    "clock_skew",
    "valid_for",
    "bucket",
    "switch_command",
    "smoke_test",
    "switch_back",
    "freeze_target",
    "write_back",
    "hook_timeout",
];

/// What a cutover must keep to, and what leads clients elsewhere and back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cutover {
    /// `together`: whether all sources are led over in one freeze, and by one switch.
    pub together: bool,
    /// `window`: when it may be.
    pub window: Option<Hours>,
    /// `freeze`: how long the source may rest.
    pub freeze: Option<Age>,
    /// `switch`: how long it takes to lead clients elsewhere.
    pub switch: Option<Age>,
    /// `exceptions`: how many there may be that nobody accepted by name.
    pub exceptions: Option<usize>,
    /// `verify`: how the last snapshot is verified before clients are led to it.
    pub verify: Method,
    /// `landing`: who lands it.
    pub landing: Landing,
    /// `rehearsed_within`: how old the last rehearsal may be.
    pub rehearsed_within: Age,
    /// `lag`: how old the newest snapshot may be when the freeze begins, landed where it lands.
    pub lag: Age,
    /// `clock_skew`: how far the source's clock may be from this machine's.
    pub clock_skew: Age,
    /// `valid_for`: how much longer certificates and credentials that end have to be valid; at 0
    /// those whose end is not known are not minded.
    pub valid_for: Age,
    /// `bucket`: what is asked of the settings of buckets.
    pub bucket: Bucket,
    /// `switch_command`: leads clients to the target.
    pub switch_command: Option<Vec<String>>,
    /// `smoke_test`: fails where clients are not served by the target.
    pub smoke_test: Option<Vec<String>>,
    /// `switch_back`: leads clients to the source again.
    pub switch_back: Option<Vec<String>>,
    /// `freeze_target`: after it nothing changes on the target.
    pub freeze_target: Option<Vec<String>>,
    /// `write_back`: the source's directory, as it can be written from here.
    pub write_back: Option<PathBuf>,
    /// `hook_timeout`: how long each command may take.
    pub hook_timeout: Age,
}

impl Default for Cutover {
    fn default() -> Self {
        let hours = |hours: u64| Age(Duration::from_secs(hours * 3600));
        Self {
            together: false,
            window: None,
            freeze: None,
            switch: None,
            exceptions: None,
            verify: Method::default(),
            landing: Landing::default(),
            rehearsed_within: hours(14 * 24),
            lag: hours(24),
            clock_skew: Age(Duration::from_secs(60)),
            valid_for: hours(2),
            bucket: Bucket::default(),
            switch_command: None,
            smoke_test: None,
            switch_back: None,
            freeze_target: None,
            write_back: None,
            hook_timeout: HOOK_TIMEOUT,
        }
    }
}

/// How much a verification looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// `acknowledged`: what the store lists.
    Acknowledged,
    /// `read back`: every pack is read back.
    ReadBack,
    /// `landed`: every file of the target is hashed; without a target, as `acknowledged`.
    #[default]
    Landed,
}

/// What is asked of the settings of buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bucket {
    /// `blocked`: public access is blocked, and nothing changed since the rehearsal.
    Blocked,
    /// `not open`: nothing says that everyone may look in, and nothing changed since the rehearsal.
    #[default]
    NotOpen,
    /// `any`: nothing.
    Any,
}

/// Who lands the last snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Landing {
    /// `here`: the cutover itself, in the target's directory.
    #[default]
    Here,
    /// `elsewhere`: another machine that follows the repository; its audit log says how far it is.
    Elsewhere,
}

pub(super) fn cutover(
    text: Text<'_>,
    table: &Table<'_>,
    base: &Path,
) -> Result<Cutover, PlanError> {
    let usual = Cutover::default();
    let age = |key| table.parsed(key, Problem::Filter);
    let command = |key| command(text, table, key, base);
    let methods = [
        ("acknowledged", Method::Acknowledged),
        ("read back", Method::ReadBack),
        ("landed", Method::Landed),
    ];
    let buckets =
        [("blocked", Bucket::Blocked), ("not open", Bucket::NotOpen), ("any", Bucket::Any)];
    let landings = [("here", Landing::Here), ("elsewhere", Landing::Elsewhere)];
    Ok(Cutover {
        together: table.boolean("together")?.is_some_and(|at| at.value),
        window: table.parsed("window", Problem::Window)?,
        freeze: age("freeze")?,
        switch: age("switch")?,
        exceptions: table.integer("exceptions", 0..MOST_EXCEPTIONS + 1)?.map(|at| at.value),
        verify: one_of(text, table, "verify", &methods)?.unwrap_or_default(),
        landing: one_of(text, table, "landing", &landings)?.unwrap_or_default(),
        rehearsed_within: age("rehearsed_within")?.unwrap_or(usual.rehearsed_within),
        lag: age("lag")?.unwrap_or(usual.lag),
        clock_skew: age("clock_skew")?.unwrap_or(usual.clock_skew),
        valid_for: age("valid_for")?.unwrap_or(usual.valid_for),
        bucket: one_of(text, table, "bucket", &buckets)?.unwrap_or_default(),
        switch_command: command("switch_command")?,
        smoke_test: command("smoke_test")?,
        switch_back: command("switch_back")?,
        freeze_target: command("freeze_target")?,
        write_back: table.string("write_back")?.map(|at| base.join(at.value)),
        hook_timeout: age("hook_timeout")?.unwrap_or(usual.hook_timeout),
    })
}
