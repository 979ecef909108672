//! Certificates of real servers, by OpenSSL, here and over a real sshd.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    audit::{check, over},
    lab::Lab,
    sshd::Sshd,
};

fn openssl(arguments: &[&str]) {
    let ran = Command::new("openssl").args(arguments).output().unwrap();
    assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// Certificates and their keys, each in a file with both.
struct Certificates(TempDir);

impl Certificates {
    /// One of its own that was valid in 2020 and 2021, and one that another signed with SHA-1.
    fn make() -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        let at = |name: &str| made.at(name).to_str().unwrap().to_owned();
        fs::write(
            at("ca.cnf"),
            format!(
                "[ca]\ndefault_ca=d\n[d]\ndatabase={}\nserial={}\nnew_certs_dir={}\n\
                 default_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n",
                at("index"),
                at("serial"),
                made.0.path().display()
            ),
        )
        .unwrap();
        fs::write(at("index"), "").unwrap();
        fs::write(at("serial"), "01\n").unwrap();
        let expired = |name: &str, key: &[&str]| {
            let (pem, request, own) = (at(name), at("request"), at("own"));
            let more = ["-nodes", "-keyout", &own, "-out", &request, "-subj", "/CN=old server*"];
            openssl(&[&["req", "-new", "-config", "/dev/null"], key, &more].concat());
            let dates = ["-startdate", "200203000000Z", "-enddate", "210203000000Z"];
            let signed = ["ca", "-batch", "-notext", "-selfsign", "-config", &at("ca.cnf")];
            let files = ["-keyfile", &own, "-in", &request, "-out", &pem];
            openssl(&[&signed[..], &dates, &files].concat());
            let both = fs::read_to_string(&pem).unwrap() + &fs::read_to_string(&own).unwrap();
            fs::write(&pem, both).unwrap();
        };
        expired("weak", &["-newkey", "rsa:1024"]);
        expired("edwards", &["-newkey", "ed25519"]);
        let (own, pem, authority) = (at("own"), at("signed"), at("weak"));
        let request = ["req", "-x509", "-config", "/dev/null", "-newkey", "rsa:2048", "-nodes"];
        let more = ["-sha1", "-days", "3650", "-subj", "/CN=signed", "-keyout", &own, "-out", &pem];
        let by = ["-CA", &authority, "-CAkey", &authority];
        openssl(&[&request[..], &more, &by].concat());
        let both = fs::read_to_string(&pem).unwrap() + &fs::read_to_string(&own).unwrap();
        fs::write(&pem, both).unwrap();
        made
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// `openssl s_server` on a free port. It ends with the value.
struct Server(Child, u16);

impl Server {
    fn start(certificate: &Path, options: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Command::new("openssl")
            .args(["s_server", "-www", "-accept", &format!("127.0.0.1:{port}"), "-cert"])
            .arg(certificate)
            .arg("-key")
            .arg(certificate)
            // What a new library would not show any more.
            .args(["-cipher", "ALL:@SECLEVEL=0"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("ACCEPT") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "s_server does not start: {options:?}");
        }
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self(child, port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn port<'d>(document: &'d Value, server: &Server) -> &'d Value {
    let ports = document["tls"].as_array().unwrap();
    ports.iter().find(|port| port["port"] == server.1).unwrap_or_else(|| panic!("{document}"))
}

#[test]
fn servers_of_every_version_show_their_certificates() {
    let certificates = Certificates::make();
    let start = |name, options: &[&str]| Server::start(&certificates.at(name), options);
    let weak = start("weak", &["-tls1_3"]);
    let edwards = start("edwards", &["-tls1_3"]);
    // Lets nobody in without a certificate.
    let closed = start("signed", &["-tls1_3", "-Verify", "2"]);
    let older = start("weak", &["-tls1_2"]);
    let oldest = start("signed", &["-tls1"]);
    let both = start("weak", &[]);
    let servers = [&weak, &edwards, &closed, &older, &oldest, &both];
    let numbers: Vec<String> = servers.iter().map(|server| server.1.to_string()).collect();
    let mut options = vec!["--sample-peers", "0"];
    numbers.iter().for_each(|number| options.extend(["--tls-port", number]));

    let lab = Lab::new();
    let mut seen = vec![lab.run(&[&["audit", "--json"], &options[..]].concat()).json()];
    if let Some(sshd) = Sshd::start("") {
        seen.push(over(&lab, &sshd, &options).json());
    }
    // Where the server forwards nothing, the connection comes from here.
    if let Some(sshd) = Sshd::start("AllowTcpForwarding no") {
        seen.push(over(&lab, &sshd, &options).json());
    }
    for document in &seen {
        let versions = servers.map(|server| {
            let port = port(document, server);
            assert_eq!(port["why"], "", "{port}");
            (port["version"].as_str().unwrap(), port["old_version"].as_str().unwrap())
        });
        let [weak_version, edwards_version, closed_version, older_version, oldest_version, _] =
            versions;
        assert_eq!(weak_version, ("TLS 1.3", ""));
        assert_eq!(edwards_version, ("TLS 1.3", ""));
        assert_eq!(closed_version, ("TLS 1.3", ""));
        assert_eq!(older_version, ("TLS 1.2", ""));
        assert_eq!(oldest_version.1, "TLS 1.0");
        for server in [&weak, &older, &both] {
            let port = port(document, server);
            assert_eq!(
                (&port["key"], &port["subject"]),
                (&"RSA 1024".into(), &"CN=old server*".into())
            );
            assert_eq!(port["not_after"], "2021-02-03T00:00:00Z");
        }
        assert_eq!(port(document, &closed)["key"], "RSA 2048");
        let named = |id: &str, server: &Server| {
            let check = check(document, id);
            assert_eq!(check["result"], "finding", "{check}");
            check["evidence"].as_str().unwrap().contains(&server.1.to_string())
        };
        for (id, expected) in [
            ("tls-certificates", [true, true, false, true, false, true]),
            ("tls-keys", [true, false, true, true, true, true]),
        ] {
            let named: Vec<_> = servers.iter().map(|server| named(id, server)).collect();
            assert_eq!(named, expected, "{id}");
        }
        assert!(named("tls-protocols", &oldest) && !named("tls-protocols", &weak));
    }
}
