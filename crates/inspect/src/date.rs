//! Calendar dates as headers, messages and texts write them.

use std::fmt;

/// A real day of the calendar, from 1850 to 2199.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    /// The year.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

impl Date {
    /// `None` where there is no such day, or not between 1850 and 2199.
    pub fn new(year: u32, month: u32, day: u32) -> Option<Self> {
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if year.is_multiple_of(4)
                && (!year.is_multiple_of(100) || year.is_multiple_of(400)) =>
            {
                29
            }
            2 => 28,
            _ => return None,
        };
        let fits = (1850..2200).contains(&year) && (1..=days).contains(&day);
        fits.then_some(Self { year: year as u16, month: month as u8, day: day as u8 })
    }

    /// The day at the front of `text`: `YYYYMMDD`, as DICOM and HL7 have it, or the `YYYY.MM.DD`
    /// of the first edition of DICOM.
    pub fn leading(text: &[u8]) -> Option<Self> {
        let number = |at: usize, len: usize| {
            let digits = text.get(at..at + len)?;
            digits.iter().try_fold(0u32, |sum, digit| {
                digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0'))
            })
        };
        match text.get(4)? {
            b'.' => Self::new(number(0, 4)?, number(5, 2)?, number(8, 2)?),
            _ => Self::new(number(0, 4)?, number(4, 2)?, number(6, 2)?),
        }
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_days_are_dates() {
        assert!(Date::leading(b"20240229").is_some());
        for bad in [&b"20230229"[..], b"20240431", b"20241301", b"2024010", b"18491231", b""] {
            assert_eq!(Date::leading(bad), None);
        }
        assert_eq!(Date::leading(b"1987.03.09").unwrap().to_string(), "1987-03-09");
        assert_eq!(Date::leading(b"20240229123000").unwrap().to_string(), "2024-02-29");
    }
}
