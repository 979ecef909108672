//! How connections are made: which certificates are trusted, what goes through a proxy, and what
//! never goes in the clear.

#![allow(clippy::unwrap_used)]

use std::{fs, sync::Arc, time::Duration};

use bytes::Bytes;
use drover_store::{Store, StoreError, StoreOptions};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{self, pki_types::PrivatePkcs8KeyDer},
};

fn options(endpoint: &str) -> StoreOptions {
    let mut options = StoreOptions::from_env(
        [
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ]
        .map(|(n, v)| (n.to_owned(), v.to_owned())),
    );
    options.retry = Duration::ZERO;
    options
}

async fn store(options: &StoreOptions) -> Store {
    Store::connect(&"s3://b/p".parse().unwrap(), options).await.unwrap()
}

/// Answers one request with an object, and returns its first line.
async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<String> {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first).await.ok()?;
    let mut line = String::new();
    while stream.read_line(&mut line).await.ok()? > 2 {
        line.clear();
    }
    let answer = "HTTP/1.1 200 OK\r\nETag: x\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nContent-Length: 5\r\n\r\nhello";
    stream.write_all(answer.as_bytes()).await.ok()?;
    stream.flush().await.ok()?;
    Some(first)
}

#[tokio::test]
async fn a_certificate_is_trusted_by_the_ca_file_and_by_nothing_else() {
    let signing_key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(2060, 3, 4);
    let cert = parameters.self_signed(&signing_key).unwrap();
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream).await;
            }
        }
    });

    let mut options = options(&format!("https://localhost:{port}"));
    // Retrying would be of no use, and is not done.
    options.retry = Duration::from_secs(600);
    let error = store(&options).await.get("config", 10).await.unwrap_err();
    assert!(matches!(error, StoreError::Untrusted { .. }), "{error:?}");

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    fs::write(&file, cert.pem()).unwrap();
    options.ca_file = Some(file.clone());
    let open = store(&options).await;
    assert_eq!(open.get("config", 10).await.unwrap(), "hello");
    let [shown] = &*open.validities().await.unwrap() else { panic!("one certificate was shown") };
    assert_eq!(shown.what, "the certificate of localhost");
    assert_eq!(shown.until.as_ref().unwrap().seconds, 2_845_584_000);

    // The name counts, too.
    let mut elsewhere = options.clone();
    elsewhere.endpoint = Some(format!("https://127.0.0.1:{port}"));
    let error = store(&elsewhere).await.get("config", 10).await.unwrap_err();
    assert!(matches!(error, StoreError::Untrusted { .. }), "{error:?}");

    for bad in ["", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
        fs::write(&file, bad).unwrap();
        let error = Store::connect(&"s3://b".parse().unwrap(), &options).await.unwrap_err();
        assert!(
            matches!(&error, StoreError::BadOption { name, .. } if name.ends_with("ca.pem")),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_proxy_is_used_for_others_and_not_for_this_machine() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, mut requests) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = seen.send(answer(stream).await.unwrap_or_default());
        }
    });
    let mut behind = options("http://store.invalid");
    behind.allow_http = true;
    behind.proxy = Some(format!("http://{address}"));
    assert_eq!(store(&behind).await.get("config", 10).await.unwrap(), "hello");
    assert_eq!(requests.recv().await.unwrap(), "GET http://store.invalid/b/p/config HTTP/1.1\r\n");

    let mut direct = options(&format!("http://{address}"));
    direct.proxy = Some("http://proxy.invalid:1".to_owned());
    assert_eq!(store(&direct).await.get("config", 10).await.unwrap(), "hello");
    assert_eq!(requests.recv().await.unwrap(), "GET /b/p/config HTTP/1.1\r\n");

    direct.proxy = Some("\u{0}".to_owned());
    let error = Store::connect(&"s3://b".parse().unwrap(), &direct).await.unwrap_err();
    assert!(matches!(error, StoreError::BadOption { .. }), "{error:?}");
}

#[tokio::test]
async fn nothing_goes_in_the_clear_unless_allowed() {
    let error =
        Store::connect(&"s3://b".parse().unwrap(), &options("http://192.0.2.1")).await.unwrap_err();
    assert!(matches!(error, StoreError::InsecureHttp { .. }), "{error:?}");

    // An endpoint that only the provider's own key file names is caught when it is used.
    let key = r#"{"gcs_base_url":"http://192.0.2.1","disable_oauth":true,"client_email":"","private_key":"","private_key_id":""}"#;
    let gcs = StoreOptions::from_env([("GOOGLE_SERVICE_ACCOUNT_KEY".to_owned(), key.to_owned())]);
    let store = Store::connect(&"gs://b".parse().unwrap(), &gcs).await.unwrap();
    let error = store.get("config", 10).await.unwrap_err();
    assert!(matches!(error, StoreError::InsecureHttp { .. }), "{error:?}");
}

#[tokio::test]
async fn settings_that_cannot_work_fail_at_once() {
    for pairs in [
        &[("AWS_ACCESS_KEY_ID", "x")][..],
        &[("AWS_ENDPOINT_URL", "nonsense")],
        &[("AWS_PROFILE", "none")],
    ] {
        let options =
            StoreOptions::from_env(pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())));
        let error = Store::connect(&"s3://b".parse().unwrap(), &options).await.unwrap_err();
        assert!(matches!(error, StoreError::BadOption { .. }), "{error:?}");
    }
    let none = StoreOptions::default();
    let error = Store::connect(&"az://c".parse().unwrap(), &none).await.unwrap_err();
    assert!(matches!(error, StoreError::BadOption { .. }), "{error:?}");
}

#[tokio::test]
async fn operations_can_run_on_other_threads() {
    let store =
        Store::connect(&"memory:".parse().unwrap(), &StoreOptions::default()).await.unwrap();
    let task = tokio::spawn(async move {
        store.probe().await?;
        store.put_new("x", Bytes::new()).await?;
        store.get_range("x", 0..0).await?;
        store.head("x").await?;
        store.get("x", 0).await
    });
    assert!(task.await.unwrap().is_ok());
}
