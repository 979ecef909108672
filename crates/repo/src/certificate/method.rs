//! How something was verified, and what that came to.

/// How something was verified, from the weakest to the strongest that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Nothing was looked at.
    Nothing,
    /// Signatures, chains, roots and the store's listing; no pack was read.
    Acknowledged,
    /// Beside that, some packs were read back.
    ReadBackSample,
    /// Beside that, every pack was read back.
    ReadBack,
    /// The source was compared with the snapshot.
    SourceAgainstSnapshot,
    /// A landed tree was compared with the snapshot, every file hashed.
    LandedAndHashed,
}

impl Method {
    /// From the weakest to the strongest.
    pub const ALL: [Self; 6] = [
        Self::Nothing,
        Self::Acknowledged,
        Self::ReadBackSample,
        Self::ReadBack,
        Self::SourceAgainstSnapshot,
        Self::LandedAndHashed,
    ];

    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Acknowledged => "acknowledged",
            Self::ReadBackSample => "read back a sample",
            Self::ReadBack => "read back",
            Self::SourceAgainstSnapshot => "source against snapshot",
            Self::LandedAndHashed => "landed and hashed",
        }
    }

    /// Reads what [`Self::as_str`] says.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == text)
    }

    /// Whether packs are read.
    pub(super) fn reads_back(self) -> bool {
        matches!(self, Self::ReadBackSample | Self::ReadBack)
    }
}

/// What a verification came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All that was looked at is as it should be.
    Verified,
    /// Something is not.
    Failed,
    /// Nothing was found to be wrong, and not everything could be looked at.
    Incomplete,
}

impl Verdict {
    /// That of so many problems, and of so many things that could not be looked at.
    pub fn of(problems: u64, unchecked: u64) -> Self {
        match (problems, unchecked) {
            (0, 0) => Self::Verified,
            (0, _) => Self::Incomplete,
            _ => Self::Failed,
        }
    }

    /// All there are.
    pub const ALL: [Self; 3] = [Self::Verified, Self::Failed, Self::Incomplete];

    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Failed => "failed",
            Self::Incomplete => "incomplete",
        }
    }

    /// Reads what [`Self::as_str`] says.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.as_str() == text)
    }
}

/// How many packs were read back, of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// How many were read.
    pub packs: u64,
    /// How many there are.
    pub of: u64,
    /// What chose them.
    pub seed: u64,
}
