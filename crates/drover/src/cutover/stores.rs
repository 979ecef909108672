//! What the gates want to know of the stores: settings of buckets beside those of the rehearsal, and
//! until when certificates and credentials are valid.

use std::collections::BTreeMap;

use drover_ops::cutover::SETTING;
use drover_plan::{Bucket, Cutover};
use drover_repo::objects::Objects;
use drover_report::{CutoverGate, format};
use drover_store::{Setting, SettingId, Validity};
use drover_types::Timestamp;

use super::gates::gate;
use crate::{bucket, error::Error};

/// A store as it is now.
pub struct Looked {
    /// `repository` or `target`.
    which: &'static str,
    /// None of a directory.
    settings: Vec<Setting>,
    validities: Vec<Validity>,
}

impl Looked {
    /// Asks it.
    pub fn at(which: &'static str, objects: &Objects) -> Result<Self, Error> {
        // Where nothing was asked before, this shows the certificate.
        let settings = bucket::settings(objects);
        let validities = objects.wait(objects.store().validities())?;
        Ok(Self { which, settings, validities })
    }

    /// What it is called in facts.
    fn fact(&self, id: SettingId) -> String {
        format!("{SETTING}{} {}", self.which, bucket::name(id))
    }

    /// The settings that were answered, as facts of a step.
    pub fn facts(&self) -> impl Iterator<Item = (String, String)> {
        self.settings.iter().filter_map(|setting| {
            let (_, words) = setting.found.as_ref().ok()?;
            Some((self.fact(setting.id), words.clone()))
        })
    }

    /// What of its settings is not as the plan asks, beside what a rehearsal saw.
    fn faults(&self, asked: Bucket, then: Option<&BTreeMap<String, String>>) -> Vec<String> {
        let mut faults = Vec::new();
        for setting in &self.settings {
            let (name, which) = (bucket::name(setting.id), self.which);
            if setting.id == SettingId::PublicAccess {
                let blocked = matches!(setting.found, Ok((true, _)));
                if setting.is_open || (asked == Bucket::Blocked && !blocked) {
                    faults.push(format!("{which}, {name}: {}", told(setting)));
                    continue;
                }
            }
            let before = then.and_then(|facts| facts.get(&self.fact(setting.id)));
            match (before, &setting.found) {
                (Some(before), Ok((_, now))) if before != now => {
                    faults.push(format!("{which}, {name} changed: {before}; now {now}"));
                }
                (Some(before), Err(why)) => {
                    faults.push(format!("{which}, {name} changed: {before}; now not told: {why}"));
                }
                (None, Ok((_, now))) if then.is_some() => {
                    faults.push(format!("{which}, {name}: {now}; not noted at the rehearsal"));
                }
                _ => {}
            }
        }
        faults
    }
}

fn told(setting: &Setting) -> String {
    match &setting.found {
        Ok((_, words)) => words.clone(),
        Err(why) => format!("not told: {why}"),
    }
}

/// The settings, where there are any; `then` are the facts of the rehearsal.
pub fn settings(
    stores: &[Looked],
    cutover: &Cutover,
    then: Option<&BTreeMap<String, String>>,
) -> Option<CutoverGate> {
    let asked = cutover.bucket;
    let buckets: Vec<_> = stores.iter().filter(|store| !store.settings.is_empty()).collect();
    if asked == Bucket::Any || buckets.is_empty() {
        return None;
    }
    let faults: Vec<_> = buckets.iter().flat_map(|store| store.faults(asked, then)).collect();
    let value = match faults.is_empty() {
        false => faults.join("; "),
        true => {
            let public = |store: &&&Looked| {
                let mut settings = store.settings.iter();
                let setting = settings.find(|setting| setting.id == SettingId::PublicAccess)?;
                Some(format!("{}, {}: {}", store.which, bucket::name(setting.id), told(setting)))
            };
            buckets.iter().filter_map(|store| public(&store)).collect::<Vec<_>>().join("; ")
        }
    };
    let asks = if asked == Bucket::Blocked { "public access blocked" } else { "open to nobody" };
    let threshold = format!("{asks}, and as at the rehearsal");
    let remedy = "Close the bucket, or set it up again as it was. What was changed on purpose: \
                  rehearse again.";
    Some(gate("bucket", threshold, value, faults.is_empty(), remedy))
}

/// Certificates and credentials. `rest` is how long the source may rest, in seconds.
pub fn credentials(stores: &[Looked], cutover: &Cutover, rest: f64, now: Timestamp) -> CutoverGate {
    let asked = cutover.valid_for.0.as_secs_f64();
    let span = asked.max(rest);
    let mut passed = true;
    let mut told = Vec::new();
    for validity in stores.iter().flat_map(|store| &store.validities) {
        let words = match &validity.until {
            Ok(end) => {
                passed &= (end.seconds - now.seconds) as f64 >= span;
                format!("{}: until {}", validity.what, format::time(*end))
            }
            Err(why) => {
                passed &= cutover.valid_for.0.is_zero();
                format!("{}: no end is known: {why}", validity.what)
            }
        };
        if !told.contains(&words) {
            told.push(words);
        }
    }
    if told.is_empty() {
        told.push("none of which an end is known".to_owned());
    }
    let threshold = format!("valid for {} and through the freeze", format::duration(span));
    let remedy = "Renew what ends. A session of AWS tells its end where it is exported by aws configure \
                  export-credentials --format env; what cannot tell it passes with valid_for = \
                  \"0 seconds\".";
    gate("credentials", threshold, told.join("; "), passed, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_rehearsal_noted_is_not_as_at_the_rehearsal() {
        let found = Ok((false, "off".to_owned()));
        let setting = Setting { id: SettingId::Versioning, found, is_open: false };
        let untold =
            Setting { id: SettingId::Lock, found: Err("denied".to_owned()), is_open: false };
        let store =
            Looked { which: "repository", settings: vec![setting, untold], validities: Vec::new() };
        let noted: BTreeMap<_, _> = store.facts().collect();
        assert_eq!(noted.len(), 1);
        assert!(store.faults(Bucket::NotOpen, Some(&noted)).is_empty());
        assert!(
            store.faults(Bucket::NotOpen, None).is_empty(),
            "the gate of the rehearsal refuses"
        );
        assert_eq!(
            store.faults(Bucket::NotOpen, Some(&BTreeMap::new())),
            ["repository, versioning: off; not noted at the rehearsal"]
        );
    }
}
