//! Numbers, sizes, times as people read them.

use drover_types::Timestamp;

use crate::Text;

/// A count with its thousands apart: `1,234,567`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count and its noun: `1 file`, `2 files`, `2 entries`.
pub fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// A size in binary units, three digits: `1.46 GiB`; below 1024 the bytes themselves.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = 0;
    // 999.5 and more would print as four digits.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// A size with the exact number beside it: `1.46 GiB (1,567,890,123 bytes)`.
pub fn bytes_exact(n: u64) -> String {
    if n < 1024 { bytes(n) } else { format!("{} ({} bytes)", bytes(n), count(n)) }
}

/// A duration: `0.42 s`, `12 s`, `3 min 04 s`, `2 h 05 min`, `3 d 04 h`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "unknown".to_owned();
    }
    if seconds < 9.995 {
        return format!("{seconds:.2} s");
    }
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d {:02} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// Bytes in so many seconds: `12.3 MiB/s`.
pub fn rate(n: u64, seconds: f64) -> String {
    if seconds > 0.0 {
        format!("{}/s", bytes((n as f64 / seconds) as u64))
    } else {
        "–".to_owned()
    }
}

/// A time as RFC 3339 in UTC, to the second: `2026-11-24T15:43:28Z`. One outside of the years that
/// RFC 3339 has is given in seconds since 1970: `@-99999999999999`.
pub fn time(time: Timestamp) -> Text {
    match jiff::Timestamp::from_second(time.seconds) {
        Ok(at) => Text::from(at.to_string()),
        Err(_) => Text::from(format!("@{}", time.seconds)),
    }
}

/// The first digits of a long hexadecimal id: enough to name it.
pub fn short_id(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(
            [0, 12, 999, 1000, 1_234_567].map(count),
            ["0", "12", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [0, 1023, 1024, 1536, 1_047_552, 1 << 40, u64::MAX].map(bytes),
            ["0 B", "1023 B", "1.00 KiB", "1.50 KiB", "1.00 MiB", "1.00 TiB", "16.0 EiB"]
        );
        assert_eq!(
            [0.0, 9.999, 59.4, 184.0, 7500.0, 273_600.0, f64::NAN].map(duration),
            ["0.00 s", "10 s", "59 s", "3 min 04 s", "2 h 05 min", "3 d 04 h", "unknown"]
        );
    }

    #[test]
    fn times_are_utc_and_never_fail() {
        let at = |seconds| time(Timestamp { seconds, nanos: 5 }).to_string();
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(-1), "1969-12-31T23:59:59Z");
        assert_eq!(at(i64::MIN), format!("@{}", i64::MIN));
    }
}
