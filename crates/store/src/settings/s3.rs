//! The settings of a bucket of S3, and of the account that it belongs to.

use http::HeaderValue;
use object_store::{
    aws::{AmazonS3, AwsAuthorizer, AwsCredential},
    client::{HttpClient, HttpRequest},
    path::Path,
    signer::Signer,
};
use serde_json::Value;
use url::Url;

use super::{Refusal, Setting, SettingId, ask, concerns, get, text};
use crate::{StoreError, StoreOptions, client::element};

/// What can be blocked of public access, by a bucket and by its account.
const BLOCKS: [&str; 4] =
    ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];

/// Where services are asked about the account: by the variables that AWS's own tools take, else
/// Amazon's own places, which are asked only where the bucket is there too.
pub(super) struct AccountEndpoints {
    token: Option<Url>,
    control: Option<Url>,
    is_amazon: bool,
}

impl AccountEndpoints {
    /// `elsewhere`: the bucket is not at Amazon's own place.
    pub fn new(options: &StoreOptions, elsewhere: bool) -> Result<Self, StoreError> {
        let named = |name: &str| match options.settings.get(name) {
            Some(endpoint) => {
                options.check_endpoint(endpoint)?;
                Ok(Url::parse(endpoint).ok())
            }
            None => Ok(None),
        };
        Ok(Self {
            token: named("AWS_ENDPOINT_URL_STS")?,
            control: named("AWS_ENDPOINT_URL_S3_CONTROL")?,
            is_amazon: !elsewhere,
        })
    }

    /// Where to ask whose credential it is.
    fn token(&self, region: &str, domain: &str) -> Option<Url> {
        let amazon = || Url::parse(&format!("https://sts.{region}.{domain}/")).ok();
        self.token.clone().or_else(|| self.is_amazon.then(amazon).flatten())
    }

    /// Where to ask what `account` blocks.
    fn control(&self, account: &str, region: &str, domain: &str) -> Option<Url> {
        let amazon =
            || Url::parse(&format!("https://{account}.s3-control.{region}.{domain}/")).ok();
        let endpoint = self.control.clone().or_else(|| self.is_amazon.then(amazon).flatten())?;
        endpoint.join("v20180820/configuration/publicAccessBlock").ok()
    }
}

/// A bucket of S3.
pub(super) struct Bucket<'s> {
    client: HttpClient,
    store: &'s AmazonS3,
    bucket: Url,
    region: String,
    name: &'s str,
    prefix: &'s str,
    account: AccountEndpoints,
}

impl<'s> Bucket<'s> {
    /// The bucket's URL and region are those that the store itself signs for.
    pub async fn new(
        client: HttpClient,
        store: &'s AmazonS3,
        name: &'s str,
        prefix: &'s str,
        account: AccountEndpoints,
    ) -> Result<Self, String> {
        const OBJECT: &str = "x";
        let hour = std::time::Duration::from_secs(3600);
        let signed = store.signed_url(http::Method::GET, &Path::from(OBJECT), hour).await;
        let mut bucket =
            signed.map_err(|error| format!("the request cannot be signed: {error}"))?;
        let scope = bucket.query_pairs().find(|(name, _)| name == "X-Amz-Credential");
        let region = scope.and_then(|(_, scope)| scope.rsplit('/').nth(2).map(str::to_owned));
        let region = region.ok_or("the request is not signed")?;
        bucket.set_query(None);
        let path = bucket.path().trim_end_matches(OBJECT).to_owned();
        bucket.set_path(&path);
        Ok(Self { client, store, bucket, region, name, prefix, account })
    }

    /// Asks `service` with a request signed for it.
    async fn send(&self, service: &str, mut request: HttpRequest) -> Result<String, Refusal> {
        let credential = self.store.credentials().get_credential().await;
        let credential: &AwsCredential = &*credential.map_err(Refusal::because)?;
        AwsAuthorizer::new(credential, service, &self.region)
            .try_authorize(&mut request, None)
            .map_err(Refusal::because)?;
        text(ask(&self.client, request).await?).await
    }

    async fn ask(&self, question: &str) -> Result<String, Refusal> {
        let mut url = self.bucket.clone();
        url.set_query(Some(question));
        self.send("s3", get(&url)?).await
    }

