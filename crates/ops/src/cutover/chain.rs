//! The chain of steps: read, checked against the audit log, and extended by one.

use std::collections::BTreeMap;

use drover_repo::{
    Problem,
    cutover::{Move, State, Step, StoredStep, encode},
    names,
};
use drover_store::{CreateOnly, StoreError};
use drover_types::{PackClass, Timestamp, clock, limits};

use crate::{
    Error, PROGRAM, ReaderSession, WriterSession,
    audit::Event,
    inspect::{self, LoggedAction},
};

/// The verb of the records that steps leave in the audit log.
const VERB: &str = "cutover";
/// Steps that are read side by side.
const PARALLEL: usize = 16;

/// A step that was checked.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Its number.
    pub sequence: u64,
    /// When.
    pub time: Timestamp,
    /// BLAKE3 of its bytes.
    pub hash: [u8; 32],
    /// What it says.
    pub to: Move,
}

impl Taken {
    /// The path whose exception it accepts, where it does.
    pub fn accepted(&self) -> Option<&str> {
        self.to.facts.get(ACCEPTED).map(String::as_str)
    }

    /// The settings of buckets that it found, by name: where it is a rehearsal or a freeze.
    pub fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        let facts = self.to.facts.iter();
        facts.filter_map(|(name, words)| Some((name.strip_prefix(SETTING)?, words.as_str())))
    }
}

/// All steps of a repository.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// In their order.
    pub steps: Vec<Taken>,
    /// What is wrong: a step that is missing, changed, or not where the audit log has it. No cutover
    /// goes on over these.
    pub problems: Vec<Problem>,
}

impl Chain {
    /// Reads the steps, and compares them with what the audit log says was taken.
    pub fn load(session: &ReaderSession) -> Result<Self, Error> {
        let mut chain = Self::read(session)?;
        let (records, wrong) = inspect::log(session)?;
        chain.problems.extend(wrong);
        chain.compare_with(&records);
        Ok(chain)
    }

    /// The same beside an audit log that was read.
    pub fn beside(session: &ReaderSession, records: &[LoggedAction]) -> Result<Self, Error> {
        let mut chain = Self::read(session)?;
        chain.compare_with(records);
        Ok(chain)
    }

    fn read(session: &ReaderSession) -> Result<Self, Error> {
        let objects = session.objects();
        let mut listed: Vec<String> =
            objects.list(names::CUTOVER)?.into_iter().map(|object| object.name).collect();
        listed.sort();
        let bodies = objects.get_all(&listed, limits::SMALL_OBJECT, PARALLEL);
        let mut chain = Self::default();
        for (name, body) in listed.iter().zip(bodies) {
            let body = match body {
                Err(error @ StoreError::TooLarge { .. }) => Err(error.to_string()),
                body => Ok(body?),
            };
            match body.and_then(|body| chain.check(session, name, body.to_vec())) {
                Ok(taken) => chain.steps.push(taken),
                Err(message) => chain.problems.push(Problem::new("cutover", name, message)),
            }
        }
        Ok(chain)
    }

    fn check(&self, session: &ReaderSession, name: &str, body: Vec<u8>) -> Result<Taken, String> {
        let stored = StoredStep::decode(body).map_err(|error| error.to_string())?;
        let open = &stored.open;
        if names::parse_cutover_step(name) != Some(open.sequence) {
            return Err("its bytes are not those its name says".into());
        }
        if open.repository != session.repository.id() {
            return Err("it is of another repository".into());
        }
        let writer = session.history.writers.get(&open.writer).ok_or("its writer has no grant")?;
        stored.verify(&writer.public_key).map_err(|error| error.to_string())?;
        let (sequence, hash) = self.end();
        if open.sequence != sequence + 1 || open.previous != hash {
            return Err("it does not follow the step before it: steps are missing".into());
        }
        let meta = session
            .keyring
            .reader_secret(PackClass::Meta, open.epoch)
            .ok_or("the keys of its epoch are not at hand")?;
        let to = stored.read(meta).map_err(|error| error.to_string())?;
        Ok(Taken { sequence: open.sequence, time: open.time, hash: stored.hash, to })
    }

