//! A handshake of TLS 1.3, up to the certificate: there a server shows it to nobody whom it did not
//! agree on keys with (RFC 8446, 4.4.2).
//!
//! The verifier writes down what it is shown and refuses it, whatever it is. So the handshake ends in an
//! alert before anything was trusted, a client's certificate was asked for in vain, or a byte of an
//! application was sent.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, OnceLock},
    time::Instant,
};

use drover_audit::tls::{LONGEST_ANSWER, TlsAnswer};
use drover_source::host::Host;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error,
    SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::TLS13,
};

use super::tls::{ANSWER, connect};

/// The version, as in `supported_versions`.
const TLS_13: u16 = 0x0304;

/// Shakes hands with a port in TLS 1.3 until it shows its certificate.
pub(super) fn shake(host: &dyn Host, port: u16) -> Result<TlsAnswer, String> {
    let seen = Arc::new(Recorder::default());
    let mut client = client(seen.clone()).map_err(|error| error.to_string())?;
    let started = Instant::now();
    let mut stream = connect(host, port)?;
    let mut buffer = [0; 4 << 10];
    let mut left = LONGEST_ANSWER;
    loop {
        while client.wants_write() {
            client.write_tls(&mut stream).map_err(|error| error.to_string())?;
        }
        stream.flush().map_err(|error| error.to_string())?;
        // What says little at a time, or much without an end, is not listened to for ever.
        if left == 0 || started.elapsed() >= 2 * ANSWER {
            return Err("does not come to an end".to_owned());
        }
        let room = left.min(buffer.len());
        let mut came = match stream.read(&mut buffer[..room]) {
            Ok(0) => return Ok(TlsAnswer::Refused(0)),
            Ok(n) => &buffer[..n],
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                return Ok(TlsAnswer::Refused(0));
            }
            Err(_) if left == LONGEST_ANSWER => return Err("does not answer".to_owned()),
            Err(error) => return Err(error.to_string()),
        };
        left -= came.len();
        while !came.is_empty() {
            // Nothing is taken any more from who said that it is closing.
            if client.read_tls(&mut came).map_err(|error| error.to_string())? == 0 {
                return Ok(TlsAnswer::Refused(0));
            }
            let Err(error) = client.process_new_packets() else { continue };
            // The alert that says so. Whether it arrives does not matter.
            let _ = client.write_tls(&mut stream).and_then(|_| stream.flush());
            return seen.answer(error);
        }
    }
}

fn client(seen: Arc<Recorder>) -> Result<ClientConnection, Error> {
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(seen)
        .with_no_client_auth();
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    // No name is asked for, as by the greetings.
    let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST).into());
    ClientConnection::new(Arc::new(config), name)
}

/// Writes the first chain down that it is shown, and refuses it.
#[derive(Debug, Default)]
struct Recorder(OnceLock<Vec<Vec<u8>>>);

impl Recorder {
    /// What a handshake that ended with `error` came to.
    fn answer(&self, error: Error) -> Result<TlsAnswer, String> {
        match (self.0.get(), error) {
            (Some(chain), _) => {
                Ok(TlsAnswer::Speaks { version: TLS_13, certificates: chain.clone() })
            }
            (None, Error::AlertReceived(alert)) => Ok(TlsAnswer::Refused(alert.into())),
            (None, error) => Err(error.to_string()),
        }
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = [certificate].into_iter().chain(issuers);
        let _ = self.0.set(chain.map(|certificate| certificate.to_vec()).collect());
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    /// Whatever a server's key can sign with: weak ones are looked for, and nothing rests on them.
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP521_SHA512,
            SignatureScheme::ED25519,
            SignatureScheme::ED448,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA512,
            SignatureScheme::RSA_PKCS1_SHA1,
            SignatureScheme::ECDSA_SHA1_Legacy,
        ]
    }
}

#[cfg(test)]
mod tests;
