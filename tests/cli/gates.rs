//! Gates of a cutover that look beyond this machine: what ends, and how buckets are set up.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::{
    clinic::{Clinic, refused},
    lab::{Answer, Lab},
    proxy,
    services::{AZURE_ACCOUNT, AZURE_KEY, azure_service, fresh, s3_service},
};

/// A clinic whose repository is that of `lab`.
fn clinic(lab: Lab, options: &[&str], cutover_keys: &str) -> Clinic {
    let all = [&["init", "--repo", &lab.repository][..], options].concat();
    lab.run(&all).expect(0);
    let source = lab.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("readme"), "hello").unwrap();
    let target = lab.path("target").to_str().unwrap().to_owned();
    let url = |source: &Path| source.display().to_string();
    Clinic::within(lab, source, &target, "60 seconds", "", cutover_keys, url)
}

fn gate<'d>(document: &'d Value, id: &str) -> &'d Value {
    let gates = document["gates"].as_array().unwrap();
    gates.iter().find(|gate| gate["id"] == id).unwrap_or_else(|| panic!("no {id}: {document}"))
}

/// Adds a line to the plan's last table.
fn edit(clinic: &Clinic, line: &str) {
    let plan = fs::read_to_string(&clinic.plan).unwrap();
    fs::write(&clinic.plan, format!("{plan}{line}\n")).unwrap();
}

#[test]
fn a_certificate_that_ends_too_soon() {
    let Some(service) = s3_service() else { return };
    let (url, authority) = proxy::over_tls(&service.endpoint, 3600);
    let lab = service.lab_through(&url);
    let file = lab.path("authority.pem");
    fs::write(&file, authority).unwrap();
    let options = ["--ca-file", file.to_str().unwrap()];
    let clinic = clinic(lab, &options, "");
    clinic.lab.run(&[&["sync", &clinic.plan][..], &options].concat()).expect(0);
    let show = || clinic.cutover(&[&["--show"][..], &options].concat()).expect(0).json();
    let document = show();
    let shown = gate(&document, "credentials");
    assert_eq!(shown["outcome"], "refused", "{shown}");
    let value = shown["value"].as_str().unwrap();
    assert!(value.starts_with("the certificate of localhost: until 20"), "{value}");
    assert!(shown["remedy"].as_str().unwrap().contains("Renew"), "{shown}");
    edit(&clinic, "valid_for = \"10 minutes\"");
    assert_eq!(gate(&show(), "credentials")["outcome"], "passed");
    // However little is asked for, it has to last for the freeze.
    let plan = fs::read_to_string(&clinic.plan).unwrap();
    fs::write(&clinic.plan, plan.replace("freeze = \"60 seconds\"", "freeze = \"3 hours\""))
        .unwrap();
    assert_eq!(gate(&show(), "credentials")["outcome"], "refused");
}

#[test]
fn a_session_has_to_tell_its_end() {
    let Some(service) = s3_service() else { return };
    let now = drover_types::clock::now().seconds;
    let clinic = clinic(service.lab().with_variable("AWS_SESSION_TOKEN", "token"), &[], "");
    clinic.lab.run(&["sync", &clinic.plan]).expect(0);
    let show = |end: Option<i64>| {
        let mut command = clinic.lab.command(&["cutover", &clinic.plan, "--show", "--json"]);
        if let Some(end) = end {
            let end = jiff::Timestamp::from_second(end).unwrap();
            command.env("AWS_CREDENTIAL_EXPIRATION", end.to_string());
        }
        let document = Answer::new(command.output().unwrap()).expect(0).json();
        gate(&document, "credentials").clone()
    };
    let unknown = show(None);
    assert_eq!(unknown["outcome"], "refused", "{unknown}");
    assert!(unknown["value"].as_str().unwrap().contains("no end is known"), "{unknown}");
    assert_eq!(show(Some(now + 3600))["outcome"], "refused");
    let known = show(Some(now + 3 * 3600));
    assert_eq!(known["outcome"], "passed");
    assert!(known["value"].as_str().unwrap().starts_with("the AWS session: until "), "{known}");
    edit(&clinic, "valid_for = \"0 seconds\"");
    assert_eq!(show(None)["outcome"], "passed");
    assert_eq!(show(Some(now + 30))["outcome"], "refused", "it does not last for the freeze");
}

/// A shared access signature of an account: its key, and the end.
const SIGN: &str = "
import base64, hashlib, hmac, sys, urllib.parse
account, key, end = sys.argv[1:]
fields = dict(sv='2018-11-09', ss='b', srt='sco', sp='rwdlac', se=end)
text = f\"{account}\\n{fields['sp']}\\nb\\nsco\\n\\n{end}\\n\\n\\n{fields['sv']}\\n\"
digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
print(urllib.parse.urlencode({**fields, 'sig': base64.b64encode(digest).decode()}))
";

#[test]
fn a_signature_of_azure_that_ends_too_soon() {
    let Some(service) = azure_service() else { return };
    let now = drover_types::clock::now().seconds;
    // With the key: the stand-in cannot delete in batches with a signature, which the probe does.
    let clinic = clinic(service.lab(), &[], "");
    clinic.lab.run(&["sync", &clinic.plan]).expect(0);
    for (seconds, outcome) in [(3600, "refused"), (3 * 3600, "passed")] {
        let end = jiff::Timestamp::from_second(now + seconds).unwrap().to_string();
        let mut python = Command::new("python3");
        python.args(["-c", SIGN, AZURE_ACCOUNT, AZURE_KEY, &end]);
        let signature = String::from_utf8(python.output().unwrap().stdout).unwrap();
        let mut show = clinic.lab.command(&["cutover", &clinic.plan, "--show", "--json"]);
        show.env_remove("AZURE_STORAGE_KEY").env("AZURE_STORAGE_SAS_TOKEN", signature.trim());
        let document = Answer::new(show.output().unwrap()).expect(0).json();
        let shown = gate(&document, "credentials");
        assert_eq!(shown["outcome"], outcome, "{shown}");
        let value = shown["value"].as_str().unwrap();
        assert!(value.starts_with("the shared access signature: until "), "{value}");
    }
}

