//! What speaks TLS, with which certificate, and whether it would still speak what is broken.
//!
//! The beginning of a handshake is written and read here, and nothing is ever keyed: up to TLS 1.2 a
//! server names the version and sends its certificate in the clear (RFC 5246, 7.3). Two connections to a
//! port do: one that knows nothing newer than TLS 1.1, and one that knows nothing newer than 1.2. No
//! library still speaks the first. What refuses both is left to a library, which speaks TLS 1.3.

use x509_parser::{certificate::X509Certificate, prelude::FromDer, public_key::PublicKey};

use crate::{
    Facts, Listener, Outcome, ProbeId as P, Severity, Spec, ports,
    ports::Kind,
    words::{counted, day},
};

/// The most bytes of an answer that are looked at: certificates are far shorter.
pub const LONGEST_ANSWER: usize = 128 << 10;
/// The most ports of a server that are looked at.
pub const MOST_PORTS: usize = 64;

/// The newest version that a greeting offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newest {
    /// TLS 1.1: whoever answers it speaks what RFC 8996 forbids.
    Tls11,
    /// TLS 1.2.
    Tls12,
}

/// What a server answered to a greeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsAnswer {
    /// It speaks this version, and sent these certificates, the first its own.
    Speaks {
        /// As in `0x0303`.
        version: u16,
        /// In DER.
        certificates: Vec<Vec<u8>>,
    },
    /// It said no, with this alert.
    Refused(u8),
    /// That is no TLS.
    NotTls,
}

/// What is known of a port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsPort {
    /// The port.
    pub port: u16,
    /// The version that it speaks with who knows up to TLS 1.2, or 1.3 where it refuses that; 0 where it
    /// does not.
    pub version: u16,
    /// The version that it speaks with who knows nothing newer than TLS 1.1; 0 where it refuses.
    pub old: u16,
    /// Its certificate.
    pub certificate: Option<TlsCertificate>,
    /// Why something is not known.
    pub failure: Option<String>,
}

/// A certificate as a server shows it. Nobody checked who issued it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsCertificate {
    /// Whose it is.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// From when it is valid, in seconds since 1970.
    pub not_before: i64,
    /// Until when.
    pub not_after: i64,
    /// `RSA 2048`, `EC 256`, ….
    pub key: String,
    /// Whether the key is shorter than 2048 bits of RSA, or of DSA.
    pub weak_key: bool,
    /// Whether it is signed with MD5 or SHA-1 by someone else: of one's own it proves nothing anyway.
    pub weak_signature: bool,
}

/// Which ports are greeted: those known for TLS on which something listens, and those asked for.
pub fn tls_ports(listeners: &[Listener], asked: &[u16]) -> Vec<u16> {
    let known =
        listeners.iter().filter(|l| l.protocol == "tcp" && ports::kind(l.port) == Kind::Tls);
    let mut found: Vec<u16> = known.map(|l| l.port).chain(asked.iter().copied()).collect();
    found.sort_unstable();
    found.dedup();
    found.truncate(MOST_PORTS);
    found
}

/// The ports that are known for TLS.
pub fn known_tls_ports() -> Vec<u16> {
    ports::of_kind(Kind::Tls)
}

/// A version as people call it.
pub fn version_name(version: u16) -> String {
    match version {
        0x0300 => "SSL 3.0".to_owned(),
        0x0301..=0x0304 => format!("TLS 1.{}", version - 0x0301),
        other => format!("version {other:#06x}"),
    }
}

/// The greeting: a ClientHello that offers everything a server may still know.
pub fn greeting(newest: Newest) -> Vec<u8> {
    const SUITES: [u16; 25] = [
        0xcca9, 0xcca8, 0xccaa, 0xc02f, 0xc02b, 0xc030, 0xc02c, 0x009e, 0x009f, 0xc027, 0xc023,
        0xc013, 0xc014, 0xc009, 0xc00a, 0x009c, 0x009d, 0x003c, 0x002f, 0x0035, 0x0033, 0x0039,
        0x000a, 0x0005, 0x00ff,
    ];
    let version: u16 = if newest == Newest::Tls11 { 0x0302 } else { 0x0303 };
    let list = |values: &[u16]| -> Vec<u8> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
        [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat()
    };
    let extension = |id: u16, body: Vec<u8>| {
        [&id.to_be_bytes()[..], &(body.len() as u16).to_be_bytes(), &body].concat()
    };
    // Groups, formats of points, and for TLS 1.2 algorithms of signatures.
    let mut extensions = extension(10, list(&[29, 23, 24, 25]));
    extensions.extend(extension(11, vec![1, 0]));
    if newest == Newest::Tls12 {
        let algorithms = [
            0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201,
        ];
        extensions.extend(extension(13, list(&algorithms)));
    }
    let mut hello = version.to_be_bytes().to_vec();
    // Nothing is ever keyed with it: it need not be drawn.
    hello.extend([0x64; 32]);
    hello.push(0);
    hello.extend(list(&SUITES));
    hello.extend([1, 0]);
    hello.extend((extensions.len() as u16).to_be_bytes());
    hello.extend(extensions);
    let length = (hello.len() as u32).to_be_bytes();
    let message = [&[1][..], &length[1..], &hello].concat();
    // What does not know the version of the record answers an older one.
    [&[22, 3, 1][..], &(message.len() as u16).to_be_bytes(), &message].concat()
}

