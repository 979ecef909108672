//! Rates: a number, a space and a unit, and nothing else.

use std::{fmt, num::NonZeroU64, str::FromStr};

/// Bytes per second, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(NonZeroU64);

/// Why text is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// It has another form.
    #[error("a rate is a number, a space and a unit, such as \"20 MiB/s\" or \"100 Mbit/s\"")]
    Form,
    /// An unknown unit.
    #[error(
        "the unit of a rate is one of B/s, kB/s, MB/s, GB/s, KiB/s, MiB/s, GiB/s, kbit/s, Mbit/s, \
         Gbit/s"
    )]
    Unit,
    /// Less than a byte a second.
    #[error("a rate is at least 1 B/s: leave the key out where there is no limit")]
    Zero,
    /// More than can be counted.
    #[error("the rate is too large")]
    TooLarge,
}

/// Every unit with its bits per second.
const UNITS: [(&str, u64); 10] = [
    ("GiB/s", 8 << 30),
    ("MiB/s", 8 << 20),
    ("KiB/s", 8 << 10),
    ("B/s", 8),
    ("kB/s", 8_000),
    ("MB/s", 8_000_000),
    ("GB/s", 8_000_000_000),
    ("kbit/s", 1_000),
    ("Mbit/s", 1_000_000),
    ("Gbit/s", 1_000_000_000),
];

/// Decimals that a number may have; what is left below a whole byte is dropped.
const DECIMALS: usize = 3;

impl Rate {
    /// From bytes per second.
    pub fn new(bytes_per_second: NonZeroU64) -> Self {
        Self(bytes_per_second)
    }

    /// Bytes per second.
    pub fn bytes_per_second(self) -> NonZeroU64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (number, unit) = text.split_once(' ').ok_or(RateError::Form)?;
        let (whole, decimals) = match number.split_once('.') {
            Some((whole, decimals)) => (whole, Some(decimals)),
            None => (number, None),
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || decimals.is_some_and(|d| !digits(d) || d.len() > DECIMALS) {
            return Err(RateError::Form);
        }
        let (_, bits) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(RateError::Unit)?;
        // Thousandths, so that decimals stay exact.
        let thousandths = format!("{whole}{:0<DECIMALS$}", decimals.unwrap_or_default());
        let thousandths: u128 = thousandths.parse().map_err(|_| RateError::TooLarge)?;
        let bits = thousandths.checked_mul(u128::from(*bits)).ok_or(RateError::TooLarge)?;
        let bytes = u64::try_from(bits / 8_000).map_err(|_| RateError::TooLarge)?;
        NonZeroU64::new(bytes).map(Self).ok_or(RateError::Zero)
    }
}

impl fmt::Display for Rate {
    /// In the largest binary unit that gives a whole number; it parses to the same rate.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.get();
        let (unit, size) = match bytes.trailing_zeros() {
            30.. => ("GiB/s", 1 << 30),
            20.. => ("MiB/s", 1 << 20),
            10.. => ("KiB/s", 1 << 10),
            _ => ("B/s", 1),
        };
        write!(f, "{} {unit}", bytes / size)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(text: &str) -> Result<u64, RateError> {
        text.parse::<Rate>().map(|rate| rate.bytes_per_second().get())
    }

    #[test]
    fn rates() {
        assert_eq!(bytes("20 MiB/s"), Ok(20 << 20));
        assert_eq!(bytes("1.5 GiB/s"), Ok(3 << 29));
        assert_eq!(bytes("100 Mbit/s"), Ok(12_500_000));
        assert_eq!(bytes("0.01 kbit/s"), Ok(1));
        assert_eq!(bytes("18446744073709551615 B/s"), Ok(u64::MAX));
        for (text, error) in [
            ("", RateError::Form),
            ("20", RateError::Form),
            ("20MiB/s", RateError::Form),
            ("20  MiB/s", RateError::Unit),
            (" 20 MiB/s", RateError::Form),
            ("20 MiB/s ", RateError::Unit),
            ("20 MiB", RateError::Unit),
            ("20 mib/s", RateError::Unit),
            ("-1 MiB/s", RateError::Form),
            ("+1 MiB/s", RateError::Form),
            ("1e3 MiB/s", RateError::Form),
            ("1. MiB/s", RateError::Form),
            (".5 MiB/s", RateError::Form),
            ("1.0000 MiB/s", RateError::Form),
            ("1,5 MiB/s", RateError::Form),
            ("٣ MiB/s", RateError::Form),
            ("0 MiB/s", RateError::Zero),
            ("0.999 B/s", RateError::Zero),
            ("18446744073709551616 B/s", RateError::TooLarge),
            ("99999999999999999999999999999999999999999 GiB/s", RateError::TooLarge),
        ] {
            assert_eq!(bytes(text), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_what_was_meant(value in 1..=u64::MAX, shift in 0..64u32) {
            let value = NonZeroU64::new(value >> shift << shift).unwrap_or(NonZeroU64::MIN);
            let rate = Rate::new(value);
            prop_assert_eq!(rate.to_string().parse(), Ok(rate));
        }

        #[test]
        fn decimals_are_exact(whole in 0..1_000_000u64, thousandths in 0..1000u64, unit in 0..UNITS.len()) {
            let (name, bits) = UNITS[unit];
            let expected = (whole * 1000 + thousandths) as u128 * u128::from(bits) / 8000;
            let parsed = bytes(&format!("{whole}.{thousandths:03} {name}"));
            let expected = if expected == 0 { Err(RateError::Zero) } else { Ok(expected as u64) };
            prop_assert_eq!(parsed, expected);
        }

        #[test]
        fn any_text_is_safe(text in "[0-9. kMGiBbt/s]{0,30}|\\PC{0,20}") {
            let _ = bytes(&text);
        }
    }
}
