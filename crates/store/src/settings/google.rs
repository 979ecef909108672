//! The settings of a bucket of Google Cloud Storage, by its JSON API.

use http::{HeaderValue, header::AUTHORIZATION};
use object_store::{client::HttpClient, gcp::GoogleCloudStorage};
use serde_json::Value;
use url::Url;

use super::{Refusal, Setting, SettingId, ask, concerns, get, text};

/// A bucket of Google Cloud Storage.
pub(super) struct Bucket<'s> {
    client: HttpClient,
    store: &'s GoogleCloudStorage,
    /// The bucket as the JSON API names it.
    bucket: Url,
}

impl<'s> Bucket<'s> {
    pub fn new(
        client: HttpClient,
        store: &'s GoogleCloudStorage,
        bucket: &str,
        endpoint: Option<String>,
    ) -> Result<Self, String> {
        let endpoint = endpoint.unwrap_or_else(|| "https://storage.googleapis.com".to_owned());
        let mut url = Url::parse(&endpoint).map_err(|error| error.to_string())?;
        match url.path_segments_mut() {
            Ok(mut path) => path.pop_if_empty().extend(["storage", "v1", "b", bucket]),
            Err(()) => return Err("the endpoint is no address of a service".to_owned()),
        };
        Ok(Self { client, store, bucket: url })
    }

