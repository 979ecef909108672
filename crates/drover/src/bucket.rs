//! What the settings of a repository's bucket mean for what is in it.

use drover_repo::objects::Objects;
use drover_report::{BucketSetting, Text};
use drover_store::{Setting, SettingId};

/// Asks the store, read only. A directory has no settings.
pub fn ask(objects: &Objects) -> Vec<BucketSetting> {
    settings(objects).iter().map(judged).collect()
}

/// The same as the store tells it.
pub fn settings(objects: &Objects) -> Vec<Setting> {
    objects.wait(objects.store().settings())
}

/// A setting's name.
pub fn name(id: SettingId) -> &'static str {
    meaning(id).0
}

fn judged(setting: &Setting) -> BucketSetting {
    let (name, severity, threat, remedy) = meaning(setting.id);
    let (result, is) = match &setting.found {
        Ok((true, words)) => ("pass", words),
        Ok((false, words)) => ("finding", words),
        Err(why) => ("could-not-check", why),
    };
    let remedy = match &setting.found {
        Err(_) => {
            "Look at it in the provider's console, or give the credential the right to read it."
        }
        Ok(_) => remedy,
    };
    BucketSetting {
        setting: Text::from(name),
        result: Text::from(result),
        severity: Text::from(severity),
        is: Text::from(is.as_str()),
        threat: Text::from(threat),
        remedy: Text::from(remedy),
    }
}

/// The setting's name, how much it matters where it does not protect, what that leads to, and what to
/// do.
fn meaning(id: SettingId) -> (&'static str, &'static str, &'static str, &'static str) {
    match id {
        SettingId::Versioning => (
            "versioning",
            "medium",
            "What is deleted or overwritten in the bucket is gone: drover would tell, and could not bring \
             it back",
            "Turn on versioning of the bucket; on Azure, versioning and soft deletion.",
        ),
        SettingId::Lock => (
            "lock",
            "medium",
            "Whoever gets a credential that may delete can delete the repository",
            "Lock objects by default for as long as they have to be kept (object lock, an immutability \
             policy), or give nobody a credential that may delete.",
        ),
        SettingId::PublicAccess => (
            "public-access",
            "high",
            "A mistaken policy can open the bucket to everyone; contents and names stay encrypted",
            "Block public access of the bucket, and of the account.",
        ),
        SettingId::Encryption => (
            "encryption",
            "low",
            "The store keeps what it gets as it gets it: drover's encryption is the only one",
            "Turn on default encryption of the bucket where a rule asks for it; or set sse in the plan.",
        ),
        SettingId::Lifecycle => (
            "lifecycle",
            "high",
            "The store deletes or moves objects that a repository needs",
            "Leave the repository's prefix out of rules that delete objects or move them to classes that \
             cannot be read at once.",
        ),
        SettingId::Tls => (
            "tls",
            "low",
            "The store answers requests without TLS: another program's credential or data can be seen on \
             the way; drover itself sends none",
            "Deny requests without TLS in the bucket's policy (aws:SecureTransport).",
        ),
    }
}