#[test]
fn a_bucket_is_open_though_what_it_blocks_is_not_told() {
    let Some(service) = s3_service() else { return };
    let url = proxy::proxy(&service.endpoint, |request| {
        match request.head[0].contains("publicAccessBlock") {
            true => proxy::Fate::Refuse(501, "NotImplemented"),
            false => proxy::Fate::Pass,
        }
    });
    let bucket = format!("gates-{}", fresh());
    assert_eq!(service.send("PUT", &bucket, "", b"").0, 200);
    let lab = service.lab_through(&url).move_to(&format!("s3://{bucket}/server"));
    let clinic = clinic(lab, &[], "");
    let bucket_gate = || gate(&clinic.cutover(&["--show"]).expect(0).json(), "bucket").clone();
    let shown = bucket_gate();
    assert_eq!(shown["outcome"], "passed", "{shown}");
    assert!(shown["value"].as_str().unwrap().contains("not told"), "{shown}");
    let (code, _) =
        service.send("PUT", &format!("{bucket}?acl"), "x-amz-acl: public-read\r\n", b"");
    assert_eq!(code, 200);
    let shown = bucket_gate();
    assert_eq!(shown["outcome"], "refused", "{shown}");
    assert!(shown["value"].as_str().unwrap().contains("open by its list of rights"), "{shown}");
}

#[test]
fn a_bucket_that_changed_or_is_open() {
    const XML: &str = "Content-Type: application/xml\r\n";
    let Some(service) = s3_service() else { return };
    let bucket = format!("gates-{}", fresh());
    assert_eq!(service.send("PUT", &bucket, "", b"").0, 200);
    let versioning = |status: &str| {
        let body =
            format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
        let (code, _) = service.send("PUT", &format!("{bucket}?versioning"), XML, body.as_bytes());
        assert!(code < 300);
    };
    versioning("Enabled");
    let lab = service.lab().move_to(&format!("s3://{bucket}/server"));
    let clinic = clinic(lab, &[], "");
    for verb in ["sync", "sync", "verify"] {
        clinic.lab.run(&[verb, &clinic.plan]).expect(0);
    }
    let rehearsed = clinic.cutover(&["--rehearse"]).expect(0).json();
    assert_eq!(refused(&rehearsed), [""; 0]);
    let value = gate(&rehearsed, "bucket")["value"].as_str().unwrap();
    assert!(
        value.contains(
            "public-access: not blocked by the bucket; of its account: not asked, for the store is \
             not Amazon's; its list of rights opens it to nobody"
        ),
        "{value}"
    );

    // The folder of evidence has it as the rehearsal signed it, and as it is.
    versioning("Suspended");
    let folder = clinic.lab.path("evidence");
    let out = ["--out", folder.to_str().unwrap()];
    clinic.lab.run(&[&["evidence", &clinic.plan][..], &out].concat()).expect(0);
    let settings = fs::read_to_string(folder.join("bucket.csv")).unwrap();
    let is = |when: &str, setting: &str, words: &str| {
        settings.lines().any(|line| {
            line.starts_with(&format!("\"{when}\""))
                && line.contains(setting)
                && line.contains(words)
        })
    };
    assert!(is("rehearsed", "repository versioning", "\"on\""), "{settings}");
    assert!(is("now", "\"versioning\"", "suspended"), "{settings}");
    let document = clinic.cutover(&[]).expect(5).json();
    assert_eq!(refused(&document), ["bucket"]);
    let value = gate(&document, "bucket")["value"].as_str().unwrap();
    assert_eq!(value, "repository, versioning changed: on; now suspended");
    assert_eq!(clinic.ran().iter().filter(|name| *name == "freeze").count(), 0);
    // On purpose: a rehearsal notes it.
    assert_eq!(refused(&clinic.cutover(&["--rehearse"]).expect(0).json()), [""; 0]);

    assert_eq!(
        service.send("PUT", &format!("{bucket}?acl"), "x-amz-acl: public-read\r\n", b"").0,
        200
    );
    let document = clinic.cutover(&[]).expect(5).json();
    assert_eq!(
        gate(&document, "bucket")["value"],
        "repository, public-access: open by its list of rights"
    );
    // No rehearsal makes that good.
    let rehearsed = clinic.cutover(&["--rehearse"]).expect(0).json();
    assert_eq!(refused(&rehearsed), ["bucket"]);
    assert_eq!(service.send("PUT", &format!("{bucket}?acl"), "x-amz-acl: private\r\n", b"").0, 200);
    edit(&clinic, "bucket = \"blocked\"");
    let document = clinic.cutover(&["--show"]).expect(0).json();
    assert!(refused(&document).contains(&"bucket"));
    let plan = fs::read_to_string(&clinic.plan).unwrap();
    fs::write(&clinic.plan, plan.replace("\"blocked\"", "\"any\"")).unwrap();
    let document = clinic.cutover(&["--show"]).expect(0).json();
    assert!(document["gates"].as_array().unwrap().iter().all(|gate| gate["id"] != "bucket"));
    clinic.cutover(&["--rehearse"]).expect(0);
    assert_eq!(clinic.cutover(&[]).expect(0).json()["state"], "cut over");
}
