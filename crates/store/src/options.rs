//! How to talk to a store, and the provider's own settings, taken from an environment that the
//! caller passes in.

use std::{collections::BTreeMap, fmt, num::NonZeroU64, path::PathBuf, time::Duration};

use zeroize::Zeroizing;

use crate::{StoreError, StoreKind};

/// How to talk to a store. Everything has a default that works.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Bytes per second in each direction; `None` for no limit.
    pub bandwidth: Option<NonZeroU64>,
    /// The most operations at a time; how many there are adapts to what the store takes.
    pub concurrency_max: usize,
    /// How long a request may make no progress.
    pub stall: Duration,
    /// Bytes per second below which a transfer is given up.
    pub slowest: u64,
    /// How long one operation is tried again in all.
    pub retry: Duration,
    /// Whether plain http to other machines is allowed.
    pub allow_http: bool,
    /// URL of the service, where it is not the provider's own.
    pub endpoint: Option<String>,
    /// S3: the bucket in the path (true) or in the host name (false). By default in the path,
    /// which every implementation understands.
    pub path_style: bool,
    /// S3: the region.
    pub region: Option<String>,
    /// Storage class (S3, GCS) or access tier (Azure) of packs, by the provider's name. Small
    /// objects, which every opening reads, stay in the bucket's default class.
    pub storage_class: Option<String>,
    /// S3: the store's own encryption beside drover's, `AES256`, `aws:kms` or `aws:kms:dsse`; by
    /// default what the bucket says.
    pub sse: Option<String>,
    /// S3: the KMS key of that encryption; by default the account's.
    pub kms_key_id: Option<String>,
    /// S3: the checksum that goes with each body and that the store checks.
    pub checksum: Checksum,
    /// Certificate authorities (PEM) that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// URL of a proxy.
    pub proxy: Option<String>,
    /// Hosts that are reached without the proxy, separated by commas.
    pub no_proxy: Option<String>,
    pub(crate) settings: Settings,
}

/// A checksum that travels with a body and is checked by the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// SHA-256, which signing the request needs anyway.
    #[default]
    Sha256,
    /// CRC-64/NVME.
    Crc64Nvme,
    /// None, for S3 implementations that refuse the header. The signature still covers the body.
    None,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            bandwidth: None,
            concurrency_max: 32,
            stall: Duration::from_secs(60),
            slowest: 16 << 10,
            retry: Duration::from_secs(600),
            allow_http: false,
            endpoint: None,
            path_style: true,
            region: None,
            storage_class: None,
            sse: None,
            kms_key_id: None,
            checksum: Checksum::default(),
            ca_file: None,
            proxy: None,
            no_proxy: None,
            settings: Settings::default(),
        }
    }
}

impl StoreOptions {
    /// The defaults with what an environment says: `AWS_*`, `AZURE_*`, `GOOGLE_*` as each
    /// provider documents them, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` in either case, and
    /// `HOME`, below which AWS keeps its configuration files. Everything else is ignored.
    pub fn from_env(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut options = Self::default();
        let mut proxies = BTreeMap::new();
        for (name, value) in variables {
            let value = Zeroizing::new(value);
            if value.is_empty() {
                continue;
            }
            match name.as_str() {
                "HTTPS_PROXY" | "https_proxy" | "ALL_PROXY" | "all_proxy" => {
                    proxies.insert(name.to_ascii_lowercase(), value.to_string());
                }
                "NO_PROXY" | "no_proxy" => options.no_proxy = Some(value.to_string()),
                "HOME" => drop(options.settings.0.insert(name, value)),
                _ if ["AWS_", "AZURE_", "AZURITE_", "GOOGLE_"]
                    .iter()
                    .any(|p| name.starts_with(p)) =>
                {
                    options.settings.0.insert(name, value);
                }
                _ => {}
            }
        }
        options.proxy = proxies.remove("https_proxy").or_else(|| proxies.remove("all_proxy"));
        options
    }

    /// The endpoint for `kind`: the option, else what the provider's environment names.
    pub(crate) fn endpoint_for(&self, kind: StoreKind) -> Option<String> {
        let names: &[&str] = match kind {
            StoreKind::S3 => &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"],
            StoreKind::Azure => &["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"],
            StoreKind::Gcs => &["GOOGLE_BASE_URL"],
            StoreKind::Local | StoreKind::Memory => &[],
        };
        self.endpoint
            .clone()
            .or_else(|| names.iter().find_map(|name| self.settings.get(name)).map(str::to_owned))
    }