/// Reads an answer; `None` where its end has not come yet.
pub fn answer(bytes: &[u8]) -> Option<TlsAnswer> {
    let mut messages = Vec::new();
    let mut rest = bytes;
    let refused = loop {
        let Some((head, tail)) = rest.split_first_chunk::<5>() else { break None };
        let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
        if head[1] != 3 || length > 1 << 14 || !(20..=23).contains(&head[0]) {
            return Some(TlsAnswer::NotTls);
        }
        let Some((body, tail)) = tail.split_at_checked(length) else { break None };
        match (head[0], body) {
            (22, body) => messages.extend_from_slice(body),
            // A warning is followed by something.
            (21, [2, alert]) => break Some(*alert),
            _ => {}
        }
        rest = tail;
    };
    if bytes.first().is_some_and(|first| !(20..=23).contains(first)) {
        return Some(TlsAnswer::NotTls);
    }
    let mut version = 0;
    let mut rest = messages.as_slice();
    while let Some((head, tail)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
        let Some((body, tail)) = tail.split_at_checked(length) else { break };
        match head[0] {
            2 => version = u16::from_be_bytes([*body.first()?, *body.get(1)?]),
            11 if version != 0 => {
                return Some(TlsAnswer::Speaks { version, certificates: certificates(body) });
            }
            // Without a certificate: the server waits for us.
            14 => return Some(TlsAnswer::Speaks { version, certificates: Vec::new() }),
            _ => {}
        }
        rest = tail;
    }
    refused.map(TlsAnswer::Refused)
}

/// The list of a Certificate message: lengths of three bytes each.
fn certificates(body: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut rest = body.get(3..).unwrap_or_default();
    while let Some((length, tail)) = rest.split_first_chunk::<3>() {
        let length = u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize;
        let Some((certificate, tail)) = tail.split_at_checked(length) else { break };
        found.push(certificate.to_vec());
        rest = tail;
    }
    found
}

/// RSA with MD2, MD5 and SHA-1, ECDSA and DSA with SHA-1 (RFC 3279).
const BROKEN_SIGNATURES: [&str; 5] = [
    "1.2.840.113549.1.1.2",
    "1.2.840.113549.1.1.4",
    "1.2.840.113549.1.1.5",
    "1.2.840.10045.4.1",
    "1.2.840.10040.4.3",
];

/// What a certificate says; `None` where it is none.
pub fn certificate(der: &[u8]) -> Option<TlsCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let signature = certificate.signature_algorithm.algorithm.to_id_string();
    let broken = BROKEN_SIGNATURES.contains(&signature.as_str());
    let own = certificate.subject() == certificate.issuer();
    let (key, weak_key) = match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => (format!("RSA {}", key.key_size()), key.key_size() < 2048),
        Ok(PublicKey::EC(key)) => (format!("EC {}", key.key_size()), false),
        Ok(PublicKey::DSA(_)) => ("DSA".to_owned(), true),
        _ => ("of another sort".to_owned(), false),
    };
    Some(TlsCertificate {
        subject: certificate.subject().to_string().chars().take(200).collect(),
        issuer: certificate.issuer().to_string().chars().take(200).collect(),
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
        key,
        weak_key,
        weak_signature: !own && broken,
    })
}

pub(crate) const CHECKS: &[Spec] = &[
    Spec {
        id: "tls-certificates",
        title: "Certificates are valid, and stay so until after the move",
        severity: Severity::High,
        likelihood: "high",
        impact: "medium",
        remedy: "Renew these certificates, and note who does it on the new server: one that runs out in \
                 the night of the cutover is taken for the move's fault.",
        reference: "NIST SP 800-53 SC-17, SC-12; 45 CFR 164.312(e)(1)",
        asks: &[P::Sockets, P::Tcp, P::Tcp6],
        run: validity,
    },
    Spec {
        id: "tls-protocols",
        title: "TLS older than 1.2 is refused",
        severity: Severity::Medium,
        likelihood: "low",
        impact: "medium",
        remedy: "Turn SSL 3.0, TLS 1.0 and 1.1 off (RFC 8996). A device that knows nothing newer needs a \
                 port of its own that only it reaches.",
        reference: "NIST SP 800-53 SC-8(1), SC-13; 45 CFR 164.312(e)(2)(ii)",
        asks: &[P::Sockets, P::Tcp, P::Tcp6],
        run: protocols,
    },
    Spec {
        id: "tls-keys",
        title: "Certificates have strong keys and signatures",
        severity: Severity::Medium,
        likelihood: "low",
        impact: "medium",
        remedy: "Issue these certificates again, with RSA of 2048 bits or more, or EC, and SHA-256.",
        reference: "NIST SP 800-53 SC-12, SC-13",
        asks: &[P::Sockets, P::Tcp, P::Tcp6],
        run: keys,
    },
];

