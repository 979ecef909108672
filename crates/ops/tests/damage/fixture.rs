//! A small repository that has one of everything, and what a verification says of it.

use std::os::unix::fs::FileExt;

use drover_crypt::hierarchy::{KdfParameters, Role, UnlockError, UnlockSecret};
use drover_ops::{Error, VerifyOutcome, keys::KeySession};
use drover_repo::RepositoryError;
use zeroize::Zeroizing;

use crate::{
    common::{
        bucket::{Bucket, Clinic, Contents, Heads},
        noise, secret,
    },
    oracle::{Layout, Seen},
};

/// A whole repository, and its layout.
pub struct Whole {
    pub contents: Contents,
    pub layout: Layout,
    pub heads: Heads,
}

/// Two writers with two passes each, one of them revoked after these; two epochs; a second slot,
/// with a passphrase. The keys are opened with a key file, which costs no time.
pub fn whole() -> Whole {
    let clinic = Clinic::new();
    let open_keys = || KeySession::open(clinic.bucket.0.clone(), &secret()).unwrap();
    clinic.write("ward", "scan", &noise(1, 5000));
    clinic.write("ward", "copy of scan", &noise(1, 5000));
    clinic.write("ward", "letters", "dear colleague\n".repeat(300).as_bytes());
    clinic.write("ward", "nothing", b"");
    // More extents than stand in an entry.
    let holed = std::fs::File::create(clinic.source("ward").join("holed")).unwrap();
    holed.set_len(8192 * 600).unwrap();
    (0..600).for_each(|at| holed.write_all_at(&noise(2, 4096), at * 8192).unwrap());
    clinic.pass("ward");
    let passphrase = UnlockSecret::Passphrase(Zeroizing::new(b"an auditor".to_vec()));
    open_keys().add(&passphrase, Role::Auditor, "audit", KdfParameters::minimum()).unwrap();
    open_keys().rotate().unwrap();
    clinic.write("ward", "letters", "dear madam\n".repeat(300).as_bytes());
    clinic.write("ward", "new", &noise(3, 3000));
    clinic.pass("ward");
    clinic.enrol("office");
    clinic.write("office", "bill", &noise(4, 2000));
    clinic.pass("office");
    clinic.write("office", "bill 2", &noise(5, 2000));
    clinic.pass("office");
    let office = clinic.session("office").credential.writer_id();
    let revocation = open_keys().keyring.revoke(office, 2).unwrap();
    clinic.bucket.put(&revocation.name, revocation.bytes);

    let contents = clinic.bucket.contents();
    let mut session = clinic.bucket.reader().unwrap();
    let index = session.load_index().unwrap();
    assert_eq!(session.problems, []);
    let layout = Layout::of(&contents, &session, &index);
    Whole { contents, layout, heads: session.history.heads() }
}

/// What a verification with all reading back says.
pub fn look(bucket: &Bucket, heads: &Heads) -> Seen {
    seen(bucket.verify(heads))
}

/// What this verification says.
pub fn seen(outcome: Result<VerifyOutcome, Error>) -> Seen {
    match outcome {
        Ok(outcome) => {
            assert_eq!(outcome.unchecked, []);
            let (mut objects, mut files) = (Vec::new(), Vec::new());
            for finding in outcome.problems {
                match finding.path {
                    Some(path) => files.push(path.as_bytes().to_vec()),
                    None => objects.push(finding.object.unwrap()),
                }
            }
            Seen::Found {
                objects: objects.into_iter().collect(),
                files: files.into_iter().collect(),
            }
        }
        Err(Error::Repository(error)) => Seen::Refused(match error {
            RepositoryError::Config(_) | RepositoryError::NoRepository => "config".into(),
            RepositoryError::Unlock(UnlockError::Damaged { object, .. }) => object,
            RepositoryError::Unlock(UnlockError::Missing(object)) => object,
            RepositoryError::Unlock(UnlockError::WrongSecret(what)) => what.into(),
            other => panic!("{other}"),
        }),
        Err(other) => panic!("{other}"),
    }
}