    /// Asks with a number of an account in the header `name`.
    async fn ask_for(
        &self,
        url: &Url,
        name: &'static str,
        account: &str,
    ) -> Result<String, Refusal> {
        let mut request = get(url)?;
        let account = HeaderValue::from_str(account).map_err(Refusal::because)?;
        request.headers_mut().insert(name, account);
        self.send("s3", request).await
    }

    pub async fn settings(&self) -> Vec<Setting> {
        use SettingId as Id;
        const NO_LOCK: &str = "ObjectLockConfigurationNotFoundError";
        const NO_ENCRYPTION: &str = "ServerSideEncryptionConfigurationNotFoundError";
        const NO_RULES: &str = "NoSuchLifecycleConfiguration";
        let rules = |text: &str| lifecycle(text, self.prefix);
        let policy = |text: &str| tls(text, self.name);
        vec![
            self.told(Id::Versioning, "versioning", "", versioning).await,
            self.told(Id::Lock, "object-lock", NO_LOCK, lock).await,
            self.public_access().await,
            self.told(Id::Encryption, "encryption", NO_ENCRYPTION, encryption).await,
            self.told(Id::Lifecycle, "lifecycle", NO_RULES, rules).await,
            self.told(Id::Tls, "policy", "NoSuchBucketPolicy", policy).await,
        ]
    }

    /// One setting, by what `says` makes of the answer; empty where the store says by `unset` that
    /// nothing is set.
    async fn told(
        &self,
        id: SettingId,
        question: &str,
        unset: &str,
        says: impl FnOnce(&str) -> Setting,
    ) -> Setting {
        match self.ask(question).await.or_else(|refusal| empty(refusal, unset)) {
            Ok(text) => says(&text),
            Err(refusal) => Setting::unknown(id, refusal.why),
        }
    }

    /// What neither the bucket nor its account blocks may be open, or not: that the bucket's list of
    /// rights and its policy tell.
    async fn public_access(&self) -> Setting {
        const UNSET: &str = "NoSuchPublicAccessBlockConfiguration";
        const ID: SettingId = SettingId::PublicAccess;
        let bucket = self.ask("publicAccessBlock").await;
        let bucket = bucket.or_else(|refusal| empty(refusal, UNSET));
        let by_bucket = bucket.as_deref().map_or([false; 4], blocked);
        if by_bucket == [true; 4] {
            return Setting::is(ID, true, "blocked");
        }
        let account = self.account_blocks().await;
        let by_account = account.as_deref().map_or([false; 4], blocked);
        if by_account == [true; 4] {
            return Setting::is(ID, true, "blocked by the account");
        }
        // The stricter of the two counts, for each.
        let both: Vec<bool> = by_bucket.iter().zip(by_account).map(|(b, a)| *b || a).collect();
        let left: Vec<&str> = BLOCKS
            .into_iter()
            .zip(&both)
            .filter(|(_, both)| !**both)
            .map(|(name, _)| name)
            .collect();
        if left.is_empty() {
            return Setting::is(ID, true, "blocked, by bucket and account together");
        }
        let mut words = match (left.len(), &account) {
            (4, Ok(_)) => "blocked neither by the bucket nor by its account".to_owned(),
            (4, Err(why)) => format!("not blocked by the bucket; of its account: {why}"),
            (_, Ok(_)) => format!("blocked but for {}", left.join(", ")),
            (_, Err(why)) => {
                format!("blocked by the bucket but for {}; of its account: {why}", left.join(", "))
            }
        };
        if left.contains(&"IgnorePublicAcls") {
            match self.ask("acl").await {
                Ok(text) if acl_is_open(&text) => {
                    return Setting::open("open by its list of rights");
                }
                Ok(_) => words.push_str("; its list of rights opens it to nobody"),
                Err(_) => words.push_str("; its list of rights is not told"),
            }
        }
        if left.contains(&"RestrictPublicBuckets") {
            match self.ask("policyStatus").await {
                Ok(text) if text.contains("<PolicyStatus") => {
                    match element(&text, "IsPublic").eq_ignore_ascii_case("true") {
                        true => return Setting::open("open by its policy"),
                        false => words.push_str("; its policy opens it to nobody"),
                    }
                }
                Err(refusal) if refusal.code == "NoSuchBucketPolicy" => {
                    words.push_str("; it has no policy");
                }
                _ => words.push_str("; its policy is not told"),
            }
        }
        match bucket {
            Ok(_) => Setting::is(ID, false, words),
            Err(refusal) => Setting::unknown(ID, refusal.why),
        }
    }

