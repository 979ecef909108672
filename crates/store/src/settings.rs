//! How the bucket is set up: read-only questions that `object_store` does not ask, signed with its
//! own signatures and sent by this crate's client.
//!
//! What is not answered is no answer: it says why, and never that all is well. Each question is asked
//! once: who asks wants to know, and waits for nothing.

use std::pin::Pin;

use http::{Method, StatusCode};
use http_body::Body as _;
use object_store::{
    aws::{AmazonS3, AwsAuthorizer},
    azure::{AzureAuthorizer, MicrosoftAzure},
    client::{HttpClient, HttpRequest, HttpRequestBody, HttpResponse},
    path::Path,
    signer::Signer,
};
use url::Url;

use crate::{
    Store, StoreKind,
    backend::{self, Backend},
    classify::find,
    client::{HttpFailure, element},
    store::blocking,
    url::Place,
};

/// The longest answer that is read, in bytes: a thousand rules of a lifecycle stay below.
const LONGEST: usize = 1 << 20;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SettingId {
    /// Whether what is overwritten or deleted is kept as an earlier version, or can be brought back.
    Versioning,
    /// Whether objects cannot be deleted before their time.
    Lock,
    /// Whether objects can be opened to everyone.
    PublicAccess,
    /// Whether the store encrypts what it keeps.
    Encryption,
    /// Whether the store deletes or moves objects by itself.
    Lifecycle,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Which.
    pub id: SettingId,
    /// Whether it protects what is stored, and what it is, in words; else why nobody knows.
    pub found: Result<(bool, String), String>,
    /// Of public access: whether the store says that everyone may look in, or list.
    pub is_open: bool,
}

impl Setting {
    fn is(id: SettingId, protects: bool, words: impl Into<String>) -> Self {
        Self { id, found: Ok((protects, words.into())), is_open: false }
    }

    fn open(words: impl Into<String>) -> Self {
        let id = SettingId::PublicAccess;
        Self { id, found: Ok((false, words.into())), is_open: true }
    }

    fn unknown(id: SettingId, why: impl Into<String>) -> Self {
        Self { id, found: Err(why.into()), is_open: false }
    }
}

const ALL: [SettingId; 5] = [
    SettingId::Versioning,
    SettingId::Lock,
    SettingId::PublicAccess,
    SettingId::Encryption,
    SettingId::Lifecycle,
];

impl Store {
    /// Asks for the settings of the bucket; a directory has none.
    pub async fn settings(&self) -> Vec<Setting> {
        let Place::Cloud { kind, bucket, .. } = self.url().place() else { return Vec::new() };
        let (kind, options, traffic) = (*kind, self.options().clone(), self.traffic().clone());
        let opened = blocking(bucket, move || {
            let account = match kind {
                StoreKind::Azure => backend::azure_account(&options)?,
                _ => None,
            };
            Ok((backend::client(kind, &options, &traffic)?, account))
        });
        let unknown = |why: String| ALL.map(|id| Setting::unknown(id, why.clone())).to_vec();
        let (client, account) = match opened.await {
            Ok(opened) => opened,
            Err(error) => return unknown(error.to_string()),
        };
        match (self.backend(), account) {
            (Backend::S3(store), _) => match S3::new(client, store).await {
                Ok(asked) => asked.settings().await,
                Err(why) => unknown(why),
            },
            (Backend::Azure(store), Some((account, endpoint))) => {
                Azure { client, store, account, endpoint, container: bucket }.settings().await
            }
            (Backend::Azure(_), None) => unknown("the account's name is not set".to_owned()),
            _ => unknown("Google Cloud Storage is not asked for them yet".to_owned()),
        }
    }
}

/// Why there is no answer.
struct Refusal {
    code: String,
    why: String,
}

/// Sends a request that reads.
async fn ask(client: &HttpClient, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    client.execute(request).await.map_err(|error| match find::<HttpFailure>(&error) {
        Some(HttpFailure::Refused { code, status, .. }) if !code.is_empty() => {
            Refusal { code: code.clone(), why: format!("the store answered {status} {code}") }
        }
        Some(failure) => {
            Refusal { code: String::new(), why: failure.to_string().trim().to_owned() }
        }
        None => Refusal { code: String::new(), why: error.to_string() },
    })
}

