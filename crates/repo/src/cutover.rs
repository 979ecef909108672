//! The steps of cutovers: where each source stands on its way from server to cloud
//! (`docs/format.md`, "Cutover steps").
//!
//! All steps of a repository are one chain, numbered without gaps, each holding the hash of the one
//! before. Their names have no hash: of two machines that take the next step at the same time, one
//! is told that its number is taken. What a step says is sealed to the meta reader, since a
//! source's name can be a secret; who wrote it is signed, so that any machine may go on.

use std::{collections::BTreeMap, fmt, ops::Deref};

use drover_crypt::{
    seal::{ReaderPublic, ReaderSecret},
    sign::SigningKey,
};
use drover_types::codec::{DecodeError, Decoder, Encoder};

use crate::chained::{self, Form, Stored};
pub use crate::chained::{ChainedError as StepError, Record as Step};

const FORM: Form = Form {
    magic: *b"DRVRCUT\0",
    context: "drover 2026-11 cutover step",
    refusal: "not a cutover step of version 1",
};
/// The most facts of one step.
const FACTS: usize = 256;
/// The most bytes of one text.
const TEXT: usize = 64 << 10;

macro_rules! states {
    ($($(#[doc = $doc:literal])* $state:ident = $code:literal, $name:literal;)*) => {
        /// Where a source stands.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum State {
            $($(#[doc = $doc])* $state = $code,)*
        }

        impl State {
            /// All of them, in the order of a cutover that goes well, and then the way back.
            pub const ALL: &[State] = &[$(State::$state),*];

            /// The words that reports have for it.
            pub fn as_str(self) -> &'static str {
                match self { $(State::$state => $name,)* }
            }

            fn from_code(code: u8) -> Option<Self> {
                Self::ALL.iter().copied().find(|state| *state as u8 == code)
            }
        }
    };
}

states! {
    /// Nothing was sent yet.
    Planned = 1, "planned";
    /// There is one snapshot.
    Baseline = 2, "baseline";
    /// There are several; or a cutover was given up and the source works on.
    Converging = 3, "converging";
    /// A rehearsal went well.
    Rehearsed = 4, "rehearsed";
    /// The source is about to rest, or rests.
    Freezing = 5, "freezing";
    /// The last pass goes on, over a source that rests.
    FinalPass = 6, "final pass";
    /// What the last pass left is landed and verified.
    Verifying = 7, "verifying";
    /// Nothing thaws the source by itself any more; clients are being led to the target.
    Switching = 8, "switching";
    /// Clients are served by the target; there is a way back.
    CutOver = 9, "cut over";
    /// There is no way back.
    Committed = 10, "committed";
    /// The target's changes are brought to the source.
    RollingBack = 11, "rolling back";
    /// Clients are served by the source again.
    Reverted = 12, "reverted";
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl State {
    /// Whether the source rests, or may.
    pub fn is_frozen(self) -> bool {
        matches!(self, Self::Freezing | Self::FinalPass | Self::Verifying)
    }

    /// Whether a source may go from `self` to `next`.
    pub fn may_become(self, next: Self) -> bool {
        use State::{
            Baseline, Committed, Converging, CutOver, FinalPass, Freezing, Planned, Rehearsed,
            Reverted, RollingBack, Switching, Verifying,
        };
        match self {
            Planned | Baseline | Converging | Rehearsed | Reverted => {
                matches!(next, Baseline | Converging | Rehearsed | Freezing)
            }
            // What was begun and given up leaves the source at work; what was killed begins again.
            Freezing => matches!(next, Freezing | FinalPass | Converging),
            FinalPass => matches!(next, Freezing | FinalPass | Verifying | Converging),
            Verifying => matches!(next, Freezing | Verifying | Switching | Converging),
            Switching => matches!(next, Switching | CutOver | RollingBack),
            CutOver => matches!(next, Committed | RollingBack),
            RollingBack => matches!(next, RollingBack | Reverted),
            Committed => false,
        }
    }
}

/// The sealed part of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Where the source stands from now on.
    pub state: State,
    /// The source's name.
    pub source: String,
    /// Who, as given by `--operator`.
    pub operator: String,
    /// The machine.
    pub host: String,
    /// The program and its version.
    pub program: String,
    /// Why, in words.
    pub note: String,
    /// What those who go on have to know, by name.
    pub facts: BTreeMap<String, String>,
}

impl Move {
    /// The sealed part before it is sealed.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.u8(self.state as u8);
        for text in [&self.source, &self.operator, &self.host, &self.program, &self.note] {
            e.bytes(text.as_bytes());
        }
        e.varint(self.facts.len() as u64);
        for (name, value) in &self.facts {
            e.bytes(name.as_bytes());
            e.bytes(value.as_bytes());
        }
        e.finish()
    }

    /// Decodes the sealed part, once it is open.
    pub fn decode(bytes: &[u8]) -> Result<Self, StepError> {
        let mut d = Decoder::new(bytes);
        let state = State::from_code(d.u8()?).ok_or(DecodeError::Invalid("an unknown state"))?;
        let (source, operator) = (text(&mut d)?, text(&mut d)?);
        let (host, program, note) = (text(&mut d)?, text(&mut d)?, text(&mut d)?);
        let mut facts = BTreeMap::new();
        for _ in 0..d.length(FACTS)? {
            let name = text(&mut d)?;
            if facts.last_key_value().is_some_and(|(last, _)| *last >= name) {
                return Err(DecodeError::Invalid("facts are not in their order").into());
            }
            facts.insert(name, text(&mut d)?);
        }
        d.end()?;
        Ok(Self { state, source, operator, host, program, note, facts })
    }
}

fn text(d: &mut Decoder<'_>) -> Result<String, DecodeError> {
    let text = std::str::from_utf8(d.bytes(TEXT)?);
    text.map(str::to_owned).map_err(|_| DecodeError::Invalid("a text is not UTF-8"))
}

/// Encodes, seals and signs a step.
pub fn encode(step: &Step, to: &Move, meta: &ReaderPublic, key: &SigningKey) -> Vec<u8> {
    chained::encode(&FORM, step, &to.encode(), meta, key)
}

/// A step as it was read, whose signature has yet to be checked.
#[derive(Clone, Debug)]
pub struct StoredStep(Stored);

impl Deref for StoredStep {
    type Target = Stored;

    fn deref(&self) -> &Stored {
        &self.0
    }
}

impl StoredStep {
    /// Decodes the open part.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, StepError> {
        Stored::decode(&FORM, bytes).map(Self)
    }

    /// Opens the sealed part.
    pub fn read(&self, meta: &ReaderSecret) -> Result<Move, StepError> {
        Move::decode(self.unseal(meta)?.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_move() -> impl Strategy<Value = Move> {
        let facts = prop::collection::btree_map("[a-z_]{1,12}", ".{0,40}", 0..6);
        (0..State::ALL.len(), "[a-z0-9-]{1,20}", ".{0,20}", ".{0,80}", facts).prop_map(
            |(state, source, operator, note, facts)| Move {
                state: State::ALL[state],
                source,
                operator,
                host: "host".into(),
                program: "drover".into(),
                note,
                facts,
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_sealed_comes_back(to in any_move()) {
            prop_assert_eq!(Move::decode(&to.encode()).unwrap(), to);
        }

        #[test]
        fn bytes_of_any_kind_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Move::decode(&bytes);
            let mut with_magic = [&FORM.magic[..], &[1, 1]].concat();
            with_magic.extend(bytes);
            let _ = StoredStep::decode(with_magic);
        }
    }

    #[test]
    fn nothing_thaws_after_the_switch_has_begun() {
        for state in [State::Switching, State::CutOver, State::Committed, State::RollingBack] {
            assert!(!state.may_become(State::Converging), "{state}");
            assert!(!state.may_become(State::Freezing), "{state}");
        }
        for next in State::ALL {
            assert!(!State::Committed.may_become(*next), "{next}");
        }
    }

    #[test]
    fn nothing_is_switched_that_was_not_verified() {
        for state in State::ALL.iter().filter(|state| state.may_become(State::Switching)) {
            assert!(matches!(state, State::Verifying | State::Switching), "{state}");
        }
        for state in State::ALL.iter().filter(|state| state.may_become(State::CutOver)) {
            assert_eq!(*state, State::Switching);
        }
    }
}
