//! The streams of a helper over SSH.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "suite/nobody.rs"]
mod nobody;
#[allow(dead_code, reason = "shared with the tests of the binary")]
#[path = "../../../tests/cli/sshd.rs"]
mod sshd;

use std::{
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    sync::Arc,
    thread,
};

use drover_source::{
    HelperProgram, SftpOptions, SshLaunch,
    helper::{GREETING, Launch},
};
use nobody::Nobody;
use sshd::Sshd;

fn installed(script: &str) -> HelperProgram {
    HelperProgram::Installed(["sh", "-c", script].map(str::to_owned).to_vec())
}

/// Whoever asks ahead writes while answers are on their way.
#[test]
fn what_came_is_kept_while_more_is_said() {
    let Some(sshd) = Sshd::start("") else { return };
    let url = sshd.url(Path::new("/"));
    let user = url.strip_prefix("sftp://").unwrap().split('@').next().unwrap().to_owned();
    let options = SftpOptions {
        user,
        host_key: Some(sshd.fingerprint.clone()),
        identities: vec![sshd.path("user_key")],
        ..SftpOptions::new(url, "127.0.0.1", sshd.port, Arc::new(Nobody))
    };
    // It says again what it is told, and ends.
    let script = format!("printf '{}'; dd bs=1 count=6 2>/dev/null", GREETING.replace('\n', "\\n"));
    let mut stream = SshLaunch::new(options, installed(&script)).launch().unwrap();
    stream.write_all(b"hello").unwrap();
    stream.flush().unwrap();
    let mut first = [0];
    stream.read_exact(&mut first).unwrap();
    stream.write_all(b"!").unwrap();
    stream.flush().unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!((first, rest.as_str()), (*b"h", "ello!"));
}

#[test]
fn a_server_that_was_never_reached_is_asked_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = thread::spawn(move || {
        let mut asked = 0;
        for connection in listener.incoming() {
            // The end is announced; anything else is hung up on.
            let mut end = [0];
            let connection = connection.unwrap();
            match connection.peek(&mut end) {
                Ok(1) if end == *b"." => break,
                _ => asked += 1,
            }
        }
        asked
    });
    let options = SftpOptions::new("sftp://there".into(), "127.0.0.1", port, Arc::new(Nobody));
    assert!(SshLaunch::new(options, installed("exit 1")).launch().is_err());
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap().write_all(b".").unwrap();
    assert_eq!(asked.join().unwrap(), 1);
}