/// The body as text.
async fn text(response: HttpResponse) -> Result<String, Refusal> {
    let fail = |why: String| Refusal { code: String::new(), why };
    let (mut body, mut bytes) = (response.into_body(), Vec::new());
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| fail(error.to_string()))?;
        let data = frame.into_data().unwrap_or_default();
        if bytes.len() + data.len() > LONGEST {
            return Err(fail("the answer is too long".to_owned()));
        }
        bytes.extend_from_slice(&data);
    }
    String::from_utf8(bytes).map_err(|_| fail("the answer is no text".to_owned()))
}

fn get(url: &Url) -> Result<HttpRequest, String> {
    http::Request::builder()
        .method(Method::GET)
        .uri(url.as_str())
        .body(HttpRequestBody::empty())
        .map_err(|error| error.to_string())
}

/// A bucket of S3.
struct S3<'s> {
    client: HttpClient,
    store: &'s AmazonS3,
    bucket: Url,
    region: String,
}

impl<'s> S3<'s> {
    /// The bucket's URL and region are those that the store itself signs for.
    async fn new(client: HttpClient, store: &'s AmazonS3) -> Result<Self, String> {
        const OBJECT: &str = "x";
        let hour = std::time::Duration::from_secs(3600);
        let signed = store.signed_url(Method::GET, &Path::from(OBJECT), hour).await;
        let mut bucket =
            signed.map_err(|error| format!("the request cannot be signed: {error}"))?;
        let scope = bucket.query_pairs().find(|(name, _)| name == "X-Amz-Credential");
        let region = scope.and_then(|(_, scope)| scope.rsplit('/').nth(2).map(str::to_owned));
        let region = region.ok_or("the request is not signed")?;
        bucket.set_query(None);
        let path = bucket.path().trim_end_matches(OBJECT).to_owned();
        bucket.set_path(&path);
        Ok(Self { client, store, bucket, region })
    }

    async fn ask(&self, question: &str) -> Result<String, Refusal> {
        let fail = |why: String| Refusal { code: String::new(), why };
        let mut url = self.bucket.clone();
        url.set_query(Some(question));
        let mut request = get(&url).map_err(fail)?;
        let credential = self.store.credentials().get_credential().await;
        let credential = credential.map_err(|error| fail(error.to_string()))?;
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .try_authorize(&mut request, None)
            .map_err(|error| fail(error.to_string()))?;
        text(ask(&self.client, request).await?).await
    }

    async fn settings(&self) -> Vec<Setting> {
        let mut found = Vec::new();
        for id in ALL {
            let (question, unset): (_, &[&str]) = match id {
                SettingId::Versioning => ("versioning", &[]),
                SettingId::Lock => ("object-lock", &["ObjectLockConfigurationNotFoundError"]),
                SettingId::PublicAccess => {
                    ("publicAccessBlock", &["NoSuchPublicAccessBlockConfiguration"])
                }
                SettingId::Encryption => {
                    ("encryption", &["ServerSideEncryptionConfigurationNotFoundError"])
                }
                SettingId::Lifecycle => ("lifecycle", &["NoSuchLifecycleConfiguration"]),
            };
            let answer = match self.ask(question).await {
                // That nothing is set is an answer as well.
                Err(refusal) if unset.contains(&refusal.code.as_str()) => Ok(String::new()),
                answer => answer,
            };
            found.push(match answer {
                Ok(text) if id == SettingId::PublicAccess => self.public_access(&text).await,
                Ok(text) => s3_setting(id, &text),
                // What is not told may be open all the same.
                Err(refusal) if id == SettingId::PublicAccess => {
                    let asked = self.public_access("").await;
                    match asked.is_open {
                        true => asked,
                        false => Setting::unknown(id, refusal.why),
                    }
                }
                Err(refusal) => Setting::unknown(id, refusal.why),
            });
        }
        found
    }

