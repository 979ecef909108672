//! The settings of a container of Azure Blob Storage, as far as its own API tells them.

use http::StatusCode;
use object_store::{
    azure::{AzureAuthorizer, MicrosoftAzure},
    client::{HttpClient, HttpResponse},
};
use url::Url;

use super::{Refusal, Setting, SettingId, ask, get, text};
use crate::client::element;

/// A container of Azure.
pub(super) struct Container<'s> {
    pub client: HttpClient,
    pub store: &'s MicrosoftAzure,
    pub account: String,
    pub endpoint: String,
    pub container: &'s str,
}

impl Container<'_> {
    async fn ask(&self, path: &str) -> Result<HttpResponse, Refusal> {
        let url = Url::parse(&format!("{}/{path}", self.endpoint)).map_err(Refusal::because)?;
        let mut request = get(&url)?;
        let credential =
            self.store.credentials().get_credential().await.map_err(Refusal::because)?;
        AzureAuthorizer::new(&credential, &self.account)
            .try_authorize(&mut request)
            .map_err(Refusal::because)?;
        let response = ask(&self.client, request).await?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status => Err(Refusal::because(format!("the store answered {status}"))),
        }
    }

    pub async fn settings(&self) -> Vec<Setting> {
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
            Setting::unknown(SettingId::Tls, MANAGEMENT),
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
