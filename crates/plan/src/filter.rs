//! What of a source is left out.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use ignore::gitignore::GitignoreBuilder;

/// What of a source is left out; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// `rules`: of those that match, the last one counts.
    pub rules: Vec<Rule>,
    /// `ignore_files`: names of files that hold rules for the directory they are in.
    pub ignore_files: Vec<String>,
    /// `exclude_caches`: of directories marked by a `CACHEDIR.TAG` take the tag only.
    pub exclude_caches: bool,
    /// `files_from`: the file that lists what is taken.
    pub files_from: Option<PathBuf>,
    /// `min_size`
    pub min_size: Option<Size>,
    /// `max_size`
    pub max_size: Option<Size>,
    /// `min_age`
    pub min_age: Option<Age>,
    /// `max_age`
    pub max_age: Option<Age>,
}

/// `exclude GLOB` or `include GLOB`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Take what matches, instead of leaving it out.
    pub include: bool,
    /// What it matches, as a line of a `.gitignore` file.
    pub glob: String,
}

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// A length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Age(pub Duration);

/// Who on the source becomes whom where it lands: names or numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Renamed {
    /// On the source.
    pub from: String,
    /// Where it lands.
    pub to: String,
}

impl FromStr for Renamed {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        match text.split_once(':') {
            Some((from, to)) if !from.is_empty() && !to.is_empty() && !to.contains(':') => {
                Ok(Self { from: from.to_owned(), to: to.to_owned() })
            }
            _ => Err(FilterError::Renamed),
        }
    }
}

/// Why text is no rule, size or age.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Neither an exclusion nor an inclusion.
    #[error("a rule is \"exclude GLOB\" or \"include GLOB\"")]
    Rule,
    /// A pattern that cannot be understood.
    #[error("the pattern cannot be understood: {0}")]
    Glob(String),
    /// The name of an ignore file is a path, or empty.
    #[error("an ignore file is given by its name, such as \".gitignore\", not by a path")]
    IgnoreFile,
    /// Nobody who becomes somebody else.
    #[error(
        "whom something belongs to is given as FROM:TO, names or numbers, such as \"pacs:dicom\""
    )]
    Renamed,
    /// No size.
    #[error(
        "a size is a whole number, a space and one of B, kB, MB, GB, TB, KiB, MiB, GiB, TiB, such \
         as \"2 GiB\""
    )]
    Size,
    /// No age.
    #[error(
        "an age is a whole number, a space and one of seconds, minutes, hours, days, weeks, such \
         as \"30 days\""
    )]
    Age,
}

/// The name of an ignore file.
pub fn ignore_file(name: &str) -> Result<String, FilterError> {
    match matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
        true => Err(FilterError::IgnoreFile),
        false => Ok(name.to_owned()),
    }
}

impl Rule {
    /// Leaves out what `glob` matches, or takes it where `include` is set.
    pub fn new(include: bool, glob: &str) -> Result<Self, FilterError> {
        let refused = |why: &str| Err(FilterError::Glob(why.to_owned()));
        if glob.trim_matches('/').is_empty() {
            return refused("it is empty");
        }
        if glob.trim() != glob || glob.contains(['\n', '\r', '\0']) {
            return refused("it begins or ends with white space, or has more than one line");
        }
        match GitignoreBuilder::new(".").add_line(None, glob) {
            Ok(_) => Ok(Self { include, glob: glob.to_owned() }),
            Err(error) => refused(&error.to_string()),
        }
    }
}

impl FromStr for Rule {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let (verb, glob) = text.split_once(' ').ok_or(FilterError::Rule)?;
        match verb {
            "exclude" => Self::new(false, glob),
            "include" => Self::new(true, glob),
            _ => Err(FilterError::Rule),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.include { "include" } else { "exclude" };
        write!(f, "{verb} {}", self.glob)
    }
}

/// A whole number, a space and one of these units.
fn number(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, unit) = text.split_once(' ')?;
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

impl FromStr for Size {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        const UNITS: [(&str, u64); 9] = [
            ("B", 1),
            ("kB", 1_000),
            ("MB", 1_000_000),
            ("GB", 1_000_000_000),
            ("TB", 1_000_000_000_000),
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
            ("TiB", 1 << 40),
        ];
        number(text, &UNITS).map(Self).ok_or(FilterError::Size)
    }
}

impl FromStr for Age {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        const UNITS: [(&str, u64); 10] = [
            ("second", 1),
            ("seconds", 1),
            ("minute", 60),
            ("minutes", 60),
            ("hour", 3_600),
            ("hours", 3_600),
            ("day", 86_400),
            ("days", 86_400),
            ("week", 604_800),
            ("weeks", 604_800),
        ];
        let seconds = number(text, &UNITS).ok_or(FilterError::Age)?;
        Ok(Self(Duration::from_secs(seconds)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        let rule = |text: &str| text.parse::<Rule>().map(|rule| (rule.include, rule.glob));
        assert_eq!(rule("exclude *.tmp"), Ok((false, "*.tmp".into())));
        assert_eq!(rule("include a b/"), Ok((true, "a b/".into())));
        for bad in [
            "",
            "*.tmp",
            "Exclude x",
            "exclude",
            "exclude ",
            "exclude  x",
            "exclude a{b",
            "include /",
        ] {
            assert!(rule(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_and_ages() {
        let size = |text: &str| text.parse::<Size>().ok().map(|size| size.0);
        assert_eq!(size("2 GiB"), Some(2 << 30));
        assert_eq!(size("0 B"), Some(0));
        let age = |text: &str| text.parse::<Age>().ok().map(|age| age.0.as_secs());
        assert_eq!(age("30 days"), Some(30 * 86_400));
        assert_eq!(age("1 week"), Some(604_800));
        for bad in ["", "2", "2GiB", "-1 B", "1.5 GiB", "99999999999999999999 B", "99999999 PiB"] {
            assert_eq!(size(bad), None, "{bad:?}");
        }
        for bad in ["", "30", "30days", "-1 days", "1 month", "99999999999999999 weeks"] {
            assert_eq!(age(bad), None, "{bad:?}");
        }
    }
}
