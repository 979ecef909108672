//! The implementations of `object_store`, built from a URL and options.

use std::{path::Path, sync::Arc, time::Duration};

use object_store::{
    ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut},
    azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder},
    client::{HttpClient, HttpConnector},
    gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder, GoogleConfigKey},
    list::PaginatedListStore,
    local::LocalFileSystem,
    memory::InMemory,
    multipart::MultipartStore,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::{
    Checksum, StoreError, StoreKind, StoreOptions, StoreUrl,
    classify::{io_error, store_error},
    client::{Connector, Shared, Traffic},
    profile,
    url::Place,
    validity::{Looking, Shown},
};

#[derive(Debug)]
pub(crate) enum Backend {
    Local(LocalFileSystem),
    Memory(InMemory),
    S3(AmazonS3),
    Azure(MicrosoftAzure),
    Gcs(GoogleCloudStorage),
}

impl Backend {
    pub fn objects(&self) -> &dyn ObjectStore {
        match self {
            Self::Local(store) => store,
            Self::Memory(store) => store,
            Self::S3(store) => store,
            Self::Azure(store) => store,
            Self::Gcs(store) => store,
        }
    }

    /// The listing by pages, which only the clouds have.
    pub fn pages(&self) -> Option<&dyn PaginatedListStore> {
        match self {
            Self::Local(_) | Self::Memory(_) => None,
            Self::S3(store) => Some(store),
            Self::Azure(store) => Some(store),
            Self::Gcs(store) => Some(store),
        }
    }

    /// Objects in parts, which a directory lacks.
    pub fn parts(&self) -> Option<&dyn MultipartStore> {
        match self {
            Self::Local(_) => None,
            Self::Memory(store) => Some(store),
            Self::S3(store) => Some(store),
            Self::Azure(store) => Some(store),
            Self::Gcs(store) => Some(store),
        }
    }

    /// Whether bodies go through [`crate::client`], which paces and counts them.
    pub fn is_cloud(&self) -> bool {
        self.pages().is_some()
    }

    /// Opens the place that `url` names. Sends nothing.
    pub fn open(
        url: &StoreUrl,
        options: &StoreOptions,
        traffic: &Arc<Traffic>,
    ) -> Result<Self, StoreError> {
        options.check_storage(url.kind())?;
        let (kind, bucket) = match url.place() {
            Place::Memory => return Ok(Self::Memory(InMemory::new())),
            Place::Local(path) => return open_local(url, path),
            Place::Cloud { kind, bucket, .. } => (*kind, bucket.as_str()),
        };
        let endpoint = endpoint(kind, options)?;
        let connector = connector(endpoint.as_deref(), options, traffic)?;
        let built = match kind {
            StoreKind::Azure => azure(bucket, options, endpoint, connector).map(Self::Azure),
            StoreKind::Gcs => gcs(bucket, options, endpoint, connector).map(Self::Gcs),
            _ => {
                let profile = profile::load(&options.settings)?;
                s3(bucket, options, endpoint, connector, profile).map(Self::S3)
            }
        };
        built.map_err(|error| match store_error(&url.to_string(), error) {
            StoreError::Protocol { object, source } => StoreError::BadOption {
                name: object,
                reason: source.map_or_else(String::new, |source| source.to_string()),
            },
            error => error,
        })
    }
}

/// Where the service is, where that is not the provider's own place.
pub(crate) fn endpoint(
    kind: StoreKind,
    options: &StoreOptions,
) -> Result<Option<String>, StoreError> {
    let endpoint = match (kind, options.endpoint_for(kind)) {
        (StoreKind::S3, None) => profile::load(&options.settings)?.remove("AWS_ENDPOINT_URL"),
        (_, endpoint) => endpoint,
    };
    if let Some(endpoint) = &endpoint {
        options.check_endpoint(endpoint)?;
    }
    Ok(endpoint)
}

