//! Heads that must still be there: named, from an earlier verification's report, or from its
//! certificate.

use std::{ffi::OsString, fs::File, io::Read, path::Path};

use drover_repo::{
    certificate::{self, Certificate, CertifiedHead},
    names,
};
use drover_report::{Body, Document};
use drover_types::{SnapshotId, WriterId};

use crate::{
    error::Error,
    output::{self},
};

/// Writer, number and hash of a snapshot.
pub type Head = (WriterId, u64, [u8; 32]);

/// What certificates begin with, and reports do not.
const CERTIFICATE: &[u8] = b"drover-certificate:";

/// The heads that `arguments` name.
pub fn expected(arguments: &[OsString]) -> Result<Vec<Head>, Error> {
    let mut heads = Vec::new();
    for text in arguments {
        match text.to_str().and_then(parse) {
            Some(head) => heads.push(head),
            None => heads.extend(of_file(Path::new(text))?),
        }
    }
    Ok(heads)
}

/// A head as the repository names its snapshot, with or without the leading zeros.
fn parse(text: &str) -> Option<Head> {
    let (writer, rest) = text.strip_prefix(names::SNAPSHOTS).unwrap_or(text).split_once('/')?;
    let (sequence, id) = rest.split_once('-')?;
    Some((WriterId::from_hex(writer)?, sequence.parse().ok()?, SnapshotId::from_hex(id)?.0))
}

/// The heads that an earlier verification saw.
fn of_file(path: &Path) -> Result<Vec<Head>, Error> {
    let bytes = read(path, "cannot read the earlier verification", drover_report::LONGEST)?;
    let shown = output::shown(path);
    let heads = match bytes.starts_with(CERTIFICATE) {
        true => {
            let certificate = Certificate::open(&bytes)
                .map_err(|source| Error::Certificate { path: path.into(), source })?;
            Some(certificate.heads.iter().map(CertifiedHead::parts).collect())
        }
        false => of_report(path, &bytes)?,
    };
    match heads {
        Some(heads) if !heads.is_empty() => Ok(heads),
        _ => Err(Error::Usage(format!("{shown} names no heads"))),
    }
}

fn of_report(path: &Path, json: &[u8]) -> Result<Option<Vec<Head>>, Error> {
    let document =
        Document::parse(json).map_err(|source| Error::Report { path: path.into(), source })?;
    let Some(Body::Verify(report)) = document.body else {
        let shown = output::shown(path);
        return Err(Error::Usage(format!("{shown} is no report of a verification")));
    };
    let head = |head: &drover_report::Head| {
        let writer = WriterId::from_hex(head.writer.as_str())?;
        Some((writer, head.sequence, SnapshotId::from_hex(head.snapshot.as_str())?.0))
    };
    Ok(report.heads.iter().map(head).collect())
}

/// The bytes of a file of at most `longest` bytes.
pub fn read(path: &Path, what: &'static str, longest: u64) -> Result<Vec<u8>, Error> {
    let fail = |source| Error::File { what, path: path.into(), source };
    let mut bytes = Vec::new();
    // One byte more shows that there are more.
    File::open(path).map_err(fail)?.take(longest + 1).read_to_end(&mut bytes).map_err(fail)?;
    match bytes.len() as u64 > longest {
        true => Err(fail(std::io::ErrorKind::FileTooLarge.into())),
        false => Ok(bytes),
    }
}

/// A certificate, if the file is a genuine one.
pub fn certificate(
    path: &Path,
) -> Result<Result<Certificate, certificate::CertificateError>, Error> {
    let bytes = read(path, "cannot read the certificate", certificate::LONGEST as u64)?;
    Ok(Certificate::open(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_named_as_its_object() {
        let (writer, id) = ("ab".repeat(16), "cd".repeat(32));
        let expected = Some((WriterId([0xab; 16]), 7, [0xcd; 32]));
        assert_eq!(parse(&format!("{writer}/7-{id}")), expected);
        assert_eq!(parse(&format!("snapshots/{writer}/{:020}-{id}", 7)), expected);
        assert_eq!(parse(&format!("{writer}/x-{id}")), None);
        assert_eq!(parse("verify.json"), None);
    }
}
