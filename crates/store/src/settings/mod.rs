//! How the bucket is set up: read-only questions that `object_store` does not ask, signed with its
//! own signatures and sent by this crate's client.
//!
//! What is not answered is no answer: it says why, and never that all is well. Each question is asked
//! once: who asks wants to know, and waits for nothing.

mod azure;
mod google;
mod s3;

use std::pin::Pin;

use http::Method;
use http_body::Body as _;
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody, HttpResponse};
use url::Url;

use crate::{
    Store, StoreKind,
    backend::{self, Backend},
    classify::find,
    client::HttpFailure,
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
    /// Whether requests without TLS are refused.
    Tls,
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

const ALL: [SettingId; 6] = [
    SettingId::Versioning,
    SettingId::Lock,
    SettingId::PublicAccess,
    SettingId::Encryption,
    SettingId::Lifecycle,
    SettingId::Tls,
];

impl Store {
    /// Asks for the settings of the bucket; a directory has none.
    pub async fn settings(&self) -> Vec<Setting> {
        let Place::Cloud { kind, bucket, prefix } = self.url().place() else { return Vec::new() };
        let (kind, options, traffic) = (*kind, self.options().clone(), self.traffic().clone());
        let opened = blocking(bucket, move || {
            let client = backend::client(kind, &options, &traffic)?;
            let account = match kind {
                StoreKind::Azure => backend::azure_account(&options)?,
                _ => None,
            };
            Ok((client, account, backend::endpoint(kind, &options)?))
        });
        let unknown = |why: String| ALL.map(|id| Setting::unknown(id, why.clone())).to_vec();
        let (client, account, endpoint) = match opened.await {
            Ok(opened) => opened,
            Err(error) => return unknown(error.to_string()),
        };
        match (self.backend(), account) {
            (Backend::S3(store), _) => {
                let account = s3::AccountEndpoints::new(self.options(), endpoint.is_some());
                let account = match account {
                    Ok(account) => account,
                    Err(error) => return unknown(error.to_string()),
                };
                match s3::Bucket::new(client, store, bucket, prefix, account).await {
                    Ok(asked) => asked.settings().await,
                    Err(why) => unknown(why),
                }
            }
            (Backend::Azure(store), Some((account, endpoint))) => {
                azure::Container { client, store, account, endpoint, container: bucket }
                    .settings()
                    .await
            }
            (Backend::Azure(_), None) => unknown("the account's name is not set".to_owned()),
            (Backend::Gcs(store), _) => {
                match google::Bucket::new(client, store, bucket, endpoint) {
                    Ok(asked) => asked.settings(prefix).await,
                    Err(why) => unknown(why),
                }
            }
            (Backend::Local(_) | Backend::Memory(_), _) => Vec::new(),
        }
    }
}

/// Whether a rule for keys that begin with `rule` concerns keys below `prefix`.
fn concerns(rule: &str, prefix: &str) -> bool {
    let below = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    below.starts_with(rule) || rule.starts_with(&below)
}

/// Why there is no answer.
struct Refusal {
    code: String,
    why: String,
}

impl Refusal {
    /// Without an answer of the store.
    fn because(why: impl ToString) -> Self {
        Self { code: String::new(), why: why.to_string() }
    }
}

/// Sends a request that reads.
async fn ask(client: &HttpClient, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    client.execute(request).await.map_err(|error| match find::<HttpFailure>(&error) {
        Some(HttpFailure::Refused { code, status, .. }) if !code.is_empty() => {
            Refusal { code: code.clone(), why: format!("the store answered {status} {code}") }
        }
        Some(failure) => Refusal::because(failure.to_string().trim()),
        None => Refusal::because(error),
    })
}

/// The body as text.
async fn text(response: HttpResponse) -> Result<String, Refusal> {
    let (mut body, mut bytes) = (response.into_body(), Vec::new());
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(Refusal::because)?;
        let data = frame.into_data().unwrap_or_default();
        if bytes.len() + data.len() > LONGEST {
            return Err(Refusal::because("the answer is too long"));
        }
        bytes.extend_from_slice(&data);
    }
    String::from_utf8(bytes).map_err(|_| Refusal::because("the answer is no text"))
}

fn get(url: &Url) -> Result<HttpRequest, Refusal> {
    http::Request::builder()
        .method(Method::GET)
        .uri(url.as_str())
        .body(HttpRequestBody::empty())
        .map_err(Refusal::because)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_concern_what_they_name() {
        for (rule, prefix, expected) in [
            ("", "server", true),
            ("server", "server", true),
            ("server/", "server", true),
            ("server/packs/", "server", true),
            ("serv", "server", true),
            ("server2", "server", false),
            ("logs/", "server", false),
            ("logs/", "", true),
            ("clinic/a", "clinic/b", false),
        ] {
            assert_eq!(concerns(rule, prefix), expected, "{rule} {prefix}");
        }
    }
}
