//! What the store is asked before anything is written to the repository.

use drover_ops::probe::{self, Presence};
use drover_report::{BucketSetting, PlanRepository, Text, format};

use crate::{bucket, context::Context, error::Error, place::Place};

/// What it said.
pub struct Asked {
    pub repository: PlanRepository,
    /// Bytes a second to the store, where that was measured.
    pub upload_rate: Option<f64>,
    /// The settings of the bucket.
    pub bucket: Vec<BucketSetting>,
    /// Whether the repository has snapshots.
    pub snapshots: bool,
}

impl Asked {
    fn new(place: &Place, state: &str, detail: String) -> Self {
        let (state, detail) = (Text::from(state), Text::from(detail));
        Self {
            repository: PlanRepository { url: place.text(), state, detail },
            upload_rate: None,
            bucket: Vec::new(),
            snapshots: false,
        }
    }

    /// Nobody asked.
    pub fn not(place: &Place) -> Self {
        Self::new(place, "not asked", "not asked (--offline)".to_owned())
    }
}

/// Asks whether a repository is there, and how fast the link is where `measured` says so.
pub fn ask(place: &Place, measured: bool, context: &Context) -> Asked {
    let objects = match place.connect(false) {
        Ok(objects) => objects,
        Err(Error::NoRepository(_)) => {
            return Asked::new(place, "empty", "nothing is there yet".to_owned());
        }
        Err(error) => return unreachable(place, &error),
    };
    let mut asked = match probe::presence(&objects) {
        Ok(Some(Presence { snapshots: Some(n) })) => {
            let snapshots = format::counted(n as u64, "snapshot", "snapshots");
            let detail = format!("a repository is there, with {snapshots}");
            Asked { snapshots: n > 0, ..Asked::new(place, "there", detail) }
        }
        Ok(Some(Presence { snapshots: None })) => {
            let detail = "a repository is there; its snapshots may not be listed";
            Asked::new(place, "there", detail.to_owned())
        }
        Ok(None) => {
            Asked::new(place, "empty", "the store answers, and has no repository there".to_owned())
        }
        Err(error) => unreachable(place, &Error::from(error)),
    };
    if asked.repository.state.as_str() != "unreachable" {
        asked.bucket = bucket::ask(&objects);
    }
    if measured && asked.repository.state.as_str() != "unreachable" {
        match measure(place, context) {
            Ok(rate) => asked.upload_rate = Some(rate),
            Err(error) => context.progress.warn(&format!("the link was not measured: {error}")),
        }
    }
    asked
}

fn unreachable(place: &Place, error: &Error) -> Asked {
    let failure = error.failure();
    Asked::new(place, "unreachable", format!("cannot be reached: {}", failure.message))
}

/// Puts objects beside the repository, and deletes them.
fn measure(place: &Place, context: &Context) -> Result<f64, Error> {
    let objects = place.beside()?;
    let rate = probe::upload_rate(&objects, &context.cancel)?;
    place.clear_beside();
    Ok(rate)
}
