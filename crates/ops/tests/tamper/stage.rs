//! The repository that is tampered with, and those who look at it afterwards.

use std::{fs, path::Path};

use drover_crypt::hierarchy::{KdfParameters, Role, UnlockError, UnlockSecret};
use drover_ops::{
    Cancel, Error, ReaderSession, Verdict, VerifyOptions, VerifyOutcome, WriterSession,
    keys::KeySession, verify,
};
use drover_repo::{
    RepositoryError, names,
    snapshot::{self, Details, Snapshot},
};
use drover_types::{PackClass, Silent, SnapshotId};
use zeroize::Zeroizing;

use crate::common::{
    bucket::{Clinic, Contents},
    noise, secret,
};

/// A repository of two writers: `ward` with three snapshots and `office` with two, two slots, and
/// what an attacker may have kept of it.
pub struct Stage {
    pub clinic: Clinic,
    /// As it is.
    pub now: Contents,
    /// As it was when `ward` had one snapshot and `office` none.
    pub early: Contents,
    /// Another repository of the same owner, and one of somebody else.
    pub other: Contents,
    pub foreign: Contents,
}

/// A password that opens nothing here.
pub fn attacker() -> UnlockSecret {
    UnlockSecret::KeyFile(Zeroizing::new(vec![9; 64]))
}

fn auditor() -> UnlockSecret {
    UnlockSecret::KeyFile(Zeroizing::new(vec![8; 64]))
}

impl Stage {
    pub fn new() -> Self {
        let clinic = Clinic::new();
        clinic.write("ward", "scan", &noise(1, 5000));
        clinic.pass("ward");
        let early = clinic.bucket.contents();
        clinic.enrol("office");
        clinic.write("office", "bill", &noise(2, 3000));
        clinic.pass("office");
        let keys = KeySession::open(clinic.bucket.0.clone(), &secret()).unwrap();
        keys.add(&auditor(), Role::Auditor, "audit", KdfParameters::minimum()).unwrap();
        for number in 2..4 {
            clinic.write("ward", &format!("scan {number}"), &noise(number, 5000));
            clinic.pass("ward");
        }
        clinic.write("office", "bill 2", &noise(5, 3000));
        clinic.pass("office");
        let now = clinic.bucket.contents();

        let another = Clinic::new();
        another.write("ward", "scan", &noise(6, 4000));
        another.pass("ward");
        let other = another.bucket.contents();
        let foreign = crate::common::bucket::Bucket::new();
        drover_ops::init(foreign.0.clone(), &attacker(), KdfParameters::minimum()).unwrap();
        let stage = Self { clinic, now, early, other, foreign: foreign.contents() };
        // A machine that looks at the repository now and then.
        assert_eq!(stage.look(Some("reader")), "verified");
        copy(&stage.clinic.dir.path().join("states"), &stage.clinic.dir.path().join("kept"));
        stage
    }

    /// Everything as it was before.
    pub fn reset(&self) {
        self.clinic.bucket.set(&self.now);
        let (states, kept) =
            (self.clinic.dir.path().join("states"), self.clinic.dir.path().join("kept"));
        fs::remove_dir_all(&states).unwrap();
        copy(&kept, &states);
    }

    /// What a verification by a machine with this state says, or one that knows nothing.
    pub fn look(&self, machine: Option<&str>) -> String {
        let state = machine.map(|machine| self.clinic.state(machine));
        let objects = self.clinic.bucket.0.clone();
        let looked = ReaderSession::open(objects, &secret(), state.as_deref(), &Silent).and_then(
            |mut session| {
                let options =
                    VerifyOptions { read_data: Some(1.0), parallel: 1, ..VerifyOptions::default() };
                verify(&mut session, &options, &Silent, &Cancel::new())
            },
        );
        summary(looked)
    }

    /// What the next pass of `ward` comes to.
    pub fn pass(&self) -> String {
        match self.clinic.try_pass("ward") {
            Ok(_) => "goes on".into(),
            Err(error) => refusal(&error),
        }
    }

