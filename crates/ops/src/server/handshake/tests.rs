//! Servers of TLS 1.3 that only say what a test has them say: kept in memory, so that nothing waits.

use std::{
    cell::Cell,
    io::{self, Cursor, Read, Write},
    time::Duration,
};

use drover_audit::tls::TlsPort;
use drover_source::host::{
    CommandOutput, FileContent, Host, HostCommand, HostError, HostStream, Listed, Part,
};
use rustls::{
    ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

use super::*;
use crate::server::tls::look;

/// Refuses both greetings, and answers the third connection.
struct Third<F>(Cell<usize>, F);

impl<F: Fn() -> Box<dyn HostStream>> Host for Third<F> {
    fn place(&self) -> &str {
        "third"
    }

    fn user(&self) -> &str {
        "nobody"
    }

    fn run(&self, _: &HostCommand<'_>) -> Result<CommandOutput, HostError> {
        Err(HostError::Denied)
    }

    fn read(&self, _: &str, _: Part, _: usize) -> Result<FileContent, HostError> {
        Err(HostError::Denied)
    }

    fn list(&self, _: &str) -> Result<Vec<Listed>, HostError> {
        Err(HostError::Denied)
    }

    fn connect(&self, _: u16, _: Duration) -> Result<Box<dyn HostStream>, HostError> {
        self.0.set(self.0.get() + 1);
        Ok(match self.0.get() {
            1 | 2 => Box::new(Says(Cursor::new(b"\x15\x03\x03\x00\x02\x02\x46".to_vec()))),
            _ => (self.1)(),
        })
    }
}

/// Says what it says, whatever it hears.
struct Says<R>(R);

impl<R: Read> Read for Says<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R> Write for Says<R> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The same again and again.
struct Endless(&'static [u8], usize);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for place in buffer.iter_mut() {
            *place = self.0[self.1 % self.0.len()];
            self.1 += 1;
        }
        Ok(buffer.len())
    }
}

/// A real server, at the other end of a pipe in memory.
struct Real(ServerConnection);

impl Read for Real {
    fn read(&mut self, mut buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.wants_write() {
            true => self.0.write_tls(&mut buffer),
            false => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Real {
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<usize> {
        let taken = self.0.read_tls(&mut bytes)?;
        // What it thinks of it, it says in an alert.
        let _ = self.0.process_new_packets();
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Wants a certificate, of nobody in particular.
#[derive(Debug)]
struct Wants;

impl ClientCertVerifier for Wants {
    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General(String::new()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General(String::new()))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// Shows a certificate that expired years ago, so many times.
fn server(chain: usize, wants: bool) -> Box<dyn HostStream> {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec!["old-server".to_owned()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(2020, 2, 3);
    parameters.not_after = rcgen::date_time_ymd(2021, 2, 3);
    let certificate = parameters.self_signed(&key).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_protocol_versions(&[&TLS13])
        .unwrap();
    let config = match wants {
        true => config.with_client_cert_verifier(Arc::new(Wants)),
        false => config.with_no_client_auth(),
    };
    let config = config.with_single_cert(vec![certificate.der().clone(); chain], key.into());
    Box::new(Real(ServerConnection::new(Arc::new(config.unwrap())).unwrap()))
}

fn found(third: impl Fn() -> Box<dyn HostStream>) -> TlsPort {
    look(&Third(Cell::new(0), third), 443)
}

#[test]
fn a_certificate_is_seen_whoever_it_is_for() {
    for wants in [false, true] {
        let port = found(|| server(2, wants));
        assert_eq!((port.version, port.old, port.failure), (0x0304, 0, None));
        let certificate = port.certificate.unwrap();
        // 2021-02-03, in seconds since 1970.
        assert_eq!(certificate.not_after, 1_612_310_400);
    }
    let seen = Third(Cell::new(2), || server(3, false));
    let Ok(TlsAnswer::Speaks { certificates, .. }) = shake(&seen, 443) else { panic!() };
    assert_eq!(certificates.len(), 3);
}

#[test]
fn whoever_makes_fun_of_it_is_not_checked() {
    let why = |third: &dyn Fn() -> Box<dyn HostStream>| {
        let port = found(third);
        assert!(port.certificate.is_none() && port.version == 0);
        port.failure.unwrap()
    };
    let says = |bytes: &'static [u8]| {
        move || -> Box<dyn HostStream> { Box::new(Says(Cursor::new(bytes))) }
    };
    let refused = why(&says(b"\x15\x03\x03\x00\x02\x02\x28"));
    assert_eq!(refused, "refuses TLS 1.2 with alert 70 and 1.3 with alert 40");
    assert!(why(&says(b"")).ends_with("1.3 without a word"));
    assert!(why(&says(b"HTTP/1.1 400 Bad Request\r\n\r\n")).contains("TLS 1.3: "));
    // Closed in the middle of a message, and by an alert that says so.
    assert!(why(&says(b"\x16\x03\x03\x40\x00\x02\x00")).ends_with("without a word"));
    assert!(why(&says(b"\x15\x03\x03\x00\x02\x01\x00")).contains("1.3"));
    // A message of 16 MiB that goes on and on; records that say nothing; noise.
    let endless: [&'static [u8]; 4] = [
        b"\x16\x03\x03\x00\x04\x02\xff\xff\xff",
        b"\x14\x03\x03\x00\x01\x01",
        b"\x16\x03\x03\x00\x00",
        b"\x00\xff\x5a",
    ];
    for bytes in endless {
        let said = why(&|| Box::new(Says(Endless(bytes, 0))));
        assert!(said.starts_with("refuses TLS 1.2 with alert 70; TLS 1.3: "), "{said}");
    }
    // It says that it is closing, and does not stop.
    let closing = why(&|| Box::new(Says(Endless(b"\x15\x03\x03\x00\x02\x01\x00", 0))));
    assert!(closing.starts_with("refuses TLS 1.2 with alert 70"), "{closing}");
    // More certificates than any server has.
    let huge = why(&|| server(400, false));
    assert!(huge.contains("TLS 1.3: "), "{huge}");
    // A server that says no more.
    struct Silent;
    impl Read for Silent {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(ErrorKind::WouldBlock.into())
        }
    }
    assert!(why(&|| Box::new(Says(Silent))).ends_with("TLS 1.3: does not answer"));
}