    /// What the bucket does not block may be open, or not: that its list of rights and its policy
    /// tell.
    async fn public_access(&self, blocks: &str) -> Setting {
        let blocked = |name: &str| element(blocks, name) == "true";
        let mut setting = s3_setting(SettingId::PublicAccess, blocks);
        let Ok((false, words)) = &mut setting.found else { return setting };
        if !blocked("IgnorePublicAcls") {
            match self.ask("acl").await {
                Ok(text) if s3_acl_is_open(&text) => {
                    return Setting::open("open by its list of rights");
                }
                Ok(_) => words.push_str("; its list of rights opens it to nobody"),
                Err(_) => words.push_str("; its list of rights is not told"),
            }
        }
        if !blocked("RestrictPublicBuckets") {
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
        setting
    }
}

/// What an answer of S3 says; empty where nothing is set.
fn s3_setting(id: SettingId, text: &str) -> Setting {
    let is = |name: &str, value: &str| element(text, name) == value;
    match id {
        SettingId::Versioning => match element(text, "Status").as_str() {
            "Enabled" => Setting::is(id, true, "on"),
            "Suspended" => Setting::is(id, false, "suspended"),
            _ => Setting::is(id, false, "off"),
        },
        SettingId::Lock if !is("ObjectLockEnabled", "Enabled") => Setting::is(id, false, "off"),
        SettingId::Lock => {
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
        SettingId::PublicAccess => {
            const BLOCKS: [&str; 4] = [
                "BlockPublicAcls",
                "IgnorePublicAcls",
                "BlockPublicPolicy",
                "RestrictPublicBuckets",
            ];
            let open: Vec<_> = BLOCKS.into_iter().filter(|block| !is(block, "true")).collect();
            match open.len() {
                0 => Setting::is(id, true, "blocked"),
                4 => Setting::is(id, false, "not blocked by the bucket"),
                _ => Setting::is(id, false, format!("blocked but for {}", open.join(", "))),
            }
        }
        SettingId::Encryption => match element(text, "SSEAlgorithm").as_str() {
            "" => Setting::is(id, false, "no default"),
            algorithm => Setting::is(id, true, algorithm),
        },
        SettingId::Lifecycle => s3_lifecycle(text),
    }
}

/// Whether a list of rights gives any to everyone, or to every account of AWS.
fn s3_acl_is_open(text: &str) -> bool {
    ["AllUsers", "AuthenticatedUsers"]
        .iter()
        .any(|group| text.contains(&format!("http://acs.amazonaws.com/groups/global/{group}<")))
}

/// Rules that end uploads which nobody finished do no harm; others take objects away, or move them.
fn s3_lifecycle(text: &str) -> Setting {
    let rules = text.split("<Rule>").skip(1).filter(|rule| !element(rule, "Status").is_empty());
    let on: Vec<&str> = rules.filter(|rule| element(rule, "Status") == "Enabled").collect();
    let count = |what: &str| on.iter().filter(|rule| rule.contains(what)).count();
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
    let words = match (on.is_empty(), told.is_empty()) {
        (true, _) => "no rules".to_owned(),
        (false, true) => "rules that leave objects alone".to_owned(),
        (false, false) => format!("rules: {}", told.join(", ")),
    };
    Setting::is(SettingId::Lifecycle, harmful == 0, words)
}

/// A container of Azure.
struct Azure<'s> {
    client: HttpClient,
    store: &'s MicrosoftAzure,
    account: String,
    endpoint: String,
    container: &'s str,
}

impl Azure<'_> {
    async fn ask(&self, path: &str) -> Result<HttpResponse, Refusal> {
        let fail = |why: String| Refusal { code: String::new(), why };
        let url = Url::parse(&format!("{}/{path}", self.endpoint));
        let mut request = get(&url.map_err(|error| fail(error.to_string()))?).map_err(fail)?;
        let credential = self.store.credentials().get_credential().await;
        let credential = credential.map_err(|error| fail(error.to_string()))?;
        AzureAuthorizer::new(&credential, &self.account)
            .try_authorize(&mut request)
            .map_err(|error| fail(error.to_string()))?;
        let response = ask(&self.client, request).await?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status => Err(fail(format!("the store answered {status}"))),
        }
    }

    async fn settings(&self) -> Vec<Setting> {
        const MANAGEMENT: &str =
            "only Azure's management API tells, which this credential is not for";
        let container = self.ask(&format!("{}?restype=container", self.container)).await;
        let (lock, public) = match &container {
            Ok(response) => azure_container(response),
            Err(refusal) => (
                Setting::unknown(SettingId::Lock, refusal.why.clone()),
                Setting::unknown(SettingId::PublicAccess, refusal.why.clone()),
            ),
        };
        let service = match self.ask("?restype=service&comp=properties").await {
            Ok(response) => text(response).await,
            Err(refusal) => Err(refusal),
        };
        let kept = match service {
            Ok(text) => {
                let policy = text.split("<DeleteRetentionPolicy>").nth(1).unwrap_or_default();
                let policy = policy.split("</DeleteRetentionPolicy>").next().unwrap_or_default();
                match element(policy, "Enabled").as_str() {
                    "true" => {
                        let days = element(policy, "Days");
                        let words = format!("what is deleted can be brought back for {days} days");
                        Setting::is(SettingId::Versioning, true, words)
                    }
                    _ => Setting::is(
                        SettingId::Versioning,
                        false,
                        "what is deleted cannot be brought back; versions: not told",
                    ),
                }
            }
            Err(refusal) => Setting::unknown(SettingId::Versioning, refusal.why),
        };
        vec![
            kept,
            lock,
            public,
            // There is no way to turn it off.
            Setting::is(SettingId::Encryption, true, "always on, by Azure itself"),
            Setting::unknown(SettingId::Lifecycle, MANAGEMENT),
        ]
    }
}