    /// Refuses what the service does not have, and classes whose objects cannot be read at once.
    pub(crate) fn check_storage(&self, kind: StoreKind) -> Result<(), StoreError> {
        let bad = |name: &str, reason: &str| {
            Err(StoreError::BadOption { name: name.to_owned(), reason: reason.to_owned() })
        };
        let class = self.storage_class.as_deref();
        let is_archive = match kind {
            StoreKind::Local | StoreKind::Memory if class.is_some() => {
                return bad("storage class", "a directory has none");
            }
            StoreKind::S3 => matches!(class, Some("GLACIER" | "DEEP_ARCHIVE")),
            StoreKind::Azure => class.is_some_and(|class| class.eq_ignore_ascii_case("archive")),
            // Google's archive class is read as fast as any other.
            StoreKind::Gcs | StoreKind::Local | StoreKind::Memory => false,
        };
        if is_archive {
            return bad(
                "storage class",
                "what is archived cannot be read at once, and verifying and restoring read packs",
            );
        }
        if kind != StoreKind::S3 && (self.sse.is_some() || self.kms_key_id.is_some()) {
            return bad("sse", "only S3 is asked for it: elsewhere the bucket's settings decide");
        }
        match (self.sse.as_deref(), &self.kms_key_id) {
            (Some("AES256"), Some(_)) => bad("KMS key", "AES256 uses none: give aws:kms"),
            (None | Some("AES256" | "aws:kms" | "aws:kms:dsse"), _) => Ok(()),
            (Some(_), _) => bad("sse", "it is none of AES256, aws:kms, aws:kms:dsse"),
        }
    }

    /// Refuses an endpoint that is no URL, holds credentials, or is plain http to elsewhere.
    pub(crate) fn check_endpoint(&self, endpoint: &str) -> Result<(), StoreError> {
        let bad = |reason: &str| StoreError::BadOption {
            name: "endpoint".to_owned(),
            reason: reason.to_owned(),
        };
        let url = ::url::Url::parse(endpoint)
            .map_err(|_| bad("it is not a URL such as https://s3.example.org"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("credentials do not belong into a URL"));
        }
        match (url.scheme(), url.host_str()) {
            ("https", Some(_)) => Ok(()),
            ("http", Some(host)) if self.allow_http || crate::client::is_loopback(host) => Ok(()),
            ("http", Some(_)) => Err(StoreError::InsecureHttp { url: url.to_string() }),
            _ => Err(bad("it begins neither with https:// nor with http://")),
        }
    }
}

/// Variables of a provider's environment. Their values may be secrets and are never shown.
#[derive(Clone, Default)]
pub(crate) struct Settings(BTreeMap<String, Zeroizing<String>>);

impl Settings {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.as_str())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> StoreOptions {
        StoreOptions::from_env(pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())))
    }

    #[test]
    fn secrets_of_the_environment_do_not_show() {
        let options =
            env(&[("AWS_SECRET_ACCESS_KEY", "hunter2"), ("PASSWORD", "x"), ("AWS_REGION", "")]);
        let shown = format!("{options:?}");
        assert!(shown.contains("AWS_SECRET_ACCESS_KEY") && !shown.contains("hunter2"), "{shown}");
        assert!(!shown.contains("PASSWORD") && !shown.contains("AWS_REGION"));
    }

    #[test]
    fn the_most_special_endpoint_counts() {
        let options = env(&[
            ("AWS_ENDPOINT_URL", "https://a"),
            ("AWS_ENDPOINT_URL_S3", "https://b"),
            ("all_proxy", "http://p:1"),
            ("HTTPS_PROXY", "http://p:2"),
        ]);
        assert_eq!(options.endpoint_for(StoreKind::S3).as_deref(), Some("https://b"));
        assert_eq!(options.endpoint_for(StoreKind::Gcs), None);
        assert_eq!(options.proxy.as_deref(), Some("http://p:2"));
    }

    #[test]
    fn what_a_service_does_not_have_and_archives_are_refused() {
        use StoreKind::{Azure, Gcs, Local, S3};
        let check = |kind, class: &str, sse: &str, key: &str| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let (storage_class, sse, kms_key_id) = (some(class), some(sse), some(key));
            let options =
                StoreOptions { storage_class, sse, kms_key_id, ..StoreOptions::default() };
            options.check_storage(kind).is_ok()
        };
        assert!(check(S3, "STANDARD_IA", "aws:kms", "key") && check(S3, "GLACIER_IR", "", "key"));
        assert!(check(Azure, "Cool", "", "") && check(Gcs, "ARCHIVE", "", ""));
        assert!(check(Local, "", "", "") && check(S3, "", "AES256", ""));
        assert!(!check(S3, "DEEP_ARCHIVE", "", "") && !check(Azure, "archive", "", ""));
        assert!(!check(Local, "STANDARD", "", "") && !check(Gcs, "", "AES256", ""));
        assert!(!check(S3, "", "aes", "") && !check(S3, "", "AES256", "key"));
    }

    #[test]
    fn plain_http_goes_to_this_machine_only() {
        let mut options = env(&[]);
        for good in [
            "https://s3.example.org",
            "http://127.0.0.1:5555",
            "http://localhost",
            "http://[::1]:1",
        ] {
            assert!(options.check_endpoint(good).is_ok(), "{good}");
        }
        for bad in
            ["http://10.0.0.1", "http://127.0.0.1.example.org", "http://localhost.example.org"]
        {
            assert!(
                matches!(options.check_endpoint(bad), Err(StoreError::InsecureHttp { .. })),
                "{bad}"
            );
        }
        assert!(options.check_endpoint("https://key:secret@host").is_err());
        assert!(options.check_endpoint("s3.example.org").is_err());
        options.allow_http = true;
        assert!(options.check_endpoint("http://10.0.0.1").is_ok());
    }
}