    /// The newest steps can be taken away by whoever holds the bucket, and leave a chain that looks
    /// whole. The audit log, of which each snapshot holds the head, tells of them.
    fn compare_with(&mut self, records: &[LoggedAction]) {
        for (record, action) in records.iter().filter(|(_, action)| action.verb == VERB) {
            let known = |step: &Taken| action.outcome == told(step.sequence, &step.hash, &step.to);
            if !self.steps.iter().any(known) {
                let message =
                    format!("the audit log has a step that is not there: {}", action.outcome);
                let object = names::log(&record.open.writer, record.open.sequence, &record.hash);
                self.problems.push(Problem::new("cutover", object, message));
            }
        }
    }

    fn end(&self) -> (u64, [u8; 32]) {
        self.steps.last().map_or((0, [0; 32]), |last| (last.sequence, last.hash))
    }

    /// The steps of one source.
    pub fn of<'c>(&'c self, source: &'c str) -> impl DoubleEndedIterator<Item = &'c Taken> {
        self.steps.iter().filter(move |step| step.to.source == source)
    }

    /// Where a source stands that has so many snapshots.
    pub fn state(&self, source: &str, snapshots: usize) -> State {
        match (self.of(source).next_back(), snapshots) {
            (Some(last), _) => last.to.state,
            (None, 0) => State::Planned,
            (None, 1) => State::Baseline,
            (None, _) => State::Converging,
        }
    }

    /// The paths whose exceptions somebody accepted, and who did.
    pub fn accepted<'c>(&'c self, source: &'c str) -> BTreeMap<&'c str, &'c str> {
        let pair = |step: &'c Taken| Some((step.accepted()?, step.to.operator.as_str()));
        self.of(source).filter_map(pair).collect()
    }

    /// Takes the next step. Whoever was faster is told of by [`Error::CutoverMoved`].
    pub fn take(&mut self, session: &WriterSession, to: Move) -> Result<&Taken, Error> {
        let (sequence, previous) = self.end();
        let credential = &session.credential;
        let step = Step {
            repository: session.repository,
            writer: credential.writer_id(),
            sequence: sequence + 1,
            previous,
            time: clock::now(),
            epoch: credential.epoch(),
        };
        let bytes =
            encode(&step, &to, credential.reader(PackClass::Meta), credential.signing_key());
        let hash = *blake3::hash(&bytes).as_bytes();
        let name = names::cutover_step(step.sequence);
        match session.objects.put_new(&name, bytes.clone().into()) {
            Err(StoreError::Conflict { .. }) => return Err(Error::CutoverMoved),
            put => put?,
        }
        // A store that ignores the condition has kept the later one.
        if session.objects.get(&name, limits::SMALL_OBJECT)? != bytes {
            return Err(Error::CutoverMoved);
        }
        let outcome = told(step.sequence, &hash, &to);
        let event =
            Event { operator: &to.operator, verb: VERB, subject: &to.source, outcome: &outcome };
        session.record(&event)?;
        self.steps.push(Taken { sequence: step.sequence, time: step.time, hash, to });
        Ok(self.steps.last().expect("one was pushed"))
    }
}

/// The fact that names an accepted exception.
pub const ACCEPTED: &str = "accepted";

/// Facts that tell a setting of a bucket begin so.
pub const SETTING: &str = "bucket ";

/// A step of `source` by `operator`, taken on this machine.
pub fn step(state: State, source: &str, operator: &str) -> Move {
    Move {
        state,
        source: source.into(),
        operator: operator.into(),
        host: crate::host_name(),
        program: PROGRAM.into(),
        note: String::new(),
        facts: BTreeMap::new(),
    }
}

/// A step as the audit log tells it.
fn told(sequence: u64, hash: &[u8; 32], to: &Move) -> String {
    let hash = drover_types::SnapshotId(*hash).to_hex();
    format!("step {sequence} {}, {}", &hash[..16], to.state)
}

impl WriterSession {
    /// Whether the store keeps whoever comes second from taking the same step.
    pub fn keeps_order(&self) -> bool {
        let capabilities = self.objects.store().capabilities();
        capabilities.is_some_and(|found| found.create_only == CreateOnly::Honoured)
    }
}