    /// What the account that the bucket belongs to blocks; an error has why that is not told.
    async fn account_blocks(&self) -> Result<String, String> {
        const NOT_ASKED: &str = "not asked, for the store is not Amazon's";
        let host = self.bucket.host_str().unwrap_or_default();
        // Also where the host has the bucket's name in front.
        let domain = host.find("amazonaws.").map_or("amazonaws.com", |at| &host[at..]);
        let url = self.account.token(&self.region, domain).ok_or(NOT_ASKED)?;
        let identity = self.identity(&url).await.map_err(|refusal| refusal.why)?;
        let url = self.account.control(&identity, &self.region, domain).ok_or(NOT_ASKED)?;
        // The credential may be another account's than the bucket is.
        let mut owner = self.bucket.clone();
        owner.set_query(Some("location"));
        let owned = self.ask_for(&owner, "x-amz-expected-bucket-owner", &identity).await;
        if let Err(refusal) = owned {
            return Err(format!(
                "not told, for it may not be that of the credential ({})",
                refusal.why
            ));
        }
        self.ask_for(&url, "x-amz-account-id", &identity)
            .await
            .or_else(|refusal| empty(refusal, "NoSuchPublicAccessBlockConfiguration"))
            .map_err(|refusal| format!("not told, {}", refusal.why))
    }

    /// The number of the credential's account, which every credential may ask for.
    async fn identity(&self, service: &Url) -> Result<String, Refusal> {
        let mut url = service.clone();
        url.set_query(Some("Action=GetCallerIdentity&Version=2011-06-15"));
        let account = element(&self.send("sts", get(&url)?).await?, "Account");
        match account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()) {
            true => Ok(account),
            false => Err(Refusal::because("the credential's account is not told")),
        }
    }
}

/// That nothing is set is an answer as well.
fn empty(refusal: Refusal, unset: &str) -> Result<String, Refusal> {
    match !unset.is_empty() && refusal.code == unset {
        true => Ok(String::new()),
        false => Err(refusal),
    }
}

/// Which of [`BLOCKS`] an answer has.
fn blocked(text: &str) -> [bool; 4] {
    BLOCKS.map(|name| element(text, name).eq_ignore_ascii_case("true"))
}

fn versioning(text: &str) -> Setting {
    let id = SettingId::Versioning;
    match element(text, "Status").as_str() {
        "Enabled" => Setting::is(id, true, "on"),
        "Suspended" => Setting::is(id, false, "suspended"),
        _ => Setting::is(id, false, "off"),
    }
}

fn lock(text: &str) -> Setting {
    let id = SettingId::Lock;
    if element(text, "ObjectLockEnabled") != "Enabled" {
        return Setting::is(id, false, "off");
    }
    let (days, years) = (element(text, "Days"), element(text, "Years"));
    match (element(text, "Mode").to_lowercase(), days.as_str(), years.as_str()) {
        (mode, ..) if mode.is_empty() => {
            Setting::is(id, false, "possible, and no object is locked by default")
        }
        // Some stores name both, and 0 for the one that is not set.
        (mode, days, "" | "0") => Setting::is(id, true, format!("{mode}, {days} days")),
        (mode, _, years) => Setting::is(id, true, format!("{mode}, {years} years")),
    }
}

fn encryption(text: &str) -> Setting {
    let id = SettingId::Encryption;
    match element(text, "SSEAlgorithm").as_str() {
        "" => Setting::is(id, false, "no default"),
        algorithm => Setting::is(id, true, algorithm),
    }
}

/// By the policy of `bucket`.
fn tls(text: &str, bucket: &str) -> Setting {
    let id = SettingId::Tls;
    if text.is_empty() {
        return Setting::is(
            id,
            false,
            "requests without TLS are answered: the bucket has no policy",
        );
    }
    match serde_json::from_str(text) {
        Ok(policy) if refuses_plain(&policy, bucket) => {
            Setting::is(id, true, "its policy refuses requests without TLS")
        }
        Ok(_) => Setting::is(id, false, "its policy does not refuse requests without TLS"),
        Err(_) => Setting::unknown(id, "the store answered no policy"),
    }
}

