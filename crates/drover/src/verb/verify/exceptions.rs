//! The exceptions of the passes that were verified, and who signed for them.

use std::collections::BTreeMap;

use drover_ops::{ReaderSession, cutover::Chain, exceptions};
use drover_report::{ExceptionItem, SignedException, Text};
use drover_types::{Exception, SnapshotId};

use crate::error::Error;

/// So many are listed in a report; a folder of evidence has all of them.
const LISTED: usize = 1000;

/// Who signed for the exceptions of each source, by path.
pub struct Signed(BTreeMap<(String, String), String>);

impl Signed {
    /// Reads the steps of cutovers, where one of `snapshots` has exceptions.
    pub fn load(session: &ReaderSession, snapshots: &[SnapshotId]) -> Result<Self, Error> {
        let has_some = |id: &SnapshotId| {
            session.snapshot(*id).is_ok_and(|snapshot| snapshot.details.exception_count > 0)
        };
        if !snapshots.iter().any(has_some) {
            return Ok(Self(BTreeMap::new()));
        }
        Ok(Self::of(&Chain::load(session)?))
    }

    /// Those of a chain.
    pub fn of(chain: &Chain) -> Self {
        let of_step = |step: &drover_ops::cutover::Taken| {
            let (path, to) = (step.accepted()?.to_owned(), &step.to);
            Some(((to.source.clone(), path), to.operator.clone()))
        };
        Self(chain.steps.iter().filter_map(of_step).collect())
    }

    /// Who signed for an exception of `source`.
    pub fn by(&self, source: &str, exception: &Exception) -> Option<&str> {
        let key = (source.to_owned(), exception.path.to_string());
        self.0.get(&key).map(String::as_str)
    }
}

/// The first of those that the passes of `snapshots` recorded.
pub fn listed(
    session: &mut ReaderSession,
    snapshots: &[SnapshotId],
) -> Result<Vec<SignedException>, Error> {
    let signed = Signed::load(session, snapshots)?;
    let mut listed = Vec::new();
    exceptions(session, snapshots, &mut |snapshot, exception| {
        if listed.len() < LISTED {
            let source = snapshot.details.source.as_str();
            listed.push(SignedException {
                source: Text::from(source),
                exception: ExceptionItem::from(exception),
                accepted_by: signed.by(source, exception).map(Text::from),
            });
        }
        Ok(())
    })?;
    Ok(listed)
}