fn connector(
    endpoint: Option<&str>,
    options: &StoreOptions,
    traffic: &Arc<Traffic>,
) -> Result<Connector, StoreError> {
    let is_plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http:"));
    Ok(Connector(Arc::new(Shared {
        traffic: traffic.clone(),
        stall: options.stall,
        slowest: options.slowest,
        proxy: proxy(options)?,
        tls: tls(options, is_plain, traffic.shown.clone())?,
    })))
}

/// A client of its own for what `object_store` does not ask.
pub(crate) fn client(
    kind: StoreKind,
    options: &StoreOptions,
    traffic: &Arc<Traffic>,
) -> Result<HttpClient, StoreError> {
    let connector = connector(endpoint(kind, options)?.as_deref(), options, traffic)?;
    connector.connect(&client_options(options)).map_err(|error| store_error("the store", error))
}

/// The account's name, and where it is.
pub(crate) fn azure_account(
    options: &StoreOptions,
) -> Result<Option<(String, String)>, StoreError> {
    let Some(account) = azure_builder(options).get_config_value(&AzureConfigKey::AccountName)
    else {
        return Ok(None);
    };
    let endpoint = match endpoint(StoreKind::Azure, options)? {
        Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
        None => format!("https://{account}.blob.core.windows.net"),
    };
    Ok(Some((account, endpoint)))
}

fn open_local(url: &StoreUrl, path: &Path) -> Result<Backend, StoreError> {
    let object = url.to_string();
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            return Err(StoreError::BadUrl {
                url: object,
                reason: "it is not a directory".to_owned(),
            });
        }
        Err(error) => return Err(io_error(&object, error.kind(), Some(Box::new(error)))),
    }
    let store =
        LocalFileSystem::new_with_prefix(path).map_err(|error| store_error(&object, error))?;
    Ok(Backend::Local(store.with_fsync(true)))
}

/// What the builders of all clouds get. Their own retries are off, because only our own retrying
/// sees every answer; their own timeouts too, because ours follow the progress.
fn client_options(options: &StoreOptions) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(options.allow_http)
        .with_timeout_disabled()
        .with_connect_timeout(Duration::from_secs(15))
}

fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

fn s3(
    bucket: &str,
    options: &StoreOptions,
    endpoint: Option<String>,
    connector: Connector,
    profile: std::collections::BTreeMap<&'static str, String>,
) -> object_store::Result<AmazonS3> {
    let mut builder = AmazonS3Builder::new()
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_client_options(client_options(options))
        .with_retry(no_retries())
        .with_http_connector(connector)
        .with_virtual_hosted_style_request(!options.path_style);
    builder = match options.checksum {
        Checksum::Sha256 => builder.with_config(AmazonS3ConfigKey::Checksum, "sha256"),
        Checksum::Crc64Nvme => builder.with_config(AmazonS3ConfigKey::Checksum, "crc64nvme"),
        Checksum::None => builder,
    };
    let has_keys = options.settings.get("AWS_ACCESS_KEY_ID").is_some();
    let from_profile = profile
        .iter()
        // Half of a pair of keys from each place would be a wrong pair.
        .filter(|(name, _)| !has_keys || **name == "AWS_REGION")
        .map(|(name, value)| (*name, value.as_str()));
    // A key says by itself which encryption is meant.
    let sse = options.sse.as_deref().or(options.kms_key_id.as_ref().map(|_| "aws:kms"));
    let sse = sse.map(|sse| ("AWS_SERVER_SIDE_ENCRYPTION", sse));
    let key = options.kms_key_id.as_deref().map(|key| ("AWS_SSE_KMS_KEY_ID", key));
    let asked = from_profile.chain(options.settings.iter()).chain(sse).chain(key);
    for (name, value) in asked {
        use AmazonS3ConfigKey as Key;
        match name.to_ascii_lowercase().parse() {
            // What the options decide.
            Ok(
                Key::Client(_)
                | Key::Bucket
                | Key::ConditionalPut
                | Key::Endpoint
                | Key::S3Endpoint,
            ) => {}
            Ok(key) if name.starts_with("AWS_") => builder = builder.with_config(key, value),
            _ => {}
        }
    }
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &options.region {
        builder = builder.with_region(region);
    }
    builder.with_bucket_name(bucket).build()
}