/// Whether a list of rights gives any to everyone, or to every account of AWS.
fn acl_is_open(text: &str) -> bool {
    ["AllUsers", "AuthenticatedUsers"]
        .iter()
        .any(|group| text.contains(&format!("http://acs.amazonaws.com/groups/global/{group}<")))
}

/// Whether a statement of the policy denies everyone everything in `bucket` that comes without TLS.
/// Narrower ones do not count.
fn refuses_plain(policy: &Value, bucket: &str) -> bool {
    let objects = format!(":s3:::{bucket}/*");
    let statements = match &policy["Statement"] {
        Value::Array(statements) => statements.as_slice(),
        statement => std::slice::from_ref(statement),
    };
    statements.iter().any(|statement| {
        let everyone =
            names(&statement["Principal"], &["*"]) || names(&statement["Principal"]["AWS"], &["*"]);
        statement["Effect"] == "Deny"
            && everyone
            && names(&statement["Action"], &["*", "s3:*"])
            && strings(&statement["Resource"]).any(|what| what == "*" || what.ends_with(&objects))
            && plain_only(&statement["Condition"])
    })
}

/// Whether a value, or one of a list of them, is one of `expected`.
fn names(value: &Value, expected: &[&str]) -> bool {
    strings(value).any(|value| expected.iter().any(|name| name.eq_ignore_ascii_case(value)))
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    let list = match value {
        Value::Array(list) => list.as_slice(),
        value => std::slice::from_ref(value),
    };
    list.iter().filter_map(Value::as_str)
}

/// Whether the one condition is that a request came without TLS.
fn plain_only(condition: &Value) -> bool {
    let only = |value: &Value| -> Option<(String, Value)> {
        let object = value.as_object().filter(|object| object.len() == 1)?;
        object.iter().next().map(|(name, value)| (name.to_lowercase(), value.clone()))
    };
    let Some((operator, keys)) = only(condition) else { return false };
    let Some((key, value)) = only(&keys) else { return false };
    matches!(operator.as_str(), "bool" | "boolifexists")
        && key == "aws:securetransport"
        && (value == false || names(&value, &["false"]))
}

