//! Several sources of one plan, each verified by itself: the whole is as good as the worst of them.

use drover_ops::ReaderSession;
use drover_plan::{Location, Source};
use drover_repo::certificate::{CertifiedResult, Method};
use drover_report::{Problem, Text, Verdict, VerifyReport};

use super::{MethodArgs, Verified, certified_verdict};
use crate::{context::Context, error::Error, place::Place};

impl MethodArgs {
    /// The sources that lie beside one another in the target, each in a directory of its own name:
    /// those of a plan that has several, where neither a source nor a snapshot is named.
    pub(super) fn beside<'p>(&self, place: &'p Place) -> Option<&'p [Source]> {
        let all = self.target.is_some() && self.source.is_none() && self.snapshot.is_none();
        let sources = place.plan.as_ref().map(|plan| plan.sources.as_slice());
        sources.filter(|sources| all && sources.len() > 1)
    }

    /// Compares what landed of each source.
    pub(super) fn each_of(
        &self,
        place: &Place,
        session: &mut ReaderSession,
        target: &Location,
        sources: &[Source],
        context: &Context,
    ) -> Result<Verified, Error> {
        // What is not there at all is told before hours of reading.
        for source in sources {
            session.find("latest", Some(source.name.as_str()))?;
        }
        let mut parts = Vec::new();
        for source in sources {
            let name = source.name.as_str();
            let target = within(target, name);
            let part = self.landed(place, session, target, Some(name), context)?;
            parts.push((name.to_owned(), part));
        }
        let mut verified = together(parts, &[]);
        verified.report.compared = Some(Text::from(match target {
            Location::Directory(target) => crate::output::shown(target),
            Location::Cloud(url) => url.clone(),
            Location::Sftp(url) => url.to_string(),
        }));
        Ok(verified)
    }
}

/// Where a source of this name lies within the target of all.
fn within(target: &Location, name: &str) -> Location {
    match target {
        Location::Directory(target) => Location::Directory(target.join(name)),
        Location::Cloud(url) => Location::Cloud(format!("{}/{name}", url.trim_end_matches('/'))),
        Location::Sftp(url) => Location::Sftp(url.clone()),
    }
}

/// One verification of several, by their sources' names; those in `missing` were not verified,
/// which leaves the whole incomplete at best. Findings say whose they are.
pub fn together(parts: Vec<(String, Verified)>, missing: &[String]) -> Verified {
    let mut whole = Verified::nothing(VerifyReport::default());
    let weakest = parts.iter().map(|(_, part)| part.method).min();
    whole.method = weakest.unwrap_or(Method::Nothing);
    for (name, part) in parts {
        if part.method == whole.method {
            whole.report.method = part.report.method.clone();
        }
        whole.opened &= part.opened;
        let result = result(&part);
        whole.results.extend(part.snapshots.iter().map(|snapshot| (*snapshot, result)));
        whole.snapshots.extend(&part.snapshots);
        let (of, report) = (&mut whole.report, part.report);
        of.totals.entries += report.totals.entries;
        of.totals.files += report.totals.files;
        of.totals.bytes += report.totals.bytes;
        of.totals.chunks += report.totals.chunks;
        of.totals.packs += report.totals.packs;
        of.problems.extend(report.problems.into_iter().map(|found| named(&name, found)));
        of.unchecked.extend(report.unchecked.into_iter().map(|found| named(&name, found)));
        of.changed_since.extend(report.changed_since);
        of.snapshots.extend(report.snapshots.into_iter().map(|mut line| {
            (line.method, line.verdict) = (report.method.clone(), Some(report.verdict));
            line
        }));
    }
    let unseen = |name: &String| {
        let message = Text::from("it was not verified");
        named(name, Problem { kind: Text::from("source"), message, ..Problem::default() })
    };
    whole.report.unchecked.extend(missing.iter().map(unseen));
    whole.report.verdict = match (whole.report.problems.len(), whole.report.unchecked.len()) {
        (0, 0) => Verdict::Verified,
        (0, _) => Verdict::Incomplete,
        _ => Verdict::Failed,
    };
    whole
}

fn named(name: &str, found: Problem) -> Problem {
    Problem { message: Text::from(format!("{name}: {}", found.message)), ..found }
}

fn result(part: &Verified) -> CertifiedResult {
    let report = &part.report;
    CertifiedResult {
        method: part.method,
        opened: part.opened,
        verdict: certified_verdict(report.verdict),
        problems: report.problems.len() as u64,
        unchecked: report.unchecked.len() as u64,
        changed_since: report.changed_since.len() as u64,
    }
}
