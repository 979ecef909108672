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
    services::{azure_service, fresh, google_service, s3_service},
};

/// What refuses requests without TLS, as AWS's documentation has it.
const POLICY: &str = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*",
    "Action": "s3:*", "Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"],
    "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]}"#;
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
    let no_policy = "requests without TLS are answered: the bucket has no policy";
    let expected = [
        ("encryption", pass("AES256")),
        ("lifecycle", pass("no rules")),
        ("lock", pass("governance, 30 days")),
        ("public-access", pass("blocked")),
        ("tls", ("finding".to_owned(), no_policy.to_owned())),
        ("versioning", pass("on")),
    ];
    let expected = BTreeMap::from(expected.map(|(name, told)| (name.to_owned(), told)));
    assert_eq!(told(&document), expected);
    let risks = document["risks"].as_array().unwrap().iter();
    let of_bucket: Vec<_> = risks.filter(|risk| risk["from"] == "bucket").collect();
    assert_eq!(of_bucket.len(), 1, "{of_bucket:?}");

    // A rule that deletes objects stands in the way, unless it is for others.
    let rule = |prefix: &str| {
        format!(
            "<LifecycleConfiguration><Rule><ID>old</ID><Filter><Prefix>{prefix}</Prefix></Filter>\
             <Status>Enabled</Status><Expiration><Days>30</Days></Expiration></Rule>\
             </LifecycleConfiguration>"
        )
    };
    set("lifecycle", &rule("logs/"));
    assert_eq!(told(&plan(&lab))["lifecycle"], pass("rules for other objects only"));
    set("lifecycle", &rule(""));
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
    for setting in ["versioning", "lock", "public-access", "tls"] {
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

/// The bucket blocks a half, and its account the rest.
#[test]
fn what_the_account_blocks_counts() {
    let Some(service) = s3_service() else { return };
    let bucket = format!("account-{}", fresh());
    assert_eq!(service.send("PUT", &bucket, "", b"").0, 200);
    let block = |names: [&str; 2]| {
        let blocks = names.map(|name| format!("<{name}>true</{name}>")).concat();
        format!("<PublicAccessBlockConfiguration>{blocks}</PublicAccessBlockConfiguration>")
    };
    let lists = block(["BlockPublicAcls", "IgnorePublicAcls"]);
    let policies = block(["BlockPublicPolicy", "RestrictPublicBuckets"]);
    let question = format!("{bucket}?publicAccessBlock");
    assert!(service.send("PUT", &question, XML, lists.as_bytes()).0 < 300);
    let of_account = "v20180820/configuration/publicAccessBlock";
    let id = "x-amz-account-id: 123456789012\r\n";
    let lab = service.lab().move_to(&format!("s3://{bucket}/server"));
    let public = |lab: &Lab| told(&plan(lab)).remove("public-access").unwrap();

    // Of a store that is not Amazon's own nobody is asked but the bucket.
    let (result, words) = public(&lab);
    assert_eq!(result, "finding");
    assert!(words.contains("but for BlockPublicPolicy, RestrictPublicBuckets"), "{words}");
    assert!(words.contains("not Amazon's"), "{words}");

    let lab = lab
        .with_variable("AWS_ENDPOINT_URL_STS", &service.endpoint)
        .with_variable("AWS_ENDPOINT_URL_S3_CONTROL", &service.endpoint);
    service.send("DELETE", of_account, id, b"");
    let (result, words) = public(&lab);
    assert_eq!(result, "finding");
    assert!(words.starts_with("blocked but for BlockPublicPolicy, Restrict"), "{words}");
    let (status, answer) =
        service.send("PUT", of_account, &format!("{id}{XML}"), policies.as_bytes());
    assert!(status < 300, "{status} {}", String::from_utf8_lossy(&answer));
    let together = "blocked, by bucket and account together";
    assert_eq!(public(&lab), ("pass".to_owned(), together.to_owned()));
}

/// A fake of the JSON API answers here; what it is set to comes from Google's documentation.
#[test]
fn a_bucket_of_google() {
    let Some(service) = google_service() else { return };
    let bucket = format!("settings-{}", fresh());
    let lab = service.lab().move_to(&format!("gs://{bucket}/server"));
    let found = told(&plan(&lab));
    let is = |result: &str, words: &str| (result.to_owned(), words.to_owned());
    let kept = "off; what is deleted can be brought back for 7 days";
    assert_eq!(found["versioning"], is("pass", kept));
    assert_eq!(found["lock"], is("finding", "off"));
    let open = "not prevented by the bucket; its policy opens it to nobody; objects have lists of \
                rights of their own";
    assert_eq!(found["public-access"], is("finding", open));
    assert_eq!(found["encryption"].0, "pass");
    assert_eq!(found["lifecycle"], is("pass", "no rules"));
    assert_eq!(found["tls"].0, "could-not-check");

    let json = "Content-Type: application/json\r\n";
    let resource = format!("storage/v1/b/{bucket}");
    let everyone =
        br#"{"bindings": [{"role": "roles/storage.objectViewer", "members": ["allUsers"]}]}"#;
    assert_eq!(service.send("PUT", &format!("{resource}/iam"), json, everyone).0, 200);
    assert_eq!(told(&plan(&lab))["public-access"], is("finding", "open by its policy"));
    let set = br#"{"iamConfiguration": {"publicAccessPrevention": "enforced"},
        "versioning": {"enabled": true}, "retentionPolicy": {"retentionPeriod": "2592000"},
        "lifecycle": {"rule": [{"action": {"type": "Delete"}, "condition": {"age": 30}}]}}"#;
    assert_eq!(service.send("PATCH", &resource, json, set).0, 200);
    let found = told(&plan(&lab));
    assert_eq!(found["public-access"], is("pass", "prevented"));
    assert_eq!(found["versioning"], is("pass", "on"));
    assert_eq!(found["lock"].0, "pass");
    assert_eq!(found["lifecycle"], is("finding", "rules: 1 that delete objects"));
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

/// A credential that may read objects, and of the settings only the policy. (A denial of everything
/// that comes without TLS cannot be tried on the stand-in, which leaves conditions out and denies all.)
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
            let settings = [
                "versioning",
                "object-lock",
                "publicAccessBlock",
                "encryption",
                "lifecycle",
                "policy",
            ];
            let settings = settings.map(|setting| format!("?{setting}"));
            let (status, code) =
                match settings.iter().any(|setting| request.contains(setting.as_str())) {
                    true => ("403 Forbidden", "AccessDenied"),
                    false => ("404 Not Found", "NoSuchKey"),
                };
            let policy = request.contains("?policy ");
            let status = if policy { "200 OK" } else { status };
            let refused = format!("<Error><Code>{code}</Code></Error>");
            let body = if policy { POLICY.to_owned() } else { refused };
            let length = body.len();
            let _ = write!(
                connection,
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        }
    });
    let document = plan(&lab);
    let mut found = told(&document);
    let why = "the store answered 403 AccessDenied".to_owned();
    assert_eq!(found.len(), 6);
    let tls = found.remove("tls").unwrap();
    assert_eq!(tls, ("pass".to_owned(), "its policy refuses requests without TLS".to_owned()));
    assert!(
        found.values().all(|told| *told == ("could-not-check".into(), why.clone())),
        "{found:?}"
    );
    let gates = document["gates"].as_array().unwrap();
    let gate = gates.iter().find(|gate| gate["gate"] == "the bucket is closed to the public");
    assert_eq!(gate.unwrap()["state"], "open");
}
