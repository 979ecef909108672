//! There and back by way of each cloud's stand-in (`tests/services`).

use std::{
    fs,
    hash::{BuildHasher, RandomState},
    io::{Read, Write},
    net::TcpStream,
};

use crate::{
    lab::{Lab, number},
    roundtrip::{comes_back, verified},
    tree,
};

/// Azurite's account and key, which are public and the same everywhere.
pub const AZURE_ACCOUNT: &str = "devstoreaccount1";
pub const AZURE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The endpoint in `variable`; `None` skips the test where that is allowed.
#[allow(clippy::print_stderr)]
fn service(variable: &str) -> Option<String> {
    let endpoint = std::env::var(variable).ok();
    let is_required = std::env::var("CI").is_ok_and(|v| v == "true")
        || std::env::var("DROVER_TEST_SERVICES").is_ok_and(|v| v == "required");
    if endpoint.is_none() {
        let help = "run tests/services/start and source its file";
        assert!(!is_required, "{variable} is not set: {help}");
        eprintln!("skipped: {variable} is not set: {help}");
    }
    endpoint
}

/// A prefix that no other run uses.
pub fn fresh() -> String {
    format!("cli-{:016x}", RandomState::new().hash_one(0))
}

/// A stand-in of a cloud.
pub struct Service {
    pub scheme: &'static str,
    pub endpoint: String,
    environment: fn(endpoint: &str) -> Vec<(&'static str, String)>,
}

impl Service {
    /// A lab whose repository is in the service, at a place that no other run uses, and which
    /// finds the service at `endpoint`.
    pub fn lab_through(&self, endpoint: &str) -> Lab {
        let url = format!("{}://drover/{}", self.scheme, fresh());
        // What follows the host belongs to the service.
        let path = self.endpoint.split('/').skip(3).map(|part| format!("/{part}"));
        let environment = (self.environment)(&(endpoint.to_owned() + &path.collect::<String>()));
        let environment: Vec<_> = environment.iter().map(|(n, v)| (*n, v.as_str())).collect();
        Lab::at(url, &environment)
    }

    pub fn lab(&self) -> Lab {
        let host = self.endpoint.split('/').take(3).collect::<Vec<_>>().join("/");
        self.lab_through(&host)
    }
}

impl Service {
    /// Whether the service can be asked without signing: not by way of drover, that is.
    pub fn can_be_asked(&self) -> bool {
        self.scheme != "az"
    }

    /// An object, by its URL; `None` where there is none.
    pub fn object(&self, url: &str) -> Option<Vec<u8>> {
        let (status, body) = self.ask("GET", url, b"");
        match status {
            200 => Some(body),
            404 => None,
            status => panic!("{url}: {status}"),
        }
    }

    pub fn put(&self, url: &str, body: &[u8]) {
        assert_eq!(self.ask("PUT", url, body).0, 200, "{url}");
    }

    pub fn delete(&self, url: &str) {
        assert!(matches!(self.ask("DELETE", url, b"").0, 200 | 204), "{url}");
    }

    fn ask(&self, method: &str, url: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut target = String::new();
        for byte in url.split_once("://").unwrap().1.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' => {
                    target.push(byte.into());
                }
                byte => target.push_str(&format!("%{byte:02X}")),
            }
        }
        self.send(method, &target, "", body)
    }

    /// Sends a request as it is, with more lines of the head. The stand-ins look whether it is signed,
    /// for what, and not how.
    pub fn send(&self, method: &str, target: &str, head: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let host = self.endpoint.trim_start_matches("http://");
        let mut service = TcpStream::connect(host).unwrap();
        let signed = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
        write!(service, "{method} /{target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {signed}\r\n{head}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len())
            .unwrap();
        service.write_all(body).unwrap();
        let mut answer = Vec::new();
        service.read_to_end(&mut answer).unwrap();
        let head = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        (status, answer.split_off(head + 4))
    }
}

