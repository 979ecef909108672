//! The one door to the time of day, and the type of every time that is stored.

use std::time::{SystemTime, UNIX_EPOCH};

/// A point in time, to the nanosecond, before 1970 and after 2038 alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z, rounded down.
    pub seconds: i64,
    /// Nanoseconds within that second, below 1,000,000,000.
    pub nanos: u32,
}

impl Timestamp {
    /// A time from its parts; `None` where `nanos` is no fraction of a second.
    pub fn new(seconds: i64, nanos: u32) -> Option<Self> {
        (nanos < 1_000_000_000).then_some(Self { seconds, nanos })
    }

    /// From nanoseconds since 1970; `None` where they are too many.
    pub fn from_nanos(nanos: i128) -> Option<Self> {
        let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).ok()?;
        Self::new(seconds, nanos.rem_euclid(1_000_000_000) as u32)
    }

    /// Nanoseconds since 1970, exactly.
    pub fn as_nanos(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos)
    }
}

/// The time of day. The only place in drover that asks the system for it.
#[allow(clippy::disallowed_methods)]
pub fn now() -> Timestamp {
    let (seconds, nanos) = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => (since.as_secs() as i64, since.subsec_nanos()),
        Err(before) => {
            let d = before.duration();
            match d.subsec_nanos() {
                0 => (-(d.as_secs() as i64), 0),
                n => (-(d.as_secs() as i64) - 1, 1_000_000_000 - n),
            }
        }
    };
    Timestamp { seconds, nanos }
}
