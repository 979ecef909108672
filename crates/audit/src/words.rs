//! Small readings that several parsers need.

use jiff::{civil::Date, tz::TimeZone};

/// Lines with content, without what follows a `#`.
pub fn settings(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
}

/// The value of `KEY=value`, without quotes.
pub fn assigned<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == key).then(|| value.trim().trim_matches(['"', '\'']))
    })
}

/// The values of `KEY="value" KEY2="value"`, as `lsblk -P` prints them.
pub fn pairs(line: &str) -> Vec<(&str, &str)> {
    let mut pairs = Vec::new();
    let mut rest = line;
    while let Some((key, tail)) = rest.split_once("=\"") {
        let Some((value, tail)) = tail.split_once('"') else { break };
        pairs.push((key.trim(), value));
        rest = tail;
    }
    pairs
}

/// Blocks of `Key=value` with an empty line between, as `systemctl show` prints them.
pub fn blocks(text: &str) -> impl Iterator<Item = Vec<(&str, &str)>> {
    text.split("\n\n")
        .map(|block| block.lines().filter_map(|line| line.split_once('=')).collect::<Vec<_>>())
}

/// The value of a key of a block.
pub fn value<'t>(block: &[(&'t str, &'t str)], key: &str) -> &'t str {
    block.iter().find(|(name, _)| *name == key).map_or("", |(_, value)| value)
}

/// Seconds since 1970 of a time as systemd prints it: `Fri 2026-11-27 06:25:01 UTC`. The zone is
/// taken for UTC where it is another: what is made of it are days.
pub fn systemd_time(text: &str) -> Option<i64> {
    let mut fields = text.split_ascii_whitespace();
    let date = fields.find(|field| field.len() == 10 && field.as_bytes()[4] == b'-')?;
    let date: Date = date.parse().ok()?;
    let clock = fields.next().unwrap_or("00:00:00");
    let mut parts = clock.split([':', '.']).map(|part| part.parse::<i8>().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    let (hour, minute, second) = (part(), part(), part());
    let time = date.at(hour.clamp(0, 23), minute.clamp(0, 59), second.clamp(0, 59), 0);
    Some(TimeZone::UTC.to_timestamp(time).ok()?.as_second())
}

/// `1 port`, `2 ports`.
pub fn counted(number: usize, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

/// The day of a time.
pub fn day(seconds: i64) -> String {
    match jiff::Timestamp::from_second(seconds) {
        Ok(time) => TimeZone::UTC.to_datetime(time).date().to_string(),
        Err(_) => "an unknown day".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings() {
        assert_eq!(assigned("A=1\nB=\"x y\"\n", "B"), Some("x y"));
        assert_eq!(
            pairs(r#"NAME="sda" MODEL="" X="a=b""#),
            [("NAME", "sda"), ("MODEL", ""), ("X", "a=b")]
        );
        assert_eq!(pairs("NAME=\"sd"), []);
        assert_eq!(systemd_time("Fri 2026-11-27 06:25:01 UTC"), Some(1_795_760_701));
        assert_eq!(systemd_time("n/a"), None);
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(settings("# x\n a b # c\n\n").collect::<Vec<_>>(), ["a b"]);
    }
}
