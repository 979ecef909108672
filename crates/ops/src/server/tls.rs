//! Greeting what may speak TLS. Nothing is sent but the greeting, and to a server that speaks TLS 1.3
//! only what makes it show its certificate.

use std::{
    io::{ErrorKind, Read, Write},
    time::{Duration, Instant},
};

use drover_audit::tls::{self, LONGEST_ANSWER, Newest, TlsAnswer, TlsPort};
use drover_source::host::{Host, HostError, HostStream};

use super::handshake::shake;

/// How long a port may take to answer.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// Something else listens.
const NOT_TLS: &str = "does not answer with TLS";

/// Asks a port which versions it speaks, and for its certificate.
pub(super) fn look(host: &dyn Host, port: u16) -> TlsPort {
    let mut found = TlsPort { port, ..TlsPort::default() };
    let mut certificates = Vec::new();
    match greet(host, port, Newest::Tls11) {
        Ok(TlsAnswer::Speaks { version, certificates: shown }) => {
            (found.old, certificates) = (version, shown);
        }
        Ok(TlsAnswer::Refused(_)) => {}
        Ok(TlsAnswer::NotTls) => {
            found.failure = Some(NOT_TLS.to_owned());
            return found;
        }
        Err(why) => {
            found.failure = Some(why);
            return found;
        }
    }
    match greet(host, port, Newest::Tls12) {
        Ok(TlsAnswer::Speaks { version, certificates: shown }) => {
            (found.version, certificates) = (version, shown);
        }
        // What speaks the old only has said so already.
        Ok(_) if found.old != 0 => {}
        Ok(TlsAnswer::Refused(alert)) => match shake(host, port) {
            Ok(TlsAnswer::Speaks { version, certificates: shown }) => {
                (found.version, certificates) = (version, shown);
            }
            Ok(TlsAnswer::NotTls) => found.failure = Some(NOT_TLS.to_owned()),
            Ok(TlsAnswer::Refused(newer)) => {
                let why = format!("refuses TLS 1.2 {} and 1.3 {}", said(alert), said(newer));
                found.failure = Some(why);
            }
            Err(why) => {
                found.failure = Some(format!("refuses TLS 1.2 {}; TLS 1.3: {why}", said(alert)));
            }
        },
        Ok(TlsAnswer::NotTls) => found.failure = Some(NOT_TLS.to_owned()),
        Err(why) => found.failure = Some(why),
    }
    found.certificate = certificates.first().and_then(|der| tls::certificate(der));
    if found.certificate.is_none() && found.failure.is_none() {
        found.failure = Some("shows no certificate that can be read".to_owned());
    }
    found
}

/// How a port refused, which has no alert where it only hung up.
fn said(alert: u8) -> String {
    match alert {
        0 => "without a word".to_owned(),
        alert => format!("with alert {alert}"),
    }
}

pub(super) fn connect(host: &dyn Host, port: u16) -> Result<Box<dyn HostStream>, String> {
    host.connect(port, ANSWER).map_err(|error| match error {
        HostError::Missing => "nothing listens there".to_owned(),
        error => error.to_string(),
    })
}

fn greet(host: &dyn Host, port: u16, newest: Newest) -> Result<TlsAnswer, String> {
    let started = Instant::now();
    let mut stream = connect(host, port)?;
    let sent = stream.write_all(&tls::greeting(newest)).and_then(|()| stream.flush());
    sent.map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4 << 10];
    // A server that says little at a time is not waited for without end.
    while bytes.len() < LONGEST_ANSWER && started.elapsed() < 2 * ANSWER {
        match stream.read(&mut buffer) {
            // What hangs up without a word does not speak that version.
            Ok(0) => return Ok(tls::answer(&bytes).unwrap_or(TlsAnswer::Refused(0))),
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                return Ok(tls::answer(&bytes).unwrap_or(TlsAnswer::Refused(0)));
            }
            Err(_) if bytes.is_empty() => return Err("does not answer".to_owned()),
            Err(error) => return Err(error.to_string()),
        }
        if let Some(answer) = tls::answer(&bytes) {
            return Ok(answer);
        }
    }
    Err("does not come to an end".to_owned())
}