/// Rules that end uploads which nobody finished do no harm, nor do those for other keys; others
/// take objects away, or move them.
fn lifecycle(text: &str, prefix: &str) -> Setting {
    let is_on = |rule: &&str| element(rule, "Status") == "Enabled";
    let (ours, others): (Vec<&str>, Vec<&str>) = text
        .split("<Rule>")
        .skip(1)
        .filter(is_on)
        .partition(|rule| concerns(&element(rule, "Prefix"), prefix));
    let count = |what: &str| ours.iter().filter(|rule| rule.contains(what)).count();
    let told: Vec<String> = [
        ("<Expiration>", "that delete objects"),
        ("<Transition>", "that move objects to another class"),
        ("<NoncurrentVersionExpiration>", "that delete earlier versions"),
        ("<NoncurrentVersionTransition>", "that move earlier versions"),
    ]
    .into_iter()
    .map(|(element, what)| (count(element), what))
    .filter(|(rules, _)| *rules > 0)
    .map(|(rules, what)| format!("{rules} {what}"))
    .collect();
    let harmful = count("<Expiration>") + count("<Transition>");
    let words = match (ours.is_empty(), others.is_empty(), told.is_empty()) {
        (true, true, _) => "no rules".to_owned(),
        (true, false, _) => "rules for other objects only".to_owned(),
        (false, _, true) => "rules that leave objects alone".to_owned(),
        (false, _, false) => format!("rules: {}", told.join(", ")),
    };
    Setting::is(SettingId::Lifecycle, harmful == 0, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(setting: Setting) -> (bool, String) {
        setting.found.expect("an answer")
    }

    fn off(words: &str) -> (bool, String) {
        (false, words.to_owned())
    }

    fn on(words: &str) -> (bool, String) {
        (true, words.to_owned())
    }

    #[test]
    fn versions_and_locks() {
        assert_eq!(words(versioning("<Status>Enabled</Status>")), on("on"));
        assert_eq!(words(versioning("<Status>Suspended</Status>")), off("suspended"));
        assert_eq!(words(versioning("<VersioningConfiguration/>")), off("off"));
        let enabled = "<ObjectLockEnabled>Enabled</ObjectLockEnabled>";
        assert_eq!(words(lock("")), off("off"));
        assert!(!words(lock(enabled)).0);
        let locked = format!("{enabled}<Mode>GOVERNANCE</Mode><Days>30</Days>");
        assert_eq!(words(lock(&locked)), on("governance, 30 days"));
    }

    #[test]
    fn lists_of_rights() {
        let grant = |uri: &str| acl_is_open(&format!("<Grantee><URI>{uri}</URI></Grantee>"));
        assert!(grant("http://acs.amazonaws.com/groups/global/AllUsers"));
        assert!(grant("http://acs.amazonaws.com/groups/global/AuthenticatedUsers"));
        assert!(!grant("http://acs.amazonaws.com/groups/s3/LogDelivery"));
    }

    #[test]
    fn rules_of_a_lifecycle() {
        let rule = |what: &str| format!("<Rule><Status>Enabled</Status>{what}</Rule>");
        let all = |text: &str| words(lifecycle(text, "clinic/server"));
        let lifecycle = |what: &str| all(&rule(what));
        assert!(lifecycle("<AbortIncompleteMultipartUpload/>").0);
        let expiration = "<Expiration><Days>3</Days></Expiration>";
        assert!(!lifecycle(expiration).0);
        assert!(lifecycle("<NoncurrentVersionExpiration></NoncurrentVersionExpiration>").0);
        assert_eq!(all(""), on("no rules"));
        let disabled = "<Rule><Status>Disabled</Status><Expiration/></Rule>";
        assert_eq!(all(disabled), on("no rules"));
        let only = |prefix: &str| format!("<Filter><Prefix>{prefix}</Prefix></Filter>{expiration}");
        assert_eq!(lifecycle(&only("logs/")), on("rules for other objects only"));
        assert_eq!(lifecycle(&only("clinic/")), off("rules: 1 that delete objects"));
        assert!(!lifecycle(&only("clinic/server/packs/")).0);
    }

    /// As AWS's own documentation of `aws:SecureTransport` has it, and what is less than that.
    #[test]
    fn policies_that_refuse_plain_requests() {
        let policy = |effect: &str, principal: &str, action: &str, condition: &str| {
            let resource = r#"["arn:aws:s3:::records", "arn:aws:s3:::records/*"]"#;
            let statement = format!(
                r#"{{"Sid": "s", "Effect": "{effect}", "Principal": {principal}, "Action": {action},
                    "Resource": {resource}, "Condition": {condition}}}"#
            );
            format!(r#"{{"Version": "2012-10-17", "Statement": [{statement}]}}"#)
        };
        let told = |text: &str| words(tls(text, "records")).0;
        let plain = r#"{"Bool": {"aws:SecureTransport": "false"}}"#;
        assert!(told(&policy("Deny", r#""*""#, r#""s3:*""#, plain)));
        assert!(told(&policy("Deny", r#"{"AWS": "*"}"#, r#"["s3:*"]"#, plain)));
        for other in [
            policy("Allow", r#""*""#, r#""s3:*""#, plain),
            policy("Deny", r#"{"AWS": "123456789012"}"#, r#""s3:*""#, plain),
            policy("Deny", r#""*""#, r#""s3:PutObject""#, plain),
            policy("Deny", r#""*""#, r#""s3:*""#, r#"{"Bool": {"aws:SecureTransport": "true"}}"#),
            policy("Deny", r#""*""#, r#""s3:*""#, "{}"),
            policy("Deny", r#""*""#, r#""s3:*""#, plain).replace("records/*", "other/*"),
            // Only requests that come from one place as well.
            policy(
                "Deny",
                r#""*""#,
                r#""s3:*""#,
                r#"{"Bool": {"aws:SecureTransport": "false"},
                    "IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}"#,
            ),
            String::new(),
            "{}".to_owned(),
            "[]".to_owned(),
        ] {
            assert!(!told(&other), "{other}");
        }
        assert!(tls("<Error/>", "records").found.is_err());
    }
}