    async fn ask(&self, url: &Url) -> Result<Value, Refusal> {
        let credential = self.store.credentials().get_credential().await;
        let bearer = &credential.map_err(Refusal::because)?.bearer;
        let mut request = get(url)?;
        if !bearer.is_empty() {
            let mut value = HeaderValue::from_str(&format!("Bearer {bearer}"))
                .map_err(|_| Refusal::because("the credential is no token"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let answer = text(ask(&self.client, request).await?).await?;
        serde_json::from_str(&answer).map_err(|_| Refusal::because("the answer is not JSON"))
    }

    pub async fn settings(&self, prefix: &str) -> Vec<Setting> {
        let bucket = match self.ask(&self.bucket).await {
            // Whatever a bucket has, it has a name.
            Ok(bucket) if bucket["name"].is_string() => bucket,
            Ok(_) => return unknown("the answer is about no bucket"),
            Err(refusal) => return unknown(&refusal.why),
        };
        vec![
            versioning(&bucket),
            lock(&bucket),
            self.public_access(&bucket).await,
            encryption(&bucket),
            lifecycle(&bucket, prefix),
            tls(),
        ]
    }

    /// Where nothing prevents it, the bucket's policy tells whether it is open.
    async fn public_access(&self, bucket: &Value) -> Setting {
        const ID: SettingId = SettingId::PublicAccess;
        let access = &bucket["iamConfiguration"];
        if access["publicAccessPrevention"] == "enforced" {
            return Setting::is(ID, true, "prevented");
        }
        let mut words = "not prevented by the bucket".to_owned();
        let mut url = self.bucket.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.push("iam");
        }
        match self.ask(&url).await {
            Ok(policy) if is_open(&policy) => return Setting::open("open by its policy"),
            Ok(_) => words.push_str("; its policy opens it to nobody"),
            Err(_) => words.push_str("; its policy is not told"),
        }
        if access["uniformBucketLevelAccess"]["enabled"] != true {
            words.push_str("; objects have lists of rights of their own");
        }
        Setting::is(ID, false, words)
    }
}

fn unknown(why: &str) -> Vec<Setting> {
    let asked = super::ALL.into_iter().filter(|id| *id != SettingId::Tls);
    asked.map(|id| Setting::unknown(id, why)).chain([tls()]).collect()
}

/// The whole number that a string or a number is: the API writes long ones as strings.
fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}

fn days(seconds: u64) -> String {
    const DAY: u64 = 24 * 60 * 60;
    match (seconds.is_multiple_of(DAY), seconds / DAY) {
        (true, 1) => "1 day".to_owned(),
        (true, days) => format!("{days} days"),
        _ => format!("{seconds} seconds"),
    }
}

fn versioning(bucket: &Value) -> Setting {
    let id = SettingId::Versioning;
    let kept = number(&bucket["softDeletePolicy"]["retentionDurationSeconds"]);
    match (bucket["versioning"]["enabled"] == true, kept) {
        (true, _) => Setting::is(id, true, "on"),
        (false, 0) => Setting::is(id, false, "off, and what is deleted cannot be brought back"),
        (false, kept) => {
            let days = days(kept);
            Setting::is(id, true, format!("off; what is deleted can be brought back for {days}"))
        }
    }
}

fn lock(bucket: &Value) -> Setting {
    let id = SettingId::Lock;
    let policy = &bucket["retentionPolicy"];
    match (number(&policy["retentionPeriod"]), policy["isLocked"] == true) {
        (0, _) if bucket["objectRetention"]["mode"] == "Enabled" => {
            Setting::is(id, false, "possible, and no object is locked by default")
        }
        (0, _) => Setting::is(id, false, "off"),
        (seconds, true) => Setting::is(id, true, format!("locked, {}", days(seconds))),
        (seconds, false) => {
            let words = format!("{}, and the policy itself can be taken away", days(seconds));
            Setting::is(id, true, words)
        }
    }
}

fn encryption(bucket: &Value) -> Setting {
    let words = match bucket["encryption"]["defaultKmsKeyName"].as_str() {
        Some(_) => "always on, with a key of the customer's",
        None => "always on, by Google itself",
    };
    Setting::is(SettingId::Encryption, true, words)
}

/// Rules that end uploads which nobody finished do no harm, nor do those for other keys. Every class
/// is read at once, so that moving costs and does not hurt.
fn lifecycle(bucket: &Value, prefix: &str) -> Setting {
    let id = SettingId::Lifecycle;
    let rules = bucket["lifecycle"]["rule"].as_array().map_or(&[][..], Vec::as_slice);
    let ours = |rule: &&Value| match rule["condition"]["matchesPrefix"].as_array() {
        Some(prefixes) if !prefixes.is_empty() => {
            prefixes.iter().filter_map(Value::as_str).any(|rule| concerns(rule, prefix))
        }
        _ => true,
    };
    let count = |action: &str, live: bool| {
        let rules = rules.iter().filter(ours).filter(|rule| rule["action"]["type"] == action);
        rules.filter(|rule| touches_live(&rule["condition"]) == live).count()
    };
    let told: Vec<String> = [
        (count("Delete", true), "that delete objects"),
        (count("SetStorageClass", true), "that move objects to another class"),
        (count("Delete", false), "that delete earlier versions"),
        (count("SetStorageClass", false), "that move earlier versions"),
    ]
    .into_iter()
    .filter(|(rules, _)| *rules > 0)
    .map(|(rules, what)| format!("{rules} {what}"))
    .collect();
    let words = match (rules.is_empty(), told.is_empty()) {
        (true, _) => "no rules".to_owned(),
        (false, true) if !rules.iter().any(|rule| ours(&rule)) => {
            "rules for other objects only".to_owned()
        }
        (false, true) => "rules that leave objects alone".to_owned(),
        (false, false) => format!("rules: {}", told.join(", ")),
    };
    Setting::is(id, count("Delete", true) == 0, words)
}

/// Whether a rule's condition holds for objects that are there, and not only for earlier versions.
fn touches_live(condition: &Value) -> bool {
    let earlier = number(&condition["numNewerVersions"]) > 0
        || number(&condition["daysSinceNoncurrentTime"]) > 0
        || condition["noncurrentTimeBefore"].is_string();
    condition["isLive"] != false && !earlier
}

fn tls() -> Setting {
    let why = "a policy of the organisation (storage.secureHttpTransport) decides, which the bucket \
               does not tell";
    Setting::unknown(SettingId::Tls, why)
}

/// Whether a policy gives anything to everyone, or to everyone with an account at Google.
fn is_open(policy: &Value) -> bool {
    let bindings = policy["bindings"].as_array().map_or(&[][..], Vec::as_slice);
    bindings.iter().filter_map(|binding| binding["members"].as_array()).flatten().any(|member| {
        member.as_str().is_some_and(|member| {
            ["allUsers", "allAuthenticatedUsers"].iter().any(|all| member.eq_ignore_ascii_case(all))
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(setting: Setting) -> (bool, String) {
        setting.found.expect("an answer")
    }

    #[test]
    fn answers_about_a_bucket() {
        let new = json!({"name": "b", "softDeletePolicy": {"retentionDurationSeconds": "604800"}});
        let kept = "off; what is deleted can be brought back for 7 days";
        assert_eq!(told(versioning(&new)), (true, kept.to_owned()));
        assert!(!told(versioning(&json!({"versioning": {"enabled": false}}))).0);
        assert_eq!(told(versioning(&json!({"versioning": {"enabled": true}}))).1, "on");
        assert_eq!(told(lock(&new)), (false, "off".to_owned()));
        let locked = json!({"retentionPolicy": {"retentionPeriod": "2592000", "isLocked": true}});
        assert_eq!(told(lock(&locked)), (true, "locked, 30 days".to_owned()));
        assert!(told(encryption(&new)).0);
    }

    #[test]
    fn rules_of_a_lifecycle() {
        let rule = |action: &str, condition: Value| json!({"lifecycle": {"rule": [{"action": {"type": action}, "condition": condition}]}});
        let found = |action, condition| told(lifecycle(&rule(action, condition), "server"));
        assert!(!found("Delete", json!({"age": 30})).0);
        assert!(found("Delete", json!({"age": 30, "isLive": false})).0);
        assert!(found("Delete", json!({"numNewerVersions": 3})).0);
        assert!(found("Delete", json!({"age": 1, "matchesPrefix": ["logs/"]})).0);
        assert!(!found("Delete", json!({"age": 1, "matchesPrefix": ["logs/", "server/"]})).0);
        let moved = found("SetStorageClass", json!({"age": 90}));
        assert_eq!(moved, (true, "rules: 1 that move objects to another class".to_owned()));
        let uploads = found("AbortIncompleteMultipartUpload", json!({"age": 7}));
        assert_eq!(uploads, (true, "rules that leave objects alone".to_owned()));
        assert_eq!(told(lifecycle(&json!({}), "")).1, "no rules");
    }

    #[test]
    fn policies_that_open() {
        let policy = |member: &str| json!({"bindings": [{"role": "r", "members": [member]}]});
        assert!(is_open(&policy("allUsers")));
        assert!(is_open(&policy("allAuthenticatedUsers")));
        assert!(!is_open(&policy("user:someone@example.org")));
        assert!(!is_open(&json!([])));
    }
}