/// Lock and public access, as the head of an answer about the container has them.
fn azure_container(response: &HttpResponse) -> (Setting, Setting) {
    let header = |name: &str| {
        response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    };
    let is = |name: &str| header(name).eq_ignore_ascii_case("true");
    let lock = match (is("x-ms-has-immutability-policy"), is("x-ms-has-legal-hold")) {
        (true, _) => Setting::is(SettingId::Lock, true, "an immutability policy"),
        (_, true) => Setting::is(SettingId::Lock, true, "a legal hold"),
        _ => Setting::is(SettingId::Lock, false, "off"),
    };
    let public = match header("x-ms-blob-public-access") {
        "" => Setting::is(SettingId::PublicAccess, true, "none on the container"),
        level => Setting::open(format!("everyone may read ({})", level.escape_default())),
    };
    (lock, public)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_s3() {
        let words = |id: SettingId, text: &str| s3_setting(id, text).found.expect("an answer");
        let off = |words: &str| (false, words.to_owned());
        let on = |words: &str| (true, words.to_owned());
        let versioning = SettingId::Versioning;
        assert_eq!(words(versioning, "<Status>Enabled</Status>"), on("on"));
        assert_eq!(words(versioning, "<Status>Suspended</Status>"), off("suspended"));
        assert_eq!(words(versioning, "<VersioningConfiguration/>"), off("off"));
        let lock = "<ObjectLockEnabled>Enabled</ObjectLockEnabled>";
        assert_eq!(words(SettingId::Lock, ""), off("off"));
        assert!(!words(SettingId::Lock, lock).0);
        let locked = format!("{lock}<Mode>GOVERNANCE</Mode><Days>30</Days>");
        assert_eq!(words(SettingId::Lock, &locked), on("governance, 30 days"));
        let public = "<BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true</IgnorePublicAcls>\
                      <BlockPublicPolicy>true</BlockPublicPolicy>";
        let told = words(SettingId::PublicAccess, public);
        assert_eq!(told, off("blocked but for RestrictPublicBuckets"));
        assert!(!words(SettingId::PublicAccess, "").0);
        let grant = |uri: &str| s3_acl_is_open(&format!("<Grantee><URI>{uri}</URI></Grantee>"));
        assert!(grant("http://acs.amazonaws.com/groups/global/AllUsers"));
        assert!(grant("http://acs.amazonaws.com/groups/global/AuthenticatedUsers"));
        assert!(!grant("http://acs.amazonaws.com/groups/s3/LogDelivery"));
        let rule = |what: &str| format!("<Rule><Status>Enabled</Status>{what}</Rule>");
        let lifecycle = |what: &str| words(SettingId::Lifecycle, &rule(what));
        assert!(lifecycle("<AbortIncompleteMultipartUpload/>").0);
        assert!(!lifecycle("<Expiration><Days>3</Days></Expiration>").0);
        assert!(lifecycle("<NoncurrentVersionExpiration></NoncurrentVersionExpiration>").0);
        assert_eq!(words(SettingId::Lifecycle, ""), on("no rules"));
        let disabled = "<Rule><Status>Disabled</Status><Expiration/></Rule>";
        assert_eq!(words(SettingId::Lifecycle, disabled), on("no rules"));
    }
}