    pub fn put(&self, name: &str, bytes: &[u8]) {
        self.clinic.bucket.put(name, bytes.to_vec());
    }

    pub fn remove(&self, name: &str) {
        self.clinic.bucket.remove(name);
    }

    /// Objects whose names begin so, in order.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        let names = self.now.keys().filter(|name| name.starts_with(prefix));
        names.cloned().collect()
    }

    /// Objects below `keys/` whose own names begin so.
    pub fn keys(&self, kind: &str) -> Vec<String> {
        let is = |name: &&String| name.starts_with("keys/") && last(name).starts_with(kind);
        self.now.keys().filter(is).cloned().collect()
    }

    pub fn session(&self, machine: &str) -> WriterSession {
        self.clinic.session(machine)
    }

    /// The snapshots of a writer, in order.
    pub fn snapshots(&self, machine: &str) -> Vec<String> {
        let writer = self.session(machine).credential.writer_id();
        self.names(&format!("{}{writer}/", names::SNAPSHOTS))
    }

    /// The records of a writer, in order.
    pub fn records(&self, machine: &str) -> Vec<String> {
        let writer = self.session(machine).credential.writer_id();
        self.names(&format!("{}{writer}/", names::LOG))
    }

    /// The grant of a writer.
    pub fn grant(&self, machine: &str) -> String {
        self.session(machine).credential.grant().object_name()
    }

    /// The owner's keys.
    pub fn owner(&self) -> KeySession {
        KeySession::open(self.clinic.bucket.0.clone(), &secret()).unwrap()
    }

    /// The slot of the auditor.
    pub fn auditor_slot(&self) -> String {
        let own = self.owner().keyring.slot().hex();
        self.keys("slot-").into_iter().find(|name| !name.ends_with(&own)).unwrap()
    }

    /// One more snapshot that `office` signs, with what `bend` makes of it.
    pub fn rogue(&self, bend: impl FnOnce(&mut Snapshot, &mut Details)) -> String {
        let session = self.session("office");
        let reader = self.clinic.bucket.reader().unwrap();
        let writer = session.credential.writer_id();
        let newest = reader.history.snapshots.iter().filter(|s| s.stored.open.writer == writer);
        let newest = newest.max_by_key(|s| s.stored.open.sequence).unwrap();
        let (mut open, mut details) = (newest.stored.open.clone(), newest.details.clone());
        open.sequence += 1;
        open.previous = newest.id().0;
        (open.new_packs, open.pack_list) = (0, [0; 32]);
        bend(&mut open, &mut details);
        let meta = session.credential.reader(PackClass::Meta);
        let bytes = snapshot::encode(&open, &details, meta, session.credential.signing_key());
        let id = SnapshotId(*blake3::hash(&bytes).as_bytes());
        let name = names::snapshot(&open.writer, open.sequence, &id);
        self.put(&name, &bytes);
        name
    }
}

/// The last part of a name.
pub fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap()
}

/// The kinds of problems, or why it was refused.
fn summary(looked: Result<VerifyOutcome, Error>) -> String {
    match looked {
        Ok(outcome) if outcome.verdict == Verdict::Verified => "verified".into(),
        Ok(outcome) => {
            let mut kinds: Vec<_> = outcome.problems.iter().map(|p| p.kind.as_str()).collect();
            kinds.sort_unstable();
            kinds.dedup();
            kinds.join(", ")
        }
        Err(error) => refusal(&error),
    }
}

/// Which error it is.
fn refusal(error: &Error) -> String {
    let which = match error {
        Error::Repository(error) => match error {
            RepositoryError::NoRepository => "no repository",
            RepositoryError::OtherRepository => "other repository",
            RepositoryError::Config(_) => "damaged config",
            RepositoryError::Unlock(UnlockError::WrongSecret(_)) => "wrong key",
            RepositoryError::Unlock(UnlockError::Missing(_)) => "missing key",
            RepositoryError::Unlock(UnlockError::Damaged { .. }) => "damaged key",
            other => panic!("{other}"),
        },
        Error::NoCredential => "no credential",
        other => panic!("{other}"),
    };
    format!("refused: {which}")
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}
