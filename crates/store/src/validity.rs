//! Until when the way to a store is open: certificates that servers showed, and credentials that end.
//!
//! What is not told has no end that could be compared: keys without a session and the credentials
//! that a machine's own service renews do not count; a session that does not say when it ends does, as
//! one of which nobody knows.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use drover_types::Timestamp;
use jiff::Timestamp as Moment;
use object_store::azure::AzureCredential;
use rustls::{
    DigitallySignedStruct, DistinguishedName, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::{Store, StoreError, backend::Backend, profile, store::blocking};

/// Something that is valid for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validity {
    /// What, in words.
    pub what: String,
    /// Until when; else why nobody knows.
    pub until: Result<Timestamp, String>,
}

/// The certificates of the servers that were spoken to, by their names.
#[derive(Debug, Default)]
pub(crate) struct Shown(Mutex<BTreeMap<String, CertificateDer<'static>>>);

impl Shown {
    fn validities(&self) -> Vec<Validity> {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let one = |(server, certificate): (&String, &CertificateDer<'_>)| {
            let until = match X509Certificate::from_der(certificate) {
                Ok((_, parsed)) => Ok(at(parsed.validity().not_after.timestamp())),
                Err(error) => Err(format!("it cannot be read: {error}")),
            };
            Validity { what: format!("the certificate of {server}"), until }
        };
        shown.iter().map(one).collect()
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

/// Verifies as the one below it, and keeps what was shown.
pub(crate) struct Looking {
    pub verifier: Arc<dyn ServerCertVerifier>,
    pub shown: Arc<Shown>,
}

impl fmt::Debug for Looking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.verifier.fmt(f)
    }
}

impl ServerCertVerifier for Looking {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verifier = &self.verifier;
        let verified =
            verifier.verify_server_cert(certificate, intermediates, server, ocsp, now)?;
        let mut shown = self.shown.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.insert(server.to_str().into_owned(), certificate.clone().into_owned());
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.verifier.root_hint_subjects()
    }
}

impl Store {
    /// What is known to end: the certificates of the servers that this store spoke to so far, and the
    /// credential that it speaks with.
    pub async fn validities(&self) -> Result<Vec<Validity>, StoreError> {
        let mut found = self.traffic().shown.validities();
        let options = self.options().clone();
        match self.backend() {
            Backend::S3(_) => {
                let profile = blocking("AWS profile", move || profile::load(&options.settings));
                let profile = profile.await?;
                found.extend(aws_session(|name| self.options().settings.get(name), &profile));
            }
            Backend::Azure(store) => {
                // Where there is none, requests say so.
                if let Ok(credential) = store.credentials().get_credential().await {
                    let is_given = options.settings.get("AZURE_STORAGE_TOKEN").is_some();
                    found.extend(azure(&credential, is_given));
                }
            }
            Backend::Gcs(_) | Backend::Local(_) | Backend::Memory(_) => {}
        }
        Ok(found)
    }
}

/// The session of AWS that keys belong to which somebody exported. What the machine's own service
/// gives, it renews.
fn aws_session<'s>(
    variable: impl Fn(&str) -> Option<&'s str>,
    profile: &'s BTreeMap<&'static str, String>,
) -> Option<Validity> {
    // Keys and session come from one place.
    let from_profile = |name: &str| profile.get(name).map(String::as_str);
    let is_exported = variable("AWS_ACCESS_KEY_ID").is_some();
    let get = |name| if is_exported { variable(name) } else { from_profile(name) };
    get("AWS_ACCESS_KEY_ID")?;
    get("AWS_SESSION_TOKEN")?;
    let until = match get("AWS_CREDENTIAL_EXPIRATION") {
        Some(text) => moment(text),
        None => Err("AWS_CREDENTIAL_EXPIRATION does not say".to_owned()),
    };
    Some(Validity { what: "the AWS session".to_owned(), until })
}

fn azure(credential: &AzureCredential, is_given: bool) -> Option<Validity> {
    let (what, until) = match credential {
        AzureCredential::SASToken(pairs) => {
            let end = pairs.iter().find(|(name, _)| name == "se");
            let end = end.map_or_else(
                || Err("it names no end, which the account's policy may".to_owned()),
                |(_, end)| moment(end),
            );
            ("the shared access signature", end)
        }
        AzureCredential::BearerToken(_) if is_given => {
            ("AZURE_STORAGE_TOKEN", Err("it does not say".to_owned()))
        }
        AzureCredential::BearerToken(_) | AzureCredential::AccessKey(_) => return None,
    };
    Some(Validity { what: what.to_owned(), until })
}

/// A moment as `2026-11-28T21:00:00Z`, or the same of a day's beginning.
fn moment(text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    let parsed = text.parse::<Moment>().ok().or_else(|| {
        let day: jiff::civil::Date = text.parse().ok()?;
        jiff::tz::TimeZone::UTC.to_timestamp(day.to_datetime(jiff::civil::Time::midnight())).ok()
    });
    parsed.map(|moment| at(moment.as_second())).ok_or_else(|| "its end is no time".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(variables: &[(&str, &str)], profile: &[(&'static str, &str)]) -> Option<Validity> {
        let profile = profile.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let get = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
        aws_session(get, &profile)
    }

    #[test]
    fn a_session_ends_when_it_says() {
        let keys = ("AWS_ACCESS_KEY_ID", "A");
        let token = ("AWS_SESSION_TOKEN", "T");
        let end = ("AWS_CREDENTIAL_EXPIRATION", "2026-11-28T21:00:00+00:00");
        assert_eq!(session(&[keys], &[]), None, "keys of a user have no end");
        assert_eq!(session(&[], &[]), None, "what the machine's service gives, it renews");
        assert_eq!(session(&[token], &[]), None, "a session without keys is not used");
        let ends = |found: Option<Validity>| found.unwrap().until.map(|at| at.seconds);
        assert_eq!(ends(session(&[keys, token, end], &[])), Ok(1_795_899_600));
        assert!(ends(session(&[keys, token], &[])).is_err());
        // Of the profile, the end of another session says nothing.
        assert!(ends(session(&[end], &[keys, token])).is_err());
        assert_eq!(ends(session(&[], &[keys, token, end])), Ok(1_795_899_600));
        assert_eq!(session(&[keys], &[keys, token]), None, "keys and session are of one place");
        let wrong = ("AWS_CREDENTIAL_EXPIRATION", "soon");
        assert!(ends(session(&[keys, token, wrong], &[])).is_err());
    }

    #[test]
    fn a_shared_access_signature_names_its_end() {
        let signed = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            azure(&AzureCredential::SASToken(pairs), false).unwrap().until
        };
        let until = |text: &str| signed(&[("sp", "rl"), ("se", text)]);
        assert_eq!(until("2026-11-28T21:00:00Z").unwrap().seconds, 1_795_899_600);
        assert_eq!(until("2026-11-28").unwrap().seconds, 1_795_824_000);
        assert!(until("soon").is_err() && signed(&[("sp", "rl")]).is_err());
        let token = AzureCredential::BearerToken("x".to_owned());
        assert_eq!(azure(&token, false), None);
        assert!(azure(&token, true).unwrap().until.is_err());
    }
}
