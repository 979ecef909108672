//! What the documents tell people to do works: the commands of each document that makes a repository
//! are run as they stand, one after the other, and every plan.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use crate::lab::{Answer, Lab, PASSWORD};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The README and all documents.
fn documents() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md")];
    let pages = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    found.extend(pages.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    found
}

/// The fenced blocks of `language` in a document.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if let Some(fence) = line.strip_prefix("```") {
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            if fence == language {
                blocks.push(block.join("\n"));
            }
        }
    }
    blocks
}

#[test]
fn documents_run_as_they_stand() {
    let mut run = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        // What runs this test is not run by it.
        let blocks = blocks(&text, "sh").into_iter().filter(|block| !block.starts_with("tests/"));
        let script = blocks.collect::<Vec<_>>().join("\n");
        if script.contains("drover init") {
            run_script(&document, &script);
            run.push(document.file_stem().unwrap().to_owned());
        }
    }
    for name in ["README", "certificate", "landing", "runbook", "reports"] {
        assert!(run.iter().any(|document| document == name), "{name} shows no commands");
    }
}

/// Runs commands in a home of their own, with the binary as it is instead of building it again.
fn run_script(document: &Path, script: &str) {
    let lab = Lab::new();
    let programs = lab.path("programs");
    fs::create_dir(&programs).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_drover"));
    std::os::unix::fs::symlink(program, programs.join("drover")).unwrap();
    std::os::unix::fs::symlink("/bin/true", programs.join("cargo")).unwrap();
    let (home, source) = (lab.path("home"), lab.path("source"));
    fs::create_dir(&home).unwrap();
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "content").unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    shell.args(["-euc", script]).env_clear().env("PATH", path).env("HOME", &home);
    shell.env("SOURCE", &source).current_dir(lab.path(""));
    let output = shell.output().unwrap();
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}:\n{script}\n{shown}", document.display());
    let restored = home.join("drover-restored/file");
    if script.contains("drover-restored") {
        assert_eq!(fs::read(restored).unwrap(), b"content");
    }
}

/// Every plan that the project shows: the files in `plans/`, and those in the documents.
fn plans() -> Vec<(PathBuf, String)> {
    let mut plans: Vec<_> = fs::read_dir(root().join("plans"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        // Price lists are no plans.
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let shown =
            blocks(&text, "toml").into_iter().filter(|block| block.contains("[repository]"));
        plans.extend(shown.map(|block| (document.clone(), block)));
    }
    assert!(plans.len() > 2);
    plans
}

#[test]
fn plans_run() {
    for (path, text) in plans() {
        let lab = Lab::at(String::new(), &[]);
        let plan = lab.path("plan.toml");
        let plan_text = plan.to_str().unwrap();
        // Its directories are put below the test's own.
        let here = lab.path("");
        let local = text.replace("url = \"/", &format!("url = \"{}/", here.display()));
        fs::write(&plan, &local).unwrap();
        for line in local.lines() {
            let directory = line.strip_prefix("url = \"/").and_then(|rest| rest.strip_suffix('"'));
            if let Some(directory) = directory {
                let directory = Path::new("/").join(directory);
                assert!(directory.starts_with(&here));
                fs::create_dir_all(&directory).unwrap();
                fs::write(directory.join("file"), "content").unwrap();
            }
        }
        if text.contains("://") {
            let refused = without_a_bucket(&lab, &["sync", plan_text, "--json"]);
            // The plan is taken, up to the bucket that is not there.
            assert_eq!(refused.code, 10, "{}: {}", path.display(), refused.stderr);
            continue;
        }
        let repository = local.lines().find(|line| line.starts_with("url")).unwrap();
        let repository = repository.trim_start_matches("url = \"").trim_end_matches('"');
        fs::remove_dir_all(repository).unwrap();
        lab.run(&["init", plan_text, "--json"]).expect(0);
        let pass = lab.run(&["sync", plan_text, "--json"]).expect(0).json();
        let sources = text.matches("[[source]]").count();
        assert_eq!(pass["sources"].as_array().map(Vec::len), Some(sources), "{pass}");
        lab.run(&["verify", plan_text, "--read-data", "--json"]).expect(0);
    }
}

/// Runs it against a service that has no bucket.
fn without_a_bucket(lab: &Lab, arguments: &[&str]) -> Answer {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    // Ends with the process.
    thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { return };
            let mut request = [0; 16 << 10];
            let _ = connection.read(&mut request);
            let body = "<Error><Code>NoSuchBucket</Code><Message>none</Message></Error>";
            let length = body.len();
            let _ = write!(
                connection,
                "HTTP/1.1 404 Not Found\r\nContent-Type: application/xml\r\n\
                 Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        }
    });
    let google = format!(
        r#"{{"gcs_base_url":"{endpoint}","disable_oauth":true,"client_email":"","private_key":"","private_key_id":""}}"#
    );
    let mut command = lab.command(arguments);
    command
        .env("AWS_ENDPOINT_URL", &endpoint)
        .env("AZURE_STORAGE_ENDPOINT", format!("{endpoint}/test"))
        .env("AZURE_STORAGE_ACCOUNT", "test")
        .env("AZURE_STORAGE_KEY", data_encoding::BASE64.encode(PASSWORD.as_bytes()))
        .env("GOOGLE_SERVICE_ACCOUNT_KEY", google)
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", PASSWORD)
        .env("AWS_REGION", "us-east-1");
    Answer::new(command.output().unwrap())
}
