//! When support ends, from a dated file.

use jiff::civil::Date;

/// The file.
const DATA: &str = include_str!("../data/support.csv");

/// The day on which the file was last compared with its sources.
pub const CHECKED_ON: &str = "2026-11-28";

/// How long a system is supported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Support {
    /// The last day of general support.
    pub until: Date,
    /// The last day of support that is to be had besides, and what it is called.
    pub extended: Option<(Date, &'static str)>,
}

/// Of `version` of `family`: of the longest version in the file that `version` is, or begins with
/// before a dot.
pub fn of(family: &str, version: &str) -> Option<Support> {
    rows()
        .filter(|row| row.family == family)
        .filter(|row| {
            version
                .strip_prefix(row.version)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
        .max_by_key(|row| row.version.len())
        .map(|row| row.support)
}

struct Row {
    family: &'static str,
    version: &'static str,
    support: Support,
}

fn rows() -> impl Iterator<Item = Row> {
    DATA.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut cells = line.split(',');
        let mut cell = || cells.next().map(str::trim);
        let (family, version) = (cell()?, cell()?);
        let until = cell()?.parse().ok()?;
        let extended = cell()?.parse().ok().zip(cell());
        Some(Row { family, version, support: Support { until, extended } })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read_and_dates_are_in_order() {
        let lines = DATA.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(rows().count(), lines);
        assert!(DATA.contains(CHECKED_ON));
        for row in rows() {
            let Some((extended, by)) = row.support.extended else { continue };
            assert!(
                extended > row.support.until && !by.is_empty(),
                "{} {}",
                row.family,
                row.version
            );
        }
    }

    #[test]
    fn versions_are_found_by_what_they_begin_with() {
        let until = |family, version| of(family, version).map(|s| s.until.to_string());
        assert_eq!(until("debian", "12"), Some("2026-07-11".into()));
        assert_eq!(until("rhel", "7.9"), Some("2024-06-30".into()));
        assert_eq!(until("sles", "15"), Some("2019-12-31".into()));
        assert_eq!(until("opensuse-leap", "15.6"), Some("2026-04-30".into()));
        assert_eq!(until("alpine", "3.22.1"), Some("2027-05-01".into()));
        assert_eq!(until("sles", "15.5"), Some("2024-12-31".into()));
        assert_eq!(until("kernel", "6.12.9-amd64"), Some("2028-12-31".into()));
        assert_eq!(until("kernel", "6.1.90"), Some("2027-12-31".into()));
        assert_eq!(until("debian", "120"), None);
        assert_eq!(until("plan9", "4"), None);
    }
}
