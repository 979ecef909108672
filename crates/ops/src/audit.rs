//! The audit log of what is done beside passes: keys changed, snapshots verified and restored.
//!
//! A machine that has a writer's credential adds to that writer's log; one that only reads cannot
//! sign and leaves none. A record tells what was done and never decides whether it may be: what
//! keeps it from being written is a warning. It names no path, for a path can be patient data.

use std::{fmt::Display, path::Path};

use drover_crypt::hierarchy::WriterCredential;
use drover_repo::{
    Repository,
    log::{self, Action},
    names,
    state::{Commit, Head, StateFolder},
};
use drover_types::{Observer, PackClass, Timestamp, clock};

use crate::{Error, PROGRAM, WriterSession};

/// What is to be recorded.
#[derive(Clone, Copy, Debug)]
pub struct Event<'e> {
    /// Who did it.
    pub operator: &'e str,
    /// What was done.
    pub verb: &'e str,
    /// To what: a source's name, a snapshot's or a key's id.
    pub subject: &'e str,
    /// What came of it.
    pub outcome: &'e str,
}

/// The subject of records of what was done with one snapshot. Other machines look for it.
pub fn of_snapshot(source: impl Display, snapshot: impl Display) -> String {
    format!("{source}, snapshot {snapshot}")
}

/// Records what was done, where this machine's state holds a writer's credential.
pub fn record(
    repository: &Repository,
    state_root: &Path,
    event: &Event<'_>,
    observer: &dyn Observer,
) {
    if let Err(error) = try_record(repository, state_root, event, observer) {
        observer.warning(&format!("this is not in the audit log: {error}"));
    }
}

fn try_record(
    repository: &Repository,
    state_root: &Path,
    event: &Event<'_>,
    observer: &dyn Observer,
) -> Result<(), Error> {
    let folder = StateFolder::at(state_root, repository.id());
    let Some(bytes) = folder.credential()? else { return Ok(()) };
    let credential = WriterCredential::decode(&bytes).map_err(|_| Error::DAMAGED_CREDENTIAL)?;
    repository.check_root(credential.root_public())?;
    let objects = repository.objects().clone();
    let session = WriterSession::resume(objects, repository.id(), credential, folder, observer)?;
    session.record(event)
}

impl WriterSession {
    /// Adds a record to this writer's log. It is kept before it is sent, as snapshots are: what
    /// does not arrive now is sent by the next run.
    pub fn record(&self, event: &Event<'_>) -> Result<(), Error> {
        self.finish_pending_commit()?;
        let mut head = self.database.head()?;
        let object = self.next_record(&mut head, clock::now(), event);
        let commit = Commit { objects: vec![object], head, source: None, listed: 0 };
        self.database.begin_commit(&commit)?;
        self.finish_pending_commit()
    }

    /// Name and bytes of the record that comes after `head`, which moves on to it.
    pub(crate) fn next_record(
        &self,
        head: &mut Head,
        time: Timestamp,
        event: &Event<'_>,
    ) -> (String, Vec<u8>) {
        let credential = &self.credential;
        let record = log::Record {
            repository: self.repository,
            writer: credential.writer_id(),
            sequence: head.log_sequence + 1,
            previous: head.log,
            time,
            epoch: credential.epoch(),
        };
        let action = Action {
            operator: event.operator.into(),
            host: crate::host_name(),
            verb: event.verb.into(),
            subject: event.subject.into(),
            outcome: event.outcome.into(),
            program: PROGRAM.into(),
        };
        let meta = credential.reader(PackClass::Meta);
        let bytes = log::encode(&record, &action, meta, credential.signing_key());
        head.log_sequence = record.sequence;
        head.log = *blake3::hash(&bytes).as_bytes();
        (names::log(&record.writer, record.sequence, &head.log), bytes)
    }
}