pub fn s3_service() -> Option<Service> {
    let environment = |endpoint: &str| {
        vec![
            ("AWS_ENDPOINT_URL", endpoint.to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    };
    Some(Service { scheme: "s3", endpoint: service("DROVER_TEST_S3")?, environment })
}

pub fn azure_service() -> Option<Service> {
    let environment = |endpoint: &str| {
        vec![
            ("AZURE_STORAGE_ENDPOINT", endpoint.to_owned()),
            ("AZURE_STORAGE_ACCOUNT", AZURE_ACCOUNT.to_owned()),
            ("AZURE_STORAGE_KEY", AZURE_KEY.to_owned()),
        ]
    };
    Some(Service { scheme: "az", endpoint: service("DROVER_TEST_AZURE")?, environment })
}

pub fn google_service() -> Option<Service> {
    let environment = |endpoint: &str| {
        let key = format!(
            r#"{{"gcs_base_url":"{endpoint}","disable_oauth":true,"client_email":"","private_key":"","private_key_id":""}}"#
        );
        vec![("GOOGLE_SERVICE_ACCOUNT_KEY", key), ("GOOGLE_BASE_URL", endpoint.to_owned())]
    };
    Some(Service { scheme: "gs", endpoint: service("DROVER_TEST_GCS")?, environment })
}

/// Those that run.
pub fn services() -> Vec<Service> {
    [s3_service(), azure_service(), google_service()].into_iter().flatten().collect()
}

fn there_and_back(service: &Service) {
    let lab = service.lab();
    let source = lab.path("source");
    let entries = tree::hostile(&source);

    lab.sync(&source).refused(10, "no-repository", &lab.repository);
    lab.verb("init", &[""; 0]).expect(0);
    lab.verb("init", &[""; 0]).refused(1, "repository-exists", &lab.repository);
    let baseline = lab.sync(&source).expect(0).json();
    assert_eq!(number(&baseline, "/entries/new"), entries);
    fs::write(source.join("text"), "changed").unwrap();
    let delta = lab.sync(&source).expect(0).json();
    assert_eq!(number(&delta, "/entries/changed"), 1, "{delta}");
    assert!(number(&delta, "/requests/put") < 12, "{delta}");

    // From the service alone, as after the loss of the machine.
    fs::remove_dir_all(lab.path("state")).unwrap();
    comes_back(&lab, &source, &[]);
    // A machine that knows nothing begins again, beside what is there.
    let again = lab.sync(&source).expect(0).json();
    assert_eq!(number(&again, "/entries/total"), entries);
    verified(&lab, &["--read-data"]);
}

#[test]
fn s3() {
    s3_service().iter().for_each(there_and_back);
}

#[test]
fn storage_class_and_encryption_reach_the_store() {
    let Some(endpoint) = service("DROVER_TEST_S3") else { return };
    let prefix = fresh();
    let lab = Lab::at(
        format!("s3://drover/{prefix}"),
        &[
            ("AWS_ENDPOINT_URL", &*endpoint),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", "us-east-1"),
        ],
    );
    let (plan, source) = (lab.path("plan.toml"), lab.path("source"));
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "content").unwrap();
    let text = format!(
        "[repository]\nurl = \"{}\"\nstorage_class = \"STANDARD_IA\"\nkms_key_id = \"a-key\"\n\
         [[source]]\nname = \"a\"\nurl = \"{}\"\n",
        lab.repository,
        source.display()
    );
    fs::write(&plan, text).unwrap();
    let plan = plan.to_str().unwrap();
    lab.run(&["init", plan]).expect(0);
    lab.run(&["sync", plan]).expect(0);

    let listing = asked(&endpoint, "GET", &format!("/drover?list-type=2&prefix={prefix}"));
    let objects: Vec<_> = listing.split("<Contents>").skip(1).collect();
    let is_pack = |object: &&&str| object.contains("/packs/");
    assert!(objects.iter().filter(is_pack).count() > 0 && objects.len() > 5, "{listing}");
    for object in objects {
        let class = if is_pack(&&object) { "STANDARD_IA" } else { "STANDARD" };
        assert!(object.contains(&format!("<StorageClass>{class}<")), "{object}");
        let (_, key) = object.split_once("<Key>").unwrap();
        let (key, _) = key.split_once("</Key>").unwrap();
        let head = asked(&endpoint, "HEAD", &format!("/drover/{key}")).to_ascii_lowercase();
        assert!(head.contains("x-amz-server-side-encryption: aws:kms\r\n"), "{key}: {head}");
        assert!(head.contains("x-amz-server-side-encryption-aws-kms-key-id: a-key\r\n"), "{head}");
    }
    let archived = lab.run(&["init", "--json", "--storage-class", "DEEP_ARCHIVE", plan]);
    archived.refused(2, "command-line", "archived");
}

/// What the service answers: the stand-in looks whether a request is signed, and not how.
fn asked(endpoint: &str, method: &str, target: &str) -> String {
    let host = endpoint.trim_start_matches("http://");
    let mut service = TcpStream::connect(host).unwrap();
    write!(service, "{method} {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: AWS test:test\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    service.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn azure() {
    azure_service().iter().for_each(there_and_back);
}

#[test]
fn google() {
    google_service().iter().for_each(there_and_back);
}
