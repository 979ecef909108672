//! Checks: what each is called, how much it matters, and what came of it.

use std::{borrow::Cow, fmt};

use drover_types::Timestamp;

use crate::{
    Absent, Answers, PeerMap, ProbeId, accounts, backup, network, services, shares, sshd, storage,
    system, tls,
};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// To be known.
    Info,
    /// To be mended when there is time.
    Low,
    /// To be mended before the move, or carried as a risk that someone signs for.
    Medium,
    /// To be mended now.
    High,
}

impl Severity {
    /// As documents have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// How likely it is that it does harm, and how much: the same three words for both.
pub type Likelihood = &'static str;

/// What a check is, whatever it finds.
#[derive(Clone, Copy)]
pub struct Spec {
    /// Stable: programs and risk registers name it.
    pub id: &'static str,
    /// What it is about, in a few words; true of a pass and of a finding.
    pub title: &'static str,
    /// How much a finding matters, unless the finding says otherwise.
    pub severity: Severity,
    /// `low`, `medium` or `high`.
    pub likelihood: Likelihood,
    /// `low`, `medium` or `high`.
    pub impact: Likelihood,
    /// What to do about a finding.
    pub remedy: &'static str,
    /// The control of NIST SP 800-53 Rev. 5 and the section of the HIPAA Security Rule that it
    /// serves.
    pub reference: &'static str,
    /// What it looks at.
    pub asks: &'static [ProbeId],
    /// Makes it.
    pub run: fn(&Facts<'_>) -> Outcome,
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing wrong; what was seen.
    Pass(String),
    /// Something is wrong.
    Finding {
        /// What was seen.
        evidence: String,
        /// What it concerns: files, accounts, ports.
        of: Vec<String>,
        /// Where it matters more or less than usual.
        severity: Option<Severity>,
    },
    /// It could not be made, and why.
    CouldNotCheck(String),
}

impl Outcome {
    /// A finding of the usual severity.
    pub fn finding(evidence: impl Into<String>, of: Vec<String>) -> Self {
        Self::Finding { evidence: evidence.into(), of, severity: None }
    }

    /// The same with another severity.
    pub fn at(self, severity: Severity) -> Self {
        match self {
            Self::Finding { evidence, of, .. } => {
                Self::Finding { evidence, of, severity: Some(severity) }
            }
            other => other,
        }
    }

    /// Nothing in `found`: a pass; else a finding that counts and names them.
    pub fn of(found: Vec<String>, none: impl Into<String>, what: &str) -> Self {
        match found.len() {
            0 => Self::Pass(none.into()),
            1 => Self::finding(format!("1 {}: {}", of_one(what), found[0]), found),
            n => Self::finding(format!("{n} {what}: {}", listed(&found)), found),
        }
    }
}

/// What is said of several, of one.
fn of_one(what: &str) -> String {
    const WORDS: [(&str, &str); 9] = [
        ("are", "is"),
        ("were", "was"),
        ("have", "has"),
        ("listen", "listens"),
        ("need", "needs"),
        ("trust", "trusts"),
        ("fail", "fails"),
        ("take", "takes"),
        ("wait", "waits"),
    ];
    const NAMES: [&str; 6] = ["updates", "services", "arrays", "disks", "shares", "accounts"];
    let word = |word: &str| match WORDS.iter().find(|(several, _)| *several == word) {
        Some((_, one)) => (*one).to_owned(),
        None if NAMES.contains(&word) => word.trim_end_matches('s').to_owned(),
        None => word.to_owned(),
    };
    what.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// The first of `names`, and how many there are besides.
pub fn listed(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Everything that checks go by.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// What the server answered.
    pub answers: &'a Answers,
    /// Who talked to it while it was watched.
    pub peers: &'a PeerMap,
    /// What speaks TLS.
    pub tls: &'a [crate::tls::TlsPort],
    /// Now, by the clock of the machine that asks.
    pub now: Timestamp,
}

impl<'a> Facts<'a> {
    /// The text of an answer; else what was asked and why there is none.
    pub fn text(&self, id: ProbeId) -> Result<Cow<'a, str>, String> {
        self.answers.text(id).map_err(|absent| self.why(id, &absent))
    }

    /// What was asked, and why there is no answer.
    pub fn why(&self, id: ProbeId, absent: &Absent) -> String {
        format!("{} {}", id.probe().ask, absent.why())
    }

    /// Whether there is no such file or program on the server, which is another thing than that it
    /// could not be asked.
    pub fn is_missing(&self, id: ProbeId) -> bool {
        matches!(self.answers.one(id), Err(Absent::Missing))
    }

    /// Whether `/proc` is there, so that what is missing in it says something.
    pub fn has_proc(&self) -> bool {
        self.answers.one(ProbeId::Mounts).is_ok()
    }

    /// Days from a time to now.
    pub fn days_since(&self, seconds: i64) -> i64 {
        (self.now.seconds - seconds).div_euclid(86_400)
    }
}

/// A check that was made.
#[derive(Clone, Debug)]
pub struct Check {
    /// What it is.
    pub spec: &'static Spec,
    /// What came of it.
    pub outcome: Outcome,
}

impl Check {
    /// How much it matters.
    pub fn severity(&self) -> Severity {
        match &self.outcome {
            Outcome::Finding { severity: Some(severity), .. } => *severity,
            _ => self.spec.severity,
        }
    }
}

/// All checks, by subject.
pub const AREAS: &[&[Spec]] = &[
    system::CHECKS,
    storage::CHECKS,
    services::CHECKS,
    network::CHECKS,
    tls::CHECKS,
    shares::CHECKS,
    sshd::CHECKS,
    accounts::CHECKS,
    backup::CHECKS,
];

/// Makes them all.
pub fn checks(facts: &Facts<'_>) -> Vec<Check> {
    let all = AREAS.iter().copied().flatten();
    all.map(|spec| Check { spec, outcome: (spec.run)(facts) }).collect()
}

/// The value, or the outcome that says why there is none.
#[macro_export]
#[doc(hidden)]
macro_rules! known {
    ($value:expr) => {
        match $value {
            Ok(value) => value,
            Err(why) => return $crate::Outcome::CouldNotCheck(why),
        }
    };
}