/// What cannot be said of some ports, if so.
fn unknown(facts: &Facts<'_>) -> Option<String> {
    crate::listeners(facts).err().or_else(|| {
        let failed = facts.tls.iter().filter_map(|port| {
            port.failure.as_ref().map(|why| format!("port {}: {why}", port.port))
        });
        let failed: Vec<_> = failed.collect();
        (!failed.is_empty()).then(|| failed.join("; "))
    })
}

fn judged(facts: &Facts<'_>, found: Vec<String>, what: &str) -> Outcome {
    match unknown(facts) {
        Some(why) if found.is_empty() => Outcome::CouldNotCheck(why),
        _ if facts.tls.is_empty() => {
            Outcome::Pass("nothing listens on a port known for TLS".to_owned())
        }
        _ => Outcome::of(
            found,
            format!("{} looked at", counted(facts.tls.len(), "port", "ports")),
            what,
        ),
    }
}

fn validity(facts: &Facts<'_>) -> Outcome {
    let mut found = Vec::new();
    let mut severity = Severity::Medium;
    for port in facts.tls {
        let Some(certificate) = &port.certificate else { continue };
        let left = -facts.days_since(certificate.not_after);
        if facts.now.seconds > certificate.not_after {
            severity = Severity::High;
            found.push(format!("port {}: expired on {}", port.port, day(certificate.not_after)));
        } else if facts.now.seconds < certificate.not_before {
            severity = Severity::High;
            found.push(format!("port {}: valid from {}", port.port, day(certificate.not_before)));
        } else if left <= 30 {
            found.push(format!("port {}: expires on {}", port.port, day(certificate.not_after)));
        }
    }
    judged(facts, found, "are not valid, or not for long").at(severity)
}

fn protocols(facts: &Facts<'_>) -> Outcome {
    let old = facts.tls.iter().filter(|port| port.old != 0);
    let found = old.map(|port| format!("port {} ({})", port.port, version_name(port.old)));
    judged(facts, found.collect(), "take older versions")
}

fn keys(facts: &Facts<'_>) -> Outcome {
    let mut found = Vec::new();
    for port in facts.tls {
        let Some(certificate) = &port.certificate else { continue };
        if certificate.weak_key {
            found.push(format!("port {} ({})", port.port, certificate.key));
        } else if certificate.weak_signature {
            found.push(format!("port {} (signed with SHA-1 or MD5)", port.port));
        }
    }
    judged(facts, found, "are weak")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind, 3, 3][..], &(body.len() as u16).to_be_bytes(), body].concat()
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind][..], &(body.len() as u32).to_be_bytes()[1..], body].concat()
    }

    /// Synthetic: the messages of a server, the second cut into two records.
    fn flight() -> Vec<u8> {
        let hello = message(2, &[&[3, 1][..], &[0; 36]].concat());
        let certificate = message(11, &[0, 0, 8, 0, 0, 2, 7, 8, 0, 0, 1, 9]);
        let (a, b) = certificate.split_at(5);
        [record(22, &[&hello, a].concat()), record(22, b)].concat()
    }

    #[test]
    fn version_and_certificates_come_in_the_clear() {
        let flight = flight();
        let whole = TlsAnswer::Speaks { version: 0x0301, certificates: vec![vec![7, 8], vec![9]] };
        assert_eq!(answer(&flight), Some(whole));
        for cut in 0..flight.len() {
            assert_eq!(answer(&flight[..cut]), None, "{cut}");
        }
        assert_eq!(answer(&record(21, &[2, 70])), Some(TlsAnswer::Refused(70)));
        assert_eq!(answer(b"HTTP/1.1 400 Bad Request"), Some(TlsAnswer::NotTls));
        assert_eq!(answer(b"\x0bMSH|"), Some(TlsAnswer::NotTls));
        assert_eq!(version_name(0x0301), "TLS 1.0");
        assert_eq!(certificate(&flight), None);
    }

    #[test]
    fn a_greeting_is_one_whole_record() {
        for newest in [Newest::Tls11, Newest::Tls12] {
            let bytes = greeting(newest);
            assert_eq!(usize::from(u16::from_be_bytes([bytes[3], bytes[4]])), bytes.len() - 5);
            assert_eq!(bytes[10], if newest == Newest::Tls11 { 2 } else { 3 });
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_read(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..60usize, byte: u8) {
            answer(&bytes);
            certificate(&bytes);
            let mut changed = flight();
            if let Some(place) = changed.get_mut(at) {
                *place = byte;
            }
            answer(&changed);
        }
    }
}
