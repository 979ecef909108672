//! The settings of the bucket, as `plan` and `evidence` tell them: of real services, set one by one.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    thread,
};

use serde_json::Value;

use crate::{
    lab::Lab,
    services::{azure_service, fresh, s3_service},
};

const XML: &str = "Content-Type: application/xml\r\n";

/// Result and words of each setting.
fn told(document: &Value) -> BTreeMap<String, (String, String)> {
    let settings = document["bucket"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    settings.map(|s| (text(&s["setting"]), (text(&s["result"]), text(&s["is"])))).collect()
}

fn plan(lab: &Lab) -> Value {
    let source = lab.path("source");
    fs::create_dir_all(&source).unwrap();
    fs::write(source.join("file"), "content").unwrap();
    lab.verb("plan", &["--source", source.to_str().unwrap()]).expect(0).json()
}

#[test]
fn a_bucket_of_s3() {
    let Some(service) = s3_service() else { return };
    let bucket = format!("settings-{}", fresh());
    let lock = "x-amz-bucket-object-lock-enabled: true\r\n";
    assert_eq!(service.send("PUT", &bucket, lock, b"").0, 200);
    let set = |question: &str, body: &str| {
        let (status, answer) =
            service.send("PUT", &format!("{bucket}?{question}"), XML, body.as_bytes());
        assert!(status < 300, "{question}: {status} {}", String::from_utf8_lossy(&answer));
    };
    set(
        "object-lock",
        "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>\
         <DefaultRetention><Mode>GOVERNANCE</Mode><Days>30</Days></DefaultRetention></Rule>\
         </ObjectLockConfiguration>",
    );
    set(
        "publicAccessBlock",
        "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls>\
         <IgnorePublicAcls>true</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy>\
         <RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>",
    );
    set(
        "encryption",
        "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>\
         <SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>\
         </ServerSideEncryptionConfiguration>",
    );
    let lab = service.lab().move_to(&format!("s3://{bucket}/server"));
    let document = plan(&lab);
    let pass = |words: &str| ("pass".to_owned(), words.to_owned());
    let expected = [
        ("encryption", pass("AES256")),
        ("lifecycle", pass("no rules")),
        ("lock", pass("governance, 30 days")),
        ("public-access", pass("blocked")),
        ("versioning", pass("on")),
    ];
    let expected = BTreeMap::from(expected.map(|(name, told)| (name.to_owned(), told)));
    assert_eq!(told(&document), expected);
    assert!(document["risks"].as_array().unwrap().iter().all(|risk| risk["from"] != "bucket"));

    // A rule that deletes objects stands in the way.
    set(
        "lifecycle",
        "<LifecycleConfiguration><Rule><ID>old</ID><Filter><Prefix></Prefix></Filter>\
         <Status>Enabled</Status><Expiration><Days>30</Days></Expiration></Rule>\
         </LifecycleConfiguration>",
    );
    let document = plan(&lab);
    let finding = ("finding".to_owned(), "rules: 1 that delete objects".to_owned());
    assert_eq!(told(&document)["lifecycle"], finding);
    let blockers = document["blockers"].to_string();
    assert!(blockers.contains("lifecycle of the bucket"), "{blockers}");
    assert!(document["risks"].to_string().contains("bucket-lifecycle"));

    // One that nobody set up, and what evidence says of it.
    let bare = format!("bare-{}", fresh());
    assert_eq!(service.send("PUT", &bare, "", b"").0, 200);
    let lab = service.lab().move_to(&format!("s3://{bare}/server"));
    let found = told(&plan(&lab));
    for setting in ["versioning", "lock", "public-access"] {
        assert_eq!(found[setting].0, "finding", "{found:?}");
    }
    lab.verb("init", &[""; 0]).expect(0);
    lab.sync(&lab.path("source")).expect(0);
    let folder = lab.path("evidence");
    let made = lab.verb("evidence", &["--out", folder.to_str().unwrap()]).expect(0).json();
    assert_eq!(told(&made), found);
    let rows = fs::read_to_string(folder.join("bucket.csv")).unwrap();
    assert_eq!(rows.lines().count(), 1 + found.len());
    assert!(rows.contains("\"versioning\",\"finding\",\"off\""), "{rows}");
    assert!(fs::read_to_string(folder.join("b3sums.txt")).unwrap().contains("bucket.csv"));
}

#[test]
fn a_container_of_azure() {
    let Some(service) = azure_service() else { return };
    let lab = service.lab();
    let found = told(&plan(&lab));
    // It checks the signature, so that these are answers.
    assert_eq!(found["public-access"], ("pass".into(), "none on the container".into()));
    assert_eq!(found["lock"], ("finding".into(), "off".into()));
    assert_eq!(found["versioning"].0, "finding");
    assert_eq!(found["lifecycle"].0, "could-not-check");
    let wrong = lab.with_variable(
        "AZURE_STORAGE_KEY",
        "AAAAvdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    );
    let document = plan(&wrong);
    assert_eq!(document["repository"]["state"], "unreachable");
    assert!(told(&document).is_empty());
}

/// A credential that may read objects and not settings.
#[test]
fn what_is_denied_is_not_fine() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let lab = Lab::at_s3(&format!("http://{}", listener.local_addr().unwrap()));
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut head = BufReader::new(connection.try_clone().unwrap()).lines();
            let request = head.next().unwrap().unwrap();
            head.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).count();
            let settings =
                ["?versioning", "?object-lock", "?publicAccessBlock", "?encryption", "?lifecycle"];
            let (status, code) = match settings.iter().any(|setting| request.contains(setting)) {
                true => ("403 Forbidden", "AccessDenied"),
                false => ("404 Not Found", "NoSuchKey"),
            };
            let body = format!("<Error><Code>{code}</Code></Error>");
            let length = body.len();
            let _ = write!(
                connection,
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        }
    });
    let document = plan(&lab);
    let found = told(&document);
    let why = "the store answered 403 AccessDenied".to_owned();
    assert_eq!(found.len(), 5);
    assert!(
        found.values().all(|told| *told == ("could-not-check".into(), why.clone())),
        "{found:?}"
    );
    let gates = document["gates"].as_array().unwrap();
    let gate = gates.iter().find(|gate| gate["gate"] == "the bucket is closed to the public");
    assert_eq!(gate.unwrap()["state"], "open");
}