fn azure(
    container: &str,
    options: &StoreOptions,
    endpoint: Option<String>,
    connector: Connector,
) -> object_store::Result<MicrosoftAzure> {
    let mut builder = azure_builder(options)
        .with_client_options(client_options(options))
        .with_retry(no_retries())
        .with_http_connector(connector);
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    builder.with_container_name(container).build()
}

/// With what the environment says of the account.
fn azure_builder(options: &StoreOptions) -> MicrosoftAzureBuilder {
    let mut builder = MicrosoftAzureBuilder::new();
    for (name, value) in options.settings.iter() {
        // The names that Azure's own command line uses.
        let key = match name {
            "AZURE_STORAGE_ACCOUNT" => Ok(AzureConfigKey::AccountName),
            "AZURE_STORAGE_KEY" => Ok(AzureConfigKey::AccessKey),
            name => name.to_ascii_lowercase().parse(),
        };
        match key {
            Ok(
                AzureConfigKey::Client(_)
                | AzureConfigKey::ContainerName
                | AzureConfigKey::Endpoint,
            ) => {}
            Ok(key) if name.starts_with("AZURE_") => builder = builder.with_config(key, value),
            _ => {}
        }
    }
    builder
}

fn gcs(
    bucket: &str,
    options: &StoreOptions,
    endpoint: Option<String>,
    connector: Connector,
) -> object_store::Result<GoogleCloudStorage> {
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_client_options(client_options(options))
        .with_retry(no_retries())
        .with_http_connector(connector);
    for (name, value) in options.settings.iter() {
        match name.to_ascii_lowercase().parse() {
            Ok(GoogleConfigKey::Client(_) | GoogleConfigKey::Bucket | GoogleConfigKey::BaseUrl) => {
            }
            Ok(key) if name.starts_with("GOOGLE_") => builder = builder.with_config(key, value),
            _ => {}
        }
    }
    if let Some(endpoint) = endpoint {
        builder = builder.with_config(GoogleConfigKey::BaseUrl, endpoint);
    }
    builder.with_bucket_name(bucket).build()
}

/// TLS with the system's certificate authorities and those of the CA file. An endpoint on plain
/// http needs none, and must work where the system has none.
fn tls(
    options: &StoreOptions,
    is_plain: bool,
    shown: Arc<Shown>,
) -> Result<rustls::ClientConfig, StoreError> {
    let bad = |name: &Path, reason: String| StoreError::BadOption {
        name: name.display().to_string(),
        reason,
    };
    let mut authorities = Vec::new();
    if let Some(path) = &options.ca_file {
        let pem = std::fs::read(path).map_err(|error| bad(path, error.to_string()))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            authorities.push(certificate.map_err(|error| bad(path, error.to_string()))?);
        }
        if authorities.is_empty() {
            return Err(bad(path, "it holds no certificate in PEM form".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = |error: rustls::Error| StoreError::BadOption {
        name: "the system's certificate authorities".to_owned(),
        reason: error.to_string(),
    };
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(tls)?;
    if is_plain {
        let none = rustls::RootCertStore::empty();
        return Ok(builder.with_root_certificates(none).with_no_client_auth());
    }
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(authorities, provider)
        .map_err(tls)?;
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Looking { verifier: Arc::new(verifier), shown }))
        .with_no_client_auth())
}

/// The proxy that the options name.
fn proxy(options: &StoreOptions) -> Result<Option<reqwest::Proxy>, StoreError> {
    let Some(url) = &options.proxy else { return Ok(None) };
    let proxy = reqwest::Proxy::all(url).map_err(|_| StoreError::BadOption {
        name: "proxy".to_owned(),
        reason: "it is not a URL such as http://proxy.example.org:3128".to_owned(),
    })?;
    // A machine's own metadata service and itself are never behind a proxy.
    let direct = format!(
        "127.0.0.0/8,::1,localhost,169.254.0.0/16,{}",
        options.no_proxy.as_deref().unwrap_or_default()
    );
    Ok(Some(proxy.no_proxy(reqwest::NoProxy::from_string(&direct))))
}
